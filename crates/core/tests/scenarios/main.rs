//! Whole histories against a small, obedient cluster: what a user sees happen.
#![allow(clippy::unwrap_used)]

mod agents;
mod callbacks;
mod deployments;
mod explain;
mod groups;
mod guards;
mod health;
mod history;
mod instances;
mod offers;
mod pods;
mod previews;
mod promises;
mod resident;
mod restarts;
mod rig;
mod roles;
