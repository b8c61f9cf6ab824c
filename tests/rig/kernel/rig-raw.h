/* SPDX-License-Identifier: GPL-2.0 */
/*
 * How a raw picture lies in one buffer, for the modules that read or write
 * such pictures: NV12, YUV420 and YUYV of the V4L2 specification, whose rows
 * may be longer than the picture is wide.
 *
 * Nothing here needs the kernel, so that the encoder's tests can compile it in
 * user space.
 */
#ifndef RIG_RAW_H
#define RIG_RAW_H

#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/types.h>
#include <linux/videodev2.h>

#define RIG_RAW_MIN_SIZE	32
#define RIG_RAW_MAX_WIDTH	1920
#define RIG_RAW_MAX_HEIGHT	1088
#define RIG_RAW_MAX_STRIDE	8192
#define RIG_RAW_COMPONENTS	3	/* Y, U, V */

struct rig_raw_format {
	u32 pixelformat;
	u32 width;		/* in samples of Y, even */
	u32 height;		/* in rows of Y, even; chroma planes follow these rows */
	u32 stride;		/* bytes from a row of the first plane to the next */
};

/* Where the samples of Y, U or V are. */
struct rig_raw_component {
	u32 offset;		/* of the first sample, in bytes */
	u32 stride;		/* from a row to the next, in bytes */
	u32 step;		/* from a sample to its right neighbour, in bytes */
	u32 width;		/* in samples */
	u32 height;		/* in rows */
};

static inline u32 rig_raw_min_stride(u32 pixelformat, u32 width)
{
	u32 bytes = pixelformat == V4L2_PIX_FMT_YUYV ? 2 * width : width;

	return ALIGN(bytes, 16);
}

/* The bytes of a picture of @height rows of Y, without anything after it. */
static inline u32 rig_raw_size(u32 pixelformat, u32 stride, u32 height)
{
	u32 first_plane = stride * height;

	if (pixelformat == V4L2_PIX_FMT_YUYV)
		return first_plane;
	return first_plane + first_plane / 2;
}

/* The least a buffer must hold to be read or written in this format. */
static inline u32 rig_raw_needed(const struct rig_raw_format *format)
{
	return rig_raw_size(format->pixelformat, format->stride, format->height);
}

/*
 * What sizeimage says: the hardware works on whole macroblocks and likes to
 * have the rows up to the next multiple of 16.
 */
static inline u32 rig_raw_sizeimage(const struct rig_raw_format *format)
{
	return rig_raw_size(format->pixelformat, format->stride,
			    ALIGN(format->height, 16));
}

static inline struct rig_raw_component
rig_raw_component(const struct rig_raw_format *format, unsigned int index)
{
	u32 first_plane = format->stride * format->height;
	struct rig_raw_component component = {
		.stride = format->stride,
		.step = 1,
		.width = index ? format->width / 2 : format->width,
		.height = index ? format->height / 2 : format->height,
	};

	switch (format->pixelformat) {
	case V4L2_PIX_FMT_YUYV:
		component.step = index ? 4 : 2;
		component.offset = index ? 2 * index - 1 : 0;
		component.height = format->height;
		break;
	case V4L2_PIX_FMT_NV12:
		if (index) {
			component.step = 2;
			component.offset = first_plane + index - 1;
		}
		break;
	default: /* V4L2_PIX_FMT_YUV420 */
		if (index) {
			component.stride = format->stride / 2;
			component.offset = first_plane +
					   (index - 1) * (first_plane / 4);
		}
		break;
	}
	return component;
}

/*
 * Turn what an application asks for into the nearest format that exists: the
 * first of @pixelformats if it asks for none of them. A stride longer than the
 * rows is granted, because cameras pad their rows.
 */
static inline struct rig_raw_format
rig_raw_negotiate(const struct v4l2_pix_format_mplane *asked,
		  const u32 *pixelformats, unsigned int count)
{
	u32 width = clamp_t(u32, asked->width, RIG_RAW_MIN_SIZE, RIG_RAW_MAX_WIDTH);
	u32 height = clamp_t(u32, asked->height, RIG_RAW_MIN_SIZE, RIG_RAW_MAX_HEIGHT);
	u32 stride = asked->plane_fmt[0].bytesperline;
	struct rig_raw_format format = {
		.pixelformat = pixelformats[0],
		.width = width & ~1u,
		.height = height & ~1u,
	};
	unsigned int i;

	for (i = 0; i < count; i++) {
		if (asked->pixelformat == pixelformats[i])
			format.pixelformat = pixelformats[i];
	}
	format.stride = rig_raw_min_stride(format.pixelformat, format.width);
	if (stride > format.stride && stride <= RIG_RAW_MAX_STRIDE)
		format.stride = ALIGN(stride, 16);
	return format;
}

/* Describe a raw format to an application; colours are the caller's business. */
static inline void rig_raw_describe(const struct rig_raw_format *format,
				    struct v4l2_pix_format_mplane *mp)
{
	mp->pixelformat = format->pixelformat;
	mp->width = format->width;
	mp->height = format->height;
	mp->field = V4L2_FIELD_NONE;
	mp->flags = 0;
	mp->num_planes = 1;
	mp->plane_fmt[0].bytesperline = format->stride;
	mp->plane_fmt[0].sizeimage = rig_raw_sizeimage(format);
}

#endif /* RIG_RAW_H */
