//! What a camera's driver tells of its controls: that another program set one, or somebody or something on the camera
//! itself (V4L2 "Event Interface", `V4L2_EVENT_CTRL`; of USB cameras those that come by the status interrupt endpoint,
//! UVC 1.5 §2.4.2.2, too).

use std::{os::fd::OwnedFd, sync::Arc, thread::JoinHandle};

use rostrum_hal::notify::Notify;
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use v4l2r::{
    bindings::v4l2_event,
    ioctl::{self, DqEventError, EventType, SubscribeEventFlags},
};

use super::node::Node;

/// A thread that hears what is told, until it is dropped or the camera is gone.
pub(super) struct ControlEvents {
    stop: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl ControlEvents {
    /// Counts in `changes` what is told of `controls` (numbers of V4L2) from now on. What is set through `node` itself
    /// is not told.
    pub(super) fn hear(
        node: &Arc<Node>,
        controls: impl Iterator<Item = u32>,
        changes: Arc<Notify>,
    ) -> std::io::Result<Self> {
        for control in controls {
            // One of which nothing is told is read now and then.
            if let Err(error) =
                ioctl::subscribe_event(&**node, EventType::Ctrl(control), SubscribeEventFlags::empty())
            {
                log::trace!(control, error:%; "changes of a control are not told");
            }
        }
        let stop = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let (node, stopped) = (Arc::clone(node), Arc::clone(&stop));
        let hearing = move || hear(&node, &stopped, &changes);
        let thread = std::thread::Builder::new().name("v4l2-controls".into()).spawn(hearing)?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for ControlEvents {
    fn drop(&mut self) {
        // The number has no meaning; an eventfd that is full wakes as well.
        let _ = rustix::io::write(&*self.stop, &1_u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn hear(node: &Node, stop: &OwnedFd, changes: &Notify) {
    loop {
        let mut ready = [PollFd::new(node, PollFlags::PRI), PollFd::new(stop, PollFlags::IN)];
        match poll(&mut ready, None) {
            Ok(_) if !ready[1].revents().is_empty() => return,
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => {
                return log::warn!(error:%; "changes of the camera's controls are not heard any more");
            }
        }
        let is_broken = ready[0].revents().intersects(PollFlags::ERR | PollFlags::HUP);
        let mut any = false;
        loop {
            match ioctl::dqevent::<v4l2_event>(node) {
                Ok(_) => any = true,
                Err(DqEventError::NotReady) => break,
                // It was unplugged, which is a change too.
                Err(_) => return changes.notify(),
            }
        }
        if any {
            changes.notify();
        } else if is_broken {
            // To wait for it again would never wait.
            return log::debug!("the camera's driver does not tell of its controls");
        }
    }
}
