/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the connections of scst_iscsi.ko (kmod/targets/iscsi: rx, cmd, task, req, tx) use of the kernel, in user space, for one thread.
 * Memory is malloc()'s, so that AddressSanitizer sees who goes beyond it; what must never be warned of aborts.
 */
#ifndef SCST_FUZZ_KERNEL_H
#define SCST_FUZZ_KERNEL_H

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <linux/kernel.h>
#include <linux/types.h>
#include "lists.h"

typedef u8 __u8;
typedef u16 __u16;
typedef u32 __u32;
typedef u64 __u64;
typedef s32 __s32;

#define SCST_UNALIGNED(bits)							\
static inline u##bits get_unaligned_be##bits(const void *from)			\
{										\
	u##bits value;								\
										\
	memcpy(&value, from, sizeof(value));					\
	return __builtin_bswap##bits(value);					\
}										\
static inline void put_unaligned_be##bits(u##bits value, void *to)		\
{										\
	value = __builtin_bswap##bits(value);					\
	memcpy(to, &value, sizeof(value));					\
}

SCST_UNALIGNED(16)
SCST_UNALIGNED(32)

static inline u32 get_unaligned_le32(const void *from)
{
	u32 value;

	memcpy(&value, from, sizeof(value));
	return value;
}

static inline void put_unaligned_le32(u32 value, void *to)
{
	memcpy(to, &value, sizeof(value));
}

/* --- words --------------------------------------------------------------------------------- */

#undef static_assert
#define static_assert(condition)	_Static_assert(condition, #condition)
#define SZ_8K			0x2000
#define SZ_256K			0x40000
#define PAGE_SIZE		4096u
#define BIT(n)			(1ul << (n))
#define BIT_ULL(n)		(1ull << (n))
#define BITS_PER_TYPE(type)	(8 * sizeof(type))
#define noinline		__attribute__((__noinline__))
#define unlikely(condition)	(condition)
#define likely(condition)	(condition)
#define fallthrough		__attribute__((__fallthrough__))
#define min3(a, b, c)		min(min(a, b), c)
#define READ_ONCE(value)	(value)
#define WRITE_ONCE(value, to)	((value) = (to))
#define WARN_ON_ONCE(condition)	({ if (condition) abort(); false; })
#define struct_group(name, ...)	union { struct { __VA_ARGS__ }; struct { __VA_ARGS__ } name; }
#define __aligned(n)		/* what is no entry, at the end of a list, is not aligned either */
#define __acquires(lock)
#define __releases(lock)
#define smp_mb__after_atomic()	do { } while (0)
#define smp_acquire__after_ctrl_dep()	do { } while (0)
#define lockdep_assert_held(lock)	do { } while (0)
#define ilog2(n)		(31 - __builtin_clz(n))
#define abs(value)		((value) < 0 ? -(value) : (value))
#define jiffies			0ul

static inline u32 hash_32(u32 value, unsigned int bits)
{
	return value * 0x61c88647u >> (32 - bits);
}

static inline void set_bit(int nr, unsigned long *word)
{
	*word |= BIT(nr);
}

static inline void clear_bit(int nr, unsigned long *word)
{
	*word &= ~BIT(nr);
}

static inline bool test_bit(int nr, const unsigned long *word)
{
	return *word & BIT(nr);
}

static inline bool test_and_clear_bit(int nr, unsigned long *word)
{
	bool was = test_bit(nr, word);

	clear_bit(nr, word);
	return was;
}

