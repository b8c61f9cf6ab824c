//! Frames between `hal` and GStreamer, and their scaling.

use std::sync::Arc;

use gstreamer as gst;
use gstreamer_video as video;
use rostrum_hal::{Frame, FrameData, FrameSize, PixelFormat};
use video::prelude::*;

use crate::{MediaError, elements};

/// Bytes of a frame that GStreamer may read while others hold them too.
struct Shared(Arc<[u8]>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Bytes of one Yuv420 picture; none when a side is odd, 0 or beyond 16384.
pub(crate) fn yuv420_length(size: FrameSize) -> Option<usize> {
    packed_length(PixelFormat::Yuv420, size)
}

/// Bytes of an uncompressed picture without padding.
fn packed_length(format: PixelFormat, size: FrameSize) -> Option<usize> {
    let possible = |side: u32| (2..=16_384).contains(&side) && side & 1 == 0;
    if !possible(size.width) || !possible(size.height) {
        return None;
    }
    let pixels = size.width as usize * size.height as usize;
    match format {
        PixelFormat::Yuv420 | PixelFormat::Nv12 => Some(pixels * 3 / 2),
        PixelFormat::Yuyv => Some(pixels * 2),
        _ => None,
    }
}

/// The bytes of `frame` when it is uncompressed, in memory and as long as it says.
pub(crate) fn checked_bytes(frame: &Frame) -> Result<&Arc<[u8]>, MediaError> {
    let FrameData::Bytes(bytes) = &frame.data else {
        return Err(MediaError::Unsupported { format: frame.format, storage: "in a DMA-BUF" });
    };
    if matches!(frame.format, PixelFormat::Mjpeg | PixelFormat::H264) {
        return Err(MediaError::Unsupported { format: frame.format, storage: "in memory" });
    }
    let expected = packed_length(frame.format, frame.size).unwrap_or(0);
    if expected == 0 || bytes.len() < expected {
        let (format, size) = (frame.format, frame.size);
        return Err(MediaError::BadFrame { format, size, expected, actual: bytes.len() });
    }
    Ok(bytes)
}

/// `frame` as Yuv420 of the same time and number, with other bytes.
pub(crate) fn yuv420(of: &Frame, size: FrameSize, bytes: Arc<[u8]>) -> Frame {
    Frame {
        capture_time: of.capture_time,
        sequence: of.sequence,
        format: PixelFormat::Yuv420,
        size,
        data: FrameData::Bytes(bytes),
    }
}

fn failed(message: impl ToString) -> MediaError {
    MediaError::Pipeline { what: "scaling", message: message.to_string() }
}

/// GStreamer's description of a picture without padding.
fn packed_info(format: PixelFormat, size: FrameSize) -> Result<video::VideoInfo, MediaError> {
    elements::start()?;
    let FrameSize { width, height } = size;
    // Sides were checked to be at most 16384 and even, so nothing overflows.
    let w = width as i32;
    let luma = width as usize * height as usize;
    let (name, strides, offsets): (_, &[i32], &[usize]) = match format {
        PixelFormat::Yuv420 => (video::VideoFormat::I420, &[w, w / 2, w / 2], &[0, luma, luma + luma / 4]),
        PixelFormat::Nv12 => (video::VideoFormat::Nv12, &[w, w], &[0, luma]),
        PixelFormat::Yuyv => (video::VideoFormat::Yuy2, &[w * 2], &[0]),
        _ => return Err(MediaError::Unsupported { format, storage: "in memory" }),
    };
    video::VideoInfo::builder(name, width, height)
        .stride(strides)
        .offset(offsets)
        .size(packed_length(format, size).unwrap_or(0))
        .colorimetry(&bt709())
        .build()
        .map_err(failed)
}

/// What `hal` says of every Yuv420 frame.
pub(crate) fn bt709() -> video::VideoColorimetry {
    video::VideoColorimetry::new(
        video::VideoColorRange::Range16_235,
        video::VideoColorMatrix::Bt709,
        video::VideoTransferFunction::Bt709,
        video::VideoColorPrimaries::Bt709,
    )
}

/// Converts pictures to one format and size, on the caller's thread. The converters are kept while the
/// source stays the same.
pub(crate) struct Scaler {
    to: Target,
    /// Makes a source smaller that is more than twice as large.
    first: Option<Box<Scaler>>,
    kept: Option<Kept>,
}

/// What comes out of a [`Scaler`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    Yuv420(FrameSize),
    /// Packed R, G, B, full range.
    Rgb(FrameSize),
}

struct Kept {
    from: video::VideoInfo,
    converter: video::VideoConverter,
    output: gst::Buffer,
    output_info: video::VideoInfo,
}

impl Scaler {
    pub(crate) fn new(to: Target) -> Self {
        Self { to, first: None, kept: None }
    }

    pub(crate) fn size(&self) -> FrameSize {
        match self.to {
            Target::Yuv420(size) | Target::Rgb(size) => size,
        }
    }

