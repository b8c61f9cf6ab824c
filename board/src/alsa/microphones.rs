//! Microphone arrays that are a capture device of ALSA.

use alsa::Direction;
use rostrum_hal::{
    Timestamp,
    microphone::{ArrayFormat, MicrophoneArray, MicrophoneError, Position},
    sim::linear_array,
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

/// Keys of `[microphones]` with the driver `alsa`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Options {
    /// Name of the PCM, such as `hw:CARD=Array`.
    device: String,
    /// Microphones, 1..=16.
    #[serde(default = "one")]
    channels: usize,
    /// Channel of the device that is the first of them.
    #[serde(default)]
    first_channel: usize,
    /// Where they sit; a line of 6.5 cm when left out.
    geometry: Option<Vec<Position>>,
    /// Channels of the device that carry what the speaker plays, as codecs and USB arrays with a loopback have
    /// them; their mean is the reference of the echo canceller.
    #[serde(default)]
    reference_channels: Vec<usize>,
    /// Rate at which the device is to run; one that it has is taken when it does not have this one.
    #[serde(default = "super::forty_eight_kilohertz")]
    rate_hz: u32,
    /// Periods of 10 ms for which a reader may be late.
    #[serde(default = "eight")]
    periods: u32,
    /// The card's own gain.
    mixer: Option<MixerOptions>,
    /// What the card is to be used for.
    ucm: Option<UseCaseOptions>,
}

fn one() -> usize {
    1
}

fn eight() -> u32 {
    8
}

pub(crate) fn open(device: &Device<'_>) -> Result<Box<dyn MicrophoneArray>, BoardError> {
    let options: Options = device.options()?;
    let Options { device: name, channels, first_channel, geometry, reference_channels, .. } = options;
    let Options { rate_hz, periods, mixer, ucm, .. } = options;
    let geometry = geometry.unwrap_or_else(|| linear_array(channels, 0.065));
    if !(1..=16).contains(&channels) || geometry.len() != channels {
        return Err(device.wrong("channels is 1 to 16, and geometry has one position for each"));
    }
    if first_channel > 63 {
        return Err(device.wrong("first_channel is 0 to 63"));
    }
    let microphones = first_channel..first_channel + channels;
    if reference_channels.iter().any(|channel| *channel > 63 || microphones.contains(channel)) {
        return Err(device.wrong("reference_channels are 0 to 63 and none of the microphones"));
    }
    let last = reference_channels.iter().max().map_or(0, |last| last + 1);
    let enough = microphones.end.max(last);
    let wiring = Wiring { first_channel, channels, reference_channels };
    let wanted = Wanted { device: name, direction: Direction::Capture, rate_hz, channels: enough, periods };
    let kept =
        Kept::open(device, wanted, CardOptions { mixer, use_case: ucm }, |pcm| Stream::new(pcm, &wiring))?;
    Ok(Box::new(AlsaMicrophones { kept, wiring, geometry }))
}

struct AlsaMicrophones {
    kept: Kept<Stream>,
    wiring: Wiring,
    geometry: Vec<Position>,
}

/// What the channels of the device carry.
struct Wiring {
    first_channel: usize,
    channels: usize,
    reference_channels: Vec<usize>,
}

impl Wiring {
    /// Channels of interest: the microphones, and the mean of the reference behind them.
    fn width(&self) -> usize {
        self.channels + usize::from(!self.reference_channels.is_empty())
    }

    /// Picks them out of one frame of the device.
    fn pick(&self, from: &[f32], to: &mut [f32]) {
        to[..self.channels].copy_from_slice(&from[self.first_channel..self.first_channel + self.channels]);
        if let Some(mean) = to.get_mut(self.channels) {
            let sum: f32 = self.reference_channels.iter().map(|channel| from[*channel]).sum();
            *mean = sum / self.reference_channels.len() as f32;
        }
    }
}

/// An open device with all that is needed to read it without allocating.
struct Stream {
    pcm: Pcm,
    resampler: Option<Resampler>,
    /// One period of all channels of the device.
    all: Vec<f32>,
    /// One period of what is of interest, at the rate of the device.
    picked: Vec<f32>,
    /// The same at 48 kHz, where that is another.
    resampled: Vec<f32>,
    /// The last period of what the speaker played; empty for devices that do not give it.
    reference: Vec<f32>,
    clock: Clock,
    /// Frames of the device that were read.
    frames: u64,
    /// When the next of them was heard, once it runs.
    next: Option<Timestamp>,
}

