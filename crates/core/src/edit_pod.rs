//! What users ask of pods: created, replaced and removed one at a time, each as one deployment.
//!
//! Apps and pods share the tree and everything below it, but not their names: to those who edit apps a pod
//! does not exist, and the other way round.

use std::sync::Arc;

use marathon_model::app::AppSpec;
use marathon_model::command::{Origin, PodEdit, Refusal, Reply, Violation};
use marathon_model::id::SpecId;
use marathon_model::notice::{PodNews, What};
use marathon_model::update::PodUpdate;

use crate::Core;
use crate::deploy::{Accepted, Draft};

impl Core {
    pub(crate) fn edit_pod(
        &mut self,
        id: SpecId,
        edit: PodEdit,
        force: bool,
        origin: Option<Origin>,
    ) -> Reply {
        let (spec, how) = match self.draft_pod(&id, edit) {
            Ok(drafted) => drafted,
            Err(refusal) => return Reply::Refused(refusal),
        };
        let mut draft = Draft { about: id.parent(), force, ..Draft::default_at_root() };
        draft.apps.insert(id.clone(), spec.map(Arc::new));
        match self.deploy(draft) {
            Err(refusal) => Reply::Refused(refusal),
            Ok(Err(steps)) => Reply::Plan(steps),
            Ok(Ok(Accepted { version, deployment })) => {
                if let Some(origin) = origin {
                    self.world.publish(What::PodChanged { origin, how });
                }
                let app = self.world.spec(&id).cloned();
                Reply::Deployed { version, deployment, created: how == PodNews::Created, app }
            }
        }
    }

    fn draft_pod(&self, id: &SpecId, edit: PodEdit) -> Result<(Option<AppSpec>, PodNews), Refusal> {
        let current = self.world.spec(id);
        let pod = current.filter(|it| it.is_pod());
        let taken = || match current {
            Some(it) if !it.is_pod() => Err(Refusal::Invalid(vec![same_id("/")])),
            _ => Ok(()),
        };
        match (edit, pod) {
            (PodEdit::Create(_), Some(_)) => Err(Refusal::PodExists(id.clone())),
            (PodEdit::Delete, None) => Err(Refusal::NoSuchPod(id.clone())),
            (PodEdit::Delete, Some(_)) => Ok((None, PodNews::Deleted)),
            (PodEdit::Create(update) | PodEdit::Replace(update), pod) => {
                taken()?;
                let spec = self.define_pod(id, *update, pod)?;
                let how = if pod.is_some() { PodNews::Updated } else { PodNews::Created };
                Ok((Some(spec), how))
            }
        }
    }

    fn define_pod(
        &self,
        id: &SpecId,
        update: PodUpdate,
        current: Option<&Arc<AppSpec>>,
    ) -> Result<AppSpec, Refusal> {
        let update = PodUpdate { id: id.clone(), ..update };
        self.with_place(id, current.map(|it| &**it), |place| {
            marathon_spec::create_pod(&update, &self.policy.rules, place)
        })
    }
}

/// Two things want the same name.
pub fn same_id(path: &str) -> Violation {
    Violation::new(path, "Applications and Pods may not share the same id")
}
