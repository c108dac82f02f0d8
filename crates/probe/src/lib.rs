//! Carries out HTTP, HTTPS and TCP checks.
//!
//! ```text
//! Probe ─► at most `max_concurrent` at once ─► check ─► ProbeResult
//!     └──► at most `max_waiting` behind them
//!     └──► the rest is answered with a failure at once
//! ```
//! One check is one connection: nothing is kept between two of them that could hide that a task no
//! longer accepts any. The client is a thin layer over hyper, since a leader makes thousands of checks
//! a second and needs neither redirects nor cookies, proxies or a pool.

mod check;
mod http;
mod prober;
mod resolve;
mod tls;

pub use check::{check_http, check_tcp};
pub use prober::{ProbeConfig, Prober};
