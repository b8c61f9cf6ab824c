//! Cameras of the kernel, driver `v4l2`.
//!
//! A camera that was unplugged is looked for by its USB serial number (without one, by its title), as the kernel may
//! give it another `/dev/videoN` when it is back.

use std::{path::Path, path::PathBuf, sync::Arc, time::Duration};

use parking_lot::RwLock;
use rostrum_hal::{
    Frame, FrameSize, PixelFormat,
    camera::{Camera, CameraControls, CameraError, CameraFormat, StreamFormat},
};
use serde::Deserialize;
use tokio::{io::Interest, io::unix::AsyncFd, time::Instant};
use v4l2r::{
    Format, PlaneLayout, QueueType,
    bindings::{v4l2_captureparm, v4l2_streamparm, v4l2_streamparm__bindgen_ty_1},
    ioctl::{self, Capabilities, Capability},
};

use super::{
    choice::choose,
    controls::{Present, V4l2Controls, keep_rate_in_low_light},
    extension::{self, Extension},
    find::{self, CLASS, Found, Wanted},
    node::{Fault, Node, OrFault, Settable, can},
    offer::{fourcc, interval, offers, rate_hz},
    ring::{Layout, Ring},
};
use crate::{BoardError, drivers::Device, error::Failure};

/// Buffers that are never lent, as the kernel needs them for the next pictures.
const KEEP: usize = 2;
/// A camera that gives nothing for so long has stalled.
const STALL: Duration = Duration::from_secs(1);

/// Keys of `[camera]` with the driver `v4l2`. Without one that names a camera it is the first.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Options {
    /// Its path under `/dev`, such as `/dev/v4l/by-id/...`.
    device: Option<PathBuf>,
    /// Its USB serial number.
    serial: Option<String>,
    /// A part of its title.
    title: Option<String>,
    /// How far it zooms, where it does not say so: 10 is ten times.
    #[serde(default = "zoom_max")]
    zoom_max: f64,
    /// `false` lets the frame rate drop in low light for a brighter picture.
    #[serde(default = "yes")]
    keep_rate: bool,
    /// Controls of its vendor's own.
    #[serde(default)]
    extension_controls: Vec<extension::Options>,
}

pub(super) fn zoom_max() -> f64 {
    4.0
}

fn yes() -> bool {
    true
}

pub(crate) fn open(device: &Device<'_>) -> Result<Box<dyn Camera>, BoardError> {
    let options: Options = device.options()?;
    if !(1.0..=1000.0).contains(&options.zoom_max) {
        return Err(device.wrong("zoom_max is 1 to 1000"));
    }
    let wanted = match (options.device, options.serial, options.title) {
        (None, None, None) => Wanted::First,
        (Some(path), None, None) => Wanted::Path(path),
        (None, Some(serial), None) => Wanted::Serial(serial),
        (None, None, Some(title)) => Wanted::Title(title),
        _ => return Err(device.wrong("only one of device, serial and title names the camera")),
    };
    let extensions =
        extension::Wanted::all(options.extension_controls).map_err(|message| device.wrong(message))?;
    let found = device.now_or_later(usable(&wanted).map_err(|cameras| absent(&wanted, &cameras)))?;
    let name = found.as_ref().map_or_else(|| wanted.to_string(), title);
    let camera = V4l2Camera {
        wanted: RwLock::new(found.as_ref().map_or(wanted, remembered)),
        present: Arc::new(Present::absent(name, options.zoom_max)),
        keep_rate: options.keep_rate,
        extensions,
        stream: None,
    };
    // So that its controls answer before it streams. What else is wrong is said when it starts.
    let lacks = camera.open_node().map(|opened| opened.lacks).unwrap_or_default();
    for failure in lacks {
        device.now_or_later::<()>(Err(failure))?;
    }
    Ok(Box::new(camera))
}

/// The camera that `wanted` means. The first must be able to give pictures, as encoders and screens are in the same list.
fn usable(wanted: &Wanted) -> Result<Found, Vec<Found>> {
    if *wanted != Wanted::First {
        return find::find(Path::new(CLASS), wanted);
    }
    let all = find::cameras(Path::new(CLASS));
    let gives_pictures = |camera: &&Found| {
        // One that another program has cannot be asked, but its name says enough.
        Node::open(&camera.path).map_or(true, |(_, capability)| capture_queue(&capability).is_some())
    };
    all.iter().find(gives_pictures).cloned().ok_or(all)
}

fn absent(wanted: &Wanted, cameras: &[Found]) -> Failure {
    let name = match wanted {
        Wanted::First => "a camera".into(),
        named => format!("the camera {named}"),
    };
    if cameras.is_empty() {
        let hint = "there is no camera; plug one in, or remove [camera] from the profile".into();
        return Failure::Absent { name, hint };
    }
    let one = |camera: &Found| {
        let serial = camera.serial.as_ref().map(|serial| format!(", serial number {serial}"));
        format!("{} ({}{})", camera.path.display(), camera.title, serial.unwrap_or_default())
    };
    let present = cameras.iter().map(one).collect::<Vec<_>>().join(", ");
    Failure::Absent { name, hint: format!("there are {present}") }
}

