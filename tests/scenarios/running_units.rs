//! The units under a systemd that runs, in namespaces of its own: what pauses, restarts and may write to lights
#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(60);
/// Runs as the first process of new namespaces, and becomes systemd: this machine's files with a layer over them that is
/// gone with it, and none of this machine's units but those that systemd needs. `$1` is a folder, `$2` what to add.
const BECOME_SYSTEMD: &str = r#"set -e
mount --make-rprivate /
mount -t tmpfs tmpfs "$1"
mkdir "$1/changes" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/changes,workdir=$1/work" "$1/root"
cd "$1/root"
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
for place in run tmp dev; do mount -t tmpfs tmpfs $place; done
for device in null zero full random urandom tty; do touch dev/$device; mount --bind /dev/$device dev/$device; done
mkdir dev/pts dev/shm
mount -t devpts devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
: > etc/machine-id
cp -r "$2/." etc/systemd/system
cp "$3" etc/sysusers-of-ours.conf
mkdir mnt/before
pivot_root . mnt/before
cd /
umount -l /mnt/before
# As the machine's first systemd does it: credentials come by a mount that is passed on.
mount --make-rshared /
exec env -i container=rostrum PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --unit=proof.target < /dev/null"#;

fn ours() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap().join("yocto/meta-rostrum/recipes-rostrum")
}

/// A systemd that ends with the test. It needs root.
struct System {
    unshare: Child,
    first: String,
    dir: PathBuf,
    group: PathBuf,
}

impl System {
    /// Starts one that has `units` of ours, by their place below `recipes-rostrum`, and `stand_ins`: name and content.
    fn start(name: &str, units: &[&str], stand_ins: &[(&str, &str)]) -> Self {
        let dir = std::env::temp_dir().join(format!("rostrum-units-{}-{name}", std::process::id()));
        let (root, added) = (dir.join("root"), dir.join("units"));
        fs::create_dir_all(&root).unwrap();
        fs::create_dir_all(&added).unwrap();
        for unit in units {
            let file = ours().join(unit);
            fs::copy(&file, added.join(file.file_name().unwrap())).unwrap();
        }
        let target = ("proof.target", "[Unit]\nRequires=dbus.socket\nAfter=dbus.socket\n");
        for (name, text) in stand_ins.iter().chain([&target]) {
            fs::create_dir_all(added.join(name).parent().unwrap()).unwrap();
            fs::write(added.join(name), text).unwrap();
        }
        // Two systemds that both think the root of the control groups theirs would take each other's processes.
        let group = control_groups().join(dir.file_name().unwrap());
        fs::create_dir_all(&group).unwrap();
        let join = "echo $$ > \"$0/cgroup.procs\" && exec unshare --kill-child=KILL --fork --mount --pid --cgroup \
                    --uts --ipc --net sh -c \"$@\"";
        let unshare = Command::new("sh")
            .args(["-c", join])
            .arg(&group)
            .args([BECOME_SYSTEMD, "sh"])
            .arg(&root)
            .arg(&added)
            .arg(ours().join("rostrum/files/rostrum.sysusers"))
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let children = format!("/proc/{0}/task/{0}/children", unshare.id());
        let mut system = Self { unshare, first: String::new(), dir, group };
        wait_for("a first process", || {
            fs::read_to_string(&children)
                .unwrap()
                .split_whitespace()
                .next()
                .map(|pid| system.first = pid.into())
        });
        wait_for("systemd", || system.run("systemctl is-active proof.target").ok());
        system
    }

    /// Copies a file of this machine, wherever it is, to `to` in it.
    fn put(&self, from: &Path, to: &str) {
        fs::copy(from, format!("/proc/{}/root{to}", self.first)).unwrap();
    }

    /// What a line of shell says in it, or said when it failed.
    fn run(&self, line: &str) -> Result<String, String> {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.first, "--all", "sh", "-c", line]).stdin(Stdio::null());
        let output = command.output().unwrap();
        let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        match output.status.success() {
            true => Ok(said(&output.stdout)),
            false => Err(format!("{line}: {} {}", said(&output.stdout), said(&output.stderr))),
        }
    }

    /// Waits until it has ended, as a machine does that starts again.
    fn starts_again(&mut self, within: Duration) -> bool {
        let start = Instant::now();
        while start.elapsed() < within {
            if self.unshare.try_wait().unwrap().is_some() {
                return true;
            }
            sleep(Duration::from_millis(50));
        }
        false
    }
}

