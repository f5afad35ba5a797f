/* strmap: open addressing with linear probing. The hash has a seed per
 * map, because names come from peers, who must not be able to choose collisions. */
#include "common/strmap.h"

#include "common/siphash.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { STRMAP_FIRST = 16, STRMAP_KEPT = 1024 /* slots, by a map that is empty */ };

struct slot {
    const char *key; /* NULL: empty; `grave`: removed, a probe goes on behind it */
    void *value;
    uint32_t len, hash;
};

struct strmap {
    struct slot *slots;
    size_t cap;   /* a power of two */
    size_t count; /* keys */
    size_t used;  /* keys and graves */
    uint64_t seed[2];
    bool borrows; /* keys are the values' own */
};

static char grave[1];

struct strmap *strmap_new(void)
{
    struct strmap *m = calloc(1, sizeof(*m));

    if (!m)
        return NULL;
    if (getrandom(m->seed, sizeof(m->seed), 0) != sizeof(m->seed))
        abort();
    return m;
}

struct strmap *strmap_new_borrowing(void)
{
    struct strmap *m = strmap_new();

    if (m)
        m->borrows = true;
    return m;
}

static void key_free(const struct strmap *m, const char *key)
{
    if (!m->borrows)
        free((char *)(uintptr_t)key);
}

static bool is_key(const struct slot *s)
{
    return s->key && s->key != grave;
}

void strmap_free(struct strmap *m)
{
    if (!m)
        return;
    for (size_t i = 0; i < m->cap; i++) {
        if (is_key(&m->slots[i]))
            key_free(m, m->slots[i].key);
    }
    free(m->slots);
    free(m);
}

size_t strmap_count(const struct strmap *m)
{
    return m->count;
}

static struct slot *find(const struct strmap *m, const char *key, size_t len,
                         uint32_t hash)
{
    for (size_t i = hash & (m->cap - 1); m->cap; i = (i + 1) & (m->cap - 1)) {
        struct slot *s = &m->slots[i];
        if (!s->key)
            return NULL;
        if (s->key != grave && s->hash == hash && s->len == len &&
            memcmp(s->key, key, len) == 0)
            return s;
    }
    return NULL;
}

void *strmap_get(const struct strmap *m, const char *key, size_t key_len)
{
    struct slot *s = find(m, key, key_len, siphash(m->seed, key, key_len));

    return s ? s->value : NULL;
}

/* true: into an empty slot, false: into a grave */
static bool place(struct slot *slots, size_t cap, struct slot item)
{
    size_t i = item.hash & (cap - 1);
    bool empty;

    while (slots[i].key && slots[i].key != grave)
        i = (i + 1) & (cap - 1);
    empty = !slots[i].key;
    slots[i] = item;
    return empty;
}

/* Makes room for one more: graves are swept, and the table shrinks as well as grows. */
static bool make_room(struct strmap *m)
{
    size_t cap = STRMAP_FIRST;
    struct slot *slots;

    if ((m->used + 1) * 4 <= m->cap * 3)
        return true;
    while (cap < (m->count + 1) * 2)
        cap *= 2;
    slots = calloc(cap, sizeof(*slots));
    if (!slots)
        return false;
    for (size_t i = 0; i < m->cap; i++) {
        if (is_key(&m->slots[i]))
            place(slots, cap, m->slots[i]);
    }
    free(m->slots);
    m->slots = slots;
    m->cap = cap;
    m->used = m->count;
    return true;
}

static char *key_copy(const char *key, size_t len)
{
    char *copy = malloc(len + 1);

    if (!copy)
        return NULL;
    memcpy(copy, key, len);
    copy[len] = '\0';
    return copy;
}

bool strmap_set(struct strmap *m, const char *key, size_t key_len, void *value)
{
    uint32_t hash = siphash(m->seed, key, key_len);
    struct slot *s = find(m, key, key_len, hash);

    if (s) {
        s->key = m->borrows ? key : s->key; /* the old value's may be freed now */
        s->value = value;
        return true;
    }
    if (key_len > UINT32_MAX || !make_room(m))
        return false;
    key = m->borrows ? key : key_copy(key, key_len);
    if (!key)
        return false;
    m->used +=
        place(m->slots, m->cap, (struct slot){key, value, (uint32_t)key_len, hash});
    m->count++;
    return true;
}

void *strmap_remove(struct strmap *m, const char *key, size_t key_len)
{
    struct slot *s = find(m, key, key_len, siphash(m->seed, key, key_len));
    void *value;
    size_t i;

    if (!s)
        return NULL;
    key_free(m, s->key);
    value = s->value;
    s->key = grave;
    m->count--;
    if (!m->count && m->cap > STRMAP_KEPT) { /* a crowd was here, and has gone */
        free(m->slots);
        m->slots = NULL;
        m->cap = m->used = 0;
        return value;
    }
    i = (size_t)(s - m->slots);
    if (m->slots[(i + 1) & (m->cap - 1)].key)
        return value;
    /* nothing probes past here: this grave and those before it can go */
    for (; m->slots[i].key == grave; i = (i - 1) & (m->cap - 1)) {
        m->slots[i].key = NULL;
        m->used--;
    }
    return value;
}

void *strmap_next(const struct strmap *m, size_t *pos, const char **ret_key)
{
    while (*pos < m->cap) {
        const struct slot *s = &m->slots[(*pos)++];
        if (!is_key(s))
            continue;
        if (ret_key)
            *ret_key = s->key;
        return s->value;
    }
    return NULL;
}
