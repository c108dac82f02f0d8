//! Where the processes of a run live, and what is between them.
//!
//! ```text
//! root:   1 2 3 instances   4 5 6 ZooKeeper   7 Mesos   8 HAProxy   9 nginx: each in a network namespace of its own
//!         └─┴─┴──────────────┴─┴─┴─────────────┴─────────┴───────────┴─ bridge (in one more) ─ .254: the clients
//! else:   all on this machine; wires (TCP proxies) between instances and ZooKeepers can be cut
//! ```
//! In namespaces a cut drops packets, so nobody is told: neither who sends nor who waits.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

pub use super::nets::Host;
use super::nets::{Guard, Net as Namespaces, ip, schemes};

pub const INSTANCES: [Host; 3] = [1, 2, 3];
pub const ZOOKEEPERS: [Host; 3] = [4, 5, 6];
pub const MESOS: Host = 7;
pub const HAPROXY: Host = 8;
pub const NGINX: Host = 9;
pub const HOSTS: std::ops::RangeInclusive<Host> = 1..=9;

pub struct Lab {
    pub folder: PathBuf,
    /// What only root may write to.
    pub safe: PathBuf,
    net: Net,
    cuts: BTreeSet<(Host, Host)>,
    /// Dropped last.
    _guard: Guard,
}

enum Net {
    Namespaces(Namespaces),
    Wires(Vec<(Host, Host, Wire)>),
}

impl Lab {
    pub fn new(group: &Path) -> Lab {
        let folder = std::env::temp_dir().join(format!("marathon-ha-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let net = Namespaces::claim("mh", 98);
        let safe = if net.is_some() { schemes::folder("ha") } else { folder.clone() };
        let guard = Guard::new(net.as_ref(), group, &[&folder, &safe]);
        let net = match net {
            Some(net) => {
                net.build(HOSTS);
                Net::Namespaces(net)
            }
            None => {
                println!(
                    "ha: no network namespaces (they need root): only ways from instances to ZooKeepers can be cut"
                );
                Net::Wires(Vec::new())
            }
        };
        Lab { folder, safe, net, cuts: BTreeSet::new(), _guard: guard }
    }

    pub fn namespaces(&self) -> Option<&Namespaces> {
        match &self.net {
            Net::Namespaces(net) => Some(net),
            Net::Wires(_) => None,
        }
    }

    pub fn has_namespaces(&self) -> bool {
        self.namespaces().is_some()
    }

    pub fn address(&self, host: Host) -> Ipv4Addr {
        match &self.net {
            Net::Namespaces(net) => net.address(host),
            // ZooKeepers and masters listen where everybody looks.
            Net::Wires(_) if INSTANCES.contains(&host) => Ipv4Addr::new(127, 0, 0, host),
            Net::Wires(_) => Ipv4Addr::LOCALHOST,
        }
    }

    /// What comes before a program so that it runs on a host, and ends with us.
    pub fn through(&self, host: Host) -> Vec<String> {
        let mut words = self.namespaces().map(|it| it.through(host)).unwrap_or_default();
        words.extend(["setpriv", "--pdeathsig", "KILL"].map(str::to_owned));
        words
    }

    /// Where `from` finds what listens on another host.
    pub fn way(&mut self, from: Host, to: Host, port: u16) -> SocketAddr {
        let there = (self.address(to), port).into();
        match &mut self.net {
            Net::Namespaces(_) => there,
            Net::Wires(wires) => {
                let wire = Wire::new(there);
                let port = wire.port;
                wires.push((from, to, wire));
                (Ipv4Addr::LOCALHOST, port).into()
            }
        }
    }

    /// Ways that can be cut here and that something goes: balancers speak to instances only.
    pub fn pairs(&self) -> Vec<(Host, Host)> {
        match &self.net {
            Net::Namespaces(_) => HOSTS
                .flat_map(|a| (a + 1..=NGINX).map(move |b| (a, b)))
                .filter(|(a, b)| *b < HAPROXY || INSTANCES.contains(a))
                .collect(),
            Net::Wires(wires) => wires.iter().map(|(from, to, _)| (*from, *to)).collect(),
        }
    }

    /// From now on nothing gets from one host to the other. The way back is another way.
    pub fn cut(&mut self, from: Host, to: Host) {
        if !self.cuts.insert((from, to)) {
            return;
        }
        match &self.net {
            Net::Namespaces(net) => {
                let (there, source) = (net.host(to), net.address(from));
                let rule = format!("netns exec {there} iptables -w -A INPUT -s {source} -j DROP");
                assert!(ip(&rule), "ip {rule}");
            }
            Net::Wires(wires) => {
                for (near, far, wire) in wires {
                    if (*near, *far) == (from, to) {
                        wire.state.fetch_or(MUTE, Ordering::Relaxed);
                    }
                    if (*near, *far) == (to, from) {
                        wire.state.fetch_or(DEAF, Ordering::Relaxed);
                    }
                }
            }
        }
    }

    pub fn heal(&mut self) {
        let hosts: BTreeSet<Host> = std::mem::take(&mut self.cuts).into_iter().map(|(_, to)| to).collect();
        match &self.net {
            Net::Namespaces(net) => {
                for host in hosts {
                    let rule = format!("netns exec {} iptables -w -F INPUT", net.host(host));
                    assert!(ip(&rule), "ip {rule}");
                }
            }
            Net::Wires(wires) => wires.iter().for_each(|(_, _, it)| it.state.store(OPEN, Ordering::Relaxed)),
        }
    }
}

/// Which direction of a wire lets nothing through.
const OPEN: u8 = 0;
const DEAF: u8 = 1;
const MUTE: u8 = 2;

struct Wire {
    port: u16,
    state: Arc<AtomicU8>,
}

impl Wire {
    fn new(to: SocketAddr) -> Wire {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(AtomicU8::new(OPEN));
        let shared = state.clone();
        std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let Ok(far) = TcpStream::connect(to) else { continue };
                let (near2, far2) = (near.try_clone().unwrap(), far.try_clone().unwrap());
                let (up, down) = (shared.clone(), shared.clone());
                std::thread::spawn(move || pump(near, far, &up, MUTE));
                std::thread::spawn(move || pump(far2, near2, &down, DEAF));
            }
        });
        Wire { port, state }
    }
}

/// A direction that is cut holds back what comes, as a network that drops packets makes a connection do.
fn pump(mut from: TcpStream, mut to: TcpStream, state: &AtomicU8, cut: u8) {
    let mut buffer = [0; 16 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        while state.load(Ordering::Relaxed) & cut != 0 {
            std::thread::sleep(Duration::from_millis(5));
        }
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}
