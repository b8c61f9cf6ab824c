//! The driver `wayland` in the windows of Weston, Wayland's own compositor, which has no screen here but shows what would
//! be on it.
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use gstreamer::{self as gst, prelude::*};
use gstreamer_app::AppSink;
use rostrum_board::{OpenOptions, Profile};
use rostrum_hal::{
    Frame, FrameData, FrameSize, PixelFormat, Timestamp,
    display::{Display, DisplayError},
};

const SCREEN: FrameSize = FrameSize::new(640, 480);
const PATIENCE: Duration = Duration::from_secs(40);

/// A compositor.
struct Weston {
    process: Child,
    folder: PathBuf,
}

impl Weston {
    fn start(folder: &Path) -> Self {
        let size = [format!("--width={}", SCREEN.width), format!("--height={}", SCREEN.height)];
        let process = Command::new("weston")
            .args([
                "--backend=headless-backend.so",
                "--use-pixman",
                "--shell=desktop-shell.so",
                "--socket=screen",
            ])
            // Who may take a picture of the screen, and that it never sleeps.
            .args(["--debug", "--idle-time=0", "--no-config"])
            .args(size)
            .env("XDG_RUNTIME_DIR", folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("install the package weston");
        Self { process, folder: folder.to_owned() }
    }

    /// Red, green and blue at a place of the screen, in parts of its width and height.
    fn look(&self, places: &[(f64, f64)]) -> Option<Vec<[u8; 3]>> {
        let shots = self.folder.join("shots");
        let _ = fs::remove_dir_all(&shots);
        fs::create_dir(&shots).unwrap();
        let taken = Command::new("weston-screenshooter")
            .current_dir(&shots)
            .env("XDG_RUNTIME_DIR", &self.folder)
            .env("WAYLAND_DISPLAY", "screen")
            .stderr(Stdio::null())
            .status();
        if !taken.is_ok_and(|status| status.success()) {
            return None;
        }
        let file = fs::read_dir(&shots).unwrap().next()?.unwrap().path();
        let line = format!(
            "filesrc location={} ! pngdec ! videoconvert ! video/x-raw,format=RGBx ! appsink name=end",
            file.display()
        );
        let pipeline = gst::parse::launch(&line).unwrap().downcast::<gst::Pipeline>().unwrap();
        let end = pipeline.by_name("end").unwrap().downcast::<AppSink>().unwrap();
        pipeline.set_state(gst::State::Playing).unwrap();
        let sample = end.try_pull_sample(gst::ClockTime::from_seconds(20));
        let _ = pipeline.set_state(gst::State::Null);
        let buffer = sample?.buffer_owned()?;
        let pixels = buffer.map_readable().unwrap();
        let at = |(x, y): &(f64, f64)| {
            let (x, y) = ((x * f64::from(SCREEN.width)) as usize, (y * f64::from(SCREEN.height)) as usize);
            let start = (y * SCREEN.width as usize + x) * 4;
            [pixels[start], pixels[start + 1], pixels[start + 2]]
        };
        Some(places.iter().map(at).collect())
    }

    /// Waits until the four quarters of the screen are as light or dark as said.
    fn shows(&self, wanted: [bool; 4]) {
        let places = [(0.25, 0.25), (0.75, 0.25), (0.25, 0.75), (0.75, 0.75)];
        let corners = [(0.02, 0.02), (0.98, 0.02), (0.02, 0.98), (0.98, 0.98)];
        let mut last = None;
        until("the picture", || {
            last = self.look(&[places, corners].concat());
            let light =
                last.as_ref().map(|seen| seen.iter().map(|[r, g, b]| *r > 200 && *g > 200 && *b > 200));
            let dark = last.as_ref().map(|seen| seen.iter().map(|[r, g, b]| *r < 50 && *g < 50 && *b < 50));
            let twice = wanted.iter().chain(&wanted);
            light.zip(dark).is_some_and(|(light, dark)| {
                light.zip(dark).zip(twice).all(|((light, dark), wanted)| if *wanted { light } else { dark })
            })
        });
    }
}

impl Drop for Weston {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < PATIENCE, "{what} never comes");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn window(folder: &Path, keys: &str) -> Box<dyn Display> {
    let text = format!(
        "name = \"kiosk\"\n[encoder]\ndriver = \"gstreamer\"\nelement = \"x264enc\"\n\
         [identity]\ndriver = \"virtual\"\n\
         [display]\ndriver = \"wayland\"\nsocket = \"{}\"\n{keys}",
        folder.join("screen").display()
    );
    let profile = Profile::parse(&text, "kiosk.toml").unwrap();
    rostrum_board::open(&profile, OpenOptions::default()).unwrap().display.unwrap()
}

/// White and black quarters: upper left, upper right, lower left, lower right.
fn quarters(size: FrameSize, white: [bool; 4]) -> Frame {
    let (width, height) = (size.width as usize, size.height as usize);
    let mut bytes = Vec::with_capacity(width * height * 3 / 2);
    for y in 0..height {
        for x in 0..width {
            let quarter = usize::from(x >= width / 2) + 2 * usize::from(y >= height / 2);
            bytes.push(if white[quarter] { 235 } else { 16 });
        }
    }
    bytes.resize(width * height * 3 / 2, 128);
    Frame {
        capture_time: Timestamp::now(),
        sequence: 0,
        format: PixelFormat::Yuv420,
        size,
        data: FrameData::Bytes(bytes.into()),
    }
}

#[test]
fn the_picture_fills_the_screen_and_is_back_after_the_compositor_was_gone() {
    let folder = tempfile::tempdir().unwrap();
    let size = FrameSize::new(320, 240);
    let mut display = window(folder.path(), "size = { width = 320, height = 240 }");
    until("word that there is no compositor", || matches!(display.check(), Err(DisplayError::Gone { .. })));
    let error = display.check().unwrap_err().to_string();
    assert!(error.ends_with("is not there; start the desktop or kiosk whose socket that is"), "{error}");
    let weston = Weston::start(folder.path());
    let _ = display.show(quarters(size, [true, false, false, true]));
    weston.shows([true, false, false, true]);
    until("a screen that works", || display.check().is_ok());
    display.show(quarters(size, [false, true, false, false])).unwrap();
    weston.shows([false, true, false, false]);
    // Faster than any screen, and then nothing more.
    for shade in 0..200_u32 {
        display.show(quarters(size, [shade % 2 == 0; 4])).unwrap();
        std::thread::sleep(Duration::from_millis(2));
    }
    display.show(quarters(size, [false, false, true, false])).unwrap();
    weston.shows([false, false, true, false]);
    drop(weston);
    until("the loss of the screen", || matches!(display.check(), Err(DisplayError::Gone { .. })));
    let weston = Weston::start(folder.path());
    weston.shows([false, false, true, false]);
}

#[test]
fn the_picture_is_turned_clockwise() {
    let folder = tempfile::tempdir().unwrap();
    let weston = Weston::start(folder.path());
    let keys = "size = { width = 240, height = 320 }\nrotation = 90";
    let mut display = window(folder.path(), keys);
    let _ = display.show(quarters(FrameSize::new(240, 320), [true, true, true, false]));
    weston.shows([true, true, false, true]);
}
