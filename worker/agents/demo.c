/* demo: a script of steps made from the prompt at once, and a timer that plays it. */
#include "worker/agents/demo.h"

#include "common/buf.h"
#include "common/json.h"
#include "common/loop.h"
#include "worker/agent.h"
#include "worker/agents/demo_text.h"
#include "worker/conf.h"
#include "worker/worker.h"

#include <stdlib.h>
#include <string.h>

enum {
    BURST = 32,     /* pieces a turn at full rate, so that others have their turn too */
    TOOL_AT = 40,   /* piece at which the tool is called */
    TOOL_STEPS = 4, /* ticks until it answers */
    RATE_MAX = 100000,
};

struct agent {
    struct run *run;
    struct timer *tick;
    int64_t rate; /* tokens/s; 0: as fast as possible */
    struct demo_facts facts;
    struct buf answer;
    size_t at, characters, piece;
    int tool; /* ticks since the call; 0: not called; -1: over */
    bool paused;
};

static void say_json(struct agent *a, const char *kind, struct buf *json)
{
    if (!json->failed && kind)
        run_on_delta(a->run, kind, json->data, json->len);
    else if (!json->failed)
        run_on_status(a->run, json->data, json->len);
    buf_fini(json);
}

static void say_status(struct agent *a, const char *status)
{
    struct buf json;

    buf_init(&json);
    buf_printf(&json, "{\"status\":\"%s\"}", status);
    say_json(a, NULL, &json);
}

static void think(struct agent *a, int which)
{
    const char *text = demo_thought(&a->facts, which);

    run_on_reasoning(a->run, text, strlen(text));
}

static void call_tool(struct agent *a)
{
    struct buf json;

    think(a, 2);
    say_status(a, "working");
    buf_init(&json);
    buf_printf(&json,
               "{\"kind\":\"tool_call\",\"toolCallId\":\"count-1\",\"name\":\"count\","
               "\"arguments\":{\"bytes\":%zu}}",
               a->facts.bytes);
    say_json(a, "tool_call", &json);
}

static void tool_progress(struct agent *a)
{
    struct buf json;

    buf_init(&json);
    buf_printf(&json,
               "{\"kind\":\"progress\",\"message\":\"counting\",\"completed\":%d,"
               "\"total\":%d}",
               a->tool, TOOL_STEPS);
    say_json(a, "progress", &json);
}

static void tool_answer(struct agent *a)
{
    struct buf json;

    buf_init(&json);
    buf_printf(&json,
               "{\"kind\":\"tool_result\",\"toolCallId\":\"count-1\",\"name\":\"count\","
               "\"result\":{\"words\":%zu,\"characters\":%zu,\"scripts\":\"",
               a->facts.words, a->facts.characters);
    demo_scripts(&a->facts, &json);
    buf_str(&json, "\"}}");
    say_json(a, "tool_result", &json);
    buf_init(&json);
    buf_str(&json, "{\"kind\":\"step\",\"name\":\"answer\","
                   "\"state\":\"started\",\"detail\":\"writing the rest of it\"}");
    say_json(a, "step", &json);
    say_status(a, "typing");
    a->tool = -1;
}

static void finish(struct agent *a)
{
    struct buf usage, delta;

    buf_init(&usage);
    buf_init(&delta);
    buf_printf(&usage, "{\"inputTokens\":%zu,\"outputTokens\":%zu,\"totalTokens\":%zu}",
               a->facts.words, a->piece, a->facts.words + a->piece);
    buf_str(&delta, "{\"kind\":\"usage\",");
    buf_str(&delta, usage.failed ? "}" : usage.data + 1);
    say_json(a, "usage", &delta);
    run_on_done(a->run, "stop", usage.failed ? NULL : usage.data);
    buf_fini(&usage);
}

/* One step of the script; false: it was the last. */
static bool play(struct agent *a)
{
    size_t n;

    if (a->piece == TOOL_AT && a->tool >= 0) {
        if (a->tool == 0)
            call_tool(a);
        a->tool++;
        if (a->tool > TOOL_STEPS)
            tool_answer(a);
        else
            tool_progress(a);
        return true;
    }
    if (a->at == a->answer.len) {
        finish(a);
        return false;
    }
    n = demo_piece(a->answer.data + a->at, a->answer.len - a->at, a->characters,
                   a->piece);
    run_on_token(a->run, a->answer.data + a->at, n);
    a->at += n;
    a->piece++;
    return true;
}

static void next_tick(struct agent *a)
{
    if (!a->paused)
        timer_start(a->tick, a->rate > 0 ? 1000 / a->rate : 0);
}

static void on_tick(void *arg)
{
    struct agent *a = arg;
    /* a timer is no faster than a millisecond */
    int64_t pieces = a->rate > 1000 ? a->rate / 1000 : 1;

    if (a->rate == 0)
        pieces = BURST;
    for (int64_t i = 0; i < pieces && !a->paused; i++)
        if (!play(a))
            return;
    next_tick(a);
}

static void demo_release(struct agent *a)
{
    timer_free(a->tick);
    buf_fini(&a->answer);
    free(a);
}

/* What agents.json may say of it. */
struct demo_options {
    int64_t rate; /* tokens/s; -1: what --demo-rate says */
};

static void *demo_options_new(const char *json, size_t len, struct buf *err)
{
    struct demo_options *o = calloc(1, sizeof(*o));
    json_t *root = json_read(json, len, 0, NULL), *value;
    const char *name;
    bool ok = o && root;

    if (ok)
        o->rate = -1;
    json_object_foreach(root, name, value)
    {
        if (!ok)
            continue;
        ok = strcmp(name, "rate") == 0 && json_is_integer(value) &&
             json_integer_value(value) >= 0 && json_integer_value(value) <= RATE_MAX;
        o->rate = json_integer_value(value);
        if (!ok)
            buf_printf(err, "%.64s: %s", name,
                       strcmp(name, "rate") == 0 ? "must be from 0 to 100000 tokens/s"
                                                 : "there is no such member");
    }
    json_decref(root);
    if (ok)
        return o;
    free(o);
    return NULL;
}

static struct agent *demo_start(struct worker *w, const struct agent_def *def,
                                struct run *r, const struct agent_input *in,
                                const char **why)
{
    const struct demo_options *options = def->options;
    struct agent *a = calloc(1, sizeof(*a));
    struct demo_facts of_answer;
    size_t len = strlen(in->content);

    (void)why;
    if (!a)
        return NULL;
    a->run = r;
    a->rate = options->rate >= 0 ? options->rate : w->conf->demo_rate;
    buf_init(&a->answer);
    a->tick = timer_new(w->loop, on_tick, a);
    demo_look(in->content, len, &a->facts);
    demo_answer(in->content, len, &a->facts, &a->answer);
    if (!a->tick || a->answer.failed) {
        demo_release(a);
        return NULL;
    }
    demo_look(a->answer.data, a->answer.len, &of_answer);
    a->characters = of_answer.characters;
    say_status(a, "thinking");
    think(a, 0);
    think(a, 1);
    say_status(a, "typing");
    if (play(a)) /* the first piece waits for no timer */
        next_tick(a);
    return a;
}

static void demo_pause(struct agent *a)
{
    a->paused = true;
    timer_stop(a->tick);
}

static void demo_resume(struct agent *a)
{
    a->paused = false;
    next_tick(a);
}

const struct agent_kind agent_demo = {
    .name = "demo",
    .options_new = demo_options_new,
    .options_free = free,
    .start = demo_start,
    .pause = demo_pause,
    .resume = demo_resume,
    .release = demo_release,
};
