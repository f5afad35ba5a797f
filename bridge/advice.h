/* advice: what an operator should know about what stands in front of us. Each is said
 * once in the life of the process: strangers can bring them about as often as they like.
 */
#ifndef THREADCAST_ADVICE_H
#define THREADCAST_ADVICE_H

#include <stdbool.h>

struct bridge;
struct request;

enum advice {
    ADVICE_HTTP10 = 1, /* a stream over HTTP/1.0 */
    ADVICE_ORIGIN = 2, /* a page was refused */
};

/* Is this the first time, in all reactors? Who is told so, logs it. */
bool advice_first(struct bridge *b, enum advice a);

/* A stream begins over HTTP/1.0. */
void advice_http10(const struct request *r);

#endif
