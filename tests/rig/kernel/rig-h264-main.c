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
#include <linux/module.h>
#include <linux/slab.h>
#include <media/v4l2-ioctl.h>

#include "rig-h264.h"

#define RIG_H264_NAME		"rig-h264"

RIG_M2M_ACCOUNTS(rig_h264_accounts);
RIG_M2M_PARAMETERS(rig_h264_accounts);

unsigned int rig_h264_instances = 8;
module_param_named(instances, rig_h264_instances, uint, 0644);
MODULE_PARM_DESC(instances, "streams at a time; STREAMON of one more fails with EBUSY");

unsigned int rig_h264_compression = 1;
module_param_named(compression, rig_h264_compression, uint, 0644);
MODULE_PARM_DESC(compression, "spends so many times the bit rate, as I_PCM compresses nothing and a board's encoder makes more of the same bits");

static int rig_h264_open(struct file *file)
{
	struct rig_h264_context *context = kzalloc(sizeof(*context), GFP_KERNEL);
	int ret;

	if (!context)
		return -ENOMEM;
	spin_lock_init(&context->drain_lock);
	rig_h264_init_formats(context);
	ret = rig_h264_init_controls(context);
	if (ret)
		goto free_context;
	ret = rig_m2m_open(file, &context->stream);
	if (ret)
		goto free_controls;
	context->stream.fh.ctrl_handler = &context->controls;
	return 0;

free_controls:
	v4l2_ctrl_handler_free(&context->controls);
free_context:
	kfree(context);
	return ret;
}

static int rig_h264_release(struct file *file)
{
	struct rig_h264_context *context = rig_h264_file_context(file);

	rig_m2m_close(&context->stream);
	rig_h264_give_instance_back(context);
	v4l2_ctrl_handler_free(&context->controls);
	kfree(context);
	return 0;
}

static const struct v4l2_file_operations rig_h264_file_ops = {
	.owner = THIS_MODULE,
	.open = rig_h264_open,
	.release = rig_h264_release,
	.poll = v4l2_m2m_fop_poll,
	.unlocked_ioctl = video_ioctl2,
	.mmap = v4l2_m2m_fop_mmap,
};

static const struct rig_m2m_kind rig_h264_kind = {
	.name = RIG_H264_NAME,
	.function = MEDIA_ENT_F_PROC_VIDEO_ENCODER,
	.file_ops = &rig_h264_file_ops,
	.ioctl_ops = &rig_h264_ioctl_ops,
	.queue_ops = &rig_h264_queue_ops,
	.work = rig_h264_work,
	.accounts = &rig_h264_accounts,
	.smallest_buffer = rig_h264_smallest_buffer,
};

static int __init rig_h264_probe(struct platform_device *pdev)
{
	return rig_m2m_probe(pdev, &rig_h264_kind);
}

static struct platform_driver rig_h264_driver = {
	.remove = rig_m2m_remove,
	.driver = {
		.name = RIG_H264_NAME,
	},
};

static struct platform_device *rig_h264_platform_device;

static int __init rig_h264_init(void)
{
	rig_h264_platform_device =
		platform_create_bundle(&rig_h264_driver, rig_h264_probe, NULL, 0, NULL, 0);
	return PTR_ERR_OR_ZERO(rig_h264_platform_device);
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
