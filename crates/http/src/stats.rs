//! Counters and histograms of the HTTP server, without locks.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use hyper::Method;

/// Buckets per doubling: values are right within an eighth.
const STEPS: usize = 8;
/// From 1 µs to about an hour.
const BUCKETS: usize = STEPS * 32;

/// Durations in logarithmic buckets.
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    count: AtomicU64,
    sum_us: AtomicU64,
    max_us: AtomicU64,
    min_us: AtomicU64,
    rate: Meter,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram {
            buckets: std::array::from_fn(|_| AtomicU64::new(0)),
            count: AtomicU64::new(0),
            sum_us: AtomicU64::new(0),
            max_us: AtomicU64::new(0),
            min_us: AtomicU64::new(u64::MAX),
            rate: Meter::default(),
        }
    }
}

fn bucket(us: u64) -> usize {
    let us = us.max(1);
    let power = us.ilog2();
    let step = if power >= 3 { (us >> (power - 3)) & 7 } else { (us << (3 - power)) & 7 };
    (power as usize * STEPS + step as usize).min(BUCKETS - 1)
}

/// The least value of a bucket, in µs.
fn floor_of(bucket: usize) -> f64 {
    let power = (bucket / STEPS) as i32;
    2f64.powi(power) * (1.0 + (bucket % STEPS) as f64 / STEPS as f64)
}

/// What a histogram says at one moment; times in seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Summary {
    pub count: u64,
    pub min: f64,
    pub mean: f64,
    pub max: f64,
    pub stddev: f64,
    /// At 0.5, 0.75, 0.95, 0.98, 0.99, 0.999.
    pub quantiles: [f64; 6],
    pub rates: Rates,
}

pub const QUANTILES: [f64; 6] = [0.5, 0.75, 0.95, 0.98, 0.99, 0.999];

impl Histogram {
    pub fn record(&self, time: Duration) {
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.buckets[bucket(us)].fetch_add(1, Relaxed);
        self.count.fetch_add(1, Relaxed);
        self.sum_us.fetch_add(us, Relaxed);
        if self.max_us.load(Relaxed) < us {
            self.max_us.fetch_max(us, Relaxed);
        }
        if us < self.min_us.load(Relaxed) {
            self.min_us.fetch_min(us, Relaxed);
        }
    }

    pub fn summary(&self, uptime: Duration) -> Summary {
        let counts: Vec<u64> = self.buckets.iter().map(|it| it.load(Relaxed)).collect();
        let total: u64 = counts.iter().sum();
        let count = self.count.load(Relaxed);
        let rates = self.rate.rates(count, uptime);
        if total == 0 || count == 0 {
            return Summary { count, rates, ..Summary::default() };
        }
        let max = self.max_us.load(Relaxed) as f64;
        let min = self.min_us.load(Relaxed) as f64;
        let mean = self.sum_us.load(Relaxed) as f64 / count as f64;
        let spread = |(at, n): (usize, &u64)| (floor_of(at) - mean).powi(2) * *n as f64;
        let variance = counts.iter().enumerate().map(spread).sum::<f64>() / total as f64;
        let quantile = |share: f64| {
            let rank = (share * total as f64).ceil().max(1.0) as u64;
            let mut seen = 0;
            let at = counts.iter().position(|n| {
                seen += n;
                seen >= rank
            });
            floor_of(at.unwrap_or(BUCKETS - 1)).clamp(min, max) / 1e6
        };
        Summary {
            count,
            min: min / 1e6,
            mean: mean / 1e6,
            max: max / 1e6,
            stddev: variance.sqrt() / 1e6,
            quantiles: QUANTILES.map(quantile),
            rates,
        }
    }

    pub fn tick(&self) {
        self.rate.tick(self.count.load(Relaxed));
    }

    /// Halves the past, so that quantiles and extremes speak of recent times.
    pub fn fade(&self) {
        for bucket in &self.buckets {
            let n = bucket.load(Relaxed);
            bucket.fetch_sub(n - n / 2, Relaxed);
        }
        self.max_us.store(0, Relaxed);
        self.min_us.store(u64::MAX, Relaxed);
        // The next record sets both; until then the summary clamps to what it knows.
        let known: Vec<usize> = (0..BUCKETS).filter(|&at| self.buckets[at].load(Relaxed) > 0).collect();
        if let (Some(&first), Some(&last)) = (known.first(), known.last()) {
            self.min_us.fetch_min(floor_of(first) as u64, Relaxed);
            self.max_us.fetch_max(floor_of(last) as u64, Relaxed);
        }
    }
}

/// Events per second, averaged over the last 1, 5 and 15 minutes and over all time.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Rates {
    pub m1: f64,
    pub m5: f64,
    pub m15: f64,
    pub mean: f64,
}

/// How often [`Histogram::tick`] and [`Meter::tick`] are to be called.
pub const TICK: Duration = Duration::from_secs(5);

