//! Taking the store over, and reading it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

use marathon_zookeeper::{Client, Error, Mode};

use super::node::{self, Part};
use super::{FOLDER, FORMAT, Tree};
use crate::error::{Cause, Fate, StoreError};

/// Reads on their way at once; the session has a limit of its own.
const READS: usize = 512;
/// A connection may be lost while the state is read, and a reader that does not lead may meet one who tidies up.
const ATTEMPTS: u32 = 5;
const DOING: &str = "cannot read the state in ZooKeeper at";

/// A step from one layout to the next. `MIGRATIONS[n]` leads from format `n + 1` to `n + 2`: it gets the
/// records as they were and may change them; they are then written anew, as a snapshot.
type Migration = fn(&mut HashMap<String, Vec<u8>>) -> Result<(), String>;
const MIGRATIONS: [Migration; FORMAT as usize - 1] = [];

#[derive(Debug)]
pub struct Loaded {
    pub tree: Tree,
    pub pairs: HashMap<String, Vec<u8>>,
    pub next: u64,
    pub bytes: u64,
    pub nodes: u64,
    pub snapshot: u64,
}

/// From now on nobody else can write, and here is everything anybody was told is written.
pub async fn take_over(client: &Client, path: &str, holder: &str) -> Result<Loaded, StoreError> {
    let root = root(path);
    refuse_original(client, path, &root).await?;
    prepare(client, &root).await.map_err(|error| failed(&root, error))?;
    let epoch = claim(client, &root, holder).await.map_err(|error| failed(&root, error))?;
    let tree = Tree { client: client.clone(), root: root.as_str().into(), acl: client.acl(), epoch };
    let mut state = read_patiently(client, &root).await?;
    let steps = MIGRATIONS.iter().skip(state.format.max(1) as usize - 1);
    for step in steps {
        step(&mut state.pairs).map_err(|what| damaged(&root, what))?;
    }
    if !state.junk.is_empty() || !state.torn.is_empty() {
        tracing::info!(torn = state.torn.len(), old = state.junk.len(), "removing what no commit needs");
    }
    // What is torn must be gone before its numbers are used again. From its end: it stays torn on the way.
    state.torn.reverse();
    tree.remove(state.torn).await.map_err(|error| failed(&root, error))?;
    tree.remove(state.junk).await.map_err(|error| failed(&root, error))?;
    let State { pairs, next, bytes, nodes, snapshot, .. } = state;
    Ok(Loaded { tree, pairs, next, bytes, nodes, snapshot })
}

/// Reads everything without taking it over: for copies, and for whoever is not the leader.
pub async fn read(client: &Client, path: &str) -> Result<Vec<crate::Pair>, StoreError> {
    let root = root(path);
    refuse_original(client, path, &root).await?;
    if client.exists(&root).await.map_err(|error| failed(&root, error))?.is_none() {
        return Ok(Vec::new());
    }
    let state = read_patiently(client, &root).await?;
    let mut pairs: Vec<crate::Pair> = state.pairs.into_iter().collect();
    pairs.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    Ok(pairs)
}

fn root(path: &str) -> String {
    format!("{path}/store")
}

/// The original keeps its state beside ours, in a form that only it can read.
async fn refuse_original(client: &Client, path: &str, root: &str) -> Result<(), StoreError> {
    let theirs = format!("{path}/state/internal:storage:version");
    let ours = client.exists(root).await.map_err(|error| failed(root, error))?;
    let theirs = client.exists(&theirs).await.map_err(|error| failed(root, error))?;
    match (ours, theirs) {
        (None, Some(_)) => Err(StoreError {
            doing: DOING,
            path: PathBuf::from(path),
            fate: Fate::NotApplied,
            cause: Cause::Original,
        }),
        _ => Ok(()),
    }
}

