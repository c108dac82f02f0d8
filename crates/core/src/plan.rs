//! From changed definitions to the steps of a deployment.
//!
//! ```text
//! [stop all that is removed] [start all that is new] [depth 1] [depth 2] …      empty steps are left out
//! ```
//! The depth of an app is the length of its longest chain of dependencies, so that what others need is
//! up before them. Depths are computed over the whole tree, once each.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use marathon_model::app::{AppSpec, Change};
use marathon_model::deployment::{Action, ActionKind, AppChange, Step};
use marathon_model::group::Group;
use marathon_model::id::{GroupId, InstanceId, PathId, SpecId};

use crate::world::World;

/// The tree as it will be: the present one with some entries replaced.
pub struct Tree<'a> {
    world: &'a World,
    apps: BTreeMap<&'a SpecId, Option<&'a Arc<AppSpec>>>,
    groups: &'a BTreeMap<GroupId, Option<Group>>,
}

/// A dependency leads back to where it came from.
#[derive(Debug, PartialEq, Eq)]
pub struct Cycle;

impl<'a> Tree<'a> {
    pub fn new(
        world: &'a World,
        changes: &'a [AppChange],
        groups: &'a BTreeMap<GroupId, Option<Group>>,
    ) -> Tree<'a> {
        Tree { world, apps: changes.iter().map(|it| (&it.id, it.after.as_ref())).collect(), groups }
    }

    pub fn app(&self, id: &SpecId) -> Option<&'a Arc<AppSpec>> {
        self.apps.get(id).copied().unwrap_or_else(|| self.world.spec(id))
    }

    pub fn group(&self, id: &GroupId) -> Option<&Group> {
        match self.groups.get(id) {
            Some(changed) => changed.as_ref(),
            None => self.world.view.groups.get(id).map(|it| &**it),
        }
    }

    /// All apps below a group.
    pub fn members(&self, group: &GroupId) -> Vec<&'a SpecId> {
        let kept = self.world.apps_below(group).map(|(id, _)| id).filter(|id| !self.apps.contains_key(id));
        // From the group on, and no further than its name goes: a tree of many groups asks for each of them.
        let changed = self.apps.range::<SpecId, _>(group..);
        let changed = changed.take_while(|(id, _)| id.as_str().starts_with(group.as_str()));
        let changed = changed.filter(|(id, after)| after.is_some() && id.is_below(group)).map(|(id, _)| *id);
        kept.chain(changed).collect()
    }

    /// What every app of a group waits for: the dependencies of the group and of all groups around it.
    fn dependencies_within(&self, group: &GroupId) -> Vec<PathId> {
        let mut all = Vec::new();
        for group in std::iter::once(group.clone()).chain(group.ancestors()) {
            // A group's dependency on an app is void in the original; only groups count there.
            let deps = self.group(&group).map(|it| it.dependencies.as_slice()).unwrap_or_default();
            all.extend(deps.iter().filter(|it| self.group(it).is_some()).cloned());
        }
        all
    }
}

/// What is known while depths are computed.
struct Depths<'t, 'a> {
    tree: &'t Tree<'a>,
    known: Known,
    /// The group last asked for, since its apps come one after the other, and what it waits for.
    around: Option<(GroupId, Vec<PathId>)>,
}

/// One app or group on the path.
struct Visit {
    node: PathId,
    next: Vec<PathId>,
    deepest: u32,
    counts: bool,
}

/// How deep each app and group lies. `None`: on the path from where we began, so whoever leads to it closes a circle.
pub type Known = BTreeMap<PathId, Option<u32>>;

/// The depth of each of `apps` and of what they depend on, or the news that there is a cycle.
pub fn depths<'a>(tree: &Tree, apps: impl Iterator<Item = &'a SpecId>) -> Result<Known, Cycle> {
    let mut depths = Depths { tree, known: Known::new(), around: None };
    for app in apps {
        depths.walk(app)?;
    }
    Ok(depths.known)
}

