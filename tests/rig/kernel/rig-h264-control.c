// SPDX-License-Identifier: GPL-2.0
/* rig-h264: controls, commands and events */
#include <linux/math64.h>
#include <media/v4l2-ioctl.h>

#include "rig-h264.h"

#define DEFAULT_BITRATE		4000000
#define DEFAULT_GOP_SIZE	30

/* level_idc by V4L2_MPEG_VIDEO_H264_LEVEL_*; 1b is 11 with a constraint flag */
static const u8 level_idcs[] = {
	[V4L2_MPEG_VIDEO_H264_LEVEL_1_0] = 10,
	[V4L2_MPEG_VIDEO_H264_LEVEL_1B] = 11,
	[V4L2_MPEG_VIDEO_H264_LEVEL_1_1] = 11,
	[V4L2_MPEG_VIDEO_H264_LEVEL_1_2] = 12,
	[V4L2_MPEG_VIDEO_H264_LEVEL_1_3] = 13,
	[V4L2_MPEG_VIDEO_H264_LEVEL_2_0] = 20,
	[V4L2_MPEG_VIDEO_H264_LEVEL_2_1] = 21,
	[V4L2_MPEG_VIDEO_H264_LEVEL_2_2] = 22,
	[V4L2_MPEG_VIDEO_H264_LEVEL_3_0] = 30,
	[V4L2_MPEG_VIDEO_H264_LEVEL_3_1] = 31,
	[V4L2_MPEG_VIDEO_H264_LEVEL_3_2] = 32,
	[V4L2_MPEG_VIDEO_H264_LEVEL_4_0] = 40,
	[V4L2_MPEG_VIDEO_H264_LEVEL_4_1] = 41,
	[V4L2_MPEG_VIDEO_H264_LEVEL_4_2] = 42,
};

/* Controls */

static u32 bytes_per_frame(const struct rig_h264_context *context)
{
	u64 bits = div_u64((u64)context->bitrate * context->time_per_frame.numerator,
			   context->time_per_frame.denominator);

	return min_t(u64, bits / 8 * rig_h264_compression, RIG_H264_NO_BUDGET);
}

void rig_h264_take_settings(struct rig_h264_context *context,
			    struct rig_h264_settings *settings)
{
	mutex_lock(context->controls.lock);
	settings->constraint_flags = RIG_H264_CONSTRAINT_SET0;
	if (context->profile == V4L2_MPEG_VIDEO_H264_PROFILE_CONSTRAINED_BASELINE)
		settings->constraint_flags |= RIG_H264_CONSTRAINT_SET1;
	if (context->level == V4L2_MPEG_VIDEO_H264_LEVEL_1B)
		settings->constraint_flags |= RIG_H264_CONSTRAINT_SET3;
	settings->level_idc = level_idcs[context->level];
	settings->gop_size = context->gop_size;
	settings->budget = context->rate_control ? bytes_per_frame(context) :
						   RIG_H264_NO_BUDGET;
	settings->repeat_headers = context->prepend_headers || context->repeat_headers;
	settings->force_key = context->force_key;
	context->force_key = false;
	mutex_unlock(context->controls.lock);
}

/* Called with controls.lock held. Controls not named here change nothing. */
static int s_ctrl(struct v4l2_ctrl *ctrl)
{
	struct rig_h264_context *context =
		container_of(ctrl->handler, struct rig_h264_context, controls);

	switch (ctrl->id) {
	case V4L2_CID_MPEG_VIDEO_BITRATE:
		context->bitrate = ctrl->val;
		break;
	case V4L2_CID_MPEG_VIDEO_FRAME_RC_ENABLE:
		context->rate_control = ctrl->val;
		break;
	case V4L2_CID_MPEG_VIDEO_GOP_SIZE:
	case V4L2_CID_MPEG_VIDEO_H264_I_PERIOD:
		/* without B and non-IDR I pictures they mean the same */
		context->gop_size = ctrl->val;
		break;
	case V4L2_CID_MPEG_VIDEO_FORCE_KEY_FRAME:
		context->force_key = true;
		break;
	case V4L2_CID_MPEG_VIDEO_PREPEND_SPSPPS_TO_IDR:
		context->prepend_headers = ctrl->val;
		break;
	case V4L2_CID_MPEG_VIDEO_REPEAT_SEQ_HEADER:
		context->repeat_headers = ctrl->val;
		break;
	case V4L2_CID_MPEG_VIDEO_H264_PROFILE:
		context->profile = ctrl->val;
		break;
	case V4L2_CID_MPEG_VIDEO_H264_LEVEL:
		context->level = ctrl->val;
		break;
	}
	return 0;
}

static const struct v4l2_ctrl_ops ctrl_ops = {
	.s_ctrl = s_ctrl,
};

