/* fuzz_redis: RESP to replies. The first byte chooses how the rest is cut into reads, all
 * of one size or, from 64 on, of any: whatever the cuts, the same replies and the same
 * end must come out; written again as RESP they are the same replies; no byte may be read
 * or kept beyond the limits. */
#include "fuzz.h"

#include "common/redis.h"
#include "common/redis_reply.h"

#define BYTES_MAX 20000
#define ITEMS_MAX 500
#define ANY SIZE_MAX

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

/* As Redis would say it. */
static void encode(struct buf *out, const struct redis_reply *r)
{
    switch (r->type) {
    case REDIS_STRING:
        buf_printf(out, "$%zu\r\n", r->len);
        buf_add(out, r->str, r->len);
        break;
    case REDIS_ARRAY:
        buf_printf(out, "*%zu\r\n", r->count);
        for (size_t i = 0; i < r->count; i++)
            encode(out, r->items[i]);
        return;
    case REDIS_INTEGER:
        buf_printf(out, ":%lld", (long long)r->integer);
        break;
    case REDIS_NIL:
        buf_str(out, "$-1");
        break;
    case REDIS_STATUS:
    case REDIS_FAILURE:
        buf_char(out, r->type == REDIS_STATUS ? '+' : '-');
        buf_add(out, r->str, r->len);
        break;
    }
    buf_str(out, "\r\n");
}

/* Feeds all, in steps of that size, at once (0) or in any pieces (ANY). What came out is
 * in `out`; RESP of it is appended to `resp`, unless that is NULL. */
static enum redis_read run(const char *data, size_t size, size_t step, struct buf *out,
                           struct buf *resp)
{
    const char *all = data;
    size_t all_size = size, i = 0;
    struct redis_reader *rd = redis_reader_new(BYTES_MAX, ITEMS_MAX);
    const struct redis_reply *reply;
    enum redis_read what = REDIS_READ_MORE;

    while (size > 0 && what != REDIS_READ_BAD) {
        size_t cut = step == ANY ? fuzz_cut(all, all_size, i++) : step;
        size_t piece = cut > 0 && cut < size ? cut : size;
        if (!redis_reader_feed(rd, data, piece))
            abort();
        while ((what = redis_reader_next(rd, &reply)) == REDIS_READ_REPLY) {
            MUST(show(out, reply) <= ITEMS_MAX);
            if (resp)
                encode(resp, reply);
        }
        data += piece;
        size -= piece;
    }
    if (what == REDIS_READ_BAD && redis_reader_error(rd)[0] == '\0')
        abort();
    redis_reader_free(rd);
    return what;
}

static bool same(const struct buf *a, const struct buf *b)
{
    return a->len == b->len && (!a->len || memcmp(a->data, b->data, a->len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf whole, cut, resp, again;
    enum redis_read a, b;

    if (size < 1)
        return 0;
    buf_init(&whole);
    buf_init(&cut);
    buf_init(&resp);
    buf_init(&again);
    a = run((const char *)data + 1, size - 1, 0, &whole, &resp);
    b = run((const char *)data + 1, size - 1, data[0] < 64 ? 1u + data[0] : ANY, &cut,
            NULL);
    MUST(a == b && same(&whole, &cut));
    MUST(run(resp.data, resp.len, 0, &again, NULL) == REDIS_READ_MORE);
    MUST(same(&whole, &again));
    buf_fini(&whole);
    buf_fini(&cut);
    buf_fini(&resp);
    buf_fini(&again);
    return 0;
}
