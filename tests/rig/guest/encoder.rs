//! The stateful encoder through the driver `v4l2`, alone and fed by cameras without a copy
#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    time::Duration,
};

use rostrum_hal::{
    Frame, FrameData, FrameSize, PixelFormat,
    encoder::{EncodedFrame, EncoderError, EncoderSettings, VideoEncoder},
    sim::bar::{self, Bar},
};
use rostrum_media::{CameraEvent, CameraPipeline, Codec, Decoder, LayerId, PictureSettings};
use rostrum_rig::{Module, PATIENCE, Streaming, open_board, until};

const SIZE: FrameSize = FrameSize::new(320, 180);
/// Counts and breaks.
const ENCODER: Module = Module("rig_h264");
/// So much that every picture is whole.
const PLENTY_BPS: u32 = 100_000_000;
/// What the kernel says of a buffer that a device cannot reach.
const EFAULT: u32 = 14;

type Output = Receiver<Result<EncodedFrame, EncoderError>>;

struct Rig(Streaming);

impl Rig {
    /// A board with the encoder and a camera that streams `size`.
    fn new(camera: &str, size: FrameSize) -> Self {
        Self(Streaming::start(camera, "[encoder]\ndriver = \"v4l2\"", size).unwrap())
    }

    /// With pictures of software.
    fn with_virtual_camera() -> Self {
        Self::new("driver = \"virtual\"", SIZE)
    }

    fn frame(&mut self) -> Frame {
        self.0.frame().unwrap()
    }

    fn encoder(&self, size: FrameSize, bitrate_bps: u32) -> (Box<dyn VideoEncoder>, Output) {
        let (send, receive) = channel();
        let settings = EncoderSettings { size, frame_rate_hz: 10.0, bitrate_bps };
        let sink = Box::new(move |frame| drop(send.send(frame)));
        (self.0.board.encoder.open(settings, sink).unwrap(), receive)
    }
}

/// Puts one frame in and waits for what comes out.
fn encode(encoder: &mut dyn VideoEncoder, output: &Output, frame: &Frame) -> EncodedFrame {
    until("free encoder", || encoder.submit(frame).unwrap().then_some(())).unwrap();
    let encoded = output.recv_timeout(PATIENCE).unwrap().unwrap();
    assert_eq!((encoded.capture_time, encoded.size), (frame.capture_time, frame.size));
    encoded
}

/// Decodes with a decoder that knows nothing of this encoder, and reads the bars.
struct Viewer {
    decoder: Decoder,
    pictures: Receiver<Frame>,
}

impl Viewer {
    fn new() -> Self {
        let (send, pictures) = channel();
        let decoder =
            Decoder::new(Codec::H264, Box::new(move |frame| drop(send.send(frame))), Box::new(|| ()));
        Self { decoder: decoder.unwrap(), pictures }
    }

    fn sees(&mut self, encoded: &EncodedFrame) -> Bar {
        self.decoder.push(&encoded.data, encoded.capture_time, encoded.key_frame);
        let picture = self.pictures.recv_timeout(PATIENCE).unwrap();
        assert_eq!(picture.size, encoded.size);
        bar::read(picture.bytes().unwrap(), picture.size).expect("no bar in the decoded picture")
    }
}

fn bar_of(frame: &Frame) -> Bar {
    let pixels = (frame.size.width * frame.size.height) as usize;
    let luma: Vec<u8> = match frame.format {
        PixelFormat::Yuyv => frame.bytes().unwrap().iter().step_by(2).copied().collect(),
        _ => frame.bytes().unwrap()[..pixels].to_vec(),
    };
    let mut planar = luma;
    planar.resize(pixels * 3 / 2, 128);
    bar::read(&planar, frame.size).unwrap()
}

