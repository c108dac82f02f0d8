//! Rows of pods, what becomes of them, and the rules they break.

use marathon_model::app::*;
use marathon_model::command::Violation;
use marathon_model::id::PathId;
use marathon_model::resources::Amounts;
use marathon_spec::{Features, Place, Rules, create_pod, validate};

fn enabled() -> Rules {
    let features = Features {
        vips: true,
        task_killing: true,
        external_volumes: true,
        secrets: true,
        gpu_resources: true,
    };
    Rules { mesos_role: "dev".into(), features, ..Rules::default() }
}

fn lines(all: Vec<Violation>) -> String {
    all.iter().map(|it| format!("{} {}", it.path, it.message)).collect::<Vec<_>>().join("; ")
}

fn post(body: &str, rules: &Rules) -> Result<AppSpec, String> {
    let update = marathon_request::pod(body.as_bytes()).unwrap_or_else(|error| panic!("{body}: {error:?}"));
    let group = update.id.parent();
    let place = Place { enforce_role: None, current_role: None, group: &group };
    let spec = create_pod(&update, rules, &place).map_err(lines)?;
    // What is accepted stands later as well.
    assert_eq!(validate(&spec, rules, &place), [], "{body}");
    Ok(spec)
}

/// A pod of one container that runs `x`, with these fields beside.
fn pod(container: &str, fields: &str) -> String {
    let comma = |text: &str| if text.is_empty() { String::new() } else { format!(",{text}") };
    format!(
        r#"{{"id":"/p","containers":[{{"name":"a","exec":{{"command":{{"shell":"x"}}}},"resources":{{"cpus":0.5,"mem":64}}{}}}]{}}}"#,
        comma(container),
        comma(fields)
    )
}

#[track_caller]
fn made(container: &str, fields: &str) -> AppSpec {
    let body = pod(container, fields);
    post(&body, &enabled()).unwrap_or_else(|error| panic!("{body}: {error}"))
}

/// Rows of fields of the container, fields of the pod, and `violations`; nothing broken reads `ok`.
#[track_caller]
fn check(rules: &Rules, rows: &[(&str, &str, &str)]) {
    for (container, fields, want) in rows {
        let body = pod(container, fields);
        let got = post(&body, rules).map_or_else(|it| it, |_| "ok".to_owned());
        assert_eq!(got, *want, "{body}");
    }
}

