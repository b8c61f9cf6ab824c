//! Programs for either architecture, built on this machine by one command.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, ensure};

use super::{Architecture, root};
use crate::{
    paths,
    process::{self, Running, display, run},
    setup,
};

/// `cargo`, set up for `architecture`.
///
/// For arm64 it is Debian's: the library for that target is a Debian package, which is in the guest's root.
pub(super) fn cargo(architecture: Architecture) -> anyhow::Result<Command> {
    if architecture == Architecture::Amd64 {
        let mut cargo = process::cargo();
        cargo.current_dir(paths::root()).stdin(Stdio::null());
        return Ok(cargo);
    }
    let mut cargo = Command::new("/usr/bin/cargo");
    process::forget_outer_cargo(&mut cargo);
    process::keep_nothing_for_next_time(&mut cargo);
    cargo.current_dir(paths::root()).stdin(Stdio::null());
    let root = root::root(architecture)?;
    let sysroot = format!("--sysroot={}", root.display());
    let libraries = root.join("usr/lib/aarch64-linux-gnu/pkgconfig");
    let packages: Vec<PathBuf> = vec![libraries, root.join("usr/share/pkgconfig")];
    // What another toolchain set for itself, as rustup does for what it starts.
    for variable in ["RUSTUP_TOOLCHAIN", "CARGO", "RUSTC_WRAPPER", "CARGO_ENCODED_RUSTFLAGS"] {
        cargo.env_remove(variable);
    }
    let mut path = OsString::from("/usr/bin:/bin:");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    cargo
        .env("PATH", path)
        .env("RUSTC", "/usr/bin/rustc")
        .env("CARGO_TARGET_DIR", target_dir(architecture))
        .env("CARGO_BUILD_TARGET", architecture.target())
        .env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", "aarch64-linux-gnu-gcc")
        .env(
            "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS",
            format!("-C link-arg={sysroot} --sysroot {}", root.join("usr").display()),
        )
        .env("CC_aarch64_unknown_linux_gnu", "aarch64-linux-gnu-gcc")
        .env("CFLAGS_aarch64_unknown_linux_gnu", &sysroot)
        .env("PKG_CONFIG_ALLOW_CROSS", "1")
        .env("PKG_CONFIG_SYSROOT_DIR", &root)
        .env("PKG_CONFIG_LIBDIR", std::env::join_paths(packages)?)
        .env("BINDGEN_EXTRA_CLANG_ARGS_aarch64_unknown_linux_gnu", &sysroot);
    Ok(cargo)
}

/// Where cargo builds for `architecture`.
fn target_dir(architecture: Architecture) -> PathBuf {
    match architecture {
        Architecture::Amd64 => paths::target(),
        Architecture::Arm64 => paths::target().join("arm64"),
    }
}

/// The packages that cargo is told of in each build for the guest, or it would choose other features and compile what
/// they share anew.
fn packages(architecture: Architecture) -> &'static [&'static str] {
    match architecture {
        // As for the crates' own tests.
        Architecture::Amd64 => setup::TESTED,
        Architecture::Arm64 => &["-p", "rostrum-rig", "-p", "rostrumd", "-p", "rostrum-fleet"],
    }
}

/// Builds programs for the guest; gives their folder.
pub(crate) fn build_programs(architecture: Architecture, programs: &[&str]) -> anyhow::Result<Box<Path>> {
    let programs = programs.iter().flat_map(|program| ["--bin", program]);
    let arguments: Vec<_> =
        packages(architecture).iter().copied().chain(programs).chain(["--test", setup::ONE_TEST]).collect();
    build(architecture, &arguments)
}

/// Begins to build the terminal and what its guest needs for `architecture` in the time that others leave idle.
pub(super) fn begin(architecture: Architecture, programs: &[&str]) -> anyhow::Result<Running> {
    let build = cargo(architecture)?;
    // A `Command` cannot be put behind another one: its parts are told again.
    let mut nice = Command::new("nice");
    nice.args(["-n", "19"]).arg(build.get_program()).args(["build", "-q"]).args(packages(architecture));
    nice.args(programs.iter().flat_map(|program| ["--bin", program])).args(["--test", setup::ONE_TEST]);
    for (name, value) in build.get_envs() {
        match value {
            Some(value) => nice.env(name, value),
            None => nice.env_remove(name),
        };
    }
    nice.current_dir(paths::root());
    let log = target_dir(architecture).join("build-beside.log");
    process::say(&format!("cargo: building for {} beside the next tests", architecture.debian()));
    Running::start("cargo", log, &mut nice)
}

/// Runs `cargo build` with `arguments`; gives the folder of the programs.
pub(crate) fn build(architecture: Architecture, arguments: &[&str]) -> anyhow::Result<Box<Path>> {
    let mut cargo = cargo(architecture)?;
    cargo.arg("build").args(arguments);
    run(
        &format!("cargo: building for {} (the first time takes minutes)", architecture.debian()),
        &mut cargo,
    )?;
    let profile = if arguments.contains(&"--release") { "release" } else { "debug" };
    let dir = match architecture {
        Architecture::Amd64 => target_dir(architecture),
        Architecture::Arm64 => target_dir(architecture).join(architecture.target()),
    };
    Ok(dir.join(profile).into())
}

/// Builds the named tests of the guest; gives their programs in the same order.
pub(super) fn build_tests(architecture: Architecture, tests: &[String]) -> anyhow::Result<Vec<PathBuf>> {
    let mut cargo = cargo(architecture)?;
    cargo.args(["test", "--no-run", "--message-format=json-render-diagnostics"]);
    cargo.args(packages(architecture));
    for test in tests {
        cargo.args(["--test", test]);
    }
    crate::process::say(&format!("cargo: building the guest's tests for {}", architecture.debian()));
    let output = cargo
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start {}", display(&cargo)))?;
    ensure!(output.status.success(), "the guest's tests cannot be built");
    let manifest = paths::root().join("tests/rig/Cargo.toml");
    let mut programs = vec![PathBuf::new(); tests.len()];
    for line in output.stdout.split(|byte| *byte == b'\n') {
        let Ok(message) = serde_json::from_slice::<serde_json::Value>(line) else { continue };
        let (name, program) = (&message["target"]["name"], message["executable"].as_str());
        // Another package may have a test of that name.
        if message["manifest_path"].as_str().is_none_or(|path| Path::new(path) != manifest) {
            continue;
        }
        let index = tests.iter().position(|test| *name == test.as_str());
        if let (Some(index), Some(program)) = (index, program) {
            programs[index] = program.into();
        }
    }
    let missing = programs.iter().position(|program| program.as_os_str().is_empty());
    ensure!(missing.is_none(), "cargo gave no program for a test of the guest");
    Ok(programs)
}
