//! The image's Debian: which packages, unpacked and freed of what a terminal never opens.
//!
//! No script of a package is run, so no program for arm64 is either: what scripts would have made is made here.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};

use crate::{
    paths,
    process::{display, say},
    rig::{
        debian::Apt,
        kernel::{modules_with_dependencies, quiet},
    },
    setup::once,
};

/// Counted up when this file makes something else out of the same packages.
const RECIPE: u32 = 1;

/// Packages with the reason for each.
const PACKAGES: &[(&str, &str)] = &[
    ("base-files", "the tree of folders"),
    ("base-passwd", "users that Debian's own files belong to"),
    ("dash", "/bin/sh, for RAUC's boot loader calls and the two scripts of rostrum-system"),
    ("coreutils", "what those scripts call"),
    ("util-linux", "blkid"),
    ("mount", "mount and umount, for systemd"),
    ("kmod", "modules of the kernel"),
    ("e2fsprogs", "/data: check, make, grow"),
    ("systemd", "starts and watches everything"),
    ("systemd-sysv", "/sbin/init"),
    ("systemd-repart", "lets /data grow"),
    ("systemd-timesyncd", "time"),
    ("systemd-resolved", "names"),
    ("udev", "devices"),
    ("dbus", "RAUC and systemd are spoken to over it"),
    ("nftables", "firewall"),
    ("netbase", "names of protocols in the firewall's rules"),
    ("rauc", "updates"),
    ("rauc-service", "the same as a service"),
    ("libubootenv-tool", "RAUC's way to the boot loader"),
    ("ca-certificates", "whom HTTPS trusts"),
    ("tzdata", "local time of update windows"),
    ("linux-image-arm64", "kernel"),
    ("gstreamer1.0-plugins-base", "convert, scale, compose"),
    ("gstreamer1.0-plugins-good", "VP8, JPEG, MP4, V4L2"),
    ("gstreamer1.0-plugins-bad", "H.264 parser, AV1, KMS screen"),
    ("gstreamer1.0-plugins-ugly", "x264 encoder"),
    ("gstreamer1.0-libav", "H.264 and AAC decoders"),
    ("gstreamer1.0-alsa", "sound"),
    ("fonts-dejavu-core", "names on the screen"),
];
/// Only for the initial file system.
const BUSYBOX: &str = "busybox-static";

/// Plugins of GStreamer that the programs make elements of; the others go, and their libraries with them.
const PLUGINS: &[&str] = &[
    "alsa",
    "aom",
    "app",
    "audioconvert",
    "audioparsers",
    "audioresample",
    "audiotestsrc",
    "compositor",
    "coreelements",
    "flv",
    "isomp4",
    "jpeg",
    "jpegformat",
    "kms",
    "libav",
    "openh264",
    "opus",
    "opusparse",
    "playback",
    "rtmp2",
    "typefindfunctions",
    "video4linux2",
    "videoconvertscale",
    "videofilter",
    "videoparsersbad",
    "videorate",
    "videotestsrc",
    "volume",
    "vpx",
    "wavparse",
    "x264",
];

/// Modules of the kernel, which bring what they depend on. The machine is QEMU's: what a USB stick, a sound card or a
/// camera needs is here too, so that they can be handed through.
const MODULES: &[&str] = &[
    "ahci",
    "algif_hash",
    "autofs4",
    "cdc_ether",
    "dm-mod",
    "dm-verity",
    "efivarfs",
    "exfat",
    "ext4",
    "hid-generic",
    "i6300esb",
    "ip_tables",
    "loop",
    "mmc_block",
    "nbd",
    "nf_conntrack",
    "nf_tables",
    "nft_ct",
    "nft_limit",
    "nft_reject_inet",
    "nls_ascii",
    "nls_cp437",
    "nls_utf8",
    "sd_mod",
    "sdhci-pci",
    "snd-usb-audio",
    "squashfs",
    "uas",
    "usb-storage",
    "usbhid",
    "uvcvideo",
    "vfat",
    "virtio-gpu",
    "virtio-rng",
    "virtio_balloon",
    "virtio_blk",
    "virtio_console",
    "virtio_input",
    "virtio_mmio",
    "virtio_net",
    "virtio_pci",
    "virtio_snd",
    "xhci-pci",
    "crc32c_generic",
    "sha2-ce",
    "evdev",
    "tun",
];
/// Of those, what is needed until the system's own file system is there.
const EARLY_MODULES: &[&str] =
    &["virtio_pci", "virtio_mmio", "virtio_blk", "ext4", "crc32c_generic", "virtio_console"];

