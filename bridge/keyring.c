/* keyring: see the header.
 *
 *   timer ─┐
 *   want  ─┴▶ fetch ─▶ jwks_read ─▶ a new set ─▶ round: auth_take_keys, keywait_over
 *
 * A set is made anew and never changed, so nothing is locked where tokens are checked.
 * Whatever goes wrong leaves the keys as they were: an issuer that is down, or a page of
 * HTML, must not lock anybody out who was let in a minute ago. */
#include "bridge/keyring.h"

#include "bridge/auth.h"
#include "bridge/bridge.h"
#include "bridge/jwks.h"
#include "bridge/keyload.h"
#include "bridge/keyset.h"
#include "bridge/keywait.h"
#include "bridge/reactors.h"
#include "bridge/round.h"
#include "common/clock.h"
#include "common/fetch.h"
#include "common/log.h"
#include "common/loop.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
    RETRY_MIN_MS = 1000,      /* between two tries while there are keys to go on with */
    NONE_RETRY_MAX_MS = 5000, /* while there are none */
};

struct keyring {
    struct bridge *bridge;
    struct keyset *keys; /* what the reactors have, or are about to get */
    struct fetcher *fetcher;
    struct fetch *fetch; /* under way */
    struct timer *timer; /* to the next one */
    struct backoff backoff;
    bool failing; /* it has been said in the log */
    size_t taken, skipped;
    int64_t start_ms, fetched_ms; /* monotonic; the last good answer, or 0 */
    int64_t wanted_ms; /* the last fetch that a token was the reason of, or 0 */
};

/* --- handing out ----------------------------------------------------------------------
 */

struct handout {
    struct keyset *keys; /* one reference for each reactor */
    bool asked, fresh;   /* the issuer was asked; and has answered */
};

static void hand_one(struct round_part *part)
{
    const struct handout *h = part->question;

    auth_take_keys(part->bridge->auth, h->keys);
    if (h->asked)
        keywait_over(part->bridge->keywait, h->fresh);
    round_answer(part);
}

/* Takes `keys`. */
static void hand_out(struct keyring *k, struct keyset *keys, bool asked, bool fresh)
{
    static const struct round_kind kind = {.question_size = sizeof(struct handout),
                                           .each = hand_one};
    struct handout h = {keys, asked, fresh};
    size_t count = k->bridge->reactors->count;

    if (keys != k->keys)
        keyset_unref(k->keys);
    k->keys = keys;
    for (size_t i = 0; i < count; i++)
        keyset_ref(keys);
    if (round_ask(k->bridge, &kind, &h, NULL))
        return;
    for (size_t i = 0; i < count; i++)
        keyset_unref(keys);
    log_error("keys could not be handed out: out of memory");
}

/* --- what the issuer says -------------------------------------------------------------
 */

/* Without the old keys' help, and without the text of the answer, which may be anything.
 */
static void fail(struct keyring *k, const char *why)
{
    bool none = !keyset_issued(k->keys);
    int64_t most = k->bridge->conf->jwks_refresh_s * 1000;
    int64_t ms = backoff_next(
        &k->backoff, none && most > NONE_RETRY_MAX_MS ? NONE_RETRY_MAX_MS : most);

    k->bridge->stats.jwks_failed++;
    if (!k->failing)
        log_warn(none ? "the issuer's keys could not be fetched: its tokens cannot be "
                        "checked"
                      : "the issuer's keys could not be fetched: going on with the old",
                 LOG_S("why", why), LOG_I("keys", keyset_issued(k->keys)));
    else
        log_debug("the issuer's keys could not be fetched", LOG_S("why", why));
    k->failing = true;
    timer_start(k->timer, none || ms > RETRY_MIN_MS ? ms : RETRY_MIN_MS);
    hand_out(k, k->keys, true, false);
}

/* max-age of Cache-Control in ms; -1: it says nothing of the kind. */
static int64_t max_age_ms(const struct fetch_answer *a)
{
    const char *at = fetch_answer_header(a, "Cache-Control");
    long long seconds;
    char *end;

    for (; at && *at; at += strcspn(at, ","), at += *at == ',') {
        at += strspn(at, " \t");
        if (strncasecmp(at, "max-age=", 8) != 0 || at[8] < '0' || at[8] > '9')
            continue;
        errno = 0;
        seconds = strtoll(at + 8, &end, 10);
        return errno || seconds > 86400 * 365 ? INT64_MAX : seconds * 1000;
    }
    return -1;
}

/* As the issuer says, but not more often than --jwks-min-interval-s and not less often
 * than --jwks-refresh-s; a little earlier, so that many bridges do not come together. */
static int64_t next_ms(const struct keyring *k, const struct fetch_answer *a)
{
    const struct bridge_conf *conf = k->bridge->conf;
    int64_t most = conf->jwks_refresh_s * 1000, least = conf->jwks_min_interval_s * 1000;
    int64_t ms = max_age_ms(a);

    if (ms < 0 || ms > most)
        ms = most;
    else if (ms < least)
        ms = least < most ? least : most;
    return ms - clock_jitter(ms / 10);
}

static void accept(struct keyring *k, const struct fetch_answer *a, struct keyset *set,
                   const struct jwks_count *count)
{
    if (k->failing || !k->fetched_ms || count->taken != k->taken ||
        count->skipped != k->skipped)
        log_info("the issuer's keys are here", LOG_I("keys", count->taken),
                 LOG_I("skipped", count->skipped));
    k->failing = false;
    k->taken = count->taken;
    k->skipped = count->skipped;
    k->fetched_ms = clock_ms();
    k->bridge->stats.jwks_fetched++;
    backoff_reset(&k->backoff);
    timer_start(k->timer, next_ms(k, a));
    hand_out(k, set, true, true);
}

