//! GStreamer's elements: which package brings them, and how their properties are set from a profile.

use gstreamer::{self as gst, prelude::*};

use crate::{BoardError, drivers::Device, property};

/// Debian's package of each element that a profile is likely to name.
const PACKAGES: &[(&str, &[&str])] = &[
    ("gstreamer1.0-plugins-ugly", &["x264enc"]),
    ("gstreamer1.0-plugins-bad", &["openh264enc", "h264parse", "kmssink", "waylandsink", "watchdog"]),
    (
        "gstreamer1.0-plugins-good",
        &["v4l2src", "v4l2h264enc", "v4l2sink", "jpegdec", "autovideosink", "videoflip"],
    ),
    ("gstreamer1.0-alsa", &["alsasrc", "alsasink"]),
    ("gstreamer1.0-pulseaudio", &["pulsesrc", "pulsesink"]),
    ("gstreamer1.0-pipewire", &["pipewiresrc", "pipewiresink"]),
    ("gstreamer1.0-vaapi", &["vaapih264enc"]),
    ("gstreamer1.0-gl", &["glimagesink"]),
    ("gstreamer1.0-libav", &["avdec_h264", "avdec_aac"]),
    ("gstreamer1.0-x", &["ximagesink", "xvimagesink"]),
    (
        "gstreamer1.0-plugins-base",
        &[
            "appsink",
            "appsrc",
            "audioconvert",
            "audioresample",
            "audiotestsrc",
            "decodebin",
            "playback",
            "videoconvert",
            "videoscale",
            "videotestsrc",
        ],
    ),
];

/// Starts GStreamer, once.
pub(crate) fn init() -> Result<(), BoardError> {
    gst::init().map_err(|e| BoardError::GStreamer { message: e.to_string() })
}

/// Checks that an element is installed.
pub(crate) fn require(element: &str) -> Result<(), BoardError> {
    init()?;
    if gst::ElementFactory::find(element).is_some() {
        return Ok(());
    }
    Err(BoardError::MissingElement { element: element.into(), hint: hint(element) })
}

/// What to install for an element.
pub(crate) fn hint(element: &str) -> String {
    match PACKAGES.iter().find(|(_, elements)| elements.contains(&element)) {
        Some((package, _)) => format!("install the package {package}"),
        None => format!("`gst-inspect-1.0 | grep {element}` lists those that are"),
    }
}

/// An element by its factory's name.
pub(crate) fn make(element: &str) -> Result<gst::Element, BoardError> {
    require(element)?;
    gst::ElementFactory::make(element)
        .build()
        .map_err(|e| BoardError::MissingElement { element: element.into(), hint: e.to_string() })
}

/// Sets an element's properties from a profile. Text is read as on GStreamer's own command line, so that
/// enumerations and flags have their nicknames.
pub(crate) fn set_properties(element: &gst::Element, properties: &toml::Table) -> Result<(), String> {
    for (name, value) in properties {
        let Some(spec) = element.find_property(name) else {
            let names: Vec<_> = element.list_properties().iter().map(|p| p.name().to_owned()).collect();
            let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
            names.sort_by_key(|known| strsim::damerau_levenshtein(name, known));
            names.truncate(5);
            let kind = element.factory().map(|f| f.name().to_string()).unwrap_or_default();
            return Err(format!("{kind} has no property {name}; the most like it are {}", names.join(", ")));
        };
        let text = match value {
            toml::Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        element.set_property_from_value(name, &property::value(&spec, &text)?);
    }
    Ok(())
}

/// [`make`] and [`set_properties`] for a device's section.
pub(crate) fn make_for(
    device: &Device<'_>,
    element: &str,
    properties: &toml::Table,
) -> Result<gst::Element, BoardError> {
    let made = make(element)?;
    set_properties(&made, properties).map_err(|message| device.wrong(message))?;
    Ok(made)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_missing_element_gives_its_package() {
        assert_eq!(hint("x264enc"), "install the package gstreamer1.0-plugins-ugly");
        let error = require("nosuchelement").unwrap_err().to_string();
        assert!(error.contains("nosuchelement is not installed"), "{error}");
    }

    #[test]
    fn properties_are_set_by_nickname_and_wrong_ones_give_what_is_right() {
        let element = make("x264enc").unwrap();
        let table = |text: &str| text.parse::<toml::Table>().unwrap();
        set_properties(&element, &table("speed-preset = 'superfast'\nbitrate = 512\nbyte-stream = true"))
            .unwrap();
        assert_eq!(element.property::<u32>("bitrate"), 512);
        let error = set_properties(&element, &table("bitrat = 5")).unwrap_err();
        assert!(error.contains("x264enc has no property bitrat") && error.contains("bitrate"), "{error}");
        let error = set_properties(&element, &table("bitrate = 'much'")).unwrap_err();
        assert!(error.contains("bitrate cannot be much"), "{error}");
    }

    #[test]
    fn a_value_that_a_property_does_not_take_is_an_error_and_no_panic() {
        for (element, properties, complaint) in [
            ("x264enc", "qp-max = 90", "qp-max cannot be 90; it takes 0 to 63"),
            ("x264enc", "bitrate = -1", "bitrate cannot be -1"),
            ("x264enc", "ip-factor = 7.5", "ip-factor cannot be 7.5; it takes 0 to 2"),
            (
                "x264enc",
                "speed-preset = 77",
                "speed-preset cannot be 77; it takes None, ultrafast, superfast",
            ),
            ("x264enc", "tune = 4096", "tune cannot be 4096; it takes stillimage+"),
            ("identity", "last-message = 'x'", "last-message can only be read"),
        ] {
            let table = properties.parse().unwrap();
            let error = set_properties(&make(element).unwrap(), &table).expect_err(properties);
            assert!(error.contains(complaint), "{error}");
        }
    }
}
