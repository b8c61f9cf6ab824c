//! End-to-end encrypted media passes untouched: seen and heard with the key, not without, at both SDKs
#![allow(clippy::unwrap_used, missing_docs)]

use rostrum_tests::{Browser, Lab, Python, lab::PATIENCE, picture, until};
use serde_json::{Value, json};

/// LiveKit's SDK gives its decoders the key only when it has told us of a track: what came by then, it plays as a
/// crackle.
const CRACKLE_US: u64 = 1_000_000;

fn decoded(browser: &mut Browser, page: &str, source: &str, what: &str) -> anyhow::Result<u64> {
    let stats = browser.call(page, "stats", json!({"user": "sender", "source": source}))?;
    Ok(stats[what].as_u64().unwrap_or(0))
}

fn with_the_right_key_only(codec: &str) {
    let lab = Lab::new().unwrap();
    let film = xtask::setup::film().unwrap();
    let audio = lab.dir().join("peer.wav");
    picture::fake_microphone(&film, &audio).unwrap();
    let mut browser = Browser::start(lab.dir()).unwrap();
    let media = json!({"camera": true, "microphone": true, "codec": codec, "key": "right"});
    lab.chromium(&mut browser, "sender", media).unwrap();
    lab.chromium(&mut browser, "friend", json!({"key": "right"})).unwrap();
    lab.chromium(&mut browser, "stranger", json!({"key": "wrong"})).unwrap();
    let mut peer = lab.libwebrtc("peer", &["--key", "right", "--audio", &audio.to_string_lossy()]).unwrap();
    let mut foe = lab.libwebrtc("foe", &["--key", "wrong"]).unwrap();
    let of_sender = |line: &Value| (line["event"] == "frame" && line["user"] == "sender").then_some(());
    let voice = |line: &Value| {
        let loud = line["rms"].as_f64().is_some_and(|level| level > 1e-3);
        (line["event"] == "level" && line["user"] == "sender" && loud).then_some(())
    };
    peer.next(PATIENCE, of_sender).unwrap();
    peer.next(PATIENCE, voice).unwrap();
    until("the friend's picture", PATIENCE, || {
        Ok((decoded(&mut browser, "friend", "camera", "framesDecoded")? > 50).then_some(()))
    })
    .unwrap();
    until("libwebrtc's voice in Chromium", PATIENCE, || {
        let heard = browser.sound("friend", "peer", 1.0)?;
        Ok((rostrum_tests::sound::level(&heard) > 1e-3).then_some(()))
    })
    .unwrap();
    // Whoever has another key gets all the packets, and can do nothing with them.
    until("packets at the stranger's", PATIENCE, || {
        Ok((decoded(&mut browser, "stranger", "camera", "packetsReceived")? > 100).then_some(()))
    })
    .unwrap();
    assert_eq!(decoded(&mut browser, "stranger", "camera", "framesDecoded").unwrap(), 0);
    let mut heard = Vec::new();
    until("what the foe hears of the sender", PATIENCE, || {
        heard.extend(lines(&mut foe));
        let Some(came) = heard.iter().find(|line| is_voice_of_sender(line)).and_then(at_us) else {
            return Ok(None);
        };
        let after = |line: &&Value| at_us(line).is_some_and(|at| at > came + CRACKLE_US);
        let levels: Vec<_> = heard
            .iter()
            .filter(after)
            .filter(|line| line["event"] == "level" && line["user"] == "sender")
            .collect();
        assert!(levels.iter().all(|line| voice(line).is_none()), "{levels:?}");
        Ok((levels.len() >= 20).then_some(()))
    })
    .unwrap();
    assert!(!heard.iter().any(|line| of_sender(line).is_some()), "{heard:?}");

    // With the key the stranger sees: the keys of pictures are found where it needs one.
    browser.call("stranger", "setKey", json!({"key": "right"})).unwrap();
    until("the stranger's picture", PATIENCE, || {
        Ok((decoded(&mut browser, "stranger", "camera", "framesDecoded")? > 10).then_some(()))
    })
    .unwrap();
}

fn at_us(line: &Value) -> Option<u64> {
    line["at_us"].as_u64()
}

/// Whether it tells of the sender's microphone: LiveKit's kind 1.
fn is_voice_of_sender(line: &Value) -> bool {
    line["event"] == "track" && line["user"] == "sender" && line["kind"] == 1
}

fn lines(peer: &mut Python) -> Vec<Value> {
    let lines = peer.program().pending_lines();
    lines.iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

#[test]
fn with_vp8() {
    with_the_right_key_only("vp8");
}

#[test]
fn with_h264() {
    with_the_right_key_only("h264");
}
