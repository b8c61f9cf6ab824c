//! What the microphones are for, and how one use becomes another without a click.

/// What the microphones are for. By name: `voice`, `voice_wide`, `music`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Speech: echo, noise and gain are taken care of; mono.
    #[default]
    Voice,
    /// Speech with the room around it: as a voice, but little noise is taken away and the whole band is sent.
    #[serde(alias = "voice-wide")]
    VoiceWide,
    /// Music: stereo, and not a sample is touched before the encoder.
    Music,
}

impl Mode {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Voice, Self::VoiceWide, Self::Music];

    /// Whether the voice chain is at work.
    pub fn is_voice(self) -> bool {
        self != Self::Music
    }
}

/// Frames from an unmute or from music on in which the voice chain's delay lines still hold what was heard before.
const STALE_FRAMES: u8 = 2;
/// Frames over which a voice then fades in: the canceller's comfort noise still has the other room's colour.
const SLOW_FADE: u8 = 8;
/// Frames over which other sound fades in.
const QUICK_FADE: u8 = 1;

/// What becomes of a frame on its way to the encoder.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Gate {
    /// It goes nowhere.
    Dropped,
    /// It is multiplied by a factor that glides from the first to the second; 1 and 1 leave it as it is.
    Sent(f32, f32),
}

/// The mode, the mode that is wanted, and the fades between.
pub(crate) struct Modes {
    now: Mode,
    wanted: Mode,
    /// Faded out: the wanted mode begins with the next packet.
    ready: bool,
    /// Nothing was sent yet: there is nothing to fade.
    fresh: bool,
    /// Frames that are still dropped.
    dropped: u8,
    /// Frames that are still silent.
    silent: u8,
    gain: f32,
    step: f32,
}

impl Modes {
    pub(crate) fn new() -> Self {
        Self {
            now: Mode::default(),
            wanted: Mode::default(),
            ready: false,
            fresh: true,
            dropped: 0,
            silent: 0,
            gain: 1.0,
            step: 0.0,
        }
    }

    /// The mode that the next frame is in.
    pub(crate) fn now(&self) -> Mode {
        self.now
    }

    /// The mode that was asked for last.
    pub(crate) fn wanted(&self) -> Mode {
        self.wanted
    }

    /// Whether what the voice chain gives was heard in this mode, unmuted.
    pub(crate) fn settled(&self) -> bool {
        self.dropped == 0 && self.silent == 0
    }

    /// Asks for a mode: it begins at the end of a packet. `true` when it has begun at once.
    pub(crate) fn want(&mut self, mode: Mode, muted: bool) -> bool {
        self.wanted = mode;
        let at_once = mode != self.now && (self.fresh || muted);
        if at_once {
            self.now = mode;
            self.ready = false;
        }
        at_once
    }

    /// Before a packet's first frame: `true` when another mode begins with it.
    pub(crate) fn begin(&mut self) -> bool {
        if !self.ready {
            return false;
        }
        self.ready = false;
        let before = std::mem::replace(&mut self.now, self.wanted);
        let slow = self.now.is_voice() && !before.is_voice();
        self.silent = if self.now.is_voice() { STALE_FRAMES } else { 0 };
        self.fade_in(slow);
        true
    }

    /// The room was muted or unmuted.
    pub(crate) fn forget(&mut self) {
        self.now = self.wanted;
        self.ready = false;
        self.silent = 0;
        self.dropped = STALE_FRAMES;
        self.fade_in(self.now.is_voice());
    }

    fn fade_in(&mut self, slow: bool) {
        let frames = if slow { SLOW_FADE } else { QUICK_FADE };
        self.gain = 0.0;
        self.step = 1.0 / f32::from(frames);
    }

    /// What becomes of the next frame, which is the last of its packet or is not.
    pub(crate) fn next(&mut self, last_of_packet: bool) -> Gate {
        if self.dropped > 0 {
            self.dropped -= 1;
            return Gate::Dropped;
        }
        self.fresh = false;
        let from = self.gain;
        if self.wanted != self.now && last_of_packet {
            self.ready = true;
            self.gain = 0.0;
        } else if self.silent > 0 {
            self.silent -= 1;
        } else {
            self.gain = (from + self.step).min(1.0);
        }
        Gate::Sent(from, self.gain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_fades_out_at_the_end_of_a_packet_and_the_next_fades_in() {
        let mut modes = Modes::new();
        assert_eq!(modes.next(false), Gate::Sent(1.0, 1.0));
        assert!(!modes.want(Mode::Music, false));
        assert_eq!(modes.next(true), Gate::Sent(1.0, 0.0));
        assert_eq!(modes.now(), Mode::Voice);
        assert!(modes.begin());
        assert_eq!(modes.now(), Mode::Music);
        assert_eq!([modes.next(false), modes.next(true)], [Gate::Sent(0.0, 1.0), Gate::Sent(1.0, 1.0)]);
    }

    #[test]
    fn who_changes_his_mind_in_time_hears_nothing_of_it() {
        let mut modes = Modes::new();
        modes.next(false);
        modes.want(Mode::Music, false);
        modes.want(Mode::Voice, false);
        assert_eq!(modes.next(true), Gate::Sent(1.0, 1.0));
        assert!(!modes.begin());
    }

    #[test]
    fn who_changes_his_mind_too_late_stays_and_fades_back_in() {
        let mut modes = Modes::new();
        modes.next(false);
        modes.want(Mode::VoiceWide, false);
        modes.next(true);
        modes.want(Mode::Voice, false);
        modes.begin();
        assert_eq!(modes.now(), Mode::Voice);
        let mut gain = 0.0;
        for i in 0..20 {
            let Gate::Sent(from, to) = modes.next(i % 2 == 1) else { unreachable!() };
            assert_eq!(from, gain);
            gain = to;
        }
        assert_eq!(gain, 1.0);
    }
}
