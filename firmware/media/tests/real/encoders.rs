//! Real encoders: a factory as a board has one, with faults, and streams of other codecs.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::SeqCst},
    },
};

use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as app;
use gstreamer_video as video;
use rostrum_hal::{
    Frame, FrameSize, Timestamp,
    encoder::{EncodedFrame, EncodedSink, EncoderError, EncoderSettings, VideoEncoder, VideoEncoderFactory},
};
use rostrum_media::Codec;

use crate::pictures::{Inbox, PATIENCE};

const X264: &str = "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=10000 bitrate=2000 ! \
                    video/x-h264,stream-format=byte-stream,alignment=au,profile=constrained-baseline";

/// x264 as a board opens it.
#[derive(Default)]
pub(crate) struct X264Factory {
    pub(crate) opened: Mutex<Vec<EncoderSettings>>,
    /// So many further calls of `open` fail.
    pub(crate) fail_opens: AtomicU32,
    /// The next frame of an encoder this wide fails on its thread.
    pub(crate) fail_width: AtomicU32,
    /// Every frame finds the encoder busy.
    pub(crate) busy: AtomicBool,
}

fn failed(message: &str) -> EncoderError {
    EncoderError::Failed { name: "x264".to_owned(), message: message.to_owned() }
}

/// The factory as its encoders see it.
pub(crate) struct Factory(pub(crate) Arc<X264Factory>);

impl VideoEncoderFactory for Factory {
    fn name(&self) -> String {
        "x264".to_owned()
    }

    fn open(
        &self,
        settings: EncoderSettings,
        sink: EncodedSink,
    ) -> Result<Box<dyn VideoEncoder>, EncoderError> {
        if self.0.fail_opens.fetch_update(SeqCst, SeqCst, |n| n.checked_sub(1)).is_ok() {
            return Err(failed("no encoder left"));
        }
        self.0.opened.lock().unwrap().push(settings);
        let stream = Stream::start(X264, settings.size, sink);
        stream.set_bitrate(settings.bitrate_bps);
        Ok(Box::new(Encoder { stream, factory: self.0.clone(), settings }))
    }
}

struct Encoder {
    stream: Stream,
    factory: Arc<X264Factory>,
    settings: EncoderSettings,
}

impl VideoEncoder for Encoder {
    fn submit(&mut self, frame: &Frame) -> Result<bool, EncoderError> {
        assert_eq!(frame.size, self.settings.size);
        let width = self.settings.size.width;
        if self.factory.fail_width.compare_exchange(width, 0, SeqCst, SeqCst).is_ok() {
            let sink = self.stream.sink.clone();
            std::thread::spawn(move || (sink.lock().unwrap())(Err(failed("injected")))).join().unwrap();
            return Ok(true);
        }
        if self.factory.busy.load(SeqCst) || self.stream.waiting() > 2 {
            return Ok(false);
        }
        self.stream.push(frame);
        Ok(true)
    }

    fn set_bitrate(&mut self, bitrate_bps: u32) -> Result<(), EncoderError> {
        self.stream.set_bitrate(bitrate_bps);
        Ok(())
    }

    fn set_frame_rate(&mut self, _: f64) -> Result<(), EncoderError> {
        Ok(())
    }

    fn request_key_frame(&mut self) -> Result<(), EncoderError> {
        let event = video::UpstreamForceKeyUnitEvent::builder().all_headers(true).build();
        assert!(self.stream.end.send_event(event));
        Ok(())
    }
}

type SharedSink = Arc<Mutex<EncodedSink>>;

/// A running pipeline of an encoder.
struct Stream {
    pipeline: gst::Pipeline,
    source: app::AppSrc,
    end: app::AppSink,
    sink: SharedSink,
    pushed: u64,
    out: Arc<AtomicU64>,
    /// Capture times of the frames that are inside.
    times: Arc<Mutex<VecDeque<Timestamp>>>,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.pipeline.set_state(gst::State::Null).unwrap();
    }
}

