//! Opus packets to samples, whatever the packets hold.

use crate::AudioError;
use crate::level::sane;
use opusic_c::{Channels, Decoder, SampleRate};

/// The longest packet, 120 ms (RFC 6716 §3.2.5).
pub(crate) const MAX_SAMPLES: usize = 5_760;

/// Samples of a channel at 48 kHz in a packet, from its table of contents (RFC 6716 §3.1); `None` when it is
/// none.
pub(crate) fn samples_of(opus: &[u8]) -> Option<u32> {
    let toc = *opus.first()?;
    let frame = match toc >> 3 {
        config @ 0..=11 => [480, 960, 1_920, 2_880][usize::from(config & 3)],
        config @ 12..=15 => [480, 960][usize::from(config & 1)],
        config => [120, 240, 480, 960][usize::from(config & 3)],
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u32::from(*opus.get(1)? & 0x3f),
    };
    let samples = frame * frames;
    (1..=MAX_SAMPLES as u32).contains(&samples).then_some(samples)
}

/// An Opus decoder that never gives anything but sound.
pub(crate) struct SafeDecoder {
    decoder: Decoder,
    channels: usize,
    buffer: Vec<f32>,
}

impl SafeDecoder {
    pub(crate) fn new(channels: usize) -> Result<Self, AudioError> {
        let layout = match channels {
            1 => Channels::Mono,
            2 => Channels::Stereo,
            _ => return Err(AudioError::SpeakerChannels { channels }),
        };
        let decoder =
            Decoder::new(layout, SampleRate::Hz48000).map_err(AudioError::opus("a decoder at 48 kHz"))?;
        Ok(Self { decoder, channels, buffer: vec![0.0; MAX_SAMPLES * channels] })
    }

    pub(crate) fn reset(&mut self) {
        let reset = self.decoder.reset();
        debug_assert!(reset.is_ok());
    }

    /// The sound of a packet of `samples` a channel, interleaved; concealed when it cannot be decoded.
    pub(crate) fn decode(&mut self, opus: &[u8], samples: usize) -> &[f32] {
        self.run(opus, samples, false)
    }

    /// `samples` a channel in place of what was lost before `following`, from its error correction where it
    /// has any.
    pub(crate) fn recover(&mut self, following: &[u8], samples: usize) -> &[f32] {
        self.run(following, samples, true)
    }

    /// `samples` a channel (a multiple of 120) in place of what is missing.
    pub(crate) fn conceal(&mut self, samples: usize) -> &[f32] {
        self.run(&[], samples, false)
    }

    fn run(&mut self, opus: &[u8], samples: usize, correction: bool) -> &[f32] {
        let wanted = samples.min(MAX_SAMPLES) * self.channels;
        let buffer = &mut self.buffer[..wanted];
        let mut decoded = self.decoder.decode_float_to_slice(opus, buffer, correction);
        if decoded.is_err() && !opus.is_empty() {
            decoded = self.decoder.decode_float_to_slice(&[], buffer, false);
        }
        let good = decoded.unwrap_or(0) * self.channels;
        let poisoned = buffer[..good.min(wanted)].iter().any(|sample| !sample.is_finite());
        for sample in &mut buffer[..good.min(wanted)] {
            *sample = sane(*sample);
        }
        buffer[good.min(wanted)..].fill(0.0);
        if poisoned {
            self.reset();
        }
        &self.buffer[..wanted]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::VoiceOptions;
    use crate::encode::PacketEncoder;
    use proptest::prelude::*;

    #[test]
    fn lengths_are_those_of_rfc_6716() {
        assert_eq!(samples_of(&[]), None);
        // 20 ms of full-band CELT; the same in code 1; hybrid of 10 ms; SILK of 60 ms.
        assert_eq!(samples_of(&[31 << 3]), Some(960));
        assert_eq!(samples_of(&[(31 << 3) | 1]), Some(1_920));
        assert_eq!(samples_of(&[14 << 3]), Some(480));
        assert_eq!(samples_of(&[3 << 3]), Some(2_880));
        assert_eq!(samples_of(&[(31 << 3) | 3]), None);
        assert_eq!(samples_of(&[(31 << 3) | 3, 0]), None);
        assert_eq!(samples_of(&[(31 << 3) | 3, 6]), Some(5_760));
        assert_eq!(samples_of(&[(31 << 3) | 3, 7]), None);
    }

    /// A second of packets that hold silence.
    fn silence() -> Vec<Vec<u8>> {
        let Ok(mut encoder) = PacketEncoder::voice(&VoiceOptions::default()) else { return Vec::new() };
        (0..50)
            .filter_map(|_| {
                encoder.add(std::iter::repeat_n(0.0, 960));
                encoder.encode().map(|(opus, _)| opus.to_vec())
            })
            .collect()
    }

    proptest! {
        #[test]
        fn garbage_decodes_to_sound_and_spoils_nothing(
            packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..80), 1..20),
        ) {
            let silence = silence();
            let Ok(mut decoder) = SafeDecoder::new(2) else { return Err(TestCaseError::fail("no decoder")) };
            for packet in &packets {
                let samples = samples_of(packet).unwrap_or(960) as usize;
                for sound in [decoder.decode(packet, samples).to_vec(), decoder.recover(packet, 960).to_vec()] {
                    prop_assert!(sound.iter().all(|s| s.is_finite() && s.abs() <= 2.0));
                }
            }
            let mut level = 0.0_f32;
            for packet in &silence {
                level = decoder.decode(packet, 960).iter().fold(0.0, |peak, s| peak.max(s.abs()));
            }
            prop_assert!(level < 0.01, "still {} after a second of silence", level);
        }
    }
}
