/* connect: a reader's connections: the request, the head of the answer, the end. */
#ifndef FARM_CONNECT_H
#define FARM_CONNECT_H

#include "tests/faults/readers/reader.h"

/* The TCP connection stands, or failed. */
void connect_made(struct reader *r);

/* Reads the answer's head; returns how many of these bytes belong to it. */
size_t connect_head(struct reader *r, const char *data, size_t len);

/* Whether the reader wants what arrives. */
void connect_listen(struct reader *r, bool wanted);

/* A receive buffer so small that the other side notices who reads slowly. */
void connect_narrow(struct reader *r, bool narrow);

/* Cuts the connection here, as reader_cut had it. */
void connect_cut(struct reader *r);

/* When it may come back: what the bridge asked for, bounded and jittered. */
int64_t connect_retry_ms(struct reader *r);

#endif
