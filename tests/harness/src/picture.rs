//! Looking: the bar of the virtual camera, and likeness of pictures.

use std::{path::Path, process::Command};

use std::io::Write;

use anyhow::{Context, ensure};
use image_compare::{Algorithm, prelude::GrayImage};
use rostrum_hal::{FrameSize, Timestamp, sim::bar};
use rostrum_media::layout::{layout, letterbox};
use xtask::room::Terminal;

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
        let weigh =
            |p: &[u8; 4]| 0.2126 * f32::from(p[0]) + 0.7152 * f32::from(p[1]) + 0.0722 * f32::from(p[2]);
        self.pixels.as_chunks::<4>().0.iter().map(|pixel| weigh(pixel).round() as u8).collect()
    }

    /// The bar at its top.
    pub fn bar(&self) -> Option<bar::Bar> {
        bar::read_luma(&self.luma(), self.size(), self.width as usize)
    }

    /// Its size.
    pub fn size(&self) -> FrameSize {
        FrameSize::new(self.width, self.height)
    }

    /// The part of it at `x`, `y`.
    fn crop(&self, x: u32, y: u32, size: FrameSize) -> Self {
        let row = |line: u32| {
            let start = ((y + line) * self.width + x) as usize * 4;
            self.pixels[start..start + size.width as usize * 4].iter().copied()
        };
        Self { width: size.width, height: size.height, pixels: (0..size.height).flat_map(row).collect() }
    }
}

/// What the room's screen shows now.
///
/// # Errors
/// When the panel has no picture.
pub fn of_screen(room: &Terminal) -> anyhow::Result<Rgba> {
    let (_, jpeg) = xtask::room::http_bytes(&format!("{}/api/v1/screen.jpg?quality=95", room.panel.url))?;
    let file = tempfile::Builder::new().suffix(".jpg").tempfile()?;
    file.as_file().write_all(&jpeg)?;
    let probe = Command::new("ffprobe")
        .args(["-v", "error", "-show_entries", "stream=width,height", "-of", "csv=p=0"])
        .arg(file.path())
        .output()?;
    let text = String::from_utf8(probe.stdout)?;
    let (width, height) = text.trim().split_once(',').context("the screen's picture is no JPEG")?;
    let raw = Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(file.path())
        .args(["-f", "rawvideo", "-pix_fmt", "rgba", "-"])
        .output()?;
    Ok(Rgba { width: width.parse()?, height: height.parse()?, pixels: raw.stdout })
}

/// The bars of all cameras of the given aspect ratio that the room's screen shows with `seats` participants.
///
/// # Errors
/// When the panel has no picture.
pub fn bars_on_screen(
    room: &Terminal,
    seats: usize,
    camera: FrameSize,
) -> anyhow::Result<Vec<Option<bar::Bar>>> {
    let screen = of_screen(room)?;
    let places = layout(screen.size(), seats, false);
    let read = |cell: &rostrum_media::layout::Cell| {
        let place = letterbox(cell.picture, camera);
        screen.crop(place.x, place.y, place.size()).bar()
    };
    Ok(places.seats.iter().map(read).collect())
}

/// Writes a recording for a browser's fake camera: `frames` of a film at 25 Hz, with bars of camera `camera_id`
/// whose frame number counts them.
///
/// # Errors
/// When the film cannot be read or the file not be written.
pub fn fake_camera(
    film: &Path,
    into: &Path,
    size: FrameSize,
    frames: u32,
    camera_id: u8,
) -> anyhow::Result<()> {
    let filter = format!("scale={}:{},format=yuv420p", size.width, size.height);
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(film)
        .args(["-vf", &filter, "-frames:v", &frames.to_string(), "-f", "rawvideo", "-"])
        .output()?;
    let length = (size.width * size.height * 3 / 2) as usize;
    ensure!(output.stdout.len() == length * frames as usize, "the film has fewer than {frames} frames");
    let mut file = std::io::BufWriter::new(std::fs::File::create(into)?);
    writeln!(file, "YUV4MPEG2 W{} H{} F25:1 Ip A1:1 C420jpeg", size.width, size.height)?;
    for (number, frame) in output.stdout.chunks_exact(length).enumerate() {
        let mut frame = frame.to_vec();
        let frame_number = u32::try_from(number)?;
        bar::burn(&mut frame, size, bar::Bar { capture_time: Timestamp::default(), frame_number, camera_id });
        writeln!(file, "FRAME")?;
        file.write_all(&frame)?;
    }
    Ok(file.flush()?)
}

/// Writes the sound of a film as a WAV file for a browser's fake microphone, and gives its samples.
///
/// # Errors
/// When ffmpeg cannot do it.
pub fn fake_microphone(film: &Path, into: &Path) -> anyhow::Result<Vec<f32>> {
    let status = Command::new("ffmpeg")
        .args(["-y", "-v", "error", "-i"])
        .arg(film)
        .args(["-vn", "-ac", "1", "-ar", "48000", "-c:a", "pcm_s16le"])
        .arg(into)
        .status()?;
    ensure!(status.success(), "ffmpeg cannot read the sound of {}", film.display());
    crate::sound::parse_wav(&std::fs::read(into)?)
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
    let result =
        image_compare::gray_similarity_structure(&Algorithm::MSSIMSimple, &below(one)?, &below(other)?)?;
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
