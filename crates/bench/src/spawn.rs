//! How fast this machine starts processes at all.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::{Outcome, procs};

/// The command all benches and peers run.
pub const PROGRAM: &str = "/bin/sleep";
pub const ARGUMENT: &str = "1000";

fn sleeper() -> Outcome<Child> {
    // Without a hook before exec, and with nothing else to change, this is posix_spawn. All three streams
    // are inherited, so nothing is opened for it either.
    let mut command = Command::new(PROGRAM);
    command.arg(ARGUMENT).stdin(Stdio::inherit()).stdout(Stdio::inherit()).stderr(Stdio::inherit());
    let child = command.spawn()?;
    procs::started(child.id());
    Ok(child)
}

fn end(mut child: Child) -> Outcome<()> {
    child.kill()?;
    child.wait()?;
    procs::reaped(i32::try_from(child.id())?);
    Ok(())
}

/// Starts per second, from one thread; ending them is not counted.
pub fn rate(count: u32) -> Outcome<f64> {
    let mut children = Vec::new();
    let begin = Instant::now();
    for _ in 0..count {
        children.push(sleeper()?);
    }
    let took = begin.elapsed();
    children.into_iter().try_for_each(end)?;
    Ok(f64::from(count) / took.as_secs_f64())
}

/// From a kill to a successor: SIGKILL, notice the end, start again.
pub fn respawns(count: usize) -> Outcome<Vec<Duration>> {
    let mut child = sleeper()?;
    let mut times = Vec::new();
    for _ in 0..count {
        std::thread::sleep(Duration::from_millis(2));
        let pid = i32::try_from(child.id())?;
        let begin = Instant::now();
        procs::signal(pid, Signal::SIGKILL);
        child.wait()?;
        procs::reaped(pid);
        child = sleeper()?;
        times.push(begin.elapsed());
    }
    end(child)?;
    Ok(times)
}
