//! QEMU's Raspberry Pi 3: it has no bus for a shared folder, so the test and its libraries come with the initial files,
//! and its result on the console.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::mpsc::channel,
    time::Duration,
};

use anyhow::{Context, bail, ensure};

use super::{Architecture, boot::Guest, guest::out_folder, kernel, root};
use crate::process::display;

const LIMIT: Duration = Duration::from_secs(300);
/// Where the libraries of an arm64 Debian are.
const LIBRARIES: &str = "usr/lib/aarch64-linux-gnu";
/// What loads programs with their libraries.
const LOADER: &str = "ld-linux-aarch64.so.1";
/// What a board's encoder needs, as every board has one.
const PLUGINS: &[&str] = &["libgstcoreelements.so", "libgstapp.so", "libgstx264.so"];
/// What the console says at the end.
const CODE: &str = "@@exit-code ";

/// Runs the test `program`, all of it or what has `only` in its name.
pub(super) fn test(program: &Path, only: Option<&str>) -> anyhow::Result<()> {
    let kernel = kernel::kernel(Architecture::Arm64)?;
    let out = out_folder(Architecture::Arm64, "raspberry")?;
    let initial_files = out.path.join("initial");
    let mut all = fs::read(&kernel.initial_files)?;
    all.extend(pack(&out.path.join("files"), program, only.unwrap_or_default())?);
    fs::write(&initial_files, all)?;
    let mut qemu = Command::new("qemu-system-aarch64");
    qemu.args(["-M", "raspi3b", "-m", "1G", "-accel", "tcg,thread=multi", "-no-reboot"])
        .args(["-display", "none", "-monitor", "none", "-serial", "stdio"])
        // `rppal` reads and writes registers; without a Raspberry Pi's own kernel that is /dev/mem.
        .args(["-append", "console=ttyAMA0 quiet loglevel=3 panic=-1 iomem=relaxed rdinit=/raspberry"])
        .arg("-kernel")
        .arg(&kernel.image)
        .arg("-dtb")
        .arg(&kernel.raspberry)
        .arg("-initrd")
        .arg(&initial_files);
    let (tell, codes) = channel();
    let guest = Guest::start(qemu, move |line| {
        if let Some(code) = line.strip_prefix(CODE) {
            let _ = tell.send(code.to_owned());
        }
    })?;
    let code = codes.recv_timeout(LIMIT);
    // It does not switch itself off.
    drop(guest);
    match code.context("the Raspberry Pi ended before its work was done, or never")?.as_str() {
        "0" => Ok(()),
        code => bail!("the tests on the Raspberry Pi ended with {code}"),
    }
}

/// The test, its libraries and a first program, as initial files after those of the kernel.
fn pack(folder: &Path, program: &Path, only: &str) -> anyhow::Result<Vec<u8>> {
    let root = root::root(Architecture::Arm64)?;
    let libraries = folder.join(LIBRARIES);
    fs::create_dir_all(&libraries)?;
    let plugins: Vec<_> =
        PLUGINS.iter().map(|name| root.join(LIBRARIES).join("gstreamer-1.0").join(name)).collect();
    let mut files = plugins.clone();
    files.push(program.to_owned());
    for library in needed(&root, files)? {
        fs::copy(find(&root, &library)?, libraries.join(&library))?;
    }
    fs::create_dir_all(folder.join("plugins"))?;
    for plugin in plugins {
        fs::copy(&plugin, folder.join("plugins").join(plugin.file_name().context("a plugin has a name")?))?;
    }
    // The loader has its place in every program.
    fs::create_dir_all(folder.join("lib"))?;
    let loader = Path::new("lib").join(LOADER);
    fs::copy(root.join(&loader), folder.join(&loader))?;
    fs::copy(program, folder.join("test"))?;
    let first = format!(
        "#!/bin/busybox sh\n\
         /bin/busybox --install -s /bin\n\
         export PATH=/bin LD_LIBRARY_PATH=/{LIBRARIES} GST_PLUGIN_SYSTEM_PATH_1_0=/plugins GST_REGISTRY_FORK=no\n\
         mount -t proc proc /proc\nmount -t sysfs sysfs /sys\nmount -t devtmpfs dev /dev\n\
         mount -t debugfs debugfs /sys/kernel/debug\n\
         /test --test-threads=1 {only}\n\
         echo \"{CODE}$?\"\n\
         sleep 1000\n"
    );
    fs::write(folder.join("raspberry"), first)?;
    let archive = "chmod 755 raspberry && find . | cpio --create --format=newc --quiet | gzip -1";
    let mut pack = Command::new("sh");
    pack.args(["-c", archive]).current_dir(folder);
    let output = pack.output().with_context(|| format!("cannot start {}", display(&pack)))?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(output.stdout)
}

/// Names of all libraries that the files need, and those need.
fn needed(root: &Path, mut files: Vec<PathBuf>) -> anyhow::Result<BTreeSet<String>> {
    let mut all = BTreeSet::new();
    while let Some(file) = files.pop() {
        let mut ask = Command::new(Architecture::Arm64.tool("readelf"));
        ask.arg("--dynamic").arg(&file);
        let output = ask.output().with_context(|| format!("cannot start {}", display(&ask)))?;
        ensure!(output.status.success(), "{} is no program", file.display());
        let text = String::from_utf8_lossy(&output.stdout);
        for line in text.lines().filter(|line| line.contains("(NEEDED)")) {
            let Some((_, rest)) = line.split_once('[') else { continue };
            let name = rest.trim_end_matches(']').to_owned();
            if name != LOADER && all.insert(name.clone()) {
                files.push(find(root, &name)?);
            }
        }
    }
    Ok(all)
}

/// A library of the Debian in `root`, which was unpacked without `/lib` being a part of `/usr`.
fn find(root: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let places = [LIBRARIES, "lib/aarch64-linux-gnu"].map(|place| root.join(place).join(name));
    places.into_iter().find(|place| place.exists()).with_context(|| format!("arm64 has no library {name}"))
}
