/* versions: says them. What happens when they differ: docs/OPERATIONS.md, Upgrading. */
#include "common/versions.h"

#include "threadcast_version.h"

void versions_line(const char *program, struct buf *out)
{
    buf_printf(out, "%s %s (event %d, script %d, schema %d)\n", program,
               THREADCAST_VERSION, VERSION_EVENT, VERSION_SCRIPT, THREADCAST_SCHEMA);
}

void versions_metric(struct buf *out)
{
    buf_printf(out,
               "# HELP threadcast_build_info What this daemon was built as and knows.\n"
               "# TYPE threadcast_build_info gauge\n"
               "threadcast_build_info{version=\"%s\",event_version=\"%d\","
               "script_version=\"%d\",schema_version=\"%d\"} 1\n",
               THREADCAST_VERSION, VERSION_EVENT, VERSION_SCRIPT, THREADCAST_SCHEMA);
}