/// What nobody on a terminal opens, below the root: folders and files.
const UNUSED: &[&str] = &[
    "boot/System.map-*",
    "boot/config-*",
    "etc/cron.*",
    "etc/init.d",
    "etc/rc?.d",
    "etc/apt",
    "etc/dpkg",
    "usr/games",
    "usr/include",
    "usr/lib/aarch64-linux-gnu/dri",
    "usr/lib/aarch64-linux-gnu/gbm",
    "usr/lib/aarch64-linux-gnu/libEGL_mesa*",
    "usr/lib/aarch64-linux-gnu/libGLX_mesa*",
    "usr/lib/aarch64-linux-gnu/libgallium*",
    "usr/lib/aarch64-linux-gnu/libvulkan_*",
    "usr/lib/aarch64-linux-gnu/pipewire*",
    "usr/lib/aarch64-linux-gnu/security",
    "usr/lib/aarch64-linux-gnu/spa-*",
    "usr/lib/aarch64-linux-gnu/gtk-*",
    "usr/lib/aarch64-linux-gnu/perl*",
    "usr/lib/aarch64-linux-gnu/gconv",
    "usr/lib/debug",
    "usr/lib/klibc",
    // Device trees: QEMU makes its own.
    "usr/lib/linux-image-*",
    "usr/lib/mime",
    "usr/lib/python3",
    // It would write a cache to /etc at each boot; without the cache, libraries are looked for where all of them are.
    "usr/lib/systemd/system/ldconfig.service",
    "usr/lib/systemd/system/*/ldconfig.service",
    "usr/lib/terminfo",
    "usr/share/bash-completion",
    "usr/share/bug",
    "usr/share/doc",
    "usr/share/doc-base",
    "usr/share/fonts/X11",
    "usr/share/glib-2.0",
    "usr/share/gtk-*",
    "usr/share/icons",
    "usr/share/info",
    "usr/share/iso-codes",
    "usr/share/lintian",
    "usr/share/locale",
    "usr/share/man",
    "usr/share/mime",
    "usr/share/perl*",
    "usr/share/pixmaps",
    "usr/share/sounds",
    "usr/share/themes",
    "usr/share/X11",
    "usr/share/zsh",
    "usr/share/xml",
    "usr/share/vulkan",
    "usr/share/libmysofa",
    "usr/share/libthai",
    "usr/share/sounds",
    "usr/share/soundfonts",
    "usr/share/i18n",
    "usr/bin/perl*",
    "usr/bin/systemd-cgtop",
    "usr/lib/udev/hwdb.d",
    "var/*",
];

/// An unpacked Debian.
pub(super) struct Debian {
    /// Its root, which is only read.
    pub(super) root: PathBuf,
    /// The initial file system of its kernel.
    pub(super) initrd: PathBuf,
    /// The kernel.
    pub(super) kernel: PathBuf,
}

