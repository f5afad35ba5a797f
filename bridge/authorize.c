/* authorize: question ─▶ known? ─▶ asked already? ─▶ room? ─▶ fetch ─▶ everybody's
 * answer.
 *
 *   authorize_ask ─▶ entry (key: a hash of all that is passed on)
 *                      KNOWN    its answer, until it is too old
 *                      QUEUED   --authorize-concurrency are under way
 *                      ASKING   one fetch, however many wait for it
 *
 * Only answers are kept, and only for the very same question: another method, path,
 * thread or cookie is another one. A failure is never kept, and never a yes. */
#include "bridge/authorize.h"

#include "bridge/auth.h"
#include "bridge/bridge.h"
#include "bridge/question.h"
#include "bridge/reactors.h"
#include "bridge/request.h"
#include "bridge/revoked.h"
#include "common/clock.h"
#include "common/fetch.h"
#include "common/list.h"
#include "common/log.h"
#include "common/strmap.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_SIZE = 32, HEADERS_MAX = QUESTION_HEADERS_MAX + 1 };

enum entry_state { KNOWN, QUEUED, ASKING };

struct entry {
    struct list node; /* of authorize->known, ->queued or ->asking */
    struct authorize *authorize;
    struct list waiters;
    struct buf texts;    /* NAME NUL value NUL …: what is passed on; wiped when asked */
    struct fetch *fetch; /* ASKING */
    enum entry_state state;
    enum authorize_state answer;
    struct identity *identity;
    int64_t until_ms; /* wall clock; KNOWN */
    int64_t since_ms; /* monotonic; QUEUED */
    char key[KEY_SIZE];
};

struct waiter {
    struct list node;
    struct request *r;
};

struct authorize {
    struct bridge *bridge;
    struct fetcher *fetcher;
    struct strmap *entries;
    struct list known;          /* least recently used first */
    struct list queued, asking; /* oldest first */
    size_t known_count, queued_count, asking_count;
    size_t known_max, queued_max, asking_max; /* of this reactor */
    bool failing;                             /* said so */
};

/* --- entries -------------------------------------------------------------------------
 */

static size_t *count_of(struct authorize *a, enum entry_state state)
{
    return state == KNOWN    ? &a->known_count
           : state == QUEUED ? &a->queued_count
                             : &a->asking_count;
}

static void show(struct authorize *a)
{
    a->bridge->stats.authorize_waiting = a->queued_count + a->asking_count;
}

static void enter(struct entry *e, enum entry_state state)
{
    struct authorize *a = e->authorize;

    if (list_linked(&e->node))
        --*count_of(a, e->state);
    list_remove(&e->node);
    e->state = state;
    list_push(state == KNOWN    ? &a->known
              : state == QUEUED ? &a->queued
                                : &a->asking,
              &e->node);
    ++*count_of(a, state);
    show(a);
}

static void entry_free(struct entry *e)
{
    if (list_linked(&e->node))
        --*count_of(e->authorize, e->state);
    list_remove(&e->node);
    show(e->authorize);
    strmap_remove(e->authorize->entries, e->key, KEY_SIZE);
    fetch_cancel(e->fetch);
    identity_unref(e->identity);
    question_wipe(&e->texts);
    free(e);
}

static struct entry *entry_new(struct authorize *a, const char key[KEY_SIZE])
{
    struct entry *e = calloc(1, sizeof(*e));

    if (!e)
        return NULL;
    e->authorize = a;
    list_init(&e->node);
    list_init(&e->waiters);
    buf_init(&e->texts);
    memcpy(e->key, key, KEY_SIZE);
    if (strmap_set(a->entries, e->key, KEY_SIZE, e))
        return e;
    free(e);
    return NULL;
}

/* --- asking --------------------------------------------------------------------------
 */

static bool hash(const struct buf *texts, char key[KEY_SIZE])
{
    unsigned int len = 0;
    return EVP_Digest(texts->data, texts->len, (unsigned char *)key, &len, EVP_sha256(),
                      NULL) &&
           len == KEY_SIZE;
}

static void on_answer(const struct fetch_answer *answer, void *arg);

