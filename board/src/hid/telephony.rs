//! What a speakerphone's reports mean: presses of buttons in, lights out. Without I/O.
//!
//! The hook switch and the mute button are On/Off Controls (USB HID Usage Tables §3.4.1.2), whose flags say
//! what they do. One that is relative, or springs back, toggles with each change from 0 to 1. One that stays
//! where it is tells what the device believes; devices also change it by themselves when the host lights the
//! light that belongs to it, so that only a state other than the light's is somebody's wish.

use std::collections::BTreeMap;

use rostrum_hal::buttons::{ButtonEvent, ButtonRole};
use serde::Deserialize;

use super::descriptor::{Control, Descriptor, Usage, Way};

/// A light that the host drives (LED Page).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Lamp {
    /// A call is on: lights up the phone and, on many, opens its microphone.
    OffHook,
    /// The microphone is muted.
    Mute,
    /// Somebody calls.
    Ring,
}

impl Lamp {
    pub(super) const ALL: [Self; 3] = [Self::OffHook, Self::Mute, Self::Ring];

    /// As profiles name it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::OffHook => "off_hook",
            Self::Mute => "mute",
            Self::Ring => "ring",
        }
    }

    fn usage(self) -> Usage {
        match self {
            Self::OffHook => 0x0008_0017,
            Self::Mute => 0x0008_0009,
            Self::Ring => 0x0008_0018,
        }
    }
}

/// Buttons, their usages, and the light that shows the same state.
const BUTTONS: [(ButtonRole, Usage, Option<Lamp>); 4] = [
    (ButtonRole::Join, 0x000B_0020, Some(Lamp::OffHook)),
    (ButtonRole::Mute, 0x000B_002F, Some(Lamp::Mute)),
    (ButtonRole::VolumeUp, 0x000C_00E9, None),
    (ButtonRole::VolumeDown, 0x000C_00EA, None),
];

/// One device while it is plugged in.
#[derive(Debug)]
pub(super) struct Telephony {
    descriptor: Descriptor,
    buttons: Vec<Button>,
    lamps: BTreeMap<Lamp, Control>,
    /// Output reports as they were made last, without their numbers.
    outputs: BTreeMap<u8, Vec<u8>>,
}

#[derive(Debug)]
struct Button {
    role: ButtonRole,
    control: Control,
    /// The light that says what state the host wants, of a button that stays where it is.
    lamp: Option<Lamp>,
    was_on: bool,
}

impl Telephony {
    /// `None` for a device that has no such buttons and lights, such as a speakerphone's other interfaces.
    pub(super) fn new(descriptor: &Descriptor) -> Option<Self> {
        let buttons: Vec<_> = BUTTONS
            .into_iter()
            .filter_map(|(role, usage, lamp)| {
                let control = descriptor.find(Way::Input, usage)?;
                let toggles = control.is_relative || control.springs_back;
                Some(Button { role, control, lamp: lamp.filter(|_| !toggles), was_on: false })
            })
            .collect();
        let find = |lamp: Lamp| Some((lamp, descriptor.find(Way::Output, lamp.usage())?));
        let lamps: BTreeMap<_, _> =
            Lamp::ALL.into_iter().filter_map(find).filter(|(_, control)| control.can_be_set()).collect();
        let is_telephony = lamps.contains_key(&Lamp::OffHook)
            || buttons.iter().any(|b| matches!(b.role, ButtonRole::Join | ButtonRole::Mute));
        let descriptor = descriptor.clone();
        is_telephony.then_some(Self { descriptor, buttons, lamps, outputs: BTreeMap::new() })
    }

    /// The buttons that are there.
    pub(super) fn buttons(&self) -> Vec<ButtonRole> {
        self.buttons.iter().map(|button| button.role).collect()
    }

    /// The lights that are there.
    pub(super) fn lamps(&self) -> Vec<Lamp> {
        self.lamps.keys().copied().collect()
    }

    /// What a report of the device says, as it was read. `lit` are the lights that the host has switched;
    /// those that it never did are not in it.
    pub(super) fn report(&mut self, bytes: &[u8], lit: &BTreeMap<Lamp, bool>) -> Vec<ButtonEvent> {
        let (number, report) = match (self.descriptor.is_numbered(), bytes) {
            (true, [number, report @ ..]) => (*number, report),
            (true, []) => return Vec::new(),
            (false, report) => (0, report),
        };
        let mut events = Vec::new();
        for button in self.buttons.iter_mut().filter(|button| button.control.report == number) {
            let Some(is_on) = button.control.is_on(report) else { continue };
            if std::mem::replace(&mut button.was_on, is_on) == is_on {
                continue;
            }
            let event = |pressed| ButtonEvent { button: button.role, pressed };
            match button.lamp {
                None => events.push(event(is_on)),
                Some(lamp) if lit.get(&lamp) == Some(&is_on) => {}
                Some(_) => events.extend([event(true), event(false)]),
            }
        }
        events
    }

