//! Microphones to Opus and Opus to the speaker, a thread each. What the speaker plays goes to the echo canceller
//! through a ring; no lock and no waiting between the two.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering::SeqCst},
        mpsc,
    },
    time::{Duration, Instant},
};

use anyhow::Context;
use bytes::Bytes;
use ringbuf::{
    HeapRb,
    traits::{Consumer, Producer, Split},
};
use rostrum_audio::{CaptureChain, Ducking, FRAME, LinkState, Mode, PlayOut, TrackKey, VoiceOptions};
use rostrum_hal::{
    Timestamp,
    microphone::{ArrayFormat, MicrophoneArray, MicrophoneError},
    speaker::{Speaker, SpeakerError, SpeakerFormat},
};
use rostrum_panel::VoiceMode;
use rostrum_room::Part;
use rostrum_rtc::Statistics;

use crate::{
    counters::Counters,
    input::{Health, Inputs},
    lip_sync::InStep,
    loan::{Lender, Lent},
    losses::Losses,
    meters::{self, Ear, MeterBoard},
    pulse::{Pulse, Pulses},
    recording::{Orders, Tap},
    stay::Outlet,
};

/// Microphones that give nothing but zeros for this long are broken: even a silent room has noise.
const DEAD_AFTER: Duration = Duration::from_secs(2);
/// Time between two tries with a device that is gone.
const RETRY: Duration = Duration::from_millis(200);
/// Time between two looks whether a device that was lent is back.
const AWAY: Duration = Duration::from_millis(20);
/// Periods of the speaker between two looks whether sound and picture are in step: half a second.
const IN_STEP_TURNS: u32 = 50;
/// Frames of the speaker's sound that may wait for the echo canceller.
const REFERENCE_FRAMES: usize = 32;
/// Channels of a speaker at most.
const SPEAKER_CHANNELS: usize = 2;

/// What the two threads are told; shared, and never waited for.
#[derive(Debug, Default)]
pub(crate) struct VoiceSwitches {
    open: AtomicBool,
    /// Place in [`VoiceMode::ALL`].
    mode: AtomicU8,
    volume: AtomicU8,
    /// Channels of the sound that goes to the echo canceller.
    reference_channels: AtomicU8,
    /// Loss in thousandths, bits a second (0: not known) and round trip in milliseconds.
    link: [AtomicU32; 3],
}

impl VoiceSwitches {
    /// Lets samples out, or none: the thread looks at this between a packet's making and its sending.
    pub(crate) fn set_open(&self, open: bool) {
        self.open.store(open, SeqCst);
    }

    pub(crate) fn set_mode(&self, mode: VoiceMode) {
        self.mode.store(mode as u8, SeqCst);
    }

    fn mode(&self) -> VoiceMode {
        VoiceMode::ALL.get(usize::from(self.mode.load(SeqCst))).copied().unwrap_or_default()
    }

    /// What the stay says of its link: the voice may take half of what there is.
    pub(crate) fn set_link(&self, statistics: &Statistics) {
        let round_trip_ms = statistics.round_trip.unwrap_or_default().as_millis();
        self.link[0].store((statistics.send_loss * 1_000.0) as u32, SeqCst);
        self.link[1].store(u32::try_from(statistics.estimate_bps / 2).unwrap_or(u32::MAX), SeqCst);
        self.link[2].store(u32::try_from(round_trip_ms).unwrap_or(u32::MAX), SeqCst);
    }

    fn link(&self) -> LinkState {
        let [loss, available_bps, rtt_ms] = [0, 1, 2].map(|i| self.link[i].load(SeqCst));
        if available_bps == 0 {
            return LinkState::default();
        }
        let rtt = Duration::from_millis(u64::from(rtt_ms));
        LinkState { loss_percent: loss as f32 / 10.0, available_bps, rtt }
    }

    /// Percent, 0..=100.
    pub(crate) fn set_volume(&self, volume: u8) {
        self.volume.store(volume, SeqCst);
    }
}

