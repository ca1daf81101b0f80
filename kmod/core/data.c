// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory for data of drivers that bring none.
 *
 * It is taken after the CDB was decoded and checked, so that what the wire announces never decides how much.  A command's memory
 * is a few chunks, large ones first; each CPU keeps some at hand.  It is on three accounts: the session's, the target's, the host's.  An account
 * that is used up refuses (TASK SET FULL), but one from which nothing was taken never does: the largest command always fits.
 * The accounts of target and host count per CPU, and so let through up to ACCOUNT_BATCH per CPU too much.
 */
#include "core.h"
#include <linux/dma-mapping.h>
#include <linux/gfp.h>
#include <linux/local_lock.h>
#include <linux/mm.h>

#define ACCOUNT_BATCH	SZ_1M
#define HOST_SHARE	8	/* of the host's memory, one part in so many */

/* Sizes of chunks, large first, and how many a CPU keeps. */
static const struct {
	u8 order;
	u8 keep;
} scst_chunks[] = {
	{ .order = 4, .keep = 4 },
	{ .order = 2, .keep = 4 },
	{ .order = 0, .keep = 16 },
};

#define CHUNK_KINDS	ARRAY_SIZE(scst_chunks)
#define CHUNK_KEEP_MAX	16

/*
 * What a CPU keeps of a kind.  @page: free ones.  @held: those that a socket has, too, until the peer has acknowledged what was sent from
 * them; the oldest are at @first, and as soon as nobody has them they are as good as free ones.
 */
struct scst_rack {
	u8 nr;
	u8 nr_held;
	u8 first;
	struct page *page[CHUNK_KEEP_MAX];
	struct page *held[CHUNK_KEEP_MAX];
};

struct scst_magazine {
	local_lock_t lock;
	struct scst_rack rack[CHUNK_KINDS];
};

static DEFINE_PER_CPU(struct scst_magazine, scst_magazines) = {
	.lock = INIT_LOCAL_LOCK(lock),
};

struct scst_account scst_host_memory;

/* --- accounts ------------------------------------------------------------------------------------- */

/* Process context. */
int scst_account_init(struct scst_account *account, long limit)
{
	account->limit = limit;
	return percpu_counter_init(&account->used, 0, GFP_KERNEL);
}

void scst_account_exit(struct scst_account *account)
{
	percpu_counter_destroy(&account->used);
}

/*
 * What was taken on one CPU and returned on another may look taken for ever.  Who is refused sends nothing that would put
 * that right, so nobody is before the CPUs were asked; they are asked only where their answers matter.
 */
static noinline bool scst_account_has_exactly(struct scst_account *account, long bytes, long limit)
{
	return __percpu_counter_compare(&account->used, limit - bytes, ACCOUNT_BATCH) <= 0 ||
	       __percpu_counter_compare(&account->used, 0, ACCOUNT_BATCH) <= 0;
}

static bool scst_account_has(struct scst_account *account, long bytes)
{
	s64 used = percpu_counter_read_positive(&account->used);
	long limit = READ_ONCE(account->limit);

	return likely(!limit || !used || used + bytes <= limit) || scst_account_has_exactly(account, bytes, limit);
}

static void scst_account_add(struct scst_account *account, long bytes)
{
	percpu_counter_add_batch(&account->used, bytes, ACCOUNT_BATCH);
}

static bool scst_session_has(struct scst_session *sess, long bytes)
{
	long used = atomic_long_add_return(bytes, &sess->buffered), limit = READ_ONCE(sess->tgt->session_memory);

	if (!limit || used <= limit || used == bytes)
		return true;
	atomic_long_sub(bytes, &sess->buffered);
	return false;
}

/* False: an account is used up. */
static bool scst_charge(struct scst_session *sess, long bytes)
{
	if (!scst_account_has(&scst_host_memory, bytes) || !scst_account_has(&sess->tgt->memory, bytes) ||
	    !scst_session_has(sess, bytes))
		return false;
	scst_account_add(&scst_host_memory, bytes);
	scst_account_add(&sess->tgt->memory, bytes);
	return true;
}

