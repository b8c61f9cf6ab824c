//! The linear part of the way from the speaker to a microphone: what the room does to the sound.
//!
//! A frequency-domain adaptive filter in partitions of 10 ms, each with a Kalman step of its own for each bin
//! (G. Enzner, P. Vary, "Frequency-domain adaptive Kalman filter for acoustic echo control in hands-free
//! telephones", 2006; in partitions: F. Kuech, E. Mabande, G. Enzner, "State-space architecture of the
//! partitioned-block-based acoustic echo controller", 2014). The filter knows how unsure it is of each weight
//! (*doubt*) and how loud the talker is (*noise*), so it learns fast when it knows little and stands still while
//! somebody talks, without any detector. It adds no delay.

use crate::FRAME;
use crate::transform::{BINS, Spectrum, Transform, WINDOW};

/// Doubt of a partition, of the one before it: -19 dB in 200 ms.
const DOUBT_DECAY: f32 = 0.8;
/// Frames with sound from which the start learns how loud echoes are.
const YOUNG: u32 = 30;
/// The most by which echoes may be louder than was expected (power).
const LOUDEST: f32 = 100.0;
/// Below every microphone's own noise, power of a bin.
const FLOOR: f32 = 1e-6;
/// High notes die away in a room: of what is older only bins below 8 kHz are filtered.
const LOW_BINS: usize = 160;
/// Bins in which phases tell of drift: 200 Hz to 8 kHz.
const PHASES: std::ops::Range<usize> = 4..160;

/// How far an echo reaches, and what is thought of it before anything is known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    /// Its length, times 10 ms.
    pub(crate) partitions: usize,
    /// Partitions of which all bins are filtered: high notes die away in a room.
    pub(crate) whole: usize,
    /// Doubt at the start: the power of the echo in a bin, of what was played; less in later partitions, and more where the
    /// first frames say so.
    pub(crate) doubt: f32,
}

/// What the speaker played, as spectra that all microphones share.
pub(crate) struct Far {
    channels: usize,
    extent: Extent,
    /// `[partition][channel]`: a ring whose newest partition is `newest`.
    spectra: Vec<Spectrum>,
    /// Power of each bin of them.
    powers: Vec<[f32; BINS]>,
    newest: usize,
    last: Vec<[f32; WINDOW]>,
    /// Frames since the speaker was heard of.
    silent: usize,
}

impl Far {
    /// For a speaker of `channels`, whose echo has an `extent`.
    pub(crate) fn new(channels: usize, extent: Extent) -> Self {
        let partitions = extent.partitions;
        Self {
            channels,
            extent,
            spectra: vec![Spectrum::zero(); channels * partitions],
            powers: vec![[0.0; BINS]; channels * partitions],
            newest: 0,
            last: vec![[0.0; WINDOW]; channels],
            silent: usize::MAX,
        }
    }

    /// Frames that an echo may last.
    pub(crate) fn partitions(&self) -> usize {
        self.extent.partitions
    }

    /// The next frame, one plane a channel.
    pub(crate) fn push(&mut self, frame: &[[f32; FRAME]], transform: &mut Transform) {
        self.newest = (self.newest + self.extent.partitions - 1) % self.extent.partitions;
        let audible = frame.iter().flatten().any(|sample| sample.abs() > 1e-5);
        self.silent = if audible { 0 } else { self.silent.saturating_add(1) };
        for (channel, (last, plane)) in self.last.iter_mut().zip(frame).enumerate() {
            last.copy_within(FRAME.., 0);
            last[FRAME..].copy_from_slice(plane);
            let place = self.newest * self.channels + channel;
            transform.forward(last, &mut self.spectra[place]);
            self.spectra[place].power(&mut self.powers[place]);
        }
    }

    /// Forgets what was played: another place of the past is played from now on.
    pub(crate) fn clear(&mut self) {
        self.spectra.iter_mut().for_each(Spectrum::clear);
        self.powers.iter_mut().for_each(|power| power.fill(0.0));
        self.last.iter_mut().for_each(|last| last.fill(0.0));
        self.silent = usize::MAX;
    }

    /// Whether it sounds now: something can be learned.
    pub(crate) fn sounds(&self) -> bool {
        self.silent == 0
    }

    /// Whether an echo may still be in the room.
    pub(crate) fn echoes(&self) -> bool {
        self.silent <= self.extent.partitions
    }

    /// All spectra, newest first, in the order of a filter's weights.
    fn each(&self) -> impl Iterator<Item = &Spectrum> {
        let (newer, older) = self.spectra.split_at(self.newest * self.channels);
        older.iter().chain(newer)
    }

    /// Bins of a partition, counted from the newest, that are filtered.
    fn reach(&self, partition: usize) -> usize {
        if partition < self.extent.whole { BINS } else { LOW_BINS }
    }

