//! Benchmarks against peers and physical limits: `bin/bench NAME …`.
//!
//! ```text
//! run/<bench> ─► server, peers  real processes, driven over HTTP, stopped by their ids
//!            ├─► ensemble       three ZooKeepers, instances of the server, a large state
//!            ├─► raw            a bare hyper server: how fast these bytes could be answered at all
//!            ├─► hold           core and HTTP on a large stored state, without an engine
//!            ├─► play           core, store and HTTP in front of a simulated cluster
//!            └─► report         a table for people, then one line of JSON
//! ```
//! Whatever a figure is compared with is measured in the same run, in turns with it, because a shared
//! machine is fast in one minute and slow in the next. docs/benchmarks.md says what each one means.

mod cpu;
mod ensemble;
mod fill;
mod hold;
mod load;
mod mesos;
mod peers;
mod play;
mod procs;
mod raw;
mod report;
mod run;
mod server;
mod spawn;
mod stats;
mod stream;
mod web;

use std::path::PathBuf;
use std::process::ExitCode;

/// A bench either gets its figures or says why not; there is nothing in between to match on.
pub type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Where things are; `bin/bench` builds and installs them first.
pub struct Place {
    /// The release binary of the server.
    pub server: PathBuf,
    /// The release binary of the simulator.
    pub sim: PathBuf,
    /// Folders with installed peers: `supervisor/`, `pm2/`.
    pub peers: PathBuf,
    /// Data folders are made in here. Not `/tmp`, which may be memory and would make every flush free.
    pub tmp: PathBuf,
}

const USAGE: &str = "usage: marathon-bench --server FILE --sim FILE --peers DIR --tmp DIR [NAME …]";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (first, rest) = args.split_first().map_or(("", &[][..]), |(first, rest)| (first.as_str(), rest));
    let done = match first {
        raw::COMMAND => raw::main(rest),
        hold::COMMAND => hold::main(rest),
        play::COMMAND => play::main(rest),
        _ => benches(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("marathon-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn benches(args: &[String]) -> Outcome<()> {
    let (place, names) = parse(args)?;
    let all = names.is_empty() || names.iter().any(|it| it == "all");
    for name in &names {
        if name != "all" && !run::BENCHES.iter().any(|(known, _)| known == name) {
            let known: Vec<&str> = run::BENCHES.iter().map(|it| it.0).collect();
            return Err(format!("there is no bench '{name}', only {}, all", known.join(", ")).into());
        }
    }
    std::fs::create_dir_all(&place.tmp)?;
    procs::sweep_on_signals();
    for (name, bench) in run::BENCHES.iter().filter(|it| all || names.iter().any(|name| name == it.0)) {
        let report = bench(&place);
        if report.is_ok() {
            procs::settle();
        }
        procs::sweep();
        report.map_err(|error| format!("{name}: {error}"))?.print(name);
    }
    Ok(())
}

fn parse(args: &[String]) -> Outcome<(Place, Vec<String>)> {
    let (mut server, mut sim, mut peers, mut tmp) = (None, None, None, None);
    let mut names = Vec::new();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let slot = match arg.as_str() {
            "--server" => &mut server,
            "--sim" => &mut sim,
            "--peers" => &mut peers,
            "--tmp" => &mut tmp,
            flag if flag.starts_with('-') => return Err(format!("unknown flag {flag}\n{USAGE}").into()),
            name => {
                names.push(name.to_owned());
                continue;
            }
        };
        *slot = Some(PathBuf::from(args.next().ok_or(USAGE)?));
    }
    let place = Place {
        server: server.ok_or(USAGE)?,
        sim: sim.ok_or(USAGE)?,
        peers: peers.ok_or(USAGE)?,
        tmp: tmp.ok_or(USAGE)?,
    };
    Ok((place, names))
}
