//! Boards: Linux drivers behind the traits of `rostrum-hal`, found by name in one table ([`drivers`]), and
//! profiles that say which of them a board has.
//!
//! ```no_run
//! use rostrum_board::{OpenOptions, Profile};
//!
//! let profile = Profile::named_or_path("virtual")?;
//! let board = rostrum_board::open(&profile, OpenOptions::default())?;
//! # Ok::<(), rostrum_board::BoardError>(())
//! ```

mod alsa;
mod cec;
mod clip;
mod clip_stream;
mod colour;
mod combined_controls;
mod devices;
pub mod drivers;
mod elements;
mod error;
mod evdev_buttons;
mod evdev_device;
mod evdev_mute_switch;
mod factory_identity;
mod gpio_buttons;
mod gpio_level;
mod gpio_light;
mod gpio_lines;
mod gst_camera;
mod gst_display;
mod gst_encoder;
mod gst_microphones;
mod gst_speaker;
mod h264_headers;
mod held;
mod hid;
mod identity;
mod kms_display;
mod led_class;
pub mod probe;
mod profile;
mod property;
mod realtime;
mod rppal_buttons;
mod rppal_light;
mod rppal_mute_switch;
mod rppal_pins;
mod screen;
mod system_clock;
mod v4l2;
mod virtual_board;
mod visca;
mod watchdog;
mod wayland_display;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use rostrum_hal::{
    DeviceKind,
    buttons::Buttons,
    camera::{Camera, CameraControls},
    display::Display,
    encoder::VideoEncoderFactory,
    identity::{Identity, Udid},
    indicator::{Indicator, IndicatorRole},
    microphone::MicrophoneArray,
    mute_switch::MuteSwitch,
    presence::Presence,
    scaler::VideoScalerFactory,
    screen_power::ScreenPower,
    sim::VirtualBoard,
    speaker::Speaker,
    watchdog::Watchdog,
};

pub use clip::Clip;
pub use combined_controls::CombinedControls;
pub use devices::{Choice, Devices};
pub use error::BoardError;
pub use profile::{Profile, Section};
pub use realtime::ask_for_realtime;
pub use system_clock::clock_is_synchronised;

/// What is decided when a board is opened, not by its profile.
#[derive(Clone, Debug, Default)]
pub struct OpenOptions {
    /// A recording for the virtual camera and microphones.
    pub clip: Option<PathBuf>,
    /// Stands in the bar of the virtual camera.
    pub camera_id: Option<u8>,
    /// In the place of the board's own name.
    pub udid: Option<Udid>,
    /// Makes virtual rooms differ.
    pub seed: Option<u64>,
    /// A camera, a sound card, a GPIO chip, an input device, a light, a speakerphone or a CEC adapter that is not there is
    /// looked for when it is used, as after it was unplugged, in the place of an error.
    pub later: bool,
    /// Devices in the place of the profile's, as [`Devices::choices`] gave them; the profile's where one of them cannot
    /// be used.
    pub chosen: BTreeMap<DeviceKind, Section>,
}

/// An open board: every device that its profile names.
pub struct Board {
    /// Name of its profile.
    pub name: String,
    /// The camera.
    pub camera: Option<Box<dyn Camera>>,
    /// Controls of the camera that go another way than its pictures; before those of the camera itself.
    pub camera_controls: Option<Box<dyn CameraControls>>,
    /// The microphone array.
    pub microphones: Option<Box<dyn MicrophoneArray>>,
    /// The speaker.
    pub speaker: Option<Box<dyn Speaker>>,
    /// Opens video encoders.
    pub encoder: Arc<dyn VideoEncoderFactory>,
    /// Opens scalers.
    pub scaler: Option<Arc<dyn VideoScalerFactory>>,
    /// The screen; of two, the one for the people.
    pub display: Option<Box<dyn Display>>,
    /// The second screen, for what is shared.
    pub content_display: Option<Box<dyn Display>>,
    /// The lights.
    pub indicators: Vec<(IndicatorRole, Box<dyn Indicator>)>,
    /// The buttons.
    pub buttons: Option<Box<dyn Buttons>>,
    /// The switch that cuts the microphones.
    pub mute_switch: Option<Box<dyn MuteSwitch>>,
    /// The sensor that tells whether somebody is there.
    pub presence: Option<Box<dyn Presence>>,
    /// The power of the screen.
    pub screen_power: Option<Box<dyn ScreenPower>>,
    /// The watchdog, which runs from now on.
    pub watchdog: Option<Box<dyn Watchdog>>,
    /// Its name for life.
    pub identity: Box<dyn Identity>,
    /// What else could be used, and opens it.
    pub devices: Devices,
    /// The handle of the virtual board, when a device is virtual.
    pub virtual_board: Option<VirtualBoard>,
}

/// Opens every device that `profile` names. Takes some 100 ms, as GStreamer looks for its elements.
///
/// # Errors
/// [`BoardError`], which says what is there when the profile names what is not.
pub fn open(profile: &Profile, options: OpenOptions) -> Result<Board, BoardError> {
    drivers::open_board(profile, &options)
}
