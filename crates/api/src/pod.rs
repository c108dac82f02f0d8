//! One pod definition.

use std::time::Duration;

use marathon_model::app::*;
use marathon_model::pod::*;
use marathon_model::resources::Amounts;

use crate::app::{
    kill_selection_name, operator_name, write_env, write_executor_resources, write_fetch, write_labels,
    write_limits, write_secrets, write_unreachable,
};
use crate::check::write_command;
use crate::container::{protocol_name, write_linux, write_network_list, write_persistent};
use crate::json::Json;

/// The pod as in `GET /v2/pods/{id}`. Writes `{}` for what is no pod.
pub fn write_pod(json: &mut Json, spec: &AppSpec) {
    json.object(|json| {
        if let Some(pod) = &spec.pod {
            write_fields(json, spec, pod);
        }
    });
}

fn write_fields(json: &mut Json, spec: &AppSpec, pod: &Pod) {
    // No `..`: a new field does not compile until someone says where it is written.
    let Pod { containers, volumes, linux, legacy_shared_cgroups } = pod;
    json.key("id").string(spec.id.as_str());
    if !spec.labels.is_empty() {
        write_labels(json.key("labels"), &spec.labels);
    }
    json.key("version").time(spec.version);
    if let Some(user) = &spec.user {
        json.key("user").string(user);
    }
    if !spec.env.is_empty() {
        write_env(json.key("environment"), &spec.env);
    }
    json.key("containers").array(containers, |json, it| write_container(json, it, pod));
    if !spec.secrets.is_empty() {
        write_secrets(json.key("secrets"), &spec.secrets);
    }
    if !volumes.is_empty() {
        json.key("volumes").array(volumes, write_volume);
    }
    write_network_list(json.key("networks"), &spec.networking);
    json.key("scaling").object(|json| {
        json.key("kind").string("fixed");
        json.key("instances").int(spec.instances);
    });
    write_scheduling(json.key("scheduling"), spec);
    if let Some(amounts) = &spec.executor_resources {
        write_executor_resources(json.key("executorResources"), amounts);
    }
    json.key("role").string(&spec.role);
    if let Some(linux) = linux {
        write_linux(json.key("linuxInfo"), linux);
    }
    if let Some(shared) = legacy_shared_cgroups {
        json.key("legacySharedCgroups").bool(*shared);
    }
}

fn write_scheduling(json: &mut Json, spec: &AppSpec) {
    let fractional = |json: &mut Json, time: Duration| json.double(time.as_secs_f64());
    json.object(|json| {
        json.key("backoff").object(|json| {
            fractional(json.key("backoff"), spec.backoff.initial);
            json.key("backoffFactor").double(spec.backoff.factor);
            fractional(json.key("maxLaunchDelay"), spec.backoff.max);
        });
        json.key("upgrade").object(|json| {
            json.key("minimumHealthCapacity").double(spec.upgrade.minimum_health_capacity);
            json.key("maximumOverCapacity").double(spec.upgrade.maximum_over_capacity);
        });
        json.key("placement").object(|json| {
            if !spec.constraints.is_empty() {
                json.key("constraints").array(&spec.constraints, |json, it| {
                    let Constraint { field, operator, value } = it;
                    json.object(|json| {
                        json.key("fieldName").string(field);
                        json.key("operator").string(operator_name(*operator));
                        if let Some(value) = value {
                            json.key("value").string(value);
                        }
                    });
                });
            }
            if let Some(roles) = &spec.accepted_resource_roles {
                json.key("acceptedResourceRoles").strings(roles.iter().map(|it| &**it));
            }
        });
        json.key("killSelection").string(kill_selection_name(spec.kill_selection));
        write_unreachable(json.key("unreachableStrategy"), spec.unreachable);
    });
}

pub(crate) fn write_resources(json: &mut Json, amounts: &Amounts) {
    let Amounts { cpus, mem, disk, gpus } = amounts;
    json.object(|json| {
        json.key("cpus").milli(*cpus);
        json.key("mem").milli(*mem);
        json.key("disk").milli(*disk);
        json.key("gpus").int(*gpus);
    });
}

fn write_container(json: &mut Json, container: &PodContainer, pod: &Pod) {
    let PodContainer {
        name,
        exec,
        resources,
        resource_limits,
        endpoints,
        image,
        env,
        user,
        labels,
        artifacts,
        tty,
        health,
        check,
        mounts,
        kill_grace,
        linux,
    } = container;
    json.object(|json| {
        json.key("name").string(name);
        if let Some(Exec { command, override_entrypoint }) = exec {
            json.key("exec").object(|json| {
                write_command(json.key("command"), command);
                if let Some(replaces) = override_entrypoint {
                    json.key("overrideEntrypoint").bool(*replaces);
                }
            });
        }
        write_resources(json.key("resources"), resources);
        if let Some(limits) = resource_limits {
            write_limits(json.key("resourceLimits"), limits);
        }
        if !endpoints.is_empty() {
            json.key("endpoints").array(endpoints, write_endpoint);
        }
        if let Some(image) = image {
            write_image(json.key("image"), image);
        }
        if !env.is_empty() {
            write_env(json.key("environment"), env);
        }
        if let Some(user) = user {
            json.key("user").string(user);
        }
        if let Some(health) = health {
            write_health(json.key("healthCheck"), health, pod);
        }
        if let Some(check) = check {
            write_check(json.key("check"), check, pod);
        }
        if !mounts.is_empty() {
            json.key("volumeMounts").array(mounts, |json, Mount { volume, path, read_only }| {
                json.object(|json| {
                    json.key("name").string(volume);
                    json.key("mountPath").string(path);
                    if let Some(read_only) = read_only {
                        json.key("readOnly").bool(*read_only);
                    }
                });
            });
        }
        if !artifacts.is_empty() {
            json.key("artifacts").array(artifacts, write_fetch);
        }
        if !labels.is_empty() {
            write_labels(json.key("labels"), labels);
        }
        if let Some(grace) = kill_grace {
            json.key("lifecycle").object(|json| {
                json.key("killGracePeriodSeconds").double(grace.as_secs_f64());
            });
        }
        if let Some(tty) = tty {
            json.key("tty").bool(*tty);
        }
        if let Some(linux) = linux {
            write_linux(json.key("linuxInfo"), linux);
        }
    });
}

