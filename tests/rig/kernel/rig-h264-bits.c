// SPDX-License-Identifier: GPL-2.0
/*
 * A legal H.264 stream at the least cost in code.
 *
 * Key frames are IDR pictures of I_PCM macroblocks. P pictures send the changed
 * macroblocks as I_PCM, as many as the budget allows, and skip the others
 * ("conditional replenishment"). Hence any decoder plays the stream, it is
 * lossless once the budget let every change through, and its rate really
 * follows the bit rate asked for.
 *
 * Numbers in comments are sections of ITU-T H.264.
 */
#include <linux/string.h>

#include "rig-h264-bits.h"

#define MB_SIZE			16
#define MB_SAMPLES		384	/* 16x16 of Y, 8x8 of U and of V */
/* mb_skip_run and mb_type take 2 bytes in most cases, 5 at most */
#define MB_CODED_BYTES		(MB_SAMPLES + 3)
#define MB_CODED_BYTES_MAX	(MB_SAMPLES + 5)
#define HEADERS_BYTES_MAX	128	/* SPS, PPS, slice header with start codes */

#define NAL_SLICE		0x41	/* nal_ref_idc 2, nal_unit_type 1 */
#define NAL_IDR_SLICE		0x65	/* nal_ref_idc 3, nal_unit_type 5 */
#define NAL_SPS			0x67
#define NAL_PPS			0x68

#define PROFILE_BASELINE	66
#define SLICE_TYPE_ALL_P	5
#define SLICE_TYPE_ALL_I	7
#define MB_TYPE_I_PCM_IN_I	25
#define MB_TYPE_I_PCM_IN_P	30	/* the I types follow the five P types */
#define FRAME_NUM_BITS		4

/* Bit writer */

struct bit_writer {
	u8 *data;
	u32 capacity;
	u32 used;
	u32 pending;		/* bits not yet a byte */
	u32 pending_count;
	u32 zeros;		/* zero bytes at the end of this NAL unit's payload */
	bool overflow;
};

static void put_raw_byte(struct bit_writer *bits, u8 byte)
{
	if (bits->used == bits->capacity) {
		bits->overflow = true;
		return;
	}
	bits->data[bits->used++] = byte;
}

/* A byte of payload: 7.4.1.1 forbids 00 00 00 to 00 00 03 inside. */
static void put_payload_byte(struct bit_writer *bits, u8 byte)
{
	if (bits->zeros == 2 && byte <= 3) {
		put_raw_byte(bits, 3);
		bits->zeros = 0;
	}
	put_raw_byte(bits, byte);
	bits->zeros = byte ? 0 : bits->zeros + 1;
}

static void put_bits(struct bit_writer *bits, u32 count, u32 value)
{
	while (count--) {
		bits->pending = bits->pending << 1 | (value >> count & 1);
		if (++bits->pending_count < 8)
			continue;
		put_payload_byte(bits, bits->pending);
		bits->pending = 0;
		bits->pending_count = 0;
	}
}

static void put_flag(struct bit_writer *bits, bool flag)
{
	put_bits(bits, 1, flag);
}

/* ue(v), 9.1 */
static void put_unsigned(struct bit_writer *bits, u32 value)
{
	u32 length = fls(value + 1);

	put_bits(bits, length - 1, 0);
	put_bits(bits, length, value + 1);
}

/* se(v), 9.1.1 */
static void put_signed(struct bit_writer *bits, int value)
{
	put_unsigned(bits, value > 0 ? 2 * value - 1 : -2 * value);
}

static void align_with_zeros(struct bit_writer *bits)
{
	while (bits->pending_count)
		put_flag(bits, 0);
}

static void begin_nal_unit(struct bit_writer *bits, u8 header)
{
	put_raw_byte(bits, 0);
	put_raw_byte(bits, 0);
	put_raw_byte(bits, 0);
	put_raw_byte(bits, 1);
	put_raw_byte(bits, header);
	bits->zeros = 0;
}

/* rbsp_trailing_bits(), 7.3.2.11 */
static void end_nal_unit(struct bit_writer *bits)
{
	put_flag(bits, 1);
	align_with_zeros(bits);
}

/* Parameter sets and slice headers */

