/* commands: the farm's protocol, in this one place.
 *
 *   faults-readers --seed N [--retry-max-ms 500] [--silence-ms 0]
 *
 * Commands, one a line. Each is answered by nothing, by what it asks for, or by
 * {"bad":"<why>","line":"…"}; a wrong command is a fault of the caller's and makes the
 * exit status 1, as a violation does. Otherwise it is 0 at `quit` or the end of stdin.
 *
 *   ports <p>[,<p>…]          the bridges, on 127.0.0.1; readers take turns at every
 *                             connection. May be said again at any time
 *   open <reader> <thread>[,<thread>…] <token> [merge=0] [since=<x>] [slow=<bytes/s>]
 *                             a reader that stays, under a number of its own, from 0.
 *                             Token `-`: none
 *   open-many <first> <count> <thread>[,…] <token> [merge=0] [since=<x>] [slow=<n>]
 *   run <thread> <run> [<pieces>]   has a receipt: whoever reads the thread must see its
 *                             end, and when that is a stop, so many pieces
 *   cut <fraction>            so many of the open streams lose their connection within
 *                             200 ms, at a byte that the seed decides, by FIN or RST
 *   stall <fraction> <ms>     do not read for so long
 *   slow <fraction> <ms> <bytes/s>   read no faster than that for so long
 *   half <fraction>           shut their sending side
 *   token <reader> <token>    for its next connection, which it makes at once when it
 *                             was waiting
 *   close <reader>|all
 *   status    {"readers","connected","live",  live: the stream's head has come
 *              "open",      pairs (reader, announced run) whose end was not seen
 *              "excused",   the same, but a reset may have swallowed it
 *              "latencyMs":{…},  of live events, from `ts` to here
 *              "events","bytes",…,"violations"}
 *   report    for each pair {"reader","thread","run","joined","attempt","bytes","sha256",
 *             "outcome":"done"|"error"|"cancelled"|null,"code","end","resets","excused"}
 *             (at its end, if that was seen; joined: the text is known from its beginning
 *             and was right, byte for byte), then {"reported":n}
 *   quit
 *
 * Said without being asked:
 *   {"violation":"<kind>","reader","thread","connection","port","at","merge","detail",
 *    "recent":[…]}            the kinds are in check.h; the first 50, then only counted
 *   {"reset":"<reason>","thread","had":"<position>","now":"<position>",…}
 *   {"refused":<status>,"code",…}    once for each reader and status
 *   {"auth":{"expiresAt":…},…}       the token ends soon
 */
#include "tests/faults/readers/commands.h"

#include "tests/faults/readers/check.h"
#include "tests/faults/readers/farm.h"
#include "tests/faults/readers/mem.h"
#include "tests/faults/readers/report.h"
#include "tests/faults/readers/rng.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum {
    WORDS_MAX = 16,
    CUT_BYTES_MAX = 2000,
    CUT_MS = 200,
    READERS_MAX = 1000000,
    SLOW_MIN = 20
};

struct words {
    char *word[WORDS_MAX];
    int count;
};

/* --- readers ---------------------------------------------------------------------- */

static const char *views_read(struct farm *f, struct reader *r, const char *list)
{
    char *copy = mem_some(strdup(list)), *save = NULL;
    const char *why = NULL;

    r->views = mem_zero(VIEWS_MAX * sizeof(*r->views));
    for (char *id = strtok_r(copy, ",", &save); id && !why;
         id = strtok_r(NULL, ",", &save)) {
        struct thread *t = book_thread(&f->book, id, strlen(id), true);
        if (r->view_count == VIEWS_MAX)
            why = "at most 32 threads";
        else
            r->views[r->view_count++] =
                (struct view){.thread = t, .opened_at = t->announced_count};
    }
    free(copy);
    if (!r->view_count)
        return "no thread";
    r->views = mem_more(r->views, r->view_count, sizeof(*r->views));
    r->last_id = mem_zero((size_t)r->view_count * ID_TEXT_MAX + 1);
    return why;
}

