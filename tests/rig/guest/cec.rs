//! Driver `cec` on `vivid`'s HDMI output, whose input is a television: `cec-follower` of v4l-utils.
#![allow(clippy::unwrap_used)]

use std::{
    fs::File,
    process::{Child, Command, Stdio},
};

use rostrum_hal::screen_power::{ScreenPower, ScreenPowerError, ScreenState};
use rostrum_rig::{open_board, until};

/// Ends of `vivid`'s cable: the television's and ours; players that other people plugged in.
const TELEVISION: &str = "/dev/cec0";
const OURS: &str = "/dev/cec1";
const OTHERS: [&str; 3] = ["/dev/cec2", "/dev/cec3", "/dev/cec4"];
const SEEN: &str = "/tmp/television.log";

fn cec_ctl(node: &str, arguments: &[&str]) -> String {
    let output = Command::new("cec-ctl").args(["-d", node]).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "cec-ctl {arguments:?}: {said}");
    said
}

/// A television that is plugged in; without mains when it is dropped.
struct Television(Child);

impl Television {
    fn plug_in() -> Self {
        let is_television = || cec_ctl(TELEVISION, &["--tv"]).contains(": 0 (TV)").then_some(());
        until("a place for the television", is_television).unwrap();
        let log = File::create(SEEN).unwrap();
        let mut follower = Command::new("cec-follower");
        let follower = follower.args(["-d", TELEVISION, "--show-msgs"]).stdin(Stdio::null());
        let errors = log.try_clone().unwrap();
        Self(follower.stdout(log).stderr(errors).spawn().unwrap())
    }
}

impl Drop for Television {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
        cec_ctl(TELEVISION, &["--clear"]);
    }
}

fn power() -> Box<dyn ScreenPower> {
    power_of("Rig room")
}

fn power_of(name: &str) -> Box<dyn ScreenPower> {
    let section = format!("[screen_power]\ndriver = \"cec\"\ndevice = \"{OURS}\"\nosd_name = \"{name}\"\n");
    open_board(&section).unwrap().screen_power.unwrap()
}

/// The HDMI input, which is the second, without what it tells an output, as when the cable is pulled; plugged in again when it is dropped.
struct Unplugged(String);

impl Unplugged {
    fn pull() -> Self {
        let mut devices = std::fs::read_dir("/sys/class/video4linux").unwrap().flatten();
        let is_input = |folder: &std::fs::DirEntry| {
            let name = std::fs::read_to_string(folder.path().join("name")).unwrap_or_default();
            name.starts_with("vivid") && name.trim_end().ends_with("vid-cap")
        };
        let folder = devices.find(is_input).unwrap().file_name();
        let pulled = Self(format!("/dev/{}", folder.to_str().unwrap()));
        pulled.edid("--clear-edid=1");
        pulled
    }

    fn edid(&self, argument: &str) {
        let output = Command::new("v4l2-ctl").args(["-d", &self.0, argument]).output().unwrap();
        assert!(output.status.success(), "{argument}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Drop for Unplugged {
    fn drop(&mut self) {
        self.edid("--set-edid=pad=1,type=hdmi");
    }
}

/// Waits until the television says what it does and `wanted` agrees; else tells what it said, and how both ends are.
fn wait_for_answer(power: &mut Box<dyn ScreenPower>, wanted: impl Fn(Option<ScreenState>) -> bool) {
    let mut last = None;
    let answered = until("an answer", || {
        let said = power.state();
        let is_wanted = said.as_ref().is_ok_and(|state| wanted(*state));
        last = Some(said);
        is_wanted.then_some(())
    });
    if answered.is_err() {
        let (television, ours) = (cec_ctl(TELEVISION, &[]), cec_ctl(OURS, &[]));
        let seen = std::fs::read_to_string(SEEN).unwrap_or_default();
        panic!("{last:?}\ntelevision: {television}\nours: {ours}\nthe television saw: {seen}");
    }
}

fn answer(power: &mut Box<dyn ScreenPower>) {
    wait_for_answer(power, |_| true);
}

fn wait_for(power: &mut Box<dyn ScreenPower>, wanted: ScreenState) {
    wait_for_answer(power, |state| state == Some(wanted));
}

#[test]
fn a_television_is_woken_shows_us_and_goes_to_standby() {
    let _television = Television::plug_in();
    let mut power = power();
    answer(&mut power);
    power.standby().unwrap();
    wait_for(&mut power, ScreenState::Standby);
    power.wake().unwrap();
    wait_for(&mut power, ScreenState::On);
    let seen = std::fs::read_to_string(SEEN).unwrap();
    assert!(seen.contains("ACTIVE_SOURCE") && seen.contains("phys-addr: 1.0.0.0"), "{seen}");
    let name = cec_ctl(TELEVISION, &["--to", "4", "--give-osd-name"]);
    assert!(name.contains("Rig room"), "{name}");
}

#[test]
fn a_television_without_mains_does_not_answer_and_is_woken_when_it_is_back() {
    let mut power = power();
    let nobody = |result: Result<(), ScreenPowerError>| {
        let error = result.unwrap_err();
        assert!(matches!(error, ScreenPowerError::NoAnswer { .. }), "{error}");
    };
    nobody(power.wake());
    nobody(power.standby());
    nobody(power.state().map(drop));
    let _television = Television::plug_in();
    until("an answer", || power.wake().ok()).unwrap();
    wait_for(&mut power, ScreenState::On);
}

#[test]
fn a_socket_with_no_screen_says_so() {
    let mut power = power();
    let pulled = Unplugged::pull();
    let nothing = |result: Result<(), ScreenPowerError>| {
        let error = result.unwrap_err().to_string();
        assert!(error.contains("no screen is plugged in"), "{error}");
    };
    nothing(power.wake());
    nothing(power.standby());
    nothing(power.state().map(drop));
    drop(pulled);
    let _television = Television::plug_in();
    answer(&mut power);
}

#[test]
fn a_bus_full_of_players_is_asked_again_for_a_place() {
    cec_ctl(OURS, &["--clear"]);
    let _television = Television::plug_in();
    for player in OTHERS {
        let place = || cec_ctl(player, &["--playback"]).contains("(Playback Device").then_some(());
        until("a place for another player", place).unwrap();
    }
    let mut power = power();
    let error = power.state().unwrap_err();
    assert!(matches!(error, ScreenPowerError::NoAnswer { .. }), "{error}");
    cec_ctl(OTHERS[0], &["--clear"]);
    answer(&mut power);
    for player in OTHERS {
        cec_ctl(player, &["--clear"]);
    }
}

#[test]
fn a_changed_name_is_what_the_screen_shows() {
    let _television = Television::plug_in();
    for name in ["Rig room", "Room 7", "Room 7"] {
        let mut power = power_of(name);
        answer(&mut power);
        let said = cec_ctl(TELEVISION, &["--to", "4", "--give-osd-name"]);
        assert!(said.contains(name), "{said}");
    }
}

#[test]
fn adapters_that_are_not_there_are_told_with_those_that_are() {
    let error = open_board("[screen_power]\ndriver = \"cec\"\ndevice = \"/dev/cec9\"\n").err().unwrap();
    let error = error.to_string();
    assert!(error.contains("/dev/cec9 is not there; there are /dev/cec0, /dev/cec1"), "{error}");
}
