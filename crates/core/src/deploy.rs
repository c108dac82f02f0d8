//! The life of a deployment: accepted, stepped through, ended, undone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use marathon_model::app::AppSpec;
use marathon_model::command::{Refusal, Reply, Violation};
use marathon_model::deployment::{Action, ActionKind, AppChange, Cause, Deployment, GroupChange, Step};
use marathon_model::group::Group;
use marathon_model::id::{DeploymentId, GroupId, InstanceId, SpecId};
use marathon_model::notice::{StepNews, What};
use marathon_model::time::Timestamp;

use crate::Core;
use crate::plan::{self, Tree};
use crate::timers::Timer;

/// A wanted change of the tree, before it is known to be legal.
#[derive(Debug)]
pub struct Draft {
    /// The definition an app shall have; `None` removes it. Version fields are stamped later.
    pub apps: BTreeMap<SpecId, Option<Arc<AppSpec>>>,
    pub groups: BTreeMap<GroupId, Option<Group>>,
    pub restarted: BTreeSet<SpecId>,
    /// Apps that come back to an earlier configuration, whose name they get back too.
    pub returning: BTreeSet<SpecId>,
    pub victims: BTreeMap<SpecId, Vec<InstanceId>>,
    /// What the change is about, for `group_change_success`.
    pub about: GroupId,
    pub force: bool,
    pub dry_run: bool,
    /// It puts back what another deployment changed: the server's default guard is not for that, or a roll
    /// back that fails would be rolled back in turn.
    pub undoes: bool,
    /// The deployment that gave up and is undone.
    pub cause: Option<Cause>,
    /// Groups may change how they give out roles only where no service changes along with that.
    pub roles_apart: bool,
}

/// An accepted change.
pub struct Accepted {
    pub version: Timestamp,
    pub deployment: DeploymentId,
}

impl Core {
    /// Checks a draft against everything there is and, if nothing speaks against it, makes it so.
    pub(crate) fn deploy(&mut self, mut draft: Draft) -> Result<Result<Accepted, Vec<Step>>, Refusal> {
        let about = std::mem::replace(&mut draft.about, GroupId::root());
        let version = self.next_version();
        let result = self.try_deploy(draft, version);
        match &result {
            Ok(Ok(_)) => self.world.publish(What::GroupChanged { group: about, version }),
            Ok(Err(_)) => {}
            Err(refusal) => {
                let reason = reason(refusal);
                self.world.publish(What::GroupChangeFailed { group: about, version, reason });
            }
        }
        result
    }

    fn try_deploy(
        &mut self,
        mut draft: Draft,
        version: Timestamp,
    ) -> Result<Result<Accepted, Vec<Step>>, Refusal> {
        let running = self.world.view.deployments.len();
        if running >= self.policy.max_running_deployments && !draft.force && !draft.dry_run {
            self.world.view.counters.deployments_dismissed += 1;
            return Err(Refusal::TooManyDeployments { limit: self.policy.max_running_deployments });
        }
        let guard = self.guard_of(&draft)?;
        self.add_groups(&mut draft, version);
        self.assign_service_ports(&mut draft)?;
        let changes = self.stamp(&mut draft, version);
        let depths = self.check_tree(&changes, &draft)?;
        let steps = plan::steps(&changes, &depths, &draft.victims);
        if draft.dry_run {
            return Ok(Err(steps));
        }
        let affected: BTreeSet<&SpecId> = steps.iter().flat_map(|it| &it.actions).map(|it| &it.app).collect();
        let holders: BTreeSet<DeploymentId> = affected
            .iter()
            .filter_map(|it| self.world.app(it))
            .flat_map(|it| it.deployments.iter().copied())
            .collect();
        if !holders.is_empty() && !draft.force {
            return Err(Refusal::Locked { holders: holders.into_iter().collect() });
        }
        for holder in holders {
            self.fail(holder, "The upgrade has been cancelled");
        }
        let group_changes = self.apply(&changes, &draft, version);
        let id = self.ids.deployment(self.world.now.wall);
        self.world.view.counters.deployments += 1;
        let began_at = self.world.now.wall;
        let plan = Deployment {
            id,
            version,
            steps: steps.into(),
            current: 0,
            changes: changes.into(),
            group_changes,
            began_at,
            guard,
            failures: 0,
            cause: draft.cause.take(),
        };
        self.begin(plan);
        Ok(Ok(Accepted { version, deployment: id }))
    }

