//! The virtual board of `rostrum-hal` behind the driver name `virtual`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use rostrum_hal::{
    Frame, FrameSize,
    buttons::{ButtonRole, Buttons},
    camera::Camera,
    display::Display,
    encoder::{EncodedSink, EncoderError, EncoderSettings, VideoEncoder, VideoEncoderFactory},
    identity::{Identity, Udid},
    indicator::{Indicator, IndicatorRole},
    microphone::MicrophoneArray,
    mute_switch::MuteSwitch,
    presence::Presence,
    screen_power::ScreenPower,
    sim::{Fault, VirtualBoard, VirtualBoardOptions, linear_array},
    speaker::Speaker,
    watchdog::Watchdog,
};
use serde::{Deserialize, de::DeserializeOwned};

use crate::{BoardError, Clip, OpenOptions, Profile, Section, drivers::Device};

/// Name of this driver in profiles.
const NAME: &str = "virtual";

/// A section that has no keys beside `driver`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NoOptions {}

/// Keys of `[microphones]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MicrophonesOptions {
    /// Microphones on a line, 1..=16.
    #[serde(default = "four")]
    count: usize,
    /// Length of the line in metres.
    #[serde(default = "six_and_a_half_centimetres")]
    length_m: f32,
}

fn four() -> usize {
    4
}

fn six_and_a_half_centimetres() -> f32 {
    0.065
}

/// Keys of `[speaker]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SpeakerOptions {
    /// Channels, 1 or 2.
    channels: Option<usize>,
}

/// Keys of `[display]` and `[content_display]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DisplayOptions {
    /// Pixels of the screen.
    size: Option<FrameSize>,
}

/// Keys of `[buttons]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ButtonsOptions {
    /// Buttons of the board; all kinds when left out.
    roles: Option<Vec<ButtonRole>>,
}

/// Keys of `[watchdog]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WatchdogOptions {
    /// Seconds without food until the reset.
    timeout_s: Option<u64>,
}

/// Keys of `[identity]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct IdentityOptions {
    /// Name of the board.
    udid: Option<Udid>,
}

/// The virtual board that all virtual devices of `profile` belong to; `None` when it has none.
pub(crate) fn build(profile: &Profile, options: &OpenOptions) -> Result<Option<VirtualBoard>, BoardError> {
    let reader = Reader { profile };
    let mut made = VirtualBoardOptions::default();
    if let Some(MicrophonesOptions { count, length_m }) = reader.read(
        "microphones",
        profile.microphones.as_ref(),
        |o: &MicrophonesOptions| (1..=16).contains(&o.count) && (0.0..=2.0).contains(&o.length_m),
        "count is 1 to 16 and length_m 0 to 2",
    )? {
        made.microphones = linear_array(count, length_m);
    }
    let channels = |o: &SpeakerOptions| o.channels.is_none_or(|c| (1..=2).contains(&c));
    if let Some(options) = reader.read("speaker", profile.speaker.as_ref(), channels, "channels is 1 or 2")? {
        made.speaker_channels = options.channels.unwrap_or(made.speaker_channels);
    }
    let even = |o: &DisplayOptions| o.size.is_none_or(is_usable);
    let rule = "size is 64x40 to 7680x4320 in even numbers";
    if let Some(options) = reader.read("display", profile.display.as_ref(), even, rule)? {
        made.display_size = options.size.unwrap_or(made.display_size);
    }
    if let Some(options) = reader.read("content_display", profile.content_display.as_ref(), even, rule)? {
        made.content_display_size = options.size.unwrap_or(made.content_display_size);
    }
    if let Some(options) = reader.read("buttons", profile.buttons.as_ref(), |_: &ButtonsOptions| true, "")? {
        made.buttons = options.roles.unwrap_or(made.buttons);
    }
    let seconds = |o: &WatchdogOptions| o.timeout_s.is_none_or(|s| (1..=3600).contains(&s));
    if let Some(options) =
        reader.read("watchdog", profile.watchdog.as_ref(), seconds, "timeout_s is 1 to 3600")?
    {
        made.watchdog_timeout = options.timeout_s.map_or(made.watchdog_timeout, Duration::from_secs);
    }
    if let Some(options) = reader.read("identity", Some(&profile.identity), |_: &IdentityOptions| true, "")? {
        made.udid = options.udid;
    }
    made.indicators = profile.indicators.iter().filter(|(_, s)| s.driver == NAME).map(|(r, _)| *r).collect();
    made.camera_id = options.camera_id.unwrap_or(made.camera_id);
    made.seed = options.seed.unwrap_or(made.seed);
    made.udid = options.udid.clone().or(made.udid);
    let is_virtual = |section: &Option<Section>| section.as_ref().is_some_and(|s| s.driver == NAME);
    match &options.clip {
        Some(_) if !is_virtual(&profile.camera) && !is_virtual(&profile.microphones) => {
            return Err(BoardError::ClipWithoutVirtualBoard { profile: profile.name.clone() });
        }
        Some(path) => made.clip = Some(Arc::new(Clip::open(path)?)),
        None => {}
    }
    let any = !made.indicators.is_empty()
        || [&profile.camera, &profile.microphones, &profile.speaker, &profile.display, &profile.buttons]
            .into_iter()
            .chain([&profile.content_display, &profile.mute_switch, &profile.presence])
            .chain([&profile.screen_power, &profile.watchdog])
            .any(is_virtual)
        || profile.identity.driver == NAME;
    Ok(any.then(|| VirtualBoard::new(made)))
}