#[test]
fn what_is_encoded_decodes_to_the_picture() {
    let mut rig = Rig::with_virtual_camera();
    assert_eq!(rig.0.board.encoder.name(), "rig-h264");
    let (mut encoder, output) = rig.encoder(SIZE, PLENTY_BPS);
    let mut viewer = Viewer::new();
    for number in 0..6 {
        let frame = rig.frame();
        let encoded = encode(&mut *encoder, &output, &frame);
        assert_eq!(encoded.key_frame, number == 0);
        let (seen, sent) = (viewer.sees(&encoded), bar_of(&frame));
        assert_eq!((seen.frame_number, seen.camera_id), (sent.frame_number, sent.camera_id));
    }
}

#[test]
fn a_key_frame_asked_for_is_the_next_frame_and_no_other() {
    let mut rig = Rig::with_virtual_camera();
    let (mut encoder, output) = rig.encoder(SIZE, PLENTY_BPS);
    let keys: Vec<bool> = (0..8)
        .map(|number| {
            if number == 3 || number == 4 || number == 6 {
                encoder.request_key_frame().unwrap();
            }
            let frame = rig.frame();
            let encoded = encode(&mut *encoder, &output, &frame);
            // Each carries its parameter sets.
            assert_eq!(encoded.key_frame, encoded.data.windows(4).any(|bytes| bytes == [0, 0, 1, 0x67]));
            encoded.key_frame
        })
        .collect();
    assert_eq!(keys, [true, false, false, true, true, false, true, false]);
}

#[test]
fn a_bitrate_set_in_mid_stream_is_kept_without_a_key_frame() {
    let mut rig = Rig::with_virtual_camera();
    let (mut encoder, output) = rig.encoder(SIZE, 400_000);
    let frame = rig.frame();
    encode(&mut *encoder, &output, &frame);
    for bitrate_bps in [400_000, 1_600_000, 200_000] {
        encoder.set_bitrate(bitrate_bps).unwrap();
        let mut bytes = 0;
        for _ in 0..10 {
            let frame = rig.frame();
            let encoded = encode(&mut *encoder, &output, &frame);
            assert!(!encoded.key_frame);
            bytes += encoded.data.len();
        }
        // At most: there may be less to say.
        let rate = bytes as f64 * 8.0;
        assert!(rate < f64::from(bitrate_bps) * 1.2, "{rate} of {bitrate_bps} bit/s");
        assert!(rate > f64::from(bitrate_bps) * 0.3, "{rate} of {bitrate_bps} bit/s");
    }
}

#[test]
fn frames_of_a_usb_camera_are_encoded_without_a_copy() {
    let mut rig = Rig::new("driver = \"v4l2\"\nserial = \"RIG0001\"", SIZE);
    let (mut encoder, output) = rig.encoder(SIZE, PLENTY_BPS);
    let mut viewer = Viewer::new();
    let before = ENCODER.imported_and_copied().unwrap();
    for _ in 0..5 {
        let frame = rig.frame();
        assert!(matches!(frame.data, FrameData::DmaBuf(_)));
        let encoded = encode(&mut *encoder, &output, &frame);
        assert_eq!(viewer.sees(&encoded).frame_number, bar_of(&frame).frame_number);
    }
    let after = ENCODER.imported_and_copied().unwrap();
    assert_eq!((after.0 - before.0, after.1 - before.1), (5, 0), "imported and copied");
}

#[test]
fn a_cameras_buffer_that_the_encoder_refuses_is_copied() {
    let mut rig = Rig::new("driver = \"v4l2\"\nserial = \"RIG0001\"", SIZE);
    let (mut encoder, output) = rig.encoder(SIZE, PLENTY_BPS);
    let mut viewer = Viewer::new();
    let first = rig.frame();
    viewer.sees(&encode(&mut *encoder, &output, &first));
    let before = ENCODER.imported_and_copied().unwrap();
    let refusal = ENCODER.broken("refuse_import", EFAULT).unwrap();
    for number in 0..5 {
        let frame = rig.frame();
        assert!(matches!(frame.data, FrameData::DmaBuf(_)));
        let encoded = encode(&mut *encoder, &output, &frame);
        // The queues are new.
        assert_eq!(encoded.key_frame, number == 0);
        assert_eq!(viewer.sees(&encoded).frame_number, bar_of(&frame).frame_number);
    }
    drop(refusal);
    // What was refused once is not tried again.
    let frame = rig.frame();
    encode(&mut *encoder, &output, &frame);
    let after = ENCODER.imported_and_copied().unwrap();
    assert_eq!((after.0 - before.0, after.1 - before.1), (0, 6), "imported and copied");
}

