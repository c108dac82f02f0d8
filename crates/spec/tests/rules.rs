//! Rows of JSON and the rules they break.

use marathon_model::app::*;
use marathon_model::command::Violation;
use marathon_model::id::PathId;
use marathon_model::resources::Role;
use marathon_request::Mode;
use marathon_spec::{Features, Pattern, Place, RoleBehavior, Rules, accepted_roles, create, merge, validate};

const ALL_FEATURES: Features =
    Features { vips: true, task_killing: true, external_volumes: true, secrets: true, gpu_resources: true };

fn path(text: &str) -> PathId {
    PathId::parse(text).expect("a legal path")
}

fn enabled() -> Rules {
    Rules { features: ALL_FEATURES, ..Rules::default() }
}

/// Rules under which apps with persistent volumes are possible at all.
fn as_dev() -> Rules {
    Rules { mesos_role: "dev".into(), ..enabled() }
}

fn lines(all: Vec<Violation>) -> String {
    all.iter().map(|it| format!("{} {}", it.path, it.message)).collect::<Vec<_>>().join("; ")
}

fn post(body: &str, rules: &Rules) -> Result<AppSpec, String> {
    let update = marathon_request::app(body.as_bytes(), Mode::Create)
        .unwrap_or_else(|error| panic!("{body}: {error:?}"));
    let id = update.id.clone().expect("required when created");
    let group = id.parent();
    let place = Place { enforce_role: None, current_role: None, group: &group };
    create(id, &update, rules, &place).map_err(lines)
}

fn put(current: &AppSpec, body: &str, rules: &Rules) -> Result<AppSpec, String> {
    let update = marathon_request::app(body.as_bytes(), Mode::Update)
        .unwrap_or_else(|error| panic!("{body}: {error:?}"));
    let group = current.id.parent();
    let place = Place { enforce_role: None, current_role: Some(&current.role), group: &group };
    merge(current, &update, rules, &place).map_err(lines)
}

