//! Counters that threads raise and the panel shows.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Since the start of the program.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    camera_frames: AtomicU64,
    camera_frames_lost: AtomicU64,
    microphone_samples_lost: AtomicU64,
    frames_sent: AtomicU64,
    frames_shown: AtomicU64,
    audio_packets_sent: AtomicU64,
}

impl Counters {
    pub(crate) fn camera_frame(&self) {
        self.camera_frames.fetch_add(1, Relaxed);
    }

    pub(crate) fn camera_frames_lost(&self, lost: u64) {
        self.camera_frames_lost.fetch_add(lost, Relaxed);
    }

    pub(crate) fn microphone_samples_lost(&self, lost: u64) {
        self.microphone_samples_lost.fetch_add(lost, Relaxed);
    }

    pub(crate) fn frame_sent(&self) {
        self.frames_sent.fetch_add(1, Relaxed);
    }

    pub(crate) fn frame_shown(&self) {
        self.frames_shown.fetch_add(1, Relaxed);
    }

    pub(crate) fn audio_packet_sent(&self) {
        self.audio_packets_sent.fetch_add(1, Relaxed);
    }

    /// Copies the counters into the panel's statistics.
    pub(crate) fn fill(&self, statistics: &mut rostrum_panel::Statistics) {
        statistics.camera_frames = self.camera_frames.load(Relaxed);
        statistics.camera_frames_lost = self.camera_frames_lost.load(Relaxed);
        statistics.microphone_samples_lost = self.microphone_samples_lost.load(Relaxed);
        statistics.frames_sent = self.frames_sent.load(Relaxed);
        statistics.frames_shown = self.frames_shown.load(Relaxed);
        statistics.audio_packets_sent = self.audio_packets_sent.load(Relaxed);
    }
}
