//! The real-time audio-video service: LiveKit's protocol from the server's side.
//!
//! Terminals and guests come in by the doors (HTTP, WebSocket); media threads own the channels,
//! their connections and forwarding ([`sfu`], no I/O inside; each channel is on one of the [`threads`]); [`transport`] is one peer connection and [`forward`]
//! what happens to one track on its way to one subscriber. [`serve`] starts all of it.

pub mod addresses;
pub mod config;
pub mod devices;
mod doors;
mod error;
pub mod forward;
mod media_tcp;
mod media_thread;
mod service;
pub mod sfu;
pub mod threads;
pub mod transport;
mod udp;

pub use config::Config;
pub use devices::DevicesError;
pub use doors::tls::TlsError;
pub use error::ServiceError;
pub use service::{RunningService, serve};
