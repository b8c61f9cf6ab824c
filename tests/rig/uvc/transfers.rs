//! Control transfers: standard requests (USB 2.0 §9.4) and class requests to the video interfaces
//! (UVC 1.1 §4).

use rostrum_hal::Timestamp;

use crate::{
    controls::{self, ErrorCode, GET_CUR, GET_DEF, GET_INFO, GET_LEN, GET_MAX, GET_MIN, SET_CUR},
    descriptors::{self, BULK_ENDPOINT, CONTROL_INTERFACE, STREAMING_INTERFACE},
    device::Device,
    format::PROBE_BYTES,
};

/// Selector of the Request Error Code control, which belongs to the interface, not to an entity.
const REQUEST_ERROR_CODE: u8 = 2;
/// Selector of the streaming interface's probe control.
const PROBE: u8 = 1;
/// Selector of the streaming interface's commit control.
const COMMIT: u8 = 2;

/// The device does not do what it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stall;

/// A setup packet (USB 2.0 §9.3).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    kind: u8,
    request: u8,
    value: u16,
    index: u16,
    length: usize,
}

impl Setup {
    /// From the wire.
    pub(crate) fn from_bytes([kind, request, v0, v1, i0, i1, l0, l1]: [u8; 8]) -> Self {
        let word = |low, high| u16::from_le_bytes([low, high]);
        let length = usize::from(word(l0, l1));
        Self { kind, request, value: word(v0, v1), index: word(i0, i1), length }
    }

    /// High byte of the value: a descriptor's type, a control's selector.
    fn selector(self) -> u8 {
        self.value.to_be_bytes()[0]
    }

    /// High byte of the index: an entity.
    fn entity(self) -> u8 {
        self.index.to_be_bytes()[0]
    }

    /// Low byte of the index: an interface.
    fn interface(self) -> u8 {
        self.index.to_be_bytes()[1]
    }
}

impl Device {
    /// Does a control transfer with the bytes that the host sent, and gives those that it gets.
    ///
    /// # Errors
    /// When the endpoint stalls.
    pub(crate) fn control_transfer(
        &mut self,
        setup: Setup,
        data: &[u8],
        now: Timestamp,
    ) -> Result<Vec<u8>, Stall> {
        self.advance(now);
        let mut answer = match setup.kind {
            0x21 | 0xa1 => self.class_request(setup, data, now)?,
            _ => self.standard_request(setup)?,
        };
        answer.truncate(setup.length);
        Ok(answer)
    }

    fn standard_request(&mut self, setup: Setup) -> Result<Vec<u8>, Stall> {
        const GET_STATUS: u8 = 0;
        const CLEAR_FEATURE: u8 = 1;
        const SET_FEATURE: u8 = 3;
        const GET_DESCRIPTOR: u8 = 6;
        const GET_CONFIGURATION: u8 = 8;
        const SET_CONFIGURATION: u8 = 9;
        const GET_INTERFACE: u8 = 10;
        const SET_INTERFACE: u8 = 11;
        match (setup.kind, setup.request) {
            (0x80, GET_DESCRIPTOR) => self.descriptor(setup),
            (0x80..=0x82, GET_STATUS) => Ok(vec![0, 0]),
            (0x80, GET_CONFIGURATION) => Ok(vec![1]),
            (0x81, GET_INTERFACE) => Ok(vec![0]),
            (0x00, SET_CONFIGURATION) => {
                self.stop();
                Ok(vec![])
            }
            (0x01, SET_INTERFACE) => {
                if setup.index == u16::from(STREAMING_INTERFACE) {
                    self.stop();
                }
                Ok(vec![])
            }
            (0x02, CLEAR_FEATURE) => {
                // The class does not say how a stream on a bulk endpoint is stopped. Windows and `uvcvideo`
                // do it by clearing the endpoint's halt.
                if setup.index == u16::from(BULK_ENDPOINT) {
                    self.stop();
                }
                Ok(vec![])
            }
            (0x00 | 0x01, CLEAR_FEATURE) | (0x00, SET_FEATURE) => Ok(vec![]),
            _ => Err(Stall),
        }
    }

    fn descriptor(&self, setup: Setup) -> Result<Vec<u8>, Stall> {
        const DEVICE: u8 = 1;
        const CONFIGURATION: u8 = 2;
        const STRING: u8 = 3;
        const DEVICE_QUALIFIER: u8 = 6;
        let [kind, index] = setup.value.to_be_bytes();
        match kind {
            DEVICE => Ok(descriptors::device()),
            CONFIGURATION => Ok(descriptors::configuration(&self.offer)),
            STRING => descriptors::string(index, &self.product, &self.serial).ok_or(Stall),
            DEVICE_QUALIFIER => Ok(descriptors::device_qualifier()),
            _ => Err(Stall),
        }
    }

