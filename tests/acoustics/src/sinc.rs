//! Samples between samples: a windowed sinc out of a table.

/// Zero crossings on each side.
const HALF: usize = 24;
/// Taps of one interpolation.
pub(crate) const TAPS: usize = 2 * HALF;
/// Places between two samples that are in the table; between those it is interpolated linearly (below -100 dB).
const PHASES: usize = 1024;
/// Kaiser window: stop band -90 dB.
const BETA: f64 = 9.0;

/// The table.
pub(crate) struct Sinc(Vec<[f32; TAPS]>);

impl Sinc {
    /// Passes up to `cutoff` (1.0: half of the sampling rate).
    pub(crate) fn new(cutoff: f64) -> Self {
        let row = |phase: usize| {
            let fraction = phase as f64 / PHASES as f64;
            std::array::from_fn(|tap| {
                let x = tap as f64 - (HALF - 1) as f64 - fraction;
                let inside = 1.0 - (x / HALF as f64).powi(2);
                if inside <= 0.0 {
                    return 0.0;
                }
                let angle = std::f64::consts::PI * x * cutoff;
                let sinc = if angle.abs() < 1e-12 { 1.0 } else { angle.sin() / angle };
                (cutoff * sinc * bessel(BETA * inside.sqrt()) / bessel(BETA)) as f32
            })
        };
        Self((0..=PHASES).map(row).collect())
    }

    /// The two rows around `fraction` (0.0..1.0), and how far between them.
    fn rows(&self, fraction: f64) -> (&[f32; TAPS], &[f32; TAPS], f32) {
        let place = fraction.clamp(0.0, 1.0) * PHASES as f64;
        let row = (place as usize).min(PHASES - 1);
        (&self.0[row], &self.0[row + 1], (place - row as f64) as f32)
    }

    /// The value of `signal` at `place` samples; silence outside.
    pub(crate) fn at(&self, signal: &[f32], place: f64) -> f32 {
        let whole = place.floor();
        let (a, b, between) = self.rows(place - whole);
        let first = whole as i64 - (HALF as i64 - 1);
        let tap = |i: usize| {
            usize::try_from(first + i as i64).ok().and_then(|at| signal.get(at)).copied().unwrap_or(0.0)
        };
        (0..TAPS).map(|i| tap(i) * (a[i] + between * (b[i] - a[i]))).sum()
    }

    /// Adds an impulse of `amplitude` at `place` samples.
    pub(crate) fn add(&self, signal: &mut [f32], place: f64, amplitude: f32) {
        let whole = place.floor();
        // The nearest row is near enough for where a reflection comes from.
        let row = &self.0[((place - whole) * PHASES as f64).round() as usize];
        let first = whole as i64 - (HALF as i64 - 1);
        if let Ok(first) = usize::try_from(first)
            && let Some(place) = signal.get_mut(first..first + TAPS)
        {
            for (sample, tap) in place.iter_mut().zip(row) {
                *sample += amplitude * tap;
            }
            return;
        }
        for (i, tap) in row.iter().enumerate() {
            if let Some(sample) = usize::try_from(first + i as i64).ok().and_then(|at| signal.get_mut(at)) {
                *sample += amplitude * tap;
            }
        }
    }
}

/// Modified Bessel function of the first kind, order 0.
fn bessel(x: f64) -> f64 {
    let mut term = 1.0;
    let mut sum = 1.0;
    for k in 1..60 {
        term *= (x / 2.0 / f64::from(k)).powi(2);
        sum += term;
    }
    sum
}

/// `signal` at another rate: `from_hz` to `to_hz`.
pub fn resample(signal: &[f32], from_hz: f64, to_hz: f64) -> Vec<f32> {
    let step = from_hz / to_hz;
    // Half of the transition band of the window stays below the lower half rate.
    let table = Sinc::new((0.94 / step).min(0.94));
    if step <= 1.0 {
        let length = (signal.len() as f64 / step) as usize;
        return (0..length).map(|i| table.at(signal, i as f64 * step)).collect();
    }
    // A narrower band needs a longer filter: the same table, stretched.
    let stretch = step.ceil();
    let wide = Wide::new(stretch, 0.94 / step);
    let length = (signal.len() as f64 / step) as usize;
    (0..length).map(|i| wide.at(signal, i as f64 * step)).collect()
}

/// A filter computed where it is needed: for the few conversions to lower rates.
struct Wide {
    half: f64,
    cutoff: f64,
}

impl Wide {
    fn new(stretch: f64, cutoff: f64) -> Self {
        Self { half: HALF as f64 * stretch, cutoff }
    }

    fn at(&self, signal: &[f32], place: f64) -> f32 {
        let first = (place - self.half).ceil().max(0.0) as usize;
        let last = ((place + self.half).floor().max(0.0) as usize).min(signal.len().saturating_sub(1));
        let mut sum = 0.0;
        for (at, sample) in signal.iter().enumerate().take(last + 1).skip(first) {
            let x = at as f64 - place;
            let angle = std::f64::consts::PI * x * self.cutoff;
            let sinc = if angle.abs() < 1e-9 { 1.0 } else { angle.sin() / angle };
            // Blackman: cheap, and -74 dB.
            let turn = std::f64::consts::PI * x / self.half;
            let window = 0.42 + 0.5 * turn.cos() + 0.08 * (2.0 * turn).cos();
            sum += f64::from(*sample) * self.cutoff * sinc * window;
        }
        sum as f32
    }
}
