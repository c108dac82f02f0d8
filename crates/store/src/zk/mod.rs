//! The store in ZooKeeper: a log of commits and now and then a snapshot, as on disk.
//!
//! ```text
//! <path of --zk>/store
//!   format                             the layout's number
//!   epoch                              who leads; its version is checked by every single write
//!   log/0000004/0000000000004711       the commit with this number, or a part of a large one
//!   snapshot/0000000000004500-7/…      everything before commit 4500, in nodes; `end` says that it is whole
//! ```
//! - **One commit is one transaction** of one node, so it is there or not. What does not fit is split into
//!   several nodes with consecutive numbers, each of which says how many there are: a commit that lacks one
//!   was never acknowledged, is ignored, and removed before anything else is written (`load`).
//! - **Only the leader writes.** Opening the store writes `epoch`; each later transaction checks that its
//!   version is still the one that made. A leader of before, paused or cut off, fails that check for ever.
//! - **A lost answer is asked for again.** Names of commits are chosen here, so a repeated commit finds itself
//!   there, and nobody else could have put it there.
//! - Folders stay small: a thousand commits each, and snapshots remove what they cover.
//!
//! docs/decisions/0014-zookeeper-store.md weighs this against one node for each record.

mod load;
mod node;
mod read;
mod snapshot;
mod standby;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use marathon_zookeeper::{Acl, Client, Error, Mode, Op};
use tokio::runtime::Handle;

use crate::error::{Cause, Fate, StoreError};
use crate::{Entry, Pair};

pub use load::read;
pub use read::Keep;
pub use standby::Standby;

/// The layout this release writes.
pub const FORMAT: u32 = 1;
/// Commits in one folder.
const FOLDER: u64 = 1000;

#[derive(Debug, Clone)]
pub struct ZkOptions {
    /// No node grows larger (`--zk_max_node_size`).
    pub max_node_size: u64,
    /// From so many bytes on nodes are compressed; `None`: never.
    pub compression: Option<u64>,
    /// A request whose answer was lost is repeated so often, with pauses that begin at `retry_pause`.
    pub retries: u32,
    pub retry_pause: Duration,
    /// A commit takes no longer, or its fate is unknown (`--zk_timeout`).
    pub timeout: Duration,
    /// A snapshot is wanted once the log holds this much, and no less than the last snapshot did.
    pub snapshot_after: u64,
    /// Or so many commits, as each is a read of its own when the state is loaded.
    pub snapshot_after_commits: u64,
}

impl Default for ZkOptions {
    fn default() -> ZkOptions {
        ZkOptions {
            max_node_size: 1_024_000,
            compression: Some(65_536),
            retries: 5,
            retry_pause: Duration::from_millis(10),
            timeout: Duration::from_secs(10),
            snapshot_after: 16 << 20,
            snapshot_after_commits: 10_000,
        }
    }
}

impl ZkOptions {
    /// ZooKeeper's own limit is for a request with all that is around the node.
    fn node_bytes(&self) -> usize {
        const REQUEST: u64 = 1_000_000;
        usize::try_from(self.max_node_size.min(REQUEST)).unwrap_or(usize::MAX).max(node::HEADER + 1)
    }
}

/// What a new leader finds.
#[derive(Debug)]
pub enum Content<K> {
    /// Read ahead, and complete.
    Kept(K),
    /// Everything, in the order of the keys.
    Pairs(Vec<Pair>),
}

/// What every part of the store needs to reach its nodes.
#[derive(Debug, Clone)]
struct Tree {
    client: Client,
    root: Arc<str>,
    acl: Acl,
    /// Of the epoch node, since it is ours.
    epoch: i32,
}

#[derive(Debug)]
pub struct ZkStore {
    tree: Tree,
    runtime: Handle,
    options: ZkOptions,
    /// The number of the next node of the log.
    next: u64,
    /// The folder that is known to exist.
    folder: Option<u64>,
    in_doubt: bool,
    growth: Growth,
    snapshot: Option<snapshot::Running>,
    attempts: u64,
}

/// When the next snapshot is due.
#[derive(Debug, Default, Clone, Copy)]
struct Growth {
    bytes: u64,
    nodes: u64,
    /// What of both the snapshot on its way will cover.
    covered: (u64, u64),
    /// The size of the last snapshot.
    snapshot: u64,
}

impl ZkStore {
    /// Takes the store over from whoever had it, and reads everything. `path` is that of `--zk`; `holder` is
    /// for people who look. Must not be called from within an async task.
    pub fn open(
        client: Client,
        runtime: Handle,
        path: &str,
        holder: &str,
        options: ZkOptions,
    ) -> Result<(ZkStore, Vec<Pair>), StoreError> {
        let nobody = None::<&mut Standby<std::collections::HashMap<String, Vec<u8>>>>;
        match ZkStore::take_over(client, runtime, path, holder, options, nobody)? {
            (store, Content::Pairs(pairs)) => Ok((store, pairs)),
            (store, Content::Kept(kept)) => Ok((store, kept.into_iter().collect())),
        }
    }