impl Stream {
    fn new(pcm: Pcm, wiring: &Wiring) -> Result<Self, String> {
        let width = wiring.width();
        Ok(Self {
            resampler: Resampler::between(pcm.rate_hz(), RATE_HZ, width)?,
            all: vec![0.0; pcm.period_frames() * pcm.channels()],
            picked: vec![0.0; pcm.period_frames() * width],
            resampled: vec![0.0; PERIOD_FRAMES * width],
            reference: vec![0.0; PERIOD_FRAMES * (width - wiring.channels)],
            clock: Clock::new(pcm.rate_hz()),
            frames: 0,
            next: None,
            pcm,
        })
    }

    fn start(&mut self) -> Result<Timestamp, PcmError> {
        self.pcm.start()?;
        let now = Timestamp::now();
        self.next = Some(now);
        self.clock.restart();
        Ok(now)
    }

    fn read(&mut self, wiring: &Wiring, samples: &mut [f32]) -> Result<Timestamp, PcmError> {
        if self.next.is_none() {
            self.start()?;
        }
        self.pcm.read(&mut self.all)?;
        let (looked, since) = self.pcm.position();
        let next = earlier(looked, since);
        self.next = Some(next);
        self.frames += self.pcm.period_frames() as u64;
        self.clock.observe(next, self.frames);
        let width = wiring.width();
        let frames = self.all.chunks_exact(self.pcm.channels());
        for (to, from) in self.picked.chunks_exact_mut(width).zip(frames) {
            wiring.pick(from, to);
        }
        let mut start = earlier(next, PERIOD);
        let mut ready = &self.picked;
        if let Some(resampler) = &mut self.resampler {
            resampler.process(&self.picked, &mut self.resampled).map_err(PcmError::Failed)?;
            start = earlier(start, resampler.delay());
            ready = &self.resampled;
        }
        let (frames, channels) = (ready.chunks_exact(width), wiring.channels);
        for (frame, to) in frames.clone().zip(samples.chunks_exact_mut(channels)) {
            to.copy_from_slice(&frame[..channels]);
        }
        for (frame, to) in frames.zip(&mut self.reference) {
            *to = frame[channels];
        }
        Ok(start)
    }

    /// Goes on after samples were lost; gives how many, at 48 kHz.
    fn recover(&mut self) -> Result<usize, PcmError> {
        self.pcm.prepare()?;
        let expected = self.next;
        let now = self.start()?;
        let lost = expected.map_or(0.0, |expected| now.saturating_since(expected).as_secs_f64());
        Ok((lost * f64::from(RATE_HZ)).round() as usize)
    }
}

fn earlier(time: Timestamp, by: std::time::Duration) -> Timestamp {
    Timestamp::from_clock(time.since_start().saturating_sub(by))
}

impl MicrophoneArray for AlsaMicrophones {
    fn name(&self) -> String {
        self.kept.name()
    }

    fn format(&self) -> ArrayFormat {
        let geometry = self.geometry.clone();
        ArrayFormat { rate_hz: RATE_HZ, period_frames: PERIOD_FRAMES, geometry }
    }

    fn read(&mut self, samples: &mut [f32]) -> Result<Timestamp, MicrophoneError> {
        let needed = PERIOD_FRAMES * self.geometry.len();
        if samples.len() != needed {
            let message = format!("{} samples were asked for; a period has {needed}", samples.len());
            return Err(MicrophoneError::Failed { name: self.name(), message });
        }
        let wiring = &self.wiring;
        let read = self.kept.with(
            |pcm| Stream::new(pcm, wiring),
            |stream| match stream.read(wiring, samples) {
                Err(PcmError::XRun) => Ok(Err(stream.recover()?)),
                result => Ok(Ok(result?)),
            },
        );
        match read {
            Ok(Ok(start)) => Ok(start),
            Ok(Err(lost_frames)) => Err(MicrophoneError::Overrun { lost_frames }),
            Err(PcmError::Gone) => Err(MicrophoneError::Gone { name: self.name() }),
            Err(error) => Err(MicrophoneError::Failed { name: self.name(), message: error.message() }),
        }
    }

    fn reference(&self) -> Option<&[f32]> {
        let reference = &self.kept.stream.as_ref()?.reference;
        (!reference.is_empty()).then_some(reference)
    }

