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

/* The first item of a head, the next one of an item. */
#ifdef __clang_analyzer__
/* Without a body: the analyzer cannot see that a node has left its list, and would call
 * the next look at the list a use after free. */
struct list *list_next(const struct list *node);
#else
static inline struct list *list_next(const struct list *node)
{
    return node->next;
}
#endif

/* Walks `head`; the current item may be removed inside the loop. */
/* NOLINTBEGIN(bugprone-macro-parentheses): the names of new variables */
#define LIST_EACH(pos, tmp, head)                                                        \
    for (struct list *pos = list_next(head), *tmp = list_next(pos); pos != (head);       \
         pos = tmp, tmp = list_next(pos))
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

/* Has it more than `most` items? Looks at no more of them. */
static inline bool list_longer(const struct list *head, size_t most)
{
    size_t n = 0;

    for (const struct list *node = head->next; node != head && n <= most;
         node = node->next)
        n++;
    return n > most;
}

static inline struct list *list_pop(struct list *head)
{
    struct list *node = list_next(head);
    if (node == head)
        return NULL;
    list_remove(node);
    return node;
}

#endif
