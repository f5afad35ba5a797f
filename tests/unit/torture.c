/* torture: linked into every unit test, and asleep unless THREADCAST_TORTURE is set. Then
 * each cmocka test of the program runs again and again in a process of its own, the first
 * time with the first allocation failing, then the second … until a run needed fewer; and
 * the same with all allocations failing from there on.
 *
 *     THREADCAST_TORTURE=1 test_x          some places, drawn from
 * THREADCAST_TORTURE_SEED THREADCAST_TORTURE=1 THREADCAST_FULL=1 test_x          all of
 * them
 *
 * A test may well fail its own assertions then: it asks for what needs memory. What must
 * never happen, and makes the program fail: a crash, a sanitizer's report, memory that
 * nobody points to (looked for where the assertion failed, while the test's own variables
 * still hold what is theirs), a run that does not end, or a verdict (torture_verdict)
 * that accepts what was refused when no allocation failed, or, where it is asked
 * (torture_verdict_why), refuses for good what was accepted.
 *
 * The strong malloc here stands before that of AddressSanitizer, which is weak for this.
 */
#include "torture.h"

#include "unit.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ASAN 1
#endif
#endif

#ifdef WITH_ASAN
#define REAL(name) __interceptor_##name
int __lsan_do_recoverable_leak_check(void);
#else
#define REAL(name) __libc_##name
#endif
void *REAL(malloc)(size_t size);
void *REAL(calloc)(size_t count, size_t size);
void *REAL(realloc)(void *p, size_t size);

enum {
    SAMPLED_MS = 1500, /* no more samples of a program after this */
    RUN_MS = 10000,    /* a run that takes longer hangs */
    SAMPLES = 24,      /* runs of a test, when not all */
    FULL_RUNS = 1000,
    FULL_MS = 240000,
    BAD_MAX = 3,         /* that many of a test are enough to see what is wrong */
    VERDICTS_MAX = 4096, /* of one test; those after them are not compared */
    /* how a run ends: 0, or */
    EXIT_ASSERTED = 3, /* the test failed by an assertion of its own */
    EXIT_LEAKED = 4,
    EXIT_ACCEPTED = 5,
    EXIT_REFUSED = 6
};

static struct {
    bool armed, forever;
    long nth, seen;
    size_t verdicts, known; /* given in this run; in the one without a failure */
    char verdict[VERDICTS_MAX + 1];
} torture;

/* --- the allocator -------------------------------------------------------------------
 */

static bool fails(void)
{
    if (!torture.armed || ++torture.seen < torture.nth ||
        (!torture.forever && torture.seen > torture.nth))
        return false;
    errno = ENOMEM;
    return true;
}

void *malloc(size_t size)
{
    return fails() ? NULL : REAL(malloc)(size);
}

void *calloc(size_t count, size_t size)
{
    return fails() ? NULL : REAL(calloc)(count, size);
}

void *realloc(void *p, size_t size)
{
    return fails() ? NULL : REAL(realloc)(p, size);
}

char *strndup(const char *s, size_t max)
{
    size_t len = strnlen(s, max);
    char *copy = malloc(len + 1);

    if (copy) {
        memcpy(copy, s, len);
        copy[len] = '\0';
    }
    return copy;
}

char *strdup(const char *s)
{
    return strndup(s, SIZE_MAX);
}

static bool torture_is_on(void)
{
    return torture.nth > 0;
}

/* --- one run, in a process of its own --------------------------------------------- */

static _Noreturn void leave(int status)
{
    torture.armed = false;
#ifdef WITH_ASAN
    if (status != EXIT_ACCEPTED && __lsan_do_recoverable_leak_check())
        status = EXIT_LEAKED;
#endif
    fflush(NULL);
    _exit(status);
}

/* cmocka calls it for every assertion that fails; while a test is tortured that is its
 * end. The real one jumps away from what the test's variables hold. */
void _fail(const char *const file, const int line)
{
    void (*real)(const char *, int);

    if (torture_is_on())
        leave(EXIT_ASSERTED);
    *(void **)&real = dlsym(RTLD_NEXT, "_fail");
    real(file, line);
    abort();
}

bool torture_verdict(bool accepted)
{
    size_t i = torture.verdicts++;

    if (!torture_is_on() || i >= VERDICTS_MAX)
        return accepted;
    if (torture.nth == LONG_MAX)
        torture.verdict[i] = accepted ? '+' : '-';
    else if (accepted && i < torture.known && torture.verdict[i] == '-')
        leave(EXIT_ACCEPTED);
    return accepted;
}

