//! `cargo xtask prove NAME`: proofs that take longer than a test may.

use anyhow::bail;

use crate::{
    paths,
    process::{cargo, run as run_step},
    setup,
};

/// What `cargo xtask prove` takes.
#[derive(clap::Args)]
pub struct Options {
    /// `soak`: memory of the service over 2,000 joins and leaves, and over the packets of a meeting of eight hours
    /// (some ten minutes). `image`: the image for QEMU from its first boot to its reset to factory (an hour, and half of one
    /// before it where nothing is built yet; root, for a network of its own). `voice`: an hour of a meeting through the voice
    /// chain and back (some minutes).
    name: String,
}

/// Each proof with the words for `cargo test`.
const PROOFS: &[(&str, &[&str])] = &[
    ("soak", &["-p", "rostrum-channel", "--test", "soak", "--", "--test-threads=1", "--nocapture"]),
    ("voice", &["-p", "rostrum-audio", "--test", "hour", "--", "--nocapture"]),
    (IMAGE, &["-p", "rostrum-tests", "--test", "prove_image"]),
];
const IMAGE: &str = "image";

/// Runs a proof; its output ends with the summary of `cargo test`.
///
/// # Errors
/// When there is no such proof, or it fails.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let Some((name, words)) = PROOFS.iter().find(|(name, _)| *name == options.name) else {
        let names: Vec<_> = PROOFS.iter().map(|(name, _)| *name).collect();
        bail!("there is no proof named {}; there are: {}", options.name, names.join(", "));
    };
    setup::to_build()?;
    if *name == IMAGE {
        setup::to_test()?;
        setup::build("debug")?;
        setup::apt(&[("nmap", "what is open"), ("dnsmasq-base", "addresses for the machine")])?;
    }
    let mut command = cargo();
    command.arg("test").args(*words).current_dir(paths::root());
    run_step(&format!("cargo: proving {name}"), &mut command)
}
