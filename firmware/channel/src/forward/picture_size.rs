//! The size of a picture, from the payload that starts a key frame: for publishers that do not say it.

use crate::transport::CodecKey;

use super::vp8::Descriptor;

/// Width and height in pixels, where the payload says them: VP8 (RFC 6386 §9.1) and H.264 with its parameter sets
/// in the same packet (ITU-T H.264 §7.3.2.1.1).
pub fn detect(codec: CodecKey, payload: &[u8]) -> Option<(u32, u32)> {
    let size = match codec {
        CodecKey::Vp8 => vp8(payload),
        CodecKey::H264 => sps(payload).and_then(|sps| h264(&sps)),
        _ => None,
    };
    size.filter(|(width, height)| *width > 0 && *height > 0)
}

fn vp8(payload: &[u8]) -> Option<(u32, u32)> {
    let descriptor = Descriptor::parse(payload)?;
    let header = payload.get(descriptor.length()..)?.first_chunk::<10>()?;
    let key_frame = descriptor.starts_frame() && header[0] & 0x01 == 0 && header[3..6] == [0x9d, 0x01, 0x2a];
    // The upper two bits are a scale for display.
    let pixels = |low: u8, high: u8| u32::from(u16::from_le_bytes([low, high]) & 0x3fff);
    key_frame.then(|| (pixels(header[6], header[7]), pixels(header[8], header[9])))
}

const NAL_SPS: u8 = 7;
const NAL_STAP_A: u8 = 24;

/// The sequence parameter set in a payload, without its header and without emulation prevention.
fn sps(payload: &[u8]) -> Option<Vec<u8>> {
    let first = *payload.first()?;
    let nal = match first & 0x1f {
        NAL_SPS => payload,
        NAL_STAP_A => {
            let mut rest = payload.get(1..)?;
            loop {
                let ([high, low], tail) = rest.split_first_chunk::<2>()?;
                let (nal, next) = tail.split_at_checked(usize::from(u16::from_be_bytes([*high, *low])))?;
                if nal.first().is_some_and(|header| header & 0x1f == NAL_SPS) {
                    break nal;
                }
                rest = next;
            }
        }
        _ => return None,
    };
    let mut plain = Vec::with_capacity(nal.len());
    let mut zeros = 0;
    for byte in nal.get(1..)? {
        if zeros >= 2 && *byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if *byte == 0 { zeros + 1 } else { 0 };
        plain.push(*byte);
    }
    Some(plain)
}

/// Profiles whose parameter sets tell the chroma format.
const HIGH_PROFILES: [u32; 12] = [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134];

fn h264(sps: &[u8]) -> Option<(u32, u32)> {
    let mut bits = Bits { bytes: sps, at: 0 };
    let profile = bits.take(8)?;
    bits.take(16)?; // constraints and level
    bits.ue()?; // id
    let mut chroma = 1;
    let mut separate_planes = false;
    if HIGH_PROFILES.contains(&profile) {
        chroma = bits.ue()?;
        if chroma == 3 {
            separate_planes = bits.flag()?;
        }
        bits.ue()?; // bit depth of luma
        bits.ue()?; // and of chroma
        bits.flag()?; // lossless transform bypass
        if bits.flag()? {
            for list in 0..if chroma == 3 { 12 } else { 8 } {
                if bits.flag()? {
                    skip_scaling_list(&mut bits, if list < 6 { 16 } else { 64 })?;
                }
            }
        }
    }
    bits.ue()?; // frame numbers
    match bits.ue()? {
        0 => drop(bits.ue()?),
        1 => {
            bits.flag()?;
            bits.ue()?;
            bits.ue()?;
            for _ in 0..bits.ue()?.min(255) {
                bits.ue()?;
            }
        }
        _ => {}
    }
    bits.ue()?; // reference frames
    bits.flag()?; // gaps
    let width = bits.ue()?.checked_add(1)?.checked_mul(16)?;
    let units = bits.ue()?.checked_add(1)?;
    let frames_only = bits.flag()?;
    let fields = if frames_only { 1 } else { 2 };
    let height = units.checked_mul(16 * fields)?;
    if !frames_only {
        bits.flag()?;
    }
    bits.flag()?; // direct 8x8 inference
    let (mut crop_width, mut crop_height) = (0, 0);
    if bits.flag()? {
        let (unit_width, unit_height) = match chroma {
            1 if !separate_planes => (2, 2 * fields),
            2 => (2, fields),
            _ => (1, fields),
        };
        crop_width = bits.ue()?.checked_add(bits.ue()?)?.checked_mul(unit_width)?;
        crop_height = bits.ue()?.checked_add(bits.ue()?)?.checked_mul(unit_height)?;
    }
    Some((width.checked_sub(crop_width)?, height.checked_sub(crop_height)?))
}

