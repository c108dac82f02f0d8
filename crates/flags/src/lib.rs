//! Command line flags and `MARATHON_*` variables.
//!
//! ```text
//!            ┌──► parse ──► Flags (texts, by row) ──► config ──► Config (typed, complete)
//! table ─────┼──► docs::help()       what --help prints
//!            └──► docs::markdown()   docs/flags.md, compared by a test
//! ```
//! One table knows everything about a flag. No clock, no file, no environment is read here: what the
//! machine says arrives as [`Machine`].

pub mod check;
pub mod config;
pub mod docs;
pub mod parse;
pub mod resources;
pub mod table;

pub use config::{Behaviour, Config, Isolation, Machine, Master, StoreKind};
pub use parse::{Flags, Parsed, parse};
pub use table::{FLAGS, Flag};

/// Why a command line cannot be used. Every text names the flag and, unless it is secret, the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FlagError {
    #[error("Unknown option '{given}'{hint}")]
    Unknown { given: String, hint: String },
    #[error("Unexpected argument '{0}': every option begins with two dashes")]
    Stray(String),
    #[error("Option '{flag}' needs a value")]
    NoValue { flag: String },
    #[error("Option '{flag}' takes no value, but got '{value}'")]
    Valued { flag: String, value: String },
    #[error("Bad arguments for option '{flag}': given more than once")]
    Repeated { flag: String },
    #[error("Bad arguments for option '{flag}': both '{flag}' and 'disable_{flag}' are given")]
    OnAndOff { flag: String },
    #[error("Bad arguments for option '{flag}': '{value}' - {why}")]
    Bad { flag: String, value: String, why: String },
    #[error("Required option '{flag}' not found. {hint}")]
    Missing { flag: &'static str, hint: &'static str },
    /// Flags that do not go together.
    #[error("{0}")]
    Together(String),
}
