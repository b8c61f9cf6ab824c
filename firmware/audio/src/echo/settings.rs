//! Settings of AEC3. Names, units and defaults are WebRTC's (`api/audio/echo_canceller3_config.h`).

use crate::AudioError;
use aec3::api::EchoCanceller3Config;
use aec3::api::config::{MaskingThresholds, Tuning};
use std::ops::RangeInclusive;

/// Milliseconds of its blocks.
const BLOCK_MS: u16 = 4;
/// Ratios of energies.
const RATIOS: RangeInclusive<f32> = 0.0..=100.0;

/// How AEC3 works, where [`crate::EchoControl::Aec3`] is chosen.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Aec3Settings {
    /// How long an echo its linear filter models, 48..=400 ms in steps of 4. The longer, the more is left to it and the
    /// less to the suppressor; computing grows with it.
    pub filter_ms: u16,
    /// The suppressor while the far end is heard.
    pub normal: Aec3Suppressor,
    /// The suppressor while somebody in the room dominates.
    pub nearend: Aec3Suppressor,
    /// When somebody in the room dominates.
    pub dominant_nearend: Aec3Nearend,
    /// The most that is left above 8 kHz while there is an echo, a factor, 0.0..=1.0.
    pub max_gain_during_echo: f32,
}

/// What the suppressor takes.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Aec3Suppressor {
    /// Below some 0.7 kHz.
    pub mask_lf: Aec3Mask,
    /// Above 1 kHz.
    pub mask_hf: Aec3Mask,
    /// How much more may be left in a block than in the one before, a factor, 0.0..=100.0.
    pub max_inc_factor: f32,
    /// How much less may be left of low notes, a factor, 0.0..=100.0.
    pub max_dec_factor_lf: f32,
}

/// From when on an echo is taken; ratios of energies, 0.0..=100.0.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Aec3Mask {
    /// Echo to near end up to which all is left.
    pub enr_transparent: f32,
    /// Echo to near end from which on all is taken; not below the one before.
    pub enr_suppress: f32,
    /// Echo to noise up to which all is left.
    pub emr_transparent: f32,
}

/// When somebody in the room dominates.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Aec3Nearend {
    /// Echo to near end below which the near end dominates, 0.0..=100.0.
    pub enr_threshold: f32,
    /// Echo to near end from which on it does so no longer, 0.0..=100.0.
    pub enr_exit_threshold: f32,
    /// Near end to noise from which on it is somebody, 0.0..=1000.0.
    pub snr_threshold: f32,
    /// How long it goes on, ms in steps of 4, up to 4000.
    pub hold_ms: u16,
    /// How long it has to be so before, ms in steps of 4, up to 4000.
    pub trigger_ms: u16,
}

const fn mask(enr_transparent: f32, enr_suppress: f32) -> Aec3Mask {
    Aec3Mask { enr_transparent, enr_suppress, emr_transparent: 0.3 }
}

impl Default for Aec3Settings {
    fn default() -> Self {
        let suppressor = |mask_lf, mask_hf| Aec3Suppressor {
            mask_lf,
            mask_hf,
            max_inc_factor: 2.0,
            max_dec_factor_lf: 0.25,
        };
        Self {
            filter_ms: 52,
            normal: suppressor(mask(0.3, 0.4), mask(0.07, 0.1)),
            nearend: suppressor(mask(1.09, 1.1), mask(0.1, 0.3)),
            dominant_nearend: Aec3Nearend {
                enr_threshold: 0.25,
                enr_exit_threshold: 10.0,
                snr_threshold: 30.0,
                hold_ms: 200,
                trigger_ms: 48,
            },
            max_gain_during_echo: 1.0,
        }
    }
}

