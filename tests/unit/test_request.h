/* A request built by hand, without a socket, and the answer it got: stands in for
 * request.c and conn.c. */
#ifndef THREADCAST_TEST_REQUEST_H
#define THREADCAST_TEST_REQUEST_H

#include "bridge/auth.h"
#include "bridge/bridge.h"
#include "bridge/conn.h"
#include "bridge/origin.h"
#include "bridge/request.h"
#include "bridge/ticket.h"
#include "common/json.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
    int status; /* 0: not answered */
    int answers;
    char body[8192];
    char code[64]; /* of an error */
    char peer[64]; /* the other end's address */
} answer;

struct request *request_ref(struct request *r)
{
    r->refs++;
    return r;
}

void request_unref(struct request *r)
{
    r->refs--;
}

void request_header(struct request *r, const char *name, const char *value)
{
    buf_printf(&r->extra, "%s: %s\r\n", name, value);
}

void request_reply(struct request *r, int status, const char *content_type,
                   const void *body, size_t len)
{
    (void)content_type;
    origin_cors(r);
    answer.answers++;
    answer.status = status;
    if (len >= sizeof(answer.body))
        len = sizeof(answer.body) - 1;
    if (len)
        memcpy(answer.body, body, len);
    answer.body[len] = '\0';
    r->answered = true;
}

void request_json(struct request *r, int status, json_t *value)
{
    char *text = json_dumps(value, JSON_COMPACT);
    json_decref(value);
    request_reply(r, status, "application/json", text, strlen(text));
    free(text);
}

void request_error(struct request *r, int status, const char *code, const char *message)
{
    snprintf(answer.code, sizeof(answer.code), "%s", code);
    request_reply(r, status, "application/json", message, strlen(message));
}

json_t *request_body_object(struct request *r)
{
    json_t *value = json_read(r->body, strlen(r->body), JSON_REJECT_DUPLICATES, NULL);
    if (json_is_object(value))
        return value;
    json_decref(value);
    request_error(r, 400, "bad_json", "not an object");
    return NULL;
}

const char *conn_address(const struct conn *c)
{
    (void)c;
    return answer.peer;
}

const char *request_address(struct request *r, char out[64])
{
    (void)r;
    strcpy(out, answer.peer);
    return out;
}

/* name, value, name, value, …, NULL. Borrows; `r` may be reused after request_done. */
static void request_begin(struct request *r, struct bridge *b, enum http_method method,
                          const char *query, ...)
{
    va_list args;
    const char *name;
    memset(r, 0, sizeof(*r));
    answer.status = answer.answers = 0;
    answer.code[0] = answer.body[0] = '\0';
    if (!answer.peer[0])
        strcpy(answer.peer, "127.0.0.1");
    r->bridge = b;
    r->conn = (struct conn *)(uintptr_t)16; /* never looked into */
    r->refs = 1;
    r->http.method = method;
    r->http.query = (struct span){query, strlen(query)};
    buf_init(&r->extra);
    va_start(args, query);
    while ((name = va_arg(args, const char *))) {
        const char *value = va_arg(args, const char *);
        if (value)
            r->http.headers[r->http.header_count++] =
                (struct http_header){{name, strlen(name)}, {value, strlen(value)}};
    }
    va_end(args);
}

/* A ticket of ann's for these threads. */
static inline bool ticket_for_ann(const struct auth *a, const char *const *threads,
                                  int64_t now_ms, int64_t life_ms, struct buf *out)
{
    struct ticket t = {.sub = "ann",
                       .granted = threads,
                       .issued_ms = now_ms,
                       .expires_ms = now_ms + life_ms,
                       .from_ms = now_ms};
    return auth_ticket(a, &t, out);
}

static void request_done(struct request *r)
{
    identity_unref(r->identity);
    buf_fini(&r->extra);
    r->identity = NULL;
}

/* Does the answer carry this header line? */
static inline bool has_header(const struct request *r, const char *line)
{
    return r->extra.data && strstr(r->extra.data, line);
}

#endif
