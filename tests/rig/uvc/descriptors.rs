//! Descriptors of the device (USB 2.0 §9.6, UVC 1.1 §3): one configuration with a video control and a video
//! streaming interface, the latter on a bulk endpoint: `vhci_hcd` has no real time for an isochronous one.

use rostrum_hal::FrameSize;

use crate::{
    control_table::{EXTENSION_GUID, entity},
    controls::bitmap,
    format::{CLOCK_HZ, Coding, DEFAULT_FRAME, INTERVALS, Offer, SIZES},
};

/// Number of the video control interface.
pub(crate) const CONTROL_INTERFACE: u8 = 0;
/// Number of the video streaming interface.
pub(crate) const STREAMING_INTERFACE: u8 = 1;
/// Address of the endpoint that sends the stream.
pub(crate) const BULK_ENDPOINT: u8 = 0x81;
/// Address of the endpoint that tells of changed controls.
pub(crate) const INTERRUPT_ENDPOINT: u8 = 0x83;

const INTERFACE_ASSOCIATION: u8 = 11;
const INTERFACE: u8 = 4;
const ENDPOINT: u8 = 5;
const CLASS_INTERFACE: u8 = 0x24;
const CLASS_ENDPOINT: u8 = 0x25;
const VIDEO_CLASS: u8 = 0x0e;
/// The most characters of a string descriptor: its length is a byte, and counts two bytes more.
const MAX_STRING: usize = 126;

/// Name of the manufacturer.
const MANUFACTURER: &str = "Rig";

/// Device descriptor: the ids of the Linux Foundation's webcam gadget, and the class triple of a device with
/// interface associations.
pub(crate) fn device() -> Vec<u8> {
    descriptor(1, &[0x00, 0x02, 0xef, 2, 1, 64, 0x6b, 0x1d, 0x02, 0x01, 0x10, 0x00, 1, 2, 3, 1])
}

/// Device qualifier: at full speed the device would be the same.
pub(crate) fn device_qualifier() -> Vec<u8> {
    descriptor(6, &[0x00, 0x02, 0xef, 2, 1, 64, 1, 0])
}

/// String descriptor; `None` when there is none of that index.
pub(crate) fn string(index: u8, product: &str, serial: &str) -> Option<Vec<u8>> {
    let text = match index {
        0 => return Some(descriptor(3, &0x0409_u16.to_le_bytes())), // English is the language there is
        1 => MANUFACTURER,
        2 => product,
        3 => serial,
        _ => return None,
    };
    let body: Vec<u8> = text.encode_utf16().take(MAX_STRING).flat_map(u16::to_le_bytes).collect();
    Some(descriptor(3, &body))
}

/// Configuration descriptor with everything that belongs to it.
pub(crate) fn configuration(offer: &Offer) -> Vec<u8> {
    let mut all = descriptor(INTERFACE_ASSOCIATION, &[CONTROL_INTERFACE, 2, VIDEO_CLASS, 3, 0, 0]);
    all.extend(descriptor(INTERFACE, &[CONTROL_INTERFACE, 0, 1, VIDEO_CLASS, 1, 0, 0]));
    all.extend(control_interface());
    // Interrupt, 16 bytes a packet, polled every 2^5 microframes (4 ms).
    all.extend(descriptor(ENDPOINT, &[INTERRUPT_ENDPOINT, 3, 16, 0, 6]));
    all.extend(descriptor(CLASS_ENDPOINT, &[3, 16, 0]));
    all.extend(descriptor(INTERFACE, &[STREAMING_INTERFACE, 0, 1, VIDEO_CLASS, 2, 0, 0]));
    all.extend(streaming_interface(offer));
    // Bulk, 512 bytes a packet.
    all.extend(descriptor(ENDPOINT, &[BULK_ENDPOINT, 2, 0, 2, 0]));
    // Two interfaces, configuration 1, powered by the bus with 500 mA.
    with_total(2, &[], &[2, 1, 0, 0x80, 250], &all)
}

