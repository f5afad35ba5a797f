/* list: an intrusive doubly linked list. A node is a member of the struct it links;
 * an item is on at most one list per node. Nothing here allocates. */
#ifndef THREADCAST_LIST_H
#define THREADCAST_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *prev, *next;
};

#define LIST_ITEM(node, type, member)                                                    \
    ((type *)(void *)((char *)(node)-offsetof(type, member)))

/* Walks `head`; the current item may be removed inside the loop. */
/* NOLINTBEGIN(bugprone-macro-parentheses): the names of new variables */
#define LIST_EACH(pos, tmp, head)                                                        \
    for (struct list *pos = (head)->next, *tmp = pos->next; pos != (head);               \
         pos = tmp, tmp = pos->next)
/* NOLINTEND(bugprone-macro-parentheses) */

static inline void list_init(struct list *head)
{
    head->prev = head->next = head;
}

static inline bool list_empty(const struct list *head)
{
    return head->next == head;
}

static inline void list_push(struct list *head, struct list *node)
{
    node->prev = head->prev;
    node->next = head;
    head->prev->next = node;
    head->prev = node;
}

/* Leaves the node a list of its own, so removing twice is harmless. */
static inline void list_remove(struct list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}

static inline bool list_linked(const struct list *node)
{
    return node->next != node;
}

static inline struct list *list_pop(struct list *head)
{
    struct list *node = head->next;
    if (node == head)
        return NULL;
    list_remove(node);
    return node;
}

#endif
