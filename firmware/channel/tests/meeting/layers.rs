//! Every subscriber gets the layer that it asks for, and switches without a glitch.

use super::{
    client::{Client, Shown},
    world::World,
};

/// A publisher and a subscriber that sees its best layer.
fn meeting() -> (World, usize, usize) {
    let mut world = World::new();
    let publisher = world.join("ann", true);
    let subscriber = world.join("bob", false);
    world.until(5.0, |w| shows(w.client(subscriber), 0, 2)).expect("the high layer");
    (world, publisher, subscriber)
}

/// Whether the newest frame of a publisher is of a layer.
pub(crate) fn shows(client: &Client, publisher: u8, layer: u8) -> bool {
    let of = |shown: &&Shown| shown.stamp.publisher == publisher;
    client.shown.iter().rev().find(of).is_some_and(|shown| shown.stamp.layer == layer)
}

#[test]
fn a_subscriber_gets_the_layer_that_fits_its_seat_and_no_frame_is_missing_over_a_switch() {
    let (mut world, _, subscriber) = meeting();
    for (size, layer) in [((320, 180), 0), ((640, 360), 1), ((1280, 720), 2), ((320, 180), 0)] {
        world.client(subscriber).show("ann", size.0, size.1);
        let took = world.until(2.0, |w| shows(w.client(subscriber), 0, layer));
        assert!(took.is_some_and(|took| took < 1.0), "layer {layer} after {took:?}");
        world.run(1.0);
        assert!(shows(world.client(subscriber), 0, layer));
    }
    let shown = &world.client(subscriber).shown;
    for pair in shown.windows(2) {
        let step = pair[1].timestamp.wrapping_sub(pair[0].timestamp);
        assert!((1..=9_000).contains(&step), "timestamps go on: {pair:?}");
        assert!((pair[1].at - pair[0].at).as_millis() < 150, "no freeze: {pair:?}");
        let switched = pair[0].stamp.layer != pair[1].stamp.layer;
        assert!(!switched || pair[1].stamp.key, "a layer starts with a key frame: {pair:?}");
    }
}

#[test]
fn a_seat_that_is_not_shown_gets_nothing_and_comes_back_with_a_key_frame() {
    let (mut world, publisher, subscriber) = meeting();
    world.client(subscriber).show("ann", 0, 0);
    world.run(0.3);
    let before = world.client(subscriber).shown.len();
    world.run(7.0);
    assert_eq!(world.client(subscriber).shown.len(), before, "frames of a picture that nobody shows");
    assert_eq!(world.client(publisher).watched, [false; 3], "the publisher was not told to stop");

    world.client(subscriber).show("ann", 1280, 720);
    let back = world.until(2.0, |w| w.client(subscriber).shown.len() > before);
    assert!(back.is_some_and(|took| took < 0.3), "the first picture after {back:?}");
    assert!(world.client(subscriber).shown[before].stamp.key);
}

#[test]
fn layers_that_nobody_watches_are_stopped_at_the_publisher_and_started_for_the_first_watcher() {
    let (mut world, publisher, subscriber) = meeting();
    world.client(subscriber).show("ann", 320, 180);
    world.run(6.5);
    assert_eq!(world.client(publisher).watched, [true, false, false]);
    let frames = |w: &mut World| w.client(subscriber).shown.len();
    let before = frames(&mut world);
    world.client(subscriber).show("ann", 1280, 720);
    let took = world.until(2.0, |w| shows(w.client(subscriber), 0, 2)).expect("the high layer");
    assert!(took < 0.3, "the high layer after {took} s");
    assert!(frames(&mut world) > before + 3, "the low layer went on meanwhile");
}

#[test]
fn loss_is_repaired_and_key_frames_are_not_asked_for() {
    let (mut world, publisher, subscriber) = meeting();
    world.run(1.0);
    let before = world.client(publisher).source.as_ref().unwrap().key_frames;
    let since = world.now;
    world.client(subscriber).down.loss = 0.05;
    world.run(10.0);
    let frames = world.client(subscriber).frames_of(0, since).len();
    assert!(frames > 290, "{frames} of 300 frames");
    let asked = world.client(publisher).source.as_ref().unwrap().key_frames[2] - before[2];
    assert!(asked <= 1, "{asked} key frames");
    assert!(world.sfu.counters().packets_resent > 50);
}
