//! An ephemeral sequential node that comes back: how a master, or a candidate, says that it is there.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::{Client, Error, Mode, Options};

const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Keeps one node below a folder, made anew with each session. Dropping it removes the node.
#[derive(Debug)]
pub struct Member {
    node: watch::Receiver<Option<String>>,
    leave: mpsc::Sender<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Member {
    /// Joins `folder` (made if it is missing) by a node `<prefix><number>`, for example
    /// `/mesos/json.info_0000000023`. Must be called within a tokio runtime.
    pub fn join(options: Options, folder: &str, prefix: &str, data: Vec<u8>) -> Member {
        let (sender, node) = watch::channel(None);
        let (leave, leaving) = mpsc::channel(1);
        let (folder, prefix) = (folder.to_owned(), prefix.to_owned());
        let task = tokio::spawn(async move {
            keep(&options, &folder, &prefix, &data, sender, leaving).await;
        });
        Member { node, leave, task }
    }

    /// The name of the node while it is there.
    pub fn node(&self) -> watch::Receiver<Option<String>> {
        self.node.clone()
    }

    /// Removes the node, and returns once others can see that.
    pub async fn leave(self) {
        let (done, left) = oneshot::channel();
        if self.leave.send(done).await.is_ok() {
            let _ = left.await;
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // Takes the client along, which ends the session.
        self.task.abort();
    }
}

async fn keep(
    options: &Options,
    folder: &str,
    prefix: &str,
    data: &[u8],
    node: watch::Sender<Option<String>>,
    mut leaving: mpsc::Receiver<oneshot::Sender<()>>,
) {
    let mut pause = PAUSE_MIN;
    loop {
        let client = Client::connect(options);
        let stay = async {
            match enter(&client, folder, prefix, data).await {
                Ok(name) => {
                    tracing::debug!(folder, name, "joined");
                    pause = PAUSE_MIN;
                    node.send_replace(Some(name));
                    client.over().await;
                }
                Err(error) => tracing::warn!(folder, %error, "cannot join; trying again"),
            }
        };
        let asked = tokio::select! {
            () = stay => None,
            asked = leaving.recv() => asked,
        };
        if let Some(done) = asked {
            // Without a connection the node runs out with the session.
            let _ = tokio::time::timeout(options.request_timeout, client.close()).await;
            node.send_replace(None);
            let _ = done.send(());
            return;
        }
        node.send_replace(None);
        drop(client);
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Makes the node. A request whose answer was lost may have made it: then it is found by its owner.
pub async fn enter(client: &Client, folder: &str, prefix: &str, data: &[u8]) -> Result<String, Error> {
    let path = format!("{folder}/{prefix}");
    loop {
        let made = match client.create(&path, data, Mode::EphemeralSequential).await {
            Err(Error::NoNode) => client.make(folder).await.map(|()| None),
            Err(error) if error.is_unknown() => own(client, folder, prefix).await,
            Err(error) => return Err(error),
            Ok(path) => Ok(Some(path[folder.len() + 1..].to_owned())),
        };
        match made {
            Ok(Some(name)) => return Ok(name),
            Ok(None) => {}
            // Waits for the next connection, as every request does.
            Err(error) if error.is_unknown() => {}
            Err(error) => return Err(error),
        }
    }
}

async fn own(client: &Client, folder: &str, prefix: &str) -> Result<Option<String>, Error> {
    for name in client.children(folder).await?.into_iter().filter(|it| it.starts_with(prefix)) {
        let stat = client.exists(&format!("{folder}/{name}")).await?;
        if stat.is_some_and(|it| it.owner == client.session()) {
            return Ok(Some(name));
        }
    }
    Ok(None)
}
