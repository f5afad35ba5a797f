/* Bytes to replies: the same replies wherever the bytes are cut; garbage and what is too
 * large are refused before they are waited for. */
#include "common/redis.h"
#include "common/redis_reply.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/buf.h"

static void show(struct buf *out, const struct redis_reply *r)
{
    switch (r->type) {
    case REDIS_STRING:
        buf_printf(out, "\"%s\"/%zu", r->str, r->len);
        break;
    case REDIS_STATUS:
        buf_printf(out, "+%s", r->str);
        break;
    case REDIS_FAILURE:
        buf_printf(out, "-%s", r->str);
        break;
    case REDIS_INTEGER:
        buf_printf(out, ":%lld", (long long)r->integer);
        break;
    case REDIS_NIL:
        buf_str(out, "nil");
        break;
    case REDIS_ARRAY:
        buf_str(out, "[");
        for (size_t i = 0; i < r->count; i++) {
            show(out, r->items[i]);
            buf_str(out, i + 1 < r->count ? " " : "");
        }
        buf_str(out, "]");
        break;
    }
}

/* All replies that come out so far, one a line. */
static enum redis_read take(struct redis_reader *rd, struct buf *out)
{
    const struct redis_reply *reply;
    enum redis_read what;

    while ((what = redis_reader_next(rd, &reply)) == REDIS_READ_REPLY) {
        show(out, reply);
        buf_char(out, '\n');
    }
    return what;
}

static const char stream[] = "+OK\r\n"
                             "-ERR no such thing\r\n"
                             ":-9223372036854775808\r\n"
                             "$-1\r\n*-1\r\n*0\r\n"
                             "$0\r\n\r\n"
                             "$7\r\na\r\nb\r\nc\r\n"
                             "*3\r\n$7\r\nmessage\r\n$2\r\nch\r\n$5\r\nhello\r\n"
                             "*2\r\n*2\r\n:1\r\n*1\r\n+x\r\n*0\r\n"
                             "+last\r\n";
static const char expected[] = "+OK\n"
                               "-ERR no such thing\n"
                               ":-9223372036854775808\n"
                               "nil\nnil\n[]\n"
                               "\"\"/0\n"
                               "\"a\r\nb\r\nc\"/7\n"
                               "[\"message\"/7 \"ch\"/2 \"hello\"/5]\n"
                               "[[:1 [+x]] []]\n"
                               "+last\n";

static void test_split(void **state)
{
    (void)state;
    for (size_t cut = 0; cut < sizeof(stream); cut++) {
        struct redis_reader *rd = redis_reader_new(1000000, 100);
        struct buf out;
        buf_init(&out);
        assert_non_null(rd);
        assert_true(redis_reader_feed(rd, stream, cut));
        assert_int_equal(take(rd, &out), REDIS_READ_MORE);
        assert_true(redis_reader_feed(rd, stream + cut, sizeof(stream) - 1 - cut));
        assert_int_equal(take(rd, &out), REDIS_READ_MORE);
        assert_string_equal(out.data, expected);
        buf_fini(&out);
        redis_reader_free(rd);
    }
}

static void test_bytewise(void **state)
{
    struct redis_reader *rd = redis_reader_new(1000000, 100);
    struct buf out;

    (void)state;
    assert_non_null(rd);
    buf_init(&out);
    for (int round = 0; round < 50; round++) {
        buf_clear(&out);
        for (size_t i = 0; i + 1 < sizeof(stream); i++) {
            assert_true(redis_reader_feed(rd, stream + i, 1));
            assert_int_equal(take(rd, &out), REDIS_READ_MORE);
        }
        assert_string_equal(out.data, expected);
    }
    buf_fini(&out);
    redis_reader_free(rd);
}

static const struct {
    const char *bytes, *why;
} garbage[] = {
    {"HTTP/1.1 400 Bad Request\r\n", "Protocol error"},
    {"\r\n", "Protocol error"},
    {"%1\r\n", "Protocol error"}, /* RESP3 */
    {"+OK\r\n>2\r\n", "Protocol error"},
    {"*2\r\n:1\r\n?", "Protocol error"},
    {"$-2\r\n", "Bulk string length out of range"},
    {"*-2\r\n", "Multi-bulk length out of range"},
    {"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n", "nested"},
    {"$1001\r\n", "a reply is too large"},
    {"$999999999999999999999\r\n", "Bad bulk string length"},
    {"$5 \r\n", "Bad bulk string length"},
    {"$\r\n", "Bad bulk string length"},
    {"*x\r\n", "Bad multi-bulk length"},
    {":x\r\n", "Bad integer value"},
    {"$99999999999999999999999999", "a length without an end"},
    {"*0000000000000000000000000", "a length without an end"},
    {"*11\r\n", "a reply has too many elements"},
    {"*2147483647\r\n", "a reply has too many elements"},
    {"*9999999999\r\n", "out of range"},
    {"*2\r\n*9\r\n", "a reply has too many elements"},
};

