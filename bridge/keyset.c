/* keyset: see the header. A list, because there are few: the walk costs less than one
 * signature. It must never give a key for an algorithm that is not the key's own. */
#include "bridge/keyset.h"

#include "bridge/keys.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct entry {
    struct key *key;
    char *kid; /* NULL: it has none */
    bool issued;
};

struct keyset {
    atomic_size_t refs;
    size_t count, own, issued, issued_max, ticket_count;
    size_t room; /* in entries */
    struct key *tickets[KEYSET_OWN_MAX];
    struct entry *entries;
};

struct keyset *keyset_new(void)
{
    struct keyset *s = calloc(1, sizeof(*s));

    if (!s)
        return NULL;
    atomic_init(&s->refs, 1);
    s->issued_max = KEYSET_ISSUED;
    return s;
}

struct keyset *keyset_ref(struct keyset *s)
{
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

void keyset_unref(struct keyset *s)
{
    if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) > 1)
        return;
    for (size_t i = 0; i < s->count; i++) {
        key_free(s->entries[i].key);
        free(s->entries[i].kid);
    }
    for (size_t i = 0; i < s->ticket_count; i++)
        key_free(s->tickets[i]);
    free(s->entries);
    free(s);
}

/* --- making one -----------------------------------------------------------------------
 */

void keyset_limit_issued(struct keyset *s, size_t max)
{
    s->issued_max = max;
}

static bool make_room(struct keyset *s)
{
    size_t room = s->room ? 2 * s->room : 8;
    struct entry *more;

    if (s->count < s->room)
        return true;
    more = realloc(s->entries, room * sizeof(*more));
    if (!more)
        return false;
    s->entries = more;
    s->room = room;
    return true;
}

static bool add(struct keyset *s, const char *kid, struct key *key, bool issued)
{
    struct entry e = {.issued = issued};

    if (!make_room(s))
        return false;
    if (kid && !(e.kid = strdup(kid)))
        return false;
    e.key = key_ref(key);
    s->entries[s->count++] = e;
    return true;
}

bool keyset_add_own(struct keyset *s, struct key *key)
{
    if (s->own == 2 * KEYSET_OWN_MAX || !add(s, NULL, key, false))
        return false;
    s->own++;
    return true;
}

bool keyset_add_issued(struct keyset *s, const char *kid, struct key *key)
{
    if (keyset_issued_full(s) || !add(s, kid, key, true))
        return false;
    s->issued++;
    return true;
}

bool keyset_add_ticket(struct keyset *s, struct key *key)
{
    if (s->ticket_count == KEYSET_OWN_MAX)
        return false;
    s->tickets[s->ticket_count++] = key_ref(key);
    return true;
}

static bool copy(struct keyset *s, const struct keyset *from, bool issued)
{
    for (size_t i = 0; i < from->count; i++) {
        const struct entry *e = &from->entries[i];
        if (e->issued == issued &&
            !(issued ? keyset_add_issued(s, e->kid, e->key) : keyset_add_own(s, e->key)))
            return false;
    }
    return true;
}

bool keyset_copy_issued(struct keyset *s, const struct keyset *from)
{
    return copy(s, from, true);
}

bool keyset_copy_own(struct keyset *s, const struct keyset *from)
{
    return copy(s, from, false);
}

bool keyset_copy_tickets(struct keyset *s, const struct keyset *from)
{
    for (size_t i = 0; i < from->ticket_count; i++)
        if (!keyset_add_ticket(s, from->tickets[i]))
            return false;
    return true;
}

/* --- looking into it ------------------------------------------------------------------
 */

size_t keyset_own(const struct keyset *s)
{
    return s->own;
}

bool keyset_issued_full(const struct keyset *s)
{
    return s->issued >= s->issued_max;
}

size_t keyset_issued(const struct keyset *s)
{
    return s->issued;
}

const struct key *keyset_signer(const struct keyset *s)
{
    for (size_t i = 0; i < s->count; i++)
        if (!s->entries[i].issued && key_symmetric(s->entries[i].key))
            return s->entries[i].key;
    return NULL;
}

const struct key *keyset_ticket(const struct keyset *s, size_t i)
{
    return i < s->ticket_count ? s->tickets[i] : NULL;
}

static bool same_name(const char *a, const char *b)
{
    return a && b ? !strcmp(a, b) : a == b;
}

bool keyset_knows(const struct keyset *s, const char *kid)
{
    for (size_t i = 0; i < s->count; i++)
        if (s->entries[i].issued && same_name(s->entries[i].kid, kid))
            return true;
    return false;
}

struct key *keyset_issued_get(const struct keyset *s, const char *kid, const char *alg)
{
    for (size_t i = 0; i < s->count; i++) {
        const struct entry *e = &s->entries[i];
        if (e->issued && same_name(e->kid, kid) && !strcmp(key_alg(e->key), alg))
            return e->key;
    }
    return NULL;
}

/* How many issued keys of this algorithm stand before entry `end`. */
static size_t issued_before(const struct keyset *s, const char *alg, size_t end)
{
    size_t count = 0;

    for (size_t i = 0; i < end; i++)
        count += s->entries[i].issued && !strcmp(key_alg(s->entries[i].key), alg);
    return count;
}

const struct key *keyset_find(const struct keyset *s, const char *alg, const char *kid,
                              size_t *pos)
{
    while (*pos < s->count) {
        const struct entry *e = &s->entries[(*pos)++];
        if (strcmp(key_alg(e->key), alg) != 0)
            continue;
        if (!e->issued || (kid && e->kid && !strcmp(e->kid, kid)))
            return e->key;
        if (!kid && issued_before(s, alg, *pos - 1) < KEYSET_UNNAMED_MAX)
            return e->key;
    }
    return NULL;
}
