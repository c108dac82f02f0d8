//! From a launch to a process: sandbox, volumes, environment, limits.
//!
//! Environment of a process without a container, weakest first: `PATH` of the server, `HOME` (the
//! sandbox), `MESOS_SANDBOX`, `MESOS_DIRECTORY`, `MESOS_FRAMEWORK_ID`, `MESOS_SLAVE_ID`,
//! `MESOS_EXECUTOR_ID`, `MESOS_ALLOCATION_ROLE`; then that of the launch; then secrets. Nothing else
//! of the server's environment is passed on. A container gets no `PATH` and `HOME` (its image knows
//! better), sees its sandbox at `/mnt/mesos/sandbox`, and gets `MESOS_CONTAINER_NAME`.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use marathon_docker::RunSpec;
use marathon_keeper::protocol::{Identity, Limits, Process};
use marathon_model::app::{Container, DockerImage, Volume, VolumeSource};
use marathon_model::id::{AgentId, FrameworkId};
use marathon_model::offer::{Command, CpuOrMemLimit, Launch};
use marathon_model::resources::Milli;

use crate::archive;
use crate::config::LocalConfig;
use crate::sandbox::Places;
use crate::task::{Tag, has_image};
use crate::user;

/// A task with less memory than this would not get far; a Mesos agent has the same floor.
const MEMORY_BYTES_FLOOR: u64 = 32 << 20;

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How a health check reaches into a running task.
#[derive(Debug, Clone)]
pub struct Inside {
    pub sandbox: PathBuf,
    pub env: Vec<(String, String)>,
    pub identity: Option<Identity>,
}

#[derive(Debug, Clone)]
pub struct Prepare {
    pub config: Arc<LocalConfig>,
    pub places: Places,
    pub agent: AgentId,
    pub framework: FrameworkId,
}

impl Prepare {
    /// Makes the sandbox and says for whom. Errors of this module are sentences for users.
    pub fn sandbox(&self, launch: &Launch) -> Result<(PathBuf, Option<Identity>), String> {
        let identity = self.identity(launch)?;
        let made = self.places.create_sandbox(&launch.task, identity.as_ref(), has_image(launch));
        let path = made.map_err(|error| format!("Failed to create the sandbox: {error}"))?;
        Ok((path, identity))
    }

    fn identity(&self, launch: &Launch) -> Result<Option<Identity>, String> {
        user::resolve(launch.user.as_deref().or(self.config.default_user.as_deref()))
            .map_err(|why| format!("Failed to start the task: {why}"))
    }

    /// What the keeper is to run. Writes the spec file of a container.
    pub fn process(
        &self,
        launch: &Arc<Launch>,
        sandbox: &Path,
        identity: Option<Identity>,
    ) -> Result<Process, String> {
        let image = launch.container.as_ref().and_then(|it| Some((it, it.docker.as_ref()?)));
        let (argv, env, identity, limits) = match image {
            Some((container, image)) => {
                let spec = self.write_run_spec(launch, container, image, sandbox)?;
                let argv = ["docker-run", "--remove-spec", "--spec", &spec].map(str::to_owned);
                let program = self.config.executable.to_string_lossy().into_owned();
                // The runner drops to nobody: it talks to the daemon, which does the work.
                ([vec![program], argv.to_vec()].concat(), runner_env(), None, None)
            }
            None => {
                place_volumes(launch, sandbox, |name| self.secret(name))?;
                let limits = self.config.isolation.then(|| self.limits(launch));
                (argv(&launch.command)?, self.env(launch, sandbox)?, identity, limits)
            }
        };
        let tag = serde_json::to_string(&Tag { launch: launch.clone() });
        Ok(Process {
            argv,
            env,
            cwd: sandbox.to_owned(),
            identity,
            stdout: sandbox.join("stdout"),
            stderr: sandbox.join("stderr"),
            log_bytes: self.config.log_bytes,
            log_files: self.config.log_files,
            limits,
            reports: image.is_some(),
            tag: tag.map_err(|error| format!("Failed to start the task: {error}"))?,
        })
    }

    /// What a command that checks the task needs.
    pub fn inside(&self, launch: &Launch) -> Result<Inside, String> {
        let sandbox = self.places.sandbox(&launch.task);
        Ok(Inside { env: self.env(launch, &sandbox)?, identity: self.identity(launch)?, sandbox })
    }

