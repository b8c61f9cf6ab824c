//! The label on a terminal: 50 mm by 25 mm, its Udid as text and in a QR code, by which it is registered.
//!
//! One drawing for both formats: SVG for whoever lays out more, PNG for label printers.

use ab_glyph::{Font, FontRef, Glyph, PxScale, ScaleFont, point};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use qrcode::{Color, EcLevel, QrCode};
use rostrum_hal::identity::Udid;
use sha2::{Digest, Sha256};

use super::ProvisionError;

/// Size of a label.
pub const SIZE_MM: (f32, f32) = (50.0, 25.0);
/// Resolution of the PNG: 304.8 dots an inch, as label printers of 300 have.
pub const DOTS_PER_MM: u32 = 12;

/// Modules of white around a code (ISO/IEC 18004 §9.1).
const QUIET: usize = 4;
/// Where text begins, and how much of it goes into a line.
const TEXT_LEFT_MM: f32 = 26.0;
const TEXT_WIDTH_MM: f32 = 22.5;
const LINE_CHARACTERS: usize = 16;

/// A label, laid out.
#[derive(Clone, Debug, PartialEq)]
pub struct Label {
    code: Vec<Vec<bool>>,
    lines: Vec<Line>,
}

#[derive(Clone, Debug, PartialEq)]
struct Line {
    text: String,
    baseline_mm: f32,
    size_mm: f32,
    width_mm: f32,
}

/// What the code says: `rostrum:UDID`, and the device's public key when it is known, which is all that is needed to
/// register it.
pub fn code_text(udid: &Udid, public_key: Option<&str>) -> String {
    public_key.map_or_else(|| format!("rostrum:{udid}"), |key| format!("rostrum:{udid}?key={key}"))
}

/// How people compare keys: the first 16 hexadecimal digits of the compressed point's SHA-256, in groups of four.
///
/// # Errors
/// [`ProvisionError::Label`] when it is no line of a public key.
pub fn fingerprint(public_key: &str) -> Result<String, ProvisionError> {
    let point = URL_SAFE_NO_PAD.decode(public_key).map_err(|_| wrong("that is no public key"))?;
    let digits = hex::encode(&Sha256::digest(point)[..8]);
    let groups: Vec<_> = (0..4).map(|group| &digits[group * 4..group * 4 + 4]).collect();
    Ok(groups.join(" "))
}

impl Label {
    /// Lays out a label.
    ///
    /// # Errors
    /// [`ProvisionError::Label`].
    pub fn new(udid: &Udid, public_key: Option<&str>) -> Result<Self, ProvisionError> {
        let code = QrCode::with_error_correction_level(code_text(udid, public_key), EcLevel::M);
        let code = code.map_err(|error| wrong(error.to_string()))?;
        let rows = code.to_colors().chunks(code.width()).map(dark).collect();
        let name: Vec<char> = udid.as_str().chars().collect();
        let name: Vec<String> = name.chunks(LINE_CHARACTERS).map(|part| part.iter().collect()).collect();
        // One size for the whole name: that of its widest line.
        let font = font()?;
        let widest = name.iter().map(|line| width_of_size_one(&font, line)).fold(0.1, f32::max);
        let size_mm = (TEXT_WIDTH_MM / widest).min(4.5);
        let mut lines = Vec::new();
        let mut baseline_mm = 5.0;
        let mut add = |text: &str, size_mm: f32, gap_mm: f32| {
            baseline_mm += gap_mm;
            let width_mm = width_of_size_one(&font, text) * size_mm;
            lines.push(Line { text: text.into(), baseline_mm, size_mm, width_mm });
        };
        add("Rostrum", 2.6, 0.0);
        for (index, line) in name.iter().enumerate() {
            add(line, size_mm, if index == 0 { size_mm + 0.8 } else { size_mm });
        }
        if let Some(key) = public_key {
            add(&fingerprint(key)?, 2.2, 4.0);
        }
        Ok(Self { code: rows, lines })
    }

    /// As SVG, in its size.
    pub fn svg(&self) -> String {
        let (width, height) = SIZE_MM;
        let (module, corner) = self.module_mm();
        let mut path = String::new();
        for (y, row) in self.code.iter().enumerate() {
            for (x, _) in row.iter().enumerate().filter(|(_, dark)| **dark) {
                let (left, top) = (corner + x as f32 * module, corner + y as f32 * module);
                path += &format!("M{left:.3} {top:.3}h{module:.3}v{module:.3}h-{module:.3}z");
            }
        }
        let text: String = self
            .lines
            .iter()
            .map(|Line { text, baseline_mm, size_mm, width_mm }| {
                format!(
                    "<text x=\"{TEXT_LEFT_MM}\" y=\"{baseline_mm:.2}\" font-size=\"{size_mm:.2}\" \
                     textLength=\"{width_mm:.2}\" lengthAdjust=\"spacingAndGlyphs\">{text}</text>\n"
                )
            })
            .collect();
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}mm\" height=\"{height}mm\" \
             viewBox=\"0 0 {width} {height}\">\n<rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n\
             <path d=\"{path}\" shape-rendering=\"crispEdges\"/>\n\
             <g font-family=\"Ubuntu, DejaVu Sans, sans-serif\">\n{text}</g>\n</svg>\n"
        )
    }

    /// As PNG of 8-bit grey, [`DOTS_PER_MM`].
    ///
    /// # Errors
    /// [`ProvisionError::Label`].
    pub fn png(&self) -> Result<Vec<u8>, ProvisionError> {
        let dots = |mm: f32| (mm * DOTS_PER_MM as f32).round() as u32;
        let mut paper = Paper::new(dots(SIZE_MM.0), dots(SIZE_MM.1));
        // Whole dots a module, so that all are of one size.
        let modules = (self.code.len() + 2 * QUIET) as u32;
        let module = paper.height / modules;
        let corner = (paper.height - module * self.code.len() as u32) / 2;
        for (y, row) in self.code.iter().enumerate() {
            for (x, _) in row.iter().enumerate().filter(|(_, dark)| **dark) {
                paper.square(corner + x as u32 * module, corner + y as u32 * module, module);
            }
        }
        let font = font()?;
        for line in &self.lines {
            let scale = line.size_mm * DOTS_PER_MM as f32;
            let left = TEXT_LEFT_MM * DOTS_PER_MM as f32;
            for glyph in glyphs(&font, &line.text, scale, (left, line.baseline_mm * DOTS_PER_MM as f32)) {
                paper.glyph(&font, glyph);
            }
        }
        paper.png()
    }

    /// Size of a module, and distance of the code from the label's edges.
    fn module_mm(&self) -> (f32, f32) {
        let module = SIZE_MM.1 / (self.code.len() + 2 * QUIET) as f32;
        (module, module * QUIET as f32)
    }
}

