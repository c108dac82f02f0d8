//! The only unsafe code: what the keeper needs from the kernel and safe libraries do not offer.
//!
//! `spawn` starts a process in a new session with exactly the descriptors, identity and cgroups it is
//! given; the rest are thin wrappers around single system calls. Each `unsafe` block says why it is
//! sound; nothing here keeps state except the stack a `Spawner` lends to its children.

mod spawn;
mod system;

pub use nix::errno::Errno;
pub use spawn::{Identity, Setup, SpawnError, Spawner, Stage};
pub use system::{
    boottime_ms, ended_child, in_network, pidfd_exit, pidfd_open, pidfd_signal, reap, status_parts, take_fd,
};
