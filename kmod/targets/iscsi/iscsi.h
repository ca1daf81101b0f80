/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files of scst_iscsi.ko share.
 *
 * A session is one connection (RFC 7143 clause 4.4.1 allows more, the login agrees to one) and one object: struct iscsi_conn.
 * What is done for it is done under its socket's spinlock, with bottom halves off, where nobody owns the socket: in the
 * socket's callback, where a command ends, or in a work item: iscsi_run() and what it calls.  Whoever is elsewhere leaves
 * what he has in conn->inbox.  The socket's lock is never waited for with the lock of another connection, or in a hard interrupt:
 * then the work item does it.
 *
 * Files: pdu (what is on the wire; pure), conn (the socket, and who may touch it), rx (what comes), cmd (commands and their data), room
 * (memory for data that comes too early), task (other requests), text (those that are answered in user space), tx (what goes), session
 * (from login to logout), device (/dev/scst-iscsi), show (sysfs).
 */
#ifndef SCST_ISCSI_H
#define SCST_ISCSI_H

#define pr_fmt(fmt) "scst_iscsi: " fmt

#include <linux/completion.h>
#include <linux/hash.h>
#include <linux/list.h>
#include <linux/llist.h>
#include <linux/net.h>
#include <linux/scatterlist.h>
#include <linux/workqueue.h>
#include <net/tcp.h>
#include "compat.h"
#include "config.h"
#include "pdu.h"
#include "scst_target.h"
#include "uapi/scst_iscsi.h"

#define ISCSI_DEPTH_MAX		1024	/* commands of a session */
#define ISCSI_IMMEDIATES	16	/* immediate commands that an initiator may have open */
#define ISCSI_EXTRA		32	/* requests that wait for nobody: answers to pings, rejects, what the target says by itself */
#define ISCSI_SMALL		SZ_8K	/* bytes that are rather copied than sent by reference */
#define ISCSI_PAYLOAD		(2 + SCST_SENSE_SIZE)
#define ISCSI_HASH		64

static_assert(ISCSI_BHS + ISCSI_AHS_MAX <= PAGE_SIZE);	/* a rejected header */
static_assert(ISCSI_BHS <= ISCSI_PAYLOAD);
static_assert(ISCSI_TEXT_MAX == SCST_ISCSI_TEXT_SIZE);

struct iscsi_conn;

/* What has to be done for a request, under the socket's lock. */
enum iscsi_due {
	ISCSI_DUE_DATA,		/* its command wants its data: receive_data() */
	ISCSI_DUE_ANSWER,	/* an answer is there: send_response(), tmf_done() */
};

enum iscsi_kind {
	ISCSI_KIND_COMMAND,
	ISCSI_KIND_TMF,
	ISCSI_KIND_PLAIN,	/* its answer is ready as it is */
	ISCSI_KIND_HOLE,	/* a CmdSN that will not come any more */
};

/**
 * struct iscsi_req - a request of the initiator, or what the target says by itself
 * @cmd: a command, for the core
 * @tmf: a task management function, for the core
 * @conn: its connection
 * @due: enum iscsi_due, where it is in conn->inbox
 * @inbox: conn->inbox
 * @free: conn->freed
 * @tx: conn->tx, where it has something to send
 * @hash: conn->tasks, from its arrival until its answer
 * @early: conn->early: its turn has not come
 * @kind: enum iscsi_kind
 * @windowed: it takes a place in the window
 * @immediate: it is an immediate command, and one of so many
 * @function: ... task management function
 * @hashed: it is in conn->tasks
 * @ready: the core has asked for its data
 * @answered: there is an answer
 * @held: ... which goes when the data that is on its way has come: @tx is in conn->held
 * @spoilt: an errno: some of its data was damaged on the way, or broke a rule
 * @last: the connection is to be closed when its answer is out
 * @index: of it in conn->reqs
 * @generation: of its target transfer tags: how often it was used
 * @cmd_sn: its CmdSN
 * @out: data-out
 * @sg: where the next data-out goes, once @ready
 * @sg_at: bytes of that entry that are in use
 * @pages: data that came before anybody wanted it
 * @paged: bytes in them
 * @sent: bytes of data-in that have been put in PDUs
 * @data_sn: number of Data-In and R2T PDUs
 * @cdb: of a command
 * @payload_len: bytes of @payload that go with it
 * @payload: data segment of the answer: sense data (cmd->sense is behind its length)
 * @head: of the request; of ISCSI_KIND_PLAIN: of the answer, but for its numbers
 */
