/* legacy_page: one script a read, so that position, entries, lifetime and lock are of one
 * moment. It changes nothing; it looks at sixteen entries at a time and stops when the
 * answer is full. */
#include "bridge/legacy_page.h"

#include "bridge/bridge.h"
#include "bridge/legacy_entry.h"
#include "bridge/reader.h"
#include "common/log.h"
#include "common/redis.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    PAGE_BYTES = 256 << 10, /* of entries; the one that passes it is still given */
    LOOK_BYTES = 32 << 10,  /* where only a few words are looked for */
    HEAD = 7,               /* what stands before the entries */
};

/* KEYS: legacy_name's keys in their order.
 * ARGV: family, index or id to begin with, entries, bytes, bytes of one entry, tail
 * Answer: family, length, ttl, lock, stop, more, tail, then index or id and bytes of each
 * entry ("": left out). */
static const char script[] =
    "local f, from, count = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3])\n"
    "local room, most = tonumber(ARGV[4]), tonumber(ARGV[5])\n"
    "local function is(i, kind) return redis.call('TYPE', KEYS[i]).ok == kind end\n"
    "local kinds = {'list', 'list', 'stream'}\n"
    "local function fit(e) if e and #e <= most then return e end return '' end\n"
    "if f == 0 then\n"
    "  for i = 1, 3 do if is(i, kinds[i]) then f = i break end end\n"
    "end\n"
    "local out = {f, 0, -2, redis.call('EXISTS', KEYS[4]),\n"
    "             redis.call('EXISTS', KEYS[5]), 0, ''}\n"
    "if f == 0 or not is(f, kinds[f]) then return out end\n"
    "local key = KEYS[f]\n"
    "out[3] = redis.call('TTL', key)\n"
    "local function put(place, e)\n"
    "  if count <= 0 or room <= 0 then out[6] = 1 return false end\n"
    "  e = fit(e)\n"
    "  out[#out + 1], out[#out + 2] = place, e\n"
    "  count, room = count - 1, room - #e - 64\n"
    "  return true\n"
    "end\n"
    "if f < 3 then\n"
    "  local at = tonumber(from)\n"
    "  out[2] = redis.call('LLEN', key)\n"
    "  if ARGV[6] == '1' then out[7] = fit(redis.call('LINDEX', key, -1)) end\n"
    "  while at < out[2] and out[6] == 0 do\n"
    "    for _, e in ipairs(redis.call('LRANGE', key, at, at + 15)) do\n"
    "      if not put(string.format('%d', at), e) then break end\n"
    "      at = at + 1\n"
    "    end\n"
    "  end\n"
    "else\n"
    "  local function data(x)\n"
    "    for i = 1, #x[2], 2 do\n"
    "      if x[2][i] == 'data' then return x[2][i + 1] end\n"
    "    end\n"
    "  end\n"
    "  out[2] = redis.call('XLEN', key)\n"
    "  if ARGV[6] == '1' then\n"
    "    for _, x in ipairs(redis.call('XREVRANGE', key, '+', '-', 'COUNT', 1)) do\n"
    "      out[7] = fit(data(x))\n"
    "    end\n"
    "  end\n"
    "  local at, got = from, 16\n"
    "  while got == 16 and out[6] == 0 do\n"
    "    local xs = redis.call('XRANGE', key, at, '+', 'COUNT', 16)\n"
    "    got = #xs\n"
    "    for _, x in ipairs(xs) do\n"
    "      if not put(x[1], data(x)) then break end\n"
    "      at = '(' .. x[1]\n"
    "    end\n"
    "  end\n"
    "end\n"
    "return out\n";

/* One read, kept until its answer: Redis may have forgotten the script. */
struct ask {
    struct bridge *bridge;
    legacy_page_fn *fn;
    void *arg;
    bool whole; /* the script itself is sent along */
    char keys[LEGACY_KEYS][LEGACY_NAME_SIZE];
    char family[16], begin[LEGACY_PLACE_SIZE], count[16], bytes[16], most[16], tail[2];
};

static bool read_head(const struct redis_reply *reply, struct legacy_page *ret)
{
    struct redis_reply *const *at = reply->items;

    if (reply->type != REDIS_ARRAY || reply->count < HEAD || (reply->count - HEAD) % 2)
        return false;
    for (size_t i = 0; i < HEAD - 1; i++)
        if (at[i]->type != REDIS_INTEGER)
            return false;
    for (size_t i = HEAD - 1; i < reply->count; i++)
        if (at[i]->type != REDIS_STRING)
            return false;
    if (at[0]->integer < LEGACY_UNKNOWN || at[0]->integer > LEGACY_NEWEST)
        return false;
    *ret = (struct legacy_page){
        .family = (enum legacy_family)at[0]->integer,
        .length = at[1]->integer,
        .ttl_s = at[2]->integer,
        .locked = at[3]->integer != 0,
        .stopping = at[4]->integer != 0,
        .more = at[5]->integer != 0,
        .tail = {at[6]->str, at[6]->len},
        .count = (reply->count - HEAD) / 2,
        .reply = reply,
    };
    return true;
}

static bool ask_send(struct ask *a);

