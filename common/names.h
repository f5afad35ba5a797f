/* names: what may be called what. Thread ids, Redis keys and channels, event ids,
 * UUIDs. Everything that comes from outside passes here before it is a key of anything.
 */
#ifndef THREADCAST_NAMES_H
#define THREADCAST_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define THREAD_ID_MAX 128
#define NAMES_PREFIX_MAX 64
/* prefix + "{thread:" id "}:state" and NUL */
#define NAMES_KEY_SIZE (NAMES_PREFIX_MAX + 8 + THREAD_ID_MAX + 80)

/* [A-Za-z0-9._-]{1,128} */
bool thread_id_valid(const char *id, size_t len);

/* What may go before every name in Redis; if not this, words in `err`. */
struct buf;
bool names_prefix_check(const char *prefix, struct buf *err);

/* Agent names and other short words: [A-Za-z0-9._:-]{1,64}. */
bool word_valid(const char *s, size_t len);

/* The id of an event, `<epoch>-<n>`: epoch in microseconds, n from 1 (0: before the
 * first of that epoch). Decimal without sign or leading zeros, both below 2^63. */
struct event_id {
    uint64_t epoch, n;
};
#define EVENT_ID_SIZE 48
bool event_id_parse(const char *s, size_t len, struct event_id *ret_id);
size_t event_id_format(const struct event_id *id, char out[EVENT_ID_SIZE]);
static inline bool event_id_eq(struct event_id a, struct event_id b)
{
    return a.epoch == b.epoch && a.n == b.n;
}
static inline bool event_id_zero(struct event_id a)
{
    return a.epoch == 0 && a.n == 0;
}
/* The order of entries inside one Redis stream; never an argument that one id of
 * another epoch is newer in time. */
static inline int event_id_cmp(struct event_id a, struct event_id b)
{
    if (a.epoch != b.epoch)
        return a.epoch < b.epoch ? -1 : 1;
    return a.n < b.n ? -1 : a.n > b.n;
}
/* b is the next id after a in the same epoch */
static inline bool event_id_follows(struct event_id a, struct event_id b)
{
    return a.epoch == b.epoch && b.n == a.n + 1;
}

/* Redis names of a thread. `prefix` may be "". Writes a NUL-terminated name; the
 * result is its length. */
size_t names_channel(char out[NAMES_KEY_SIZE], const char *prefix, const char *thread_id);
size_t names_log(char out[NAMES_KEY_SIZE], const char *prefix, const char *thread_id);
size_t names_state(char out[NAMES_KEY_SIZE], const char *prefix, const char *thread_id);
/* hash: 64 hex digits */
size_t names_once(char out[NAMES_KEY_SIZE], const char *prefix, const char *thread_id,
                  const char *hash);
/* The thread id inside a channel name, or NULL when it is none of ours. Borrows. */
const char *names_thread_of_channel(const char *prefix, const char *channel, size_t len,
                                    size_t *ret_len);

#define UUID_SIZE 37
void uuid_new(char out[UUID_SIZE]); /* version 4, from getrandom */
bool uuid_valid(const char *s, size_t len);

/* 12 hex digits that name one start of one process */
#define INSTANCE_SIZE 13
void instance_new(char out[INSTANCE_SIZE]);

#endif
