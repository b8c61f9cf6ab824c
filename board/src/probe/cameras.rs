//! Cameras.

use std::path::PathBuf;

use rostrum_hal::{
    FrameSize, PixelFormat,
    camera::{CameraControl, CameraFormat, ControlState},
};
use serde::Serialize;

use super::{keys::Keys, table::Row};
use crate::Choice;

/// A rate from which a picture moves smoothly.
const SMOOTH_HZ: f64 = 24.0;
/// More pixels than this help no layer.
const ENOUGH_PIXELS: u64 = 1920 * 1080;

/// One camera.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Camera {
    /// Its node now; another one after a restart.
    pub node: PathBuf,
    /// Its name for people.
    pub title: String,
    /// USB serial number.
    pub serial: Option<String>,
    /// Link under `/dev/v4l/by-path`, by the port that it is at.
    pub by_path: Option<PathBuf>,
    /// Kernel driver.
    pub driver: String,
    /// What it is connected by.
    pub bus: String,
    /// Formats that can be used, largest first.
    pub offers: Vec<Offer>,
    /// The four letters of all formats.
    pub formats: String,
    /// Pan, tilt, zoom and the rest, with their ranges.
    pub controls: Vec<ControlState>,
    /// It gives pictures only after its media graph was set up, which libcamera does.
    pub needs_graph: bool,
    /// Why it cannot be asked.
    pub problem: Option<String>,
}

/// One size of one format.
#[derive(Clone, Debug, Serialize)]
pub struct Offer {
    /// Layout.
    pub pixel_format: PixelFormat,
    /// Size in pixels.
    pub size: FrameSize,
    /// Rates in Hz, highest first.
    pub frame_rates_hz: Vec<f64>,
}

impl From<CameraFormat> for Offer {
    fn from(CameraFormat { pixel_format, size, frame_rates_hz }: CameraFormat) -> Self {
        Self { pixel_format, size, frame_rates_hz }
    }
}

impl Camera {
    /// Its largest size that moves smoothly, as far as that helps.
    fn pixels(&self) -> u64 {
        let smooth = self.offers.iter().filter(|offer| {
            offer.frame_rates_hz.is_empty() || offer.frame_rates_hz.iter().any(|rate| *rate >= SMOOTH_HZ)
        });
        let pixels = smooth.map(|offer| u64::from(offer.size.width) * u64::from(offer.size.height));
        pixels.max().unwrap_or(0).min(ENOUGH_PIXELS)
    }

    fn turns(&self) -> bool {
        let is_pan = |state: &ControlState| {
            matches!(state.control, CameraControl::Pan | CameraControl::PanSpeed) && !state.read_only
        };
        self.controls.iter().any(is_pan)
    }

    /// The keys that name it among `all` for life, or as well as can be.
    pub(super) fn keys(&self, all: &[Self]) -> Keys {
        let keys = Keys::of("v4l2");
        let others = || all.iter().filter(|other| other.node != self.node);
        match (&self.serial, &self.by_path) {
            (Some(serial), _) if !others().any(|other| other.serial.as_ref() == Some(serial)) => {
                keys.with("serial", serial.as_str())
            }
            _ if !self.title.is_empty() && !others().any(|other| other.title.contains(&self.title)) => {
                keys.with("title", self.title.as_str())
            }
            (_, Some(path)) => keys.with("device", path.to_string_lossy().into_owned()),
            // The first there is.
            _ => keys,
        }
    }

    pub(super) fn row(&self, all: &[Self]) -> Row {
        let mut details = Vec::new();
        if !self.offers.is_empty() {
            details.push(offers_in_words(&self.offers));
        } else if self.problem.is_none() {
            details.push(format!("no format that can be used; it has {}", self.formats));
        }
        if !self.controls.is_empty() {
            let names: Vec<_> = self.controls.iter().map(|state| format!("{:?}", state.control)).collect();
            details.push(format!("controls: {}", names.join(", ")));
        }
        if self.needs_graph {
            details.push("needs libcamera; use the driver gstreamer with the element libcamerasrc".into());
        }
        details.extend(self.problem.clone());
        let bus = if self.bus.is_empty() { String::new() } else { format!(" at {}", self.bus) };
        let serial = self.serial.as_ref().map(|serial| format!(", serial number {serial}"));
        let what = format!("{} ({}{bus}{})", self.title, self.driver, serial.unwrap_or_default());
        Row { what, details, key: format!("[camera] {}", self.keys(all).one_line()) }
    }
}

