//! Which mode, plane and size a screen gets. Pure.
//!
//! The plane, when the profile leaves it open: the one behind all others if it takes the room's own format, as then
//! nothing has to be converted; else a free overlay that takes it; else the one behind all others.

use rostrum_hal::FrameSize;
use serde::Deserialize;

use crate::screen::Rotation;

/// The room's picture has at most this many pixels on its long and its short side, unless the profile asks for more.
const LARGEST: (u32, u32) = (1920, 1080);
/// The size of a room's picture while no screen says another.
const WITHOUT_A_SCREEN: FrameSize = FrameSize::new(LARGEST.0, LARGEST.1);

/// The mode that a profile asks for: "preferred", "1920x1080" or "1920x1080@60".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) enum WantedMode {
    /// What the screen itself prefers.
    #[default]
    Preferred,
    /// A size, and pictures a second; the most of them when left out.
    Given(FrameSize, Option<u32>),
}

impl TryFrom<String> for WantedMode {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text == "preferred" {
            return Ok(Self::Preferred);
        }
        let read = || {
            let (size, rate) = match text.split_once('@') {
                Some((size, rate)) => (size, Some(rate.parse().ok()?)),
                None => (text.as_str(), None),
            };
            let (width, height) = size.split_once('x')?;
            Some(Self::Given(FrameSize::new(width.parse().ok()?, height.parse().ok()?), rate))
        };
        read().ok_or_else(|| {
            format!("mode is \"preferred\", or like \"1920x1080\" or \"1920x1080@60\", not \"{text}\"")
        })
    }
}

/// One mode of a screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mode {
    pub(super) size: FrameSize,
    /// Pictures a second, rounded.
    pub(super) rate_hz: u32,
    pub(super) preferred: bool,
    pub(super) interlaced: bool,
}

impl std::fmt::Display for Mode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}", self.size, self.rate_hz)
    }
}

/// The mode of `modes` that is wanted and whether it really is; the screen's own choice when it has no such mode, as any
/// picture is better than none. `None` for a screen without modes.
pub(super) fn mode(modes: &[Mode], wanted: WantedMode) -> Option<(usize, bool)> {
    let best = |fits: &dyn Fn(&Mode) -> bool| {
        let fitting = modes.iter().enumerate().filter(|(_, mode)| fits(mode));
        // The first of the best.
        fitting.rev().max_by_key(|(_, mode)| (!mode.interlaced, mode.rate_hz)).map(|(index, _)| index)
    };
    if let WantedMode::Given(size, rate) = wanted
        && let Some(index) = best(&|mode| mode.size == size && rate.is_none_or(|rate| rate == mode.rate_hz))
    {
        return Some((index, true));
    }
    let own = modes.iter().position(|mode| mode.preferred).or((!modes.is_empty()).then_some(0))?;
    Some((own, wanted == WantedMode::Preferred))
}

/// The plane that a profile asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum WantedPlane {
    /// See the rule above.
    #[default]
    Auto,
    /// The one behind all others, which every screen has.
    Primary,
    /// One over it.
    Overlay,
}

/// What a plane is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PlaneKind {
    Primary,
    Overlay,
    Cursor,
}

/// One plane that can be on the screen and is not in use.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plane {
    pub(super) kind: PlaneKind,
    /// Takes planar YUV of 4:2:0, as decoders and the room's picture have it.
    pub(super) yuv: bool,
}

/// The plane of `planes` for `wanted`.
pub(super) fn plane(planes: &[Plane], wanted: WantedPlane) -> Option<usize> {
    let first = |kind, yuv: bool| planes.iter().position(|plane| plane.kind == kind && (plane.yuv || !yuv));
    let primary = || first(PlaneKind::Primary, false);
    let overlay = |yuv| first(PlaneKind::Overlay, yuv);
    match wanted {
        WantedPlane::Primary => primary(),
        WantedPlane::Overlay => overlay(true).or_else(|| overlay(false)),
        WantedPlane::Auto => first(PlaneKind::Primary, true).or_else(|| overlay(true)).or_else(primary),
    }
}

