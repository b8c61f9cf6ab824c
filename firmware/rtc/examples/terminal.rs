//! A terminal without hardware: joins a channel, sends a moving test picture in three layers and a tone, both made
//! by `ffmpeg`, and prints what happens.
//!
//! ```text
//! cargo run -p rostrum-rtc --example terminal -- ws://127.0.0.1:7880 CHANNEL USER APPID:APPKEY [SECONDS] [SIZE]
//! ```
//!
//! SIZE is `1280x720` (the default) or `none` to send nothing.
#![allow(clippy::print_stdout)]

use std::{
    collections::HashMap,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use rostrum_rtc::{
    AudioPlan, Event, LayerPlan, Media, NetworkOptions, Rid, Terminal, TerminalOptions, VideoPlan,
    names::{AppId, ChannelId, UserId},
    token::{AppKey, TokenRequest, mint_jwt},
};

type Error = Box<dyn std::error::Error>;

const FRAME_RATE: u32 = 30;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [url, channel, user, app, rest @ ..] = &args[..] else {
        return Err("usage: terminal URL CHANNEL USER APPID:APPKEY [SECONDS] [SIZE|none]".into());
    };
    let seconds: u64 = rest.first().map_or(Ok(10), |s| s.parse())?;
    let size = rest.get(1).map_or("1280x720", String::as_str);
    let (app_id, app_key) = app.split_once(':').ok_or("APPID:APPKEY")?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let request = TokenRequest::participant(
        ChannelId::new(channel.as_str())?,
        UserId::new(user.as_str())?,
        Duration::from_secs(3600),
    );
    let token = mint_jwt(&AppId::new(app_id)?, &AppKey::new(app_key), &request, now)?;

    let layers = layers(size)?;
    let mut streams = HashMap::new();
    for layer in &layers {
        streams.insert(layer.rid, encode(layer)?);
    }
    let opus = tone()?;
    let options = TerminalOptions {
        service_url: url.parse()?,
        token: Arc::new(token),
        udid: format!("udid-{user}"),
        display_name: String::new(),
        video: (!layers.is_empty()).then(|| VideoPlan { layers: layers.clone() }),
        audio: (!layers.is_empty()).then_some(AudioPlan { stereo: false }),
        auto_subscribe: true,
        network: NetworkOptions::default(),
    };
    let began = Instant::now();
    let (terminal, mut events, mut media) = Terminal::start(options);

    // One flag a layer: begin again at the key frame.
    let restart: HashMap<Rid, Arc<AtomicBool>> = Rid::ALL.iter().map(|r| (*r, Arc::default())).collect();
    for (rid, frames) in streams {
        tokio::spawn(send_video(terminal.clone(), rid, frames, restart[&rid].clone()));
    }
    if !layers.is_empty() {
        tokio::spawn(send_audio(terminal.clone(), opus));
    }

    let mut received: HashMap<String, (u64, u64, u64)> = HashMap::new();
    let end = tokio::time::sleep(Duration::from_secs(seconds));
    tokio::pin!(end);
    let mut leaving = false;
    loop {
        let ms = || began.elapsed().as_millis();
        tokio::select! {
            event = events.recv() => match event {
                Some(Event::KeyFrameWanted { rid }) => {
                    println!("{:>6} KeyFrameWanted {rid}", ms());
                    restart[&rid].store(true, Ordering::Relaxed);
                }
                Some(event) => println!("{:>6} {event:?}", ms()),
                None => break,
            },
            Some(media) = media.recv() => {
                let (name, size, key) = match &media {
                    Media::Video { track, data, key_frame, codec, .. } => (format!("{track} {codec:?}"), data.len(), *key_frame),
                    Media::Audio { track, opus, .. } => (track.to_string(), opus.len(), false),
                };
                let entry = received.entry(name.clone()).or_default();
                if entry.0 == 0 {
                    println!("{:>6} first media of {name}, key frame {key}", ms());
                }
                *entry = (entry.0 + 1, entry.1 + size as u64, entry.2 + u64::from(key));
            }
            () = &mut end, if !leaving => {
                leaving = true;
                let terminal = terminal.clone();
                tokio::spawn(async move { terminal.leave().await });
            }
        }
    }
    for (name, (count, bytes, keys)) in received {
        println!("received of {name}: {count} frames or packets, {bytes} bytes, {keys} key frames");
    }
    Ok(())
}

