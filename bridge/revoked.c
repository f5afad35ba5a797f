/* revoked: a map behind one lock. It is asked once for a request and once when a stream
 * begins, never for an event. What cannot be kept for lack of memory is told to the
 * caller, because a revocation that is forgotten lets somebody in. */
#include "bridge/revoked.h"

#include "bridge/claims.h"
#include "bridge/identity.h"
#include "common/strmap.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct entry {
    int64_t before_ms;
    uint64_t round; /* in which it was last seen in Redis */
    size_t len;
    char name[];
};

struct revoked {
    pthread_mutex_t lock; /* of all below */
    struct strmap *entries;
    int64_t keep_ms;
    uint64_t version;
    bool known;
};

bool revocation_set(struct revocation *r, char kind, const char *text, size_t len,
                    int64_t before_ms)
{
    if (!text || (kind != 's' && kind != 'j') || !sub_valid(text, len))
        return false;
    r->name[0] = kind;
    r->name[1] = ':';
    memcpy(r->name + 2, text, len);
    r->name[len + 2] = '\0';
    r->before_ms = before_ms;
    return true;
}

/* Dates of tokens are whole seconds: one of the very second is among them. */
static bool parse_before(const json_t *before, int64_t now_ms, int64_t *ret)
{
    int64_t now_s = now_ms / 1000, seconds = now_s;

    if (before && !json_is_integer(before))
        return false;
    if (before)
        seconds = json_integer_value(before);
    if (seconds < 0 || seconds > now_s + CLAIMS_LEEWAY_MS / 1000)
        return false;
    *ret = seconds * 1000 + 999;
    return true;
}

bool revocation_parse(const json_t *body, int64_t now_ms, struct revocation *ret,
                      const char **ret_why)
{
    const json_t *sub = json_object_get(body, "sub"), *jti = json_object_get(body, "jti");
    const json_t *before = json_object_get(body, "before"), *name = sub ? sub : jti;
    int64_t before_ms = 0;

    if (!sub == !jti) {
        *ret_why = "give either sub or jti";
        return false;
    }
    if (jti && before) {
        *ret_why = "before goes with sub";
        return false;
    }
    if (!parse_before(before, now_ms, &before_ms)) {
        *ret_why = "before must be Unix seconds and not in the future";
        return false;
    }
    if (!json_is_string(name) ||
        !revocation_set(ret, sub ? 's' : 'j', json_string_value(name),
                        json_string_length(name), before_ms)) {
        *ret_why = "not a subject or the id of a token";
        return false;
    }
    return true;
}

struct revoked *revoked_new(int64_t keep_ms)
{
    struct revoked *s = calloc(1, sizeof(*s));

    if (!s)
        return NULL;
    s->entries = strmap_new_borrowing();
    if (!s->entries) {
        free(s);
        return NULL;
    }
    s->keep_ms = keep_ms;
    pthread_mutex_init(&s->lock, NULL);
    return s;
}

void revoked_free(struct revoked *s)
{
    size_t pos = 0;
    struct entry *e;

    if (!s)
        return;
    while ((e = strmap_next(s->entries, &pos, NULL))) {
        strmap_remove(s->entries, e->name, e->len);
        free(e);
    }
    strmap_free(s->entries);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

static enum revoked_news add(struct revoked *s, const struct revocation *r,
                             uint64_t round)
{
    size_t len = strlen(r->name);
    struct entry *e = strmap_get(s->entries, r->name, len);

    if (!e) {
        e = malloc(sizeof(*e) + len + 1);
        if (!e)
            return REVOKED_NO_MEMORY;
        *e = (struct entry){.before_ms = r->before_ms, .round = round, .len = len};
        memcpy(e->name, r->name, len + 1);
        if (strmap_set(s->entries, e->name, len, e))
            return REVOKED_NEW;
        free(e);
        return REVOKED_NO_MEMORY;
    }
    if (r->before_ms < e->before_ms)
        return REVOKED_OLD; /* whoever said so knows less than we: not seen */
    e->round = round;
    if (r->before_ms == e->before_ms)
        return REVOKED_OLD;
    e->before_ms = r->before_ms;
    return REVOKED_NEW;
}

enum revoked_news revoked_add(struct revoked *s, const struct revocation *r,
                              uint64_t round)
{
    pthread_mutex_lock(&s->lock);
    enum revoked_news news = add(s, r, round);
    s->version += news == REVOKED_NEW;
    pthread_mutex_unlock(&s->lock);
    return news;
}

/* issued_ms -1: nobody said when, so it counts as older than any revocation. */
static bool covers(const struct revoked *s, char kind, const char *text,
                   int64_t issued_ms)
{
    struct revocation r;
    const struct entry *e;

    if (!text || !revocation_set(&r, kind, text, strlen(text), 0))
        return false;
    e = strmap_get(s->entries, r.name, strlen(r.name));
    return e && (kind == 'j' || issued_ms <= e->before_ms);
}

bool revoked_covers(struct revoked *s, const struct identity *id)
{
    pthread_mutex_lock(&s->lock);
    bool found = strmap_count(s->entries) > 0 &&
                 (covers(s, 's', id->sub, id->issued_ms) || covers(s, 'j', id->jti, 0) ||
                  covers(s, 's', id->by, id->by_issued_ms));
    pthread_mutex_unlock(&s->lock);
    return found;
}

void revoked_purge(struct revoked *s, int64_t now_ms)
{
    size_t pos = 0;
    struct entry *e;

    pthread_mutex_lock(&s->lock);
    while ((e = strmap_next(s->entries, &pos, NULL))) {
        if (e->before_ms >= now_ms - s->keep_ms)
            continue;
        strmap_remove(s->entries, e->name, e->len);
        free(e);
    }
    pthread_mutex_unlock(&s->lock);
}

size_t revoked_count(struct revoked *s)
{
    pthread_mutex_lock(&s->lock);
    size_t count = strmap_count(s->entries);
    pthread_mutex_unlock(&s->lock);
    return count;
}

uint64_t revoked_version(struct revoked *s)
{
    pthread_mutex_lock(&s->lock);
    uint64_t version = s->version;
    pthread_mutex_unlock(&s->lock);
    return version;
}

bool revoked_known(struct revoked *s)
{
    pthread_mutex_lock(&s->lock);
    bool known = s->known;
    pthread_mutex_unlock(&s->lock);
    return known;
}

void revoked_set_known(struct revoked *s)
{
    pthread_mutex_lock(&s->lock);
    s->known = true;
    pthread_mutex_unlock(&s->lock);
}

bool revoked_missing(struct revoked *s, uint64_t round, struct revocation *ret)
{
    size_t pos = 0;
    struct entry *e;

    pthread_mutex_lock(&s->lock);
    while ((e = strmap_next(s->entries, &pos, NULL)) && e->round == round)
        ;
    if (e) {
        e->round = round;
        memcpy(ret->name, e->name, e->len + 1);
        ret->before_ms = e->before_ms;
    }
    pthread_mutex_unlock(&s->lock);
    return e;
}
