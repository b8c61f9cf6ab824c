//! What an image installs beside the programs: units, RAUC's settings, U-Boot's choice of a slot, partitions that grow
#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use rostrum_tests::boot_disk;
use xtask::image::{self, BootOptions, Drives, MACHINE, layout};

/// Files of the folders that are made into something else than a file of the image.
const MADE_OF: &[&str] = &["u-boot/files/boot.cmd", "u-boot/files/qemu-arm64.cfg"];
/// Folders of `recipes-rostrum` whose files are installed.
const FOLDERS: &[&str] = &["rostrum/files", "rostrum-system/files", "rauc/files", "u-boot/files"];
const MIB: u64 = 1024 * 1024;

/// Asked for once: each time Debian is asked for news.
fn tools() -> &'static image::Tools {
    static TOOLS: OnceLock<image::Tools> = OnceLock::new();
    TOOLS.get_or_init(|| image::tools().unwrap())
}

fn wks() -> Vec<layout::Partition> {
    boot_disk::partitions().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

fn run(command: &mut Command) -> (bool, String) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    (output.status.success(), said(&output))
}

fn read(name: &str) -> String {
    fs::read_to_string(image::recipes().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A value of `key=` or `CONFIG_KEY=` in a file.
fn value<'a>(text: &'a str, key: &str) -> &'a str {
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    line.unwrap_or_else(|| panic!("no {key}: {text}"))
}

#[test]
fn every_file_is_installed_once_and_every_installed_file_is_there() {
    let list = image::list().unwrap();
    let named: BTreeSet<String> = list.iter().map(|file| file.source.clone()).collect();
    let mut there = BTreeSet::new();
    for folder in FOLDERS {
        for entry in fs::read_dir(image::recipes().join(folder)).unwrap() {
            there.insert(format!("{folder}/{}", entry.unwrap().file_name().to_string_lossy()));
        }
    }
    there.retain(|file| !MADE_OF.contains(&file.as_str()));
    assert_eq!(named, there);
    let targets: BTreeSet<_> = list.iter().map(|file| &file.target).collect();
    assert_eq!(targets.len(), list.len(), "two files go to one place");
    for file in &list {
        assert!(file.target.starts_with('/') && !file.target.contains(".."), "{file:?}");
        let mode = u32::from_str_radix(&file.mode, 8).unwrap();
        assert_eq!(mode & 0o7022, 0, "others may write it, or it keeps root's rights: {file:?}");
    }
}

#[test]
fn systemd_finds_every_unit_of_the_system_right() {
    let dir = tempfile::tempdir().unwrap();
    let mut units = Vec::new();
    for file in image::list().unwrap() {
        let Some(name) = file.target.strip_prefix("/usr/lib/systemd/system/") else { continue };
        let mut text = read(&file.source);
        // This machine has our programs elsewhere, and tools of the image not at all.
        let make_data = image::recipes().join("rostrum-system/files/make-data");
        text = text.replace("/usr/lib/rostrum/make-data", make_data.to_str().unwrap());
        for script in ["dev-shell", "make-device-key"] {
            text = text.replace(&format!("/usr/lib/rostrum/{script}"), "/bin/sh");
        }
        for program in ["rostrumd", "channeld", "rostrum-updater"] {
            text = text.replace(&format!("/usr/bin/{program}"), "/bin/true");
        }
        let to = dir.path().join(name);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::write(&to, text).unwrap();
        if !name.contains(".d/") {
            units.push(to);
        }
    }
    assert!(units.len() > 10, "{units:?}");
    for unit in units {
        // A template is looked at as one of its instances.
        let name = unit.file_name().unwrap().to_str().unwrap().replace("@.", "@sda1.");
        let mut verify = Command::new("systemd-analyze");
        verify.args(["verify", "--man=no", "--recursive-errors=no"]).arg(unit.with_file_name(&name));
        if name.contains('@') {
            fs::copy(&unit, unit.with_file_name(&name)).unwrap();
        }
        let path = format!("{}:", dir.path().display());
        let (right, said) = run(verify.env("SYSTEMD_UNIT_PATH", path));
        assert!(right && !said.contains("Unknown") && !said.contains("Failed"), "{name}: {said}");
    }
}

