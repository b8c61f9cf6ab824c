//! Whatever comes in, what goes out is sound, and memory is bounded.
#![allow(clippy::unwrap_used)]

mod support;

use proptest::prelude::*;
use rostrum_audio::{CaptureChain, FRAME, MAX_TRACKS, Mode, PlayOut, TrackKey, VoiceOptions};
use support::{Noise, Sender, Speech, array, at, db, plain};

fn any_sample() -> impl Strategy<Value = f32> {
    prop_oneof![
        4 => -1.0_f32..1.0,
        1 => prop::sample::select(vec![f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, 1e30, f32::MIN_POSITIVE]),
    ]
}

#[derive(Clone, Debug)]
enum Act {
    Frame(f32),
    Odd(usize),
    Far(f32),
    FarOdd(usize),
    Mode(bool),
    Mute(bool),
}

fn any_act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => any_sample().prop_map(Act::Frame),
        1 => (0..3_000_usize).prop_map(Act::Odd),
        3 => any_sample().prop_map(Act::Far),
        1 => (0..3_000_usize).prop_map(Act::FarOdd),
        1 => any::<bool>().prop_map(Act::Mode),
        1 => any::<bool>().prop_map(Act::Mute),
    ]
}

#[derive(Clone, Debug)]
enum Arrival {
    Packet { track: u64, sequence: u16, timestamp: u32, opus: Vec<u8>, ms: u32 },
    Speech { track: u64 },
    Remove { track: u64 },
    Volume(u8),
    Mix(usize),
    MixOdd(usize),
}

fn any_arrival() -> impl Strategy<Value = Arrival> {
    let place = |near: u32| prop_oneof![0..near, any::<u32>()];
    prop_oneof![
        6 => (0..3_u64, place(2_000), place(200_000), prop::collection::vec(any::<u8>(), 0..200), 0..100_000_u32)
            .prop_map(|(track, sequence, timestamp, opus, ms)| {
                Arrival::Packet { track, sequence: sequence as u16, timestamp, opus, ms }
            }),
        4 => (0..3_u64).prop_map(|track| Arrival::Speech { track }),
        1 => (0..4_u64).prop_map(|track| Arrival::Remove { track }),
        1 => any::<u8>().prop_map(Arrival::Volume),
        8 => (1..20_usize).prop_map(Arrival::Mix),
        1 => (0..3_000_usize).prop_map(Arrival::MixOdd),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_input_spoils_the_microphones_chain(acts in prop::collection::vec(any_act(), 0..60)) {
        let mut chain = CaptureChain::new(&array(2), VoiceOptions::default()).unwrap();
        for act in acts {
            match act {
                Act::Frame(sample) => {
                    chain.process(&[sample; FRAME * 2]);
                }
                Act::Odd(length) if length != FRAME * 2 => {
                    prop_assert_eq!(chain.process(&vec![0.1; length]), None);
                }
                Act::Odd(_) => {}
                Act::Far(sample) => chain.playback(&[sample; FRAME]),
                Act::FarOdd(length) => chain.playback(&vec![0.1; length]),
                Act::Mode(music) => chain.set_mode(if music { Mode::Music } else { Mode::Voice }),
                Act::Mute(muted) => chain.set_muted(muted),
            }
        }
        // Two seconds later it works as ever.
        chain.set_muted(false);
        chain.set_mode(Mode::Voice);
        let (mut speech, mut play, mut heard) = (Speech::new(1), PlayOut::new(1).unwrap(), Vec::new());
        for i in 0..300_u32 {
            let said = speech.frame();
            let frame: [f32; FRAME * 2] = std::array::from_fn(|i| said[i / 2]);
            if let Some(packet) = chain.process(&frame) {
                let opus = packet.opus.to_vec();
                play.push(TrackKey(0), i as u16 / 2, i / 2 * 960, &opus, at(f64::from(i) * 10.0));
            }
            let mut out = [0.0; FRAME];
            play.mix(&mut out);
            if i >= 200 {
                heard.extend_from_slice(&out);
            }
        }
        let level = db(&heard);
        prop_assert!((-50.0..-5.0).contains(&level), "heard at {} dB", level);
    }

    #[test]
    fn no_packet_spoils_the_speaker(arrivals in prop::collection::vec(any_arrival(), 0..120)) {
        let mut play = PlayOut::new(2).unwrap();
        let mut senders: Vec<Sender> = (0..3).map(|_| Sender::new(plain())).collect();
        let (mut noise, mut ms) = (Noise::new(2), 0.0);
        for arrival in arrivals {
            match arrival {
                Arrival::Packet { track, sequence, timestamp, opus, ms } => {
                    play.push(TrackKey(track), sequence, timestamp, &opus, at(f64::from(ms)));
                }
                Arrival::Speech { track } => {
                    let packet = senders[track as usize].packet(|| noise.next() * 0.3);
                    play.push(TrackKey(track), packet.sequence, packet.timestamp, &packet.opus, at(ms));
                }
                Arrival::Remove { track } => play.remove(TrackKey(track)),
                Arrival::Volume(percent) => play.set_volume(percent),
                Arrival::Mix(periods) => {
                    for _ in 0..periods {
                        let mut out = [7.0; FRAME * 2];
                        play.mix(&mut out);
                        prop_assert!(out.iter().all(|s| s.abs() <= 1.0));
                        ms += 10.0;
                    }
                }
                Arrival::MixOdd(length) if length != FRAME * 2 => {
                    let mut out = vec![7.0; length];
                    play.mix(&mut out);
                    prop_assert!(out.iter().all(|s| *s == 0.0));
                }
                Arrival::MixOdd(_) => {}
            }
        }
        // Each track is heard again within a second of good packets.
        play.set_volume(100);
        for (key, sender) in senders.iter_mut().enumerate() {
            let key = TrackKey(key as u64);
            let mut level = 127;
            for i in 0..50 {
                let packet = sender.packet(|| noise.next() * 0.3);
                play.push(key, packet.sequence, packet.timestamp, &packet.opus, at(ms));
                for _ in 0..2 {
                    play.mix(&mut [0.0; FRAME * 2]);
                    ms += 10.0;
                }
                if i >= 40 {
                    level = play.levels().find(|(k, _)| *k == key).map_or(127, |(_, level)| level);
                }
            }
            prop_assert!(level < 40, "{:?} at -{} dB: {:?}", key, level, play.statistics(key));
            prop_assert!(play.statistics(key).unwrap().delay.as_millis() < 400, "{:?}", play.statistics(key));
        }
    }
}

#[test]
fn a_flood_of_tracks_is_bounded_and_the_first_are_heard() {
    let mut play = PlayOut::new(1).unwrap();
    let mut sender = Sender::new(plain());
    let mut noise = Noise::new(3);
    for key in 0..1_000 {
        let packet = sender.packet(|| noise.next() * 0.1);
        play.push(TrackKey(key), packet.sequence, packet.timestamp, &packet.opus, at(0.0));
    }
    assert_eq!(play.levels().count(), MAX_TRACKS);
    assert!(play.statistics(TrackKey(0)).is_some() && play.statistics(TrackKey(999)).is_none());
}
