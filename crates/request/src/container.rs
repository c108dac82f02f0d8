//! The container object in its canonical form.

use marathon_model::app::*;
use marathon_model::update::ContainerUpdate;
use serde_json::Value;

use crate::reader::Reader;
use crate::{network, volume};

pub fn read(r: &mut Reader, value: &Value) -> Option<ContainerUpdate> {
    let object = r.object(value)?;
    let kind = r.optional(object, "type", |r, it| {
        r.word(it, &[("DOCKER", ContainerKind::Docker), ("MESOS", ContainerKind::Mesos)])
    });
    Some(ContainerUpdate {
        kind: kind.unwrap_or(ContainerKind::Docker),
        docker: r.optional(object, "docker", docker),
        volumes: r.optional(object, "volumes", |r, it| r.list(it, volume::read)).unwrap_or_default(),
        linux: r.optional(object, "linuxInfo", linux),
        port_mappings: r.optional(object, "portMappings", |r, it| r.list(it, network::mapping)),
    })
}

fn docker(r: &mut Reader, value: &Value) -> Option<DockerImage> {
    let object = r.object(value)?;
    let image = r.required(object, "image", Reader::text);
    let force_pull = r.optional(object, "forcePullImage", Reader::boolean).unwrap_or(false);
    let privileged = r.optional(object, "privileged", Reader::boolean).unwrap_or(false);
    let parameters = r.optional(object, "parameters", |r, it| r.list(it, parameter)).unwrap_or_default();
    let pull_secret = r.optional(object, "pullConfig", |r, it| {
        let config = r.object(it)?;
        r.required(config, "secret", Reader::some_text)
    });
    Some(DockerImage { image: image?, force_pull, privileged, parameters, pull_secret })
}

fn parameter(r: &mut Reader, value: &Value) -> Option<(String, String)> {
    let object = r.object(value)?;
    let key = r.required(object, "key", Reader::some_text);
    let value = r.required(object, "value", Reader::text);
    Some((key?, value?))
}

pub fn linux(r: &mut Reader, value: &Value) -> Option<LinuxInfo> {
    let object = r.object(value)?;
    let seccomp = r.optional(object, "seccomp", |r, it| {
        let object = r.object(it)?;
        let profile = r.optional(object, "profileName", Reader::some_text);
        let unconfined = r.optional(object, "unconfined", Reader::boolean).unwrap_or(false);
        Some(Seccomp { profile, unconfined })
    });
    let ipc = r.optional(object, "ipcInfo", |r, it| {
        let object = r.object(it)?;
        let private =
            r.required(object, "mode", |r, it| r.word(it, &[("PRIVATE", true), ("SHARE_PARENT", false)]));
        let shm_size = r.optional(object, "shmSize", Reader::count);
        Some(Ipc { private: private?, shm_size })
    });
    Some(LinuxInfo { seccomp, ipc })
}
