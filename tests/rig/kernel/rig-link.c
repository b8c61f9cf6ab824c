// SPDX-License-Identifier: GPL-2.0
/*
 * rig-link: cables that fail.
 *
 * A graphics driver whose link to a screen fails says so in the connector's
 * property link-status, and tells it with a hotplug event. Programs may not say
 * it, and no virtual card ever does. Writing "card0 Virtual-1" to the module
 * parameter bad does it in that driver's place; reading it gives whether that
 * link is bad still.
 */
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <drm/drm_connector.h>
#include <drm/drm_device.h>
#include <drm/drm_file.h>
#include <drm/drm_sysfs.h>

#define NAME_LENGTH	32

static DEFINE_MUTEX(lock);
/* The link that was broken last. */
static char card[NAME_LENGTH];
static char connector_name[NAME_LENGTH];

/* The card's open file, by which its device can be had. */
static struct file *open_card(void)
{
	char path[16 + NAME_LENGTH];

	snprintf(path, sizeof(path), "/dev/dri/%s", card);
	return filp_open(path, O_RDWR, 0);
}

static struct drm_connector *find_connector(struct drm_device *device)
{
	struct drm_connector_list_iter iter;
	struct drm_connector *connector;

	drm_connector_list_iter_begin(device, &iter);
	drm_for_each_connector_iter(connector, &iter) {
		if (!strcmp(connector->name, connector_name)) {
			drm_connector_get(connector);
			break;
		}
	}
	drm_connector_list_iter_end(&iter);
	return connector;
}

/* Whether the link is bad; makes it so first when told to. */
static int bad_link(bool make_it_bad)
{
	struct file *file = open_card();
	struct drm_connector *connector;
	struct drm_device *device;
	int bad;

	if (IS_ERR(file))
		return PTR_ERR(file);
	device = ((struct drm_file *)file->private_data)->minor->dev;
	connector = find_connector(device);
	if (!connector) {
		fput(file);
		return -ENODEV;
	}
	if (make_it_bad) {
		drm_connector_set_link_status_property(connector, DRM_MODE_LINK_STATUS_BAD);
		drm_sysfs_hotplug_event(device);
	}
	bad = READ_ONCE(connector->state->link_status) == DRM_MODE_LINK_STATUS_BAD;
	drm_connector_put(connector);
	fput(file);
	return bad;
}

static int set_bad(const char *value, const struct kernel_param *param)
{
	int ret;

	mutex_lock(&lock);
	if (sscanf(value, "%31s %31s", card, connector_name) == 2)
		ret = bad_link(true);
	else
		ret = -EINVAL;
	mutex_unlock(&lock);
	return min(ret, 0);
}

static int get_bad(char *buffer, const struct kernel_param *param)
{
	int bad = 0;

	mutex_lock(&lock);
	if (card[0])
		bad = bad_link(false);
	mutex_unlock(&lock);
	return bad < 0 ? bad : sysfs_emit(buffer, "%d\n", bad);
}

static const struct kernel_param_ops bad_ops = {
	.set = set_bad,
	.get = get_bad,
};

module_param_cb(bad, &bad_ops, NULL, 0644);
MODULE_PARM_DESC(bad, "a card and its connector whose link fails; 1 when read while it is bad");

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("links to screens that fail, for tests");
