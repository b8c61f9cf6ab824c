//! The thread that takes frames and sends them.
//!
//! Payload headers carry neither PTS nor SCR (UVC 1.1 §2.4.3.3 leaves both out at will). With them, `uvcvideo`
//! would compute times from the frame numbers of the bus, and `vhci_hcd` has none: its
//! `vhci_get_frame_number` gives 0 and logs an error each time. Without them, `uvcvideo` stamps a frame with
//! the monotonic time at which its first payload comes, which is when it was taken.

use std::time::{Duration, Instant};

use rostrum_hal::{Timestamp, sim::bar::Bar};

use crate::{
    access_units::AccessUnits,
    camera::{Progress, Shared},
    device::{Shot, StreamId},
    format::Coding,
    jpeg::Jpeg,
    picture::Picture,
};

/// What it takes to make a frame; its buffers are used again.
pub(crate) struct Sensor {
    camera_id: u8,
    picture: Picture,
    jpeg: Jpeg,
    units: AccessUnits,
    /// The stream whose H.264 is being played.
    playing: Option<StreamId>,
}

impl Sensor {
    /// `camera_id` is burnt into pictures; `units` are sent as H.264.
    pub(crate) fn new(camera_id: u8, units: AccessUnits) -> Self {
        Self { camera_id, picture: Picture::default(), jpeg: Jpeg::new(), units, playing: None }
    }

    /// Takes the frame. Empty when it cannot be made, which is told on standard error.
    fn take(&mut self, shot: &Shot) -> &[u8] {
        if shot.coding == Coding::H264 {
            if self.playing.replace(shot.stream) != Some(shot.stream) {
                self.units.rewind();
            }
            return self.units.advance();
        }
        let frame_number = shot.number % (1 << 24);
        let bar = Bar { capture_time: Timestamp::now(), frame_number, camera_id: self.camera_id };
        self.picture.show(shot.size, shot.view, bar);
        if shot.coding == Coding::Yuyv {
            return self.picture.yuyv();
        }
        match self.jpeg.encode(shot.size, self.picture.yuv420()) {
            Ok(bytes) => bytes,
            Err(e) => {
                eprintln!("uvc-camera: no JPEG of {}: {e}", shot.size);
                &[]
            }
        }
    }
}

