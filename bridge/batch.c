/* batch: see batch.h. It looks for the ends of values only, because somebody else has
 * found the JSON valid; each event is checked again, alone, by event_normalize. */
#include "bridge/batch.h"

#include "common/names.h"

#include <stdio.h>
#include <string.h>

static const char blanks[] = " \t\r\n";

void batch_init(struct batch *b)
{
    b->count = 0;
    buf_init(&b->bytes);
    buf_init(&b->runs);
}

void batch_fini(struct batch *b)
{
    buf_fini(&b->bytes);
    buf_fini(&b->runs);
}

static bool refuse(struct batch_fault *ret, const char *code, const char *message)
{
    ret->code = code;
    snprintf(ret->message, sizeof ret->message, "%s", message);
    return false;
}

/* --- the elements ------------------------------------------------------------------- */

/* The end of the value that begins at `at`: a comma or bracket around it, or the end. */
static size_t value_end(const char *text, size_t len, size_t at)
{
    size_t depth = 0;
    bool string = false;

    for (; at < len; at++) {
        char c = text[at];
        if (string) {
            if (c == '\\')
                at++;
            else if (c == '"')
                string = false;
        } else if (c == '"') {
            string = true;
        } else if (c == '[' || c == '{') {
            depth++;
        } else if (c == ']' || c == '}') {
            if (depth == 0)
                return at;
            depth--;
        } else if (c == ',' && depth == 0) {
            return at;
        }
    }
    return len;
}

static bool is_blank(char c)
{
    return c != 0 && strchr(blanks, c) != NULL;
}

/* The next element of the array; *pos = 1 behind its bracket at first. */
static bool next_element(const char *text, size_t len, size_t *pos, struct span *ret)
{
    size_t end;

    while (*pos < len && is_blank(text[*pos]))
        ++*pos;
    if (*pos >= len || text[*pos] == ']')
        return false;
    end = value_end(text, len, *pos);
    *ret = (struct span){text + *pos, end - *pos};
    *pos = end + (end < len && text[end] == ',');
    return true;
}

/* --- run ids ------------------------------------------------------------------------ */

static bool run_known(const struct buf *runs, struct span run)
{
    const char *at = runs->data, *end = at ? at + runs->len : NULL;

    while (at && at < end) {
        const char *space = memchr(at, ' ', (size_t)(end - at));
        size_t len = (size_t)((space ? space : end) - at);
        if (len == run.len && memcmp(at, run.at, len) == 0)
            return true;
        at += len + 1;
    }
    return false;
}

/* Collects the run an event claims. false: no name for a run (they look like a thread's,
 * so that a space cannot make two of one). */
static bool add_run(struct buf *runs, struct span run)
{
    if (!run.at)
        return true;
    if (!thread_id_valid(run.at, run.len))
        return false;
    if (!run_known(runs, run)) {
        if (runs->len > 0)
            buf_char(runs, ' ');
        buf_add(runs, run.at, run.len);
    }
    return true;
}

/* --- all of it ---------------------------------------------------------------------- */

static bool add_event(struct batch *b, struct span json, const char *thread_id,
                      int64_t now_ms, struct batch_fault *fault)
{
    struct event_view view;
    enum event_check check;
    const char *why;

    if (b->count == BATCH_MAX)
        return refuse(fault, "too_many_events", "At most 100 events at once.");
    check = event_normalize(json.at, json.len, thread_id, now_ms, &b->bytes, &view);
    why = check != EVENT_OK                 ? event_check_text(check)
          : !add_run(&b->runs, view.run_id) ? "runId is malformed"
                                            : NULL;
    if (why) {
        fault->code = "bad_event";
        snprintf(fault->message, sizeof fault->message, "Event %zu: %s.", b->count + 1,
                 why);
        return false;
    }
    b->events[b->count++].len = b->bytes.len; /* where it ends, until all are there */
    return true;
}

bool batch_fill(struct batch *b, const char *json, size_t len, const char *thread_id,
                int64_t now_ms, struct batch_fault *ret_fault)
{
    struct span element;
    size_t pos = 1;

    while (len > 0 && is_blank(*json)) {
        json++;
        len--;
    }
    while (len > 0 && is_blank(json[len - 1]))
        len--;
    element = (struct span){json, len};
    if (len == 0 || *json != '[') {
        if (!add_event(b, element, thread_id, now_ms, ret_fault))
            return false;
    } else {
        while (next_element(json, len, &pos, &element))
            if (!add_event(b, element, thread_id, now_ms, ret_fault))
                return false;
    }
    if (b->count == 0)
        return refuse(ret_fault, "no_events", "There is no event in the array.");
    if (b->bytes.failed || b->runs.failed)
        return refuse(ret_fault, "unavailable", "Out of memory, try again.");
    for (size_t i = 0, start = 0; i < b->count; i++) {
        size_t end = b->events[i].len;
        b->events[i] = (struct span){b->bytes.data + start, end - start};
        start = end;
    }
    return true;
}
