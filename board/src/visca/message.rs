//! What VISCA says, as bytes: commands and inquiries of the controller, replies of the camera (Sony, "Command
//! List" of the EVI, BRC and SRG cameras). A packet is the address, up to 14 bytes, and [`END`].

use serde::Deserialize;

/// Ends every packet and stands nowhere else in it.
pub(super) const END: u8 = 0xFF;
/// Longest packet in bytes, with address and end.
pub(super) const MAX_PACKET: usize = 16;
/// To all cameras of a chain: take an address, the nearest 1.
pub(super) const ADDRESS_SET: [u8; 4] = [0x88, 0x30, 0x01, END];

/// Address of a camera on its chain, 1..=7; 1 on a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u8")]
pub(super) struct Unit(u8);

impl Unit {
    pub(super) const FIRST: Self = Self(1);
}

impl TryFrom<u8> for Unit {
    type Error = &'static str;

    fn try_from(unit: u8) -> Result<Self, Self::Error> {
        if (1..=7).contains(&unit) { Ok(Self(unit)) } else { Err("unit is 1 to 7") }
    }
}

/// What a camera is told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// Forget what was begun (`IF_Clear`).
    InterfaceClear,
    /// Turn to a place, in the camera's steps; right and up are positive.
    PanTiltTo { pan: i16, tilt: i16, pan_speed: u8, tilt_speed: u8 },
    /// Turn until told otherwise, in the camera's speeds; right and up are positive, 0 stops.
    PanTiltDrive { pan: i8, tilt: i8 },
    /// Magnify to 0 (the whole picture) ..= 0x4000 (the end of the optics).
    ZoomTo(u16),
    /// Magnify until told otherwise, -8..=8; positive is towards a part of the picture, 0 stops.
    ZoomDrive(i8),
    /// Whether the camera focuses by itself.
    FocusAuto(bool),
    /// Focus at a distance of the camera's own scale.
    FocusTo(u16),
    /// Whether the camera chooses the exposure time (full auto) or we do (shutter priority).
    ExposureAuto(bool),
    /// A row of the camera's table of exposure times.
    ShutterTo(u8),
}

/// What a camera is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Inquiry {
    PanTilt,
    Zoom,
    FocusAuto,
    Focus,
    ExposureAuto,
    Shutter,
}

/// What a camera answers to an [`Inquiry`], in the units of the [`Command`]s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    PanTilt { pan: i16, tilt: i16 },
    Zoom(u16),
    FocusAuto(bool),
    Focus(u16),
    ExposureAuto(bool),
    Shutter(u16),
}

/// What goes to a camera.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    Command(Command),
    Inquiry(Inquiry),
}

impl Request {
    /// The packet to the camera `unit`.
    pub(super) fn encode(self, unit: Unit) -> Vec<u8> {
        let mut packet = vec![0x80 | unit.0];
        match self {
            Self::Command(command) => {
                packet.push(0x01);
                command.encode(&mut packet);
            }
            Self::Inquiry(inquiry) => packet.extend([0x09].into_iter().chain(inquiry.code())),
        }
        packet.push(END);
        packet
    }
}

impl Command {
    fn encode(self, packet: &mut Vec<u8>) {
        /// The byte of a direction: two that differ, and stop.
        fn direction(speed: i8, [negative, positive]: [u8; 2], stop: u8) -> u8 {
            match speed {
                0 => stop,
                1.. => positive,
                _ => negative,
            }
        }
        // A speed byte of 0 is not allowed even where nothing moves.
        let speed = |speed: i8| speed.unsigned_abs().clamp(1, 0x18);
        match self {
            Self::InterfaceClear => packet.extend([0x00, 0x01]),
            Self::PanTiltTo { pan, tilt, pan_speed, tilt_speed } => {
                packet.extend([0x06, 0x02, pan_speed.clamp(1, 0x18), tilt_speed.clamp(1, 0x18)]);
                packet.extend(nibbles(pan.cast_unsigned()));
                packet.extend(nibbles(tilt.cast_unsigned()));
            }
            Self::PanTiltDrive { pan, tilt } => {
                let (left_right, down_up) = ([0x01, 0x02], [0x02, 0x01]);
                packet.extend([0x06, 0x01, speed(pan), speed(tilt)]);
                packet.extend([direction(pan, left_right, 0x03), direction(tilt, down_up, 0x03)]);
            }
            Self::ZoomTo(position) => {
                packet.extend([0x04, 0x47].into_iter().chain(nibbles(position)));
            }
            Self::ZoomDrive(zoom) => {
                let variable = zoom.unsigned_abs().saturating_sub(1).min(7);
                packet.extend([0x04, 0x07, direction(zoom, [0x30 | variable, 0x20 | variable], 0x00)]);
            }
            Self::FocusAuto(auto) => packet.extend([0x04, 0x38, if auto { 0x02 } else { 0x03 }]),
            Self::FocusTo(position) => {
                packet.extend([0x04, 0x48].into_iter().chain(nibbles(position)));
            }
            Self::ExposureAuto(auto) => packet.extend([0x04, 0x39, if auto { 0x00 } else { 0x0A }]),
            Self::ShutterTo(row) => {
                packet.extend([0x04, 0x4A].into_iter().chain(nibbles(row.into())));
            }
        }
    }
}

