/* route_demo: POST /v1/demo/cut, the page's "Cut my connection": the visitor's own
 * streams of a thread end without a word, as when a network goes away, so that the
 * browser's EventSource comes back by itself with its Last-Event-ID. */
#include "bridge/auth.h"
#include "bridge/bridge.h"
#include "bridge/clients.h"
#include "bridge/request.h"
#include "bridge/round.h"
#include "bridge/routes.h"
#include "common/names.h"

#include <string.h>

/* Whose streams of which thread. */
struct cut {
    char sub[SUB_MAX + 1];
    char thread_id[THREAD_ID_MAX + 1];
};

static void cut_one(struct round_part *part)
{
    const struct cut *cut = part->question;

    *(int *)part->answer = clients_cut(part->bridge->clients, cut->sub, cut->thread_id);
    round_answer(part);
}

static void on_cut(const struct round *round, void *arg)
{
    struct request *r = arg;
    int closed = 0;

    for (size_t i = 0; i < round_size(round); i++) {
        const int *said = round_said(round, i);
        closed += said ? *said : 0;
    }
    request_json(r, 200, json_pack("{s:i}", "closed", closed));
    request_unref(r);
}

static void ask_cut(struct request *r, const char *thread_id)
{
    static const struct round_kind kind = {.question_size = sizeof(struct cut),
                                           .answer_size = sizeof(int),
                                           .each = cut_one,
                                           .done = on_cut};
    struct cut cut = {0};

    memcpy(cut.sub, r->identity->sub, strnlen(r->identity->sub, SUB_MAX));
    memcpy(cut.thread_id, thread_id, strnlen(thread_id, THREAD_ID_MAX));
    if (round_ask(r->bridge, &kind, &cut, request_ref(r)))
        return;
    request_error(r, 503, "unavailable", "Out of memory, try again.");
    request_unref(r);
}

void route_demo_cut(struct request *r)
{
    if (!r->bridge->conf->demo) {
        request_error(r, 404, "not_found", "There is nothing here.");
        return;
    }
    if (!auth_require(r, false))
        return;
    json_t *body = request_body_object(r);
    if (!body)
        return;
    const char *thread_id = json_string_value(json_object_get(body, "threadId"));
    if (thread_id && thread_id_valid(thread_id, strlen(thread_id)))
        ask_cut(r, thread_id);
    else
        request_error(r, 400, "bad_body", "Say {\"threadId\":\"…\"}.");
    json_decref(body);
}
