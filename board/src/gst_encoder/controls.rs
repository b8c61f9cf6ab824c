//! How an element is controlled while it runs: its bitrate, and key frames on demand. Vendors have three ways: a property,
//! a field of a property that is a structure (V4L2's `extra-controls`), and for key frames an event or an action signal.

use std::num::NonZeroU32;

use gstreamer::{self as gst, glib, prelude::*};
use gstreamer_video as gst_video;
use serde::Deserialize;

use crate::property;

/// Where the bitrate is set.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Bitrate {
    property: String,
    /// Of the structure that the property is.
    field: Option<String>,
    /// Bits a second that 1 means.
    pub(super) unit_bps: NonZeroU32,
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
        check(element, &self.property, self.field.as_deref(), false)
    }

    /// Sets it, in its own units; the nearest that the element takes.
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
                let may_be_emitted = found.map(|signal| signal.query()).is_some_and(|signal| {
                    signal.n_params() == 0 && signal.flags().contains(glib::SignalFlags::ACTION)
                });
                may_be_emitted.then_some(()).ok_or_else(|| {
                    format!("{} has no action signal {signal} without arguments", kind(element))
                })
            }
            Self::Control(Control { property, field }) => check(element, property, field.as_deref(), true),
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

/// Whether a property, or a field of one that is a structure, can be set to numbers, or to true where that may do.
fn check(element: &gst::Element, property: &str, field: Option<&str>, or_true: bool) -> Result<(), String> {
    let Some(spec) = element.find_property(property) else {
        return Err(format!("{} has no property {property}", kind(element)));
    };
    property::check_settable(&spec)?;
    let is_structure = spec.value_type() == gst::Structure::static_type();
    let is_boolean = spec.value_type() == glib::Type::BOOL;
    match field {
        Some(field) if !is_structure => {
            Err(format!("{property} of {} is no structure with a field {field}", kind(element)))
        }
        None if is_structure => {
            Err(format!("{property} of {} is a structure: name its field", kind(element)))
        }
        None if property::integers(&spec).is_none() && !(or_true && is_boolean) => {
            Err(format!("{property} of {} is no whole number but a {}", kind(element), spec.value_type()))
        }
        _ => Ok(()),
    }
}

/// Sets a property of any numeric type, or a field of a structure.
fn set(element: &gst::Element, property: &str, field: Option<&str>, number: u32) {
    let Some(spec) = element.find_property(property) else { return };
    let Some(field) = field else {
        let nearest = match property::integers(&spec) {
            Some(range) => i128::from(number).clamp(*range.start(), *range.end()),
            None => i128::from(number),
        };
        match property::value(&spec, &nearest.to_string()) {
            Ok(value) => element.set_property_from_value(property, &value),
            // All but numbers were refused when the board was opened.
            Err(message) => log::warn!("{}: {message}", kind(element)),
        }
        return;
    };
    // Until the element is started it only remembers the structure, and all of it must be there; then it applies each
    // field as it comes, and what was applied before stays.
    let remembered = match element.current_state() {
        gst::State::Null if spec.flags().contains(glib::ParamFlags::READABLE) => {
            element.property::<Option<gst::Structure>>(property)
        }
        _ => None,
    };
    let mut structure = remembered.unwrap_or_else(|| gst::Structure::new_empty("controls"));
    structure.set(field, i32::try_from(number).unwrap_or(i32::MAX));
    element.set_property(property, structure);
}
