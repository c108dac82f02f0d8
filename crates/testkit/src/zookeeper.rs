//! Real ZooKeeper servers for tests: Debian's package, on free ports, in folders of their own.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const JARS: &str = "/usr/share/java";
/// A machine under load starts a Java program slowly.
const START_MAX: Duration = Duration::from_secs(60);

/// One server. Killed, and its folder removed, when dropped, or when the test's process is gone: so it may
/// live in a static and serve all tests of a file.
#[derive(Debug)]
pub struct ZooKeeper {
    folder: PathBuf,
    port: u16,
    place: Place,
    process: Option<Child>,
    guard: Option<Child>,
}

/// What a server is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To start soon and to be light. Tests end processes, not machines: what the kernel has is as good as on disk.
    Tests,
    /// Light, too, but everything is on the disk before it is acknowledged.
    Faults,
    /// As it would run in earnest: with flushes, and as fast as Java becomes.
    Measuring,
}

/// Where and how a server runs.
#[derive(Debug, Clone)]
pub struct Place {
    pub address: Ipv4Addr,
    /// A program, and its arguments, that becomes the server: `ip netns exec …`.
    pub through: Vec<String>,
    pub environment: Vec<(String, String)>,
    /// The folder of its folder.
    pub parent: PathBuf,
    pub purpose: Purpose,
}

impl Default for Place {
    fn default() -> Place {
        Place {
            address: Ipv4Addr::LOCALHOST,
            through: Vec::new(),
            environment: Vec::new(),
            parent: std::env::temp_dir(),
            purpose: Purpose::Tests,
        }
    }
}

/// Whether the package is there. A test without it must fail and say so.
pub fn is_installed() -> bool {
    Path::new(JARS).join("zookeeper.jar").exists()
}

impl ZooKeeper {
    /// One server alone, with sessions of at least 200 ms.
    pub fn start() -> ZooKeeper {
        let mut server = ZooKeeper::prepare(Place::default(), 1, &[]);
        server.begin();
        server.await_ready();
        server
    }

    /// So many servers that agree by majority.
    pub fn ensemble(count: usize) -> Vec<ZooKeeper> {
        ZooKeeper::ensemble_at(vec![Place::default(); count])
    }

    /// The same, to measure against: everything is flushed to files in folders in this one.
    pub fn measured_ensemble(parent: &Path, count: usize) -> Vec<ZooKeeper> {
        let place = Place { parent: parent.to_owned(), purpose: Purpose::Measuring, ..Place::default() };
        ZooKeeper::ensemble_at(vec![place; count])
    }

    /// One at each place.
    pub fn ensemble_at(places: Vec<Place>) -> Vec<ZooKeeper> {
        let peers: Vec<(Ipv4Addr, u16, u16)> =
            places.iter().map(|it| (it.address, free_port(), free_port())).collect();
        let mut servers: Vec<_> =
            (1..).zip(places).map(|(id, place)| ZooKeeper::prepare(place, id, &peers)).collect();
        for server in &mut servers {
            server.begin();
        }
        for server in &mut servers {
            server.await_ready();
        }
        servers
    }

    fn prepare(place: Place, id: usize, peers: &[(Ipv4Addr, u16, u16)]) -> ZooKeeper {
        assert!(is_installed(), "these tests need ZooKeeper: apt-get install zookeeper");
        let port = free_port();
        let folder = place.parent.join(format!("marathon-zk-{}-{port}", std::process::id()));
        fs::create_dir_all(folder.join("data")).expect("a temporary folder");
        fs::write(folder.join("data/myid"), id.to_string()).expect("a file in it");
        let mut config = format!(
            "tickTime=100\ninitLimit=100\nsyncLimit=50\ndataDir={}\nclientPort={port}\nclientPortAddress={}\n\
             maxClientCnxns=0\nadmin.enableServer=false\n4lw.commands.whitelist=*\nminSessionTimeout=200\n\
             maxSessionTimeout=60000\nfsync.warningthresholdms=60000\n",
            folder.join("data").display(),
            place.address
        );
        for (at, (address, peer, election)) in peers.iter().enumerate() {
            config.push_str(&format!("server.{}={address}:{peer}:{election}\n", at + 1));
        }
        fs::write(folder.join("zoo.cfg"), config).expect("a file in it");
        let log = "log4j.rootLogger=WARN, OUT\nlog4j.appender.OUT=org.apache.log4j.ConsoleAppender\n\
                   log4j.appender.OUT.layout=org.apache.log4j.PatternLayout\n\
                   log4j.appender.OUT.layout.ConversionPattern=%d %p %c{1} %m%n\n";
        fs::write(folder.join("log4j.properties"), log).expect("a file in it");
        ZooKeeper { folder, port, place, process: None, guard: None }
    }

