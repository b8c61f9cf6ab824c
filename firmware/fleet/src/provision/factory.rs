//! What is in a terminal's factory partition: ext4, read-only in use, mounted at `/factory`.
//!
//! | file | what | mode |
//! | --- | --- | --- |
//! | `udid` | the Udid in one line | 0444 |
//! | `site.toml` | the site file | 0444 |
//! | `device-key.pem` | the device's key (PKCS #8), where it was made on the bench | 0400, or 0440 for a group |
//! | `update-token` | the token for the update server, where it has one for each target | as the key |
//! | `site.network` | `systemd-networkd`'s file, where the site file has a `[network]` | 0444 |
//! | `record.json` | the line of the bench's record that gave the name away | 0444 |

use std::{
    fs,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ext4_view::{Ext4, Ext4Error};
use p256::{
    SecretKey,
    elliptic_curve::{rand_core::CryptoRngCore, sec1::ToEncodedPoint},
    pkcs8::{DecodePrivateKey, EncodePrivateKey, LineEnding},
};
use rostrum_hal::identity::Udid;
use sha2::{Digest, Sha256};

use super::{
    ProvisionError,
    bench_key::BenchPublic,
    record::{self, Entry, Event},
    tool,
};
use crate::site::{self, Site};

/// Label of the partition, and of the file system in it.
pub const LABEL: &str = "factory";
/// Bytes that a file system may have; a larger partition is not filled.
const MOST: u64 = 64 << 20;
/// Bytes that ext4 needs at least.
const LEAST: u64 = 1 << 20;
/// Bytes that one of its files may have.
const LONGEST: u64 = 64 * 1024;

const UDID: &str = "udid";
const SITE: &str = "site.toml";
const KEY: &str = "device-key.pem";
const RECORD: &str = "record.json";
const TOKEN: &str = "update-token";
const NETWORK: &str = "site.network";

/// What is written and read.
#[derive(Clone, PartialEq, Eq)]
pub struct Contents {
    /// The terminal's name.
    pub udid: Udid,
    /// The text of the site file.
    pub site: String,
    /// Its own key, unless it makes that itself.
    pub device_key: Option<DeviceKeyText>,
    /// The token for the update server.
    pub update_token: Option<String>,
    /// The line of the record, without a line break.
    pub record: String,
}

impl std::fmt::Debug for Contents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Neither key nor token.
        f.debug_struct("Contents").field("udid", &self.udid).field("site", &self.site).finish_non_exhaustive()
    }
}

/// A device's key as text.
#[derive(Clone, PartialEq, Eq)]
pub struct DeviceKeyText(String);

impl DeviceKeyText {
    /// Makes a new one.
    ///
    /// # Errors
    /// None that is known.
    pub fn make(random: &mut impl CryptoRngCore) -> Result<Self, ProvisionError> {
        let text = SecretKey::random(random).to_pkcs8_pem(LineEnding::LF);
        Ok(Self(text.map_err(|error| wrong(error.to_string()))?.to_string()))
    }

    /// The line by which the service knows the device, as `rostrumd device-key` prints it.
    ///
    /// # Errors
    /// [`ProvisionError::Factory`] when it is no key of P-256.
    pub fn public_line(&self) -> Result<String, ProvisionError> {
        let key = SecretKey::from_pkcs8_pem(&self.0);
        let key = key.map_err(|_| wrong(format!("{KEY} is no key of P-256 in PEM (PKCS #8)")))?;
        Ok(URL_SAFE_NO_PAD.encode(key.public_key().to_encoded_point(true).as_bytes()))
    }
}

/// SHA-256 of a file, in hexadecimal, as the record has it.
pub fn sha256(text: &str) -> String {
    hex::encode(Sha256::digest(text))
}

