//! From the store to a living core.

use std::os::unix::fs::DirBuilderExt;

use marathon_core::Core;
use marathon_flags::{Config, StoreKind};
use marathon_http::Errand;
use marathon_model::act::Batch;
use marathon_model::time::Timestamp;
use marathon_model::write::Write;
use marathon_store::{Entry, Options, Pair, Store};

use futures_util::FutureExt;

use crate::election::failure;
use crate::errand::Board;
use crate::exit::chain;
use crate::leader::Failure;
use crate::term::Clock;
use crate::{errand, machine, setup, state};

/// More events than one term ever publishes.
const EVENT_IDS: u64 = 1 << 36;

/// What a term begins with.
pub struct Loaded {
    pub store: Store,
    pub core: Core,
    /// What the restored core wants done first.
    pub first: Batch,
}

/// Reads the store and brings the core to life.
pub fn load(config: &Config, clock: Clock, opened: Opened) -> Result<Loaded, Failure> {
    let Opened { mut store, records, errand } = opened;
    let saved = match records {
        Records::Decoded(writes) => writes,
        Records::Stored(pairs) => decode(config, &mut store, pairs, errand)?,
    };
    let (events_begin, writes) = events_begin(saved, clock.now().wall);
    let (core, mut first) = Core::restore(writes, setup::policy(config), machine::seed(), clock.now());
    // Stored with what follows at once, before any event leaves.
    first.writes.insert(0, events_begin);
    Ok(Loaded { store, core, first })
}

fn decode(
    config: &Config,
    store: &mut Store,
    mut pairs: Vec<Pair>,
    errand: Option<Errand>,
) -> Result<Vec<Write>, Failure> {
    if let Some(errand) = errand {
        let wanted = errand::carry_out(&errand, pairs.clone());
        if wanted != pairs {
            let entries = state::exchange(&pairs, wanted.clone());
            store.commit(&entries).map_err(|error| failure(&error))?;
            pairs = wanted;
        }
    }
    let loaded = marathon_records::load(pairs).map_err(|error| {
        Failure::Lasting(format!("cannot read the state in {}: {}", place(config), chain(&error)))
    })?;
    let changes = loaded.changes.into_iter().map(|it| Entry { key: it.key, value: it.value });
    store.commit(&changes.collect::<Vec<_>>()).map_err(|error| failure(&error))?;
    Ok(loaded.writes)
}

/// A store, what it holds, and what was asked of whoever opens it.
pub struct Opened {
    pub store: Store,
    pub records: Records,
    pub errand: Option<Errand>,
}

/// What a store holds.
pub enum Records {
    Stored(Vec<Pair>),
    /// Read ahead, and nobody asked for anything to be done with them.
    Decoded(Vec<Write>),
}

/// The store of an instance that is alone.
pub fn open(config: &Config) -> Result<Opened, String> {
    let (store, pairs) = open_store(config)?;
    // Only reads a file, so it never waits.
    let errand = Board::folder(&config.data_dir).take().now_or_never().flatten();
    Ok(Opened { store, records: Records::Stored(pairs), errand })
}

fn open_store(config: &Config) -> Result<(Store, Vec<Pair>), String> {
    match config.internal_store_backend {
        StoreKind::Memory => Ok((Store::Memory, Vec::new())),
        _ => {
            let folder = config.data_dir.join("state");
            // Others may pass through: tasks of other users live in folders below. The state itself is ours.
            std::fs::DirBuilder::new().recursive(true).mode(0o755).create(&config.data_dir).map_err(
                |error| format!("cannot make the folder {} (--data_dir): {error}", config.data_dir.display()),
            )?;
            Store::open(&folder, Options::default()).map_err(|error| chain(&error))
        }
    }
}

/// Where the state is, for people.
pub fn place(config: &Config) -> String {
    match config.internal_store_backend {
        StoreKind::Memory => "memory only (lost at exit)".to_owned(),
        StoreKind::ZooKeeper => config.shown_zk().unwrap_or_default(),
        _ => config.data_dir.display().to_string(),
    }
}

/// Where the ids of this term's events begin: above all that were used before, whatever the clock says.
/// Mostly they begin at the microsecond of the start, so that they say roughly when.
fn events_begin(saved: Vec<Write>, now: Timestamp) -> (Write, Vec<Write>) {
    let mut least = 1;
    let mut rest = saved;
    rest.retain(|it| match it {
        Write::EventsBegin(before) => {
            least = before.saturating_add(EVENT_IDS);
            false
        }
        _ => true,
    });
    let begin = Write::EventsBegin(now.0.unsigned_abs().saturating_mul(1000).max(least));
    rest.push(begin.clone());
    (begin, rest)
}
