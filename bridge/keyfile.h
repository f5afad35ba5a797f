/* keyfile: secrets and keys in files: read whole, and made once for the demo. */
#ifndef THREADCAST_KEYFILE_H
#define THREADCAST_KEYFILE_H

#include "common/buf.h"

#include <stdbool.h>

/* Appends the file to `out` without trailing line ends. false: `err` says why (missing,
 * not readable, larger than KEY_FILE_MAX, empty, holds NUL). */
bool keyfile_read(const char *path, struct buf *out, struct buf *err);

/* Makes it with 32 random bytes as base64url text, mode 0600, unless it is there: it is
 * never overwritten, and whoever reads it finds it whole. */
bool keyfile_make(const char *path, struct buf *err);

#endif
