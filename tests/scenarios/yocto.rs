//! Yocto's layers agree with the workspace and with themselves: what bitbake would find out only after hours, or never
#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::OnceLock,
};

use xtask::{image::kas::MACHINES, paths, recipes, setup};

/// Boards whose lights and buttons are at pins, and therefore in an overlay.
const WITH_PINS: &[&str] = &["imx8mp-evk", "raspberrypi4", "raspberrypi5", "rk3588"];
/// Boards whose boot loader is U-Boot with its environment in a partition of the disk, and the file that says where.
const WITH_ENVIRONMENT: &[(&str, &str)] = &[
    ("imx8mp-evk", "imx8mp-evk.cfg"),
    ("raspberrypi4", "raspberrypi.cfg"),
    ("raspberrypi5", "raspberrypi.cfg"),
    ("rk3588", "rk3588.cfg"),
];

fn yocto() -> PathBuf {
    paths::root().join("yocto")
}

fn software() -> PathBuf {
    yocto().join("meta-rostrum/recipes-rostrum")
}

fn boards() -> PathBuf {
    yocto().join("meta-rostrum-bsp")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

/// Files below `dir` for which `wanted` holds, sorted.
fn below(dir: &Path, wanted: &dyn Fn(&Path) -> bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display())) {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(below(&path, wanted));
        } else if wanted(&path) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn has_extension(path: &Path, any: &[&str]) -> bool {
    path.extension().is_some_and(|extension| any.iter().any(|one| extension == *one))
}

fn name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

/// The value of `variable` in a recipe: what stands between the quotes, its lines joined.
fn value(recipe: &str, variable: &str) -> Option<String> {
    let joined = recipe.replace("\\\n", " ");
    let line = joined.lines().find_map(|line| {
        let rest = line.strip_prefix(variable)?.trim_start();
        rest.strip_prefix("+=").or_else(|| rest.strip_prefix("?=")).or_else(|| rest.strip_prefix('='))
    })?;
    Some(line.trim().trim_matches('"').trim().to_owned())
}

fn words(recipe: &str, variable: &str) -> Vec<String> {
    value(recipe, variable).unwrap_or_default().split_whitespace().map(str::to_owned).collect()
}

/// The version of the workspace.
fn version() -> String {
    let manifest = read(&paths::root().join("Cargo.toml"));
    let line = manifest.lines().find_map(|line| line.strip_prefix("version = ")).unwrap();
    line.trim_matches('"').to_owned()
}

/// The recipe of a program, with what it includes.
fn program_recipe(recipe: &str) -> String {
    let own = read(&software().join(format!("rostrum/{recipe}_{}.bb", version())));
    own + &read(&software().join("rostrum/rostrum.inc"))
}

/// An entry of install.toml.
#[derive(Debug, Default)]
struct Entry {
    source: String,
    target: String,
    mode: String,
}

fn install_list() -> Vec<Entry> {
    let mut entries = Vec::new();
    for block in read(&yocto().join("meta-rostrum/install.toml")).split("[[file]]").skip(1) {
        let get = |key: &str| {
            let line = block.lines().find_map(|line| line.strip_prefix(key)?.trim().strip_prefix('='));
            line.map(|text| text.trim().trim_matches('"').to_owned()).unwrap_or_default()
        };
        entries.push(Entry { source: get("source"), target: get("target"), mode: get("mode") });
    }
    assert!(!entries.is_empty());
    entries
}

#[test]
fn the_recipes_are_written_as_openembedded_asks() {
    let recipes = below(&yocto(), &|path| has_extension(path, &["bb", "bbappend", "bbclass"]));
    assert!(recipes.len() > 20, "{recipes:?}");
    let mut oelint = Command::new(tools().join("oelint-adv"));
    oelint.args(["--quiet", "--relpaths", "--jobs", "2"]).args(&recipes).current_dir(yocto());
    let found = said(&oelint.output().unwrap());
    // The lists of crates are as OpenEmbedded's own class writes them.
    let ours: Vec<_> = found.lines().filter(|line| !line.contains("-crates.inc:")).collect();
    assert!(ours.is_empty(), "{}", ours.join("\n"));
    // That it read them at all: it finds fault with the lists.
    assert!(found.contains("rostrumd-crates.inc:"), "{found}");
}

