/* access: may this identity do this with that thread? By the token's grants at once, by
 * ownership from Postgres otherwise. Somebody else's thread and none look the same. */
#ifndef THREADCAST_ACCESS_H
#define THREADCAST_ACCESS_H

struct bridge;
struct identity;

enum access_kind {
    ACCESS_READ,    /* streams, history: a read grant or the owner */
    ACCESS_OWN,     /* post messages, cancel, delete: the owner */
    ACCESS_PUBLISH, /* POST …/events: a write grant */
};

enum access_result {
    ACCESS_GRANTED, /* by the token */
    ACCESS_OWNER,   /* by threads.owner: to be asked again when that changes */
    ACCESS_DENIED,
    ACCESS_UNKNOWN, /* Postgres did not answer in time: a transient refusal */
};

typedef void access_fn(enum access_result result, void *arg);

/* `fn` is called exactly once, maybe before this returns. Borrows `id` (takes a
 * reference of its own while it waits). */
void access_check(struct bridge *b, struct identity *id, const char *thread_id,
                  enum access_kind kind, access_fn *fn, void *arg);

/* Ownership of this thread (NULL: of any) may have changed: an answer that is on its way
 * is asked for again. Before streams are asked about (owners.c). */
void access_changed(struct bridge *b, const char *thread_id);

#endif