/// The Debian of the image; made when the newest packages are not in the cache, which takes some minutes.
pub(super) fn debian(apt: &Apt, init: &Path) -> anyhow::Result<Debian> {
    let names: Vec<&str> = PACKAGES.iter().map(|(name, _)| *name).chain([BUSYBOX]).collect();
    let sources = apt.resolve(&names)?;
    let list: Vec<&str> = sources.iter().map(|source| source.name.as_str()).collect();
    let dir = paths::cache().join("image-debian-arm64");
    let root = dir.join("root");
    let made_from =
        format!("{RECIPE} {list:?} {PLUGINS:?} {MODULES:?} {EARLY_MODULES:?} {UNUSED:?}").into_bytes();
    let made_from = [made_from, fs::read(init)?].concat();
    once(&dir.join("complete"), &made_from, || {
        if dir.exists() {
            fs::remove_dir_all(&dir)?;
        }
        say(&format!("image: unpacking {} Debian packages", list.len()));
        unpack(&apt.fetch_all(&names)?, &root)?;
        let release = release_of(&root)?;
        trim_modules(&root, &release)?;
        make_initrd(&root, &release, init, &dir)?;
        // Only the initial file system has it.
        fs::remove_file(root.join("usr/bin/busybox"))?;
        fs::rename(root.join("boot").join(format!("vmlinuz-{release}")), dir.join("Image"))?;
        make_what_scripts_would(&root)?;
        remove_unused(&root)?;
        trim_plugins(&root)?;
        trim_libraries(&root)?;
        fs::create_dir_all(root.join("usr/share/rostrum"))?;
        // What the image is made of, for whoever looks for known weaknesses in it.
        Ok(fs::write(root.join("usr/share/rostrum/debian-packages"), list.join("\n") + "\n")?)
    })?;
    Ok(Debian { root, initrd: dir.join("initrd.img"), kernel: dir.join("Image") })
}

fn unpack(packages: &[PathBuf], root: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(root)?;
    // The links /bin and so on are there before anything is put behind them.
    let (first, rest): (Vec<_>, Vec<_>) =
        packages.iter().partition(|file| name_of(file).starts_with("base-files_"));
    ensure!(first.len() == 1, "there is no package base-files");
    for package in first.into_iter().chain(rest) {
        quiet(Command::new("dpkg-deb").arg("--extract").arg(package).arg(root))?;
    }
    Ok(())
}

fn name_of(file: &Path) -> String {
    file.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn release_of(root: &Path) -> anyhow::Result<String> {
    let entries = fs::read_dir(root.join("usr/lib/modules"))?.collect::<Result<Vec<_>, _>>()?;
    ensure!(entries.len() == 1, "there is not one kernel but {}", entries.len());
    Ok(name_of(&entries[0].path()))
}

/// Keeps those of [`MODULES`] with what they depend on.
fn trim_modules(root: &Path, release: &str) -> anyhow::Result<()> {
    quiet(Command::new("depmod").arg("-b").arg(root).arg(release))?;
    let kept = modules_with_dependencies(root, release, &known(root, release, MODULES)?)?;
    let kept: BTreeSet<PathBuf> = kept.iter().filter_map(|file| fs::canonicalize(file).ok()).collect();
    let folder = fs::canonicalize(root.join("usr/lib/modules").join(release).join("kernel"))?;
    for file in files_below(&folder)? {
        if !kept.contains(&file) {
            fs::remove_file(file)?;
        }
    }
    quiet(Command::new("find").arg(&folder).args(["-type", "d", "-empty", "-delete"]))?;
    quiet(Command::new("depmod").arg("-b").arg(root).arg(release))
}

/// Those of `modules` that the kernel does not have built in.
fn known<'a>(root: &Path, release: &str, modules: &[&'a str]) -> anyhow::Result<Vec<&'a str>> {
    let folder = root.join("usr/lib/modules").join(release);
    let lists = fs::read_to_string(folder.join("modules.dep"))?;
    let built_in = fs::read_to_string(folder.join("modules.builtin"))?;
    let is_in = |list: &str, module: &str| {
        let (dashes, lines) = (module.replace('_', "-"), module.replace('-', "_"));
        [dashes, lines].iter().any(|name| list.contains(&format!("/{name}.ko")))
    };
    let mut found = Vec::new();
    for module in modules {
        if is_in(&lists, module) {
            found.push(*module);
        } else if !is_in(&built_in, module) {
            say(&format!("image: this kernel has no module {module}; without it"));
        }
    }
    Ok(found)
}

