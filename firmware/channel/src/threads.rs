//! The media threads: each channel lives on one of them with everybody in it, and they share nothing but counts.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use rostrum_rtc::names::{AppId, ChannelId};
use tokio::sync::{mpsc, oneshot};

use crate::sfu::command::{Command, ManageError};

type ChannelKey = (AppId, ChannelId);

/// Channels that may live elsewhere than chance put them; more are refused.
const MAX_MOVED: usize = 100_000;

/// The ways to the media threads.
#[derive(Clone)]
pub(crate) struct Threads {
    commands: Arc<[mpsc::Sender<Command>]>,
    hasher: RandomState,
    /// Channels that were brought to another one.
    moved: Arc<Mutex<HashMap<ChannelKey, usize>>>,
    /// Channels are moved one after the other.
    moving: Arc<tokio::sync::Mutex<()>>,
}

/// The media threads have ended.
#[derive(Debug)]
pub(crate) struct Ended;

impl Threads {
    /// At least one.
    pub(crate) fn new(commands: Vec<mpsc::Sender<Command>>) -> Self {
        Self {
            commands: commands.into(),
            hasher: RandomState::new(),
            moved: Arc::default(),
            moving: Arc::default(),
        }
    }

    pub(crate) fn all(&self) -> &[mpsc::Sender<Command>] {
        &self.commands
    }

    /// Returns when all of them have answered.
    pub(crate) async fn turn(&self) {
        for thread in self.all() {
            let (reply, answer) = oneshot::channel();
            // A thread that has ended does not turn.
            if thread.send(Command::Ping { reply }).await.is_err() || answer.await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    fn place(&self, app: &AppId, channel: &ChannelId) -> usize {
        if self.commands.len() == 1 {
            return 0;
        }
        let key = (app.clone(), channel.clone());
        let moved = self.moved.lock();
        let by_chance = || (self.hasher.hash_one(&key) % self.commands.len() as u64) as usize;
        moved.get(&key).copied().unwrap_or_else(by_chance)
    }

    /// The way to the thread that a channel lives on.
    pub(crate) fn of(&self, app: &AppId, channel: &ChannelId) -> &mpsc::Sender<Command> {
        &self.commands[self.place(app, channel)]
    }

    /// Brings a channel to the thread that another one lives on. Who is in it is told to come back, and does so at
    /// once, as after a lost network.
    pub(crate) async fn bring(
        &self,
        app: &AppId,
        channel: &ChannelId,
        to: &ChannelId,
    ) -> Result<Result<(), ManageError>, Ended> {
        let _one = self.moving.lock().await;
        let (old, new) = (self.place(app, channel), self.place(app, to));
        if old == new {
            return Ok(Ok(()));
        }
        let key = (app.clone(), channel.clone());
        let is_full = {
            let moved = self.moved.lock();
            moved.len() >= MAX_MOVED && !moved.contains_key(&key)
        };
        if is_full {
            return Ok(Err(ManageError::TooManyMoved { limit: MAX_MOVED }));
        }
        self.move_on(new, &key, true).await?;
        let left = self.move_on(old, &key, false).await?;
        if left {
            let mut moved = self.moved.lock();
            moved.insert(key, new);
        }
        Ok(if left { Ok(()) } else { Err(ManageError::OtherThread) })
    }

    /// Tells a thread that a channel lives there, or elsewhere, from now on; `false` when that cannot be.
    async fn move_on(&self, thread: usize, (app, channel): &ChannelKey, here: bool) -> Result<bool, Ended> {
        let (reply, answer) = oneshot::channel();
        let command = Command::Move { app: app.clone(), channel: channel.clone(), here, reply };
        self.commands[thread].send(command).await.map_err(|_| Ended)?;
        answer.await.map_err(|_| Ended)
    }
}

/// How many terminals and channels the other media threads have: limits are those of the whole service.
#[derive(Debug, Clone)]
pub struct Totals {
    counts: Arc<[[AtomicUsize; 2]]>,
    own: usize,
}

impl Default for Totals {
    fn default() -> Self {
        Self::of_threads(1).remove(0)
    }
}

impl Totals {
    /// One for each thread.
    pub fn of_threads(threads: usize) -> Vec<Self> {
        let counts: Arc<[[AtomicUsize; 2]]> = (0..threads).map(|_| Default::default()).collect();
        (0..threads).map(|own| Self { counts: counts.clone(), own }).collect()
    }

    /// Says how many terminals and channels this thread has.
    pub(crate) fn set(&self, terminals: usize, channels: usize) {
        let own = &self.counts[self.own];
        own[0].store(terminals, Ordering::Relaxed);
        own[1].store(channels, Ordering::Relaxed);
    }

    /// How many terminals and channels the others have.
    pub(crate) fn others(&self) -> (usize, usize) {
        let others = self.counts.iter().enumerate().filter(|(at, _)| *at != self.own);
        others.fold((0, 0), |sum, (_, counts)| {
            (sum.0 + counts[0].load(Ordering::Relaxed), sum.1 + counts[1].load(Ordering::Relaxed))
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn names(channel: &str) -> (AppId, ChannelId) {
        (AppId::new("app").unwrap(), ChannelId::new(channel).unwrap())
    }

    #[test]
    fn channels_are_spread_and_stay_where_they_are() {
        let (sender, _receiver) = mpsc::channel(1);
        let threads = Threads::new(vec![sender; 4]);
        let mut counts = [0; 4];
        for number in 0..400 {
            let (app, channel) = names(&format!("room-{number}"));
            let place = threads.place(&app, &channel);
            assert_eq!(place, threads.clone().place(&app, &channel));
            counts[place] += 1;
        }
        assert!(counts.iter().all(|count| (50..=150).contains(count)), "{counts:?}");
    }

    #[tokio::test]
    async fn one_that_hangs_is_one_that_does_not_turn() {
        let (turning, mut asked) = mpsc::channel(1);
        tokio::spawn(async move {
            while let Some(Command::Ping { reply }) = asked.recv().await {
                let _ = reply.send(());
            }
        });
        Threads::new(vec![turning.clone(); 2]).turn().await;
        let (hanging, _never) = mpsc::channel(1);
        let both = Threads::new(vec![turning, hanging]);
        assert!(tokio::time::timeout(std::time::Duration::from_millis(50), both.turn()).await.is_err());
    }

    #[test]
    fn totals_are_those_of_the_others() {
        let totals = Totals::of_threads(3);
        for (own, total) in totals.iter().enumerate() {
            total.set(10 + own, own);
        }
        assert_eq!(totals[0].others(), (23, 3));
        assert_eq!(Totals::default().others(), (0, 0));
    }
}
