//! The systemd unit and the container file of `deploy/`, with a real systemd and a real Docker. Both need root, and say so
//! where they cannot run.
#![allow(clippy::unwrap_used)]

mod common;
#[path = "../../local/tests/daemon/mod.rs"]
mod daemon;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(60);
const DEPLOY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy");

/// A systemd as process 1 of namespaces of its own: it sees this machine, but for the places where files of
/// ours lie. It ends, with all that it started, when the input of the script does.
const BOOT: &str = r#"
dir=$1 name=marathon-test-$$
if [ -d /sys/fs/cgroup/systemd ]; then group=/sys/fs/cgroup/systemd/$name; else group=/sys/fs/cgroup/$name; fi
mkdir "$group" || exit 1
(
    sh -c 'echo $PPID' > "$group/cgroup.procs"
    exec unshare --mount --pid --fork --cgroup --ipc --propagation private --kill-child sh -ec '
        dir=$1
        mount -t proc proc /proc
        for it in /run /usr/local/bin /etc/default /etc/systemd /var/lib; do mount -t tmpfs tmpfs $it; done
        if [ -d /sys/fs/cgroup/systemd ]; then
            mount -t tmpfs tmpfs /sys/fs/cgroup
            mkdir /sys/fs/cgroup/systemd
            mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd
        else
            mount -t cgroup2 cgroup2 /sys/fs/cgroup
        fi
        ln -s "$dir/marathon" /usr/local/bin/marathon
        ln -s "$dir/default" /etc/default/marathon
        exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin SYSTEMD_UNIT_PATH="$dir/units" \
            /usr/lib/systemd/systemd --system --unit=multi-user.target --show-status=no --log-target=console
    ' sh "$dir"
) <&- &
boot=$!
read -r _
kill -9 "$boot"; wait "$boot" 2>/dev/null
# The last processes leave their groups only after a moment.
for _ in 1 2 3 4 5 6 7 8 9; do
    find "$group" -depth -type d -exec rmdir {} + 2>/dev/null
    [ -d "$group" ] || break
    sleep 0.2
done
"#;

struct Systemd {
    script: Child,
    /// Of process 1, seen from here.
    pid: u32,
    folder: TempDir,
    port: u16,
}

impl Systemd {
    fn boot() -> Option<Systemd> {
        if !Path::new("/usr/lib/systemd/systemd").exists() || !is_root() {
            eprintln!("SKIPPED: systemd cannot be started: it needs root, and the package systemd");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let units = folder.path().join("units");
        std::fs::create_dir(&units).unwrap();
        std::fs::copy(Path::new(DEPLOY).join("systemd/marathon.service"), units.join("marathon.service"))
            .unwrap();
        // What a machine has, as far as our unit names it.
        for target in ["sysinit", "basic", "shutdown", "network-online", "multi-user"] {
            let unit = "[Unit]\nDescription=of the test\nDefaultDependencies=no\n";
            std::fs::write(units.join(format!("{target}.target")), unit).unwrap();
        }
        // There is no journal.
        let more = units.join("marathon.service.d");
        std::fs::create_dir(&more).unwrap();
        let log = folder.path().join("marathon.log");
        std::fs::write(more.join("log.conf"), format!("[Service]\nStandardError=append:{}\n", log.display()))
            .unwrap();
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_marathon"), folder.path().join("marathon")).unwrap();
        let port = common::free_port();
        let flags = std::fs::read_to_string(Path::new(DEPLOY).join("systemd/marathon.default")).unwrap();
        let ours = format!("{flags}\nMARATHON_HTTP_ADDRESS=127.0.0.1\nMARATHON_HTTP_PORT={port}\n");
        std::fs::write(folder.path().join("default"), ours).unwrap();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let script = Command::new("sh")
            .args(["-c", BOOT, "systemd-for-tests"])
            .arg(folder.path())
            .stdin(Stdio::piped())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut systemd = Systemd { script, pid: 0, folder, port };
        let began = Instant::now();
        while !systemd.is_up() {
            let log = std::fs::read_to_string(systemd.folder.path().join("log")).unwrap();
            if log.contains("not permitted") || log.contains("Read-only file system") {
                eprintln!("SKIPPED: systemd cannot be started: {log}");
                return None;
            }
            assert!(began.elapsed() < PATIENCE, "systemd does not come up: {log}");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(systemd)
    }

    fn is_up(&mut self) -> bool {
        let children = |pid: u32| {
            let list = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
            list.ok().and_then(|it| it.split_whitespace().next()?.parse::<u32>().ok())
        };
        match children(self.script.id()).and_then(children) {
            Some(pid) => self.pid = pid,
            None => return false,
        }
        let state =
            String::from_utf8_lossy(&self.run(&["systemctl", "is-system-running"]).stdout).into_owned();
        matches!(state.trim(), "running" | "degraded")
    }

    /// A program inside.
    fn run(&self, program: &[&str]) -> Output {
        let mut enter = Command::new("nsenter");
        enter.args(["-t", &self.pid.to_string(), "-m", "-p", "-C"]).args(program);
        enter.env("SYSTEMD_UNIT_PATH", self.folder.path().join("units"));
        enter.stdin(Stdio::null()).output().unwrap()
    }

    #[track_caller]
    fn control(&self, order: &str) {
        let done = self.run(&["systemctl", order, "marathon"]);
        let text = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.success(), "systemctl {order}: {text}\n{}", self.log());
    }

    fn property(&self, name: &str) -> String {
        let shown = self.run(&["systemctl", "show", "marathon", "--value", "-p", name]);
        String::from_utf8_lossy(&shown.stdout).trim().to_owned()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("marathon.log")).unwrap_or_default()
    }

