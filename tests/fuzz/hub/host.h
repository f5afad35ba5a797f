/* host: what the bridge's core takes from the system, as the fuzzer wants it: time that
 * stands still until it is moved, sockets that take as many bytes as they are told,
 * memory that fails when it is to. host.c defines the functions of clock.h, loop.h and
 * libevent that the core calls; sendmsg, recv, shutdown, close and malloc's are replaced
 * by the linker (--wrap). */
#ifndef THREADCAST_FUZZ_HOST_H
#define THREADCAST_FUZZ_HOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HOST_FD = 1 << 20, HOST_SOCKETS = 8 };

struct host_socket {
    bool used;     /* the bridge has it */
    bool half;     /* it was shut down for writing */
    bool reset;    /* writing fails */
    size_t room;   /* bytes it takes until it blocks */
    long incoming; /* bytes to read; -1: the other end has left */
    void (*on_bytes)(int socket, const char *bytes, size_t len);
    void (*on_close)(int socket);
};

struct host {
    int64_t now_ms;
    struct host_socket sockets[HOST_SOCKETS];
    long allocated;   /* blocks that are not freed yet */
    int safe;         /* above 0: memory does not fail (the model's own) */
    int fail_after;   /* so many allocations work, then */
    int fail_count;   /* so many fail */
    uint64_t refused; /* allocations that failed */
};

extern struct host host;

void host_init(void);
/* Moves the time; `turn` is called behind every timer that ran. */
void host_advance(int64_t ms, void (*turn)(void));
/* Calls what waits for the socket to be readable or writable, if anything does. */
void host_readable(int socket);
void host_writable(int socket);

#endif
