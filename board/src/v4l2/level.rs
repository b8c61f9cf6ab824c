//! The level of a stream of H.264: the smallest whose limits hold its pictures (ITU-T H.264, table A-1).

use rostrum_hal::FrameSize;
use v4l2r::bindings as v4l2;

/// Macroblocks a second, macroblocks of a picture, V4L2's item.
const LEVELS: [(f64, u32, u32); 3] = [
    (108_000.0, 3_600, v4l2::v4l2_mpeg_video_h264_level_V4L2_MPEG_VIDEO_H264_LEVEL_3_1),
    (245_760.0, 8_192, v4l2::v4l2_mpeg_video_h264_level_V4L2_MPEG_VIDEO_H264_LEVEL_4_0),
    (522_240.0, 8_704, v4l2::v4l2_mpeg_video_h264_level_V4L2_MPEG_VIDEO_H264_LEVEL_4_2),
];

/// The item of `V4L2_CID_MPEG_VIDEO_H264_LEVEL` for pictures of that size and rate; level 4.2 for what is beyond it.
///
/// None below 3.1 is chosen: that is what receivers are told, and a level that changes with the layer gains nothing.
pub(super) fn level(size: FrameSize, frame_rate_hz: f64) -> u32 {
    let blocks = size.width.div_ceil(16) * size.height.div_ceil(16);
    let each_second = f64::from(blocks) * frame_rate_hz;
    let holds = |level: &&(f64, u32, u32)| each_second <= level.0 && blocks <= level.1;
    LEVELS.iter().find(holds).unwrap_or(&LEVELS[LEVELS.len() - 1]).2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_level_that_holds_the_picture_is_taken() {
        let of = |width, height, rate| level(FrameSize::new(width, height), rate);
        assert_eq!(of(320, 180, 30.0), v4l2::v4l2_mpeg_video_h264_level_V4L2_MPEG_VIDEO_H264_LEVEL_3_1);
        assert_eq!(of(1280, 720, 30.0), v4l2::v4l2_mpeg_video_h264_level_V4L2_MPEG_VIDEO_H264_LEVEL_3_1);
        assert_eq!(of(1920, 1080, 30.0), v4l2::v4l2_mpeg_video_h264_level_V4L2_MPEG_VIDEO_H264_LEVEL_4_0);
        assert_eq!(of(1920, 1080, 60.0), v4l2::v4l2_mpeg_video_h264_level_V4L2_MPEG_VIDEO_H264_LEVEL_4_2);
        assert_eq!(of(8192, 8192, 60.0), v4l2::v4l2_mpeg_video_h264_level_V4L2_MPEG_VIDEO_H264_LEVEL_4_2);
    }
}
