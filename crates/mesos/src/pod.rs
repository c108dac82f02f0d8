//! A pod as Mesos runs it: a group of tasks in one default executor, which owns the network, the ports and the
//! volumes that the containers share.

use marathon_mesos_v1 as v1;
use marathon_model::app::Labels;
use marathon_model::offer::{ContainerLaunch, Launch, TaskNetwork};
use marathon_model::pod::{Mount, PodVolumeSource};
use marathon_model::resources::Resource;

use crate::command::Program;
use crate::container;
use crate::resource;
use crate::take::Stock;
use crate::task::{self, Place, Unfit};

pub fn executor_id(launch: &Launch) -> String {
    let instance = &launch.task.instance;
    format!("instance-{}.{}", instance.spec.safe(), instance.uuid.as_hyphenated())
}

pub fn group(
    launch: &Launch,
    stock: &mut Stock,
    place: &Place<'_>,
) -> Result<v1::OfferOperationLaunchGroup, Unfit> {
    let (ours, shared): (Vec<v1::Resource>, Vec<v1::Resource>) =
        task::resources(launch, stock)?.into_iter().partition(is_dealt);
    let mut ours = Stock::new(ours);
    let own = task::rest(&launch.resources, launch.containers.iter().map(|it| it.resources));
    let mut resources = ours.deal(&own)?;
    // Ports and volumes belong to all of them.
    resources.extend(shared);
    let tasks = launch.containers.iter().map(|it| task_info(it, launch, &mut ours, place));
    let tasks = tasks.collect::<Result<Vec<_>, Unfit>>()?;
    Ok(v1::OfferOperationLaunchGroup {
        executor: v1::ExecutorInfo {
            r#type: Some(v1::ExecutorInfoType::DEFAULT as i32),
            executor_id: v1::ExecutorId { value: executor_id(launch) },
            framework_id: Some(v1::FrameworkId { value: place.framework.to_owned() }),
            resources,
            container: executor_container(launch, place),
            labels: some(&launch.labels),
            ..Default::default()
        },
        task_group: v1::TaskGroupInfo { tasks },
    })
}

/// Whether a resource is dealt out to the containers, rather than held for all.
fn is_dealt(it: &v1::Resource) -> bool {
    let model: Option<Resource> = resource::model(it);
    it.name != "ports" && model.is_none_or(|it| it.volume().is_none())
}

fn some(labels: &Labels) -> Option<v1::Labels> {
    (!labels.is_empty()).then(|| container::labels(labels))
}

fn executor_container(launch: &Launch, place: &Place<'_>) -> Option<v1::ContainerInfo> {
    let linux_info = launch.mesos.linux.as_ref().map(container::linux);
    if launch.network == TaskNetwork::Host && linux_info.is_none() {
        return None;
    }
    Some(v1::ContainerInfo {
        r#type: v1::ContainerInfoType::MESOS as i32,
        network_infos: container::networks(launch, place.about, |_| true),
        linux_info,
        ..Default::default()
    })
}

fn task_info(
    it: &ContainerLaunch,
    launch: &Launch,
    stock: &mut Stock,
    place: &Place<'_>,
) -> Result<v1::TaskInfo, Unfit> {
    let secrets = &place.about.secrets;
    let program = Program {
        command: &it.command,
        // Who overrides the entry point names the program itself.
        image: it.image.is_some() && !it.override_entrypoint,
        docker: false,
        env: &it.env,
        secret_env: &it.secret_env,
        fetch: &it.fetch,
        user: it.user.as_deref(),
    };
    let volumes = it.mounts.iter().map(|mount| volume(mount, launch, place));
    Ok(v1::TaskInfo {
        name: it.name.to_string(),
        task_id: v1::TaskId { value: it.task.to_string() },
        agent_id: v1::AgentId { value: launch.agent.to_string() },
        resources: stock.deal(&it.resources)?,
        command: Some(program.info(secrets)?),
        container: Some(v1::ContainerInfo {
            r#type: v1::ContainerInfoType::MESOS as i32,
            volumes: volumes.collect::<Result<_, Unfit>>()?,
            mesos: Some(container::mesos_info(it.image.as_ref(), launch, secrets)?),
            linux_info: linux(it, launch),
            tty_info: it.tty.then(Default::default),
            ..Default::default()
        }),
        health_check: it.health_check.as_ref().map(crate::check::health),
        check: it.check.as_ref().map(crate::check::check),
        kill_policy: it.kill_grace.map(task::kill_policy),
        labels: Some(container::labels(&it.labels)),
        discovery: Some(task::discovery(&launch.name, &it.discovery)),
        limits: task::limits(it.cpu_limit, it.mem_limit),
        ..Default::default()
    })
}

/// Containers have control groups of their own, unless the definition is older than that.
fn linux(it: &ContainerLaunch, launch: &Launch) -> Option<v1::LinuxInfo> {
    let mut info = it.linux.as_ref().map(container::linux).unwrap_or_default();
    info.share_cgroups = Some(launch.mesos.shared_cgroups);
    // Sharing is what agents do that know no other way, and they need not be told.
    (info.share_cgroups != Some(true) || it.linux.is_some()).then_some(info)
}

fn volume(mount: &Mount, launch: &Launch, place: &Place<'_>) -> Result<v1::Volume, Unfit> {
    let base = v1::Volume {
        container_path: mount.path.clone(),
        mode: container::mode(mount.read_only == Some(true)),
        ..Default::default()
    };
    let found = launch.volumes.iter().find(|it| it.name == mount.volume);
    let found = found.ok_or_else(|| format!("there is no volume `{}`", mount.volume))?;
    let of_sandbox = |path: String| v1::VolumeSource {
        r#type: Some(v1::VolumeSourceType::SANDBOX_PATH as i32),
        sandbox_path: Some(v1::VolumeSourceSandboxPath {
            r#type: Some(v1::VolumeSourceSandboxPathType::PARENT as i32),
            path,
        }),
        ..Default::default()
    };
    Ok(match &found.source {
        PodVolumeSource::Host { path } => v1::Volume { host_path: Some(path.clone()), ..base },
        PodVolumeSource::Ephemeral => {
            v1::Volume { source: Some(of_sandbox(format!("volumes/{}", found.name))), ..base }
        }
        PodVolumeSource::Persistent { .. } => {
            v1::Volume { source: Some(of_sandbox(found.name.to_string())), ..base }
        }
        PodVolumeSource::Secret { secret } => {
            let source = container::secret_source(launch, secret, &place.about.secrets)?;
            v1::Volume { source: Some(source), ..base }
        }
    })
}