    /// The report that switches a light, its number first (0 where reports have none), as `hidraw` takes it;
    /// `None` for a light that is not there.
    pub(super) fn switch(&mut self, lamp: Lamp, on: bool) -> Option<Vec<u8>> {
        let control = self.lamps.get(&lamp)?;
        let length = self.descriptor.report_bytes(Way::Output, control.report);
        let report = self.outputs.entry(control.report).or_insert_with(|| vec![0; length]);
        control.set(report, on);
        Some([&[control.report], report.as_slice()].concat())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::{super::descriptor::tests::SPEAKERPHONE, *};

    fn telephony() -> Telephony {
        Telephony::new(&Descriptor::parse(SPEAKERPHONE)).unwrap()
    }

    fn event(button: ButtonRole, pressed: bool) -> ButtonEvent {
        ButtonEvent { button, pressed }
    }

    fn press(button: ButtonRole) -> Vec<ButtonEvent> {
        vec![event(button, true), event(button, false)]
    }

    #[test]
    fn a_speakerphone_has_its_buttons_and_lights_and_a_keyboard_has_none() {
        use ButtonRole::{Join, Mute, VolumeDown, VolumeUp};
        assert_eq!(telephony().buttons(), [Join, Mute, VolumeUp, VolumeDown]);
        assert_eq!(telephony().lamps(), Lamp::ALL);
        // A keyboard's volume keys do not make it a phone.
        assert!(Telephony::new(&Descriptor::parse(&SPEAKERPHONE[..27])).is_none());
    }

    #[test]
    fn a_relative_button_is_pressed_and_let_go() {
        let (mut telephony, lit) = (telephony(), BTreeMap::new());
        assert_eq!(telephony.report(&[2, 0b10], &lit), [event(ButtonRole::Mute, true)]);
        assert_eq!(telephony.report(&[2, 0b10], &lit), []);
        assert_eq!(telephony.report(&[2, 0b00], &lit), [event(ButtonRole::Mute, false)]);
        assert_eq!(telephony.report(&[1, 0b01], &lit), [event(ButtonRole::VolumeUp, true)]);
        assert_eq!(telephony.report(&[3, 0b11], &lit), [], "a report of something else");
    }

    #[test]
    fn a_hook_is_a_press_when_it_differs_from_the_light_and_an_echo_when_it_does_not() {
        let mut telephony = telephony();
        let lit = |on| BTreeMap::from([(Lamp::OffHook, on)]);
        assert_eq!(telephony.report(&[2, 1], &lit(false)), press(ButtonRole::Join));
        assert_eq!(telephony.report(&[2, 0], &lit(true)), press(ButtonRole::Join), "hung up");
        // The page joined, the light went on, and the device agreed; then the same at the end.
        assert_eq!(telephony.report(&[2, 1], &lit(true)), []);
        assert_eq!(telephony.report(&[2, 0], &lit(false)), []);
        // A profile without that light.
        assert_eq!(telephony.report(&[2, 1], &BTreeMap::new()), press(ButtonRole::Join));
        assert_eq!(telephony.report(&[2, 0], &BTreeMap::new()), press(ButtonRole::Join));
    }

    #[test]
    fn lights_of_one_report_keep_each_other() {
        let mut telephony = telephony();
        assert_eq!(telephony.switch(Lamp::OffHook, true).unwrap(), [2, 0b001]);
        assert_eq!(telephony.switch(Lamp::Mute, true).unwrap(), [2, 0b011]);
        assert_eq!(telephony.switch(Lamp::Ring, true).unwrap(), [2, 0b111]);
        assert_eq!(telephony.switch(Lamp::OffHook, false).unwrap(), [2, 0b110]);
    }

    proptest! {
        #[test]
        fn each_button_goes_down_and_up_in_turn_whatever_is_reported(
            reports in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..4), 0..40), lit: Option<bool>,
        ) {
            let mut telephony = telephony();
            let lit: BTreeMap<_, _> = lit.map(|lit| (Lamp::OffHook, lit)).into_iter().collect();
            let mut held = crate::held::Held::default();
            for event in reports.iter().flat_map(|report| telephony.report(report, &lit)) {
                prop_assert_eq!(held.now(event.button, event.pressed), Some(event));
            }
        }
    }
}
