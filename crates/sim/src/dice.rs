//! Everything that is left to chance, drawn from the seed.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Each part of the world rolls dice of its own, so that switching one fault off leaves the rest of a
/// history much as it was.
#[derive(Debug)]
pub struct Dice(ChaCha8Rng);

impl Dice {
    pub fn new(seed: u64, part: u64) -> Dice {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(part);
        Dice(rng)
    }

    pub fn chance(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.0.random_bool(probability.min(1.0))
    }

    /// From `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        self.0.random_range(low..=high.max(low))
    }

    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.0.random_range(0..of.len())]
    }

    pub fn uuid(&mut self) -> uuid::Uuid {
        uuid::Uuid::from_u128(self.0.random())
    }

    /// A waiting time around `mean`: often short, sometimes long.
    pub fn around(&mut self, mean: u64) -> u64 {
        let roll: f64 = self.0.random();
        (-(1.0 - roll).ln() * mean as f64) as u64 + 1
    }
}
