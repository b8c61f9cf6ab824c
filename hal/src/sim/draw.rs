//! Drawing into planar pictures.

/// Luma, blue and red difference.
pub(super) type Colour = [u8; 3];

/// A planar picture, chroma halved both ways, without padding, whose width and height are even.
pub(super) struct Canvas<'a> {
    pub(super) yuv: &'a mut [u8],
    pub(super) width: usize,
    pub(super) height: usize,
}

/// A rectangle with round corners; with corners as large as itself, a disc.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// Centre, in pixels.
    pub(super) x: f32,
    /// Centre, in pixels.
    pub(super) y: f32,
    /// Half the width, in pixels.
    pub(super) half_width: f32,
    /// Half the height, in pixels.
    pub(super) half_height: f32,
    /// Radius of the corners, in pixels.
    pub(super) corner: f32,
}

impl Shape {
    /// A disc.
    pub(super) const fn disc(x: f32, y: f32, radius: f32) -> Self {
        Self { x, y, half_width: radius, half_height: radius, corner: radius }
    }

    /// A rectangle given by its centre and half its size.
    pub(super) const fn block(x: f32, y: f32, half_width: f32, half_height: f32, corner: f32) -> Self {
        Self { x, y, half_width, half_height, corner }
    }
}

impl Canvas<'_> {
    /// Size in bytes of a picture.
    pub(super) const fn bytes(width: usize, height: usize) -> usize {
        width * height * 3 / 2
    }

    /// Paints `shape`; its edge fades over `softness` pixels (at least one).
    pub(super) fn paint(&mut self, shape: Shape, colour: Colour, softness: f32) {
        let (luma, chroma) = self.yuv.split_at_mut(self.width * self.height);
        let (blue, red) = chroma.split_at_mut(self.width * self.height / 4);
        paint_plane(luma, self.width, shape, colour[0], softness);
        let Shape { x, y, half_width, half_height, corner } = shape;
        // The centre of a chroma sample lies between two luma samples.
        let halved = Shape {
            x: x / 2.0 - 0.25,
            y: y / 2.0 - 0.25,
            half_width: half_width / 2.0,
            half_height: half_height / 2.0,
            corner: corner / 2.0,
        };
        paint_plane(blue, self.width / 2, halved, colour[1], softness / 2.0);
        paint_plane(red, self.width / 2, halved, colour[2], softness / 2.0);
    }

    /// Paints a number of two digits in seven segments, its centre at (x, y), `height` pixels high.
    pub(super) fn paint_number(
        &mut self,
        number: u32,
        x: f32,
        y: f32,
        height: f32,
        colour: Colour,
        softness: f32,
    ) {
        self.paint_digit(number / 10 % 10, x - height * 0.35, y, height, colour, softness);
        self.paint_digit(number % 10, x + height * 0.35, y, height, colour, softness);
    }

    fn paint_digit(&mut self, digit: u32, x: f32, y: f32, height: f32, colour: Colour, softness: f32) {
        /// Segments a (top) to g (middle) of each digit, lowest bit first.
        const SEGMENTS: [u8; 10] = [0x3F, 0x06, 0x5B, 0x4F, 0x66, 0x6D, 0x7D, 0x07, 0x7F, 0x6F];
        /// Centre and half size of each segment in digit heights.
        const PLACES: [(f32, f32, f32, f32); 7] = [
            (0.0, -0.45, 0.2, 0.05),
            (0.22, -0.23, 0.05, 0.2),
            (0.22, 0.23, 0.05, 0.2),
            (0.0, 0.45, 0.2, 0.05),
            (-0.22, 0.23, 0.05, 0.2),
            (-0.22, -0.23, 0.05, 0.2),
            (0.0, 0.0, 0.2, 0.05),
        ];
        // A digit is below ten.
        let segments = SEGMENTS[digit as usize % SEGMENTS.len()];
        for (_, (dx, dy, w, h)) in PLACES.iter().enumerate().filter(|(i, _)| segments >> i & 1 == 1) {
            let place = Shape::block(x + dx * height, y + dy * height, w * height, h * height, 0.05 * height);
            self.paint(place, colour, softness);
        }
    }
}

/// Paints into one plane. The shape is convex, so a row is an edge, a full span and an edge.
fn paint_plane(plane: &mut [u8], width: usize, shape: Shape, level: u8, softness: f32) {
    let softness = softness.max(1.0);
    let corner = shape.corner.clamp(0.0, shape.half_width.min(shape.half_height));
    let (inner_width, inner_height) = (shape.half_width - corner, shape.half_height - corner);
    let reach = softness / 2.0;
    let height = plane.len() / width;
    let rows = span(shape.y, shape.half_height + reach, height);
    let columns = span(shape.x, shape.half_width + reach, width);
    let coverage = |x: usize, y: usize| {
        let dx = (x as f32 - shape.x).abs() - inner_width;
        let dy = (y as f32 - shape.y).abs() - inner_height;
        let (ox, oy) = (dx.max(0.0), dy.max(0.0));
        let outside = if ox > 0.0 && oy > 0.0 { (ox * ox + oy * oy).sqrt() } else { ox + oy };
        let distance = outside + dx.max(dy).min(0.0) - corner;
        (0.5 - distance / softness).clamp(0.0, 1.0)
    };
    for y in rows {
        let row = &mut plane[y * width..(y + 1) * width];
        let (mut left, mut right) = (columns.start, columns.end);
        while left < right {
            let part = coverage(left, y);
            if part >= 1.0 {
                break;
            }
            blend(&mut row[left], level, part);
            left += 1;
        }
        while right > left {
            let part = coverage(right - 1, y);
            if part >= 1.0 {
                break;
            }
            blend(&mut row[right - 1], level, part);
            right -= 1;
        }
        row[left..right].fill(level);
    }
}

fn blend(pixel: &mut u8, level: u8, part: f32) {
    let old = f32::from(*pixel);
    *pixel = (old + (f32::from(level) - old) * part + 0.5) as u8;
}

/// The whole pixels within `reach` of `centre`, inside `0..limit`.
fn span(centre: f32, reach: f32, limit: usize) -> std::ops::Range<usize> {
    // `as` saturates: below 0 is 0.
    let end = ((centre + reach + 1.0).max(0.0) as usize).min(limit);
    let start = ((centre - reach).max(0.0) as usize).min(end);
    start..end
}
