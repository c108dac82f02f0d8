//! From a launch to a process: sandbox, volumes, environment, limits.
//!
//! Environment of a process without a container, weakest first: `PATH` of the server, `HOME` (the
//! sandbox), `MESOS_SANDBOX`, `MESOS_DIRECTORY`, `MESOS_FRAMEWORK_ID`, `MESOS_SLAVE_ID`,
//! `MESOS_EXECUTOR_ID`, `MESOS_ALLOCATION_ROLE`; then that of the launch; then secrets. Nothing else
//! of the server's environment is passed on. A container gets no `PATH` and `HOME` (its image knows
//! better), sees its sandbox at `/mnt/mesos/sandbox`, and gets `MESOS_CONTAINER_NAME`.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use marathon_keeper::protocol::{Identity, Limits, Process};
use marathon_model::app::VolumeSource;
use marathon_model::id::{AgentId, FrameworkId};
use marathon_model::offer::{Command, CpuOrMemLimit, Launch};
use marathon_model::resources::Milli;

use crate::boxed::{plain_has, runner_env};
use crate::config::LocalConfig;
use crate::pod::Start;
use crate::sandbox::Places;
use crate::secrets::{Values, source_of};
use crate::task::{Tag, has_image};
use crate::{user, volumes};

/// A task with less memory than this would not get far; a Mesos agent has the same floor.
const MEMORY_BYTES_FLOOR: u64 = 32 << 20;

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How a health check reaches into a running task.
#[derive(Debug, Clone)]
pub struct Inside {
    pub sandbox: PathBuf,
    pub env: Vec<(String, String)>,
    pub identity: Option<Identity>,
    /// A process in whose network it lives.
    pub network_pid: Option<u32>,
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
    pub fn sandbox(&self, start: &Start) -> Result<(PathBuf, Option<Identity>), String> {
        let Start { launch, member, .. } = start;
        let told = |error: io::Error| format!("Failed to create the sandbox: {error}");
        let identity = self.identity(launch)?;
        if let Some(member) = member {
            if member.lacks_network() {
                return Err("Failed to start the task: a network other than that of the host needs a pod with an image in at least one of its containers".to_owned());
            }
            let _alone = self.places.lock();
            self.places.create_pod(&member.pod.task).map_err(told)?;
            volumes::make_ephemeral(&member.pod, &self.places, identity.as_ref()).map_err(told)?;
        }
        let path = self.places.create_sandbox(&launch.task, identity.as_ref(), has_image(launch));
        Ok((path.map_err(told)?, identity))
    }

    fn identity(&self, launch: &Launch) -> Result<Option<Identity>, String> {
        user::resolve(launch.user.as_deref().or(self.config.default_user.as_deref()))
            .map_err(|why| format!("Failed to start the task: {why}"))
    }

    /// Whether secrets must be asked for, which may take a while.
    pub fn has_secrets(&self, start: &Start) -> bool {
        volumes::of(start, &self.places).is_ok_and(|it| !self.sources(start, &it).is_empty())
    }

    fn sources(&self, start: &Start, volumes: &[marathon_model::app::Volume]) -> BTreeSet<String> {
        let launch = &start.launch;
        let image = launch.container.as_ref().and_then(|it| it.docker.as_ref());
        let pull = image.and_then(|it| it.pull_secret.as_ref());
        let pull = pull.map(|it| source_of(start, it).to_owned());
        launch.secret_env.values().cloned().chain(pull).chain(volumes::secrets(start, volumes)).collect()
    }

