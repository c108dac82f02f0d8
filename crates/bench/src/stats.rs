//! The few statistics the benches need.

use std::time::Duration;

/// The value below which this share of all values lies (nearest rank); 0 of nothing.
pub fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (share * sorted.len() as f64).ceil().max(1.0) as usize;
    sorted.get(rank.min(sorted.len()).saturating_sub(1)).copied().unwrap_or(0.0)
}

pub fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

pub fn max(values: &[f64]) -> f64 {
    values.iter().copied().fold(0.0, f64::max)
}

pub fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Three significant digits: more would claim what one run cannot know.
pub fn round(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let digits = 2 - value.abs().log10().floor() as i32;
    let scale = 10f64.powi(digits);
    // Whole numbers stay whole: dividing by a fraction such as 0.01 would leave dust behind.
    if digits <= 0 { (value * scale).round() * 10f64.powi(-digits) } else { (value * scale).round() / scale }
}

/// Numbers that decide which task to kill next. Any will do, and the same in each run is best.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap_or(0) % bound.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles() {
        let values: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        for (share, want) in [(0.5, 50.0), (0.99, 99.0), (1.0, 100.0), (0.0, 1.0), (0.001, 1.0)] {
            assert_eq!(quantile(&values, share), want, "{share}");
        }
        assert_eq!(quantile(&[], 0.5), 0.0);
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
    }

    #[test]
    fn three_digits() {
        for (value, want) in [
            (0.0, 0.0),
            (1234.0, 1230.0),
            (1_234_567.0, 1_230_000.0),
            (0.012_345, 0.0123),
            (9.999, 10.0),
            (2.345, 2.35),
            (123.0, 123.0),
        ] {
            assert_eq!(round(value), want, "{value}");
        }
    }
}
