//! Tasks, and who comes and goes around them: servers, keepers, binaries.
#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use marathon_keeper::KeeperError;
use marathon_keeper::protocol::{Event, How, Lifetime, Process, Request};
use nix::sys::signal::Signal;
use std::fs;
use std::path::PathBuf;

const TICKING: &str = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.01; done";

fn vanished() -> How {
    How::Vanished { why: "its keeper had died".to_owned() }
}

fn last(site: &Site, id: &str) -> u64 {
    site.read(id, "stdout").lines().last().and_then(|it| it.parse().ok()).unwrap_or(0)
}

/// The output goes on, and nothing of it is missing.
fn goes_on(site: &Site, id: &str) {
    let before = last(site, id);
    wait_until("the output goes on", || last(site, id) > before + 5);
    let text = site.read(id, "stdout");
    let whole = &text[..text.rfind('\n').unwrap()];
    let counted: Vec<u64> = whole.lines().map(|it| it.parse().unwrap()).collect();
    assert_eq!(counted, (1..=counted.len() as u64).collect::<Vec<_>>());
}

#[test]
fn tasks_outlive_the_server() {
    let mut site = Site::new();
    let mut server = site.connect();
    let stays = site.script("stays", TICKING);
    let ends = site.script("ends", "while [ ! -e go ]; do sleep 0.01; done; exit 6");
    let pid = site.launch(&mut server, "stays", stays);
    let ending = site.launch(&mut server, "ends", ends);
    let keeper = server.keeper;
    server.vanish();
    fs::write(site.sandbox("ends").join("go"), "").unwrap();
    wait_until("one has ended", || !runs(ending));

    let mut server = site.connect();
    assert_eq!(server.keeper, keeper);
    let report = server.adopted.iter().find(|it| it.task == "stays").unwrap();
    assert_eq!((report.pid, report.end.clone(), report.tag.as_str()), (Some(pid), None, "tag of stays"));
    // Reaped, but perhaps not settled when the server said hello.
    let end = server.end_of("ends").unwrap_or_else(|| server.next_end("ends"));
    assert_eq!((end.how, end.asked), (exited(6), false));
    goes_on(&site, "stays");

    server.send(forget("ends"));
    server.send(forget("stays")); // runs, so it is not forgotten
    server.vanish();
    let server = site.connect();
    assert_eq!(server.adopted.iter().map(|it| it.task.as_str()).collect::<Vec<_>>(), ["stays"]);
}

#[test]
fn one_server_at_a_time() {
    let mut site = Site::new();
    let server = site.connect();
    let Err(why) = Err::<(), _>(site.refused(FOREVER)) else { unreachable!() };
    let KeeperError::Refused { why } = why else { panic!("{why}") };
    assert_eq!(why, format!("another server uses {}", fs::canonicalize(&site.dir).unwrap().display()));
    server.vanish();
    site.connect();
}

fn check_keeper_death(limited: bool) {
    let mut site = Site::new();
    let mut server = site.connect();
    let limits = if limited { limits(None) } else { None };
    let stays = Process { limits, ..site.script("stays", TICKING) };
    let ends = Process { limits, ..site.script("ends", "sleep 1000 & echo $! > child; wait; exit 6") };
    let pid = site.launch(&mut server, "stays", stays);
    let ending = site.launch(&mut server, "ends", ends);
    let child: u32 = site.line("ends", "child").parse().unwrap();
    site.track(child);
    site.line("stays", "stdout");
    let keeper = server.keeper;
    signal(keeper, Signal::SIGKILL);
    server.farewell();
    wait_until("the keeper is dead", || !runs(keeper));
    signal(ending, Signal::SIGKILL);
    wait_until("one has ended", || !runs(ending));
    assert!(runs(pid));

    let mut server = site.connect();
    assert_ne!(server.keeper, keeper);
    let report = server.adopted.iter().find(|it| it.task == "stays").unwrap();
    assert_eq!((report.pid, report.end.clone()), (Some(pid), None));
    let end = server.end_of("ends").unwrap_or_else(|| server.next_end("ends"));
    assert_eq!(end.how, vanished());
    wait_until("its child is gone", || !runs(child));
    goes_on(&site, "stays");

    // It is not the new keeper's child, and still can be ended and seen to end.
    server.send(stop("stays", 1000));
    let end = server.next_end("stays");
    assert!(end.asked && (end.how == signaled(15) || end.how == vanished()), "{end:?}");
    assert!(!runs(pid));
}

#[test]
fn tasks_outlive_the_keeper() {
    check_keeper_death(false);
}

#[test]
fn tasks_with_limits_outlive_the_keeper() {
    check_keeper_death(true);
}

