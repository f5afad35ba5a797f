/* fuzz_ids: names, event ids, positions of streams, words of a thread's state. Each is
 * compared with a second reading of its rule. The first byte says what the rest is:
 *   E an event's id     T W U a thread's id, a word, a UUID    C a channel: prefix LF
 * name L Last-Event-ID of 1, 2 or 3 threads: a digit, then the value    S the same as
 * ?since= V a value of the state */
#include "fuzz.h"

#include "bridge/request.h"
#include "bridge/state_word.h"
#include "bridge/stream.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>

static bool number_ok(const char *s, size_t len, uint64_t *ret)
{
    char text[24] = {0}, again[24];

    if (!len || len > 20)
        return false;
    memcpy(text, s, len);
    errno = 0;
    *ret = strtoull(text, NULL, 10);
    snprintf(again, sizeof(again), "%" PRIu64, *ret);
    return !errno && strlen(again) == len && memcmp(again, s, len) == 0 &&
           *ret <= INT64_MAX;
}

/* Whatever is accepted is written exactly so again, and everything so written is. */
static bool id_ok(const char *s, size_t len, struct event_id *ret)
{
    size_t head = 0;

    while (head < len && s[head] != '-')
        head++;
    return head < len && number_ok(s, head, &ret->epoch) &&
           number_ok(s + head + 1, len - head - 1, &ret->n);
}

static void check_id(struct span s)
{
    struct event_id id = {7, 7}, same;
    char text[EVENT_ID_SIZE];
    bool ok = event_id_parse(s.at, s.len, &id);

    MUST(ok == id_ok(s.at, s.len, &same));
    if (!ok) {
        MUST(id.epoch == 7 && id.n == 7);
        return;
    }
    MUST(event_id_eq(id, same) && event_id_cmp(id, same) == 0);
    MUST(event_id_format(&id, text) == s.len && memcmp(text, s.at, s.len) == 0);
    struct event_id next = {id.epoch, id.n + 1};
    MUST(event_id_follows(id, next) && !event_id_follows(next, id));
    MUST(event_id_cmp(id, next) < 0 && event_id_cmp(next, id) > 0);
}

static bool made_of(struct span s, size_t max, const char *marks)
{
    bool ok = s.len >= 1 && s.len <= max;

    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.at[i];
        ok = ok && c < 0x80 && c && (isalnum(c) || strchr(marks, c));
    }
    return ok;
}

static bool uuid_ok(struct span s)
{
    bool ok = s.len == 36;

    for (size_t i = 0; ok && i < s.len; i++)
        ok = strchr("\x08\x0d\x12\x17", (int)i) && i ? s.at[i] == '-'
                                                     : isxdigit((unsigned char)s.at[i]);
    return ok;
}

/* A thread's names lead back to that thread and to no other. */
static void check_channel(struct fuzz_input *in)
{
    struct span prefix = fuzz_until(in, '\n'), rest = {(const char *)in->at, in->len};
    char name[NAMES_KEY_SIZE], *text, *channel = fuzz_copy(rest);
    size_t len = 0;
    const char *id;

    if (prefix.len > NAMES_PREFIX_MAX || memchr(prefix.at, 0, prefix.len))
        prefix.len = 0;
    text = fuzz_copy(prefix);
    id = names_thread_of_channel(text, channel, rest.len, &len);
    if (id) {
        MUST(thread_id_valid(id, len) && id + len == channel + rest.len);
        MUST(names_channel(name, text, id) == rest.len && strcmp(name, channel) == 0);
        MUST(names_log(name, text, id) < NAMES_KEY_SIZE && strstr(name, id));
        MUST(names_state(name, text, id) < NAMES_KEY_SIZE && strstr(name, id));
    }
    if (thread_id_valid(channel, rest.len)) {
        MUST(names_channel(name, text, channel) < NAMES_KEY_SIZE);
        id = names_thread_of_channel(text, name, strlen(name), &len);
        MUST(id && len == rest.len && memcmp(id, channel, len) == 0);
    }
    free(text);
    free(channel);
}

