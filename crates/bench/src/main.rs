//! Benchmarks against peers and physical limits.
fn main() {}
