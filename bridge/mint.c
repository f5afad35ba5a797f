/* mint: its own options are taken out of the command line, and the rest, with the
 * environment, is read as the daemon reads it. What it prints is good for this bridge:
 * the audience, the issuer and the place of the grants are those that the bridge asks
 * for. It never prints a key, and never makes one. */
#include "bridge/mint.h"

#include "bridge/conf.h"
#include "bridge/identity.h"
#include "bridge/jwt.h"
#include "bridge/keyload.h"
#include "bridge/keyset.h"
#include "common/clock.h"
#include "common/json.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TTL_DEFAULT_S = 3600, TTL_MAX_S = 31536000, JTI_MAX = 256 };

static const char usage[] =
    "Usage: threadcast-bridge token --sub <who> [--read <thread>]… [--write <thread>]…\n"
    "                               [--ttl <seconds>] [--jti <id>] [--probe] "
    "[options]\n\n"
    "Prints a token for development, signed with JWT_SECRET or JWT_SECRET_FILE.\n\n"
    "  --sub <who>       whose token it is\n"
    "  --read <thread>   a thread, or a prefix ending in *, whose events it may read\n"
    "  --write <thread>  the same for publishing events\n"
    "  --ttl <seconds>   how long it is good (3600)\n"
    "  --jti <id>        a name of its own\n"
    "  --probe           the right to ask what the bridge makes of a request\n\n"
    "Options and variables are those of the bridge: threadcast-bridge --help.\n";

struct mint {
    const char *sub, *jti, *ttl;
    json_t *read, *write; /* lists, or NULL */
    int64_t ttl_s;
    bool probe;
    int rest_count; /* what is the bridge's */
    char **rest;
};

static bool add_grant(json_t **list, const char *grant)
{
    if (!*list)
        *list = json_array();
    return json_array_append_new(*list, json_string(grant)) == 0;
}

/* One of ours, with its value. */
static bool take(struct mint *m, const char *name, size_t len, const char *value)
{
    static const char *const names[] = {"--sub", "--jti", "--ttl", "--read", "--write"};
    size_t i = 0;

    while (i < 5 && (strlen(names[i]) != len || strncmp(names[i], name, len) != 0))
        i++;
    switch (i) {
    case 0:
        m->sub = value;
        return true;
    case 1:
        m->jti = value;
        return true;
    case 2:
        m->ttl = value;
        return true;
    case 3:
        return add_grant(&m->read, value);
    case 4:
        return add_grant(&m->write, value);
    }
    return false;
}

/* `--name value` and `--name=value`; all others are the bridge's. false: no memory. */
static bool sort_arguments(struct mint *m, int argc, char *const *argv)
{
    m->rest = calloc((size_t)argc + 1, sizeof(*m->rest));
    if (!m->rest)
        return false;
    m->rest[m->rest_count++] = argv[0];
    for (int i = 2; i < argc && argv[i]; i++) {
        const char *equals = strchr(argv[i], '=');
        size_t len = equals ? (size_t)(equals - argv[i]) : strlen(argv[i]);
        const char *value = equals ? equals + 1 : i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(argv[i], "--probe") == 0)
            m->probe = true;
        else if (!value || !take(m, argv[i], len, value))
            m->rest[m->rest_count++] = argv[i];
        else if (!equals)
            i++;
    }
    return true;
}

static bool read_ttl(struct mint *m)
{
    char *end;

    m->ttl_s = TTL_DEFAULT_S;
    if (!m->ttl)
        return true;
    errno = 0;
    m->ttl_s = strtoll(m->ttl, &end, 10);
    return !errno && *m->ttl >= '0' && *m->ttl <= '9' && !*end && m->ttl_s >= 1 &&
           m->ttl_s <= TTL_MAX_S;
}

static bool grants_good(const json_t *list)
{
    char **parsed = NULL;
    bool ok = !list || grants_parse(list, true, &parsed);

    grants_free(parsed);
    return ok;
}