    /// The tasks, once the server of this start has taken them over.
    #[track_caller]
    fn task(&self, before: &str) -> (String, String) {
        let mut found = None;
        until("the server is up, and the task runs", || {
            let main = self.property("MainPID");
            let tasks = ask(self.port, "GET", "/v2/tasks", "").map_or(String::new(), |it| it.1);
            let json: serde_json::Value = serde_json::from_str(&tasks).unwrap_or_default();
            let id = json["tasks"].as_array().and_then(|all| match all.as_slice() {
                [one] if one["state"] == "TASK_RUNNING" => Some(one["id"].as_str()?.to_owned()),
                _ => None,
            });
            found = id.filter(|_| main != "0" && main != before).map(|id| (main, id));
            found.is_some()
        });
        found.unwrap()
    }
}

impl Drop for Systemd {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
        drop(self.script.stdin.take());
        let _ = self.script.wait();
    }
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

#[track_caller]
fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn ask(port: u16, method: &str, path: &str, body: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: m\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let status = answer.split(' ').nth(1)?.parse().ok()?;
    Some((status, answer.split_once("\r\n\r\n")?.1.to_owned()))
}

#[test]
fn under_systemd_tasks_outlive_every_end_of_the_server() {
    let Some(systemd) = Systemd::boot() else { return };
    let unit = systemd.folder.path().join("units/marathon.service").display().to_string();
    let verified = systemd.run(&["systemd-analyze", "verify", "--man=no", &unit]);
    let said = String::from_utf8_lossy(&verified.stderr).into_owned();
    assert!(verified.status.success() && said.is_empty(), "{said}");

    systemd.control("start");
    // Limits for one service would be limits for all tasks together.
    for (property, want) in [
        ("TasksMax", "infinity"),
        ("OOMPolicy", "continue"),
        ("StartLimitIntervalUSec", "0"),
        ("LimitNOFILE", "1048576"),
        ("EnvironmentFiles", "/etc/default/marathon (ignore_errors=yes)"),
    ] {
        assert_eq!(systemd.property(property), want, "{property}");
    }
    let body = r#"{"id":"/t","cmd":"sleep 1000","instances":1,"cpus":0.01,"mem":16}"#;
    until("the app is taken", || {
        ask(systemd.port, "POST", "/v2/apps", body).is_some_and(|it| matches!(it.0, 201 | 409))
    });
    let (first, task) = systemd.task("");
    let kept = |before: &str| {
        let (main, now) = systemd.task(before);
        assert_eq!(now, task);
        main
    };

    systemd.control("restart");
    let second = kept(&first);
    systemd.run(&["systemctl", "kill", "--signal=KILL", "--kill-whom=main", "marathon"]);
    let third = kept(&second);
    assert_eq!(systemd.property("NRestarts"), "1");
    // Asked to step down, an instance that is alone ends, and whoever supervises it starts it again.
    assert_eq!(ask(systemd.port, "DELETE", "/v2/leader", "").unwrap().0, 200);
    let fourth = kept(&third);

    systemd.control("stop");
    let ended = ["ActiveState", "Result", "ExecMainStatus"].map(|it| systemd.property(it));
    assert_eq!(ended, ["inactive", "success", "0"]);
    let group = systemd.run(&["systemctl", "status", "--no-pager", "marathon"]);
    assert!(String::from_utf8_lossy(&group.stdout).contains("sleep 1000"), "the task is gone");
    systemd.control("start");
    kept(&fourth);

    // What a person has to put right is not tried again and again.
    let flags = systemd.folder.path().join("default");
    let text = std::fs::read_to_string(&flags).unwrap();
    std::fs::write(&flags, format!("{text}MARATHON_HTTP_PORT=many\n")).unwrap();
    systemd.run(&["systemctl", "restart", "marathon"]);
    until("it has failed", || systemd.property("ActiveState") == "failed");
    assert_eq!(systemd.property("ExecMainStatus"), "112");
    assert!(systemd.log().contains("--http_port"), "{}", systemd.log());
}