fn write_endpoint(json: &mut Json, endpoint: &Endpoint) {
    let Endpoint { name, container_port, host_port, protocols, labels, network_names } = endpoint;
    json.object(|json| {
        json.key("name").string(name);
        // 0 stands for "as on the host" and is nothing that clients could send back.
        if let Some(port) = container_port.filter(|it| *it != 0) {
            json.key("containerPort").int(port);
        }
        if let Some(port) = host_port {
            json.key("hostPort").int(*port);
        }
        json.key("protocol").strings(protocols.iter().map(|it| protocol_name(*it)));
        if !labels.is_empty() {
            write_labels(json.key("labels"), labels);
        }
        if !network_names.is_empty() {
            json.key("networkNames").strings(network_names.iter().map(String::as_str));
        }
    });
}

fn write_image(json: &mut Json, image: &PodImage) {
    let PodImage { id, force_pull, pull_secret, labels } = image;
    json.object(|json| {
        json.key("kind").string("DOCKER");
        json.key("id").string(id);
        if let Some(secret) = pull_secret {
            json.key("pullConfig").object(|json| json.key("secret").string(secret));
        }
        if let Some(force) = force_pull {
            json.key("forcePull").bool(*force);
        }
        if !labels.is_empty() {
            write_labels(json.key("labels"), labels);
        }
    });
}

fn write_volume(json: &mut Json, volume: &PodVolume) {
    let PodVolume { name, source } = volume;
    json.object(|json| {
        json.key("name").string(name);
        match source {
            PodVolumeSource::Ephemeral => {}
            PodVolumeSource::Host { path } => json.key("host").string(path),
            PodVolumeSource::Secret { secret } => json.key("secret").string(secret),
            PodVolumeSource::Persistent { kind, size, max_size, profile, constraints } => write_persistent(
                json.key("persistent"),
                *kind,
                *size,
                *max_size,
                profile.as_deref(),
                constraints,
            ),
        }
    });
}

/// The endpoint that a check talks to.
pub(crate) fn endpoint_of(pod: &Pod, port: CheckPort) -> Option<&Endpoint> {
    match port {
        CheckPort::Index(index) => pod.endpoints().nth(index as usize).map(|(_, it)| it),
        CheckPort::Number(_) => None,
    }
}

fn write_target(json: &mut Json, pod: &Pod, port: CheckPort) {
    if let Some(endpoint) = endpoint_of(pod, port) {
        json.key("endpoint").string(&endpoint.name);
    }
}

fn write_health(json: &mut Json, check: &HealthCheck, pod: &Pod) {
    let HealthCheck { kind, grace, interval, timeout, delay, max_failures, ipv6: _ } = check;
    json.object(|json| {
        match kind {
            HealthKind::Http { https, path, port, .. } => json.key("http").object(|json| {
                write_target(json, pod, *port);
                if let Some(path) = path {
                    json.key("path").string(path);
                }
                json.key("scheme").string(if *https { "HTTPS" } else { "HTTP" });
            }),
            HealthKind::Tcp { port, .. } => json.key("tcp").object(|json| write_target(json, pod, *port)),
            HealthKind::Command { shell } => json.key("exec").object(|json| {
                json.key("command").object(|json| json.key("shell").string(shell));
            }),
        }
        json.key("gracePeriodSeconds").seconds(*grace);
        json.key("intervalSeconds").seconds(*interval);
        json.key("maxConsecutiveFailures").int(*max_failures);
        json.key("timeoutSeconds").seconds(*timeout);
        json.key("delaySeconds").seconds(*delay);
    });
}

fn write_check(json: &mut Json, check: &Check, pod: &Pod) {
    let Check { kind, interval, timeout, delay } = check;
    json.object(|json| {
        match kind {
            CheckKind::Http { port, path } => json.key("http").object(|json| {
                write_target(json, pod, *port);
                if let Some(path) = path {
                    json.key("path").string(path);
                }
                json.key("scheme").string("HTTP");
            }),
            CheckKind::Tcp { port } => json.key("tcp").object(|json| write_target(json, pod, *port)),
            CheckKind::Exec(command) => {
                json.key("exec").object(|json| write_command(json.key("command"), command));
            }
        }
        json.key("intervalSeconds").seconds(*interval);
        json.key("timeoutSeconds").seconds(*timeout);
        json.key("delaySeconds").seconds(*delay);
    });
}
