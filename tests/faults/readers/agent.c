/* faults-agent: the agent whose answers can be checked byte for byte.
 *
 *   threadcast-worker --agent "exec:exec faults-agent --seed N"
 *
 * (The second `exec` is the shell's: a shell that stays would hold stdout open.)
 *
 * The prompt says what it does: `pieces=200 rate=50 end=done` (any of them may be
 * missing, and other words are nothing):
 *
 *   pieces  how many pieces of the story (story.h), 100
 *   rate    pieces a second, paced against the clock and so without drift; 0: at once
 *   end     done    `done`, finishReason stop
 *           error   an error that is final
 *           retry   an error that is retryable on attempt 1, then as done
 *           exit1   status 1, nothing said      signal  killed by SIGKILL
 *           hang    alive and silent until it is told to go
 *           close   stdout closed; it and a grandchild, which ignores SIGTERM, live on
 *           flood   pieces without end, as fast as they are taken
 *
 * Between the pieces stand deltas and statuses, at places that the seed decides. */
#include "tests/faults/readers/rng.h"
#include "tests/faults/readers/story.h"

#include <errno.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LIFE_S = 600 /* of what is left behind, should nobody kill it */ };

struct order {
    uint32_t pieces;
    double rate;
    char end[16];
};

struct teller {
    uint64_t key;
    uint32_t attempt;
    struct order order;
    struct timespec began;
};

/* --- the order -------------------------------------------------------------------- */

static void order_word(struct order *o, const char *word)
{
    if (strncmp(word, "pieces=", 7) == 0)
        o->pieces = (uint32_t)strtoul(word + 7, NULL, 10);
    else if (strncmp(word, "rate=", 5) == 0)
        o->rate = strtod(word + 5, NULL);
    else if (strncmp(word, "end=", 4) == 0)
        snprintf(o->end, sizeof(o->end), "%s", word + 4);
}

static struct order order_read(const char *prompt)
{
    struct order o = {.pieces = 100, .rate = 50, .end = "done"};
    char *copy = strdup(prompt), *save = NULL;

    for (char *word = copy ? strtok_r(copy, " \n\t", &save) : NULL; word;
         word = strtok_r(NULL, " \n\t", &save))
        order_word(&o, word);
    free(copy);
    return o;
}

/* --- saying ----------------------------------------------------------------------- */

/* Takes `line`. */
static void say(json_t *line)
{
    bool ok = line && json_dumpf(line, stdout, JSON_COMPACT) == 0 &&
              putchar('\n') != EOF && fflush(stdout) == 0;

    json_decref(line);
    if (!ok) /* the worker has closed the pipe, or there is no memory */
        exit(3);
}

static void say_delta(json_t *content)
{
    say(json_pack("{s:s, s:o}", "type", "delta", "content", content));
}

static void say_extra(const struct teller *t, uint32_t n)
{
    uint64_t r = rng_mix(t->key ^ ((uint64_t)t->attempt << 40) ^ ((uint64_t)n << 8) ^ 1);
    char name[32];

    snprintf(name, sizeof(name), "call-%u-%u", t->attempt, n);
    switch (r % 24) {
    case 0:
        say_delta(json_pack("{s:s, s:s}", "kind", "reasoning", "text", name));
        break;
    case 1:
        say_delta(json_pack("{s:s, s:s, s:s, s:{s:i}}", "kind", "tool_call", "toolCallId",
                            name, "name", "look", "arguments", "n", (int)n));
        say_delta(json_pack("{s:s, s:s, s:[i, s]}", "kind", "tool_result", "toolCallId",
                            name, "result", (int)n, "\n\ndata: \"\\"));
        break;
    case 2:
        say_delta(json_pack("{s:s, s:i, s:i}", "kind", "progress", "completed", (int)n,
                            "total", (int)t->order.pieces));
        break;
    case 3:
        say(json_pack("{s:s, s:s}", "type", "status", "content",
                      r & 256 ? "thinking" : "working"));
        break;
    default:
        break;
    }
}

static void say_piece(const struct teller *t, uint32_t n)
{
    char text[STORY_PIECE_MAX];
    size_t len = story_piece(t->key, t->attempt, n, text);

    say(json_pack("{s:s, s:s%}", "type", "token", "content", text, len));
    say_extra(t, n);
}

