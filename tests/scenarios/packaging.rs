//! What an image installs beside the programs: units that systemd finds right and closed, users, and a firewall that loads
#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use xtask::paths;

/// Exposure that `systemd-analyze security` may find at most, in tenths.
const EXPOSURE: &str = "20";

/// What runs all the time; each has a unit of its own.
const PROGRAMS: [&str; 3] = ["rostrumd", "channeld", "rostrum-updater"];

fn is_a_program(unit: &Path) -> bool {
    unit.file_stem().is_some_and(|name| PROGRAMS.iter().any(|program| name == *program))
}

fn files() -> PathBuf {
    paths::root().join("yocto/meta-rostrum/recipes-rostrum/rostrum/files")
}

fn read(name: &str) -> String {
    fs::read_to_string(files().join(name)).unwrap()
}

fn of_extension(extension: &str) -> Vec<PathBuf> {
    let all = fs::read_dir(files()).unwrap().map(|entry| entry.unwrap().path());
    all.filter(|path| path.extension().is_some_and(|of| of == extension)).collect()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

fn run(command: &mut Command) -> (bool, String) {
    let output = command.output().unwrap();
    (output.status.success(), said(&output))
}

/// A copy of a unit that starts the program of this build.
fn here(unit: &Path, dir: &Path) -> PathBuf {
    let name = unit.file_name().unwrap().to_str().unwrap();
    let mut text = fs::read_to_string(unit).unwrap();
    for program in PROGRAMS {
        let here = paths::program("debug", program);
        text = text.replace(&format!("/usr/bin/{program}"), here.to_str().unwrap());
    }
    let make_device_key = files().join("make-device-key");
    text = text.replace("/usr/lib/rostrum/make-device-key", make_device_key.to_str().unwrap());
    let copy = dir.join(name);
    fs::write(&copy, text).unwrap();
    copy
}

#[test]
fn systemd_finds_every_unit_right_and_closed() {
    let dir = tempfile::tempdir().unwrap();
    let units = of_extension("service");
    assert_eq!(units.len(), 6, "{units:?}");
    for unit in &units {
        // A unit that another one names is looked for beside it.
        fs::copy(unit, dir.path().join(unit.file_name().unwrap())).unwrap();
    }
    for unit in units {
        let copy = here(&unit, dir.path());
        let (right, said) = run(Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&copy));
        assert!(right && !said.contains("Unknown"), "{said}");
        let threshold = format!("--threshold={EXPOSURE}");
        let analyze = ["security", "--offline=true", "--no-pager", &threshold];
        let (closed, said) = run(Command::new("systemd-analyze").args(analyze).arg(&copy));
        assert!(closed, "{said}");
        let text = fs::read_to_string(&unit).unwrap();
        assert!(text.contains("NoNewPrivileges=yes"), "{}", unit.display());
        if is_a_program(&unit) {
            for needed in ["Type=notify", "WatchdogSec=", "Restart=always", "User="] {
                assert!(text.contains(needed), "{} lacks {needed}", unit.display());
            }
        }
        assert!(!text.contains("User=root"), "{}", unit.display());
    }
}

#[test]
fn the_users_of_the_units_are_made_and_own_what_the_programs_write() {
    let dir = tempfile::tempdir().unwrap();
    let installed = dir.path().join("usr/lib/sysusers.d");
    fs::create_dir_all(&installed).unwrap();
    fs::create_dir(dir.path().join("etc")).unwrap();
    fs::copy(files().join("rostrum.sysusers"), installed.join("rostrum.conf")).unwrap();
    let root = format!("--root={}", dir.path().display());
    let made = Command::new("systemd-sysusers").arg(root).output().unwrap();
    assert!(made.status.success(), "{}", said(&made));
    let users = fs::read_to_string(dir.path().join("etc/passwd")).unwrap();
    let groups = fs::read_to_string(dir.path().join("etc/group")).unwrap();
    for unit in of_extension("service").into_iter().filter(|unit| is_a_program(unit)) {
        let text = fs::read_to_string(&unit).unwrap();
        let value = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key));
            line.unwrap_or_else(|| panic!("{} lacks {key}", unit.display())).to_owned()
        };
        let user = value("User=");
        assert!(users.contains(&format!("{user}:")), "{user}: {users}");
        assert!(users.contains(&format!("/var/lib/{}:", value("StateDirectory="))), "{users}");
    }
    let is_group = |name: &str| groups.lines().any(|line| line.starts_with(&format!("{name}:")));
    let of_rules = read("70-rostrum.rules");
    for group in of_rules.split("GROUP=\"").skip(1).filter_map(|rest| rest.split('"').next()) {
        let is_debians = ["video", "audio", "input", "render"].contains(&group);
        assert!(is_debians || is_group(group), "no group {group}: {groups}");
    }
    // Where the programs write by default is where their units let them.
    let example = |program: &str| {
        let output = Command::new(paths::program("debug", program)).arg("config-example").output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(example("rostrumd").contains("data_dir = \"/var/lib/rostrum\""));
    assert!(example("rostrum-updater").contains("state_dir = \"/var/lib/rostrum-updater\""));
    // What its example asks for by files is what the system watches for.
    for (key, unit) in [("restart_request", "rostrum-reboot.path"), ("hold_request", "rostrum-hold.path")] {
        let text = example("rostrum-updater");
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{key} = "))).unwrap();
        let system = files().join("../../rostrum-system/files").join(unit);
        let watched = format!("PathExists={}", line.trim_matches('"'));
        assert!(fs::read_to_string(&system).unwrap().contains(&watched), "{unit} does not watch {line}");
    }
    assert!(example("channeld").contains("file = \"/var/lib/channeld/devices.json\""));
}

#[test]
fn the_firewall_loads_twice_and_lets_in_what_the_programs_listen_on() {
    // In a network of its own: nothing of this machine changes.
    let file = files().join("rostrum-firewall.nft");
    let commands = format!("nft -f {0} && nft -f {0} && nft -j list table inet rostrum", file.display());
    let (loaded, listed) = run(Command::new("unshare").args(["--net", "sh", "-c", &commands]));
    assert!(loaded, "{listed}");
    let rules: serde_json::Value = serde_json::from_str(&listed).unwrap();
    let chain = rules["nftables"].as_array().unwrap().iter().find(|one| one["chain"].is_object()).unwrap();
    assert_eq!(chain["chain"]["policy"], "drop", "{chain}");
    let text = read("rostrum-firewall.nft");
    let open: Vec<&str> = text.lines().map(str::trim).filter(|line| line.contains("dport")).collect();
    let lets_in = |protocol: &str, port: &str| {
        let words = |line: &str| line.split([' ', ',']).any(|word| word == port);
        open.iter().any(|line| line.starts_with(protocol) && words(line))
    };
    let config = |program: &str| {
        let output = Command::new(paths::program("debug", program)).arg("config-example").output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let ports: Vec<String> = [config("rostrumd"), config("channeld")]
        .iter()
        .flat_map(|text| text.lines())
        .filter_map(|line| line.strip_prefix("listen = "))
        .filter_map(|address| address.trim_matches('"').rsplit(':').next().map(str::to_owned))
        .collect();
    assert_eq!(ports, ["8090", "7880", "7882"], "each is accounted for");
    for port in &ports {
        assert!(lets_in("tcp", port), "{port} is closed: {open:?}");
    }
    assert!(lets_in("udp", "7882"), "{open:?}");
    assert_eq!(open.len(), 4, "and nothing else: {open:?}");
}
