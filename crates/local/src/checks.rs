//! Carries out the checks that the engine makes beside a task.
//!
//! As with a Mesos executor: commands run in the sandbox with the environment and user of the task
//! (inside its container, if it has one), HTTP and TCP go to where the task listens, and the pause
//! between two checks counts from the end of the first. What a result means is for the agent to say.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use marathon_model::app::CheckCommand;
use marathon_model::offer::{CheckResult, EngineCheck, EngineCheckKind};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::sync::Semaphore;

use crate::agent::{Input, Watch};
use crate::prepare::{Inside, Prepare};
use crate::web::Web;

/// How many commands run at a time, over all tasks. A check that waits for its turn is late, which
/// is better than a machine that is busy with checks.
const COMMANDS_AT_A_TIME: usize = 64;
/// Mesos takes a timeout of zero for none.
const NO_TIMEOUT: Duration = Duration::from_secs(24 * 3600);
/// A pause of zero would be a loop without one.
const PAUSE_FLOOR: Duration = Duration::from_millis(100);

#[derive(Clone)]
pub struct Checker {
    prepare: Arc<Prepare>,
    turns: Arc<Semaphore>,
    web: Arc<Web>,
}

/// Outcome of one check: what was found, or why nothing was.
type Found = Result<CheckResult, String>;

impl Checker {
    pub fn new(prepare: Arc<Prepare>) -> Checker {
        let turns = Arc::new(Semaphore::new(COMMANDS_AT_A_TIME));
        Checker { prepare, turns, web: Arc::default() }
    }

    /// Checks for as long as it is polled. `tell` takes the results.
    pub async fn health(self, watch: Arc<Watch>, check: EngineCheck, tell: impl Fn(Input)) {
        let task = watch.start.launch.task.clone();
        let each = |found: Found| tell(Input::Health { task: task.clone(), outcome: found.and_then(judge) });
        self.repeat(&watch, &check, each).await;
    }

    pub async fn check(self, watch: Arc<Watch>, check: EngineCheck, tell: impl Fn(Input)) {
        let task = watch.start.launch.task.clone();
        let each = |found: Found| {
            let result = match (&check.kind, found) {
                (_, Ok(result)) => result,
                (EngineCheckKind::Tcp { .. }, Err(_)) => CheckResult::Tcp { succeeded: false },
                // Mesos shows a check without a result in this case, which tells nobody anything.
                (_, Err(_)) => return,
            };
            tell(Input::Check { task: task.clone(), result });
        };
        self.repeat(&watch, &check, each).await;
    }

    async fn repeat(&self, watch: &Watch, check: &EngineCheck, each: impl Fn(Found)) {
        if !watch.adopted {
            tokio::time::sleep(check.delay).await;
        }
        // Found out once: its secrets may take a program to find.
        let mut inside = None;
        loop {
            each(self.once(watch, check, &mut inside).await);
            tokio::time::sleep(check.interval.max(PAUSE_FLOOR)).await;
        }
    }

    async fn once(&self, watch: &Watch, check: &EngineCheck, inside: &mut Option<Inside>) -> Found {
        let timeout = if check.timeout.is_zero() { NO_TIMEOUT } else { check.timeout };
        let host = |ipv6: bool| match &watch.address {
            Some(address) => address.to_string(),
            None => if ipv6 { "::1" } else { "127.0.0.1" }.to_owned(),
        };
        match &check.kind {
            EngineCheckKind::Http { https, port, path, ipv6 } => {
                let status = self.web.status(*https, &host(*ipv6), *port, path, timeout).await?;
                Ok(CheckResult::Http { status })
            }
            EngineCheckKind::Tcp { port, ipv6 } => {
                self.web.connect(&host(*ipv6), *port, timeout).await?;
                Ok(CheckResult::Tcp { succeeded: true })
            }
            EngineCheckKind::Command(command) => {
                let _turn = self.turns.acquire().await.map_err(|error| error.to_string())?;
                let exit_code = match &watch.container {
                    Some(container) => self.exec(container, command, timeout).await?,
                    None => {
                        let known = match inside.take() {
                            Some(known) => known,
                            None => self.inside(watch).await?,
                        };
                        run(command, inside.insert(known), timeout).await?
                    }
                };
                Ok(CheckResult::Command { exit_code })
            }
        }
    }

    async fn inside(&self, watch: &Watch) -> Result<Inside, String> {
        let (prepare, start) = (self.prepare.clone(), watch.start.clone());
        let inside = tokio::task::spawn_blocking(move || prepare.inside(&start)).await;
        inside.map_err(|error| error.to_string())?
    }

    async fn exec(&self, container: &str, command: &CheckCommand, timeout: Duration) -> Result<i32, String> {
        let socket =
            self.prepare.config.docker_socket.clone().unwrap_or_else(marathon_docker::default_socket);
        let done = marathon_docker::exec_in(&socket, container, &argv(command, "sh"), timeout).await;
        done.map_err(|error| error.to_string())
    }
}

