//! Optics: a part of a picture, magnified, blurred and brightened.

/// What part of a source is seen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Window {
    /// Left edge in source pixels.
    pub(super) x: f32,
    /// Top edge in source pixels.
    pub(super) y: f32,
    /// Output pixels for a source pixel.
    pub(super) scale: f32,
}

/// A planar picture with chroma halved both ways, as bytes with a size.
#[derive(Clone, Copy)]
pub(super) struct Picture<'a> {
    pub(super) yuv: &'a [u8],
    pub(super) width: usize,
    pub(super) height: usize,
}

/// Fills `out` (of the given size) with what `window` shows of `source`, bilinear.
pub(super) fn look(source: Picture<'_>, window: Window, out: &mut [u8], width: usize, height: usize) {
    let (mut from, mut to) = (source.yuv, out);
    for plane in 0..3 {
        let half = if plane == 0 { 1 } else { 2 };
        let (source_width, source_height) = (source.width / half, source.height / half);
        let (out_width, out_height) = (width / half, height / half);
        let (plane_from, rest_from) = from.split_at(source_width * source_height);
        let (plane_to, rest_to) = to.split_at_mut(out_width * out_height);
        let columns = taps(window.x / half as f32, window.scale, out_width, source_width);
        let rows = taps(window.y / half as f32, window.scale, out_height, source_height);
        if columns.iter().all(|tap| tap.part == 0) && window.scale == 1.0 {
            let start = columns.first().map_or(0, |tap| tap.at);
            for (row, tap) in plane_to.chunks_exact_mut(out_width).zip(&rows) {
                let begin = tap.at * source_width + start;
                row.copy_from_slice(&plane_from[begin..begin + out_width]);
            }
        } else {
            for (row, tap) in plane_to.chunks_exact_mut(out_width).zip(&rows) {
                let top = &plane_from[tap.at * source_width..][..source_width];
                let below = &plane_from[(tap.at + 1).min(source_height - 1) * source_width..][..source_width];
                for (pixel, column) in row.iter_mut().zip(&columns) {
                    let next = (column.at + 1).min(source_width - 1);
                    let upper = mix(top[column.at], top[next], column.part);
                    let lower = mix(below[column.at], below[next], column.part);
                    *pixel = ((upper * (256 - tap.part) + lower * tap.part + (1 << 15)) >> 16) as u8;
                }
            }
        }
        (from, to) = (rest_from, rest_to);
    }
}

/// Where an output pixel looks: between the source pixels `at` and `at + 1`, `part` 256ths of the way.
struct Tap {
    at: usize,
    part: u32,
}

fn taps(start: f32, scale: f32, count: usize, limit: usize) -> Vec<Tap> {
    let last = limit.saturating_sub(1) as f32;
    let tap = |i: usize| {
        let place = (start + (i as f32 + 0.5) / scale - 0.5).clamp(0.0, last);
        Tap { at: place as usize, part: (place.fract() * 256.0) as u32 }
    };
    (0..count).map(tap).collect()
}

/// 256 times the value between `a` and `b`.
fn mix(a: u8, b: u8, part: u32) -> u32 {
    u32::from(a) * (256 - part) + u32::from(b) * part
}

/// Blurs by a box of `2 * radius + 1` pixels, twice; `scratch` is reused.
pub(super) fn blur(yuv: &mut [u8], width: usize, height: usize, radius: usize, scratch: &mut Vec<u8>) {
    if radius == 0 {
        return;
    }
    let (luma, chroma) = yuv.split_at_mut(width * height);
    let (blue, red) = chroma.split_at_mut(width * height / 4);
    scratch.resize(width * height, 0);
    let half = radius.div_ceil(2);
    for (plane, width, radius) in [(luma, width, radius), (blue, width / 2, half), (red, width / 2, half)] {
        let scratch = &mut scratch[..plane.len()];
        for _ in 0..2 {
            blur_rows(plane, scratch, width, radius);
            blur_columns(scratch, plane, width, radius);
        }
    }
}

fn blur_rows(from: &[u8], to: &mut [u8], width: usize, radius: usize) {
    let size = (2 * radius + 1) as u32;
    for (source, out) in from.chunks_exact(width).zip(to.chunks_exact_mut(width)) {
        let at = |i: isize| u32::from(source[i.clamp(0, width as isize - 1) as usize]);
        let mut sum: u32 = (-(radius as isize)..=radius as isize).map(at).sum();
        for (x, pixel) in out.iter_mut().enumerate() {
            *pixel = (sum / size) as u8;
            sum = sum + at((x + radius + 1) as isize) - at(x as isize - radius as isize);
        }
    }
}

fn blur_columns(from: &[u8], to: &mut [u8], width: usize, radius: usize) {
    let height = from.len() / width;
    let size = (2 * radius + 1) as u32;
    let row = |i: isize| {
        let y = i.clamp(0, height as isize - 1) as usize;
        &from[y * width..(y + 1) * width]
    };
    let mut sums = vec![0_u32; width];
    for y in -(radius as isize)..=radius as isize {
        sums.iter_mut().zip(row(y)).for_each(|(sum, &v)| *sum += u32::from(v));
    }
    for (y, out) in to.chunks_exact_mut(width).enumerate() {
        let (new, old) = (row((y + radius + 1) as isize), row(y as isize - radius as isize));
        for (((pixel, sum), &new), &old) in out.iter_mut().zip(&mut sums).zip(new).zip(old) {
            *pixel = (*sum / size) as u8;
            *sum = *sum + u32::from(new) - u32::from(old);
        }
    }
}

/// Multiplies the brightness, within the limited range of luma; colours fade where it burns out.
pub(super) fn brighten(luma: &mut [u8], gain: f32) {
    if gain == 1.0 {
        return;
    }
    let table: [u8; 256] = std::array::from_fn(|level| bright(level as u8, gain));
    luma.iter_mut().for_each(|level| *level = table[usize::from(*level)]);
}

/// One level of luma made brighter.
pub(super) fn bright(level: u8, gain: f32) -> u8 {
    // Exposure acts on light, which is about the square of the coded level.
    ((f32::from(level) - 16.0).max(0.0) * gain.sqrt() + 16.5).min(235.0) as u8
}