impl Stream {
    fn start(encoder: &str, size: FrameSize, sink: EncodedSink) -> Self {
        gst::init().unwrap();
        let FrameSize { width, height } = size;
        let description = format!(
            "appsrc name=source format=time is-live=true caps=video/x-raw,format=I420,width={width},\
             height={height},framerate=30/1,colorimetry=bt709 ! {encoder} ! \
             appsink name=sink sync=false async=false"
        );
        let pipeline: gst::Pipeline = gst::parse::launch(&description).unwrap().downcast().unwrap();
        let source: app::AppSrc = pipeline.by_name("source").unwrap().downcast().unwrap();
        let end: app::AppSink = pipeline.by_name("sink").unwrap().downcast().unwrap();
        let sink: SharedSink = Arc::new(Mutex::new(sink));
        let out = Arc::new(AtomicU64::new(0));
        let times: Arc<Mutex<VecDeque<Timestamp>>> = Arc::default();
        let (count, to, due) = (out.clone(), sink.clone(), times.clone());
        end.set_callbacks(
            app::AppSinkCallbacks::builder()
                .new_sample(move |end| {
                    let sample = end.pull_sample().map_err(|_| gst::FlowError::Eos)?;
                    let buffer = sample.buffer().unwrap();
                    let data = buffer.map_readable().unwrap().as_slice().into();
                    count.fetch_add(1, SeqCst);
                    (to.lock().unwrap())(Ok(EncodedFrame {
                        data,
                        // x264enc counts from a time of its own; frames come out in their order.
                        capture_time: due.lock().unwrap().pop_front().unwrap(),
                        key_frame: !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT),
                        size,
                    }));
                    Ok(gst::FlowSuccess::Ok)
                })
                .build(),
        );
        pipeline.set_state(gst::State::Playing).unwrap();
        Self { pipeline, source, end, sink, pushed: 0, out, times }
    }

    fn waiting(&self) -> u64 {
        self.pushed - self.out.load(SeqCst)
    }

    fn push(&mut self, frame: &Frame) {
        let mut buffer = gst::Buffer::from_slice(frame.bytes().unwrap().to_vec());
        let nanoseconds = frame.capture_time.since_start().as_nanos() as u64;
        let writable = buffer.get_mut().unwrap();
        writable.set_pts(gst::ClockTime::from_nseconds(nanoseconds));
        // GStreamer would pad rows whose length is no multiple of 4.
        let FrameSize { width, height } = frame.size;
        let (w, luma) = (width as i32, (width * height) as usize);
        video::VideoMeta::add_full(
            writable,
            video::VideoFrameFlags::empty(),
            video::VideoFormat::I420,
            width,
            height,
            &[0, luma, luma + luma / 4],
            &[w, w / 2, w / 2],
        )
        .unwrap();
        self.pushed += 1;
        self.times.lock().unwrap().push_back(frame.capture_time);
        self.source.push_buffer(buffer).unwrap();
    }

    fn set_bitrate(&self, bitrate_bps: u32) {
        for element in self.pipeline.iterate_elements().into_iter().flatten() {
            if element.factory().is_some_and(|factory| factory.name() == "x264enc") {
                element.set_property("bitrate", (bitrate_bps / 1000).max(1));
            }
        }
    }
}

/// Encodes `frames` as somebody else's device does, by a GStreamer encoder.
pub(crate) fn encoded_by(encoder: &str, frames: &[Frame]) -> Vec<EncodedFrame> {
    let inbox = Inbox::new();
    let to = inbox.clone();
    let mut stream = Stream::start(encoder, frames[0].size, Box::new(move |result| to.put(result.unwrap())));
    for (index, frame) in frames.iter().enumerate() {
        stream.push(frame);
        assert!(inbox.wait_for(index + 1, PATIENCE), "{encoder} holds frames back");
    }
    inbox.take()
}

/// Encoders that peers use, by codec.
pub(crate) const PEERS: [(Codec, &str); 6] = [
    (Codec::H264, X264),
    (
        Codec::H264,
        "x264enc tune=zerolatency speed-preset=veryfast ! video/x-h264,stream-format=byte-stream,alignment=au,profile=high",
    ),
    (Codec::H264, "openh264enc complexity=low ! video/x-h264,stream-format=byte-stream,alignment=au"),
    (Codec::Vp8, "vp8enc deadline=1 lag-in-frames=0 cpu-used=8"),
    (Codec::Vp9, "vp9enc deadline=1 lag-in-frames=0 cpu-used=8"),
    (Codec::Av1, "av1enc usage-profile=realtime cpu-used=8 lag-in-frames=0 ! video/x-av1,alignment=tu"),
];
