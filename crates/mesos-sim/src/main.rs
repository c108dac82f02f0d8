//! `mesos-sim`: see `--help` and docs/mesos-sim.md.

use std::process::ExitCode;

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
    match Options::parse(arguments).and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("mesos-sim: {why}");
            ExitCode::FAILURE
        }
    }
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
