//! Recordings: each test writes its own with GStreamer, so that every picture says which it is.
#![allow(clippy::unwrap_used)]

use std::{path::Path, time::Duration};

use gstreamer::{self as gst, prelude::*};
use pollster::block_on;
use rostrum_board::{Clip, OpenOptions, Profile};
use rostrum_hal::{
    FrameSize, PixelFormat, Timestamp,
    camera::StreamFormat,
    microphone::MicrophoneArray,
    sim::{ClipSource, SoundTap, bar},
};

const SIZE: FrameSize = FrameSize::new(320, 180);
const PATIENCE: Duration = Duration::from_secs(20);
/// Pictures of the recording, at 25 a second.
const PICTURES: u32 = 25;

/// H.264 with B frames and AAC, whose decoders and container shift times; and formats without shifts.
const MP4: [&str; 3] = ["x264enc bframes=2 key-int-max=12 ! h264parse", "avenc_aac ! aacparse", "mp4mux"];
const MATROSKA: [&str; 3] = ["jpegenc quality=95", "audioconvert ! audio/x-raw,format=S16LE", "matroskamux"];

/// A picture whose lower half is eight stripes, white where the number's bit is 1.
fn picture(number: u32) -> Vec<u8> {
    let (width, height) = (320, 180);
    let mut yuv = vec![128; width * height * 3 / 2];
    for y in height / 2..height {
        for (bit, stripe) in yuv[y * width..(y + 1) * width].chunks_exact_mut(width / 8).enumerate() {
            stripe.fill(if number >> bit & 1 == 1 { 235 } else { 16 });
        }
    }
    yuv
}

/// The number of a decoded picture.
fn number_of(yuv: &[u8]) -> u32 {
    (0..8).map(|bit| u32::from(yuv[135 * 320 + bit * 40 + 20] > 128) << bit).sum()
}

/// 0.6 s of silence with a burst of noise of 20 ms at 0.25 s.
fn sound() -> Vec<f32> {
    let mut state = 1_u32;
    let burst = 12_000..12_960;
    (0..28_800)
        .map(|i| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            if burst.contains(&i) { (state >> 8) as f32 / (1 << 24) as f32 - 0.5 } else { 0.0 }
        })
        .collect()
}

/// Writes one second of pictures, with 0.6 s of sound unless `sound` is empty.
fn record(path: &Path, [video, audio, mux]: [&str; 3], sound: &[f32], pictures: u32) {
    gst::init().unwrap();
    let video = format!(
        "appsrc name=video format=time caps=video/x-raw,format=I420,width=320,height=180,framerate=25/1 \
         ! {video} ! queue ! mux."
    );
    let audio = format!(
        "appsrc name=audio format=time caps=audio/x-raw,format=F32LE,layout=interleaved,rate=48000,channels=1 \
         ! audioconvert ! {audio} ! queue ! mux."
    );
    let mut text = format!("{mux} name=mux ! filesink location={}", path.display());
    if pictures > 0 {
        text = format!("{text} {video}");
    }
    if !sound.is_empty() {
        text = format!("{text} {audio}");
    }
    let pipeline = gst::parse::launch(&text).unwrap().downcast::<gst::Pipeline>().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let source = |name| pipeline.by_name(name).map(|e| e.downcast::<gstreamer_app::AppSrc>().unwrap());
    let push = |source: &gstreamer_app::AppSrc, bytes: Vec<u8>, begin: Duration, length: Duration| {
        let mut buffer = gst::Buffer::from_mut_slice(bytes);
        let time = |d: Duration| gst::ClockTime::from_nseconds(u64::try_from(d.as_nanos()).unwrap());
        let writable = buffer.get_mut().unwrap();
        writable.set_pts(time(begin));
        writable.set_duration(time(length));
        source.push_buffer(buffer).unwrap();
    };
    if let Some(source) = source("video") {
        let length = Duration::from_millis(40);
        (0..pictures).for_each(|n| push(&source, picture(n), length * n, length));
        source.end_of_stream().unwrap();
    }
    if let Some(source) = source("audio") {
        for (n, chunk) in (0..).zip(sound.chunks(480)) {
            let bytes = chunk.iter().flat_map(|s| s.to_le_bytes()).collect();
            push(&source, bytes, Duration::from_millis(10) * n, Duration::from_millis(10));
        }
        source.end_of_stream().unwrap();
    }
    let bus = pipeline.bus().unwrap();
    let end = bus.timed_pop_filtered(
        gst::ClockTime::from_seconds(20),
        &[gst::MessageType::Eos, gst::MessageType::Error],
    );
    assert!(matches!(end.unwrap().view(), gst::MessageView::Eos(_)), "the recording was not written");
    pipeline.set_state(gst::State::Null).unwrap();
}