    /// Always later than every version before, whatever the wall clock does.
    fn next_version(&self) -> Timestamp {
        self.world.now.wall.max(Timestamp(self.world.view.root_version.0 + 1))
    }

    /// Groups around new apps come into being with them; an empty group gives way to an app of its name.
    fn add_groups(&self, draft: &mut Draft, version: Timestamp) {
        let new: Vec<SpecId> = draft
            .apps
            .iter()
            .filter(|(id, it)| it.is_some() && self.world.spec(id).is_none())
            .map(|it| it.0.clone())
            .collect();
        let groups: Vec<GroupId> =
            draft.groups.iter().filter(|it| it.1.is_some()).map(|it| it.0.clone()).collect();
        for id in new.iter().chain(&groups) {
            for (depth, group) in id.ancestors().into_iter().enumerate() {
                let missing = match draft.groups.get(&group) {
                    Some(changed) => changed.is_none(),
                    None => !self.world.view.groups.contains_key(&group),
                };
                if missing {
                    let enforce_role = depth == 1 && self.policy.rules.new_group_enforce_role;
                    let group = Group { id: group.clone(), dependencies: Vec::new(), enforce_role, version };
                    draft.groups.insert(group.id.clone(), Some(group));
                }
            }
        }
        for id in &new {
            let has_group = self.world.view.groups.contains_key(id) && !draft.groups.contains_key(id);
            let is_empty =
                self.world.apps_below(id).next().is_none() && self.world.groups_below(id).next().is_none();
            if has_group && is_empty {
                draft.groups.insert(id.clone(), None);
            }
        }
    }

    /// Every service port 0 becomes the smallest free one; an app keeps those it had.
    fn assign_service_ports(&self, draft: &mut Draft) -> Result<(), Refusal> {
        let (first, last) = (self.policy.local_port_min, self.policy.local_port_max);
        let mut given: BTreeSet<u16> =
            draft.apps.values().flatten().flat_map(|it| it.service_ports()).filter(|it| *it != 0).collect();
        let mut candidate = first;
        for spec in draft.apps.values_mut().flatten() {
            let ports = spec.service_ports();
            if !ports.contains(&0) {
                continue;
            }
            let explicit: Vec<u16> = ports.into_iter().filter(|it| *it != 0).collect();
            let before = self.world.spec(&spec.id).map(|it| it.service_ports()).unwrap_or_default();
            let kept = before.into_iter().filter(|it| (first..=last).contains(it) && !explicit.contains(it));
            let mut kept = kept.collect::<Vec<_>>().into_iter();
            for port in Arc::make_mut(spec).service_ports_mut().into_iter().filter(|it| **it == 0) {
                *port = match kept.next() {
                    Some(kept) => kept,
                    None => loop {
                        let free =
                            !self.world.service_ports.contains_key(&candidate) && !given.contains(&candidate);
                        if free && (first..=last).contains(&candidate) {
                            break candidate;
                        }
                        if candidate >= last {
                            return Err(Refusal::PortsExhausted { first, last });
                        }
                        candidate += 1;
                    },
                };
                given.insert(*port);
            }
        }
        Ok(())
    }

