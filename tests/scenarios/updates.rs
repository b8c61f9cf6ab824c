//! A terminal updates itself by the real RAUC: good versions stay, bad ones go away, and a power cut bricks nothing
#![allow(clippy::unwrap_used, missing_docs)]

use std::{fs, path::PathBuf, time::Duration};

use rostrum_fleet::update::{link::FromTerminal, status::Phase};
use rostrum_tests::updates::{
    Bundles, Ddi, Image, OLD, Offered, Quality, UpdateTerminal, certificates, rauc,
};

const NEW: &str = "1.1.0";
/// Time for an update with its restarts on a busy machine.
const UPDATE: Duration = Duration::from_secs(60);
/// What a terminal in a hurry is set to.
const QUICK: &str = "[install]\nidle_s = 0\nsilent_s = 1\nretry_s = 1\n[gate]\nsteady_s = 0\nfolders = []\n";

/// A server, bundles, and a terminal that asks the server.
struct Scene {
    _dir: tempfile::TempDir,
    server: Ddi,
    bundles: Bundles,
    terminal: UpdateTerminal,
}

impl Scene {
    fn new() -> Self {
        Self::with(Ddi::start().unwrap(), "", QUICK)
    }

    fn with(server: Ddi, credentials: &str, more: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let rauc = rauc();
        let bundles = Bundles::new(dir.path(), rauc.clone()).unwrap();
        let configuration = format!("{}\n{more}", server.configuration(credentials));
        let terminal = UpdateTerminal::new(rauc, &bundles.key_ring(), &configuration).unwrap();
        let mut scene = Self { _dir: dir, server, bundles, terminal };
        scene.terminal.boot().unwrap();
        scene
    }

    fn bundle(&self, version: &str, quality: Quality) -> PathBuf {
        self.bundles.bundle(&Image::new(version, quality)).unwrap()
    }

    fn offer(&self, action: &str, version: &str, quality: Quality) {
        let bundle = self.bundle(version, quality);
        self.server.offer(Some(Offered::new(action, version, &bundle)));
    }

    /// Waits for the end of an action, and gives how it ended.
    fn end(&mut self, action: &str) -> (bool, String) {
        let server = &self.server;
        let what = format!("the end of action {action}");
        self.terminal.until(&what, UPDATE, |_| Ok(server.ends(action).into_iter().next())).unwrap()
    }

    fn version(&self) -> &str {
        &self.terminal.runs().unwrap().version
    }

    /// The slot that runs was not touched, and it is still the next one.
    fn stays_with(&mut self, version: &str) {
        self.terminal.power_off().unwrap();
        assert_eq!(self.terminal.boot().unwrap().version, version);
    }
}

#[test]
fn a_good_version_runs_and_the_server_hears_of_it_once_after_the_check() {
    let mut scene = Scene::new();
    scene.offer("1", NEW, Quality::Good);
    let (ok, text) = scene.end("1");
    assert!(ok, "{text}");
    assert_eq!(scene.version(), NEW);
    scene.terminal.until("good", UPDATE, |terminal| Ok(terminal.is_good().then_some(()))).unwrap();
    assert_eq!(scene.terminal.starts_left("B").unwrap(), 3, "the boot loader does not know that it is good");
    // Three more polls, and nothing else is told.
    let polls = scene.server.polls() + 3;
    let server = &scene.server;
    scene.terminal.until("polls", UPDATE, |_| Ok((server.polls() >= polls).then_some(()))).unwrap();
    assert_eq!(scene.server.ends("1").len(), 1);
    let told = scene.server.feedback("1");
    assert!(told.len() <= 8, "the server is flooded: {told:#?}");
    assert_eq!(scene.server.attributes()["udid"], "T-1");
    // Nobody asked for it: a terminal tells what it is after each start.
    assert_eq!(scene.server.attributes()["version"], NEW);
    scene.server.ask_attributes();
    let server = &scene.server;
    let again = |_: &mut _| Ok((server.attributes()["version"] == NEW).then_some(()));
    scene.terminal.until("attributes again", UPDATE, again).unwrap();
    // And back and forth: the other slot is used again.
    scene.offer("2", "1.2.0", Quality::Good);
    assert!(scene.end("2").0);
    assert_eq!(scene.version(), "1.2.0");
    assert_eq!(scene.terminal.ran.len(), 3, "{:?}", scene.terminal.ran);
}

