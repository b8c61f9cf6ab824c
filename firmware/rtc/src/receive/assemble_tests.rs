#![allow(clippy::unwrap_used)]
use proptest::prelude::*;

use super::*;
use crate::send::h264::packetise;

const PATIENCE: Duration = Duration::from_millis(150);

/// Frames of an encoder: every tenth a key frame; packets of 100 bytes.
fn stream(frames: usize) -> Vec<(u64, Packet)> {
    let mut sequence = 1000u64;
    let mut out = Vec::new();
    for frame in 0..frames {
        let payloads = packetise(&access_unit(frame), 100);
        let last = payloads.len() - 1;
        for (i, payload) in payloads.iter().enumerate() {
            let packet = Packet::for_test(sequence as u16, frame as u32 * 3000, i == last, payload);
            out.push((sequence, packet));
            sequence += 1;
        }
    }
    out
}

fn access_unit(frame: usize) -> Bytes {
    let mut out = Vec::new();
    if frame.is_multiple_of(10) {
        out.extend([0, 0, 0, 1, 0x67, 1, 2, 3, 0, 0, 0, 1, 0x68, 4, 0, 0, 0, 1, 0x65]);
    } else {
        out.extend([0, 0, 0, 1, 0x41]);
    }
    out.extend(std::iter::repeat_n(frame as u8 | 0x80, 50 + 37 * (frame % 7)));
    Bytes::from(out)
}

#[test]
fn frames_leave_at_once_and_whole() {
    let now = Instant::now();
    let mut a = Assembler::new(now);
    let mut delivered = 0;
    for (sequence, packet) in stream(30) {
        let marker = packet.marker;
        let mut out = Vec::new();
        a.insert(sequence, packet, Codec::H264, now, &mut out);
        assert_eq!(out.len(), usize::from(marker));
        for frame in out {
            assert_eq!(frame.data, access_unit(delivered));
            assert_eq!(frame.key, delivered % 10 == 0);
            delivered += 1;
        }
    }
    assert_eq!(delivered, 30);
}

#[test]
fn a_repaired_hole_costs_no_frame() {
    let now = Instant::now();
    let mut a = Assembler::new(now);
    let mut out = Vec::new();
    let mut packets = stream(20);
    let late = packets.remove(7);
    for (sequence, packet) in packets {
        a.insert(sequence, packet, Codec::H264, now, &mut out);
    }
    assert!(out.len() < 20 && !a.wants_key_frame(now, PATIENCE));
    a.insert(late.0, late.1, Codec::H264, now + Duration::from_millis(30), &mut out);
    assert_eq!(out.len(), 20);
}

#[test]
fn an_old_hole_asks_for_a_key_frame_and_goes_on_there() {
    let now = Instant::now();
    let mut a = Assembler::new(now);
    let mut out = Vec::new();
    let mut packets = stream(15);
    packets.retain(|(_, p)| p.timestamp != 3000 * 3);
    let (early, late): (Vec<_>, Vec<_>) = packets.into_iter().partition(|(_, p)| p.timestamp < 3000 * 10);
    for (sequence, packet) in early {
        a.insert(sequence, packet, Codec::H264, now, &mut out);
    }
    assert_eq!(out.len(), 3);
    let later = now + PATIENCE;
    assert!(a.wants_key_frame(later, PATIENCE));
    assert!(!a.wants_key_frame(later + Duration::from_millis(1), PATIENCE), "not twice at once");
    for (sequence, packet) in late {
        a.insert(sequence, packet, Codec::H264, later, &mut out);
    }
    a.handle_timeout(later, &mut out);
    assert_eq!(out.len(), 3 + 5);
    assert!(out[3].key && a.skipped() > 0);
}

#[test]
fn nothing_leaves_before_the_first_key_frame() {
    let now = Instant::now();
    let mut a = Assembler::new(now);
    let mut out = Vec::new();
    for (sequence, packet) in stream(15).into_iter().filter(|(_, p)| p.timestamp >= 9000) {
        a.insert(sequence, packet, Codec::H264, now, &mut out);
    }
    assert_eq!(out.len(), 5);
    assert!(out[0].key);
}

#[test]
fn padding_between_frames_is_passed_over() {
    let now = Instant::now();
    let mut a = Assembler::new(now);
    let mut out = Vec::new();
    let mut shift = 0;
    for (sequence, packet) in stream(5) {
        let (marker, timestamp) = (packet.marker, packet.timestamp);
        a.insert(sequence + shift, packet, Codec::H264, now, &mut out);
        if marker {
            shift += 1;
            let padding = Packet::for_test(0, timestamp, false, &[]);
            a.insert(sequence + shift, padding, Codec::H264, now, &mut out);
        }
    }
    assert_eq!(out.len(), 5);
    assert!(a.hole.is_none());
}

proptest! {
    #[test]
    fn any_order_and_loss_gives_only_whole_frames_in_order(
        order in prop::collection::vec((0usize..200, 0u64..50), 1..600),
    ) {
        let packets = stream(60);
        let mut now = Instant::now();
        let mut a = Assembler::new(now);
        let mut out = Vec::new();
        for (i, wait) in order {
            now += Duration::from_millis(wait);
            let (sequence, packet) = packets[i % packets.len()].clone();
            a.insert(sequence, packet, Codec::H264, now, &mut out);
            a.handle_timeout(now, &mut out);
            a.wants_key_frame(now, PATIENCE);
            prop_assert!(a.packets.len() <= MAX_PACKETS && a.bytes <= MAX_BYTES);
            prop_assert_eq!(a.bytes, a.packets.values().map(|s| s.data.len()).sum::<usize>());
        }
        let mut last = None;
        for frame in out {
            let number = frame.rtp_timestamp as usize / 3000;
            prop_assert_eq!(&frame.data, &access_unit(number));
            prop_assert!(last.is_none_or(|l| number > l));
            // Every frame's references were delivered: it follows its predecessor or is a key frame.
            prop_assert!(frame.key || last == Some(number - 1));
            last = Some(number);
        }
    }

    #[test]
    fn garbage_is_bounded(
        packets in prop::collection::vec((any::<u16>(), 0u32..5, any::<bool>(), prop::collection::vec(any::<u8>(), 0..40)), 1..400),
    ) {
        let now = Instant::now();
        for codec in [Codec::H264, Codec::Vp8, Codec::Vp9, Codec::Av1] {
            let mut a = Assembler::new(now);
            let mut out = Vec::new();
            for (sequence, timestamp, marker, payload) in &packets {
                let packet = Packet::for_test(*sequence, *timestamp, *marker, payload);
                a.insert(u64::from(*sequence) + 70_000, packet, codec, now, &mut out);
                prop_assert!(a.packets.len() <= MAX_PACKETS);
            }
        }
    }
}
