//! OpenAPI shapes of types that live in crates which know nothing of OpenAPI.

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
    /// `exposure` (100 us), `exposure_auto`, `privacy`, `pan_speed`, `tilt_speed` or `zoom_speed` (-100 to 100
    /// percent until it is set to 0).
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rostrum_hal::camera::{CameraControl, ControlState};

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
}