fn skip_scaling_list(bits: &mut Bits<'_>, size: usize) -> Option<()> {
    let (mut last, mut next) = (8i64, 8i64);
    for _ in 0..size {
        if next != 0 {
            let code = i64::from(bits.ue()?);
            let delta = if code % 2 == 0 { -(code / 2) } else { code / 2 + 1 };
            next = (last + delta + 256).rem_euclid(256);
        }
        if next != 0 {
            last = next;
        }
    }
    Some(())
}

/// Reads bits, the highest first.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn flag(&mut self) -> Option<bool> {
        let byte = self.bytes.get(self.at / 8)?;
        let bit = byte >> (7 - self.at % 8) & 1;
        self.at += 1;
        Some(bit == 1)
    }

    fn take(&mut self, count: u32) -> Option<u32> {
        (0..count).try_fold(0, |value, _| Some(value << 1 | u32::from(self.flag()?)))
    }

    /// An Exp-Golomb code (ITU-T H.264 §9.1).
    fn ue(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while !self.flag()? {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        Some((1u32 << zeros) - 1 + self.take(zeros)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_key_frame_of_vp8_says_its_size() {
        // Descriptor with S, frame tag of a key frame, start code, 640x360 with a scale that does not matter.
        let payload = [0x10, 0x50, 0x01, 0x00, 0x9d, 0x01, 0x2a, 0x80, 0x42, 0x68, 0x01, 0xff];
        assert_eq!(detect(CodecKey::Vp8, &payload), Some((640, 360)));
        let mut delta = payload;
        delta[1] |= 1;
        assert_eq!(detect(CodecKey::Vp8, &delta), None);
    }

    #[test]
    fn parameter_sets_of_h264_say_the_size() {
        // What x264 writes for these sizes: baseline 1280x720, high 1920x1080 (cropped from 1088).
        let baseline =
            [0x67, 0x42, 0xc0, 0x1f, 0xd9, 0x00, 0x50, 0x05, 0xbb, 0x01, 0x10, 0x00, 0x00, 0x03, 0x00, 0x10];
        let high = [
            0x67, 0x64, 0x00, 0x28, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xe5, 0xc0, 0x44, 0x00, 0x00, 0x03,
            0x00, 0x04,
        ];
        assert_eq!(detect(CodecKey::H264, &baseline), Some((1280, 720)));
        assert_eq!(detect(CodecKey::H264, &high), Some((1920, 1080)));
        let mut together = vec![24, 0, 2, 0x09, 0x10, 0, high.len() as u8];
        together.extend(high);
        assert_eq!(detect(CodecKey::H264, &together), Some((1920, 1080)));
    }

    proptest! {
        #[test]
        fn no_payload_panics(payload in prop::collection::vec(any::<u8>(), 0..120), head in prop::sample::select(vec![0x67u8, 0x78, 0x10, 0x90])) {
            for codec in [CodecKey::Vp8, CodecKey::H264, CodecKey::Vp9, CodecKey::Av1, CodecKey::Opus] {
                let with_head: Vec<u8> = std::iter::once(head).chain(payload.iter().copied()).collect();
                if let Some((width, height)) = detect(codec, &with_head) {
                    prop_assert!(width > 0 && height > 0);
                }
            }
        }
    }
}
