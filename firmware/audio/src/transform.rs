//! Fourier transforms of two frames, with real and imaginary parts apart so that loops over them vectorise.

use crate::FRAME;
use realfft::num_complex::Complex;
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};
use std::sync::Arc;

/// Samples of a transform: 20 ms.
pub(crate) const WINDOW: usize = 2 * FRAME;
/// Bins from 0 to 24 kHz, 50 Hz apart.
pub(crate) const BINS: usize = WINDOW / 2 + 1;

/// One spectrum: bins of 50 Hz, unscaled (a full-scale sine is some 480 high).
#[derive(Clone, Debug)]
pub(crate) struct Spectrum {
    pub(crate) re: [f32; BINS],
    pub(crate) im: [f32; BINS],
}

impl Spectrum {
    pub(crate) const fn zero() -> Self {
        Self { re: [0.0; BINS], im: [0.0; BINS] }
    }

    pub(crate) fn clear(&mut self) {
        self.re.fill(0.0);
        self.im.fill(0.0);
    }

    /// Whether all bins are numbers.
    pub(crate) fn is_finite(&self) -> bool {
        // Sums of infinities and of what is no number are no numbers.
        self.re.iter().chain(&self.im).map(|x| x * 0.0).sum::<f32>() == 0.0
    }

    /// Power of each bin.
    pub(crate) fn power(&self, to: &mut [f32; BINS]) {
        for ((to, re), im) in to.iter_mut().zip(&self.re).zip(&self.im) {
            *to = re * re + im * im;
        }
    }

    /// Adds `a` times `b` in the lowest `bins`.
    pub(crate) fn add_product(&mut self, a: &Self, b: &Self, bins: usize) {
        let Self { re, im } = self;
        for i in 0..bins.min(BINS) {
            re[i] += a.re[i] * b.re[i] - a.im[i] * b.im[i];
            im[i] += a.re[i] * b.im[i] + a.im[i] * b.re[i];
        }
    }
}

/// The transform there and back, and the memory that it needs.
pub(crate) struct Transform {
    forward: Arc<dyn RealToComplex<f32>>,
    inverse: Arc<dyn ComplexToReal<f32>>,
    bins: Vec<Complex<f32>>,
    scratch: Vec<Complex<f32>>,
    time: [f32; WINDOW],
}

impl Transform {
    pub(crate) fn new() -> Self {
        let mut planner = RealFftPlanner::new();
        let (forward, inverse) = (planner.plan_fft_forward(WINDOW), planner.plan_fft_inverse(WINDOW));
        let scratch = forward.get_scratch_len().max(inverse.get_scratch_len());
        Self {
            forward,
            inverse,
            bins: vec![Complex::default(); BINS],
            scratch: vec![Complex::default(); scratch],
            time: [0.0; WINDOW],
        }
    }

    /// The spectrum of `time`.
    pub(crate) fn forward(&mut self, time: &[f32; WINDOW], to: &mut Spectrum) {
        self.time = *time;
        self.forward_kept(to);
    }

    fn forward_kept(&mut self, to: &mut Spectrum) {
        let done = self.forward.process_with_scratch(&mut self.time, &mut self.bins, &mut self.scratch);
        debug_assert!(done.is_ok(), "all lengths are fixed");
        for ((re, im), bin) in to.re.iter_mut().zip(&mut to.im).zip(&self.bins) {
            (*re, *im) = (bin.re, bin.im);
        }
    }

    /// The spectrum of a frame that follows a frame of silence.
    pub(crate) fn forward_half(&mut self, frame: &[f32; FRAME], to: &mut Spectrum) {
        self.time[..FRAME].fill(0.0);
        self.time[FRAME..].copy_from_slice(frame);
        self.forward_kept(to);
    }

    /// Leaves of a filter what acts within a frame.
    pub(crate) fn cut(&mut self, filter: &mut Spectrum) {
        let mut time = [0.0; WINDOW];
        self.inverse(filter, &mut time);
        self.time[..FRAME].copy_from_slice(&time[..FRAME]);
        self.time[FRAME..].fill(0.0);
        self.forward_kept(filter);
    }

    /// The samples of `from`, scaled so that there and back changes nothing.
    pub(crate) fn inverse(&mut self, from: &Spectrum, time: &mut [f32; WINDOW]) {
        const SCALE: f32 = 1.0 / WINDOW as f32;
        for ((bin, re), im) in self.bins.iter_mut().zip(&from.re).zip(&from.im) {
            *bin = Complex::new(re * SCALE, im * SCALE);
        }
        // The lowest and the highest bin of real samples are real.
        self.bins[0].im = 0.0;
        self.bins[BINS - 1].im = 0.0;
        let done = self.inverse.process_with_scratch(&mut self.bins, time, &mut self.scratch);
        debug_assert!(done.is_ok(), "all lengths are fixed");
    }
}
