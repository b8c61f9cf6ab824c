//! A pan-tilt-zoom camera as Sony's command list describes one: 14.4 steps a degree, two sockets.

/// What a camera says: the number of what it says it to, and the packet.
pub(crate) type Said = Vec<(u32, Vec<u8>)>;

const SYNTAX: u8 = 0x02;
const BUFFER_FULL: u8 = 0x03;
const NOT_EXECUTABLE: u8 = 0x41;

/// The camera.
pub(crate) struct Camera {
    pub(crate) pan: i16,
    pub(crate) tilt: i16,
    pub(crate) zoom: u16,
    pub(crate) focus: u16,
    pub(crate) focus_mode: u8,
    pub(crate) exposure_mode: u8,
    pub(crate) shutter: u8,
    /// Bytes of the last command to drive pan and tilt: speeds and directions.
    pub(crate) drive: [u8; 4],
    pub(crate) zoom_drive: u8,
    /// Where it stands on its chain.
    pub(crate) unit: u8,
    /// Addresses were given and what it did before was cleared.
    pub(crate) is_greeted: bool,
    /// It is where it is told to go at once; otherwise when somebody calls [`Camera::arrive`].
    pub(crate) is_fast: bool,
    /// It refuses what begins so (after the address) with that error, so many times.
    pub(crate) refuses: Option<(Vec<u8>, u8, usize)>,
    /// Every packet that it heard.
    pub(crate) heard: Vec<Vec<u8>>,
    executing: [Option<Execution>; 2],
}

struct Execution {
    number: u32,
    command: Vec<u8>,
}

impl Camera {
    pub(crate) fn new(unit: u8) -> Self {
        Self {
            pan: 0,
            tilt: 0,
            zoom: 0,
            focus: 0x1000,
            focus_mode: 0x02,
            exposure_mode: 0x00,
            shutter: 0x06,
            drive: [1, 1, 3, 3],
            zoom_drive: 0,
            unit,
            is_greeted: false,
            is_fast: true,
            refuses: None,
            heard: Vec::new(),
            executing: [None, None],
        }
    }

    /// Hears a packet and answers.
    pub(crate) fn hear(&mut self, number: u32, packet: &[u8]) -> Said {
        self.heard.push(packet.to_vec());
        let Some((&0xFF, packet)) = packet.split_last() else { return self.refusal(number, 0, SYNTAX) };
        match packet {
            // The last of the chain sends it back with the next free address.
            [0x88, 0x30, first] => {
                self.unit = *first;
                vec![(number, vec![0x88, 0x30, first + 1, 0xFF])]
            }
            [to, body @ ..] if *to == 0x80 | self.unit => self.do_or_tell(number, body),
            _ => Vec::new(),
        }
    }

    /// Pan and tilt in steps.
    pub(crate) fn place(&self) -> (i16, i16) {
        (self.pan, self.tilt)
    }

    /// It comes to where it was told to go.
    pub(crate) fn arrive(&mut self) -> Said {
        let mut said = Vec::new();
        for socket in 0..self.executing.len() {
            if let Some(Execution { number, command }) = self.executing[socket].take() {
                self.execute(&command);
                said.push((number, vec![self.from(), 0x51 + socket as u8, 0xFF]));
            }
        }
        said
    }

    fn from(&self) -> u8 {
        (self.unit + 8) << 4
    }

    fn refusal(&self, number: u32, socket: u8, error: u8) -> Said {
        vec![(number, vec![self.from(), 0x60 | socket, error, 0xFF])]
    }

