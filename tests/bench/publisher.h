/* Publishes events for the readers: by PUBLISH, by publish.lua, or by POST, over one
 * connection, as many commands in flight as fit. */
#ifndef BENCH_PUBLISHER_H
#define BENCH_PUBLISHER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum publish_by { BY_PUBLISH, BY_SCRIPT, BY_POST };

struct publisher_conf {
    enum publish_by by;
    int port;
    const char *channel;        /* BY_PUBLISH; {} is the thread's number */
    const char *script;         /* BY_SCRIPT: the file */
    const char *path;           /* BY_POST */
    const char *header;         /* BY_POST: one more line of the request, or NULL */
    const char *before, *after; /* BY_POST: goes around the event; {} as above */
    int text_bytes;             /* of an event's content */
    int batch;                  /* BY_SCRIPT: events of a thread in one call */
};

struct publisher {
    struct publisher_conf conf;
    int fd;
    char sha[41], redis_id[41];
    char *out; /* commands that have not been written yet */
    size_t out_len;
    char line[200]; /* of the answers, as far as it has come */
    size_t line_len;
    uint64_t calls, answers, errors;
};

void publisher_open(struct publisher *p, const struct publisher_conf *conf);
void publisher_close(struct publisher *p);

/* Appends `count` events of a thread, numbered from `number`; 0: one probe. They leave
 * with publisher_flush, or earlier when there are many. */
void publisher_send(struct publisher *p, unsigned thread, uint32_t number, int count);
/* Writes all, taking in answers meanwhile. */
void publisher_flush(struct publisher *p);
/* Waits until everything is answered; false when that takes longer. */
bool publisher_settle(struct publisher *p, int seconds);

#endif