/// The name to show to people.
pub(super) fn title(found: &Found) -> String {
    // uvcvideo gives the name twice where the interface has no name of its own.
    let title = match found.title.split_once(": ") {
        Some((first, second)) if first.starts_with(second) || second.starts_with(first) => first,
        _ => &found.title,
    };
    title.to_owned()
}

/// By what the camera is known from now on.
fn remembered(found: &Found) -> Wanted {
    match &found.serial {
        Some(serial) => Wanted::Serial(serial.clone()),
        None => Wanted::Title(found.title.clone()),
    }
}

/// The queue that gives pictures, if this device has one and is no encoder.
pub(super) fn capture_queue(capability: &Capability) -> Option<QueueType> {
    if !can(capability, Capabilities::STREAMING) {
        return None;
    }
    if can(capability, Capabilities::VIDEO_CAPTURE) {
        Some(QueueType::VideoCapture)
    } else if can(capability, Capabilities::VIDEO_CAPTURE_MPLANE) {
        Some(QueueType::VideoCaptureMplane)
    } else {
        None
    }
}

struct V4l2Camera {
    wanted: RwLock<Wanted>,
    present: Arc<Present>,
    keep_rate: bool,
    extensions: Vec<extension::Wanted>,
    stream: Option<Stream>,
}

/// A camera that was found.
struct Opened {
    node: Arc<Node>,
    queue: QueueType,
    /// What the profile says of its vendor's controls and it has not.
    lacks: Vec<Failure>,
}

impl std::fmt::Display for Wanted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::First => write!(f, "of this room"),
            Self::Path(path) => write!(f, "{}", path.display()),
            Self::Serial(serial) => write!(f, "with the serial number {serial}"),
            Self::Title(title) => write!(f, "{title}"),
        }
    }
}

struct Stream {
    // Dropped in this order: the ring stops the stream before the device is closed.
    ring: Ring,
    ready: AsyncFd<Arc<Node>>,
    /// When the last frame came, or the stream started, or a stall was told.
    last: Instant,
}

impl V4l2Camera {
    /// Finds the camera and opens it.
    fn open_node(&self) -> Result<Opened, CameraError> {
        let error = |fault| self.present.error(fault);
        // An own statement, so that the lock is free again.
        let found = usable(&self.wanted.read());
        let Ok(found) = found else { return Err(error(Fault::Gone)) };
        *self.wanted.write() = remembered(&found);
        *self.present.name.write() = title(&found);
        let (node, capability) = Node::open(&found.path).map_err(error)?;
        let queue = capture_queue(&capability).ok_or_else(|| CameraError::NoFormat {
            name: title(&found),
            present: "no stream of pictures".into(),
        })?;
        let node = Arc::new(node);
        let (extensions, lacks) = self.extensions(&node, &found);
        self.present.came(Arc::clone(&node), extensions);
        self.present.hear();
        Ok(Opened { node, queue, lacks })
    }

    /// The vendor's controls that the profile wants, and what is to be said of those that are not there.
    fn extensions(&self, node: &Node, found: &Found) -> (Vec<Extension>, Vec<Failure>) {
        if self.extensions.is_empty() {
            return Default::default();
        }
        let units = find::extension_units(Path::new(CLASS), found);
        let (extensions, lacks) = extension::resolve(node, &units, &self.extensions);
        let failure = |(control, hint)| Failure::Absent {
            name: format!("the control {control} of the camera {}", title(found)),
            hint,
        };
        (extensions, lacks.into_iter().map(failure).collect())
    }

    fn stop(&mut self) {
        self.stream = None;
        self.present.went();
    }

    fn set_format(&self, node: &Node, queue: QueueType, format: StreamFormat) -> Result<Layout, Fault> {
        let wrong = Fault::Other(rustix::io::Errno::INVAL);
        let letters = fourcc(format.pixel_format).ok_or(wrong)?;
        let wanted = Format {
            width: format.size.width,
            height: format.size.height,
            pixelformat: letters.into(),
            plane_fmt: vec![PlaneLayout { sizeimage: 0, bytesperline: 0 }],
        };
        let given: Format = ioctl::s_fmt(&mut Settable(node), (queue, &wanted)).or_fault()?;
        // The driver may give something else than it offered; then nothing that follows would be true.
        let plane = given.plane_fmt.first().ok_or(wrong)?;
        if given.pixelformat != letters.into() || given.plane_fmt.len() != 1 {
            return Err(wrong);
        }
        let size = FrameSize::new(given.width, given.height);
        let tight = size.width as usize * if format.pixel_format == PixelFormat::Yuyv { 2 } else { 1 };
        let stride = (plane.bytesperline as usize).max(tight);
        Ok(Layout { format: format.pixel_format, size, stride, rows: None })
    }
}

