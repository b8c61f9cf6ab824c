//! Which simulcast layers a picture is sent in (pure).
//!
//! Sizes follow LiveKit's simulcast presets (livekit-client, `publishUtils.ts`): low at most 360p, mid at
//! most 720p, high at most 1080p, where "p" is the shorter side.

use rostrum_hal::FrameSize;

use crate::PictureSettings;

/// One of the three simulcast encodings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LayerId {
    /// At most 360p; RID `q`.
    Low,
    /// At most 720p; RID `h`.
    Mid,
    /// At most 1080p; RID `f`.
    High,
}

impl LayerId {
    /// All, lowest first.
    pub const ALL: [Self; 3] = [Self::Low, Self::Mid, Self::High];

    /// LiveKit's restriction identifier (RFC 8851) of the layer.
    pub fn rid(self) -> &'static str {
        match self {
            Self::Low => "q",
            Self::Mid => "h",
            Self::High => "f",
        }
    }

    /// The layer of a restriction identifier.
    pub fn from_rid(rid: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|layer| layer.rid() == rid)
    }

    pub(crate) fn index(self) -> usize {
        match self {
            Self::Low => 0,
            Self::Mid => 1,
            Self::High => 2,
        }
    }
}

/// One encoding of the camera track.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Layer {
    /// Which.
    pub rid: LayerId,
    /// Pixels; both even.
    pub size: FrameSize,
    /// Frames a second.
    pub frame_rate_hz: f64,
    /// Bits a second beyond which the picture gains little.
    pub bitrate_bps: u32,
}

/// The layers of a camera that gives `source`, highest first as LiveKit offers them; none when the room
/// is audio only.
///
/// A source of 960x540 and more fills three, of 640x360 and more two (mid and low), a smaller one only
/// the lowest. Layers keep the source's aspect ratio.
pub fn layers_for(source: FrameSize, settings: &PictureSettings) -> Vec<Layer> {
    if settings.audio_only || source.width < 2 || source.height < 2 {
        return Vec::new();
    }
    let top = limit(settings.orientation.turned(source), settings.max_size);
    let short = top.width.min(top.height);
    let shorts: &[u32] = match short {
        960.. => &[short, 720, 360],
        540.. => &[short, short / 2, short / 4],
        360.. => &[short, short / 2],
        _ => &[short],
    };
    let frame_rate_hz = settings.frame_rate();
    shorts
        .iter()
        .enumerate()
        .map(|(index, &side)| {
            let size = with_short_side(top, side);
            let rid = LayerId::ALL[shorts.len() - 1 - index];
            Layer { rid, size, frame_rate_hz, bitrate_bps: full_bitrate(size, frame_rate_hz) }
        })
        .collect()
}

/// `size`, made smaller to be within 1080p and `max`, both sides even.
fn limit(size: FrameSize, max: FrameSize) -> FrameSize {
    let (long, short) = (size.width.max(size.height), size.width.min(size.height));
    let max_long = max.width.max(max.height).clamp(64, 16_384);
    let max_short = max.width.min(max.height).clamp(64, 1080);
    // The factor as a fraction, exact: the tighter of the two limits.
    let (numerator, denominator) =
        if u64::from(max_long) * u64::from(short) <= u64::from(max_short) * u64::from(long) {
            (max_long, long)
        } else {
            (max_short, short)
        };
    if numerator >= denominator {
        return FrameSize::new(even(size.width), even(size.height));
    }
    FrameSize::new(scaled(size.width, numerator, denominator), scaled(size.height, numerator, denominator))
}

/// `size` with its shorter side `side`, both sides even.
pub(crate) fn with_short_side(size: FrameSize, side: u32) -> FrameSize {
    let short = size.width.min(size.height);
    if side >= short {
        return size;
    }
    FrameSize::new(scaled(size.width, side, short), scaled(size.height, side, short))
}

fn scaled(length: u32, numerator: u32, denominator: u32) -> u32 {
    let exact = f64::from(length) * f64::from(numerator) / f64::from(denominator);
    // Lengths are at most 16384, so the cast is exact after rounding.
    even((exact / 2.0).round() as u32 * 2)
}

fn even(length: u32) -> u32 {
    (length & !1).max(2)
}

