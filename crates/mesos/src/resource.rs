//! Resources as Mesos lists them, read as the core sees them.
//!
//! Marathon does not announce `RESERVATION_REFINEMENT`, so masters write resources in the older form: `role`, and
//! `reservation` if it was made while something ran. The newer form is read all the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use marathon_mesos_v1 as v1;
use marathon_model::app::DiskKind;
use marathon_model::resources::{ANY_ROLE, Amount, Disk, Milli, PortRange, Reserved, Resource};
use v1::ResourceDiskInfoSourceType as SourceType;

/// For whom it is set aside; `*` for nobody.
pub fn role(it: &v1::Resource) -> &str {
    match it.reservations.last() {
        Some(last) => last.role.as_deref().unwrap_or(ANY_ROLE),
        None => it.role.as_deref().unwrap_or(ANY_ROLE),
    }
}

/// A reservation made by a framework or through an endpoint, rather than by the agent's own flags.
pub fn reserved(it: &v1::Resource) -> Option<Reserved> {
    let dynamic = v1::ResourceReservationInfoType::DYNAMIC as i32;
    let made = match it.reservations.last() {
        Some(last) => (last.r#type == Some(dynamic)).then_some(last)?,
        None => it.reservation.as_ref()?,
    };
    let labels = made.labels.iter().flat_map(|it| &it.labels);
    let labels =
        labels.map(|it| (it.key.clone(), it.value.clone().unwrap_or_default())).collect::<BTreeMap<_, _>>();
    Some(Reserved { principal: made.principal.clone(), labels })
}

pub fn scalar(it: &v1::Resource) -> Milli {
    Milli::from_f64(it.scalar.as_ref().map_or(0.0, |it| it.value))
}

pub fn ports(it: &v1::Resource) -> Vec<PortRange> {
    let port = |it: u64| u16::try_from(it).unwrap_or(u16::MAX);
    let ranges =
        it.ranges.iter().flat_map(|it| &it.range).filter(|it| it.begin <= it.end && it.begin <= 65_535);
    ranges.map(|it| PortRange { first: port(it.begin), last: port(it.end) }).collect()
}

/// `None`: nothing that Marathon may use. Revocable and shared resources need capabilities it does not announce;
/// block and raw disks have no file system.
pub fn model(it: &v1::Resource) -> Option<Resource> {
    if it.revocable.is_some() || it.shared.is_some() {
        return None;
    }
    let amount = match it.name.as_str() {
        "cpus" => Amount::Cpus(scalar(it)),
        "mem" => Amount::Mem(scalar(it)),
        "disk" => Amount::Disk(scalar(it)),
        "gpus" => Amount::Gpus(scalar(it)),
        "ports" => Amount::Ports(ports(it)),
        other => Amount::Other(other.into(), scalar(it)),
    };
    let disk = match &it.disk {
        Some(disk) => disk_of(disk)?.map(Arc::new),
        None => None,
    };
    Some(Resource { role: role(it).into(), amount, reserved: reserved(it).map(Arc::new), disk })
}

/// `None`: no disk for files; `Some(None)`: plain space of the agent's root.
fn disk_of(it: &v1::ResourceDiskInfo) -> Option<Option<Disk>> {
    let source = it.source.as_ref();
    let (kind, root) = match source.map(|it| SourceType::try_from(it.r#type)) {
        None => (DiskKind::Root, None),
        Some(Ok(SourceType::PATH)) => (DiskKind::Path, source.and_then(|it| it.path.as_ref()?.root.clone())),
        Some(Ok(SourceType::MOUNT)) => {
            (DiskKind::Mount, source.and_then(|it| it.mount.as_ref()?.root.clone()))
        }
        Some(_) => return None,
    };
    let id = it.persistence.as_ref().map(|it| it.id.clone());
    let path = it.volume.as_ref().map(|it| it.container_path.clone()).unwrap_or_default();
    if source.is_none() && id.is_none() {
        return Some(None);
    }
    let profile = source.and_then(|it| it.profile.clone());
    Some(Some(Disk { kind, root, profile, volume: id.map(|id| (id, path)) }))
}

/// The same with another amount.
pub fn with_amount(it: &v1::Resource, amount: Milli) -> v1::Resource {
    v1::Resource { scalar: Some(v1::ValueScalar { value: amount.as_f64() }), ..it.clone() }
}

pub fn with_ports(it: &v1::Resource, ports: &[u16]) -> v1::Resource {
    v1::Resource { ranges: Some(ranges(ports)), ..it.clone() }
}

/// Ports as ranges, neighbours joined.
pub fn ranges(ports: &[u16]) -> v1::ValueRanges {
    let mut sorted = ports.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    let mut range: Vec<v1::ValueRange> = Vec::new();
    for port in sorted.into_iter().map(u64::from) {
        match range.last_mut() {
            Some(last) if last.end + 1 == port => last.end = port,
            _ => range.push(v1::ValueRange { begin: port, end: port }),
        }
    }
    v1::ValueRanges { range }
}
