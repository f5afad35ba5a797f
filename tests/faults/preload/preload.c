/* preload: a shared library that makes a machine bad to the one process it is loaded
 * into.
 *
 *     LD_PRELOAD=…/libfaults-preload.so FAULTS_CONTROL=<file> threadcast-bridge …
 *
 * The file (control.h says what stands where) is mapped when the library is loaded; a
 * test writes into it while the process runs:
 *
 *   allocations   the Nth since they were armed fails, or a number of them from there on,
 * or every Nth: malloc, calloc, realloc, reallocarray, posix_memalign, aligned_alloc, and
 * what libc makes of them (strdup, getline, fopen …). Nothing is counted before it is
 * armed, so the start is spared unless wanted I/O           reads and writes of stream
 * sockets and pipes move 1 … n bytes, every Nth one answers EINTR. Files, datagrams and
 * eventfds are left as they are: nobody may expect them to be short accept        answers
 * EMFILE, ENFILE, ECONNABORTED … for a number of calls clock         CLOCK_REALTIME (and
 * time, gettimeofday) is off by some milliseconds; CLOCK_MONOTONIC never
 *
 * For builds without AddressSanitizer, which brings an allocator of its own. It must
 * never allocate, and without FAULTS_CONTROL it changes nothing. */
#include "control.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

typedef _Atomic int64_t slot;

static slot nothing[CONTROL_SLOTS];
static slot *control = nothing;

__attribute__((constructor)) static void preload_init(void)
{
    const char *path = getenv("FAULTS_CONTROL");
    size_t size = CONTROL_SLOTS * sizeof(slot);
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *at;

    if (fd < 0)
        return;
    at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (at != MAP_FAILED)
        control = at;
}

static int64_t told(enum control_slot at)
{
    return atomic_load_explicit(&control[at], memory_order_relaxed);
}

static int64_t counted(enum control_slot at)
{
    return atomic_fetch_add(&control[at], 1) + 1;
}

/* --- allocations ------------------------------------------------------------------ */

/* glibc's own names for what we stand in front of; dlsym would allocate. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *p, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

static bool alloc_fails(void)
{
    int64_t n, from, every;

    if (!told(CONTROL_ALLOC_ARMED))
        return false;
    n = counted(CONTROL_ALLOC_SEEN);
    from = told(CONTROL_ALLOC_FROM);
    every = told(CONTROL_ALLOC_EVERY);
    if (!(from && n >= from && n - from < told(CONTROL_ALLOC_COUNT)) &&
        !(every && n % every == 0))
        return false;
    counted(CONTROL_ALLOC_FAILED);
    errno = ENOMEM;
    return true;
}

void *malloc(size_t size)
{
    return alloc_fails() ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    return alloc_fails() ? NULL : __libc_calloc(count, size);
}

void *realloc(void *p, size_t size)
{
    return alloc_fails() ? NULL : __libc_realloc(p, size);
}

void *reallocarray(void *p, size_t count, size_t size)
{
    size_t total;

    if (__builtin_mul_overflow(count, size, &total)) {
        errno = ENOMEM;
        return NULL;
    }
    return realloc(p, total);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    return alloc_fails() ? NULL : __libc_memalign(alignment, size);
}

int posix_memalign(void **ret_p, size_t alignment, size_t size)
{
    void *p = aligned_alloc(alignment, size);

    if (!p)
        return ENOMEM;
    *ret_p = p;
    return 0;
}

/* --- reads and writes --------------------------------------------------------------- */

static bool is_stream(int fd)
{
    int saved = errno, type = 0;
    socklen_t len = sizeof type;
    struct stat st;
    bool yes = fstat(fd, &st) == 0 && (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode));

    if (yes && S_ISSOCK(st.st_mode))
        yes =
            getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_STREAM;
    errno = saved;
    return yes;
}

/* How many bytes this call may move; 0: it is interrupted (never asked with len 0). A log
 * line is written whole or not at all, so stderr stays as it is; and a single byte may be
 * what a signal handler sends to its loop, where nothing interrupts and nobody repeats.
 */
static size_t io_room(int fd, size_t len)
{
    static atomic_int_fast64_t calls;
    int64_t max = told(CONTROL_IO_MAX_BYTES), every = told(CONTROL_IO_EINTR_EVERY), n;
    uint64_t x;

    if ((!max && !every) || fd == STDERR_FILENO || !is_stream(fd))
        return len;
    n = atomic_fetch_add(&calls, 1) + 1;
    if (every && n % every == 0 && len > 1) {
        counted(CONTROL_IO_INTERRUPTED);
        errno = EINTR;
        return 0;
    }
    if (!max)
        return len;
    x = (uint64_t)(n + told(CONTROL_IO_SEED)) * 0x9E3779B97F4A7C15u;
    x = 1 + (x >> 33) % (uint64_t)max;
    if (x >= len)
        return len;
    counted(CONTROL_IO_SHORTENED);
    return (size_t)x;
}

/* With only its last len characters changed: f(fd, at, up to `room` bytes). */
#define SHORTENED(fd, len, call)                                                         \
    do {                                                                                 \
        size_t room = (len) ? io_room(fd, len) : 0;                                      \
        return (len) && !room ? -1 : (call);                                             \
    } while (0)

ssize_t read(int fd, void *at, size_t len)
{
    SHORTENED(fd, len, syscall(SYS_read, fd, at, room));
}

ssize_t write(int fd, const void *at, size_t len)
{
    SHORTENED(fd, len, syscall(SYS_write, fd, at, room));
}

