//! Other process supervisors, asked to start the same command.
//!
//! Each is given its best case: the daemon already runs. Supervisord is asked by its own protocol, so
//! that the start of its client does not count; pm2 has none, so there it does (a third of a second).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::spawn::{ARGUMENT, PROGRAM};
use crate::web::{Client, free_port};
use crate::{Outcome, Place, procs};

const LIMIT: Duration = Duration::from_secs(180);
const LOOK: Duration = Duration::from_millis(1);

/// Starts per second by supervisord: from the call that starts the group to the last child there.
pub fn supervisord(place: &Place, count: usize) -> Outcome<f64> {
    let installed = place.peers.join("supervisor/bin/supervisord");
    let program = if installed.exists() { installed } else { PathBuf::from("/usr/bin/supervisord") };
    if !program.exists() {
        return Err("supervisord is not installed".into());
    }
    let dir = procs::folder(&place.tmp, "supervisord-")?;
    let port = free_port()?;
    let config = dir.join("supervisord.conf");
    fs::write(&config, supervisord_config(&dir, port, count))?;
    let mut child = Command::new(&program)
        .args(["--nodaemon", "--configuration"])
        .arg(&config)
        .env(procs::FOLDER_VARIABLE, &dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let pid = procs::started(child.id());
    let rate = supervisord_rate(pid, port, count);
    // It ends its children before it goes.
    procs::signal(pid, Signal::SIGTERM);
    let ended = procs::wait_for("the end of supervisord", LIMIT, LOOK * 20, || {
        matches!(child.try_wait(), Ok(Some(_)))
    });
    if ended.is_err() {
        child.kill()?;
        child.wait()?;
    }
    procs::reaped(pid);
    procs::remove_folder(&dir);
    rate
}

fn supervisord_config(dir: &Path, port: u16, count: usize) -> String {
    let dir = dir.display();
    let open_files = count * 4 + 100;
    format!(
        "[supervisord]\nlogfile={dir}/log\npidfile={dir}/pid\nchildlogdir={dir}\nminfds={open_files}\n\
         minprocs={open_files}\nuser=root\n\
         [inet_http_server]\nport=127.0.0.1:{port}\n\
         [rpcinterface:supervisor]\n\
         supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface\n\
         [program:sleep]\ncommand={PROGRAM} {ARGUMENT}\nprocess_name=%(program_name)s_%(process_num)04d\n\
         numprocs={count}\nstartsecs=0\nautostart=false\nstopsignal=KILL\n"
    )
}

fn supervisord_rate(pid: i32, port: u16, count: usize) -> Outcome<f64> {
    procs::wait_for("supervisord", LIMIT, LOOK * 20, || Client::connect(port).is_ok())?;
    let call = "<?xml version='1.0'?><methodCall><methodName>supervisor.startProcessGroup</methodName><params>\
                <param><value><string>sleep</string></value></param>\
                <param><value><boolean>0</boolean></value></param></params></methodCall>";
    let mut client = Client::connect(port)?;
    let begin = Instant::now();
    let request = format!(
        "POST /RPC2 HTTP/1.1\r\nHost: x\r\nContent-Type: text/xml\r\nContent-Length: {}\r\n\r\n{call}",
        call.len()
    );
    client.begin(request.as_bytes())?;
    procs::wait_for("supervisord's processes", LIMIT, LOOK, || procs::children(pid) >= count)?;
    Ok(count as f64 / begin.elapsed().as_secs_f64())
}

/// Starts per second by pm2: from `pm2 start` to the last child of its daemon there.
pub fn pm2(place: &Place, count: usize) -> Outcome<f64> {
    let program = place.peers.join("pm2/node_modules/.bin/pm2");
    if !program.exists() {
        return Err("pm2 is not installed".into());
    }
    let dir = procs::folder(&place.tmp, "pm2-")?;
    let pm2 = |args: &[&str]| {
        let mut command = Command::new(&program);
        command.args(args).env("PM2_HOME", &dir).env(procs::FOLDER_VARIABLE, &dir).current_dir(&dir);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    let app = serde_json::json!({"apps": [{
        "name": "sleep", "script": PROGRAM, "args": ARGUMENT, "interpreter": "none",
        "exec_mode": "fork", "instances": count, "kill_timeout": 100,
    }]});
    let config = dir.join("ecosystem.json");
    fs::write(&config, app.to_string())?;
    pm2(&["ping"]).status()?;
    let daemon: i32 = fs::read_to_string(dir.join("pm2.pid"))?.trim().parse()?;
    let daemon = procs::started(u32::try_from(daemon)?);
    let rate = pm2_rate(pm2(&["start", &config.to_string_lossy()]), daemon, count);
    // Its own command first: it ends the children. Should it fail, they are ended by id.
    let _ = pm2(&["kill"]).status();
    for child in child_ids(daemon) {
        procs::signal(child, Signal::SIGKILL);
    }
    if procs::exists(daemon) {
        procs::signal(daemon, Signal::SIGKILL);
    }
    procs::reaped(daemon);
    procs::remove_folder(&dir);
    rate
}

fn pm2_rate(mut start: Command, daemon: i32, count: usize) -> Outcome<f64> {
    let before = procs::children(daemon);
    let begin = Instant::now();
    let mut client = start.spawn()?;
    let pid = procs::started(client.id());
    let all = procs::wait_for("pm2's processes", LIMIT, LOOK, || procs::children(daemon) >= before + count);
    let took = begin.elapsed();
    client.wait()?;
    procs::reaped(pid);
    all?;
    Ok(count as f64 / took.as_secs_f64())
}

fn child_ids(pid: i32) -> Vec<i32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_ascii_whitespace().filter_map(|it| it.parse().ok()).collect()
}
