//! What an element needs to be told: the profile's keys over those of `profiles/encoders.toml`.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::controls::{Bitrate, KeyFrame};
use crate::{elements, probe::encoders::EncoderElement};

/// What is known of elements.
const KNOWN: &str = include_str!("../../profiles/encoders.toml");

/// Keys of `[encoder]` with the driver `gstreamer`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Options {
    /// Name of the element.
    pub(super) element: String,
    /// Layout of the frames that it takes.
    input: Option<Input>,
    /// How its bitrate is set while it runs.
    bitrate: Option<Bitrate>,
    /// How it is asked for a key frame; by an event when left out.
    key_frame: Option<KeyFrame>,
    /// What frames go through first, as on `gst-launch-1.0`'s command line.
    before: Option<String>,
    /// Further fields of the format that it is asked for, such as `level`.
    caps: Option<BTreeMap<String, String>>,
    /// Set once, before it starts.
    #[serde(default)]
    properties: toml::Table,
}

/// An entry of `encoders.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Known {
    input: Input,
    bitrate: Bitrate,
    #[serde(default)]
    key_frame: KeyFrame,
    before: Option<String>,
    #[serde(default)]
    caps: BTreeMap<String, String>,
    #[serde(default)]
    properties: toml::Table,
    /// Its work is done by hardware.
    #[serde(default)]
    hardware: bool,
}

fn known() -> Result<BTreeMap<String, Known>, String> {
    toml::from_str(KNOWN).map_err(|e| format!("encoders.toml: {e}"))
}

/// Every known element, for `probe`.
pub(crate) fn listing() -> Vec<EncoderElement> {
    let listed = known().unwrap_or_default().into_iter().map(|(element, known)| EncoderElement {
        is_installed: elements::require(&element).is_ok(),
        hint: elements::hint(&element),
        element,
        hardware: known.hardware,
    });
    listed.collect()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) enum Input {
    I420,
    #[serde(rename = "NV12")]
    Nv12,
}

/// Everything that one element needs.
#[derive(Clone)]
pub(super) struct Recipe {
    pub(super) element: String,
    pub(super) input: Input,
    pub(super) bitrate: Bitrate,
    pub(super) key_frame: KeyFrame,
    pub(super) before: Option<String>,
    pub(super) caps: BTreeMap<String, String>,
    pub(super) properties: toml::Table,
}

impl Recipe {
    /// The profile's keys over those that are known of the element.
    pub(super) fn of(options: Options) -> Result<Self, String> {
        let mut table = known()?;
        let Options { element, input, bitrate, key_frame, before, caps, properties } = options;
        let known = match (table.remove(&element), input, &bitrate) {
            (Some(known), ..) => known,
            (None, Some(input), Some(bitrate)) => Known {
                input,
                bitrate: bitrate.clone(),
                key_frame: KeyFrame::default(),
                before: None,
                caps: BTreeMap::new(),
                properties: toml::Table::new(),
                hardware: false,
            },
            (None, ..) => {
                let names: Vec<_> = table.into_keys().collect();
                let names = names.join(", ");
                return Err(format!("{element} needs the keys input and bitrate; only {names} are known"));
            }
        };
        let mut all = known.properties;
        all.extend(properties);
        Ok(Self {
            element,
            input: input.unwrap_or(known.input),
            bitrate: bitrate.unwrap_or(known.bitrate),
            key_frame: key_frame.unwrap_or(known.key_frame),
            // An empty one means none, where the entry has one.
            before: before.or(known.before).filter(|before| !before.is_empty()),
            caps: caps.unwrap_or(known.caps),
            properties: all,
        })
    }
}
