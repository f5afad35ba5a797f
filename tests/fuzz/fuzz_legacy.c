/* fuzz_legacy: what stands in other people's lists and channels. The first byte says what
 * the rest is:
 *   E a family (0 to 3) and an entry    W a word on a control channel
 *   C a channel: prefix LF name         P ?last_id= */
#include "fuzz.h"

#include "bridge/legacy_entry.h"
#include "bridge/legacy_page.h"
#include "bridge/msg.h"

#include <jansson.h>

/* One `data:` line and a blank one, whatever the entry holds; and it is the same JSON. */
static void check_framed(struct msg *m, struct span json, const char *id)
{
    MUST(m);
    const char *at = m->data + m->head, *end = m->data + m->len - MSG_TAIL;

    MUST(end - at >= 8 && memcmp(at, "data: ", 6) == 0 &&
         memcmp(end - 2, "\n\n", 2) == 0);
    for (const char *p = at; p < end - 2; p++)
        MUST(*p != '\n' && *p != '\r');
    json_t *want = json_loadb(json.at, json.len, JSON_ALLOW_NUL, NULL);
    json_t *got = json_loadb(at + 6, (size_t)(end - at) - 8, JSON_ALLOW_NUL, NULL);
    MUST(!want == !got); /* it refuses what JSON.parse takes: half a surrogate pair */
    if (want && id)
        json_object_set_new(want, "_event_id", json_string(id));
    MUST(json_equal(want, got) || !want);
    json_decref(want);
    json_decref(got);
    msg_unref(m);
}

static void check_entry(enum legacy_family family, struct span json)
{
    struct legacy_entry e;

    if (!legacy_entry_read(json.at, json.len, family, &e))
        return;
    MUST(!e.told || e.end != LEGACY_RUNNING);
    MUST(!e.thread.at ||
         (e.thread.at > json.at && e.thread.at + e.thread.len < json.at + json.len));
    check_framed(legacy_entry_msg(json.at, json.len, &e, NULL), json, NULL);
    check_framed(legacy_entry_msg(json.at, json.len, &e, "17-3"), json, "17-3");
}

static void check_channel(struct fuzz_input *in)
{
    char *prefix = fuzz_copy(fuzz_until(in, '\n'));
    struct span name = {(const char *)in->at, in->len};
    char again[LEGACY_NAME_SIZE], id[LEGACY_ID_MAX + 1];
    enum legacy_name which;
    size_t len;
    const char *run = strlen(prefix) <= NAMES_PREFIX_MAX
                          ? legacy_run_of_channel(prefix, name.at, name.len, &len, &which)
                          : NULL;

    if (run) {
        MUST(legacy_id_valid(run, len) && which >= LEGACY_KEYS && which < LEGACY_NAMES);
        memcpy(id, run, len);
        id[len] = '\0';
        MUST(legacy_name(again, prefix, which, id) == name.len);
        MUST(memcmp(again, name.at, name.len) == 0);
    }
    free(prefix);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = {data, size};
    char kind = (char)fuzz_byte(&in);
    enum legacy_family family =
        kind == 'E' ? (enum legacy_family)(fuzz_byte(&in) % 4) : LEGACY_UNKNOWN;

    if (kind == 'C') {
        check_channel(&in);
        return 0;
    }
    char *copy = fuzz_copy((struct span){(const char *)in.at, in.len});
    if (kind == 'E')
        check_entry(family, (struct span){copy, in.len});
    else if (kind == 'W')
        MUST(legacy_word_read(copy, in.len) <= LEGACY_ERROR);
    else if (kind == 'P')
        MUST(!legacy_place_valid(copy) || strspn(copy, "0123456789-") == strlen(copy));
    free(copy);
    return 0;
}
