/* fetch_stream: answers that their reader gets as they come, and slows down. Readers run
 * from here alone, when no call into curl is on the stack. */
#include "common/fetch_internal.h"

#include "common/loop.h"

static size_t waiting(const struct fetch *q)
{
    return q->body.len - q->handed;
}

static void hand_pieces(struct fetch *q)
{
    while (!q->paused && !q->cancelled && waiting(q) > 0) {
        const char *piece = q->body.data + q->handed;
        size_t len = waiting(q) < WAITING_MAX ? waiting(q) : WAITING_MAX;
        q->handed += len;
        q->reader->on_body(q, piece, len, q->arg);
    }
    if (waiting(q) == 0 && q->handed > 0) {
        q->handed = 0;
        if (q->body.cap > 2 * WAITING_MAX)
            buf_fini(&q->body);
        else
            buf_clear(&q->body);
    }
}

/* What curl has kept meanwhile (of HTTP/2 up to its window of some megabytes) is taken as
 * a whole: refused again, it would copy all that is left for each piece of it. */
static void open_again(struct fetch *q)
{
    q->full = false;
    q->opening = true;
    curl_easy_pause(q->easy, CURLPAUSE_CONT); /* calls on_data at once */
    q->opening = false;
}

void fetch_hand_over(struct fetch *q)
{
    q->busy = true;
    if (q->headed && !q->head_said) {
        q->head_said = true;
        q->reader->on_head(q, (int)fetch_status(q), q->arg);
    }
    hand_pieces(q);
    while (q->full && !q->paused && !q->cancelled) {
        open_again(q);
        hand_pieces(q);
    }
    q->busy = false;
    if (q->cancelled) {
        fetch_take_out(q);
        fetch_free(q);
    } else if (q->over && q->body.len == 0) {
        fetch_finish(q, q->code);
    }
}

void fetch_mark(struct fetch *q)
{
    if (!list_linked(&q->news))
        list_push(&q->fetcher->news, &q->news);
}

size_t fetch_stream_body(struct fetch *q, const char *data, size_t len)
{
    if (q->taken + len > q->taken_max) {
        q->excess = "the answer is larger than it may be";
        return 0;
    }
    if (q->is_left) {
        q->taken += len;
        return len;
    }
    if (!q->opening && waiting(q) > 0 && waiting(q) + len > WAITING_MAX) {
        q->full = true;
        return CURL_WRITEFUNC_PAUSE;
    }
    q->taken += len;
    buf_add(&q->body, data, len);
    fetch_mark(q);
    return q->body.failed ? 0 : len;
}

void fetch_leave_all(struct fetcher *f)
{
    struct list *node;

    while ((node = list_next(&f->left)) != &f->left) {
        struct fetch *q = LIST_ITEM(node, struct fetch, node);
        fetch_take_out(q);
        fetch_free(q);
    }
}

void fetch_leave(struct fetch *q)
{
    struct fetcher *f = q ? q->fetcher : NULL;

    if (!q || q->done || q->busy || q->over || f->left_count >= LEFT_MAX) {
        fetch_cancel(q);
        return;
    }
    list_remove(&q->node);
    list_remove(&q->news);
    f->count--;
    f->left_count++;
    q->is_left = true;
    q->taken_max = q->taken + LEFT_BYTES_MAX;
    list_push(&f->left, &q->node);
    if (!timer_running(f->leave))
        timer_start(f->leave, LEFT_MS);
    if (q->full)
        open_again(q);
}

void fetch_pause(struct fetch *q)
{
    q->paused = true;
}

void fetch_resume(struct fetch *q)
{
    q->paused = false;
    fetch_mark(q);
    timer_start(q->fetcher->later, 0);
}
