//! Looking: the bar of the virtual camera, and likeness of pictures.

use std::{path::Path, process::Command};

use anyhow::{Context, ensure};
use image_compare::{Algorithm, GrayImage};
use rostrum_hal::{FrameSize, sim::bar};

/// One picture, four bytes a pixel.
pub struct Rgba {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Red, green, blue, opacity, row by row.
    pub pixels: Vec<u8>,
}

impl Rgba {
    /// Luma (BT.709), 0..=255, of each pixel.
    pub fn luma(&self) -> Vec<u8> {
        let weigh = |p: &[u8; 4]| 0.2126 * f32::from(p[0]) + 0.7152 * f32::from(p[1]) + 0.0722 * f32::from(p[2]);
        self.pixels.as_chunks::<4>().0.iter().map(|pixel| weigh(pixel).round() as u8).collect()
    }

    /// The bar at its top.
    pub fn bar(&self) -> Option<bar::Bar> {
        bar::read(&self.luma(), FrameSize::new(self.width, self.height))
    }
}

/// Mean structural similarity, up to 1.0, of two pictures of one size given by their luma, from row `top` down.
///
/// # Errors
/// When sizes differ.
pub fn likeness(size: FrameSize, top: u32, one: &[u8], other: &[u8]) -> anyhow::Result<f64> {
    let below = |luma: &[u8]| {
        let rest = luma.get((size.width * top) as usize..).unwrap_or_default().to_vec();
        GrayImage::from_raw(size.width, size.height - top, rest).context("a picture of another size")
    };
    let result = image_compare::gray_similarity_structure(&Algorithm::MSSIMSimple, &below(one)?, &below(other)?)?;
    Ok(result.score)
}

/// Luma of frame `index` of a film, scaled to `size`, 0..=255 like [`Rgba::luma`].
///
/// # Errors
/// When ffmpeg cannot read it.
pub fn film_frame(film: &Path, index: u32, size: FrameSize) -> anyhow::Result<Vec<u8>> {
    let filter = format!("select=eq(n\\,{index}),scale={}:{},format=rgba", size.width, size.height);
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(film)
        .args(["-vf", &filter, "-frames:v", "1", "-f", "rawvideo", "-"])
        .output()?;
    ensure!(output.status.success(), "ffmpeg: {}", String::from_utf8_lossy(&output.stderr));
    let picture = Rgba { width: size.width, height: size.height, pixels: output.stdout };
    ensure!(picture.pixels.len() == (size.width * size.height * 4) as usize, "the film has no frame {index}");
    Ok(picture.luma())
}
