//! Writing, with a font that is compiled in: a terminal's image needs none.

use std::sync::OnceLock;

use ab_glyph::{Font, FontRef, PxScale, ScaleFont, point};
use rostrum_hal::FrameSize;

/// Where a line stands in its rectangle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Center,
}

/// Longest text that is looked at; more does not fit on any screen.
const LONGEST: usize = 200;

fn font() -> Option<&'static FontRef<'static>> {
    static FONT: OnceLock<Option<FontRef<'static>>> = OnceLock::new();
    FONT.get_or_init(|| FontRef::try_from_slice(epaint_default_fonts::UBUNTU_LIGHT).ok()).as_ref()
}

/// One line of `text`, `height` pixels from ascender to descender, in a mask of `size` with one byte a pixel; cut off with "…"
/// when it is too long. Upright in the middle.
pub(super) fn line(text: &str, height: u32, size: FrameSize, align: Align) -> Vec<u8> {
    let (width, rows) = (size.width as usize, size.height as usize);
    let mut mask = vec![0; width * rows];
    let Some(font) = font() else { return mask };
    let scaled = font.as_scaled(PxScale::from(height as f32));
    let text = shorten(text, &scaled, size.width as f32);
    let mut x = match align {
        Align::Left => 0.0,
        Align::Center => ((size.width as f32 - advance(&text, &scaled)) / 2.0).max(0.0),
    };
    let baseline = (size.height as f32 - scaled.height()) / 2.0 + scaled.ascent();
    let mut previous = None;
    for character in text.chars() {
        let id = scaled.glyph_id(character);
        if let Some(previous) = previous {
            x += scaled.kern(previous, id);
        }
        let glyph = id.with_scale_and_position(scaled.scale(), point(x, baseline));
        if let Some(outline) = font.outline_glyph(glyph) {
            let bounds = outline.px_bounds();
            let (left, top) = (bounds.min.x as i64, bounds.min.y as i64);
            outline.draw(|gx, gy, cover| {
                let (px, py) = (left + i64::from(gx), top + i64::from(gy));
                if let (Ok(px), Ok(py)) = (usize::try_from(px), usize::try_from(py))
                    && px < width
                    && py < rows
                {
                    let pixel: &mut u8 = &mut mask[py * width + px];
                    // 0..=255 after the clamp.
                    *pixel = (*pixel).max((cover.clamp(0.0, 1.0) * 255.0) as u8);
                }
            });
        }
        x += scaled.h_advance(id);
        previous = Some(id);
    }
    mask
}

fn advance<F: Font>(text: &str, font: &impl ScaleFont<F>) -> f32 {
    let mut previous = None;
    let mut width = 0.0;
    for character in text.chars() {
        let id = font.glyph_id(character);
        if let Some(previous) = previous {
            width += font.kern(previous, id);
        }
        width += font.h_advance(id);
        previous = Some(id);
    }
    width
}

fn shorten<F: Font>(text: &str, font: &impl ScaleFont<F>, width: f32) -> String {
    let mut text: String = text.chars().filter(|c| !c.is_control()).take(LONGEST).collect();
    if advance(&text, font) <= width {
        return text;
    }
    while !text.is_empty() {
        text.pop();
        let cut = format!("{}…", text.trim_end());
        if advance(&cut, font) <= width {
            return cut;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn covered(text: &str, width: u32) -> Vec<usize> {
        let mask = line(text, 20, FrameSize::new(width, 24), Align::Left);
        (0..width as usize).filter(|x| mask.chunks(width as usize).any(|row| row[*x] > 128)).collect()
    }

    #[test]
    fn each_letter_takes_its_place() {
        assert!(covered("", 100).is_empty());
        let one = covered("A", 300).last().copied().unwrap_or_default();
        let two = covered("AB", 300).last().copied().unwrap_or_default();
        assert!(one > 5 && two > one + 5, "{one} {two}");
    }

    #[test]
    fn a_long_name_is_cut_off_within_its_strip() {
        let long = "W".repeat(64);
        let cut = covered(&long, 100);
        assert!(cut.len() > 50);
        assert_ne!(cut, covered("WWWWWW", 100));
    }

    proptest! {
        #[test]
        fn any_text_fits(text in ".{0,80}", height in 1u32..60, w in 1u32..100, h in 1u32..50) {
            for align in [Align::Left, Align::Center] {
                prop_assert_eq!(line(&text, height, FrameSize::new(w, h), align).len(), (w * h) as usize);
            }
        }
    }
}
