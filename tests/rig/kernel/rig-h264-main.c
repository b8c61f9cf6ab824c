// SPDX-License-Identifier: GPL-2.0
/*
 * rig-h264: a virtual stateful V4L2 memory-to-memory H.264 encoder for tests.
 *
 * It stands in for the encoder of a board, since no kernel has a virtual one.
 * It follows dev-encoder.rst: multi-planar, drained by ENC_CMD_STOP, with the
 * EOS event, S_PARM and the usual controls. rig-h264-bits.c does the coding.
 *
 * Its module parameters break it on purpose and count what it did.
 */
#include <linux/delay.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/platform_device.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/vmalloc.h>
#include <linux/workqueue.h>
#include <media/media-device.h>
#include <media/v4l2-ctrls.h>
#include <media/v4l2-device.h>
#include <media/v4l2-event.h>
#include <media/v4l2-ioctl.h>
#include <media/v4l2-mem2mem.h>
#include <media/videobuf2-vmalloc.h>

#include "rig-h264-bits.h"

#define RIG_H264_NAME		"rig-h264"
#define DEFAULT_WIDTH		640
#define DEFAULT_HEIGHT		360
#define DEFAULT_BITRATE		4000000
#define DEFAULT_GOP_SIZE	30

static unsigned int delay_us;
module_param(delay_us, uint, 0644);
MODULE_PARM_DESC(delay_us, "time a frame takes beyond that of coding it");

static int fail_frame;
module_param(fail_frame, int, 0644);
MODULE_PARM_DESC(fail_frame, "the nth frame from now comes back with V4L2_BUF_FLAG_ERROR");

static bool fail_open;
module_param(fail_open, bool, 0644);
MODULE_PARM_DESC(fail_open, "open() fails with EIO while set, as of a broken encoder");

static unsigned int instances = 8;
module_param(instances, uint, 0644);
MODULE_PARM_DESC(instances, "streams at a time; STREAMON of one more fails with EBUSY");

static unsigned int compression = 1;
module_param(compression, uint, 0644);
MODULE_PARM_DESC(compression, "spends so many times the bit rate: as I_PCM compresses nothing, a board's encoder makes of the same bits so much more");

static unsigned int frames;
module_param(frames, uint, 0444);
MODULE_PARM_DESC(frames, "frames encoded since the module was loaded");

static unsigned int imported;
module_param(imported, uint, 0444);
MODULE_PARM_DESC(imported, "raw frames queued as DMA-BUF: nobody copied them");

static unsigned int copied;
module_param(copied, uint, 0444);
MODULE_PARM_DESC(copied, "raw frames queued as MMAP: the application copied them");

/* Guards fail_frame, frames, imported, copied and instances_streaming. */
static DEFINE_SPINLOCK(accounts_lock);
static unsigned int instances_streaming;

static const u32 raw_pixelformats[] = {
	V4L2_PIX_FMT_NV12,
	V4L2_PIX_FMT_YUV420,
	V4L2_PIX_FMT_YUYV,
};

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

static const struct v4l2_event eos_event = {
	.type = V4L2_EVENT_EOS,
};

struct rig_h264_device {
	struct media_device media;	/* tells applications what the device is for */
	struct v4l2_device v4l2;
	struct video_device video;
	struct v4l2_m2m_dev *m2m;
	struct mutex lock;		/* serialises ioctls that do not touch queues */
};

struct rig_h264_colors {
	u32 colorspace;
	u32 xfer_func;
	u32 ycbcr_enc;
	u32 quantization;
};

/* One open file: one stream. */
struct rig_h264_context {
	struct v4l2_fh fh;
	struct rig_h264_device *device;
	struct mutex queue_lock;	/* serialises ioctls on both queues */
	struct work_struct work;	/* encodes one frame */