/// A file system with these files, for a partition of `length` bytes. The device's key is root's, and the group's
/// `key_group` where one is given.
///
/// # Errors
/// [`ProvisionError::Tool`] when mke2fs or debugfs does not do it, [`ProvisionError::Factory`] when the partition is too
/// small.
pub fn file_system(
    contents: &Contents,
    length: u64,
    key_group: Option<u32>,
) -> Result<Vec<u8>, ProvisionError> {
    if length < LEAST {
        return Err(wrong(format!("a partition of {length} bytes is too small; make it 16 MiB")));
    }
    let at = |source| ProvisionError::Io { place: "a temporary folder".into(), source };
    let folder = tempfile::tempdir().map_err(at)?;
    let root = folder.path().join("root");
    fs::create_dir(&root).map_err(at)?;
    let key_mode = if key_group.is_some() { 0o440 } else { 0o400 };
    let mut files = vec![
        (UDID, format!("{}\n", contents.udid), 0o444, 0),
        (SITE, contents.site.clone(), 0o444, 0),
        (RECORD, format!("{}\n", contents.record), 0o444, 0),
    ];
    if let Some(DeviceKeyText(text)) = &contents.device_key {
        files.push((KEY, text.clone(), key_mode, key_group.unwrap_or(0)));
    }
    if let Some(token) = &contents.update_token {
        files.push((TOKEN, format!("{token}\n"), key_mode, key_group.unwrap_or(0)));
    }
    if let Some(network) = site::parse(SITE, &contents.site)?.network {
        files.push((NETWORK, network.networkd(), 0o444, 0));
    }
    for (name, text, mode, _) in &files {
        write_new(&root.join(name), text.as_bytes(), *mode).map_err(at)?;
    }
    let image = folder.path().join("image");
    fs::File::create_new(&image).and_then(|file| file.set_len(length.min(MOST))).map_err(at)?;
    let (root, image) = (text_of(&root)?, text_of(&image)?);
    // It is never written in use, and needs no journal.
    tool::run(
        "mke2fs",
        &[
            "-q",
            "-t",
            "ext4",
            "-L",
            LABEL,
            "-m",
            "0",
            "-O",
            "^has_journal,^resize_inode",
            "-E",
            "root_owner=0:0",
            "-d",
            &root,
            &image,
        ],
    )?;
    // mke2fs takes the owner from the folder: whoever runs the bench.
    let owners: Vec<_> = files
        .iter()
        .flat_map(|(name, _, _, group)| [format!("sif /{name} uid 0"), format!("sif /{name} gid {group}")])
        .collect();
    let commands = folder.path().join("owners");
    fs::write(&commands, owners.join("\n") + "\n").map_err(at)?;
    tool::run("debugfs", &["-w", "-f", &text_of(&commands)?, &image])?;
    let bytes = fs::read(&image).map_err(at)?;
    // debugfs tells nobody when a command fails.
    let made = Ext4::load(Box::new(bytes.clone())).map_err(unreadable)?;
    for (name, _, mode, group) in &files {
        let found = made.metadata(format!("/{name}").as_str()).map_err(unreadable)?;
        if (found.uid(), found.gid(), u32::from(found.mode())) != (0, *group, *mode) {
            return Err(wrong(format!("{name} did not get its owner; is debugfs of e2fsprogs there?")));
        }
    }
    Ok(bytes)
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> std::io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    std::io::Write::write_all(&mut file, bytes)
}

fn text_of(path: &Path) -> Result<String, ProvisionError> {
    let text = PathBuf::from(path).into_os_string().into_string();
    text.map_err(|_| wrong("the temporary folder has a strange name; set TMPDIR".into()))
}

/// Whose a partition is, whatever else is in it and by whatever version of this program; `None` for a fresh one.
pub fn owner(bytes: Vec<u8>) -> Option<String> {
    let system = Ext4::load(Box::new(bytes)).ok()?;
    Some(text(&system, UDID).ok()?.trim().to_owned()).filter(|udid| !udid.is_empty())
}

