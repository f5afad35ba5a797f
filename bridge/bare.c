/* bare: the threads that were named, emptied every hour, so that it needs no upkeep and
 * an old publisher cannot fill the log or the memory. What was not named is in `more` of
 * the next line. */
#include "bridge/bare.h"

#include "common/log.h"
#include "common/names.h"
#include "common/strmap.h"

#include <stdlib.h>
#include <string.h>

#define MINUTE_MS 60000

struct bare {
    struct strmap *named; /* thread id → itself, for want of anything to say */
    int64_t hour_ms, minute_ms;
    int lines;     /* in this minute */
    uint64_t more; /* events of threads that have not been named */
};

struct bare *bare_new(void)
{
    struct bare *b = calloc(1, sizeof(*b));
    if (b)
        b->named = strmap_new();
    if (b && !b->named) {
        free(b);
        return NULL;
    }
    return b;
}

void bare_free(struct bare *b)
{
    if (!b)
        return;
    strmap_free(b->named);
    free(b);
}

static void turn_clocks(struct bare *b, int64_t now_ms)
{
    if (now_ms - b->minute_ms >= MINUTE_MS) {
        b->minute_ms = now_ms;
        b->lines = 0;
    }
    if (now_ms - b->hour_ms < BARE_FORGET_MS)
        return;
    b->hour_ms = now_ms;
    struct strmap *fresh = strmap_count(b->named) ? strmap_new() : NULL;
    if (fresh) {
        strmap_free(b->named);
        b->named = fresh;
    }
}

bool bare_seen(struct bare *b, const char *prefix, const char *thread_id, int64_t now_ms)
{
    size_t len = strlen(thread_id);
    turn_clocks(b, now_ms);
    if (strmap_get(b->named, thread_id, len))
        return false;
    if (b->lines >= BARE_LINES_PER_MIN || !strmap_set(b->named, thread_id, len, b)) {
        b->more++;
        return false;
    }
    char channel[NAMES_KEY_SIZE];
    names_channel(channel, prefix, thread_id);
    log_warn(
        "bare PUBLISH: passed on, but lost to who reconnects; publish with an SDK or "
        "publish.lua (docs/PUBLISHING.md)",
        LOG_S("channel", channel), LOG_I("more", b->more));
    b->lines++;
    b->more = 0;
    return true;
}
