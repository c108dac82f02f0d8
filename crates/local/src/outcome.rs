//! How a task's end is told: state, message and reason, in Mesos's words.

use marathon_keeper::protocol::{End, How};
use marathon_model::offer::{Reason, TaskState};
use nix::sys::signal::Signal;

use crate::task::Why;

/// What the agent knows about a task besides what the keeper says of its end.
#[derive(Debug, Clone, Copy, Default)]
pub struct Known<'a> {
    /// A kill was asked for.
    pub killed: bool,
    /// The kill came from the engine itself.
    pub why: Option<&'a Why>,
    /// The Docker runner gave this reason before it ended.
    pub failure: Option<&'a str>,
    pub container: bool,
    /// The Docker runner saw the container end for want of memory.
    pub out_of_memory: bool,
    pub memory_limit_mib: Option<u64>,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    pub state: TaskState,
    pub message: String,
    pub reason: Option<Reason>,
}

pub fn of(end: &End, known: Known) -> Outcome {
    if known.killed || end.asked {
        let (message, reason) = match known.why {
            Some(Why::Unhealthy(why)) => (why.clone(), Some(Reason::HealthCheckUnhealthy)),
            Some(Why::Pod(why)) => (why.clone(), Some(Reason::Other)),
            None => (describe(end, known), None),
        };
        return Outcome { state: TaskState::Killed, message, reason };
    }
    if end.out_of_memory || known.out_of_memory {
        let limit = known.memory_limit_mib.map(|it| format!(" of {it} MB")).unwrap_or_default();
        let message = format!("Memory limit exceeded: the task used more than its limit{limit}");
        let reason = Some(Reason::ContainerLimitationMemory);
        return Outcome { state: TaskState::Failed, message, reason };
    }
    let (state, reason) = match &end.how {
        _ if known.failure.is_some() => (TaskState::Failed, Some(Reason::Other)),
        How::Exited { code: 0 } => (TaskState::Finished, None),
        How::Exited { .. } | How::Signaled { .. } => (TaskState::Failed, None),
        How::NotStarted { .. } => (TaskState::Failed, Some(Reason::Other)),
        // It ran and is known to be gone, as when an agent's machine was rebooted.
        How::Vanished { .. } => (TaskState::Gone, Some(Reason::Other)),
    };
    Outcome { state, message: describe(end, known), reason }
}

fn describe(end: &End, known: Known) -> String {
    if let Some(failure) = known.failure {
        return failure.to_owned();
    }
    let subject = if known.container { "Container" } else { "Command" };
    match &end.how {
        How::Exited { code } => format!("{subject} exited with status {code}"),
        How::Signaled { signal } => format!("{subject} terminated with signal {}", signal_name(*signal)),
        How::NotStarted { error } => format!("Failed to start the command: {error}"),
        How::Vanished { why } => format!("The task is gone: {why}"),
    }
}

fn signal_name(number: i32) -> String {
    Signal::try_from(number).map_or_else(|_| number.to_string(), |it| it.as_str().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(how: How, known: Known, oom: bool, want: (TaskState, &str, Option<Reason>)) {
        let end = End { how, out_of_memory: oom, asked: false, at_ms: 0 };
        let Outcome { state, message, reason } = of(&end, known);
        assert_eq!((state, message.as_str(), reason), want);
    }

    #[test]
    fn ends_are_told_as_mesos_does() {
        use TaskState::*;
        let no = Known::default;
        let exit = |code| How::Exited { code };
        check(exit(0), no(), false, (Finished, "Command exited with status 0", None));
        check(exit(3), no(), false, (Failed, "Command exited with status 3", None));
        check(
            How::Signaled { signal: 9 },
            no(),
            false,
            (Failed, "Command terminated with signal SIGKILL", None),
        );
        check(How::Signaled { signal: 40 }, no(), false, (Failed, "Command terminated with signal 40", None));
        let memory = Known { memory_limit_mib: Some(64), ..no() };
        let text = "Memory limit exceeded: the task used more than its limit of 64 MB";
        check(
            How::Signaled { signal: 9 },
            memory,
            true,
            (Failed, text, Some(Reason::ContainerLimitationMemory)),
        );
        let error = "no such file `x`".to_owned();
        let text = "Failed to start the command: no such file `x`";
        check(How::NotStarted { error }, no(), false, (Failed, text, Some(Reason::Other)));
        let why = "the machine was rebooted".to_owned();
        let text = "The task is gone: the machine was rebooted";
        check(How::Vanished { why }, no(), false, (Gone, text, Some(Reason::Other)));
    }

    #[test]
    fn whatever_dies_after_a_kill_was_killed() {
        let killed = Known { killed: true, ..Known::default() };
        let end = |how| End { how, out_of_memory: true, asked: false, at_ms: 0 };
        for how in [How::Exited { code: 0 }, How::Exited { code: 1 }, How::Signaled { signal: 15 }] {
            assert_eq!(of(&end(how), killed).state, TaskState::Killed);
        }
        let why = Why::Unhealthy("unhealthy".to_owned());
        let unhealthy = Known { why: Some(&why), ..killed };
        let outcome = of(&end(How::Signaled { signal: 15 }), unhealthy);
        assert_eq!(
            (outcome.message.as_str(), outcome.reason),
            ("unhealthy", Some(Reason::HealthCheckUnhealthy))
        );
        // The kill may have been asked by an earlier life of the server.
        let asked = End { how: How::Exited { code: 0 }, out_of_memory: false, asked: true, at_ms: 0 };
        assert_eq!(of(&asked, Known::default()).state, TaskState::Killed);
    }

    #[test]
    fn containers_speak_of_themselves() {
        let container = Known { container: true, ..Known::default() };
        check(
            How::Exited { code: 1 },
            container,
            false,
            (TaskState::Failed, "Container exited with status 1", None),
        );
        let failed = Known { failure: Some("no such image"), ..container };
        check(
            How::Exited { code: 125 },
            failed,
            false,
            (TaskState::Failed, "no such image", Some(Reason::Other)),
        );
    }
}
