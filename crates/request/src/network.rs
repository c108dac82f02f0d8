//! Networks, port definitions and port mappings.

use marathon_model::app::*;
use marathon_model::update::{NetworkMode, NetworkUpdate};
use serde_json::Value;

use crate::reader::Reader;

pub fn list(r: &mut Reader, value: &Value) -> Option<Vec<NetworkUpdate>> {
    r.list(value, |r, it| {
        let object = r.object(it)?;
        let mode = r.optional(object, "mode", |r, it| {
            r.word(
                it,
                &[
                    ("host", NetworkMode::Host),
                    ("container/bridge", NetworkMode::Bridge),
                    ("container", NetworkMode::Container),
                ],
            )
        });
        let name = r.optional(object, "name", name);
        let labels = r.optional(object, "labels", Reader::texts).unwrap_or_default();
        Some(NetworkUpdate { mode: mode.unwrap_or(NetworkMode::Container), name, labels })
    })
}

/// The name of a network.
pub fn name(r: &mut Reader, value: &Value) -> Option<String> {
    let text = r.some_text(value)?;
    if text.len() > 63 {
        return r.misshapen("error.maxLength");
    }
    if is_name(&text, b"-_") { Some(text) } else { r.misshapen("error.pattern") }
}

pub fn port_name(r: &mut Reader, value: &Value) -> Option<String> {
    r.matching(value, |it| is_name(it, b"-"))
}

/// Lower-case letters and digits, with some more characters inside.
fn is_name(text: &str, inner: &[u8]) -> bool {
    let edge = |it: Option<&u8>| it.is_some_and(|it| it.is_ascii_lowercase() || it.is_ascii_digit());
    let bytes = text.as_bytes();
    edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || inner.contains(it))
}

pub fn protocol(r: &mut Reader, value: &Value) -> Option<Protocol> {
    r.word(
        value,
        &[
            ("tcp", Protocol::Tcp),
            ("udp", Protocol::Udp),
            ("udp,tcp", Protocol::UdpTcp),
            ("tcp,udp", Protocol::UdpTcp),
        ],
    )
}

pub fn definition(r: &mut Reader, value: &Value) -> Option<PortDefinition> {
    let object = r.object(value)?;
    Some(PortDefinition {
        port: r.optional(object, "port", Reader::port).unwrap_or(0),
        protocol: r.optional(object, "protocol", protocol).unwrap_or(Protocol::Tcp),
        name: r.optional(object, "name", port_name),
        labels: r.optional(object, "labels", Reader::texts).unwrap_or_default(),
    })
}

pub fn mapping(r: &mut Reader, value: &Value) -> Option<PortMapping> {
    let object = r.object(value)?;
    Some(PortMapping {
        container_port: r.optional(object, "containerPort", Reader::port).unwrap_or(0),
        host_port: r.optional(object, "hostPort", Reader::port),
        service_port: r.optional(object, "servicePort", Reader::port).unwrap_or(0),
        protocol: r.optional(object, "protocol", protocol).unwrap_or(Protocol::Tcp),
        name: r.optional(object, "name", port_name),
        labels: r.optional(object, "labels", Reader::texts).unwrap_or_default(),
        network_names: r.optional(object, "networkNames", |r, it| r.list(it, name)).unwrap_or_default(),
    })
}
