//! Names that are made of what a definition says, and have to be short enough for an engine.
//!
//! ```text
//! task      <path with _>.instance-<uuid>.<container>.<incarnation>
//! executor  marathon-<task>                      where it is a custom one
//! volume    <path with _>#<container path>#<uuid>
//! ```
//! All of them name folders, of Mesos and of the embedded engine, and a master refuses every launch, and forgets every
//! volume, whose name is no such one. The definition that leads to it could never run, so it is refused.

use marathon_model::app::{AppSpec, VolumeSource};
use marathon_model::pod::PodVolumeSource;

use crate::Rules;
use crate::report::Report;

/// `NAME_MAX` of Linux.
const NAME_MAX: usize = 255;
const UUID: usize = 36;
/// An instance may start again so often.
const INCARNATION: usize = u32::MAX.ilog10() as usize + 1;

pub fn judge(spec: &AppSpec, rules: &Rules, report: &mut Report) {
    let containers = spec.pod.iter().flat_map(|it| &it.containers).map(|it| it.name.len());
    let container = containers.max().unwrap_or("_app".len());
    let custom = spec.custom_executor(rules.executor.as_deref().unwrap_or_default());
    let prefix = custom.map_or(0, |_| "marathon-".len());
    let around = prefix + ".instance-".len() + UUID + ".".len() + container + ".".len() + INCARNATION;
    let most = NAME_MAX.saturating_sub(around);
    let path = spec.id.safe().len();
    if path > most {
        // The slash in front counts for those who count.
        report.add(
            "/id",
            format!(
                "is {} characters long, must not be longer than {}: the ids of its tasks contain it and have at most {NAME_MAX}",
                path + 1,
                most + 1
            ),
        );
    }
    for (at, name) in volumes(spec) {
        if name.contains('\\') || name.chars().any(char::is_control) {
            report.add(at, "must contain neither \"\\\" nor control characters");
        } else if path + "##".len() + name.len() + UUID > NAME_MAX {
            report.add(at, format!("is too long: with the id of the app the id of the volume has more than {NAME_MAX} characters"));
        }
    }
}

/// The names of persistent volumes, each with where it stands.
fn volumes(spec: &AppSpec) -> Vec<(String, &str)> {
    match &spec.pod {
        Some(pod) => {
            let ours = |source: &PodVolumeSource| matches!(source, PodVolumeSource::Persistent { .. });
            let all = pod.volumes.iter().enumerate().filter(|(_, it)| ours(&it.source));
            all.map(|(at, it)| (format!("/volumes({at})/name"), &*it.name)).collect()
        }
        None => {
            let ours = |source: &VolumeSource| matches!(source, VolumeSource::Persistent { .. });
            let all = spec.container.iter().flat_map(|it| &it.volumes).enumerate();
            all.filter(|(_, it)| ours(&it.source))
                .map(|(at, it)| {
                    (format!("/container/volumes({at})/containerPath"), it.container_path.as_str())
                })
                .collect()
        }
    }
}