static void put_sequence_parameter_set(struct bit_writer *bits,
				       const struct rig_h264_encoder *encoder,
				       const struct rig_h264_settings *settings)
{
	u32 crop_right = (encoder->mb_columns * MB_SIZE - encoder->width) / 2;
	u32 crop_bottom = (encoder->mb_rows * MB_SIZE - encoder->height) / 2;

	begin_nal_unit(bits, NAL_SPS);
	put_bits(bits, 8, PROFILE_BASELINE);
	put_bits(bits, 8, settings->constraint_flags);
	put_bits(bits, 8, settings->level_idc);
	put_unsigned(bits, 0);			/* seq_parameter_set_id */
	put_unsigned(bits, FRAME_NUM_BITS - 4);
	put_unsigned(bits, 2);			/* pic_order_cnt_type: as decoded */
	put_unsigned(bits, 1);			/* max_num_ref_frames */
	put_flag(bits, 0);			/* gaps_in_frame_num_value_allowed_flag */
	put_unsigned(bits, encoder->mb_columns - 1);
	put_unsigned(bits, encoder->mb_rows - 1);
	put_flag(bits, 1);			/* frame_mbs_only_flag */
	put_flag(bits, 1);			/* direct_8x8_inference_flag */
	put_flag(bits, crop_right || crop_bottom);
	if (crop_right || crop_bottom) {
		put_unsigned(bits, 0);
		put_unsigned(bits, crop_right);
		put_unsigned(bits, 0);
		put_unsigned(bits, crop_bottom);
	}
	put_flag(bits, 0);			/* vui_parameters_present_flag */
	end_nal_unit(bits);
}

static void put_picture_parameter_set(struct bit_writer *bits)
{
	begin_nal_unit(bits, NAL_PPS);
	put_unsigned(bits, 0);			/* pic_parameter_set_id */
	put_unsigned(bits, 0);			/* seq_parameter_set_id */
	put_flag(bits, 0);			/* entropy_coding_mode_flag: CAVLC */
	put_flag(bits, 0);			/* bottom_field_pic_order_in_frame_present_flag */
	put_unsigned(bits, 0);			/* num_slice_groups_minus1 */
	put_unsigned(bits, 0);			/* num_ref_idx_l0_default_active_minus1 */
	put_unsigned(bits, 0);			/* num_ref_idx_l1_default_active_minus1 */
	put_flag(bits, 0);			/* weighted_pred_flag */
	put_bits(bits, 2, 0);			/* weighted_bipred_idc */
	put_signed(bits, 0);			/* pic_init_qp_minus26 */
	put_signed(bits, 0);			/* pic_init_qs_minus26 */
	put_signed(bits, 0);			/* chroma_qp_index_offset */
	put_flag(bits, 1);			/* deblocking_filter_control_present_flag */
	put_flag(bits, 0);			/* constrained_intra_pred_flag */
	put_flag(bits, 0);			/* redundant_pic_cnt_present_flag */
	end_nal_unit(bits);
}

static void put_slice_header(struct bit_writer *bits,
			     const struct rig_h264_encoder *encoder, bool key)
{
	begin_nal_unit(bits, key ? NAL_IDR_SLICE : NAL_SLICE);
	put_unsigned(bits, 0);			/* first_mb_in_slice */
	put_unsigned(bits, key ? SLICE_TYPE_ALL_I : SLICE_TYPE_ALL_P);
	put_unsigned(bits, 0);			/* pic_parameter_set_id */
	put_bits(bits, FRAME_NUM_BITS, encoder->frame_num);
	if (key) {
		put_unsigned(bits, encoder->idr_pic_id);
		put_flag(bits, 0);		/* no_output_of_prior_pics_flag */
		put_flag(bits, 0);		/* long_term_reference_flag */
	} else {
		put_flag(bits, 0);		/* num_ref_idx_active_override_flag */
		put_flag(bits, 0);		/* ref_pic_list_modification_flag_l0 */
		put_flag(bits, 0);		/* adaptive_ref_pic_marking_mode_flag */
	}
	put_signed(bits, 0);			/* slice_qp_delta */
	put_unsigned(bits, 1);			/* disable_deblocking_filter_idc: lossless */
}

/* Pictures in memory: Y, U and V planes of whole macroblocks, one after another */

static u32 macroblocks(const struct rig_h264_encoder *encoder)
{
	return encoder->mb_columns * encoder->mb_rows;
}

static u32 plane_stride(const struct rig_h264_encoder *encoder, unsigned int component)
{
	return encoder->mb_columns * (component ? MB_SIZE / 2 : MB_SIZE);
}

