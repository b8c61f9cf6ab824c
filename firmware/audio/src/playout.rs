//! Packets of all remote tracks to the speaker.

use crate::level::sane;
use crate::notification::{Ducking, Notifications};
use crate::track::{Track, TrackStatistics};
use crate::{AudioError, Dbov, FRAME, SILENCE};
use rostrum_hal::Timestamp;
use std::sync::Arc;
use std::time::Duration;

/// The most tracks that are played at once; packets of further ones are left out.
pub const MAX_TRACKS: usize = 64;
/// Tracks whose memory is taken at the start: a full channel.
const READY: usize = 16;
/// Tracks beside them that may still die away when others come.
const LEAVING: usize = 4;
/// The volume changes by no more than this in a period: from nothing to all in 40 ms.
const FASTEST: f32 = 0.25;
/// Louder than this somebody speaks: -45 dB.
const SPEECH: Dbov = 45;
/// Below this the mix is exact; above it bends towards full scale.
const KNEE: f32 = 0.8;

/// Names one remote track; the shell chooses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrackKey(pub u64);

/// Everything that the room hears: a jitter buffer, a decoder and a leveller for each track, the mix, the terminal's
/// own sounds, the volume.
pub struct PlayOut {
    channels: usize,
    playing: Vec<(TrackKey, Track)>,
    /// Removed, and still dying away.
    leaving: Vec<Track>,
    spare: Vec<Track>,
    levelling: bool,
    notifications: Notifications,
    volume: f32,
    volume_now: f32,
    reference: Vec<f32>,
}

impl PlayOut {
    /// For a speaker of one or two channels, at full volume. Memory for 16 tracks is taken here; more tracks
    /// take theirs when they come.
    ///
    /// # Errors
    /// [`AudioError::SpeakerChannels`], [`AudioError::Opus`].
    pub fn new(channels: usize) -> Result<Self, AudioError> {
        let spare = (0..READY + LEAVING).map(|_| Track::new(channels)).collect::<Result<_, _>>()?;
        Ok(Self {
            channels,
            playing: Vec::with_capacity(MAX_TRACKS),
            leaving: Vec::with_capacity(MAX_TRACKS),
            spare,
            levelling: true,
            notifications: Notifications::new(),
            volume: 1.0,
            volume_now: 1.0,
            reference: vec![0.0; FRAME * channels],
        })
    }

    /// Takes an Opus packet of `track` as it arrives: its RTP sequence number and timestamp (48 kHz,
    /// RFC 7587) and when it came. An unknown track begins here. Whatever is in the packet, other tracks
    /// and later packets are none the worse for it.
    pub fn push(
        &mut self,
        track: TrackKey,
        sequence: u16,
        rtp_timestamp: u32,
        opus: &[u8],
        arrival: Timestamp,
    ) {
        let index = match self.playing.iter().position(|(key, _)| *key == track) {
            Some(index) => index,
            None if self.playing.len() >= MAX_TRACKS => return,
            None => {
                let Some(new) = self.spare.pop().or_else(|| Track::new(self.channels).ok()) else { return };
                self.playing.push((track, new));
                self.playing.len() - 1
            }
        };
        self.playing[index].1.push(sequence, rtp_timestamp, opus, arrival);
    }

    /// Ends a track. Packets of it that come later begin it anew.
    pub fn remove(&mut self, track: TrackKey) {
        if let Some(index) = self.playing.iter().position(|(key, _)| *key == track) {
            let (_, mut track) = self.playing.swap_remove(index);
            track.leave();
            if self.leaving.len() < MAX_TRACKS {
                self.leaving.push(track);
            } else {
                self.retire(track);
            }
        }
    }

    /// Keeps its memory for the next.
    fn retire(&mut self, mut track: Track) {
        if self.spare.len() < READY + LEAVING {
            track.reset();
            self.spare.push(track);
        }
    }

    /// Volume in percent, 0..=100; more counts as 100. It follows loudness as people hear it (the square),
    /// and glides there within 40 ms.
    pub fn set_volume(&mut self, percent: u8) {
        let share = f32::from(percent.min(100)) / 100.0;
        self.volume = share * share;
    }

