//! From changed definitions to the steps of a deployment.
//!
//! ```text
//! [stop all that is removed] [start all that is new] [depth 1] [depth 2] …      empty steps are left out
//! ```
//! The depth of an app is the length of its longest chain of dependencies, so that what others need is
//! up before them. Depths are computed over the whole tree, once each.

use std::collections::{BTreeMap, BTreeSet};
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

    /// What an app waits for: its own dependencies and those of all groups around it.
    fn dependencies(&self, spec: &AppSpec) -> Vec<PathId> {
        let mut all: Vec<PathId> = spec.dependencies.clone();
        for group in spec.id.ancestors() {
            // A group's dependency on an app is void in the original; only groups count there.
            let deps = self.group(&group).map(|it| it.dependencies.as_slice()).unwrap_or_default();
            all.extend(deps.iter().filter(|it| self.group(it).is_some()).cloned());
        }
        all
    }
}

/// The depth of each of `apps` and of what they depend on, or the news that there is a cycle.
pub fn depths<'a>(
    tree: &Tree,
    apps: impl Iterator<Item = &'a SpecId>,
) -> Result<BTreeMap<SpecId, u32>, Cycle> {
    let mut known: BTreeMap<PathId, u32> = BTreeMap::new();
    for app in apps {
        depth(tree, app, &mut known)?;
    }
    Ok(known)
}

/// Walks without recursion: chains may be as long as the tree is large.
fn depth(tree: &Tree, start: &PathId, known: &mut BTreeMap<PathId, u32>) -> Result<(), Cycle> {
    struct Visit {
        node: PathId,
        next: Vec<PathId>,
        deepest: u32,
        counts: bool,
    }
    let visit = |node: &PathId| match tree.app(node) {
        Some(spec) => Visit { node: node.clone(), next: tree.dependencies(spec), deepest: 0, counts: true },
        None => {
            let next = tree.members(node).into_iter().cloned().collect();
            Visit { node: node.clone(), next, deepest: 0, counts: false }
        }
    };
    if known.contains_key(start) {
        return Ok(());
    }
    let mut on_path: BTreeSet<PathId> = BTreeSet::from([start.clone()]);
    let mut stack = vec![visit(start)];
    while let Some(top) = stack.last_mut() {
        if let Some(next) = top.next.pop() {
            if let Some(depth) = known.get(&next) {
                top.deepest = top.deepest.max(*depth);
            } else if !on_path.insert(next.clone()) {
                return Err(Cycle);
            } else {
                stack.push(visit(&next));
            }
            continue;
        }
        let Some(done) = stack.pop() else { break };
        let depth = done.deepest + u32::from(done.counts);
        on_path.remove(&done.node);
        known.insert(done.node, depth);
        if let Some(parent) = stack.last_mut() {
            parent.deepest = parent.deepest.max(depth);
        }
    }
    Ok(())
}

/// `changes`: in the order of their apps, which is the order of the actions of a step too, as `Step` look-ups
/// rely on. `victims`: who goes first, by app.
pub fn steps(
    changes: &[AppChange],
    depths: &BTreeMap<SpecId, u32>,
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
        layers.entry(depths.get(&change.id).copied().unwrap_or(1)).or_default().push(action);
    }
    steps.extend(layers.into_values().map(|actions| Step { actions }));
    steps.retain(|it| !it.actions.is_empty());
    steps
}
