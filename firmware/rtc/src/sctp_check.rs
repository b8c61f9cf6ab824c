//! A look at SCTP packets (RFC 9260, RFC 3758) before the library takes them; terminal and service share it.
//!
//! The library slices the lists inside ERROR, ABORT and FORWARD-TSN chunks by lengths that the packet itself
//! names and panics when they are wrong, and it walks to the number that a FORWARD-TSN names one by one, be it two
//! thousand million steps away. Either would take every connection of the thread with it.

const COMMON_HEADER_LEN: usize = 12;
const CHUNK_HEADER_LEN: usize = 4;
const DATA: u8 = 0;
const INIT: u8 = 1;
const INIT_ACK: u8 = 2;
const ABORT: u8 = 6;
const ERROR: u8 = 9;
const FORWARD_TSN: u8 = 192;
/// How far transmission numbers may jump ahead: much more than a receive window of 1 MiB holds in practice.
const MAX_JUMP: u32 = 1 << 16;

/// Remembers how far a remote's transmission numbers are; one for each association.
#[derive(Debug, Default)]
pub struct SctpCheck {
    newest_tsn: Option<u32>,
}

impl SctpCheck {
    /// Whether the packet is sound and its transmission numbers are where they can be.
    pub fn accepts(&mut self, packet: &[u8]) -> bool {
        is_sound(packet) && chunks(packet).all(|(kind, value)| self.accepts_chunk(kind, value))
    }

    fn accepts_chunk(&mut self, kind: u8, value: &[u8]) -> bool {
        let number = |at: usize| value.get(at..)?.first_chunk().map(|tsn| u32::from_be_bytes(*tsn));
        match kind {
            // Only the first counts: a later one does not begin the association anew.
            INIT | INIT_ACK => {
                let first = number(12);
                self.newest_tsn = self.newest_tsn.or(first.map(|tsn| tsn.wrapping_sub(1)));
                true
            }
            DATA | FORWARD_TSN => {
                let (Some(tsn), Some(newest)) = (number(0), self.newest_tsn) else { return false };
                let ahead = tsn.wrapping_sub(newest);
                if ahead <= MAX_JUMP {
                    self.newest_tsn = Some(tsn);
                }
                ahead <= MAX_JUMP || ahead >= 1 << 31
            }
            _ => true,
        }
    }
}

/// The chunks of a sound packet: type and value.
fn chunks(packet: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut rest = packet.get(COMMON_HEADER_LEN..).unwrap_or_default();
    std::iter::from_fn(move || {
        let &[kind, _, high, low] = rest.first_chunk::<CHUNK_HEADER_LEN>()?;
        let len = usize::from(u16::from_be_bytes([high, low]));
        let value = rest.get(CHUNK_HEADER_LEN..len)?;
        rest = &rest[len.next_multiple_of(4).min(rest.len())..];
        Some((kind, value))
    })
}

/// Whether all chunks, and the lists in those that need it, are as long as they say (RFC 9260 §3.2, §3.3.10; RFC
/// 3758 §3.2).
fn is_sound(packet: &[u8]) -> bool {
    let Some(mut rest) = packet.get(COMMON_HEADER_LEN..) else { return false };
    while !rest.is_empty() {
        let Some(&[kind, _, high, low]) = rest.first_chunk::<CHUNK_HEADER_LEN>() else { return false };
        let len = usize::from(u16::from_be_bytes([high, low]));
        if len < CHUNK_HEADER_LEN || rest.len() < len {
            return false;
        }
        let value = &rest[CHUNK_HEADER_LEN..len];
        let sound = match kind {
            ABORT | ERROR => causes_are_sound(value),
            FORWARD_TSN => !value.is_empty() && value.len().is_multiple_of(4),
            _ => true,
        };
        if !sound {
            return false;
        }
        rest = &rest[len.next_multiple_of(4).min(rest.len())..];
    }
    true
}

/// The library steps over causes without their padding, so a padded one must be the last.
fn causes_are_sound(mut rest: &[u8]) -> bool {
    while !rest.is_empty() {
        let Some(&[_, _, high, low]) = rest.first_chunk::<4>() else { return false };
        let len = usize::from(u16::from_be_bytes([high, low]));
        let padded = len.next_multiple_of(4);
        if len < 4 || rest.len() < len || (padded != len && rest.len() > len) {
            return false;
        }
        rest = &rest[len..];
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(chunk: &[u8]) -> Vec<u8> {
        [&[0; COMMON_HEADER_LEN], chunk].concat()
    }

    #[test]
    fn chunks_that_are_as_long_as_they_say_pass() {
        assert!(is_sound(&packet(&[])));
        assert!(is_sound(&packet(&[11, 0, 0, 4])));
        assert!(is_sound(&packet(&[10, 0, 0, 5, 1, 0, 0, 0, 11, 0, 0, 4])), "padding between chunks");
        assert!(is_sound(&packet(&[ABORT, 0, 0, 9, 0, 12, 0, 5, 1, 0, 0, 0])), "a reason of odd length");
        assert!(is_sound(&packet(&[ERROR, 0, 0, 12, 0, 1, 0, 4, 0, 2, 0, 4])));
        assert!(is_sound(&packet(&[FORWARD_TSN, 0, 0, 12, 0, 0, 0, 1, 0, 3, 0, 9])));
    }

    #[test]
    fn transmission_numbers_do_not_jump_to_the_other_end_of_the_world() {
        let mut check = SctpCheck::default();
        let data = |tsn: u32| packet(&[&[DATA, 3, 0, 17], &tsn.to_be_bytes()[..], &[0; 12]].concat());
        let forward = |tsn: u32| packet(&[&[FORWARD_TSN, 0, 0, 8], &tsn.to_be_bytes()[..]].concat());
        assert!(!check.accepts(&data(7)), "before the association");
        let init = [&[INIT, 0, 0, 20][..], &[0; 12], &u32::MAX.to_be_bytes()].concat();
        assert!(check.accepts(&packet(&init)));
        assert!(check.accepts(&data(u32::MAX)));
        assert!(check.accepts(&data(0)), "numbers wrap");
        assert!(check.accepts(&forward(500)));
        assert!(check.accepts(&data(3)), "late");
        assert!(!check.accepts(&forward(0x7000_0000)));
        assert!(!check.accepts(&data(100_000)));
        assert!(check.accepts(&data(501)));
    }

    #[test]
    fn chunks_that_lie_about_their_length_are_refused() {
        assert!(!is_sound(&[0; 11]));
        assert!(!is_sound(&packet(&[11, 0, 0, 3])));
        assert!(!is_sound(&packet(&[11, 0, 0, 8])));
        assert!(!is_sound(&packet(&[ERROR, 0, 0, 8, 0, 1, 0x40, 0])), "a cause longer than its chunk");
        assert!(!is_sound(&packet(&[ABORT, 0, 0, 8, 0, 1, 0, 0])), "a cause without a header");
        assert!(!is_sound(&packet(&[FORWARD_TSN, 0, 0, 4])), "nothing to forward to");
        assert!(!is_sound(&packet(&[FORWARD_TSN, 0, 0, 10, 0, 0, 0, 1, 0, 3, 0, 0])), "half a stream");
    }
}
