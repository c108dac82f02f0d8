//! Core, view and HTTP server on a stored state, without an engine: `marathon-bench hold DIR`.
//!
//! Ten thousand apps cannot really run on one machine, and an engine that knew nothing of them would call
//! them all lost. So this stands in for the server where only the size of its state matters. It loads the
//! store through the same crates, in the same order, with the same allocator, and takes changes; what it
//! would write or send is dropped.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use marathon_api::about::InfoConfig;
use marathon_core::{Core, Policy};
use marathon_http::{Asker, EventHub, Http, Logging, Refused, Settings};
use marathon_model::act::Act;
use marathon_model::command::{Command, Reply};
use marathon_model::event::Event;
use marathon_model::id::RequestId;
use marathon_model::time::{Now, Tick, Timestamp};
use marathon_model::view::View;
use marathon_store::{Options, Store};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::fill::Size;
use crate::{Outcome, Place, fill, procs, raw};

pub const COMMAND: &str = "hold";
/// Changes that may wait.
const QUEUE: usize = 1024;
/// Any number: ids need to differ, not to surprise.
const SEED: u64 = 1;

pub type Asked = (Command, oneshot::Sender<Reply>);

/// `args`: the folder of the store. Prints the port it listens on once everything is loaded.
pub fn main(args: &[String]) -> Outcome<()> {
    let folder = args.first().ok_or("usage: hold DIR")?;
    let clock = Clock(Instant::now());
    let (_store, pairs) = Store::open(Path::new(folder), Options::default())?;
    let loaded = marathon_records::load(pairs)?;
    let (core, _) = Core::restore(loaded.writes, Policy::default(), SEED, clock.now());
    let views = Arc::new(ArcSwap::new(core.view()));
    let hub = Arc::new(EventHub::new(1024, 1));
    let (sender, receiver) = sync_channel(QUEUE);
    let http = Arc::new(Http::new(
        views.clone(),
        Asker::new(move |command, reply| send(&sender, (command, reply))),
        hub.clone(),
        settings(),
        Box::new(NoLogging),
        Box::new(|| {}),
    ));
    http.set_ready();
    std::thread::spawn(move || run(core, &receiver, &views, &hub, &clock));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        println!("{}", listener.local_addr()?.port());
        std::io::Write::flush(&mut std::io::stdout())?;
        marathon_http::serve(listener, http, std::future::pending()).await;
        Ok(())
    })
}

pub fn send(sender: &SyncSender<Asked>, asked: Asked) -> Result<(), Refused> {
    sender.try_send(asked).map_err(|error| match error {
        TrySendError::Full(_) => Refused::Full,
        TrySendError::Disconnected(_) => Refused::Stopping,
    })
}

/// The loop that owns the core.
fn run(mut core: Core, asked: &Receiver<Asked>, views: &ArcSwap<View>, hub: &EventHub, clock: &Clock) {
    let mut number = 0;
    loop {
        let now = clock.now();
        let pause = core.next_wakeup().map_or(Duration::from_secs(60), |(at, _)| at - now.tick);
        let (event, mut reply) = match asked.recv_timeout(pause) {
            Ok((command, reply)) => {
                number += 1;
                (Event::Asked { from: RequestId(number), command }, Some(reply))
            }
            Err(RecvTimeoutError::Timeout) => (Event::Woke, None),
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let batch = core.step(event, clock.now());
        views.store(core.view());
        for act in batch.acts {
            match act {
                Act::Reply(_, answer) => {
                    // A client that went away wants no answer.
                    let _ = reply.take().map(|it| it.send(answer));
                }
                Act::Publish(notice) => hub.publish(notice),
                Act::Engine(_) | Act::Probe(_) => {}
            }
        }
    }
}

pub struct Clock(pub Instant);

impl Clock {
    pub fn now(&self) -> Now {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Now {
            wall: Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX)),
            tick: Tick::default() + self.0.elapsed(),
        }
    }
}

pub struct NoLogging;

impl Logging for NoLogging {
    fn levels(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    fn set(&self, _: &str, _: &str, _: Option<Duration>) -> Result<(), String> {
        Err("this server keeps no log".to_owned())
    }
}

pub fn settings() -> Settings {
    Settings {
        advertised: "localhost:8080".to_owned(),
        credentials: None,
        realm: "Mesosphere".to_owned(),
        concurrent_requests_max: None,
        compression: true,
        origins: None,
        proxy: marathon_http::proxy::Limits {
            connect: Duration::from_secs(5),
            read: Duration::from_secs(10),
            at_once: 64,
        },
        metrics_prefix: "marathon".to_owned(),
        prometheus: true,
        config: Vec::new(),
        info: InfoConfig::default(),
        grace: Duration::from_secs(1),
    }
}

/// A running one.
pub struct Held {
    child: Child,
    pub pid: i32,
    pub port: u16,
    pub dir: PathBuf,
}

impl Held {
    /// Fills a store and starts on it.
    pub fn start(place: &Place, size: &Size) -> Outcome<Held> {
        let dir = procs::folder(&place.tmp, "held-")?;
        if size.apps > 0 {
            fill::store(&dir, size)?;
        }
        let (child, port) = raw::start_self(&[COMMAND, &dir.to_string_lossy()])?;
        let pid = i32::try_from(child.id())?;
        Ok(Held { child, pid, port, dir })
    }

    pub fn stop(self) -> Outcome<()> {
        raw::stop(self.child)?;
        procs::remove_folder(&self.dir);
        Ok(())
    }
}
