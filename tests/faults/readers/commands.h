/* commands: what the farm is told on stdin. */
#ifndef FARM_COMMANDS_H
#define FARM_COMMANDS_H

#include <stdbool.h>

struct farm;

/* Reads what is there and does it; false: the end, or `quit`. */
bool commands_read(struct farm *f);

#endif
