//! The terminal: its processes, its boots, and the end of its power.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use rostrum_fleet::update::{link::FromTerminal, status::Status};
use rostrum_hal::selftest::Part;
use tokio::{runtime::Runtime, sync::watch};
use xtask::{image::Rauc, paths, process::Running};

use super::{
    bundle::{COMPATIBLE, Image, Quality},
    disk::Disk,
    stand_ins::{self, Down, Room, Words},
};

/// The version that a new terminal runs.
pub const OLD: &str = "1.0.0";
/// Starts of a slot before the boot loader takes the other one.
const STARTS: u32 = 3;

/// A terminal.
pub struct UpdateTerminal {
    disk: Disk,
    rauc: Rauc,
    key_ring: PathBuf,
    /// Lines of the updater's configuration.
    configuration: String,
    runtime: Runtime,
    down: Down,
    /// Pauses of RAUC that were asked for, and whether one is on.
    pauses: u32,
    is_paused: bool,
    room: watch::Sender<Room>,
    words: Words,
    status: watch::Receiver<Status>,
    status_sender: watch::Sender<Status>,
    boots: u32,
    /// How its updater was built.
    profile: &'static str,
    programs: Option<Programs>,
    /// What ran in each boot, in their order.
    pub ran: Vec<Image>,
    /// The last to go: the disk is mounted in it.
    dir: tempfile::TempDir,
}

/// What runs between two boots; ended in this order.
struct Programs {
    updater: Running,
    rauc: Running,
    systemd: zbus::Connection,
    bus: Running,
}

impl Programs {
    /// Ends all of them at once, and what RAUC started.
    fn kill(&mut self) {
        if let Ok(group) = i32::try_from(self.rauc.id()) {
            // It may have ended.
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        }
        for program in [&mut self.updater, &mut self.rauc, &mut self.bus] {
            program.kill();
        }
    }
}

