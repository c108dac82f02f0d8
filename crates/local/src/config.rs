//! What the engine must be told, and what it can find out about this machine.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use marathon_model::offer::{Attribute, IpAddress};
use marathon_model::resources::{ANY_ROLE, Amount, Milli, PortRange, Resource, Role};

use crate::sandbox::Retention;
use crate::secrets::{NoSecrets, Secrets};

#[derive(Debug, Clone)]
pub struct LocalConfig {
    /// Everything of this engine lies below: `<data_dir>/local`.
    pub dir: PathBuf,
    /// Our own binary: it is also the keeper (`marathon keeper`) and the runner of containers
    /// (`marathon docker-run`).
    pub executable: PathBuf,
    /// Names the build of the binary; a keeper of another build replaces itself.
    pub build: String,
    pub hostname: String,
    /// By role; what is missing of cpus, mem, disk and ports is detected, see [`complete`].
    pub resources: Vec<Resource>,
    pub attributes: BTreeMap<String, Attribute>,
    /// The roles to which offers are made, in order of preference.
    pub roles: Vec<Role>,
    pub region: Option<String>,
    pub zone: Option<String>,
    /// Whether tasks outlive the server.
    pub checkpoint: bool,
    /// How long they do.
    pub failover_timeout: Duration,
    /// `None`: the usual place.
    pub docker_socket: Option<PathBuf>,
    /// Size at which `stdout` and `stderr` of a task are rotated, and how many old files are kept.
    pub log_bytes: u64,
    pub log_files: u32,
    /// Whether the cpus of a task are also the most it may use.
    pub cpu_hard_limit: bool,
    /// Whether tasks get cgroups at all.
    pub isolation: bool,
    pub fetch_cache_bytes: u64,
    /// For apps without `user`. `None`: whoever runs this server; note that this may be root.
    pub default_user: Option<String>,
    /// From SIGTERM to SIGKILL, where neither the app nor the kill says otherwise.
    pub default_grace: Duration,
    /// Who knows the values of secrets.
    pub secrets: Arc<dyn Secrets>,
    /// A folder with seccomp profiles, in the form Docker reads.
    pub seccomp_dir: Option<PathBuf>,
    pub retention: Retention,
}

impl LocalConfig {
    /// Defaults of a Mesos agent, with everything this machine has.
    pub fn new(dir: PathBuf, executable: PathBuf, build: &str) -> LocalConfig {
        LocalConfig {
            dir,
            executable,
            build: build.to_owned(),
            hostname: nix::unistd::gethostname()
                .map_or_else(|_| "localhost".to_owned(), |it| it.to_string_lossy().into_owned()),
            resources: Vec::new(),
            attributes: BTreeMap::new(),
            roles: vec![Arc::from(ANY_ROLE)],
            region: None,
            zone: None,
            checkpoint: true,
            failover_timeout: Duration::from_secs(604_800),
            docker_socket: None,
            log_bytes: 10 << 20,
            log_files: 9,
            cpu_hard_limit: false,
            isolation: true,
            fetch_cache_bytes: 2 << 30,
            default_user: None,
            default_grace: Duration::from_secs(3),
            secrets: Arc::new(NoSecrets),
            seccomp_dir: None,
            retention: Retention::default(),
        }
    }
}

/// What this machine has: all cpus, memory and free disk less a reserve, ports 31000 to 32000.
pub fn detect_resources() -> Vec<Resource> {
    detect(Path::new("/"))
}

fn detect(disk: &Path) -> Vec<Resource> {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let mem_mib = memory_mib(&fs::read_to_string("/proc/meminfo").unwrap_or_default()).unwrap_or(1024);
    let ports = vec![PortRange { first: 31000, last: 32000 }];
    [
        Amount::Cpus(Milli::from_whole(cpus)),
        Amount::Mem(Milli::from_whole(less_reserve(mem_mib, 1024))),
        Amount::Disk(Milli::from_whole(less_reserve(disk_mib(disk).unwrap_or(0), 5 * 1024))),
        Amount::Ports(ports),
    ]
    .into_iter()
    .map(|amount| Resource::new(ANY_ROLE, amount))
    .collect()
}

/// A Mesos agent keeps 1 GiB of memory and 5 GiB of disk for the machine itself, or half if there is
/// less than twice as much.
fn less_reserve(all: u64, reserve: u64) -> u64 {
    if all < 2 * reserve { all / 2 } else { all - reserve }
}

fn memory_mib(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find(|it| it.starts_with("MemTotal:"))?;
    Some(line.split_ascii_whitespace().nth(1)?.parse::<u64>().ok()? / 1024)
}

fn disk_mib(path: &Path) -> Option<u64> {
    let stat = nix::sys::statvfs::statvfs(path).ok()?;
    Some(stat.blocks_available().saturating_mul(stat.fragment_size()) >> 20)
}

/// Adds what was not given of cpus, mem, disk and ports, as a Mesos agent does. Disk is that of
/// `dir`.
pub fn complete(mut given: Vec<Resource>, dir: &Path) -> Vec<Resource> {
    // The folder may not exist yet.
    let disk = dir.ancestors().find(|it| it.exists()).unwrap_or(Path::new("/"));
    let kind = |it: &Resource| std::mem::discriminant(&it.amount);
    for found in detect(disk) {
        if !given.iter().any(|it| kind(it) == kind(&found)) {
            given.push(found);
        }
    }
    given
}

/// The address under which this machine reaches others. Nothing is sent to find it out.
pub(crate) fn primary_address() -> IpAddress {
    let find = || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    let address = find().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    IpAddress { address: Arc::from(address.to_string()), ipv6: address.is_ipv6() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_missing_is_detected() {
        let given = marathon_flags::resources::parse_resources("cpus(prod):2;mem:100;ports:[1-2]").unwrap();
        let all = complete(given.clone(), Path::new("/no/such/folder"));
        assert_eq!(&all[..3], given);
        assert!(matches!(all[3..], [Resource { amount: Amount::Disk(_), .. }]));
        assert_eq!(detect_resources().len(), 4);
    }

    #[test]
    fn some_is_kept_for_the_machine() {
        for (all, want) in [(1000, 500), (2048, 1024), (8192, 7168)] {
            assert_eq!(less_reserve(all, 1024), want);
        }
        assert_eq!(memory_mib("MemTotal:       16384000 kB\nMemFree: 1 kB\n"), Some(16000));
    }
}