impl Drop for System {
    fn drop(&mut self) {
        let _ = self.unshare.kill();
        let _ = self.unshare.wait();
        // Its processes end a moment after its first one.
        let empty = |_: &u32| {
            sleep(Duration::from_millis(20));
            let mut remove = Command::new("find");
            let removed = remove.arg(&self.group).args(["-depth", "-type", "d", "-exec", "rmdir", "{}", ";"]);
            removed.stderr(Stdio::null()).status().is_ok() && !self.group.exists()
        };
        let _ = (0..100).find(empty);
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Where this machine has its control groups of version 2.
fn control_groups() -> PathBuf {
    let mounts = fs::read_to_string("/proc/mounts").unwrap();
    let mut words = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    words
        .find(|words| words[2] == "cgroup2")
        .map(|words| words[1].into())
        .expect("no control groups of version 2")
}

fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        sleep(Duration::from_millis(50));
    }
}

const HOLD: &[&str] =
    &["rostrum-system/files/rostrum-hold.path", "rostrum-system/files/rostrum-hold.service"];
const REBOOT: &[&str] =
    &["rostrum-system/files/rostrum-reboot.path", "rostrum-system/files/rostrum-reboot.service"];
const TRIAL: &[&str] = &["rostrum/files/rostrum-trial.service"];
/// Writes all the time, as RAUC does in an installation.
const WRITES: (&str, &str) = (
    "rauc.service",
    "[Service]\nExecStart=/bin/sh -c 'n=0; while :; do n=$$((n+1)); echo $$n > /run/written; sleep 0.02; done'\n",
);
const UPDATER: (&str, &str) = ("rostrum-updater.service", "[Service]\nExecStart=/bin/sleep infinity\n");
fn held(system: &System) {
    system.run("systemctl start rauc.service rostrum-hold.path && mkdir -p /run/rostrum-updater").unwrap();
    wait_for("RAUC writes", || system.run("grep -q '[5-9]' /run/written").ok());
    system.run("touch /run/rostrum-updater/hold").unwrap();
    wait_for("the pause", || system.run("systemctl show -p FreezerState rauc | grep frozen").ok());
}

#[test]
fn an_installation_stands_still_in_a_meeting_and_goes_on_after_it() {
    let system = System::start("hold", HOLD, &[WRITES]);
    held(&system);
    let written = || system.run("cat /run/written").unwrap();
    let before = written();
    sleep(Duration::from_secs(1));
    assert_eq!(written(), before);
    system.run("rm /run/rostrum-updater/hold").unwrap();
    wait_for("it goes on", || (written() != before).then_some(()));
    assert_eq!(system.run("systemctl is-active rauc.service").unwrap(), "active");
}

#[test]
fn a_paused_installation_does_not_keep_the_machine_from_starting_again() {
    let mut system = System::start("reboot", &[HOLD, REBOOT].concat(), &[WRITES]);
    held(&system);
    system.run("systemctl start rostrum-reboot.path && touch /run/rostrum-updater/reboot").unwrap();
    assert!(system.starts_again(Duration::from_secs(15)));
}

#[test]
fn a_version_on_trial_without_its_updater_is_started_again_and_no_other() {
    let mut system = System::start("trial", TRIAL, &[UPDATER]);
    // What the timer does, ten minutes after the boot.
    let look = "systemctl start rostrum-trial.service";
    system.run(&format!("rm -rf /var/lib/rostrum-updater; {look}")).unwrap();
    assert!(!system.starts_again(Duration::from_secs(1)), "nothing is on trial");
    system.run("mkdir -p /var/lib/rostrum-updater && touch /var/lib/rostrum-updater/on-trial").unwrap();
    system.run(&format!("systemctl start rostrum-updater.service && {look}")).unwrap();
    assert!(!system.starts_again(Duration::from_secs(1)), "its updater runs");
    // The machine may be going down before this ends.
    let _ = system.run(&format!("systemctl stop rostrum-updater.service; {look}"));
    assert!(system.starts_again(Duration::from_secs(20)), "nobody looks after it");
}

#[test]
fn the_terminal_may_write_to_lights_and_to_nothing_else_of_the_machine() {
    // A file of /sys/devices that udev would have given to the group, as it does with lights. This network is the test's
    // own; a value of it would need more rights than a light's, so it is only opened for writing.
    const LIGHT: &str = "/sys/devices/virtual/net/lo/tx_queue_len";
    let instead = format!(
        "[Service]\nType=oneshot\nRestart=no\nExecStart=\n\
         ExecStart=/bin/sh -c ': > {LIGHT}'\n\
         ExecStart=/bin/sh -c '! touch /etc/of-the-terminal /usr/of-the-terminal'\n\
         ExecStart=/bin/sh -c '! echo 3 > /proc/sys/vm/drop_caches'\n"
    );
    let units = ["rostrum/files/rostrumd.service"];
    let system = System::start("terminal", &units, &[("rostrumd.service.d/instead.conf", &instead)]);
    // The groups of Debian's udev, which this machine may not have.
    system
        .run(
            "printf 'g audio - -\\ng video - -\\ng render - -\\ng input - -\\n' > /tmp/groups.conf && \
              systemd-sysusers /tmp/groups.conf /etc/sysusers-of-ours.conf",
        )
        .unwrap();
    system.run(&format!("chgrp rostrum {LIGHT} && chmod g=u {LIGHT}")).unwrap();
    let journal = || system.run("journalctl -o cat --no-pager -u rostrumd").unwrap_or_default();
    system.run("systemctl start rostrumd.service").unwrap_or_else(|error| panic!("{error}: {}", journal()));
}