	struct rig_raw_format raw;
	struct rig_h264_colors colors;
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

static struct rig_h264_context *file_context(struct file *file)
{
	return container_of(file->private_data, struct rig_h264_context, fh);
}

/* Encoding */

static u32 bytes_per_frame(const struct rig_h264_context *context)
{
	u64 bits = div_u64((u64)context->bitrate * context->time_per_frame.numerator,
			   context->time_per_frame.denominator);

	return min_t(u64, bits / 8 * compression, RIG_H264_NO_BUDGET);
}

static void take_settings(struct rig_h264_context *context,
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

/* Count a frame; false if it is the one that must fail. */
static bool account_frame(void)
{
	bool good = true;

	spin_lock(&accounts_lock);
	if (fail_frame > 0 && --fail_frame == 0)
		good = false;
	else
		frames++;
	spin_unlock(&accounts_lock);
	return good;
}

static void encode_frame(struct work_struct *work)
{
	struct rig_h264_context *context =
		container_of(work, struct rig_h264_context, work);
	struct v4l2_m2m_ctx *m2m = context->fh.m2m_ctx;
	/* The raw buffer stays queued, so that ENC_CMD_STOP finds it as the last one. */
	struct vb2_v4l2_buffer *raw = v4l2_m2m_next_src_buf(m2m);
	struct vb2_v4l2_buffer *coded = v4l2_m2m_dst_buf_remove(m2m);
	enum vb2_buffer_state state = VB2_BUF_STATE_DONE;
	struct rig_h264_settings settings;
	bool key = false;
	int bytes;

	if (delay_us)
		fsleep(delay_us);

	take_settings(context, &settings);
	bytes = rig_h264_encode(&context->encoder, &settings, &context->raw,
				vb2_plane_vaddr(&raw->vb2_buf, 0) +
					raw->vb2_buf.planes[0].data_offset,
				vb2_plane_vaddr(&coded->vb2_buf, 0),
				vb2_plane_size(&coded->vb2_buf, 0), &key);
	if (bytes >= 0 && !account_frame()) {
		rig_h264_restart(&context->encoder);
		bytes = -EIO;
	}
	if (bytes < 0) {
		state = VB2_BUF_STATE_ERROR;
		bytes = 0;
	}

	vb2_set_plane_payload(&coded->vb2_buf, 0, bytes);
	v4l2_m2m_buf_copy_metadata(raw, coded, false);
	coded->field = V4L2_FIELD_NONE;
	coded->sequence = context->coded_sequence++;
	coded->flags &= ~(V4L2_BUF_FLAG_LAST | V4L2_BUF_FLAG_KEYFRAME |
			  V4L2_BUF_FLAG_PFRAME | V4L2_BUF_FLAG_BFRAME);
	coded->flags |= key ? V4L2_BUF_FLAG_KEYFRAME : V4L2_BUF_FLAG_PFRAME;

	spin_lock(&context->drain_lock);
	if (v4l2_m2m_is_last_draining_src_buf(m2m, raw)) {
		coded->flags |= V4L2_BUF_FLAG_LAST;
		v4l2_event_queue_fh(&context->fh, &eos_event);
		v4l2_m2m_mark_stopped(m2m);
	}
	raw->sequence = context->raw_sequence++;
	v4l2_m2m_src_buf_remove(m2m);
	v4l2_m2m_buf_done(raw, VB2_BUF_STATE_DONE);
	v4l2_m2m_buf_done(coded, state);
	spin_unlock(&context->drain_lock);

	v4l2_m2m_job_finish(context->device->m2m, m2m);
}

/* It may run in the caller of VIDIOC_QBUF, which must not wait for the encoder. */
static void rig_h264_device_run(void *priv)
{
	struct rig_h264_context *context = priv;

	queue_work(system_unbound_wq, &context->work);
}

static const struct v4l2_m2m_ops rig_h264_m2m_ops = {
	.device_run = rig_h264_device_run,
};

/* Queues */

/*
 * The smallest buffer that will do. An imported one need not have the rows
 * between the picture's height and the next multiple of 16, which a camera does
 * not write; buffers made here are as large as sizeimage says.
 */
static u32 smallest_buffer(struct rig_h264_context *context, const struct vb2_queue *queue)
{
	if (!V4L2_TYPE_IS_OUTPUT(queue->type))
		return context->coded_size;
	if (queue->memory == VB2_MEMORY_DMABUF)
		return rig_raw_needed(&context->raw);
	return rig_raw_sizeimage(&context->raw);
}

static int rig_h264_queue_setup(struct vb2_queue *queue, unsigned int *buffers,
				unsigned int *planes, unsigned int sizes[],
				struct device *alloc_devs[])
{
	u32 size = smallest_buffer(vb2_get_drv_priv(queue), queue);

	if (*planes)
		return *planes != 1 || sizes[0] < size ? -EINVAL : 0;
	*planes = 1;
	sizes[0] = size;
	return 0;
}

static int rig_h264_buf_out_validate(struct vb2_buffer *vb)
{
	to_vb2_v4l2_buffer(vb)->field = V4L2_FIELD_NONE;
	return 0;
}

static int rig_h264_buf_prepare(struct vb2_buffer *vb)
{
	struct rig_h264_context *context = vb2_get_drv_priv(vb->vb2_queue);
	u32 offset = 0;

	if (V4L2_TYPE_IS_OUTPUT(vb->vb2_queue->type))
		offset = vb->planes[0].data_offset;
	else
		vb2_set_plane_payload(vb, 0, 0);

	/* vb2 knows that the offset is within the plane */
	if (vb2_plane_size(vb, 0) - offset < smallest_buffer(context, vb->vb2_queue))
		return -EINVAL;
	return 0;
}

static void account_raw_buffer(const struct vb2_buffer *vb)
{
	spin_lock(&accounts_lock);
	if (vb->memory == VB2_MEMORY_DMABUF)
		imported++;
	else
		copied++;
	spin_unlock(&accounts_lock);
}

static void rig_h264_buf_queue(struct vb2_buffer *vb)
{
	struct rig_h264_context *context = vb2_get_drv_priv(vb->vb2_queue);
	struct v4l2_m2m_ctx *m2m = context->fh.m2m_ctx;
	struct vb2_v4l2_buffer *vbuf = to_vb2_v4l2_buffer(vb);

	if (V4L2_TYPE_IS_OUTPUT(vb->vb2_queue->type)) {
		account_raw_buffer(vb);
		v4l2_m2m_buf_queue(m2m, vbuf);
		return;
	}

	spin_lock(&context->drain_lock);
	if (vb2_is_streaming(vb->vb2_queue) && v4l2_m2m_dst_buf_is_last(m2m)) {
		/* The stream has been drained without a buffer to say so. */
		vbuf->field = V4L2_FIELD_NONE;
		vbuf->sequence = context->coded_sequence++;
		v4l2_m2m_last_buffer_done(m2m, vbuf);
		v4l2_event_queue_fh(&context->fh, &eos_event);
	} else {
		v4l2_m2m_buf_queue(m2m, vbuf);
	}
	spin_unlock(&context->drain_lock);
}

static void return_buffers(struct vb2_queue *queue, enum vb2_buffer_state state)
{
	struct rig_h264_context *context = vb2_get_drv_priv(queue);
	struct v4l2_m2m_ctx *m2m = context->fh.m2m_ctx;
	struct vb2_v4l2_buffer *vbuf;

	for (;;) {
		if (V4L2_TYPE_IS_OUTPUT(queue->type))
			vbuf = v4l2_m2m_src_buf_remove(m2m);
		else
			vbuf = v4l2_m2m_dst_buf_remove(m2m);
		if (!vbuf)
			return;
		v4l2_m2m_buf_done(vbuf, state);
	}
}

static int rig_h264_start_streaming(struct vb2_queue *queue, unsigned int count)
{
	struct rig_h264_context *context = vb2_get_drv_priv(queue);
	u32 width = context->visible_width;
	u32 height = context->visible_height;

	v4l2_m2m_update_start_streaming_state(context->fh.m2m_ctx, queue);
	if (!V4L2_TYPE_IS_OUTPUT(queue->type)) {
		/* Whoever starts to read needs a key frame first. */
		rig_h264_restart(&context->encoder);
		context->coded_sequence = 0;
		return 0;
	}

	context->encoder_memory = vzalloc(rig_h264_memory(width, height));
	if (!context->encoder_memory) {
		return_buffers(queue, VB2_BUF_STATE_QUEUED);
		return -ENOMEM;
	}
	rig_h264_start(&context->encoder, width, height, context->encoder_memory);
	context->raw_sequence = 0;
	return 0;
}

static void rig_h264_stop_streaming(struct vb2_queue *queue)
{
	struct rig_h264_context *context = vb2_get_drv_priv(queue);
	struct v4l2_m2m_ctx *m2m = context->fh.m2m_ctx;

	/*
	 * v4l2-mem2mem waited for the job, but the worker may still be on its
	 * way out of v4l2_m2m_job_finish(), which uses the context.
	 */
	flush_work(&context->work);
	return_buffers(queue, VB2_BUF_STATE_ERROR);

	spin_lock(&context->drain_lock);
	v4l2_m2m_update_stop_streaming_state(m2m, queue);
	spin_unlock(&context->drain_lock);

	if (!V4L2_TYPE_IS_OUTPUT(queue->type))
		return;
	if (v4l2_m2m_has_stopped(m2m))
		v4l2_event_queue_fh(&context->fh, &eos_event);
	vfree(context->encoder_memory);
	context->encoder_memory = NULL;
}

static const struct vb2_ops rig_h264_queue_ops = {
	.queue_setup = rig_h264_queue_setup,
	.buf_out_validate = rig_h264_buf_out_validate,
	.buf_prepare = rig_h264_buf_prepare,
	.buf_queue = rig_h264_buf_queue,
	.start_streaming = rig_h264_start_streaming,
	.stop_streaming = rig_h264_stop_streaming,
	.wait_prepare = vb2_ops_wait_prepare,
	.wait_finish = vb2_ops_wait_finish,
};

static int init_queue(struct rig_h264_context *context, struct vb2_queue *queue, u32 type)
{
	queue->type = type;
	queue->io_modes = VB2_MMAP | VB2_DMABUF;
	queue->drv_priv = context;
	queue->buf_struct_size = sizeof(struct v4l2_m2m_buffer);
	queue->ops = &rig_h264_queue_ops;
	queue->mem_ops = &vb2_vmalloc_memops;
	queue->timestamp_flags = V4L2_BUF_FLAG_TIMESTAMP_COPY;
	queue->lock = &context->queue_lock;
	queue->min_buffers_needed = 1;
	return vb2_queue_init(queue);
}

static int init_queues(void *priv, struct vb2_queue *output, struct vb2_queue *capture)
{
	int ret = init_queue(priv, output, V4L2_BUF_TYPE_VIDEO_OUTPUT_MPLANE);

	if (ret)
		return ret;
	return init_queue(priv, capture, V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE);
}

static bool is_streaming(struct rig_h264_context *context)
{
	struct v4l2_m2m_ctx *m2m = context->fh.m2m_ctx;

	return vb2_is_streaming(&m2m->out_q_ctx.q) || vb2_is_streaming(&m2m->cap_q_ctx.q);
}

/* Real encoders have few contexts in hardware and take one at STREAMON. */
static int take_instance(struct rig_h264_context *context)
{
	int ret = 0;

	spin_lock(&accounts_lock);
	if (!context->counted) {
		if (instances_streaming < instances) {
			instances_streaming++;
			context->counted = true;
		} else {
			ret = -EBUSY;
		}
	}
	spin_unlock(&accounts_lock);
	return ret;
}

static void give_instance_back(struct rig_h264_context *context)
{
	spin_lock(&accounts_lock);
	if (context->counted) {
		instances_streaming--;
		context->counted = false;
	}
	spin_unlock(&accounts_lock);
}

static int rig_h264_streamon(struct file *file, void *priv, enum v4l2_buf_type type)
{
	struct rig_h264_context *context = file_context(file);
	int ret = take_instance(context);

	if (ret)
		return ret;
	ret = v4l2_m2m_ioctl_streamon(file, priv, type);
	if (!is_streaming(context))
		give_instance_back(context);
	return ret;
}

static int rig_h264_streamoff(struct file *file, void *priv, enum v4l2_buf_type type)
{
	struct rig_h264_context *context = file_context(file);
	int ret = v4l2_m2m_ioctl_streamoff(file, priv, type);

	if (!is_streaming(context))
		give_instance_back(context);
	return ret;
}

/* Formats */

static int rig_h264_querycap(struct file *file, void *priv, struct v4l2_capability *cap)
{
	strscpy(cap->driver, RIG_H264_NAME, sizeof(cap->driver));
	strscpy(cap->card, RIG_H264_NAME, sizeof(cap->card));
	return 0;
}

static int rig_h264_enum_coded(struct file *file, void *priv, struct v4l2_fmtdesc *desc)
{
	if (desc->index)
		return -EINVAL;
	desc->pixelformat = V4L2_PIX_FMT_H264;
	return 0;
}

static int rig_h264_enum_raw(struct file *file, void *priv, struct v4l2_fmtdesc *desc)
{
	if (desc->index >= ARRAY_SIZE(raw_pixelformats))
		return -EINVAL;
	desc->pixelformat = raw_pixelformats[desc->index];
	return 0;
}

static bool is_known_pixelformat(u32 pixelformat)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(raw_pixelformats); i++) {
		if (pixelformat == raw_pixelformats[i])
			return true;
	}
	return pixelformat == V4L2_PIX_FMT_H264;
}

