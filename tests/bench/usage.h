/* What servers cost: processor time and memory of processes, and what the kernel holds
 * for sockets. All of it is read from /proc, so it can be asked of any process of this
 * user. */
#ifndef BENCH_USAGE_H
#define BENCH_USAGE_H

#include <stdint.h>
#include <sys/types.h>

#define USAGE_PIDS 64

struct usage_of { /* which processes; they and their threads are summed up */
    pid_t pid[USAGE_PIDS];
    int count;
};

struct usage {
    uint64_t cpu_ns;     /* of all threads */
    uint64_t pss_bytes;  /* pages shared with others count as their share */
    uint64_t anon_bytes; /* private and anonymous: heaps and stacks */
};

/* Of the whole machine: on loopback both ends of each connection are in it. */
struct kernel_usage {
    uint64_t tcp_bytes;  /* queued in TCP's buffers */
    uint64_t slab_bytes; /* sockets, files, epoll entries; 0 where only root may look */
};

/* "12,345"; false when that is no list of processes. */
int usage_parse(struct usage_of *of, const char *list);
struct usage usage_read(const struct usage_of *of);
struct kernel_usage usage_kernel(void);

#endif