/// Sound from the far end on its way to the speaker.
#[derive(Debug)]
pub(crate) enum Play {
    Packet {
        track: TrackKey,
        sequence: u64,
        rtp_timestamp: u32,
        opus: Bytes,
        arrival: Timestamp,
    },
    Gone(TrackKey),
    Nobody,
    /// A sound of the terminal itself: 48 kHz, mono.
    Sound(Arc<[f32]>, Ducking),
}

/// What the thread of the microphones is asked for.
pub(crate) enum CaptureOrder {
    /// To send this sound in the place of the room: 48 kHz, mono. Nothing is sent while muted, nor is it then.
    Announce(Arc<[f32]>),
    /// To give what the chain makes of each frame.
    Record(Box<Tap>),
}

/// The threads' handles.
#[derive(Clone)]
pub(crate) struct Voice {
    pub(crate) switches: Arc<VoiceSwitches>,
    pub(crate) play: mpsc::Sender<Play>,
    orders: Orders,
    pub(crate) meters: Arc<MeterBoard>,
}

impl Voice {
    /// Asks the thread of the microphones, where there is one.
    pub(crate) fn order(&self, order: CaptureOrder) {
        let _ = self.orders.send(order);
    }
}

/// What the threads work with.
pub(crate) struct VoiceWiring {
    pub(crate) microphones: Option<Box<dyn MicrophoneArray>>,
    pub(crate) lend_microphones: Lender<Box<dyn MicrophoneArray>>,
    pub(crate) speaker: Option<Box<dyn Speaker>>,
    pub(crate) lend_speaker: Lender<Box<dyn Speaker>>,
    pub(crate) outlet: Outlet,
    pub(crate) in_step: InStep,
    pub(crate) counters: Arc<Counters>,
    pub(crate) inputs: Inputs,
    pub(crate) pulses: Pulses,
    pub(crate) options: VoiceOptions,
}

/// Starts both threads. They run as long as the program.
///
/// # Errors
/// When the audio chains refuse the devices' formats.
pub(crate) fn start(wiring: VoiceWiring) -> anyhow::Result<Voice> {
    let switches = Arc::new(VoiceSwitches::default());
    let (reference_in, reference_out) =
        HeapRb::<f32>::new(REFERENCE_FRAMES * FRAME * SPEAKER_CHANNELS).split();
    let (play, packets) = mpsc::channel();
    let (orders, ordered) = mpsc::channel();
    let meters = Arc::new(MeterBoard::default());
    // The canceller tells as many channels apart as the speaker has.
    let has = wiring.speaker.as_ref().map_or(1, |speaker| speaker.format().channels as u8);
    let speaker_channels = wiring.options.speaker_channels.max(has);
    let options = VoiceOptions { speaker_channels, ..wiring.options };
    if let Some(microphones) = wiring.microphones {
        let chain =
            CaptureChain::new(&microphones.format(), options).context("the microphones cannot be used")?;
        let capture = Capture {
            chain,
            options,
            switches: Arc::clone(&switches),
            outlet: wiring.outlet,
            counters: wiring.counters,
            health: Health::of(Part::Microphones, &wiring.inputs),
            losses: Losses::default(),
            heard: Instant::now(),
            pulse: wiring.pulses.watch("capture", Timestamp::now()),
            lender: wiring.lend_microphones,
            ear: Ear::new(),
            meters: Arc::clone(&meters),
            some: Health::of(Part::ArrayMicrophones, &wiring.inputs),
            orders: ordered,
            announced: None,
            tap: None,
        };
        std::thread::Builder::new()
            .name("capture".into())
            .spawn(move || capture.run(microphones, reference_out))?;
    }
    if let Some(speaker) = wiring.speaker {
        let play_out = PlayOut::new(speaker.format().channels).context("the speaker cannot be used")?;
        let player = Player {
            play_out,
            playing: HashSet::new(),
            in_step: wiring.in_step,
            output: Duration::ZERO,
            turn: 0,
            switches: Arc::clone(&switches),
            packets,
            health: Health::of(Part::Speaker, &wiring.inputs),
            pulse: wiring.pulses.watch("playout", Timestamp::now()),
            lender: wiring.lend_speaker,
        };
        std::thread::Builder::new()
            .name("playout".into())
            .spawn(move || player.run(speaker, reference_in))?;
    }
    Ok(Voice { switches, play, orders, meters })
}

