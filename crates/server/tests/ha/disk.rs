//! A slow disk, for single processes: the kernel lets them write so many times a second, and an fsync waits. By control
//! groups of either version, which need root; device-mapper's `delay` would need a disk of its own.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const V1: &str = "/sys/fs/cgroup/blkio";
const V2: &str = "/sys/fs/cgroup";

/// The group of this run. It need not exist.
pub fn group() -> PathBuf {
    let root = if Path::new(V1).exists() { V1 } else { V2 };
    Path::new(root).join(format!("marathon-ha-{}", std::process::id()))
}

pub struct Disk {
    group: PathBuf,
    /// `major:minor` of the whole disk.
    device: String,
}

impl Disk {
    /// The disk below a folder.
    pub fn new(below: &Path) -> Result<Disk, String> {
        let group = group();
        let told = |it: std::io::Error| format!("{}: {it}", group.display());
        if !group.starts_with(V1) {
            // Delegates the controller; fails where it is not there.
            fs::write(Path::new(V2).join("cgroup.subtree_control"), "+io").map_err(told)?;
        }
        fs::create_dir_all(&group).map_err(told)?;
        let disk = Disk { device: device(below)?, group };
        disk.limit(1000).and_then(|()| disk.limit(0)).map_err(|it| format!("{}: {it}", disk.device))?;
        // Some disks and file systems do not know the limit; then it must not be said that one was slow.
        match disk.takes(below, 3) {
            Some(took) if Duration::from_millis(500) < took => Ok(disk),
            took => Err(format!("{} is not slowed down: {took:?}", disk.device)),
        }
    }

    /// How long so many small writes take, three of them being allowed each second.
    fn takes(&self, below: &Path, count: u64) -> Option<Duration> {
        self.limit(3).ok()?;
        let script = "echo $$ >\"$1/cgroup.procs\" && exec dd if=/dev/zero of=\"$2/probe\" bs=512 count=$3 oflag=dsync";
        let began = Instant::now();
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh"]).arg(&self.group).arg(below).arg(count.to_string());
        let done = command.stderr(Stdio::null()).status().ok()?;
        self.release();
        done.success().then(|| began.elapsed())
    }

    /// Slow for this process, until `release`.
    pub fn slow(&self, pid: u32, writes_per_second: u64) {
        let _ = fs::write(self.group.join("cgroup.procs"), pid.to_string());
        let _ = self.limit(writes_per_second);
    }

    pub fn release(&self) {
        let _ = self.limit(0);
    }

    /// 0: no limit.
    fn limit(&self, writes_per_second: u64) -> std::io::Result<()> {
        if self.group.starts_with(V1) {
            let line = format!("{} {writes_per_second}", self.device);
            return fs::write(self.group.join("blkio.throttle.write_iops_device"), line);
        }
        let most = if writes_per_second == 0 { "max".to_owned() } else { writes_per_second.to_string() };
        fs::write(self.group.join("io.max"), format!("{} wiops={most}", self.device))
    }
}

/// The disk of a folder: of a partition, the disk that it is part of.
fn device(below: &Path) -> Result<String, String> {
    let id = fs::metadata(below).map_err(|it| it.to_string())?.dev();
    let (major, minor) = ((id >> 8) & 0xfff, (id & 0xff) | ((id >> 12) & 0xfff00));
    let node = PathBuf::from(format!("/sys/dev/block/{major}:{minor}"));
    let node = fs::canonicalize(&node).map_err(|_| format!("{} is on no disk", below.display()))?;
    let whole = if node.join("partition").exists() { node.join("..") } else { node };
    let told = fs::read_to_string(whole.join("dev")).map_err(|it| it.to_string())?;
    Ok(told.trim().to_owned())
}
