//! What is on the front of a terminal: lights, buttons, mute switch, presence sensor.

use std::{collections::BTreeSet, time::Duration};

use rostrum_hal::{
    buttons::{ButtonRole, Buttons},
    indicator::{Indicator, IndicatorRole, Signal},
    mute_switch::MuteSwitch,
    presence::Presence,
};
use tokio::time::Instant;

use super::{Figure, NOBODY, Outcome, PERSON, Part, SHOWN, Test, outcome_of};

const BLINKS: Duration = Duration::from_millis(250);

/// Lights, one by one.
pub(super) async fn lights(test: &mut Test<'_>, lights: &mut [(IndicatorRole, Box<dyn Indicator>)]) {
    if lights.is_empty() {
        return test.over(Part::Lights.name(), Outcome::skipped("the board has no lights"), Vec::new());
    }
    for (role, light) in lights {
        let name = format!("light {}", format!("{role:?}").to_lowercase());
        test.begins(&name);
        let outcome = outcome_of(one_light(test, &name, &mut **light).await);
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
pub(super) async fn buttons(test: &mut Test<'_>, buttons: Option<&mut dyn Buttons>) {
    const NAME: &str = Part::Buttons.name();
    let Some(buttons) = buttons else {
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
        match pressed(buttons, wanted).await {
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
pub(super) async fn mute_switch(test: &mut Test<'_>, switch: Option<&mut dyn MuteSwitch>) -> bool {
    const NAME: &str = Part::MuteSwitch.name();
    let Some(switch) = switch else {
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

/// The sensor that tells whether somebody is there; a person is.
pub(super) async fn presence(test: &mut Test<'_>, presence: Option<&mut dyn Presence>) {
    const NAME: &str = Part::Presence.name();
    const REMEDY: &str = "look at its wires, its place, and at [presence] of the board's profile";
    let Some(presence) = presence else {
        return test.over(NAME, Outcome::skipped("the board has no presence sensor"), Vec::new());
    };
    test.begins(NAME);
    let mut senses = presence.present();
    if test.person.is_some() && matches!(senses, Ok(false)) {
        test.please("Move in front of the terminal.");
        if let Ok(changed) = tokio::time::timeout(PERSON, presence.changed()).await {
            senses = changed;
        }
    }
    let somebody = |senses: bool| vec![Figure::new("senses somebody", f64::from(u8::from(senses)), "")];
    match senses {
        Ok(false) if test.person.is_some() => {
            let problem = format!("it sensed nobody within {} s", PERSON.as_secs());
            test.over(NAME, Outcome::failed(problem, REMEDY), somebody(false));
        }
        Ok(senses) => test.over(NAME, Outcome::Passed, somebody(senses)),
        Err(error) => test.over(NAME, Outcome::failed(error.to_string(), REMEDY), Vec::new()),
    }
}
