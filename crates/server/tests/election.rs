//! Several instances and a real ZooKeeper: who leads, what is kept, what is told meanwhile.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use common::Server;
use marathon_testkit::zookeeper::ZooKeeper;

const PATIENCE: Duration = Duration::from_secs(60);

fn instance(zk: &str, dir: &Path, more: &[&str]) -> Server {
    std::fs::create_dir_all(dir).unwrap();
    let flags = [&["--zk", zk, "--zk_session_timeout", "2000", "--zk_timeout", "3000"], more].concat();
    Server::at(dir, &flags)
}

fn address(server: &Server) -> String {
    format!("localhost:{}", server.port)
}

/// Waits until the instance says so itself, without asking anybody else.
#[track_caller]
fn leads(server: &Server) {
    until(|| status(server, "GET", "/v2/leader/health", "") == 200, "it leads");
}

#[track_caller]
fn until(mut condition: impl FnMut() -> bool, what: &str) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn status(server: &Server, method: &str, path: &str, body: &str) -> u16 {
    let json = [("Content-Type", "application/json")];
    server.try_request(method, path, &json, body.as_bytes()).map_or(0, |it| it.status)
}

#[track_caller]
fn post(server: &Server, id: &str) {
    let body = format!(r#"{{"id":"{id}","cmd":"true","instances":0}}"#);
    until(|| matches!(status(server, "POST", "/v2/apps", &body), 201 | 409), "the app is there");
}

#[track_caller]
fn has(server: &Server, ids: &[&str]) {
    for id in ids {
        until(|| status(server, "GET", &format!("/v2/apps{id}"), "") == 200, id);
    }
}

fn signal(server: &Server, name: &str) {
    assert!(
        Command::new("kill")
            .arg(format!("-{name}"))
            .arg(server.pid().to_string())
            .status()
            .unwrap()
            .success()
    );
}

/// Which of them leads now.
#[track_caller]
fn leader_of(servers: &[Server], all: &[usize]) -> usize {
    let mut found = None;
    until(
        || {
            let leading: Vec<_> = all
                .iter()
                .filter(|it| status(&servers[**it], "GET", "/v2/leader/health", "") == 200)
                .collect();
            assert!(leading.len() <= 1, "{leading:?} lead");
            found = leading.first().map(|it| **it);
            found.is_some()
        },
        "somebody leads",
    );
    found.unwrap()
}

#[test]
fn the_leadership_moves_and_nothing_that_was_told_is_lost() {
    let zk = ZooKeeper::start();
    let folder = tempfile::tempdir().unwrap();
    let url = zk.url("/some/marathon");
    let news = folder.path().join("news");
    let program = folder.path().join("notify");
    std::fs::write(
        &program,
        format!("#!/bin/sh\necho \"$1 $MARATHON_SELF $MARATHON_LEADER\" >>{}\n", news.display()),
    )
    .unwrap();
    Command::new("chmod").arg("+x").arg(&program).status().unwrap();
    let program = program.display().to_string();
    let mut servers: Vec<Server> = (0..3)
        .map(|at| instance(&url, &folder.path().join(at.to_string()), &["--leader_notify", &program]))
        .collect();
    let mut told: Vec<String> = Vec::new();
    let mut put = |server: &Server| {
        let id = format!("/a{}", told.len());
        post(server, &id);
        told.push(id);
        told.clone()
    };
    let ids = |told: &[String]| told.iter().map(String::as_str).map(str::to_owned).collect::<Vec<_>>();

    // All name the same leader, and each takes changes.
    let first = leader_of(&servers, &[0, 1, 2]);
    for server in &servers {
        let answer = server.try_request("GET", "/v2/leader", &[], b"").unwrap();
        assert_eq!(answer.json()["leader"], address(&servers[first]));
        assert_eq!(
            answer.header("x-marathon-leader"),
            Some(&*format!("http://{}", address(&servers[first])))
        );
        put(server);
    }

    // Killed: the session runs out, another leads with everything. Back again it follows.
    servers[first].kill();
    let others: Vec<usize> = (0..3).filter(|it| *it != first).collect();
    let second = leader_of(&servers, &others);
    let known = put(&servers[others[0]]);
    servers[first].start_again();
    for server in &servers {
        has(server, &ids(&known).iter().map(String::as_str).collect::<Vec<_>>());
    }
    assert_eq!(leader_of(&servers, &[0, 1, 2]), second);

    // Asked to step down, through a follower: it stays alive and follows.
    let asked = servers[first].try_request("DELETE", "/v2/leader", &[], b"").unwrap();
    assert_eq!((asked.status, asked.json()["message"].as_str()), (200, Some("Leadership abdicated")));
    until(|| leader_of(&servers, &[0, 1, 2]) != second, "another leads");
    let third = leader_of(&servers, &[0, 1, 2]);
    put(&servers[second]);

    // Stopped in order: its place is taken at once.
    let began = Instant::now();
    assert_eq!(servers[third].stop(), Some(0), "{}", servers[third].log());
    let rest: Vec<usize> = (0..3).filter(|it| *it != third).collect();
    let fourth = leader_of(&servers, &rest);
    let known = put(&servers[rest[0]]);
    has(&servers[rest[1]], &ids(&known).iter().map(String::as_str).collect::<Vec<_>>());
    assert!(began.elapsed() < PATIENCE);
    let heard = std::fs::read_to_string(&news).unwrap();
    let line = format!("leader {0} {0}", address(&servers[fourth]));
    until(|| std::fs::read_to_string(&news).unwrap().lines().any(|it| it == line), &heard);
}

#[test]
fn a_leader_that_sleeps_too_long_wakes_up_as_a_follower() {
    let zk = ZooKeeper::start();
    let folder = tempfile::tempdir().unwrap();
    let url = zk.url("/m");
    // Both on the same tasks, which the one that sleeps does not let go.
    let old = instance(&url, folder.path(), &[]);
    leads(&old);
    let body = r#"{"cmd":"sleep 1000","instances":1,"cpus":0.01,"mem":16}"#;
    assert_eq!(status(&old, "PUT", "/v2/apps/t", body), 201);
    old.wait("it runs", |it| it.running("t").len() == 1);
    let task = old.running("t")[0]["id"].clone();
    let new = instance(&url, folder.path(), &[]);
    post(&new, "/before");
    signal(&old, "STOP");
    leads(&new);
    post(&new, "/meanwhile");
    assert_eq!(status(&new, "PUT", "/v2/apps/t", r#"{"instances":2}"#), 200);
    signal(&old, "CONT");
    // The first answer it gives is already that of a follower.
    let app = old.try_request("GET", "/v2/apps/meanwhile", &[], b"").map_or(503, |it| it.status);
    assert!(matches!(app, 200 | 502 | 503), "{app}");
    until(|| status(&old, "GET", "/v2/leader/health", "") == 503, "it knows");
    has(&old, &["/before", "/meanwhile"]);
    post(&old, "/after");
    has(&new, &["/after"]);
    new.wait("the engine is handed over", |it| it.running("t").len() == 2);
    assert!(new.running("t").iter().any(|it| it["id"] == task), "{:?}", new.running("t"));
}

#[test]
fn without_zookeeper_changes_are_refused_with_the_reason_until_it_is_back() {
    let mut zk = ZooKeeper::start();
    let folder = tempfile::tempdir().unwrap();
    let server = instance(&zk.url("/m"), folder.path(), &[]);
    leads(&server);
    post(&server, "/before");
    zk.stop();
    until(|| status(&server, "GET", "/v2/leader/health", "") == 503, "it leads no longer");
    let body = r#"{"id":"/refused","cmd":"true","instances":0}"#;
    let answer =
        server.try_request("POST", "/v2/apps", &[("Content-Type", "application/json")], body.as_bytes());
    let answer = answer.unwrap();
    assert_eq!(answer.status, 503);
    assert!(answer.text().contains("ZooKeeper cannot be reached (127.0.0.1:"), "{}", answer.text());
    zk.begin();
    zk.await_ready();
    leads(&server);
    has(&server, &["/before"]);
    post(&server, "/after");
    assert_eq!(status(&server, "GET", "/v2/apps/refused", ""), 404);
}

#[test]
fn what_is_not_ours_is_refused_and_alone_needs_no_election() {
    let zk = ZooKeeper::start();
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let url = marathon_zookeeper::ZkUrl::parse(&zk.url("/theirs")).unwrap();
        let client = marathon_zookeeper::Client::connect(&marathon_zookeeper::Options::new(url));
        client.make("/theirs/state/internal:storage:version").await.unwrap();
    });
    let data = folder.path().join("theirs").display().to_string();
    let url = zk.url("/theirs");
    let ended = Command::new(env!("CARGO_BIN_EXE_marathon"))
        .args(["--master", "local", "--http_port", "0", "--http_address", "127.0.0.1"])
        .args(["--data_dir", &data, "--zk", &url])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(107), "{text}");
    assert!(text.contains("the state of the original Marathon") && text.contains("/v2/groups"), "{text}");

    let mut alone = instance(&zk.url("/alone"), &folder.path().join("alone"), &["--disable_ha"]);
    leads(&alone);
    post(&alone, "/a");
    // Its state is not taken away below it, but may be once it is gone.
    let dump = folder.path().join("dump").display().to_string();
    let (done, text) = state(&["dump", &zk.url("/alone"), &dump]);
    assert!(done, "{text}");
    let (done, text) = state(&["load", "--force", &zk.url("/alone"), &dump]);
    assert!(!done && text.contains("stop all instances first"), "{text}");
    post(&alone, "/b");
    alone.stop();
    let (done, text) = state(&["load", "--force", &zk.url("/alone"), &dump]);
    assert!(done, "{text}");
}

