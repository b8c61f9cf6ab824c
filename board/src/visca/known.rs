//! What is known of a camera's controls: what it said last, and what it was told and is on its way to.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use rostrum_hal::camera::{CameraControl, ControlState};

use super::{
    message::{Answer, Inquiry},
    scale::{Range, Scale},
};

/// The longest way of a camera. So long the value that was set stands, wherever the camera is on its way.
const WAY: Duration = Duration::from_secs(10);

/// All inquiries, and the controls that each tells of.
pub(super) const INQUIRIES: [(Inquiry, &[CameraControl]); 6] = {
    use CameraControl::{
        Exposure, ExposureAuto, Focus, FocusAuto, Pan, PanSpeed, Tilt, TiltSpeed, Zoom, ZoomSpeed,
    };
    [
        (Inquiry::PanTilt, &[Pan, Tilt, PanSpeed, TiltSpeed]),
        (Inquiry::Zoom, &[Zoom, ZoomSpeed]),
        (Inquiry::Focus, &[Focus]),
        (Inquiry::FocusAuto, &[FocusAuto]),
        (Inquiry::Shutter, &[Exposure]),
        (Inquiry::ExposureAuto, &[ExposureAuto]),
    ]
};

/// Values of controls, and what the camera lacks.
#[derive(Debug, Default)]
pub(super) struct Known {
    values: BTreeMap<CameraControl, Value>,
    lacking: Vec<Inquiry>,
}

#[derive(Clone, Copy, Debug)]
struct Value {
    value: i64,
    /// It was set and the camera may be on its way there.
    target_until: Option<Instant>,
}

impl Known {
    /// The camera answered.
    pub(super) fn learn(&mut self, answer: Answer, scale: &Scale, now: Instant) {
        use CameraControl as Control;
        let values = match answer {
            Answer::PanTilt { pan, tilt } => {
                self.values.entry(Control::PanSpeed).or_insert(Value::still());
                self.values.entry(Control::TiltSpeed).or_insert(Value::still());
                vec![(Control::Pan, scale.arc_seconds(pan)), (Control::Tilt, scale.arc_seconds(tilt))]
            }
            Answer::Zoom(position) => {
                self.values.entry(Control::ZoomSpeed).or_insert(Value::still());
                vec![(Control::Zoom, scale.magnification(position))]
            }
            Answer::Focus(position) => vec![(Control::Focus, scale.focus(position))],
            Answer::Shutter(row) => vec![(Control::Exposure, scale.exposure(row))],
            Answer::FocusAuto(auto) => vec![(Control::FocusAuto, auto.into())],
            Answer::ExposureAuto(auto) => vec![(Control::ExposureAuto, auto.into())],
        };
        for (control, value) in values {
            if self.target(control, now).is_none() {
                self.put(control, value);
            }
        }
    }

    /// The camera does not know that inquiry.
    pub(super) fn lack(&mut self, inquiry: Inquiry) {
        self.lacking.push(inquiry);
        let told = INQUIRIES.iter().find(|(known, _)| *known == inquiry).map_or(&[][..], |(_, told)| told);
        self.values.retain(|control, _| !told.contains(control));
    }

    /// Whether the camera is known not to have that control.
    pub(super) fn lacks(&self, control: CameraControl) -> bool {
        let inquiry = INQUIRIES.iter().find(|(_, controls)| controls.contains(&control));
        inquiry.is_none_or(|(inquiry, _)| self.lacking.contains(inquiry))
    }

    /// What to ask to know everything.
    pub(super) fn inquiries(&self) -> impl Iterator<Item = Inquiry> {
        INQUIRIES.into_iter().map(|(inquiry, _)| inquiry).filter(|inquiry| !self.lacking.contains(inquiry))
    }

    /// The value of a control now.
    pub(super) fn value(&self, control: CameraControl) -> i64 {
        self.values.get(&control).map_or(0, |value| value.value)
    }

    /// Where a control was told to go, when it may still be on its way.
    pub(super) fn target(&self, control: CameraControl, now: Instant) -> Option<i64> {
        let value = self.values.get(&control)?;
        value.target_until.filter(|until| now < *until).map(|_| value.value)
    }

    /// A control has that value; when it was on its way elsewhere, no more.
    pub(super) fn put(&mut self, control: CameraControl, value: i64) {
        self.values.insert(control, Value { value, target_until: None });
    }

    /// A control is on its way to that value.
    pub(super) fn aim(&mut self, control: CameraControl, value: i64, now: Instant) {
        self.values.insert(control, Value { value, target_until: Some(now + WAY) });
    }

    /// A control goes where nobody knows; its value is old.
    pub(super) fn let_go(&mut self, control: CameraControl) {
        if let Some(value) = self.values.get_mut(&control) {
            value.target_until = None;
        }
    }

    /// All controls of which something is known.
    pub(super) fn list(&self, scale: &Scale) -> Vec<ControlState> {
        let state = |(&control, value): (&CameraControl, &Value)| {
            let Range { minimum, maximum, step, default } = scale.range(control)?;
            // A remote control can bring a camera to where we do not.
            let value = value.value.clamp(minimum, maximum);
            Some(ControlState { control, minimum, maximum, step, default, value, read_only: false })
        };
        self.values.iter().filter_map(state).collect()
    }
}

impl Value {
    fn still() -> Self {
        Self { value: 0, target_until: None }
    }
}