/* When piece n is due, counted from the beginning. */
static void wait_for(const struct teller *t, uint32_t n)
{
    double after_s = t->order.rate > 0 ? (n - 1) / t->order.rate : 0;
    struct timespec due = t->began;
    int64_t ns = due.tv_nsec + (int64_t)(after_s * 1e9);

    if (t->order.rate <= 0)
        return;
    due.tv_sec += ns / 1000000000;
    due.tv_nsec = ns % 1000000000;
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL) == EINTR)
        ;
}

/* --- ends ------------------------------------------------------------------------- */

static void say_done(uint32_t pieces)
{
    json_t *usage = json_pack("{s:i, s:i, s:i}", "inputTokens", 1, "outputTokens",
                              (int)pieces, "totalTokens", (int)pieces + 1);

    say_delta(json_pack("{s:s, s:i, s:i, s:i}", "kind", "usage", "inputTokens", 1,
                        "outputTokens", (int)pieces, "totalTokens", (int)pieces + 1));
    say(json_pack("{s:s, s:{s:s, s:o}}", "type", "done", "content", "finishReason",
                  "stop", "usage", usage));
}

static void say_error(bool retryable)
{
    say(json_pack("{s:s, s:{s:s, s:s, s:b}}", "type", "error", "content", "code",
                  retryable ? "told_to_retry" : "told_to_fail", "message",
                  "The prompt asked for it.", "retryable", (int)retryable));
}

static _Noreturn void live_on(void)
{
    alarm(LIFE_S);
    for (;;)
        pause();
}

static _Noreturn void leave_a_grandchild(void)
{
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0)
        signal(SIGTERM, SIG_IGN);
    close(STDOUT_FILENO);
    live_on();
}

static _Noreturn void flood(const struct teller *t)
{
    for (uint32_t n = t->order.pieces + 1;; n++)
        say_piece(t, n);
}

static int end(const struct teller *t)
{
    const char *how = t->order.end;
    bool retries = strcmp(how, "retry") == 0;

    if (strcmp(how, "error") == 0 || (retries && t->attempt == 1))
        say_error(retries);
    else if (strcmp(how, "exit1") == 0)
        return 1;
    else if (strcmp(how, "signal") == 0)
        kill(getpid(), SIGKILL);
    else if (strcmp(how, "hang") == 0)
        live_on();
    else if (strcmp(how, "close") == 0)
        leave_a_grandchild();
    else if (strcmp(how, "flood") == 0)
        flood(t);
    else
        say_done(t->order.pieces);
    return 0;
}

/* --- one answer ------------------------------------------------------------------- */

static int tell(uint64_t seed, const json_t *in)
{
    const char *prompt =
        json_string_value(json_object_get(json_object_get(in, "message"), "content"));
    const char *run = json_string_value(json_object_get(in, "runId"));
    const char *thread = json_string_value(json_object_get(in, "threadId"));
    json_int_t attempt = json_integer_value(json_object_get(in, "attempt"));
    struct teller t;

    if (!prompt || !run || !thread || attempt < 1 || attempt > UINT32_MAX) {
        fputs("faults-agent: the line on stdin has no prompt, run, thread or attempt\n",
              stderr);
        return 2;
    }
    t = (struct teller){.key = story_key(seed, thread, run),
                        .attempt = (uint32_t)attempt,
                        .order = order_read(prompt)};
    clock_gettime(CLOCK_MONOTONIC, &t.began);
    say(json_pack("{s:s, s:s}", "type", "status", "content", "thinking"));
    for (uint32_t n = 1; n <= t.order.pieces; n++) {
        wait_for(&t, n);
        say_piece(&t, n);
    }
    return end(&t);
}

int main(int argc, char **argv)
{
    json_error_t why;
    json_t *in;

    if (argc != 3 || strcmp(argv[1], "--seed") != 0) {
        fputs("usage: faults-agent --seed N\n", stderr);
        return 2;
    }
    in = json_loadf(stdin, JSON_REJECT_DUPLICATES | JSON_DISABLE_EOF_CHECK, &why);
    if (!in) {
        fprintf(stderr, "faults-agent: %s\n", why.text);
        return 2;
    }
    int code = tell(strtoull(argv[2], NULL, 10), in);
    json_decref(in);
    return code;
}
