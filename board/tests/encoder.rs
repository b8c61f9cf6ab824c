//! What a user of an encoder sees, on the real element of the profile `virtual`.
#![allow(clippy::unwrap_used)]

use std::{
    sync::{Arc, mpsc},
    time::Duration,
};

use pollster::block_on;
use rostrum_board::{OpenOptions, Profile};
use rostrum_hal::{
    Frame, FrameData, FrameSize, PixelFormat, Timestamp,
    camera::StreamFormat,
    encoder::{EncodedFrame, EncoderError, EncoderSettings, VideoEncoder, VideoEncoderFactory},
    sim::{Fault, VirtualBoard, VirtualBoardOptions},
};

const SIZE: FrameSize = FrameSize::new(640, 360);
const PATIENCE: Duration = Duration::from_secs(20);

type Output = mpsc::Receiver<(Timestamp, Result<EncodedFrame, EncoderError>)>;

fn factory() -> (Arc<dyn VideoEncoderFactory>, VirtualBoard) {
    let profile = Profile::named_or_path("virtual").unwrap();
    let board = rostrum_board::open(&profile, OpenOptions::default()).unwrap();
    (board.encoder, board.virtual_board.unwrap())
}

fn open(factory: &dyn VideoEncoderFactory, bitrate_bps: u32) -> (Box<dyn VideoEncoder>, Output) {
    let settings = EncoderSettings { size: SIZE, frame_rate_hz: 30.0, bitrate_bps };
    let (send, receive) = mpsc::channel();
    // The receiver ends with its test, the encoder may outlive it by a frame.
    let sink = Box::new(move |frame| drop(send.send((Timestamp::now(), frame))));
    (factory.open(settings, sink).unwrap(), receive)
}

/// Frames of the virtual room, kept so that encoders can be fed at any pace.
fn frames(count: usize) -> Vec<Frame> {
    let board = VirtualBoard::new(VirtualBoardOptions::default());
    let mut camera = board.camera();
    let wanted = StreamFormat { pixel_format: PixelFormat::Yuv420, size: SIZE, frame_rate_hz: 30.0 };
    block_on(rostrum_hal::camera::Camera::start(&mut camera, wanted)).unwrap();
    (0..count).map(|_| block_on(rostrum_hal::camera::Camera::next_frame(&mut camera)).unwrap()).collect()
}

/// Submits `frame` and waits until it comes out; gives it and how long it took.
fn encode(encoder: &mut dyn VideoEncoder, output: &Output, frame: &Frame) -> (EncodedFrame, Duration) {
    let deadline = Timestamp::now() + PATIENCE;
    let mut begin = Timestamp::now();
    while !encoder.submit(frame).unwrap() {
        assert!(Timestamp::now() < deadline, "the encoder stays busy");
        std::thread::yield_now();
        begin = Timestamp::now();
    }
    let (end, encoded) = output.recv_timeout(PATIENCE).expect("a frame goes in and none comes out");
    (encoded.unwrap(), end.saturating_since(begin))
}

/// Types of the units of an access unit (ITU-T H.264 table 7-1).
fn unit_types(access_unit: &[u8]) -> Vec<u8> {
    let start = |w: &[u8]| w[..3] == [0, 0, 1];
    access_unit.windows(4).filter(|w| start(w)).map(|w| w[3] & 0x1F).collect()
}

/// A frame at 30 Hz on an own clock, so that rate control does not see how fast the test runs.
fn at(frame: &Frame, number: u32) -> Frame {
    let capture_time = Timestamp::from_clock(Duration::from_secs(100) + Duration::from_secs(1) * number / 30);
    Frame { capture_time, ..frame.clone() }
}

