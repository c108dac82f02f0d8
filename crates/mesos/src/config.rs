//! What the engine is told once.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use marathon_mesos_v1 as v1;
use marathon_mesos_v1::Codec;
use marathon_model::id::FrameworkId;
use marathon_model::resources::Role;

use crate::address::Masters;
use crate::filter::Filtering;

#[derive(Debug, Clone)]
pub struct MesosConfig {
    pub masters: Masters,
    pub framework: Framework,
    /// Given by an earlier run; without it the master makes a new one.
    pub id: Option<FrameworkId>,
    /// Roles that are subscribed to from the beginning; more are added as they are asked for. The first is our own,
    /// without which nothing goes; a master may refuse the others.
    pub roles: Vec<Role>,
    /// No offers flow before the core asks for them.
    pub suppress: bool,
    pub login: Option<Login>,
    /// Masters that ZooKeeper names are reached by TLS.
    pub https: bool,
    /// Certificates to trust instead of those of the system.
    pub ca_file: Option<PathBuf>,
    /// JSON is for people who watch the wire.
    pub codec: Codec,
    /// So long a silence, so many times in a row, and the connection counts as lost.
    pub heartbeat: Duration,
    pub heartbeats_missed: u32,
    pub about: About,
    /// Lets the master keep offers to itself that nothing of the state can use.
    pub filtering: Option<Filtering>,
}

/// What stays the same of `FrameworkInfo`.
#[derive(Debug, Clone)]
pub struct Framework {
    pub name: String,
    pub user: String,
    pub failover_timeout: Duration,
    pub checkpoint: bool,
    pub hostname: String,
    pub webui_url: String,
    pub principal: Option<String>,
    pub task_killing: bool,
    pub gpus: bool,
}

/// HTTP basic authentication.
#[derive(Clone)]
pub struct Login {
    pub principal: String,
    pub secret: Vec<u8>,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Login({})", self.principal)
    }
}

/// What goes into tasks.
#[derive(Debug, Clone, Default)]
pub struct About {
    /// The network of a bridge of the Mesos containerizer.
    pub bridge_name: String,
    /// The executor of apps that name none; empty or `//cmd` is Mesos's own.
    pub executor: String,
    pub secrets: Secrets,
}

type Ask = dyn Fn(&str) -> Result<Vec<u8>, String> + Send + Sync;

/// Where the values of secrets come from.
///
/// By default only their names are sent, for a secret resolver of the agents. With a source of our own the values
/// are: they travel to the master, so the connection should be encrypted.
#[derive(Clone, Default)]
pub struct Secrets(Option<Arc<Ask>>);

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Secrets(values)" } else { "Secrets(names)" })
    }
}

impl Secrets {
    /// `ask` may block for a while.
    pub fn values(ask: impl Fn(&str) -> Result<Vec<u8>, String> + Send + Sync + 'static) -> Secrets {
        Secrets(Some(Arc::new(ask)))
    }

    pub fn value(data: impl Into<Vec<u8>>) -> v1::Secret {
        v1::Secret {
            r#type: Some(v1::SecretType::VALUE as i32),
            reference: None,
            value: Some(v1::SecretValue { data: data.into() }),
        }
    }

    /// The value as a text, where there is a source of values: what a variable holds.
    pub fn text(&self, source: &str) -> Option<Result<String, String>> {
        let ask = self.0.as_ref()?;
        let text = ask(source).map_err(|why| missing(source, &why)).and_then(|data| {
            let data =
                data.strip_suffix(b"\n").map_or(data.as_slice(), |it| it.strip_suffix(b"\r").unwrap_or(it));
            match std::str::from_utf8(data) {
                Ok(text) if !text.contains('\0') => Ok(text.to_owned()),
                _ => Err(format!("the secret `{source}` is no text, as a variable must be")),
            }
        });
        Some(text)
    }

    pub fn info(&self, source: &str) -> Result<v1::Secret, String> {
        match &self.0 {
            None => Ok(v1::Secret {
                r#type: Some(v1::SecretType::REFERENCE as i32),
                reference: Some(v1::SecretReference { name: source.to_owned(), key: None }),
                value: None,
            }),
            Some(ask) => ask(source).map(Secrets::value).map_err(|why| missing(source, &why)),
        }
    }
}

fn missing(source: &str, why: &str) -> String {
    format!("the secret `{source}` is not to be had: {why}")
}