impl Inquiry {
    fn code(self) -> [u8; 2] {
        match self {
            Self::PanTilt => [0x06, 0x12],
            Self::Zoom => [0x04, 0x47],
            Self::FocusAuto => [0x04, 0x38],
            Self::Focus => [0x04, 0x48],
            Self::ExposureAuto => [0x04, 0x39],
            Self::Shutter => [0x04, 0x4A],
        }
    }

    /// What the bytes of a completion say to this inquiry.
    pub(super) fn answer(self, data: &[u8]) -> Result<Answer, Malformed> {
        match (self, data) {
            (Self::PanTilt, _) if data.len() == 8 => Ok(Answer::PanTilt {
                pan: number(&data[..4])?.cast_signed(),
                tilt: number(&data[4..])?.cast_signed(),
            }),
            (Self::Zoom, _) => Ok(Answer::Zoom(number(data)?)),
            (Self::Focus, _) => Ok(Answer::Focus(number(data)?)),
            (Self::Shutter, _) => Ok(Answer::Shutter(number(data)?)),
            // 3 is manual; some cameras have 4 for "once", which ends by itself.
            (Self::FocusAuto, &[mode]) => Ok(Answer::FocusAuto(mode == 0x02)),
            // With manual and shutter priority the time is ours; with iris priority and bright the camera's.
            (Self::ExposureAuto, &[mode]) => Ok(Answer::ExposureAuto(!matches!(mode, 0x03 | 0x0A))),
            _ => Err(Malformed),
        }
    }
}

/// What a camera says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// A command is accepted and executed in a socket, 0..=15.
    Ack { socket: u8 },
    /// The command of a socket is done, or here is what was inquired.
    Completion { socket: u8, data: Vec<u8> },
    /// A command or an inquiry is not done.
    Refused { socket: u8, refusal: Refusal },
    /// The chain changed; addresses have to be set again.
    NetworkChange,
    /// The answer to [`ADDRESS_SET`], when it came around the chain.
    Addresses,
}

/// Why a camera does not do what it was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("it says that the message has a wrong length")]
    Length,
    #[error("it does not understand the command")]
    Syntax,
    #[error("it is busy with two other commands")]
    BufferFull,
    #[error("the command was cancelled")]
    Cancelled,
    #[error("it had nothing to cancel")]
    NoSocket,
    #[error("it cannot do that in its present state")]
    NotExecutable,
    #[error("it gives the error {0:#04x}")]
    Other(u8),
}

/// Bytes that VISCA does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it says what VISCA does not know")]
pub(super) struct Malformed;

impl Reply {
    /// What a packet says, with its [`END`], and which camera (`None`: it went around the chain).
    pub(super) fn parse(packet: &[u8]) -> Result<(Option<Unit>, Self), Malformed> {
        let [from, body @ .., END] = packet else { return Err(Malformed) };
        if packet.len() > MAX_PACKET || body.contains(&END) {
            return Err(Malformed);
        }
        if *from == 0x88 {
            let [0x30, _] = body else { return Err(Malformed) };
            return Ok((None, Self::Addresses));
        }
        let unit = (from >> 4).checked_sub(8).and_then(|unit| Unit::try_from(unit).ok());
        let (Some(unit), 0, [kind, data @ ..]) = (unit, from & 0x0F, body) else { return Err(Malformed) };
        let socket = kind & 0x0F;
        let reply = match (kind >> 4, data) {
            (4, []) => Self::Ack { socket },
            (5, data) => Self::Completion { socket, data: data.to_vec() },
            (6, &[error]) => Self::Refused { socket, refusal: Refusal::from(error) },
            _ if body == [0x38] => Self::NetworkChange,
            _ => return Err(Malformed),
        };
        Ok((Some(unit), reply))
    }
}

