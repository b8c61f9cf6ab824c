//! A card's own volume and mute, set when it is opened: cards come up muted, or as another program left them.

use alsa::{
    Direction,
    mixer::{Mixer, Selem, SelemId},
};
use serde::Deserialize;

use super::cards;
use crate::error::Failure;

/// Key `mixer`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MixerOptions {
    /// Name of a simple mixer control, as `amixer scontrols` lists them.
    control: String,
    /// Its number among those of one name.
    #[serde(default)]
    index: u32,
    /// Percent of its range, 0 to 100.
    level_percent: u8,
}

impl MixerOptions {
    /// What is wrong with the keys for this device.
    pub(super) fn check(&self, device: &str) -> Result<(), &'static str> {
        if self.level_percent > 100 || self.control.contains('\0') {
            return Err("mixer has a level_percent of 0 to 100 and the name of a control");
        }
        cards::card_of(device).map(drop).ok_or("mixer needs a device with a card, such as hw:CARD=Array")
    }

    /// Sets the level and takes away the mute.
    pub(super) fn apply(&self, device: &str, direction: Direction) -> Result<(), Failure> {
        let card = format!("hw:{}", cards::card_of(device).unwrap_or_default());
        let unusable = |e: alsa::Error| Failure::Unusable {
            name: format!("the mixer of {card}"),
            message: e.to_string(),
        };
        let mixer = Mixer::new(&card, false).map_err(unusable)?;
        let Some(control) = mixer.find_selem(&SelemId::new(&self.control, self.index)) else {
            let name = format!("the mixer control {} of {card}", self.control);
            return Err(Failure::Absent { name, hint: present(&mixer) });
        };
        self.set(&control, direction).map_err(unusable)
    }

    fn set(&self, control: &Selem<'_>, direction: Direction) -> alsa::Result<()> {
        let level = |(least, most): (i64, i64)| least + (most - least) * i64::from(self.level_percent) / 100;
        match direction {
            Direction::Playback => {
                if control.has_playback_volume() {
                    control.set_playback_volume_all(level(control.get_playback_volume_range()))?;
                }
                if control.has_playback_switch() {
                    control.set_playback_switch_all(1)?;
                }
            }
            Direction::Capture => {
                if control.has_capture_volume() {
                    control.set_capture_volume_all(level(control.get_capture_volume_range()))?;
                }
                if control.has_capture_switch() {
                    control.set_capture_switch_all(1)?;
                }
            }
        }
        Ok(())
    }
}

fn present(mixer: &Mixer) -> String {
    let names: Vec<_> = controls(mixer).into_iter().map(|(name, _)| name).collect();
    if names.is_empty() { "it has none".into() } else { format!("it has {}", names.join(", ")) }
}

fn controls(mixer: &Mixer) -> Vec<(String, Selem<'_>)> {
    let controls = mixer.iter().filter_map(Selem::new);
    controls.filter_map(|control| Some((control.get_id().get_name().ok()?.to_owned(), control))).collect()
}

/// Names of a card's controls that have a volume in that direction.
pub(super) fn volumes(card: &str, direction: Direction) -> Vec<String> {
    let Ok(mixer) = Mixer::new(&format!("hw:{card}"), false) else { return Vec::new() };
    let has_volume = |control: &Selem<'_>| match direction {
        Direction::Playback => control.has_playback_volume(),
        Direction::Capture => control.has_capture_volume(),
    };
    controls(&mixer).into_iter().filter(|(_, control)| has_volume(control)).map(|(name, _)| name).collect()
}