static int rig_h264_enum_framesizes(struct file *file, void *priv,
				    struct v4l2_frmsizeenum *sizes)
{
	if (sizes->index || !is_known_pixelformat(sizes->pixel_format))
		return -EINVAL;
	sizes->type = V4L2_FRMSIZE_TYPE_STEPWISE;
	sizes->stepwise.min_width = RIG_RAW_MIN_SIZE;
	sizes->stepwise.max_width = RIG_RAW_MAX_WIDTH;
	sizes->stepwise.step_width = 2;
	sizes->stepwise.min_height = RIG_RAW_MIN_SIZE;
	sizes->stepwise.max_height = RIG_RAW_MAX_HEIGHT;
	sizes->stepwise.step_height = 2;
	return 0;
}

static void describe_colors(const struct rig_h264_colors *colors,
			    struct v4l2_pix_format_mplane *mp)
{
	mp->colorspace = colors->colorspace;
	mp->xfer_func = colors->xfer_func;
	mp->ycbcr_enc = colors->ycbcr_enc;
	mp->quantization = colors->quantization;
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
	describe_colors(&context->colors, mp);
}

static int rig_h264_get_coded(struct file *file, void *priv, struct v4l2_format *f)
{
	describe_coded(file_context(file), &f->fmt.pix_mp);
	return 0;
}

