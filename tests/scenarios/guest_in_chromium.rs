//! A press of Join on the panel, and a guest in real Chromium sees and hears the room, and is seen and heard
#![allow(clippy::unwrap_used, missing_docs)]

use std::time::Duration;

use rostrum_hal::{FrameSize, Timestamp};
use rostrum_tests::{
    Browser, Lab,
    browser::FakeDevices,
    lab::{PATIENCE, in_channel},
    picture, sound, until,
};
use serde_json::json;

const GUEST_CAMERA: FrameSize = FrameSize::new(640, 360);
const GUEST_CAMERA_ID: u8 = 77;

#[test]
fn a_room_and_a_guest_see_and_hear_each_other() {
    let film = xtask::setup::film().unwrap();
    let lab = Lab::new().unwrap();
    let (video, audio) = (lab.dir().join("guest.y4m"), lab.dir().join("guest.wav"));
    picture::fake_camera(&film, &video, GUEST_CAMERA, 100, GUEST_CAMERA_ID).unwrap();
    let guest_voice = picture::fake_microphone(&film, &audio).unwrap();
    let room = lab.room("room").unwrap();
    let devices = FakeDevices { video: Some(&video), audio: Some(&audio), ..FakeDevices::default() };
    let mut browser = Browser::with(lab.dir(), &devices).unwrap();

    // A person presses Join on the panel's page.
    browser.open("panel", &room.panel.url).unwrap();
    browser.click("panel", "join").unwrap();
    in_channel(&room).unwrap();
    browser.open("guest", &lab.guest_link("Ada").unwrap()).unwrap();

    // The guest's page shows this room's picture, and it is live.
    let seen = until("the room's bar in the guest's picture", PATIENCE, || {
        let now = Timestamp::now();
        let picture = browser.picture("guest", "room")?;
        let Some(bar) = picture.bar() else { anyhow::bail!("a picture of {} without a bar", picture.size()) };
        Ok(Some((bar, now)))
    });
    let (bar, now) = seen.unwrap();
    let age = Timestamp::now().saturating_since(bar.capture_time);
    assert!(
        bar.capture_time <= Timestamp::now() && age < Duration::from_secs(3),
        "the picture is {age:?} old"
    );
    let moved = until("a later picture", PATIENCE, || {
        Ok(browser.picture("guest", "room")?.bar().filter(|later| later.capture_time > now))
    });
    assert!(moved.unwrap().frame_number != bar.frame_number);

    // And plays its sound.
    let heard = until("the room's voice in the guest's ears", PATIENCE, || {
        let heard = browser.sound("guest", "room", 3.0)?;
        let scene = sound::of_board(&room, "scene", 12)?;
        let (_, likeness) = sound::find(&scene.samples, &heard);
        if likeness < 0.4 {
            anyhow::bail!("likeness {likeness}, level {}", sound::level(&heard))
        }
        Ok(Some(likeness))
    });
    heard.unwrap();

    // The room's screen shows the guest's picture.
    until("the guest's bar on the room's screen", PATIENCE, || {
        let bars = picture::bars_on_screen(&room, 1, GUEST_CAMERA)?;
        Ok(bars.into_iter().flatten().find(|bar| bar.camera_id == GUEST_CAMERA_ID))
    })
    .unwrap();
    // And its speaker plays the guest's voice.
    until("the guest's voice on the room's speaker", PATIENCE, || {
        let played = sound::of_board(&room, "speaker", 3)?;
        // The film loops, so what was played may run over its end.
        let (_, likeness) = sound::find(&[&guest_voice[..], &guest_voice[..]].concat(), &played.samples);
        if likeness < 0.4 {
            anyhow::bail!("likeness {likeness}, level {}", sound::level(&played.samples))
        }
        Ok(Some(likeness))
    })
    .unwrap();

    // The panel says who is here.
    until("the guest's name on the panel", PATIENCE, || {
        Ok(browser.page_text("panel")?.contains("Ada").then_some(()))
    })
    .unwrap();

    // Leaving empties the channel.
    browser.click("guest", "leave").unwrap();
    until("the guest gone", PATIENCE, || Ok((lab.users()? == ["room"]).then_some(()))).unwrap();
    browser.click("panel", "leave").unwrap();
    until("the channel empty", PATIENCE, || Ok(lab.users()?.is_empty().then_some(()))).unwrap();
}

#[test]
fn a_guest_may_join_by_hand_and_without_camera() {
    let lab = Lab::new().unwrap();
    let room = lab.joined_room("room").unwrap();
    let mut browser = Browser::start(lab.dir()).unwrap();
    let link = lab.service.guest_link(rostrum_tests::lab::CHANNEL).unwrap();
    browser.open("guest", &format!("{link}&debug=1&video=0")).unwrap();
    browser.fill("guest", "name", "Grace").unwrap();
    browser.click("guest", "join").unwrap();
    room.wait_for("the guest on the panel", PATIENCE, |state| {
        state["participants"]
            .as_array()
            .is_some_and(|all| all.iter().any(|one| one["name"] == "Grace" && one["camera"] == json!(false)))
    })
    .unwrap();
}
