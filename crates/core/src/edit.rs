//! From commands to drafts: what the tree shall look like, worked out but not yet done.

use std::collections::BTreeMap;
use std::sync::Arc;

use marathon_model::app::{AppSpec, Change};
use marathon_model::command::{Origin, Refusal, Reply, Violation};
use marathon_model::deployment::Deployment;
use marathon_model::group::Group;
use marathon_model::id::{GroupId, PathId, SpecId};
use marathon_model::notice::What;
use marathon_model::time::Timestamp;
use marathon_model::update::{AppEdit, AppUpdate, GroupUpdate};
use marathon_spec::Place;

use crate::Core;
use crate::deploy::{Accepted, Draft};
use crate::world::World;

impl Core {
    pub(crate) fn edit_apps(
        &mut self,
        edits: Vec<(SpecId, AppEdit)>,
        force: bool,
        origin: Option<Origin>,
    ) -> Reply {
        let creates = edits.len() == 1 && self.world.spec(&edits[0].0).is_none();
        let single = (edits.len() == 1).then(|| edits[0].0.clone());
        let about = single.as_ref().map_or_else(GroupId::root, PathId::parent);
        let mut draft = Draft { about, force, ..Draft::default_at_root() };
        for (id, edit) in edits {
            if let Err(refusal) = self.draft_edit(&mut draft, id, edit) {
                return Reply::Refused(refusal);
            }
        }
        let shown = single.as_ref().and_then(|id| draft.apps.get(id).cloned().flatten());
        match self.deploy(draft) {
            Err(refusal) => Reply::Refused(refusal),
            Ok(Err(steps)) => Reply::Plan(steps),
            Ok(Ok(Accepted { version, deployment })) => {
                if let (Some(origin), Some(app)) =
                    (origin, single.and_then(|id| self.world.spec(&id).cloned()))
                {
                    self.world.publish(What::ApiPost { origin, app });
                }
                let app = shown.map(|it| Arc::new(AppSpec { version, ..AppSpec::clone(&it) }));
                Reply::Deployed { version, deployment, created: creates, app }
            }
        }
    }

    fn draft_edit(&self, draft: &mut Draft, id: SpecId, edit: AppEdit) -> Result<(), Refusal> {
        // Several edits of one request may touch the same app: each sees the one before.
        let current = match draft.apps.get(&id) {
            Some(drafted) => drafted.clone(),
            None => self.world.spec(&id).cloned(),
        };
        // Apps and pods do not see each other.
        let is_pod = current.as_ref().is_some_and(|it| it.is_pod());
        let current = current.filter(|_| !is_pod);
        let unknown = || Refusal::NoSuchApp { id: id.clone(), version: None };
        let spec = match (edit, current) {
            (AppEdit::Create(_), Some(_)) => return Err(Refusal::AppExists(id)),
            (AppEdit::Patch(_) | AppEdit::Delete | AppEdit::Restart, None) => return Err(unknown()),
            (AppEdit::Merge(update) | AppEdit::Patch(update), Some(_)) if update.version.is_some() => {
                let version = update.version.unwrap_or_default();
                let app = self.world.app(&id).ok_or_else(unknown)?;
                let old = app.version(version).filter(|it| !it.is_pod()).ok_or_else(unknown)?;
                draft.go_back(self.world.spec(&id), old);
                Some(old.clone())
            }
            (AppEdit::Create(_) | AppEdit::Merge(_) | AppEdit::Replace(_), None) if is_pod => {
                return Err(Refusal::Invalid(vec![crate::edit_pod::same_id("/")]));
            }
            (AppEdit::Create(update) | AppEdit::Merge(update) | AppEdit::Replace(update), None) => {
                Some(Arc::new(self.create(&id, &update)?))
            }
            (AppEdit::Replace(update), Some(current)) => {
                Some(Arc::new(self.replace_spec(&id, &update, &current)?))
            }
            (AppEdit::Merge(update) | AppEdit::Patch(update), Some(current)) => {
                Some(Arc::new(self.merge(&current, &update)?))
            }
            (AppEdit::Delete, Some(_)) => None,
            (AppEdit::Restart, Some(current)) => {
                draft.restarted.insert(id.clone());
                Some(current.clone())
            }
        };
        draft.apps.insert(id, spec);
        Ok(())
    }

    fn create(&self, id: &SpecId, update: &AppUpdate) -> Result<AppSpec, Refusal> {
        self.with_place(id, None, |place| {
            marathon_spec::create(id.clone(), update, &self.policy.rules, place)
        })
    }

    fn replace_spec(&self, id: &SpecId, update: &AppUpdate, current: &AppSpec) -> Result<AppSpec, Refusal> {
        self.with_place(id, Some(current), |place| {
            marathon_spec::create(id.clone(), update, &self.policy.rules, place)
        })
    }

