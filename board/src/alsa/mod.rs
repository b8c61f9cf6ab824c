//! Driver `alsa`: microphones and speakers that are PCM devices of ALSA, at 48 kHz in periods of 10 ms
//! whatever the card runs at.
//!
//! Cards are named by their id (`hw:CARD=Array`, as `arecord -L` and `aplay -L` list them), which stays when
//! their number changes, and are opened again by it after they were unplugged. One that is in use when the
//! board is opened is waited for; one that is not there is an error, as a misspelt name is.

mod cards;
mod clock;
pub(crate) mod listing;
pub(crate) mod microphones;
mod mixer;
mod pcm;
mod resample;
mod sample;
pub(crate) mod speaker;

use self::{
    mixer::MixerOptions,
    pcm::{Pcm, PcmError, Wanted},
};
use crate::{BoardError, drivers::Device, error::Failure};

/// What the drivers take and give, whatever the card runs at.
const RATE_HZ: u32 = 48_000;
const PERIOD_FRAMES: usize = 480;
const PERIOD: std::time::Duration = std::time::Duration::from_millis(10);

fn forty_eight_kilohertz() -> u32 {
    RATE_HZ
}

/// Checks the keys that both have.
fn check(device: &Device<'_>, wanted: &Wanted, mixer: Option<&MixerOptions>) -> Result<(), BoardError> {
    if wanted.device.contains('\0') {
        return Err(device.wrong("device is the name of a PCM, such as hw:CARD=Array"));
    }
    if !(8_000..=192_000).contains(&wanted.rate_hz) || !wanted.rate_hz.is_multiple_of(100) {
        return Err(device.wrong("rate_hz is 8000 to 192000, a multiple of 100"));
    }
    if !(2..=64).contains(&wanted.periods) {
        return Err(device.wrong("periods is 2 to 64"));
    }
    mixer.map_or(Ok(()), |mixer| mixer.check(&wanted.device).map_err(|message| device.wrong(message)))
}

/// Opens the device of a section for the first time; `None` when another program has it still.
fn open_first<T>(
    device: &Device<'_>,
    wanted: &Wanted,
    mixer: Option<&MixerOptions>,
    stream: impl FnOnce(Pcm) -> Result<T, String>,
) -> Result<Option<T>, BoardError> {
    let name = format!("the sound device {}", wanted.device);
    let unusable = |message: String| device.failed(Failure::Unusable { name: name.clone(), message });
    let pcm = match Pcm::open(wanted) {
        Ok(pcm) => Some(pcm),
        Err(PcmError::Busy) => None,
        Err(PcmError::Gone) => return Err(device.absent(name, cards::present(wanted.direction))),
        Err(error) => return Err(unusable(error.message())),
    };
    if let Some(mixer) = mixer {
        let applied = mixer.apply(&wanted.device, wanted.direction);
        applied.map_err(|failure| device.failed(failure))?;
    }
    pcm.map(stream).transpose().map_err(unusable)
}

/// Opens a device again, after it was unplugged or used by another program.
fn open_again<T>(
    wanted: &Wanted,
    mixer: Option<&MixerOptions>,
    stream: impl FnOnce(Pcm) -> Result<T, String>,
) -> Result<T, PcmError> {
    let pcm = Pcm::open(wanted)?;
    // It works without, at the wrong level.
    if let Some(Err(error)) = mixer.map(|mixer| mixer.apply(&wanted.device, wanted.direction)) {
        log::warn!(device = wanted.device.as_str(), error:%; "the card's own volume stays as it is");
    }
    stream(pcm).map_err(PcmError::Failed)
}
