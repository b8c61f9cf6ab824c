//! Subscribers get the quality, size and frame rate that they ask for; every codec passes, in both connection modes
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use std::{thread::sleep, time::Duration};

use rostrum_tests::{
    Browser, Lab,
    lab::{CHANNEL, PATIENCE},
    until,
};
use serde_json::{Value, json};

fn join(browser: &mut Browser, lab: &Lab, user: &str, options: Value) {
    let token = lab.service.token(CHANNEL, user, None).unwrap();
    browser.join(user, &lab.service.url, &token, options).unwrap();
}

fn stats(browser: &mut Browser, viewer: &str) -> anyhow::Result<Value> {
    browser.call(viewer, "stats", json!({"user": "publisher"}))
}

/// Asks for something and waits until pictures of a width come.
fn asks(browser: &mut Browser, viewer: &str, what: Value, width: u64) {
    let mut ask = what.clone();
    ask["user"] = json!("publisher");
    browser.call(viewer, "ask", ask).unwrap();
    until(&format!("{viewer} asks for {what}: pictures of {width}"), PATIENCE, || {
        let now = stats(browser, viewer)?;
        anyhow::ensure!(now["frameWidth"] == width, "they are {}", now["frameWidth"]);
        Ok(Some(()))
    })
    .unwrap();
}

/// Pictures a second that are decoded.
fn rate(browser: &mut Browser, viewer: &str) -> f64 {
    let frames = |browser: &mut Browser| {
        let now = stats(browser, viewer).unwrap();
        (now["framesDecoded"].as_f64().unwrap_or(0.0), now["timestamp"].as_f64().unwrap())
    };
    let before = frames(browser);
    sleep(Duration::from_secs(3)); // what is measured is a rate over this time
    let after = frames(browser);
    (after.0 - before.0) * 1000.0 / (after.1 - before.1)
}

#[test]
fn a_page_gets_the_quality_size_and_frame_rate_that_it_asks_for() {
    let lab = Lab::new().unwrap();
    let mut browser = Browser::start(lab.dir()).unwrap();
    // All three layers are sent all the time, so that only the service chooses.
    let camera = json!({"camera": true, "width": 960, "height": 540, "dynacast": false});
    join(&mut browser, &lab, "publisher", camera);
    let modes = browser.call("publisher", "temporalLayers", json!({})).unwrap();
    assert_eq!(modes, json!(["L1T3", "L1T3", "L1T3"]));
    for (viewer, two_connections) in [("one", false), ("two", true)] {
        join(&mut browser, &lab, viewer, json!({"two_connections": two_connections}));
        until("the camera", PATIENCE, || Ok(stats(&mut browser, viewer)?["frameWidth"].as_u64())).unwrap();
        asks(&mut browser, viewer, json!({"quality": "low"}), 320);
        asks(&mut browser, viewer, json!({"quality": "high"}), 960);
        asks(&mut browser, viewer, json!({"quality": "medium"}), 640);
        asks(&mut browser, viewer, json!({"width": 300, "height": 170}), 320);
        asks(&mut browser, viewer, json!({"width": 1920, "height": 1080}), 960);
        asks(&mut browser, viewer, json!({"width": 640, "height": 360}), 640);

        let all = rate(&mut browser, viewer);
        asks(&mut browser, viewer, json!({"fps": 5}), 640);
        let few = rate(&mut browser, viewer);
        println!("{viewer}: {all:.1} pictures a second, {few:.1} when 5 are asked for");
        assert!(few < all * 0.35 && few > 3.0, "{all} pictures a second, then {few}");
        asks(&mut browser, viewer, json!({"fps": 30}), 640);
        until("all pictures again", PATIENCE, || {
            let again = rate(&mut browser, viewer);
            anyhow::ensure!(again > all * 0.8, "{again} pictures a second");
            Ok(Some(()))
        })
        .unwrap();

        browser.call(viewer, "ask", json!({"user": "publisher", "enabled": false})).unwrap();
        until("no more pictures", PATIENCE, || Ok((rate(&mut browser, viewer) == 0.0).then_some(())))
            .unwrap();
        browser.call(viewer, "ask", json!({"user": "publisher", "enabled": true})).unwrap();
        until("pictures again", PATIENCE, || Ok((rate(&mut browser, viewer) > 5.0).then_some(()))).unwrap();
        let dropped = stats(&mut browser, viewer).unwrap();
        println!("{viewer}: {} freezes, {} PLI", dropped["freezeCount"], dropped["pliCount"]);
        browser.close(viewer).unwrap();
    }
}

#[test]
fn every_codec_passes_from_one_page_to_another() {
    let lab = Lab::new().unwrap();
    let mut browser = Browser::start(lab.dir()).unwrap();
    for codec in ["vp8", "h264", "vp9", "av1"] {
        for two_connections in [false, true] {
            let camera = json!({"camera": true, "codec": codec, "two_connections": two_connections});
            join(&mut browser, &lab, "publisher", camera);
            join(&mut browser, &lab, "viewer", json!({"two_connections": two_connections}));
            until(&format!("{codec}, two connections: {two_connections}"), PATIENCE, || {
                let now = stats(&mut browser, "viewer")?;
                let mime = now["mimeType"].as_str().unwrap_or_default().to_lowercase();
                anyhow::ensure!(mime == format!("video/{codec}"), "the codec is {mime:?}");
                let frames = now["framesDecoded"].as_u64().unwrap_or(0);
                anyhow::ensure!(frames >= 20, "{frames} frames");
                Ok(Some(()))
            })
            .unwrap();
            browser.close("viewer").unwrap();
            browser.close("publisher").unwrap();
        }
    }
}
