//! What `DELETE /v2/leader?backup=…&restore=…` asks of the next leader: to save the state to a file before it
//! begins, and to begin with the state of another.
//!
//! With `--zk` the errand waits in ZooKeeper, beside the state, and whoever leads next does it, with files of its own
//! machine. It is left and taken as the state is written: by the leader alone. One that wakes up late neither puts its
//! errand before a leader it was not meant for nor takes one that is not its own. Without `--zk` it waits in the data folder
//! for the next start.

use std::path::{Path, PathBuf};

use marathon_http::Errand;
use marathon_store::Pair;
use marathon_zookeeper::{Client, Error, Mode, Op};

use crate::state;

/// A request of which it is not known whether it was done is repeated so often.
const ATTEMPTS: usize = 5;

/// Where an errand waits.
#[derive(Debug, Clone)]
pub enum Board {
    File(PathBuf),
    /// `leads` fails once somebody else has taken over.
    Node {
        client: Client,
        path: String,
        leads: Op,
    },
}

impl Board {
    pub fn folder(data_dir: &Path) -> Board {
        Board::File(data_dir.join("errand.json"))
    }

    pub fn zookeeper(client: &Client, path: &str, leads: Op) -> Board {
        Board::Node { client: client.clone(), path: format!("{path}/errand"), leads }
    }

    /// Leaves it for the next leader.
    pub async fn leave(&self, errand: &Errand) -> Result<(), String> {
        let text = encode(errand);
        match self {
            Board::File(file) => std::fs::write(file, text).map_err(|it| format!("{}: {it}", file.display())),
            Board::Node { client, path, leads } => {
                let data = text.into_bytes();
                let create = Op::Create {
                    path: path.clone(),
                    data: data.clone(),
                    acl: client.acl(),
                    mode: Mode::Persistent,
                };
                let set = Op::Set { path: path.clone(), data, version: -1 };
                let made = async || match client.multi(&[leads.clone(), create.clone()]).await {
                    Err((1, Error::NodeExists)) => client.multi(&[leads.clone(), set.clone()]).await,
                    other => other,
                };
                again(made).await.map(drop).map_err(|error| format!("{path}: {}", told(error)))
            }
        }
    }

    /// Takes it: whatever comes of it, it is not tried again and again.
    pub async fn take(&self) -> Option<Errand> {
        match self {
            Board::File(file) => {
                let text = std::fs::read(file).ok()?;
                let _ = std::fs::remove_file(file);
                decode(&text)
            }
            Board::Node { client, path, leads } => {
                let text = match client.get(path).await {
                    Ok((text, _)) => text,
                    Err(Error::NoNode) => return None,
                    Err(error) => return untaken(path, error),
                };
                let delete = Op::Delete { path: path.clone(), version: -1 };
                let mut first = true;
                let taken = again(async || {
                    let taken = client.multi(&[leads.clone(), delete.clone()]).await;
                    match (taken, std::mem::take(&mut first)) {
                        // The attempt before this one did it: nobody else could.
                        (Err((1, Error::NoNode)), false) => Ok(Vec::new()),
                        (taken, _) => taken,
                    }
                });
                match taken.await {
                    Ok(_) => decode(&text),
                    Err(error) => untaken(path, told(error)),
                }
            }
        }
    }
}

type Multi = Result<Vec<Option<String>>, (usize, Error)>;

async fn again(mut ask: impl AsyncFnMut() -> Multi) -> Multi {
    let mut result = ask().await;
    for _ in 1..ATTEMPTS {
        match &result {
            Err((_, error)) if error.is_unknown() => result = ask().await,
            _ => break,
        }
    }
    result
}

fn told((at, error): (usize, Error)) -> String {
    match (at, error) {
        (0, Error::BadVersion | Error::NoNode) => "another instance leads already".to_owned(),
        (_, error) => error.to_string(),
    }
}

fn untaken(path: &str, why: impl std::fmt::Display) -> Option<Errand> {
    tracing::error!(path, %why, "a backup or restoration that was asked for is left alone");
    None
}

