/* question: the headers that go to --authorize-url. Never logged; wiped when they were
 * sent. */
#include "bridge/question.h"

#include "bridge/address.h"
#include "bridge/bridge.h"
#include "bridge/conn.h"
#include "bridge/request.h"

#include <openssl/crypto.h>
#include <string.h>
#include <strings.h>

void question_wipe(struct buf *question)
{
    if (question->data)
        OPENSSL_cleanse(question->data, question->len);
    buf_fini(question);
    buf_init(question);
}

static void add(struct buf *out, const char *name, struct span value)
{
    if (!value.len)
        return;
    buf_add(out, name, strlen(name) + 1);
    buf_add(out, value.at, value.len);
    buf_char(out, '\0');
}

static void add_text(struct buf *out, const char *name, const char *value)
{
    add(out, name, (struct span){value, strlen(value)});
}

/* All headers of that name, as one. */
static void add_cookies(struct buf *out, const struct request *r)
{
    static const char name[] = "Cookie";
    struct buf all;

    buf_init(&all);
    for (size_t i = 0; i < r->http.header_count; i++) {
        const struct http_header *h = &r->http.headers[i];
        if (h->name.len != strlen(name) ||
            strncasecmp(h->name.at, name, h->name.len) != 0)
            continue;
        if (all.len)
            buf_str(&all, "; ");
        buf_add(&all, h->value.at, h->value.len);
    }
    out->failed |= all.failed;
    add(out, name, (struct span){all.data, all.len});
    question_wipe(&all);
}

/* The threads in the query, as they are written there. Nothing else of the query goes
 * out: there may be a credential in it. */
static void add_threads(struct buf *out, const struct request *r)
{
    struct span name, value;
    struct buf all;
    size_t pos = 0;

    buf_init(&all);
    while (http_query_next(r->http.query, &pos, &name, &value)) {
        if (name.len != 6 || memcmp(name.at, "thread", 6) != 0)
            continue;
        buf_str(&all, all.len ? "," : "");
        buf_add(&all, value.at, value.len);
    }
    out->failed |= all.failed;
    add(out, "X-Threadcast-Threads", (struct span){all.data, all.len});
    buf_fini(&all);
}

static struct span host_of(const struct request *r)
{
    struct span host = {0};

    if (address_listed(r->bridge->conf->trusted_proxies, conn_address(r->conn)))
        host = http_header(&r->http, "X-Forwarded-Host");
    return host.len ? host : http_header(&r->http, "Host");
}

bool question_worth(const struct request *r)
{
    return http_header(&r->http, "Cookie").len ||
           http_header(&r->http, "Authorization").len;
}

void question_write(struct buf *out, const struct request *r)
{
    static const char *const methods[] = {
        [HTTP_GET] = "GET",       [HTTP_HEAD] = "HEAD",       [HTTP_POST] = "POST",
        [HTTP_DELETE] = "DELETE", [HTTP_OPTIONS] = "OPTIONS",
    };

    add_cookies(out, r);
    add(out, "Authorization", http_header(&r->http, "Authorization"));
    add_text(out, "X-Forwarded-Method", methods[r->http.method]);
    add(out, "X-Forwarded-Uri", r->http.path);
    add(out, "X-Forwarded-Host", host_of(r));
    add_threads(out, r);
}
