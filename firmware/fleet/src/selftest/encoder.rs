//! The encoder.

use std::{sync::Arc, time::Duration};

use rostrum_hal::{
    Frame, FrameData, FrameSize, PixelFormat, Timestamp,
    encoder::{EncodedFrame, EncoderError, EncoderSettings, VideoEncoderFactory},
};
use tokio::{sync::mpsc, time::Instant};

use super::{Figure, Outcome, Part, Test};

const NAME: &str = Part::Encoder.name();
const SIZE: FrameSize = FrameSize::new(640, 360);
const RATE_HZ: f64 = 30.0;
const BITRATE_BPS: u32 = 800_000;
/// Frames that go in; a key frame is asked for in the middle.
const FRAMES: usize = 90;
const MIDDLE: usize = 45;
/// Frames after which a key frame that was asked for is overdue.
const SOON: usize = 5;
/// Longest time for all of it.
const LIMIT: Duration = Duration::from_secs(20);
/// Longest time for one frame.
const PATIENCE: Duration = Duration::from_millis(500);
/// Parts of the bitrate within which it is obeyed.
const OBEYED: std::ops::RangeInclusive<f64> = 0.3..=1.5;
/// What to do about an encoder that does not work.
const REMEDY: &str =
    "choose another in [encoder] of the board's profile, such as x264enc with the driver gstreamer";

pub(super) async fn check(test: &mut Test<'_>, factory: Option<Arc<dyn VideoEncoderFactory>>) {
    let Some(factory) = factory else {
        return test.over(NAME, Outcome::skipped("the board has no encoder"), Vec::new());
    };
    test.begins(NAME);
    match encode(&*factory).await {
        Ok(coded) => {
            let (outcome, figures) = judge(&coded);
            test.over(NAME, outcome, figures);
        }
        Err(outcome) => test.over(NAME, outcome, Vec::new()),
    }
}

/// What came out.
#[derive(Debug, Default)]
struct Coded {
    /// Number of the picture, bytes, whether it is a key frame.
    frames: Vec<(usize, usize, bool)>,
    /// Longest time from a picture to its code.
    slowest: Duration,
}

impl Coded {
    fn take(&mut self, one: &EncodedFrame, start: Timestamp) {
        let place = one.capture_time.saturating_since(start).as_secs_f64() * RATE_HZ;
        self.frames.push((place.round() as usize, one.data.len(), one.key_frame));
    }
}

