//! One stream of a recording (its picture or its sound), decoded as fast as it is taken.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use gstreamer::{self as gst, prelude::*};
use gstreamer_app::AppSink;
use gstreamer_video::{self as gst_video, prelude::*};
use parking_lot::Mutex;
use rostrum_hal::FrameSize;

use crate::elements;

/// Longest time until a readable file gives its first picture or sound.
const PATIENCE: gst::ClockTime = gst::ClockTime::from_seconds(20);
/// How often a waiting reader looks whether it is still needed.
const GLANCE: gst::ClockTime = gst::ClockTime::from_mseconds(50);

/// What is taken out of a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Pictures in the recording's own size.
    Picture,
    /// Pictures with black borders where the shape differs.
    PictureOf(FrameSize),
    /// Mono sound at 48 kHz.
    Sound,
}

/// A decoder of one stream. The file is read no faster than samples are taken.
pub(crate) struct ClipStream {
    pipeline: gst::Pipeline,
    drain: AppSink,
    findings: Arc<Mutex<Findings>>,
}

/// What the decoder found in the file.
#[derive(Default)]
struct Findings {
    picture: bool,
    sound: bool,
    /// A format without a decoder.
    undecodable: Option<String>,
    /// All that the file holds was seen, and what is wanted is not among it.
    missing: bool,
}

/// What came out of a stream.
pub(crate) enum Taken {
    /// A sample, and its time from the file's start.
    Sample(gst::Sample, Duration),
    /// The end of the file.
    End,
    /// Nothing yet.
    Nothing,
}

impl ClipStream {
    /// Begins to decode.
    pub(crate) fn open(path: &Path, wanted: Wanted) -> Result<Self, String> {
        let make = |element: &str| elements::make(element).map_err(|e| e.to_string());
        let (source, decode) = (make("filesrc")?, make("decodebin")?);
        source.set_property("location", absolute(path).as_os_str().to_string_lossy().as_ref());
        let drain: AppSink =
            make("appsink")?.downcast().map_err(|_| "appsink is another element".to_owned())?;
        drain.set_sync(false);
        drain.set_caps(Some(&caps(wanted)));
        let chain: &[&str] = match wanted {
            Wanted::Sound => &["audioconvert", "audioresample"],
            Wanted::Picture | Wanted::PictureOf(_) => &["videoconvert", "videoscale"],
        };
        // Some 100 ms, as the reader has a store of its own.
        drain.set_max_buffers(if wanted == Wanted::Sound { 8 } else { 2 });
        let chain = chain.iter().map(|element| make(element)).collect::<Result<Vec<_>, _>>()?;
        let pipeline = gst::Pipeline::new();
        let last: &gst::Element = drain.upcast_ref();
        let behind: Vec<&gst::Element> = chain.iter().chain([last]).collect();
        pipeline
            .add_many([&source, &decode])
            .and_then(|()| pipeline.add_many(&behind))
            .and_then(|()| source.link(&decode))
            .and_then(|()| gst::Element::link_many(&behind))
            .map_err(|e| e.to_string())?;
        let findings = Arc::new(Mutex::new(Findings::default()));
        let entry = chain[0].clone();
        decode.connect_pad_added({
            let findings = findings.clone();
            move |_, pad| note_and_link(pad, &entry, &findings, wanted)
        });
        decode.connect("no-more-pads", false, {
            let findings = findings.clone();
            move |_| {
                let mut findings = findings.lock();
                findings.missing = if wanted == Wanted::Sound { !findings.sound } else { !findings.picture };
                None
            }
        });
        decode.connect("unknown-type", false, {
            let findings = findings.clone();
            move |values| {
                let caps = values.get(2).and_then(|v| v.get::<gst::Caps>().ok());
                let name = caps.and_then(|caps| caps.structure(0).map(|s| s.name().to_string()));
                findings.lock().undecodable = name;
                None
            }
        });
        let stream = Self { pipeline, drain, findings };
        let started = stream.pipeline.set_state(gst::State::Playing);
        started.map_err(|e| stream.error().unwrap_or_else(|| e.to_string()))?;
        Ok(stream)
    }

    /// The first sample; an error says why the file cannot be played.
    pub(crate) fn first(&self) -> Result<(gst::Sample, Duration), String> {
        let mut waited = gst::ClockTime::ZERO;
        while waited < PATIENCE {
            match self.take() {
                Taken::Sample(sample, time) => return Ok((sample, time)),
                Taken::End => return Err(self.error().unwrap_or_else(|| "it is empty".into())),
                Taken::Nothing => {
                    if let Some(error) = self.error() {
                        return Err(error);
                    }
                    // Not every demultiplexer complains when nobody takes what it gives.
                    let findings = self.findings.lock();
                    if findings.missing && findings.undecodable.is_none() {
                        let (there, absent) =
                            if findings.sound { ("sound", "picture") } else { ("a picture", "sound") };
                        return Err(format!("it has {there} but no {absent}"));
                    }
                }
            }
            waited += GLANCE;
        }
        Err("its decoder gives nothing".into())
    }

