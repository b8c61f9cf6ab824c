//! The camera as a device: its state, and what a person in front of it or a fault does to it. What the host
//! asks for on endpoint 0 is in [`crate::transfers`].

use std::collections::VecDeque;

use rostrum_hal::{FrameSize, Timestamp};

use crate::{
    control_table::{Control, entity},
    controls::{Controls, ErrorCode, find, status_packet},
    format::{Coding, Offer, Settings},
    motion::Motion,
    picture::View,
};

/// So many settings of a host are kept for `log`; the oldest are forgotten first.
const MAX_LOG: usize = 10_000;

/// A fault that a test injects; all of them outlive [`Device::power_on`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    /// One frame of so many is not sent, though its number counts; 0 for none.
    pub(crate) drop_every: u32,
    /// So many frames from now on are not sent.
    pub(crate) drop_next: u32,
    /// So many class requests from now on are stalled.
    pub(crate) stall_controls: u32,
    /// Nothing is sent, and no error told.
    pub(crate) frozen: bool,
}

/// What has happened since the program's start.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counters {
    /// Frames, with those that a fault kept from being sent.
    pub(crate) frames: u32,
    /// Frames that the host got whole.
    pub(crate) sent: u32,
    /// Transfers that the host submitted.
    pub(crate) urbs: u64,
    /// `SET_CUR` of controls.
    pub(crate) sets: u64,
}

/// A stream from commit to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StreamId(u32);

/// A frame that is to be taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shot {
    /// The stream that it is for.
    pub(crate) stream: StreamId,
    /// How it is coded.
    pub(crate) coding: Coding,
    /// How large it is.
    pub(crate) size: FrameSize,
    /// Time to the next, in 100 ns.
    pub(crate) interval: u32,
    /// The most bytes that it may have.
    pub(crate) max_bytes: usize,
    /// Its number, which counts on over streams.
    pub(crate) number: u32,
    /// What the lens sees.
    pub(crate) view: View,
    /// Whether a fault keeps it from being sent.
    pub(crate) dropped: bool,
}

/// The device.
pub(crate) struct Device {
    /// Product name.
    pub(crate) product: String,
    /// Serial number.
    pub(crate) serial: String,
    /// Faults that are on.
    pub(crate) faults: Faults,
    /// What has happened.
    pub(crate) counters: Counters,
    pub(crate) offer: Offer,
    pub(crate) controls: Controls,
    pub(crate) motion: Motion,
    /// What host and camera have agreed on, in probe or commit.
    pub(crate) settings: Settings,
    /// How the last class request ended, until the host asks for it.
    pub(crate) last_error: ErrorCode,
    streaming: bool,
    stream: StreamId,
    log: VecDeque<String>,
    changed: VecDeque<&'static Control>,
}

impl Device {
    /// A device after power on.
    pub(crate) fn new(product: String, serial: String, offer: Offer) -> Self {
        Self {
            product,
            serial,
            faults: Faults::default(),
            counters: Counters::default(),
            controls: Controls::new(),
            motion: Motion::default(),
            settings: offer.default_settings(),
            offer,
            last_error: ErrorCode::NoError,
            streaming: false,
            stream: StreamId(0),
            log: VecDeque::new(),
            changed: VecDeque::new(),
        }
    }

    /// Takes its power from the bus again: controls and settings are those of the factory.
    pub(crate) fn power_on(&mut self) {
        self.controls = Controls::new();
        self.motion = Motion::default();
        self.settings = self.offer.default_settings();
        self.last_error = ErrorCode::NoError;
        self.changed.clear();
        self.stop();
    }

    /// Begins a stream with what was agreed on.
    pub(crate) fn start(&mut self) {
        self.stream = StreamId(self.stream.0.wrapping_add(1));
        self.streaming = true;
    }

    /// Ends the stream.
    pub(crate) fn stop(&mut self) {
        self.streaming = false;
    }

    /// Whether a stream runs.
    pub(crate) fn is_streaming(&self) -> bool {
        self.streaming
    }

    /// Whether this stream runs still.
    pub(crate) fn runs(&self, stream: StreamId) -> bool {
        self.streaming && self.stream == stream
    }

    /// The next frame, when a stream runs and nothing is frozen.
    pub(crate) fn shoot(&mut self, now: Timestamp) -> Option<Shot> {
        if !self.streaming || self.faults.frozen {
            return None;
        }
        self.motion.advance(&mut self.controls, now);
        let number = self.counters.frames;
        self.counters.frames = number.wrapping_add(1);
        // The Nth, not the one with number 0, is the first that is lost.
        let mut dropped =
            self.faults.drop_every != 0 && self.counters.frames.is_multiple_of(self.faults.drop_every);
        if self.faults.drop_next > 0 {
            self.faults.drop_next -= 1;
            dropped = true;
        }
        let coding = self.offer.coding(self.settings);
        let size = self.settings.size();
        Some(Shot {
            stream: self.stream,
            coding,
            size,
            interval: self.settings.interval,
            max_bytes: self.offer.max_frame_bytes(coding, size),
            number,
            view: View::of(&self.controls),
            dropped,
        })
    }