    /// The same for a follower that has read along: what it kept, if nothing speaks against it.
    pub fn take_over<K: Keep + Default>(
        client: Client,
        runtime: Handle,
        path: &str,
        holder: &str,
        options: ZkOptions,
        standby: Option<&mut Standby<K>>,
    ) -> Result<(ZkStore, Content<K>), StoreError> {
        let loaded = runtime.block_on(load::take_over(&client, path, holder, standby))?;
        let load::Loaded { tree, content, next, bytes, nodes, snapshot, folder } = loaded;
        let store = ZkStore {
            tree,
            runtime,
            options,
            next,
            folder,
            in_doubt: false,
            growth: Growth { bytes, nodes, covered: (0, 0), snapshot },
            snapshot: None,
            attempts: 0,
        };
        Ok((store, content))
    }

    pub fn commit(&mut self, entries: &[Entry]) -> Result<(), StoreError> {
        if entries.is_empty() {
            return Ok(());
        }
        if self.in_doubt {
            return Err(self.failed(Fate::Unknown, Cause::InDoubt));
        }
        let mut body = node::Body::default();
        for entry in entries {
            body.put(&entry.key, entry.value.as_deref());
        }
        let nodes = node::pack(&body.0, &self.options);
        let (count, bytes) = (nodes.len() as u64, nodes.iter().map(Vec::len).sum::<usize>() as u64);
        let runtime = self.runtime.clone();
        let limit = self.options.timeout;
        let done = runtime.block_on(async {
            match tokio::time::timeout(limit, self.append(nodes)).await {
                Ok(done) => done,
                Err(_) => Err((Fate::Unknown, Cause::ZooKeeper(Error::Timeout))),
            }
        });
        match done {
            Ok(()) => {
                self.next += count;
                self.growth.bytes += bytes;
                self.growth.nodes += count;
                Ok(())
            }
            Err((fate, cause)) => {
                // After a part of a commit nothing may follow but the rest of it.
                self.in_doubt = true;
                Err(self.failed(fate, cause))
            }
        }
    }

    /// What makes a transaction fail once somebody else has taken over.
    pub fn leads(&self) -> Op {
        self.tree.check()
    }

    pub fn ensure_ours(&self) -> Result<(), StoreError> {
        match self.tree.client.is_live() {
            true => Ok(()),
            false => Err(self.failed(Fate::NotApplied, Cause::ZooKeeper(Error::Expired))),
        }
    }

    fn failed(&self, fate: Fate, cause: Cause) -> StoreError {
        let path = PathBuf::from(self.tree.log(self.next));
        StoreError { doing: "cannot commit to ZooKeeper at", path, fate, cause }
    }

