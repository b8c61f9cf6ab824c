//! What the lights show.

use crate::{Phase, Reset, Signals, Update};
use rostrum_hal::indicator::Signal;
use std::time::Duration;

const DIM_WHITE: Signal = Signal { rgb: [40, 40, 40], blink: None };
const WHITE: Signal = Signal { rgb: [255, 255, 255], blink: None };
const BLUE: Signal = Signal { rgb: [0, 80, 255], blink: None };
const AMBER: Signal = Signal { rgb: [255, 140, 0], blink: None };
const SLOW: Duration = Duration::from_millis(500);
const FAST: Duration = Duration::from_millis(250);

/// Half a period of the count-down's blinking, for each second that is left: it gets faster to the end.
const COUNT_DOWN_STEP: Duration = Duration::from_millis(60);

/// The lights of a room: a reset shows over a fault, a fault over every phase, an update only in an idle room; mute and
/// meeting are told by their own lights alone.
pub(crate) fn signals(
    phase: Phase,
    faulty: bool,
    muted: bool,
    reset: Option<Reset>,
    update: Option<Update>,
) -> Signals {
    let status = match (reset, phase) {
        (Some(Reset::CountingDown { seconds_left }), _) => {
            WHITE.blinking(COUNT_DOWN_STEP * u32::from(seconds_left))
        }
        (Some(Reset::Resetting), _) => WHITE,
        _ if faulty => Signal::RED.blinking(FAST),
        (None, Phase::Idle) => match update {
            None => DIM_WHITE,
            Some(Update::Installing | Update::Checking) => BLUE.blinking(SLOW),
            Some(Update::Restarting) => BLUE.blinking(FAST),
        },
        (None, Phase::Joining) => Signal::GREEN.blinking(SLOW),
        (None, Phase::InChannel) => Signal::GREEN,
        (None, Phase::Reconnecting) => AMBER.blinking(SLOW),
        (None, Phase::Leaving) => DIM_WHITE.blinking(SLOW),
    };
    Signals {
        status,
        mute: if muted { Signal::RED } else { Signal::OFF },
        meeting: if phase.in_meeting() { Signal::RED } else { Signal::OFF },
    }
}
