//! One address for several instances, by the files under `deploy/` and the real programs: HAProxy, nginx, and
//! keepalived on hosts of their own (network namespaces). Real instances, a real ZooKeeper.
//!
//! What is asked each time: nothing is passed on between instances in quiet times, a killed leader is followed,
//! and an instance that comes back takes nothing away.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use marathon_testkit::zookeeper::{ZooKeeper, free_port};

const PATIENCE: Duration = Duration::from_secs(60);
/// Enough that a scheme which forwards some cannot be lucky.
const REQUESTS: usize = 30;

fn deploy(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy").join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A process that ends with the test.
struct Running(Child);

impl Running {
    fn start(command: &mut Command, log: &Path) -> Running {
        let log = fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
        let command = command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        Running(command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}")))
    }

    fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).stderr(Stdio::null()).status();
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(5) {
            if self.0.try_wait().is_ok_and(|it| it.is_some()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.kill();
    }
}

/// Three instances of Marathon.
struct Cluster {
    folder: tempfile::TempDir,
    instances: Vec<Instance>,
    zk: String,
}

struct Instance {
    /// `host:port`
    address: String,
    /// Runs a command on the instance's host.
    host: Vec<String>,
    running: Option<Running>,
}

impl Cluster {
    fn start(zk: String, hosts: Vec<(String, Vec<String>)>) -> Cluster {
        let folder = tempfile::tempdir().unwrap();
        let instances = hosts.into_iter().map(|(address, host)| Instance { address, host, running: None });
        let mut cluster = Cluster { folder, instances: instances.collect(), zk };
        (0..cluster.instances.len()).for_each(|at| cluster.begin(at));
        cluster.leader();
        cluster
    }

    fn log(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn begin(&mut self, at: usize) {
        let log = self.log(&format!("marathon{at}.log"));
        let data = self.folder.path().join(format!("data{at}"));
        let instance = &mut self.instances[at];
        let (name, port) = instance.address.split_once(':').unwrap();
        let mut words = instance.host.clone();
        words.push(env!("CARGO_BIN_EXE_marathon").to_owned());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        command.args(["--master", "local", "--zk", &self.zk, "--zk_session_timeout", "1500"]);
        command.args(["--hostname", name, "--http_port", port, "--data_dir"]).arg(data);
        instance.running = Some(Running::start(&mut command, &log));
    }

    /// Waits until all that run agree on a leader that runs.
    #[track_caller]
    fn leader(&self) -> usize {
        let began = Instant::now();
        loop {
            let running = || self.instances.iter().filter(|it| it.running.is_some());
            let told: Vec<Option<String>> = running().map(|it| leader_of(&it.address)).collect();
            let first = told.first().cloned().flatten();
            let at = running().find(|it| first.as_deref() == Some(&it.address)).map(|it| &it.address);
            if let Some(leader) = at
                && told.iter().all(|it| *it == first)
            {
                return self.instances.iter().position(|it| it.address == *leader).unwrap();
            }
            assert!(began.elapsed() < PATIENCE, "no leader: {told:?}\n{}", self.logs());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn kill(&mut self, at: usize) {
        self.instances[at].running.take().unwrap().kill();
    }

    fn logs(&self) -> String {
        let files = fs::read_dir(self.folder.path()).unwrap().flatten();
        let logs = files.filter(|it| it.path().extension().is_some_and(|it| it == "log"));
        let texts = logs.map(|it| {
            let text = fs::read_to_string(it.path()).unwrap_or_default();
            let tail: Vec<&str> = text.lines().rev().take(30).collect();
            format!("== {}\n{}\n", it.path().display(), tail.into_iter().rev().collect::<Vec<_>>().join("\n"))
        });
        texts.collect()
    }

    /// How many of so many requests to this address were answered by a follower passing them on.
    #[track_caller]
    fn forwarded(&self, address: &str) -> usize {
        let answers: Vec<Answer> = (0..REQUESTS).filter_map(|_| ask(address, "GET", "/v2/info")).collect();
        let good = answers.iter().filter(|it| it.status == 200).count();
        assert_eq!(good, REQUESTS, "some requests failed\n{}", self.logs());
        answers.iter().filter(|it| it.head.contains("x-marathon-via")).count()
    }

    /// A leader is lost, comes back, and in the end nothing is forwarded.
    #[track_caller]
    fn holds(&mut self, address: &str) {
        self.settles(address, "at the beginning");
        let before = self.leader();
        self.kill(before);
        let after = self.leader();
        assert_ne!(before, after);
        self.settles(address, "after the leader was killed");
        self.begin(before);
        let began = Instant::now();
        while leader_of(&self.instances[before].address).is_none() {
            assert!(began.elapsed() < PATIENCE, "it does not come back\n{}", self.logs());
            std::thread::sleep(Duration::from_millis(50));
        }
        assert_eq!(self.leader(), after, "whoever comes back does not take over");
        self.settles(address, "after it came back");
        // Changes arrive, too.
        let app = r#"{"id":"/nothing","cmd":"true","instances":0}"#;
        let made = ask_with(address, "PUT", "/v2/apps//nothing?force=true", app);
        assert!(made.as_ref().is_some_and(|it| it.status / 100 == 2), "{:?}", made.map(|it| it.head));
    }

    #[track_caller]
    fn settles(&self, address: &str, when: &str) {
        let began = Instant::now();
        loop {
            let answer = ask(address, "GET", "/v2/info");
            if answer.is_some_and(|it| it.status == 200) && self.forwarded(address) == 0 {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "still forwarded {when}\n{}", self.logs());
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

struct Answer {
    status: u16,
    /// Lower case.
    head: String,
    body: String,
}

fn ask(address: &str, method: &str, path: &str) -> Option<Answer> {
    ask_with(address, method, path, "")
}

fn ask_with(address: &str, method: &str, path: &str, body: &str) -> Option<Answer> {
    let address = address.parse().unwrap();
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, head: head.to_lowercase(), body: body.to_owned() })
}

/// What an instance says who leads.
fn leader_of(address: &str) -> Option<String> {
    let answer = ask(address, "GET", "/v2/leader").filter(|it| it.status == 200)?;
    let json: serde_json::Value = serde_json::from_str(&answer.body).ok()?;
    Some(json["leader"].as_str()?.to_owned())
}

/// Three instances on ports of this machine.
fn on_ports() -> (ZooKeeper, Cluster) {
    let zk = ZooKeeper::start();
    let hosts = (0..3).map(|_| (format!("127.0.0.1:{}", free_port()), Vec::new())).collect();
    let cluster = Cluster::start(zk.url("/marathon"), hosts);
    (zk, cluster)
}

/// A file of `deploy/` with our addresses in the place of its examples.
fn adapted(file: &str, cluster: &Cluster, port: u16) -> String {
    let mut text = deploy(file);
    for (at, instance) in cluster.instances.iter().enumerate() {
        let example = format!("10.0.0.{}:8080", at + 1);
        assert!(text.contains(&example), "{file} has no {example}");
        text = text.replace(&example, &instance.address);
    }
    text.replace("bind :8080", &format!("bind 127.0.0.1:{port}"))
        .replace("listen 8080", &format!("listen 127.0.0.1:{port}"))
}

#[test]
fn haproxy_sends_everything_to_the_leader() {
    let (_zk, mut cluster) = on_ports();
    let (plain, port) = (free_port(), free_port());
    let address = format!("127.0.0.1:{port}");
    let config = cluster.folder.path().join("haproxy.cfg");
    // Beside ours, what people have without the check of the leader: half or more is forwarded.
    let servers = cluster.instances.iter().enumerate();
    let servers: String =
        servers.map(|(at, it)| format!("    server m{at} {} check\n", it.address)).collect();
    let blind = format!("\nlisten blind\n    bind 127.0.0.1:{plain}\n    balance roundrobin\n{servers}");
    fs::write(&config, adapted("haproxy/haproxy.cfg", &cluster, port) + &blind).unwrap();
    let mut command = Command::new("haproxy");
    let _haproxy = Running::start(command.arg("-db").arg("-f").arg(&config), &cluster.log("haproxy.log"));
    cluster.settles(&address, "at the beginning");
    let share = cluster.forwarded(&format!("127.0.0.1:{plain}"));
    assert!(share >= REQUESTS / 2, "without the check {share} of {REQUESTS} are forwarded");
    cluster.holds(&address);
}

#[test]
fn nginx_sends_everything_to_the_leader() {
    let (_zk, mut cluster) = on_ports();
    let port = free_port();
    let folder = cluster.folder.path().to_owned();
    let site = folder.join("marathon.conf");
    fs::write(&site, adapted("nginx/marathon.conf", &cluster, port)).unwrap();
    let config = folder.join("nginx.conf");
    let paths: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|it| format!("{it}_temp_path {}; ", folder.join(it).display()))
        .collect();
    let text = format!(
        "daemon off; worker_processes 1; pid {0}/nginx.pid; error_log {0}/nginx.log;\nevents {{}}\n\
         http {{ access_log off; {paths} include {1}; }}\n",
        folder.display(),
        site.display()
    );
    fs::write(&config, text).unwrap();
    let mut command = Command::new("nginx");
    let _nginx = Running::start(command.arg("-c").arg(&config), &cluster.log("nginx.log"));
    cluster.holds(&format!("127.0.0.1:{port}"));
}

/// Hosts on one wire: network namespaces, and one more for the bridge between them, since a packet filter of this
/// machine (that of Docker, say) also looks at what only crosses a bridge of its own. Gone when dropped.
struct Wire {
    tag: String,
}

impl Wire {
    fn new(hosts: usize) -> Wire {
        let wire = Wire { tag: format!("m{}", std::process::id() % 100_000) };
        let tag = &wire.tag;
        ip(&format!("netns add {tag}h0"));
        ip(&format!("-n {tag}h0 link add bridge type bridge"));
        ip(&format!("-n {tag}h0 link set bridge up"));
        ip(&format!("link add {tag} type veth peer name v0 netns {tag}h0"));
        ip(&format!("-n {tag}h0 link set v0 master bridge up"));
        ip(&format!("addr add 10.213.7.254/24 dev {tag}"));
        ip(&format!("link set {tag} up"));
        for at in 1..=hosts {
            ip(&format!("netns add {tag}h{at}"));
            ip(&format!("-n {tag}h0 link add v{at} type veth peer name eth0 netns {tag}h{at}"));
            ip(&format!("-n {tag}h0 link set v{at} master bridge up"));
            ip(&format!("-n {tag}h{at} addr add 10.213.7.{at}/24 dev eth0"));
            ip(&format!("-n {tag}h{at} link set eth0 up"));
            ip(&format!("-n {tag}h{at} link set lo up"));
        }
        wire
    }

    fn host(&self, at: usize) -> Vec<String> {
        ["ip", "netns", "exec", &format!("{}h{at}", self.tag)].map(str::to_owned).to_vec()
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        for at in 0..=3 {
            let name = format!("{}h{at}", self.tag);
            let _ = Command::new("ip").args(["netns", "del", &name]).stderr(Stdio::null()).status();
        }
        let _ = Command::new("ip").args(["link", "del", &self.tag]).stderr(Stdio::null()).status();
    }
}

#[track_caller]
fn ip(words: &str) {
    let done = Command::new("ip").args(words.split(' ')).output().unwrap();
    assert!(done.status.success(), "ip {words}: {}", String::from_utf8_lossy(&done.stderr));
}

/// Makes a port of loopback reachable on the wire.
fn relay(listen: &str, to: u16) {
    let listener = TcpListener::bind(listen).unwrap();
    std::thread::spawn(move || {
        for near in listener.incoming().flatten() {
            let Ok(far) = TcpStream::connect(("127.0.0.1", to)) else { continue };
            for (mut from, mut into) in [(near.try_clone().unwrap(), far.try_clone().unwrap()), (far, near)] {
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut from, &mut into);
                    let _ = into.shutdown(std::net::Shutdown::Both);
                });
            }
        }
    });
}

#[test]
fn the_virtual_address_follows_the_leader() {
    let zk = ZooKeeper::start();
    let wire = Wire::new(3);
    relay(&format!("10.213.7.254:{}", zk.port()), zk.port());
    let url = format!("zk://10.213.7.254:{}/marathon", zk.port());
    let hosts = (1..=3).map(|at| (format!("10.213.7.{at}:8080"), wire.host(at))).collect();
    let mut cluster = Cluster::start(url, hosts);
    let folder = cluster.folder.path().to_owned();
    let check = folder.join("marathon-leads");
    fs::write(&check, deploy("keepalived/marathon-leads")).unwrap();
    let mut mode = fs::metadata(&check).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut mode, 0o755);
    fs::set_permissions(&check, mode).unwrap();
    // A folder of root's alone is not searched by nobody.
    let mut mode = fs::metadata(&folder).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut mode, 0o755);
    fs::set_permissions(&folder, mode).unwrap();
    let text = deploy("keepalived/keepalived.conf")
        .replace("/etc/keepalived/marathon-leads", &check.display().to_string())
        .replace("10.0.0.100/24", "10.213.7.100/24")
        // Temporary folders may be changed by others, which keepalived rightly minds.
        .replace("    enable_script_security\n", "");
    let config = folder.join("keepalived.conf");
    fs::write(&config, text).unwrap();
    let mut all = Vec::new();
    for at in 1..=3 {
        let words = wire.host(at);
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).args(["keepalived", "--dont-fork", "--log-console", "--vrrp", "-f"]);
        command.arg(&config);
        for (flag, name) in [("-p", "pid"), ("-r", "vrrp")] {
            command.arg(flag).arg(folder.join(format!("keepalived{at}.{name}")));
        }
        all.push(Running::start(&mut command, &cluster.log(&format!("keepalived{at}.log"))));
    }
    cluster.holds("10.213.7.100:8080");
}
