//! `marathon`: the server, and by its first argument also the keeper and the runner of containers.
//!
//! ```text
//! flags ─► log ─► port ─► HTTP (only /ping yet) ─► store ─► core ─► loop ─► ready ─► engine
//! ```
//! The port is answered as early as possible; what needs the state waits until it is loaded. The engine
//! comes last: by then the state it is compared with is there.

mod exit;
mod log;
mod machine;
mod news;
mod setup;
mod term;

use std::ffi::OsString;
use std::io::IsTerminal;
use std::net::TcpListener;
use std::os::unix::fs::DirBuilderExt;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use marathon_core::Core;
use marathon_flags::{Config, Parsed, StoreKind};
use marathon_http::{Asker, Callbacks, EventHub, Http, Refused};
use marathon_local::Local;
use marathon_model::act::Batch;
use marathon_model::id::SpecId;
use marathon_model::time::Timestamp;
use marathon_model::view::View;
use marathon_model::write::Write;
use marathon_probe::Prober;
use marathon_store::{Entry, Options, Store};
use tokio::sync::{Notify, mpsc, oneshot};

use exit::{Exit, chain};
use term::{COMMANDS_MAX, Clock, EVENTS_MAX, Inbox, Outside, Question, Term};

// The allocator is that of the C library: mimalloc held 14 MB more in an idle server, and 4 MB more in the
// keeper, which every data folder has.

/// Threads that serve HTTP. Deciding and the engine have threads of their own.
const WORKERS_MAX: usize = 4;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let rest =
        || arguments.iter().skip(1).map(|it| it.to_string_lossy().into_owned()).collect::<Vec<String>>();
    match arguments.first().and_then(|it| it.to_str()) {
        Some("keeper") => return code(marathon_keeper::main(&rest())),
        Some("docker-run") => return code(marathon_docker::main(&rest())),
        _ => {}
    }
    let flags = match marathon_flags::parse(arguments, std::env::vars_os()) {
        Ok(Parsed::Help) => {
            println!("{}", marathon_flags::docs::help());
            return Exit::Ok.into();
        }
        Ok(Parsed::Version) => {
            println!("marathon {}", setup::VERSION);
            return Exit::Ok.into();
        }
        Ok(Parsed::Run(flags)) => flags,
        Err(error) => return refuse(&error.to_string()),
    };
    let config = match Config::new(&flags, &machine::machine()) {
        Ok(config) => config,
        Err(error) => return refuse(&error.to_string()),
    };
    if let Some(why) = config.unsupported() {
        return refuse(&why);
    }
    run(config).into()
}

fn code(code: i32) -> ExitCode {
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

fn refuse(text: &str) -> ExitCode {
    eprintln!("marathon: {text}\nTry 'marathon --help'.");
    Exit::InvalidFlag.into()
}

fn run(mut config: Config) -> Exit {
    let clock = Clock::start();
    let levels = log::begin(&config.logging_level, std::io::stderr().is_terminal());
    machine::raise_file_limit();
    tracing::info!(version = setup::VERSION, flags = config.given.join(" "), "Marathon starts");
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let listener = match bind(&config) {
        Ok(listener) => listener,
        Err(text) => {
            tracing::error!("{text}");
            return Exit::Bind;
        }
    };
    if let Ok(address) = listener.local_addr() {
        // `--http_port 0` takes any free one, and the advertised address must be true.
        config.http_port = address.port();
    }
    let workers = std::thread::available_parallelism().map_or(2, usize::from).clamp(1, WORKERS_MAX);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .max_blocking_threads(64)
        .thread_name("http")
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => runtime.block_on(serve(config, clock, levels, listener)),
        Err(error) => {
            tracing::error!("cannot start threads: {error}");
            Exit::Uncaught
        }
    }
}

/// Without `--http_address`: all addresses of both families, or of IPv4 where there is no IPv6.
fn bind(config: &Config) -> Result<TcpListener, String> {
    let port = config.http_port;
    let listen = |host: &str| TcpListener::bind((host, port));
    let listener = match config.http_address.as_deref() {
        Some(host) => listen(host),
        None => listen("::").or_else(|error| match error.kind() {
            std::io::ErrorKind::AddrInUse | std::io::ErrorKind::PermissionDenied => Err(error),
            _ => listen("0.0.0.0"),
        }),
    };
    let fail = |error: std::io::Error| {
        let host = config.http_address.as_deref().unwrap_or("any address");
        format!("cannot listen on {host}, port {port} (--http_address, --http_port): {error}")
    };
    let listener = listener.map_err(fail)?;
    listener.set_nonblocking(true).map_err(fail)?;
    Ok(listener)
}