static const char *option_read(struct reader *r, const char *word)
{
    if (strcmp(word, "merge=0") == 0) {
        r->merge = false;
    } else if (strncmp(word, "since=", 6) == 0) {
        free(r->since);
        r->since = mem_some(strdup(word + 6));
    } else if (strncmp(word, "slow=", 5) == 0) {
        r->slow_bytes_s = strtoll(word + 5, NULL, 10);
        return r->slow_bytes_s >= SLOW_MIN ? NULL : "slow is at least 20 bytes a second";
    } else {
        return "unknown option";
    }
    return NULL;
}

/* `w->word[at]`: the threads, then the token, then options. */
static const char *open_one(struct farm *f, uint64_t number, const struct words *w,
                            int at)
{
    if (number >= READERS_MAX || farm_reader(f, number))
        return "that number is taken, or too large";
    if (w->count < at + 2)
        return "threads and a token are needed";
    struct reader *r = mem_zero(sizeof(*r));
    *r = (struct reader){.farm = f, .number = (uint32_t)number, .merge = true, .fd = -1};
    r->token = mem_some(strdup(w->word[at + 1]));
    sse_init(&r->sse);
    const char *why = views_read(f, r, w->word[at]);
    for (int i = at + 2; i < w->count && !why; i++)
        why = option_read(r, w->word[i]);
    if (why) {
        reader_free(r);
        return why;
    }
    farm_add(f, r);
    reader_open(r);
    return NULL;
}

static const char *do_open(struct farm *f, const struct words *w)
{
    return w->count < 2 ? "no reader" : open_one(f, strtoull(w->word[1], NULL, 10), w, 2);
}

static const char *do_open_many(struct farm *f, const struct words *w)
{
    uint64_t first = w->count > 2 ? strtoull(w->word[1], NULL, 10) : 0;
    uint64_t count = w->count > 2 ? strtoull(w->word[2], NULL, 10) : 0;
    const char *why = count ? NULL : "first and count are needed";

    for (uint64_t i = 0; i < count && !why; i++)
        why = open_one(f, first + i, w, 3);
    return why;
}

static const char *do_token(struct farm *f, const struct words *w)
{
    struct reader *r =
        w->count > 2 ? farm_reader(f, strtoull(w->word[1], NULL, 10)) : NULL;

    if (!r)
        return "no such reader, or no token";
    reader_set_token(r, w->word[2]);
    return NULL;
}

static const char *do_close(struct farm *f, const struct words *w)
{
    bool all = w->count > 1 && strcmp(w->word[1], "all") == 0;
    struct reader *r =
        w->count > 1 ? farm_reader(f, strtoull(w->word[1], NULL, 10)) : NULL;

    for (size_t i = 0; all && i < f->reader_size; i++)
        if (f->readers[i])
            reader_close(f->readers[i]);
    if (!all && !r)
        return "no such reader";
    if (!all)
        reader_close(r);
    return NULL;
}

/* --- the rest --------------------------------------------------------------------- */

static const char *do_ports(struct farm *f, const struct words *w)
{
    int numbers[PORTS_MAX];
    size_t count = 0;
    char *save = NULL;

    if (w->count < 2)
        return "no port";
    for (char *p = strtok_r(w->word[1], ",", &save); p; p = strtok_r(NULL, ",", &save)) {
        long number = strtol(p, NULL, 10);
        if (number < 1 || number > 65535 || count == PORTS_MAX)
            return "that is no port, or there are too many";
        numbers[count++] = (int)number;
    }
    farm_set_ports(f, numbers, count);
    return NULL;
}

/* Its receipt may come behind its end. */
static void check_ended(struct farm *f, struct run *run)
{
    for (size_t i = 0; i < f->reader_size; i++) {
        struct reader *r = f->readers[i];
        for (size_t k = 0; r && k < r->view_count; k++) {
            struct view *v = &r->views[k];
            struct course *c =
                v->thread == run->thread ? view_course(v, run, false) : NULL;
            if (c && !id_none(c->ended_at))
                check_whole(r, v, c);
        }
    }
}

static const char *do_run(struct farm *f, const struct words *w)
{
    if (w->count < 3)
        return "a thread and a run are needed";
    struct thread *t = book_thread(&f->book, w->word[1], strlen(w->word[1]), true);
    struct run *run = book_run(&f->book, t, w->word[2], strlen(w->word[2]));
    if (run->thread != t)
        return "that run was seen in another thread";
    run_announce(run, w->count > 3 ? strtoll(w->word[3], NULL, 10) : -1, f->now_ms);
    if (run->end_type)
        check_ended(f, run);
    return NULL;
}

