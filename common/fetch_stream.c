/* fetch_stream: answers that their reader gets as they come, and slows down. Readers run
 * from here alone, when no call into curl is on the stack. */
#include "common/fetch_internal.h"

#include "common/loop.h"

static void hand_pieces(struct fetch *q)
{
    while (!q->paused && !q->cancelled && q->body.len > 0) {
        struct buf piece = q->body; /* what comes while it is read is another piece */
        buf_init(&q->body);
        q->reader->on_body(q, piece.data, piece.len, q->arg);
        buf_fini(&piece);
    }
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
        q->full = false;
        curl_easy_pause(q->easy, CURLPAUSE_CONT); /* may call on_data at once */
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
    if (q->body.len > 0 && q->body.len + len > WAITING_MAX) {
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
        curl_easy_pause(q->easy, CURLPAUSE_CONT);
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
