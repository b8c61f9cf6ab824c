//! From packets to the speaker over networks good and bad.
#![allow(clippy::unwrap_used)]

mod support;

use rostrum_audio::{FRAME, LinkState, PlayOut, SILENCE, TrackKey, TrackStatistics, VoiceOptions};
use support::{Packet, Sender, Speech, at, db, plain};

const TRACK: TrackKey = TrackKey(7);

/// A network and a listener: packets arrive when they are due, the speaker takes a period every 10 ms.
struct Listener {
    play: PlayOut,
    due: Vec<(f64, Packet)>,
    ms: f64,
    heard: Vec<f32>,
}

impl Listener {
    fn new() -> Self {
        Self { play: PlayOut::new(1).unwrap(), due: Vec::new(), ms: 0.0, heard: Vec::new() }
    }

    fn send(&mut self, arrives_ms: f64, packet: Packet) {
        self.due.push((arrives_ms, packet));
    }

    /// Listens until `ms`; the first sample heard is that of time 0.
    fn until(&mut self, ms: f64) {
        while self.ms < ms {
            self.due.sort_by(|a, b| a.0.total_cmp(&b.0));
            while self.due.first().is_some_and(|(due, _)| *due <= self.ms) {
                let (due, packet) = self.due.remove(0);
                self.play.push(TRACK, packet.sequence, packet.timestamp, &packet.opus, at(due));
            }
            let mut out = [0.0; FRAME];
            self.play.mix(&mut out);
            self.heard.extend_from_slice(&out);
            self.ms += 10.0;
        }
    }

    fn statistics(&self) -> TrackStatistics {
        self.play.statistics(TRACK).unwrap()
    }

    fn delay_ms(&self) -> f64 {
        self.statistics().delay.as_secs_f64() * 1_000.0
    }
}

/// Speech in packets, each leaving at the end of its 20 ms and arriving `late` ms later (`None`: lost).
fn listen(packets: u32, late: impl Fn(u32) -> Option<f64>) -> (Listener, Vec<f32>) {
    listen_to(Sender::new(plain()), packets, late)
}

fn listen_to(mut sender: Sender, packets: u32, late: impl Fn(u32) -> Option<f64>) -> (Listener, Vec<f32>) {
    let (mut speech, mut listener) = (Speech::new(11), Listener::new());
    let mut said = Vec::new();
    let mut rest: Vec<f32> = Vec::new();
    for i in 0..packets {
        let packet = sender.packet(|| {
            if rest.is_empty() {
                rest = speech.frame().to_vec();
                rest.reverse();
            }
            let sample = rest.pop().unwrap();
            said.push(sample);
            sample
        });
        if let Some(late) = late(i) {
            listener.send(f64::from(i + 1) * 20.0 + late, packet);
        }
    }
    listener.until(f64::from(packets) * 20.0);
    (listener, said)
}

/// How long after it was said something is heard, ms, found by correlation over the last seconds, and how alike it is.
fn mouth_to_ear(said: &[f32], heard: &[f32]) -> (f64, f32) {
    let end = said.len().min(heard.len());
    let piece = &heard[end - 96_000..end];
    let likeness = |lag: usize| {
        let source = &said[end - 96_000 - lag..end - lag];
        let (mut product, mut a, mut b) = (0.0, 1e-9, 1e-9);
        for (x, y) in source.iter().zip(piece).step_by(4) {
            product += x * y;
            a += x * x;
            b += y * y;
        }
        product / (a * b).sqrt()
    };
    let best = |lags: &mut dyn Iterator<Item = usize>| {
        lags.max_by(|a, b| likeness(*a).total_cmp(&likeness(*b))).unwrap()
    };
    let coarse = best(&mut (0..24_000).step_by(6));
    let lag = best(&mut (coarse.saturating_sub(6)..coarse + 7));
    (lag as f64 / 48.0, likeness(lag))
}