/// The size of the room's picture for a screen that shows `shown`, if one does: not more than 1080p, and turned.
pub(super) fn room_size(shown: Option<FrameSize>, rotation: Rotation) -> FrameSize {
    let FrameSize { width, height } = rotation.of(shown.unwrap_or(WITHOUT_A_SCREEN));
    let (long, short) = (f64::from(width.max(height).max(1)), f64::from(width.min(height).max(1)));
    let scale = (f64::from(LARGEST.0) / long).min(f64::from(LARGEST.1) / short).min(1.0);
    // To multiples of 4, so that it can be turned.
    let side = |pixels: u32| ((f64::from(pixels) * scale) as u32 & !3).max(64);
    FrameSize::new(side(width), side(height))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn offer(width: u32, height: u32, rate_hz: u32) -> Mode {
        Mode { size: FrameSize::new(width, height), rate_hz, preferred: false, interlaced: false }
    }

    fn wanted(text: &str) -> WantedMode {
        WantedMode::try_from(text.to_owned()).unwrap()
    }

    #[test]
    fn a_mode_is_read_and_a_wrong_one_shows_how_it_is_written() {
        assert_eq!(wanted("preferred"), WantedMode::Preferred);
        assert_eq!(wanted("1920x1080@60"), WantedMode::Given(FrameSize::new(1920, 1080), Some(60)));
        assert_eq!(wanted("1280x720"), WantedMode::Given(FrameSize::new(1280, 720), None));
        for wrong in ["", "1080p", "1920x", "1920x1080@", "1920x1080@fast"] {
            let error = WantedMode::try_from(wrong.to_owned()).unwrap_err();
            assert!(error.contains("1920x1080@60"), "{error}");
        }
    }

    #[test]
    fn the_wanted_mode_is_found_by_size_and_rate() {
        let mut modes = [offer(1280, 720, 60), offer(1920, 1080, 60), offer(1920, 1080, 60)];
        modes[1].interlaced = true;
        assert_eq!(mode(&modes, wanted("1920x1080@60")), Some((2, true)), "whole pictures before halves");
        let modes = [offer(1920, 1080, 24), offer(1920, 1080, 60), offer(1920, 1080, 50)];
        assert_eq!(mode(&modes, wanted("1920x1080@50")), Some((2, true)));
        assert_eq!(mode(&modes, wanted("1920x1080")), Some((1, true)), "the most pictures a second");
    }

    #[test]
    fn a_screen_without_the_wanted_mode_gets_its_own() {
        let mut modes = [offer(640, 480, 60), offer(1024, 768, 60)];
        assert_eq!(mode(&modes, wanted("1920x1080")), Some((0, false)));
        modes[1].preferred = true;
        assert_eq!(mode(&modes, wanted("1920x1080")), Some((1, false)));
        assert_eq!(mode(&modes, WantedMode::Preferred), Some((1, true)));
        assert_eq!(mode(&[], WantedMode::Preferred), None);
    }

    #[test]
    fn the_plane_is_the_one_that_needs_no_conversion() {
        let plane_of = |kind, yuv| Plane { kind, yuv };
        let (primary, overlay) = (PlaneKind::Primary, PlaneKind::Overlay);
        let auto = |planes: &[Plane]| plane(planes, WantedPlane::Auto);
        assert_eq!(auto(&[plane_of(primary, false), plane_of(overlay, true)]), Some(1));
        assert_eq!(auto(&[plane_of(primary, true), plane_of(overlay, true)]), Some(0));
        assert_eq!(auto(&[plane_of(primary, false), plane_of(overlay, false)]), Some(0));
        let both = [plane_of(primary, true), plane_of(overlay, false), plane_of(overlay, true)];
        assert_eq!(plane(&both, WantedPlane::Overlay), Some(2));
        assert_eq!(plane(&both[..1], WantedPlane::Overlay), None);
        assert_eq!(plane(&both, WantedPlane::Primary), Some(0));
    }

    #[test]
    fn the_rooms_picture_is_the_screens_up_to_1080p() {
        let of = |width, height, rotation| room_size(Some(FrameSize::new(width, height)), rotation);
        assert_eq!(of(1280, 720, Rotation::None), FrameSize::new(1280, 720));
        assert_eq!(of(3840, 2160, Rotation::None), FrameSize::new(1920, 1080));
        assert_eq!(of(1920, 1080, Rotation::Quarter), FrameSize::new(1080, 1920));
        assert_eq!(of(1366, 768, Rotation::None), FrameSize::new(1364, 768));
        assert_eq!(of(3440, 1440, Rotation::Half), FrameSize::new(1920, 800));
        assert_eq!(room_size(None, Rotation::None), FrameSize::new(1920, 1080));
    }
}
