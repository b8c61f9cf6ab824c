//! The device together with its connection to the kernel, and the lock that threads share them behind.

use std::{
    os::unix::net::UnixStream,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

use rostrum_hal::Timestamp;

use crate::{
    descriptors::{BULK_ENDPOINT, INTERRUPT_ENDPOINT},
    device::{Device, Shot, StreamId},
    format::MAX_PAYLOAD_BYTES,
    link::{Endpoint, Link},
    transfers::Setup,
    usbip::{Command, Submit},
};

/// Endpoint numbers, without the direction bit of their addresses.
const CONTROL: u32 = 0;
const BULK: u32 = (BULK_ENDPOINT & 0x7f) as u32;
const INTERRUPT: u32 = (INTERRUPT_ENDPOINT & 0x7f) as u32;
/// Bytes of a payload header without times.
const PAYLOAD_HEADER_BYTES: usize = 2;

/// Which connection; the one after an unplugged one is another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LinkId(u64);

/// How far the sending of a frame has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// So many more bytes were sent.
    Sent(usize),
    /// Nobody wants the rest: the stream has ended.
    Over,
}

/// Where the payload of a frame belongs to (UVC 1.1 §2.4.3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameId(bool);

impl FrameId {
    /// Header of a payload of the frame.
    fn header(self, is_last: bool) -> [u8; PAYLOAD_HEADER_BYTES] {
        const END_OF_FRAME: u8 = 1 << 1;
        const END_OF_HEADER: u8 = 1 << 7;
        let end = if is_last { END_OF_FRAME } else { 0 };
        [PAYLOAD_HEADER_BYTES as u8, END_OF_HEADER | end | u8::from(self.0)]
    }
}

/// The device and its connection.
pub(crate) struct Camera {
    /// The device.
    pub(crate) device: Device,
    link: Option<(LinkId, Link)>,
    links: u64,
    /// Newest `SUBMIT` of the connections that are no more.
    newest: u32,
    frame_id: FrameId,
}

impl Camera {
    /// A camera that is not plugged in.
    pub(crate) fn new(device: Device) -> Self {
        Self { device, link: None, links: 0, newest: 0, frame_id: FrameId(false) }
    }

    /// Whether there is a connection.
    pub(crate) fn is_plugged(&self) -> bool {
        self.link.is_some()
    }

    /// Gets power and a connection.
    pub(crate) fn connect(&mut self, writer: UnixStream) -> LinkId {
        self.forget_link();
        self.device.power_on();
        self.links += 1;
        let id = LinkId(self.links);
        self.link = Some((id, Link::new(writer, self.newest)));
        id
    }

    /// Loses its connection. `false` when it is another one's by now.
    pub(crate) fn disconnect(&mut self, id: LinkId) -> bool {
        let is_current = self.link.as_ref().is_some_and(|(current, _)| *current == id);
        if is_current {
            self.unplug();
        }
        is_current
    }

    /// Loses its connection, whichever it is.
    pub(crate) fn unplug(&mut self) {
        self.forget_link();
        self.device.stop();
    }

    fn forget_link(&mut self) {
        if let Some((_, link)) = self.link.take() {
            self.newest = link.newest();
        }
    }

    /// Does what the host asks for on a connection.
    pub(crate) fn handle(&mut self, id: LinkId, command: Command, now: Timestamp) {
        let Some((_, link)) = self.link.as_mut().filter(|(current, _)| *current == id) else { return };
        match command {
            Command::Submit(submit) => {
                self.device.counters.urbs += 1;
                if link.submitted(submit.sequence) {
                    Self::submit(&mut self.device, link, submit, now);
                }
            }
            Command::Unlink { sequence, victim } => link.unlink(sequence, victim),
        }
        self.tell();
    }

    fn submit(device: &mut Device, link: &mut Link, submit: Submit, now: Timestamp) {
        let Submit { sequence, endpoint, to_host, length, setup, data } = submit;
        match (endpoint, to_host) {
            (CONTROL, _) => match device.control_transfer(Setup::from_bytes(setup), &data, now) {
                Ok(answer) if to_host => link.answer_in(sequence, length, &answer),
                Ok(_) => link.answer_out(sequence, length),
                Err(_) => link.stall(sequence),
            },
            (BULK, true) => link.wait(Endpoint::Bulk, sequence, length),
            (INTERRUPT, true) => link.wait(Endpoint::Interrupt, sequence, length),
            _ => link.stall(sequence),
        }
    }