    /// Gives changed definitions their versions; unchanged ones drop out. Takes them out of the draft.
    fn stamp(&self, draft: &mut Draft, version: Timestamp) -> Vec<AppChange> {
        use marathon_model::app::Change;
        let mut changes = Vec::new();
        for (id, after) in std::mem::take(&mut draft.apps) {
            let before = self.world.spec(&id).cloned();
            let Some(mut spec) = after else {
                if before.is_some() {
                    changes.push(AppChange { id, before, after: None });
                }
                continue;
            };
            let after = Arc::make_mut(&mut spec);
            let returns_to = draft.returning.contains(&id).then_some(after.config);
            #[cfg(feature = "old-faults")]
            let returns_to = returns_to.filter(|_| !self.has(crate::Fault::RollbackKills));
            after.version = version;
            after.last_scaling_at = version;
            after.last_config_change_at = version;
            after.config = returns_to.unwrap_or(version);
            if let Some(before) = &before {
                let change = before.change_to(after);
                let restarted = draft.restarted.contains(&id);
                if restarted {
                    after.last_scaling_at = before.last_scaling_at;
                } else if change != Change::Replace {
                    if change == Change::None && returns_to.is_none_or(|it| it == before.config) {
                        continue;
                    }
                    after.last_config_change_at = before.last_config_change_at;
                    after.config = returns_to.unwrap_or(before.config);
                }
            }
            changes.push(AppChange { id, before, after: Some(spec) });
        }
        changes
    }

    /// Rules that concern more than one app: no two things of one name, no dependency in a circle.
    fn check_tree(&self, changes: &[AppChange], draft: &Draft) -> Result<plan::Known, Refusal> {
        let tree = Tree::new(&self.world, changes, &draft.groups);
        let mut violations = Vec::new();
        let one_name = |is_pod: bool| {
            let what = if is_pod { "Pods" } else { "Applications" };
            Violation::new("/", format!("Groups and {what} may not have the same identifier."))
        };
        for change in changes.iter().filter(|it| it.before.is_none()) {
            let Some(after) = &change.after else { continue };
            let around = change.id.ancestors().into_iter().find_map(|it| tree.app(&it));
            if tree.group(&change.id).is_some() {
                violations.push(one_name(after.is_pod()));
            }
            violations.extend(around.map(|it| one_name(it.is_pod())));
        }
        for (id, _) in draft.groups.iter().filter(|it| it.1.is_some()) {
            violations.extend(tree.app(id).map(|it| one_name(it.is_pod())));
        }
        // An earlier version of a group may know an app where a pod is now.
        let turns = |it: &AppChange| {
            it.before.as_ref().zip(it.after.as_ref()).is_some_and(|(a, b)| a.is_pod() != b.is_pod())
        };
        if changes.iter().any(turns) {
            violations.push(crate::edit_pod::same_id("/"));
        }
        // A new circle leads through something that changed: an app, or the dependencies of a group.
        let depends_anew = |(id, group): &(&GroupId, &Option<Group>)| {
            let before = self.world.view.groups.get(*id).map(|it| it.dependencies.as_slice());
            group.as_ref().is_some_and(|it| it.dependencies.as_slice() != before.unwrap_or_default())
        };
        let groups = draft.groups.iter().filter(depends_anew).flat_map(|(id, _)| tree.members(id));
        let depths = plan::depths(&tree, changes.iter().map(|it| &it.id).chain(groups));
        if depths.is_err() {
            violations.push(Violation::new("/", "Dependency graph has cyclic dependencies."));
        }
        let turned = |(id, group): (&GroupId, &Option<Group>)| {
            let before = self.world.view.groups.get(id).map(|it| it.enforce_role);
            before.zip(group.as_ref()).is_some_and(|(before, after)| before != after.enforce_role)
        };
        if draft.roles_apart && !changes.is_empty() && draft.groups.iter().any(turned) {
            let text = "enforceRole cannot be modified in a request that adds, removes or modifies services; \
                        please make these changes in separate requests.";
            violations.push(Violation::new("/", text));
        }
        violations.extend(crate::owned::judge_updates(changes, draft.force));
        violations.extend(crate::owned::judge_names(&self.world, changes));
        violations.dedup();
        match depths {
            Ok(depths) if violations.is_empty() => Ok(depths),
            _ => Err(Refusal::Invalid(violations)),
        }
    }

