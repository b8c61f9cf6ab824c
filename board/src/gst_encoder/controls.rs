//! How an element is controlled while it runs: its bitrate, and key frames on demand. Vendors have three ways: a property,
//! a field of a property that is a structure (V4L2's `extra-controls`), and for key frames an event or an action signal.

use gstreamer::{self as gst, glib, prelude::*};
use gstreamer_video as gst_video;
use serde::Deserialize;

/// Where the bitrate is set.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Bitrate {
    property: String,
    /// Of the structure that the property is.
    field: Option<String>,
    /// Bits a second that 1 means.
    pub(super) unit_bps: u32,
}

/// How the next frame becomes a key frame.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum KeyFrame {
    /// By GStreamer's force-key-unit event.
    #[default]
    Event,
    /// By emitting an action signal.
    Signal(String),
    /// By setting a value to 1.
    Control(Control),
}

/// A value of an element.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Control {
    property: String,
    field: Option<String>,
}

impl Bitrate {
    /// Whether `element` can be controlled so.
    pub(super) fn check(&self, element: &gst::Element) -> Result<(), String> {
        check(element, &self.property, self.field.as_deref())
    }

    /// Sets it, in its own units.
    pub(super) fn set(&self, element: &gst::Element, units: u32) {
        set(element, &self.property, self.field.as_deref(), units);
    }
}

impl KeyFrame {
    /// Whether `element` can be asked so.
    pub(super) fn check(&self, element: &gst::Element) -> Result<(), String> {
        match self {
            Self::Event => Ok(()),
            Self::Signal(signal) => {
                let found = glib::subclass::signal::SignalId::lookup(signal, element.type_());
                let plain = found.is_some_and(|signal| signal.query().n_params() == 0);
                plain.then_some(()).ok_or_else(|| {
                    format!("{} has no action signal {signal} without arguments", kind(element))
                })
            }
            Self::Control(Control { property, field }) => check(element, property, field.as_deref()),
        }
    }

    /// Asks for one; `false` when the element did not listen.
    pub(super) fn ask(&self, element: &gst::Element) -> bool {
        match self {
            Self::Event => {
                let event = gst_video::UpstreamForceKeyUnitEvent::builder().all_headers(true).build();
                element.send_event(event)
            }
            Self::Signal(signal) => {
                element.emit_by_name_with_values(signal, &[]);
                true
            }
            Self::Control(Control { property, field }) => {
                set(element, property, field.as_deref(), 1);
                true
            }
        }
    }
}

fn kind(element: &gst::Element) -> String {
    element.factory().map(|factory| factory.name().to_string()).unwrap_or_default()
}

fn check(element: &gst::Element, property: &str, field: Option<&str>) -> Result<(), String> {
    let Some(spec) = element.find_property(property) else {
        return Err(format!("{} has no property {property}", kind(element)));
    };
    let is_structure = spec.value_type() == gst::Structure::static_type();
    match field {
        Some(field) if !is_structure => {
            Err(format!("{property} of {} is no structure with a field {field}", kind(element)))
        }
        None if is_structure => {
            Err(format!("{property} of {} is a structure: name its field", kind(element)))
        }
        _ => Ok(()),
    }
}

/// Sets a property of any numeric type, or a field of a structure.
fn set(element: &gst::Element, property: &str, field: Option<&str>, number: u32) {
    let Some(spec) = element.find_property(property) else { return };
    let Some(field) = field else {
        // The specification's own range is kept by GObject.
        if let Ok(value) = glib::Value::deserialize_with_pspec(&number.to_string(), &spec) {
            element.set_property_from_value(property, &value);
        }
        return;
    };
    // Until the element is started it only remembers the structure, and all of it must be there; then it applies each
    // field as it comes, and what was applied before stays.
    let remembered = match element.current_state() {
        gst::State::Null => element.property::<Option<gst::Structure>>(property),
        _ => None,
    };
    let mut structure = remembered.unwrap_or_else(|| gst::Structure::new_empty("controls"));
    structure.set(field, i32::try_from(number).unwrap_or(i32::MAX));
    element.set_property(property, structure);
}
