//! RESERVE, UNRESERVE, CREATE, DESTROY, GROW_VOLUME, SHRINK_VOLUME, and the feedback about them.
//!
//! They take effect at once, in the pool of the call and on the agent. Who named an operation hears of it until
//! the news is acknowledged; who did not hears nothing, even if it is refused.

use marathon_mesos_v1::{
    AgentId, CallAcknowledgeOperationStatus, CallReconcileOperations, Event, EventType,
    EventUpdateOperationStatus, OfferOperation, OfferOperationType, OperationId, OperationState,
    OperationStatus, Resource, Uuid,
};

use crate::accept::Pool;
use crate::convert::read;
use crate::resources::{Amount, Resources, milli};
use crate::sim::Sim;
use crate::state::OperationRecord;
use crate::time::Timer;
use crate::updates::{FIRST_RETRY, LONGEST_RETRY};

impl Sim {
    pub(crate) fn convert(&mut self, pool: &mut Pool, operation: &OfferOperation) {
        match self.conversion(pool, operation) {
            Ok((take, give)) => {
                pool.rest.subtract(&take);
                pool.rest.add(&give);
                pool.converted = true;
                let agent = &mut self.agents[pool.agent];
                agent.total.subtract(&take);
                agent.total.add(&give);
                self.operation_done(pool, operation);
            }
            Err(message) => self.operation_error(pool.framework, operation, &message),
        }
    }

    /// What an operation takes from the pool and what it makes of it.
    fn conversion(&self, pool: &Pool, operation: &OfferOperation) -> Result<(Resources, Resources), String> {
        let kind = operation.r#type.and_then(|it| OfferOperationType::try_from(it).ok());
        let (take, give) = match kind {
            Some(OfferOperationType::RESERVE) => {
                let all = operation.reserve.as_ref().map(|it| it.resources.as_slice()).unwrap_or_default();
                let give = read(all).resources;
                self.valid_reservation(pool, &give)?;
                (without_reservation(&give), give)
            }
            Some(OfferOperationType::UNRESERVE) => {
                let all = operation.unreserve.as_ref().map(|it| it.resources.as_slice()).unwrap_or_default();
                let take = read(all).resources;
                if let Some((kind, _)) =
                    take.0.iter().find(|(kind, _)| kind.reservations().last().is_none_or(|it| !it.dynamic))
                {
                    return Err(format!("Resource '{}' is not dynamically reserved", kind.name));
                }
                let give = without_reservation(&take);
                (take, give)
            }
            Some(OfferOperationType::CREATE) => {
                let all = operation.create.as_ref().map(|it| it.volumes.as_slice()).unwrap_or_default();
                self.volumes(pool, all)?
            }
            Some(OfferOperationType::DESTROY) => {
                let all = operation.destroy.as_ref().map(|it| it.volumes.as_slice()).unwrap_or_default();
                let take = read(all).resources;
                if self.in_use(pool.agent, &take) {
                    let it = &self.agents[pool.agent];
                    return Err(format!(
                        "Persistent volumes in use; on agent {} at {} ({})",
                        it.id,
                        it.pid(),
                        it.hostname
                    ));
                }
                let give = without_volume(&take);
                (take, give)
            }
            Some(OfferOperationType::GROW_VOLUME) => {
                let it = operation.grow_volume.as_ref().ok_or("Expecting 'grow_volume' to be present")?;
                let volume = read(std::slice::from_ref(&it.volume)).resources;
                let addition = read(std::slice::from_ref(&it.addition)).resources;
                resized(&volume, addition.scalar("disk"))?
            }
            Some(OfferOperationType::SHRINK_VOLUME) => {
                let it = operation.shrink_volume.as_ref().ok_or("Expecting 'shrink_volume' to be present")?;
                resized(&read(std::slice::from_ref(&it.volume)).resources, -milli(it.subtract.value))?
            }
            _ => return Err("Operation is not supported by the simulation".to_owned()),
        };
        // One after the other, so a refusal shows what the earlier ones have made of the pool.
        let mut rest = pool.rest.clone();
        for (at, (kind, amount)) in take.0.iter().enumerate() {
            let one = Resources(vec![(kind.clone(), amount.clone())]);
            if !rest.contains(&one) {
                let role = Some(&*pool.role);
                return Err(format!("{} does not contain {}", rest.text(role), one.text(role)));
            }
            rest.subtract(&one);
            if let Some((kind, amount)) = give.0.get(at) {
                rest.add_one(kind, amount);
            }
        }
        Ok((take, give))
    }

