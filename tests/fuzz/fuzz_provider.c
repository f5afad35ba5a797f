/* fuzz_provider: what a model provider answers. Wherever the bytes are split, the same is
 * said and the same comes of it; what is said is valid and becomes valid events; nothing
 * is said behind the end. The first byte says which status and type the answer has, the
 * second whether its connection was lost. */
#include "fuzz.h"

#include "common/utf8.h"
#include "worker/agents/openai_answer.h"

enum { BYTES_MAX = 1 << 16, EVENTS_MAX = 200 };

struct heard {
    struct buf text; /* all of it: kinds and texts, neighbours joined */
    char last;
    bool ended;
};

static void hear(struct heard *h, char kind, const char *text, size_t len)
{
    MUST(!h->ended);
    if (h->last != kind || kind == 'c' || kind == 'u') {
        buf_char(&h->text, '\n');
        buf_char(&h->text, kind);
    }
    h->last = kind;
    buf_add(&h->text, text, len);
}

static void on_text(const char *text, size_t len, void *arg)
{
    MUST(len > 0 && len <= OPENAI_PIECE_MAX);
    MUST(utf8_length((const unsigned char *)text, len) > 0);
    hear(arg, 't', text, len);
}

static void on_reasoning(const char *text, size_t len, void *arg)
{
    MUST(len > 0 && len <= OPENAI_PIECE_MAX);
    hear(arg, 'r', text, len);
}

/* It is published as an event, and the bridge takes it. */
static void check_delta(const char *json, size_t len)
{
    static const struct event_run run = {"t1", "r", "a", "m", 1};
    struct event_view v;
    struct buf out;
    json_t *value = json_loadb(json, len, JSON_REJECT_DUPLICATES, NULL);

    MUST(json_is_object(value) && !memchr(json, '\n', len) && !memchr(json, '\r', len));
    json_decref(value);
    buf_init(&out);
    event_json(&out, &run, EVENT_DELTA, json, len, 1);
    MUST(event_check(out.data, out.len, "t1", 2, &v) == EVENT_OK);
    buf_fini(&out);
}

static void on_tool_call(const char *json, size_t len, void *arg)
{
    check_delta(json, len);
    hear(arg, 'c', json, len);
}

static void on_usage(const char *json, size_t len, void *arg)
{
    check_delta(json, len);
    hear(arg, 'u', json, len);
}

static const struct openai_voice voice = {on_text, on_reasoning, on_tool_call, on_usage};

static void say_end(struct heard *h, const struct openai_answer *a)
{
    MUST(a->state == OPENAI_DONE || a->state == OPENAI_FAILED);
    if (a->state == OPENAI_DONE) {
        MUST(a->finish[0] && !a->failure.code);
        buf_printf(&h->text, "\ndone %s", a->finish);
    } else {
        MUST(a->failure.code && a->failure.message.len > 0);
        MUST(utf8_valid(a->failure.message.data, a->failure.message.len));
        buf_printf(&h->text, "\n%s %d %s", a->failure.code, a->failure.retryable,
                   a->failure.message.data);
    }
}

/* In one piece, or in pieces whose sizes the input gives. */
static void play(const uint8_t *head, const char *bytes, size_t len, bool cut,
                 struct heard *h)
{
    static const char *const types[] = {"text/event-stream", "application/json", NULL,
                                        "text/html"};
    static const int statuses[] = {200, 200, 200, 429};
    struct openai_answer a;
    size_t piece;

    *h = (struct heard){.last = 0};
    buf_init(&h->text);
    openai_answer_init(&a, BYTES_MAX, EVENTS_MAX, &voice, h);
    openai_answer_head(&a, statuses[head[0] / 4 % 4], types[head[0] % 4]);
    for (size_t at = 0, i = 0; at < len; at += piece, i++) {
        piece = cut ? fuzz_cut(bytes, len, i) : len;
        if (piece > len - at)
            piece = len - at;
        openai_answer_feed(&a, bytes + at, piece);
    }
    openai_answer_end(&a, head[1] % 2 == 0);
    if (a.state == OPENAI_DONE)
        openai_answer_settle(&a);
    say_end(h, &a);
    h->ended = true;
    openai_answer_feed(&a, bytes, len); /* nobody hears it */
    openai_answer_end(&a, true);
    openai_answer_fini(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct heard whole, cut;
    char *bytes;

    if (size < 2)
        return 0;
    bytes = fuzz_copy((struct span){(const char *)data + 2, size - 2});
    play(data, bytes, size - 2, false, &whole);
    play(data, bytes, size - 2, true, &cut);
    MUST(whole.text.len == cut.text.len &&
         memcmp(whole.text.data, cut.text.data, cut.text.len) == 0);
    buf_fini(&whole.text);
    buf_fini(&cut.text);
    free(bytes);
    return 0;
}
