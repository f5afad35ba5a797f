/* torture: linked into every unit test, and asleep unless THREADCAST_TORTURE is set. Then
 * each cmocka test of the program runs again and again in a process of its own, each time
 * with another allocation failing, alone or with all that come after it. Which ones:
 * torture_places.h.
 *
 *     THREADCAST_TORTURE=1 test_x                     some, drawn
 * (THREADCAST_TORTURE_SEED) THREADCAST_TORTURE=1 THREADCAST_FULL=1 test_x   every place
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

#include "torture_places.h"
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
void __sanitizer_symbolize_pc(void *pc, const char *fmt, char *out, size_t size);
#else
#define REAL(name) __libc_##name
#endif
void *REAL(malloc)(size_t size);
void *REAL(calloc)(size_t count, size_t size);
void *REAL(realloc)(void *p, size_t size);

enum {
    COUNTED = 20000,   /* allocations whose stacks are looked at; of those behind them */
    SELDOM = 64,       /* one in so many, when not all */
    SAMPLED_MS = 1500, /* no more samples of a program after this */
    PATIENCE_MS = 300, /* of a test in it */
    RUN_MS = 10000,    /* a run that takes longer hangs */
    COUNT_MS = 120000,
    SAMPLES = 24,        /* runs of a test, when not all */
    FULL_MS = 60000,     /* most programs need less for all they have */
    BAD_MAX = 3,         /* that many of a test are enough to see what is wrong */
    VERDICTS_ALL = 32,   /* of a call stack, then ever fewer */
    VERDICTS_MAX = 4096, /* of one test; those after them are not compared */
    /* how a run ends: 0, or */
    EXIT_ASSERTED = 3, /* the test failed by an assertion of its own */
    EXIT_LEAKED = 4,
    EXIT_ACCEPTED = 5,
    EXIT_REFUSED = 6
};

static bool full; /* all of them */
static struct places *places;
static pid_t torturer;
static _Thread_local bool in_test; /* (the sanitizer's own threads allocate, too) */

static struct {
    bool armed, forever;
    long nth, seen;
    int out; /* where a run says how it ended, whatever the test does to its stderr */
    size_t verdicts, known; /* given in this run; in the one without a failure */
    char verdict[VERDICTS_MAX + 1];
} torture;

/* --- the allocator ---------------------------------------------------------------- */

