//! Taking the store over, and reading it.

use std::collections::HashMap;
use std::path::PathBuf;

use marathon_zookeeper::{Client, Error, Mode, Stat};

use super::read::{self, Keep, Layout, State, Trouble};
use super::standby::Standby;
use super::{Content, FORMAT, Tree};
use crate::error::{Cause, Fate, StoreError};

/// A connection may be lost while the state is read, and a reader that does not lead may meet one who tidies up.
const ATTEMPTS: u32 = 5;
const DOING: &str = "cannot read the state in ZooKeeper at";

/// Records as they are stored.
type Pairs = HashMap<String, Vec<u8>>;

/// A step from one layout to the next. `MIGRATIONS[n]` leads from format `n + 1` to `n + 2`: it gets the
/// records as they were and may change them; they are then written anew, as a snapshot.
type Migration = fn(&mut Pairs) -> Result<(), String>;
const MIGRATIONS: [Migration; FORMAT as usize - 1] = [];

#[derive(Debug)]
pub struct Loaded<K> {
    pub tree: Tree,
    pub content: Content<K>,
    pub next: u64,
    pub bytes: u64,
    pub nodes: u64,
    pub snapshot: u64,
    /// The last folder of the log, if there is one.
    pub folder: Option<u64>,
}

/// From now on nobody else can write, and here is everything anybody was told is written.
pub async fn take_over<K: Keep + Default>(
    client: &Client,
    path: &str,
    holder: &str,
    standby: Option<&mut Standby<K>>,
) -> Result<Loaded<K>, StoreError> {
    let root = root(path);
    refuse_original(client, path, &root).await?;
    prepare(client, &root).await.map_err(|error| failed(&root, error))?;
    let epoch = claim(client, &root, holder).await.map_err(|error| failed(&root, error))?;
    let tree =
        Tree { client: client.clone(), root: root.as_str().into(), acl: client.acl(), epoch: epoch.version };
    if let Some(standby) = standby {
        match standby.catch_up(client, &epoch).await {
            Ok((layout, state)) => {
                let State { kept, next, bytes, nodes, snapshot, torn } = state;
                remove_torn(&tree, torn).await.map_err(|error| failed(&root, error))?;
                let junk = layout.junk;
                let remove = tree.clone();
                // Nobody needs it, and nobody shall wait for it to be gone.
                tokio::spawn(async move { remove.remove(junk).await });
                let content = Content::Kept(kept);
                return Ok(Loaded { tree, content, next, bytes, nodes, snapshot, folder: layout.folder });
            }
            Err(why) => tracing::info!(why, "reading the whole state from ZooKeeper"),
        }
    }
    let (layout, state) = read_patiently(client, &root).await?;
    let State { kept: mut pairs, next, bytes, nodes, snapshot, torn } = state;
    let steps = MIGRATIONS.iter().skip(layout.format.max(1) as usize - 1);
    for step in steps {
        step(&mut pairs).map_err(|what| damaged(&root, what))?;
    }
    remove_torn(&tree, torn).await.map_err(|error| failed(&root, error))?;
    tree.remove(layout.junk).await.map_err(|error| failed(&root, error))?;
    let content = Content::Pairs(sorted(pairs));
    Ok(Loaded { tree, content, next, bytes, nodes, snapshot, folder: layout.folder })
}

/// What is torn must be gone before its numbers are used again. From its end: it stays torn on the way.
async fn remove_torn(tree: &Tree, mut torn: Vec<String>) -> Result<(), Error> {
    if !torn.is_empty() {
        tracing::info!(nodes = torn.len(), "removing a commit that nobody was told of");
    }
    torn.reverse();
    tree.remove(torn).await
}

fn sorted(pairs: Pairs) -> Vec<crate::Pair> {
    let mut pairs: Vec<crate::Pair> = pairs.into_iter().collect();
    pairs.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    pairs
}

