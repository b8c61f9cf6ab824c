//! The bench: a disk gets its name, key and site, its label is read by a scanner, and the terminal joins by what is on the disk
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use rostrum_tests::{
    Lab,
    lab::{CHANNEL, PATIENCE},
    until,
};
use serde_json::{Value, json};
use xtask::{paths, process::Running, room::Panel};

const SITE: &str =
    "time_zone = \"Europe/Berlin\"\n[service]\nurl = \"ws://127.0.0.1:1\"\nchannel = \"elsewhere\"\n";

/// A bench: its key, its record, a site file and disks.
struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        // In memory where that is to be had: a busy disk takes a second for each sync.
        let memory = Some(Path::new("/dev/shm")).filter(|folder| folder.is_dir());
        let dir = memory.map_or_else(tempfile::tempdir, tempfile::tempdir_in).unwrap();
        let bench = Self { dir };
        let public = bench.run(&["bench-key"]).unwrap();
        fs::write(bench.path("bench.pub"), public).unwrap();
        fs::write(bench.path("site.toml"), SITE).unwrap();
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(paths::program("debug", "rostrum-provision"));
        command.args(arguments).current_dir(self.dir.path()).env("TMPDIR", self.dir.path());
        command
    }

    /// What it prints, or why it does not.
    fn run(&self, arguments: &[&str]) -> Result<String, String> {
        let output = self.command(arguments).output().unwrap();
        if output.status.success() { Ok(said(&output)) } else { Err(said(&output)) }
    }

    /// A flashed disk, with the partitions of a terminal.
    fn disk(&self, name: &str) -> PathBuf {
        self.disk_of(name, 1, 64)
    }

    /// The same with a partition of `boot` MiB before the factory's, on a disk of `size` MiB.
    fn disk_of(&self, name: &str, boot: u64, size: u64) -> PathBuf {
        let disk = self.path(name);
        fs::File::create(&disk).unwrap().set_len(size << 20).unwrap();
        let table = format!(
            "label: gpt\nsize={boot}MiB, name=boot\nsize=16MiB, name=factory\nsize=4MiB, name=system-a\nname=data\n"
        );
        let mut sfdisk = Command::new("sfdisk");
        sfdisk.args(["-q", "--no-reread", "--no-tell-kernel"]).arg(&disk).stdin(Stdio::piped());
        let mut sfdisk = sfdisk.env("PATH", root_path()).spawn().unwrap();
        std::io::Write::write_all(&mut sfdisk.stdin.take().unwrap(), table.as_bytes()).unwrap();
        assert!(sfdisk.wait().unwrap().success());
        disk
    }

    fn write(&self, disk: &str, more: &[&str]) -> Result<String, String> {
        self.run(&[&["write", disk, "--site", "site.toml"], more].concat())
    }

    fn verify(&self, disk: &str) -> Result<Value, String> {
        let told = self.run(&["verify", disk, "--public", "bench.pub", "--json"])?;
        Ok(serde_json::from_str(&told).unwrap())
    }

    /// All names that the record gave away.
    fn given(&self) -> Vec<String> {
        let record = fs::read_to_string(self.path("record.jsonl")).unwrap_or_default();
        let entries = record.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let names =
            entries.filter_map(|line| line["entry"]["event"]["given"]["udid"].as_str().map(str::to_owned));
        names.collect()
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).trim().to_owned()
}

fn root_path() -> String {
    format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default())
}

