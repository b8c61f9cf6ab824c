//! A screen that a Wayland compositor has, such as a desktop or a kiosk: driver `wayland`. The picture fills the screen.
//!
//! A compositor that ends takes the window with it, and `waylandsink` tells nobody; so a second connection, which says
//! nothing, watches it. The window is back when a compositor is.

use std::{
    io::{ErrorKind, Read},
    os::unix::net::UnixStream,
    path::PathBuf,
};

use gstreamer::prelude::*;
use rostrum_hal::{FrameSize, display::Display};
use serde::Deserialize;

use crate::{
    BoardError,
    drivers::Device,
    elements,
    screen::{
        Rotation, USABLE, is_usable,
        kept::{Kept, Lack, Socket},
        pipeline::Outlet,
    },
};

/// Keys of `[display]` and `[content_display]` with the driver `wayland`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Options {
    /// Path of the compositor's socket, such as "/run/user/1000/wayland-0".
    socket: PathBuf,
    /// Size of the room's picture, as people see it; the compositor scales it to the screen.
    #[serde(default = "full_hd")]
    size: FrameSize,
    /// Degrees by which the picture is turned clockwise.
    #[serde(default)]
    rotation: Rotation,
}

fn full_hd() -> FrameSize {
    FrameSize::new(1920, 1080)
}

pub(crate) fn open(device: &Device<'_>) -> Result<Box<dyn Display>, BoardError> {
    let Options { socket, size, rotation } = device.options()?;
    if !socket.is_absolute() {
        return Err(device.wrong("socket is a whole path, such as \"/run/user/1000/wayland-0\""));
    }
    if !is_usable(size, rotation) {
        return Err(device.wrong(USABLE));
    }
    elements::require("waylandsink")?;
    let name = format!("at {}", socket.display());
    let hint = "start the desktop or kiosk whose socket that is".into();
    let window = Window { socket, rotation, witness: None };
    let kept =
        Kept::start(name.clone(), hint, size, window).map_err(|e| device.absent(name, e.to_string()))?;
    Ok(Box::new(kept))
}

struct Window {
    socket: PathBuf,
    rotation: Rotation,
    /// Ends with the compositor.
    witness: Option<UnixStream>,
}

impl Socket for Window {
    /// `waylandsink` takes no picture while the compositor has not shown the one before.
    const DROPS: bool = true;

    fn connect(&mut self) -> Result<Outlet, Lack> {
        let witness = UnixStream::connect(&self.socket).map_err(|error| match error.kind() {
            ErrorKind::PermissionDenied => Lack::Failed(format!(
                "{} may not be used; run the terminal as the user whose desktop it is",
                self.socket.display()
            )),
            _ => Lack::Gone,
        })?;
        witness.set_nonblocking(true).map_err(|e| Lack::Failed(e.to_string()))?;
        let sink = elements::make("waylandsink").map_err(|e| Lack::Failed(e.to_string()))?;
        sink.set_property("display", self.socket.to_string_lossy().as_ref());
        sink.set_property("fullscreen", true);
        sink.set_property("sync", false);
        self.witness = Some(witness);
        Ok(Outlet { sink, rotation: self.rotation, scale_to: None })
    }

    fn is_there(&mut self) -> bool {
        let Some(witness) = &mut self.witness else { return false };
        // It is silent for as long as it is there.
        matches!(witness.read(&mut [0; 64]), Err(error) if error.kind() == ErrorKind::WouldBlock)
    }

    fn disconnect(&mut self) {
        self.witness = None;
    }
}
