//! The engine with a real keeper and real processes.

// Helpers of tests may panic, too.
#![allow(clippy::unwrap_used)]

mod desk;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use desk::{Desk, args, launch, shell};
use marathon_model::app::{CheckCommand, Fetch};
use marathon_model::offer::TaskState::*;
use marathon_model::offer::{Call, EngineCheck, EngineCheckKind, Operation, Reason};
use marathon_model::resources::Milli;

#[tokio::test(flavor = "multi_thread")]
async fn a_process_has_its_sandbox_its_environment_and_its_end() {
    let mut desk = Desk::new().await;
    let mut task = launch(&desk, "env", shell("env; pwd; echo oops >&2; exit 3"));
    task.env = BTreeMap::from([("X".to_owned(), "a b".to_owned()), ("HOME".to_owned(), "/h".to_owned())]);
    desk.accept(vec![task.clone()]).await;
    desk.expect(&task, &[Running, Failed]).await;
    let end = desk.last(&task);
    assert_eq!((end.message.as_str(), end.reason, end.healthy), ("Command exited with status 3", None, None));
    assert_eq!(end.addresses.len(), 1);

    let sandbox = desk.local().sandbox(&task.task);
    let out = fs::read_to_string(sandbox.join("stdout")).unwrap();
    for line in
        ["X=a b", "HOME=/h", &format!("MESOS_SANDBOX={0}", sandbox.display()), &sandbox.display().to_string()]
    {
        assert!(out.lines().any(|it| it == line), "{line} is not in\n{out}");
    }
    assert_eq!(fs::read_to_string(sandbox.join("stderr")).unwrap(), "oops\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn ends_say_why() {
    let mut desk = Desk::new().await;
    let good = launch(&desk, "good", args(&["/bin/echo", "x"]));
    let signal = launch(&desk, "signal", shell("kill -SEGV $$"));
    let absent = launch(&desk, "absent", args(&["no-such-program"]));
    let mut stranger = launch(&desk, "stranger", shell("true"));
    stranger.user = Some("no-such-user".to_owned());
    let mut secret = launch(&desk, "secret", shell("true"));
    secret.secret_env = BTreeMap::from([("X".to_owned(), "db/password".to_owned())]);
    let all = vec![good.clone(), signal.clone(), absent.clone(), stranger.clone(), secret.clone()];
    desk.accept(all).await;
    desk.expect(&good, &[Running, Finished]).await;
    desk.expect(&signal, &[Running, Failed]).await;
    desk.expect(&absent, &[Failed]).await;
    desk.expect(&stranger, &[Failed]).await;
    desk.expect(&secret, &[Failed]).await;
    assert_eq!(desk.last(&good).message, "Command exited with status 0");
    assert_eq!(desk.last(&signal).message, "Command terminated with signal SIGSEGV");
    let message = &desk.last(&absent).message;
    assert!(
        message.starts_with("Failed to start the command: ") && message.contains("no-such-program"),
        "{message}"
    );
    let message = &desk.last(&stranger).message;
    assert_eq!(message, "Failed to start the task: user `no-such-user` does not exist on this machine");
    let message = &desk.last(&secret).message;
    assert_eq!(message, "Secret 'db/password' is not available: this server knows no secrets");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_ends_the_whole_tree() {
    let mut desk = Desk::new().await;
    let stubborn = launch(
        &desk,
        "stubborn",
        shell("trap '' TERM; sleep 1000 & echo $! > child; touch ready; wait; wait"),
    );
    let polite = launch(
        &desk,
        "polite",
        shell("trap 'echo bye; exit 0' TERM; touch ready; while :; do sleep 0.05; done"),
    );
    desk.accept(vec![stubborn.clone(), polite.clone()]).await;
    for task in [&stubborn, &polite] {
        desk.expect(task, &[Running]).await;
        desk.wait_for_file(task, "ready").await;
        let (task, agent) = (task.task.clone(), Some(task.agent.clone()));
        desk.local().call(Call::Kill { task, agent, grace: Some(Duration::from_millis(300)) });
    }
    desk.expect(&stubborn, &[Running, Killing, Killed]).await;
    desk.expect(&polite, &[Running, Killing, Killed]).await;
    assert_eq!(desk.last(&stubborn).message, "Command terminated with signal SIGKILL");
    assert_eq!(desk.last(&polite).message, "Command exited with status 0");
    let child: i32 = desk.read(&stubborn, "child").trim().parse().unwrap();
    desk::gone(child).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_outlive_the_engine() {
    let mut desk = Desk::new().await;
    let long = launch(&desk, "long", shell("echo $$ >> pids; sleep 1000"));
    let short = launch(&desk, "short", shell("while ! test -f go; do sleep 0.02; done; exit 7"));
    desk.accept(vec![long.clone(), short.clone()]).await;
    desk.expect(&long, &[Running]).await;
    desk.expect(&short, &[Running]).await;
    let agent = desk.local().agent().clone();
    let offered = desk.offered_ports().await;

    desk.stop().await;
    fs::write(desk.file(&short, "go"), "").unwrap();
    desk.start().await;
    assert_eq!(desk.local().agent(), &agent);
    desk.expect(&short, &[Running, Failed]).await;
    assert_eq!(desk.last(&short).message, "Command exited with status 7");
    let status = desk.reconcile(&long).await;
    assert_eq!((status.state, status.update, status.reason), (Running, None, Some(Reason::Reconciliation)));
    // Its resources are taken, and what it had before is not offered again.
    assert_eq!(desk.offered_ports().await, offered);
    assert_eq!(desk.read(&long, "pids").lines().count(), 1);

    // What was acknowledged is forgotten.
    desk.stop().await;
    desk.start().await;
    let status = desk.reconcile(&short).await;
    assert_eq!((status.state, status.update), (Gone, None));
    desk.local().call(Call::Kill { task: long.task.clone(), agent: None, grace: None });
    desk.expect(&long, &[Running, Killing, Killed]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_checkpoint_tasks_end_with_the_engine() {
    let mut desk = Desk::with(|config| config.checkpoint = false).await;
    let task = launch(&desk, "brief", shell("echo $$ > pid; touch ready; exec sleep 1000"));
    desk.accept(vec![task.clone()]).await;
    desk.expect(&task, &[Running]).await;
    desk.wait_for_file(&task, "ready").await;
    let pid: i32 = desk.read(&task, "pid").trim().parse().unwrap();
    desk.stop().await;
    desk::gone(pid).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_keeper_is_replaced_and_no_task_with_it() {
    let mut desk = Desk::new().await;
    let task = launch(&desk, "calm", shell("echo $$ >> pids; exec sleep 1000"));
    desk.accept(vec![task.clone()]).await;
    desk.expect(&task, &[Running]).await;
    desk.wait_for_file(&task, "pids").await;
    desk.kill_keeper().await;
    desk.wait_subscribed(true).await;
    let status = desk.reconcile(&task).await;
    assert_eq!(status.state, Running, "{}", status.message);
    desk.local().call(Call::Kill { task: task.task.clone(), agent: None, grace: None });
    desk.expect(&task, &[Running, Killing, Killed]).await;
    assert_eq!(desk.read(&task, "pids").lines().count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_may_run_as_somebody_else() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let mut desk = Desk::new().await;
    fs::set_permissions(desk.dir(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut task = launch(&desk, "nobody", shell("id -u; cat got; touch mine"));
    task.user = Some("nobody".to_owned());
    let source = desk.dir().join("got");
    fs::write(&source, "it\n").unwrap();
    task.fetch = vec![fetch(&source.display().to_string())];
    desk.accept(vec![task.clone()]).await;
    desk.expect(&task, &[Starting, Running, Finished]).await;
    assert_eq!(desk.read(&task, "stdout"), "65534\nit\n");
    use std::os::unix::fs::MetadataExt;
    assert_eq!(fs::metadata(desk.file(&task, "got")).unwrap().uid(), 65534);
}

fn fetch(uri: &str) -> Fetch {
    Fetch { uri: uri.to_owned(), extract: true, executable: false, cache: false, dest_path: None }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_or_killed_fetch_ends_the_task() {
    let mut desk = Desk::new().await;
    // Takes connections and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut slow = launch(&desk, "slow", shell("true"));
    slow.fetch = vec![fetch(&format!("http://{}/x", silent.local_addr().unwrap()))];
    let mut wrong = launch(&desk, "wrong", shell("true"));
    wrong.fetch = vec![fetch("/no/such/file")];
    // A fetch does not hold up others.
    let quick = launch(&desk, "quick", shell("true"));
    desk.accept(vec![slow.clone(), wrong.clone(), quick.clone()]).await;
    desk.expect(&quick, &[Running, Finished]).await;
    desk.expect(&wrong, &[Starting, Failed]).await;
    let message = &desk.last(&wrong).message;
    assert!(message.starts_with("Failed to fetch '/no/such/file': No such file"), "{message}");
    desk.local().call(Call::Kill { task: slow.task.clone(), agent: None, grace: None });
    desk.expect(&slow, &[Starting, Killed]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unhealthy_task_is_killed() {
    let mut desk = Desk::new().await;
    let mut task = launch(&desk, "sick", shell("touch well; exec sleep 1000"));
    task.health_check = Some(EngineCheck {
        kind: EngineCheckKind::Command(CheckCommand::Shell("test -f well && test \"$X\" = 1".to_owned())),
        delay: Duration::from_millis(100),
        interval: Duration::from_millis(100),
        timeout: Duration::from_secs(10),
        grace: Duration::from_secs(60),
        max_failures: 2,
    });
    task.env.insert("X".to_owned(), "1".to_owned());
    desk.accept(vec![task.clone()]).await;
    desk.wait_status(&task, |it| it.healthy == Some(true)).await;
    fs::remove_file(desk.file(&task, "well")).unwrap();
    desk.wait_status(&task, |it| it.healthy == Some(false)).await;
    desk.wait_status(&task, |it| it.state == Killed).await;
    let end = desk.last(&task);
    assert_eq!((end.healthy, end.reason), (Some(false), Some(Reason::HealthCheckUnhealthy)));
    assert!(end.message.starts_with("Health check failed 2 times in a row"), "{}", end.message);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listening_task_passes_its_network_checks() {
    let mut desk = Desk::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let _ = stream.unwrap().write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n");
        }
    });
    let mut task = launch(&desk, "web", shell("sleep 1000"));
    let check = |kind| EngineCheck {
        kind,
        delay: Duration::ZERO,
        interval: Duration::from_millis(100),
        timeout: Duration::from_secs(10),
        grace: Duration::ZERO,
        max_failures: 3,
    };
    task.health_check = Some(check(EngineCheckKind::Tcp { port, ipv6: false }));
    task.check = Some(check(EngineCheckKind::Http { https: false, port, path: "x".to_owned(), ipv6: false }));
    desk.accept(vec![task.clone()]).await;
    let found = marathon_model::offer::CheckResult::Http { status: 204 };
    desk.wait_status(&task, |it| it.healthy == Some(true) && it.check == Some(found)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_much_memory_is_told_as_such() {
    let mut desk = Desk::new().await;
    let mut task = launch(&desk, "fat", shell("head -c 200m /dev/zero | tail > /dev/null"));
    task.resources.mem = Milli::from_whole(32);
    desk.accept(vec![task.clone()]).await;
    desk.wait_status(&task, |it| matches!(it.state, Failed | Finished)).await;
    let end = desk.last(&task);
    if end.state == Finished {
        return; // This machine lets us enforce no limits.
    }
    assert_eq!(end.reason, Some(Reason::ContainerLimitationMemory), "{}", end.message);
    assert_eq!(end.message, "Memory limit exceeded: the task used more than its limit of 32 MB");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_docker_an_app_is_told_so() {
    let mut desk = Desk::with(|config| config.docker_socket = Some("/no/such/docker.sock".into())).await;
    let mut task = launch(&desk, "boxed", shell("true"));
    task.container = Some(desk::image("busybox"));
    desk.accept(vec![task.clone()]).await;
    desk.wait_status(&task, |it| it.state == Failed).await;
    let message = &desk.last(&task).message;
    assert!(message.contains("/no/such/docker.sock"), "{message}");
}

/// Not a benchmark: it shows that nothing is lost in a crowd. Times are printed for the curious.
#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_starts_and_is_adopted() {
    const CROWD: usize = 200;
    let mut desk = Desk::new().await;
    let crowd: Vec<_> = (0..CROWD)
        .map(|it| {
            let mut task = launch(&desk, &format!("c{it}"), args(&["/bin/sleep", "1000"]));
            (task.resources.cpus, task.resources.mem) = (Milli(1), Milli(1));
            task
        })
        .collect();
    let begin = Instant::now();
    desk.accept(crowd.clone()).await;
    for task in &crowd {
        desk.expect(task, &[Running]).await;
    }
    println!("{CROWD} tasks started in {:?}", begin.elapsed());
    desk.stop().await;
    let begin = Instant::now();
    desk.start().await;
    println!("and adopted in {:?}", begin.elapsed());
    for task in &crowd {
        assert_eq!(desk.reconcile(task).await.state, Running);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_engine_stops_while_nobody_listens() {
    let mut desk = Desk::new().await;
    let crowd: Vec<_> = (0..50)
        .map(|it| {
            let mut task = launch(&desk, &format!("q{it}"), shell("true"));
            task.agent = marathon_model::id::AgentId::new("elsewhere");
            task
        })
        .collect();
    // Far more answers than the channel takes.
    for _ in 0..20 {
        desk.local().call(Call::Accept {
            offer: marathon_model::id::OfferId::new("none"),
            operations: vec![Operation::Launch(crowd.clone())],
        });
    }
    let stopped = tokio::time::timeout(Duration::from_secs(20), desk.stop()).await;
    assert!(stopped.is_ok());
}