/// Reads a file system as [`file_system`] makes it; whether it is right is another question.
///
/// # Errors
/// [`ProvisionError::Factory`].
pub fn read(bytes: Vec<u8>) -> Result<Contents, ProvisionError> {
    let system = Ext4::load(Box::new(bytes)).map_err(unreadable)?;
    let udid = Udid::new(text(&system, UDID)?.trim()).map_err(|error| wrong(format!("{UDID}: {error}")))?;
    let there = |name: &str| system.exists(format!("/{name}").as_str()).map_err(unreadable);
    let device_key = if there(KEY)? { Some(DeviceKeyText(text(&system, KEY)?)) } else { None };
    let update_token = if there(TOKEN)? { Some(text(&system, TOKEN)?.trim().to_owned()) } else { None };
    let network = if there(NETWORK)? { Some(text(&system, NETWORK)?) } else { None };
    let record = text(&system, RECORD)?.trim_end_matches('\n').to_owned();
    let site = text(&system, SITE)?;
    if network != site::parse(SITE, &site)?.network.map(|network| network.networkd()) {
        return Err(wrong(format!("{NETWORK} is not what {SITE} says")));
    }
    Ok(Contents { udid, site, device_key, update_token, record })
}

fn text(system: &Ext4, name: &str) -> Result<String, ProvisionError> {
    let path = format!("/{name}");
    let length = system.metadata(path.as_str()).map_err(|error| wrong(format!("{name}: {error}")))?.len();
    if length > LONGEST {
        return Err(wrong(format!("{name} is too long")));
    }
    system.read_to_string(path.as_str()).map_err(|error| wrong(format!("{name}: {error}")))
}

/// What a factory partition says, proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The terminal's name.
    pub udid: Udid,
    /// The line by which the service knows it, unless it makes its key itself.
    pub public_key: Option<String>,
    /// Its site.
    pub site: Site,
    /// The line of the record that gave the name away.
    pub entry: Entry,
}

/// Proves that the bench of `key` wrote these contents, and that nothing was changed since.
///
/// # Errors
/// [`ProvisionError::Factory`] with the first thing that is not as the record says, [`ProvisionError::Site`].
pub fn verify(contents: &Contents, key: &BenchPublic) -> Result<Verified, ProvisionError> {
    let entry = record::open(&contents.record, key).map_err(|fault| wrong(format!("{RECORD}: {fault}")))?;
    let Event::Given { udid, public_key, site_sha256, update_token_sha256, .. } = &entry.event else {
        return Err(wrong(format!("{RECORD} gives no name away")));
    };
    if *udid != contents.udid {
        return Err(wrong(format!("{UDID} says {}, and the record {udid}", contents.udid)));
    }
    let own = contents.device_key.as_ref().map(DeviceKeyText::public_line).transpose()?;
    if own != *public_key {
        return Err(wrong(format!("{KEY} is another key than the record says")));
    }
    if sha256(&contents.site) != *site_sha256 {
        return Err(wrong(format!("{SITE} was changed since it was written")));
    }
    if contents.update_token.as_deref().map(sha256) != *update_token_sha256 {
        return Err(wrong(format!("{TOKEN} is another one than the record says")));
    }
    let site = site::parse(SITE, &contents.site)?;
    Ok(Verified { udid: udid.clone(), public_key: own, site, entry })
}

fn unreadable(error: Ext4Error) -> ProvisionError {
    wrong(format!("it is no file system that can be read: {error}"))
}

