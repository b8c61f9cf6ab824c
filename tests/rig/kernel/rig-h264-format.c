// SPDX-License-Identifier: GPL-2.0
/* rig-h264: what goes in and what comes out, as applications negotiate it */
#include <media/v4l2-ioctl.h>

#include "rig-h264.h"

#define DEFAULT_WIDTH		640
#define DEFAULT_HEIGHT		360

static const u32 raw_pixelformats[] = {
	V4L2_PIX_FMT_NV12,
	V4L2_PIX_FMT_YUV420,
	V4L2_PIX_FMT_YUYV,
};

static int enum_coded(struct file *file, void *priv, struct v4l2_fmtdesc *desc)
{
	if (desc->index)
		return -EINVAL;
	desc->pixelformat = V4L2_PIX_FMT_H264;
	return 0;
}

static int enum_raw(struct file *file, void *priv, struct v4l2_fmtdesc *desc)
{
	if (desc->index >= ARRAY_SIZE(raw_pixelformats))
		return -EINVAL;
	desc->pixelformat = raw_pixelformats[desc->index];
	return 0;
}

static int enum_framesizes(struct file *file, void *priv,
				    struct v4l2_frmsizeenum *sizes)
{
	static const u32 coded_pixelformat = V4L2_PIX_FMT_H264;

	if (sizes->pixel_format == coded_pixelformat)
		return rig_m2m_describe_sizes(sizes, &coded_pixelformat, 1);
	return rig_m2m_describe_sizes(sizes, raw_pixelformats, ARRAY_SIZE(raw_pixelformats));
}

/* The coded format follows the raw one; there is nothing in it to be set. */
static void describe_coded(const struct rig_h264_context *context,
			   struct v4l2_pix_format_mplane *mp)
{
	mp->pixelformat = V4L2_PIX_FMT_H264;
	mp->width = context->raw.width;
	mp->height = context->raw.height;
	mp->field = V4L2_FIELD_NONE;
	mp->flags = 0;
	mp->num_planes = 1;
	mp->plane_fmt[0].bytesperline = 0;
	mp->plane_fmt[0].sizeimage = context->coded_size;
	rig_m2m_describe_colors(&context->colors, mp);
}

static int get_coded(struct file *file, void *priv, struct v4l2_format *f)
{
	describe_coded(rig_h264_file_context(file), &f->fmt.pix_mp);
	return 0;
}

static int set_coded(struct file *file, void *priv, struct v4l2_format *f)
{
	struct rig_h264_context *context = rig_h264_file_context(file);

	if (vb2_is_busy(v4l2_m2m_get_vq(context->stream.fh.m2m_ctx, f->type)))
		return -EBUSY;
	return get_coded(file, priv, f);
}

static int get_raw(struct file *file, void *priv, struct v4l2_format *f)
{
	struct rig_h264_context *context = rig_h264_file_context(file);

	rig_raw_describe(&context->raw, &f->fmt.pix_mp);
	rig_m2m_describe_colors(&context->colors, &f->fmt.pix_mp);
	return 0;
}

static int try_raw(struct file *file, void *priv, struct v4l2_format *f)
{
	struct rig_raw_format raw = rig_raw_negotiate(&f->fmt.pix_mp, raw_pixelformats,
						      ARRAY_SIZE(raw_pixelformats));

	rig_raw_describe(&raw, &f->fmt.pix_mp);
	return 0;
}

static void apply_raw(struct rig_h264_context *context,
		      const struct v4l2_pix_format_mplane *mp)
{
	context->raw = rig_raw_negotiate(mp, raw_pixelformats, ARRAY_SIZE(raw_pixelformats));
	context->visible_width = context->raw.width;
	context->visible_height = context->raw.height;
	rig_m2m_take_colors(&context->colors, mp);
	/* It never shrinks, because GStreamer negotiates CAPTURE first. */
	context->coded_size = max(context->coded_size,
				  rig_h264_max_coded(context->raw.width,
						     context->raw.height));
}

static int set_raw(struct file *file, void *priv, struct v4l2_format *f)
{
	struct rig_h264_context *context = rig_h264_file_context(file);
	struct v4l2_m2m_ctx *m2m = context->stream.fh.m2m_ctx;

	/* The raw format decides how large CAPTURE buffers have to be. */
	if (vb2_is_busy(&m2m->out_q_ctx.q) || vb2_is_busy(&m2m->cap_q_ctx.q))
		return -EBUSY;
	apply_raw(context, &f->fmt.pix_mp);
	return get_raw(file, priv, f);
}

static int g_parm(struct file *file, void *priv, struct v4l2_streamparm *parm)
{
	struct rig_h264_context *context = rig_h264_file_context(file);

	if (!V4L2_TYPE_IS_OUTPUT(parm->type))
		return -EINVAL;
	parm->parm.output.capability = V4L2_CAP_TIMEPERFRAME;
	parm->parm.output.timeperframe = context->time_per_frame;
	return 0;
}

