/* feed: the bridge's subscriber connection. It does nothing else: what Redis says about a
 * channel goes to the hub. A canary, published on the publisher's connection and expected
 * back here, notices a subscription that is dead although its socket is not. */
#ifndef THREADCAST_FEED_H
#define THREADCAST_FEED_H

#include <stdbool.h>
#include <stdint.h>

struct bridge;
struct feed;

#define FEED_BRIDGES_CHANNEL "threadcast:bridges" /* what bridges tell each other */

struct feed *feed_new(struct bridge *b);
void feed_free(struct feed *f);
bool feed_ready(const struct feed *f);
int64_t feed_heard_ms(const struct feed *f); /* when it last said anything; 0: away */

/* false: not connected; the hub is told by hub_feed_ready when it is. */
bool feed_subscribe(struct feed *f, const char *thread_id);
void feed_unsubscribe(struct feed *f, const char *thread_id);

#endif
