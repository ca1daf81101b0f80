/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What goes through /dev/scst_script.  tests/vm/guest/script.py has the same layouts.
 *
 * A write() is one request with its data behind it.  A read() gives as many whole events as fit, each with its data behind it.
 */
#ifndef SCST_SCRIPT_WIRE_H
#define SCST_SCRIPT_WIRE_H

#include <linux/types.h>

enum script_op {
	SCRIPT_LOGIN,		/* @session; data: "target\0initiator" */
	SCRIPT_CLOSE,		/* @session */
	SCRIPT_SUBMIT,		/* a command: everything but @fn; data: its data-out */
	SCRIPT_DATA,		/* @id waits for its data: here it is, from @data_from with @error */
	SCRIPT_RESPOND,		/* @id has responded: the response is out, from @response_from */
	SCRIPT_TMF,		/* @session, @fn, @lun, @tag; @count of them, @id and up; from @submit_from */
	SCRIPT_RESUME,		/* all targets: from @submit_from */
	SCRIPT_PORT_UP,		/* data: name */
	SCRIPT_PORT_DOWN,	/* data: name */
	SCRIPT_LET_GO,		/* whatever is held goes on; nothing is held from now on */
	SCRIPT_HOLD_AGAIN,	/* the end of that */
};

/* Where a call is made from. */
enum script_from {
	SCRIPT_HERE,		/* in the callback, or in write(): process context */
	SCRIPT_TASK,		/* a thread */
	SCRIPT_BH,		/* process context without softirqs */
	SCRIPT_SOFTIRQ,		/* a timer */
	SCRIPT_IRQ,		/* hard interrupt */
	SCRIPT_LOCKED,		/* process context with a spinlock held and interrupts off */
};

/* What becomes of data that the core waits for, or of a response. */
enum script_mode {
	SCRIPT_GO,		/* on, after so many milliseconds */
	SCRIPT_HOLD,		/* until told, come what may */
	SCRIPT_NEVER,		/* lost: only abort() ends it */
};

enum script_flag {
	SCRIPT_KEEP_DATA	= 1 << 0,	/* data-in comes with the event */
	SCRIPT_QUIET		= 1 << 1,	/* no events but the answer of a command, none of a TMF */
	SCRIPT_NO_WAIT		= 1 << 2,	/* write() does not wait until scst_cmd_submit() has returned */
	SCRIPT_OWN_MEMORY	= 1 << 3,	/* SCST_DATA_DRIVER */
	SCRIPT_NO_RESUME	= 1 << 4,	/* nobody resumes after -EAGAIN but SCRIPT_RESUME */
};

struct script_request {
	__u32 op;
	__u32 session;
	__u64 id;
	__u64 tag;
	__u32 lun;
	__u32 expected_len;
	__u32 data_len;
	__u32 count;
	__u32 fn;
	__s32 error;		/* of scst_data_received() */
	__u16 data_again;	/* so many times -EAGAIN first */
	__u16 response_again;
	__u16 data_ms;
	__u16 response_ms;
	__u8 cdb_len;
	__u8 dir;
	__u8 attr;
	__u8 priority;
	__u8 submit_from;
	__u8 data_mode;
	__u8 data_from;
	__u8 response_mode;
	__u8 response_from;
	__u8 flags;
	__u8 pad[6];
	__u8 cdb[32];
};

enum script_kind {
	SCRIPT_WANTS_DATA,	/* receive_data() */
	SCRIPT_AGAIN,		/* either said -EAGAIN */
	SCRIPT_RESPONDED,	/* send_response() */
	SCRIPT_RELEASED,	/* release() */
	SCRIPT_ABORT,		/* abort() */
	SCRIPT_TMF_DONE,	/* tmf_done() */
	SCRIPT_GONE,		/* session_gone() */
	SCRIPT_LUNS_CHANGED,	/* luns_changed() */
};

enum script_event_flag {
	SCRIPT_ABORTED		= 1 << 0,
	SCRIPT_FOREIGN		= 1 << 1,
};

struct script_event {
	__u32 size;		/* with its data */
	__u32 kind;
	__u64 seq;
	__u64 ns;		/* monotonic */
	__u64 id;
	__s64 residual;
	__u32 session;
	__u32 len;
	__u32 xfer_len;
	__u32 data_len;		/* bytes in the core's memory */
	__u32 value;		/* TMF: response */
	__u8 status;
	__u8 sense_len;
	__u8 flags;
	__u8 owner;
	__u8 where;		/* 0 process context, 1 softirq, 2 hard interrupt */
	__u8 pad[7];
	__u8 sense[96];
};

#endif /* SCST_SCRIPT_WIRE_H */