    /// Brings talkers to one loudness, up to 15 dB each way; what is sent in stereo is left as it is. On at first.
    pub fn set_levelling(&mut self, on: bool) {
        self.levelling = on;
    }

    /// Plays a sound of the terminal itself, 48 kHz mono, -1.0..=1.0, up to 30 s, after those that were asked for
    /// before. `false` when it is too long, empty, or four wait already.
    pub fn notify(&mut self, sound: Arc<[f32]>, ducking: Ducking) -> bool {
        self.notifications.add(sound, ducking)
    }

    /// Whether a sound of the terminal itself is playing or waiting.
    pub fn is_notifying(&self) -> bool {
        self.notifications.is_playing()
    }

    /// Writes the next period to `out`: 480 samples of each channel, interleaved, -1.0..=1.0. A buffer of
    /// another size gets silence, and no time passes.
    pub fn mix(&mut self, out: &mut [f32]) {
        out.fill(0.0);
        if out.len() != FRAME * self.channels {
            return;
        }
        let leaving = self.leaving.iter_mut();
        let mut loudest = SILENCE;
        for track in self.playing.iter_mut().map(|(_, track)| track).chain(leaving) {
            if let Some(frame) = track.pull(self.levelling) {
                for (sum, sample) in out.iter_mut().zip(frame) {
                    *sum += sample;
                }
                loudest = loudest.min(track.level());
            }
        }
        while let Some(gone) = self.leaving.iter().position(Track::is_still) {
            let track = self.leaving.swap_remove(gone);
            self.retire(track);
        }
        self.notifications.mix(out, self.channels, loudest < SPEECH);
        let next = self.volume_now + (self.volume - self.volume_now).clamp(-FASTEST, FASTEST);
        let step = (next - self.volume_now) / FRAME as f32;
        for samples in out.chunks_exact_mut(self.channels) {
            self.volume_now += step;
            for sample in samples {
                *sample = soft_clip(sane(*sample * self.volume_now));
            }
        }
        self.reference.copy_from_slice(out);
        self.volume_now = next;
    }

    /// What the last [`PlayOut::mix`] gave, 480 samples of each channel, interleaved: what the echo canceller must
    /// know ([`crate::CaptureChain::playback`]).
    pub fn reference(&self) -> &[f32] {
        &self.reference
    }

    /// Loudness of each track in its last period, before the volume.
    pub fn levels(&self) -> impl Iterator<Item = (TrackKey, Dbov)> + '_ {
        self.playing.iter().map(|(key, track)| (*key, track.level()))
    }

    /// Packets of `track` wait at least so long, up to 250 ms: its picture is later than its sound. The sound is
    /// stretched until they do. A track that is unknown, or begins anew, waits as its arrivals ask.
    pub fn set_least_wait(&mut self, track: TrackKey, wait: Duration) {
        if let Some((_, track)) = self.playing.iter_mut().find(|(key, _)| *key == track) {
            track.set_least_wait(wait);
        }
    }

    /// How `track` is doing; `None` when it is unknown.
    pub fn statistics(&self, track: TrackKey) -> Option<TrackStatistics> {
        self.playing.iter().find(|(key, _)| *key == track).map(|(_, track)| track.statistics())
    }
}

/// Exact up to the knee, then bending so that full scale is never passed.
fn soft_clip(sample: f32) -> f32 {
    let over = sample.abs() - KNEE;
    if over <= 0.0 {
        return sample;
    }
    let room = 1.0 - KNEE;
    (KNEE + room * (over / room).tanh()).copysign(sample)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn soft_clipping_is_exact_below_the_knee_and_bounded_above() {
        assert_eq!(soft_clip(-0.8), -0.8);
        let mut last = -1.0;
        for i in -2_000..=2_000 {
            let y = soft_clip(i as f32 / 1_000.0);
            assert!(y >= last && y.abs() <= 1.0);
            last = y;
        }
    }
}