fn judge(found: CheckResult) -> Result<(), String> {
    match found {
        CheckResult::Http { status: 200..=399 } | CheckResult::Tcp { succeeded: true } => Ok(()),
        CheckResult::Command { exit_code: 0 } => Ok(()),
        CheckResult::Http { status } => Err(format!("HTTP status {status}")),
        CheckResult::Tcp { succeeded: false } => Err("no TCP connection".to_owned()),
        CheckResult::Command { exit_code } => Err(format!("the command exited with status {exit_code}")),
    }
}

fn argv(command: &CheckCommand, shell: &str) -> Vec<String> {
    match command {
        CheckCommand::Shell(line) => vec![shell.to_owned(), "-c".to_owned(), line.clone()],
        CheckCommand::Argv(argv) => argv.clone(),
    }
}

/// Runs a command as the task would. Its whole process group ends with the time limit.
async fn run(command: &CheckCommand, inside: &Inside, timeout: Duration) -> Result<i32, String> {
    let Inside { sandbox, env, identity, network_pid } = inside;
    let argv = argv(command, "/bin/sh");
    let [program, args @ ..] = argv.as_slice() else { return Err("the command is empty".to_owned()) };
    let mut process = tokio::process::Command::new(program_path(program, env));
    process
        .args(args)
        .env_clear()
        .envs(env.iter().cloned())
        .current_dir(sandbox)
        .process_group(0)
        .kill_on_drop(true);
    process.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if let Some(pid) = network_pid {
        let network = std::fs::File::open(format!("/proc/{pid}/ns/net"));
        let network = network.map_err(|error| format!("the network of the pod is not there: {error}"))?;
        let user = identity.as_ref().map(|it| (it.uid, it.gid));
        marathon_posix::in_network(process.as_std_mut(), network.into(), user);
    } else if let Some(identity) = identity {
        // This also drops the supplementary groups of the server.
        process.uid(identity.uid).gid(identity.gid);
    }
    let mut child = process.spawn().map_err(|error| format!("cannot run `{program}`: {error}"))?;
    let group = Group(child.id().and_then(|it| i32::try_from(it).ok()));
    let status = match tokio::time::timeout(timeout, child.wait()).await {
        Ok(status) => status.map_err(|error| error.to_string())?,
        Err(_) => {
            drop(group);
            let _ = child.wait().await;
            return Err(format!("the command took longer than {timeout:?}"));
        }
    };
    status.code().ok_or_else(|| "the command was killed by a signal".to_owned())
}

/// A program without a slash is looked up in the task's `PATH`, not in that of the server.
fn program_path(program: &str, env: &[(String, String)]) -> PathBuf {
    let path = env.iter().find(|(name, _)| name == "PATH").map_or("", |(_, value)| value);
    let found = || path.split(':').map(|it| PathBuf::from(it).join(program)).find(|it| it.is_file());
    if program.contains('/') { program.into() } else { found().unwrap_or_else(|| program.into()) }
}

/// Kills what a command has left behind, also when the check itself is given up.
struct Group(Option<i32>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn check(command: CheckCommand, want: Result<i32, &str>) {
        let dir = tempfile::tempdir().unwrap();
        let env = vec![("PATH".to_owned(), "/bin:/usr/bin".to_owned()), ("X".to_owned(), "1".to_owned())];
        let inside = Inside { sandbox: dir.path().to_owned(), env, identity: None, network_pid: None };
        let got = run(&command, &inside, Duration::from_millis(800)).await;
        assert_eq!(got.as_ref().map(|it| *it).map_err(String::as_str), want, "{command:?}");
    }

    #[tokio::test]
    async fn commands_run_with_the_tasks_environment() {
        let shell = |line: &str| CheckCommand::Shell(line.to_owned());
        let argv = |argv: &[&str]| CheckCommand::Argv(argv.iter().map(|it| (*it).to_owned()).collect());
        check(shell("exit $((X + 2))"), Ok(3)).await;
        check(shell("test -z \"$HOME\" && touch here && test -f here"), Ok(0)).await;
        check(argv(&["true"]), Ok(0)).await;
        check(argv(&["false"]), Ok(1)).await;
        check(argv(&[]), Err("the command is empty")).await;
        check(shell("kill -9 $$"), Err("the command was killed by a signal")).await;
        check(shell("sleep 60 & sleep 60"), Err("the command took longer than 800ms")).await;
        let missing = "cannot run `no-such-program`: No such file or directory (os error 2)";
        check(argv(&["no-such-program"]), Err(missing)).await;
    }

    #[test]
    fn what_counts_as_healthy() {
        for (found, healthy) in [
            (CheckResult::Http { status: 200 }, true),
            (CheckResult::Http { status: 399 }, true),
            (CheckResult::Http { status: 400 }, false),
            (CheckResult::Http { status: 101 }, false),
            (CheckResult::Tcp { succeeded: true }, true),
            (CheckResult::Command { exit_code: 1 }, false),
        ] {
            assert_eq!(judge(found).is_ok(), healthy, "{found:?}");
        }
    }
}