static void on_reply(struct redis *r, const struct redis_reply *reply, void *arg)
{
    (void)r;
    struct ask *a = arg;
    struct legacy_page page;

    if (reply && !a->whole && redis_is_error(reply, "NOSCRIPT")) {
        a->whole = true;
        if (ask_send(a))
            return;
        reply = NULL;
    }
    bool ok = reply && read_head(reply, &page);
    if (reply && !ok) {
        a->bridge->stats.redis_errors++;
        log_debug("an older run cannot be read",
                  LOG_S("reply", reply->type == REDIS_FAILURE ? reply->str : "odd"));
    }
    a->fn(ok ? &page : NULL, a->arg);
    free(a);
}

static bool script_sha(char out[41])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int len = 0;

    if (!EVP_Digest(script, sizeof(script) - 1, digest, &len, EVP_sha1(), NULL) ||
        len != 20)
        return false;
    for (unsigned int i = 0; i < len; i++)
        snprintf(out + 2 * i, 3, "%02x", digest[i]);
    return true;
}

static bool ask_send(struct ask *a)
{
    char sha[41];

    a->whole |= !script_sha(sha);
    return redis_sendv(reader_redis(a->bridge->reader), on_reply, a,
                       a->whole ? "EVAL" : "EVALSHA", a->whole ? script : sha, "5",
                       a->keys[0], a->keys[1], a->keys[2], a->keys[3], a->keys[4],
                       a->family, a->begin, a->count, a->bytes, a->most, a->tail, NULL);
}

static void begin_of(const struct legacy_place *place, char out[LEGACY_PLACE_SIZE])
{
    if (place->family == LEGACY_NEWEST)
        snprintf(out, LEGACY_PLACE_SIZE, "%s", place->last[0] ? place->last : "-");
    else
        snprintf(out, LEGACY_PLACE_SIZE, "%" PRId64,
                 place->next > 0 ? place->next - 1 : 0);
}

bool legacy_page_read(struct bridge *b, const char *run_id,
                      const struct legacy_place *place, int count, bool tail,
                      legacy_page_fn *fn, void *arg)
{
    struct ask *a = reader_ready(b->reader) ? malloc(sizeof(*a)) : NULL;

    if (!a)
        return false;
    *a = (struct ask){.bridge = b, .fn = fn, .arg = arg};
    for (int i = 0; i < LEGACY_KEYS; i++)
        legacy_name(a->keys[i], b->conf->redis_prefix, (enum legacy_name)i, run_id);
    begin_of(place, a->begin);
    snprintf(a->family, sizeof(a->family), "%d", (int)place->family);
    snprintf(a->count, sizeof(a->count), "%d", count);
    snprintf(a->bytes, sizeof(a->bytes), "%d", tail ? LOOK_BYTES : PAGE_BYTES);
    snprintf(a->most, sizeof(a->most), "%d", tail ? LOOK_BYTES : (int)LEGACY_ENTRY_MAX);
    snprintf(a->tail, sizeof(a->tail), "%d", tail);
    if (ask_send(a))
        return true;
    free(a);
    return false;
}

struct span legacy_page_entry(const struct legacy_page *page, size_t i,
                              struct span *ret_place)
{
    const struct redis_reply *place = page->reply->items[HEAD + 2 * i];
    const struct redis_reply *entry = page->reply->items[HEAD + 2 * i + 1];

    *ret_place = (struct span){place->str, place->len};
    return entry->len ? (struct span){entry->str, entry->len} : (struct span){NULL, 0};
}

/* FNV-1a: an accident must not pass, and nobody gains by making one. Never 0. */
static uint64_t proof_of(struct span entry)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < entry.len; i++)
        hash = (hash ^ (unsigned char)entry.at[i]) * UINT64_C(0x100000001b3);
    return hash ? hash : 1;
}

bool legacy_page_proves(const struct legacy_page *page, const struct legacy_place *place,
                        size_t *ret_first)
{
    struct span at, entry;

    *ret_first = 0;
    if (!place->next && !place->last[0])
        return true; /* from the beginning: nothing to prove */
    if (!page->count)
        return false;
    *ret_first = 1;
    entry = legacy_page_entry(page, 0, &at);
    if (page->family == LEGACY_NEWEST &&
        (at.len != strlen(place->last) || memcmp(at.at, place->last, at.len) != 0))
        return false;
    return !place->proof || place->proof == proof_of(entry);
}

void legacy_place_move(struct legacy_place *place, const struct legacy_page *page,
                       size_t i)
{
    struct span at, entry = legacy_page_entry(page, i, &at);

    place->family = page->family;
    place->proof = proof_of(entry);
    if (page->family != LEGACY_NEWEST) {
        place->next++;
    } else if (at.len < sizeof(place->last)) {
        memcpy(place->last, at.at, at.len);
        place->last[at.len] = '\0';
    }
}

bool legacy_place_valid(const char *last_id)
{
    size_t len = strlen(last_id);
    size_t head = strspn(last_id, "0123456789");

    if (!head || head > 19 || len >= LEGACY_PLACE_SIZE)
        return false;
    if (head == len)
        return true;
    size_t tail = strspn(last_id + head + 1, "0123456789");
    return last_id[head] == '-' && tail > 0 && tail <= 19 && head + 1 + tail == len;
}
