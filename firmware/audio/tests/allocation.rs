//! The audio thread can be handed its chains, and takes no memory once it runs.
#![allow(clippy::unwrap_used)]

mod support;

use rostrum_audio::{
    CaptureChain, Ducking, EchoControl, FRAME, Mode, NoiseSuppression, PlayOut, Recorder, TrackKey,
    VoiceOptions,
};
use support::{Packet, Sender, Speech, array, at, plain};

fn allocations(work: impl FnOnce()) -> u64 {
    allocation_counter::measure(work).count_total
}

#[test]
fn chains_can_be_built_in_one_thread_and_run_in_another() {
    fn can_move<T: Send>(_: &T) {}
    can_move(&CaptureChain::new(&array(1), plain()).unwrap());
    can_move(&PlayOut::new(2).unwrap());
}

#[test]
fn a_chain_of_sixteen_microphones_runs_on_half_of_a_threads_usual_stack() {
    let work = || {
        let mut chain = CaptureChain::new(&array(16), VoiceOptions::default()).unwrap();
        chain.playback(&[0.1; FRAME]);
        chain.process(&[0.1; FRAME * 16]);
    };
    std::thread::Builder::new().stack_size(1_024 * 1_024).spawn(work).unwrap().join().unwrap();
}

#[test]
fn the_counter_counts() {
    assert!(allocations(|| drop(std::hint::black_box(vec![1_u8]))) > 0);
}

#[test]
fn music_from_microphone_to_packet_allocates_nothing() {
    let mut chain = CaptureChain::new(&array(4), VoiceOptions::default()).unwrap();
    chain.set_mode(Mode::Music);
    let frame = [0.1; FRAME * 4];
    let count = allocations(|| {
        for _ in 0..100 {
            chain.process(&frame);
        }
    });
    assert_eq!(count, 0);
}

/// Allocations of three seconds of voice after one of warming up, and what each second holds in the end, bytes.
fn voice(options: VoiceOptions) -> (u64, [i64; 3]) {
    let mut chain = CaptureChain::new(&array(4), options).unwrap();
    let (mut far, mut near) = (Speech::new(1), Speech::new(2));
    let (mut count, mut held) = (0, [0; 3]);
    for i in 0..400 {
        let (far, near) = (far.frame(), near.frame());
        let microphones: [f32; FRAME * 4] = std::array::from_fn(|i| near[i / 4] + far[i / 4] * 0.3);
        let info = allocation_counter::measure(|| {
            chain.playback(&far);
            chain.process(&microphones);
        });
        if i >= 100 {
            count += info.count_total;
            held[i / 100 - 1] += info.bytes_current;
        }
    }
    (count, held)
}

#[test]
fn our_part_of_a_voice_allocates_nothing() {
    for echo in [EchoControl::Off, EchoControl::Long] {
        assert_eq!(voice(VoiceOptions { echo, ..plain() }), (0, [0; 3]), "{echo:?}");
    }
}

#[test]
fn a_network_against_noise_allocates_nothing_after_its_first_frame_in_a_thread() {
    let noise = NoiseSuppression::Neural;
    let mut chain = CaptureChain::new(&array(1), VoiceOptions { noise, ..plain() }).unwrap();
    let (mut speech, frames) = (Speech::new(1), 300);
    let run = move || -> Vec<u64> {
        (0..frames)
            .map(|_| {
                let frame = speech.frame();
                allocations(|| {
                    chain.process(&frame);
                })
            })
            .collect()
    };
    let count = std::thread::spawn(run).join().unwrap();
    assert!(count[0] > 0, "the pages say so");
    assert_eq!(count[1..].iter().sum::<u64>(), 0);
}

#[test]
fn the_libraries_part_of_a_voice_gives_back_all_that_it_takes() {
    for echo in [EchoControl::Long, EchoControl::Aec3] {
        let (count, held) = voice(VoiceOptions { echo, ..VoiceOptions::default() });
        assert!(held.iter().all(|bytes| *bytes <= 0), "{echo:?}: {count} allocations hold {held:?}");
    }
}