    fn class_request(&mut self, setup: Setup, data: &[u8], now: Timestamp) -> Result<Vec<u8>, Stall> {
        let of_interface = setup.interface() == CONTROL_INTERFACE && setup.entity() == 0;
        if of_interface && setup.selector() == REQUEST_ERROR_CODE {
            // Hosts ask for it after a stall, so neither faults nor its own end count.
            return self.request_error_code(setup);
        }
        let answer = if self.faults.stall_controls > 0 {
            self.faults.stall_controls -= 1;
            Err(ErrorCode::Unknown)
        } else {
            match setup.interface() {
                CONTROL_INTERFACE => self.unit_request(setup, data, now),
                STREAMING_INTERFACE => self.stream_request(setup, data),
                _ => Err(ErrorCode::InvalidUnit),
            }
        };
        self.last_error = answer.as_ref().err().copied().unwrap_or(ErrorCode::NoError);
        answer.map_err(|_| Stall)
    }

    fn request_error_code(&mut self, setup: Setup) -> Result<Vec<u8>, Stall> {
        match setup.request {
            GET_CUR => Ok(vec![std::mem::replace(&mut self.last_error, ErrorCode::NoError) as u8]),
            GET_INFO => Ok(vec![1]), // it can be read
            _ => Err(Stall),
        }
    }

    fn unit_request(&mut self, setup: Setup, data: &[u8], now: Timestamp) -> Result<Vec<u8>, ErrorCode> {
        let control = controls::find(setup.entity(), setup.selector())?;
        if setup.request != SET_CUR {
            return self.controls.get(control, setup.request);
        }
        let asked = self.controls.set(control, data)?;
        self.note_set(&asked);
        self.was_set(control, now);
        Ok(vec![])
    }

