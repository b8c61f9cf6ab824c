//! How the network's rate is divided over the layers (pure).
//!
//! As in libwebrtc's simulcast rate allocator: layers are served from the lowest up, each up to what it can
//! use, and a layer that cannot have its least is paused. The lowest active layer always survives.

use rostrum_hal::FrameSize;

use crate::{Layer, LayerId, Preference};

/// What a layer runs at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Grant {
    /// Which layer.
    pub rid: LayerId,
    /// Bits a second.
    pub bitrate_bps: u32,
    /// Frames a second.
    pub frame_rate_hz: f64,
    /// Pixels; at most the layer's.
    pub size: FrameSize,
}

/// Part of its full bitrate below which a layer is not worth sending at its full frame rate and size.
const LEAST: f64 = 0.35;
/// The same where the frame rate may fall.
const LEAST_SHARP: f64 = 0.12;
/// A step up needs this much more than the step down was at, so that a rate that swings does not make the
/// picture swing.
const HYSTERESIS: f64 = 1.25;
/// Bits a second that even the lowest layer needs.
const FLOOR_BPS: u32 = 30_000;
/// Shorter side below which no picture is made smaller.
const SMALLEST_SIDE: u32 = 120;

/// Divides `total_bps` over `active`, any order, of which no two have the same id. `before` is what was granted last: steps up
/// wait for some surplus. The result is highest first; what is missing in it is paused.
pub fn divide(active: &[Layer], total_bps: u32, preference: Preference, before: &[Grant]) -> Vec<Grant> {
    let mut layers = active.to_vec();
    layers.sort_by_key(|layer| layer.rid);
    let least = match preference {
        Preference::Fluency => LEAST,
        Preference::Sharpness => LEAST_SHARP,
    };
    let mut left_bps = total_bps;
    let mut grants = Vec::new();
    for layer in &layers {
        let earlier = before.iter().find(|grant| grant.rid == layer.rid);
        let lowest = grants.is_empty();
        let margin = if earlier.is_some() { 1.0 } else { HYSTERESIS };
        if !lowest && f64::from(left_bps) < f64::from(layer.bitrate_bps) * least * margin {
            break;
        }
        let mut bitrate_bps = left_bps.min(layer.bitrate_bps);
        if lowest {
            bitrate_bps = bitrate_bps.max(FLOOR_BPS);
        }
        left_bps = left_bps.saturating_sub(bitrate_bps);
        grants.push(fit(layer, bitrate_bps, preference, earlier));
    }
    grants.reverse();
    grants
}