/// A service in the place of the terminal's, which says what key it was given. `LoadCredentialEncrypted` is for systemd
/// below 254, which this machine may have and no image has; both look into the same folder.
const ASKS_FOR_ITS_KEY: &str = "[Service]\nType=oneshot\nRestart=no\nExecStart=\n\
     ExecStart=/bin/sh -c 'sha256sum < \"$CREDENTIALS_DIRECTORY/device-key\" > /var/lib/rostrum/given'\n\
     LoadCredentialEncrypted=device-key:/run/credstore.encrypted/device-key\n";

#[test]
fn a_terminal_without_a_key_makes_one_at_its_first_start_seals_it_and_keeps_it() {
    const KEY: &str = "/var/lib/rostrum-device-key/device-key.cred";
    let stand_in = [("rostrumd.service.d/instead.conf", ASKS_FOR_ITS_KEY)];
    let units = ["rostrum/files/rostrumd.service", "rostrum/files/rostrum-device-key.service"];
    let system = System::start("key", &units, &stand_in);
    let run = |line: &str| system.run(line).unwrap_or_else(|error| panic!("{error}"));
    run("printf 'g audio - -\\ng video - -\\ng render - -\\ng input - -\\n' > /tmp/groups.conf && \
         systemd-sysusers /tmp/groups.conf /etc/sysusers-of-ours.conf");
    // As the images have them.
    let config = ours().join("rostrum-config/files");
    run("mkdir -p /etc/rostrum /usr/lib/rostrum");
    system.put(&xtask::paths::program("debug", "rostrumd"), "/usr/bin/rostrumd");
    system.put(&ours().join("rostrum/files/make-device-key"), "/usr/lib/rostrum/make-device-key");
    system.put(&config.join("rostrumd.toml.in"), "/etc/rostrum/rostrumd.toml");
    system.put(&config.join("rostrum-credentials.tmpfiles"), "/etc/credentials.conf");
    run("sed -i s/@PROFILE@/virtual/ /etc/rostrum/rostrumd.toml");
    // What a start of the machine does.
    let start = || {
        let _ = system.run("systemctl stop rostrumd rostrum-device-key");
        run("rm -rf /run/credstore* && systemd-tmpfiles --create /etc/credentials.conf");
        let started = system.run("systemctl start rostrum-device-key.service");
        started.unwrap_or_else(|error| {
            panic!("{error}: {}", run("journalctl -o cat --no-pager -u rostrum-device-key"))
        });
    };
    let terminal_gets = || {
        run("systemctl start rostrumd.service");
        run("cat /var/lib/rostrum/given")
    };

    // A token has the key: nothing is made.
    run("cp /etc/rostrum/rostrumd.toml /tmp/right && \
         sed -i 's|^device_key = .*|device_key.pkcs11 = { module = \"/m\", token = \"t\", pin_file = \"/p\" }|' \
         /etc/rostrum/rostrumd.toml");
    start();
    run(&format!("test ! -e {KEY} && test ! -e /run/credstore.encrypted/device-key"));
    run("cp /tmp/right /etc/rostrum/rostrumd.toml");

    // A power cut in the middle of the first start left half of a file: it counts for nothing.
    run(
        "mkdir -p -m 700 /var/lib/rostrum-device-key && echo half > /var/lib/rostrum-device-key/device-key.new",
    );
    start();
    let sealed = run(&format!("cat {KEY}"));
    assert!(!sealed.contains("PRIVATE") && sealed.len() > 200, "{sealed}");
    assert_eq!(
        run(&format!("stat -c '%a %U' {KEY} /run/credstore.encrypted/device-key")),
        "600 root\n400 root"
    );
    assert_eq!(run("ls /var/lib/rostrum-device-key"), "device-key.cred");
    let line = run(&format!("rostrumd device-key --seal {KEY}"));
    let said = run("journalctl -o cat --no-pager -u rostrum-device-key");
    assert!(said.lines().any(|said| said == line), "{line}: {said}");
    let given = terminal_gets();
    let inside = run(&format!("systemd-creds decrypt --name=device-key {KEY} - | sha256sum"));
    assert_eq!(given, inside, "the terminal has another key");

    // Each start after it: the same key.
    start();
    assert_eq!(run(&format!("cat {KEY}")), sealed, "it made another one");
    assert_eq!(terminal_gets(), given);

    // The bench's counts more, and is never beside another one.
    run("mkdir -p /factory && echo bench > /factory/device-key.pem");
    start();
    run("test -e /run/credstore/device-key && test ! -e /run/credstore.encrypted/device-key");
}
