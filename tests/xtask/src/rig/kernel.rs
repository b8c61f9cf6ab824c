//! Debian's kernel for the virtual machine: its modules, ours (`tests/rig/kernel`), and an initial file system.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, bail, ensure};

use super::{Architecture, debian::Apt};
use crate::{
    paths,
    process::{display, run, say},
    setup::{fingerprint_of, once},
};

/// Counted up when this file makes something else out of the same sources.
const RECIPE: u32 = 2;
/// Device tree of the board that QEMU emulates.
const RASPBERRY: &str = "bcm2837-rpi-3-b.dtb";

/// Modules that the guest may load; what they depend on comes with them.
const MODULES: &[&str] = &[
    "virtio_pci",
    "virtio_net",
    "virtio_console",
    "virtio_rng",
    "9p",
    "9pnet_virtio",
    "overlay", // the machine
    "vivid",
    "vicodec",
    "rig-h264",
    "rig-scaler",
    "uvcvideo",
    "vhci-hcd", // pictures
    "snd-aloop",
    "snd-dummy",
    "snd-usb-audio", // sound
    "gpio-sim",
    "rig-board",
    "leds-gpio",
    "gpio-keys",
    "ledtrig-timer",
    "ledtrig-pattern", // lights and buttons
    "uleds",
    "uinput",
    "evdev",
    "usbhid",
    "hid-generic",
    "uhid", //
    "softdog",
    "i6300esb",
    "virtio-gpu",
    "vkms",
    "rig-link",
    "virtio_console", // watchdogs, screens and the way to them
];

/// Sources out of Debian's kernel whose modules its own configuration leaves out.
const SOURCES: &[&str] = &[
    "linux-source-6.1/drivers/gpio",
    "linux-source-6.1/drivers/gpu/drm/vkms",
    "linux-source-6.1/drivers/media/test-drivers/vicodec",
    "linux-source-6.1/drivers/media/v4l2-core/v4l2-mem2mem.c",
    "linux-source-6.1/drivers/leds/uleds.c",
    "linux-source-6.1/kernel/irq/irq_sim.c",
    "linux-source-6.1/sound/drivers/dummy.c",
];
/// Of those, what is built, below the folder that is unpacked.
const FROM_SOURCES: &[&str] = &[
    "drivers/gpio/gpio-sim.c",
    "drivers/gpio/gpiolib.h",
    "drivers/media/v4l2-core/v4l2-mem2mem.c",
    "drivers/leds/uleds.c",
    "kernel/irq/irq_sim.c",
    "sound/drivers/dummy.c",
];

/// A kernel that can be booted.
pub(super) struct Kernel {
    pub(super) image: PathBuf,
    pub(super) initial_files: PathBuf,
    /// The Raspberry Pi 3 to it; only there for arm64.
    pub(super) raspberry: PathBuf,
}

/// The kernel of `architecture`; made when it is not in the cache, which takes a minute or two.
pub(super) fn kernel(architecture: Architecture) -> anyhow::Result<Kernel> {
    let sources = paths::root().join("tests/rig");
    let mut made_from = fs::read(sources.join("guest/init"))?;
    fingerprint_of(&sources.join("kernel"), &mut made_from)?;
    made_from.extend(format!("{RECIPE} {MODULES:?} {SOURCES:?} {FROM_SOURCES:?}").bytes());
    let dir = paths::cache().join(format!("rig-kernel-{}", architecture.debian()));
    once(&dir.join("complete"), &made_from, || {
        let _ = fs::remove_dir_all(&dir);
        make(architecture, &sources, &dir)
    })?;
    Ok(Kernel {
        image: dir.join("vmlinuz"),
        initial_files: dir.join("initramfs.gz"),
        raspberry: dir.join(RASPBERRY),
    })
}