#[test]
fn a_good_network_costs_less_than_50_ms_from_microphone_to_speaker() {
    let (listener, said) = listen(400, |_| Some(0.0));
    let (ms, likeness) = mouth_to_ear(&said, &listener.heard);
    let statistics = listener.statistics();
    assert!(likeness > 0.8, "{likeness}");
    // 20 ms of packet, 6.5 ms of Opus, and the wait.
    assert!((26.0..50.0).contains(&ms), "{ms} ms, {statistics:?}");
    assert_eq!((statistics.concealed, statistics.late, statistics.bad), (0, 0, 0));
}

#[test]
fn echo_noise_and_gain_cost_no_more_than_they_say() {
    let sender = Sender::new(VoiceOptions::default());
    let says = sender.delay().as_secs_f64() * 1_000.0;
    let (plain, said) = listen(400, |_| Some(0.0));
    let (without, _) = mouth_to_ear(&said, &plain.heard);
    let (listener, said) = listen_to(sender, 400, |_| Some(0.0));
    let (with, likeness) = mouth_to_ear(&said, &listener.heard);
    assert!(likeness > 0.8, "{likeness}");
    assert!((with - without - says).abs() < 3.0, "{with} ms with, {without} ms without, {says} ms said");
}

#[test]
fn an_uneven_network_is_waited_for_and_no_longer_than_needed() {
    let uneven = |i: u32| Some(f64::from(i * 37 % 41));
    let (listener, said) = listen(800, uneven);
    let (ms, likeness) = mouth_to_ear(&said, &listener.heard);
    let statistics = listener.statistics();
    assert!(likeness > 0.7, "{likeness} {statistics:?}");
    assert!(ms < 110.0, "{ms} ms, {statistics:?}");
    assert!(statistics.concealed < 800 * 960 / 50, "{statistics:?}");
}

#[test]
fn a_hiccup_does_not_stay_as_delay() {
    // 300 ms of nothing, then all at once.
    let hiccup = |i: u32| if (100..115).contains(&i) { Some(f64::from(115 - i) * 20.0) } else { Some(0.0) };
    let (listener, said) = listen(400, hiccup);
    let (ms, likeness) = mouth_to_ear(&said, &listener.heard);
    assert!(ms < 60.0 && likeness > 0.7, "{ms} ms after a hiccup, {likeness}, {:?}", listener.statistics());
}

#[test]
fn a_delay_left_behind_is_caught_up_within_three_seconds() {
    let stalled = |i: u32| if (100..106).contains(&i) { Some(f64::from(106 - i) * 20.0) } else { Some(0.0) };
    let (mut listener, _) = listen(106, stalled);
    listener.until(2_140.0);
    let (listener_late, _) = listen(112, stalled);
    assert!(listener_late.delay_ms() > 60.0, "the stall must be seen: {:?}", listener_late.statistics());
    let (listener, _) = listen(256, stalled);
    assert!(listener.delay_ms() < 40.0, "{:?}", listener.statistics());
    assert!(listener.statistics().left_out > 0);
}

#[test]
fn lost_packets_are_made_up_and_the_rest_stays_in_step() {
    let (listener, said) = listen(600, |i| (i % 10 != 3).then_some(0.0));
    let (ms, likeness) = mouth_to_ear(&said, &listener.heard);
    let statistics = listener.statistics();
    assert!(ms < 60.0 && likeness > 0.7, "{ms} ms, {likeness}, {statistics:?}");
    assert!(statistics.concealed + statistics.recovered >= 58 * 960, "{statistics:?}");
    // The packet after it has a copy of each.
    assert!(statistics.recovered >= 40 * 960, "{statistics:?}");
}

#[test]
fn packets_out_of_order_and_twice_sound_the_same() {
    let swapped = |i: u32| Some(if i % 5 == 2 { 21.0 } else { 0.0 });
    let (listener, said) = listen(600, swapped);
    let (ms, likeness) = mouth_to_ear(&said, &listener.heard);
    assert!(likeness > 0.7 && ms < 80.0, "{likeness} at {ms} ms, {:?}", listener.statistics());
    assert!(listener.statistics().concealed < 600 * 960 / 20, "{:?}", listener.statistics());

    let (mut twice, _) = listen(50, |_| Some(0.0));
    let before = twice.statistics().packets;
    let packet = Sender::new(plain()).packet(|| 0.1);
    twice.play.push(TRACK, packet.sequence, packet.timestamp, &packet.opus, at(1_000.0));
    assert_eq!((twice.statistics().packets, twice.statistics().late), (before, 1));
}