#[test]
fn frames_of_a_size_that_is_no_multiple_of_16_are_encoded_without_a_copy() {
    let size = FrameSize::new(640, 360);
    let mut rig = Rig::new("driver = \"v4l2\"\ntitle = \"vivid\"", size);
    let (mut encoder, output) = rig.encoder(size, 4_000_000);
    let before = ENCODER.imported_and_copied().unwrap();
    let mut viewer = Viewer::new();
    for _ in 0..4 {
        let frame = rig.frame();
        let encoded = encode(&mut *encoder, &output, &frame);
        viewer.decoder.push(&encoded.data, encoded.capture_time, encoded.key_frame);
        let picture = viewer.pictures.recv_timeout(PATIENCE).unwrap();
        assert_eq!(picture.size, size);
        if encoded.key_frame {
            // The key frame is whole: the same picture, but for zeros, which the encoder cannot say.
            let (seen, sent) = (picture.bytes().unwrap(), frame.bytes().unwrap());
            let off = seen.iter().zip(sent).filter(|(a, b)| a.abs_diff(**b) > 1).count();
            assert_eq!(off, 0, "of {} bytes", sent.len());
        }
    }
    let after = ENCODER.imported_and_copied().unwrap();
    assert_eq!((after.0 - before.0, after.1 - before.1), (4, 0), "imported and copied");
}

#[test]
fn the_layer_of_the_cameras_own_size_is_never_copied_on_its_way() {
    let mut rig = Rig::new("driver = \"v4l2\"\nserial = \"RIG0001\"", FrameSize::new(640, 360));
    let (send, receive) = channel();
    let sink = Box::new(move |layer, frame| drop(send.send((layer, frame))));
    let (events, happened) = channel();
    let events = Box::new(move |event| drop(events.send(event)));
    let settings = PictureSettings::default();
    let mut pipeline = CameraPipeline::new(rig.0.board.encoder.clone(), settings, sink, events).unwrap();
    let before = ENCODER.imported_and_copied().unwrap();
    let mut seen = [const { Vec::new() }; 3];
    for _ in 0..4 {
        let frame = rig.frame();
        pipeline.submit(&frame).unwrap();
        let layers = pipeline.layers().to_vec();
        assert!(layers.len() >= 2 && layers[0].size == frame.size, "{layers:?}");
        for _ in &layers {
            let (layer, encoded): (LayerId, EncodedFrame) = receive.recv_timeout(PATIENCE).unwrap();
            seen[layer as usize].push(encoded);
        }
        // Layers that a pace left out would make the count above wait for ever; ten frames a second leave out none.
    }
    let after = ENCODER.imported_and_copied().unwrap();
    let others = (pipeline.layers().len() - 1) as u64;
    assert_eq!((after.0 - before.0, after.1 - before.1), (4, 4 * others), "imported and copied");
    for layer in pipeline.layers() {
        let frames = &seen[layer.rid as usize];
        assert!(frames.iter().all(|frame| frame.size == layer.size));
        assert!(frames[0].key_frame);
    }
    assert!(happened.try_iter().all(|event| matches!(event, CameraEvent::Layers(_))));
}

#[test]
fn what_the_encoder_reads_goes_back_to_the_camera() {
    let mut rig = Rig::new("driver = \"v4l2\"\nserial = \"RIG0001\"", SIZE);
    let (mut encoder, output) = rig.encoder(SIZE, 400_000);
    // More frames than the camera has buffers, each let go of by everybody but the encoder.
    for _ in 0..20 {
        let frame = rig.frame();
        assert!(matches!(frame.data, FrameData::DmaBuf(_)), "the camera ran out of buffers");
        encode(&mut *encoder, &output, &frame);
    }
}

