/* Writes commands as RESP arrays straight into the connection's output. hiredis'
 * formatter would allocate a string for each command and copy it twice. */
#include "common/redis_internal.h"

#include <string.h>

#define NUMBER_MAX 24 /* "$18446744073709551615\r\n" and some */

static size_t arg_len(const char *const *argv, const size_t *lens, int i)
{
    return lens ? lens[i] : strlen(argv[i]);
}

/* An upper bound. */
size_t redis_command_size(int argc, const char *const *argv, const size_t *lens)
{
    size_t size = NUMBER_MAX;

    for (int i = 0; i < argc; i++)
        size += NUMBER_MAX + arg_len(argv, lens, i) + 2;
    return size;
}

static char *put_number(char *p, char kind, size_t value)
{
    char digits[NUMBER_MAX];
    size_t n = 0;

    do
        digits[n++] = (char)('0' + value % 10);
    while (value /= 10);
    *p++ = kind;
    while (n > 0)
        *p++ = digits[--n];
    *p++ = '\r';
    *p++ = '\n';
    return p;
}

bool redis_command_write(struct buf *out, int argc, const char *const *argv,
                         const size_t *lens)
{
    char *p;

    if (!buf_reserve(out, redis_command_size(argc, argv, lens)))
        return false;
    p = put_number(out->data + out->len, '*', (size_t)argc);
    for (int i = 0; i < argc; i++) {
        size_t len = arg_len(argv, lens, i);
        p = put_number(p, '$', len);
        memcpy(p, argv[i], len);
        p += len;
        *p++ = '\r';
        *p++ = '\n';
    }
    out->len = (size_t)(p - out->data);
    return true;
}
