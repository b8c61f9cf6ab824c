//! What runs in the guest: the tests of `tests/rig/guest`, or a command for a curious person.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, bail};

use super::{Architecture, boot::Boot, cross, raspberry};
use crate::paths;

/// Programs that make devices in the guest, or are at their other end.
pub(super) const EMULATORS: &[&str] = &["uvc-camera", "other-side"];
/// The tests whose guest is reset.
const RESET: &str = "reset";
/// The tests whose guest is a Raspberry Pi.
const RASPBERRY: &str = "raspberry";
/// A guest that is emulated takes minutes; one that hangs is ended.
pub(super) const LIMIT: Duration = Duration::from_secs(900);

/// Names of the guest's tests.
pub(super) fn tests(architecture: Architecture) -> anyhow::Result<Vec<String>> {
    let dir = paths::root().join("tests/rig/guest");
    let entries = fs::read_dir(&dir).with_context(|| format!("no {}", dir.display()))?;
    let mut names: Vec<_> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .filter_map(|path| Some(path.file_stem()?.to_string_lossy().into_owned()))
        .filter(|name| architecture == Architecture::Arm64 || name != RASPBERRY)
        .collect();
    names.sort();
    Ok(names)
}

/// Runs `tests` in the guest; all of a file whose name has `only` in it when that is given.
pub(super) fn test(architecture: Architecture, tests: &[String], only: Option<&str>) -> anyhow::Result<()> {
    let programs = cross::build_tests(architecture, tests)?;
    let out = out_folder(architecture, "tests")?;
    let (mut lines, mut last) = (String::new(), Ok(()));
    for (name, program) in tests.iter().zip(programs) {
        if name == RESET {
            last = last.and(test_reset(architecture, &program));
            continue;
        }
        if name == RASPBERRY {
            last = last.and(raspberry::test(&program, only));
            continue;
        }
        out.take(name, &program)?;
        lines += &format!("test_program {name} {}\n", only.unwrap_or_default());
    }
    if lines.is_empty() {
        return last;
    }
    run(architecture, &out.path, &lines, false).and(last)
}

/// In a machine of its own, which is reset in the middle.
fn test_reset(architecture: Architecture, program: &Path) -> anyhow::Result<()> {
    let out = out_folder(architecture, RESET)?;
    out.take(RESET, program)?;
    let lines = "if [ ! -e /out/booted ]; then\n\
                     echo > /out/booted\n\
                     test_program reset first_boot\n\
                 else\n\
                     test_program reset second_boot\n\
                 fi\n";
    run(architecture, &out.path, lines, true)
}

/// Runs a command of a person in the guest's shell.
pub(super) fn shell(architecture: Architecture, command: &str) -> anyhow::Result<()> {
    run(architecture, &out_folder(architecture, "shell")?.path, &format!("{command}\n"), false)
}

fn run(architecture: Architecture, out: &Path, commands: &str, reboots: bool) -> anyhow::Result<()> {
    prepare(architecture, out, commands)?;
    match (Boot { architecture, out, reboots, shell: None, network: None }).run(LIMIT)? {
        0 => Ok(()),
        code => bail!("the guest ended with {code}"),
    }
}

/// Puts into the shared folder what every guest starts with, and what this one does then.
pub(super) fn prepare(architecture: Architecture, out: &Path, commands: &str) -> anyhow::Result<()> {
    let programs = cross::build_programs(architecture, EMULATORS)?;
    for emulator in EMULATORS {
        fs::copy(programs.join(emulator), out.join(emulator))?;
    }
    for script in ["devices", "run"] {
        fs::copy(paths::root().join("tests/rig/guest").join(script), out.join(script))?;
    }
    Ok(fs::write(out.join("commands"), commands)?)
}

/// A folder that the guest shares, taken away when it is done.
pub(super) struct OutFolder {
    pub(super) path: std::path::PathBuf,
}

impl OutFolder {
    /// Copies a program to where the guest finds it.
    pub(super) fn take(&self, name: &str, program: &Path) -> anyhow::Result<()> {
        fs::copy(program, self.path.join(name)).with_context(|| format!("cannot copy {name}"))?;
        Ok(())
    }
}

impl Drop for OutFolder {
    fn drop(&mut self) {
        if std::env::var_os("KEEP").is_none() {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

pub(super) fn out_folder(architecture: Architecture, what: &str) -> anyhow::Result<OutFolder> {
    let name = format!("rostrum-rig-{}-{what}-{}", architecture.debian(), std::process::id());
    let path = std::env::temp_dir().join(name);
    fs::create_dir_all(&path)?;
    Ok(OutFolder { path })
}
