//! Which processors are ours, and who runs where.

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use crate::Outcome;

/// Two processors: the one under test and the one that makes the load. `None` on a machine with one.
#[derive(Debug, Clone, Copy)]
pub struct Pair {
    pub server: usize,
    pub load: usize,
}

/// The processors this process may use, lowest first.
fn allowed() -> Outcome<Vec<usize>> {
    let set = sched_getaffinity(Pid::from_raw(0))?;
    Ok((0..CpuSet::count()).filter(|&cpu| set.is_set(cpu).unwrap_or(false)).collect())
}

pub fn pair() -> Outcome<Option<Pair>> {
    Ok(match allowed()?.as_slice() {
        [load, server, ..] => Some(Pair { server: *server, load: *load }),
        _ => None,
    })
}

/// Binds this thread, and the processes it starts from now on, until the guard is dropped.
pub fn pin(cpu: Option<usize>) -> Outcome<Pinned> {
    let before = sched_getaffinity(Pid::from_raw(0))?;
    if let Some(cpu) = cpu {
        let mut set = CpuSet::new();
        set.set(cpu)?;
        sched_setaffinity(Pid::from_raw(0), &set)?;
    }
    Ok(Pinned { before })
}

pub struct Pinned {
    before: CpuSet,
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // The worst that can happen is a slower rest of the run.
        let _ = sched_setaffinity(Pid::from_raw(0), &self.before);
    }
}
