// SPDX-License-Identifier: GPL-2.0
/*
 * rig-scaler: a virtual V4L2 memory-to-memory scaler and converter for tests.
 *
 * It stands in for the scaler of a board. Raw pictures of one size and format
 * go in, pictures of another come out: each sample is the mean of those it
 * covers, and a copy of the nearest one where the picture grows. As hardware
 * that writes whole macroblocks it pads what comes out to a multiple of 16
 * rows; the compose rectangle says how much of that is picture.
 *
 * Its module parameters break it on purpose and count what it did.
 */
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <media/v4l2-ioctl.h>

#include "rig-m2m.h"
#include "rig-raw.h"

#define RIG_SCALER_NAME		"rig-scaler"
#define DEFAULT_WIDTH		640
#define DEFAULT_HEIGHT		360

static RIG_M2M_ACCOUNTS(accounts);
RIG_M2M_PARAMETERS(accounts);

/* OUTPUT takes all of them, CAPTURE the planar ones before the packed one. */
static const u32 pixelformats[] = {
	V4L2_PIX_FMT_NV12,
	V4L2_PIX_FMT_YUV420,
	V4L2_PIX_FMT_YUYV,
};

#define SOURCE_PIXELFORMATS		ARRAY_SIZE(pixelformats)
#define DESTINATION_PIXELFORMATS	(ARRAY_SIZE(pixelformats) - 1)

/* The pictures of a queue. */
struct rig_scaler_pictures {
	struct rig_raw_format format;
	u32 visible_width;	/* the crop or compose rectangle, at 0,0 */
	u32 visible_height;
};

/* One open file. */
struct rig_scaler_context {
	struct rig_m2m_stream stream;
	struct rig_scaler_pictures source;
	struct rig_scaler_pictures destination;
	struct rig_m2m_colors colors;	/* of both: no colours are changed */
	u32 source_sequence;
	u32 destination_sequence;
};

static struct rig_scaler_context *file_context(struct file *file)
{
	return container_of(rig_m2m_file_stream(file), struct rig_scaler_context, stream);
}

static struct rig_scaler_context *queue_context(struct vb2_queue *queue)
{
	return container_of(vb2_get_drv_priv(queue), struct rig_scaler_context, stream);
}

static struct rig_scaler_pictures *queue_pictures(struct rig_scaler_context *context, u32 type)
{
	return V4L2_TYPE_IS_OUTPUT(type) ? &context->source : &context->destination;
}

/* Scaling */

/* The mean of the samples from @left to @right and @top to @bottom. */
static u8 mean(const struct rig_raw_component *component, const u8 *samples,
	       u32 left, u32 right, u32 top, u32 bottom)
{
	u32 count = (right - left) * (bottom - top);
	u32 sum = count / 2;
	u32 x;
	u32 y;

	for (y = top; y < bottom; y++) {
		const u8 *sample = samples + y * component->stride + left * component->step;

		for (x = left; x < right; x++, sample += component->step)
			sum += *sample;
	}
	return sum / count;
}

/*
 * One routine for all formats and sizes, since formats differ only in steps
 * and in the number of chroma rows, and the latter is scaling, too.
 */
static void scale_component(const struct rig_raw_component *from, const u8 *source,
			    const struct rig_raw_component *to, u8 *destination)
{
	bool same_row = from->width == to->width && from->step == 1 && to->step == 1;
	u32 x;
	u32 y;

	source += from->offset;
	destination += to->offset;
	for (y = 0; y < to->height; y++) {
		u32 top = y * from->height / to->height;
		u32 bottom = max((y + 1) * from->height / to->height, top + 1);
		u8 *sample = destination + y * to->stride;

		if (same_row && bottom == top + 1) {
			memcpy(sample, source + top * from->stride, to->width);
			continue;
		}
		for (x = 0; x < to->width; x++, sample += to->step) {
			u32 left = x * from->width / to->width;
			u32 right = max((x + 1) * from->width / to->width, left + 1);

			*sample = mean(from, source, left, right, top, bottom);
		}
	}
}

static struct rig_raw_component visible_component(const struct rig_scaler_pictures *pictures,
						  unsigned int index)
{
	struct rig_raw_component component = rig_raw_component(&pictures->format, index);

	component.width = component.width * pictures->visible_width / pictures->format.width;
	component.height = component.height * pictures->visible_height / pictures->format.height;
	return component;
}

static void scale_picture(const struct rig_scaler_pictures *from, const u8 *source,
			  const struct rig_scaler_pictures *to, u8 *destination)
{
	unsigned int i;

	for (i = 0; i < RIG_RAW_COMPONENTS; i++) {
		struct rig_raw_component from_component = visible_component(from, i);
		struct rig_raw_component to_component = visible_component(to, i);

		scale_component(&from_component, source, &to_component, destination);
	}
}

