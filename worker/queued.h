/* queued: tells the readers of a thread that a run waits: behind an earlier one, or
 * because no worker has room. Once a run, while nobody has begun it. */
#ifndef THREADCAST_WORKER_QUEUED_H
#define THREADCAST_WORKER_QUEUED_H

struct queued;
struct worker;

struct queued *queued_new(struct worker *w);
void queued_free(struct queued *q);
/* Looks once. After a claim that left room, or when there is none: a run that could be
 * claimed is not to be held up by this. */
void queued_look(struct queued *q);

#endif
