//! Builders and helpers shared by tests.
