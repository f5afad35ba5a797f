/* exec_orphans: what a program left behind outside of its process group (setsid). The
 * worker is their subreaper: whoever loses its parent below it becomes its child. */
#ifndef THREADCAST_WORKER_AGENTS_EXEC_ORPHANS_H
#define THREADCAST_WORKER_AGENTS_EXEC_ORPHANS_H

struct worker;

/* Before the first program is started; does nothing the second time. Without /proc's
 * list of children it stays off, and the orphans go to init. */
void exec_orphans_begin(struct worker *w);
/* Kills those whose program has gone, and waits for those who have. */
void exec_orphans_look(struct worker *w);
void exec_orphans_end(struct worker *w); /* frees */

#endif
