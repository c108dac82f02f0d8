//! Limits of tasks: one control group each, in either generation of the kernel's interface.
//!
//! ```text
//! v1   <memory mount>/marathon/<hash of the data folder>/<slot>    and the same below the cpu mount
//! v2   <unified mount, or our own place in it>/marathon/<hash>/<slot>
//! ```
//! What the keeper may do here is found out once, when it starts. A task remembers its own folders, so
//! that a later keeper finds them even if it would choose others.

mod v1;
mod v2;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::journal::Slot;
use crate::protocol::{Cgroups, Limits};

pub use v1::V1;
pub use v2::V2;

/// What can be enforced here.
#[derive(Debug)]
pub enum Base {
    V1(V1),
    V2(V2),
    None { why: String },
}

/// The group of one task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    unified: bool,
    /// One folder per controller (v1), or a single one (v2). The first one accounts for memory.
    dirs: Vec<PathBuf>,
}

impl Base {
    /// Looks for a place where this process may make groups; `dir` tells data folders apart.
    pub fn detect(dir: &Path) -> Base {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let name = Path::new("marathon").join(short_hash(dir.as_os_str().as_encoded_bytes()));
        let first = match V1::detect(&mounts, &name) {
            Ok(found) => return Base::V1(found),
            Err(why) => why,
        };
        match V2::detect(&mounts, &own, &name) {
            Ok(found) => Base::V2(found),
            Err(why) => Base::None { why: format!("cgroups v1: {first}; v2: {why}") },
        }
    }

    pub fn describe(&self) -> Cgroups {
        match self {
            Base::V1(_) => Cgroups::V1,
            Base::V2(_) => Cgroups::V2,
            Base::None { why } => Cgroups::None { why: why.clone() },
        }
    }

    /// The group a task would get, made by `create`; none where limits cannot be enforced.
    pub fn group(&self, slot: Slot) -> Option<Group> {
        let name = slot.to_string();
        match self {
            Base::V1(it) => Some(Group { unified: false, dirs: it.dirs().map(|dir| dir.join(&name)).into() }),
            Base::V2(it) => Some(Group { unified: true, dirs: vec![it.dir.join(&name)] }),
            Base::None { .. } => None,
        }
    }

    /// Makes the group, with all limits but those of cpu time. Those come after the start, by
    /// `limit_cpu`: a program with a small share on a busy machine would wait long for being loaded, and
    /// the keeper with it.
    pub fn create(&self, group: &Group, limits: &Limits) -> io::Result<()> {
        for dir in &group.dirs {
            match fs::create_dir(dir) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
        match (self, group.dirs.as_slice()) {
            (Base::V1(_), [memory, _]) => V1::limit_memory(memory, limits),
            (Base::V2(_), [dir]) => V2::limit_memory(dir, limits),
            _ => Ok(()),
        }
    }

    pub fn limit_cpu(&self, group: &Group, limits: &Limits) -> io::Result<()> {
        match (self, group.dirs.as_slice()) {
            (Base::V1(_), [_, cpu]) => V1::limit_cpu(cpu, limits),
            (Base::V2(_), [dir]) => V2::limit_cpu(dir, limits),
            _ => Ok(()),
        }
    }

    /// Groups of this data folder that belong to none of `known`: left by tasks long forgotten.
    pub fn leftovers(&self, known: impl Fn(Slot) -> bool) -> Vec<Group> {
        let dir = match self {
            Base::V1(it) => &it.memory,
            Base::V2(it) => &it.dir,
            Base::None { .. } => return Vec::new(),
        };
        let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
        entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<Slot>().ok())
            .filter(|slot| !known(*slot))
            .filter_map(|slot| self.group(slot))
            .collect()
    }

    /// Removes the folders themselves, if no group is left in them. Never anything with a process in it:
    /// the kernel refuses that.
    pub fn tidy(&self) {
        let dirs: Vec<&PathBuf> = match self {
            Base::V1(it) => it.dirs().to_vec(),
            Base::V2(it) => vec![&it.dir],
            Base::None { .. } => Vec::new(),
        };
        for dir in dirs {
            let _ = fs::remove_dir(dir);
            dir.parent().map(fs::remove_dir);
        }
    }
}

impl Group {
    /// The files a process writes itself into to join.
    ///
    /// In v1 that is the one for threads, of which a new process has one: a thread that moves itself
    /// spares the kernel the lock that moving a process needs, which takes it milliseconds.
    pub fn entrances(&self) -> io::Result<Vec<File>> {
        let name = if self.unified { "cgroup.procs" } else { "tasks" };
        self.dirs.iter().map(|dir| OpenOptions::new().write(true).open(dir.join(name))).collect()
    }

    /// All processes in the group.
    pub fn pids(&self) -> Vec<i32> {
        let Some(dir) = self.dirs.first() else { return Vec::new() };
        let text = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
        // A process of another pid namespace shows as 0, which to `kill` would mean ourselves.
        text.lines().filter_map(|it| it.parse().ok()).filter(|pid| *pid > 0).collect()
    }