fn state(arguments: &[&str]) -> (bool, String) {
    let out = Command::new(env!("CARGO_BIN_EXE_marathon")).arg("state").args(arguments).output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    (out.status.success(), text)
}

#[test]
fn a_state_moves_from_a_folder_to_zookeeper_and_no_task_notices() {
    let zk = ZooKeeper::start();
    let folder = tempfile::tempdir().unwrap();
    let (url, data) = (zk.url("/grown"), folder.path().join("data").display().to_string());
    let mut alone = Server::at(folder.path(), &[]);
    let body = r#"{"id":"/t","cmd":"sleep 1000","instances":1,"cpus":0.01,"mem":16}"#;
    assert_eq!(status(&alone, "POST", "/v2/apps", body), 201);
    alone.wait("it runs", |it| it.running("t").len() == 1);
    let before = alone.running("t")[0]["id"].clone();
    let (done, text) = state(&["copy", &data, &url]);
    assert!(!done && text.contains("in use by another server"), "{text}");
    alone.stop();

    let (done, text) = state(&["copy", &data, &url]);
    assert!(done, "{text}");
    let (done, text) = state(&["copy", &data, &url]);
    assert!(!done && text.contains("--force replaces it"), "{text}");
    let mut grown = instance(&url, folder.path(), &[]);
    leads(&grown);
    grown.wait("it still runs", |it| it.running("t").len() == 1);
    assert_eq!(grown.running("t")[0]["id"], before);
    let (done, text) = state(&["load", &url, "/dev/null"]);
    assert!(!done && text.contains("this is no dump"), "{text}");
    let (done, text) = state(&["copy", &data, &url]);
    assert!(!done && text.contains("stop all instances first"), "{text}");
    let (done, text) = state(&["dump", &url]);
    assert!(done && text.starts_with("{\"marathonState\":1}\n{\"key\":\"app/t@"), "{text}");

    // Saved and brought back by stepping down.
    let saved = folder.path().join("saved");
    let ask = |query: String| {
        let answer = grown.try_request("DELETE", &format!("/v2/leader?{query}"), &[], b"").unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
    };
    ask(format!("backup=file://{}", saved.display()));
    until(|| saved.exists(), "it is saved");
    leads(&grown);
    post(&grown, "/later");
    ask(format!("restore=file://{}", saved.display()));
    until(|| status(&grown, "GET", "/v2/apps/later", "") == 404, "it is as it was");
    has(&grown, &["/t"]);
    assert_eq!(status(&grown, "DELETE", "/v2/leader?backup=s3://bucket/x", ""), 422);
    grown.stop();
}
