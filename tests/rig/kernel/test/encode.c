// SPDX-License-Identifier: GPL-2.0
/*
 * Codes synthetic pictures with rig-h264-bits.c: a textured square moves over
 * a gradient, then nothing moves until the decoder must have caught up.
 *
 *	encode FOURCC WIDTH HEIGHT PADDING BITRATE LEVEL_IDC CONSTRAINTS H264 YUV
 *
 * PADDING is added to the stride; BITRATE 0 means no rate control. Writes the
 * stream and the last picture as the decoder must show it, and on standard
 * output the number of pictures. Fails if a P picture takes more than the
 * bit rate grants.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "../rig-h264-bits.h"

#define FRAME_RATE	30
#define MOVING		40	/* pictures */
#define FORCED_KEY	5
#define SQUARE		48
#define SAMPLES_PER_MB	384

struct source {
	struct rig_raw_format format;
	u8 *raw;
	u8 *last;	/* planar 4:2:0, what the decoder must show */
};

static u8 sample_at(unsigned int component, u32 x, u32 y, u32 n)
{
	u32 left = 4 * n;
	u32 top = 2 * n;

	/* Chroma of odd columns and rows is the same as of even ones. */
	if (component) {
		x &= ~1u;
		y &= ~1u;
	}
	if (x - left < SQUARE && y - top < SQUARE)
		return (x * 31 + y * 17 + n * 5 + component * 64) & 0xff;
	return (x + 2 * y + 80 * component) & 0xff;
}

/* The expected planar picture, with 0 as 1. */
static void draw_expected(struct source *source, u32 n)
{
	u8 *to = source->last;
	unsigned int component;
	u32 x;
	u32 y;

	for (component = 0; component < RIG_RAW_COMPONENTS; component++) {
		u32 scale = component ? 2 : 1;

		for (y = 0; y < source->format.height / scale; y++) {
			for (x = 0; x < source->format.width / scale; x++) {
				u8 sample = sample_at(component, x * scale, y * scale, n);

				*to++ = sample ? sample : 1;
			}
		}
	}
}

/* Written by the layouts of the V4L2 specification, not with rig-raw.h's help. */
static void draw_raw(struct source *source, u32 n)
{
	const struct rig_raw_format *f = &source->format;
	u8 *chroma = source->raw + f->stride * f->height;
	u32 x;
	u32 y;

	for (y = 0; y < f->height; y++) {
		u8 *row = source->raw + y * f->stride;

		for (x = 0; x < f->width; x++) {
			u8 luma = sample_at(0, x, y, n);
			u8 u = sample_at(1, x, y, n);
			u8 v = sample_at(2, x, y, n);

			switch (f->pixelformat) {
			case V4L2_PIX_FMT_YUYV:
				row[2 * x] = luma;
				row[2 * x + 1] = x % 2 ? v : u;
				break;
			case V4L2_PIX_FMT_NV12:
				row[x] = luma;
				chroma[y / 2 * f->stride + x] = x % 2 ? v : u;
				break;
			default:
				row[x] = luma;
				chroma[y / 2 * (f->stride / 2) + x / 2] = u;
				chroma[(f->height / 2 + y / 2) * (f->stride / 2) + x / 2] = v;
				break;
			}
		}
	}
}

/* Pictures until every macroblock has been sent once, and some more. */
static u32 pictures_to_catch_up(const struct rig_h264_encoder *encoder, u32 budget)
{
	u32 bytes = encoder->mb_columns * encoder->mb_rows * (SAMPLES_PER_MB + 3);

	return budget == RIG_H264_NO_BUDGET ? 2 : bytes / budget + 4;
}

static void die(const char *message)
{
	fprintf(stderr, "encode: %s\n", message);
	exit(1);
}

static void write_file(const char *path, const u8 *data, size_t bytes)
{
	FILE *file = fopen(path, "wb");

	if (!file || fwrite(data, 1, bytes, file) != bytes || fclose(file))
		die("cannot write");
}

