//! Networks and ports: normalisation first, then the rules of the result.
//!
//! Port definitions belong to host networking, port mappings to everything else. What does not fit
//! the network is dropped rather than refused: clients switch the network and leave the rest.

use std::collections::HashSet;

use marathon_model::app::*;
use marathon_model::update::{AppUpdate, NetworkMode, NetworkUpdate};

use crate::Rules;
use crate::report::Report;

/// The name of the port an app gets that declares none.
const DEFAULT_PORT_NAME: &str = "default";
/// How many network names a complaint lists.
const NAMES_SHOWN: usize = 100;
pub const NAMES_ONE_NETWORK: &str = "networkNames must be a single item list when hostPort is specified and more than 1 container network is defined";

/// Makes the networking of `spec` from the update and, where it is silent, from what was there.
pub fn settle(
    spec: &mut AppSpec,
    current: Option<&Networking>,
    update: &AppUpdate,
    rules: &Rules,
    report: &mut Report,
) {
    let networks = match (&update.networks, current) {
        (Some(given), _) => given.clone(),
        (None, Some(current)) => as_given(current),
        (None, None) => Vec::new(),
    };
    judge_list(&networks, rules, report);

    spec.networking = if networks.iter().any(|it| it.mode == NetworkMode::Container) {
        container_networking(&networks, mappings(current, update), rules)
    } else if let Some(bridge) = networks.iter().find(|it| it.mode == NetworkMode::Bridge) {
        bridge_networking(bridge.labels.clone(), mappings(current, update))
    } else {
        host_networking(current, update)
    };

    // Mappings need a container to stand in.
    if !matches!(spec.networking, Networking::Host { .. }) && spec.container.is_none() {
        spec.container =
            Some(Container { kind: ContainerKind::Mesos, docker: None, volumes: Vec::new(), linux: None });
    }
}

fn host_networking(current: Option<&Networking>, update: &AppUpdate) -> Networking {
    let (kept_ports, kept_require) = match current {
        Some(Networking::Host { ports, require_ports }) => (Some(ports), *require_ports),
        _ => (None, false),
    };
    let ports = update.port_definitions.as_ref().or(kept_ports).cloned();
    Networking::Host {
        ports: ports.unwrap_or_else(|| vec![default_definition()]),
        require_ports: update.require_ports.unwrap_or(kept_require),
    }
}

fn bridge_networking(labels: Labels, mut mappings: Vec<PortMapping>) -> Networking {
    for mapping in &mut mappings {
        // A bridge port always has a host side.
        mapping.host_port.get_or_insert(0);
    }
    Networking::Bridge { labels, mappings }
}

fn container_networking(networks: &[NetworkUpdate], mappings: Vec<PortMapping>, rules: &Rules) -> Networking {
    let networks = networks.iter().filter(|it| it.mode == NetworkMode::Container);
    let mut networks: Vec<ContainerNetwork> = networks
        .filter_map(|it| {
            let name = it.name.clone().or_else(|| rules.default_network_name.clone())?;
            Some(ContainerNetwork { name, labels: it.labels.clone() })
        })
        .collect();
    match &mut networks[..] {
        // `ipAddress` of 1.4 named the bridge like any other network.
        [only] if only.name == rules.bridge_name => {
            bridge_networking(std::mem::take(&mut only.labels), mappings)
        }
        _ => Networking::Container { networks, mappings },
    }
}

/// The mappings given, or those there, or the default one; padded to the port definitions given, since
/// clients of 0.13 declare `ports` beside too few mappings.
fn mappings(current: Option<&Networking>, update: &AppUpdate) -> Vec<PortMapping> {
    let kept = match current {
        Some(Networking::Bridge { mappings, .. } | Networking::Container { mappings, .. }) => Some(mappings),
        _ => None,
    };
    let chosen = match &update.container {
        Some(container) => container.port_mappings.as_ref(),
        None => kept,
    };
    let mut mappings = chosen.cloned().unwrap_or_else(|| vec![blank_mapping(Some(DEFAULT_PORT_NAME))]);
    let declared = update.port_definitions.as_ref().map_or(0, Vec::len);
    while mappings.len() < declared {
        mappings.push(blank_mapping(None));
    }
    mappings
}

fn default_definition() -> PortDefinition {
    PortDefinition {
        port: 0,
        protocol: Protocol::Tcp,
        name: Some(DEFAULT_PORT_NAME.to_owned()),
        labels: Labels::new(),
    }
}

fn blank_mapping(name: Option<&str>) -> PortMapping {
    PortMapping {
        container_port: 0,
        host_port: None,
        service_port: 0,
        protocol: Protocol::Tcp,
        name: name.map(str::to_owned),
        labels: Labels::new(),
        network_names: Vec::new(),
    }
}

fn as_given(current: &Networking) -> Vec<NetworkUpdate> {
    let network = |mode, name, labels: &Labels| NetworkUpdate { mode, name, labels: labels.clone() };
    match current {
        Networking::Host { .. } => vec![network(NetworkMode::Host, None, &Labels::new())],
        Networking::Bridge { labels, .. } => vec![network(NetworkMode::Bridge, None, labels)],
        Networking::Container { networks, .. } => {
            let all = networks.iter();
            all.map(|it| network(NetworkMode::Container, Some(it.name.clone()), &it.labels)).collect()
        }
    }
}

