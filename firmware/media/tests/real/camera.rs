//! What a camera's frames become.

use std::sync::{Arc, atomic::Ordering::SeqCst};

use rostrum_hal::{Frame, FrameSize, PixelFormat, encoder::EncodedFrame};
use rostrum_media::{
    CameraEvent, CameraPipeline, Codec, Decoder, LayerId, MediaError, Orientation, PictureSettings, jpeg,
};

use crate::{
    encoders::{Factory, X264Factory},
    pictures::{Inbox, PATIENCE, frame, luma, number_of, with_bar},
    scalers::{Device, Scalers},
};

const HD: FrameSize = FrameSize::new(1280, 720);

/// A pipeline and what comes out of it.
struct Rig {
    pipeline: CameraPipeline,
    factory: Arc<X264Factory>,
    encoded: Inbox<(LayerId, EncodedFrame)>,
    events: Inbox<CameraEvent>,
    next: u32,
}

impl Rig {
    fn new(settings: PictureSettings) -> Self {
        let factory = Arc::new(X264Factory::default());
        let (encoded, events) = (Inbox::new(), Inbox::new());
        let (to, told) = (encoded.clone(), events.clone());
        let pipeline = CameraPipeline::new(
            Arc::new(Factory(factory.clone())),
            settings,
            Box::new(move |layer, frame| to.put((layer, frame))),
            Box::new(move |event| told.put(event)),
        )
        .unwrap();
        Self { pipeline, factory, encoded, events, next: 0 }
    }

    /// Submits the next frame, and gives what came out of it once all `layers` encoders are through.
    fn step(&mut self, source: FrameSize, layers: usize) -> Vec<(LayerId, EncodedFrame)> {
        let frame = with_bar(source, self.next);
        self.submit(&frame, layers)
    }

    fn submit(&mut self, frame: &Frame, layers: usize) -> Vec<(LayerId, EncodedFrame)> {
        self.next += 1;
        self.pipeline.submit(frame).unwrap();
        assert!(self.encoded.wait_for(layers, PATIENCE), "{} of {layers} layers", self.encoded.count());
        let mut out = self.encoded.take();
        out.sort_by_key(|(layer, _)| std::cmp::Reverse(*layer));
        assert_eq!(out.len(), layers);
        out
    }
}

fn sizes(out: &[(LayerId, EncodedFrame)]) -> Vec<(&'static str, u32, u32, bool)> {
    out.iter().map(|(id, f)| (id.rid(), f.size.width, f.size.height, f.key_frame)).collect()
}

/// The picture that a key frame shows.
fn decoded(encoded: &EncodedFrame) -> Frame {
    let pictures = Inbox::new();
    let to = pictures.clone();
    let mut decoder =
        Decoder::new(Codec::H264, Box::new(move |frame| to.put(frame)), Box::new(|| ())).unwrap();
    decoder.push(&encoded.data, encoded.capture_time, encoded.key_frame);
    assert!(pictures.wait_for(1, PATIENCE));
    pictures.take().remove(0)
}

#[test]
fn a_camera_is_seen_in_every_layer() {
    let mut rig = Rig::new(PictureSettings::default());
    let out = rig.step(HD, 3);
    assert_eq!(sizes(&out), [("f", 1280, 720, true), ("h", 640, 360, true), ("q", 320, 180, true)]);
    for (layer, encoded) in &out {
        assert_eq!(encoded.capture_time, with_bar(HD, 0).capture_time, "encoder");
        let picture = decoded(encoded);
        assert_eq!(picture.size, encoded.size);
        assert_eq!(number_of(&picture), Some(0), "{layer:?}");
        assert_eq!(picture.capture_time, with_bar(HD, 0).capture_time);
    }
    for _ in 0..5 {
        assert!(rig.step(HD, 3).iter().all(|(_, frame)| !frame.key_frame));
    }
    let statistics = rig.pipeline.statistics();
    assert_eq!(statistics.frames, 6);
    for layer in statistics.layers {
        assert_eq!((layer.submitted, layer.encoded, layer.key_frames, layer.dropped), (6, 6, 1, 0));
        assert!(layer.bytes > 0 && layer.active && layer.bitrate_bps > 0);
    }
}

#[test]
fn a_key_frame_comes_at_once_and_in_its_layer_only() {
    let mut rig = Rig::new(PictureSettings::default());
    rig.step(HD, 3);
    rig.step(HD, 3);
    rig.pipeline.request_key_frame(LayerId::Mid);
    let key: Vec<bool> = rig.step(HD, 3).iter().map(|(_, frame)| frame.key_frame).collect();
    assert_eq!(key, [false, true, false]);
    assert!(rig.step(HD, 3).iter().all(|(_, frame)| !frame.key_frame));
}

