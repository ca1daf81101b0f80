// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory: that of commands is poisoned when they are released, and looked at some time later.
 */
#include "script.h"
#include <linux/mm.h>
#include <linux/slab.h>

DEFINE_XARRAY_FLAGS(script_cmds, XA_FLAGS_LOCK_IRQ);

/* What sleeps may be large.  Two attempts: a fault that somebody injects is meant for the core. */
void *script_zalloc(size_t size, gfp_t gfp)
{
	unsigned int attempt;
	void *memory = NULL;

	for (attempt = 0; !memory && attempt < 2; attempt++)
		memory = gfp == GFP_ATOMIC ? kzalloc(size, gfp) : kvzalloc(size, gfp);
	return memory;
}

static LLIST_HEAD(script_dead_cmds);
LLIST_HEAD(script_dead_tmfs);
LLIST_HEAD(script_dead_rooms);

static void script_own_free(struct scst_data *own)
{
	u32 i;

	for (i = 0; i < own->nents; i++)
		__free_page(sg_page(&own->sgl[i]));
	kvfree(own->sgl);
}

int script_own_alloc(struct scst_data *own, u32 len)
{
	u32 nents = DIV_ROUND_UP(len, PAGE_SIZE);

	if (len > SCRIPT_DATA_MAX)
		return -EINVAL;
	own->owner = SCST_DATA_DRIVER;
	if (!len)
		return 0;
	own->sgl = script_zalloc(array_size(nents, sizeof(*own->sgl)), GFP_KERNEL);
	if (!own->sgl)
		return -ENOMEM;
	sg_init_table(own->sgl, nents);
	for (own->nents = 0; own->nents < nents; own->nents++) {
		struct page *page = alloc_page(GFP_KERNEL);

		if (!page)
			return -ENOMEM;
		memset(page_address(page), SCRIPT_POISON, PAGE_SIZE);
		sg_set_page(&own->sgl[own->nents], page, min_t(u32, len - own->len, PAGE_SIZE), 0);
		own->len += own->sgl[own->nents].length;
	}
	return 0;
}

void script_cmd_free(struct script_cmd *sc)
{
	script_promise(!sc->released || !memchr_inv(&sc->cmd, SCRIPT_POISON, sizeof(sc->cmd)), SCRIPT_LATE_TOUCH);
	script_own_free(&sc->own);
	kvfree(sc->answer);
	kvfree(sc->out);
	kvfree(sc);
}

static void script_reap(struct work_struct *work)
{
	struct llist_node *cmds = llist_del_all(&script_dead_cmds), *tmfs = llist_del_all(&script_dead_tmfs);
	struct llist_node *rooms = llist_del_all(&script_dead_rooms);
	struct script_cmd *sc, *next_cmd;
	struct script_room *room, *next_room;
	struct script_tmf *st, *next_tmf;

	/* irq_work looks at its structure once more after the function. */
	synchronize_rcu();
	llist_for_each_entry_safe(sc, next_cmd, cmds, dead)
		script_cmd_free(sc);
	llist_for_each_entry_safe(room, next_room, rooms, dead)
		kvfree(room);
	llist_for_each_entry_safe(st, next_tmf, tmfs, dead)
		kvfree(st);
}

DECLARE_DELAYED_WORK(script_reaper, script_reap);

/* What is in the lists of the dead is looked at once more, and freed.  Any context. */
void script_reap_later(void)
{
	queue_delayed_work(script_wq, &script_reaper, msecs_to_jiffies(SCRIPT_KEEP_MS));
}

void script_cmd_last(struct kref *kref)
{
	struct script_cmd *sc = container_of(kref, struct script_cmd, kref);

	llist_add(&sc->dead, &script_dead_cmds);
	script_reap_later();
}

void script_cmd_put(struct script_cmd *sc)
{
	kref_put(&sc->kref, script_cmd_last);
}

struct script_cmd *script_cmd_find(u64 id)
{
	struct script_cmd *sc;
	unsigned long flags;

	xa_lock_irqsave(&script_cmds, flags);
	sc = xa_load(&script_cmds, id);
	if (sc && !kref_get_unless_zero(&sc->kref))
		sc = NULL;
	xa_unlock_irqrestore(&script_cmds, flags);
	return sc;
}
