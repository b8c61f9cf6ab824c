//! Datagrams on a stream: each behind its length in 16 bits (RFC 4571 §2).

use bytes::{Buf as _, BufMut as _, BytesMut};

/// The longest datagram that is taken: more than any path carries (RFC 8831 §5 and WebRTC's 1200).
pub const MAX_DATAGRAM: usize = 2048;
const LENGTH: usize = 2;

/// A stream that says that a datagram is longer than [`MAX_DATAGRAM`]. What follows has no meaning any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a datagram of {0} bytes on a stream; at most {MAX_DATAGRAM} are taken")]
pub struct TooLong(pub usize);

/// Takes the first datagram out of what came on a stream; `None` until it came whole.
///
/// # Errors
/// [`TooLong`]: close the stream.
pub fn take_frame(stream: &mut BytesMut) -> Result<Option<BytesMut>, TooLong> {
    let Some(length) = stream.first_chunk::<LENGTH>() else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes(*length));
    if length > MAX_DATAGRAM {
        return Err(TooLong(length));
    }
    if stream.len() < LENGTH + length {
        return Ok(None);
    }
    stream.advance(LENGTH);
    Ok(Some(stream.split_to(length)))
}

/// Puts a datagram behind what goes out on a stream. One that is too long for the length is left out.
pub fn put_frame(stream: &mut BytesMut, datagram: &[u8]) {
    if let Ok(length) = u16::try_from(datagram.len()) {
        stream.put_u16(length);
        stream.put_slice(datagram);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_stream_of_other_things_is_recognised_by_its_lengths() {
        let mut http = BytesMut::from(&b"GET / HTTP/1.1\r\n"[..]);
        assert_eq!(take_frame(&mut http), Err(TooLong(0x4745)));
    }

    proptest! {
        #[test]
        fn datagrams_come_out_as_they_went_in_however_the_stream_is_cut(
            datagrams in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..MAX_DATAGRAM), 0..20),
            cuts in prop::collection::vec(1..3000_usize, 1..50),
        ) {
            let mut sent = BytesMut::new();
            datagrams.iter().for_each(|datagram| put_frame(&mut sent, datagram));
            let (mut came, mut out, mut cuts) = (BytesMut::new(), Vec::new(), cuts.into_iter().cycle());
            while !sent.is_empty() {
                let piece = sent.split_to(cuts.next().unwrap().min(sent.len()));
                came.extend_from_slice(&piece);
                while let Some(frame) = take_frame(&mut came).unwrap() {
                    out.push(frame.to_vec());
                }
                prop_assert!(came.len() < LENGTH + MAX_DATAGRAM, "no more than one datagram waits");
            }
            prop_assert_eq!(out, datagrams);
        }

        #[test]
        fn any_stream_is_survived(bytes in prop::collection::vec(any::<u8>(), 0..6000)) {
            let (mut stream, mut total) = (BytesMut::from(&bytes[..]), 0);
            while let Ok(Some(frame)) = take_frame(&mut stream) {
                total += LENGTH + frame.len();
            }
            prop_assert!(total <= bytes.len());
        }
    }
}
