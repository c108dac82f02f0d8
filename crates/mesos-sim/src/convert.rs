//! Between the messages of the API and the arithmetic of the simulation.

use std::sync::Arc;

use marathon_mesos_v1::{
    Attribute, Label, Labels, Message, Resource, ResourceAllocationInfo, ResourceDiskInfo,
    ResourceDiskInfoPersistence, ResourceDiskInfoSource, ResourceProviderId, ResourceReservationInfo,
    ResourceReservationInfoType, ResourceRevocableInfo, ResourceSharedInfo, ValueRange, ValueRanges,
    ValueScalar, ValueSet, ValueText, ValueType, Volume as MesosVolume, VolumeMode,
};

use crate::resources::{Amount, Detail, Kind, Reservation, Resources, Volume, coalesced, milli, one_text};

/// How a framework wants its resources written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Form {
    /// `reservations` instead of `role` and `reservation`.
    pub refined: bool,
    /// With `allocation_info`.
    pub multi_role: bool,
}

/// Resources as given in a call, and the role they claim to be allocated to.
#[derive(Debug, Clone, Default)]
pub struct Given {
    pub resources: Resources,
    pub role: Option<String>,
    /// Why one of them is no resource at all, in Mesos's words.
    pub invalid: Option<String>,
}

pub fn read(all: &[Resource]) -> Given {
    let mut given = Given::default();
    for one in all {
        if let Some(role) = one.allocation_info.as_ref().and_then(|it| it.role.clone()) {
            given.role.get_or_insert(role);
        }
        let kind = kind_of(one);
        let Some(amount) = amount_of(one) else { continue };
        if let Amount::Scalar(milli) = amount
            && milli < 0
        {
            let role = one.allocation_info.as_ref().and_then(|it| it.role.as_deref());
            let text = one_text(&kind, &amount, role);
            given
                .invalid
                .get_or_insert(format!("Resource '{text}' is invalid: Invalid scalar resource: value <= 0"));
        }
        given.resources.add_one(&kind, &amount);
    }
    given
}

fn amount_of(one: &Resource) -> Option<Amount> {
    if let Some(scalar) = &one.scalar {
        return Some(Amount::Scalar(milli(scalar.value)));
    }
    if let Some(ranges) = &one.ranges {
        return Some(Amount::Ranges(coalesced(ranges.range.iter().map(|it| (it.begin, it.end)).collect())));
    }
    one.set.as_ref().map(|set| Amount::Set(set.item.clone()))
}

/// The common names are shared by all, as a cluster holds millions of them.
pub fn name(text: &str) -> Arc<str> {
    thread_local! {
        static COMMON: [Arc<str>; 5] = ["cpus", "mem", "disk", "ports", "gpus"].map(Arc::from);
    }
    COMMON.with(|all| all.iter().find(|it| &***it == text).cloned()).unwrap_or_else(|| Arc::from(text))
}

fn kind_of(one: &Resource) -> Kind {
    let role = one.role.as_deref().filter(|it| *it != "*");
    let plain = role.is_none()
        && one.reservations.is_empty()
        && one.disk.is_none()
        && one.provider_id.is_none()
        && one.shared.is_none()
        && one.revocable.is_none();
    if plain {
        return Kind { name: name(&one.name), detail: None };
    }
    let mut detail = Detail {
        reservations: one.reservations.iter().map(|it| reservation(it, None)).collect(),
        provider: one.provider_id.as_ref().map(|it| it.value.clone()),
        shared: one.shared.is_some(),
        revocable: one.revocable.is_some(),
        ..Detail::default()
    };
    if let (Some(role), true) = (role, detail.reservations.is_empty()) {
        let mut old = one.reservation.as_ref().map(|it| reservation(it, Some(role))).unwrap_or_default();
        old.role = role.to_owned();
        old.dynamic = one.reservation.is_some();
        detail.reservations.push(old);
    }
    if let Some(disk) = &one.disk {
        detail.source = disk.source.as_ref().map(Message::encode_to_vec);
        detail.volume = disk.persistence.as_ref().map(|it| Volume {
            id: it.id.clone(),
            principal: it.principal.clone(),
            container_path: disk.volume.as_ref().map(|it| it.container_path.clone()).unwrap_or_default(),
            read_only: disk.volume.as_ref().is_some_and(|it| it.mode == VolumeMode::RO as i32),
        });
    }
    Kind { name: name(&one.name), detail: (detail != Detail::default()).then(|| Arc::new(detail)) }
}

fn reservation(it: &ResourceReservationInfo, role: Option<&str>) -> Reservation {
    let labels = it.labels.iter().flat_map(|it| &it.labels);
    Reservation {
        dynamic: it.r#type != Some(ResourceReservationInfoType::STATIC as i32),
        role: it.role.clone().or(role.map(str::to_owned)).unwrap_or_default(),
        principal: it.principal.clone(),
        labels: labels.map(|it| (it.key.clone(), it.value.clone())).collect(),
    }
}

