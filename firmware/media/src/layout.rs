//! Where the pictures of a meeting go on the screen (pure).

use rostrum_hal::FrameSize;

/// A rectangle of pixels; all four are even, so that it covers whole chroma samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize)]
pub struct Rect {
    /// Left edge.
    pub x: u32,
    /// Top edge.
    pub y: u32,
    /// From left to right.
    pub width: u32,
    /// From top to bottom.
    pub height: u32,
}

impl Rect {
    /// A rectangle at `x`, `y`.
    pub const fn new(x: u32, y: u32, width: u32, height: u32) -> Self {
        Self { x, y, width, height }
    }

    /// Its size.
    pub const fn size(self) -> FrameSize {
        FrameSize::new(self.width, self.height)
    }

    /// Both share a pixel.
    pub fn overlaps(self, other: Self) -> bool {
        self.x < other.x + other.width
            && other.x < self.x + self.width
            && self.y < other.y + other.height
            && other.y < self.y + self.height
    }

    /// `inner` lies within it.
    pub fn contains(self, inner: Self) -> bool {
        inner.x >= self.x
            && inner.y >= self.y
            && inner.x + inner.width <= self.x + self.width
            && inner.y + inner.height <= self.y + self.height
    }
}

/// One participant's place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize)]
pub struct Cell {
    /// For the picture.
    pub picture: Rect,
    /// For the name, under the picture.
    pub name: Rect,
}

/// Everybody's place.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Layout {
    /// For what is shared, when something is.
    pub share: Option<Cell>,
    /// For the participants, in their order. Fewer than asked for when the others would be too small to
    /// see: at most 49 in the grid, and beside a share as many as the strip holds.
    pub seats: Vec<Cell>,
    /// Pixels left free around each cell, for the mark of who speaks.
    pub gap: u32,
}

/// The grid's largest number of columns and rows.
const MOST_ACROSS: u32 = 7;
/// No place of the grid is smaller.
const SMALLEST_PLACE: FrameSize = FrameSize::new(64, 44);

/// Places `seats` participants on a screen of `size` (at least 160x90): in a grid, or, when something is
/// shared, in a strip beside it on the right (below it on an upright screen).
pub fn layout(size: FrameSize, seats: usize, sharing: bool) -> Layout {
    let screen = Rect::new(0, 0, floor_even(size.width.max(160)), floor_even(size.height.max(90)));
    let short = screen.width.min(screen.height);
    let gap = (short / 60).next_multiple_of(2).max(2);
    if !sharing {
        return Layout { share: None, seats: grid(screen, seats, gap), gap };
    }
    if seats == 0 {
        return Layout { share: Some(cell(screen, gap, name_height(screen.height))), seats: Vec::new(), gap };
    }
    let (share, strip) = if screen.width >= screen.height {
        let width = floor_even(screen.width / 5);
        (Rect { width: screen.width - width, ..screen }, Rect { x: screen.width - width, width, ..screen })
    } else {
        let height = floor_even(screen.height / 5);
        (
            Rect { height: screen.height - height, ..screen },
            Rect { y: screen.height - height, height, ..screen },
        )
    };
    Layout {
        share: Some(cell(share, gap, name_height(screen.height))),
        seats: line(strip, seats, gap, screen.width >= screen.height),
        gap,
    }
}

/// The largest rectangle of `picture`'s aspect ratio in the middle of `cell`.
pub fn letterbox(cell: Rect, picture: FrameSize) -> Rect {
    if picture.width == 0 || picture.height == 0 {
        return cell;
    }
    let (w, h) = (u64::from(picture.width), u64::from(picture.height));
    let (cw, ch) = (u64::from(cell.width), u64::from(cell.height));
    let (width, height) = if w * ch >= h * cw { (cw, even(cw * h, w)) } else { (even(ch * w, h), ch) };
    // Both are at most the cell's sides, which are u32.
    let (width, height) = (width.min(cw) as u32, height.min(ch) as u32);
    Rect {
        x: cell.x + floor_even((cell.width - width) / 2),
        y: cell.y + floor_even((cell.height - height) / 2),
        width,
        height,
    }
}

/// The largest even number up to `n`.
pub(crate) fn floor_even(n: u32) -> u32 {
    n & !1
}

/// `numerator / denominator`, rounded to an even number of at least 2.
fn even(numerator: u64, denominator: u64) -> u64 {
    ((numerator + denominator) / (2 * denominator) * 2).max(2)
}

/// Cells in rows, with the number of columns that makes the pictures largest.
fn grid(screen: Rect, seats: usize, gap: u32) -> Vec<Cell> {
    if seats == 0 {
        return Vec::new();
    }
    let most_columns = (screen.width / SMALLEST_PLACE.width).min(MOST_ACROSS);
    let most_rows = (screen.height / SMALLEST_PLACE.height).min(MOST_ACROSS);
    let count = u32::try_from(seats).unwrap_or(u32::MAX).min(most_columns * most_rows);
    let area = |columns: u32| {
        let rows = count.div_ceil(columns);
        let place = Rect::new(0, 0, floor_even(screen.width / columns), floor_even(screen.height / rows));
        let picture = letterbox(cell(place, gap, name_height(place.height)).picture, FrameSize::new(16, 9));
        u64::from(picture.width) * u64::from(picture.height)
    };
    // The first of the best, so more rows before more columns only when they are really larger.
    let columns = (1..=count.min(most_columns))
        .filter(|&columns| count.div_ceil(columns) <= most_rows)
        .max_by_key(|&columns| (area(columns), columns))
        .unwrap_or(1);
    let rows = count.div_ceil(columns);
    let (width, height) = (floor_even(screen.width / columns), floor_even(screen.height / rows));
    (0..count)
        .map(|index| {
            let (row, column) = (index / columns, index % columns);
            // A last row that is not full stands in the middle.
            let in_row = if row + 1 == rows { count - row * columns } else { columns };
            let left = floor_even((screen.width - in_row * width) / 2);
            let top = floor_even((screen.height - rows * height) / 2);
            cell(
                Rect::new(left + column * width, top + row * height, width, height),
                gap,
                name_height(height),
            )
        })
        .collect()
}

