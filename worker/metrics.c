/* metrics: a listener, up to 16 visitors, a head of at most 4 KiB, 5 s for everything.
 * Whoever asks for more than that is closed. */
#include "worker/metrics.h"

#include "common/list.h"
#include "common/log.h"
#include "common/loop.h"
#include "common/pg.h"
#include "common/resolve.h"
#include "common/stats.h"
#include "common/versions.h"
#include "worker/agents.h"
#include "worker/publisher.h"
#include "worker/worker.h"

#include <arpa/inet.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>
#include <event2/util.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PLAIN "text/plain; version=0.0.4"
enum { VISITORS_MAX = 16, HEAD_MAX = 4096, PATIENCE_S = 5 };

struct metrics {
    struct worker *w;
    struct evconnlistener *listener;
    struct list visitors;
    size_t count;
};

struct visitor {
    struct list node;
    struct metrics *m;
    struct bufferevent *bev;
    bool answered;
};

static void visitor_free(struct visitor *v)
{
    list_remove(&v->node);
    v->m->count--;
    bufferevent_free(v->bev);
    free(v);
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
    (void)bev, (void)what;
    visitor_free(arg);
}

static void on_written(struct bufferevent *bev, void *arg)
{
    struct visitor *v = arg;

    (void)bev;
    if (v->answered)
        visitor_free(v);
}

static void render(struct worker *w, struct buf *body)
{
    w->stats.runs_live = worker_live_runs(w);
    w->stats.runs_closing = 0;
    LIST_EACH(node, tmp, &w->run_list)
        w->stats.runs_closing++;
    w->stats.runs_closing -= w->stats.runs_live;
    w->stats.log_dropped = log_dropped();
    w->stats.loop_max_lag_us = (uint64_t)loop_max_lag_us(w->loop);
    stats_render(worker_stats_rows, worker_stats_count, &w->stats, body);
    agents_metrics(w->agents, body);
    versions_metric(body);
}

static void answer(struct visitor *v, const char *status, const char *type,
                   const struct buf *body)
{
    evbuffer_add_printf(bufferevent_get_output(v->bev),
                        "HTTP/1.1 %s\r\nContent-Type: %s\r\n"
                        "Content-Length: %zu\r\nConnection: close\r\n\r\n",
                        status, type, body->len);
    if (body->len > 0)
        bufferevent_write(v->bev, body->data, body->len);
    v->answered = true;
    bufferevent_disable(v->bev, EV_READ);
}

static const char *state_word(bool ok)
{
    return ok ? "ok" : "down";
}

/* May runs be given to it? As the bridge says it. */
static void answer_ready(struct visitor *v, struct buf *body)
{
    const struct worker *w = v->m->w;
    bool redis = publishers_ready(w->publishers), pg = pg_pool_ready(w->pool);
    bool ready = redis && pg && !w->draining;

    buf_printf(body,
               "{\"ready\":%s,\"redis\":\"%s\",\"postgres\":\"%s\",\"draining\":%s}\n",
               ready ? "true" : "false", state_word(redis), state_word(pg),
               w->draining ? "true" : "false");
    answer(v, ready ? "200 OK" : "503 Service Unavailable", "application/json", body);
}

static void on_readable(struct bufferevent *bev, void *arg)
{
    struct visitor *v = arg;
    struct evbuffer *in = bufferevent_get_input(bev);
    struct evbuffer_ptr end = evbuffer_search(in, "\r\n\r\n", 4, NULL);
    struct buf body;
    char line[64] = "";

    if (end.pos < 0) {
        if (evbuffer_get_length(in) >= HEAD_MAX)
            visitor_free(v);
        return;
    }
    buf_init(&body);
    evbuffer_copyout(in, line, sizeof(line) - 1);
    if (strncmp(line, "GET /metrics HTTP/1.", 20) == 0) {
        render(v->m->w, &body);
        answer(v, body.failed ? "500 Internal Server Error" : "200 OK", PLAIN, &body);
    } else if (strncmp(line, "GET /readyz HTTP/1.", 19) == 0) {
        answer_ready(v, &body);
    } else if (strncmp(line, "GET /healthz HTTP/1.", 20) == 0) {
        buf_str(&body, "ok\n");
        answer(v, "200 OK", PLAIN, &body);
    } else {
        answer(v, "404 Not Found", PLAIN, &body);
    }
    buf_fini(&body);
}

static void on_accept(struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *addr,
                      int len, void *arg)
{
    static const struct timeval patience = {.tv_sec = PATIENCE_S};
    struct metrics *m = arg;
    struct visitor *v = calloc(1, sizeof(*v));

    (void)addr, (void)len;
    if (v && m->count < VISITORS_MAX)
        v->bev =
            bufferevent_socket_new(evconnlistener_get_base(l), fd, BEV_OPT_CLOSE_ON_FREE);
    if (!v || !v->bev) {
        evutil_closesocket(fd);
        free(v);
        return;
    }
    v->m = m;
    m->count++;
    list_init(&v->node);
    list_push(&m->visitors, &v->node);
    bufferevent_setcb(v->bev, on_readable, on_written, on_event, v);
    bufferevent_set_timeouts(v->bev, &patience, &patience);
    bufferevent_setwatermark(v->bev, EV_READ, 0, HEAD_MAX);
    bufferevent_enable(v->bev, EV_READ | EV_WRITE);
}

/* The port may be 0: any that is free. */
static bool parse_address(const char *listen, struct sockaddr_storage *ss, int *len)
{
    size_t n = strlen(listen);
    bool any = n > 2 && strcmp(listen + n - 2, ":0") == 0;
    char text[64];

    snprintf(text, sizeof(text), "%.*s%s", any ? (int)n - 1 : (int)n, listen,
             any ? "1" : "");
    if (evutil_parse_sockaddr_port(text, (struct sockaddr *)ss, len) != 0)
        return false;
    if (any && ss->ss_family == AF_INET)
        ((struct sockaddr_in *)ss)->sin_port = 0;
    else if (any)
        ((struct sockaddr_in6 *)ss)->sin6_port = 0;
    return true;
}

static void say_where(struct evconnlistener *l)
{
    struct resolve_address at = {.len = sizeof(at.addr)};
    char text[RESOLVE_TEXT_SIZE];

    getsockname(evconnlistener_get_fd(l), (struct sockaddr *)&at.addr, &at.len);
    resolve_text(&at, true, text);
    log_info("metrics", LOG_S("address", text));
}

struct metrics *metrics_new(struct worker *w, const char *listen)
{
    struct metrics *m = calloc(1, sizeof(*m));
    struct sockaddr_storage ss;
    int len = sizeof(ss);

    if (!m)
        return NULL;
    m->w = w;
    list_init(&m->visitors);
    if (!parse_address(listen, &ss, &len)) {
        log_error("metrics-listen has to be an IP address and a port",
                  LOG_S("given", listen));
        goto fail;
    }
    m->listener = evconnlistener_new_bind(loop_base(w->loop), on_accept, m,
                                          LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC |
                                              LEV_OPT_REUSEABLE,
                                          16, (struct sockaddr *)&ss, len);
    if (!m->listener) {
        log_error("metrics-listen cannot be bound", LOG_S("given", listen));
        goto fail;
    }
    say_where(m->listener);
    return m;
fail:
    free(m);
    return NULL;
}

void metrics_free(struct metrics *m)
{
    if (!m)
        return;
    evconnlistener_free(m->listener);
    LIST_EACH(node, tmp, &m->visitors)
        visitor_free(LIST_ITEM(node, struct visitor, node));
    free(m);
}