#[test]
fn a_layer_that_nobody_watches_stops_and_comes_back_with_a_key_frame() {
    let mut rig = Rig::new(PictureSettings::default());
    rig.step(HD, 3);
    rig.pipeline.set_active(LayerId::High, false);
    assert_eq!(sizes(&rig.step(HD, 2)), [("h", 640, 360, false), ("q", 320, 180, false)]);
    rig.pipeline.set_active(LayerId::High, true);
    assert_eq!(sizes(&rig.step(HD, 3))[0], ("f", 1280, 720, true));
}

#[test]
fn when_nobody_watches_nothing_is_encoded_but_the_room_sees_itself() {
    let mut rig = Rig::new(PictureSettings::default());
    for layer in LayerId::ALL {
        rig.pipeline.set_active(layer, false);
    }
    rig.step(HD, 0);
    assert!(rig.pipeline.last_frame().is_none());
    rig.pipeline.set_preview(true);
    rig.step(HD, 0);
    assert_eq!(number_of(rig.pipeline.last_frame().unwrap()), Some(1));
    assert!(rig.factory.opened.lock().unwrap().is_empty());
}

#[test]
fn the_picture_is_turned_in_a_meeting() {
    let mut rig = Rig::new(PictureSettings::default());
    rig.step(HD, 3);
    let turned = PictureSettings { orientation: Orientation::Right, ..Default::default() };
    rig.pipeline.set_settings(turned);
    let out = rig.step(HD, 3);
    assert_eq!(sizes(&out), [("f", 720, 1280, true), ("h", 360, 640, true), ("q", 180, 320, true)]);
    // The source is dark at its left; a quarter turn clockwise puts that at the top.
    let picture = decoded(&out[0].1);
    let strip = FrameSize::new(300, 100);
    assert!(luma(&picture, 200, 1100, strip) > luma(&picture, 200, 100, strip) + 60.0);
    let told = rig.events.take();
    assert_eq!(told.len(), 2);
    assert!(matches!(&told[1], CameraEvent::Layers(layers) if layers[0].size == FrameSize::new(720, 1280)));
}

#[test]
fn the_picture_is_mirrored_without_a_new_encoder() {
    let mut rig = Rig::new(PictureSettings::default());
    rig.step(HD, 3);
    rig.pipeline.set_settings(PictureSettings { mirror: true, ..Default::default() });
    for layer in LayerId::ALL {
        rig.pipeline.request_key_frame(layer);
    }
    let picture = decoded(&rig.step(HD, 3)[0].1);
    let strip = FrameSize::new(100, 300);
    assert!(luma(&picture, 100, 300, strip) > luma(&picture, 1100, 300, strip) + 60.0);
    assert_eq!(rig.factory.opened.lock().unwrap().len(), 3);
}

#[test]
fn a_smaller_size_and_audio_only_act_in_a_meeting() {
    let mut rig = Rig::new(PictureSettings::default());
    rig.step(HD, 3);
    rig.pipeline.set_settings(PictureSettings { max_size: FrameSize::new(640, 360), ..Default::default() });
    assert_eq!(sizes(&rig.step(HD, 2)), [("h", 640, 360, false), ("q", 320, 180, false)]);
    rig.pipeline.set_settings(PictureSettings { audio_only: true, ..Default::default() });
    rig.step(HD, 0);
    assert!(rig.pipeline.layers().is_empty());
    rig.pipeline.set_settings(PictureSettings::default());
    assert_eq!(sizes(&rig.step(HD, 3))[0], ("f", 1280, 720, true));
}

#[test]
fn a_lower_frame_rate_leaves_frames_out() {
    let mut rig = Rig::new(PictureSettings { frame_rate_hz: 15.0, ..Default::default() });
    let mut counts = Vec::new();
    for number in 0..9 {
        rig.next = number;
        rig.pipeline.submit(&with_bar(HD, number)).unwrap();
        let taken = rig.pipeline.statistics().layers[2].submitted as usize;
        assert!(rig.encoded.wait_for(3 * taken, PATIENCE));
        counts.push(taken);
    }
    assert!((4..=5).contains(counts.last().unwrap()), "{counts:?}");
}

