//! A terminal that holds a key of its own and no other secret: registered, it joins; forgotten, it does not any more
#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use rostrum_tests::{
    Browser, Lab,
    lab::{CHANNEL, PATIENCE},
    until,
};
use serde_json::{Value, json};
use xtask::{paths, process::Running, room::Panel};

/// A terminal named `T-1` whose key is where `key` says.
struct Keyed {
    config: PathBuf,
    /// For the token in software.
    softhsm: PathBuf,
    dir: PathBuf,
}

impl Keyed {
    fn new(lab: &Lab, key: &str) -> Self {
        let dir = lab.dir().join("keyed");
        fs::create_dir_all(&dir).unwrap();
        let config = dir.join("rostrumd.toml");
        let text = format!(
            "data_dir = {:?}\n[service]\nurl = \"{}\"\nchannel = \"{CHANNEL}\"\nuser = \"room\"\n{key}\n\
             [board]\nprofile = \"virtual\"\nudid = \"T-1\"\n[panel]\nlisten = \"127.0.0.1:0\"\n",
            dir.join("data"),
            lab.service.url,
        );
        fs::write(&config, text).unwrap();
        Self { config, softhsm: dir.join("softhsm2.conf"), dir }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(paths::program("debug", "rostrumd"));
        command.arg("--config").arg(&self.config).env("SOFTHSM2_CONF", &self.softhsm);
        command
    }

    /// What `rostrumd device-key` prints, or why it does not.
    fn key(&self, arguments: &[&str]) -> Result<String, String> {
        let output = self.command().arg("device-key").args(arguments).output().unwrap();
        let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() { Ok(said(&output.stdout)) } else { Err(said(&output.stderr)) }
    }

    fn start(&self) -> (Running, Panel) {
        let mut program = Running::start("rostrumd", self.dir.join("log"), &mut self.command()).unwrap();
        let url = program
            .line(Duration::from_secs(30), |line| {
                line.strip_prefix("rostrumd ready panel=").map(str::to_owned)
            })
            .unwrap();
        (program, Panel::at(url))
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }
}

fn register(lab: &Lab, registration: &Value) -> anyhow::Result<Value> {
    lab.service.api("PUT", "/api/v1/devices/T-1", Some(registration))
}

fn wait_for_log(room: &Keyed, words: &str) {
    until(words, PATIENCE, || Ok(room.log().contains(words).then_some(())))
        .unwrap_or_else(|error| panic!("{error}: {}", room.log()));
}

/// Made, unknown, registered, in the meeting, forgotten, out.
fn live_by_the_key(lab: &Lab, room: &Keyed) {
    let absent = room.key(&[]).unwrap_err();
    assert!(absent.contains("device-key --make"), "{absent}");
    let line = room.key(&["--make"]).unwrap();
    assert_eq!(room.key(&[]).unwrap(), line);
    let exists = room.key(&["--make"]).unwrap_err();
    assert!(exists.contains("already"), "{exists}");

    // Unknown, it is told what to do, and joins by itself as soon as it was done.
    let (_program, panel) = room.start();
    panel.api("POST", "/join", Some(&json!({}))).unwrap();
    wait_for_log(room, "does not know the terminal by that key");
    register(lab, &json!({"public_key": line})).unwrap();
    panel
        .wait_for("the room in its channel", PATIENCE, |state| state["room"]["phase"] == "in_channel")
        .unwrap();
    let channel = lab.service.api("GET", &format!("/api/v1/channels/{CHANNEL}"), None).unwrap();
    assert_eq!(channel["participants"][0]["udid"], "T-1", "{channel}");
    let mut browser = Browser::start(lab.dir()).unwrap();
    browser.open("guest", &lab.guest_link("Ada").unwrap()).unwrap();
    until("the room's picture", PATIENCE, || Ok(browser.picture("guest", "room")?.bar())).unwrap();
    // Its token invites guests as well.
    panel.wait_for("a link for guests", PATIENCE, |state| state["guest_link"].is_string()).unwrap();

    panel.api("POST", "/leave", None).unwrap();
    panel.wait_for("the room alone", PATIENCE, |state| state["room"]["phase"] == "idle").unwrap();
    lab.service.api("DELETE", "/api/v1/devices/T-1", None).unwrap();
    let before = room.log().matches("does not know the terminal").count();
    panel.api("POST", "/join", Some(&json!({}))).unwrap();
    until("the refusal", PATIENCE, || {
        Ok((room.log().matches("does not know the terminal").count() > before).then_some(()))
    })
    .unwrap();
    assert_ne!(panel.state().unwrap()["room"]["phase"], "in_channel");
}

