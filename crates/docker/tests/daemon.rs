//! `docker-run` against a real daemon: what fakes get wrong is exactly what matters here.

// clippy.toml allows it in tests, and takes only `#[test]` functions for such.
#![allow(clippy::unwrap_used)]

mod fixture;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fixture::{Daemon, IMAGE, OWNER, Running, block_on, until};
use marathon_docker::{Credentials, DockerError, Limits, RunSpec, Said};
use marathon_model::app::{PortMapping, Protocol, Volume, VolumeSource};
use marathon_model::offer::{Command, TaskNetwork};
use nix::sys::signal::Signal;
use tempfile::TempDir;

/// A task in the making: its own sandbox, its own id.
struct Task {
    daemon: Arc<Daemon>,
    sandbox: TempDir,
    spec: RunSpec,
}

impl Task {
    fn new(name: &str, script: &str) -> Option<Task> {
        Some(Task::under(Daemon::shared()?, name, script))
    }

    fn under(daemon: Arc<Daemon>, name: &str, script: &str) -> Task {
        let sandbox = tempfile::tempdir().unwrap();
        let mut spec = RunSpec::new(name, IMAGE, sandbox.path().to_owned());
        spec.socket = Some(daemon.socket());
        spec.owner = OWNER.to_owned();
        spec.command = Command::Shell(script.to_owned());
        spec.grace = Duration::from_secs(60);
        Task { daemon, sandbox, spec }
    }

    fn with(mut self, change: impl FnOnce(&mut RunSpec)) -> Task {
        change(&mut self.spec);
        self
    }

    fn parameters(self, list: &[(&str, &str)]) -> Task {
        let owned = list.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        self.with(|it| it.parameters = owned)
    }

    fn start(&self) -> Running {
        Running::start(&self.spec)
    }

    fn is_removed(&self) -> bool {
        let found = block_on(self.daemon.api().containers(OWNER)).unwrap();
        found.iter().all(|it| it.task != self.spec.task)
    }
}

/// Runs a script to its end and compares code and output.
fn check(task: Option<Task>, code: i32, stdout: &str, stderr: &str) {
    let Some(task) = task else { return };
    let mut running = task.start();
    let ended = running.code();
    let output = (running.stdout.now(), running.stderr.now());
    assert_eq!((ended, &*output.0, &*output.1), (Some(code), stdout, stderr), "{:?}", running.said());
    assert!(task.is_removed());
}

/// Runs something that must fail before it starts.
fn check_failure(task: Option<Task>, code: i32, parts: &[&str]) {
    let Some(task) = task else { return };
    let mut running = task.start();
    assert_eq!(running.code(), Some(code), "{:?}", running.said());
    let Some(Said::Failed { message }) = running.said().pop() else { panic!("{:?}", running.said()) };
    assert!(parts.iter().all(|it| message.contains(it)), "{message}");
    assert_eq!(running.stderr.now(), format!("marathon: {message}\n"));
}

#[test]
fn output_and_code_are_those_of_the_container() {
    check(Task::new("code", "echo out; echo err >&2; exit 7"), 7, "out\n", "err\n");
}

#[test]
fn reports_tell_start_and_end() {
    let Some(task) = Task::new("reports", "exit 3") else { return };
    let mut running = task.start();
    running.end();
    let said = running.said();
    let Some(Said::Started { container, .. }) = said.first() else { panic!("{said:?}") };
    assert_eq!(*container, "mesos-reports");
    assert_eq!(said[1..], [Said::Ended { code: 3, out_of_memory: false }]);
}

#[test]
fn no_output_is_lost() {
    let Some(task) = Task::new("much", "yes 0123456789abcde | head -c 4000000") else { return };
    let mut running = task.start();
    assert_eq!(running.code(), Some(0));
    assert_eq!(running.stdout.now().len(), 4_000_000);
}

