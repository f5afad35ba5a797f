/* RESP to replies. The first byte chooses how the rest is cut into reads: whatever the
 * cuts, the same replies and the same end must come out; no byte may be read or kept
 * beyond the limits. */
#include "common/buf.h"
#include "common/redis.h"
#include "common/redis_reply.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define BYTES_MAX 20000
#define ITEMS_MAX 500

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t show(struct buf *out, const struct redis_reply *r)
{
    size_t items = 0;

    buf_printf(out, "%d:%lld:%zu:", (int)r->type, (long long)r->integer, r->len);
    if (r->str) {
        if (r->str[r->len] != '\0')
            abort();
        buf_add(out, r->str, r->len);
    }
    for (size_t i = 0; i < r->count; i++)
        items += 1 + show(out, r->items[i]);
    buf_char(out, ';');
    return items;
}

/* Feeds all; `step` 0: at once. What came out is in `out`. */
static enum redis_read run(const char *data, size_t size, size_t step, struct buf *out)
{
    struct redis_reader *rd = redis_reader_new(BYTES_MAX, ITEMS_MAX);
    const struct redis_reply *reply;
    enum redis_read what = REDIS_READ_MORE;

    while (size > 0 && what != REDIS_READ_BAD) {
        size_t piece = step > 0 && step < size ? step : size;
        if (!redis_reader_feed(rd, data, piece))
            abort();
        while ((what = redis_reader_next(rd, &reply)) == REDIS_READ_REPLY)
            if (show(out, reply) > ITEMS_MAX)
                abort();
        data += piece;
        size -= piece;
    }
    if (what == REDIS_READ_BAD && redis_reader_error(rd)[0] == '\0')
        abort();
    redis_reader_free(rd);
    return what;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf whole, cut;
    enum redis_read a, b;

    if (size < 1)
        return 0;
    buf_init(&whole);
    buf_init(&cut);
    a = run((const char *)data + 1, size - 1, 0, &whole);
    b = run((const char *)data + 1, size - 1, 1 + data[0] % 64, &cut);
    if (a != b || whole.len != cut.len ||
        (whole.len > 0 && memcmp(whole.data, cut.data, whole.len) != 0))
        abort();
    buf_fini(&whole);
    buf_fini(&cut);
    return 0;
}
