//! Faults by chance and by order.

use std::time::Duration;

use crate::script::Exit;
use crate::sim::{Output, Sim};
use crate::state::{Link, Stage};
use crate::time::Timer;

/// How often chance is asked.
pub const EVERY: Duration = Duration::from_secs(1);

/// What an admin has switched on.
#[derive(Debug, Clone, Default)]
pub struct Switches {
    pub delay_updates: Option<Duration>,
    pub duplicate_updates: bool,
    pub lose_updates: bool,
    /// Streams are written this many bytes a second.
    pub slow_stream: Option<u64>,
    /// Calls are answered 202 and forgotten.
    pub lose_calls: bool,
}

impl Sim {
    /// For an update about to leave: is it lost, late, doubled?
    pub(crate) fn faults_of_update(&mut self) -> (bool, Option<Duration>, bool) {
        let rate = self.config.faults;
        let lost = self.faults.lose_updates || self.ids.chance(rate / 10.0);
        let by_chance =
            self.ids.chance(rate / 10.0).then(|| Duration::from_millis(self.ids.below(3000) as u64));
        let delay = self.faults.delay_updates.or(by_chance);
        let twice = self.faults.duplicate_updates || self.ids.chance(rate / 10.0);
        (lost, delay, twice)
    }

    pub(crate) fn call_is_lost(&mut self) -> bool {
        self.faults.lose_calls || self.ids.chance(self.config.faults / 50.0)
    }

    /// Once a second something may go wrong: the more likely, the higher the rate.
    pub(crate) fn draw_faults(&mut self) {
        let rate = self.config.faults;
        if self.leader.is_none() {
            return;
        }
        if self.ids.chance(rate) && !self.agents.is_empty() {
            let agent = self.ids.below(self.agents.len());
            if self.agents[agent].talks() {
                if self.ids.chance(0.5) {
                    self.kill_agent(agent)
                } else {
                    self.partition_agent(agent)
                }
                self.return_later(agent);
            }
        }
        if self.ids.chance(rate) {
            self.fail_any_task();
        }
        if self.ids.chance(rate / 4.0) {
            self.drop_streams();
        }
        if self.ids.chance(rate / 20.0) {
            self.fail_over();
        }
        if self.ids.chance(rate) {
            self.rescind_all();
        }
    }

    fn return_later(&mut self, agent: usize) {
        let wait = Duration::from_secs(1 + self.ids.below(120) as u64);
        // The process is back already but needs that long to find the master.
        let it = &mut self.agents[agent];
        (it.process_up, it.partitioned) = (true, false);
        if it.link == Link::Registered {
            it.link = Link::Disconnected;
        }
        self.timers.add(self.now.plus(wait), Timer::Register { agent, life: it.life });
    }

    fn fail_any_task(&mut self) {
        let count = self.tasks.len();
        let skip = self.ids.below(count);
        let running = |run: &crate::state::Run| run.stage == Stage::Running;
        let found = self
            .tasks
            .iter()
            .skip(skip)
            .find(|(_, it)| it.run.as_deref().is_some_and(running))
            .map(|(at, _)| at);
        if let Some(at) = found {
            self.fail_task(at, Exit::Status(1));
        }
    }

    /// Cuts all streams of frameworks, as when a connection breaks.
    pub fn drop_streams(&mut self) {
        let conns: Vec<u64> = self.streams.keys().copied().collect();
        for conn in conns {
            self.disconnected(conn);
            self.out.push(Output::Close { conn, clean: false });
        }
    }

    pub fn rescind_all(&mut self) {
        for number in self.offers.keys().copied().collect::<Vec<_>>() {
            self.rescind(number);
        }
    }
}
