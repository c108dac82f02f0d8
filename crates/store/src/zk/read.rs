//! Reading what is there: a snapshot, and the log behind it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use marathon_zookeeper::{Client, Error};

use super::node::{self, Part};
use super::{FOLDER, FORMAT};

/// Reads on their way at once; the session has a limit of its own.
const READS: usize = 512;

/// Takes records in as they are read, in the order in which they were written.
pub trait Keep {
    fn put(&mut self, key: &str, value: &[u8]);
    fn remove(&mut self, key: &str);
    /// Everything is read anew.
    fn clear(&mut self);
}

impl Keep for HashMap<String, Vec<u8>> {
    fn put(&mut self, key: &str, value: &[u8]) {
        self.insert(key.to_owned(), value.to_vec());
    }

    fn remove(&mut self, key: &str) {
        HashMap::remove(self, key);
    }

    fn clear(&mut self) {
        HashMap::clear(self);
    }
}

pub enum Trouble {
    ZooKeeper(Error),
    Damaged(String),
    Newer(u32),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Trouble {
        Trouble::ZooKeeper(error)
    }
}

/// What lies where, but not what is in it.
#[derive(Debug, Default)]
pub struct Layout {
    pub format: u32,
    /// The newest one that is whole.
    pub snapshot: Option<Snapshot>,
    /// The nodes that no snapshot covers, by their numbers.
    pub log: Vec<(u64, String)>,
    /// The last folder of the log.
    pub folder: Option<u64>,
    /// Covered by a snapshot, or a snapshot that was never finished.
    pub junk: Vec<String>,
}

#[derive(Debug)]
pub struct Snapshot {
    pub folder: String,
    /// The number of the commit behind it.
    pub first: u64,
    pub nodes: u64,
}

impl Layout {
    /// Where the log begins.
    pub fn first(&self) -> u64 {
        self.snapshot.as_ref().map_or(0, |it| it.first)
    }
}

/// Everything that was found.
#[derive(Debug, Default)]
pub struct State<K> {
    pub kept: K,
    /// The number of the next commit.
    pub next: u64,
    /// Of the log.
    pub bytes: u64,
    pub nodes: u64,
    /// The size of the snapshot.
    pub snapshot: u64,
    /// Parts of a commit that nobody was told of.
    pub torn: Vec<String>,
}

pub async fn everything<K: Keep + Default>(
    client: &Client,
    root: &str,
) -> Result<(Layout, State<K>), Trouble> {
    let layout = look(client, root).await?;
    let mut state = State { next: layout.first(), ..State::default() };
    if let Some(snapshot) = &layout.snapshot {
        state.snapshot = read_snapshot(client, snapshot, &mut state.kept).await?;
    }
    read_log(client, layout.log.clone(), &mut state).await?;
    Ok((layout, state))
}

/// Three round trips, whatever there is.
pub async fn look(client: &Client, root: &str) -> Result<Layout, Trouble> {
    let (snapshots, log) = (format!("{root}/snapshot"), format!("{root}/log"));
    let format = client.send_get(&format!("{root}/format")).await?;
    let snapshot_names = client.send_children(&snapshots).await?;
    let log_names = client.send_children(&log).await?;
    let mut layout = Layout { format: parse_format(&format.await?.0)?, ..Layout::default() };
    let mut names = snapshot_names.await?;
    names.sort_unstable();
    let mut folders: Vec<(u64, String)> = Vec::new();
    for name in log_names.await? {
        let number = name.parse().map_err(|_| Trouble::Damaged(format!("`{log}/{name}` is not a number")))?;
        folders.push((number, format!("{log}/{name}")));
    }
    folders.sort_unstable();
    let mut of_snapshots = Vec::new();
    for name in names.iter().rev() {
        let folder = format!("{snapshots}/{name}");
        of_snapshots.push((first(name), client.send_children(&folder).await?, folder));
    }
    let mut of_log = Vec::new();
    for (number, folder) in folders {
        of_log.push((number, client.send_children(&folder).await?, folder));
    }
    for (first, children, folder) in of_snapshots {
        let children = children.await?;
        let is_whole = layout.snapshot.is_none() && children.iter().any(|it| it == "end");
        match first.filter(|_| is_whole) {
            Some(first) => {
                layout.snapshot = Some(Snapshot { folder, first, nodes: children.len() as u64 - 1 });
            }
            None => {
                layout.junk.extend(children.iter().map(|it| format!("{folder}/{it}")));
                layout.junk.push(folder);
            }
        }
    }
    let first = layout.first();
    for (at, names, folder) in of_log {
        for name in names.await? {
            let path = format!("{folder}/{name}");
            match name.parse::<u64>() {
                Ok(number) if number < first => layout.junk.push(path),
                Ok(number) => layout.log.push((number, path)),
                Err(_) => return Err(Trouble::Damaged(format!("`{path}` is not a number"))),
            }
        }
        if at < first / FOLDER {
            layout.junk.push(folder);
        } else {
            layout.folder = Some(at);
        }
    }
    layout.log.sort_unstable();
    Ok(layout)
}

