// SPDX-License-Identifier: GPL-2.0
/* rig-h264: encoding, and the queues that frames go through */
#include <linux/slab.h>
#include <linux/vmalloc.h>
#include <media/v4l2-ioctl.h>

#include "rig-h264.h"

/* Guarded by the lock of the accounts. */
static unsigned int instances_streaming;

/* Encoding */

void rig_h264_work(struct work_struct *work)
{
	struct rig_h264_context *context =
		container_of(work, struct rig_h264_context, stream.work);
	struct v4l2_m2m_ctx *m2m = context->stream.fh.m2m_ctx;
	/* The raw buffer stays queued, so that ENC_CMD_STOP finds it as the last one. */
	struct vb2_v4l2_buffer *raw = v4l2_m2m_next_src_buf(m2m);
	struct vb2_v4l2_buffer *coded = v4l2_m2m_dst_buf_remove(m2m);
	enum vb2_buffer_state state = VB2_BUF_STATE_DONE;
	struct rig_h264_settings settings;
	bool key = false;
	int bytes;

	rig_m2m_delay(&context->stream);
	rig_h264_take_settings(context, &settings);
	bytes = rig_h264_encode(&context->encoder, &settings, &context->raw,
				vb2_plane_vaddr(&raw->vb2_buf, 0) +
					raw->vb2_buf.planes[0].data_offset,
				vb2_plane_vaddr(&coded->vb2_buf, 0),
				vb2_plane_size(&coded->vb2_buf, 0), &key);
	if (bytes >= 0 && !rig_m2m_account_frame(&context->stream)) {
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
		v4l2_event_queue_fh(&context->stream.fh, &rig_h264_eos_event);
		v4l2_m2m_mark_stopped(m2m);
	}
	raw->sequence = context->raw_sequence++;
	v4l2_m2m_src_buf_remove(m2m);
	v4l2_m2m_buf_done(raw, VB2_BUF_STATE_DONE);
	v4l2_m2m_buf_done(coded, state);
	spin_unlock(&context->drain_lock);

	v4l2_m2m_job_finish(context->stream.device->m2m, m2m);
}

/* Queues */

/*
 * The smallest buffer that will do. An imported one need not have the rows
 * between the picture's height and the next multiple of 16, which a camera does
 * not write; buffers made here are as large as sizeimage says.
 */
u32 rig_h264_smallest_buffer(struct rig_m2m_stream *stream, const struct vb2_queue *queue)
{
	struct rig_h264_context *context =
		container_of(stream, struct rig_h264_context, stream);

	if (!V4L2_TYPE_IS_OUTPUT(queue->type))
		return context->coded_size;
	if (queue->memory == VB2_MEMORY_DMABUF)
		return rig_raw_needed(&context->raw);
	return rig_raw_sizeimage(&context->raw);
}

static void buf_queue(struct vb2_buffer *vb)
{
	struct rig_h264_context *context = rig_h264_queue_context(vb->vb2_queue);
	struct v4l2_m2m_ctx *m2m = context->stream.fh.m2m_ctx;
	struct vb2_v4l2_buffer *vbuf = to_vb2_v4l2_buffer(vb);

	if (V4L2_TYPE_IS_OUTPUT(vb->vb2_queue->type)) {
		rig_m2m_account_raw(vb);
		v4l2_m2m_buf_queue(m2m, vbuf);
		return;
	}

	spin_lock(&context->drain_lock);
	if (vb2_is_streaming(vb->vb2_queue) && v4l2_m2m_dst_buf_is_last(m2m)) {
		/* The stream has been drained without a buffer to say so. */
		vbuf->field = V4L2_FIELD_NONE;
		vbuf->sequence = context->coded_sequence++;
		v4l2_m2m_last_buffer_done(m2m, vbuf);
		v4l2_event_queue_fh(&context->stream.fh, &rig_h264_eos_event);
	} else {
		v4l2_m2m_buf_queue(m2m, vbuf);
	}
	spin_unlock(&context->drain_lock);
}

