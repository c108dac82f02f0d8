//! Where the private folders of tasks lie: secrets on their way to a task touch no disk, where there is a file
//! system in memory.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::sys::statfs::{TMPFS_MAGIC, statfs};
use nix::unistd::geteuid;
use sha2::{Digest, Sha256};

/// Only root can make a folder in the first; in the second everybody can.
const IN_MEMORY: [&str; 2] = ["/run", "/dev/shm"];

/// The folder for a data folder: in memory if possible, else `fallback`.
pub fn root(dir: &Path, fallback: &Path) -> PathBuf {
    let hash: String = Sha256::digest(dir.as_os_str().as_encoded_bytes())
        .iter()
        .take(8)
        .map(|it| format!("{it:02x}"))
        .collect();
    for parent in IN_MEMORY {
        let in_memory = statfs(parent).is_ok_and(|it| it.filesystem_type() == TMPFS_MAGIC);
        let path = Path::new(parent).join(format!("marathon-tasks-{hash}"));
        if in_memory && claim(&path).is_ok() {
            return path;
        }
    }
    tracing::warn!(
        folder = %fallback.display(),
        "there is no file system in memory (/run, /dev/shm); secrets of tasks lie on disk while these run"
    );
    fallback.to_owned()
}

/// Makes the folder, or finds it as one that only we can change: others may have been there before.
pub fn claim(path: &Path) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o711).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        other => other?,
    }
    let meta = fs::symlink_metadata(path)?;
    if !meta.is_dir() || meta.uid() != geteuid().as_raw() {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    // Users of tasks pass through it to their own.
    fs::set_permissions(path, fs::Permissions::from_mode(0o711))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_somebody_else_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mine");
        claim(&path).unwrap();
        claim(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o711);
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        claim(&link).unwrap_err();
        if geteuid().is_root() {
            std::os::unix::fs::chown(&path, Some(54321), None).unwrap();
            claim(&path).unwrap_err();
        }
    }
}
