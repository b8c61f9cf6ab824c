//! The own speaker is not sent back, and two rooms that face each other do not howl.
#![allow(clippy::unwrap_used)]

mod support;

use rostrum_audio::{CaptureChain, EchoControl, FRAME, NoiseSuppression, PlayOut, TrackKey, VoiceOptions};
use support::{Echo, Noise, Speech, array, at, db};

/// A terminal in its room: what it plays comes back to its microphones.
struct Room {
    chain: CaptureChain,
    play: PlayOut,
    ways: Vec<Echo>,
    hiss: Noise,
    played: [f32; FRAME],
    sequence: u16,
}

impl Room {
    fn new(seed: u64, microphones: usize, coupling: f32, options: VoiceOptions) -> Self {
        Self {
            chain: CaptureChain::new(&array(microphones), options).unwrap(),
            play: PlayOut::new(1).unwrap(),
            ways: (0..microphones as u64).map(|i| Echo::new(seed + i, coupling)).collect(),
            hiss: Noise::new(seed + 77),
            played: [0.0; FRAME],
            sequence: 0,
        }
    }

    /// 10 ms: play, hear (echo, `said`, a little hiss), and give a packet when there is one.
    fn step(&mut self, said: &[f32; FRAME]) -> Option<(u16, Vec<u8>)> {
        self.play.mix(&mut self.played);
        self.chain.playback(self.play.reference());
        let heard: Vec<[f32; FRAME]> = self.ways.iter_mut().map(|way| way.frame(&self.played)).collect();
        let mut microphones = Vec::with_capacity(FRAME * heard.len());
        for i in 0..FRAME {
            for echo in &heard {
                microphones.push((echo[i] + said[i] + self.hiss.next() * 1e-4).clamp(-1.0, 1.0));
            }
        }
        let packet = self.chain.process(&microphones)?;
        self.sequence += 1;
        Some((self.sequence, packet.opus.to_vec()))
    }

    fn hear(&mut self, ms: f64, packet: Option<(u16, Vec<u8>)>) {
        if let Some((sequence, opus)) = packet {
            self.play.push(TrackKey(1), sequence, u32::from(sequence) * 960, &opus, at(ms));
        }
    }
}

/// Level of what both rooms play, dB, in the last two of twelve seconds, after three seconds of talking in one.
fn loop_level(echo: EchoControl, noise: NoiseSuppression, coupling: f32, talker: u64) -> f32 {
    // Gain control takes a howling loop down as well, and so does levelling between talkers: those that shall howl go
    // without.
    let gain = echo != EchoControl::Off;
    let options = VoiceOptions { echo, noise, gain, ..VoiceOptions::default() };
    let mut a = Room::new(1, 2, coupling, options);
    let mut b = Room::new(100, 2, coupling, options);
    a.play.set_levelling(echo != EchoControl::Off);
    b.play.set_levelling(echo != EchoControl::Off);
    let mut speech = Speech::new(talker);
    let mut last = Vec::new();
    for i in 0..1_200 {
        let said = if i < 300 { speech.frame() } else { [0.0; FRAME] };
        let from_a = a.step(&said);
        let from_b = b.step(&[0.0; FRAME]);
        let ms = f64::from(i) * 10.0;
        a.hear(ms, from_b);
        b.hear(ms, from_a);
        if i >= 1_000 {
            last.extend_from_slice(&a.played);
            last.extend_from_slice(&b.played);
        }
    }
    db(&last)
}

#[test]
fn two_rooms_at_full_volume_fall_silent_when_nobody_talks() {
    // The microphones hear the speaker three times louder than it was told to play.
    let level = loop_level(EchoControl::Long, NoiseSuppression::Moderate, 3.0, 5);
    assert!(level < -55.0, "the loop stays at {level} dB");
}

#[test]
fn it_is_not_the_noise_suppressor_that_keeps_them_from_howling() {
    for (echo, talkers) in [(EchoControl::Long, 5..6), (EchoControl::Aec3, 5..8)] {
        for talker in talkers {
            let level = loop_level(echo, NoiseSuppression::Off, 1.5, talker);
            assert!(level < -45.0, "{echo:?}, talker {talker}: the loop stays at {level} dB");
        }
    }
}

#[test]
fn the_same_rooms_howl_without_echo_control() {
    for (noise, coupling) in [(NoiseSuppression::Moderate, 3.0), (NoiseSuppression::Off, 1.5)] {
        let level = loop_level(EchoControl::Off, noise, coupling, 5);
        assert!(level > -25.0, "this loop was meant to howl and is at {level} dB");
    }
}

/// What is heard of the far end's speech and what of it is sent back, dB, in the fourth to eighth second.
fn echo_return(echo: EchoControl) -> (f32, f32) {
    let options = VoiceOptions { echo, gain: false, ..VoiceOptions::default() };
    let mut chain = CaptureChain::new(&array(4), options).unwrap();
    let mut ways: Vec<Echo> = (0..4).map(|i| Echo::new(40 + i, 0.5)).collect();
    let (mut far, mut hiss, mut decoder) = (Speech::new(9), Noise::new(3), PlayOut::new(1).unwrap());
    let (mut heard, mut sent) = (Vec::new(), Vec::new());
    for i in 0..800_u16 {
        let played = far.frame();
        chain.playback(&played);
        let echoes: Vec<[f32; FRAME]> = ways.iter_mut().map(|way| way.frame(&played)).collect();
        let microphones: Vec<f32> =
            (0..FRAME * 4).map(|n| echoes[n % 4][n / 4] + hiss.next() * 1e-4).collect();
        if let Some(packet) = chain.process(&microphones) {
            let opus = packet.opus.to_vec();
            decoder.push(TrackKey(1), i / 2, u32::from(i / 2) * 960, &opus, at(f64::from(i) * 10.0));
        }
        let mut out = [0.0; FRAME];
        decoder.mix(&mut out);
        if i >= 400 {
            heard.extend_from_slice(&echoes[0]);
            sent.extend_from_slice(&out);
        }
    }
    (db(&heard), db(&sent))
}

#[test]
fn the_far_end_does_not_hear_itself() {
    for echo in [EchoControl::Long, EchoControl::Aec3] {
        let (heard, sent) = echo_return(echo);
        assert!(heard - sent > 30.0, "{echo:?}: heard at {heard} dB, sent back at {sent} dB");
    }
    let (heard, sent) = echo_return(EchoControl::Off);
    assert!(heard - sent < 20.0, "without echo control it must: heard at {heard} dB, sent at {sent} dB");
}

#[test]
fn a_talker_is_sent_while_the_far_end_is_quiet() {
    let options = VoiceOptions { gain: false, ..VoiceOptions::default() };
    let mut room = Room::new(1, 1, 0.5, options);
    let (mut speech, mut said, mut decoder) = (Speech::new(2), Vec::new(), PlayOut::new(1).unwrap());
    let mut sent = Vec::new();
    for i in 0..600 {
        let frame = speech.frame();
        if let Some((sequence, opus)) = room.step(&frame) {
            let ms = f64::from(i) * 10.0;
            decoder.push(TrackKey(1), sequence, u32::from(sequence) * 960, &opus, at(ms));
        }
        let mut out = [0.0; FRAME];
        decoder.mix(&mut out);
        if i >= 200 {
            said.extend_from_slice(&frame);
            sent.extend_from_slice(&out);
        }
    }
    let lost = db(&said) - db(&sent);
    assert!(lost.abs() < 6.0, "the talker lost {lost} dB on the way");
}
