//! What the voice chain measures, from the thread of the microphones to the panel.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use rostrum_audio::{CaptureMeters, FRAME, MicrophoneFault};
use rostrum_panel::{MicrophoneMeter, VoiceMeters, VoiceMode, Watchers};
use tokio::sync::watch;

/// Microphones that are measured.
const MICROPHONES: usize = 32;
/// Frames over which a loudness is taken: a tenth of a second.
const FRAMES: u32 = 10;
/// Frames of nothing but zeros after which a microphone is broken, when others hear something: even a silent room has
/// noise.
const DEAD_FRAMES: u32 = 200;
/// Time between two readings while somebody looks, and how many of them pass for one while nobody does.
const PACE: Duration = Duration::from_millis(100);
const IDLE_TURNS: u32 = 10;
/// Quieter is shown as this, dB.
const FLOOR_DB: f32 = -100.0;

/// The newest reading; written by a thread that never waits.
#[derive(Debug, Default)]
pub(crate) struct MeterBoard(Mutex<Reading>);

/// One reading.
#[derive(Clone, Copy, Debug, Default)]
struct Reading {
    microphones: usize,
    /// Mean squares.
    power: [f32; MICROPHONES],
    dead: u32,
    muted: bool,
    mode: VoiceMode,
    chain: CaptureMeters,
}

/// What a thread hears of each microphone.
#[derive(Debug)]
pub(crate) struct Ear {
    sums: [f32; MICROPHONES],
    silent_frames: [u32; MICROPHONES],
    frames: u32,
}

impl Ear {
    pub(crate) fn new() -> Self {
        Self { sums: [0.0; MICROPHONES], silent_frames: [0; MICROPHONES], frames: 0 }
    }

    /// Takes a frame of `count` microphones, interleaved; `true` ten times a second, when there is something to tell.
    pub(crate) fn hear(&mut self, samples: &[f32], count: usize) -> bool {
        let count = count.clamp(1, MICROPHONES);
        for microphone in 0..count {
            let samples = samples.iter().skip(microphone).step_by(count);
            let sum: f32 = samples.filter(|sample| sample.is_finite()).map(|sample| sample * sample).sum();
            self.sums[microphone] += sum;
            let silent = &mut self.silent_frames[microphone];
            *silent = if sum == 0.0 { silent.saturating_add(1) } else { 0 };
        }
        self.frames += 1;
        self.frames >= FRAMES
    }

    /// Bits of the microphones that give nothing while others do.
    pub(crate) fn dead(&self, count: usize) -> u32 {
        let silent = &self.silent_frames[..count.min(MICROPHONES)];
        if silent.iter().all(|frames| *frames > 0) {
            return 0;
        }
        (0..).zip(silent).filter(|(_, frames)| **frames > DEAD_FRAMES).fold(0, |bits, (i, _)| bits | 1 << i)
    }

    /// Tells what was heard since the last time. What of a muted room is told is decided by who shows it.
    pub(crate) fn tell(
        &mut self,
        board: &MeterBoard,
        count: usize,
        muted: bool,
        mode: VoiceMode,
        chain: CaptureMeters,
    ) {
        let frames = (std::mem::take(&mut self.frames) as usize * FRAME) as f32;
        let sums = std::mem::replace(&mut self.sums, [0.0; MICROPHONES]);
        // Whoever reads is quick; a reading that does not get through is followed by the next.
        if let Some(mut reading) = board.0.try_lock() {
            let power = sums.map(|sum| sum / frames);
            *reading = Reading { microphones: count, power, dead: self.dead(count), muted, mode, chain };
        }
    }
}

/// Names of microphones for people: `2` or `2 and 4`.
pub(crate) fn names(bits: u32) -> String {
    let numbers: Vec<String> =
        (0..32).filter(|i| bits >> i & 1 == 1).map(|i: u32| (i + 1).to_string()).collect();
    match &numbers[..] {
        [first @ .., last] if !first.is_empty() => format!("{} and {last}", first.join(", ")),
        numbers => numbers.concat(),
    }
}

/// What is wrong with microphones of an array: those that give nothing at all, and what the beam finds.
pub(crate) fn complaint(dead: u32, chain: &CaptureMeters) -> Option<String> {
    let found = |wanted: fn(&MicrophoneFault) -> bool| -> u32 {
        let faults = (0..).zip(&chain.microphone_faults);
        let of_kind = faults.filter(|(_, fault)| fault.as_ref().is_some_and(wanted));
        of_kind.fold(0, |bits, (i, _): (u32, _)| bits | 1 << i)
    };
    let dead = dead | found(|fault| *fault == MicrophoneFault::Dead);
    let loud = found(|fault| *fault == MicrophoneFault::Loud);
    let swapped = found(|fault| matches!(fault, MicrophoneFault::SwappedWith(_)));
    let all = [
        (dead, "gives nothing"),
        (loud, "is much louder than the others"),
        (swapped, "is in another's place"),
    ];
    let told: Vec<_> = all
        .iter()
        .filter(|(bits, _)| *bits != 0)
        .map(|(bits, what)| format!("number {} {what}", names(*bits)))
        .collect();
    (!told.is_empty()).then(|| told.join("; "))
}

