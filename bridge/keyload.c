/* keyload: see the header. A file that is not wholly good gives no key at all: a bridge
 * must not run with half of what it was told. Never logs what it read. */
#include "bridge/keyload.h"

#include "bridge/conf.h"
#include "bridge/keyfile.h"
#include "bridge/keys.h"
#include "bridge/keyset.h"
#include "common/log.h"

#include <openssl/crypto.h>
#include <string.h>

typedef struct key *key_maker(const void *text, size_t len, struct buf *err);

/* `JWT_SECRET= threadcast-bridge` is the same as none. */
static bool given(const char *text)
{
    return text && *text;
}

/* One key of this text, put into the set. `from` names the option or file in `err`. */
static bool add_key(struct keyset *set, key_maker *make, const char *from,
                    const void *text, size_t len, struct buf *err)
{
    struct buf why;
    struct key *key;
    bool ok;

    buf_init(&why);
    key = make(text, len, &why);
    if (!key)
        buf_printf(err, "%s: %s", from, why.failed ? "out of memory" : why.data);
    buf_fini(&why);
    if (!key)
        return false;
    ok = keyset_add_own(set, key);
    if (!ok)
        buf_printf(err, "%s: more than %d keys", from, KEYSET_OWN_MAX);
    key_free(key);
    return ok;
}

static void wipe(struct buf *text)
{
    if (text->data)
        OPENSSL_cleanse(text->data, text->len);
    buf_fini(text);
}

/* --- secrets --------------------------------------------------------------------------
 */

static bool add_secret(struct keyset *set, const struct bridge_conf *conf,
                       struct buf *err)
{
    struct buf text;
    bool ok;

    if (given(conf->jwt_secret))
        return add_key(set, key_from_secret, "JWT_SECRET", conf->jwt_secret,
                       strlen(conf->jwt_secret), err);
    if (conf->demo && !keyfile_make(conf->jwt_secret_file, err))
        return false;
    buf_init(&text);
    ok = keyfile_read(conf->jwt_secret_file, &text, err) &&
         add_key(set, key_from_secret, conf->jwt_secret_file, text.data, text.len, err);
    wipe(&text);
    return ok;
}

/* One secret a line; empty lines do not count. */
static bool add_lines(struct keyset *set, const char *from, const char *text,
                      struct buf *err)
{
    for (size_t len; *text; text += len) {
        len = strcspn(text, "\r\n");
        if (len && (keyset_own(set) == KEYSET_OWN_MAX ||
                    !add_key(set, key_from_secret, from, text, len, err))) {
            if (keyset_own(set) == KEYSET_OWN_MAX)
                buf_printf(err, "%s: more than %d secrets", from, KEYSET_OWN_MAX);
            return false;
        }
        len += strspn(text + len, "\r\n");
    }
    return true;
}

static bool add_previous(struct keyset *set, const struct bridge_conf *conf,
                         struct buf *err)
{
    struct buf text;
    bool ok;

    if (given(conf->jwt_secret_previous))
        return add_lines(set, "JWT_SECRET_PREVIOUS", conf->jwt_secret_previous, err);
    if (!given(conf->jwt_secret_previous_file))
        return true;
    buf_init(&text);
    ok = keyfile_read(conf->jwt_secret_previous_file, &text, err) &&
         add_lines(set, conf->jwt_secret_previous_file, text.data, err);
    wipe(&text);
    return ok;
}

/* --- public keys ----------------------------------------------------------------------
 */

/* One PEM block after the other; what stands before the first is a comment. */
static bool add_blocks(struct keyset *set, const char *from, const struct buf *text,
                       struct buf *err)
{
    const char *end = text->data + text->len, *at = strstr(text->data, "-----BEGIN");
    size_t most = keyset_own(set) + KEYSET_OWN_MAX;

    if (!at)
        at = text->data; /* for its complaint */
    while (at) {
        const char *next = strstr(at + 1, "-----BEGIN");
        size_t len = (size_t)((next ? next : end) - at);
        if (keyset_own(set) == most) {
            buf_printf(err, "%s: more than %d keys", from, KEYSET_OWN_MAX);
            return false;
        }
        if (!add_key(set, key_from_pem, from, at, len, err))
            return false;
        at = next;
    }
    return true;
}

static bool add_public(struct keyset *set, const struct bridge_conf *conf,
                       struct buf *err)
{
    struct buf text;
    bool ok;