    /// The next sample; returns after 50 ms when there is none.
    pub(crate) fn take(&self) -> Taken {
        match self.drain.try_pull_sample(GLANCE) {
            Some(sample) => match time_of(&sample) {
                Some(time) => Taken::Sample(sample, time),
                None => Taken::Nothing,
            },
            None if self.drain.is_eos() => Taken::End,
            None => Taken::Nothing,
        }
    }

    /// Goes to a place; `false` when this file does not allow it.
    pub(crate) fn seek(&self, to: Duration) -> bool {
        let to = gst::ClockTime::from_nseconds(u64::try_from(to.as_nanos()).unwrap_or(u64::MAX));
        self.pipeline.seek_simple(gst::SeekFlags::FLUSH | gst::SeekFlags::ACCURATE, to).is_ok()
    }

    /// Length of the file, when it says one.
    pub(crate) fn duration(&self) -> Option<Duration> {
        let duration = self.pipeline.query_duration::<gst::ClockTime>()?;
        Some(Duration::from_nanos(duration.nseconds())).filter(|d| !d.is_zero())
    }

    /// Whether the file has sound that can be decoded.
    pub(crate) fn has_sound(&self) -> bool {
        self.findings.lock().sound
    }

    /// What went wrong so far.
    pub(crate) fn error(&self) -> Option<String> {
        let message = self.pipeline.bus()?.pop_filtered(&[gst::MessageType::Error])?;
        let gst::MessageView::Error(error) = message.view() else { return None };
        let findings = self.findings.lock();
        Some(match &findings.undecodable {
            Some(format) if format.starts_with("video/") || format.starts_with("audio/") => {
                format!("there is no decoder for {format}; install the package gstreamer1.0-libav")
            }
            Some(format) => format!("it is no recording but {format}"),
            None if findings.sound && !findings.picture => "it has sound but no picture".into(),
            None if error.error().matches(gst::StreamError::TypeNotFound) => {
                "it is no recording that is known".into()
            }
            None => error.error().message().trim_end_matches('.').to_owned(),
        })
    }
}

impl Drop for ClipStream {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

fn note_and_link(pad: &gst::Pad, entry: &gst::Element, findings: &Mutex<Findings>, wanted: Wanted) {
    let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
    let Some(kind) = caps.structure(0).map(|s| s.name().to_string()) else { return };
    let (picture, sound) = (kind.starts_with("video/"), kind.starts_with("audio/"));
    {
        let mut findings = findings.lock();
        findings.picture |= picture;
        findings.sound |= sound;
    }
    let wanted = if wanted == Wanted::Sound { sound } else { picture };
    let free = entry.static_pad("sink").filter(|sink| wanted && !sink.is_linked());
    if let Some(sink) = free {
        // A failure to link ends the pipeline with an error, which is read from its bus.
        let _ = pad.link(&sink);
    }
}

fn caps(wanted: Wanted) -> gst::Caps {
    match wanted {
        Wanted::Sound => gst::Caps::builder("audio/x-raw")
            .field("format", if cfg!(target_endian = "big") { "F32BE" } else { "F32LE" })
            .field("layout", "interleaved")
            .field("rate", 48_000)
            .field("channels", 1)
            .build(),
        Wanted::Picture => gst::Caps::builder("video/x-raw").field("format", "I420").build(),
        Wanted::PictureOf(FrameSize { width, height }) => gst::Caps::builder("video/x-raw")
            .field("format", "I420")
            .field("width", i32::try_from(width).unwrap_or(i32::MAX))
            .field("height", i32::try_from(height).unwrap_or(i32::MAX))
            .field("pixel-aspect-ratio", gst::Fraction::new(1, 1))
            .build(),
    }
}

fn time_of(sample: &gst::Sample) -> Option<Duration> {
    let segment = sample.segment()?.downcast_ref::<gst::ClockTime>()?;
    let time = segment.to_stream_time(sample.buffer()?.pts()?)?;
    Some(Duration::from_nanos(time.nseconds()))
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.into())
}

/// The picture of a sample without padding, as [`rostrum_hal::PixelFormat::Yuv420`].
pub(crate) fn picture(sample: &gst::Sample) -> Option<Arc<[u8]>> {
    let info = gst_video::VideoInfo::from_caps(sample.caps()?).ok()?;
    packed(&gst_video::VideoFrameRef::from_buffer_ref_readable(sample.buffer()?, &info).ok()?)
}

/// The bytes of an I420 picture of even size without padding.
pub(crate) fn packed(frame: &gst_video::VideoFrameRef<&gst::BufferRef>) -> Option<Arc<[u8]>> {
    let (width, height) = (frame.width() as usize, frame.height() as usize);
    let mut bytes: Vec<u8> = Vec::with_capacity(width * height * 3 / 2);
    for plane in 0..3_u32 {
        let half = if plane == 0 { 1 } else { 2 };
        let (width, height) = (width / half, height / half);
        let stride = usize::try_from(*frame.plane_stride().get(plane as usize)?).ok()?;
        let data = frame.plane_data(plane).ok()?;
        for row in data.chunks(stride).take(height) {
            bytes.extend_from_slice(row.get(..width)?);
        }
    }
    Some(bytes.into())
}
