/* fuzz_sse: whatever an event holds, a strict reader of the stream gets it back. The
 * input is a list of events, each a byte that says of what kind and a piece that it is
 * made of; they go through a stream's queue, are merged as a slow reader's are, leave in
 * pieces of any size, and are read by sse_reader. */
#include "fuzz.h"
#include "sse_reader.h"

#include "bridge/outbuf.h"
#include "bridge/sse.h"

#include <jansson.h>

enum { ITEMS_MAX = 64 };

/* What the reader must find. */
struct item {
    const char *name; /* NULL: unnamed */
    struct buf json;  /* the exact bytes; of a token its text */
    char id[EVENT_ID_SIZE * 3];
    bool token;
};

struct stream {
    struct outbuf out;
    struct item items[ITEMS_MAX];
    size_t count, read;
    struct sse_reader reader;
    uint64_t n;
};

static void check_token(const struct item *item, const struct sse_event *e)
{
    json_t *root = json_loadb(e->data, e->len, JSON_ALLOW_NUL, NULL);
    const json_t *content = json_object_get(root, "content");

    MUST(json_is_string(content) && json_string_length(content) == item->json.len);
    MUST(!item->json.len ||
         memcmp(json_string_value(content), item->json.data, item->json.len) == 0);
    MUST(strcmp(json_string_value(json_object_get(root, "id")), item->id) == 0);
    MUST(strcmp(json_string_value(json_object_get(root, "type")), "token") == 0);
    MUST(strcmp(json_string_value(json_object_get(root, "messageId")), "m") == 0);
    json_decref(root);
}

static void on_event(const struct sse_event *e, void *arg)
{
    struct stream *s = arg;
    MUST(s->read < s->count);
    const struct item *item = &s->items[s->read++];

    MUST(!e->name == !item->name && (!e->name || strcmp(e->name, item->name) == 0));
    MUST(strcmp(e->id ? e->id : "", item->id) == 0);
    MUST(!memchr(e->data, '\n', e->len));
    if (item->token)
        check_token(item, e);
    else
        MUST(e->len == item->json.len && memcmp(e->data, item->json.data, e->len) == 0);
}

static struct item *item_new(struct stream *s, const char *name)
{
    struct item *item = &s->items[s->count++];

    *item = (struct item){.name = name};
    buf_init(&item->json);
    return item;
}

static void push(struct stream *s, struct msg *m)
{
    MUST(m && outbuf_push(&s->out, m, true));
    msg_unref(m);
}

/* As the publishing script does it: the id becomes the first key. */
static struct msg *numbered(struct stream *s, struct buf *json, struct item *item)
{
    struct event_id id = {17, ++s->n};
    struct event_view view;
    struct buf b;

    event_id_format(&id, item->id);
    buf_init(&b);
    buf_printf(&b, "{\"id\":\"%s\",", item->id);
    buf_add(&b, json->data + 1, json->len - 1);
    MUST(event_check(b.data, b.len, "t1", 2, &view) == EVENT_OK);
    struct msg *m = msg_event(b.data, b.len, &view, NULL);
    if (!item->token)
        buf_add(&item->json, b.data, b.len);
    buf_fini(&b);
    buf_clear(json);
    return m;
}

static void add_token(struct stream *s, struct span text, bool merge)
{
    static const struct event_run run = {"t1", "r", "a", "m", 1};
    struct item *item = item_new(s, NULL), *before = item - 1;
    struct buf json;

    item->token = true;
    utf8_repair(&item->json, text.at, text.len);
    buf_init(&json);
    event_token(&json, &run, text.at, text.len, 5);
    struct msg *m = numbered(s, &json, item), *tail = outbuf_tail(&s->out), *merged;
    if (merge && tail && (merged = sse_merge(tail, m))) {
        MUST(s->count > 1 && before->token);
        outbuf_replace_tail(&s->out, merged);
        msg_unref(m);
        buf_add(&before->json, item->json.data, item->json.len);
        memcpy(before->id, item->id, sizeof(item->id));
        buf_fini(&item->json);
        s->count--;
    } else {
        push(s, m);
    }
    buf_fini(&json);
}

