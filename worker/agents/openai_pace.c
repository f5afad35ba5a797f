/* openai_pace: a word a step, or so: what a model's token is. */
#include "worker/agents/openai_pace.h"

#include "common/loop.h"
#include "common/utf8.h"

#include <string.h>

enum { PIECE_MAX = 16 /* bytes */ };

static size_t next_piece(const struct openai_pace *p)
{
    const char *from = p->text.data + p->at;
    size_t left = p->text.len - p->at, len = left < PIECE_MAX ? left : PIECE_MAX;
    const char *space = len > 1 ? memchr(from + 1, ' ', len - 1) : NULL;

    if (space)
        return (size_t)(space - from);
    len = len < left ? utf8_whole(from, len) : len;
    return len > 0 ? len : left;
}

static void next_tick(struct openai_pace *p)
{
    if (!p->paused && p->going)
        timer_start(p->tick, p->rate > 1000 ? 1 : 1000 / p->rate);
}

static void on_tick(void *arg)
{
    struct openai_pace *p = arg;
    /* a timer is no faster than a millisecond */
    int64_t pieces = p->rate > 1000 ? p->rate / 1000 : 1;

    while (pieces-- > 0 && p->at < p->text.len) {
        size_t n = next_piece(p), at = p->at;
        p->at += n;
        p->on_piece(p->text.data + at, n, p->arg);
    }
    if (p->at < p->text.len) {
        next_tick(p);
    } else {
        p->going = false;
        p->on_end(p->arg);
    }
}

bool openai_pace_init(struct openai_pace *p, struct loop *l, int64_t rate)
{
    *p = (struct openai_pace){.rate = rate};
    buf_init(&p->text);
    p->tick = timer_new(l, on_tick, p);
    return p->tick != NULL;
}

void openai_pace_fini(struct openai_pace *p)
{
    timer_free(p->tick);
    buf_fini(&p->text);
}

void openai_pace_start(struct openai_pace *p)
{
    p->going = true;
    if (!p->paused)
        timer_start(p->tick, 0);
}

void openai_pace_pause(struct openai_pace *p)
{
    p->paused = true;
    timer_stop(p->tick);
}

void openai_pace_resume(struct openai_pace *p)
{
    p->paused = false;
    next_tick(p);
}
