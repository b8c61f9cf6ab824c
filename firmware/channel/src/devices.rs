//! The hardware terminals that the service knows: by Udid, the public half of each one's key.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac as _};
use parking_lot::Mutex;
use rostrum_rtc::device_token::DevicePublicKey;
use rostrum_rtc::names::{AppId, ChannelId, Udid, UserId};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

/// How long a challenge can be signed.
pub(crate) const CHALLENGE_TTL: Duration = Duration::from_secs(60);
/// Bytes of its random part, and of its seal.
const PART: usize = 16;
/// Challenges that were used and are remembered; more than a service answers in their time.
const MOST_USED: usize = 100_000;

/// One known terminal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Device {
    /// Whose it is.
    pub(crate) app: AppId,
    /// What it signs with.
    pub(crate) public_key: DevicePublicKey,
    /// The channels that it may join; any when there is none.
    #[serde(default)]
    pub(crate) channels: Vec<ChannelId>,
    /// Who it may be; anybody when nothing is said.
    #[serde(default)]
    pub(crate) user: Option<UserId>,
}

/// Why the file of the devices cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DevicesError {
    /// It cannot be read.
    #[error("devices.file {path} cannot be read: {source}; give it to the user of channeld")]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It says something else.
    #[error(
        "devices.file {path}: {message}; restore it from a backup, or remove it and register all devices again"
    )]
    Parse {
        /// Which.
        path: PathBuf,
        /// Where and what.
        message: String,
    },
}

/// All known terminals, kept in a file.
pub(crate) struct Devices {
    path: PathBuf,
    known: Mutex<BTreeMap<Udid, Device>>,
}

impl Devices {
    /// Reads the file; none when there is no file yet.
    pub(crate) fn open(path: &Path) -> Result<Self, DevicesError> {
        let known = match fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|error| DevicesError::Parse { path: path.into(), message: error.to_string() })?,
            Err(error) if error.kind() == ErrorKind::NotFound => BTreeMap::new(),
            Err(source) => return Err(DevicesError::Read { path: path.into(), source }),
        };
        Ok(Self { path: path.into(), known: Mutex::new(known) })
    }

    pub(crate) fn get(&self, udid: &Udid) -> Option<Device> {
        self.known.lock().get(udid).cloned()
    }

    /// Those of an application.
    pub(crate) fn of(&self, app: &AppId) -> Vec<(Udid, Device)> {
        let known = self.known.lock();
        let own = known.iter().filter(|(_, device)| device.app == *app);
        own.map(|(udid, device)| (udid.clone(), device.clone())).collect()
    }

    /// Registers a terminal, or changes what is known of it; `false` when it is another application's.
    pub(crate) fn put(&self, udid: Udid, device: Device) -> io::Result<bool> {
        let mut known = self.known.lock();
        if known.get(&udid).is_some_and(|old| old.app != device.app) {
            return Ok(false);
        }
        let mut new = known.clone();
        new.insert(udid, device);
        self.write(&new)?;
        *known = new;
        Ok(true)
    }

    /// Forgets a terminal of that application; `false` when it has none of that Udid.
    pub(crate) fn remove(&self, udid: &Udid, app: &AppId) -> io::Result<bool> {
        let mut known = self.known.lock();
        if known.get(udid).is_none_or(|old| old.app != *app) {
            return Ok(false);
        }
        let mut new = known.clone();
        new.remove(udid);
        self.write(&new)?;
        *known = new;
        Ok(true)
    }

    /// Whole or not at all, and on the disk when it returns.
    fn write(&self, known: &BTreeMap<Udid, Device>) -> io::Result<()> {
        let folder =
            self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
        let new = self.path.with_extension("new");
        let mut file = fs::File::create(&new)?;
        file.write_all(&serde_json::to_vec_pretty(known).map_err(io::Error::other)?)?;
        file.sync_all()?;
        fs::rename(&new, &self.path)?;
        fs::File::open(folder)?.sync_all()
    }
}

/// Makes challenges and knows its own again. Only those that were used take memory.
pub(crate) struct Challenges {
    secret: [u8; 32],
    used: Mutex<BTreeMap<(u64, [u8; PART]), ()>>,
}

impl Challenges {
    pub(crate) fn new(secret: [u8; 32]) -> Self {
        Self { secret, used: Mutex::default() }
    }

