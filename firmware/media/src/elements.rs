//! Which GStreamer elements are there, and which Debian package brings those that are not.

use std::sync::OnceLock;

use gstreamer as gst;

use crate::MediaError;

/// Debian packages of the elements that Rostrum knows.
const PACKAGES: &[(&str, &[&str])] = &[
    ("gstreamer1.0-libav", &["avdec_h264", "avdec_h265", "avenc_aac"]),
    ("gstreamer1.0-alsa", &["alsasrc", "alsasink"]),
    (
        "gstreamer1.0-plugins-base",
        &[
            "appsrc",
            "appsink",
            "audioconvert",
            "audioresample",
            "compositor",
            "decodebin",
            "opusenc",
            "opusdec",
            "uridecodebin",
            "videoconvert",
            "videoconvertscale",
            "videoscale",
            "videotestsrc",
            "videorate",
            "ximagesink",
            "xvimagesink",
        ],
    ),
    (
        "gstreamer1.0-plugins-good",
        &[
            "autovideosink",
            "flvmux",
            "jpegdec",
            "jpegenc",
            "mp4mux",
            "pulsesink",
            "pulsesrc",
            "v4l2h264enc",
            "v4l2src",
            "vp8dec",
            "vp8enc",
            "vp9dec",
            "vp9enc",
        ],
    ),
    (
        "gstreamer1.0-plugins-bad",
        &[
            "av1dec",
            "av1enc",
            "av1parse",
            "h264parse",
            "h265parse",
            "hlssink2",
            "kmssink",
            "openh264dec",
            "openh264enc",
            "rtmp2sink",
            "vp9parse",
            "waylandsink",
        ],
    ),
    ("gstreamer1.0-plugins-ugly", &["x264enc"]),
    ("libgstreamer1.0-0", &["capsfilter", "fakesink", "filesink", "filesrc", "queue", "tee"]),
];

/// Starts GStreamer, once a process.
pub(crate) fn start() -> Result<(), MediaError> {
    static STARTED: OnceLock<Result<(), gst::glib::Error>> = OnceLock::new();
    STARTED.get_or_init(gst::init).clone().map_err(MediaError::Start)
}

/// Checks that all of `elements` are installed; call it at start, so that a missing one is said then.
///
/// # Errors
/// [`MediaError::MissingElement`] for the first that is not, with its Debian package;
/// [`MediaError::Start`].
pub fn require_elements(elements: &[&str]) -> Result<(), MediaError> {
    start()?;
    for &element in elements {
        if gst::ElementFactory::find(element).is_none() {
            return Err(missing(element));
        }
    }
    Ok(())
}

/// The element `name`, or the error that says how to get it.
pub(crate) fn make(name: &str) -> Result<gst::Element, MediaError> {
    start()?;
    gst::ElementFactory::make(name).build().map_err(|_| missing(name))
}

fn missing(element: &str) -> MediaError {
    let hint = match package_of(element) {
        Some(package) => format!("install the Debian package {package}"),
        None => {
            "find its package with `apt-file search`, or correct its name in the configuration".to_owned()
        }
    };
    MediaError::MissingElement { element: element.to_owned(), hint }
}

fn package_of(element: &str) -> Option<&'static str> {
    PACKAGES.iter().find(|(_, elements)| elements.contains(&element)).map(|(package, _)| *package)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_missing_element_names_its_debian_package() {
        assert!(
            missing("x264enc").to_string().contains("install the Debian package gstreamer1.0-plugins-ugly")
        );
        assert!(missing("avdec_h264").to_string().contains("gstreamer1.0-libav"));
    }

    #[test]
    fn an_unknown_element_is_named() {
        let error = require_elements(&["appsrc", "notthere"]).unwrap_err();
        assert!(error.to_string().contains("notthere"), "{error}");
    }

    #[test]
    fn the_decoders_are_there() {
        require_elements(&["appsrc", "appsink", "avdec_h264", "vp8dec", "vp9dec", "av1dec", "jpegdec"])
            .unwrap();
    }

    #[test]
    fn an_element_is_in_one_package_only() {
        let mut all: Vec<_> = PACKAGES.iter().flat_map(|(_, elements)| elements.iter()).collect();
        let count = all.len();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}