/// Frame rate and size for `bitrate_bps`.
fn fit(layer: &Layer, bitrate_bps: u32, preference: Preference, earlier: Option<&Grant>) -> Grant {
    let share = f64::from(bitrate_bps) / f64::from(layer.bitrate_bps.max(1));
    let mut grant =
        Grant { rid: layer.rid, bitrate_bps, frame_rate_hz: layer.frame_rate_hz, size: layer.size };
    match preference {
        Preference::Sharpness => {
            // A half, a third or a sixth of the frames: steps, as each change tells the encoder.
            let steps = [(1.0, 0.6), (2.0, 0.35), (3.0, 0.2), (6.0, 0.0)];
            for (divisor, from) in steps {
                let frame_rate_hz = (layer.frame_rate_hz / divisor).max(layer.frame_rate_hz.min(5.0));
                let up = earlier.is_some_and(|grant| grant.frame_rate_hz < frame_rate_hz - 0.01);
                if share >= if up { from * HYSTERESIS } else { from } {
                    grant.frame_rate_hz = frame_rate_hz;
                    break;
                }
            }
        }
        Preference::Fluency => {
            for (divisor, from) in [(1, LEAST), (2, LEAST / 4.0), (4, 0.0)] {
                let short = layer.size.width.min(layer.size.height);
                let side = (short / divisor).max(short.min(SMALLEST_SIDE));
                let size = crate::layers::with_short_side(layer.size, side);
                let up = earlier.is_some_and(|grant| grant.size.width < size.width);
                if share >= if up { from * HYSTERESIS } else { from } {
                    grant.size = size;
                    break;
                }
            }
        }
    }
    grant
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{PictureSettings, layers_for};
    use proptest::prelude::*;

    fn layers() -> Vec<Layer> {
        layers_for(FrameSize::new(1280, 720), &PictureSettings::default())
    }

    fn ids(grants: &[Grant]) -> Vec<LayerId> {
        grants.iter().map(|grant| grant.rid).collect()
    }

    #[test]
    fn enough_for_all_gives_all_their_full_rate() {
        let grants = divide(&layers(), 10_000_000, Preference::Fluency, &[]);
        assert_eq!(ids(&grants), [LayerId::High, LayerId::Mid, LayerId::Low]);
        for (grant, layer) in grants.iter().zip(layers()) {
            assert_eq!((grant.bitrate_bps, grant.size), (layer.bitrate_bps, layer.size));
        }
    }

    #[test]
    fn the_lowest_layer_survives_nothing_at_all() {
        let grants = divide(&layers(), 0, Preference::Fluency, &[]);
        assert_eq!(ids(&grants), [LayerId::Low]);
        assert_eq!(grants[0].bitrate_bps, FLOOR_BPS);
    }

    #[test]
    fn a_lone_large_layer_gets_smaller_and_stays_fluent() {
        let high = &layers()[..1];
        let grant = divide(high, 400_000, Preference::Fluency, &[])[0];
        assert_eq!((grant.size, grant.frame_rate_hz), (FrameSize::new(640, 360), 30.0));
    }

    #[test]
    fn a_lone_large_layer_gets_slower_and_stays_sharp() {
        let high = &layers()[..1];
        let grant = divide(high, 400_000, Preference::Sharpness, &[])[0];
        assert_eq!((grant.size, grant.frame_rate_hz), (FrameSize::new(1280, 720), 10.0));
    }

    #[test]
    fn a_rate_that_swings_around_a_step_does_not_make_the_picture_swing() {
        let mut before = divide(&layers(), 10_000_000, Preference::Fluency, &[]);
        let mut changes = 0;
        for round in 0..100 {
            let total = if round % 2 == 0 { 1_400_000 } else { 1_460_000 };
            let after = divide(&layers(), total, Preference::Fluency, &before);
            changes += u32::from(ids(&after) != ids(&before));
            before = after;
        }
        assert!(changes <= 1, "{changes} changes");
    }

    proptest! {
        #[test]
        fn never_more_than_the_total_or_the_floor(total in 0u32..20_000_000, mask in 0u8..8, sharp: bool, earlier in 0u32..20_000_000) {
            let all = layers();
            let active: Vec<_> = all.iter().filter(|l| mask & (1 << l.rid.index()) != 0).copied().collect();
            let preference = if sharp { Preference::Sharpness } else { Preference::Fluency };
            let before = divide(&active, earlier, preference, &[]);
            let grants = divide(&active, total, preference, &before);
            prop_assert_eq!(grants.is_empty(), active.is_empty());
            let sum: u32 = grants.iter().map(|g| g.bitrate_bps).sum();
            prop_assert!(sum <= total.max(FLOOR_BPS));
            for grant in &grants {
                let layer = active.iter().find(|l| l.rid == grant.rid).unwrap();
                prop_assert!(grant.bitrate_bps <= layer.bitrate_bps);
                prop_assert!(grant.size.width <= layer.size.width && grant.frame_rate_hz <= layer.frame_rate_hz);
                match preference {
                    Preference::Fluency => prop_assert_eq!(grant.frame_rate_hz, layer.frame_rate_hz),
                    Preference::Sharpness => prop_assert_eq!(grant.size, layer.size),
                }
                prop_assert!(grant.frame_rate_hz >= 5.0);
            }
            // Nothing above a paused layer runs.
            let lowest_paused = active.iter().filter(|l| grants.iter().all(|g| g.rid != l.rid)).map(|l| l.rid).min();
            if let Some(paused) = lowest_paused {
                prop_assert!(grants.iter().all(|g| g.rid < paused));
            }
        }
    }
}
