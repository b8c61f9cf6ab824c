//! Whether the machine's clock is right (`adjtimex(2)`).

/// Whether something, such as systemd-timesyncd or chrony, sets the clock and found it right lately; `None` where the
/// kernel does not say.
pub fn clock_is_synchronised() -> Option<bool> {
    // SAFETY: zeroed, all fields of the struct are valid numbers; with `modes` 0 the kernel only fills it.
    #[allow(unsafe_code)]
    let (result, status) = unsafe {
        let mut state: libc::timex = std::mem::zeroed();
        (libc::adjtimex(&raw mut state), state.status)
    };
    (result >= 0).then_some(result != libc::TIME_ERROR && status & libc::STA_UNSYNC == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_says_the_same_twice() {
        let first = clock_is_synchronised();
        assert!(first.is_some(), "reading needs no rights");
        assert_eq!(first, clock_is_synchronised());
    }
}
