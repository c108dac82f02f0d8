//! What /proc tells about processes: who is whose child, when it started, whose task it is.

use std::fs;

/// The fields of `/proc/<pid>/stat` the keeper reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    pub pid: i32,
    pub parent: i32,
    pub group: i32,
    pub session: i32,
    /// Clock ticks since boot. With the pid it names a process for good: pids come back, pairs do not.
    pub started: u64,
    pub zombie: bool,
}

/// The command name is in brackets and may itself hold brackets and blanks, so fields are counted from
/// the last closing one.
pub fn parse_stat(text: &str) -> Option<Stat> {
    let (pid, _) = text.split_once(" (")?;
    let (_, rest) = text.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().take(20).collect();
    Some(Stat {
        pid: pid.trim().parse().ok()?,
        zombie: matches!(*fields.first()?, "Z" | "X"),
        parent: fields.get(1)?.parse().ok()?,
        group: fields.get(2)?.parse().ok()?,
        session: fields.get(3)?.parse().ok()?,
        started: fields.get(19)?.parse().ok()?,
    })
}

pub fn stat(pid: i32) -> Option<Stat> {
    parse_stat(&String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/stat")).ok()?))
}

/// All processes of the machine, as of now.
pub fn all() -> Vec<Stat> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(stat)
        .filter(|it| !it.zombie)
        .collect()
}

/// The keeper's own children; cheap, unlike `all`. `None` where the kernel has no such list.
pub fn own_children() -> Option<Vec<i32>> {
    let text = fs::read_to_string("/proc/thread-self/children").ok()?;
    Some(text.split_ascii_whitespace().filter_map(|it| it.parse().ok()).collect())
}

/// The variable that tells every process which task it belongs to; inherited by all that do not take it
/// out of their environment.
const MARKER: &str = "MESOS_TASK_ID=";

/// Whose a process is, as far as its environment tells.
#[derive(Debug, PartialEq, Eq)]
pub enum Owner {
    Task(String),
    Nobody,
    /// It has no environment to look at: it is just becoming another program, or on its way out with
    /// children that are still its own, or was started without one.
    Unclear,
}

pub fn owner(pid: i32) -> Owner {
    owner_in(&fs::read(format!("/proc/{pid}/environ")).unwrap_or_default())
}

pub fn belongs_to(pid: i32, task: &str) -> bool {
    matches!(owner(pid), Owner::Task(it) if it == task)
}

fn owner_in(environ: &[u8]) -> Owner {
    if environ.is_empty() {
        return Owner::Unclear;
    }
    let value = environ.split(|byte| *byte == 0).find_map(|it| it.strip_prefix(MARKER.as_bytes()));
    let text = value.and_then(|it| String::from_utf8(it.to_vec()).ok());
    text.map_or(Owner::Nobody, Owner::Task)
}

/// Changes with every boot, and with nothing else.
pub fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// All descendants of `roots` within `processes`, themselves not included.
pub fn descendants(roots: &[i32], processes: &[Stat]) -> Vec<i32> {
    let mut found: Vec<i32> = Vec::new();
    let mut open: Vec<i32> = roots.to_vec();
    while let Some(parent) = open.pop() {
        for it in processes.iter().filter(|it| it.parent == parent) {
            if !found.contains(&it.pid) && !roots.contains(&it.pid) {
                found.push(it.pid);
                open.push(it.pid);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &str) -> String {
        let rest = "S 7 8 9 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 4711 1 2 3";
        format!("12 ({name}) {rest}\n")
    }

    #[test]
    fn names_cannot_shift_the_fields() {
        let expected = Stat { pid: 12, parent: 7, group: 8, session: 9, started: 4711, zombie: false };
        for name in ["sleep", "a b", "a) S 1 1 1", "((", ") Z 0 (x", ""] {
            assert_eq!(parse_stat(&line(name)), Some(expected), "{name}");
        }
    }

    #[test]
    fn damaged_lines_are_refused() {
        for text in
            ["", "12", "12 (sleep", "12 (sleep) S 1 2 3", "x (sleep) S 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9"]
        {
            assert_eq!(parse_stat(text), None, "{text}");
        }
    }

    #[test]
    fn own_line_is_read() {
        let own = stat(std::process::id() as i32).expect("own stat");
        assert!(own.started > 0 && !own.zombie);
    }

    #[test]
    fn markers_are_whole_variables() {
        let task = |name: &str| Owner::Task(name.to_owned());
        let rows: [(&[u8], Owner); 4] = [
            (b"A=b\0MESOS_TASK_ID=t.1\0", task("t.1")),
            (b"MESOS_TASK_ID=t\0Z=1", task("t")),
            (b"XMESOS_TASK_ID=t\0", Owner::Nobody),
            (b"", Owner::Unclear),
        ];
        for (environ, expected) in rows {
            assert_eq!(owner_in(environ), expected);
        }
    }

    #[test]
    fn descendants_are_found_at_any_depth() {
        let process = |pid, parent| Stat { pid, parent, group: 1, session: 1, started: 1, zombie: false };
        let all = [process(5, 4), process(4, 2), process(2, 1), process(3, 1), process(9, 8)];
        let mut found = descendants(&[2], &all);
        found.sort_unstable();
        assert_eq!(found, [4, 5]);
    }
}