static void scale_frame(struct work_struct *work)
{
	struct rig_scaler_context *context =
		container_of(work, struct rig_scaler_context, stream.work);
	struct v4l2_m2m_ctx *m2m = context->stream.fh.m2m_ctx;
	struct vb2_v4l2_buffer *source = v4l2_m2m_src_buf_remove(m2m);
	struct vb2_v4l2_buffer *destination = v4l2_m2m_dst_buf_remove(m2m);
	enum vb2_buffer_state state = VB2_BUF_STATE_DONE;

	rig_m2m_delay(&context->stream);
	scale_picture(&context->source,
		      vb2_plane_vaddr(&source->vb2_buf, 0) +
			source->vb2_buf.planes[0].data_offset,
		      &context->destination,
		      vb2_plane_vaddr(&destination->vb2_buf, 0));

	if (!rig_m2m_account_frame(&context->stream))
		state = VB2_BUF_STATE_ERROR;

	vb2_set_plane_payload(&destination->vb2_buf, 0, rig_raw_needed(&context->destination.format));
	v4l2_m2m_buf_copy_metadata(source, destination, true);
	destination->field = V4L2_FIELD_NONE;
	source->sequence = context->source_sequence++;
	destination->sequence = context->destination_sequence++;
	v4l2_m2m_buf_done(source, VB2_BUF_STATE_DONE);
	v4l2_m2m_buf_done(destination, state);
	v4l2_m2m_job_finish(context->stream.device->m2m, m2m);
}

/* Queues */

/*
 * The smallest buffer that will do. An imported one need not have the rows
 * between the picture's height and the next multiple of 16, which a camera does
 * not write; buffers made here are as large as sizeimage says.
 */
static u32 smallest_buffer(struct rig_m2m_stream *stream, const struct vb2_queue *queue)
{
	struct rig_scaler_context *context =
		container_of(stream, struct rig_scaler_context, stream);
	const struct rig_raw_format *format = &queue_pictures(context, queue->type)->format;

	if (queue->memory == VB2_MEMORY_DMABUF)
		return rig_raw_needed(format);
	return rig_raw_sizeimage(format);
}

static void rig_scaler_buf_queue(struct vb2_buffer *vb)
{
	struct rig_scaler_context *context = queue_context(vb->vb2_queue);

	if (V4L2_TYPE_IS_OUTPUT(vb->vb2_queue->type))
		rig_m2m_account_raw(vb);
	v4l2_m2m_buf_queue(context->stream.fh.m2m_ctx, to_vb2_v4l2_buffer(vb));
}

static int rig_scaler_start_streaming(struct vb2_queue *queue, unsigned int count)
{
	struct rig_scaler_context *context = queue_context(queue);

	if (V4L2_TYPE_IS_OUTPUT(queue->type))
		context->source_sequence = 0;
	else
		context->destination_sequence = 0;
	return 0;
}

static void rig_scaler_stop_streaming(struct vb2_queue *queue)
{
	struct rig_scaler_context *context = queue_context(queue);

	/*
	 * v4l2-mem2mem waited for the job, but the worker may still be on its
	 * way out of v4l2_m2m_job_finish(), which uses the context.
	 */
	flush_work(&context->stream.work);
	rig_m2m_return_buffers(queue, VB2_BUF_STATE_ERROR);
}

static const struct vb2_ops rig_scaler_queue_ops = {
	.queue_setup = rig_m2m_queue_setup,
	.buf_out_validate = rig_m2m_buf_out_validate,
	.buf_prepare = rig_m2m_buf_prepare,
	.buf_queue = rig_scaler_buf_queue,
	.start_streaming = rig_scaler_start_streaming,
	.stop_streaming = rig_scaler_stop_streaming,
	.wait_prepare = vb2_ops_wait_prepare,
	.wait_finish = vb2_ops_wait_finish,
};

/* Formats */

static unsigned int pixelformat_count(u32 type)
{
	return V4L2_TYPE_IS_OUTPUT(type) ? SOURCE_PIXELFORMATS : DESTINATION_PIXELFORMATS;
}

static int rig_scaler_enum_fmt(struct file *file, void *priv, struct v4l2_fmtdesc *desc)
{
	if (desc->index >= pixelformat_count(desc->type))
		return -EINVAL;
	desc->pixelformat = pixelformats[desc->index];
	return 0;
}