    /// What the keeper is to run. Asks for the secrets, and writes the spec file of a container.
    pub fn process(
        &self,
        start: &Start,
        sandbox: &Path,
        identity: Option<Identity>,
    ) -> Result<Process, String> {
        let launch = &start.launch;
        let mut volumes = volumes::of(start, &self.places)?;
        let whole = start.member.as_ref().map_or(launch, |it| &it.pod);
        let shared = volumes::is_shared(whole);
        crate::durable::give_to(&self.places, whole, identity.as_ref(), shared)?;
        let values = Values::ask(&*self.config.secrets, self.sources(start, &volumes))?;
        let image = launch.container.as_ref().and_then(|it| Some((it, it.docker.as_ref()?)));
        let mut network = None;
        let (argv, env, identity, limits) = match image {
            Some(image) => {
                let spec = self.write_run_spec(start, image, sandbox, identity.as_ref(), volumes, &values)?;
                let argv = ["docker-run", "--remove-spec", "--spec", &spec].map(str::to_owned);
                let program = self.config.executable.to_string_lossy().into_owned();
                // The runner drops to nobody: it talks to the daemon, which does the work.
                ([vec![program], argv.to_vec()].concat(), runner_env(), None, None)
            }
            None => {
                launch.container.as_ref().and_then(|it| it.linux.as_ref()).map_or(Ok(()), plain_has)?;
                let argv = argv(&launch.command)?;
                if volumes.iter().any(|it| matches!(it.source, VolumeSource::Secret { .. })) {
                    let told = |error| format!("Failed to make a place for the secrets: {error}");
                    let private =
                        self.places.create_private(&launch.task, identity.as_ref()).map_err(told)?;
                    let reader = identity.as_ref();
                    volumes = volumes::write_secrets(start, volumes, &values, &private, reader, false)?;
                }
                volumes::link(&volumes, sandbox)?;
                network = start.network_pid.map(|pid| PathBuf::from(format!("/proc/{pid}/ns/net")));
                let limits = self.config.isolation.then(|| self.limits(launch));
                (argv, self.env(start, sandbox, &values)?, identity, limits)
            }
        };
        let tag = serde_json::to_string(&Tag::of(start));
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
            network,
            tag: tag.map_err(|error| format!("Failed to start the task: {error}"))?,
        })
    }

    /// What a command that checks the task needs. Asks for the secrets again: nobody kept them.
    pub fn inside(&self, start: &Start) -> Result<Inside, String> {
        let sandbox = self.places.sandbox(&start.launch.task);
        let sources = start.launch.secret_env.values().cloned().collect();
        let values = Values::ask(&*self.config.secrets, sources)?;
        Ok(Inside {
            env: self.env(start, &sandbox, &values)?,
            identity: self.identity(&start.launch)?,
            sandbox,
            network_pid: start.network_pid,
        })
    }

    fn env(&self, start: &Start, sandbox: &Path, values: &Values) -> Result<Vec<(String, String)>, String> {
        let sandbox = sandbox.to_string_lossy().into_owned();
        let mut env = BTreeMap::from([
            ("PATH".to_owned(), std::env::var("PATH").unwrap_or_else(|_| PATH.to_owned())),
            ("HOME".to_owned(), sandbox.clone()),
            ("MESOS_DIRECTORY".to_owned(), sandbox.clone()),
        ]);
        env.extend(self.mesos_env(start, &sandbox));
        env.extend(start.launch.env.clone());
        env.extend(self.secret_env(&start.launch, values)?);
        Ok(env.into_iter().collect())
    }

    pub(crate) fn mesos_env(&self, start: &Start, sandbox: &str) -> [(String, String); 5] {
        let launch = &start.launch;
        let instance = &launch.task.instance;
        // All containers of a pod have one executor, an app has one of its own.
        let executor = match start.member {
            Some(_) => format!("instance-{}.{}", instance.spec.safe(), instance.uuid),
            None => launch.task.to_string(),
        };
        [
            ("MESOS_SANDBOX", sandbox.to_owned()),
            ("MESOS_FRAMEWORK_ID", self.framework.to_string()),
            ("MESOS_SLAVE_ID", self.agent.to_string()),
            ("MESOS_EXECUTOR_ID", executor),
            ("MESOS_ALLOCATION_ROLE", launch.role.to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
    }

    pub(crate) fn secret_env(
        &self,
        launch: &Launch,
        values: &Values,
    ) -> Result<Vec<(String, String)>, String> {
        let one = |(name, source): (&String, &String)| Ok((name.clone(), values.text(source)?.to_owned()));
        launch.secret_env.iter().map(one).collect()
    }

    fn limits(&self, launch: &Launch) -> Limits {
        let cpus = launch.resources.cpus;
        Limits {
            cpu_shares_milli: cpus.0,
            cpu_quota_milli: self.cpu_quota(launch),
            memory_bytes: memory_limit(launch),
        }
    }

    pub(crate) fn cpu_quota(&self, launch: &Launch) -> Option<u64> {
        match launch.cpu_limit {
            None => self.config.cpu_hard_limit.then_some(launch.resources.cpus.0),
            Some(CpuOrMemLimit::Amount(Milli(milli))) => Some(milli),
            Some(CpuOrMemLimit::Unlimited) => None,
        }
    }
}

pub(crate) fn bytes(mib: Milli) -> u64 {
    u64::try_from(u128::from(mib.0) * (1 << 20) / 1000).unwrap_or(u64::MAX)
}

pub(crate) fn memory_limit(launch: &Launch) -> Option<u64> {
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use marathon_docker::RunSpec;
    use marathon_model::offer::TaskNetwork;

    use super::*;
    use crate::agent_tests::launch;
    use crate::secrets::Files;

    struct Bench {
        _dir: tempfile::TempDir,
        prepare: Prepare,
        sandbox: PathBuf,
    }

    fn bench(change: impl FnOnce(&mut LocalConfig)) -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let mut config = LocalConfig::new(dir.path().to_owned(), "/bin/marathon".into(), "1");
        change(&mut config);
        let places = Places::on_disk(dir.path().to_owned());
        places.create().unwrap();
        let (agent, framework) = (AgentId::new("S0"), FrameworkId::new("F"));
        let prepare = Prepare { config: Arc::new(config), places, agent, framework };
        let sandbox = dir.path().join("box");
        fs::create_dir(&sandbox).unwrap();
        Bench { _dir: dir, prepare, sandbox }
    }

    fn process(bench: &Bench, launch: Launch) -> Result<Process, String> {
        let start = Start { launch: Arc::new(launch), member: None, network_pid: None };
        bench.prepare.process(&start, &bench.sandbox, None)
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
    fn secrets_reach_the_environment_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("pw"), "hush\n").unwrap();
        let bench = bench(|it| it.secrets = Arc::new(Files { dir: dir.path().to_owned() }));
        let mut launch = launch("a");
        launch.env.insert("P".to_owned(), "weaker".to_owned());
        launch.secret_env.insert("P".to_owned(), "pw".to_owned());
        let process = process(&bench, launch.clone()).unwrap();
        assert!(process.env.contains(&("P".to_owned(), "hush".to_owned())));
        assert!(!process.tag.contains("hush") && !process.argv.concat().contains("hush"));
        launch.secret_env.insert("P".to_owned(), "none".to_owned());
        let error = super::tests::process(&bench, launch).unwrap_err();
        assert!(error.starts_with("Secret 'none' is not available: "), "{error}");
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
