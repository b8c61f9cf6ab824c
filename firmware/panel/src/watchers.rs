//! Who looks at the live picture: nobody encodes what nobody sees.

use std::sync::Arc;

use tokio::sync::watch;

/// How many look now. Clones count together.
#[derive(Clone, Debug)]
pub struct Watchers(Arc<watch::Sender<usize>>);

impl Default for Watchers {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(0)))
    }
}

impl Watchers {
    /// How many look now.
    pub fn count(&self) -> usize {
        *self.0.borrow()
    }

    /// To wait for a change of the count.
    pub fn subscribe(&self) -> watch::Receiver<usize> {
        self.0.subscribe()
    }

    /// One more until the guard is dropped; `None` when there are `limit` already.
    pub(crate) fn enter(&self, limit: usize) -> Option<Watching> {
        let entered = self.0.send_if_modified(|count| {
            let room = *count < limit;
            *count += usize::from(room);
            room
        });
        entered.then(|| Watching(self.clone()))
    }
}

/// Somebody who looks.
#[derive(Debug)]
pub(crate) struct Watching(Watchers);

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.0.send_modify(|count| *count = count.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_count_follows_who_comes_and_goes_and_has_a_limit() {
        let watchers = Watchers::default();
        let first = watchers.enter(2).unwrap();
        let second = watchers.clone().enter(2).unwrap();
        assert!(watchers.enter(2).is_none());
        assert_eq!(watchers.count(), 2);
        drop((first, second));
        assert_eq!(watchers.count(), 0);
    }
}