    /// Tells the host of changed controls, as far as it listens.
    pub(crate) fn tell(&mut self) {
        let Some((_, link)) = &mut self.link else { return };
        while link.waiting(Endpoint::Interrupt) > 0 {
            let Some(packet) = self.device.next_status() else { return };
            link.send(Endpoint::Interrupt, &[&packet]);
        }
    }

    /// Bulk transfers that wait for payloads.
    pub(crate) fn waiting_payloads(&self) -> usize {
        self.link.as_ref().map_or(0, |(_, link)| link.waiting(Endpoint::Bulk))
    }

    /// The next frame, when the host waits for one. It is taken when it can be sent at once, so that the time
    /// in it is the time at which the host gets it.
    pub(crate) fn shoot(&mut self, now: Timestamp) -> Option<Shot> {
        if self.waiting_payloads() == 0 {
            return None;
        }
        self.device.shoot(now)
    }

    /// The id of a frame that is going to be sent. It toggles with frames that are sent, not with those that
    /// are lost: two frames with one id in a row would look to the host like one.
    pub(crate) fn next_frame_id(&mut self) -> FrameId {
        self.frame_id = FrameId(!self.frame_id.0);
        self.frame_id
    }

    /// Sends as much of the rest of a frame as fits the next payload; `None` when the host waits for none.
    pub(crate) fn send_payload(&mut self, stream: StreamId, id: FrameId, rest: &[u8]) -> Option<Progress> {
        if !self.device.runs(stream) {
            return Some(Progress::Over);
        }
        let Some((_, link)) = &mut self.link else { return Some(Progress::Over) };
        let room = link.room(Endpoint::Bulk)?.min(MAX_PAYLOAD_BYTES);
        let length = rest.len().min(room.saturating_sub(PAYLOAD_HEADER_BYTES));
        let is_last = length == rest.len();
        link.send(Endpoint::Bulk, &[&id.header(is_last), &rest[..length]]);
        if is_last {
            self.device.counters.sent = self.device.counters.sent.wrapping_add(1);
        }
        Some(Progress::Sent(length))
    }
}

/// The camera behind its lock.
pub(crate) struct Shared {
    camera: Mutex<Camera>,
    changed: Condvar,
}

impl Shared {
    /// Puts the camera behind a lock.
    pub(crate) fn new(camera: Camera) -> Self {
        Self { camera: Mutex::new(camera), changed: Condvar::new() }
    }

    /// Does something with the camera, and wakes those who wait for it to change.
    pub(crate) fn with<T>(&self, action: impl FnOnce(&mut Camera) -> T) -> T {
        let result = action(&mut self.lock());
        self.changed.notify_all();
        result
    }

