#pragma once

/*
 * A circular, doubly linked list whose links live inside the objects. An unlinked link points at
 * itself, so removing twice is harmless and list_empty() also tells whether a link is linked.
 */

#include "lib/util.h"

struct list {
        struct list *prev, *next;
};

#define LIST_INIT(name)          \
        {                        \
                &(name), &(name) \
        }

static inline void list_init(struct list *list)
{
        list->prev = list->next = list;
}

static inline bool list_empty(const struct list *list)
{
        return list->next == list;
}

static inline void list_append(struct list *head, struct list *link)
{
        assert(list_empty(link));
        link->prev = head->prev;
        link->next = head;
        head->prev->next = link;
        head->prev = link;
}

static inline void list_remove(struct list *link)
{
        link->prev->next = link->next;
        link->next->prev = link->prev;
        list_init(link);
}

#define list_entry(link, type, member) container_of(link, type, member)

/* The first object, or NULL. */
#define list_first(head, type, member) \
        (list_empty(head) ? NULL : list_entry((head)->next, type, member))

/* The body may remove the current object, but no other. */
#define list_for_each(i, head, type, member)                                       \
        for (struct list *_at_##i = (head)->next, *_next_##i = _at_##i->next;      \
             _at_##i != (head) && ((i) = list_entry(_at_##i, type, member), true); \
             _at_##i = _next_##i, _next_##i = _at_##i->next)
