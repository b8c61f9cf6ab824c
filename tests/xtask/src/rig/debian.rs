//! Debian packages of either architecture, fetched and unpacked without installing them.
//!
//! apt gets a state of its own below the cache, so that the machine's list of architectures and packages stays as it
//! is. Where packages come from is read from the machine's own sources.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, bail, ensure};

use super::Architecture;
use crate::{
    paths,
    process::{display, run, say},
};

/// The release that everything here is made for.
const RELEASE: &str = "bookworm";
/// The release that the image for QEMU is made of: its RAUC can stream.
const IMAGE_RELEASE: &str = "trixie";
const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// apt with a state of its own.
pub(crate) struct Apt {
    dir: PathBuf,
    /// What packages are of that do not say it.
    native: Architecture,
}

/// A file that apt would fetch.
pub(crate) struct Source {
    address: String,
    /// Its name, which holds its version.
    pub(crate) name: String,
    /// "SHA256:" and so on.
    hash: String,
}

impl Apt {
    /// Reads the lists of packages of the release that everything here is made for.
    pub(super) fn update() -> anyhow::Result<Self> {
        Self::update_in("apt", Architecture::Amd64, &sources()?)
    }

    /// Reads the lists of packages of the release that the image is made of.
    pub(crate) fn for_image() -> anyhow::Result<Self> {
        let mirror = mirror()?;
        let security = mirror.replace("/debian", "/debian-security");
        let lines: String = [
            (&mirror, IMAGE_RELEASE.to_owned()),
            (&mirror, format!("{IMAGE_RELEASE}-updates")),
            (&security, format!("{IMAGE_RELEASE}-security")),
        ]
        .iter()
        .map(|(address, release)| format!("deb [signed-by={KEYS}] {address} {release} main\n"))
        .collect();
        let sources = format!("{lines}deb-src [signed-by={KEYS}] {mirror} {IMAGE_RELEASE} main\n");
        Self::update_in("apt-image", Architecture::Arm64, &sources)
    }

    fn update_in(name: &str, native: Architecture, sources: &str) -> anyhow::Result<Self> {
        let apt = Self { dir: paths::cache().join(name), native };
        for folder in ["lists/partial", "cache/archives/partial", "empty/partial", "packages"] {
            fs::create_dir_all(apt.dir.join(folder))?;
        }
        fs::write(apt.dir.join("status"), "")?;
        fs::write(apt.dir.join("sources.list"), sources)?;
        fs::write(apt.dir.join("apt.conf"), apt.configuration())?;
        let mut update = apt.command("apt-get");
        run("apt: reading the lists of packages for amd64 and arm64", update.args(["-q", "update"]))?;
        Ok(apt)
    }

    fn configuration(&self) -> String {
        let dir = self.dir.display();
        format!(
            "APT::Architecture \"{}\";\n\
             APT::Architectures {{ \"amd64\"; \"arm64\"; }};\n\
             APT::Sandbox::User \"\";\n\
             Dir::State::lists \"{dir}/lists\";\n\
             Dir::State::status \"{dir}/status\";\n\
             Dir::Cache \"{dir}/cache\";\n\
             Dir::Etc::sourcelist \"{dir}/sources.list\";\n\
             Dir::Etc::sourceparts \"-\";\n",
            self.native.debian()
        )
    }

    /// What `packages` and all that they depend on are, without fetching it.
    pub(crate) fn resolve(&self, packages: &[&str]) -> anyhow::Result<Vec<Source>> {
        let mut install = self.command("apt-get");
        // What it has fetched already it would leave out.
        let empty = format!("Dir::Cache::archives={}", self.dir.join("empty").display());
        install
            .args(["-q", "-y", "--no-install-recommends", "--print-uris", "-o", &empty, "install"])
            .args(packages);
        let sources = addresses(&mut install)?;
        ensure!(!sources.is_empty(), "apt finds nothing to install for {}", packages.join(" "));
        Ok(sources)
    }

    /// The source files of a package, without fetching them.
    pub(crate) fn source(&self, package: &str) -> anyhow::Result<Vec<Source>> {
        addresses(self.command("apt-get").args(["-q", "--print-uris", "--download-only", "source", package]))
    }