/// Puts the device into the runtime.
#[allow(unsafe_code)]
fn watch(node: Arc<Node>) -> std::io::Result<AsyncFd<Arc<Node>>> {
    // SAFETY: the node owns its file, which is closed when the last of the `Arc`s is dropped; one of them is in the
    // `AsyncFd`. It gives the same descriptor always.
    let watched = unsafe { AsyncFd::register_with_interest(node, Interest::READABLE) };
    Ok(watched?)
}

/// Asks for a rate and gives the one that the camera takes; `None` where it has no choice.
fn set_rate(node: &Node, queue: QueueType, wanted_hz: f64) -> Option<f64> {
    let mut capture = v4l2_captureparm { timeperframe: interval(wanted_hz), ..Default::default() };
    let parameters = v4l2_streamparm { type_: queue as u32, parm: v4l2_streamparm__bindgen_ty_1 { capture } };
    let given: v4l2_streamparm = ioctl::s_parm(node, parameters).ok()?;
    // SAFETY: a capture queue's parameters are those of capture, and all bit patterns of its numbers are valid.
    #[allow(unsafe_code)]
    {
        capture = unsafe { given.parm.capture };
    }
    rate_hz(capture.timeperframe)
}

#[async_trait::async_trait]
impl Camera for V4l2Camera {
    fn name(&self) -> String {
        self.present.name.read().clone()
    }

    fn formats(&mut self) -> Result<Vec<CameraFormat>, CameraError> {
        // An own statement, so that the lock is free again when the camera is opened.
        let present = self.present.node();
        let (node, queue) = match present {
            Some(node) => {
                let capability =
                    ioctl::querycap(&*node).or_fault().map_err(|fault| self.present.error(fault))?;
                let queue = capture_queue(&capability).ok_or_else(|| self.present.error(Fault::Gone))?;
                (node, queue)
            }
            None => {
                let Opened { node, queue, .. } = self.open_node()?;
                (node, queue)
            }
        };
        Ok(offers(&node, queue).0)
    }

    async fn start(&mut self, wanted: StreamFormat) -> Result<StreamFormat, CameraError> {
        self.stop();
        let Opened { node, queue, lacks } = self.open_node()?;
        for failure in lacks {
            log::warn!("{failure}");
        }
        let (offers, all) = offers(&node, queue);
        let Some(chosen) = choose(&offers, wanted) else {
            return Err(CameraError::NoFormat { name: self.name(), present: all });
        };
        let error = |fault| self.present.error(fault);
        let layout = self.set_format(&node, queue, chosen).map_err(error)?;
        if self.keep_rate {
            keep_rate_in_low_light(&node);
        }
        let rate = set_rate(&node, queue, chosen.frame_rate_hz);
        let ring = Ring::start(Arc::clone(&node), queue, layout, KEEP).map_err(error)?;
        let ready = watch(node)
            .map_err(|source| CameraError::Failed { name: self.name(), message: source.to_string() })?;
        if !ring.is_shareable() {
            log::info!(camera = self.name().as_str(); "the camera's buffers cannot be shared; frames are copied");
        }
        self.stream = Some(Stream { ring, ready, last: Instant::now() });
        let frame_rate_hz = rate.unwrap_or(chosen.frame_rate_hz);
        Ok(StreamFormat { pixel_format: layout.format, size: layout.size, frame_rate_hz })
    }

    async fn next_frame(&mut self) -> Result<Frame, CameraError> {
        let present = Arc::clone(&self.present);
        let Some(stream) = &mut self.stream else {
            return Err(CameraError::Failed { name: self.name(), message: "it was not started".into() });
        };
        match stream.next().await {
            Ok(Some(frame)) => Ok(frame),
            Ok(None) => Err(CameraError::Stalled { name: self.name() }),
            Err(fault) => {
                let counts = stream.ring.counts();
                log::debug!(broken = counts.broken, copied = counts.copied; "the camera's stream ended");
                self.stop();
                present.tell();
                Err(present.error(fault))
            }
        }
    }

    fn controls(&self) -> Box<dyn CameraControls> {
        Box::new(V4l2Controls { present: Arc::clone(&self.present) })
    }
}

impl Stream {
    /// The next frame, or `None` when none came for a second.
    async fn next(&mut self) -> Result<Option<Frame>, Fault> {
        loop {
            let deadline = self.last + STALL;
            let mut guard = match tokio::time::timeout_at(deadline, self.ready.readable()).await {
                Err(_) => {
                    self.last = Instant::now();
                    return Ok(None);
                }
                Ok(Err(_)) => return Err(Fault::Gone),
                Ok(Ok(guard)) => guard,
            };
            match self.ring.newest()? {
                Some(frame) => {
                    self.last = Instant::now();
                    return Ok(Some(frame));
                }
                None => guard.clear_ready(),
            }
        }
    }
}
