//! Decoded sound of one track that waits for the speaker, and how it begins and ends: never with a pop.

use crate::{FRAME, stretch};

/// Sound that has room, samples of a channel: the longest wait and the longest packet have it with ease.
const LENGTH: usize = 24_000;
/// Kept free before the sound, so that it can be made longer.
const HEAD: usize = stretch::LONGEST;
/// A beginning rises within 5 ms.
const FADE_IN: usize = 240;

/// Interleaved samples. All lengths are samples of a channel.
pub(crate) struct Fifo {
    channels: usize,
    samples: Vec<f32>,
    /// Where the sound is, counting all channels.
    played: usize,
    filled: usize,
    begins: bool,
    /// What still sounds of what ended.
    tail: Vec<f32>,
    ending: bool,
    frame: Vec<f32>,
}

impl Fifo {
    pub(crate) fn new(channels: usize) -> Self {
        Self {
            channels,
            samples: vec![0.0; (HEAD + LENGTH) * channels],
            played: HEAD * channels,
            filled: HEAD * channels,
            begins: true,
            tail: vec![0.0; FRAME * channels],
            ending: false,
            frame: vec![0.0; FRAME * channels],
        }
    }

    /// As new, with the memory that it has.
    pub(crate) fn clear(&mut self) {
        (self.played, self.filled) = (HEAD * self.channels, HEAD * self.channels);
        self.begins = true;
        self.ending = false;
    }

    pub(crate) fn buffered(&self) -> usize {
        (self.filled - self.played) / self.channels
    }

    /// Begins with `wait` of silence.
    pub(crate) fn begin(&mut self, wait: usize) {
        let wait = wait.min(LENGTH / 2) * self.channels;
        self.played = HEAD * self.channels;
        self.filled = self.played + wait;
        self.samples[self.played..self.filled].fill(0.0);
        self.begins = true;
    }

    /// Drops what waits, but lets the next 10 ms of it die away over what is pulled next.
    pub(crate) fn end(&mut self) {
        if !self.ending {
            self.tail.fill(0.0);
        }
        let left = self.buffered().min(FRAME);
        let sound = &self.samples[self.played..self.played + left * self.channels];
        for (i, (tail, sample)) in self.tail.iter_mut().zip(sound).enumerate() {
            *tail += sample * (1.0 - (i / self.channels) as f32 / left as f32);
        }
        self.ending = left > 0;
        (self.played, self.filled) = (HEAD * self.channels, HEAD * self.channels);
        self.begins = true;
    }

    /// Whether something that ended still sounds.
    pub(crate) fn ending(&self) -> bool {
        self.ending
    }

    /// Adds `sound`, interleaved; what finds no room is dropped.
    pub(crate) fn append(&mut self, sound: &[f32]) {
        if self.samples.len() - self.filled < sound.len() {
            self.move_to_front();
        }
        let from = self.filled;
        let room = sound.len().min(self.samples.len() - from);
        self.filled += room;
        let added = &mut self.samples[from..self.filled];
        added.copy_from_slice(&sound[..room]);
        if std::mem::take(&mut self.begins) {
            for (i, sample) in added.iter_mut().take(FADE_IN * self.channels).enumerate() {
                *sample *= (i / self.channels) as f32 / FADE_IN as f32;
            }
        }
    }

    fn move_to_front(&mut self) {
        let head = HEAD * self.channels;
        if self.played != head {
            self.samples.copy_within(self.played..self.filled, head);
            self.filled = self.filled - self.played + head;
            self.played = head;
        }
    }

    /// Leaves out up to `most`, unheard unless `forced`.
    pub(crate) fn shorten(&mut self, most: usize, forced: bool) -> Option<stretch::Change> {
        let waiting = &mut self.samples[self.played..self.filled];
        let change = stretch::shorten(waiting, self.channels, most, forced)?;
        self.played += change.length * self.channels;
        Some(change)
    }

