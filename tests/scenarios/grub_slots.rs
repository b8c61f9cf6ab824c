//! GRUB itself chooses the slot of a PC: three tries each, counted on the disk before anything else is read
#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use xtask::paths;

const MIB: u64 = 1024 * 1024;

fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A PC's disk: its EFI partition is the first, as files/wic/pc-x86-64.wks has it.
struct Disk {
    dir: tempfile::TempDir,
}

impl Disk {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let file = paths::root().join("yocto/meta-rostrum-bsp/recipes-rostrum/rostrum-grub/files/grub.cfg");
        let text = fs::read_to_string(file).unwrap();
        // GRUB's emulator boots no kernel and restarts no machine: it says what it was told, and ends.
        let told = text
            .replace(
                "if linux /boot/bzImage $arguments; then\n\tboot\n",
                "if true; then\n\techo \"boots: $root $arguments\"\n\texit\n",
            )
            .replace("\treboot\n", "\texit\n");
        assert_eq!(told.matches("\texit\n").count(), 2, "{told}");
        fs::write(at("grub.cfg"), told).unwrap();
        fs::File::create(at("efi.img")).unwrap().set_len(16 * MIB).unwrap();
        run(Command::new("/usr/sbin/mkfs.vfat").arg(at("efi.img")));
        run(Command::new("mmd").arg("-i").arg(at("efi.img")).args(["::EFI", "::EFI/BOOT"]));
        run(Command::new("mcopy")
            .arg("-i")
            .arg(at("efi.img"))
            .arg(at("grub.cfg"))
            .arg("::EFI/BOOT/grub.cfg"));
        fs::write(at("device.map"), format!("(hd0) {}\n", at("disk.img").display())).unwrap();
        let disk = Self { dir };
        run(Command::new("grub-editenv").arg(disk.path("grubenv")).arg("create"));
        disk.set(&["ORDER=A B", "A_OK=1", "A_TRY=0", "B_OK=1", "B_TRY=0"]);
        disk
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    /// As RAUC does it.
    fn set(&self, values: &[&str]) {
        run(Command::new("grub-editenv").arg(self.path("grubenv")).arg("set").args(values));
        self.write_environment();
    }

    fn write_environment(&self) {
        let image = self.path("efi.img");
        run(Command::new("mcopy").args(["-o", "-i"]).arg(&image).arg(self.path("grubenv")).arg("::grubenv"));
    }

    /// What GRUB says when it starts.
    fn boot(&self) -> String {
        let (disk, efi) = (self.path("disk.img"), self.path("efi.img"));
        let file = fs::File::create(&disk).unwrap();
        file.set_len(32 * MIB).unwrap();
        let table =
            "label: gpt\nstart=2048, size=32768, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, name=boot\n";
        fs::write(self.path("table"), table).unwrap();
        let sfdisk = format!("/usr/sbin/sfdisk -q {} < {}", disk.display(), self.path("table").display());
        run(Command::new("sh").args(["-c", &sfdisk]));
        copy(&efi, &disk, 0, MIB);
        let emulator = format!("grub-emu -m {} -r hd0,gpt1 -d /EFI/BOOT", self.path("device.map").display());
        let script = ["20", "script", "-qec", &emulator, "/dev/null"];
        let said = run(Command::new("timeout").args(script).env("TERM", "dumb"));
        copy(&disk, &efi, MIB, 0);
        run(Command::new("mcopy").args(["-o", "-i"]).arg(&efi).arg("::grubenv").arg(self.path("grubenv")));
        said
    }

    /// Slot of the next start, or what is said instead.
    fn slot(&self) -> &'static str {
        let said = self.boot();
        // Lines of a terminal are broken where they are full.
        let told: String = said.chars().filter(|one| !one.is_whitespace()).collect();
        let slots = [("A", "gpt3root=PARTLABEL=system-a"), ("B", "gpt4root=PARTLABEL=system-b")];
        for (slot, start) in slots {
            if told.contains(&format!("rauc.slot={slot}")) {
                assert!(told.contains(start), "{said}");
                return slot;
            }
        }
        assert!(told.contains("noslothasatryleft"), "{said}");
        "none"
    }

    fn environment(&self) -> String {
        run(Command::new("grub-editenv").arg(self.path("grubenv")).arg("list"))
    }
}

/// Copies the 16 MiB of the EFI partition.
fn copy(from: &Path, to: &Path, skip: u64, seek: u64) {
    use std::os::unix::fs::FileExt;
    let mut bytes = vec![0; 16 * MIB as usize];
    fs::File::open(from).unwrap().read_exact_at(&mut bytes, skip).unwrap();
    fs::File::options().write(true).open(to).unwrap().write_all_at(&bytes, seek).unwrap();
}

#[test]
fn a_slot_is_tried_three_times_and_then_the_other() {
    let disk = Disk::new();
    // RAUC installed into B, and wants it.
    disk.set(&["ORDER=B A", "B_OK=1", "B_TRY=0"]);
    assert_eq!([disk.slot(), disk.slot(), disk.slot()], ["B", "B", "B"]);
    assert!(disk.environment().contains("B_TRY=3"), "{}", disk.environment());
    assert_eq!(disk.slot(), "A");
    // What runs was called good, and what failed was not tried again.
    disk.set(&["A_OK=1", "A_TRY=0", "B_OK=0", "B_TRY=0"]);
    assert_eq!([disk.slot(), disk.slot(), disk.slot()], ["A", "A", "A"]);
    assert_eq!(disk.slot(), "none");
    assert_eq!(disk.slot(), "A", "each has three tries again");
}

#[test]
fn a_lost_environment_boots_the_first_slot() {
    let disk = Disk::new();
    fs::write(disk.path("grubenv"), vec![0; 1024]).unwrap();
    disk.write_environment();
    let told: String = disk.boot().chars().filter(|one| !one.is_whitespace()).collect();
    assert!(told.contains("rauc.slot=A"), "{told}");
}