/// Rows of `fields of an app besides its id` and `violations`; nothing broken reads `ok`.
#[track_caller]
fn check(rules: &Rules, rows: &[(&str, &str)]) {
    for (fields, want) in rows {
        let got =
            post(&format!(r#"{{"id":"/a",{fields}}}"#), rules).map_or_else(|it| it, |_| "ok".to_owned());
        assert_eq!(got, *want, "{fields}");
    }
}

#[test]
fn ids() {
    let reserved =
        "/id must not end with any of the following reserved keywords: restart, tasks, versions, ., ..";
    for (id, want) in [
        ("/a", "ok"),
        ("/a/restart", reserved),
        ("/tasks", reserved),
        ("/tasks/a", "ok"),
        ("/versions", reserved),
        ("/", "/ must not be root; /id Path must contain at least one path element"),
    ] {
        let body = format!(r#"{{"id":"{id}","cmd":"x"}}"#);
        assert_eq!(post(&body, &Rules::default()).map_or_else(|it| it, |_| "ok".to_owned()), want, "{id}");
    }
}

#[test]
fn names_fit_into_the_ids_of_tasks() {
    let id = |length: usize| format!("/{}", "a".repeat(length - 1));
    let too_long = |length: usize, most: usize| {
        format!(
            "/id is {length} characters long, must not be longer than {most}: the ids of its tasks contain it and have at most 255"
        )
    };
    for (length, more, want) in [
        (194, "", "ok".to_owned()),
        (195, "", too_long(195, 194)),
        (194, r#","executor":"/x""#, too_long(194, 185)),
        (194, r#","executor":"//cmd""#, "ok".to_owned()),
        (300, "", too_long(300, 194)),
    ] {
        let body = format!(r#"{{"id":"{}","cmd":"x"{more}}}"#, id(length));
        let got = post(&body, &Rules::default()).map_or_else(|it| it, |_| "ok".to_owned());
        assert_eq!(got, want, "{length} {more}");
    }
    // `--executor`, for apps that name none.
    let rules = Rules { executor: Some("/x".to_owned()), ..Rules::default() };
    for (more, want) in [("", too_long(194, 185)), (r#","executor":"//cmd""#, "ok".to_owned())] {
        let body = format!(r#"{{"id":"{}","cmd":"x"{more}}}"#, id(194));
        let got = post(&body, &rules).map_or_else(|it| it, |_| "ok".to_owned());
        assert_eq!(got, want, "{more}");
    }
    let volume = |length: usize, name: &str| {
        format!(
            r#"{{"id":"{}","cmd":"x","container":{{"type":"MESOS","volumes":[{{"containerPath":"{name}","mode":"RW","persistent":{{"size":1}}}}]}}}}"#,
            id(length)
        )
    };
    let at = "/container/volumes(0)/containerPath";
    let long =
        format!("{at} is too long: with the id of the app the id of the volume has more than 255 characters");
    let odd = format!("{at} must contain neither \"\\\" nor control characters");
    for (length, name, want) in [
        (2, "a".repeat(216), "ok"),
        (2, "a".repeat(217), &long),
        (194, "a".repeat(24), "ok"),
        (194, "a".repeat(25), &long),
        (2, "a\\\\b".to_owned(), &odd),
        (2, "a\\u0007".to_owned(), &odd),
    ] {
        let got = post(&volume(length, &name), &as_dev()).map_or_else(|it| it, |_| "ok".to_owned());
        assert_eq!(got, want, "{length} {name}");
    }
}

#[test]
fn commands() {
    let either = "/ AppDefinition must either contain one of 'cmd' or 'args', and/or a 'container'.";
    let image = r#""container":{"docker":{"image":"nginx"}}"#;
    check(
        &Rules::default(),
        &[
            (r#""labels":{}"#, either),
            (r#""cmd":"sleep 1""#, "ok"),
            (r#""cmd":"w""#, "ok"),
            (r#""args":["x"]"#, "ok"),
            (r#""args":[]"#, either),
            (r#""cmd":"x","args":["x"]"#, either),
            (image, "ok"),
            (&format!(r#"{image},"cmd":"x","args":["x"]"#), either),
            (r#""container":{"type":"MESOS"}"#, either),
            (r#""container":{"type":"MESOS","docker":{"image":"x"}}"#, "ok"),
            (r#""cmd":"a\u0000b""#, "/cmd must not contain NUL characters"),
            (r#""args":["a","\u0000"]"#, "/args(1) must not contain NUL characters"),
        ],
    );
}

#[test]
fn environment_and_secrets() {
    let off = "/env use of secret-references in the environment requires the secrets feature to be enabled";
    check(
        &Rules::default(),
        &[
            (r#""cmd":"x","env":{"A":{"secret":"s"}}"#, off),
            (
                r#""cmd":"x","secrets":{"s":{"source":"p"}}"#,
                "/secrets Feature secrets is not enabled. Enable with --enable_features secrets)",
            ),
            (r#""cmd":"x","env":{"":"v"}"#, "/env must not be empty"),
            (r#""cmd":"x","env":{"A B-c":"v"}"#, "ok"),
        ],
    );
    check(
        &enabled(),
        &[
            (r#""cmd":"x","env":{"A":{"secret":"s"}}"#, "/env/A/secret references an undefined secret"),
            (r#""cmd":"x","env":{"A":{"secret":"s"}},"secrets":{"s":{"source":"p"}}"#, "ok"),
        ],
    );
}

#[test]
fn resources() {
    let off = "/ Feature gpu_resources is not enabled. Enable with --enable_features gpu_resources)";
    check(
        &Rules::default(),
        &[
            (r#""cmd":"x","gpus":1"#, off),
            (
                r#""cmd":"x","cpus":2,"resourceLimits":{"cpus":1}"#,
                "/resourceLimits/cpus resource limit must be greater than or equal to requested resource (2.0)",
            ),
            (
                r#""cmd":"x","mem":64.5,"resourceLimits":{"cpus":"unlimited","mem":64}"#,
                "/resourceLimits/mem resource limit must be greater than or equal to requested resource (64.5)",
            ),
            (r#""cmd":"x","cpus":2,"resourceLimits":{"cpus":2,"mem":"unlimited"}"#, "ok"),
        ],
    );
    check(
        &enabled(),
        &[
            (r#""cmd":"x","gpus":1"#, "ok"),
            (
                r#""gpus":1,"container":{"docker":{"image":"x"}}"#,
                "/ GPU resources only work with the Mesos containerizer",
            ),
        ],
    );
}

#[test]
fn constraints() {
    let rows = [
        (r#"["hostname","UNIQUE"]"#, ""),
        (r#"["hostname","UNIQUE","x"]"#, "UNIQUE does not accept a value"),
        (r#"["rack","CLUSTER"]"#, ""),
        (r#"["rack","CLUSTER","r1"]"#, ""),
        (r#"["rack","GROUP_BY"]"#, ""),
        (r#"["rack","GROUP_BY","3"]"#, ""),
        (r#"["rack","GROUP_BY","x"]"#, "GROUP BY must define an integer value or else no value at all"),
        (r#"["rack","MAX_PER","2"]"#, ""),
        (r#"["rack","MAX_PER"]"#, "MAX_PER requires an integer value"),
        (r#"["rack","MAX_PER","2.5"]"#, "MAX_PER requires an integer value"),
        (r#"["rack","LIKE","(?i)r[0-9]+"]"#, ""),
        (r#"["rack","LIKE"]"#, "LIKE and UNLIKE require a non-empty, regular expression value"),
        (r#"["rack","UNLIKE",""]"#, "LIKE and UNLIKE require a non-empty, regular expression value"),
        (r#"["rack","UNLIKE","("]"#, "is not a valid regular expression"),
        (r#"["rack","LIKE","(((a{100}){100}){100}){100}"]"#, "is not a valid regular expression"),
        (r#"["os","IS","linux/x_1.0"]"#, ""),
        (
            r#"["os","IS"]"#,
            "IS only supports Mesos text and float values (see http://mesos.apache.org/documentation/latest/attributes-resources/)",
        ),
        (
            r#"["os","IS","a b"]"#,
            "IS only supports Mesos text and float values (see http://mesos.apache.org/documentation/latest/attributes-resources/)",
        ),
        (r#"["","UNIQUE"]"#, "missing field for constraint declaration"),
        (
            r#"["rack","FOO","x"]"#,
            "operator must be one of the following UNIQUE, CLUSTER, GROUP_BY, LIKE, MAX_PER, UNLIKE or IS",
        ),
    ];
    for (constraint, want) in rows {
        let want = if want.is_empty() { "ok".to_owned() } else { format!("/constraints(0) {want}") };
        check(&Rules::default(), &[(&format!(r#""cmd":"x","constraints":[{constraint}]"#), &want)]);
    }
    // One that is unknown hides none of the others, nor what else is wrong.
    let several = "/constraints(0) operator must be one of the following UNIQUE, CLUSTER, GROUP_BY, LIKE, MAX_PER, UNLIKE or IS; \
        /constraints(1) MAX_PER requires an integer value; /upgradeStrategy/minimumHealthCapacity got 2.0, expected between 0.0 and 1.0";
    let app = r#""cmd":"x","constraints":[["a","FOO"],["b","MAX_PER"]],"upgradeStrategy":{"minimumHealthCapacity":2}"#;
    check(&Rules::default(), &[(app, several)]);
    let twice = r#"{"id":"/a","cmd":"x","constraints":[["a","UNIQUE"],["b","UNIQUE"],["a","UNIQUE"]]}"#;
    assert_eq!(post(twice, &Rules::default()).expect("valid").constraints.len(), 2);
}

#[test]
fn patterns_cover_the_whole_value() {
    for (pattern, text, want) in [
        ("a|b", "a", true),
        ("a|b", "ab", false),
        ("b", "abc", false),
        ("(?i)EU-.*", "eu-west", true),
        ("(?x) a # a remark", "a", true),
        ("a$", "a\n", false),
    ] {
        assert_eq!(Pattern::new(pattern).expect(pattern).is_match(text), want, "{pattern} {text}");
    }
    for pattern in ["(", "a)(b", "(?=a)"] {
        assert!(Pattern::new(pattern).is_err(), "{pattern}");
    }
}

#[test]
fn uris() {
    let good = [
        "http://x/a.tgz",
        "https://u:p@h:80/p?q=[1]#f",
        "file:///a/b",
        "/etc/a",
        "a/b",
        "hdfs:///x",
        "mailto:a@b",
        "http://x/%20",
        "http://x/ä",
        "s3://b/k",
        "http://[::1]/x",
    ];
    let bad = [
        "http://x/a b",
        "%zz",
        "http://",
        "1x:y",
        "a|b",
        "http://x/[a]",
        "x:",
        "http://x/%4",
        "a#b#c",
        "<a>",
    ];
    for (all, want) in [(&good[..], "ok"), (&bad[..], "/fetch(0)/uri URI has invalid syntax.")] {
        for uri in all {
            check(&Rules::default(), &[(&format!(r#""cmd":"x","fetch":[{{"uri":"{uri}"}}]"#), want)]);
        }
    }
}

#[test]
fn networks() {
    let mixed = "/networks May specify a single host network, single bridge network, or else 1-to-n container networks";
    let docker = r#""container":{"docker":{"image":"x"}}"#;
    let mappings = |it: &str| {
        format!(r#""container":{{"type":"MESOS","docker":{{"image":"x"}},"portMappings":[{it}]}}"#)
    };
    let two = r#""networks":[{"name":"m"},{"name":"n"}]"#;
    check(
        &Rules::default(),
        &[
            (
                r#""cmd":"x","networks":[{"mode":"host","name":"n"}]"#,
                "/networks Host networks may not have names or labels",
            ),
            (
                r#""cmd":"x","networks":[{"mode":"host","labels":{"a":"b"}}]"#,
                "/networks Host networks may not have names or labels",
            ),
            (
                &format!(r#"{docker},"networks":[{{"mode":"container/bridge","name":"n"}}]"#),
                "/networks Bridge networks may not have names",
            ),
            (r#""cmd":"x","networks":[{"mode":"host"},{"mode":"host"}]"#, mixed),
            (r#""cmd":"x","networks":[{"mode":"host"},{"name":"n"}]"#, mixed),
            (r#""cmd":"x","networks":[{"mode":"container/bridge"},{"mode":"container/bridge"}]"#, mixed),
            (
                r#""cmd":"x","networks":[{"name":"n"},{"name":"n"}]"#,
                "/networks Duplicate networks are not allowed",
            ),
            (
                r#""cmd":"x","networks":[{"mode":"container"}]"#,
                "/networks Network name must be specified when container network is selected.",
            ),
            (&format!(r#""cmd":"x",{two}"#), "ok"),
            (
                &format!("{docker},{two}"),
                "/ may only specify a single container network when using the Docker container engine",
            ),
            (
                &format!(r#"{},{two}"#, mappings(r#"{"hostPort":0}"#)),
                "/container/portMappings(0) networkNames must be a single item list when hostPort is specified and more than 1 container network is defined",
            ),
            (&format!(r#"{},{two}"#, mappings(r#"{"hostPort":0,"networkNames":["m"]}"#)), "ok"),
            (
                &format!(r#"{},{two}"#, mappings(r#"{"networkNames":["m","o"]}"#)),
                "/container/portMappings(0)/networkNames(1) is not one of (m,n)",
            ),
            (
                &format!(r#"{},{two}"#, mappings(r#"{"name":"x"},{"name":"x"}"#)),
                "/container/portMappings Port names must be unique.",
            ),
            (
                r#""cmd":"x","portDefinitions":[{"port":1},{"port":1},{"port":0},{"port":0}]"#,
                "/portDefinitions Ports must be unique.",
            ),
            (
                r#""cmd":"x","portDefinitions":[{"name":"x"},{"name":"x"}]"#,
                "/portDefinitions Port names must be unique.",
            ),
        ],
    );
    let named = Rules { default_network_name: Some("dcos".to_owned()), ..Rules::default() };
    check(
        &named,
        &[
            (r#""cmd":"x","networks":[{"mode":"container"}]"#, "ok"),
            (r#""cmd":"x","networks":[{},{}]"#, "/networks Duplicate networks are not allowed"),
        ],
    );
}

#[test]
fn checks() {
    let port =
        "Health check port indices must address an element of the ports array or container port mappings.";
    let ipv6 = "IPv6 can only be used for container type DOCKER and Mesos http/https/tcp health checks";
    let ready = r#""cmd":"x","portDefinitions":[{"name":"http-api"}],"readinessChecks""#;
    check(
        &Rules::default(),
        &[
            (r#""cmd":"x","healthChecks":[{}]"#, "ok"),
            (r#""cmd":"x","portDefinitions":[],"healthChecks":[{}]"#, &format!("/healthChecks(0) {port}")),
            (r#""cmd":"x","portDefinitions":[],"healthChecks":[{"port":80}]"#, "ok"),
            (
                r#""cmd":"x","healthChecks":[{},{"protocol":"TCP","portIndex":1}]"#,
                &format!("/healthChecks(1) {port}"),
            ),
            (
                r#""cmd":"x","healthChecks":[{"port":80,"portIndex":0}]"#,
                "/healthChecks(0) HealthCheck must specify either a port or a portIndex",
            ),
            (r#""cmd":"x","healthChecks":[{"ipProtocol":"IPv6"}]"#, &format!("/healthChecks(0) {ipv6}")),
            (
                r#""container":{"docker":{"image":"x"}},"healthChecks":[{"protocol":"MESOS_TCP","ipProtocol":"IPv6"}]"#,
                "ok",
            ),
            (
                r#""cmd":"x","healthChecks":[{"protocol":"MESOS_TCP"},{"protocol":"MESOS_HTTP"}]"#,
                "/ AppDefinition can contain at most one Mesos health check",
            ),
            (
                r#""cmd":"x","healthChecks":[{"protocol":"COMMAND","command":{"value":"a"}},{"protocol":"COMMAND","command":{"value":"b"}}]"#,
                "ok",
            ),
            (
                r#""container":{"docker":{"image":"x"}},"check":{"exec":{"command":{"shell":"x"}}}"#,
                "/ AppDefinition must not use 'checks' if using docker",
            ),
            (
                r#""cmd":"x","check":{"tcp":{"portIndex":3}}"#,
                "/check check port index must address an element of the ports array or container port mappings.",
            ),
            (&format!("{ready}:[{{}}]"), "ok"),
            (&format!("{ready}:[{{}},{{}}]"), "/readinessChecks got 2, expected 1 or less"),
            (
                &format!(r#"{ready}:[{{"intervalSeconds":30,"timeoutSeconds":30}}]"#),
                "/readinessChecks(0)/timeoutSeconds got 30, expected less than 30",
            ),
            (
                &format!(r#"{ready}:[{{"portName":"x"}}]"#),
                "/readinessChecks(0)/portName No port definition reference for portName x",
            ),
        ],
    );
}

#[test]
fn strategies() {
    let single = r#""cmd":"x","labels":{"MARATHON_SINGLE_INSTANCE_APP":"true"}"#;
    let zero = r#""upgradeStrategy":{"minimumHealthCapacity":0,"maximumOverCapacity":0}"#;
    let both = "/upgradeStrategy/minimumHealthCapacity got 1.0, expected 0.0; /upgradeStrategy/maximumOverCapacity got 1.0, expected 0.0";
    let dcos = "/ DCOS_PACKAGE_FRAMEWORK_NAME and DCOS_MIGRATION_API_PATH must be defined when using DCOS_MIGRATION_API_VERSION";
    check(
        &Rules::default(),
        &[
            (
                r#""cmd":"x","upgradeStrategy":{"minimumHealthCapacity":1.2,"maximumOverCapacity":-0.1}"#,
                "/upgradeStrategy/minimumHealthCapacity got 1.2, expected between 0.0 and 1.0; /upgradeStrategy/maximumOverCapacity got -0.1, expected between 0.0 and 1.0",
            ),
            (single, both),
            (&format!("{single},{zero}"), "ok"),
            (
                &format!(r#"{single},{zero},"instances":2"#),
                "/ Single instance app may only have one instance",
            ),
            (r#""cmd":"x","labels":{"DCOS_MIGRATION_API_VERSION":"v1"}"#, dcos),
            (
                r#""cmd":"x","labels":{"DCOS_MIGRATION_API_VERSION":"v2","DCOS_PACKAGE_FRAMEWORK_NAME":"f","DCOS_MIGRATION_API_PATH":"p"}"#,
                dcos,
            ),
            (
                r#""cmd":"x","labels":{"DCOS_MIGRATION_API_VERSION":"v1","DCOS_PACKAGE_FRAMEWORK_NAME":"f","DCOS_MIGRATION_API_PATH":"p"}"#,
                "ok",
            ),
            (
                r#""cmd":"x","unreachableStrategy":{"inactiveAfterSeconds":9,"expungeAfterSeconds":8}"#,
                "/unreachableStrategy/inactiveAfterSeconds inactiveAfterSeconds (9) must be less or equal to expungeAfterSeconds, which is 8",
            ),
            (r#""cmd":"x","unreachableStrategy":{"inactiveAfterSeconds":8,"expungeAfterSeconds":8}"#, "ok"),
        ],
    );
}

#[test]
fn containers() {
    check(
        &enabled(),
        &[
            (r#""cmd":"x","container":{"type":"DOCKER"}"#, "/container/docker not defined"),
            (r#""container":{"docker":{"image":""}}"#, "/container/docker/image must not be empty"),
            (
                r#""container":{"docker":{"image":"x","pullConfig":{"secret":"s"}}}"#,
                "/container/docker/pullConfig pullConfig is not supported with Docker containerizer",
            ),
            (
                r#""container":{"type":"MESOS","docker":{"image":"x","pullConfig":{"secret":"s"}}}"#,
                "/container/docker/pullConfig pullConfig.secret must refer to an existing secret",
            ),
            (
                r#""cmd":"x","container":{"type":"MESOS","linuxInfo":{"seccomp":{"profileName":"p","unconfined":true}}}"#,
                "/container/linuxInfo/seccomp Seccomp unconfined can NOT be true when Profile is defined",
            ),
            (
                r#""cmd":"x","container":{"type":"MESOS","linuxInfo":{"seccomp":{}}}"#,
                "/container/linuxInfo/seccomp Seccomp unconfined must be true when Profile is NOT defined",
            ),
            (
                r#""cmd":"x","container":{"type":"MESOS","linuxInfo":{"ipcInfo":{"mode":"SHARE_PARENT","shmSize":1}}}"#,
                "/container/linuxInfo/ipcInfo ipcInfo shmSize can NOT be set when mode is SHARE_PARENT",
            ),
            (
                r#""container":{"docker":{"image":"x"},"linuxInfo":{"seccomp":{"unconfined":true}}}"#,
                "/container/linuxInfo is only supported with the Mesos containerizer",
            ),
        ],
    );
}

#[test]
fn persistent_volumes() {
    let app = |volume: &str| {
        format!(r#""cmd":"x","container":{{"type":"MESOS","volumes":[{{"mode":"RW",{volume}}}]}}"#)
    };
    let at = "/container/volumes(0)";
    let rows = [
        (r#""containerPath":"d","persistent":{"size":1}"#, "ok".to_owned()),
        (
            r#""containerPath":"d/e","persistent":{"size":1}"#,
            format!("{at}/containerPath value must not contain \"/\""),
        ),
        (
            r#""containerPath":"..","persistent":{"size":1}"#,
            format!("{at}/containerPath can not be one of (.,..)"),
        ),
        (
            r#""containerPath":"d","persistent":{"size":0}"#,
            format!("{at}/persistent/size got 0, expected more than 0"),
        ),
        (
            r#""containerPath":"d","persistent":{"size":1,"constraints":[["path","LIKE","x"]]}"#,
            format!("{at}/persistent Constraints on root volumes are not supported"),
        ),
        (
            r#""containerPath":"d","persistent":{"size":1,"maxSize":2}"#,
            format!("{at}/persistent Only mount volumes can have maxSize"),
        ),
        (
            r#""containerPath":"d","persistent":{"size":2,"maxSize":2,"type":"mount"}"#,
            format!("{at}/persistent Max size must be larger than size"),
        ),
        (r#""containerPath":"d","persistent":{"size":2,"maxSize":3,"profileName":"fast"}"#, "ok".to_owned()),
        (
            r#""containerPath":"d","persistent":{"size":1,"type":"path","constraints":[["path","LIKE","("]]}"#,
            format!("{at}/persistent/constraints(0) Invalid regular expression"),
        ),
        (
            r#""containerPath":"d","persistent":{"size":1,"type":"path","constraints":[["path","IS","x"]]}"#,
            format!("{at}/persistent/constraints(0) Operator must be one of LIKE, UNLIKE"),
        ),
    ];
    for (volume, want) in rows {
        check(&as_dev(), &[(&app(volume), &want)]);
    }
    let good = app(rows_first());
    check(
        &as_dev(),
        &[
            (&good.replace(r#""mode":"RW""#, r#""mode":"RO""#), &format!("{at}/mode got RO, expected RW")),
            (
                &format!(r#"{good},"unreachableStrategy":{{}}"#),
                "/ unreachableStrategy must be disabled for resident tasks",
            ),
            (
                &format!(r#"{good},"upgradeStrategy":{{"maximumOverCapacity":0.1}}"#),
                "/upgradeStrategy/maximumOverCapacity got 0.1, expected 0.0",
            ),
            (
                &format!(r#"{good},"acceptedResourceRoles":["dev"]"#),
                r#"/acceptedResourceRoles A resident app must have `acceptedResourceRoles = ["*"]`."#,
            ),
        ],
    );
    check(&Rules::default(), &[(&good, "/role Resident apps cannot have the role *")]);

    let resident = post(&format!(r#"{{"id":"/a",{good}}}"#), &as_dev()).expect("valid");
    let UpgradeStrategy { minimum_health_capacity, maximum_over_capacity } = resident.upgrade;
    assert_eq!((minimum_health_capacity, maximum_over_capacity), (0.5, 0.0));
    assert_eq!(resident.unreachable, UnreachableStrategy::Disabled);
    assert_eq!(accepted_roles(&resident, &as_dev()), [Role::from("*")]);
}

fn rows_first() -> &'static str {
    r#""containerPath":"d","persistent":{"size":1}"#
}

#[test]
fn external_volumes() {
    let app = |engine: &str, mode: &str, external: &str| {
        format!(
            r#""cmd":"x","container":{{"type":"{engine}","docker":{{"image":"x"}},"volumes":[{{"containerPath":"/d","mode":"{mode}","external":{{{external}}}}}]}}"#
        )
    };
    let dvdi = r#""name":"v","provider":"dvdi","options":{"dvdi/driver":"rexray"}"#;
    let csi = |mode: &str| {
        format!(
            r#""name":"v","provider":"csi","options":{{"pluginName":"p","capability":{{"accessType":"mount","accessMode":"{mode}"}}}}"#
        )
    };
    let at = "/container/volumes(0)";
    let secret = r#""cmd":"x","container":{"type":"MESOS","volumes":[{"containerPath":"s","secret":"s"}]}"#;
    let off = "Feature external_volumes is not enabled. Enable with --enable_features external_volumes)";
    check(&Rules::default(), &[(&app("MESOS", "RW", dvdi), &format!("{at} {off}"))]);
    let over = |app: String| format!(r#"{app},"upgradeStrategy":{{"maximumOverCapacity":0.1}}"#);
    let volume = format!(r#"{{"containerPath":"/d","mode":"RW","external":{{{dvdi}}}}}"#);
    let twice = format!(r#""cmd":"x","container":{{"type":"MESOS","volumes":[{volume},{volume}]}}"#);
    let many = |app: String| format!(r#"{app},"instances":2"#);
    check(
        &enabled(),
        &[
            (&app("MESOS", "RW", dvdi), "ok"),
            (
                &app("MESOS", "RW", r#""name":"V","provider":"dvdi","options":{"dvdi/driver":"x"}"#),
                &format!(
                    "{at}/external/name must fully match regular expression '^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?$'"
                ),
            ),
            (
                &app("MESOS", "RW", r#""name":"v","provider":"nfs""#),
                &format!("{at}/external/provider is unknown provider"),
            ),
            (
                &app("MESOS", "RW", r#""name":"v","provider":"dvdi""#),
                &format!("{at}/external/options/dvdi/driver not defined"),
            ),
            (
                &app(
                    "DOCKER",
                    "RW",
                    r#""name":"v","provider":"dvdi","size":1,"options":{"dvdi/driver":"x","a/b":"c"}"#,
                ),
                &format!(
                    "{at}/external/options must only contain dvdi/driver; {at}/external/size must be undefined for Docker containers"
                ),
            ),
            (
                &many(app("MESOS", "RW", dvdi)),
                "/ Number of instances is limited to 1 when declaring DVDI volumes in app [/a]",
            ),
            (&many(app("MESOS", "RW", &format!(r#"{dvdi},"shared":true"#))), "ok"),
            (&over(app("MESOS", "RW", dvdi)), "/upgradeStrategy/maximumOverCapacity got 0.1, expected 0.0"),
            (&over(app("MESOS", "RW", &format!(r#"{dvdi},"shared":true"#))), "ok"),
            (
                &over(app("MESOS", "RW", &csi("SINGLE_NODE_WRITER"))),
                "/upgradeStrategy/maximumOverCapacity got 0.1, expected 0.0",
            ),
            (&over(app("MESOS", "RO", &csi("MULTI_NODE_READER_ONLY"))), "ok"),
            (
                &twice,
                "/container/volumes Volume names must be unique; / Requested DVDI volume 'v' is declared more than once within app /a",
            ),
            (&app("MESOS", "RW", &csi("SINGLE_NODE_WRITER")), "ok"),
            (
                &app("MESOS", "RW", &csi("MULTI_NODE_READER_ONLY")),
                &format!("{at}/mode CSI volume must be mounted readonly with a read-only access mode"),
            ),
            (
                &many(app("MESOS", "RW", &csi("SINGLE_NODE_WRITER"))),
                "/instances got 2, expected 1 or less while non-shareable CSI volumes are defined",
            ),
            (
                &many(app("MESOS", "RW", &csi("MULTI_NODE_SINGLE_WRITER"))),
                "/instances got 2, expected 1 or less while a multi-node single-writer volume is defined mounted as read/write",
            ),
            (&many(app("MESOS", "RO", &csi("MULTI_NODE_SINGLE_WRITER"))), "ok"),
            (secret, &format!("{at} volume.secret must refer to an existing secret")),
            (&format!(r#"{secret},"secrets":{{"s":{{"source":"x"}}}}"#), "ok"),
        ],
    );
}

#[test]
fn roles() {
    /// Id, fields, `enforceRole`, current role, and then the role or the violations.
    type Row = (&'static str, &'static str, Option<bool>, Option<&'static str>, &'static str);
    let rows: [Row; 12] = [
        ("/a", "", None, None, "dev"),
        ("/g/a", "", None, None, "dev"),
        ("/g/a", "", Some(false), None, "dev"),
        ("/g/a", "", Some(true), None, "g"),
        ("/g/h/a", "", Some(true), None, "g"),
        ("/a", r#","role":"x""#, None, None, "/role got x, expected one of: [dev]"),
        ("/a", r#","role":"x""#, None, Some("x"), "x"),
        ("/g/a", r#","role":"g""#, Some(false), None, "g"),
        ("/g/a", r#","role":"x""#, Some(false), None, "/role got x, expected one of: [dev, g]"),
        ("/g/a", r#","role":"dev""#, Some(true), Some("old"), "/role got dev, expected one of: [g, old]"),
        (
            "/g/a",
            r#","role":"-/x y""#,
            Some(false),
            Some("-/x y"),
            r"/role A role name must not start with a '-'.; /role A role name must not include a space (\x20) character.; /role A role name must not include a slash (\x2f) character.",
        ),
        (
            "/g/a",
            r#","acceptedResourceRoles":["g","*"]"#,
            Some(false),
            None,
            "/acceptedResourceRoles acceptedResourceRoles can only contain * and dev",
        ),
    ];
    for (id, fields, enforce_role, current, want) in rows {
        let body = format!(r#"{{"id":"{id}","cmd":"x"{fields}}}"#);
        let update = marathon_request::app(body.as_bytes(), Mode::Create).expect("well-formed");
        let current = current.map(Role::from);
        let group = path(id).parent();
        let place = Place { enforce_role, current_role: current.as_ref(), group: &group };
        let got = create(path(id), &update, &as_dev(), &place).map_or_else(lines, |it| it.role.to_string());
        assert_eq!(got, want, "{body}");
    }
    let top = Rules { new_group_enforce_role: true, ..as_dev() };
    assert_eq!(&*post(r#"{"id":"/g/a","cmd":"x"}"#, &top).expect("valid").role, "g");
    assert_eq!(&*post(r#"{"id":"/a","cmd":"x"}"#, &top).expect("valid").role, "dev");
    check(
        &as_dev(),
        &[(r#""cmd":"x","acceptedResourceRoles":[]"#, "/acceptedResourceRoles must not be empty")],
    );
}

#[test]
fn accepted_role_sets() {
    let set = |rules: &Rules, body: &str| {
        let app = post(body, rules).expect("valid");
        accepted_roles(&app, rules).iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    };
    let behaving = |role_behavior| Rules { role_behavior, ..as_dev() };
    let plain = r#"{"id":"/a","cmd":"x"}"#;
    let chosen = r#"{"id":"/a","cmd":"x","acceptedResourceRoles":["dev"]}"#;
    assert_eq!(set(&Rules::default(), plain), "*");
    assert_eq!(set(&as_dev(), plain), "*,dev");
    assert_eq!(set(&behaving(RoleBehavior::Unreserved), plain), "*");
    assert_eq!(set(&behaving(RoleBehavior::Reserved), plain), "dev");
    assert_eq!(set(&behaving(RoleBehavior::Unreserved), chosen), "dev");
    let flagged = Rules { default_accepted_roles: Some(vec!["dev".into()]), ..as_dev() };
    assert_eq!(set(&flagged, plain), "dev");
    assert_eq!(set(&flagged, r#"{"id":"/a","cmd":"x","acceptedResourceRoles":["*"]}"#), "*");
}

#[test]
fn an_answer_names_every_broken_rule() {
    check(
        &Rules::default(),
        &[(
            r#""gpus":1,"constraints":[["a","MAX_PER"]],"fetch":[{"uri":"a b"}]"#,
            "/ AppDefinition must either contain one of 'cmd' or 'args', and/or a 'container'.; / Feature gpu_resources is not enabled. Enable with --enable_features gpu_resources); /constraints(0) MAX_PER requires an integer value; /fetch(0)/uri URI has invalid syntax.",
        )],
    );
}

#[test]
fn a_merge_keeps_strategies_that_no_longer_fit() {
    let plain = post(r#"{"id":"/a","cmd":"x"}"#, &as_dev()).expect("valid");
    let body = r#"{"container":{"type":"MESOS","volumes":[{"containerPath":"d","persistent":{"size":1}}]}}"#;
    assert_eq!(
        put(&plain, body, &as_dev()),
        Err("/upgradeStrategy/maximumOverCapacity got 1.0, expected 0.0; / unreachableStrategy must be disabled for resident tasks".to_owned())
    );
}

#[test]
fn an_empty_command_is_none() {
    let update = marathon_model::update::AppUpdate { cmd: Some(String::new()), ..Default::default() };
    let root = PathId::root();
    let place = Place { enforce_role: None, current_role: None, group: &root };
    let got = create(path("/a"), &update, &Rules::default(), &place).map_err(lines);
    assert_eq!(got, Err("/ must not be an empty string".to_owned()));
}

#[test]
fn stored_definitions_are_judged_again() {
    let app = post(
        r#"{"id":"/a","cmd":"x","env":{"A":{"secret":"s"}},"secrets":{"s":{"source":"p"}}}"#,
        &enabled(),
    )
    .expect("valid");
    let root = PathId::root();
    let place = Place { enforce_role: None, current_role: None, group: &root };
    assert_eq!(validate(&app, &enabled(), &place), []);
    assert!(!validate(&app, &Rules::default(), &place).is_empty());
    assert_eq!(put(&app, "{}", &enabled()).expect("valid"), app);
}
