//! The camera.

use std::time::Duration;

use rostrum_hal::{
    Frame,
    camera::{Camera, CameraError, StreamFormat},
};
use tokio::time::Instant;

use super::{
    Decode, Figure, Outcome, Part, Test,
    picture::{Glance, are_black, are_frozen, look},
};

const NAME: &str = Part::Camera.name();
/// Frames until a camera has found its exposure.
const WARM_UP: usize = 8;
/// Frames that are judged.
const JUDGED: usize = 40;
/// Longest time for all of it.
const LIMIT: Duration = Duration::from_secs(10);
/// Fewest frames that say something.
const FEWEST: usize = 5;
/// Part of the promised rate that is good enough.
const FAST_ENOUGH: f64 = 0.8;

pub(super) async fn check(
    test: &mut Test<'_>,
    camera: Option<&mut dyn Camera>,
    wanted: StreamFormat,
    decode: Option<Decode>,
) {
    let Some(camera) = camera else {
        return test.over(NAME, Outcome::skipped("the board has no camera"), Vec::new());
    };
    test.begins(NAME);
    let format = match camera.start(wanted).await {
        Ok(format) => format,
        Err(error) => return test.over(NAME, fault(&error), Vec::new()),
    };
    let seen = watch(camera, decode).await;
    let (outcome, figures) = judge(&seen, format);
    test.over(NAME, outcome, figures);
}

fn fault(error: &CameraError) -> Outcome {
    let remedy = match error {
        CameraError::Stalled { .. } => "unplug it and plug it in again; use a shorter cable or another port",
        CameraError::Busy { .. } => "stop the program that uses it, such as a running rostrumd",
        CameraError::NoFormat { .. } => "choose another camera in [camera] of the board's profile",
        _ => "plug it in, or correct [camera] of the board's profile with `rostrumd probe`",
    };
    Outcome::failed(error.to_string(), remedy)
}

/// What was seen.
#[derive(Default)]
struct Seen {
    glances: Vec<Glance>,
    /// Capture times since the first, in seconds.
    times: Vec<f64>,
    /// Numbers of the first and the last frame.
    sequences: Option<(u64, u64)>,
    error: Option<CameraError>,
}

async fn watch(camera: &mut dyn Camera, mut decode: Option<Decode>) -> Seen {
    let deadline = Instant::now() + LIMIT;
    let mut seen = Seen::default();
    let mut first = None;
    let mut number = 0;
    while seen.times.len() < JUDGED {
        let frame: Frame = match tokio::time::timeout_at(deadline, camera.next_frame()).await {
            Err(_) => break,
            Ok(Ok(frame)) => frame,
            Ok(Err(error)) => {
                seen.error = Some(error);
                break;
            }
        };
        number += 1;
        if number <= WARM_UP {
            continue;
        }
        let first = *first.get_or_insert(frame.capture_time);
        seen.times.push(frame.capture_time.saturating_since(first).as_secs_f64());
        seen.sequences = Some((seen.sequences.map_or(frame.sequence, |(first, _)| first), frame.sequence));
        let decoded = decode.as_mut().and_then(|decode| decode(&frame));
        seen.glances.push(look(decoded.as_ref().unwrap_or(&frame)));
    }
    seen
}

fn judge(seen: &Seen, format: StreamFormat) -> (Outcome, Vec<Figure>) {
    let mut figures = vec![
        Figure::new("width", f64::from(format.size.width), "px"),
        Figure::new("height", f64::from(format.size.height), "px"),
        Figure::new("promised", format.frame_rate_hz, "Hz"),
    ];
    if let Some(error) = &seen.error {
        return (fault(error), figures);
    }
    let seconds = seen.times.last().copied().unwrap_or(0.0);
    if seen.times.len() < FEWEST || seconds <= 0.0 {
        let problem = format!("it gave {} frames in {} s", seen.times.len(), LIMIT.as_secs());
        return (Outcome::failed(problem, "unplug it and plug it in again"), figures);
    }
    let frames = seen.times.len() - 1;
    let rate_hz = frames as f64 / seconds;
    let (first, last) = seen.sequences.unwrap_or_default();
    let lost = last.saturating_sub(first).saturating_sub(frames as u64);
    figures.push(Figure::new("rate", rate_hz, "Hz"));
    figures.push(Figure::new("lost", lost as f64, "frames"));
    if let Some(brightness) = seen.glances.last().and_then(|glance| glance.brightness) {
        figures.push(Figure::new("brightness", f64::from(brightness) / 2.55, "%"));
    }
    let outcome = if are_black(&seen.glances) {
        Outcome::failed("its picture is black", "open its cover, switch the light on")
    } else if are_frozen(&seen.glances) {
        Outcome::failed("its picture is frozen", "unplug it and plug it in again; renew its firmware")
    } else if rate_hz < format.frame_rate_hz * FAST_ENOUGH {
        let problem =
            format!("it gives {rate_hz:.1} frames a second and promised {:.1}", format.frame_rate_hz);
        Outcome::failed(problem, "give it more light, a faster USB port, or ask for a smaller picture")
    } else {
        Outcome::Passed
    };
    (outcome, figures)
}

#[cfg(test)]
mod tests {
    use rostrum_hal::{FrameData, FrameSize, PixelFormat, Timestamp};

    use super::*;

    const FORMAT: StreamFormat =
        StreamFormat { pixel_format: PixelFormat::Yuv420, size: FrameSize::new(4, 4), frame_rate_hz: 30.0 };

    /// Pictures of one brightness each, so many a second.
    fn seen(brightness: impl Fn(u8) -> u8, rate_hz: f64) -> Seen {
        let glance = |number| {
            look(&Frame {
                capture_time: Timestamp::default(),
                sequence: 0,
                format: PixelFormat::Yuv420,
                size: FORMAT.size,
                data: FrameData::Bytes(vec![brightness(number); 24].into()),
            })
        };
        Seen {
            glances: (0..20).map(glance).collect(),
            times: (0..20).map(|number| f64::from(number) / rate_hz).collect(),
            sequences: Some((8, 30)),
            error: None,
        }
    }

    fn problem(seen: &Seen) -> String {
        match judge(seen, FORMAT).0 {
            Outcome::Failed { problem, .. } => problem,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn pictures_that_change_in_time_pass_and_lost_ones_are_counted() {
        let (outcome, figures) = judge(&seen(|number| 100 + number, 29.0), FORMAT);
        assert_eq!(outcome, Outcome::Passed);
        assert!(figures.contains(&Figure::new("rate", 29.0, "Hz")), "{figures:?}");
        assert!(figures.contains(&Figure::new("lost", 3.0, "frames")), "{figures:?}");
    }

    #[test]
    fn what_is_black_frozen_slow_or_not_there_is_told() {
        assert!(problem(&seen(|number| 16 + number % 4, 30.0)).contains("black"));
        assert!(problem(&seen(|_| 100, 30.0)).contains("frozen"));
        assert!(problem(&seen(|number| 100 + number, 15.0)).contains("15.0 frames a second"));
        assert!(problem(&Seen::default()).contains("gave 0 frames"));
    }
}
