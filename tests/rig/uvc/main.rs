//! A USB video camera in user space. It is plugged into the kernel's `vhci_hcd`, so the real `uvcvideo` drives
//! it: a test sees what a driver of ours makes of a camera, and what arrives at the camera.

mod access_units;
mod camera;
mod control_table;
mod controls;
mod descriptors;
mod device;
mod format;
mod jpeg;
mod link;
mod motion;
#[cfg(test)]
mod noise;
mod picture;
mod port;
mod remote;
mod stream;
mod transfers;
mod usbip;

use std::{
    fs,
    io::ErrorKind,
    os::unix::net::UnixListener,
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    thread,
};

use anyhow::{Context, ensure};
use clap::Parser;

use crate::{
    access_units::AccessUnits,
    camera::{Camera, Shared},
    device::Device,
    format::{Coding, Offer},
    port::Port,
    remote::Remote,
    stream::Sensor,
};

/// A USB video camera for the kernel's vhci_hcd.
#[derive(Parser)]
struct Arguments {
    /// Port of vhci_hcd; the controller has eight for high speed
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..8))]
    port: u32,
    /// Socket for commands; it appears when the camera is plugged in [default: /run/uvc-camera-PORT.sock]
    #[arg(long)]
    socket: Option<PathBuf>,
    /// Serial number
    #[arg(long, default_value = "RIG0001")]
    serial: String,
    /// Product name
    #[arg(long, default_value = "Rig PTZ Camera")]
    name: String,
    /// Camera id in the bar
    #[arg(long, default_value_t = 0)]
    camera_id: u8,
    /// Formats, in the order in which they are offered
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["yuyv", "mjpeg"])]
    formats: Vec<Coding>,
    /// H.264 to play, Annex B; h264 of --formats needs it
    #[arg(long)]
    h264: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let wants_h264 = arguments.formats.contains(&Coding::H264);
    ensure!(wants_h264 == arguments.h264.is_some(), "--h264 FILE and h264 of --formats go together");
    let socket =
        arguments.socket.unwrap_or_else(|| format!("/run/uvc-camera-{}.sock", arguments.port).into());
    let units = arguments.h264.as_deref().map(AccessUnits::open).transpose()?.unwrap_or_default();

    let offer = Offer::new(arguments.formats, units.largest());
    let device = Device::new(arguments.name, arguments.serial, offer);
    let shared = Arc::new(Shared::new(Camera::new(device)));
    let sensor = Sensor::new(arguments.camera_id, units);
    let remote = Arc::new(Remote { shared: shared.clone(), port: Port::new(arguments.port, shared.clone()) });

    thread::Builder::new().name("stream".into()).spawn(move || stream::run(&shared, sensor))?;
    remote.port.plug(None)?;
    let listener = listen(&socket)?;
    let (quit, wait_for_quit) = mpsc::channel();
    let server = remote.clone();
    thread::Builder::new().name("remotes".into()).spawn(move || {
        if let Err(e) = server.serve(&listener, &quit) {
            eprintln!("uvc-camera: no more commands: {e}");
        }
    })?;

    // Also ends when nobody listens to commands any more.
    let _ = wait_for_quit.recv();
    // It may be unplugged already.
    let _ = remote.port.unplug();
    fs::remove_file(&socket).context("removing the socket")
}

/// Listens on a socket in the place of one that an earlier run has left.
fn listen(path: &Path) -> anyhow::Result<UnixListener> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => {
            return Err(e).with_context(|| format!("removing {}", path.display()));
        }
        _ => {}
    }
    UnixListener::bind(path).with_context(|| format!("listening on {}", path.display()))
}