static inline u32 crc32c(u32 crc, const void *data, size_t len)
{
	const u8 *byte = data;
	int bit;

	for (; len; len--) {
		crc ^= *byte++;
		for (bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
	}
	return crc;
}

/* --- what only has to have a size -------------------------------------------------------------- */

typedef struct { int counter; } atomic_t;
struct kref { int refs; };
struct mutex { int owner; };
struct completion { int done; };
struct work_struct { int pending; };
struct delayed_work { int pending; };
struct rcu_work { int pending; };
struct config_group { int item; };
struct configfs_attribute;
struct attribute_group;
struct workqueue_struct;

/* --- memory ------------------------------------------------------------------------------------- */

#define GFP_ATOMIC		0
#define __GFP_NOWARN		0
#define SLAB_HWCACHE_ALIGN	0

struct kmem_cache { size_t size; };

/* Every so often there is none: set by the driver of the fuzzer. */
extern u32 fuzz_memory;

static inline bool fuzz_no_memory(void)
{
	return fuzz_memory && !--fuzz_memory;
}

#define KMEM_CACHE(type, flags)	fuzz_cache(sizeof(struct type))
static inline struct kmem_cache *fuzz_cache(size_t size)
{
	struct kmem_cache *cache = malloc(sizeof(*cache));

	cache->size = size;
	return cache;
}

#define kmem_cache_destroy(cache)		free(cache)
#define kmem_cache_free(cache, object)		free(object)
#define kmem_cache_zalloc(cache, flags)		(fuzz_no_memory() ? NULL : calloc(1, (cache)->size))
#define kvfree(memory)				free(memory)

/* What is in a page is behind a pointer, so that it is found when it is touched after the page has gone. */
struct page {
	struct list_head lru;
	u8 *memory;
};

#define alloc_page(flags)	(fuzz_no_memory() ? NULL : fuzz_page())
#define page_address(page)	((void *)(page)->memory)
/* The socket copies what it takes, and never has one. */
#define page_ref_count(page)	1
static inline struct page *fuzz_page(void)
{
	struct page *page = malloc(sizeof(*page));

	page->memory = malloc(PAGE_SIZE);
	return page;
}

static inline void put_page(struct page *page)
{
	free(page->memory);
	free(page);
}

struct scatterlist {
	struct page page;
	u32 offset;
	u32 length;
	bool last;
};

#define sg_page(sg)		(&(sg)->page)
#define sg_virt(sg)		page_address(sg_page(sg))
static inline struct scatterlist *sg_next(struct scatterlist *sg)
{
	return sg->last ? NULL : sg + 1;
}

static inline size_t sg_pcopy_from_buffer(struct scatterlist *sg, unsigned int nents, const void *from, size_t len, size_t skip)
{
	const u8 *byte = from;
	size_t done = 0, n;

	for (; sg && done < len; sg = sg_next(sg)) {
		if (skip >= sg->length) {
			skip -= sg->length;
			continue;
		}
		n = min_t(size_t, sg->length - skip, len - done);
		memcpy(sg->page.memory + skip, byte + done, n);
		done += n;
		skip = 0;
	}
	return done;
}

/* --- sockets ------------------------------------------------------------------------------------ */

#define MSG_DONTWAIT	1
#define MSG_NOSIGNAL	2
#define MSG_MORE	4
#define ITER_SOURCE	1

struct sock;
struct socket {
	struct sock *sk;
};

struct kvec {
	void *iov_base;
	size_t iov_len;
};

struct bio_vec {
	struct page *bv_page;
	u32 bv_len;
	u32 bv_offset;
};

struct iov_iter {
	const struct kvec *kvec;
	const struct bio_vec *bvec;
	unsigned int nr;
	size_t count;
};

static inline void bvec_set_page(struct bio_vec *bvec, struct page *page, u32 len, u32 offset)
{
	*bvec = (struct bio_vec){ .bv_page = page, .bv_len = len, .bv_offset = offset };
}

static inline void iov_iter_kvec(struct iov_iter *iter, int way, const struct kvec *kvec, unsigned int nr, size_t count)
{
	*iter = (struct iov_iter){ .kvec = kvec, .nr = nr, .count = count };
}

static inline void iov_iter_bvec(struct iov_iter *iter, int way, const struct bio_vec *bvec, unsigned int nr, size_t count)
{
	*iter = (struct iov_iter){ .bvec = bvec, .nr = nr, .count = count };
}

struct sk_buff {
	const u8 *data;
	u32 len;
	u32 seq;
	struct sk_buff *next;
};

#define TCP_SKB_CB(skb)		(skb)
#define skb_queue_walk(queue, skb)	for (skb = *(queue); skb; skb = skb->next)

/* What has come, and was not taken, is in the queue. */
struct sock {
	struct sk_buff *sk_receive_queue;
	u32 copied_seq;
	u32 room;	/* for what is sent */
};

#define tcp_sk(sk)		(sk)

static inline int skb_copy_bits(const struct sk_buff *skb, int at, void *to, int len)
{
	if (at < 0 || len < 0 || (u32)at + len > skb->len)
		abort();
	memcpy(to, skb->data + at, len);
	return 0;
}

/* Of the driver of the fuzzer. */
void tcp_read_done(struct sock *sk, size_t len);
int scst_tcp_send(struct sock *sk, struct iov_iter *iter, int flags, bool by_reference);

/* --- SCSI ------------------------------------------------------------------------------------------ */

#define SAM_STAT_GOOD		0
#define UNIT_ATTENTION		6

#endif /* SCST_FUZZ_KERNEL_H */
