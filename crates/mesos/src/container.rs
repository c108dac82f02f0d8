//! What a task runs in.

use marathon_mesos_v1 as v1;
use marathon_model::app::{
    Container, ContainerKind, DockerImage, Labels, LinuxInfo, PortMapping, Protocol, Volume, VolumeSource,
};
use marathon_model::offer::{Launch, TaskNetwork};
use serde_json::Value;

use crate::config::{About, Secrets};

pub fn labels(all: &Labels) -> v1::Labels {
    let label = |(key, value): (&String, &String)| v1::Label { key: key.clone(), value: Some(value.clone()) };
    v1::Labels { labels: all.iter().map(label).collect() }
}

fn some_labels(all: &Labels) -> Option<v1::Labels> {
    (!all.is_empty()).then(|| labels(all))
}

/// `None`: Mesos's own default, which is what a plain command wants.
pub fn of_app(launch: &Launch, about: &About) -> Result<Option<v1::ContainerInfo>, String> {
    if launch.container.is_none() && launch.network == TaskNetwork::Host && !launch.tty {
        return Ok(None);
    }
    let kind = launch.container.as_ref().map_or(ContainerKind::Mesos, |it| it.kind);
    let mut info = match (kind, &launch.container) {
        (ContainerKind::Docker, Some(container)) => docker(container, launch)?,
        (_, container) => {
            let mut info = mesos(container.as_ref(), launch, about)?;
            info.network_infos = networks(launch, about, |_| true);
            info
        }
    };
    if launch.tty {
        info.tty_info = Some(v1::TtyInfo::default());
    }
    Ok(Some(info))
}

