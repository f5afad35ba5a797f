/* keyfile: see the header. A new file is written beside its name and then linked there,
 * so that of two daemons starting at once one makes it and both read the same. */
#include "bridge/keyfile.h"

#include "bridge/base64url.h"
#include "bridge/keys.h"
#include "common/names.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool read_all(int fd, struct buf *out)
{
    char chunk[1024];
    ssize_t n;

    while ((n = read(fd, chunk, sizeof(chunk))) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        buf_add(out, chunk, (size_t)n);
        if (out->len > KEY_FILE_MAX) {
            errno = EFBIG;
            return false;
        }
    }
    OPENSSL_cleanse(chunk, sizeof(chunk));
    return true;
}

bool keyfile_read(const char *path, struct buf *out, struct buf *err)
{
    size_t start = out->len;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    bool ok = fd >= 0 && read_all(fd, out);

    if (!ok)
        buf_printf(err, "%s: %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    if (!ok)
        return false;
    while (out->len > start &&
           (out->data[out->len - 1] == '\n' || out->data[out->len - 1] == '\r'))
        out->data[--out->len] = '\0';
    if (out->failed || out->len == start ||
        memchr(out->data + start, 0, out->len - start)) {
        buf_printf(err, "%s: %s", path,
                   out->failed ? "out of memory"
                               : "is empty or holds a NUL: it must be text");
        return false;
    }
    return true;
}

static bool write_all(int fd, const char *data, size_t len)
{
    while (len) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        data += n;
        len -= (size_t)n;
    }
    return fsync(fd) == 0;
}

/* Writes the secret to a new file of this name; nobody else can have opened it. */
static bool write_new(const char *path, const char *data, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return false;
    bool ok = fchmod(fd, 0600) == 0 && write_all(fd, data, len);
    return close(fd) == 0 && ok;
}

static bool random_line(struct buf *out)
{
    unsigned char bytes[32];
    bool ok = RAND_priv_bytes(bytes, sizeof(bytes)) == 1;

    if (ok) {
        base64url_encode(out, bytes, sizeof(bytes));
        buf_char(out, '\n');
    }
    OPENSSL_cleanse(bytes, sizeof(bytes));
    return ok && !out->failed;
}

bool keyfile_make(const char *path, struct buf *err)
{
    char instance[INSTANCE_SIZE];
    struct buf line, beside;
    bool ok = false;

    if (access(path, F_OK) == 0)
        return true;
    buf_init(&line);
    buf_init(&beside);
    instance_new(instance);
    buf_printf(&beside, "%s.%s.new", path, instance);
    errno = ENOMEM;
    if (!random_line(&line) || beside.failed ||
        !write_new(beside.data, line.data, line.len) ||
        (link(beside.data, path) != 0 && errno != EEXIST))
        buf_printf(err, "%s: cannot make the key: %s", path, strerror(errno));
    else
        ok = true;
    if (!beside.failed)
        unlink(beside.data);
    if (line.data)
        OPENSSL_cleanse(line.data, line.len);
    buf_fini(&line);
    buf_fini(&beside);
    return ok;
}
