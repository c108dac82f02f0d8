//! What `DELETE /v2/leader?backup=…&restore=…` asks of the next leader: to save the state to a file before it
//! begins, and to begin with the state of another.
//!
//! With `--zk` the errand waits in ZooKeeper, beside the state, and whoever leads next does it, with files of its own
//! machine. Without, it waits in the data folder for the next start.

use std::path::{Path, PathBuf};

use marathon_http::Errand;
use marathon_store::Pair;
use marathon_zookeeper::{Client, Error, Mode};

use crate::state;

/// Where an errand waits.
#[derive(Debug, Clone)]
pub enum Board {
    File(PathBuf),
    Node(Client, String),
}

impl Board {
    pub fn folder(data_dir: &Path) -> Board {
        Board::File(data_dir.join("errand.json"))
    }

    pub fn zookeeper(client: &Client, path: &str) -> Board {
        Board::Node(client.clone(), format!("{path}/errand"))
    }

    /// Leaves it for the next leader.
    pub async fn leave(&self, errand: &Errand) -> Result<(), String> {
        let text = encode(errand);
        match self {
            Board::File(file) => std::fs::write(file, text).map_err(|it| format!("{}: {it}", file.display())),
            Board::Node(client, path) => {
                let made = match client.create(path, text.as_bytes(), Mode::Persistent).await {
                    Err(Error::NodeExists) => client.set(path, text.as_bytes(), -1).await.map(drop),
                    other => other.map(drop),
                };
                made.map_err(|error| format!("{path}: {error}"))
            }
        }
    }

    /// Takes it: whatever comes of it, it is not tried again and again.
    pub async fn take(&self) -> Option<Errand> {
        let text = match self {
            Board::File(file) => {
                let text = std::fs::read(file).ok()?;
                let _ = std::fs::remove_file(file);
                text
            }
            Board::Node(client, path) => {
                let (text, _) = client.get(path).await.ok()?;
                client.delete(path, -1).await.ok()?;
                text
            }
        };
        decode(&text)
    }
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

    use super::*;

    #[test]
    fn errands_come_back() {
        let errand = Errand { backup: Some("/a".into()), restore: None };
        assert_eq!(decode(encode(&errand).as_bytes()), Some(errand));
        assert_eq!(decode(b"{"), None);
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