#[test]
fn a_mute_is_silence_and_what_follows_is_heard_at_once() {
    let (mut sender, mut listener) = (Sender::new(plain()), Listener::new());
    let mut phase = 0.0_f32;
    let mut tone = || {
        phase += 440.0 / 48_000.0;
        (phase * std::f32::consts::TAU).sin() * 0.3
    };
    for i in 0..50 {
        listener.send(f64::from(i + 1) * 20.0, sender.packet(&mut tone));
    }
    sender.pause(500);
    for i in 550..600 {
        listener.send(f64::from(i + 1) * 20.0, sender.packet(&mut tone));
    }
    listener.until(11_000.0);
    assert_eq!(listener.play.levels().collect::<Vec<_>>(), [(TRACK, SILENCE)]);
    assert!(listener.heard[100_000..].iter().rev().take(48_000).all(|s| *s == 0.0));
    listener.until(11_100.0);
    assert!(
        db(&listener.heard[listener.heard.len() - FRAME..]) > -20.0,
        "not heard 80 ms after the first packet"
    );
    listener.until(12_000.0);
    assert!(listener.delay_ms() < 40.0, "{:?}", listener.statistics());
}

#[test]
fn a_sender_that_starts_anew_is_heard() {
    let mut listener = Listener::new();
    let mut first = Sender::new(plain());
    for i in 0..50 {
        listener.send(f64::from(i) * 20.0, first.packet(|| 0.1));
    }
    let mut second = Sender::new(plain());
    (second.sequence, second.timestamp) = (20_000, 3_000_000_000);
    let mut noise = support::Noise::new(1);
    for i in 50..100 {
        listener.send(f64::from(i) * 20.0, second.packet(|| noise.next() * 0.3));
    }
    listener.until(2_000.0);
    assert!(db(&listener.heard[listener.heard.len() - 9_600..]) > -25.0, "{:?}", listener.statistics());
}

#[test]
fn a_single_liar_among_the_packets_changes_nothing() {
    let (clean, _) = listen(100, |_| Some(0.0));
    let mut listener = Listener::new();
    let (mut sender, mut speech) = (Sender::new(plain()), Speech::new(11));
    for i in 0..100_u32 {
        let mut sound: Vec<f32> = speech.frame().into_iter().chain(speech.frame()).collect();
        sound.reverse();
        let packet = sender.packet(|| sound.pop().unwrap());
        let ms = f64::from(i + 1) * 20.0;
        if i % 10 == 5 {
            let liar = Packet { sequence: packet.sequence.wrapping_add(9_000), ..packet.clone() };
            listener.send(ms, Packet { timestamp: i * 77_777, ..liar });
        }
        listener.send(ms, packet);
    }
    listener.until(2_000.0);
    assert_eq!(listener.heard, clean.heard);
}

#[test]
fn clocks_that_differ_do_not_pile_up() {
    // The sender is 300 ppm fast, then 300 ppm slow.
    for drift in [-0.0003, 0.0003] {
        let (listener, _) = listen(3_000, |i| Some(10.0 + f64::from(i) * 20.0 * drift));
        assert!(listener.delay_ms() < 45.0, "{drift}: {:?}", listener.statistics());
        assert!(listener.statistics().concealed < 3_000 * 960 / 100, "{:?}", listener.statistics());
    }
}