/// Reads everything without taking it over: for copies, and for whoever is not the leader.
pub async fn read(client: &Client, path: &str) -> Result<Vec<crate::Pair>, StoreError> {
    let root = root(path);
    refuse_original(client, path, &root).await?;
    if client.exists(&root).await.map_err(|error| failed(&root, error))?.is_none() {
        return Ok(Vec::new());
    }
    let (_, state) = read_patiently(client, &root).await?;
    Ok(sorted(state.kept))
}

pub fn root(path: &str) -> String {
    format!("{path}/store")
}

/// The original keeps its state beside ours, in a form that only it can read.
async fn refuse_original(client: &Client, path: &str, root: &str) -> Result<(), StoreError> {
    let ours = client.exists(root).await.map_err(|error| failed(root, error))?;
    if ours.is_some() {
        return Ok(());
    }
    let theirs = format!("{path}/state/internal:storage:version");
    match client.exists(&theirs).await.map_err(|error| failed(root, error))? {
        None => Ok(()),
        Some(_) => Err(StoreError {
            doing: DOING,
            path: PathBuf::from(path),
            fate: Fate::NotApplied,
            cause: Cause::Original,
        }),
    }
}

/// Makes what a new store consists of; the epoch last, so that where there is one, there is all.
async fn prepare(client: &Client, root: &str) -> Result<(), Error> {
    if persist(async || client.exists(&format!("{root}/epoch")).await).await?.is_some() {
        return Ok(());
    }
    for folder in ["log", "snapshot"] {
        persist(async || client.make(&format!("{root}/{folder}")).await).await?;
    }
    for (name, data) in [("format", FORMAT.to_string()), ("epoch", String::new())] {
        let path = format!("{root}/{name}");
        persist(async || match client.create(&path, data.as_bytes(), Mode::Persistent).await {
            Ok(_) | Err(Error::NodeExists) => Ok(()),
            Err(error) => Err(error),
        })
        .await?;
    }
    Ok(())
}

/// If an attempt that seemed lost happens after all, we have shut ourselves out, and the first commit says so.
async fn claim(client: &Client, root: &str, holder: &str) -> Result<Stat, Error> {
    let path = format!("{root}/epoch");
    persist(async || client.set(&path, holder.as_bytes(), -1).await).await
}

/// Again, if the answer was lost.
async fn persist<T>(mut ask: impl AsyncFnMut() -> Result<T, Error>) -> Result<T, Error> {
    let mut result = ask().await;
    for _ in 1..ATTEMPTS {
        match &result {
            Err(error) if error.is_unknown() => result = ask().await,
            _ => break,
        }
    }
    result
}

async fn read_patiently(client: &Client, root: &str) -> Result<(Layout, State<Pairs>), StoreError> {
    for attempt in 1.. {
        match read::everything(client, root).await {
            Ok(found) => return Ok(found),
            // Lost, or removed while we looked.
            Err(Trouble::ZooKeeper(error))
                if attempt < ATTEMPTS && (error.is_unknown() || error == Error::NoNode) => {}
            // A commit may have come between two looks.
            Err(Trouble::Damaged(what)) if attempt < 3 => {
                tracing::debug!(what, "the state in ZooKeeper looks incomplete; looking again");
            }
            Err(Trouble::ZooKeeper(error)) => return Err(failed(root, error)),
            Err(Trouble::Damaged(what)) => return Err(damaged(root, what)),
            Err(Trouble::Newer(found)) => {
                let cause = Cause::NewerLayout { found, known: FORMAT };
                return Err(StoreError { doing: DOING, path: root.into(), fate: Fate::NotApplied, cause });
            }
        }
    }
    unreachable!("the last attempt returns")
}

fn failed(root: &str, error: Error) -> StoreError {
    let cause = Cause::ZooKeeper(error);
    StoreError { doing: DOING, path: root.into(), fate: Fate::NotApplied, cause }
}

fn damaged(root: &str, what: String) -> StoreError {
    let cause = Cause::DamagedNode(what);
    StoreError { doing: DOING, path: root.into(), fate: Fate::NotApplied, cause }
}