    buf_init(&text);
    ok = keyfile_read(conf->jwt_public_key_file, &text, err) &&
         add_blocks(set, conf->jwt_public_key_file, &text, err);
    buf_fini(&text);
    return ok;
}

/* --- tickets --------------------------------------------------------------------------
 */

/* A ticket key of this one, so that neither is ever taken for the other. */
static bool add_derived(struct keyset *set, const struct key *key)
{
    struct key *derived = key_derive(key, "threadcast ticket 1");
    bool ok = derived && keyset_add_ticket(set, derived);

    key_free(derived);
    return ok;
}

/* Of every secret, the first of which signs: tickets survive a rotation as tokens do. */
static bool add_derived_all(struct keyset *set)
{
    const struct key *key;
    size_t pos = 0;

    while ((key = keyset_find(set, "HS256", NULL, &pos)))
        if (!add_derived(set, key))
            return false;
    return true;
}

static bool add_random(struct keyset *set, const struct keyset *before)
{
    const struct key *kept = before ? keyset_ticket(before, 0) : NULL;
    struct key *key;
    bool ok;

    if (kept)
        return keyset_copy_tickets(set, before);
    log_warn("tickets are signed with a key of this process: they end with it and no "
             "other bridge takes them; give a ticket secret to change that");
    key = key_random();
    ok = key && add_derived(set, key);
    key_free(key);
    return ok;
}

static bool add_tickets(struct keyset *set, const struct bridge_conf *conf,
                        const struct keyset *before, struct buf *err)
{
    struct buf why;
    struct key *own;
    bool ok;

    if (given(conf->ticket_secret)) {
        buf_init(&why);
        own = key_from_secret(conf->ticket_secret, strlen(conf->ticket_secret), &why);
        ok = own && add_derived(set, own);
        if (!own)
            buf_printf(err, "ticket secret: %s", why.failed ? "out of memory" : why.data);
        key_free(own);
        buf_fini(&why);
    } else {
        ok = keyset_signer(set) ? add_derived_all(set) : add_random(set, before);
    }
    if (!ok && !err->len)
        buf_str(err, "cannot make the key for tickets");
    return ok;
}

/* --- all of it ------------------------------------------------------------------------
 */

/* NULL, or what does not fit together. */
static const char *contradiction(const struct bridge_conf *conf)
{
    bool secret = given(conf->jwt_secret) || given(conf->jwt_secret_file);

    if (given(conf->jwt_secret) && given(conf->jwt_secret_file))
        return "JWT_SECRET and JWT_SECRET_FILE: give one only";
    if (given(conf->jwt_secret_previous) && given(conf->jwt_secret_previous_file))
        return "JWT_SECRET_PREVIOUS and JWT_SECRET_PREVIOUS_FILE: give one only";
    if (conf->demo && !secret)
        return "--demo signs its guests in by itself: it needs JWT_SECRET_FILE, where it "
               "keeps the key that it makes, or JWT_SECRET";
    if (!secret &&
        (given(conf->jwt_secret_previous) || given(conf->jwt_secret_previous_file)))
        return "JWT_SECRET_PREVIOUS is of no use without JWT_SECRET";
    if (!secret && !given(conf->jwt_public_key_file) && !given(conf->jwt_jwks_url) &&
        !given(conf->authorize_url))
        return "no key for tokens: give JWT_SECRET, JWT_SECRET_FILE, JWT_PUBLIC_KEY_FILE "
               "or JWT_JWKS_URL";
    return NULL;
}

struct keyset *keyload(const struct bridge_conf *conf, const struct keyset *before,
                       struct buf *err)
{
    const char *wrong = contradiction(conf);
    struct keyset *set;

    if (wrong) {
        buf_str(err, wrong);
        return NULL;
    }
    set = keyset_new();
    if (!set) {
        buf_str(err, "out of memory");
        return NULL;
    }
    if ((given(conf->jwt_secret) || given(conf->jwt_secret_file)) &&
        (!add_secret(set, conf, err) || !add_previous(set, conf, err)))
        goto fail;
    if (given(conf->jwt_public_key_file) && !add_public(set, conf, err))
        goto fail;
    if (add_tickets(set, conf, before, err))
        return set;

fail:
    keyset_unref(set);
    return NULL;
}
