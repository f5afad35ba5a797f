/* schedstat has nanoseconds where stat has hundredths of a second. */
#include "usage.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int usage_parse(struct usage_of *of, const char *list)
{
    while (*list && of->count < USAGE_PIDS) {
        char *end;
        long pid = strtol(list, &end, 10);
        if (end == list || pid <= 0 || (*end && *end != ','))
            return 0;
        of->pid[of->count++] = (pid_t)pid;
        list = *end ? end + 1 : end;
    }
    return *list == '\0';
}

static uint64_t cpu_of(pid_t pid)
{
    char path[320];
    struct dirent *entry;
    uint64_t sum = 0;
    DIR *tasks;

    snprintf(path, sizeof(path), "/proc/%d/task", pid);
    tasks = opendir(path);
    while (tasks && (entry = readdir(tasks))) {
        unsigned long long ns;
        FILE *file;
        snprintf(path, sizeof(path), "/proc/%d/task/%s/schedstat", pid, entry->d_name);
        file = entry->d_name[0] == '.' ? NULL : fopen(path, "re");
        if (!file)
            continue;
        if (fscanf(file, "%llu", &ns) == 1)
            sum += ns;
        fclose(file);
    }
    if (tasks)
        closedir(tasks);
    return sum;
}

/* The sum of what stands, in kB, behind a name in a file of /proc. */
static uint64_t kib_in(const char *path, const char *name)
{
    FILE *file = fopen(path, "re");
    char line[256];
    uint64_t sum = 0;

    while (file && fgets(line, sizeof(line), file)) {
        if (strncmp(line, name, strlen(name)) == 0)
            sum += strtoull(line + strlen(name), NULL, 10);
    }
    if (file)
        fclose(file);
    return sum;
}

struct usage usage_read(const struct usage_of *of)
{
    struct usage sum = {0};
    char path[64];

    for (int i = 0; i < of->count; i++) {
        sum.cpu_ns += cpu_of(of->pid[i]);
        snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", of->pid[i]);
        sum.pss_bytes += kib_in(path, "Pss:") * 1024;
        snprintf(path, sizeof(path), "/proc/%d/status", of->pid[i]);
        sum.anon_bytes += kib_in(path, "RssAnon:") * 1024;
    }
    return sum;
}

static uint64_t tcp_bytes(void)
{
    FILE *file = fopen("/proc/net/sockstat", "re");
    char line[256];
    uint64_t pages = 0;

    while (file && fgets(line, sizeof(line), file)) {
        const char *mem = strncmp(line, "TCP:", 4) == 0 ? strstr(line, " mem ") : NULL;
        if (mem)
            pages = strtoull(mem + 5, NULL, 10);
    }
    if (file)
        fclose(file);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint64_t slab_bytes(void)
{
    static const char *ours[] = {"TCP",           "sock_inode_cache", "filp", "dentry",
                                 "eventpoll_epi", "eventpoll_pwq",    NULL};
    FILE *file = fopen("/proc/slabinfo", "re");
    char line[512], name[64];
    unsigned long long objects, all, size;
    uint64_t sum = 0;

    while (file && fgets(line, sizeof(line), file)) {
        if (sscanf(line, "%63s %llu %llu %llu", name, &objects, &all, &size) != 4)
            continue;
        for (int i = 0; ours[i]; i++) {
            if (strcmp(name, ours[i]) == 0)
                sum += objects * size;
        }
    }
    if (file)
        fclose(file);
    return sum;
}

struct kernel_usage usage_kernel(void)
{
    return (struct kernel_usage){tcp_bytes(), slab_bytes()};
}
