/* doctor: `threadcast doctor <address>`. */
#ifndef THREADCAST_CLI_DOCTOR_H
#define THREADCAST_CLI_DOCTOR_H

/* argv begins behind `doctor` (argv[0] is that word). Returns the exit status: 0 nothing
 * to change, 1 something is, 2 it could not be found out. */
int doctor_command(int argc, char **argv);

#endif
