//! Opus packets to samples, whatever the packets hold.

use crate::AudioError;
use crate::level::sane;
use crate::redundancy::Redundancy;
use opusic_c::dred::Dred;
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

/// Whether it was encoded in two channels (RFC 6716 §3.1).
pub(crate) fn is_stereo(opus: &[u8]) -> bool {
    opus.first().is_some_and(|toc| toc & 4 != 0)
}

/// The longest gap that is filled from the packet after it: 240 ms.
pub(crate) const MAX_RECOVERED: usize = 11_520;

/// From this effort on the decoder hides loss with its neural vocoder; more would need weights that are not there.
const CONCEAL_WELL: u8 = 5;

/// An Opus decoder that never gives anything but sound.
pub(crate) struct SafeDecoder {
    decoder: Dred,
    channels: usize,
    buffer: Vec<f32>,
}

/// What the decoder makes sound of.
#[derive(Clone, Copy)]
enum Source<'a> {
    Packet(&'a [u8]),
    Correction(&'a [u8]),
    Deep(&'a [u8]),
    Nothing,
}

impl SafeDecoder {
    pub(crate) fn new(channels: usize) -> Result<Self, AudioError> {
        let layout = match channels {
            1 => Channels::Mono,
            2 => Channels::Stereo,
            _ => return Err(AudioError::SpeakerChannels { channels }),
        };
        let mut decoder =
            Decoder::new(layout, SampleRate::Hz48000).map_err(AudioError::opus("a decoder at 48 kHz"))?;
        decoder.set_complexity(CONCEAL_WELL).map_err(AudioError::opus("the decoder's effort"))?;
        let decoder = Dred::new(decoder).map_err(AudioError::opus("a decoder of deep redundancy"))?;
        Ok(Self { decoder, channels, buffer: vec![0.0; MAX_RECOVERED * channels] })
    }

    pub(crate) fn reset(&mut self) {
        // The part for deep redundancy keeps nothing from one packet to the next, and refuses a reset.
        let reset = self.decoder.decoder_mut().reset();
        debug_assert!(reset.is_ok());
    }

    /// The sound of a packet of `samples` a channel, interleaved; concealed when it cannot be decoded.
    pub(crate) fn decode(&mut self, opus: &[u8], samples: usize) -> &[f32] {
        self.run(Source::Packet(opus), samples)
    }

    /// `samples` a channel (a multiple of 120) in place of what was lost right before `following`: from its deep
    /// redundancy, from its copy of the packet before, or made up, as `redundancy` says.
    pub(crate) fn recover(&mut self, following: &[u8], redundancy: Redundancy, samples: usize) -> &[f32] {
        let one_packet = samples <= samples_of(following).unwrap_or(0) as usize;
        let from = if redundancy.correction && (one_packet || redundancy.deep == 0) {
            Source::Correction(following)
        } else if redundancy.deep > 0 {
            Source::Deep(following)
        } else {
            Source::Nothing
        };
        self.run(from, samples)
    }

    /// `samples` a channel (a multiple of 120) in place of what is missing.
    pub(crate) fn conceal(&mut self, samples: usize) -> &[f32] {
        self.run(Source::Nothing, samples)
    }

    fn run(&mut self, from: Source<'_>, samples: usize) -> &[f32] {
        let wanted = samples.min(MAX_RECOVERED) * self.channels;
        let buffer = &mut self.buffer[..wanted];
        let plain = self.decoder.decoder_mut();
        let decoded = match from {
            Source::Packet(opus) => plain.decode_float_to_slice(opus, buffer, false),
            Source::Correction(following) => plain.decode_float_to_slice(following, buffer, true),
            // The crate decodes as much as the buffer takes, from that long before the packet on.
            Source::Deep(following) => self.decoder.decode_float_to_slice(following, buffer),
            Source::Nothing => plain.decode_float_to_slice(&[], buffer, false),
        };
        let decoded =
            decoded.or_else(|_| self.decoder.decoder_mut().decode_float_to_slice(&[], buffer, false));
        let good = (decoded.unwrap_or(0) * self.channels).min(wanted);
        let poisoned = buffer[..good].iter().any(|sample| !sample.is_finite());
        for sample in &mut buffer[..good] {
            *sample = sane(*sample);
        }
        buffer[good..].fill(0.0);
        if poisoned {
            self.reset();
        }
        &self.buffer[..wanted]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::PacketEncoder;
    use crate::opus_policy::OpusSettings;
    use crate::redundancy::redundancy_of;
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
        let Ok(mut encoder) = PacketEncoder::voice(&OpusSettings::default()) else { return Vec::new() };
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
                let says = redundancy_of(packet);
                let deep = Redundancy { correction: false, deep: 9_600 };
                let recovered = [says, deep].map(|of| decoder.recover(packet, of, 2_880).to_vec());
                for sound in recovered.into_iter().chain([decoder.decode(packet, samples).to_vec()]) {
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
