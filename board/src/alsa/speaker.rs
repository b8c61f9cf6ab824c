//! Speakers that are a playback device of ALSA.
//!
//! The queue is filled with silence before the first sample, and after a gap: the writer is paced from its
//! first period on, and what it writes is always heard the same time later.

use alsa::Direction;
use rostrum_hal::{
    Timestamp,
    speaker::{Speaker, SpeakerError, SpeakerFormat},
};
use serde::Deserialize;

use super::{
    CardOptions, Kept, PERIOD, PERIOD_FRAMES, RATE_HZ,
    clock::Clock,
    mixer::MixerOptions,
    pcm::{Pcm, PcmError, Wanted},
    resample::Resampler,
    use_case::UseCaseOptions,
};
use crate::{BoardError, drivers::Device};

/// Keys of `[speaker]` with the driver `alsa`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Options {
    /// Name of the PCM, such as `hw:CARD=PCH`.
    device: String,
    /// Channels, 1 or 2. One is played on the first two of a device that has more.
    #[serde(default = "one")]
    channels: usize,
    /// Rate at which the device is to run; one that it has is taken when it does not have this one.
    #[serde(default = "super::forty_eight_kilohertz")]
    rate_hz: u32,
    /// Periods of 10 ms that are queued: how late a writer may be, and how late the sound is.
    #[serde(default = "four")]
    periods: u32,
    /// The card's own volume.
    mixer: Option<MixerOptions>,
    /// What the card is to be used for.
    ucm: Option<UseCaseOptions>,
}

fn one() -> usize {
    1
}

fn four() -> u32 {
    4
}

pub(crate) fn open(device: &Device<'_>) -> Result<Box<dyn Speaker>, BoardError> {
    let Options { device: name, channels, rate_hz, periods, mixer, ucm } = device.options()?;
    if !(1..=2).contains(&channels) {
        return Err(device.wrong("channels is 1 or 2"));
    }
    let wanted = Wanted { device: name, direction: Direction::Playback, rate_hz, channels, periods };
    Ok(Box::new(AlsaSpeaker(Kept::open(device, wanted, CardOptions { mixer, use_case: ucm }, |pcm| {
        Stream::new(pcm, channels)
    })?)))
}

struct AlsaSpeaker(Kept<Stream>);

/// An open device with all that is needed to write to it without allocating.
struct Stream {
    pcm: Pcm,
    resampler: Option<Resampler>,
    channels: usize,
    /// One period at the rate of the device.
    period: Vec<f32>,
    clock: Clock,
    /// Frames of the device that were written since it started.
    frames: u64,
    is_running: bool,
}

impl Stream {
    fn new(pcm: Pcm, channels: usize) -> Result<Self, String> {
        Ok(Self {
            resampler: Resampler::between(RATE_HZ, pcm.rate_hz(), channels)?,
            channels,
            period: vec![0.0; pcm.period_frames() * channels],
            clock: Clock::new(pcm.rate_hz()),
            frames: 0,
            is_running: false,
            pcm,
        })
    }

    /// Writes a period; whether there was no gap before it, and when its first sample will be heard.
    fn write(&mut self, samples: &[f32]) -> Result<(bool, Timestamp), PcmError> {
        match &mut self.resampler {
            Some(resampler) => resampler.process(samples, &mut self.period).map_err(PcmError::Failed)?,
            None => self.period.copy_from_slice(samples),
        }
        let mut in_time = true;
        match self.write_period() {
            Err(PcmError::XRun) => {
                in_time = false;
                self.pcm.prepare()?;
                self.is_running = false;
                self.write_period()?;
            }
            result => result?,
        }
        let (looked, until) = self.pcm.position();
        let end = looked + until;
        self.clock.observe(end, self.frames);
        let delay = self.resampler.as_ref().map(Resampler::delay).unwrap_or_default();
        let start = Timestamp::from_clock((end + delay).since_start().saturating_sub(PERIOD));
        Ok((in_time, start))
    }

    fn write_period(&mut self) -> Result<(), PcmError> {
        if !self.is_running {
            self.pcm.fill_with_silence()?;
            self.clock.restart();
            self.frames = 0;
            self.is_running = true;
        }
        let channels = self.pcm.channels();
        let frames = self.period.chunks_exact(self.channels);
        self.pcm
            .write(frames.flat_map(|frame| (0..channels).map(move |channel| of_channel(frame, channel))))?;
        self.frames += self.pcm.period_frames() as u64;
        Ok(())
    }
}