#[test]
fn on_a_narrow_network_the_large_layers_pause_and_the_lowest_lives() {
    let mut rig = Rig::new(PictureSettings::default());
    rig.step(HD, 3);
    rig.pipeline.set_total_bitrate(900_000);
    assert_eq!(sizes(&rig.step(HD, 2)), [("h", 640, 360, false), ("q", 320, 180, false)]);
    rig.pipeline.set_total_bitrate(100_000);
    assert_eq!(sizes(&rig.step(HD, 1)), [("q", 320, 180, false)]);
    rig.pipeline.set_total_bitrate(10_000_000);
    assert_eq!(sizes(&rig.step(HD, 3))[0], ("f", 1280, 720, true));
}

#[test]
fn a_failing_encoder_is_opened_again_and_the_other_layers_do_not_notice() {
    let mut rig = Rig::new(PictureSettings::default());
    rig.step(HD, 3);
    rig.events.take();
    rig.factory.fail_width.store(640, SeqCst);
    rig.step(HD, 2);
    // The failure is noticed at the next frame; for the 100 ms until the next attempt two layers go on.
    for _ in 0..4 {
        assert_eq!(sizes(&rig.step(HD, 2)), [("f", 1280, 720, false), ("q", 320, 180, false)]);
    }
    let out = rig.step(HD, 3);
    assert_eq!(sizes(&out), [("f", 1280, 720, false), ("h", 640, 360, true), ("q", 320, 180, false)]);
    let told = rig.events.take();
    assert!(matches!(told[0], CameraEvent::EncoderFailed { layer: LayerId::Mid, .. }), "{told:?}");
    assert!(matches!(told[1], CameraEvent::EncoderRestarted { layer: LayerId::Mid }), "{told:?}");
    assert_eq!((told.len(), rig.pipeline.statistics().layers[1].failures), (2, 1));
}

#[test]
fn an_encoder_that_does_not_open_is_tried_less_and_less_often() {
    let mut rig = Rig::new(PictureSettings::default());
    for layer in [LayerId::High, LayerId::Mid] {
        rig.pipeline.set_active(layer, false);
    }
    rig.factory.fail_opens.store(4, SeqCst);
    // 100 + 200 + 400 + 800 ms and a frame each: some 49 frames at 30 Hz.
    let mut frames = 0;
    while rig.factory.opened.lock().unwrap().is_empty() {
        rig.pipeline.submit(&with_bar(HD, frames)).unwrap();
        frames += 1;
        assert!(frames < 60);
    }
    assert!((45..=52).contains(&frames), "{frames}");
    let waits: Vec<u128> = rig
        .events
        .take()
        .iter()
        .filter_map(|event| match event {
            CameraEvent::EncoderFailed { retry_in, .. } => Some(retry_in.as_millis()),
            _ => None,
        })
        .collect();
    assert_eq!(waits, [100, 200, 400, 800]);
}

/// A rig with a scaler of the board's.
fn with_scaler() -> (Rig, Arc<Device>) {
    let mut rig = Rig::new(PictureSettings::default());
    let device = Arc::new(Device::default());
    rig.pipeline = rig.pipeline.with_scaler(Arc::new(Scalers(device.clone())));
    (rig, device)
}

fn scaled_by_hardware(rig: &Rig) -> [u64; 3] {
    rig.pipeline.statistics().layers.map(|layer| layer.scaled_by_hardware)
}

#[test]
fn the_boards_scaler_makes_all_layers_but_that_of_the_cameras_size() {
    let (mut rig, device) = with_scaler();
    for (_, encoded) in rig.step(HD, 3) {
        assert_eq!(number_of(&decoded(&encoded)), Some(0), "{}", encoded.size);
    }
    rig.step(HD, 3);
    assert_eq!((scaled_by_hardware(&rig), device.opened.load(SeqCst)), ([2, 2, 0], 2));
}

#[test]
fn when_the_scaler_fails_the_processor_scales_and_it_is_told_once_and_tried_again() {
    let (mut rig, device) = with_scaler();
    rig.step(HD, 3);
    rig.events.take();
    device.fails.store(true, SeqCst);
    // No frame is lost, and no encoder starts again.
    for _ in 0..10 {
        assert!(rig.step(HD, 3).iter().all(|(_, frame)| !frame.key_frame));
    }
    assert_eq!(scaled_by_hardware(&rig), [1, 1, 0]);
    device.fails.store(false, SeqCst);
    // It failed after 33, 133 and 333 ms: the next try is at 733 ms at most.
    let mut steps = 0;
    while scaled_by_hardware(&rig) != [2, 2, 0] {
        rig.step(HD, 3);
        steps += 1;
        assert!(steps < 20, "it is not tried again");
    }
    let told = rig.events.take();
    assert!(matches!(&told[..], [CameraEvent::ScalerFailed { .. }]), "{told:?}");
}