    fn valid_reservation(&self, pool: &Pool, all: &Resources) -> Result<(), String> {
        let mine = self.frameworks[pool.framework].info.principal.as_deref();
        for (kind, _) in &all.0 {
            let Some(last) = kind.reservations().last() else {
                return Err(format!("Resource '{}' is not reserved", kind.name));
            };
            if !last.dynamic {
                return Err(format!("Resource '{}' is not dynamically reserved", kind.name));
            }
            if last.role != *pool.role {
                return Err(format!(
                    "A reserve operation was attempted for a resource with role '{}', but the resources are allocated to role '{}'",
                    last.role, pool.role
                ));
            }
            if last.principal.as_deref() != mine {
                return Err(format!(
                    "A reserve operation was attempted by principal '{}', but there is a reserved resource in the request with principal '{}'",
                    mine.unwrap_or_default(),
                    last.principal.as_deref().unwrap_or_default()
                ));
            }
        }
        Ok(())
    }

    fn volumes(&self, pool: &Pool, all: &[Resource]) -> Result<(Resources, Resources), String> {
        let give = read(all).resources;
        for (kind, _) in &give.0 {
            let Some(volume) = kind.volume() else {
                return Err("'persistence' is not set in DiskInfo".to_owned());
            };
            if kind.reservations().is_empty() {
                return Err("Persistent volumes cannot be created from unreserved resources.".to_owned());
            }
            let same = |it: &(crate::resources::Kind, Amount)| {
                it.0.volume().is_some_and(|other| other.id == volume.id)
                    && it.0.reserved_for() == kind.reserved_for()
            };
            if self.agents[pool.agent].total.0.iter().any(same) {
                return Err(format!("Persistence ID '{}' is used by another volume", volume.id));
            }
        }
        Ok((without_volume(&give), give))
    }

    fn in_use(&self, agent: usize, volumes: &Resources) -> bool {
        let tasks =
            self.agents[agent].tasks.iter().filter_map(|it| self.tasks.get(*it)).filter(|it| !it.released);
        tasks
            .flat_map(|it| &it.resources.0)
            .any(|(kind, _)| kind.volume().is_some() && volumes.0.iter().any(|(other, _)| other == kind))
    }

    fn operation_done(&mut self, pool: &Pool, operation: &OfferOperation) {
        let Some(id) = operation.id.as_ref().map(|it| it.value.clone()) else { return };
        let number = self.next_operation;
        self.next_operation += 1;
        self.operations.insert(
            number,
            OperationRecord {
                id: Some(id),
                framework: pool.framework,
                agent: pool.agent,
                info: operation.clone(),
                uuid: self.ids.bytes(),
                state: OperationState::OPERATION_FINISHED,
                send: 0,
                backoff: FIRST_RETRY,
            },
        );
        self.send_operation(number, true);
    }

    pub(crate) fn send_operation(&mut self, number: u64, fresh: bool) {
        let Some(it) = self.operations.get_mut(&number) else { return };
        if !self.agents[it.agent].talks() {
            return;
        }
        it.send = it.send.wrapping_add(1);
        it.backoff = if fresh { FIRST_RETRY } else { (it.backoff * 2).min(LONGEST_RETRY) };
        let timer = Timer::ResendOperation { operation: number, send: it.send };
        let status = OperationStatus {
            operation_id: it.id.clone().map(|value| OperationId { value }),
            state: it.state as i32,
            uuid: Some(Uuid { value: it.uuid.to_vec() }),
            agent_id: Some(AgentId { value: self.agents[it.agent].id.to_string() }),
            ..OperationStatus::default()
        };
        let (framework, when) = (it.framework, self.now.plus(it.backoff));
        self.timers.add(when, timer);
        self.tell_operation(framework, status);
    }

