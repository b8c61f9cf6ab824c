//! End-to-end encrypted media passes untouched: seen and heard with the key, not without, at both SDKs
#![allow(clippy::unwrap_used, missing_docs)]

use rostrum_tests::{Browser, Lab, Python, lab::PATIENCE, picture, until};
use serde_json::{Value, json};

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
    let heard: Vec<Value> = lines(&mut foe);
    assert!(!heard.iter().any(|line| of_sender(line).is_some() || voice(line).is_some()), "{heard:?}");

    // With the key the stranger sees: the keys of pictures are found where it needs one.
    browser.call("stranger", "setKey", json!({"key": "right"})).unwrap();
    until("the stranger's picture", PATIENCE, || {
        Ok((decoded(&mut browser, "stranger", "camera", "framesDecoded")? > 10).then_some(()))
    })
    .unwrap();
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
