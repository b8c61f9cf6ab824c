//! The scaler through the driver `v4l2`, alone and between a camera and the encoder
#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    sync::mpsc::{Receiver, channel},
    time::{Duration, Instant},
};

use rostrum_hal::{
    Frame, FrameData, FrameSize, PixelFormat,
    encoder::EncodedFrame,
    scaler::{ScalerError, ScalerSettings, VideoScaler},
    sim::bar,
};
use rostrum_media::{CameraEvent, CameraPipeline, Codec, Decoder, LayerId, PictureSettings};
use rostrum_rig::{Module, PATIENCE, Streaming, open_board, until};

const ENCODER: Module = Module("rig_h264");
const SCALER: Module = Module("rig_scaler");
const USB_CAMERA: &str = "driver = \"v4l2\"\nserial = \"RIG0001\"";
const VIVID: &str = "driver = \"v4l2\"\ntitle = \"vivid\"";
const VIRTUAL: &str = "driver = \"virtual\"";
/// Emulated, a large picture takes longer than hardware may.
const SECTIONS: &str = "[scaler]\ndriver = \"v4l2\"\nlimit_ms = 5000\n[encoder]\ndriver = \"v4l2\"";
/// With the limit that boards have.
const LIMITED: &str = "[scaler]\ndriver = \"v4l2\"\n[encoder]\ndriver = \"v4l2\"";

const HD: FrameSize = FrameSize::new(1920, 1080);
const MID: FrameSize = FrameSize::new(640, 360);
const LOW: FrameSize = FrameSize::new(320, 180);
const TINY: FrameSize = FrameSize::new(160, 90);

fn rig(camera: &str, size: FrameSize) -> Streaming {
    Streaming::start(camera, SECTIONS, size).unwrap()
}

fn scaler(rig: &Streaming, format: PixelFormat, size: FrameSize) -> Box<dyn VideoScaler> {
    rig.board.scaler.as_ref().unwrap().open(ScalerSettings { format, size }).unwrap()
}

/// Y, U and V of a picture without padding: each its size and samples.
fn planes(frame: &Frame) -> [(FrameSize, Vec<u8>); 3] {
    let kept = frame.in_memory();
    let bytes = kept.bytes().unwrap();
    let FrameSize { width, height } = frame.size;
    let pixels = (width * height) as usize;
    let half = FrameSize::new(width / 2, height / 2);
    let every =
        |from: &[u8], first: usize, step: usize| from.iter().skip(first).step_by(step).copied().collect();
    match frame.format {
        PixelFormat::Yuv420 => {
            let (u, v) = bytes[pixels..].split_at(pixels / 4);
            [(frame.size, bytes[..pixels].to_vec()), (half, u.to_vec()), (half, v.to_vec())]
        }
        PixelFormat::Nv12 => {
            let chroma = &bytes[pixels..];
            [(frame.size, bytes[..pixels].to_vec()), (half, every(chroma, 0, 2)), (half, every(chroma, 1, 2))]
        }
        PixelFormat::Yuyv => {
            let wide = FrameSize::new(width / 2, height);
            [(frame.size, every(bytes, 0, 2)), (wide, every(bytes, 1, 4)), (wide, every(bytes, 3, 4))]
        }
        other => panic!("{other:?}"),
    }
}

/// A plane on the processor at another size: each sample is the mean of those it covers.
fn scaled_on_the_processor(plane: &(FrameSize, Vec<u8>), to: FrameSize) -> Vec<u8> {
    let (from, samples) = plane;
    let covered =
        |at: u32, from: u32, to: u32| at * from / to..((at + 1) * from / to).max(at * from / to + 1);
    let mut out = Vec::new();
    for y in 0..to.height {
        for x in 0..to.width {
            let (rows, columns) = (covered(y, from.height, to.height), covered(x, from.width, to.width));
            let count = (rows.len() * columns.len()) as u32;
            let sum: u32 = rows
                .flat_map(|row| columns.clone().map(move |column| (row * from.width + column) as usize))
                .map(|at| u32::from(samples[at]))
                .sum();
            out.push(((sum + count / 2) / count) as u8);
        }
    }
    out
}