#[test]
fn all_tracks_are_heard_together_and_never_beyond_full_scale() {
    let mut play = PlayOut::new(2).unwrap();
    let mut senders: Vec<Sender> = (0..16).map(|_| Sender::new(plain())).collect();
    let mut loudest = 0.0_f32;
    let mut phases = [0.0_f32; 16];
    for i in 0..50 {
        for (key, (sender, phase)) in senders.iter_mut().zip(&mut phases).enumerate() {
            let hz = 200.0 + 100.0 * key as f32;
            let packet = sender.packet(|| {
                *phase += hz / 48_000.0;
                (*phase * std::f32::consts::TAU).sin() * 0.5
            });
            let ms = f64::from(i) * 20.0;
            play.push(TrackKey(key as u64), packet.sequence, packet.timestamp, &packet.opus, at(ms));
        }
        for _ in 0..2 {
            let mut out = [0.0; FRAME * 2];
            play.mix(&mut out);
            loudest = out.iter().fold(loudest, |peak, s| peak.max(s.abs()));
        }
    }
    assert!(loudest > 0.9 && loudest <= 1.0, "{loudest}");
    assert!(play.levels().all(|(_, level)| level < 15));
    for key in 0..16 {
        play.remove(TrackKey(key));
    }
    // They die away within a period.
    let mut out = [1.0; FRAME * 2];
    play.mix(&mut out);
    assert!(out[FRAME * 2 - 40..].iter().all(|s| s.abs() < 0.2));
    play.mix(&mut out);
    assert!(out.iter().all(|s| *s == 0.0));
}

#[test]
fn the_volume_is_silent_at_zero_and_the_reference_is_what_is_played() {
    let (mut listener, _) = listen(100, |_| Some(0.0));
    let mut out = [0.0; FRAME];
    listener.play.set_volume(50);
    listener.until(2_000.0);
    listener.play.mix(&mut out);
    assert_eq!(listener.play.reference(), &out);
    listener.play.set_volume(0);
    for _ in 0..5 {
        listener.play.mix(&mut out);
    }
    assert!(out.iter().all(|s| *s == 0.0));
    assert!(listener.play.reference().iter().all(|s| *s == 0.0));
}

/// The largest step between two samples.
fn steepest(heard: &[f32]) -> f32 {
    heard.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f32::max)
}

#[test]
fn silence_that_is_not_sent_is_no_loss_and_what_follows_is_heard_in_time() {
    let (mut sender, mut listener) = (Sender::new(plain()), Listener::new());
    sender.set_link(LinkState { available_bps: 40_000, ..LinkState::default() });
    let (mut noise, mut said, mut sent) = (support::Noise::new(4), Vec::new(), 0);
    let mut speech = Speech::new(11);
    for i in 0..600_u32 {
        // Two seconds of speech, two of the room's own noise, and so on.
        let quiet = i / 100 % 2 == 1;
        let mut sound: Vec<f32> = speech.frame().into_iter().chain(speech.frame()).rev().collect();
        let packet = sender.packet_if_any(|| {
            let voice = sound.pop().unwrap();
            said.push(if quiet { noise.next() * 0.0003 } else { voice });
            said[said.len() - 1]
        });
        match packet {
            Some(packet) => {
                sent += 1;
                listener.send(f64::from(i + 1) * 20.0, packet);
            }
            None => sender.pause(1),
        }
    }
    listener.until(12_000.0);
    assert!(sent < 450, "{sent} packets of 600");
    let statistics = listener.statistics();
    assert!(statistics.concealed < 12_000, "{statistics:?}");
    assert!(listener.delay_ms() < 60.0, "{statistics:?}");
    let (ms, likeness) = mouth_to_ear(&said[..480_000], &listener.heard[..480_000]);
    assert!(ms < 80.0 && likeness > 0.6, "{likeness} at {ms} ms");
}

#[test]
fn arrivals_that_get_more_uneven_are_held_back_by_stretching() {
    // From 4 s on packets come up to 40 ms late, a little later with each second.
    let worse = |i: u32| {
        let most = f64::from(i.saturating_sub(200).min(400)) / 10.0;
        Some(f64::from(i * 37 % 41) / 41.0 * most)
    };
    let (listener, said) = listen(1_000, worse);
    let (ms, likeness) = mouth_to_ear(&said, &listener.heard);
    let statistics = listener.statistics();
    assert!(statistics.added > 960, "{statistics:?}");
    assert!(statistics.concealed < 1_000 * 960 / 100, "{statistics:?}");
    assert!(likeness > 0.7 && ms < 120.0, "{likeness} at {ms} ms, {statistics:?}");
}

