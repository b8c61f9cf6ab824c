//! One PCM device of ALSA: its hardware and software parameters, blocking reads and writes of whole periods
//! of 10 ms, times, and what its errors mean.
//!
//! Devices are opened non-blocking: one that is in use is told at once, and one that hangs is found by the
//! time it takes.

use std::{
    ffi::CString,
    time::{Duration, Instant},
};

use alsa::{
    Direction, Output, ValueOr,
    pcm::{Access, Frames, HwParams, PCM, TstampType},
};
use rostrum_hal::Timestamp;

use super::{cards, sample::SampleFormat};

/// A device that takes or gives nothing for so long does not work.
const HANGS: Duration = Duration::from_secs(1);
/// Rates to try, the best first; each has whole frames in 10 ms.
pub(super) const RATES_HZ: [u32; 9] =
    [48_000, 96_000, 192_000, 88_200, 44_100, 32_000, 24_000, 16_000, 8_000];
/// Times of a device that differ more from now are of another clock.
const BELIEVED: Duration = Duration::from_secs(2);

/// What is asked of a device.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// ALSA's name, such as `hw:CARD=Array`.
    pub(super) device: String,
    pub(super) direction: Direction,
    /// Tried before the other rates.
    pub(super) rate_hz: u32,
    /// Channels that it must have; more is taken where it has no fewer.
    pub(super) channels: usize,
    /// Periods of 10 ms in its buffer.
    pub(super) periods: u32,
}

/// Why a device does not do what it should.
#[derive(Debug)]
pub(super) enum PcmError {
    /// It is not there (any more).
    Gone,
    /// Another program has it.
    Busy,
    /// It stopped, as its reader or writer was too slow: [`Pcm::restart`].
    XRun,
    /// Something else; what it is.
    Failed(String),
}

impl PcmError {
    /// What to tell people, for errors that are not told by their kind.
    pub(super) fn message(self) -> String {
        match self {
            Self::Gone => "it is not there".into(),
            Self::Busy => {
                "another program uses it; stop that, or choose another in the board's profile".into()
            }
            Self::XRun => "it stops again and again".into(),
            Self::Failed(message) => message,
        }
    }
}

impl From<alsa::Error> for PcmError {
    fn from(error: alsa::Error) -> Self {
        match error.errno() {
            // A suspended card has another state after its resume: opening it again gives it ours.
            libc::ENODEV | libc::ENXIO | libc::ENOENT | libc::EBADFD | libc::ESTRPIPE => Self::Gone,
            libc::EBUSY => Self::Busy,
            libc::EPIPE => Self::XRun,
            libc::EACCES | libc::EPERM => {
                Self::Failed("this program may not use it; let its user be in the group audio".into())
            }
            errno => Self::Failed(format!("{}: {}", error.func(), std::io::Error::from_raw_os_error(errno))),
        }
    }
}

/// An open device.
pub(super) struct Pcm {
    pcm: PCM,
    format: SampleFormat,
    channels: usize,
    rate_hz: u32,
    /// One period as the device has it.
    bytes: Vec<u8>,
    /// Frames that are queued for playback before it starts, and at most.
    queue_frames: usize,
}

impl Pcm {
    /// Opens a device and chooses what it runs at. Starts nothing.
    pub(super) fn open(wanted: &Wanted) -> Result<Self, PcmError> {
        // ALSA says on standard error what we say in the log. The handler is this thread's.
        let said = Output::local_error_handler().ok();
        let opened = Self::open_and_choose(wanted);
        if let (Err(error), Some(said)) = (&opened, said) {
            log::debug!(device = wanted.device.as_str(), error:?; "ALSA: {}", said.borrow());
        }
        opened
    }

