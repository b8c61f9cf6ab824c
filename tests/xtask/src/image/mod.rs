//! `cargo xtask image`: what is flashed to terminals. Yocto makes it for boards (`kas.rs`). `qemu`, for which it needs no
//! Yocto, is a system for the machine that QEMU is, out of Debian packages, our programs and the files that
//! Yocto's images have too. `tests/xtask/README.md` says what comes out.

mod boot_loader;
mod bundle;
mod disk;
mod install;
pub mod kas;
mod keys;
pub mod layout;
mod packages;
mod run;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};

pub use boot_loader::script;
pub use bundle::Rauc;
pub use install::{Installed, MACHINE, fill_in, install, list, recipes};
pub use keys::{Keys, keys, strangers_keys};
pub use run::{BootOptions, Drives, qemu};

use crate::{
    paths,
    process::{print, say},
    rig::{self, Architecture, cross, debian::Apt, kernel::quiet},
    setup::{self, apt},
};

/// What an image is made with, beside what a build for arm64 needs.
const PACKAGES: &[(&str, &str)] = &[
    ("bmap-tools", "block maps beside images"),
    ("cpio", "the kernel's first file system"),
    ("dosfstools", "the partition of the boot script"),
    ("e2fsprogs", "file systems"),
    ("fakeroot", "files of root's without being root"),
    ("fdisk", "partitions"),
    ("kmod", "lists of kernel modules"),
    ("libubootenv-tool", "the boot loader's environment, as RAUC sees it"),
    ("mtools", "files in the partition of the boot script"),
    ("openssl", "signatures"),
    ("qemu-system-arm", "the machine"),
    ("squashfs-tools", "update bundles"),
    ("systemd", "users and units of the image"),
    ("xz-utils", "kernel modules"),
];
/// What tests of updates need on this machine.
const RAUC_PACKAGES: &[(&str, &str)] = &[
    ("dbus-daemon", "a bus of their own for RAUC and rostrum-updater"),
    ("e2fsprogs", "disks that lose their power"),
    ("openssl", "keys that sign update bundles"),
    ("squashfs-tools", "update bundles"),
];
/// The programs of a system.
const PROGRAMS: &[&str] = &["rostrumd", "rostrum-updater"];

/// What `cargo xtask image` takes.
#[derive(clap::Args)]
pub struct Options {
    /// `qemu`: an arm64 image for QEMU out of Debian packages, which needs neither Yocto nor root's rights. Any other
    /// machine's is built by Yocto, which needs some 100 GB of disk and hours.
    machine: String,
    /// For Yocto: whom the terminals trust (PEM).
    #[arg(long)]
    keyring: Option<PathBuf>,
    /// For Yocto: who signs the update bundle (PEM).
    #[arg(long)]
    certificate: Option<PathBuf>,
    /// For Yocto: the signer's key (PEM).
    #[arg(long)]
    key: Option<PathBuf>,
    /// Boots it, with its console on this terminal.
    #[arg(long)]
    boot: bool,
    /// A boot's port on this machine for the panel.
    #[arg(long, default_value_t = 8090)]
    port: u16,
    /// With programs built as they are shipped; the first time takes long.
    #[arg(long)]
    release: bool,
    /// With a shell that the host speaks to, for tests; never to be shipped.
    #[arg(long)]
    dev: bool,
    /// Where the files go; `target/image/qemu-arm64` by default.
    #[arg(long)]
    output: Option<PathBuf>,
}

/// Makes an image, prints its files, and boots it when asked to.
///
/// # Errors
/// When something cannot be installed, fetched, built or made.
pub fn run(options: &Options) -> anyhow::Result<()> {
    if options.machine != "qemu" {
        ensure!(
            kas::MACHINES.contains(&options.machine.as_str()),
            "there is no machine named {}; there are qemu, {}",
            options.machine,
            kas::MACHINES.join(", ")
        );
        let needed = |file: &'static str| format!("{} is signed: name --{file} as well", options.machine);
        let signing = kas::Signing {
            keyring: options.keyring.as_deref().with_context(|| needed("keyring"))?,
            certificate: options.certificate.as_deref().with_context(|| needed("certificate"))?,
            key: options.key.as_deref().with_context(|| needed("key"))?,
        };
        return kas::build(&options.machine, &signing);
    }
    let folder = options.output.clone().unwrap_or_else(|| paths::target().join("image").join(MACHINE));
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let plan = Plan { folder, version, release: options.release, dev: options.dev, ..Plan::default() };
    let image = make(&plan)?;
    for file in [&image.disk, &image.boot_loader, &image.environment, &image.bundle] {
        print(&file.display().to_string());
    }
    if options.boot {
        return run::on_terminal(&image, options.port);
    }
    Ok(())
}

/// What is to be made.
#[derive(Default)]
pub struct Plan {
    /// Where the files go.
    pub folder: PathBuf,
    /// Of the system and its bundle: semantic versioning.
    pub version: String,
    /// Optimised as it is shipped.
    pub release: bool,
    /// With a shell for tests.
    pub dev: bool,
    /// Files that this system has beside the others, or in their place: target, content and mode.
    pub changes: Vec<(String, Vec<u8>, String)>,
    /// What the factory partition holds; empty when there is none.
    pub factory: Option<PathBuf>,
    /// Only the bundle, for an update of another image.
    pub only_bundle: bool,
}

/// What came out.
pub struct Image {
    /// The disk, to be flashed.
    pub disk: PathBuf,
    /// What QEMU has as its firmware.
    pub boot_loader: PathBuf,
    /// The card with the boot loader's environment, empty.
    pub environment: PathBuf,
    /// An update to this system.
    pub bundle: PathBuf,
}