    /// Tries again at every change until `attempt` gives something.
    pub(crate) fn wait_for<T>(&self, mut attempt: impl FnMut(&mut Camera) -> Option<T>) -> T {
        let mut camera = self.lock();
        loop {
            if let Some(result) = attempt(&mut camera) {
                return result;
            }
            camera = self.changed.wait(camera).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Camera> {
        // No change of the camera is left half done by a panic that the program would survive.
        self.camera.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Read;

    use super::*;
    use crate::{
        control_table::name,
        format::{Coding, Offer},
        noise::Noise,
    };

    const NOW: Timestamp = Timestamp::from_clock(std::time::Duration::ZERO);

    fn plugged() -> (Camera, LinkId, UnixStream) {
        let (ours, kernels) = UnixStream::pair().unwrap();
        let offer = Offer::new(vec![Coding::Yuyv], 0);
        let mut camera = Camera::new(Device::new("Camera".into(), "1".into(), offer));
        let id = camera.connect(ours);
        (camera, id, kernels)
    }

    fn submit(sequence: u32, endpoint: u32, length: u32) -> Command {
        let (to_host, setup, data) = (true, [0; 8], vec![]);
        Command::Submit(Submit { sequence, endpoint, to_host, length, setup, data })
    }

    /// Sequence and data of the next answer.
    fn answer(kernel: &mut UnixStream) -> (u32, Vec<u8>) {
        let mut header = [0; 48];
        kernel.read_exact(&mut header).unwrap();
        let word = |i: usize| u32::from_be_bytes(header[i..i + 4].try_into().unwrap());
        let mut data = vec![0; word(24) as usize];
        kernel.read_exact(&mut data).unwrap();
        (word(4), data)
    }

    #[test]
    fn a_frame_is_cut_into_payloads() {
        let (mut camera, link, mut kernel) = plugged();
        camera.device.start();
        assert!(camera.shoot(NOW).is_none(), "nobody waits for a frame");
        for sequence in 1..=2 {
            camera.handle(link, submit(sequence, 1, 6), NOW);
        }
        let shot = camera.shoot(NOW).unwrap();
        let id = camera.next_frame_id();
        let frame = [1, 2, 3, 4, 5, 6];
        assert_eq!(camera.send_payload(shot.stream, id, &frame), Some(Progress::Sent(4)));
        assert_eq!(camera.send_payload(shot.stream, id, &frame[4..]), Some(Progress::Sent(2)));
        assert_eq!(camera.send_payload(shot.stream, id, &frame), None, "nothing waits");
        assert_eq!(answer(&mut kernel), (1, vec![2, 0x81, 1, 2, 3, 4]));
        assert_eq!(answer(&mut kernel), (2, vec![2, 0x83, 5, 6]));
        assert_eq!(camera.next_frame_id().header(false), [2, 0x80]);
    }

    #[test]
    fn an_unplugged_camera_sends_nothing_more() {
        let (mut camera, link, _kernel) = plugged();
        camera.device.start();
        camera.handle(link, submit(1, 1, 100), NOW);
        let shot = camera.shoot(NOW).unwrap();
        assert!(camera.disconnect(link));
        assert!(!camera.disconnect(link));
        let id = camera.next_frame_id();
        assert_eq!(camera.send_payload(shot.stream, id, &[1]), Some(Progress::Over));
    }

    #[test]
    fn a_late_command_of_an_old_connection_is_ignored() {
        let (mut camera, old, _old_kernel) = plugged();
        camera.handle(old, submit(7, 1, 100), NOW);
        camera.unplug();
        let (ours, mut kernel) = UnixStream::pair().unwrap();
        let new = camera.connect(ours);
        camera.handle(old, submit(8, 1, 100), NOW);
        assert_eq!(camera.waiting_payloads(), 0);
        camera.handle(new, Command::Unlink { sequence: 9, victim: 7 }, NOW);
        assert_eq!(answer(&mut kernel).0, 9);
    }

    #[test]
    fn a_change_waits_until_the_host_listens() {
        let (mut camera, link, mut kernel) = plugged();
        camera.device.change(name::PRIVACY, 1, NOW).unwrap();
        camera.tell();
        camera.handle(link, submit(1, 3, 16), NOW);
        assert_eq!(answer(&mut kernel), (1, vec![1, 1, 0, 0x11, 0, 1]));
    }

    #[test]
    fn no_sequence_of_commands_panics() {
        let (mut camera, link, mut kernel) = plugged();
        std::thread::spawn(move || std::io::copy(&mut kernel, &mut std::io::sink()));
        let mut noise = Noise::new(6);
        for sequence in 1..5_000 {
            let small = |noise: &mut Noise, limit| u32::try_from(noise.below(limit)).unwrap();
            let command = if noise.below(3) == 0 {
                let victim = (sequence + small(&mut noise, 6)).saturating_sub(3);
                Command::Unlink { sequence, victim }
            } else {
                submit(sequence, small(&mut noise, 5), small(&mut noise, 20))
            };
            camera.handle(link, command, NOW);
            if noise.below(4) == 0 {
                camera.device.start();
            }
            if let Some(shot) = camera.shoot(NOW) {
                let id = camera.next_frame_id();
                let _ = camera.send_payload(shot.stream, id, &[0; 30]);
            }
        }
    }
}