static int rig_scaler_enum_framesizes(struct file *file, void *priv,
				      struct v4l2_frmsizeenum *sizes)
{
	return rig_m2m_describe_sizes(sizes, pixelformats, ARRAY_SIZE(pixelformats));
}

/* The nearest format that a queue can have. */
static struct rig_raw_format negotiate(u32 type, const struct v4l2_pix_format_mplane *asked)
{
	struct rig_raw_format format =
		rig_raw_negotiate(asked, pixelformats, pixelformat_count(type));

	if (V4L2_TYPE_IS_CAPTURE(type))
		format.height = ALIGN(format.height, 16);
	return format;
}

static void apply(struct rig_scaler_pictures *pictures, struct rig_raw_format format)
{
	pictures->format = format;
	pictures->visible_width = format.width;
	pictures->visible_height = format.height;
}

static int rig_scaler_g_fmt(struct file *file, void *priv, struct v4l2_format *f)
{
	struct rig_scaler_context *context = file_context(file);

	rig_raw_describe(&queue_pictures(context, f->type)->format, &f->fmt.pix_mp);
	rig_m2m_describe_colors(&context->colors, &f->fmt.pix_mp);
	return 0;
}

static int rig_scaler_try_fmt(struct file *file, void *priv, struct v4l2_format *f)
{
	struct v4l2_pix_format_mplane *mp = &f->fmt.pix_mp;
	struct rig_raw_format format = negotiate(f->type, mp);

	rig_raw_describe(&format, mp);
	if (V4L2_TYPE_IS_CAPTURE(f->type))
		rig_m2m_describe_colors(&file_context(file)->colors, mp);
	return 0;
}

static int rig_scaler_s_fmt(struct file *file, void *priv, struct v4l2_format *f)
{
	struct rig_scaler_context *context = file_context(file);
	struct v4l2_pix_format_mplane *mp = &f->fmt.pix_mp;

	if (vb2_is_busy(v4l2_m2m_get_vq(context->stream.fh.m2m_ctx, f->type)))
		return -EBUSY;
	apply(queue_pictures(context, f->type), negotiate(f->type, mp));
	if (V4L2_TYPE_IS_OUTPUT(f->type))
		rig_m2m_take_colors(&context->colors, mp);
	return rig_scaler_g_fmt(file, priv, f);
}

/* OUTPUT has a crop rectangle, CAPTURE a compose rectangle. */
static int rig_scaler_g_selection(struct file *file, void *priv,
				  struct v4l2_selection *selection)
{
	const struct rig_scaler_pictures *pictures =
		queue_pictures(file_context(file), selection->type);
	bool output = V4L2_TYPE_IS_OUTPUT(selection->type);
	u32 rectangle = output ? V4L2_SEL_TGT_CROP : V4L2_SEL_TGT_COMPOSE;
	u32 bounds = output ? V4L2_SEL_TGT_CROP_BOUNDS : V4L2_SEL_TGT_COMPOSE_BOUNDS;
	u32 all = output ? V4L2_SEL_TGT_CROP_DEFAULT : V4L2_SEL_TGT_COMPOSE_DEFAULT;

	selection->r.left = 0;
	selection->r.top = 0;
	if (selection->target == rectangle) {
		selection->r.width = pictures->visible_width;
		selection->r.height = pictures->visible_height;
	} else if (selection->target == bounds || selection->target == all) {
		selection->r.width = pictures->format.width;
		selection->r.height = pictures->format.height;
	} else {
		return -EINVAL;
	}
	return 0;
}

static int rig_scaler_s_selection(struct file *file, void *priv,
				  struct v4l2_selection *selection)
{
	struct rig_scaler_context *context = file_context(file);
	bool output = V4L2_TYPE_IS_OUTPUT(selection->type);
	struct rig_scaler_pictures *pictures = queue_pictures(context, selection->type);
	u32 multiplanar = output ? V4L2_BUF_TYPE_VIDEO_OUTPUT_MPLANE :
				   V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE;

	if (selection->target != (output ? V4L2_SEL_TGT_CROP : V4L2_SEL_TGT_COMPOSE))
		return -EINVAL;
	/* the core has turned the multi-planar type into the other one */
	if (vb2_is_streaming(v4l2_m2m_get_vq(context->stream.fh.m2m_ctx, multiplanar)))
		return -EBUSY;
	pictures->visible_width = clamp_t(u32, selection->r.width & ~1u,
					  RIG_RAW_MIN_SIZE, pictures->format.width);
	pictures->visible_height = clamp_t(u32, selection->r.height & ~1u,
					   RIG_RAW_MIN_SIZE, pictures->format.height);
	return rig_scaler_g_selection(file, priv, selection);
}