#[test]
fn what_must_not_be_installed_leaves_the_terminal_as_it_is_and_is_reported_once() {
    let mut scene = Scene::new();
    let image = Image::new(NEW, Quality::Good);
    let good = fs::read(scene.bundle(NEW, Quality::Good)).unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = scene.terminal.dir().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let mut corrupt = good.clone();
    // In the image, which a plain bundle's signature is over as well.
    corrupt[4096] ^= 1;
    let cases = [
        ("stranger", scene.bundles.bundle_with(&image, "rostrum-test", "stranger").unwrap(), "signature"),
        (
            "board",
            scene.bundles.bundle_with(&image, "rostrum-other", "trusted").unwrap(),
            "is for rostrum-other",
        ),
        ("downgrade", scene.bundle("0.9.0", Quality::Good), "older than 1.0.0"),
        ("corrupt", file("corrupt.raucb", &corrupt), "signature"),
        ("truncated", file("truncated.raucb", &good[..good.len() / 2]), ""),
        ("no bundle", file("no.raucb", b"hello"), ""),
    ];
    for (action, bundle, words) in cases {
        scene.server.offer(Some(Offered::new(action, NEW, &bundle)));
        let (ok, text) = scene.end(action);
        assert!(!ok && text.contains(words), "{action}: {text}");
        assert_eq!(scene.server.ends(action).len(), 1, "{action}");
        let last = scene.terminal.status().last.unwrap();
        assert_eq!(last.text, text, "people are told something else");
    }
    let slot_b = fs::read(scene.terminal.disk().join("slot-B")).unwrap();
    assert_eq!(Image::read(&slot_b).unwrap().version, OLD, "the other slot was written");
    scene.stays_with(OLD);
    assert_eq!(scene.terminal.ran.len(), 2);
    // And a good one is taken afterwards.
    scene.offer("good", NEW, Quality::Good);
    assert!(scene.end("good").0);
}

#[test]
fn a_full_disk_is_said_so_and_nothing_is_touched() {
    let mut scene = Scene::new();
    scene.terminal.until("it is well", UPDATE, |terminal| Ok(terminal.is_good().then_some(()))).unwrap();
    let filler = scene.terminal.disk().join("filler");
    let mut size = 16 << 20;
    // As much as there is, to the last block.
    while size > 512 {
        let mut bytes = fs::read(&filler).unwrap_or_default();
        let before = bytes.len();
        bytes.resize(before + size, 7);
        if fs::write(&filler, &bytes).is_err() {
            bytes.truncate(before);
            let _ = fs::write(&filler, &bytes);
            size /= 2;
        }
    }
    scene.offer("1", NEW, Quality::Good);
    let (ok, text) = scene.end("1");
    assert!(!ok && text.contains("free some space"), "{text}");
    assert_eq!(scene.server.ends("1").len(), 1);
    scene.stays_with(OLD);
    fs::remove_file(filler).unwrap();
    scene.offer("2", NEW, Quality::Good);
    assert!(scene.end("2").0);
}

#[test]
fn a_version_that_fails_its_check_rolls_back_and_is_not_tried_again() {
    let mut scene = Scene::new();
    for (action, version, quality, words) in [
        ("1", "1.1.0", Quality::NoPicture, "self-test of camera failed: it gives nothing"),
        ("2", "1.2.0", Quality::Dead, "did not start in 3 tries"),
    ] {
        let before = scene.terminal.ran.len();
        scene.offer(action, version, quality);
        let (ok, text) = scene.end(action);
        assert!(!ok && text.contains(words), "{text}");
        let ran: Vec<_> = scene.terminal.ran[before..].iter().map(|image| image.version.as_str()).collect();
        assert_eq!(ran, [version, version, version, OLD]);
        // The same version in another action: no.
        scene.offer(&format!("{action} again"), version, Quality::Good);
        let (ok, text) = scene.end(&format!("{action} again"));
        assert!(!ok && text.contains("failed here before"), "{text}");
        assert_eq!(scene.terminal.ran.len(), before + 4);
    }
    // Another version: yes.
    scene.offer("3", "1.3.0", Quality::Good);
    assert!(scene.end("3").0);
    assert_eq!(scene.version(), "1.3.0");
}

#[test]
fn a_part_that_was_broken_before_the_update_does_not_stop_it_and_a_unit_that_is_down_does() {
    let mut scene = Scene::new();
    scene.terminal.breaks(rostrum_hal::selftest::Part::Camera);
    scene.offer("1", NEW, Quality::NoPicture);
    assert!(scene.end("1").0, "{}", scene.terminal.log());
    // Its program comes up no more in the next version.
    let mut scene = Scene::with(Ddi::start().unwrap(), "", &format!("{QUICK}patience_s = 2\n"));
    scene.offer("1", NEW, Quality::Good);
    scene
        .terminal
        .until("restart", UPDATE, |terminal| {
            let is_new = terminal.runs().is_some_and(|image| image.version == NEW);
            if terminal.status().phase == Phase::Restarting || is_new {
                terminal.unit_is_down("rostrumd.service", true);
                return Ok(Some(()));
            }
            Ok(None)
        })
        .unwrap();
    let server = &scene.server;
    let (ok, text) = scene
        .terminal
        .until("rollback", UPDATE, |terminal| {
            terminal
                .unit_is_down("rostrumd.service", terminal.runs().is_some_and(|image| image.version == NEW));
            Ok(server.ends("1").into_iter().next())
        })
        .unwrap();
    assert!(!ok && text.contains("rostrumd.service is not up (failed)"), "{text}");
    assert_eq!(scene.version(), OLD);
}

