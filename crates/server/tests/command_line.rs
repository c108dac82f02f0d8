//! How the binary begins and how it ends, by its exit codes.
#![allow(clippy::unwrap_used)]

mod common;

use std::net::TcpListener;
use std::process::{Command, Output};

use common::Server;

/// Runs the binary to its end with nothing of ours in the environment.
fn run(variables: &[(&str, &str)], arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_marathon"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("MARATHON_")) {
        command.env_remove(name);
    }
    command.envs(variables.iter().copied()).args(arguments).output().unwrap()
}

/// `part` stands in what goes to stderr; a server that cannot start says so there.
#[track_caller]
fn refused(variables: &[(&str, &str)], arguments: &[&str], code: i32, part: &str) {
    let output = run(variables, arguments);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
    assert!(text.contains(part), "{arguments:?}: {text}");
}

#[test]
fn bad_command_lines() {
    for (arguments, part) in [
        (&[][..], "Required option 'master' not found"),
        (&["--master", "local", "--nonsense"], "--nonsense"),
        (&["--master", "local", "--http_port", "x"], "'x'"),
        (&["--master", "local", "--default_accepted_resource_roles", "prod"], "'prod'"),
        (&["--master", "zk://h:2181"], "it has no path"),
        (&["--master", "ftp://x"], "option 'master': 'ftp://x' - masters are not reached by `ftp`"),
        (
            &["--master", "h:99999999"],
            "option 'master': 'h:99999999' - `h:99999999` is no address of a master",
        ),
        (
            &["--master", "file:///nowhere/zk"],
            "option 'master': 'file:///nowhere/zk' - cannot read /nowhere/zk",
        ),
        (&["--master", "local", "--ssl_keystore_path", "/k", "--ssl_keystore_password", "x"], "HTTPS"),
    ] {
        refused(&[], arguments, 112, part);
    }
    refused(&[("MARATHON_MASTER", "local"), ("MARATHON_HTTP_PORT", "x")], &[], 112, "MARATHON_HTTP_PORT");
}

#[test]
fn questions_about_the_binary() {
    let help = run(&[("MARATHON_HTTP_PORT", "x")], &["--help"]);
    assert_eq!(help.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&help.stdout).contains("--master"));
    let version = run(&[], &["--version"]);
    assert_eq!(version.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&version.stdout).starts_with("marathon "));
}

#[test]
fn a_port_that_is_taken() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = other.local_addr().unwrap().port().to_string();
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().display().to_string();
    for address in [&["--http_address", "127.0.0.1"][..], &[]] {
        let arguments = [&["--master", "local", "--data_dir", &data, "--http_port", &port], address].concat();
        refused(&[], &arguments, 111, &port);
    }
}

#[test]
fn a_folder_that_is_in_use() {
    let server = Server::start();
    let data = server.dir.join("data").display().to_string();
    let arguments =
        ["--master", "local", "--http_address", "127.0.0.1", "--http_port", "0", "--data_dir", &data];
    refused(&[], &arguments, 107, "in use by another server");
}

#[test]
fn a_clean_stop() {
    let mut server = Server::start();
    assert_eq!(server.stop(), Some(0), "{}", server.log());
}

#[test]
fn secrets_stay_out_of_the_log() {
    let server = Server::with(&["--http_realm", "R", "--metrics_datadog_api_key", "Sesam1"]);
    let config = server.get("/config").to_string();
    assert!(!config.contains("Sesam1") && config.contains("********"), "{config}");
    assert!(!server.log().contains("Sesam1"), "{}", server.log());
    assert!(server.log().contains("--metrics_datadog_api_key ********"), "{}", server.log());
}