#[test]
fn a_key_in_a_file() {
    let lab = Lab::new().unwrap();
    let file = lab.dir().join("device-key.pem");
    let room = Keyed::new(&lab, &format!("device_key = {{ file = {file:?} }}"));
    live_by_the_key(&lab, &room);
    let devices = fs::read_to_string(lab.dir().join("service/devices.json")).unwrap();
    let secret = fs::read_to_string(&file).unwrap();
    assert!(!devices.contains(secret.lines().nth(1).unwrap()), "{devices}");
}

#[test]
fn a_key_in_a_pkcs11_token() {
    let lab = Lab::new().unwrap();
    let pin = lab.dir().join("pin");
    fs::write(&pin, "246810\n").unwrap();
    fs::set_permissions(&pin, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let module = "/usr/lib/softhsm/libsofthsm2.so";
    let room = Keyed::new(
        &lab,
        &format!(
            "[service.device_key.pkcs11]\nmodule = {module:?}\ntoken = \"rostrum\"\npin_file = {pin:?}\n"
        ),
    );
    make_token(&room.softhsm, &room.dir);
    live_by_the_key(&lab, &room);
    // A wrong PIN is told as one.
    fs::write(&pin, "0000\n").unwrap();
    let wrong = room.key(&[]).unwrap_err();
    assert!(wrong.contains("is the PIN in"), "{wrong}");
}

fn make_token(config: &Path, dir: &Path) {
    let tokens = dir.join("tokens");
    fs::create_dir_all(&tokens).unwrap();
    fs::write(config, format!("directories.tokendir = {}\nlog.level = ERROR\n", tokens.display())).unwrap();
    let made = Command::new("softhsm2-util")
        .args(["--init-token", "--free", "--label", "rostrum", "--so-pin", "135791", "--pin", "246810"])
        .env("SOFTHSM2_CONF", config)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

#[test]
fn a_registration_binds_a_terminal_to_its_channels_and_its_user() {
    let lab = Lab::new().unwrap();
    let file = lab.dir().join("device-key.pem");
    let room = Keyed::new(&lab, &format!("device_key = {{ file = {file:?} }}"));
    let line = room.key(&["--make"]).unwrap();
    register(&lab, &json!({"public_key": line, "channels": ["elsewhere"]})).unwrap();
    let (_program, panel) = room.start();
    panel.api("POST", "/join", Some(&json!({}))).unwrap();
    wait_for_log(&room, "may not join that channel");
    register(&lab, &json!({"public_key": line, "channels": [CHANNEL], "user": "room"})).unwrap();
    panel
        .wait_for("the room in its channel", PATIENCE, |state| state["room"]["phase"] == "in_channel")
        .unwrap();

    for (wrong, status) in [
        (json!({"public_key": "AAAA"}), "400"),
        (json!({"public_key": line, "channels": ["a room"]}), "400"),
        (json!({"public_key": line, "chanels": []}), "400"),
    ] {
        let error = register(&lab, &wrong).unwrap_err().to_string();
        assert!(error.contains(status), "{error}");
    }
    let listed = lab.service.api("GET", "/api/v1/devices", None).unwrap();
    assert_eq!(listed[0]["public_key"], line.as_str(), "{listed}");
    assert_eq!((&listed[0]["user"], &listed[0]["channels"][0]), (&json!("room"), &json!(CHANNEL)));
}

#[test]
fn a_key_that_is_sealed_to_its_machine_is_opened_by_systemd_alone() {
    let lab = Lab::new().unwrap();
    let opened = lab.dir().join("opened");
    let room = Keyed::new(&lab, &format!("device_key = {{ file = {opened:?} }}"));
    let (sealed, secret) = (room.dir.join("device-key.cred"), room.dir.join("secret"));
    let seal = || {
        let mut command = room.command();
        // The secret of an installation, in the place of this machine's own.
        command
            .env("SYSTEMD_CREDENTIAL_SECRET", &secret)
            .args(["device-key", "--make", "--seal"])
            .arg(&sealed);
        command.output().unwrap()
    };
    let made = seal();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let line = String::from_utf8(made.stdout).unwrap().trim().to_owned();
    let text = fs::read_to_string(&sealed).unwrap();
    assert!(!text.contains("PRIVATE") && fs::metadata(&sealed).unwrap().len() > 200, "{text}");
    assert!(!seal().status.success() && fs::read_to_string(&sealed).unwrap() == text, "it made another one");

    // As systemd does it for the unit.
    let open = |name: &str| {
        let mut creds = Command::new("systemd-creds");
        creds.env("SYSTEMD_CREDENTIAL_SECRET", &secret).args(["decrypt", &format!("--name={name}")]);
        creds.arg(&sealed).arg("-").output().unwrap()
    };
    assert!(!open("another").status.success(), "it opens under another name");
    fs::write(&opened, open("device-key").stdout).unwrap();
    fs::set_permissions(&opened, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    assert_eq!(room.key(&[]).unwrap(), line);
}
