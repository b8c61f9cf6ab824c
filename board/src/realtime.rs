//! Real-time priority for threads that must not be late (`sched(7)`).

use std::sync::Once;

/// Above everything that is not real-time, below the threads that the kernel has for interrupts (50).
const PRIORITY: libc::c_int = 10;

/// Asks for `SCHED_FIFO` for the calling thread, but not for those that it starts. Says once in the log when
/// this is not permitted: sound works without it, and has gaps when the machine is busy.
pub fn ask_for_realtime() {
    static TOLD: Once = Once::new();
    if let Err(error) = set_fifo(PRIORITY) {
        TOLD.call_once(|| {
            log::info!(error:%; "no real-time priority; give it with LimitRTPRIO={PRIORITY} of the systemd unit");
        });
    }
}

#[allow(unsafe_code)]
fn set_fifo(priority: libc::c_int) -> std::io::Result<()> {
    let parameters = libc::sched_param { sched_priority: priority };
    // SAFETY: 0 is the calling thread, and the parameters live until the call is over.
    let result =
        unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK, &parameters) };
    if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(unsafe_code)]
    fn a_thread_gets_it_where_it_is_permitted_and_goes_on_where_it_is_not() {
        let thread = std::thread::spawn(|| {
            ask_for_realtime();
            let permitted = set_fifo(PRIORITY).is_ok();
            // SAFETY: takes no memory; 0 is the calling thread.
            let policy = unsafe { libc::sched_getscheduler(0) };
            (permitted, policy & !libc::SCHED_RESET_ON_FORK == libc::SCHED_FIFO)
        });
        let result = thread.join().unwrap_or((true, false));
        assert_eq!(result.0, result.1);
    }
}
