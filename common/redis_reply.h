/* redis_reply: bytes become replies, by hiredis' reader over an arena of our own.
 * Knows no socket. Internal to redis*.c and its tests. */
#ifndef THREADCAST_REDIS_REPLY_H
#define THREADCAST_REDIS_REPLY_H

#include <stdbool.h>
#include <stddef.h>

struct redis_reply;
struct redis_reader;

#define REDIS_REPLY_BYTES_MAX ((size_t)64 << 20) /* of one reply, read or not yet */
#define REDIS_REPLY_ITEMS_MAX ((size_t)1 << 20)  /* elements of one reply, all levels */
#define REDIS_REPLY_LINE_MAX ((size_t)64 << 10)  /* a status or an error */

enum redis_read {
    REDIS_READ_REPLY, /* one reply, borrowed until the next call */
    REDIS_READ_MORE,  /* needs more bytes */
    REDIS_READ_BAD,   /* not RESP2, or past a limit: the connection is useless */
};

struct redis_reader *redis_reader_new(size_t bytes_max, size_t items_max);
void redis_reader_free(struct redis_reader *rd);
bool redis_reader_reset(struct redis_reader *rd); /* as new; false: no memory */
bool redis_reader_feed(struct redis_reader *rd, const char *data, size_t len);
enum redis_read redis_reader_next(struct redis_reader *rd,
                                  const struct redis_reply **ret_reply);
const char *redis_reader_error(const struct redis_reader *rd); /* after REDIS_READ_BAD */

#endif