    fn open_and_choose(wanted: &Wanted) -> Result<Self, PcmError> {
        let Wanted { device, direction, rate_hz, channels, periods } = wanted;
        if !cards::is_there(device) {
            return Err(PcmError::Gone);
        }
        let name = CString::new(device.as_str()).map_err(|_| PcmError::Gone)?;
        let pcm = PCM::open(&name, *direction, true)?;
        let (format, channels, rate_hz) = {
            let hardware = HwParams::any(&pcm)?;
            hardware.set_access(Access::RWInterleaved)?;
            // A `plughw:` would do it worse than we do.
            hardware.set_rate_resample(false)?;
            let format = choose_format(&hardware)?;
            let channels = choose_channels(&hardware, *channels)?;
            let rate_hz = choose_rate(&hardware, *rate_hz)?;
            let period = Frames::from(rate_hz / 100);
            hardware.set_period_size_near(period, ValueOr::Nearest)?;
            hardware.set_buffer_size_near(period * Frames::from(*periods))?;
            pcm.hw_params(&hardware)?;
            (format, channels, rate_hz)
        };
        let period = rate_hz / 100;
        let queue_frames = set_software(&pcm, *direction, period, *periods)?;
        let bytes = vec![0; period as usize * channels * format.bytes()];
        log::debug!(device = device.as_str(), format:?, channels, rate_hz, queue_frames; "open");
        Ok(Self { pcm, format, channels, rate_hz, bytes, queue_frames })
    }

    /// Samples a second of each channel.
    pub(super) fn rate_hz(&self) -> u32 {
        self.rate_hz
    }

    /// Channels of the device, which may be more than were wanted.
    pub(super) fn channels(&self) -> usize {
        self.channels
    }

    /// Frames in 10 ms.
    pub(super) fn period_frames(&self) -> usize {
        self.rate_hz as usize / 100
    }

    /// Starts capturing.
    pub(super) fn start(&self) -> Result<(), PcmError> {
        Ok(self.pcm.start()?)
    }

    /// Makes a device that stopped ready again.
    pub(super) fn prepare(&self) -> Result<(), PcmError> {
        Ok(self.pcm.prepare()?)
    }

    /// Waits for a period and gives the samples of all channels, interleaved, to `to`.
    pub(super) fn read(&mut self, to: &mut [f32]) -> Result<(), PcmError> {
        let frame = self.channels * self.format.bytes();
        let mut done = 0;
        let mut patience = Patience::new("it gives no sound");
        while done < self.bytes.len() {
            wait(&self.pcm)?;
            match self.pcm.io_bytes().readi(&mut self.bytes[done..]) {
                Ok(frames) => done += frames * frame,
                Err(error) => try_again(error)?,
            }
            patience.look(done)?;
        }
        self.format.decode(&self.bytes, to);
        Ok(())
    }

    /// Waits until there is room for a period and writes one: the samples of all channels, interleaved.
    pub(super) fn write(&mut self, from: impl Iterator<Item = f32>) -> Result<(), PcmError> {
        self.format.encode(from, &mut self.bytes);
        self.write_bytes()
    }

    /// Fills the queue with silence, so that the next period that is written starts the device.
    pub(super) fn fill_with_silence(&mut self) -> Result<(), PcmError> {
        self.bytes.fill(0);
        for _ in 1..self.queue_frames / self.period_frames() {
            self.write_bytes()?;
        }
        Ok(())
    }

    fn write_bytes(&self) -> Result<(), PcmError> {
        let frame = self.channels * self.format.bytes();
        let mut done = 0;
        let mut patience = Patience::new("it plays nothing");
        while done < self.bytes.len() {
            wait(&self.pcm)?;
            match self.pcm.io_bytes().writei(&self.bytes[done..]) {
                Ok(frames) => done += frames * frame,
                Err(error) => try_again(error)?,
            }
            patience.look(done)?;
        }
        Ok(())
    }

    /// When the device was last looked at by the kernel, and the time from then on until the next sample that
    /// is written is heard, or since the next sample that is read was.
    pub(super) fn position(&self) -> (Timestamp, Duration) {
        let now = Timestamp::now();
        let Ok(status) = self.pcm.status() else { return (now, Duration::ZERO) };
        let stamp = status.get_htstamp();
        let seconds = Duration::from_secs(u64::try_from(stamp.tv_sec).unwrap_or(0));
        let looked =
            Timestamp::from_clock(seconds + Duration::from_nanos(u64::try_from(stamp.tv_nsec).unwrap_or(0)));
        let apart = now.saturating_since(looked).max(looked.saturating_since(now));
        let looked = if apart > BELIEVED { now } else { looked };
        let delay = u64::try_from(status.get_delay()).unwrap_or(0);
        (looked, Duration::from_nanos(delay * 1_000_000_000 / u64::from(self.rate_hz)))
    }
}