static bool start(struct entry *e)
{
    const struct bridge_conf *conf = e->authorize->bridge->conf;
    struct fetch_header headers[HEADERS_MAX];
    size_t count = 0;
    const char *at = e->texts.data, *end = at + e->texts.len;

    while (at < end && count < HEADERS_MAX - 1) {
        headers[count].name = at;
        headers[count].value = at += strlen(at) + 1;
        at += strlen(at) + 1;
        count++;
    }
    headers[count++] = (struct fetch_header){"Accept", "application/json"};
    struct fetch_request q = {.url = conf->authorize_url,
                              .headers = headers,
                              .header_count = count,
                              .total_ms = conf->authorize_timeout_ms,
                              .body_max = AUTHORIZED_BODY_MAX};
    e->fetch = fetch_start(e->authorize->fetcher, &q, on_answer, e);
    question_wipe(&e->texts);
    return e->fetch;
}

static void tell(const struct entry *e, struct request *r)
{
    r->authorized = e->answer;
    if (e->answer == AUTHORIZE_YES)
        r->authorized_as = identity_ref(e->identity);
}

/* They ask again, and must not find the entry as it was: it is settled before. */
static void tell_all(struct entry *e)
{
    struct list waiters, *node;

    list_init(&waiters);
    while ((node = list_pop(&e->waiters))) {
        tell(e, LIST_ITEM(node, struct waiter, node)->r);
        list_push(&waiters, node);
    }
    if (e->state != KNOWN)
        entry_free(e);
    while ((node = list_pop(&waiters))) {
        struct waiter *w = LIST_ITEM(node, struct waiter, node);
        if (w->r->conn)
            w->r->again(w->r);
        request_unref(w->r);
        free(w);
    }
}

/* It has waited for as long as an answer may take: who asked shall not wait longer, and
 * hold a connection, because others are not answered. */
static bool is_late(const struct entry *e)
{
    const struct bridge_conf *conf = e->authorize->bridge->conf;

    return clock_ms() - e->since_ms >= conf->authorize_timeout_ms;
}

static void pump(struct authorize *a)
{
    while (a->asking_count < a->asking_max && !list_empty(&a->queued)) {
        struct entry *e = LIST_ITEM(list_next(&a->queued), struct entry, node);
        enter(e, ASKING);
        if (!is_late(e) && start(e))
            continue;
        a->bridge->stats.authorize_failed++;
        e->answer = AUTHORIZE_FAILED;
        tell_all(e);
    }
}

static void note_failure(struct authorize *a, const struct fetch_answer *answer)
{
    a->bridge->stats.authorize_failed++;
    if (!a->failing)
        log_warn("the authorizer does not say", LOG_I("status", answer->status),
                 LOG_S("why", answer->status ? "not an answer" : answer->why));
    a->failing = true;
}

static void keep(struct entry *e)
{
    struct authorize *a = e->authorize;

    if (!a->known_max || e->until_ms <= clock_wall_ms())
        return;
    enter(e, KNOWN);
    while (a->known_count > a->known_max) {
        a->bridge->stats.limit_authorize_cache++;
        entry_free(LIST_ITEM(list_next(&a->known), struct entry, node));
    }
}

static void on_answer(const struct fetch_answer *answer, void *arg)
{
    struct entry *e = arg;
    struct authorize *a = e->authorize;
    const struct bridge_conf *conf = a->bridge->conf;
    int64_t now = clock_wall_ms();

    e->fetch = NULL;
    e->answer = authorized_read(answer->status, answer->body, answer->body_len, now,
                                conf->authorize_ttl_s * 1000, &e->identity, &e->until_ms);
    if (e->answer == AUTHORIZE_FAILED) {
        note_failure(a, answer);
    } else {
        a->failing = false;
        if (e->answer == AUTHORIZE_YES)
            a->bridge->stats.authorize_yes++;
        else
            a->bridge->stats.authorize_no++;
        if (e->answer != AUTHORIZE_YES)
            e->until_ms = now + conf->authorize_refusal_ms;
        keep(e);
    }
    tell_all(e);
    pump(a);
}

/* --- who asks ------------------------------------------------------------------------
 */

/* What is known, if it may still be said. */
static struct entry *lookup(struct authorize *a, const char key[KEY_SIZE])
{
    struct entry *e = strmap_get(a->entries, key, KEY_SIZE);
    struct revoked *revoked = a->bridge->revoked;

