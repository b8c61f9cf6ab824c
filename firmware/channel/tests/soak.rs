//! Memory over a long time, in virtual time: not run with the other tests, but by `cargo xtask prove soak`.

#![allow(clippy::unwrap_used, clippy::print_stdout, dead_code)]

#[path = "meeting/client.rs"]
mod client;
#[path = "meeting/link.rs"]
mod link;
#[path = "meeting/media.rs"]
mod media;
#[path = "meeting/world.rs"]
mod world;

use std::time::Instant;

use world::World;

/// What a run may add once everything has its size: allocators and hash tables move by pages.
const SLACK_KIB: i64 = 2 * 1024;

/// Resident memory of this process in KiB.
fn rss_kib() -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse().unwrap()
}

fn forget_what_was_shown(world: &mut World) {
    for client in &mut world.clients {
        client.shown = Vec::new();
        client.heard = Vec::new();
        client.states = Vec::new();
    }
}

#[test]
fn a_meeting_of_eight_hours_takes_no_more_memory_than_its_first_half_hour() {
    let mut world = World::new();
    world.join("ann", true);
    world.join("bob", true);
    world.join("cho", false);
    let mut first = 0;
    for half_hour in 1..=16 {
        let start = Instant::now();
        for _ in 0..90 {
            world.run(20.0);
            let frames = world.client(2).shown.len();
            assert!(frames > 1000, "{frames} of 1200 frames in 20 s");
            forget_what_was_shown(&mut world);
        }
        let rss = rss_kib();
        if half_hour == 1 {
            first = rss;
        }
        println!(
            "{:>4} min of meeting: {rss} KiB, {} packets forwarded ({:.0} s)",
            half_hour * 30,
            world.sfu.counters().packets_forwarded,
            start.elapsed().as_secs_f64()
        );
        assert!(rss - first < SLACK_KIB, "memory grew from {first} to {rss} KiB");
    }
}

/// Two guests a round, one of whom publishes. Who stays watches nobody: what a connection knows of a stream that it once
/// had (its SRTP counters, RFC 3711 §3.2.3) stays as long as the connection, at both ends.
#[test]
fn two_thousand_joins_and_leaves_take_no_more_memory_than_two_hundred() {
    let mut world = World::new();
    world.join_quietly("ann");
    world.run(2.0);
    let mut first = 0;
    for round in 1..=1000 {
        let publisher = world.join(&format!("guest-{}", round % 7), true);
        let watcher = world.join(&format!("guest-{}", 7 + round % 7), false);
        let sees_both = |w: &mut World| {
            let shown = &w.client(watcher).shown;
            [0, publisher].iter().all(|from| shown.iter().any(|s| usize::from(s.stamp.publisher) == *from))
        };
        world.until(5.0, sees_both).expect("the first pictures");
        world.leave(watcher);
        world.leave(publisher);
        world.run(0.1);
        forget_what_was_shown(&mut world);
        assert_eq!(world.sfu.participants(), 1, "somebody stayed");
        if round % 100 == 0 {
            let rss = rss_kib();
            if first == 0 {
                first = rss;
            }
            println!("{} joins and leaves: {rss} KiB", 2 * round);
            assert!(rss - first < SLACK_KIB, "memory grew from {first} to {rss} KiB");
        }
    }
}
