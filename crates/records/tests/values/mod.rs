//! Random values of every stored type, drawn from a seed. Every field takes every shape sooner or later;
//! no `..Default` anywhere, so a new field of the model does not compile until it is drawn here too.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use marathon_model::app::serde_json_text::JsonText;
use marathon_model::app::*;
use marathon_model::callback::CallbackUrl;
use marathon_model::deployment::*;
use marathon_model::group::Group;
use marathon_model::id::*;
use marathon_model::instance::*;
use marathon_model::offer::{Attribute, CheckResult, IpAddress, TaskState};
use marathon_model::resources::{Amounts, Milli};
use marathon_model::time::Timestamp;
use marathon_model::write::{Delay, Write};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

mod pod;

pub struct Draw(ChaCha8Rng);

impl Draw {
    pub fn new(seed: u64) -> Draw {
        Draw(ChaCha8Rng::seed_from_u64(seed))
    }

    fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.0.random_range(0..of.len())].clone()
    }

    fn flag(&mut self) -> bool {
        self.0.random_bool(0.5)
    }

    fn maybe<T>(&mut self, make: impl FnOnce(&mut Draw) -> T) -> Option<T> {
        self.flag().then(|| make(self))
    }

    fn some<T>(&mut self, mut make: impl FnMut(&mut Draw) -> T) -> Vec<T> {
        (0..self.0.random_range(0..3)).map(|_| make(self)).collect()
    }

    fn text(&mut self) -> String {
        self.pick(&["", "a", "echo \"hi\" && sleep 1", "käse\n\t\u{0}\u{1F9C0}", "\\", "$PORT0", "null"])
            .to_owned()
    }

    fn arc(&mut self) -> Arc<str> {
        self.text().into()
    }

    fn number(&mut self) -> u64 {
        match self.0.random_range(0..3) {
            0 => self.0.random_range(0..10),
            1 => self.0.random(),
            _ => u64::MAX,
        }
    }

    fn small(&mut self) -> u32 {
        self.number() as u32
    }

    fn port(&mut self) -> u16 {
        self.number() as u16
    }

    /// Any finite number: the last bit must survive.
    fn fraction(&mut self) -> f64 {
        let any = f64::from_bits(self.0.random());
        if any.is_finite() && self.flag() { any } else { self.0.random() }
    }

    fn milli(&mut self) -> Milli {
        Milli(self.number())
    }

    fn time(&mut self) -> Timestamp {
        let any = self.0.random();
        Timestamp(self.pick(&[0, 1, -1, 1_700_000_000_123, i64::MAX, i64::MIN, any]))
    }

    fn span(&mut self) -> Duration {
        let nanos = self.0.random_range(0..1_000_000_000);
        Duration::new(self.number() / 2, nanos)
    }

    pub fn path(&mut self) -> PathId {
        PathId::parse(self.pick(&["/a", "/shop/cart", "/a.b-c/d9", "/x/y/z", "/0"])).unwrap()
    }

    fn group_path(&mut self) -> PathId {
        if self.flag() { PathId::root() } else { self.path() }
    }

    fn uuid(&mut self) -> uuid::Uuid {
        uuid::Uuid::from_u128(self.0.random())
    }

    pub fn instance_id(&mut self) -> InstanceId {
        InstanceId { spec: self.path(), uuid: self.uuid() }
    }

    fn task_id(&mut self) -> TaskId {
        TaskId { instance: self.instance_id(), container: self.maybe(Draw::arc), incarnation: self.small() }
    }

    fn map<T>(&mut self, mut make: impl FnMut(&mut Draw) -> T) -> BTreeMap<String, T> {
        self.some(|it| (it.text(), make(it))).into_iter().collect()
    }

    fn labels(&mut self) -> Labels {
        self.map(Draw::text)
    }

    fn amounts(&mut self) -> Amounts {
        Amounts { cpus: self.milli(), mem: self.milli(), disk: self.milli(), gpus: self.small() }
    }

    fn limit(&mut self) -> Limit {
        if self.flag() { Limit::Unlimited } else { Limit::Amount(self.milli()) }
    }

    fn constraint(&mut self) -> Constraint {
        use Operator::*;
        Constraint {
            field: self.text(),
            operator: self.pick(&[Unique, Cluster, GroupBy, Like, Unlike, MaxPer, Is]),
            value: self.maybe(Draw::text),
        }
    }

    fn protocol(&mut self) -> Protocol {
        self.pick(&[Protocol::Tcp, Protocol::Udp, Protocol::UdpTcp])
    }

    fn mapping(&mut self) -> PortMapping {
        PortMapping {
            container_port: self.port(),
            host_port: self.maybe(Draw::port),
            service_port: self.port(),
            protocol: self.protocol(),
            name: self.maybe(Draw::text),
            labels: self.labels(),
            network_names: self.some(Draw::text),
        }
    }

    fn networking(&mut self) -> Networking {
        match self.0.random_range(0..3) {
            0 => Networking::Host {
                ports: self.some(|it| PortDefinition {
                    port: it.port(),
                    protocol: it.protocol(),
                    name: it.maybe(Draw::text),
                    labels: it.labels(),
                }),
                require_ports: self.flag(),
            },
            1 => Networking::Bridge { labels: self.labels(), mappings: self.some(Draw::mapping) },
            _ => Networking::Container {
                networks: self.some(|it| ContainerNetwork { name: it.text(), labels: it.labels() }),
                mappings: self.some(Draw::mapping),
            },
        }
    }

    fn volume(&mut self) -> Volume {
        let source = match self.0.random_range(0..4) {
            0 => VolumeSource::Host { host_path: self.text() },
            1 => VolumeSource::Persistent {
                kind: self.pick(&[DiskKind::Root, DiskKind::Path, DiskKind::Mount]),
                size: self.number(),
                max_size: self.maybe(Draw::number),
                profile: self.maybe(Draw::text),
                constraints: self.some(Draw::constraint),
            },
            2 => VolumeSource::External {
                name: self.text(),
                provider: self.text(),
                size: self.maybe(Draw::number),
                options: JsonText(self.text()),
                shared: self.flag(),
            },
            _ => VolumeSource::Secret { secret: self.text() },
        };
        Volume { container_path: self.text(), read_only: self.flag(), source }
    }

    fn container(&mut self) -> Container {
        Container {
            kind: self.pick(&[ContainerKind::Docker, ContainerKind::Mesos]),
            docker: self.maybe(|it| DockerImage {
                image: it.text(),
                force_pull: it.flag(),
                privileged: it.flag(),
                parameters: it.some(|it| (it.text(), it.text())),
                pull_secret: it.maybe(Draw::text),
            }),
            volumes: self.some(Draw::volume),
            linux: self.maybe(Draw::linux),
        }
    }

    fn linux(&mut self) -> LinuxInfo {
        LinuxInfo {
            seccomp: self.maybe(|it| Seccomp { profile: it.maybe(Draw::text), unconfined: it.flag() }),
            ipc: self.maybe(|it| Ipc { private: it.flag(), shm_size: it.maybe(Draw::small) }),
        }
    }

    fn env_value(&mut self) -> EnvValue {
        if self.flag() { EnvValue::Text(self.text()) } else { EnvValue::Secret(self.text()) }
    }

    fn fetch(&mut self) -> Fetch {
        Fetch {
            uri: self.text(),
            extract: self.flag(),
            executable: self.flag(),
            cache: self.flag(),
            dest_path: self.maybe(Draw::text),
        }
    }

    fn check_result(&mut self) -> CheckResult {
        match self.0.random_range(0..3) {
            0 => CheckResult::Http { status: self.port() },
            1 => CheckResult::Tcp { succeeded: self.flag() },
            _ => CheckResult::Command { exit_code: self.small() as i32 },
        }
    }

    fn check_port(&mut self) -> CheckPort {
        if self.flag() { CheckPort::Index(self.small()) } else { CheckPort::Number(self.port()) }
    }

    fn health_check(&mut self) -> HealthCheck {
        let kind = match self.0.random_range(0..3) {
            0 => HealthKind::Http {
                https: self.flag(),
                by_engine: self.flag(),
                path: self.maybe(Draw::text),
                port: self.check_port(),
                ignore_1xx: self.flag(),
            },
            1 => HealthKind::Tcp { by_engine: self.flag(), port: self.check_port() },
            _ => HealthKind::Command { shell: self.text() },
        };
        HealthCheck {
            kind,
            grace: self.span(),
            interval: self.span(),
            timeout: self.span(),
            delay: self.span(),
            max_failures: self.small(),
            ipv6: self.flag(),
        }
    }

    fn check(&mut self) -> Check {
        let kind = match self.0.random_range(0..4) {
            0 => CheckKind::Http { port: self.check_port(), path: self.maybe(Draw::text) },
            1 => CheckKind::Tcp { port: self.check_port() },
            2 => CheckKind::Exec(CheckCommand::Shell(self.text())),
            _ => CheckKind::Exec(CheckCommand::Argv(self.some(Draw::text))),
        };
        Check { kind, interval: self.span(), timeout: self.span(), delay: self.span() }
    }

    pub fn app(&mut self) -> AppSpec {
        AppSpec {
            // Seldom: a pod is as large as all the rest.
            pod: if self.0.random_bool(0.2) { Some(self.pod()) } else { None },
            id: self.path(),
            cmd: self.maybe(Draw::text),
            args: self.some(Draw::text),
            user: self.maybe(Draw::text),
            env: self.map(Draw::env_value),
            secrets: self.labels(),
            labels: self.labels(),
            executor: self.text(),
            instances: self.small(),
            resources: self.amounts(),
            resource_limits: self
                .maybe(|it| ResourceLimits { cpus: it.maybe(Draw::limit), mem: it.maybe(Draw::limit) }),
            executor_resources: self.maybe(Draw::amounts),
            constraints: self.some(Draw::constraint),
            accepted_resource_roles: self.maybe(|it| it.some(Draw::arc)),
            fetch: self.some(Draw::fetch),
            networking: self.networking(),
            container: self.maybe(Draw::container),
            health_checks: self.some(Draw::health_check),
            check: self.maybe(Draw::check),
            readiness_checks: self.some(|it| ReadinessCheck {
                name: it.text(),
                https: it.flag(),
                path: it.text(),
                port_name: it.text(),
                interval: it.span(),
                timeout: it.span(),
                ready_codes: it.some(Draw::port),
                preserve_last_response: it.flag(),
            }),
            backoff: Backoff { initial: self.span(), factor: self.fraction(), max: self.span() },
            upgrade: UpgradeStrategy {
                minimum_health_capacity: self.fraction(),
                maximum_over_capacity: self.fraction(),
            },
            dependencies: self.some(Draw::path),
            kill_selection: self.pick(&[KillSelection::YoungestFirst, KillSelection::OldestFirst]),
            kill_grace: self.maybe(Draw::span),
            unreachable: if self.flag() {
                UnreachableStrategy::Disabled
            } else {
                UnreachableStrategy::After { inactive: self.span(), expunge: self.span() }
            },
            tty: self.maybe(Draw::flag),
            role: self.arc(),
            version: self.time(),
            last_scaling_at: self.time(),
            last_config_change_at: self.time(),
            config: self.time(),
        }
    }

    pub fn group(&mut self) -> Group {
        Group {
            id: self.group_path(),
            dependencies: self.some(Draw::path),
            enforce_role: self.flag(),
            version: self.time(),
        }
    }

    fn task_state(&mut self) -> TaskState {
        use TaskState::*;
        self.pick(&[
            Staging,
            Starting,
            Running,
            Killing,
            Finished,
            Failed,
            Killed,
            Error,
            Lost,
            Dropped,
            Unreachable,
            Gone,
            GoneByOperator,
            Unknown,
        ])
    }

    fn attribute(&mut self) -> Attribute {
        match self.0.random_range(0..4) {
            0 => Attribute::Scalar(self.fraction()),
            1 => Attribute::Text(self.text()),
            2 => Attribute::Ranges(self.some(|it| (it.number(), it.number()))),
            _ => Attribute::Set(self.some(Draw::text)),
        }
    }

    fn task(&mut self) -> Task {
        Task {
            id: self.task_id(),
            state: self.maybe(Draw::task_state),
            staged_at: self.time(),
            started_at: self.maybe(Draw::time),
            resources: self.amounts(),
            ports: self.some(Draw::port),
            addresses: self.some(|it| IpAddress { address: it.arc(), ipv6: it.flag() }),
            check: self.maybe(Draw::check_result),
            unreachable_since: self.maybe(Draw::time),
            parts: self.some(Draw::part),
        }
    }

    pub fn instance(&mut self) -> Instance {
        use Condition::*;
        Instance {
            id: self.instance_id(),
            goal: self.pick(&[Goal::Running, Goal::Stopped, Goal::Decommissioned]),
            condition: self.pick(&[
                Scheduled,
                Provisioned,
                Staging,
                Starting,
                Running,
                Killing,
                Unreachable,
                UnreachableInactive,
                Finished,
                Killed,
                Error,
                Failed,
                Gone,
                Dropped,
                Unknown,
            ]),
            since: self.time(),
            version: self.time(),
            config: self.time(),
            role: self.arc(),
            incarnation: self.small(),
            agent: self.maybe(|it| {
                Arc::new(Agent {
                    id: AgentId::new(it.text()),
                    host: it.arc(),
                    region: it.maybe(Draw::arc),
                    zone: it.maybe(Draw::arc),
                    attributes: Arc::new(it.map(Draw::attribute)),
                })
            }),
            task: self.maybe(Draw::task),
            health: self.some(|it| Health {
                first_success: it.maybe(Draw::time),
                last_success: it.maybe(Draw::time),
                last_failure: it.maybe(Draw::time),
                last_failure_cause: it.maybe(Draw::arc),
                consecutive_failures: it.small(),
            }),
            ready: self.flag(),
            reservation: self.maybe(|it| {
                use marathon_model::reservation::{LocalVolume, Reservation, ReservationState::*};
                let state = it.pick(&[New, Launched, Suspended]);
                let volumes = it.some(|it| LocalVolume { name: it.arc(), uuid: it.uuid() });
                Arc::new(Reservation { state, since: it.time(), volumes })
            }),
        }
    }

    pub fn deployment(&mut self) -> Deployment {
        use ActionKind::*;
        let kinds = [StartApplication, StopApplication, ScaleApplication, RestartApplication];
        Deployment {
            id: DeploymentId(self.uuid()),
            version: self.time(),
            steps: self
                .some(|it| Step {
                    actions: it.some(|it| Action {
                        kind: it.pick(&kinds),
                        app: it.path(),
                        pod: it.flag(),
                        victims: it.some(Draw::instance_id),
                    }),
                })
                .into(),
            current: self.small() as usize,
            changes: self
                .some(|it| AppChange {
                    id: it.path(),
                    before: it.maybe(|it| Arc::new(it.app())),
                    after: it.maybe(|it| Arc::new(it.app())),
                })
                .into(),
            group_changes: self.some(|it| GroupChange {
                id: it.group_path(),
                before: it.maybe(|it| Arc::new(it.group())),
                after: it.maybe(|it| Arc::new(it.group())),
            }),
            began_at: self.time(),
            guard: self.maybe(|it| Guard {
                deadline: it.maybe(|it| Duration::from_millis(it.small().into())),
                max_failures: it.maybe(Draw::small),
                on_failure: it.pick(&[OnFailure::Rollback, OnFailure::Stop]),
            }),
            failures: self.small(),
            cause: self.maybe(|it| Cause { deployment: DeploymentId(it.uuid()), reason: it.arc() }),
        }
    }

    pub fn progress(&mut self) -> Progress {
        let deployment = DeploymentId(self.uuid());
        Progress { deployment, current: self.small() as usize, failures: self.small() }
    }

    pub fn failed(&mut self) -> Failed {
        Failed {
            deployment: DeploymentId(self.uuid()),
            version: self.time(),
            at: self.time(),
            reason: self.arc(),
            apps: self.some(Draw::path),
            then: match self.small() % 3 {
                0 => Aftermath::Stopped,
                1 => Aftermath::RolledBack(DeploymentId(self.uuid())),
                _ => Aftermath::NotRolledBack(self.arc()),
            },
        }
    }

    pub fn failure(&mut self) -> TaskFailure {
        TaskFailure {
            spec: self.path(),
            task: self.task_id(),
            state: self.task_state(),
            message: self.arc(),
            host: self.arc(),
            agent: self.maybe(|it| AgentId::new(it.text())),
            version: self.time(),
            at: self.time(),
        }
    }

    pub fn delay(&mut self) -> Delay {
        Delay { config: self.time(), current: self.span(), since: self.time() }
    }

    /// Any write that stores something.
    pub fn write(&mut self) -> Write {
        match self.0.next_u32() % 15 {
            0 => Write::App(Arc::new(self.app())),
            1 => Write::AppRemoved { id: self.path(), at: self.time() },
            2 => Write::Group(Arc::new(self.group())),
            3 => Write::GroupRemoved { id: self.group_path(), at: self.time() },
            4 => Write::Root { version: self.time() },
            5 => Write::Instance(Arc::new(self.instance())),
            6 => Write::Deployment(Arc::new(self.deployment())),
            9 => Write::Progress(self.progress()),
            10 => Write::Failed(Arc::new(self.failed())),
            7 => Write::Failure(Arc::new(self.failure())),
            8 => Write::Delay { app: self.path(), delay: self.delay() },
            11 => Write::Began(self.time()),
            12 => Write::Callback(
                self.pick(
                    &["http://a", "https://u:p@b.example:8080/x?y=z", "http://[::1]:80/@"]
                        .map(|it| CallbackUrl::parse(it).unwrap()),
                ),
            ),
            13 => Write::EventsBegin(self.number()),
            _ => Write::Framework(FrameworkId::new(self.text())),
        }
    }
}
