/* conf_rules: which options of threadcast-bridge do not go together. Reads no key and
 * opens no connection. */
#include "bridge/conf.h"

#include "bridge/address.h"
#include "bridge/claims.h"

#include <string.h>

static bool validate_listen(const struct bridge_conf *conf, struct buf *err)
{
    struct sockaddr_storage addr;
    socklen_t len;

    if (!address_parse(conf->listen, &addr, &len, err))
        return false;
    if (conf->auth != AUTH_MODE_NONE)
        return true;
    if (!address_loopback((struct sockaddr *)&addr)) {
        buf_str(err, "--auth none lets everybody in, so --listen must be a loopback "
                     "address");
        return false;
    }
    if (conf->admin_listen && (!address_parse(conf->admin_listen, &addr, &len, err) ||
                               !address_loopback((struct sockaddr *)&addr))) {
        buf_str(err, "with --auth none --admin-listen must be a loopback address, too");
        return false;
    }
    if (conf->jwt_secret || conf->jwt_public_key_file || conf->jwt_jwks_url ||
        conf->authorize_url) {
        buf_str(err, "--auth none and a JWT key or an authorizer exclude each other");
        return false;
    }
    return true;
}

/* The kernel would deal the connections of one address out to both doors. */
static bool validate_admin(const struct bridge_conf *conf, struct buf *err)
{
    struct sockaddr_storage addr;
    socklen_t len;
    char open[ADDRESS_SIZE], admin[ADDRESS_SIZE];

    if (!conf->admin_listen)
        return true;
    if (!address_parse(conf->listen, &addr, &len, err))
        return false;
    address_format((struct sockaddr *)&addr, len, open);
    if (!address_parse(conf->admin_listen, &addr, &len, err))
        return false;
    address_format((struct sockaddr *)&addr, len, admin);
    if (strcmp(open, admin) != 0 || strcmp(strrchr(open, ':'), ":0") == 0)
        return true;
    buf_str(err, "--admin-listen must not be where --listen is");
    return false;
}

/* What we sign ourselves must not outlive the memory of its revocation: it would be taken
 * again. */
static bool validate_lives(const struct bridge_conf *conf, struct buf *err)
{
    if (conf->auth == AUTH_MODE_NONE)
        return true; /* nothing is signed, nothing revoked */
    if (conf->demo && conf->guest_ttl_s > conf->revocation_ttl_s) {
        buf_str(err, "--guest-ttl-s must not be above --revocation-ttl-s: a guest that "
                     "was revoked would be let in again");
        return false;
    }
    if (conf->ticket_max_s > conf->revocation_ttl_s) {
        buf_str(err, "--ticket-max-s must not be above --revocation-ttl-s: a ticket that "
                     "was revoked would be taken again");
        return false;
    }
    return true;
}

bool bridge_conf_validate(void *arg, struct buf *err)
{
    struct bridge_conf *conf = arg;

    if (!validate_listen(conf, err) || !validate_admin(conf, err) ||
        !validate_lives(conf, err))
        return false;
    if (conf->database_listen_url && !conf->database_url) {
        buf_str(err, "DATABASE_LISTEN_URL is of no use without DATABASE_URL");
        return false;
    }
    if (conf->history_max_bytes < conf->client_queue_bytes) {
        buf_str(err, "--history-max-bytes must not be below --client-queue-bytes: a "
                     "reader that is closed as slow resumes from there");
        return false;
    }
    if (conf->shutdown_delay_ms > 0 && conf->drain_ms == 0) {
        buf_str(err, "--shutdown-delay-ms needs --drain-ms above 0");
        return false;
    }
    if (!claims_paths_fit(conf->jwt_sub_claim, conf->jwt_grants_claim)) {
        buf_str(err, "--jwt-sub-claim and --jwt-grants-claim must be two places, and not "
                     "those of exp, nbf, iat, jti, aud, iss");
        return false;
    }
    struct buf why;
    buf_init(&why);
    bool ok = redis_url_parse(conf->redis_url, &conf->redis, &why) &&
              redis_url_load(&conf->redis, &why);
    if (!ok)
        buf_printf(err, "--redis-url (REDIS_URL): %s", why.data ? why.data : "no memory");
    buf_fini(&why);
    return ok;
}
