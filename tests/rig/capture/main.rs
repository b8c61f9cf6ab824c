//! From the camera to encoded pictures, by our drivers and by GStreamer: what it costs and how long it takes.
//!
//! Runs in the guest, once for each way, and prints one line of JSON. `cargo xtask bench capture` starts it.

use std::{
    fs,
    sync::mpsc::{Receiver, channel},
    time::Duration,
};

use anyhow::{Context, ensure};
use clap::{Parser, ValueEnum};
use gstreamer::{self as gst, prelude::*};
use gstreamer_app::{AppSink, AppSinkCallbacks};
use rostrum_hal::{FrameData, FrameSize, Timestamp, encoder::EncoderSettings};
use rostrum_rig::{Module, PATIENCE, Streaming};
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;

/// Measures one way.
#[derive(Parser)]
struct Arguments {
    /// Who captures and encodes.
    way: Way,
    /// Pictures to measure.
    pictures: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Way {
    /// The drivers of `board`.
    Ours,
    /// `v4l2src ! v4l2h264enc`.
    Gstreamer,
}

const SIZE: FrameSize = FrameSize::new(640, 360);
const RATE_HZ: u32 = 10;
const BITRATE_BPS: u32 = 2_000_000;
/// Pictures before it counts: the first of each is a key frame, and queues are made.
const SETTLE: u32 = 10;
const ENCODER: Module = Module("rig_h264");

/// Time from the camera to the encoded picture, for each.
type Delays = Receiver<Duration>;

fn main() -> anyhow::Result<()> {
    let Arguments { way, pictures } = Arguments::parse();
    match way {
        Way::Ours => ours(pictures),
        Way::Gstreamer => gstreamer(pictures),
    }
}

fn ours(pictures: u32) -> anyhow::Result<()> {
    let camera = "driver = \"v4l2\"\nserial = \"RIG0001\"";
    let mut board = Streaming::start(camera, "[encoder]\ndriver = \"v4l2\"", SIZE)?;
    let settings =
        EncoderSettings { size: SIZE, frame_rate_hz: f64::from(RATE_HZ), bitrate_bps: BITRATE_BPS };
    let (tell_delay, delays) = channel();
    let sink = move |encoded: Result<rostrum_hal::encoder::EncodedFrame, _>| {
        if let Ok(encoded) = encoded {
            let _ = tell_delay.send(Timestamp::now().saturating_since(encoded.capture_time));
        }
    };
    let mut encoder = board.board.encoder.open(settings, Box::new(sink))?;
    let mut copied = 0;
    let mut one = || {
        let frame = board.frame()?;
        copied += u64::from(matches!(frame.data, FrameData::Bytes(_)));
        ensure!(encoder.submit(&frame)?, "the encoder is busy");
        Ok(())
    };
    for _ in 0..SETTLE {
        one()?;
    }
    let meter = Meter::start()?;
    let mut all = Vec::new();
    for _ in 0..pictures {
        one()?;
        all.extend(delays.try_iter());
    }
    let cost = meter.stop(pictures)?;
    // What settled came first.
    all.extend(delays.recv_timeout(PATIENCE));
    drop(encoder);
    tell(all, cost, f64::from(u32::try_from(copied)?) / f64::from(pictures + SETTLE))
}

fn gstreamer(pictures: u32) -> anyhow::Result<()> {
    gst::init()?;
    let camera = camera()?;
    // The camera insists on colours that the encoder's element does not list; only their name is changed between the two.
    let text = format!(
        "v4l2src device={camera} ! video/x-raw,format=YUY2,width={},height={},framerate={RATE_HZ}/1 ! \
         capssetter join=true caps=video/x-raw,colorimetry=(string)bt601 ! \
         v4l2h264enc extra-controls=\"controls,video_bitrate={BITRATE_BPS},h264_i_frame_period=1000000\" ! \
         video/x-h264,level=(string)4 ! appsink name=sink sync=false",
        SIZE.width, SIZE.height,
    );
    let pipeline = gst::parse::launch(&text)?.downcast::<gst::Pipeline>().ok().context("no pipeline")?;
    let sink =
        pipeline.by_name("sink").and_then(|sink| sink.downcast::<AppSink>().ok()).context("no sink")?;
    let (tell_delay, delays) = channel();
    let callbacks = AppSinkCallbacks::builder().new_sample(move |sink| {
        let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
        let captured = sample.buffer().and_then(gst::BufferRef::pts);
        if let (Some(now), Some(captured)) = (sink.current_running_time(), captured) {
            let _ = tell_delay.send(Duration::from_nanos(now.saturating_sub(captured).nseconds()));
        }
        Ok(gst::FlowSuccess::Ok)
    });
    sink.set_callbacks(callbacks.build());
    pipeline.set_state(gst::State::Playing)?;
    wait_for(&delays, SETTLE, &pipeline)?;
    let meter = Meter::start()?;
    let all = wait_for(&delays, pictures, &pipeline)?;
    let cost = meter.stop(pictures)?;
    pipeline.set_state(gst::State::Null)?;
    tell(all, cost, 0.0)
}

fn wait_for(delays: &Delays, pictures: u32, pipeline: &gst::Pipeline) -> anyhow::Result<Vec<Duration>> {
    let one = || {
        delays.recv_timeout(PATIENCE).with_context(|| {
            let message = pipeline.bus().and_then(|bus| bus.pop_filtered(&[gst::MessageType::Error]));
            format!("GStreamer gives no picture: {message:?}")
        })
    };
    (0..pictures).map(|_| one()).collect()
}

/// Node of the rig's USB camera.
fn camera() -> anyhow::Result<String> {
    let mut nodes: Vec<_> = fs::read_dir("/sys/class/video4linux")?
        .flatten()
        .filter(|node| {
            let name = fs::read_to_string(node.path().join("name")).unwrap_or_default();
            let index = fs::read_to_string(node.path().join("index")).unwrap_or_default();
            name.contains("Rig PTZ") && index.trim() == "0"
        })
        .collect();
    let node = nodes.pop().context("the rig's camera is not there")?;
    Ok(format!("/dev/{}", node.file_name().to_string_lossy()))
}

/// Processor time of this process, and frames that the encoder was given by a copy.
struct Meter {
    processor: Duration,
    copied: u64,
}

/// Of one picture.
struct Cost {
    processor_us: f64,
    copies: f64,
}

impl Meter {
    fn start() -> anyhow::Result<Self> {
        Ok(Self { processor: processor_time()?, copied: ENCODER.imported_and_copied()?.1 })
    }

    fn stop(self, pictures: u32) -> anyhow::Result<Cost> {
        let processor = processor_time()?.saturating_sub(self.processor);
        let copied = ENCODER.imported_and_copied()?.1 - self.copied;
        Ok(Cost {
            processor_us: processor.as_secs_f64() * 1e6 / f64::from(pictures),
            copies: f64::from(u32::try_from(copied)?) / f64::from(pictures),
        })
    }
}

fn processor_time() -> anyhow::Result<Duration> {
    Ok(clock_gettime(ClockId::ProcessCPUTime).try_into()?)
}

fn tell(mut delays: Vec<Duration>, cost: Cost, copies: f64) -> anyhow::Result<()> {
    use std::io::Write;
    ensure!(!delays.is_empty(), "no picture was measured");
    delays.sort();
    let at = |percent: usize| delays[(delays.len() - 1) * percent / 100].as_secs_f64() * 1e3;
    let figures = json!({
        "camera_to_encoded_ms_p50": at(50),
        "camera_to_encoded_ms_p95": at(95),
        "cpu_us_per_frame": cost.processor_us,
        "copies_per_frame": cost.copies + copies,
    });
    Ok(writeln!(std::io::stdout(), "{figures}")?)
}
