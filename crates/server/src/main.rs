//! `marathon`: the server, and by its first argument also the keeper, the runner of containers, and the copier
//! of states.
//!
//! ```text
//! flags ─► log ─► port ─► HTTP (only /ping yet) ─► store ─► core ─► loop ─► ready ─► engine
//! ```
//! The port is answered as early as possible; what needs the state waits until it is loaded. `shell` lives
//! as long as the process, `leader` for one term of leadership.

mod election;
mod engine;
mod errand;
mod exit;
mod leader;
mod load;
mod log;
mod machine;
mod news;
mod notify;
mod setup;
mod shell;
mod standby;
mod state;
mod tenure;
mod term;

use std::ffi::OsString;
use std::io::IsTerminal;
use std::net::TcpListener;
use std::process::ExitCode;
use std::time::Duration;

use marathon_flags::{Config, Parsed};
use marathon_http::Lead;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use election::Election;
use engine::Broken;
use errand::Board;
use exit::Exit;
use leader::{Failure, Leader};
use shell::Shell;
use term::Clock;

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
        Some("state") => return code(state::main(&rest())),
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
    if let Err(why) = setup::judge_master(&config) {
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
        Ok(runtime) => {
            let exit = runtime.block_on(serve(config, clock, levels, listener));
            // What is still being looked up or read is of no use to anybody.
            runtime.shutdown_background();
            exit
        }
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
    Engine(Broken),
}

async fn serve(config: Config, clock: Clock, levels: log::Levels, listener: TcpListener) -> Exit {
    let mut signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => {
            tracing::error!("cannot listen to signals: {error}");
            return Exit::Uncaught;
        }
    };
    let shell = match Shell::new(config, clock, levels) {
        Ok(shell) => shell,
        Err(text) => {
            tracing::error!("{text}");
            return Exit::Uncaught;
        }
    };
    let election = match Election::new(&shell.config) {
        Ok(election) => election,
        Err(text) => {
            tracing::error!("{text}");
            return Exit::InvalidFlag;
        }
    };
    if election.is_some() {
        shell.http.leadership.set(Lead::Nobody("this instance has only just started".into()));
    }
    let (stop_http, http_stopped) = oneshot::channel::<()>();
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!("cannot listen: {error}");
            return Exit::Bind;
        }
    };
    let serving = tokio::spawn(marathon_http::serve(listener, shell.http.clone(), async move {
        let _ = http_stopped.await;
    }));

    let Some(election) = election else { return alone(shell, signals, stop_http, serving).await };
    announce(&shell.config);
    let exit = election.run(&shell, &mut signals, || drop(stop_http)).await;
    insist(signals);
    let _ = tokio::time::timeout(shell.config.graceful_shutdown_timeout, serving).await;
    exit
}

/// An instance without others leads for as long as it lives.
async fn alone(
    shell: Shell,
    mut signals: Signals,
    stop_http: oneshot::Sender<()>,
    serving: JoinHandle<()>,
) -> Exit {
    let begun = load::open(&shell.config).map_err(Failure::Lasting);
    let mut leader = match begun.and_then(|opened| Leader::begin(&shell, opened)) {
        Ok(leader) => leader,
        Err(failure) => {
            tracing::error!("{failure}");
            return Exit::Uncaught;
        }
    };
    announce(&shell.config);
    let end = {
        // A signal may come while the keeper of an earlier server is still to be found.
        let connected = tokio::select! {
            connected = leader.connect(&shell) => connected.map_err(End::Engine),
            name = signals.next() => Err(End::Signal(name)),
        };
        match connected {
            Ok(()) => tokio::select! {
                name = signals.next() => End::Signal(name),
                broken = Leader::engine_failed(leader.engine()) => End::Engine(broken),
                () = shell.abdicated.notified() => End::Abdicated,
                exit = leader.failed() => End::Loop(exit),
            },
            Err(end) => end,
        }
    };
    let exit = match &end {
        End::Signal(name) => {
            tracing::info!(
                "{name}: stopping; tasks {}",
                if shell.config.checkpoint { "keep running" } else { "end with the server" }
            );
            Exit::Ok
        }
        End::Abdicated => {
            // The original waits as long, so that the answer gets through.
            tokio::time::sleep(Duration::from_millis(500)).await;
            if let Some(errand) = shell.take_errand()
                && let Err(error) = Board::folder(&shell.config.data_dir).leave(&errand).await
            {
                tracing::error!(error, "backup and restore could not be passed on to the next start");
            }
            tracing::info!("leadership was given up");
            Exit::LeadershipEndedGracefully
        }
        End::Loop(exit) => *exit,
        End::Engine(Broken { exit, why, .. }) => {
            tracing::error!("{why}");
            *exit
        }
    };
    insist(signals);
    // Requests in progress are answered before the loop ends; new ones are not accepted any more.
    let _ = stop_http.send(());
    let _ = tokio::time::timeout(shell.config.graceful_shutdown_timeout, serving).await;
    match leader.stop().await {
        Exit::Ok => exit,
        failed => failed,
    }
}

/// Whoever asks a second time does not want to wait.
fn insist(mut signals: Signals) {
    tokio::spawn(async move {
        let name = signals.next().await;
        tracing::warn!("{name} again: ending at once");
        std::process::exit(Exit::Ok as i32);
    });
}

fn announce(config: &Config) {
    let host = match config.http_address.as_deref() {
        Some(address) if !matches!(address, "0.0.0.0" | "::") => address,
        _ => &config.hostname,
    };
    let url = format!("http://{host}:{}/", config.http_port);
    tracing::info!(url, state = load::place(config), "Marathon is up");
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
