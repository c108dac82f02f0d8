//! What one task sees of its keeper, and the server of the task. Real processes throughout.
#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use marathon_keeper::protocol::{Cgroups, Event, How, Identity, Process, Request};
use std::fs;

/// Runs a script to its end.
fn check(script: &str, expected: How) {
    check_process(|site| site.script("t", script), expected);
}

fn check_process(process: impl Fn(&Site) -> Process, expected: How) {
    let mut site = Site::new();
    let mut server = site.connect();
    let process = process(&site);
    site.launch(&mut server, "t", process);
    let end = server.next_end("t");
    assert_eq!((end.how, end.asked, end.out_of_memory), (expected, false, false));
}

#[test]
fn exit_codes_and_signals_are_told() {
    check("exit 0", exited(0));
    check("exit 7", exited(7));
    check("kill -9 $$", signaled(9));
    check("kill -40 $$", signaled(40));
}

#[test]
fn limits_change_nothing_for_the_modest() {
    check_process(|site| Process { limits: limits(Some(64 << 20)), ..site.script("t", "exit 3") }, exited(3));
}

fn check_not_started(change: impl Fn(&mut Process), expected: &str) {
    let mut site = Site::new();
    let mut server = site.connect();
    let mut process = site.script("t", "exit 0");
    change(&mut process);
    server.send(launch("t", process));
    let How::NotStarted { error } = server.next_end("t").how else { panic!("it ran") };
    assert_eq!(error, expected);
}