    fn merge(&self, current: &AppSpec, update: &AppUpdate) -> Result<AppSpec, Refusal> {
        let id = &current.id;
        self.with_place(id, Some(current), |place| {
            marathon_spec::merge(current, update, &self.policy.rules, place)
        })
    }

    pub(crate) fn with_place(
        &self,
        id: &SpecId,
        current: Option<&AppSpec>,
        make: impl FnOnce(&Place) -> Result<AppSpec, Vec<Violation>>,
    ) -> Result<AppSpec, Refusal> {
        let top = id.ancestors().get(1).cloned();
        let enforce_role = top.and_then(|it| self.world.view.groups.get(&it)).map(|it| it.enforce_role);
        let group = id.parent();
        let place = Place { enforce_role, current_role: current.map(|it| &it.role), group: &group };
        make(&place).map_err(Refusal::Invalid)
    }

    pub(crate) fn edit_group(
        &mut self,
        id: GroupId,
        update: GroupUpdate,
        create: bool,
        force: bool,
        dry_run: bool,
    ) -> Reply {
        let id = update.id.clone().unwrap_or(id);
        // The root is always there.
        if create && (id.is_root() || self.world.view.groups.contains_key(&id)) {
            return Reply::Refused(Refusal::GroupExists(id));
        }
        if create && self.world.spec(&id).is_some_and(|it| !it.is_pod()) {
            return Reply::Refused(Refusal::PathTaken(id));
        }
        let mut draft = Draft { about: id.clone(), force, dry_run, ..Draft::default_at_root() };
        let drafted = match (&update.version, update.scale_by) {
            (Some(version), _) => self.draft_version(&mut draft, &id, *version),
            (None, Some(factor)) => {
                self.draft_scale(&mut draft, &id, factor);
                Ok(())
            }
            (None, None) => {
                draft.roles_apart = true;
                self.draft_group(&mut draft, &id, &update, "")
            }
        };
        match drafted {
            Ok(()) => self.answer(draft),
            Err(refusal) => Reply::Refused(refusal),
        }
    }

    /// The subtree as it stood in an earlier version of the tree.
    pub(crate) fn draft_version(
        &self,
        draft: &mut Draft,
        id: &GroupId,
        version: Timestamp,
    ) -> Result<(), Refusal> {
        let unavailable = || Refusal::Illegal(format!("Group {id} not available in version {version}"));
        if !self.world.view.root_versions.contains(&version) {
            return Err(unavailable());
        }
        let then = |group: &GroupId| {
            let history = self.world.view.group_history.get(group)?;
            history.iter().rev().find(|(at, _)| *at <= version)?.1.as_ref()
        };
        if !id.is_root() && then(id).is_none() {
            return Err(unavailable());
        }
        for (app, entry) in self.world.view.apps.iter().filter(|(app, _)| app.is_below(id)) {
            match (entry.as_of(version), &entry.spec) {
                (Some(old), now) => {
                    draft.go_back(now.as_ref(), old);
                    draft.apps.insert(app.clone(), Some(old.clone()));
                }
                (None, Some(_)) => drop(draft.apps.insert(app.clone(), None)),
                (None, None) => {}
            }
        }
        let inside = |it: &GroupId| it == id || it.is_below(id);
        for group in self.world.view.group_history.keys().filter(|it| inside(it)) {
            let then = then(group);
            let now = self.world.view.groups.get(group);
            if then.is_some() || now.is_some() && !group.is_root() {
                draft.groups.insert(group.clone(), then.map(|it| Group::clone(it)));
            }
        }
        Ok(())
    }

    fn draft_scale(&self, draft: &mut Draft, id: &GroupId, factor: f64) {
        // Pods keep their number: it is theirs alone to say, as in the original.
        for (app, spec) in self.world.apps_below(id).filter(|(_, spec)| !spec.is_pod()) {
            // The cast saturates. More than a definition may ask for is not reached by scaling either.
            let instances = ((f64::from(spec.instances) * factor).ceil() as u32).min(i32::MAX as u32);
            draft.apps.insert(app.clone(), Some(Arc::new(AppSpec { instances, ..AppSpec::clone(spec) })));
        }
    }

