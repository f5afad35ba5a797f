/* round: see round.h. Everything but `each` happens in the thread of who asked, so a
 * round has no lock of its own: letters carry it there and back. It is freed when the
 * last part is back, which may be long after `done` when a reactor hangs. */
#include "bridge/round.h"

#include "bridge/bridge.h"
#include "bridge/reactors.h"
#include "common/loop.h"
#include "common/mailbox.h"

#include <stdlib.h>
#include <string.h>

/* Redis and Postgres get --upstream-timeout-ms; their silence is an answer, too. */
enum { MORE_MS = 500 };

struct part {
    struct round_part pub; /* first: round_answer gets here from it */
    struct letter letter;
    struct round *round;
    bool asked, answered;
};

struct round {
    const struct round_kind *kind;
    struct bridge *from;
    void *arg;
    struct timer *patience; /* NULL once `done` was called */
    size_t count, out;      /* parts; those that are not back */
    struct part parts[];    /* then the question, then the answers */
};

static void finish(struct round *r)
{
    timer_free(r->patience);
    r->patience = NULL;
    if (r->kind->done)
        r->kind->done(r, r->arg);
}

static void on_patience_over(void *arg)
{
    finish(arg);
}

static void end(struct round *r)
{
    if (r->patience)
        finish(r);
    for (size_t i = 0; r->kind->gone && i < r->count; i++)
        r->kind->gone(r->parts[i].pub.answer);
    free(r);
}

static void come_back(struct part *p)
{
    struct round *r = p->round;

    p->answered = true;
    r->from->unanswered[p - r->parts]--;
    if (--r->out == 0)
        end(r);
}

static void on_back(struct letter *letter)
{
    come_back(LIST_ITEM(letter, struct part, letter));
}

void round_answer(struct round_part *pub)
{
    struct part *p = (struct part *)(void *)pub;

    if (pub->bridge == p->round->from) {
        come_back(p);
        return;
    }
    p->letter.fn = on_back;
    mailbox_post(p->round->from->mailbox, &p->letter);
}

static void on_asked(struct letter *letter)
{
    struct part *p = LIST_ITEM(letter, struct part, letter);
    p->round->kind->each(&p->pub);
}

static size_t aligned(size_t size)
{
    size_t unit = sizeof(max_align_t);
    return (size + unit - 1) / unit * unit;
}

static struct round *round_new(struct bridge *from, const struct round_kind *kind,
                               const void *question)
{
    size_t count = from->reactors ? from->reactors->count : 1;
    size_t head = aligned(sizeof(struct round) + count * sizeof(struct part));
    size_t answer = aligned(kind->answer_size), text = aligned(kind->question_size);
    struct round *r = calloc(1, head + text + count * answer);

    if (!r)
        return NULL;
    char *at = (char *)r + head;
    if (kind->question_size)
        memcpy(at, question, kind->question_size);
    r->kind = kind;
    r->from = from;
    r->count = count;
    for (size_t i = 0; i < count; i++) {
        struct part *p = &r->parts[i];
        list_init(&p->letter.node);
        p->round = r;
        p->pub.bridge = from->reactors ? from->reactors->all[i] : from;
        p->pub.question = at;
        p->pub.answer = at + text + i * answer;
    }
    return r;
}

static bool has_room(const struct bridge *from, size_t i)
{
    return from->unanswered[i] < from->conf->max_rounds;
}

bool round_room(const struct bridge *from)
{
    for (size_t i = 0; i < (from->reactors ? from->reactors->count : 1); i++)
        if (!has_room(from, i))
            return false;
    return true;
}

/* Whom this round asks; counts them. */
static void choose(struct round *r)
{
    struct bridge *from = r->from;

    for (size_t i = 0; i < r->count; i++) {
        r->parts[i].letter.fn = on_asked;
        r->parts[i].asked = !r->kind->bounded || has_room(from, i);
        from->unanswered[i] += r->parts[i].asked;
        from->stats.limit_rounds += !r->parts[i].asked;
        r->out += r->parts[i].asked;
    }
}

bool round_ask(struct bridge *from, const struct round_kind *kind, const void *question,
               void *arg)
{
    struct round *r = round_new(from, kind, question);

    if (!r)
        return false;
    r->arg = arg;
    r->patience = timer_new(from->loop, on_patience_over, r);
    if (!r->patience) {
        free(r);
        return false;
    }
    timer_start(r->patience, from->conf->upstream_timeout_ms + MORE_MS);
    choose(r);
    bool told = kind->done || r->out == r->count;
    struct part *own = &r->parts[from->number];
    for (size_t i = 0; i < r->count; i++) {
        struct part *p = &r->parts[i];
        if (p != own && p->asked)
            mailbox_post(p->pub.bridge->mailbox, &p->letter);
    }
    if (own->asked)
        kind->each(&own->pub); /* last: with one reactor this is the end of it */
    else if (!r->out)
        end(r);
    return told;
}

size_t round_size(const struct round *r)
{
    return r->count;
}

const void *round_said(const struct round *r, size_t i)
{
    return r->parts[i].answered ? r->parts[i].pub.answer : NULL;
}

struct bridge *round_from(const struct round *r)
{
    return r->from;
}