/// Bits a second for a real-time H.264 encoder at `size` and `frame_rate_hz`, interpolated between
/// LiveKit's presets with some more for constrained baseline.
fn full_bitrate(size: FrameSize, frame_rate_hz: f64) -> u32 {
    const PRESETS: [(f64, f64); 5] = [
        (320.0 * 180.0, 180_000.0),
        (640.0 * 360.0, 550_000.0),
        (960.0 * 540.0, 1_100_000.0),
        (1280.0 * 720.0, 2_000_000.0),
        (1920.0 * 1080.0, 3_500_000.0),
    ];
    let pixels = f64::from(size.width) * f64::from(size.height);
    let mut at_30 = PRESETS[0].1 * (pixels / PRESETS[0].0).powf(0.75);
    for pair in PRESETS.windows(2) {
        if pixels >= pair[0].0 {
            let part = (pixels / pair[0].0).ln() / (pair[1].0 / pair[0].0).ln();
            at_30 = pair[0].1 * (pair[1].1 / pair[0].1).powf(part);
        }
    }
    // Twice the frames differ less from each other: not twice the bits.
    (at_30 * (frame_rate_hz / 30.0).powf(0.7)).clamp(30_000.0, 8_000_000.0) as u32
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::Orientation;
    use proptest::prelude::*;

    fn sizes(width: u32, height: u32, settings: &PictureSettings) -> Vec<(&'static str, u32, u32)> {
        layers_for(FrameSize::new(width, height), settings)
            .iter()
            .map(|l| (l.rid.rid(), l.size.width, l.size.height))
            .collect()
    }

    #[test]
    fn the_sizes_are_the_designs() {
        let s = PictureSettings::default();
        assert_eq!(sizes(1920, 1080, &s), [("f", 1920, 1080), ("h", 1280, 720), ("q", 640, 360)]);
        assert_eq!(sizes(1280, 720, &s), [("f", 1280, 720), ("h", 640, 360), ("q", 320, 180)]);
        assert_eq!(sizes(1024, 576, &s), [("f", 1024, 576), ("h", 512, 288), ("q", 256, 144)]);
        assert_eq!(sizes(640, 360, &s), [("h", 640, 360), ("q", 320, 180)]);
        assert_eq!(sizes(640, 480, &s), [("h", 640, 480), ("q", 320, 240)]);
        assert_eq!(sizes(320, 180, &s), [("q", 320, 180)]);
        assert_eq!(sizes(3840, 2160, &s), [("f", 1920, 1080), ("h", 1280, 720), ("q", 640, 360)]);
    }

    #[test]
    fn a_quarter_turn_makes_portrait_layers() {
        let s = PictureSettings { orientation: Orientation::Right, ..Default::default() };
        assert_eq!(sizes(1280, 720, &s), [("f", 720, 1280), ("h", 360, 640), ("q", 180, 320)]);
    }

    #[test]
    fn the_largest_size_is_kept_whichever_way_it_is_written() {
        for (w, h) in [(640, 360), (360, 640)] {
            let s = PictureSettings { max_size: FrameSize::new(w, h), ..Default::default() };
            assert_eq!(sizes(1920, 1080, &s), [("h", 640, 360), ("q", 320, 180)]);
        }
    }

    #[test]
    fn audio_only_sends_no_layer() {
        let s = PictureSettings { audio_only: true, ..Default::default() };
        assert_eq!(sizes(1280, 720, &s), []);
    }

    proptest! {
        #[test]
        fn layers_keep_their_limits_and_the_aspect(w in 2u32..=8192, h in 2u32..=8192, max_w in 0u32..5000, max_h in 0u32..5000, rate in 0.0f64..200.0) {
            let source = FrameSize::new(w & !1, h & !1);
            let settings = PictureSettings { max_size: FrameSize::new(max_w, max_h), frame_rate_hz: rate, ..Default::default() };
            let layers = layers_for(source, &settings);
            prop_assert!(!layers.is_empty() && layers.len() <= 3);
            for pair in layers.windows(2) {
                prop_assert!(pair[0].rid > pair[1].rid);
                prop_assert!(pair[0].size.width > pair[1].size.width || pair[0].size.height > pair[1].size.height);
                prop_assert!(pair[0].bitrate_bps >= pair[1].bitrate_bps);
            }
            for layer in &layers {
                let (width, height) = (layer.size.width, layer.size.height);
                let limit = match layer.rid { LayerId::Low => 360, LayerId::Mid => 720, LayerId::High => 1080 };
                prop_assert!(width.min(height) <= limit);
                prop_assert!(width % 2 == 0 && height % 2 == 0 && width >= 2 && height >= 2);
                prop_assert!(width <= source.width && height <= source.height);
                prop_assert!((1.0..=60.0).contains(&layer.frame_rate_hz));
                // Equal aspect within the rounding to even sides.
                let aspect = f64::from(source.width) / f64::from(source.height);
                let off = (f64::from(width) - f64::from(height) * aspect).abs();
                prop_assert!(off <= 2.0 + 2.0 * aspect, "{source} -> {}", layer.size);
            }
        }
    }
}