/// Every sample is within one of what the processor makes.
fn assert_same_picture(scaled: &Frame, source: &Frame) {
    for (number, (seen, from)) in planes(scaled).iter().zip(&planes(source)).enumerate() {
        let expected = scaled_on_the_processor(from, seen.0);
        let worst = seen.1.iter().zip(&expected).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        assert!(worst <= 1, "plane {number} of {}: off by {worst}", scaled.size);
    }
    let luma = &planes(scaled)[0].1;
    assert!(luma.iter().max().unwrap() - luma.iter().min().unwrap() > 50, "an empty picture proves nothing");
}

fn shared(frame: &Frame) -> (usize, usize) {
    match &frame.data {
        FrameData::DmaBuf(shared) => (shared.stride, shared.rows),
        _ => panic!("the picture is in memory"),
    }
}

#[test]
fn a_scaled_picture_is_the_one_that_the_processor_makes() {
    // Heights that are multiples of 16 and such that are not; the hardware pads the latter.
    for (camera, from, to) in [
        (VIRTUAL, HD, MID),
        (VIRTUAL, HD, LOW),
        (VIRTUAL, FrameSize::new(1280, 720), MID),
        (VIVID, MID, LOW),
        (USB_CAMERA, MID, LOW),
        (USB_CAMERA, LOW, TINY),
    ] {
        let mut rig = rig(camera, from);
        let frame = rig.frame().unwrap();
        for format in [PixelFormat::Yuv420, PixelFormat::Nv12] {
            let scaled = scaler(&rig, format, to).scale(&frame).unwrap().unwrap();
            assert_eq!((scaled.size, scaled.format), (to, format));
            assert_eq!((scaled.capture_time, scaled.sequence), (frame.capture_time, frame.sequence));
            assert_eq!(shared(&scaled), (to.width as usize, to.height.next_multiple_of(16) as usize));
            assert_same_picture(&scaled, &frame);
        }
    }
}

#[test]
fn a_cameras_buffer_is_read_where_it_lies_and_goes_back_at_once() {
    let mut rig = rig(USB_CAMERA, MID);
    let mut scaler = scaler(&rig, PixelFormat::Yuv420, LOW);
    let before = SCALER.imported_and_copied().unwrap();
    // More frames than camera and scaler have buffers.
    for _ in 0..20 {
        let frame = rig.frame().unwrap();
        assert!(matches!(frame.data, FrameData::DmaBuf(_)), "the camera ran out of buffers");
        shared(&scaler.scale(&frame).unwrap().expect("the scaler ran out of buffers"));
    }
    let after = SCALER.imported_and_copied().unwrap();
    assert_eq!((after.0 - before.0, after.1 - before.1), (20, 0), "imported and copied");
}

#[test]
fn a_cameras_buffer_that_the_scaler_refuses_is_copied_whatever_the_reason() {
    let mut rig = rig(USB_CAMERA, MID);
    // EFAULT, ENOMEM and EINVAL.
    for errno in [14, 12, 22] {
        let mut scaler = scaler(&rig, PixelFormat::Yuv420, LOW);
        let before = SCALER.imported_and_copied().unwrap();
        let _refusal = SCALER.broken("refuse_import", errno).unwrap();
        for _ in 0..2 {
            let frame = rig.frame().unwrap();
            assert!(matches!(frame.data, FrameData::DmaBuf(_)));
            assert_same_picture(&scaler.scale(&frame).unwrap().unwrap(), &frame);
        }
        let after = SCALER.imported_and_copied().unwrap();
        assert_eq!((after.0 - before.0, after.1 - before.1), (0, 2), "imported and copied");
    }
}

