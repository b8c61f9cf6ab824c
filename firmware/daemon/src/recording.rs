//! Recordings of the voice chain's inner signals for fault reports: announced, then written by a thread of its own.

use std::{
    fs::File,
    io::BufWriter,
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
        mpsc,
    },
    time::{Duration, Instant, SystemTime},
};

use anyhow::Context;
use ringbuf::{
    HeapCons, HeapProd, HeapRb,
    traits::{Consumer, Observer, Producer, Split},
};
use rostrum_audio::{CaptureChain, Ducking, FRAME, RATE_HZ, Recorder, VoiceOptions};
use rostrum_hal::microphone::ArrayFormat;
use rostrum_panel::{RecordingPhase, VoiceMode, VoiceRecording};
use serde_json::json;

use crate::{
    input::{Input, Inputs},
    sounds,
    voice::{CaptureOrder, Play, Voice},
};

/// Samples that may wait for the disk: a second of forty channels.
const WAITING: usize = 40 * RATE_HZ as usize;
/// Time between two looks at them.
const LOOK: Duration = Duration::from_millis(20);
/// Looks between two words on how it goes.
const TELL_LOOKS: u32 = 10;
/// How much longer than wanted it may take, when the room is muted meanwhile.
const PATIENCE: Duration = Duration::from_secs(120);
/// Silence after an announcement.
const PAUSE: Duration = Duration::from_millis(400);

/// The end of a recording that the thread of the microphones holds.
pub(crate) struct Tap {
    recorder: Option<Recorder>,
    to: HeapProd<f32>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// Names of the channels, once they are known.
    channels: OnceLock<Vec<String>>,
    /// What the microphones are, and how the chain is set.
    made_by: OnceLock<(ArrayFormat, VoiceOptions)>,
    /// Frames that were not recorded as the room was muted (or in music mode), and those that the disk was too slow for.
    withheld: AtomicU64,
    lost: AtomicU64,
    /// Whether the last frame was withheld.
    paused: AtomicBool,
    stop: AtomicBool,
}

impl Tap {
    /// What the microphones are, and how their chain is set.
    pub(crate) fn is_made_by(&self, array: &ArrayFormat, options: VoiceOptions) {
        // The first to say so.
        let _ = self.shared.made_by.set((array.clone(), options));
    }

    /// Takes what the chain made of the last frame; what it gives of a muted room is nothing. `false` when nobody wants
    /// it any more.
    pub(crate) fn take(&mut self, chain: &CaptureChain) -> bool {
        let signals = chain.signals();
        if let (None, Some(signals)) = (&self.recorder, &signals) {
            let recorder = Recorder::new(signals);
            // The first to say so.
            let _ = self.shared.channels.set(recorder.channels().to_vec());
            self.recorder = Some(recorder);
        }
        let frame = self.recorder.as_mut().and_then(|recorder| recorder.take(signals));
        self.shared.paused.store(frame.is_none(), SeqCst);
        match frame {
            Some(frame) if self.to.vacant_len() >= frame.len() => {
                self.to.push_slice(frame);
            }
            Some(_) => {
                self.shared.lost.fetch_add(1, SeqCst);
            }
            None => {
                self.shared.withheld.fetch_add(1, SeqCst);
            }
        }
        !self.shared.stop.load(SeqCst)
    }
}

/// Recordings, one at a time.
pub(crate) struct Recordings {
    file: PathBuf,
    voice: Voice,
    inputs: Inputs,
    now: Option<Arc<Shared>>,
    number: u64,
}

impl Recordings {
    /// They are written to `file` (WAV), and described beside it.
    pub(crate) fn new(file: PathBuf, voice: Voice, inputs: Inputs) -> Self {
        let recordings = Self { file, voice, inputs, now: None, number: 0 };
        // Of a terminal that died: nobody knows of it any more.
        recordings.remove();
        recordings
    }

    /// Whether what is told of recording `number` is of the last one.
    pub(crate) fn is_last(&self, number: u64) -> bool {
        self.number == number
    }

    /// Begins one, of a room that is not muted.
    ///
    /// # Errors
    /// When the system gives no thread, or the warning cannot be said.
    pub(crate) fn start(&mut self, seconds: u16, mode: VoiceMode) -> anyhow::Result<()> {
        self.end();
        self.remove();
        self.number += 1;
        let shared = Arc::new(Shared::default());
        self.now = Some(Arc::clone(&shared));
        let work = Work {
            number: self.number,
            seconds,
            mode,
            warning: sounds::recording_warning()?,
            file: self.file.clone(),
            voice: self.voice.clone(),
            inputs: self.inputs.clone(),
            shared,
        };
        std::thread::Builder::new().name("recording".into()).spawn(move || work.run())?;
        Ok(())
    }

    /// Ends the one that runs, and removes what there is.
    pub(crate) fn forget(&mut self) {
        self.end();
        self.number += 1;
        self.remove();
    }

    fn end(&mut self) {
        if let Some(shared) = self.now.take() {
            shared.stop.store(true, SeqCst);
        }
    }

    fn remove(&self) {
        for file in [self.file.clone(), self.file.with_extension("json"), self.file.with_extension("part")] {
            // It may not be there.
            let _ = std::fs::remove_file(file);
        }
    }
}

struct Work {
    number: u64,
    seconds: u16,
    mode: VoiceMode,
    warning: Arc<[f32]>,
    file: PathBuf,
    voice: Voice,
    inputs: Inputs,
    shared: Arc<Shared>,
}

