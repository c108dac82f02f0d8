//! The spellings of older releases, translated to the canonical ones.
//!
//! ```text
//! uris                                        ─► fetch
//! ports                                       ─► portDefinitions
//! ipAddress, container.docker.network         ─► networks
//! container.docker.portMappings,
//! ipAddress.discovery.ports                   ─► container.portMappings
//! ```
//! Older answers carry both spellings side by side, and clients send them back: where they agree, the
//! old one is dropped; where they differ, the request is refused.

use std::collections::HashSet;

use marathon_model::app::*;
use marathon_model::update::{AppUpdate, ContainerUpdate, NetworkMode, NetworkUpdate};
use serde_json::Value;

use crate::Mode;
use crate::network::{mapping, name, port_name, protocol};
use crate::reader::{Object, Reader, present};

#[derive(Clone, Copy, PartialEq, Eq)]
enum DockerNetwork {
    Bridge,
    Host,
    User,
    None,
}

struct IpAddress {
    name: Option<String>,
    labels: Labels,
    discovery: Vec<PortMapping>,
}

pub fn translate(r: &mut Reader, object: &Object, mode: Mode, app: &mut AppUpdate) {
    fetch(r, object, app);
    ports(r, object, app);

    let address = r.optional(object, "ipAddress", ip_address);
    let docker_network = docker(r, object, app);
    networks(r, mode, app, docker_network, address.as_ref());
    if let Some(address) = address {
        discovery(r, app, address);
    }
}

fn fetch(r: &mut Reader, object: &Object, app: &mut AppUpdate) {
    let Some(uris) = r.optional(object, "uris", |r, it| r.list(it, Reader::locator)) else { return };
    if uris.is_empty() {
        return;
    }
    match &app.fetch {
        Some(fetch) if !fetch.is_empty() => {
            if !fetch.iter().map(|it| &it.uri).eq(&uris) {
                r.broken_at("uris", "may not be set in conjunction with fetch");
            }
        }
        _ => app.fetch = Some(uris.into_iter().map(fetch_of).collect()),
    }
}

fn fetch_of(uri: String) -> Fetch {
    const ARCHIVES: [&str; 9] =
        [".tar", ".tar.gz", ".tar.bz2", ".tar.xz", ".gz", ".tgz", ".tbz2", ".txz", ".zip"];
    let extract = ARCHIVES.iter().any(|it| uri.ends_with(it));
    Fetch { uri, extract, executable: false, cache: false, dest_path: None }
}

fn ports(r: &mut Reader, object: &Object, app: &mut AppUpdate) {
    let Some(ports) = r.optional(object, "ports", |r, it| r.list(it, Reader::port)) else { return };
    let mut seen = HashSet::new();
    if !ports.iter().filter(|&&it| it != 0).all(|it| seen.insert(*it)) {
        r.broken("ports must be unique");
    }
    match &app.port_definitions {
        // marathon-python writes an empty list beside the definitions when asked for a full form.
        Some(definitions) => {
            if !ports.is_empty() && !definitions.iter().map(|it| it.port).eq(ports.iter().copied()) {
                r.broken("cannot specify both ports and port definitions");
            }
        }
        None => {
            let definition =
                |port| PortDefinition { port, protocol: Protocol::Tcp, name: None, labels: Labels::new() };
            app.port_definitions = Some(ports.into_iter().map(definition).collect());
        }
    }
}

fn ip_address(r: &mut Reader, value: &Value) -> Option<IpAddress> {
    let object = r.object(value)?;
    let name = r.optional(object, "networkName", name);
    let labels = r.optional(object, "labels", Reader::texts).unwrap_or_default();
    let discovery = r.optional(object, "discovery", |r, it| {
        let object = r.object(it)?;
        r.optional(object, "ports", |r, it| r.list(it, discovery_port))
    });
    Some(IpAddress { name, labels, discovery: discovery.unwrap_or_default() })
}

fn discovery_port(r: &mut Reader, value: &Value) -> Option<PortMapping> {
    let object = r.object(value)?;
    let number = r.required(object, "number", Reader::port);
    let name = r.required(object, "name", port_name);
    let protocol = r.optional(object, "protocol", protocol).unwrap_or(Protocol::Tcp);
    let labels = r.optional(object, "labels", Reader::texts).unwrap_or_default();
    Some(PortMapping {
        container_port: number?,
        host_port: None, // these containers could not map ports to the host
        service_port: 0,
        protocol,
        name: Some(name?),
        labels,
        network_names: Vec::new(),
    })
}

