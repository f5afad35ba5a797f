/* block: the second of equal queues goes in one piece, the same bytes; what differs, is
 * cut, or is another kind of reader's goes piece by piece; nothing is kept afterwards. */
#include "bridge/block.h"

#include "bridge/msg.h"
#include "unit.h"

enum { MANY = 6 };

struct place {
    struct block block;
    struct msg *msgs[MANY];
    struct outbuf a, b;
};

static struct place place;

static int setup(void **state)
{
    (void)state;
    place = (struct place){.block = {.count = 0}};
    for (int i = 0; i < MANY; i++) {
        char text[32];
        int len = snprintf(text, sizeof(text), "data: {\"n\":%d}\n\n", i);
        place.msgs[i] = msg_text(text, (size_t)len);
        assert_non_null(place.msgs[i]);
    }
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    outbuf_fini(&place.a);
    outbuf_fini(&place.b);
    block_fini(&place.block);
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(place.msgs[i]->refs, 1);
        msg_unref(place.msgs[i]);
    }
    return 0;
}

static void push(struct outbuf *o, int from, int to)
{
    for (int i = from; i < to; i++)
        assert_true(outbuf_push(o, place.msgs[i], true));
}

static void is_all(const struct iovec *piece, const struct outbuf *o)
{
    struct iovec iov[MANY];
    int n = outbuf_iov(o, iov, MANY);
    size_t at = 0;

    for (int i = 0; i < n; i++) {
        assert_memory_equal((char *)piece->iov_base + at, iov[i].iov_base,
                            iov[i].iov_len);
        at += iov[i].iov_len;
    }
    assert_int_equal(at, piece->iov_len);
    assert_int_equal(at, o->bytes);
}

static void test_the_second_of_equal_ones_goes_in_one_piece(void **state)
{
    struct iovec piece;

    (void)state;
    push(&place.a, 0, MANY);
    push(&place.b, 0, MANY);
    assert_false(block_get(&place.block, &place.a, &piece));
    assert_true(block_get(&place.block, &place.b, &piece));
    is_all(&piece, &place.b);
    outbuf_consume(&place.a, place.a.bytes); /* the block has references of its own */
    outbuf_consume(&place.b, place.b.bytes);
    push(&place.a, 0, MANY);
    assert_true(block_get(&place.block, &place.a, &piece));
    is_all(&piece, &place.a);
}

static void test_what_differs_in_the_middle_is_another(void **state)
{
    struct iovec piece;

    (void)state;
    push(&place.a, 0, MANY);
    push(&place.b, 0, 2);
    push(&place.b, 3, 4); /* in place of 2, of the same length */
    push(&place.b, 3, MANY);
    assert_false(block_get(&place.block, &place.a, &piece));
    assert_true(block_get(&place.block, &place.a, &piece));
    assert_true(block_get(&place.block, &place.b, &piece)); /* the same ends: its own */
    is_all(&piece, &place.b);
    assert_true(block_get(&place.block, &place.a, &piece));
    is_all(&piece, &place.a);
}

static void test_what_is_not_for_a_block(void **state)
{
    struct iovec piece;

    (void)state;
    push(&place.a, 0, BLOCK_LEAST - 1);
    for (int i = 0; i < 3; i++)
        assert_false(block_get(&place.block, &place.a, &piece));
    push(&place.a, BLOCK_LEAST - 1, MANY);
    outbuf_consume(&place.a, 1); /* cut in a message */
    for (int i = 0; i < 3; i++)
        assert_false(block_get(&place.block, &place.a, &piece));
    place.b.unchunked = true;
    push(&place.b, 0, MANY);
    for (int i = 0; i < 3; i++)
        assert_false(block_get(&place.block, &place.b, &piece));
}

static void test_too_much_for_one(void **state)
{
    struct iovec piece;

    (void)state;
    for (int i = 0; i <= BLOCK_MOST / MANY; i++)
        push(&place.a, 0, MANY);
    assert_true(place.a.count > BLOCK_MOST);
    for (int i = 0; i < 3; i++)
        assert_false(block_get(&place.block, &place.a, &piece));
}

static void test_nothing_is_kept_behind_the_flush(void **state)
{
    struct iovec piece;

    (void)state;
    push(&place.a, 0, MANY);
    block_get(&place.block, &place.a, &piece);
    assert_true(block_get(&place.block, &place.a, &piece));
    assert_int_equal(place.msgs[0]->refs, 3);
    block_clear(&place.block);
    assert_int_equal(place.msgs[0]->refs, 2);
    assert_false(block_get(&place.block, &place.a, &piece));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_the_second_of_equal_ones_goes_in_one_piece,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_differs_in_the_middle_is_another, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_what_is_not_for_a_block, setup, teardown),
        cmocka_unit_test_setup_teardown(test_too_much_for_one, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nothing_is_kept_behind_the_flush, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
