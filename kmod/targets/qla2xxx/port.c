// SPDX-License-Identifier: GPL-2.0-only
/*
 * Ports: which there are, and what they are used for.
 *
 * The in-box driver has no list of its boards that others could read; the PCI bus tells which devices it is bound to, and when it
 * lets go of one.  A port must be idle by then: the in-box driver waits for its sessions and commands, which only we can end.
 */
#define pr_fmt(fmt) "scst_qla2xxx: " fmt

#include "qla.h"
#include <scsi/scsi_transport_fc.h>

#define QLA_INBOX_NAME	"qla2xxx"

static LIST_HEAD(qla_ports);
static DEFINE_MUTEX(qla_ports_lock);

/* --- in use ---------------------------------------------------------------------------------------------------- */

/* The in-box driver's mutex of all targets is held. */
static int qla_attach(struct scsi_qla_host *vha, void *data, u64 npiv_wwpn, u64 npiv_wwnn)
{
	const struct qla_tgt_func_tmpl *ops = vha->hw->tgt.tgt_ops;

	if (vha->vha_tgt.target_lport_ptr || (ops && ops != &qla_ops))
		return -EBUSY;
	vha->hw->tgt.tgt_ops = &qla_ops;
	WRITE_ONCE(vha->vha_tgt.target_lport_ptr, data);
	return 0;
}

/* Nothing comes any more and nobody is logged in. */
static void qla_idle_work(struct work_struct *work)
{
	struct qla_port *port = container_of(work, struct qla_port, idle_work);

	qlt_stop_phase2(port->vha->vha_tgt.qla_tgt);
	qlt_lport_deregister(port->vha);
	cancel_delayed_work_sync(&port->resume_work);
	qla_cmds_free(port);
	port->tgt = NULL;
}

/* Any context. */
void qla_port_unuse(struct qla_port *port)
{
	if (refcount_dec_and_test(&port->users))
		schedule_work(&port->idle_work);
}

static struct qla_port *qla_port_find(const char *name)
{
	struct qla_port *port;

	lockdep_assert_held(&qla_ports_lock);
	list_for_each_entry(port, &qla_ports, entry)
		if (!strcmp(port->name, name))
			return port;
	return NULL;
}

static u64 qla_wwpn(const struct qla_port *port)
{
	return get_unaligned_be64(port->vha->port_name);
}

static void qla_limits(struct scst_target *tgt, const struct qla_port *port)
{
	struct pci_dev *pdev = port->vha->hw->pdev;

	tgt->limits.max_segs = 256;
	tgt->limits.dma_mask = pdev->dma_mask;
	tgt->limits.node = dev_to_node(&pdev->dev);
}

static int qla_port_use(struct qla_port *port, struct scst_target *tgt)
{
	int ret;

	if (!port->vha->vha_tgt.qla_tgt || port->vha->qlini_mode == QLA2XXX_INI_MODE_ENABLED) {
		pr_warn("%s can't be a target: qla2xxx was loaded with qlini_mode=enabled\n", port->name);
		return -EOPNOTSUPP;
	}
	/* It may still be on its way out of the last use. */
	flush_work(&port->idle_work);
	ret = qla_cmds_alloc(port);
	if (ret)
		return ret;
	port->tgt = tgt;
	refcount_set(&port->users, 1);
	ret = qlt_lport_register(port, qla_wwpn(port), 0, 0, qla_attach);
	if (ret) {
		if (ret == -EBUSY)
			pr_warn("%s is another target driver's\n", port->name);
		port->tgt = NULL;
		qla_cmds_free(port);
		return ret;
	}
	qla_limits(tgt, port);
	qlt_enable_vha(port->vha);
	return 0;
}

/* The core holds the port of this name for the target. */
int qla_enable(struct scst_target *tgt)
{
	struct qla_port *port;

	mutex_lock(&qla_ports_lock);
	port = qla_port_find(tgt->name);
	mutex_unlock(&qla_ports_lock);
	return port ? qla_port_use(port, tgt) : -ENODEV;
}

/*
 * Waits for a bounded time for logins to end, then resets the chip, and has no answer for those that are left: they end later, and
 * the last one lets go of the port.
 */
void qla_disable(struct scst_target *tgt)
{
	struct qla_port *port;

	mutex_lock(&qla_ports_lock);
	port = qla_port_find(tgt->name);
	mutex_unlock(&qla_ports_lock);
	qlt_stop_phase1(port->vha->vha_tgt.qla_tgt);
	qla_port_unuse(port);
}

/* --- attributes of the class port ---------------------------------------------------------------------------------- */

static struct scsi_qla_host *qla_vha_of(struct device *classdev)
{
	return ((struct qla_port *)scst_port_data(classdev))->vha;
}

static ssize_t model_show(struct device *cdev, struct device_attribute *da, char *page)
{
	return sysfs_emit(page, "%s\n", qla_vha_of(cdev)->hw->model_number);
}
static DEVICE_ATTR_RO(model);

static ssize_t firmware_show(struct device *cdev, struct device_attribute *da, char *page)
{
	const struct qla_hw_data *hw = qla_vha_of(cdev)->hw;

	return sysfs_emit(page, "%u.%02u.%02u\n", hw->fw_major_version, hw->fw_minor_version, hw->fw_subminor_version);
}
static DEVICE_ATTR_RO(firmware);