impl From<u8> for Refusal {
    fn from(error: u8) -> Self {
        match error {
            0x01 => Self::Length,
            0x02 => Self::Syntax,
            0x03 => Self::BufferFull,
            0x04 => Self::Cancelled,
            0x05 => Self::NoSocket,
            0x41 => Self::NotExecutable,
            other => Self::Other(other),
        }
    }
}

/// Takes packets out of a stream of bytes.
#[derive(Debug, Default)]
pub(super) struct Splitter {
    begun: Vec<u8>,
}

impl Splitter {
    /// The packet that `byte` ends. What is longer than any packet is noise up to the next [`END`].
    pub(super) fn push(&mut self, byte: u8) -> Option<Vec<u8>> {
        if self.begun.len() <= MAX_PACKET {
            self.begun.push(byte);
        }
        if byte != END {
            return None;
        }
        Some(std::mem::take(&mut self.begun)).filter(|packet| packet.len() <= MAX_PACKET)
    }
}

/// A number in four bytes, one hexadecimal digit each.
fn nibbles(number: u16) -> [u8; 4] {
    [12, 8, 4, 0].map(|shift| (number >> shift) as u8 & 0x0F)
}

fn number(digits: &[u8]) -> Result<u16, Malformed> {
    if digits.len() != 4 || digits.iter().any(|digit| *digit > 0x0F) {
        return Err(Malformed);
    }
    Ok(digits.iter().fold(0, |number, digit| number << 4 | u16::from(*digit)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    /// "81 01 ..." as in Sony's lists.
    fn hex(text: &str) -> Vec<u8> {
        text.split(' ').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
    }

    fn any_command() -> impl Strategy<Value = Command> {
        prop_oneof![
            Just(Command::InterfaceClear),
            any::<(i16, i16, u8, u8)>().prop_map(|(pan, tilt, pan_speed, tilt_speed)| Command::PanTiltTo {
                pan,
                tilt,
                pan_speed,
                tilt_speed
            }),
            any::<(i8, i8)>().prop_map(|(pan, tilt)| Command::PanTiltDrive { pan, tilt }),
            any::<u16>().prop_map(Command::ZoomTo),
            any::<i8>().prop_map(Command::ZoomDrive),
            any::<bool>().prop_map(Command::FocusAuto),
            any::<u16>().prop_map(Command::FocusTo),
            any::<bool>().prop_map(Command::ExposureAuto),
            any::<u8>().prop_map(Command::ShutterTo),
        ]
    }

    const INQUIRIES: [Inquiry; 6] = [
        Inquiry::PanTilt,
        Inquiry::Zoom,
        Inquiry::FocusAuto,
        Inquiry::Focus,
        Inquiry::ExposureAuto,
        Inquiry::Shutter,
    ];

    proptest! {
        #[test]
        fn every_request_is_one_packet_of_a_stream(command in any_command(), unit in 1_u8..=7) {
            let packet = Request::Command(command).encode(Unit(unit));
            prop_assert!((5..=MAX_PACKET).contains(&packet.len()), "{packet:x?}");
            prop_assert_eq!(packet[0], 0x80 | unit);
            let mut splitter = Splitter::default();
            let packets: Vec<_> = packet.iter().filter_map(|byte| splitter.push(*byte)).collect();
            prop_assert_eq!(packets, [packet]);
        }

        #[test]
        fn positions_are_read_as_they_are_written(pan: i16, tilt: i16) {
            let packet = Request::Command(Command::PanTiltTo { pan, tilt, pan_speed: 1, tilt_speed: 1 });
            let packet = packet.encode(Unit::FIRST);
            let answer = Inquiry::PanTilt.answer(&packet[6..14]).unwrap();
            prop_assert_eq!(answer, Answer::PanTilt { pan, tilt });
            let position = pan.cast_unsigned();
            let packet = Request::Command(Command::ZoomTo(position)).encode(Unit::FIRST);
            prop_assert_eq!(Inquiry::Zoom.answer(&packet[4..8]).unwrap(), Answer::Zoom(position));
        }

        #[test]
        fn a_reply_is_read_as_it_is_written(
            unit in 1_u8..=7, socket in 0_u8..16, error in 0_u8..0xFF,
            data in proptest::collection::vec(0_u8..0xFF, 0..=13),
        ) {
            let from = (unit + 8) << 4;
            let unit = Some(Unit(unit));
            let ack = Reply::parse(&[from, 0x40 | socket, END]).unwrap();
            prop_assert_eq!(ack, (unit, Reply::Ack { socket }));
            let (_, reply) = Reply::parse(&[from, 0x60 | socket, error, END]).unwrap();
            let Reply::Refused { refusal, .. } = reply else { panic!("{reply:?}") };
            prop_assert!(refusal != Refusal::Other(error) || ![1, 2, 3, 4, 5, 0x41].contains(&error));
            let packet = [vec![from, 0x50 | socket], data.clone(), vec![END]].concat();
            prop_assert_eq!(Reply::parse(&packet).unwrap(), (unit, Reply::Completion { socket, data }));
        }

        #[test]
        fn any_bytes_are_a_message_or_an_error(bytes: Vec<u8>, from in 0x88_u8..) {
            let _ = Reply::parse(&bytes);
            let mut splitter = Splitter::default();
            for byte in &bytes {
                if let Some(packet) = splitter.push(*byte) {
                    prop_assert!(packet.len() <= MAX_PACKET && packet.ends_with(&[END]));
                }
            }
            let packet = [vec![from], bytes.clone(), vec![END]].concat();
            let _ = Reply::parse(&packet);
            for inquiry in INQUIRIES {
                let _ = inquiry.answer(&bytes);
            }
        }
    }

    #[test]
    fn requests_are_the_bytes_of_the_standard() {
        let unit = Unit::FIRST;
        for (command, bytes) in [
            (Command::InterfaceClear, "81 01 00 01 FF"),
            (
                Command::PanTiltTo { pan: -2448, tilt: 432, pan_speed: 24, tilt_speed: 20 },
                "81 01 06 02 18 14 0F 06 07 00 00 01 0B 00 FF",
            ),
            (Command::PanTiltDrive { pan: -24, tilt: 20 }, "81 01 06 01 18 14 01 01 FF"),
            (Command::PanTiltDrive { pan: 3, tilt: -4 }, "81 01 06 01 03 04 02 02 FF"),
            (Command::PanTiltDrive { pan: 0, tilt: 0 }, "81 01 06 01 01 01 03 03 FF"),
            (Command::ZoomTo(0x4000), "81 01 04 47 04 00 00 00 FF"),
            (Command::ZoomDrive(8), "81 01 04 07 27 FF"),
            (Command::ZoomDrive(-1), "81 01 04 07 30 FF"),
            (Command::ZoomDrive(0), "81 01 04 07 00 FF"),
            (Command::FocusAuto(true), "81 01 04 38 02 FF"),
            (Command::FocusAuto(false), "81 01 04 38 03 FF"),
            (Command::FocusTo(0x1000), "81 01 04 48 01 00 00 00 FF"),
            (Command::ExposureAuto(true), "81 01 04 39 00 FF"),
            (Command::ExposureAuto(false), "81 01 04 39 0A FF"),
            (Command::ShutterTo(0x15), "81 01 04 4A 00 00 01 05 FF"),
        ] {
            assert_eq!(Request::Command(command).encode(unit), hex(bytes), "{command:?}");
        }
        for (inquiry, bytes) in INQUIRIES.into_iter().zip([
            "82 09 06 12 FF",
            "82 09 04 47 FF",
            "82 09 04 38 FF",
            "82 09 04 48 FF",
            "82 09 04 39 FF",
            "82 09 04 4A FF",
        ]) {
            assert_eq!(Request::Inquiry(inquiry).encode(Unit(2)), hex(bytes));
        }
    }

    #[test]
    fn replies_are_the_bytes_of_the_standard() {
        let first = Some(Unit::FIRST);
        for (bytes, reply) in [
            ("90 41 FF", (first, Reply::Ack { socket: 1 })),
            ("90 52 FF", (first, Reply::Completion { socket: 2, data: vec![] })),
            ("90 50 02 FF", (first, Reply::Completion { socket: 0, data: vec![2] })),
            ("90 60 02 FF", (first, Reply::Refused { socket: 0, refusal: Refusal::Syntax })),
            ("A0 61 41 FF", (Some(Unit(2)), Reply::Refused { socket: 1, refusal: Refusal::NotExecutable })),
            ("A0 38 FF", (Some(Unit(2)), Reply::NetworkChange)),
            ("88 30 03 FF", (None, Reply::Addresses)),
        ] {
            assert_eq!(Reply::parse(&hex(bytes)), Ok(reply), "{bytes}");
        }
        for bytes in ["90 41", "FF", "90 FF", "90 41 00 FF", "80 41 FF", "91 41 FF", "90 60 FF", "88 41 FF"] {
            assert_eq!(Reply::parse(&hex(bytes)), Err(Malformed), "{bytes}");
        }
    }
}
