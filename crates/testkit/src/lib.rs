//! Builders shared by tests: a whole `View` in a few lines, with ids and times that never vary.
//!
//! ```
//! use marathon_testkit::{app, view};
//!
//! let view = view().app(app("/shop/cart").instances(3).running(2).scheduled(1)).build();
//! assert_eq!(view.apps.len(), 1);
//! assert!(view.groups.contains_key(&marathon_testkit::path("/shop")));
//! ```

mod app;
mod bodies;
mod view;
pub mod zookeeper;

pub use app::{AppBuilder, agent, app, deployment_id, instance_id, task_id, uuid};
pub use bodies::nearly_right;
pub use view::{ViewBuilder, step, view};

use std::time::Duration;

use marathon_model::id::PathId;
use marathon_model::time::Timestamp;

/// A path that must be legal.
pub fn path(text: &str) -> PathId {
    match PathId::parse(text) {
        Ok(path) => path,
        Err(error) => panic!("{text}: {error}"),
    }
}

/// 2021-03-04T09:10:11.120Z and so many seconds.
pub fn at(seconds: u64) -> Timestamp {
    Timestamp(1_614_849_011_120) + Duration::from_secs(seconds)
}
