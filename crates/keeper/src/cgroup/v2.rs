//! The second generation: one tree for all controllers.
//!
//! A group there either holds processes or hands controllers on to groups below it, except for the very
//! root. On a host the keeper therefore works below the root. Where it sees only a part of the tree (a
//! container, a delegated unit) its own group usually holds processes, which it first moves into a leaf
//! beside its own folders.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::v1::quota_us;
use super::{mounts, write, write_if_there};
use crate::protocol::Limits;

#[derive(Debug, PartialEq, Eq)]
pub struct V2 {
    pub dir: PathBuf,
}

const CONTROLLERS: [&str; 2] = ["cpu", "memory"];
/// Where processes go that stand in the way of handing controllers on.
const LEAF: &str = "marathon-rest";

impl V2 {
    pub fn detect(mountinfo: &str, own: &str, name: &Path) -> Result<V2, String> {
        let mounts = mounts(mountinfo);
        let mount = mounts.iter().find(|it| it.kind == "cgroup2").ok_or("no cgroup2 tree is mounted")?;
        let own = own.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/");
        let mut refusals = Vec::new();
        for parent in places(&mount.at, &mount.root, own) {
            match prepare(&parent, name) {
                Ok(dir) => return Ok(V2 { dir }),
                Err(why) => refusals.push(why),
            }
        }
        Err(refusals.join("; "))
    }

    pub fn limit_memory(dir: &Path, limits: &Limits) -> io::Result<()> {
        let Some(bytes) = limits.memory_bytes else { return Ok(()) };
        write(&dir.join("memory.max"), &bytes.to_string())?;
        write_if_there(&dir.join("memory.swap.max"), "0")?;
        // A task that has lost one of its processes is no use half alive.
        write_if_there(&dir.join("memory.oom.group"), "1")
    }

    pub fn limit_cpu(dir: &Path, limits: &Limits) -> io::Result<()> {
        write(&dir.join("cpu.weight"), &weight(limits.cpu_shares_milli).to_string())?;
        let Some(milli) = limits.cpu_quota_milli else { return Ok(()) };
        write(&dir.join("cpu.max"), &format!("{} 100000", quota_us(milli)))
    }
}

/// Where to try, best first: the root of the whole tree if this is it, then our own group.
fn places(at: &Path, root: &str, own: &str) -> Vec<PathBuf> {
    // Every group but the root has a type.
    let whole = root == "/" && !at.join("cgroup.type").exists();
    let below = own.strip_prefix(root).unwrap_or(own).trim_start_matches('/');
    let group = at.join(below);
    let mut places = Vec::new();
    if whole {
        places.push(at.to_owned());
    }
    if !places.contains(&group) && group.is_dir() {
        places.push(group);
    }
    places
}

fn prepare(parent: &Path, name: &Path) -> Result<PathBuf, String> {
    let available = fs::read_to_string(parent.join("cgroup.controllers"));
    let available = available.map_err(|error| format!("cannot read {}: {error}", parent.display()))?;
    for controller in CONTROLLERS {
        if !available.split_ascii_whitespace().any(|it| it == controller) {
            return Err(format!("{} has no {controller} controller", parent.display()));
        }
    }
    hand_on(parent)
        .or_else(|_| make_way(parent).and_then(|()| hand_on(parent)))
        .map_err(|error| refused(parent, &error))?;
    let mut dir = parent.to_owned();
    let parts: Vec<_> = name.iter().collect();
    for part in parts {
        dir.push(part);
        fs::create_dir_all(&dir).and_then(|()| hand_on(&dir)).map_err(|error| refused(&dir, &error))?;
    }
    Ok(dir)
}

fn refused(dir: &Path, error: &io::Error) -> String {
    format!("not allowed to use {}: {error}", dir.display())
}

/// Lets the groups below `dir` use the controllers.
fn hand_on(dir: &Path) -> io::Result<()> {
    let file = dir.join("cgroup.subtree_control");
    let enabled = fs::read_to_string(&file)?;
    let missing: Vec<String> = CONTROLLERS
        .iter()
        .filter(|it| !enabled.split_ascii_whitespace().any(|on| on == **it))
        .map(|it| format!("+{it}"))
        .collect();
    if missing.is_empty() { Ok(()) } else { write(&file, &missing.join(" ")) }
}