    fn do_or_tell(&mut self, number: u32, body: &[u8]) -> Said {
        if let Some((begin, error, times)) = &mut self.refuses
            && *times > 0
            && body.starts_with(begin)
        {
            *times -= 1;
            let (error, socket) = (*error, u8::from(*error > 3));
            return self.refusal(number, socket, error);
        }
        match body {
            [0x01, 0x00, 0x01] => {
                self.executing = [None, None];
                self.is_greeted = true;
                vec![(number, vec![self.from(), 0x50, 0xFF])]
            }
            [0x09, inquiry @ ..] => match self.tell(inquiry) {
                Some(data) => vec![(number, [vec![self.from(), 0x50], data, vec![0xFF]].concat())],
                None => self.refusal(number, 0, SYNTAX),
            },
            command if !is_valid(command) => self.refusal(number, 0, SYNTAX),
            [0x01, 0x04, 0x48, ..] if self.focus_mode == 0x02 => self.refusal(number, 1, NOT_EXECUTABLE),
            [0x01, 0x04, 0x4A, ..] if self.exposure_mode == 0x00 => self.refusal(number, 1, NOT_EXECUTABLE),
            command => {
                let Some(socket) = self.executing.iter().position(Option::is_none) else {
                    return self.refusal(number, 0, BUFFER_FULL);
                };
                self.executing[socket] = Some(Execution { number, command: command.to_vec() });
                let mut said = vec![(number, vec![self.from(), 0x41 + socket as u8, 0xFF])];
                let moves = matches!(command, [0x01, 0x06, 0x02, ..] | [0x01, 0x04, 0x47, ..]);
                if self.is_fast {
                    said.extend(self.arrive());
                } else if !moves {
                    let execution = self.executing[socket].take();
                    execution.iter().for_each(|execution| self.execute(&execution.command));
                    said.push((number, vec![self.from(), 0x51 + socket as u8, 0xFF]));
                }
                said
            }
        }
    }

    fn tell(&self, inquiry: &[u8]) -> Option<Vec<u8>> {
        match inquiry {
            [0x06, 0x12] => Some([digits(self.pan as u16), digits(self.tilt as u16)].concat()),
            [0x04, 0x47] => Some(digits(self.zoom)),
            [0x04, 0x48] => Some(digits(self.focus)),
            [0x04, 0x38] => Some(vec![self.focus_mode]),
            [0x04, 0x39] => Some(vec![self.exposure_mode]),
            [0x04, 0x4A] => Some(digits(self.shutter.into())),
            _ => None,
        }
    }

    fn execute(&mut self, command: &[u8]) {
        match command {
            [0x01, 0x06, 0x01, drive @ ..] => self.drive.copy_from_slice(drive),
            [0x01, 0x06, 0x02, _, _, places @ ..] => {
                (self.pan, self.tilt) = (number(&places[..4]) as i16, number(&places[4..]) as i16);
                self.drive = [1, 1, 3, 3];
            }
            [0x01, 0x04, 0x07, drive] => self.zoom_drive = *drive,
            [0x01, 0x04, 0x47, place @ ..] => self.zoom = number(place),
            [0x01, 0x04, 0x48, place @ ..] => self.focus = number(place),
            [0x01, 0x04, 0x38, mode] => self.focus_mode = *mode,
            [0x01, 0x04, 0x39, mode] => self.exposure_mode = *mode,
            [0x01, 0x04, 0x4A, row @ ..] => self.shutter = number(row) as u8,
            _ => {}
        }
    }
}

/// Whether the standard allows that command with those numbers.
fn is_valid(command: &[u8]) -> bool {
    let speeds = |pan: u8, tilt: u8| (1..=0x18).contains(&pan) && (1..=0x14).contains(&tilt);
    let is_number = |digits: &[u8]| digits.len() == 4 && digits.iter().all(|digit| *digit <= 0x0F);
    match command {
        [0x01, 0x06, 0x01, pan, tilt, leftright, updown] => {
            speeds(*pan, *tilt) && [leftright, updown].iter().all(|way| (1..=3).contains(*way))
        }
        [0x01, 0x06, 0x02, pan, tilt, places @ ..] if places.len() == 8 => {
            let (left_right, up_down) = places.split_at(4);
            speeds(*pan, *tilt)
                && is_number(left_right)
                && is_number(up_down)
                && (-2448..=2448).contains(&(number(left_right) as i16))
                && (-432..=1296).contains(&(number(up_down) as i16))
        }
        [0x01, 0x04, 0x07, way] => matches!(way, 0x00 | 0x20..=0x27 | 0x30..=0x37),
        [0x01, 0x04, 0x47 | 0x48, place @ ..] => is_number(place),
        [0x01, 0x04, 0x38, mode] => matches!(mode, 0x02 | 0x03),
        [0x01, 0x04, 0x39, mode] => matches!(mode, 0x00 | 0x03 | 0x0A | 0x0B | 0x0D),
        [0x01, 0x04, 0x4A, row @ ..] => is_number(row) && number(row) <= 0x15,
        _ => false,
    }
}

fn digits(number: u16) -> Vec<u8> {
    vec![(number >> 12) as u8, (number >> 8) as u8 & 0xF, (number >> 4) as u8 & 0xF, number as u8 & 0xF]
}

fn number(digits: &[u8]) -> u16 {
    digits.iter().fold(0, |number, digit| number * 16 + u16::from(*digit))
}
