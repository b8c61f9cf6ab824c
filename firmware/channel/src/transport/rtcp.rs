//! RTCP, read from and written to bytes. A hand-made codec because feedback is on the packet path: nothing is
//! boxed, and what a remote can make us allocate is bounded.

use super::{Rtcp, TransportFeedback};

const SR: u8 = 200;
const RR: u8 = 201;
const SDES: u8 = 202;
const BYE: u8 = 203;
const RTPFB: u8 = 205;
const PSFB: u8 = 206;

/// How many sequence numbers one NACK packet may name.
const MAX_NACKED: usize = 1024;

/// One block of a sender or receiver report (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ReportBlock {
    pub(super) ssrc: u32,
    pub(super) fraction_lost: u8,
    /// 24 bits, signed.
    pub(super) total_lost: i32,
    pub(super) highest_seq: u32,
    pub(super) jitter: u32,
    pub(super) last_sr: u32,
    /// Since that report, in 1/65536 s.
    pub(super) delay: u32,
}

/// What a compound packet says.
#[derive(Debug)]
pub(super) enum Parsed {
    /// For the caller as it is.
    Message(Rtcp),
    /// A report on one of our streams.
    Report(ReportBlock),
}

/// Reads a compound packet (RFC 3550 §6.1, RFC 5506) and calls `each` for what is understood. Reading stops at
/// the first malformed packet.
pub(super) fn parse(mut compound: &[u8], mut each: impl FnMut(Parsed)) {
    while let Some(head) = compound.first_chunk::<4>() {
        let len = 4 + 4 * usize::from(u16::from_be_bytes([head[2], head[3]]));
        if head[0] >> 6 != 2 || compound.len() < len {
            return;
        }
        let (packet, rest) = compound.split_at(len);
        let padding = if head[0] & 0x20 != 0 { usize::from(packet[len - 1]) } else { 0 };
        let Some(body) = packet.get(4..len.saturating_sub(padding)) else { return };
        parse_one(head[1], head[0] & 0x1f, body, &mut each);
        compound = rest;
    }
}

fn parse_one(packet_type: u8, count: u8, body: &[u8], each: &mut impl FnMut(Parsed)) {
    match (packet_type, count) {
        (SR, _) => {
            if let (Some(ssrc), Some(ntp), Some(rtp_time)) =
                (u32_at(body, 0), u64_at(body, 4), u32_at(body, 12))
            {
                each(Parsed::Message(Rtcp::SenderReport { ssrc, ntp_time: ntp, rtp_time }));
                blocks(body.get(24..).unwrap_or_default(), count, each);
            }
        }
        (RR, _) => blocks(body.get(4..).unwrap_or_default(), count, each),
        (BYE, _) => {
            for at in 0..usize::from(count) {
                if let Some(ssrc) = u32_at(body, 4 * at) {
                    each(Parsed::Message(Rtcp::Bye { ssrc }));
                }
            }
        }
        (RTPFB, 1) => {
            if let Some(ssrc) = u32_at(body, 4) {
                let seqs = nacked(body.get(8..).unwrap_or_default());
                each(Parsed::Message(Rtcp::Nack { ssrc, seqs }));
            }
        }
        (RTPFB, 15) => {
            if let Some(feedback) = transport_feedback(body) {
                each(Parsed::Message(Rtcp::TransportFeedback(Box::new(feedback))));
            }
        }
        (PSFB, 1) => {
            if let Some(ssrc) = u32_at(body, 4) {
                each(Parsed::Message(Rtcp::Pli { ssrc }));
            }
        }
        (PSFB, 4) => {
            for entry in body.get(8..).unwrap_or_default().chunks_exact(8) {
                if let Some(ssrc) = u32_at(entry, 0) {
                    each(Parsed::Message(Rtcp::Fir { ssrc }));
                }
            }
        }
        (PSFB, 15) => {
            if let Some(remb) = remb(body) {
                each(Parsed::Message(remb));
            }
        }
        _ => {}
    }
}

