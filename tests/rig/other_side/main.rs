//! The other side of the rig's devices, for tests that have a shell in the guest: what stands before the microphones
//! and the loudspeaker, and a hand on the emulated USB camera.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use alsa::{
    Direction, ValueOr,
    pcm::{Access, Format, HwParams, PCM},
};
use anyhow::{Context, ensure};
use clap::Parser;
use rostrum_rig::UsbCamera;

/// The other side of the rig's devices.
#[derive(Parser)]
enum Command {
    /// Plays the first channel of a WAV file on all channels of a device, again and again.
    Play {
        /// A WAV file of 48 kHz and 16 bits.
        file: PathBuf,
        /// Name of the device, as ALSA has it.
        device: String,
        /// Channels of the device.
        channels: usize,
    },
    /// Records the first channel of a device.
    Record {
        /// Name of the device, as ALSA has it.
        device: String,
        /// Channels of the device.
        channels: usize,
        /// The WAV file to write.
        file: PathBuf,
        /// Length of the recording.
        seconds: u32,
    },
    /// Says a line to the emulated camera at a port of the USB hub, and prints its answer.
    Camera {
        /// Port of the hub.
        port: u32,
        /// The line, as `uvc/README.md` lists them.
        line: Vec<String>,
    },
}

const RATE_HZ: u32 = 48_000;
/// Frames of one period.
const PERIOD: usize = 480;

fn main() -> anyhow::Result<()> {
    match Command::parse() {
        Command::Play { file, device, channels } => play(&file, &device, channels),
        Command::Record { device, channels, file, seconds } => record(&device, channels, &file, seconds),
        Command::Camera { port, line } => say(&UsbCamera::at_port(port).ask(&line.join(" "))?),
    }
}

fn open(device: &str, direction: Direction, channels: usize) -> anyhow::Result<PCM> {
    let pcm = PCM::new(device, direction, false).with_context(|| format!("{device} does not open"))?;
    {
        let hardware = HwParams::any(&pcm)?;
        hardware.set_access(Access::RWInterleaved)?;
        // What the terminal takes first: a loopback has one format on both sides, which whoever comes first chooses.
        hardware.set_format(Format::float())?;
        hardware.set_channels(channels.try_into()?)?;
        hardware.set_rate(RATE_HZ, ValueOr::Nearest)?;
        hardware.set_buffer_size_near(i64::from(RATE_HZ / 5))?;
        pcm.hw_params(&hardware)?;
    }
    Ok(pcm)
}

fn play(file: &Path, device: &str, channels: usize) -> anyhow::Result<()> {
    let mut wav = hound::WavReader::open(file)?;
    ensure!(wav.spec().sample_rate == RATE_HZ && wav.spec().bits_per_sample == 16, "48 kHz and 16 bits");
    let step = usize::from(wav.spec().channels);
    let samples = wav.samples::<i16>().step_by(step).collect::<Result<Vec<_>, _>>()?;
    let mut endless = samples.iter().cycle();
    // Opened anew whenever it fails: an emulated processor is late now and then, and a card goes away and comes back.
    loop {
        if let Ok(pcm) = open(device, Direction::Playback, channels) {
            let io = pcm.io_f32()?;
            loop {
                let period: Vec<f32> = endless
                    .by_ref()
                    .take(PERIOD)
                    .flat_map(|sample| std::iter::repeat_n(f32::from(*sample) / 32_768.0, channels))
                    .collect();
                if io.writei(&period).is_err() && pcm.prepare().is_err() {
                    break;
                }
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn record(device: &str, channels: usize, file: &Path, seconds: u32) -> anyhow::Result<()> {
    let pcm = open(device, Direction::Capture, channels)?;
    let io = pcm.io_f32()?;
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: RATE_HZ,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut wav = hound::WavWriter::create(file, spec)?;
    let (mut samples, mut rest) = (vec![0.0_f32; PERIOD * channels], seconds as usize * RATE_HZ as usize);
    while rest > 0 {
        let Ok(frames) = io.readi(&mut samples) else {
            pcm.prepare()?;
            continue;
        };
        for frame in samples.chunks(channels).take(frames.min(rest)) {
            wav.write_sample((frame[0] * 32_768.0) as i16)?;
        }
        rest -= frames.min(rest);
    }
    Ok(wav.finalize()?)
}

fn say(line: &str) -> anyhow::Result<()> {
    use std::io::Write;
    Ok(writeln!(std::io::stdout(), "{line}")?)
}