    /// The picture of `frame`, as bytes without padding. Aspect ratio is the caller's business.
    pub(crate) fn scale<'s>(&'s mut self, frame: &Frame) -> Result<Scaled<'s>, MediaError> {
        let bytes = checked_bytes(frame)?;
        let info = packed_info(frame.format, frame.size)?;
        // Checked to be no shorter than `info` says, but perhaps longer: GStreamer maps what it needs.
        let buffer = gst::Buffer::from_slice(Shared(bytes.clone()));
        self.scale_buffer(&buffer, &info)
    }

    /// The same for a picture of GStreamer's.
    pub(crate) fn scale_buffer<'s>(
        &'s mut self,
        buffer: &gst::BufferRef,
        info: &video::VideoInfo,
    ) -> Result<Scaled<'s>, MediaError> {
        let output = &self.run(buffer, info)?.output;
        Ok(Scaled(output.map_readable().map_err(failed)?))
    }

    fn run(&mut self, buffer: &gst::BufferRef, info: &video::VideoInfo) -> Result<&Kept, MediaError> {
        let Some(size) = halved(FrameSize::new(info.width(), info.height()), self.size()) else {
            self.first = None;
            return convert(&mut self.kept, self.to, buffer, info);
        };
        if self.first.as_ref().is_none_or(|first| first.size() != size) {
            self.first = None;
        }
        let first = self.first.get_or_insert_with(|| Box::new(Self::new(Target::Yuv420(size))));
        let halved = first.run(buffer, info)?;
        convert(&mut self.kept, self.to, &halved.output, &halved.output_info)
    }
}

/// The size to make a picture first that is more than twice as large as `to`: halved until it is not.
///
/// GStreamer weighs pixels in 64ths. Rounded, the weights of many pixels do not add up to one, and the
/// picture would get brighter or pink. For two pixels, as in halving, they are exact.
fn halved(from: FrameSize, to: FrameSize) -> Option<FrameSize> {
    let halve = |side: u32| (side / 2).next_multiple_of(2).max(2);
    let mut size = from;
    while size.width > 2 * to.width || size.height > 2 * to.height {
        let next = FrameSize {
            width: if size.width > 2 * to.width { halve(size.width) } else { size.width },
            height: if size.height > 2 * to.height { halve(size.height) } else { size.height },
        };
        if next == size {
            break;
        }
        size = next;
    }
    // Sources of GStreamer's may have odd sides, and cannot be kept so on the way.
    let size = FrameSize::new(size.width.next_multiple_of(2), size.height.next_multiple_of(2));
    let smaller = size.width < from.width || size.height < from.height;
    smaller.then_some(size)
}

/// Converts into the output of `kept`, which is made anew when the source changed.
fn convert<'k>(
    kept: &'k mut Option<Kept>,
    to: Target,
    buffer: &gst::BufferRef,
    info: &video::VideoInfo,
) -> Result<&'k Kept, MediaError> {
    let kept = match kept.take() {
        Some(same) if same.from == *info => kept.insert(same),
        _ => kept.insert(Kept::new(to, info)?),
    };
    let input = video::VideoFrameRef::from_buffer_ref_readable(buffer, info).map_err(failed)?;
    let writable = kept.output.make_mut();
    let mut output =
        video::VideoFrameRef::from_buffer_ref_writable(writable, &kept.output_info).map_err(failed)?;
    kept.converter.frame_ref(&input, &mut output);
    drop(output);
    Ok(kept)
}

impl Kept {
    fn new(to: Target, from: &video::VideoInfo) -> Result<Self, MediaError> {
        let (output_info, length) = match to {
            Target::Yuv420(size) => {
                (packed_info(PixelFormat::Yuv420, size)?, yuv420_length(size).unwrap_or(0))
            }
            Target::Rgb(size) => {
                let length = size.width as usize * 3 * size.height as usize;
                let info = video::VideoInfo::builder(video::VideoFormat::Rgb, size.width, size.height)
                    // At most 16384, as `from` is checked and targets are made from it.
                    .stride(&[size.width as i32 * 3])
                    .offset(&[0])
                    .size(length)
                    .build()
                    .map_err(failed)?;
                (info, length)
            }
        };
        let mut config = video::VideoConverterConfig::new();
        config.set_resampler_method(video::VideoResamplerMethod::Linear);
        config.set_chroma_resampler_method(video::VideoResamplerMethod::Linear);
        config.set_dither_method(video::VideoDitherMethod::None);
        config.set_threads(1);
        let converter = video::VideoConverter::new(from, &output_info, Some(config)).map_err(failed)?;
        let output = gst::Buffer::from_mut_slice(vec![0_u8; length]);
        Ok(Self { from: from.clone(), converter, output, output_info })
    }
}

/// The bytes that a [`Scaler`] made, until it makes others.
pub(crate) struct Scaled<'s>(gst::BufferMap<'s, gst::buffer::Readable>);