    /// Brings what moves to where it is at `now`.
    pub(crate) fn advance(&mut self, now: Timestamp) {
        self.motion.advance(&mut self.controls, now);
    }

    /// Sets a field as a person does with the remote control; the host is told.
    ///
    /// # Errors
    /// As [`Controls::change`].
    pub(crate) fn change(&mut self, name: &str, value: i64, now: Timestamp) -> Result<(), String> {
        self.advance(now);
        let control = self.controls.change(name, value)?;
        self.tell(control);
        self.was_set(control, now);
        Ok(())
    }

    /// Takes note of what a host has asked for.
    pub(crate) fn note_set(&mut self, asked: &[(&'static str, i64)]) {
        self.counters.sets += 1;
        for (name, value) in asked {
            if self.log.len() == MAX_LOG {
                self.log.pop_front();
            }
            self.log.push_back(format!("{name}={value}"));
        }
    }

    /// Starts and stops motors after `control` was set.
    pub(crate) fn was_set(&mut self, control: &Control, now: Timestamp) {
        let stopped = self.motion.was_set(&mut self.controls, control, now);
        if let Some(Ok(position)) = stopped.map(|selector| find(entity::CAMERA, selector)) {
            self.tell(position);
        }
    }

    /// What hosts have set since the last call, `name=value` in order.
    pub(crate) fn take_log(&mut self) -> String {
        let all: Vec<String> = self.log.drain(..).collect();
        all.join(" ")
    }

    /// The next packet for the interrupt endpoint. It has the value of now: a host that did not listen gets
    /// no values that are past.
    pub(crate) fn next_status(&mut self) -> Option<Vec<u8>> {
        self.changed.pop_front().map(|control| status_packet(&self.controls, control))
    }

    fn tell(&mut self, control: &'static Control) {
        if !self.changed.iter().any(|waiting| std::ptr::eq(*waiting, control)) {
            self.changed.push_back(control);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::control_table::name;

    fn device() -> Device {
        Device::new("Camera".into(), "1".into(), Offer::new(vec![Coding::Yuyv], 0))
    }

    fn sent(device: &mut Device, frames: usize) -> Vec<u32> {
        let shots = (0..frames).filter_map(|_| device.shoot(Timestamp::default()));
        shots.filter(|shot| !shot.dropped).map(|shot| shot.number).collect()
    }

    #[test]
    fn every_nth_frame_is_lost_and_counts() {
        let mut device = device();
        device.start();
        device.faults.drop_every = 3;
        assert_eq!(sent(&mut device, 7), [0, 1, 3, 4, 6]);
        device.faults.drop_every = 0;
        device.faults.drop_next = 2;
        assert_eq!(sent(&mut device, 4), [9, 10]);
    }

    #[test]
    fn a_frozen_camera_takes_no_frames() {
        let mut device = device();
        assert!(device.shoot(Timestamp::default()).is_none());
        device.start();
        device.faults.frozen = true;
        assert!(device.shoot(Timestamp::default()).is_none());
        device.faults.frozen = false;
        assert_eq!(sent(&mut device, 2), [0, 1]);
    }

    #[test]
    fn a_frame_of_an_earlier_stream_is_known() {
        let mut device = device();
        device.start();
        let shot = device.shoot(Timestamp::default()).unwrap();
        assert!(device.runs(shot.stream));
        device.stop();
        device.start();
        assert!(!device.runs(shot.stream));
    }

    #[test]
    fn the_host_is_told_the_newest_value_once() {
        let mut device = device();
        device.change(name::ZOOM, 300, Timestamp::default()).unwrap();
        device.change(name::PRIVACY, 1, Timestamp::default()).unwrap();
        device.change(name::ZOOM, 400, Timestamp::default()).unwrap();
        assert_eq!(device.next_status(), Some(vec![1, 1, 0, 0x0b, 0, 0x90, 0x01]));
        assert_eq!(device.next_status(), Some(vec![1, 1, 0, 0x11, 0, 1]));
        assert_eq!(device.next_status(), None);
    }

    #[test]
    fn power_brings_the_settings_of_the_factory() {
        let mut device = device();
        device.start();
        device.change(name::ZOOM, 300, Timestamp::default()).unwrap();
        device.power_on();
        assert_eq!(device.controls.value(name::ZOOM), 100);
        assert!(!device.is_streaming());
        assert_eq!(device.next_status(), None);
    }
}