    fn apply(&mut self, changes: &[AppChange], draft: &Draft, version: Timestamp) -> Vec<GroupChange> {
        let mut group_changes = Vec::new();
        for (id, group) in &draft.groups {
            let before = self.world.view.groups.get(id).cloned();
            let after = group.clone().map(|it| Group { version, ..it });
            let same = match (&before, &after) {
                (Some(a), Some(b)) => a.dependencies == b.dependencies && a.enforce_role == b.enforce_role,
                (None, None) => true,
                _ => false,
            };
            if same {
                continue;
            }
            match after.clone() {
                Some(group) => self.world.put_group(group),
                None => self.world.remove_group(id, version),
            }
            group_changes.push(GroupChange { id: id.clone(), before, after: after.map(Arc::new) });
        }
        for change in changes {
            match &change.after {
                Some(spec) => self.world.put_spec(spec.clone()),
                None => self.world.remove_spec(&change.id, version),
            }
            self.announce_checks(change);
        }
        self.put_root(version);
        group_changes
    }

    fn announce_checks(&mut self, change: &AppChange) {
        let before = change.before.as_ref().map(|it| it.health_checks.as_slice()).unwrap_or_default();
        let Some(after) = &change.after else {
            for _ in before {
                self.world.publish(What::HealthCheckRemoved { app: change.id.clone() });
            }
            return;
        };
        for check in after.health_checks.iter().filter(|it| !before.contains(it)) {
            let (app, version, check) = (change.id.clone(), after.version, check.clone());
            self.world.publish(What::HealthCheckAdded { app, version, check });
        }
        for _ in before.iter().filter(|it| !after.health_checks.contains(it)) {
            self.world.publish(What::HealthCheckRemoved { app: change.id.clone() });
        }
    }

    fn begin(&mut self, plan: Deployment) {
        for action in plan.steps.iter().flat_map(|it| &it.actions) {
            if action.kind == ActionKind::RestartApplication {
                self.reset_delay(&action.app);
            }
        }
        if plan.steps.is_empty() {
            self.world.publish(What::DeploymentSucceeded { plan: Arc::new(plan) });
            return;
        }
        let id = plan.id;
        self.watch_deadline(&plan);
        self.world.put_deployment(plan.clone());
        #[cfg(feature = "old-faults")]
        self.forget_to_store(id);
        self.announce_step(&plan, StepNews::Began);
        self.advance(id);
    }

    fn announce_step(&mut self, plan: &Deployment, how: StepNews) {
        if let Some(step) = plan.step().cloned() {
            self.world.publish(What::DeploymentStep { how, plan: Arc::new(plan.clone()), step });
        }
    }

    /// Moves on while the step in progress has come true.
    pub(crate) fn advance(&mut self, id: DeploymentId) {
        loop {
            let Some(plan) = self.world.view.deployments.get(&id).cloned() else { return };
            let Some(step) = plan.step() else { return };
            if let Some(holdup) = self.holdup(id, &step.actions) {
                self.world.holdups.insert(id, holdup);
                return;
            }
            self.announce_step(&plan, StepNews::Succeeded);
            let next = Deployment { current: plan.current + 1, ..Deployment::clone(&plan) };
            if next.step().is_none() {
                self.world.drop_deployment(id);
                self.world.publish(What::DeploymentSucceeded { plan });
                return;
            }
            self.world.move_deployment(next.clone());
            self.announce_step(&next, StepNews::Began);
        }
    }

    /// One of the actions that is not done, if any. The one of last time is asked first: of a step over ten
    /// thousand apps, most events would look at all of them otherwise.
    fn holdup(&self, id: DeploymentId, actions: &[Action]) -> Option<usize> {
        // A dirty app is about to change; judging it now would be premature.
        let is_open = |at: &usize| {
            let action = &actions[*at];
            self.world.dirty.contains(&action.app) || !self.is_done(action)
        };
        let first = self.world.holdups.get(&id).copied().unwrap_or(0).min(actions.len());
        (first..actions.len()).chain(0..first).find(is_open)
    }