static const struct v4l2_ioctl_ops rig_scaler_ioctl_ops = {
	.vidioc_querycap = rig_m2m_querycap,

	.vidioc_enum_fmt_vid_cap = rig_scaler_enum_fmt,
	.vidioc_enum_fmt_vid_out = rig_scaler_enum_fmt,
	.vidioc_enum_framesizes = rig_scaler_enum_framesizes,
	.vidioc_g_fmt_vid_cap_mplane = rig_scaler_g_fmt,
	.vidioc_try_fmt_vid_cap_mplane = rig_scaler_try_fmt,
	.vidioc_s_fmt_vid_cap_mplane = rig_scaler_s_fmt,
	.vidioc_g_fmt_vid_out_mplane = rig_scaler_g_fmt,
	.vidioc_try_fmt_vid_out_mplane = rig_scaler_try_fmt,
	.vidioc_s_fmt_vid_out_mplane = rig_scaler_s_fmt,
	.vidioc_g_selection = rig_scaler_g_selection,
	.vidioc_s_selection = rig_scaler_s_selection,

	.vidioc_reqbufs = v4l2_m2m_ioctl_reqbufs,
	.vidioc_create_bufs = v4l2_m2m_ioctl_create_bufs,
	.vidioc_querybuf = v4l2_m2m_ioctl_querybuf,
	.vidioc_prepare_buf = v4l2_m2m_ioctl_prepare_buf,
	.vidioc_qbuf = v4l2_m2m_ioctl_qbuf,
	.vidioc_dqbuf = v4l2_m2m_ioctl_dqbuf,
	.vidioc_expbuf = v4l2_m2m_ioctl_expbuf,
	.vidioc_streamon = v4l2_m2m_ioctl_streamon,
	.vidioc_streamoff = v4l2_m2m_ioctl_streamoff,
};

/* Files */

static void init_formats(struct rig_scaler_context *context)
{
	const struct v4l2_pix_format_mplane mp = {
		.width = DEFAULT_WIDTH,
		.height = DEFAULT_HEIGHT,
		.pixelformat = pixelformats[0],
	};

	apply(&context->source, negotiate(V4L2_BUF_TYPE_VIDEO_OUTPUT_MPLANE, &mp));
	apply(&context->destination, negotiate(V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE, &mp));
	context->colors.colorspace = V4L2_COLORSPACE_REC709;
}

static int rig_scaler_open(struct file *file)
{
	struct rig_scaler_context *context = kzalloc(sizeof(*context), GFP_KERNEL);
	int ret;

	if (!context)
		return -ENOMEM;
	init_formats(context);
	ret = rig_m2m_open(file, &context->stream);
	if (ret)
		kfree(context);
	return ret;
}

static int rig_scaler_release(struct file *file)
{
	struct rig_scaler_context *context = file_context(file);

	rig_m2m_close(&context->stream);
	kfree(context);
	return 0;
}

static const struct v4l2_file_operations rig_scaler_file_ops = {
	.owner = THIS_MODULE,
	.open = rig_scaler_open,
	.release = rig_scaler_release,
	.poll = v4l2_m2m_fop_poll,
	.unlocked_ioctl = video_ioctl2,
	.mmap = v4l2_m2m_fop_mmap,
};

/* The device */

static const struct rig_m2m_kind rig_scaler_kind = {
	.name = RIG_SCALER_NAME,
	.function = MEDIA_ENT_F_PROC_VIDEO_SCALER,
	.file_ops = &rig_scaler_file_ops,
	.ioctl_ops = &rig_scaler_ioctl_ops,
	.queue_ops = &rig_scaler_queue_ops,
	.work = scale_frame,
	.accounts = &accounts,
	.smallest_buffer = smallest_buffer,
};

static int __init rig_scaler_probe(struct platform_device *pdev)
{
	return rig_m2m_probe(pdev, &rig_scaler_kind);
}

static struct platform_driver rig_scaler_driver = {
	.remove = rig_m2m_remove,
	.driver = {
		.name = RIG_SCALER_NAME,
	},
};

static struct platform_device *rig_scaler_platform_device;

static int __init rig_scaler_init(void)
{
	rig_scaler_platform_device =
		platform_create_bundle(&rig_scaler_driver, rig_scaler_probe, NULL, 0, NULL, 0);
	return PTR_ERR_OR_ZERO(rig_scaler_platform_device);
}

static void __exit rig_scaler_exit(void)
{
	platform_device_unregister(rig_scaler_platform_device);
	platform_driver_unregister(&rig_scaler_driver);
}

module_init(rig_scaler_init);
module_exit(rig_scaler_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("virtual scaler and converter of raw pictures for tests");