fn make(architecture: Architecture, sources: &Path, dir: &Path) -> anyhow::Result<()> {
    let apt = Apt::update()?;
    let name = architecture.debian();
    // "linux-image-6.1.0-53-amd64 (= 6.1.192-2)"
    let newest = apt.field(&format!("linux-image-{name}:{name}"), "Depends")?;
    let (image, version) = newest
        .split_once(" (= ")
        .and_then(|(image, rest)| Some((image.to_owned(), rest.split(')').next()?.to_owned())))
        .with_context(|| format!("linux-image-{name} depends on {newest}"))?;
    let release = image.trim_start_matches("linux-image-").to_owned();
    say(&format!("rig: making kernel {release} ({version}) with modules for virtual devices"));

    let (root, headers, source) = (dir.join("root"), dir.join("headers"), dir.join("source"));
    apt.unpack(&format!("{image}:{name}={version}"), &root)?;
    apt.unpack(&format!("busybox-static:{name}"), &dir.join("busybox"))?;
    let common = release.trim_end_matches(&format!("-{name}")).to_owned();
    apt.unpack(&format!("linux-headers-{release}:{name}={version}"), &headers)?;
    apt.unpack(&format!("linux-headers-{common}-common={version}"), &headers)?;
    // The tools that build run here, whatever they build for.
    apt.unpack(&format!("linux-kbuild-6.1:amd64={version}"), &headers)?;
    let archive = "./usr/src/linux-source-6.1.tar.xz";
    apt.unpack_inner(&format!("linux-source-6.1={version}"), archive, SOURCES, &source)?;

    let work = dir.join("modules");
    fs::create_dir_all(&work)?;
    copy_files(&sources.join("kernel"), &work)?;
    for folder in ["drivers/media/test-drivers/vicodec", "drivers/gpu/drm/vkms"] {
        copy_files(&source.join(folder), &work)?;
    }
    for file in FROM_SOURCES {
        let name = Path::new(file).file_name().context("a source has a name")?;
        fs::copy(source.join(file), work.join(name)).with_context(|| format!("no {file}"))?;
    }
    make_irq_sim_a_module(&work.join("irq_sim.c"))?;
    give_vkms_planes_that_turn(&work.join("vkms_plane.c"))?;
    build_modules(architecture, &headers, &release, &work)?;
    let extra = root.join("lib/modules").join(&release).join("extra");
    fs::create_dir_all(&extra)?;
    for entry in fs::read_dir(&work)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "ko") {
            let name = path.file_name().context("a module has a name")?;
            let to = extra.join(name);
            fs::copy(&path, &to)?;
            quiet(Command::new(architecture.tool("strip")).arg("--strip-debug").arg(&to))?;
        }
    }
    quiet(Command::new("depmod").arg("-b").arg(&root).arg(&release))?;

    initial_files(dir, &root, &release, sources)?;
    fs::copy(root.join("boot").join(format!("vmlinuz-{release}")), dir.join("vmlinuz"))?;
    if architecture == Architecture::Arm64 {
        let trees = root.join("usr/lib").join(&image).join("broadcom");
        fs::copy(trees.join(RASPBERRY), dir.join(RASPBERRY)).with_context(|| format!("no {RASPBERRY}"))?;
    }
    for folder in ["root", "headers", "source", "modules", "busybox", "initial"] {
        fs::remove_dir_all(dir.join(folder))?;
    }
    Ok(())
}

/// The interrupt simulator of gpio-sim is built into kernels or not there; as a module it may not use a function that
/// kernels keep to themselves, and has another that does the same.
fn make_irq_sim_a_module(file: &Path) -> anyhow::Result<()> {
    let text = fs::read_to_string(file)?;
    let (private, public) = ("handle_simple_irq(irq_to_desc(irqnum));", "generic_handle_irq(irqnum);");
    ensure!(text.contains(private), "irq_sim.c is another than this was written for");
    Ok(fs::write(file, text.replace(private, public))?)
}

/// An overlay of vkms says that it can turn a picture by 180 degrees, as those of many boards can. It does not do so: what
/// a driver asks for is then in the plane's property, and not in its picture.
fn give_vkms_planes_that_turn(file: &Path) -> anyhow::Result<()> {
    let text = fs::read_to_string(file)?;
    let made = "\tdrm_plane_helper_add(&plane->base, funcs);\n";
    let (turn, modes) = ("drm_plane_create_rotation_property", "DRM_MODE_ROTATE_0 | DRM_MODE_ROTATE_180");
    ensure!(text.contains(made), "vkms_plane.c is another than this was written for");
    let added = format!(
        "{made}\tif (type == DRM_PLANE_TYPE_OVERLAY)\n\t\t{turn}(&plane->base, DRM_MODE_ROTATE_0, {modes});\n"
    );
    Ok(fs::write(file, format!("#include <drm/drm_blend.h>\n{}", text.replace(made, &added)))?)
}

