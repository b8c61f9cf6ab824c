//! Which simulcast layer a subscriber gets.

use std::time::Duration;

use livekit_protocol::VideoQuality;

/// Layers of one track: low, mid, high.
pub const MAX_LAYERS: usize = 3;

/// A layer counts as not sent any more after this long without a packet.
pub const INACTIVE_AFTER: Duration = Duration::from_millis(1_000);

/// The sizes of layers by the design, for seats and tracks that say none.
pub const INDEX_SIZES: [(u32, u32); MAX_LAYERS] = [(320, 180), (640, 360), (1280, 720)];

/// The highest temporal layer of `layers` that makes `wanted` frames a second out of `all` that there are.
pub fn temporal_for(wanted_fps: u32, all_fps: f32, layers: u8) -> u8 {
    let top = layers.saturating_sub(1);
    // Each temporal layer doubles the frames of those below it; a tenth less is not seen.
    let enough = |layer: &u8| all_fps / f32::from(1u16 << (top - layer).min(7)) >= wanted_fps as f32 * 0.9;
    if wanted_fps == 0 { u8::MAX } else { (0..top).find(enough).unwrap_or(u8::MAX) }
}

/// The layer that the RID at `position` of `rids` means: where all are LiveKit's, `q`, `h`, `f` are low, mid,
/// high; else they are taken in the order of the offer, best first (RFC 8853 §5.1).
pub fn index_of_rid<R: AsRef<str>>(rids: &[R], position: usize) -> usize {
    let by_name = |rid: &R| match rid.as_ref() {
        "q" => Some(0),
        "h" => Some(1),
        "f" => Some(2),
        _ => None,
    };
    let by_order = rids.len().saturating_sub(position + 1).min(MAX_LAYERS - 1);
    match rids.get(position) {
        // A name is LiveKit's only among LiveKit's: `h`, `m`, `l` are somebody else's.
        Some(rid) if rids.iter().all(|rid| by_name(rid).is_some()) => by_name(rid).unwrap_or(by_order),
        _ => by_order,
    }
}

/// The layer of a quality as LiveKit names it; `None` for "off".
pub fn index_of_quality(quality: VideoQuality) -> Option<usize> {
    match quality {
        VideoQuality::Low => Some(0),
        VideoQuality::Medium => Some(1),
        VideoQuality::High => Some(2),
        VideoQuality::Off => None,
    }
}

/// The quality of a layer.
pub fn quality_of_index(index: usize) -> VideoQuality {
    match index {
        0 => VideoQuality::Low,
        1 => VideoQuality::Medium,
        _ => VideoQuality::High,
    }
}

/// The smallest layer that fills a picture of `wanted` (width, height) without visible enlargement (10 %);
/// the highest when none does. Layers without a known size are passed over.
pub fn index_for_size(sizes: &[Option<(u32, u32)>; MAX_LAYERS], wanted: (u32, u32)) -> usize {
    let edge = |(width, height): (u32, u32)| u64::from(width.min(height));
    let needed = edge(wanted) * 9 / 10;
    let fits = |size: &Option<(u32, u32)>| size.is_some_and(|size| size.0 > 0 && edge(size) >= needed);
    sizes.iter().position(fits).unwrap_or(MAX_LAYERS - 1)
}

/// The layer to aim at: the highest that is sent and not above `wanted`, else the lowest that is sent.
pub fn choose(active: [bool; MAX_LAYERS], wanted: usize) -> Option<usize> {
    let at_most = active.iter().take(wanted + 1).rposition(|active| *active);
    at_most.or_else(|| active.iter().position(|active| *active))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SIZES: [Option<(u32, u32)>; 3] = [Some((320, 180)), Some((640, 360)), Some((1280, 720))];

    #[test]
    fn rids_of_livekit_are_known_and_others_go_by_order() {
        let all = |rids: &[&str]| (0..rids.len()).map(|at| index_of_rid(rids, at)).collect::<Vec<_>>();
        assert_eq!(all(&["q", "h", "f"]), [0, 1, 2]);
        assert_eq!(all(&["f", "h", "q"]), [2, 1, 0]);
        assert_eq!(all(&["f", "q"]), [2, 0]);
        assert_eq!(all(&["hi", "lo"]), [1, 0]);
        assert_eq!(all(&["h", "m", "l"]), [2, 1, 0], "half, of one, and high, of the other, share a name");
    }

    #[test]
    fn a_small_seat_gets_a_small_layer() {
        assert_eq!(index_for_size(&SIZES, (320, 180)), 0);
        assert_eq!(index_for_size(&SIZES, (340, 190)), 0, "a few pixels more are not worth a layer");
        assert_eq!(index_for_size(&SIZES, (640, 360)), 1);
        assert_eq!(index_for_size(&SIZES, (1000, 600)), 2);
        assert_eq!(index_for_size(&SIZES, (3840, 2160)), 2);
        assert_eq!(index_for_size(&[None; 3], (10, 10)), 2);
    }

    #[test]
    fn what_is_not_sent_is_not_chosen() {
        assert_eq!(choose([true, true, true], 2), Some(2));
        assert_eq!(choose([true, true, false], 2), Some(1));
        assert_eq!(choose([false, false, true], 0), Some(2), "better too good than nothing");
        assert_eq!(choose([false; 3], 2), None);
    }

    #[test]
    fn fewer_frames_are_made_by_temporal_layers() {
        assert_eq!(temporal_for(30, 30.0, 3), u8::MAX);
        assert_eq!(temporal_for(15, 30.0, 3), 1);
        assert_eq!(temporal_for(7, 30.0, 3), 0);
        assert_eq!(temporal_for(5, 30.0, 1), u8::MAX, "there is nothing to leave out");
        assert_eq!(temporal_for(0, 30.0, 3), u8::MAX, "nothing was asked for");
    }

    proptest! {
        #[test]
        fn a_choice_is_always_active(active: [bool; 3], wanted in 0usize..3) {
            match choose(active, wanted) {
                Some(index) => prop_assert!(active[index]),
                None => prop_assert_eq!(active, [false; 3]),
            }
        }
    }
}
