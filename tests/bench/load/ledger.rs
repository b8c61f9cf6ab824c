//! What one subscriber received: first media, layers, losses, delays.

use std::{collections::HashMap, time::Instant};

use super::stamp::{SOUND, Stamp, us};

/// The numbers that arrived of one stream.
#[derive(Default)]
struct Stream {
    numbers: Vec<u32>,
}

/// What one subscriber received.
#[derive(Default)]
pub(crate) struct Ledger {
    /// When its first packet of anything, and of a picture, came.
    pub(crate) first: Option<Instant>,
    pub(crate) first_picture: Option<Instant>,
    /// The layer that came last, by publisher.
    layers: HashMap<u8, u8>,
    /// When sound came last, by publisher.
    sounds: HashMap<u8, Instant>,
    window: Window,
    streams: HashMap<(u8, u8), Stream>,
    delays_ms: Vec<f64>,
    /// Packets that came within the window, whenever they were sent.
    came: u64,
}

/// Packets that were sent within it count.
#[derive(Default, Clone, Copy)]
enum Window {
    #[default]
    Closed,
    Open {
        from_us: u64,
    },
    /// Those that are late may still come.
    Ending {
        from_us: u64,
        to_us: u64,
    },
}

/// What [`Ledger::close`] gives.
#[derive(Default)]
pub(crate) struct Received {
    /// Packets that came while the window was open.
    pub(crate) came: u64,
    /// Packets that were sent in the window and came.
    pub(crate) arrived: u64,
    /// Packets between others of their stream that never came.
    pub(crate) lost: u64,
    pub(crate) delays_ms: Vec<f64>,
}

impl Ledger {
    /// Notes a packet.
    pub(crate) fn received(&mut self, now: Instant, payload: &[u8]) {
        let Some(stamp) = Stamp::read(payload) else { return };
        self.first.get_or_insert(now);
        if stamp.stream == SOUND {
            self.sounds.insert(stamp.publisher, now);
        } else {
            self.first_picture.get_or_insert(now);
            self.layers.insert(stamp.publisher, stamp.stream);
        }
        let counts = match self.window {
            Window::Closed => false,
            Window::Open { from_us } => {
                self.came += 1;
                stamp.sent_us >= from_us
            }
            Window::Ending { from_us, to_us } => (from_us..to_us).contains(&stamp.sent_us),
        };
        if counts {
            self.delays_ms.push(us(now).saturating_sub(stamp.sent_us) as f64 / 1000.0);
            self.streams.entry((stamp.publisher, stamp.stream)).or_default().numbers.push(stamp.number);
        }
    }

    /// Whether sound of a publisher comes, and its picture in this layer.
    pub(crate) fn has(&self, publisher: u8, layer: u8) -> bool {
        self.sounds.contains_key(&publisher) && self.layers.get(&publisher) == Some(&layer)
    }

    /// The layer that comes of a publisher.
    pub(crate) fn layer_of(&self, publisher: u8) -> Option<u8> {
        self.layers.get(&publisher).copied()
    }

    /// Counts from now on.
    pub(crate) fn open(&mut self, now: Instant) {
        self.window = Window::Open { from_us: us(now) };
    }

    /// Counts only what is late from now on.
    pub(crate) fn end(&mut self, now: Instant) {
        if let Window::Open { from_us } = self.window {
            self.window = Window::Ending { from_us, to_us: us(now) };
        }
    }

    /// What was counted.
    pub(crate) fn close(&mut self) -> Received {
        self.window = Window::Closed;
        let mut received = Received {
            came: std::mem::take(&mut self.came),
            delays_ms: std::mem::take(&mut self.delays_ms),
            ..Default::default()
        };
        for (_, mut stream) in self.streams.drain() {
            stream.numbers.sort_unstable();
            stream.numbers.dedup();
            let (Some(first), Some(last)) = (stream.numbers.first(), stream.numbers.last()) else { continue };
            let arrived = stream.numbers.len() as u64;
            received.arrived += arrived;
            received.lost += u64::from(last - first) + 1 - arrived;
        }
        received
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(stream: u8, number: u32, sent: Instant) -> Vec<u8> {
        let mut payload = vec![0x41];
        Stamp { publisher: 1, stream, number, sent_us: us(sent) }.append(&mut payload);
        payload
    }

    #[test]
    fn what_never_came_is_lost_and_what_came_late_is_not() {
        let mut ledger = Ledger::default();
        us(Instant::now());
        let at = |milliseconds| Instant::now() + std::time::Duration::from_millis(milliseconds);
        ledger.received(at(0), &packet(0, 9, at(0)));
        ledger.open(at(1));
        for number in [10, 11, 14, 15] {
            ledger.received(at(u64::from(number) + 4), &packet(0, number, at(u64::from(number))));
        }
        ledger.end(at(100));
        ledger.received(at(120), &packet(0, 12, at(12)));
        ledger.received(at(210), &packet(0, 16, at(200)));
        assert!(!ledger.has(1, 0), "no sound came");
        ledger.received(at(210), &packet(SOUND, 1, at(200)));
        assert!(ledger.has(1, 0));
        let received = ledger.close();
        assert_eq!((received.came, received.arrived, received.lost), (4, 5, 1));
        assert!(received.delays_ms.iter().any(|delay| (107.0..109.0).contains(delay)));
    }
}