impl std::ops::Deref for Scaled<'_> {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        self.0.as_slice()
    }
}

/// Bytes of a decoded I420 picture without its padding.
pub(crate) fn pack_i420(
    buffer: &gst::BufferRef,
    info: &video::VideoInfo,
    size: FrameSize,
) -> Result<Arc<[u8]>, MediaError> {
    let frame = video::VideoFrameRef::from_buffer_ref_readable(buffer, info).map_err(failed)?;
    let mut bytes: Arc<[u8]> = std::iter::repeat_n(0, yuv420_length(size).unwrap_or(0)).collect();
    let mut rest = Arc::get_mut(&mut bytes).ok_or_else(|| failed("no memory"))?;
    let (w, h) = (size.width as usize, size.height as usize);
    for (plane, (width, height)) in [(0, (w, h)), (1, (w / 2, h / 2)), (2, (w / 2, h / 2))] {
        let source = frame.plane_data(plane).map_err(failed)?;
        // Never negative for an uncompressed picture that was mapped.
        let stride = usize::try_from(frame.plane_stride()[plane as usize]).map_err(failed)?;
        let (to, after) = rest.split_at_mut(width * height);
        rest = after;
        for (row, line) in to.chunks_exact_mut(width).enumerate() {
            let start = row * stride;
            line.copy_from_slice(source.get(start..start + width).ok_or_else(|| failed("a plane is short"))?);
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rostrum_hal::Timestamp;

    fn frame(format: PixelFormat, size: FrameSize, bytes: Vec<u8>) -> Frame {
        Frame {
            capture_time: Timestamp::default(),
            sequence: 0,
            format,
            size,
            data: FrameData::Bytes(bytes.into()),
        }
    }

    fn converted(frame: &Frame, to: FrameSize) -> Vec<u8> {
        Scaler::new(Target::Yuv420(to)).scale(frame).unwrap().to_vec()
    }

    /// Left half black, right half white, of sizes whose rows GStreamer would pad.
    #[test]
    fn halves_stay_halves_when_scaled() {
        let size = FrameSize::new(70, 46);
        let mut bytes: Vec<u8> = (0..70 * 46).map(|i| if i % 70 < 35 { 16 } else { 235 }).collect();
        bytes.extend(vec![128; 70 * 46 / 2]);
        let out = converted(&frame(PixelFormat::Yuv420, size, bytes), FrameSize::new(34, 22));
        assert_eq!(out.len(), 34 * 22 * 3 / 2);
        for row in out[..34 * 22].chunks(34) {
            assert_eq!((row[2], row[31]), (16, 235));
        }
        assert!(out[34 * 22..].iter().all(|chroma| *chroma == 128));
    }

    #[test]
    fn every_uncompressed_format_shows_the_same() {
        let size = FrameSize::new(16, 8);
        let nv12 = [vec![100; 128], [90, 160].repeat(32)].concat();
        let yuyv = [100, 90, 100, 160].repeat(64);
        let expected = [vec![100; 128], vec![90; 32], vec![160; 32]].concat();
        assert_eq!(converted(&frame(PixelFormat::Nv12, size, nv12), size), expected);
        assert_eq!(converted(&frame(PixelFormat::Yuyv, size, yuyv), size), expected);
    }

    /// Found on the screen: pictures made smaller by 5 were pink.
    #[test]
    fn no_size_changes_a_colour() {
        for (w, h) in [(1280, 720), (1920, 1080), (720, 1280), (320, 180)] {
            let size = FrameSize::new(w, h);
            let pixels = (w * h) as usize;
            let bytes = [vec![200; pixels], vec![90; pixels / 4], vec![160; pixels / 4]].concat();
            let source = frame(PixelFormat::Yuv420, size, bytes);
            for width in (32..=1280).step_by(26) {
                let height = (width * h / w).next_multiple_of(2);
                let out = converted(&source, FrameSize::new(width, height));
                let (luma, chroma) = out.split_at((width * height) as usize);
                let (u, v) = chroma.split_at(chroma.len() / 2);
                for (plane, value) in [(luma, 200), (u, 90), (v, 160)] {
                    let worst = plane.iter().map(|pixel| pixel.abs_diff(value)).max();
                    assert!(worst <= Some(3), "{size} to {width}x{height}: {worst:?}");
                }
            }
        }
    }

    #[test]
    fn a_short_frame_is_refused() {
        let short = frame(PixelFormat::Yuv420, FrameSize::new(16, 16), vec![0; 100]);
        assert!(matches!(
            checked_bytes(&short),
            Err(MediaError::BadFrame { expected: 384, actual: 100, .. })
        ));
        for (w, h) in [(0, 16), (17, 16), (16, 15), (32_768, 2)] {
            assert!(checked_bytes(&frame(PixelFormat::Yuyv, FrameSize::new(w, h), vec![0; 1000])).is_err());
        }
    }
}
