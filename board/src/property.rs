//! What a property of a GStreamer element can be. GObject panics at a value that a property does not take, so that all
//! that comes from a profile is checked here first.

use std::ops::RangeInclusive;

use gstreamer::{
    glib::{self, ParamFlags},
    prelude::*,
};

/// Whether it can be set after the element was made.
pub(crate) fn check_settable(spec: &glib::ParamSpec) -> Result<(), String> {
    let name = spec.name();
    if !spec.flags().contains(ParamFlags::WRITABLE) {
        return Err(format!("{name} can only be read"));
    }
    if spec.flags().contains(ParamFlags::CONSTRUCT_ONLY) {
        return Err(format!("{name} is set by whoever makes the element, and stays"));
    }
    Ok(())
}

/// A value that the property takes, read from text as on GStreamer's own command line.
pub(crate) fn value(spec: &glib::ParamSpec, text: &str) -> Result<glib::Value, String> {
    check_settable(spec)?;
    let value = glib::Value::deserialize_with_pspec(text, spec).ok();
    value
        .filter(|value| is_taken(spec, value))
        .ok_or_else(|| format!("{} cannot be {text}; it takes {}", spec.name(), taken(spec)))
}

/// Whether a value of the property's type is one that it takes.
fn is_taken(spec: &glib::ParamSpec, value: &glib::Value) -> bool {
    if let Some(range) = integers(spec) {
        // A number above those of 64 bits with a sign does not become one of them.
        let signed = value.transform::<i64>().ok().and_then(|value| value.get::<i64>().ok()).map(i128::from);
        let number = value.get::<u64>().ok().map(i128::from).or(signed);
        return number.is_some_and(|number| range.contains(&number));
    }
    if let Some(spec) = spec.downcast_ref::<glib::ParamSpecFloat>() {
        return value.get().is_ok_and(|number| (spec.minimum()..=spec.maximum()).contains(&number));
    }
    if let Some(spec) = spec.downcast_ref::<glib::ParamSpecDouble>() {
        return value.get().is_ok_and(|number| (spec.minimum()..=spec.maximum()).contains(&number));
    }
    if glib::EnumClass::with_type(spec.value_type()).is_some() {
        return glib::EnumValue::from_value(value).is_some();
    }
    if let Some(class) = glib::FlagsClass::with_type(spec.value_type()) {
        let all = class.values().iter().fold(0, |bits, flag| bits | flag.value());
        let bits = value.transform::<u32>().ok().and_then(|bits| bits.get::<u32>().ok());
        return bits.is_some_and(|bits| bits & !all == 0);
    }
    true
}

/// What the property takes, for people.
fn taken(spec: &glib::ParamSpec) -> String {
    let kind = spec.value_type();
    if let Some(range) = integers(spec) {
        return format!("{} to {}", range.start(), range.end());
    }
    if let Some(spec) = spec.downcast_ref::<glib::ParamSpecFloat>() {
        return format!("{} to {}", spec.minimum(), spec.maximum());
    }
    if let Some(spec) = spec.downcast_ref::<glib::ParamSpecDouble>() {
        return format!("{} to {}", spec.minimum(), spec.maximum());
    }
    if let Some(class) = glib::EnumClass::with_type(kind) {
        return class.values().iter().map(glib::EnumValue::nick).collect::<Vec<_>>().join(", ");
    }
    if let Some(class) = glib::FlagsClass::with_type(kind) {
        return class.values().iter().map(glib::FlagsValue::nick).collect::<Vec<_>>().join("+");
    }
    format!("what is of the type {kind}")
}

/// The whole numbers that it takes; none when it is of another type.
pub(crate) fn integers(spec: &glib::ParamSpec) -> Option<RangeInclusive<i128>> {
    macro_rules! of {
        ($($kind:ty),*) => {
            $(if let Some(spec) = spec.downcast_ref::<$kind>() {
                return Some(i128::from(spec.minimum())..=i128::from(spec.maximum()));
            })*
        };
    }
    of!(
        glib::ParamSpecInt,
        glib::ParamSpecUInt,
        glib::ParamSpecInt64,
        glib::ParamSpecUInt64,
        glib::ParamSpecLong,
        glib::ParamSpecULong
    );
    None
}