/// What a channel of the device plays.
fn of_channel(frame: &[f32], channel: usize) -> f32 {
    match (frame, channel) {
        ([mono], 0..=1) => *mono,
        _ => frame.get(channel).copied().unwrap_or(0.0),
    }
}

impl Speaker for AlsaSpeaker {
    fn name(&self) -> String {
        self.0.name()
    }

    fn format(&self) -> SpeakerFormat {
        SpeakerFormat { rate_hz: RATE_HZ, period_frames: PERIOD_FRAMES, channels: self.0.wanted.channels }
    }

    fn write(&mut self, samples: &[f32]) -> Result<Timestamp, SpeakerError> {
        if samples.len() != PERIOD_FRAMES * self.0.wanted.channels {
            let message = format!("{} samples came; a period has {PERIOD_FRAMES}", samples.len());
            return Err(SpeakerError::Failed { name: self.name(), message });
        }
        let channels = self.0.wanted.channels;
        match self.0.with(|pcm| Stream::new(pcm, channels), |stream| stream.write(samples)) {
            Ok((true, heard)) => Ok(heard),
            Ok((false, _)) => Err(SpeakerError::Underrun),
            Err(PcmError::Gone) => Err(SpeakerError::Gone { name: self.name() }),
            Err(error) => Err(SpeakerError::Failed { name: self.name(), message: error.message() }),
        }
    }

    fn drift_ppm(&self) -> Option<f64> {
        self.0.stream.as_ref()?.clock.drift_ppm()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn speaker(device: &str, channels: usize, rate_hz: u32) -> AlsaSpeaker {
        let wanted =
            Wanted { device: device.into(), direction: Direction::Playback, rate_hz, channels, periods: 4 };
        AlsaSpeaker(Kept { wanted, card: CardOptions::default(), stream: None, use_case: None })
    }

    #[test]
    fn what_is_written_is_played_after_the_silence_that_fills_the_queue() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("played");
        let device = format!("file:FILE={},FORMAT=raw", path.display());
        let mut speaker = speaker(&device, 2, 48_000);
        let periods: Vec<Vec<f32>> =
            (0..5).map(|p| (0..960).map(|i| ((p * 960 + i) as f32 / 4_800.0) - 0.5).collect()).collect();
        for period in &periods {
            let heard = speaker.write(period).unwrap();
            assert!(heard + PERIOD * 100 > Timestamp::now());
        }
        drop(speaker);
        let bytes = std::fs::read(path).unwrap();
        let played: Vec<f32> =
            bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        let (silence, sound) = played.split_at(960 * 3);
        assert!(silence.iter().all(|sample| *sample == 0.0));
        assert_eq!(sound, periods.concat());
    }

    #[test]
    fn one_channel_is_played_on_the_first_two_and_two_on_their_own() {
        assert_eq!([0, 1, 2].map(|channel| of_channel(&[0.5], channel)), [0.5, 0.5, 0.0]);
        assert_eq!([0, 1, 2].map(|channel| of_channel(&[0.5, 0.1], channel)), [0.5, 0.1, 0.0]);
    }

    #[test]
    fn writing_allocates_nothing_whatever_the_device_runs_at() {
        for rate_hz in [48_000, 16_000, 96_000] {
            let mut speaker = speaker("null", 1, rate_hz);
            speaker.write(&[0.1; 480]).unwrap();
            let counted = allocation_counter::measure(|| {
                for _ in 0..50 {
                    speaker.write(&[0.1; 480]).unwrap();
                }
            });
            assert_eq!(counted.count_total, 0, "{rate_hz} Hz");
        }
    }

    #[test]
    fn an_absent_speaker_is_gone_and_a_period_has_480_frames() {
        let mut speaker = speaker("hw:CARD=Nowhere", 1, 48_000);
        assert!(matches!(speaker.write(&[0.0; 480]), Err(SpeakerError::Gone { .. })));
        assert!(matches!(speaker.write(&[0.0; 10]), Err(SpeakerError::Failed { .. })));
    }
}