/// Does what was asked. A backup or a restoration that fails is told, and the state stays as it is.
pub fn carry_out(errand: &Errand, pairs: Vec<Pair>) -> Vec<Pair> {
    if let Some(file) = &errand.backup {
        match state::save(&pairs, Path::new(file)) {
            Ok(()) => tracing::info!(file, records = pairs.len(), "saved the state, as it was asked for"),
            Err(error) => {
                tracing::error!(file, %error, "the state could not be saved; nothing is restored either");
                return pairs;
            }
        }
    }
    let Some(file) = &errand.restore else { return pairs };
    match state::restore(Path::new(file)).and_then(|it| state::check(&it).map(|()| it)) {
        Ok(restored) => {
            tracing::warn!(file, records = restored.len(), "beginning with a state that was saved earlier");
            restored
        }
        Err(error) => {
            tracing::error!(file, error, "the saved state cannot be used; the present one stays");
            pairs
        }
    }
}

fn encode(errand: &Errand) -> String {
    serde_json::json!({ "backup": errand.backup, "restore": errand.restore }).to_string()
}

fn decode(text: &[u8]) -> Option<Errand> {
    let json: serde_json::Value = serde_json::from_slice(text).ok()?;
    let field = |name: &str| json.get(name).and_then(|it| it.as_str()).map(str::to_owned);
    Some(Errand { backup: field("backup"), restore: field("restore") })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use marathon_store::{ZkOptions, ZkStore};
    use marathon_zookeeper::{Options, ZkUrl};

    use super::*;

    #[test]
    fn errands_come_back() {
        let errand = Errand { backup: Some("/a".into()), restore: None };
        assert_eq!(decode(encode(&errand).as_bytes()), Some(errand));
        assert_eq!(decode(b"{"), None);
    }

    /// As in `Election::open`.
    async fn leader(client: &Client, path: &str) -> Board {
        let (ours, at) = (client.clone(), path.to_owned());
        let runtime = tokio::runtime::Handle::current();
        let open = move || ZkStore::open(ours, runtime, &at, "host:1", ZkOptions::default());
        let (store, _) = tokio::task::spawn_blocking(open).await.unwrap().unwrap();
        Board::zookeeper(client, path, store.leads())
    }

    #[tokio::test]
    async fn whoever_wakes_up_late_neither_leaves_nor_takes_an_errand() {
        let zk = marathon_testkit::zookeeper::ZooKeeper::start();
        let url = ZkUrl::parse(&zk.url("/m")).unwrap();
        let path = url.path.clone();
        let client = Client::connect(&Options::new(url));
        let asked = |file: &str| Errand { backup: Some(file.to_owned()), restore: None };
        let first = leader(&client, &path).await;
        first.leave(&asked("/a")).await.unwrap();
        first.leave(&asked("/b")).await.unwrap();
        let second = leader(&client, &path).await;
        assert_eq!(first.take().await, None, "it leads no longer");
        let late = first.leave(&asked("/c")).await.unwrap_err();
        assert_eq!(late, "/m/errand: another instance leads already");
        assert_eq!(second.take().await, Some(asked("/b")));
        assert_eq!(second.take().await, None, "once is enough");
        assert!(first.leave(&asked("/d")).await.is_err());
        assert_eq!(leader(&client, &path).await.take().await, None);
    }

    #[test]
    fn what_fails_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| Some(folder.path().join(name).display().to_string());
        let now: Vec<Pair> = vec![("format".into(), b"1".to_vec())];
        let saved = carry_out(&Errand { backup: file("saved"), restore: None }, now.clone());
        assert_eq!(
            (saved, state::restore(&folder.path().join("saved")).unwrap()),
            (now.clone(), now.clone())
        );
        let nowhere = Errand { backup: file("no/where"), restore: file("saved") };
        assert_eq!(carry_out(&nowhere, vec![]), []);
        assert_eq!(carry_out(&Errand { backup: None, restore: file("none") }, now.clone()), now);
        assert_eq!(carry_out(&Errand { backup: None, restore: file("saved") }, vec![]), now);
    }
}
