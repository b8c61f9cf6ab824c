//! Tells any number of tasks that something changed. Works with every executor.

use std::{
    future::poll_fn,
    task::{Poll, Waker},
};

use parking_lot::Mutex;

/// A count of changes that tasks wait on: who missed some sees that it is another.
#[derive(Debug, Default)]
pub struct Notify {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    count: u64,
    wakers: Vec<Waker>,
}

impl Notify {
    /// Changes so far.
    pub fn count(&self) -> u64 {
        self.inner.lock().count
    }

    /// Counts one more and wakes all who wait.
    pub fn notify(&self) {
        let wakers = {
            let mut inner = self.inner.lock();
            inner.count += 1;
            std::mem::take(&mut inner.wakers)
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Waits until the count is no longer `seen` and gives it. Cancel-safe.
    pub async fn after(&self, seen: u64) -> u64 {
        poll_fn(|context| {
            let mut inner = self.inner.lock();
            if inner.count != seen {
                return Poll::Ready(inner.count);
            }
            if !inner.wakers.iter().any(|w| w.will_wake(context.waker())) {
                inner.wakers.push(context.waker().clone());
            }
            Poll::Pending
        })
        .await
    }
}