    /// Whether what an action wants is the case. Asked of the present, so it holds after a restart too.
    pub(crate) fn is_done(&self, action: &Action) -> bool {
        let Some(app) = self.world.app(&action.app) else { return true };
        #[cfg(feature = "old-faults")]
        if app.spec.is_none() && !self.is_gone(&action.app)
            || app.spec.as_ref().is_some_and(|it| !self.started_enough(action.kind, it))
        {
            return false;
        }
        let ending = app.tally.sum().ending;
        let Some(spec) = &app.spec else { return ending == 0 };
        let Some(index) = self.world.index.get(&action.app) else { return true };
        match action.kind {
            ActionKind::StartApplication => true,
            ActionKind::StopApplication => ending == 0,
            ActionKind::ScaleApplication => {
                app.tally.sum().wanted == spec.instances && ending == 0 && index.fresh_unready.is_empty()
            }
            ActionKind::RestartApplication => {
                let new = app.tally.current;
                new.wanted == spec.instances
                    && new.serving >= spec.instances
                    && app.tally.outdated.wanted == 0
                    && ending == 0
            }
        }
    }

    /// Ends a deployment before its goal; what it did stays.
    pub(crate) fn fail(&mut self, id: DeploymentId, reason: &str) {
        let Some(plan) = self.world.drop_deployment(id) else { return };
        let apps: Vec<SpecId> = plan.affected().into_iter().cloned().collect();
        for app in apps {
            self.release_readiness(&app);
        }
        self.world.publish(What::DeploymentFailed { plan, reason: reason.to_owned() });
    }

    /// Readiness checks run in deployments only: without one, what runs is ready.
    pub(crate) fn release_readiness(&mut self, app: &SpecId) {
        let Some(entry) = self.world.app(app) else { return };
        let waiting: Vec<_> = entry
            .instances
            .values()
            .filter(|it| !it.ready && it.condition == marathon_model::instance::Condition::Running)
            .cloned()
            .collect();
        for it in waiting {
            self.world.timers.clear(&Timer::Readiness(it.id.clone()));
            let it = marathon_model::instance::Instance::clone(&it);
            self.world.put_instance(marathon_model::instance::Instance { ready: true, ..it });
        }
    }

    pub(crate) fn cancel(&mut self, id: DeploymentId, force: bool) -> Reply {
        let Some(plan) = self.world.view.deployments.get(&id).cloned() else {
            return Reply::Refused(Refusal::NoSuchDeployment(id.to_string()));
        };
        if force {
            self.fail(id, "The upgrade has been cancelled");
            return Reply::Done;
        }
        let draft = crate::edit::undo(&self.world, &plan);
        #[cfg(feature = "old-faults")]
        let draft = self.take_back_everything(draft, &plan);
        self.answer(draft)
    }

    /// Deploys a draft and words the outcome as a reply.
    pub(crate) fn answer(&mut self, draft: Draft) -> Reply {
        match self.deploy(draft) {
            Ok(Ok(Accepted { version, deployment })) => {
                Reply::Deployed { version, deployment, created: false, app: None }
            }
            Ok(Err(steps)) => Reply::Plan(steps),
            Err(refusal) => Reply::Refused(refusal),
        }
    }
}

/// The text of a refusal in `group_change_failed`.
pub(crate) fn reason(refusal: &Refusal) -> String {
    match refusal {
        Refusal::Locked { .. } => "App is locked by one or more deployments.".to_owned(),
        Refusal::Invalid(violations) => {
            violations.iter().map(|it| format!("{}: {}", it.path, it.message)).collect::<Vec<_>>().join("; ")
        }
        Refusal::TooManyDeployments { limit } => {
            format!("Max number ({limit}) of running deployments is achieved.")
        }
        Refusal::PortsExhausted { first, last } => {
            format!("All ports in the range [{first}-{last}) are already in use")
        }
        other => format!("{other:?}"),
    }
}
