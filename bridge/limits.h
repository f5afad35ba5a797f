/* limits: what the process has only so much of, whichever reactor it is wanted in:
 * streams (in all, of an address, of a user), probes among them, HTTP connections,
 * descriptors, new guests.
 * Asked when something begins or ends, never for an event. Safe from any thread. */
#ifndef THREADCAST_LIMITS_H
#define THREADCAST_LIMITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bridge_conf;
struct limit_holder;
struct limits;

/* descriptors: what sockets of clients may take up; 0: not known. Returns new, or NULL.
 */
struct limits *limits_new(const struct bridge_conf *conf, size_t descriptors);
void limits_free(struct limits *l); /* NULL is fine */

enum limit {
    LIMIT_NONE, /* there is room */
    LIMIT_CLIENTS,
    LIMIT_ADDRESS,
    LIMIT_USER,
    LIMIT_MEMORY, /* what cannot be counted is refused */
};

/* One stream's place, and who holds it. */
struct limit_seat {
    bool taken, closing;
    struct limit_holder *address, *user;
};

/* Takes a place, or says which limit was met. `anyway`: for a stream that only says
 * `busy` and goes; it is counted, too. */
enum limit limits_seat_take(struct limits *l, const char *sub, const char *address,
                            bool anyway, struct limit_seat *ret);
/* It has left, and somebody else may come, but its descriptor is still open. */
void limits_seat_leave(struct limits *l, struct limit_seat *seat);
void limits_seat_give(struct limits *l, struct limit_seat *seat); /* twice is harmless */
size_t limits_streams(struct limits *l);

enum connection_room {
    ROOM,
    ROOM_SHORT,  /* beyond max-connections: may still become a stream, or be told so */
    ROOM_SCARCE, /* few descriptors are left: may only be told so */
    ROOM_NONE,   /* not even that */
};
/* `admin`: of --admin-listen. ROOM_NONE: not taken. */
enum connection_room limits_connection_take(struct limits *l, bool admin);
void limits_connection_give(struct limits *l);
/* A reactor has lent its reserve (+1), has it back (-1): while one has, every new
 * connection is ROOM_SCARCE, so that the next free descriptor stays one. */
void limits_reserve_lent(struct limits *l, int change);

enum probe_room {
    PROBE_ROOM,
    PROBE_FULL,  /* --max-probes are under way */
    PROBE_OFTEN, /* this address has had its part of this minute */
};
enum probe_room limits_probe_take(struct limits *l, const char *address, int64_t now_ms);
void limits_probe_give(struct limits *l); /* of each PROBE_ROOM, once */

/* May this address sign in one more guest in this minute? */
bool limits_guest(struct limits *l, const char *address, int64_t now_ms);

#endif
