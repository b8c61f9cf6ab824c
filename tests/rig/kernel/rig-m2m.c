// SPDX-License-Identifier: GPL-2.0
/*
 * rig-m2m: what the virtual memory-to-memory devices rig-h264 and rig-scaler
 * have in common. rig-m2m.h says what.
 */
#include <linux/delay.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <media/v4l2-ioctl.h>
#include <media/videobuf2-vmalloc.h>

#include "rig-m2m.h"
#include "rig-raw.h"

/* Frames */

void rig_m2m_delay(const struct rig_m2m_stream *stream)
{
	unsigned int delay_us = READ_ONCE(stream->device->kind->accounts->delay_us);

	if (delay_us)
		fsleep(delay_us);
}
EXPORT_SYMBOL_GPL(rig_m2m_delay);

bool rig_m2m_account_frame(const struct rig_m2m_stream *stream)
{
	struct rig_m2m_accounts *accounts = stream->device->kind->accounts;
	bool good = true;

	spin_lock(&accounts->lock);
	if (accounts->fail_frame > 0 && --accounts->fail_frame == 0)
		good = false;
	else
		accounts->frames++;
	spin_unlock(&accounts->lock);
	return good;
}
EXPORT_SYMBOL_GPL(rig_m2m_account_frame);

void rig_m2m_account_raw(const struct vb2_buffer *vb)
{
	struct rig_m2m_stream *stream = vb2_get_drv_priv(vb->vb2_queue);
	struct rig_m2m_accounts *accounts = stream->device->kind->accounts;

	spin_lock(&accounts->lock);
	if (vb->memory == VB2_MEMORY_DMABUF)
		accounts->imported++;
	else
		accounts->copied++;
	spin_unlock(&accounts->lock);
}
EXPORT_SYMBOL_GPL(rig_m2m_account_raw);

/* It may run in the caller of VIDIOC_QBUF, which must not wait for the work. */
static void device_run(void *priv)
{
	struct rig_m2m_stream *stream = priv;

	queue_work(system_unbound_wq, &stream->work);
}

static const struct v4l2_m2m_ops m2m_ops = {
	.device_run = device_run,
};

/* Queues */

static u32 smallest_buffer(struct vb2_queue *queue)
{
	struct rig_m2m_stream *stream = vb2_get_drv_priv(queue);

	return stream->device->kind->smallest_buffer(stream, queue);
}

int rig_m2m_queue_setup(struct vb2_queue *queue, unsigned int *buffers, unsigned int *planes,
			unsigned int sizes[], struct device *alloc_devs[])
{
	u32 size = smallest_buffer(queue);

	if (*planes)
		return *planes != 1 || sizes[0] < size ? -EINVAL : 0;
	*planes = 1;
	sizes[0] = size;
	return 0;
}
EXPORT_SYMBOL_GPL(rig_m2m_queue_setup);

int rig_m2m_buf_out_validate(struct vb2_buffer *vb)
{
	to_vb2_v4l2_buffer(vb)->field = V4L2_FIELD_NONE;
	return 0;
}
EXPORT_SYMBOL_GPL(rig_m2m_buf_out_validate);

int rig_m2m_buf_prepare(struct vb2_buffer *vb)
{
	struct rig_m2m_stream *stream = vb2_get_drv_priv(vb->vb2_queue);
	int refusal = READ_ONCE(stream->device->kind->accounts->refuse_import);
	u32 offset = 0;

	if (refusal > 0 && vb->memory == VB2_MEMORY_DMABUF)
		return -refusal;
	if (V4L2_TYPE_IS_OUTPUT(vb->vb2_queue->type))
		offset = vb->planes[0].data_offset;
	else
		vb2_set_plane_payload(vb, 0, 0);

	/* vb2 knows that the offset is within the plane */
	if (vb2_plane_size(vb, 0) - offset < smallest_buffer(vb->vb2_queue))
		return -EINVAL;
	return 0;
}
EXPORT_SYMBOL_GPL(rig_m2m_buf_prepare);

