// SPDX-License-Identifier: GPL-2.0-only
/*
 * /sys/class/scst/session.N/iscsi: what a session has agreed to, where it comes from, and what has happened to it.  Removed before the
 * session is gone.
 */
#include "iscsi.h"
#include <linux/device.h>
#include <net/ipv6.h>

static struct iscsi_conn *iscsi_conn_of(struct device *dev)
{
	const struct scst_session *sess = dev_get_drvdata(dev);

	return sess->driver_data;
}

#define ISCSI_SHOW(attr, fmt, value)								\
static ssize_t attr##_show(struct device *dev, struct device_attribute *da, char *page)	\
{												\
	const struct iscsi_conn *conn = iscsi_conn_of(dev);					\
												\
	return sysfs_emit(page, fmt "\n", value);						\
}												\
static DEVICE_ATTR_RO(attr)

ISCSI_SHOW(tsih, "%u", conn->tsih);
ISCSI_SHOW(cid, "%u", conn->cid);
ISCSI_SHOW(isid, "0x%6phN", conn->isid);
ISCSI_SHOW(portal, "%s", conn->portal);
ISCSI_SHOW(header_digest, "%d", conn->frame.header_digest);
ISCSI_SHOW(data_digest, "%d", conn->frame.data_digest);
ISCSI_SHOW(max_xmit, "%u", conn->max_xmit);
ISCSI_SHOW(max_recv, "%u", conn->rules.max_recv);
ISCSI_SHOW(max_burst, "%u", conn->bursts.max);
ISCSI_SHOW(first_burst, "%u", conn->rules.first_burst);
ISCSI_SHOW(initial_r2t, "%d", conn->rules.initial_r2t);
ISCSI_SHOW(immediate_data, "%d", conn->rules.immediate_data);
ISCSI_SHOW(max_outstanding_r2t, "%u", conn->bursts.open);
ISCSI_SHOW(protocol_level, "%u", conn->protocol_level);
ISCSI_SHOW(queue_depth, "%u", conn->depth);
ISCSI_SHOW(in_window, "%u", READ_ONCE(conn->windowed));
ISCSI_SHOW(idle, "%u", jiffies_to_msecs(jiffies - READ_ONCE(conn->heard)));
ISCSI_SHOW(pdus_in, "%llu", READ_ONCE(conn->pdus_in));
ISCSI_SHOW(pdus_out, "%llu", READ_ONCE(conn->pdus_out));
ISCSI_SHOW(header_digest_errors, "%llu", READ_ONCE(conn->header_digest_errors));
ISCSI_SHOW(data_digest_errors, "%llu", READ_ONCE(conn->data_digest_errors));
ISCSI_SHOW(rejects, "%llu", READ_ONCE(conn->rejects));
ISCSI_SHOW(window_full, "%llu", READ_ONCE(conn->window_full));
ISCSI_SHOW(stale_data, "%llu", READ_ONCE(conn->stale));
ISCSI_SHOW(memory_full, "%llu", READ_ONCE(conn->memory_full));
ISCSI_SHOW(early_data, "%u", READ_ONCE(conn->kept));

static ssize_t iscsi_address_show(struct device *dev, char *page, bool peer)
{
	const struct iscsi_conn *conn = iscsi_conn_of(dev);
	const struct sock *sk = conn->socket->sk;
	u16 port = peer ? ntohs(sk->sk_dport) : sk->sk_num;

	if (sk->sk_family == AF_INET)
		return sysfs_emit(page, "%pI4:%u\n", peer ? &sk->sk_daddr : &sk->sk_rcv_saddr, port);
#if IS_ENABLED(CONFIG_IPV6)
	return sysfs_emit(page, "[%pI6c]:%u\n", peer ? &sk->sk_v6_daddr : &sk->sk_v6_rcv_saddr, port);
#else
	return sysfs_emit(page, "\n");
#endif
}

static ssize_t local_show(struct device *dev, struct device_attribute *da, char *page)
{
	return iscsi_address_show(dev, page, false);
}
static DEVICE_ATTR_RO(local);

static ssize_t peer_show(struct device *dev, struct device_attribute *da, char *page)
{
	return iscsi_address_show(dev, page, true);
}
static DEVICE_ATTR_RO(peer);

static struct attribute *iscsi_session_attrs[] = {
	&dev_attr_tsih.attr,
	&dev_attr_cid.attr,
	&dev_attr_isid.attr,
	&dev_attr_portal.attr,
	&dev_attr_local.attr,
	&dev_attr_peer.attr,
	&dev_attr_header_digest.attr,
	&dev_attr_data_digest.attr,
	&dev_attr_max_xmit.attr,
	&dev_attr_max_recv.attr,
	&dev_attr_max_burst.attr,
	&dev_attr_first_burst.attr,
	&dev_attr_initial_r2t.attr,
	&dev_attr_immediate_data.attr,
	&dev_attr_max_outstanding_r2t.attr,
	&dev_attr_protocol_level.attr,
	&dev_attr_queue_depth.attr,
	&dev_attr_in_window.attr,
	&dev_attr_idle.attr,
	&dev_attr_pdus_in.attr,
	&dev_attr_pdus_out.attr,
	&dev_attr_header_digest_errors.attr,
	&dev_attr_data_digest_errors.attr,
	&dev_attr_rejects.attr,
	&dev_attr_window_full.attr,
	&dev_attr_stale_data.attr,
	&dev_attr_memory_full.attr,
	&dev_attr_early_data.attr,
	NULL,
};

static const struct attribute_group iscsi_session_group = {
	.name	= "iscsi",
	.attrs	= iscsi_session_attrs,
};

const struct attribute_group *iscsi_session_groups[] = { &iscsi_session_group, NULL };
