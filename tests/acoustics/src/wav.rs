//! WAV files, planar.

use std::path::Path;

use anyhow::Context;

/// All channels of a WAV file at 48 kHz (another rate is resampled).
///
/// # Errors
/// When it is none.
pub fn read(path: &Path) -> anyhow::Result<Vec<Vec<f32>>> {
    let reader = hound::WavReader::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let format = reader.spec();
    let samples: Vec<f32> = match format.sample_format {
        hound::SampleFormat::Float => reader.into_samples::<f32>().collect::<Result<_, _>>()?,
        hound::SampleFormat::Int => {
            let full = 2_f32.powi(i32::from(format.bits_per_sample) - 1);
            reader.into_samples::<i32>().map(|s| s.map(|s| s as f32 / full)).collect::<Result<_, _>>()?
        }
    };
    let channels = usize::from(format.channels.max(1));
    let planes = (0..channels).map(|c| samples.iter().skip(c).step_by(channels).copied().collect::<Vec<_>>());
    let rate = f64::from(format.sample_rate);
    Ok(if rate == crate::room::RATE_HZ {
        planes.collect()
    } else {
        planes.map(|plane| crate::sinc::resample(&plane, rate, crate::room::RATE_HZ)).collect()
    })
}

/// Writes planes as 32-bit floats at 48 kHz.
///
/// # Errors
/// When it cannot be written.
pub fn write(path: &Path, planes: &[Vec<f32>]) -> anyhow::Result<()> {
    let format = hound::WavSpec {
        channels: planes.len() as u16,
        sample_rate: crate::room::RATE_HZ as u32,
        bits_per_sample: 32,
        sample_format: hound::SampleFormat::Float,
    };
    let mut writer =
        hound::WavWriter::create(path, format).with_context(|| format!("cannot write {}", path.display()))?;
    for i in 0..planes.iter().map(Vec::len).min().unwrap_or(0) {
        for plane in planes {
            writer.write_sample(plane[i])?;
        }
    }
    Ok(writer.finalize()?)
}
