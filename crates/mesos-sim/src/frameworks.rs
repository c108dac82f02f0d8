//! Frameworks come, go, fail over and are removed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use marathon_mesos_v1::{
    Address, CallSubscribe, CallUpdateFramework, Codec, Event, EventError, EventSubscribed, EventType,
    FrameworkId, FrameworkInfo, MasterInfo, MasterInfoCapability, MasterInfoCapabilityType, TaskState,
    TaskStatusReason, TaskStatusSource,
};

use crate::sim::{Output, Sim, encode};
use crate::state::{Abilities, Conn, Framework, Index, Status, Subscription, View};
use crate::time::Timer;
use crate::validate;

impl Sim {
    /// A valid SUBSCRIBE call. The answer, good or bad, is the beginning of a stream.
    pub(crate) fn subscribe(
        &mut self,
        conn: Conn,
        codec: Codec,
        mut call: CallSubscribe,
        principal: Option<&str>,
    ) -> String {
        let stream = self.ids.uuid();
        if call.framework_info.principal.is_none() {
            call.framework_info.principal = principal.map(str::to_owned);
        }
        if let Err(message) = self.accepts(&call) {
            self.refuse_stream(conn, codec, &message);
            return stream;
        }
        let id = call.framework_info.id.as_ref().map(|it| it.value.clone()).filter(|it| !it.is_empty());
        let known = id.as_ref().and_then(|id| self.framework_ids.get(id.as_str()).copied());
        let (framework, was_active, is_new) = match known {
            Some(framework) => {
                let was_active = self.frameworks[framework].is_connected();
                self.leave_stream(framework, "Framework failed over");
                self.renew(framework, &call);
                (framework, was_active, false)
            }
            None => (self.new_framework(id, &call), false, true),
        };
        self.frameworks[framework].subscription = Some(Subscription { conn, stream: stream.clone(), codec });
        self.frameworks[framework].life += 1;
        self.streams.insert(conn, framework);
        self.counters.subscriptions += 1;
        self.note_subscription(framework);
        self.greet(conn, framework, codec);
        if is_new {
            self.tell_framework("FRAMEWORK_ADDED", framework);
        } else {
            self.tell_framework("FRAMEWORK_UPDATED", framework);
        }
        if !was_active {
            self.allocate(None);
        }
        if !is_new {
            self.resend_all(framework);
        }
        stream
    }

    fn accepts(&self, call: &CallSubscribe) -> Result<(), String> {
        let info = &call.framework_info;
        validate::framework(
            info,
            &call.suppressed_roles,
            call.offer_constraints.as_ref(),
            self.config.roles.as_deref(),
        )?;
        let Some(id) = &info.id else { return Ok(()) };
        let Some(&framework) = self.framework_ids.get(id.value.as_str()) else { return Ok(()) };
        let it = &self.frameworks[framework];
        if it.removed.is_some() {
            return Err("Framework has been removed".to_owned());
        }
        if it.info.principal != info.principal && !it.recovered {
            return Err("Changing framework's principal is not allowed.".to_owned());
        }
        Ok(())
    }

    fn refuse_stream(&mut self, conn: Conn, codec: Codec, message: &str) {
        let bytes = encode(codec, &error_event(message));
        self.out.push(Output::Frame { conn, bytes });
        self.out.push(Output::Close { conn, clean: true });
    }

