// SPDX-License-Identifier: GPL-2.0-only
/*
 * The two tables: ours for the core, ours for the in-box driver; and whether that is the one we were built for.
 */
#include "qla.h"
#include <linux/fs.h>
#include <linux/module.h>

#define QLA_BUILD_ID_NOTE	"/sys/module/qla2xxx/notes/.note.gnu.build-id"
#define QLA_NOTE_MAX		128

/* No T10 protection information yet: tags of it are asked for by nobody. */
const struct qla_tgt_func_tmpl qla_ops = {
	.find_cmd_by_tag		= qla_find_cmd_by_tag,
	.handle_cmd			= qla_handle_cmd,
	.handle_data			= qla_handle_data,
	.handle_tmr			= qla_handle_tmr,
	.get_cmd			= qla_get_cmd,
	.rel_cmd			= qla_rel_cmd,
	.free_cmd			= qla_free_cmd,
	.free_mcmd			= qlt_free_mcmd,
	.free_session			= qla_session_free,
	.check_initiator_node_acl	= qla_login,
	.update_sess			= qla_session_moved,
	.find_sess_by_loop_id		= qla_session_by_loop_id,
	.find_sess_by_s_id		= qla_session_by_id,
	.clear_nacl_from_fcport_map	= qla_session_hide,
	.put_sess			= qla_session_put,
	.shutdown_sess			= qla_session_shutdown,
	.add_target			= qla_virtual_made,
	.remove_target			= qla_virtual_gone,
#ifdef QLA_HAS_qla_tgt_func_tmpl_get_cmd_ref
	.get_cmd_ref			= qla_get_cmd_ref,
	.put_cmd_ref			= qla_put_cmd_ref,
#endif
};

/* A target is called as the port is: 21:00:.., lower case. */
static int qla_target_init(struct scst_target *tgt)
{
	const char *name = tgt->name;
	int i;

	for (i = 0; i < QLA_NAME_LEN - 1; i++)
		if (i % 3 == 2 ? name[i] != ':' : !isxdigit(name[i]) || isupper(name[i]))
			break;
	if (i == QLA_NAME_LEN - 1 && !name[i])
		return 0;
	pr_warn("target %s: a port's name is needed, as in 21:00:00:1b:32:0a:0b:0c, in lower case\n", name);
	return -EINVAL;
}

const struct scst_target_driver qla_driver = {
	.owner		= THIS_MODULE,
	.name		= "qla2xxx",
	.protocol	= SCST_PROTOCOL_FCP,
	.needs_port	= true,
	.target_size	= sizeof(struct scst_target),
	.init		= qla_target_init,
	.enable		= qla_enable,
	.disable	= qla_disable,
	.receive_data	= qla_receive_data,
	.send_response	= qla_send_response,
	.release	= qla_release,
	.abort		= qla_abort,
	.tmf_done	= qla_tmf_done,
	.session_gone	= qla_session_gone,
};

/*
 * The layout of its structures was read from one build of qla2xxx.  Kernels with CONFIG_MODVERSIONS would have refused us;
 * others have nothing but this.
 */
static int qla_check_build(void)
{
	static const u8 id[] = QLA_BUILD_ID;
	struct file *file = filp_open(QLA_BUILD_ID_NOTE, O_RDONLY, 0);
	u8 note[QLA_NOTE_MAX];
	ssize_t len;
	loff_t pos = 0;

	len = PTR_ERR_OR_ZERO(file);
	if (!len) {
		len = kernel_read(file, note, sizeof(note), &pos);
		filp_close(file, NULL);
	}
	/* The note's end; its head is three words and "GNU". */
	if (len >= (ssize_t)sizeof(id) && !memcmp(note + len - sizeof(id), id, sizeof(id)))
		return 0;
	pr_err("the qla2xxx that is loaded is not the one this module was built for (%s: %zd): build it again\n",
	       QLA_BUILD_ID_NOTE, len);
	return -ENOEXEC;
}

static int __init qla_module_init(void)
{
	int ret = qla_check_build() ?: scst_target_driver_register(&qla_driver);

	if (ret)
		return ret;
	ret = qla_ports_init();
	if (ret)
		scst_target_driver_unregister(&qla_driver);
	return ret;
}

static void __exit qla_module_exit(void)
{
	qla_ports_exit();
	scst_target_driver_unregister(&qla_driver);
}

module_init(qla_module_init);
module_exit(qla_module_exit);
MODULE_DESCRIPTION("SCSI target on QLogic Fibre Channel ports, beside the in-box driver");
MODULE_LICENSE("GPL");
