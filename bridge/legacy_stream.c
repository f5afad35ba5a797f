/* legacy_stream: see legacy_stream.h. The races of the original are closed by three
 * habits: it reads only once its channels are subscribed; a message is a hint, and a
 * timer looks too (a `new` may overtake its RPUSH); and what ends the run is believed
 * only at the end of the list, a moment after the last entry (RPUSHes may trail the last
 * word). Must never write to the socket. */
#include "bridge/legacy_stream.h"

#include "bridge/bridge.h"
#include "bridge/client.h"
#include "bridge/clients.h"
#include "bridge/hub.h"
#include "bridge/legacy.h"
#include "bridge/msg.h"
#include "common/clock.h"
#include "common/loop.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    PAGE_COUNT = 64,
    QUEUE_LOW_MARK = 64 << 10, /* bytes left to write when the next page is read */
    WAIT_FIRST_MS = 20,
    WAIT_LIST_MS = 2000,  /* longest pause where channels tell of news */
    WAIT_STREAM_MS = 250, /* and where none does */
    WAIT_WORD_MS = 50,
    SETTLE_MS = 250,       /* behind the last word: pushes that trail it */
    SETTLE_STOP_MS = 1000, /* behind a wish to stop, which a worker sees twice a second */
    SETTLE_MAX_MS = 5000,
};

/* --- saying ------------------------------------------------------------------------- */

/* Takes m (NULL: no memory). */
static void push(struct legacy_stream *s, struct msg *m, bool live)
{
    struct client *c = s->client;

    if (!c->closed && !c->ending && !client_push(c, m, live))
        client_close(c, CLOSE_MEMORY);
    msg_unref(m);
}

/* One event being said. */
struct saying {
    struct legacy_stream *stream;
    bool live;
};

static void say(void *arg, struct msg *m)
{
    struct saying *saying = arg;

    push(saying->stream, m, saying->live);
}

/* The end of the story: whatever the page has not read yet of how it ended. */
static void finish(struct legacy_stream *s, enum legacy_end end)
{
    if (!s->told && s->word != LEGACY_NO_WORD)
        push(s, legacy_status_msg(legacy_word_text(s->word), NULL), false);
    if (!s->told && end != LEGACY_RUNNING)
        push(s, legacy_end_msg(end), false);
    push(s, legacy_close_msg(), false);
    client_end(s->client, CLOSE_ENDED);
}

/* The list is gone or has begun anew: what lay between was never seen. */
static void lose(struct legacy_stream *s)
{
    push(s, legacy_status_msg("error", "A part of this run's output was lost."), false);
    s->lost = true;
    s->bridge->stats.older_lost++;
    s->place = (struct legacy_place){.family = LEGACY_UNKNOWN};
    s->behind = true;
}

/* --- reading ------------------------------------------------------------------------ */

static const char *thread_of(const struct legacy_stream *s)
{
    const struct client *c = s->client;

    return c->count && c->subs[0].topic ? c->subs[0].topic->thread_id : NULL;
}

/* Belongs to the thread that this reader was let in for? */
static bool of_thread(const struct legacy_stream *s, const struct legacy_entry *e)
{
    const char *thread = thread_of(s);

    return !thread || !e->thread.at ||
           (e->thread.len == strlen(thread) &&
            memcmp(e->thread.at, thread, e->thread.len) == 0);
}

static void give(struct legacy_stream *s, const struct legacy_page *page, size_t i)
{
    struct bridge_stats *stats = &s->bridge->stats;
    struct legacy_entry entry;
    struct span place, json = legacy_page_entry(page, i, &place);

    if (!json.at) {
        stats->drop_too_large++;
    } else if (!legacy_entry_read(json.at, json.len, page->family, &entry)) {
        stats->drop_not_json++;
    } else if (!of_thread(s, &entry)) {
        stats->drop_wrong_thread++;
    } else {
        char id[LEGACY_PLACE_SIZE];
        snprintf(id, sizeof(id), "%.*s", (int)place.len, place.at);
        push(s,
             legacy_entry_msg(json.at, json.len, &entry,
                              page->family == LEGACY_NEWEST ? id : NULL),
             false);
        if (entry.end != LEGACY_RUNNING)
            s->end = entry.end;
        s->told |= entry.told;
        s->error |= entry.error;
        s->client->events++;
        stats->older_entries++;
    }
    legacy_place_move(&s->place, page, i);
}