    /// Their powers, in the same order.
    fn powers(&self) -> impl Iterator<Item = &[f32; BINS]> {
        let (newer, older) = self.powers.split_at(self.newest * self.channels);
        older.iter().chain(newer)
    }
}

/// How fast a filter forgets and believes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// How much of the room is still as it was after a frame.
    keep: f32,
    /// How much of the talker's loudness is.
    noise_memory: f32,
    /// Partitions of an echo that are followed at most.
    partitions: usize,
}

/// For what is sent.
pub(crate) const STEADY: Pace = Pace { keep: 0.998_5, noise_memory: 0.95, partitions: usize::MAX };
/// For the one that runs beside it, to see when the room has changed: in what comes first.
pub(crate) const QUICK: Pace = Pace { keep: 0.995, noise_memory: 0.9, partitions: 16 };

/// From the channels of one [`Far`] to one microphone.
struct Way {
    channels: usize,
    /// `[partition][channel]`.
    weights: Vec<Spectrum>,
    doubt: Vec<[f32; BINS]>,
    first_doubt: f32,
}

impl Way {
    fn new(far: &Far, pace: Pace) -> Self {
        let count = far.channels * far.extent.partitions.min(pace.partitions);
        Self {
            channels: far.channels,
            weights: vec![Spectrum::zero(); count],
            doubt: vec![[0.0; BINS]; count],
            first_doubt: far.extent.doubt,
        }
    }

    fn doubt_all(&mut self) {
        for (i, doubt) in self.doubt.iter_mut().enumerate() {
            doubt.fill(self.first_doubt * DOUBT_DECAY.powi((i / self.channels) as i32));
        }
    }
}

/// The filter of one microphone.
pub(crate) struct Linear {
    pace: Pace,
    ways: Vec<Way>,
    noise: [f32; BINS],
    error: Spectrum,
    /// Of the sum of what is expected, then one over it.
    step: [f32; BINS],
    /// Whose weights were cut last.
    turn: usize,
    young: u32,
    /// Of young frames, each as much as an echo was expected: how loud it was times that, and that squared; and how much
    /// louder echoes are taken to be than at first.
    loudness: [f32; 2],
    louder: f32,
    sum: Spectrum,
    block: [f32; WINDOW],
}

impl Linear {
    /// From all that is in `fars`.
    pub(crate) fn new(fars: &[Far], pace: Pace) -> Self {
        let mut linear = Self {
            pace,
            ways: fars.iter().map(|far| Way::new(far, pace)).collect(),
            noise: [FLOOR; BINS],
            error: Spectrum::zero(),
            step: [0.0; BINS],
            turn: 0,
            young: YOUNG,
            loudness: [0.0; 2],
            louder: 1.0,
            sum: Spectrum::zero(),
            block: [0.0; WINDOW],
        };
        linear.restart();
        linear
    }

    /// Knows nothing.
    pub(crate) fn restart(&mut self) {
        self.ways.iter_mut().flat_map(|way| &mut way.weights).for_each(Spectrum::clear);
        self.noise.fill(FLOOR);
        self.young = YOUNG;
        self.loudness = [0.0; 2];
        self.louder = 1.0;
        self.doubt_all();
    }

    /// Doubts what it knows: the room has changed.
    pub(crate) fn doubt_all(&mut self) {
        self.ways.iter_mut().for_each(Way::doubt_all);
    }

    /// Takes over what `other` knows of the same microphone.
    pub(crate) fn adopt(&mut self, other: &Self) {
        for (way, other) in self.ways.iter_mut().zip(&other.ways) {
            way.weights[..other.weights.len()].clone_from_slice(&other.weights);
            way.doubt[..other.doubt.len()].clone_from_slice(&other.doubt);
        }
        self.young = 0;
    }

    /// Takes the echo out of what one microphone `heard`: what remains (`error`), and what was taken (`echo`).
    pub(crate) fn process(
        &mut self,
        fars: &[Far],
        heard: &[f32; FRAME],
        error: &mut [f32; FRAME],
        echo: &mut [f32; FRAME],
        transform: &mut Transform,
    ) {
        let Some(first) = fars.first() else { return };
        if !first.echoes() {
            *error = *heard;
            echo.fill(0.0);
            transform.forward_half(error, &mut self.error);
            self.hear_noise();
            return;
        }
        self.sum.clear();
        for (far, way) in fars.iter().zip(&self.ways) {
            for (i, (played, weights)) in far.each().zip(&way.weights).enumerate() {
                self.sum.add_product(played, weights, far.reach(i / way.channels));
            }
        }
        transform.inverse(&self.sum, &mut self.block);
        echo.copy_from_slice(&self.block[FRAME..]);
        for ((error, heard), echo) in error.iter_mut().zip(heard).zip(&*echo) {
            *error = heard - echo;
        }
        transform.forward_half(error, &mut self.error);
        if !self.error.is_finite() {
            self.restart();
            *error = *heard;
            echo.fill(0.0);
            return;
        }
        self.hear_noise();
        if first.sounds() {
            self.learn(fars);
            self.cut(transform);
        }
    }