#[test]
fn an_update_waits_for_the_end_of_a_meeting_and_pauses_in_one() {
    let mut scene = Scene::new();
    scene.terminal.meeting(true);
    scene.offer("1", NEW, Quality::Good);
    let waits = |terminal: &mut UpdateTerminal| {
        let status = terminal.status();
        let reason = status.reason.unwrap_or_default();
        Ok((status.phase == Phase::Waiting && reason.contains("meeting")).then_some(()))
    };
    scene.terminal.until("it waits", UPDATE, waits).unwrap();
    let polls = scene.server.polls() + 3;
    let server = &scene.server;
    scene.terminal.until("polls", UPDATE, |_| Ok((server.polls() >= polls).then_some(()))).unwrap();
    assert!(scene.server.ranges().is_empty(), "it fetched in a meeting");
    let told = scene.server.feedback("1").iter().filter(|body| body.to_string().contains("meeting")).count();
    assert_eq!(told, 1, "the server hears once why it waits");
    // Slow enough for a meeting to begin in the middle.
    let mut slow = Offered::new("1", NEW, &scene.bundle(NEW, Quality::Good));
    slow.slow = Some(200 << 10);
    scene.server.offer(Some(slow));
    scene.terminal.meeting(false);
    scene
        .terminal
        .until("it comes", UPDATE, |terminal| Ok((terminal.status().percent > Some(10)).then_some(())))
        .unwrap();
    scene.terminal.meeting(true);
    scene.terminal.until("it pauses", UPDATE, |terminal| Ok((terminal.pauses() > 0).then_some(()))).unwrap();
    let percent = scene.terminal.status().percent;
    let polls = scene.server.polls() + 3;
    let server = &scene.server;
    scene.terminal.until("polls", UPDATE, |_| Ok((server.polls() >= polls).then_some(()))).unwrap();
    assert!(
        scene.terminal.status().percent <= percent.map(|percent| percent + 10),
        "it went on in a meeting"
    );
    assert_eq!(scene.version(), OLD);
    scene.terminal.meeting(false);
    assert!(scene.end("1").0);
    // It went on where it had paused.
    assert!(scene.server.ranges().iter().any(|range| !range.is_empty() && range != "bytes=0-"));
}

#[test]
fn transfers_that_are_cut_or_elsewhere_come_to_their_end() {
    let mut scene = Scene::new();
    let bundle = scene.bundle(NEW, Quality::Good);
    let mut cut = Offered::new("1", NEW, &bundle);
    cut.cut_after = Some(64 << 10);
    cut.redirects = true;
    scene.server.offer(Some(cut));
    assert!(scene.end("1").0, "{}", scene.terminal.log());
    assert!(scene.server.ranges().len() > 3, "{:?}", scene.server.ranges());
    // A server without ranges: all of it again.
    let bundle = scene.bundle("1.2.0", Quality::Good);
    let mut whole = Offered::new("2", "1.2.0", &bundle);
    whole.ranges = false;
    scene.server.offer(Some(whole));
    assert!(scene.end("2").0);
    // One that says another hash: never installed.
    let bundle = scene.bundle("1.3.0", Quality::Good);
    let mut wrong = Offered::new("3", "1.3.0", &bundle);
    wrong.wrong_hash = true;
    scene.server.offer(Some(wrong));
    let (ok, text) = scene.end("3");
    assert!(!ok && text.contains("SHA-256"), "{text}");
    assert_eq!(scene.version(), "1.2.0");
}

#[test]
fn a_server_that_is_down_is_told_later_and_is_no_condition_for_a_good_version() {
    let mut scene = Scene::new();
    scene.offer("1", NEW, Quality::Good);
    scene
        .terminal
        .until("it restarts", UPDATE, |terminal| {
            Ok((terminal.status().phase == Phase::Restarting).then_some(()))
        })
        .unwrap();
    scene.server.is_down(true);
    scene
        .terminal
        .until("the new version is good", UPDATE, |terminal| {
            Ok((terminal.is_good() && terminal.runs().is_some_and(|image| image.version == NEW))
                .then_some(()))
        })
        .unwrap();
    // Also after a power cut.
    assert_eq!(scene.terminal.cut_power().unwrap().version, NEW);
    assert!(scene.server.ends("1").is_empty());
    scene.server.is_down(false);
    assert!(scene.end("1").0);
    assert_eq!(scene.server.ends("1").len(), 1);
}

