//! What the core asks, written down as calls of the protocol.

use std::time::Instant;

use marathon_mesos_v1 as v1;
use marathon_model::id::{AgentId, OfferId, TaskId};
use marathon_model::offer::{Call, EngineEvent, Operation, Reason, TaskState};
use marathon_model::resources::Role;
use v1::CallType;

use crate::desk::Desk;
use crate::operations::{self, written};
use crate::session::Sent;
use crate::task::{Place, kill_policy};
use crate::{Engine, framework, now};

/// A call with what is to be done if the master refuses it.
pub(crate) struct Written {
    pub call: v1::Call,
    pub sent: Sent,
}

/// So many tasks are asked for at a time.
const RECONCILE_MAX: usize = 5_000;

fn plain(kind: CallType, call: v1::Call) -> Written {
    Written { call: v1::Call { r#type: Some(kind as i32), ..call }, sent: Sent::Plain(kind) }
}

fn task_id(it: &TaskId) -> v1::TaskId {
    v1::TaskId { value: it.to_string() }
}

fn agent_id(it: &AgentId) -> v1::AgentId {
    v1::AgentId { value: it.to_string() }
}

impl Engine {
    /// Writes a call down. What the core has to hear about it at once goes to `told`.
    pub(crate) fn write(&self, call: Call, out: &mut Vec<Written>, told: &mut Vec<EngineEvent>) {
        match call {
            Call::Accept { offer, operations } => self.accept(&offer, &operations, out, told),
            Call::Decline { offers, hold } => {
                let mut desk = self.desk();
                let known = offers.iter().filter(|it| desk.open.remove(it).is_some());
                let offer_ids: Vec<_> = known.map(|it| v1::OfferId { value: it.to_string() }).collect();
                if !offer_ids.is_empty() {
                    let filters = Some(v1::Filters { refuse_seconds: Some(hold.as_secs_f64()) });
                    let decline = Some(v1::CallDecline { offer_ids, filters });
                    out.push(plain(CallType::DECLINE, v1::Call { decline, ..Default::default() }));
                }
            }
            Call::Revive(wanted) => {
                if self.desk().roles.want(wanted.iter().map(|it| &**it)) {
                    out.push(self.update_framework());
                }
                if let Some(roles) = self.subscribed(&wanted) {
                    out.push(revive(roles));
                }
            }
            Call::Suppress(unwanted) => {
                self.desk().roles.drop_demand(unwanted.iter().map(|it| &**it));
                if let Some(roles) = self.subscribed(&unwanted) {
                    let suppress = Some(v1::CallSuppress { roles });
                    out.push(plain(CallType::SUPPRESS, v1::Call { suppress, ..Default::default() }));
                }
            }
            Call::Kill { task, agent, grace } => {
                for task in self.desk().named_by(&task) {
                    let kill = v1::CallKill {
                        task_id: task_id(&task),
                        agent_id: agent.as_ref().map(agent_id),
                        kill_policy: grace.map(kill_policy),
                    };
                    out.push(plain(CallType::KILL, v1::Call { kill: Some(kill), ..Default::default() }));
                }
            }
            Call::Acknowledge { task, agent, update } => {
                let acknowledge = v1::CallAcknowledge {
                    agent_id: agent_id(&agent),
                    task_id: task_id(&task),
                    uuid: update.as_bytes().to_vec(),
                };
                let call = v1::Call { acknowledge: Some(acknowledge), ..Default::default() };
                out.push(plain(CallType::ACKNOWLEDGE, call));
            }
            Call::Reconcile(tasks) => {
                if !tasks.is_empty() {
                    self.desk().asked(&tasks, Instant::now());
                }
                reconcile(&tasks, out);
            }
        }
    }

    /// Those of the roles that the master knows of us: for one more it would drop the whole call, and an empty list
    /// means all.
    fn subscribed(&self, roles: &[Role]) -> Option<Vec<String>> {
        let desk = self.desk();
        let known = roles.iter().filter(|it| desk.roles.is_known(it)).map(|it| it.to_string());
        Some(known.collect::<Vec<_>>()).filter(|it| !it.is_empty())
    }

    /// What the master has to be told so that it offers no more than can be used, if that is something new.
    pub(crate) fn filtered(&self) -> Option<Written> {
        let filtering = self.config.filtering.as_ref()?;
        let is_new = {
            let Desk { roles, filter, .. } = &mut *self.desk();
            filter.look(filtering, Instant::now(), |role| roles.is_known(role))
        };
        is_new.then(|| self.update_framework())
    }

    pub(crate) fn update_framework(&self) -> Written {
        let desk = self.desk();
        let id = self.config.id.as_ref().map(|it| it.as_str());
        let update = v1::CallUpdateFramework {
            framework_info: framework::info(&self.config.framework, id, &desk.roles),
            suppressed_roles: desk.roles.suppressed(),
            offer_constraints: desk.filter.sent(|role| desk.roles.is_known(role)),
        };
        let call = v1::Call { update_framework: Some(update), ..Default::default() };
        Written { sent: Sent::Update(desk.roles.known()), ..plain(CallType::UPDATE_FRAMEWORK, call) }
    }

    fn accept(
        &self,
        offer: &OfferId,
        operations: &[Operation],
        out: &mut Vec<Written>,
        told: &mut Vec<EngineEvent>,
    ) {
        let id = v1::OfferId { value: offer.to_string() };
        let Some(mut open) = self.desk().open.remove(offer) else {
            drop_launches(operations, "the offer was withdrawn", Reason::InvalidOffers, told);
            return;
        };
        let framework = self.config.id.as_ref().map(|it| it.as_str()).unwrap_or_default();
        let place = Place { framework, about: &self.config.about };
        let principal = self.config.framework.principal.as_deref();
        let (operations_written, refused) = match written(operations, &mut open.stock, &place, principal) {
            Ok(done) => done,
            Err(short) => {
                tracing::error!(%offer, agent = open.agent, "an offer does not hold what was taken from it: {short}");
                drop_launches(operations, &short.to_string(), Reason::InvalidOffers, told);
                (Vec::new(), Vec::new())
            }
        };
        for it in refused {
            tracing::error!(tasks = ?it.tasks, "a launch cannot be written down: {}", it.why);
            let status = |task: &TaskId| {
                let why = it.why.clone();
                crate::status::never_sent(
                    task.clone(),
                    it.agent.clone(),
                    TaskState::Error,
                    Reason::Other,
                    why,
                    now(),
                )
            };
            told.extend(it.tasks.iter().map(|task| EngineEvent::Status(status(task))));
        }
        let mut launched = Vec::new();
        for it in Operation::launches(operations) {
            self.desk().launched(it);
            launched.extend(operations::ids(it).into_iter().map(|task| (task, it.agent.clone())));
        }
        // An offer that nothing is done with goes back at once; what is left of one that was used, too.
        let filters = Some(v1::Filters { refuse_seconds: Some(0.0) });
        let accept = v1::CallAccept { offer_ids: vec![id], operations: operations_written, filters };
        let mut it = plain(CallType::ACCEPT, v1::Call { accept: Some(accept), ..Default::default() });
        it.sent = Sent::Accept(launched);
        out.push(it);
    }

    /// A call for which there is no master.
    pub(crate) fn undeliverable(&self, call: Call, told: &mut Vec<EngineEvent>) {
        // All others are repeated by the core once there is one.
        if let Call::Accept { operations, .. } = call {
            drop_launches(&operations, "no master was there to start it", Reason::InvalidOffers, told);
        }
    }
}

pub(crate) fn revive(roles: Vec<String>) -> Written {
    let revive = Some(v1::CallRevive { roles });
    plain(CallType::REVIVE, v1::Call { revive, ..Default::default() })
}

pub(crate) fn reconcile(tasks: &[(TaskId, Option<AgentId>)], out: &mut Vec<Written>) {
    let mut ask = |tasks: Vec<v1::CallReconcileTask>| {
        let reconcile = Some(v1::CallReconcile { tasks });
        out.push(plain(CallType::RECONCILE, v1::Call { reconcile, ..Default::default() }));
    };
    if tasks.is_empty() {
        return ask(Vec::new());
    }
    for some in tasks.chunks(RECONCILE_MAX) {
        let task = |(task, agent): &(TaskId, Option<AgentId>)| v1::CallReconcileTask {
            task_id: task_id(task),
            agent_id: agent.as_ref().map(agent_id),
        };
        ask(some.iter().map(task).collect());
    }
}

fn drop_launches(operations: &[Operation], why: &str, reason: Reason, told: &mut Vec<EngineEvent>) {
    for it in Operation::launches(operations) {
        for task in operations::ids(it) {
            let status = crate::status::never_sent(
                task,
                it.agent.clone(),
                TaskState::Dropped,
                reason,
                why.to_owned(),
                now(),
            );
            told.push(EngineEvent::Status(status));
        }
    }
}
