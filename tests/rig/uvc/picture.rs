//! What the lens sees: a grey ramp that repeats every 256 pixels on both ways, shifted by pan and tilt, scaled
//! by zoom around the middle, with [`bar`] burnt in.
//!
//! The scene is still, so it is drawn when the view changes, not each frame. The rig runs on an emulated CPU:
//! a frame costs the bar and its packing into YUYV.

use rostrum_hal::{
    FrameSize,
    sim::bar::{self, Bar},
};

use crate::{control_table::name, controls::Controls};

const BLACK: u8 = 16;
const WHITE: u8 = 235;
const NEUTRAL: u8 = 128;
/// Exposure time, in 100 us, at which the scene has its own brightness.
const EVEN_EXPOSURE: i64 = 250;
const ARC_SECONDS_IN_DEGREE: i64 = 3600;
/// Height of the bar in twentieths of the picture's ([`bar`]).
const BAR_TWENTIETHS: usize = 3;

/// Where the lens looks, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct View {
    pan_degrees: i64,
    tilt_degrees: i64,
    zoom_percent: i64,
    exposure: i64,
    brightness: i64,
    covered: bool,
}

impl View {
    /// The view that the controls make.
    pub(crate) fn of(controls: &Controls) -> Self {
        let manual = controls.exposure_is_manual();
        Self {
            pan_degrees: controls.value(name::PAN) / ARC_SECONDS_IN_DEGREE,
            tilt_degrees: controls.value(name::TILT) / ARC_SECONDS_IN_DEGREE,
            zoom_percent: controls.value(name::ZOOM).max(1),
            exposure: if manual { controls.value(name::EXPOSURE) } else { EVEN_EXPOSURE },
            brightness: controls.value(name::BRIGHTNESS),
            covered: controls.value(name::PRIVACY) != 0,
        }
    }

    /// Luma of every step of the ramp.
    fn levels(&self) -> [u8; 256] {
        let (black, white) = (i64::from(BLACK), i64::from(WHITE));
        std::array::from_fn(|step| {
            if self.covered {
                return BLACK;
            }
            // 0..=255, so the conversion cannot fail.
            let step = i64::try_from(step).unwrap_or_default();
            let light = step * (white - black) / 255 * self.exposure / EVEN_EXPOSURE;
            u8::try_from((black + light + self.brightness).clamp(black, white)).unwrap_or(BLACK)
        })
    }

    /// Step of the ramp at a pixel of a row or column of `length` pixels, `shift` from the scene's middle.
    fn step(&self, pixel: usize, length: usize, shift: i64) -> u8 {
        // Sides of a picture are short, and the remainder is a byte.
        let from_middle = pixel as i64 - length as i64 / 2;
        let place = (from_middle * 100).div_euclid(self.zoom_percent) + shift;
        place.rem_euclid(256) as u8
    }
}

/// A picture in Yuv420 and, packed from it, in YUYV. It is used again for the next frame.
#[derive(Default)]
pub(crate) struct Picture {
    drawn: Option<(FrameSize, View)>,
    yuv: Vec<u8>,
    packed: Vec<u8>,
    columns: Vec<u8>,
}

impl Picture {
    /// Makes it show the view with the bar, where the bar fits the size. Sizes are even.
    pub(crate) fn show(&mut self, size: FrameSize, view: View, bar: Bar) {
        let (width, height) = (size.width as usize, size.height as usize);
        let still = self.drawn == Some((size, view));
        if !still {
            self.draw(width, height, view);
            self.drawn = Some((size, view));
        }
        bar::burn(&mut self.yuv, size, bar);
        let changed_rows = if still { (BAR_TWENTIETHS * height).div_ceil(20) } else { height };
        self.pack(width, changed_rows);
    }

    /// Planar Y, U, V; U and V are neutral all over.
    pub(crate) fn yuv420(&self) -> &[u8] {
        &self.yuv
    }

    /// Packed Y0 U Y1 V.
    pub(crate) fn yuyv(&self) -> &[u8] {
        &self.packed
    }

