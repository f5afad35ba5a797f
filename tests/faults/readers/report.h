/* report: the lines that the farm writes; each is one JSON object and is flushed. */
#ifndef FARM_REPORT_H
#define FARM_REPORT_H

#include "tests/faults/readers/reader.h"

#include <jansson.h>

/* `thread` may be NULL. Counted; written as long as there are not too many. */
__attribute__((format(printf, 4, 5))) void report_violation(struct reader *r,
                                                            const struct thread *thread,
                                                            const char *kind,
                                                            const char *format, ...);

/* Before the view forgets what it knew; `id`: the new position. */
void report_reset(struct reader *r, const struct view *v, const char *reason,
                  struct piece id);

void report_refused(struct reader *r, int status, const char *code);
void report_auth(struct reader *r, const json_t *data);
void report_status(struct farm *f);

/* A line for each reader and run it saw or should have seen, and one that counts them. */
void report_all(struct farm *f);

/* Takes `line`. */
void report_line(json_t *line);

#endif