static void limit_issued(const struct keyring *k, struct keyset *set)
{
    if (set)
        keyset_limit_issued(set, (size_t)k->bridge->conf->jwks_max_keys);
}

/* Its own keys and those of the answer. Returns new, or NULL with the reason in `why`. */
static struct keyset *read_answer(struct keyring *k, const struct fetch_answer *a,
                                  struct jwks_count *ret, struct buf *why)
{
    struct keyset *set;

    if (a->status != 200) {
        if (a->status)
            buf_printf(why, "it answered %d%s", a->status,
                       a->status / 100 == 3 ? ": redirects are not followed" : "");
        else
            buf_str(why, a->why);
        return NULL;
    }
    set = keyset_new();
    limit_issued(k, set);
    if (!set || !keyset_copy_own(set, k->keys) || !keyset_copy_tickets(set, k->keys)) {
        buf_str(why, "out of memory");
    } else if (jwks_read(a->body, a->body_len, k->keys, set, ret, why)) {
        if (ret->taken)
            return set;
        buf_printf(why, "it has no key for RS256, ES256 or EdDSA signatures (of %zu)",
                   ret->skipped);
    }
    keyset_unref(set);
    return NULL;
}

static void on_answer(const struct fetch_answer *a, void *arg)
{
    struct keyring *k = arg;
    struct jwks_count count;
    struct keyset *set;
    struct buf why;

    k->fetch = NULL;
    buf_init(&why);
    set = read_answer(k, a, &count, &why);
    if (set)
        accept(k, a, set, &count);
    else
        fail(k, why.failed || !why.data ? "out of memory" : why.data);
    buf_fini(&why);
}

/* --- asking it ------------------------------------------------------------------------
 */

static void ask(void *arg)
{
    static const struct fetch_header headers[] = {{"Accept", "application/json"}};
    struct keyring *k = arg;
    const struct bridge_conf *conf = k->bridge->conf;
    struct fetch_request r = {.url = conf->jwt_jwks_url,
                              .headers = headers,
                              .header_count = 1,
                              .total_ms = conf->jwks_timeout_ms,
                              .body_max = (size_t)conf->jwks_max_bytes};

    if (k->fetch || !k->fetcher)
        return;
    timer_stop(k->timer);
    k->fetch = fetch_start(k->fetcher, &r, on_answer, k);
    if (!k->fetch)
        fail(k, "out of memory");
}

int64_t keyring_want(struct keyring *k)
{
    int64_t now = clock_ms(), least = k->bridge->conf->jwks_min_interval_s * 1000;

    if (k->fetch)
        return 0;
    if (!k->fetcher)
        return least;
    if (k->wanted_ms && now - k->wanted_ms < least)
        return least - (now - k->wanted_ms);
    k->wanted_ms = now;
    ask(k);
    return k->fetch ? 0 : least;
}

void keyring_reload(struct keyring *k)
{
    struct keyset *set;
    struct buf err;

    buf_init(&err);
    set = keyload(k->bridge->conf, k->keys, &err);
    limit_issued(k, set);
    if (set && keyset_copy_issued(set, k->keys)) {
        log_info("keys read again", LOG_I("keys", keyset_own(set)));
        hand_out(k, set, false, false);
    } else {
        log_error("keys could not be read again: going on with the old",
                  LOG_S("why", err.len ? err.data : "out of memory"));
        keyset_unref(set);
    }
    buf_fini(&err);
    ask(k);
}

/* --- the beginning and the end --------------------------------------------------------
 */

struct keyring *keyring_new(struct bridge *b, struct buf *err)
{
    struct keyring *k = calloc(1, sizeof(*k));
    const char *url = b->conf->jwt_jwks_url;

    if (!k) {
        buf_str(err, "out of memory");
        return NULL;
    }
    k->bridge = b;
    k->keys = keyset_ref(auth_keys(b->auth));
    k->start_ms = clock_ms();
    if (!url || !*url)
        return k;
    k->timer = timer_new(b->loop, ask, k);
    k->fetcher = k->timer ? fetcher_new(b->loop, b->conf->https_ca_file, err) : NULL;
    if (!k->fetcher) {
        keyring_close(k);
        keyring_free(k);
        return NULL;
    }
    if (!strncmp(url, "http://", 7))
        log_warn("the issuer's keys are fetched without TLS: whoever stands between can "
                 "put in keys of their own");
    timer_start(k->timer, 0);
    return k;
}

void keyring_close(struct keyring *k)
{
    if (!k)
        return;
    fetch_cancel(k->fetch);
    fetcher_free(k->fetcher);
    timer_free(k->timer);
    k->fetch = NULL;
    k->fetcher = NULL;
    k->timer = NULL;
}

void keyring_free(struct keyring *k)
{
    if (!k)
        return;
    keyset_unref(k->keys);
    free(k);
}

void keyring_note(const struct keyring *k)
{
    struct bridge_stats *stats = &k->bridge->stats;
    int64_t since = k->fetched_ms ? k->fetched_ms : k->start_ms;

    stats->jwks_keys = k->taken;
    stats->jwks_skipped = k->skipped;
    stats->jwks_age_s = k->fetcher ? (uint64_t)(clock_ms() - since) / 1000 : 0;
}
