//! Seeded histories: the real core against a simulated cluster and store.