    pub(crate) fn resend_operation(&mut self, number: u64, send: u32) {
        if self.operations.get(&number).is_some_and(|it| it.send == send) {
            self.send_operation(number, false);
        }
    }

    fn tell_operation(&mut self, framework: usize, status: OperationStatus) {
        let event = Event {
            r#type: Some(EventType::UPDATE_OPERATION_STATUS as i32),
            update_operation_status: Some(EventUpdateOperationStatus { status }),
            ..Event::default()
        };
        self.tell(framework, &event);
    }

    pub(crate) fn operation_error(&mut self, framework: usize, operation: &OfferOperation, message: &str) {
        let Some(id) = operation.id.clone() else { return };
        let status = OperationStatus {
            operation_id: Some(id),
            state: OperationState::OPERATION_ERROR as i32,
            message: Some(message.as_bytes().to_vec()),
            ..OperationStatus::default()
        };
        self.tell_operation(framework, status);
    }

    pub(crate) fn acknowledge_operation(&mut self, framework: usize, call: &CallAcknowledgeOperationStatus) {
        self.operations.retain(|_, it| {
            it.framework != framework
                || it.id.as_deref() != Some(&call.operation_id.value)
                || it.uuid[..] != call.uuid[..]
        });
    }

    pub(crate) fn reconcile_operations(&mut self, framework: usize, call: &CallReconcileOperations) {
        let known: Vec<u64> =
            self.operations.iter().filter(|(_, it)| it.framework == framework).map(|(at, _)| *at).collect();
        if call.operations.is_empty() {
            for number in known {
                self.tell_latest(number);
            }
            return;
        }
        for asked in &call.operations {
            let found = known.iter().find(|it| {
                self.operations.get(it).is_some_and(|it| it.id.as_deref() == Some(&asked.operation_id.value))
            });
            if let Some(number) = found {
                self.tell_latest(*number);
                continue;
            }
            let why = if asked.agent_id.is_some() { "" } else { " and no 'agent_id' was provided" };
            let status = OperationStatus {
                operation_id: Some(asked.operation_id.clone()),
                state: OperationState::OPERATION_UNKNOWN as i32,
                message: Some(format!("Reconciliation: Operation is unknown{why}").into_bytes()),
                agent_id: asked.agent_id.clone(),
                ..OperationStatus::default()
            };
            self.tell_operation(framework, status);
        }
    }

    fn tell_latest(&mut self, number: u64) {
        let Some(it) = self.operations.get(&number) else { return };
        let status = OperationStatus {
            operation_id: it.id.clone().map(|value| OperationId { value }),
            state: it.state as i32,
            message: Some(b"Reconciliation: Latest operation status".to_vec()),
            agent_id: Some(AgentId { value: self.agents[it.agent].id.to_string() }),
            ..OperationStatus::default()
        };
        self.tell_operation(it.framework, status);
    }
}

fn changed(all: &Resources, change: impl Fn(&mut crate::resources::Detail)) -> Resources {
    let mut out = Resources::default();
    for (kind, amount) in &all.0 {
        out.add_one(&kind.with(&change), amount);
    }
    out
}

fn without_reservation(all: &Resources) -> Resources {
    changed(all, |it| {
        it.reservations.pop();
    })
}

fn without_volume(all: &Resources) -> Resources {
    changed(all, |it| it.volume = None)
}

/// A volume with more or less disk: what is added comes from the same reservation, what is left goes back there.
fn resized(volume: &Resources, by: i64) -> Result<(Resources, Resources), String> {
    let Some((kind, Amount::Scalar(size))) = volume.0.first() else {
        return Err("Volume has no size".to_owned());
    };
    if size + by <= 0 {
        return Err("Volume would be empty".to_owned());
    }
    let plain = kind.with(|it| it.volume = None);
    let mut take = volume.clone();
    let mut give = Resources::default();
    give.add_one(kind, &Amount::Scalar(size + by));
    let other = if by < 0 { &mut give } else { &mut take };
    other.add_one(&plain, &Amount::Scalar(by.abs()));
    Ok((take, give))
}
