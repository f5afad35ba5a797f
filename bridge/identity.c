/* identity: who a request is, counted because streams keep it; and what its token grants
 * by name. A list that is not wholly understood is refused: a grant is never guessed. */
#include "bridge/identity.h"

#include "common/event.h" /* utf8_valid */
#include "common/memory.h"
#include "common/names.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

bool sub_valid(const char *sub, size_t len)
{
    if (len < 1 || len > SUB_MAX)
        return false;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)sub[i];
        if (c < 0x20 || c == 0x7f)
            return false;
    }
    return utf8_valid(sub, len);
}

struct identity *identity_new(const char *sub, size_t len, int64_t expires_ms,
                              int64_t life_ms)
{
    struct identity *id;

    if (!sub_valid(sub, len))
        return NULL;
    id = memory_calloc(1, sizeof(*id) + len + 1);
    if (!id)
        return NULL;
    id->refs = 1;
    memcpy(id->sub, sub, len);
    id->expires_ms = expires_ms;
    id->life_ms = life_ms;
    id->end_ms = expires_ms;
    id->issued_ms = id->by_issued_ms = -1;
    return id;
}

struct identity *identity_ref(struct identity *id)
{
    assert(id->refs > 0);
    id->refs++;
    return id;
}

void identity_unref(struct identity *id)
{
    if (!id)
        return;
    assert(id->refs > 0);
    if (--id->refs)
        return;
    grants_free(id->read);
    grants_free(id->write);
    grants_free(id->owned);
    free(id->jti);
    free(id->by);
    free(id);
}

/* A run of the older interface (legacy_access.c); no thread's id holds a colon. */
static const char run_grant[] = "agent_run:";

bool identity_name(const json_t *value, char **ret)
{
    if (!value)
        return true;
    if (!json_is_string(value) ||
        !sub_valid(json_string_value(value), json_string_length(value)))
        return false;
    *ret = memory_copy(json_string_value(value));
    return *ret;
}

static bool grant_valid(const char *s, size_t len, bool prefixes)
{
    size_t skip = sizeof(run_grant) - 1;

    if (prefixes && len > skip && memcmp(s, run_grant, skip) == 0) {
        s += skip;
        len -= skip;
    }
    if (prefixes && len && s[len - 1] == '*')
        return len == 1 || thread_id_valid(s, len - 1);
    return thread_id_valid(s, len);
}

/* How many bytes the texts need; false: one of them is no grant. */
static bool grants_size(const json_t *array, bool prefixes, size_t *ret)
{
    for (size_t i = 0; i < json_array_size(array); i++) {
        const json_t *item = json_array_get(array, i);
        if (!json_is_string(item) ||
            !grant_valid(json_string_value(item), json_string_length(item), prefixes))
            return false;
        *ret += json_string_length(item) + 1;
    }
    return true;
}

bool grants_parse(const json_t *array, bool prefixes, char ***ret)
{
    size_t count = json_array_size(array), size = (count + 1) * sizeof(char *);
    char **list, *text;

    if (!json_is_array(array) || count > GRANTS_MAX ||
        !grants_size(array, prefixes, &size))
        return false;
    list = memory_calloc(1, size);
    if (!list)
        return false;
    text = (char *)(list + count + 1);
    for (size_t i = 0; i < count; i++) {
        const json_t *item = json_array_get(array, i);
        size_t len = json_string_length(item);
        list[i] = memcpy(text, json_string_value(item), len);
        text += len + 1;
    }
    *ret = list;
    return true;
}

void grants_free(char **list)
{
    free(list);
}

/* Every entry was checked by grants_parse: a '*' is only ever the last byte. */
static bool grants_cover(char *const *list, const char *thread_id)
{
    for (size_t i = 0; list && list[i]; i++) {
        size_t len = strlen(list[i]);
        if (list[i][len - 1] == '*' ? !strncmp(list[i], thread_id, len - 1)
                                    : !strcmp(list[i], thread_id))
            return true;
    }
    return false;
}

bool identity_reads(const struct identity *id, const char *thread_id)
{
    return id->everything || grants_cover(id->read, thread_id);
}

bool identity_writes(const struct identity *id, const char *thread_id)
{
    return id->everything || (!id->ticket && grants_cover(id->write, thread_id));
}

bool identity_may_own(const struct identity *id, const char *thread_id)
{
    return !id->ticket || grants_cover(id->owned, thread_id);
}