/* "17-3,0,18-1": as many as there are threads, none of them 0-0. */
static bool positions_ok(struct span s, size_t count, struct event_id *ret)
{
    size_t start = 0, n = 0;

    for (size_t i = 0; i <= s.len; i++) {
        if (i < s.len && s.at[i] != ',')
            continue;
        if (n == count)
            return false;
        ret[n] = (struct event_id){0, 0};
        bool none = i - start == 1 && s.at[start] == '0';
        if (!none && (!id_ok(s.at + start, i - start, &ret[n]) || event_id_zero(ret[n])))
            return false;
        n++;
        start = i + 1;
    }
    return n == count;
}

static void expect_positions(const struct stream_plan *plan, struct span given, bool good)
{
    struct event_id want[3];
    bool all = given.len == 1 && given.at[0] == '0';

    good = good && positions_ok(given, plan->count, want);
    for (size_t i = 0; i < plan->count; i++) {
        const struct stream_thread *t = &plan->threads[i];
        MUST(t->since == (good || all ? SINCE_ID : SINCE_UNKNOWN));
        if (t->since == SINCE_ID)
            MUST(event_id_eq(t->pos, all ? (struct event_id){0, 0} : want[i]));
    }
}

static void check_header_position(struct span value, size_t count)
{
    struct request r = {0};
    struct stream_plan plan = {.request = &r, .count = count};

    r.http.header_count = 1;
    r.http.headers[0] = (struct http_header){{"Last-Event-ID", 13}, value};
    stream_positions(&plan);
    if (!value.len)
        MUST(plan.threads[0].since == SINCE_RUN);
    else if (count == 1 || value.len > 1 || value.at[0] != '0')
        expect_positions(&plan, value, true);
}

static void check_query_position(struct span value, size_t count)
{
    struct request r = {0};
    struct stream_plan plan = {.request = &r, .count = count};
    char decoded[POSITION_SIZE];
    struct buf query;

    buf_init(&query);
    buf_str(&query, "since=");
    buf_add(&query, value.at, value.len);
    r.http.query = (struct span){query.data, query.len};
    int found = http_query_get(r.http.query, "since", decoded, sizeof(decoded));
    stream_positions(&plan);
    MUST(found != 0);
    if (found == 1 && strcmp(decoded, "run") == 0)
        MUST(plan.threads[0].since == SINCE_RUN);
    else if (found == 1 && strcmp(decoded, "now") == 0)
        MUST(plan.threads[0].since == SINCE_NOW);
    else if (found == 1)
        expect_positions(&plan, (struct span){decoded, strlen(decoded)}, true);
    else
        expect_positions(&plan, (struct span){"", 0}, false);
    buf_fini(&query);
}

static void check_state_word(struct span s)
{
    size_t start = 0;
    int n = 0;

    for (size_t i = 0; i <= s.len; i++) {
        struct event_id got = {0, 0}, want = {0, 0};
        if (i < s.len && s.at[i] != ' ')
            continue;
        bool ok = id_ok(s.at + start, i - start, &want);
        MUST(state_word_id(s.at, s.len, n, &got) == ok);
        MUST(event_id_eq(got, ok ? want : (struct event_id){0, 0}));
        n++;
        start = i + 1;
    }
    MUST(!state_word_id(s.at, s.len, n, &(struct event_id){0, 0}));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = {data, size};
    char kind = (char)fuzz_byte(&in);

    if (kind == 'C') {
        check_channel(&in);
        return 0;
    }
    size_t count = kind == 'L' || kind == 'S' ? 1u + fuzz_byte(&in) % 3u : 0;
    struct span rest = {(const char *)in.at, in.len};
    char *copy = malloc(rest.len ? rest.len : 1); /* its own end, for the sanitizer */
    MUST(copy);
    if (rest.len)
        memcpy(copy, rest.at, rest.len);
    rest.at = copy;
    if (kind == 'E')
        check_id(rest);
    else if (kind == 'T')
        MUST(thread_id_valid(rest.at, rest.len) == made_of(rest, THREAD_ID_MAX, "._-"));
    else if (kind == 'W')
        MUST(word_valid(rest.at, rest.len) == made_of(rest, 64, "._:-"));
    else if (kind == 'U')
        MUST(uuid_valid(rest.at, rest.len) == uuid_ok(rest));
    else if (kind == 'L')
        check_header_position(rest, count);
    else if (kind == 'S')
        check_query_position(rest, count);
    else if (kind == 'V')
        check_state_word(rest);
    free(copy);
    return 0;
}
