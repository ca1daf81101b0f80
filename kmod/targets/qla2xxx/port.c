// SPDX-License-Identifier: GPL-2.0-only
/*
 * Ports: which there are, and what they are used for.
 *
 * The in-box driver has no list of its boards that others could read; the PCI bus tells which devices it is bound to, and when it
 * lets go of one.  A port must be idle by then: the in-box driver waits for its sessions and commands, which only we can end.
 *
 * The callbacks belong to a whole board, whose commands come through one queue, which works while the board's own port is a target.
 * So long its virtual ports are ports, too: they are claimed when it starts, or when they are made, and left before it ends.
 */
#include "qla.h"
#include <scsi/scsi_transport_fc.h>

/* A board's own port stands before its virtual ones. */
static LIST_HEAD(qla_ports);
/* Protects the list and who has which port; inside of the in-box driver's mutex of all targets. */
static DEFINE_SPINLOCK(qla_ports_lock);
/* A port is idle, free to be removed, or gone. */
static DECLARE_WAIT_QUEUE_HEAD(qla_change);
/* The in-box driver's work items in which logins end. */
struct workqueue_struct *qla_ends;

/* Of the ports that a key belongs to: the host, the board, its own port of a virtual one; of all for NULL. */
static struct qla_port *qla_newest(const void *key)
{
	struct qla_port *port;

	lockdep_assert_held(&qla_ports_lock);
	list_for_each_entry_reverse(port, &qla_ports, entry)
		if (!key || key == port->vha || key == &port->vha->hw->pdev->dev || key == port->base)
			return port;
	return NULL;
}

/* --- removal --------------------------------------------------------------------------------------------------------- */

/* The core knows a session's end a bit earlier than we. */
static void qla_wait_idle(struct qla_port *port)
{
	wait_event_idle(qla_change, !smp_load_acquire(&port->tgt));
	flush_work(&port->idle_work);
}

static void qla_port_remove(struct qla_port *port)
{
	struct scsi_qla_host *vha = port->vha;

	if (!IS_ERR(port->port))
		scst_port_unregister(port->port);
	qla_wait_idle(port);
	spin_lock(&qla_ports_lock);
	list_del(&port->entry);
	if (port->base)
		WRITE_ONCE(vha->vha_tgt.target_lport_ptr, NULL);
	spin_unlock(&qla_ports_lock);
	wake_up_all(&qla_change);
	if (port->base)
		scsi_host_put(vha->host);
	kfree(port);
}

/* Of several that want to remove a port one does.  True: it is the caller's, or there is none any more. */
static bool qla_take(const void *key, struct qla_port **taken)
{
	struct qla_port *port;
	bool mine;

	spin_lock(&qla_ports_lock);
	port = qla_newest(key);
	mine = !port || !port->handled;
	if (port)
		port->handled = true;
	spin_unlock(&qla_ports_lock);
	*taken = port;
	return mine;
}

/* Sleeps until nobody is logged in any more. */
static void qla_ports_remove(const void *key)
{
	struct qla_port *port;

	for (;;) {
		wait_event_idle(qla_change, qla_take(key, &port));
		if (!port)
			return;
		qla_port_remove(port);
	}
}

/* The in-box driver deletes a virtual port, whose sessions have ended. */
void qla_virtual_gone(struct scsi_qla_host *vha)
{
	qla_ports_remove(vha);
}

/* --- whose it is ----------------------------------------------------------------------------------------------------- */

/* Both are ours or nobody's. */
static bool qla_is_free(const struct scsi_qla_host *vha)
{
	const struct qla_tgt_func_tmpl *ops = vha->hw->tgt.tgt_ops;

	return !vha->vha_tgt.target_lport_ptr && (!ops || ops == &qla_ops);
}

/* The in-box driver's mutex of all targets is held. */
static int qla_attach(struct scsi_qla_host *vha, void *data, u64 npiv_wwpn, u64 npiv_wwnn)
{
	struct qla_port *port = data;
	int ret = -EBUSY;

	spin_lock(&qla_ports_lock);
	if (port->base && !port->base->serving) {
		ret = -ENODEV;
	} else if (qla_is_free(vha)) {
		vha->hw->tgt.tgt_ops = &qla_ops;
		WRITE_ONCE(vha->vha_tgt.target_lport_ptr, data);
		if (port->base)
			list_add_tail(&port->entry, &qla_ports);
		ret = 0;
	}
	spin_unlock(&qla_ports_lock);
	return ret;
}

static int qla_claim(struct qla_port *port)
{
	u64 wwpn = get_unaligned_be64(port->vha->port_name);

	return qla_is_free(port->vha) ? qlt_lport_register(port, wwpn, 0, 0, qla_attach) : -EBUSY;
}

/* Who deletes a virtual port stops it himself. */
static bool qla_is_going(const struct scsi_qla_host *vha)
{
	return READ_ONCE(dev_to_vport(vha->host->shost_gendev.parent)->flags) & FC_VPORT_DELETING;
}

