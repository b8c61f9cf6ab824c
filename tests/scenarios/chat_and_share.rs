//! A guest chats with another guest, and shares a screen that is large on the room's screen
#![allow(clippy::unwrap_used, missing_docs)]

use rostrum_media::layout::layout;
use rostrum_tests::{Browser, Lab, lab::PATIENCE, picture, until};
use serde_json::json;

#[test]
fn guests_chat() {
    let lab = Lab::new().unwrap();
    let mut browser = Browser::start(lab.dir()).unwrap();
    for (page, name) in [("one", "Ada"), ("two", "Grace")] {
        browser.open(page, &format!("{}&video=0&audio=0", lab.guest_link(name).unwrap())).unwrap();
        until("connected", PATIENCE, || {
            Ok((browser.call(page, "connection", json!({}))? == "connected").then_some(()))
        })
        .unwrap();
    }
    until("each other", PATIENCE, || {
        let seen = browser.call("two", "participants", json!({}))?;
        Ok((seen.as_array().is_some_and(|all| all.len() == 1)).then_some(()))
    })
    .unwrap();
    browser.click("two", "chat").unwrap();
    browser.click("one", "chat").unwrap();
    browser.fill("one", "chat-input", "Good morning").unwrap();
    browser.click("one", "chat-send").unwrap();
    until("the message", PATIENCE, || {
        let shown = browser.call("two", "chat", json!({}))?;
        Ok(shown.to_string().contains("Good morning").then_some(()))
    })
    .unwrap();
}

#[test]
fn a_shared_screen_is_large_and_the_camera_stays() {
    let lab = Lab::new().unwrap();
    let room = lab.joined_room("room").unwrap();
    let mut browser = Browser::start(lab.dir()).unwrap();
    browser.open("guest", &lab.guest_link("Ada").unwrap()).unwrap();
    room.wait_for("the guest's camera", PATIENCE, |state| state["participants"][0]["camera"] == true)
        .unwrap();
    // A headless browser has no picker of screens: a drawn red surface is published as the screen instead.
    browser.call("guest", "shareRed", json!({})).unwrap();
    room.wait_for("the sharing", PATIENCE, |state| state["participants"][0]["sharing"] == true).unwrap();
    until("the shared picture, large", PATIENCE, || {
        let screen = picture::of_screen(&room)?;
        let place = layout(screen.size(), 1, true).share.unwrap().picture;
        let middle = ((place.y + place.height / 2) * screen.width + place.x + place.width / 2) as usize * 4;
        let (red, green) = (screen.pixels[middle], screen.pixels[middle + 1]);
        if red < 150 || green > 80 {
            anyhow::bail!("in the middle of the share: red {red}, green {green}");
        }
        anyhow::ensure!(place.width * place.height * 2 > screen.width * screen.height, "the share is small");
        Ok(Some(()))
    })
    .unwrap();
}
