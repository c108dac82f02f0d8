//! A container of a pod becomes a launch of its own: health checks, updates, logs and kills need no second
//! implementation. What it shares with the others is said here.
//!
//! ```text
//! <sandbox of the pod>/containers/<name>/    working directory, stdout, stderr
//! <sandbox of the pod>/volumes/<name>/       ephemeral volumes
//! ```
//! On a network of its own, the first container with an image (the *holder*) owns the network namespace and the
//! ports, and all others join it. There is no pause image: this program ships none, and a registry may be out of
//! reach. Nothing is lost by it, since a pod without one of its containers is replaced as a whole.

use std::sync::Arc;

use marathon_model::app::{Container, ContainerKind, LinuxInfo};
use marathon_model::id::TaskId;
use marathon_model::offer::{ContainerLaunch, Launch, TaskNetwork};

/// One container, and the pod it belongs to.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    pub pod: Arc<Launch>,
    index: usize,
}

/// What is to be started.
#[derive(Debug, Clone, PartialEq)]
pub struct Start {
    /// Of the container alone, if it belongs to a pod.
    pub launch: Arc<Launch>,
    pub member: Option<Member>,
    /// A process in whose network it lives.
    pub network_pid: Option<u32>,
}

/// How a container has its IPC namespace.
#[derive(Debug, PartialEq, Eq)]
pub enum Ipc<'a> {
    Private,
    /// With the machine.
    Host,
    /// Others join it.
    Lent,
    /// That of another container.
    Of(&'a TaskId),
}

/// `task` of the launch, for the id of any of its containers.
pub fn whole(task: &TaskId) -> TaskId {
    TaskId { container: None, ..task.clone() }
}

impl Member {
    /// The containers in the order of their declaration.
    pub fn all(pod: &Arc<Launch>) -> impl Iterator<Item = Member> + '_ {
        (0..pod.containers.len()).map(|index| Member { pod: pod.clone(), index })
    }

    pub fn of(pod: &Arc<Launch>, task: &TaskId) -> Option<Member> {
        Member::all(pod).find(|it| it.container().task == *task)
    }

    pub fn container(&self) -> &ContainerLaunch {
        &self.pod.containers[self.index]
    }

    /// The container as if it were an app. Its volumes stay out: where they lie is for `volumes` to say.
    pub fn launch(&self) -> Launch {
        let pod = &*self.pod;
        let it = self.container();
        let container = (it.image.is_some() || it.linux.is_some()).then(|| Container {
            kind: ContainerKind::Mesos,
            docker: it.image.clone(),
            volumes: Vec::new(),
            linux: it.linux.clone(),
        });
        Launch {
            task: it.task.clone(),
            spec: pod.spec.clone(),
            version: pod.version,
            agent: pod.agent.clone(),
            name: it.name.to_string(),
            role: pod.role.clone(),
            resources: it.resources,
            shares: Default::default(),
            cpu_limit: it.cpu_limit,
            mem_limit: it.mem_limit,
            host_ports: Vec::new(),
            command: it.command.clone(),
            env: it.env.clone(),
            secret_env: it.secret_env.clone(),
            user: it.user.clone().or_else(|| pod.user.clone()),
            fetch: it.fetch.clone(),
            container,
            network: pod.network.clone(),
            mappings: pod.mappings.clone(),
            labels: it.labels.clone(),
            kill_grace: it.kill_grace.or(pod.kill_grace),
            health_check: it.health_check.clone(),
            check: it.check.clone(),
            discovery: it.discovery.clone(),
            tty: it.tty,
            secrets: pod.secrets.clone(),
            containers: Vec::new(),
            volumes: Vec::new(),
            reserved: pod.reserved.clone(),
            mesos: Default::default(),
        }
    }

    fn images(&self) -> impl Iterator<Item = &ContainerLaunch> {
        self.pod.containers.iter().filter(|it| it.image.is_some())
    }

    /// Whose network the pod has; none on the network of the machine.
    pub fn holder(&self) -> Option<&TaskId> {
        if self.pod.network == TaskNetwork::Host {
            return None;
        }
        self.images().next().map(|it| &it.task)
    }

    /// The holder, unless it is this one.
    pub fn joins(&self) -> Option<&TaskId> {
        self.holder().filter(|it| **it != self.container().task)
    }

    /// `None`: nothing is said about it.
    pub fn ipc(&self) -> Option<Ipc<'_>> {
        let shares = |it: &LinuxInfo| it.ipc.as_ref().map(|it| !it.private);
        if !shares(self.container().linux.as_ref()?)? {
            return Some(Ipc::Private);
        }
        let mut sharing = self.images().filter(|it| it.linux.as_ref().and_then(shares) == Some(true));
        let first = &sharing.next()?.task;
        Some(match sharing.next() {
            _ if *first != self.container().task => Ipc::Of(first),
            Some(_) => Ipc::Lent,
            None => Ipc::Host,
        })
    }

    /// The containers that must run before this one can start.
    pub fn waits_for(&self) -> impl Iterator<Item = &TaskId> {
        let ipc = match self.ipc() {
            Some(Ipc::Of(task)) => Some(task),
            _ => None,
        };
        self.joins().into_iter().chain(ipc)
    }

    /// A network of its own is made by Docker, for a container with an image.
    pub fn lacks_network(&self) -> bool {
        self.pod.network != TaskNetwork::Host && self.holder().is_none()
    }
}