static int s_parm(struct file *file, void *priv, struct v4l2_streamparm *parm)
{
	struct rig_h264_context *context = rig_h264_file_context(file);
	struct v4l2_fract time = parm->parm.output.timeperframe;

	if (!V4L2_TYPE_IS_OUTPUT(parm->type))
		return -EINVAL;
	if (time.numerator && time.denominator) {
		mutex_lock(context->controls.lock);
		context->time_per_frame = time;
		mutex_unlock(context->controls.lock);
	}
	return g_parm(file, priv, parm);
}

static int g_selection(struct file *file, void *priv, struct v4l2_selection *selection)
{
	struct rig_h264_context *context = rig_h264_file_context(file);

	/* the core has turned the multi-planar type into this one */
	if (selection->type != V4L2_BUF_TYPE_VIDEO_OUTPUT)
		return -EINVAL;
	selection->r.left = 0;
	selection->r.top = 0;
	switch (selection->target) {
	case V4L2_SEL_TGT_CROP:
		selection->r.width = context->visible_width;
		selection->r.height = context->visible_height;
		return 0;
	case V4L2_SEL_TGT_CROP_BOUNDS:
	case V4L2_SEL_TGT_CROP_DEFAULT:
		selection->r.width = context->raw.width;
		selection->r.height = context->raw.height;
		return 0;
	default:
		return -EINVAL;
	}
}

static int s_selection(struct file *file, void *priv, struct v4l2_selection *selection)
{
	struct rig_h264_context *context = rig_h264_file_context(file);
	struct v4l2_m2m_ctx *m2m = context->stream.fh.m2m_ctx;

	if (selection->type != V4L2_BUF_TYPE_VIDEO_OUTPUT ||
	    selection->target != V4L2_SEL_TGT_CROP)
		return -EINVAL;
	/* The sequence parameter set carries it. */
	if (vb2_is_streaming(&m2m->out_q_ctx.q))
		return -EBUSY;
	context->visible_width = clamp_t(u32, selection->r.width & ~1u,
					 RIG_RAW_MIN_SIZE, context->raw.width);
	context->visible_height = clamp_t(u32, selection->r.height & ~1u,
					  RIG_RAW_MIN_SIZE, context->raw.height);
	return g_selection(file, priv, selection);
}

void rig_h264_init_formats(struct rig_h264_context *context)
{
	const struct v4l2_pix_format_mplane mp = {
		.width = DEFAULT_WIDTH,
		.height = DEFAULT_HEIGHT,
		.pixelformat = raw_pixelformats[0],
		.colorspace = V4L2_COLORSPACE_REC709,
	};

	apply_raw(context, &mp);
	context->time_per_frame.numerator = 1;
	context->time_per_frame.denominator = 30;
}

const struct v4l2_ioctl_ops rig_h264_ioctl_ops = {
	.vidioc_querycap = rig_m2m_querycap,

	.vidioc_enum_fmt_vid_cap = enum_coded,
	.vidioc_enum_fmt_vid_out = enum_raw,
	.vidioc_enum_framesizes = enum_framesizes,
	.vidioc_g_fmt_vid_cap_mplane = get_coded,
	.vidioc_try_fmt_vid_cap_mplane = get_coded,
	.vidioc_s_fmt_vid_cap_mplane = set_coded,
	.vidioc_g_fmt_vid_out_mplane = get_raw,
	.vidioc_try_fmt_vid_out_mplane = try_raw,
	.vidioc_s_fmt_vid_out_mplane = set_raw,
	.vidioc_g_parm = g_parm,
	.vidioc_s_parm = s_parm,
	.vidioc_g_selection = g_selection,
	.vidioc_s_selection = s_selection,

	.vidioc_reqbufs = v4l2_m2m_ioctl_reqbufs,
	.vidioc_create_bufs = v4l2_m2m_ioctl_create_bufs,
	.vidioc_querybuf = v4l2_m2m_ioctl_querybuf,
	.vidioc_prepare_buf = v4l2_m2m_ioctl_prepare_buf,
	.vidioc_qbuf = v4l2_m2m_ioctl_qbuf,
	.vidioc_dqbuf = v4l2_m2m_ioctl_dqbuf,
	.vidioc_expbuf = v4l2_m2m_ioctl_expbuf,
	.vidioc_streamon = rig_h264_streamon,
	.vidioc_streamoff = rig_h264_streamoff,

	.vidioc_try_encoder_cmd = v4l2_m2m_ioctl_try_encoder_cmd,
	.vidioc_encoder_cmd = rig_h264_encoder_cmd,
	.vidioc_subscribe_event = rig_h264_subscribe_event,
	.vidioc_unsubscribe_event = v4l2_event_unsubscribe,
};