fn wrong(message: String) -> ProvisionError {
    ProvisionError::Factory { message }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use p256::elliptic_curve::rand_core::OsRng;
    use proptest::prelude::*;

    use super::super::{bench_key::test_key, record::Record};
    use super::*;

    fn contents(with_key: bool) -> Contents {
        let device_key = with_key.then(|| DeviceKeyText::make(&mut OsRng).unwrap());
        let site = "[service]\nurl = \"ws://a\"\n[network]\nntp = [\"b\"]\n".to_owned();
        let udid = Udid::new("T-1").unwrap();
        let event = Event::Given {
            udid: udid.clone(),
            public_key: device_key.as_ref().map(|key| key.public_line().unwrap()),
            site_sha256: sha256(&site),
            update_token_sha256: Some(sha256("token")),
            replaces: false,
        };
        let record = record::line(&Record::new(test_key(1).public()).next(event, 7), &test_key(1)).unwrap();
        Contents { udid, site, device_key, update_token: Some("token".into()), record }
    }

    #[test]
    fn what_is_written_is_read_and_proved_and_the_key_is_roots_alone() {
        for (with_key, group, mode) in [(true, None, 0o400), (true, Some(870), 0o440), (false, None, 0)] {
            let contents = contents(with_key);
            let bytes = file_system(&contents, 16 << 20, group).unwrap();
            assert_eq!(bytes.len(), 16 << 20);
            let system = Ext4::load(Box::new(bytes.clone())).unwrap();
            let network = system.read_to_string("/site.network").unwrap();
            assert!(network.contains("NTP=b"), "{network}");
            let token = system.metadata("/update-token").unwrap();
            let others = token.mode() & 0o007;
            assert_eq!((token.uid(), others), (0, 0), "everybody may read the token");
            if with_key {
                let key = system.metadata("/device-key.pem").unwrap();
                assert_eq!((key.uid(), key.gid(), key.mode()), (0, group.unwrap_or(0), mode));
            }
            assert_eq!(
                (system.metadata("/").unwrap().uid(), system.label().as_bytes()[..7].to_vec()),
                (0, b"factory".to_vec())
            );
            assert_eq!(owner(bytes.clone()).as_deref(), Some("T-1"));
            assert_eq!(read(bytes).unwrap(), contents);
            let verified = verify(&contents, &test_key(1).public()).unwrap();
            assert_eq!((verified.udid.as_str(), verified.public_key.is_some()), ("T-1", with_key));
        }
        assert!(file_system(&contents(true), 4096, None).is_err());
    }

    #[test]
    fn whatever_was_changed_is_told() {
        let good = contents(true);
        let told = |contents: &Contents, word: &str| {
            let error = verify(contents, &test_key(1).public()).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        };
        told(&Contents { udid: Udid::new("T-2").unwrap(), ..good.clone() }, "udid says T-2");
        told(&Contents { device_key: contents(true).device_key, ..good.clone() }, "another key");
        told(&Contents { device_key: None, ..good.clone() }, "another key");
        told(&Contents { update_token: None, ..good.clone() }, "update-token is another");
        told(&Contents { site: good.site.replace("//a", "//b"), ..good.clone() }, "site.toml was changed");
        told(&Contents { record: good.record.replace("T-1", "T-2"), ..good.clone() }, "did not sign");
        assert!(verify(&good, &test_key(2).public()).is_err());
        let event = Event::Written { udid: good.udid.clone() };
        let other = record::line(&Record::new(test_key(1).public()).next(event, 7), &test_key(1)).unwrap();
        told(&Contents { record: other, ..good }, "gives no name");
    }

    #[test]
    fn a_partition_that_was_never_written_says_so() {
        assert!(read(vec![0; 1 << 20]).is_err() && read(Vec::new()).is_err());
        assert_eq!(owner(vec![0; 1 << 20]), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..8192)) {
            prop_assert!(read(bytes).is_err());
        }

        #[test]
        fn no_damage_of_a_file_system_panics(
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..40),
        ) {
            thread_local! {
                static GOOD: Vec<u8> = file_system(&contents(true), 1 << 20, None).unwrap();
            }
            let mut bytes = GOOD.with(Vec::clone);
            for (at, byte) in damage {
                // Most of it is empty: what counts is at the beginning.
                let at = at.index(64 * 1024);
                bytes[at] = byte;
            }
            let _ = owner(bytes.clone());
            if let Ok(contents) = read(bytes) {
                let _ = verify(&contents, &test_key(1).public());
            }
        }
    }
}
