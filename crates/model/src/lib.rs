//! The nouns of Marathon: what exists, what may happen to it, what is done about it.
//!
//! ```text
//! id  time  resources                       values
//! app  pod  group  update                   what a user asks for
//! offer  instance  reservation              what the cluster has, runs and keeps
//! event ─► (core) ─► write, act, notice     what happens and what follows
//! view  explain                             everything at one moment, as GET requests read it
//! ```
//! No clock, no file, no socket. The types derive serde for one purpose: they are the shape of the
//! stored records. JSON of the `/v2` API is written by hand in the `api` crate, and a golden file in
//! `records` pins the stored form, so that a renamed field fails a test instead of losing data
//! (docs/decisions/0003-stored-records.md).

pub mod act;
pub mod app;
pub mod callback;
pub mod command;
pub mod deployment;
pub mod event;
pub mod explain;
pub mod group;
pub mod id;
pub mod instance;
pub mod notice;
pub mod offer;
pub mod pod;
pub mod preview;
pub mod reservation;
pub mod resources;
pub mod time;
pub mod update;
pub mod view;
pub mod write;