/* Code one picture; returns its bytes or an error. */
static int encode(struct rig_h264_encoder *encoder, struct rig_h264_settings *settings,
		  const struct source *source, u8 *coded, u32 capacity, bool force_key,
		  bool *key)
{
	settings->force_key = force_key;
	return rig_h264_encode(encoder, settings, &source->format, source->raw,
			       coded, capacity, key);
}

/* What comes after the stream that is played. */
static void check_ends(struct rig_h264_encoder *encoder, struct rig_h264_settings *settings,
		       const struct source *source, u8 *coded, u32 capacity)
{
	bool key;

	if (encode(encoder, settings, source, coded, capacity, false, &key) > 16)
		die("a picture that does not change is not skipped");
	if (encode(encoder, settings, source, coded, 1000, true, &key) != -ENOSPC)
		die("a buffer that is too small goes unnoticed");
	encode(encoder, settings, source, coded, capacity, false, &key);
	if (!key)
		die("no key frame after one that did not fit");
}

int main(int argc, char **argv)
{
	struct v4l2_pix_format_mplane asked = { 0 };
	struct rig_h264_settings settings = { .repeat_headers = true };
	struct rig_h264_encoder encoder;
	struct source source;
	u32 predicted_bytes = 0;
	u32 pixelformat;
	u32 capacity;
	u32 visible;
	u32 pictures;
	u32 bitrate;
	u32 i;
	FILE *stream;
	u8 *memory;
	u8 *coded;

	if (argc != 10)
		die("wrong number of arguments");
	pixelformat = v4l2_fourcc(argv[1][0], argv[1][1], argv[1][2], argv[1][3]);
	asked.pixelformat = pixelformat;
	asked.width = atoi(argv[2]);
	asked.height = atoi(argv[3]);
	asked.plane_fmt[0].bytesperline =
		rig_raw_min_stride(pixelformat, asked.width) + atoi(argv[4]);
	source.format = rig_raw_negotiate(&asked, &pixelformat, 1);
	bitrate = atoi(argv[5]);
	settings.level_idc = atoi(argv[6]);
	settings.constraint_flags = strtol(argv[7], NULL, 16);
	settings.budget = bitrate ? bitrate / 8 / FRAME_RATE : RIG_H264_NO_BUDGET;

	/* Exactly as large as needed, so that a sanitiser sees any step beyond. */
	visible = asked.width * asked.height * 3 / 2;
	capacity = rig_h264_max_coded(asked.width, asked.height);
	source.raw = malloc(rig_raw_needed(&source.format));
	source.last = malloc(visible);
	coded = malloc(capacity);
	memory = calloc(1, rig_h264_memory(asked.width, asked.height));
	stream = fopen(argv[8], "wb");
	if (!source.raw || !source.last || !coded || !memory || !stream)
		die("no memory or no file");
	/* Padding must not show. */
	memset(source.raw, 0xee, rig_raw_needed(&source.format));

	rig_h264_start(&encoder, asked.width, asked.height, memory);
	pictures = MOVING + pictures_to_catch_up(&encoder, settings.budget);
	for (i = 0; i < pictures; i++) {
		bool force_key = i == FORCED_KEY;
		bool key;
		int bytes;

		draw_raw(&source, min(i, MOVING - 1));
		bytes = encode(&encoder, &settings, &source, coded, capacity, force_key, &key);
		if (bytes < 0)
			die("the largest coded picture is larger than said");
		if (key != (i == 0 || force_key))
			die("a key frame where none was asked for, or none where one was");
		if (!key)
			predicted_bytes += bytes;
		fwrite(coded, 1, bytes, stream);
	}
	if (fclose(stream))
		die("cannot write");

	/* Slice headers and runs of skipped macroblocks are not in the budget. */
	if (bitrate && predicted_bytes > (u64)pictures * (settings.budget + 16) + SAMPLES_PER_MB)
		die("over the bit rate");
	check_ends(&encoder, &settings, &source, coded, capacity);

	draw_expected(&source, MOVING - 1);
	write_file(argv[9], source.last, visible);
	free(source.raw);
	free(source.last);
	free(coded);
	free(memory);
	printf("%u\n", pictures);
	return 0;
}
