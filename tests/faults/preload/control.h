/* control: the page of numbers through which a test tells a preloaded process what to do,
 * and reads what was done. A file of 64-bit little-endian integers, mapped by the process
 * and written by the test: no call, no signal, no protocol.
 * tests/faults/preload/control.mjs knows the same order. All zero is: nothing happens. */
#ifndef THREADCAST_TESTS_FAULTS_CONTROL_H
#define THREADCAST_TESTS_FAULTS_CONTROL_H

enum control_slot {
    /* --- what the test writes --- */
    CONTROL_ALLOC_ARMED,     /* 1: allocations are counted and may fail */
    CONTROL_ALLOC_FROM,      /* the number of the first that fails; 0: none */
    CONTROL_ALLOC_COUNT,     /* how many fail from there on */
    CONTROL_ALLOC_EVERY,     /* besides, every Nth fails; 0: none */
    CONTROL_IO_MAX_BYTES,    /* a read or write moves 1 … this many bytes; 0: all */
    CONTROL_IO_EINTR_EVERY,  /* every Nth read or write answers EINTR; 0: none */
    CONTROL_IO_SEED,         /* of the lengths */
    CONTROL_ACCEPT_ERRNO,    /* what accept answers … */
    CONTROL_ACCEPT_COUNT,    /* … so many times more; counts down */
    CONTROL_CLOCK_OFFSET_MS, /* added to CLOCK_REALTIME, to no other clock */
    /* --- what the process writes --- */
    CONTROL_ALLOC_SEEN,     /* since it was armed; the test sets it back to 0 */
    CONTROL_ALLOC_FAILED,   /* allocations that failed */
    CONTROL_IO_SHORTENED,   /* reads and writes that were made shorter */
    CONTROL_IO_INTERRUPTED, /* EINTR that were given */
    CONTROL_ACCEPT_FAILED,  /* accepts that were refused */
    CONTROL_SLOTS
};

#endif