    fn greet(&mut self, conn: Conn, framework: usize, codec: Codec) {
        let event = Event {
            r#type: Some(EventType::SUBSCRIBED as i32),
            subscribed: Some(EventSubscribed {
                framework_id: FrameworkId { value: self.frameworks[framework].id.to_string() },
                heartbeat_interval_seconds: Some(self.config.heartbeat.as_secs_f64()),
                master_info: self.leader.map(|seat| self.own_info(seat, codec)),
            }),
            ..Event::default()
        };
        self.tell(framework, &event);
        self.tell(framework, &Event { r#type: Some(EventType::HEARTBEAT as i32), ..Event::default() });
        self.timers.add(self.now.plus(self.config.heartbeat), Timer::Heartbeat { conn });
    }

    /// The third capability has a number but, in 1.11, no name: in JSON it is an empty object.
    fn own_info(&self, seat: usize, codec: Codec) -> MasterInfo {
        let mut info = self.master_info(seat);
        if let (Codec::Protobuf, Some(last)) = (codec, info.capabilities.last_mut()) {
            last.r#type = Some(MasterInfoCapabilityType::QUOTA_V2 as i32);
        }
        info
    }

    pub fn master_info(&self, seat: usize) -> MasterInfo {
        let it = &self.seats[seat];
        let known = [MasterInfoCapabilityType::AGENT_UPDATE, MasterInfoCapabilityType::AGENT_DRAINING];
        let mut capabilities: Vec<MasterInfoCapability> =
            known.into_iter().map(|kind| MasterInfoCapability { r#type: Some(kind as i32) }).collect();
        capabilities.push(MasterInfoCapability::default());
        MasterInfo {
            id: it.id.clone(),
            ip: u32::from_le_bytes(it.ip),
            port: u32::from(it.port),
            pid: Some(it.pid()),
            hostname: Some(it.hostname.clone()),
            version: Some(self.config.version.clone()),
            address: Some(Address {
                hostname: Some(it.hostname.clone()),
                ip: Some(it.ip_text()),
                port: i32::from(it.port),
            }),
            domain: self.config.domain.clone(),
            capabilities,
        }
    }

    fn new_framework(&mut self, id: Option<String>, call: &CallSubscribe) -> usize {
        let id: Arc<str> = match id {
            Some(id) => Arc::from(id),
            None => {
                let id = format!("{}-{:04}", self.master_id(), self.next_framework);
                self.next_framework += 1;
                Arc::from(id)
            }
        };
        let mut info = call.framework_info.clone();
        info.id = Some(FrameworkId { value: id.to_string() });
        let framework = self.frameworks.len();
        self.framework_ids.insert(id.clone(), framework);
        self.frameworks.push(Framework {
            id,
            abilities: Abilities::of(&info),
            roles: roles_of(&info),
            suppressed: call.suppressed_roles.iter().map(|it| Arc::from(it.as_str())).collect(),
            constraints: call.offer_constraints.clone(),
            info,
            subscription: None,
            recovered: false,
            removed: None,
            registered: self.now,
            reregistered: None,
            life: 0,
            tasks: Index::default(),
            completed: VecDeque::new(),
            shares: BTreeMap::new(),
        });
        framework
    }

    /// A known framework subscribes again: what it says counts, except who runs its tasks and whether agents
    /// keep them, which never change.
    fn renew(&mut self, framework: usize, call: &CallSubscribe) {
        for number in self.offers_of(framework) {
            if let Some(held) = self.drop_offer(number) {
                self.recover(held.agent, &held.resources);
            }
        }
        let now = self.now;
        let it = &mut self.frameworks[framework];
        let (user, checkpoint) = (it.info.user.clone(), it.info.checkpoint);
        it.info = FrameworkInfo { user, checkpoint, ..call.framework_info.clone() };
        it.abilities = Abilities::of(&it.info);
        it.roles = roles_of(&it.info);
        it.suppressed = call.suppressed_roles.iter().map(|it| Arc::from(it.as_str())).collect();
        it.constraints = call.offer_constraints.clone();
        if it.recovered {
            it.recovered = false;
            it.registered = now;
        }
        it.reregistered = Some(now);
    }

    fn offers_of(&self, framework: usize) -> Vec<u64> {
        self.offers.iter().filter(|(_, it)| it.framework == framework).map(|(number, _)| *number).collect()
    }

    /// Ends the stream that is there, with an error for who still listens to it.
    fn leave_stream(&mut self, framework: usize, message: &str) {
        let Some(old) = self.frameworks[framework].subscription.clone() else { return };
        self.tell(framework, &error_event(message));
        self.frameworks[framework].subscription = None;
        self.streams.remove(&old.conn);
        self.out.push(Output::Close { conn: old.conn, clean: true });
    }

    /// The connection of a stream was closed by the other side.
    pub fn disconnected(&mut self, conn: Conn) {
        self.watchers.remove(&conn);
        let Some(framework) = self.streams.remove(&conn) else { return };
        self.frameworks[framework].subscription = None;
        self.frameworks[framework].life += 1;
        for number in self.offers_of(framework) {
            if let Some(held) = self.drop_offer(number) {
                self.recover(held.agent, &held.resources);
            }
        }
        self.clear_filters(framework, None);
        self.inverse_offers.retain(|_, it| it.framework != framework);
        let it = &self.frameworks[framework];
        let seconds = it.info.failover_timeout.unwrap_or(0.0);
        // A negative timeout is accepted, and never ends.
        if let Ok(wait) = Duration::try_from_secs_f64(seconds) {
            let timer = Timer::FrameworkGone { framework, life: it.life };
            if wait.is_zero() {
                self.remove_framework(framework);
            } else {
                self.timers.add(self.now.plus(wait), timer);
            }
        }
    }

    /// Its tasks die, its id is used up.
    pub(crate) fn remove_framework(&mut self, framework: usize) {
        for number in self.offers_of(framework) {
            if let Some(held) = self.drop_offer(number) {
                self.recover(held.agent, &held.resources);
            }
        }
        self.clear_filters(framework, None);
        self.inverse_offers.retain(|_, it| it.framework != framework);
        let mut tasks: Vec<usize> = self.frameworks[framework].tasks.values().copied().collect();
        tasks.sort_unstable();
        for task in tasks {
            let status = Status::new(TaskState::TASK_KILLED, TaskStatusSource::SOURCE_MASTER, self.now)
                .because(TaskStatusReason::REASON_FRAMEWORK_REMOVED);
            self.end_task(task, Some(status));
        }
        let executors: Vec<usize> =
            self.executors.iter().filter(|(_, it)| it.framework == framework).map(|(at, _)| at).collect();
        for executor in executors {
            self.remove_executor(executor);
        }
        self.operations.retain(|_, it| it.framework != framework);
        let now = self.now;
        let it = &mut self.frameworks[framework];
        it.removed = Some(now);
        it.life += 1;
        if let Some(old) = it.subscription.take() {
            self.streams.remove(&old.conn);
            self.out.push(Output::Close { conn: old.conn, clean: true });
        }
        self.tell_framework("FRAMEWORK_REMOVED", framework);
        self.completed.push_back(framework);
        while self.config.completed_frameworks < self.completed.len() {
            if let Some(old) = self.completed.pop_front() {
                let id = self.frameworks[old].id.clone();
                self.framework_ids.remove(&id);
                self.frameworks[old].completed = VecDeque::new();
            }
        }
    }

    /// Why an UPDATE_FRAMEWORK is refused, or nothing.
    pub(crate) fn update_framework(
        &mut self,
        framework: usize,
        call: &CallUpdateFramework,
    ) -> Result<(), String> {
        let new = &call.framework_info;
        validate::framework(
            new,
            &call.suppressed_roles,
            call.offer_constraints.as_ref(),
            self.config.roles.as_deref(),
        )
        .map_err(|it| format!("Supplied FrameworkInfo is not valid: {it}"))?;
        let old = &self.frameworks[framework].info;
        if old.principal != new.principal {
            return Err("FrameworkInfo update is not valid: Changing framework's principal is not allowed."
                .to_owned());
        }
        let changed = |what: &str, from: String, to: String| {
            format!(
                "FrameworkInfo update is not valid: Updating 'FrameworkInfo.{what}' is unsupported; attempted to update from '{from}' to '{to}'"
            )
        };
        if old.user != new.user {
            return Err(changed("user", old.user.clone(), new.user.clone()));
        }
        let (had, has) = (old.checkpoint.unwrap_or(false), new.checkpoint.unwrap_or(false));
        if had != has {
            return Err(changed("checkpoint", had.to_string(), has.to_string()));
        }
        let unsuppressed: Vec<Arc<str>> = {
            let now: BTreeSet<Arc<str>> =
                call.suppressed_roles.iter().map(|it| Arc::from(it.as_str())).collect();
            self.frameworks[framework].suppressed.difference(&now).cloned().collect()
        };
        let it = &mut self.frameworks[framework];
        it.info = new.clone();
        it.abilities = Abilities::of(new);
        it.roles = roles_of(new);
        it.suppressed = call.suppressed_roles.iter().map(|it| Arc::from(it.as_str())).collect();
        it.constraints = call.offer_constraints.clone();
        for role in unsuppressed {
            self.clear_filters(framework, Some(&role));
        }
        for number in self.offers_of(framework) {
            self.rescind(number);
        }
        self.tell_framework("FRAMEWORK_UPDATED", framework);
        self.resend_all(framework);
        Ok(())
    }

    /// Agents learn that the framework is (still) there and send what it has not acknowledged.
    fn resend_all(&mut self, framework: usize) {
        let mut tasks: Vec<usize> = self.frameworks[framework].tasks.values().copied().collect();
        tasks.retain(|it| {
            self.tasks.get(*it).is_some_and(|it| !it.queue.is_empty() && it.view == View::Known)
        });
        tasks.sort_unstable();
        for task in tasks {
            self.send_head(task, true);
        }
        let operations: Vec<u64> =
            self.operations.iter().filter(|(_, it)| it.framework == framework).map(|(at, _)| *at).collect();
        for operation in operations {
            self.send_operation(operation, true);
        }
    }
}

pub(crate) fn roles_of(info: &FrameworkInfo) -> Vec<Arc<str>> {
    if Abilities::of(info).multi_role {
        return info.roles.iter().map(|it| Arc::from(it.as_str())).collect();
    }
    vec![Arc::from(info.role.as_deref().unwrap_or("*"))]
}

fn error_event(message: &str) -> Event {
    Event {
        r#type: Some(EventType::ERROR as i32),
        error: Some(EventError { message: message.as_bytes().to_vec() }),
        ..Event::default()
    }
}
