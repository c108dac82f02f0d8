//! The connection to the keeper.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;

use marathon_keeper::protocol::{Cgroups, Event, Lifetime, Request};
use marathon_keeper::{Client, KeeperError};

use crate::agent::Input;
use crate::config::LocalConfig;
use crate::shell::Message;

/// Makes connections.
pub struct Connector {
    pub config: Arc<LocalConfig>,
    /// The user was told that limits are not enforced; once is enough.
    pub warned: AtomicBool,
}

/// One connection; ends when dropped.
pub struct Link {
    /// Connections are numbered, so that the end of an old one is not taken for the end of this.
    pub number: u64,
    client: Client,
}

impl Connector {
    /// Connects, starting a keeper if there is none. What the keeper says goes to `inbox`, except for
    /// its first word, which is returned. Blocks.
    pub fn connect(&self, number: u64, inbox: &Sender<Message>) -> Result<(Link, Input), KeeperError> {
        let LocalConfig { dir, executable, build, checkpoint, failover_timeout, .. } = &*self.config;
        let lifetime = Lifetime { checkpoint: *checkpoint, failover_secs: failover_timeout.as_secs_f64() };
        let (client, mut events) = Client::connect(&dir.join("keeper"), executable, build, lifetime)?;
        let tasks = match events.next_event()? {
            Event::Welcome { tasks, cgroups, pid, .. } => {
                let ended = tasks.iter().filter(|it| it.end.is_some()).count();
                let running = tasks.len() - ended;
                tracing::info!(pid, running, ended, "the keeper of the tasks is there");
                self.warn(&cgroups);
                tasks
            }
            other => return Err(KeeperError::Strange { text: format!("{other:?}") }),
        };
        let inbox = inbox.clone();
        std::thread::Builder::new()
            .name("keeper-events".to_owned())
            .spawn(move || {
                for event in events {
                    if inbox.send(Message::Input(Input::Keeper(event))).is_err() {
                        return;
                    }
                }
                let _ = inbox.send(Message::Lost(number));
            })
            .map_err(|source| KeeperError::Lost { source })?;
        Ok((Link { number, client }, Input::Welcome(tasks)))
    }

    fn warn(&self, cgroups: &Cgroups) {
        if let Cgroups::None { why } = cgroups
            && self.config.isolation
            && !self.warned.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(why, "limits of cpu and memory are not enforced on this machine");
        }
    }
}

impl Link {
    /// What cannot be sent is lost with the connection, of which the reader tells.
    pub fn send(&mut self, requests: &[Request]) {
        if let Err(error) = self.client.send_all(requests) {
            tracing::debug!(%error, "requests were not sent");
        }
    }
}
