/* base64url: RFC 4648's vectors, and that no bytes have a second spelling. */
#include "bridge/base64url.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static bool decodes(const char *text, char *out, size_t size, size_t *ret_len)
{
    return base64url_decode(text, strlen(text), out, size, ret_len);
}

static void knows_the_vectors(void **state)
{
    static const char *const rows[][2] = {
        {"", ""},
        {"f", "Zg"},
        {"fo", "Zm8"},
        {"foo", "Zm9v"},
        {"foob", "Zm9vYg"},
        {"fooba", "Zm9vYmE"},
        {"foobar", "Zm9vYmFy"},
        {"\xfb\xff\xbf", "-_-_"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct buf b;
        char out[16];
        size_t len;
        buf_init(&b);
        base64url_encode(&b, rows[i][0], strlen(rows[i][0]));
        assert_string_equal(b.data ? b.data : "", rows[i][1]);
        assert_true(decodes(rows[i][1], out, sizeof(out), &len));
        assert_int_equal(len, strlen(rows[i][0]));
        assert_memory_equal(out, rows[i][0], len);
        buf_fini(&b);
    }
}

static void refuses_other_spellings(void **state)
{
    static const char *const rows[] = {
        "Z",      "A",      "AAAAA", "Zg=",  "Zg==",    "Zm9=",     "Zh",
        "Zn",     "Zm9",    "Zm-",   "Zm+v", "Zm/v",    "Zm9v ",    " Zm9v",
        "Zm\n9v", "Zm9v\n", "Zm9vY", "Zm.9", "Zm9vYmG", "\xc3\xa9",
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char out[16];
        size_t len = 99;
        assert_false(decodes(rows[i], out, sizeof(out), &len));
        assert_int_equal(len, 99);
    }
    char out[4];
    size_t len;
    assert_false(base64url_decode("Zm\0v", 4, out, sizeof(out), &len));
}

static void stays_inside_its_room(void **state)
{
    char out[3];
    size_t len;
    (void)state;
    assert_true(decodes("Zm9v", out, 3, &len));
    assert_false(decodes("Zm9v", out, 2, &len));
    assert_false(decodes("Zm8", out, 1, &len));
    assert_false(decodes("Zg", out, 0, &len));
    assert_true(decodes("", out, 0, &len));
}

static void every_byte_comes_back(void **state)
{
    unsigned char bytes[256];
    (void)state;
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (unsigned char)(i * 7 + 3);
    for (size_t n = 0; n <= sizeof(bytes); n++) {
        unsigned char out[256];
        struct buf b;
        size_t len;
        buf_init(&b);
        base64url_encode(&b, bytes, n);
        assert_true(base64url_decode(b.data ? b.data : "", b.len, out, n, &len));
        assert_int_equal(len, n);
        assert_memory_equal(out, bytes, n);
        buf_fini(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_the_vectors),
        cmocka_unit_test(refuses_other_spellings),
        cmocka_unit_test(stays_inside_its_room),
        cmocka_unit_test(every_byte_comes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
