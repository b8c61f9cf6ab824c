//! The sound cards that there are, for `probe`.

use std::ffi::CString;

use alsa::{
    Card, Ctl, Direction, Output,
    pcm::{HwParams, PCM},
};

use super::{
    cards::{self, card_of},
    mixer::volumes,
    pcm::{PcmError, RATES_HZ},
    sample::SampleFormat,
};
use crate::probe::sounds::{Goes, Sound};

/// Every PCM of every card, once for each direction that it has. Starts none.
pub(crate) fn sounds() -> Vec<Sound> {
    // ALSA says on standard error what the list says. The handler is this thread's.
    let _said = Output::local_error_handler().ok();
    let ways = [(Direction::Capture, Goes::In), (Direction::Playback, Goes::Out)];
    let all = ways.into_iter().flat_map(|(direction, goes)| {
        cards::pcms(direction).into_iter().map(move |(device, title)| sound(device, &title, direction, goes))
    });
    all.collect()
}

/// The id of a PCM's card; empty when its name has none.
pub(crate) fn card(device: &str) -> &str {
    card_of(device).unwrap_or_default()
}

fn sound(device: String, title: &str, direction: Direction, goes: Goes) -> Sound {
    // Its second line says what a plug-in of user space does.
    let title = title.lines().next().unwrap_or_default().to_owned();
    let card = card(&device).to_owned();
    let driver = driver(&card).unwrap_or_default();
    let mut sound = Sound { device, title, goes, driver, ..Sound::default() };
    sound.volumes = volumes(&card, direction);
    if let Err(error) = ask(&mut sound, direction) {
        sound.problem = Some(error.message());
    }
    sound
}

/// The driver of a card, such as `USB-Audio`.
fn driver(card: &str) -> Option<String> {
    let card = Card::from_str(&CString::new(card).ok()?).ok()?;
    Some(Ctl::from_card(&card, true).ok()?.card_info().ok()?.get_driver().ok()?.to_owned())
}

/// What the hardware offers.
fn ask(sound: &mut Sound, direction: Direction) -> Result<(), PcmError> {
    let name = CString::new(sound.device.as_str()).map_err(|_| PcmError::Gone)?;
    let pcm = PCM::open(&name, direction, true)?;
    let hardware = HwParams::any(&pcm)?;
    hardware.set_rate_resample(false)?;
    sound.channels = (hardware.get_channels_min()?, hardware.get_channels_max()?);
    sound.rates_hz = RATES_HZ.into_iter().filter(|rate| hardware.test_rate(*rate).is_ok()).collect();
    sound.rates_hz.sort_unstable();
    let usable = SampleFormat::ALL.into_iter().filter(|format| hardware.test_format(format.alsa()).is_ok());
    sound.formats = usable.map(|format| format.alsa().to_string()).collect();
    Ok(())
}