    if (!e || e->state != KNOWN)
        return e;
    if (clock_wall_ms() < e->until_ms &&
        !(e->identity && revoked && revoked_covers(revoked, e->identity))) {
        enter(e, KNOWN); /* used last */
        return e;
    }
    entry_free(e);
    return NULL;
}

/* Takes texts when it makes a new one. NULL: no room or no memory. */
static struct entry *find_or_queue(struct authorize *a, struct buf *texts)
{
    char key[KEY_SIZE];
    struct entry *e;

    if (texts->failed || !hash(texts, key))
        return NULL;
    e = lookup(a, key);
    if (e) {
        if (e->state == KNOWN)
            a->bridge->stats.authorize_known++;
        else
            a->bridge->stats.authorize_shared++;
        return e;
    }
    if (a->asking_count >= a->asking_max && a->queued_count >= a->queued_max) {
        a->bridge->stats.limit_authorize_queue++;
        return NULL;
    }
    e = entry_new(a, key);
    if (!e)
        return NULL;
    e->texts = *texts;
    buf_init(texts);
    e->since_ms = clock_ms();
    enter(e, QUEUED);
    return e;
}

static bool wait_for(struct entry *e, struct request *r)
{
    struct waiter *w = malloc(sizeof(*w));

    if (!w)
        return false;
    w->r = request_ref(r);
    list_push(&e->waiters, &w->node);
    return true;
}

bool authorize_ask(struct request *r)
{
    struct authorize *a = r->bridge->authorize;
    struct buf texts;
    struct entry *e;

    r->authorized = AUTHORIZE_UNAUTHORIZED;
    if (!question_worth(r))
        return true;
    r->authorized = AUTHORIZE_FAILED;
    if (!r->conn)
        return true;
    buf_init(&texts);
    question_write(&texts, r);
    e = find_or_queue(a, &texts);
    question_wipe(&texts);
    if (!e)
        return true;
    if (e->state == KNOWN) {
        tell(e, r);
        return true;
    }
    if (!wait_for(e, r)) {
        if (list_empty(&e->waiters))
            entry_free(e);
        return true;
    }
    r->authorized = AUTHORIZE_UNASKED;
    pump(a);
    return false;
}

/* --- one for each reactor -------------------------------------------------------------
 */

static size_t share(const struct bridge *b, int64_t all, size_t least)
{
    size_t part = (size_t)all / b->reactors->count;
    return part > least ? part : least;
}

struct authorize *authorize_new(struct bridge *b, struct buf *err)
{
    struct authorize *a = calloc(1, sizeof(*a));

    if (!a) {
        buf_str(err, "out of memory");
        return NULL;
    }
    a->bridge = b;
    list_init(&a->known);
    list_init(&a->queued);
    list_init(&a->asking);
    a->known_max =
        share(b, b->conf->authorize_cache_max, b->conf->authorize_cache_max > 0);
    a->queued_max = share(b, b->conf->authorize_queue, b->conf->authorize_queue > 0);
    a->asking_max = share(b, b->conf->authorize_concurrency, 1);
    a->entries = strmap_new_borrowing();
    a->fetcher = a->entries ? fetcher_new(b->loop, b->conf->https_ca_file, err) : NULL;
    if (a->fetcher)
        return a;
    if (!err->len)
        buf_str(err, "out of memory");
    authorize_free(a);
    return NULL;
}

static void let_go(struct list *entries)
{
    LIST_EACH(node, next, entries) {
        struct entry *e = LIST_ITEM(node, struct entry, node);
        struct list *waiter;
        while ((waiter = list_pop(&e->waiters))) {
            struct waiter *w = LIST_ITEM(waiter, struct waiter, node);
            request_unref(w->r);
            free(w);
        }
        entry_free(e);
    }
}

void authorize_close(struct authorize *a)
{
    if (!a)
        return;
    let_go(&a->queued);
    let_go(&a->asking);
    let_go(&a->known);
    fetcher_free(a->fetcher);
    a->fetcher = NULL;
}

void authorize_free(struct authorize *a)
{
    if (!a)
        return;
    authorize_close(a);
    strmap_free(a->entries);
    free(a);
}
