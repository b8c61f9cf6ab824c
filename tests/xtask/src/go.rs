//! Peers that are written in Go: built once from the Go module proxy, and kept in the cache.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context;

use crate::{
    paths,
    process::run,
    setup::{once, require},
};

/// The server's version, as in `tests/peers/livekit-server/go.mod`.
pub const LIVEKIT_VERSION: &str = "1.13.5";

/// The real LiveKit server, for benches; built when absent (some 150 s).
///
/// # Errors
/// When Go is missing or the build fails.
pub fn livekit_server() -> anyhow::Result<PathBuf> {
    build(&Build {
        module: "livekit-server",
        package: "github.com/livekit/livekit-server/cmd/server",
        name: &format!("livekit-server-{LIVEKIT_VERSION}"),
        why: "the real LiveKit server, which benches measure against",
    })
}

/// The version of the SDK, as in `tests/peers/go/go.mod`.
pub const SDK_VERSION: &str = "2.18.1";

/// A participant made of LiveKit's Go SDK, for scenarios; built when absent.
///
/// # Errors
/// As [`livekit_server`].
pub fn sdk_peer() -> anyhow::Result<PathBuf> {
    build(&Build {
        module: "go",
        package: ".",
        name: &format!("livekit-sdk-go-{SDK_VERSION}"),
        why: "a participant made of LiveKit's Go SDK, which scenarios let in",
    })
}

struct Build<'a> {
    /// Folder of `tests/peers` with its `go.mod`.
    module: &'a str,
    package: &'a str,
    /// Its folder in the cache.
    name: &'a str,
    why: &'a str,
}

fn build(what: &Build<'_>) -> anyhow::Result<PathBuf> {
    let sources = paths::root().join("tests/peers").join(what.module);
    let dir = paths::cache().join(what.name);
    let program = dir.join(what.module);
    once(&dir.join("complete"), &content(&sources)?, || {
        require("go", "version", "Go 1.26 or newer")?;
        fs::create_dir_all(&dir)?;
        run(
            &format!("go: building {}: {}", what.name, what.why),
            Command::new("go")
                .args(["build", "-buildvcs=false", "-trimpath", "-o"])
                .arg(&program)
                .arg(what.package)
                .current_dir(&sources),
        )
    })?;
    Ok(program)
}

/// All files of a module, so that a change builds it again.
fn content(sources: &Path) -> anyhow::Result<Vec<u8>> {
    let entries = fs::read_dir(sources).with_context(|| format!("cannot read {}", sources.display()))?;
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
    files.sort();
    let mut all = Vec::new();
    for file in files {
        all.extend(fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?);
    }
    Ok(all)
}
