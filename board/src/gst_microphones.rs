//! Microphones that are a GStreamer source, such as `alsasrc`.

use gstreamer::{self as gst, prelude::*};
use gstreamer_app::AppSink;
use rostrum_hal::{
    Timestamp,
    microphone::{ArrayFormat, MicrophoneArray, MicrophoneError, Position},
    sim::linear_array,
};
use serde::Deserialize;

use crate::{BoardError, drivers::Device, elements};

const RATE_HZ: u32 = 48_000;
const PERIOD_FRAMES: usize = 480;
/// Buffers that wait for a slow reader before they are lost.
const MAX_WAITING: u32 = 16;
/// A source that gives nothing for so long is gone.
const SILENT: gst::ClockTime = gst::ClockTime::from_seconds(1);
/// Times of consecutive buffers that differ by less belong together.
const TOLERANCE_NS: u64 = 5_000_000;

/// Keys of `[microphones]` with the driver `gstreamer`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Options {
    /// Name of the source.
    element: String,
    /// Microphones, 1..=16.
    #[serde(default = "one")]
    channels: usize,
    /// Where they sit; a line of 6.5 cm when left out.
    geometry: Option<Vec<Position>>,
    /// Properties of the source.
    #[serde(default)]
    properties: toml::Table,
}

fn one() -> usize {
    1
}

pub(crate) fn open(device: &Device<'_>) -> Result<Box<dyn MicrophoneArray>, BoardError> {
    let Options { element, channels, geometry, properties } = device.options()?;
    let geometry = geometry.unwrap_or_else(|| linear_array(channels, 0.065));
    if !(1..=16).contains(&channels) || geometry.len() != channels {
        return Err(device.wrong("channels is 1 to 16, and geometry has one position for each"));
    }
    // A wrong property or a missing package is an error of the profile; a missing sound card heals.
    elements::make_for(device, &element, &properties)?;
    for needed in ["audioconvert", "audioresample", "appsink"] {
        elements::require(needed)?;
    }
    Ok(Box::new(GstMicrophones { element, properties, geometry, running: None }))
}

struct GstMicrophones {
    element: String,
    properties: toml::Table,
    geometry: Vec<Position>,
    running: Option<Running>,
}

struct Running {
    pipeline: gst::Pipeline,
    drain: AppSink,
    /// Samples that wait for a full period.
    waiting: Vec<f32>,
    /// When the first of them was heard, in nanoseconds of the monotonic clock.
    start_ns: u64,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

impl GstMicrophones {
    fn start(&self) -> Result<Running, String> {
        let make = |element: &str| elements::make(element).map_err(|e| e.to_string());
        let source = make(&self.element)?;
        elements::set_properties(&source, &self.properties)?;
        let (convert, resample) = (make("audioconvert")?, make("audioresample")?);
        let drain: AppSink =
            make("appsink")?.downcast().map_err(|_| "appsink is another element".to_owned())?;
        let channels = i32::try_from(self.geometry.len()).map_err(|e| e.to_string())?;
        let mut caps = gst::Caps::builder("audio/x-raw")
            .field("format", if cfg!(target_endian = "big") { "F32BE" } else { "F32LE" })
            .field("layout", "interleaved")
            .field("rate", RATE_HZ as i32)
            .field("channels", channels);
        if channels > 2 {
            // Microphones of an array have no place around a listener, so no channel is mixed.
            caps = caps.field("channel-mask", gst::Bitmask::new(0));
        }
        drain.set_caps(Some(&caps.build()));
        drain.set_sync(false);
        drain.set_max_buffers(MAX_WAITING);
        drain.set_drop(true);
        let pipeline = gst::Pipeline::new();
        let parts = [&source, &convert, &resample, drain.upcast_ref()];
        let linked = pipeline.add_many(parts).and_then(|()| gst::Element::link_many(parts));
        linked.map_err(|e| e.to_string())?;
        // CLOCK_MONOTONIC, not the sound card's: times must compare with those of cameras.
        pipeline.use_clock(Some(&gst::SystemClock::obtain()));
        pipeline.set_state(gst::State::Playing).map_err(|e| e.to_string())?;
        Ok(Running { pipeline, drain, waiting: Vec::with_capacity(RATE_HZ as usize), start_ns: 0 })
    }

