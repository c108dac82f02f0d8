//! Where the processes of a run live, and what is between them.
//!
//! ```text
//! root:   1 2 3 instances   4 5 6 ZooKeeper   7 Mesos: each in a network namespace of its own
//!         └─┴─┴──────────────┴─┴─┴─────────────┴─ bridge (in one more) ─ .254: the clients
//! else:   all on this machine; wires (TCP proxies) between instances and ZooKeepers can be cut
//! ```
//! In namespaces a cut drops packets, so nobody is told: neither who sends nor who waits.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

/// A place for one process, by the last number of its address.
pub type Host = u8;
pub const INSTANCES: [Host; 3] = [1, 2, 3];
pub const ZOOKEEPERS: [Host; 3] = [4, 5, 6];
pub const MESOS: Host = 7;
pub const HOSTS: std::ops::RangeInclusive<Host> = 1..=7;

pub struct Lab {
    pub folder: PathBuf,
    net: Net,
    cuts: BTreeSet<(Host, Host)>,
    /// Removes everything when we are gone, however we went.
    guard: Option<Child>,
}

enum Net {
    /// The third number of all addresses, and part of all names.
    Namespaces(u8),
    Wires(Vec<(Host, Host, Wire)>),
}

fn ip(arguments: &str) -> bool {
    let done = Command::new("ip").args(arguments.split(' ')).stderr(Stdio::null()).status();
    done.is_ok_and(|it| it.success())
}

/// Its input ends when we do. `$0` is the beginning of all names, `$1` the folder, `$2` a control group.
const GUARD: &str = "trap '' INT TERM HUP; cat >/dev/null
for name in $(ip netns list 2>/dev/null | cut -d' ' -f1 | grep \"^$0h[1-9]$\"); do
  for pid in $(ip netns pids $name); do kill -9 $pid; done; ip netns del $name
done
ip netns del $0 2>/dev/null
rm -rf \"$1\"
for try in 1 2 3 4 5; do rmdir \"$2\" 2>/dev/null; [ -e \"$2\" ] || break; sleep 0.2; done";

impl Lab {
    pub fn new(group: &Path) -> Lab {
        let folder = std::env::temp_dir().join(format!("marathon-ha-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        // Another run may have the first number.
        let numbers = (0..10).map(|it| ((std::process::id() + it) % 200) as u8 + 20);
        let net = numbers.into_iter().find(|it| ip(&format!("netns add mh{it}")));
        let name = net.map_or("-".to_owned(), |it| format!("mh{it}"));
        let guard = Command::new("sh")
            .args(["-c", GUARD, &name, &folder.display().to_string(), &group.display().to_string()])
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (cuts, guard) = (BTreeSet::new(), Some(guard));
        let Some(net) = net else {
            println!(
                "ha: no network namespaces (they need root): only ways from instances to ZooKeepers can be cut"
            );
            return Lab { folder, net: Net::Wires(Vec::new()), cuts, guard };
        };
        let lab = Lab { folder, net: Net::Namespaces(net), cuts, guard };
        // The bridge is in a namespace of its own: on this machine others may filter what crosses a bridge.
        for step in [
            format!("-n {name} link add br0 type bridge"),
            format!("-n {name} link set br0 up"),
            format!("link add {name} type veth peer name us netns {name}"),
            format!("-n {name} link set us master br0 up"),
            format!("addr add 10.98.{net}.254/24 dev {name}"),
            format!("link set {name} up"),
        ] {
            assert!(ip(&step), "ip {step}");
        }
        for host in HOSTS {
            for step in [
                format!("netns add {name}h{host}"),
                format!("-n {name}h{host} link add eth0 type veth peer name h{host} netns {name}"),
                format!("-n {name} link set h{host} master br0 up"),
                format!("-n {name}h{host} addr add 10.98.{net}.{host}/24 dev eth0"),
                format!("-n {name}h{host} link set eth0 up"),
                format!("-n {name}h{host} link set lo up"),
            ] {
                assert!(ip(&step), "ip {step}");
            }
        }
        lab
    }

    pub fn has_namespaces(&self) -> bool {
        matches!(self.net, Net::Namespaces(_))
    }

    pub fn address(&self, host: Host) -> Ipv4Addr {
        match self.net {
            Net::Namespaces(net) => Ipv4Addr::new(10, 98, net, host),
            // ZooKeepers and masters listen where everybody looks.
            Net::Wires(_) if INSTANCES.contains(&host) => Ipv4Addr::new(127, 0, 0, host),
            Net::Wires(_) => Ipv4Addr::LOCALHOST,
        }
    }

    /// What comes before a program so that it runs on a host, and ends with us.
    pub fn through(&self, host: Host) -> Vec<String> {
        let mut words = Vec::new();
        if let Net::Namespaces(net) = self.net {
            words.extend(["ip".to_owned(), "netns".into(), "exec".into(), format!("mh{net}h{host}")]);
        }
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

    /// Ways that can be cut here.
    pub fn pairs(&self) -> Vec<(Host, Host)> {
        match &self.net {
            Net::Namespaces(_) => HOSTS.flat_map(|a| (a + 1..=MESOS).map(move |b| (a, b))).collect(),
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
                let rule =
                    format!("netns exec mh{net}h{to} iptables -w -A INPUT -s 10.98.{net}.{from} -j DROP");
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
                    let rule = format!("netns exec mh{net}h{host} iptables -w -F INPUT");
                    assert!(ip(&rule), "ip {rule}");
                }
            }
            Net::Wires(wires) => wires.iter().for_each(|(_, _, it)| it.state.store(OPEN, Ordering::Relaxed)),
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Some(mut guard) = self.guard.take() {
            drop(guard.stdin.take());
            let _ = guard.wait();
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
