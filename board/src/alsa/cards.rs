//! Sound cards by name.

use std::ffi::CString;

use alsa::{Card, Direction, device_name::HintIter};

/// The card that a PCM's name has in it: its id, or its number.
///
/// Names are `kind:CARD=card,DEV=0` or `kind:card,0`; the second is only known of kinds whose first argument
/// is a card.
pub(super) fn card_of(device: &str) -> Option<&str> {
    const KINDS: [&str; 8] = ["hw", "plughw", "sysdefault", "dsnoop", "dmix", "front", "iec958", "hdmi"];
    let (kind, arguments) = device.split_once(':')?;
    let named = arguments.split(',').find_map(|argument| argument.trim().strip_prefix("CARD="));
    let first = arguments.split(',').next().filter(|first| KINDS.contains(&kind) && !first.contains('='));
    named.or(first).filter(|card| !card.is_empty())
}

/// Every PCM of a card that goes in that direction: its name and what its driver calls it.
pub(super) fn pcms(direction: Direction) -> Vec<(String, String)> {
    let hints = HintIter::new(None, c"pcm").into_iter().flatten();
    let mut found: Vec<_> = hints
        .filter(|hint| hint.direction.is_none_or(|d| d == direction))
        .filter_map(|hint| Some((hint.name?, hint.desc.unwrap_or_default())))
        .filter(|(name, _)| name.starts_with("hw:"))
        .collect();
    found.dedup();
    found
}

/// Whether the card that a PCM's name has in it is there; so is what has none in it.
pub(super) fn is_there(device: &str) -> bool {
    card_of(device).is_none_or(|card| CString::new(card).is_ok_and(|card| Card::from_str(&card).is_ok()))
}

/// What to say of a device that is not there: those that are.
pub(super) fn present(direction: Direction) -> String {
    let names: Vec<_> = pcms(direction).into_iter().map(|(name, _)| name).collect();
    let does = match direction {
        Direction::Capture => "captures",
        Direction::Playback => "plays",
    };
    if names.is_empty() {
        format!("this machine has no sound card that {does}; plug it in, or load its driver")
    } else {
        format!("there are {}", names.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_is_found_in_the_names_that_have_one() {
        for (device, card) in [
            ("hw:CARD=Array", Some("Array")),
            ("plughw:CARD=Array,DEV=1", Some("Array")),
            ("hw:DEV=1,CARD=Array", Some("Array")),
            ("anything:CARD=2", Some("2")),
            ("hw:Loopback,1,0", Some("Loopback")),
            ("hw:0", Some("0")),
            ("hw:", None),
            ("default", None),
            ("null", None),
            ("file:/tmp/x,raw", None),
        ] {
            assert_eq!(card_of(device), card, "{device}");
        }
    }
}
