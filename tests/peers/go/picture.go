package main

import (
	"bytes"

	"github.com/pion/rtp/codecs"
)

// A pictureSize reads the size of pictures from the parameter sets in a stream of H.264.
type pictureSize struct {
	packets       codecs.H264Packet
	width, height int
}

func (s *pictureSize) look(payload []byte) {
	units, err := s.packets.Unmarshal(payload)
	if err != nil {
		return
	}
	for _, unit := range bytes.Split(units, []byte{0, 0, 0, 1}) {
		if len(unit) > 4 && unit[0]&0x1f == 7 {
			s.width, s.height = sizeOf(unit)
		}
	}
}

// sizeOf reads a sequence parameter set (H.264 §7.3.2.1.1) of 4:2:0 pictures without scaling lists.
func sizeOf(unit []byte) (width, height int) {
	profile := unit[1]
	// What looks like a start code was broken up (§7.4.1).
	reader := bits{data: bytes.ReplaceAll(unit[4:], []byte{0, 0, 3}, []byte{0, 0})}
	reader.number() // seq_parameter_set_id
	switch profile {
	case 100, 110, 122, 244, 44, 83, 86, 118, 128:
		reader.number() // chroma_format_idc
		reader.number() // bit_depth_luma_minus8
		reader.number() // bit_depth_chroma_minus8
		reader.bit()    // qpprime_y_zero_transform_bypass_flag
		reader.bit()    // seq_scaling_matrix_present_flag
	}
	reader.number() // log2_max_frame_num_minus4
	switch reader.number() {
	case 0:
		reader.number() // log2_max_pic_order_cnt_lsb_minus4
	case 1:
		reader.bit()    // delta_pic_order_always_zero_flag
		reader.number() // offset_for_non_ref_pic
		reader.number() // offset_for_top_to_bottom_field
		for count := reader.number(); count > 0; count-- {
			reader.number() // offset_for_ref_frame
		}
	}
	reader.number() // max_num_ref_frames
	reader.bit()    // gaps_in_frame_num_value_allowed_flag
	width = (reader.number() + 1) * 16
	height = (reader.number() + 1) * 16
	if reader.bit() == 0 { // frame_mbs_only_flag
		height *= 2
		reader.bit() // mb_adaptive_frame_field_flag
	}
	reader.bit() // direct_8x8_inference_flag
	if reader.bit() == 1 {
		left, right := reader.number(), reader.number()
		top, bottom := reader.number(), reader.number()
		width -= 2 * (left + right)
		height -= 2 * (top + bottom)
	}
	return width, height
}

// bits reads from the highest bit of each byte; zeros follow the end.
type bits struct {
	data []byte
	at   int
}

func (b *bits) bit() int {
	if b.at/8 >= len(b.data) {
		return 0
	}
	bit := b.data[b.at/8] >> (7 - b.at%8) & 1
	b.at++
	return int(bit)
}

// number reads an Exp-Golomb code (H.264 §9.1), which has at most 32 leading zeros.
func (b *bits) number() int {
	zeros := 0
	for zeros < 32 && b.bit() == 0 {
		zeros++
	}
	value := 1
	for range zeros {
		value = value<<1 | b.bit()
	}
	return value - 1
}