static __attribute__((noinline)) bool fails(void)
{
    if (!torture.armed || !in_test)
        return false;
    if (++torture.seen < torture.nth) {
        if (torture.nth == LONG_MAX &&
            (torture.seen < COUNTED || full || torture.seen % SELDOM == 0)) {
            torture.armed = false; /* it may allocate itself */
            places_note(places, torture.seen, torture.verdicts);
            torture.armed = true;
        }
        return false;
    }
    if (!torture.forever && torture.seen > torture.nth)
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

bool torture_is_on(void)
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

/* Whoever ends a tortured process says where; is_given_up decides. */
void abort(void)
{
    void (*real)(void);

    if (torture_is_on() && getpid() != torturer) {
        torture.armed = false;
        dprintf(torture.out, "\n#aborted %p\n", __builtin_return_address(0));
    }
    *(void **)&real = dlsym(RTLD_NEXT, "abort");
    real();
    _exit(127);
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

int64_t torture_patience_ms(int64_t ms)
{
    bool is_short = torture_is_on() && torture.nth != LONG_MAX;

    return is_short && ms > PATIENCE_MS ? PATIENCE_MS : ms;
}

static _Noreturn void run_tortured(const struct CMUnitTest *test, int out)
{
    void *state = test->initial_state;

    signal(SIGPIPE, SIG_IGN);
    torture.out = out;
    dup2(out, STDOUT_FILENO);
    dup2(out, STDERR_FILENO);
    if (test->setup_func && test->setup_func(&state) != 0)
        _exit(EXIT_ASSERTED);
    in_test = true;
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
    int64_t end_ms = now_ms() + (torture.nth == LONG_MAX ? COUNT_MS : RUN_MS), left;
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

/* A start without memory for its control structures (or a fuzz target's keys) ends the
 * process in one of these; nothing else may. (Only AddressSanitizer knows the names.) */
static bool is_given_up(const struct outcome *o)
{
    const char *at = strstr(o->said, "\n#aborted ");

    if (!WIFSIGNALED(o->status) || WTERMSIG(o->status) != SIGABRT || !at ||
        strstr(o->said, "Sanitizer") || strstr(o->said, "runtime error"))
        return false;
#ifdef WITH_ASAN
    static const char *const may[] = {"conf_load", "loop_on_turn_end", "make_keys"};
    char name[128] = "";
    char *pc = (char *)(uintptr_t)strtoull(at + 10, NULL, 16);
    __sanitizer_symbolize_pc(pc - 1, "%f", name, sizeof(name));
    for (size_t i = 0; i < COUNT(may); i++)
        if (strcmp(name, may[i]) == 0)
            return true;
    printf("abort() in %s\n", name);
    return false;
#else
    return true;
#endif
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

/* The runs of a test: a place alone failing at its first allocation and at one that was
 * drawn; with all after it once for each call stack. Behind many verdicts (each bit of a
 * token flipped) ever fewer are taken. */
struct plan {
    long at[4 * PLACES_MAX]; /* negative: and all after it */
    size_t count;
};

static void plan_make(struct plan *plan, uint64_t *seed)
{
    plan->count = 0;
    for (size_t i = 0; i < places->count; i++) {
        const struct place *p = &places->all[i];
        bool twice = p->drawn != p->first;
        if (p->verdict > VERDICTS_ALL &&
            torture_draw(seed) % (uint64_t)p->verdict > VERDICTS_ALL / 4)
            continue;
        plan->at[plan->count++] = p->first;
        if (twice)
            plan->at[plan->count++] = p->drawn;
        if (p->verdict == 1)
            plan->at[plan->count++] = -p->first;
        if (p->verdict == 1 && twice)
            plan->at[plan->count++] = -p->drawn;
    }
}

/* Puts another one, drawn, in the place of the i-th. */
static long plan_take(struct plan *plan, size_t i, uint64_t *seed)
{
    size_t other = i + (size_t)(torture_draw(seed) % (plan->count - i));
    long at = plan->at[other];

    plan->at[other] = plan->at[i];
    return plan->at[i] = at;
}

/* The runs of one test: the whole plan, or `max` of it; answers how many were bad. */
static int torture_test(const struct CMUnitTest *test, size_t max, int64_t end_ms,
                        uint64_t *seed)
{
    static struct outcome o;
    static struct plan plan;
    long total, bad;
    size_t runs = 0;

    places_begin(places, *seed);
    total = count_allocations(test);
    bad = total < 0;
    plan_make(&plan, seed);
    if (places->lost)
        printf("✗ %s: more places than are kept\n", test->name), bad++;
    while (runs < max && runs < plan.count && bad < BAD_MAX && now_ms() <= end_ms) {
        long at = plan_take(&plan, runs++, seed);
        torture.nth = labs(at);
        torture.forever = at < 0;
        run_once(test, &o);
        if (!is_good(&o)) {
            complain(test, &o);
            bad++;
        }
    }
    torture.nth = 0;
    printf("torture: %s: %ld allocations at %zu places, %zu of %zu runs, %ld bad\n",
           test->name, total, places->count, runs, plan.count, bad);
    return (int)bad;
}

int _cmocka_run_group_tests(const char *group_name, const struct CMUnitTest *const tests,
                            const size_t num_tests, CMFixtureFunction group_setup,
                            CMFixtureFunction group_teardown)
{
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
    torturer = getpid();
    full = getenv("THREADCAST_FULL");
    places = places_new();
    if (!places)
        return 1;
    share_ms = (full ? FULL_MS : SAMPLED_MS) / (int64_t)num_tests;
    end_ms = now_ms() + (int64_t)num_tests * share_ms;
    printf("torture: seed %llu\n", (unsigned long long)seed);
    if (group_setup && group_setup(&state) != 0)
        return 1;
    for (size_t i = 0; i < num_tests; i++) {
        struct CMUnitTest test = tests[i];
        if (!test.initial_state)
            test.initial_state = state;
        bad += torture_test(&test, full ? SIZE_MAX : SAMPLES,
                            end_ms - (int64_t)(num_tests - 1 - i) * share_ms, &seed);
    }
    if (group_teardown)
        group_teardown(&state);
    return bad;
}