struct Capture {
    chain: CaptureChain,
    options: VoiceOptions,
    switches: Arc<VoiceSwitches>,
    outlet: Outlet,
    counters: Arc<Counters>,
    health: Health,
    losses: Losses,
    heard: Instant,
    pulse: Pulse,
    lender: Lender<Box<dyn MicrophoneArray>>,
    ear: Ear,
    meters: Arc<MeterBoard>,
    /// Of single microphones of the array.
    some: Health,
    orders: mpsc::Receiver<CaptureOrder>,
    /// What is sent in the place of the room, and how much of it was.
    announced: Option<(Arc<[f32]>, usize)>,
    tap: Option<Box<Tap>>,
}

impl Capture {
    fn run(mut self, mut microphones: Box<dyn MicrophoneArray>, mut played: impl Consumer<Item = f32>) {
        rostrum_board::ask_for_realtime();
        let mut format = microphones.format();
        let mut samples = vec![0.0; format.period_frames * format.channels()];
        let mut channels = 0;
        loop {
            self.pulse.beat(Timestamp::now());
            if let Some(ask) = self.lender.asked() {
                microphones = wait_for(ask.lend(microphones), &self.pulse);
                self.heard = Instant::now();
                self.ear = Ear::new();
                if microphones.format() != format {
                    format = microphones.format();
                    samples = vec![0.0; format.period_frames * format.channels()];
                    self.renew_chain(&format);
                }
            }
            match microphones.read(&mut samples) {
                Ok(time) => {
                    let now = self.switches.reference_channels.load(SeqCst);
                    if std::mem::replace(&mut channels, now) != now {
                        // What waits is of another speaker.
                        played.clear();
                    }
                    hear_speaker(&mut self.chain, microphones.reference(), &mut played, channels.into());
                    self.look_alive(&samples, format.channels());
                    self.take_orders(&format);
                    self.announce(&mut samples, format.channels());
                    self.send(&samples, time);
                    self.record();
                }
                Err(MicrophoneError::Overrun { lost_frames }) => {
                    // A reference by the hardware lost the same.
                    if microphones.reference().is_none() {
                        hear_speaker(&mut self.chain, None, &mut played, channels.into());
                        self.chain.lost(lost_frames);
                    }
                    let lost = lost_frames as u64;
                    self.counters.microphone_samples_lost(lost);
                    if let Some(samples) = self.losses.add(Instant::now(), lost) {
                        log::warn!(samples; "the thread of the microphones was too slow; sound was lost");
                    }
                }
                Err(error) => {
                    self.health.faulty(error);
                    self.heard = Instant::now();
                    std::thread::sleep(RETRY);
                }
            }
        }
    }

    /// Other microphones are in their place.
    fn renew_chain(&mut self, format: &ArrayFormat) {
        match CaptureChain::new(format, self.options) {
            Ok(chain) => self.chain = chain,
            // Checked before they came: see `crate::devices`.
            Err(error) => self.health.faulty(error),
        }
    }

    /// Exact silence for a while means that nothing is connected.
    fn look_alive(&mut self, samples: &[f32], microphones: usize) {
        if self.ear.hear(samples, microphones) {
            let chain = self.chain.meters();
            match meters::complaint(self.ear.dead(microphones), &chain) {
                None => self.some.healthy(),
                Some(complaint) => self.some.faulty(complaint),
            }
            let muted = !self.switches.open.load(SeqCst);
            self.ear.tell(&self.meters, microphones, muted, self.switches.mode(), chain);
        }
        if samples.iter().any(|sample| *sample != 0.0) {
            self.heard = Instant::now();
            self.health.healthy();
        } else if self.heard.elapsed() > DEAD_AFTER {
            self.health.faulty("they give nothing but silence");
        }
    }