#[test]
fn a_presets_unit_is_installed_or_comes_with_systemd() {
    let presets = read("rostrum-system/files/80-rostrum.preset");
    let list = image::list().unwrap();
    for unit in presets.lines().filter_map(|line| line.strip_prefix("enable ")) {
        let is_ours = list.iter().any(|file| file.target == format!("/usr/lib/systemd/system/{unit}"));
        let of_systemd = unit.starts_with("systemd-");
        // The updater's own come with it.
        let of_updater = ["rostrum-updater.service", "rostrum-boot-complete.service"].contains(&unit);
        assert!(is_ours || of_systemd || of_updater, "{unit} is nowhere");
    }
    assert_eq!(presets.lines().last(), Some("disable *"), "what nobody asked for is off");
}

#[test]
fn nothing_waits_for_a_person_at_a_shell() {
    for unit in ["emergency", "rescue"] {
        let target = format!("/usr/lib/systemd/system/{unit}.service.d/50-rostrum.conf");
        let file = image::list().unwrap().into_iter().find(|file| file.target == target).unwrap();
        let text = read(&file.source);
        assert!(text.contains("\nExecStart=\n") && text.contains("systemctl --force reboot"), "{text}");
    }
}

#[test]
fn rauc_reads_its_settings_and_takes_only_bundles_that_can_be_streamed() {
    let tools = tools();
    let dir = tempfile::tempdir().unwrap();
    let keys = image::keys().unwrap();
    let text = image::fill_in(&read("rauc/files/system.conf.in"), MACHINE);
    assert!(!text.contains('@'), "{text}");
    assert!(text.contains("compatible=rostrum-qemu-arm64\nbootloader=uboot\n"), "{text}");
    assert!(text.contains("bundle-formats=verity\n"), "{text}");
    // Each slot is a partition of the disk.
    let names: Vec<String> = wks().into_iter().map(|one| one.name).collect();
    let slots: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("device=/dev/disk/by-partlabel/")).collect();
    assert_eq!(slots, ["system-a", "system-b"]);
    assert!(slots.iter().all(|slot| names.iter().any(|name| name == slot)), "{names:?}");

    // A bundle of a few bytes, which RAUC looks into with these settings.
    let content = dir.path().join("content");
    fs::create_dir(&content).unwrap();
    // Nothing that a compressor makes nothing of: a bundle has to have more than one block.
    let noise: Vec<u8> = (0..65_536).map(|_| rand::random()).collect();
    fs::write(content.join("system.ext4"), noise).unwrap();
    let manifest = "[update]\ncompatible=rostrum-qemu-arm64\nversion=1.0.0\n[bundle]\nformat=FORMAT\n\
                    [image.rootfs]\nfilename=system.ext4\n";
    let bundle = |format: &str| {
        fs::write(content.join("manifest.raucm"), manifest.replace("FORMAT", format)).unwrap();
        let file = dir.path().join(format!("{format}.raucb"));
        let mut make = tools.rauc.command();
        make.arg("--cert").arg(&keys.certificate).arg("--key").arg(&keys.key);
        let (made, said) = run(make.arg("bundle").arg(&content).arg(&file));
        assert!(made, "{said}");
        file
    };
    let settings = dir.path().join("system.conf");
    let text = text.replace("/etc/rauc/keyring.pem", keys.authority.to_str().unwrap());
    let look = |settings_text: &str, bundle: &Path| {
        fs::write(&settings, settings_text).unwrap();
        run(tools.rauc.command().arg("--conf").arg(&settings).arg("info").arg(bundle))
    };
    let good = bundle("verity");
    let (right, said) = look(&text, &good);
    assert!(right && said.contains("rostrum-qemu-arm64"), "{said}");
    let (right, said) = look(&text.replace("data-directory", "data-folder"), &good);
    assert!(!right, "RAUC does not read these settings at all: {said}");
    let (right, said) = look(&text, &bundle("plain"));
    assert!(!right && said.contains("format"), "{said}");
    let stranger = image::strangers_keys().unwrap();
    let (right, said) =
        look(&text.replace(keys.authority.to_str().unwrap(), stranger.authority.to_str().unwrap()), &good);
    assert!(!right && said.contains("signature"), "{said}");
}