fn build_modules(
    architecture: Architecture,
    headers: &Path,
    release: &str,
    work: &Path,
) -> anyhow::Result<()> {
    let usr_src = headers.join("usr/src");
    let tree = usr_src.join(format!("linux-headers-{release}"));
    // The headers name each other by where Debian would install them.
    let makefile = tree.join("Makefile");
    let text = fs::read_to_string(&makefile)?;
    fs::write(&makefile, text.replace("/usr/src/", &format!("{}/", usr_src.display())))?;
    let mut make = Command::new("make");
    make.arg("-s").arg("-C").arg(&tree).arg(format!("M={}", work.display())).args(["modules", "-j2"]);
    if architecture == Architecture::Arm64 {
        make.args([
            "ARCH=arm64",
            "CROSS_COMPILE=aarch64-linux-gnu-",
            "CC=aarch64-linux-gnu-gcc-12",
            "DEB_BUILD_ARCH=amd64",
            "DEB_HOST_ARCH=arm64",
            "DEB_HOST_GNU_TYPE=aarch64-linux-gnu",
        ]);
    }
    run("rig: building kernel modules", make.stdin(Stdio::null()))
}

fn initial_files(dir: &Path, root: &Path, release: &str, sources: &Path) -> anyhow::Result<()> {
    let initial = dir.join("initial");
    for folder in ["bin", "proc", "sys", "dev", "newroot", "lower", "upper"] {
        fs::create_dir_all(initial.join(folder))?;
    }
    fs::copy(dir.join("busybox/bin/busybox"), initial.join("bin/busybox"))?;
    fs::copy(sources.join("guest/init"), initial.join("init"))?;
    quiet(Command::new("chmod").arg("755").arg(initial.join("init")))?;
    for file in modules_with_dependencies(root, release, MODULES)? {
        let to = initial.join(file.strip_prefix(root)?);
        fs::create_dir_all(to.parent().context("a module is in a folder")?)?;
        fs::copy(&file, to)?;
    }
    let lists = Path::new("lib/modules").join(release);
    for list in ["modules.builtin", "modules.order", "modules.builtin.modinfo"] {
        fs::copy(root.join(&lists).join(list), initial.join(&lists).join(list))?;
    }
    quiet(Command::new("depmod").arg("-b").arg(&initial).arg(release))?;
    let archive = "find . | cpio --create --format=newc --quiet | gzip -1 > ../initramfs.gz";
    quiet(Command::new("sh").args(["-c", archive]).current_dir(&initial))
}

/// The files of `modules` and of what they depend on, for the kernel `release` below `root`.
pub(crate) fn modules_with_dependencies(
    root: &Path,
    release: &str,
    modules: &[&str],
) -> anyhow::Result<BTreeSet<PathBuf>> {
    let mut files = BTreeSet::new();
    for module in modules {
        let mut ask = Command::new("modprobe");
        ask.arg("-d").arg(root).args(["-S", release, "--show-depends", module]);
        let output = ask.output().with_context(|| format!("cannot start {}", display(&ask)))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let known = text.lines().filter_map(|line| line.strip_prefix("insmod "));
        files.extend(known.filter_map(|line| line.split(' ').next()).map(PathBuf::from));
        if !output.status.success() {
            bail!("the kernel has no module {module}: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
    }
    Ok(files)
}

fn copy_files(from: &Path, to: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(from).with_context(|| format!("no {}", from.display()))? {
        let entry = entry?;
        let skipped = ["Makefile", "README.md"].iter().any(|name| entry.file_name() == *name);
        if entry.file_type()?.is_file() && !skipped {
            fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

pub(crate) fn quiet(command: &mut Command) -> anyhow::Result<()> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {}", display(command)))?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {}", display(command), error.trim());
    Ok(())
}