#[test]
fn each_frame_comes_out_before_the_next_goes_in_with_its_capture_time() {
    let (factory, _board) = factory();
    let (mut encoder, output) = open(&*factory, 800_000);
    for (number, frame) in frames(20).iter().enumerate() {
        let (encoded, _) = encode(&mut *encoder, &output, frame);
        assert_eq!(encoded.capture_time, frame.capture_time);
        assert_eq!((encoded.key_frame, encoded.size), (number == 0, SIZE));
    }
}

#[test]
fn the_stream_is_annex_b_constrained_baseline_and_key_frames_carry_parameter_sets() {
    let (factory, _board) = factory();
    let (mut encoder, output) = open(&*factory, 800_000);
    let frames = frames(5);
    let (first, _) = encode(&mut *encoder, &output, &frames[0]);
    let types = unit_types(&first.data);
    assert!(types.contains(&7) && types.contains(&8) && types.contains(&5), "units {types:?}");
    let sps = first.data.windows(4).position(|w| w[..3] == [0, 0, 1] && w[3] & 0x1F == 7).unwrap() + 4;
    // profile_idc 66 with constraint_set1_flag is constrained baseline (H.264 A.2.1.1).
    assert_eq!((first.data[sps], first.data[sps + 1] & 0x40), (66, 0x40));
    let (second, _) = encode(&mut *encoder, &output, &frames[1]);
    assert!(unit_types(&second.data).iter().all(|t| *t == 1), "units {:?}", unit_types(&second.data));
}

#[test]
fn a_key_frame_asked_for_is_the_next_frame_and_no_other() {
    let (factory, _board) = factory();
    let (mut encoder, output) = open(&*factory, 800_000);
    let key_frames: Vec<bool> = frames(12)
        .iter()
        .enumerate()
        .map(|(number, frame)| {
            if number == 4 || number == 5 || number == 9 {
                encoder.request_key_frame().unwrap();
            }
            let (encoded, _) = encode(&mut *encoder, &output, frame);
            assert_eq!(encoded.key_frame, unit_types(&encoded.data).contains(&7));
            encoded.key_frame
        })
        .collect();
    let at: Vec<usize> = key_frames.iter().enumerate().filter(|(_, key)| **key).map(|(i, _)| i).collect();
    assert_eq!(at, [0, 4, 5, 9]);
}

/// Bits a second of 60 frames, after 15 in which the encoder settles.
fn rate(encoder: &mut dyn VideoEncoder, output: &Output, frames: &[Frame], number: &mut u32, hz: f64) -> f64 {
    let mut bytes = 0;
    for i in 0..75_usize {
        let frame = at(&frames[i % frames.len()], *number);
        *number += 1;
        let (encoded, _) = encode(encoder, output, &frame);
        if i >= 15 {
            bytes += encoded.data.len();
        }
    }
    bytes as f64 * 8.0 * hz / 60.0
}

#[test]
fn a_bitrate_set_in_mid_stream_is_kept_without_a_key_frame() {
    let (factory, _board) = factory();
    let (mut encoder, output) = open(&*factory, 300_000);
    let (frames, mut number) = (frames(30), 0);
    for bitrate_bps in [300_000, 900_000, 150_000] {
        encoder.set_bitrate(bitrate_bps).unwrap();
        let seen = rate(&mut *encoder, &output, &frames, &mut number, 30.0) / f64::from(bitrate_bps);
        assert!((0.6..1.4).contains(&seen), "{seen} of {bitrate_bps} bit/s");
    }
}

#[test]
fn at_half_the_frame_rate_the_bitrate_stays() {
    let (factory, _board) = factory();
    let (mut encoder, output) = open(&*factory, 400_000);
    let (frames, mut number) = (frames(30), 0);
    encoder.set_frame_rate(15.0).unwrap();
    let seen = rate(&mut *encoder, &output, &frames, &mut number, 15.0) / 400_000.0;
    assert!((0.6..1.4).contains(&seen), "{seen} of 400000 bit/s");
}

