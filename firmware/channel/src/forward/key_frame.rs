//! Where a decoder can start: the first packet of a key frame, from payload bytes alone.

use crate::transport::CodecKey;

/// What a payload says about key frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyFrame {
    /// A decoder that knows nothing can start with this packet.
    Start,
    /// A decoder that has the parameter sets from elsewhere can start with this packet (an H.264 IDR picture
    /// without its SPS in the same packet).
    Picture,
    /// It cannot start here.
    No,
}

/// Looks at a payload without RTP header.
pub fn detect(codec: CodecKey, payload: &[u8]) -> KeyFrame {
    let start = match codec {
        CodecKey::H264 => return h264(payload),
        CodecKey::Vp8 => vp8(payload),
        CodecKey::Vp9 => vp9(payload),
        CodecKey::Av1 => av1(payload),
        // Every packet of sound can be the first.
        CodecKey::Opus | CodecKey::Red => true,
    };
    if start { KeyFrame::Start } else { KeyFrame::No }
}

const NAL_IDR: u8 = 5;
const NAL_SPS: u8 = 7;
const NAL_STAP_A: u8 = 24;
const NAL_FU_A: u8 = 28;

fn h264(payload: &[u8]) -> KeyFrame {
    let of_type = |kind: u8| match kind {
        NAL_SPS => KeyFrame::Start,
        NAL_IDR => KeyFrame::Picture,
        _ => KeyFrame::No,
    };
    let Some(first) = payload.first() else { return KeyFrame::No };
    match first & 0x1f {
        // RFC 6184 §5.7.1: NAL units with a 16-bit size each.
        NAL_STAP_A => {
            let mut rest = &payload[1..];
            let mut found = KeyFrame::No;
            while let [high, low, tail @ ..] = rest {
                let size = usize::from(u16::from_be_bytes([*high, *low]));
                let (Some(nal), Some(next)) = (tail.first(), tail.get(size..)) else { break };
                match of_type(nal & 0x1f) {
                    KeyFrame::Start => return KeyFrame::Start,
                    KeyFrame::Picture => found = KeyFrame::Picture,
                    KeyFrame::No => {}
                }
                rest = next;
            }
            found
        }
        // RFC 6184 §5.8: the first fragment has the start bit.
        NAL_FU_A => match payload.get(1) {
            Some(header) if header & 0x80 != 0 => of_type(header & 0x1f),
            _ => KeyFrame::No,
        },
        kind => of_type(kind),
    }
}

fn vp8(payload: &[u8]) -> bool {
    // RFC 7741 §4.2, §4.3: start of partition 0, and the frame header's inverse key frame bit.
    let Some(descriptor) = super::vp8::Descriptor::parse(payload) else { return false };
    descriptor.starts_frame() && payload.get(descriptor.length()).is_some_and(|header| header & 0x01 == 0)
}

fn vp9(payload: &[u8]) -> bool {
    // RFC 9628 §4.2: I P L F B E V Z; not inter-predicted, and begin of a frame. With layers: spatial layer 0.
    let Some(first) = payload.first() else { return false };
    let (picture_id, predicted, layers, begin) = (first & 0x80, first & 0x40, first & 0x20, first & 0x08);
    if predicted != 0 || begin == 0 {
        return false;
    }
    if layers == 0 {
        return true;
    }
    let id_bytes = match (picture_id != 0, payload.get(1)) {
        (false, _) => 0,
        (true, Some(id)) if id & 0x80 != 0 => 2,
        (true, Some(_)) => 1,
        (true, None) => return false,
    };
    payload.get(1 + id_bytes).is_some_and(|layer| (layer >> 1) & 0x07 == 0)
}

fn av1(payload: &[u8]) -> bool {
    // AV1 RTP specification §4.4: Z Y W W N; N says that a coded video sequence starts.
    payload.first().is_some_and(|header| header & 0x08 != 0 && header & 0x80 == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn h264_starts_with_its_parameter_sets() {
        assert_eq!(h264(&[0x67, 0x42]), KeyFrame::Start);
        assert_eq!(h264(&[0x65, 0x88]), KeyFrame::Picture);
        assert_eq!(h264(&[0x41, 0x9a]), KeyFrame::No);
        // STAP-A of SPS and PPS; of PPS and IDR; with a size that lies.
        assert_eq!(h264(&[0x78, 0, 2, 0x67, 0x42, 0, 1, 0x68]), KeyFrame::Start);
        assert_eq!(h264(&[0x78, 0, 1, 0x68, 0, 2, 0x65, 0x88]), KeyFrame::Picture);
        assert_eq!(h264(&[0x78, 0xff, 0xff, 0x67]), KeyFrame::No);
        // FU-A of an IDR: first and second fragment.
        assert_eq!(h264(&[0x7c, 0x85, 0x88]), KeyFrame::Picture);
        assert_eq!(h264(&[0x7c, 0x05, 0x88]), KeyFrame::No);
    }

    #[test]
    fn vp8_starts_with_a_key_frame_of_partition_0() {
        assert!(vp8(&[0x10, 0x00]));
        assert!(!vp8(&[0x10, 0x01]), "an inter frame");
        assert!(!vp8(&[0x00, 0x00]), "not the first packet");
        // X, I with 15 bits, L, T.
        assert!(vp8(&[0x90, 0xe0, 0x80, 0x01, 0x05, 0x20, 0x00]));
    }

    #[test]
    fn vp9_and_av1_starts_are_seen() {
        assert!(vp9(&[0x08]));
        assert!(!vp9(&[0x48]));
        assert!(vp9(&[0xa8, 0x80, 0x01, 0x00]), "spatial layer 0");
        assert!(!vp9(&[0xa8, 0x80, 0x01, 0x02]), "spatial layer 1");
        assert!(av1(&[0x08]));
        assert!(!av1(&[0x10]));
    }

    proptest! {
        #[test]
        fn no_payload_panics(payload in prop::collection::vec(any::<u8>(), 0..64)) {
            for codec in CodecKey::VIDEO.into_iter().chain(CodecKey::AUDIO) {
                detect(codec, &payload);
            }
        }
    }
}
