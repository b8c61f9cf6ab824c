//! Driver `alsa`: microphones and speakers that are PCM devices of ALSA, at 48 kHz in periods of 10 ms
//! whatever the card runs at.
//!
//! Cards are named by their id (`hw:CARD=Array`, as `arecord -L` and `aplay -L` list them), which stays when
//! their number changes, and are opened again by it after they were unplugged. One that is in use when the
//! board is opened is waited for; so is one that is not there when the board may be opened without
//! ([`OpenOptions::later`](crate::OpenOptions)).

mod cards;
mod clock;
pub(crate) mod listing;
pub(crate) mod microphones;
mod mixer;
mod pcm;
mod resample;
mod sample;
pub(crate) mod speaker;
mod use_case;

use self::{
    mixer::MixerOptions,
    pcm::{Pcm, PcmError, Wanted},
    use_case::{UseCase, UseCaseOptions},
};
use crate::{BoardError, drivers::Device, error::Failure};

/// What the drivers take and give, whatever the card runs at.
const RATE_HZ: u32 = 48_000;
const PERIOD_FRAMES: usize = 480;
const PERIOD: std::time::Duration = std::time::Duration::from_millis(10);

fn forty_eight_kilohertz() -> u32 {
    RATE_HZ
}

/// How the card itself is set up.
#[derive(Clone, Debug, Default)]
struct CardOptions {
    mixer: Option<MixerOptions>,
    use_case: Option<UseCaseOptions>,
}

/// Checks the keys that both have.
fn check(device: &Device<'_>, wanted: &Wanted, card: &CardOptions) -> Result<(), BoardError> {
    if wanted.device.contains('\0') {
        return Err(device.wrong("device is the name of a PCM, such as hw:CARD=Array"));
    }
    if !(8_000..=192_000).contains(&wanted.rate_hz) || !wanted.rate_hz.is_multiple_of(100) {
        return Err(device.wrong("rate_hz is 8000 to 192000, a multiple of 100"));
    }
    if !(2..=64).contains(&wanted.periods) {
        return Err(device.wrong("periods is 2 to 64"));
    }
    let mixer = card.mixer.as_ref().map(|mixer| mixer.check(&wanted.device));
    let use_case = card.use_case.as_ref().map(|case| case.check(&wanted.device));
    mixer.into_iter().chain(use_case).collect::<Result<(), _>>().map_err(|message| device.wrong(message))
}

/// A device that is opened again by itself after it was unplugged or used by another program.
struct Kept<S> {
    wanted: Wanted,
    card: CardOptions,
    /// `None` while the device is not there.
    stream: Option<S>,
    /// After the stream, as it is dropped after it: a codec is not switched off under what plays.
    use_case: Option<UseCase>,
}

impl<S> Kept<S> {
    /// Opens the device of a section for the first time; one that another program has is waited for.
    fn open(
        device: &Device<'_>,
        wanted: Wanted,
        card: CardOptions,
        stream: impl FnOnce(Pcm) -> Result<S, String>,
    ) -> Result<Self, BoardError> {
        check(device, &wanted, &card)?;
        let name = format!("the sound device {}", wanted.device);
        let of_failure = name.clone();
        let unusable = |message| device.failed(Failure::Unusable { name: of_failure.clone(), message });
        // A card that is not there has no use cases either, and its name is what people need to read.
        let is_there = cards::is_there(&wanted.device);
        let use_case = card.use_case.as_ref().filter(|_| is_there).map(|case| case.apply(&wanted.device));
        let use_case = use_case.transpose().map_err(|failure| device.failed(failure))?;
        let pcm = match Pcm::open(&wanted) {
            Ok(pcm) => Some(pcm),
            Err(PcmError::Busy) => None,
            Err(PcmError::Gone) => {
                let hint = cards::present(wanted.direction);
                device.now_or_later::<()>(Err(Failure::Absent { name, hint }))?;
                return Ok(Self { wanted, card, stream: None, use_case: None });
            }
            Err(error) => return Err(unusable(error.message())),
        };
        if let Some(mixer) = &card.mixer {
            let applied = mixer.apply(&wanted.device, wanted.direction);
            applied.map_err(|failure| device.failed(failure))?;
        }
        let stream = pcm.map(stream).transpose().map_err(unusable)?;
        Ok(Self { wanted, card, stream, use_case })
    }

    /// Name of the device.
    fn name(&self) -> String {
        self.wanted.device.clone()
    }

    /// Works with the device, which is opened by `stream` when it is not. After an error it is closed, so that
    /// a card that was pulled out can go.
    fn with<T>(
        &mut self,
        stream: impl FnOnce(Pcm) -> Result<S, String>,
        work: impl FnOnce(&mut S) -> Result<T, PcmError>,
    ) -> Result<T, PcmError> {
        let result = match &mut self.stream {
            Some(stream) => work(stream),
            closed => open_again(&self.wanted, &self.card, &mut self.use_case, stream)
                .and_then(|stream| work(closed.insert(stream))),
        };
        if result.is_err() {
            self.stream = None;
            // A card that stays is not switched back and forth with each try.
            if !cards::is_there(&self.wanted.device) {
                self.use_case = None;
            }
        }
        result
    }
}

fn open_again<S>(
    wanted: &Wanted,
    card: &CardOptions,
    use_case: &mut Option<UseCase>,
    stream: impl FnOnce(Pcm) -> Result<S, String>,
) -> Result<S, PcmError> {
    if let (Some(options), None) = (&card.use_case, &use_case)
        && cards::is_there(&wanted.device)
    {
        let applied = options.apply(&wanted.device);
        *use_case = Some(applied.map_err(|failure| PcmError::Failed(failure.to_string()))?);
    }
    let pcm = Pcm::open(wanted)?;
    // It works without, at the wrong level.
    if let Some(Err(error)) = card.mixer.as_ref().map(|mixer| mixer.apply(&wanted.device, wanted.direction)) {
        log::warn!(device = wanted.device.as_str(), error:%; "the card's own volume stays as it is");
    }
    stream(pcm).map_err(PcmError::Failed)
}
