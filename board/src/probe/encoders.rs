//! H.264 encoders, and what scales pictures for them.

use std::path::PathBuf;

use rostrum_hal::PixelFormat;
use serde::Serialize;

use super::{keys::Keys, table::Row};

/// An encoder of the kernel.
#[derive(Clone, Debug, Serialize)]
pub struct Encoder {
    /// Its node now; another one after a restart.
    pub node: PathBuf,
    /// Its name for people.
    pub title: String,
    /// Pictures that it takes.
    pub takes: Vec<PixelFormat>,
}

/// An encoder that is a GStreamer element.
#[derive(Clone, Debug, Serialize)]
pub struct EncoderElement {
    /// Its name.
    pub element: String,
    /// Hardware does its work.
    pub hardware: bool,
    /// It is on this machine.
    pub is_installed: bool,
    /// How to install it.
    pub hint: String,
}

/// What takes and gives raw pictures: a scaler, a converter.
#[derive(Clone, Debug, Serialize)]
pub struct Converter {
    /// Its node now; another one after a restart.
    pub node: PathBuf,
    /// Its name for people.
    pub title: String,
    /// Kernel driver.
    pub driver: String,
    /// Pictures that it takes.
    pub takes: Vec<PixelFormat>,
    /// What it gives may have another size.
    pub scales: bool,
}

impl Encoder {
    pub(super) fn row(&self) -> Row {
        Row {
            what: format!("{} (hardware, takes {:?})", self.title, self.takes),
            details: Vec::new(),
            // Its number changes, and there is hardly ever a second one.
            key: format!("[encoder] {}", Keys::of("v4l2").one_line()),
        }
    }
}

impl EncoderElement {
    fn keys(&self) -> Keys {
        Keys::of("gstreamer").with("element", self.element.as_str())
    }

    pub(super) fn row(&self) -> Row {
        let made_of = if self.hardware { "hardware" } else { "software" };
        let what = format!("{} ({made_of}, GStreamer)", self.element);
        Row { what, details: Vec::new(), key: format!("[encoder] {}", self.keys().one_line()) }
    }
}

impl Converter {
    pub(super) fn row(&self) -> Row {
        let what = format!("{} ({}, takes {:?})", self.title, self.driver, self.takes);
        if !self.scales {
            return Row::plain(what);
        }
        // Its number changes, and there is hardly ever a second one.
        Row { what, details: Vec::new(), key: format!("[scaler] {}", Keys::of("v4l2").one_line()) }
    }
}

/// What makes the smaller layers, and what to say of it: the one that the driver takes.
pub(super) fn best_scaler(converters: &[Converter]) -> Option<(Keys, &str)> {
    let scaler = converters.iter().find(|converter| converter.scales)?;
    Some((Keys::of("v4l2"), &scaler.title))
}

/// Who encodes: the kernel's own encoder, an element in hardware, one in software; and what to say of it.
pub(super) fn best(encoders: &[Encoder], elements: &[EncoderElement]) -> (Keys, String) {
    if let Some(encoder) = encoders.first() {
        return (Keys::of("v4l2"), encoder.title.clone());
    }
    let mut installed: Vec<_> = elements.iter().filter(|element| element.is_installed).collect();
    installed.sort_by_key(|element| (!element.hardware, element.element != "x264enc"));
    match installed.first() {
        Some(element) if element.hardware => (element.keys(), "Hardware, by GStreamer".into()),
        Some(element) => {
            (element.keys(), "No encoder in hardware was found: this one takes the processor".into())
        }
        None => (
            Keys::of("gstreamer").with("element", "x264enc"),
            "Not installed: install the package gstreamer1.0-plugins-ugly".into(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(name: &str, hardware: bool, is_installed: bool) -> EncoderElement {
        EncoderElement { element: name.into(), hardware, is_installed, hint: String::new() }
    }

    #[test]
    fn what_only_converts_is_no_scaler() {
        let converter = |title: &str, scales| Converter {
            node: "/dev/video9".into(),
            title: title.into(),
            driver: "m2m".into(),
            takes: Vec::new(),
            scales,
        };
        let all = [converter("deinterlacer", false), converter("scaler", true), converter("other", true)];
        assert_eq!(
            best_scaler(&all).map(|(keys, title)| (keys.one_line(), title)),
            Some(("driver = \"v4l2\"".into(), "scaler"))
        );
        assert!(best_scaler(&all[..1]).is_none() && all[0].row().key.is_empty());
    }

    #[test]
    fn hardware_encodes_before_software() {
        let elements = [
            element("openh264enc", false, true),
            element("mpph264enc", true, true),
            element("vpuenc_h264", true, false),
            element("x264enc", false, true),
        ];
        let chosen =
            |encoders: &[Encoder], elements: &[EncoderElement]| best(encoders, elements).0.one_line();
        let kernel = Encoder { node: "/dev/video11".into(), title: "codec".into(), takes: Vec::new() };
        assert_eq!(chosen(&[kernel], &elements), "driver = \"v4l2\"");
        assert!(chosen(&[], &elements).contains("mpph264enc"));
        assert!(chosen(&[], &[elements[0].clone(), elements[3].clone()]).contains("x264enc"));
        assert!(best(&[], &elements[2..3]).1.contains("Not installed"));
    }
}
