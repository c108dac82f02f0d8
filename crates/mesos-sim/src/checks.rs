//! Health checks and checks of simulated tasks.

use std::time::Duration;

use marathon_mesos_v1::{
    CheckInfoType, CheckStatusInfo, CheckStatusInfoCommand, CheckStatusInfoHttp, CheckStatusInfoTcp,
    HealthCheckType, TaskState, TaskStatusReason,
};

use crate::executors::seconds;
use crate::script::Plan;
use crate::sim::Sim;
use crate::state::{Checking, Run};
use crate::time::Time;
use crate::validate;

impl Sim {
    pub(crate) fn check_health(&mut self, at: usize) {
        let now = self.now;
        let Some(task) = self.tasks.get_mut(at) else { return };
        let Some(run) = task.run.as_mut() else { return };
        let passed = health_result(run, now);
        let Run { health, began, .. } = &mut **run;
        let Some(checking) = health.as_deref_mut() else { return };
        let Some(spec) = checking.health.as_ref() else { return };
        checking.next =
            now.plus(seconds(spec.interval_seconds.unwrap_or(10.0)).max(Duration::from_millis(10)));
        let in_grace = now < began.plus(seconds(spec.grace_period_seconds.unwrap_or(10.0)));
        let before = task.healthy;
        let limit = spec.consecutive_failures.unwrap_or(3);
        if passed {
            checking.failures = 0;
            if before == Some(true) {
                return;
            }
        } else {
            if in_grace && before.is_none() {
                return;
            }
            checking.failures += 1;
        }
        let exhausted = !passed && limit <= checking.failures;
        task.healthy = Some(passed);
        let status = self
            .executor_says(TaskState::TASK_RUNNING)
            .because(TaskStatusReason::REASON_TASK_HEALTH_CHECK_STATUS_UPDATED);
        self.emit(at, status);
        if exhausted {
            self.start_kill(at, None, None);
        }
    }

    pub(crate) fn check_status(&mut self, at: usize) {
        let now = self.now;
        let Some(task) = self.tasks.get_mut(at) else { return };
        let Some(run) = task.run.as_mut() else { return };
        let elapsed = now.since(run.began);
        let files = run.plan.files_at(elapsed, &run.before);
        let listens = run.plan.listens_after.is_some_and(|it| it <= elapsed);
        let Some(checking) = run.check.as_deref_mut() else { return };
        let Some(spec) = checking.check.as_ref() else { return };
        checking.next =
            now.plus(seconds(spec.interval_seconds.unwrap_or(10.0)).max(Duration::from_millis(10)));
        let kind = spec.r#type.unwrap_or_default();
        let mut result = empty_check(kind);
        let number = match CheckInfoType::try_from(kind) {
            Ok(CheckInfoType::COMMAND) => {
                let line = spec.command.as_ref().and_then(|it| it.command.value.clone()).unwrap_or_default();
                let status = Plan::status_of(&line, &files);
                result.command = Some(CheckStatusInfoCommand { exit_code: Some(status) });
                Some(i64::from(status))
            }
            Ok(CheckInfoType::HTTP) => {
                let path = spec.http.as_ref().and_then(|it| it.path.as_deref()).unwrap_or("/");
                let code = listens.then_some(if path == "/" { 200 } else { 404 });
                result.http = Some(CheckStatusInfoHttp { status_code: code });
                code.map(i64::from)
            }
            _ => {
                result.tcp = Some(CheckStatusInfoTcp { succeeded: Some(listens) });
                Some(i64::from(listens))
            }
        };
        if checking.last == number {
            return;
        }
        checking.last = number;
        task.checked = Some(Box::new(result));
        let status = self
            .executor_says(TaskState::TASK_RUNNING)
            .because(TaskStatusReason::REASON_TASK_CHECK_STATUS_UPDATED);
        self.emit(at, status);
    }
}

pub(crate) fn due(checking: Option<&Checking>, now: Time) -> bool {
    checking.is_some_and(|it| it.next <= now)
}

pub(crate) fn empty_check(kind: i32) -> CheckStatusInfo {
    let is = |it: CheckInfoType| kind == it as i32;
    CheckStatusInfo {
        r#type: Some(kind),
        command: is(CheckInfoType::COMMAND).then(CheckStatusInfoCommand::default),
        http: is(CheckInfoType::HTTP).then(CheckStatusInfoHttp::default),
        tcp: is(CheckInfoType::TCP).then(CheckStatusInfoTcp::default),
    }
}

pub(crate) fn health_result(run: &Run, now: Time) -> bool {
    let elapsed = now.since(run.began);
    let Some(checking) = run.health.as_deref() else { return true };
    if !checking.told.is_empty() {
        return checking
            .told
            .iter()
            .rev()
            .find(|(from, _)| *from <= elapsed)
            .is_none_or(|(_, passes)| *passes);
    }
    let Some(spec) = checking.health.as_ref() else { return true };
    let listens = run.plan.listens_after.is_some_and(|it| it <= elapsed);
    match spec.r#type.or_else(|| validate::inferred(spec)).and_then(|it| HealthCheckType::try_from(it).ok()) {
        Some(HealthCheckType::COMMAND) => {
            let line = spec.command.as_ref().and_then(|it| it.value.clone()).unwrap_or_default();
            Plan::status_of(&line, &run.plan.files_at(elapsed, &run.before)) == 0
        }
        Some(HealthCheckType::HTTP) => {
            let path = spec.http.as_ref().and_then(|it| it.path.as_deref()).unwrap_or("/");
            listens && (path == "/" || run.plan.listens_after == Some(Duration::ZERO))
        }
        _ => listens,
    }
}