    /// Cuts the weights of one partition to half a window, each in its turn: uncut, they would fold time onto itself.
    fn cut(&mut self, transform: &mut Transform) {
        let count: usize = self.ways.iter().map(|way| way.weights.len()).sum();
        self.turn = (self.turn + 1) % count.max(1);
        let weights = self.ways.iter_mut().flat_map(|way| &mut way.weights).nth(self.turn);
        weights.into_iter().for_each(|weights| transform.cut(weights));
    }

    /// How loud the talker is, whether the speaker sounds or not.
    fn hear_noise(&mut self) {
        for (noise, (re, im)) in self.noise.iter_mut().zip(self.error.re.iter().zip(&self.error.im)) {
            let error = re * re + im * im;
            *noise = (error + self.pace.noise_memory * (*noise - error)).max(FLOOR);
        }
    }

    // By index: seven arrays of one length, in loops that the compiler turns into vector instructions.
    #[allow(clippy::needless_range_loop)]
    fn learn(&mut self, fars: &[Far]) {
        self.step.fill(0.0);
        for (far, way) in fars.iter().zip(&self.ways) {
            for (partition, (power, doubt)) in far.powers().zip(&way.doubt).enumerate() {
                for i in 0..far.reach(partition / way.channels) {
                    self.step[i] += power[i] * doubt[i];
                }
            }
        }
        let scale = if self.young > 0 { self.louder() } else { 1.0 };
        for i in 0..BINS {
            self.step[i] = 1.0 / (scale * self.step[i] + 2.0 * self.noise[i]);
        }
        let keep = self.pace.keep;
        for (far, way) in fars.iter().zip(&mut self.ways) {
            let parts = far.each().zip(far.powers()).zip(&mut way.weights).zip(&mut way.doubt);
            for (partition, (((played, power), weights), doubt)) in parts.enumerate() {
                for i in 0..far.reach(partition / way.channels) {
                    let (re, im) = (played.re[i], played.im[i]);
                    let (error_re, error_im) = (self.error.re[i], self.error.im[i]);
                    let (weight_re, weight_im) = (weights.re[i], weights.im[i]);
                    let gain = scale * doubt[i] * self.step[i];
                    // Half of a window is new: what is learned of a bin is half of what is heard.
                    let known = 0.5 * gain * power[i];
                    let size = weight_re * weight_re + weight_im * weight_im;
                    doubt[i] = keep * (1.0 - known) * scale * doubt[i] + (1.0 - keep) * size;
                    weights.re[i] = weight_re + gain * (re * error_re + im * error_im);
                    weights.im[i] = weight_im + gain * (re * error_im - im * error_re);
                }
            }
        }
    }

    /// At the start: how much louder the echo is than it was thought to be before, as a factor of power. Frames count as
    /// much as an echo is expected in them: what is heard while the speaker is all but silent is no echo.
    fn louder(&mut self) -> f32 {
        self.young -= 1;
        let heard: f32 = self.error.re.iter().zip(&self.error.im).map(|(re, im)| re * re + im * im).sum();
        let expected = self.step.iter().sum::<f32>() / self.louder;
        self.loudness[0] += 2.0 * heard * expected;
        self.loudness[1] += expected * expected;
        let louder = (self.loudness[0] / (self.loudness[1] + FLOOR)).clamp(1.0, LOUDEST);
        let louder = louder.max(self.louder);
        louder / std::mem::replace(&mut self.louder, louder)
    }

    /// How much later than expected, in samples, the echo came in the frame that was just processed, and how
    /// sure that is, 0..=1. `echo` is what was taken.
    ///
    /// A delay of `t` turns a bin at `w` by `-wt`: the error is `-jwt` of the echo, in the bins that the filter
    /// knows.
    pub(crate) fn skew(&mut self, echo: &[f32; FRAME], transform: &mut Transform) -> (f64, f64) {
        transform.forward_half(echo, &mut self.sum);
        let (mut turn, mut weight, mut bins) = (0.0_f32, 1e-9_f32, 0.0_f32);
        for i in PHASES {
            let omega = std::f32::consts::TAU * i as f32 / WINDOW as f32;
            let (echo_re, echo_im) = (self.sum.re[i], self.sum.im[i]);
            let (error_re, error_im) = (self.error.re[i], self.error.im[i]);
            let echo = echo_re * echo_re + echo_im * echo_im;
            let error = error_re * error_re + error_im * error_im;
            let known = echo / (echo + 4.0 * error + 1e-4);
            let known = known * known;
            turn -= known * omega * (error_im * echo_re - error_re * echo_im);
            weight += known * omega * omega * (echo + error);
            bins += known;
        }
        (f64::from(turn / weight), f64::from((bins / 16.0).min(1.0)))
    }
}
