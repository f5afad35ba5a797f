/* names: every string from outside that becomes part of a key, a channel or a position
 * is judged here first. Nothing here allocates; nothing is cut to fit. */
#include "common/names.h"

#include "common/buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static bool is_alnum(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

static bool all_of(const char *s, size_t len, const char *marks)
{
    for (size_t i = 0; i < len; i++) {
        if (!is_alnum(s[i]) && (!s[i] || !strchr(marks, s[i])))
            return false;
    }
    return true;
}

bool thread_id_valid(const char *id, size_t len)
{
    return len >= 1 && len <= THREAD_ID_MAX && all_of(id, len, "._-");
}

bool word_valid(const char *s, size_t len)
{
    return len >= 1 && len <= 64 && all_of(s, len, "._:-");
}

/* No brace: it would move the hash tag, and a thread's keys to another slot. */
bool names_prefix_check(const char *prefix, struct buf *err)
{
    size_t len = strlen(prefix);

    if (len <= NAMES_PREFIX_MAX && all_of(prefix, len, "._:-"))
        return true;
    buf_printf(err, "must be at most %d of A-Z a-z 0-9 . _ : -", NAMES_PREFIX_MAX);
    return false;
}

/* Decimal digits up to `stop` (or the end), below 2^63, no leading zero. */
static bool parse_number(const char *s, size_t len, uint64_t *ret)
{
    uint64_t n = 0;

    if (!len || len > 19 || (len > 1 && s[0] == '0'))
        return false;
    for (size_t i = 0; i < len; i++) {
        if (s[i] < '0' || s[i] > '9')
            return false;
        n = n * 10 + (uint64_t)(s[i] - '0');
    }
    if (n > INT64_MAX)
        return false;
    *ret = n;
    return true;
}

bool event_id_parse(const char *s, size_t len, struct event_id *ret_id)
{
    const char *dash = len ? memchr(s, '-', len) : NULL;
    struct event_id id;
    size_t head;

    if (!dash)
        return false;
    head = (size_t)(dash - s);
    if (!parse_number(s, head, &id.epoch) ||
        !parse_number(dash + 1, len - head - 1, &id.n))
        return false;
    *ret_id = id;
    return true;
}

size_t event_id_format(const struct event_id *id, char out[EVENT_ID_SIZE])
{
    return (size_t)snprintf(out, EVENT_ID_SIZE, "%llu-%llu",
                            (unsigned long long)id->epoch, (unsigned long long)id->n);
}

/* The callers have checked prefix and id, so a name that does not fit is a bug. */
static size_t fitted(int n)
{
    if (n < 0 || n >= NAMES_KEY_SIZE)
        abort();
    return (size_t)n;
}

size_t names_channel(char out[NAMES_KEY_SIZE], const char *prefix, const char *thread_id)
{
    return fitted(snprintf(out, NAMES_KEY_SIZE, "%sthread:%s", prefix, thread_id));
}

size_t names_log(char out[NAMES_KEY_SIZE], const char *prefix, const char *thread_id)
{
    return fitted(snprintf(out, NAMES_KEY_SIZE, "%s{thread:%s}:log", prefix, thread_id));
}

size_t names_state(char out[NAMES_KEY_SIZE], const char *prefix, const char *thread_id)
{
    return fitted(
        snprintf(out, NAMES_KEY_SIZE, "%s{thread:%s}:state", prefix, thread_id));
}

size_t names_once(char out[NAMES_KEY_SIZE], const char *prefix, const char *thread_id,
                  const char *hash)
{
    return fitted(
        snprintf(out, NAMES_KEY_SIZE, "%s{thread:%s}:once:%s", prefix, thread_id, hash));
}

const char *names_thread_of_channel(const char *prefix, const char *channel, size_t len,
                                    size_t *ret_len)
{
    static const char word[] = "thread:";
    size_t head = strlen(prefix);

    if (len < head || memcmp(channel, prefix, head) != 0)
        return NULL;
    channel += head;
    len -= head;
    if (len < sizeof(word) - 1 || memcmp(channel, word, sizeof(word) - 1) != 0)
        return NULL;
    channel += sizeof(word) - 1;
    len -= sizeof(word) - 1;
    if (!thread_id_valid(channel, len))
        return NULL;
    *ret_len = len;
    return channel;
}

static void random_bytes(unsigned char *out, size_t len)
{
    /* up to 256 bytes never come short; without randomness nothing here is safe */
    if (getrandom(out, len, 0) != (ssize_t)len)
        abort();
}

static char *add_hex(char *out, const unsigned char *bytes, size_t len)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < len; i++) {
        *out++ = digits[bytes[i] >> 4];
        *out++ = digits[bytes[i] & 15];
    }
    *out = '\0';
    return out;
}

void uuid_new(char out[UUID_SIZE])
{
    static const unsigned char groups[] = {4, 2, 2, 2, 6};
    unsigned char raw[16];
    const unsigned char *at = raw;

    random_bytes(raw, sizeof(raw));
    raw[6] = (unsigned char)((raw[6] & 0x0F) | 0x40);
    raw[8] = (unsigned char)((raw[8] & 0x3F) | 0x80);
    for (size_t i = 0; i < sizeof(groups); i++) {
        if (i)
            *out++ = '-';
        out = add_hex(out, at, groups[i]);
        at += groups[i];
    }
}

bool uuid_valid(const char *s, size_t len)
{
    if (len != UUID_SIZE - 1)
        return false;
    for (size_t i = 0; i < len; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash ? s[i] != '-' : !s[i] || !strchr("0123456789abcdefABCDEF", s[i]))
            return false;
    }
    return true;
}

void instance_new(char out[INSTANCE_SIZE])
{
    unsigned char raw[(INSTANCE_SIZE - 1) / 2];

    random_bytes(raw, sizeof(raw));
    add_hex(out, raw, sizeof(raw));
}
