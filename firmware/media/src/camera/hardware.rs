//! The board's scaler in the service of one layer, and what happens when it fails.

use std::time::Duration;

use rostrum_hal::{
    Frame, Timestamp,
    scaler::{ScalerError, ScalerSettings, VideoScaler, VideoScalerFactory},
};

use super::retry::Retry;

/// Time until a scaler that hung is tried again: each try holds the camera up.
const HUNG_RETRY: Duration = Duration::from_secs(60);

/// The scaler of one layer.
#[derive(Default)]
pub(super) struct Hardware {
    running: Option<Running>,
    retry: Retry,
    /// The device hung here, and is left alone until then.
    hung_until: Option<Timestamp>,
    scaled: u64,
}

struct Running {
    scaler: Box<dyn VideoScaler>,
    settings: ScalerSettings,
    since: Timestamp,
}

/// What became of a frame.
pub(super) enum Outcome {
    Scaled(Frame),
    /// All its buffers are at the encoder: drop the frame.
    Busy,
    /// It failed before and is not tried yet: scale on the processor.
    NotNow,
    /// It failed now: scale on the processor.
    Failed {
        error: ScalerError,
        retry_in: Duration,
    },
}

impl Hardware {
    /// Frames that it scaled.
    pub(super) fn scaled(&self) -> u64 {
        self.scaled
    }

    /// It failed, and was not proven good since.
    pub(super) fn fails(&self) -> bool {
        self.retry.is_on()
    }

    /// It hung here, and the device is to be left alone at `now`.
    pub(super) fn hangs(&self, now: Timestamp) -> bool {
        self.hung_until.is_some_and(|until| now < until)
    }

    /// Lets the scaler go, and forgets failures; that the device hangs concerns other layers too.
    pub(super) fn stop(&mut self) {
        self.running = None;
        self.retry = Retry::default();
    }

    /// Scales `frame`, and opens a scaler first when there is none for `settings` and it is time.
    pub(super) fn scale(
        &mut self,
        factory: &dyn VideoScalerFactory,
        frame: &Frame,
        settings: ScalerSettings,
        now: Timestamp,
    ) -> Outcome {
        self.running.take_if(|running| running.settings != settings);
        if self.running.is_none() && !self.retry.may_open(now) {
            return Outcome::NotNow;
        }
        match self.try_scale(factory, frame, settings, now) {
            Ok(Some(scaled)) => {
                self.scaled += 1;
                Outcome::Scaled(scaled)
            }
            Ok(None) => Outcome::Busy,
            Err(error) => {
                self.running = None;
                let retry_in = self.retry.failed(now);
                if matches!(error, ScalerError::Hung { .. }) {
                    self.hung_until = Some(now + HUNG_RETRY);
                    return Outcome::Failed { error, retry_in: HUNG_RETRY };
                }
                Outcome::Failed { error, retry_in }
            }
        }
    }

    fn try_scale(
        &mut self,
        factory: &dyn VideoScalerFactory,
        frame: &Frame,
        settings: ScalerSettings,
        now: Timestamp,
    ) -> Result<Option<Frame>, ScalerError> {
        let running = match &mut self.running {
            Some(running) => running,
            none => none.insert(Running { scaler: factory.open(settings)?, settings, since: now }),
        };
        let scaled = running.scaler.scale(frame)?;
        self.retry.works(now, running.since);
        Ok(scaled)
    }
}
