// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the program asks for.
 */
#include "script.h"
#include <linux/mm.h>
#include <linux/slab.h>

struct script_port {
	struct list_head entry;
	struct scst_port *port;
	char name[SCST_TARGET_NAME_LEN + 1];
};

static LIST_HEAD(script_ports);		/* requests come one at a time */

/* The session, if it takes commands; it stays until script_session_put(). */
static struct script_session *script_session_get(u32 number)
{
	struct script_session *ss;

	xa_lock_irq(&script_sessions);
	ss = xa_load(&script_sessions, number);
	if (ss && !ss->closing)
		atomic_inc(&ss->users);
	else
		ss = ERR_PTR(ss ? -ESHUTDOWN : -ENOENT);
	xa_unlock_irq(&script_sessions);
	return ss;
}

static void script_session_put(struct script_session *ss)
{
	atomic_dec(&ss->users);
}

static struct script_target *script_find_target(const char *name)
{
	struct script_target *st;

	lockdep_assert_held(&script_mutex);
	list_for_each_entry(st, &script_targets, entry)
		if (st->open && !strcmp(st->tgt.name, name))
			return st;
	return NULL;
}

/* Under script_mutex. */
static int script_login_locked(struct script_session *ss, const char *target, const char *initiator)
{
	struct script_target *st = script_find_target(target);
	struct scst_session *sess;
	int ret;

	if (!st)
		return -ENOTCONN;
	ret = xa_insert_irq(&script_sessions, ss->number, ss, GFP_KERNEL);
	if (ret)
		return ret;
	sess = scst_session_register(&st->tgt, initiator, NULL, NULL, ss);
	if (IS_ERR(sess)) {
		xa_erase_irq(&script_sessions, ss->number);
		return PTR_ERR(sess);
	}
	ss->sess = sess;
	list_add(&ss->entry, &st->sessions);
	script_count(SCRIPT_SESSIONS);
	xa_lock_irq(&script_sessions);
	ss->closing = false;
	xa_unlock_irq(&script_sessions);
	return 0;
}

static int script_op_login(const struct script_request *req, char *data)
{
	size_t len = strnlen(data, req->data_len);
	struct script_session *ss;
	int ret;

	if (len == req->data_len)
		return -EINVAL;
	ss = script_zalloc(sizeof(*ss), GFP_KERNEL);
	if (!ss)
		return -ENOMEM;
	ss->number = req->session;
	/* Until it is there. */
	ss->closing = true;
	mutex_lock(&script_mutex);
	ret = script_login_locked(ss, data, data + len + 1);
	mutex_unlock(&script_mutex);
	if (ret)
		kvfree(ss);
	return ret;
}

static int script_op_close(const struct script_request *req)
{
	struct script_session *ss;
	int ret;

	/* The mutex keeps session_gone() from freeing it. */
	mutex_lock(&script_mutex);
	ss = xa_load(&script_sessions, req->session);
	ret = ss && ss->sess ? 0 : -ENOENT;
	if (!ret)
		script_session_close(ss);
	mutex_unlock(&script_mutex);
	return ret;
}

static void script_submit(struct script_cmd *sc, enum scst_context ctx)
{
	struct script_session *ss = sc->session;

	sc->cmd.ctx = ctx;
	script_call_begin(sc, ctx);
	scst_cmd_submit(&sc->cmd);
	script_call_end(sc);
	script_session_put(ss);
	complete(&sc->submitted);
}

static void script_cmd_fill(struct script_cmd *sc)
{
	struct script_request *req = &sc->req;
	struct scst_cmd *cmd = &sc->cmd;

	scst_cmd_init(cmd, sc->session->sess);
	cmd->cdb = req->cdb;
	cmd->cdb_len = req->cdb_len;
	cmd->sense = sc->sense;
	cmd->tag = req->tag;
	cmd->lun = req->lun;
	cmd->expected_len = req->expected_len;
	cmd->dir = req->dir;
	cmd->attr = req->attr;
	cmd->priority = req->priority;
	if (req->flags & SCRIPT_OWN_MEMORY)
		cmd->data = sc->own;
	sc->out_error = req->error;
	atomic_set(&sc->data_again, req->data_again);
	atomic_set(&sc->response_again, req->response_again);
	spin_lock_init(&sc->lock);
	init_completion(&sc->submitted);
	kref_init(&sc->kref);
	script_step_init(&sc->submit_step, sc, script_submit);
	script_step_init(&sc->data_step, sc, script_deliver);
	script_step_init(&sc->response_step, sc, script_sent);
}

