//! Loads for a server that speaks LiveKit's protocol: participants that publish and subscribe like real clients, in
//! one thread, and what they and the server's process say about it.
//!
//! A publisher sends sound (Opus, 50 packets a second) and a camera in three simulcast layers (H.264, 30 pictures a
//! second: 320x180 at 150 kbit/s, 640x360 at 500, 1280x720 at 1700), encoded beforehand, with a key frame whenever
//! one is asked for. Each layer is sent whether it is watched or not. A subscriber takes all tracks of all others,
//! asks by `UpdateTrackSettings` for a layer of each camera, and sends the feedback of a real client (`str0m`):
//! receiver reports, transport-wide feedback, requests to send again. Participants join through `/rtc`, with two peer
//! connections.

mod client;
mod clip;
mod connection;
mod ledger;
mod publisher;
mod stamp;

use std::{
    rc::Rc,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, bail};
use serde_json::json;

use crate::meter;
use client::{Client, Spec, publisher_name};
use clip::Clip;
use stamp::{SOUND, STREAMS};

const CHANNEL: &str = "bench";
/// Time for everybody to be in the channel and to receive what they asked for.
const PATIENCE: Duration = Duration::from_secs(60);
/// Time for everything to run evenly before anything counts.
const SETTLE: Duration = Duration::from_secs(3);
/// Time that packets get to arrive late, sent again.
const LATE: Duration = Duration::from_millis(500);
/// Between two participants that join at the start.
const STAGGER: Duration = Duration::from_millis(60);
/// Subscribers that join one after the other, on the running load.
const JOINS: usize = 12;
/// Between a subscriber that left and the next.
const JOIN_PAUSE: Duration = Duration::from_millis(300);

const LOW: u8 = 0;
const HIGH: u8 = 2;

/// Who is in the channel, and who asks for what.
pub(crate) struct Load {
    /// What the names of its figures end with.
    pub(crate) name: &'static str,
    publishers: u8,
    /// Participants that subscribe and do not publish.
    subscribers: u8,
    /// Whether publishers subscribe to each other.
    mutual: bool,
    /// The layer that a participant (publishers first) asks of a publisher's camera.
    wants: fn(u8, u8) -> u8,
}

/// The loads, in the order in which they are run.
pub(crate) const LOADS: [Load; 3] = [
    // A panel that an audience watches.
    Load { name: "4x12", publishers: 4, subscribers: 12, mutual: false, wants: |_, _| HIGH },
    // A full meeting: each sees one participant large, and the 14 others in a row of small pictures.
    Load {
        name: "16x16",
        publishers: 16,
        subscribers: 0,
        mutual: true,
        wants: |participant, publisher| if publisher == (participant + 1) % 16 { HIGH } else { LOW },
    },
    // A talk.
    Load { name: "1x15", publishers: 1, subscribers: 15, mutual: false, wants: |_, _| HIGH },
];

/// A server under load.
pub(crate) struct Target<'a> {
    /// `http://HOST:PORT`.
    pub(crate) url: &'a str,
    /// AppId, or LiveKit's API key.
    pub(crate) id: &'a str,
    /// The secret to it.
    pub(crate) key: &'a str,
    /// Its process.
    pub(crate) pid: u32,
}

/// What one load on one server gave.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Packets a second that came to the server, and to subscribers.
    pub(crate) packets_in_per_second: f64,
    pub(crate) packets_per_second: f64,
    /// Packets that arrived, as a share of those that subscribers asked for.
    pub(crate) forwarded_percent: f64,
    pub(crate) server_cpu_us_per_packet: f64,
    pub(crate) server_busy_percent: f64,
    pub(crate) server_rss_mb: f64,
    pub(crate) generator_busy_percent: f64,
    pub(crate) loss_percent: f64,
    pub(crate) delay_ms: Vec<f64>,
    /// From connect to a fresh subscriber's first packet of anything, and of a picture.
    pub(crate) join_ms: Vec<f64>,
    pub(crate) join_to_picture_ms: Vec<f64>,
}

