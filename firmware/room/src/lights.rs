//! What the lights show.

use crate::{Phase, Signals};
use rostrum_hal::indicator::Signal;
use std::time::Duration;

const DIM_WHITE: Signal = Signal { rgb: [40, 40, 40], blink: None };
const AMBER: Signal = Signal { rgb: [255, 140, 0], blink: None };
const SLOW: Duration = Duration::from_millis(500);
const FAST: Duration = Duration::from_millis(250);

/// The lights of a room: a fault shows over every phase, mute and meeting are told by their own lights alone.
pub(crate) fn signals(phase: Phase, faulty: bool, muted: bool) -> Signals {
    let status = match phase {
        _ if faulty => Signal::RED.blinking(FAST),
        Phase::Idle => DIM_WHITE,
        Phase::Joining => Signal::GREEN.blinking(SLOW),
        Phase::InChannel => Signal::GREEN,
        Phase::Reconnecting => AMBER.blinking(SLOW),
        Phase::Leaving => DIM_WHITE.blinking(SLOW),
    };
    Signals {
        status,
        mute: if muted { Signal::RED } else { Signal::OFF },
        meeting: if phase.in_meeting() { Signal::RED } else { Signal::OFF },
    }
}