#[test]
fn a_scaler_that_hangs_is_waited_for_once_a_minute_and_the_processor_scales() {
    let (mut rig, device) = with_scaler();
    rig.step(HD, 3);
    rig.events.take();
    device.hangs.store(true, SeqCst);
    let before = device.tried.load(SeqCst);
    // Two frames a second: one is waited for, and that for one of the layers.
    for _ in 0..100 {
        rig.next += 14;
        rig.step(HD, 3);
    }
    assert_eq!(device.tried.load(SeqCst) - before, 1);
    device.hangs.store(false, SeqCst);
    let mut steps = 0;
    while scaled_by_hardware(&rig) != [2, 2, 0] {
        rig.next += 14;
        rig.step(HD, 3);
        steps += 1;
        assert!(steps < 25, "it is not tried again");
    }
    assert!(steps > 18, "it was tried again after {steps} more frames");
    let told = rig.events.take();
    let [CameraEvent::ScalerFailed { error }] = &told[..] else { panic!("{told:?}") };
    assert!(error.to_string().contains("hangs: it gave no picture within 100 ms"), "{error}");
}

#[test]
fn a_scaler_whose_buffers_are_all_at_the_encoder_drops_the_frame() {
    let (mut rig, device) = with_scaler();
    rig.step(HD, 3);
    device.busy.store(true, SeqCst);
    assert_eq!(sizes(&rig.step(HD, 1)), [("f", 1280, 720, false)]);
    device.busy.store(false, SeqCst);
    rig.step(HD, 3);
    assert_eq!(rig.pipeline.statistics().layers.map(|layer| layer.dropped), [1, 1, 0]);
}

#[test]
fn frames_for_a_busy_encoder_are_dropped_and_counted() {
    let mut rig = Rig::new(PictureSettings::default());
    rig.step(HD, 3);
    rig.factory.busy.store(true, SeqCst);
    rig.step(HD, 0);
    rig.factory.busy.store(false, SeqCst);
    rig.step(HD, 3);
    assert_eq!(rig.pipeline.statistics().layers.map(|layer| layer.dropped), [1, 1, 1]);
}

#[test]
fn every_source_format_is_sent() {
    let original = with_bar(HD, 0);
    let bytes = original.bytes().unwrap();
    let pixels = (HD.width * HD.height) as usize;
    // The picture has no colour, so all chroma is 128.
    let nv12 = [bytes[..pixels].to_vec(), vec![128; pixels / 2]].concat();
    let yuyv = bytes[..pixels].iter().flat_map(|luma| [*luma, 128]).collect();
    let mjpeg = jpeg(&original, HD.width, 90).unwrap();
    for (format, bytes) in [(PixelFormat::Nv12, nv12), (PixelFormat::Yuyv, yuyv), (PixelFormat::Mjpeg, mjpeg)]
    {
        let mut rig = Rig::new(PictureSettings::default());
        for (_, encoded) in rig.submit(&frame(format, HD, 0, bytes.clone()), 3) {
            assert_eq!(number_of(&decoded(&encoded)), Some(0), "{format:?} {}", encoded.size);
        }
    }
}

#[test]
fn a_broken_frame_is_refused_and_the_next_one_sent() {
    let mut rig = Rig::new(PictureSettings::default());
    let short = frame(PixelFormat::Nv12, HD, 0, vec![0; 1000]);
    assert!(matches!(rig.pipeline.submit(&short), Err(MediaError::BadFrame { .. })));
    let encoded = frame(PixelFormat::H264, HD, 0, vec![0; 1000]);
    assert!(matches!(rig.pipeline.submit(&encoded), Err(MediaError::Unsupported { .. })));
    rig.step(HD, 3);
}

#[test]
fn a_source_that_changes_its_size_changes_the_layers() {
    let mut rig = Rig::new(PictureSettings::default());
    rig.step(HD, 3);
    assert_eq!(sizes(&rig.step(FrameSize::new(320, 180), 1)), [("q", 320, 180, false)]);
    assert_eq!(sizes(&rig.step(FrameSize::new(640, 480), 2)), [("h", 640, 480, true), ("q", 320, 240, true)]);
}