fn layers(size: &str) -> Result<Vec<LayerPlan>, Error> {
    if size == "none" {
        return Ok(Vec::new());
    }
    let (width, height) = size.split_once('x').ok_or("SIZE is WIDTHxHEIGHT")?;
    let (width, height): (u32, u32) = (width.parse()?, height.parse()?);
    let layer = |rid, divisor, max_bitrate_bps| LayerPlan {
        rid,
        width: width / divisor,
        height: height / divisor,
        max_bitrate_bps,
        frame_rate: FRAME_RATE,
    };
    Ok(vec![layer(Rid::F, 1, 1_700_000), layer(Rid::H, 2, 450_000), layer(Rid::Q, 4, 150_000)])
}

/// Ten seconds of a layer: access units with their key frame flags.
fn encode(layer: &LayerPlan) -> Result<Vec<(Bytes, bool)>, Error> {
    let output = Command::new("ffmpeg")
        .args(["-loglevel", "error", "-f", "lavfi", "-i"])
        .arg(format!("testsrc2=size={}x{}:rate={FRAME_RATE}", layer.width, layer.height))
        .args([
            "-t",
            "10",
            "-pix_fmt",
            "yuv420p",
            "-c:v",
            "libx264",
            "-profile:v",
            "baseline",
            "-preset",
            "ultrafast",
        ])
        .args(["-tune", "zerolatency", "-g", "60", "-b:v", &layer.max_bitrate_bps.to_string()])
        .args(["-bsf:v", "h264_metadata=aud=insert", "-f", "h264", "-"])
        .output()?;
    let data = Bytes::from(output.stdout);
    // Every access unit begins with a delimiter.
    let starts: Vec<usize> =
        data.windows(6).enumerate().filter(|(_, w)| w[..5] == [0, 0, 0, 1, 9]).map(|(i, _)| i).collect();
    let ends = starts.iter().skip(1).copied().chain([data.len()]);
    let units = starts.iter().zip(ends).map(|(start, end)| data.slice(*start..end));
    Ok(units
        .map(|unit| (unit.clone(), unit.windows(5).any(|w| w[..4] == [0, 0, 0, 1] && w[4] & 31 == 7)))
        .collect())
}

/// Ten seconds of a tone: Opus packets of 20 ms out of an Ogg file (RFC 7845).
fn tone() -> Result<Vec<Bytes>, Error> {
    let output = Command::new("ffmpeg")
        .args(["-loglevel", "error", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000", "-t", "10"])
        .args(["-c:a", "libopus", "-b:a", "32k", "-frame_duration", "20", "-f", "ogg", "-"])
        .output()?;
    let data = &output.stdout[..];
    let (mut packets, mut packet, mut at) = (Vec::new(), Vec::new(), 0);
    while at + 27 <= data.len() {
        let segments = usize::from(data[at + 26]);
        let table = &data[at + 27..at + 27 + segments];
        let mut body = at + 27 + segments;
        for length in table {
            packet.extend_from_slice(&data[body..body + usize::from(*length)]);
            body += usize::from(*length);
            if *length < 255 {
                packets.push(Bytes::from(std::mem::take(&mut packet)));
            }
        }
        at = body;
    }
    // The first two are headers.
    Ok(packets.split_off(2.min(packets.len())))
}

fn clock() -> Duration {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Duration::new(t.tv_sec.unsigned_abs(), u32::try_from(t.tv_nsec).unwrap_or_default())
}

async fn send_video(terminal: Terminal, rid: Rid, frames: Vec<(Bytes, bool)>, restart: Arc<AtomicBool>) {
    let mut tick = tokio::time::interval(Duration::from_secs(1) / FRAME_RATE);
    let mut next = 0;
    loop {
        tick.tick().await;
        if restart.swap(false, Ordering::Relaxed) {
            next = 0;
        }
        let (data, key_frame) = &frames[next % frames.len()];
        terminal.send_video(rid, data.clone(), clock(), *key_frame);
        next += 1;
    }
}

async fn send_audio(terminal: Terminal, packets: Vec<Bytes>) {
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    for packet in packets.iter().cycle() {
        tick.tick().await;
        terminal.send_audio(packet.clone(), clock(), 960, 20);
    }
}