    fn drift_ppm(&self) -> Option<f64> {
        self.kept.stream.as_ref()?.clock.drift_ppm()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::Profile;

    fn board(keys: &str) -> Result<Box<dyn MicrophoneArray>, BoardError> {
        let text = format!(
            "name = \"test\"\n[encoder]\ndriver = \"gstreamer\"\nelement = \"x264enc\"\n[identity]\ndriver = \
             \"virtual\"\nudid = \"test-1\"\n[microphones]\ndriver = \"alsa\"\n{keys}"
        );
        let profile = Profile::parse(&text, "test.toml").unwrap();
        let section = profile.microphones.as_ref().unwrap();
        open(&Device { profile: &profile, place: "microphones", section, virtual_board: None, later: false })
    }

    /// A device of ALSA's own that gives silence as fast as it is read.
    fn silent(channels: usize, keys: &str) -> Box<dyn MicrophoneArray> {
        board(&format!("device = \"null\"\nchannels = {channels}\n{keys}")).unwrap()
    }

    #[test]
    fn a_device_gives_periods_of_10_ms_at_48_khz() {
        let mut microphones = silent(4, "first_channel = 2");
        assert_eq!((microphones.format().rate_hz, microphones.format().period_frames), (48_000, 480));
        assert_eq!(microphones.name(), "null");
        let mut samples = [1.0; 480 * 4];
        let time = microphones.read(&mut samples).unwrap();
        assert!(samples.iter().all(|sample| *sample == 0.0));
        assert!(Timestamp::now().saturating_since(time) < std::time::Duration::from_secs(1));
        assert!(microphones.read(&mut samples[..480]).is_err());
    }

    #[test]
    fn the_reference_is_the_mean_of_its_channels_and_apart_from_the_microphones() {
        let wiring = Wiring { first_channel: 1, channels: 2, reference_channels: vec![4, 0] };
        let mut picked = [0.0; 3];
        wiring.pick(&[0.5, 0.1, 0.2, 0.9, 0.25], &mut picked);
        assert_eq!(picked, [0.1, 0.2, 0.375]);
        let wiring = Wiring { reference_channels: vec![], ..wiring };
        let mut picked = [0.0; 2];
        wiring.pick(&[0.5, 0.1, 0.2, 0.9, 0.25], &mut picked);
        assert_eq!(picked, [0.1, 0.2]);
        let mut microphones = silent(2, "reference_channels = [6, 7]");
        microphones.read(&mut [1.0; 960]).unwrap();
        assert_eq!(microphones.reference(), Some(&[0.0; 480][..]));
        let mut microphones = silent(2, "");
        microphones.read(&mut [1.0; 960]).unwrap();
        assert_eq!(microphones.reference(), None);
    }

    #[test]
    fn reading_allocates_nothing_whatever_the_device_runs_at() {
        for keys in ["", "rate_hz = 16000", "reference_channels = [8]", "rate_hz = 96000\nfirst_channel = 3"]
        {
            let mut microphones = silent(8, keys);
            let mut samples = [0.0; 480 * 8];
            microphones.read(&mut samples).unwrap();
            let counted = allocation_counter::measure(|| {
                for _ in 0..50 {
                    microphones.read(&mut samples).unwrap();
                }
            });
            assert_eq!(counted.count_total, 0, "{keys}");
        }
    }

    #[test]
    fn an_absent_card_is_told_with_what_to_do() {
        let error = board("device = \"hw:CARD=Nowhere\"").err().unwrap().to_string();
        assert!(error.contains("[microphones]: the sound device hw:CARD=Nowhere is not there;"), "{error}");
        let error = board("device = \"no such thing\"").err().unwrap().to_string();
        assert!(error.contains("no such thing is not there"), "{error}");
    }

    #[test]
    fn wrong_keys_are_told_before_a_device_is_opened() {
        for (keys, told) in [
            ("channels = 0", "channels is 1 to 16"),
            ("channels = 2\ngeometry = [{ x = 0.0, y = 0.0, z = 0.0 }]", "one position for each"),
            ("reference_channels = [0]", "none of the microphones"),
            ("rate_hz = 11025", "a multiple of 100"),
            ("periods = 1", "periods is 2 to 64"),
            ("mixer = { control = \"Capture\", level_percent = 101 }", "level_percent of 0 to 100"),
            ("mixer = { control = \"Capture\", level_percent = 50 }", "a device with a card"),
            ("ucm = { verb = \"HiFi\" }", "ucm needs a device with a card"),
            ("ucm = { verb = \"\" }", "the name of a verb"),
            ("volume = 1", "unknown field `volume`"),
        ] {
            let error = board(&format!("device = \"default\"\n{keys}")).err().unwrap().to_string();
            assert!(error.contains(told), "{keys}: {error}");
        }
    }
}
