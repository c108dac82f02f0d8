//! Pods of plain processes, and secrets, with a real keeper.

// Helpers of tests may panic, too.
#![allow(clippy::unwrap_used)]

mod desk;

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use desk::{Desk, launch, mount, part, pod, shell, until, volume};
use marathon_local::secrets::{Files, Program};
use marathon_model::app::{CheckCommand, Fetch, Volume, VolumeSource};
use marathon_model::offer::TaskState::*;
use marathon_model::offer::{Call, CheckResult, EngineCheck, EngineCheckKind, Launch, Reason};
use marathon_model::pod::PodVolumeSource;
use marathon_model::resources::Milli;

fn check(kind: EngineCheckKind) -> EngineCheck {
    EngineCheck {
        kind,
        delay: Duration::ZERO,
        interval: Duration::from_millis(100),
        timeout: Duration::from_secs(10),
        grace: Duration::from_secs(30),
        max_failures: 2,
    }
}

fn kill(desk: &Desk, task: &Launch) {
    desk.local().call(Call::Kill { task: task.task.clone(), agent: Some(task.agent.clone()), grace: None });
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_share_a_sandbox_and_volumes() {
    let mut desk = Desk::new().await;
    let host = tempfile::tempdir().unwrap();
    fs::write(host.path().join("in"), "from the host").unwrap();
    let artifact = host.path().join("artifact");
    fs::write(&artifact, "fetched").unwrap();
    let mut both = pod(
        &desk,
        "both",
        &[
            ("writer", "env; echo hello > shared/file; cat deep/er/in; exec sleep 1000"),
            (
                "reader",
                "until test -s data/file; do sleep 0.02; done; cat data/file artifact; exec sleep 1000",
            ),
        ],
    );
    both.volumes = vec![
        volume("v", PodVolumeSource::Ephemeral),
        volume("h", PodVolumeSource::Host { path: host.path().display().to_string() }),
    ];
    both.containers[0].mounts = vec![mount("v", "shared"), mount("h", "deep/er")];
    both.containers[0].env.insert("X".to_owned(), "1".to_owned());
    both.containers[1].mounts = vec![mount("v", "data")];
    both.containers[1].fetch = vec![Fetch {
        uri: artifact.display().to_string(),
        extract: false,
        executable: false,
        cache: false,
        dest_path: None,
    }];
    let (writer, reader) = (part(&both, "writer"), part(&both, "reader"));
    desk.accept(vec![both.clone()]).await;
    desk.expect(&writer, &[Running]).await;
    desk.expect(&reader, &[Starting, Running]).await;
    until("both have written", || {
        desk.reads(&reader, "stdout", "hello\nfetched") && desk.reads(&writer, "stdout", "from the host")
    })
    .await;
    let env = desk.read(&writer, "stdout");
    let sandbox = desk.local().sandbox(&writer.task);
    assert_eq!(sandbox.parent(), Some(&*desk.local().sandbox(&both.task).join("containers")));
    let uuid = both.task.instance.uuid;
    for line in [
        "X=1",
        &format!("MESOS_SANDBOX={}", sandbox.display()),
        &format!("MESOS_EXECUTOR_ID=instance-both.{uuid}"),
    ] {
        assert!(env.lines().any(|it| it == line), "{line} is not in\n{env}");
    }
    assert_eq!(desk.last(&writer).addresses.len(), 1);

    // Each of them is a task of its own; the pod's id means all.
    kill(&desk, &both);
    desk.expect(&writer, &[Running, Killing, Killed]).await;
    desk.expect(&reader, &[Starting, Running, Killing, Killed]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_outlives_the_engine_and_its_keeper() {
    let mut desk = Desk::new().await;
    let line = "echo $$ >> pids; exec sleep 1000";
    let two = pod(&desk, "two", &[("a", line), ("b", line)]);
    let parts = ["a", "b"].map(|it| part(&two, it));
    desk.accept(vec![two.clone()]).await;
    for it in &parts {
        desk.expect(it, &[Running]).await;
        desk.wait_for_file(it, "pids").await;
    }
    desk.stop().await;
    desk.start().await;
    for it in &parts {
        assert_eq!(desk.reconcile(it).await.state, Running);
    }
    desk.kill_keeper().await;
    desk.wait_subscribed(true).await;
    assert_eq!(desk.reconcile(&parts[1]).await.state, Running);
    kill(&desk, &parts[0]);
    desk.expect(&parts[0], &[Running, Killing, Killed]).await;
    assert_eq!(desk.reconcile(&parts[1]).await.state, Running);
    kill(&desk, &two);
    desk.expect(&parts[1], &[Running, Killing, Killed]).await;
    for it in &parts {
        assert_eq!(desk.read(it, "pids").lines().count(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_failure_of_one_ends_all_and_limits_are_for_each() {
    let mut desk = Desk::new().await;
    let mut fat =
        pod(&desk, "fat", &[("eats", "head -c 200m /dev/zero | tail > /dev/null"), ("calm", "sleep 1000")]);
    fat.containers[0].resources.mem = Milli::from_whole(32);
    let (eats, calm) = (part(&fat, "eats"), part(&fat, "calm"));
    desk.accept(vec![fat]).await;
    desk.wait_status(&eats, |it| matches!(it.state, Failed | Finished)).await;
    if desk.last(&eats).state == Finished {
        return; // This machine lets us enforce no limits.
    }
    assert_eq!(desk.last(&eats).reason, Some(Reason::ContainerLimitationMemory));
    desk.expect(&calm, &[Running, Killing, Killed]).await;
    assert_eq!(desk.last(&calm).message, "Container `eats` of the pod failed, which ends the others");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_container_is_checked() {
    let mut desk = Desk::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            // Closed with the request unread, the connection would be reset and the answer lost.
            let _ = std::io::Read::read(&mut stream, &mut [0; 1024]);
            let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n");
        }
    });
    let mut checked = pod(&desk, "checked", &[("web", "sleep 1000"), ("job", "touch well; exec sleep 1000")]);
    checked.containers[0].health_check =
        Some(check(EngineCheckKind::Http { https: false, port, path: "/".to_owned(), ipv6: false }));
    checked.containers[0].check = Some(check(EngineCheckKind::Tcp { port, ipv6: false }));
    checked.containers[1].health_check =
        Some(check(EngineCheckKind::Command(CheckCommand::Shell("test -f well".to_owned()))));
    let (web, job) = (part(&checked, "web"), part(&checked, "job"));
    desk.accept(vec![checked]).await;
    let found = CheckResult::Tcp { succeeded: true };
    desk.wait_status(&web, |it| it.healthy == Some(true) && it.check == Some(found)).await;
    desk.wait_status(&job, |it| it.healthy == Some(true)).await;
    fs::remove_file(desk.file(&job, "well")).unwrap();
    desk.wait_status(&job, |it| it.state == Killed && it.reason == Some(Reason::HealthCheckUnhealthy)).await;
    desk.wait_status(&web, |it| it.state == Killed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_of_its_own_needs_an_image() {
    let mut desk = Desk::new().await;
    let mut bridged = pod(&desk, "bridged", &[("a", "sleep 1000")]);
    bridged.network = marathon_model::offer::TaskNetwork::Bridge;
    let a = part(&bridged, "a");
    desk.accept(vec![bridged]).await;
    desk.expect(&a, &[Failed]).await;
    assert!(desk.last(&a).message.contains("needs a pod with an image"), "{}", desk.last(&a).message);
}

// ---- secrets ----

const VALUE: &str = "hush-hush";

/// A secret in a variable and one in a file, for a plain process and for both containers of a pod.
async fn secrets_arrive(mut desk: Desk) {
    let line = "printf %s \"$PW\" > variable; cp etc/pw copy; stat -L -c '%a %u' etc/pw > mode; touch done; exec sleep 1000";
    let named = |it: &mut Launch| drop(it.secrets.insert("pw".to_owned(), "db/pw".to_owned()));
    let mut app = launch(&desk, "app", shell(line));
    named(&mut app);
    app.secret_env.insert("PW".to_owned(), "db/pw".to_owned());
    app.container = Some(marathon_model::app::Container { docker: None, ..desk::image("") });
    app.container.as_mut().unwrap().volumes = vec![Volume {
        container_path: "etc/pw".to_owned(),
        read_only: true,
        source: VolumeSource::Secret { secret: "pw".to_owned() },
    }];
    let mut two = pod(&desk, "two", &[("a", line), ("b", line)]);
    named(&mut two);
    two.volumes = vec![volume("s", PodVolumeSource::Secret { secret: "pw".to_owned() })];
    for it in &mut two.containers {
        it.mounts = vec![mount("s", "etc/pw")];
        it.secret_env.insert("PW".to_owned(), "db/pw".to_owned());
    }
    let all = [app.clone(), part(&two, "a"), part(&two, "b")];
    desk.accept(vec![app, two]).await;
    let mut files = Vec::new();
    for it in &all {
        desk.wait_for_file(it, "done").await;
        assert_eq!((&*desk.read(it, "variable"), desk.read(it, "copy").trim_end()), (VALUE, VALUE));
        let uid = nix::unistd::geteuid();
        assert_eq!(desk.read(it, "mode"), format!("600 {uid}\n"));
        let link = fs::read_link(desk.file(it, "etc/pw")).unwrap();
        assert_eq!(fs::metadata(link.parent().unwrap()).unwrap().mode() & 0o777, 0o700);
        // It lies in memory, if this machine has such a place.
        assert!(link.starts_with("/run/") || link.starts_with("/dev/shm/") || link.starts_with(desk.dir()));
        for name in ["variable", "copy"] {
            fs::remove_file(desk.file(it, name)).unwrap();
        }
        files.push(link);
    }
    let link = |it: &PathBuf| it.starts_with(desk.dir());
    let left = holding(desk.dir(), VALUE);
    assert!(files.iter().any(link) || left.iter().all(|it| it.ends_with("source")), "{left:?}");
    for it in &all {
        kill(&desk, it);
        desk.wait_status(it, |it| it.state == Killed).await;
    }
    until("the secrets are gone", || files.iter().all(|it| !it.exists())).await;
    for status in all.iter().map(|it| desk.last(it)) {
        assert!(!format!("{status:?}").contains(VALUE));
    }
}

/// All files below a folder with this in their content.
fn holding(dir: &Path, text: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        match fs::symlink_metadata(&path) {
            Ok(meta) if meta.is_dir() => found.extend(holding(&path, text)),
            Ok(meta) if meta.is_file() => {
                let content = fs::read(&path).unwrap_or_default();
                found.extend(content.windows(text.len()).any(|it| it == text.as_bytes()).then_some(path));
            }
            _ => {}
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_from_files() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("db")).unwrap();
    fs::write(dir.path().join("db/pw"), format!("{VALUE}\n")).unwrap();
    secrets_arrive(Desk::with(|it| it.secrets = Arc::new(Files { dir: dir.path().to_owned() })).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_from_a_program() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("source");
    fs::write(&path, format!("#!/bin/sh\ntest \"$1\" = db/pw && echo {VALUE}\n")).unwrap();
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    secrets_arrive(Desk::with(|it| it.secrets = Arc::new(Program::new(path))).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_belong_to_the_user_of_the_task() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("pw"), VALUE).unwrap();
    let mut desk = Desk::with(|it| it.secrets = Arc::new(Files { dir: dir.path().to_owned() })).await;
    fs::set_permissions(desk.dir(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut two = pod(
        &desk,
        "two",
        &[("a", "cat pw > pwd && touch v/a; exec sleep 1000"), ("b", "touch v/b; exec sleep 1000")],
    );
    two.volumes = vec![
        volume("s", PodVolumeSource::Secret { secret: "pw".to_owned() }),
        volume("v", PodVolumeSource::Ephemeral),
    ];
    two.containers[0].mounts = vec![mount("s", "pw"), mount("v", "v")];
    two.containers[0].user = Some("nobody".to_owned());
    two.containers[1].mounts = vec![mount("v", "v")];
    let (a, b) = (part(&two, "a"), part(&two, "b"));
    desk.accept(vec![two]).await;
    desk.wait_for_file(&a, "v/b").await;
    desk.wait_for_file(&b, "v/a").await;
    assert_eq!(desk.read(&a, "pwd"), VALUE);
    let file = fs::metadata(desk.file(&a, "pw")).unwrap();
    let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap();
    assert_eq!((file.uid(), file.mode() & 0o777), (nobody.uid.as_raw(), 0o600));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_secret_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let mut desk = Desk::with(|it| it.secrets = Arc::new(Files { dir: dir.path().to_owned() })).await;
    let mut two = pod(&desk, "two", &[("a", "true"), ("b", "sleep 1000")]);
    two.secrets.insert("pw".to_owned(), "db/pw".to_owned());
    two.volumes = vec![volume("s", PodVolumeSource::Secret { secret: "pw".to_owned() })];
    two.containers[0].mounts = vec![mount("s", "pw")];
    let (a, b) = (part(&two, "a"), part(&two, "b"));
    desk.accept(vec![two]).await;
    desk.wait_status(&a, |it| it.state == Failed).await;
    let message = &desk.last(&a).message;
    assert!(message.starts_with("Secret 'db/pw' is not available: No such file"), "{message}");
    desk.wait_status(&b, |it| it.state == Killed).await;
}
