// SPDX-License-Identifier: GPL-2.0-only
/*
 * /dev/scst-iscsi: for who logs initiators in.  A program that opens it holds nothing: when it ends, nothing does with it but what it
 * has said of portals, at which nobody listens then, and of the iSNS server.
 *
 * Events are kept for each reader, the newest few; a reader that is too late learns how many it has missed, and looks at everything.
 */
#include "iscsi.h"
#include <linux/capability.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#define EVENTS		64	/* kept for a reader */
#define RESPONSE_MAX	(ISCSI_BHS + SZ_64K)

struct iscsi_reader {
	struct list_head entry;
	struct scst_iscsi_event events[EVENTS];
	u32 first;
	u32 nr;
	u32 lost;
	u64 number;
};

static LIST_HEAD(iscsi_readers);
static DEFINE_SPINLOCK(iscsi_readers_lock);
static DECLARE_WAIT_QUEUE_HEAD(iscsi_readers_wait);

/* --- events ------------------------------------------------------------------------------------- */

static struct scst_iscsi_event *iscsi_event_last(struct iscsi_reader *reader)
{
	return reader->nr ? &reader->events[(reader->first + reader->nr - 1) % EVENTS] : NULL;
}

/* Under the lock. */
static void iscsi_event_add(struct iscsi_reader *reader, const struct scst_iscsi_event *event)
{
	struct scst_iscsi_event *last = iscsi_event_last(reader);

	/* Whoever looks once sees it all. */
	if (last && event->type != SCST_ISCSI_EVENT_GONE && last->type == event->type)
		return;
	if (reader->nr == EVENTS) {
		reader->first = (reader->first + 1) % EVENTS;
		reader->nr--;
		reader->lost++;
	}
	reader->nr++;
	last = iscsi_event_last(reader);
	*last = *event;
	last->number = ++reader->number;
}

static void iscsi_event(const struct scst_iscsi_event *event)
{
	struct iscsi_reader *reader;
	unsigned long irq;

	spin_lock_irqsave(&iscsi_readers_lock, irq);
	list_for_each_entry(reader, &iscsi_readers, entry)
		iscsi_event_add(reader, event);
	spin_unlock_irqrestore(&iscsi_readers_lock, irq);
	wake_up_interruptible(&iscsi_readers_wait);
}

/* Something in the configuration is different.  Any context. */
void iscsi_config_changed(void)
{
	iscsi_event(&(struct scst_iscsi_event){ .size = sizeof(struct scst_iscsi_event), .type = SCST_ISCSI_EVENT_CONFIG });
}

void iscsi_event_gone(u16 tsih, enum scst_iscsi_reason reason)
{
	iscsi_event(&(struct scst_iscsi_event){
		.size = sizeof(struct scst_iscsi_event),
		.type = SCST_ISCSI_EVENT_GONE,
		.tsih = tsih,
		.reason = reason,
	});
}

/* A text waits.  Any context. */
void iscsi_event_text(u16 tsih)
{
	iscsi_event(&(struct scst_iscsi_event){
		.size = sizeof(struct scst_iscsi_event), .type = SCST_ISCSI_EVENT_TEXT, .tsih = tsih,
	});
}

static bool iscsi_event_take(struct iscsi_reader *reader, struct scst_iscsi_event *event)
{
	bool some;

	spin_lock_irq(&iscsi_readers_lock);
	some = reader->nr;
	if (some) {
		*event = reader->events[reader->first];
		event->lost = reader->lost;
		reader->lost = 0;
		reader->first = (reader->first + 1) % EVENTS;
		reader->nr--;
	}
	spin_unlock_irq(&iscsi_readers_lock);
	return some;
}

static ssize_t iscsi_device_read(struct file *file, char __user *buf, size_t size, loff_t *pos)
{
	struct iscsi_reader *reader = file->private_data;
	struct scst_iscsi_event event;
	size_t done = 0;
	int ret;

	if (size < sizeof(event))
		return -EINVAL;
	if (!READ_ONCE(reader->nr) && file->f_flags & O_NONBLOCK)
		return -EAGAIN;
	ret = wait_event_interruptible(iscsi_readers_wait, READ_ONCE(reader->nr));
	if (ret)
		return ret;
	while (size - done >= sizeof(event) && iscsi_event_take(reader, &event)) {
		if (copy_to_user(buf + done, &event, sizeof(event)))
			return -EFAULT;
		done += sizeof(event);
	}
	return done ?: -EAGAIN;
}

