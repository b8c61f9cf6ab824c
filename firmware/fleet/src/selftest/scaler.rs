//! The scaler.

use std::sync::Arc;

use rostrum_hal::{
    FrameSize, PixelFormat,
    scaler::{ScalerSettings, VideoScalerFactory},
};

use super::{Figure, Outcome, Part, Test, picture::look, screen::bars};

const NAME: &str = Part::Scaler.name();
const FROM: FrameSize = FrameSize::new(640, 360);
const TO: FrameSize = FrameSize::new(320, 180);
/// The picture's brightness is that of the original within this, of 255.
const SAME: u8 = 6;
const REMEDY: &str = "leave [scaler] out of the board's profile: the processor scales then";

pub(super) async fn check(test: &mut Test<'_>, factory: Option<Arc<dyn VideoScalerFactory>>) {
    let Some(factory) = factory else {
        return test.over(NAME, Outcome::skipped("the board has no scaler"), Vec::new());
    };
    test.begins(NAME);
    let scaled = tokio::task::block_in_place(|| scale(&*factory));
    let (outcome, figures) = match scaled {
        Ok(milliseconds) => (Outcome::Passed, vec![Figure::new("time", milliseconds, "ms")]),
        Err(outcome) => (outcome, Vec::new()),
    };
    test.over(NAME, outcome, figures);
}

/// Scales one picture and gives the milliseconds that it took.
fn scale(factory: &dyn VideoScalerFactory) -> Result<f64, Outcome> {
    let formats = [PixelFormat::Yuv420, PixelFormat::Nv12, PixelFormat::Yuyv];
    let takes = formats.into_iter().find(|format| factory.takes(*format));
    let gives = formats.into_iter().find(|format| factory.gives(*format));
    let (Some(takes), Some(format)) = (takes, gives) else {
        return Err(Outcome::failed("it takes or gives no layout that is known", REMEDY));
    };
    let failed = |error: rostrum_hal::scaler::ScalerError| Outcome::failed(error.to_string(), REMEDY);
    let original = bars(FROM, takes);
    let mut scaler = factory.open(ScalerSettings { format, size: TO }).map_err(failed)?;
    // The first takes longer.
    scaler.scale(&original).map_err(failed)?;
    let begin = std::time::Instant::now();
    let Some(scaled) = scaler.scale(&original).map_err(failed)? else {
        return Err(Outcome::failed("it has no free buffer", REMEDY));
    };
    let time = begin.elapsed();
    if scaled.size != TO {
        return Err(Outcome::failed(format!("it gave {} and not {TO}", scaled.size), REMEDY));
    }
    let brightness = |frame| look(frame).brightness.unwrap_or(0);
    let (was, is) = (brightness(&original), brightness(&scaled));
    if was.abs_diff(is) > SAME {
        return Err(Outcome::failed(format!("its picture has the brightness {is} and not {was}"), REMEDY));
    }
    Ok(time.as_secs_f64() * 1000.0)
}
