//! Pictures of a room terminal: what its camera sends, what comes in, what its screen shows.
//!
//! - [`CameraPipeline`] turns, scales and encodes camera frames in up to three simulcast layers.
//! - [`Decoder`] decodes one remote video track.
//! - [`Screen`] composes the room's picture: a grid of the others, or what somebody shares.
//! - [`jpeg()`] makes a still of a frame for web pages.
//!
//! No queue anywhere: a frame that comes too early for its consumer is dropped, or replaces the one that waits.

pub mod bitrate;
pub mod camera;
pub mod decoder;
mod elements;
mod error;
mod jpeg;
pub mod layers;
pub mod layout;
mod mjpeg;
mod picture;
pub mod screen;
pub mod settings;
mod turn;

pub use camera::{CameraEvent, CameraPipeline, CameraStatistics, LayerStatistics};
pub use decoder::{Codec, Decoder, DecoderStatistics};
pub use elements::require_elements;
pub use error::MediaError;
pub use jpeg::jpeg;
pub use layers::{Layer, LayerId, layers_for};
pub use layout::{Layout, Rect, layout};
pub use mjpeg::MjpegDecoder;
pub use screen::{Idle, Meeting, Scene, Screen, ScreenInput, Seat, Share};
pub use settings::{Orientation, PictureSettings, Preference};
