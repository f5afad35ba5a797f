/* sub: a stream's way into one thread: subscribe first, then replay the log in pages as
 * the socket drains, join the feed when a page reaches it. States are in client.h. */
#ifndef THREADCAST_SUB_H
#define THREADCAST_SUB_H

#include "bridge/client.h"
#include "bridge/reader.h"

/* The thread's channel is subscribed: start, or go on. */
void sub_start(struct sub *s);
void sub_on_cursor(struct sub *s, const struct thread_cursor *cursor);
/* Asks for the next page when the queue has room for it. */
void sub_more(struct sub *s);
/* The position is lost: `reset` and from the live runs on. `why` is a literal. */
void sub_reset(struct sub *s, const char *why);
/* Is its answer still on its way, from a Redis that goes on answering? How long the line
 * of our own questions is says nothing about Redis. */
bool sub_expects(const struct sub *s);
/* Forgets its read, if any. */
void sub_stop(struct sub *s);

#endif
