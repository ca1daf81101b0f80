/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * /dev/scst-iscsi: who logs initiators in hands their connections over here.
 *
 * A structure begins with the caller's idea of its size.  What a shorter one lacks is 0; a longer one must be 0 behind what the
 * kernel knows (E2BIG), and only what the caller has room for is written back.  Texts end with a NUL.
 */
#ifndef _UAPI_SCST_ISCSI_H
#define _UAPI_SCST_ISCSI_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define SCST_ISCSI_NAME		224	/* RFC 7143 4.2.7.1: 223 bytes, and the NUL */
#define SCST_ISCSI_PORTAL_NAME	64
#define SCST_ISCSI_STATE	128
#define SCST_ISCSI_SECRET_MAX	64
#define SCST_ISCSI_TEXT_SIZE	8192	/* bytes of a Text Request, and of an answer, at most */

/**
 * struct scst_iscsi_adopt - a connection whose login is over but for the last answer
 * @size: of this structure
 * @fd: its socket; remains the caller's, who may close it
 * @target: name of the target: its folder in targets/iscsi/
 * @initiator: iSCSI name of the initiator
 * @portal: name of the portal it came by; shown
 * @isid: of the initiator port
 * @cid: connection id
 * @stat_sn: StatSN of the final Login Response
 * @exp_cmd_sn: CmdSN of the first command to come
 * @max_xmit: the initiator's MaxRecvDataSegmentLength, bytes
 * @max_recv: the target's
 * @max_burst: MaxBurstLength, bytes
 * @first_burst: FirstBurstLength, bytes
 * @max_outstanding_r2t: MaxOutstandingR2T
 * @queue_depth: commands that the session may have in flight
 * @nop_interval: seconds of silence before the initiator is asked for a sign of life; 0: never; this and the next two: 65535 at most
 * @nop_timeout: seconds it has to give one; 0: for ever
 * @send_timeout: seconds it may take nothing of what is sent; 0: for ever
 * @wait_ms: milliseconds that the end of an older session of the same initiator port may take
 * @initial_r2t: InitialR2T is Yes
 * @immediate_data: ImmediateData is Yes
 * @header_digest: HeaderDigest is CRC32C
 * @data_digest: DataDigest is CRC32C
 * @protocol_level: iSCSIProtocolLevel
 * @reserved: 0
 * @response: address of the final Login Response: header, data, padding
 * @response_len: bytes
 * @tsih: out: the session's
 * @reserved2: 0
 *
 * The kernel fills StatSN, ExpCmdSN, MaxCmdSN and, of a new session, TSIH into the response, sends it and receives from then on.
 */
struct scst_iscsi_adopt {
	__u32 size;
	__s32 fd;
	char target[SCST_ISCSI_NAME];
	char initiator[SCST_ISCSI_NAME];
	char portal[SCST_ISCSI_PORTAL_NAME];
	__u8 isid[6];
	__u16 cid;
	__u32 stat_sn;
	__u32 exp_cmd_sn;
	__u32 max_xmit;
	__u32 max_recv;
	__u32 max_burst;
	__u32 first_burst;
	__u32 max_outstanding_r2t;
	__u32 queue_depth;
	__u32 nop_interval;
	__u32 nop_timeout;
	__u32 send_timeout;
	__u32 wait_ms;
	__u8 initial_r2t;
	__u8 immediate_data;
	__u8 header_digest;
	__u8 data_digest;
	__u8 protocol_level;
	__u8 reserved[3];
	__u64 response;
	__u32 response_len;
	__u16 tsih;
	__u16 reserved2;
};

/**
 * struct scst_iscsi_secret - what a user proves himself with
 * @size: of this structure
 * @target: the target, or nothing: a user of discovery
 * @user: his name
 * @secret: out
 * @len: out: bytes
 */
struct scst_iscsi_secret {
	__u32 size;
	char target[SCST_ISCSI_NAME];
	char user[SCST_ISCSI_NAME];
	__u8 secret[SCST_ISCSI_SECRET_MAX];
	__u32 len;
};

/**
 * struct scst_iscsi_portal_state - what the attribute `state` of a portal shows
 * @size: of this structure
 * @portal: name of the portal
 * @state: one line
 */
struct scst_iscsi_portal_state {
	__u32 size;
	char portal[SCST_ISCSI_PORTAL_NAME];
	char state[SCST_ISCSI_STATE];
};

/**
 * struct scst_iscsi_isns_state - what the attribute `isns_state` of drivers/iscsi shows
 * @size: of this structure
 * @state: one line
 */
struct scst_iscsi_isns_state {
	__u32 size;
	char state[SCST_ISCSI_STATE];
};

enum scst_iscsi_drop_how {
	SCST_ISCSI_DROP_NOW,	/* the connection is reset */
	SCST_ISCSI_DROP_ASK,	/* the initiator is asked to log out (Async Message 1), and dropped if it does not in @seconds */
};

/**
 * struct scst_iscsi_drop - end a session
 * @size: of this structure
 * @how: enum scst_iscsi_drop_how
 * @tsih: the session
 * @seconds: it has
 */
struct scst_iscsi_drop {
	__u32 size;
	__u32 how;
	__u16 tsih;
	__u16 seconds;
};

