#include "said.h"

#include <string.h>

uint64_t hash(const void *data, size_t len)
{
    const uint8_t *bytes = data;
    uint64_t h = UINT64_C(0xCBF29CE484222325);

    for (size_t i = 0; i < len; i++)
        h = (h ^ bytes[i]) * UINT64_C(0x100000001B3);
    return h;
}

static void show(struct buf *out, const struct redis_reply *r)
{
    buf_printf(out, "%d:%lld:%zu:", (int)r->type, (long long)r->integer, r->len);
    if (r->str)
        buf_add(out, r->str, r->len);
    for (size_t i = 0; i < r->count; i++)
        show(out, r->items[i]);
}

uint64_t hash_of(const struct redis_reply *r)
{
    struct buf text;
    uint64_t h;

    buf_init(&text);
    show(&text, r);
    h = hash(text.data, text.len);
    buf_fini(&text);
    return h;
}

bool is_word(const struct redis_reply *r, const char *word)
{
    return r->type == REDIS_STRING && r->len == strlen(word) &&
           memcmp(r->str, word, r->len) == 0;
}

struct said understood(const struct redis_reply *r)
{
    struct said s = {.type = r->type, .whole = hash_of(r)};

    if (r->type != REDIS_ARRAY || r->count != 3 || r->items[1]->type != REDIS_STRING)
        return s;
    s.channel = hash(r->items[1]->str, r->items[1]->len);
    s.subscribed = is_word(r->items[0], "subscribe");
    s.left = is_word(r->items[0], "unsubscribe");
    if (is_word(r->items[0], "message") && r->items[2]->type == REDIS_STRING) {
        s.message = true;
        s.data = hash(r->items[2]->str, r->items[2]->len);
    }
    return s;
}