struct iscsi_req {
	union {
		struct scst_cmd cmd;
		struct scst_tmf tmf;
	} __aligned(SCST_CMD_LINE);
	struct iscsi_conn *conn;
	struct llist_node inbox;
	struct llist_node free;
	struct list_head tx;
	struct hlist_node hash;
	struct list_head early;
	struct list_head pages;
	u16 index;
	u16 generation;
	u8 due;
	/* From here to @end a use begins with zeroes. */
	struct_group(fresh,
		u8 kind;
		bool windowed;
		bool immediate;
		bool function;
		bool hashed;
		bool ready;
		bool answered;
		bool held;
		bool last;
		u8 payload_len;
		int spoilt;
		u32 cmd_sn;
		struct iscsi_out out;
		struct scatterlist *sg;
		u32 sg_at;
		u32 paged;
		u32 sent;
		u32 data_sn;
	);
	u8 cdb[ISCSI_CDB_MAX];
	u8 payload[ISCSI_PAYLOAD];
	u8 head[ISCSI_BHS];
};

/* What is being sent: pieces of memory, a few PDUs at a time. */
#define ISCSI_PDUS	8
#define ISCSI_PIECES	64
#define ISCSI_PIECES_MIN	4	/* of a PDU: header, tail, and room for some data between them */

#define ISCSI_ECHO_MAX	((ISCSI_PIECES - ISCSI_PIECES_MIN) * PAGE_SIZE)	/* bytes of a ping that go back */

#define ISCSI_HEAD_PAGES	4
#define ISCSI_TAIL_MAX		(3 + ISCSI_DIGEST)
#define ISCSI_HEAD_ROOM		(ISCSI_BHS + ISCSI_DIGEST + ISCSI_TAIL_MAX)

/**
 * struct iscsi_heads - memory for headers that are sent by reference
 * @page: filled one after the other; each is used again when nobody but us has it any more
 * @now: the one that is being filled
 * @at: bytes of it that are in use
 */
struct iscsi_heads {
	struct page *page[ISCSI_HEAD_PAGES];
	u32 now;
	u32 at;
};

/**
 * struct iscsi_tx - PDUs on their way into the socket
 * @nr: pieces
 * @at: the first that is not all out
 * @pdus: PDUs
 * @over: of them, that are out
 * @pdu: of each: header and digest, padding and digest, which are in @space if they are copied; up to which piece it goes; its request, if
 *	that is over with it
 * @promised: the request whose PDU comes next for certain: the socket waits for it with what it has
 * @by_reference: bit n: piece n is sent so
 * @piece: in order; the first that is not all out is what is left of it
 * @bvec: the same, of those by reference, as the socket takes them
 */
struct iscsi_tx {
	u16 nr;
	u16 at;
	u16 pdus;
	u16 over;
	struct iscsi_tx_pdu {
		u8 *head;
		u8 space[ISCSI_HEAD_ROOM];
		u16 end;
		struct iscsi_req *req;
	} pdu[ISCSI_PDUS];
	const struct iscsi_req *promised;
	u64 by_reference;
	struct kvec piece[ISCSI_PIECES];
	struct bio_vec bvec[ISCSI_PIECES];
};

static_assert(ISCSI_PIECES <= BITS_PER_TYPE(u64));
static_assert(ISCSI_TEXT_MAX <= ISCSI_ECHO_MAX);