fn is_usable(size: FrameSize) -> bool {
    let even = size.width.is_multiple_of(2) && size.height.is_multiple_of(2);
    even && (64..=7680).contains(&size.width) && (40..=4320).contains(&size.height)
}

/// Reads the keys of virtual sections.
struct Reader<'a> {
    profile: &'a Profile,
}

impl Reader<'_> {
    /// The keys of a section when it is virtual; `rule` says what `allowed` asks.
    fn read<T: DeserializeOwned>(
        &self,
        place: &str,
        section: Option<&Section>,
        allowed: impl Fn(&T) -> bool,
        rule: &str,
    ) -> Result<Option<T>, BoardError> {
        let Some(section) = section.filter(|s| s.driver == NAME) else { return Ok(None) };
        let device = Device { profile: self.profile, place, section, virtual_board: None, later: false };
        let options = device.options()?;
        if allowed(&options) { Ok(Some(options)) } else { Err(device.wrong(rule)) }
    }
}

pub(crate) fn camera(device: &Device<'_>) -> Result<Box<dyn Camera>, BoardError> {
    Ok(Box::new(device.virtual_board()?.camera()))
}

pub(crate) fn microphones(device: &Device<'_>) -> Result<Box<dyn MicrophoneArray>, BoardError> {
    Ok(Box::new(device.virtual_board()?.microphones()))
}

pub(crate) fn speaker(device: &Device<'_>) -> Result<Box<dyn Speaker>, BoardError> {
    Ok(Box::new(device.virtual_board()?.speaker()))
}

pub(crate) fn display(device: &Device<'_>) -> Result<Box<dyn Display>, BoardError> {
    let board = device.virtual_board()?;
    Ok(Box::new(if device.place == "content_display" { board.content_display() } else { board.display() }))
}

pub(crate) fn indicator(device: &Device<'_>) -> Result<Box<dyn Indicator>, BoardError> {
    let mut roles = device.profile.indicators.iter();
    let role: Option<IndicatorRole> =
        roles.find(|(_, section)| std::ptr::eq(*section, device.section)).map(|(role, _)| *role);
    match role.and_then(|role| device.virtual_board().ok()?.indicator(role)) {
        Some(indicator) => Ok(Box::new(indicator)),
        None => Err(device.wrong("the virtual board has no such light")),
    }
}

pub(crate) fn buttons(device: &Device<'_>) -> Result<Box<dyn Buttons>, BoardError> {
    Ok(Box::new(device.virtual_board()?.buttons()))
}

pub(crate) fn mute_switch(device: &Device<'_>) -> Result<Box<dyn MuteSwitch>, BoardError> {
    Ok(Box::new(device.virtual_board()?.mute_switch()))
}

pub(crate) fn presence(device: &Device<'_>) -> Result<Box<dyn Presence>, BoardError> {
    Ok(Box::new(device.virtual_board()?.presence()))
}