    /// Starts the process, after `stop` with the data of before. Does not wait for it.
    pub fn begin(&mut self) {
        let log = fs::File::options().create(true).append(true).open(self.folder.join("log"));
        let log = log.expect("a file in a temporary folder");
        let light = ["-Xmx128m", "-Xshare:auto", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"];
        let flags: &[&str] = match self.place.purpose {
            Purpose::Tests => &[&light[..], &["-Dzookeeper.forceSync=no"]].concat(),
            Purpose::Faults => &light,
            Purpose::Measuring => &["-Xmx1g"],
        };
        let through = self.place.through.iter().map(String::as_str).chain(["java"]).collect::<Vec<_>>();
        let process = Command::new(through[0])
            .args(&through[1..])
            .envs(self.place.environment.iter().map(|(name, value)| (name, value)))
            .args(flags)
            .arg("-Djava.net.preferIPv4Stack=true")
            .arg(format!("-Dlog4j.configuration=file:{}", self.folder.join("log4j.properties").display()))
            .arg("-cp")
            .arg(format!("{}:{JARS}/zookeeper.jar", self.folder.display()))
            .arg("org.apache.zookeeper.server.quorum.QuorumPeerMain")
            .arg(self.folder.join("zoo.cfg"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("one more descriptor"))
            .stderr(log)
            .spawn();
        let process = process.expect("these tests need Java: apt-get install default-jre-headless");
        // Its input ends when we do.
        let guard = Command::new("sh")
            .arg("-c")
            .arg("cat >/dev/null; kill -9 \"$0\"; rm -rf \"$1\"")
            .arg(process.id().to_string())
            .arg(&self.folder)
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        self.process = Some(process);
        self.guard = Some(guard.expect("a shell"));
    }

    /// Waits until the server serves (with a quorum, if it is one of several).
    pub fn await_ready(&mut self) {
        let began = Instant::now();
        loop {
            if matches!(self.command("mntr"), Some(answer) if answer.contains("zk_server_state")) {
                return;
            }
            let ended = self.process.as_mut().and_then(|it| it.try_wait().ok().flatten());
            if ended.is_some() || began.elapsed() > START_MAX {
                let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
                panic!("ZooKeeper does not start: {log}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn address(&self) -> Ipv4Addr {
        self.place.address
    }

    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    /// `zk://127.0.0.1:port<path>`
    pub fn url(&self, path: &str) -> String {
        url(std::slice::from_ref(self), path)
    }

    /// Ends the process at once. `begin` starts it again.
    pub fn stop(&mut self) {
        for mut process in self.guard.take().into_iter().chain(self.process.take()) {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Sends a signal, by name: `STOP`, `CONT`.
    pub fn signal(&self, name: &str) {
        if let Some(pid) = self.pid() {
            let _ = Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).status();
        }
    }

    /// One of ZooKeeper's four-letter words.
    pub fn command(&self, word: &str) -> Option<String> {
        let mut stream = TcpStream::connect((self.place.address, self.port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        stream.write_all(word.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }
}

impl Drop for ZooKeeper {
    fn drop(&mut self) {
        self.stop();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The url of all of them together.
pub fn url(servers: &[ZooKeeper], path: &str) -> String {
    let hosts: Vec<String> = servers.iter().map(|it| format!("{}:{}", it.place.address, it.port)).collect();
    format!("zk://{}{path}", hosts.join(","))
}

/// Free a moment ago, which is as much as anybody can say.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("the address of a bound socket").port()
}