impl UpdateTerminal {
    /// Makes a terminal named `T-1` with the old version in both slots, which trusts `key_ring`. `configuration` is what
    /// its updater's configuration has besides.
    ///
    /// # Errors
    /// When it cannot be made; it needs root.
    pub fn new(rauc: Rauc, key_ring: &Path, configuration: &str) -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("rostrum-update-").tempdir()?;
        let disk = Disk::new(dir.path())?;
        let old = Image::new(OLD, Quality::Good).bytes();
        for slot in ["slot-A", "slot-B"] {
            fs::write(disk.path().join(slot), &old)?;
        }
        fs::create_dir_all(disk.path().join("rauc"))?;
        fs::write(disk.path().join("env"), "ORDER=\"A B\"\nLEFT_A=3\nLEFT_B=3\n")?;
        let (room, _) = watch::channel(Room::default());
        let (words, _) = tokio::sync::broadcast::channel(8);
        let (status_sender, status) = watch::channel(Status::default());
        let terminal = Self {
            disk,
            rauc,
            key_ring: key_ring.into(),
            configuration: configuration.into(),
            runtime: tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?,
            down: Down::default(),
            pauses: 0,
            is_paused: false,
            room,
            words,
            status,
            status_sender,
            boots: 0,
            profile: "debug",
            programs: None,
            ran: Vec::new(),
            dir,
        };
        terminal.write_settings()?;
        terminal.sync()?;
        let socket = terminal.socket();
        let (room, words, status) =
            (terminal.room.subscribe(), terminal.words.clone(), terminal.status_sender.clone());
        terminal.runtime.block_on(stand_ins::terminal(&socket, room, words, status))?;
        Ok(terminal)
    }

    /// Its updater as it was built in `profile`.
    #[must_use]
    pub fn built(mut self, profile: &'static str) -> Self {
        self.profile = profile;
        self
    }

    /// Folder of the terminal that outlives its boots, beside its disk.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Where its disk is mounted.
    pub fn disk(&self) -> &Path {
        self.disk.path()
    }

    /// Socket at which the terminal's program is to listen.
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("updates.sock")
    }

    fn sync(&self) -> anyhow::Result<()> {
        super::bundle::succeeds(Command::new("sync").arg("-f").arg(self.disk.path()))
    }

    fn write_settings(&self) -> anyhow::Result<()> {
        let (dir, disk) = (self.dir.path(), self.disk.path().display());
        let shown = dir.display();
        let system = format!(
            "[system]\ncompatible={COMPATIBLE}\nbootloader=custom\ndata-directory={disk}/rauc\n\
             mountprefix={shown}/mnt\nbundle-formats=plain\n[keyring]\npath={}\n\
             [handlers]\nbootloader-custom-backend={shown}/boot-loader\n\
             [slot.rootfs.0]\ndevice={disk}/slot-A\ntype=raw\nbootname=A\n\
             [slot.rootfs.1]\ndevice={disk}/slot-B\ntype=raw\nbootname=B\n",
            self.key_ring.display()
        );
        fs::write(dir.join("system.conf"), system)?;
        let boot_loader = format!(
            "#!/bin/sh\nF={disk}/env; . $F\nleft() {{ eval echo \\$LEFT_$1; }}\n\
             save() {{ printf 'ORDER=\"%s\"\\nLEFT_A=%s\\nLEFT_B=%s\\n' \"$ORDER\" $LEFT_A $LEFT_B >$F.new && sync $F.new && mv $F.new $F && sync {disk}; }}\n\
             case $1 in\n\
             get-primary) for s in $ORDER; do if [ $(left $s) -gt 0 ]; then echo $s; exit 0; fi; done; exit 1;;\n\
             set-primary) o=$2; for s in $ORDER; do if [ $s != $2 ]; then o=\"$o $s\"; fi; done; ORDER=$o; eval LEFT_$2=3; save;;\n\
             get-state) if [ $(left $2) -gt 0 ]; then echo good; else echo bad; fi;;\n\
             set-state) if [ $3 = good ]; then eval LEFT_$2=3; else eval LEFT_$2=0; fi; save;;\n\
             *) exit 1;;\nesac\n"
        );
        fs::write(dir.join("boot-loader"), boot_loader)?;
        super::bundle::succeeds(Command::new("chmod").arg("+x").arg(dir.join("boot-loader")))?;
        let bus = format!(
            "<busconfig><type>system</type><listen>unix:path={shown}/bus</listen><auth>EXTERNAL</auth>\
             <policy context=\"default\"><allow send_destination=\"*\" eavesdrop=\"true\"/>\
             <allow eavesdrop=\"true\"/><allow own=\"*\"/></policy></busconfig>"
        );
        fs::write(dir.join("bus.conf"), bus)?;
        fs::write(dir.join("udid"), "T-1\n")?;
        fs::create_dir_all(dir.join("sticks"))?;
        Ok(())
    }

    fn bus_address(&self) -> String {
        format!("unix:path={}/bus", self.dir.path().display())
    }

    /// The boot loader chooses, and what it chose starts. Gives what runs.
    ///
    /// # Errors
    /// When no slot boots, or one that is not whole is started: a brick.
    pub fn boot(&mut self) -> anyhow::Result<&Image> {
        ensure!(self.programs.is_none(), "it runs");
        for _ in 0..=2 * STARTS {
            let slot = self.choose()?;
            let bytes = fs::read(self.disk.path().join(format!("slot-{slot}")))?;
            let image = Image::read(&bytes).with_context(|| format!("slot {slot} was started"))?;
            self.boots += 1;
            self.ran.push(image.clone());
            if image.quality != Quality::Dead {
                self.start(&slot, &image)?;
                return self.ran.last().context("nothing runs");
            }
        }
        bail!("no slot boots")
    }

    /// As U-Boot's script does it: the first in order that has starts left, which are counted down.
    fn choose(&self) -> anyhow::Result<String> {
        let file = self.disk.path().join("env");
        let text = fs::read_to_string(&file)?;
        let mut values: BTreeMap<String, String> = text
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(key, value)| (key.into(), value.trim_matches('"').into()))
            .collect();
        let order = values.get("ORDER").cloned().unwrap_or_default();
        for slot in order.split(' ') {
            let key = format!("LEFT_{slot}");
            let left: u32 = values.get(&key).and_then(|left| left.parse().ok()).unwrap_or(0);
            if left > 0 {
                values.insert(key, (left - 1).to_string());
                let lines =
                    format!("ORDER=\"{order}\"\nLEFT_A={}\nLEFT_B={}\n", values["LEFT_A"], values["LEFT_B"]);
                let new = file.with_extension("new");
                fs::write(&new, lines)?;
                fs::File::open(&new)?.sync_all()?;
                fs::rename(&new, &file)?;
                fs::File::open(self.disk.path())?.sync_all()?;
                return Ok(slot.into());
            }
        }
        bail!("no slot has starts left: {text}")
    }

    /// Starts left of a slot (`A` or `B`).
    ///
    /// # Errors
    /// When the boot loader's environment cannot be read.
    pub fn starts_left(&self, slot: &str) -> anyhow::Result<u32> {
        let text = fs::read_to_string(self.disk.path().join("env"))?;
        let key = format!("LEFT_{slot}=");
        let left = text.lines().find_map(|line| line.strip_prefix(&key)).context("no such slot")?;
        Ok(left.parse()?)
    }

    fn start(&mut self, slot: &str, image: &Image) -> anyhow::Result<()> {
        let dir = self.dir.path();
        let shown = dir.display();
        let log = |name: &str| dir.join("logs").join(name);
        // What is in memory only.
        for file in ["bus", "good", "hold", "reboot"] {
            let _ = fs::remove_file(dir.join(file));
        }
        self.is_paused = false;
        fs::write(dir.join("os-release"), format!("VERSION_ID={}\n", image.version))?;
        fs::write(dir.join("boot-id"), self.boots.to_string())?;
        self.room.send_modify(|room| {
            room.failing = match image.quality {
                Quality::NoPicture => BTreeSet::from([Part::Camera]),
                _ => BTreeSet::new(),
            };
        });
        let mut bus = Command::new("dbus-daemon");
        bus.arg(format!("--config-file={shown}/bus.conf")).args([
            "--nofork",
            "--nopidfile",
            "--print-address",
        ]);
        let mut bus = Running::start("dbus-daemon", log("bus"), &mut bus)?;
        bus.line(Duration::from_secs(10), |line| line.starts_with("unix:").then_some(()))?;
        let mut rauc = self.rauc.command();
        rauc.arg(format!("--conf={shown}/system.conf"))
            .arg(format!("--override-boot-slot={slot}"))
            .arg("service")
            .process_group(0)
            .env("DBUS_SYSTEM_BUS_ADDRESS", self.bus_address());
        let rauc = Running::start("rauc", log("rauc"), &mut rauc)?;
        let systemd = self.runtime.block_on(stand_ins::systemd(&self.bus_address(), self.down.clone()))?;
        let configuration = dir.join("rostrum-updater.toml");
        let disk = self.disk.path().display();
        let text = format!(
            "udid_file = \"{shown}/udid\"\nstate_dir = \"{disk}/updater\"\nterminal = \"{shown}/updates.sock\"\n\
             sticks = \"{shown}/sticks\"\ngood_file = \"{shown}/good\"\nhold_request = \"{shown}/hold\"\nrestart_request = \"{shown}/reboot\"\nbus = \"{}\"\ntime_zone = \"UTC\"\n\
             {}\n[places]\nos_release = \"{shown}/os-release\"\nboot_id = \"{shown}/boot-id\"\n\
             clock_is_set = \"{shown}/clock-is-set\"\n",
            self.bus_address(),
            self.configuration
        );
        fs::write(&configuration, text)?;
        let mut updater = Command::new(paths::program(self.profile, "rostrum-updater"));
        updater.arg("--config").arg(&configuration).args(["--log-level", "debug"]);
        let updater = Running::start("rostrum-updater", log("updater"), &mut updater)?;
        self.programs = Some(Programs { updater, rauc, systemd, bus });
        Ok(())
    }

    /// Power is gone, and comes again.
    ///
    /// # Errors
    /// As [`UpdateTerminal::boot`].
    pub fn cut_power(&mut self) -> anyhow::Result<&Image> {
        self.power_off()?;
        self.boot()
    }

    /// Power is gone: every process at once, and what was not synced.
    ///
    /// # Errors
    /// When the disk cannot be copied.
    pub fn power_off(&mut self) -> anyhow::Result<()> {
        if let Some(mut programs) = self.programs.take() {
            programs.kill();
            // What RAUC mounted goes with its kernel.
            let _ = Command::new("umount").arg(self.dir.path().join("mnt/bundle")).output();
        }
        self.disk.cut()?;
        self.disk.mount()
    }

    /// In order, when systemd was asked to.
    fn restart(&mut self) -> anyhow::Result<()> {
        if let Some(mut programs) = self.programs.take() {
            programs.updater.stop();
            programs.rauc.stop();
            let _ = self.runtime.block_on(programs.systemd.clone().close());
            programs.bus.stop();
        }
        self.boot()?;
        Ok(())
    }

    /// As systemd's path units do it: pauses RAUC and restarts, where there is a file that asks for it.
    ///
    /// # Errors
    /// As [`UpdateTerminal::boot`].
    pub fn step(&mut self) -> anyhow::Result<()> {
        let hold = self.dir.path().join("hold").exists();
        if let Some(programs) = self.programs.as_ref().filter(|_| hold != self.is_paused) {
            self.is_paused = hold;
            self.pauses += u32::from(hold);
            programs.rauc.signal(if hold { "STOP" } else { "CONT" })?;
        }
        if self.dir.path().join("reboot").exists() { self.restart() } else { Ok(()) }
    }

    /// Lives, with restarts as they are wanted, until `look` gives something.
    ///
    /// # Errors
    /// When that is not within `timeout`, or what happens is a brick.
    pub fn until<T>(
        &mut self,
        what: &str,
        timeout: Duration,
        mut look: impl FnMut(&mut Self) -> anyhow::Result<Option<T>>,
    ) -> anyhow::Result<T> {
        let deadline = Instant::now() + timeout;
        loop {
            self.step()?;
            if let Some(found) = look(self)? {
                return Ok(found);
            }
            if Instant::now() >= deadline {
                let status = self.status();
                bail!("{what}: not within {timeout:?} ({status:?})\n{}", self.end_of_log());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn end_of_log(&self) -> String {
        let text = fs::read_to_string(self.dir.path().join("logs/updater")).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// What its updater logged, in all boots.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("logs/updater")).unwrap_or_default()
    }

    /// What people see of updates.
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// What runs.
    pub fn runs(&self) -> Option<&Image> {
        self.ran.last()
    }

    /// A part gives nothing until the next start.
    pub fn breaks(&self, part: Part) {
        self.room.send_modify(|room| {
            room.failing.insert(part);
        });
    }

    /// What runs was found good.
    pub fn is_good(&self) -> bool {
        self.dir.path().join("good").exists()
    }

    /// A meeting begins or ends.
    pub fn meeting(&self, meeting: bool) {
        self.room.send_modify(|room| room.meeting = meeting);
    }

    /// A person at the panel says something.
    pub fn say(&self, word: FromTerminal) {
        // Nobody hears it while the updater is not there.
        let _ = self.words.send(word);
    }

    /// How often RAUC was paused.
    pub fn pauses(&self) -> u32 {
        self.pauses
    }

    /// A unit does not come up any more, or does.
    pub fn unit_is_down(&self, name: &str, down: bool) {
        let mut units = self.down.lock();
        if down {
            units.insert(name.into());
        } else {
            units.remove(name);
        }
    }

    /// The processes of the updater and of RAUC.
    pub fn processes(&self) -> Option<[u32; 2]> {
        self.programs.as_ref().map(|programs| [programs.updater.id(), programs.rauc.id()])
    }
}

impl Drop for UpdateTerminal {
    fn drop(&mut self) {
        if let Some(mut programs) = self.programs.take() {
            programs.kill();
        }
        let _ = Command::new("umount").arg("-l").arg(self.dir.path().join("mnt/bundle")).output();
    }
}
