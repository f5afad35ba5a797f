#include "common/utf8.h"

#include "common/buf.h"
#include "unit.h"

static const struct {
    const char *bytes;
    size_t len;
    size_t invalid; /* how many bytes one U+FFFD stands for at the beginning; 0: valid */
} sequences[] = {
    {"a", 1, 0},
    {"\x7F", 1, 0},
    {"\xC2\x80", 2, 0},
    {"\xDF\xBF", 2, 0},
    {"\xE0\xA0\x80", 3, 0},
    {"\xED\x9F\xBF", 3, 0},
    {"\xEE\x80\x80", 3, 0},
    {"\xEF\xBF\xBF", 3, 0},
    {"\xF0\x90\x80\x80", 4, 0},
    {"\xF4\x8F\xBF\xBF", 4, 0},
    {"\x80", 1, 1},
    {"\xBF\xBF", 2, 1},
    {"\xC0\x80", 2, 1},
    {"\xC1\xBF", 2, 1},
    {"\xC2", 1, 1},
    {"\xC2"
     "a",
     2, 1},
    {"\xE0\x9F\xBF", 3, 1},
    {"\xE0\xA0", 2, 2},
    {"\xE2\x82"
     "a",
     3, 2},
    {"\xED\xA0\x80", 3, 1},
    {"\xF0\x8F\xBF\xBF", 4, 1},
    {"\xF0\x9F\x87", 3, 3},
    {"\xF0\x9F\x87"
     "a",
     4, 3},
    {"\xF4\x90\x80\x80", 4, 1},
    {"\xF5\x80\x80\x80", 4, 1},
    {"\xFF", 1, 1},
};

static void knows_every_kind_of_sequence(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(sequences); i++) {
        const unsigned char *s = (const unsigned char *)sequences[i].bytes;
        size_t len = sequences[i].len;
        assert_int_equal(utf8_length(s, len), sequences[i].invalid ? 0 : len);
        assert_int_equal(utf8_valid(sequences[i].bytes, len), !sequences[i].invalid);
        if (sequences[i].invalid)
            assert_int_equal(utf8_invalid_length(s, len), sequences[i].invalid);
    }
    assert_int_equal(utf8_length((const unsigned char *)"", 0), 0);
    assert_int_equal(utf8_invalid_length((const unsigned char *)"", 0), 0);
    assert_true(utf8_valid("", 0));
    assert_false(utf8_valid("a\0b", 3));
}

/* The inline decoder and the careful one agree on all that begins with any two bytes. */
static void both_decoders_agree(void **state)
{
    static const unsigned char third[] = {0x00, 0x7F, 0x80, 0xBF, 0xC0, 0xFF};

    (void)state;
    for (unsigned i = 0; i < 65536 * COUNT(third); i++) {
        unsigned char s[4] = {(unsigned char)(i >> 8), (unsigned char)i, third[i >> 16],
                              0x80};
        for (size_t len = 1; len <= 4; len++) {
            size_t n = utf8_length(s, len);
            if (n)
                assert_int_equal(utf8_invalid_length(s, n), n);
            else
                assert_in_range(utf8_invalid_length(s, len), 1, 3);
        }
    }
}

static void repairs(void **state)
{
    static const struct {
        const char *in;
        size_t len;
        const char *out;
    } rows[] = {
        {"", 0, ""},
        {"abc", 3, "abc"},
        {"a\0b", 3,
         "a\xEF\xBF\xBD"
         "b"},
        {"\xE2\x82"
         "x\xFF",
         4, "\xEF\xBF\xBDx\xEF\xBF\xBD"},
        {"\xF0\x9F\x87\xA6\xF0\x9F", 6, "\xF0\x9F\x87\xA6\xEF\xBF\xBD"},
        {"\xC0\x80", 2, "\xEF\xBF\xBD\xEF\xBF\xBD"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct buf b;
        buf_init(&b);
        utf8_repair(&b, rows[i].in, rows[i].len);
        buf_str(&b, "");
        assert_string_equal(b.data, rows[i].out);
        buf_fini(&b);
    }
}

/* Text cut anywhere: both pieces put together again are never broken by us. */
static void keeps_characters_whole(void **state)
{
    static const char text[] = "aß漢🇦🇹!";

    (void)state;
    for (size_t cut = 0; cut <= strlen(text); cut++) {
        size_t n = utf8_whole(text, cut);
        assert_true(n <= cut && cut - n <= 3);
        assert_true(utf8_valid(text, n));
    }
    assert_int_equal(utf8_whole("\xFF", 1), 1);
    assert_int_equal(utf8_whole("a\x80\x80\x80\x80", 5), 5);
    assert_int_equal(utf8_whole("a\xC3", 2), 1);
    assert_int_equal(utf8_whole("a\xED\xA0", 3), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_every_kind_of_sequence),
        cmocka_unit_test(both_decoders_agree),
        cmocka_unit_test(repairs),
        cmocka_unit_test(keeps_characters_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
