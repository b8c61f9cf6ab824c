// SPDX-License-Identifier: GPL-2.0
/*
 * rig-scaler: a virtual V4L2 memory-to-memory scaler and converter for tests.
 *
 * It stands in for the scaler of a board. Raw pictures of one size and format
 * go in, pictures of another come out: each sample is the mean of those it
 * covers, and a copy of the nearest one where the picture grows.
 */
#include <linux/delay.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/platform_device.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/workqueue.h>
#include <media/media-device.h>
#include <media/v4l2-device.h>
#include <media/v4l2-event.h>
#include <media/v4l2-ioctl.h>
#include <media/v4l2-mem2mem.h>
#include <media/videobuf2-vmalloc.h>

#include "rig-raw.h"

#define RIG_SCALER_NAME		"rig-scaler"
#define DEFAULT_WIDTH		640
#define DEFAULT_HEIGHT		360

static unsigned int delay_us;
module_param(delay_us, uint, 0644);
MODULE_PARM_DESC(delay_us, "time a frame takes beyond that of scaling it");

static unsigned int frames;
module_param(frames, uint, 0444);
MODULE_PARM_DESC(frames, "frames scaled since the module was loaded");

static unsigned int imported;
module_param(imported, uint, 0444);
MODULE_PARM_DESC(imported, "source frames queued as DMA-BUF: nobody copied them");

static unsigned int copied;
module_param(copied, uint, 0444);
MODULE_PARM_DESC(copied, "source frames queued as MMAP: the application copied them");

/* Guards frames, imported and copied. */
static DEFINE_SPINLOCK(accounts_lock);

/* OUTPUT takes all of them, CAPTURE the planar ones before the packed one. */
static const u32 pixelformats[] = {
	V4L2_PIX_FMT_NV12,
	V4L2_PIX_FMT_YUV420,
	V4L2_PIX_FMT_YUYV,
};

#define SOURCE_PIXELFORMATS		ARRAY_SIZE(pixelformats)
#define DESTINATION_PIXELFORMATS	(ARRAY_SIZE(pixelformats) - 1)

struct rig_scaler_device {
	struct media_device media;	/* tells applications what the device is for */
	struct v4l2_device v4l2;
	struct video_device video;
	struct v4l2_m2m_dev *m2m;
	struct mutex lock;		/* serialises ioctls that do not touch queues */
};

/* One open file. */
struct rig_scaler_context {
	struct v4l2_fh fh;
	struct rig_scaler_device *device;
	struct mutex queue_lock;	/* serialises ioctls on both queues */
	struct work_struct work;	/* scales one frame */
	struct rig_raw_format source;
	struct rig_raw_format destination;
	u32 colorspace;			/* of both: no colours are changed */
	u32 xfer_func;
	u32 ycbcr_enc;
	u32 quantization;
	u32 source_sequence;
	u32 destination_sequence;
};

static struct rig_scaler_context *file_context(struct file *file)
{
	return container_of(file->private_data, struct rig_scaler_context, fh);
}

static struct rig_raw_format *queue_format(struct rig_scaler_context *context, u32 type)
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

static void scale_picture(const struct rig_raw_format *from, const u8 *source,
			  const struct rig_raw_format *to, u8 *destination)
{
	unsigned int i;

	for (i = 0; i < RIG_RAW_COMPONENTS; i++) {
		struct rig_raw_component from_component = rig_raw_component(from, i);
		struct rig_raw_component to_component = rig_raw_component(to, i);

		scale_component(&from_component, source, &to_component, destination);
	}
}

static void scale_frame(struct work_struct *work)
{
	struct rig_scaler_context *context =
		container_of(work, struct rig_scaler_context, work);
	struct v4l2_m2m_ctx *m2m = context->fh.m2m_ctx;
	struct vb2_v4l2_buffer *source = v4l2_m2m_src_buf_remove(m2m);
	struct vb2_v4l2_buffer *destination = v4l2_m2m_dst_buf_remove(m2m);

	if (delay_us)
		fsleep(delay_us);
	scale_picture(&context->source,
		      vb2_plane_vaddr(&source->vb2_buf, 0) +
			source->vb2_buf.planes[0].data_offset,
		      &context->destination,
		      vb2_plane_vaddr(&destination->vb2_buf, 0));

	spin_lock(&accounts_lock);
	frames++;
	spin_unlock(&accounts_lock);

	vb2_set_plane_payload(&destination->vb2_buf, 0, rig_raw_needed(&context->destination));
	v4l2_m2m_buf_copy_metadata(source, destination, true);
	destination->field = V4L2_FIELD_NONE;
	source->sequence = context->source_sequence++;
	destination->sequence = context->destination_sequence++;
	v4l2_m2m_buf_done(source, VB2_BUF_STATE_DONE);
	v4l2_m2m_buf_done(destination, VB2_BUF_STATE_DONE);
	v4l2_m2m_job_finish(context->device->m2m, m2m);
}

