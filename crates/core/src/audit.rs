//! Judges a whole state: what must hold at any time, however it came about. Run after every step of a
//! simulation, and on a sample in production.

use std::collections::BTreeMap;

use marathon_model::id::SpecId;
use marathon_model::instance::{Condition, Goal, Instance};
use marathon_model::view::App;

use crate::Core;
use crate::parts;
use crate::timers::Timer;
use crate::world::World;

impl Core {
    /// Everything that is not as it must be; empty when all is well.
    pub fn audit(&self) -> Vec<String> {
        let mut findings = Vec::new();
        let mut ports: BTreeMap<u16, u32> = BTreeMap::new();
        for app in self.world.view.apps.values() {
            self.audit_app(app, &mut findings);
            for port in app.spec.iter().flat_map(|it| it.service_ports()).filter(|it| *it != 0) {
                *ports.entry(port).or_default() += 1;
            }
        }
        let World { launchable, queue, held, .. } = &self.world;
        if !launchable.iter().eq(queue.difference(held)) {
            findings.push(format!("{launchable:?} may launch, of {queue:?} without {held:?}"));
        }
        for plan in self.world.view.deployments.values() {
            if plan.steps.iter().any(|it| !it.actions.is_sorted_by(|a, b| a.app < b.app)) {
                findings.push(format!("{}: the actions of a step are not in order", plan.id));
            }
        }
        if ports != self.world.service_ports {
            findings.push("service ports are miscounted".to_owned());
        }
        findings.extend(crate::agents::audit(&self.world));
        findings
    }

    /// The same for some apps alone, and without what concerns several of them.
    pub fn audit_of<'a>(&self, apps: impl IntoIterator<Item = &'a SpecId>) -> Vec<String> {
        let mut findings = Vec::new();
        for app in apps.into_iter().filter_map(|it| self.world.app(it)) {
            self.audit_app(app, &mut findings);
        }
        findings
    }

    fn audit_app(&self, app: &App, findings: &mut Vec<String>) {
        let id = &app.id;
        let mut find = |what: String| findings.push(format!("{id}: {what}"));
        let config = app.spec.as_ref().map(|it| it.config);
        let tally = crate::index::tally(app.instances.values(), config);
        if tally != app.tally {
            find(format!("tally {:?} is not the count {tally:?}", app.tally));
        }
        let known = self.world.index.get(id);
        if known.map_or(!app.instances.is_empty(), |it| !it.fits(app)) {
            find(format!("index {known:?} is not {:?}", crate::index::index(app)));
        }
        let placed = app.spec.as_ref().map(|it| {
            let fresh = crate::constraint::places(it, app.instances.values().map(|it| &**it));
            (fresh, self.world.places(id, it.config))
        });
        if let Some((fresh, kept)) = placed.filter(|(fresh, kept)| *fresh != **kept) {
            find(format!("places {kept:?} are not the count {fresh:?}"));
        }
        if known.is_none_or(|it| it.waiting.is_empty()) == self.world.queue.contains(id) {
            find("the queue does not hold exactly the apps that wait".to_owned());
        }
        if known.is_none_or(|it| it.condemned.is_empty()) == self.world.condemned.contains(id) {
            find("not exactly the apps with something to remove are known as such".to_owned());
        }
        for deployment in &app.deployments {
            if !self.world.view.deployments.contains_key(deployment) {
                find(format!("deployment {deployment} does not exist"));
            }
        }
        if app.spec.as_ref().map(|it| it.version)
            != app.history.last().and_then(|it| it.1.as_ref()).map(|it| it.version)
        {
            find("the present definition is not the newest version".to_owned());
        }
        if app.history.iter().zip(app.history.iter().skip(1)).any(|(a, b)| a.0 >= b.0) {
            find("versions do not grow".to_owned());
        }
        for it in app.instances.values() {
            let placed = !matches!(it.condition, Condition::Scheduled);
            if placed != (it.task.is_some() && it.agent.is_some()) {
                find(format!("{}: {:?} with task {:?}", it.id, it.condition, it.task.is_some()));
            }
            if it.task.as_ref().is_some_and(|task| task.id.incarnation != it.incarnation) {
                find(format!("{}: its task is not its last start", it.id));
            }
            if it.goal == Goal::Decommissioned && it.is_over() && !it.is_condemned() {
                find(format!("{}: over and not wanted, but still here", it.id));
            }
            if let Some(what) = self.wrong_parts(it) {
                find(format!("{}: {what}", it.id));
            }
            let is_new = it.reservation.as_ref().is_some_and(|it| it.is_new());
            let watched = || self.world.timers.is_set(&Timer::Reservation(it.id.clone()));
            if is_new && (!it.is_over() || !watched()) {
                find(format!("{}: nobody watches its reservation", it.id));
            }
            let starting =
                matches!(it.condition, Condition::Provisioned | Condition::Staging | Condition::Starting);
            if starting
                && !self.world.timers.is_set(&Timer::Launch(it.id.clone()))
                && !self.is_being_killed(it)
            {
                find(format!("{}: nobody watches its launch", it.id));
            }
        }
    }

    /// What is not as it must be with the containers of an instance, if anything.
    fn wrong_parts(&self, it: &Instance) -> Option<String> {
        let task = it.task.as_ref()?;
        let defined = self.world.app(it.spec())?.version(it.version)?;
        let names = || defined.pod.iter().flat_map(|it| &it.containers).map(|it| &*it.name);
        if !task.parts.iter().map(|it| &*it.name).eq(names()) {
            return Some(format!("its containers are not {:?}", names().collect::<Vec<_>>()));
        }
        if it.health.len() != defined.check_count() {
            return Some(format!("{} health results of {}", it.health.len(), defined.check_count()));
        }
        if task.parts.is_empty() {
            return None;
        }
        let state = parts::state(&task.parts);
        let condition = parts::condition(state);
        let given_up = it.condition == Condition::UnreachableInactive && condition == Condition::Unreachable;
        if task.state != state || it.condition != condition && !given_up {
            return Some(format!("{:?}, but its containers make it {condition:?}", it.condition));
        }
        let is_left = parts::is_broken(task) && condition == Condition::Killing;
        (is_left && !self.world.timers.is_set(&Timer::Kill(it.id.clone())))
            .then(|| "a container ended, and nobody ends the others".to_owned())
    }
}
