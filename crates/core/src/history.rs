//! Versions of the tree and of what is in it, and their end.

use marathon_model::id::{GroupId, SpecId};
use marathon_model::time::Timestamp;
use marathon_model::write::Write;

use crate::Core;
use crate::world::is_dead;

impl Core {
    /// The tree as a whole got a new version. The oldest ones beyond the limit are forgotten.
    pub(crate) fn put_root(&mut self, version: Timestamp) {
        self.world.view.root_version = version;
        self.world.view.root_versions.push_back(version);
        self.world.write(Write::Root { version });
        while self.world.view.root_versions.len() > self.policy.max_versions.max(1) {
            if let Some(oldest) = self.world.view.root_versions.pop_front() {
                self.world.write(Write::RootForgotten { version: oldest });
            }
        }
        if let Some(oldest) = self.world.view.root_versions.front().copied() {
            self.bury_apps(oldest);
            self.bury_groups(oldest);
        }
    }

    /// Forgets removed groups that no kept version of the tree knows any more.
    fn bury_groups(&mut self, oldest: Timestamp) {
        while let Some((at, id)) = self.world.group_graveyard.first().filter(|(at, _)| *at <= oldest).cloned()
        {
            self.world.group_graveyard.remove(&(at, id.clone()));
            for (version, _) in self.world.view.group_history.remove(&id).unwrap_or_default() {
                self.world.write(Write::GroupVersionForgotten { id: id.clone(), version });
            }
        }
    }

    /// The same of removed apps.
    fn bury_apps(&mut self, oldest: Timestamp) {
        let gone: Vec<(Timestamp, SpecId)> =
            self.world.graveyard.iter().take_while(|(at, _)| *at <= oldest).cloned().collect();
        for (at, id) in gone {
            self.world.graveyard.remove(&(at, id.clone()));
            // What is not over yet comes back when it is, so that it is not looked at with every change until then.
            if self.world.app(&id).is_some_and(|it| !is_dead(it)) {
                continue;
            }
            // Its last instance may have gone in this very step, and then it has not ended yet.
            self.wind_down(&id);
            if let Some(app) = self.world.view.apps.remove(&id) {
                for (version, _) in &app.history {
                    self.world
                        .out
                        .writes
                        .push(Write::AppVersionForgotten { id: id.clone(), version: *version });
                }
            }
            self.world.index.remove(&id);
            self.world.rules.remove(&id);
            self.world.dirty.remove(&id);
        }
    }

    /// Keeps the versions of an app within the limit, sparing those that instances use. (Deployments carry
    /// the definitions they need.)
    pub(crate) fn prune_app(&mut self, id: &SpecId) {
        let limit = self.policy.max_versions.max(1);
        let Some(app) = self.world.app(id) else { return };
        if app.history.len() <= limit {
            return;
        }
        let in_use: std::collections::BTreeSet<Timestamp> =
            app.instances.values().map(|it| it.version).collect();
        let excess = app.history.len() - limit;
        let forgotten: Vec<Timestamp> =
            app.history.iter().take(excess).map(|(at, _)| *at).filter(|at| !in_use.contains(at)).collect();
        if forgotten.is_empty() {
            return;
        }
        self.world.app_mut(id).history.retain(|(at, _)| !forgotten.contains(at));
        for version in forgotten {
            self.world.write(Write::AppVersionForgotten { id: id.clone(), version });
        }
    }

    pub(crate) fn prune_group(&mut self, id: &GroupId) {
        let limit = self.policy.max_versions.max(1);
        let Some(history) = self.world.view.group_history.get_mut(id) else { return };
        let mut forgotten = Vec::new();
        while history.len() > limit {
            forgotten.extend(history.pop_front().map(|(at, _)| at));
        }
        for version in forgotten {
            self.world.write(Write::GroupVersionForgotten { id: id.clone(), version });
        }
    }
}
