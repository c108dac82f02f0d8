//! Pods with images, with a daemon of our own. Skipped where there can be none.

// Helpers of tests may panic, too.
#![allow(clippy::unwrap_used)]

mod daemon;
mod desk;

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use daemon::{Daemon, IMAGE};
use desk::{Desk, mount, part, pod, shell, until, volume};
use marathon_local::secrets::Files;
use marathon_model::app::{CheckCommand, DockerImage, Ipc, LinuxInfo, PortMapping, Protocol, Seccomp};
use marathon_model::offer::TaskState::*;
use marathon_model::offer::{
    Call, CheckResult, Command, CpuOrMemLimit, EngineCheck, EngineCheckKind, Launch, TaskNetwork,
};
use marathon_model::pod::PodVolumeSource;
use marathon_model::resources::Milli;

fn image() -> Option<DockerImage> {
    desk::image(IMAGE).docker
}

fn check(kind: EngineCheckKind) -> EngineCheck {
    EngineCheck {
        kind,
        delay: Duration::ZERO,
        interval: Duration::from_millis(200),
        timeout: Duration::from_secs(10),
        grace: Duration::from_secs(60),
        max_failures: 3,
    }
}

/// Three containers on one network: a web server with an image, a client with an image, and a plain process.
fn bridged(desk: &Desk) -> Launch {
    let mut pod = pod(
        desk,
        "bridged",
        &[
            ("plain", "readlink /proc/self/ns/net; touch ready; exec sleep 1000"),
            ("web", "readlink /proc/self/ns/net; cat /etc/pw > /tmp/index.html; exec httpd -f -p 80 -h /tmp"),
            (
                "client",
                "until wget -q -O $MESOS_SANDBOX/got http://127.0.0.1:80/; do sleep 0.1; done; id -u; cat /shared/pw; \
                 touch /etc/x 2>&1; exec sleep 1000",
            ),
        ],
    );
    pod.network = TaskNetwork::Bridge;
    pod.host_ports = vec![41005];
    pod.mappings = vec![PortMapping {
        container_port: 80,
        host_port: Some(41005),
        service_port: 0,
        protocol: Protocol::Tcp,
        name: None,
        labels: Default::default(),
        network_names: Vec::new(),
    }];
    pod.secrets.insert("pw".to_owned(), "db/pw".to_owned());
    pod.volumes = vec![
        volume("secret", PodVolumeSource::Secret { secret: "pw".to_owned() }),
        volume("shared", PodVolumeSource::Ephemeral),
    ];
    let [plain, web, client] = &mut pod.containers[..] else { panic!() };
    plain.mounts = vec![mount("shared", "shared")];
    plain.health_check = Some(check(EngineCheckKind::Command(CheckCommand::Shell(
        "test \"$(readlink /proc/self/ns/net)\" = \"$(cat stdout)\"".to_owned(),
    ))));
    web.image = image();
    web.mounts = vec![mount("secret", "/etc/pw")];
    web.health_check = Some(check(EngineCheckKind::Http {
        https: false,
        port: 80,
        path: "/index.html".to_owned(),
        ipv6: false,
    }));
    client.image = image();
    client.user = Some("nobody".to_owned());
    client.mounts = vec![mount("shared", "/shared"), mount("secret", "/shared/pw")];
    client.check = Some(check(EngineCheckKind::Tcp { port: 80, ipv6: false }));
    pod
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_of_a_pod_share_one_network() {
    let Some(daemon) = Daemon::start().await else { return };
    let secrets = tempfile::tempdir().unwrap();
    fs::create_dir(secrets.path().join("db")).unwrap();
    fs::write(secrets.path().join("db/pw"), "hush").unwrap();
    let mut desk = Desk::with(|it| {
        it.docker_socket = Some(daemon.socket());
        it.secrets = Arc::new(Files { dir: secrets.path().to_owned() });
    })
    .await;
    let all = bridged(&desk);
    let [plain, web, client] = ["plain", "web", "client"].map(|it| part(&all, it));
    desk.accept(vec![all.clone()]).await;
    desk.wait_status(&web, |it| it.healthy == Some(true)).await;
    desk.wait_status(&client, |it| it.check == Some(CheckResult::Tcp { succeeded: true })).await;
    desk.wait_status(&plain, |it| it.healthy == Some(true)).await;
    assert_eq!(desk.read(&plain, "stdout"), desk.read(&web, "stdout"));
    let here = fs::read_link("/proc/self/ns/net").unwrap();
    assert_ne!(desk.read(&plain, "stdout").trim(), here.to_str().unwrap());
    until("the client has its page", || {
        desk.reads(&client, "stdout", "Read-only") || desk.reads(&client, "stdout", "denied")
    })
    .await;
    assert_eq!(desk.read(&client, "got"), "hush");
    let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap().uid;
    assert!(
        desk.read(&client, "stdout").starts_with(&format!("{nobody}\nhush")),
        "{}",
        desk.read(&client, "stdout")
    );
    for it in [&plain, &web, &client] {
        assert!(desk.last(it).addresses[0].address.starts_with("10.199."), "{:?}", desk.last(it).addresses);
    }
    let shown = std::process::Command::new("docker")
        .args(["-H", &format!("unix://{}", daemon.socket().display()), "inspect"])
        .arg(marathon_docker::container_name(&web.task.to_string()))
        .output()
        .unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("41005") && !shown.contains("hush"), "{shown}");

    // The next engine finds them, and checks where they are.
    desk.stop().await;
    desk.start().await;
    for it in [&plain, &web, &client] {
        let status = desk.reconcile(it).await;
        assert_eq!(status.state, Running);
        assert!(status.addresses[0].address.starts_with("10.199."), "{:?}", status.addresses);
    }

    // The end of the runner of one container ends its container and the pod.
    desk.kill_by_argument(&client.task.to_string());
    desk.wait_status(&client, |it| it.state == Failed).await;
    desk.wait_status(&web, |it| it.state == Killed).await;
    desk.wait_status(&plain, |it| it.state == Killed).await;
    let owner = desk.local().agent().to_string();
    while !daemon.docker().containers(&owner).await.unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_limits_and_namespaces_are_for_each() {
    let Some(daemon) = Daemon::start().await else { return };
    let seccomp = tempfile::tempdir().unwrap();
    fs::write(seccomp.path().join("all"), r#"{"defaultAction":"SCMP_ACT_ALLOW"}"#).unwrap();
    let mut desk = Desk::with(|it| {
        it.docker_socket = Some(daemon.socket());
        it.seccomp_dir = Some(seccomp.path().to_owned());
    })
    .await;
    let line = "readlink /proc/self/ns/ipc; while read -r name value; do case $name in Seccomp:) echo $value;; esac; \
                done < /proc/self/status; test -t 1 && echo terminal; touch $MESOS_SANDBOX/done; exec sleep 1000";
    let mut many =
        pod(&desk, "many", &[("one", line), ("two", line), ("own", line), ("point", ""), ("none", "")]);
    let ipc = |private| Some(Ipc { private, shm_size: private.then_some(7) });
    for it in &mut many.containers {
        it.image = image();
    }
    let [one, two, own, point, none] = &mut many.containers[..] else { panic!() };
    one.linux = Some(LinuxInfo { ipc: ipc(false), seccomp: None });
    two.linux =
        Some(LinuxInfo { ipc: ipc(false), seccomp: Some(Seccomp { profile: None, unconfined: true }) });
    two.tty = true;
    own.linux = Some(LinuxInfo {
        ipc: ipc(true),
        seccomp: Some(Seccomp { profile: Some("all".to_owned()), unconfined: false }),
    });
    own.mem_limit = Some(CpuOrMemLimit::Amount(Milli::from_whole(100)));
    own.cpu_limit = Some(CpuOrMemLimit::Amount(Milli(1500)));
    point.override_entrypoint = true;
    point.command = Command::Args(
        ["/bin/sh", "-c", "echo pointed; touch $MESOS_SANDBOX/done; exec sleep 1000"]
            .map(str::to_owned)
            .to_vec(),
    );
    none.command = shell("touch $MESOS_SANDBOX/done; exec sleep 1000");
    let names = ["one", "two", "own", "point", "none"];
    let parts = names.map(|it| part(&many, it));
    desk.accept(vec![many.clone()]).await;
    for it in &parts {
        desk.wait_status(it, |it| it.state == Running).await;
        desk.wait_for_file(it, "done").await;
    }
    let lines = |at: usize| -> Vec<String> {
        desk.read(&parts[at], "stdout").lines().map(|it| it.trim().to_owned()).collect()
    };
    until("the terminal was seen", || lines(1).len() == 3).await;
    assert_eq!(lines(0)[0], lines(1)[0]);
    assert_ne!(lines(0)[0], lines(2)[0]);
    assert_eq!((&*lines(1)[1], &*lines(1)[2], &*lines(2)[1]), ("0", "terminal", "2"));
    assert_eq!(lines(3), ["pointed"]);
    let shown = std::process::Command::new("docker")
        .args(["-H", &format!("unix://{}", daemon.socket().display()), "inspect", "-f"])
        .arg("{{.HostConfig.Memory}} {{.HostConfig.MemoryReservation}} {{.HostConfig.CpuQuota}} {{.HostConfig.ShmSize}}")
        .arg(marathon_docker::container_name(&parts[2].task.to_string()))
        .output()
        .unwrap();
    let mib = 1 << 20;
    let want = format!("{} {} 150000 {}", 100 * mib, 64 * mib, 7 * mib);
    assert_eq!(String::from_utf8(shown.stdout).unwrap().trim(), want);

    desk.local().call(Call::Kill { task: many.task.clone(), agent: None, grace: Some(Duration::ZERO) });
    for it in &parts {
        desk.wait_status(it, |it| it.state == Killed).await;
    }
}
