//! Writing the whole state into nodes, beside the running store.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use marathon_zookeeper::Error;
use tokio::runtime::Handle;

use super::node::{Body, pack, put_pair};
use super::{FOLDER, Tree, ZkOptions};
use crate::Pair;

/// What one body holds before it is compressed.
const CHUNK: usize = 512 << 10;
/// Nodes on their way: few, so that commits do not wait behind them.
const AHEAD: usize = 2;

#[derive(Debug)]
pub struct Running {
    thread: JoinHandle<Result<u64, Error>>,
    cancelled: Arc<AtomicBool>,
}

impl Running {
    pub fn begin(
        tree: Tree,
        runtime: Handle,
        options: ZkOptions,
        first: u64,
        attempt: u64,
        dump: impl Iterator<Item = Pair> + Send + 'static,
    ) -> std::io::Result<Running> {
        let cancelled = Arc::new(AtomicBool::new(false));
        let stop = cancelled.clone();
        let run = move || runtime.block_on(write(&tree, &options, first, attempt, dump, &stop));
        let thread = std::thread::Builder::new().name("snapshot".to_owned()).spawn(run)?;
        Ok(Running { thread, cancelled })
    }

    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Waits for the end. The size of the snapshot, or `None` after a failure, which was logged: the log
    /// still holds everything.
    pub fn finish(self) -> Option<u64> {
        match self.thread.join() {
            Ok(Ok(bytes)) => return Some(bytes),
            Ok(Err(_)) if self.cancelled.load(Ordering::Relaxed) => {}
            Ok(Err(error)) => tracing::warn!(%error, "no snapshot was written to ZooKeeper; the log stays"),
            Err(_) => tracing::warn!("no snapshot was written to ZooKeeper: its thread panicked"),
        }
        None
    }
}

async fn write(
    tree: &Tree,
    options: &ZkOptions,
    first: u64,
    attempt: u64,
    dump: impl Iterator<Item = Pair>,
    cancelled: &AtomicBool,
) -> Result<u64, Error> {
    let began = Instant::now();
    let name = format!("{first:016}-{}-{attempt}", tree.epoch);
    let folder = format!("{}/snapshot/{name}", tree.root);
    put(tree, folder.clone(), Vec::new()).await?.await.map_err(|(_, error)| error)?;
    let (mut bytes, mut count) = (0, 0_u64);
    let mut waiting = VecDeque::new();
    let mut dump = dump.peekable();
    while dump.peek().is_some() {
        let mut body = Body::default();
        while body.0.len() < CHUNK
            && let Some(pair) = dump.next()
        {
            put_pair(&mut body, &pair);
        }
        for node in pack(&body.0, options) {
            if cancelled.load(Ordering::Relaxed) {
                return Err(Error::Closed);
            }
            bytes += node.len() as u64;
            waiting.push_back(put(tree, format!("{folder}/{count:08}"), node).await?);
            count += 1;
            while waiting.len() >= AHEAD
                && let Some(answer) = waiting.pop_front()
            {
                answer.await.map_err(|(_, error)| error)?;
            }
        }
    }
    for answer in waiting {
        answer.await.map_err(|(_, error)| error)?;
    }
    let end = put(tree, format!("{folder}/end"), count.to_string().into_bytes()).await?;
    end.await.map_err(|(_, error)| error)?;
    tracing::info!(nodes = count, bytes, took = ?began.elapsed(), "wrote a snapshot to ZooKeeper");
    // What stays behind now is removed by whoever opens the store next.
    if let Err(error) = remove_older(tree, first, &name).await {
        tracing::debug!(%error, "what a snapshot replaced is not removed yet");
    }
    Ok(bytes)
}

async fn put(
    tree: &Tree,
    path: String,
    data: Vec<u8>,
) -> Result<impl Future<Output = Result<Vec<Option<String>>, (usize, Error)>> + use<>, Error> {
    tree.client.send_multi(&[tree.check(), tree.create(path, data)]).await
}

async fn remove_older(tree: &Tree, first: u64, name: &str) -> Result<(), Error> {
    let snapshots = format!("{}/snapshot", tree.root);
    for other in tree.client.children(&snapshots).await?.into_iter().filter(|it| it != name) {
        let folder = format!("{snapshots}/{other}");
        let mut children = tree.client.children(&folder).await?;
        // Its end goes first: half a snapshot must not pass for one.
        children.sort_unstable_by_key(|it| it != "end");
        let mut paths: Vec<String> = children.iter().map(|it| format!("{folder}/{it}")).collect();
        paths.push(folder);
        tree.remove(paths).await?;
    }
    let log = format!("{}/log", tree.root);
    for name in tree.client.children(&log).await? {
        let Some(number) = name.parse::<u64>().ok().filter(|it| *it <= first / FOLDER) else { continue };
        let folder = format!("{log}/{name}");
        let children = tree.client.children(&folder).await?;
        let covered = children.into_iter().filter(|it| it.parse::<u64>().is_ok_and(|it| it < first));
        let mut paths: Vec<String> = covered.map(|it| format!("{folder}/{it}")).collect();
        if number < first / FOLDER {
            paths.push(folder);
        }
        tree.remove(paths).await?;
    }
    Ok(())
}
