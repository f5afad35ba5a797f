/* The only file that sees hiredis:
 *
 *   socket bytes ─feed─▶ redisReader ─create*─▶ arena of one reply ─next─▶ redis.c
 *
 * A reply and all its strings lie in one arena that is wiped when the next one is asked
 * for, so a message costs no allocation. The reader itself has no limits: it would buffer
 * whatever length a peer announces. They are here. */
#include "common/redis_reply.h"

#include "common/redis.h"

#include <hiredis/read.h>
#include <hiredis/sds.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_BYTES ((size_t)32 << 10)    /* the first one; it is kept */
#define BLOCK_BYTES_MAX ((size_t)1 << 20) /* later ones double up to this */
#define READER_SPARE_BYTES ((size_t)256 << 10)

struct block {
    struct block *next; /* the older one */
    size_t used, size;
    _Alignas(16) char data[];
};

struct redis_reader {
    redisReader *hiredis;
    struct block *blocks; /* newest first; the last one is kept for ever */
    size_t bytes, bytes_max;
    size_t items, items_max;
    const char *why; /* which limit was passed */
};

static void arena_wipe(struct redis_reader *rd)
{
    while (rd->blocks->next) {
        struct block *b = rd->blocks;
        rd->blocks = b->next;
        free(b);
    }
    rd->blocks->used = 0;
    rd->bytes = 0;
    rd->items = 0;
}

static struct block *block_new(size_t size, struct block *next)
{
    struct block *b = malloc(sizeof(*b) + size);

    if (b)
        *b = (struct block){.next = next, .size = size};
    return b;
}

static void *arena_grow(struct redis_reader *rd, size_t len)
{
    size_t size = rd->blocks->size * 2;
    struct block *b;

    if (size > BLOCK_BYTES_MAX)
        size = BLOCK_BYTES_MAX;
    if (size < len)
        size = len;
    b = block_new(size, rd->blocks);
    if (!b)
        return NULL;
    rd->blocks = b;
    b->used = len;
    return b->data;
}

static void *arena_alloc(struct redis_reader *rd, size_t len)
{
    struct block *b = rd->blocks;
    void *p;

    len = (len + 15) & ~(size_t)15;
    if (len > rd->bytes_max || rd->bytes > rd->bytes_max - len) {
        rd->why = "a reply is too large";
        return NULL;
    }
    rd->bytes += len;
    if (b->size - b->used < len)
        return arena_grow(rd, len);
    p = b->data + b->used;
    b->used += len;
    return p;
}

/* Hooks a new reply into the array it belongs to. */
static struct redis_reply *reply_new(const redisReadTask *task, enum redis_type type,
                                     size_t extra)
{
    struct redis_reader *rd = task->privdata;
    struct redis_reply *reply = arena_alloc(rd, sizeof(*reply) + extra);

    if (!reply)
        return NULL;
    *reply = (struct redis_reply){.type = type};
    if (task->parent) {
        const struct redis_reply *array = task->parent->obj;
        struct redis_reply **items = (struct redis_reply **)(uintptr_t)array->items;
        items[task->idx] = reply;
    }
    return reply;
}

static void *on_string(const redisReadTask *task, char *str, size_t len)
{
    enum redis_type type = task->type == REDIS_REPLY_ERROR    ? REDIS_FAILURE
                           : task->type == REDIS_REPLY_STATUS ? REDIS_STATUS
                                                              : REDIS_STRING;
    struct redis_reply *reply = reply_new(task, type, len + 1);
    char *copy;

    if (!reply)
        return NULL;
    copy = (char *)(reply + 1);
    memcpy(copy, str, len);
    copy[len] = '\0';
    reply->str = copy;
    reply->len = len;
    return reply;
}

static void *on_array(const redisReadTask *task, int count)
{
    struct redis_reader *rd = task->privdata;
    struct redis_reply *reply;

    if (count < 0 || (size_t)count > rd->items_max - rd->items) {
        rd->why = "a reply has too many elements";
        return NULL;
    }
    rd->items += (size_t)count;
    reply = reply_new(task, REDIS_ARRAY, (size_t)count * sizeof(struct redis_reply *));
    if (!reply)
        return NULL;
    reply->items = (struct redis_reply *const *)(reply + 1);
    reply->count = (size_t)count;
    return reply;
}

static void *on_integer(const redisReadTask *task, long long value)
{
    struct redis_reply *reply = reply_new(task, REDIS_INTEGER, 0);

    if (reply)
        reply->integer = value;
    return reply;
}

static void *on_nil(const redisReadTask *task)
{
    return reply_new(task, REDIS_NIL, 0);
}

static void on_free(void *object)
{
    (void)object; /* the arena's */
}

