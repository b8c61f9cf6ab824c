//! Encoder elements of vendors, by stand-ins under their names: x264 inside, and outside the properties and signals that
//! the vendors' sources show. This proves that the entries of `encoders.toml` set and control elements of these kinds, not
//! that the vendors' elements work.
#![allow(clippy::unwrap_used)]

mod stand_ins;

use std::{sync::mpsc, time::Duration};

use pollster::block_on;
use rostrum_board::{OpenOptions, Profile};
use rostrum_hal::{
    Frame, FrameSize, PixelFormat, Timestamp,
    camera::{Camera, StreamFormat},
    encoder::{EncodedFrame, EncoderError, EncoderSettings, VideoEncoder},
    sim::{VirtualBoard, VirtualBoardOptions},
};

const SIZE: FrameSize = FrameSize::new(640, 360);
const PATIENCE: Duration = Duration::from_secs(20);

type Output = mpsc::Receiver<Result<EncodedFrame, EncoderError>>;

/// Opens a board whose section `[encoder]` has these keys.
fn board(keys: &str) -> Result<rostrum_board::Board, rostrum_board::BoardError> {
    stand_ins::register();
    let text = format!(
        "name = \"vendor\"\n[encoder]\ndriver = \"gstreamer\"\n{keys}\n\
         [identity]\ndriver = \"file\"\npath = \"/nonexistent/udid\"\n"
    );
    rostrum_board::open(&Profile::parse(&text, "vendor.toml").unwrap(), OpenOptions::default())
}

fn open(keys: &str, bitrate_bps: u32) -> (Box<dyn VideoEncoder>, Output) {
    let settings = EncoderSettings { size: SIZE, frame_rate_hz: 30.0, bitrate_bps };
    let (send, receive) = mpsc::channel();
    let sink = Box::new(move |frame| drop(send.send(frame)));
    (board(keys).unwrap().encoder.open(settings, sink).unwrap(), receive)
}

fn frames(count: usize) -> Vec<Frame> {
    let mut camera = VirtualBoard::new(VirtualBoardOptions::default()).camera();
    let wanted = StreamFormat { pixel_format: PixelFormat::Yuv420, size: SIZE, frame_rate_hz: 30.0 };
    block_on(camera.start(wanted)).unwrap();
    (0..count).map(|_| block_on(camera.next_frame()).unwrap()).collect()
}

/// Encodes the `number`th frame of a camera at 30 Hz.
fn encode(encoder: &mut dyn VideoEncoder, output: &Output, frame: &Frame, number: u32) -> EncodedFrame {
    let capture_time = Timestamp::from_clock(Duration::from_secs(100) + Duration::from_secs(1) * number / 30);
    let frame = Frame { capture_time, ..frame.clone() };
    let deadline = Timestamp::now() + PATIENCE;
    while !encoder.submit(&frame).unwrap() {
        assert!(Timestamp::now() < deadline, "the encoder stays busy");
        std::thread::yield_now();
    }
    let encoded = output.recv_timeout(PATIENCE).expect("a frame goes in and none comes out").unwrap();
    assert_eq!(encoded.capture_time, capture_time);
    encoded
}

/// What each vendor's profile says: only the element's name, but that NVIDIA's memory has no stand-in.
const VENDORS: [&str; 4] = [
    "element = \"vpuenc_h264\"",
    "element = \"mpph264enc\"",
    "element = \"nvv4l2h264enc\"\nbefore = \"videoconvert ! capsfilter caps=video/x-raw,format=NV12\"",
    "element = \"v4l2h264enc\"",
];

#[test]
fn a_key_frame_asked_for_is_the_next_frame_and_carries_parameter_sets() {
    for vendor in VENDORS {
        let (mut encoder, output) = open(vendor, 800_000);
        let keys: Vec<u32> = (0..8_u32)
            .zip(&frames(8))
            .filter(|(number, frame)| {
                if [3, 6].contains(number) {
                    encoder.request_key_frame().unwrap();
                }
                let encoded = encode(&mut *encoder, &output, frame, *number);
                let sets = encoded.data.windows(4).any(|bytes| bytes[..3] == [0, 0, 1] && bytes[3] & 31 == 7);
                assert_eq!(encoded.key_frame, sets, "{vendor}");
                encoded.key_frame
            })
            .map(|(number, _)| number)
            .collect();
        assert_eq!(keys, [0, 3, 6], "{vendor}");
    }
}

