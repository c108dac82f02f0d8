//! Who watches while clients write: which instance says that it leads, and what the Mesos cluster saw.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::client::{Answer, ask};
use super::history::{Claim, Entry, Moment};
use super::mesos;

const PAUSE: Duration = Duration::from_millis(100);

/// Asks one instance again and again whether it leads.
pub fn claims(instance: usize, address: SocketAddr, began: Instant, stop: &AtomicBool) -> Vec<Claim> {
    let mut claims = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let sent = began.elapsed().as_secs_f64();
        if let Answer::Status(200, _) = ask(address, "GET", "/v2/leader/health", "") {
            claims.push(Claim { instance, sent, told: began.elapsed().as_secs_f64() });
        }
        std::thread::sleep(PAUSE);
    }
    claims
}

/// The longest stretch in which nobody said that he leads.
pub fn longest_without(claims: &[Claim], end: Moment) -> Moment {
    let mut times: Vec<Moment> = claims.iter().map(|it| it.told).filter(|it| *it < end).collect();
    times.push(end);
    times.sort_by(f64::total_cmp);
    times.windows(2).map(|it| it[1] - it[0]).fold(0.0, f64::max)
}

/// The journal of the cluster, as it grows.
pub struct Journal {
    masters: Vec<SocketAddr>,
    names: Vec<String>,
    began: Instant,
    next: u64,
    /// From the cluster's time to ours, as the quickest answer told it.
    offset: (f64, f64),
    pub entries: Vec<Entry>,
}

impl Journal {
    pub fn new(masters: Vec<SocketAddr>, names: Vec<String>, began: Instant) -> Journal {
        Journal { masters, names, began, next: 0, offset: (f64::MAX, 0.0), entries: Vec::new() }
    }

    pub fn follow(mut self, stop: &AtomicBool) -> Journal {
        while !stop.load(Ordering::Relaxed) {
            self.read();
            std::thread::sleep(PAUSE * 3);
        }
        self
    }

    /// All that is there. `false`: no answer.
    pub fn read(&mut self) -> bool {
        loop {
            let sent = self.began.elapsed().as_secs_f64();
            let Some(told) = mesos::journal(&self.masters, self.next) else { return false };
            let took = self.began.elapsed().as_secs_f64() - sent;
            if took < self.offset.0 {
                self.offset = (took, sent + took / 2.0 - told["now"].as_f64().unwrap());
            }
            let entries = told["entries"].as_array().unwrap();
            if entries.is_empty() {
                return true;
            }
            for it in entries {
                assert_eq!(it["n"].as_u64(), Some(self.next), "the journal has a gap");
                self.next += 1;
                self.entries.extend(mesos::entry(&self.names, it, self.offset.1));
            }
        }
    }
}