/// Folder of kas and oelint-adv, installed by one of the tests that ask.
fn tools() -> &'static Path {
    static TOOLS: OnceLock<PathBuf> = OnceLock::new();
    TOOLS.get_or_init(|| setup::yocto_tools().unwrap())
}

/// Prints kas's view of each file: its schema, its includes merged.
const KAS: &str = r"
import argparse, json, sys
from kas.context import create_global_context
from kas.includehandler import IncludeHandler
create_global_context(argparse.Namespace(no_color=True))
for path in sys.argv[1:]:
    handler = IncludeHandler([path], use_lock=False)
    config, missing = handler.get_config()
    assert not missing, missing
    print(json.dumps(config))
";

#[test]
fn kas_takes_every_board_with_each_layer_at_one_commit() {
    let files: Vec<_> = MACHINES.iter().map(|machine| yocto().join(format!("kas/{machine}.yml"))).collect();
    let output = Command::new(tools().join("python")).args(["-c", KAS]).args(&files).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), MACHINES.len());
    for (line, machine) in text.lines().zip(MACHINES) {
        let config: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(config["machine"], format!("rostrum-{machine}"));
        assert_eq!(config["distro"], "rostrum");
        assert_eq!(config["defaults"]["repos"]["branch"], "wrynose");
        for (name, repository) in config["repos"].as_object().unwrap() {
            if name == "rostrum" {
                continue;
            }
            let commit = repository["commit"].as_str().unwrap_or_default();
            assert!(
                commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit()),
                "{machine}: {name} is at {commit:?}"
            );
            // BitBake's branches are numbers.
            assert!(repository["branch"].is_null() || name == "bitbake", "{machine}: {name}");
        }
    }
}

#[test]
fn the_lists_of_crates_are_those_of_the_lock_file() {
    let lock = read(&paths::root().join("Cargo.lock"));
    for recipe in recipes::RECIPES {
        let list = read(&recipes::crates_file(recipe));
        assert!(
            list == recipes::crates_list(recipe, &lock).unwrap(),
            "{recipe}-crates.inc is not what Cargo.lock says: run `cargo xtask recipes` and commit what it writes"
        );
        let own = read(&software().join(format!("rostrum/{recipe}_{}.bb", version())));
        assert!(own.contains("\nrequire ${BPN}-crates.inc\n"), "{recipe}");
    }
}

#[test]
fn the_recipes_have_the_version_of_the_workspace() {
    let version = version();
    let distro = read(&yocto().join("meta-rostrum/conf/distro/rostrum.conf"));
    assert!(distro.contains(&format!("DISTRO_VERSION = \"{version}${{ROSTRUM_PRERELEASE}}\"")), "{distro}");
    let recipes = below(&yocto(), &|path| has_extension(path, &["bb"]));
    let mut with_version = 0;
    for recipe in &recipes {
        let stem = name(recipe).trim_end_matches(".bb");
        if let Some((_, its)) = stem.split_once('_') {
            assert_eq!(its, version, "{stem}");
            with_version += 1;
        }
    }
    assert!(with_version > 10, "{recipes:?}");
}

#[test]
fn the_recipes_fetch_every_member_of_the_workspace() {
    let manifest = read(&paths::root().join("Cargo.toml"));
    let members = manifest.split("\nmembers = [").nth(1).unwrap().split(']').next().unwrap();
    let members: Vec<_> =
        members.split(',').map(|one| one.trim().trim_matches('"')).filter(|one| !one.is_empty()).collect();
    let shared = read(&software().join("rostrum/rostrum.inc"));
    let fetched: Vec<_> = words(&shared, "SRC_URI")
        .iter()
        .map(|uri| uri.trim_start_matches("file://").trim_end_matches(";subdir=${BP}").to_owned())
        .collect();
    for path in &fetched {
        assert!(paths::root().join(path).exists(), "rostrum.inc fetches {path}, which is not there");
    }
    for member in &members {
        let is_there = |file: &str| fetched.iter().any(|path| Path::new(file).starts_with(path));
        assert!(is_there(&format!("{member}/Cargo.toml")), "rostrum.inc does not fetch {member}");
        let sources = below(&paths::root().join(member), &|path| has_extension(path, &["rs"]));
        for source in sources {
            let source = source.strip_prefix(paths::root()).unwrap().to_str().unwrap();
            assert!(is_there(source), "rostrum.inc does not fetch {source}");
        }
    }
    // And nothing that is no member's: what else there is cargo does not need.
    for path in fetched.iter().filter(|path| paths::root().join(path).is_dir()) {
        let is_a_members = members
            .iter()
            .any(|member| Path::new(path).starts_with(member) || Path::new(member).starts_with(path));
        assert!(is_a_members, "rostrum.inc fetches {path}");
    }
}