async fn prepare(client: &Client, root: &str) -> Result<(), Error> {
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
async fn claim(client: &Client, root: &str, holder: &str) -> Result<i32, Error> {
    let path = format!("{root}/epoch");
    let stat = persist(async || client.set(&path, holder.as_bytes(), -1).await).await?;
    Ok(stat.version)
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

async fn read_patiently(client: &Client, root: &str) -> Result<State, StoreError> {
    for attempt in 1.. {
        match read_once(client, root).await {
            Ok(state) => return Ok(state),
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

enum Trouble {
    ZooKeeper(Error),
    Damaged(String),
    Newer(u32),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Trouble {
        Trouble::ZooKeeper(error)
    }
}

/// Everything that is there.
#[derive(Debug, Default)]
struct State {
    format: u32,
    pairs: HashMap<String, Vec<u8>>,
    next: u64,
    bytes: u64,
    nodes: u64,
    snapshot: u64,
    /// Parts of a commit that nobody was told of.
    torn: Vec<String>,
    /// Covered by a snapshot, or a snapshot that was never finished.
    junk: Vec<String>,
}

async fn read_once(client: &Client, root: &str) -> Result<State, Trouble> {
    let mut state = State { format: format(client, root).await?, ..State::default() };
    read_snapshot(client, root, &mut state).await?;
    read_log(client, root, &mut state).await?;
    Ok(state)
}

async fn format(client: &Client, root: &str) -> Result<u32, Trouble> {
    let (text, _) = client.get(&format!("{root}/format")).await?;
    let text = String::from_utf8_lossy(&text);
    match text.trim().parse() {
        Ok(found) if found <= FORMAT => Ok(found),
        Ok(found) => Err(Trouble::Newer(found)),
        Err(_) => Err(Trouble::Damaged(format!("`format` is {text:?} and should be a number"))),
    }
}

/// The newest snapshot that is whole. Older ones, and unfinished ones, are junk.
async fn read_snapshot(client: &Client, root: &str, state: &mut State) -> Result<(), Trouble> {
    let mut names = client.children(&format!("{root}/snapshot")).await?;
    names.sort_unstable();
    let mut found = false;
    for name in names.iter().rev() {
        let folder = format!("{root}/snapshot/{name}");
        let children = client.children(&folder).await?;
        let first = name.split('-').next().and_then(|it| it.parse::<u64>().ok());
        let Some(first) = first.filter(|_| !found && children.iter().any(|it| it == "end")) else {
            state.junk.extend(children.iter().map(|it| format!("{folder}/{it}")));
            state.junk.push(folder);
            continue;
        };
        found = true;
        state.next = first;
        let (end, _) = client.get(&format!("{folder}/end")).await?;
        let count = String::from_utf8_lossy(&end).trim().parse::<u64>();
        let count = count.map_err(|_| Trouble::Damaged(format!("`{folder}/end` should be a number")))?;
        if count != children.len() as u64 - 1 {
            return Err(Trouble::Damaged(format!("`{folder}` has not the {count} nodes it should have")));
        }
        let paths = (0..count).map(|it| (it, format!("{folder}/{it:08}"))).collect();
        let mut body = Gather::default();
        read_all(client, paths, |_, path, node| {
            state.snapshot += node.len() as u64;
            let taken = body.take(node, &mut state.pairs);
            taken.map(drop).map_err(|what| Trouble::Damaged(format!("`{path}`: {what}")))
        })
        .await?;
        if !body.is_empty() {
            return Err(Trouble::Damaged(format!("`{folder}` ends in the middle")));
        }
    }
    Ok(())
}

async fn read_log(client: &Client, root: &str, state: &mut State) -> Result<(), Trouble> {
    let log = format!("{root}/log");
    let mut folders: Vec<(u64, String)> = Vec::new();
    for name in client.children(&log).await? {
        let number = name.parse().map_err(|_| Trouble::Damaged(format!("`{log}/{name}` is not a number")))?;
        folders.push((number, format!("{log}/{name}")));
    }
    folders.sort_unstable();
    let first = state.next;
    let mut present = Vec::new();
    for (number, folder) in folders {
        let names = client.children(&folder).await?;
        for name in names {
            let path = format!("{folder}/{name}");
            match name.parse::<u64>() {
                Ok(number) if number < first => state.junk.push(path),
                Ok(number) => present.push((number, path)),
                Err(_) => return Err(Trouble::Damaged(format!("`{path}` is not a number"))),
            }
        }
        if number < first / FOLDER {
            state.junk.push(folder);
        }
    }
    present.sort_unstable();
    let paths: BTreeMap<u64, String> = present.iter().cloned().collect();
    let mut body = Gather::default();
    // Once something is missing, only the rest of the very same commit may follow.
    let mut torn: Option<u64> = None;
    read_all(client, present, |number, path, node| {
        let wrong = |what: String| Trouble::Damaged(format!("`{path}`: {what}"));
        let part = Part::read(node).map_err(&wrong)?;
        let begin = number.checked_sub(part.at.into());
        let expected = state.next;
        if torn.is_none() && (begin != Some(expected) || number != expected + body.len()) {
            torn = Some(expected);
        }
        if let Some(torn) = torn {
            return match begin == Some(torn) && number < torn + u64::from(part.of) {
                true => Ok(()),
                false => Err(wrong(format!("commit {torn} before it is missing"))),
            };
        }
        state.bytes += node.len() as u64;
        state.nodes += 1;
        if body.take(node, &mut state.pairs).map_err(wrong)? {
            state.next = number + 1;
        }
        Ok(())
    })
    .await?;
    // Complete in number, but the commit was not: it lacks its end.
    let next = state.next;
    state.torn = paths.range(next..).map(|(_, path)| path.clone()).collect();
    Ok(())
}

/// Reads all nodes, many at a time, and hands them over in order.
async fn read_all(
    client: &Client,
    paths: Vec<(u64, String)>,
    mut take: impl FnMut(u64, &str, &[u8]) -> Result<(), Trouble>,
) -> Result<(), Trouble> {
    let mut waiting = VecDeque::new();
    let mut paths = paths.into_iter();
    loop {
        while waiting.len() < READS
            && let Some((number, path)) = paths.next()
        {
            let answer = client.send_get(&path).await?;
            waiting.push_back((number, path, answer));
        }
        let Some((number, path, answer)) = waiting.pop_front() else { return Ok(()) };
        take(number, &path, &answer.await?)?;
    }
}

/// Puts bodies together from parts as they come.
#[derive(Debug, Default)]
struct Gather(Vec<Arc<[u8]>>);

impl Gather {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    /// `true`: a body was complete, and its entries are applied.
    fn take(&mut self, node: &[u8], pairs: &mut HashMap<String, Vec<u8>>) -> Result<bool, String> {
        let part = Part::read(node)?;
        if u64::from(part.at) != self.len() {
            return Err(format!("it is part {} and should be part {}", part.at, self.len()));
        }
        let of = u64::from(part.of);
        if of == 1 {
            apply(&[part], pairs)?;
            return Ok(true);
        }
        self.0.push(node.into());
        if self.len() < of {
            return Ok(false);
        }
        let nodes = std::mem::take(&mut self.0);
        let parts = nodes.iter().map(|it| Part::read(it)).collect::<Result<Vec<_>, _>>()?;
        apply(&parts, pairs)?;
        Ok(true)
    }
}

fn apply(parts: &[Part<'_>], pairs: &mut HashMap<String, Vec<u8>>) -> Result<(), String> {
    let body = node::unpack(parts)?;
    node::entries(&body, |key, value| match value {
        Some(value) => {
            pairs.insert(key.to_owned(), value.to_vec());
        }
        None => {
            pairs.remove(key);
        }
    })
}