/* Nobody of theirs is at it any more: the list got its lifetime and the lock is gone, as
 * their worker leaves them; or all is gone. Only a silence longer than a lease counts. */
static bool is_over(const struct legacy_stream *s, const struct legacy_page *page)
{
    bool left = page->family != LEGACY_UNKNOWN && page->family != LEGACY_NEWEST &&
                page->ttl_s >= 0;

    return !page->locked && (left || (s->lost && page->family == LEGACY_UNKNOWN)) &&
           clock_ms() - s->heard_ms >= s->bridge->conf->worker_lease_ms;
}

/* Pushes may trail the last word: for a moment, or as long as the worker holds its lock.
 */
static bool word_has_settled(const struct legacy_stream *s,
                             const struct legacy_page *page)
{
    int64_t now = clock_ms();
    int64_t since = s->heard_ms > s->word_ms ? s->heard_ms : s->word_ms;
    int64_t settle_ms = s->word == LEGACY_STOP ? SETTLE_STOP_MS : SETTLE_MS;

    return s->word != LEGACY_NO_WORD && ((!page->locked && now - since >= settle_ms) ||
                                         now - s->word_ms >= SETTLE_MAX_MS);
}

/* Nobody has said how it ended: theirs calls that `completed`. */
static enum legacy_end end_of_left(const struct legacy_stream *s,
                                   const struct legacy_page *page)
{
    if (s->word != LEGACY_NO_WORD)
        return legacy_word_end(s->word);
    if (s->error)
        return LEGACY_FAILED;
    return page->family == LEGACY_UNKNOWN ? LEGACY_RUNNING : LEGACY_COMPLETED;
}

/* At the end of the list: is it the end of the run? */
static bool has_ended(struct legacy_stream *s, const struct legacy_page *page)
{
    if (s->end != LEGACY_RUNNING)
        finish(s, s->end);
    else if (word_has_settled(s, page) || is_over(s, page))
        finish(s, end_of_left(s, page));
    else
        return false;
    return true;
}

static void wait_on(struct legacy_stream *s, bool news)
{
    bool channels = s->place.family == LEGACY_CLASSIC ||
                    s->place.family == LEGACY_NEWER || s->client->run_id;
    int64_t most = s->word != LEGACY_NO_WORD ? WAIT_WORD_MS
                   : channels                ? WAIT_LIST_MS
                                             : WAIT_STREAM_MS;

    s->wait_ms = news || !s->wait_ms ? WAIT_FIRST_MS : s->wait_ms * 2;
    if (s->wait_ms > most)
        s->wait_ms = most;
    timer_start(s->poll, s->wait_ms);
}

static void take(struct legacy_stream *s, const struct legacy_page *page)
{
    size_t first;

    if (!legacy_page_proves(page, &s->place, &first)) {
        lose(s);
        legacy_stream_more(s);
        return;
    }
    bool news = page->count > first;
    for (size_t i = first; i < page->count; i++)
        give(s, page, i);
    if (news)
        s->heard_ms = clock_ms();
    s->behind |= page->more;
    if (s->client->closed || s->client->ending)
        return;
    if (s->behind)
        legacy_stream_more(s);
    else if (!has_ended(s, page))
        wait_on(s, news);
}

static void on_page(const struct legacy_page *page, void *arg)
{
    struct legacy_stream *s = arg;

    struct legacy *l = s->bridge->legacy;

    s->reading = false;
    if (!s->client) {
        legacy_stream_free(s);
    } else if (s->client->closed || s->client->ending) {
        /* nobody listens any more */
    } else if (page) {
        take(s, page);
    } else { /* Redis is away: silence then says nothing of the run */
        s->heard_ms = clock_ms();
        wait_on(s, false);
    }
    legacy_read_end(l);
}

