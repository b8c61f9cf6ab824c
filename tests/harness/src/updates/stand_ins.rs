//! What stands in for systemd and for the terminal's program in tests that are not about those.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use anyhow::Context;
use parking_lot::Mutex;
use rostrum_fleet::update::{
    link::{self, FailedPart, FromTerminal, FromUpdater},
    status::Status,
};
use rostrum_hal::selftest::Part;
use tokio::{io::BufReader, net::UnixListener, sync::watch};
use zbus::{Connection, interface, zvariant::OwnedObjectPath};

/// Units that do not come up.
pub(super) type Down = Arc<Mutex<BTreeSet<String>>>;

struct Manager(Down);

#[interface(name = "org.freedesktop.systemd1.Manager")]
impl Manager {
    fn get_unit(&self, name: &str) -> zbus::fdo::Result<OwnedObjectPath> {
        let state = if self.0.lock().contains(name) { "down" } else { "up" };
        OwnedObjectPath::try_from(format!("/org/freedesktop/systemd1/unit/{state}"))
            .map_err(|error| zbus::fdo::Error::Failed(error.to_string()))
    }
}

/// A unit that is up, or down.
struct Unit(&'static str);

#[interface(name = "org.freedesktop.systemd1.Unit")]
impl Unit {
    #[zbus(property)]
    fn active_state(&self) -> String {
        self.0.into()
    }
}

/// Serves as systemd on the bus at `address`.
pub(super) async fn systemd(address: &str, down: Down) -> anyhow::Result<Connection> {
    let unit = "/org/freedesktop/systemd1/unit";
    let connection = zbus::connection::Builder::address(address)?
        .name("org.freedesktop.systemd1")?
        .serve_at("/org/freedesktop/systemd1", Manager(down))?
        .serve_at(format!("{unit}/up"), Unit("active"))?
        .serve_at(format!("{unit}/down"), Unit("failed"))?
        .build();
    connection.await.context("the bus takes no systemd")
}

/// What the room does, and what its self-test finds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Room {
    pub(super) meeting: bool,
    pub(super) failing: BTreeSet<Part>,
}

/// What is said to the updater besides.
pub(super) type Words = tokio::sync::broadcast::Sender<FromTerminal>;

/// Serves as the terminal at `socket`.
pub(super) async fn terminal(
    socket: &Path,
    room: watch::Receiver<Room>,
    words: Words,
    status: watch::Sender<Status>,
) -> anyhow::Result<()> {
    let _ = std::fs::remove_file(socket);
    let listener = UnixListener::bind(socket)?;
    tokio::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else { return };
            let (mut room, status, mut words) = (room.clone(), status.clone(), words.subscribe());
            tokio::spawn(async move {
                let (read, mut write) = stream.into_split();
                let mut read = BufReader::new(read);
                let (heard, mut hears) = tokio::sync::mpsc::channel(8);
                tokio::spawn(async move {
                    while let Ok(Some(message)) = link::read::<FromUpdater>(&mut read).await {
                        if heard.send(message).await.is_err() {
                            return;
                        }
                    }
                });
                let mut tick = tokio::time::interval(std::time::Duration::from_secs(2));
                loop {
                    let message = tokio::select! {
                        _ = tick.tick() => FromTerminal::Room { meeting: room.borrow().meeting },
                        changed = room.changed() => {
                            if changed.is_err() { return }
                            FromTerminal::Room { meeting: room.borrow_and_update().meeting }
                        }
                        Ok(word) = words.recv() => word,
                        message = hears.recv() => match message {
                            None => return,
                            Some(FromUpdater::Status(now)) => {
                                status.send_replace(now);
                                continue;
                            }
                            Some(FromUpdater::Test { parts }) => {
                                let failing = room.borrow().failing.clone();
                                let failed = failing
                                    .intersection(&parts)
                                    .map(|part| FailedPart { part: *part, why: "it gives nothing".into() });
                                FromTerminal::Tested { failed: failed.collect(), tested: parts }
                            }
                        },
                    };
                    if link::write(&mut write, &message).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    Ok(())
}
