/* faults-readers: thousands of readers of a bridge's streams, each of which checks every
 * byte that it gets. What it is told and says: commands.c. What it checks: check.h. */
#include "tests/faults/readers/farm.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static int usage(void)
{
    fputs("usage: faults-readers --seed N [--retry-max-ms 500] [--silence-ms 0]\n",
          stderr);
    return 2;
}

static bool number_read(const char *text, int64_t min, int64_t *ret)
{
    char *end;
    long long value = strtoll(text, &end, 10);

    if (end == text || *end || value < min)
        return false;
    *ret = value;
    return true;
}

/* A reader is a descriptor: as many as we may have. */
static void raise_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

int main(int argc, char **argv)
{
    struct farm_conf conf = {.retry_max_ms = 500};
    int64_t seed = -1;

    for (int i = 1; i < argc; i += 2) {
        bool ok = false;
        if (i + 1 < argc && strcmp(argv[i], "--seed") == 0)
            ok = number_read(argv[i + 1], 0, &seed);
        else if (i + 1 < argc && strcmp(argv[i], "--retry-max-ms") == 0)
            ok = number_read(argv[i + 1], 1, &conf.retry_max_ms);
        else if (i + 1 < argc && strcmp(argv[i], "--silence-ms") == 0)
            ok = number_read(argv[i + 1], 0, &conf.silence_ms);
        if (!ok)
            return usage();
    }
    if (seed < 0)
        return usage();
    conf.seed = (uint64_t)seed;
    signal(SIGPIPE, SIG_IGN);
    raise_limit();
    struct farm *f = farm_new(&conf);
    bool ran = farm_run(f);
    bool good = ran && !f->totals.violations && !f->totals.bad;
    if (!ran)
        fputs("faults-readers: stdin must be a pipe, a socket or a terminal\n", stderr);
    farm_free(f);
    return good ? 0 : ran ? 1 : 2;
}