/// Every file below `dir`, not following links.
pub(super) fn files_below(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("no {}", folder.display()))? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                open.push(entry.path());
            } else {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    Ok(files)
}

/// A kernel's first file system: it finds the slot, mounts it and starts it.
fn make_initrd(root: &Path, release: &str, init: &Path, dir: &Path) -> anyhow::Result<()> {
    let initial = dir.join("initial");
    for folder in ["bin", "proc", "sys", "dev", "newroot"] {
        fs::create_dir_all(initial.join(folder))?;
    }
    fs::copy(root.join("usr/bin/busybox"), initial.join("bin/busybox"))?;
    fs::copy(init, initial.join("init"))?;
    quiet(Command::new("chmod").arg("755").arg(initial.join("init")))?;
    let modules = initial.join("lib/modules").join(release);
    fs::create_dir_all(&modules)?;
    for file in modules_with_dependencies(root, release, &known(root, release, EARLY_MODULES)?)? {
        let to = modules.join(name_of(&file));
        fs::copy(&file, &to)?;
        if to.extension().is_some_and(|extension| extension == "xz") {
            quiet(Command::new("unxz").arg(&to))?;
        }
    }
    for list in ["modules.builtin", "modules.order", "modules.builtin.modinfo"] {
        fs::copy(root.join("usr/lib/modules").join(release).join(list), modules.join(list))?;
    }
    quiet(Command::new("depmod").arg("-b").arg(&initial).arg(release))?;
    let archive = "find . | LC_ALL=C sort | cpio --create --format=newc --reproducible --owner=0:0 --quiet | gzip -9n > ../initrd.img";
    quiet(Command::new("sh").args(["-c", archive]).current_dir(&initial))
}

/// Users, certificates and links that the packages' scripts would have made.
fn make_what_scripts_would(root: &Path) -> anyhow::Result<()> {
    for file in ["passwd", "group"] {
        fs::copy(root.join(format!("usr/share/base-passwd/{file}.master")), root.join("etc").join(file))?;
    }
    fs::write(
        root.join("etc/nsswitch.conf"),
        "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n",
    )?;
    // This machine's systemd-sysusers may be older than the image's and not know that `u!` also locks a user.
    for file in files_below(&root.join("usr/lib/sysusers.d"))? {
        let text = fs::read_to_string(&file)?;
        fs::write(&file, text.lines().map(|line| line.replacen("u! ", "u ", 1) + "\n").collect::<String>())?;
    }
    let mut certificates = Vec::new();
    for file in files_below(&root.join("usr/share/ca-certificates/mozilla"))? {
        certificates.extend(fs::read(file)?);
    }
    fs::create_dir_all(root.join("etc/ssl/certs"))?;
    fs::write(root.join("etc/ssl/certs/ca-certificates.crt"), certificates)?;
    // Which linear algebra FFmpeg's filters use.
    let libraries = root.join("usr/lib/aarch64-linux-gnu");
    for (link, target) in [("libblas.so.3", "blas/libblas.so.3"), ("liblapack.so.3", "lapack/liblapack.so.3")]
    {
        if libraries.join(target).exists() && !libraries.join(link).exists() {
            std::os::unix::fs::symlink(target, libraries.join(link))?;
        }
    }
    Ok(())
}

fn remove_unused(root: &Path) -> anyhow::Result<()> {
    let mut script = String::from("rm -rf --");
    for path in UNUSED {
        script += &format!(" {path}");
    }
    quiet(Command::new("sh").args(["-c", &script]).current_dir(root))
}

fn trim_plugins(root: &Path) -> anyhow::Result<()> {
    let folder = root.join("usr/lib/aarch64-linux-gnu/gstreamer-1.0");
    let names: BTreeSet<String> = PLUGINS.iter().map(|name| format!("libgst{name}.so")).collect();
    for entry in fs::read_dir(&folder)? {
        let path = entry?.path();
        if path.is_file() && !names.contains(&name_of(&path)) {
            fs::remove_file(path)?;
        }
    }
    let missing: Vec<_> = names.iter().filter(|name| !folder.join(name).exists()).collect();
    ensure!(missing.is_empty(), "GStreamer has no {missing:?}");
    Ok(())
}

