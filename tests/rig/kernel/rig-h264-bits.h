/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The coding half of rig-h264: raw pictures in, an H.264 byte stream out.
 *
 * It holds no lock, allocates nothing and knows nothing of V4L2 queues, so that
 * test/ can compile it in user space and play its streams with libavcodec.
 */
#ifndef RIG_H264_BITS_H
#define RIG_H264_BITS_H

#include "rig-raw.h"

/* constraint_set0_flag and following, as they lie in the SPS (7.4.2.1.1) */
#define RIG_H264_CONSTRAINT_SET0	0x80	/* Baseline */
#define RIG_H264_CONSTRAINT_SET1	0x40	/* Main, too: hence Constrained Baseline */
#define RIG_H264_CONSTRAINT_SET3	0x10	/* level_idc 11 means level 1b */

#define RIG_H264_NO_BUDGET		0xffffffffu

/* What may change from one picture to the next. */
struct rig_h264_settings {
	u8 constraint_flags;
	u8 level_idc;
	bool force_key;		/* make this picture a key frame */
	bool repeat_headers;	/* SPS and PPS before every key frame, not only the first */
	u32 gop_size;		/* pictures from key frame to key frame; 0: no periodic ones */
	u32 budget;		/* bytes a P picture may take, or RIG_H264_NO_BUDGET */
};

/* One stream: its size is fixed, its settings are not. */
struct rig_h264_encoder {
	u32 width;		/* visible */
	u32 height;
	u32 mb_columns;
	u32 mb_rows;

	u8 *current_picture;	/* planar 4:2:0 of whole macroblocks */
	u8 *reference;		/* what the decoder shows now */
	u8 *selected;		/* one flag a macroblock: coded in this picture */

	u32 since_key;		/* pictures since the last key frame; 0: the next is one */
	u32 frame_num;
	u32 idr_pic_id;
	u32 next_mb;		/* where the search for changes begins */
	u32 credit;		/* bytes of the budget not spent yet */
	bool headers_sent;
};

/* Bytes of zeroed memory that rig_h264_start() takes for a size. */
u32 rig_h264_memory(u32 width, u32 height);

/* No coded picture of this size is larger. */
u32 rig_h264_max_coded(u32 width, u32 height);

/* Begin a stream of visible @width by @height, both even. */
void rig_h264_start(struct rig_h264_encoder *encoder, u32 width, u32 height, u8 *memory);

/* Make the next picture a key frame with headers, as after a lost one. */
void rig_h264_restart(struct rig_h264_encoder *encoder);

/*
 * Code the picture at @raw, of which the top left part of the stream's size is
 * taken. Returns its bytes, or -ENOSPC when @capacity does not hold it.
 */
int rig_h264_encode(struct rig_h264_encoder *encoder,
		    const struct rig_h264_settings *settings,
		    const struct rig_raw_format *format, const u8 *raw,
		    u8 *coded, u32 capacity, bool *key);

#endif /* RIG_H264_BITS_H */
