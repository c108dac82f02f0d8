//! Who a task runs as.
//!
//! The accounts are read from `/etc/passwd` and `/etc/group` directly: the binary is static, so the
//! name services of the C library are out of reach.

use std::fs;
use std::path::Path;

use marathon_keeper::protocol::Identity;
use nix::unistd::{Uid, geteuid};

/// The user a task asks for. `None` in the result means: whoever runs this server.
pub fn resolve(wanted: Option<&str>) -> Result<Option<Identity>, String> {
    let Some(name) = wanted.filter(|it| !it.is_empty()) else { return Ok(None) };
    let read = |path: &str| {
        fs::read_to_string(Path::new(path)).map_err(|error| format!("cannot read {path}: {error}"))
    };
    let passwd = read("/etc/passwd")?;
    // Without a group file there are just no supplementary groups.
    let group = read("/etc/group").unwrap_or_default();
    let identity = look_up(name, &passwd, &group)?;
    permitted(name, identity, geteuid())
}

fn permitted(name: &str, identity: Identity, server: Uid) -> Result<Option<Identity>, String> {
    if server.is_root() {
        Ok(Some(identity))
    } else if identity.uid == server.as_raw() {
        Ok(None)
    } else {
        Err(format!(
            "cannot run as user `{name}`: the server runs as uid {server}, and only root may start tasks as somebody else"
        ))
    }
}

fn look_up(name: &str, passwd: &str, group: &str) -> Result<Identity, String> {
    let numeric = name.parse::<u32>().ok();
    let account = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (login, _, uid, gid) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        let (uid, gid) = (uid.parse::<u32>().ok()?, gid.parse::<u32>().ok()?);
        (login == name || numeric == Some(uid)).then(|| (login.to_owned(), uid, gid))
    });
    let Some((login, uid, gid)) = account else {
        return Err(format!("user `{name}` does not exist on this machine"));
    };
    let mut groups: Vec<u32> = group
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(':');
            let (_, _, gid, members) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
            members.split(',').any(|it| it.trim() == login).then(|| gid.parse().ok())?
        })
        .collect();
    groups.push(gid);
    groups.sort_unstable();
    groups.dedup();
    Ok(Identity { uid, gid, groups })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/bash\nbroken\nweb:x:1001:1002::/home/web:/bin/sh\nbad:x:y:z::/:\n";
    const GROUP: &str = "root:x:0:\nweb:x:1002:\nlogs:x:50:adm,web\nmore:x:40:webber, web\nodd\n";

    #[test]
    fn accounts_are_found_by_name_and_number() {
        let web = Identity { uid: 1001, gid: 1002, groups: vec![40, 50, 1002] };
        assert_eq!(look_up("web", PASSWD, GROUP), Ok(web.clone()));
        assert_eq!(look_up("1001", PASSWD, GROUP), Ok(web));
        assert_eq!(look_up("root", PASSWD, ""), Ok(Identity { uid: 0, gid: 0, groups: vec![0] }));
        for name in ["nobody-here", "bad", "x", "7"] {
            let want = format!("user `{name}` does not exist on this machine");
            assert_eq!(look_up(name, PASSWD, GROUP), Err(want));
        }
    }

    #[test]
    fn only_root_changes_the_user() {
        let web = Identity { uid: 1001, gid: 1002, groups: vec![1002] };
        assert_eq!(permitted("web", web.clone(), Uid::from_raw(0)), Ok(Some(web.clone())));
        assert_eq!(permitted("web", web.clone(), Uid::from_raw(1001)), Ok(None));
        assert!(permitted("web", web, Uid::from_raw(5)).unwrap_err().contains("only root may"));
        assert_eq!(resolve(None), Ok(None));
        assert_eq!(resolve(Some("")), Ok(None));
    }
}