    /// Sends all nodes at once, and again what may have been lost.
    async fn append(&mut self, nodes: Vec<Vec<u8>>) -> Result<(), (Fate, Cause)> {
        let mut waiting: Vec<(u64, Vec<u8>)> = (self.next..).zip(nodes).collect();
        for at in waiting.iter().map(|(number, _)| number / FOLDER).collect::<std::collections::BTreeSet<_>>()
        {
            self.ensure_folder(at).await?;
        }
        let mut pause = self.options.retry_pause;
        let mut sent = false;
        for attempt in 0..=self.options.retries {
            let mut answers = Vec::new();
            for (number, data) in &waiting {
                let create = self.tree.create(self.tree.log(*number), data.clone());
                answers.push(self.tree.client.send_multi(&[self.tree.check(), create]).await);
            }
            let mut lost = Vec::new();
            let mut why = None;
            for ((number, data), answer) in std::mem::take(&mut waiting).into_iter().zip(answers) {
                let answer = match answer {
                    Ok(answer) => answer.await.map(drop),
                    Err(error) => Err((1, error)),
                };
                match answer {
                    Ok(()) => {}
                    // An earlier attempt of ours did it: nobody else could.
                    Err((1, Error::NodeExists)) if attempt > 0 => {}
                    Err((0, Error::BadVersion | Error::NoNode)) => {
                        return Err((self.fate(sent), Cause::Fenced));
                    }
                    Err((_, error)) if error.is_unknown() || matches!(error, Error::Unreachable(_)) => {
                        lost.push((number, data));
                        why = Some(error);
                    }
                    Err((_, error)) => return Err((self.fate(sent), Cause::ZooKeeper(error))),
                }
                sent = true;
            }
            let Some(error) = why else { return Ok(()) };
            waiting = lost;
            if attempt == self.options.retries {
                return Err((Fate::Unknown, Cause::ZooKeeper(error)));
            }
            tracing::debug!(%error, attempt, "a commit to ZooKeeper is repeated");
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        Ok(())
    }

    fn fate(&self, sent: bool) -> Fate {
        if sent { Fate::Unknown } else { Fate::NotApplied }
    }

    async fn ensure_folder(&mut self, at: u64) -> Result<(), (Fate, Cause)> {
        if self.folder.is_some_and(|it| it >= at) {
            return Ok(());
        }
        let create = self.tree.create(self.tree.folder(at), Vec::new());
        for attempt in 0.. {
            match self.tree.client.multi(&[self.tree.check(), create.clone()]).await {
                Ok(_) | Err((1, Error::NodeExists)) => break,
                Err((0, Error::BadVersion | Error::NoNode)) => return Err((Fate::NotApplied, Cause::Fenced)),
                Err((_, error)) if error.is_unknown() && attempt < self.options.retries => {
                    tokio::time::sleep(self.options.retry_pause * 2_u32.pow(attempt.min(10))).await;
                }
                Err((_, error)) => return Err((Fate::NotApplied, Cause::ZooKeeper(error))),
            }
        }
        self.folder = Some(at);
        Ok(())
    }

    pub fn wants_snapshot(&mut self) -> bool {
        self.reap();
        let Growth { bytes, nodes, snapshot, .. } = self.growth;
        let due = bytes >= self.options.snapshot_after.max(snapshot)
            || nodes >= self.options.snapshot_after_commits;
        due && self.snapshot.is_none() && !self.in_doubt
    }

    pub fn begin_snapshot(
        &mut self,
        dump: impl Iterator<Item = Pair> + Send + 'static,
    ) -> Result<(), StoreError> {
        self.await_snapshot();
        self.attempts += 1;
        self.growth.covered = (self.growth.bytes, self.growth.nodes);
        let snapshot = snapshot::Running::begin(
            self.tree.clone(),
            self.runtime.clone(),
            self.options.clone(),
            self.next,
            self.attempts,
            dump,
        );
        self.snapshot = Some(snapshot.map_err(|error| self.failed(Fate::NotApplied, Cause::Io(error)))?);
        Ok(())
    }

    pub fn await_snapshot(&mut self) {
        if let Some(running) = self.snapshot.take() {
            let result = running.finish();
            self.settle(result);
        }
    }

    fn reap(&mut self) {
        if let Some(running) = self.snapshot.take_if(|it| it.is_finished()) {
            let result = running.finish();
            self.settle(result);
        }
    }

    /// After a failure the same amount of log has to grow again before the next attempt.
    fn settle(&mut self, bytes: Option<u64>) {
        let (covered_bytes, covered_nodes) = std::mem::take(&mut self.growth.covered);
        self.growth.bytes -= covered_bytes;
        self.growth.nodes -= covered_nodes;
        if let Some(bytes) = bytes {
            self.growth.snapshot = bytes;
        }
    }
}

impl Drop for ZkStore {
    fn drop(&mut self) {
        if let Some(running) = self.snapshot.take() {
            running.cancel();
            running.finish();
        }
    }
}

fn folder_path(root: &str, at: u64) -> String {
    format!("{root}/log/{at:07}")
}

fn log_path(root: &str, number: u64) -> String {
    format!("{}/{number:016}", folder_path(root, number / FOLDER))
}

impl Tree {
    fn folder(&self, at: u64) -> String {
        folder_path(&self.root, at)
    }

    fn log(&self, number: u64) -> String {
        log_path(&self.root, number)
    }

    /// What makes a transaction fail once somebody else has taken over.
    fn check(&self) -> Op {
        Op::Check { path: format!("{}/epoch", self.root), version: self.epoch }
    }

    fn create(&self, path: String, data: Vec<u8>) -> Op {
        Op::Create { path, data, acl: self.acl, mode: Mode::Persistent }
    }

    /// Removes nodes, a hundred at a time. Some may be gone already.
    async fn remove(&self, paths: Vec<String>) -> Result<(), Error> {
        for some in paths.chunks(100) {
            let deletes = some.iter().map(|it| Op::Delete { path: it.clone(), version: -1 });
            let ops: Vec<Op> = std::iter::once(self.check()).chain(deletes).collect();
            match self.client.multi(&ops).await {
                Ok(_) => {}
                Err((at, Error::NoNode)) if at > 0 => {
                    for path in some {
                        let one = [self.check(), Op::Delete { path: path.clone(), version: -1 }];
                        match self.client.multi(&one).await {
                            Ok(_) | Err((1, Error::NoNode)) => {}
                            Err((_, error)) => return Err(error),
                        }
                    }
                }
                Err((_, error)) => return Err(error),
            }
        }
        Ok(())
    }
}