/// Programs of the workspace's firmware, by package.
fn programs() -> BTreeMap<String, BTreeSet<String>> {
    let mut programs: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for manifest in below(&paths::root().join("firmware"), &|path| path.ends_with("Cargo.toml")) {
        if manifest.components().any(|part| part.as_os_str() == "node_modules") {
            continue;
        }
        let text = read(&manifest);
        let package = text.lines().find_map(|line| line.strip_prefix("name = ")).unwrap().trim_matches('"');
        let mut found = BTreeSet::new();
        for bin in text.split("[[bin]]").skip(1) {
            let name = bin.lines().find_map(|line| line.strip_prefix("name = ")).unwrap();
            found.insert(name.trim_matches('"').to_owned());
        }
        let sources = manifest.parent().unwrap().join("src");
        if sources.join("main.rs").exists() && found.is_empty() {
            found.insert(package.to_owned());
        }
        if sources.join("bin").exists() {
            for bin in below(&sources.join("bin"), &|path| has_extension(path, &["rs"])) {
                found.insert(name(&bin).trim_end_matches(".rs").to_owned());
            }
        }
        if !found.is_empty() {
            programs.insert(package.to_owned(), found);
        }
    }
    programs
}

#[test]
fn every_program_and_unit_is_installed_by_one_recipe() {
    let mut installed = BTreeMap::new();
    let mut units = BTreeSet::new();
    let common = read(&software().join(format!("rostrum/rostrum-common_{}.bb", version())));
    let common = words(&common, "ROSTRUM_INSTALL_EXCEPT");
    for recipe in recipes::RECIPES {
        let text = program_recipe(recipe);
        let package = value(&text, "ROSTRUM_PACKAGE").unwrap().replace("${BPN}", recipe);
        let names: BTreeSet<_> =
            words(&text, "ROSTRUM_PROGRAMS").iter().map(|one| one.replace("${BPN}", recipe)).collect();
        let enabled = words(&text, "SYSTEMD_SERVICE:${PN}");
        let installed_too = words(&text, "ROSTRUM_UNITS").into_iter().filter(|unit| !unit.contains("${"));
        for unit in enabled.iter().cloned().chain(installed_too) {
            let file = read(&software().join("rostrum/files").join(&unit));
            assert!(text.contains(&format!("file://{unit}")), "{recipe} does not fetch {unit}");
            assert_eq!(file.contains("[Install]"), enabled.contains(&unit), "{recipe}: {unit}");
            if let Some(start) = file.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/bin/")) {
                assert!(names.contains(start.split(' ').next().unwrap()), "{unit} starts {start}");
            }
            assert!(common.contains(&unit), "rostrum-common installs {unit}, too");
            assert!(units.insert(unit.clone()), "{unit} is in two recipes");
        }
        installed.insert(package, names);
    }
    assert_eq!(installed, programs());
    let services = below(&software().join("rostrum/files"), &|path| {
        has_extension(path, &["service", "timer", "path", "socket", "mount"])
    });
    let services: BTreeSet<_> = services.iter().map(|path| name(path).to_owned()).collect();
    assert_eq!(units, services);
}

