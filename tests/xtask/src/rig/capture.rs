//! `cargo xtask bench capture`: from the rig's camera to encoded pictures, by our drivers and by GStreamer's.

use std::{collections::BTreeMap, fs};

use anyhow::{Context, ensure};
use serde_json::{Map, Value, json};

use super::{Architecture::Amd64, boot::Boot, cross, guest};
use crate::process::print;

/// The ways take turns, and the middle of so many counts.
const ROUNDS: usize = 3;
const WAYS: &[&str] = &["ours", "gstreamer"];

/// Measures, and prints one line of JSON: our figures, and those of GStreamer's `v4l2src ! v4l2h264enc`.
///
/// # Errors
/// When the rig cannot be made, or one of the ways fails.
pub fn bench_capture(pictures: u32) -> anyhow::Result<()> {
    super::prepare(Amd64)?;
    let out = guest::out_folder(Amd64, "capture")?;
    let programs = cross::build(Amd64, &["-p", "rostrum-rig", "--bins", "--release"])?;
    out.take("capture", &programs.join("capture"))?;
    let ways = WAYS.join(" ");
    let commands = format!(
        "ln -s /usr/lib/*-linux-gnu/gstreamer-1.0/libgstdebug.so $plugins/\n\
         for round in $($busybox seq {ROUNDS}); do\n\
             for way in {ways}; do\n\
                 say \"round $round: $way\"\n\
                 echo $way >> /out/figures\n\
                 /out/capture $way {pictures} >> /out/figures || failed=1\n\
             done\n\
         done\n"
    );
    guest::prepare(Amd64, &out.path, &commands)?;
    let boot = Boot { architecture: Amd64, out: &out.path, reboots: false, shell: None, network: None };
    ensure!(boot.run(guest::LIMIT)? == 0, "a way failed");
    let figures = fs::read_to_string(out.path.join("figures")).context("the guest left no figures")?;
    print(&Value::Object(summary(&figures)?).to_string());
    Ok(())
}

/// The middle of every figure of every way. Lines are a way's name, and then its figures.
fn summary(lines: &str) -> anyhow::Result<Map<String, Value>> {
    let mut all: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    let mut way = "";
    for line in lines.lines() {
        let Ok(figures) = serde_json::from_str::<BTreeMap<String, f64>>(line) else {
            way = line;
            continue;
        };
        let before = if way == "ours" { String::new() } else { format!("{way}_") };
        for (name, figure) in figures {
            all.entry(format!("{before}{name}")).or_default().push(figure);
        }
    }
    let mut middle = Map::new();
    for (name, mut figures) in all {
        ensure!(figures.len() == ROUNDS, "{name} was measured {} times", figures.len());
        figures.sort_by(f64::total_cmp);
        middle.insert(name, json!((figures[ROUNDS / 2] * 100.0).round() / 100.0));
    }
    Ok(middle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_three_rounds_counts() {
        let round = |ours: f64, peer: f64| {
            format!("ours\n{{\"cpu_us_per_frame\":{ours}}}\ngstreamer\n{{\"cpu_us_per_frame\":{peer}}}\n")
        };
        let lines = round(3.0, 9.0) + &round(1.0, 8.0) + &round(2.0, 7.0);
        let middle = summary(&lines).unwrap_or_default();
        assert_eq!(middle["cpu_us_per_frame"], 2.0);
        assert_eq!(middle["gstreamer_cpu_us_per_frame"], 8.0);
        assert!(summary(&round(1.0, 1.0)).is_err());
    }
}