static void test_garbage(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(garbage) / sizeof(*garbage); i++) {
        struct redis_reader *rd = redis_reader_new(1000, 10);
        struct buf out;
        buf_init(&out);
        assert_non_null(rd);
        print_message("%s\n", garbage[i].bytes);
        redis_reader_feed(rd, garbage[i].bytes, strlen(garbage[i].bytes));
        assert_int_equal(take(rd, &out), REDIS_READ_BAD);
        assert_non_null(strstr(redis_reader_error(rd), garbage[i].why));
        assert_int_equal(take(rd, &out), REDIS_READ_BAD); /* for ever */
        assert_true(redis_reader_reset(rd));
        assert_true(redis_reader_feed(rd, "+OK\r\n", 5));
        buf_clear(&out);
        assert_int_equal(take(rd, &out), REDIS_READ_MORE);
        assert_string_equal(out.data, "+OK\n");
        buf_fini(&out);
        redis_reader_free(rd);
    }
}

/* Many acceptable pieces make one reply that is not. */
static void test_large(void **state)
{
    struct redis_reader *rd = redis_reader_new(100000, 1000);
    enum redis_read what = REDIS_READ_MORE;
    const struct redis_reply *reply;
    char piece[1025];
    size_t fed = 0;

    (void)state;
    assert_non_null(rd);
    redis_reader_feed(rd, "*1000\r\n", 7);
    snprintf(piece, sizeof(piece), "$1015\r\n%01015d\r\n", 0);
    while (what == REDIS_READ_MORE) {
        redis_reader_feed(rd, piece, sizeof(piece) - 1);
        fed += sizeof(piece) - 1;
        what = redis_reader_next(rd, &reply);
    }
    assert_int_equal(what, REDIS_READ_BAD);
    assert_string_equal(redis_reader_error(rd), "a reply is too large");
    assert_in_range(fed, 80000, 110000);
    redis_reader_free(rd);
}

/* The same, and all of it has come before anybody looks. */
static void test_large_at_once(void **state)
{
    struct redis_reader *rd = redis_reader_new(50000, 1000);
    const struct redis_reply *reply;
    struct buf in;

    (void)state;
    assert_non_null(rd);
    buf_init(&in);
    buf_str(&in, "*100\r\n");
    for (int i = 0; i < 100; i++)
        buf_printf(&in, "$1015\r\n%01015d\r\n", 0);
    assert_true(redis_reader_feed(rd, in.data, in.len));
    assert_int_equal(redis_reader_next(rd, &reply), REDIS_READ_BAD);
    assert_string_equal(redis_reader_error(rd), "a reply is too large");
    buf_fini(&in);
    redis_reader_free(rd);
}

static void test_line(void **state)
{
    struct redis_reader *rd = redis_reader_new(1 << 20, 10);
    const struct redis_reply *reply;
    enum redis_read what = REDIS_READ_MORE;
    char piece[1000];
    size_t fed = 0;

    (void)state;
    assert_non_null(rd);
    memset(piece, 'x', sizeof(piece));
    redis_reader_feed(rd, "+", 1);
    while (what == REDIS_READ_MORE) {
        redis_reader_feed(rd, piece, sizeof(piece));
        fed += sizeof(piece);
        what = redis_reader_next(rd, &reply);
    }
    assert_int_equal(what, REDIS_READ_BAD);
    assert_string_equal(redis_reader_error(rd), "a line is too long");
    assert_in_range(fed, REDIS_REPLY_LINE_MAX, REDIS_REPLY_LINE_MAX + 2000);
    redis_reader_free(rd);
}

/* The arena grows over several blocks and everything in it stays in its place. */
static void test_arena(void **state)
{
    struct redis_reader *rd = redis_reader_new(64 << 20, 100000);
    const struct redis_reply *reply;

    (void)state;
    assert_non_null(rd);
    for (int round = 0; round < 3; round++) {
        struct buf in;
        buf_init(&in);
        buf_str(&in, "*20000\r\n");
        for (int i = 0; i < 10000; i++)
            buf_printf(&in, "*2\r\n:%d\r\n$6\r\nv%05d\r\n:%d\r\n", i, i, -i - 1);
        assert_true(redis_reader_feed(rd, in.data, in.len));
        assert_int_equal(redis_reader_next(rd, &reply), REDIS_READ_REPLY);
        for (size_t i = 0; i < 10000; i++) {
            const struct redis_reply *pair = reply->items[2 * i];
            char text[8];
            snprintf(text, sizeof(text), "v%05d", (int)i);
            assert_int_equal(pair->items[0]->integer, i);
            assert_string_equal(pair->items[1]->str, text);
            assert_int_equal(reply->items[2 * i + 1]->integer, -(int64_t)i - 1);
        }
        assert_int_equal(redis_reader_next(rd, &reply), REDIS_READ_MORE);
        buf_fini(&in);
    }
    redis_reader_free(rd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_split),         cmocka_unit_test(test_bytewise),
        cmocka_unit_test(test_garbage),       cmocka_unit_test(test_large),
        cmocka_unit_test(test_large_at_once), cmocka_unit_test(test_line),
        cmocka_unit_test(test_arena),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