#[test]
fn the_image_has_the_users_of_sysusers() {
    let recipe = read(&software().join(format!("rostrum/rostrum-common_{}.bb", version())));
    let made = value(&recipe, "USERADD_PARAM:${PN}").unwrap().replace("${localstatedir}", "/var");
    let mut users: BTreeMap<_, _> = BTreeMap::new();
    for user in made.split(';') {
        let words: Vec<_> = user.split_whitespace().collect();
        let home = words.iter().position(|word| *word == "--home-dir").map(|at| words[at + 1]);
        users.insert(words.last().unwrap().to_string(), home.unwrap().to_owned());
    }
    let groups: BTreeSet<_> = value(&recipe, "GROUPADD_PARAM:${PN}")
        .unwrap()
        .split(';')
        .map(|group| group.split_whitespace().last().unwrap().to_owned())
        .collect();
    let mut wanted_users = BTreeMap::new();
    let mut wanted_groups = BTreeSet::new();
    for line in read(&software().join("rostrum/files/rostrum.sysusers")).lines() {
        let mut words = line.split_whitespace();
        match (words.next(), words.next()) {
            (Some("u"), Some(user)) => {
                let home = line.rsplit(' ').find(|word| word.starts_with('/')).unwrap();
                wanted_users.insert(user.to_owned(), home.to_owned());
            }
            (Some("g"), Some(group)) => {
                wanted_groups.insert(group.to_owned());
            }
            _ => {}
        }
    }
    assert_eq!(users, wanted_users);
    assert_eq!(groups, wanted_groups);
}

#[test]
fn every_file_is_installed_by_a_recipe_and_every_file_that_is_installed_exists() {
    // What recipes take by name: the parts of boot loaders, templates and units.
    let mut named = BTreeSet::new();
    for recipe in below(&yocto(), &|path| has_extension(path, &["bb", "bbappend", "inc"])) {
        if name(&recipe).ends_with("-crates.inc") {
            continue;
        }
        let text = read(&recipe);
        for rest in text.split("file://").skip(1) {
            let file: String =
                rest.chars().take_while(|one| !one.is_whitespace() && !"\";\\".contains(*one)).collect();
            let boards: &[&str] = if file.contains("${ROSTRUM_BOARD}") { MACHINES } else { &[""] };
            named.extend(boards.iter().map(|board| file.replace("${ROSTRUM_BOARD}", board)));
        }
    }
    let list = install_list();
    for entry in &list {
        assert!(software().join(&entry.source).exists(), "install.toml names {}", entry.source);
        assert!(entry.target.starts_with('/') && entry.mode.starts_with('0'), "{entry:?}");
    }
    let folders: BTreeSet<_> = list.iter().map(|entry| entry.source.rsplit_once('/').unwrap().0).collect();
    for folder in &folders {
        let recipe = below(&software(), &|path| {
            has_extension(path, &["bb"])
                && read(path).contains(&format!("ROSTRUM_INSTALL_FOLDER = \"{folder}\""))
        });
        // The boot loader's settings of qemu-arm64 are a file of the boot script's folder.
        assert!(!recipe.is_empty(), "no recipe installs {folder}");
    }
    for file in below(&yocto(), &|path| path.parent().is_some_and(|parent| parent.ends_with("files"))) {
        let source = file.strip_prefix(software()).map(|path| path.to_str().unwrap().to_owned());
        let is_listed = source.is_ok_and(|source| list.iter().any(|entry| entry.source == source));
        assert!(is_listed || named.contains(name(&file)), "nothing installs {}", file.display());
    }
}

