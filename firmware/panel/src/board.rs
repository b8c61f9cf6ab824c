//! What a person in front of the virtual board sees and can break.

use std::collections::BTreeMap;

use rostrum_hal::indicator::IndicatorRole;
use rostrum_hal::sim::{self, Fault};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::state::{Indicators, Light};

/// The virtual board as it is now. This is what its lights really show, not what they should.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BoardState {
    /// What its lights show; a light that the board lacks is dark.
    pub indicators: Indicators,
    /// Its buttons by role (`join`, `mute`, `volume_up`, `volume_down`, `reset`), and whether each is held down.
    pub buttons: BTreeMap<String, bool>,
    /// Its hardware switch cuts the microphones.
    pub mute_switch_cut: bool,
    /// All faults that can be injected, and whether each is.
    pub faults: BTreeMap<String, bool>,
}

impl From<sim::BoardState> for BoardState {
    fn from(board: sim::BoardState) -> Self {
        let light = |role| board.indicators.get(&role).copied().map(Light::from).unwrap_or_default();
        Self {
            indicators: Indicators { status: light(IndicatorRole::Status), mute: light(IndicatorRole::Mute) },
            buttons: board.buttons.iter().map(|(&role, &held)| (name_of(role), held)).collect(),
            mute_switch_cut: board.mute_switch_cut,
            faults: Fault::ALL
                .into_iter()
                .map(|fault| (fault.name().to_owned(), board.faults.contains(&fault)))
                .collect(),
        }
    }
}

/// Name of a value of an enum in the interface.
pub(crate) fn name_of(value: impl Serialize + std::fmt::Debug) -> String {
    match serde_json::to_value(&value) {
        Ok(serde_json::Value::String(name)) => name,
        _ => format!("{value:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rostrum_hal::buttons::ButtonRole;
    use rostrum_hal::sim::{VirtualBoard, VirtualBoardOptions};

    #[test]
    fn the_board_shows_all_its_buttons_and_faults() {
        let board = VirtualBoard::new(VirtualBoardOptions::default());
        board.press(ButtonRole::Mute, true);
        board.set_fault(Fault::SpeakerGone, true);
        let seen = BoardState::from(board.state());
        assert_eq!(seen.buttons.get("mute"), Some(&true));
        assert_eq!(seen.buttons.get("volume_up"), Some(&false));
        assert_eq!(seen.faults.get("speaker_gone"), Some(&true));
        assert_eq!(seen.faults.len(), Fault::ALL.len());
    }
}