static void scst_uncharge(struct scst_session *sess, long bytes)
{
	scst_account_add(&scst_host_memory, -bytes);
	scst_account_add(&sess->tgt->memory, -bytes);
	atomic_long_sub(bytes, &sess->buffered);
}

/* --- chunks ------------------------------------------------------------------------------------------- */

/* The oldest that was held, if nobody has it any more. */
static struct page *scst_rack_returned(struct scst_rack *rack)
{
	struct page *page = rack->held[rack->first];

	if (!rack->nr_held || page_ref_count(page) != 1)
		return NULL;
	/* What is done to it now comes after whoever had it has let go of it. */
	smp_acquire__after_ctrl_dep();
	rack->first = (rack->first + 1) % CHUNK_KEEP_MAX;
	rack->nr_held--;
	return page;
}

static bool scst_rack_put(struct scst_rack *rack, struct page *page, unsigned int keep)
{
	if (page_ref_count(page) == 1) {
		if (rack->nr == keep)
			return false;
		rack->page[rack->nr++] = page;
	} else {
		if (rack->nr_held == keep)
			return false;
		rack->held[(rack->first + rack->nr_held++) % CHUNK_KEEP_MAX] = page;
	}
	return true;
}

static struct page *scst_magazine_get(unsigned int kind, int node)
{
	struct scst_rack *rack;
	struct page *page;
	unsigned long irq;

	if (node != NUMA_NO_NODE && node != numa_node_id())
		return NULL;
	local_lock_irqsave(&scst_magazines.lock, irq);
	rack = &this_cpu_ptr(&scst_magazines)->rack[kind];
	page = rack->nr ? rack->page[--rack->nr] : scst_rack_returned(rack);
	local_unlock_irqrestore(&scst_magazines.lock, irq);
	return page;
}

/* A page of another node, or of a reserve, is no good for the next. */
static bool scst_magazine_put(unsigned int kind, struct page *page)
{
	unsigned long irq;
	bool kept;

	if (page_to_nid(page) != numa_node_id())
		return false;
	local_lock_irqsave(&scst_magazines.lock, irq);
	kept = scst_rack_put(&this_cpu_ptr(&scst_magazines)->rack[kind], page, scst_chunks[kind].keep);
	local_unlock_irqrestore(&scst_magazines.lock, irq);
	return kept;
}

static struct page *scst_page_get(unsigned int kind, const struct scst_target_limits *limits, gfp_t gfp)
{
	bool near = limits->dma_mask && limits->dma_mask < DMA_BIT_MASK(64);
	struct page *page = near ? NULL : scst_magazine_get(kind, limits->node);

	if (page)
		return page;
	if (near)
		gfp |= limits->dma_mask < DMA_BIT_MASK(32) ? GFP_DMA : GFP_DMA32;
	return alloc_pages_node(limits->node, gfp | __GFP_COMP | __GFP_NOWARN, scst_chunks[kind].order);
}

/* Somebody on the way (a socket) may still hold it: where it is not kept, it is his to free. */
static void scst_page_put(struct page *page)
{
	unsigned int order = compound_order(page), kind;

	for (kind = 0; kind < CHUNK_KINDS; kind++)
		if (scst_chunks[kind].order == order && scst_magazine_put(kind, page))
			return;
	put_page(page);
}

static unsigned int scst_chunk_size(unsigned int kind)
{
	return PAGE_SIZE << scst_chunks[kind].order;
}

/* The smallest kind that holds it in one chunk, no larger than a segment may be and than was to be had last. */
static unsigned int scst_chunk_kind(u32 len, u32 max_seg_len, unsigned int largest)
{
	unsigned int kind = largest;

	while (kind < CHUNK_KINDS - 1 &&
	       ((max_seg_len && scst_chunk_size(kind) > max_seg_len) || scst_chunk_size(kind + 1) >= len))
		kind++;
	return kind;
}