    /// `path`: where the group stands in the request, for violations.
    fn draft_group(
        &self,
        draft: &mut Draft,
        id: &GroupId,
        update: &GroupUpdate,
        path: &str,
    ) -> Result<(), Refusal> {
        let known = self.world.view.groups.get(id);
        let version = self.world.now.wall;
        let mut group = known.map_or_else(
            || Group {
                id: id.clone(),
                dependencies: Vec::new(),
                enforce_role: id.ancestors().len() == 1 && self.policy.rules.new_group_enforce_role,
                version,
            },
            |it| Group::clone(it),
        );
        if let Some(dependencies) = &update.dependencies {
            group.dependencies.clone_from(dependencies);
        }
        let mut violations = Vec::new();
        if let Some(enforce) = update.enforce_role {
            if id.ancestors().len() != 1 {
                let message =
                    format!("enforceRole can only be set for top-level groups, and {id} is not top-level");
                violations.push(Violation::new("/", message));
            }
            group.enforce_role = enforce;
        }
        draft.groups.insert(id.clone(), Some(group));
        if let Some(apps) = &update.apps {
            gather(&mut violations, self.draft_direct_apps(draft, id, apps, path))?;
        }
        if let Some(groups) = &update.groups {
            let named: Vec<GroupId> = groups.iter().filter_map(|it| it.id.clone()).collect();
            let gone: Vec<GroupId> = self
                .world
                .groups_below(id)
                .map(|it| it.id.clone())
                .filter(|it| it.parent() == *id && !named.contains(it))
                .collect();
            for group in gone {
                draft_removal(&self.world, draft, &group);
            }
            for (at, child) in groups.iter().enumerate() {
                let Some(child_id) = &child.id else { continue };
                let here = format!("{path}/groups({at})");
                match is_child(child_id, id) {
                    true => gather(&mut violations, self.draft_group(draft, child_id, child, &here))?,
                    false => violations.push(no_child(&here, id)),
                }
            }
        }
        if violations.is_empty() { Ok(()) } else { Err(Refusal::Invalid(violations)) }
    }

    /// The named apps replace all apps that lie directly in the group; its pods stay.
    fn draft_direct_apps(
        &self,
        draft: &mut Draft,
        id: &GroupId,
        apps: &[AppUpdate],
        path: &str,
    ) -> Result<(), Refusal> {
        let mut violations = Vec::new();
        let mut named: BTreeMap<SpecId, Arc<AppSpec>> = BTreeMap::new();
        for (at, update) in apps.iter().enumerate() {
            let here = format!("{path}/apps({at})");
            let Some(app) = update.id.clone() else { continue };
            if !is_child(&app, id) {
                violations.push(no_child(&here, id));
                continue;
            }
            match self.world.spec(&app) {
                Some(current) if current.is_pod() => {
                    violations.push(crate::edit_pod::same_id(&format!("{here}/id")));
                }
                Some(current) => match self.replace_spec(&app, update, current) {
                    Ok(spec) => drop(named.insert(app, Arc::new(spec))),
                    Err(refusal) => violations.extend(prefixed(refusal, &here)),
                },
                None => match self.create(&app, update) {
                    Ok(spec) => drop(named.insert(app, Arc::new(spec))),
                    Err(refusal) => violations.extend(prefixed(refusal, &here)),
                },
            }
        }
        if !violations.is_empty() {
            return Err(Refusal::Invalid(violations));
        }
        for (app, spec) in self.world.apps_below(id).filter(|(app, _)| app.parent() == *id) {
            if !named.contains_key(app) && !spec.is_pod() {
                draft.apps.insert(app.clone(), None);
            }
        }
        draft.apps.extend(named.into_iter().map(|(id, spec)| (id, Some(spec))));
        Ok(())
    }

    pub(crate) fn delete_group(&mut self, id: GroupId, force: bool) -> Reply {
        if !self.world.view.groups.contains_key(&id) {
            return Reply::Refused(Refusal::NoSuchGroup { id, version: None });
        }
        let mut draft = Draft { about: id.clone(), force, ..Draft::default_at_root() };
        draft_removal(&self.world, &mut draft, &id);
        self.answer(draft)
    }

    /// Changes how roles are given out below a top-level group; nothing is deployed.
    pub(crate) fn enforce_role(&mut self, id: GroupId, enforce: Option<bool>) -> Reply {
        if id.ancestors().len() != 1 {
            return Reply::Refused(Refusal::Invalid(vec![Violation::new("/", "Path needs to be top-level")]));
        }
        let Some(group) = self.world.view.groups.get(&id).cloned() else {
            return Reply::Refused(Refusal::NoSuchGroup { id, version: None });
        };
        let enforce_role = enforce.unwrap_or(self.policy.rules.new_group_enforce_role);
        if group.enforce_role != enforce_role {
            let version = self.world.now.wall.max(Timestamp(self.world.view.root_version.0 + 1));
            self.world.put_group(Group { enforce_role, version, ..Group::clone(&group) });
            self.put_root(version);
        }
        Reply::Done
    }
}

impl Draft {
    pub fn default_at_root() -> Draft {
        Draft { about: GroupId::root(), ..Draft::empty() }
    }

