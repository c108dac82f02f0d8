//! Clients that nobody here wrote, unchanged, against a real server.
#![allow(clippy::unwrap_used)]

mod common;

use std::process::Command;

use common::Server;

/// marathon-python, every method. `bin/need` installs it; without it, this says so and proves nothing.
#[test]
fn marathon_python_does_all_it_can() {
    let probe = Command::new("python3").args(["-c", "import marathon"]).output().unwrap();
    if !probe.status.success() {
        eprintln!("skipped: no marathon-python (`pip install marathon==0.13.0`, or `bin/need`)");
        return;
    }
    let server = Server::with(&["--event_subscriber", "http_callback"]);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/marathon_python.py");
    let out = Command::new("python3").args([script, &format!("http://localhost:{}", server.port)]).output();
    let out = out.unwrap();
    let said = |it: &[u8]| String::from_utf8_lossy(it).into_owned();
    assert!(out.status.success(), "{}\n{}", said(&out.stdout), said(&out.stderr));
}