    fn stream_request(&mut self, setup: Setup, data: &[u8]) -> Result<Vec<u8>, ErrorCode> {
        if !matches!(setup.selector(), PROBE | COMMIT) {
            return Err(ErrorCode::InvalidControl);
        }
        match setup.request {
            SET_CUR => {
                self.settings = self.offer.settle(data).ok_or(ErrorCode::InvalidRequest)?;
                if setup.selector() == COMMIT {
                    self.start();
                }
                Ok(vec![])
            }
            // There is nothing to choose but format, frame and interval, and those are in the descriptors.
            GET_CUR | GET_MIN | GET_MAX => Ok(self.offer.probe(self.settings)),
            GET_DEF => Ok(self.offer.probe(self.offer.default_settings())),
            GET_LEN => Ok(vec![PROBE_BYTES as u8, 0]),
            GET_INFO => Ok(vec![3]), // it can be read and set
            _ => Err(ErrorCode::InvalidRequest),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use super::*;
    use crate::{
        control_table::name,
        format::{Coding, INTERVALS, Offer, Settings},
        noise::Noise,
    };

    const NOW: Timestamp = Timestamp::from_clock(Duration::ZERO);

    fn device() -> Device {
        let offer = Offer::new(vec![Coding::Yuyv, Coding::Mjpeg], 0);
        Device::new("Rig PTZ Camera".into(), "RIG0001".into(), offer)
    }

    fn transfer(device: &mut Device, setup: [u8; 8], data: &[u8]) -> Result<Vec<u8>, Stall> {
        device.control_transfer(Setup::from_bytes(setup), data, NOW)
    }

    #[test]
    fn an_answer_is_cut_to_what_the_host_wants() {
        let mut device = device();
        assert_eq!(transfer(&mut device, [0x80, 6, 0, 1, 0, 0, 8, 0], &[]).unwrap().len(), 8);
        assert_eq!(transfer(&mut device, [0x80, 6, 0, 1, 0, 0, 64, 0], &[]).unwrap().len(), 18);
    }

    #[test]
    fn commit_starts_the_stream_and_clearing_the_halt_stops_it() {
        let mut device = device();
        let settings = Settings { format: 2, frame: 4, interval: INTERVALS[1] };
        let probe = device.offer.probe(settings);
        transfer(&mut device, [0x21, 1, 0, 1, 1, 0, 34, 0], &probe).unwrap();
        assert!(!device.is_streaming());
        transfer(&mut device, [0x21, 1, 0, 2, 1, 0, 34, 0], &probe).unwrap();
        assert!(device.is_streaming());
        assert_eq!(device.settings, settings);
        transfer(&mut device, [0x02, 1, 0, 0, 0x81, 0, 0, 0], &[]).unwrap();
        assert!(!device.is_streaming());
    }

    #[test]
    fn a_host_that_sets_a_control_is_noted() {
        let mut device = device();
        transfer(&mut device, [0x21, 1, 0, 0x0b, 0, 1, 2, 0], &[0xfa, 0]).unwrap();
        assert_eq!(device.controls.value(name::ZOOM), 250);
        assert_eq!((device.take_log().as_str(), device.take_log().as_str()), ("zoom_abs=250", ""));
        assert_eq!(device.next_status(), None, "a host is not told what it did itself");
    }

    #[test]
    fn the_host_learns_why_it_was_stalled() {
        let mut device = device();
        let mut why = |setup: [u8; 8]| {
            assert_eq!(transfer(&mut device, setup, &[]), Err(Stall));
            transfer(&mut device, [0xa1, 0x81, 0, 2, 0, 0, 1, 0], &[]).unwrap()[0]
        };
        assert_eq!(why([0xa1, 0x81, 0, 1, 0, 9, 1, 0]), ErrorCode::InvalidUnit as u8);
        assert_eq!(why([0xa1, 0x81, 0, 0x7f, 0, 1, 1, 0]), ErrorCode::InvalidControl as u8);
        assert_eq!(why([0xa1, 0x99, 0, 0x0b, 0, 1, 2, 0]), ErrorCode::InvalidRequest as u8);
        assert_eq!(why([0x21, 1, 0, 0x0b, 0, 1, 2, 0]), ErrorCode::InvalidRequest as u8);
    }

    #[test]
    fn as_many_requests_are_stalled_as_were_asked_for() {
        let mut device = device();
        device.faults.stall_controls = 2;
        let zoom = [0xa1, 0x81, 0, 0x0b, 0, 1, 2, 0];
        assert_eq!(transfer(&mut device, zoom, &[]), Err(Stall));
        assert_eq!(transfer(&mut device, [0xa1, 0x81, 0, 2, 0, 0, 1, 0], &[]), Ok(vec![0xff]));
        assert_eq!(transfer(&mut device, [0xa1, 0x81, 0, 1, 1, 0, 34, 0], &[]), Err(Stall));
        assert_eq!(transfer(&mut device, zoom, &[]), Ok(vec![100, 0]));
    }

    #[test]
    fn the_end_of_a_relative_motion_is_told() {
        let mut device = device();
        let set_pan_tilt = |device: &mut Device, data: [u8; 4], millis: u64| {
            let setup = Setup::from_bytes([0x21, 1, 0, 0x0e, 0, 1, 4, 0]);
            let now = Timestamp::from_clock(Duration::from_millis(millis));
            device.control_transfer(setup, &data, now).unwrap();
        };
        set_pan_tilt(&mut device, [1, 2, 0, 1], 0);
        assert_eq!(device.next_status(), None);
        set_pan_tilt(&mut device, [0, 2, 0, 1], 1000);
        assert_eq!(device.controls.value(name::PAN), 7200);
        assert_eq!(device.next_status(), Some(vec![1, 1, 0, 0x0d, 0, 0x20, 0x1c, 0, 0, 0, 0, 0, 0]));
    }

    #[test]
    fn no_bytes_make_the_device_panic() {
        let mut device = device();
        let mut noise = Noise::new(4);
        for round in 0..20_000 {
            let mut setup: [u8; 8] = noise.bytes(8).try_into().unwrap();
            // Most noise would be no request at all.
            if round % 4 != 0 {
                setup[0] = [0x21, 0xa1, 0x80, 0x00, 0x02, 0x01][noise.below(6)];
                setup[1] = [1, 6, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 9][noise.below(10)];
                setup[3] %= 0x14;
                setup[4] %= 2;
                setup[5] %= 6;
            }
            let length = noise.below(64);
            let now = Timestamp::from_clock(Duration::from_millis(round * 100));
            let answer = device.control_transfer(Setup::from_bytes(setup), &noise.bytes(length), now);
            let wanted = usize::from(u16::from_le_bytes([setup[6], setup[7]]));
            assert!(answer.map_or(0, |bytes| bytes.len()) <= wanted);
            let _ = (device.shoot(now), device.next_status());
        }
    }
}
