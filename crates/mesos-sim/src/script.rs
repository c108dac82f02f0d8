//! What a simulated command does: a shell that knows a dozen words.
//!
//! The simulation starts no process, so it reads the command line and decides what it would do and when:
//! `sleep 3; exit 7` ends after 3 s with status 7. A program that the little shell does not know is a service
//! and runs for ever. Tests that need something else say so by a label (see docs/mesos-sim.md).

use std::collections::BTreeSet;
use std::time::Duration;

use marathon_mesos_v1::CommandInfo;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Status(i32),
    Signal(&'static str),
}

impl Exit {
    pub fn is_success(self) -> bool {
        self == Exit::Status(0)
    }

    pub fn message(self) -> String {
        match self {
            Exit::Status(status) => format!("Command exited with status {status}"),
            Exit::Signal(name) => format!("Command terminated with signal {name}"),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum FileChange {
    Made(String),
    Removed(String),
}

/// The life of one process, told in advance.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// When it ends by itself, and how.
    pub end: Option<(Duration, Exit)>,
    pub ignores_term: bool,
    /// A server listens from here on.
    pub listens_after: Option<Duration>,
    /// What it writes, in KiB.
    pub disk_kib: u64,
    /// What it prints.
    pub stdout: String,
    files: Vec<(Duration, FileChange)>,
}

/// Programs that do their work at once.
const SHORT: &[&str] = &[
    ":", "cat", "cd", "chmod", "chown", "cp", "date", "env", "export", "grep", "head", "hostname", "id",
    "ls", "mkdir", "mv", "printf", "pwd", "set", "sort", "tail", "true", "ulimit", "umask", "uname", "unset",
    "wc",
];
/// What a shell needs to start: the first check of a task comes before its first command.
const UNTIL_STARTED: Duration = Duration::from_millis(90);
/// How long a server needs from its start until it listens.
const UNTIL_LISTENING: Duration = Duration::from_millis(600);

impl Plan {
    pub fn of(command: &CommandInfo, files: &BTreeSet<String>) -> Plan {
        let line = command.value.clone().unwrap_or_default();
        if command.shell.unwrap_or(true) {
            return Plan::of_line(&line, files);
        }
        if line.starts_with("/nonexistent/") {
            return Plan { end: Some((Duration::from_millis(60), Exit::Status(1))), ..Plan::default() };
        }
        let rest: Vec<&str> = command.arguments.iter().skip(1).map(String::as_str).collect();
        match rest.as_slice() {
            ["-c", script] => Plan::of_line(script, files),
            _ => Plan::of_line(&format!("{line} {}", rest.join(" ")), files),
        }
    }

    pub fn of_line(line: &str, files: &BTreeSet<String>) -> Plan {
        let mut run =
            Run { plan: Plan::default(), at: Duration::ZERO, status: 0, files: files.clone(), ended: false };
        for (joint, words) in statements(line) {
            let skipped = match joint {
                Joint::Always => false,
                Joint::And => run.status != 0,
                Joint::Or => run.status == 0,
            };
            if !skipped {
                run.statement(&words);
            }
            if run.ended {
                return run.plan;
            }
        }
        run.finish(Exit::Status(run.status));
        run.plan
    }

    /// Runs for ever and listens from the start.
    pub fn service() -> Plan {
        Plan { listens_after: Some(Duration::ZERO), ..Plan::default() }
    }

    /// The files that exist so long after the start.
    pub fn files_at(&self, elapsed: Duration, before: &BTreeSet<String>) -> BTreeSet<String> {
        let mut files = before.clone();
        for (_, change) in self.files.iter().filter(|(at, _)| *at + UNTIL_STARTED <= elapsed) {
            match change {
                FileChange::Made(name) => files.insert(name.clone()),
                FileChange::Removed(name) => files.remove(name),
            };
        }
        files
    }

    /// The status of a short command (a check), run when these files exist.
    pub fn status_of(line: &str, files: &BTreeSet<String>) -> i32 {
        match Plan::of_line(line, files).end {
            Some((_, Exit::Status(status))) => status,
            Some((_, Exit::Signal(_))) => 128,
            None => 0,
        }
    }
}

enum Joint {
    Always,
    And,
    Or,
}

fn statements(line: &str) -> Vec<(Joint, Vec<String>)> {
    let mut out = Vec::new();
    let mut joint = Joint::Always;
    let mut rest = line;
    loop {
        let end = rest.char_indices().find_map(|(at, it)| match it {
            ';' | '\n' => Some((at, 1, Joint::Always)),
            '&' if rest[at..].starts_with("&&") => Some((at, 2, Joint::And)),
            '|' if rest[at..].starts_with("||") => Some((at, 2, Joint::Or)),
            _ => None,
        });
        let (part, next) = match end {
            Some((at, width, next)) => (&rest[..at], Some((at + width, next))),
            None => (rest, None),
        };
        let words: Vec<String> = part.split_whitespace().map(str::to_owned).collect();
        if !words.is_empty() {
            out.push((std::mem::replace(&mut joint, Joint::Always), words));
        }
        match next {
            Some((from, next)) => {
                joint = next;
                rest = &rest[from..];
            }
            None => return out,
        }
    }
}

struct Run {
    plan: Plan,
    at: Duration,
    status: i32,
    files: BTreeSet<String>,
    ended: bool,
}

impl Run {
    fn finish(&mut self, exit: Exit) {
        self.plan.end = Some((self.at, exit));
        self.ended = true;
    }

    fn change(&mut self, change: FileChange) {
        match &change {
            FileChange::Made(name) => self.files.insert(name.clone()),
            FileChange::Removed(name) => self.files.remove(name),
        };
        self.plan.files.push((self.at, change));
    }

    fn statement(&mut self, words: &[String]) {
        let words: Vec<&str> = words.iter().map(String::as_str).skip_while(|it| *it == "exec").collect();
        self.redirections(&words);
        self.status = match words.as_slice() {
            [] | ["true", ..] => 0,
            ["false", ..] => 1,
            ["echo", text @ ..] => {
                if !text.iter().any(|it| it.contains('>')) {
                    self.plan.stdout.push_str(&text.join(" "));
                    self.plan.stdout.push('\n');
                }
                0
            }
            ["sleep", time, ..] => {
                let seconds: f64 = time.trim_end_matches('s').parse().unwrap_or(0.0);
                self.at +=
                    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::from_secs(u64::from(u32::MAX)));
                0
            }
            ["exit"] => return self.finish(Exit::Status(self.status)),
            ["exit", status, ..] => return self.finish(Exit::Status(status.parse().unwrap_or(2))),
            ["kill", "-9" | "-KILL", "$$"] => return self.finish(Exit::Signal("Killed")),
            ["kill", "$$"] | ["kill", "-15" | "-TERM", "$$"] => {
                return self.finish(Exit::Signal("Terminated"));
            }
            ["trap", "''" | "\"\"", ..] => {
                self.plan.ignores_term = true;
                0
            }
            ["touch", names @ ..] => {
                names.iter().for_each(|it| self.change(FileChange::Made((*it).to_owned())));
                0
            }
            ["rm", names @ ..] => {
                names.iter().for_each(|it| self.change(FileChange::Removed((*it).to_owned())));
                0
            }
            ["test" | "[", "-e" | "-f" | "-s" | "-d", name, ..] => i32::from(!self.files.contains(*name)),
            ["test" | "[", "!", "-e" | "-f" | "-s" | "-d", name, ..] => i32::from(self.files.contains(*name)),
            ["dd", arguments @ ..] => {
                self.plan.disk_kib += written_by_dd(arguments);
                0
            }
            ["python" | "python3", "-m", "http.server" | "SimpleHTTPServer", ..] => {
                self.plan.listens_after = Some(self.at + UNTIL_LISTENING);
                self.ended = true;
                0
            }
            [program, ..] if SHORT.contains(program) => 0,
            [program, ..] if program.starts_with("/nonexistent/") => 127,
            [assignment] if assignment.contains('=') => 0,
            _ => {
                self.plan.listens_after = Some(self.at);
                self.ended = true;
                0
            }
        };
    }

    fn redirections(&mut self, words: &[&str]) {
        for pair in words.windows(2) {
            if matches!(pair[0], ">" | ">>") && !pair[1].starts_with('&') {
                self.change(FileChange::Made(pair[1].to_owned()));
            }
        }
    }
}

fn written_by_dd(arguments: &[&str]) -> u64 {
    let value = |name: &str| arguments.iter().find_map(|it| it.strip_prefix(name));
    let block = value("bs=").map_or(512, |it| match it.strip_suffix(['M', 'm']) {
        Some(mib) => mib.parse().unwrap_or(0) * 1024 * 1024,
        None => {
            it.trim_end_matches(['K', 'k']).parse::<u64>().unwrap_or(0)
                * if it.ends_with(['K', 'k']) { 1024 } else { 1 }
        }
    });
    let count: u64 = value("count=").and_then(|it| it.parse().ok()).unwrap_or(0);
    block.saturating_mul(count) / 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `end` is `runs`, or seconds and a status or signal.
    fn check(line: &str, end: &str) {
        let plan = Plan::of_line(line, &BTreeSet::new());
        let told = match plan.end {
            None => "runs".to_owned(),
            Some((at, Exit::Status(status))) => format!("{} {status}", at.as_secs_f64()),
            Some((at, Exit::Signal(name))) => format!("{} {name}", at.as_secs_f64()),
        };
        assert_eq!(told, end, "{line}");
    }

    #[test]
    fn lines_end_as_a_shell_would_end_them() {
        check("echo hello; sleep 3", "3 0");
        check("echo oops >&2; exit 3", "0 3");
        check("kill -9 $$", "0 Killed");
        check("sleep 3; exit 7", "3 7");
        check("trap '' TERM; while true; do sleep 1; done", "runs");
        check("test -e two && exit 2; exit 0", "0 0");
        check("touch two; test -e two && exit 2; exit 0", "0 2");
        check("false || sleep 2", "2 0");
        check("true && false", "0 1");
        check("exec python3 -m http.server 31010", "runs");
        check("./service --port $PORT0", "runs");
        check("env | sort | grep -E '^(FOO)'; sleep 2", "2 0");
        check("", "0 0");
    }

    #[test]
    fn files_come_and_go() {
        let plan = Plan::of_line("touch ok; sleep 5; rm ok; sleep 3; touch ok; sleep 100", &BTreeSet::new());
        let at = |seconds| {
            Plan::status_of("test -e ok", &plan.files_at(Duration::from_secs(seconds), &BTreeSet::new()))
        };
        assert_eq!([at(0), at(1), at(4), at(6), at(9)], [1, 0, 0, 1, 0]);
    }

    #[test]
    fn what_dd_writes_counts() {
        assert_eq!(
            Plan::of_line("dd if=/dev/zero of=big bs=1M count=64; sleep 100", &BTreeSet::new()).disk_kib,
            65536
        );
    }
}