static void add_delta(struct stream *s, struct span text)
{
    static const struct event_run run = {"t1", "r", "a", "m", 1};
    struct item *item = item_new(s, NULL);
    struct buf content, json;

    buf_init(&content);
    buf_init(&json);
    buf_str(&content, "{\"kind\":\"x\",\"text\":");
    buf_json(&content, text.at, text.len);
    buf_char(&content, '}');
    event_json(&json, &run, EVENT_DELTA, content.data, content.len, 5);
    push(s, numbered(s, &json, item));
    buf_fini(&content);
    buf_fini(&json);
}

/* Anything that the check lets pass, with its line breaks blanked. */
static void add_raw(struct stream *s, struct span json, const char *position)
{
    struct event_view view;
    struct item *item;

    if (event_check(json.at, json.len, "t1", 2, &view) != EVENT_OK)
        return;
    item = item_new(s, NULL);
    for (size_t i = 0; i < json.len; i++)
        buf_char(&item->json,
                 json.at[i] == '\n' || json.at[i] == '\r' ? ' ' : json.at[i]);
    if (position)
        snprintf(item->id, sizeof(item->id), "%s", position);
    else if (!event_id_zero(view.id))
        event_id_format(&view.id, item->id);
    push(s, msg_event(json.at, json.len, &view, position));
}

static void add_named(struct stream *s, struct span text, bool id)
{
    struct item *item = item_new(s, id ? "reset" : "busy");

    buf_str(&item->json, "{\"reason\":");
    buf_json(&item->json, text.at, text.len);
    buf_char(&item->json, '}');
    if (id)
        snprintf(item->id, sizeof(item->id), "17-%d,0", (int)s->n);
    push(s, sse_named(item->name, item->json.data, id ? item->id : NULL,
                      id ? 0 : (int64_t)text.len));
}

static void add(struct stream *s, uint8_t kind, struct span piece)
{
    switch (kind & 7) {
    case 0:
    case 1:
    case 2:
        add_token(s, piece, kind & 7);
        break;
    case 3:
        add_delta(s, piece);
        break;
    case 4:
        add_raw(s, piece, NULL);
        break;
    case 5:
        add_raw(s, piece, "17-3,0,18-1");
        break;
    case 6:
        add_named(s, piece, kind & 8);
        break;
    default:
        push(s, msg_text(":keepalive\n", 11));
    }
}

/* The socket takes so many bytes. */
static void drain(struct stream *s, size_t room)
{
    struct iovec iov[8];
    size_t done = 0;
    int n = outbuf_iov(&s->out, iov, 8);

    for (int i = 0; i < n && done < room; i++) {
        size_t part = iov[i].iov_len < room - done ? iov[i].iov_len : room - done;
        sse_reader_feed(&s->reader, iov[i].iov_base, part);
        done += part;
    }
    outbuf_consume(&s->out, done);
    if (s->reader.broken)
        fprintf(stderr, "broken: %s\n", s->reader.broken);
    MUST(!s->reader.broken);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct stream s;
    struct fuzz_input in = {data, size};

    s = (struct stream){.out = {.unchunked = fuzz_byte(&in) & 1}};
    sse_reader_init(&s.reader, false, !s.out.unchunked, on_event, &s);
    while (in.len && s.count < ITEMS_MAX) {
        uint8_t kind = fuzz_byte(&in);
        add(&s, kind, fuzz_piece(&in));
        if (kind & 0x40)
            drain(&s, fuzz_byte(&in));
    }
    if (!s.out.unchunked)
        push(&s, sse_last_chunk());
    for (size_t i = 0; s.out.bytes; i++)
        drain(&s, fuzz_cut(data, size, i));
    MUST(s.out.count == 0 && s.out.live == 0 && s.read == s.count);
    MUST(s.out.unchunked || s.reader.stage == SSE_ENDED);
    for (size_t i = 0; i < s.count; i++)
        buf_fini(&s.items[i].json);
    outbuf_fini(&s.out);
    sse_reader_fini(&s.reader);
    return 0;
}
