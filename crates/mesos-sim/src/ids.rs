//! Ids from a seed: the same seed and the same calls give the same ids.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

pub struct Ids {
    random: ChaCha8Rng,
}

impl Ids {
    pub fn new(seed: u64) -> Ids {
        Ids { random: ChaCha8Rng::seed_from_u64(seed) }
    }

    pub fn bytes(&mut self) -> [u8; 16] {
        let mut bytes = [0; 16];
        self.random.fill_bytes(&mut bytes);
        *uuid::Builder::from_random_bytes(bytes).as_uuid().as_bytes()
    }

    pub fn uuid(&mut self) -> String {
        uuid::Uuid::from_bytes(self.bytes()).to_string()
    }

    /// True with this probability.
    pub fn chance(&mut self, rate: f64) -> bool {
        rate > 0.0 && (self.random.next_u64() as f64 / u64::MAX as f64) < rate
    }

    /// A number below `limit`; 0 when there is no choice.
    pub fn below(&mut self, limit: usize) -> usize {
        if limit == 0 { 0 } else { (self.random.next_u64() % limit as u64) as usize }
    }
}
