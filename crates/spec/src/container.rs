//! Containers: the image and what the engine can do for it.

use marathon_model::app::*;

use crate::report::{Report, feature_disabled};
use crate::{Rules, volume};

pub fn judge(spec: &AppSpec, rules: &Rules, report: &mut Report) {
    let Some(container) = &spec.container else { return };
    match (&container.docker, container.kind) {
        (None, ContainerKind::Docker) => report.add("/container/docker", "not defined"),
        (None, ContainerKind::Mesos) => {}
        (Some(docker), kind) => judge_image(docker, kind, spec, rules, report),
    }
    if let Some(linux) = &container.linux {
        if container.kind == ContainerKind::Docker && *linux != LinuxInfo::default() {
            // The original drops it silently; a sandbox that was asked for must not vanish.
            report.add("/container/linuxInfo", "is only supported with the Mesos containerizer");
        }
        judge_linux(linux, "/container/linuxInfo", report);
    }
    volume::judge(spec, container, rules, report);
}

fn judge_image(
    docker: &DockerImage,
    kind: ContainerKind,
    spec: &AppSpec,
    rules: &Rules,
    report: &mut Report,
) {
    if docker.image.is_empty() {
        report.add("/container/docker/image", "must not be empty");
    }
    let Some(secret) = &docker.pull_secret else { return };
    let path = "/container/docker/pullConfig";
    if kind == ContainerKind::Docker {
        report.add(path, "pullConfig is not supported with Docker containerizer");
        return;
    }
    if !rules.features.secrets {
        report.add(path, feature_disabled("secrets"));
    }
    if !spec.secrets.contains_key(secret) {
        report.add(path, "pullConfig.secret must refer to an existing secret");
    }
}

pub fn judge_linux(linux: &LinuxInfo, path: &str, report: &mut Report) {
    if let Some(Seccomp { profile, unconfined }) = &linux.seccomp {
        match (profile, unconfined) {
            (Some(_), true) => report
                .add(format!("{path}/seccomp"), "Seccomp unconfined can NOT be true when Profile is defined"),
            (None, false) => report.add(
                format!("{path}/seccomp"),
                "Seccomp unconfined must be true when Profile is NOT defined",
            ),
            _ => {}
        }
    }
    if linux.ipc.as_ref().is_some_and(|it| !it.private && it.shm_size.is_some()) {
        report.add(format!("{path}/ipcInfo"), "ipcInfo shmSize can NOT be set when mode is SHARE_PARENT");
    }
}