fn docker(container: &Container, launch: &Launch) -> Result<v1::ContainerInfo, String> {
    use v1::ContainerInfoDockerInfoNetwork as Network;
    let image = container.docker.as_ref();
    let mut parameters: Vec<v1::Parameter> = image
        .iter()
        .flat_map(|it| &it.parameters)
        .map(|(key, value)| v1::Parameter { key: key.clone(), value: value.clone() })
        .collect();
    // Lets people and tools find the container of a task.
    parameters
        .push(v1::Parameter { key: "label".to_owned(), value: format!("MESOS_TASK_ID={}", launch.task) });
    let mut volumes = Vec::new();
    let mut volume_driver: Option<String> = None;
    for it in &container.volumes {
        match &it.source {
            // Only beside a driver does an agent take this for a name, rather than for a folder of the sandbox.
            VolumeSource::External { name, options, .. } => {
                volumes.push(v1::Volume { host_path: Some(name.clone()), ..volume(it) });
                let driver = driver(&options.0);
                if let Some(other) = volume_driver.as_ref().filter(|it| **it != driver) {
                    return Err(format!("Docker takes one volume driver, not both {other} and {driver}"));
                }
                volume_driver = Some(driver);
            }
            VolumeSource::Host { host_path } => {
                volumes.push(v1::Volume { host_path: Some(host_path.clone()), ..volume(it) });
            }
            VolumeSource::Secret { .. } => {
                return Err("the Docker containerizer has no volumes for secrets".to_owned());
            }
            VolumeSource::Persistent { .. } => {}
        }
    }
    let (network, names) = match &launch.network {
        TaskNetwork::Host => (Network::HOST, Vec::new()),
        TaskNetwork::Bridge => (Network::BRIDGE, Vec::new()),
        TaskNetwork::Container(names) => (Network::USER, names.clone()),
    };
    let port_mappings = each_port(&launch.mappings, |_| true)
        .map(|(host_port, container_port, protocol)| v1::ContainerInfoDockerInfoPortMapping {
            host_port,
            container_port,
            protocol: Some(protocol.to_owned()),
        })
        .collect();
    Ok(v1::ContainerInfo {
        r#type: v1::ContainerInfoType::DOCKER as i32,
        volumes,
        docker: Some(v1::ContainerInfoDockerInfo {
            image: image.map(|it| it.image.clone()).unwrap_or_default(),
            network: Some(network as i32),
            port_mappings,
            privileged: Some(image.is_some_and(|it| it.privileged)),
            parameters,
            force_pull_image: Some(image.is_some_and(|it| it.force_pull)),
            volume_driver,
        }),
        network_infos: names
            .into_iter()
            .enumerate()
            .map(|(at, name)| v1::NetworkInfo {
                name: Some(name),
                labels: launch.mesos.network_labels.get(at).and_then(some_labels),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    })
}

fn mesos(container: Option<&Container>, launch: &Launch, about: &About) -> Result<v1::ContainerInfo, String> {
    let secrets = &about.secrets;
    let mut volumes = Vec::new();
    for it in container.iter().flat_map(|it| &it.volumes) {
        volumes.extend(mesos_volume(it, launch, secrets)?);
    }
    let image = container.and_then(|it| it.docker.as_ref());
    Ok(v1::ContainerInfo {
        r#type: v1::ContainerInfoType::MESOS as i32,
        volumes,
        mesos: Some(mesos_info(image, launch, secrets)?),
        linux_info: container.and_then(|it| it.linux.as_ref()).map(linux),
        ..Default::default()
    })
}

pub fn mesos_info(
    image: Option<&DockerImage>,
    launch: &Launch,
    secrets: &Secrets,
) -> Result<v1::ContainerInfoMesosInfo, String> {
    let Some(image) = image else { return Ok(v1::ContainerInfoMesosInfo::default()) };
    let config = match &image.pull_secret {
        Some(name) => Some(secrets.info(source_of(launch, name))?),
        None => None,
    };
    Ok(v1::ContainerInfoMesosInfo {
        image: Some(v1::Image {
            r#type: v1::ImageType::DOCKER as i32,
            docker: Some(v1::ImageDocker { name: image.image.clone(), config, ..Default::default() }),
            cached: Some(!image.force_pull),
            ..Default::default()
        }),
    })
}

/// The source of a secret by the name that the definition gave it.
fn source_of<'a>(launch: &'a Launch, name: &'a str) -> &'a str {
    launch.secrets.get(name).map_or(name, String::as_str)
}

fn volume(it: &Volume) -> v1::Volume {
    v1::Volume { container_path: it.container_path.clone(), mode: mode(it.read_only), ..Default::default() }
}

pub fn mode(read_only: bool) -> i32 {
    if read_only { v1::VolumeMode::RO as i32 } else { v1::VolumeMode::RW as i32 }
}

fn mesos_volume(it: &Volume, launch: &Launch, secrets: &Secrets) -> Result<Option<v1::Volume>, String> {
    let source = match &it.source {
        VolumeSource::Host { host_path } => {
            return Ok(Some(v1::Volume { host_path: Some(host_path.clone()), ..volume(it) }));
        }
        // It comes with the resources of the task.
        VolumeSource::Persistent { .. } => return Ok(None),
        VolumeSource::Secret { secret } => secret_source(launch, secret, secrets)?,
        VolumeSource::External { name, provider, size, options, .. } if provider == "csi" => {
            let _ = size;
            csi(name, &options.0, secrets)?
        }
        VolumeSource::External { name, size, options, .. } => dvdi(name, *size, &options.0),
    };
    Ok(Some(v1::Volume { source: Some(source), ..volume(it) }))
}

pub fn secret_source(launch: &Launch, name: &str, secrets: &Secrets) -> Result<v1::VolumeSource, String> {
    Ok(v1::VolumeSource {
        r#type: Some(v1::VolumeSourceType::SECRET as i32),
        secret: Some(secrets.info(source_of(launch, name))?),
        ..Default::default()
    })
}

fn read(options: &str) -> Value {
    serde_json::from_str(options).unwrap_or_default()
}

fn driver(options: &str) -> String {
    read(options)["dvdi/driver"].as_str().unwrap_or_default().to_owned()
}

/// Options reach the driver without the name of the provider in front.
fn dvdi(name: &str, size: Option<u64>, options: &str) -> v1::VolumeSource {
    let all = read(options);
    let given = all.as_object().into_iter().flatten().filter(|(key, _)| *key != "dvdi/driver");
    let mut parameter: Vec<v1::Parameter> = given
        .map(|(key, value)| v1::Parameter {
            key: key.strip_prefix("dvdi/").unwrap_or(key).to_owned(),
            value: value.as_str().map_or_else(|| value.to_string(), str::to_owned),
        })
        .collect();
    if let Some(size) = size {
        parameter.push(v1::Parameter { key: "size".to_owned(), value: size.to_string() });
    }
    v1::VolumeSource {
        r#type: Some(v1::VolumeSourceType::DOCKER_VOLUME as i32),
        docker_volume: Some(v1::VolumeSourceDockerVolume {
            driver: Some(driver(options)),
            name: name.to_owned(),
            driver_options: (!parameter.is_empty()).then_some(v1::Parameters { parameter }),
        }),
        ..Default::default()
    }
}

fn csi(name: &str, options: &str, secrets: &Secrets) -> Result<v1::VolumeSource, String> {
    use v1::json::Named as _;
    let options = read(options);
    let text = |it: &Value| it.as_str().map(str::to_owned);
    let capability = &options["capability"];
    let is_block = capability["accessType"].as_str() == Some("block");
    let mode = capability["accessMode"].as_str().unwrap_or_default();
    let flags = capability["mountFlags"].as_array().into_iter().flatten().filter_map(text);
    let secret = |key: &str| {
        let named = options[key].as_object().into_iter().flatten();
        let read = |(key, it): (&String, &Value)| {
            let source = it.as_str().or_else(|| it["secret"].as_str()).unwrap_or_default();
            Ok((key.clone(), secrets.info(source)?))
        };
        named.map(read).collect::<Result<_, String>>()
    };
    let context = options["volumeContext"].as_object().into_iter().flatten();
    Ok(v1::VolumeSource {
        r#type: Some(v1::VolumeSourceType::CSI_VOLUME as i32),
        csi_volume: Some(v1::VolumeSourceCsiVolume {
            plugin_name: text(&options["pluginName"]).unwrap_or_default(),
            static_provisioning: Some(v1::VolumeSourceCsiVolumeStaticProvisioning {
                volume_id: name.to_owned(),
                volume_capability: v1::VolumeSourceCsiVolumeVolumeCapability {
                    block: is_block.then(Default::default),
                    mount: (!is_block).then(|| v1::VolumeSourceCsiVolumeVolumeCapabilityMountVolume {
                        fs_type: text(&capability["fsType"]),
                        mount_flags: flags.collect(),
                    }),
                    access_mode: v1::VolumeSourceCsiVolumeVolumeCapabilityAccessMode {
                        mode: v1::VolumeSourceCsiVolumeVolumeCapabilityAccessModeMode::number_of(mode)
                            .unwrap_or_default(),
                    },
                },
                node_stage_secrets: secret("nodeStageSecret")?,
                node_publish_secrets: secret("nodePublishSecret")?,
                volume_context: context.filter_map(|(key, it)| Some((key.clone(), text(it)?))).collect(),
            }),
        }),
        ..Default::default()
    })
}

pub fn linux(it: &LinuxInfo) -> v1::LinuxInfo {
    use v1::LinuxInfoIpcMode as IpcMode;
    v1::LinuxInfo {
        seccomp: it.seccomp.as_ref().map(|it| v1::SeccompInfo {
            profile_name: it.profile.clone(),
            unconfined: it.unconfined.then_some(true),
        }),
        ipc_mode: it.ipc.as_ref().map(|it| match it.private {
            true => IpcMode::PRIVATE as i32,
            false => IpcMode::SHARE_PARENT as i32,
        }),
        shm_size: it.ipc.as_ref().and_then(|it| it.shm_size),
        ..Default::default()
    }
}

/// Host port, container port and protocol of each mapping that has a host port.
fn each_port(
    mappings: &[PortMapping],
    of: impl Fn(&PortMapping) -> bool,
) -> impl Iterator<Item = (u32, u32, &'static str)> {
    mappings.iter().filter(move |it| of(it)).flat_map(|it| {
        let protocols: &[&str] = match it.protocol {
            Protocol::Tcp => &["tcp"],
            Protocol::Udp => &["udp"],
            Protocol::UdpTcp => &["udp", "tcp"],
        };
        let ports = it.host_port.map(|host| (u32::from(host), u32::from(it.container_port)));
        ports
            .into_iter()
            .flat_map(|(host, inner)| protocols.iter().map(move |protocol| (host, inner, *protocol)))
    })
}

/// The networks of the Mesos containerizer; the host's is none.
pub fn networks(launch: &Launch, about: &About, of: impl Fn(&PortMapping) -> bool) -> Vec<v1::NetworkInfo> {
    let names = match &launch.network {
        TaskNetwork::Host => Vec::new(),
        TaskNetwork::Bridge => vec![about.bridge_name.clone()],
        TaskNetwork::Container(names) => names.clone(),
    };
    let only = names.len() == 1;
    let mut all = Vec::new();
    for (at, name) in names.into_iter().enumerate() {
        let here = |it: &PortMapping| {
            of(it) && (only || it.network_names.is_empty() || it.network_names.contains(&name))
        };
        let port_mappings = each_port(&launch.mappings, here)
            .map(|(host_port, container_port, protocol)| v1::NetworkInfoPortMapping {
                host_port,
                container_port,
                protocol: Some(protocol.to_owned()),
            })
            .collect();
        all.push(v1::NetworkInfo {
            labels: launch.mesos.network_labels.get(at).and_then(some_labels),
            port_mappings,
            name: Some(name),
            ..Default::default()
        });
    }
    all
}
