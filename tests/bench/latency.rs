//! Delay from camera to picture and from voice to ear, and what the programs take for it.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::Context;
use rostrum_hal::{
    FrameSize, PixelFormat,
    camera::{Camera, StreamFormat},
    sim::{VirtualBoard, VirtualBoardOptions},
};
use rostrum_tests::{Lab, Python, lab, lab::CHANNEL, sound};

use crate::{
    figures::{Figures, percentile},
    meter::{cpu_seconds, rss_mb},
};

const PATIENCE: Duration = Duration::from_secs(30);
/// Time for encoders and estimates to settle before anything counts.
const SETTLE: Duration = Duration::from_secs(5);

pub(crate) fn run(seconds: u32) -> anyhow::Result<Figures> {
    let length = Duration::from_secs(seconds.into());
    let lab = Lab::with("", "release")?;
    let frames = peer_frames(lab.dir())?;
    let mut figures = Figures::default();

    let room = lab.room_with("room", None, "", "release")?;
    lab::join(&room)?;
    let token = lab.service.token(CHANNEL, "subscriber", None)?;
    let mut subscriber =
        Python::start(lab.dir(), "peer.py", &["--url", &lab.service.url, "--token", &token])?;
    subscriber.event("frame", PATIENCE)?;
    eprintln!("bench: {seconds} s of the room");
    let cpu = (cpu_seconds(room.program.id())?, Instant::now());
    let mut ours = camera_to_picture(&mut subscriber, "room", length)?;
    let cpu_percent = (cpu_seconds(room.program.id())? - cpu.0) / cpu.1.elapsed().as_secs_f64() * 100.0;
    let mut voice = Vec::new();
    for _ in 0..seconds.max(10) / 2 {
        voice.extend(voice_to_ear(&room, &mut subscriber)?);
    }
    let (terminal_rss, service_rss) = (rss_mb(room.program.id())?, rss_mb(lab.service.program.id())?);
    eprintln!("bench: {} pictures, {} measurements of the voice", ours.len(), voice.len());
    drop(room);

    let token = lab.service.token(CHANNEL, "peer", None)?;
    let video = frames.to_string_lossy();
    let mut publisher = Python::start(
        lab.dir(),
        "peer.py",
        &[
            "--url",
            &lab.service.url,
            "--token",
            &token,
            "--no-subscribe",
            "--video",
            &video,
            "--size",
            "1280x720",
        ],
    )?;
    publisher.event("published", PATIENCE)?;
    subscriber.next(PATIENCE, |line| (line["event"] == "frame" && line["user"] == "peer").then_some(()))?;
    eprintln!("bench: {seconds} s of the peer");
    let cpu = (cpu_seconds(publisher.program().id())?, Instant::now());
    let mut peer = camera_to_picture(&mut subscriber, "peer", length)?;
    let peer_cpu = (cpu_seconds(publisher.program().id())? - cpu.0) / cpu.1.elapsed().as_secs_f64() * 100.0;
    let peer_rss = rss_mb(publisher.program().id())?;
    eprintln!("bench: {} pictures of the peer", peer.len());

    let peer_p95 = percentile(&mut peer, 95.0);
    figures.add(
        "camera_to_picture_ms_p50",
        "ms",
        percentile(&mut ours, 50.0),
        Some(percentile(&mut peer, 50.0)),
        None,
    );
    figures.add(
        "camera_to_picture_ms_p95",
        "ms",
        percentile(&mut ours, 95.0),
        Some(peer_p95),
        Some(peer_p95 + 15.0),
    );
    figures.add("voice_to_ear_ms_p50", "ms", percentile(&mut voice, 50.0), None, None);
    figures.add("voice_to_ear_ms_p95", "ms", percentile(&mut voice, 95.0), None, Some(100.0));
    figures.add("terminal_rss_mb", "MB", terminal_rss, Some(peer_rss), Some(120.0));
    figures.add("service_rss_mb", "MB", service_rss, None, None);
    figures.add("terminal_cpu_percent", "%", cpu_percent, Some(peer_cpu), None);
    Ok(figures)
}

/// Delay of each full-size picture of `user` with a bar, in milliseconds.
fn camera_to_picture(subscriber: &mut Python, user: &str, length: Duration) -> anyhow::Result<Vec<f64>> {
    let settled = Instant::now() + SETTLE;
    let end = settled + length;
    let mut delays = Vec::new();
    while Instant::now() < end {
        let frame = subscriber.event("frame", PATIENCE)?;
        let (Some(at), Some(bar)) = (frame["at_us"].as_f64(), frame["bar_us"].as_f64()) else { continue };
        if frame["user"] == user && frame["height"] == 720 && Instant::now() > settled {
            delays.push((at - bar) / 1000.0);
        }
    }
    anyhow::ensure!(delays.len() > 10, "only {} pictures of {user} in full size were seen", delays.len());
    Ok(delays)
}

/// Delay of one piece of the room's voice in milliseconds; none when the room was too quiet to tell.
fn voice_to_ear(room: &xtask::room::Terminal, subscriber: &mut Python) -> anyhow::Result<Option<f64>> {
    subscriber.program().pending_lines();
    subscriber.program().tell(r#"{"do": "sound", "user": "room", "seconds": 1.5}"#)?;
    let answer = subscriber.event("sound", PATIENCE)?;
    let file = answer["file"].as_str().context("no file")?;
    let heard = sound::from_le_bytes(&fs::read(file)?);
    fs::remove_file(file)?;
    let scene = sound::of_board(room, "scene", 6)?;
    let (lag, likeness) = sound::find(&scene.samples, &heard);
    let spoken_us = scene.start_us as f64 + lag as f64 / sound::RATE_HZ as f64 * 1e6;
    let start_us = answer["start_us"].as_f64().context("no start_us")?;
    // The first piece of 10 ms was complete when it was handed out.
    let delay_ms = (start_us - spoken_us) / 1000.0;
    Ok((likeness > 0.5 && delay_ms > 0.0).then_some(delay_ms))
}

/// Pictures of the virtual camera for the peer to publish, as raw I420.
pub(crate) fn peer_frames(dir: &Path) -> anyhow::Result<PathBuf> {
    let board = VirtualBoard::new(VirtualBoardOptions::default());
    let mut camera = board.camera();
    let wanted = StreamFormat {
        pixel_format: PixelFormat::Yuv420,
        size: FrameSize::new(1280, 720),
        frame_rate_hz: 30.0,
    };
    let file = dir.join("frames.i420");
    let mut out = std::io::BufWriter::new(fs::File::create(&file)?);
    embassy_futures::block_on(async {
        camera.start(wanted).await?;
        for _ in 0..60 {
            let frame = camera.next_frame().await?;
            out.write_all(frame.bytes().context("a frame without bytes")?)?;
        }
        anyhow::Ok(())
    })?;
    out.flush()?;
    Ok(file)
}