int rig_h264_init_controls(struct rig_h264_context *context)
{
	const struct v4l2_ctrl_ops *ops = &ctrl_ops;
	struct v4l2_ctrl_handler *handler = &context->controls;
	int ret;

	v4l2_ctrl_handler_init(handler, 16);
	v4l2_ctrl_new_std(handler, ops, V4L2_CID_MPEG_VIDEO_BITRATE,
			  16000, 200000000, 1000, DEFAULT_BITRATE);
	v4l2_ctrl_new_std(handler, ops, V4L2_CID_MPEG_VIDEO_BITRATE_PEAK,
			  16000, 200000000, 1000, DEFAULT_BITRATE);
	v4l2_ctrl_new_std_menu(handler, ops, V4L2_CID_MPEG_VIDEO_BITRATE_MODE,
			       V4L2_MPEG_VIDEO_BITRATE_MODE_CBR, 0,
			       V4L2_MPEG_VIDEO_BITRATE_MODE_CBR);
	v4l2_ctrl_new_std(handler, ops, V4L2_CID_MPEG_VIDEO_FRAME_RC_ENABLE, 0, 1, 1, 1);
	v4l2_ctrl_new_std(handler, ops, V4L2_CID_MPEG_VIDEO_H264_MIN_QP, 0, 51, 1, 0);
	v4l2_ctrl_new_std(handler, ops, V4L2_CID_MPEG_VIDEO_H264_MAX_QP, 0, 51, 1, 51);
	v4l2_ctrl_new_std(handler, ops, V4L2_CID_MPEG_VIDEO_GOP_SIZE,
			  0, 600, 1, DEFAULT_GOP_SIZE);
	v4l2_ctrl_new_std(handler, ops, V4L2_CID_MPEG_VIDEO_H264_I_PERIOD,
			  0, 600, 1, DEFAULT_GOP_SIZE);
	v4l2_ctrl_new_std(handler, ops, V4L2_CID_MPEG_VIDEO_FORCE_KEY_FRAME, 0, 0, 0, 0);
	v4l2_ctrl_new_std(handler, ops, V4L2_CID_MPEG_VIDEO_PREPEND_SPSPPS_TO_IDR, 0, 1, 1, 1);
	v4l2_ctrl_new_std(handler, ops, V4L2_CID_MPEG_VIDEO_REPEAT_SEQ_HEADER, 0, 1, 1, 0);
	/* a buffer of headers alone is not made, hence not offered */
	v4l2_ctrl_new_std_menu(handler, ops, V4L2_CID_MPEG_VIDEO_HEADER_MODE,
			       V4L2_MPEG_VIDEO_HEADER_MODE_JOINED_WITH_1ST_FRAME,
			       BIT(V4L2_MPEG_VIDEO_HEADER_MODE_SEPARATE),
			       V4L2_MPEG_VIDEO_HEADER_MODE_JOINED_WITH_1ST_FRAME);
	v4l2_ctrl_new_std_menu(handler, ops, V4L2_CID_MPEG_VIDEO_H264_PROFILE,
			       V4L2_MPEG_VIDEO_H264_PROFILE_CONSTRAINED_BASELINE, 0,
			       V4L2_MPEG_VIDEO_H264_PROFILE_CONSTRAINED_BASELINE);
	v4l2_ctrl_new_std_menu(handler, ops, V4L2_CID_MPEG_VIDEO_H264_LEVEL,
			       V4L2_MPEG_VIDEO_H264_LEVEL_4_2, 0,
			       V4L2_MPEG_VIDEO_H264_LEVEL_4_0);
	v4l2_ctrl_new_std(handler, ops, V4L2_CID_MIN_BUFFERS_FOR_OUTPUT, 1, 1, 1, 1);
	ret = handler->error;
	if (!ret)
		ret = v4l2_ctrl_handler_setup(handler);
	if (ret) {
		v4l2_ctrl_handler_free(handler);
		return ret;
	}
	/* setting up the button control has pressed it */
	context->force_key = false;
	return 0;
}

/* Commands and events */

int rig_h264_encoder_cmd(struct file *file, void *priv, struct v4l2_encoder_cmd *cmd)
{
	struct rig_h264_context *context = rig_h264_file_context(file);
	struct v4l2_m2m_ctx *m2m = context->stream.fh.m2m_ctx;
	int ret = v4l2_m2m_ioctl_try_encoder_cmd(file, priv, cmd);

	if (ret < 0)
		return ret;
	if (!vb2_is_streaming(&m2m->out_q_ctx.q) || !vb2_is_streaming(&m2m->cap_q_ctx.q))
		return 0;

	spin_lock(&context->drain_lock);
	ret = v4l2_m2m_ioctl_encoder_cmd(file, priv, cmd);
	spin_unlock(&context->drain_lock);
	if (ret < 0)
		return ret;

	if (cmd->cmd == V4L2_ENC_CMD_STOP && v4l2_m2m_has_stopped(m2m))
		v4l2_event_queue_fh(&context->stream.fh, &rig_h264_eos_event);
	if (cmd->cmd == V4L2_ENC_CMD_START && v4l2_m2m_has_stopped(m2m))
		vb2_clear_last_buffer_dequeued(&m2m->cap_q_ctx.q);
	return 0;
}

int rig_h264_subscribe_event(struct v4l2_fh *fh,
			     const struct v4l2_event_subscription *subscription)
{
	if (subscription->type == V4L2_EVENT_EOS)
		return v4l2_event_subscribe(fh, subscription, 0, NULL);
	return v4l2_ctrl_subscribe_event(fh, subscription);
}