    /// One for that terminal, from `now` on (seconds since 1970) for [`CHALLENGE_TTL`]; `random` is never the same twice.
    pub(crate) fn make(&self, udid: &Udid, now: u64, random: [u8; PART]) -> String {
        let expires = now + CHALLENGE_TTL.as_secs();
        let mut bytes = expires.to_be_bytes().to_vec();
        bytes.extend_from_slice(&random);
        bytes.extend_from_slice(&self.seal(udid, expires, random));
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Whether it is one of that terminal, can still be used, and was not; it is used from now on.
    pub(crate) fn take(&self, udid: &Udid, challenge: &str, now: u64) -> bool {
        let Some((expires, random, seal)) = parts(challenge) else { return false };
        // Both ends of the comparison are hashes: how long it takes tells nothing.
        if seal != self.seal(udid, expires, random) || now > expires {
            return false;
        }
        let mut used = self.used.lock();
        *used = used.split_off(&(now, [0; PART]));
        used.len() < MOST_USED && used.insert((expires, random), ()).is_none()
    }

    fn seal(&self, udid: &Udid, expires: u64, random: [u8; PART]) -> [u8; PART] {
        // A key of any length is fine (RFC 2104 §2).
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.secret) else { return [0; PART] };
        mac.update(&expires.to_be_bytes());
        mac.update(&random);
        mac.update(udid.as_str().as_bytes());
        let mut seal = [0; PART];
        seal.copy_from_slice(&mac.finalize().into_bytes()[..PART]);
        seal
    }
}

fn parts(challenge: &str) -> Option<(u64, [u8; PART], [u8; PART])> {
    let bytes = URL_SAFE_NO_PAD.decode(challenge).ok()?;
    let (expires, rest) = bytes.split_first_chunk::<8>()?;
    let (random, seal) = rest.split_first_chunk::<PART>()?;
    Some((u64::from_be_bytes(*expires), *random, seal.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn udid(text: &str) -> Udid {
        Udid::new(text).unwrap()
    }

    #[test]
    fn a_challenge_is_for_one_terminal_once_and_for_a_minute() {
        let challenges = Challenges::new([1; 32]);
        let challenge = challenges.make(&udid("one"), 1_000, [7; PART]);
        assert!(!challenges.take(&udid("two"), &challenge, 1_000));
        assert!(!Challenges::new([2; 32]).take(&udid("one"), &challenge, 1_000));
        assert!(!challenges.take(&udid("one"), &challenge, 1_061));
        assert!(challenges.take(&udid("one"), &challenge, 1_060));
        assert!(!challenges.take(&udid("one"), &challenge, 1_060), "twice");
        let later = challenges.make(&udid("one"), 2_000, [8; PART]);
        assert!(challenges.take(&udid("one"), &later, 2_000));
        assert_eq!(challenges.used.lock().len(), 1, "what has expired needs no memory");
    }

    #[test]
    fn devices_are_kept_and_each_is_one_applications() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/devices.json");
        let devices = Devices::open(&path).unwrap();
        let key =
            DevicePublicKey::try_from("A2sX0fLhLEJH-Lzm5WOkQPJ3A32BLeszoPShOUXYmMKW".to_owned()).unwrap();
        let device = |app: &str| Device {
            app: AppId::new(app).unwrap(),
            public_key: key.clone(),
            channels: Vec::new(),
            user: None,
        };
        assert!(devices.put(udid("T-1"), device("a")).unwrap());
        assert!(!devices.put(udid("T-1"), device("b")).unwrap(), "another application's");
        assert!(!devices.remove(&udid("T-1"), &AppId::new("b").unwrap()).unwrap());
        let again = Devices::open(&path).unwrap();
        assert_eq!(again.get(&udid("T-1")), Some(device("a")));
        assert_eq!(again.of(&AppId::new("b").unwrap()), []);
        assert!(again.remove(&udid("T-1"), &AppId::new("a").unwrap()).unwrap());
        assert_eq!(Devices::open(&path).unwrap().get(&udid("T-1")), None);
        fs::write(&path, "{\"T-1\": 3}").unwrap();
        let error = Devices::open(&path).err().unwrap().to_string();
        assert!(error.contains("devices.json") && error.contains("line 1"), "{error}");
    }

    proptest! {
        #[test]
        fn no_text_is_a_challenge_by_chance(text in "\\PC{0,80}", bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let challenges = Challenges::new([1; 32]);
            prop_assert!(!challenges.take(&udid("one"), &text, 0));
            prop_assert!(!challenges.take(&udid("one"), &URL_SAFE_NO_PAD.encode(bytes), 0));
        }
    }
}
