//! The speaker of the virtual board.

use super::{Fault, PERIOD_FRAMES, RATE_HZ, VirtualBoard, sleep_until};
use crate::{
    Timestamp,
    speaker::{Speaker, SpeakerError, SpeakerFormat},
};

const PERIOD: u64 = PERIOD_FRAMES as u64;
/// Samples that the speaker holds.
const BUFFER: u64 = 3 * PERIOD;
/// Samples of silence before the first, so that a writer at the pace of the clock does not run out.
const HEAD_START: u64 = PERIOD;

/// The speaker of a virtual board; its microphones hear it, and [`super::VirtualBoard::sound`] keeps what it
/// played. It holds three periods.
pub struct SimSpeaker {
    board: VirtualBoard,
    /// Where the next sample will be heard on the board's clock; `None` before the first and after a gap.
    next: Option<u64>,
}

impl SimSpeaker {
    pub(super) fn new(board: VirtualBoard) -> Self {
        Self { board, next: None }
    }
}

impl Speaker for SimSpeaker {
    fn name(&self) -> String {
        "virtual speaker".into()
    }

    fn format(&self) -> SpeakerFormat {
        let channels = self.board.options().speaker_channels.clamp(1, 2);
        SpeakerFormat { rate_hz: RATE_HZ, period_frames: PERIOD_FRAMES, channels }
    }

    fn write(&mut self, samples: &[f32]) -> Result<Timestamp, SpeakerError> {
        let shared = self.board.shared.clone();
        let channels = self.format().channels;
        if samples.len() != PERIOD_FRAMES * channels {
            let message =
                format!("{} samples came; a period has {PERIOD_FRAMES} of {channels}", samples.len());
            return Err(SpeakerError::Failed { name: self.name(), message });
        }
        if self.board.has_fault(Fault::SpeakerGone) {
            self.next = None;
            return Err(SpeakerError::Gone { name: self.name() });
        }
        let now = shared.sample_at(Timestamp::now());
        let underrun = self.next.is_some_and(|next| next < now);
        let start = match self.next {
            Some(next) if !underrun => next,
            _ => now + HEAD_START,
        };
        self.next = Some(start + PERIOD);
        let scale = 1.0 / channels as f32;
        let mono = samples.chunks_exact(channels).map(|frame| frame.iter().sum::<f32>() * scale);
        shared.speaker.lock().write(start, mono);
        // Room for this period is there when the buffer's other periods are all that is still to be heard.
        sleep_until(shared.time_of((start + PERIOD).saturating_sub(BUFFER)));
        if underrun { Err(SpeakerError::Underrun) } else { Ok(shared.time_of(start)) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use super::*;
    use crate::sim::{SoundTap, VirtualBoardOptions};

    fn board() -> VirtualBoard {
        VirtualBoard::new(VirtualBoardOptions::default())
    }

    #[test]
    fn writing_is_paced_by_the_clock_with_at_most_three_periods_ahead() {
        let mut speaker = board().speaker();
        let mut ends = Vec::new();
        for _ in 0..30 {
            if let Ok(heard) = speaker.write(&[0.1; PERIOD_FRAMES]) {
                let ahead = (heard + Duration::from_millis(10)).saturating_since(Timestamp::now());
                assert!(ahead <= Duration::from_millis(30), "{ahead:?} ahead");
                ends.push(heard);
            }
        }
        assert!(ends.len() >= 2, "underrun at each write");
    }

    #[test]
    fn the_handle_hears_what_was_played_when_it_was_played() {
        let board = board();
        let mut speaker = board.speaker();
        let heard = speaker.write(&[0.5; PERIOD_FRAMES]).unwrap();
        while Timestamp::now() < heard + Duration::from_millis(11) {
            std::thread::sleep(Duration::from_millis(1));
        }
        let sound = board.sound(SoundTap::Speaker, Duration::from_secs(1));
        assert_eq!(sound.start, heard);
        assert_eq!(sound.samples.len(), PERIOD_FRAMES);
        assert!(sound.samples.iter().all(|s| (s - 0.5).abs() < 0.001));
    }

    #[test]
    fn a_late_writer_is_told_and_its_samples_are_played() {
        let board = board();
        let mut speaker = board.speaker();
        let first = speaker.write(&[0.5; PERIOD_FRAMES]).unwrap();
        while Timestamp::now() < first + Duration::from_millis(15) {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(matches!(speaker.write(&[0.25; PERIOD_FRAMES]), Err(SpeakerError::Underrun)));
        let deadline = Timestamp::now() + Duration::from_secs(5);
        let last = || board.sound(SoundTap::Speaker, Duration::from_secs(1)).samples.last().copied();
        while last().is_none_or(|sample| (sample - 0.25).abs() > 0.001) {
            assert!(Timestamp::now() < deadline, "the samples after the gap were not played");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn a_speaker_that_went_says_so_and_works_again_when_it_is_back() {
        let board = board();
        let mut speaker = board.speaker();
        board.set_fault(Fault::SpeakerGone, true);
        assert!(matches!(speaker.write(&[0.0; PERIOD_FRAMES]), Err(SpeakerError::Gone { .. })));
        board.set_fault(Fault::SpeakerGone, false);
        assert!(speaker.write(&[0.0; PERIOD_FRAMES]).is_ok());
    }
}