static void cut_one(struct farm *f, struct reader *r)
{
    bool rst = rng_below(&f->random, 2);
    bool at_once = rng_below(&f->random, 4) == 0;
    int64_t bytes = at_once ? 0 : 1 + (int64_t)rng_below(&f->random, CUT_BYTES_MAX);

    reader_cut(r, bytes, CUT_MS, rst);
}

static const char *do_some(struct farm *f, const struct words *w)
{
    double fraction = w->count > 1 ? strtod(w->word[1], NULL) : -1;
    int64_t ms = w->count > 2 ? strtoll(w->word[2], NULL, 10) : 0;
    int64_t bytes_s = w->count > 3 ? strtoll(w->word[3], NULL, 10) : 0;
    const char *what = w->word[0];

    if (!(fraction >= 0 && fraction <= 1))
        return "a fraction is from 0 to 1";
    if (strcmp(what, "cut") != 0 && strcmp(what, "half") != 0 && ms < 1)
        return "for how many ms?";
    if (strcmp(what, "slow") == 0 && bytes_s < SLOW_MIN)
        return "slow is at least 20 bytes a second";
    for (size_t i = 0; i < f->reader_size; i++) {
        struct reader *r = f->readers[i];
        if (!r || r->state != READER_STREAM || rng_unit(&f->random) >= fraction)
            continue;
        if (strcmp(what, "cut") == 0)
            cut_one(f, r);
        else if (strcmp(what, "stall") == 0)
            reader_stall(r, ms);
        else if (strcmp(what, "slow") == 0)
            reader_slow(r, bytes_s, ms);
        else
            reader_half_close(r);
    }
    return NULL;
}

static const char *do_status(struct farm *f, const struct words *w)
{
    (void)w;
    report_status(f);
    return NULL;
}

static const char *do_report(struct farm *f, const struct words *w)
{
    (void)w;
    report_all(f);
    return NULL;
}

static const char *do_quit(struct farm *f, const struct words *w)
{
    (void)w;
    f->over = true;
    return NULL;
}

/* --- lines ------------------------------------------------------------------------ */

static const struct {
    const char *name;
    const char *(*run)(struct farm *f, const struct words *w);
} commands[] = {
    {"ports", do_ports}, {"open", do_open},     {"open-many", do_open_many},
    {"run", do_run},     {"cut", do_some},      {"stall", do_some},
    {"slow", do_some},   {"half", do_some},     {"token", do_token},
    {"close", do_close}, {"status", do_status}, {"report", do_report},
    {"quit", do_quit},
};

static void command(struct farm *f, char *line)
{
    struct words w = {.count = 0};
    const char *why = "unknown command";
    char *copy = mem_some(strdup(line)), *save = NULL;

    for (char *word = strtok_r(copy, " ", &save); word && w.count < WORDS_MAX;
         word = strtok_r(NULL, " ", &save))
        w.word[w.count++] = word;
    for (size_t i = 0; w.count && i < sizeof(commands) / sizeof(commands[0]); i++)
        if (strcmp(commands[i].name, w.word[0]) == 0)
            why = commands[i].run(f, &w);
    if (w.count && why) {
        f->totals.bad++;
        report_line(json_pack("{s:s, s:s?}", "bad", why, "line", w.word[0]));
    }
    free(copy);
}

bool commands_read(struct farm *f)
{
    struct line *l = &f->line;
    char part[4096];
    ssize_t n = read(STDIN_FILENO, part, sizeof(part));

    if (n < 0)
        return errno == EINTR || errno == EAGAIN;
    for (ssize_t i = 0; i < n && !f->over; i++) {
        if (l->len + 1 >= l->size) {
            l->size = l->size ? l->size * 2 : 1024;
            l->text = mem_more(l->text, l->size, 1);
        }
        if (part[i] != '\n') {
            l->text[l->len++] = part[i];
            continue;
        }
        l->text[l->len] = '\0';
        l->len = 0;
        command(f, l->text);
    }
    return n > 0 && !f->over;
}
