/* base64url: RFC 4648 section 5 without padding, strictly: one text for each string of
 * bytes and nothing else is taken, so a signature has no second spelling. */
#ifndef THREADCAST_BASE64URL_H
#define THREADCAST_BASE64URL_H

#include "common/buf.h"

#include <stdbool.h>
#include <stddef.h>

/* Decodes into out (at least len * 3 / 4 bytes). false: a character outside of the
 * alphabet, padding, an impossible length, unused bits that are not zero, no room. */
bool base64url_decode(const char *in, size_t len, void *out, size_t size,
                      size_t *ret_len);
void base64url_encode(struct buf *out, const void *data, size_t len); /* appends */

#endif