/// Why the server ends.
enum End {
    Signal(&'static str),
    Abdicated,
    Loop(Exit),
    Engine(String),
}

async fn serve(config: Config, clock: Clock, levels: log::Levels, listener: TcpListener) -> Exit {
    let mut signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => {
            tracing::error!("cannot listen to signals: {error}");
            return Exit::Uncaught;
        }
    };
    let views = Arc::new(ArcSwap::from_pointee(View::default()));
    let hub = Arc::new(EventHub::new(config.event_stream_max_outstanding_messages, 1));
    let (commands, command_inbox) = mpsc::channel::<Question>(COMMANDS_MAX);
    let abdicated = Arc::new(Notify::new());
    let policy = setup::policy(&config);
    let http = Http::new(
        views.clone(),
        asker(commands),
        hub.clone(),
        setup::http(&config),
        Box::new(levels),
        Box::new({
            let abdicated = abdicated.clone();
            move || abdicated.notify_one()
        }),
    );
    let explain = {
        let policy = policy.clone();
        move |view: &View, id: &SpecId, rows, now| marathon_core::explain(view, &policy, id, rows, now)
    };
    let http = Arc::new(http.explaining(explain));
    http.previews.set(move |view, command| marathon_core::preview(view, &policy, command, clock.now()));
    let callbacks = match callbacks(&config, &hub) {
        Ok(callbacks) => callbacks,
        Err(text) => {
            tracing::error!("{text}");
            return Exit::Uncaught;
        }
    };
    if let Some(callbacks) = &callbacks {
        http.callbacks.get_or_init(|| callbacks.clone());
    }
    let (stop_http, http_stopped) = oneshot::channel::<()>();
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!("cannot listen: {error}");
            return Exit::Bind;
        }
    };
    let serving = tokio::spawn(marathon_http::serve(listener, http.clone(), async move {
        let _ = http_stopped.await;
    }));

    let (store, core, first) = match load(&config, clock) {
        Ok(loaded) => loaded,
        Err(text) => {
            tracing::error!("{text}");
            return Exit::Uncaught;
        }
    };
    hub.begin_at(core.view().events_begin);
    let (engine_sender, engine_inbox) = mpsc::channel(EVENTS_MAX);
    let (probe_sender, probe_inbox) = mpsc::channel(EVENTS_MAX);
    let prober = Prober::new(setup::probes(&config), probe_sender, tokio::runtime::Handle::current());
    let engine: Arc<OnceLock<Local>> = Arc::default();
    let outside = Outside { views, hub: hub.clone(), engine: engine.clone(), prober, callbacks };
    let (stop_loop, loop_stopped) = oneshot::channel();
    let inbox =
        Inbox { commands: command_inbox, engine: engine_inbox, probes: probe_inbox, stop: loop_stopped };
    let (loop_ended, mut loop_end) = oneshot::channel::<Exit>();
    let mut term = Term::new(core, store, clock, outside);
    if let Err(error) = term.begin(first) {
        tracing::error!("{}", chain(&error));
        return Exit::Uncaught;
    }
    let thread = std::thread::Builder::new().name("loop".to_owned()).spawn(move || {
        let exit = match term.run(inbox) {
            Ok(()) => Exit::Ok,
            Err(error) => {
                tracing::error!("the state cannot be stored, so nothing more is decided: {}", chain(&error));
                Exit::Uncaught
            }
        };
        let _ = loop_ended.send(exit);
    });
    let Ok(thread) = thread else {
        tracing::error!("cannot start the thread that decides");
        return Exit::Uncaught;
    };
    http.set_ready();
    announce(&config);

    // A signal may come while the keeper of an earlier server is still to be found.
    let started = tokio::select! {
        started = start_engine(&config, engine_sender) => Ok(started),
        name = signals.next() => Err(name),
    };
    let mut end = match started {
        Ok(Ok(local)) => {
            // The loop must find the engine when the first event of it arrives.
            engine.get_or_init(|| local).begin();
            tokio::select! {
                name = signals.next() => End::Signal(name),
                () = abdicated.notified() => End::Abdicated,
                exit = &mut loop_end => End::Loop(exit.unwrap_or(Exit::Uncaught)),
            }
        }
        Ok(Err(text)) => End::Engine(text),
        Err(name) => End::Signal(name),
    };
    let exit = match &end {
        End::Signal(name) => {
            tracing::info!(
                "{name}: stopping; tasks {}",
                if config.checkpoint { "keep running" } else { "end with the server" }
            );
            Exit::Ok
        }
        End::Abdicated => {
            // The original waits as long, so that the answer gets through.
            tokio::time::sleep(Duration::from_millis(500)).await;
            tracing::info!("leadership was given up");
            Exit::LeadershipEndedGracefully
        }
        End::Loop(exit) => *exit,
        End::Engine(text) => {
            tracing::error!("{text}");
            Exit::EngineFailed
        }
    };
    // Whoever asks a second time does not want to wait.
    tokio::spawn(async move {
        let name = signals.next().await;
        tracing::warn!("{name} again: ending at once");
        std::process::exit(Exit::Ok as i32);
    });
    // Requests in progress are answered before the loop ends; new ones are not accepted any more.
    let _ = stop_http.send(());
    let _ = tokio::time::timeout(config.graceful_shutdown_timeout, serving).await;
    if !matches!(end, End::Loop(_)) {
        let _ = stop_loop.send(());
        if let Ok(Exit::Uncaught) = loop_end.await {
            end = End::Loop(Exit::Uncaught);
        }
    }
    let _ = tokio::task::spawn_blocking(move || thread.join()).await;
    if let Some(local) = Arc::into_inner(engine).and_then(OnceLock::into_inner) {
        local.stop().await;
    }
    match end {
        End::Loop(exit) => exit,
        _ => exit,
    }
}