#[test]
fn a_scaler_whose_buffers_are_all_lent_waits_for_none_of_them() {
    let mut rig = rig(VIRTUAL, LOW);
    let mut scaler = scaler(&rig, PixelFormat::Yuv420, TINY);
    let frame = rig.frame().unwrap();
    let mut lent = Vec::new();
    while let Some(scaled) = scaler.scale(&frame).unwrap() {
        lent.push(scaled);
        assert!(lent.len() < 20, "there is no end of buffers");
    }
    assert!(lent.len() >= 3, "{} buffers", lent.len());
    drop(lent.pop());
    let scaled = scaler.scale(&frame).unwrap().expect("the buffer did not come back");
    assert!(scaler.scale(&frame).unwrap().is_none());
    // What is lent stays as it is, whatever becomes of the scaler.
    drop(scaler);
    assert_same_picture(&scaled, &frame);
    assert_same_picture(&lent[0], &frame);
}

#[test]
fn two_scalers_work_side_by_side() {
    let mut rig = rig(VIVID, MID);
    let (mut low, mut tiny) = (scaler(&rig, PixelFormat::Yuv420, LOW), scaler(&rig, PixelFormat::Nv12, TINY));
    for _ in 0..3 {
        let frame = rig.frame().unwrap();
        let (first, second) = (low.scale(&frame).unwrap().unwrap(), tiny.scale(&frame).unwrap().unwrap());
        assert_same_picture(&first, &frame);
        assert_same_picture(&second, &frame);
    }
}

#[test]
fn a_padded_picture_is_read_where_it_lies() {
    let mut rig = rig(VIVID, MID);
    let (mut low, mut tiny) = (scaler(&rig, PixelFormat::Yuv420, LOW), scaler(&rig, PixelFormat::Nv12, TINY));
    let before = SCALER.imported_and_copied().unwrap();
    let padded = low.scale(&rig.frame().unwrap()).unwrap().unwrap();
    assert_eq!(shared(&padded), (320, 192));
    assert_same_picture(&tiny.scale(&padded).unwrap().unwrap(), &padded);
    let after = SCALER.imported_and_copied().unwrap();
    assert_eq!((after.0 - before.0, after.1 - before.1), (2, 0), "imported and copied");
}

#[test]
fn frames_of_another_layout_are_scaled_too_and_what_was_lent_stays() {
    let (mut usb, mut virtual_rig) = (rig(USB_CAMERA, MID), rig(VIRTUAL, MID));
    let mut scaler = scaler(&usb, PixelFormat::Yuv420, LOW);
    let (packed, planar) = (usb.frame().unwrap(), virtual_rig.frame().unwrap());
    assert_ne!(packed.format, planar.format);
    let first = scaler.scale(&packed).unwrap().unwrap();
    let second = scaler.scale(&planar).unwrap().unwrap();
    assert_same_picture(&second, &planar);
    assert_same_picture(&first, &packed);
}

#[test]
fn a_picture_that_fails_is_told_and_the_next_scaler_works() {
    let mut rig = rig(VIVID, MID);
    let mut broken = scaler(&rig, PixelFormat::Yuv420, LOW);
    let mut other = scaler(&rig, PixelFormat::Yuv420, TINY);
    let frame = rig.frame().unwrap();
    broken.scale(&frame).unwrap().unwrap();
    other.scale(&frame).unwrap().unwrap();
    let fault = SCALER.broken("fail_frame", 1).unwrap();
    let error = broken.scale(&frame).unwrap_err().to_string();
    assert!(error.contains("rig-scaler"), "{error}");
    drop(fault);
    assert_same_picture(&other.scale(&frame).unwrap().unwrap(), &frame);
    assert_same_picture(&scaler(&rig, PixelFormat::Yuv420, LOW).scale(&frame).unwrap().unwrap(), &frame);
    let _fault = SCALER.broken("fail_open", 1).unwrap();
    let settings = ScalerSettings { format: PixelFormat::Yuv420, size: LOW };
    let error = rig.board.scaler.as_ref().unwrap().open(settings).err().unwrap().to_string();
    assert!(error.contains("rig-scaler"), "{error}");
}