/// Camera terminal, processing unit, extension unit and output terminal, one behind the other.
fn control_interface() -> Vec<u8> {
    let camera_controls = bitmap(entity::CAMERA).to_le_bytes();
    let processing_controls = bitmap(entity::PROCESSING).to_le_bytes();
    let extension_controls = bitmap(entity::EXTENSION).to_le_bytes();
    let mut entities = Vec::new();
    // Terminal type ITT_CAMERA; no focal lengths; three bytes of controls.
    let mut camera = vec![0x02, entity::CAMERA, 0x01, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 3];
    camera.extend(&camera_controls[..3]);
    entities.extend(descriptor(CLASS_INTERFACE, &camera));
    // Digital zoom up to 163.84 times; two bytes of controls; no name; no analogue video standard.
    let mut processing = vec![0x05, entity::PROCESSING, entity::CAMERA, 0x00, 0x40, 2];
    processing.extend(&processing_controls[..2]);
    processing.extend([0, 0]);
    entities.extend(descriptor(CLASS_INTERFACE, &processing));
    // Two controls; one input; one byte of controls; no name.
    let mut extension = vec![0x06, entity::EXTENSION];
    extension.extend(EXTENSION_GUID);
    extension.extend([2, 1, entity::PROCESSING, 1, extension_controls[0], 0]);
    entities.extend(descriptor(CLASS_INTERFACE, &extension));
    // Terminal type TT_STREAMING.
    let output = [0x03, entity::OUTPUT, 0x01, 0x01, 0, entity::EXTENSION, 0];
    entities.extend(descriptor(CLASS_INTERFACE, &output));

    // UVC 1.1; one streaming interface.
    let mut tail = CLOCK_HZ.to_le_bytes().to_vec();
    tail.extend([1, STREAMING_INTERFACE]);
    with_total(CLASS_INTERFACE, &[0x01, 0x10, 0x01], &tail, &entities)
}

fn streaming_interface(offer: &Offer) -> Vec<u8> {
    let mut formats = Vec::new();
    let mut count = 0_u8;
    for &coding in offer.codings() {
        count += 1;
        formats.extend(format(coding, count));
        for (frame, &size) in (1..).zip(&SIZES) {
            formats.extend(self::frame(coding, frame, size, offer.max_frame_bytes(coding, size)));
        }
        // BT.709 primaries and transfer, SMPTE 170M matrix: what hosts take for granted.
        formats.extend(descriptor(CLASS_INTERFACE, &[0x0d, 1, 1, 4]));
    }
    // No dynamic format change, no still images, one byte of controls for each format.
    let mut tail = vec![BULK_ENDPOINT, 0, entity::OUTPUT, 0, 0, 0, 1];
    tail.extend(vec![0; usize::from(count)]);
    with_total(CLASS_INTERFACE, &[0x01, count], &tail, &formats)
}

/// Format descriptor (UVC payload specifications "Uncompressed", "MJPEG" and "Frame Based").
fn format(coding: Coding, index: u8) -> Vec<u8> {
    const FRAMES: u8 = SIZES.len() as u8;
    let guid = |name: &[u8; 4]| {
        let mut guid = name.to_vec();
        guid.extend([0x00, 0x00, 0x10, 0x00, 0x80, 0x00, 0x00, 0xaa, 0x00, 0x38, 0x9b, 0x71]);
        guid
    };
    // Bits a pixel, default frame, aspect ratio, interlace flags, copy protection.
    let tail = |bits_per_pixel: u8| [bits_per_pixel, DEFAULT_FRAME, 0, 0, 0, 0];
    let mut body = Vec::new();
    match coding {
        Coding::Yuyv => {
            body.extend([0x04, index, FRAMES]);
            body.extend(guid(b"YUY2"));
            body.extend(tail(16));
        }
        // Samples of any size in the place of bits a pixel.
        Coding::Mjpeg => {
            body.extend([0x06, index, FRAMES]);
            body.extend(tail(0));
        }
        Coding::H264 => {
            body.extend([0x10, index, FRAMES]);
            body.extend(guid(b"H264"));
            body.extend(tail(0));
            body.push(1); // frames of any size, which makes `uvcvideo` see that it is compressed
        }
    }
    descriptor(CLASS_INTERFACE, &body)
}

fn frame(coding: Coding, index: u8, size: FrameSize, max_bytes: usize) -> Vec<u8> {
    let subtype = match coding {
        Coding::Yuyv => 0x05,
        Coding::Mjpeg => 0x07,
        Coding::H264 => 0x11,
    };
    let max_bytes = u32::try_from(max_bytes).unwrap_or(u32::MAX);
    let bits_per_second = |hertz: u32| max_bytes.saturating_mul(8 * hertz).to_le_bytes();
    let mut body = vec![subtype, index, 0];
    for side in [size.width, size.height] {
        // Sizes of the table have at most 14 bits.
        body.extend(u16::try_from(side).unwrap_or(u16::MAX).to_le_bytes());
    }
    body.extend(bits_per_second(10));
    body.extend(bits_per_second(30));
    // The default interval is the first. Frame based frames have a number of bytes a row (0: any) behind the
    // number of intervals, and no greatest size.
    if coding != Coding::H264 {
        body.extend(max_bytes.to_le_bytes());
    }
    body.extend(INTERVALS[0].to_le_bytes());
    body.push(INTERVALS.len() as u8);
    if coding == Coding::H264 {
        body.extend([0; 4]);
    }
    for interval in INTERVALS {
        body.extend(interval.to_le_bytes());
    }
    descriptor(CLASS_INTERFACE, &body)
}