void legacy_stream_more(struct legacy_stream *s)
{
    struct client *c = s->client;

    if (!s->behind || s->reading || s->postgres || !s->run->subscribed || c->closed ||
        c->ending || c->out.bytes >= QUEUE_LOW_MARK ||
        !legacy_read_begin(s->bridge->legacy, s))
        return;
    s->behind = false;
    s->reading = legacy_page_read(s->bridge, s->run->id, &s->place, PAGE_COUNT + 1, false,
                                  on_page, s);
    if (s->reading)
        return;
    legacy_read_unsent(s->bridge->legacy);
    wait_on(s, false);
}

static void on_poll(void *arg)
{
    struct legacy_stream *s = arg;

    s->behind = true;
    legacy_stream_more(s);
    if (!s->reading)
        wait_on(s, false);
}

/* --- for its owners -------------------------------------------------------------------
 */

struct legacy_stream *legacy_stream_new(struct client *c, const struct legacy_spec *spec)
{
    struct legacy_stream *s = calloc(1, sizeof(*s));
    struct bridge *b = c->set->bridge;

    if (!s)
        return NULL;
    list_init(&s->node);
    list_init(&s->line);
    s->bridge = b;
    s->client = c;
    s->behind = true;
    s->heard_ms = clock_ms();
    s->postgres = spec->postgres;
    s->end = spec->end; /* behind all that its list holds */
    s->thread_granted = spec->thread_granted;
    if (spec->last_id[0]) {
        s->place.family = LEGACY_NEWEST;
        snprintf(s->place.last, sizeof(s->place.last), "%s", spec->last_id);
    }
    s->poll = timer_new(b->loop, on_poll, s);
    s->run = s->poll ? legacy_join(b, spec->run_id, s) : NULL;
    if (!s->run) {
        legacy_stream_free(s);
        return NULL;
    }
    legacy_voice_init(&s->voice, s->run->id);
    b->stats.older_streams++;
    c->greeted = true; /* their pages know nothing of `ready` */
    wait_on(s, true);
    return s;
}

void legacy_stream_free(struct legacy_stream *s)
{
    if (!s)
        return;
    if (s->run)
        legacy_leave(s->run, s);
    s->run = NULL;
    s->client = NULL;
    list_remove(&s->line);
    timer_free(s->poll);
    s->poll = NULL;
    if (s->reading)
        return; /* the answer comes, and takes it along */
    legacy_voice_fini(&s->voice);
    free(s);
}

void legacy_stream_wake(struct legacy_stream *s)
{
    s->behind = true;
    s->wait_ms = 0; /* it may be here before what it tells of */
    legacy_stream_more(s);
}

void legacy_stream_word(struct legacy_stream *s, enum legacy_word word)
{
    s->word = word;
    s->word_ms = clock_ms();
}

static bool of_run(const struct legacy_stream *s, const struct msg *m)
{
    return m->run_len == strlen(s->run->id) &&
           memcmp(m->data + m->run_at, s->run->id, m->run_len) == 0;
}

/* Events of a run that a list tells too would be shown twice. */
static bool voices(const struct legacy_stream *s, const struct msg *m)
{
    return of_run(s, m) && s->place.family == LEGACY_UNKNOWN &&
           (s->postgres || !event_id_zero(m->id));
}

/* What anybody else says on the thread's channel: as the fork's guide has it, as it is.
 */
static bool passes(const struct legacy_stream *s, const struct msg *m)
{
    return (s->thread_granted && !m->run_len) ||
           (of_run(s, m) && event_id_zero(m->id) && !s->postgres);
}

void legacy_stream_event(struct legacy_stream *s, struct msg *m, bool live)
{
    if (voices(s, m)) {
        struct saying saying = {s, live};
        enum legacy_end end = legacy_voice_say(&s->voice, m, say, &saying);
        s->client->events++;
        s->heard_ms = clock_ms();
        if (end != LEGACY_RUNNING && !s->client->closed && !s->client->ending) {
            s->told = true;
            finish(s, end);
        }
    } else if (passes(s, m)) {
        push(s, msg_ref(m), live);
    }
}
