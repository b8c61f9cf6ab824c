//! Whether a picture shows anything, and moves. Pure functions.

use rostrum_hal::{Frame, PixelFormat};

/// Brightness below which a pixel is black; the limited range starts at 16, and a covered lens has noise.
const BLACK: u8 = 40;
/// In hundredths: a picture of which so much is black shows nothing.
const BLACK_PERCENT: usize = 80;
/// Pixels whose brightness is looked at, so that large pictures cost no more than small ones.
const LOOKED_AT: usize = 20_000;

/// What is remembered of one picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Glance {
    /// Of its bytes.
    hash: u64,
    /// Hundredths of its pixels that are black; `None` where nobody can say.
    black_percent: Option<usize>,
    /// Mean brightness of its pixels.
    pub(super) brightness: Option<u8>,
}

/// Looks at a frame.
pub(super) fn look(frame: &Frame) -> Glance {
    let frame = frame.in_memory();
    let bytes = frame.bytes().unwrap_or_default();
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let pixels = (frame.size.width * frame.size.height) as usize;
    let luma: Option<Box<dyn Iterator<Item = u8> + '_>> = match frame.format {
        PixelFormat::Yuv420 | PixelFormat::Nv12 => Some(Box::new(bytes.iter().take(pixels).copied())),
        PixelFormat::Yuyv => Some(Box::new(bytes.iter().step_by(2).take(pixels).copied())),
        _ => None,
    };
    let sample: Option<Vec<u8>> = luma.map(|luma| luma.step_by((pixels / LOOKED_AT).max(1)).collect());
    let sample = sample.filter(|sample| !sample.is_empty());
    let black_percent = sample
        .as_ref()
        .map(|sample| sample.iter().filter(|brightness| **brightness < BLACK).count() * 100 / sample.len());
    let brightness = sample.as_ref().map(|sample| {
        let sum: usize = sample.iter().map(|brightness| usize::from(*brightness)).sum();
        u8::try_from(sum / sample.len()).unwrap_or(u8::MAX)
    });
    Glance { hash, black_percent, brightness }
}

/// All of them are black.
pub(super) fn are_black(glances: &[Glance]) -> bool {
    let black = |glance: &Glance| glance.black_percent.is_some_and(|percent| percent >= BLACK_PERCENT);
    !glances.is_empty() && glances.iter().all(black)
}

/// All of them are the same: no camera gives two equal pictures, as its sensor has noise.
pub(super) fn are_frozen(glances: &[Glance]) -> bool {
    glances.len() > 1 && glances.windows(2).all(|pair| pair[0].hash == pair[1].hash)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rostrum_hal::{FrameData, FrameSize, Timestamp};

    use super::*;

    fn frame(format: PixelFormat, bytes: Vec<u8>) -> Frame {
        Frame {
            capture_time: Timestamp::default(),
            sequence: 0,
            format,
            size: FrameSize::new(4, 4),
            data: FrameData::Bytes(bytes.into()),
        }
    }

    #[test]
    fn a_picture_is_black_whatever_its_colours_are_and_a_bright_spot_does_not_help() {
        let black = [vec![16; 16], vec![128; 8]].concat();
        assert!(are_black(&[look(&frame(PixelFormat::Yuv420, black.clone()))]));
        assert!(are_black(&[look(&frame(PixelFormat::Yuyv, [16, 200].repeat(16)))]));
        let mut spot = black.clone();
        spot[3] = 235;
        assert!(are_black(&[look(&frame(PixelFormat::Nv12, spot))]));
        let mut half = black.clone();
        half[..8].fill(60);
        assert!(!are_black(&[look(&frame(PixelFormat::Nv12, half.clone()))]));
        let one_is_seen = [look(&frame(PixelFormat::Nv12, black)), look(&frame(PixelFormat::Nv12, half))];
        assert!(!are_black(&one_is_seen) && !are_black(&[]));
    }

    #[test]
    fn pictures_are_frozen_when_no_bit_of_them_changes() {
        let one = frame(PixelFormat::Mjpeg, vec![1, 2, 3]);
        let other = frame(PixelFormat::Mjpeg, vec![1, 2, 4]);
        assert!(are_frozen(&[look(&one), look(&one), look(&one)]));
        assert!(!are_frozen(&[look(&one), look(&one), look(&other)]));
        assert!(!are_frozen(&[look(&one)]), "one picture says nothing");
        assert!(!are_black(&[look(&one)]), "nobody knows how bright a JPEG is");
    }

    proptest! {
        #[test]
        fn no_frame_panics(bytes: Vec<u8>, format in 0..5_usize) {
            use PixelFormat::{H264, Mjpeg, Nv12, Yuv420, Yuyv};
            look(&frame([Yuv420, Nv12, Yuyv, Mjpeg, H264][format], bytes));
        }
    }
}