/// Runs a program that knows nothing of ours, and gives what it printed.
fn other(program: &str, dir: &Path, arguments: &[&str]) -> String {
    let output =
        Command::new(program).args(arguments).current_dir(dir).env("PATH", root_path()).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", said(&output));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn a_name_is_written_once_proved_and_never_given_to_a_second_disk() {
    let bench = Bench::new();
    for disk in ["one.img", "two.img"] {
        bench.disk(disk);
    }
    let told = bench
        .write("one.img", &["--udid", "T-1", "--channel", "room-7", "--display-name", "Room-7"])
        .unwrap();
    let one = bench.verify("one.img").unwrap();
    assert!(told.contains("udid T-1") && told.contains(one["public_key"].as_str().unwrap()), "{told}");
    assert_eq!((&one["udid"], &one["site"]["service"]["channel"]), (&json!("T-1"), &json!("room-7")));
    assert_eq!(one["site"]["service"]["url"], "ws://127.0.0.1:1/");

    // Neither the name on another disk nor another name on the disk.
    let before = fs::read(bench.path("two.img")).unwrap();
    let used = bench.write("two.img", &["--udid", "T-1"]).unwrap_err();
    assert!(used.contains("line 1 of the record") && used.contains("--replace"), "{used}");
    assert!(fs::read(bench.path("two.img")).unwrap() == before, "a refused write wrote");
    let owned = bench.write("one.img", &["--udid", "T-2"]).unwrap_err();
    assert!(owned.contains("terminal T-1 already"), "{owned}");
    bench.write("two.img", &["--udid", "T-1", "--replace", "--no-device-key"]).unwrap();
    assert_eq!(bench.verify("two.img").unwrap()["public_key"], Value::Null);

    // Names by number go on after the last.
    for (disk, name) in [("three.img", "ROOM-0007"), ("four.img", "ROOM-0008")] {
        bench.disk(disk);
        let told = bench.write(disk, &["--prefix", "ROOM-", "--serial-from", "7"]).unwrap();
        assert!(told.contains(name), "{told}");
    }
    assert_eq!(bench.given(), ["T-1", "T-1", "ROOM-0007", "ROOM-0008"]);

    // The rest of the disk is as it was.
    let (mut one, two) = (fs::read(bench.path("one.img")).unwrap(), before);
    one[2 << 20..18 << 20].copy_from_slice(&two[2 << 20..18 << 20]);
    let differs = |range: std::ops::Range<usize>| one[range.clone()] != two[range];
    assert!(!differs(36_864..one.len() - 65_536), "it wrote outside of the factory partition");

    // What was changed on the disk is found: by a checksum, or by the record's signature.
    let mut changed = fs::read(bench.path("two.img")).unwrap();
    let site = changed.windows(8).position(|bytes| bytes == b"Europe/B").unwrap();
    changed[site..site + 8].copy_from_slice(b"Europe/L");
    fs::write(bench.path("two.img"), changed).unwrap();
    let found = bench.verify("two.img").unwrap_err();
    assert!(found.contains("site.toml was changed"), "{found}");
}

#[test]
fn a_disk_that_is_none_of_a_terminal_or_in_use_is_not_written() {
    let bench = Bench::new();
    fs::write(bench.path("none.img"), vec![0; 1 << 20]).unwrap();
    let none = bench.write("none.img", &["--udid", "T-1"]).unwrap_err();
    assert!(none.contains("no partition table"), "{none}");
    let disk = bench.disk("used.img");
    let attached = Command::new("losetup")
        .args(["--find", "--show"])
        .arg(&disk)
        .env("PATH", root_path())
        .output()
        .unwrap();
    if attached.status.success() {
        let device = said(&attached);
        let refused = bench.write("used.img", &["--udid", "T-1"]);
        other("losetup", bench.dir.path(), &["-d", &device]);
        let refused = refused.unwrap_err();
        assert!(refused.contains("in use") && refused.contains(&device), "{refused}");
    } else {
        // A container may have no loop devices; the unit test of `disk` has the same with a folder in the place of /sys.
        println!("not tested on this machine, as it has no loop devices: {}", said(&attached));
    }
    assert!(bench.given().is_empty(), "a name was given away for nothing");
}

#[test]
fn a_bench_that_ends_between_record_and_disk_does_not_give_the_name_away_again() {
    let bench = Bench::new();
    bench.disk_of("one.img", 100, 160);
    // The kernel ends it (SIGXFSZ) where the disk is to be written: that is beyond the limit, and the record is not.
    let program = paths::program("debug", "rostrum-provision");
    let write = "write one.img --site site.toml --udid T-1";
    let limited = format!("ulimit -c 0; ulimit -f 65536; exec {} {write}", program.display());
    let ended = Command::new("bash").args(["-c", &limited]).current_dir(bench.dir.path()).status().unwrap();
    assert!(
        !ended.success() && bench.given() == ["T-1"],
        "it did not end there: {ended}, {:?}",
        bench.given()
    );
    assert!(bench.verify("one.img").is_err());
    let used = bench.write("one.img", &["--udid", "T-1"]).unwrap_err();
    assert!(used.contains("writing it was not finished"), "{used}");
    // Names by number do not fall back to it either.
    assert!(bench.write("one.img", &["--prefix", "T-", "--digits", "1"]).unwrap().contains("udid T-2"));
    bench.write("one.img", &["--udid", "T-1", "--replace"]).unwrap();
    assert_eq!(bench.verify("one.img").unwrap()["udid"], "T-1");
}

