//! Two rooms whose microphones hear their speakers, and a guest: each hears the others together, and nobody himself
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use std::time::Duration;

use rostrum_tests::{Lab, Python, lab, lab::PATIENCE, picture, sound, until};
use xtask::room::Terminal;

/// Everybody talks all the time: more than that is somebody who is heard.
const HEARD: f32 = 0.16;
/// Voices that have nothing to do with one another are as alike as this.
const UNHEARD: f32 = 0.12;

struct Meeting {
    lab: Lab,
    rooms: [Terminal; 2],
    guest: Python,
    guests_voice: Vec<f32>,
}

impl Meeting {
    /// With more lines of the rooms' configuration; pictures are small, as they are not what is listened to.
    fn new(more: &str) -> Self {
        let lab = Lab::new().unwrap();
        let small = format!("\n[picture]\nwidth = 160\nheight = 90\nframe_rate_hz = 5.0\n{more}");
        let film = xtask::setup::film().unwrap();
        let file = lab.dir().join("guest.wav");
        let voice = picture::fake_microphone(&film, &file).unwrap();
        let mut guest = lab.libwebrtc("guest", &["--audio", &file.to_string_lossy()]).unwrap();
        guest.event("published", PATIENCE).unwrap();
        let rooms = ["north", "south"].map(|user| lab.room_with(user, None, &small, "debug").unwrap());
        for room in &rooms {
            lab::join(room).unwrap();
            room.api("PUT", "/volume", Some(&serde_json::json!({"volume": 100}))).unwrap();
        }
        // In a loop, so that any piece of it is whole somewhere.
        Self { lab, rooms, guest, guests_voice: [&voice[..], &voice[..]].concat() }
    }

    /// What the guest hears of a room.
    fn at_the_guest(&mut self, user: &str) -> anyhow::Result<Vec<f32>> {
        let ask = format!(r#"{{"do": "sound", "user": "{user}", "seconds": 3}}"#);
        self.guest.program().tell(&ask)?;
        let answer = self.guest.event("sound", Duration::from_secs(20))?;
        Ok(sound::from_le_bytes(&std::fs::read(answer["file"].as_str().unwrap_or_default())?))
    }

    /// How alike what room `index` plays is to what is said in the other room, by the guest, and in itself.
    fn at_the_speaker(&self, index: usize) -> anyhow::Result<[f32; 3]> {
        let played = sound::of_board(&self.rooms[index], "speaker", 3)?.samples;
        let said =
            |index: usize| Ok::<_, anyhow::Error>(sound::of_board(&self.rooms[index], "scene", 10)?.samples);
        let like = |said: &[f32]| sound::find(said, &played).1;
        Ok([like(&said(1 - index)?), like(&self.guests_voice), like(&said(index)?)])
    }
}

#[test]
fn each_hears_the_others_together_and_nobody_hears_himself() {
    let mut meeting = Meeting::new("");
    for index in [0, 1] {
        let said = until("both others, and no echo", 3 * PATIENCE, || {
            let [other, guest, own] = meeting.at_the_speaker(index)?;
            let what = format!("other {other:.2}, guest {guest:.2}, own {own:.2}");
            anyhow::ensure!(other > HEARD && guest > HEARD && own < UNHEARD, "{what}");
            Ok(Some(what))
        })
        .unwrap();
        println!("room {index}: {said}");
    }
    for (index, user) in ["north", "south"].into_iter().enumerate() {
        let said = until("the room, and no echo", 3 * PATIENCE, || {
            let heard = meeting.at_the_guest(user)?;
            let room = sound::of_board(&meeting.rooms[index], "scene", 12)?.samples;
            let (room, own) = (sound::find(&room, &heard).1, sound::find(&meeting.guests_voice, &heard).1);
            let what = format!("the room {room:.2}, himself {own:.2}");
            anyhow::ensure!(room > HEARD && own < UNHEARD, "{what}");
            Ok(Some(what))
        })
        .unwrap();
        println!("the guest of {user}: {said}");
    }
    drop(meeting.lab);
}

#[test]
fn without_echo_control_they_would_hear_themselves() {
    let mut meeting = Meeting::new("[voice.chain]\necho = \"off\"\n");
    until("the guest's own voice", 3 * PATIENCE, || {
        let heard = meeting.at_the_guest("north")?;
        let own = sound::find(&meeting.guests_voice, &heard).1;
        anyhow::ensure!(own > 2.0 * HEARD, "{own:.2}");
        Ok(Some(()))
    })
    .unwrap();
}