/// Libraries that are opened by name, which no program says that it needs.
const OPENED_BY_NAME: &[&str] = &[
    "libnss_",
    "libcryptsetup.so",
    "libkmod.so",
    "libmount.so",
    "libblkid.so",
    "libfdisk.so",
    "libacl.so",
    "libseccomp.so",
    "libgcrypt.so",
    "libgpg-error.so",
    "libzstd.so",
    "liblzma.so",
    "liblz4.so",
    "libcrypto.so",
    "libcap.so",
    "libresolv.so",
    "libgcc_s.so",
    "libidn2.so",
    "libarchive.so",
    "libapparmor.so",
    "libaudit.so",
    "libasound",
    "libdrm",
    "libgstcodec",
    "libjson-c.so",
    // Our own programs' ones.
    "libgstapp-1.0",
    "libgstvideo-1.0",
    "libgstaudio-1.0",
    "libstdc++.so",
];

/// Removes libraries that nothing which is left needs.
fn trim_libraries(root: &Path) -> anyhow::Result<()> {
    let folder = root.join("usr/lib/aarch64-linux-gnu");
    let mut objects = Vec::new();
    for below in ["usr/bin", "usr/sbin", "usr/lib"] {
        objects.extend(
            files_below(&root.join(below))?.into_iter().filter(|file| file.is_file() && !file.is_symlink()),
        );
    }
    let needs = needed_by(&objects)?;
    let in_folder = |file: &Path| file.parent() == Some(folder.as_path());
    // Names of libraries, which are files or links of the folder, to the files.
    let mut named: BTreeMap<String, PathBuf> = BTreeMap::new();
    for entry in fs::read_dir(&folder)? {
        let path = entry?.path();
        if name_of(&path).contains(".so")
            && let Ok(file) = fs::canonicalize(&path)
        {
            named.insert(name_of(&path), file);
        }
    }
    let mut kept: BTreeSet<PathBuf> = BTreeSet::new();
    let mut open: Vec<PathBuf> = objects.iter().filter(|file| !in_folder(file)).cloned().collect();
    open.extend(
        named
            .iter()
            .filter(|(name, _)| OPENED_BY_NAME.iter().any(|start| name.starts_with(start)))
            .map(|(_, file)| file.clone()),
    );
    while let Some(object) = open.pop() {
        if kept.insert(object.clone()) {
            let wanted = needs.get(&object).into_iter().flatten();
            open.extend(wanted.filter_map(|name| named.get(name)).cloned());
        }
    }
    for entry in fs::read_dir(&folder)? {
        let path = entry?.path();
        let is_library = name_of(&path).contains(".so") && !path.is_dir();
        let is_kept =
            fs::canonicalize(&path).is_ok_and(|file| kept.contains(&file) || !file.starts_with(&folder));
        if is_library && !is_kept {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// What each of `objects` that is a program or a library needs, by its dynamic section.
fn needed_by(objects: &[PathBuf]) -> anyhow::Result<BTreeMap<PathBuf, Vec<String>>> {
    let mut needs: BTreeMap<PathBuf, Vec<String>> = BTreeMap::new();
    for some in objects.chunks(500) {
        let mut readelf = Command::new("readelf");
        // Others than ELF are complained of and passed by.
        readelf.args(["--dynamic", "--wide"]).args(some).env("LC_ALL", "C");
        let output = readelf.output().with_context(|| format!("cannot start {}", display(&readelf)))?;
        let mut file = PathBuf::new();
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            if let Some(name) = line.strip_prefix("File: ") {
                file = name.into();
            } else if let Some((_, name)) = line.split_once("Shared library: [") {
                needs.entry(file.clone()).or_default().push(name.trim_end_matches(']').to_owned());
            }
        }
    }
    Ok(needs)
}
