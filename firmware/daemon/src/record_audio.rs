//! `rostrumd record-audio`: asks the running terminal for a recording, and fetches it.

use std::{
    fs::File,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use rostrum_fleet::https::agent;
use rostrum_panel::{ErrorBody, RecordingPhase, VoiceRecording};
use serde_json::{Value, json};

use crate::config::Panel;

/// How long the terminal may take for an answer, and for the files.
const PATIENCE: Duration = Duration::from_secs(60);
/// Time between two questions how it goes.
const LOOK: Duration = Duration::from_millis(200);
/// How much longer than asked for a recording may take: the warnings, and a room that is muted meanwhile.
const LONGER: Duration = Duration::from_secs(150);

/// What to record.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How long, 1 to 120; what is recorded of a room that is not muted counts.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=120))]
    seconds: u16,
    /// The WAV file to make; its description is put beside it, with `json` at its end.
    #[arg(long, default_value = "voice.wav")]
    out: PathBuf,
    /// The running terminal's panel; as the configuration says when absent.
    #[arg(long)]
    panel: Option<String>,
    /// File with the panel's password, where it asks for one.
    #[arg(long)]
    password_file: Option<PathBuf>,
}

/// Records, and says how it goes.
///
/// # Errors
/// What the terminal refused and why, or which file cannot be written.
pub(crate) fn run(options: &Options, panel: &Panel) -> anyhow::Result<()> {
    let mut terminal = Terminal { url: options.panel.clone().unwrap_or_else(|| url_of(panel)), cookie: None };
    if let Some(file) = &options.password_file {
        let password = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
        terminal.log_in(password.trim_end())?;
    }
    // Before anybody is told that they are recorded.
    let out =
        File::create(&options.out).with_context(|| format!("{} cannot be written", options.out.display()))?;
    let recorded = record(&terminal, options.seconds).and_then(|()| fetch(&terminal, options, out));
    // Nothing of it stays on the terminal, however it ended; one that somebody else makes is theirs.
    if !matches!(&recorded, Err(error) if error.is::<Refused>()) {
        let _ = terminal.call("DELETE", "voice/recording", None);
    }
    if recorded.is_err() {
        let _ = std::fs::remove_file(&options.out);
    }
    recorded
}

fn record(terminal: &Terminal, seconds: u16) -> anyhow::Result<()> {
    terminal.call("POST", "voice/recording", Some(&json!({ "seconds": seconds })))?;
    let deadline = Instant::now() + Duration::from_secs(seconds.into()) + LONGER;
    let mut told = None;
    loop {
        let state = terminal.call("GET", "state", None)?;
        let recording: Option<VoiceRecording> = serde_json::from_value(state["recording"].clone())?;
        let recording = recording.context("somebody ended the recording on the panel")?;
        if told != Some(recording.phase) {
            told = Some(recording.phase);
            crate::print(match recording.phase {
                RecordingPhase::Announcing => "The room and the meeting are told that they are recorded ...",
                RecordingPhase::Recording => "Recording ...",
                RecordingPhase::Paused => "The room is muted: nothing is recorded until somebody unmutes it.",
                RecordingPhase::Done => "Fetching what was recorded ...",
                RecordingPhase::Failed => "It failed.",
            })?;
        }
        match recording.phase {
            RecordingPhase::Done => {
                if recording.seconds < f32::from(seconds) {
                    let got = recording.seconds;
                    crate::print(&format!("The room was muted for long: {got:.1} s of {seconds} s."))?;
                }
                return Ok(());
            }
            RecordingPhase::Failed => bail!(recording.problem.unwrap_or_default()),
            _ => ensure!(Instant::now() < deadline, "the recording does not end; see the terminal's journal"),
        }
        std::thread::sleep(LOOK);
    }
}

fn fetch(terminal: &Terminal, options: &Options, mut out: File) -> anyhow::Result<()> {
    let described = options.out.with_extension("json");
    let mut description = File::create(&described).with_context(|| described.display().to_string())?;
    for (path, to) in [("voice/recording.wav", &mut out), ("voice/recording.json", &mut description)] {
        let mut response = terminal.ask("GET", path, None)?;
        io::copy(&mut response.body_mut().as_reader(), to).with_context(|| format!("fetching {path}"))?;
    }
    crate::print(&format!("{} and {}", options.out.display(), described.display()))
}

/// Where the panel of this machine is reached.
fn url_of(panel: &Panel) -> String {
    let mut address = panel.listen;
    match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    format!("http://{address}")
}

/// The terminal said no.
#[derive(Debug, thiserror::Error)]
#[error("{} {}", .0.message, .0.hint)]
struct Refused(ErrorBody);

struct Terminal {
    url: String,
    cookie: Option<String>,
}

impl Terminal {
    fn log_in(&mut self, password: &str) -> anyhow::Result<()> {
        let response = self.ask("POST", "session", Some(&json!({ "password": password })))?;
        let cookie =
            response.headers().get("Set-Cookie").context("the terminal gave no session")?.to_str()?;
        self.cookie = cookie.split(';').next().map(str::to_owned);
        Ok(())
    }

    fn call(&self, method: &str, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let text = self.ask(method, path, body)?.body_mut().read_to_string()?;
        Ok(if text.is_empty() { Value::Null } else { serde_json::from_str(&text)? })
    }

    fn ask(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<ureq::http::Response<ureq::Body>> {
        let url = format!("{}/api/v1/{path}", self.url);
        let mut request = ureq::http::Request::builder().method(method).uri(&url);
        if let Some(cookie) = &self.cookie {
            request = request.header("Cookie", cookie);
        }
        let agent = agent(PATIENCE);
        let response = match body {
            Some(body) => {
                let request = request.header("Content-Type", "application/json").body(body.to_string())?;
                agent.run(agent.configure_request(request).http_status_as_error(false).build())
            }
            None => agent.run(agent.configure_request(request.body(())?).http_status_as_error(false).build()),
        };
        let mut response = response.with_context(|| format!("no terminal runs at {}", self.url))?;
        if !response.status().is_success() {
            let text = response.body_mut().read_to_string()?;
            return Err(match serde_json::from_str(&text) {
                Ok(error) => Refused(error).into(),
                Err(_) => anyhow::anyhow!("{url} answered {}", response.status()),
            });
        }
        Ok(response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panel_that_listens_everywhere_is_asked_on_this_machine() {
        let url = |listen: &str| {
            listen.parse().map(|listen| url_of(&Panel { listen, ..Panel::default() })).unwrap_or_default()
        };
        assert_eq!(url("0.0.0.0:8090"), "http://127.0.0.1:8090");
        assert_eq!(url("[::]:8090"), "http://[::1]:8090");
        assert_eq!(url("192.0.2.7:80"), "http://192.0.2.7:80");
    }
}
