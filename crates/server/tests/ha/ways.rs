//! The ways to a leader: any instance, or one of the schemes of `deploy/`, with the real programs and files.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use super::client::{Answer, ask_and_see};
use super::cluster::{Cluster, signal, spawn};
use super::history::{Share, Way};
use super::lab::{HAPROXY, Host, INSTANCES, Lab, NGINX};
use super::nets::schemes::{self, VIRTUAL};

/// Requests of which the share that was passed on is judged in the end.
const SAMPLE: u64 = 20;

const BURIAL: Duration = Duration::from_secs(10);

/// Of nine clients. Each way has some that write much, and some whose tasks run for long.
const BY_CLIENT: [Way; 9] = [
    Way::Direct,
    Way::Direct,
    Way::Direct,
    Way::HaProxy,
    Way::HaProxy,
    Way::Nginx,
    Way::Nginx,
    Way::VirtualAddress,
    Way::VirtualAddress,
];

impl Way {
    /// Directly where the scheme is left out.
    pub fn of(client: usize, there: &[(Way, SocketAddr)]) -> Way {
        let way = BY_CLIENT[client % BY_CLIENT.len()];
        if there.iter().any(|it| it.0 == way) { way } else { Way::Direct }
    }
}

pub struct Balancers {
    programs: Vec<Program>,
    /// One address for all, by each scheme that is here.
    pub addresses: Vec<(Way, SocketAddr)>,
}

/// HAProxy, nginx, or keepalived of one instance.
struct Program {
    words: Vec<String>,
    log: PathBuf,
    child: Child,
}

impl Program {
    fn pids(&self) -> Vec<u32> {
        [vec![self.child.id()], children(self.child.id())].concat()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // What it began is ended with the namespaces.
        let _ = (self.child.kill(), self.child.wait());
    }
}

impl Balancers {
    pub fn start(lab: &Lab) -> Balancers {
        let mut all = Balancers { programs: Vec::new(), addresses: Vec::new() };
        let Some(net) = lab.namespaces() else {
            println!("ha: left out: HAProxy, nginx and the virtual address (they need network namespaces)");
            return all;
        };
        for (way, program, hosts, address) in [
            (Way::HaProxy, "haproxy", &[HAPROXY][..], HAPROXY),
            (Way::Nginx, "nginx", &[NGINX], NGINX),
            (Way::VirtualAddress, "keepalived", &INSTANCES, VIRTUAL),
        ] {
            if !schemes::is_installed(program) {
                println!("ha: left out: the way by {program}, which is not installed");
                continue;
            }
            for host in hosts {
                let own = match way {
                    Way::HaProxy => schemes::haproxy(net, &lab.safe),
                    Way::Nginx => schemes::nginx(net, &lab.safe),
                    _ => schemes::keepalived(net, &lab.safe, *host),
                };
                all.begin_at(lab, program, *host, &own);
            }
            all.addresses.push((way, (net.address(address), 8080).into()));
        }
        all
    }

    fn begin_at(&mut self, lab: &Lab, program: &str, host: Host, own: &[String]) {
        let words = [&lab.through(host), own].concat();
        let log = lab.folder.join(format!("{program}{host}.log"));
        let child = spawn(&words, &[], &log);
        self.programs.push(Program { words, log, child });
    }

    pub fn count(&self) -> usize {
        self.programs.len()
    }

    /// With all that it began. Nothing if it is gone: its number may be another's by now.
    pub fn signal(&mut self, at: usize, name: &str) {
        if let Ok(None) = self.programs[at].child.try_wait() {
            self.programs[at].pids().into_iter().for_each(|it| signal(it, name));
        }
    }

    pub fn kill(&mut self, at: usize) {
        let pids = self.programs[at].pids();
        self.signal(at, "KILL");
        let _ = self.programs[at].child.wait();
        // Who inherits its children may be slow to bury them, and keepalived takes a dead one for itself.
        let (began, is_there) = (Instant::now(), |it: &u32| Path::new(&format!("/proc/{it}")).exists());
        while pids.iter().any(is_there) && began.elapsed() < BURIAL {
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn begin(&mut self, at: usize) {
        let it = &mut self.programs[at];
        // One that was killed twice begins once.
        let _ = (it.child.kill(), it.child.wait());
        it.child = spawn(&it.words, &[], &it.log);
    }

    /// `Some`: it ended by itself.
    pub fn ended(&mut self) -> Option<String> {
        let told = |it: &mut Program| {
            let ended = it.child.try_wait().ok().flatten()?;
            let log = std::fs::read_to_string(&it.log).unwrap_or_default();
            Some(format!("a balancer ended by itself: {}: {ended}\n{log}", it.words.join(" ")))
        };
        self.programs.iter_mut().find_map(told)
    }
}

fn children(of: u32) -> Vec<u32> {
    let parent = |pid: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // Behind the name, which may hold anything: state, parent.
        stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse::<u32>().ok()
    };
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = all.filter_map(|it| it.file_name().to_str()?.parse().ok());
    pids.filter(|it| parent(*it) == Some(of)).collect()
}

/// Waits until nothing is passed on any more, and tells what was in the end.
pub fn shares(cluster: &Cluster, limit: Duration) -> Vec<Share> {
    let began = Instant::now();
    let share = |way: Way, address: &dyn Fn(u64) -> SocketAddr| {
        let (mut passed_on, mut failed) = (0, 0);
        for at in 0..SAMPLE {
            match ask_and_see(address(at), "GET", "/v2/apps?id=client0", "") {
                (Answer::Status(200, _), head) => passed_on += u64::from(head.passed_on),
                _ => failed += 1,
            }
        }
        Share { way, asked: SAMPLE, passed_on, failed }
    };
    let instances = cluster.addresses();
    let mut all = vec![share(Way::Direct, &|at| instances[at as usize % 3])];
    for (way, address) in &cluster.balancers.addresses {
        loop {
            let it = share(*way, &|_| *address);
            let quiet = it.passed_on + it.failed == 0;
            if quiet || limit < began.elapsed() {
                all.push(it);
                break;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    all
}
