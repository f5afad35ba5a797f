/* control: the channel threadcast:control, hints from outside to whoever runs a run:
 * {"type":"cancel","runId":"…"}. */
#ifndef THREADCAST_WORKER_CONTROL_H
#define THREADCAST_WORKER_CONTROL_H

#include <stdbool.h>
#include <stddef.h>

struct control;
struct worker;

struct control *control_new(struct worker *w);
void control_free(struct control *c);
/* The run id of a cancel hint. */
bool control_parse(const char *json, size_t len, char out_run_id[37]);

#endif
