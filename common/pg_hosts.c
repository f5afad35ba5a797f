/* libpq resolves names with a call that blocks. So every name in the URL's list of hosts
 * becomes a number first, and libpq gets
 *
 *   host=a,b  port=1,2   ─▶   host=a,a,b  hostaddr=10.0.0.1,10.0.0.2,10.0.0.9  port=1,1,2
 *
 * keeping the names for TLS. Sockets, numbers and localhost stay as they are. */
#include "common/pg_internal.h"
#include "common/resolve.h"

#include <stdlib.h>
#include <string.h>

void pg_hosts_fini(struct pg_hosts *h)
{
    for (size_t i = 0; i < h->count; i++) {
        free(h->names[i]);
        free(h->addresses[i]);
        free(h->ports[i]);
    }
    buf_fini(&h->host);
    buf_fini(&h->hostaddr);
    buf_fini(&h->port);
    memset(h, 0, sizeof(*h));
}

static size_t list_count(const char *list)
{
    size_t n = list && *list ? 1 : 0;

    for (; n > 0 && *list; list++)
        n += *list == ',';
    return n;
}

/* The i-th of "a,b,c"; new. A list that is not there has only empty ones. */
static char *list_item(const char *list, size_t i)
{
    if (!list)
        return strdup("");
    for (; i > 0; i--)
        list = strchr(list, ',') + 1;
    return strndup(list, strcspn(list, ","));
}

static bool port_valid(const char *port)
{
    size_t len = strlen(port);
    long value = strtol(port, NULL, 10);

    return len == 0 ||
           (len <= 5 && strspn(port, "0123456789") == len && value > 0 && value <= 65535);
}

static bool take_host(struct pg_hosts *h, char *name, char *address, char *port)
{
    h->names[h->count] = name;
    h->addresses[h->count] = address;
    h->ports[h->count++] = port;
    return name && address && port;
}

bool pg_hosts_start(struct pg_hosts *h, const struct pg_conninfo *c, struct buf *err)
{
    const char *host = pg_conninfo_get(c, "host");
    const char *hostaddr = pg_conninfo_get(c, "hostaddr");
    const char *port = pg_conninfo_get(c, "port");
    size_t hosts = list_count(host), addresses = list_count(hostaddr);
    size_t ports = list_count(port), count = hosts > addresses ? hosts : addresses;

    pg_hosts_fini(h);
    if (count == 0)
        count = 1; /* the default socket directory */
    if (count > PG_HOSTS_MAX) {
        buf_printf(err, "more than %d hosts", PG_HOSTS_MAX);
        return false;
    }
    if ((hosts && hosts != count) || (addresses && addresses != count) ||
        (ports > 1 && ports != count)) {
        buf_str(err, "not as many hosts as addresses or ports");
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (!take_host(h, list_item(hosts ? host : NULL, i),
                       list_item(addresses ? hostaddr : NULL, i),
                       list_item(ports ? port : NULL, ports > 1 ? i : 0))) {
            buf_str(err, "no memory");
            return false;
        }
        if (!port_valid(h->ports[i])) {
            buf_str(err, "the port is not a number from 1 to 65535");
            return false;
        }
    }
    return true;
}

bool pg_hosts_named(const struct pg_hosts *h)
{
    const char *name = h->names[h->next];
    struct resolve_address numeric;

    return h->addresses[h->next][0] == '\0' && name[0] != '\0' && name[0] != '/' &&
           name[0] != '@' && strcmp(name, "localhost") != 0 &&
           !resolve_numeric(name, 0, &numeric);
}

void pg_hosts_add(struct pg_hosts *h, const char *address)
{
    const char *comma = h->made++ > 0 ? "," : "";

    buf_printf(&h->host, "%s%s", comma, h->names[h->next]);
    buf_printf(&h->hostaddr, "%s%s", comma, address ? address : h->addresses[h->next]);
    buf_printf(&h->port, "%s%s", comma, h->ports[h->next]);
}

void pg_hosts_store(const struct pg_hosts *h, struct pg_conninfo *c)
{
    if (h->host.failed || h->hostaddr.failed || h->port.failed) {
        c->failed = true;
        return;
    }
    pg_conninfo_set(c, "host", h->host.data);
    pg_conninfo_set(c, "port", h->port.data);
    pg_conninfo_set(c, "hostaddr",
                    strspn(h->hostaddr.data, ",") == h->hostaddr.len ? ""
                                                                     : h->hostaddr.data);
}