#[test]
fn a_picture_that_is_late_holds_the_sound_back_and_lets_it_go() {
    let (mut sender, mut speech, mut listener) = (Sender::new(plain()), Speech::new(11), Listener::new());
    for i in 0..900_u32 {
        let mut sound: Vec<f32> = speech.frame().into_iter().chain(speech.frame()).rev().collect();
        listener.send(f64::from(i + 1) * 20.0, sender.packet(|| sound.pop().unwrap()));
    }
    listener.until(4_000.0);
    listener.play.set_least_wait(TRACK, std::time::Duration::from_millis(120));
    listener.until(10_000.0);
    assert!((110.0..135.0).contains(&listener.delay_ms()), "{:?}", listener.statistics());
    listener.play.set_least_wait(TRACK, std::time::Duration::ZERO);
    listener.until(18_000.0);
    assert!(listener.delay_ms() < 40.0, "{:?}", listener.statistics());
    let statistics = listener.statistics();
    assert!(statistics.concealed == 0 && statistics.late == 0, "nothing was made up: {statistics:?}");
    assert!(steepest(&listener.heard) < 0.3);
}

#[test]
fn nobody_comes_goes_or_turns_the_volume_with_a_pop() {
    let mut play = PlayOut::new(1).unwrap();
    play.set_levelling(false);
    let mut senders: Vec<Sender> = (0..3).map(|_| Sender::new(plain())).collect();
    let mut heard = Vec::new();
    for i in 0..600_u32 {
        for (key, sender) in senders.iter_mut().enumerate() {
            let hz = 150.0 + 70.0 * key as f32;
            let mut at_sample = i * 960;
            let packet = sender.packet(|| {
                at_sample += 1;
                (at_sample as f32 / 48_000.0 * hz * std::f32::consts::TAU).sin() * 0.25
            });
            // They come and go at odd times; one is lost for a while, one only stops.
            let period = 40 + 17 * key as u32;
            let there = (i / period).is_multiple_of(2);
            if there && !(key == 1 && i % period > period - 8) {
                let (sequence, timestamp) = (packet.sequence, packet.timestamp);
                play.push(TrackKey(key as u64), sequence, timestamp, &packet.opus, at(f64::from(i) * 20.0));
            } else if !there && key != 2 {
                play.remove(TrackKey(key as u64));
            }
        }
        play.set_volume([100, 30, 70, 0, 100][i as usize / 11 % 5]);
        for _ in 0..2 {
            let mut out = [0.0; FRAME];
            play.mix(&mut out);
            heard.extend_from_slice(&out);
        }
    }
    assert!(db(&heard) > -25.0);
    // Three tones of 0.25 step by 0.023 together.
    assert!(steepest(&heard) < 0.06, "{}", steepest(&heard));
}

#[test]
fn talkers_20_db_apart_are_heard_within_3_db() {
    let alone = |gain: f32| {
        let (mut sender, mut speech, mut listener) = (Sender::new(plain()), Speech::new(11), Listener::new());
        for i in 0..800_u32 {
            let mut sound: Vec<f32> = speech.frame().into_iter().chain(speech.frame()).rev().collect();
            listener.send(f64::from(i + 1) * 20.0, sender.packet(|| sound.pop().unwrap() * gain));
        }
        listener.until(16_000.0);
        db(&listener.heard[480_000..])
    };
    let (loud, quiet) = (alone(1.4), alone(0.14));
    assert!((loud - quiet).abs() < 3.0, "{loud} and {quiet} dB");
}

#[test]
fn each_channel_of_the_speaker_is_known_to_the_canceller() {
    let mut play = PlayOut::new(2).unwrap();
    let mut sender = Sender::new(plain());
    let mut noise = support::Noise::new(9);
    let mut out = [0.0; FRAME * 2];
    for i in 0..20_u32 {
        let packet = sender.packet(|| noise.next() * 0.3);
        play.push(TRACK, packet.sequence, packet.timestamp, &packet.opus, at(f64::from(i) * 20.0));
        play.mix(&mut out);
        play.mix(&mut out);
    }
    assert!(db(&out) > -30.0);
    assert_eq!(play.reference(), &out);
    // What the volume makes of it is what is heard.
    play.set_volume(50);
    for _ in 0..5 {
        play.mix(&mut out);
    }
    assert_eq!(play.reference(), &out);
}