static __poll_t iscsi_device_poll(struct file *file, poll_table *wait)
{
	struct iscsi_reader *reader = file->private_data;

	poll_wait(file, &iscsi_readers_wait, wait);
	return READ_ONCE(reader->nr) ? EPOLLIN | EPOLLRDNORM : 0;
}

/* --- requests ----------------------------------------------------------------------------------- */

/* A structure whose first member is the caller's idea of its size. */
static int iscsi_copy_in(void *to, size_t size, const void __user *from, u32 *theirs)
{
	if (get_user(*theirs, (const u32 __user *)from))
		return -EFAULT;
	if (*theirs < sizeof(u32) || *theirs > PAGE_SIZE)
		return -EINVAL;
	return copy_struct_from_user(to, size, from, *theirs);
}

static int iscsi_copy_out(void __user *to, u32 theirs, const void *from, size_t size)
{
	return copy_to_user(to, from, min_t(size_t, theirs, size)) ? -EFAULT : 0;
}

static bool iscsi_is_text(const char *text, size_t size)
{
	return strnlen(text, size) < size;
}

static int iscsi_ioctl_adopt(void __user *arg)
{
	struct scst_iscsi_adopt adopt;
	u8 *response;
	u32 theirs;
	int ret = iscsi_copy_in(&adopt, sizeof(adopt), arg, &theirs);

	if (ret)
		return ret;
	if (!iscsi_is_text(adopt.target, sizeof(adopt.target)) || !iscsi_is_text(adopt.initiator, sizeof(adopt.initiator)) ||
	    !iscsi_is_text(adopt.portal, sizeof(adopt.portal)) || !adopt.initiator[0])
		return -EINVAL;
	if (adopt.response_len > RESPONSE_MAX)
		return -EMSGSIZE;
	response = memdup_user(u64_to_user_ptr(adopt.response), adopt.response_len);
	if (IS_ERR(response))
		return PTR_ERR(response);
	ret = iscsi_adopt(&adopt, response);
	if (ret) {
		kfree(response);
		return ret;
	}
	/* The session is there whether the caller learns its number or not. */
	iscsi_copy_out(arg, theirs, &adopt, sizeof(adopt));
	return 0;
}

static int iscsi_ioctl_drop(void __user *arg)
{
	struct scst_iscsi_drop drop;
	u32 theirs;
	int ret = iscsi_copy_in(&drop, sizeof(drop), arg, &theirs);

	return ret ?: iscsi_drop(&drop);
}

static int iscsi_ioctl_secret(void __user *arg)
{
	struct scst_iscsi_secret secret;
	u32 theirs;
	int ret = iscsi_copy_in(&secret, sizeof(secret), arg, &theirs);

	if (ret)
		return ret;
	if (!iscsi_is_text(secret.target, sizeof(secret.target)) || !iscsi_is_text(secret.user, sizeof(secret.user)))
		return -EINVAL;
	ret = iscsi_secret_get(secret.target, secret.user, secret.secret, &secret.len);
	if (!ret)
		ret = iscsi_copy_out(arg, theirs, &secret, sizeof(secret));
	memzero_explicit(&secret, sizeof(secret));
	return ret;
}

static int iscsi_ioctl_portal(const struct iscsi_reader *reader, void __user *arg)
{
	struct scst_iscsi_portal_state portal;
	u32 theirs;
	int ret = iscsi_copy_in(&portal, sizeof(portal), arg, &theirs);

	if (ret)
		return ret;
	if (!iscsi_is_text(portal.portal, sizeof(portal.portal)) || !iscsi_is_text(portal.state, sizeof(portal.state)))
		return -EINVAL;
	return iscsi_portal_set_state(portal.portal, portal.state, reader);
}

static int iscsi_ioctl_isns(const struct iscsi_reader *reader, void __user *arg)
{
	struct scst_iscsi_isns_state isns;
	u32 theirs;
	int ret = iscsi_copy_in(&isns, sizeof(isns), arg, &theirs);

	if (ret)
		return ret;
	if (!iscsi_is_text(isns.state, sizeof(isns.state)))
		return -EINVAL;
	return iscsi_isns_set_state(isns.state, reader);
}

