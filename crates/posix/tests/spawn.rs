//! Starts real processes and looks at them from outside.

#![allow(clippy::unwrap_used)]

use std::ffi::{CStr, CString};
use std::fs::{self, File};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use marathon_posix::{Errno, Setup, SpawnError, Spawner, Stage};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

fn strings(of: &[&str]) -> Vec<CString> {
    of.iter().map(|it| CString::new(*it).unwrap()).collect()
}

struct Asked<'a> {
    programs: &'a [&'a str],
    argv: &'a [&'a str],
    cwd: &'a CStr,
    oom_score: Option<&'a CStr>,
    open_files: Option<(u64, u64)>,
}

impl Default for Asked<'_> {
    fn default() -> Self {
        Asked { programs: &["/bin/sh"], argv: &["sh"], cwd: c"/", oom_score: None, open_files: None }
    }
}

fn start(asked: &Asked<'_>, out: &Path, extra: Option<BorrowedFd<'_>>) -> Result<WaitStatus, SpawnError> {
    let null = File::open("/dev/null").unwrap();
    let out = File::create(out).unwrap();
    let pid = Spawner::new().unwrap().start(&Setup {
        programs: &strings(asked.programs),
        argv: &strings(asked.argv),
        env: &strings(&["PATH=/usr/bin:/bin", "WORD=hello"]),
        cwd: asked.cwd,
        stdio: [null.as_fd(), out.as_fd(), out.as_fd()],
        extra,
        network: None,
        cgroups: &[],
        identity: None,
        open_files: asked.open_files,
        oom_score: asked.oom_score,
    })?;
    Ok(waitpid(Pid::from_raw(pid), None).unwrap())
}

/// What `script` prints when started with nothing special.
fn output(script: &str, asked: Asked<'_>, extra: Option<BorrowedFd<'_>>) -> String {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let argv = ["sh", "-c", script];
    let status = start(&Asked { argv: &argv, ..asked }, &out, extra).unwrap();
    assert!(matches!(status, WaitStatus::Exited(_, 0)), "{status:?}: {}", fs::read_to_string(&out).unwrap());
    fs::read_to_string(out).unwrap().trim().to_owned()
}

fn check(script: &str, expected: &str) {
    assert_eq!(output(script, Asked::default(), None), expected, "{script}");
}

#[test]
fn the_environment_is_the_given_one() {
    check("echo $WORD", "hello");
}

#[test]
fn the_session_is_its_own() {
    check(
        "read -r _ _ _ _ group session _ </proc/$$/stat; [ $group = $$ ] && [ $session = $$ ] && echo yes",
        "yes",
    );
}

#[test]
fn no_signal_is_blocked_or_ignored() {
    // A shell may ignore nothing of its own here; the Rust runtime ignores SIGPIPE in the parent.
    check(
        "grep -E '^Sig(Blk|Ign)' /proc/self/status | tr -d '\\t\\n'",
        "SigBlk:0000000000000000SigIgn:0000000000000000",
    );
}

#[test]
fn no_descriptor_leaks() {
    // One the library does not know about, without close-on-exec.
    let open = File::open("/dev/null").unwrap();
    let _leak = nix::unistd::dup(&open).unwrap();
    check("ls /proc/self/fd | grep -vx 3 | tr '\\n' ' '", "0 1 2"); // 3 is the folder `ls` reads
}

#[test]
fn the_report_pipe_is_descriptor_3() {
    let folder = tempfile::tempdir().unwrap();
    let said = folder.path().join("said");
    let file = File::create(&said).unwrap();
    output("echo ready >&3", Asked::default(), Some(file.as_fd()));
    assert_eq!(fs::read_to_string(said).unwrap(), "ready\n");
}

#[test]
fn the_folder_and_umask_are_set() {
    assert_eq!(output("pwd; umask", Asked { cwd: c"/usr", ..Asked::default() }, None), "/usr\n0022");
}

#[test]
fn limits_and_scores_apply() {
    let asked = Asked { oom_score: Some(c"77"), open_files: Some((123, 456)), ..Asked::default() };
    let script = "cat /proc/self/oom_score_adj; ulimit -Sn; ulimit -Hn";
    assert_eq!(output(script, asked, None), "77\n123\n456");
}

fn check_error(asked: Asked<'_>, stage: Stage, errno: Errno) {
    let folder = tempfile::tempdir().unwrap();
    let error = start(&asked, &folder.path().join("out"), None).unwrap_err();
    assert_eq!(error, SpawnError { stage, errno });
}

#[test]
fn errors_name_their_step() {
    let folder = tempfile::tempdir().unwrap();
    let plain = folder.path().join("plain");
    fs::write(&plain, "text").unwrap();
    let plain = plain.to_str().unwrap();
    check_error(Asked { programs: &["/no/such"], ..Asked::default() }, Stage::Execute, Errno::ENOENT);
    check_error(Asked { programs: &[plain], ..Asked::default() }, Stage::Execute, Errno::EACCES);
    check_error(Asked { programs: &[plain, "/no/such"], ..Asked::default() }, Stage::Execute, Errno::EACCES);
    check_error(Asked { cwd: c"/no/such", ..Asked::default() }, Stage::Cwd, Errno::ENOENT);
}

#[test]
fn the_next_candidate_is_tried() {
    let asked = Asked { programs: &["/no/such", "/bin/sh"], ..Asked::default() };
    assert_eq!(output("echo found", asked, None), "found");
}

#[test]
fn a_pidfd_knows_the_exit_of_a_reaped_process() {
    let mut child = std::process::Command::new("/bin/sh").args(["-c", "exit 7"]).spawn().unwrap();
    let pidfd = marathon_posix::pidfd_open(child.id() as i32).unwrap();
    child.wait().unwrap();
    // Kernels before 6.15 do not keep it; a wrong number would be worse than none.
    assert!(matches!(marathon_posix::pidfd_exit(pidfd.as_fd()), Err(_) | Ok(Some(0x700))));
}

#[test]
fn statuses_are_read_apart() {
    for (status, expected) in [(0, Ok(0)), (0x700, Ok(7)), (9, Err(9)), (0x80 | 11, Err(11)), (40, Err(40))] {
        assert_eq!(marathon_posix::status_parts(status), expected, "{status}");
    }
}

#[test]
fn only_open_descriptors_are_taken() {
    for fd in [-1, 0, 2, 9999] {
        assert!(marathon_posix::take_fd(fd).is_err(), "{fd}");
    }
}