#[test]
fn what_cannot_start_says_why() {
    let nothing = "cannot run `no-such-thing`: there is no such program in /usr/bin:/bin";
    check_not_started(|it| it.argv = vec!["no-such-thing".to_owned()], nothing);
    let missing = "cannot run `/no/such`: there is no such file (or the interpreter it names is missing)";
    check_not_started(|it| it.argv = vec!["/no/such".to_owned()], missing);
    for (mode, expected) in [
        (0o644, "Permission denied"),
        (0o755, "it is neither a program for this machine nor a script that names one"),
    ] {
        let change = |it: &mut Process| {
            let file = it.cwd.join("text");
            fs::write(&file, "hello").unwrap();
            fs::set_permissions(file, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
            it.argv = vec!["./text".to_owned()];
        };
        check_not_started(change, &format!("cannot run `./text`: {expected}"));
    }
    check_not_started(|it| it.argv.clear(), "there is no command to run");
    check_not_started(
        |it| it.cwd = "/no/box".into(),
        "cannot enter the folder /no/box: No such file or directory",
    );
    check_not_started(
        |it| it.env[0].1 = "a\0b".to_owned(),
        "its command or environment contains a zero byte",
    );
}

#[test]
fn output_is_complete_when_the_end_is_told() {
    let mut site = Site::new();
    let mut server = site.connect();
    let script = "i=0; while [ $i -lt 3000 ]; do echo line $i; echo wrong $i >&2; i=$((i+1)); done";
    let process = site.script("t", script);
    site.launch(&mut server, "t", process);
    server.next_end("t");
    for (file, word) in [("stdout", "line"), ("stderr", "wrong")] {
        let expected: String = (0..3000).map(|i| format!("{word} {i}\n")).collect();
        assert_eq!(site.read("t", file), expected);
    }
}

#[test]
fn a_silent_task_has_log_files() {
    let mut site = Site::new();
    let mut server = site.connect();
    let process = site.process("t", &["sleep", "1000"]);
    site.launch(&mut server, "t", process);
    wait_until("the files are there", || {
        ["stdout", "stderr"].iter().all(|it| site.sandbox("t").join(it).exists())
    });
}

#[test]
fn endless_output_stays_within_its_bound() {
    let mut site = Site::new();
    let mut server = site.connect();
    let process = Process { log_bytes: 10_000, log_files: 3, ..site.script("loud", "exec yes") };
    site.launch(&mut server, "loud", process);
    let sizes = |site: &Site| -> Vec<(String, u64)> {
        let files = fs::read_dir(site.sandbox("loud")).unwrap().map(|it| it.unwrap());
        files
            .filter_map(|it| Some((it.file_name().into_string().unwrap(), it.metadata().ok()?.len())))
            .collect()
    };
    wait_until("the oldest file is there", || sizes(&site).iter().any(|(name, _)| name == "stdout.3"));
    for _ in 0..50 {
        // Others are served meanwhile.
        let process = site.script("quiet", "exit 0");
        site.launch(&mut server, "quiet", process);
        server.next_end("quiet");
        server.send(forget("quiet"));
        for (name, size) in sizes(&site) {
            assert!(size <= 10_000 && name != "stdout.4", "{name}: {size}");
        }
    }
    server.send(stop("loud", 1000));
    assert_eq!(server.next_end("loud").how, signaled(15));
}

#[test]
fn a_kill_ends_the_whole_tree() {
    for limits in [None, limits(None)] {
        let mut site = Site::new();
        let mut server = site.connect();
        // A stubborn grandchild in the same session, and one that has left it.
        let script = "sh -c 'trap \"\" TERM; echo $$ >> pids; while :; do sleep 1; done' &
                      setsid sh -c 'trap \"\" TERM; echo $$ >> pids; while :; do sleep 1; done' &
                      echo $$ >> pids; wait";
        let process = Process { limits, ..site.script("t", script) };
        site.launch(&mut server, "t", process);
        let pids = |site: &Site| -> Vec<u32> {
            site.read("t", "pids").lines().map(|it| it.parse().unwrap()).collect()
        };
        wait_until("all three run", || site.read("t", "pids").lines().count() == 3);
        pids(&site).into_iter().for_each(|it| site.track(it));
        server.send(stop("t", 50));
        let end = server.next_end("t");
        // The shell dies of SIGTERM; what ignores that is killed when the task is over.
        assert_eq!((end.how, end.asked), (signaled(15), true));
        assert_eq!(pids(&site).into_iter().filter(|it| runs(*it)).collect::<Vec<_>>(), [] as [u32; 0]);
    }
}

#[test]
fn grace_ends_with_a_kill() {
    for limits in [None, limits(None)] {
        let mut site = Site::new();
        let mut server = site.connect();
        let process =
            Process { limits, ..site.script("t", "trap '' TERM; echo up; while :; do sleep 1; done") };
        site.launch(&mut server, "t", process);
        site.line("t", "stdout");
        server.send(stop("t", 3_600_000));
        server.send(stop("t", 20)); // asking again may only shorten the grace
        server.send(stop("t", 3_600_000));
        let end = server.next_end("t");
        assert_eq!((end.how, end.asked), (signaled(9), true));
    }
}

#[test]
fn a_task_may_use_its_grace() {
    let mut site = Site::new();
    let mut server = site.connect();
    let script = "trap 'echo bye; exit 5' TERM; echo up; while :; do sleep 0.01; done";
    let process = site.script("t", script);
    site.launch(&mut server, "t", process);
    site.line("t", "stdout");
    server.send(stop("t", 3_600_000));
    assert_eq!(server.next_end("t").how, exited(5));
    assert_eq!(site.read("t", "stdout"), "up\nbye\n");
}

#[test]
fn what_a_task_leaves_behind_ends_with_it() {
    for limits in [None, limits(None)] {
        let mut site = Site::new();
        let mut server = site.connect();
        // Orphans: one in the session, one that left it, one with a child of its own.
        let script = "sleep 1000 & echo $! >> pids; setsid sleep 1000 & echo $! >> pids;
                      setsid sh -c 'sleep 1000 & echo $! >> pids; wait' &
                      while [ $(wc -l < pids) -lt 3 ]; do :; done; exit 4";
        let process = Process { limits, ..site.script("t", script) };
        site.launch(&mut server, "t", process);
        assert_eq!(server.next_end("t").how, exited(4));
        let left: Vec<u32> =
            site.read("t", "pids").lines().map(|it| it.parse().unwrap()).filter(|it| runs(*it)).collect();
        assert_eq!(left, [] as [u32; 0]);
    }
}

#[test]
fn reports_come_back_line_by_line() {
    let mut site = Site::new();
    let mut server = site.connect();
    let script = "echo one >&3; echo two >&3; printf last >&3; exit 0";
    let process = Process { reports: true, ..site.script("t", script) };
    site.launch(&mut server, "t", process);
    assert_eq!([server.next_line(), server.next_line(), server.next_line()], ["one", "two", "last"]);
    server.next_end("t");
}

#[test]
fn a_task_runs_as_its_user() {
    let mut site = Site::new();
    let mut server = site.connect();
    let identity = Some(Identity { uid: 65534, gid: 65534, groups: vec![65534, 4242] });
    let process =
        Process { identity, ..site.script("t", "id -u; id -g; id -G; echo wrong > /dev/stderr; umask") };
    std::os::unix::fs::chown(&process.cwd, Some(65534), Some(65534)).unwrap();
    site.launch(&mut server, "t", process);
    assert_eq!(server.next_end("t").how, exited(0));
    assert_eq!(site.read("t", "stdout"), "65534\n65534\n65534 4242\n0022\n");
    assert_eq!(site.read("t", "stderr"), "wrong\n");
    let owner = std::os::unix::fs::MetadataExt::uid(&fs::metadata(site.sandbox("t").join("stdout")).unwrap());
    assert_eq!(owner, 65534);
}

#[test]
fn too_much_memory_ends_a_task() {
    let mut site = Site::new();
    let mut server = site.connect();
    if let Cgroups::None { why } = &server.cgroups {
        eprintln!("not tested: {why}");
        return;
    }
    let hungry = "x=aaaaaaaaaaaaaaaa; while :; do x=$x$x; done";
    let process = Process { limits: limits(Some(16 << 20)), ..site.script("t", hungry) };
    site.launch(&mut server, "t", process);
    let end = server.next_end("t");
    assert_eq!((end.how, end.out_of_memory), (signaled(9), true));
}

#[test]
fn requests_of_one_write_happen_in_their_order() {
    let mut site = Site::new();
    let mut server = site.connect();
    let process = site.script("t", "echo x >> starts; exit 2");
    site.launch(&mut server, "t", process.clone());
    server.next_end("t");
    server.send_all(vec![forget("t"), launch("t", process.clone()), launch("u", process), stop("u", 1000)]);
    let mut seen = Vec::new();
    while seen.len() < 4 {
        match server.next() {
            Event::Started { task, .. } => seen.push(format!("{task} started")),
            Event::Ended { task, .. } => seen.push(format!("{task} ended")),
            other => panic!("{other:?}"),
        }
    }
    let place = |it: &str| seen.iter().position(|seen| seen == it).unwrap();
    assert!(place("t started") < place("t ended") && place("u started") < place("u ended"), "{seen:?}");
}

#[test]
fn a_second_launch_of_a_task_starts_nothing() {
    let mut site = Site::new();
    let mut server = site.connect();
    let process = site.script("t", "echo x >> starts; exec sleep 1000");
    let pid = site.launch(&mut server, "t", process.clone());
    assert_eq!(site.launch(&mut server, "t", process.clone()), pid);
    wait_until("it runs", || !site.read("t", "starts").is_empty());
    server.send(stop("t", 1000));
    let end = server.next_end("t");
    server.send(launch("t", process));
    assert_eq!(server.next_end("t"), end);
    assert_eq!(site.read("t", "starts"), "x\n");
}

#[test]
fn unknown_tasks_are_gone() {
    let mut site = Site::new();
    let mut server = site.connect();
    server.send(stop("never", 1000));
    assert!(matches!(server.next_end("never").how, How::Vanished { .. }));
    server.send(forget("never"));
}

#[test]
fn many_tasks_start_and_end() {
    let mut site = Site::new();
    let mut server = site.connect();
    let requests: Vec<Request> = (0..200)
        .map(|i| format!("t{i}"))
        .map(|id| launch(&id, site.process(&id, &["sleep", "1000"])))
        .collect();
    server.send_all(requests);
    let mut started = 0;
    while started < 200 {
        let Event::Started { pid, .. } = server.next() else { panic!("not started") };
        site.track(pid);
        started += 1;
    }
    server.send_all((0..200).map(|i| stop(&format!("t{i}"), 1000)).collect());
    for _ in 0..200 {
        let Event::Ended { end, .. } = server.next() else { panic!("not ended") };
        assert_eq!((end.how, end.asked), (signaled(15), true));
    }
}

#[test]
fn a_keeper_that_goes_leaves_no_group_behind() {
    let mut site = Site::new();
    let mut server = site.connect();
    for id in (0..20).map(|i| format!("t{i}")) {
        let process = Process { limits: limits(None), ..site.process(&id, &["sleep", "1000"]) };
        site.launch(&mut server, &id, process);
    }
    let keeper = server.keeper;
    server.send(Request::Shutdown { kill: true });
    server.farewell();
    wait_until("the keeper is gone", || !runs(keeper));
    assert_eq!(site.groups(), Vec::<std::path::PathBuf>::new());
}
