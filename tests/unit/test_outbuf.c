/* outbuf: order, references, what counts as live, what a socket is given. */
#include "bridge/outbuf.h"

#include "unit.h"

static struct msg *text(const char *s)
{
    struct msg *m = msg_text(s, strlen(s));
    assert_non_null(m);
    return m;
}

static void push(struct outbuf *o, const char *s, bool live)
{
    struct msg *m = text(s);
    assert_true(outbuf_push(o, m, live));
    msg_unref(m);
}

/* Everything that a socket taking `step` bytes at a time would get. */
static char *drain(struct outbuf *o, size_t step)
{
    static char got[8192];
    size_t len = 0;
    struct iovec iov[3];
    while (o->bytes) {
        int n = outbuf_iov(o, iov, 3);
        size_t take = 0;
        for (int i = 0; i < n && take < step; i++) {
            size_t part = iov[i].iov_len < step - take ? iov[i].iov_len : step - take;
            memcpy(got + len, iov[i].iov_base, part);
            len += part;
            take += part;
        }
        outbuf_consume(o, take);
    }
    got[len] = '\0';
    return got;
}

static void test_order_at_every_step(void **state)
{
    (void)state;
    for (size_t step = 1; step < 40; step++) {
        struct outbuf o = {0};
        char want[4096] = "";
        for (int i = 0; i < 30; i++) {
            char line[16];
            snprintf(line, sizeof(line), "line %d\n", i);
            push(&o, line, i % 2);
            snprintf(want + strlen(want), sizeof(want) - strlen(want), "%zx\r\n%s\r\n",
                     strlen(line), line);
        }
        assert_int_equal(o.bytes, strlen(want));
        assert_string_equal(drain(&o, step), want);
        assert_int_equal(o.bytes, 0);
        assert_int_equal(o.live, 0);
        assert_int_equal(o.cap, 0);
        outbuf_fini(&o);
    }
}

static void test_unchunked_leaves_the_block(void **state)
{
    (void)state;
    struct outbuf o = {.unchunked = true};
    push(&o, "data: 1\n\n", true);
    push(&o, "data: 2\n\n", true);
    assert_string_equal(drain(&o, 4), "data: 1\n\ndata: 2\n\n");
    outbuf_fini(&o);
}

static void test_replayed_bytes_are_not_live(void **state)
{
    (void)state;
    struct outbuf o = {0};
    push(&o, "replayed", false);
    push(&o, "replayed", false);
    assert_int_equal(o.live, 0);
    push(&o, "live", true);
    size_t live = o.live;
    assert_int_equal(live, strlen("4\r\nlive\r\n"));
    outbuf_consume(&o, o.bytes - live);
    assert_int_equal(o.live, live);
    outbuf_fini(&o);
}

static void test_live_bytes_are_exact(void **state)
{
    (void)state;
    struct outbuf o = {0};
    push(&o, "live 1", true);
    push(&o, "a long replayed one", false);
    push(&o, "live 2", true);
    size_t each = strlen("6\r\nlive 1\r\n");
    assert_int_equal(o.live, 2 * each);
    outbuf_consume(&o, 1);
    assert_int_equal(o.live, 2 * each - 1);
    outbuf_consume(&o, each + 3); /* into the replayed one */
    assert_int_equal(o.live, each);
    outbuf_fini(&o);
}

static void test_tail_is_whole_or_nothing(void **state)
{
    (void)state;
    struct outbuf o = {0};
    assert_null(outbuf_tail(&o));
    push(&o, "one", true);
    assert_non_null(outbuf_tail(&o));
    outbuf_consume(&o, 1);
    assert_null(outbuf_tail(&o)); /* half of it is on the wire */
    push(&o, "two", true);
    size_t before = o.bytes;
    outbuf_replace_tail(&o, text("two and three"));
    assert_int_equal(o.bytes, before + strlen("two and three") - strlen("two"));
    assert_string_equal(drain(&o, 100), "\r\none\r\nd\r\ntwo and three\r\n");
    outbuf_fini(&o);
}

static void test_references_are_shared(void **state)
{
    (void)state;
    struct outbuf a = {0}, b = {0};
    struct msg *m = text("shared");
    assert_true(outbuf_push(&a, m, true));
    assert_true(outbuf_push(&b, m, true));
    assert_int_equal(m->refs, 3);
    outbuf_fini(&a);
    drain(&b, 3);
    assert_int_equal(m->refs, 1);
    msg_unref(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_at_every_step),
        cmocka_unit_test(test_unchunked_leaves_the_block),
        cmocka_unit_test(test_replayed_bytes_are_not_live),
        cmocka_unit_test(test_live_bytes_are_exact),
        cmocka_unit_test(test_tail_is_whole_or_nothing),
        cmocka_unit_test(test_references_are_shared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