#[test]
fn another_source_continues_with_a_key_frame_and_nothing_is_lost() {
    let mut virtual_rig = Rig::with_virtual_camera();
    let mut usb_rig = Rig::new("driver = \"v4l2\"\nserial = \"RIG0001\"", SIZE);
    let (mut encoder, output) = virtual_rig.encoder(SIZE, PLENTY_BPS);
    let mut viewer = Viewer::new();
    let first = virtual_rig.frame();
    viewer.sees(&encode(&mut *encoder, &output, &first));
    // Not waited for: it comes out before the queues are made anew.
    let waiting = virtual_rig.frame();
    assert!(encoder.submit(&waiting).unwrap());
    let other = usb_rig.frame();
    assert!(encoder.submit(&other).unwrap());
    let drained = output.recv_timeout(PATIENCE).unwrap().unwrap();
    assert_eq!(drained.capture_time, waiting.capture_time);
    let encoded = output.recv_timeout(PATIENCE).unwrap().unwrap();
    assert_eq!((encoded.capture_time, encoded.key_frame), (other.capture_time, true));
    assert_eq!(viewer.sees(&drained).frame_number, bar_of(&waiting).frame_number);
    assert_eq!(viewer.sees(&encoded).frame_number, bar_of(&other).frame_number);
}

#[test]
fn layers_are_encoded_side_by_side_and_one_that_fails_takes_no_other_with_it() {
    let mut rig = Rig::with_virtual_camera();
    let mut layers: Vec<_> = (0..3).map(|_| rig.encoder(SIZE, 1_000_000)).collect();
    let frame = rig.frame();
    for (encoder, output) in &mut layers {
        assert!(encode(&mut **encoder, output, &frame).key_frame);
    }
    let _fault = ENCODER.broken("fail_frame", 1).unwrap();
    let frame = rig.frame();
    assert!(layers[1].0.submit(&frame).unwrap());
    let failed = layers[1].1.recv_timeout(PATIENCE).unwrap();
    assert!(matches!(failed, Err(EncoderError::Failed { .. })), "{failed:?}");
    assert!(layers[1].0.submit(&frame).is_err(), "a failed encoder stays failed");
    for layer in [0, 2] {
        let frame = rig.frame();
        let (encoder, output) = &mut layers[layer];
        assert!(!encode(&mut **encoder, output, &frame).key_frame);
    }
    let (mut again, output) = rig.encoder(SIZE, 1_000_000);
    let frame = rig.frame();
    assert!(encode(&mut *again, &output, &frame).key_frame);
}

#[test]
fn an_encoder_that_does_not_open_says_so() {
    let rig = Rig::with_virtual_camera();
    let _fault = ENCODER.broken("fail_open", 1).unwrap();
    let settings = EncoderSettings { size: SIZE, frame_rate_hz: 10.0, bitrate_bps: 400_000 };
    let error = rig.0.board.encoder.open(settings, Box::new(drop)).err().unwrap();
    assert!(error.to_string().contains("rig-h264"), "{error}");
}

#[test]
fn a_busy_encoder_drops_at_once_and_never_queues() {
    let mut rig = Rig::with_virtual_camera();
    let (mut encoder, output) = rig.encoder(SIZE, 400_000);
    let frame = rig.frame();
    encode(&mut *encoder, &output, &frame);
    let _fault = ENCODER.broken("delay_us", 300000).unwrap();
    let frames: Vec<Frame> = (0..6).map(|_| rig.frame()).collect();
    let taken = frames.iter().filter(|frame| encoder.submit(frame).unwrap()).count();
    assert!((1..=3).contains(&taken), "{taken} of 6 frames in no time were taken");
    for _ in 0..taken {
        output.recv_timeout(PATIENCE).unwrap().unwrap();
    }
}