#[test]
fn names_and_places_agree_between_the_files() {
    let partitions = wks();
    let names: Vec<&str> = partitions.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["boot", "factory", "system-a", "system-b", "data"]);
    let of = |name: &str| partitions.iter().find(|one| one.name == name).unwrap();
    assert_eq!(of("system-a").size_mib, of("system-b").size_mib, "an update fits into either");
    // Only what systemd-repart knows by its type grows, and that is the last one.
    assert_eq!(value(&read("rostrum-system/files/50-data.conf"), "Type"), of("data").kind);
    assert!(partitions.iter().filter(|one| one.kind == of("data").kind).count() == 1);
    for mount in ["data", "factory"] {
        let text = read(&format!("rostrum-system/files/{mount}.mount"));
        assert_eq!(value(&text, "What"), format!("/dev/disk/by-partlabel/{mount}"));
        assert_eq!(value(&text, "Where"), format!("/{mount}"));
    }
    // Linux and U-Boot mean the same places of the environment.
    let settings = read("u-boot/files/qemu-arm64.cfg");
    let places: Vec<String> = ["CONFIG_ENV_OFFSET", "CONFIG_ENV_OFFSET_REDUND"]
        .map(|key| format!("{} {}", value(&settings, key), value(&settings, "CONFIG_ENV_SIZE")))
        .into();
    let tools = read("u-boot/files/fw_env.config");
    let of_tools: Vec<_> = tools.lines().filter_map(|line| line.strip_prefix("/dev/mmcblk0 ")).collect();
    assert_eq!(of_tools, places);
}

#[test]
fn only_data_grows_and_it_grows_to_the_end_of_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let disk = dir.path().join("disk.img");
    let partitions = wks();
    let (starts, _) = layout::places(&partitions);
    boot_disk::partition(&disk).unwrap();
    // Flashed to a larger card.
    fs::File::options().write(true).open(&disk).unwrap().set_len(8192 * MIB).unwrap();
    let definitions = dir.path().join("repart.d");
    fs::create_dir(&definitions).unwrap();
    fs::copy(image::recipes().join("rostrum-system/files/50-data.conf"), definitions.join("50-data.conf"))
        .unwrap();
    let (done, said) = run(Command::new("systemd-repart")
        .args(["--dry-run=no", "--no-pager", "--definitions"])
        .arg(&definitions)
        .arg(&disk));
    assert!(done, "{said}");
    let output = Command::new("sfdisk").args(["--json"]).arg(&disk).output().unwrap();
    let table: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let now = table["partitiontable"]["partitions"].as_array().unwrap();
    let sectors = 512;
    let places: Vec<(String, u64, u64)> = now
        .iter()
        .map(|one| {
            let number = |key: &str| one[key].as_u64().unwrap() * sectors;
            (one["name"].as_str().unwrap().to_owned(), number("start"), number("size"))
        })
        .collect();
    assert_eq!(places.len(), partitions.len());
    for ((one, start), place) in partitions.iter().zip(starts).zip(&places) {
        assert_eq!((&place.0, place.1), (&one.name, start * MIB));
        if one.name == "data" {
            assert!(place.1 + place.2 > 8190 * MIB, "data ends at {}", place.1 + place.2);
        } else {
            assert_eq!(place.2, one.size_mib * MIB, "{} changed", one.name);
        }
    }
}

/// U-Boot's environment, kept twice on a card.
struct Card {
    file: PathBuf,
    config: PathBuf,
}

impl Card {
    fn blank(dir: &Path) -> Self {
        let card = Self { file: dir.join("environment.img"), config: dir.join("fw_env.config") };
        fs::File::create(&card.file).unwrap().set_len(4 * MIB).unwrap();
        let text = read("u-boot/files/fw_env.config").replace("/dev/mmcblk0", card.file.to_str().unwrap());
        fs::write(&card.config, text).unwrap();
        card
    }

