/* renew: what the `auth` event says, and when. A ticket is renewed as long as what it was
 * made from is good, so its own short life never ends a stream; a token only by another
 * one, from who holds it (extension.c).
 *
 *   alive ──min(60 s, half its life) before the end──▶ a ticket: a new one, alive again
 *                                                      else: told when it ends ──▶ ended
 */
#include "bridge/renew.h"

#include "bridge/auth.h"
#include "bridge/bridge.h"
#include "bridge/clients.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { WARN_MAX_MS = 60000, SECRET_BYTES = 16 };

/* Made when it is first said: few streams ever need one. false: no memory. */
static bool name_connection(struct client *c)
{
    unsigned char secret[SECRET_BYTES];
    char text[CONNECTION_SIZE];
    int len;

    if (c->connection)
        return true;
    if (getrandom(secret, sizeof(secret), 0) != sizeof(secret))
        return false;
    len = snprintf(text, sizeof(text), "%s.", c->set->bridge->instance);
    for (size_t i = 0; i < sizeof(secret); i++)
        len += snprintf(text + len, sizeof(text) - (size_t)len, "%02x", secret[i]);
    c->connection = strdup(text);
    return c->connection;
}

/* `ticket`: NULL when there is no new one. */
static void say_until(struct client *c, const char *ticket)
{
    struct buf json;

    buf_init(&json);
    buf_printf(&json, "{\"expiresAt\":%" PRId64, c->identity->expires_ms);
    if (name_connection(c))
        buf_printf(&json, ",\"connection\":\"%s\"", c->connection);
    if (ticket)
        buf_printf(&json, ",\"ticket\":\"%s\"", ticket);
    buf_char(&json, '}');
    if (!json.failed)
        client_say(c, "auth", json.data, 0);
    buf_fini(&json);
}

static void become(struct client *c, struct identity *id)
{
    identity_unref(c->identity);
    c->identity = id;
    c->warned = false;
}

static bool next_ticket(struct client *c)
{
    struct bridge *b = c->set->bridge;
    struct identity *id = NULL;
    struct buf ticket;
    bool ok;

    buf_init(&ticket);
    ok = auth_ticket_renew(b->auth, c->identity, c->set->wall_ms,
                           b->conf->ticket_max_s * 1000, &ticket, &id);
    if (ok) {
        b->stats.tickets_renewed++;
        become(c, id);
        say_until(c, ticket.data);
    }
    buf_fini(&ticket);
    return ok;
}

void renew_check(struct client *c)
{
    const struct identity *id = c->identity;
    int64_t left = id->expires_ms - c->set->wall_ms;
    int64_t warn = id->life_ms / 2 < WARN_MAX_MS ? id->life_ms / 2 : WARN_MAX_MS;

    if (id->expires_ms == INT64_MAX || left > warn)
        return;
    /* also when it is late: what the ticket was made from may still be good */
    if (id->end_ms > id->expires_ms && next_ticket(c))
        return;
    if (left <= 0) {
        renew_end(c, "expired", CLOSE_TOKEN);
    } else if (!c->warned) {
        c->warned = true;
        say_until(c, NULL);
    }
}

void renew_end(struct client *c, const char *reason, enum close_reason close)
{
    char json[64];

    if (c->closed || c->ending)
        return;
    snprintf(json, sizeof(json), "{\"reason\":\"%s\"}", reason);
    client_say(c, "auth", json, 0);
    client_end(c, close);
}

void renew_take(struct client *c, struct identity *id)
{
    become(c, identity_ref(id));
    c->set->bridge->stats.streams_extended++;
    say_until(c, NULL);
}

struct client *renew_find(struct clients *set, const char *connection)
{
    LIST_EACH(node, next, &set->all) {
        struct client *c = LIST_ITEM(node, struct client, node);
        if (c->connection && !c->ending && strcmp(c->connection, connection) == 0)
            return c;
    }
    return NULL;
}
