/* legacy_entry: one entry of a run as Suna and its forks write it: a JSON object that
 * goes to the page as it is, and that tells us whether the run is over. And what we say
 * ourselves in their words: with a space after colons and commas, because their page
 * finds the end of a run by searching the raw text. */
#ifndef THREADCAST_LEGACY_ENTRY_H
#define THREADCAST_LEGACY_ENTRY_H

#include "bridge/legacy_names.h"
#include "common/event.h"

#include <stdbool.h>
#include <stddef.h>

struct msg;

#define LEGACY_ENTRY_MAX EVENT_MAX_BYTES

/* How a run has ended, as far as it is known. */
enum legacy_end { LEGACY_RUNNING, LEGACY_COMPLETED, LEGACY_FAILED, LEGACY_STOPPED };
const char *legacy_end_text(enum legacy_end end); /* "running", "completed", … */

struct legacy_entry {
    enum legacy_end end; /* it ends the run */
    bool told;           /* and says so in words that every page of theirs knows */
    bool error;          /* "status": "error", which alone ends nothing */
    bool has_line_break; /* between tokens: blanked when framed */
    struct span thread;  /* thread_id or threadId without its quotes; NULL: none */
};

/* false: not a JSON object, too deep, or a key that would have to be decoded first. */
bool legacy_entry_read(const char *json, size_t len, enum legacy_family family,
                       struct legacy_entry *ret);

/* What a message on a control channel says. */
enum legacy_word { LEGACY_NO_WORD, LEGACY_STOP, LEGACY_END_STREAM, LEGACY_ERROR };
enum legacy_word legacy_word_read(const char *data, size_t len);
const char *legacy_word_text(enum legacy_word word); /* "END_STREAM" */
enum legacy_end legacy_word_end(enum legacy_word word);

/* All return new (refs 1), NULL: no memory. */

/* `data: <json>`; with `event_id` not NULL, `"_event_id": "<it>"` is put in behind. */
struct msg *legacy_entry_msg(const char *json, size_t len,
                             const struct legacy_entry *entry, const char *event_id);
/* {"type": "status", "status": "<status>", "message": "<message>"}; message NULL: none */
struct msg *legacy_status_msg(const char *status, const char *message);
struct msg *legacy_end_msg(enum legacy_end end); /* the status that ends a run */
struct msg *legacy_ping_msg(void);
struct msg *legacy_close_msg(void); /* event: close */

#endif