ssize_t recvfrom(int fd, void *restrict at, size_t len, int flags,
                 struct sockaddr *restrict from, socklen_t *restrict from_len)
{
    SHORTENED(fd, len, syscall(SYS_recvfrom, fd, at, room, flags, from, from_len));
}

ssize_t recv(int fd, void *at, size_t len, int flags)
{
    return recvfrom(fd, at, len, flags, NULL, NULL);
}

ssize_t sendto(int fd, const void *at, size_t len, int flags, const struct sockaddr *to,
               socklen_t to_len)
{
    SHORTENED(fd, len, syscall(SYS_sendto, fd, at, room, flags, to, to_len));
}

ssize_t send(int fd, const void *at, size_t len, int flags)
{
    return sendto(fd, at, len, flags, NULL, 0);
}

/* What fortified callers call instead; the checks are not what we are here for. */
ssize_t __read_chk(int fd, void *at, size_t len, size_t size);
ssize_t __recv_chk(int fd, void *at, size_t len, size_t size, int flags);

ssize_t __read_chk(int fd, void *at, size_t len, size_t size)
{
    if (len > size)
        abort();
    return read(fd, at, len);
}

ssize_t __recv_chk(int fd, void *at, size_t len, size_t size, int flags)
{
    if (len > size)
        abort();
    return recv(fd, at, len, flags);
}

/* The first pieces of `from` that together hold at most room bytes. */
enum { IOV_SHORT_MAX = 16 };
static int iov_cut(struct iovec *to, const struct iovec *from, int count, size_t room)
{
    int n = 0;

    for (; n < count && n < IOV_SHORT_MAX && room; n++) {
        to[n] = from[n];
        if (to[n].iov_len > room)
            to[n].iov_len = room;
        room -= to[n].iov_len;
    }
    return n;
}

static size_t iov_bytes(const struct iovec *at, size_t count)
{
    size_t sum = 0;

    for (size_t i = 0; i < count; i++)
        sum += at[i].iov_len;
    return sum;
}

static ssize_t vector(long number, int fd, const struct iovec *at, int count)
{
    size_t len = iov_bytes(at, count > 0 ? (size_t)count : 0);
    size_t room = len ? io_room(fd, len) : 0;
    struct iovec cut[IOV_SHORT_MAX];

    if (len && !room)
        return -1;
    if (room == len)
        return syscall(number, fd, at, count);
    count = iov_cut(cut, at, count, room);
    return syscall(number, fd, cut, count);
}

ssize_t readv(int fd, const struct iovec *at, int count)
{
    return vector(SYS_readv, fd, at, count);
}

ssize_t writev(int fd, const struct iovec *at, int count)
{
    return vector(SYS_writev, fd, at, count);
}

static ssize_t message(long number, int fd, struct msghdr *msg, int flags)
{
    size_t len = iov_bytes(msg->msg_iov, msg->msg_iovlen);
    size_t room = len ? io_room(fd, len) : 0;
    struct iovec cut[IOV_SHORT_MAX], *all = msg->msg_iov;
    size_t all_len = msg->msg_iovlen;
    ssize_t n;

    if (len && !room)
        return -1;
    if (room == len)
        return syscall(number, fd, msg, flags);
    msg->msg_iov = cut;
    msg->msg_iovlen = (size_t)iov_cut(cut, all, (int)all_len, room);
    n = syscall(number, fd, msg, flags);
    msg->msg_iov = all;
    msg->msg_iovlen = all_len;
    return n;
}

ssize_t recvmsg(int fd, struct msghdr *msg, int flags)
{
    return message(SYS_recvmsg, fd, msg, flags);
}

ssize_t sendmsg(int fd, const struct msghdr *msg, int flags)
{
    struct msghdr copy = *msg;

    return message(SYS_sendmsg, fd, &copy, flags);
}

/* --- accept ---------------------------------------------------------------------------
 */

int accept4(int fd, struct sockaddr *restrict from, socklen_t *restrict len, int flags)
{
    if (told(CONTROL_ACCEPT_COUNT) > 0) {
        atomic_fetch_sub(&control[CONTROL_ACCEPT_COUNT], 1);
        counted(CONTROL_ACCEPT_FAILED);
        errno = (int)told(CONTROL_ACCEPT_ERRNO);
        return -1;
    }
    return (int)syscall(SYS_accept4, fd, from, len, flags);
}

int accept(int fd, struct sockaddr *restrict from, socklen_t *restrict len)
{
    return accept4(fd, from, len, 0);
}

/* --- the wall clock -------------------------------------------------------------------
 */

int clock_gettime(clockid_t clock, struct timespec *ret_at)
{
    int64_t ns, offset_ms = told(CONTROL_CLOCK_OFFSET_MS);

    if (syscall(SYS_clock_gettime, clock, ret_at) < 0)
        return -1;
    if (offset_ms && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        ns = ret_at->tv_nsec + offset_ms % 1000 * 1000000;
        ret_at->tv_sec += offset_ms / 1000 + (ns < 0 ? -1 : ns / 1000000000);
        ret_at->tv_nsec = (ns + 1000000000) % 1000000000;
    }
    return 0;
}

int gettimeofday(struct timeval *restrict ret_at, void *restrict zone)
{
    struct timespec now;

    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    ret_at->tv_sec = now.tv_sec;
    ret_at->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *ret_at)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    if (ret_at)
        *ret_at = now.tv_sec;
    return now.tv_sec;
}
