//! Power fails at every step of an update and at 200 random moments: a whole slot boots, and it comes to its end
#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use rand::Rng;
use rostrum_tests::updates::{Bundles, Ddi, Image, OLD, Offered, Quality, UpdateTerminal};
use xtask::image::{self, Rauc};

const NEW: &str = "1.1.0";
/// Time for what is left of an update on a machine that runs several at once.
const UPDATE: Duration = Duration::from_secs(120);
const QUICK: &str = "[install]\nidle_s = 0\nsilent_s = 1\nretry_s = 1\n[gate]\nsteady_s = 0\nfolders = []\n";
/// Random moments.
const MOMENTS: usize = 200;
/// Terminals at once: each waits for most of its time.
const AT_ONCE: usize = 6;

struct World {
    rauc: Rauc,
    bundles: Bundles,
    _dir: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let rauc = image::rauc().unwrap();
        let bundles = Bundles::new(dir.path(), rauc.clone()).unwrap();
        for quality in [Quality::Good, Quality::NoPicture] {
            bundles.bundle(&Image::new(NEW, quality)).unwrap();
        }
        Self { rauc, bundles, _dir: dir }
    }

    fn trial(&self, quality: Quality) -> Trial {
        let server = Ddi::start().unwrap();
        let bundle = self.bundles.bundle(&Image::new(NEW, quality)).unwrap();
        server.offer(Some(Offered::new("1", NEW, &bundle)));
        let configuration = format!("{}\n{QUICK}", server.configuration(""));
        let terminal =
            UpdateTerminal::new(self.rauc.clone(), &self.bundles.key_ring(), &configuration).unwrap();
        Trial { server, terminal, quality }
    }
}

struct Trial {
    server: Ddi,
    terminal: UpdateTerminal,
    quality: Quality,
}

impl Trial {
    /// Lives until `is_time`, or until the end of the update. Gives whether it was time.
    fn live_until(&mut self, mut is_time: impl FnMut(&UpdateTerminal) -> bool) -> bool {
        let deadline = Instant::now() + UPDATE;
        while Instant::now() < deadline {
            if is_time(&self.terminal) {
                return true;
            }
            if !self.server.ends("1").is_empty() {
                return false;
            }
            self.terminal.step().unwrap();
            std::thread::sleep(Duration::from_micros(300));
        }
        panic!("no end: {:?}\n{}", self.terminal.status(), self.terminal.log());
    }

    /// After the cut: a whole slot boots, and the update ends well or in a failure that the server hears of.
    fn ends_well(mut self, moment: &str) {
        let server = &self.server;
        let ends = self
            .terminal
            .until(moment, UPDATE, |_| Ok(Some(server.ends("1")).filter(|ends| !ends.is_empty())))
            .unwrap_or_else(|error| panic!("{moment}: {error:#}"));
        let version = self.terminal.runs().unwrap().version.clone();
        let expected = match self.quality {
            Quality::Good => (true, NEW),
            Quality::NoPicture | Quality::Dead => (false, OLD),
        };
        assert_eq!((ends[0].0, version.as_str()), expected, "{moment}: {ends:?}\n{}", self.terminal.log());
        // A cut between the server's yes and its note here makes it be told once more, of the same.
        assert!(ends.iter().all(|end| *end == ends[0]), "{moment}: {ends:?}");
        self.terminal.until(moment, UPDATE, |terminal| Ok(terminal.is_good().then_some(()))).unwrap();
        let slot = if fs::read(self.terminal.disk().join("slot-A"))
            .is_ok_and(|bytes| Image::read(&bytes).is_ok_and(|image| image.version == version))
        {
            "A"
        } else {
            "B"
        };
        assert_eq!(self.terminal.starts_left(slot).unwrap(), 3, "{moment}: the boot loader was not told");
    }
}

/// What a step changes on the disk: the record, the boot loader's environment, and the other slot's head.
fn seen(disk: &Path) -> [u64; 3] {
    let inode = |name: &str| fs::metadata(disk.join(name)).map_or(0, |metadata| metadata.ino());
    [inode("updater/updates.json"), inode("env"), inode("updater/bundle/bundle.part")]
}

#[test]
fn a_power_cut_at_any_change_of_state_bricks_nothing_and_loses_nothing() {
    let world = World::new();
    for quality in [Quality::Good, Quality::NoPicture] {
        let next = AtomicUsize::new(1);
        let steps = AtomicUsize::new(usize::MAX);
        std::thread::scope(|scope| {
            for _ in 0..AT_ONCE {
                scope.spawn(|| {
                    loop {
                        let step = next.fetch_add(1, Ordering::Relaxed);
                        if step > steps.load(Ordering::Relaxed) {
                            return;
                        }
                        let mut trial = world.trial(quality);
                        trial.terminal.boot().unwrap();
                        let (mut changes, mut last) = (0, seen(trial.terminal.disk()));
                        let was_cut = trial.live_until(|terminal| {
                            let now = seen(terminal.disk());
                            changes += usize::from(now != last);
                            last = now;
                            changes >= step
                        });
                        if !was_cut {
                            // There are no more.
                            steps.fetch_min(changes, Ordering::Relaxed);
                            return;
                        }
                        trial.terminal.cut_power().unwrap();
                        trial.ends_well(&format!("{quality:?}, cut at change {step}"));
                    }
                });
            }
        });
        let steps = steps.load(Ordering::Relaxed);
        assert!((10..60).contains(&steps), "{steps} changes of state were seen");
        xtask::process::print(&format!("{quality:?}: power was cut at each of {steps} changes of state"));
    }
}

#[test]
fn a_power_cut_at_any_moment_bricks_nothing_and_loses_nothing() {
    let world = World::new();
    let longest = {
        let mut trial = world.trial(Quality::Good);
        trial.terminal.boot().unwrap();
        let start = Instant::now();
        assert!(!trial.live_until(|_| false));
        start.elapsed()
    };
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while next.fetch_add(1, Ordering::Relaxed) < MOMENTS {
                    let quality =
                        if rand::rng().random_bool(0.8) { Quality::Good } else { Quality::NoPicture };
                    // Several at once are slower than one.
                    let moment = longest.mul_f64(rand::rng().random_range(0.0..1.5));
                    let mut trial = world.trial(quality);
                    trial.terminal.boot().unwrap();
                    let start = Instant::now();
                    trial.live_until(|_| start.elapsed() >= moment);
                    trial.terminal.cut_power().unwrap();
                    trial.ends_well(&format!("{quality:?}, cut after {moment:?}"));
                }
            });
        }
    });
    xtask::process::print(&format!("power was cut at {MOMENTS} moments of some {longest:?}"));
}
