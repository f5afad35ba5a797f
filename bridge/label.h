/* label: the id of a request, kept as long as its stream. A UUID, which is what we and
 * most proxies make, in 16 bytes; anything else as a copy. */
#ifndef THREADCAST_LABEL_H
#define THREADCAST_LABEL_H

#include "common/names.h"

#include <stdint.h>

enum label_kind {
    LABEL_NONE,
    LABEL_UUID,
    LABEL_TEXT,
};

union label {
    unsigned char uuid[16];
    char *text;
};

/* Of NULL, "", and without memory LABEL_NONE: nobody depends on a label. The caller keeps
 * the kind, where it has a byte to spare. */
uint8_t label_set(union label *ret, const char *text);
/* NULL: none. `out` holds a UUID. */
const char *label_text(const union label *label, uint8_t kind, char out[UUID_SIZE]);
void label_fini(union label *label, uint8_t kind);

#endif