#[test]
fn a_bench_that_is_killed_anywhere_gives_no_name_to_two_disks() {
    let bench = Bench::new();
    let took = {
        bench.disk("first.img");
        let begun = Instant::now();
        bench.write("first.img", &["--udid", "FIRST"]).unwrap();
        begun.elapsed()
    };
    let (mut cut, mut unfinished) = (0, 0);
    for run in 0..10_u32 {
        let (name, disk) = (format!("T-{run}"), format!("{run}.img"));
        bench.disk(&disk);
        let length = fs::metadata(bench.path("record.jsonl")).unwrap().len();
        let mut program = bench.command(&["write", &disk, "--site", "site.toml", "--udid", &name]);
        let mut program = program.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // At times over all of it, and in every other run as soon as the name is in the record and not yet on the disk.
        // The time is what is tested.
        if run % 2 == 0 {
            std::thread::sleep(took * run / 9);
        } else {
            // More often than `until` looks.
            let begun = Instant::now();
            while fs::metadata(bench.path("record.jsonl")).unwrap().len() == length
                && begun.elapsed() < PATIENCE
            {
                std::thread::sleep(Duration::from_micros(200));
            }
            std::thread::sleep(Duration::from_millis(u64::from(run)));
        }
        program.kill().unwrap();
        cut += u32::from(!program.wait().unwrap().success());
        let given = bench.given().contains(&name);
        let written = bench.verify(&disk).is_ok();
        assert!(given || !written, "{name} is on a disk, and not in the record");
        unfinished += u32::from(given && !written);
        // The same command again: refused when the name may be on a disk; with --replace it is done.
        let again = bench.write(&disk, &["--udid", &name]);
        assert_eq!(again.is_ok(), !given, "{name}: {again:?}");
        bench.write(&disk, &["--udid", &name, "--replace"]).unwrap();
        assert_eq!(bench.verify(&disk).unwrap()["udid"], name.as_str());
        fs::remove_file(bench.path(&disk)).unwrap();
    }
    println!("{cut} of 10 were cut, {unfinished} between record and disk");
    assert!(cut > 0, "none was cut");
}

#[test]
fn benches_that_share_a_record_give_every_disk_another_name() {
    let bench = Bench::new();
    let disks: Vec<_> = (0..6).map(|number| format!("{number}.img")).collect();
    for disk in &disks {
        bench.disk(disk);
    }
    std::thread::scope(|scope| {
        for disk in &disks {
            let bench = &bench;
            scope.spawn(move || {
                until("the record", 3 * PATIENCE, || match bench.write(disk, &["--prefix", "R-"]) {
                    Ok(_) => Ok(Some(())),
                    Err(error) if error.contains("in use by another rostrum-provision") => Ok(None),
                    Err(error) => panic!("{error}"),
                })
                .unwrap();
            });
        }
    });
    let names: BTreeSet<_> =
        disks.iter().map(|disk| bench.verify(disk).unwrap()["udid"].as_str().unwrap().to_owned()).collect();
    assert_eq!(names.len(), disks.len(), "{names:?}");
}

#[test]
fn a_scanner_reads_the_label_as_it_is_printed_and_as_it_is_drawn() {
    let bench = Bench::new();
    let longest = "W".repeat(64);
    let key = "A".repeat(44);
    for name in ["ROOM-0001", &longest] {
        bench.run(&["label", "--udid", name, "--device-key", &key]).unwrap();
        let (png, svg) = (format!("{name}.png"), format!("{name}.svg"));
        let drawn = format!("{name}.drawn.png");
        // As a phone sees it, at half the dots of the printer.
        other("rsvg-convert", bench.dir.path(), &["--width", "600", "--output", &drawn, &svg]);
        for picture in [&png, &drawn] {
            let read = other("zbarimg", bench.dir.path(), &["--quiet", "--raw", picture]);
            assert_eq!(read, format!("rostrum:{name}?key={key}"), "{picture}");
        }
        let header = fs::read(bench.path(&png)).unwrap();
        assert_eq!(
            header[16..24],
            [0, 0, 600_u16.to_be_bytes()[0], 88, 0, 0, 300_u16.to_be_bytes()[0], 44],
            "600 by 300"
        );
    }
    // From a disk, after it was proved.
    bench.disk("one.img");
    bench.write("one.img", &["--udid", "T-1"]).unwrap();
    bench.run(&["label", "--disk", "one.img", "--public", "bench.pub"]).unwrap();
    let public_key = bench.verify("one.img").unwrap()["public_key"].as_str().unwrap().to_owned();
    let read = other("zbarimg", bench.dir.path(), &["--quiet", "--raw", "T-1.png"]);
    assert_eq!(read, format!("rostrum:T-1?key={public_key}"));
}