static void *script_dup(const void *data, u32 len)
{
	void *copy = script_zalloc(len, GFP_KERNEL);

	return copy ? memcpy(copy, data, len) : NULL;
}

static int script_cmd_memory(struct script_cmd *sc, const void *data)
{
	struct script_request *req = &sc->req;
	bool keep = req->flags & SCRIPT_KEEP_DATA && req->dir == DMA_FROM_DEVICE;

	sc->answer = script_report_alloc(keep ? min(req->expected_len, SCRIPT_DATA_MAX) : 0, GFP_KERNEL);
	if (!sc->answer)
		return -ENOMEM;
	if (req->data_len) {
		sc->out = script_dup(data, req->data_len);
		sc->out_len = req->data_len;
		if (!sc->out)
			return -ENOMEM;
	}
	return req->flags & SCRIPT_OWN_MEMORY ? script_own_alloc(&sc->own, req->expected_len) : 0;
}

static struct script_cmd *script_cmd_make(const struct script_request *req, const void *data)
{
	struct script_cmd *sc = script_zalloc(sizeof(*sc), GFP_KERNEL);
	int ret;

	if (!sc)
		return ERR_PTR(-ENOMEM);
	sc->req = *req;
	ret = script_cmd_memory(sc, data);
	if (ret) {
		script_cmd_free(sc);
		return ERR_PTR(ret);
	}
	return sc;
}

static int script_op_submit(const struct script_request *req, const void *data)
{
	struct script_session *ss = script_session_get(req->session);
	struct script_cmd *sc;
	int ret;

	if (IS_ERR(ss))
		return PTR_ERR(ss);
	sc = script_cmd_make(req, data);
	if (IS_ERR(sc)) {
		script_session_put(ss);
		return PTR_ERR(sc);
	}
	sc->session = ss;
	script_cmd_fill(sc);
	ret = xa_insert_irq(&script_cmds, req->id, sc, GFP_KERNEL);
	if (ret) {
		script_cmd_free(sc);
		script_session_put(ss);
		return ret;
	}
	script_count(SCRIPT_SUBMITTED);
	/* One reference is the core's, which may have given it back before the other is. */
	kref_get(&sc->kref);
	script_step_start(&sc->submit_step, req->submit_from, 0, SCST_CTX_TASK);
	if (!(req->flags & SCRIPT_NO_WAIT))
		wait_for_completion_killable(&sc->submitted);
	script_cmd_put(sc);
	return 0;
}

/* New bytes, if any are given, replace those that came with the command. */
static int script_op_data(const struct script_request *req, const void *data)
{
	struct script_cmd *sc = script_cmd_find(req->id);
	int ret = 0;

	if (!sc)
		return -ENOENT;
	if (READ_ONCE(sc->state) != SCRIPT_AT_DATA) {
		ret = -EAGAIN;
	} else {
		if (req->data_len) {
			void *old = sc->out, *out = script_dup(data, req->data_len);

			sc->out_len = out ? req->data_len : 0;
			sc->out = out;
			kvfree(old);
		}
		sc->out_error = req->error;
		script_step_start(&sc->data_step, req->data_from, req->data_ms, SCST_CTX_TASK);
	}
	script_cmd_put(sc);
	return ret;
}

static int script_op_respond(const struct script_request *req)
{
	struct script_cmd *sc = script_cmd_find(req->id);
	int ret = 0;

	if (!sc)
		return -ENOENT;
	if (READ_ONCE(sc->state) == SCRIPT_AT_RESPONSE)
		script_step_start(&sc->response_step, req->response_from, req->response_ms, SCST_CTX_TASK);
	else
		ret = -EAGAIN;
	script_cmd_put(sc);
	return ret;
}

