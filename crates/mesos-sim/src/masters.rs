//! Masters die, are elected, and learn from their agents what there is.

use std::time::Duration;

use crate::sim::{Output, Sim};
use crate::state::{Link, View};
use crate::time::Timer;

impl Sim {
    /// This seat leads from now on, and knows only what the registry knows: which agents there are.
    pub fn lead(&mut self, seat: usize) {
        self.leader = Some(seat);
        self.announced = Some(seat);
        self.seats[seat].elected = Some(self.now);
        for agent in 0..self.agents.len() {
            let it = &mut self.agents[agent];
            if matches!(it.link, Link::Recovered | Link::Unknown) {
                let wait = self.config.register_within.mul_f64(self.ids.below(1000) as f64 / 1000.0);
                it.life += 1;
                self.timers.add(self.now.plus(wait), Timer::Register { agent, life: it.life });
                let timer = Timer::Unreachable { agent, life: it.life };
                self.timers.add(self.now.plus(Duration::from_secs(600)), timer);
            }
        }
    }

    /// ZooKeeper says that this seat leads.
    pub fn elected(&mut self, seat: usize) {
        self.foreign = None;
        if self.leader != Some(seat) {
            self.nobody_leads();
            self.lead(seat);
        }
    }

    /// ZooKeeper knows no leader, or one that is not ours.
    pub fn nobody_leads(&mut self) {
        if self.leader.take().is_some() {
            self.forget_all();
        }
        (self.announced, self.foreign) = (None, None);
    }

    /// SIGKILL to a master process. If it led, its followers go on believing in it until its session ends.
    pub fn kill_master(&mut self, seat: usize) {
        self.seats[seat].up = false;
        if self.leader == Some(seat) {
            self.forget_all();
            self.leader = None;
            self.schedule_election(self.config.session_timeout);
        }
    }

    /// The process starts again, with a new id.
    pub fn start_master(&mut self, seat: usize) {
        if self.seats[seat].up {
            return;
        }
        let id = self.ids.uuid();
        let it = &mut self.seats[seat];
        (it.id, it.up, it.started, it.elected) = (id, true, self.now, None);
        if self.leader.is_none() && self.announced.is_none() {
            self.schedule_election(Duration::from_millis(50));
        }
    }

    /// The leader gives up leadership properly, and the next one takes over at once.
    pub fn fail_over(&mut self) {
        let Some(old) = self.leader else { return };
        self.forget_all();
        self.leader = None;
        self.election += 1;
        self.announced = None;
        self.seats[old].id = self.ids.uuid();
        self.seats[old].elected = None;
        let next =
            (1..=self.seats.len()).map(|it| (old + it) % self.seats.len()).find(|it| self.seats[*it].up);
        if let (Some(next), false) = (next, self.external_election) {
            self.lead(next);
        }
    }

    fn schedule_election(&mut self, wait: Duration) {
        if self.external_election {
            return;
        }
        self.election += 1;
        self.timers.add(self.now.plus(wait), Timer::Elect { life: self.election });
    }

    pub(crate) fn elect(&mut self, life: u32) {
        if life != self.election || self.leader.is_some() {
            return;
        }
        let next = self.seats.iter().position(|it| it.up);
        self.announced = None;
        if let Some(seat) = next {
            self.lead(seat);
        }
    }

    /// All that only the leading master knew.
    pub fn forget_all(&mut self) {
        let conns: Vec<u64> = self.streams.keys().chain(self.watchers.keys()).copied().collect();
        self.streams.clear();
        self.watchers.clear();
        self.out.extend(conns.into_iter().map(|conn| Output::Close { conn, clean: false }));
        for number in self.offers.keys().copied().collect::<Vec<_>>() {
            if let Some(held) = self.drop_offer(number) {
                self.recover(held.agent, &held.resources);
            }
        }
        self.inverse_offers.clear();
        self.completed.clear();
        for framework in 0..self.frameworks.len() {
            let it = &mut self.frameworks[framework];
            let forgotten = it.tasks.is_empty() || it.removed.is_some();
            it.subscription = None;
            it.life += 1;
            it.recovered = true;
            it.suppressed.clear();
            it.constraints = None;
            it.completed.clear();
            if forgotten {
                let id = it.id.clone();
                // A framework of which no agent knows is forgotten; its id may come again as if new.
                it.removed.get_or_insert(self.now);
                self.framework_ids.remove(&id);
            }
        }
        for agent in 0..self.agents.len() {
            let it = &mut self.agents[agent];
            it.filters.clear();
            it.kills.clear();
            if matches!(it.link, Link::Registered | Link::Disconnected) {
                it.link = Link::Recovered;
            }
            for at in it.tasks.clone() {
                if let Some(task) = self.tasks.get_mut(at)
                    && task.view == View::Known
                {
                    task.view = View::Hidden;
                }
            }
        }
    }
}
