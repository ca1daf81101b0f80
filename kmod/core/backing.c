// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a device's backing is known by, what the next one has to be, and what is open.
 *
 * Names of disks and files are given to others as time goes by.  What makes a disk the one that is meant is for the
 * tool to find out, and for the administrator to say; that is `facts`, which nobody here reads.  The core only sees to
 * it that a device that has facts opens nothing but what was proven against them: `expect`.  Both name one object
 * of this boot, so what is compared is what has really been opened, and there is no time in between.
 */
#include "core.h"
#include <linux/cred.h>
#include <linux/ctype.h>
#include <linux/file.h>
#include <linux/fs.h>

/**
 * scst_parse_text() - a text that may be anything printable
 * @page: what was written
 * @count: its length; one newline at the end is not part of it
 * @max: most bytes, up to SCST_TEXT_MAX
 *
 * Return: a copy, which kfree() frees, NULL for an empty text, or an ERR_PTR(): -ENAMETOOLONG, -EINVAL for control
 * characters, -ENOMEM.
 */
char *scst_parse_text(const char *page, size_t count, size_t max)
{
	size_t len = count && page[count - 1] == '\n' ? count - 1 : count, i;

	if (len > max)
		return ERR_PTR(-ENAMETOOLONG);
	for (i = 0; i < len; i++)
		if (iscntrl(page[i]))
			return ERR_PTR(-EINVAL);
	if (!len)
		return NULL;
	return kstrndup(page, len, GFP_KERNEL) ?: ERR_PTR(-ENOMEM);
}

/* Settable at any time: what is open stays so. */
int scst_device_set_text(struct scst_device *dev, char **where, const char *page, size_t count, size_t max)
{
	char *text = scst_parse_text(page, count, max);
	int ret;

	if (IS_ERR(text))
		return PTR_ERR(text);
	ret = mutex_lock_killable(&dev->settings_lock);
	if (!ret) {
		swap(*where, text);
		mutex_unlock(&dev->settings_lock);
	}
	kfree(text);
	return ret;
}

void scst_device_free_texts(struct scst_device *dev)
{
	kfree(dev->facts);
	kfree(dev->elsewhere);
	kfree(dev->expect);
	kfree(dev->pr_file);
}

/* Is it @words, or do these words begin it? */
static bool scst_expected(const struct scst_device *dev, const char *words, bool whole)
{
	size_t len = strlen(words);

	if (!dev->facts)
		return true;
	if (!dev->expect || strncmp(dev->expect, words, len))
		return false;
	return !dev->expect[len] || (!whole && dev->expect[len] == ' ');
}

/* Under settings_lock. */
static int scst_judge(const struct scst_device *dev, const char *words, bool whole)
{
	if (scst_expected(dev, words, whole))
		return 0;
	pr_warn("device %s: at its path is %s, expected is %s%s; not opened\n", dev->name, words,
		dev->expect ?: "nothing", dev->expect ? "" : ", since nothing was proven by its facts");
	return -ESTALE;
}

/**
 * scst_device_expects() - may this be opened?
 * @dev: a device that is being opened
 * @words: what is known of what was found before it is open: the first words of what scst_device_found() will say
 *
 * Called by open() of handlers with SCST_HANDLER_FACTS, for opening alone may disturb others.  May sleep.
 *
 * Return: 0, or -ESTALE, which the kernel log was told.
 */
int scst_device_expects(struct scst_device *dev, const char *words)
{
	int ret;

	mutex_lock(&dev->settings_lock);
	ret = scst_judge(dev, words, false);
	mutex_unlock(&dev->settings_lock);
	return ret;
}
EXPORT_SYMBOL_GPL(scst_device_expects);

/**
 * scst_device_found() - is what has been opened what is expected?
 * @dev: a device that is being opened
 * @words: what it is, up to SCST_BACKING_LEN bytes: the same for the same object, others for any other one of this
 *	boot; `backing` shows them
 *
 * Called by open() of handlers with SCST_HANDLER_FACTS as soon as something is open and before anything is done with
 * it.  May sleep.
 *
 * Return: 0, or -ESTALE, which the kernel log was told.
 */
int scst_device_found(struct scst_device *dev, const char *words)
{
	int ret;

	mutex_lock(&dev->settings_lock);
	ret = scst_judge(dev, words, true);
	if (!ret)
		strscpy(dev->backing, words, sizeof(dev->backing));
	mutex_unlock(&dev->settings_lock);
	return ret;
}
EXPORT_SYMBOL_GPL(scst_device_found);

/* It is closed, or was not opened after all. */
void scst_device_forget_backing(struct scst_device *dev)
{
	mutex_lock(&dev->settings_lock);
	dev->backing[0] = '\0';
	mutex_unlock(&dev->settings_lock);
}

/**
 * scst_file_keep_name() - make the name of a file stable
 * @file: open, and stable itself; no directory
 *
 * For a file that has been made, or may have been: not all file systems see to its name with its data.  As who opened it, may sleep.
 *
 * Return: 0, also where a directory can't be made stable, for it need not be; or a negative errno.
 */
int scst_file_keep_name(const struct file *file)
{
	struct path path = { .mnt = file->f_path.mnt, .dentry = dget_parent(file->f_path.dentry) };
	struct file *folder = dentry_open(&path, O_RDONLY | O_DIRECTORY, current_cred());
	int ret;

	dput(path.dentry);
	if (IS_ERR(folder))
		return PTR_ERR(folder);
	ret = vfs_fsync(folder, 0);
	scst_fput(folder);
	return ret == -EINVAL ? 0 : ret;
}
EXPORT_SYMBOL_GPL(scst_file_keep_name);