/// A descriptor: its length, its type, its body.
fn descriptor(kind: u8, body: &[u8]) -> Vec<u8> {
    // Bodies are those of this file, strings are cut to fit.
    let length = u8::try_from(body.len() + 2).unwrap_or(u8::MAX);
    let mut bytes = vec![length, kind];
    bytes.extend(body);
    bytes
}

/// A descriptor whose body says, between `head` and `tail`, how long it is together with what follows it.
fn with_total(kind: u8, head: &[u8], tail: &[u8], following: &[u8]) -> Vec<u8> {
    let own = 2 + head.len() + 2 + tail.len();
    let total = u16::try_from(own + following.len()).unwrap_or(u16::MAX);
    let mut body = head.to_vec();
    body.extend(total.to_le_bytes());
    body.extend(tail);
    let mut bytes = descriptor(kind, &body);
    bytes.extend(following);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer() -> Offer {
        Offer::new(vec![Coding::Yuyv, Coding::Mjpeg, Coding::H264], 0)
    }

    /// Cuts bytes into descriptors by their lengths.
    fn walk(mut bytes: &[u8]) -> Vec<&[u8]> {
        let mut found = Vec::new();
        while let Some(&length) = bytes.first() {
            let (one, rest) = bytes.split_at(usize::from(length));
            found.push(one);
            bytes = rest;
        }
        found
    }

    fn total(descriptor: &[u8], at: usize) -> usize {
        usize::from(u16::from_le_bytes([descriptor[at], descriptor[at + 1]]))
    }

    #[test]
    fn lengths_add_up() {
        assert_eq!(device().len(), 18);
        assert_eq!(device_qualifier().len(), 10);
        let bytes = configuration(&offer());
        assert_eq!(total(&bytes, 2), bytes.len());
        let all = walk(&bytes);
        assert_eq!(all.iter().map(|d| d.len()).sum::<usize>(), bytes.len());

        let interfaces: Vec<usize> = (0..all.len()).filter(|&i| all[i][1] == INTERFACE).collect();
        for (interface, at) in [(interfaces[0], 5), (interfaces[1], 4)] {
            let class: Vec<_> = all[interface + 1..].iter().take_while(|d| d[1] == CLASS_INTERFACE).collect();
            assert_eq!(total(class[0], at), class.iter().map(|d| d.len()).sum::<usize>());
        }
    }

    #[test]
    fn class_descriptors_have_the_lengths_of_the_specification() {
        let bytes = configuration(&offer());
        let lengths: Vec<(u8, usize)> =
            walk(&bytes).iter().filter(|d| d[1] == CLASS_INTERFACE).map(|d| (d[2], d.len())).collect();
        let control = [(0x01, 13), (0x02, 18), (0x05, 12), (0x06, 26), (0x03, 9)];
        let frames = 26 + 4 * INTERVALS.len();
        let mut streaming = vec![(0x01, 13 + 3)];
        for (format, length, frame) in [(0x04, 27, 0x05), (0x06, 11, 0x07), (0x10, 28, 0x11)] {
            streaming.push((format, length));
            streaming.extend([(frame, frames); SIZES.len()]);
            streaming.push((0x0d, 6));
        }
        assert_eq!(lengths, [&control[..], &streaming].concat());
    }

    #[test]
    fn the_controls_are_announced() {
        let bytes = configuration(&offer());
        let all = walk(&bytes);
        let find = |subtype| all.iter().find(|d| d[1] == CLASS_INTERFACE && d[2] == subtype);
        let camera = find(0x02).map(|d| &d[15..18]);
        assert_eq!(camera, Some(&[0b1010_1110, 0b0001_1110, 0b0000_0110][..]));
        let processing = find(0x05).map(|d| &d[8..10]);
        assert_eq!(processing, Some(&[0b0101_1011, 0b0001_0111][..]));
        assert_eq!(find(0x06).map(|d| d[24]), Some(0b11));
    }

    #[test]
    fn strings_of_any_length_fit() {
        let long = "\u{1f3a5}".repeat(200);
        assert_eq!(string(2, &long, "").map(|s| (s.len(), s[0])), Some((254, 254)));
        assert_eq!(string(3, "", "R1"), Some(vec![6, 3, b'R', 0, b'1', 0]));
        assert_eq!(string(4, "", ""), None);
    }
}