#[test]
fn a_task_started_but_not_written_down_does_not_stay() {
    let mut site = Site::new();
    let mut server = site.connect();
    let process = site.process("t", &["sleep", "1000"]);
    let pid = site.launch(&mut server, "t", process);
    signal(server.keeper, Signal::SIGKILL);
    server.farewell();
    // As if the keeper had died right after the start.
    let journal = site.dir.join("keeper.journal");
    let text = fs::read_to_string(&journal).unwrap();
    let kept: String =
        text.lines().filter(|it| !it.contains("\"running\"")).map(|it| format!("{it}\n")).collect();
    assert_ne!(kept, text);
    fs::write(&journal, kept).unwrap();

    let server = site.connect();
    let error = "the keeper died while starting it".to_owned();
    assert_eq!(server.end_of("t").unwrap().how, How::NotStarted { error });
    wait_until("it is gone", || !runs(pid));
}

#[test]
fn a_reboot_ends_all() {
    let mut site = Site::new();
    let mut server = site.connect();
    let process = site.process("t", &["sleep", "1000"]);
    let pid = site.launch(&mut server, "t", process);
    signal(server.keeper, Signal::SIGKILL);
    server.farewell();
    let journal = site.dir.join("keeper.journal");
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    fs::write(&journal, fs::read_to_string(&journal).unwrap().replace(boot.trim(), "another")).unwrap();

    let server = site.connect();
    let why = "the machine was rebooted".to_owned();
    assert_eq!(server.end_of("t").unwrap().how, How::Vanished { why });
    assert!(runs(pid), "after a real reboot the number may be anyone's");
}

/// A process that has nothing to do with any keeper.
struct Bystander(std::process::Child);

