//! Several instances, one leader: from standing for election to a term of leadership, and back.
//!
//! ```text
//! connect ─► stand ─► follow ◄──────────────┐       session over, or lost: connect again
//!                       └─► load ─► lead ───┘       asked to step down: stand again, behind the others
//! ```
//! The process stays alive whatever becomes of its leadership, unlike the original's, which exits and needs
//! somebody to start it again. Nothing of a term outlives it: `leader` owns all of it.
//!
//! Three things keep two leaders from acting at once. The latch says who should lead. The session's lease
//! ends a term before any server could give the latch to another. And the store refuses every write of
//! whoever does not hold it any more.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use marathon_flags::{Config, Master};
use marathon_http::Lead;
use marathon_store::{Cause, Content, Standby, Store, StoreError, ZkOptions, ZkStore, read_zookeeper};
use marathon_zookeeper::latch::{self, Standing};
use marathon_zookeeper::{Client, Error, Op, Options, State, ZkUrl};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::Signals;
use crate::errand::Board;
use crate::exit::{Exit, chain};
use crate::leader::{Failure, Leader};
use crate::load::{Opened, Records};
use crate::notify::Notify;
use crate::shell::Shell;
use crate::standby::Shelf;
use crate::tenure::Tenure;

/// Below the path of `--zk`: where instances stand for election.
pub const LATCH: &str = "leader-curator";
/// Where one stands that needs none.
pub const ALONE: &str = "leader-alone";
/// After a term that could not begin, or that failed.
const PAUSE_MIN: Duration = Duration::from_millis(500);
/// How long what was decided before a hand-over may take to leave. What did not is found by the next leader.
const LAST_CALLS: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(16);
/// So that the answer to `DELETE /v2/leader` gets through; the original waits as long.
const FAREWELL: Duration = Duration::from_millis(500);

pub struct Election {
    options: Options,
    store: ZkOptions,
    /// Not with `--disable_ha`: who alone is there need not be elected.
    elects: bool,
    /// Where instances stand, in the order in which they lead, or one that is alone, to be seen.
    folder: String,
    /// What a follower reads ahead, if it does.
    standby: Option<Standby<Shelf>>,
    notify: Notify,
    /// True in ZooKeeper while the latest term of ours is the present one.
    leads: Mutex<Option<Op>>,
    /// Why this instance cannot stand for election, while it cannot.
    refused: Arc<Mutex<Option<String>>>,
}

/// What ended a session, or a term in it.
enum End {
    Signal(&'static str),
    /// With all that it held.
    Over,
    /// Somebody else leads, or nobody.
    Lost,
    Abdicated,
    /// It may go better next time.
    Faulty,
    Exit(Exit),
}

impl Election {
    /// `None` without `--zk`.
    pub fn new(config: &Config) -> Result<Option<Election>, String> {
        let Some(options) = options(config)? else { return Ok(None) };
        let name = if config.ha { LATCH } else { ALONE };
        let (elects, folder) = (config.ha, format!("{}/{name}", options.url.path));
        let standby = (config.ha && config.warm_standby).then(|| Standby::new(&options.url.path));
        let notify = Notify::new(config.leader_notify.clone());
        let (leads, refused) = (Mutex::default(), Arc::default());
        let store = store_options(config);
        Ok(Some(Election { options, store, elects, folder, standby, notify, leads, refused }))
    }

    /// Stands for election until told to end. `stop_http` takes no more connections.
    pub async fn run(mut self, shell: &Shell, signals: &mut Signals, stop_http: impl FnOnce()) -> Exit {
        let own = shell.http.leadership.own().clone();
        let mut pause = PAUSE_MIN;
        let mut standby = self.standby.take();
        let end = loop {
            let client = Client::connect(&self.options);
            let (sender, standing) = watch::channel(Standing::Unknown);
            let stands = Stands(self.stand(client.clone(), own.to_string(), sender).abort_handle());
            let mut led = false;
            let end = self.session(shell, &client, standing, signals, &mut standby, &mut led).await;
            if let End::Signal(name) = end {
                tracing::info!("{name}: stopping; another instance takes over");
            }
            release(&client).await;
            drop(stands);
            if led {
                pause = PAUSE_MIN;
            }
            match end {
                End::Signal(_) => break Exit::Ok,
                End::Exit(exit) => break exit,
                End::Faulty => {
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        _ = signals.next() => break Exit::Ok,
                    }
                    pause = (pause * 2).min(PAUSE_MAX);
                }
                End::Over | End::Lost | End::Abdicated => {}
            }
        };
        stop_http();
        end
    }

