//! A subscriber whose link shrinks gets a smaller picture without a freeze, and the large one back; others notice nothing
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use std::time::{Duration, Instant};

use rostrum_tests::{
    Lab, Network, Python,
    lab::{CHANNEL, PATIENCE},
};

/// How long the picture may stand still.
const FREEZE_S: f64 = 1.0;

/// A picture as the subscriber saw it.
#[derive(Clone, Copy, Debug)]
struct Frame {
    at: f64,
    width: u64,
}

/// Everything that a subscriber shows for so long.
fn watch(peer: &mut Python, seconds: f64, frames: &mut Vec<Frame>) {
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    while Instant::now() < end {
        std::thread::sleep(Duration::from_millis(50));
        take(peer, frames);
    }
}

fn take(peer: &mut Python, frames: &mut Vec<Frame>) {
    for line in peer.program().pending_lines() {
        let Ok(line) = serde_json::from_str::<serde_json::Value>(&line) else { continue };
        if line["event"] == "frame" {
            let at = line["at_us"].as_f64().unwrap() / 1e6;
            frames.push(Frame { at, width: line["width"].as_u64().unwrap() });
        }
    }
}

/// The longest time without a new picture, and when it began after the first.
fn longest_gap(frames: &[Frame]) -> (f64, f64) {
    let gaps = frames.windows(2).map(|pair| (pair[1].at - pair[0].at, pair[0].at - frames[0].at));
    gaps.max_by(|a, b| a.0.total_cmp(&b.0)).unwrap()
}

fn subscriber(lab: &Lab, network: Option<&Network>, user: &str, more: &[&str]) -> Python {
    let token = lab.service.token(CHANNEL, user, None).unwrap();
    let url = lab.service.url_at(network.map(|network| network.here.as_str()));
    let arguments = [&["--url", &url, "--token", &token][..], more].concat();
    let dir = lab.dir().join(user);
    let mut peer = Python::start_on(network, &dir, "peer.py", &arguments).unwrap();
    peer.event("connected", PATIENCE).unwrap();
    peer
}

fn wide(peer: &mut Python) {
    peer.next(PATIENCE, |line| (line["event"] == "frame" && line["width"] == 1280).then_some(())).unwrap();
}

fn shrinks_and_grows_back(more: &[&str]) {
    let network = Network::new().unwrap();
    network.limit(3_000, 300).unwrap();
    let lab = Lab::at(&network.here, "").unwrap();
    let _room = lab.joined_room("room").unwrap();
    let mut narrow = subscriber(&lab, Some(&network), "narrow", more);
    let mut other = subscriber(&lab, None, "other", more);
    wide(&mut narrow);
    wide(&mut other);
    let (mut seen, mut seen_by_other) = (Vec::new(), Vec::new());
    watch(&mut narrow, 3.0, &mut seen);
    take(&mut other, &mut Vec::new());

    network.limit(500, 300).unwrap();
    seen.clear();
    watch(&mut narrow, 12.0, &mut seen);
    let (gap, when) = longest_gap(&seen);
    let smaller = seen.iter().find(|frame| frame.width < 1280).expect("it never got a smaller picture");
    println!("smaller after {:.2} s, longest freeze {gap:.2} s (at {when:.2} s)", smaller.at - seen[0].at);
    assert!(gap <= FREEZE_S, "the picture froze for {gap:.2} s, {when:.2} s after the link shrank");
    let end = seen.last().unwrap().at;
    let last: Vec<_> = seen.iter().filter(|frame| frame.at > end - 4.0).collect();
    assert!(last.len() > 40, "{} pictures in the last 4 s", last.len());
    assert!(last.iter().all(|frame| frame.width < 1280), "large pictures on the narrow link");

    network.limit(3_000, 300).unwrap();
    let (back, mut grown) = (Instant::now(), Vec::new());
    while grown.last().is_none_or(|frame: &Frame| frame.width < 1280) {
        assert!(back.elapsed() < Duration::from_secs(10), "no large picture within 10 s");
        watch(&mut narrow, 0.1, &mut grown);
    }
    println!("large again after {:.2} s", back.elapsed().as_secs_f64());
    watch(&mut narrow, 3.0, &mut grown);
    let (gap, when) = longest_gap(&grown);
    assert!(gap <= FREEZE_S, "the picture froze for {gap:.2} s, {when:.2} s after the link grew");

    take(&mut other, &mut seen_by_other);
    let (gap, when) = longest_gap(&seen_by_other);
    println!("the other: longest gap {gap:.2} s");
    assert!(seen_by_other.iter().all(|frame| frame.width == 1280), "the other got a smaller picture");
    assert!(gap < 0.5, "the other's picture froze for {gap:.2} s at {when:.2} s");
}

/// aiortc sends no transport-wide feedback; it estimates for itself and says what may be sent (REMB).
#[test]
fn a_viewer_that_estimates_by_itself_gets_what_its_link_carries() {
    let network = Network::new().unwrap();
    network.limit(500, 300).unwrap();
    let lab = Lab::at(&network.here, "").unwrap();
    let _room = lab.joined_room("room").unwrap();
    let url = format!("{}/whep/{CHANNEL}?user=room&source=camera", lab.service.url_at(Some(&network.here)));
    let token = lab.service.token(CHANNEL, "viewer", None).unwrap();
    let arguments = ["--url", &url, "--token", &token, "--watch"];
    let mut viewer = Python::start_on(Some(&network), lab.dir(), "whip.py", &arguments).unwrap();
    let shows = |viewer: &mut Python, wanted: &dyn Fn(u64) -> bool, patience: f64| {
        let began = Instant::now();
        let mut pictures = 0;
        // Ten in a row, so that one on its way does not count.
        viewer
            .next(Duration::from_secs_f64(patience), |line| {
                let width = (line["event"] == "frame").then(|| line["width"].as_u64()).flatten()?;
                pictures = if wanted(width) { pictures + 1 } else { 0 };
                (pictures >= 10).then_some(())
            })
            .unwrap();
        began.elapsed().as_secs_f64()
    };
    println!("smaller after {:.1} s", shows(&mut viewer, &|width| width < 1280, 60.0));
    network.limit(5_000, 300).unwrap();
    println!("large after {:.1} s", shows(&mut viewer, &|width| width == 1280, 90.0));
}

#[test]
fn with_one_connection() {
    shrinks_and_grows_back(&[]);
}

#[test]
fn with_two_connections() {
    shrinks_and_grows_back(&["--two-connections"]);
}
