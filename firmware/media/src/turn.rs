//! Turning and mirroring of pictures (pure).

use std::sync::Arc;

use rostrum_hal::FrameSize;

use crate::Orientation;

/// The Yuv420 picture `bytes` of `size`, turned clockwise and then, with `mirror`, its left and right
/// swapped. Its size is then `orientation.turned(size)`. `bytes` must be as long as `size` says.
pub(crate) fn turn(bytes: &[u8], size: FrameSize, orientation: Orientation, mirror: bool) -> Arc<[u8]> {
    let (w, h) = (size.width as usize, size.height as usize);
    let mut out: Vec<u8> = Vec::with_capacity(w * h * 3 / 2);
    let (luma, chroma) = bytes.split_at(w * h);
    let (u, v) = chroma.split_at(w * h / 4);
    plane(luma, w, h, orientation, mirror, &mut out);
    plane(u, w / 2, h / 2, orientation, mirror, &mut out);
    plane(&v[..w * h / 4], w / 2, h / 2, orientation, mirror, &mut out);
    out.into()
}

/// One plane of `w` x `h`.
fn plane(from: &[u8], w: usize, h: usize, orientation: Orientation, mirror: bool, out: &mut Vec<u8>) {
    let rows = from.chunks_exact(w);
    match (orientation, mirror) {
        (Orientation::Upright, false) => out.extend_from_slice(from),
        (Orientation::Upright, true) => rows.for_each(|row| out.extend(row.iter().rev())),
        (Orientation::Down, false) => out.extend(from.iter().rev()),
        (Orientation::Down, true) => rows.rev().for_each(|row| out.extend_from_slice(row)),
        (Orientation::Right | Orientation::Left, _) => {
            let start = out.len();
            out.resize(start + w * h, 0);
            let to = &mut out[start..];
            // Clockwise: the source's row y becomes the column h-1-y, top to bottom. Counter-clockwise:
            // column y, bottom to top. Mirrored, the columns are counted from the other side.
            let clockwise = orientation == Orientation::Right;
            // Blocks keep both sides in the cache.
            const BLOCK: usize = 16;
            for top in (0..h).step_by(BLOCK) {
                for left in (0..w).step_by(BLOCK) {
                    for y in top..(top + BLOCK).min(h) {
                        let column = if clockwise != mirror { h - 1 - y } else { y };
                        for x in left..(left + BLOCK).min(w) {
                            let row = if clockwise { x } else { w - 1 - x };
                            to[row * h + column] = from[y * w + x];
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// 4x2: luma 1..=8, chroma one row of two samples each.
    const SIZE: FrameSize = FrameSize::new(4, 2);
    const PICTURE: [u8; 12] = [1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 20, 21];

    #[test]
    fn each_orientation_turns_clockwise() {
        let turned = |orientation, mirror| turn(&PICTURE, SIZE, orientation, mirror).to_vec();
        assert_eq!(turned(Orientation::Upright, true), [4, 3, 2, 1, 8, 7, 6, 5, 11, 10, 21, 20]);
        assert_eq!(turned(Orientation::Right, false), [5, 1, 6, 2, 7, 3, 8, 4, 10, 11, 20, 21]);
        assert_eq!(turned(Orientation::Right, true), [1, 5, 2, 6, 3, 7, 4, 8, 10, 11, 20, 21]);
        assert_eq!(turned(Orientation::Down, false), [8, 7, 6, 5, 4, 3, 2, 1, 11, 10, 21, 20]);
        assert_eq!(turned(Orientation::Down, true), [5, 6, 7, 8, 1, 2, 3, 4, 10, 11, 20, 21]);
        assert_eq!(turned(Orientation::Left, false), [4, 8, 3, 7, 2, 6, 1, 5, 11, 10, 21, 20]);
    }

    proptest! {
        #[test]
        fn a_full_circle_and_two_mirrors_change_nothing(w in 1u32..40, h in 1u32..40, seed: u8) {
            let size = FrameSize::new(w * 2, h * 2);
            let length = (size.width * size.height * 3 / 2) as usize;
            let picture: Vec<u8> = (0..length).map(|i| (i as u8).wrapping_mul(31).wrapping_add(seed)).collect();
            let mut turned: Arc<[u8]> = picture.clone().into();
            for step in 0..4 {
                let now = if step % 2 == 0 { size } else { FrameSize::new(size.height, size.width) };
                turned = turn(&turned, now, Orientation::Right, false);
            }
            prop_assert_eq!(&turned[..], &picture[..]);
            for orientation in [Orientation::Upright, Orientation::Right, Orientation::Down, Orientation::Left] {
                let mirrored = turn(&picture, size, orientation, true);
                let again = turn(&mirrored, orientation.turned(size), Orientation::Upright, true);
                prop_assert_eq!(again, turn(&picture, size, orientation, false));
            }
        }
    }
}