impl MeterBoard {
    /// As the panel shows it.
    fn shown(&self) -> VoiceMeters {
        let reading = *self.0.lock();
        let Reading { microphones, power, dead, muted, mode, chain } = reading;
        let heard = |value: Option<f32>| value.filter(|_| !muted);
        let direction = chain.direction.filter(|_| mode_has_voice(mode) && !muted);
        let is_trusted = |i: usize| chain.microphone_faults.get(i).is_none_or(Option::is_none);
        let decibel = |power: f32| (10.0 * power.max(1e-12).log10()).max(FLOOR_DB);
        VoiceMeters {
            mode,
            muted,
            microphones: (0..microphones.min(MICROPHONES))
                .map(|i| MicrophoneMeter {
                    level_dbfs: heard(Some(decibel(power[i]))),
                    ok: dead >> i & 1 == 0 && is_trusted(i),
                })
                .collect(),
            sent_dbov: heard(chain.level_dbov.map(|level| -f32::from(level))),
            speech: mode_has_voice(mode).then_some(chain.voice_active).filter(|_| !muted),
            gain_db: chain.gain_db.filter(|_| mode_has_voice(mode) && !muted),
            echo_removed_db: chain.echo_removed_db.filter(|db| db.is_finite()),
            echo_delay_ms: chain.echo_delay_ms,
            clock_drift_ppm: chain.clock_drift_ppm.filter(|ppm| ppm.is_finite()),
            // Clockwise from straight ahead there, counter-clockwise from the right here.
            direction_deg: direction.map(|found| (90.0 - found.azimuth_deg).rem_euclid(360.0)),
            direction_confidence: direction.map(|found| found.confidence),
        }
    }
}

/// Whether the voice chain is at work.
fn mode_has_voice(mode: VoiceMode) -> bool {
    mode != VoiceMode::Music
}

/// Keeps what the panel shows true: ten times a second while somebody looks, once otherwise.
pub(crate) fn watch(board: Arc<MeterBoard>, listeners: Watchers) -> watch::Receiver<VoiceMeters> {
    let (tell, told) = watch::channel(VoiceMeters::default());
    tokio::spawn(async move {
        let mut interval = tokio::time::interval(PACE);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        for turn in 0_u32.. {
            interval.tick().await;
            if tell.is_closed() {
                return;
            }
            if listeners.count() > 0 || turn.is_multiple_of(IDLE_TURNS) {
                tell.send_replace(board.shown());
            }
        }
    });
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two microphones, the second of which gives `second`.
    fn frame(second: f32) -> Vec<f32> {
        (0..2 * FRAME).map(|i| if i % 2 == 0 { 0.1 } else { second }).collect()
    }

    fn reading(second: f32, muted: bool) -> VoiceMeters {
        let (board, mut ear) = (MeterBoard::default(), Ear::new());
        for _ in 0..300 {
            if ear.hear(&frame(second), 2) {
                let chain = CaptureMeters { level_dbov: Some(30), ..CaptureMeters::default() };
                ear.tell(&board, 2, muted, VoiceMode::Voice, chain);
            }
        }
        board.shown()
    }

    #[test]
    fn each_microphone_has_its_own_loudness() {
        let meters = reading(0.01, false);
        let levels: Vec<_> = meters.microphones.iter().map(|meter| meter.level_dbfs.unwrap_or(0.0)).collect();
        assert!((levels[0] + 20.0).abs() < 0.1 && (levels[1] + 40.0).abs() < 0.1, "{levels:?}");
        assert_eq!(meters.sent_dbov, Some(-30.0));
    }

    #[test]
    fn of_a_muted_room_no_loudness_is_told() {
        let meters = reading(0.01, true);
        assert!(meters.muted && meters.sent_dbov.is_none());
        assert!(meters.microphones.iter().all(|meter| meter.level_dbfs.is_none()));
    }

    #[test]
    fn a_microphone_that_gives_nothing_beside_one_that_does_is_broken() {
        let ok = |meters: VoiceMeters| meters.microphones.iter().map(|meter| meter.ok).collect::<Vec<_>>();
        assert_eq!(ok(reading(0.0, false)), [true, false]);
        assert_eq!(ok(reading(1e-5, false)), [true, true]);
    }

    #[test]
    fn the_talkers_direction_is_told_unless_the_room_is_muted() {
        let board = MeterBoard::default();
        let direction = Some(rostrum_audio::Direction { azimuth_deg: -30.0, confidence: 0.8 });
        for muted in [false, true] {
            let chain = CaptureMeters { direction, ..CaptureMeters::default() };
            Ear::new().tell(&board, 4, muted, VoiceMode::Voice, chain);
            let shown = board.shown();
            assert_eq!(shown.direction_deg, (!muted).then_some(120.0));
            assert_eq!(shown.direction_confidence, (!muted).then_some(0.8));
        }
    }

    #[test]
    fn what_is_wrong_with_each_microphone_is_said() {
        let mut chain = CaptureMeters::default();
        assert_eq!(complaint(0, &chain), None);
        chain.microphone_faults[1] = Some(MicrophoneFault::Loud);
        chain.microphone_faults[2] = Some(MicrophoneFault::SwappedWith(3));
        chain.microphone_faults[3] = Some(MicrophoneFault::SwappedWith(2));
        let said = complaint(0b1, &chain).unwrap_or_default();
        assert_eq!(
            said,
            "number 1 gives nothing; number 2 is much louder than the others; number 3 and 4 is in another's place"
        );
    }

    #[test]
    fn an_array_that_is_silent_as_a_whole_is_not_told_of_one_by_one() {
        let mut ear = Ear::new();
        for _ in 0..300 {
            ear.hear(&[0.0; 2 * FRAME], 2);
        }
        assert_eq!(ear.dead(2), 0);
    }

    #[test]
    fn microphones_are_counted_as_people_do() {
        assert_eq!(names(0b10), "2");
        assert_eq!(names(0b1011), "1, 2 and 4");
    }
}