    /// Sends SIGKILL to all processes in the group; tells whether there were any.
    pub fn kill(&self) -> bool {
        let pids = self.pids();
        if pids.is_empty() {
            return false;
        }
        if self.unified && self.dirs.first().is_some_and(|dir| write(&dir.join("cgroup.kill"), "1").is_ok()) {
            return true;
        }
        for pid in pids {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        true
    }

    /// Whether the kernel killed something in here for want of memory.
    pub fn out_of_memory(&self) -> bool {
        let Some(dir) = self.dirs.first() else { return false };
        let file = if self.unified { "memory.events" } else { "memory.oom_control" };
        counter(&fs::read_to_string(dir.join(file)).unwrap_or_default(), "oom_kill") > 0
    }

    /// Removes the group; fails while processes are in it.
    pub fn remove(&self) -> io::Result<()> {
        for dir in &self.dirs {
            match fs::remove_dir(dir) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

fn counter(text: &str, name: &str) -> u64 {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.and_then(|it| it.trim().parse().ok()).unwrap_or(0)
}

/// These files take a value in a single write or not at all.
fn write(path: &Path, value: &str) -> io::Result<()> {
    OpenOptions::new().write(true).open(path)?.write_all(value.as_bytes())
}

/// Same as `write`, but a kernel without the file is as good.
fn write_if_there(path: &Path, value: &str) -> io::Result<()> {
    match write(path, value) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// FNV-1a: short, and the same in every version of this program.
pub fn short_hash(bytes: &[u8]) -> String {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}

/// One line of `/proc/self/mountinfo`.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    /// The part of the hierarchy that is mounted.
    root: String,
    at: PathBuf,
    kind: String,
    options: Vec<String>,
}

fn mounts(text: &str) -> Vec<Mount> {
    text.lines()
        .filter_map(|line| {
            let (place, rest) = line.split_once(" - ")?;
            let mut place = place.split(' ').skip(3);
            let mut rest = rest.split(' ');
            Some(Mount {
                root: unescape(place.next()?),
                at: unescape(place.next()?).into(),
                kind: rest.next()?.to_owned(),
                options: rest.nth(1)?.split(',').map(str::to_owned).collect(),
            })
        })
        .collect()
}

/// Blanks and the like in paths are written as three octal digits.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        match after.get(..3).and_then(|it| u8::from_str_radix(it, 8).ok()) {
            Some(byte) => {
                out.push(char::from(byte));
                rest = &after[3..];
            }
            None => {
                out.push('\\');
                rest = after;
            }
        }
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_lines_are_read() {
        let text = "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n\
                    36 31 0:33 /a /mnt/my\\040groups rw - cgroup2 none rw\nnonsense\n";
        let expected = [
            Mount {
                root: "/".to_owned(),
                at: "/sys/fs/cgroup/memory".into(),
                kind: "cgroup".to_owned(),
                options: vec!["rw".to_owned(), "memory".to_owned()],
            },
            Mount {
                root: "/a".to_owned(),
                at: "/mnt/my groups".into(),
                kind: "cgroup2".to_owned(),
                options: vec!["rw".to_owned()],
            },
        ];
        assert_eq!(mounts(text), expected);
    }

    #[test]
    fn counters_are_whole_words() {
        let rows =
            [("oom_kill_disable 1\nunder_oom 0\noom_kill 3\n", 3), ("oom 5\noom_group_kill 7\n", 0), ("", 0)];
        for (text, expected) in rows {
            assert_eq!(counter(text, "oom_kill"), expected, "{text}");
        }
    }

    #[test]
    fn hashes_stay() {
        assert_eq!(short_hash(b"/var/lib/marathon"), short_hash(b"/var/lib/marathon"));
        assert_eq!(short_hash(b""), "cbf29ce484222325");
        assert_eq!(short_hash(b"a"), "af63dc4c8601ec8c");
    }

    #[test]
    fn a_group_reads_its_folder() {
        let dir = tempfile::tempdir().unwrap();
        let group = Group { unified: true, dirs: vec![dir.path().to_owned()] };
        assert!(group.pids().is_empty() && !group.out_of_memory() && !group.kill());
        fs::write(dir.path().join("cgroup.procs"), "0\n").unwrap();
        assert!(group.pids().is_empty());
        // With `cgroup.kill` there, no signal is sent to the pids listed.
        fs::write(dir.path().join("cgroup.procs"), format!("{}\n", std::process::id())).unwrap();
        fs::write(dir.path().join("cgroup.kill"), "").unwrap();
        fs::write(dir.path().join("memory.events"), "low 0\nmax 4\noom 1\noom_kill 1\n").unwrap();
        assert!(group.kill() && group.out_of_memory());
        assert_eq!(fs::read_to_string(dir.path().join("cgroup.kill")).unwrap(), "1");
    }
}