/// Moving averages of a count that is kept elsewhere.
#[derive(Default)]
pub struct Meter {
    seen: AtomicU64,
    /// Bits of `f64`; only the ticker writes.
    averages: [AtomicU64; 3],
    ticked: AtomicU64,
}

impl Meter {
    pub fn tick(&self, count: u64) {
        let new = count.saturating_sub(self.seen.swap(count, Relaxed));
        let rate = new as f64 / TICK.as_secs_f64();
        let first = self.ticked.fetch_add(1, Relaxed) == 0;
        for (average, minutes) in self.averages.iter().zip([1.0, 5.0, 15.0]) {
            let old = f64::from_bits(average.load(Relaxed));
            let weight = 1.0 - (-TICK.as_secs_f64() / (60.0 * minutes)).exp();
            let now = if first { rate } else { old + weight * (rate - old) };
            average.store(now.to_bits(), Relaxed);
        }
    }

    pub fn rates(&self, count: u64, uptime: Duration) -> Rates {
        let at = |n: usize| f64::from_bits(self.averages[n].load(Relaxed));
        let mean = count as f64 / uptime.as_secs_f64().max(1e-3);
        Rates { m1: at(0), m5: at(1), m15: at(2), mean }
    }
}

/// Methods with a timer of their own.
pub const METHODS: [&str; 7] = ["get", "post", "put", "delete", "head", "options", "other"];

/// What the server counts about its requests.
#[derive(Default)]
pub struct HttpStats {
    pub active: AtomicI64,
    pub durations: Histogram,
    pub by_method: [Histogram; METHODS.len()],
    pub request_bytes: AtomicU64,
    pub response_bytes: AtomicU64,
    pub gzipped_bytes: AtomicU64,
    /// 1xx to 5xx.
    pub statuses: [AtomicU64; 5],
    status_rates: [Meter; 5],
}

impl HttpStats {
    pub fn finished(&self, method: &Method, status: u16, took: Duration, response_bytes: u64, gzipped: bool) {
        self.durations.record(took);
        let name = match *method {
            Method::GET => 0,
            Method::POST => 1,
            Method::PUT => 2,
            Method::DELETE => 3,
            Method::HEAD => 4,
            Method::OPTIONS => 5,
            _ => 6,
        };
        self.by_method[name].record(took);
        if let Some(count) = self.statuses.get(usize::from(status / 100).wrapping_sub(1)) {
            count.fetch_add(1, Relaxed);
        }
        self.response_bytes.fetch_add(response_bytes, Relaxed);
        if gzipped {
            self.gzipped_bytes.fetch_add(response_bytes, Relaxed);
        }
    }

    pub fn tick(&self) {
        self.durations.tick();
        self.by_method.iter().for_each(Histogram::tick);
        for (meter, count) in self.status_rates.iter().zip(&self.statuses) {
            meter.tick(count.load(Relaxed));
        }
    }

    pub fn fade(&self) {
        self.durations.fade();
        self.by_method.iter().for_each(Histogram::fade);
    }

    /// Answers with a status of this hundred.
    pub fn status(&self, hundred: usize, uptime: Duration) -> (u64, Rates) {
        let count = self.statuses[hundred - 1].load(Relaxed);
        (count, self.status_rates[hundred - 1].rates(count, uptime))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_within_an_eighth() {
        for us in [1, 2, 3, 7, 8, 9, 100, 1000, 12_345, 3_600_000_000] {
            let low = floor_of(bucket(us));
            assert!(low <= us as f64 && us as f64 <= low * 1.1251, "{us} {low}");
        }
        assert_eq!((bucket(0), bucket(u64::MAX)), (0, BUCKETS - 1));
    }

    #[test]
    fn a_summary() {
        let histogram = Histogram::default();
        assert_eq!(histogram.summary(Duration::from_secs(1)), Summary::default());
        (1..=1000).for_each(|ms| histogram.record(Duration::from_millis(ms)));
        let summary = histogram.summary(Duration::from_secs(10));
        let near = |a: f64, b: f64| assert!((a - b).abs() <= b * 0.13, "{a} {b}");
        near(summary.quantiles[0], 0.5);
        near(summary.quantiles[4], 0.99);
        near(summary.mean, 0.5005);
        assert_eq!((summary.count, summary.min, summary.max, summary.rates.mean), (1000, 0.001, 1.0, 100.0));
        histogram.fade();
        near(histogram.summary(Duration::from_secs(10)).quantiles[0], 0.5);
        (0..20).for_each(|_| histogram.fade());
        assert_eq!(histogram.summary(Duration::from_secs(10)).quantiles, [0.0; 6]);
    }

    #[test]
    fn rates_follow_the_count() {
        let meter = Meter::default();
        (1..=100).for_each(|n| meter.tick(n * 50));
        let rates = meter.rates(5000, Duration::from_secs(500));
        assert_eq!(rates, Rates { m1: 10.0, m5: 10.0, m15: 10.0, mean: 10.0 });
        (0..1000).for_each(|_| meter.tick(5000));
        assert!(meter.rates(5000, Duration::from_secs(5500)).m15 < 0.1);
    }
}
