//! A Mesos cluster in one process: masters and thousands of agents, behind the real HTTP API.
//!
//! ```text
//!        ┌──────────── pure, on virtual time ────────────┐
//! HTTP ──► front ──► Sim: frameworks, offers, accept,    ├──► frames, answers
//! admin ─►          executors, updates, agents, masters  │
//!        └───────────────────────────────────────────────┘
//!   shell: sockets, real processes, ZooKeeper, the clock
//! ```
//! Conformance tests replay what a real master was recorded to say (`tests/conformance`).

mod accept;
pub mod admin;
pub mod agent_page;
pub mod agents;
pub mod audit;
mod behaviour;
mod body;
mod checks;
pub mod config;
pub mod convert;
mod executors;
pub mod faults;
mod frameworks;
pub mod front;
mod group;
mod ids;
mod inverse;
mod journal;
pub mod launch;
mod masters;
pub mod metrics;
pub mod null;
mod offers;
mod operations;
pub mod operator;
pub mod options;
mod pages;
pub mod processes;
mod reconcile;
pub mod resources;
mod sandbox;
mod scheduler;
pub mod script;
pub mod shell;
pub mod sim;
mod slab;
pub mod state;
pub mod time;
mod updates;
mod v1;
mod validate;
pub mod watch;
