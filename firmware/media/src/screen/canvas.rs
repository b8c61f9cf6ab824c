//! A Yuv420 picture to draw on. All rectangles are even and inside; what is not is cut off.

use rostrum_hal::FrameSize;

use crate::Rect;

/// A colour, BT.709 limited range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Color {
    pub(super) y: u8,
    pub(super) u: u8,
    pub(super) v: u8,
}

/// A picture to draw on.
pub(super) struct Canvas {
    size: FrameSize,
    bytes: Vec<u8>,
}

/// A plane of it, and a rectangle there.
struct Window<'c> {
    bytes: &'c mut [u8],
    stride: usize,
    x: usize,
    width: usize,
    y: usize,
    height: usize,
}

impl Window<'_> {
    fn rows(&mut self) -> impl Iterator<Item = &mut [u8]> {
        let (x, width) = (self.x, self.width);
        self.bytes
            .chunks_exact_mut(self.stride)
            .skip(self.y)
            .take(self.height)
            .map(move |row| &mut row[x..x + width])
    }
}

impl Canvas {
    /// All zero, of an even size.
    pub(super) fn new(size: FrameSize) -> Self {
        let luma = size.width as usize * size.height as usize;
        Self { size, bytes: vec![0; luma * 3 / 2] }
    }

    pub(super) fn size(&self) -> FrameSize {
        self.size
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn fill(&mut self, rect: Rect, color: Color) {
        for (mut window, value) in self.windows(rect).into_iter().zip([color.y, color.u, color.v]) {
            window.rows().for_each(|row| row.fill(value));
        }
    }

    /// Copies `picture`, Yuv420 of the rectangle's size.
    pub(super) fn blit(&mut self, rect: Rect, picture: &[u8]) {
        let (w, h) = (rect.width as usize, rect.height as usize);
        if w == 0 || h == 0 || picture.len() < w * h * 3 / 2 {
            return;
        }
        let (luma, chroma) = picture.split_at(w * h);
        let (u, v) = chroma.split_at(w * h / 4);
        for (mut window, (plane, stride)) in
            self.windows(rect).into_iter().zip([(luma, w), (u, w / 2), (v, w / 2)])
        {
            for (to, from) in window.rows().zip(plane.chunks_exact(stride)) {
                to.copy_from_slice(&from[..to.len()]);
            }
        }
    }

    /// Paints `color` as far as `mask` covers: one byte a pixel of the rectangle, 255 is all.
    pub(super) fn paint(&mut self, rect: Rect, mask: &[u8], color: Color) {
        let w = rect.width as usize;
        if w == 0 || mask.len() < w * rect.height as usize {
            return;
        }
        let [mut luma, mut u, mut v] = self.windows(rect);
        for (row, cover) in luma.rows().zip(mask.chunks_exact(w)) {
            row.iter_mut().zip(cover).for_each(|(pixel, cover)| *pixel = mix(*pixel, color.y, *cover));
        }
        for (plane, value) in [(&mut u, color.u), (&mut v, color.v)] {
            for (row, cover) in plane.rows().zip(mask.chunks_exact(2 * w)) {
                for (x, pixel) in row.iter_mut().enumerate() {
                    // One chroma sample lies under four pixels.
                    let four = [cover[2 * x], cover[2 * x + 1], cover[w + 2 * x], cover[w + 2 * x + 1]];
                    let mean = four.iter().map(|c| u16::from(*c)).sum::<u16>() / 4;
                    *pixel = mix(*pixel, value, mean as u8);
                }
            }
        }
    }

    fn windows(&mut self, rect: Rect) -> [Window<'_>; 3] {
        let (w, h) = (self.size.width as usize, self.size.height as usize);
        let (x, y) = ((rect.x as usize).min(w), (rect.y as usize).min(h));
        let (width, height) = ((rect.width as usize).min(w - x), (rect.height as usize).min(h - y));
        let (luma, chroma) = self.bytes.split_at_mut(w * h);
        let (u, v) = chroma.split_at_mut(w * h / 4);
        let half =
            |bytes| Window { bytes, stride: w / 2, x: x / 2, width: width / 2, y: y / 2, height: height / 2 };
        [Window { bytes: luma, stride: w, x, width, y, height }, half(u), half(v)]
    }
}

fn mix(below: u8, above: u8, cover: u8) -> u8 {
    let (below, above, cover) = (u16::from(below), u16::from(above), u16::from(cover));
    // At most 255 * 255, and the result at most 255.
    ((below * (255 - cover) + above * cover + 127) / 255) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RED: Color = Color { y: 63, u: 102, v: 240 };

    #[test]
    fn a_mask_paints_what_it_covers() {
        let mut canvas = Canvas::new(FrameSize::new(8, 4));
        canvas.paint(Rect::new(2, 0, 4, 2), &[255, 255, 0, 0, 255, 255, 0, 128], RED);
        assert_eq!(canvas.bytes()[..16], [0, 0, 63, 63, 0, 0, 0, 0, 0, 0, 63, 63, 0, 32, 0, 0]);
        assert_eq!(canvas.bytes()[32..36], [0, 102, 13, 0]);
    }

    proptest! {
        #[test]
        fn drawing_stays_within_its_rectangle(x in 0u32..12, y in 0u32..12, w in 0u32..12, h in 0u32..12) {
            let mut canvas = Canvas::new(FrameSize::new(16, 12));
            let rect = Rect::new(x * 2, y * 2, w * 2, h * 2);
            let area = (rect.width * rect.height) as usize;
            canvas.fill(rect, RED);
            canvas.blit(rect, &vec![200; area * 3 / 2]);
            canvas.paint(rect, &vec![255; area], RED);
            for (index, luma) in canvas.bytes()[..16 * 12].iter().enumerate() {
                let (px, py) = (index as u32 % 16, index as u32 / 16);
                let inside = px >= rect.x && px < rect.x + rect.width && py >= rect.y && py < rect.y + rect.height;
                prop_assert_eq!(*luma, if inside { 63 } else { 0 });
            }
        }
    }
}
