//! Loudness as RTP carries it.

/// Level below overload: 0 is the loudest, 127 silence (RFC 6464 §3: the negative of dBov).
pub type Dbov = u8;

/// What silence measures.
pub const SILENCE: Dbov = 127;

/// RMS of `samples` (full scale 1.0) in RFC 6464's units. No samples are silence.
pub(crate) fn dbov(samples: &[f32]) -> Dbov {
    if samples.is_empty() {
        return SILENCE;
    }
    let mean = samples.iter().map(|s| f64::from(*s) * f64::from(*s)).sum::<f64>() / samples.len() as f64;
    if mean < 1e-13 {
        return SILENCE;
    }
    (-10.0 * mean.log10()).round().clamp(0.0, 127.0) as u8
}

/// What is no number becomes silence; what is beyond twice full scale was no sound.
pub(crate) fn sane(sample: f32) -> f32 {
    if sample.is_finite() { sample.clamp(-2.0, 2.0) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_those_of_rfc_6464() {
        assert_eq!(dbov(&[]), SILENCE);
        assert_eq!(dbov(&[0.0; 480]), SILENCE);
        assert_eq!(dbov(&[1.0; 480]), 0);
        assert_eq!(dbov(&[0.1; 480]), 20);
        assert_eq!(dbov(&[4.0; 480]), 0);
    }
}
