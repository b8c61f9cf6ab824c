//! What a camera offers: V4L2's enumerations of formats, sizes and rates as the HAL's words.

use rostrum_hal::{FrameSize, PixelFormat, camera::CameraFormat};
use v4l2r::{
    QueueType,
    bindings::{v4l2_fract, v4l2_frmivalenum, v4l2_frmsizeenum},
    ioctl::{FormatIterator, FrmIvalTypes, FrmSizeTypes, enum_frame_intervals, enum_frame_sizes},
};

use super::node::Node;

/// Formats that can be used, by V4L2's four letters.
const FORMATS: [(&[u8; 4], PixelFormat); 5] = [
    (b"YU12", PixelFormat::Yuv420),
    (b"NV12", PixelFormat::Nv12),
    (b"YUYV", PixelFormat::Yuyv),
    (b"MJPG", PixelFormat::Mjpeg),
    (b"H264", PixelFormat::H264),
];
/// Where a camera gives a range of sizes, these are asked about.
const USUAL_SIZES: [FrameSize; 6] = [
    FrameSize::new(1920, 1080),
    FrameSize::new(1280, 720),
    FrameSize::new(640, 480),
    FrameSize::new(640, 360),
    FrameSize::new(320, 180),
    FrameSize::new(160, 90),
];
/// Where it gives a range of rates, these.
const USUAL_RATES_HZ: [f64; 5] = [60.0, 30.0, 25.0, 15.0, 10.0];
/// A driver that never ends its list is not asked for ever.
const MOST: u32 = 256;

/// The four letters of a format.
pub(super) fn fourcc(format: PixelFormat) -> Option<&'static [u8; 4]> {
    FORMATS.iter().find(|(_, known)| *known == format).map(|(letters, _)| *letters)
}

/// What it offers of what can be used, largest first; and the four letters of all that it has, for an error.
pub(super) fn offers(node: &Node, queue: QueueType) -> (Vec<CameraFormat>, String) {
    let mut offers = Vec::new();
    let mut all = Vec::new();
    for description in FormatIterator::new(node, queue) {
        let letters = <[u8; 4]>::from(description.pixelformat);
        all.push(String::from_utf8_lossy(&letters).into_owned());
        let Some((_, pixel_format)) = FORMATS.iter().find(|(known, _)| **known == letters) else { continue };
        for size in sizes(node, letters) {
            let frame_rates_hz = rates_hz(node, letters, size);
            offers.push(CameraFormat { pixel_format: *pixel_format, size, frame_rates_hz });
        }
    }
    offers.sort_by_key(|offer| std::cmp::Reverse(u64::from(offer.size.width) * u64::from(offer.size.height)));
    (offers, all.join(", "))
}

fn sizes(node: &Node, letters: [u8; 4]) -> Vec<FrameSize> {
    let mut sizes = Vec::new();
    for index in 0..MOST {
        let Ok(entry) = enum_frame_sizes::<v4l2_frmsizeenum>(node, index, (&letters).into()) else { break };
        match entry.size() {
            Some(FrmSizeTypes::Discrete(size)) => sizes.push(FrameSize::new(size.width, size.height)),
            Some(FrmSizeTypes::StepWise(range)) => {
                let within = |value: u32, min: u32, max: u32, step: u32| {
                    (min..=max).contains(&value) && (value - min).is_multiple_of(step.max(1))
                };
                let fits = |size: &&FrameSize| {
                    within(size.width, range.min_width, range.max_width, range.step_width)
                        && within(size.height, range.min_height, range.max_height, range.step_height)
                };
                sizes.extend(USUAL_SIZES.iter().filter(fits));
                break;
            }
            None => break,
        }
    }
    // Formats with halved chroma have even sizes only.
    sizes.retain(|size| size.width.is_multiple_of(2) && size.height.is_multiple_of(2) && size.width > 0);
    sizes.dedup();
    sizes
}

/// Highest first; none when the camera does not say.
fn rates_hz(node: &Node, letters: [u8; 4], size: FrameSize) -> Vec<f64> {
    let mut rates = Vec::new();
    for index in 0..MOST {
        let entry =
            enum_frame_intervals::<v4l2_frmivalenum>(node, index, (&letters).into(), size.width, size.height);
        let Ok(entry) = entry else { break };
        match entry.intervals() {
            Some(FrmIvalTypes::Discrete(interval)) => rates.extend(rate_hz(*interval)),
            Some(FrmIvalTypes::StepWise(range)) => {
                // The longest interval is the lowest rate.
                let lowest = rate_hz(range.max).unwrap_or(0.0);
                let highest = rate_hz(range.min).unwrap_or(f64::MAX);
                rates.extend(USUAL_RATES_HZ.iter().filter(|rate| (lowest..=highest).contains(*rate)));
                break;
            }
            None => break,
        }
    }
    rates.sort_by(|a, b| b.total_cmp(a));
    rates.dedup();
    rates
}

/// The rate of an interval, unless the driver gave nonsense.
pub(super) fn rate_hz(interval: v4l2_fract) -> Option<f64> {
    let valid = interval.numerator > 0 && interval.denominator > 0;
    valid.then(|| f64::from(interval.denominator) / f64::from(interval.numerator))
}

/// The interval of a rate, in thousandths, as 29.97 Hz is usual.
pub(super) fn interval(rate_hz: f64) -> v4l2_fract {
    // `as` saturates, and no rate is below zero.
    v4l2_fract { numerator: 1000, denominator: (rate_hz * 1000.0).round().clamp(1.0, 1e9) as u32 }
}