static int start_streaming(struct vb2_queue *queue, unsigned int count)
{
	struct rig_h264_context *context = rig_h264_queue_context(queue);
	u32 width = context->visible_width;
	u32 height = context->visible_height;

	v4l2_m2m_update_start_streaming_state(context->stream.fh.m2m_ctx, queue);
	if (!V4L2_TYPE_IS_OUTPUT(queue->type)) {
		/* Whoever starts to read needs a key frame first. */
		rig_h264_restart(&context->encoder);
		context->coded_sequence = 0;
		return 0;
	}

	context->encoder_memory = vzalloc(rig_h264_memory(width, height));
	if (!context->encoder_memory) {
		rig_m2m_return_buffers(queue, VB2_BUF_STATE_QUEUED);
		return -ENOMEM;
	}
	rig_h264_start(&context->encoder, width, height, context->encoder_memory);
	context->raw_sequence = 0;
	return 0;
}

static void stop_streaming(struct vb2_queue *queue)
{
	struct rig_h264_context *context = rig_h264_queue_context(queue);
	struct v4l2_m2m_ctx *m2m = context->stream.fh.m2m_ctx;

	/*
	 * v4l2-mem2mem waited for the job, but the worker may still be on its
	 * way out of v4l2_m2m_job_finish(), which uses the context.
	 */
	flush_work(&context->stream.work);
	rig_m2m_return_buffers(queue, VB2_BUF_STATE_ERROR);

	spin_lock(&context->drain_lock);
	v4l2_m2m_update_stop_streaming_state(m2m, queue);
	spin_unlock(&context->drain_lock);

	if (!V4L2_TYPE_IS_OUTPUT(queue->type))
		return;
	if (v4l2_m2m_has_stopped(m2m))
		v4l2_event_queue_fh(&context->stream.fh, &rig_h264_eos_event);
	vfree(context->encoder_memory);
	context->encoder_memory = NULL;
}

const struct vb2_ops rig_h264_queue_ops = {
	.queue_setup = rig_m2m_queue_setup,
	.buf_out_validate = rig_m2m_buf_out_validate,
	.buf_prepare = rig_m2m_buf_prepare,
	.buf_queue = buf_queue,
	.start_streaming = start_streaming,
	.stop_streaming = stop_streaming,
	.wait_prepare = vb2_ops_wait_prepare,
	.wait_finish = vb2_ops_wait_finish,
};

static bool is_streaming(struct rig_h264_context *context)
{
	struct v4l2_m2m_ctx *m2m = context->stream.fh.m2m_ctx;

	return vb2_is_streaming(&m2m->out_q_ctx.q) || vb2_is_streaming(&m2m->cap_q_ctx.q);
}

/* Real encoders have few contexts in hardware and take one at STREAMON. */
static int take_instance(struct rig_h264_context *context)
{
	int ret = 0;

	spin_lock(&rig_h264_accounts.lock);
	if (!context->counted) {
		if (instances_streaming < rig_h264_instances) {
			instances_streaming++;
			context->counted = true;
		} else {
			ret = -EBUSY;
		}
	}
	spin_unlock(&rig_h264_accounts.lock);
	return ret;
}

void rig_h264_give_instance_back(struct rig_h264_context *context)
{
	spin_lock(&rig_h264_accounts.lock);
	if (context->counted) {
		instances_streaming--;
		context->counted = false;
	}
	spin_unlock(&rig_h264_accounts.lock);
}

int rig_h264_streamon(struct file *file, void *priv, enum v4l2_buf_type type)
{
	struct rig_h264_context *context = rig_h264_file_context(file);
	int ret = take_instance(context);

	if (ret)
		return ret;
	ret = v4l2_m2m_ioctl_streamon(file, priv, type);
	if (!is_streaming(context))
		rig_h264_give_instance_back(context);
	return ret;
}

int rig_h264_streamoff(struct file *file, void *priv, enum v4l2_buf_type type)
{
	struct rig_h264_context *context = rig_h264_file_context(file);
	int ret = v4l2_m2m_ioctl_streamoff(file, priv, type);

	if (!is_streaming(context))
		rig_h264_give_instance_back(context);
	return ret;
}
