//! Names of users and groups. Read from the files: the binary is static, so the name services of the C library are
//! out of reach.

use std::collections::HashMap;

#[derive(Debug, Default)]
pub struct Accounts {
    users: HashMap<u32, String>,
    groups: HashMap<u32, String>,
}

impl Accounts {
    pub fn of_this_machine() -> Accounts {
        // Without these files there are just numbers.
        let read = |path: &str| names(&std::fs::read_to_string(path).unwrap_or_default());
        Accounts { users: read("/etc/passwd"), groups: read("/etc/group") }
    }

    pub fn user(&self, uid: u32) -> String {
        self.users.get(&uid).cloned().unwrap_or_else(|| uid.to_string())
    }

    pub fn group(&self, gid: u32) -> String {
        self.groups.get(&gid).cloned().unwrap_or_else(|| gid.to_string())
    }
}

/// The first and the third field. The first line of a number counts.
fn names(text: &str) -> HashMap<u32, String> {
    let mut found = HashMap::new();
    for line in text.lines() {
        let mut fields = line.split(':');
        if let (Some(name), Some(Ok(id))) = (fields.next(), fields.nth(1).map(str::parse)) {
            found.entry(id).or_insert_with(|| name.to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_accounts_have_numbers() {
        let users =
            names("root:x:0:0:root:/root:/bin/sh\nbroken\ntoor:x:0:0::/:\nweb:x:1001:1::/:\nbad:x:y:\n");
        let accounts = Accounts { users, groups: HashMap::new() };
        assert_eq!([0, 1001, 7].map(|it| accounts.user(it)), ["root", "web", "7"]);
        assert_eq!(accounts.group(0), "0");
    }
}
