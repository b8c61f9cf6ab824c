//! What publishers write behind each payload, where no server looks: who sent it, which number, and when.

use std::{sync::OnceLock, time::Instant};

/// Marks a stamp.
const MAGIC: [u8; 4] = *b"rost";
/// Bytes of a stamp.
const LENGTH: usize = 18;
/// The stream that carries sound; below are the layers of the picture.
pub(crate) const SOUND: u8 = 3;
/// Streams of one publisher.
pub(crate) const STREAMS: usize = 4;

/// One packet's stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) publisher: u8,
    /// The layer, 0 to 2, or [`SOUND`].
    pub(crate) stream: u8,
    /// Counts the packets of the stream.
    pub(crate) number: u32,
    /// By [`now_us`].
    pub(crate) sent_us: u64,
}

impl Stamp {
    pub(crate) fn append(&self, payload: &mut Vec<u8>) {
        payload.extend(MAGIC);
        payload.extend([self.publisher, self.stream]);
        payload.extend(self.number.to_be_bytes());
        payload.extend(self.sent_us.to_be_bytes());
    }

    /// The stamp at the end of a payload; none where something else made the packet.
    pub(crate) fn read(payload: &[u8]) -> Option<Self> {
        let stamp: &[u8; LENGTH] = payload.last_chunk()?;
        let [a, b, c, d, publisher, stream, rest @ ..] = stamp;
        let (number, sent) = (rest.first_chunk()?, rest.last_chunk()?);
        let known = [*a, *b, *c, *d] == MAGIC && usize::from(*stream) < STREAMS;
        known.then(|| Self {
            publisher: *publisher,
            stream: *stream,
            number: u32::from_be_bytes(*number),
            sent_us: u64::from_be_bytes(*sent),
        })
    }
}

/// Microseconds since the bench started.
pub(crate) fn now_us() -> u64 {
    us(Instant::now())
}

/// The same of a moment.
pub(crate) fn us(at: Instant) -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    at.saturating_duration_since(*START.get_or_init(Instant::now)).as_micros() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_read_back_from_behind_any_payload() {
        let stamp = Stamp { publisher: 7, stream: 2, number: 70_000, sent_us: 1 << 40 };
        let mut payload = vec![0x41; 30];
        assert_eq!(Stamp::read(&payload), None);
        stamp.append(&mut payload);
        assert_eq!(Stamp::read(&payload), Some(stamp));
    }
}