#[test]
fn a_scaler_that_hangs_is_given_up_in_a_tenth_of_a_second() {
    let mut rig = Streaming::start(VIVID, LIMITED, MID).unwrap();
    let mut hung = scaler(&rig, PixelFormat::Yuv420, TINY);
    let frame = rig.frame().unwrap();
    // So long that stopping its queues, which the kernel waits for, would be seen.
    let fault = SCALER.broken("delay_us", 5_000_000).unwrap();
    let start = Instant::now();
    let error = hung.scale(&frame).unwrap_err();
    drop(hung);
    let took = start.elapsed();
    assert!(matches!(error, ScalerError::Hung { .. }), "{error}");
    assert!(took < Duration::from_secs(2), "{took:?}");
    drop(fault);
    // The next one waits in the device behind the picture that hangs.
    let mut next = scaler(&rig, PixelFormat::Yuv420, TINY);
    let scaled = until("scaler again", || {
        next.scale(&frame).ok().flatten().or_else(|| {
            next = scaler(&rig, PixelFormat::Yuv420, TINY);
            None
        })
    });
    assert_same_picture(&scaled.unwrap(), &frame);
}

#[test]
fn a_frame_that_is_shorter_than_it_says_is_refused() {
    let mut rig = rig(VIRTUAL, LOW);
    let mut scaler = scaler(&rig, PixelFormat::Yuv420, TINY);
    let good = rig.frame().unwrap();
    let short = Frame { data: FrameData::Bytes(vec![0; 100].into()), ..good.clone() };
    let jpeg = Frame { format: PixelFormat::Mjpeg, ..good.clone() };
    for wrong in [short, jpeg] {
        assert!(scaler.scale(&wrong).is_err());
    }
    assert_same_picture(&scaler.scale(&good).unwrap().unwrap(), &good);
}

#[test]
fn an_absent_scaler_is_told_with_those_that_are_there() {
    let error =
        open_board("[scaler]\ndriver = \"v4l2\"\ndevice = \"/dev/video99\"").err().unwrap().to_string();
    assert!(error.contains("/dev/video99") && error.contains("rig-scaler"), "{error}");
    // Encoders are in the same list, and scale nothing.
    assert!(!error.contains("rig-h264") && !error.contains("vicodec"), "{error}");
}

/// A camera's pipeline on the board's scaler and encoder.
struct Layers {
    rig: Streaming,
    pipeline: CameraPipeline,
    encoded: Receiver<(LayerId, EncodedFrame)>,
    events: Receiver<CameraEvent>,
}

impl Layers {
    fn new(camera: &str, size: FrameSize) -> Self {
        let rig = rig(camera, size);
        let ((send, encoded), (tell, events)) = (channel(), channel());
        let pipeline = CameraPipeline::new(
            rig.board.encoder.clone(),
            PictureSettings::default(),
            Box::new(move |layer, frame| drop(send.send((layer, frame)))),
            Box::new(move |event| drop(tell.send(event))),
        );
        let pipeline = pipeline.unwrap().with_scaler(rig.board.scaler.clone().unwrap());
        Self { rig, pipeline, encoded, events }
    }

    /// One frame of the camera, and what every layer makes of it.
    fn step(&mut self) -> (Frame, Vec<(LayerId, EncodedFrame)>) {
        let frame = self.rig.frame().unwrap();
        self.pipeline.submit(&frame).unwrap();
        let layers = self.pipeline.layers().len();
        (frame, (0..layers).map(|_| self.encoded.recv_timeout(PATIENCE).unwrap()).collect())
    }

    fn scaled_by_hardware(&self) -> u64 {
        self.pipeline.statistics().layers.iter().map(|layer| layer.scaled_by_hardware).sum()
    }
}

/// The number in the bar of a key frame's picture.
fn number_of(encoded: &EncodedFrame) -> u32 {
    let (send, pictures) = channel();
    let mut decoder =
        Decoder::new(Codec::H264, Box::new(move |frame| drop(send.send(frame))), Box::new(|| ())).unwrap();
    decoder.push(&encoded.data, encoded.capture_time, encoded.key_frame);
    let picture: Frame = pictures.recv_timeout(PATIENCE).unwrap();
    assert_eq!(picture.size, encoded.size);
    bar::read(picture.bytes().unwrap(), picture.size).expect("no bar in the decoded picture").frame_number
}