pub fn write(all: &Resources, role: Option<&str>, form: Form) -> Vec<Resource> {
    all.in_offer_order().into_iter().map(|(kind, amount)| write_one(kind, amount, role, form)).collect()
}

pub fn write_one(kind: &Kind, amount: &Amount, role: Option<&str>, form: Form) -> Resource {
    let mut out = Resource { name: kind.name.to_string(), ..Resource::default() };
    write_amount(&mut out, amount);
    if form.multi_role
        && let Some(role) = role
    {
        out.allocation_info = Some(ResourceAllocationInfo { role: Some(role.to_owned()) });
    }
    let reservations: Vec<ResourceReservationInfo> =
        kind.reservations().iter().map(write_reservation).collect();
    if form.refined {
        out.reservations = reservations;
    } else {
        out.role = Some(kind.reserved_for().unwrap_or("*").to_owned());
        if let Some(last) = reservations.into_iter().next_back()
            && last.r#type == Some(ResourceReservationInfoType::DYNAMIC as i32)
        {
            out.reservation = Some(ResourceReservationInfo { r#type: None, role: None, ..last });
        }
    }
    if let Some(detail) = kind.detail.as_deref() {
        write_detail(&mut out, detail);
    }
    out
}

fn write_amount(out: &mut Resource, amount: &Amount) {
    match amount {
        Amount::Scalar(milli) => {
            out.r#type = ValueType::SCALAR as i32;
            out.scalar = Some(ValueScalar { value: *milli as f64 / 1000.0 });
        }
        Amount::Ranges(ranges) => {
            out.r#type = ValueType::RANGES as i32;
            let range = ranges.iter().map(|&(begin, end)| ValueRange { begin, end }).collect();
            out.ranges = Some(ValueRanges { range });
        }
        Amount::Set(items) => {
            out.r#type = ValueType::SET as i32;
            out.set = Some(ValueSet { item: items.clone() });
        }
    }
}

fn write_detail(out: &mut Resource, detail: &Detail) {
    out.provider_id = detail.provider.clone().map(|value| ResourceProviderId { value });
    out.shared = detail.shared.then(ResourceSharedInfo::default);
    out.revocable = detail.revocable.then(ResourceRevocableInfo::default);
    if detail.volume.is_none() && detail.source.is_none() {
        return;
    }
    out.disk = Some(ResourceDiskInfo {
        persistence: detail
            .volume
            .as_ref()
            .map(|it| ResourceDiskInfoPersistence { id: it.id.clone(), principal: it.principal.clone() }),
        volume: detail.volume.as_ref().map(|it| MesosVolume {
            mode: if it.read_only { VolumeMode::RO } else { VolumeMode::RW } as i32,
            container_path: it.container_path.clone(),
            ..MesosVolume::default()
        }),
        source: detail.source.as_ref().and_then(|it| ResourceDiskInfoSource::decode(it.as_slice()).ok()),
    });
}

fn write_reservation(it: &Reservation) -> ResourceReservationInfo {
    let labels =
        it.labels.iter().map(|(key, value)| Label { key: key.clone(), value: value.clone() }).collect();
    let kind =
        if it.dynamic { ResourceReservationInfoType::DYNAMIC } else { ResourceReservationInfoType::STATIC };
    ResourceReservationInfo {
        r#type: Some(kind as i32),
        role: Some(it.role.clone()),
        principal: it.principal.clone(),
        labels: (!it.labels.is_empty()).then_some(Labels { labels }),
    }
}

/// Reads `rack:r1;level:10;span:[1-5]`, the agent flag's form: a number is a scalar, whatever was meant.
pub fn attributes(text: &str) -> Result<Vec<Attribute>, String> {
    text.split([';', '\n']).map(str::trim).filter(|it| !it.is_empty()).map(attribute).collect()
}

fn attribute(text: &str) -> Result<Attribute, String> {
    let (name, value) = text.split_once(':').ok_or_else(|| format!("attribute `{text}` has no `:`"))?;
    let value: String = value.chars().filter(|it| *it != ' ').collect();
    let mut out = Attribute { name: name.trim().to_owned(), ..Attribute::default() };
    let number: Option<f64> = value.parse().ok().filter(|it: &f64| it.is_finite() && 0.0 <= *it);
    if value.starts_with('[') {
        let all = crate::resources::parse(&format!("x:{value}"))?;
        out.r#type = ValueType::RANGES as i32;
        let range = all.ranges("x").into_iter().map(|(begin, end)| ValueRange { begin, end }).collect();
        out.ranges = Some(ValueRanges { range });
    } else if let Some(value) = number {
        out.r#type = ValueType::SCALAR as i32;
        out.scalar = Some(ValueScalar { value });
    } else {
        out.r#type = ValueType::TEXT as i32;
        out.text = Some(ValueText { value });
    }
    Ok(out)
}
