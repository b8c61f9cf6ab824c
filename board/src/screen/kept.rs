//! A screen that comes and goes, kept by a thread of its own: starting a sink takes long, and the caller never waits.

use std::{
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};
use rostrum_hal::{
    Frame, FrameSize,
    display::{Display, DisplayError},
};

use super::pipeline::{Outlet, Pipeline, bytes_of};

/// How often the thread looks whether the screen is there.
const LOOK: Duration = Duration::from_millis(500);

/// A kind of screen.
pub(crate) trait Socket: Send + 'static {
    /// The sink drops a picture that comes too early, as the last before a pause may: it is then shown again.
    const DROPS: bool = false;

    /// Makes the screen ready.
    fn connect(&mut self) -> Result<Outlet, Lack>;

    /// Whether the screen that [`Socket::connect`] made ready is still there, and the same. The sink runs.
    fn is_there(&mut self) -> bool;

    /// Undoes [`Socket::connect`]. The sink has ended.
    fn disconnect(&mut self);
}

/// Why a screen cannot be made ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Lack {
    /// It is not plugged in.
    Gone,
    /// Anything else, and what to do.
    Failed(String),
}

/// A screen of a [`Socket`].
pub(crate) struct Kept {
    name: String,
    size: FrameSize,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    told: Mutex<Told>,
    changed: Condvar,
}

#[derive(Default)]
struct Told {
    /// The newest frame that the thread has not seen.
    frame: Option<Arc<[u8]>>,
    /// What keeps the screen from showing; unknown until the first look counts as nothing.
    lack: Option<Lack>,
    end: bool,
}

impl Kept {
    /// Keeps `socket`, which takes frames of `size`.
    pub(crate) fn start(name: String, size: FrameSize, socket: impl Socket) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let keeper =
            Keeper { socket, size, shared: Arc::clone(&shared), pipeline: None, last: None, repeats: 0 };
        let thread = std::thread::Builder::new().name("display".into()).spawn(move || keeper.run())?;
        Ok(Self { name, size, shared, thread: Some(thread) })
    }

    fn state(&self, lack: Option<Lack>) -> Result<(), DisplayError> {
        let name = self.name.clone();
        match lack {
            None => Ok(()),
            Some(Lack::Gone) => Err(DisplayError::Gone { name }),
            Some(Lack::Failed(message)) => Err(DisplayError::Failed { name, message }),
        }
    }
}

impl Display for Kept {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn size(&self) -> FrameSize {
        self.size
    }

    fn show(&mut self, frame: Frame) -> Result<(), DisplayError> {
        let bytes = bytes_of(&frame, self.size)
            .map_err(|message| DisplayError::Failed { name: self.name.clone(), message })?;
        let mut told = self.shared.told.lock();
        told.frame = Some(bytes);
        self.shared.changed.notify_one();
        let lack = told.lack.clone();
        drop(told);
        self.state(lack)
    }

    fn check(&mut self) -> Result<(), DisplayError> {
        let lack = self.shared.told.lock().lack.clone();
        self.state(lack)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.shared.told.lock().end = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Keeper<S> {
    socket: S,
    size: FrameSize,
    shared: Arc<Shared>,
    pipeline: Option<Pipeline>,
    /// What a screen that comes (back) is to show.
    last: Option<Arc<[u8]>>,
    /// How often the last picture is shown again.
    repeats: u32,
}

impl<S: Socket> Keeper<S> {
    fn run(mut self) {
        let mut look_at = Instant::now();
        while let Some(frame) = self.wait_until(look_at) {
            if let Some(frame) = frame {
                if let Some(pipeline) = &self.pipeline {
                    // What fails here is seen at the next look.
                    let _ = pipeline.push(Arc::clone(&frame));
                }
                self.last = Some(frame);
                // At the next look, which may be at once, and at the one after.
                self.repeats = if S::DROPS { 2 } else { 0 };
            }
            if Instant::now() >= look_at {
                self.look();
                look_at = Instant::now() + LOOK;
            }
        }
        self.disconnect();
    }

    /// Waits for a frame, or until the next look; nothing at the end.
    fn wait_until(&self, look_at: Instant) -> Option<Option<Arc<[u8]>>> {
        let mut told = self.shared.told.lock();
        while !told.end && told.frame.is_none() && Instant::now() < look_at {
            self.shared.changed.wait_until(&mut told, look_at);
        }
        (!told.end).then(|| told.frame.take())
    }

    fn look(&mut self) {
        if let Some(pipeline) = &self.pipeline {
            let trouble = pipeline.error();
            let is_there = self.socket.is_there();
            if is_there && trouble.is_none() {
                // Only now, as a sink that starts well may fail with its first picture.
                self.tell(None);
                if self.repeats > 0
                    && let Some(last) = &self.last
                {
                    self.repeats -= 1;
                    let _ = pipeline.push(Arc::clone(last));
                }
                return;
            }
            self.disconnect();
            if let Some(message) = trouble.filter(|_| is_there) {
                // It is tried again at the next look.
                self.tell(Some(Lack::Failed(message)));
                return;
            }
        }
        match self.connect() {
            Ok(()) => {}
            Err(lack) => self.tell(Some(lack)),
        }
    }

    fn connect(&mut self) -> Result<(), Lack> {
        let outlet = self.socket.connect()?;
        match Pipeline::start(self.size, outlet) {
            Ok(pipeline) => {
                if let Some(last) = &self.last {
                    let _ = pipeline.push(Arc::clone(last));
                }
                self.pipeline = Some(pipeline);
                Ok(())
            }
            Err(message) => {
                self.socket.disconnect();
                Err(Lack::Failed(message))
            }
        }
    }

    fn disconnect(&mut self) {
        if self.pipeline.take().is_some() {
            self.socket.disconnect();
        }
    }

    fn tell(&self, lack: Option<Lack>) {
        self.shared.told.lock().lack = lack;
    }
}
