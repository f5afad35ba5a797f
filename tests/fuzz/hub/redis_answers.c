/* redis_answers: what Redis says to the questions that the bridge asks, from the truth,
 * as RESP. A question of another form is a failure. */
#include "redis_answers.h"

#include "../fuzz.h"
#include "truth.h"

static struct truth_thread *thread_of_key(const char *key, const char *what)
{
    char name[NAMES_KEY_SIZE];

    for (int i = 0; i < TRUTH_THREADS; i++) {
        struct truth_thread *t = &truth.threads[i];
        snprintf(name, sizeof(name), "{thread:%s}:%s", t->name, what);
        if (strcmp(name, key) == 0)
            return t;
    }
    MUST(!"a key of ours");
    return NULL;
}

static void add_bulk(struct buf *out, const char *s, size_t len)
{
    buf_printf(out, "$%zu\r\n", len);
    buf_add(out, s, len);
    buf_str(out, "\r\n");
}

static void add_entry(struct buf *out, const struct truth_thread *t, int i)
{
    char id[EVENT_ID_SIZE];
    struct buf json;

    buf_init(&json);
    truth_json(t, &i, 1, &json);
    buf_str(out, "*2\r\n");
    add_bulk(out, id, event_id_format(&t->entries[i].id, id));
    buf_str(out, "*2\r\n$1\r\ne\r\n");
    add_bulk(out, json.data, json.len);
    buf_fini(&json);
}

/* One end of a range; false: it does not limit. */
static bool read_bound(const char *text, struct event_id *ret_id, bool *ret_open)
{
    *ret_open = *text == '(';
    if (strcmp(text, "-") == 0 || strcmp(text, "+") == 0)
        return false;
    text += *ret_open;
    MUST(event_id_parse(text, strlen(text), ret_id));
    return true;
}

static bool above(struct event_id id, const char *bound, int sign)
{
    struct event_id limit;
    bool open;

    if (!read_bound(bound, &limit, &open))
        return true;
    int order = event_id_cmp(id, limit) * sign;
    return open ? order > 0 : order >= 0;
}

/* XRANGE and XREVRANGE key start end COUNT n */
static void answer_range(char *const *argv, bool reverse, struct buf *out)
{
    const struct truth_thread *t = thread_of_key(argv[1], "log");
    const char *low = argv[reverse ? 3 : 2], *high = argv[reverse ? 2 : 3];
    int max = (int)strtol(argv[5], NULL, 10), count = 0;
    struct buf body;

    buf_init(&body);
    for (int n = 0; n < t->count && count < max; n++) {
        int i = reverse ? t->count - 1 - n : n;
        const struct truth_entry *e = &t->entries[i];
        if (!e->gone && above(e->id, low, 1) && above(e->id, high, -1)) {
            add_entry(&body, t, i);
            count++;
        }
    }
    buf_printf(out, "*%d\r\n", count);
    buf_add(out, body.data, body.len);
    buf_fini(&body);
}

static void add_run(struct buf *out, const struct truth_run *run, bool live)
{
    char field[UUID_SIZE + 2], value[160], began[EVENT_ID_SIZE], ended[EVENT_ID_SIZE];

    snprintf(field, sizeof(field), "%c:", live ? 'r' : 'x');
    truth_run_id(run->run, field + 2);
    event_id_format(&run->began, began);
    event_id_format(&run->ended, ended);
    if (live)
        snprintf(value, sizeof(value), "1 7 %s w1", began);
    else
        snprintf(value, sizeof(value), "1 %s %s", began, ended);
    add_bulk(out, field, strlen(field));
    add_bulk(out, value, strlen(value));
}

static void answer_state(char *const *argv, struct buf *out)
{
    const struct truth_thread *t = thread_of_key(argv[1], "state");
    int fields = 1 + t->ended_count;

    for (int i = 0; i < TRUTH_LIVE; i++)
        fields += t->live[i].run >= 0;
    buf_printf(out, "*%d\r\n$1\r\nv\r\n$1\r\n1\r\n", 2 * fields);
    for (int i = 0; i < t->ended_count; i++)
        add_run(out, &t->ended[i], false);
    for (int i = 0; i < TRUTH_LIVE; i++)
        if (t->live[i].run >= 0)
            add_run(out, &t->live[i], true);
}

static const struct truth_run *find_run(const struct truth_run *runs, int count,
                                        const char *id)
{
    char own[UUID_SIZE];

    for (int i = 0; i < count; i++) {
        if (runs[i].run < 0)
            continue;
        truth_run_id(runs[i].run, own);
        if (strcmp(own, id) == 0)
            return &runs[i];
    }
    return NULL;
}

/* HMGET key r:<run> x:<run> v: the values alone */
static void answer_run(char *const *argv, struct buf *out)
{
    const struct truth_thread *t = thread_of_key(argv[1], "state");

    buf_str(out, "*3\r\n");
    for (int side = 0; side < 2; side++) {
        const struct truth_run *found =
            side ? find_run(t->ended, t->ended_count, argv[3] + 2)
                 : find_run(t->live, TRUTH_LIVE, argv[2] + 2);
        struct buf both;
        buf_init(&both);
        if (found)
            add_run(&both, found, side == 0);
        buf_str(out, found ? strchr(both.data + 1, '$') : "$-1\r\n");
        buf_fini(&both);
    }
    buf_str(out, "$1\r\n1\r\n");
}

void redis_answer(char *const *argv, const char *error, struct buf *out)
{
    if (error)
        buf_printf(out, "-%s\r\n", error);
    else if (strcmp(argv[0], "XRANGE") == 0)
        answer_range(argv, false, out);
    else if (strcmp(argv[0], "XREVRANGE") == 0)
        answer_range(argv, true, out);
    else if (strcmp(argv[0], "HGETALL") == 0)
        answer_state(argv, out);
    else if (strcmp(argv[0], "HMGET") == 0)
        answer_run(argv, out);
    else if (strcmp(argv[0], "EXISTS") == 0)
        buf_printf(out, ":%d\r\n", truth.worker_alive);
    else
        MUST(!"a command of ours");
    MUST(!out->failed);
}