static int script_one_tmf(const struct script_request *req, struct script_session *ss, u64 id)
{
	struct script_tmf *st = script_zalloc(sizeof(*st), GFP_KERNEL);

	if (!st)
		return -ENOMEM;
	st->id = id;
	st->session = ss->number;
	st->quiet = req->flags & SCRIPT_QUIET;
	st->tmf.sess = ss->sess;
	st->tmf.fn = req->fn;
	st->tmf.lun = req->lun;
	st->tmf.tag = req->tag;
	script_count(SCRIPT_TMFS);
	if (req->submit_from == SCRIPT_BH)
		local_bh_disable();
	scst_tmf_submit(&st->tmf);
	if (req->submit_from == SCRIPT_BH)
		local_bh_enable();
	return 0;
}

static int script_op_tmf(const struct script_request *req)
{
	struct script_session *ss = script_session_get(req->session);
	int ret = 0;
	u32 i;

	if (IS_ERR(ss))
		return PTR_ERR(ss);
	for (i = 0; i < max(req->count, 1U) && !ret; i++) {
		ret = script_one_tmf(req, ss, req->id + i);
		cond_resched();
	}
	script_session_put(ss);
	return ret;
}

static void script_resume_all(void)
{
	struct script_target *st;

	mutex_lock(&script_mutex);
	list_for_each_entry(st, &script_targets, entry)
		scst_target_resume(&st->tgt);
	mutex_unlock(&script_mutex);
}

static int script_op_port_up(const char *name, size_t len)
{
	struct scst_port_info info = { .driver = &script_port_driver };
	struct script_port *port;
	int ret = 0;

	if (len > SCST_TARGET_NAME_LEN)
		return -EINVAL;
	port = script_zalloc(sizeof(*port), GFP_KERNEL);
	if (!port)
		return -ENOMEM;
	memcpy(port->name, name, len);
	info.name = port->name;
	info.data = port;
	/* enable() may come from within, so not under script_mutex; requests come one at a time. */
	port->port = scst_port_register(&info);
	if (IS_ERR(port->port)) {
		ret = PTR_ERR(port->port);
		kvfree(port);
		return ret;
	}
	list_add(&port->entry, &script_ports);
	return 0;
}

static int script_op_port_down(const char *name, size_t len)
{
	struct script_port *port, *next;

	list_for_each_entry_safe(port, next, &script_ports, entry) {
		if (strlen(port->name) != len || memcmp(port->name, name, len))
			continue;
		list_del(&port->entry);
		scst_port_unregister(port->port);
		kvfree(port);
		return 0;
	}
	return -ENOENT;
}

void script_ports_down(void)
{
	while (!list_empty(&script_ports)) {
		struct script_port *port = list_first_entry(&script_ports, struct script_port, entry);

		script_op_port_down(port->name, strlen(port->name));
	}
}

/* Everything that is held goes on by itself. */
void script_let_go(void)
{
	struct script_cmd *sc;
	unsigned long id;

	WRITE_ONCE(script_letting_go, true);
	xa_for_each(&script_cmds, id, sc) {
		sc = script_cmd_find(id);
		if (!sc)
			continue;
		script_deliver(sc, SCST_CTX_DEFER);
		script_sent(sc, SCST_CTX_TASK);
		script_cmd_put(sc);
	}
	script_resume_all();
}

int script_do(const struct script_request *req, void *data)
{
	switch (req->op) {
	case SCRIPT_LOGIN:
		return script_op_login(req, data);
	case SCRIPT_CLOSE:
		return script_op_close(req);
	case SCRIPT_SUBMIT:
		return script_op_submit(req, data);
	case SCRIPT_DATA:
		return script_op_data(req, data);
	case SCRIPT_RESPOND:
		return script_op_respond(req);
	case SCRIPT_TMF:
		return script_op_tmf(req);
	case SCRIPT_RESUME:
		script_resume_all();
		return 0;
	case SCRIPT_PORT_UP:
		return script_op_port_up(data, req->data_len);
	case SCRIPT_PORT_DOWN:
		return script_op_port_down(data, req->data_len);
	case SCRIPT_LET_GO:
		script_let_go();
		return 0;
	case SCRIPT_HOLD_AGAIN:
		WRITE_ONCE(script_letting_go, false);
		return 0;
	}
	return -EINVAL;
}
