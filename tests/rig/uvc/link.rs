//! One connection with `vhci_hcd`: which transfers wait for an answer, and the answers.
//!
//! The writer lives here, next to the queues and behind the one lock of the camera, so that answers leave in
//! the order in which the queues changed: were `RET_UNLINK` to overtake the data of the transfer that it is
//! about, the kernel would get data for a transfer that it has forgotten, and drop the connection.

use std::{collections::VecDeque, io::Write, os::unix::net::UnixStream};

use crate::usbip::{self, Status};

/// A transfer of an endpoint that sends when there is something to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Waiting {
    sequence: u32,
    /// Bytes that the host has room for.
    room: usize,
}

/// An `UNLINK` that came before its `SUBMIT`.
struct EarlyUnlink {
    sequence: u32,
    victim: u32,
}

/// The endpoints that send when there is something to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// Payloads of the stream.
    Bulk,
    /// Status of the video control interface.
    Interrupt,
}

/// A connection.
pub(crate) struct Link {
    writer: UnixStream,
    bulk: VecDeque<Waiting>,
    interrupt: VecDeque<Waiting>,
    early: Vec<EarlyUnlink>,
    /// Newest `SUBMIT` of the connections before this one.
    inherited: u32,
    /// Newest `SUBMIT` that was seen.
    newest: u32,
    frame: Vec<u8>,
}

impl Link {
    /// `newest` is what the connection before it had seen ([`Link::newest`]), 0 for the first: `vhci_hcd`
    /// counts on over connections, and may take back transfers of an earlier one.
    pub(crate) fn new(writer: UnixStream, newest: u32) -> Self {
        Self {
            writer,
            bulk: VecDeque::new(),
            interrupt: VecDeque::new(),
            early: Vec::new(),
            inherited: newest,
            newest,
            frame: Vec::new(),
        }
    }

    /// Number of the newest `SUBMIT`.
    pub(crate) fn newest(&self) -> u32 {
        self.newest
    }

    /// Takes note of a `SUBMIT`; `false` when it was taken back already, and needs no answer any more.
    pub(crate) fn submitted(&mut self, sequence: u32) -> bool {
        self.newest = sequence;
        let Some(index) = self.early.iter().position(|early| early.victim == sequence) else { return true };
        let early = self.early.swap_remove(index);
        self.answer_unlink(early.sequence, Status::Unlinked);
        false
    }

    /// Answers an `UNLINK`.
    ///
    /// `vhci_hcd` puts submissions and unlinks into two queues, so the unlink can come first. It is answered
    /// when the submission has come: before, the kernel would give a transfer back that it sends later.
    pub(crate) fn unlink(&mut self, sequence: u32, victim: u32) {
        let waiting = self.bulk.len() + self.interrupt.len();
        self.bulk.retain(|transfer| transfer.sequence != victim);
        self.interrupt.retain(|transfer| transfer.sequence != victim);
        if self.bulk.len() + self.interrupt.len() < waiting {
            self.answer_unlink(sequence, Status::Unlinked);
        } else if is_after(victim, self.newest) {
            self.early.push(EarlyUnlink { sequence, victim });
        } else if is_after(victim, self.inherited) {
            self.answer_unlink(sequence, Status::Done);
        } else {
            // It was of a connection that is no more: nobody answered it.
            self.answer_unlink(sequence, Status::Unlinked);
        }
    }

    /// Keeps a transfer until there is something to send.
    pub(crate) fn wait(&mut self, endpoint: Endpoint, sequence: u32, room: u32) {
        self.queue(endpoint).push_back(Waiting { sequence, room: room as usize });
    }

    /// How much the host has room for in the next transfer of an endpoint; `None` when none waits.
    pub(crate) fn room(&self, endpoint: Endpoint) -> Option<usize> {
        let queue = match endpoint {
            Endpoint::Bulk => &self.bulk,
            Endpoint::Interrupt => &self.interrupt,
        };
        queue.front().map(|transfer| transfer.room)
    }

    /// How many transfers of an endpoint wait.
    pub(crate) fn waiting(&self, endpoint: Endpoint) -> usize {
        match endpoint {
            Endpoint::Bulk => self.bulk.len(),
            Endpoint::Interrupt => self.interrupt.len(),
        }
    }

    /// Sends `parts`, one behind the other, in the next transfer of an endpoint; what there is no room for is
    /// cut off. Nothing happens when none waits.
    pub(crate) fn send(&mut self, endpoint: Endpoint, parts: &[&[u8]]) {
        let Some(transfer) = self.queue(endpoint).pop_front() else { return };
        self.answer(transfer.sequence, transfer.room, parts);
    }

    /// Answers a control transfer to the host.
    pub(crate) fn answer_in(&mut self, sequence: u32, room: u32, data: &[u8]) {
        self.answer(sequence, room as usize, &[data]);
    }

