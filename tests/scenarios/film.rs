//! A real recording: what the guest receives is like the film's own frame that the bar names
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use std::time::{Duration, Instant};

use rostrum_hal::FrameSize;
use rostrum_tests::{Browser, Lab, lab, lab::PATIENCE, picture, sound, until};

#[test]
fn a_guest_sees_and_hears_the_film_that_the_virtual_camera_plays() {
    let film = xtask::setup::film().unwrap();
    let lab = Lab::new().unwrap();
    let room = lab.room_with("room", Some(&film), "", "debug").unwrap();
    lab::join(&room).unwrap();
    let mut browser = Browser::start(lab.dir()).unwrap();
    browser.open("guest", &lab.guest_link("Ada").unwrap()).unwrap();

    let mut numbers = std::collections::BTreeSet::new();
    let mut worst = 1.0_f64;
    let mut large_since = None;
    until("five pictures of the film", 2 * PATIENCE, || {
        let seen = browser.picture("guest", "room")?;
        let Some(bar) = seen.bar() else { anyhow::bail!("a picture of {} without a bar", seen.size()) };
        if seen.width < 640 {
            return Ok(None);
        }
        // A layer begins with a key frame that is coarse, for its bits leave within a fifth of a second; the
        // pictures that follow make it sharp.
        if large_since.get_or_insert_with(Instant::now).elapsed() < Duration::from_secs(1)
            || !numbers.insert(bar.frame_number)
        {
            return Ok(None);
        }
        let size = FrameSize::new(seen.width, seen.height);
        let source = picture::film_frame(&film, bar.frame_number, size)?;
        let below_the_bar = size.height * 3 / 20 + 2;
        let likeness = picture::likeness(size, below_the_bar, &source, &seen.luma())?;
        worst = worst.min(likeness);
        Ok((numbers.len() >= 5).then_some(()))
    })
    .unwrap();
    println!("worst structural similarity of {} pictures: {worst:.3}", numbers.len());
    assert!(worst > 0.8, "structural similarity {worst}");
    // The check can fail: another frame of the film is less like it.
    let seen = browser.picture("guest", "room").unwrap();
    let size = seen.size();
    let other = (seen.bar().unwrap().frame_number + 66) % 132;
    let other = picture::film_frame(&film, other, size).unwrap();
    let unlike = picture::likeness(size, size.height * 3 / 20 + 2, &other, &seen.luma()).unwrap();
    assert!(unlike < worst, "another frame is as similar: {unlike}");

    until("the film's speech", PATIENCE, || {
        let heard = browser.sound("guest", "room", 2.0)?;
        let scene = sound::of_board(&room, "scene", 10)?;
        let (_, likeness) = sound::find(&scene.samples, &heard);
        if likeness < 0.4 {
            anyhow::bail!("likeness {likeness}")
        }
        Ok(Some(()))
    })
    .unwrap();
}