    fn env(&self, launch: &Launch, sandbox: &Path) -> Result<Vec<(String, String)>, String> {
        let sandbox = sandbox.to_string_lossy().into_owned();
        let mut env = BTreeMap::from([
            ("PATH".to_owned(), std::env::var("PATH").unwrap_or_else(|_| PATH.to_owned())),
            ("HOME".to_owned(), sandbox.clone()),
            ("MESOS_DIRECTORY".to_owned(), sandbox.clone()),
        ]);
        env.extend(self.mesos_env(launch, &sandbox));
        env.extend(launch.env.clone());
        env.extend(self.secret_env(launch)?);
        Ok(env.into_iter().collect())
    }

    fn mesos_env(&self, launch: &Launch, sandbox: &str) -> [(String, String); 5] {
        [
            ("MESOS_SANDBOX", sandbox.to_owned()),
            ("MESOS_FRAMEWORK_ID", self.framework.to_string()),
            ("MESOS_SLAVE_ID", self.agent.to_string()),
            ("MESOS_EXECUTOR_ID", launch.task.to_string()),
            ("MESOS_ALLOCATION_ROLE", launch.role.to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
    }

    fn secret_env(&self, launch: &Launch) -> Result<Vec<(String, String)>, String> {
        let one = |(name, source): (&String, &String)| {
            let value = String::from_utf8(self.secret(source)?);
            let value =
                value.map_err(|_| format!("Secret '{source}' is no text and cannot be a variable"))?;
            Ok((name.clone(), value))
        };
        launch.secret_env.iter().map(one).collect()
    }

    fn secret(&self, source: &str) -> Result<Vec<u8>, String> {
        let Some(dir) = &self.config.secrets_dir else {
            return Err(format!("Secret '{source}' is not available: this server has no folder of secrets"));
        };
        let plain = |it: Component| matches!(it, Component::Normal(_));
        let relative = Path::new(source.trim_start_matches('/'));
        if source.is_empty() || !relative.components().all(plain) {
            return Err(format!("Secret '{source}' is not available: this is no legal name"));
        }
        fs::read(dir.join(relative)).map_err(|error| format!("Secret '{source}' is not available: {error}"))
    }

    fn limits(&self, launch: &Launch) -> Limits {
        let cpus = launch.resources.cpus;
        Limits {
            cpu_shares_milli: cpus.0,
            cpu_quota_milli: self.cpu_quota(launch),
            memory_bytes: memory_limit(launch),
        }
    }

    fn cpu_quota(&self, launch: &Launch) -> Option<u64> {
        match launch.cpu_limit {
            None => self.config.cpu_hard_limit.then_some(launch.resources.cpus.0),
            Some(CpuOrMemLimit::Amount(Milli(milli))) => Some(milli),
            Some(CpuOrMemLimit::Unlimited) => None,
        }
    }

    // ---- containers ----

    fn write_run_spec(
        &self,
        launch: &Launch,
        container: &Container,
        image: &DockerImage,
        sandbox: &Path,
    ) -> Result<String, String> {
        let told = |error: io::Error| format!("Failed to prepare the container: {error}");
        let private = self.places.create_private(&launch.task).map_err(told)?;
        let mut spec = RunSpec::new(&launch.task.to_string(), &image.image, sandbox.to_owned());
        spec.owner = self.agent.to_string();
        spec.force_pull = image.force_pull;
        spec.privileged = image.privileged;
        spec.parameters = image.parameters.clone();
        spec.command = launch.command.clone();
        spec.network = launch.network.clone();
        spec.mappings = launch.mappings.clone();
        spec.volumes = container.volumes.clone();
        spec.grace = launch.kill_grace.unwrap_or(self.config.default_grace);
        spec.tty = launch.tty;
        spec.socket = self.config.docker_socket.clone();
        if self.config.isolation {
            spec.limits.cpu_shares_milli = launch.resources.cpus.0;
            spec.limits.cpu_quota_milli = self.cpu_quota(launch);
            spec.limits.memory_bytes = memory_limit(launch);
            spec.limits.memory_reservation_bytes = launch.mem_limit.map(|_| bytes(launch.resources.mem));
        }
        let mut env = BTreeMap::from(self.mesos_env(launch, marathon_docker::SANDBOX));
        env.extend(launch.env.clone());
        env.extend(self.secret_env(launch)?);
        spec.env = env.into_iter().collect();
        if let Some(secret) = &image.pull_secret {
            let path = private.join("config.json");
            write_private(&path, &self.secret(secret)?).map_err(told)?;
            spec.docker_config = Some(path);
        }
        let path = private.join("docker.json");
        let text = serde_json::to_vec(&spec).map_err(|error| told(error.into()))?;
        write_private(&path, &text).map_err(told)?;
        Ok(path.to_string_lossy().into_owned())
    }
}

fn bytes(mib: Milli) -> u64 {
    u64::try_from(u128::from(mib.0) * (1 << 20) / 1000).unwrap_or(u64::MAX)
}

fn memory_limit(launch: &Launch) -> Option<u64> {
    let limit = match launch.mem_limit {
        None => launch.resources.mem,
        Some(CpuOrMemLimit::Amount(amount)) => amount,
        Some(CpuOrMemLimit::Unlimited) => return None,
    };
    (limit > Milli::ZERO).then(|| bytes(limit).max(MEMORY_BYTES_FLOOR))
}

fn argv(command: &Command) -> Result<Vec<String>, String> {
    match command {
        Command::Shell(line) => Ok(vec!["/bin/sh".to_owned(), "-c".to_owned(), line.clone()]),
        Command::Args(args) if args.first().is_some_and(|it| !it.is_empty()) => Ok(args.clone()),
        Command::Args(_) | Command::Image => {
            Err("Failed to start the task: there is no command, and no image that would bring one".to_owned())
        }
    }
}

/// What the runner itself needs to find the daemon and the credentials of its user.
fn runner_env() -> Vec<(String, String)> {
    let wanted = ["PATH", "HOME", "DOCKER_HOST", "DOCKER_CONFIG", "RUST_LOG"];
    wanted.iter().filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?))).collect()
}

fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(content)
}

/// Volumes of a process that sees the file system of this machine: a link in the sandbox leads to the
/// host's path. Without a mount namespace there is no more to it; `RO` is then up to the permissions
/// of the files.
fn place_volumes(
    launch: &Launch,
    sandbox: &Path,
    secret: impl Fn(&str) -> Result<Vec<u8>, String>,
) -> Result<(), String> {
    for volume in launch.container.iter().flat_map(|it| &it.volumes) {
        place_volume(volume, sandbox, &secret)
            .map_err(|why| format!("Failed to provide the volume '{}': {why}", volume.container_path))?;
    }
    Ok(())
}

fn place_volume(
    Volume { container_path, read_only: _, source }: &Volume,
    sandbox: &Path,
    secret: &impl Fn(&str) -> Result<Vec<u8>, String>,
) -> Result<(), String> {
    let told = |error: io::Error| error.to_string();
    let relative = !container_path.starts_with('/');
    match source {
        VolumeSource::Host { host_path } => {
            let host = if host_path.starts_with('/') {
                PathBuf::from(host_path)
            } else {
                let inside = archive::place(sandbox, Path::new(host_path))?;
                fs::create_dir_all(&inside).map_err(told)?;
                inside
            };
            if Path::new(container_path) == host {
                return Ok(());
            }
            if !relative {
                return Err("a task without an image sees this machine's files, so containerPath must be relative to the sandbox".to_owned());
            }
            fs::metadata(&host).map_err(|error| format!("`{}`: {error}", host.display()))?;
            let link = archive::place(sandbox, Path::new(container_path))?;
            std::os::unix::fs::symlink(host, link).map_err(told)
        }
        VolumeSource::Secret { secret: _ } if !relative => {
            Err("a task without an image gets secrets only below its sandbox".to_owned())
        }
        VolumeSource::Secret { secret: name } => {
            let value = secret(name)?;
            let path = archive::place(sandbox, Path::new(container_path))?;
            let mut file = archive::create_new(&path, 0o400).map_err(told)?;
            file.write_all(&value).map_err(told)?;
            // It belongs to whom the sandbox belongs.
            use std::os::unix::fs::MetadataExt;
            let owner = fs::metadata(sandbox).map_err(told)?;
            std::os::unix::fs::fchown(&file, Some(owner.uid()), Some(owner.gid())).map_err(told)
        }
        VolumeSource::Persistent { .. } => Err("the embedded engine has no persistent volumes".to_owned()),
        VolumeSource::External { .. } => {
            Err("external volumes need a task with an image and a Docker volume driver".to_owned())
        }
    }
}