#[test]
fn environment_and_sandbox() {
    let script =
        "echo $A:$B; echo kept > $MESOS_SANDBOX/file; echo $MESOS_CONTAINER_NAME; cat $MESOS_SANDBOX/in";
    let Some(task) = Task::new("env", script) else { return };
    let task =
        task.with(|it| it.env = vec![("A".to_owned(), "a b".to_owned()), ("B".to_owned(), "$A".to_owned())]);
    let kept = task.sandbox.path().join("file");
    std::fs::write(task.sandbox.path().join("in"), "fetched\n").unwrap();
    let mut running = task.start();
    assert_eq!(running.code(), Some(0));
    assert_eq!(running.stdout.now(), "a b:$A\nmesos-env\nfetched\n");
    assert_eq!(std::fs::read_to_string(kept).unwrap(), "kept\n");
}

#[test]
fn arguments_are_not_for_a_shell() {
    let arguments = ["/bin/echo", "$HOME", "a b"].map(str::to_owned).to_vec();
    check(
        Task::new("args", "").map(|it| it.with(|it| it.command = Command::Args(arguments))),
        0,
        "$HOME a b\n",
        "",
    );
}

#[test]
fn parameters_take_effect() {
    let script = "hostname; id -u; pwd; cat /etc/hosts | busybox grep db.example; echo $X; touch /x 2>&1";
    let task = Task::new("parameters", script).map(|it| {
        it.parameters(&[
            ("hostname", "web.example"),
            ("user", "1234"),
            ("workdir", "/tmp"),
            ("add-host", "db.example:10.9.8.7"),
            ("env", "X=y"),
            ("read-only", "true"),
            ("label", "some=thing"),
            ("log-driver", "none"),
        ])
    });
    let wanted = "web.example\n1234\n/tmp\n10.9.8.7\tdb.example\ny\ntouch: /x: Read-only file system\n";
    check(task, 1, wanted, "");
}

#[test]
fn unknown_parameters_are_named() {
    let task = Task::new("unknown", "").map(|it| it.parameters(&[("hostnaem", "x")]));
    check_failure(task, 125, &["`hostnaem` is not known"]);
}

#[test]
fn a_terminal() {
    check(Task::new("tty", "test -t 1 && echo yes").map(|it| it.with(|it| it.tty = true)), 0, "yes\r\n", "");
}

#[test]
fn volumes() {
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("in"), "shared\n").unwrap();
    let volume = |inside: &str, outside: &Path, read_only| Volume {
        container_path: inside.to_owned(),
        read_only,
        source: VolumeSource::Host { host_path: outside.display().to_string() },
    };
    let list = vec![volume("/shared", outside.path(), true), volume("/own", Path::new("data"), false)];
    let script = "cat /shared/in; touch /shared/out 2>&1; echo mine > /own/file";
    let Some(task) = Task::new("volumes", script) else { return };
    let task = task.with(|it| it.volumes = list);
    let own = task.sandbox.path().join("data/file");
    let mut running = task.start();
    assert_eq!(running.code(), Some(0));
    assert_eq!(running.stdout.now(), "shared\ntouch: /shared/out: Read-only file system\n");
    assert_eq!(std::fs::read_to_string(own).unwrap(), "mine\n");
}

#[test]
fn a_mapped_port_is_reachable() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let Some(task) = Task::new("bridge", "echo hello > /tmp/index.html; exec httpd -f -p 8080 -h /tmp")
    else {
        return;
    };
    let task = task.with(|it| {
        it.mappings = vec![PortMapping {
            container_port: 8080,
            host_port: Some(port),
            service_port: 0,
            protocol: Protocol::Tcp,
            name: None,
            labels: Default::default(),
            network_names: Vec::new(),
        }];
        it.grace = Duration::ZERO;
    });
    let mut running = task.start();
    let addresses = running.wait_started();
    assert!(addresses.iter().all(|it| it.parse::<std::net::IpAddr>().is_ok()) && addresses.len() == 1);
    let get = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    assert!(until(|| get().is_ok_and(|it| it.ends_with("hello\n"))), "{:?}", running.said());

    // A second container cannot have the same port, and is told so.
    let second = Task::new("bridge2", "").map(|it| it.with(|it| it.mappings = task.spec.mappings.clone()));
    check_failure(second, 125, &["could not be started", &port.to_string()]);
    running.signal(Signal::SIGTERM);
    assert_eq!(running.code(), Some(137));
}

