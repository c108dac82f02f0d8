//! The first generation: one tree per controller.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{Mount, mounts, write, write_if_there};
use crate::protocol::Limits;

#[derive(Debug, PartialEq, Eq)]
pub struct V1 {
    pub memory: PathBuf,
    pub cpu: PathBuf,
}

/// Length of the periods in which cpu quotas are counted: what every new group starts with.
const PERIOD_US: u64 = 100_000;

impl V1 {
    pub fn detect(mountinfo: &str, name: &Path) -> Result<V1, String> {
        let mounts = mounts(mountinfo);
        let place = |controller: &str| -> Result<PathBuf, String> {
            let mount = mounts.iter().find(|it| has(it, controller));
            let mount = mount.ok_or_else(|| format!("no {controller} controller is mounted"))?;
            let dir = mount.at.join(name);
            fs::create_dir_all(&dir).map_err(|error| format!("cannot make {}: {error}", dir.display()))?;
            Ok(dir)
        };
        Ok(V1 { memory: place("memory")?, cpu: place("cpu")? })
    }

    /// Memory first, as `Group` expects.
    pub fn dirs(&self) -> [&PathBuf; 2] {
        [&self.memory, &self.cpu]
    }

    pub fn limit_memory(dir: &Path, limits: &Limits) -> io::Result<()> {
        let Some(bytes) = limits.memory_bytes else { return Ok(()) };
        write(&dir.join("memory.limit_in_bytes"), &bytes.to_string())?;
        // Together with swap; absent where the kernel does not count swap.
        write_if_there(&dir.join("memory.memsw.limit_in_bytes"), &bytes.to_string())
    }

    pub fn limit_cpu(dir: &Path, limits: &Limits) -> io::Result<()> {
        write(&dir.join("cpu.shares"), &shares(limits.cpu_shares_milli).to_string())?;
        let Some(milli) = limits.cpu_quota_milli else { return Ok(()) };
        write(&dir.join("cpu.cfs_quota_us"), &quota_us(milli).to_string())
    }
}

fn has(mount: &Mount, controller: &str) -> bool {
    mount.kind == "cgroup" && mount.options.iter().any(|it| it == controller)
}

/// 1024 for a whole cpu; the kernel takes no less than 2.
fn shares(milli: u64) -> u64 {
    (milli.saturating_mul(1024) / 1000).clamp(2, 262_144)
}

/// Cpu time per period; the kernel takes no less than a millisecond.
pub fn quota_us(milli: u64) -> u64 {
    (milli.saturating_mul(PERIOD_US) / 1000).clamp(1000, 1 << 40)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_quotas_stay_in_range() {
        for (milli, expected) in [(0, 2), (1, 2), (100, 102), (1000, 1024), (u64::MAX, 262_144)] {
            assert_eq!(shares(milli), expected, "{milli}");
        }
        for (milli, expected) in [(0, 1000), (1, 1000), (500, 50_000), (2000, 200_000)] {
            assert_eq!(quota_us(milli), expected, "{milli}");
        }
    }

    #[test]
    fn controllers_may_share_a_mount() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().display();
        let text = format!("1 1 0:1 / {at} rw - cgroup none rw,cpu,cpuacct,memory\n");
        let found = V1::detect(&text, Path::new("marathon/x")).unwrap();
        let expected = dir.path().join("marathon/x");
        assert_eq!(found, V1 { memory: expected.clone(), cpu: expected });
    }

    #[test]
    fn what_is_missing_is_said() {
        let error =
            V1::detect("1 1 0:1 / /nowhere rw - cgroup none rw,cpuset\n", Path::new("x")).unwrap_err();
        assert_eq!(error, "no memory controller is mounted");
    }
}
