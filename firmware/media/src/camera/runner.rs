//! One layer: its scalers, its encoder, and what happens when that fails.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use parking_lot::Mutex;
use rostrum_hal::{
    Frame, FrameSize, Timestamp,
    encoder::{EncoderError, EncoderSettings, VideoEncoder, VideoEncoderFactory},
    scaler::{ScalerError, ScalerSettings, VideoScalerFactory},
};

use super::{
    CameraEvent, LayerSink, LayerStatistics,
    hardware::{Hardware, Outcome},
    retry::Retry,
};
use crate::{
    LayerId, MediaError,
    bitrate::Grant,
    picture::{Scaler, Target, yuv420},
};

/// A bitrate that changed by less than this part is not told to the encoder.
const BITRATE_STEP: f64 = 0.02;

/// One layer.
pub(super) struct Runner {
    id: LayerId,
    scaler: Option<Scaler>,
    hardware: Hardware,
    encoder: Option<Running>,
    retry: Retry,
    key_frame_wanted: bool,
    pace: Pace,
    counts: Arc<Counts>,
    submitted: u64,
    dropped: u64,
    failures: u64,
}

/// What became of a frame that the board's scaler was given.
pub(super) enum ByHardware {
    Scaled(Frame),
    /// The layer goes without this frame.
    Dropped,
    /// The processor has to do it.
    Not,
}

struct Running {
    encoder: Box<dyn VideoEncoder>,
    settings: EncoderSettings,
    since: Timestamp,
    /// What the encoder's thread reported.
    failure: Arc<Mutex<Option<EncoderError>>>,
}

#[derive(Default)]
struct Counts {
    encoded: AtomicU64,
    key_frames: AtomicU64,
    bytes: AtomicU64,
}

impl Runner {
    pub(super) fn new(id: LayerId) -> Self {
        Self {
            id,
            scaler: None,
            hardware: Hardware::default(),
            encoder: None,
            retry: Retry::default(),
            key_frame_wanted: false,
            pace: Pace::default(),
            counts: Arc::default(),
            submitted: 0,
            dropped: 0,
            failures: 0,
        }
    }

    pub(super) fn id(&self) -> LayerId {
        self.id
    }

    /// A frame captured at `now` is wanted at the layer's frame rate.
    pub(super) fn due(&mut self, now: Timestamp) -> bool {
        self.pace.due(now)
    }

    /// `frame` at `size`; itself when it is that already.
    pub(super) fn scaled(&mut self, frame: &Frame, size: FrameSize) -> Result<Frame, MediaError> {
        if frame.size == size {
            self.scaler = None;
            return Ok(frame.clone());
        }
        if self.scaler.as_ref().is_none_or(|scaler| scaler.size() != size) {
            self.scaler = None;
        }
        let scaler = self.scaler.get_or_insert_with(|| Scaler::new(Target::Yuv420(size)));
        let bytes = scaler.scale(frame)?;
        Ok(yuv420(frame, size, (*bytes).into()))
    }

    /// The board's scaler failed here, and was not proven good since.
    pub(super) fn scaler_fails(&self) -> bool {
        self.hardware.fails()
    }

    /// The board's scaler hung here, and is to be left alone at `now`.
    pub(super) fn scaler_hangs(&self, now: Timestamp) -> bool {
        self.hardware.hangs(now)
    }

    /// `frame` as the board's scaler makes it, and what it said when it failed now.
    pub(super) fn scaled_by(
        &mut self,
        factory: &dyn VideoScalerFactory,
        frame: &Frame,
        settings: ScalerSettings,
        now: Timestamp,
    ) -> (ByHardware, Option<ScalerError>) {
        match self.hardware.scale(factory, frame, settings, now) {
            Outcome::Scaled(scaled) => {
                self.scaler = None;
                (ByHardware::Scaled(scaled), None)
            }
            Outcome::Busy => {
                self.dropped += 1;
                (ByHardware::Dropped, None)
            }
            Outcome::NotNow => (ByHardware::Not, None),
            Outcome::Failed { error, retry_in } => {
                log::debug!(layer = self.id.rid(), error:%, retry_in:?; "the scaler failed");
                (ByHardware::Not, Some(error))
            }
        }
    }

    /// Follows what the layer was granted; a new size takes a new encoder, at the next frame.
    pub(super) fn adapt(&mut self, grant: &Grant) {
        self.pace.set_rate(grant.frame_rate_hz);
        let Some(running) = &mut self.encoder else { return };
        if running.settings.size != grant.size {
            self.encoder = None;
            return;
        }
        let old = f64::from(running.settings.bitrate_bps);
        let mut result = Ok(());
        if (f64::from(grant.bitrate_bps) - old).abs() > old * BITRATE_STEP {
            running.settings.bitrate_bps = grant.bitrate_bps;
            result = running.encoder.set_bitrate(grant.bitrate_bps);
        }
        if running.settings.frame_rate_hz != grant.frame_rate_hz {
            running.settings.frame_rate_hz = grant.frame_rate_hz;
            result = result.and(running.encoder.set_frame_rate(grant.frame_rate_hz));
        }
        if let Err(error) = result {
            // Seen by `collect_failure` at the next frame, when the time is known.
            running.failure.lock().get_or_insert(error);
        }
    }

    /// Stops the encoder. Failures are forgotten: who starts the layer again wants to see it at once.
    pub(super) fn stop(&mut self) {
        self.encoder = None;
        self.retry = Retry::default();
        self.scaler = None;
        self.hardware.stop();
        self.key_frame_wanted = false;
    }