    fn take_orders(&mut self, format: &ArrayFormat) {
        for order in self.orders.try_iter() {
            match order {
                CaptureOrder::Announce(sound) => self.announced = Some((sound, 0)),
                CaptureOrder::Record(tap) => {
                    tap.is_made_by(format, self.options);
                    self.tap = Some(tap);
                }
            }
        }
    }

    /// Puts what is announced in the place of what the microphones heard.
    fn announce(&mut self, samples: &mut [f32], microphones: usize) {
        let Some((sound, sent)) = &mut self.announced else { return };
        for (to, from) in samples.chunks_exact_mut(microphones).zip(&sound[*sent..]) {
            to.fill(*from);
        }
        *sent = (*sent + FRAME).min(sound.len());
        if *sent == sound.len() {
            self.announced = None;
        }
    }

    fn record(&mut self) {
        if let Some(tap) = &mut self.tap
            && !tap.take(&self.chain)
        {
            self.tap = None;
        }
    }

    fn send(&mut self, samples: &[f32], time: Timestamp) {
        let mode = match self.switches.mode() {
            VoiceMode::Voice => Mode::Voice,
            VoiceMode::VoiceWide => Mode::VoiceWide,
            VoiceMode::Music => Mode::Music,
        };
        self.chain.set_mode(mode);
        self.chain.set_link(self.switches.link());
        self.chain.set_muted(!self.switches.open.load(SeqCst));
        let Some(packet) = self.chain.process(samples) else { return };
        // It may have been muted while the packet was made.
        if self.switches.open.load(SeqCst) && self.outlet.send_audio(&packet, time) {
            self.counters.audio_packet_sent();
        }
    }
}

/// Tells the canceller what the speaker plays: as the hardware itself took it back where it does, on the clock of the
/// microphones and behind the speaker's volume; as it was sent to the speaker otherwise.
fn hear_speaker(
    chain: &mut CaptureChain,
    own: Option<&[f32]>,
    played: &mut impl Consumer<Item = f32>,
    channels: usize,
) {
    if let Some(own) = own {
        played.clear();
        return chain.playback(own);
    }
    let mut far = [0.0; FRAME * SPEAKER_CHANNELS];
    let far = &mut far[..FRAME * channels.clamp(1, SPEAKER_CHANNELS)];
    while played.occupied_len() >= far.len() {
        played.pop_slice(far);
        chain.playback(far);
    }
}

/// Waits for a device that is away, while the loop counts as turning.
fn wait_for<T>(mut lent: Lent<T>, pulse: &Pulse) -> T {
    loop {
        if let Some(device) = lent.returned() {
            return device;
        }
        pulse.beat(Timestamp::now());
        std::thread::sleep(AWAY);
    }
}

struct Player {
    play_out: PlayOut,
    playing: HashSet<TrackKey>,
    in_step: InStep,
    /// From here to the ear, as the speaker says.
    output: Duration,
    turn: u32,
    switches: Arc<VoiceSwitches>,
    packets: mpsc::Receiver<Play>,
    health: Health,
    pulse: Pulse,
    lender: Lender<Box<dyn Speaker>>,
}

impl Player {
    fn run(mut self, mut speaker: Box<dyn Speaker>, mut reference: impl Producer<Item = f32>) {
        rostrum_board::ask_for_realtime();
        let mut format = speaker.format();
        let mut samples = vec![0.0; format.period_frames * format.channels];
        loop {
            self.pulse.beat(Timestamp::now());
            if let Some(ask) = self.lender.asked() {
                speaker = wait_for(ask.lend(speaker), &self.pulse);
                if speaker.format() != format {
                    format = speaker.format();
                    samples = vec![0.0; format.period_frames * format.channels];
                    self.renew_play_out(&format);
                }
            }
            self.take_packets();
            self.play_out.set_volume(self.switches.volume.load(SeqCst));
            self.keep_in_step();
            let mixed = Timestamp::now();
            self.play_out.mix(&mut samples);
            // A canceller that does not keep up loses the newest: it finds the delay again by itself.
            self.switches.reference_channels.store(format.channels as u8, SeqCst);
            if reference.vacant_len() >= self.play_out.reference().len() {
                reference.push_slice(self.play_out.reference());
            }
            match speaker.write(&samples) {
                Ok(heard) => {
                    self.output = heard.saturating_since(mixed);
                    self.health.healthy();
                }
                Err(SpeakerError::Underrun) => self.health.healthy(),
                Err(error) => {
                    self.health.faulty(error);
                    // Keep the pace, so that nothing piles up for the time when it is back.
                    std::thread::sleep(Duration::from_millis(10));
                }
            }
        }
    }

