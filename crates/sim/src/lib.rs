//! Seeded histories: the real core against a simulated cluster, store, clock and users.
//!
//! ```text
//!             plan ── everything below is drawn from one seed
//!  client ─► ┌───────────────┐ ─► store     what was committed; a crash loses the rest
//!  agenda ─► │ sim: the loop │ ─► cluster   agents, offers, tasks, updates
//!            │  around Core  │ ─► check     after every step
//!            └───────────────┘    settle    after the faults: what was asked for comes true
//! ```
//! One seed is one history, to the millisecond. Each seed switches some faults off entirely, so that some
//! histories are kind enough to get far. INVARIANTS.md lists what is checked.

mod agenda;
mod agent;
mod check;
mod client;
mod cluster;
mod dice;
mod foresight;
mod groups;
mod kept;
mod placement;
mod plan;
mod pod;
mod promise;
mod restart;
mod room;
mod settle;
mod sim;
mod store;
mod task;

use std::collections::BTreeSet;

pub use marathon_core_faulty::Fault;

use plan::Plan;
use sim::Sim;

/// How many events reach the core before the world turns kind, unless said otherwise.
pub const EVENTS: u64 = 2_000;
/// How much of a history is told when it went wrong.
const TAIL: usize = 40;

/// A history that went well.
#[derive(Debug, Clone, Copy, Default)]
pub struct Summary {
    pub steps: u64,
    pub simulated_ms: u64,
    pub launches: u64,
    /// Previews of the settled world that came true.
    pub foreseen: u64,
}

/// A history that broke an invariant.
#[derive(Debug, Clone)]
pub struct Violation {
    pub name: &'static str,
    pub detail: String,
    pub history: History,
    /// The last things that happened.
    pub tail: Vec<String>,
}

/// Which history to tell.
#[derive(Debug, Clone)]
pub struct History {
    pub seed: u64,
    /// How many events reach the core before the world turns kind.
    pub events: u64,
    /// Bugs of the original that are back in it.
    pub broken: BTreeSet<Fault>,
}

impl History {
    pub fn of(seed: u64) -> History {
        History { seed, events: EVENTS, broken: BTreeSet::new() }
    }
}

pub fn run(history: &History) -> Result<Summary, Box<Violation>> {
    let (sim, found) = tell(history, false);
    match found {
        Ok(()) => {
            let Sim { steps, foreseen, ref agenda, ref checks, .. } = sim;
            Ok(Summary { steps, simulated_ms: agenda.now, launches: checks.launches, foreseen })
        }
        // Told again, word for word, with every word written down.
        Err((name, detail)) => {
            let tail = journal(history);
            let tail = tail[tail.len().saturating_sub(TAIL)..].to_vec();
            Err(Box::new(Violation { name, detail, history: history.clone(), tail }))
        }
    }
}

/// Everything that happens in a history, up to its end or its violation.
pub fn journal(history: &History) -> Vec<String> {
    tell(history, true).0.journal.unwrap_or_default()
}

fn tell(history: &History, journal: bool) -> (Sim, check::Found) {
    let mut sim = Sim::new(Plan::draw(history), journal);
    let mut found = sim.chaos();
    if found.is_ok() {
        sim.heal();
        found = sim.settles();
    }
    (sim, found)
}
