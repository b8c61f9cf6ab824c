//! JPEG of a picture, for MJPEG (UVC "MJPEG payload").

use jpeg_encoder::{Encoder, EncodingError, ImageBuffer, JpegColorType, SamplingFactor};
use rostrum_hal::FrameSize;

const QUALITY: u8 = 90;
const NEUTRAL: u8 = 128;

/// The encoder and its buffer.
pub(crate) struct Jpeg {
    /// JFIF has luma from 0 to 255; pictures have it from 16 to 235.
    full_range: [u8; 256],
    bytes: Vec<u8>,
}

impl Jpeg {
    /// An encoder for pictures with neutral chroma.
    pub(crate) fn new() -> Self {
        let full_range = std::array::from_fn(|limited| {
            let stretched = limited.saturating_sub(16) * 255 / 219;
            u8::try_from(stretched).unwrap_or(u8::MAX)
        });
        Self { full_range, bytes: Vec::new() }
    }

    /// Encodes a picture whose luma comes first, without padding between rows.
    ///
    /// # Errors
    /// When the size is none that a JPEG can have.
    pub(crate) fn encode(&mut self, size: FrameSize, luma: &[u8]) -> Result<&[u8], EncodingError> {
        self.bytes.clear();
        let mut encoder = Encoder::new(&mut self.bytes, QUALITY);
        encoder.set_sampling_factor(SamplingFactor::R_4_2_0);
        encoder.encode_image(Grey { size, luma, full_range: &self.full_range })?;
        Ok(&self.bytes)
    }
}

/// A picture as the encoder reads it. It has chroma, as pictures of cameras do: programs that decode may not
/// know what to do with a JPEG of luma alone.
struct Grey<'a> {
    size: FrameSize,
    luma: &'a [u8],
    full_range: &'a [u8; 256],
}

impl ImageBuffer for Grey<'_> {
    fn get_jpeg_color_type(&self) -> JpegColorType {
        JpegColorType::Ycbcr
    }

    fn width(&self) -> u16 {
        u16::try_from(self.size.width).unwrap_or_default()
    }

    fn height(&self) -> u16 {
        u16::try_from(self.size.height).unwrap_or_default()
    }

    fn fill_buffers(&self, y: u16, [luma, cb, cr, _]: &mut [Vec<u8>; 4]) {
        let width = usize::from(self.width());
        let row = self.luma.iter().skip(usize::from(y) * width).take(width);
        luma.extend(row.map(|&value| self.full_range[usize::from(value)]));
        for chroma in [cb, cr] {
            chroma.resize(chroma.len() + width, NEUTRAL);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{
        io::Write,
        process::{Command, Stdio},
        time::Duration,
    };

    use rostrum_hal::{
        Timestamp,
        sim::bar::{self, Bar},
    };

    use super::*;
    use crate::{
        controls::Controls,
        format::{Coding, Offer, SIZES},
        picture::{Picture, View},
    };

    const BAR: Bar = Bar {
        capture_time: Timestamp::from_clock(Duration::from_secs(1)),
        frame_number: 70_000,
        camera_id: 9,
    };

    fn encoded(size: FrameSize) -> Vec<u8> {
        let mut picture = Picture::default();
        picture.show(size, View::of(&Controls::new()), BAR);
        Jpeg::new().encode(size, picture.yuv420()).unwrap().to_vec()
    }

    /// Luma that ffmpeg decodes; `None` when there is no ffmpeg.
    fn decoded(jpeg: &[u8]) -> Option<Vec<u8>> {
        const ARGUMENTS: &str = "-v error -f mjpeg -i pipe:0 -pix_fmt gray -f rawvideo pipe:1";
        let mut command = Command::new("ffmpeg");
        command.args(ARGUMENTS.split(' ')).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().ok()?;
        // It reads all before it writes, and closing the pipe ends it.
        child.stdin.take().unwrap().write_all(jpeg).unwrap();
        Some(child.wait_with_output().unwrap().stdout)
    }

    #[test]
    fn the_bar_is_read_after_decoding_where_there_is_a_decoder() {
        for size in SIZES {
            if let Some(luma) = decoded(&encoded(size)) {
                assert_eq!(bar::read(&luma, size), Some(BAR), "{size}");
            }
        }
    }

    #[test]
    fn a_jpeg_is_whole_and_fits_its_frame() {
        let offer = Offer::new(vec![Coding::Mjpeg], 0);
        for size in SIZES {
            let bytes = encoded(size);
            assert_eq!((&bytes[..2], &bytes[bytes.len() - 2..]), (&[0xff, 0xd8][..], &[0xff, 0xd9][..]));
            assert!(bytes.len() < offer.max_frame_bytes(Coding::Mjpeg, size) / 2);
        }
    }

    #[test]
    fn luma_is_stretched_to_the_full_range() {
        let range = Jpeg::new().full_range;
        assert_eq!([range[0], range[16], range[235], range[255]], [0, 0, 255, 255]);
    }
}