bool torture_verdict_why(bool accepted, bool transient)
{
    size_t i = torture.verdicts;

    torture_verdict(accepted);
    if (torture_is_on() && torture.nth != LONG_MAX && i < torture.known && !accepted &&
        !transient && torture.verdict[i] == '+')
        leave(EXIT_REFUSED);
    return accepted;
}

static _Noreturn void run_tortured(const struct CMUnitTest *test, int out)
{
    void *state = test->initial_state;

    signal(SIGPIPE, SIG_IGN);
    dup2(out, STDOUT_FILENO);
    dup2(out, STDERR_FILENO);
    if (test->setup_func && test->setup_func(&state) != 0)
        _exit(EXIT_ASSERTED);
    torture.armed = true;
    test->test_func(&state);
    torture.armed = false;
    dprintf(out, "\n#seen %ld\n#verdicts %s\n", torture.seen, torture.verdict);
    if (test->teardown_func)
        test->teardown_func(&state);
    leave(0);
}

struct outcome {
    int status; /* of waitpid */
    bool hung, exhausted;
    char said[VERDICTS_MAX + 16384];
    size_t len;
};

static int64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Until its end of the pipe is closed, or its time is over. */
static void listen_to(int fd, pid_t pid, struct outcome *o)
{
    int64_t end_ms = now_ms() + RUN_MS, left;
    char rest[4096];
    ssize_t n = 1;

    while (n > 0) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        left = end_ms - now_ms();
        if (left <= 0 || poll(&p, 1, (int)left) == 0) {
            o->hung = true;
            kill(pid, SIGKILL);
            return;
        }
        if (o->len < sizeof o->said - 1) {
            n = read(fd, o->said + o->len, sizeof o->said - 1 - o->len);
            o->len += n > 0 ? (size_t)n : 0;
        } else {
            n = read(fd, rest, sizeof rest);
        }
    }
}

static void run_once(const struct CMUnitTest *test, struct outcome *ret)
{
    int pipe_fds[2];
    pid_t pid;

    ret->len = 0;
    ret->hung = false;
    if (pipe(pipe_fds) != 0)
        abort();
    fflush(NULL);
    torture.seen = 0;
    torture.verdicts = 0;
    pid = fork();
    if (pid < 0)
        abort();
    if (pid == 0) {
        close(pipe_fds[0]);
        run_tortured(test, pipe_fds[1]);
    }
    close(pipe_fds[1]);
    listen_to(pipe_fds[0], pid, ret);
    close(pipe_fds[0]);
    waitpid(pid, &ret->status, 0);
    ret->said[ret->len] = '\0';
}

/* Many tests look at what they asked for without asking whether it is there. A null
 * pointer that is followed in a file of the tests is an assertion that was not written,
 * not a finding: the topmost of our functions in the report tells whose it was. */
static bool is_null_of_the_test(const struct outcome *o)
{
    static const char *const ours[] = {"/common/", "/bridge/", "/worker/"};
    const char *segv = strstr(o->said, "SEGV on unknown address 0x00000000");
    const char *null = segv ? segv : strstr(o->said, "null pointer");
    const char *top = null ? strstr(null, "/tests/unit/test_") : NULL;

    for (size_t i = 0; top && i < COUNT(ours); i++) {
        const char *product = strstr(null, ours[i]);
        if (product && product < top)
            top = NULL;
    }
    return top != NULL;
}

/* Control structures of a start (options, names) end the process; nothing else may. */
static bool is_given_up(const struct outcome *o)
{
    return WIFSIGNALED(o->status) && WTERMSIG(o->status) == SIGABRT &&
           !strstr(o->said, "Sanitizer") && !strstr(o->said, "runtime error");
}

/* --- all runs --------------------------------------------------------------------- */

static bool is_good(const struct outcome *o)
{
    if (o->hung)
        return false;
    if (!WIFEXITED(o->status))
        return is_given_up(o);
    if (strstr(o->said, "SEGV") && strstr(o->said, "libcrypto.so"))
        return true; /* OpenSSL 3.0 follows locks that it could not make */
    return WEXITSTATUS(o->status) == 0 || WEXITSTATUS(o->status) == EXIT_ASSERTED ||
           is_null_of_the_test(o);
}

