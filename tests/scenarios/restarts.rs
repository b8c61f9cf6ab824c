//! Programs that are killed come back by themselves: the service under a meeting, and the terminal
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use std::time::{Duration, Instant};

use rostrum_hal::Timestamp;
use rostrum_tests::{Browser, Lab, lab, lab::PATIENCE, until};

#[test]
fn a_service_that_was_killed_finds_its_room_again_and_media_flows_within_two_seconds() {
    let mut lab = Lab::new().unwrap();
    let room = lab.joined_room("room").unwrap();
    let guest = lab.joined_room("guest-room").unwrap();
    until("media before", PATIENCE, || shown_since(&guest, 0)).unwrap();

    lab.service.kill().unwrap();
    for terminal in [&room, &guest] {
        terminal.wait_for("the loss", PATIENCE, |state| state["room"]["phase"] == "reconnecting").unwrap();
    }
    lab.service.start_again().unwrap();
    let listening = Instant::now();
    let at = Timestamp::now();
    // A picture that was captured after the service listened is on the other room's screen.
    until("media after", Duration::from_secs(2), || {
        let bars = rostrum_tests::picture::bars_on_screen(&guest, 1, rostrum_hal::FrameSize::new(1280, 720))?;
        Ok(bars.into_iter().flatten().find(|bar| bar.capture_time > at))
    })
    .unwrap();
    println!("media {} ms after the service listened", listening.elapsed().as_millis());
    lab::in_channel(&room).unwrap();
}

/// How many pictures the room's screen has shown, when more than `before`.
fn shown_since(room: &xtask::room::Terminal, before: u64) -> anyhow::Result<Option<u64>> {
    let bars = rostrum_tests::picture::bars_on_screen(room, 1, rostrum_hal::FrameSize::new(1280, 720))?;
    Ok(bars.into_iter().flatten().next().map(|_| before + 1))
}

#[test]
fn a_terminal_that_was_killed_is_dropped_and_its_restart_brings_it_back() {
    let lab = Lab::new().unwrap();
    let mut room = lab.joined_room("room").unwrap();
    let mut browser = Browser::start(lab.dir()).unwrap();
    browser.open("guest", &lab.guest_link("Ada").unwrap()).unwrap();
    until("two in the channel", PATIENCE, || Ok((lab.users()?.len() == 2).then_some(()))).unwrap();

    // Killed: the kernel closes its socket, and the service drops it within 5 s.
    room.program.signal("KILL").unwrap();
    until("the terminal dropped", Duration::from_secs(5), || {
        Ok((!lab.users()?.contains(&"room".to_owned())).then_some(()))
    })
    .unwrap();
    room.start_again().unwrap();
    lab::in_channel(&room).unwrap();

    // Frozen: its socket stays open and says nothing, and the service drops it within 15 s.
    room.program.signal("STOP").unwrap();
    let frozen = until("the terminal dropped", Duration::from_secs(15), || {
        Ok((!lab.users()?.contains(&"room".to_owned())).then_some(()))
    });
    room.program.signal("CONT").unwrap();
    frozen.unwrap();
    // It finds out and comes back by itself.
    until("the terminal back", PATIENCE, || Ok(lab.users()?.contains(&"room".to_owned()).then_some(())))
        .unwrap();
}

#[test]
fn a_terminal_asked_to_end_leaves_first() {
    let lab = Lab::new().unwrap();
    let mut room = lab.joined_room("room").unwrap();
    room.program.signal("TERM").unwrap();
    let status = room.program.wait(Duration::from_secs(5)).unwrap();
    assert!(status.success(), "it ended with {status}");
    assert!(lab.users().unwrap().is_empty(), "it did not leave");
}

#[test]
fn a_room_comes_back_after_the_network_was_away() {
    let lab = Lab::new().unwrap();
    let room = lab.joined_room("room").unwrap();
    let guest = lab.joined_room("guest-room").unwrap();
    until("media before", PATIENCE, || shown_since(&guest, 0)).unwrap();
    // A service that stands still answers nothing and closes nothing, as behind a cut cable.
    lab.service.program.signal("STOP").unwrap();
    let lost = room.wait_for("the loss", 2 * PATIENCE, |state| state["room"]["phase"] == "reconnecting");
    lab.service.program.signal("CONT").unwrap();
    lost.unwrap();
    let at = Timestamp::now();
    lab::in_channel(&room).unwrap();
    until("media after", PATIENCE, || {
        let bars = rostrum_tests::picture::bars_on_screen(&guest, 1, rostrum_hal::FrameSize::new(1280, 720))?;
        Ok(bars.into_iter().flatten().find(|bar| bar.capture_time > at))
    })
    .unwrap();
}
