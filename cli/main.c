/* threadcast: a command for those who look at a Threadcast from outside. */
#include "cli/doctor.h"
#include "threadcast_version.h"

#include <stdio.h>
#include <string.h>

static const char usage[] =
    "Usage: threadcast <command>\n"
    "\n"
    "  doctor <address>   what stands between here and a bridge, what it does to a\n"
    "                     stream, and what to change (threadcast doctor --help)\n"
    "  --version\n"
    "  --help\n";

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "doctor") == 0)
        return doctor_command(argc - 1, argv + 1);
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        printf("threadcast %s\n", THREADCAST_VERSION);
        return 0;
    }
    if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        fputs(usage, stdout);
        return 0;
    }
    fputs(usage, stderr);
    return 2;
}
