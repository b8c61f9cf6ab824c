//! Transport-wide feedback about what arrives (draft-holmer-rmcat-transport-wide-cc-extensions-01), so that the
//! service's estimator sees the path to us.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use rtc::rtcp::transport_feedbacks::transport_layer_cc::{
    PacketStatusChunk, RecvDelta, StatusChunkTypeTcc, StatusVectorChunk, SymbolSizeTypeTcc, SymbolTypeTcc,
    TransportLayerCc,
};

use crate::rtp::Extender;

/// Time between two reports.
pub(crate) const INTERVAL: Duration = Duration::from_millis(50);
/// Packets in one report; more are reported by the next.
const MAX_PACKETS: u64 = 400;
/// Packets remembered until they are reported.
const MAX_RECORDED: usize = 2000;

/// Collects arrivals and writes reports.
#[derive(Debug)]
pub(crate) struct Feedback {
    sender_ssrc: u32,
    epoch: Instant,
    extender: Extender,
    /// Arrival since `epoch`, in microseconds.
    arrivals: BTreeMap<u64, i64>,
    /// The first number not yet reported.
    next: Option<u64>,
    count: u8,
}

impl Feedback {
    pub(crate) fn new(sender_ssrc: u32, now: Instant) -> Self {
        Self {
            sender_ssrc,
            epoch: now,
            extender: Extender::default(),
            arrivals: BTreeMap::new(),
            next: None,
            count: 0,
        }
    }

    /// A packet with this transport-wide number arrived.
    pub(crate) fn received(&mut self, sequence: u16, now: Instant) {
        let sequence = self.extender.extend(sequence);
        let next = *self.next.get_or_insert(sequence);
        if sequence + (MAX_RECORDED as u64) < next {
            return;
        }
        let arrival = i64::try_from(now.duration_since(self.epoch).as_micros()).unwrap_or(i64::MAX);
        self.arrivals.entry(sequence).or_insert(arrival);
        while self.arrivals.len() > MAX_RECORDED {
            self.arrivals.pop_first();
        }
    }

    /// There is something to report.
    pub(crate) fn is_due(&self) -> bool {
        !self.arrivals.is_empty()
    }

    /// The next report about `media_ssrc`'s transport; call until `None`.
    pub(crate) fn report(&mut self, media_ssrc: u32) -> Option<TransportLayerCc> {
        let (&first, &first_arrival) = self.arrivals.first_key_value()?;
        // Numbers before the first new arrival that were never reported are reported as lost.
        let base = self.next.map_or(first, |next| next.min(first).max(first.saturating_sub(MAX_PACKETS / 2)));
        // 64 ms units; deltas are of 250 us.
        let reference = first_arrival / 64_000;
        let mut previous = reference * 64_000;
        let mut symbols = Vec::new();
        let mut recv_deltas = Vec::new();
        let mut sequence = base;
        let last = *self.arrivals.last_key_value()?.0;
        while sequence <= last && symbols.len() < MAX_PACKETS as usize {
            let symbol = match self.arrivals.get(&sequence) {
                None => SymbolTypeTcc::PacketNotReceived,
                Some(arrival) => {
                    let ticks = (arrival - previous) / 250;
                    if i16::try_from(ticks).is_err() {
                        break;
                    }
                    previous += ticks * 250;
                    let kind = if (0..=255).contains(&ticks) {
                        SymbolTypeTcc::PacketReceivedSmallDelta
                    } else {
                        SymbolTypeTcc::PacketReceivedLargeDelta
                    };
                    recv_deltas.push(RecvDelta { type_tcc_packet: kind, delta: ticks * 250 });
                    kind
                }
            };
            symbols.push(symbol);
            sequence += 1;
        }
        self.arrivals = self.arrivals.split_off(&sequence);
        self.next = Some(sequence);
        let count = self.count;
        self.count = self.count.wrapping_add(1);
        Some(TransportLayerCc {
            sender_ssrc: self.sender_ssrc,
            media_ssrc,
            base_sequence_number: base as u16,
            packet_status_count: symbols.len() as u16,
            reference_time: (reference & 0xff_ffff) as u32,
            fb_pkt_count: count,
            packet_chunks: symbols.chunks(7).map(chunk).collect(),
            recv_deltas,
        })
    }
}

fn chunk(symbols: &[SymbolTypeTcc]) -> PacketStatusChunk {
    let mut symbol_list = symbols.to_vec();
    symbol_list.resize(7, SymbolTypeTcc::PacketNotReceived);
    PacketStatusChunk::StatusVectorChunk(StatusVectorChunk {
        type_tcc: StatusChunkTypeTcc::StatusVectorChunk,
        symbol_size: SymbolSizeTypeTcc::TwoBit,
        symbol_list,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;
    use rtc::shared::marshal::{Marshal, Unmarshal};

    use super::*;
    use crate::send::feedback::arrivals;

    proptest! {
        #[test]
        fn a_report_says_what_arrived_and_when(
            packets in prop::collection::vec((0u16..4, 0u64..30_000), 1..600),
            start in any::<u16>(),
        ) {
            let epoch = Instant::now();
            let mut f = Feedback::new(1, epoch);
            let (mut sequence, mut at) = (start, epoch + Duration::from_secs(3));
            let mut sent = Vec::new();
            for (step, wait) in packets {
                sequence = sequence.wrapping_add(step + 1);
                at += Duration::from_micros(wait);
                f.received(sequence, at);
                sent.push((sequence, at));
            }
            let mut seen = Vec::new();
            while let Some(report) = f.report(2) {
                let report = TransportLayerCc::unmarshal(&mut report.marshal().unwrap()).unwrap();
                seen.extend(arrivals(&report).into_iter().filter_map(|(s, a)| Some((s, a?))));
            }
            prop_assert_eq!(seen.len(), sent.len());
            let offset = i64::try_from(sent[0].1.duration_since(epoch).as_micros()).unwrap() - seen[0].1;
            for ((s, a), (sent_s, sent_a)) in seen.into_iter().zip(sent) {
                prop_assert_eq!(s, sent_s);
                let expected = i64::try_from(sent_a.duration_since(epoch).as_micros()).unwrap();
                prop_assert!((a + offset - expected).abs() <= 1000, "{} {}", a + offset, expected);
            }
        }
    }
}