/// Hands commands of HTTP to the loop; a full queue refuses instead of waiting.
fn asker(commands: mpsc::Sender<Question>) -> Asker {
    Asker::new(move |command, reply| {
        commands.try_send((command, reply)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Refused::Full,
            mpsc::error::TrySendError::Closed(_) => Refused::Stopping,
        })
    })
}

/// Reads the store and brings the core to life.
fn load(config: &Config, clock: Clock) -> Result<(Store, Core, Batch), String> {
    let (mut store, pairs) = match config.internal_store_backend {
        StoreKind::Memory => (Store::Memory, Vec::new()),
        _ => {
            let folder = config.data_dir.join("state");
            // Others may pass through: tasks of other users live in folders below. The state itself is ours.
            std::fs::DirBuilder::new().recursive(true).mode(0o755).create(&config.data_dir).map_err(
                |error| format!("cannot make the folder {} (--data_dir): {error}", config.data_dir.display()),
            )?;
            Store::open(&folder, Options::default()).map_err(|error| chain(&error))?
        }
    };
    let loaded = marathon_records::load(pairs).map_err(|error| {
        format!("cannot read the state in {}: {}", config.data_dir.display(), chain(&error))
    })?;
    let changes = loaded.changes.into_iter().map(|it| Entry { key: it.key, value: it.value });
    let (events_begin, writes) = events_begin(loaded.writes, clock.now().wall);
    let record = marathon_records::encode(&events_begin);
    let changes = changes.chain([Entry { key: record.key, value: record.value }]);
    store.commit(&changes.collect::<Vec<_>>()).map_err(|error| chain(&error))?;
    let (core, first) = Core::restore(writes, setup::policy(config), machine::seed(), clock.now());
    Ok((store, core, first))
}

/// More events than one server ever publishes.
const EVENT_IDS: u64 = 1 << 36;

/// Where the ids of this server's events begin: above all that were used before, whatever the clock says.
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

/// Posts events, if it was asked for.
fn callbacks(config: &Config, hub: &Arc<EventHub>) -> Result<Option<Arc<Callbacks>>, String> {
    if config.callbacks.is_none() {
        return Ok(None);
    }
    let runtime = tokio::runtime::Handle::current();
    Callbacks::new(hub.clone(), setup::callbacks(config), runtime).map(|it| Some(Arc::new(it)))
}

async fn start_engine(
    config: &Config,
    events: mpsc::Sender<marathon_model::offer::EngineEvent>,
) -> Result<Local, String> {
    let executable =
        std::env::current_exe().map_err(|error| format!("cannot find our own binary: {error}"))?;
    Local::connect(setup::local(config, executable), events)
        .await
        .map_err(|error| format!("the embedded engine does not start: {}", chain(&error)))
}

fn announce(config: &Config) {
    let host = match config.http_address.as_deref() {
        Some(address) if !matches!(address, "0.0.0.0" | "::") => address,
        _ => &config.hostname,
    };
    let url = format!("http://{host}:{}/", config.http_port);
    let state = match config.internal_store_backend {
        StoreKind::Memory => "memory only (lost at exit)".to_owned(),
        _ => config.data_dir.display().to_string(),
    };
    tracing::info!(url, state, "Marathon is up");
    if config.http_credentials.is_none() && config.http_address.is_none() {
        tracing::warn!(
            "anyone who reaches port {} may run commands on this machine: see --http_address and --http_credentials",
            config.http_port
        );
    }
}

/// Asked to end, by whoever runs us. Listened to from the beginning: before that a signal ends the process
/// in the middle of whatever it does.
struct Signals {
    term: tokio::signal::unix::Signal,
    int: tokio::signal::unix::Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Signals> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Signals { term: signal(SignalKind::terminate())?, int: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.term.recv() => "SIGTERM",
            _ = self.int.recv() => "SIGINT",
        }
    }
}
