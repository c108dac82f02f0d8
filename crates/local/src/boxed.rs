//! From a launch with an image to the file that `docker-run` reads.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path};

use marathon_docker::{RunSpec, container_name};
use marathon_keeper::protocol::Identity;
use marathon_model::app::{Container, ContainerKind, DockerImage, LinuxInfo, Seccomp, Volume};
use marathon_model::offer::Command;

use crate::pod::{Ipc, Start};
use crate::prepare::{Prepare, bytes, memory_limit};
use crate::secrets::{Values, source_of};
use crate::volumes;

impl Prepare {
    /// Gives the path of the file. It holds the environment with its secrets, so it lies in the private folder,
    /// and the runner removes it.
    pub(crate) fn write_run_spec(
        &self,
        start: &Start,
        (container, image): (&Container, &DockerImage),
        sandbox: &Path,
        identity: Option<&Identity>,
        volumes: Vec<Volume>,
        values: &Values,
    ) -> Result<String, String> {
        let launch = &*start.launch;
        let told = |error: io::Error| format!("Failed to prepare the container: {error}");
        let private = self.places.create_private(&launch.task, None).map_err(told)?;
        let mut spec = RunSpec::new(&launch.task.to_string(), &image.image, sandbox.to_owned());
        spec.owner = self.agent.to_string();
        spec.force_pull = image.force_pull;
        spec.privileged = image.privileged;
        spec.parameters = image.parameters.clone();
        spec.command = launch.command.clone();
        spec.network = launch.network.clone();
        spec.mappings = launch.mappings.clone();
        spec.grace = launch.kill_grace.unwrap_or(self.config.default_grace);
        spec.tty = launch.tty;
        spec.socket = self.config.docker_socket.clone();
        // The Mesos containerizer starts what it runs as the user of the task, Docker as that of the image.
        let user = identity.filter(|_| container.kind == ContainerKind::Mesos && launch.user.is_some());
        spec.user = user.map(|it| format!("{}:{}", it.uid, it.gid));
        spec.volumes = volumes::write_secrets(start, volumes, values, &private, user, user.is_none())?;
        if self.config.isolation {
            spec.limits.cpu_shares_milli = launch.resources.cpus.0;
            spec.limits.cpu_quota_milli = self.cpu_quota(launch);
            spec.limits.memory_bytes = memory_limit(launch);
            spec.limits.memory_reservation_bytes = launch.mem_limit.map(|_| bytes(launch.resources.mem));
        }
        let mut env = BTreeMap::from(self.mesos_env(start, marathon_docker::SANDBOX));
        env.extend(launch.env.clone());
        env.extend(self.secret_env(launch, values)?);
        spec.env = env.into_iter().collect();
        if let Some(member) = &start.member {
            spec.network_of = member.joins().map(|it| container_name(&it.to_string()));
            if let (true, Command::Args(argv)) = (member.container().override_entrypoint, &launch.command) {
                spec.entrypoint = argv.clone();
            }
        }
        if let Some(linux) = &container.linux {
            self.confine(start, linux, &mut spec)?;
        }
        if let Some(secret) = &image.pull_secret {
            let path = private.join("config.json");
            write_private(&path, values.bytes(source_of(start, secret))?).map_err(told)?;
            spec.docker_config = Some(path);
        }
        let path = private.join("docker.json");
        let text = serde_json::to_vec(&spec).map_err(|error| told(error.into()))?;
        write_private(&path, &text).map_err(told)?;
        Ok(path.to_string_lossy().into_owned())
    }

    fn confine(&self, start: &Start, linux: &LinuxInfo, spec: &mut RunSpec) -> Result<(), String> {
        let of_app = linux.ipc.as_ref().map(|it| if it.private { Ipc::Private } else { Ipc::Host });
        let ipc = start.member.as_ref().map_or(of_app, |it| it.ipc());
        spec.ipc = ipc.map(|it| match it {
            Ipc::Private => "private".to_owned(),
            Ipc::Host => "host".to_owned(),
            Ipc::Lent => "shareable".to_owned(),
            Ipc::Of(task) => format!("container:{}", container_name(&task.to_string())),
        });
        let shm_mib = linux.ipc.as_ref().and_then(|it| it.shm_size);
        spec.shm_bytes = shm_mib.map(|it| u64::from(it) << 20);
        spec.seccomp = linux.seccomp.as_ref().map(|it| self.seccomp(it)).transpose()?.flatten();
        Ok(())
    }

    fn seccomp(&self, wanted: &Seccomp) -> Result<Option<String>, String> {
        let Some(name) = &wanted.profile else {
            return Ok(wanted.unconfined.then(|| "unconfined".to_owned()));
        };
        let dir = &self.config.seccomp_dir;
        let path = dir.as_ref().filter(|_| is_plain(name)).map(|it| it.join(name));
        let missing = |why: String| format!("Failed to start the task: no seccomp profile '{name}': {why}");
        let path = path.ok_or_else(|| missing("this is no legal name".to_owned()))?;
        fs::read_to_string(&path).map(Some).map_err(|error| missing(format!("`{}`: {error}", path.display())))
    }
}

fn is_plain(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None))
}

fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(content)
}

/// What of `linuxInfo` a process without an image cannot have.
pub(crate) fn plain_has(linux: &LinuxInfo) -> Result<(), String> {
    let LinuxInfo { seccomp, ipc } = linux;
    let what = if seccomp.as_ref().is_some_and(|it| it.profile.is_some()) {
        "a seccomp profile"
    } else if ipc.as_ref().is_some_and(|it| it.private || it.shm_size.is_some()) {
        "an IPC namespace of its own"
    } else {
        return Ok(());
    };
    Err(format!("Failed to start the task: {what} needs a task with an image"))
}

/// What the runner itself needs to find the daemon and the credentials of its user.
pub(crate) fn runner_env() -> Vec<(String, String)> {
    let wanted = ["PATH", "HOME", "DOCKER_HOST", "DOCKER_CONFIG", "RUST_LOG"];
    wanted.iter().filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?))).collect()
}
