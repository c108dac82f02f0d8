//! `mesos-sim`: see `--help` and docs/mesos-sim.md.

use std::process::ExitCode;
use std::time::Duration;

use marathon_mesos_sim::launch::serve;
use marathon_mesos_sim::options::{HELP, Options};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::LocalSet;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|it| it == "--help" || it == "-h") {
        print!("{HELP}");
        return ExitCode::SUCCESS;
    }
    let done = match arguments.split_first() {
        Some((first, rest)) if first == "null" => null(rest),
        _ => Options::parse(arguments).and_then(run),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("mesos-sim: {why}");
            ExitCode::FAILURE
        }
    }
}

/// `mesos-sim null HOST:PORT TASKS [PER_OFFER]`: the scheduler that takes everything.
fn null(arguments: &[String]) -> Result<(), String> {
    let [host, rest @ ..] = arguments else { return Err("null HOST:PORT TASKS [PER_OFFER]".to_owned()) };
    let number = |at: usize, otherwise: u64| rest.get(at).map_or(Ok(otherwise), |it| it.parse());
    let wanted = number(0, 1000).map_err(|_| "TASKS is no number")?;
    let per_offer = number(1, 100).map_err(|_| "PER_OFFER is no number")?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|cause| cause.to_string())?;
    let it =
        runtime.block_on(marathon_mesos_sim::null::run(host, wanted, per_offer, Duration::from_secs(60)))?;
    println!(
        "{{\"launched\":{},\"running\":{},\"seconds\":{:.3},\"rate\":{:.0},\"first\":{:.0},\"last\":{:.0}}}",
        it.launched,
        it.running,
        it.seconds,
        it.running as f64 / it.seconds,
        it.first,
        it.last
    );
    Ok(())
}

fn run(options: Options) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|cause| cause.to_string())?;
    LocalSet::new().block_on(&runtime, async move {
        let mut terminated = signal(SignalKind::terminate()).map_err(|cause| cause.to_string())?;
        let addresses = serve(options).await?;
        for (at, master) in addresses.masters.iter().enumerate() {
            println!("master {at} http://{master}");
        }
        println!("agents http://{}", addresses.agents);
        println!("ready");
        tokio::select! {
            _ = terminated.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        Ok(())
    })
}