/// What older releases kept in `container.docker`.
fn docker(r: &mut Reader, object: &Object, app: &mut AppUpdate) -> Option<DockerNetwork> {
    let container = app.container.as_mut()?;
    r.optional(object, "container", |r, value| {
        let value = r.object(value)?;
        r.optional(value, "docker", |r, value| {
            let docker = r.object(value)?;
            let network = r.optional(docker, "network", |r, it| {
                r.word(
                    it,
                    &[
                        ("BRIDGE", DockerNetwork::Bridge),
                        ("HOST", DockerNetwork::Host),
                        ("USER", DockerNetwork::User),
                        ("NONE", DockerNetwork::None),
                    ],
                )
            });
            let mappings = r.optional(docker, "portMappings", |r, it| r.list(it, mapping));
            if present(docker, "credential").is_some() {
                r.broken_at("credential", "must be empty");
            }
            if container.kind == ContainerKind::Mesos {
                let given = |key: &str| {
                    present(docker, key).is_some_and(|it| it.as_array().is_none_or(|it| !it.is_empty()))
                };
                for key in ["network", "parameters", "portMappings"].into_iter().filter(|it| given(it)) {
                    r.broken_at(key, "must be empty");
                }
            }
            move_mappings(r, container, mappings);
            network
        })
    })
}

fn move_mappings(r: &mut Reader, container: &mut ContainerUpdate, old: Option<Vec<PortMapping>>) {
    let Some(old) = old else { return };
    match &container.port_mappings {
        Some(new) if !new.is_empty() && !old.is_empty() => {
            if *new != old {
                r.broken_at("portMappings", "cannot specify both portMappings and docker.portMappings");
            }
        }
        Some(new) if !new.is_empty() => {}
        _ => container.port_mappings = Some(old),
    }
}

fn networks(
    r: &mut Reader,
    mode: Mode,
    app: &mut AppUpdate,
    docker: Option<DockerNetwork>,
    address: Option<&IpAddress>,
) {
    let declares_ports = app.port_definitions.as_ref().is_some_and(|it| !it.is_empty());
    if address.is_some() && declares_ports {
        r.broken("cannot specify both an IP address and port");
    }
    // An empty list says nothing, and an old key beside it may.
    if app.networks.as_ref().is_some_and(Vec::is_empty)
        && (mode != Mode::Update || docker.is_some() || address.is_some())
    {
        app.networks = None;
    }
    if let Some(networks) = &app.networks {
        if docker.is_some() {
            r.broken("must not specify both container.docker.network and networks");
        }
        if address.is_some() {
            r.broken("must not specify both networks and ipAddress");
        }
        if mode == Mode::Update {
            contradictions(r, networks, app, declares_ports);
        }
        return;
    }

    let network = |mode, name, labels| Some(vec![NetworkUpdate { mode, name, labels }]);
    let (name, labels) = address.map(|it| (it.name.clone(), it.labels.clone())).unwrap_or_default();
    app.networks = match docker {
        Some(DockerNetwork::Host) => network(NetworkMode::Host, None, Labels::new()),
        Some(DockerNetwork::Bridge) => network(NetworkMode::Bridge, None, labels),
        Some(DockerNetwork::User) => network(NetworkMode::Container, name, labels),
        Some(DockerNetwork::None) => {
            r.broken_at("container/docker/network", "unsupported docker network type NONE");
            None
        }
        None if address.is_some() => network(NetworkMode::Container, name, labels),
        None => None,
    };
}

/// An update that names a network and, in the same breath, ports of the other kind. For a complete app
/// they are dropped instead.
fn contradictions(r: &mut Reader, networks: &[NetworkUpdate], app: &AppUpdate, declares_ports: bool) {
    let host = |it: &NetworkUpdate| it.mode == NetworkMode::Host;
    let mappings = app.container.as_ref().and_then(|it| it.port_mappings.as_ref());
    if networks.iter().any(host) && mappings.is_some_and(|it| !it.is_empty()) {
        r.broken("portMappings are not allowed with host-networking");
    }
    if declares_ports && !networks.iter().all(host) {
        r.broken("portDefinitions are only allowed with host-networking");
    }
}

/// An IP address implies a container of the Mesos engine, and its ports are the container's.
fn discovery(r: &mut Reader, app: &mut AppUpdate, address: IpAddress) {
    let container = app.container.get_or_insert_with(|| ContainerUpdate {
        kind: ContainerKind::Mesos,
        docker: None,
        volumes: Vec::new(),
        linux: None,
        port_mappings: None,
    });
    if address.discovery.is_empty() {
        return;
    }
    if container.kind == ContainerKind::Docker {
        r.broken_at("ipAddress", "ipAddress/discovery is not allowed for Docker containers");
    } else if container.port_mappings.as_ref().is_some_and(|it| !it.is_empty()) {
        r.broken("container.portMappings and ipAddress.discovery.ports must not both be set");
    } else {
        container.port_mappings = Some(address.discovery);
    }
}