static int rig_h264_set_coded(struct file *file, void *priv, struct v4l2_format *f)
{
	struct rig_h264_context *context = file_context(file);

	if (vb2_is_busy(v4l2_m2m_get_vq(context->fh.m2m_ctx, f->type)))
		return -EBUSY;
	return rig_h264_get_coded(file, priv, f);
}

static int rig_h264_get_raw(struct file *file, void *priv, struct v4l2_format *f)
{
	struct rig_h264_context *context = file_context(file);

	rig_raw_describe(&context->raw, &f->fmt.pix_mp);
	describe_colors(&context->colors, &f->fmt.pix_mp);
	return 0;
}

static int rig_h264_try_raw(struct file *file, void *priv, struct v4l2_format *f)
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
	context->colors.colorspace = mp->colorspace;
	context->colors.xfer_func = mp->xfer_func;
	context->colors.ycbcr_enc = mp->ycbcr_enc;
	context->colors.quantization = mp->quantization;
	/* It never shrinks, because GStreamer negotiates CAPTURE first. */
	context->coded_size = max(context->coded_size,
				  rig_h264_max_coded(context->raw.width,
						     context->raw.height));
}

static int rig_h264_set_raw(struct file *file, void *priv, struct v4l2_format *f)
{
	struct rig_h264_context *context = file_context(file);
	struct v4l2_m2m_ctx *m2m = context->fh.m2m_ctx;

	/* The raw format decides how large CAPTURE buffers have to be. */
	if (vb2_is_busy(&m2m->out_q_ctx.q) || vb2_is_busy(&m2m->cap_q_ctx.q))
		return -EBUSY;
	apply_raw(context, &f->fmt.pix_mp);
	return rig_h264_get_raw(file, priv, f);
}

