//! VISCA over IP: what stands before a packet in a datagram (Sony, "VISCA over IP", message configuration).

/// Datagrams go to this port of a camera unless it is set otherwise.
pub(super) const PORT: u16 = 52381;

const HEADER: usize = 8;

/// What a datagram carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Payload {
    Command,
    Inquiry,
    Reply,
    DeviceSetting,
    Control,
    ControlReply,
}

const CODES: [(Payload, u16); 6] = [
    (Payload::Command, 0x0100),
    (Payload::Inquiry, 0x0110),
    (Payload::Reply, 0x0111),
    (Payload::DeviceSetting, 0x0120),
    (Payload::Control, 0x0200),
    (Payload::ControlReply, 0x0201),
];

/// Control payload: numbers begin again at 0.
pub(super) const RESET: [u8; 1] = [0x01];

/// One datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Datagram<'a> {
    pub(super) payload: Payload,
    /// Counts what the controller sends; a reply has the number of what it replies to.
    pub(super) number: u32,
    /// 1..=16 bytes.
    pub(super) bytes: &'a [u8],
}

impl<'a> Datagram<'a> {
    pub(super) fn encode(&self) -> Vec<u8> {
        let code = CODES.iter().find(|(payload, _)| *payload == self.payload).map_or(0, |(_, code)| *code);
        let mut datagram = Vec::with_capacity(HEADER + self.bytes.len());
        datagram.extend(code.to_be_bytes());
        datagram.extend((self.bytes.len() as u16).to_be_bytes());
        datagram.extend(self.number.to_be_bytes());
        datagram.extend(self.bytes);
        datagram
    }

    /// `None` when it is no VISCA. Bytes behind the given length are left out.
    pub(super) fn parse(datagram: &'a [u8]) -> Option<Self> {
        let (header, bytes) = datagram.split_first_chunk::<HEADER>()?;
        let [c0, c1, l0, l1, number @ ..] = *header;
        let code = u16::from_be_bytes([c0, c1]);
        let (payload, _) = *CODES.iter().find(|(_, known)| *known == code)?;
        let bytes = bytes.get(..usize::from(u16::from_be_bytes([l0, l1])))?;
        if bytes.is_empty() || bytes.len() > super::message::MAX_PACKET {
            return None;
        }
        Some(Self { payload, number: u32::from_be_bytes(number), bytes })
    }

    /// The camera says that this number is not the one it waits for.
    pub(super) fn is_number_error(&self) -> bool {
        // The standard lists it with the commands, cameras send it as a reply.
        matches!(self.payload, Payload::Control | Payload::ControlReply) && self.bytes == [0x0F, 0x01]
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_datagram_is_read_as_it_is_written(
            which in 0..CODES.len(), number: u32, bytes in proptest::collection::vec(any::<u8>(), 1..=16),
        ) {
            let datagram = Datagram { payload: CODES[which].0, number, bytes: &bytes };
            let encoded = datagram.encode();
            prop_assert_eq!(Datagram::parse(&encoded), Some(datagram));
            prop_assert_eq!(Datagram::parse(&encoded[..encoded.len() - 1]), None);
        }

        #[test]
        fn any_bytes_are_a_datagram_or_none(bytes: Vec<u8>) {
            let _ = Datagram::parse(&bytes);
        }
    }

    #[test]
    fn datagrams_are_the_bytes_of_the_standard() {
        let bytes = [0x81, 0x09, 0x04, 0x47, 0xFF];
        let inquiry = Datagram { payload: Payload::Inquiry, number: 0x0001_0203, bytes: &bytes };
        assert_eq!(inquiry.encode(), [1, 0x10, 0, 5, 0, 1, 2, 3, 0x81, 0x09, 0x04, 0x47, 0xFF]);
        let reset = Datagram { payload: Payload::Control, number: 0, bytes: &RESET };
        assert_eq!(reset.encode(), [2, 0, 0, 1, 0, 0, 0, 0, 1]);
        assert!(Datagram::parse(&[2, 1, 0, 2, 0, 0, 0, 9, 0x0F, 1]).unwrap().is_number_error());
        assert!(!Datagram::parse(&[2, 1, 0, 1, 0, 0, 0, 9, 1]).unwrap().is_number_error());
    }
}