fn is_directly_in(group: &GroupId, node: &PathId) -> bool {
    let rest = node.as_str().strip_prefix(group.as_str().trim_end_matches('/'));
    rest.and_then(|it| it.strip_prefix('/')).is_some_and(|it| !it.contains('/'))
}

impl Depths<'_, '_> {
    /// Walks without recursion: chains may be as long as the tree is large.
    fn walk(&mut self, start: &PathId) -> Result<(), Cycle> {
        if self.known.contains_key(start) {
            return Ok(());
        }
        self.known.insert(start.clone(), None);
        let mut stack = vec![self.visit(start.clone())];
        while let Some(top) = stack.last_mut() {
            if let Some(next) = top.next.pop() {
                match self.known.entry(next) {
                    Entry::Occupied(known) => match known.get() {
                        Some(depth) => top.deepest = top.deepest.max(*depth),
                        None => return Err(Cycle),
                    },
                    Entry::Vacant(new) => {
                        let next = new.key().clone();
                        new.insert(None);
                        stack.push(self.visit(next));
                    }
                }
                continue;
            }
            let Some(done) = stack.pop() else { break };
            let depth = done.deepest + u32::from(done.counts);
            self.known.insert(done.node, Some(depth));
            if let Some(parent) = stack.last_mut() {
                parent.deepest = parent.deepest.max(depth);
            }
        }
        Ok(())
    }

    fn visit(&mut self, node: PathId) -> Visit {
        let Some(spec) = self.tree.app(&node) else {
            let next = self.tree.members(&node).into_iter().cloned().collect();
            return Visit { node, next, deepest: 0, counts: false };
        };
        let mut next: Vec<PathId> = spec.dependencies.clone();
        if !self.around.as_ref().is_some_and(|(group, _)| is_directly_in(group, &node)) {
            let group = node.parent();
            let around = self.tree.dependencies_within(&group);
            self.around = Some((group, around));
        }
        next.extend(self.around.iter().flat_map(|it| it.1.iter().cloned()));
        Visit { node, next, deepest: 0, counts: true }
    }
}

/// `changes`: in the order of their apps, which is the order of the actions of a step too, as `Step` look-ups
/// rely on. `victims`: who goes first, by app.
pub fn steps(
    changes: &[AppChange],
    depths: &Known,
    victims: &BTreeMap<SpecId, Vec<InstanceId>>,
) -> Vec<Step> {
    let action = |kind, change: &AppChange| {
        let spec = change.after.as_ref().or(change.before.as_ref());
        let pod = spec.is_some_and(|it| it.is_pod());
        Action { kind, app: change.id.clone(), pod, victims: Vec::new() }
    };
    let stop =
        changes.iter().filter(|it| it.after.is_none()).map(|it| action(ActionKind::StopApplication, it));
    let start = changes.iter().filter(|it| it.before.is_none() && it.after.is_some());
    let start = start.map(|it| action(ActionKind::StartApplication, it));
    let mut steps = vec![Step { actions: stop.collect() }, Step { actions: start.collect() }];
    let mut layers: BTreeMap<u32, Vec<Action>> = BTreeMap::new();
    for change in changes {
        let Some(after) = &change.after else { continue };
        let kind = match &change.before {
            None => ActionKind::ScaleApplication,
            Some(before) => match before.change_to(after) {
                _ if after.instances == 0 => ActionKind::ScaleApplication,
                Change::Replace => ActionKind::RestartApplication,
                // Restarted, or back to an earlier start of the same definition.
                _ if before.config != after.config => ActionKind::RestartApplication,
                Change::Scale => ActionKind::ScaleApplication,
                Change::None => continue,
            },
        };
        let mut action = action(kind, change);
        if kind == ActionKind::ScaleApplication {
            action.victims = victims.get(&change.id).cloned().unwrap_or_default();
        }
        layers.entry(depths.get(&change.id).copied().flatten().unwrap_or(1)).or_default().push(action);
    }
    steps.extend(layers.into_values().map(|actions| Step { actions }));
    steps.retain(|it| !it.actions.is_empty());
    steps
}
