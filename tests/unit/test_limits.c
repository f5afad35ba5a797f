/* limits: places are checked and taken in one step, given back whole, and threads that
 * ask at once never get more than there are. */
#include "bridge/limits.h"

#include "bridge/conf.h"
#include "unit.h"

#include <pthread.h>

static struct bridge_conf conf;
static struct limits *limits;

static int setup(void **state)
{
    (void)state;
    conf = (struct bridge_conf){
        .max_clients = 100, .max_connections = 10, .demo_sessions_per_min = 3};
    limits = limits_new(&conf, 0);
    return limits ? 0 : -1;
}

static int teardown(void **state)
{
    size_t left = limits_streams(limits);

    (void)state;
    limits_free(limits);
    return left ? -1 : 0;
}

static enum limit take(const char *sub, const char *address, struct limit_seat *ret)
{
    return limits_seat_take(limits, sub, address, false, ret);
}

static void test_each_limit(void **state)
{
    struct limit_seat a = {0}, b = {0}, c = {0};

    (void)state;
    conf.max_clients_per_ip = 2;
    conf.max_streams_per_user = 1;
    assert_int_equal(take("ann", "10.0.0.1", &a), LIMIT_NONE);
    assert_int_equal(take("ann", "10.0.0.2", &b), LIMIT_USER);
    assert_int_equal(take("bob", "10.0.0.1", &b), LIMIT_NONE);
    assert_int_equal(take("cid", "10.0.0.1", &c), LIMIT_ADDRESS);
    conf.max_clients = 2;
    assert_int_equal(take("cid", "10.0.0.3", &c), LIMIT_CLIENTS);
    assert_false(c.taken); /* a refusal takes nothing */
    limits_seat_give(limits, &c);
    limits_seat_give(limits, &a);
    limits_seat_give(limits, &a); /* once is enough */
    assert_int_equal(limits_streams(limits), 1);
    assert_int_equal(take("ann", "10.0.0.1", &c), LIMIT_NONE);
    limits_seat_give(limits, &b);
    limits_seat_give(limits, &c);
}

/* Who only says `busy` is counted, but not refused. */
static void test_anyway(void **state)
{
    struct limit_seat a = {0}, b = {0};

    (void)state;
    conf.max_clients = 1;
    assert_int_equal(take("ann", "a", &a), LIMIT_NONE);
    assert_int_equal(limits_seat_take(limits, "ann", "a", true, &b), LIMIT_NONE);
    assert_int_equal(limits_streams(limits), 2);
    limits_seat_give(limits, &a);
    assert_int_equal(take("bob", "b", &a), LIMIT_CLIENTS);
    limits_seat_give(limits, &b);
}

/* So many at once in the process, so many of an address in a minute. */
static void test_probes(void **state)
{
    (void)state;
    conf.max_probes = 2;
    conf.probes_per_min = 3;
    assert_int_equal(limits_probe_take(limits, "10.0.0.1", 1000), PROBE_ROOM);
    assert_int_equal(limits_probe_take(limits, "10.0.0.1", 1000), PROBE_ROOM);
    assert_int_equal(limits_probe_take(limits, "10.0.0.2", 1000), PROBE_FULL);
    limits_probe_give(limits);
    assert_int_equal(limits_probe_take(limits, "10.0.0.1", 1000), PROBE_ROOM);
    limits_probe_give(limits);
    assert_int_equal(limits_probe_take(limits, "10.0.0.1", 1000), PROBE_OFTEN);
    assert_int_equal(limits_probe_take(limits, "10.0.0.2", 1000), PROBE_ROOM);
    limits_probe_give(limits); /* who came too often had taken nothing */
    assert_int_equal(limits_probe_take(limits, "10.0.0.1", 61000), PROBE_ROOM);
    limits_probe_give(limits);
    limits_probe_give(limits);
    conf.max_probes = 0;
    assert_int_equal(limits_probe_take(limits, "10.0.0.3", 61000), PROBE_FULL);
}

