#include "common/strmap.h"

#include "unit.h"

static int values[4000];

static size_t key_of(int i, char out[16])
{
    return (size_t)snprintf(out, 16, "key-%d", i);
}

static void sets_gets_and_removes(void **state)
{
    struct strmap *m = strmap_new();
    char key[16];

    (void)state;
    assert_non_null(m);
    assert_null(strmap_get(m, "a", 1));
    assert_null(strmap_remove(m, "a", 1));
    for (int i = 0; i < 4000; i++)
        assert_true(strmap_set(m, key, key_of(i, key), &values[i]));
    assert_int_equal(strmap_count(m), 4000);
    for (int i = 0; i < 4000; i++)
        assert_ptr_equal(strmap_get(m, key, key_of(i, key)), &values[i]);
    assert_true(strmap_set(m, "key-7", 5, &values[8]));
    assert_int_equal(strmap_count(m), 4000);
    assert_ptr_equal(strmap_get(m, "key-7", 5), &values[8]);
    for (int i = 0; i < 4000; i += 2)
        assert_non_null(strmap_remove(m, key, key_of(i, key)));
    assert_int_equal(strmap_count(m), 2000);
    for (int i = 0; i < 4000; i++)
        assert_int_equal(strmap_get(m, key, key_of(i, key)) != NULL, i % 2);
    strmap_free(m);
    strmap_free(NULL);
}

static void keys_are_bytes(void **state)
{
    struct strmap *m = strmap_new();
    char key[] = "a\0b";

    (void)state;
    assert_non_null(m);
    assert_true(strmap_set(m, key, 3, &values[1]));
    assert_true(strmap_set(m, key, 1, &values[2]));
    assert_true(strmap_set(m, "", 0, &values[3]));
    key[0] = 'x'; /* the map has its own copy */
    assert_ptr_equal(strmap_get(m, "a\0b", 3), &values[1]);
    assert_ptr_equal(strmap_get(m, "a", 1), &values[2]);
    assert_ptr_equal(strmap_get(m, "", 0), &values[3]);
    assert_null(strmap_get(m, "a\0", 2));
    strmap_free(m);
}

static void walks_while_removing(void **state)
{
    struct strmap *m = strmap_new();
    size_t pos = 0, seen = 0;
    char key[16];
    const char *k;
    int *v;

    (void)state;
    assert_non_null(m);
    for (int i = 0; i < 1000; i++)
        strmap_set(m, key, key_of(i, key), &values[i]);
    while ((v = strmap_next(m, &pos, &k))) {
        key_of((int)(v - values), key);
        assert_string_equal(k, key);
        if (seen++ % 3)
            assert_ptr_equal(strmap_remove(m, key, strlen(key)), v);
    }
    assert_int_equal(seen, 1000);
    pos = seen = 0;
    while (strmap_next(m, &pos, NULL))
        seen++;
    assert_int_equal(seen, 334);
    assert_int_equal(strmap_count(m), 334);
    strmap_free(m);
}

/* A few keys that come and go for ever: neither lost nor slower, and no growth. */
static void survives_churn(void **state)
{
    struct strmap *m = strmap_new();
    char key[16];

    (void)state;
    assert_non_null(m);
    for (int i = 0; i < 200000; i++) {
        assert_true(strmap_set(m, key, key_of(i, key), &values[i % 4000]));
        if (i >= 10)
            assert_non_null(strmap_remove(m, key, key_of(i - 10, key)));
        if (i % 1000 == 0) {
            for (int j = i > 9 ? i - 9 : 0; j <= i; j++)
                assert_ptr_equal(strmap_get(m, key, key_of(j, key)), &values[j % 4000]);
        }
    }
    assert_int_equal(strmap_count(m), 10);
    strmap_free(m);
}

/* An emptied map gives its table back, also while somebody walks over it. */
static void a_crowd_leaves(void **state)
{
    struct strmap *m = strmap_new();
    char key[16];
    const char *name;
    size_t pos = 0;
    int walked = 0;

    (void)state;
    assert_non_null(m);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 3000; i++)
            assert_true(strmap_set(m, key, key_of(i, key), &values[i]));
        for (pos = 0, walked = 0; strmap_next(m, &pos, &name); walked++)
            strmap_remove(m, name, strlen(name));
        assert_int_equal(walked, 3000);
        assert_int_equal(strmap_count(m), 0);
        assert_null(strmap_get(m, key, key_of(1, key)));
        assert_null(strmap_remove(m, key, key_of(1, key)));
        assert_true(strmap_set(m, key, key_of(1, key), &values[1]));
        assert_ptr_equal(strmap_remove(m, key, key_of(1, key)), &values[1]);
    }
    strmap_free(m);
}

static void keys_may_be_borrowed(void **state)
{
    (void)state;
    struct strmap *m = strmap_new_borrowing();
    char *first = strdup("name"), *second = strdup("name");
    const char *key = NULL;
    size_t pos = 0;

    assert_non_null(m);
    assert_non_null(first);
    assert_non_null(second);
    assert_true(strmap_set(m, first, 4, first));
    assert_ptr_equal(strmap_next(m, &pos, &key), first);
    assert_ptr_equal(key, first);
    assert_true(strmap_set(m, second, 4, second));
    free(first); /* its name is no longer looked at */
    assert_int_equal(strmap_count(m), 1);
    assert_ptr_equal(strmap_get(m, "name", 4), second);
    assert_ptr_equal(strmap_remove(m, second, 4), second);
    free(second);
    assert_null(strmap_get(m, "name", 4));
    strmap_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sets_gets_and_removes), cmocka_unit_test(keys_are_bytes),
        cmocka_unit_test(walks_while_removing),  cmocka_unit_test(survives_churn),
        cmocka_unit_test(a_crowd_leaves),        cmocka_unit_test(keys_may_be_borrowed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