static ssize_t qlini_mode_show(struct device *cdev, struct device_attribute *da, char *page)
{
	static const char * const names[] = {
		[QLA2XXX_INI_MODE_EXCLUSIVE]	= "exclusive",
		[QLA2XXX_INI_MODE_DISABLED]	= "disabled",
		[QLA2XXX_INI_MODE_ENABLED]	= "enabled",
		[QLA2XXX_INI_MODE_DUAL]		= "dual",
	};
	u16 mode = qla_vha_of(cdev)->qlini_mode;

	return sysfs_emit(page, "%s\n", mode < ARRAY_SIZE(names) ? names[mode] : "unknown");
}
static DEVICE_ATTR_RO(qlini_mode);

/* Speed, link, and statistics are there: /sys/class/fc_host/NAME. */
static ssize_t fc_host_show(struct device *cdev, struct device_attribute *da, char *page)
{
	return sysfs_emit(page, "host%u\n", qla_vha_of(cdev)->host->host_no);
}
static DEVICE_ATTR_RO(fc_host);

static struct attribute *qla_port_attrs[] = {
	&dev_attr_model.attr,
	&dev_attr_firmware.attr,
	&dev_attr_qlini_mode.attr,
	&dev_attr_fc_host.attr,
	NULL,
};
ATTRIBUTE_GROUPS(qla_port);

/* --- they come and go ------------------------------------------------------------------------------------------------ */

/* Are these the structures we think they are?  Before anything is written to them. */
static bool qla_plausible(const struct device *dev, const struct scsi_qla_host *vha)
{
	return vha && vha->host && shost_priv(vha->host) == vha && vha->hw && &vha->hw->pdev->dev == dev &&
	       fc_host_port_name(vha->host) == get_unaligned_be64(vha->port_name);
}

static struct qla_port *qla_port_alloc(struct scsi_qla_host *vha)
{
	struct qla_port *port = kzalloc(sizeof(*port), GFP_KERNEL);

	if (!port)
		return NULL;
	port->vha = vha;
	snprintf(port->name, sizeof(port->name), "%8phC", vha->port_name);
	INIT_WORK(&port->idle_work, qla_idle_work);
	INIT_DELAYED_WORK(&port->resume_work, qla_resume_work);
	spin_lock_init(&port->lock);
	hash_init(port->by_id);
	hash_init(port->by_loop);
	INIT_LIST_HEAD(&port->sessions);
	mutex_init(&port->sessions_lock);
	return port;
}

static void qla_port_add(struct device *dev, struct scsi_qla_host *vha)
{
	struct scst_port_info info = { .driver = &qla_driver, .parent = dev, .groups = qla_port_groups };
	struct qla_port *port;

	if (!qla_plausible(dev, vha)) {
		pr_err("%s: this is not the qla2xxx that the module was built for\n", dev_name(dev));
		return;
	}
	port = qla_port_alloc(vha);
	if (!port)
		return;
	mutex_lock(&qla_ports_lock);
	list_add_tail(&port->entry, &qla_ports);
	mutex_unlock(&qla_ports_lock);
	info.name = port->name;
	info.data = port;
	port->port = scst_port_register(&info);
	if (IS_ERR(port->port)) {
		pr_err("%s: %s: %ld\n", dev_name(dev), port->name, PTR_ERR(port->port));
		mutex_lock(&qla_ports_lock);
		list_del(&port->entry);
		mutex_unlock(&qla_ports_lock);
		kfree(port);
	}
}

/* Sleeps until nobody is logged in any more. */
static void qla_port_remove(struct qla_port *port)
{
	scst_port_unregister(port->port);
	flush_work(&port->idle_work);
	mutex_lock(&qla_ports_lock);
	list_del(&port->entry);
	mutex_unlock(&qla_ports_lock);
	kfree(port);
}

/* One of a PCI function's ports, or NULL; any for NULL. */
static struct qla_port *qla_port_on(const struct device *dev)
{
	struct qla_port *port, *found = NULL;

	mutex_lock(&qla_ports_lock);
	list_for_each_entry(port, &qla_ports, entry)
		if (!dev || &port->vha->hw->pdev->dev == dev)
			found = port;
	mutex_unlock(&qla_ports_lock);
	return found;
}

static void qla_ports_remove(const struct device *dev)
{
	struct qla_port *port;

	while ((port = qla_port_on(dev)))
		qla_port_remove(port);
}

static bool qla_is_bound(const struct device *dev)
{
	return dev->driver && !strcmp(dev->driver->name, QLA_INBOX_NAME);
}

static int qla_bus_event(struct notifier_block *nb, unsigned long event, void *data)
{
	struct device *dev = data;

	if (!qla_is_bound(dev))
		return NOTIFY_DONE;
	if (event == BUS_NOTIFY_BOUND_DRIVER)
		qla_port_add(dev, pci_get_drvdata(to_pci_dev(dev)));
	else if (event == BUS_NOTIFY_UNBIND_DRIVER)
		qla_ports_remove(dev);
	return NOTIFY_DONE;
}

static struct notifier_block qla_notifier = { .notifier_call = qla_bus_event };

/* The device's lock keeps it from being bound or let go meanwhile. */
static int qla_look(struct device *dev, void *unused)
{
	device_lock(dev);
	if (qla_is_bound(dev) && !qla_port_on(dev))
		qla_port_add(dev, pci_get_drvdata(to_pci_dev(dev)));
	device_unlock(dev);
	return 0;
}

int qla_ports_init(void)
{
	int ret = bus_register_notifier(&pci_bus_type, &qla_notifier);

	if (!ret)
		bus_for_each_dev(&pci_bus_type, NULL, NULL, qla_look);
	return ret;
}

void qla_ports_exit(void)
{
	bus_unregister_notifier(&pci_bus_type, &qla_notifier);
	qla_ports_remove(NULL);
}