#[test]
fn the_lights_and_buttons_of_an_overlay_are_those_of_the_boards_profile() {
    let dir = tempfile::tempdir().unwrap();
    let overlays = boards().join("recipes-rostrum/rostrum-overlay/files");
    let profiles = boards().join("recipes-rostrum/rostrum-profile/files");
    let there: Vec<_> =
        below(&overlays, &|_| true).iter().map(|path| name(path).replace(".dts", "")).collect();
    assert_eq!(there, WITH_PINS);
    for board in WITH_PINS {
        let source = overlays.join(format!("{board}.dts"));
        let made = dir.path().join("rostrum.dtbo");
        let output = Command::new("dtc")
            .args(["-@", "-I", "dts", "-O", "dtb", "-o"])
            .arg(&made)
            .arg(&source)
            .output()
            .unwrap();
        // dtc warns of what is doubtful, and still succeeds.
        assert!(output.status.success() && said(&output).is_empty(), "{board}: {}", said(&output));
        let text = read(&source);
        let profile = read(&profiles.join(format!("{board}.toml")));
        assert_eq!(text.matches("function = \"status\"").count(), 2, "{board}");
        for needed in ["red = \"red:status\"", "green = \"green:status\"", "light = \"red:mute\""] {
            assert!(profile.contains(needed), "{board}: {needed}");
        }
        let label = "label = \"rostrum-buttons\"";
        assert!(
            text.contains(label) && profile.matches("device = \"rostrum-buttons\"").count() == 2,
            "{board}"
        );
        // include/uapi/linux/input-event-codes.h.
        for (key, code) in
            [("KEY_PHONE", 169), ("KEY_MICMUTE", 248), ("KEY_VOLUMEUP", 115), ("KEY_VOLUMEDOWN", 114)]
        {
            assert!(text.contains(&format!("{key}.")), "{board}: no {key}");
            assert!(text.contains(&format!("linux,code = <{code}>")), "{board}: no {code}");
            assert!(profile.contains(&format!("= \"{key}\"")), "{board}: {key}");
        }
        assert!(text.contains("linux,input-type = <5>"), "{board} has no switch");
    }
    for board in MACHINES.iter().filter(|board| **board != "qemu-arm64") {
        // As the program reads it.
        let profile = profiles.join(format!("{board}.toml"));
        let config = dir.path().join(format!("{board}.toml"));
        let text = format!(
            "[service]\nurl = \"wss://meet.example.com\"\nchannel = \"a\"\nuser = \"b\"\ntoken_file = \"/t\"\n\
             [board]\nprofile = {:?}\n",
            profile.to_str().unwrap()
        );
        fs::write(&config, text).unwrap();
        let rostrumd = paths::program("debug", "rostrumd");
        let output =
            Command::new(rostrumd).arg("check-config").arg("--config").arg(&config).output().unwrap();
        assert!(output.status.success(), "{board}: {}", said(&output));
        assert!(read(&profile).contains("file = \"/factory/udid\""), "{board}");
    }
}

#[test]
fn the_programs_read_the_configuration_of_the_image() {
    let dir = tempfile::tempdir().unwrap();
    let files = software().join("rostrum-config/files");
    let site = dir.path().join("site.toml");
    fs::write(&site, "[service]\nurl = \"wss://meet.example.com\"\nchannel = \"a\"\nuser = \"b\"\n").unwrap();
    let terminal = read(&files.join("rostrumd.toml.in"));
    for needed in ["profile = \"@PROFILE@\"", "site = \"/factory/site.toml\""] {
        assert!(terminal.contains(needed), "{needed}");
    }
    let terminal =
        terminal.replace("@PROFILE@", "virtual").replace("/factory/site.toml", site.to_str().unwrap());
    let updater = read(&files.join("rostrum-updater.toml"));
    for (program, text) in [("rostrumd", terminal), ("rostrum-updater", updater)] {
        let file = dir.path().join(format!("{program}.toml"));
        fs::write(&file, text).unwrap();
        let mut check = Command::new(paths::program("debug", program));
        let output = check.arg("check-config").arg("--config").arg(&file).output().unwrap();
        assert!(output.status.success(), "{program}: {}", said(&output));
    }
    // The request for a reset is where the system looks for it.
    let path = read(&software().join("rostrum-system/files/rostrum-factory-reset.path"));
    let path = path.lines().find_map(|line| line.strip_prefix("PathExists=")).unwrap();
    assert!(read(&files.join("rostrumd.toml.in")).contains(&format!("request = {path:?}")), "{path}");
}

#[test]
fn the_key_of_the_factory_partition_becomes_a_credential_where_there_is_one() {
    let settings = software().join("rostrum-config/files/rostrum-credentials.tmpfiles");
    for with_key in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("factory")).unwrap();
        if with_key {
            fs::write(dir.path().join("factory/device-key.pem"), "key").unwrap();
        }
        let root = format!("--root={}", dir.path().display());
        let output =
            Command::new("systemd-tmpfiles").args(["--create", &root]).arg(&settings).output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
        assert!(dir.path().join("run/credstore").is_dir());
        assert_eq!(dir.path().join("run/credstore/device-key").exists(), with_key);
    }
    let unit = read(&software().join("rostrum-config/files/50-device-key.conf"));
    assert!(unit.lines().any(|line| line == "ImportCredential=device-key"));
    let terminal = read(&software().join("rostrum-config/files/rostrumd.toml.in"));
    assert!(terminal.contains("file = \"/run/credentials/rostrumd.service/device-key\""), "{terminal}");
}

