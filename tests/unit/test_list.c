#include "common/list.h"

#include "unit.h"

struct item {
    int n;
    struct list node;
};

static void keeps_order(void **state)
{
    struct item items[3] = {{.n = 0}, {.n = 1}, {.n = 2}};
    struct list head;
    int expected = 0;

    (void)state;
    list_init(&head);
    assert_true(list_empty(&head));
    assert_null(list_pop(&head));
    for (size_t i = 0; i < COUNT(items); i++)
        list_push(&head, &items[i].node);
    LIST_EACH(pos, tmp, &head)
        assert_int_equal(LIST_ITEM(pos, struct item, node)->n, expected++);
    assert_int_equal(expected, 3);
    for (int i = 0; i < 3; i++)
        assert_int_equal(LIST_ITEM(list_pop(&head), struct item, node)->n, i);
    assert_true(list_empty(&head));
}

static void removes_while_walking(void **state)
{
    struct item items[5] = {{.n = 0}, {.n = 1}, {.n = 2}, {.n = 3}, {.n = 4}};
    struct list head;
    int left = 0;

    (void)state;
    list_init(&head);
    for (size_t i = 0; i < COUNT(items); i++)
        list_push(&head, &items[i].node);
    LIST_EACH(pos, tmp, &head) {
        if (LIST_ITEM(pos, struct item, node)->n % 2 == 0)
            list_remove(pos);
    }
    LIST_EACH(pos, tmp, &head)
        left += LIST_ITEM(pos, struct item, node)->n;
    assert_int_equal(left, 4);
    assert_false(list_linked(&items[0].node));
    assert_true(list_linked(&items[1].node));
    list_remove(&items[0].node);
    list_remove(&items[0].node);
    assert_false(list_linked(&items[0].node));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_order),
        cmocka_unit_test(removes_while_walking),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
