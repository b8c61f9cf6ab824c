//! What is on the front of a terminal: lights, buttons, mute switch, screen.

use std::{collections::BTreeSet, time::Duration};

use rostrum_hal::{
    Frame, FrameData, FrameSize, PixelFormat, Timestamp,
    buttons::{ButtonRole, Buttons},
    display::Display,
    indicator::{Indicator, IndicatorRole, Signal},
    mute_switch::MuteSwitch,
};
use tokio::time::Instant;

use super::{
    PERSON, Test,
    report::{Figure, Outcome},
};

const NOBODY: &str = "nobody is there to do it; use --ask";
/// How long a light or a picture is shown when nobody says that it was seen.
const SHOWN: Duration = Duration::from_millis(200);
const BLINKS: Duration = Duration::from_millis(250);

/// Lights, one by one.
pub(super) async fn lights(test: &mut Test<'_>, lights: Vec<(IndicatorRole, Box<dyn Indicator>)>) {
    if lights.is_empty() {
        return test.over("lights", Outcome::skipped("the board has no lights"), Vec::new());
    }
    for (role, mut light) in lights {
        let name = format!("light {}", format!("{role:?}").to_lowercase());
        test.begins(&name);
        let outcome = Outcome::of(one_light(test, &name, &mut *light).await);
        // A test that failed leaves nothing on; it was told already.
        let _ = light.show(Signal::OFF);
        test.over(&name, outcome, Vec::new());
    }
}

async fn one_light(test: &mut Test<'_>, name: &str, light: &mut dyn Indicator) -> Result<(), Outcome> {
    let signals = [
        ("red", Signal::RED),
        ("green", Signal::GREEN),
        ("red and blinking", Signal::RED.blinking(BLINKS)),
        ("dark", Signal::OFF),
    ];
    for (look, signal) in signals {
        light.show(signal).map_err(|error| {
            Outcome::failed(
                error.to_string(),
                "look at its wires, and at [indicators] of the board's profile",
            )
        })?;
        match test.ask(&format!("Is the {name} {look} (or lit, if it has one colour)?")).await {
            Some(true) => {}
            Some(false) => {
                return Err(Outcome::failed(
                    format!("it is not {look}"),
                    "look at its wires, its colours and active_low in [indicators] of the board's profile",
                ));
            }
            None => tokio::time::sleep(SHOWN).await,
        }
    }
    Ok(())
}

/// Buttons, each of which a person has to press.
pub(super) async fn buttons(test: &mut Test<'_>, buttons: Option<Box<dyn Buttons>>) {
    const NAME: &str = "buttons";
    let Some(mut buttons) = buttons else {
        return test.over(NAME, Outcome::skipped("the board has no buttons"), Vec::new());
    };
    if test.person.is_none() {
        return test.over(NAME, Outcome::skipped(NOBODY), Vec::new());
    }
    test.begins(NAME);
    let mut missing: BTreeSet<ButtonRole> = buttons.present().into_iter().collect();
    let all = missing.len();
    let mut outcome = Outcome::Passed;
    while let Some(wanted) = missing.iter().next().copied() {
        test.please(&format!("Press the button {}.", button(wanted)));
        match pressed(&mut *buttons, wanted).await {
            Ok(()) => missing.remove(&wanted),
            Err(failed) => {
                outcome = failed;
                break;
            }
        };
    }
    test.over(NAME, outcome, vec![Figure::new("pressed", (all - missing.len()) as f64, "")]);
}

async fn pressed(buttons: &mut dyn Buttons, wanted: ButtonRole) -> Result<(), Outcome> {
    let remedy = "look at its wires, and at [buttons] of the board's profile";
    let deadline = Instant::now() + PERSON;
    let mut others = BTreeSet::new();
    loop {
        match tokio::time::timeout_at(deadline, buttons.next()).await {
            Ok(Ok(event)) if event.button == wanted && event.pressed => return Ok(()),
            Ok(Ok(event)) if event.button != wanted => {
                others.insert(button(event.button));
            }
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(Outcome::failed(error.to_string(), remedy)),
            Err(_) => {
                let instead: Vec<_> = others.into_iter().collect();
                let instead =
                    if instead.is_empty() { String::new() } else { format!("; {} came", instead.join(", ")) };
                let problem =
                    format!("{} was not pressed within {} s{instead}", button(wanted), PERSON.as_secs());
                return Err(Outcome::failed(problem, remedy));
            }
        }
    }
}