    /// Fetches `packages` with all that they depend on; gives the files of [`Apt::resolve`].
    pub(crate) fn fetch_all(&self, packages: &[&str]) -> anyhow::Result<Vec<PathBuf>> {
        let sources = self.resolve(packages)?;
        let mut install = self.command("apt-get");
        install.args(["-q", "-y", "--no-install-recommends", "--download-only", "install"]).args(packages);
        run(&format!("apt: fetching {} packages", sources.len()), &mut install)?;
        let archives = self.dir.join("cache/archives");
        Ok(sources.iter().map(|source| archives.join(&source.name)).collect())
    }

    /// Fetches one file of [`Apt::source`] into `folder`, and checks it.
    pub(crate) fn fetch_source(&self, source: &Source, folder: &Path) -> anyhow::Result<PathBuf> {
        fs::create_dir_all(folder)?;
        let file = folder.join(&source.name);
        let mut helper = self.command("/usr/lib/apt/apt-helper");
        helper.args(["download-file", &source.address]).arg(&file).arg(&source.hash);
        run(&format!("apt: fetching {}", source.name), &mut helper)?;
        Ok(file)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("APT_CONFIG", self.dir.join("apt.conf")).stdin(Stdio::null());
        command
    }

    /// The sources of packages, for `mmdebstrap`.
    pub(super) fn sources_list(&self) -> PathBuf {
        self.dir.join("sources.list")
    }

    /// What the newest version of `package` says in `field`.
    pub(super) fn field(&self, package: &str, field: &str) -> anyhow::Result<String> {
        let mut show = self.command("apt-cache");
        show.args(["show", "--no-all-versions", package]);
        let output = show.output().with_context(|| format!("cannot start {}", display(&show)))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let start = format!("{field}: ");
        let found = text.lines().find_map(|line| line.strip_prefix(&start)).map(str::to_owned);
        found.with_context(|| format!("Debian's lists have no {field} of {package}"))
    }

    /// Fetches `name:architecture=version`, `name:architecture` or `name/release`, and gives the file.
    pub(super) fn fetch(&self, package: &str) -> anyhow::Result<PathBuf> {
        let folder = self.dir.join("packages");
        let name = package.split([':', '=', '/']).next().unwrap_or(package);
        let scratch = folder.join(format!("{name}.new"));
        let _ = fs::remove_dir_all(&scratch);
        fs::create_dir_all(&scratch)?;
        run(
            &format!("apt: fetching {package}"),
            self.command("apt-get").args(["-q", "download", package]).current_dir(&scratch),
        )?;
        let entry =
            fs::read_dir(&scratch)?.next().with_context(|| format!("{package} was not fetched"))??;
        let file = folder.join(entry.file_name());
        fs::rename(entry.path(), &file)?;
        fs::remove_dir(&scratch)?;
        Ok(file)
    }

    /// Fetches `package` and unpacks it below `into`.
    pub(super) fn unpack(&self, package: &str, into: &Path) -> anyhow::Result<()> {
        let file = self.fetch(package)?;
        fs::create_dir_all(into)?;
        let mut dpkg = Command::new("dpkg-deb");
        dpkg.arg("--extract").arg(&file).arg(into);
        ensure!(dpkg.status()?.success(), "{} failed", display(&dpkg));
        fs::remove_file(file)?;
        Ok(())
    }

    /// Fetches `package`, and unpacks those files below `inner` that match one of `wanted`, which is the archive
    /// (`.tar.xz`) inside the package.
    pub(super) fn unpack_inner(
        &self,
        package: &str,
        inner: &str,
        wanted: &[&str],
        into: &Path,
    ) -> anyhow::Result<()> {
        let file = self.fetch(package)?;
        fs::create_dir_all(into)?;
        let mut outer = Command::new("dpkg-deb")
            .arg("--fsys-tarfile")
            .arg(&file)
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start dpkg-deb")?;
        let tar_of = outer.stdout.take().context("dpkg-deb has no output")?;
        let mut archive = Command::new("tar")
            .args(["--extract", "--to-stdout", inner])
            .stdin(tar_of)
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start tar")?;
        let archive_of = archive.stdout.take().context("tar has no output")?;
        let unpacked = Command::new("tar")
            .args(["--extract", "--xz", "--strip-components=1", "--directory"])
            .arg(into)
            .args(wanted)
            .stdin(archive_of)
            .status()?;
        ensure!(unpacked.success(), "{inner} of {package} lacks one of {}", wanted.join(", "));
        let (archive, outer) = (archive.wait()?, outer.wait()?);
        ensure!(archive.success() && outer.success(), "{package} cannot be unpacked");
        fs::remove_file(file)?;
        Ok(())
    }
}