/// Makes an image.
///
/// # Errors
/// When something cannot be installed, fetched, built or made.
pub fn make(plan: &Plan) -> anyhow::Result<Image> {
    prepare()?;
    setup::pages()?;
    let sources = Apt::for_image()?;
    let here = paths::root().join("tests/xtask/src/image");
    let debian = packages::debian(&sources, &here.join("init"))?;
    let u_boot = boot_loader::u_boot(&sources)?;
    let rauc = bundle::rauc(&sources)?;
    let keys = keys::keys()?;
    let programs = programs(plan.release)?;

    let folder = &plan.folder;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let root = folder.join("root");
    remove_tree(&root)?;
    quiet(Command::new("cp").args(["-a", "--reflink=auto"]).arg(&debian.root).arg(&root))?;
    let variant = plan.dev.then_some("dev");
    let system =
        install::System { programs: &programs, version: &plan.version, keyring: &keys.authority, variant };
    install::make(&root, &system)?;
    for (from, name) in [(&debian.kernel, "Image"), (&debian.initrd, "initrd.img")] {
        fs::copy(from, root.join("boot").join(name))?;
    }
    for (target, content, mode) in &plan.changes {
        install::put(&root, target, content, mode)?;
    }

    let wks = paths::root().join(format!("yocto/meta-rostrum-bsp/files/wic/{MACHINE}.wks"));
    let text = fs::read_to_string(&wks).with_context(|| format!("no {}", wks.display()))?;
    let partitions = layout::parse(&text).with_context(|| format!("{} is wrong", wks.display()))?;
    let size_of = |source: &str| {
        let found = partitions.iter().find(|one| one.source == source);
        found
            .map(|one| one.size_mib)
            .with_context(|| format!("{} has no partition of {source}", wks.display()))
    };
    let name = |what: &str| folder.join(format!("rostrum-{MACHINE}{what}"));
    let image = Image {
        disk: name(".img"),
        boot_loader: name("-u-boot.bin"),
        environment: name("-environment.img"),
        bundle: name(&format!("-{}.raucb", plan.version)),
    };
    let system_file = folder.join("system.ext4");
    say("image: making the file systems");
    disk::system_image(&root, &system_file, size_of("rootfs")?)?;
    remove_tree(&root)?;
    if !plan.only_bundle {
        let script = folder.join("boot.scr");
        boot_loader::script(&script)?;
        let boot = folder.join("boot.vfat");
        disk::boot_image(&[(&script, "boot.scr")], size_of("bootimg-partition")?, &boot)?;
        let mut made = vec![boot.clone(), script];
        let mut others = Vec::new();
        for one in partitions.iter().filter(|one| one.source.is_empty() && !one.file_system.is_empty()) {
            let file = folder.join(format!("{}.ext4", one.name));
            let content = plan.factory.as_deref().filter(|_| one.name == "factory");
            disk::data_image(content, &one.label, one.size_mib, &file)?;
            made.push(file.clone());
            others.push((one.name.clone(), file));
        }
        let content = |one: &layout::Partition| match one.source.as_str() {
            "rootfs" => Some(system_file.clone()),
            "bootimg-partition" => Some(boot.clone()),
            _ => others.iter().find(|(name, _)| *name == one.name).map(|(_, file)| file.clone()),
        };
        disk::assemble(&partitions, content, &image.disk)?;
        for file in made {
            fs::remove_file(file)?;
        }
        fs::copy(&u_boot, &image.boot_loader)?;
        let _ = fs::remove_file(&image.environment);
        fs::File::create(&image.environment)?.set_len(run::ENVIRONMENT_MIB * 1024 * 1024)?;
        say("image: block map, checksum and signature");
        bundle::seal(&image.disk, &keys)?;
    }
    bundle::bundle(&rauc, &system_file, &plan.version, &keys, &image.bundle)?;
    fs::remove_file(system_file)?;
    Ok(image)
}

/// What tests of the image's parts need.
pub struct Tools {
    /// U-Boot of the machine.
    pub boot_loader: PathBuf,
    /// RAUC of the image's release, for this machine.
    pub rauc: Rauc,
}

/// Makes what tests of the image's parts need; the second time it only asks Debian for news.
///
/// # Errors
/// When something cannot be installed, fetched or built.
pub fn tools() -> anyhow::Result<Tools> {
    prepare()?;
    let apt = Apt::for_image()?;
    Ok(Tools { boot_loader: boot_loader::u_boot(&apt)?, rauc: bundle::rauc(&apt)? })
}

/// RAUC alone, as a service on this machine needs it.
///
/// # Errors
/// When something cannot be installed or fetched.
pub fn rauc() -> anyhow::Result<Rauc> {
    apt(RAUC_PACKAGES)?;
    bundle::rauc(&Apt::for_image()?)
}

/// Installs what images are made with.
///
/// # Errors
/// When something cannot be installed.
pub fn prepare() -> anyhow::Result<()> {
    setup::to_build()?;
    apt(&[rig::CROSS_PACKAGES, PACKAGES, boot_loader::PACKAGES].concat())
}

fn programs(release: bool) -> anyhow::Result<Vec<PathBuf>> {
    let folder = if release {
        cross::build(Architecture::Arm64, &[setup::OUR_PROGRAMS, &["--release"]].concat())?
    } else {
        // As the rig's guest has them, so that nothing is compiled a second time.
        cross::build_programs(Architecture::Arm64, PROGRAMS)?
    };
    install::programs(&folder, PROGRAMS)
}

fn remove_tree(dir: &Path) -> anyhow::Result<()> {
    if dir.exists() {
        fs::remove_dir_all(dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    }
    Ok(())
}
