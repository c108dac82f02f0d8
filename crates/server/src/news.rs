//! What an operator wants to read of what Marathon tells the world: one line for each important event.
//!
//! ```text
//! asked for ─► deployment begins ─► tasks run, fail, get healthy or not ─► deployment ends
//! ```
//! A cluster in trouble has thousands of events a second. Their lines are bounded, and how many are
//! missing is said; all of them are in the event stream.

use std::collections::HashSet;

use marathon_model::deployment::{Deployment, Step};
use marathon_model::id::DeploymentId;
use marathon_model::notice::{Notice, StepNews, What};
use marathon_model::offer::TaskState;
use marathon_model::time::Tick;

/// Lines in a window of time; the rest is only counted.
const LINES_MAX: u32 = 200;
const WINDOW_MS: u64 = 10_000;

#[derive(Debug, Default)]
pub struct News {
    window: u64,
    lines: u32,
    silent: u32,
    /// Deployments whose beginning was told. What ends is taken out, and the core bounds the rest.
    deployments: HashSet<DeploymentId>,
}

impl News {
    pub fn tell(&mut self, notice: &Notice, now: Tick) {
        self.turn_over(now);
        if !self.is_news(&notice.what) {
            return;
        }
        if self.lines >= LINES_MAX {
            self.silent += 1;
            return;
        }
        self.lines += 1;
        log(&notice.what);
    }

    /// Says how much was left out, once that is over.
    pub fn turn_over(&mut self, now: Tick) {
        let window = now.0 / WINDOW_MS;
        if window == self.window {
            return;
        }
        if self.silent > 0 {
            tracing::warn!(
                events = self.silent,
                "more happened than is worth a line each; /v2/events tells all"
            );
        }
        *self = News { window, lines: 0, silent: 0, deployments: std::mem::take(&mut self.deployments) };
    }

    fn is_news(&mut self, what: &What) -> bool {
        match what {
            What::DeploymentStep { how: StepNews::Began, plan, .. } => self.deployments.insert(plan.id),
            What::DeploymentSucceeded { plan } | What::DeploymentFailed { plan, .. } => {
                self.deployments.remove(&plan.id);
                true
            }
            What::StatusUpdate { state, .. } => {
                !matches!(state, TaskState::Staging | TaskState::Starting | TaskState::Killing)
            }
            What::ApiPost { .. }
            | What::PodChanged { .. }
            | What::SchedulerRegistered { .. }
            | What::SchedulerReregistered { .. }
            | What::SchedulerDisconnected
            | What::HealthChanged { .. }
            | What::UnhealthyKilled { .. }
            | What::GroupChangeFailed { .. }
            | What::UnknownInstanceTerminated { .. } => true,
            // Others say the same in other words, or nothing to act upon.
            What::CallbackAdded { .. }
            | What::CallbackRemoved { .. }
            | What::StreamAttached { .. }
            | What::StreamDetached { .. }
            | What::HealthCheckAdded { .. }
            | What::HealthCheckRemoved { .. }
            | What::HealthCheckFailed { .. }
            | What::GroupChanged { .. }
            | What::DeploymentStep { .. }
            | What::AppTerminated { .. }
            | What::InstanceChanged { .. }
            | What::InstanceHealthChanged { .. } => false,
        }
    }
}

fn log(what: &What) {
    match what {
        What::ApiPost { origin, app } => {
            tracing::info!(app = %app.id, version = %app.version, by = origin.client_ip, "app defined");
        }
        What::PodChanged { origin, how } => {
            tracing::info!(uri = origin.uri, ?how, by = origin.client_ip, "pod changed");
        }
        What::SchedulerRegistered { framework, master } => {
            tracing::info!(master, framework, "connected to what runs the tasks");
        }
        What::SchedulerReregistered { master } => {
            tracing::info!(master, "connected again to what runs the tasks");
        }
        What::SchedulerDisconnected => {
            tracing::warn!("disconnected from what runs the tasks; nothing is started or stopped meanwhile");
        }
        What::HealthChanged { task, alive: true, .. } => tracing::info!(%task, "task is healthy"),
        What::HealthChanged { task, alive: false, .. } => tracing::warn!(%task, "task is not healthy"),
        What::UnhealthyKilled { instance, reason } => {
            tracing::warn!(instance = %instance.id, reason, "killed, since it is not healthy");
        }
        What::GroupChangeFailed { group, reason, .. } => {
            tracing::info!(%group, reason, "change refused");
        }
        What::DeploymentStep { plan, step, .. } => {
            let (steps, actions) = (plan.steps.len(), actions(plan, step));
            tracing::info!(deployment = %plan.id, steps, actions, "deployment begins");
        }
        What::DeploymentSucceeded { plan } => {
            tracing::info!(deployment = %plan.id, "deployment done");
        }
        What::DeploymentFailed { plan, reason } => {
            tracing::info!(deployment = %plan.id, reason, "deployment given up");
        }
        What::StatusUpdate { task, state, message, host, .. } => match state {
            TaskState::Running => tracing::info!(%task, host, "task runs"),
            TaskState::Finished | TaskState::Killed => {
                tracing::info!(%task, ?state, why = &**message, "task ended");
            }
            _ => tracing::warn!(%task, ?state, why = &**message, "task ended"),
        },
        What::UnknownInstanceTerminated { instance, .. } => {
            tracing::warn!(%instance, "an instance ended that nobody knows");
        }
        _ => {}
    }
}