fn blocks(body: &[u8], count: u8, each: &mut impl FnMut(Parsed)) {
    for block in body.chunks_exact(24).take(count.into()) {
        let word = |at| u32_at(block, at).unwrap_or_default();
        each(Parsed::Report(ReportBlock {
            ssrc: word(0),
            fraction_lost: block[4],
            total_lost: (word(4) << 8).cast_signed() >> 8,
            highest_seq: word(8),
            jitter: word(12),
            last_sr: word(16),
            delay: word(20),
        }));
    }
}

/// The sequence numbers of a generic NACK (RFC 4585 §6.2.1).
fn nacked(entries: &[u8]) -> Vec<u16> {
    let mut seqs = Vec::new();
    for entry in entries.chunks_exact(4) {
        let first = u16::from_be_bytes([entry[0], entry[1]]);
        let mask = u16::from_be_bytes([entry[2], entry[3]]);
        seqs.push(first);
        seqs.extend((0..16).filter(|bit| mask >> bit & 1 != 0).map(|bit| first.wrapping_add(bit + 1)));
        if seqs.len() >= MAX_NACKED {
            seqs.truncate(MAX_NACKED);
            break;
        }
    }
    seqs
}

/// Receiver estimated maximum bitrate (draft-alvestrand-rmcat-remb §2.2).
fn remb(body: &[u8]) -> Option<Rtcp> {
    if body.get(8..12)? != b"REMB" {
        return None;
    }
    let word = u32_at(body, 12)?;
    let exponent = (word >> 18) & 0x3f;
    let bitrate_bps = u64::from(word & 0x3_ffff).checked_shl(exponent).unwrap_or(u64::MAX);
    let ssrcs = body.get(16..)?.chunks_exact(4).take((word >> 24) as usize).filter_map(|s| u32_at(s, 0));
    Some(Rtcp::Remb { bitrate_bps, ssrcs: ssrcs.collect() })
}

/// Transport-wide feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1).
fn transport_feedback(body: &[u8]) -> Option<TransportFeedback> {
    let fixed = body.get(8..16)?;
    let first_seq = u16::from_be_bytes([fixed[0], fixed[1]]);
    let count = usize::from(u16::from_be_bytes([fixed[2], fixed[3]]));
    let reference_time_64ms = u32::from_be_bytes([0, fixed[4], fixed[5], fixed[6]]);
    let mut rest = &body[16..];
    // 0 = not received, 1 = small delta, 2 = large delta
    let mut symbols: Vec<u8> = Vec::with_capacity(count.min(4 * body.len() + 64));
    while symbols.len() < count {
        let (chunk, tail) = rest.split_first_chunk::<2>()?;
        rest = tail;
        let chunk = u16::from_be_bytes(*chunk);
        let room = count - symbols.len();
        if chunk & 0x8000 == 0 {
            let run = usize::from(chunk & 0x1fff).min(room);
            symbols.extend(std::iter::repeat_n((chunk >> 13 & 3) as u8, run));
        } else if chunk & 0x4000 == 0 {
            symbols.extend((0..14).rev().map(|bit| (chunk >> bit & 1) as u8).take(room));
        } else {
            symbols.extend((0..7).rev().map(|at| (chunk >> (2 * at) & 3) as u8).take(room));
        }
    }
    let mut deltas_250us = Vec::with_capacity(count);
    for symbol in symbols {
        deltas_250us.push(match symbol {
            1 => {
                let (delta, tail) = rest.split_first()?;
                rest = tail;
                Some(i16::from(*delta))
            }
            2 => {
                let (delta, tail) = rest.split_first_chunk::<2>()?;
                rest = tail;
                Some(i16::from_be_bytes(*delta))
            }
            _ => None,
        });
    }
    Some(TransportFeedback { first_seq, feedback_count: fixed[7], reference_time_64ms, deltas_250us })
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|b| u32::from_be_bytes(*b))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|b| u64::from_be_bytes(*b))
}

/// Appends a packet with its header; `write` appends the body, a multiple of four bytes.
fn packet(out: &mut Vec<u8>, packet_type: u8, count: u8, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0x80 | count, packet_type, 0, 0]);
    write(out);
    while !(out.len() - start).is_multiple_of(4) {
        out.push(0);
    }
    let words = ((out.len() - start) / 4 - 1) as u16;
    out[start + 2..start + 4].copy_from_slice(&words.to_be_bytes());
}

