//! Hosts for tests: network namespaces on a bridge, and the programs of `deploy/` on them. Needs root.
//!
//! ```text
//! .1 .2 … hosts, a namespace each
//!  └──┴── bridge, in one more ── .254: the test
//! ```
#![allow(clippy::unwrap_used, dead_code)]

pub mod schemes;

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A place for processes, by the last number of its address.
pub type Host = u8;

pub fn ip(arguments: &str) -> bool {
    let done = Command::new("ip").args(arguments.split(' ')).stderr(Stdio::null()).status();
    done.is_ok_and(|it| it.success())
}

pub struct Net {
    /// Of the bridge's namespace, and the beginning of all names.
    pub name: String,
    /// The second and third number of all addresses.
    numbers: (u8, u8),
}

impl Net {
    /// A name and addresses that nobody has, and nothing else yet. `None`: this machine, or this user, has no namespaces.
    pub fn claim(prefix: &str, second: u8) -> Option<Net> {
        // Another run may have the first number.
        let mut thirds = (0..10).map(|it| ((std::process::id() + it) % 200) as u8 + 20);
        let third = thirds.find(|it| ip(&format!("netns add {prefix}{it}")))?;
        Some(Net { name: format!("{prefix}{third}"), numbers: (second, third) })
    }

    pub fn build(&self, hosts: RangeInclusive<Host>) {
        let name = &self.name;
        // The bridge is in a namespace of its own: on this machine others may filter what crosses a bridge.
        for step in [
            format!("-n {name} link add br0 type bridge"),
            format!("-n {name} link set br0 up"),
            format!("link add {name} type veth peer name us netns {name}"),
            format!("-n {name} link set us master br0 up"),
            format!("addr add {}/24 dev {name}", self.address(254)),
            format!("link set {name} up"),
        ] {
            assert!(ip(&step), "ip {step}");
        }
        for host in hosts {
            let (own, address) = (self.host(host), self.address(host));
            for step in [
                format!("netns add {own}"),
                format!("-n {own} link add eth0 type veth peer name h{host} netns {name}"),
                format!("-n {name} link set h{host} master br0 up"),
                format!("-n {own} addr add {address}/24 dev eth0"),
                format!("-n {own} link set eth0 up"),
                format!("-n {own} link set lo up"),
            ] {
                assert!(ip(&step), "ip {step}");
            }
        }
    }

    pub fn host(&self, host: Host) -> String {
        format!("{}h{host}", self.name)
    }

    pub fn address(&self, host: Host) -> Ipv4Addr {
        Ipv4Addr::new(10, self.numbers.0, self.numbers.1, host)
    }

    /// What comes before a program so that it runs on a host. `ip netns exec` becomes the program: its pid is the program's.
    pub fn through(&self, host: Host) -> Vec<String> {
        vec!["ip".to_owned(), "netns".into(), "exec".into(), self.host(host)]
    }

    /// Whether a host has an address at the moment.
    pub fn holds(&self, host: Host, address: Ipv4Addr) -> bool {
        let shown =
            Command::new("ip").args(["-n", &self.host(host), "-4", "addr", "show", "dev", "eth0"]).output();
        String::from_utf8_lossy(&shown.unwrap().stdout).contains(&format!("{address}/"))
    }
}

/// Its input ends when we do. `$0` is the beginning of all names, `$1` a control group, the rest folders.
const GUARD: &str = "trap '' INT TERM HUP; cat >/dev/null
for name in $(ip netns list 2>/dev/null | cut -d' ' -f1 | grep \"^$0h[1-9]$\"); do
  for pid in $(ip netns pids $name); do kill -9 $pid; done; ip netns del $name
done
ip netns del $0 2>/dev/null
group=$1; shift; rm -rf \"$@\"
for try in 1 2 3 4 5; do rmdir \"$group\" 2>/dev/null; [ -e \"$group\" ] || break; sleep 0.2; done";

/// Removes everything when we are gone, however we went.
pub struct Guard(Child);

impl Guard {
    /// Of a net, if there is one, a control group that need not exist, and folders.
    pub fn new(net: Option<&Net>, group: &Path, folders: &[&Path]) -> Guard {
        let child = Command::new("sh")
            .args(["-c", GUARD, net.map_or("-", |it| &it.name)])
            .arg(group)
            .args(folders)
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        Guard(child.unwrap())
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}
