//! Transport-wide feedback about what we sent (draft-holmer-rmcat-transport-wide-cc-extensions-01).

use rtc::rtcp::transport_feedbacks::transport_layer_cc::{
    PacketStatusChunk, SymbolTypeTcc, TransportLayerCc,
};

/// Of each reported packet its number and, when it arrived, the receiver's time in microseconds (on a clock that
/// starts anywhere and wraps after 12 days).
pub(crate) fn arrivals(report: &TransportLayerCc) -> Vec<(u16, Option<i64>)> {
    let count = usize::from(report.packet_status_count);
    let mut out = Vec::with_capacity(count.min(2048));
    let mut deltas = report.recv_deltas.iter();
    let mut at = i64::from(report.reference_time) * 64_000;
    let mut push = |symbol: SymbolTypeTcc, out: &mut Vec<(u16, Option<i64>)>| {
        let sequence = report.base_sequence_number.wrapping_add(out.len() as u16);
        let arrival = match symbol {
            SymbolTypeTcc::PacketNotReceived => None,
            SymbolTypeTcc::PacketReceivedWithoutDelta => Some(at),
            SymbolTypeTcc::PacketReceivedSmallDelta | SymbolTypeTcc::PacketReceivedLargeDelta => {
                at += deltas.next().map_or(0, |d| d.delta);
                Some(at)
            }
        };
        out.push((sequence, arrival));
    };
    for chunk in &report.packet_chunks {
        match chunk {
            PacketStatusChunk::RunLengthChunk(run) => {
                for _ in 0..usize::from(run.run_length).min(count - out.len()) {
                    push(run.packet_status_symbol, &mut out);
                }
            }
            PacketStatusChunk::StatusVectorChunk(vector) => {
                for symbol in vector.symbol_list.iter().take(count - out.len()) {
                    push(*symbol, &mut out);
                }
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rtc::shared::marshal::Unmarshal;

    use super::*;

    proptest! {
        #[test]
        fn no_report_breaks_it(
            body in prop::collection::vec(any::<u8>(), 12..400),
        ) {
            let mut bytes = vec![0x8f, 205, 0, 0];
            bytes.extend(body);
            bytes.truncate(bytes.len() / 4 * 4);
            bytes[3] = (bytes.len() / 4 - 1) as u8;
            if let Ok(report) = TransportLayerCc::unmarshal(&mut &bytes[..]) {
                let found = arrivals(&report);
                prop_assert!(found.len() <= usize::from(report.packet_status_count));
            }
        }
    }
}