pub(crate) fn screen_power(device: &Device<'_>) -> Result<Box<dyn ScreenPower>, BoardError> {
    Ok(Box::new(device.virtual_board()?.screen_power()))
}

pub(crate) fn watchdog(device: &Device<'_>) -> Result<Box<dyn Watchdog>, BoardError> {
    Ok(Box::new(device.virtual_board()?.watchdog()))
}

pub(crate) fn identity(device: &Device<'_>) -> Result<Box<dyn Identity>, BoardError> {
    Ok(Box::new(device.virtual_board()?.identity()))
}

/// Makes the encoders of `inner` fail while the virtual board has [`Fault::EncoderError`].
pub(crate) fn breakable(
    inner: Arc<dyn VideoEncoderFactory>,
    board: VirtualBoard,
) -> Arc<dyn VideoEncoderFactory> {
    Arc::new(BreakableFactory { inner, board })
}

struct BreakableFactory {
    inner: Arc<dyn VideoEncoderFactory>,
    board: VirtualBoard,
}

impl VideoEncoderFactory for BreakableFactory {
    fn name(&self) -> String {
        self.inner.name()
    }

    fn takes_shared(&self, format: rostrum_hal::PixelFormat) -> bool {
        self.inner.takes_shared(format)
    }

    fn open(
        &self,
        settings: EncoderSettings,
        sink: EncodedSink,
    ) -> Result<Box<dyn VideoEncoder>, EncoderError> {
        if self.board.has_fault(Fault::EncoderError) {
            return Err(failure(self.name()));
        }
        let sink = Arc::new(Mutex::new(Some(sink)));
        let broken = Arc::new(AtomicBool::new(false));
        let forward: EncodedSink = {
            let (sink, broken) = (sink.clone(), broken.clone());
            Box::new(move |frame| {
                if let Some(sink) = sink.lock().as_mut().filter(|_| !broken.load(Ordering::Acquire)) {
                    sink(frame);
                }
            })
        };
        let inner = self.inner.open(settings, forward)?;
        Ok(Box::new(BreakableEncoder { name: self.name(), inner, sink, broken, board: self.board.clone() }))
    }
}

struct BreakableEncoder {
    name: String,
    inner: Box<dyn VideoEncoder>,
    /// `None` when the encoder was dropped.
    sink: Arc<Mutex<Option<EncodedSink>>>,
    broken: Arc<AtomicBool>,
    board: VirtualBoard,
}

impl BreakableEncoder {
    fn works(&self) -> Result<(), EncoderError> {
        if self.broken.load(Ordering::Acquire) { Err(failure(self.name.clone())) } else { Ok(()) }
    }
}

impl Drop for BreakableEncoder {
    fn drop(&mut self) {
        *self.sink.lock() = None;
    }
}

fn failure(name: String) -> EncoderError {
    EncoderError::Failed { name, message: "the fault encoder_error was injected".into() }
}

impl VideoEncoder for BreakableEncoder {
    fn submit(&mut self, frame: &Frame) -> Result<bool, EncoderError> {
        self.works()?;
        if !self.board.has_fault(Fault::EncoderError) {
            return self.inner.submit(frame);
        }
        self.broken.store(true, Ordering::Release);
        let (sink, error) = (self.sink.clone(), failure(self.name.clone()));
        // As with a real encoder, the sink is called on another thread than the caller's.
        let told = std::thread::Builder::new().name("sim-encoder".into()).spawn({
            let error = error.clone();
            move || {
                if let Some(sink) = sink.lock().as_mut() {
                    sink(Err(error));
                }
            }
        });
        // The frame was taken and its failure comes through the sink, as with a real encoder.
        told.map(|_| true).map_err(|_| error)
    }

    fn set_bitrate(&mut self, bitrate_bps: u32) -> Result<(), EncoderError> {
        self.works()?;
        self.inner.set_bitrate(bitrate_bps)
    }

    fn set_frame_rate(&mut self, frame_rate_hz: f64) -> Result<(), EncoderError> {
        self.works()?;
        self.inner.set_frame_rate(frame_rate_hz)
    }

    fn request_key_frame(&mut self) -> Result<(), EncoderError> {
        self.works()?;
        self.inner.request_key_frame()
    }
}
