/* redis_model: Redis as the bridge's two connections see it. It defines the functions of
 * common/redis.h: commands wait until they are carried out, replies and messages wait
 * until they are delivered, each when the fuzzer says so. Replies are RESP and go through
 * the real reader. */
#ifndef THREADCAST_FUZZ_REDIS_MODEL_H
#define THREADCAST_FUZZ_REDIS_MODEL_H

#include <stdbool.h>
#include <stddef.h>

enum redis_role { ROLE_FEED, ROLE_READER, ROLES };

void redis_model_init(void);
/* A connection comes up, or goes down: what waits is lost. */
void redis_model_up(enum redis_role role);
void redis_model_down(enum redis_role role);
/* Ends connections that the bridge itself gave up. */
void redis_model_settle(void);
/* Carries out the oldest command that waits; false: none does. `error`: refuses it. */
bool redis_model_execute(enum redis_role role, const char *error);
/* Delivers the oldest reply or message; carries a command out for it when none waits.
 * false: there is nothing. */
bool redis_model_deliver(enum redis_role role);
/* The oldest message that waits is lost. */
void redis_model_lose_message(void);
/* PUBLISH: to the feed, if it is subscribed. */
void redis_model_publish(const char *channel, const char *json, size_t len);
/* The next `count` commands meet a limit. */
void redis_model_refuse(int count);
bool redis_model_hears(const char *channel); /* the feed is subscribed to it */
bool redis_model_idle(void);                 /* no question waits for its answer */

#endif
