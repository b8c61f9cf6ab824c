//! Two rooms and a guest in one channel, the 17th terminal, and one user twice
#![allow(clippy::unwrap_used, missing_docs)]

use livekit_protocol::{DisconnectReason, leave_request, signal_response};
use rostrum_hal::FrameSize;
use rostrum_tests::{
    Browser, Lab, lab,
    lab::{CHANNEL, PATIENCE},
    picture,
    signalling::Signalling,
    until,
};
use serde_json::json;
use xtask::room::camera_id;

#[test]
fn two_rooms_and_a_guest_see_each_other() {
    let lab = Lab::new().unwrap();
    let small = "\n[picture]\nwidth = 640\nheight = 360\nframe_rate_hz = 15.0\n";
    let rooms = ["north", "south"].map(|user| lab.room_with(user, None, small, "debug").unwrap());
    for room in &rooms {
        lab::join(room).unwrap();
    }
    let mut browser = Browser::start(lab.dir()).unwrap();
    browser.open("guest", &lab.guest_link("Ada").unwrap()).unwrap();
    for user in ["north", "south"] {
        until(&format!("the guest sees {user}"), PATIENCE, || {
            let bar = browser.picture("guest", user)?.bar();
            Ok(bar.filter(|bar| bar.camera_id == camera_id(user)))
        })
        .unwrap();
    }
    for (room, other) in [(&rooms[0], "south"), (&rooms[1], "north")] {
        until(&format!("{other} on the other room's screen"), PATIENCE, || {
            let bars = picture::bars_on_screen(room, 2, FrameSize::new(640, 360))?;
            Ok(bars.into_iter().flatten().find(|bar| bar.camera_id == camera_id(other)))
        })
        .unwrap();
        let state = room.state().unwrap();
        let users: Vec<_> =
            state["participants"].as_array().unwrap().iter().map(|one| &one["user"]).collect();
        assert!(users.contains(&&json!(other)), "{users:?}");
        assert_eq!(users.len(), 2, "{users:?}");
    }
}

#[test]
fn the_seventeenth_terminal_is_refused_with_the_limit() {
    let lab = Lab::new().unwrap();
    let mut sockets = Vec::new();
    for number in 1..=16 {
        let token = lab.service.token(CHANNEL, &format!("user-{number}"), None).unwrap();
        let mut socket = Signalling::knock(&lab.service.url, "/rtc", &token).unwrap().unwrap();
        socket.receive().unwrap();
        sockets.push(socket);
    }
    let token = lab.service.token(CHANNEL, "user-17", None).unwrap();
    let Err(refusal) = Signalling::knock(&lab.service.url, "/rtc", &token).unwrap() else {
        panic!("the 17th was let in");
    };
    assert!(refusal.reason.contains("16"), "the reason does not name the limit: {refusal:?}");
    // Another channel has room, and so has this one when somebody leaves.
    let elsewhere = lab.service.token("elsewhere", "user-17", None).unwrap();
    assert!(Signalling::knock(&lab.service.url, "/rtc", &elsewhere).unwrap().is_ok());
    drop(sockets.pop());
    until("room for one more", PATIENCE, || {
        Ok(Signalling::knock(&lab.service.url, "/rtc", &token)?.is_ok().then_some(()))
    })
    .unwrap();
}

#[test]
fn the_same_user_twice_replaces_the_first_which_says_why() {
    let lab = Lab::new().unwrap();
    let room = lab.joined_room("room").unwrap();
    let token = lab.service.token(CHANNEL, "room", None).unwrap();
    let mut second = Signalling::knock(&lab.service.url, "/rtc", &token).unwrap().unwrap();
    second.receive().unwrap();
    let state = room.wait_for("the room out", PATIENCE, |state| state["room"]["phase"] == "idle").unwrap();
    let message = state["errors"].to_string();
    assert!(message.contains("another device"), "it does not say why: {message}");

    let mut third = Signalling::knock(&lab.service.url, "/rtc", &token).unwrap().unwrap();
    third.receive().unwrap();
    let leave = second
        .receive_until(|message| match message {
            signal_response::Message::Leave(leave) => Some(leave),
            _ => None,
        })
        .unwrap();
    assert_eq!(leave.reason(), DisconnectReason::DuplicateIdentity);
    assert_eq!(leave.action(), leave_request::Action::Disconnect);
    assert_eq!(lab.users().unwrap(), ["room"]);
}