#[test]
fn a_bitrate_set_in_mid_stream_is_kept() {
    for vendor in VENDORS {
        let (mut encoder, output) = open(vendor, 300_000);
        let (frames, mut number) = (frames(30), 0);
        for bitrate_bps in [300_000, 900_000, 150_000] {
            encoder.set_bitrate(bitrate_bps).unwrap();
            let mut bytes = 0;
            for i in 0..75 {
                let encoded = encode(&mut *encoder, &output, &frames[i % 30], number);
                number += 1;
                // The first ones settle.
                bytes += if i >= 15 { encoded.data.len() } else { 0 };
            }
            let seen = bytes as f64 * 8.0 / 2.0 / f64::from(bitrate_bps);
            assert!((0.6..1.4).contains(&seen), "{vendor}: {seen} of {bitrate_bps} bit/s");
        }
    }
}

#[test]
fn a_bitrate_beyond_what_the_element_takes_is_the_nearest_that_it_takes() {
    // Its own units are bit/s here, of which it takes 2,048,000 at most.
    let keys = "element = \"x264enc\"\nbitrate = { property = \"bitrate\", unit_bps = 1 }";
    let (mut encoder, output) = open(keys, 5_000_000);
    encode(&mut *encoder, &output, &frames(1)[0], 0);
    encoder.set_bitrate(u32::MAX).unwrap();
    encode(&mut *encoder, &output, &frames(1)[0], 1);
}

#[test]
fn what_an_entry_says_is_set_before_the_element_starts() {
    for (vendor, expected) in VENDORS.into_iter().zip([
        "bitrate=800 gop-size=0",
        "bps=800000 rc-mode=cbr header-mode=each-idr profile=baseline level=4 gop=2147483647 qp-max=48",
        "bitrate=800000 control-rate=1 profile=0 insert-sps-pps=true iframeinterval=4294967295 \
         idrinterval=4294967295 num-B-Frames=0 maxperf-enable=true",
        "controls: h264_i_frame_period=2147483647 repeat_sequence_header=1 video_bitrate=800000 \
         video_gop_size=2147483647",
    ]) {
        let (_encoder, _output) = open(vendor, 800_000);
        assert_eq!(stand_ins::last_started(), expected, "{vendor}");
    }
    // With all that its own entry says.
    board("element = \"nvv4l2h264enc\"").unwrap();
}

#[test]
fn a_control_that_the_element_lacks_is_found_when_the_board_is_opened() {
    let x264 = "element = \"x264enc\"";
    for (keys, complaint) in [
        (
            format!("{x264}\nkey_frame = {{ signal = \"force-IDR\" }}"),
            "x264enc has no action signal force-IDR",
        ),
        (
            format!("{x264}\nkey_frame = {{ control = {{ property = \"extra-controls\" }} }}"),
            "x264enc has no property extra-controls",
        ),
        (
            format!("{x264}\nbitrate = {{ property = \"bitrate\", field = \"rate\", unit_bps = 1 }}"),
            "bitrate of x264enc is no structure with a field rate",
        ),
        (
            "element = \"v4l2h264enc\"\nbitrate = { property = \"extra-controls\", unit_bps = 1 }".into(),
            "extra-controls of v4l2h264enc is a structure: name its field",
        ),
        (
            format!("{x264}\nkey_frame = {{ signal = \"pad-removed\" }}"),
            "x264enc has no action signal pad-removed without arguments",
        ),
        (
            format!("{x264}\nkey_frame = {{ signal = \"no-more-pads\" }}"),
            "x264enc has no action signal no-more-pads without arguments",
        ),
        (
            format!("{x264}\nkey_frame = {{ control = {{ property = \"option-string\" }} }}"),
            "option-string of x264enc is no whole number but a gchararray",
        ),
        (
            format!("{x264}\nbitrate = {{ property = \"aud\", unit_bps = 1 }}"),
            "aud of x264enc is no whole number but a gboolean",
        ),
        (
            format!("{x264}\nbitrate = {{ property = \"ip-factor\", unit_bps = 1 }}"),
            "ip-factor of x264enc is no whole number but a gfloat",
        ),
        (
            "element = \"mpph264enc\"\nbitrate = { property = \"made-with\", unit_bps = 1 }".into(),
            "made-with is set by whoever makes the element",
        ),
        (format!("{x264}\nproperties = {{ qp-max = 90 }}"), "qp-max cannot be 90; it takes 0 to 63"),
        (format!("{x264}\nbitrate = {{ property = \"bitrate\", unit_bps = 0 }}"), "expected a nonzero u32"),
        (format!("{x264}\nbefore = \"nosuchelement\""), "before: no element \"nosuchelement\""),
        (format!("{x264}\nkey_frame = \"evnt\""), "unknown variant `evnt`"),
    ] {
        let error = board(&keys).err().unwrap().to_string();
        assert!(error.contains("[encoder]") && error.contains(complaint), "{error}");
    }
}
