//! The embedded engine: this machine as a cluster of one.