    fn stand(
        &self,
        client: Client,
        own: String,
        standing: watch::Sender<Standing>,
    ) -> tokio::task::JoinHandle<()> {
        let (elects, folder, refused) = (self.elects, self.folder.clone(), self.refused.clone());
        tokio::spawn(async move {
            if elects {
                let error = latch::stand(&client, &folder, &own, &standing).await;
                if !matches!(error, Error::Closed | Error::Expired) {
                    let text = format!("this instance cannot stand for election: {error}");
                    let before = locked(&refused).replace(text.clone());
                    if before.as_ref() != Some(&text) {
                        tracing::error!(folder, "{text}; trying again");
                    }
                }
                return;
            }
            let mut state = client.state();
            if state.wait_for(|it| *it == State::Connected).await.is_err() {
                return;
            }
            standing.send_replace(Standing::Leading);
            // It leads whoever else stands there, but nobody may replace its state (`marathon state`).
            let error = latch::stand(&client, &folder, &own, &watch::Sender::new(Standing::Unknown)).await;
            if !matches!(error, Error::Closed | Error::Expired) {
                tracing::warn!(folder, "`marathon state` cannot see that this instance runs: {error}");
            }
            client.over().await;
        })
    }

    /// Follows and leads for as long as the session lasts.
    async fn session(
        &self,
        shell: &Shell,
        client: &Client,
        mut standing: watch::Receiver<Standing>,
        signals: &mut Signals,
        standby: &mut Option<Standby<Shelf>>,
        led: &mut bool,
    ) -> End {
        let mut connection = client.state();
        loop {
            let now = standing.borrow_and_update().clone();
            if now != Standing::Unknown {
                *locked(&self.refused) = None;
            }
            let lead = match now.clone() {
                Standing::Leading => {
                    match self.lead(shell, client, &mut standing, signals, standby.as_mut(), led).await {
                        End::Lost => continue,
                        end => return end,
                    }
                }
                Standing::Following(leader) if *leader == **shell.http.leadership.own() => {
                    let why = format!(
                        "the leader has the very address of this instance, {leader}: it is an earlier session of it \
                         that has not run out yet, or another one with the same --hostname and port"
                    );
                    Lead::Nobody(why.into())
                }
                Standing::Following(leader) => Lead::Other(leader.into()),
                Standing::Unknown => Lead::Nobody(self.why_nobody(client).into()),
            };
            say(shell, &lead);
            shell.http.leadership.set(lead);
            let follow = async {
                match (&mut *standby, &now) {
                    (Some(standby), Standing::Following(_)) => standby.follow(client).await,
                    _ => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = standing.changed() => if changed.is_err() {
                    // Whoever stood for us gave up.
                    let lead = Lead::Nobody(self.why_nobody(client).into());
                    say(shell, &lead);
                    shell.http.leadership.set(lead);
                    return if client.is_live() { End::Faulty } else { End::Over };
                },
                Ok(()) = connection.changed() => {}
                () = tokio::time::sleep(Duration::from_secs(1)), if *standing.borrow() == Standing::Unknown => {}
                _ = client.over() => return End::Over,
                name = signals.next() => return End::Signal(name),
                () = follow => {}
            }
        }
    }

    fn why_nobody(&self, client: &Client) -> String {
        let state = *client.state().borrow();
        let refused = locked(&self.refused).clone();
        match (state, client.trouble(), refused) {
            (State::Connected, _, Some(refused)) | (_, None, Some(refused)) => refused,
            (State::Connected, _, None) => "the election is not decided yet".to_owned(),
            (_, Some(trouble), _) => format!("ZooKeeper cannot be reached ({trouble})"),
            (_, None, None) => "ZooKeeper has not answered yet".to_owned(),
        }
    }

    /// One term, from the stored state to the last answer.
    async fn lead(
        &self,
        shell: &Shell,
        client: &Client,
        standing: &mut watch::Receiver<Standing>,
        signals: &mut Signals,
        standby: Option<&mut Standby<Shelf>>,
        led: &mut bool,
    ) -> End {
        let began = std::time::Instant::now();
        let (lease, tenure) = (client.clone(), Arc::new(Tenure::default()));
        let holds = tenure.clone();
        shell.http.leadership.set_lease(move || lease.is_live() && holds.holds());
        shell.http.leadership.set(Lead::Loading);
        // Asked of the term before this one.
        let _ = tokio::time::timeout(Duration::ZERO, shell.abdicated.notified()).await;
        let _ = shell.take_errand();
        // Loading and the first commit wait for ZooKeeper, and the core takes its time too.
        let begun = tokio::task::block_in_place(|| {
            let opened = self.open(client, shell.http.leadership.own(), standby);
            opened.and_then(|opened| Leader::begin(shell, opened))
        });
        let mut leader = match begun {
            Ok(leader) => leader,
            Err(failure) => return self.failed(shell, failure),
        };
        *led = true;
        tracing::info!(took = ?began.elapsed(), "this instance leads");
        self.notify.tell(true, shell.http.leadership.own());
        let leads = locked(&self.leads).clone();
        let tenured = async {
            match leads {
                Some(leads) => tenure.keep(client, leads).await,
                None => std::future::pending().await,
            }
        };
        let end = tokio::select! {
            end = supervise(shell, client, &mut leader, standing) => end,
            () = tenured => End::Lost,
            name = signals.next() => End::Signal(name),
        };
        // From here on requests go elsewhere, whatever the end of the term still takes.
        let why = match &end {
            End::Signal(_) | End::Abdicated => "the leadership is being handed over".to_owned(),
            End::Faulty => "the state could not be stored".to_owned(),
            _ => self.why_nobody(client),
        };
        let handed_over = matches!(end, End::Signal(_) | End::Abdicated);
        if !handed_over {
            shell.http.step_down(Lead::Nobody(why.clone().into()));
            // What was decided and not sent is found again by the next leader.
            leader.hush(Duration::ZERO).await;
        }
        let stopped = leader.end().await;
        if matches!(end, End::Abdicated)
            && let Some(errand) = shell.take_errand()
            && let Some(board) = self.board(client)
            && let Err(error) = board.leave(&errand).await
        {
            tracing::error!(error, "backup and restore could not be passed on to the next leader");
        }
        // What was asked before a hand-over is answered as by a leader.
        if handed_over {
            leader.hush(LAST_CALLS).await;
            shell.http.step_down(Lead::Nobody(why.into()));
            // Nothing is decided here any more, so the next may begin while the engine is let go. That of this machine
            // lets in one at a time.
            if shell.config.master != Master::Local {
                release(client).await;
            }
        }
        self.notify.tell(false, shell.http.leadership.own());
        leader.stop().await;
        tracing::info!(after = ?began.elapsed(), "this instance leads no longer");
        match (end, stopped) {
            (End::Lost, _) if !client.is_live() => End::Over,
            (end @ (End::Signal(_) | End::Exit(_)), _) => end,
            (End::Abdicated, Exit::Ok) => End::Abdicated,
            (_, Exit::Uncaught) => End::Faulty,
            (end, _) => end,
        }
    }

    fn open(
        &self,
        client: &Client,
        own: &str,
        standby: Option<&mut Standby<Shelf>>,
    ) -> Result<Opened, Failure> {
        let (path, runtime) = (&self.options.url.path, Handle::current());
        let options = self.store.clone();
        let opened = ZkStore::take_over(client.clone(), runtime.clone(), path, own, options, standby);
        let (store, content) = opened.map_err(|error| failure(&error))?;
        *locked(&self.leads) = Some(store.leads());
        let errand = runtime.block_on(async { self.board(client)?.take().await });
        let decoded = match content {
            Content::Pairs(pairs) => Err(pairs),
            Content::Kept(shelf) => match shelf.into_writes() {
                Ok(writes) if errand.is_none() => Ok(writes),
                // Nobody else writes, so it is the same that was read ahead.
                _ => Err(runtime.block_on(read_zookeeper(client, path)).map_err(|error| failure(&error))?),
            },
        };
        let records = decoded.map_or_else(Records::Stored, Records::Decoded);
        Ok(Opened { store: Store::ZooKeeper(Box::new(store)), records, errand })
    }

    fn board(&self, client: &Client) -> Option<Board> {
        let leads = locked(&self.leads).clone()?;
        Some(Board::zookeeper(client, &self.options.url.path, leads))
    }

    fn failed(&self, shell: &Shell, failure: Failure) -> End {
        let (text, end) = match failure {
            Failure::Passing(text) => (text, End::Faulty),
            Failure::Lasting(text) => (text, End::Exit(Exit::Uncaught)),
        };
        tracing::error!("cannot lead: {text}");
        shell.http.step_down(Lead::Nobody("the state could not be loaded; the log says why".into()));
        end
    }
}

/// What a session holds is let go at once, so that others need not wait for it to run out.
async fn release(client: &Client) {
    let _ = tokio::time::timeout(Duration::from_secs(2), client.close()).await;
}

/// What another attempt may mend is told from what needs a person.
pub fn failure(error: &StoreError) -> Failure {
    match &error.cause {
        Cause::ZooKeeper(Error::NoAuth | Error::AuthFailed) => Failure::Lasting(chain(error)),
        Cause::ZooKeeper(_) | Cause::Fenced | Cause::InDoubt => Failure::Passing(chain(error)),
        _ => Failure::Lasting(chain(error)),
    }
}

/// Until the term has to end.
async fn supervise(
    shell: &Shell,
    client: &Client,
    leader: &mut Leader,
    standing: &mut watch::Receiver<Standing>,
) -> End {
    let lost = async {
        tokio::select! {
            _ = standing.wait_for(|it| *it != Standing::Leading) => {}
            _ = client.over() => {}
        }
        End::Lost
    };
    let abdicated = async {
        shell.abdicated.notified().await;
        tokio::time::sleep(FAREWELL).await;
        End::Abdicated
    };
    let works = async {
        // An engine that does not start does so nowhere, and whoever supervises us shall see it.
        let broken = match leader.connect(shell).await {
            Ok(()) => {
                let engine = leader.engine();
                tokio::select! {
                    broken = Leader::engine_failed(engine) => broken,
                    _ = leader.failed() => return End::Faulty,
                }
            }
            Err(broken) => broken,
        };
        tracing::error!("{}", broken.why);
        // The next leader may be subscribed before this one has noticed that it leads no longer.
        if broken.taken_over { End::Faulty } else { End::Exit(broken.exit) }
    };
    tokio::select! {
        end = lost => end,
        end = abdicated => end,
        end = works => end,
    }
}

fn locked<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends the candidacy when dropped.
struct Stands(AbortHandle);

impl Drop for Stands {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// One line for each change, not for each look.
fn say(shell: &Shell, lead: &Lead) {
    match (shell.http.leadership.now(), lead) {
        (Lead::Other(before), Lead::Other(leader)) if before == *leader => {}
        (_, Lead::Other(leader)) => tracing::info!(%leader, "following the leader"),
        (Lead::Nobody(before), Lead::Nobody(why)) if before == *why => {}
        // A moment of every start.
        (_, Lead::Nobody(why)) if shell.clock.now().tick.0 < 1000 => {
            tracing::debug!("nobody leads yet: {why}")
        }
        (_, Lead::Nobody(why)) => tracing::warn!("nobody leads: {why}"),
        _ => {}
    }
}

pub fn options(config: &Config) -> Result<Option<Options>, String> {
    let Some(url) = &config.zk else { return Ok(None) };
    let url = ZkUrl::parse(url).map_err(|error| format!("--zk: {error}"))?;
    Ok(Some(Options {
        url,
        session_timeout: config.zk_session_timeout,
        connection_timeout: config.zk_connection_timeout,
        request_timeout: config.zk_timeout,
        window: config.zk_max_concurrency.max(1),
    }))
}

pub fn store_options(config: &Config) -> ZkOptions {
    ZkOptions {
        max_node_size: config.zk_max_node_size,
        compression: config.zk_compression.then_some(config.zk_compression_threshold),
        retries: u32::try_from(config.zk_operation_max_retries).unwrap_or(u32::MAX),
        retry_pause: config.zk_operation_base_retry_sleep,
        timeout: config.zk_timeout,
        ..ZkOptions::default()
    }
}
