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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use marathon_model::offer::TaskNetwork;

    use super::*;
    use crate::agent_tests::launch;

    struct Bench {
        _dir: tempfile::TempDir,
        prepare: Prepare,
        sandbox: PathBuf,
    }

    fn bench(change: impl FnOnce(&mut LocalConfig)) -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let mut config = LocalConfig::new(dir.path().to_owned(), "/bin/marathon".into(), "1");
        change(&mut config);
        let places = Places { dir: dir.path().to_owned() };
        places.create().unwrap();
        let (agent, framework) = (AgentId::new("S0"), FrameworkId::new("F"));
        let prepare = Prepare { config: Arc::new(config), places, agent, framework };
        let sandbox = dir.path().join("box");
        fs::create_dir(&sandbox).unwrap();
        Bench { _dir: dir, prepare, sandbox }
    }

    fn process(bench: &Bench, launch: Launch) -> Result<Process, String> {
        bench.prepare.process(&Arc::new(launch), &bench.sandbox, None)
    }

    #[test]
    fn limits_follow_requests_and_limits() {
        use CpuOrMemLimit::{Amount, Unlimited};
        let check = |hard: bool,
                     cpu: Option<CpuOrMemLimit>,
                     mem: Option<CpuOrMemLimit>,
                     want: (Option<u64>, Option<u64>)| {
            let bench = bench(|it| it.cpu_hard_limit = hard);
            let mut launch = launch("a*0.5");
            (launch.cpu_limit, launch.mem_limit) = (cpu, mem);
            launch.resources.mem = Milli::from_whole(64);
            let limits = process(&bench, launch).unwrap().limits.unwrap();
            assert_eq!((limits.cpu_quota_milli, limits.memory_bytes.map(|it| it >> 20)), want);
            assert_eq!(limits.cpu_shares_milli, 500);
        };
        check(false, None, None, (None, Some(64)));
        check(true, None, None, (Some(500), Some(64)));
        check(true, Some(Unlimited), Some(Unlimited), (None, None));
        check(
            false,
            Some(Amount(Milli(1500))),
            Some(Amount(Milli::from_whole(100))),
            (Some(1500), Some(100)),
        );
        check(false, None, Some(Amount(Milli::from_whole(1))), (None, Some(32)));
        let without = bench(|it| it.isolation = false);
        assert_eq!(process(&without, launch("a")).unwrap().limits, None);
    }

    #[test]
    fn commands_become_arguments() {
        let bench = bench(|_| ());
        let check = |command: Command, want: Result<&[&str], ()>| {
            let mut launch = launch("a");
            launch.command = command;
            let got = process(&bench, launch).map(|it| it.argv).map_err(|_| ());
            assert_eq!(got, want.map(|it| it.iter().map(|it| (*it).to_owned()).collect()));
        };
        check(Command::Shell("a | b".to_owned()), Ok(&["/bin/sh", "-c", "a | b"]));
        check(Command::Args(vec!["x".to_owned(), "y z".to_owned()]), Ok(&["x", "y z"]));
        check(Command::Args(vec![]), Err(()));
        check(Command::Image, Err(()));
    }

    #[test]
    fn secrets_are_files_of_one_folder() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("db")).unwrap();
        fs::write(dir.path().join("db/password"), "hush").unwrap();
        let bench = bench(|it| it.secrets_dir = Some(dir.path().to_owned()));
        let check = |source: &str, want: Result<&str, &str>| {
            let mut launch = launch("a");
            launch.env.insert("P".to_owned(), "weaker".to_owned());
            launch.secret_env.insert("P".to_owned(), source.to_owned());
            let got = process(&bench, launch);
            let value = |it: Process| {
                assert!(!it.tag.contains("hush"));
                it.env.into_iter().find(|(name, _)| name == "P").unwrap().1
            };
            let got = got.map(value);
            assert!(
                match (&got, want) {
                    (Ok(got), Ok(want)) => got == want,
                    (Err(got), Err(want)) => got.contains(want),
                    _ => false,
                },
                "{source}: {got:?}"
            );
        };
        check("db/password", Ok("hush"));
        check("/db/password", Ok("hush"));
        check("db/other", Err("Secret 'db/other' is not available: No such file"));
        for source in ["", "../x", "db/../../x", "./db/password"] {
            check(source, Err("is not available: this is no legal name"));
        }
    }

    #[test]
    fn volumes_of_plain_processes_are_links() {
        let host = tempfile::tempdir().unwrap();
        let there = host.path().display().to_string();
        fs::write(host.path().join("f"), "x").unwrap();
        let bench = bench(|_| ());
        let place = |container_path: &str, source: VolumeSource| {
            let volume = Volume { container_path: container_path.to_owned(), read_only: false, source };
            place_volume(&volume, &bench.sandbox, &|_: &str| Ok(b"hush".to_vec()))
        };
        let at = |host_path: &str| VolumeSource::Host { host_path: host_path.to_owned() };
        place("data/in", at(&there)).unwrap();
        assert_eq!(fs::read_to_string(bench.sandbox.join("data/in/f")).unwrap(), "x");
        place("mine", at("below/here")).unwrap();
        assert!(fs::metadata(bench.sandbox.join("mine")).unwrap().is_dir());
        place(&there, at(&there)).unwrap();
        place("s", VolumeSource::Secret { secret: "s".to_owned() }).unwrap();
        assert_eq!(fs::read_to_string(bench.sandbox.join("s")).unwrap(), "hush");
        for (path, source) in [
            ("/data", at(&there)),
            ("../up", at(&there)),
            ("gone", at("/no/such/folder")),
            ("up", at("../../etc")),
            ("data/in/f", VolumeSource::Secret { secret: "s".to_owned() }),
        ] {
            place(path, source).unwrap_err();
        }
        assert_eq!(fs::read_to_string(host.path().join("f")).unwrap(), "x");
    }

    #[test]
    fn a_container_is_described_in_a_private_file() {
        use std::os::unix::fs::MetadataExt;
        let bench = bench(|_| ());
        let mut launch = launch("a!");
        launch.kill_grace = Some(Duration::from_secs(9));
        launch.network = TaskNetwork::Bridge;
        let process = process(&bench, launch).unwrap();
        assert_eq!(process.argv[..3], ["/bin/marathon", "docker-run", "--remove-spec"]);
        assert!(process.reports && process.limits.is_none() && process.identity.is_none());
        let path = Path::new(process.argv.last().unwrap());
        assert_eq!(fs::metadata(path).unwrap().mode() & 0o777, 0o600);
        let spec: RunSpec = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        assert_eq!((spec.image.as_str(), spec.owner.as_str(), spec.grace.as_secs()), ("i", "S0", 9));
        assert_eq!((spec.limits.cpu_shares_milli, spec.limits.memory_bytes), (1000, Some(32 << 20)));
        assert!(!spec.env.iter().any(|(name, _)| name == "HOME" || name == "PATH"));
    }
}
