/* fetch: a resolver that hangs, for one name, is waited for by nobody. */
#include "common/fetch.h"

#include "common/loop.h"
#include "test_wait.h"
#include "unit.h"

#include <dlfcn.h>
#include <netdb.h>
#include <semaphore.h>

#define NAME "hangs.invalid"
#define OVERDUE_MS 20000

static sem_t hanging, released, over;

/* In place of libc's, for libcurl's threads. */
int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **ret)
{
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);

    if (node && !strcmp(node, NAME)) {
        sem_post(&hanging);
        sem_wait(&released);
        sem_post(&over);
        return EAI_AGAIN;
    }
    *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
    return real(node, service, hints, ret);
}

static struct loop *loop;
static struct fetcher *fetcher;

static void on_answer(const struct fetch_answer *a, void *arg)
{
    int *status = arg;

    *status = a->status;
}

static bool answered(void *arg)
{
    return *(int *)arg >= 0;
}

/* Begins to ask for the name; its thread hangs when this returns. */
static struct fetch *start(int64_t ms, int *status)
{
    struct fetch_request r = {.url = "http://" NAME "/", .total_ms = ms};
    int64_t overdue_ms = clock_ms() + torture_patience_ms(OVERDUE_MS);
    struct fetch *q;

    *status = -1;
    q = fetch_start(fetcher, &r, on_answer, status);
    assert_non_null(q);
    while (sem_trywait(&hanging) != 0) {
        assert_true(clock_ms() < overdue_ms);
        test_turns(loop, 1);
    }
    return q;
}

/* Were a thread waited for, this would never end. */
static void a_name_that_hangs_blocks_nobody(void **state)
{
    struct buf err;
    int timed, cancelled, dropped;

    (void)state;
    sem_init(&hanging, 0, 0);
    sem_init(&released, 0, 0);
    sem_init(&over, 0, 0);
    buf_init(&err);
    loop = loop_new();
    fetcher = fetcher_new(loop, NULL, &err);
    assert_non_null(fetcher);
    start(50, &timed); /* ends by its time */
    assert_true(test_wait(loop, answered, &timed, OVERDUE_MS));
    assert_int_equal(timed, 0);
    fetch_cancel(start(OVERDUE_MS, &cancelled));
    start(OVERDUE_MS, &dropped);
    fetcher_free(fetcher);
    loop_free(loop);
    for (int i = 0; i < 3; i++) /* only now do the threads get their answer */
        sem_post(&released);
    for (int i = 0; i < 3; i++)
        sem_wait(&over);
    assert_int_equal(cancelled, -1);
    assert_int_equal(dropped, -1);
    buf_fini(&err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_name_that_hangs_blocks_nobody)};

    for (const char *const *name =
             (const char *const[]){"http_proxy", "all_proxy", "ALL_PROXY", NULL};
         *name; name++)
        unsetenv(*name);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