static u32 plane_rows(const struct rig_h264_encoder *encoder, unsigned int component)
{
	return encoder->mb_rows * (component ? MB_SIZE / 2 : MB_SIZE);
}

static u32 plane_offset(const struct rig_h264_encoder *encoder, unsigned int component)
{
	u32 luma = macroblocks(encoder) * MB_SIZE * MB_SIZE;

	return component ? luma + (component - 1) * (luma / 4) : 0;
}

static u32 block_size(unsigned int component)
{
	return component ? MB_SIZE / 2 : MB_SIZE;
}

static u32 block_offset(const struct rig_h264_encoder *encoder, u32 mb, unsigned int component)
{
	u32 x = mb % encoder->mb_columns * block_size(component);
	u32 y = mb / encoder->mb_columns * block_size(component);

	return plane_offset(encoder, component) + y * plane_stride(encoder, component) + x;
}

/*
 * Without zeros the samples of I_PCM never need emulation prevention and can be
 * copied by the row. This is the one thing the coder loses.
 */
static u8 nonzero_sample(u8 sample)
{
	return sample ? sample : 1;
}

/*
 * Copy one component of the raw picture and repeat its right and bottom edges
 * up to whole macroblocks: a buffer need not hold more than what is visible.
 */
static void load_component(struct rig_h264_encoder *encoder,
			   const struct rig_raw_format *format, const u8 *raw,
			   unsigned int component)
{
	struct rig_raw_component from = rig_raw_component(format, component);
	u8 *to = encoder->current_picture + plane_offset(encoder, component);
	u32 stride = plane_stride(encoder, component);
	u32 width = component ? encoder->width / 2 : encoder->width;
	u32 height = component ? encoder->height / 2 : encoder->height;
	/* YUYV has a row of chroma for each row of luma: take the mean of two */
	bool halve = component && from.height == format->height;
	u32 x;
	u32 y;

	for (y = 0; y < height; y++, to += stride) {
		const u8 *row = raw + from.offset + (halve ? 2 * y : y) * from.stride;

		for (x = 0; x < width; x++, row += from.step) {
			u8 sample = row[0];

			if (halve)
				sample = (row[0] + row[from.stride] + 1) / 2;
			to[x] = nonzero_sample(sample);
		}
		memset(to + width, to[width - 1], stride - width);
	}
	for (; y < plane_rows(encoder, component); y++, to += stride)
		memcpy(to, to - stride, stride);
}

static bool macroblock_changed(const struct rig_h264_encoder *encoder, u32 mb)
{
	unsigned int component;
	u32 y;

	for (component = 0; component < RIG_RAW_COMPONENTS; component++) {
		u32 at = block_offset(encoder, mb, component);

		for (y = 0; y < block_size(component); y++) {
			if (memcmp(encoder->current_picture + at, encoder->reference + at,
				   block_size(component)))
				return true;
			at += plane_stride(encoder, component);
		}
	}
	return false;
}

/* Pictures as bits */

/* The samples of an I_PCM macroblock (7.3.5); the decoder then shows them. */
static void put_samples(struct bit_writer *bits, struct rig_h264_encoder *encoder, u32 mb)
{
	unsigned int component;
	u32 y;

	align_with_zeros(bits);
	if (bits->capacity - bits->used < MB_SAMPLES) {
		bits->overflow = true;
		return;
	}
	for (component = 0; component < RIG_RAW_COMPONENTS; component++) {
		u32 size = block_size(component);
		u32 at = block_offset(encoder, mb, component);

		for (y = 0; y < size; y++) {
			const u8 *samples = encoder->current_picture + at;

			/*
			 * No emulation prevention: samples are never zero, and
			 * mb_type before them has a one among its last two bits,
			 * so that two zero bytes cannot precede.
			 */
			memcpy(bits->data + bits->used, samples, size);
			memcpy(encoder->reference + at, samples, size);
			bits->used += size;
			at += plane_stride(encoder, component);
		}
	}
	bits->zeros = 0;
}

static void put_key_picture(struct bit_writer *bits, struct rig_h264_encoder *encoder)
{
	u32 mb;

	encoder->frame_num = 0;
	put_slice_header(bits, encoder, true);
	/* successive IDR pictures must differ in it (7.4.3) */
	encoder->idr_pic_id ^= 1;
	for (mb = 0; mb < macroblocks(encoder); mb++) {
		put_unsigned(bits, MB_TYPE_I_PCM_IN_I);
		put_samples(bits, encoder, mb);
	}
	end_nal_unit(bits);
}