async fn encode(factory: &dyn VideoEncoderFactory) -> Result<Coded, Outcome> {
    let failed = |error: EncoderError| Outcome::failed(error.to_string(), REMEDY);
    let (sender, mut receiver) = mpsc::unbounded_channel::<Result<EncodedFrame, EncoderError>>();
    let sink = Box::new(move |frame| {
        let _ = sender.send(frame);
    });
    let settings = EncoderSettings { size: SIZE, frame_rate_hz: RATE_HZ, bitrate_bps: BITRATE_BPS };
    let mut encoder = factory.open(settings, sink).map_err(failed)?;
    let deadline = Instant::now() + LIMIT;
    let start = Timestamp::now();
    let time_of = |number: usize| start + Duration::from_secs_f64(number as f64 / RATE_HZ);
    let mut coded = Coded::default();
    // Frames that an encoder keeps to itself, or loses.
    let mut held_back = 0;
    for number in 0..FRAMES {
        if number == MIDDLE {
            encoder.request_key_frame().map_err(failed)?;
        }
        let frame = picture(number, time_of(number));
        let given = Instant::now();
        while !encoder.submit(&frame).map_err(failed)? {
            if Instant::now() > deadline {
                return Err(Outcome::failed(
                    format!("it took {number} frames in {} s", LIMIT.as_secs()),
                    REMEDY,
                ));
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // One after the other, but for those held back, which is waited for once.
        while coded.frames.len() + held_back <= number {
            match tokio::time::timeout_at((Instant::now() + PATIENCE).min(deadline), receiver.recv()).await {
                Ok(Some(one)) => {
                    coded.take(&one.map_err(failed)?, start);
                    coded.slowest = coded.slowest.max(given.elapsed());
                }
                _ => held_back += 1,
            }
        }
    }
    while coded.frames.len() < FRAMES
        && let Ok(Some(one)) = tokio::time::timeout(PATIENCE, receiver.recv()).await
    {
        coded.take(&one.map_err(failed)?, start);
    }
    Ok(coded)
}

/// A picture that moves, with enough in it to fill the bitrate.
fn picture(number: usize, capture_time: Timestamp) -> Frame {
    let (width, height) = (SIZE.width as usize, SIZE.height as usize);
    let mut bytes = vec![128; width * height * 3 / 2];
    for (y, row) in bytes[..width * height].chunks_exact_mut(width).enumerate() {
        for (x, pixel) in row.iter_mut().enumerate() {
            let (x, y) = (x + number * 3, y + number);
            // Blocks of different shades that drift, with a fine grain.
            let block = ((x / 16) * 37 + (y / 16) * 91) % 160;
            let grain = (x * 7 + y * 13 + (x * y) % 11) % 24;
            *pixel = u8::try_from(32 + block + grain).unwrap_or(u8::MAX);
        }
    }
    Frame {
        capture_time,
        sequence: number as u64,
        format: PixelFormat::Yuv420,
        size: SIZE,
        data: FrameData::Bytes(bytes.into()),
    }
}

fn judge(coded: &Coded) -> (Outcome, Vec<Figure>) {
    let frames = &coded.frames;
    let bytes: usize = frames.iter().map(|(_, bytes, _)| bytes).sum();
    let bitrate_bps = bytes as f64 * 8.0 * RATE_HZ / frames.len().max(1) as f64;
    let figures = vec![
        Figure::new("frames", frames.len() as f64, ""),
        Figure::new("bitrate", bitrate_bps / 1000.0, "kbit/s"),
        Figure::new("asked", f64::from(BITRATE_BPS) / 1000.0, "kbit/s"),
        Figure::new("slowest frame", coded.slowest.as_secs_f64() * 1000.0, "ms"),
    ];
    let key_frame_came =
        frames.iter().any(|(number, _, key)| *key && (MIDDLE..MIDDLE + SOON).contains(number));
    let outcome = if frames.len() * 10 < FRAMES * 9 {
        Outcome::failed(format!("{} of {FRAMES} frames came out", frames.len()), REMEDY)
    } else if !frames.first().is_some_and(|(_, _, key)| *key) {
        Outcome::failed("its first frame is no key frame", REMEDY)
    } else if !key_frame_came {
        Outcome::failed("it gave no key frame when asked for one", REMEDY)
    } else if !OBEYED.contains(&(bitrate_bps / f64::from(BITRATE_BPS))) {
        let problem = format!(
            "its bitrate is {:.0} kbit/s and not {} kbit/s",
            bitrate_bps / 1000.0,
            BITRATE_BPS / 1000
        );
        Outcome::failed(
            problem,
            "correct bitrate of [encoder] in the board's profile: its property, its unit",
        )
    } else {
        Outcome::Passed
    };
    (outcome, figures)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All frames of one size, with key frames at these numbers.
    fn coded(bytes: usize, keys: &[usize]) -> Coded {
        let frames = (0..FRAMES).map(|number| (number, bytes, keys.contains(&number))).collect();
        Coded { frames, slowest: Duration::from_millis(4) }
    }

    fn problem(coded: &Coded) -> String {
        match judge(coded).0 {
            Outcome::Failed { problem, .. } => problem,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn frames_key_frames_and_bitrate_are_judged() {
        // 800 kbit/s at 30 Hz.
        const RIGHT: usize = 3333;
        assert_eq!(judge(&coded(RIGHT, &[0, MIDDLE + 1])).0, Outcome::Passed);
        assert!(problem(&coded(RIGHT, &[0])).contains("no key frame when asked"));
        assert!(problem(&coded(RIGHT, &[0, MIDDLE - 1])).contains("no key frame when asked"));
        assert!(problem(&coded(RIGHT, &[MIDDLE])).contains("first frame"));
        assert!(problem(&coded(RIGHT * 2, &[0, MIDDLE])).contains("its bitrate is 1600 kbit/s"));
        assert!(problem(&coded(RIGHT / 10, &[0, MIDDLE])).contains("bitrate"));
        assert!(problem(&Coded::default()).contains("0 of 90"));
    }
}
