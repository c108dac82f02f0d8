//! Durable writes: an append-only log with snapshots, or memory.