#[test]
fn networks() {
    let links = "ls /sys/class/net";
    let on = |name, network| Task::new(name, links).map(|it| it.with(|it| it.network = network));
    check(Task::new("none", links).map(|it| it.parameters(&[("network", "none")])), 0, "lo\n", "");
    check_failure(on("named", TaskNetwork::Container(vec!["nowhere".to_owned()])), 125, &["nowhere"]);
    let Some(task) = on("host", TaskNetwork::Host) else { return };
    let mut running = task.start();
    assert_eq!(running.code(), Some(0));
    let theirs = running.stdout.now();
    assert!(theirs.contains(task.daemon.bridge()) && theirs.contains("lo\n"), "{theirs}");
}

#[test]
fn networks_by_name() {
    let script = "ls /sys/class/net; busybox nslookup webby | busybox grep -c ^Name; \
                  while ! test -e $MESOS_SANDBOX/go; do sleep 0.1; done";
    let Some(task) = Task::new("by-name", script) else { return };
    let names = ["blue", "green"].map(|it| format!("{it}-{}", std::process::id()));
    names.iter().for_each(|it| task.daemon.make_network(it));
    let task = task.with(|it| it.network = TaskNetwork::Container(names.to_vec()));
    let task = task.parameters(&[("net-alias", "webby")]);
    let mut running = task.start();
    assert_eq!(running.wait_started().len(), 2);
    std::fs::write(task.sandbox.path().join("go"), "").unwrap();
    assert_eq!(
        (running.code(), &*running.stdout.now()),
        (Some(0), "eth0\neth1\nlo\n1\n"),
        "{}",
        running.stderr.now()
    );
}

#[test]
fn sigterm_is_passed_on() {
    let script = "trap 'echo bye; exit 5' TERM; echo ready; while :; do sleep 0.1; done";
    let Some(task) = Task::new("term", script) else { return };
    let mut running = task.start();
    assert!(running.stdout.wait(|it| it.contains("ready")));
    running.signal(Signal::SIGTERM);
    assert_eq!(running.code(), Some(5));
    assert_eq!(running.stdout.now(), "ready\nbye\n");
    assert!(task.is_removed());
}

#[test]
fn the_stop_signal_of_the_image_counts() {
    let script = "trap 'exit 6' HUP; trap '' TERM; echo ready; while :; do sleep 0.1; done";
    let Some(task) = Task::new("stop-signal", script).map(|it| it.parameters(&[("stop-signal", "SIGHUP")]))
    else {
        return;
    };
    let mut running = task.start();
    assert!(running.stdout.wait(|it| it.contains("ready")));
    running.signal(Signal::SIGTERM);
    assert_eq!(running.code(), Some(6));
}

#[test]
fn what_ignores_sigterm_is_killed() {
    let Some(task) = Task::new("kill", "trap '' TERM; echo ready; while :; do sleep 0.1; done") else {
        return;
    };
    let task = task.with(|it| it.grace = Duration::from_millis(300));
    let mut running = task.start();
    assert!(running.stdout.wait(|it| it.contains("ready")));
    running.signal(Signal::SIGTERM);
    assert_eq!(running.code(), Some(137));
    assert!(task.is_removed());
}