    fn gone(&mut self) -> MicrophoneError {
        self.running = None;
        MicrophoneError::Gone { name: self.name() }
    }
}

impl Running {
    /// Takes the next buffer; `Ok(frames lost before it)`, or `None` when the source is gone.
    fn pull(&mut self, channels: usize) -> Option<usize> {
        let sample = self.drain.try_pull_sample(SILENT)?;
        let buffer = sample.buffer()?;
        let running = sample.segment()?.downcast_ref::<gst::ClockTime>()?.to_running_time(buffer.pts()?)?;
        let time_ns = (self.pipeline.base_time()? + running).nseconds();
        let waiting = (self.waiting.len() / channels) as u64;
        let expected_ns = self.start_ns + waiting * 62_500 / 3;
        let mut lost = 0;
        if self.start_ns == 0 || time_ns.abs_diff(expected_ns) > TOLERANCE_NS {
            if self.start_ns != 0 && time_ns > expected_ns {
                lost = usize::try_from((time_ns - expected_ns) * 3 / 62_500).unwrap_or(usize::MAX);
            }
            self.waiting.clear();
            self.start_ns = time_ns;
        }
        let bytes = buffer.map_readable().ok()?;
        let samples = bytes.chunks_exact(4).map(|b| f32::from_ne_bytes([b[0], b[1], b[2], b[3]]));
        self.waiting.extend(samples);
        Some(lost)
    }
}

impl MicrophoneArray for GstMicrophones {
    fn name(&self) -> String {
        let device = self.properties.get("device").and_then(|d| d.as_str());
        device.map_or(self.element.clone(), |device| format!("{} {device}", self.element))
    }

    fn format(&self) -> ArrayFormat {
        let geometry = self.geometry.clone();
        ArrayFormat { rate_hz: RATE_HZ, period_frames: PERIOD_FRAMES, geometry }
    }

    fn read(&mut self, samples: &mut [f32]) -> Result<Timestamp, MicrophoneError> {
        let channels = self.geometry.len();
        let needed = PERIOD_FRAMES * channels;
        if samples.len() != needed {
            let message = format!("{} samples were asked for; a period has {needed}", samples.len());
            return Err(MicrophoneError::Failed { name: self.name(), message });
        }
        if self.running.is_none() {
            match self.start() {
                Ok(running) => self.running = Some(running),
                Err(_) => return Err(self.gone()),
            }
        }
        loop {
            let Some(running) = &mut self.running else { return Err(self.gone()) };
            if running.waiting.len() >= needed {
                samples.copy_from_slice(&running.waiting[..needed]);
                running.waiting.drain(..needed);
                let start = Timestamp::from_clock(std::time::Duration::from_nanos(running.start_ns));
                running.start_ns += 10_000_000;
                return Ok(start);
            }
            match running.pull(channels) {
                None => return Err(self.gone()),
                Some(0) => {}
                Some(lost_frames) => return Err(MicrophoneError::Overrun { lost_frames }),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn test_tone(properties: &str) -> GstMicrophones {
        let properties = properties.parse().unwrap();
        elements::init().unwrap();
        GstMicrophones {
            element: "audiotestsrc".into(),
            properties,
            geometry: linear_array(2, 0.065),
            running: None,
        }
    }

    #[test]
    fn a_live_source_gives_periods_that_follow_each_other() {
        let mut microphones = test_tone("is-live = true\nvolume = 0.5");
        let mut samples = vec![0.0; PERIOD_FRAMES * 2];
        let first = microphones.read(&mut samples).unwrap();
        let mut peak = 0.0_f32;
        let mut last = first;
        for _ in 0..30 {
            last = microphones.read(&mut samples).unwrap();
            peak = samples.iter().fold(peak, |p, s| p.max(s.abs()));
        }
        let seconds = last.saturating_since(first).as_secs_f64();
        assert!((seconds - 0.3).abs() < 0.006, "{seconds} s for 30 periods");
        assert!((0.4..0.6).contains(&peak), "peak {peak}");
        let age = Timestamp::now().saturating_since(last).as_secs_f64();
        assert!((0.0..1.0).contains(&age), "heard {age} s ago");
    }

    #[test]
    fn a_source_that_ends_is_gone_and_comes_back() {
        let mut microphones = test_tone("is-live = true\nnum-buffers = 2");
        let mut samples = vec![0.0; PERIOD_FRAMES * 2];
        assert!(microphones.read(&mut samples).is_ok());
        while microphones.read(&mut samples).is_ok() {}
        assert!(microphones.running.is_none());
        assert!(microphones.read(&mut samples).is_ok());
    }
}
