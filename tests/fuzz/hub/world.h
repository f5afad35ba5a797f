/* world: everything around and of one bridge: made, looked at behind every turn, and
 * taken down again. */
#ifndef THREADCAST_FUZZ_WORLD_H
#define THREADCAST_FUZZ_WORLD_H

#include "bridge/access.h"
#include "bridge/bridge.h"
#include "follow.h"
#include "host.h"

struct world {
    struct follow follows[HOST_SOCKETS]; /* who reads at which socket */
    bool owner;                          /* what Postgres says */
    bool publisher_up;
    int lost_messages; /* on the way from Redis, with the connection as it was */
};

extern struct bridge bridge;
extern struct world world;

void world_begin(void);
/* Opens a stream as a route does; `asked` says what for. */
void world_open_follow(const struct follow *asked, const char *since, bool http10);
/* Postgres answers all that it was asked. */
void world_answer_questions(enum access_result result);
/* The end of a turn, and what must hold then. */
void world_turn(void);
/* Lets everything come to rest, looks whether everybody has everything, frees. */
void world_end(void);

#endif