    pub(super) fn request_key_frame(&mut self) {
        // A new encoder begins with a key frame anyway.
        self.key_frame_wanted = self.encoder.is_some();
    }

    /// What the encoder's thread reported since the last frame.
    pub(super) fn collect_failure(&mut self, now: Timestamp) -> Option<CameraEvent> {
        let error = self.encoder.as_ref()?.failure.lock().take()?;
        Some(self.failed(error, now))
    }

    /// Gives `frame` to the encoder, and opens one first when there is none and it is time.
    pub(super) fn submit(
        &mut self,
        frame: &Frame,
        grant: &Grant,
        now: Timestamp,
        factory: &dyn VideoEncoderFactory,
        sink: &Arc<Mutex<LayerSink>>,
    ) -> Option<CameraEvent> {
        if self.encoder.is_none() && !self.retry.may_open(now) {
            return None;
        }
        let mut event = None;
        if self.encoder.is_none() {
            match self.open(grant, now, factory, sink) {
                Ok(running) => self.encoder = Some(running),
                Err(error) => return Some(self.failed(error, now)),
            }
            event = self.retry.is_on().then_some(CameraEvent::EncoderRestarted { layer: self.id });
        }
        let running = self.encoder.as_mut()?;
        let result = match std::mem::take(&mut self.key_frame_wanted) {
            true => running.encoder.request_key_frame(),
            false => Ok(()),
        };
        match result.and_then(|()| running.encoder.submit(frame)) {
            Ok(true) => self.submitted += 1,
            Ok(false) => self.dropped += 1,
            Err(error) => return Some(self.failed(error, now)),
        }
        self.retry.works(now, running.since);
        event
    }

    pub(super) fn statistics(&self) -> LayerStatistics {
        LayerStatistics {
            submitted: self.submitted,
            dropped: self.dropped,
            encoded: self.counts.encoded.load(Relaxed),
            key_frames: self.counts.key_frames.load(Relaxed),
            bytes: self.counts.bytes.load(Relaxed),
            failures: self.failures,
            scaled_by_hardware: self.hardware.scaled(),
            ..Default::default()
        }
    }

    fn open(
        &self,
        grant: &Grant,
        now: Timestamp,
        factory: &dyn VideoEncoderFactory,
        sink: &Arc<Mutex<LayerSink>>,
    ) -> Result<Running, EncoderError> {
        let settings = EncoderSettings {
            size: grant.size,
            frame_rate_hz: grant.frame_rate_hz,
            bitrate_bps: grant.bitrate_bps,
        };
        let failure = Arc::new(Mutex::new(None));
        let (id, sink, counts, report) = (self.id, sink.clone(), self.counts.clone(), failure.clone());
        let encoder = factory.open(
            settings,
            Box::new(move |result| match result {
                Ok(frame) => {
                    counts.encoded.fetch_add(1, Relaxed);
                    counts.key_frames.fetch_add(u64::from(frame.key_frame), Relaxed);
                    counts.bytes.fetch_add(frame.data.len() as u64, Relaxed);
                    (sink.lock())(id, frame);
                }
                Err(error) => {
                    report.lock().get_or_insert(error);
                }
            }),
        )?;
        Ok(Running { encoder, settings, since: now, failure })
    }

    fn failed(&mut self, error: EncoderError, now: Timestamp) -> CameraEvent {
        self.encoder = None;
        self.failures += 1;
        CameraEvent::EncoderFailed { layer: self.id, error, retry_in: self.retry.failed(now) }
    }
}

/// Leaves out frames of a source that is faster than the layer.
#[derive(Default)]
struct Pace {
    rate_hz: f64,
    /// Frames that may still be taken.
    credit: f64,
    last: Option<Timestamp>,
}

impl Pace {
    fn set_rate(&mut self, rate_hz: f64) {
        self.rate_hz = rate_hz;
    }

    fn due(&mut self, now: Timestamp) -> bool {
        let elapsed = self.last.map_or(1.0, |last| now.saturating_since(last).as_secs_f64());
        self.last = Some(now);
        // Some more than one, so that a source that jitters around the layer's own rate loses nothing.
        self.credit = (self.credit + elapsed * self.rate_hz).min(1.5);
        let due = self.credit >= 0.6;
        if due {
            self.credit -= 1.0;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use proptest::prelude::*;

    fn taken(rate_hz: f64, intervals: impl Iterator<Item = Duration>) -> usize {
        let mut pace = Pace::default();
        pace.set_rate(rate_hz);
        let mut now = Timestamp::from_clock(Duration::from_secs(100));
        intervals
            .filter(|interval| {
                now = now + *interval;
                pace.due(now)
            })
            .count()
    }

    #[test]
    fn half_and_two_thirds_of_the_frames_are_taken() {
        let source = || std::iter::repeat_n(Duration::from_micros(33_333), 300);
        assert!((149..=151).contains(&taken(15.0, source())));
        assert!((199..=201).contains(&taken(20.0, source())));
        assert_eq!(taken(30.0, source()), 300);
        assert_eq!(taken(60.0, source()), 300);
    }

    proptest! {
        #[test]
        fn jitter_loses_no_frame_at_the_sources_own_rate(jitter in proptest::collection::vec(-6_000i64..6_000, 100)) {
            // Each frame comes at its due time plus its own jitter.
            let times: Vec<i64> = jitter.iter().enumerate().map(|(i, j)| (i as i64 + 1) * 33_333 + j).collect();
            let mut last = 0;
            let intervals = times.iter().map(|t| {
                let interval = Duration::from_micros((t - last).max(0) as u64);
                last = *t;
                interval
            });
            prop_assert_eq!(taken(30.0, intervals), 100);
        }
    }
}
