//! Screens: what they show, and their power.

use std::time::Duration;

use rostrum_hal::{
    Frame, FrameData, FrameSize, PixelFormat, Timestamp,
    display::{Display, DisplayError},
    screen_power::{ScreenPower, ScreenPowerError, ScreenState},
};
use tokio::time::Instant;

use super::{Figure, NOBODY, Outcome, Part, Test, outcome_of};

/// How long a screen may take to find out that it shows nothing: its sink starts, and fails with its first picture.
const FOUND_OUT: Duration = Duration::from_secs(3);
const MOMENT: Duration = Duration::from_millis(100);
/// Time that a screen gets to switch.
const SWITCHES: Duration = Duration::from_secs(15);
/// Time between two questions for its state.
const LOOK: Duration = Duration::from_millis(500);

/// One of the screens.
pub(super) async fn display(test: &mut Test<'_>, which: Part, display: Option<&mut dyn Display>) {
    let name = which.name();
    let (none, question) = if which == Part::ContentDisplay {
        (
            "the board has no second screen",
            "Does the second screen show eight upright bars from white to black?",
        )
    } else {
        ("the board has no screen", "Does the screen show eight upright bars from white to black?")
    };
    let Some(display) = display else {
        return test.over(name, Outcome::skipped(none), Vec::new());
    };
    test.begins(name);
    let size = display.size();
    let figures = vec![
        Figure::new("width", f64::from(size.width), "px"),
        Figure::new("height", f64::from(size.height), "px"),
    ];
    let outcome = match display.show(bars(size, PixelFormat::Yuv420)) {
        Err(error) => Outcome::failed(
            error.to_string(),
            "plug it in, switch it on, look at [display] of the board's profile",
        ),
        Ok(()) => match test.ask(question).await {
            Some(false) => Outcome::failed(
                "it shows no bars",
                "choose its input; look at [display] of the board's profile",
            ),
            Some(true) => Outcome::Passed,
            None => match found_out(display).await {
                Ok(()) => Outcome::Passed,
                Err(error) => Outcome::failed(
                    error.to_string(),
                    "plug it in, switch it on, look at [display] of the board's profile",
                ),
            },
        },
    };
    test.over(name, outcome, figures);
}

/// What becomes of a picture that was shown. Some screens tell of the first with the next, others when they are asked.
async fn found_out(display: &mut dyn Display) -> Result<(), DisplayError> {
    tokio::time::sleep(MOMENT).await;
    display.show(bars(display.size(), PixelFormat::Yuv420))?;
    let deadline = Instant::now() + FOUND_OUT;
    loop {
        tokio::time::sleep(MOMENT).await;
        // One that fails at its start may be well by the end.
        let state = display.check();
        if Instant::now() >= deadline {
            return state;
        }
    }
}

/// Standby and back, for a person who looks; without one nobody's screen goes dark, and it only has to answer.
pub(super) async fn power(test: &mut Test<'_>, power: Option<&mut dyn ScreenPower>) {
    const NAME: &str = Part::ScreenPower.name();
    let Some(power) = power else {
        return test.over(NAME, Outcome::skipped("nothing switches the screen"), Vec::new());
    };
    test.begins(NAME);
    let outcome = match tokio::task::block_in_place(|| power.state()) {
        Err(error) => fault(&error),
        Ok(None) if test.person.is_none() => Outcome::skipped(NOBODY),
        Ok(_) if test.person.is_none() => Outcome::Passed,
        Ok(_) => outcome_of(standby_and_back(test, power).await),
    };
    test.over(NAME, outcome, Vec::new());
}

fn fault(error: &ScreenPowerError) -> Outcome {
    Outcome::failed(
        error.to_string(),
        "look at its cable and menu, and at [screen_power] of the board's profile",
    )
}

async fn standby_and_back(test: &mut Test<'_>, power: &mut dyn ScreenPower) -> Result<(), Outcome> {
    for on in [false, true] {
        let (question, remedy) = if on {
            ("Is the screen on again?", "switch it on by its remote control; allow CEC in its menu")
        } else {
            ("Is the screen dark?", "allow CEC in its menu")
        };
        let said = reaches(power, on).await.map_err(|error| fault(&error))?;
        let seen = test.ask(question).await;
        if !on && seen == Some(false) {
            // Half way it is not left.
            let _ = tokio::task::block_in_place(|| power.wake());
        }
        if seen == Some(false) {
            let word = if on { "it does not wake up" } else { "it does not go to standby" };
            let says = if said { ", though it says so" } else { "" };
            return Err(Outcome::failed(format!("{word}{says}"), remedy));
        }
    }
    Ok(())
}

/// Switches, and waits until the screen says that it did; `false` when it never does.
async fn reaches(power: &mut dyn ScreenPower, on: bool) -> Result<bool, ScreenPowerError> {
    let deadline = Instant::now() + SWITCHES;
    tokio::task::block_in_place(|| if on { power.wake() } else { power.standby() })?;
    loop {
        match tokio::task::block_in_place(|| power.state())? {
            Some(ScreenState::On | ScreenState::Waking) if on => return Ok(true),
            Some(ScreenState::Standby) if !on => return Ok(true),
            None => return Ok(false),
            Some(_) if Instant::now() > deadline => return Ok(false),
            Some(_) => tokio::time::sleep(LOOK).await,
        }
    }
}

/// Eight upright bars, from white to black: planar, semi-planar or packed.
pub(super) fn bars(size: FrameSize, format: PixelFormat) -> Frame {
    let (width, height) = (size.width as usize, size.height as usize);
    let row: Vec<u8> =
        (0..width).map(|x| 235 - u8::try_from(x * 8 / width.max(1) * 31).unwrap_or(219)).collect();
    // Grey has no colour, in any layout.
    let bytes = if format == PixelFormat::Yuyv {
        row.iter().flat_map(|brightness| [*brightness, 128]).collect::<Vec<_>>().repeat(height)
    } else {
        let mut bytes = row.repeat(height);
        bytes.resize(width * height + 2 * (width / 2) * (height / 2), 128);
        bytes
    };
    Frame { capture_time: Timestamp::now(), sequence: 0, format, size, data: FrameData::Bytes(bytes.into()) }
}