    /// Another speaker is in its place.
    fn renew_play_out(&mut self, format: &SpeakerFormat) {
        match PlayOut::new(format.channels) {
            Ok(play_out) => self.play_out = play_out,
            // Checked before it came: see `crate::devices`.
            Err(error) => self.health.faulty(error),
        }
    }

    /// Sound waits for a picture that is later.
    fn keep_in_step(&mut self) {
        self.turn = self.turn.wrapping_add(1);
        if !self.turn.is_multiple_of(IN_STEP_TURNS) {
            return;
        }
        let now = Timestamp::now();
        for track in &self.playing {
            let Some(statistics) = self.play_out.statistics(*track) else { continue };
            if let Some(wait) = self.in_step.least_wait(*track, now, statistics.needed, self.output) {
                self.play_out.set_least_wait(*track, wait);
            }
        }
    }

    fn take_packets(&mut self) {
        for play in self.packets.try_iter() {
            match play {
                Play::Packet { track, sequence, rtp_timestamp, opus, arrival } => {
                    self.playing.insert(track);
                    // RTP counts packets in 16 bits (RFC 3550 §5.1).
                    self.play_out.push(track, sequence as u16, rtp_timestamp, &opus, arrival);
                }
                Play::Gone(track) => {
                    self.playing.remove(&track);
                    self.play_out.remove(track);
                }
                Play::Sound(sound, ducking) => {
                    if !self.play_out.notify(sound, ducking) {
                        log::warn!("a sound of the terminal is not played: too many wait");
                    }
                }
                Play::Nobody => self.playing.drain().for_each(|track| self.play_out.remove(track)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rostrum_hal::microphone::{ArrayFormat, Position};

    use super::*;

    /// Sound of a far end that never repeats itself.
    struct Far(u32);

    impl Far {
        fn frame(&mut self) -> [f32; FRAME] {
            std::array::from_fn(|_| {
                self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (f64::from(self.0) / f64::from(u32::MAX) - 0.5) as f32 * 0.4
            })
        }
    }

    /// Echo that the canceller removes, in dB, when the microphone hears nothing but the speaker 5 ms later. The ring
    /// carries another sound than the speaker.
    fn removed_db(hardware_reference: bool) -> anyhow::Result<f32> {
        let format =
            ArrayFormat { rate_hz: 48_000, period_frames: FRAME, geometry: vec![Position::default()] };
        let mut chain = CaptureChain::new(&format, VoiceOptions::default())?;
        let (mut ring, mut played) = HeapRb::<f32>::new(REFERENCE_FRAMES * FRAME).split();
        let (mut speaker, mut elsewhere) = (Far(1), Far(2));
        let mut before = [0.0; FRAME];
        for _ in 0..500 {
            let now = speaker.frame();
            ring.push_slice(&elsewhere.frame());
            hear_speaker(&mut chain, hardware_reference.then_some(&now[..]), &mut played, 1);
            let late = FRAME / 2;
            let heard: Vec<f32> =
                before[late..].iter().chain(&now[..late]).map(|sample| sample * 0.5).collect();
            chain.process(&heard);
            before = now;
        }
        Ok(chain.meters().echo_removed_db.unwrap_or(0.0))
    }

    #[test]
    fn the_canceller_believes_the_hardware_and_not_what_was_sent_to_the_speaker() -> anyhow::Result<()> {
        let (by_hardware, by_ring) = (removed_db(true)?, removed_db(false)?);
        assert!(by_hardware > 15.0, "{by_hardware} dB");
        assert!(by_ring < 3.0, "{by_ring} dB of an echo that nobody told of");
        Ok(())
    }
}