fn offers_in_words(offers: &[Offer]) -> String {
    let one = |offer: &Offer| {
        let rate = offer.frame_rates_hz.first().map(|rate| format!(" {rate:.0} Hz")).unwrap_or_default();
        format!("{:?} {}{rate}", offer.pixel_format, offer.size)
    };
    let shown: Vec<_> = offers.iter().take(6).map(one).collect();
    let more = offers.len().saturating_sub(shown.len());
    let more = if more > 0 { format!(", and {more} more") } else { String::new() };
    shown.join(", ") + &more
}

/// All that give pictures, or could.
pub(crate) fn choices(cameras: &[Camera]) -> Vec<Choice> {
    let choice = |camera: &Camera| Choice {
        title: camera.title.clone(),
        section: Some(camera.keys(cameras).section()),
        problem: camera.problem.clone().or_else(|| {
            camera.offers.is_empty().then(|| format!("it has no format that can be used: {}", camera.formats))
        }),
    };
    cameras.iter().filter(|camera| !camera.needs_graph).map(choice).collect()
}

/// The camera for a room: one that can be used now, whose name is for life, that turns, that is large.
pub(super) fn best(cameras: &[Camera]) -> Option<&Camera> {
    let usable = |camera: &&Camera| !camera.offers.is_empty() && !camera.needs_graph;
    let rank = |camera: &&Camera| (camera.serial.is_some(), camera.turns(), camera.pixels());
    // The first of those that are as good.
    cameras.iter().rev().filter(usable).max_by_key(rank)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn camera(number: u32, title: &str, serial: Option<&str>) -> Camera {
        let size = FrameSize::new(1280, 720);
        let offer = Offer { pixel_format: PixelFormat::Mjpeg, size, frame_rates_hz: vec![30.0] };
        Camera {
            node: format!("/dev/video{number}").into(),
            title: title.into(),
            serial: serial.map(str::to_owned),
            by_path: Some(format!("/dev/v4l/by-path/port{number}").into()),
            offers: vec![offer],
            ..Camera::default()
        }
    }

    #[test]
    fn a_camera_is_named_by_what_only_it_has() {
        let name = |cameras: &[Camera]| cameras[0].keys(cameras).one_line();
        let first = camera(0, "HD Camera", Some("A1"));
        assert_eq!(
            name(&[first.clone(), camera(2, "HD Camera", Some("A2"))]),
            "driver = \"v4l2\", serial = \"A1\""
        );
        // Cheap cameras have one serial number for all.
        let same = [first.clone(), camera(2, "Other", Some("A1"))];
        assert_eq!(name(&same), "driver = \"v4l2\", title = \"HD Camera\"");
        let same = [first.clone(), camera(2, "HD Camera 2", Some("A1"))];
        assert_eq!(name(&same), "driver = \"v4l2\", device = \"/dev/v4l/by-path/port0\"");
        let same = [Camera { by_path: None, ..first }, camera(2, "HD Camera", Some("A1"))];
        assert_eq!(name(&same), "driver = \"v4l2\"", "a number that changes is worse than none");
    }

    #[test]
    fn the_best_camera_is_usable_named_and_large() {
        let plain = camera(0, "Plain", None);
        let named = camera(2, "Named", Some("B"));
        let graph = Camera { needs_graph: true, ..camera(4, "Sensor", Some("C")) };
        let silent = Camera { offers: Vec::new(), ..camera(6, "Depth", Some("D")) };
        let mut large = camera(8, "Large", Some("E"));
        large.offers[0].size = FrameSize::new(1920, 1080);
        let mut slow = camera(10, "Slow", Some("F"));
        slow.offers[0].size = FrameSize::new(3840, 2160);
        slow.offers[0].frame_rates_hz = vec![5.0];
        let all = [plain.clone(), named, graph, silent, large, slow];
        assert_eq!(best(&all).unwrap().title, "Large");
        assert_eq!(best(&all[..2]).unwrap().title, "Named");
        assert_eq!(
            best(&[plain.clone(), Camera { title: "Second".into(), ..plain }]).unwrap().title,
            "Plain"
        );
        assert!(best(&all[2..4]).is_none());
    }
}