#define SCST_ISCSI_TEXT_FINAL		0x80	/* F */
#define SCST_ISCSI_TEXT_CONTINUE	0x40	/* C */

/**
 * struct scst_iscsi_text - a Text Request of a session, which waits for an answer
 * @size: of this structure
 * @tsih: out: the session
 * @flags: out: SCST_ISCSI_TEXT_*
 * @reserved: 0
 * @number: in: that of the last one the caller has seen, 0: none; out: of this one, which came later
 * @data: address of memory for the text
 * @len: in: bytes there, SCST_ISCSI_TEXT_SIZE is always enough; out: bytes of the text
 * @tag: out: Initiator Task Tag
 * @transfer_tag: out: Target Transfer Tag
 * @max_xmit: out: bytes that the initiator takes in a PDU
 *
 * A session has one at a time, which waits until it is answered, or rejected for want of an answer (reason 0Ah) after ten seconds; it
 * may be fetched as often as one likes, by whom one likes.  A program that begins to read events asks once by itself.  ENOENT: none
 * waits behind @number.
 */
struct scst_iscsi_text {
	__u32 size;
	__u16 tsih;
	__u8 flags;
	__u8 reserved;
	__u64 number;
	__u64 data;
	__u32 len;
	__u32 tag;
	__u32 transfer_tag;
	__u32 max_xmit;
};

/**
 * struct scst_iscsi_text_answer - the answer to a Text Request
 * @size: of this structure
 * @flags: SCST_ISCSI_TEXT_*; FINAL only if the request had it, and not with CONTINUE
 * @reject: 0, or why it is rejected (RFC 7143 11.17.1); then nothing of what follows matters
 * @reserved: 0
 * @number: of the text
 * @data: address of the answer
 * @len: bytes of it, not more than fit into a PDU
 * @transfer_tag: Target Transfer Tag: ffffffffh if and only if FINAL is set
 * @max_xmit: bytes that the initiator takes in a PDU from now on; 0: as before
 * @reserved2: 0
 *
 * ESTALE: the text does not wait any more.  EINVAL: that would be no answer to it.
 */
struct scst_iscsi_text_answer {
	__u32 size;
	__u8 flags;
	__u8 reject;
	__u16 reserved;
	__u64 number;
	__u64 data;
	__u32 len;
	__u32 transfer_tag;
	__u32 max_xmit;
	__u32 reserved2;
};

enum scst_iscsi_event_type {
	SCST_ISCSI_EVENT_CONFIG = 1,	/* something is different in drivers/iscsi or targets/iscsi; the first a reader gets */
	SCST_ISCSI_EVENT_GONE,		/* a session's connection is over */
	SCST_ISCSI_EVENT_TEXT,		/* a text waits, or several: SCST_ISCSI_TEXT */
};

enum scst_iscsi_reason {
	SCST_ISCSI_REASON_NONE,
	SCST_ISCSI_REASON_LOGOUT,	/* the initiator has logged out */
	SCST_ISCSI_REASON_PEER,		/* ... or closed or reset the connection */
	SCST_ISCSI_REASON_REINSTATED,	/* ... or logged in anew */
	SCST_ISCSI_REASON_PROTOCOL,	/* a protocol error of the initiator */
	SCST_ISCSI_REASON_DIGEST,	/* a header digest is wrong */
	SCST_ISCSI_REASON_SILENT,	/* no sign of life */
	SCST_ISCSI_REASON_STUCK,	/* it takes nothing of what is sent */
	SCST_ISCSI_REASON_DISABLED,	/* the target is not enabled any more */
	SCST_ISCSI_REASON_DROPPED,	/* dropped by the administrator */
	SCST_ISCSI_REASON_RESET,	/* TARGET COLD RESET */
	SCST_ISCSI_REASON_MEMORY,	/* there was none */
	SCST_ISCSI_REASONS,
};

/**
 * struct scst_iscsi_event - what read(2) returns, one or more, whole ones only
 * @size: of this structure
 * @type: enum scst_iscsi_event_type
 * @number: counts events of this reader
 * @tsih: GONE: the session; TEXT: one of the sessions
 * @reason: GONE: enum scst_iscsi_reason
 * @lost: events before this one that the reader was too late for
 */
struct scst_iscsi_event {
	__u32 size;
	__u32 type;
	__u64 number;
	__u16 tsih;
	__u16 reason;
	__u32 lost;
};

#define SCST_ISCSI_ADOPT	_IOWR('I', 0x40, struct scst_iscsi_adopt)
#define SCST_ISCSI_SECRET	_IOWR('I', 0x41, struct scst_iscsi_secret)
#define SCST_ISCSI_PORTAL	_IOW('I', 0x42, struct scst_iscsi_portal_state)
#define SCST_ISCSI_DROP		_IOW('I', 0x43, struct scst_iscsi_drop)
#define SCST_ISCSI_TEXT		_IOWR('I', 0x44, struct scst_iscsi_text)
#define SCST_ISCSI_TEXT_ANSWER	_IOW('I', 0x45, struct scst_iscsi_text_answer)
#define SCST_ISCSI_ISNS		_IOW('I', 0x46, struct scst_iscsi_isns_state)

#endif /* _UAPI_SCST_ISCSI_H */
