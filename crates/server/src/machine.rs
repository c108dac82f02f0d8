//! What the machine says: names, users, limits, entropy.

use std::io::Read;
use std::path::PathBuf;

use marathon_flags::Machine;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

pub fn machine() -> Machine {
    let path = |name: &str| std::env::var_os(name).filter(|it| !it.is_empty()).map(PathBuf::from);
    let uid = nix::unistd::geteuid();
    Machine {
        hostname: nix::unistd::gethostname()
            .map_or_else(|_| "localhost".to_owned(), |it| it.to_string_lossy().into_owned()),
        user: user_name(uid.as_raw()).unwrap_or_else(|| uid.to_string()),
        is_root: uid.is_root(),
        home: path("HOME"),
        state_home: path("XDG_STATE_HOME"),
    }
}

/// From the file alone: a static binary has no name service.
fn user_name(uid: u32) -> Option<String> {
    let text = std::fs::read_to_string("/etc/passwd").ok()?;
    let mut rows = text.lines().map(|line| line.split(':').collect::<Vec<_>>());
    rows.find(|it| it.get(2).and_then(|it| it.parse().ok()) == Some(uid))?.first().map(|it| (*it).to_owned())
}

/// Every task and every client takes files; the usual soft limit of 1024 is meant for select(2).
pub fn raise_file_limit() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

/// From which new ids come.
pub fn seed() -> u64 {
    let mut bytes = [0; 8];
    let read = std::fs::File::open("/dev/urandom").and_then(|mut it| it.read_exact(&mut bytes));
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    match read {
        Ok(()) => u64::from_le_bytes(bytes),
        Err(_) => (clock.as_nanos() as u64) ^ (u64::from(std::process::id()) << 32),
    }
}
