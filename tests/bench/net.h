/* Sockets on loopback, and texts with a thread's number in them. */
#ifndef BENCH_NET_H
#define BENCH_NET_H

#include <stdbool.h>
#include <stddef.h>

/* Says what went wrong (as printf) with errno's text and ends the program with 2. */
_Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A connected TCP socket to a port of 127.0.0.1, or -1. The index-th of many comes from
 * an address of its own every 20,000, because an address has only so many ports. With
 * rcvbuf_bytes it takes in little before it is read. */
int net_connect(int port, int index, int rcvbuf_bytes);

/* Ends a connection at once, without leaving its port in TIME_WAIT. */
void net_cut(int fd);

/* Copies a pattern, each {} replaced by the number; answers the length (less than size).
 */
size_t net_fill(char *at, size_t size, const char *pattern, unsigned number);

/* Writes all of it to a blocking socket. */
bool net_write(int fd, const char *bytes, size_t len);

/* As many descriptors as this process may have. */
void net_raise_limits(int wanted);

#endif
