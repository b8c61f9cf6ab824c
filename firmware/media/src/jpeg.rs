//! Stills for web pages.

use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use rostrum_hal::{Frame, FrameSize};

use crate::{
    MediaError,
    picture::{Scaler, Target, checked_bytes},
};

/// `frame` as a JPEG at most `max_width` pixels wide, `quality` 1..=100; others become the nearest of these.
///
/// # Errors
/// [`MediaError::BadFrame`], [`MediaError::Unsupported`] unless the frame is uncompressed in memory;
/// [`MediaError::Jpeg`].
pub fn jpeg(frame: &Frame, max_width: u32, quality: u8) -> Result<Vec<u8>, MediaError> {
    checked_bytes(frame)?;
    let width = frame.size.width.min(max_width.max(16));
    let height = (u64::from(frame.size.height) * u64::from(width) / u64::from(frame.size.width)).max(1);
    // Not larger than the frame's height, which is a u32 of at most 16384.
    let size = FrameSize::new(width, height as u32);
    let mut scaler = Scaler::new(Target::Rgb(size));
    let rgb = scaler.scale(frame)?;
    let mut out = Vec::with_capacity(rgb.len() / 8);
    let mut encoder = Encoder::new(&mut out, quality.clamp(1, 100));
    encoder.set_sampling_factor(SamplingFactor::F_2_2);
    encoder
        .encode(&rgb, size.width as u16, size.height as u16, ColorType::Rgb)
        .map_err(|error| MediaError::Jpeg(error.to_string()))?;
    Ok(out)
}
