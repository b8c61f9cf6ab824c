#![allow(clippy::unwrap_used)]
//! The machine in a world of its own: a boot loader that counts, two slots, a disk that keeps what was synced, and power
//! that fails between any two steps.

use super::*;
use crate::update::offer::{Offer, Source};
use proptest::prelude::*;

const OLD: &str = "1.0.0";
const NEW: &str = "1.1.0";

/// What a bundle does when it runs.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Quality {
    Good,
    /// It does not get as far as this program.
    Dead,
    /// It runs and does not pass its check.
    Bad,
}

/// The board, and what is on its disk.
struct World {
    now: Timestamp,
    /// Version in slot A and B, and whether it is whole.
    slots: [(&'static str, bool); 2],
    /// First is tried first.
    order: Vec<usize>,
    left: [u32; 2],
    running: usize,
    boots: u64,
    synced: Record,
    quality: Quality,
    machine: Machine,
    /// Commands that were done since the start.
    steps: u64,
    told: Vec<Outcome>,
    restarted: bool,
    room: RoomState,
    kept_fails: bool,
    /// The old version is not well.
    unwell: bool,
    log: Vec<Command>,
}

fn policy() -> Policy {
    Policy {
        windows: Vec::new(),
        security_at_once: true,
        idle: Duration::ZERO,
        idle_without_clock: Duration::ZERO,
        silent: Duration::from_secs(5),
        person_confirms: false,
        retry: Duration::from_secs(1),
    }
}

fn offer(action: &str) -> Offer {
    Offer {
        source: Source::Server { action: action.into() },
        version: Some(NEW.into()),
        bundle: Bundle::Remote { url: "http://x/y".into(), size: None, sha256: None },
        download: Urgency::Attempt,
        install: Urgency::Attempt,
        window: None,
        security: false,
        asks: false,
    }
}
use crate::update::offer::Urgency;

impl World {
    fn new(quality: Quality) -> Self {
        let now = Timestamp::default();
        let mut world = Self {
            now,
            slots: [(OLD, true), (OLD, true)],
            order: vec![0, 1],
            left: [3, 3],
            running: 0,
            boots: 0,
            synced: Record::default(),
            quality,
            machine: Machine::new(policy(), Record::default(), true, now),
            steps: 0,
            told: Vec::new(),
            restarted: false,
            room: RoomState::Idle { since: now },
            kept_fails: false,
            unwell: false,
            log: Vec::new(),
        };
        world.boot();
        world
    }

    /// Power comes: the boot loader chooses, and the program starts.
    fn boot(&mut self) {
        self.restarted = false;
        loop {
            self.boots += 1;
            let slot = self.order.iter().copied().find(|slot| self.left[*slot] > 0);
            let slot = slot.expect("no slot boots: a brick");
            self.left[slot] -= 1;
            let (version, whole) = self.slots[slot];
            assert!(whole, "a slot that is half written was started");
            self.running = slot;
            if version == NEW && self.quality == Quality::Dead {
                continue;
            }
            break;
        }
        self.machine = Machine::new(policy(), self.synced.clone(), true, self.now);
        let boot = self.facts();
        self.happen(Event::Started(boot));
        self.happen(Event::Room(self.room));
    }

    fn facts(&self) -> Boot {
        let other = 1 - self.running;
        let name = |slot: usize| ["A", "B"][slot].to_owned();
        Boot {
            id: self.boots.to_string(),
            compatible: "rostrum-test".into(),
            version: self.slots[self.running].0.into(),
            slot: name(self.running),
            other: name(other),
            other_version: self.slots[other].1.then(|| self.slots[other].0.to_owned()),
            next: self.order.iter().copied().find(|slot| self.left[*slot] > 0).map(name),
        }
    }

    fn happen(&mut self, event: Event) {
        let mut commands: std::collections::VecDeque<_> = self.machine.handle(self.now, event).into();
        while let Some(command) = commands.pop_front() {
            self.log.push(command.clone());
            self.steps += 1;
            let answer = match command {
                Command::Keep(_) if self.kept_fails => {
                    commands.clear();
                    Some(Event::NotKept("no space".into()))
                }
                Command::Keep(record) => {
                    self.synced = *record;
                    None
                }
                other => self.obey(other),
            };
            if let Some(answer) = answer {
                commands.extend(self.machine.handle(self.now, answer));
            }
        }
    }

    fn obey(&mut self, command: Command) -> Option<Event> {
        let other = 1 - self.running;
        match command {
            Command::Fetch(_) => Some(Event::Fetched(Ok("/data/bundle".into()))),
            Command::Inspect(_) => Some(Event::Inspected(Ok(BundleInfo {
                compatible: "rostrum-test".into(),
                version: NEW.into(),
            }))),
            Command::Install(_) => {
                assert_ne!(self.room, RoomState::Meeting);
                self.order = vec![self.running];
                self.slots[other] = (NEW, false);
                // It takes a while: see `finish`.
                None
            }
            Command::Test => Some(Event::Tested(BTreeSet::new())),
            Command::Check { failing } => {
                let bad =
                    self.slots[self.running].0 == NEW && self.quality == Quality::Bad && failing.is_some();
                let bad = bad || (self.unwell && self.version() == OLD);
                Some(Event::Checked(if bad { Err("no picture".into()) } else { Ok(()) }))
            }
            Command::MarkGood => {
                self.left[self.running] = 3;
                Some(Event::Marked(Ok(())))
            }
            Command::GoBack => {
                self.order.retain(|slot| *slot != self.running);
                self.left[self.running] = 0;
                self.order.insert(0, other);
                self.left[other] = self.left[other].max(1);
                Some(Event::Marked(Ok(())))
            }
            Command::Stay => {
                self.order = vec![self.running, other];
                self.left[self.running] = 3;
                Some(Event::Marked(Ok(())))
            }
            Command::Restart => {
                self.restarted = true;
                None
            }
            _ => None,
        }
    }

    /// RAUC comes to its end.
    fn finish(&mut self) {
        let other = 1 - self.running;
        if self.slots[other] == (NEW, false) && matches!(self.machine.doing, Doing::Installing(_)) {
            self.slots[other] = (NEW, true);
            self.order = vec![other, self.running];
            self.left[other] = 3;
            self.happen(Event::Installed(Ok(())));
        }
    }

    /// A second of ordinary life, with a server that offers and hears.
    fn second(&mut self, action: &str) {
        self.now = self.now + Duration::from_secs(1);
        if self.restarted {
            return self.boot();
        }
        self.finish();
        self.happen(Event::Offered(offer(action)));
        self.happen(Event::Tick);
        if let Some(outcome) = self.machine.untold().cloned() {
            self.told.push(outcome.clone());
            self.happen(Event::Told(outcome.number));
        }
    }

    fn live(&mut self, action: &str, seconds: u32) {
        for _ in 0..seconds {
            self.second(action);
        }
    }

    fn version(&self) -> &str {
        self.slots[self.running].0
    }

    fn ends(&self) -> Vec<End> {
        self.told.iter().map(|outcome| outcome.end).collect()
    }
}

#[test]
fn a_good_update_runs_and_is_reported_once_after_its_check() {
    let mut world = World::new(Quality::Good);
    world.live("7", 30);
    assert_eq!(world.version(), NEW);
    assert_eq!(world.ends(), [End::Success]);
    assert_eq!(world.left[world.running], 3, "the boot loader was not told that it is good");
    assert!(world.machine.is_good());
}

#[test]
fn a_bundle_that_fails_its_check_rolls_back_and_is_not_tried_again() {
    let mut world = World::new(Quality::Bad);
    world.live("7", 60);
    assert_eq!(world.version(), OLD);
    assert_eq!(world.ends(), [End::Failure]);
    assert!(world.told[0].text.contains("no picture"), "{}", world.told[0].text);
    let installs =
        |world: &World| world.log.iter().filter(|command| matches!(command, Command::Install(_))).count();
    assert_eq!(installs(&world), 1);
    assert!(world.log.contains(&Command::GoBack), "it was left to the boot loader alone");
    // The same version as another action: refused at once, and its server knows why.
    world.live("8", 30);
    assert_eq!(installs(&world), 1);
    assert_eq!(world.ends(), [End::Failure, End::Failure]);
    assert!(world.told[1].text.contains("failed here before: no picture"), "{}", world.told[1].text);
}

#[test]
fn a_version_that_never_starts_falls_back_by_the_boot_loader_alone() {
    let mut world = World::new(Quality::Dead);
    world.live("7", 60);
    assert_eq!(world.version(), OLD);
    assert_eq!(world.ends(), [End::Failure]);
    assert!(world.told[0].text.contains("did not start"), "{}", world.told[0].text);
    // One failed start each of three, and the old slot is the first again.
    assert_eq!(world.order[0], world.running);
}

#[test]
fn an_update_waits_for_the_end_of_a_meeting_and_pauses_in_one() {
    let mut world = World::new(Quality::Good);
    world.room = RoomState::Meeting;
    world.happen(Event::Room(RoomState::Meeting));
    world.live("7", 20);
    assert!(!world.log.iter().any(|command| matches!(command, Command::Install(_) | Command::Fetch(_))));
    assert_eq!(world.machine.status().reason.unwrap(), Wait::Meeting.to_string());
    let idle = RoomState::Idle { since: world.now };
    world.room = idle;
    world.happen(Event::Room(idle));
    world.happen(Event::Tick);
    assert!(matches!(world.machine.doing, Doing::Installing(_)));
    // A meeting that begins now.
    world.happen(Event::Room(RoomState::Meeting));
    assert_eq!(world.log.last(), Some(&Command::Show(world.machine.status())));
    assert!(world.log.contains(&Command::Hold(true)));
    world.happen(Event::Room(idle));
    assert!(world.log.contains(&Command::Hold(false)));
    // Installed, and again a meeting: no restart before its end.
    world.happen(Event::Room(RoomState::Meeting));
    world.finish();
    for _ in 0..20 {
        world.now = world.now + Duration::from_secs(1);
        world.happen(Event::Tick);
    }
    assert!(!world.restarted);
    world.happen(Event::Room(idle));
    assert!(world.restarted);
}

#[test]
fn a_server_can_take_back_until_the_restart() {
    let mut world = World::new(Quality::Good);
    world.room = RoomState::Meeting;
    world.happen(Event::Room(RoomState::Meeting));
    world.live("7", 3);
    world.happen(Event::Withdrawn { action: "7".into() });
    assert_eq!(world.machine.untold().unwrap().end, End::Cancelled);
    // Installed, but not restarted yet.
    let mut world = World::new(Quality::Good);
    world.happen(Event::Offered(offer("7")));
    world.happen(Event::Room(RoomState::Meeting));
    world.finish();
    assert_eq!(world.order[0], 1);
    world.happen(Event::Withdrawn { action: "7".into() });
    assert_eq!(world.order[0], 0, "the new slot is still next");
    assert_eq!(world.machine.untold().unwrap().end, End::Cancelled);
    // While RAUC writes it is too late.
    let mut world = World::new(Quality::Good);
    world.happen(Event::Offered(offer("7")));
    world.happen(Event::Withdrawn { action: "7".into() });
    assert!(world.log.contains(&Command::Tell { action: "7".into(), news: News::TooLate }));
    world.live("7", 30);
    assert_eq!((world.version(), world.ends()), (NEW, vec![End::Success]));
}

#[test]
fn what_a_bundle_says_of_itself_has_the_last_word() {
    for (compatible, version, end, words) in [
        ("rostrum-other", NEW, End::Failure, "the bundle is for rostrum-other"),
        ("rostrum-test", "0.9.0", End::Failure, "older than 1.0.0"),
        ("rostrum-test", OLD, End::Success, "runs already"),
    ] {
        let mut world = World::new(Quality::Good);
        world.machine.fetches = false;
        world.machine.record.attempt = None;
        world.machine.handle(world.now, Event::Offered(offer("7")));
        let info = BundleInfo { compatible: compatible.into(), version: version.into() };
        world.machine.handle(world.now, Event::Inspected(Ok(info)));
        let outcome = world.machine.untold().unwrap();
        assert_eq!(outcome.end, end);
        assert!(outcome.text.contains(words), "{}", outcome.text);
    }
}

#[test]
fn trouble_that_may_pass_is_tried_again_and_not_for_ever() {
    let mut world = World::new(Quality::Good);
    world.machine.handle(world.now, Event::Offered(offer("7")));
    let (mut fetches, mut seen) = (0, 0);
    for _ in 0..1000 {
        world.now = world.now + Duration::from_secs(1);
        let commands = world.machine.handle(world.now, Event::Tick);
        if commands.iter().any(|command| matches!(command, Command::Fetch(_))) {
            fetches += 1;
        }
        if matches!(world.machine.doing, Doing::Fetching(_)) {
            let trouble = Trouble::passing("the connection was cut");
            world.machine.handle(world.now, Event::Fetched(Err(trouble)));
            // People see why nothing goes on.
            if let (Some(reason), None) = (world.machine.status().reason, world.machine.untold()) {
                assert_eq!(reason, "is tried again soon: the connection was cut");
                seen += 1;
            }
        }
    }
    assert!((2..=TRIES).contains(&fetches), "{fetches}");
    // The first fetch came with the offer; the last failure is the end.
    assert_eq!(seen, fetches, "nobody was told why it waits");
    let outcome = world.machine.untold().unwrap();
    assert_eq!((outcome.end, outcome.text.as_str()), (End::Failure, "the connection was cut"));
    // What lasts is not tried again.
    let mut world = World::new(Quality::Good);
    world.machine.handle(world.now, Event::Offered(offer("7")));
    world.machine.handle(world.now, Event::Fetched(Err(Trouble::lasting("no room"))));
    assert_eq!(world.machine.untold().unwrap().end, End::Failure);
}

#[test]
fn without_a_record_on_the_disk_nothing_is_installed() {
    let mut world = World::new(Quality::Good);
    world.kept_fails = true;
    world.live("7", 200);
    assert!(!world.log.iter().any(|command| matches!(command, Command::Install(_) | Command::Restart)));
    assert_eq!(world.version(), OLD);
    assert_eq!(world.ends().first(), Some(&End::Failure));
}

#[test]
fn a_person_agrees_where_the_policy_says_so() {
    let mut world = World::new(Quality::Good);
    world.machine.policy.person_confirms = true;
    world.live("7", 10);
    assert!(world.machine.status().asks);
    assert_eq!(world.version(), OLD);
    world.happen(Event::Confirmed { yes: true });
    assert!(!world.machine.status().asks);
    assert!(matches!(world.machine.doing, Doing::Installing(_)));
    let mut world = World::new(Quality::Good);
    world.machine.policy.person_confirms = true;
    world.live("7", 3);
    world.happen(Event::Confirmed { yes: false });
    world.live("7", 10);
    assert_eq!(world.ends(), [End::Failure]);
}

#[test]
fn a_server_that_asks_is_answered_and_not_asked_about_again_after_a_no() {
    let asking = Offer { asks: true, ..offer("7") };
    let mut world = World::new(Quality::Good);
    world.happen(Event::Offered(asking.clone()));
    world.happen(Event::Tick);
    let yes = Command::Tell { action: "7".into(), news: News::Answer { yes: true } };
    assert_eq!(world.log.iter().filter(|command| **command == yes).count(), 1);
    assert!(!world.log.iter().any(|command| matches!(command, Command::Fetch(_))));
    world.live("7", 30);
    assert_eq!(world.version(), NEW);
    let mut world = World::new(Quality::Good);
    world.machine.policy.person_confirms = true;
    world.happen(Event::Offered(asking.clone()));
    assert!(world.machine.status().asks);
    world.happen(Event::Confirmed { yes: false });
    let no = Command::Tell { action: "7".into(), news: News::Answer { yes: false } };
    assert!(world.log.contains(&no));
    world.happen(Event::Offered(asking));
    assert!(!world.machine.status().asks, "asked again after a no");
}

#[test]
fn a_version_that_is_not_well_can_still_be_replaced() {
    let mut world = World::new(Quality::Good);
    world.slots[0] = ("1.0.0", true);
    world.unwell = true;
    world.boot();
    assert!(!world.machine.is_good());
    world.live("7", 30);
    assert_eq!((world.version(), world.ends()), (NEW, vec![End::Success]));
}

#[test]
fn an_installation_that_is_cut_off_again_and_again_ends_in_a_failure() {
    let mut world = World::new(Quality::Good);
    for _ in 0..20 {
        world.happen(Event::Offered(offer("7")));
        world.now = world.now + Duration::from_secs(60);
        world.happen(Event::Tick);
        if world.told.is_empty() && world.machine.untold().is_some() {
            world.told.extend(world.machine.untold().cloned());
        }
        // Power fails in the middle of the writing.
        world.boot();
    }
    assert_eq!(world.told.len(), 1);
    assert!(world.told[0].text.contains("cut off"), "{}", world.told[0].text);
    assert_eq!(world.version(), OLD);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    /// Power fails anywhere, again and again: a whole slot boots, and it ends in the new version or in a failure that
    /// its server was told of.
    #[test]
    fn no_power_cut_bricks_or_loses_an_update(
        quality in prop_oneof![Just(Quality::Good), Just(Quality::Bad), Just(Quality::Dead)],
        cuts in prop::collection::vec(0..40_u64, 0..4),
    ) {
        let mut world = World::new(quality);
        for cut in cuts {
            let until = world.steps + cut;
            let mut seconds = 0;
            while world.steps < until && seconds < 100 {
                world.second("7");
                seconds += 1;
            }
            world.boot();
        }
        world.live("7", 400);
        let last = world.told.last().cloned();
        match quality {
            Quality::Good if world.version() == NEW => {
                prop_assert_eq!(last.map(|outcome| outcome.end), Some(End::Success));
            }
            _ => {
                prop_assert_eq!(world.version(), OLD);
                prop_assert_eq!(last.map(|outcome| outcome.end), Some(End::Failure));
            }
        }
        prop_assert!(world.slots[world.running].1);
        prop_assert_eq!(world.left[world.running], 3);
    }
}
