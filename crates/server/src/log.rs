//! The log as an operator reads it: one line an event, to standard error.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use marathon_http::Logging;
use tracing_subscriber::filter::{EnvFilter, LevelFilter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

type Handle = reload::Handle<EnvFilter, tracing_subscriber::Registry>;

/// Levels by logger; the root logger is `root`.
#[derive(Clone)]
pub struct Levels {
    handle: Handle,
    set: Arc<Mutex<Vec<(String, String)>>>,
}

/// The original's names of levels as ours.
fn level(name: &str) -> &'static str {
    match name {
        "off" => "off",
        "fatal" | "error" => "error",
        "warn" => "warn",
        "debug" => "debug",
        "trace" | "all" => "trace",
        _ => "info",
    }
}

fn filter(set: &[(String, String)]) -> EnvFilter {
    let mut text = String::new();
    for (logger, level) in set {
        let separator = if text.is_empty() { "" } else { "," };
        let name = logger.replace('.', "::");
        let written = match logger.as_str() {
            "root" => write!(text, "{separator}{level}"),
            _ => write!(text, "{separator}{name}={level}"),
        };
        written.expect("writing to a string does not fail");
    }
    EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).parse_lossy(text)
}

/// Starts the log. `colour` where a person watches.
pub fn begin(root: &str, colour: bool) -> Levels {
    let set = vec![
        ("root".to_owned(), level(root).to_owned()),
        // Libraries tell too much of themselves at the level of ours.
        ("hyper".to_owned(), "warn".to_owned()),
        ("rustls".to_owned(), "warn".to_owned()),
    ];
    let (layer, handle) = reload::Layer::new(filter(&set));
    let format =
        tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(colour).with_target(false);
    tracing_subscriber::registry().with(layer).with(format).init();
    Levels { handle, set: Arc::new(Mutex::new(set)) }
}

impl Levels {
    fn change(&self, logger: &str, level: Option<&str>) -> Option<String> {
        let mut set = self.set.lock().unwrap_or_else(PoisonError::into_inner);
        let before = set.iter().position(|(name, _)| name == logger).map(|at| set.remove(at).1);
        if let Some(level) = level {
            set.push((logger.to_owned(), level.to_owned()));
        }
        // Only a subscriber that is gone refuses, and then nobody listens.
        let _ = self.handle.reload(filter(&set));
        before
    }
}

impl Logging for Levels {
    fn levels(&self) -> Vec<(String, String)> {
        let set = self.set.lock().unwrap_or_else(PoisonError::into_inner);
        set.iter().map(|(name, level)| (name.clone(), level.to_uppercase())).collect()
    }

    fn set(&self, logger: &str, to: &str, time: Option<Duration>) -> Result<(), String> {
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | ':' | '-');
        if logger.is_empty() || !logger.chars().all(legal) {
            return Err(format!("'{logger}' is no name of a logger"));
        }
        let name = if logger.eq_ignore_ascii_case("root") { "root" } else { logger };
        let before = self.change(name, Some(level(to)));
        if let Some(time) = time {
            let (levels, name) = (self.clone(), name.to_owned());
            tokio::spawn(async move {
                tokio::time::sleep(time).await;
                levels.change(&name, before.as_deref());
            });
        }
        Ok(())
    }
}
