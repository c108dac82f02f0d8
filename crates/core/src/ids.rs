//! New ids without a random source: a seed (entropy in production) and the time that came with the event.
//! Each kind has a generator of its own, so one more launch renames no deployment of a simulated history.

use marathon_model::id::DeploymentId;
use marathon_model::time::Timestamp;
use uuid::Uuid;

#[derive(Debug)]
pub struct Ids {
    instances: TimeIds,
    deployments: TimeIds,
    volumes: TimeIds,
    numbers: u64,
}

impl Ids {
    pub fn new(seed: u64) -> Ids {
        Ids {
            instances: TimeIds { node: mix(seed ^ 1), last: 0 },
            deployments: TimeIds { node: mix(seed ^ 2), last: 0 },
            volumes: TimeIds { node: mix(seed ^ 4), last: 0 },
            numbers: mix(seed ^ 3),
        }
    }

    pub fn instance(&mut self, now: Timestamp) -> Uuid {
        self.instances.next(now)
    }

    pub fn deployment(&mut self, now: Timestamp) -> DeploymentId {
        DeploymentId(self.deployments.next(now))
    }

    pub fn volume(&mut self, now: Timestamp) -> Uuid {
        self.volumes.next(now)
    }

    /// A number below `bound`, for choices where any answer will do.
    pub fn below(&mut self, bound: usize) -> usize {
        self.numbers = self.numbers.wrapping_add(0x9e37_79b9_7f4a_7c15);
        if bound == 0 { 0 } else { (mix(self.numbers) % bound as u64) as usize }
    }
}

/// From the Gregorian reform, where version 1 begins to count, to 1970.
const EPOCH: u64 = 0x01b2_1dd2_1381_4000;

/// When an id was made, where it is one that tells.
pub fn made_at(uuid: Uuid) -> Option<Timestamp> {
    let (ticks, _) = uuid.get_timestamp().filter(|_| uuid.get_version_num() == 1)?.to_gregorian();
    i64::try_from(ticks.checked_sub(EPOCH)? / 10_000).ok().map(Timestamp)
}

/// Version 1 UUIDs: a time in units of 100 ns that always grows, and a node drawn from the seed.
#[derive(Debug)]
struct TimeIds {
    node: u64,
    last: u64,
}

impl TimeIds {
    fn next(&mut self, now: Timestamp) -> Uuid {
        let ticks = u64::try_from(now.0).unwrap_or(0).saturating_mul(10_000).saturating_add(EPOCH);
        self.last = ticks.max(self.last + 1);
        let node = self.node.to_be_bytes();
        // The multicast bit marks a node that is no network card.
        let node = [node[0] | 1, node[1], node[2], node[3], node[4], node[5]];
        let sequence = (self.node & 0x3fff) as u16;
        let time = self.last;
        let fields = [
            ((sequence >> 8) as u8) | 0x80,
            sequence as u8,
            node[0],
            node[1],
            node[2],
            node[3],
            node[4],
            node[5],
        ];
        Uuid::from_fields(time as u32, (time >> 32) as u16, ((time >> 48) as u16 & 0x0fff) | 0x1000, &fields)
    }
}

/// SplitMix64's finaliser: spreads neighbouring seeds over all numbers.
fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ_within_one_moment_and_are_version_one() {
        let mut ids = Ids::new(7);
        let now = Timestamp(1_700_000_000_000);
        let (a, b) = (ids.instance(now), ids.instance(now));
        assert_ne!(a, b);
        assert_eq!((a.get_version_num(), b.get_version_num()), (1, 1));
        assert_eq!((made_at(a), made_at(Uuid::nil())), (Some(now), None));
        assert_eq!(Ids::new(7).instance(now), a);
        assert_ne!(Ids::new(8).instance(now), a);
    }
}
