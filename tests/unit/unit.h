/* unit: what cmocka wants included before itself. Include it after the noun's own header,
 * which so has to stand alone. */
#ifndef THREADCAST_TESTS_UNIT_H
#define THREADCAST_TESTS_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#endif
