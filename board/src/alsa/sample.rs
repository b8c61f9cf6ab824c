//! Samples as devices have them, and as -1.0..=1.0.

use alsa::pcm::Format;

/// Formats that the driver understands; the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SampleFormat {
    F32,
    S32,
    /// 24 bits in 3 bytes.
    S24In3,
    /// 24 bits in the low bytes of 4.
    S24,
    S16,
}

impl SampleFormat {
    pub(super) const ALL: [Self; 5] = [Self::F32, Self::S32, Self::S24In3, Self::S24, Self::S16];

    /// ALSA's name for it. Devices are little-endian whatever the processor is.
    pub(super) fn alsa(self) -> Format {
        match self {
            Self::F32 => Format::FloatLE,
            Self::S32 => Format::S32LE,
            Self::S24In3 => Format::S243LE,
            Self::S24 => Format::S24LE,
            Self::S16 => Format::S16LE,
        }
    }

    /// Bytes of one sample.
    pub(super) fn bytes(self) -> usize {
        match self {
            Self::F32 | Self::S32 | Self::S24 => 4,
            Self::S24In3 => 3,
            Self::S16 => 2,
        }
    }

    /// Takes `to.len()` samples out of `from`, -1.0..=1.0.
    pub(super) fn decode(self, from: &[u8], to: &mut [f32]) {
        match self {
            Self::F32 => each::<4>(from, to, f32::from_le_bytes),
            Self::S32 => each::<4>(from, to, |b| from_32_bits(i32::from_le_bytes(b))),
            Self::S24In3 => each::<3>(from, to, |[a, b, c]| from_32_bits(i32::from_le_bytes([0, a, b, c]))),
            // The fourth byte is undefined.
            Self::S24 => {
                each::<4>(from, to, |[a, b, c, _]| from_32_bits(i32::from_le_bytes([0, a, b, c])));
            }
            Self::S16 => each::<2>(from, to, |b| f32::from(i16::from_le_bytes(b)) / 32_768.0),
        }
    }

    /// Puts samples of -1.0..=1.0 into `to`; what is louder is clipped.
    pub(super) fn encode(self, from: impl Iterator<Item = f32>, to: &mut [u8]) {
        for (bytes, sample) in to.chunks_exact_mut(self.bytes()).zip(from) {
            match self {
                Self::F32 => bytes.copy_from_slice(&sample.to_le_bytes()),
                // A cast of a float clips.
                Self::S32 => bytes.copy_from_slice(&((sample * 2_147_483_648.0) as i32).to_le_bytes()),
                Self::S24In3 => bytes.copy_from_slice(&to_24_bits(sample).to_le_bytes()[..3]),
                Self::S24 => bytes.copy_from_slice(&to_24_bits(sample).to_le_bytes()),
                Self::S16 => bytes.copy_from_slice(&((sample * 32_768.0).round() as i16).to_le_bytes()),
            }
        }
    }
}

fn each<const N: usize>(from: &[u8], to: &mut [f32], decode: impl Fn([u8; N]) -> f32) {
    let (samples, _) = from.as_chunks::<N>();
    for (to, from) in to.iter_mut().zip(samples) {
        *to = decode(*from);
    }
}

/// A float has 24 bits: halves of the last one are rounded.
fn from_32_bits(sample: i32) -> f32 {
    sample as f32 / 2_147_483_648.0
}

fn to_24_bits(sample: f32) -> i32 {
    ((sample * 8_388_608.0).round() as i32).clamp(-8_388_608, 8_388_607)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn there_and_back(format: SampleFormat, samples: &[f32]) -> Vec<f32> {
        let mut bytes = vec![0; samples.len() * format.bytes()];
        format.encode(samples.iter().copied(), &mut bytes);
        let mut back = vec![0.0; samples.len()];
        format.decode(&bytes, &mut back);
        back
    }

    proptest! {
        #[test]
        fn samples_come_back_within_one_step(samples in prop::collection::vec(-1.0..=1.0_f32, 1..20)) {
            for format in SampleFormat::ALL {
                let step = if format == SampleFormat::S16 { 1.0 / 32_768.0 } else { 1.0 / 8_388_608.0 };
                for (got, want) in there_and_back(format, &samples).iter().zip(&samples) {
                    prop_assert!((got - want).abs() <= step, "{format:?}: {got}, not {want}");
                }
            }
        }

        #[test]
        fn no_bytes_panic(bytes: Vec<u8>, samples: Vec<f32>) {
            for format in SampleFormat::ALL {
                format.decode(&bytes, &mut vec![0.0; samples.len()]);
                there_and_back(format, &samples);
            }
        }
    }

    #[test]
    fn what_is_too_loud_is_clipped_and_keeps_its_sign() {
        for format in [SampleFormat::S32, SampleFormat::S24In3, SampleFormat::S24, SampleFormat::S16] {
            let back = there_and_back(format, &[1.5, -1.5]);
            assert!(back[0] > 0.999 && back[1] == -1.0, "{format:?}: {back:?}");
        }
    }

    #[test]
    fn an_undefined_byte_is_not_looked_at() {
        let mut samples = [0.0];
        SampleFormat::S24.decode(&[0, 0, 0xc0, 0x55], &mut samples);
        assert_eq!(samples, [-0.5]);
    }
}
