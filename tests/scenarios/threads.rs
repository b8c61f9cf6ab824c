//! Several media threads: channels are spread over them, and co-hosts of two channels are brought together
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use std::time::Instant;

use rostrum_tests::{
    Browser, Lab,
    lab::{CHANNEL, PATIENCE},
};
use serde_json::{Value, json};

/// Channels are placed by chance: with so many it happens once in a million that all share a thread.
const CHANNELS: usize = 20;

#[test]
fn a_channel_of_another_thread_is_brought_to_its_co_host() {
    let lab = Lab::with("udp_ports = 3\nthreads = 2\n", "debug").unwrap();
    let log = lab.dir().join("service/channeld.log");
    let moved = || std::fs::read_to_string(&log).unwrap().contains("moved to another media thread");
    let mut browser = Browser::start(lab.dir()).unwrap();
    let media = json!({"camera": true, "microphone": true, "width": 640, "height": 360});
    lab.chromium(&mut browser, "host", media).unwrap();
    lab.chromium(&mut browser, "home", json!({})).unwrap();
    browser.event("home", "the host's camera", PATIENCE, of_host("track")).unwrap();

    for number in 0..CHANNELS {
        let (channel, watcher) = (format!("other-{number}"), format!("watcher-{number}"));
        let token = lab.service.token(&channel, &watcher, None).unwrap();
        browser.join(&watcher, &lab.service.url, &token, json!({})).unwrap();
        let asked = Instant::now();
        let body = json!({"channel": channel, "data": false});
        lab.service.api("POST", &lab.path_of("host", "/forwards"), Some(&body)).unwrap();
        browser.event(&watcher, "the host's camera", PATIENCE, of_host("track")).unwrap();
        println!("{watcher} sees the host {:?} after it was asked for", asked.elapsed());
        rostrum_tests::until("its picture", PATIENCE, || {
            let picture = browser.call(&watcher, "picture", json!({"user": "host"}))?;
            Ok(picture["width"].as_u64().filter(|width| *width > 0))
        })
        .unwrap();
        // All channels are listed, wherever they are.
        let channels = lab.service.api("GET", "/api/v1/channels", None).unwrap();
        let listed = |name: &str| channels.as_array().unwrap().iter().any(|one| one["channel"] == name);
        assert!(listed(CHANNEL) && listed(&channel), "{channels}");
        if moved() {
            let seen = browser.events("home").unwrap();
            assert!(seen.iter().all(|event| of_host("went")(event).is_none()), "home noticed: {seen:?}");
            return;
        }
        browser.close(&watcher).unwrap();
        lab.service.api("DELETE", &lab.path_of("host", &format!("/forwards/{channel}")), None).unwrap();
    }
    panic!("{CHANNELS} channels were all on one thread");
}

fn of_host(name: &str) -> impl Fn(&Value) -> Option<()> + '_ {
    move |event| (event["event"] == name && event["user"] == "host").then_some(())
}
