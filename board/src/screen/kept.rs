//! A screen that comes and goes, kept by a thread of its own: starting a sink takes long, and the caller never waits.

use std::{
    collections::BTreeSet,
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
/// Time until a screen that failed is made ready again; each further failure doubles it.
const FIRST: Duration = Duration::from_secs(1);
const LAST: Duration = Duration::from_secs(30);

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

    /// Something changed since the last [`Socket::connect`], so that one that failed is worth a try.
    fn has_news(&mut self) -> bool {
        false
    }
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
    /// What to do when it is not there.
    hint: String,
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
    /// Keeps `socket`, which takes frames of `size`; `hint` says what to do when the screen is not there.
    pub(crate) fn start(
        name: String,
        hint: String,
        size: FrameSize,
        socket: impl Socket,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let keeper = Keeper {
            name: name.clone(),
            socket,
            size,
            shared: Arc::clone(&shared),
            pipeline: None,
            last: None,
            repeats: 0,
            failures: Failures::default(),
        };
        let thread = std::thread::Builder::new().name("display".into()).spawn(move || keeper.run())?;
        Ok(Self { name, hint, size, shared, thread: Some(thread) })
    }

    fn state(&self, lack: Option<Lack>) -> Result<(), DisplayError> {
        let name = self.name.clone();
        match lack {
            None => Ok(()),
            Some(Lack::Gone) => Err(DisplayError::Gone { name, hint: self.hint.clone() }),
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
    name: String,
    socket: S,
    size: FrameSize,
    shared: Arc<Shared>,
    pipeline: Option<Pipeline>,
    /// What a screen that comes (back) is to show.
    last: Option<Arc<[u8]>>,
    /// How often the last picture is shown again.
    repeats: u32,
    failures: Failures,
}

/// What failed, since the screen last showed something, and when it is tried again.
#[derive(Default)]
struct Failures {
    next: Option<(Instant, Duration)>,
    /// What was logged: a screen may fail in two ways by turns.
    causes: BTreeSet<String>,
}

impl Failures {
    /// It failed because of `cause`; `true` when that is to be told.
    fn failed(&mut self, now: Instant, cause: &str) -> bool {
        let wait = self.next.map_or(FIRST, |(_, wait)| (wait * 2).min(LAST));
        self.next = Some((now + wait, wait));
        self.causes.insert(cause.to_owned())
    }

    fn may_try(&self, now: Instant) -> bool {
        self.next.is_none_or(|(at, _)| now >= at)
    }

    /// It is worth a try at once.
    fn hurry(&mut self) {
        self.next = None;
    }
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
                if self.repeats > 0
                    && let Some(last) = &self.last
                {
                    self.repeats -= 1;
                    let _ = pipeline.push(Arc::clone(last));
                }
                // Only now, as a sink that starts well may fail with its first picture.
                self.failures = Failures::default();
                self.tell(None);
                return;
            }
            self.disconnect();
            if let Some(message) = trouble.filter(|_| is_there) {
                self.tell(Some(Lack::Failed(message)));
                return;
            }
        }
        if self.socket.has_news() {
            self.failures.hurry();
        }
        if !self.failures.may_try(Instant::now()) {
            return;
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

    fn tell(&mut self, lack: Option<Lack>) {
        match &lack {
            Some(Lack::Failed(cause)) => {
                let is_new = self.failures.failed(Instant::now(), cause);
                if is_new {
                    log::warn!("the screen {} failed: {cause}", self.name);
                }
            }
            // Whoever plugs it in waits for it.
            Some(Lack::Gone) => self.failures.hurry(),
            None => {}
        }
        self.shared.told.lock().lack = lack;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

    use gstreamer::prelude::*;

    use super::*;
    use crate::elements;

    #[test]
    fn a_screen_that_fails_is_tried_less_and_less_and_each_cause_is_told_once() {
        let begin = Instant::now();
        let mut failures = Failures::default();
        let (mut now, mut tries, mut told) = (begin, Vec::new(), 0);
        for cause in ["no memory", "no plane", "no memory", "no plane", "no memory", "no memory", "no memory"]
        {
            while !failures.may_try(now) {
                now += LOOK;
            }
            tries.push((now - begin).as_secs());
            told += u32::from(failures.failed(now, cause));
        }
        assert_eq!(tries, [0, 1, 3, 7, 15, 31, 61]);
        assert_eq!(told, 2);
        failures.hurry();
        assert!(failures.may_try(now) && !failures.failed(now, "no plane"));
    }

    /// A screen whose sink never starts, and counts how often it was tried.
    struct Broken(Arc<AtomicU32>);

    impl Socket for Broken {
        fn connect(&mut self) -> Result<Outlet, Lack> {
            self.0.fetch_add(1, SeqCst);
            let sink = elements::make("fakesink").unwrap();
            sink.set_property_from_str("state-error", "null-to-ready");
            Ok(sink.into())
        }

        fn is_there(&mut self) -> bool {
            true
        }

        fn disconnect(&mut self) {}
    }

    #[test]
    fn a_sink_that_never_starts_is_left_alone_for_longer_each_time() {
        elements::init().unwrap();
        let (tries, begin) = (Arc::new(AtomicU32::new(0)), Instant::now());
        let size = FrameSize::new(320, 180);
        let mut screen =
            Kept::start("broken".into(), String::new(), size, Broken(Arc::clone(&tries))).unwrap();
        while tries.load(SeqCst) < 3 {
            assert!(begin.elapsed() < Duration::from_secs(60), "it is not tried again");
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(begin.elapsed() >= FIRST + FIRST * 2, "{:?}", begin.elapsed());
        assert!(matches!(screen.check(), Err(DisplayError::Failed { .. })));
    }
}
