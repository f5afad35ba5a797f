/* killpoint: see the header. The count of passes is the one thing in the worker that is
 * global: it belongs to the process that is to die, and only tests build it. */
#include "worker/killpoint.h"

#include "common/log.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

void kill_point(const char *name)
{
    static unsigned long passes;
    const char *given = getenv("THREADCAST_KILL_POINT");
    size_t len = strlen(name);
    unsigned long nth = 1;

    if (!given || strncmp(given, name, len) != 0 || !strchr(":,", given[len]))
        return;
    if (given[len] == ':')
        nth = strtoul(given + len + 1, NULL, 10);
    if (++passes != nth)
        return;
    log_warn("kill point", LOG_S("name", name));
    raise(strstr(given + len, ",stop") ? SIGSTOP : SIGKILL);
}