static int rig_h264_g_parm(struct file *file, void *priv, struct v4l2_streamparm *parm)
{
	struct rig_h264_context *context = file_context(file);

	if (!V4L2_TYPE_IS_OUTPUT(parm->type))
		return -EINVAL;
	parm->parm.output.capability = V4L2_CAP_TIMEPERFRAME;
	parm->parm.output.timeperframe = context->time_per_frame;
	return 0;
}

static int rig_h264_s_parm(struct file *file, void *priv, struct v4l2_streamparm *parm)
{
	struct rig_h264_context *context = file_context(file);
	struct v4l2_fract time = parm->parm.output.timeperframe;

	if (!V4L2_TYPE_IS_OUTPUT(parm->type))
		return -EINVAL;
	if (time.numerator && time.denominator) {
		mutex_lock(context->controls.lock);
		context->time_per_frame = time;
		mutex_unlock(context->controls.lock);
	}
	return rig_h264_g_parm(file, priv, parm);
}

static int rig_h264_g_selection(struct file *file, void *priv, struct v4l2_selection *selection)
{
	struct rig_h264_context *context = file_context(file);

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

static int rig_h264_s_selection(struct file *file, void *priv, struct v4l2_selection *selection)
{
	struct rig_h264_context *context = file_context(file);
	struct v4l2_m2m_ctx *m2m = context->fh.m2m_ctx;

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
	return rig_h264_g_selection(file, priv, selection);
}

/* Commands, events and controls */

static int rig_h264_encoder_cmd(struct file *file, void *priv, struct v4l2_encoder_cmd *cmd)
{
	struct rig_h264_context *context = file_context(file);
	struct v4l2_m2m_ctx *m2m = context->fh.m2m_ctx;
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
		v4l2_event_queue_fh(&context->fh, &eos_event);
	if (cmd->cmd == V4L2_ENC_CMD_START && v4l2_m2m_has_stopped(m2m))
		vb2_clear_last_buffer_dequeued(&m2m->cap_q_ctx.q);
	return 0;
}

static int rig_h264_subscribe_event(struct v4l2_fh *fh,
				    const struct v4l2_event_subscription *subscription)
{
	if (subscription->type == V4L2_EVENT_EOS)
		return v4l2_event_subscribe(fh, subscription, 0, NULL);
	return v4l2_ctrl_subscribe_event(fh, subscription);
}

static const struct v4l2_ioctl_ops rig_h264_ioctl_ops = {
	.vidioc_querycap = rig_h264_querycap,

	.vidioc_enum_fmt_vid_cap = rig_h264_enum_coded,
	.vidioc_enum_fmt_vid_out = rig_h264_enum_raw,
	.vidioc_enum_framesizes = rig_h264_enum_framesizes,
	.vidioc_g_fmt_vid_cap_mplane = rig_h264_get_coded,
	.vidioc_try_fmt_vid_cap_mplane = rig_h264_get_coded,
	.vidioc_s_fmt_vid_cap_mplane = rig_h264_set_coded,
	.vidioc_g_fmt_vid_out_mplane = rig_h264_get_raw,
	.vidioc_try_fmt_vid_out_mplane = rig_h264_try_raw,
	.vidioc_s_fmt_vid_out_mplane = rig_h264_set_raw,
	.vidioc_g_parm = rig_h264_g_parm,
	.vidioc_s_parm = rig_h264_s_parm,
	.vidioc_g_selection = rig_h264_g_selection,
	.vidioc_s_selection = rig_h264_s_selection,

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

/* Called with controls.lock held. Controls not named here change nothing. */
static int rig_h264_s_ctrl(struct v4l2_ctrl *ctrl)
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

static const struct v4l2_ctrl_ops rig_h264_ctrl_ops = {
	.s_ctrl = rig_h264_s_ctrl,
};

static int init_controls(struct rig_h264_context *context)
{
	const struct v4l2_ctrl_ops *ops = &rig_h264_ctrl_ops;
	struct v4l2_ctrl_handler *handler = &context->controls;

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
	if (handler->error)
		return handler->error;
	return v4l2_ctrl_handler_setup(handler);
}

/* Files */

static void init_formats(struct rig_h264_context *context)
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

static int rig_h264_open(struct file *file)
{
	struct rig_h264_device *device = video_drvdata(file);
	struct rig_h264_context *context;
	int ret;

	if (fail_open)
		return -EIO;

	context = kzalloc(sizeof(*context), GFP_KERNEL);
	if (!context)
		return -ENOMEM;
	context->device = device;
	mutex_init(&context->queue_lock);
	spin_lock_init(&context->drain_lock);
	INIT_WORK(&context->work, encode_frame);
	init_formats(context);

	v4l2_fh_init(&context->fh, video_devdata(file));
	file->private_data = &context->fh;
	ret = init_controls(context);
	if (ret)
		goto free_context;
	/* setting up the button control has pressed it */
	context->force_key = false;
	context->fh.ctrl_handler = &context->controls;

	context->fh.m2m_ctx = v4l2_m2m_ctx_init(device->m2m, context, init_queues);
	if (IS_ERR(context->fh.m2m_ctx)) {
		ret = PTR_ERR(context->fh.m2m_ctx);
		goto free_context;
	}
	v4l2_fh_add(&context->fh);
	return 0;

free_context:
	v4l2_ctrl_handler_free(&context->controls);
	v4l2_fh_exit(&context->fh);
	kfree(context);
	return ret;
}

static int rig_h264_release(struct file *file)
{
	struct rig_h264_context *context = file_context(file);

	/* the queues first: they queue events and read controls until they stop */
	mutex_lock(&context->queue_lock);
	v4l2_m2m_ctx_release(context->fh.m2m_ctx);
	mutex_unlock(&context->queue_lock);
	give_instance_back(context);
	v4l2_fh_del(&context->fh);
	v4l2_fh_exit(&context->fh);
	v4l2_ctrl_handler_free(&context->controls);
	kfree(context);
	return 0;
}

static const struct v4l2_file_operations rig_h264_fops = {
	.owner = THIS_MODULE,
	.open = rig_h264_open,
	.release = rig_h264_release,
	.poll = v4l2_m2m_fop_poll,
	.unlocked_ioctl = video_ioctl2,
	.mmap = v4l2_m2m_fop_mmap,
};

/* The device */

/* Called when the last file is closed, which may be after remove(). */
static void rig_h264_video_release(struct video_device *video)
{
	struct rig_h264_device *device = container_of(video, struct rig_h264_device, video);

	v4l2_m2m_release(device->m2m);
	v4l2_device_unregister(&device->v4l2);
	media_device_cleanup(&device->media);
	kfree(device);
}

static int rig_h264_probe(struct platform_device *pdev)
{
	struct rig_h264_device *device = kzalloc(sizeof(*device), GFP_KERNEL);
	struct video_device *video;
	int ret;

	if (!device)
		return -ENOMEM;
	mutex_init(&device->lock);
	device->media.dev = &pdev->dev;
	strscpy(device->media.model, RIG_H264_NAME, sizeof(device->media.model));
	media_device_init(&device->media);
	device->v4l2.mdev = &device->media;
	ret = v4l2_device_register(&pdev->dev, &device->v4l2);
	if (ret)
		goto clean_up_media;

	device->m2m = v4l2_m2m_init(&rig_h264_m2m_ops);
	if (IS_ERR(device->m2m)) {
		ret = PTR_ERR(device->m2m);
		goto unregister_v4l2;
	}

	video = &device->video;
	strscpy(video->name, RIG_H264_NAME, sizeof(video->name));
	video->vfl_dir = VFL_DIR_M2M;
	video->fops = &rig_h264_fops;
	video->ioctl_ops = &rig_h264_ioctl_ops;
	video->release = rig_h264_video_release;
	video->lock = &device->lock;
	video->v4l2_dev = &device->v4l2;
	video->device_caps = V4L2_CAP_VIDEO_M2M_MPLANE | V4L2_CAP_STREAMING;
	video_set_drvdata(video, device);
	platform_set_drvdata(pdev, device);
	ret = video_register_device(video, VFL_TYPE_VIDEO, -1);
	if (ret)
		goto release_m2m;
	ret = v4l2_m2m_register_media_controller(device->m2m, video,
						 MEDIA_ENT_F_PROC_VIDEO_ENCODER);
	if (ret)
		goto unregister_video;
	ret = media_device_register(&device->media);
	if (ret)
		goto unregister_entities;
	return 0;

unregister_entities:
	v4l2_m2m_unregister_media_controller(device->m2m);
unregister_video:
	/* calls rig_h264_video_release() */
	video_unregister_device(video);
	return ret;
release_m2m:
	v4l2_m2m_release(device->m2m);
unregister_v4l2:
	v4l2_device_unregister(&device->v4l2);
clean_up_media:
	media_device_cleanup(&device->media);
	kfree(device);
	return ret;
}

static int rig_h264_remove(struct platform_device *pdev)
{
	struct rig_h264_device *device = platform_get_drvdata(pdev);

	media_device_unregister(&device->media);
	v4l2_m2m_unregister_media_controller(device->m2m);
	video_unregister_device(&device->video);
	return 0;
}

static struct platform_driver rig_h264_driver = {
	.probe = rig_h264_probe,
	.remove = rig_h264_remove,
	.driver = {
		.name = RIG_H264_NAME,
	},
};

static struct platform_device *rig_h264_platform_device;

static int __init rig_h264_init(void)
{
	int ret = platform_driver_register(&rig_h264_driver);

	if (ret)
		return ret;
	rig_h264_platform_device = platform_device_register_simple(RIG_H264_NAME,
								   PLATFORM_DEVID_NONE, NULL, 0);
	if (IS_ERR(rig_h264_platform_device)) {
		platform_driver_unregister(&rig_h264_driver);
		return PTR_ERR(rig_h264_platform_device);
	}
	return 0;
}

static void __exit rig_h264_exit(void)
{
	platform_device_unregister(rig_h264_platform_device);
	platform_driver_unregister(&rig_h264_driver);
}

module_init(rig_h264_init);
module_exit(rig_h264_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("virtual stateful H.264 encoder for tests");
