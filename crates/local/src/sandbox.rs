//! The folders of tasks: their names, their making, and which of the old ones go.
//!
//! ```text
//! <dir>/sandboxes/<task>/     working directory of the task: stdout, stderr, what was fetched
//! <sandbox>/containers/<name>/ that of a container of a pod, see `pod`
//! <private>/<task>/           what the engine needs for it and others must not read, see `private`
//! <dir>/cache/                fetched files that several tasks use
//! <dir>/volumes/              persistent volumes, see `durable`
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use marathon_keeper::protocol::Identity;
use marathon_model::id::TaskId;
use sha2::{Digest, Sha256};

use crate::pod::whole;
use crate::private;

/// File systems allow 255 bytes; the rest is for what others append.
const NAME_BYTES_MAX: usize = 200;

#[derive(Debug, Clone)]
pub struct Places {
    pub dir: PathBuf,
    /// Its parent: one folder in here for each task that needs one.
    private: PathBuf,
    /// Held while the folders of a pod are made: its containers start at the same time.
    making: Arc<Mutex<()>>,
}

impl Places {
    /// With private folders in memory, if this machine allows.
    pub fn new(dir: PathBuf) -> Places {
        let private = private::root(&dir, &dir.join("tasks"));
        Places { private, ..Places::on_disk(dir) }
    }

    pub fn on_disk(dir: PathBuf) -> Places {
        Places { private: dir.join("tasks"), dir, making: Arc::default() }
    }

    pub fn sandboxes(&self) -> PathBuf {
        self.dir.join("sandboxes")
    }

    pub fn sandbox(&self, task: &TaskId) -> PathBuf {
        let sandbox = self.sandboxes().join(folder_name(&whole(task)));
        match &task.container {
            Some(name) => sandbox.join("containers").join(plain_name(name)),
            None => sandbox,
        }
    }

    /// An ephemeral volume of a pod.
    pub fn pod_volume(&self, pod: &TaskId, name: &str) -> PathBuf {
        self.sandbox(&whole(pod)).join("volumes").join(plain_name(name))
    }

    pub fn lock(&self) -> MutexGuard<'_, ()> {
        self.making.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the folders around those of its containers, if they are not there yet.
    pub fn create_pod(&self, pod: &TaskId) -> io::Result<()> {
        let sandbox = self.sandbox(pod);
        for folder in ["containers", "volumes"] {
            fs::DirBuilder::new().recursive(true).mode(0o755).create(sandbox.join(folder))?;
        }
        Ok(())
    }

    pub fn private(&self, task: &TaskId) -> PathBuf {
        self.private.join(folder_name(task))
    }

    pub fn cache(&self) -> PathBuf {
        self.dir.join("cache")
    }

    pub fn volumes(&self) -> PathBuf {
        self.dir.join("volumes")
    }

    /// Makes the folders that all tasks share. Only the engine looks into `tasks`; into sandboxes
    /// their owners must come.
    pub fn create(&self) -> io::Result<()> {
        let make = |path: &Path, mode: u32| fs::DirBuilder::new().recursive(true).mode(mode).create(path);
        make(&self.dir, 0o755)?;
        make(&self.sandboxes(), 0o755)?;
        // Passable, so that each volume is reached by its owner; to be listed by nobody else.
        make(&self.volumes(), 0o711)?;
        private::claim(&self.private)?;
        make(&self.cache(), 0o700)
    }

    /// Makes the sandbox, for its owner alone. With `open` everybody may read it: the processes of a
    /// container have user ids of their own.
    pub fn create_sandbox(&self, task: &TaskId, owner: Option<&Identity>, open: bool) -> io::Result<PathBuf> {
        let path = self.sandbox(task);
        fs::DirBuilder::new().mode(if open { 0o755 } else { 0o750 }).create(&path)?;
        if let Some(Identity { uid, gid, .. }) = owner {
            std::os::unix::fs::lchown(&path, Some(*uid), Some(*gid))?;
        }
        Ok(path)
    }

