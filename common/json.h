/* json: JSON text into a tree of jansson's. The only caller of its parser, because that
 * one (2.14) does not look whether its buffers grew: without memory it writes beyond
 * them.
 *
 * Trees are made and printed with jansson's own functions, which do look. Depth and
 * length are the caller's to limit, before. */
#ifndef THREADCAST_JSON_H
#define THREADCAST_JSON_H

#include <jansson.h>
#include <stddef.h>

enum json_trouble { JSON_FINE, JSON_MALFORMED, JSON_NO_MEMORY };

/* `flags`: JSON_REJECT_DUPLICATES, JSON_DECODE_ANY, … as jansson has them. Returns new,
 * or NULL with the reason in `ret` (which may be NULL). A NULL text is malformed. From
 * any thread. */
json_t *json_read(const char *text, size_t len, size_t flags, enum json_trouble *ret);
/* The same for a file of the operator's: `ret_why` gets line, column and code of what is
 * malformed. (Its words repeat what stands there.) */
json_t *json_read_file(const char *text, size_t len, size_t flags, json_error_t *ret_why,
                       enum json_trouble *ret);

/* As json_dumps, but NULL whenever memory was short: jansson does not look whether the
 * key of a member could be added, and its text is then no JSON. Returns new. */
char *json_text(const json_t *json, size_t flags);

#endif