/// What the first step does, and to which apps; large ones are cut.
fn actions(plan: &Deployment, step: &Step) -> String {
    const SHOWN_MAX: usize = 5;
    let mut text = step.actions.iter().take(SHOWN_MAX).fold(String::new(), |text, it| {
        let separator = if text.is_empty() { "" } else { ", " };
        format!("{text}{separator}{} {}", it.name(), it.app)
    });
    let rest = plan.affected().len().saturating_sub(step.actions.len().min(SHOWN_MAX));
    if rest > 0 {
        text.push_str(&format!(", then {rest} more"));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use marathon_model::deployment::{Action, ActionKind};
    use marathon_model::id::{SpecId, TaskId};
    use marathon_model::time::Timestamp;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn lines(tell: impl FnOnce(&mut News)) -> Vec<String> {
        let lines = Lines::default();
        let writer = lines.clone();
        let log = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .with_ansi(false)
            .with_target(false)
            .without_time();
        tracing::subscriber::with_default(log.finish(), || tell(&mut News::default()));
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        text.lines().map(|it| it.trim().to_owned()).collect()
    }

    fn notice(what: What) -> Notice {
        Notice { at: Timestamp::default(), what }
    }

    fn task() -> TaskId {
        TaskId::parse("web.instance-0a1b2c3d-b2d0-11e5-9c11-0242ac110002._app.1").unwrap()
    }

    fn status(state: TaskState, message: &str) -> What {
        let (agent, host, message) = ("a".to_owned(), "h".to_owned(), message.into());
        let (ports, addresses, version) = (Vec::new(), Vec::new(), Timestamp::default());
        What::StatusUpdate { task: task(), agent, host, state, message, ports, addresses, version }
    }

    fn plan(apps: usize) -> Arc<Deployment> {
        let action = |it| Action {
            kind: ActionKind::ScaleApplication,
            app: SpecId::parse(&format!("/app-{it}")).unwrap(),
            pod: false,
            victims: Vec::new(),
        };
        let steps =
            vec![Step { actions: (0..apps).map(action).collect() }, Step { actions: vec![action(0)] }];
        Arc::new(Deployment::new(DeploymentId(Default::default()), Timestamp::default(), steps))
    }

    fn check(what: What, want: &[&str]) {
        assert_eq!(lines(|news| news.tell(&notice(what), Tick(0))), want);
    }

    #[test]
    fn what_counts_is_told_and_nothing_twice() {
        let id = task();
        check(status(TaskState::Staging, ""), &[]);
        check(status(TaskState::Running, ""), &[&format!("INFO task runs task={id} host=\"h\"")]);
        let line = format!("WARN task ended task={id} state=Failed why=\"exit 3\"");
        check(status(TaskState::Failed, "exit 3"), &[&line]);
        let line = format!("INFO task ended task={id} state=Killed why=\"\"");
        check(status(TaskState::Killed, ""), &[&line]);
        let health = |alive| What::HealthChanged {
            instance: task().instance,
            task: task(),
            version: Timestamp::default(),
            alive,
        };
        check(health(true), &[&format!("INFO task is healthy task={id}")]);
        check(health(false), &[&format!("WARN task is not healthy task={id}")]);
        check(What::StreamAttached { remote: String::new() }, &[]);
    }

    #[test]
    fn a_deployment_has_a_beginning_and_an_end() {
        let id = DeploymentId(Default::default());
        let step = |plan: &Arc<Deployment>, how, at: usize| {
            notice(What::DeploymentStep { how, plan: plan.clone(), step: plan.steps[at].clone() })
        };
        let told = lines(|news| {
            for apps in [1, 7] {
                let plan = plan(apps);
                for at in [0, 1] {
                    news.tell(&step(&plan, StepNews::Began, at), Tick(0));
                    news.tell(&step(&plan, StepNews::Succeeded, at), Tick(0));
                }
                news.tell(&notice(What::DeploymentSucceeded { plan }), Tick(0));
            }
        });
        let begins =
            |actions: &str| format!("INFO deployment begins deployment={id} steps=2 actions=\"{actions}\"");
        let done = format!("INFO deployment done deployment={id}");
        let scale = |it| format!("ScaleApplication /app-{it}");
        let many = (0..5).map(scale).collect::<Vec<_>>().join(", ") + ", then 2 more";
        assert_eq!(told, [begins("ScaleApplication /app-0"), done.clone(), begins(&many), done]);
    }

    #[test]
    fn a_flood_is_cut_and_counted() {
        let told = lines(|news| {
            let failed = notice(status(TaskState::Failed, ""));
            (0..LINES_MAX + 7).for_each(|_| news.tell(&failed, Tick(5)));
            news.turn_over(Tick(WINDOW_MS - 1));
            news.turn_over(Tick(WINDOW_MS));
            news.tell(&failed, Tick(WINDOW_MS));
        });
        let max = LINES_MAX as usize;
        assert_eq!(told.len(), max + 2);
        assert!(told[max].contains("events=7"), "{}", told[max]);
    }
}
