//! The bar: capture time and frame number burnt into the top of a picture, readable by machines after
//! encoding, scaling and decoding.
//!
//! Three rows of 32 cells over the full width; a row is a twentieth of the height. White (Y = 235) is 1,
//! black (Y = 16) is 0, chroma is neutral. 96 bits, row by row, left to right, most significant first:
//! 8 bits magic `0xB5`; 40 bits capture time on `CLOCK_MONOTONIC` in units of 100 us; 24 bits frame
//! number; 8 bits camera id; 16 bits CRC-16/CCITT-FALSE over the ten bytes before.

use std::time::Duration;

use crate::{FrameSize, Timestamp};

const MAGIC: u8 = 0xB5;
const COLUMNS: usize = 32;
const ROWS: usize = 3;
const ROWS_IN_HEIGHT: usize = 20;
const WHITE: u8 = 235;
const BLACK: u8 = 16;
const NEUTRAL: u8 = 128;
/// Cells whose darkest and brightest differ by less carry no bar.
const LEAST_CONTRAST: u32 = 40;

/// What a bar says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Bar {
    /// When the picture was taken; kept to 100 us, below 2^40 units.
    pub capture_time: Timestamp,
    /// Virtual scene: the frame's sequence modulo 2^24. Recording: the picture's index in it.
    pub frame_number: u32,
    /// Which camera took it.
    pub camera_id: u8,
}

impl Bar {
    /// The 12 bytes of the bar; what does not fit its field is cut at the top.
    pub fn to_bytes(self) -> [u8; 12] {
        let units = u64::try_from(self.capture_time.since_start().as_micros() / 100).unwrap_or(u64::MAX);
        let mut bytes = [0; 12];
        bytes[0] = MAGIC;
        bytes[1..6].copy_from_slice(&units.to_be_bytes()[3..]);
        bytes[6..9].copy_from_slice(&self.frame_number.to_be_bytes()[1..]);
        bytes[9] = self.camera_id;
        let crc = crc16(&bytes[..10]);
        bytes[10..].copy_from_slice(&crc.to_be_bytes());
        bytes
    }

    /// The bar that `bytes` say, when magic and CRC are right.
    pub fn from_bytes(bytes: [u8; 12]) -> Option<Self> {
        let [magic, t0, t1, t2, t3, t4, n0, n1, n2, camera_id, c0, c1] = bytes;
        if magic != MAGIC || u16::from_be_bytes([c0, c1]) != crc16(&bytes[..10]) {
            return None;
        }
        let units = u64::from_be_bytes([0, 0, 0, t0, t1, t2, t3, t4]);
        Some(Self {
            capture_time: Timestamp::from_clock(Duration::from_micros(units * 100)),
            frame_number: u32::from_be_bytes([0, n0, n1, n2]),
            camera_id,
        })
    }
}

/// Burns `bar` into a [`crate::PixelFormat::Yuv420`] picture of at least 64x40; a smaller one, or bytes
/// that do not fit `size`, are left alone.
pub fn burn(yuv: &mut [u8], size: FrameSize, bar: Bar) {
    let Some((width, height)) = dimensions(size, yuv.len()) else { return };
    let bytes = bar.to_bytes();
    for row in 0..ROWS {
        let (top, bottom) = row_edges(row, height);
        for column in 0..COLUMNS {
            let bit = row * COLUMNS + column;
            let level = if bytes[bit / 8] >> (7 - bit % 8) & 1 == 1 { WHITE } else { BLACK };
            let (left, right) = column_edges(column, width);
            yuv[top * width + left..top * width + right].fill(level);
        }
        for y in top + 1..bottom {
            yuv.copy_within(top * width..(top + 1) * width, y * width);
        }
    }
    let chroma_rows = row_edges(ROWS - 1, height).1.div_ceil(2);
    let (chroma_width, chroma_height) = (width.div_ceil(2), height.div_ceil(2));
    for plane in 0..2 {
        let start = width * height + plane * chroma_width * chroma_height;
        yuv[start..start + chroma_rows * chroma_width].fill(NEUTRAL);
    }
}

/// Reads the bar of a [`crate::PixelFormat::Yuv420`] picture (its luma is enough: the first
/// `width * height` bytes). `None` when there is none, or when it is too blurred to be sure.
pub fn read(yuv: &[u8], size: FrameSize) -> Option<Bar> {
    read_luma(yuv, size, usize::try_from(size.width).ok()?)
}

/// Like [`read`], for rows that begin `stride` bytes apart.
pub fn read_luma(luma: &[u8], size: FrameSize, stride: usize) -> Option<Bar> {
    let (width, height) = (usize::try_from(size.width).ok()?, usize::try_from(size.height).ok()?);
    if width < COLUMNS || height < ROWS_IN_HEIGHT || stride < width {
        return None;
    }
    let rows_needed = row_edges(ROWS - 1, height).1;
    if luma.len() < stride.checked_mul(rows_needed - 1)?.checked_add(width)? {
        return None;
    }
    let mut means = [0_u32; ROWS * COLUMNS];
    for (cell, mean) in means.iter_mut().enumerate() {
        let (top, bottom) = central_half(row_edges(cell / COLUMNS, height));
        let (left, right) = central_half(column_edges(cell % COLUMNS, width));
        let mut sum = 0_u64;
        for y in top..bottom {
            sum += luma[y * stride + left..y * stride + right].iter().map(|&v| u64::from(v)).sum::<u64>();
        }
        let pixels = u64::try_from((bottom - top) * (right - left)).ok()?;
        *mean = u32::try_from(sum / pixels).ok()?;
    }
    let (darkest, brightest) = (*means.iter().min()?, *means.iter().max()?);
    if brightest - darkest < LEAST_CONTRAST {
        return None;
    }
    let threshold = darkest.midpoint(brightest);
    let mut bytes = [0_u8; 12];
    for (bit, &mean) in means.iter().enumerate() {
        bytes[bit / 8] |= u8::from(mean > threshold) << (7 - bit % 8);
    }
    Bar::from_bytes(bytes)
}