/// What `apt-get --print-uris` says: `'ADDRESS' NAME SIZE HASH` a file.
fn addresses(command: &mut Command) -> anyhow::Result<Vec<Source>> {
    let output = command.output().with_context(|| format!("cannot start {}", display(command)))?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {}", display(command), error.trim());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines = text.lines().filter_map(|line| line.strip_prefix('\'')?.split_once("' "));
    Ok(lines
        .filter_map(|(address, rest)| {
            let mut words = rest.split(' ');
            let (name, hash) = (words.next()?, words.nth(1)?);
            Some(Source { address: address.into(), name: name.into(), hash: hash.into() })
        })
        .collect())
}

/// Where this machine gets its Debian from.
fn mirror() -> anyhow::Result<String> {
    let sources = sources()?;
    let wanted = format!(" {RELEASE} main");
    let line = sources.lines().find(|line| line.ends_with(&wanted));
    let address = line.and_then(|line| line.split(' ').nth(2));
    address.map(str::to_owned).context("this machine's apt has no sources of Debian 12")
}

/// This machine's Debian sources of the release, with its backports.
fn sources() -> anyhow::Result<String> {
    let mut targets = Command::new("apt-get");
    targets.args(["indextargets", "--format", "$(ORIGIN) $(REPO_URI) $(RELEASE) $(COMPONENT)"]);
    let output = targets.output().context("there is no apt-get here; the rig needs Debian 12")?;
    let mut lines = Vec::new();
    let mut mirror = None;
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let words: Vec<_> = line.split(' ').collect();
        let &["Debian", address, release, "main"] = words.as_slice() else { continue };
        if !release.starts_with(RELEASE) {
            continue;
        }
        if release == RELEASE {
            mirror = Some(address.to_owned());
        }
        let line = format!("deb [signed-by={KEYS}] {address} {release} main\n");
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    let Some(mirror) = mirror else {
        bail!("this machine's apt does not know Debian 12 ({RELEASE}); run apt-get update and try again")
    };
    let backports = format!("{RELEASE}-backports");
    if !lines.iter().any(|line| line.contains(&backports)) {
        lines.push(format!("deb [signed-by={KEYS}] {mirror} {backports} main\n"));
    }
    Ok(lines.concat())
}

/// The headers of the kernel's interface to programs, newer than Debian 12's own: `v4l2r` needs those of 6.5 or later.
/// They are linked to where `.cargo/config.toml` says.
///
/// # Errors
/// When they cannot be fetched.
pub fn kernel_interface() -> anyhow::Result<()> {
    let dir = paths::cache().join("linux-uapi-1");
    crate::setup::once(&dir.join("complete"), b"1", || {
        say("the headers of a newer kernel are needed to build the camera's driver (v4l2r)");
        let _ = fs::remove_dir_all(&dir);
        let package = format!("linux-libc-dev:{}/{RELEASE}-backports", Architecture::Amd64.debian());
        Apt::update()?.unpack(&package, &dir)?;
        // v4l2r looks for it by both names.
        fs::copy(dir.join("usr/include/linux/videodev2.h"), dir.join("usr/include/videodev2.h"))?;
        Ok(())
    })?;
    let link = paths::root().join("target/linux-uapi");
    let target = dir.join("usr/include");
    if fs::read_link(&link).is_ok_and(|present| present == target) {
        return Ok(());
    }
    fs::create_dir_all(paths::root().join("target"))?;
    let _ = fs::remove_file(&link);
    std::os::unix::fs::symlink(target, link).context("cannot link the kernel's headers into target/")
}
