//! Reading along behind the leader, so that taking over needs only what is new.
//!
//! What was read ahead must be what reading everything after the take-over would give. It is, because what is
//! taken in here can never change any more:
//! - A commit that was whole at one moment stays: the leader writes each number once, and whoever takes over
//!   removes only what is torn. Snapshots replace commits by what these add up to.
//! - A commit of one node is whole where it is seen. One of several nodes might be seen in pieces that never were
//!   there together: the first half of one that a dead leader began, the second of its successor's. So it counts
//!   only if no leader changed while it was read, and if all its nodes are older than this leader, or none is.
//! - All that holds within one session, in which ZooKeeper never goes back in time. In another session the last node
//!   that was taken in must be the same as before.
//!
//! After the take-over nobody else writes. Then the list of what there is shows whether anything is missing;
//! whatever is in doubt, everything is read anew.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use marathon_zookeeper::{Client, Error, Stat, Watch};

use super::load::root;
use super::node::Part;
use super::read::{self, Gather, Keep, Layout, Snapshot, State, Trouble};
use super::{FORMAT, log_path};

/// Between two rounds of reading, however much the leader writes: so one round reads many commits.
const PACE: Duration = Duration::from_millis(50);
/// Looks again so often although nothing was told, and at who leads and what snapshots there are.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// After something went wrong.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// Reads on their way at once: below the window of the session, so that the election need not wait.
const AHEAD: usize = 16;

/// What a follower has of the state.
#[derive(Debug)]
pub struct Standby<K> {
    root: String,
    kept: K,
    at: Option<Position>,
}

/// How far the log was read, and where it was found.
#[derive(Debug)]
struct Position {
    session: i64,
    /// The epoch as last seen; its `created` tells this store from another at the same path.
    epoch: Stat,
    looked: Instant,
    /// The number of the next commit.
    next: u64,
    /// The last node that was taken in, and the transaction that made it.
    last: Option<(u64, i64)>,
    /// How long the nodes of the log are, from `sizes_begin` on.
    sizes: VecDeque<u32>,
    sizes_begin: u64,
    /// The size of the snapshot that was read.
    snapshot: u64,
}

/// What follows a round of reading.
enum Then {
    Wait(Watch),
    Again,
}

impl<K: Keep + Default> Standby<K> {
    /// `path` is that of `--zk`.
    pub fn new(path: &str) -> Standby<K> {
        Standby { root: root(path), kept: K::default(), at: None }
    }

    /// The number of the next commit, once something was read.
    pub fn next(&self) -> Option<u64> {
        self.at.as_ref().map(|it| it.next)
    }

