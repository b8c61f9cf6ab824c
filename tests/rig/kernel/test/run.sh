#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Plays what rig-h264-bits.c codes with libavcodec: the last picture must be
# the source's, bit for bit, but for 0, which becomes 1.
# Needs gcc, ffmpeg and ffprobe.
set -euo pipefail
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

gcc -std=gnu11 -O2 -g -Wall -Wextra -Wno-sign-compare -fsanitize=address,undefined \
	-include shim.h -o "$work/encode" encode.c ../rig-h264-bits.c

# FOURCC WIDTH HEIGHT PADDING BITRATE LEVEL_IDC CONSTRAINTS
check() {
	local pictures decoded level size
	pictures=$("$work/encode" "$@" "$work/coded.h264" "$work/expected.yuv")
	size=$(($2 * $3 * 3 / 2))
	ffmpeg -nostdin -probesize 100M -loglevel warning -err_detect explode -i "$work/coded.h264" \
		-fps_mode passthrough -f rawvideo -pix_fmt yuv420p -y "$work/decoded.yuv" \
		2>"$work/warnings"
	if [ -s "$work/warnings" ]; then
		cat "$work/warnings"
		return 1
	fi
	decoded=$(($(stat -c %s "$work/decoded.yuv") / size))
	[ "$decoded" = "$pictures" ]
	tail -c "$size" "$work/decoded.yuv" | cmp - "$work/expected.yuv"
	level=$(ffprobe -loglevel error -show_entries stream=profile,level,width,height \
		-of csv=p=0 "$work/coded.h264" | head -1)
	echo "ok $*: $pictures pictures, $level"
}

for size in "320 180" "640 368"; do
	for bitrate in 64000 1000000 8000000 0; do
		check NV12 $size 0 $bitrate 40 c0
	done
done
check YU12 320 180 0 2000000 31 c0
check YU12 640 360 64 0 31 80
check NV12 640 360 64 0 42 80
check YUYV 320 180 0 2000000 10 80
check YUYV 640 360 128 0 11 90
check NV12 34 46 0 0 11 d0
check YU12 1920 1080 0 100000000 41 c0