fn make_way(dir: &Path) -> io::Result<()> {
    let leaf = dir.join(LEAF);
    fs::create_dir_all(&leaf)?;
    let processes = fs::read_to_string(dir.join("cgroup.procs"))?;
    for pid in processes.lines().filter(|it| *it != "0") {
        match write(&leaf.join("cgroup.procs"), pid) {
            // It may have ended meanwhile.
            Err(error) if error.raw_os_error() != Some(nix::errno::Errno::ESRCH as i32) => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// 100, the default of every group, for a whole cpu.
fn weight(milli: u64) -> u64 {
    (milli / 10).clamp(1, 10_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder that looks like a group: `files` are names and contents.
    fn fake(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        dir
    }

    fn mounted(dir: &Path, root: &str) -> String {
        format!("1 1 0:1 {root} {} rw - cgroup2 none rw\n", dir.display())
    }

    fn detect(dir: &Path, root: &str, own: &str) -> Result<PathBuf, String> {
        V2::detect(&mounted(dir, root), own, Path::new("marathon/x")).map(|it| it.dir)
    }

    const ROOT: &[(&str, &str)] = &[
        ("cgroup.controllers", "cpuset cpu io memory pids\n"),
        ("cgroup.subtree_control", ""),
        ("marathon/cgroup.subtree_control", "cpu memory\n"),
        ("marathon/x/cgroup.subtree_control", ""),
    ];

    #[test]
    fn a_host_is_used_at_its_root() {
        let dir = fake(ROOT);
        assert_eq!(detect(dir.path(), "/", "0::/user.slice\n"), Ok(dir.path().join("marathon/x")));
        let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
        assert_eq!(read("cgroup.subtree_control"), "+cpu +memory");
        assert_eq!(read("marathon/cgroup.subtree_control"), "cpu memory\n", "already handed on");
        assert_eq!(read("marathon/x/cgroup.subtree_control"), "+cpu +memory");
    }

    #[test]
    fn a_container_is_used_at_its_own_group() {
        let mut files: Vec<(String, &str)> =
            ROOT.iter().map(|(name, text)| (format!("box/{name}"), *text)).collect();
        files.push(("cgroup.type".to_owned(), "domain\n"));
        let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), *text)).collect();
        let dir = fake(&files);
        assert_eq!(detect(dir.path(), "/", "0::/box\n"), Ok(dir.path().join("box/marathon/x")));
        assert_eq!(detect(dir.path(), "/outer", "0::/outer/box\n"), Ok(dir.path().join("box/marathon/x")));
    }

    #[test]
    fn processes_are_moved_out_of_the_way() {
        let dir = fake(&[("cgroup.procs", "12\n0\n13\n"), ("marathon-rest/cgroup.procs", "")]);
        make_way(dir.path()).unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("marathon-rest/cgroup.procs")).unwrap(), "13");
    }

    #[test]
    fn what_is_missing_is_said() {
        let dir = fake(&[("cgroup.controllers", "cpu\n"), ("cgroup.subtree_control", "")]);
        let error = detect(dir.path(), "/", "0::/\n").unwrap_err();
        assert!(error.ends_with("has no memory controller"), "{error}");
        assert_eq!(V2::detect("", "", Path::new("x")).unwrap_err(), "no cgroup2 tree is mounted");
    }

    fn check(limits: Limits, expected: &[(&str, &str)]) {
        let names = ["cpu.weight", "cpu.max", "memory.max", "memory.swap.max", "memory.oom.group"];
        let dir = fake(&names.map(|name| (name, "")));
        V2::limit_memory(dir.path(), &limits).and_then(|()| V2::limit_cpu(dir.path(), &limits)).unwrap();
        for name in names {
            let wanted = expected.iter().find(|(it, _)| *it == name).map_or("", |(_, text)| *text);
            assert_eq!(fs::read_to_string(dir.path().join(name)).unwrap(), wanted, "{name}");
        }
    }

    #[test]
    fn limits_become_files() {
        let none = Limits { cpu_shares_milli: 1000, cpu_quota_milli: None, memory_bytes: None };
        check(none, &[("cpu.weight", "100")]);
        check(Limits { cpu_shares_milli: 1, ..none }, &[("cpu.weight", "1")]);
        check(
            Limits { cpu_quota_milli: Some(250), ..none },
            &[("cpu.weight", "100"), ("cpu.max", "25000 100000")],
        );
        check(
            Limits { memory_bytes: Some(4096), ..none },
            &[
                ("cpu.weight", "100"),
                ("memory.max", "4096"),
                ("memory.swap.max", "0"),
                ("memory.oom.group", "1"),
            ],
        );
    }

    #[test]
    fn kernels_without_swap_counting_will_do() {
        let dir = fake(&[("memory.max", "")]);
        let limits = Limits { cpu_shares_milli: 10, cpu_quota_milli: None, memory_bytes: Some(1) };
        V2::limit_memory(dir.path(), &limits).unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("memory.max")).unwrap(), "1");
    }
}