#[test]
fn changing_modes_and_recording_allocate_nothing() {
    let mut chain = CaptureChain::new(&array(2), plain()).unwrap();
    let frame = [0.1; FRAME * 2];
    chain.process(&frame);
    let mut recorder = Recorder::new(&chain.signals().unwrap());
    let mut recorded = 0;
    let count = allocations(|| {
        for i in 0..120 {
            chain.set_mode(Mode::ALL[i / 10 % 3]);
            chain.process(&frame);
            recorded += u32::from(recorder.take(chain.signals()).is_some());
        }
    });
    assert_eq!(count, 0);
    assert!(recorded > 40);
}

#[test]
fn muting_and_unmuting_allocate_nothing() {
    let mut chain = CaptureChain::new(&array(1), plain()).unwrap();
    let frame = [0.1; FRAME];
    let count = allocations(|| {
        for i in 0..50 {
            chain.set_muted(i % 2 == 0);
            chain.process(&frame);
        }
    });
    assert_eq!(count, 0);
}

#[test]
fn sixteen_tracks_from_packet_to_speaker_allocate_nothing_even_under_loss_and_hiccups() {
    let mut play = PlayOut::new(2).unwrap();
    let (mut sender, mut speech) = (Sender::new(plain()), Speech::new(3));
    let packets: Vec<Packet> = (0..300)
        .map(|_| {
            let mut sound: Vec<f32> = speech.frame().into_iter().chain(speech.frame()).collect();
            sender.packet(|| sound.pop().unwrap())
        })
        .collect();
    let chime: std::sync::Arc<[f32]> = std::sync::Arc::from(vec![0.1; 4_800]);
    let count = allocations(|| {
        for (i, packet) in packets.iter().enumerate() {
            let ms = i as f64 * 20.0;
            if i % 50 == 0 {
                play.notify(std::sync::Arc::clone(&chime), Ducking::UnderSpeech);
                play.set_least_wait(TrackKey(2), std::time::Duration::from_millis(i as u64));
            }
            for key in 0..16_u64 {
                let lost = (i as u64 + key).is_multiple_of(9);
                let stalled = (100..108).contains(&i);
                if lost || stalled {
                    continue;
                }
                let burst = if i == 108 { &packets[100..=108] } else { std::slice::from_ref(packet) };
                for packet in burst {
                    play.push(TrackKey(key), packet.sequence, packet.timestamp, &packet.opus, at(ms));
                }
            }
            let mut out = [0.0; FRAME * 2];
            play.mix(&mut out);
            play.mix(&mut out);
            if i == 200 {
                play.remove(TrackKey(3));
            }
        }
    });
    assert_eq!(count, 0);
    assert!(play.statistics(TrackKey(1)).unwrap().left_out > 0);
}

#[test]
fn five_minutes_of_a_sender_whose_clock_is_off_leak_nothing_and_drift_nowhere() {
    let (mut sender, mut speech) = (Sender::new(plain()), Speech::new(3));
    let spoken: Vec<Packet> = (0..100)
        .map(|_| {
            let mut sound: Vec<f32> = speech.frame().into_iter().chain(speech.frame()).collect();
            sender.packet(|| sound.pop().unwrap())
        })
        .collect();
    for ppm in [-250.0, 250.0] {
        let mut play = PlayOut::new(1).unwrap();
        let (mut ms, mut frames, mut longest) = (0.0, 0_u64, std::time::Duration::ZERO);
        let count = allocations(|| {
            for i in 0..15_000_u32 {
                let arrives = f64::from(i) * 20.0 * (1.0 + ppm * 1e-6);
                while ms < arrives {
                    play.mix(&mut [0.0; FRAME]);
                    (ms, frames) = (ms + 10.0, frames + 1);
                }
                if i % 31 != 0 {
                    let opus = &spoken[i as usize % spoken.len()].opus;
                    play.push(TrackKey(1), i as u16, i.wrapping_mul(960), opus, at(arrives));
                }
                if i > 100 && i % 50 == 0 {
                    longest = longest.max(play.statistics(TrackKey(1)).unwrap().delay);
                }
            }
        });
        assert_eq!(count, 0);
        assert!(frames >= 29_900, "{frames}");
        let statistics = play.statistics(TrackKey(1)).unwrap();
        assert!(longest.as_millis() <= 60, "{longest:?} at {ppm} ppm, {statistics:?}");
        assert!(statistics.concealed + statistics.recovered < 15_000 * 960 / 20, "{statistics:?}");
    }
}