#[test]
fn too_much_memory() {
    let Some(task) = Task::new("oom", "x=0123456789abcdef; while :; do x=$x$x; done") else { return };
    let limits = Limits { cpu_shares_milli: 100, memory_bytes: Some(32 << 20), ..Limits::default() };
    let task = task.with(|it| it.limits = limits).parameters(&[("memory-swap", "32m")]);
    let mut running = task.start();
    assert_eq!(running.code(), Some(137));
    assert_eq!(running.said().last(), Some(&Said::Ended { code: 137, out_of_memory: true }));
}

#[test]
fn commands_that_cannot_be_run() {
    let command = |name, path: &str| {
        let arguments = vec![path.to_owned()];
        Task::new(name, "").map(|it| it.with(|it| it.command = Command::Args(arguments)))
    };
    check_failure(command("not-found", "no-such-program"), 127, &["no-such-program", "not found"]);
    check_failure(command("not-executable", "/etc"), 126, &["could not be started"]);
}

#[test]
fn a_missing_image() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let image = format!("localhost:{nobody}/some/thing:1");
    let task = Task::new("image", "").map(|it| it.with(|it| it.image = image.clone()));
    check_failure(task, 125, &[&image, "could not be pulled", "connection refused"]);
}

#[test]
fn an_impossible_image() {
    for image in ["UPPER", "a b", "x?y=1", "", "../..", "a\n"] {
        let task = Task::new("impossible", "").map(|it| it.with(|it| it.image = image.to_owned()));
        check_failure(task, 125, &["the image `", "could not be"]);
    }
}

#[test]
fn a_missing_daemon() {
    let sandbox = tempfile::tempdir().unwrap();
    let mut spec = RunSpec::new("nobody", IMAGE, sandbox.path().to_owned());
    spec.socket = Some(sandbox.path().join("no.sock"));
    let mut running = Running::start(&spec);
    assert_eq!(running.code(), Some(125));
    let Some(Said::Failed { message }) = running.said().pop() else { panic!("{:?}", running.said()) };
    assert!(message.contains("no Docker daemon") && message.contains("no.sock"), "{message}");

    let dead = sandbox.path().join("dead.sock");
    drop(std::os::unix::net::UnixListener::bind(&dead).unwrap());
    let reason = block_on(marathon_docker::is_available(&dead)).unwrap_err();
    assert!(reason.contains("not running") && reason.contains("dead.sock"), "{reason}");
}

/// A registry that wants a password, and after that has nothing. It hands out what it was told.
fn registry() -> (u16, std::sync::mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (told, hear) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                match stream.read(&mut byte) {
                    // Daemons try TLS first; hanging up sends them on to plain HTTP.
                    Ok(1) if byte[0] != 0x16 => head.push(byte[0]),
                    _ => break,
                }
            }
            let head = String::from_utf8_lossy(&head);
            let auth = head.lines().find_map(|it| it.strip_prefix("Authorization: Basic "));
            let status = match auth {
                Some(auth) => {
                    let _ = told.send(auth.to_owned());
                    "404 Not Found"
                }
                None => "401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"test\"",
            };
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    (port, hear)
}