/* conn->state, any context. */
enum iscsi_conn_bit {
	ISCSI_CONN_LIVE,	/* what comes is looked at */
	ISCSI_CONN_OVER,	/* nothing is received or sent any more */
	ISCSI_CONN_PEER_GONE,	/* while it is not live: the peer has closed */
	ISCSI_CONN_STARVED,	/* there was no request, or no memory: nothing is received until there is */
	ISCSI_CONN_NEWS,	/* its LUNs have changed */
	ISCSI_CONN_NO_ROOM,	/* there is no room for data that nobody wants yet: see room.c */
};

/**
 * struct iscsi_conn - a session and its connection
 * @socket: the connection, whose file is held
 * @state: enum iscsi_conn_bit
 * @inbox: requests for which something is due
 * @freed: requests that are free
 * @work: iscsi_run() in process context
 * @frame: what is being received
 * @rx: the request it is about; NULL: what comes is dropped
 * @taken: bytes that were taken, and are in the socket's queue until what is sent at the end is out
 * @tx: requests that have something to send
 * @out: what is being sent
 * @heads: headers that the socket may still have
 * @early: commands that wait for those before them, by CmdSN
 * @held: commands whose answer waits for the data that is on its way
 * @tasks: requests by Initiator Task Tag
 * @reqs: the requests that were ever needed; they come one by one
 * @nr_reqs: how many
 *
 * All from @frame on is used under the socket's lock only.
 */
struct iscsi_conn {
	struct socket *socket;
	struct scst_session *sess;
	struct iscsi_target *target;
	unsigned long state;
	struct llist_head inbox;
	struct llist_head freed;
	struct work_struct work;
	void (*data_ready)(struct sock *sk);
	void (*write_space)(struct sock *sk);
	void (*state_change)(struct sock *sk);

	struct iscsi_frame frame;
	struct iscsi_req *rx;
	u32 taken;
	u32 crc;
	u32 stat_sn;
	u32 exp_cmd_sn;
	u32 depth;
	u32 windowed;		/* requests in the window */
	u32 immediates;		/* open, that are not: commands */
	u32 functions;		/* ... task management functions */
	u32 max_xmit;
	u32 ping;		/* target transfer tag of the last NOP-In */
	struct iscsi_req *text;	/* waits for an answer: see text.c */
	unsigned long text_since;
	u64 text_number;	/* 0: none waits; read at any time */
	struct iscsi_rules rules;
	struct iscsi_bursts bursts;
	struct list_head tx_list;
	struct iscsi_tx tx;
	struct iscsi_heads heads;
	struct list_head early;
	struct list_head held;
	struct hlist_head tasks[ISCSI_HASH];
	struct iscsi_req **reqs;
	u32 nr_reqs;
	struct llist_node *spare;	/* requests that were taken from @freed */
	unsigned long heard;	/* jiffies: when something came */
	unsigned long moved;	/* ... when something went, or arrived, or there was nothing to send */
	u32 acked;		/* what had arrived at the last look, as a sequence number of TCP's */
	unsigned long early_since;
	bool pinged;

	/* Counters, under the socket's lock. */
	u64 pdus_in;
	u64 rx_until;		/* so many, until others get a chance */
	u64 pdus_out;
	u64 header_digest_errors;
	u64 data_digest_errors;
	u64 rejects;
	u64 window_full;
	u64 stale;		/* Data-Out that was too late */
	u64 memory_full;	/* how often it was not read for want of room */

	struct delayed_work room;
	unsigned long room_since;	/* jiffies: since when there is none */
	unsigned long room_lacked;	/* ... when that was found last */
	u32 kept;		/* bytes of memory for data that nobody wanted yet */
	bool no_room;

	struct delayed_work tick;
	u32 nop_interval;	/* seconds */
	u32 nop_timeout;
	u32 send_timeout;
	struct delayed_work drop;	/* it was asked to log out */

	/* Under iscsi_conns_lock. */
	struct list_head entry;
	u64 came;		/* the how manieth login it is */
	struct kref kref;
	struct completion gone;
	struct work_struct end_work;
	struct rcu_work free_work;
	atomic_t reason;	/* enum scst_iscsi_reason */
	u16 tsih;
	u16 cid;
	u8 isid[6];
	u8 protocol_level;
	char portal[SCST_ISCSI_PORTAL_NAME];
	u8 *login;		/* the answer to it */
};

