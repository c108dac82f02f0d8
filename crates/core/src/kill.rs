//! Killing tasks on request: as they are, with a lower number of instances, or with all they own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use marathon_model::app::AppSpec;
use marathon_model::command::{Refusal, Reply, Victims};
use marathon_model::id::{GroupId, InstanceId, PathId, SpecId, TaskId};
use marathon_model::instance::{Condition, Goal, Instance};
use marathon_model::view::App;

use crate::Core;
use crate::deploy::Draft;

impl Core {
    pub(crate) fn kill(&mut self, victims: Victims, scale: bool, wipe: bool, force: bool) -> Reply {
        if scale && wipe {
            let text = "You cannot use scale and wipe at the same time.";
            return Reply::Refused(Refusal::BadRequest(text.to_owned()));
        }
        let chosen = match self.select(&victims, scale) {
            Ok(chosen) => chosen,
            Err(refusal) => return Reply::Refused(refusal),
        };
        if scale {
            return self.kill_and_scale(&victims, chosen, force);
        }
        for it in &chosen {
            // The engine cannot reach it. It is given up, and killed should it come back.
            if it.condition.is_unreachable() && wipe {
                self.decommission(&it.id);
                self.expunge(&it.id);
            } else if it.condition.is_unreachable() {
                // One that owns volumes is bound to its agent, and comes back with it.
                if it.reservation.is_none() {
                    self.retire(&it.id);
                }
            } else if wipe {
                self.decommission(&it.id);
            } else if it.condition.is_active() && !self.is_being_killed(it) {
                self.send_kill(it);
            }
        }
        Reply::Killed(chosen)
    }

    /// Apps and pods do not see each other.
    fn live(&self, id: &SpecId, pod: bool) -> Option<&Arc<App>> {
        let spec = |it: &&Arc<App>| it.spec.as_ref().is_some_and(|it| it.is_pod() == pod);
        self.world.view.app(id).filter(spec)
    }

    fn select(&self, victims: &Victims, scale: bool) -> Result<Vec<Arc<Instance>>, Refusal> {
        let placed = |it: &Arc<Instance>| it.task.is_some() || it.reservation.is_some();
        match victims {
            Victims::OfApp { app, host } => {
                let unknown = || Refusal::NoSuchApp { id: app.clone(), version: None };
                let entry = self.live(app, false).ok_or_else(unknown)?;
                let here = |it: &&Arc<Instance>| match host.as_deref() {
                    None | Some("*") => true,
                    Some(host) => it.agent.as_ref().is_some_and(|agent| &*agent.host == host),
                };
                Ok(entry.instances.values().filter(here).filter(|it| placed(it)).cloned().collect())
            }
            Victims::One { app, task } => {
                let unknown = || Refusal::NoSuchApp { id: app.clone(), version: None };
                self.live(app, false).ok_or_else(unknown)?;
                match self.world.view.task(task).filter(|it| it.spec() == app) {
                    Some(it) => Ok(vec![it.clone()]),
                    // Scaling by nothing is legal, as in the original.
                    None if scale => Ok(Vec::new()),
                    None => Err(Refusal::NoSuchTask(task.to_string())),
                }
            }
            // Containers of pods are passed over, whatever the id looks like.
            Victims::Tasks(tasks) => {
                // One that is named twice is one victim.
                let tasks: BTreeSet<&TaskId> = tasks.iter().collect();
                let known = tasks.into_iter().filter_map(|it| self.world.view.task(it));
                Ok(known.filter(|it| !crate::parts::is_pod(it)).cloned().collect())
            }
            Victims::Instances { pod, instances } => {
                self.live(pod, true).ok_or_else(|| Refusal::NoSuchPod(pod.clone()))?;
                let ours: BTreeSet<_> = instances.iter().filter(|it| it.spec == *pod).collect();
                let known: Vec<_> =
                    ours.into_iter().filter_map(|it| self.world.instance(it)).cloned().collect();
                match (instances.as_slice(), known.is_empty()) {
                    ([one], true) => Err(Refusal::NoSuchTask(one.to_string())),
                    _ => Ok(known),
                }
            }
        }
    }

    fn kill_and_scale(&mut self, victims: &Victims, chosen: Vec<Arc<Instance>>, force: bool) -> Reply {
        let mut by_app: BTreeMap<SpecId, Vec<InstanceId>> = BTreeMap::new();
        if let Victims::OfApp { app, .. } | Victims::One { app, .. } = victims {
            by_app.insert(app.clone(), Vec::new());
        }
        // What is on its way out has been counted before.
        let counts = |it: &&Arc<Instance>| {
            it.goal == Goal::Running && it.condition.is_active() && it.condition != Condition::Killing
        };
        for it in chosen.iter().filter(counts) {
            by_app.entry(it.spec().clone()).or_default().push(it.id.clone());
        }
        let about = match by_app.len() {
            1 => by_app.keys().next().map_or_else(GroupId::root, PathId::parent),
            _ => GroupId::root(),
        };
        let mut draft = Draft { about, force, ..Draft::default_at_root() };
        for (app, ids) in by_app {
            let Some(spec) = self.world.spec(&app) else { continue };
            let gone = u32::try_from(ids.len()).unwrap_or(u32::MAX);
            let instances = spec.instances.saturating_sub(gone);
            draft.apps.insert(app.clone(), Some(Arc::new(AppSpec { instances, ..AppSpec::clone(spec) })));
            draft.victims.insert(app, ids);
        }
        self.answer(draft)
    }
}