impl Bystander {
    /// One that started at another tick of the kernel's clock than `pid`.
    fn later_than(pid: u32) -> Bystander {
        let started = |pid: u32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
            stat.split(' ').nth(21).unwrap().to_owned()
        };
        loop {
            let null = std::process::Stdio::null;
            let child = std::process::Command::new("sleep").arg("1000").stdout(null()).stderr(null()).spawn();
            let bystander = Bystander(child.unwrap());
            if started(bystander.0.id()) != started(pid) {
                return bystander;
            }
        }
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_reused_pid_is_not_taken_for_the_task() {
    let mut site = Site::new();
    let mut server = site.connect();
    let process = site.process("t", &["sleep", "1000"]);
    let pid = site.launch(&mut server, "t", process);
    signal(server.keeper, Signal::SIGKILL);
    server.farewell();
    let bystander = Bystander::later_than(pid);
    let journal = site.dir.join("keeper.journal");
    let text = fs::read_to_string(&journal).unwrap();
    let wrong = text.replace(&format!("\"pid\":{pid},"), &format!("\"pid\":{},", bystander.0.id()));
    assert_ne!(wrong, text);
    fs::write(&journal, wrong).unwrap();

    let mut server = site.connect();
    let end = server.end_of("t").unwrap_or_else(|| server.next_end("t"));
    assert_eq!(end.how, vanished());
    assert!(runs(bystander.0.id()), "somebody else's process was killed");
}

#[test]
fn an_upgraded_server_brings_its_keeper_along() {
    let mut site = Site::new();
    let mut server = site.connect();
    let script = format!(
        "echo early >&3; printf 'in the mid' >&3; (while [ ! -e go ]; do sleep 0.01; done; echo dle >&3) & {TICKING}"
    );
    let process = Process { reports: true, ..site.script("stays", &script) };
    let quick = site.script("ends", "while [ ! -e go ]; do sleep 0.01; done; echo done; exit 8");
    let pid = site.launch(&mut server, "stays", process);
    assert_eq!(server.next_line(), "early");
    site.launch(&mut server, "ends", quick);
    site.line("stays", "stdout");
    let keeper = server.keeper;
    server.vanish();

    let newer: PathBuf = site.root.path().join("newer");
    fs::copy(program(), &newer).unwrap();
    let mut server = site.connect_as(&newer, "b2", FOREVER);
    assert_eq!((server.keeper, server.build.as_str()), (keeper, "b2"));
    assert_eq!(fs::read_link(format!("/proc/{keeper}/exe")).unwrap(), fs::canonicalize(&newer).unwrap());
    let report = server.adopted.iter().find(|it| it.task == "stays").unwrap();
    assert_eq!((report.pid, report.said.as_deref(), &report.end), (Some(pid), Some("early"), &None));
    goes_on(&site, "stays");
    fs::write(site.sandbox("ends").join("go"), "").unwrap();
    assert_eq!(server.next_end("ends").how, exited(8), "it is still the keeper's child");
    assert_eq!(site.read("ends", "stdout"), "done\n");
    fs::write(site.sandbox("stays").join("go"), "").unwrap();
    assert_eq!(server.next_line(), "in the middle");
    // New tasks are started by the new program all the same.
    let process = site.script("later", "exit 9");
    site.launch(&mut server, "later", process);
    assert_eq!(server.next_end("later").how, exited(9));
}

#[test]
fn an_upgraded_server_is_welcomed_while_all_tasks_are_quiet() {
    let mut site = Site::new();
    let mut server = site.connect();
    let pid = site.launch(&mut server, "quiet", site.process("quiet", &["/bin/sleep", "1000"]));
    server.vanish();
    // Nothing happens that would wake the keeper but the server itself.
    let server = site.connect_as(&program(), "b2", FOREVER);
    assert_eq!((server.build.as_str(), server.adopted[0].pid), ("b2", Some(pid)));
}

#[test]
fn a_binary_that_is_not_there_leaves_the_keeper_as_it_is() {
    let mut site = Site::new();
    let mut server = site.connect();
    let process = site.script("t", TICKING);
    site.launch(&mut server, "t", process);
    let keeper = server.keeper;
    server.vanish();
    for (executable, build) in [("/no/such/binary", "b2"), ("/etc/hostname", "b3")] {
        let server = site.connect_as(executable.as_ref(), build, FOREVER);
        assert_eq!((server.keeper, server.build.as_str()), (keeper, "b1"));
        goes_on(&site, "t");
        server.vanish();
    }
}

fn check_lifetime(lifetime: Lifetime, script: &str, expected: How) {
    let mut site = Site::new();
    let mut server = site.connect_as(&program(), "b1", lifetime);
    let process = site.script("t", script);
    let pid = site.launch(&mut server, "t", process);
    site.line("t", "stdout");
    let keeper = server.keeper;
    server.vanish();
    wait_until("task and keeper are gone", || !runs(pid) && !runs(keeper));
    assert!(!site.dir.join("keeper.sock").exists());
    // The next server still learns of it.
    let server = site.connect();
    let end = server.end_of("t").unwrap();
    assert_eq!((end.how, end.asked), (expected, false));
}

#[test]
fn without_checkpoint_tasks_end_with_the_server() {
    let lifetime = Lifetime { checkpoint: false, failover_secs: 3600.0 };
    check_lifetime(lifetime, TICKING, signaled(15));
    check_lifetime(lifetime, "trap '' TERM; echo up; while :; do sleep 1; done", signaled(9));
}

#[test]
fn past_the_failover_timeout_tasks_end() {
    for failover_secs in [0.2, 0.0, -1.0] {
        check_lifetime(Lifetime { checkpoint: true, failover_secs }, TICKING, signaled(15));
    }
}

#[test]
fn an_idle_keeper_leaves() {
    let mut site = Site::new();
    let mut server = site.connect();
    let process = site.script("t", "exit 0");
    site.launch(&mut server, "t", process);
    server.next_end("t");
    let keeper = server.keeper;
    server.vanish();
    wait_until("the keeper has left", || !runs(keeper));
    let server = site.connect();
    assert_eq!(server.end_of("t").unwrap().how, exited(0));
}

#[test]
fn a_shutdown_ends_the_keeper_and_if_asked_the_tasks() {
    for kill in [true, false] {
        let mut site = Site::new();
        let mut server = site.connect();
        let process = site.script("t", TICKING);
        let pid = site.launch(&mut server, "t", process);
        site.line("t", "stdout");
        let keeper = server.keeper;
        server.send(Request::Shutdown { kill });
        let told = server.farewell();
        assert_eq!(told.iter().any(|it| matches!(it, Event::Ended { .. })), kill, "{told:?}");
        wait_until("the keeper is gone", || !runs(keeper));
        assert_eq!(runs(pid), !kill);
        let server = site.connect();
        assert_eq!(server.end_of("t").is_some(), kill, "{:?}", server.adopted);
    }
}

#[test]
fn long_folders_will_do() {
    let mut site = Site::below(&format!("{}/{}", "x".repeat(200), "y".repeat(200)));
    let mut server = site.connect();
    let process = site.script("t", "exit 0");
    site.launch(&mut server, "t", process);
    server.next_end("t");
}

#[test]
fn a_torn_journal_costs_only_its_end() {
    let mut site = Site::new();
    let mut server = site.connect();
    let process = site.script("t", TICKING);
    let pid = site.launch(&mut server, "t", process);
    signal(server.keeper, Signal::SIGKILL);
    server.farewell();
    let journal = site.dir.join("keeper.journal");
    let mut text = fs::read(&journal).unwrap();
    text.extend_from_slice(b"{\"ended\":{\"slot\":0,\"end\":{\"how\":{\"exi");
    fs::write(&journal, text).unwrap();
    let server = site.connect();
    assert_eq!(server.adopted.iter().map(|it| it.pid).collect::<Vec<_>>(), [Some(pid)]);
}

#[test]
fn keepers_of_two_folders_do_not_meet() {
    let (mut one, mut two) = (Site::new(), Site::new());
    let (server, other) = (one.connect(), two.connect());
    assert_ne!(server.keeper, other.keeper);
}