/// A partition of a wks file: name in the table, start in KiB where the file says it, size in MiB.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Partition {
    name: String,
    line: String,
    start_kib: u64,
    size_kib: u64,
}

/// A size as wic reads it: MiB without a unit, 512 bytes with `s`.
fn kib(text: &str) -> u64 {
    let (digits, unit) = text.split_at(text.find(|one: char| !one.is_ascii_digit()).unwrap_or(text.len()));
    let number: u64 = digits.parse().unwrap();
    match unit {
        "s" => number / 2,
        "K" => number,
        "M" | "" => number * 1024,
        "G" => number * 1024 * 1024,
        other => panic!("{other} is no unit of wic"),
    }
}

/// The partitions of a board's disk, where wic puts them.
fn layout(board: &str) -> Vec<Partition> {
    let text = read(&boards().join(format!("files/wic/{board}.wks")));
    assert!(text.contains("\nbootloader --ptable gpt"), "{board}");
    let mut at_kib: u64 = 0;
    let mut partitions = Vec::new();
    for line in text.lines().filter(|line| line.starts_with("part ")) {
        let words: Vec<_> = line.split_whitespace().collect();
        let option = |name: &str| words.iter().position(|word| *word == name).map(|at| words[at + 1]);
        if words.contains(&"--no-table") {
            continue;
        }
        let start_kib = match (option("--offset"), option("--align")) {
            (Some(offset), _) => kib(offset),
            // The partition table is before the first.
            (None, Some(align)) => at_kib.max(1).next_multiple_of(align.parse().unwrap()),
            (None, None) => panic!("{board}: {line} has no place"),
        };
        assert!(start_kib >= at_kib, "{board}: {line} overlaps what is before it");
        let size_kib = kib(option("--fixed-size").unwrap_or_else(|| panic!("{board}: {line} has no size")));
        at_kib = start_kib + size_kib;
        let name = option("--part-name").unwrap_or_else(|| panic!("{board}: {line} has no name")).to_owned();
        partitions.push(Partition { name, line: line.to_owned(), start_kib, size_kib });
    }
    partitions
}

#[test]
fn every_board_has_the_same_two_slots_and_what_goes_with_them() {
    let slots = read(&software().join("rauc/files/system.conf.in"));
    let slots: Vec<_> =
        slots.lines().filter_map(|line| line.strip_prefix("device=/dev/disk/by-partlabel/")).collect();
    assert_eq!(slots, ["system-a", "system-b"]);
    let size = read(&software().join("images/rostrum-image.inc"));
    let size: u64 = value(&size, "ROSTRUM_SLOT_MIB").unwrap().parse().unwrap();
    let grown = read(&software().join("rostrum-system/files/50-data.conf"));
    let grown = grown.lines().find_map(|line| line.strip_prefix("Type=")).unwrap().to_lowercase();
    let of_qemu = layout("qemu-arm64");
    let files = below(&boards().join("files/wic"), &|path| has_extension(path, &["wks"]));
    assert_eq!(files.iter().map(|path| name(path).trim_end_matches(".wks")).collect::<Vec<_>>(), MACHINES);
    for board in MACHINES {
        let partitions = layout(board);
        let names: Vec<_> = partitions.iter().map(|one| one.name.as_str()).collect();
        let ours: Vec<_> =
            names.iter().copied().filter(|name| !["loader1", "loader2", "env"].contains(name)).collect();
        assert_eq!(ours, ["boot", "factory", "system-a", "system-b", "data"], "{board}");
        let one = |name: &str| partitions.iter().find(|one| one.name == name).unwrap();
        for slot in &slots {
            assert_eq!(one(slot).size_kib, size * 1024, "{board}: {slot}");
        }
        assert!(one("system-a").line.contains("--source rootfs"), "{board}");
        for name in ["factory", "data", "system-a", "system-b"] {
            let of_qemu = of_qemu.iter().find(|one| one.name == name).unwrap();
            assert_eq!(one(name).size_kib, of_qemu.size_kib, "{board}: {name} is not as QEMU's");
        }
        // The one that systemd-repart looks for, and the last, so that it can grow.
        assert!(one("data").line.contains(&format!("--part-type {grown}")), "{board}: {}", one("data").line);
        assert_eq!(names.last(), Some(&"data"), "{board}");
        let has_env = WITH_ENVIRONMENT.iter().any(|(of, _)| of == board);
        assert_eq!(names.contains(&"env"), has_env, "{board}");
    }
}