/// Sends frames for as long as the program runs.
pub(crate) fn run(shared: &Shared, mut sensor: Sensor) {
    let mut due = Instant::now();
    loop {
        let shot = shared.wait_for(|camera| camera.shoot(Timestamp::now()));
        let interval = Duration::from_nanos(u64::from(shot.interval) * 100);
        // A stream that has just begun, or a host that was too slow: what is lost is not made up for.
        if due.elapsed() > interval {
            due = Instant::now();
        }
        // Taken without the lock: a JPEG takes long, and controls are not to wait for it.
        let frame = sensor.take(&shot);
        if !shot.dropped && !frame.is_empty() {
            if frame.len() > shot.max_bytes {
                eprintln!("uvc-camera: a frame of {} bytes is too large", frame.len());
            } else {
                send(shared, &shot, frame);
            }
        }
        due += interval;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
}

fn send(shared: &Shared, shot: &Shot, frame: &[u8]) {
    let id = shared.with(|camera| camera.next_frame_id());
    let mut rest = frame;
    while !rest.is_empty() {
        // The lock is free between payloads, so that the host can submit transfers and stop the stream.
        match shared.wait_for(|camera| camera.send_payload(shot.stream, id, rest)) {
            Progress::Sent(length) => rest = &rest[length..],
            Progress::Over => return,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{
        io::{Read, Write},
        os::unix::net::UnixStream,
        sync::Arc,
        thread,
    };

    use rostrum_hal::sim::bar;

    use super::*;
    use crate::{
        camera::Camera,
        control_table::name,
        device::Device,
        format::{INTERVALS, MAX_PAYLOAD_BYTES, Offer, SIZES, Settings},
        usbip::read_command,
    };

    /// The kernel's side of a camera that runs in threads, as it does in the program.
    struct Kernel {
        shared: Arc<Shared>,
        socket: UnixStream,
        sequence: u32,
    }

    impl Kernel {
        fn with_camera(codings: Vec<Coding>) -> Self {
            let offer = Offer::new(codings, 0);
            let shared = Arc::new(Shared::new(Camera::new(Device::new("".into(), "".into(), offer))));
            let (ours, socket) = UnixStream::pair().unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            let id = shared.with(|camera| camera.connect(ours.try_clone().unwrap()));
            let (reader, sender) = (shared.clone(), shared.clone());
            let mut ours = ours;
            thread::spawn(move || {
                while let Ok(Some(command)) = read_command(&mut ours) {
                    reader.with(|camera| camera.handle(id, command, Timestamp::now()));
                }
            });
            thread::spawn(move || run(&sender, Sensor::new(9, AccessUnits::default())));
            Self { shared, socket, sequence: 0 }
        }

        fn submit(&mut self, to_host: bool, endpoint: u32, length: usize, setup: [u8; 8], data: &[u8]) {
            self.sequence += 1;
            let length = u32::try_from(length).unwrap();
            let words = [1, self.sequence, 0, u32::from(to_host), endpoint, 0, length, 0, 0, 0];
            let mut frame: Vec<u8> = words.iter().flat_map(|word: &u32| word.to_be_bytes()).collect();
            frame.extend(setup);
            frame.extend(data);
            self.socket.write_all(&frame).unwrap();
        }

        fn answer(&mut self, carries_data: bool) -> Vec<u8> {
            let mut header = [0; 48];
            self.socket.read_exact(&mut header).unwrap();
            let length = u32::from_be_bytes(header[24..28].try_into().unwrap());
            let mut data = vec![0; if carries_data { length as usize } else { 0 }];
            self.socket.read_exact(&mut data).unwrap();
            data
        }

        fn start(&mut self, settings: Settings) {
            let probe = self.shared.with(|camera| camera.device.offer.probe(settings));
            self.submit(false, 0, probe.len(), [0x21, 1, 0, 2, 1, 0, 34, 0], &probe);
            self.answer(false);
        }

        /// Frame id and bytes of the next frame.
        fn frame(&mut self) -> (u8, Vec<u8>) {
            let mut frame = Vec::new();
            loop {
                self.submit(true, 1, MAX_PAYLOAD_BYTES, [0; 8], &[]);
                let payload = self.answer(true);
                frame.extend(&payload[2..]);
                if payload[1] & 2 != 0 {
                    return (payload[1] & 1, frame);
                }
            }
        }

        /// The same of a frame of YUYV, with the number in its bar.
        fn number(&mut self, size: rostrum_hal::FrameSize) -> (u8, u32) {
            let (id, frame) = self.frame();
            let luma: Vec<u8> = frame.iter().step_by(2).copied().collect();
            (id, bar::read(&luma, size).unwrap().frame_number)
        }
    }

    const SMALL: Settings = Settings { format: 1, frame: 1, interval: INTERVALS[0] };

    #[test]
    fn frames_come_whole_in_order_and_with_toggling_ids() {
        let mut kernel = Kernel::with_camera(vec![Coding::Yuyv]);
        kernel.start(SMALL);
        let frames: Vec<_> = (0..4).map(|_| kernel.number(SIZES[0])).collect();
        assert_eq!(frames.iter().map(|(_, number)| *number).collect::<Vec<_>>(), [0, 1, 2, 3]);
        assert!(frames.windows(2).all(|pair| pair[0].0 != pair[1].0));
    }

    #[test]
    fn a_lost_frame_leaves_the_ids_toggling() {
        let mut kernel = Kernel::with_camera(vec![Coding::Yuyv]);
        kernel.shared.with(|camera| camera.device.faults.drop_every = 2);
        kernel.start(SMALL);
        let (first, second) = (kernel.number(SIZES[0]), kernel.number(SIZES[0]));
        assert_eq!((first.1, second.1), (0, 2));
        assert_ne!(first.0, second.0);
    }

    #[test]
    fn a_stream_that_is_stopped_begins_again_with_other_settings() {
        let mut kernel = Kernel::with_camera(vec![Coding::Yuyv, Coding::Mjpeg]);
        kernel.start(Settings { frame: 2, ..SMALL });
        assert_eq!(kernel.frame().1.len(), 320 * 180 * 2);
        kernel.submit(false, 0, 0, [0x02, 1, 0, 0, 0x81, 0, 0, 0], &[]);
        kernel.answer(false);
        kernel.start(Settings { format: 2, ..SMALL });
        let jpeg = kernel.frame().1;
        assert_eq!((&jpeg[..2], &jpeg[jpeg.len() - 2..]), (&[0xff, 0xd8][..], &[0xff, 0xd9][..]));
    }

    #[test]
    fn a_frozen_stream_goes_on_when_it_thaws() {
        let mut kernel = Kernel::with_camera(vec![Coding::Yuyv]);
        kernel.start(SMALL);
        kernel.number(SIZES[0]);
        kernel.shared.with(|camera| camera.device.faults.frozen = true);
        kernel.submit(true, 1, MAX_PAYLOAD_BYTES, [0; 8], &[]);
        // Controls are answered meanwhile, and nothing comes before the answer.
        kernel.submit(true, 0, 2, [0xa1, 0x81, 0, 0x0b, 0, 1, 2, 0], &[]);
        assert_eq!(kernel.answer(true), [100, 0]);
        kernel.shared.with(|camera| {
            camera.device.change(name::PRIVACY, 1, Timestamp::now()).unwrap();
            camera.device.faults.frozen = false;
        });
        assert_eq!(kernel.answer(true).len(), MAX_PAYLOAD_BYTES);
    }
}