static inline struct iscsi_req *iscsi_req_of(struct scst_cmd *cmd)
{
	return container_of(cmd, struct iscsi_req, cmd);
}

static inline bool iscsi_over(const struct iscsi_conn *conn)
{
	return test_bit(ISCSI_CONN_OVER, &conn->state);
}

static inline u32 iscsi_itt(const struct iscsi_req *req)
{
	return get_unaligned_be32(req->head + ISCSI_AT_ITT);
}

static inline void iscsi_assert_locked(const struct iscsi_conn *conn)
{
	lockdep_assert_held(&conn->socket->sk->sk_lock.slock);
}

/* --- requests, under the socket's lock --------------------------------------------------------- */

static inline struct hlist_head *iscsi_bucket(struct iscsi_conn *conn, u32 itt)
{
	return &conn->tasks[hash_32(itt, ilog2(ISCSI_HASH))];
}

static inline void iscsi_req_hash(struct iscsi_req *req)
{
	hlist_add_head(&req->hash, iscsi_bucket(req->conn, iscsi_itt(req)));
	req->hashed = true;
}

/* It has an answer: its tag is the initiator's again. */
static inline void iscsi_req_unhash(struct iscsi_req *req)
{
	if (req->hashed)
		hlist_del(&req->hash);
	req->hashed = false;
}

static inline struct iscsi_req *iscsi_req_find(struct iscsi_conn *conn, u32 itt)
{
	struct iscsi_req *req;

	hlist_for_each_entry(req, iscsi_bucket(conn, itt), hash)
		if (iscsi_itt(req) == itt)
			return req;
	return NULL;
}

/* It is answered, or needs no answer: its place is another's. */
static inline void iscsi_req_leave(struct iscsi_req *req)
{
	req->conn->windowed -= req->windowed;
	req->conn->immediates -= req->immediate;
	req->conn->functions -= req->function;
	req->windowed = false;
	req->immediate = false;
	req->function = false;
}

/* Immediate functions of a session: one for each command that there may be. */
static inline u32 iscsi_functions_max(u32 depth)
{
	return depth + ISCSI_IMMEDIATES;
}

/* Requests of a session.  Commands and functions may wait for a back end, and are never all of them: what waits for nobody has its place. */
static inline u32 iscsi_reqs_max(u32 depth)
{
	return depth + ISCSI_IMMEDIATES + iscsi_functions_max(depth) + ISCSI_EXTRA;
}

/* The request has something to send. */
static inline void iscsi_tx_queue(struct iscsi_req *req)
{
	iscsi_assert_locked(req->conn);
	if (list_empty(&req->tx))
		list_add_tail(&req->tx, &req->conn->tx_list);
}

extern struct workqueue_struct *iscsi_wq;

/* conn.c */
int iscsi_socket_claim(struct iscsi_conn *conn, int fd);
void iscsi_socket_open(struct iscsi_conn *conn);
void iscsi_socket_close(struct iscsi_conn *conn, bool at_once);
void iscsi_socket_give_back(struct iscsi_conn *conn);
void iscsi_conn_lock(struct iscsi_conn *conn);
void iscsi_conn_unlock(struct iscsi_conn *conn);
int iscsi_conn_cpu(const struct iscsi_conn *conn);
void iscsi_run_later(struct iscsi_conn *conn);
bool iscsi_running(const struct iscsi_conn *conn);
void iscsi_due(struct iscsi_req *req, enum iscsi_due due);

/* rx.c */
bool iscsi_rx(struct iscsi_conn *conn);
void iscsi_rx_done(struct iscsi_conn *conn);
bool iscsi_early_hole(struct iscsi_conn *conn, struct iscsi_req *req, u32 sn);
u32 iscsi_crc(u32 crc, const void *data, u32 len);
#define ISCSI_CRC_START		(~0u)
void iscsi_crc_put(u32 crc, u8 *wire);