#[test]
fn the_container_starts_stops_and_keeps_its_state_in_a_volume() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let Some(daemon) = runtime.block_on(daemon::Daemon::start()) else { return };
    let host = format!("unix://{}", daemon.socket().display());
    let docker = |arguments: &[&str]| {
        let done = Command::new("docker").args(["--host", &host]).args(arguments).output().unwrap();
        let text = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.success(), "docker {arguments:?}: {text}");
        String::from_utf8_lossy(&done.stdout).trim().to_owned()
    };
    // The project's folder, as far as it goes into the image.
    let project = tempfile::tempdir().unwrap();
    let binary = "target/x86_64-unknown-linux-gnu/release/marathon";
    let release = project.path().join(binary);
    std::fs::create_dir_all(release.parent().unwrap()).unwrap();
    std::fs::create_dir_all(project.path().join("deploy/container")).unwrap();
    for file in ["deploy/container/Containerfile", ".dockerignore"] {
        std::fs::copy(Path::new(DEPLOY).join("..").join(file), project.path().join(file)).unwrap();
    }
    std::fs::write(project.path().join("target/large"), "not for images").unwrap();
    let marathon = env!("CARGO_BIN_EXE_marathon");
    let smaller = Command::new("strip").arg("-o").arg(&release).arg(marathon).status();
    if !smaller.is_ok_and(|it| it.success()) {
        std::fs::copy(marathon, &release).unwrap();
    }
    let file = project.path().join("deploy/container/Containerfile").display().to_string();
    docker(&[
        "build",
        "--quiet",
        "--file",
        &file,
        "--tag",
        "marathon",
        &project.path().display().to_string(),
    ]);

    // Unlike the binary of a release, that of the tests needs libraries.
    let needed = Command::new("ldd").arg(marathon).output().unwrap();
    let libraries = String::from_utf8_lossy(&needed.stdout).into_owned();
    let libraries = libraries.split_whitespace().filter(|it| it.starts_with('/'));
    let mounts: Vec<String> = libraries.map(|it| format!("--volume={it}:{it}:ro")).collect();
    let port = common::free_port();
    let port_is = format!("--env=MARATHON_HTTP_PORT={port}");
    let mut run = vec!["run", "--detach", "--name=one", "--net=host", &port_is];
    run.extend(["--volume=state:/var/lib/marathon", "--env=MARATHON_HTTP_ADDRESS=127.0.0.1"]);
    // Nothing answers there, which is no reason not to start.
    run.push("--env=MARATHON_MASTER=127.0.0.1:1");
    run.extend(mounts.iter().map(String::as_str));
    run.push("marathon");
    docker(&run);
    let has = |id: &str| ask(port, "GET", &format!("/v2/apps/{id}"), "").is_some_and(|it| it.0 == 200);
    let began = Instant::now();
    while ask(port, "GET", "/ping", "").is_none_or(|it| it.0 != 200) {
        let ended = docker(&["inspect", "one", "--format", "{{.State.Status}}"]) == "exited";
        assert!(!ended && began.elapsed() < PATIENCE, "{}", docker(&["logs", "one"]));
        std::thread::sleep(Duration::from_millis(20));
    }
    let body = r#"{"id":"/kept","cmd":"true","instances":0}"#;
    until("the app is taken", || ask(port, "POST", "/v2/apps", body).is_some_and(|it| it.0 == 201));
    assert!(has("kept"));
    docker(&["stop", "one"]);
    assert_eq!(docker(&["inspect", "one", "--format", "{{.State.ExitCode}}"]), "0");
    // Another container, the same volume.
    docker(&["rm", "one"]);
    docker(&run);
    until("the app is back", || has("kept"));
    docker(&["rm", "--force", "one"]);
}
