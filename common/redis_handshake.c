/* What is said first on every connection, in one write:
 *
 *   AUTH [user] password · SELECT db · CLIENT SETNAME name · INFO server · ROLE · PING
 *
 * ROLE is asked where sentinels have sent us: they may say so before it is true.
 * INFO gives the run id and the version. PING is there because the others are answered
 * while Redis loads its data or a replica has no master: that is not READY. It must not
 * refuse a Redis that only cannot save (MISCONF), which can still be read. */
#include "common/redis_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REDIS_MAJOR_MIN 7

void redis_error_text(const struct redis_reply *reply, char *out, size_t size)
{
    size_t n = 0;

    for (; n < reply->len && n + 1 < size; n++) {
        unsigned char c = (unsigned char)reply->str[n];
        out[n] = c >= ' ' && c < 127 ? (char)c : '?';
    }
    out[n] = '\0';
}

/* false: it was an error, and the connection is lost with its text. */
static bool step_ok(struct redis *r, const struct redis_reply *reply, const char *step)
{
    char text[200];

    if (reply->type != REDIS_FAILURE)
        return true;
    if (!redis_alive(r))
        return false;
    redis_error_text(reply, text, sizeof(text));
    redis_lose(r, "%s: %s", step, text);
    r->refused_at = strlen(step) + 2;
    return false;
}

static void on_step(struct redis *r, const struct redis_reply *reply, void *arg)
{
    if (reply)
        (void)step_ok(r, reply, arg);
}

/* "name:value\r\n" of INFO; false when it is missing or longer than out. */
static bool info_field(const struct redis_reply *info, const char *name, char *out,
                       size_t size)
{
    size_t name_len = strlen(name);
    const char *p = info->str;

    while (p && *p) {
        size_t len = strcspn(p, "\r\n");
        if (len > name_len && memcmp(p, name, name_len) == 0 && p[name_len] == ':') {
            len -= name_len + 1;
            if (len == 0 || len >= size)
                return false;
            memcpy(out, p + name_len + 1, len);
            out[len] = '\0';
            return true;
        }
        p += len;
        p += strspn(p, "\r\n");
    }
    return false;
}

static bool run_id_valid(const char *s)
{
    return strlen(s) == 40 && strspn(s, "0123456789abcdef") == 40;
}

static void on_info(struct redis *r, const struct redis_reply *reply, void *arg)
{
    char run_id[41], version[32];

    (void)arg;
    if (!reply || !step_ok(r, reply, "INFO"))
        return;
    if (reply->type != REDIS_STRING ||
        !info_field(reply, "redis_version", version, sizeof(version)) ||
        !info_field(reply, "run_id", run_id, sizeof(run_id)) || !run_id_valid(run_id)) {
        redis_lose(r, "INFO server: no run_id and redis_version in the answer");
        return;
    }
    if (strtol(version, NULL, 10) < REDIS_MAJOR_MIN) {
        redis_lose(r, "Redis %s is too old: %d.0 or newer is needed", version,
                   REDIS_MAJOR_MIN);
        return;
    }
    memcpy(r->run_id, run_id, sizeof(run_id));
    memcpy(r->version, version, sizeof(version));
}

static void on_role(struct redis *r, const struct redis_reply *reply, void *arg)
{
    char text[32] = "?";

    (void)arg;
    if (!reply || !step_ok(r, reply, "ROLE"))
        return;
    if (reply->type == REDIS_ARRAY && reply->count > 0 && reply->items[0]->str)
        redis_error_text(reply->items[0], text, sizeof(text));
    if (strcmp(text, "master") != 0)
        redis_lose(r, "the sentinels' master says that it is a %s", text);
}

static void on_ping(struct redis *r, const struct redis_reply *reply, void *arg)
{
    (void)arg;
    if (!reply)
        return;
    if (!redis_is_error(reply, "MISCONF") && !redis_is_error(reply, "NOPERM") &&
        !step_ok(r, reply, "PING"))
        return;
    redis_ready(r);
}

static bool say(struct redis *r, redis_reply_fn *fn, const char *step, int argc,
                const char *const *argv)
{
    struct redis_pending p = {.fn = fn, .arg = (void *)(uintptr_t)step};

    return redis_command(r, &p, argc, argv, NULL);
}

void redis_handshake_start(struct redis *r)
{
    const struct redis_url *url = r->opt.url;
    const char *user = url->user, *password = url->password ? url->password : "";
    char db[16];
    bool ok = true;

    r->state = REDIS_HANDSHAKE;
    snprintf(db, sizeof(db), "%d", url->db);
    if (user)
        ok = say(r, on_step, "AUTH", 3, (const char *[]){"AUTH", user, password});
    else if (url->password)
        ok = say(r, on_step, "AUTH", 2, (const char *[]){"AUTH", password});
    if (url->db != 0)
        ok = ok && say(r, on_step, "SELECT", 2, (const char *[]){"SELECT", db});
    if (r->opt.name)
        ok = ok && say(r, on_step, "CLIENT SETNAME", 3,
                       (const char *[]){"CLIENT", "SETNAME", r->opt.name});
    if (!r->opt.sentinel)
        ok = ok && say(r, on_info, "INFO", 2, (const char *[]){"INFO", "server"});
    if (r->sentinel)
        ok = ok && say(r, on_role, "ROLE", 1, (const char *[]){"ROLE"});
    ok = ok && say(r, on_ping, "PING", 1, (const char *[]){"PING"});
    if (!ok)
        redis_lose(r, "no memory for the handshake");
}