/* It may run in the caller of VIDIOC_QBUF, which must not wait for the scaler. */
static void rig_scaler_device_run(void *priv)
{
	struct rig_scaler_context *context = priv;

	queue_work(system_unbound_wq, &context->work);
}

static const struct v4l2_m2m_ops rig_scaler_m2m_ops = {
	.device_run = rig_scaler_device_run,
};

/* Queues */

/*
 * The smallest buffer that will do. An imported one need not have the rows
 * between the picture's height and the next multiple of 16, which a camera does
 * not write; buffers made here are as large as sizeimage says.
 */
static u32 smallest_buffer(struct rig_scaler_context *context, const struct vb2_queue *queue)
{
	const struct rig_raw_format *format = queue_format(context, queue->type);

	if (queue->memory == VB2_MEMORY_DMABUF)
		return rig_raw_needed(format);
	return rig_raw_sizeimage(format);
}

static int rig_scaler_queue_setup(struct vb2_queue *queue, unsigned int *buffers,
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

static int rig_scaler_buf_out_validate(struct vb2_buffer *vb)
{
	to_vb2_v4l2_buffer(vb)->field = V4L2_FIELD_NONE;
	return 0;
}

static int rig_scaler_buf_prepare(struct vb2_buffer *vb)
{
	struct rig_scaler_context *context = vb2_get_drv_priv(vb->vb2_queue);
	u32 offset = 0;

	if (V4L2_TYPE_IS_OUTPUT(vb->vb2_queue->type))
		offset = vb->planes[0].data_offset;
	/* vb2 knows that the offset is within the plane */
	if (vb2_plane_size(vb, 0) - offset < smallest_buffer(context, vb->vb2_queue))
		return -EINVAL;
	return 0;
}

static void account_source_buffer(const struct vb2_buffer *vb)
{
	spin_lock(&accounts_lock);
	if (vb->memory == VB2_MEMORY_DMABUF)
		imported++;
	else
		copied++;
	spin_unlock(&accounts_lock);
}

static void rig_scaler_buf_queue(struct vb2_buffer *vb)
{
	struct rig_scaler_context *context = vb2_get_drv_priv(vb->vb2_queue);

	if (V4L2_TYPE_IS_OUTPUT(vb->vb2_queue->type))
		account_source_buffer(vb);
	v4l2_m2m_buf_queue(context->fh.m2m_ctx, to_vb2_v4l2_buffer(vb));
}

static int rig_scaler_start_streaming(struct vb2_queue *queue, unsigned int count)
{
	struct rig_scaler_context *context = vb2_get_drv_priv(queue);

	if (V4L2_TYPE_IS_OUTPUT(queue->type))
		context->source_sequence = 0;
	else
		context->destination_sequence = 0;
	return 0;
}

static void rig_scaler_stop_streaming(struct vb2_queue *queue)
{
	struct rig_scaler_context *context = vb2_get_drv_priv(queue);
	struct v4l2_m2m_ctx *m2m = context->fh.m2m_ctx;
	struct vb2_v4l2_buffer *vbuf;

	/*
	 * v4l2-mem2mem waited for the job, but the worker may still be on its
	 * way out of v4l2_m2m_job_finish(), which uses the context.
	 */
	flush_work(&context->work);
	for (;;) {
		if (V4L2_TYPE_IS_OUTPUT(queue->type))
			vbuf = v4l2_m2m_src_buf_remove(m2m);
		else
			vbuf = v4l2_m2m_dst_buf_remove(m2m);
		if (!vbuf)
			return;
		v4l2_m2m_buf_done(vbuf, VB2_BUF_STATE_ERROR);
	}
}

static const struct vb2_ops rig_scaler_queue_ops = {
	.queue_setup = rig_scaler_queue_setup,
	.buf_out_validate = rig_scaler_buf_out_validate,
	.buf_prepare = rig_scaler_buf_prepare,
	.buf_queue = rig_scaler_buf_queue,
	.start_streaming = rig_scaler_start_streaming,
	.stop_streaming = rig_scaler_stop_streaming,
	.wait_prepare = vb2_ops_wait_prepare,
	.wait_finish = vb2_ops_wait_finish,
};

static int init_queue(struct rig_scaler_context *context, struct vb2_queue *queue, u32 type)
{
	queue->type = type;
	queue->io_modes = VB2_MMAP | VB2_DMABUF;
	queue->drv_priv = context;
	queue->buf_struct_size = sizeof(struct v4l2_m2m_buffer);
	queue->ops = &rig_scaler_queue_ops;
	queue->mem_ops = &vb2_vmalloc_memops;
	queue->timestamp_flags = V4L2_BUF_FLAG_TIMESTAMP_COPY;
	queue->lock = &context->queue_lock;
	return vb2_queue_init(queue);
}

static int init_queues(void *priv, struct vb2_queue *output, struct vb2_queue *capture)
{
	int ret = init_queue(priv, output, V4L2_BUF_TYPE_VIDEO_OUTPUT_MPLANE);

	if (ret)
		return ret;
	return init_queue(priv, capture, V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE);
}

/* Formats */

static int rig_scaler_querycap(struct file *file, void *priv, struct v4l2_capability *cap)
{
	strscpy(cap->driver, RIG_SCALER_NAME, sizeof(cap->driver));
	strscpy(cap->card, RIG_SCALER_NAME, sizeof(cap->card));
	return 0;
}

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
	int i;

	for (i = 0; i < ARRAY_SIZE(pixelformats); i++) {
		if (sizes->pixel_format == pixelformats[i])
			break;
	}
	if (sizes->index || i == ARRAY_SIZE(pixelformats))
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

static void describe_colors(const struct rig_scaler_context *context,
			    struct v4l2_pix_format_mplane *mp)
{
	mp->colorspace = context->colorspace;
	mp->xfer_func = context->xfer_func;
	mp->ycbcr_enc = context->ycbcr_enc;
	mp->quantization = context->quantization;
}

static int rig_scaler_g_fmt(struct file *file, void *priv, struct v4l2_format *f)
{
	struct rig_scaler_context *context = file_context(file);

	rig_raw_describe(queue_format(context, f->type), &f->fmt.pix_mp);
	describe_colors(context, &f->fmt.pix_mp);
	return 0;
}

static int rig_scaler_try_fmt(struct file *file, void *priv, struct v4l2_format *f)
{
	struct v4l2_pix_format_mplane *mp = &f->fmt.pix_mp;
	struct rig_raw_format format =
		rig_raw_negotiate(mp, pixelformats, pixelformat_count(f->type));

	rig_raw_describe(&format, mp);
	if (V4L2_TYPE_IS_CAPTURE(f->type))
		describe_colors(file_context(file), mp);
	return 0;
}

static int rig_scaler_s_fmt(struct file *file, void *priv, struct v4l2_format *f)
{
	struct rig_scaler_context *context = file_context(file);
	struct v4l2_pix_format_mplane *mp = &f->fmt.pix_mp;

	if (vb2_is_busy(v4l2_m2m_get_vq(context->fh.m2m_ctx, f->type)))
		return -EBUSY;
	*queue_format(context, f->type) =
		rig_raw_negotiate(mp, pixelformats, pixelformat_count(f->type));
	if (V4L2_TYPE_IS_OUTPUT(f->type)) {
		context->colorspace = mp->colorspace;
		context->xfer_func = mp->xfer_func;
		context->ycbcr_enc = mp->ycbcr_enc;
		context->quantization = mp->quantization;
	}
	return rig_scaler_g_fmt(file, priv, f);
}

static const struct v4l2_ioctl_ops rig_scaler_ioctl_ops = {
	.vidioc_querycap = rig_scaler_querycap,

	.vidioc_enum_fmt_vid_cap = rig_scaler_enum_fmt,
	.vidioc_enum_fmt_vid_out = rig_scaler_enum_fmt,
	.vidioc_enum_framesizes = rig_scaler_enum_framesizes,
	.vidioc_g_fmt_vid_cap_mplane = rig_scaler_g_fmt,
	.vidioc_try_fmt_vid_cap_mplane = rig_scaler_try_fmt,
	.vidioc_s_fmt_vid_cap_mplane = rig_scaler_s_fmt,
	.vidioc_g_fmt_vid_out_mplane = rig_scaler_g_fmt,
	.vidioc_try_fmt_vid_out_mplane = rig_scaler_try_fmt,
	.vidioc_s_fmt_vid_out_mplane = rig_scaler_s_fmt,

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

	context->source = rig_raw_negotiate(&mp, pixelformats, SOURCE_PIXELFORMATS);
	context->destination = context->source;
	context->colorspace = V4L2_COLORSPACE_REC709;
}

static int rig_scaler_open(struct file *file)
{
	struct rig_scaler_device *device = video_drvdata(file);
	struct rig_scaler_context *context = kzalloc(sizeof(*context), GFP_KERNEL);
	int ret;

	if (!context)
		return -ENOMEM;
	context->device = device;
	mutex_init(&context->queue_lock);
	INIT_WORK(&context->work, scale_frame);
	init_formats(context);

	v4l2_fh_init(&context->fh, video_devdata(file));
	file->private_data = &context->fh;
	context->fh.m2m_ctx = v4l2_m2m_ctx_init(device->m2m, context, init_queues);
	if (IS_ERR(context->fh.m2m_ctx)) {
		ret = PTR_ERR(context->fh.m2m_ctx);
		v4l2_fh_exit(&context->fh);
		kfree(context);
		return ret;
	}
	v4l2_fh_add(&context->fh);
	return 0;
}

static int rig_scaler_release(struct file *file)
{
	struct rig_scaler_context *context = file_context(file);

	mutex_lock(&context->queue_lock);
	v4l2_m2m_ctx_release(context->fh.m2m_ctx);
	mutex_unlock(&context->queue_lock);
	v4l2_fh_del(&context->fh);
	v4l2_fh_exit(&context->fh);
	kfree(context);
	return 0;
}

static const struct v4l2_file_operations rig_scaler_fops = {
	.owner = THIS_MODULE,
	.open = rig_scaler_open,
	.release = rig_scaler_release,
	.poll = v4l2_m2m_fop_poll,
	.unlocked_ioctl = video_ioctl2,
	.mmap = v4l2_m2m_fop_mmap,
};

/* The device */

/* Called when the last file is closed, which may be after remove(). */
static void rig_scaler_video_release(struct video_device *video)
{
	struct rig_scaler_device *device = container_of(video, struct rig_scaler_device, video);

	v4l2_m2m_release(device->m2m);
	v4l2_device_unregister(&device->v4l2);
	media_device_cleanup(&device->media);
	kfree(device);
}

static int rig_scaler_probe(struct platform_device *pdev)
{
	struct rig_scaler_device *device = kzalloc(sizeof(*device), GFP_KERNEL);
	struct video_device *video;
	int ret;

	if (!device)
		return -ENOMEM;
	mutex_init(&device->lock);
	device->media.dev = &pdev->dev;
	strscpy(device->media.model, RIG_SCALER_NAME, sizeof(device->media.model));
	media_device_init(&device->media);
	device->v4l2.mdev = &device->media;
	ret = v4l2_device_register(&pdev->dev, &device->v4l2);
	if (ret)
		goto clean_up_media;

	device->m2m = v4l2_m2m_init(&rig_scaler_m2m_ops);
	if (IS_ERR(device->m2m)) {
		ret = PTR_ERR(device->m2m);
		goto unregister_v4l2;
	}

	video = &device->video;
	strscpy(video->name, RIG_SCALER_NAME, sizeof(video->name));
	video->vfl_dir = VFL_DIR_M2M;
	video->fops = &rig_scaler_fops;
	video->ioctl_ops = &rig_scaler_ioctl_ops;
	video->release = rig_scaler_video_release;
	video->lock = &device->lock;
	video->v4l2_dev = &device->v4l2;
	video->device_caps = V4L2_CAP_VIDEO_M2M_MPLANE | V4L2_CAP_STREAMING;
	video_set_drvdata(video, device);
	platform_set_drvdata(pdev, device);
	ret = video_register_device(video, VFL_TYPE_VIDEO, -1);
	if (ret)
		goto release_m2m;
	ret = v4l2_m2m_register_media_controller(device->m2m, video,
						 MEDIA_ENT_F_PROC_VIDEO_SCALER);
	if (ret)
		goto unregister_video;
	ret = media_device_register(&device->media);
	if (ret)
		goto unregister_entities;
	return 0;

unregister_entities:
	v4l2_m2m_unregister_media_controller(device->m2m);
unregister_video:
	/* calls rig_scaler_video_release() */
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

static int rig_scaler_remove(struct platform_device *pdev)
{
	struct rig_scaler_device *device = platform_get_drvdata(pdev);

	media_device_unregister(&device->media);
	v4l2_m2m_unregister_media_controller(device->m2m);
	video_unregister_device(&device->video);
	return 0;
}

static struct platform_driver rig_scaler_driver = {
	.probe = rig_scaler_probe,
	.remove = rig_scaler_remove,
	.driver = {
		.name = RIG_SCALER_NAME,
	},
};

static struct platform_device *rig_scaler_platform_device;

static int __init rig_scaler_init(void)
{
	int ret = platform_driver_register(&rig_scaler_driver);

	if (ret)
		return ret;
	rig_scaler_platform_device = platform_device_register_simple(RIG_SCALER_NAME,
								     PLATFORM_DEVID_NONE,
								     NULL, 0);
	if (IS_ERR(rig_scaler_platform_device)) {
		platform_driver_unregister(&rig_scaler_driver);
		return PTR_ERR(rig_scaler_platform_device);
	}
	return 0;
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
