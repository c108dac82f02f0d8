//! Real processes for tasks (`--real`): each in a sandbox and a process group of its own.

use std::collections::HashMap;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Stdio;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

use crate::script::Exit;
use crate::sim::Job;

/// The processes that run, by the numbers that the simulation gave them.
#[derive(Debug)]
pub struct Processes {
    groups: HashMap<u32, Pid>,
    ends: mpsc::UnboundedSender<(u32, Exit)>,
}

impl Processes {
    /// The second part tells the end of each process; there is one message per process, so it needs no bound.
    pub fn new() -> (Processes, mpsc::UnboundedReceiver<(u32, Exit)>) {
        let (ends, ended) = mpsc::unbounded_channel();
        (Processes { groups: HashMap::new(), ends }, ended)
    }

    pub fn start(&mut self, process: u32, job: &Job) {
        match spawn(job) {
            Ok(child) => {
                if let Some(id) = child.id().and_then(|it| i32::try_from(it).ok()) {
                    self.groups.insert(process, Pid::from_raw(id));
                }
                let ends = self.ends.clone();
                tokio::spawn(async move {
                    let _ = ends.send((process, outcome(child).await));
                });
            }
            Err(_) => {
                let _ = self.ends.send((process, Exit::Status(127)));
            }
        }
    }

    pub fn signal(&self, process: u32, hard: bool) {
        if let Some(group) = self.groups.get(&process) {
            // A group that is gone already needs no signal.
            let _ = killpg(*group, if hard { Signal::SIGKILL } else { Signal::SIGTERM });
        }
    }

    pub fn ended(&mut self, process: u32) {
        if let Some(group) = self.groups.remove(&process) {
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        for group in self.groups.values() {
            let _ = killpg(*group, Signal::SIGKILL);
        }
    }
}

fn spawn(job: &Job) -> std::io::Result<Child> {
    std::fs::create_dir_all(&job.directory)?;
    let file = |name: &str| std::fs::File::create(Path::new(&job.directory).join(name));
    let line = job.command.value.clone().unwrap_or_default();
    let mut command = if job.command.shell.unwrap_or(true) {
        let mut it = Command::new("/bin/sh");
        it.arg("-c").arg(line);
        it
    } else {
        let mut it = Command::new(line);
        it.args(job.command.arguments.iter().skip(1));
        it
    };
    for variable in job.command.environment.iter().flat_map(|it| &it.variables) {
        command.env(&variable.name, variable.value.clone().unwrap_or_default());
    }
    command.env("MESOS_SANDBOX", &job.directory);
    command.current_dir(&job.directory).stdin(Stdio::null()).stdout(file("stdout")?).stderr(file("stderr")?);
    command.process_group(0).kill_on_drop(true).spawn()
}

async fn outcome(mut child: Child) -> Exit {
    match child.wait().await {
        Ok(status) => match (status.code(), status.signal()) {
            (Some(code), _) => Exit::Status(code),
            (None, Some(9)) => Exit::Signal("Killed"),
            (None, Some(15)) => Exit::Signal("Terminated"),
            (None, Some(11)) => Exit::Signal("Segmentation fault"),
            (None, _) => Exit::Signal("Aborted"),
        },
        Err(_) => Exit::Status(127),
    }
}
