//! Graphics cards. All displays of this program on one card share one open file: the kernel lets only one be the master,
//! which may show something (`drm-uapi`, "Primary Nodes, DRM Master and Authentication").

use std::{
    collections::HashSet,
    fs::{File, OpenOptions},
    io,
    os::fd::{AsFd, BorrowedFd},
    path::{Path, PathBuf},
    sync::{Arc, Weak},
};

use drm::{
    ClientCapability, Device,
    control::{Device as _, ResourceHandle, property},
};
use parking_lot::Mutex;

use crate::screen::kept::Lack;

const NODES: &str = "/dev/dri";

/// The cards that are open.
static OPEN: Mutex<Vec<(String, Weak<Card>)>> = Mutex::new(Vec::new());

/// An open card whose master we are.
pub(super) struct Card {
    node: File,
    /// Numbers of connectors, CRTCs and planes that one of our displays uses; no two of a card are the same.
    used: Mutex<HashSet<u32>>,
}

impl AsFd for Card {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.node.as_fd()
    }
}

impl Device for Card {}
impl drm::control::Device for Card {}

impl Card {
    /// The card of that name, such as `card0`.
    pub(super) fn open(name: &str) -> Result<Arc<Self>, Lack> {
        let mut open = OPEN.lock();
        open.retain(|(_, card)| card.strong_count() > 0);
        if let Some(card) = open.iter().find(|(other, _)| other == name).and_then(|(_, card)| card.upgrade())
        {
            return Ok(card);
        }
        let path = Path::new(NODES).join(name);
        let node =
            OpenOptions::new().read(true).write(true).open(&path).map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => Lack::Gone,
                io::ErrorKind::PermissionDenied => Lack::Failed(format!(
                    "{} may not be opened; add the terminal's user to the group video",
                    path.display()
                )),
                _ => Lack::Failed(format!("{} does not open: {error}", path.display())),
            })?;
        let card = Self { node, used: Mutex::default() };
        // Who opens a card that nobody has is its master already, and may ask again.
        card.acquire_master_lock().map_err(|error| {
            log::debug!(card = name, error:%; "somebody else is the card's master");
            Lack::Failed(format!(
                "another program, such as a desktop, shows on {}; stop it, or show in its window with the driver wayland",
                path.display()
            ))
        })?;
        card.set_client_capability(ClientCapability::UniversalPlanes, true)
            .map_err(|error| Lack::Failed(format!("{} has no planes to show on: {error}", path.display())))?;
        let card = Arc::new(card);
        open.push((name.to_owned(), Arc::downgrade(&card)));
        Ok(card)
    }

    /// Reserves one of the card's parts; `false` when another display has it.
    fn take(&self, id: u32) -> bool {
        self.used.lock().insert(id)
    }

    /// A property of one of the card's parts, and its value.
    pub(super) fn property<T: ResourceHandle>(&self, of: T, name: &str) -> Option<(property::Handle, u64)> {
        let properties = self.get_properties(of).ok()?;
        let named = |handle: property::Handle| {
            self.get_property(handle).is_ok_and(|property| property.name().to_bytes() == name.as_bytes())
        };
        properties.into_iter().find(|(handle, _)| named(*handle))
    }
}

/// Parts of a card that one display uses. Dropping it gives them back.
pub(super) struct Used {
    card: Arc<Card>,
    ids: Vec<u32>,
}

impl Used {
    pub(super) fn of(card: &Arc<Card>) -> Self {
        Self { card: Arc::clone(card), ids: Vec::new() }
    }

    /// Takes one more part; `false` when another display has it.
    pub(super) fn take(&mut self, id: impl Into<u32>) -> bool {
        let id = id.into();
        let free = self.card.take(id);
        if free {
            self.ids.push(id);
        }
        free
    }
}

impl Drop for Used {
    fn drop(&mut self) {
        let mut used = self.card.used.lock();
        for id in &self.ids {
            used.remove(id);
        }
    }
}

/// Names of all cards, such as `card0`, each with that of its driver, such as `vc4`.
pub(super) fn list() -> Vec<(String, String)> {
    let entries = std::fs::read_dir(NODES).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<_> = names.filter(|name| name.starts_with("card")).collect();
    names.sort();
    names
        .into_iter()
        .map(|name| (driver_of(&name).unwrap_or_default(), name))
        .map(|(driver, name)| (name, driver))
        .collect()
}

fn driver_of(name: &str) -> Option<String> {
    struct Node(File);
    impl AsFd for Node {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.0.as_fd()
        }
    }
    impl Device for Node {}
    let node = Node(OpenOptions::new().read(true).write(true).open(Path::new(NODES).join(name)).ok()?);
    Some(node.get_driver().ok()?.name().to_string_lossy().into_owned())
}

/// The name of the card whose node is `path`, which may be a link such as those in `/dev/dri/by-path`.
pub(super) fn name_of(path: &str) -> Option<String> {
    let node: PathBuf = Path::new(path).canonicalize().ok()?;
    Some(node.file_name()?.to_str()?.to_owned()).filter(|name| name.starts_with("card"))
}
