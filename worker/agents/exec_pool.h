/* exec_pool: runs find a process that serves many, or wait for one. */
#ifndef THREADCAST_WORKER_AGENTS_EXEC_POOL_H
#define THREADCAST_WORKER_AGENTS_EXEC_POOL_H

struct agent;
struct agent_input;
struct exec_options;
struct run;
struct worker;

/* As those of agent_kind. */
struct agent *exec_pool_start(struct worker *w, struct exec_options *o, struct run *r,
                              const struct agent_input *in, const char **why);
void exec_pool_release(struct agent *a);
void exec_pool_pause(struct agent *a);
void exec_pool_resume(struct agent *a);
void exec_pool_drain(struct worker *w);
/* A place is free, or a process less is there. */
void exec_pool_serve(struct exec_options *o);

#endif