static int iscsi_ioctl_text(void __user *arg)
{
	struct scst_iscsi_text text;
	u32 theirs;
	u8 *data;
	int ret = iscsi_copy_in(&text, sizeof(text), arg, &theirs);

	if (ret)
		return ret;
	data = kmalloc(SCST_ISCSI_TEXT_SIZE, GFP_KERNEL);
	if (!data)
		return -ENOMEM;
	text.len = min_t(u32, text.len, SCST_ISCSI_TEXT_SIZE);
	ret = iscsi_texts_next(&text, data);
	if (!ret && copy_to_user(u64_to_user_ptr(text.data), data, text.len))
		ret = -EFAULT;
	kfree(data);
	return ret ?: iscsi_copy_out(arg, theirs, &text, sizeof(text));
}

static int iscsi_ioctl_text_answer(void __user *arg)
{
	struct scst_iscsi_text_answer answer;
	u32 theirs;
	u8 *data;
	int ret = iscsi_copy_in(&answer, sizeof(answer), arg, &theirs);

	if (ret)
		return ret;
	if (answer.flags & ~(SCST_ISCSI_TEXT_FINAL | SCST_ISCSI_TEXT_CONTINUE) || !answer.number || answer.reserved || answer.reserved2 ||
	    (answer.max_xmit && (answer.max_xmit < 512 || answer.max_xmit > 0xffffff)))
		return -EINVAL;
	if (answer.len > SCST_ISCSI_TEXT_SIZE)
		return -EMSGSIZE;
	data = memdup_user(u64_to_user_ptr(answer.data), answer.len);
	if (IS_ERR(data))
		return PTR_ERR(data);
	ret = iscsi_texts_answer(&answer, data);
	kfree(data);
	return ret;
}

static long iscsi_device_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	void __user *user = (void __user *)arg;

	switch (cmd) {
	case SCST_ISCSI_ADOPT:
		return iscsi_ioctl_adopt(user);
	case SCST_ISCSI_SECRET:
		return iscsi_ioctl_secret(user);
	case SCST_ISCSI_PORTAL:
		return iscsi_ioctl_portal(file->private_data, user);
	case SCST_ISCSI_DROP:
		return iscsi_ioctl_drop(user);
	case SCST_ISCSI_TEXT:
		return iscsi_ioctl_text(user);
	case SCST_ISCSI_TEXT_ANSWER:
		return iscsi_ioctl_text_answer(user);
	case SCST_ISCSI_ISNS:
		return iscsi_ioctl_isns(file->private_data, user);
	default:
		return -ENOTTY;
	}
}

/* --- the file ------------------------------------------------------------------------------------ */

static int iscsi_device_open(struct inode *inode, struct file *file)
{
	struct iscsi_reader *reader;

	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	reader = kzalloc(sizeof(*reader), GFP_KERNEL);
	if (!reader)
		return -ENOMEM;
	iscsi_event_add(reader, &(struct scst_iscsi_event){ .size = sizeof(struct scst_iscsi_event), .type = SCST_ISCSI_EVENT_CONFIG });
	file->private_data = reader;
	spin_lock_irq(&iscsi_readers_lock);
	list_add_tail(&reader->entry, &iscsi_readers);
	spin_unlock_irq(&iscsi_readers_lock);
	return nonseekable_open(inode, file);
}

static int iscsi_device_release(struct inode *inode, struct file *file)
{
	struct iscsi_reader *reader = file->private_data;

	spin_lock_irq(&iscsi_readers_lock);
	list_del(&reader->entry);
	spin_unlock_irq(&iscsi_readers_lock);
	iscsi_portal_forget(reader);
	iscsi_isns_forget(reader);
	kfree(reader);
	return 0;
}

static const struct file_operations iscsi_device_fops = {
	.owner		= THIS_MODULE,
	.open		= iscsi_device_open,
	.release	= iscsi_device_release,
	.read		= iscsi_device_read,
	.poll		= iscsi_device_poll,
	.unlocked_ioctl	= iscsi_device_ioctl,
};

static struct miscdevice iscsi_device = {
	.minor	= MISC_DYNAMIC_MINOR,
	.name	= "scst-iscsi",
	.mode	= 0600,
	.fops	= &iscsi_device_fops,
};

int iscsi_device_init(void)
{
	return misc_register(&iscsi_device);
}

void iscsi_device_exit(void)
{
	misc_deregister(&iscsi_device);
}