/* cmd.c */
void iscsi_command(struct iscsi_req *req, bool now);
int iscsi_data_out(struct iscsi_conn *conn);
void iscsi_command_submit(struct iscsi_req *req);
void iscsi_command_data(struct iscsi_req *req, const u8 *head);
void iscsi_command_due(struct iscsi_req *req, enum iscsi_due due);
void iscsi_command_answer(struct iscsi_req *req);
int iscsi_receive_data(struct scst_cmd *cmd);
int iscsi_send_response(struct scst_cmd *cmd);
void iscsi_release(struct scst_cmd *cmd);
void iscsi_abort(struct scst_cmd *cmd);

/* task.c */
void iscsi_answer(struct iscsi_req *req);
void iscsi_head_make(struct iscsi_req *req, u8 opcode, u32 itt);
void iscsi_request_begin(struct iscsi_req *req);
void iscsi_request_drop(struct iscsi_req *req);
int iscsi_reject(struct iscsi_conn *conn, u8 reason);
void iscsi_tmf_done(struct scst_tmf *tmf);
void iscsi_tmf_answer(struct iscsi_req *req);
void iscsi_ping(struct iscsi_conn *conn);
void iscsi_ask_for_logout(struct iscsi_conn *conn, u16 seconds);
void iscsi_tell_luns(struct iscsi_conn *conn);

/* room.c */
int iscsi_room_init(void);
void iscsi_room_exit(void);
void iscsi_room_prepare(struct iscsi_conn *conn);
void iscsi_room_charge(struct iscsi_conn *conn, long bytes);
bool iscsi_room(void);
int iscsi_room_lacks(struct iscsi_conn *conn);

/* text.c */
void iscsi_text(struct iscsi_req *req);
void iscsi_text_tick(struct iscsi_conn *conn);
int iscsi_text_get(struct iscsi_conn *conn, struct scst_iscsi_text *text, u8 *data);
int iscsi_text_answer(struct iscsi_conn *conn, const struct scst_iscsi_text_answer *answer, const u8 *data);

/* req.c */
int iscsi_reqs_init(void);
void iscsi_reqs_exit(void);
struct iscsi_req *iscsi_req_get(struct iscsi_conn *conn);
void iscsi_req_free(struct iscsi_req *req);
struct iscsi_req *iscsi_req_by_tag(struct iscsi_conn *conn, u32 tag, bool *stale);
u32 iscsi_req_tag(const struct iscsi_req *req);
int iscsi_req_page(struct iscsi_req *req, u32 at, void **where, u32 *room);
void iscsi_req_unpage(struct iscsi_req *req);
void iscsi_reqs_free(struct iscsi_conn *conn);

/* tx.c */
void iscsi_tx(struct iscsi_conn *conn);
void iscsi_tx_drop(struct iscsi_conn *conn);
void iscsi_heads_init(struct iscsi_heads *heads);
void iscsi_heads_free(struct iscsi_heads *heads);

/* session.c */
int iscsi_adopt(struct scst_iscsi_adopt *adopt, u8 *response);
int iscsi_drop(const struct scst_iscsi_drop *drop);
int iscsi_texts_next(struct scst_iscsi_text *text, u8 *data);
int iscsi_texts_answer(const struct scst_iscsi_text_answer *answer, const u8 *data);
void iscsi_conn_end(struct iscsi_conn *conn, enum scst_iscsi_reason reason);
void iscsi_session_gone(struct scst_session *sess);
void iscsi_luns_changed(struct scst_session *sess);
int iscsi_target_init(struct scst_target *tgt);
void iscsi_target_free(struct scst_target *tgt);
void iscsi_target_reset(struct iscsi_target *target);
int iscsi_enable(struct scst_target *tgt);
void iscsi_disable(struct scst_target *tgt);
extern const struct attribute_group *iscsi_session_groups[];

/* device.c */
int iscsi_device_init(void);
void iscsi_device_exit(void);
void iscsi_event_gone(u16 tsih, enum scst_iscsi_reason reason);
void iscsi_event_text(u16 tsih);

#endif /* SCST_ISCSI_H */
