//! Who this agent is: made up at its first start, the same ever after.

use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;

use marathon_model::id::{AgentId, FrameworkId};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    pub agent: AgentId,
    pub framework: FrameworkId,
}

impl Identity {
    /// Reads the identity kept in `dir`, or makes one.
    pub fn of(dir: &Path) -> io::Result<Identity> {
        let path = dir.join("agent.json");
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map_err(io::Error::from),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let master = uuid::Uuid::from_u64_pair(random()?, random()?);
                let id = |suffix: &str| -> Arc<str> { Arc::from(format!("{master}-{suffix}")) };
                let identity = Identity { agent: AgentId(id("S0")), framework: FrameworkId(id("0000")) };
                store(&path, &serde_json::to_vec(&identity)?)?;
                Ok(identity)
            }
            Err(error) => Err(error),
        }
    }
}

/// Replaces a file as a whole, durably.
pub fn store(path: &Path, content: &[u8]) -> io::Result<()> {
    let draft = path.with_extension("new");
    let mut file = fs::File::create(&draft)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    match path.parent() {
        Some(parent) => fs::File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

pub fn random() -> io::Result<u64> {
    let mut bytes = [0; 8];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u64::from_ne_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_stays() {
        let dir = tempfile::tempdir().unwrap();
        let first = Identity::of(dir.path()).unwrap();
        assert_eq!(Identity::of(dir.path()).unwrap(), first);
        let other = tempfile::tempdir().unwrap();
        assert_ne!(Identity::of(other.path()).unwrap(), first);
        fs::write(dir.path().join("agent.json"), "{").unwrap();
        assert!(Identity::of(dir.path()).is_err());
    }
}
