/* mint: `threadcast-bridge token …` prints a token for development, signed with the HS256
 * secret that the bridge itself would use. */
#ifndef THREADCAST_MINT_H
#define THREADCAST_MINT_H

/* argv[1] is "token". Returns the exit status: 0, 1 without a key to sign with, 2 when
 * the options are not good. */
int mint_command(int argc, char *const *argv, char *const *envp);

#endif
