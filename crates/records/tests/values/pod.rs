//! Random pods, as `Draw` makes all other values.

use std::sync::Arc;

use marathon_model::app::*;
use marathon_model::instance::Part;
use marathon_model::pod::*;
use rand::RngExt;

use super::Draw;

impl Draw {
    pub fn pod(&mut self) -> Arc<Pod> {
        Arc::new(Pod {
            containers: self.some(Draw::pod_container),
            volumes: self.some(Draw::pod_volume),
            linux: self.maybe(Draw::linux),
            legacy_shared_cgroups: self.maybe(Draw::flag),
        })
    }

    fn pod_container(&mut self) -> PodContainer {
        PodContainer {
            name: self.arc(),
            exec: self.maybe(|it| Exec {
                command: match it.flag() {
                    true => CheckCommand::Shell(it.text()),
                    false => CheckCommand::Argv(it.some(Draw::text)),
                },
                override_entrypoint: it.maybe(Draw::flag),
            }),
            resources: self.amounts(),
            resource_limits: self
                .maybe(|it| ResourceLimits { cpus: it.maybe(Draw::limit), mem: it.maybe(Draw::limit) }),
            endpoints: self.some(|it| Endpoint {
                name: it.arc(),
                container_port: it.maybe(Draw::port),
                host_port: it.maybe(Draw::port),
                protocols: it.some(Draw::protocol),
                labels: it.labels(),
                network_names: it.some(Draw::text),
            }),
            image: self.maybe(|it| PodImage {
                id: it.text(),
                force_pull: it.maybe(Draw::flag),
                pull_secret: it.maybe(Draw::text),
                labels: it.labels(),
            }),
            env: self.map(Draw::env_value),
            user: self.maybe(Draw::text),
            labels: self.labels(),
            artifacts: self.some(Draw::fetch),
            tty: self.maybe(Draw::flag),
            health: self.maybe(Draw::health_check),
            check: self.maybe(Draw::check),
            mounts: self.some(|it| Mount {
                volume: it.arc(),
                path: it.text(),
                read_only: it.maybe(Draw::flag),
            }),
            kill_grace: self.maybe(Draw::span),
            linux: self.maybe(Draw::linux),
        }
    }

    fn pod_volume(&mut self) -> PodVolume {
        let source = match self.0.random_range(0..4) {
            0 => PodVolumeSource::Ephemeral,
            1 => PodVolumeSource::Host { path: self.text() },
            2 => PodVolumeSource::Secret { secret: self.text() },
            _ => PodVolumeSource::Persistent {
                kind: self.pick(&[DiskKind::Root, DiskKind::Path, DiskKind::Mount]),
                size: self.number(),
                max_size: self.maybe(Draw::number),
                profile: self.maybe(Draw::text),
                constraints: self.some(Draw::constraint),
            },
        };
        PodVolume { name: self.arc(), source }
    }

    pub fn part(&mut self) -> Part {
        Part {
            name: self.arc(),
            state: self.maybe(Draw::task_state),
            since: self.time(),
            started_at: self.maybe(Draw::time),
            message: self.maybe(Draw::arc),
            check: self.maybe(Draw::check_result),
        }
    }
}
