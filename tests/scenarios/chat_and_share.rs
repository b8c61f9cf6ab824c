//! A guest chats with another guest, and shares a screen: large on the room's screen, or alone on its second
#![allow(clippy::unwrap_used, missing_docs)]

use rostrum_media::layout::layout;
use rostrum_tests::{
    Browser, Lab,
    lab::{self, PATIENCE},
    picture, until,
};
use serde_json::json;
use xtask::{paths, room::Terminal};

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

/// Luma and the red chroma in the middle of one of the board's screens.
fn middle(room: &Terminal, content: bool) -> anyhow::Result<(u8, u8)> {
    let url = format!("{}/api/v1/board/screen.yuv?content={content}", room.panel.url);
    let (head, yuv) = xtask::room::http_bytes(&url)?;
    let number = |name: &str| -> anyhow::Result<usize> {
        let value = head.iter().find(|(key, _)| key == name).map(|(_, value)| value.parse());
        Ok(value.ok_or_else(|| anyhow::anyhow!("no {name}"))??)
    };
    let (width, height) = (number("x-width")?, number("x-height")?);
    let (chroma, quarter) = ((height / 4) * (width / 2) + width / 4, width / 2 * (height / 2));
    Ok((yuv[height / 2 * width + width / 2], yuv[width * height + quarter + chroma]))
}

/// Waits until a screen is red in its middle, or is not.
fn wait_for_red(room: &Terminal, content: bool, red: bool) {
    until(&format!("red on the second screen ({content}): {red}"), PATIENCE, || {
        let (luma, chroma) = middle(room, content)?;
        anyhow::ensure!((chroma > 200) == red, "luma {luma}, chroma {chroma}");
        Ok(Some(()))
    })
    .unwrap();
}

#[test]
fn with_a_second_screen_people_stay_on_the_first_and_what_is_shared_has_the_second() {
    let lab = Lab::new().unwrap();
    let board = lab.dir().join("two-screens.toml");
    let text = std::fs::read_to_string(paths::root().join("board/profiles/virtual.toml")).unwrap();
    std::fs::write(
        &board,
        format!("{text}\n[content_display]\ndriver = \"virtual\"\nsize = {{ width = 960, height = 540 }}\n"),
    )
    .unwrap();
    let room = lab.room_on_board(&board, "room").unwrap();
    lab::join(&room).unwrap();
    let mut browser = Browser::start(lab.dir()).unwrap();
    browser.open("guest", &lab.guest_link("Ada").unwrap()).unwrap();
    room.wait_for("the guest's camera", PATIENCE, |state| state["participants"][0]["camera"] == true)
        .unwrap();
    browser.call("guest", "shareRed", json!({})).unwrap();
    wait_for_red(&room, true, true);
    wait_for_red(&room, false, false);

    // Unplugged, the first screen shows everything; plugged in again, each shows its own.
    let fault = |active: bool| {
        room.api("PUT", "/board/faults/content_display_gone", Some(&json!({"active": active}))).unwrap();
    };
    fault(true);
    room.wait_for("the loss told", PATIENCE, |state| state["devices"]["content_display"]["ok"] == false)
        .unwrap();
    until("the share on the first screen", PATIENCE, || {
        let screen = picture::of_screen(&room)?;
        let place = layout(screen.size(), 1, true).share.unwrap().picture;
        let at = ((place.y + place.height / 2) * screen.width + place.x + place.width / 2) as usize * 4;
        anyhow::ensure!(screen.pixels[at] > 150 && screen.pixels[at + 1] < 80, "it is not there");
        Ok(Some(()))
    })
    .unwrap();
    fault(false);
    wait_for_red(&room, true, true);
    wait_for_red(&room, false, false);
}