/// Asks until the picture at `position` was decoded.
fn wait_for(video: &mut dyn rostrum_hal::sim::ClipVideo, position: Duration) -> rostrum_hal::sim::ClipFrame {
    let deadline = Timestamp::now() + PATIENCE;
    loop {
        if let Some(frame) = video.frame_at(position) {
            return frame;
        }
        assert!(Timestamp::now() < deadline, "no picture at {position:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn every_picture_comes_once_a_round_with_its_index() {
    let folder = tempfile::tempdir().unwrap();
    for (name, formats) in [("clip.mp4", MP4), ("clip.mkv", MATROSKA)] {
        let path = folder.path().join(name);
        record(&path, formats, &[], PICTURES);
        let clip = Clip::open(&path).unwrap();
        assert_eq!((clip.frame_rate_hz(), clip.has_sound(), clip.name().as_str()), (25.0, false, name));
        let mut video = clip.video(SIZE, Duration::ZERO);
        for n in 0..PICTURES * 4 {
            let frame = wait_for(
                &mut *video,
                clip.length() * (n / PICTURES)
                    + Duration::from_millis(40) * (n % PICTURES)
                    + Duration::from_millis(5),
            );
            assert_eq!(frame.index, n % PICTURES, "{name}, picture {n}");
            assert_eq!(number_of(&frame.bytes), n % PICTURES, "{name}, picture {n}");
        }
    }
}

#[test]
fn a_recording_can_begin_in_the_middle_of_any_round() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clip.mp4");
    record(&path, MP4, &[], PICTURES);
    let clip = Clip::open(&path).unwrap();
    let position = clip.length() * 7 + Duration::from_millis(605);
    let mut video = clip.video(SIZE, position);
    // What a seek gives before its target may come first.
    let deadline = Timestamp::now() + PATIENCE;
    while wait_for(&mut *video, position).index < 15 {
        assert!(Timestamp::now() < deadline);
    }
    let next = wait_for(&mut *video, position + Duration::from_millis(40));
    assert_eq!((next.index, number_of(&next.bytes)), (16, 16));
}

#[test]
fn a_picture_of_another_shape_gets_black_borders() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clip.mkv");
    record(&path, MATROSKA, &[], PICTURES);
    let clip = Clip::open(&path).unwrap();
    let frame = wait_for(&mut *clip.video(FrameSize::new(320, 320), Duration::ZERO), Duration::from_secs(1));
    assert_eq!(frame.bytes.len(), 320 * 320 * 3 / 2);
    let at = |y: usize| frame.bytes[y * 320 + 160];
    assert!(at(5) < 20 && at(315) < 20 && at(100).abs_diff(128) < 4, "{} {} {}", at(5), at(315), at(100));
}

#[test]
fn the_virtual_board_shows_and_sounds_the_recording_in_step() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clip.mp4");
    record(&path, MP4, &sound(), PICTURES);
    let options = OpenOptions { clip: Some(path.clone()), ..OpenOptions::default() };
    let board = rostrum_board::open(&Profile::named_or_path("virtual").unwrap(), options).unwrap();
    let mut camera = board.camera.unwrap();
    let handle = board.virtual_board.unwrap();
    let mut microphones = handle.microphones();
    let listener = std::thread::spawn(move || {
        let mut samples = vec![0.0; 480 * 4];
        for _ in 0..420 {
            // A busy machine loses periods; what counts is what was heard when.
            let _ = microphones.read(&mut samples);
        }
    });
    let wanted = StreamFormat { pixel_format: PixelFormat::Yuv420, size: SIZE, frame_rate_hz: 30.0 };
    block_on(camera.start(wanted)).unwrap();
    let mut seen = Vec::new();
    for _ in 0..90 {
        let frame = block_on(camera.next_frame()).unwrap();
        let bar = bar::read(frame.bytes().unwrap(), SIZE).unwrap();
        assert_eq!(number_of(frame.bytes().unwrap()), bar.frame_number);
        seen.push((frame.capture_time.since_start().as_secs_f64(), f64::from(bar.frame_number) / 25.0));
    }
    listener.join().unwrap();
    assert!(seen.iter().any(|(_, place)| *place < 0.2) && seen.iter().any(|(_, place)| *place > 0.8));
    let heard = handle.sound(SoundTap::Scene, Duration::from_secs(60));
    let start = heard.start.since_start().as_secs_f64();
    let mut bursts: Vec<f64> = Vec::new();
    for (i, _) in heard.samples.iter().enumerate().filter(|(_, s)| s.abs() > 0.1) {
        let time = start + i as f64 / 48_000.0;
        if bursts.last().is_none_or(|last| time - last > 0.1) {
            bursts.push(time);
        }
    }
    assert!(bursts.len() >= 3, "bursts at {bursts:?}");
    let length = Clip::open(&path).unwrap().length().as_secs_f64();
    for pair in bursts.windows(2) {
        assert!((pair[1] - pair[0] - length).abs() < 0.005, "a round of {length} s between {bursts:?}");
    }
    // When the burst is heard, the picture of 0.25 s is seen: one camera frame and one picture of slack.
    for burst in &bursts {
        for (_, place) in seen.iter().filter(|(time, _)| (time - burst).abs() < 0.02) {
            assert!((place - 0.25).abs() < 0.1, "picture of {place} s at a burst");
        }
    }
}

#[test]
fn what_cannot_be_played_is_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let error = |name: &str| {
        let error = Clip::open(&folder.path().join(name)).err().unwrap().to_string();
        assert!(error.contains(name), "{error}");
        error
    };
    assert!(error("absent.mp4").contains("No such file"));
    std::fs::create_dir(folder.path().join("folder")).unwrap();
    assert!(error("folder").contains("not a file"));
    std::fs::write(folder.path().join("letter.mp4"), "Dear room,\nthis is not a film.\n".repeat(50)).unwrap();
    error("letter.mp4");
    std::fs::write(folder.path().join("empty.mp4"), "").unwrap();
    error("empty.mp4");
    record(&folder.path().join("sound.mkv"), MATROSKA, &sound(), 0);
    let reason = error("sound.mkv");
    assert!(reason.contains("no picture"), "{reason}");
}

#[test]
fn a_recording_for_a_board_without_virtual_devices_is_refused() {
    let text = "name = \"x\"\n[encoder]\ndriver = \"gstreamer\"\nelement = \"x264enc\"\n\
                [identity]\ndriver = \"file\"\npath = \"/x\"\n";
    let options = OpenOptions { clip: Some("film.mp4".into()), ..OpenOptions::default() };
    let error = rostrum_board::open(&Profile::parse(text, "x.toml").unwrap(), options).err().unwrap();
    assert!(error.to_string().contains("no virtual camera"), "{error}");
}