impl Aec3Settings {
    /// # Errors
    /// The first of them that is out of its range.
    pub(crate) fn check(&self) -> Result<(), AudioError> {
        let within = |key: &'static str, value: f32, range: RangeInclusive<f32>| {
            let (least, most) = (*range.start(), *range.end());
            if range.contains(&value) { Ok(()) } else { Err(AudioError::Aec3 { key, least, most }) }
        };
        within("filter_ms", f32::from(self.filter_ms), 48.0..=400.0)?;
        within("max_gain_during_echo", self.max_gain_during_echo, 0.0..=1.0)?;
        for one in [&self.normal, &self.nearend] {
            within("max_inc_factor", one.max_inc_factor, RATIOS)?;
            within("max_dec_factor_lf", one.max_dec_factor_lf, RATIOS)?;
            for mask in [&one.mask_lf, &one.mask_hf] {
                within("enr_transparent", mask.enr_transparent, RATIOS)?;
                within("enr_suppress", mask.enr_suppress, mask.enr_transparent..=100.0)?;
                within("emr_transparent", mask.emr_transparent, RATIOS)?;
            }
        }
        let near = &self.dominant_nearend;
        within("enr_threshold", near.enr_threshold, RATIOS)?;
        within("enr_exit_threshold", near.enr_exit_threshold, RATIOS)?;
        within("snr_threshold", near.snr_threshold, 0.0..=1000.0)?;
        within("hold_ms", f32::from(near.hold_ms), 0.0..=4000.0)?;
        within("trigger_ms", f32::from(near.trigger_ms), 0.0..=4000.0)
    }

    /// As the crate has them, with its linear output.
    pub(super) fn of_the_crate(&self) -> EchoCanceller3Config {
        let blocks = |ms: u16| usize::from(ms / BLOCK_MS);
        let mut config = EchoCanceller3Config::default();
        let filter = &mut config.filter;
        filter.main.length_blocks = blocks(self.filter_ms);
        filter.shadow.length_blocks = blocks(self.filter_ms);
        // It begins a block shorter, as WebRTC's own does.
        filter.main_initial.length_blocks = blocks(self.filter_ms) - 1;
        filter.shadow_initial.length_blocks = blocks(self.filter_ms) - 1;
        filter.export_linear_aec_output = true;
        let suppressor = &mut config.suppressor;
        suppressor.normal_tuning = self.normal.of_the_crate();
        suppressor.nearend_tuning = self.nearend.of_the_crate();
        suppressor.high_bands_suppression.max_gain_during_echo = self.max_gain_during_echo;
        let (to, from) = (&mut suppressor.dominant_nearend_detection, &self.dominant_nearend);
        to.enr_threshold = from.enr_threshold;
        to.enr_exit_threshold = from.enr_exit_threshold;
        to.snr_threshold = from.snr_threshold;
        to.hold_duration = blocks(from.hold_ms);
        to.trigger_threshold = blocks(from.trigger_ms);
        config
    }
}

impl Aec3Suppressor {
    fn of_the_crate(&self) -> Tuning {
        let mask = |mask: &Aec3Mask| {
            MaskingThresholds::new(mask.enr_transparent, mask.enr_suppress, mask.emr_transparent)
        };
        Tuning::new(mask(&self.mask_lf), mask(&self.mask_hf), self.max_inc_factor, self.max_dec_factor_lf)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn without_a_setting_it_is_as_webrtc_ships_it() {
        let mut shipped = EchoCanceller3Config::default();
        shipped.filter.export_linear_aec_output = true;
        assert_eq!(Aec3Settings::default().of_the_crate(), shipped);
        Aec3Settings::default().check().unwrap();
    }

    #[test]
    fn what_passes_the_check_is_what_the_crate_takes() {
        for filter_ms in [48, 49, 52, 400] {
            let settings = Aec3Settings { filter_ms, max_gain_during_echo: 0.1, ..Aec3Settings::default() };
            settings.check().unwrap();
            assert!(settings.of_the_crate().validate(), "{filter_ms} ms");
        }
    }

    #[test]
    fn a_setting_out_of_its_range_is_told_with_the_range() {
        let wrong = Aec3Settings { filter_ms: 401, ..Aec3Settings::default() };
        assert!(wrong.check().unwrap_err().to_string().contains("filter_ms"));
        let mut wrong = Aec3Settings::default();
        wrong.nearend.mask_hf.enr_suppress = 0.05;
        let error = wrong.check().unwrap_err().to_string();
        assert!(error.contains("enr_suppress") && error.contains("0.1 to 100"), "{error}");
        wrong.nearend.mask_hf.enr_suppress = f32::NAN;
        assert!(wrong.check().is_err());
    }
}
