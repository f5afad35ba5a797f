/* story: see the header. Shared by the agent that tells it and the farm that checks it;
 * it knows neither. */
#include "tests/faults/readers/story.h"

#include "tests/faults/readers/rng.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OPEN "\u27e6"
#define SHUT "\u27e7"

/* What breaks framings, escapes, columns and terminals. No NUL: Postgres has none. */
static const char *const nasty[] = {
    "\"",
    "\\",
    "\r",
    "\n",
    "\t",
    "\x01",
    "\u2028",
    "\u2029",
    "</script>",
    "data:",
    "\\u0000",
    "\n\n",
    "\r\n",
    "id: 1-1\n",
    "0\r\n\r\n",
    "\U0001f600",
    "\\",
    "\x7f",
    "\u00e9",
    "e\u0301",
    "\ufeff",
    "\U0010ffff",
    "event: reset\n",
    "${x}",
    "%s%n",
    "'; --",
    "\"}",
    "\\\"",
    "\U0001f1e6\U0001f1f9",
    ":",
    "\\ud800",
    "\ufffd",
    "<!--",
    "retry: 1\n",
    "&lt;",
};
static const char letters[] = "abcdefghijklmnopqrstuvwxyz ABCDEFGH 0123456789 .,;- ";

static uint64_t text_mix(uint64_t hash, const char *text)
{
    for (; *text; text++)
        hash = (hash ^ (unsigned char)*text) * 0x100000001b3u;
    return rng_mix(hash);
}

uint64_t story_key(uint64_t seed, const char *thread_id, const char *run_id)
{
    return text_mix(text_mix(rng_mix(seed), thread_id), run_id);
}

void story_tag(uint64_t key, char ret_tag[STORY_TAG_SIZE])
{
    snprintf(ret_tag, STORY_TAG_SIZE, "%08x", (unsigned)(key >> 32));
}

static const char *pick(uint64_t *state, size_t *ret_len)
{
    uint64_t r = rng_next(state);

    if (r % 4 == 0) {
        const char *word = nasty[(r >> 8) % (sizeof(nasty) / sizeof(nasty[0]))];
        *ret_len = strlen(word);
        return word;
    }
    *ret_len = 1;
    return &letters[(r >> 8) % (sizeof(letters) - 1)];
}

size_t story_piece(uint64_t key, uint32_t attempt, uint32_t n, char out[STORY_PIECE_MAX])
{
    char tag[STORY_TAG_SIZE], head[64];
    uint64_t state = rng_mix(key ^ rng_mix(((uint64_t)attempt << 32) | n));
    size_t len;

    story_tag(key, tag);
    len = (size_t)snprintf(head, sizeof(head), OPEN "%s.%u.%u" SHUT, tag, attempt, n);
    memcpy(out, head, len);
    size_t until = len + rng_below(&state, STORY_PIECE_MAX - len);
    for (;;) {
        size_t part;
        const char *text = pick(&state, &part);
        if (len + part > until)
            return len;
        memcpy(out + len, text, part);
        len += part;
    }
}

static bool read_number(const char **at, const char *end, char stop, uint32_t *ret)
{
    uint64_t value = 0;
    const char *s = *at;

    while (s < end && *s >= '0' && *s <= '9' && value <= UINT32_MAX)
        value = value * 10 + (uint64_t)(*s++ - '0');
    if (s == *at || value > UINT32_MAX || (stop && (s == end || *s != stop)))
        return false;
    *ret = (uint32_t)value;
    *at = s + (stop ? 1 : 0);
    return true;
}

static bool read_marker(const char *at, const char *end, struct story_marker *ret)
{
    const size_t tag_len = STORY_TAG_SIZE - 1;

    at += strlen(OPEN);
    if ((size_t)(end - at) < tag_len + 1 || at[tag_len] != '.')
        return false;
    memcpy(ret->tag, at, tag_len);
    ret->tag[tag_len] = '\0';
    at += tag_len + 1;
    if (!read_number(&at, end, '.', &ret->attempt) || !read_number(&at, end, 0, &ret->n))
        return false;
    return (size_t)(end - at) >= strlen(SHUT) && memcmp(at, SHUT, strlen(SHUT)) == 0;
}

bool story_find(const char *text, size_t len, struct story_marker *ret_marker)
{
    const char *at = text, *end = text + len;

    while ((at = memmem(at, (size_t)(end - at), OPEN, strlen(OPEN)))) {
        if (read_marker(at, end, ret_marker)) {
            ret_marker->at = (size_t)(at - text);
            return true;
        }
        at += strlen(OPEN);
    }
    return false;
}
