//! The camera at hand: its controls, read seldom, and its presets.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rostrum_hal::camera::{CameraControl, CameraControls, CameraError, ControlState};
use tokio::sync::watch;

use crate::PanelError;
use crate::error::{ApiError, ApiResult};
use crate::presets::{self, Presets, Values};

/// Reading a camera's controls takes transfers on its bus: what is younger is not read again.
const FRESH: Duration = Duration::from_secs(1);

/// A camera's controls and presets.
pub(crate) struct Desk {
    controls: Arc<dyn CameraControls>,
    presets: Presets,
    known: Mutex<Known>,
    changes: watch::Sender<u64>,
}

#[derive(Default)]
struct Known {
    controls: Vec<ControlState>,
    read: Option<Instant>,
    reading: bool,
    /// What the camera's count of changes was when it was read.
    count: u64,
}

impl Desk {
    pub(crate) fn new(controls: Box<dyn CameraControls>, presets: Presets) -> Self {
        Self { controls: controls.into(), presets, known: Mutex::default(), changes: watch::Sender::new(0) }
    }

    /// To wait for changes of controls and presets.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Names of the presets.
    pub(crate) fn preset_names(&self) -> Vec<String> {
        self.presets.names()
    }

    /// One preset.
    pub(crate) fn preset(&self, name: &str) -> Option<Values> {
        self.presets.get(name)
    }

    /// Waits until the camera tells of a change after `seen`, one of its counts, and gives the count. Cancel-safe.
    pub(crate) async fn turned(&self, seen: u64) -> u64 {
        self.controls.changed(seen).await
    }

    /// The camera's count of changes.
    pub(crate) fn count(&self) -> u64 {
        self.controls.changes()
    }

    /// The controls as they were read last, at once; none when the camera is gone. When that was long ago, or the
    /// camera told of a change since, they are read behind the caller's back, and a difference counts as a change.
    pub(crate) fn known(self: &Arc<Self>) -> Vec<ControlState> {
        let mut known = self.known.lock();
        let is_old = known.read.is_none_or(|at| at.elapsed() > FRESH);
        let stale = is_old || known.count != self.controls.changes();
        if stale && !known.reading {
            known.reading = true;
            let desk = self.clone();
            tokio::task::spawn_blocking(move || {
                // Who waits for the controls asks for them itself and is told what failed.
                let _ = desk.read();
            });
        }
        known.controls.clone()
    }

    /// Whether the controls were ever read.
    pub(crate) fn is_known(&self) -> bool {
        self.known.lock().read.is_some()
    }

    /// The controls now.
    pub(crate) async fn list(self: &Arc<Self>) -> ApiResult<Vec<ControlState>> {
        let desk = self.clone();
        Ok(blocking(move || desk.read()).await??)
    }

    /// Sets one control and gives all.
    pub(crate) async fn set(
        self: &Arc<Self>,
        control: CameraControl,
        value: i64,
    ) -> ApiResult<Vec<ControlState>> {
        let desk = self.clone();
        let work = move || {
            desk.controls.set(control, value)?;
            desk.read()
        };
        Ok(blocking(work).await??)
    }

    /// Keeps `values`, or what the camera stands at, under `name`; `None` when there are too many.
    pub(crate) async fn keep(
        self: &Arc<Self>,
        name: String,
        values: Option<Values>,
    ) -> ApiResult<Option<Values>> {
        let desk = self.clone();
        let work = move || -> Result<_, ApiError> {
            let present = desk.read()?;
            let values = match values {
                Some(mut values) => {
                    // A preset is a place; a recalled speed would never end.
                    values.retain(|control, _| !control.is_speed());
                    for &control in values.keys() {
                        if !present.iter().any(|state| state.control == control) {
                            let present = present.iter().map(|state| state.control).collect();
                            return Err(CameraError::NoControl { control, present }.into());
                        }
                    }
                    values
                }
                None => presets::to_keep(&present),
            };
            let kept = desk.presets.put(&name, values.clone())?;
            desk.changed();
            Ok(kept.then_some(values))
        };
        blocking(work).await?
    }

    /// Forgets a preset; `false` when there is none.
    pub(crate) async fn forget(self: &Arc<Self>, name: String) -> ApiResult<bool> {
        let desk = self.clone();
        let work = move || -> Result<_, PanelError> {
            let gone = desk.presets.remove(&name)?;
            desk.changed();
            Ok(gone)
        };
        Ok(blocking(work).await??)
    }

    /// Moves the camera to where a preset says and gives its controls; what the camera lacks (another one
    /// was plugged in) stays as it is.
    pub(crate) async fn recall(self: &Arc<Self>, values: Values) -> ApiResult<Vec<ControlState>> {
        let desk = self.clone();
        let work = move || {
            for (control, value) in presets::in_order(&values) {
                match desk.controls.set(control, value) {
                    Ok(_) | Err(CameraError::NoControl { .. } | CameraError::ReadOnly { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
            desk.read()
        };
        Ok(blocking(work).await??)
    }

    /// Reads the controls. Blocks.
    fn read(&self) -> Result<Vec<ControlState>, CameraError> {
        let count = self.controls.changes();
        let controls = self.controls.list();
        let mut known = self.known.lock();
        let shown = controls.as_deref().unwrap_or_default();
        let changed = known.controls != shown;
        known.controls = shown.to_vec();
        known.read = Some(Instant::now());
        known.reading = false;
        known.count = count;
        // What changed while it was read is read again when somebody looks, and somebody is told to.
        let tell = changed || count != self.controls.changes();
        drop(known);
        if tell {
            self.changed();
        }
        controls
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> ApiResult<T> {
    tokio::task::spawn_blocking(work).await.map_err(|_| ApiError::not_ready())
}