    /// Makes the private folder of a task, for its owner alone.
    pub fn create_private(&self, task: &TaskId, owner: Option<&Identity>) -> io::Result<PathBuf> {
        let path = self.private(task);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&path)?;
        if let Some(Identity { uid, gid, .. }) = owner {
            std::os::unix::fs::lchown(&path, Some(*uid), Some(*gid))?;
        }
        Ok(path)
    }

    /// Leaves nothing behind where nothing is needed any more.
    pub fn tidy(&self) {
        // Refused while something is in there.
        let _ = fs::remove_dir(&self.private);
    }
}

/// The task id itself, unless it is too long for a file name or holds what a path should not.
pub fn folder_name(task: &TaskId) -> String {
    plain_name(&task.to_string())
}

pub fn plain_name(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if text.len() <= NAME_BYTES_MAX && text.chars().all(plain) && !text.starts_with('.') {
        return text.to_owned();
    }
    let hash: String =
        Sha256::digest(text.as_bytes()).iter().take(16).map(|it| format!("{it:02x}")).collect();
    let start: String = text.chars().filter(|c| plain(*c)).take(100).collect();
    format!("{}~{hash}", start.trim_start_matches('.'))
}

/// Which sandboxes of ended tasks are kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Retention {
    /// The newest so many of each app.
    pub per_app: usize,
    pub age: Duration,
    /// Of all apps together.
    pub total: usize,
    /// Where less of the disk is free, the oldest go first, but none that ended within the last hour:
    /// somebody may want to know why.
    pub free_fraction: f64,
}

impl Default for Retention {
    /// A week, as a Mesos agent does by default; the rest bounds what apps that crash in a loop use up.
    fn default() -> Retention {
        let week = Duration::from_secs(7 * 24 * 3600);
        Retention { per_app: 10, age: week, total: 2000, free_fraction: 0.05 }
    }
}

/// An old sandbox.
#[derive(Debug, Clone, PartialEq)]
struct Old {
    name: String,
    changed: SystemTime,
}

const RECENT: Duration = Duration::from_secs(3600);

/// Names of sandboxes to remove, and of those that go only if space is short; the oldest first.
fn superfluous(mut old: Vec<Old>, keep: Retention, now: SystemTime) -> (Vec<String>, Vec<String>) {
    old.sort_by(|a, b| (b.changed, &b.name).cmp(&(a.changed, &a.name)));
    let mut of_app: BTreeMap<String, usize> = BTreeMap::new();
    let (mut go, mut may_go) = (Vec::new(), Vec::new());
    let mut stay = 0;
    for Old { name, changed } in old {
        let seen = of_app.entry(app_of(&name).to_owned()).or_default();
        *seen += 1;
        let age = now.duration_since(changed).unwrap_or_default();
        if keep.per_app < *seen || keep.age < age || keep.total <= stay {
            go.push(name);
            continue;
        }
        stay += 1;
        if RECENT < age {
            may_go.push(name);
        }
    }
    go.reverse();
    may_go.reverse();
    (go, may_go)
}

/// `web_front` of `web_front.instance-….1`.
fn app_of(name: &str) -> &str {
    name.find(".instance-").map_or(name, |at| &name[..at])
}

/// Removes sandboxes of tasks that are over. Slow: it walks folders.
pub fn collect(places: &Places, in_use: &BTreeSet<String>, keep: Retention) {
    let now = SystemTime::now();
    let Ok(entries) = fs::read_dir(places.sandboxes()) else { return };
    let old: Vec<Old> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let name = entry.file_name().into_string().ok()?;
            let changed = last_change(&entry.path())?;
            // One that was just made may belong to a task that came after `in_use` was drawn up.
            let settled = now.duration_since(changed).is_ok_and(|it| Duration::from_secs(60) < it);
            (settled && !in_use.contains(&name)).then_some(Old { name, changed })
        })
        .collect();
    let (go, may_go) = superfluous(old, keep, now);
    let remove = |name: &String| {
        let path = places.sandboxes().join(name);
        if let Err(error) = fs::remove_dir_all(&path) {
            tracing::warn!(path = %path.display(), %error, "cannot remove an old sandbox");
        }
    };
    go.iter().for_each(remove);
    for name in &may_go {
        match free_fraction(&places.dir) {
            Some(free) if free < keep.free_fraction => remove(name),
            _ => break,
        }
    }
    remove_private(places, in_use);
}

