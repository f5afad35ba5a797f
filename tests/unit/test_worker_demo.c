/* The demo agent's answer is a function of the prompt, in 250 to 400 pieces. */
#include "worker/agents/demo_text.h"

#include "unit.h"

#include "common/utf8.h"

static void answer(const char *prompt, struct buf *out)
{
    struct demo_facts f;

    demo_look(prompt, strlen(prompt), &f);
    buf_clear(out);
    demo_answer(prompt, strlen(prompt), &f, out);
    assert_false(out->failed);
    assert_true(utf8_valid(out->data, out->len));
}

static void facts(void **state)
{
    static const char prompt[] = "Привет, 日本! Ist es 5?\n🎈 ";
    struct demo_facts f;
    struct buf scripts;

    (void)state;
    demo_look(prompt, strlen(prompt), &f);
    assert_int_equal(f.words, 6);
    assert_int_equal(f.characters, 24);
    assert_int_equal(f.bytes, strlen(prompt));
    assert_int_equal(f.sentences, 2);
    buf_init(&scripts);
    demo_scripts(&f, &scripts);
    assert_string_equal(scripts.data, "Latin, Cyrillic, CJK, Emoji 🎈");
    buf_fini(&scripts);
}

static void it_answers_about_the_prompt(void **state)
{
    static const struct {
        const char *prompt, *expected;
    } all[] = {
        {"Wie heißt die Hauptstadt von Österreich? 🇦🇹",
         "Die Hauptstadt von Österreich ist **Wien** 🇦🇹."},
        {"Hauptstadt der Schweiz?", "Die Hauptstadt der Schweiz ist **Bern** 🇨🇭."},
        {"What is the capital of Japan?", "The capital of Japan is **Tokyo** 🇯🇵."},
        {"Quelle est la capitale de l'Autriche ?", "**Vienne** 🇦🇹"},
        {"¿Cuál es la capital de Alemania?", "**Berlín** 🇩🇪"},
        {"one two three", "backwards `eerht`"},
        {"one two three", "**3 words**"},
        {"", "I am the **demo agent**"},
        {"capital of nowhere", "not a model"},
        {"say \"x\"", "\"prompt\": \"say \\\"x\\\"\""},
    };
    struct buf out;

    (void)state;
    buf_init(&out);
    for (size_t i = 0; i < COUNT(all); i++) {
        answer(all[i].prompt, &out);
        if (!strstr(out.data, all[i].expected))
            print_message("%s\n%s\n", all[i].prompt, out.data);
        assert_non_null(strstr(out.data, all[i].expected));
    }
    buf_fini(&out);
}

static void the_same_prompt_the_same_answer(void **state)
{
    struct buf one, two;

    (void)state;
    buf_init(&one);
    buf_init(&two);
    answer("the same", &one);
    answer("the same", &two);
    assert_string_equal(one.data, two.data);
    buf_fini(&one);
    buf_fini(&two);
}

static void count_pieces(const char *prompt)
{
    struct demo_facts f;
    struct buf out;
    size_t at = 0, count = 0;

    buf_init(&out);
    answer(prompt, &out);
    demo_look(out.data, out.len, &f);
    while (at < out.len) {
        size_t n = demo_piece(out.data + at, out.len - at, f.characters, count);
        assert_in_range(n, 1, out.len - at);
        assert_true(utf8_valid(out.data + at, n));
        at += n;
        count++;
    }
    assert_in_range(count, 250, 400);
    buf_fini(&out);
}

static void pieces(void **state)
{
    struct buf large;

    (void)state;
    count_pieces("");
    count_pieces("x");
    count_pieces("Wie heißt die Hauptstadt von Österreich? 🇦🇹");
    buf_init(&large);
    for (int i = 0; i < 20000; i++)
        buf_str(&large, i % 7 ? "ab" : " 日本 ");
    count_pieces(large.data);
    buf_fini(&large);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(facts),
        cmocka_unit_test(it_answers_about_the_prompt),
        cmocka_unit_test(the_same_prompt_the_same_answer),
        cmocka_unit_test(pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