/* Nothing comes any more and nobody is logged in. */
static void qla_idle_work(struct work_struct *work)
{
	struct qla_port *port = container_of(work, struct qla_port, idle_work);

	/* As long as the second phase has not come nobody else gets the port. */
	if (!port->base)
		qla_ports_remove(port);
	if (!port->base || !qla_is_going(port->vha))
		qlt_stop_phase2(port->vha->vha_tgt.qla_tgt);
	if (!port->base)
		qlt_lport_deregister(port->vha);
	cancel_delayed_work_sync(&port->resume_work);
	qla_cmds_free(port);
	smp_store_release(&port->tgt, NULL);
	wake_up_all(&qla_change);
}

/* Any context. */
void qla_port_unuse(struct qla_port *port)
{
	if (refcount_dec_and_test(&port->users))
		schedule_work(&port->idle_work);
}

/* --- attributes of the class port ---------------------------------------------------------------------------------- */

#define QLA_PORT_ATTR(_name, _format, ...)								\
static ssize_t _name##_show(struct device *cdev, struct device_attribute *da, char *page)		\
{													\
	const struct scsi_qla_host *vha = ((struct qla_port *)scst_port_data(cdev))->vha;		\
													\
	return sysfs_emit(page, _format "\n", __VA_ARGS__);						\
}													\
static DEVICE_ATTR_RO(_name)

static const char *qla_mode_name(u16 mode)
{
	static const char * const names[] = {
		[QLA2XXX_INI_MODE_EXCLUSIVE]	= "exclusive",
		[QLA2XXX_INI_MODE_DISABLED]	= "disabled",
		[QLA2XXX_INI_MODE_ENABLED]	= "enabled",
		[QLA2XXX_INI_MODE_DUAL]		= "dual",
	};

	return mode < ARRAY_SIZE(names) ? names[mode] : "unknown";
}

QLA_PORT_ATTR(model, "%s", vha->hw->model_number);
QLA_PORT_ATTR(firmware, "%u.%02u.%02u", vha->hw->fw_major_version, vha->hw->fw_minor_version, vha->hw->fw_subminor_version);
QLA_PORT_ATTR(qlini_mode, "%s", qla_mode_name(vha->qlini_mode));
/* Speed, link, and statistics are there: /sys/class/fc_host/NAME. */
QLA_PORT_ATTR(fc_host, "host%u", vha->host->host_no);

static struct attribute *qla_port_attrs[] = {
	&dev_attr_model.attr,
	&dev_attr_firmware.attr,
	&dev_attr_qlini_mode.attr,
	&dev_attr_fc_host.attr,
	NULL,
};
ATTRIBUTE_GROUPS(qla_port);

/* --- they come ------------------------------------------------------------------------------------------------------- */

/* Are these the structures we think they are?  Before anything is written to them. */
static bool qla_plausible(const struct device *dev, const struct scsi_qla_host *vha)
{
	return vha && vha->host && shost_priv(vha->host) == vha && vha->hw && &vha->hw->pdev->dev == dev &&
	       fc_host_port_name(vha->host) == get_unaligned_be64(vha->port_name);
}

/* @base: of a virtual port, its board's own. */
static struct qla_port *qla_port_alloc(struct device *dev, struct scsi_qla_host *vha, struct qla_port *base)
{
	struct qla_port *port;

	if (!qla_plausible(dev, vha)) {
		pr_err("%s: this is not the qla2xxx that the module was built for\n", dev_name(dev));
		return NULL;
	}
	port = kzalloc(sizeof(*port), GFP_KERNEL);
	if (!port)
		return NULL;
	port->vha = vha;
	port->base = base;
	port->handled = true;
	snprintf(port->name, sizeof(port->name), "%8phC", vha->port_name);
	INIT_WORK(&port->idle_work, qla_idle_work);
	INIT_DELAYED_WORK(&port->resume_work, qla_resume_work);
	spin_lock_init(&port->lock);
	hash_init(port->by_id);
	mutex_init(&port->sessions_lock);
	return port;
}

/* It is in the list; from here on it may be removed. */
static void qla_port_show(struct qla_port *port)
{
	struct scst_port_info info = {
		.driver = &qla_driver,
		.name	= port->name,
		.parent	= port->vha->host->shost_gendev.parent,
		.groups	= qla_port_groups,
		.data	= port,
	};

	port->port = scst_port_register(&info);
	if (IS_ERR(port->port))
		pr_err("%s: %ld\n", port->name, PTR_ERR(port->port));
	spin_lock(&qla_ports_lock);
	port->handled = false;
	spin_unlock(&qla_ports_lock);
	wake_up_all(&qla_change);
}

/* Nothing happens if somebody else has been faster. */
static void qla_virtual_add(struct qla_port *base, struct scsi_qla_host *vha)
{
	struct qla_port *port = qla_port_alloc(&base->vha->hw->pdev->dev, vha, base);

	/* The in-box driver walks it for each PLOGI, and makes it for a board's own port only. */
	if (port && !vha->unknown_atio_list.next)
		INIT_LIST_HEAD(&vha->unknown_atio_list);
	if (port && qla_claim(port))
		kfree(port);
	else if (port)
		qla_port_show(port);
}

