//! Virtual time and the timers of the simulation.
//!
//! The core never asks a clock: each step is told what time it is, and [`Timers`] says when the next step is
//! due. So a test runs the 35 s of a recorded scenario in a millisecond, and twice the same.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

/// Nanoseconds since the epoch. Real in the program, invented in tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Time(pub u64);

impl Time {
    pub fn plus(self, by: Duration) -> Time {
        Time(self.0.saturating_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)))
    }

    pub fn since(self, earlier: Time) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Seconds with a fraction, as Mesos writes timestamps.
    pub fn seconds(self) -> f64 {
        self.0 as f64 / 1e9
    }

    pub fn nanoseconds(self) -> i64 {
        i64::try_from(self.0).unwrap_or(i64::MAX)
    }
}

/// What wakes the simulation, by itself, later.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    Heartbeat {
        conn: u64,
    },
    Allocate,
    /// The next thing a simulated executor does with this task.
    Task {
        task: usize,
        life: u32,
    },
    /// The head of a task's queue of updates was not acknowledged in time.
    Resend {
        task: usize,
        send: u32,
    },
    ResendOperation {
        operation: u64,
        send: u32,
    },
    OfferTimeout {
        offer: u64,
    },
    /// Pings of this agent were missed for too long.
    Unreachable {
        agent: usize,
        life: u32,
    },
    /// The agent comes (back) to the master.
    Register {
        agent: usize,
        life: u32,
    },
    FrameworkGone {
        framework: usize,
        life: u32,
    },
    ExecutorExits {
        executor: usize,
    },
    /// A dead master's session ends and the next one takes over.
    Elect {
        life: u32,
    },
    /// An update that a fault holds back.
    Delayed {
        task: usize,
        send: u32,
    },
    Faults,
}

/// A queue of timers; those of things that have changed meanwhile are recognised as stale when they fire.
#[derive(Debug, Default)]
pub struct Timers {
    heap: BinaryHeap<Reverse<(Time, u64, Timer)>>,
    serial: u64,
}

impl Timers {
    pub fn add(&mut self, at: Time, timer: Timer) {
        self.serial += 1;
        self.heap.push(Reverse((at, self.serial, timer)));
    }

    pub fn next(&self) -> Option<Time> {
        self.heap.peek().map(|Reverse((at, _, _))| *at)
    }

    pub fn take_due(&mut self, now: Time) -> Option<(Time, Timer)> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse((at, _, timer))| (at, timer))
    }
}
