//! Long convolutions by transforms.

use realfft::{RealFftPlanner, num_complex::Complex};

/// `signal` through `response`, as long as `signal`.
pub fn convolve(signal: &[f32], response: &[f32]) -> Vec<f32> {
    let mut out = vec![0.0; signal.len()];
    if response.is_empty() || signal.is_empty() {
        return out;
    }
    let size = (2 * response.len()).next_power_of_two().max(8192);
    let hop = size - response.len() + 1;
    let mut planner = RealFftPlanner::<f32>::new();
    let (forward, inverse) = (planner.plan_fft_forward(size), planner.plan_fft_inverse(size));
    let mut time = vec![0.0; size];
    time[..response.len()].copy_from_slice(response);
    let mut filter = forward.make_output_vec();
    let mut spectrum: Vec<Complex<f32>> = forward.make_output_vec();
    // Lengths are those that the plans gave: they cannot fail.
    let _ = forward.process(&mut time, &mut filter);
    for start in (0..signal.len()).step_by(hop) {
        let block = &signal[start..signal.len().min(start + hop)];
        time.fill(0.0);
        time[..block.len()].copy_from_slice(block);
        let _ = forward.process(&mut time, &mut spectrum);
        for (value, filter) in spectrum.iter_mut().zip(&filter) {
            *value *= filter / size as f32;
        }
        let _ = inverse.process(&mut spectrum, &mut time);
        for (sample, add) in out[start..].iter_mut().zip(&time) {
            *sample += add;
        }
    }
    out
}