fn put(out: &mut Vec<u8>, words: &[u32]) {
    for word in words {
        out.extend_from_slice(&word.to_be_bytes());
    }
}

/// Appends a key frame request.
pub(super) fn write_pli(out: &mut Vec<u8>, sender: u32, media: u32) {
    packet(out, PSFB, 1, |out| put(out, &[sender, media]));
}

/// Appends the end of a stream.
pub(super) fn write_bye(out: &mut Vec<u8>, ssrc: u32) {
    packet(out, BYE, 1, |out| put(out, &[ssrc]));
}

/// Appends a generic NACK of ascending sequence numbers.
pub(super) fn write_nack(out: &mut Vec<u8>, sender: u32, media: u32, seqs: &[u16]) {
    packet(out, RTPFB, 1, |out| {
        put(out, &[sender, media]);
        let mut rest = seqs;
        while let Some((first, tail)) = rest.split_first() {
            let fits = tail.iter().take_while(|seq| (1..=16).contains(&seq.wrapping_sub(*first))).count();
            let mask = tail[..fits].iter().fold(0_u16, |m, seq| m | 1 << (seq.wrapping_sub(*first) - 1));
            out.extend_from_slice(&first.to_be_bytes());
            out.extend_from_slice(&mask.to_be_bytes());
            rest = &tail[fits..];
        }
    });
}

/// Appends a sender report without blocks, and the CNAME.
pub(super) fn write_sender_report(
    out: &mut Vec<u8>,
    ssrc: u32,
    ntp_time: u64,
    rtp_time: u32,
    packets: u32,
    octets: u32,
    cname: &str,
) {
    packet(out, SR, 0, |out| {
        put(out, &[ssrc, (ntp_time >> 32) as u32, ntp_time as u32, rtp_time, packets, octets]);
    });
    packet(out, SDES, 1, |out| {
        let cname = &cname.as_bytes()[..cname.len().min(255)];
        put(out, &[ssrc]);
        out.extend_from_slice(&[1, cname.len() as u8]);
        out.extend_from_slice(cname);
        out.push(0);
    });
}

/// Appends a receiver report of at most 31 blocks.
pub(super) fn write_receiver_report(out: &mut Vec<u8>, sender: u32, blocks: &[ReportBlock]) {
    let blocks = &blocks[..blocks.len().min(31)];
    packet(out, RR, blocks.len() as u8, |out| {
        put(out, &[sender]);
        for block in blocks {
            let lost = (block.total_lost.clamp(-0x80_0000, 0x7f_ffff).cast_unsigned()) & 0xff_ffff;
            let lost = u32::from(block.fraction_lost) << 24 | lost;
            put(out, &[block.ssrc, lost, block.highest_seq, block.jitter, block.last_sr, block.delay]);
        }
    });
}