/// Puts `load` on a server for `length`. `scale` is a factor to the packets a second. Blocks its thread.
pub(crate) fn run(target: &Target<'_>, load: &Load, length: Duration, scale: f64) -> anyhow::Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    let running = async { Running::start(target, load, scale).await?.measure(length).await };
    runtime.block_on(local.run_until(running))
}

/// A load that runs.
struct Running<'a> {
    target: &'a Target<'a>,
    load: &'a Load,
    scale: f64,
    clip: Rc<Clip>,
    /// Publishers first.
    clients: Vec<Client>,
}

impl<'a> Running<'a> {
    /// Lets everybody join, and waits until each receives what it asked for.
    async fn start(target: &'a Target<'a>, load: &'a Load, scale: f64) -> anyhow::Result<Self> {
        let clip = Rc::new(Clip::load()?);
        let mut running = Self { target, load, scale, clip, clients: Vec::new() };
        for number in 0..load.publishers + load.subscribers {
            let publishes = (number < load.publishers).then_some(number);
            let client = running.client(number, publishes)?;
            running.clients.push(client);
            tokio::time::sleep(STAGGER).await;
        }
        let deadline = Instant::now() + PATIENCE;
        while let Some(missing) = running.missing() {
            running.check().await?;
            if Instant::now() > deadline {
                bail!("not everything that was asked for came within {PATIENCE:?}: {missing}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        tokio::time::sleep(SETTLE).await;
        Ok(running)
    }

    fn client(&self, number: u8, publishes: Option<u8>) -> anyhow::Result<Client> {
        let user = publishes.map_or_else(|| format!("subscriber-{number}"), publisher_name);
        let wants = self.load.wants;
        Ok(Client::start(Spec {
            url: self.target.url.replacen("http", "ws", 1),
            token: token(self.target, &user)?,
            publishes,
            subscribes: publishes.is_none() || self.load.mutual,
            wants: Rc::new(move |publisher| wants(number, publisher)),
            clip: Rc::clone(&self.clip),
            scale: self.scale,
        }))
    }

    /// All pairs of participant and publisher whose tracks that takes, with the layer that it asks for.
    fn subscriptions(&self) -> impl Iterator<Item = (usize, u8, u8)> + '_ {
        let load = self.load;
        let everybody = 0..load.publishers + load.subscribers;
        let subscribing = everybody.filter(move |number| *number >= load.publishers || load.mutual);
        let pairs =
            subscribing.flat_map(move |number| (0..load.publishers).map(move |other| (number, other)));
        pairs
            .filter(|(number, publisher)| number != publisher)
            .map(move |(number, publisher)| (number.into(), publisher, (load.wants)(number, publisher)))
    }

    /// Something that was asked for and does not come yet.
    fn missing(&self) -> Option<String> {
        self.subscriptions().find_map(|(number, publisher, layer)| {
            let ledger = self.clients[number].ledger.borrow();
            (!ledger.has(publisher, layer)).then(|| {
                format!(
                    "participant {number} asked for layer {layer} of publisher {publisher} and gets layer {:?}",
                    ledger.layer_of(publisher)
                )
            })
        })
    }

    /// Fails when somebody was thrown out.
    async fn check(&mut self) -> anyhow::Result<()> {
        for (number, client) in self.clients.iter_mut().enumerate() {
            if let Some(failure) = client.failure().await {
                return Err(failure.context(format!("participant {number} is out")));
            }
        }
        Ok(())
    }

    fn sent(&self) -> Vec<[u32; STREAMS]> {
        self.clients.iter().map(|client| std::array::from_fn(|stream| client.sent[stream].get())).collect()
    }

    async fn measure(mut self, length: Duration) -> anyhow::Result<Outcome> {
        let ourselves = std::process::id();
        let pid = self.target.pid;
        let seconds = |pid| meter::cpu_seconds(pid);
        meter::forget_peak(pid)?;
        let (server, generator, sent) = (seconds(pid)?, seconds(ourselves)?, self.sent());
        let began = Instant::now();
        self.clients.iter().for_each(|client| client.ledger.borrow_mut().open(began));

        tokio::time::sleep(length).await;

        let ended = Instant::now();
        self.clients.iter().for_each(|client| client.ledger.borrow_mut().end(ended));
        let took = ended.duration_since(began).as_secs_f64();
        let (server, generator) = (seconds(pid)? - server, seconds(ourselves)? - generator);
        let sent: Vec<[u64; STREAMS]> = std::iter::zip(self.sent(), sent)
            .map(|(after, before)| std::array::from_fn(|stream| (after[stream] - before[stream]).into()))
            .collect();
        let server_rss_mb = meter::peak_rss_mb(pid)?;
        tokio::time::sleep(LATE).await;
        self.check().await?;

        let (mut came, mut arrived, mut lost, mut delay_ms) = (0, 0, 0, Vec::new());
        for client in &self.clients {
            let received = client.ledger.borrow_mut().close();
            came += received.came;
            arrived += received.arrived;
            lost += received.lost;
            delay_ms.extend(received.delays_ms);
        }
        let expected: u64 = self
            .subscriptions()
            .map(|(_, publisher, layer)| {
                let sent = &sent[usize::from(publisher)];
                sent[usize::from(layer)] + sent[usize::from(SOUND)]
            })
            .sum();
        let (join_ms, join_to_picture_ms) = self.joins().await?;
        for client in self.clients {
            client.leave().await?;
        }
        Ok(Outcome {
            packets_in_per_second: sent.iter().flatten().sum::<u64>() as f64 / took,
            packets_per_second: came as f64 / took,
            forwarded_percent: arrived as f64 / expected as f64 * 100.0,
            server_cpu_us_per_packet: server * 1e6 / came as f64,
            server_busy_percent: server / took * 100.0,
            server_rss_mb,
            generator_busy_percent: generator / took * 100.0,
            loss_percent: lost as f64 / (arrived + lost) as f64 * 100.0,
            delay_ms,
            join_ms,
            join_to_picture_ms,
        })
    }

    /// Lets fresh subscribers come and go, one after the other.
    async fn joins(&self) -> anyhow::Result<(Vec<f64>, Vec<f64>)> {
        let number = self.load.publishers + self.load.subscribers;
        let (mut to_anything, mut to_picture) = (Vec::new(), Vec::new());
        for _ in 0..JOINS {
            let mut client = self.client(number, None)?;
            let deadline = client.began + PATIENCE;
            let (first, picture) = loop {
                if let Some(failure) = client.failure().await {
                    return Err(failure.context("a fresh subscriber"));
                }
                let seen = {
                    let ledger = client.ledger.borrow();
                    ledger.first.zip(ledger.first_picture)
                };
                if let Some(seen) = seen {
                    break seen;
                }
                if Instant::now() > deadline {
                    bail!("a fresh subscriber saw no picture within {PATIENCE:?}");
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            };
            let since = |at: Instant| at.duration_since(client.began).as_secs_f64() * 1000.0;
            to_anything.push(since(first));
            to_picture.push(since(picture));
            client.leave().await?;
            tokio::time::sleep(JOIN_PAUSE).await;
        }
        Ok((to_anything, to_picture))
    }
}

/// A token as both servers take it: a JWT of LiveKit's form.
fn token(target: &Target<'_>, user: &str) -> anyhow::Result<String> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
    let claims = json!({
        "iss": target.id,
        "sub": user,
        "nbf": now - 5,
        "exp": now + 3600,
        "video": {"room": CHANNEL, "roomJoin": true, "canPublish": true, "canSubscribe": true, "canPublishData": true},
    });
    let key = jsonwebtoken::EncodingKey::from_secret(target.key.as_bytes());
    jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).context("cannot sign a token")
}