#[test]
fn no_layer_is_copied_on_its_way_from_the_camera_to_the_encoder() {
    let mut layers = Layers::new(USB_CAMERA, MID);
    let before = [SCALER, ENCODER].map(|module| module.imported_and_copied().unwrap());
    let (_, first) = layers.step();
    let numbers: Vec<u32> = first.iter().map(|(_, encoded)| number_of(encoded)).collect();
    assert!(numbers.len() == 2 && numbers[0] == numbers[1], "{numbers:?}");
    for _ in 0..9 {
        layers.step();
    }
    let after = [SCALER, ENCODER].map(|module| module.imported_and_copied().unwrap());
    // The scaler reads the camera's buffers; the encoder those, and the scaler's.
    for (module, imported) in [(0, 10), (1, 20)] {
        let counted = (after[module].0 - before[module].0, after[module].1 - before[module].1);
        assert_eq!(counted, (imported, 0), "imported and copied");
    }
    assert!(layers.events.try_iter().all(|event| matches!(event, CameraEvent::Layers(_))));
}

#[test]
fn an_encoder_that_fails_restarts_its_layer_only() {
    let mut layers = Layers::new(USB_CAMERA, MID);
    layers.step();
    layers.step();
    // Two frames are encoded for each of the camera's: the first of the next two is the higher layer's.
    let _fault = ENCODER.broken("fail_frame", 1).unwrap();
    let (mut submitted, mut low, mut mid) = (Vec::new(), Vec::new(), Vec::new());
    until("restarted layer", || {
        let frame = layers.rig.frame().unwrap();
        submitted.push(frame.capture_time);
        layers.pipeline.submit(&frame).unwrap();
        // The other layer is never waited for in vain.
        while low.len() < submitted.len() {
            match layers.encoded.recv_timeout(PATIENCE).unwrap() {
                (LayerId::Low, encoded) => low.push(encoded),
                (_, encoded) => mid.push(encoded),
            }
        }
        (mid.len() >= 2).then_some(())
    })
    .unwrap();
    let times: Vec<_> = low.iter().map(|encoded| encoded.capture_time).collect();
    assert_eq!(times, submitted, "the other layer lost frames");
    assert!(low.iter().all(|encoded| !encoded.key_frame), "the other layer started again");
    assert!(mid[0].key_frame && !mid[1].key_frame);
    assert!(mid.len() < low.len(), "nothing failed");
    let told: Vec<_> =
        layers.events.try_iter().filter(|event| !matches!(event, CameraEvent::Layers(_))).collect();
    let [CameraEvent::EncoderFailed { layer: failed, .. }, CameraEvent::EncoderRestarted { layer }] =
        &told[..]
    else {
        panic!("{told:?}")
    };
    assert_eq!((*failed, *layer), (LayerId::Mid, LayerId::Mid));
}

#[test]
fn a_scaler_that_fails_in_mid_stream_loses_no_frame_and_comes_back() {
    let mut layers = Layers::new(USB_CAMERA, MID);
    layers.step();
    let fault = SCALER.broken("fail_frame", 1).unwrap();
    let closed = SCALER.broken("fail_open", 1).unwrap();
    let before = layers.scaled_by_hardware();
    for _ in 0..4 {
        let (frame, encoded) = layers.step();
        assert!(encoded.iter().all(|(_, encoded)| encoded.capture_time == frame.capture_time));
    }
    assert_eq!(layers.scaled_by_hardware(), before);
    drop((fault, closed));
    until("scaler again", || {
        layers.step();
        (layers.scaled_by_hardware() > before).then_some(())
    })
    .unwrap();
    let told: Vec<_> =
        layers.events.try_iter().filter(|event| !matches!(event, CameraEvent::Layers(_))).collect();
    assert!(matches!(&told[..], [CameraEvent::ScalerFailed { .. }]), "{told:?}");
}
