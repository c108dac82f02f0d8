//! Previews: what is foreseen of a change must be what the change then does.
//!
//! Of some wishes a preview is asked for first, in the middle of whatever goes on. Whatever does not depend on the
//! cluster is compared at once: whether it is refused and why, its steps, the deployments that end for it. In the
//! end, when the world is kind and settled, one more wish is carried out, and must start and stop as many tasks as
//! was foreseen.

use std::collections::BTreeSet;

use marathon_core_faulty::{Core, Policy, preview};
use marathon_model::act::{Act, Batch};
use marathon_model::command::{Command, Refusal, Reply};
use marathon_model::id::{DeploymentId, TaskId};
use marathon_model::notice::What;
use marathon_model::preview::{Outcome, Preview};
use marathon_model::time::Now;

use crate::check::{Found, ensure};
use crate::sim::Sim;

const NAME: &str = "what is foreseen comes true";
/// A preview costs as much as dozens of steps, so not every wish has one.
pub const EVERY: u64 = 32;
/// In a settled world most wishes change something, but not all do.
const WISHES: usize = 8;

/// What was said of a wish before it was carried out.
#[derive(Debug)]
pub struct Foresight {
    preview: Result<Preview, Refusal>,
    open: BTreeSet<DeploymentId>,
}

impl Foresight {
    pub fn of(core: &Core, policy: &Policy, command: &Command, now: Now) -> Foresight {
        let view = core.view();
        let preview = preview(&view, policy, command.clone(), now);
        Foresight { preview, open: view.deployments.keys().copied().collect() }
    }

    /// After the step that carried it out.
    pub fn came_true(&self, core: &Core, batch: &Batch) -> Found {
        let reply = batch.acts.iter().find_map(|it| if let Act::Reply(_, it) = it { Some(it) } else { None });
        let preview = match (&self.preview, reply) {
            (Err(foreseen), Some(Reply::Refused(refusal))) => {
                ensure!(foreseen == refusal, NAME, "refused for {refusal:?}, foreseen was {foreseen:?}");
                return Ok(());
            }
            (Ok(preview), Some(reply)) if !matches!(reply, Reply::Refused(_)) => preview,
            (foreseen, reply) => return Err((NAME, format!("{reply:?}, foreseen was {foreseen:?}"))),
        };
        let plans = batch.acts.iter().filter_map(|it| match it {
            Act::Publish(notice) => match &notice.what {
                What::DeploymentStep { plan, .. } | What::DeploymentSucceeded { plan } => Some(plan),
                _ => None,
            },
            _ => None,
        });
        let own =
            |id: DeploymentId| matches!(reply, Some(Reply::Deployed { deployment, .. }) if *deployment == id);
        let plan = plans.into_iter().find(|it| own(it.id));
        let steps = plan.map(|it| &it.steps[..]).unwrap_or_default();
        ensure!(steps == &preview.steps[..], NAME, "steps {steps:?}, foreseen were {:?}", preview.steps);
        let view = core.view();
        let mut ended = self.open.clone();
        ended.retain(|it| !view.deployments.contains_key(it));
        ensure!(preview.ends.iter().eq(&ended), NAME, "{ended:?} ended, not {:?}", preview.ends);
        Ok(())
    }
}

impl Sim {
    /// One more wish, in a world that is kind and settled.
    pub fn foresees(&mut self) -> Found {
        for _ in 0..WISHES {
            let (command, wanted) = self.wish();
            let Some(preview) = self.foresee(&command) else { continue };
            let sum = |of: fn(&marathon_model::preview::AppPreview) -> u32| {
                preview.apps.iter().map(of).sum::<u32>() as usize
            };
            let foreseen = (sum(|it| it.starts), sum(|it| it.stops));
            if foreseen == (0, 0) {
                continue;
            }
            let before = self.live();
            self.ask_for(command, wanted)?;
            self.settles_down()?;
            let after = self.live();
            let happened = (after.difference(&before).count(), before.difference(&after).count());
            ensure!(happened == foreseen, NAME, "starts and stops: {happened:?}, foreseen were {foreseen:?}");
            self.foreseen += 1;
            return Ok(());
        }
        Ok(())
    }

    /// What would become of a wish, if all of it can come true. One that gives up by itself is no good here.
    fn foresee(&self, command: &Command) -> Option<Preview> {
        if matches!(command, Command::Guarded { .. }) {
            return None;
        }
        self.preview(command).ok().filter(|it| it.outcome == Outcome::Completes)
    }

    fn live(&self) -> BTreeSet<TaskId> {
        let live = self.store.instances().filter(|it| !it.is_over());
        live.filter_map(|it| Some(it.task.as_ref()?.id.clone())).collect()
    }
}
