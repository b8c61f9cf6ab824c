//! OpenAPI shapes of types that live in crates which know nothing of OpenAPI.

use rostrum_hal::selftest::Part;
use rostrum_room::{MuteReason, Phase, Severity};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::schema::{Object, ObjectBuilder, SchemaType, Type};

fn names<T: Serialize>(values: &[T]) -> Vec<serde_json::Value> {
    values.iter().filter_map(|value| serde_json::to_value(value).ok()).collect()
}

fn string(values: Vec<serde_json::Value>) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(values))
}

pub(crate) fn phase() -> Object {
    use Phase::{Idle, InChannel, Joining, Leaving, Reconnecting};
    string(names(&[Idle, Joining, InChannel, Reconnecting, Leaving]))
        .description(Some("Where the room is between alone and in a meeting."))
        .build()
}

pub(crate) fn mute_reason() -> Object {
    use MuteReason::{
        Button, FarEnd, JoinedMuted, LightFault, MicrophonesFault, NotInMeeting, Page, Switch, SwitchFault,
    };
    let reasons =
        [NotInMeeting, Switch, SwitchFault, MicrophonesFault, LightFault, Button, Page, FarEnd, JoinedMuted];
    let mut values = names(&reasons);
    values.push(serde_json::Value::Null);
    string(values)
        .schema_type(SchemaType::from_iter([Type::String, Type::Null]))
        .description(Some("Why the room is muted: the reason that has to go first. Null when it is not."))
        .build()
}

pub(crate) fn severity() -> Object {
    string(names(&[Severity::Info, Severity::Warning, Severity::Error]))
        .description(Some("How much it matters."))
        .build()
}

fn degrees() -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .enum_values(Some([0, 90, 180, 270]))
        .description(Some("Clockwise turn of the camera's picture in degrees."))
}

pub(crate) fn orientation() -> Object {
    degrees().build()
}

pub(crate) fn optional_orientation() -> Object {
    degrees().build()
}

/// Range and present value of one control of the camera.
#[derive(Serialize, ToSchema)]
#[schema(as = ControlState)]
pub(crate) struct ControlStateSchema {
    /// `pan`, `tilt` (arc seconds), `zoom` (100 is the whole picture), `focus`, `focus_auto`,
    /// `exposure` (100 us), `exposure_auto`, `privacy`, `gain`, `white_balance` (kelvin), `white_balance_auto`, `backlight`,
    /// `power_line`, `brightness`, `contrast`, `saturation`, `sharpness`, `pan_speed`, `tilt_speed` or `zoom_speed`
    /// (-100 to 100 percent until it is set to 0), or `vendor_` and the name that the board's profile gives to a control
    /// of the vendor's own.
    control: String,
    /// Smallest value.
    minimum: i64,
    /// Largest value.
    maximum: i64,
    /// Distance between values.
    step: i64,
    /// Value at start.
    default: i64,
    /// Value now.
    value: i64,
    /// It can be read but not set.
    read_only: bool,
}

/// What became of one part in a test.
#[derive(Serialize, ToSchema)]
#[schema(as = Check)]
pub(crate) struct CheckSchema {
    /// The part; a light has a name of its own.
    name: String,
    /// How it went.
    outcome: OutcomeSchema,
    /// What is wrong, when it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    /// What to do, when it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
    /// Why it was not tested, when it was skipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// What was measured.
    figures: Vec<FigureSchema>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Outcome)]
#[serde(rename_all = "snake_case")]
#[allow(dead_code, reason = "all there are, for the description")]
pub(crate) enum OutcomeSchema {
    /// It works.
    Passed,
    /// It does not.
    Failed,
    /// It was not tested.
    Skipped,
}

/// Something measured.
#[derive(Serialize, ToSchema)]
#[schema(as = Figure)]
pub(crate) struct FigureSchema {
    /// What.
    name: String,
    /// How much.
    value: f64,
    /// Of what; empty for plain numbers.
    unit: String,
}

pub(crate) fn parts() -> utoipa::openapi::Array {
    let part = string(names(&Part::ALL)).description(Some("A part of the terminal.")).build();
    utoipa::openapi::ArrayBuilder::new().items(part).build()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rostrum_hal::camera::{CameraControl, ControlState};
    use rostrum_hal::selftest::{Check, Figure, Outcome};

    #[test]
    fn the_shape_of_a_control_is_that_of_the_camera() {
        let control = CameraControl::Pan;
        let (minimum, maximum, step, default, value, read_only) = (-1, 1, 1, 0, 0, false);
        let real =
            serde_json::to_value(ControlState { control, minimum, maximum, step, default, value, read_only });
        let control = "pan".to_owned();
        let told = ControlStateSchema { control, minimum, maximum, step, default, value, read_only };
        assert_eq!(real.unwrap(), serde_json::to_value(told).unwrap());
    }

    #[test]
    fn the_shape_of_a_check_is_that_of_the_test() {
        let real = Check {
            name: "camera".into(),
            outcome: Outcome::failed("it is black", "open it"),
            figures: vec![Figure::new("rate", 30.0, "Hz")],
        };
        let told = CheckSchema {
            name: "camera".into(),
            outcome: OutcomeSchema::Failed,
            problem: Some("it is black".into()),
            remedy: Some("open it".into()),
            reason: None,
            figures: vec![FigureSchema { name: "rate".into(), value: 30.0, unit: "Hz".into() }],
        };
        assert_eq!(serde_json::to_value(real).unwrap(), serde_json::to_value(told).unwrap());
    }
}
