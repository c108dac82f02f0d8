//! Containers, volumes, networks and ports of an app.

use marathon_model::app::*;

use crate::app::{write_constraint, write_labels};
use crate::json::Json;

/// `container`, which also holds the port mappings; left out where there is neither.
pub fn write_container(json: &mut Json, container: Option<&Container>, networking: &Networking) {
    let mappings = match networking {
        Networking::Host { .. } => None,
        Networking::Bridge { mappings, .. } | Networking::Container { mappings, .. } => Some(mappings),
    };
    if container.is_none() && mappings.is_none_or(Vec::is_empty) {
        return;
    }
    let kind = container.map_or(ContainerKind::Mesos, |it| it.kind);
    json.key("container").object(|json| {
        json.key("type").string(match kind {
            ContainerKind::Docker => "DOCKER",
            ContainerKind::Mesos => "MESOS",
        });
        if let Some(docker) = container.and_then(|it| it.docker.as_ref()) {
            write_docker(json.key("docker"), docker);
        }
        json.key("volumes").array(container.iter().flat_map(|it| &it.volumes), write_volume);
        if let Some(mappings) = mappings {
            json.key("portMappings").array(mappings, write_mapping);
        }
        if let Some(linux) = container.and_then(|it| it.linux.as_ref()) {
            write_linux(json.key("linuxInfo"), linux);
        }
    });
}

fn write_docker(json: &mut Json, docker: &DockerImage) {
    let DockerImage { image, force_pull, privileged, parameters, pull_secret } = docker;
    json.object(|json| {
        json.key("forcePullImage").bool(*force_pull);
        json.key("image").string(image);
        json.key("parameters").array(parameters, |json, (key, value)| {
            json.object(|json| {
                json.key("key").string(key);
                json.key("value").string(value);
            });
        });
        json.key("privileged").bool(*privileged);
        if let Some(secret) = pull_secret {
            json.key("pullConfig").object(|json| json.key("secret").string(secret));
        }
    });
}

fn write_volume(json: &mut Json, volume: &Volume) {
    let Volume { container_path, read_only, source } = volume;
    let mode = if *read_only { "RO" } else { "RW" };
    json.object(|json| {
        json.key("containerPath").string(container_path);
        match source {
            VolumeSource::Host { host_path } => {
                json.key("hostPath").string(host_path);
                json.key("mode").string(mode);
            }
            VolumeSource::Persistent { kind, size, max_size, profile, constraints } => {
                write_persistent(
                    json.key("persistent"),
                    *kind,
                    *size,
                    *max_size,
                    profile.as_deref(),
                    constraints,
                );
                json.key("mode").string(mode);
            }
            VolumeSource::External { name, provider, size, options, shared } => {
                json.key("external").object(|json| {
                    if let Some(size) = size {
                        json.key("size").int(*size);
                    }
                    json.key("name").string(name);
                    json.key("provider").string(provider);
                    json.key("options").raw(&compact(&options.0));
                    // Of dvdi only.
                    if provider != "csi" {
                        json.key("shared").bool(*shared);
                    }
                });
                json.key("mode").string(mode);
            }
            VolumeSource::Secret { secret } => json.key("secret").string(secret),
        }
    });
}

/// The disk of a persistent volume.
pub fn write_persistent(
    json: &mut Json,
    kind: DiskKind,
    size: u64,
    max_size: Option<u64>,
    profile: Option<&str>,
    constraints: &[Constraint],
) {
    json.object(|json| {
        json.key("type").string(match kind {
            DiskKind::Root => "root",
            DiskKind::Path => "path",
            DiskKind::Mount => "mount",
        });
        json.key("size").int(size);
        if let Some(size) = max_size {
            json.key("maxSize").int(size);
        }
        if let Some(profile) = profile {
            json.key("profileName").string(profile);
        }
        json.key("constraints").array(constraints, write_constraint);
    });
}

/// JSON that a user wrote, on one line (an event must not break its line). `{}` if it is none.
fn compact(text: &str) -> Vec<u8> {
    serde_json::from_str::<serde_json::Value>(text)
        .ok()
        .and_then(|it| serde_json::to_vec(&it).ok())
        .unwrap_or_else(|| b"{}".to_vec())
}

fn write_mapping(json: &mut Json, mapping: &PortMapping) {
    let PortMapping { container_port, host_port, service_port, protocol, name, labels, network_names } =
        mapping;
    json.object(|json| {
        json.key("containerPort").int(*container_port);
        if let Some(port) = host_port {
            json.key("hostPort").int(*port);
        }
        write_labels(json.key("labels"), labels);
        if let Some(name) = name {
            json.key("name").string(name);
        }
        json.key("protocol").string(protocol_name(*protocol));
        json.key("servicePort").int(*service_port);
        if !network_names.is_empty() {
            json.key("networkNames").strings(network_names.iter().map(String::as_str));
        }
    });
}

pub fn write_linux(json: &mut Json, linux: &LinuxInfo) {
    json.object(|json| {
        if let Some(Seccomp { profile, unconfined }) = &linux.seccomp {
            json.key("seccomp").object(|json| {
                if let Some(profile) = profile {
                    json.key("profileName").string(profile);
                }
                json.key("unconfined").bool(*unconfined);
            });
        }
        if let Some(Ipc { private, shm_size }) = &linux.ipc {
            json.key("ipcInfo").object(|json| {
                json.key("mode").string(if *private { "PRIVATE" } else { "SHARE_PARENT" });
                if let Some(size) = shm_size {
                    json.key("shmSize").int(*size);
                }
            });
        }
    });
}

/// `networks`, and `portDefinitions` where the host's network is used.
pub fn write_networks(json: &mut Json, networking: &Networking) {
    write_network_list(json.key("networks"), networking);
    if let Networking::Host { ports, .. } = networking {
        json.key("portDefinitions").array(ports, |json, PortDefinition { port, protocol, name, labels }| {
            json.object(|json| {
                json.key("port").int(*port);
                if !labels.is_empty() {
                    write_labels(json.key("labels"), labels);
                }
                if let Some(name) = name {
                    json.key("name").string(name);
                }
                json.key("protocol").string(protocol_name(*protocol));
            });
        });
    }
}

pub fn write_network_list(json: &mut Json, networking: &Networking) {
    let mode = |json: &mut Json, mode: &str, labels: &Labels| {
        json.key("mode").string(mode);
        if !labels.is_empty() {
            write_labels(json.key("labels"), labels);
        }
    };
    match networking {
        Networking::Host { .. } => {
            json.array([()], |json, ()| json.object(|json| mode(json, "host", &Labels::new())));
        }
        Networking::Bridge { labels, .. } => {
            json.array([()], |json, ()| json.object(|json| mode(json, "container/bridge", labels)));
        }
        Networking::Container { networks, .. } => {
            json.array(networks, |json, ContainerNetwork { name, labels }| {
                json.object(|json| {
                    json.key("name").string(name);
                    mode(json, "container", labels);
                });
            });
        }
    }
}

pub fn protocol_name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::UdpTcp => "udp,tcp",
    }
}