#[test]
fn a_server_can_ask_and_take_back() {
    let person = QUICK.replacen("[install]\n", "[install]\nperson_confirms = true\n", 1);
    let mut scene = Scene::with(Ddi::start().unwrap(), "", &person);
    let bundle = scene.bundle(NEW, Quality::Good);
    let mut asks = Offered::new("1", NEW, &bundle);
    asks.asks = true;
    scene.server.offer(Some(asks.clone()));
    scene.terminal.until("it asks", UPDATE, |terminal| Ok(terminal.status().asks.then_some(()))).unwrap();
    scene.terminal.say(FromTerminal::Confirm { yes: false });
    let server = &scene.server;
    let answer = |server: &Ddi, action: &str, word: &str| {
        server.feedback(action).iter().filter(|body| body["confirmation"] == word).count()
    };
    scene.terminal.until("no", UPDATE, |_| Ok((answer(server, "1", "denied") > 0).then_some(()))).unwrap();
    // Another one, and yes.
    asks.action = "2".into();
    scene.server.offer(Some(asks));
    scene.terminal.until("it asks", UPDATE, |terminal| Ok(terminal.status().asks.then_some(()))).unwrap();
    scene.terminal.say(FromTerminal::Confirm { yes: true });
    assert!(scene.end("2").0);
    assert_eq!((answer(&scene.server, "1", "denied"), answer(&scene.server, "2", "confirmed")), (1, 1));
    // Taken back while it waits.
    scene.terminal.meeting(true);
    scene.offer("3", "1.2.0", Quality::Good);
    scene.terminal.until("it asks", UPDATE, |terminal| Ok(terminal.status().asks.then_some(()))).unwrap();
    scene.server.cancel("3");
    assert!(scene.end("3").0);
    assert_eq!(scene.version(), NEW);
    assert_eq!(scene.terminal.status().phase, Phase::Idle);
}

#[test]
fn a_server_knows_the_terminal_by_its_token_or_its_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    fs::write(&token, "secret\n").unwrap();
    let server = Ddi::start().unwrap();
    server.want("TargetToken secret");
    let credentials = format!("[server.credentials]\ntarget_token_file = {token:?}\n");
    let mut scene = Scene::with(server, &credentials, QUICK);
    scene.offer("1", NEW, Quality::Good);
    assert!(scene.end("1").0);
    assert!(!scene.terminal.log().contains("secret"), "the token is in the log");

    let [certificate, key, authority] = certificates("localhost").unwrap();
    let [guest, guest_key, guests] = certificates("T-1").unwrap();
    let server = Ddi::with_tls(&certificate, &key, &guests).unwrap();
    for (name, text) in [("authority", &authority), ("guest", &guest), ("guest-key", &guest_key)] {
        fs::write(dir.path().join(name), text).unwrap();
    }
    let at = |name: &str| dir.path().join(name);
    let credentials = format!(
        "[server.credentials]\nauthorities = {:?}\ncertificate = {:?}\nkey = {:?}\n",
        at("authority"),
        at("guest"),
        at("guest-key")
    );
    let mut scene = Scene::with(server, &credentials, QUICK);
    scene.offer("1", NEW, Quality::Good);
    assert!(scene.end("1").0, "{}", scene.terminal.log());
}

#[test]
fn people_bring_bundles_on_a_stick_or_by_the_panel_under_the_same_rules() {
    let mut scene = Scene::new();
    let image = Image::new(NEW, Quality::Good);
    let strange = scene.bundles.bundle_with(&image, "rostrum-test", "stranger").unwrap();
    let stick = scene.terminal.dir().join("sticks/sda1");
    fs::create_dir_all(&stick).unwrap();
    fs::copy(strange, stick.join("strange.raucb")).unwrap();
    let ended = |words: &'static str| {
        move |terminal: &mut UpdateTerminal| {
            let last = terminal.status().last;
            Ok(last.filter(|last| last.text.contains(words)))
        }
    };
    scene.terminal.until("refused", UPDATE, ended("signature")).unwrap();
    fs::remove_dir_all(&stick).unwrap();
    fs::create_dir_all(&stick).unwrap();
    fs::copy(scene.bundle(NEW, Quality::NoPicture), stick.join("new.raucb")).unwrap();
    scene.terminal.until("rolled back", UPDATE, ended("self-test of camera failed")).unwrap();
    fs::remove_dir_all(&stick).unwrap();
    // The panel's people may try again what failed.
    let path = scene.bundle(NEW, Quality::Good);
    scene
        .terminal
        .until("idle", UPDATE, |terminal| Ok((terminal.status().phase == Phase::Idle).then_some(())))
        .unwrap();
    scene.terminal.say(FromTerminal::Install { path });
    scene.terminal.until("it runs", UPDATE, ended("runs and is good")).unwrap();
    assert_eq!(scene.version(), NEW);
}
