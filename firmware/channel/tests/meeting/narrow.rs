//! Nobody gets more than its link carries, the seats of one subscriber share it by size, and others notice nothing.

use std::time::Duration;

use livekit_protocol::StreamState;

use super::{client::Shown, layers::shows, link::Link, world::World};

fn longest_gap(frames: &[Shown]) -> f64 {
    frames.windows(2).map(|pair| (pair[1].at - pair[0].at).as_secs_f64()).fold(0.0, f64::max)
}

#[test]
fn a_link_that_shrinks_gets_a_smaller_picture_without_a_freeze_and_the_large_one_back() {
    // The link changes at all moments between two probes.
    for step in 0..12 {
        shrinks_and_grows_back(0.45 * f64::from(step));
    }
}

fn shrinks_and_grows_back(later: f64) {
    let mut world = World::new();
    world.join("ann", true);
    let narrow = world.join("bob", false);
    let other = world.join("cho", false);
    world.client(narrow).down = Link::narrow(3e6);
    for client in [narrow, other] {
        world.until(5.0, |w| shows(w.client(client), 0, 2)).expect("the high layer");
    }
    world.run(3.0);
    assert!(shows(world.client(narrow), 0, 2));

    let shrunk = world.now;
    world.client(narrow).down.set_rate(500e3);
    let down = world.until(5.0, |w| !shows(w.client(narrow), 0, 2)).expect("a smaller layer");
    assert!(down < 2.0, "smaller after {down} s");
    world.run(15.0 + later);
    let frames = world.client(narrow).frames_of(0, shrunk);
    let gap = longest_gap(&frames);
    assert!(gap < 0.75, "a freeze of {gap} s, {later} s");
    let late = frames.iter().filter(|frame| frame.at > shrunk + Duration::from_secs(5));
    let delay = late.map(|frame| frame.delay).max().unwrap();
    assert!(delay < Duration::from_millis(450), "pictures are {delay:?} old");
    let end = world.now;
    let heard = world.client(narrow).heard.iter().filter(|s| s.at > shrunk && s.at < end);
    let (sounds, oldest) = heard.fold((0, Duration::ZERO), |(n, max), s| (n + 1, max.max(s.delay)));
    assert!(sounds > 15 * 50 * 95 / 100, "{sounds} packets of sound");
    assert!(oldest < Duration::from_millis(450), "sound is {oldest:?} old");

    let grew = world.now;
    world.client(narrow).down.set_rate(3e6);
    let up = world.until(12.0, |w| shows(w.client(narrow), 0, 2)).expect("the high layer again");
    assert!(up < 10.0, "large again after {up} s");
    world.run(3.0);
    let gap = longest_gap(&world.client(narrow).frames_of(0, grew));
    assert!(gap < 1.0, "a freeze of {gap} s when it grew {later} s later");

    let others = world.client(other).frames_of(0, shrunk);
    assert!(others.iter().all(|frame| frame.stamp.layer == 2), "the other got a smaller picture");
    let gap = longest_gap(&others);
    assert!(gap < 0.1, "the other's picture froze for {gap} s");
}

#[test]
fn the_seats_of_one_subscriber_share_its_link_by_size() {
    let mut world = World::new();
    for name in ["ann", "bob", "cho"] {
        world.join(name, true);
    }
    let viewer = world.join("dan", false);
    world.client(viewer).down = Link::narrow(3.2e6);
    world.until(5.0, |w| w.client(viewer).cameras.len() == 3).unwrap();
    for (user, size) in [("ann", (320, 180)), ("bob", (1280, 720)), ("cho", (320, 180))] {
        world.client(viewer).show(user, size.0, size.1);
    }
    world.until(10.0, |w| shows(w.client(viewer), 1, 2)).expect("the large seat's large picture");
    world.run(5.0);
    let since = world.now;
    world.run(5.0);
    for (publisher, layer) in [(0, 0), (1, 2), (2, 0)] {
        let frames = world.client(viewer).frames_of(publisher, since);
        let of_layer = frames.iter().filter(|frame| frame.stamp.layer == layer).count();
        assert!(of_layer > 130, "{of_layer} of 150 frames of {publisher} in layer {layer}");
    }
}

#[test]
fn a_key_frame_is_spread_on_a_narrow_link_and_leaves_at_once_on_a_wide_one() {
    let key_frame_delay = |down: Link| {
        let mut world = World::new();
        let publisher = world.join("ann", true);
        let subscriber = world.join("bob", false);
        world.client(subscriber).down = down;
        world.until(5.0, |w| shows(w.client(subscriber), 0, 2)).expect("the high layer");
        world.run(4.0);
        let since = world.now;
        world.client(publisher).source.as_mut().unwrap().key_wanted[2] = true;
        world.run(0.5);
        let frames = world.client(subscriber).frames_of(0, since);
        frames.iter().find(|frame| frame.stamp.key).unwrap().delay
    };
    // Two ways of 15 ms, and 35,000 bytes at 100 Mbit/s twice: 36 ms.
    let wide = key_frame_delay(Link::wide());
    assert!(wide < Duration::from_millis(40), "{wide:?}");
    let narrow = key_frame_delay(Link::narrow(6e6));
    assert!(narrow > Duration::from_millis(60), "{narrow:?}: it takes the link 47 ms alone");
}

#[test]
fn what_does_not_fit_at_all_is_paused_and_said_so() {
    let mut world = World::new();
    for name in ["ann", "bob", "cho"] {
        world.join(name, true);
    }
    let viewer = world.join("dan", false);
    world.run(3.0);
    world.client(viewer).down = Link::narrow(420e3);
    world.run(8.0);
    let paused = |w: &mut World| {
        let mut last = std::collections::BTreeMap::new();
        w.client(viewer).states.iter().for_each(|(_, sid, state)| {
            last.insert(sid.clone(), *state);
        });
        last.values().filter(|state| **state == StreamState::Paused).count()
    };
    assert!(paused(&mut world) >= 1, "nobody was told that a picture is paused");
    world.client(viewer).down.set_rate(20e6);
    world.until(15.0, |w| paused(w) == 0).expect("all pictures flow again");
    world.run(8.0);
    for publisher in 0..3 {
        assert!(shows(world.client(viewer), publisher, 2), "publisher {publisher}");
    }
}

#[test]
fn a_subscriber_that_stops_reading_costs_the_others_nothing() {
    let mut world = World::new();
    world.join("ann", true);
    let (gone, other) = (world.join("bob", false), world.join("cho", false));
    world.until(5.0, |w| shows(w.client(other), 0, 2)).expect("the high layer");
    world.run(1.0);
    let since = world.now;
    // Everything to and from it is lost, as behind a pulled cable.
    world.client(gone).down.loss = 1.0;
    world.client(gone).up.loss = 1.0;
    world.run(10.0);
    let frames = world.client(other).frames_of(0, since);
    assert!(frames.len() > 295, "{} of 300 frames", frames.len());
    assert!(longest_gap(&frames) < 0.1);
    let keys = frames.iter().filter(|frame| frame.stamp.key).count();
    assert!(keys <= 1, "{keys} key frames for somebody who is not there");
}