#[test]
fn a_frame_of_another_size_or_layout_is_refused() {
    let mut rig = Rig::with_virtual_camera();
    let (mut encoder, output) = rig.encoder(SIZE, 400_000);
    let good = rig.frame();
    let short = Frame { data: FrameData::Bytes(vec![0; 100].into()), ..good.clone() };
    let small = Frame { size: FrameSize::new(160, 90), ..good.clone() };
    let packed = Frame { format: PixelFormat::Mjpeg, ..good.clone() };
    for wrong in [short, small, packed] {
        assert!(encoder.submit(&wrong).is_err());
    }
    encode(&mut *encoder, &output, &good);
}

#[test]
fn nothing_reaches_the_sink_of_a_dropped_encoder() {
    let mut rig = Rig::with_virtual_camera();
    let (mut encoder, output) = rig.encoder(SIZE, 400_000);
    let frame = rig.frame();
    encoder.submit(&frame).unwrap();
    drop(encoder);
    while output.try_recv().is_ok() {}
    assert!(
        matches!(output.recv_timeout(Duration::ZERO), Err(RecvTimeoutError::Disconnected)),
        "the sink lives on"
    );
}

#[test]
fn an_absent_encoder_is_told_with_those_that_are_there() {
    let error =
        open_board("[encoder]\ndriver = \"v4l2\"\ndevice = \"/dev/video99\"").err().unwrap().to_string();
    assert!(error.contains("/dev/video99") && error.contains("rig-h264"), "{error}");
}

/// The same encoder through GStreamer's element.
fn with_gstreamers_element() -> Rig {
    let section = "[encoder]\ndriver = \"gstreamer\"\nelement = \"v4l2h264enc\"";
    Rig(Streaming::start("driver = \"virtual\"", section, SIZE).unwrap())
}

/// Encodes `count` frames, each before the next.
fn encode_all(
    rig: &mut Rig,
    encoder: &mut dyn VideoEncoder,
    output: &Output,
    count: usize,
) -> Vec<EncodedFrame> {
    (0..count)
        .map(|_| {
            let frame = rig.frame();
            encode(encoder, output, &frame)
        })
        .collect()
}

#[test]
fn gstreamers_element_encodes_the_picture() {
    let mut rig = with_gstreamers_element();
    let (mut encoder, output) = rig.encoder(SIZE, PLENTY_BPS);
    let mut viewer = Viewer::new();
    for number in 0..5 {
        let frame = rig.frame();
        let encoded = encode(&mut *encoder, &output, &frame);
        assert_eq!(encoded.key_frame, number == 0);
        assert_eq!(viewer.sees(&encoded).frame_number, bar_of(&frame).frame_number);
    }
}

#[test]
fn gstreamers_element_makes_a_key_frame_when_asked() {
    let mut rig = with_gstreamers_element();
    let (mut encoder, output) = rig.encoder(SIZE, PLENTY_BPS);
    let mut keys = Vec::new();
    for number in 0..8 {
        if number == 3 || number == 6 {
            encoder.request_key_frame().unwrap();
        }
        let encoded = encode_all(&mut rig, &mut *encoder, &output, 1).remove(0);
        assert_eq!(encoded.key_frame, encoded.data.windows(4).any(|bytes| bytes == [0, 0, 1, 0x67]));
        keys.extend(encoded.key_frame.then_some(number));
    }
    assert_eq!(keys, [0, 3, 6]);
}

#[test]
fn gstreamers_element_keeps_a_bitrate_set_in_mid_stream() {
    let mut rig = with_gstreamers_element();
    let (mut encoder, output) = rig.encoder(SIZE, 400_000);
    encode_all(&mut rig, &mut *encoder, &output, 1);
    for bitrate_bps in [400_000, 1_600_000, 200_000] {
        encoder.set_bitrate(bitrate_bps).unwrap();
        let encoded = encode_all(&mut rig, &mut *encoder, &output, 10);
        assert!(encoded.iter().all(|frame| !frame.key_frame));
        let rate = encoded.iter().map(|frame| frame.data.len()).sum::<usize>() as f64 * 8.0;
        assert!(rate < f64::from(bitrate_bps) * 1.2, "{rate} of {bitrate_bps} bit/s");
        assert!(rate > f64::from(bitrate_bps) * 0.3, "{rate} of {bitrate_bps} bit/s");
    }
}
