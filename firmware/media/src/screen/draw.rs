//! What is drawn beside pictures: names, marks, placeholders, notices.

use rostrum_hal::FrameSize;

use super::{
    canvas::{Canvas, Color},
    text::{Align, line},
};
use crate::{
    Rect,
    layout::{Cell, floor_even},
};

pub(super) const BACKGROUND: Color = Color { y: 30, u: 132, v: 126 };
pub(super) const LETTERBOX: Color = Color { y: 16, u: 128, v: 128 };
const EMPTY_SEAT: Color = Color { y: 46, u: 132, v: 126 };
const TEXT: Color = Color { y: 225, u: 128, v: 128 };
const HINT: Color = Color { y: 170, u: 130, v: 127 };
const SPEAKING: Color = Color { y: 150, u: 90, v: 70 };
const MUTED: Color = Color { y: 90, u: 108, v: 200 };
/// Of the discs behind initials: muted, so that white letters stand out.
const DISCS: [Color; 6] = [
    Color { y: 95, u: 160, v: 110 },
    Color { y: 100, u: 105, v: 110 },
    Color { y: 95, u: 118, v: 160 },
    Color { y: 90, u: 155, v: 150 },
    Color { y: 105, u: 95, v: 140 },
    Color { y: 100, u: 140, v: 95 },
];

/// The strip under a picture: the name, after a crossed-out microphone when it is off.
pub(super) fn name(canvas: &mut Canvas, strip: Rect, name: &str, muted: bool) {
    canvas.fill(strip, BACKGROUND);
    let side = strip.height.min(strip.width);
    let mut left = floor_even(strip.height / 4);
    if muted {
        canvas.paint(Rect { width: side, ..strip }, &microphone_off(side), MUTED);
        left = side + floor_even(strip.height / 8);
    }
    let left = left.min(strip.width - 2);
    let place = Rect { x: strip.x + left, width: strip.width - left, ..strip };
    canvas.paint(place, &line(name, strip.height * 3 / 4, place.size(), Align::Left), TEXT);
}

/// The frame around somebody who speaks, or its removal, within the gap around the cell.
pub(super) fn speaking(canvas: &mut Canvas, cell: Cell, gap: u32, speaking: bool) {
    let color = if speaking { SPEAKING } else { BACKGROUND };
    let thick = (gap / 2).next_multiple_of(2).clamp(2, gap.max(2));
    let Rect { x, y, width, .. } = cell.picture;
    let height = cell.picture.height + cell.name.height;
    let (left, top) = (x.saturating_sub(thick), y.saturating_sub(thick));
    canvas.fill(Rect::new(left, top, width + 2 * thick, thick), color);
    canvas.fill(Rect::new(left, y + height, width + 2 * thick, thick), color);
    canvas.fill(Rect::new(left, y, thick, height), color);
    canvas.fill(Rect::new(x + width, y, thick, height), color);
}

/// A seat without a picture: a disc of a colour of its own, with initials.
pub(super) fn placeholder(canvas: &mut Canvas, place: Rect, id: &str, name: &str) {
    canvas.fill(place, EMPTY_SEAT);
    let side = floor_even((place.width.min(place.height) / 2).max(2));
    let disc = Rect::new(
        place.x + floor_even((place.width - side) / 2),
        place.y + floor_even((place.height - side) / 2),
        side,
        side,
    );
    let hash = id.bytes().fold(5381_usize, |hash, byte| hash.wrapping_mul(33) ^ usize::from(byte));
    let radius = side as f32 / 2.0;
    let mask = shape(side, |x, y| radius - (x - radius).hypot(y - radius));
    canvas.paint(disc, &mask, DISCS[hash % DISCS.len()]);
    canvas.paint(disc, &line(&initials(name), side / 2, disc.size(), Align::Center), TEXT);
}

/// A picture without people: one large line, one under it.
pub(super) fn notice(canvas: &mut Canvas, title: &str, hint: &str) {
    let FrameSize { width, height } = canvas.size();
    let margin = floor_even(width / 20);
    let row = |part: u32, of: u32| {
        Rect::new(
            margin,
            floor_even(height * part / 100),
            width - 2 * margin,
            floor_even((height * of / 100).max(2)),
        )
    };
    for (place, text, color) in [(row(36, 14), title, TEXT), (row(53, 8), hint, HINT)] {
        canvas.paint(place, &line(text, place.height * 4 / 5, place.size(), Align::Center), color);
    }
}

/// At most two letters: of the first and the last word.
fn initials(name: &str) -> String {
    let mut words = name.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    let first = words.next().and_then(|word| word.chars().next());
    let last = words.next_back().and_then(|word| word.chars().next());
    first.into_iter().chain(last).flat_map(char::to_uppercase).take(2).collect()
}

/// A crossed-out microphone, `side` pixels square.
fn microphone_off(side: u32) -> Vec<u8> {
    let unit = side as f32 / 24.0;
    shape(side, |x, y| {
        let (x, y) = (x / unit, y / unit);
        // Distances from the edges, in units of a 24th: positive inside.
        let head = 3.0 - (x - 12.0).hypot(y - y.clamp(7.0, 11.0));
        let ring = (x - 12.0).hypot(y - 11.0);
        let cup = if y > 11.0 { 0.9 - (ring - 5.5).abs() } else { -9.0 };
        let stem = (0.9 - (x - 12.0).abs()).min(1.8 - (y - 18.0).abs());
        let slash = (x - y).abs() / std::f32::consts::SQRT_2;
        let ends = (x - 4.5).min(19.5 - x);
        let gap = (slash - 2.4).max(-ends);
        head.max(cup).max(stem).min(gap).max((1.0 - slash).min(ends)) * unit
    })
}

/// A mask of a square from the signed distance in pixels to the shape's edge, positive inside.
fn shape(side: u32, distance: impl Fn(f32, f32) -> f32) -> Vec<u8> {
    let mut mask = Vec::with_capacity(side as usize * side as usize);
    for y in 0..side {
        for x in 0..side {
            let cover = (distance(x as f32 + 0.5, y as f32 + 0.5) + 0.5).clamp(0.0, 1.0);
            mask.push((cover * 255.0) as u8);
        }
    }
    mask
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn initials_are_of_the_first_and_the_last_word() {
        assert_eq!(initials("Ada_Lovelace"), "AL");
        assert_eq!(initials("room-2-berlin"), "RB");
        assert_eq!(initials("guest"), "G");
        assert_eq!(initials("--"), "");
        assert_eq!(initials(""), "");
    }

    #[test]
    fn the_icon_is_drawn_and_leaves_its_corners_free() {
        let icon = microphone_off(24);
        let inked = icon.iter().filter(|cover| **cover > 128).count();
        assert!((60..250).contains(&inked), "{inked}");
        assert_eq!((icon[0], icon[23], icon[24 * 23]), (0, 0, 0));
    }
}