    /// As Linux reads it, and RAUC with it.
    fn get(&self, name: &str) -> String {
        let mut print = Command::new("fw_printenv");
        let output = print.args(["-n", name, "-c"]).arg(&self.config).output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    fn set(&self, name: &str, value: &str) {
        // The tool keeps a lock in a place of this machine.
        let (set, said) = run(Command::new("fw_setenv").arg("-c").arg(&self.config).args([name, value]));
        assert!(set, "{said}");
    }
}

/// Boots U-Boot on a disk whose slots have no system, until it has said `lines` lines about slots.
fn slots_tried(dir: &Path, card: &Card, lines: usize) -> Vec<String> {
    let tools = tools();
    let disk = dir.join("disk.img");
    if !disk.exists() {
        boot_disk::make(dir, &disk, None).unwrap();
    }
    let drives = Drives { boot_loader: &tools.boot_loader, environment: &card.file, disk: &disk };
    let mut qemu = image::qemu(&BootOptions { drives, network: "user".into(), shell: None, reboots: true });
    let mut child =
        qemu.args(["-serial", "stdio"]).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for line in output.split(b'\n').map_while(Result::ok) {
            let _ = tell.send(String::from_utf8_lossy(&line).trim().to_owned());
        }
    });
    let deadline = Instant::now() + Duration::from_secs(120);
    let (mut heard, mut all) = (Vec::new(), String::new());
    while heard.len() < lines {
        match told.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                all += &format!("{line}\n");
                if let Some(line) =
                    line.strip_prefix("rostrum: ").filter(|line| !line.ends_with("does not boot"))
                {
                    heard.push(line.to_owned());
                }
            }
            Err(_) => break,
        }
    }
    // The choice is saved before the slot is looked at.
    while let Ok(line) = told.recv_timeout(Duration::from_secs(20)) {
        if line.contains("does not boot") || line.contains("resetting") {
            break;
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(heard.len(), lines, "{all}");
    heard
}

#[test]
fn the_boot_loader_tries_a_slot_three_times_and_then_the_other() {
    let dir = tempfile::tempdir().unwrap();
    let card = Card::blank(dir.path());
    let tried = slots_tried(dir.path(), &card, 8);
    let wanted = [
        "slot A, 2 tries left",
        "slot A, 1 tries left",
        "slot A, 0 tries left",
        "slot B, 2 tries left",
        "slot B, 1 tries left",
        "slot B, 0 tries left",
        "no slot has a try left; each gets three again",
        "slot A, 2 tries left",
    ];
    assert_eq!(tried, wanted);
    // RAUC sees the same.
    assert_eq!(["BOOT_ORDER", "BOOT_A_LEFT", "BOOT_B_LEFT"].map(|name| card.get(name)), ["A B", "2", "3"]);
}

#[test]
fn the_boot_loader_does_what_rauc_says_and_loses_no_more_than_the_last_change_in_a_power_cut() {
    let dir = tempfile::tempdir().unwrap();
    let card = Card::blank(dir.path());
    assert_eq!(slots_tried(dir.path(), &card, 1), ["slot A, 2 tries left"]);
    // An update to B was installed, and A was good.
    card.set("BOOT_A_LEFT", "3");
    card.set("BOOT_B_LEFT", "3");
    card.set("BOOT_ORDER", "B A");
    card.set("machine_id", "0123456789abcdef0123456789abcdef");
    assert_eq!(slots_tried(dir.path(), &card, 1), ["slot B, 2 tries left"]);
    assert_eq!(card.get("machine_id"), "0123456789abcdef0123456789abcdef", "it is kept");
    // The power went while the newest of the two was written: half of it is there.
    let mut bytes = fs::read(&card.file).unwrap();
    let (one, other) = (0x10_0000, 0x20_0000);
    let flag = |at: usize| bytes[at + 4];
    let newest = if flag(one).wrapping_sub(flag(other)) < 128 { one } else { other };
    bytes[newest + 64..newest + 4096].fill(0xff);
    fs::write(&card.file, bytes).unwrap();
    assert_eq!(slots_tried(dir.path(), &card, 1), ["slot B, 2 tries left"], "the older one counts");
    assert_eq!(card.get("BOOT_ORDER"), "B A");
}
