/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lists as the kernel has them, of one thread. */
#ifndef SCST_FUZZ_LISTS_H
#define SCST_FUZZ_LISTS_H

#include <linux/types.h>

#define container_of(pointer, type, member)	((type *)((char *)(pointer) - offsetof(type, member)))

struct list_head {
	struct list_head *next, *prev;
};

static inline void INIT_LIST_HEAD(struct list_head *list)
{
	list->next = list->prev = list;
}

static inline void list_add(struct list_head *new, struct list_head *head)
{
	new->next = head->next;
	new->prev = head;
	head->next->prev = new;
	head->next = new;
}

static inline void list_add_tail(struct list_head *new, struct list_head *head)
{
	list_add(new, head->prev);
}

static inline void list_del(struct list_head *entry)
{
	entry->next->prev = entry->prev;
	entry->prev->next = entry->next;
	entry->next = entry->prev = NULL;
}

static inline void list_del_init(struct list_head *entry)
{
	entry->next->prev = entry->prev;
	entry->prev->next = entry->next;
	INIT_LIST_HEAD(entry);
}

static inline bool list_empty(const struct list_head *head)
{
	return head->next == head;
}

#define list_entry(pointer, type, member)	container_of(pointer, type, member)
#define list_first_entry(head, type, member)	list_entry((head)->next, type, member)
#define list_first_entry_or_null(head, type, member)	(list_empty(head) ? NULL : list_first_entry(head, type, member))
#define list_last_entry(head, type, member)	list_entry((head)->prev, type, member)
#define list_entry_to(pos, to, member)		list_entry((pos)->member.to, typeof(*(pos)), member)

#define list_for_each_entry(pos, head, member)							\
	for (pos = list_entry((head)->next, typeof(*pos), member); &pos->member != (head);	\
	     pos = list_entry_to(pos, next, member))

#define list_for_each_entry_reverse(pos, head, member)						\
	for (pos = list_entry((head)->prev, typeof(*pos), member); &pos->member != (head);	\
	     pos = list_entry_to(pos, prev, member))

#define list_for_each_entry_safe(pos, n, head, member)						\
	for (pos = list_entry((head)->next, typeof(*pos), member), n = list_entry_to(pos, next, member);	\
	     &pos->member != (head); pos = n, n = list_entry_to(n, next, member))

struct hlist_node {
	struct hlist_node *next, **at;
};

struct hlist_head {
	struct hlist_node *first;
};

static inline void hlist_add_head(struct hlist_node *node, struct hlist_head *head)
{
	node->next = head->first;
	node->at = &head->first;
	if (head->first)
		head->first->at = &node->next;
	head->first = node;
}

static inline void hlist_del(struct hlist_node *node)
{
	*node->at = node->next;
	if (node->next)
		node->next->at = node->at;
	node->next = NULL;
	node->at = NULL;
}

#define hlist_entry_or_null(node, type, member)	((node) ? container_of(node, type, member) : NULL)
#define hlist_for_each_entry(pos, head, member)							\
	for (pos = hlist_entry_or_null((head)->first, typeof(*pos), member); pos;		\
	     pos = hlist_entry_or_null(pos->member.next, typeof(*pos), member))

struct llist_node {
	struct llist_node *next;
};

struct llist_head {
	struct llist_node *first;
};

/* True: it was empty. */
static inline bool llist_add(struct llist_node *node, struct llist_head *head)
{
	node->next = head->first;
	head->first = node;
	return !node->next;
}

static inline struct llist_node *llist_del_all(struct llist_head *head)
{
	struct llist_node *first = head->first;

	head->first = NULL;
	return first;
}

static inline bool llist_empty(const struct llist_head *head)
{
	return !head->first;
}

#define llist_entry(pointer, type, member)	container_of(pointer, type, member)

#endif /* SCST_FUZZ_LISTS_H */
