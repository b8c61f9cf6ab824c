//! Speakers that are a GStreamer sink, such as `alsasink`.

use std::time::Duration;

use gstreamer::{self as gst, prelude::*};
use gstreamer_app::AppSrc;
use rostrum_hal::{
    Timestamp,
    speaker::{Speaker, SpeakerError, SpeakerFormat},
};
use serde::Deserialize;

use crate::{BoardError, drivers::Device, elements};

const RATE_HZ: u32 = 48_000;
const PERIOD_FRAMES: usize = 480;
const PERIOD: Duration = Duration::from_millis(10);
/// Periods that wait before the sink's own buffer.
const MAX_WAITING: u64 = 2;
/// How late a writer may be before the room hears a gap: what waits in front of the sink and in it.
const SLACK: Duration = Duration::from_millis(40);

/// Keys of `[speaker]` with the driver `gstreamer`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Options {
    /// Name of the sink.
    element: String,
    /// Channels, 1 or 2.
    #[serde(default = "one")]
    channels: usize,
    /// Properties of the sink.
    #[serde(default)]
    properties: toml::Table,
}

fn one() -> usize {
    1
}

pub(crate) fn open(device: &Device<'_>) -> Result<Box<dyn Speaker>, BoardError> {
    let Options { element, channels, properties } = device.options()?;
    if !(1..=2).contains(&channels) {
        return Err(device.wrong("channels is 1 or 2"));
    }
    // A wrong property or a missing package is an error of the profile; a missing sound card heals.
    elements::make_for(device, &element, &properties)?;
    for needed in ["audioconvert", "audioresample", "appsrc"] {
        elements::require(needed)?;
    }
    Ok(Box::new(GstSpeaker { element, properties, channels, running: None }))
}

struct GstSpeaker {
    element: String,
    properties: toml::Table,
    channels: usize,
    running: Option<Running>,
}

struct Running {
    pipeline: gst::Pipeline,
    source: AppSrc,
    /// Periods written.
    written: u64,
    /// When the first was written.
    begin: Timestamp,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

impl Running {
    fn failed(&self) -> bool {
        let bus = self.pipeline.bus();
        bus.is_some_and(|bus| bus.pop_filtered(&[gst::MessageType::Error]).is_some())
    }
}

impl GstSpeaker {
    fn start(&self) -> Result<Running, String> {
        let make = |element: &str| elements::make(element).map_err(|e| e.to_string());
        let sink = make(&self.element)?;
        elements::set_properties(&sink, &self.properties)?;
        let (convert, resample) = (make("audioconvert")?, make("audioresample")?);
        let source: AppSrc =
            make("appsrc")?.downcast().map_err(|_| "appsrc is another element".to_owned())?;
        let caps = gst::Caps::builder("audio/x-raw")
            .field("format", if cfg!(target_endian = "big") { "F32BE" } else { "F32LE" })
            .field("layout", "interleaved")
            .field("rate", RATE_HZ as i32)
            .field("channels", self.channels as i32)
            .build();
        source.set_caps(Some(&caps));
        source.set_format(gst::Format::Time);
        source.set_is_live(true);
        source.set_block(true);
        source.set_max_bytes(0);
        source.set_max_buffers(MAX_WAITING);
        let pipeline = gst::Pipeline::new();
        let parts = [source.upcast_ref(), &convert, &resample, &sink];
        let linked = pipeline.add_many(parts).and_then(|()| gst::Element::link_many(parts));
        linked.map_err(|e| e.to_string())?;
        pipeline.set_state(gst::State::Playing).map_err(|e| e.to_string())?;
        // Opening a device takes its time: what counts begins when it is open.
        Ok(Running { pipeline, source, written: 0, begin: Timestamp::now() })
    }

    fn gone(&mut self) -> SpeakerError {
        self.running = None;
        SpeakerError::Gone { name: self.name() }
    }

    /// Time that a sample spends in the sink's own buffer, by its property (ALSA's `buffer-time` in us).
    fn sink_delay(&self) -> Duration {
        let micros = self.properties.get("buffer-time").and_then(toml::Value::as_integer).unwrap_or(0);
        Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    }
}

impl Speaker for GstSpeaker {
    fn name(&self) -> String {
        let device = self.properties.get("device").and_then(|d| d.as_str());
        device.map_or(self.element.clone(), |device| format!("{} {device}", self.element))
    }

    fn format(&self) -> SpeakerFormat {
        SpeakerFormat { rate_hz: RATE_HZ, period_frames: PERIOD_FRAMES, channels: self.channels }
    }

    fn write(&mut self, samples: &[f32]) -> Result<Timestamp, SpeakerError> {
        if samples.len() != PERIOD_FRAMES * self.channels {
            let message = format!("{} samples came; a period has {PERIOD_FRAMES}", samples.len());
            return Err(SpeakerError::Failed { name: self.name(), message });
        }
        if self.running.is_none() {
            match self.start() {
                Ok(running) => self.running = Some(running),
                Err(_) => return Err(self.gone()),
            }
        }
        let Some(running) = &mut self.running else { return Err(self.gone()) };
        let bytes: Vec<u8> = samples.iter().flat_map(|s| s.to_ne_bytes()).collect();
        let mut buffer = gst::Buffer::from_mut_slice(bytes);
        let period = gst::ClockTime::from_nseconds(10_000_000);
        // All that was written before has been played.
        let elapsed = Timestamp::now().saturating_since(running.begin);
        let late = elapsed > PERIOD * u32::try_from(running.written).unwrap_or(u32::MAX) + SLACK;
        if late {
            running.written = u64::try_from(elapsed.as_millis() / 10).unwrap_or(0);
        }
        if let Some(writable) = buffer.get_mut() {
            writable.set_pts(period * running.written);
            writable.set_duration(period);
        }
        running.written += 1;
        let pushed = running.source.push_buffer(buffer).is_ok();
        if !pushed || running.failed() {
            return Err(self.gone());
        }
        let waiting = u32::try_from(running.source.current_level_buffers()).unwrap_or(0);
        if late {
            return Err(SpeakerError::Underrun);
        }
        Ok(Timestamp::now() + PERIOD * waiting.saturating_sub(1) + self.sink_delay())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn silent_sink(properties: &str) -> GstSpeaker {
        elements::init().unwrap();
        let properties = properties.parse().unwrap();
        GstSpeaker { element: "fakesink".into(), properties, channels: 1, running: None }
    }

    #[test]
    fn a_sink_that_fails_is_gone_and_is_opened_again() {
        // Cannot be opened, like a card that was pulled out.
        let mut speaker = silent_sink("state-error = 'ready-to-paused'");
        assert!(matches!(speaker.write(&[0.0; PERIOD_FRAMES]), Err(SpeakerError::Gone { .. })));
        speaker.properties = toml::Table::new();
        assert!(speaker.write(&[0.0; PERIOD_FRAMES]).is_ok());
    }

    #[test]
    fn writing_is_paced_by_the_sink() {
        let mut speaker = silent_sink("sync = true");
        let begin = Timestamp::now();
        for _ in 0..40 {
            // A busy machine may be late, which is not what is asked here.
            if let Err(error) = speaker.write(&[0.0; PERIOD_FRAMES]) {
                assert!(matches!(error, SpeakerError::Underrun), "{error}");
            }
        }
        let took = Timestamp::now().saturating_since(begin);
        assert!(took > Duration::from_millis(300), "400 ms of sound were taken in {took:?}");
    }
}
