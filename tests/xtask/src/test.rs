//! `cargo xtask test`: every test there is, by name.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

use crate::{
    paths,
    process::{cargo, print, say, status},
    rig::{self, Architecture},
    setup,
};

/// What `cargo xtask test` takes.
#[derive(clap::Args)]
pub struct Options {
    /// Only say the names of all tests.
    #[arg(long)]
    list: bool,
    /// Run only these (see --list); all when none is named.
    names: Vec<String>,
}

/// One thing to run, with a name of its own.
struct Test {
    name: String,
    about: String,
    kind: Kind,
}

enum Kind {
    /// A check of the whole tree by a tool.
    Tool(&'static [&'static [&'static str]]),
    /// The unit tests of the pages.
    Pages,
    /// Unit and integration tests of all crates, built once.
    Units,
    /// Those of one crate; not run beside [`Kind::Units`].
    Crate(&'static str),
    /// What the rig's encoder makes, played by a decoder that knows nothing of it.
    RigEncoder,
    /// The drivers' tests in a virtual machine with virtual hardware.
    Rig(Architecture),
    /// One scenario against real peers: a file of `tests/scenarios`.
    Scenario(String),
}

/// Name, what it is about, and cargo's words, of one command after the other.
const TOOLS: &[(&str, &str, &[&[&str]])] = &[
    ("fmt", "the code is formatted", &[&["fmt", "--all", "--check"]]),
    (
        "clippy",
        "the lints are clean",
        &[
            &["clippy", "-q", "--workspace", "--all-targets", "--", "-D", "warnings"],
            // Those of the rig's guest are no tests of this machine, and not among all targets.
            &["clippy", "-q", "--workspace", "--test", "*", "--", "-D", "warnings"],
        ],
    ),
    ("doc", "the documentation builds without a warning", &[&["doc", "-q", "--workspace", "--no-deps"]]),
    (
        "deny",
        "licences, sources and bans of all dependencies",
        &[&["deny", "--workspace", "check", "licenses", "bans", "sources"]],
    ),
];

/// The longest that the programs for arm64 take.
const BUILD: Duration = Duration::from_secs(1_800);

const CRATES: &[&str] = &[
    "rostrum-hal",
    "rostrum-board",
    "rostrum-rtc",
    "rostrum-channel",
    "rostrum-audio",
    "rostrum-media",
    "rostrum-room",
    "rostrum-fleet",
    "rostrum-panel",
    "rostrumd",
    "rostrum-acoustics",
    "rostrum-tests",
    "xtask",
];

impl Test {
    /// Whether it runs programs for arm64.
    fn is_of_arm64(&self) -> bool {
        matches!(&self.kind, Kind::Rig(Architecture::Arm64))
            || matches!(&self.kind, Kind::Scenario(name) if name == "rig_meeting")
    }

    /// The tests of the rig are one after the other, those of arm64 last: their programs are built beside the first.
    fn turn(&self) -> u8 {
        match &self.kind {
            Kind::Tool(_) | Kind::Pages | Kind::Units | Kind::Crate(_) => 0,
            _ if self.is_of_arm64() => 2,
            Kind::RigEncoder | Kind::Rig(_) => 1,
            Kind::Scenario(name) if name.starts_with("rig_") => 1,
            Kind::Scenario(_) => 3,
        }
    }
}

/// Runs the tests and ends with `N passed, N failed`.
///
/// # Errors
/// When a test fails or something that a test needs cannot be installed.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let all = tests()?;
    if options.list {
        for test in all {
            print(&format!("{:32} {}", test.name, test.about));
        }
        return Ok(());
    }
    for name in &options.names {
        if !all.iter().any(|test| test.name == *name) {
            bail!("there is no test named {name}; `cargo xtask test --list` says which there are");
        }
    }
    let wanted = |test: &Test| {
        let whole = options.names.is_empty() && !matches!(test.kind, Kind::Crate(_));
        whole || options.names.contains(&test.name)
    };
    let chosen: Vec<_> = all.into_iter().filter(wanted).collect();
    setup::to_test()?;
    if chosen.iter().any(|test| matches!(test.kind, Kind::Scenario(_) | Kind::Pages)) {
        setup::pages()?;
    }
    if chosen
        .iter()
        .any(|test| matches!(test.kind, Kind::Tool(lines) if lines.iter().any(|words| words[0] == "deny")))
    {
        setup::cargo_deny()?;
    }
    for test in &chosen {
        if let Kind::Rig(architecture) = test.kind {
            rig::prepare(architecture)?;
        }
    }
    if chosen.iter().any(|test| matches!(test.kind, Kind::Scenario(_))) {
        setup::build("debug")?;
    }
    let mut failed = Vec::new();
    let (mut beside, mut is_begun) = (None, false);
    let total = chosen.len();
    for (number, test) in chosen.iter().enumerate() {
        say(&format!("[{}/{total}] {}: {}", number + 1, test.name, test.about));
        if test.turn() == 1 && !is_begun && chosen.iter().any(Test::is_of_arm64) {
            is_begun = true;
            beside = Some(rig::begin_building()?);
        }
        if let Some(mut build) = beside.take_if(|_| test.turn() > 1) {
            say("cargo: waiting for what is built for arm64 (minutes, if little of it was)");
            // Its own words for a failure come when the tests build the rest.
            build.wait(BUILD)?;
        }
        let start = Instant::now();
        let passed = passes(test)?;
        let word = if passed { "passed" } else { "FAILED" };
        say(&format!(
            "[{}/{total}] {} {word} in {:.0} s",
            number + 1,
            test.name,
            start.elapsed().as_secs_f32()
        ));
        if !passed {
            failed.push(test.name.as_str());
        }
    }
    if !failed.is_empty() {
        print(&format!("failed: {}", failed.join(" ")));
    }
    print(&format!("{} passed, {} failed", total - failed.len(), failed.len()));
    if failed.is_empty() { Ok(()) } else { std::process::exit(1) }
}

fn passes(test: &Test) -> anyhow::Result<bool> {
    if let Kind::Rig(architecture) = test.kind {
        let result = rig::test(architecture, &[], None);
        if let Err(error) = &result {
            say(&format!("{error:#}"));
        }
        return Ok(result.is_ok());
    }
    if let Kind::Tool(lines) = test.kind {
        for words in lines {
            if !status(&mut tool(words)?)?.success() {
                return Ok(false);
            }
        }
        return Ok(true);
    }
    Ok(status(&mut command(test)?)?.success())
}

/// A command of cargo's that checks the whole tree.
fn tool(words: &[&str]) -> anyhow::Result<Command> {
    let mut command = cargo();
    command.current_dir(paths::root()).stdin(Stdio::null()).args(words);
    if words[0] == "doc" {
        command.env("RUSTDOCFLAGS", "-D warnings");
    }
    if words[0] == "deny" {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let dirs = std::iter::once(setup::tools_dir().join("bin")).chain(std::env::split_paths(&path));
        command.env("PATH", std::env::join_paths(dirs)?);
    }
    Ok(command)
}

fn tests() -> anyhow::Result<Vec<Test>> {
    let mut tests: Vec<_> = TOOLS
        .iter()
        .map(|(name, about, lines)| Test {
            name: (*name).into(),
            about: (*about).into(),
            kind: Kind::Tool(lines),
        })
        .collect();
    tests.push(Test {
        name: "pages".into(),
        about: "types and logic of the pages".into(),
        kind: Kind::Pages,
    });
    tests.push(Test {
        name: "units".into(),
        about: "the crates' own tests, and the harness's".into(),
        kind: Kind::Units,
    });
    tests.extend(CRATES.iter().map(|name| Test {
        name: (*name).into(),
        about: format!("of units, those of {name}"),
        kind: Kind::Crate(name),
    }));
    tests.push(Test {
        name: "rig_encoder".into(),
        about: "FFmpeg plays what the rig's encoder makes, bit for bit".into(),
        kind: Kind::RigEncoder,
    });
    for architecture in [Architecture::Amd64, Architecture::Arm64] {
        let name = format!("rig_{}", architecture.debian());
        let about = format!("the drivers on virtual hardware, {}", architecture.debian());
        tests.push(Test { name, about, kind: Kind::Rig(architecture) });
    }
    let dir = paths::root().join("tests/scenarios");
    let mut scenarios = fs::read_dir(&dir)
        .with_context(|| format!("cannot read {}", dir.display()))?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect::<Vec<_>>();
    scenarios.sort();
    for path in scenarios {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        tests.push(Test { about: about(&path)?, kind: Kind::Scenario(name.clone()), name });
    }
    tests.sort_by_key(Test::turn);
    Ok(tests)
}

/// The first line of a scenario's documentation says what it is about.
fn about(path: &Path) -> anyhow::Result<String> {
    let text = fs::read_to_string(path)?;
    Ok(text.lines().next().unwrap_or_default().trim_start_matches("//!").trim().to_owned())
}

fn command(test: &Test) -> anyhow::Result<Command> {
    let mut command = cargo();
    command.current_dir(paths::root()).stdin(Stdio::null());
    match &test.kind {
        Kind::Units => {
            command.args(["test", "-q", "--no-fail-fast"]).args(setup::TESTED);
        }
        Kind::Crate(name) => {
            command.args(["test", "-q", "-p", name]);
        }
        Kind::Scenario(name) => {
            // One at a time: each starts several programs and measures what they do.
            // With the packages of all other tests, or cargo chose other features and compiled much anew.
            command.args(["test", "-q"]).args(setup::TESTED);
            command.args(["--test", name, "--", "--test-threads=1", "--nocapture"]);
        }
        Kind::RigEncoder => {
            command = Command::new("bash");
            command.arg(paths::root().join("tests/rig/kernel/test/run.sh")).stdin(Stdio::null());
        }
        // Not one command: see `passes`.
        Kind::Rig(_) | Kind::Tool(_) => bail!("{} is not run by one command", test.name),
        Kind::Pages => {
            command = Command::new("npm");
            command.args(["test"]).current_dir(paths::root().join("firmware/web")).stdin(Stdio::null());
        }
    }
    Ok(command)
}