impl Work {
    fn run(self) {
        match self.record() {
            // Ended by people, who want nothing of it.
            Ok(_) if self.shared.stop.load(SeqCst) => {}
            Ok(seconds) => {
                log::info!(seconds; "a recording for a fault report is done");
                self.tell(RecordingPhase::Done, seconds, None);
            }
            Err(error) => {
                log::error!(error:% = format!("{error:#}"); "a recording for a fault report failed");
                self.tell(RecordingPhase::Failed, 0.0, Some(format!("{error:#}")));
            }
        }
        self.shared.stop.store(true, SeqCst);
    }

    fn tell(&self, phase: RecordingPhase, seconds: f32, problem: Option<String>) {
        let recording = VoiceRecording { phase, seconds, wanted_s: self.seconds, problem };
        let _ = self.inputs.send(Input::Recording { number: self.number, recording });
    }

    /// Gives the seconds that were recorded.
    fn record(&self) -> anyhow::Result<f32> {
        log::info!(seconds = self.seconds; "the sound of this room is recorded for a fault report");
        self.announce();
        let (to, from) = HeapRb::<f32>::new(WAITING).split();
        let tap = Tap { recorder: None, to, shared: Arc::clone(&self.shared) };
        self.voice.order(CaptureOrder::Record(Box::new(tap)));
        // Whole, or not at all.
        let partial = self.file.with_extension("part");
        let written = self.write(&partial, from);
        self.shared.stop.store(written.is_err() || self.shared.stop.load(SeqCst), SeqCst);
        let frames = match written {
            Ok(frames) if !self.shared.stop.load(SeqCst) => frames,
            other => {
                let _ = std::fs::remove_file(&partial);
                return other.map(|_| 0.0);
            }
        };
        let seconds = frames as f32 * FRAME as f32 / RATE_HZ as f32;
        std::fs::write(self.file.with_extension("json"), self.description(frames)?)
            .and_then(|()| std::fs::rename(&partial, &self.file))
            .with_context(|| format!("{} cannot be written", self.file.display()))?;
        Ok(seconds)
    }

    /// Tells the room, then the meeting: the canceller would take out of the second what the first is told.
    fn announce(&self) {
        self.tell(RecordingPhase::Announcing, 0.0, None);
        let length = Duration::from_secs_f32(self.warning.len() as f32 / RATE_HZ as f32) + PAUSE;
        let _ = self.voice.play.send(Play::Sound(Arc::clone(&self.warning), Ducking::OverSpeech));
        self.rest(length);
        self.voice.order(CaptureOrder::Announce(Arc::clone(&self.warning)));
        self.rest(length);
    }

    fn rest(&self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end && !self.shared.stop.load(SeqCst) {
            std::thread::sleep(LOOK);
        }
    }

    /// Gives the frames that were written.
    fn write(&self, file: &Path, mut from: HeapCons<f32>) -> anyhow::Result<u64> {
        let wanted = u64::from(self.seconds) * u64::from(RATE_HZ) / FRAME as u64;
        let deadline = Instant::now() + Duration::from_secs(u64::from(self.seconds)) + PATIENCE;
        let mut writer: Option<(usize, hound::WavWriter<BufWriter<File>>)> = None;
        let mut frames = 0;
        let mut frame = Vec::new();
        for look in 0_u32.. {
            if self.shared.stop.load(SeqCst) || frames >= wanted || Instant::now() > deadline {
                break;
            }
            std::thread::sleep(LOOK);
            if let (None, Some(channels)) = (&writer, self.shared.channels.get()) {
                frame = vec![0.0; channels.len() * FRAME];
                let spec = hound::WavSpec {
                    channels: u16::try_from(channels.len())?,
                    sample_rate: RATE_HZ,
                    bits_per_sample: 32,
                    sample_format: hound::SampleFormat::Float,
                };
                let made = hound::WavWriter::create(file, spec);
                writer = Some((frame.len(), made.with_context(|| unwritable(file))?));
            }
            if let Some((length, writer)) = &mut writer {
                while from.occupied_len() >= *length && frames < wanted {
                    from.pop_slice(&mut frame);
                    for sample in &frame {
                        writer.write_sample(*sample).with_context(|| unwritable(file))?;
                    }
                    frames += 1;
                }
            }
            if look.is_multiple_of(TELL_LOOKS) {
                let paused = self.shared.paused.load(SeqCst);
                let phase = if paused { RecordingPhase::Paused } else { RecordingPhase::Recording };
                self.tell(phase, frames as f32 * FRAME as f32 / RATE_HZ as f32, None);
            }
        }
        let (_, writer) = writer.context("the room was muted all the time, and nothing of it is recorded")?;
        writer.finalize().with_context(|| unwritable(file))?;
        Ok(frames)
    }

    fn description(&self, frames: u64) -> anyhow::Result<Vec<u8>> {
        let made = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let made_by = self.shared.made_by.get();
        let description = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "made_unix_s": made.as_secs(),
            "rate_hz": RATE_HZ,
            "frame_samples": FRAME,
            "frames": frames,
            "channels": self.shared.channels.get(),
            "geometry": made_by.map(|(array, _)| &array.geometry),
            "options": made_by.map(|(_, options)| options),
            "mode": self.mode,
            "frames_withheld_while_muted": self.shared.withheld.load(SeqCst),
            "frames_lost": self.shared.lost.load(SeqCst),
        });
        Ok(serde_json::to_vec_pretty(&description)?)
    }
}

fn unwritable(file: &Path) -> String {
    format!("{} cannot be written; free some space", file.display())
}

/// Sends to a thread that may not be there.
pub(crate) type Orders = mpsc::Sender<CaptureOrder>;