/* One has been made on a board whose own port is a target. */
void qla_virtual_made(struct scsi_qla_host *vha)
{
	struct qla_port *base = qla_port_of(pci_get_drvdata(vha->hw->pdev));

	if (base && base->vha != vha)
		qla_virtual_add(base, vha);
}

static int qla_look_below(struct device *dev, void *base)
{
	struct scsi_qla_host *vha = scsi_is_host_device(dev) ? shost_priv(dev_to_shost(dev)) : NULL;

	if (!vha)
		return device_for_each_child(dev, base, qla_look_below);
	/* Else it is not complete yet, or not any more. */
	if (vha->vha_tgt.qla_tgt)
		qla_virtual_add(base, vha);
	return 0;
}

/* Also of a virtual port, which has none below.  From @serving on those that are made say so. */
static void qla_serve(struct qla_port *base, bool serving)
{
	spin_lock(&qla_ports_lock);
	base->serving = serving;
	spin_unlock(&qla_ports_lock);
	device_for_each_child(&base->vha->host->shost_gendev, base, qla_look_below);
}

/* --- in use ---------------------------------------------------------------------------------------------------------- */

static int qla_may_use(const struct qla_port *port)
{
	const struct scsi_qla_host *vha = port->vha;

	if (vha->vha_tgt.qla_tgt && vha->qlini_mode != QLA2XXX_INI_MODE_ENABLED)
		return 0;
	pr_warn("%s can't be a target: qla2xxx was loaded with qlini_mode=enabled; =exclusive or =dual is needed\n", port->name);
	return -EOPNOTSUPP;
}

int qla_enable(struct scst_target *tgt)
{
	struct qla_port *port = scst_target_port(tgt);
	struct pci_dev *pdev = port->vha->hw->pdev;
	int ret;

	qla_wait_idle(port);
	ret = qla_may_use(port) ?: qla_cmds_alloc(port);
	if (ret)
		return ret;
	port->tgt = tgt;
	refcount_set(&port->users, 1);
	ret = port->base ? 0 : qla_claim(port);
	if (ret) {
		if (ret == -EBUSY)
			pr_warn("%s is another target driver's\n", port->name);
		port->tgt = NULL;
		qla_cmds_free(port);
		return ret;
	}
	tgt->limits.max_segs = 256;
	tgt->limits.dma_mask = pdev->dma_mask;
	tgt->limits.node = dev_to_node(&pdev->dev);
	qla_serve(port, false);
	qlt_enable_vha(port->vha);
	qla_serve(port, true);
	return 0;
}

/*
 * Waits for a bounded time for logins to end, then resets the chip, and has no answer for those that are left: they end later, and
 * the last one lets go of the port.
 */
void qla_disable(struct scst_target *tgt)
{
	struct qla_port *port = scst_target_port(tgt);

	spin_lock(&qla_ports_lock);
	port->serving = false;
	spin_unlock(&qla_ports_lock);
	qlt_stop_phase1(port->vha->vha_tgt.qla_tgt);
	qla_port_unuse(port);
}

/* --- boards ---------------------------------------------------------------------------------------------------------- */

static bool qla_is_bound(const struct device *dev)
{
	return dev->driver && !strcmp(dev->driver->name, "qla2xxx");
}

static void qla_board_add(struct device *dev)
{
	struct qla_port *port = qla_port_alloc(dev, pci_get_drvdata(to_pci_dev(dev)), NULL);

	if (!port)
		return;
	spin_lock(&qla_ports_lock);
	list_add_tail(&port->entry, &qla_ports);
	spin_unlock(&qla_ports_lock);
	qla_port_show(port);
}

static int qla_bus_event(struct notifier_block *nb, unsigned long event, void *data)
{
	struct device *dev = data;

	if (!qla_is_bound(dev))
		return NOTIFY_DONE;
	if (event == BUS_NOTIFY_BOUND_DRIVER)
		qla_board_add(dev);
	else if (event == BUS_NOTIFY_UNBIND_DRIVER)
		qla_ports_remove(dev);
	return NOTIFY_DONE;
}

static struct notifier_block qla_notifier = { .notifier_call = qla_bus_event };

/* The device's lock keeps it from being bound or let go meanwhile.  Perhaps the bus has just told of it. */
static int qla_look(struct device *dev, void *unused)
{
	device_lock(dev);
	if (qla_is_bound(dev)) {
		qla_ports_remove(dev);
		qla_board_add(dev);
	}
	device_unlock(dev);
	return 0;
}

int qla_ports_init(void)
{
	int ret;

	/* As the queue that waits for its items. */
	qla_ends = alloc_workqueue("scst_qla2xxx", WQ_UNBOUND | WQ_MEM_RECLAIM, 0);
	if (!qla_ends)
		return -ENOMEM;
	ret = bus_register_notifier(&pci_bus_type, &qla_notifier);
	if (ret)
		destroy_workqueue(qla_ends);
	else
		bus_for_each_dev(&pci_bus_type, NULL, NULL, qla_look);
	return ret;
}

void qla_ports_exit(void)
{
	bus_unregister_notifier(&pci_bus_type, &qla_notifier);
	qla_ports_remove(NULL);
	destroy_workqueue(qla_ends);
}
