/* jsonscan: walks over the bytes of a JSON text (RFC 8259) without building anything:
 * grammar, UTF-8, depth. Only event knows what the members mean. */
#ifndef THREADCAST_JSONSCAN_H
#define THREADCAST_JSONSCAN_H

#include <stdbool.h>
#include <stddef.h>

enum jsonscan_result {
    JSONSCAN_OK,
    JSONSCAN_END,    /* jsonscan_member: the object is closed */
    JSONSCAN_BROKEN, /* not JSON */
    JSONSCAN_DEEP,   /* deeper than `max_depth` */
};

struct jsonscan {
    const char *at, *end; /* borrowed */
    int max_depth;        /* of containers; the outermost is 1 */
    bool line_break;      /* CR or LF was seen between tokens */
    bool inside;          /* jsonscan_member: a member was read */
};

/* A piece of the text. For a string `at` is its opening quote and `len` has both. */
struct jsonscan_piece {
    const char *at;
    size_t len;
    bool escaped; /* a string with a backslash in it */
};

void jsonscan_init(struct jsonscan *s, const char *text, size_t len, int max_depth);
void jsonscan_space(struct jsonscan *s);
/* One value of any kind, space around it included. */
enum jsonscan_result jsonscan_value(struct jsonscan *s, struct jsonscan_piece *ret_value);
/* The members of the outermost object, one a call. Space behind the closing brace is
 * read; what follows it is left at `at`. */
enum jsonscan_result jsonscan_member(struct jsonscan *s, struct jsonscan_piece *ret_key,
                                     struct jsonscan_piece *ret_value);

#endif