    /// Answers a control transfer to the device that was done.
    pub(crate) fn answer_out(&mut self, sequence: u32, length: u32) {
        self.frame.clear();
        usbip::put_ret_submit(&mut self.frame, sequence, Status::Done, length);
        self.write();
    }

    /// Answers that the endpoint stalled.
    pub(crate) fn stall(&mut self, sequence: u32) {
        self.frame.clear();
        usbip::put_ret_submit(&mut self.frame, sequence, Status::Stalled, 0);
        self.write();
    }

    fn answer(&mut self, sequence: u32, room: usize, parts: &[&[u8]]) {
        let length = parts.iter().map(|part| part.len()).sum::<usize>().min(room);
        self.frame.clear();
        // No more than `room`, which came as 32 bits.
        let wire_length = u32::try_from(length).unwrap_or(u32::MAX);
        usbip::put_ret_submit(&mut self.frame, sequence, Status::Done, wire_length);
        let end = self.frame.len() + length;
        for part in parts {
            self.frame.extend_from_slice(part);
        }
        self.frame.truncate(end);
        self.write();
    }

    fn answer_unlink(&mut self, sequence: u32, status: Status) {
        self.frame.clear();
        usbip::put_ret_unlink(&mut self.frame, sequence, status);
        self.write();
    }

    fn write(&mut self) {
        // A connection that broke is seen by its reader, which ends it.
        let _ = self.writer.write_all(&self.frame);
    }

    fn queue(&mut self, endpoint: Endpoint) -> &mut VecDeque<Waiting> {
        match endpoint {
            Endpoint::Bulk => &mut self.bulk,
            Endpoint::Interrupt => &mut self.interrupt,
        }
    }
}

/// Whether `a` was given out after `b`, by a counter of 32 bits that may have wrapped around.
fn is_after(a: u32, b: u32) -> bool {
    a.wrapping_sub(b).cast_signed() > 0
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Read;

    use super::*;

    fn linked(newest: u32) -> (Link, UnixStream) {
        let (ours, kernels) = UnixStream::pair().unwrap();
        kernels.set_nonblocking(true).unwrap();
        (Link::new(ours, newest), kernels)
    }

    /// Command, sequence, status and length of every answer, in order.
    fn answers(kernel: &mut UnixStream) -> Vec<(u32, u32, i32, u32)> {
        let mut bytes = vec![0; 1 << 16];
        let Ok(length) = kernel.read(&mut bytes) else { return Vec::new() };
        let mut rest = &bytes[..length];
        let mut answers = Vec::new();
        while !rest.is_empty() {
            let word = |i: usize| u32::from_be_bytes(rest[i * 4..i * 4 + 4].try_into().unwrap());
            let answer = (word(0), word(1), word(5).cast_signed(), word(6));
            answers.push(answer);
            rest = &rest[48 + answer.3 as usize..];
        }
        answers
    }

    #[test]
    fn an_unlink_before_its_submission_is_answered_after_it() {
        let (mut link, mut kernel) = linked(0);
        assert!(link.submitted(1));
        link.unlink(3, 2);
        assert_eq!(answers(&mut kernel), []);
        assert!(!link.submitted(2));
        assert_eq!(answers(&mut kernel), [(4, 3, -104, 0)]);
    }

    #[test]
    fn an_unlink_of_a_waiting_transfer_takes_it_back() {
        let (mut link, mut kernel) = linked(0);
        link.submitted(1);
        link.wait(Endpoint::Bulk, 1, 100);
        link.unlink(2, 1);
        assert_eq!(answers(&mut kernel), [(4, 2, -104, 0)]);
        link.send(Endpoint::Bulk, &[&[1]]);
        assert_eq!(answers(&mut kernel), []);
    }

    #[test]
    fn an_unlink_of_an_answered_transfer_comes_after_its_data() {
        let (mut link, mut kernel) = linked(0);
        link.submitted(1);
        link.wait(Endpoint::Bulk, 1, 100);
        link.send(Endpoint::Bulk, &[&[1, 2], &[3]]);
        link.unlink(2, 1);
        assert_eq!(answers(&mut kernel), [(3, 1, 0, 3), (4, 2, 0, 0)]);
    }

    #[test]
    fn an_unlink_of_an_earlier_connection_is_answered_at_once() {
        let (mut link, mut kernel) = linked(40);
        link.unlink(41, 39);
        assert_eq!(answers(&mut kernel), [(4, 41, -104, 0)]);
    }

    #[test]
    fn no_more_is_sent_than_there_is_room_for() {
        let (mut link, mut kernel) = linked(0);
        link.submitted(1);
        link.wait(Endpoint::Interrupt, 1, 2);
        link.send(Endpoint::Interrupt, &[&[1, 2, 3]]);
        assert_eq!(answers(&mut kernel), [(3, 1, 0, 2)]);
    }
}
