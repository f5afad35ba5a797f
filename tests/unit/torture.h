/* torture: what a unit test may say to torture.c, which runs it with failing allocations.
 * Without THREADCAST_TORTURE none of this does anything. */
#ifndef THREADCAST_TESTS_TORTURE_H
#define THREADCAST_TESTS_TORTURE_H

#include <stdbool.h>

/* Is this run one with failing allocations? */
bool torture_is_on(void);

/* While yes, allocations work and are not counted: for what the test itself needs. */
void torture_pause(bool yes);

/* Tells the verdict on something that may have to be refused, and answers it. A tortured
 * run ends here, badly, when it accepts what the run without failures refused. */
bool torture_verdict(bool accepted);

#endif
