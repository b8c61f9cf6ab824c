/* SPDX-License-Identifier: GPL-2.0 */
/*
 * An open file of rig-h264, and what the parts of the module want of each
 * other: rig-h264-main.c opens it, -format.c negotiates, -control.c takes
 * orders, -queue.c encodes.
 */
#ifndef RIG_H264_H
#define RIG_H264_H

#include <media/v4l2-ctrls.h>
#include <media/v4l2-event.h>

#include "rig-h264-bits.h"
#include "rig-m2m.h"

static const struct v4l2_event rig_h264_eos_event = {
	.type = V4L2_EVENT_EOS,
};

/* One open file: one stream. */
struct rig_h264_context {
	struct rig_m2m_stream stream;

	struct rig_raw_format raw;
	struct rig_m2m_colors colors;
	u32 visible_width;		/* the crop rectangle, at 0,0 */
	u32 visible_height;
	u32 coded_size;			/* of a CAPTURE buffer */

	/* Written by controls and S_PARM, read by the worker; under controls.lock. */
	struct v4l2_ctrl_handler controls;
	struct v4l2_fract time_per_frame;
	u32 bitrate;
	u32 profile;
	u32 level;
	u32 gop_size;
	bool rate_control;
	bool prepend_headers;
	bool repeat_headers;
	bool force_key;

	/* Used by the worker while both queues stream. */
	struct rig_h264_encoder encoder;
	u8 *encoder_memory;

	/* ENC_CMD_STOP must not come between the worker's look and its deed. */
	spinlock_t drain_lock;
	u32 raw_sequence;
	u32 coded_sequence;
	bool counted;			/* among instances_streaming */
};

static inline struct rig_h264_context *rig_h264_file_context(struct file *file)
{
	return container_of(rig_m2m_file_stream(file), struct rig_h264_context, stream);
}

static inline struct rig_h264_context *rig_h264_queue_context(struct vb2_queue *queue)
{
	return container_of(vb2_get_drv_priv(queue), struct rig_h264_context, stream);
}

/* -main.c */
extern struct rig_m2m_accounts rig_h264_accounts;
extern unsigned int rig_h264_instances;
extern unsigned int rig_h264_compression;

/* -queue.c */
extern const struct vb2_ops rig_h264_queue_ops;
void rig_h264_work(struct work_struct *work);
u32 rig_h264_smallest_buffer(struct rig_m2m_stream *stream, const struct vb2_queue *queue);
int rig_h264_streamon(struct file *file, void *priv, enum v4l2_buf_type type);
int rig_h264_streamoff(struct file *file, void *priv, enum v4l2_buf_type type);
void rig_h264_give_instance_back(struct rig_h264_context *context);

/* -control.c */
int rig_h264_init_controls(struct rig_h264_context *context);
int rig_h264_encoder_cmd(struct file *file, void *priv, struct v4l2_encoder_cmd *cmd);
int rig_h264_subscribe_event(struct v4l2_fh *fh,
			     const struct v4l2_event_subscription *subscription);
/* As the sequence parameter set says it. */
void rig_h264_take_settings(struct rig_h264_context *context,
			    struct rig_h264_settings *settings);

/* -format.c */
extern const struct v4l2_ioctl_ops rig_h264_ioctl_ops;
void rig_h264_init_formats(struct rig_h264_context *context);

#endif /* RIG_H264_H */