static void test_connections(void **state)
{
    (void)state;
    for (int i = 0; i < 10; i++)
        assert_int_equal(limits_connection_take(limits, false), ROOM);
    for (int i = 0; i < 10; i++)
        assert_int_equal(limits_connection_take(limits, false), ROOM_SHORT);
    assert_int_equal(limits_connection_take(limits, false), ROOM_NONE);
    limits_connection_give(limits);
    assert_int_equal(limits_connection_take(limits, false), ROOM_SHORT);
    for (int i = 0; i < 32; i++) /* the public door shuts, the other one does not */
        assert_int_equal(limits_connection_take(limits, true), ROOM_SHORT);
    assert_int_equal(limits_connection_take(limits, true), ROOM_NONE);
}

/* Streams and connections share the descriptors. */
static void test_descriptors(void **state)
{
    struct limits *few = limits_new(&conf, 3);
    struct limit_seat seat;

    (void)state;
    assert_non_null(few);
    assert_int_equal(limits_connection_take(few, false), ROOM);
    assert_int_equal(limits_connection_take(few, false), ROOM);
    limits_seat_take(few, "ann", "a", false, &seat);
    assert_int_equal(limits_connection_take(few, false), ROOM_SCARCE);
    limits_seat_give(few, &seat);
    limits_connection_give(few);
    assert_int_equal(limits_connection_take(few, false), ROOM);
    limits_free(few);
}

/* Who has left makes room for another stream at once, but not for its descriptor. */
static void test_leaving(void **state)
{
    struct limits *few = limits_new(&conf, 1);
    struct limit_seat a = {0}, b = {0};

    (void)state;
    assert_non_null(few);
    conf.max_clients = 1;
    assert_int_equal(limits_seat_take(few, "ann", "::1", false, &a), LIMIT_NONE);
    assert_int_equal(limits_seat_take(few, "ann", "::1", false, &b), LIMIT_CLIENTS);
    limits_seat_leave(few, &a);
    limits_seat_leave(few, &a); /* once is enough */
    assert_int_equal(limits_streams(few), 0);
    assert_int_equal(limits_connection_take(few, false), ROOM_SCARCE);
    limits_connection_give(few);
    assert_int_equal(limits_seat_take(few, "ann", "::1", false, &b), LIMIT_NONE);
    limits_seat_give(few, &b);
    limits_seat_give(few, &a);
    limits_seat_give(few, &a);
    assert_int_equal(limits_connection_take(few, false), ROOM);
    limits_connection_give(few);
    limits_free(few);
}

static void test_guests(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++)
        assert_true(limits_guest(limits, "10.0.0.1", 1000));
    assert_false(limits_guest(limits, "10.0.0.1", 1000));
    assert_true(limits_guest(limits, "10.0.0.2", 1000));
}

enum { THREADS = 4, ROUNDS = 2000, SEATS = 5 };

/* Takes and gives; counts how often more were taken than there are. */
static void *contend(void *arg)
{
    size_t *over = arg;

    for (int i = 0; i < ROUNDS; i++) {
        struct limit_seat seats[SEATS] = {0};
        for (int k = 0; k < SEATS; k++)
            take("ann", "a", &seats[k]);
        *over += limits_streams(limits) > SEATS;
        for (int k = 0; k < SEATS; k++)
            limits_seat_give(limits, &seats[k]);
    }
    return NULL;
}

static void test_threads(void **state)
{
    pthread_t threads[THREADS];
    size_t over[THREADS] = {0};

    (void)state;
    conf.max_clients = SEATS;
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, contend, &over[i]), 0);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(over[i], 0);
    }
}

#define fresh(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        fresh(test_each_limit),  fresh(test_anyway),  fresh(test_connections),
        fresh(test_descriptors), fresh(test_leaving), fresh(test_guests),
        fresh(test_threads),     fresh(test_probes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
