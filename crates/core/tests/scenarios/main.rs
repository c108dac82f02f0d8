//! Whole histories against a small, obedient cluster: what a user sees happen.
#![allow(clippy::unwrap_used)]

mod agents;
mod deployments;
mod explain;
mod groups;
mod guards;
mod instances;
mod pods;
mod previews;
mod promises;
mod resident;
mod restarts;
mod rig;