fn choose_format(hardware: &HwParams<'_>) -> Result<SampleFormat, PcmError> {
    let offered = SampleFormat::ALL.into_iter().find(|format| hardware.test_format(format.alsa()).is_ok());
    let format = offered.ok_or_else(|| {
        PcmError::Failed(format!(
            "it has none of the sample formats {:?}; name it as plughw:",
            SampleFormat::ALL
        ))
    })?;
    hardware.set_format(format.alsa())?;
    Ok(format)
}

/// The fewest channels of the device that are enough.
fn choose_channels(hardware: &HwParams<'_>, wanted: usize) -> Result<usize, PcmError> {
    let most = hardware.get_channels_max()?;
    let wanted = u32::try_from(wanted).unwrap_or(u32::MAX);
    let enough = (wanted..=most.min(wanted.saturating_add(128))).find(|n| hardware.test_channels(*n).is_ok());
    let channels = enough
        .ok_or_else(|| PcmError::Failed(format!("it has {most} channels; the profile asks for {wanted}")))?;
    hardware.set_channels(channels)?;
    Ok(channels as usize)
}

fn choose_rate(hardware: &HwParams<'_>, wanted_hz: u32) -> Result<u32, PcmError> {
    let mut rates = std::iter::once(wanted_hz).chain(RATES_HZ);
    let Some(rate_hz) = rates.find(|rate| hardware.test_rate(*rate).is_ok()) else {
        let (least, most) = (hardware.get_rate_min()?, hardware.get_rate_max()?);
        return Err(PcmError::Failed(format!("it runs at {least} to {most} Hz, at none of {RATES_HZ:?}")));
    };
    hardware.set_rate(rate_hz, ValueOr::Nearest)?;
    Ok(rate_hz)
}

/// When the device wakes us and starts, and how it tells times. Gives the frames that playback queues at most.
fn set_software(pcm: &PCM, direction: Direction, period: u32, periods: u32) -> Result<usize, PcmError> {
    let buffer = pcm.hw_params_current()?.get_buffer_size()?;
    let period = Frames::from(period);
    // Devices may have longer buffers than were asked for, which must not make the sound later.
    let queue = (buffer / period).min(Frames::from(periods)) * period;
    if queue < 2 * period {
        return Err(PcmError::Failed(format!("its buffer has {buffer} frames, fewer than 20 ms")));
    }
    let software = pcm.sw_params_current()?;
    match direction {
        Direction::Capture => {
            software.set_avail_min(period)?;
            software.set_start_threshold(1)?;
        }
        Direction::Playback => {
            software.set_avail_min(buffer - queue + period)?;
            software.set_start_threshold(queue)?;
        }
    }
    software.set_tstamp_mode(true)?;
    // Not every PCM of user space knows it; `position` finds times of another clock.
    let _ = software.set_tstamp_type(TstampType::Monotonic);
    pcm.sw_params(&software)?;
    Ok(usize::try_from(queue).unwrap_or(0))
}

fn wait(pcm: &PCM) -> Result<(), PcmError> {
    match pcm.wait(Some(u32::try_from(HANGS.as_millis()).unwrap_or(u32::MAX))) {
        Ok(_) => Ok(()),
        Err(error) => try_again(error),
    }
}

/// Whether an error is only that there is nothing yet.
fn try_again(error: alsa::Error) -> Result<(), PcmError> {
    match error.errno() {
        libc::EAGAIN | libc::EINTR => Ok(()),
        _ => Err(error.into()),
    }
}

/// Ends a wait for a device that hangs.
struct Patience {
    what: &'static str,
    since: Instant,
    done: usize,
}

impl Patience {
    fn new(what: &'static str) -> Self {
        Self { what, since: Instant::now(), done: 0 }
    }

    fn look(&mut self, done: usize) -> Result<(), PcmError> {
        if done > self.done {
            (self.done, self.since) = (done, Instant::now());
        } else if self.since.elapsed() >= HANGS {
            return Err(PcmError::Failed(format!("{}; unplug it and plug it in again", self.what)));
        }
        Ok(())
    }
}