void rig_m2m_return_buffers(struct vb2_queue *queue, enum vb2_buffer_state state)
{
	struct rig_m2m_stream *stream = vb2_get_drv_priv(queue);
	struct v4l2_m2m_ctx *m2m = stream->fh.m2m_ctx;
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
EXPORT_SYMBOL_GPL(rig_m2m_return_buffers);

static int init_queue(struct rig_m2m_stream *stream, struct vb2_queue *queue, u32 type)
{
	queue->type = type;
	queue->io_modes = VB2_MMAP | VB2_DMABUF;
	queue->drv_priv = stream;
	queue->buf_struct_size = sizeof(struct v4l2_m2m_buffer);
	queue->ops = stream->device->kind->queue_ops;
	queue->mem_ops = &vb2_vmalloc_memops;
	queue->timestamp_flags = V4L2_BUF_FLAG_TIMESTAMP_COPY;
	queue->lock = &stream->queue_lock;
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

/* Formats */

int rig_m2m_querycap(struct file *file, void *priv, struct v4l2_capability *cap)
{
	const struct rig_m2m_device *device = video_drvdata(file);

	strscpy(cap->driver, device->kind->name, sizeof(cap->driver));
	strscpy(cap->card, device->kind->name, sizeof(cap->card));
	return 0;
}
EXPORT_SYMBOL_GPL(rig_m2m_querycap);

int rig_m2m_describe_sizes(struct v4l2_frmsizeenum *sizes, const u32 *pixelformats,
			   unsigned int count)
{
	unsigned int i;

	for (i = 0; i < count; i++) {
		if (sizes->pixel_format == pixelformats[i])
			break;
	}
	if (sizes->index || i == count)
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
EXPORT_SYMBOL_GPL(rig_m2m_describe_sizes);

void rig_m2m_describe_colors(const struct rig_m2m_colors *colors,
			     struct v4l2_pix_format_mplane *mp)
{
	mp->colorspace = colors->colorspace;
	mp->xfer_func = colors->xfer_func;
	mp->ycbcr_enc = colors->ycbcr_enc;
	mp->quantization = colors->quantization;
}
EXPORT_SYMBOL_GPL(rig_m2m_describe_colors);

void rig_m2m_take_colors(struct rig_m2m_colors *colors, const struct v4l2_pix_format_mplane *mp)
{
	colors->colorspace = mp->colorspace;
	colors->xfer_func = mp->xfer_func;
	colors->ycbcr_enc = mp->ycbcr_enc;
	colors->quantization = mp->quantization;
}
EXPORT_SYMBOL_GPL(rig_m2m_take_colors);

/* Files */

int rig_m2m_open(struct file *file, struct rig_m2m_stream *stream)
{
	struct rig_m2m_device *device = video_drvdata(file);

	if (READ_ONCE(device->kind->accounts->fail_open))
		return -EIO;
	stream->device = device;
	mutex_init(&stream->queue_lock);
	INIT_WORK(&stream->work, device->kind->work);
	v4l2_fh_init(&stream->fh, video_devdata(file));
	file->private_data = &stream->fh;
	stream->fh.m2m_ctx = v4l2_m2m_ctx_init(device->m2m, stream, init_queues);
	if (IS_ERR(stream->fh.m2m_ctx)) {
		v4l2_fh_exit(&stream->fh);
		return PTR_ERR(stream->fh.m2m_ctx);
	}
	v4l2_fh_add(&stream->fh);
	return 0;
}
EXPORT_SYMBOL_GPL(rig_m2m_open);

void rig_m2m_close(struct rig_m2m_stream *stream)
{
	/* the queues first: they queue events and read controls until they stop */
	mutex_lock(&stream->queue_lock);
	v4l2_m2m_ctx_release(stream->fh.m2m_ctx);
	mutex_unlock(&stream->queue_lock);
	v4l2_fh_del(&stream->fh);
	v4l2_fh_exit(&stream->fh);
}
EXPORT_SYMBOL_GPL(rig_m2m_close);

/* The device */

/* Called when the last file is closed, which may be after remove(). */
static void release_video(struct video_device *video)
{
	struct rig_m2m_device *device = container_of(video, struct rig_m2m_device, video);

	v4l2_m2m_release(device->m2m);
	v4l2_device_unregister(&device->v4l2);
	media_device_cleanup(&device->media);
	kfree(device);
}

static void describe_video(struct rig_m2m_device *device)
{
	struct video_device *video = &device->video;

	strscpy(video->name, device->kind->name, sizeof(video->name));
	video->vfl_dir = VFL_DIR_M2M;
	video->fops = device->kind->file_ops;
	video->ioctl_ops = device->kind->ioctl_ops;
	video->release = release_video;
	video->lock = &device->lock;
	video->v4l2_dev = &device->v4l2;
	video->device_caps = V4L2_CAP_VIDEO_M2M_MPLANE | V4L2_CAP_STREAMING;
	video_set_drvdata(video, device);
}

int rig_m2m_probe(struct platform_device *pdev, const struct rig_m2m_kind *kind)
{
	struct rig_m2m_device *device = kzalloc(sizeof(*device), GFP_KERNEL);
	int ret;

	if (!device)
		return -ENOMEM;
	device->kind = kind;
	mutex_init(&device->lock);
	device->media.dev = &pdev->dev;
	strscpy(device->media.model, kind->name, sizeof(device->media.model));
	media_device_init(&device->media);
	device->v4l2.mdev = &device->media;
	ret = v4l2_device_register(&pdev->dev, &device->v4l2);
	if (ret)
		goto clean_up_media;

	device->m2m = v4l2_m2m_init(&m2m_ops);
	if (IS_ERR(device->m2m)) {
		ret = PTR_ERR(device->m2m);
		goto unregister_v4l2;
	}

	describe_video(device);
	platform_set_drvdata(pdev, device);
	ret = video_register_device(&device->video, VFL_TYPE_VIDEO, -1);
	if (ret)
		goto release_m2m;
	ret = v4l2_m2m_register_media_controller(device->m2m, &device->video, kind->function);
	if (ret)
		goto unregister_video;
	ret = media_device_register(&device->media);
	if (ret)
		goto unregister_entities;
	return 0;

unregister_entities:
	v4l2_m2m_unregister_media_controller(device->m2m);
unregister_video:
	/* calls release_video() */
	video_unregister_device(&device->video);
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
EXPORT_SYMBOL_GPL(rig_m2m_probe);

int rig_m2m_remove(struct platform_device *pdev)
{
	struct rig_m2m_device *device = platform_get_drvdata(pdev);

	media_device_unregister(&device->media);
	v4l2_m2m_unregister_media_controller(device->m2m);
	video_unregister_device(&device->video);
	return 0;
}
EXPORT_SYMBOL_GPL(rig_m2m_remove);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("what the virtual memory-to-memory devices for tests have in common");
