//! A watchdog that nobody feeds resets the machine, and the next start knows why. Runs across two boots
#![allow(clippy::unwrap_used, missing_docs)]

use std::{path::Path, time::Duration};

use rostrum_hal::watchdog::{ResetReason, Watchdog};
use rostrum_rig::open_board;

/// Of the watchdog that outlives a reset, as hardware does.
const SECTIONS: &str = "[watchdog]\ndriver = \"watchdog\"\ndevice = \"i6300ESB timer\"\ntimeout_s = 2";

fn watchdog() -> Box<dyn Watchdog> {
    open_board(SECTIONS).unwrap().watchdog.unwrap()
}

#[test]
fn first_boot_a_starved_watchdog_resets_the_board() {
    let mut watchdog = watchdog();
    assert_eq!(watchdog.last_reset(), ResetReason::Unknown);
    // Fed, it waits: longer than its timeout, so that what follows comes from hunger alone.
    for _ in 0..8 {
        std::thread::sleep(watchdog.timeout() / 4);
        watchdog.feed().unwrap();
    }
    std::fs::write("/out/starving", "").unwrap();
    std::thread::sleep(Duration::from_secs(120));
    panic!("nothing happened");
}

#[test]
fn second_boot_the_reason_of_the_reset_is_known() {
    assert!(Path::new("/out/starving").exists(), "it was reset while it was fed");
    let mut watchdog = watchdog();
    assert_eq!(watchdog.last_reset(), ResetReason::Watchdog);
    watchdog.disarm().unwrap();
}
