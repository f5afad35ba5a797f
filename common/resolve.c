/* Stands before every connection by name. One request is one small object that dies with
 * its answer; a cancelled one waits, without an owner, until evdns lets go of it. Never
 * calls getaddrinfo. */
#include "common/resolve.h"

#include "common/loop.h"

#include <arpa/inet.h>
#include <event2/dns.h>
#include <event2/event.h>
#include <event2/util.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

struct resolve {
    struct event *done; /* activated when there is an answer */
    struct evdns_getaddrinfo_request *request;
    bool asking;   /* evdns still has our address */
    bool orphaned; /* cancelled while asking */
    struct resolve_address addresses[RESOLVE_MAX];
    size_t count;
    char why[160];
    resolve_fn *fn;
    void *arg;
};

static void resolve_destroy(struct resolve *q)
{
    if (q->done)
        event_free(q->done);
    free(q);
}

bool resolve_numeric(const char *host, int port, struct resolve_address *ret_address)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6,
                              .sin6_port = htons((uint16_t)port)};

    if (inet_pton(AF_INET, host, &v4.sin_addr) == 1) {
        memcpy(&ret_address->addr, &v4, sizeof(v4));
        ret_address->len = sizeof(v4);
        return true;
    }
    if (inet_pton(AF_INET6, host, &v6.sin6_addr) == 1) {
        memcpy(&ret_address->addr, &v6, sizeof(v6));
        ret_address->len = sizeof(v6);
        return true;
    }
    return false;
}

void resolve_text(const struct resolve_address *a, bool with_port,
                  char out[RESOLVE_TEXT_SIZE])
{
    char host[INET6_ADDRSTRLEN] = "?";
    const struct sockaddr_in *v4 = (const void *)&a->addr;
    const struct sockaddr_in6 *v6 = (const void *)&a->addr;
    const struct sockaddr_un *un = (const void *)&a->addr;

    switch (a->addr.ss_family) {
    case AF_UNIX:
        snprintf(out, RESOLVE_TEXT_SIZE, "%s", un->sun_path);
        return;
    case AF_INET6:
        inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof(host));
        if (with_port)
            snprintf(out, RESOLVE_TEXT_SIZE, "[%s]:%d", host, ntohs(v6->sin6_port));
        break;
    default:
        inet_ntop(AF_INET, &v4->sin_addr, host, sizeof(host));
        if (with_port)
            snprintf(out, RESOLVE_TEXT_SIZE, "%s:%d", host, ntohs(v4->sin_port));
        break;
    }
    if (!with_port)
        snprintf(out, RESOLVE_TEXT_SIZE, "%s", host);
}

/* Runs from the loop: hands the answer out. */
static void on_done(evutil_socket_t fd, short what, void *arg)
{
    struct resolve *q = arg;
    struct resolve answer = *q;

    (void)fd;
    (void)what;
    resolve_destroy(q);
    answer.fn(answer.addresses, answer.count, answer.count ? NULL : answer.why,
              answer.arg);
}

static void on_evdns(int error, struct evutil_addrinfo *list, void *arg)
{
    struct resolve *q = arg;

    q->asking = false;
    q->request = NULL;
    for (struct evutil_addrinfo *ai = list; ai && q->count < RESOLVE_MAX;
         ai = ai->ai_next) {
        if (ai->ai_addrlen > sizeof(q->addresses[0].addr))
            continue;
        memcpy(&q->addresses[q->count].addr, ai->ai_addr, ai->ai_addrlen);
        q->addresses[q->count++].len = (socklen_t)ai->ai_addrlen;
    }
    if (list)
        evutil_freeaddrinfo(list);
    if (q->orphaned) {
        resolve_destroy(q);
        return;
    }
    if (q->count == 0)
        snprintf(q->why, sizeof(q->why), "%s",
                 error ? evutil_gai_strerror(error) : "no address");
    event_active(q->done, EV_TIMEOUT, 0);
}

struct resolve *resolve_start(struct loop *l, const char *host, int port, resolve_fn *fn,
                              void *arg)
{
    struct resolve *q = calloc(1, sizeof(*q));
    struct evutil_addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_protocol = IPPROTO_TCP};
    char service[16];
    struct evdns_base *dns;
    struct evdns_getaddrinfo_request *request;

    if (!q)
        return NULL;
    q->fn = fn;
    q->arg = arg;
    q->done = event_new(loop_base(l), -1, 0, on_done, q);
    if (!q->done) {
        free(q);
        return NULL;
    }
    if (resolve_numeric(host, port, &q->addresses[0])) {
        q->count = 1;
        event_active(q->done, EV_TIMEOUT, 0);
        return q;
    }
    dns = loop_dns(l);
    if (!dns) {
        snprintf(q->why, sizeof(q->why), "no name server is configured");
        event_active(q->done, EV_TIMEOUT, 0);
        return q;
    }
    snprintf(service, sizeof(service), "%d", port);
    q->asking = true;
    request = evdns_getaddrinfo(dns, host, service, &hints, on_evdns, q);
    if (q->asking) /* not answered from /etc/hosts within the call */
        q->request = request;
    return q;
}

void resolve_cancel(struct resolve *q)
{
    if (!q)
        return;
    if (!q->asking) {
        resolve_destroy(q);
        return;
    }
    q->orphaned = true;
    event_del(q->done);
    if (q->request)
        evdns_getaddrinfo_cancel(q->request);
}