    /// Reads along until it is dropped, which is possible at any time: what was read stays.
    pub async fn follow(&mut self, client: &Client) {
        let mut pause = PAUSE_MIN;
        loop {
            match self.round(client).await {
                Ok(then) => {
                    pause = PAUSE_MIN;
                    if let Then::Wait(watch) = then {
                        let _ = tokio::time::timeout(LOOK_AGAIN, watch.fired()).await;
                    }
                    tokio::time::sleep(PACE).await;
                }
                Err(trouble) => {
                    let what = match trouble {
                        // The session may go on, and so do we.
                        Trouble::ZooKeeper(error) => error.to_string(),
                        Trouble::Newer(found) => {
                            self.forget("its layout is newer");
                            format!("it has layout {found}")
                        }
                        Trouble::Damaged(what) => {
                            self.forget("something does not fit");
                            what
                        }
                    };
                    tracing::debug!(what, "cannot read along in ZooKeeper; trying again");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
    }

    fn forget(&mut self, why: &str) {
        if self.at.take().is_some() {
            tracing::info!(why, "what was read ahead of the state is thrown away");
        }
        self.kept.clear();
    }

    async fn round(&mut self, client: &Client) -> Result<Then, Trouble> {
        let fresh = |it: &Position| it.session == client.session() && it.looked.elapsed() < LOOK_AGAIN;
        if !self.at.as_ref().is_some_and(fresh) {
            self.look(client).await?;
        }
        self.read_on(client).await
    }

    /// Makes sure that what was read still belongs to what is there, or reads the newest snapshot.
    async fn look(&mut self, client: &Client) -> Result<(), Trouble> {
        let looked = Instant::now();
        let (_, epoch) = client.get(&format!("{}/epoch", self.root)).await?;
        let session = client.session();
        if let Err(why) = self.belongs(client, session, &epoch).await? {
            self.forget(why);
        }
        let is_new = self.at.as_ref().is_none_or(|it| it.epoch.version != epoch.version);
        if is_new {
            let (format, _) = client.get(&format!("{}/format", self.root)).await?;
            if read::parse_format(&format)? != FORMAT {
                return Err(Trouble::Damaged("its layout is older".to_owned()));
            }
        }
        let newest = self.newest(client).await?;
        let first = newest.as_ref().map_or(0, |it| it.first);
        if self.at.as_ref().is_some_and(|it| it.next < first) {
            self.forget("a snapshot covers more than was read");
        }
        if let Some(at) = &mut self.at {
            at.epoch = epoch;
            at.looked = looked;
            at.session = session;
            let covered = first.saturating_sub(at.sizes_begin).min(at.sizes.len() as u64);
            at.sizes.drain(..covered as usize);
            at.sizes_begin += covered;
            return Ok(());
        }
        self.kept.clear();
        let began = Instant::now();
        let snapshot = match newest {
            Some(newest) => read::read_snapshot(client, &newest, &mut self.kept).await?,
            None => 0,
        };
        tracing::debug!(bytes = snapshot, took = ?began.elapsed(), "read a snapshot ahead");
        let (sizes, sizes_begin) = (VecDeque::new(), first);
        self.at =
            Some(Position { session, epoch, looked, next: first, last: None, sizes, sizes_begin, snapshot });
        Ok(())
    }

    /// `Err`: what was read may be that of another store, or of one that went back in time.
    async fn belongs(
        &self,
        client: &Client,
        session: i64,
        epoch: &Stat,
    ) -> Result<Result<(), &'static str>, Trouble> {
        let Some(at) = &self.at else { return Ok(Ok(())) };
        if at.epoch.created != epoch.created || at.epoch.version > epoch.version {
            return Ok(Err("another store is there"));
        }
        if at.session == session {
            return Ok(Ok(()));
        }
        // Within another session ZooKeeper may have forgotten what it told in the one before.
        let Some((number, created)) = at.last else { return Ok(Err("the session is another")) };
        Ok(match client.get(&log_path(&self.root, number)).await {
            Ok((_, stat)) if stat.created == created => Ok(()),
            Ok(_) | Err(Error::NoNode) => Err("the last commit is another"),
            Err(error) => return Err(error.into()),
        })
    }

    async fn newest(&self, client: &Client) -> Result<Option<Snapshot>, Trouble> {
        let folder = format!("{}/snapshot", self.root);
        let mut names = client.children(&folder).await?;
        names.sort_unstable();
        for name in names.iter().rev() {
            let Some(first) = read::first(name) else { continue };
            let folder = format!("{folder}/{name}");
            let Some(stat) = client.exists(&folder).await? else { continue };
            if client.exists(&format!("{folder}/end")).await?.is_some() {
                let nodes = u64::try_from(stat.children).unwrap_or(0).saturating_sub(1);
                return Ok(Some(Snapshot { folder, first, nodes }));
            }
        }
        Ok(None)
    }

    /// Takes in all commits that are there, and waits for the next.
    async fn read_on(&mut self, client: &Client) -> Result<Then, Trouble> {
        let Standby { root, kept, at } = self;
        let Some(at) = at else { return Ok(Then::Again) };
        // Parts of the commit `at.next`, and the transactions that made them.
        let mut parts: Vec<(Vec<u8>, i64)> = Vec::new();
        let (mut answers, mut asked, mut width) = (VecDeque::new(), at.next, 1);
        while at.looked.elapsed() < LOOK_AGAIN {
            while answers.len() < width {
                answers.push_back(client.send_get(&log_path(root, asked)).await?);
                asked += 1;
            }
            let Some(answer) = answers.pop_front() else { break };
            let (node, stat) = match answer.await {
                Ok(found) => found,
                Err(Error::NoNode) => break,
                Err(error) => return Err(error.into()),
            };
            width = (width * 2).min(AHEAD);
            let of = match Part::read(&node) {
                Ok(part) if part.at as usize == parts.len() => part.of as usize,
                // Somebody removed what was torn and wrote something else.
                Ok(_) if !parts.is_empty() => return Ok(Then::Again),
                Ok(part) => {
                    return Err(Trouble::Damaged(format!("commit {} begins with part {}", at.next, part.at)));
                }
                Err(what) => return Err(Trouble::Damaged(format!("node {}: {what}", at.next))),
            };
            parts.push((node, stat.created));
            if parts.len() < of {
                continue;
            }
            if of > 1 {
                let (_, epoch) = client.get(&format!("{root}/epoch")).await?;
                let same = epoch.version == at.epoch.version && epoch.created == at.epoch.created;
                let newer = parts.iter().filter(|(_, made)| *made > epoch.modified).count();
                if !same || (newer != 0 && newer != of) {
                    // Once it has been looked at who leads.
                    at.looked = Instant::now().checked_sub(LOOK_AGAIN).unwrap_or(at.looked);
                    return Ok(Then::Again);
                }
            }
            at.take(&mut parts, kept)?;
        }
        let missing = log_path(root, at.next + parts.len() as u64);
        Ok(match client.watch(&missing).await? {
            (None, watch) => Then::Wait(watch),
            (Some(_), _) => Then::Again,
        })
    }

    /// Reads what is new, now that the epoch is ours and nobody else writes. Whatever comes of it, nothing is left here.
    /// `Err` says why everything has to be read anew.
    pub(super) async fn catch_up(
        &mut self,
        client: &Client,
        epoch: &Stat,
    ) -> Result<(Layout, State<K>), String> {
        let kept = std::mem::take(&mut self.kept);
        let Some(at) = self.at.take() else { return Err("nothing was read ahead".to_owned()) };
        if at.session != client.session() || at.epoch.created != epoch.created {
            return Err("what was read ahead belongs to another session or store".to_owned());
        }
        let layout = read::look(client, &self.root).await.map_err(text)?;
        let first = layout.first();
        if layout.format != FORMAT || first > at.next {
            return Err("what was read ahead is not what is there".to_owned());
        }
        let known = layout.log.partition_point(|(number, _)| *number < at.next);
        let numbers = layout.log[..known].iter().map(|(number, _)| *number);
        if !numbers.eq(first..at.next) {
            return Err("commits that were read ahead are missing".to_owned());
        }
        if let Some((_, path)) = layout.log[..known].last()
            && let Some((number, created)) = at.last.filter(|(number, _)| number + 1 == at.next)
        {
            let (_, stat) = client.get(path).await.map_err(|error| error.to_string())?;
            if stat.created != created {
                return Err(format!("commit {number} is not the one that was read ahead"));
            }
        }
        let (nodes, bytes) = at.behind(first);
        let mut state = State { kept, next: at.next, bytes, nodes, snapshot: at.snapshot, torn: Vec::new() };
        read::read_log(client, layout.log[known..].to_vec(), &mut state).await.map_err(text)?;
        Ok((layout, state))
    }
}

impl Position {
    /// Applies a whole commit.
    fn take(&mut self, parts: &mut Vec<(Vec<u8>, i64)>, kept: &mut impl Keep) -> Result<(), Trouble> {
        let mut gather = Gather::default();
        for (node, made) in parts.drain(..) {
            let number = self.next + gather.len();
            let whole = gather.take(&node, kept);
            let whole = whole.map_err(|what| Trouble::Damaged(format!("node {number}: {what}")))?;
            self.sizes.push_back(u32::try_from(node.len()).unwrap_or(u32::MAX));
            if whole {
                self.next = number + 1;
                self.last = Some((number, made));
            }
        }
        Ok(())
    }

    /// Nodes and bytes of the log from `first` on.
    fn behind(&self, first: u64) -> (u64, u64) {
        let skipped = usize::try_from(first.saturating_sub(self.sizes_begin)).unwrap_or(usize::MAX);
        let sizes = self.sizes.iter().skip(skipped);
        sizes.fold((0, 0), |(nodes, bytes), it| (nodes + 1, bytes + u64::from(*it)))
    }
}

fn text(trouble: Trouble) -> String {
    match trouble {
        Trouble::ZooKeeper(error) => error.to_string(),
        Trouble::Damaged(what) => what,
        Trouble::Newer(found) => format!("it has layout {found}"),
    }
}