    fn draw(&mut self, width: usize, height: usize, view: View) {
        let pixels = width * height;
        if self.yuv.len() != pixels * 3 / 2 {
            self.yuv.clear();
            self.yuv.resize(pixels * 3 / 2, NEUTRAL);
            self.packed.clear();
            self.packed.resize(pixels * 2, NEUTRAL);
        }
        self.columns.clear();
        self.columns.extend((0..width).map(|x| view.step(x, width, view.pan_degrees)));
        let levels = view.levels();
        for (y, row) in self.yuv[..pixels].chunks_exact_mut(width).enumerate() {
            let across = view.step(y, height, view.tilt_degrees);
            for (pixel, column) in row.iter_mut().zip(&self.columns) {
                *pixel = levels[usize::from(column.wrapping_add(across))];
            }
        }
    }

    /// Packs the first rows. Chroma is neutral in both, so only luma is moved.
    fn pack(&mut self, width: usize, rows: usize) {
        let luma = &self.yuv[..width * rows];
        for (pixel, luma) in self.packed.chunks_exact_mut(2).zip(luma) {
            pixel[0] = *luma;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use rostrum_hal::Timestamp;

    use super::*;
    use crate::format::SIZES;

    fn bar(frame_number: u32) -> Bar {
        let capture_time = Timestamp::from_clock(Duration::from_millis(u64::from(frame_number) * 33));
        Bar { capture_time, frame_number, camera_id: 9 }
    }

    fn view(changes: &[(&str, i64)]) -> View {
        let mut controls = Controls::new();
        for (name, value) in changes {
            controls.change(name, *value).unwrap();
        }
        View::of(&controls)
    }

    /// Luma of a picture at 160x90, below the bar.
    fn seen(changes: &[(&str, i64)]) -> Vec<u8> {
        let mut picture = Picture::default();
        picture.show(SIZES[0], view(changes), bar(0));
        picture.yuyv()[160 * 2 * 20..].iter().step_by(2).copied().collect()
    }

    #[test]
    fn the_bar_is_read_in_every_size_and_frame() {
        let mut picture = Picture::default();
        for size in SIZES {
            for number in [1, 2, 70_000] {
                picture.show(size, view(&[]), bar(number));
                assert_eq!(bar::read(picture.yuv420(), size), Some(bar(number)));
                let luma: Vec<u8> = picture.yuyv().iter().step_by(2).copied().collect();
                assert_eq!(bar::read(&luma, size), Some(bar(number)));
                assert_eq!(luma, picture.yuv420()[..luma.len()]);
                assert!(picture.yuyv().iter().skip(1).step_by(2).all(|&chroma| chroma == NEUTRAL));
            }
        }
    }

    #[test]
    fn pan_shifts_the_scene_by_a_pixel_a_degree() {
        let (before, after) = (seen(&[]), seen(&[(name::PAN, 5 * 3600)]));
        assert_eq!(before[5..160], after[..155]);
        assert_ne!(before, after);
    }

    #[test]
    fn tilt_and_zoom_change_the_scene() {
        assert_ne!(seen(&[]), seen(&[(name::TILT, 5 * 3600)]));
        let zoomed = seen(&[(name::ZOOM, 1000)]);
        let edges = |luma: &[u8]| luma[..160].windows(2).filter(|pair| pair[0] != pair[1]).count();
        assert!(edges(&zoomed) < edges(&seen(&[])));
    }

    #[test]
    fn exposure_counts_when_it_is_manual() {
        let sum = |luma: Vec<u8>| luma.into_iter().map(u64::from).sum::<u64>();
        let even = sum(seen(&[]));
        assert_eq!(sum(seen(&[(name::EXPOSURE, 50)])), even);
        assert!(sum(seen(&[(name::EXPOSURE, 50), (name::AE_MODE, 1)])) < even);
        assert!(sum(seen(&[(name::EXPOSURE, 900), (name::AE_MODE, 1)])) > even);
        assert!(sum(seen(&[(name::BRIGHTNESS, 40)])) > even);
    }

    #[test]
    fn behind_the_shutter_it_is_black() {
        let dark = seen(&[(name::PRIVACY, 1), (name::BRIGHTNESS, 64)]);
        assert!(dark.iter().all(|&luma| luma == BLACK));
    }
}
