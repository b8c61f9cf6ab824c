//! A generated room is heard through ALSA's own library, as devices of user space: its driver changes no sample, and the
//! echo goes
#![allow(clippy::unwrap_used, missing_docs)]

use std::{fs, path::Path, process::Command};

use rostrum_acoustics::{
    cases::{self, CIRCLE, Echo},
    engines::{Chain, FRAME, Processed, run},
    measure,
    scene::Heard,
    speech::Speech,
};
use rostrum_audio::{NoiseSuppression, VoiceOptions};

/// One that the bench does not take by default.
const SEED: u64 = 501;

/// Microphones that hear what is in a file, and a speaker whose sound goes into another (alsa-lib, "Plugin: File").
fn configuration(dir: &Path) -> String {
    let dir = dir.display();
    format!(
        "pcm.silence {{ type null }}\n\
         pcm.room {{ type file; slave.pcm silence; file /dev/null; infile \"{dir}/room.f32\"; format raw }}\n\
         pcm.loudspeaker {{ type file; slave.pcm silence; file \"{dir}/played.f32\"; format raw }}\n"
    )
}

fn profile() -> String {
    let places = CIRCLE.map(|at| format!("{{ x = {:?}, y = {:?}, z = {:?} }}", at.x, at.y, at.z));
    format!(
        "name = \"room\"\n[encoder]\ndriver = \"gstreamer\"\nelement = \"x264enc\"\n\
         [identity]\ndriver = \"virtual\"\nudid = \"room-1\"\n\
         [speaker]\ndriver = \"alsa\"\ndevice = \"loudspeaker\"\n\
         [microphones]\ndriver = \"alsa\"\ndevice = \"room\"\nchannels = {}\ngeometry = [{}]\n",
        CIRCLE.len(),
        places.join(", ")
    )
}

fn bytes(samples: impl IntoIterator<Item = f32>) -> Vec<u8> {
    samples.into_iter().flat_map(f32::to_ne_bytes).collect()
}

fn floats(file: &Path) -> Vec<f32> {
    let bytes = fs::read(file).unwrap();
    bytes.chunks_exact(4).map(|four| f32::from_ne_bytes(four.try_into().unwrap())).collect()
}

/// What the chain makes of the room when ALSA brings it, and what ALSA's loudspeaker was given.
fn through_alsa(heard: &Heard) -> (Processed, Vec<f32>) {
    let dir = tempfile::tempdir().unwrap();
    let interleaved = (0..heard.length()).flat_map(|at| heard.microphones.iter().map(move |plane| plane[at]));
    fs::write(dir.path().join("room.f32"), bytes(interleaved)).unwrap();
    fs::write(dir.path().join("play.f32"), bytes(heard.played[0][..heard.length()].iter().copied())).unwrap();
    fs::write(dir.path().join("alsa.conf"), configuration(dir.path())).unwrap();
    fs::write(dir.path().join("profile.toml"), profile()).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_alsa-room"))
        .env("ALSA_CONFIG_PATH", dir.path().join("alsa.conf"))
        .arg("--profile")
        .arg(dir.path().join("profile.toml"))
        .arg("--play")
        .arg(dir.path().join("play.f32"))
        .arg("--voice")
        .arg(dir.path().join("voice.f32"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let voice = floats(&dir.path().join("voice.f32"));
    (Processed { voice, ..Processed::default() }, floats(&dir.path().join("played.f32")))
}

#[test]
fn a_room_behind_alsa_is_the_room_and_its_echo_goes() {
    let heard = cases::echo(&Speech::fetch().unwrap(), &CIRCLE, Echo::Linear, SEED);
    assert_eq!(heard.clock.drift_ppm, 0.0, "a file has no clock that could drift");
    let (out, played) = through_alsa(&heard);

    // Behind the silence that is queued before the first sample.
    let silence = played.len() - heard.length() / FRAME * FRAME;
    assert!(silence < 10 * FRAME, "{silence} samples before the first");
    assert!(played[..silence].iter().all(|sample| *sample == 0.0));
    assert!(played[silence..].iter().zip(&heard.played[0]).all(|(a, b)| a.to_bits() == b.to_bits()));

    // The same as without ALSA, bit by bit: nothing was lost, repeated or scaled on the way.
    let options = VoiceOptions { noise: NoiseSuppression::Off, gain: false, ..VoiceOptions::default() };
    let mut chain = Chain::new(&heard.geometry, options).unwrap();
    let direct = run(&mut chain, &heard);
    let differs = direct.voice.iter().zip(&out.voice).position(|(a, b)| a.to_bits() != b.to_bits());
    assert_eq!((out.voice.len(), differs), (direct.voice.len() / FRAME * FRAME, None));
    let removed = measure::after_3s_db(&heard, &out);
    assert!(removed >= 40.0, "{removed} dB");
}
