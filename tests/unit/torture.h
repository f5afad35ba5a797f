/* torture: what a unit test may say to torture.c, which runs it with failing allocations.
 * Without THREADCAST_TORTURE none of this does anything. */
#ifndef THREADCAST_TESTS_TORTURE_H
#define THREADCAST_TESTS_TORTURE_H

#include <stdbool.h>
#include <stdint.h>

#ifdef THREADCAST_TORTURE

/* Tells the verdict on something that may have to be refused, and answers it. A tortured
 * run ends here, badly, when it accepts what the run without failures refused. */
bool torture_verdict(bool accepted);
/* The same of what says whether it only cannot be told now (`transient`): what the run
 * without failures accepted must be refused in no other way. */
bool torture_verdict_why(bool accepted, bool transient);

/* For what a library that only the test has cannot bear. */
bool torture_is_on(void);

/* How long a test waits for what may never come: not long when it is tortured. */
int64_t torture_patience_ms(int64_t ms);

#else /* a build whose allocator lets nobody in between */

static inline bool torture_verdict(bool accepted)
{
    return accepted;
}

static inline bool torture_verdict_why(bool accepted, bool transient)
{
    (void)transient;
    return accepted;
}

static inline bool torture_is_on(void)
{
    return false;
}

static inline int64_t torture_patience_ms(int64_t ms)
{
    return ms;
}

#endif

#endif
