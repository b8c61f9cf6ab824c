//! Which program runs on which core.

use anyhow::Context;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The first two cores that we may use.
pub(crate) fn two() -> anyhow::Result<[usize; 2]> {
    let ours = sched_getaffinity(None).context("cannot read which cores there are")?;
    let mut cores = (0..CpuSet::MAX_CPU).filter(|core| ours.is_set(*core));
    let two = cores.next().zip(cores.next());
    let (first, second) =
        two.context("this bench needs two cores: one for the server, one for what loads it")?;
    Ok([first, second])
}

/// Runs `work` on a thread that stays on `core`, as do all programs that it starts.
pub(crate) fn on<T: Send>(core: usize, work: impl FnOnce() -> anyhow::Result<T> + Send) -> anyhow::Result<T> {
    let pinned = || {
        let mut set = CpuSet::new();
        set.set(core);
        sched_setaffinity(None, &set).context("cannot stay on one core")?;
        work()
    };
    std::thread::scope(|scope| scope.spawn(pinned).join())
        .unwrap_or_else(|_| Err(anyhow::anyhow!("a thread of the bench panicked")))
}