static redisReplyObjectFunctions functions = {
    .createString = on_string,
    .createArray = on_array,
    .createInteger = on_integer,
    .createNil = on_nil,
    .freeObject = on_free,
};

struct redis_reader *redis_reader_new(size_t bytes_max, size_t items_max)
{
    struct redis_reader *rd = calloc(1, sizeof(*rd));

    if (!rd)
        return NULL;
    rd->bytes_max = bytes_max;
    rd->items_max = items_max;
    rd->blocks = block_new(BLOCK_BYTES, NULL);
    if (!rd->blocks || !redis_reader_reset(rd)) {
        redis_reader_free(rd);
        return NULL;
    }
    return rd;
}

void redis_reader_free(struct redis_reader *rd)
{
    if (!rd)
        return;
    if (rd->hiredis)
        redisReaderFree(rd->hiredis);
    if (rd->blocks)
        arena_wipe(rd);
    free(rd->blocks);
    free(rd);
}

bool redis_reader_reset(struct redis_reader *rd)
{
    if (rd->hiredis)
        redisReaderFree(rd->hiredis);
    arena_wipe(rd);
    rd->why = NULL;
    rd->hiredis = redisReaderCreateWithFunctions(&functions);
    if (!rd->hiredis)
        return false;
    rd->hiredis->privdata = rd;
    rd->hiredis->maxbuf = 0; /* give_back does it */
    return true;
}

/* What a large reply has left is not kept. (hiredis would do so, and abort when there is
 * no memory for an empty buffer then.) */
static void give_back(redisReader *h)
{
    sds empty;

    if (h->err || h->len > 0 || sdsavail(h->buf) <= READER_SPARE_BYTES)
        return;
    empty = sdsempty();
    if (!empty)
        return;
    sdsfree(h->buf);
    h->buf = empty;
    h->pos = 0;
}

bool redis_reader_feed(struct redis_reader *rd, const char *data, size_t len)
{
    give_back(rd->hiredis);
    return redisReaderFeed(rd->hiredis, data, len) == REDIS_OK;
}

/* "1048576\r\n" as far as it is there. 20 bytes without an end are no length; a length
 * that could never be accepted is refused before its bytes are waited for. */
static const char *check_header(const struct redis_reader *rd, const char *s, size_t len,
                                bool bulk)
{
    size_t value = 0, i;

    for (i = 0; i < len && s[i] != '\r'; i++) {
        if (i >= 20)
            return "a length without an end";
        if (s[i] >= '0' && s[i] <= '9' && value <= rd->bytes_max)
            value = value * 10 + (size_t)(s[i] - '0');
    }
    if (bulk && i < len && s[0] != '-' && value > rd->bytes_max)
        return "a reply is too large";
    return NULL;
}

/* What is still waiting for its end must be able to become an acceptable reply. */
static const char *check_pending(const struct redis_reader *rd)
{
    const redisReader *h = rd->hiredis;
    size_t waiting = h->len - h->pos;

    if (waiting > rd->bytes_max || rd->bytes > rd->bytes_max - waiting)
        return "a reply is too large";
    if (h->ridx < 0 || waiting == 0)
        return NULL;
    switch (h->rstack[h->ridx].type) {
    case REDIS_REPLY_STRING:
        return check_header(rd, h->buf + h->pos, waiting, true);
    case REDIS_REPLY_ARRAY:
        return check_header(rd, h->buf + h->pos, waiting, false);
    case REDIS_REPLY_STATUS:
    case REDIS_REPLY_ERROR:
    case REDIS_REPLY_INTEGER:
        return waiting > REDIS_REPLY_LINE_MAX ? "a line is too long" : NULL;
    default:
        return NULL;
    }
}

enum redis_read redis_reader_next(struct redis_reader *rd,
                                  const struct redis_reply **ret_reply)
{
    void *reply = NULL;

    if (rd->hiredis->ridx < 0) /* the last one is complete: its memory is free again */
        arena_wipe(rd);
    if (redisReaderGetReply(rd->hiredis, &reply) != REDIS_OK)
        return REDIS_READ_BAD;
    if (reply) {
        *ret_reply = reply;
        return REDIS_READ_REPLY;
    }
    rd->why = check_pending(rd);
    return rd->why ? REDIS_READ_BAD : REDIS_READ_MORE;
}

const char *redis_reader_error(const struct redis_reader *rd)
{
    return rd->why ? rd->why : rd->hiredis->errstr;
}

bool redis_is_error(const struct redis_reply *reply, const char *code)
{
    size_t len = strlen(code);

    return reply && reply->type == REDIS_FAILURE && reply->len >= len &&
           memcmp(reply->str, code, len) == 0 &&
           (reply->str[len] == '\0' || reply->str[len] == ' ');
}
