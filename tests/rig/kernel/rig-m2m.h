/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the rig's virtual memory-to-memory devices have in common: the device
 * and its nodes, the two queues of an open file, the worker that takes a frame
 * after the other, and the module parameters that break a device on purpose
 * and count what it did.
 */
#ifndef RIG_M2M_H
#define RIG_M2M_H

#include <linux/moduleparam.h>
#include <linux/mutex.h>
#include <linux/platform_device.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>
#include <media/media-device.h>
#include <media/v4l2-device.h>
#include <media/v4l2-fh.h>
#include <media/v4l2-mem2mem.h>
#include <media/videobuf2-v4l2.h>

/* Parameters of a module: written and read by people and tests. */
struct rig_m2m_accounts {
	spinlock_t lock;	/* guards all that is counted or counts down */
	unsigned int delay_us;
	int fail_frame;
	bool fail_open;
	int refuse_import;
	unsigned int frames;
	unsigned int imported;
	unsigned int copied;
};

#define RIG_M2M_ACCOUNTS(name)							\
	struct rig_m2m_accounts name = {					\
		.lock = __SPIN_LOCK_UNLOCKED(name.lock),			\
	}

#define RIG_M2M_PARAMETERS(name)						\
	module_param_named(delay_us, name.delay_us, uint, 0644);		\
	MODULE_PARM_DESC(delay_us, "time a frame takes beyond that of the work on it"); \
	module_param_named(fail_frame, name.fail_frame, int, 0644);		\
	MODULE_PARM_DESC(fail_frame,						\
			 "the nth frame from now comes back with V4L2_BUF_FLAG_ERROR"); \
	module_param_named(fail_open, name.fail_open, bool, 0644);		\
	MODULE_PARM_DESC(fail_open,						\
			 "open() fails with EIO while set, as of a broken device"); \
	module_param_named(refuse_import, name.refuse_import, int, 0644);	\
	MODULE_PARM_DESC(refuse_import,						\
			 "the errno with which a raw DMA-BUF is refused when queued; 0 takes it"); \
	module_param_named(frames, name.frames, uint, 0444);			\
	MODULE_PARM_DESC(frames, "frames done since the module was loaded");	\
	module_param_named(imported, name.imported, uint, 0444);		\
	MODULE_PARM_DESC(imported, "raw frames queued as DMA-BUF: nobody copied them"); \
	module_param_named(copied, name.copied, uint, 0444);			\
	MODULE_PARM_DESC(copied, "raw frames queued as MMAP: the application copied them")

struct rig_m2m_stream;

/* What one kind of device is and does. */
struct rig_m2m_kind {
	const char *name;
	u32 function;			/* MEDIA_ENT_F_* */
	const struct v4l2_file_operations *file_ops;
	const struct v4l2_ioctl_ops *ioctl_ops;
	const struct vb2_ops *queue_ops;
	work_func_t work;		/* on one frame; ends with v4l2_m2m_job_finish() */
	struct rig_m2m_accounts *accounts;
	/* The smallest buffer that will do for @queue. */
	u32 (*smallest_buffer)(struct rig_m2m_stream *stream, const struct vb2_queue *queue);
};

struct rig_m2m_device {
	const struct rig_m2m_kind *kind;
	struct media_device media;	/* tells applications what the device is for */
	struct v4l2_device v4l2;
	struct video_device video;
	struct v4l2_m2m_dev *m2m;
	struct mutex lock;		/* serialises ioctls that do not touch queues */
};

/* One open file. It is what the queues have as their drv_priv. */
struct rig_m2m_stream {
	struct v4l2_fh fh;
	struct rig_m2m_device *device;
	struct mutex queue_lock;	/* serialises ioctls on both queues */
	struct work_struct work;
};

struct rig_m2m_colors {
	u32 colorspace;
	u32 xfer_func;
	u32 ycbcr_enc;
	u32 quantization;
};

static inline struct rig_m2m_stream *rig_m2m_file_stream(struct file *file)
{
	return container_of(file->private_data, struct rig_m2m_stream, fh);
}

/* The driver's probe and remove. */
int rig_m2m_probe(struct platform_device *pdev, const struct rig_m2m_kind *kind);
int rig_m2m_remove(struct platform_device *pdev);

/* Make @stream, zeroed, the open @file's; and undo that. */
int rig_m2m_open(struct file *file, struct rig_m2m_stream *stream);
void rig_m2m_close(struct rig_m2m_stream *stream);

/* Members of vb2_ops that are the same for all. */
int rig_m2m_queue_setup(struct vb2_queue *queue, unsigned int *buffers, unsigned int *planes,
			unsigned int sizes[], struct device *alloc_devs[]);
int rig_m2m_buf_out_validate(struct vb2_buffer *vb);
int rig_m2m_buf_prepare(struct vb2_buffer *vb);

/* Give all buffers of a queue back that the device still has. */
void rig_m2m_return_buffers(struct vb2_queue *queue, enum vb2_buffer_state state);

/* Count a raw frame that was queued. */
void rig_m2m_account_raw(const struct vb2_buffer *vb);

/* Wait for delay_us, which stands for the work on a frame. */
void rig_m2m_delay(const struct rig_m2m_stream *stream);

/* Count a frame that is done; false if it is the one that must fail. */
bool rig_m2m_account_frame(const struct rig_m2m_stream *stream);

/* Members of v4l2_ioctl_ops that are the same for all. */
int rig_m2m_querycap(struct file *file, void *priv, struct v4l2_capability *cap);

/* Say which sizes there are; -EINVAL unless the format is one of @pixelformats. */
int rig_m2m_describe_sizes(struct v4l2_frmsizeenum *sizes, const u32 *pixelformats,
			   unsigned int count);

void rig_m2m_describe_colors(const struct rig_m2m_colors *colors,
			     struct v4l2_pix_format_mplane *mp);
void rig_m2m_take_colors(struct rig_m2m_colors *colors,
			 const struct v4l2_pix_format_mplane *mp);

#endif /* RIG_M2M_H */