/// The commit behind a snapshot of this name.
pub fn first(name: &str) -> Option<u64> {
    name.split('-').next()?.parse().ok()
}

pub fn parse_format(text: &[u8]) -> Result<u32, Trouble> {
    let text = String::from_utf8_lossy(text);
    match text.trim().parse() {
        Ok(found) if found <= FORMAT => Ok(found),
        Ok(found) => Err(Trouble::Newer(found)),
        Err(_) => Err(Trouble::Damaged(format!("`format` is {text:?} and should be a number"))),
    }
}

/// Returns its size.
pub async fn read_snapshot(
    client: &Client,
    snapshot: &Snapshot,
    kept: &mut impl Keep,
) -> Result<u64, Trouble> {
    let Snapshot { folder, nodes, .. } = snapshot;
    let (end, _) = client.get(&format!("{folder}/end")).await?;
    let count = String::from_utf8_lossy(&end).trim().parse::<u64>();
    let count = count.map_err(|_| Trouble::Damaged(format!("`{folder}/end` should be a number")))?;
    if count != *nodes {
        return Err(Trouble::Damaged(format!("`{folder}` has not the {count} nodes it should have")));
    }
    let paths = (0..count).map(|it| (it, format!("{folder}/{it:08}"))).collect();
    let mut body = Gather::default();
    let mut bytes = 0;
    read_all(client, paths, |_, path, node| {
        bytes += node.len() as u64;
        let taken = body.take(node, kept);
        taken.map(drop).map_err(|what| Trouble::Damaged(format!("`{path}`: {what}")))
    })
    .await?;
    match body.is_empty() {
        true => Ok(bytes),
        false => Err(Trouble::Damaged(format!("`{folder}` ends in the middle"))),
    }
}

/// Adds the commits of these nodes, which begin at `state.next`.
pub async fn read_log<K: Keep>(
    client: &Client,
    nodes: Vec<(u64, String)>,
    state: &mut State<K>,
) -> Result<(), Trouble> {
    let paths = nodes.clone();
    let mut body = Gather::default();
    // Once something is missing, only the rest of the very same commit may follow.
    let mut torn: Option<u64> = None;
    read_all(client, nodes, |number, path, node| {
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
        if body.take(node, &mut state.kept).map_err(wrong)? {
            state.next = number + 1;
        }
        Ok(())
    })
    .await?;
    // Complete in number, but the commit was not: it lacks its end.
    let next = state.next;
    state.torn = paths.into_iter().filter(|(number, _)| *number >= next).map(|(_, path)| path).collect();
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
        take(number, &path, &answer.await?.0)?;
    }
}

/// Puts bodies together from parts as they come.
#[derive(Debug, Default)]
pub struct Gather(Vec<Arc<[u8]>>);

impl Gather {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn len(&self) -> u64 {
        self.0.len() as u64
    }

    /// `true`: a body was complete, and its entries are applied.
    pub fn take(&mut self, node: &[u8], kept: &mut impl Keep) -> Result<bool, String> {
        let part = Part::read(node)?;
        if u64::from(part.at) != self.len() {
            return Err(format!("it is part {} and should be part {}", part.at, self.len()));
        }
        let of = u64::from(part.of);
        if of == 1 {
            apply(&[part], kept)?;
            return Ok(true);
        }
        self.0.push(node.into());
        if self.len() < of {
            return Ok(false);
        }
        let nodes = std::mem::take(&mut self.0);
        let parts = nodes.iter().map(|it| Part::read(it)).collect::<Result<Vec<_>, _>>()?;
        apply(&parts, kept)?;
        Ok(true)
    }
}

fn apply(parts: &[Part<'_>], kept: &mut impl Keep) -> Result<(), String> {
    let body = node::unpack(parts)?;
    node::entries(&body, |key, value| match value {
        Some(value) => kept.put(key, value),
        None => kept.remove(key),
    })
}