/// Cells of 16:9 one after the other, as many as fit, in the middle of `strip`.
fn line(strip: Rect, seats: usize, gap: u32, down: bool) -> Vec<Cell> {
    let (along, step) = if down {
        let picture = strip.width.saturating_sub(2 * gap) * 9 / 16;
        (strip.height, picture + name_height(picture * 5 / 4) + 2 * gap)
    } else {
        let picture = strip.height.saturating_sub(2 * gap + name_height(strip.height)) * 16 / 9;
        (strip.width, picture + 2 * gap)
    };
    let step = floor_even(step.max(2)).min(along);
    let count = u32::try_from(seats).unwrap_or(u32::MAX).min(along / step);
    let start = floor_even((along - count * step) / 2);
    (0..count)
        .map(|index| {
            let at = start + index * step;
            let place = if down {
                Rect { y: strip.y + at, height: step, ..strip }
            } else {
                Rect { x: strip.x + at, width: step, ..strip }
            };
            cell(place, gap, name_height(place.height))
        })
        .collect()
}

/// A place less the gap around, divided in picture and name.
fn cell(place: Rect, gap: u32, name_height: u32) -> Cell {
    let width = place.width - 2 * gap;
    let height = place.height - 2 * gap;
    let picture = Rect::new(place.x + gap, place.y + gap, width, height - name_height);
    Cell { picture, name: Rect { y: picture.y + picture.height, height: name_height, ..picture } }
}

fn name_height(place_height: u32) -> u32 {
    floor_even((place_height / 9).clamp(10, 48))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_is_alone_and_four_are_two_by_two() {
        let one = layout(FrameSize::new(1280, 720), 1, false);
        assert!(one.seats[0].picture.width > 1200);
        let four = layout(FrameSize::new(1280, 720), 4, false);
        assert_eq!(four.seats[0].picture.y, four.seats[1].picture.y);
        assert_eq!(four.seats[0].picture.x, four.seats[2].picture.x);
        assert!(four.seats[2].picture.y > four.seats[0].picture.y);
    }

    #[test]
    fn two_people_sit_side_by_side() {
        let two = layout(FrameSize::new(1280, 720), 2, false);
        assert_eq!(two.seats[0].picture.y, two.seats[1].picture.y);
    }

    #[test]
    fn what_is_shared_is_larger_than_anybody() {
        let with = layout(FrameSize::new(1280, 720), 3, true);
        let share = with.share.unwrap_or_default();
        assert_eq!(with.seats.len(), 3);
        for seat in &with.seats {
            assert!(share.picture.width >= 3 * seat.picture.width);
        }
    }

    #[test]
    fn a_small_screen_seats_whom_it_can() {
        assert_eq!(layout(FrameSize::new(160, 90), 19, false).seats.len(), 4);
        assert_eq!(layout(FrameSize::new(1280, 720), 1000, false).seats.len(), 49);
    }

    #[test]
    fn sixteen_all_have_a_seat() {
        assert_eq!(layout(FrameSize::new(1280, 720), 16, false).seats.len(), 16);
    }

    proptest! {
        #[test]
        fn cells_are_inside_and_apart(w in 160u32..4096, h in 90u32..4096, seats in 0usize..120, sharing: bool) {
            let size = FrameSize::new(w & !1, h & !1);
            let screen = Rect::new(0, 0, size.width, size.height);
            let layout = layout(size, seats, sharing);
            prop_assert_eq!(layout.share.is_some(), sharing);
            prop_assert!(layout.seats.len() <= seats);
            prop_assert!(seats == 0 || !layout.seats.is_empty());
            let mut all: Vec<Rect> = Vec::new();
            for cell in layout.seats.iter().chain(&layout.share) {
                for rect in [cell.picture, cell.name] {
                    prop_assert!(screen.contains(rect), "{rect:?}");
                    prop_assert!(rect.width >= 4 && rect.height >= 2, "{rect:?}");
                    prop_assert!([rect.x, rect.y, rect.width, rect.height].iter().all(|n| n % 2 == 0), "{rect:?}");
                    prop_assert!(all.iter().all(|other| !rect.overlaps(*other)));
                    all.push(rect);
                }
                prop_assert_eq!(cell.name.y, cell.picture.y + cell.picture.height);
            }
        }

        #[test]
        fn a_letterbox_keeps_the_aspect(x in 0u32..500, y in 0u32..500, w in 2u32..1000, h in 2u32..1000, pw in 1u32..5000, ph in 1u32..5000) {
            let cell = Rect::new(x * 2, y * 2, w * 2, h * 2);
            let inner = letterbox(cell, FrameSize::new(pw, ph));
            prop_assert!(cell.contains(inner));
            prop_assert!(inner.width == cell.width || inner.height == cell.height);
            prop_assert!([inner.x, inner.y, inner.width, inner.height].iter().all(|n| n % 2 == 0));
            let aspect = f64::from(pw) / f64::from(ph);
            // Within the rounding of one side, where neither side had to be raised to the least of 2.
            if inner.width > 2 && inner.height > 2 {
                let off = (f64::from(inner.width) - f64::from(inner.height) * aspect).abs();
                prop_assert!(off <= 1.0 + aspect.max(1.0), "{inner:?}");
            }
        }
    }
}
