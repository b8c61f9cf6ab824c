//! The rig: Debian's kernel in QEMU with real drivers on virtual devices, so that the drivers of `board/` are tested as
//! they run on hardware. `tests/rig/README.md` says which devices there are.

pub(crate) mod boot;
mod capture;
pub(crate) mod cross;
pub(crate) mod debian;
mod guest;
pub(crate) mod kernel;
mod machine;
mod raspberry;
mod root;

use anyhow::bail;

pub use capture::bench_capture;
pub use debian::kernel_interface;
pub use machine::{Machine, MachineOptions};

use crate::{
    process::{Running, print, say},
    setup::{self, apt},
};

/// What a build for arm64 needs on this machine.
pub(crate) const CROSS_PACKAGES: &[(&str, &str)] = &[
    ("gcc-aarch64-linux-gnu", "links programs for arm64"),
    ("libc6-dev-arm64-cross", "links programs for arm64"),
    ("mmdebstrap", "a Debian for arm64"),
    ("rustc-web", "a Rust compiler whose arm64 library is a Debian package"),
    ("cargo-web", "the cargo that belongs to it"),
];
/// What the rig needs beyond that.
const PACKAGES: &[(&str, &str)] = &[
    ("qemu-system-x86", "the virtual machine, amd64"),
    ("qemu-system-arm", "the virtual machine, arm64"),
    ("build-essential", "builds kernel modules"),
    ("gcc-12", "the compiler that Debian's amd64 kernel was built with"),
    ("gcc-12-aarch64-linux-gnu", "the same for arm64"),
    ("kmod", "lists of kernel modules"),
    ("cpio", "the initial file system"),
    ("xz-utils", "the kernel's sources are packed with it"),
    ("v4l-utils", "a television on HDMI-CEC"),
];

/// What the virtual machine is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Architecture {
    /// A PC.
    Amd64,
    /// A 64-bit ARM board.
    Arm64,
}

impl Architecture {
    /// Debian's word for it.
    pub(crate) fn debian(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// Rust's word for it.
    pub(crate) fn target(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-unknown-linux-gnu",
            Self::Arm64 => "aarch64-unknown-linux-gnu",
        }
    }

    /// The name of one of the GNU tools.
    fn tool(self, name: &str) -> String {
        match self {
            Self::Amd64 => name.into(),
            Self::Arm64 => format!("aarch64-linux-gnu-{name}"),
        }
    }
}

/// What `cargo xtask rig` takes.
#[derive(clap::Args)]
pub struct Options {
    /// The virtual machine.
    #[arg(value_enum)]
    architecture: Architecture,
    /// Tests to run in it (files of tests/rig/guest without .rs); all when none is named.
    tests: Vec<String>,
    /// Only tests whose name has this in it.
    #[arg(long)]
    only: Option<String>,
    /// Run this in the guest's shell in the place of tests, after its devices are there.
    #[arg(long, conflicts_with_all = ["tests", "only"])]
    shell: Option<String>,
}

/// What `cargo xtask build` takes.
#[derive(clap::Args)]
pub struct BuildOptions {
    /// What the programs run on.
    #[arg(value_enum)]
    architecture: Architecture,
    /// Without optimisation, as the tests have them.
    #[arg(long)]
    debug: bool,
}

/// Builds the programs that are installed, and prints where they are.
///
/// # Errors
/// When something cannot be installed or built.
pub fn build(options: &BuildOptions) -> anyhow::Result<()> {
    setup::to_build()?;
    if options.architecture == Architecture::Arm64 {
        apt(CROSS_PACKAGES)?;
    }
    let profile: &[&str] = if options.debug { &[] } else { &["--release"] };
    let folder = cross::build(options.architecture, &[setup::OUR_PROGRAMS, profile].concat())?;
    for program in ["rostrumd", "channeld"] {
        print(&folder.join(program).display().to_string());
    }
    Ok(())
}

/// Boots the rig and runs tests in it.
///
/// # Errors
/// When something cannot be made, or a test fails.
pub fn run(options: &Options) -> anyhow::Result<()> {
    setup::to_test()?;
    prepare(options.architecture)?;
    if let Some(command) = &options.shell {
        return guest::shell(options.architecture, command);
    }
    test(options.architecture, &options.tests, options.only.as_deref())
}

/// Installs and makes what the rig of `architecture` needs, so that the test itself only runs.
///
/// # Errors
/// When something cannot be had or made.
pub fn prepare(architecture: Architecture) -> anyhow::Result<()> {
    apt(&[CROSS_PACKAGES, PACKAGES].concat())?;
    kernel_interface()?;
    kernel::kernel(architecture)?;
    root::root(architecture)?;
    Ok(())
}

/// Begins to build for arm64 what its tests need, at the lowest priority: other tests of the rig leave processors idle. It is
/// ended when what this gives is dropped; the tests build what is still missing.
///
/// # Errors
/// When something that it needs cannot be installed or made, or it cannot be started.
pub fn begin_building() -> anyhow::Result<Running> {
    prepare(Architecture::Arm64)?;
    cross::begin(Architecture::Arm64, &[&[machine::TERMINAL], guest::EMULATORS].concat())
}

/// Runs `tests` (all when empty) in the rig.
///
/// # Errors
/// When one fails, or the guest does not come up.
pub fn test(architecture: Architecture, tests: &[String], only: Option<&str>) -> anyhow::Result<()> {
    let all = guest::tests(architecture)?;
    if let Some(unknown) = tests.iter().find(|name| !all.contains(name)) {
        bail!("the rig has no tests named {unknown}; there are {}", all.join(", "));
    }
    let chosen = if tests.is_empty() { &all[..] } else { tests };
    say(&format!("rig: {} in a virtual {}", chosen.join(", "), architecture.debian()));
    guest::test(architecture, chosen, only)
}