#[test]
fn a_busy_encoder_drops_at_once_and_never_queues() {
    let (factory, _board) = factory();
    let (mut encoder, output) = open(&*factory, 800_000);
    let frames = frames(10);
    let (mut taken, mut took) = (0, Vec::new());
    for i in 0..300_u32 {
        let begin = Timestamp::now();
        if encoder.submit(&at(&frames[i as usize % 10], i)).unwrap() {
            taken += 1;
        }
        took.push(Timestamp::now().saturating_since(begin));
    }
    // The median, as a busy machine may stop anybody for a while.
    took.sort();
    assert!(took[150] < Duration::from_millis(1), "submit takes {:?}", took[150]);
    assert!((1..300).contains(&taken), "{taken} of 300 frames in no time were taken");
    for _ in 0..taken {
        output.recv_timeout(PATIENCE).unwrap().1.unwrap();
    }
}

#[test]
fn an_injected_fault_comes_through_the_sink_and_ends_the_encoder() {
    let (factory, board) = factory();
    let (mut encoder, output) = open(&*factory, 800_000);
    let frames = frames(2);
    encode(&mut *encoder, &output, &frames[0]);
    board.set_fault(Fault::EncoderError, true);
    encoder.submit(&frames[1]).unwrap();
    let (_, failed) = output.recv_timeout(PATIENCE).unwrap();
    assert!(matches!(failed, Err(EncoderError::Failed { .. })), "{failed:?}");
    assert!(encoder.submit(&frames[1]).is_err());
    let settings = EncoderSettings { size: SIZE, frame_rate_hz: 30.0, bitrate_bps: 800_000 };
    assert!(factory.open(settings, Box::new(drop)).is_err());
    board.set_fault(Fault::EncoderError, false);
    assert!(encoder.submit(&frames[1]).is_err(), "a failed encoder stays failed");
    let (mut encoder, output) = open(&*factory, 800_000);
    assert!(encode(&mut *encoder, &output, &frames[1]).0.key_frame);
}

#[test]
fn a_frame_of_another_size_or_layout_is_refused() {
    let (factory, _board) = factory();
    let (mut encoder, output) = open(&*factory, 800_000);
    let good = &frames(1)[0];
    let short = Frame { data: FrameData::Bytes(vec![0; 100].into()), ..good.clone() };
    let small = Frame { size: FrameSize::new(320, 180), ..good.clone() };
    let packed = Frame { format: PixelFormat::Yuyv, ..good.clone() };
    for wrong in [short, small, packed] {
        assert!(encoder.submit(&wrong).is_err());
    }
    encode(&mut *encoder, &output, good);
}

#[test]
fn nothing_reaches_the_sink_of_a_dropped_encoder() {
    let (factory, _board) = factory();
    for frame in frames(5) {
        let (mut encoder, output) = open(&*factory, 800_000);
        encoder.submit(&frame).unwrap();
        drop(encoder);
        while output.try_recv().is_ok() {}
        assert_eq!(output.try_recv().unwrap_err(), mpsc::TryRecvError::Disconnected, "the sink lives on");
    }
}

#[test]
fn an_encoder_that_is_not_installed_and_a_wrong_property_are_found_when_the_board_is_opened() {
    let with = |old: &str, new: &str| {
        let text = include_str!("../profiles/virtual.toml").replace(old, new);
        let profile = Profile::parse(&text, "test.toml").unwrap();
        rostrum_board::open(&profile, OpenOptions::default()).err().unwrap().to_string()
    };
    let error = with("x264enc", "x265000enc");
    assert!(error.contains("x265000enc is not installed"), "{error}");
    let error =
        with("element = \"x264enc\"", "element = \"x264enc\"\nproperties = { sped-preset = \"fast\" }");
    assert!(error.contains("[encoder]") && error.contains("speed-preset"), "{error}");
    let error = with("element = \"x264enc\"", "element = \"identity\"");
    assert!(error.contains("identity needs the keys input and bitrate"), "{error}");
}
