//! Chores of this repository: `cargo xtask ci | tidy | flags`.

mod tidy;
mod web;

use std::process::{Command, ExitCode};

/// Simulated histories that every check runs. The first two hundred are among the tests.
const SIM_SEEDS: &str = "200..500";

fn main() -> ExitCode {
    let chore = std::env::args().nth(1).unwrap_or_default();
    let done = match chore.as_str() {
        "ci" => ci(),
        "tidy" => tidy::check(std::path::Path::new(".")).map_err(|findings| findings.join("\n")),
        "flags" => cargo("flags.md", &["test", "--locked", "-p", "marathon-flags"], &[("BLESS", "1")]),
        other => Err(format!("unknown chore '{other}': ci, tidy or flags")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            eprintln!("{text}");
            ExitCode::FAILURE
        }
    }
}

/// Everything that must hold before a change lands, cheapest first.
fn ci() -> Result<(), String> {
    tidy::check(std::path::Path::new(".")).map_err(|findings| findings.join("\n"))?;
    cargo("format", &["fmt", "--all", "--check"], &[])?;
    // Before anything is compiled: what it builds goes into the binary.
    let interface = web::build()?;
    cargo("lints", &["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"], &[])?;
    let doc = ["doc", "--workspace", "--no-deps", "--locked", "--document-private-items"];
    cargo("documentation", &doc, &[("RUSTDOCFLAGS", "-D warnings")])?;
    cargo("tests", &["test", "--workspace", "--locked"], &[])?;
    if interface {
        // As with the simulator below: not `-p`, or much would be built once more.
        cargo("server", &["build", "--locked", "--bin", "marathon"], &[])?;
        web::browse()?;
    }
    // Of the workspace as a whole, as the tests are: for one package alone the libraries below it might have other
    // features, and be built once more.
    let sim = ["run", "--locked", "--bin", "sim", "--", "--seeds", SIM_SEEDS];
    cargo("simulated histories", &sim, &[])
}

fn cargo(what: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Result<(), String> {
    eprintln!("== {what}: cargo {}", arguments.join(" "));
    let status = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()))
        .args(arguments)
        .envs(variables.iter().copied())
        .status()
        .map_err(|error| format!("{what}: cargo cannot be started: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{what}: failed")) }
}
