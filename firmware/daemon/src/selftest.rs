//! `rostrumd selftest`: opens the board and lets `fleet` test its parts, while no meeting runs.

use std::{
    io::{BufRead, Write},
    path::Path,
    time::SystemTime,
};

use anyhow::bail;
use rostrum_board::{OpenOptions, Profile};
use rostrum_fleet::selftest::{self, Circumstances, Clock, Decode, Outcome, Parts, Person, Progress, Report};
use rostrum_hal::{FrameSize, PixelFormat, camera::StreamFormat};
use rostrum_media::MjpegDecoder;
use rostrum_rtc::config::load;

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
            let config: Config = load(config)?;
            let open = OpenOptions {
                clip: config.board.clip,
                camera_id: config.board.camera_id,
                udid: config.board.udid,
                seed: None,
                later: true,
            };
            (config.board.profile, open, config.picture, Some(config.service.url))
        }
    };
    let board = rostrum_board::open(&Profile::named_or_path(&profile)?, open)?;
    let circumstances = Circumstances {
        picture: StreamFormat {
            pixel_format: PixelFormat::Yuv420,
            size: FrameSize::new(picture.width, picture.height),
            frame_rate_hz: picture.frame_rate_hz,
        },
        service,
        clock: Clock { now: SystemTime::now(), is_synchronised: rostrum_board::clock_is_synchronised() },
        person: options.ask.then(person),
        decode: Some(decode()),
    };
    let parts = Parts {
        camera: board.camera,
        microphones: board.microphones,
        speaker: board.speaker,
        encoder: board.encoder,
        display: board.display,
        indicators: board.indicators,
        buttons: board.buttons,
        mute_switch: board.mute_switch,
        watchdog: board.watchdog,
        identity: board.identity,
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
        Progress::Over(check) => writeln!(out, "{check}"),
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

fn decode() -> Decode {
    let mut decoder = MjpegDecoder::new();
    Box::new(move |frame| {
        (frame.format == PixelFormat::Mjpeg).then(|| decoder.decode(&frame.in_memory()).ok()).flatten()
    })
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
