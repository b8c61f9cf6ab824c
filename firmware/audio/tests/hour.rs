//! An hour of a meeting through the whole chain and back. Takes minutes: `cargo xtask prove voice`.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod support;

use rostrum_audio::{CaptureChain, FRAME, PlayOut, TrackKey, VoiceOptions};
use support::{Echo, Noise, Speech, array, at, db};

const MINUTE: u32 = 6_000;
const HOUR: u32 = 60 * MINUTE;

/// What a minute gave.
#[derive(Default)]
struct Minute {
    heard: Vec<f32>,
    sent: Vec<f32>,
}

#[test]
fn an_hour_leaks_nothing_loses_no_sample_and_drifts_nowhere() {
    let mut chain =
        CaptureChain::new(&array(2), VoiceOptions { gain: false, ..VoiceOptions::default() }).unwrap();
    let mut far_end = PlayOut::new(1).unwrap();
    let mut ways: Vec<Echo> = (0..2).map(|i| Echo::new(40 + i, 0.5)).collect();
    let (mut far, mut near, mut hiss) = (Speech::new(9), Speech::new(4), Noise::new(3));
    let (mut packets, mut samples, mut held) = (0_u32, 0_u64, 0_i64);
    let (mut minute, mut worst_ppm) = (Minute::default(), 0.0_f32);
    for frame in 0..HOUR {
        let played = far.frame();
        // The room talks in each second half of a minute.
        let talks = frame % MINUTE >= MINUTE / 2;
        let said = if talks { near.frame() } else { [0.0; FRAME] };
        let echoes: Vec<[f32; FRAME]> = ways.iter_mut().map(|way| way.frame(&played)).collect();
        let heard: Vec<f32> =
            (0..FRAME * 2).map(|n| echoes[n % 2][n / 2] + said[n / 2] + hiss.next() * 1e-4).collect();
        let (mut out, mut opus) = ([0.0; FRAME], [0; 1_500]);
        let used = allocation_counter::measure(|| {
            chain.playback(&played);
            if let Some(packet) = chain.process(&heard) {
                opus[..packet.opus.len()].copy_from_slice(packet.opus);
                let length = packet.opus.len();
                samples += u64::from(packet.samples);
                let sequence = packets as u16;
                let time = at(f64::from(frame) * 10.0);
                far_end.push(TrackKey(1), sequence, packets.wrapping_mul(960), &opus[..length], time);
                packets += 1;
            }
            far_end.mix(&mut out);
        });
        assert!(out.iter().all(|sample| sample.is_finite()));
        // The first minute takes what is kept for good.
        if frame >= MINUTE {
            held += used.bytes_current;
        }
        if !talks && frame % MINUTE >= MINUTE / 4 {
            minute.heard.extend_from_slice(&echoes[0]);
            minute.sent.extend_from_slice(chain.signals().unwrap().output);
        }
        // One clock, which takes some seconds to be sure of.
        if frame >= MINUTE / 6 {
            let ppm = chain.meters().clock_drift_ppm.unwrap().abs();
            worst_ppm = worst_ppm.max(ppm);
            assert!(ppm < 10.0, "frame {frame}: {ppm} ppm");
        }
        if (frame + 1) % MINUTE == 0 {
            let number = (frame + 1) / MINUTE;
            let Minute { heard, sent } = std::mem::take(&mut minute);
            let removed = db(&heard) - db(&sent);
            let meters = chain.meters();
            let (ppm, delay) = (meters.clock_drift_ppm.unwrap(), meters.echo_delay_ms.unwrap());
            if number % 10 == 1 {
                println!("minute {number}: {removed:.1} dB, {ppm:.2} ppm, {delay} ms, {held} bytes");
            }
            assert!(removed > 30.0, "minute {number}: {removed} dB");
            assert!((7..12).contains(&delay), "minute {number}: {delay} ms");
            let wait = far_end.statistics(TrackKey(1)).unwrap().delay;
            assert!(wait.as_millis() < 60, "minute {number}: {wait:?} wait at the far end");
        }
    }
    println!("clocks were told to be {worst_ppm:.1} ppm apart at most, {packets} packets");
    assert!(held <= 0, "{held} bytes");
    assert_eq!((packets, samples), (HOUR / 2, u64::from(HOUR) * FRAME as u64));
}
