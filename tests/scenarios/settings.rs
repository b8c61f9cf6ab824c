//! Size, orientation, mirroring, sharpness or fluency, and sound only: settings that change in a meeting
#![allow(clippy::unwrap_used, missing_docs)]

use rostrum_tests::{Browser, Lab, lab::PATIENCE, sound, until};
use serde_json::{Value, json};
use xtask::room::Terminal;

fn set(room: &Terminal, settings: Value) {
    room.api("PATCH", "/settings", Some(&settings)).unwrap();
}

/// Waits until the guest sees a picture of this size, and says whether its bar can be read.
fn seen(browser: &mut Browser, width: u32, height: u32) -> bool {
    until(&format!("a picture of {width}x{height}"), PATIENCE, || {
        let picture = browser.picture("guest", "room")?;
        if (picture.width, picture.height) != (width, height) {
            anyhow::bail!("a picture of {}", picture.size());
        }
        Ok(Some(picture.bar().is_some()))
    })
    .unwrap()
}

#[test]
fn the_guest_sees_each_change() {
    let lab = Lab::new().unwrap();
    let room = lab.joined_room("room").unwrap();
    let mut browser = Browser::start(lab.dir()).unwrap();
    browser.open("guest", &lab.guest_link("Ada").unwrap()).unwrap();
    // The first picture may be a mixture of two, as elements draw it.
    until("the bar at first", PATIENCE, || Ok(seen(&mut browser, 1280, 720).then_some(()))).unwrap();

    set(&room, json!({"max_layer": "low"}));
    until("the bar in the small picture", PATIENCE, || Ok(seen(&mut browser, 640, 360).then_some(())))
        .unwrap();
    set(&room, json!({"max_layer": "high"}));
    until("the bar in the large picture", PATIENCE, || Ok(seen(&mut browser, 1280, 720).then_some(())))
        .unwrap();

    set(&room, json!({"orientation": 90}));
    assert!(!seen(&mut browser, 720, 1280), "the bar stands on its side now and cannot be read");
    set(&room, json!({"orientation": 0}));
    until("upright again", PATIENCE, || Ok(seen(&mut browser, 1280, 720).then_some(()))).unwrap();

    set(&room, json!({"mirrored": true}));
    until("mirrored", PATIENCE, || Ok((!seen(&mut browser, 1280, 720)).then_some(()))).unwrap();
    set(&room, json!({"mirrored": false, "preference": "fluency"}));
    until("not mirrored", PATIENCE, || Ok(seen(&mut browser, 1280, 720).then_some(()))).unwrap();
    assert_eq!(room.state().unwrap()["settings"]["preference"], "fluency");

    // Sound only: no picture of the room any more, but its voice.
    set(&room, json!({"audio_only": true}));
    until("no camera", PATIENCE, || {
        let others = browser.call("guest", "participants", json!({}))?;
        let tracks = others[0]["tracks"].as_array().cloned().unwrap_or_default();
        Ok(tracks.iter().all(|track| track["source"] != "camera" || track["muted"] == true).then_some(()))
    })
    .unwrap();
    until("the room's voice", PATIENCE, || {
        Ok((sound::level(&browser.sound("guest", "room", 1.5)?) > 0.003).then_some(()))
    })
    .unwrap();
    set(&room, json!({"audio_only": false}));
    until("the picture again", PATIENCE, || Ok(browser.picture("guest", "room")?.bar())).unwrap();
}
