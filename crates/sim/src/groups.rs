//! What users do with groups: change one, or a whole tree of them at once.

use marathon_model::command::Command;
use marathon_model::id::{GroupId, SpecId};
use marathon_model::time::Timestamp;
use marathon_model::update::{AppUpdate, GroupUpdate};

use crate::client::{APPS, Client, GROUPS, path};
use crate::store::Store;

impl Client {
    pub fn edit_group(&mut self, store: &Store, force: bool) -> Command {
        let group: GroupId = self.any(&GROUPS);
        let mut update = GroupUpdate::default();
        match self.dice.between(0, 5) {
            0 => update.scale_by = Some(*self.dice.pick(&[0.5, 1.0])),
            1 => {
                let roots: Vec<Timestamp> = store.roots.iter().copied().collect();
                update.version = roots.first().map(|_| *self.dice.pick(&roots));
            }
            2 => {
                let groups = ["/shop", "/x", "/shop/db"];
                update.dependencies = Some(vec![self.any(&groups)]);
            }
            3 => update.dependencies = Some(Vec::new()),
            _ => {
                let inside: Vec<SpecId> =
                    APPS.iter().map(|it| path(it)).filter(|it| it.parent() == group).collect();
                let apps = inside.into_iter().filter(|_| self.dice.chance(0.7)).collect::<Vec<_>>();
                let apps =
                    apps.into_iter().map(|id| AppUpdate { id: Some(id.clone()), ..self.definition(&id) });
                update.apps = Some(apps.collect());
            }
        }
        let create = self.dice.chance(0.3);
        let dry_run = self.dice.chance(0.1);
        Command::EditGroup { group, update: Box::new(update), create, force, dry_run }
    }

    /// A tree of groups in one request, each with some apps and dependencies.
    pub fn nested_groups(&mut self) -> Command {
        let direct = |it: &mut Client, group: &str| -> Option<Vec<AppUpdate>> {
            let group = path(group);
            let inside = APPS.iter().map(|it| path(it)).filter(|it| it.parent() == group).collect::<Vec<_>>();
            let kept = inside.into_iter().filter(|_| it.dice.chance(0.8)).collect::<Vec<_>>();
            Some(
                kept.into_iter().map(|id| AppUpdate { id: Some(id.clone()), ..it.definition(&id) }).collect(),
            )
        };
        let depends = |it: &mut Client, on: &str| it.dice.chance(0.5).then(|| vec![path(on)]);
        let db = GroupUpdate {
            id: Some(path("/shop/db")),
            apps: direct(self, "/shop/db"),
            ..GroupUpdate::default()
        };
        let x = GroupUpdate {
            id: Some(path("/x")),
            apps: direct(self, "/x"),
            dependencies: depends(self, "/shop"),
            ..GroupUpdate::default()
        };
        let shop = GroupUpdate {
            id: Some(path("/shop")),
            apps: direct(self, "/shop"),
            dependencies: depends(self, "/shop/db"),
            groups: Some(vec![db]),
            ..GroupUpdate::default()
        };
        let apps = if self.dice.chance(0.5) { direct(self, "/") } else { None };
        let update = GroupUpdate { apps, groups: Some(vec![shop, x]), ..GroupUpdate::default() };
        let (group, force, dry_run) = (path("/"), self.dice.chance(self.forceful), self.dice.chance(0.1));
        Command::EditGroup { group, update: Box::new(update), create: false, force, dry_run }
    }
}