/*
 * Mark the changed macroblocks the budget allows. The search goes on where it
 * ended in the picture before, so that each change is sent in the end however
 * small the budget.
 */
static void select_macroblocks(struct rig_h264_encoder *encoder, u32 budget)
{
	u32 total = macroblocks(encoder);
	u32 mb = encoder->next_mb;
	u32 i;

	memset(encoder->selected, 0, total);
	budget = min(budget, total * MB_CODED_BYTES_MAX);
	/* What is saved while nothing changes must not burst out later. */
	encoder->credit = min_t(u32, encoder->credit, MB_CODED_BYTES) + budget;
	for (i = 0; i < total && encoder->credit >= MB_CODED_BYTES; i++) {
		if (macroblock_changed(encoder, mb)) {
			encoder->selected[mb] = 1;
			encoder->credit -= MB_CODED_BYTES;
			encoder->next_mb = (mb + 1) % total;
		}
		mb = (mb + 1) % total;
	}
}

static void put_predicted_picture(struct bit_writer *bits, struct rig_h264_encoder *encoder,
				  u32 budget)
{
	u32 skipped = 0;
	u32 mb;

	select_macroblocks(encoder, budget);
	encoder->frame_num = (encoder->frame_num + 1) % (1 << FRAME_NUM_BITS);
	put_slice_header(bits, encoder, false);
	for (mb = 0; mb < macroblocks(encoder); mb++) {
		if (!encoder->selected[mb]) {
			skipped++;
			continue;
		}
		put_unsigned(bits, skipped);	/* mb_skip_run */
		put_unsigned(bits, MB_TYPE_I_PCM_IN_P);
		put_samples(bits, encoder, mb);
		skipped = 0;
	}
	if (skipped)
		put_unsigned(bits, skipped);
	end_nal_unit(bits);
}

/* What rig-h264-main calls */

static u32 macroblocks_of_size(u32 width, u32 height)
{
	return DIV_ROUND_UP(width, MB_SIZE) * DIV_ROUND_UP(height, MB_SIZE);
}

u32 rig_h264_memory(u32 width, u32 height)
{
	/* two pictures and the flags */
	return macroblocks_of_size(width, height) * (2 * MB_SAMPLES + 1);
}

u32 rig_h264_max_coded(u32 width, u32 height)
{
	return macroblocks_of_size(width, height) * MB_CODED_BYTES_MAX + HEADERS_BYTES_MAX;
}

void rig_h264_start(struct rig_h264_encoder *encoder, u32 width, u32 height, u8 *memory)
{
	memset(encoder, 0, sizeof(*encoder));
	encoder->width = width;
	encoder->height = height;
	encoder->mb_columns = DIV_ROUND_UP(width, MB_SIZE);
	encoder->mb_rows = DIV_ROUND_UP(height, MB_SIZE);
	encoder->current_picture = memory;
	encoder->reference = encoder->current_picture + macroblocks(encoder) * MB_SAMPLES;
	encoder->selected = encoder->reference + macroblocks(encoder) * MB_SAMPLES;
}

void rig_h264_restart(struct rig_h264_encoder *encoder)
{
	encoder->since_key = 0;
	encoder->headers_sent = false;
}

int rig_h264_encode(struct rig_h264_encoder *encoder,
		    const struct rig_h264_settings *settings,
		    const struct rig_raw_format *format, const u8 *raw,
		    u8 *coded, u32 capacity, bool *key)
{
	struct bit_writer bits = {
		.data = coded,
		.capacity = capacity,
	};
	unsigned int component;

	for (component = 0; component < RIG_RAW_COMPONENTS; component++)
		load_component(encoder, format, raw, component);

	*key = settings->force_key || encoder->since_key == 0 ||
	       (settings->gop_size && encoder->since_key >= settings->gop_size);
	if (*key) {
		encoder->since_key = 0;
		if (settings->repeat_headers || !encoder->headers_sent) {
			put_sequence_parameter_set(&bits, encoder, settings);
			put_picture_parameter_set(&bits);
			encoder->headers_sent = true;
		}
		put_key_picture(&bits, encoder);
	} else {
		put_predicted_picture(&bits, encoder, settings->budget);
	}
	if (bits.overflow) {
		/* The decoder never sees this picture: start over. */
		rig_h264_restart(encoder);
		return -ENOSPC;
	}
	encoder->since_key++;
	return bits.used;
}