#[test]
fn an_image_is_flashed_by_its_map_and_known_by_its_checksum_and_signature() {
    let bench = Bench::new();
    // Mostly holes, as images are; the last block is not whole.
    let image = bench.path("image.wic");
    let file = fs::File::create(&image).unwrap();
    file.set_len((1 << 29) + 100).unwrap();
    for (at, byte) in [(0, 1_u8), (5 << 20, 2), (300 << 20, 3), ((1 << 29) + 50, 4)] {
        std::os::unix::fs::FileExt::write_all_at(&file, &[byte; 50], at).unwrap();
    }
    // With less memory than the image has bytes.
    let program = paths::program("debug", "rostrum-provision");
    let limited = format!("ulimit -v 262144; exec {} seal image.wic", program.display());
    let told = other("bash", bench.dir.path(), &["-c", &limited]);
    assert!(told.contains("image.wic.bmap"), "{told}");

    other("sha256sum", bench.dir.path(), &["--check", "image.wic.sha256"]);
    let verify = ["dgst", "-sha256", "-verify", "bench.pub", "-signature", "image.wic.sig", "image.wic"];
    assert!(other("openssl", bench.dir.path(), &verify).contains("Verified OK"));
    fs::File::create(bench.path("card")).unwrap();
    other("bmaptool", bench.dir.path(), &["copy", "--bmap", "image.wic.bmap", "image.wic", "card"]);
    other("cmp", bench.dir.path(), &["image.wic", "card"]);
    let mapped = fs::read_to_string(bench.path("image.wic.bmap")).unwrap();
    let mapped = mapped.split("<MappedBlocksCount> ").nth(1).unwrap().split(' ').next().unwrap();
    assert!(mapped.parse::<u64>().unwrap() < 1000, "the holes are in the map: {mapped} blocks");

    // Compressed, it has no map of its own: bmaptool takes that of what is in it.
    other("gzip", bench.dir.path(), &["--fast", "--keep", "image.wic"]);
    let told = bench.run(&["seal", "image.wic.gz"]).unwrap();
    assert!(!told.contains("bmap") && !bench.path("image.wic.gz.bmap").exists(), "{told}");
    other("sha256sum", bench.dir.path(), &["--check", "image.wic.gz.sha256"]);
    fs::File::create(bench.path("card")).unwrap();
    other("bmaptool", bench.dir.path(), &["copy", "image.wic.gz", "card"]);
    other("cmp", bench.dir.path(), &["image.wic", "card"]);

    // bmaptool finds a block that was changed, and a changed map.
    std::os::unix::fs::FileExt::write_all_at(&file, &[9], 5 << 20).unwrap();
    let copy = |map: &str| {
        let arguments = ["copy", "--bmap", map, "image.wic", "card"];
        Command::new("bmaptool").args(arguments).current_dir(bench.dir.path()).output().unwrap()
    };
    let changed = copy("image.wic.bmap");
    assert!(!changed.status.success() && said(&changed).contains("checksum"), "{}", said(&changed));
    let map = fs::read_to_string(bench.path("image.wic.bmap")).unwrap();
    fs::write(bench.path("changed.bmap"), map.replace("<BlockSize> 4096", "<BlockSize> 2048")).unwrap();
    assert!(!copy("changed.bmap").status.success());
}

#[test]
fn a_terminal_that_no_bench_has_seen_says_so_and_stays_up() {
    let bench = Bench::new();
    let config = bench.path("rostrumd.toml");
    let text = format!(
        "data_dir = {:?}\nsite = {:?}\n[service]\ntoken_file = \"token\"\n[board]\nprofile = \"virtual\"\n",
        bench.path("data"),
        bench.path("no-site.toml"),
    );
    fs::write(&config, text).unwrap();
    let mut rostrumd = Command::new(paths::program("debug", "rostrumd"));
    rostrumd.arg("--config").arg(&config);
    let mut program = Running::start("rostrumd", bench.path("log"), &mut rostrumd).unwrap();
    let told = program
        .line(Duration::from_secs(30), |line| {
            line.strip_prefix("rostrumd not provisioned: ").map(str::to_owned)
        })
        .unwrap();
    assert!(told.contains("service.url") && told.contains("rostrum-provision"), "{told}");
    // The time is what is tested: a program that ends is started again, and counts as broken in the end.
    std::thread::sleep(Duration::from_secs(2));
    program.signal("TERM").unwrap();
    assert!(program.wait(Duration::from_secs(5)).unwrap().success());
}