#[test]
fn defaults() {
    let spec = made("", "");
    let amounts = |it: &Amounts| (it.cpus.as_f64(), it.mem.as_f64(), it.disk.as_f64(), it.gpus);
    assert_eq!(amounts(&spec.resources), (0.6, 96.0, 10.0, 0), "with the executor's");
    assert_eq!(spec.executor_resources.as_ref().map(amounts), Some((0.1, 32.0, 10.0, 0)));
    assert_eq!((spec.instances, &*spec.role, spec.cmd.as_deref()), (1, "dev", None));
    assert_eq!(spec.networking, Networking::Host { ports: vec![], require_ports: false });
    let plain = AppSpec::new(spec.id.clone());
    assert_eq!(
        (spec.backoff, spec.upgrade, spec.unreachable),
        (plain.backoff, plain.upgrade, plain.unreachable)
    );

    let spec = made("", r#""executorResources":{"cpus":1,"mem":100,"disk":50},"scaling":{"instances":0}"#);
    assert_eq!(amounts(&spec.resources), (1.5, 164.0, 50.0, 0));
    assert_eq!(spec.instances, 0);

    let scheduling = r#""placement":{"acceptedResourceRoles":[],"constraints":[{"fieldName":"hostname","operator":"UNIQUE"},{"fieldName":"hostname","operator":"UNIQUE"}]}"#;
    let spec = made("", &format!(r#""scheduling":{{{scheduling}}}"#));
    assert_eq!((spec.accepted_resource_roles, spec.constraints.len()), (None, 1), "a set, and none named");
}

#[test]
fn roles_follow_the_group() {
    let update = marathon_request::pod(pod("", "").replace("/p", "/prod/p").as_bytes()).expect("right");
    let group = PathId::parse("/prod").expect("legal");
    let rules = Rules::default();
    for (enforce_role, want) in [(Some(true), "prod"), (Some(false), "*"), (None, "*")] {
        let place = Place { enforce_role, current_role: None, group: &group };
        let spec = create_pod(&update, &rules, &place).expect("right");
        assert_eq!(&*spec.role, want);
    }
}

#[test]
fn ports_of_endpoints() {
    let ports = |networks: &str, endpoint: &str| {
        let spec = made(&format!(r#""endpoints":[{{"name":"e"{endpoint}}}]"#), networks);
        let pod = spec.pod.expect("a pod");
        let (_, it) = pod.endpoints().next().expect("one");
        (it.container_port, it.host_port)
    };
    let bridge = r#""networks":[{"mode":"container/bridge"}]"#;
    let container = r#""networks":[{"mode":"container","name":"n"}]"#;
    let by_name = r#""networks":[{"mode":"container","name":"mesos-bridge"}]"#;
    for (networks, endpoint, want) in [
        ("", "", (None, Some(0))),
        (r#""networks":[{"mode":"host"}]"#, r#","hostPort":80"#, (None, Some(80))),
        (bridge, r#","containerPort":80"#, (Some(80), Some(0))),
        (bridge, "", (Some(0), Some(0))),
        (by_name, r#","containerPort":80"#, (Some(80), Some(0))),
        (container, r#","containerPort":80"#, (Some(80), None)),
        (container, r#","containerPort":80,"hostPort":0"#, (Some(80), Some(0))),
    ] {
        assert_eq!(ports(networks, endpoint), want, "{networks} {endpoint}");
    }
}

#[test]
fn rules_of_the_pod() {
    check(
        &enabled(),
        &[
            ("", "", "ok"),
            ("", r#""user":"a\u0000""#, "/user must not contain NUL characters"),
            (
                "",
                r#""environment":{"A":{"secret":"b"}}"#,
                "/environment/A/secret references an undefined secret",
            ),
            ("", r#""environment":{"A":{"secret":"b"}},"secrets":{"b":{"source":"c"}}"#, "ok"),
            (
                "",
                r#""linuxInfo":{"seccomp":{"unconfined":true}}"#,
                "/linuxInfo Seccomp configuration on executor level is not supported",
            ),
            (
                "",
                r#""linuxInfo":{"ipcInfo":{"mode":"SHARE_PARENT","shmSize":1}}"#,
                "/linuxInfo/ipcInfo ipcInfo shmSize can NOT be set when mode is SHARE_PARENT",
            ),
            (
                "",
                r#""networks":[{"mode":"host","name":"n"}]"#,
                "/networks Host networks may not have names or labels",
            ),
            (
                "",
                r#""networks":[{"mode":"container"}]"#,
                "/networks Network name must be specified when container network is selected.",
            ),
            (
                "",
                r#""networks":[{"mode":"host"},{"name":"n"}]"#,
                "/networks May specify a single host network, single bridge network, or else 1-to-n container networks",
            ),
            (
                "",
                r#""scheduling":{"upgrade":{"minimumHealthCapacity":1.5}}"#,
                "/scheduling/upgrade/minimumHealthCapacity got 1.5, expected between 0.0 and 1.0",
            ),
            (
                "",
                r#""scheduling":{"unreachableStrategy":{"inactiveAfterSeconds":2,"expungeAfterSeconds":1}}"#,
                "/scheduling/unreachableStrategy/inactiveAfterSeconds inactiveAfterSeconds (2) must be less or equal to expungeAfterSeconds, which is 1",
            ),
            (
                "",
                r#""scheduling":{"placement":{"constraints":[{"fieldName":"a","operator":"UNIQUE","value":"b"},{"fieldName":"a","operator":"LIKE","value":"("}]}}"#,
                "/scheduling/placement/constraints(0) UNIQUE does not accept a value; /scheduling/placement/constraints(1) is not a valid regular expression",
            ),
            ("", r#""role":"other""#, "/role got other, expected one of: [dev]"),
            (
                "",
                r#""scheduling":{"placement":{"acceptedResourceRoles":["other"]}}"#,
                "/scheduling/placement/acceptedResourceRoles acceptedResourceRoles can only contain * and dev",
            ),
        ],
    );
    let reserved = pod("", "").replace("/p", "/p/tasks");
    assert_eq!(
        post(&reserved, &enabled()).map(drop),
        Err("/id must not end with any of the following reserved keywords: restart, tasks, versions, ., .."
            .to_owned())
    );
    let many: Vec<String> = (0..257)
        .map(|at| format!(r#"{{"name":"c{at}","exec":{{"command":{{"shell":"x"}}}},"resources":{{}}}}"#))
        .collect();
    let body = format!(r#"{{"id":"/p","containers":[{}]}}"#, many.join(","));
    assert_eq!(
        post(&body, &enabled()).map(drop),
        Err("/containers got 257, expected 256 or less".to_owned())
    );
}

#[test]
fn rules_of_a_container() {
    let command = r#"{"id":"/p","containers":[{"name":"a","resources":{}}]}"#;
    let neither = "/containers(0) must define exec, image, or both";
    assert_eq!(post(command, &enabled()).map(drop), Err(neither.to_owned()));
    let image = command.replace("{}", r#"{},"image":{"id":"nginx"}"#);
    assert_eq!(post(&image, &enabled()).map(drop), Ok(()));
    check(
        &enabled(),
        &[
            (
                r#""resourceLimits":{"cpus":0.1,"mem":"unlimited"}"#,
                "",
                "/containers(0)/resourceLimits/cpus resource limit must be greater than or equal to requested resource (0.5)",
            ),
            (
                r#""resourceLimits":{"cpus":1}"#,
                r#""legacySharedCgroups":true"#,
                "/containers(0)/resourceLimits resourceLimits cannot be defined if legacySharedCgroups is enabled",
            ),
            (r#""resourceLimits":{"cpus":1}"#, r#""legacySharedCgroups":false"#, "ok"),
            (r#""artifacts":[{"uri":"a b"}]"#, "", "/containers(0)/artifacts(0)/uri URI has invalid syntax."),
            (
                r#""image":{"id":"x","pullConfig":{"secret":"s"}}"#,
                "",
                "/containers(0)/image/pullConfig pullConfig.secret must refer to an existing secret",
            ),
            (
                r#""environment":{"A":{"secret":"b"}}"#,
                "",
                "/containers(0)/environment/A/secret references an undefined secret",
            ),
            (
                r#""healthCheck":{"exec":{"command":{"shell":"x"}},"timeoutSeconds":60}"#,
                "",
                "/containers(0)/healthCheck/timeoutSeconds got 60, expected less than 60",
            ),
            (
                r#""check":{"exec":{"command":{"shell":"x"}},"intervalSeconds":5}"#,
                "",
                "/containers(0)/check/timeoutSeconds got 20, expected less than 5",
            ),
            (
                r#""linuxInfo":{"seccomp":{}}"#,
                "",
                "/containers(0)/linuxInfo/seccomp Seccomp unconfined must be true when Profile is NOT defined",
            ),
        ],
    );
}

#[test]
fn endpoints() {
    let container = r#""networks":[{"name":"n"},{"name":"m"}]"#;
    check(
        &enabled(),
        &[
            (
                r#""endpoints":[{"name":"e","containerPort":80}]"#,
                "",
                "/containers(0)/endpoints(0)/containerPort is not allowed when using host-mode networking",
            ),
            (
                r#""endpoints":[{"name":"e"}]"#,
                r#""networks":[{"name":"n"}]"#,
                "/containers(0)/endpoints(0)/containerPort is required when using container-mode networking",
            ),
            (
                r#""endpoints":[{"name":"e","protocol":["tcp","tcp"]}]"#,
                "",
                "/containers(0)/endpoints(0)/protocol Duplicate protocols within the same endpoint are not allowed",
            ),
            (
                r#""endpoints":[{"name":"e","containerPort":80,"hostPort":0}]"#,
                container,
                "/containers(0)/endpoints(0) networkNames must be a single item list when hostPort is specified and more than 1 container network is defined",
            ),
            (
                r#""endpoints":[{"name":"e","containerPort":80,"hostPort":0,"networkNames":["m"]}]"#,
                container,
                "ok",
            ),
            (
                r#""endpoints":[{"name":"e","containerPort":80,"networkNames":["x"]}]"#,
                container,
                "/containers(0)/endpoints(0)/networkNames(0) is not one of (n,m)",
            ),
            (
                r#""endpoints":[{"name":"e","hostPort":80},{"name":"e","hostPort":80}]"#,
                "",
                "/containers endpoint names nust be unique across all containers; /containers host ports must be unique across all containers",
            ),
            (r#""endpoints":[{"name":"e","hostPort":0},{"name":"f","hostPort":0}]"#, "", "ok"),
            (
                r#""endpoints":[{"name":"e","containerPort":80},{"name":"f","containerPort":80}]"#,
                r#""networks":[{"mode":"container/bridge"}]"#,
                "/containers container ports must be unique across all containers",
            ),
        ],
    );
    let twice = pod("", "").replace("]", r#",{"name":"a","image":{"id":"x"},"resources":{}}]"#);
    assert_eq!(
        post(&twice, &enabled()).map(drop),
        Err("/containers container names must be unique".to_owned())
    );
}

#[test]
fn volumes() {
    let mount = r#""volumeMounts":[{"name":"v","mountPath":"data"}]"#;
    check(
        &enabled(),
        &[
            (mount, r#""volumes":[{"name":"v"}]"#, "ok"),
            (mount, "", "/containers(0)/volumeMounts(0) Referenced Volume in VolumeMount should exist"),
            (
                "",
                r#""volumes":[{"name":"v"}]"#,
                "/volumes(0) volume must be referenced by at least one container",
            ),
            (
                mount,
                r#""volumes":[{"name":"v"},{"name":"v","host":"/etc"}]"#,
                "/volumes volume names must be unique",
            ),
            (
                r#""volumeMounts":[{"name":"v","mountPath":"a/../../b"}]"#,
                r#""volumes":[{"name":"v"}]"#,
                "/containers(0)/volumeMounts(0)/mountPath must not contain \"..\"",
            ),
            (
                mount,
                r#""volumes":[{"name":"v","secret":"s"}]"#,
                "/volumes(0) volume.secret must refer to an existing secret",
            ),
            (mount, r#""volumes":[{"name":"v","secret":"s"}],"secrets":{"s":{"source":"/s"}}"#, "ok"),
            (
                mount,
                r#""volumes":[{"name":"v","persistent":{"size":0,"maxSize":1,"constraints":[["path","LIKE","x"]]}}]"#,
                "/volumes(0)/persistent/size got 0, expected more than 0; /volumes(0)/persistent Constraints on root volumes are not supported; /volumes(0)/persistent Only mount volumes can have maxSize",
            ),
            (
                mount,
                r#""volumes":[{"name":"v","persistent":{"size":1}}],"scheduling":{"unreachableStrategy":{"inactiveAfterSeconds":0}}"#,
                "/scheduling/unreachableStrategy unreachableStrategy must be disabled for pods with persistent volumes",
            ),
            (
                mount,
                r#""volumes":[{"name":"v","persistent":{"size":1}}],"scheduling":{"placement":{"acceptedResourceRoles":["dev"]}}"#,
                "/scheduling/placement/acceptedResourceRoles A resident pod must have `acceptedResourceRoles = [\"*\"]`.",
            ),
        ],
    );
    let resident = pod(mount, r#""volumes":[{"name":"v","persistent":{"size":1}}]"#);
    assert_eq!(
        post(&resident, &Rules::default()).map(drop),
        Err("/role Resident pods cannot have the role *".to_owned())
    );
    let spec = post(&resident, &enabled()).expect("right");
    let upgrade = (spec.upgrade.minimum_health_capacity, spec.upgrade.maximum_over_capacity);
    assert_eq!((upgrade, spec.unreachable), ((0.5, 0.0), UnreachableStrategy::Disabled));
}

#[test]
fn features_are_off_at_first() {
    let off = |name: &str| format!("Feature {name} is not enabled. Enable with --enable_features {name})");
    let secrets = format!("/secrets {}", off("secrets"));
    let gpus = format!("/ {}", off("gpu_resources"));
    let source = r#""secrets":{"s":{"source":"/s"}}"#;
    let rules = Rules::default();
    check(&rules, &[("", source, &secrets)]);
    let body = pod("", "").replace(r#""mem":64"#, r#""mem":64,"gpus":1"#);
    assert_eq!(post(&body, &rules).map(drop), Err(gpus));
    let volume = pod(
        r#""volumeMounts":[{"name":"v","mountPath":"data"}]"#,
        &format!(r#"{source},"volumes":[{{"name":"v","secret":"s"}}]"#),
    );
    assert_eq!(post(&volume, &rules).map(drop), Err(format!("{secrets}; /volumes {}", off("secrets"))));
}