#[test]
fn credentials_reach_the_registry() {
    use base64::Engine as _;
    let pair = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let entry = |registry: &str, who: &str| format!(r#"{{"{registry}":{{"auth":"{}"}}}}"#, pair(who));
    type Bring = fn(&mut Task, &str, &dyn Fn(&str, &str) -> String);
    let rows: [(&str, Bring); 5] = [
        ("sandbox:a", |task, registry, entry| {
            std::fs::create_dir(task.sandbox.path().join(".docker")).unwrap();
            let text = format!(r#"{{"auths":{}}}"#, entry(registry, "sandbox:a"));
            std::fs::write(task.sandbox.path().join(".docker/config.json"), text).unwrap();
        }),
        ("old:b", |task, registry, entry| {
            std::fs::write(task.sandbox.path().join(".dockercfg"), entry(registry, "old:b")).unwrap();
        }),
        ("given:c", |task, registry, entry| {
            std::fs::write(task.sandbox.path().join(".dockercfg"), entry(registry, "hidden:x")).unwrap();
            let given = Credentials::Password { user: "given".to_owned(), password: "c".to_owned() };
            task.spec.registry_auth = Some(given);
        }),
        ("named:d", |task, registry, entry| {
            std::fs::write(task.sandbox.path().join(".dockercfg"), entry("other.example", "hidden:x"))
                .unwrap();
            let path = task.sandbox.path().join("conf");
            std::fs::write(&path, format!(r#"{{"auths":{}}}"#, entry(registry, "named:d"))).unwrap();
            task.spec.docker_config = Some(path);
        }),
        ("helper:e", |task, registry, _| {
            let sandbox = task.sandbox.path();
            let program = |name: &str, script: &str| {
                let path = sandbox.join("bin").join(name);
                std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
                std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
            };
            std::fs::create_dir(sandbox.join("bin")).unwrap();
            program(
                "docker-credential-good",
                r#"read -r name; echo "{\"Username\":\"helper\",\"Secret\":\"e\",\"ServerURL\":\"$name\"}""#,
            );
            // What a task brings along may be read, and not run.
            program("docker-credential-evil", &format!("touch {}/evil", sandbox.display()));
            std::fs::create_dir(sandbox.join(".docker")).unwrap();
            std::fs::write(sandbox.join(".docker/config.json"), r#"{"credsStore":"evil"}"#).unwrap();
            let path = sandbox.join("conf");
            std::fs::write(&path, format!(r#"{{"credHelpers":{{"{registry}":"good"}}}}"#)).unwrap();
            task.spec.docker_config = Some(path);
        }),
    ];
    for (who, bring) in rows {
        let Some(mut task) = Task::new("private", "") else { return };
        let (port, hear) = registry();
        let registry = format!("127.0.0.1:{port}");
        task.spec.image = format!("{registry}/secret:1");
        bring(&mut task, &registry, &entry);
        let mut running = task.start();
        assert_eq!(running.code(), Some(125));
        assert_eq!(hear.try_recv(), Ok(pair(who)), "{:?}", running.said());
        assert!(!task.sandbox.path().join("evil").exists());
    }
}

#[test]
fn a_pull_can_be_stopped() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let image = format!("127.0.0.1:{}/slow:1", silent.local_addr().unwrap().port());
    let Some(task) = Task::new("slow", "").map(|it| it.with(|it| it.image = image)) else { return };
    let mut running = task.start();
    running.wait_for(|said| (*said == Said::Pulling).then_some(()));
    running.signal(Signal::SIGTERM);
    assert_eq!(running.code(), Some(143));
}

#[test]
fn a_present_image_is_pulled_only_when_told() {
    let task = Task::new("force", "").map(|it| {
        it.with(|it| {
            it.image = IMAGE.to_owned();
            it.force_pull = true;
        })
    });
    check_failure(task, 125, &[IMAGE, "could not be pulled"]);
}

#[test]
fn commands_inside() {
    let Some(task) = Task::new("exec", "touch /tmp/alive; echo ready; exec sleep 1000") else { return };
    let task = task.with(|it| it.grace = Duration::ZERO);
    let mut running = task.start();
    assert!(running.stdout.wait(|it| it.contains("ready")));
    let exec = |script: &str, timeout: Duration| {
        let argv = ["/bin/sh", "-c", script].map(str::to_owned);
        block_on(marathon_docker::exec_in(&task.daemon.socket(), &task.spec.container, &argv, timeout))
    };
    let long = Duration::from_secs(60);
    assert_eq!(exec("ls /tmp/alive", long).unwrap(), 0);
    assert_eq!(exec("echo some output; exit 9", long).unwrap(), 9);
    let slow = exec("touch /tmp/began; sleep 1000; touch /tmp/ended", Duration::from_millis(300));
    assert!(matches!(slow, Err(DockerError::TooSlow(_))), "{slow:?}");
    // It was killed, not left alone.
    let is_gone = || exec("! busybox ps | busybox grep -q '[b]egan'", long).is_ok_and(|code| code == 0);
    assert!(until(is_gone));
    running.signal(Signal::SIGTERM);
    running.end();
    assert!(exec("true", long).is_err());
}

#[test]
fn leftovers_are_found_and_removed() {
    let Some(task) = Task::new("left", "echo ready; exec sleep 1000") else { return };
    let mut running = task.start();
    running.wait_started();
    running.signal(Signal::SIGKILL);
    running.end();
    let api = task.daemon.api();
    let found = block_on(api.containers(OWNER)).unwrap();
    let left = found.iter().find(|it| it.task == "left").unwrap();
    assert_eq!((&*left.name, left.running), ("mesos-left", true));
    assert_eq!(block_on(api.containers("somebody-else")).unwrap(), []);
    assert_eq!(block_on(api.remove_of_task("somebody-else", "left")).unwrap(), 0);

    // The same task once more takes the place of what is left of it.
    let second = Task::new("left", "echo second").unwrap();
    let mut running = second.start();
    assert_eq!((running.code(), &*running.stdout.now()), (Some(0), "second\n"), "{:?}", running.said());
    assert!(task.is_removed());
    assert_eq!(block_on(api.remove_of_task(OWNER, "left")).unwrap(), 0);
    block_on(api.remove("mesos-left")).unwrap();
}

/// Starts a task under a daemon of its own, crashes that and starts it again.
fn crash(flags: &[&str], script: &str) -> Option<(Task, Running)> {
    let daemon = Arc::new(Daemon::start(flags)?);
    let task = Task::under(daemon, "crash", script);
    let running = task.start();
    assert!(running.stdout.wait(|it| it.contains("before")), "{:?}", running.said());
    running.wait_started();
    task.daemon.crash();
    task.daemon.begin();
    Some((task, running))
}

#[test]
fn a_daemon_that_crashes_and_keeps_its_containers() {
    let script = "trap 'exit 4' TERM; echo before; while ! test -e $MESOS_SANDBOX/go; do sleep 0.1; done; \
                  echo after; while :; do sleep 0.1; done";
    let Some((task, mut running)) = crash(&["--live-restore"], script) else { return };
    std::fs::write(task.sandbox.path().join("go"), "").unwrap();
    assert!(running.stdout.wait(|it| it.contains("after")), "{:?} {}", running.said(), running.stdout.now());
    running.signal(Signal::SIGTERM);
    assert_eq!(running.code(), Some(4), "{:?}", running.said());
    assert_eq!(running.stdout.now(), "before\nafter\n");
    assert!(task.is_removed());
}

#[test]
fn a_daemon_that_crashes_and_ends_its_containers() {
    let Some((task, mut running)) = crash(&[], "echo before; exec sleep 1000") else { return };
    assert_ne!(running.code(), Some(0), "{:?}", running.said());
    assert!(matches!(running.said().last(), Some(Said::Ended { .. })), "{:?}", running.said());
    assert!(task.is_removed());
}

#[test]
fn a_daemon_that_stays_away() {
    let Some(daemon) = Daemon::start(&[]) else { return };
    let task = Task::under(Arc::new(daemon), "away", "echo ready; exec sleep 1000");
    let task = task.with(|it| it.patience = Duration::from_millis(500));
    let mut running = task.start();
    running.wait_started();
    task.daemon.crash();
    assert_eq!(running.code(), Some(125), "{:?}", running.said());
    let Some(Said::Failed { message }) = running.said().pop() else { panic!("{:?}", running.said()) };
    assert!(message.contains("went away") && message.contains("may still be running"), "{message}");
    // So that the daemon ends what it left running.
    task.daemon.begin();
}