    /// Adds up to `most` of what is there already, unheard unless `forced`.
    pub(crate) fn lengthen(&mut self, most: usize, forced: bool) -> Option<stretch::Change> {
        if self.played < HEAD * self.channels {
            if self.filled - self.played > LENGTH * self.channels {
                return None;
            }
            self.move_to_front();
        }
        let from = self.played - HEAD * self.channels;
        let waiting = &mut self.samples[from..self.filled];
        let change = stretch::lengthen(waiting, HEAD, self.channels, most, forced)?;
        self.played -= change.length * self.channels;
        Some(change)
    }

    /// The next `FRAME`; `None` when less is there and nothing dies away.
    pub(crate) fn pull(&mut self) -> Option<&mut [f32]> {
        let whole = self.buffered() >= FRAME;
        if !whole && !self.ending {
            return None;
        }
        if whole {
            let end = self.played + FRAME * self.channels;
            self.frame.copy_from_slice(&self.samples[self.played..end]);
            self.played = end;
        } else {
            self.frame.fill(0.0);
        }
        if std::mem::take(&mut self.ending) {
            for (sample, tail) in self.frame.iter_mut().zip(&self.tail) {
                *sample += tail;
            }
        }
        Some(&mut self.frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The largest step between two neighbours, silence before and after included.
    fn steepest(sound: &[f32]) -> f32 {
        let edges = [0.0].into_iter().chain(sound.iter().copied()).chain([0.0]);
        let later = edges.clone().skip(1);
        edges.zip(later).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    }

    #[test]
    fn a_loud_sound_begins_and_ends_without_a_step() {
        let mut fifo = Fifo::new(1);
        let mut heard = Vec::new();
        fifo.begin(100);
        fifo.append(&[0.8; 2_000]);
        for _ in 0..2 {
            heard.extend_from_slice(fifo.pull().unwrap_or_default());
        }
        fifo.end();
        assert!(fifo.ending());
        heard.extend_from_slice(fifo.pull().unwrap_or_default());
        assert_eq!(heard.len(), 3 * FRAME);
        assert!(steepest(&heard) < 0.01, "{}", steepest(&heard));
        assert_eq!(fifo.pull(), None);
    }

    #[test]
    fn what_ends_and_begins_anew_at_once_has_no_step_either() {
        let mut fifo = Fifo::new(2);
        fifo.append(&[0.5; 4 * FRAME]);
        let mut heard: Vec<f32> = fifo.pull().unwrap_or_default().iter().step_by(2).copied().collect();
        fifo.end();
        fifo.begin(0);
        fifo.append(&[-0.5; 4 * FRAME]);
        for _ in 0..2 {
            heard.extend(fifo.pull().unwrap_or_default().iter().step_by(2));
        }
        assert!(steepest(&heard[FADE_IN..3 * FRAME - 1]) < 0.6, "the end itself is no part of it");
        let inside = heard.windows(2).skip(FADE_IN).map(|p| (p[0] - p[1]).abs()).fold(0.0, f32::max);
        assert!(inside < 0.01, "{inside}");
    }

    #[test]
    fn more_than_has_room_is_dropped_and_nothing_breaks() {
        let mut fifo = Fifo::new(1);
        for _ in 0..100 {
            fifo.append(&[0.1; 11_520]);
        }
        assert!(fifo.buffered() <= HEAD + LENGTH);
        assert!(fifo.pull().is_some());
    }

    #[test]
    fn sound_can_be_made_longer_and_shorter_for_ever() {
        let mut fifo = Fifo::new(1);
        for round in 0..2_000 {
            while fifo.buffered() < 3_000 {
                fifo.append(&[0.0; 960]);
            }
            let before = fifo.buffered();
            let change = if round % 3 == 0 { fifo.shorten(300, true) } else { fifo.lengthen(300, true) };
            let after = if round % 3 == 0 { before - 300 } else { before + 300 };
            assert_eq!(change.map(|_| fifo.buffered()), Some(after));
            assert!(fifo.pull().is_some());
        }
    }
}
