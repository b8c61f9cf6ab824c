//! `rostrumd selftest`: opens the board and lets `fleet` test its parts, while no other rostrumd runs.

use std::{
    io::{BufRead, Write},
    path::Path,
};

use anyhow::bail;
use rostrum_board::{OpenOptions, Profile};
use rostrum_fleet::selftest::{self, Circumstances, Outcome, Part, Parts, Person, Progress, Report};

use crate::config::{Config, Picture};

/// What the command takes.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Ask the person in front of the terminal to look, to press and to move.
    #[arg(long)]
    ask: bool,
    /// Print JSON in the place of a table.
    #[arg(long)]
    json: bool,
    /// Test the board of this profile (name or path) in the place of the configuration's, and no service.
    #[arg(long, value_name = "PROFILE")]
    profile: Option<String>,
    /// Test only these, such as camera,sound,mute_switch; all parts when left out.
    #[arg(long, value_name = "PART", value_delimiter = ',', value_parser = part)]
    only: Vec<Part>,
}

fn part(word: &str) -> Result<Part, String> {
    let all = || Part::ALL.into_iter();
    let named = |part: &Part| part.name().replace(' ', "_");
    all().find(|part| named(part) == word).ok_or_else(|| {
        let names: Vec<_> = all().map(|part| named(&part)).collect();
        format!("there is no such part; there are {}", names.join(", "))
    })
}

/// Tests the board, prints the result, and fails when a part does.
pub(crate) fn run(options: &Options, config: &Path) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let report = runtime.block_on(test(options, config))?;
    crate::print(
        if options.json { serde_json::to_string_pretty(&report)? } else { report.table() }.trim_end(),
    )?;
    let failed = report.checks.iter().filter(|check| matches!(check.outcome, Outcome::Failed { .. })).count();
    if failed > 0 {
        bail!("{failed} of {} parts failed", report.checks.len());
    }
    Ok(())
}

async fn test(options: &Options, config: &Path) -> anyhow::Result<Report> {
    let (profile, open, picture, service) = match &options.profile {
        Some(profile) => {
            let open = OpenOptions { later: true, ..OpenOptions::default() };
            (profile.clone(), open, Picture::default(), None)
        }
        None => {
            let config = Config::load(config)?;
            let open = OpenOptions {
                clip: config.board.clip,
                camera_id: config.board.camera_id,
                udid: config.board.udid,
                later: true,
                ..OpenOptions::default()
            };
            (config.board.profile, open, config.picture, config.service.url)
        }
    };
    let mut board = rostrum_board::open(&Profile::named_or_path(&profile)?, open)?;
    let circumstances = Circumstances {
        wanted: if options.only.is_empty() {
            Part::ALL.into()
        } else {
            options.only.iter().copied().collect()
        },
        picture: super::stream_format(&picture),
        service,
        clock: super::clock(),
        person: options.ask.then(person),
        decode: Some(super::decode()),
    };
    let parts = Parts {
        camera: board.camera.as_deref_mut().map(|camera| camera as _),
        microphones: board.microphones.as_deref_mut().map(|microphones| microphones as _),
        speaker: board.speaker.as_deref_mut().map(|speaker| speaker as _),
        encoder: Some(board.encoder),
        scaler: board.scaler,
        display: board.display.as_deref_mut().map(|display| display as _),
        content_display: board.content_display.as_deref_mut().map(|display| display as _),
        screen_power: board.screen_power.as_deref_mut().map(|power| power as _),
        indicators: &mut board.indicators,
        buttons: board.buttons.as_deref_mut().map(|buttons| buttons as _),
        mute_switch: board.mute_switch.as_deref_mut().map(|switch| switch as _),
        presence: board.presence.as_deref_mut().map(|presence| presence as _),
        watchdog: board.watchdog,
        identity: Some(&mut *board.identity),
    };
    Ok(selftest::run(parts, circumstances, &mut tell).await)
}

/// Says on standard error how it goes, as the result alone is on standard output.
fn tell(progress: Progress<'_>) {
    let mut out = std::io::stderr().lock();
    // Who closed standard error does not want to know.
    let _ = match progress {
        Progress::Begins(name) => writeln!(out, "{name} ..."),
        Progress::Please(what) => writeln!(out, "  {what}"),
        Progress::Over(check) => writeln!(out, "{}", selftest::line(check)),
        _ => Ok(()),
    };
}

/// Who answers on standard input.
fn person() -> Person {
    Box::new(|question| {
        Box::pin(async move {
            let asked = tokio::task::spawn_blocking(move || ask(&question, &mut std::io::stdin().lock()));
            asked.await.unwrap_or(false)
        })
    })
}

/// Asks until there is an answer; who is gone has seen nothing.
fn ask(question: &str, answers: &mut impl BufRead) -> bool {
    loop {
        let mut out = std::io::stderr().lock();
        let _ = write!(out, "  {question} [y/n] ").and_then(|()| out.flush());
        let mut answer = String::new();
        if answers.read_line(&mut answer).unwrap_or(0) == 0 {
            return false;
        }
        match answer.trim().to_lowercase().as_str() {
            "y" | "yes" => return true,
            "n" | "no" => return false,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_is_asked_until_there_is_an_answer() {
        let said = |answers: &str| ask("Is it lit?", &mut answers.as_bytes());
        assert!(said("perhaps\nYes\n") && said("y"));
        assert!(!said("no\ny\n") && !said("") && !said("perhaps\n"));
    }
}
