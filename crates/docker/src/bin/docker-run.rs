//! `marathon docker-run` alone, so that tests can start it as a process.

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    std::process::exit(marathon_docker::main(&args));
}
