//! Talkers: recordings and synthetic voices out of Debian's packages, fetched when tests run.

use std::path::PathBuf;

use crate::random::Random;
use crate::room::RATE_HZ;
use crate::{scores, wav};

/// Who talks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Talker {
    /// A woman in a studio, 16 kHz (Debian `asterisk-core-sounds-en-g722`, CC-BY-SA 3.0).
    Studio,
    /// A man of `espeak-ng` with an English voice.
    Man,
    /// A woman of `espeak-ng` with an American voice.
    Woman,
    /// Another man of `espeak-ng`, deep and slow.
    DeepMan,
    /// Another woman of `espeak-ng`, high and quick.
    HighWoman,
}

/// All of them.
pub const TALKERS: [Talker; 5] =
    [Talker::Studio, Talker::Man, Talker::Woman, Talker::DeepMan, Talker::HighWoman];

impl Talker {
    fn file(self) -> &'static str {
        match self {
            Self::Studio => "studio.wav",
            Self::Man => "man.wav",
            Self::Woman => "woman.wav",
            Self::DeepMan => "deep_man.wav",
            Self::HighWoman => "high_woman.wav",
        }
    }
}

/// What the talkers say.
pub struct Speech(Vec<Vec<f32>>);

impl Speech {
    /// Fetches the packages when they are not in the cache, and reads the talkers.
    ///
    /// # Errors
    /// When they cannot be had.
    pub fn fetch() -> anyhow::Result<Self> {
        let folder: PathBuf = xtask::setup::speech()?;
        let read = |talker: Talker| -> anyhow::Result<Vec<f32>> {
            let mut planes = wav::read(&folder.join(talker.file()))?;
            anyhow::ensure!(
                planes.first().is_some_and(|plane| plane.len() > 480_000),
                "no speech in {talker:?}"
            );
            Ok(planes.remove(0))
        };
        Ok(Self(TALKERS.iter().map(|talker| read(*talker)).collect::<anyhow::Result<_>>()?))
    }

    /// `length_s` of a talker, from a place that `seed` chooses, at an RMS of -26 dB of full scale.
    pub fn say(&self, talker: Talker, length_s: f64, seed: u64) -> Vec<f32> {
        let all = &self.0[TALKERS.iter().position(|other| *other == talker).unwrap_or(0)];
        let length = (length_s * RATE_HZ) as usize;
        let start = Random::new(seed ^ 0x7361_7921).bits() as usize % all.len();
        let mut out: Vec<f32> = all.iter().cycle().skip(start).take(length).copied().collect();
        let gain = 10_f64.powf((-26.0 - scores::level_db(&out)) / 20.0) as f32;
        out.iter_mut().for_each(|sample| *sample *= gain);
        out
    }
}