/* --- a command's memory --------------------------------------------------------------------------------- */

static void scst_pages_put(struct scatterlist *sgl, unsigned int nents)
{
	struct scatterlist *sg;
	unsigned int i;

	for_each_sg(sgl, sg, nents, i)
		scst_page_put(sg_page(sg));
}

static void scst_sgl_free(struct scst_cmd *cmd, struct scatterlist *sgl, unsigned int size)
{
	struct sg_table table = { .sgl = sgl, .nents = size, .orig_nents = size };

	if (sgl != &cmd->inline_sg)
		sg_free_table(&table);
}

static struct scatterlist *scst_sgl_alloc(struct scst_cmd *cmd, unsigned int size, gfp_t gfp)
{
	struct sg_table table;

	if (size == 1) {
		sg_init_table(&cmd->inline_sg, 1);
		return &cmd->inline_sg;
	}
	return sg_alloc_table(&table, size, gfp | __GFP_NOWARN) ? NULL : table.sgl;
}

/* Fill a list of @size entries; returns how many are in use, 0 if there is not enough memory. */
static unsigned int scst_pages_get(struct scst_cmd *cmd, struct scatterlist *sgl, unsigned int size, unsigned int largest,
				   gfp_t gfp)
{
	const struct scst_target_limits *limits = &cmd->sess->tgt->limits;
	struct scatterlist *sg = sgl;
	unsigned int nr = 0;
	u32 left = cmd->len;

	while (left && nr < size) {
		unsigned int kind = scst_chunk_kind(left, limits->max_seg_len, largest);
		u32 n = min(left, scst_chunk_size(kind));
		struct page *page = scst_page_get(kind, limits, gfp);

		if (!page)
			break;
		sg_set_page(sg, page, n, 0);
		left -= n;
		if (++nr < size)
			sg = sg_next(sg);
	}
	if (!left)
		return nr;
	scst_pages_put(sgl, nr);
	return 0;
}

/* In chunks of at most the @largest kind. */
static bool scst_data_alloc(struct scst_cmd *cmd, unsigned int largest, gfp_t gfp)
{
	const struct scst_target_limits *limits = &cmd->sess->tgt->limits;
	u32 chunk = scst_chunk_size(scst_chunk_kind(U32_MAX, limits->max_seg_len, largest));
	unsigned int size = DIV_ROUND_UP(cmd->len, chunk), nr;
	struct scatterlist *sgl;

	if (limits->max_segs && size > limits->max_segs)
		return false;
	sgl = scst_sgl_alloc(cmd, size, gfp);
	if (!sgl)
		return false;
	nr = scst_pages_get(cmd, sgl, size, largest, gfp);
	if (nr != size) {
		/* Every chunk but the last is of one size, so that it is all or nothing. */
		WARN_ON_ONCE(nr);
		scst_sgl_free(cmd, sgl, size);
		return false;
	}
	cmd->data = (struct scst_data) { .sgl = sgl, .nents = nr, .len = cmd->len, .owner = SCST_DATA_POOL };
	return true;
}

static bool scst_data_try(struct scst_cmd *cmd)
{
	unsigned int kind;

	for (kind = 0; kind < CHUNK_KINDS; kind++)
		if (scst_data_alloc(cmd, kind, GFP_NOWAIT))
			return true;
	return cmd->now == SCST_CTX_TASK &&
	       scst_data_alloc(cmd, CHUNK_KINDS - 1, GFP_NOIO | __GFP_NORETRY);
}