/* NULL, or what is wrong. */
static const char *fault(struct mint *m)
{
    if (!m->sub || !sub_valid(m->sub, strlen(m->sub)))
        return "--sub: say whose token it is (1 to 256 bytes)";
    if (m->jti && (strlen(m->jti) > JTI_MAX || !sub_valid(m->jti, strlen(m->jti))))
        return "--jti: 1 to 256 bytes, without control characters";
    if (!read_ttl(m))
        return "--ttl: seconds, 1 to 31536000";
    if (!grants_good(m->read) || !grants_good(m->write))
        return "--read and --write: ids of threads, or prefixes ending in *";
    return NULL;
}

/* The payload. Takes the lists. Returns new, or NULL. */
static json_t *make_claims(struct mint *m, const struct bridge_conf *conf)
{
    json_int_t iat = clock_wall_ms() / 1000, exp = iat + m->ttl_s;
    json_t *claims =
        json_pack("{s:I, s:I, s:s*, s:s*, s:s*}", "iat", iat, "exp", exp, "jti", m->jti,
                  "aud", conf->jwt_audience, "iss", conf->jwt_issuer);
    json_t *grants = json_pack("{s:o*, s:o*, s:o*}", "read", m->read, "write", m->write,
                               "probe", m->probe ? json_true() : NULL);
    bool any = m->read || m->write || m->probe;

    m->read = m->write = NULL;
    bool ok = claims && grants &&
              claims_put(claims, conf->jwt_sub_claim, json_string(m->sub)) &&
              (!any || claims_put(claims, conf->jwt_grants_claim, json_incref(grants)));
    json_decref(grants);
    if (ok)
        return claims;
    json_decref(claims);
    return NULL;
}

/* The token in `out`. false: `err` says why not. */
static bool sign(struct mint *m, const struct bridge_conf *conf, struct buf *out,
                 struct buf *err)
{
    struct keyset *keys = keyload(conf, NULL, err);
    const struct key *signer = keys ? keyset_signer(keys) : NULL;
    json_t *claims = signer ? make_claims(m, conf) : NULL;
    char *text = claims ? json_text(claims, JSON_COMPACT) : NULL;
    bool ok = text && jwt_sign(signer, text, strlen(text), out) && out->len <= JWT_MAX;

    if (!ok && !err->len)
        buf_str(err, !signer   ? "only JWT_SECRET or JWT_SECRET_FILE can sign a token"
                     : !claims ? "out of memory"
                               : "the token would be too long");
    free(text);
    json_decref(claims);
    keyset_unref(keys);
    return ok;
}

static int print_token(struct mint *m, struct bridge_conf *conf)
{
    struct buf out, err;
    bool ok;

    conf->demo = false; /* it would make a key that is not there */
    buf_init(&out);
    buf_init(&err);
    ok = sign(m, conf, &out, &err);
    if (ok)
        printf("%s\n", out.data);
    else
        fprintf(stderr, "threadcast-bridge token: %s\n",
                err.data ? err.data : "out of memory");
    buf_fini(&out);
    buf_fini(&err);
    return ok ? 0 : 1;
}

static bool wants_help(int argc, char *const *argv)
{
    for (int i = 2; i < argc; i++)
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))
            return true;
    return false;
}

int mint_command(int argc, char *const *argv, char *const *envp)
{
    struct bridge_conf conf = {.auth = AUTH_MODE_JWT};
    struct mint m = {0};
    const char *wrong;
    int status = 2;

    if (wants_help(argc, argv)) {
        fputs(usage, stdout);
        return 0;
    }
    wrong = sort_arguments(&m, argc, argv) ? fault(&m) : "out of memory";
    if (wrong)
        fprintf(stderr, "threadcast-bridge token: %s\n", wrong);
    else if (conf_load(&bridge_conf_spec, &conf, m.rest_count, m.rest, envp, NULL,
                       bridge_conf_validate) == CONF_RUN)
        status = print_token(&m, &conf);
    bridge_conf_free(&conf);
    json_decref(m.read);
    json_decref(m.write);
    free(m.rest);
    return status;
}
