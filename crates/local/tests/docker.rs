//! Containers, with a daemon of our own. Skipped where there can be none.

// Helpers of tests may panic, too.
#![allow(clippy::unwrap_used)]

mod daemon;
mod desk;

use std::time::Duration;

use daemon::{Daemon, IMAGE};
use desk::{Desk, launch, shell, until};
use marathon_model::app::{CheckCommand, PortMapping, Protocol};
use marathon_model::offer::TaskState::*;
use marathon_model::offer::{Call, EngineCheck, EngineCheckKind, Launch, Reason, TaskNetwork};
use marathon_model::resources::Milli;

fn boxed(desk: &Desk, name: &str, line: &str) -> Launch {
    let mut task = launch(desk, name, shell(line));
    task.container = Some(desk::image(IMAGE));
    task
}

fn check(kind: EngineCheckKind) -> EngineCheck {
    EngineCheck {
        kind,
        delay: Duration::ZERO,
        interval: Duration::from_millis(100),
        timeout: Duration::from_secs(10),
        grace: Duration::from_secs(20),
        max_failures: 3,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_are_tasks_like_all_others() {
    let Some(daemon) = Daemon::start().await else { return };
    let mut desk = Desk::with(|config| config.docker_socket = Some(daemon.socket())).await;

    let mut web = boxed(&desk, "web", "touch /tmp/well; env; cd /bin && httpd -f -p 80");
    web.network = TaskNetwork::Bridge;
    web.host_ports = vec![41003];
    web.mappings = vec![PortMapping {
        container_port: 80,
        host_port: Some(41003),
        service_port: 0,
        protocol: Protocol::Tcp,
        name: None,
        labels: Default::default(),
        network_names: Vec::new(),
    }];
    web.health_check =
        Some(check(EngineCheckKind::Http { https: false, port: 80, path: "/sh".to_owned(), ipv6: false }));
    web.check = Some(check(EngineCheckKind::Command(CheckCommand::Shell("test -f /tmp/well".to_owned()))));
    let short = boxed(&desk, "short", "exit 9");
    let mut fat = boxed(&desk, "fat", "yes | head -c 200m | tail -c 200m > /dev/null");
    fat.resources.mem = Milli::from_whole(32);
    let lost = boxed(&desk, "lost", "sleep 1000");
    let mut absent = boxed(&desk, "absent", "true");
    absent.container = Some(desk::image("localhost:1/no-such-image"));

    desk.accept(vec![web.clone(), short.clone(), fat.clone(), lost.clone(), absent.clone()]).await;
    let found = marathon_model::offer::CheckResult::Command { exit_code: 0 };
    desk.wait_status(&web, |it| it.healthy == Some(true) && it.check == Some(found)).await;
    assert!(desk.last(&web).addresses[0].address.starts_with("10.199."), "{:?}", desk.last(&web).addresses);
    assert!(desk.read(&web, "stdout").contains("MESOS_SANDBOX=/mnt/mesos/sandbox"));

    desk.wait_status(&short, |it| it.state == Failed).await;
    assert_eq!(desk.last(&short).message, "Container exited with status 9");
    desk.wait_status(&absent, |it| it.state == Failed).await;
    assert!(desk.last(&absent).message.contains("no-such-image"), "{}", desk.last(&absent).message);
    desk.wait_status(&fat, |it| matches!(it.state, Failed | Finished)).await;
    if desk.last(&fat).reason.is_some() {
        assert_eq!(
            desk.last(&fat).reason,
            Some(Reason::ContainerLimitationMemory),
            "{}",
            desk.last(&fat).message
        );
    }

    // A new engine finds the container and goes on to check it.
    desk.wait_status(&lost, |it| it.state == Running).await;
    let owner = desk.local().agent().to_string();
    desk.stop().await;
    daemon.make_container(&owner, "ghost");
    daemon.make_container("somebody else", "theirs");
    desk.start().await;
    assert_eq!(desk.reconcile(&web).await.state, Running);
    assert!(desk.reconcile(&web).await.addresses[0].address.starts_with("10.199."));

    // The runner dies, and its container must not live on. Nor does one that nobody knows, if it is ours.
    desk.kill_by_argument(&lost.task.to_string());
    desk.wait_status(&lost, |it| it.state == Failed).await;
    let names = async || {
        let found = daemon.docker().containers(&owner).await.unwrap();
        found.into_iter().map(|it| it.task).collect::<Vec<_>>()
    };
    while names().await != [web.task.to_string()] {
        tokio::task::yield_now().await;
    }

    desk.local().call(Call::Kill { task: web.task.clone(), agent: None, grace: Some(Duration::ZERO) });
    desk.wait_status(&web, |it| it.state == Killed).await;
    assert_eq!(names().await, [""; 0]);
    assert_eq!(daemon.docker().containers("somebody else").await.unwrap().len(), 1);
    until("the daemon is alive", || daemon.socket().exists()).await;
}