fn button(role: ButtonRole) -> String {
    match role {
        ButtonRole::Join => "join".into(),
        ButtonRole::Mute => "mute".into(),
        ButtonRole::VolumeUp => "louder".into(),
        ButtonRole::VolumeDown => "quieter".into(),
        other => format!("{other:?}").to_lowercase(),
    }
}

/// The switch that cuts the microphones; `true` when it does at the end.
pub(super) async fn mute_switch(test: &mut Test<'_>, switch: Option<Box<dyn MuteSwitch>>) -> bool {
    const NAME: &str = "mute switch";
    let Some(mut switch) = switch else {
        test.over(NAME, Outcome::skipped("the board has no mute switch"), Vec::new());
        return false;
    };
    test.begins(NAME);
    let failed = |error: rostrum_hal::mute_switch::MuteSwitchError| {
        Outcome::failed(error.to_string(), "look at its wires, and at [mute_switch] of the board's profile")
    };
    let mut is_cut = switch.cut();
    let mut outcome = Outcome::Passed;
    if test.person.is_some() && is_cut.is_ok() {
        for what in ["Move the mute switch.", "Move it back."] {
            test.please(what);
            match tokio::time::timeout(PERSON, switch.moved()).await {
                Ok(moved) => is_cut = moved,
                Err(_) => {
                    let problem = format!("it did not move within {} s", PERSON.as_secs());
                    outcome = Outcome::failed(
                        problem,
                        "look at its wires, and at [mute_switch] of the board's profile",
                    );
                    break;
                }
            }
        }
    }
    match is_cut {
        Ok(is_cut) => {
            test.over(NAME, outcome, vec![Figure::new("cuts", f64::from(u8::from(is_cut)), "")]);
            is_cut
        }
        Err(error) => {
            test.over(NAME, failed(error), Vec::new());
            false
        }
    }
}

/// The screen.
pub(super) async fn display(test: &mut Test<'_>, display: Option<Box<dyn Display>>) {
    const NAME: &str = "display";
    let Some(mut display) = display else {
        return test.over(NAME, Outcome::skipped("the board has no screen"), Vec::new());
    };
    test.begins(NAME);
    let size = display.size();
    let figures = vec![
        Figure::new("width", f64::from(size.width), "px"),
        Figure::new("height", f64::from(size.height), "px"),
    ];
    let outcome = match display.show(bars(size)) {
        Err(error) => Outcome::failed(
            error.to_string(),
            "plug it in, switch it on, look at [display] of the board's profile",
        ),
        Ok(()) => match test.ask("Does the screen show eight upright bars from white to black?").await {
            Some(false) => Outcome::failed(
                "it shows no bars",
                "choose its input; look at [display] of the board's profile",
            ),
            Some(true) => Outcome::Passed,
            None => {
                tokio::time::sleep(SHOWN).await;
                // What went wrong with the first picture is told with the second.
                match display.show(bars(size)) {
                    Ok(()) => Outcome::Passed,
                    Err(error) => {
                        Outcome::failed(error.to_string(), "look at [display] of the board's profile")
                    }
                }
            }
        },
    };
    test.over(NAME, outcome, figures);
}

/// Eight upright bars, from white to black.
fn bars(size: FrameSize) -> Frame {
    let (width, height) = (size.width as usize, size.height as usize);
    let row: Vec<u8> =
        (0..width).map(|x| 235 - u8::try_from(x * 8 / width.max(1) * 31).unwrap_or(219)).collect();
    let mut bytes = row.repeat(height);
    bytes.resize(width * height + 2 * (width / 2) * (height / 2), 128);
    Frame {
        capture_time: Timestamp::now(),
        sequence: 0,
        format: PixelFormat::Yuv420,
        size,
        data: FrameData::Bytes(bytes.into()),
    }
}
