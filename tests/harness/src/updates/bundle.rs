//! Images of systems, and bundles of them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};
use sha2::{Digest, Sha256};
use xtask::image::Rauc;

/// How a system does when it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quality {
    /// Well.
    Good,
    /// Its camera gives nothing.
    NoPicture,
    /// It does not get as far as its programs.
    Dead,
}

/// A system, as it lies in a slot: its version and how it does, a checksum, and bytes that the checksum is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Its version.
    pub version: String,
    /// How it does.
    pub quality: Quality,
}

/// Bytes behind the head of an image.
const BODY: usize = 256 << 10;

impl Image {
    /// A system.
    pub fn new(version: &str, quality: Quality) -> Self {
        Self { version: version.into(), quality }
    }

    /// Its bytes. Two systems share half of them.
    pub fn bytes(&self) -> Vec<u8> {
        let quality = match self.quality {
            Quality::Good => "good",
            Quality::NoPicture => "no-picture",
            Quality::Dead => "dead",
        };
        let mut seed = Sha256::digest(&self.version).to_vec();
        let mut body = Vec::with_capacity(BODY);
        while body.len() < BODY {
            seed = Sha256::digest(&seed).to_vec();
            body.extend_from_slice(&seed);
        }
        let hash = hex(&Sha256::digest(&body));
        let mut bytes = format!("{} {quality} {hash}\n", self.version).into_bytes();
        bytes.append(&mut body);
        bytes
    }

    /// Reads one from a slot.
    ///
    /// # Errors
    /// When it is not whole.
    pub fn read(slot: &[u8]) -> anyhow::Result<Self> {
        let end = slot.iter().position(|byte| *byte == b'\n').context("the slot holds no system")?;
        let head = std::str::from_utf8(&slot[..end])?;
        let words: Vec<_> = head.split(' ').collect();
        let &[version, quality, hash] = words.as_slice() else { anyhow::bail!("the slot holds no system") };
        let body = slot.get(end + 1..end + 1 + BODY).context("the system in the slot is cut off")?;
        ensure!(hex(&Sha256::digest(body)) == hash, "the system in the slot is not whole");
        let quality = match quality {
            "good" => Quality::Good,
            "no-picture" => Quality::NoPicture,
            _ => Quality::Dead,
        };
        Ok(Self { version: version.into(), quality })
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Makes bundles, signed by whom the terminals trust or by a stranger.
pub struct Bundles {
    dir: PathBuf,
    rauc: Rauc,
}

/// The kind of machine that a terminal of the tests is.
pub(super) const COMPATIBLE: &str = "rostrum-test";

impl Bundles {
    /// Makes the keys.
    ///
    /// # Errors
    /// When there is no RAUC or no openssl.
    pub fn new(dir: &Path, rauc: Rauc) -> anyhow::Result<Self> {
        fs::create_dir_all(dir)?;
        for name in ["trusted", "stranger"] {
            let mut openssl = Command::new("openssl");
            openssl
                .args([
                    "req",
                    "-x509",
                    "-newkey",
                    "ec",
                    "-pkeyopt",
                    "ec_paramgen_curve:P-256",
                    "-nodes",
                    "-days",
                    "100",
                ])
                .args(["-subj", &format!("/CN={name}")])
                .arg("-keyout")
                .arg(dir.join(name).with_extension("key"))
                .arg("-out")
                .arg(dir.join(name).with_extension("pem"));
            succeeds(&mut openssl)?;
        }
        Ok(Self { dir: dir.into(), rauc })
    }

    /// Whom the terminals trust.
    pub fn key_ring(&self) -> PathBuf {
        self.dir.join("trusted.pem")
    }

    /// A bundle with `image`.
    ///
    /// # Errors
    /// When RAUC does not make it.
    pub fn bundle(&self, image: &Image) -> anyhow::Result<PathBuf> {
        self.bundle_with(image, COMPATIBLE, "trusted")
    }

    /// A bundle with `image` for machines of the kind `compatible`, signed by `signer` (`trusted` or `stranger`).
    ///
    /// # Errors
    /// When RAUC does not make it.
    pub fn bundle_with(&self, image: &Image, compatible: &str, signer: &str) -> anyhow::Result<PathBuf> {
        let name = format!("{}-{:?}-{compatible}-{signer}", image.version, image.quality);
        let folder = self.dir.join(&name);
        let bundle = self.dir.join(format!("{name}.raucb"));
        if bundle.exists() {
            return Ok(bundle);
        }
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("rootfs.img"), image.bytes())?;
        let manifest = format!(
            "[update]\ncompatible={compatible}\nversion={}\n[bundle]\nformat=plain\n[image.rootfs]\nfilename=rootfs.img\n",
            image.version
        );
        fs::write(folder.join("manifest.raucm"), manifest)?;
        let key = self.dir.join(signer);
        let mut command = self.rauc.command();
        command
            .arg(format!("--cert={}", key.with_extension("pem").display()))
            .arg(format!("--key={}", key.with_extension("key").display()))
            .arg(format!("--keyring={}", key.with_extension("pem").display()))
            .arg("bundle")
            .args([&folder, &bundle]);
        succeeds(&mut command)?;
        Ok(bundle)
    }
}

/// Runs a command to its end, silently when that is a good one.
pub(super) fn succeeds(command: &mut Command) -> anyhow::Result<()> {
    let output = command.output().with_context(|| format!("cannot start {command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