    /// An app becomes what it was. Where that differs from what it is, the configuration gets its old name
    /// back, so that instances which still run it are kept. Where nothing differs (it was restarted since),
    /// its instances are as good as any.
    fn go_back(&mut self, now: Option<&Arc<AppSpec>>, old: &AppSpec) {
        if now.is_none_or(|it| it.change_to(old) == Change::Replace) {
            self.returning.insert(old.id.clone());
        }
    }

    fn empty() -> Draft {
        Draft {
            apps: BTreeMap::new(),
            groups: BTreeMap::new(),
            restarted: Default::default(),
            returning: Default::default(),
            victims: BTreeMap::new(),
            about: GroupId::root(),
            force: false,
            dry_run: false,
            undoes: false,
            cause: None,
            roles_apart: false,
        }
    }
}

/// The root is nobody's child, though it is its own parent.
fn is_child(id: &PathId, of: &GroupId) -> bool {
    !id.is_root() && id.parent() == *of
}

fn no_child(path: &str, of: &GroupId) -> Violation {
    Violation::new(format!("{path}/id"), format!("Identifier is not child of '{of}'"))
}

/// Goes on after broken rules, so that one answer names them all.
fn gather(violations: &mut Vec<Violation>, part: Result<(), Refusal>) -> Result<(), Refusal> {
    match part {
        Err(Refusal::Invalid(more)) => violations.extend(more),
        other => return other,
    }
    Ok(())
}

fn prefixed(refusal: Refusal, path: &str) -> Vec<Violation> {
    match refusal {
        Refusal::Invalid(violations) => violations
            .into_iter()
            .map(|it| match it.path.as_str() {
                "/" => Violation::new(path, it.message),
                inner => Violation::new(format!("{path}{inner}"), it.message),
            })
            .collect(),
        other => vec![Violation::new(path, format!("{other:?}"))],
    }
}

/// Takes a group out with everything in it. The root itself stays, empty.
fn draft_removal(world: &World, draft: &mut Draft, id: &GroupId) {
    for (app, _) in world.apps_below(id) {
        draft.apps.insert(app.clone(), None);
    }
    for group in world.groups_below(id) {
        draft.groups.insert(group.id.clone(), None);
    }
    if !id.is_root() {
        draft.groups.insert(id.clone(), None);
    }
}

/// Puts back what a deployment changed, and nothing else. Definitions come back with the names of their
/// configurations, so instances that still run them are kept.
pub fn undo(world: &World, plan: &Deployment) -> Draft {
    let about = match &*plan.changes {
        [only] => only.id.parent(),
        _ => GroupId::root(),
    };
    let mut draft = Draft { about, force: true, undoes: true, ..Draft::default_at_root() };
    for change in plan.changes.iter() {
        if change.before.is_some() {
            draft.returning.insert(change.id.clone());
        }
        draft.apps.insert(change.id.clone(), change.before.clone());
    }
    for change in plan.group_changes.iter().rev() {
        let now = world.view.groups.get(&change.id);
        match (&change.before, &change.after, now) {
            (Some(before), None, _) => {
                drop(draft.groups.insert(change.id.clone(), Some(Group::clone(before))))
            }
            (None, Some(added), Some(now)) => {
                let keeps = |it: &SpecId| draft.apps.get(it).is_none_or(Option::is_some);
                let is_empty = !world.apps_below(&change.id).any(|(app, _)| keeps(app))
                    && world
                        .groups_below(&change.id)
                        .all(|it| matches!(draft.groups.get(&it.id), Some(None)));
                if is_empty && now.dependencies == added.dependencies {
                    draft.groups.insert(change.id.clone(), None);
                } else {
                    let without =
                        now.dependencies.iter().filter(|it| !added.dependencies.contains(it)).cloned();
                    let group = Group { dependencies: without.collect(), ..Group::clone(now) };
                    draft.groups.insert(change.id.clone(), Some(group));
                }
            }
            (Some(before), Some(after), Some(now)) => {
                let mut dependencies: Vec<PathId> = now
                    .dependencies
                    .iter()
                    .filter(|it| !after.dependencies.contains(it) || before.dependencies.contains(it))
                    .cloned()
                    .collect();
                let lost = before.dependencies.iter().filter(|it| !after.dependencies.contains(it));
                for dependency in lost {
                    if !dependencies.contains(dependency) {
                        dependencies.push(dependency.clone());
                    }
                }
                // Roles are also given out by a request that deploys nothing.
                let enforce_role = match before.enforce_role == after.enforce_role {
                    true => now.enforce_role,
                    false => before.enforce_role,
                };
                draft.groups.insert(
                    change.id.clone(),
                    Some(Group { dependencies, enforce_role, ..Group::clone(now) }),
                );
            }
            _ => {}
        }
    }
    draft
}
