//! The newest value of something that a thread produces and a task waits for: old ones are replaced, never
//! queued. Works with every executor.

use std::{
    future::poll_fn,
    task::{Poll, Waker},
};

use parking_lot::Mutex;

/// A place for one value.
#[derive(Debug)]
pub struct Latest<T> {
    inner: Mutex<Inner<T>>,
}

#[derive(Debug)]
struct Inner<T> {
    value: Option<T>,
    waker: Option<Waker>,
}

impl<T> Default for Latest<T> {
    fn default() -> Self {
        Self { inner: Mutex::new(Inner { value: None, waker: None }) }
    }
}

impl<T> Latest<T> {
    /// Replaces the value that waits, and wakes who waits for one.
    pub fn put(&self, value: T) {
        let (old, waker) = {
            let mut inner = self.inner.lock();
            (inner.value.replace(value), inner.waker.take())
        };
        // Freed and woken outside the lock: either may run code of others.
        drop(old);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Waits for a value and takes it. For one waiting task. Cancel-safe.
    pub async fn take(&self) -> T {
        poll_fn(|context| {
            let mut inner = self.inner.lock();
            if let Some(value) = inner.value.take() {
                return Poll::Ready(value);
            }
            inner.waker = Some(context.waker().clone());
            Poll::Pending
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn the_newest_value_replaces_the_one_that_waits() {
        let latest = Latest::default();
        latest.put(1);
        latest.put(2);
        assert_eq!(pollster::block_on(latest.take()), 2);
    }

    #[test]
    fn a_value_put_later_wakes_who_waits() {
        let latest = Arc::new(Latest::default());
        let waiting = {
            let latest = latest.clone();
            std::thread::spawn(move || pollster::block_on(latest.take()))
        };
        latest.put(7);
        assert_eq!(waiting.join().ok(), Some(7));
    }
}