/* Can the transport take it as it is?  Lent memory is cut as it lies in the page cache. */
bool scst_data_fits(const struct scst_data *data, const struct scst_target_limits *limits)
{
	struct scatterlist *sg;
	unsigned int i;

	if (limits->max_segs && data->nents > limits->max_segs)
		return false;
	if (limits->max_seg_len)
		for_each_sg(data->sgl, sg, data->nents, i)
			if (sg->length > limits->max_seg_len)
				return false;
	return !limits->dma_mask || limits->dma_mask == DMA_BIT_MASK(64);
}

/* Bytes that a command may move in memory of the pool's, by segments. */
u64 scst_data_max(const struct scst_target_limits *limits)
{
	return (u64)(limits->max_segs ?: U32_MAX) * scst_chunk_size(scst_chunk_kind(U32_MAX, limits->max_seg_len, 0));
}

/**
 * scst_data_get() - memory for cmd->len bytes
 * @cmd: checked and decoded; its data has no owner
 *
 * Process or softirq context as cmd->now says.  Return: 0, or -ENOMEM: too much is in use, or there is none.
 */
int scst_data_get(struct scst_cmd *cmd)
{
	if (!scst_charge(cmd->sess, cmd->len))
		return -ENOMEM;
	if (!scst_data_try(cmd)) {
		scst_uncharge(cmd->sess, cmd->len);
		return -ENOMEM;
	}
	cmd->charged = cmd->len;
	return 0;
}

/**
 * scst_data_put() - a command does not need its memory any more
 * @cmd: the driver has sent its response
 *
 * Any context.  The driver's own stays the driver's.
 */
void scst_data_put(struct scst_cmd *cmd)
{
	switch (cmd->data.owner) {
	case SCST_DATA_POOL:
		scst_pages_put(cmd->data.sgl, cmd->data.nents);
		scst_sgl_free(cmd, cmd->data.sgl, cmd->data.nents);
		scst_uncharge(cmd->sess, cmd->charged);
		break;
	case SCST_DATA_HANDLER:
		cmd->dev->handler->unlend(cmd);
		break;
	default:
		return;
	}
	cmd->data.owner = SCST_DATA_NONE;
}

/**
 * scst_chunk_get() - a piece of memory for work of the core's or the handler's own on a command
 * @size: its size in bytes: 64 KiB if they are to be had, but at least a page
 *
 * Process context, may sleep but not for I/O of ours.  Return: a page, or NULL.
 */
struct page *scst_chunk_get(unsigned int *size)
{
	static const struct scst_target_limits none = { .node = NUMA_NO_NODE };
	struct page *page = scst_page_get(0, &none, GFP_NOIO | __GFP_NORETRY);

	if (!page)
		page = scst_page_get(CHUNK_KINDS - 1, &none, GFP_NOIO);
	if (page)
		*size = PAGE_SIZE << compound_order(page);
	return page;
}
EXPORT_SYMBOL_GPL(scst_chunk_get);

void scst_chunk_put(struct page *page)
{
	scst_page_put(page);
}
EXPORT_SYMBOL_GPL(scst_chunk_put);

/* --- the beginning and the end --------------------------------------------------------------------------------- */

/* Bytes. */
long scst_host_memory_default(void)
{
	return (totalram_pages() << PAGE_SHIFT) / HOST_SHARE;
}

int scst_data_init(void)
{
	return scst_account_init(&scst_host_memory, scst_host_memory_default());
}

static void scst_rack_empty(struct scst_rack *rack)
{
	while (rack->nr)
		put_page(rack->page[--rack->nr]);
	for (; rack->nr_held; rack->nr_held--)
		put_page(rack->held[(rack->first + rack->nr_held - 1) % CHUNK_KEEP_MAX]);
}

/* Nobody takes or gives any more. */
void scst_data_exit(void)
{
	unsigned int kind;
	int cpu;

	for_each_possible_cpu(cpu)
		for (kind = 0; kind < CHUNK_KINDS; kind++)
			scst_rack_empty(&per_cpu_ptr(&scst_magazines, cpu)->rack[kind]);
	scst_account_exit(&scst_host_memory);
}
