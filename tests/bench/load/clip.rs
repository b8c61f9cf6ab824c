//! What publishers send: pictures that were encoded once, sliced into RTP payloads (RFC 6184), and sound of a
//! plausible size.

use std::{fs, path::Path};

use anyhow::Context;

/// The most bytes of a payload, without the stamp: what leaves room for headers in 1200 bytes.
const MAX_PAYLOAD: usize = 1150;
/// Type of a fragment (RFC 6184 §5.8).
const FU_A: u8 = 28;

/// The layers of a camera, low to high.
pub(crate) struct Clip {
    pub(crate) layers: [Layer; 3],
}

/// One simulcast layer.
pub(crate) struct Layer {
    pub(crate) rid: &'static str,
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) bitrate: u32,
    /// The first is a key frame, and no other.
    pub(crate) frames: Vec<Frame>,
}

/// The payloads of one picture.
pub(crate) type Frame = Vec<Vec<u8>>;

impl Clip {
    /// Reads the layers that [`xtask::setup::simulcast_clip`] makes.
    pub(crate) fn load() -> anyhow::Result<Self> {
        let [low, mid, high] = xtask::setup::simulcast_clip()?;
        Ok(Self {
            layers: [
                layer("q", (320, 180), &low)?,
                layer("h", (640, 360), &mid)?,
                layer("f", (1280, 720), &high)?,
            ],
        })
    }
}

fn layer(rid: &'static str, (width, height): (u32, u32), file: &Path) -> anyhow::Result<Layer> {
    let stream = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let frames: Vec<Frame> = pictures(&stream).iter().map(|picture| slice(picture)).collect();
    anyhow::ensure!(frames.len() > 100, "{} holds only {} pictures", file.display(), frames.len());
    let bitrate = (stream.len() * 8 * 30 / frames.len()) as u32;
    Ok(Layer { rid, width, height, bitrate, frames })
}

/// The units of each picture of an Annex B stream, parameter sets before the picture that they are for.
fn pictures(stream: &[u8]) -> Vec<Vec<&[u8]>> {
    let mut pictures = Vec::new();
    let mut picture = Vec::new();
    let mut complete = false;
    for unit in units(stream) {
        let kind = unit[0] & 0x1f;
        let coded = matches!(kind, 1 | 5);
        // A slice whose first macroblock is 0 starts a picture: Exp-Golomb code `1`.
        let first = !coded || unit.get(1).is_some_and(|byte| byte & 0x80 != 0);
        if complete && first {
            pictures.push(std::mem::take(&mut picture));
            complete = false;
        }
        if coded || matches!(kind, 7 | 8) {
            picture.push(unit);
            complete |= coded;
        }
    }
    if complete {
        pictures.push(picture);
    }
    pictures
}

/// What is between the start codes.
fn units(stream: &[u8]) -> Vec<&[u8]> {
    let mut starts = Vec::new();
    let mut at = 0;
    while at + 3 <= stream.len() {
        if stream[at..at + 3] == [0, 0, 1] {
            starts.push(at);
            at += 3;
        } else {
            at += 1;
        }
    }
    let ends = starts.iter().skip(1).copied().chain([stream.len()]);
    let between = starts.iter().zip(ends).map(|(start, end)| {
        // A zero before a start code belongs to that.
        let unit = &stream[start + 3..end];
        let zeros = unit.iter().rev().take_while(|byte| **byte == 0).count();
        &unit[..unit.len() - zeros]
    });
    between.filter(|unit| !unit.is_empty()).collect()
}

/// The payloads of one picture: single units, and fragments of those that are too long.
fn slice(picture: &[&[u8]]) -> Frame {
    let mut payloads = Vec::new();
    for unit in picture {
        if unit.len() <= MAX_PAYLOAD {
            payloads.push(unit.to_vec());
            continue;
        }
        let (head, body) = (unit[0], &unit[1..]);
        let pieces = body.chunks(MAX_PAYLOAD - 2);
        let last = pieces.len() - 1;
        for (place, piece) in pieces.enumerate() {
            let (start, end) = (u8::from(place == 0) << 7, u8::from(place == last) << 6);
            payloads.push([&[head & 0xe0 | FU_A, start | end | head & 0x1f], piece].concat());
        }
    }
    payloads
}

/// A packet of Opus by its first byte (20 ms, mono, full band, RFC 6716 §3.1), of the size that 32 kbit/s give.
pub(crate) fn sound(number: u32) -> Vec<u8> {
    let noise = (0..79u32).map(|place| (number.wrapping_mul(31) ^ place.wrapping_mul(0x9e37_79b9)) as u8);
    std::iter::once(15 << 3).chain(noise).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Puts payloads together again.
    fn join(payloads: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let mut units: Vec<Vec<u8>> = Vec::new();
        for payload in payloads {
            match payload[0] & 0x1f {
                FU_A => {
                    if payload[1] & 0x80 != 0 {
                        units.push(vec![payload[0] & 0xe0 | payload[1] & 0x1f]);
                    }
                    if let Some(unit) = units.last_mut() {
                        unit.extend(&payload[2..]);
                    }
                }
                _ => units.push(payload.clone()),
            }
        }
        units
    }

    #[test]
    fn a_long_unit_survives_slicing() {
        let long: Vec<u8> = std::iter::once(0x65).chain((0..5000u32).map(|n| n as u8)).collect();
        let picture: Vec<&[u8]> = vec![&[0x67, 1, 2], &[0x68, 3], &long];
        let payloads = slice(&picture);
        assert!(payloads.iter().all(|payload| payload.len() <= MAX_PAYLOAD));
        assert_eq!(join(&payloads), picture);
    }

    #[test]
    fn parameter_sets_go_with_the_picture_after_them() {
        let stream = [
            &[0u8, 0, 0, 1, 0x67, 1][..],
            &[0, 0, 1, 0x68, 2],
            &[0, 0, 1, 0x65, 0x88, 3],
            &[0, 0, 1, 0x65, 0x08, 4], // a second slice
            &[0, 0, 0, 1, 0x06, 9],
            &[0, 0, 0, 1, 0x41, 0x9a, 5],
        ]
        .concat();
        let pictures = pictures(&stream);
        assert_eq!(pictures.len(), 2);
        assert_eq!(pictures[0].len(), 4);
        assert_eq!(pictures[1], [&[0x41, 0x9a, 5]]);
    }
}