#[test]
fn linux_and_the_boot_loader_look_for_the_environment_at_the_same_place() {
    let linux = read(&boards().join("recipes-rostrum/rostrum-fw-env/files/fw_env.config"));
    let number = |text: &str| u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap();
    let copies: Vec<Vec<u64>> = linux
        .lines()
        .filter_map(|line| line.strip_prefix("/dev/disk/by-partlabel/env "))
        .map(|line| line.split(' ').map(number).collect())
        .collect();
    assert_eq!(copies.len(), 2, "{linux}");
    for (board, settings) in WITH_ENVIRONMENT {
        let env = layout(board).into_iter().find(|one| one.name == "env").unwrap();
        let settings = read(&boards().join("recipes-bsp/u-boot/files").join(settings));
        let setting = |name: &str| {
            let line = settings.lines().find_map(|line| line.strip_prefix(&format!("CONFIG_{name}=")));
            number(line.unwrap_or_else(|| panic!("{board} lacks {name}")))
        };
        let start = env.start_kib * 1024;
        assert_eq!(setting("ENV_OFFSET"), start + copies[0][0], "{board}");
        assert_eq!(setting("ENV_OFFSET_REDUND"), start + copies[1][0], "{board}");
        for copy in &copies {
            assert_eq!(setting("ENV_SIZE"), copy[1], "{board}");
            assert!(copy[0] + copy[1] <= env.size_kib * 1024, "{board}");
        }
        let command = settings.lines().find_map(|line| line.strip_prefix("CONFIG_BOOTCOMMAND=")).unwrap();
        assert!(command.contains("#boot ") && command.contains("source "), "{board}: {command}");
        for word in ["devtype", "devnum", "rostrum_bootargs"] {
            assert!(command.contains(&format!("setenv {word} ")), "{board}: boot.cmd wants {word}");
        }
    }
    let shared = read(&boards().join("recipes-bsp/u-boot/files/rostrum.cfg"));
    for needed in ["CONFIG_ENV_REDUNDANT=y", "CONFIG_SYS_REDUNDAND_ENVIRONMENT=y", "CONFIG_CMD_SETEXPR=y"] {
        assert!(shared.contains(needed), "{needed}");
    }
}

#[test]
fn grub_reads_its_configuration_and_finds_the_slots_where_the_disk_has_them() {
    let file = boards().join("recipes-rostrum/rostrum-grub/files/grub.cfg");
    let output = Command::new("grub-script-check").arg(&file).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let text = read(&file);
    let partitions = layout("pc-x86-64");
    for slot in ["system-a", "system-b"] {
        let number = partitions.iter().position(|one| one.name == slot).unwrap() + 1;
        let choice = format!("\tset root=\"$disk,gpt{number}\"\n\tset system={slot}\n");
        assert!(text.contains(&choice), "{choice}");
    }
}

#[test]
fn every_board_is_a_machine_of_the_layer() {
    let machines = below(&boards(), &|path| {
        has_extension(path, &["conf"]) && path.parent().unwrap().ends_with("machine")
    });
    let names: BTreeSet<_> =
        machines.iter().map(|path| name(path).trim_end_matches(".conf").to_owned()).collect();
    let wanted: BTreeSet<_> = MACHINES.iter().map(|board| format!("rostrum-{board}")).collect();
    assert_eq!(names, wanted);
    for layer in ["meta-rostrum", "meta-rostrum-bsp"] {
        let conf = read(&yocto().join(layer).join("conf/layer.conf"));
        assert!(conf.contains("LAYERSERIES_COMPAT_") && conf.contains("= \"wrynose\""), "{layer}");
        assert!(
            yocto().join(layer).join("README.md").exists()
                && yocto().join(layer).join("SECURITY.md").exists()
        );
    }
}