fn dark(row: &[Color]) -> Vec<bool> {
    row.iter().map(|module| *module == Color::Dark).collect()
}

fn font() -> Result<FontRef<'static>, ProvisionError> {
    FontRef::try_from_slice(epaint_default_fonts::UBUNTU_LIGHT).map_err(|error| wrong(error.to_string()))
}

fn width_of_size_one(font: &FontRef<'_>, text: &str) -> f32 {
    let font = font.as_scaled(scale(font, 1.0));
    text.chars().map(|letter| font.h_advance(font.glyph_id(letter))).sum()
}

/// Size as type has it: pixels an em, and not a line's height.
fn scale(font: &FontRef<'_>, size: f32) -> PxScale {
    let units = font.units_per_em().unwrap_or(1000.0);
    PxScale::from(size * font.height_unscaled() / units)
}

fn glyphs(font: &FontRef<'_>, text: &str, size: f32, (left, baseline): (f32, f32)) -> Vec<Glyph> {
    let scale = scale(font, size);
    let scaled = font.as_scaled(scale);
    let mut x = left;
    let place = |letter| {
        let id = scaled.glyph_id(letter);
        let glyph = id.with_scale_and_position(scale, point(x, baseline));
        x += scaled.h_advance(id);
        glyph
    };
    text.chars().map(place).collect()
}

/// White paper in dots.
struct Paper {
    width: u32,
    height: u32,
    dots: Vec<u8>,
}

impl Paper {
    fn new(width: u32, height: u32) -> Self {
        Self { width, height, dots: vec![255; (width * height) as usize] }
    }

    fn ink(&mut self, x: u32, y: u32, coverage: f32) {
        if x < self.width && y < self.height {
            let dot = &mut self.dots[(y * self.width + x) as usize];
            *dot = (f32::from(*dot) * (1.0 - coverage.clamp(0.0, 1.0))) as u8;
        }
    }

    fn square(&mut self, left: u32, top: u32, side: u32) {
        for y in top..top + side {
            for x in left..left + side {
                self.ink(x, y, 1.0);
            }
        }
    }

    fn glyph(&mut self, font: &FontRef<'_>, glyph: Glyph) {
        if let Some(outline) = font.outline_glyph(glyph) {
            let bounds = outline.px_bounds();
            let (left, top) = (bounds.min.x.max(0.0) as u32, bounds.min.y.max(0.0) as u32);
            outline.draw(|x, y, coverage| self.ink(left + x, top + y, coverage));
        }
    }

    fn png(&self) -> Result<Vec<u8>, ProvisionError> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, self.width, self.height);
        encoder.set_color(png::ColorType::Grayscale);
        encoder.set_depth(png::BitDepth::Eight);
        let per_metre = DOTS_PER_MM * 1000;
        let unit = png::Unit::Meter;
        encoder.set_pixel_dims(Some(png::PixelDimensions { xppu: per_metre, yppu: per_metre, unit }));
        let failed = |error: png::EncodingError| wrong(error.to_string());
        let mut writer = encoder.write_header().map_err(failed)?;
        writer.write_image_data(&self.dots).map_err(failed)?;
        writer.finish().map_err(failed)?;
        Ok(bytes)
    }
}

fn wrong(message: impl Into<String>) -> ProvisionError {
    ProvisionError::Label { message: message.into() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn everything_is_on_the_label_for_the_shortest_and_the_longest_name() {
        for name in ["A", "ROOM-0001", "W".repeat(64).as_str()] {
            let label = Label::new(&Udid::new(name).unwrap(), Some(&"A".repeat(44))).unwrap();
            let shown: String =
                label.lines[1..label.lines.len() - 1].iter().map(|line| line.text.as_str()).collect();
            assert_eq!(shown, name);
            for line in &label.lines {
                assert!(line.baseline_mm <= SIZE_MM.1 - 0.8, "{name}: {line:?}");
                assert!(TEXT_LEFT_MM + line.width_mm <= SIZE_MM.0 - 1.0, "{name}: {line:?}");
                assert!(line.size_mm >= 1.3, "nobody reads it: {line:?}");
            }
            let (module, quiet) = label.module_mm();
            assert!(module >= 0.33 && quiet >= 4.0 * module, "{name}: modules of {module} mm");
        }
    }

    #[test]
    fn a_fingerprint_is_short_and_of_one_key() {
        let (one, other) = (fingerprint(&"A".repeat(44)).unwrap(), fingerprint(&"B".repeat(44)).unwrap());
        assert!(one.len() == 19 && one != other, "{one} {other}");
        assert!(fingerprint("a key").is_err());
    }
}