/// The networks of a pod. Its endpoints carry the ports, so there are no definitions and no mappings here.
pub fn of_pod(networks: &[NetworkUpdate], rules: &Rules, report: &mut Report) -> Networking {
    judge_list(networks, rules, report);
    if networks.iter().any(|it| it.mode == NetworkMode::Container) {
        container_networking(networks, Vec::new(), rules)
    } else if let Some(bridge) = networks.iter().find(|it| it.mode == NetworkMode::Bridge) {
        bridge_networking(bridge.labels.clone(), Vec::new())
    } else {
        Networking::Host { ports: Vec::new(), require_ports: false }
    }
}

/// The rules of the list as given, which the networking made from it can no longer break.
fn judge_list(networks: &[NetworkUpdate], rules: &Rules, report: &mut Report) {
    let of = |mode| networks.iter().filter(move |it| it.mode == mode);
    let named = |it: &NetworkUpdate| it.name.as_ref().is_some_and(|name| !name.is_empty());
    let mut broken = |message: &str| report.add("/networks", message);

    if of(NetworkMode::Host).any(|it| named(it) || !it.labels.is_empty()) {
        broken("Host networks may not have names or labels");
    }
    if of(NetworkMode::Bridge).any(named) {
        broken("Bridge networks may not have names");
    }
    let unnamed = of(NetworkMode::Container).filter(|it| it.name.is_none()).count();
    let mut names = HashSet::new();
    if unnamed > 1 || !networks.iter().filter_map(|it| it.name.as_ref()).all(|it| names.insert(it)) {
        broken("Duplicate networks are not allowed");
    }
    let counts = [NetworkMode::Host, NetworkMode::Bridge, NetworkMode::Container].map(|it| of(it).count());
    if !matches!(counts, [0 | 1, 0, 0] | [0, 1, 0] | [0, 0, _]) {
        broken("May specify a single host network, single bridge network, or else 1-to-n container networks");
    }
    if unnamed > 0 && rules.default_network_name.is_none() {
        broken("Network name must be specified when container network is selected.");
    }
}

/// The rules of finished networking.
pub fn judge(spec: &AppSpec, report: &mut Report) {
    match &spec.networking {
        Networking::Host { ports, .. } => judge_definitions(ports, report),
        Networking::Bridge { mappings, .. } => judge_mappings(mappings, &[], report),
        Networking::Container { networks, mappings } => {
            let docker = spec.container.as_ref().is_some_and(|it| it.kind == ContainerKind::Docker);
            if docker && networks.len() > 1 {
                report.add(
                    "/",
                    "may only specify a single container network when using the Docker container engine",
                );
            }
            judge_mappings(mappings, networks, report);
        }
    }
}

fn judge_definitions(ports: &[PortDefinition], report: &mut Report) {
    if !unique(ports.iter().filter_map(|it| it.name.as_ref())) {
        report.add("/portDefinitions", "Port names must be unique.");
    }
    if !unique(ports.iter().map(|it| it.port).filter(|&it| it != 0)) {
        report.add("/portDefinitions", "Ports must be unique.");
    }
}

fn judge_mappings(mappings: &[PortMapping], networks: &[ContainerNetwork], report: &mut Report) {
    if !unique(mappings.iter().filter_map(|it| it.name.as_ref())) {
        report.add("/container/portMappings", "Port names must be unique.");
    }
    let known: HashSet<&str> = networks.iter().map(|it| it.name.as_str()).collect();
    for (at, mapping) in mappings.iter().enumerate() {
        let names_one = mapping.network_names.len() == 1;
        report.require(networks.len() <= 1 || mapping.host_port.is_none() || names_one, || {
            (format!("/container/portMappings({at})"), NAMES_ONE_NETWORK.to_owned())
        });
        judge_names(
            &mapping.network_names,
            &known,
            networks,
            || format!("/container/portMappings({at})"),
            report,
        );
    }
}

/// Only networks of the definition may be named.
pub fn judge_names(
    names: &[String],
    known: &HashSet<&str>,
    networks: &[ContainerNetwork],
    path: impl Fn() -> String,
    report: &mut Report,
) {
    for (nth, name) in names.iter().enumerate() {
        report.require(known.contains(name.as_str()), || {
            let shown: Vec<&str> = networks.iter().take(NAMES_SHOWN).map(|it| it.name.as_str()).collect();
            (format!("{}/networkNames({nth})", path()), format!("is not one of ({})", shown.join(",")))
        });
    }
}

/// How many ports a check can address by index.
pub fn port_count(networking: &Networking) -> usize {
    match networking {
        Networking::Host { ports, .. } => ports.len(),
        Networking::Bridge { mappings, .. } | Networking::Container { mappings, .. } => mappings.len(),
    }
}

pub fn unique<T: Eq + std::hash::Hash>(mut items: impl Iterator<Item = T>) -> bool {
    let mut seen = HashSet::new();
    items.all(|it| seen.insert(it))
}