#[test]
fn a_terminal_joins_by_nothing_but_what_the_bench_wrote() {
    let lab = Lab::new().unwrap();
    let bench = Bench::new();
    fs::write(
        bench.path("site.toml"),
        format!("[service]\nurl = \"{}\"\n[network]\nntp = [\"192.0.2.3\"]\n", lab.service.url),
    )
    .unwrap();
    fs::write(bench.path("token"), "secret-of-one-target\n").unwrap();
    bench.disk("one.img");
    let more = ["--channel", CHANNEL, "--display-name", "Room-7", "--update-token", "token"];
    let write = [&["--udid", "T-1"][..], &more].concat();
    assert!(
        bench.write("one.img", &write).unwrap_err().contains("chmod 600"),
        "everybody may read the token"
    );
    fs::set_permissions(bench.path("token"), fs::Permissions::from_mode(0o600)).unwrap();
    bench.write("one.img", &write).unwrap();
    let record = fs::read_to_string(bench.path("record.jsonl")).unwrap();
    assert!(!record.contains("secret-of-one-target") && !record.contains("PRIVATE KEY"), "{record}");

    // The service learns of it from the bench.
    let credentials = bench.path("credentials");
    fs::write(&credentials, format!("{}:{}", lab.service.app_id, lab.service.app_key)).unwrap();
    fs::set_permissions(&credentials, fs::Permissions::from_mode(0o600)).unwrap();
    let register = ["register", "one.img", "--public", "bench.pub", "--channel", CHANNEL];
    let printed = bench.run(&register).unwrap();
    assert!(printed.starts_with("PUT /api/v1/devices/T-1\n{"), "{printed}");
    let to_service = ["--service", &lab.service.url, "--credentials", "credentials"];
    bench.run(&[&register[..], &to_service].concat()).unwrap();
    fs::write(&credentials, "stranger:key").unwrap();
    assert!(bench.run(&[&register[..], &to_service].concat()).is_err(), "a stranger registered it");

    // The partition as the kernel would show it, at /factory.
    let factory = bench.path("factory");
    fs::create_dir(&factory).unwrap();
    other(
        "dd",
        bench.dir.path(),
        &["if=one.img", "of=factory.ext4", "bs=1M", "skip=2", "count=16", "status=none"],
    );
    other("fsck.ext4", bench.dir.path(), &["-f", "-n", "factory.ext4"]);
    other("debugfs", bench.dir.path(), &["-R", "rdump / factory", "factory.ext4"]);
    let network = fs::read_to_string(factory.join("site.network")).unwrap();
    assert!(network.contains("\nDHCP=yes\nNTP=192.0.2.3\n"), "{network}");
    assert_eq!(fs::read_to_string(factory.join("update-token")).unwrap(), "secret-of-one-target\n");
    let virtual_board = fs::read_to_string(paths::root().join("board/profiles/virtual.toml")).unwrap();
    let (board, _) = virtual_board.split_once("[identity]").unwrap();
    let identity = format!("{board}[identity]\ndriver = \"factory\"\nfile = {:?}\n", factory.join("udid"));
    fs::write(bench.path("board.toml"), identity).unwrap();
    let config = bench.path("rostrumd.toml");
    let text = format!(
        "data_dir = {:?}\nsite = {:?}\n[service]\ndevice_key = {{ file = {:?} }}\n[board]\nprofile = {:?}\n\
         [panel]\nlisten = \"127.0.0.1:0\"\n",
        bench.path("data"),
        factory.join("site.toml"),
        factory.join("device-key.pem"),
        bench.path("board.toml"),
    );
    fs::write(&config, text).unwrap();
    let mut rostrumd = Command::new(paths::program("debug", "rostrumd"));
    rostrumd.arg("--config").arg(&config);
    let mut program = Running::start("rostrumd", bench.path("log"), &mut rostrumd).unwrap();
    let url = program
        .line(Duration::from_secs(30), |line| line.strip_prefix("rostrumd ready panel=").map(str::to_owned))
        .unwrap();
    let panel = Panel::at(url);
    panel.api("POST", "/join", Some(&json!({}))).unwrap();
    panel
        .wait_for("the room in its channel", PATIENCE, |state| state["room"]["phase"] == "in_channel")
        .unwrap();
    let channel = lab.service.api("GET", &format!("/api/v1/channels/{CHANNEL}"), None).unwrap();
    let room = &channel["participants"][0];
    assert_eq!((&room["udid"], &room["user"]), (&json!("T-1"), &json!("T-1")), "{channel}");
    assert_eq!(panel.state().unwrap()["display_name"], "Room-7");
}
