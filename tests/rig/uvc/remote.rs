//! Commands of tests, on a Unix socket: one line in, one line out. `README.md` lists them.
//!
//! An answer is `ok`, what was asked for, or `error: ` with a reason.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    sync::{Arc, mpsc::Sender},
    thread,
};

use rostrum_hal::Timestamp;

use crate::{
    camera::{Camera, Shared},
    port::Port,
};

/// Longer lines are no commands.
const MAX_LINE: u64 = 4096;

/// A command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Command<'a> {
    Get,
    Set { name: &'a str, value: i64 },
    Stats,
    Log,
    DropEvery(u32),
    Drop(u32),
    StallControls(u32),
    Freeze(bool),
    Unplug,
    Plug { serial: Option<&'a str> },
    Quit,
}

impl<'a> Command<'a> {
    fn parse(line: &'a str) -> Result<Self, String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |text: &str| text.parse::<u32>().map_err(|e| format!("{text}: {e}"));
        match words[..] {
            ["get"] => Ok(Self::Get),
            ["set", name, value] => {
                let value = value.parse().map_err(|e| format!("{value}: {e}"))?;
                Ok(Self::Set { name, value })
            }
            ["stats"] => Ok(Self::Stats),
            ["log"] => Ok(Self::Log),
            ["drop-every", n] => number(n).map(Self::DropEvery),
            ["drop", n] => number(n).map(Self::Drop),
            ["stall-controls", n] => number(n).map(Self::StallControls),
            ["freeze", "on"] => Ok(Self::Freeze(true)),
            ["freeze", "off"] => Ok(Self::Freeze(false)),
            ["unplug"] => Ok(Self::Unplug),
            ["plug"] => Ok(Self::Plug { serial: None }),
            ["plug", serial] => Ok(Self::Plug { serial: Some(serial) }),
            ["quit"] => Ok(Self::Quit),
            _ => Err(format!("no such command: {line}")),
        }
    }
}

/// What commands work on.
pub(crate) struct Remote {
    /// The camera.
    pub(crate) shared: Arc<Shared>,
    /// The port that it is plugged into.
    pub(crate) port: Port,
}

impl Remote {
    /// Answers every client, each in a thread of its own; `quit` gets a message when one wants the program to
    /// end.
    ///
    /// # Errors
    /// When no thread can be started, or when the listener breaks.
    pub(crate) fn serve(self: &Arc<Self>, listener: &UnixListener, quit: &Sender<()>) -> io::Result<()> {
        for client in listener.incoming() {
            let (client, remote, quit) = (client?, self.clone(), quit.clone());
            thread::Builder::new().name("remote".into()).spawn(move || {
                // A client that goes away is not missed.
                let _ = remote.talk(client, &quit);
            })?;
        }
        Ok(())
    }

    fn talk(&self, client: UnixStream, quit: &Sender<()>) -> io::Result<()> {
        let mut writer = client.try_clone()?;
        let mut reader = BufReader::new(client);
        let mut line = Vec::new();
        loop {
            line.clear();
            if (&mut reader).take(MAX_LINE).read_until(b'\n', &mut line)? == 0 {
                return Ok(());
            }
            let text = String::from_utf8_lossy(&line);
            let command = Command::parse(text.trim());
            let wants_end = command == Ok(Command::Quit);
            let answer =
                command.and_then(|command| self.run(command)).unwrap_or_else(|e| format!("error: {e}"));
            writeln!(writer, "{}", answer.replace('\n', " "))?;
            if wants_end {
                // The answer has left; when nobody receives, the program is ending already.
                let _ = quit.send(());
            }
        }
    }

    fn run(&self, command: Command<'_>) -> Result<String, String> {
        let done = match command {
            Command::Plug { serial } => self.port.plug(serial),
            Command::Unplug => self.port.unplug(),
            _ => return self.shared.with(|camera| with_camera(camera, command, Timestamp::now())),
        };
        done.map(|()| "ok".to_owned()).map_err(|e| format!("{e:#}"))
    }
}

/// Commands that do not concern the port.
fn with_camera(camera: &mut Camera, command: Command<'_>, now: Timestamp) -> Result<String, String> {
    let faults = &mut camera.device.faults;
    match command {
        Command::Get => {
            camera.device.advance(now);
            return Ok(camera.device.controls.list());
        }
        Command::Stats => return Ok(statistics(camera)),
        Command::Log => return Ok(camera.device.take_log()),
        Command::Set { name, value } => {
            camera.device.change(name, value, now)?;
            camera.tell();
        }
        Command::DropEvery(n) => faults.drop_every = n,
        Command::Drop(n) => faults.drop_next = n,
        Command::StallControls(n) => faults.stall_controls = n,
        Command::Freeze(on) => faults.frozen = on,
        Command::Plug { .. } | Command::Unplug | Command::Quit => {}
    }
    Ok("ok".to_owned())
}

fn statistics(camera: &Camera) -> String {
    let counters = camera.device.counters;
    format!(
        "frames={} sent={} urbs={} sets={} streaming={} pending={} plugged={}",
        counters.frames,
        counters.sent,
        counters.urbs,
        counters.sets,
        camera.device.is_streaming(),
        camera.waiting_payloads(),
        camera.is_plugged(),
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{
        device::Device,
        format::{Coding, Offer},
        noise::Noise,
    };

    fn camera() -> Camera {
        let offer = Offer::new(vec![Coding::Yuyv], 0);
        Camera::new(Device::new("Camera".into(), "1".into(), offer))
    }

    fn say(camera: &mut Camera, line: &str) -> Result<String, String> {
        Command::parse(line).and_then(|command| with_camera(camera, command, Timestamp::default()))
    }

    #[test]
    fn a_control_is_set_and_got() {
        let mut camera = camera();
        assert_eq!(say(&mut camera, "set pan_abs -7200").unwrap(), "ok");
        let all = say(&mut camera, "get").unwrap();
        assert!(all.split(' ').any(|pair| pair == "pan_abs=-7200"), "{all}");
        assert_eq!(say(&mut camera, "log").unwrap(), "", "the log has what hosts set");
    }

    #[test]
    fn faults_are_injected() {
        let mut camera = camera();
        for line in ["drop-every 3", "drop 2", "stall-controls 1", "freeze on"] {
            assert_eq!(say(&mut camera, line).unwrap(), "ok");
        }
        let faults = camera.device.faults;
        assert_eq!(
            (faults.drop_every, faults.drop_next, faults.stall_controls, faults.frozen),
            (3, 2, 1, true)
        );
    }

    #[test]
    fn statistics_are_told() {
        let expected = "frames=0 sent=0 urbs=0 sets=0 streaming=false pending=0 plugged=false";
        assert_eq!(say(&mut camera(), "stats").unwrap(), expected);
    }

    #[test]
    fn a_serial_number_may_be_given() {
        assert_eq!(Command::parse("plug"), Ok(Command::Plug { serial: None }));
        assert_eq!(Command::parse("plug R2"), Ok(Command::Plug { serial: Some("R2") }));
    }

    #[test]
    fn what_is_no_command_is_refused() {
        let mut camera = camera();
        for line in ["", "freeze", "set zoom_abs", "set zoom_abs x", "set zoom_abs 99", "drop -1", "drop 2 2"]
        {
            assert!(say(&mut camera, line).is_err(), "{line}");
        }
    }

    #[test]
    fn no_line_panics() {
        let mut camera = camera();
        let mut noise = Noise::new(7);
        let words = ["get", "set", "zoom_abs", "opaque", "-9223372036854775808", "stats", "log", "plug", "4"];
        for _ in 0..5_000 {
            let count = noise.below(4);
            let length = noise.below(20);
            let line = match noise.below(2) {
                0 => (0..count).map(|_| words[noise.below(words.len())]).collect::<Vec<_>>().join(" "),
                _ => String::from_utf8_lossy(&noise.bytes(length)).into_owned(),
            };
            let _ = say(&mut camera, &line);
        }
    }
}
