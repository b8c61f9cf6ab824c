//! Where the planes of a raw picture lie in one buffer, with and without padding.

use crate::{FrameSize, PixelFormat};

/// One plane of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Plane {
    /// Where it starts.
    offset: usize,
    /// Bytes from row to row.
    stride: usize,
    /// Bytes of a row that are picture.
    row: usize,
    /// Rows that are picture.
    rows: usize,
}

/// How a raw picture lies in a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Yuv420, Nv12 or Yuyv.
    pub format: PixelFormat,
    /// The picture that is seen.
    pub size: FrameSize,
    /// Bytes from row to row of the first plane.
    pub stride: usize,
    /// Rows of the first plane with its padding.
    pub rows: usize,
}

impl Placed {
    /// Without padding.
    pub fn tight(format: PixelFormat, size: FrameSize) -> Self {
        let width = size.width as usize;
        let stride = if format == PixelFormat::Yuyv { width * 2 } else { width };
        Self { format, size, stride, rows: size.height as usize }
    }

    /// Bytes that it takes.
    pub fn length(&self) -> usize {
        let first = self.stride * self.rows;
        if self.format == PixelFormat::Yuyv { first } else { first + first / 2 }
    }

    fn planes(&self) -> [Option<Plane>; 3] {
        let (width, height) = (self.size.width as usize, self.size.height as usize);
        let first = self.stride * self.rows;
        let plane = |offset, stride, row, rows| Some(Plane { offset, stride, row, rows });
        match self.format {
            PixelFormat::Yuyv => [plane(0, self.stride, width * 2, height), None, None],
            PixelFormat::Nv12 => {
                [plane(0, self.stride, width, height), plane(first, self.stride, width, height / 2), None]
            }
            // Formats of other kinds are never placed.
            _ => {
                let half = self.stride / 2;
                [
                    plane(0, self.stride, width, height),
                    plane(first, half, width / 2, height / 2),
                    plane(first + half * (self.rows / 2), half, width / 2, height / 2),
                ]
            }
        }
    }

    /// Copies the picture in `from`, which lies as `self` says, to `to`, which is to lie as `there` says. Rows that are
    /// missing on either side are left out.
    pub fn copy(&self, from: &[u8], there: &Self, to: &mut [u8]) {
        for (source, target) in self.planes().into_iter().flatten().zip(there.planes().into_iter().flatten())
        {
            let length = source.row.min(target.row);
            for number in 0..source.rows.min(target.rows) {
                let (start, end) =
                    (source.offset + number * source.stride, target.offset + number * target.stride);
                let pair = (from.get(start..start + length), to.get_mut(end..end + length));
                if let (Some(row), Some(place)) = pair {
                    place.copy_from_slice(row);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FORMATS: [PixelFormat; 3] = [PixelFormat::Yuv420, PixelFormat::Nv12, PixelFormat::Yuyv];

    proptest! {
        #[test]
        fn a_picture_survives_padding_and_back(
            format in 0..3_usize, width in 1..40_u32, height in 1..20_u32, pad in 0..30_usize, more in 0..9_usize,
        ) {
            let size = FrameSize::new(width * 2, height * 2);
            let tight = Placed::tight(FORMATS[format], size);
            let padded = Placed { stride: tight.stride + pad * 2, rows: tight.rows + more * 2, ..tight };
            let picture: Vec<u8> = (0..tight.length()).map(|i| (i * 7 + i / 251) as u8).collect();
            let mut there = vec![0; padded.length()];
            tight.copy(&picture, &padded, &mut there);
            let mut back = vec![0; tight.length()];
            padded.copy(&there, &tight, &mut back);
            prop_assert_eq!(&back, &picture);
        }

        #[test]
        fn a_buffer_that_is_too_short_is_no_panic(length in 0..2000_usize, other in 0..2000_usize) {
            let tight = Placed::tight(PixelFormat::Yuv420, FrameSize::new(32, 32));
            let padded = Placed { stride: 48, rows: 40, ..tight };
            tight.copy(&vec![1; length], &padded, &mut vec![0; other]);
        }
    }
}