/// Private folders of tasks that nobody knows any more, as after a crash.
fn remove_private(places: &Places, in_use: &BTreeSet<String>) {
    let Ok(entries) = fs::read_dir(&places.private) else { return };
    let now = SystemTime::now();
    for entry in entries.flatten() {
        let settled = last_change(&entry.path())
            .is_some_and(|it| now.duration_since(it).is_ok_and(|age| Duration::from_secs(60) < age));
        if settled && !in_use.contains(&*entry.file_name().to_string_lossy()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn last_change(folder: &Path) -> Option<SystemTime> {
    let of = |path: &Path| fs::symlink_metadata(path).ok()?.modified().ok();
    let own = of(folder)?;
    let containers = fs::read_dir(folder.join("containers")).into_iter().flatten().flatten();
    let logs = containers.map(|it| it.path()).chain([folder.to_owned()]);
    let logs = logs.flat_map(|it| ["stdout", "stderr"].map(|name| of(&it.join(name))));
    Some(logs.flatten().fold(own, SystemTime::max))
}

/// How much of the disk is free for those who are not root.
fn free_fraction(path: &Path) -> Option<f64> {
    let stat = nix::sys::statvfs::statvfs(path).ok()?;
    (stat.blocks() > 0).then(|| stat.blocks_available() as f64 / stat.blocks() as f64)
}

/// Gives a whole tree to the task's user. Links are changed themselves, never what they point to.
pub fn give_to(path: &Path, owner: &Identity) -> io::Result<()> {
    std::os::unix::fs::lchown(path, Some(owner.uid), Some(owner.gid))?;
    let meta = fs::symlink_metadata(path)?;
    if meta.is_dir() {
        for entry in fs::read_dir(path)? {
            give_to(&entry?.path(), owner)?;
        }
    }
    Ok(())
}

/// The first folder on the way to `path` that not everybody may pass, if there is one. Tasks with a user
/// of their own could not reach their sandboxes.
pub fn barrier(path: &Path) -> Option<PathBuf> {
    let closed = |it: &&Path| fs::metadata(it).is_ok_and(|meta| meta.mode() & 0o1 == 0);
    let folders = path.ancestors().filter(|it| !it.as_os_str().is_empty());
    folders.filter(closed).last().map(Path::to_owned)
}

/// Whether a user may read a file, with all folders on the way to it. Only the classic permission bits
/// count. Links must have been resolved.
pub fn may_read(path: &Path, who: Option<&Identity>) -> io::Result<bool> {
    let Some(who) = who.filter(|it| it.uid != 0) else { return Ok(true) };
    let has = |meta: &fs::Metadata, bit: u32| {
        let shift = if meta.uid() == who.uid {
            6
        } else if meta.gid() == who.gid || who.groups.contains(&meta.gid()) {
            3
        } else {
            0
        };
        meta.mode() >> shift & bit != 0
    };
    for folder in path.ancestors().skip(1).filter(|it| !it.as_os_str().is_empty()) {
        if !has(&fs::metadata(folder)?, 0o1) {
            return Ok(false);
        }
    }
    Ok(has(&fs::metadata(path)?, 0o4))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn old_and_many_sandboxes_go() {
        let keep = Retention { per_app: 2, age: Duration::from_secs(50_000), total: 3, free_fraction: 0.0 };
        let check = |old: &[(&str, u64)], go: &[&str], may_go: &[&str]| {
            let old = old.iter().map(|(name, t)| Old { name: (*name).to_owned(), changed: at(*t) }).collect();
            let (gone, may) = superfluous(old, keep, at(100_000));
            assert_eq!(
                (gone, may),
                (
                    go.iter().map(|it| it.to_string()).collect(),
                    may_go.iter().map(|it| it.to_string()).collect()
                )
            );
        };
        check(&[("a.instance-1", 90_000), ("a.instance-2", 99_000)], &[], &["a.instance-1"]);
        check(
            &[
                ("a.instance-1", 90_000),
                ("a.instance-2", 91_000),
                ("a.instance-3", 89_000),
                ("b.instance-1", 60_000),
            ],
            &["a.instance-3"],
            &["b.instance-1", "a.instance-1", "a.instance-2"],
        );
        check(&[("a.instance-1", 49_000), ("odd", 90_000)], &["a.instance-1"], &["odd"]);
        check(&[("a", 91_000), ("b", 92_000), ("c", 93_000), ("d", 94_000)], &["a"], &["b", "c", "d"]);
    }

    #[test]
    fn only_old_folders_of_nobody_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let places = Places::on_disk(dir.path().to_owned());
        places.create().unwrap();
        let long_ago = SystemTime::now() - Duration::from_secs(1000);
        for parent in ["sandboxes", "tasks"] {
            for name in ["used", "old", "new", "log"] {
                let path = dir.path().join(parent).join(name);
                fs::create_dir(&path).unwrap();
                if name == "log" {
                    fs::write(path.join("stdout"), "just written").unwrap();
                }
                if name != "new" {
                    fs::File::open(&path).unwrap().set_modified(long_ago).unwrap();
                }
            }
        }
        let keep = Retention { per_app: 0, ..Retention::default() };
        collect(&places, &BTreeSet::from(["used".to_owned()]), keep);
        for parent in ["sandboxes", "tasks"] {
            let left = fs::read_dir(dir.path().join(parent)).unwrap();
            let left: BTreeSet<_> = left.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
            assert_eq!(left, ["used", "new", "log"].map(str::to_owned).into(), "{parent}");
        }
    }

    #[test]
    fn names_fit_a_file_system() {
        let uuid = "0c1e6f10-7ccb-11eb-9a1c-0242ac110002";
        let plain = format!("shop_cart.instance-{uuid}._app.3");
        assert_eq!(folder_name(&TaskId::parse(&plain).unwrap()), plain);
        let name = |segment: &str| {
            folder_name(&TaskId::parse(&format!("{segment}.instance-{uuid}._app.3")).unwrap())
        };
        let (a, b) = (name(&"a".repeat(300)), name(&"a".repeat(301)));
        assert!(a != b && a.len() < 150, "{a}");
    }

    #[test]
    fn containers_lie_in_their_pod() {
        let places = Places::on_disk("/d".into());
        let id =
            |text: &str| TaskId::parse(&format!("p.instance-0c1e6f10-7ccb-11eb-9a1c-0242ac110002.{text}"));
        let check = |text: &str, want: &str| {
            let path = places.sandbox(&id(text).unwrap());
            let path = path.to_str().unwrap().rsplit_once("0242ac110002.").unwrap().1.to_owned();
            assert_eq!(path, want);
        };
        check("_app.3", "_app.3");
        check("web.3", "_app.3/containers/web");
        let volume = places.pod_volume(&id("web.3").unwrap(), "../x");
        assert_eq!(volume.parent().unwrap(), places.sandbox(&id("_app.3").unwrap()).join("volumes"));
    }

    #[test]
    fn reading_needs_every_folder() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("f");
        fs::write(&file, "x").unwrap();
        let who = Identity { uid: 54321, gid: 54321, groups: vec![54321] };
        use std::os::unix::fs::PermissionsExt;
        let mode =
            |path: &Path, mode: u32| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        mode(&file, 0o644);
        mode(dir.path(), 0o700);
        assert!(!may_read(&file, Some(&who)).unwrap());
        assert!(may_read(&file, None).unwrap());
        let closed = Some(dir.path().to_owned());
        assert_eq!(barrier(&dir.path().join("a")), closed);
        mode(dir.path(), 0o711);
        assert_ne!(barrier(&dir.path().join("a")), closed);
        assert!(may_read(&file, Some(&who)).unwrap());
        mode(&file, 0o640);
        assert!(!may_read(&file, Some(&who)).unwrap());
    }
}