/// Appends transport-wide feedback. The first delta must be there; deltas must fit (the caller sees to it).
pub(super) fn write_transport_feedback(
    out: &mut Vec<u8>,
    sender: u32,
    media: u32,
    feedback: &TransportFeedback,
) {
    packet(out, RTPFB, 15, |out| {
        put(out, &[sender, media]);
        out.extend_from_slice(&feedback.first_seq.to_be_bytes());
        out.extend_from_slice(&(feedback.deltas_250us.len() as u16).to_be_bytes());
        put(out, &[feedback.reference_time_64ms << 8 | u32::from(feedback.feedback_count)]);
        let symbol = |delta: &Option<i16>| match delta {
            None => 0_u16,
            Some(0..=255) => 1,
            Some(_) => 2,
        };
        let mut rest = &feedback.deltas_250us[..];
        while let Some(first) = rest.first().map(symbol) {
            let run = rest.iter().take(0x1fff).take_while(|d| symbol(d) == first).count();
            let (chunk, used) = if run >= 7 || run == rest.len() {
                (first << 13 | run as u16, run)
            } else {
                let used = rest.len().min(7);
                let symbols = rest[..used].iter().enumerate();
                (symbols.fold(0xc000, |c, (at, d)| c | symbol(d) << (12 - 2 * at)), used)
            };
            out.extend_from_slice(&chunk.to_be_bytes());
            rest = &rest[used..];
        }
        for delta in feedback.deltas_250us.iter().flatten() {
            match u8::try_from(*delta) {
                Ok(small) => out.push(small),
                Err(_) => out.extend_from_slice(&delta.to_be_bytes()),
            }
        }
    });
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use rtc::{rtcp as library, shared::marshal::Unmarshal};

    fn read(compound: &[u8]) -> Vec<Parsed> {
        let mut all = Vec::new();
        parse(compound, |parsed| all.push(parsed));
        all
    }

    #[test]
    fn an_independent_reader_understands_what_is_written() {
        use library::{
            receiver_report::ReceiverReport, sender_report::SenderReport,
            transport_feedbacks::transport_layer_nack::TransportLayerNack,
        };
        let mut nack = Vec::new();
        write_nack(&mut nack, 1, 2, &[65_534, 65_535, 3, 14, 40]);
        let read = TransportLayerNack::unmarshal(&mut &nack[..]).unwrap();
        let seqs: Vec<u16> = read.nacks.iter().flat_map(|pair| pair.packet_list()).collect();
        assert_eq!((read.media_ssrc, seqs), (2, vec![65_534, 65_535, 3, 14, 40]));

        let mut report = Vec::new();
        write_sender_report(&mut report, 5, 0x0102_0304_0506_0708, 9, 10, 11, "somebody");
        let mut reader = &report[..];
        let packets = library::packet::unmarshal(&mut reader).unwrap();
        assert_eq!(packets.len(), 2);
        let read = packets[0].as_any().downcast_ref::<SenderReport>().unwrap();
        assert_eq!((read.ntp_time, read.rtp_time, read.packet_count), (0x0102_0304_0506_0708, 9, 10));

        let block =
            ReportBlock { ssrc: 8, fraction_lost: 3, total_lost: 77, jitter: 4, ..ReportBlock::default() };
        let mut report = Vec::new();
        write_receiver_report(&mut report, 1, &[block]);
        let read = ReceiverReport::unmarshal(&mut &report[..]).unwrap();
        assert_eq!((read.reports[0].ssrc, read.reports[0].total_lost), (8, 77));
    }

    fn deltas() -> impl Strategy<Value = Vec<Option<i16>>> {
        let delta = prop_oneof![Just(None), (0..=255_i16).prop_map(Some), any::<i16>().prop_map(Some)];
        proptest::collection::vec(delta, 1..300)
    }

    proptest! {
        #[test]
        fn transport_feedback_reads_back(deltas_250us in deltas(), first_seq: u16, feedback_count: u8) {
            let sent = TransportFeedback { first_seq, feedback_count, reference_time_64ms: 0x12_3456, deltas_250us };
            let mut bytes = Vec::new();
            write_transport_feedback(&mut bytes, 1, 2, &sent);
            let parsed = read(&bytes);
            prop_assert!(matches!(&parsed[..], [Parsed::Message(Rtcp::TransportFeedback(got))] if **got == sent));
        }

        #[test]
        fn nacks_read_back(mut seqs in proptest::collection::btree_set(any::<u16>(), 1..200)) {
            let sent: Vec<u16> = std::mem::take(&mut seqs).into_iter().collect();
            let mut bytes = Vec::new();
            write_nack(&mut bytes, 1, 2, &sent);
            let parsed = read(&bytes);
            let [Parsed::Message(Rtcp::Nack { ssrc, seqs })] = &parsed[..] else { panic!("one NACK") };
            prop_assert_eq!((*ssrc, seqs), (2, &sent));
        }

        #[test]
        fn any_bytes_are_read_without_panic_or_growth(
            types in proptest::collection::vec((0_u8..32, prop_oneof![Just(SR), Just(RR), Just(BYE), Just(RTPFB), Just(PSFB)]), 1..4),
            body in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let mut compound = Vec::new();
            for (count, packet_type) in types {
                packet(&mut compound, packet_type, count, |out| out.extend_from_slice(&body));
            }
            for parsed in read(&compound) {
                if let Parsed::Message(Rtcp::Nack { seqs, .. }) = parsed {
                    prop_assert!(seqs.len() <= MAX_NACKED);
                }
            }
            read(&body);
        }
    }
}