static void complain(const struct CMUnitTest *test, const struct outcome *o)
{
    const char *what = "exited";

    if (o->hung)
        what = "did not end";
    else if (WIFSIGNALED(o->status))
        what = strsignal(WTERMSIG(o->status));
    else if (WEXITSTATUS(o->status) == EXIT_LEAKED)
        what = "leaked";
    else if (WEXITSTATUS(o->status) == EXIT_ACCEPTED)
        what = "accepted";
    else if (WEXITSTATUS(o->status) == EXIT_REFUSED)
        what = "refused for good";
    printf("✗ %s, allocation %ld%s: %s (status %x)\n%s\n", test->name, torture.nth,
           torture.forever ? " and all after it" : "", what, (unsigned)o->status,
           o->said);
}

/* How many allocations the test makes when none fails, and its verdicts; -1: it is bad
 * already. */
static long count_allocations(const struct CMUnitTest *test)
{
    static struct outcome o;
    const char *seen, *verdicts;

    memset(torture.verdict, 0, sizeof torture.verdict);
    torture.known = 0;
    torture.nth = LONG_MAX;
    torture.forever = false;
    run_once(test, &o);
    seen = strstr(o.said, "\n#seen ");
    if (!is_good(&o) || !seen) {
        complain(test, &o);
        return -1;
    }
    verdicts = strstr(seen, "\n#verdicts ");
    if (verdicts) {
        torture.known = strspn(verdicts + 11, "+-");
        memcpy(torture.verdict, verdicts + 11, torture.known);
    }
    return strtol(seen + 7, NULL, 10);
}

static uint64_t draw(uint64_t *state)
{
    uint64_t x = (*state += UINT64_C(0x9E3779B97F4A7C15));

    x = (x ^ (x >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    return (x ^ (x >> 27)) >> 8;
}

/* The runs of one test: all places, or `max` of them; answers how many were bad. */
static int torture_test(const struct CMUnitTest *test, long max, int64_t end_ms,
                        uint64_t *seed)
{
    static struct outcome o;
    long total = count_allocations(test), bad = total < 0, runs = 0;
    long each = total > 0 ? 2 * total : 0;

    for (long i = 0; i < (max < each ? max : each) && bad < BAD_MAX; i++) {
        if (now_ms() > end_ms)
            break;
        long at = max < each ? (long)(draw(seed) % (uint64_t)each) : i;
        torture.nth = at / 2 + 1;
        torture.forever = at % 2;
        run_once(test, &o);
        runs++;
        if (!is_good(&o)) {
            complain(test, &o);
            bad++;
        }
    }
    torture.nth = 0;
    printf("torture: %s: %ld allocations, %ld runs, %ld bad\n", test->name, total, runs,
           bad);
    return (int)bad;
}

int _cmocka_run_group_tests(const char *group_name, const struct CMUnitTest *const tests,
                            const size_t num_tests, CMFixtureFunction group_setup,
                            CMFixtureFunction group_teardown)
{
    bool full = getenv("THREADCAST_FULL");
    long max = full ? FULL_RUNS : SAMPLES;
    int64_t budget_ms = full ? FULL_MS : SAMPLED_MS;
    const char *given = getenv("THREADCAST_TORTURE_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 10) : (uint64_t)now_ms();
    int (*real)(const char *, const struct CMUnitTest *, size_t, CMFixtureFunction,
                CMFixtureFunction);
    void *state = NULL;
    int64_t end_ms, share_ms;
    int bad = 0;

    if (!getenv("THREADCAST_TORTURE")) {
        *(void **)&real = dlsym(RTLD_NEXT, "_cmocka_run_group_tests");
        return real(group_name, tests, num_tests, group_setup, group_teardown);
    }
    end_ms = now_ms() + budget_ms;
    share_ms = budget_ms / (int64_t)num_tests;
    printf("torture: seed %llu\n", (unsigned long long)seed);
    if (group_setup && group_setup(&state) != 0)
        return 1;
    for (size_t i = 0; i < num_tests; i++) {
        struct CMUnitTest test = tests[i];
        if (!test.initial_state)
            test.initial_state = state;
        bad += torture_test(&test, max, end_ms - (int64_t)(num_tests - 1 - i) * share_ms,
                            &seed);
    }
    if (group_teardown)
        group_teardown(&state);
    return bad;
}