fn dimensions(size: FrameSize, bytes: usize) -> Option<(usize, usize)> {
    let (width, height) = (usize::try_from(size.width).ok()?, usize::try_from(size.height).ok()?);
    let chroma = width.div_ceil(2).checked_mul(height.div_ceil(2))?;
    let needed = width.checked_mul(height)?.checked_add(chroma.checked_mul(2)?)?;
    (width >= 2 * COLUMNS && height >= 2 * ROWS_IN_HEIGHT && bytes >= needed).then_some((width, height))
}

fn row_edges(row: usize, height: usize) -> (usize, usize) {
    (row * height / ROWS_IN_HEIGHT, (row + 1) * height / ROWS_IN_HEIGHT)
}

fn column_edges(column: usize, width: usize) -> (usize, usize) {
    (column * width / COLUMNS, (column + 1) * width / COLUMNS)
}

/// The middle half of an interval, at least one pixel.
fn central_half((start, end): (usize, usize)) -> (usize, usize) {
    let margin = (end - start) / 4;
    (start + margin, end - margin)
}

/// CRC-16/CCITT-FALSE: polynomial 0x1021, initial value 0xFFFF, not reflected.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xFFFF, |crc, &byte| {
        (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 }
        })
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn bar(units: u64, frame_number: u32, camera_id: u8) -> Bar {
        Bar {
            capture_time: Timestamp::from_clock(Duration::from_micros(units * 100)),
            frame_number,
            camera_id,
        }
    }

    /// Mean over the source pixels of each destination pixel, as an area scaler does.
    fn box_scaled(luma: &[u8], from: FrameSize, to: FrameSize) -> Vec<u8> {
        let (fw, fh) = (from.width as usize, from.height as usize);
        let (tw, th) = (to.width as usize, to.height as usize);
        let mut out = Vec::with_capacity(tw * th);
        for y in 0..th {
            for x in 0..tw {
                let (x0, x1) = (x * fw / tw, ((x + 1) * fw / tw).max(x * fw / tw + 1));
                let (y0, y1) = (y * fh / th, ((y + 1) * fh / th).max(y * fh / th + 1));
                let sum: usize = (y0..y1)
                    .flat_map(|y| (x0..x1).map(move |x| (x, y)))
                    .map(|(x, y)| usize::from(luma[y * fw + x]))
                    .sum();
                out.push(u8::try_from(sum / ((x1 - x0) * (y1 - y0))).unwrap());
            }
        }
        out
    }

    #[test]
    fn the_crc_is_ccitt_false() {
        assert_eq!(crc16(b"123456789"), 0x29B1);
    }

    #[test]
    fn the_bits_lie_where_the_layout_says() {
        let size = FrameSize::new(640, 360);
        let mut yuv = vec![77; 640 * 360 * 3 / 2];
        burn(&mut yuv, size, bar(1, 2, 3));
        let cell = |row: usize, column: usize| yuv[(row * 18 + 9) * 640 + column * 20 + 10];
        let first: Vec<u8> = (0..8).map(|c| u8::from(cell(0, c) == 235)).collect();
        assert_eq!(first, [1, 0, 1, 1, 0, 1, 0, 1]);
        // Capture time 1 ends at bit 47, frame number 2 at bit 71, camera 3 at bit 79.
        assert_eq!([cell(1, 14), cell(1, 15), cell(2, 6), cell(2, 7)], [16, 235, 235, 16]);
        assert_eq!([cell(2, 13), cell(2, 14), cell(2, 15)], [16, 235, 235]);
        assert_eq!(yuv[54 * 640], 77, "the bar ends after three rows");
    }

    proptest! {
        #[test]
        fn what_is_burnt_in_is_read_back_after_box_scaling(
            units in 0_u64..1 << 40, number in 0_u32..1 << 24, camera: u8,
            size in 0_usize..4, smaller in 0_usize..4, background: u8,
        ) {
            let sizes = [(1920, 1080), (1280, 720), (640, 360), (320, 180)];
            let size = FrameSize::new(sizes[size].0, sizes[size].1);
            let to = FrameSize::new(sizes[smaller].0.min(size.width), sizes[smaller].1.min(size.height));
            let mut yuv = vec![background; (size.width * size.height * 3 / 2) as usize];
            let bar = bar(units, number, camera);
            burn(&mut yuv, size, bar);
            prop_assert_eq!(read(&yuv, size), Some(bar));
            prop_assert_eq!(read(&box_scaled(&yuv, size, to), to), Some(bar));
        }

        #[test]
        fn any_bytes_of_any_size_are_read_without_panic(
            luma in proptest::collection::vec(any::<u8>(), 0..4000), width in 0_u32..200, height in 0_u32..200,
            stride in 0_usize..300,
        ) {
            prop_assert_eq!(read(&luma, FrameSize::new(width, height)), None);
            prop_assert_eq!(read_luma(&luma, FrameSize::new(width, height), stride), None);
            let mut copy = luma.clone();
            burn(&mut copy, FrameSize::new(width, height), bar(1, 1, 1));
        }

        #[test]
        fn a_wrong_bit_is_noticed(units in 0_u64..1 << 40, number in 0_u32..1 << 24, bit in 0_usize..96) {
            let mut bytes = bar(units, number, 0).to_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(Bar::from_bytes(bytes), None);
        }
    }
}
