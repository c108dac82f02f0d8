//! Rows of bodies and what reading them gives.

use marathon_model::app::*;
use marathon_model::id::PathId;
use marathon_model::update::{AppUpdate, NetworkMode};
use marathon_request::{BadRequest, Mode, app, apps};

fn text(error: BadRequest) -> String {
    let lines = |kind: &str, all: Vec<marathon_model::command::Violation>| {
        all.iter().map(|it| format!("{kind} {} {}", it.path, it.message)).collect::<Vec<_>>().join("; ")
    };
    match error {
        BadRequest::Syntax { details } => format!("syntax {details}"),
        BadRequest::Empty { details } => format!("empty {details}"),
        BadRequest::Shape(all) => lines("shape", all),
        BadRequest::Invalid(all) => lines("rule", all),
        BadRequest::Illegal(message) => format!("illegal {message}"),
        BadRequest::Bad(message) => format!("bad {message}"),
    }
}

#[track_caller]
fn check(mode: Mode, rows: &[(&str, &str)]) {
    for (body, want) in rows {
        let got = app(body.as_bytes(), mode).map_or_else(text, |_| "ok".to_owned());
        assert_eq!(got, *want, "{body}");
    }
}

#[track_caller]
fn read(mode: Mode, body: &str) -> AppUpdate {
    app(body.as_bytes(), mode).unwrap_or_else(|error| panic!("{body}: {}", text(error)))
}

#[test]
fn what_is_no_json_says_where() {
    check(
        Mode::Create,
        &[
            ("", "empty No content to map due to end-of-input"),
            (" \n", "empty No content to map due to end-of-input"),
            ("{", "syntax EOF while parsing an object at line 1 column 1"),
            ("{\"id\":\n  oops}", "syntax expected value at line 2 column 3"),
            ("[]", "shape / error.expected.jsobject"),
            ("7", "shape / error.expected.jsobject"),
        ],
    );
    let deep = "[".repeat(100_000);
    assert!(matches!(app(deep.as_bytes(), Mode::Create), Err(BadRequest::Syntax { .. })));
}

#[test]
fn shapes_are_judged_with_their_paths() {
    check(
        Mode::Create,
        &[
            (r#"{"cmd":"x y"}"#, r#"shape /id 'id' is undefined on object: {"cmd":"x y"}"#),
            (r#"{"id":null}"#, r#"shape /id 'id' is undefined on object: {"id":null}"#),
            (r#"{"id":"/A_b","cmd":"x y"}"#, "shape /id error.pattern"),
            (r#"{"id":""}"#, "shape /id error.minLength"),
            (r#"{"id":"a","cpus":"1"}"#, "shape /cpus error.expected.jsnumber"),
            (r#"{"id":"a","cpus":0}"#, "shape /cpus error.min"),
            (r#"{"id":"a","mem":-1,"disk":-0.5}"#, "shape /mem error.min; shape /disk error.min"),
            (r#"{"id":"a","instances":-1}"#, "shape /instances error.min"),
            (r#"{"id":"a","instances":2.5}"#, "shape /instances error.expected.int"),
            (r#"{"id":"a","instances":3000000000}"#, "shape /instances error.expected.int"),
            (r#"{"id":"a","instances":2.0,"cpus":1,"mem":64.5}"#, "ok"),
            (r#"{"id":"a","gpus":"x"}"#, "shape /gpus error.expected.jsnumber"),
            (
                r#"{"id":"a","cmd":7,"args":"x"}"#,
                "shape /cmd error.expected.jsstring; shape /args error.expected.jsarray",
            ),
            (r#"{"id":"a","cmd":""}"#, "shape /cmd error.minLength"),
            (r#"{"id":"a","args":["x",1]}"#, "shape /args(1) error.expected.jsstring"),
            (r#"{"id":"a","env":{"A":1}}"#, "shape /env/A error.expected.jsstring"),
            (r#"{"id":"a","env":{"A":{}}}"#, "shape /env/A/secret error.path.missing"),
            (r#"{"id":"a","secrets":{"s":{"source":""}}}"#, "shape /secrets/s/source error.minLength"),
            (r#"{"id":"a","labels":[]}"#, "shape /labels error.expected.jsobject"),
            (r#"{"id":"a","executor":"//cmd"}"#, "ok"),
            (r#"{"id":"a","executor":"/opt//x"}"#, "shape /executor error.pattern"),
            (r#"{"id":"a","executorResources":{"cpus":0.05}}"#, "shape /executorResources/cpus error.min"),
            (
                r#"{"id":"a","backoffFactor":0.5,"backoffSeconds":-1}"#,
                "shape /backoffSeconds error.min; shape /backoffFactor error.min",
            ),
            (r#"{"id":"a","requirePorts":"true"}"#, "shape /requirePorts error.expected.jsboolean"),
            (
                r#"{"id":"a","portDefinitions":[{"port":70000},{"name":"A"}]}"#,
                "shape /portDefinitions(0)/port error.max; shape /portDefinitions(1)/name error.pattern",
            ),
            (
                r#"{"id":"a","portDefinitions":[{"protocol":"sctp"}]}"#,
                "shape /portDefinitions(0)/protocol error.unknown.enum.literal",
            ),
            (
                r#"{"id":"a","networks":[{"mode":"bridge"}]}"#,
                "shape /networks(0)/mode error.unknown.enum.literal",
            ),
            (r#"{"id":"a","networks":[{"name":"UP"}]}"#, "shape /networks(0)/name error.pattern"),
            (r#"{"id":"a","container":{"docker":{}}}"#, "shape /container/docker/image error.path.missing"),
            (r#"{"id":"a","container":{"docker":7}}"#, "shape /container/docker error.expected.jsobject"),
            (
                r#"{"id":"a","container":{"volumes":[{"containerPath":"/x","mode":"RX","hostPath":"/y"}]}}"#,
                "shape /container/volumes(0)/mode error.unknown.enum.literal",
            ),
            (
                r#"{"id":"a","container":{"volumes":[{"containerPath":"/x","hostPath":"/y"}]}}"#,
                "shape /container/volumes(0)/mode error.path.missing",
            ),
            (
                r#"{"id":"a","container":{"volumes":[{"containerPath":"x","persistent":{"size":1.5}}]}}"#,
                "shape /container/volumes(0)/persistent/size error.expected.long",
            ),
            (
                r#"{"id":"a","healthChecks":[{"path":1}]}"#,
                "shape /healthChecks(0)/path error.expected.jsstring",
            ),
            (
                r#"{"id":"a","healthChecks":[{"protocol":"COMMAND"}]}"#,
                "shape /healthChecks(0)/command error.path.missing",
            ),
            (
                r#"{"id":"a","readinessChecks":[{"timeoutSeconds":0,"httpStatusCodesForReady":[99]}]}"#,
                "shape /readinessChecks(0)/timeoutSeconds error.min; shape /readinessChecks(0)/httpStatusCodesForReady(0) error.min",
            ),
            (
                r#"{"id":"a","fetch":[{"uri":""},{}]}"#,
                "shape /fetch(0)/uri error.minLength; shape /fetch(1)/uri error.path.missing",
            ),
            (r#"{"id":"a","dependencies":["B"]}"#, "shape /dependencies(0) error.pattern"),
            (r#"{"id":"a","killSelection":"none"}"#, "shape /killSelection error.unknown.enum.literal"),
            (
                r#"{"id":"a","unreachableStrategy":"never"}"#,
                "shape /unreachableStrategy error.unknown.enum.literal",
            ),
            (
                r#"{"id":"a","upgradeStrategy":{"minimumHealthCapacity":"x"}}"#,
                "shape /upgradeStrategy/minimumHealthCapacity error.expected.jsnumber",
            ),
            (
                r#"{"id":"a","acceptedResourceRoles":[""],"role":""}"#,
                "shape /acceptedResourceRoles(0) error.minLength; shape /role error.minLength",
            ),
            (
                r#"{"id":"a","cmd":null,"env":null,"healthChecks":null,"container":null,"nonsense":[1,{}]}"#,
                "ok",
            ),
        ],
    );
}

#[test]
fn rules_of_the_text() {
    check(
        Mode::Create,
        &[
            (
                r#"{"id":"a","constraints":[["hostname"]]}"#,
                "rule /constraints(0) Each constraint must have either 2 or 3 fields",
            ),
            // Judged with everything else.
            (r#"{"id":"a","constraints":[["a","UNIQUE"],["b","FOO"]]}"#, "ok"),
            (r#"{"id":"a","constraints":[["hostname","unique",""]]}"#, "ok"),
            (
                r#"{"id":"a","resourceLimits":{"cpus":"many"}}"#,
                "rule /resourceLimits/cpus 'many' is an invalid resource limit. It must be 'unlimited' or a number",
            ),
            (r#"{"id":"a","resourceLimits":{"cpus":"unlimited","mem":256}}"#, "ok"),
            (
                r#"{"id":"a","unreachableStrategy":{"inactiveAfterSeconds":-3}}"#,
                "rule /unreachableStrategy/inactiveAfterSeconds inactiveAfterSeconds (-3) must be greater than or equal to 0",
            ),
            (r#"{"id":"a","check":{}}"#, "rule /check Only one of http, tcp, or exec may be specified"),
            (r#"{"id":"a","check":{"http":{"path":""}}}"#, "shape /check/http/path error.minLength"),
            (
                r#"{"id":"a","check":{"tcp":{},"exec":{"command":{"shell":"x"}}}}"#,
                "rule /check Only one of http, tcp, or exec may be specified",
            ),
            (
                r#"{"id":"a","container":{"volumes":[{"containerPath":"x","mode":"RW","external":{"name":"n"}}]}}"#,
                "rule /container/volumes(0)/external/provider not defined",
            ),
            (
                r#"{"id":"a","container":{"volumes":[{"containerPath":"x","persistent":{"size":1,"constraints":[[],["path","NO","x"],["disk","LIKE"]]}}]}}"#,
                "rule /container/volumes(0)/persistent/constraints(0) Missing field and operator; rule /container/volumes(0)/persistent/constraints(1) unknown constraint operator NO; rule /container/volumes(0)/persistent/constraints(2) Unsupported constraint disk,LIKE",
            ),
        ],
    );
}

#[test]
fn old_and_new_forms_exclude_each_other() {
    check(
        Mode::Create,
        &[
            (
                r#"{"id":"a","uris":["http://x/a.tgz"],"fetch":[{"uri":"http://x/b"}]}"#,
                "rule /uris may not be set in conjunction with fetch",
            ),
            (r#"{"id":"a","uris":["http://x/b"],"fetch":[{"uri":"http://x/b"}]}"#, "ok"),
            (r#"{"id":"a","ports":[1,1,0,0]}"#, "rule / ports must be unique"),
            (
                r#"{"id":"a","ports":[1],"portDefinitions":[{"port":2}]}"#,
                "rule / cannot specify both ports and port definitions",
            ),
            (r#"{"id":"a","ports":[1],"portDefinitions":[{"port":1,"name":"x"}]}"#, "ok"),
            (r#"{"id":"a","ports":[],"portDefinitions":[{"port":1,"name":"x"}]}"#, "ok"),
            (
                r#"{"id":"a","networks":[{"mode":"host"}],"container":{"docker":{"image":"x","network":"HOST"}}}"#,
                "rule / must not specify both container.docker.network and networks",
            ),
            (
                r#"{"id":"a","networks":[{"mode":"host"}],"ipAddress":{}}"#,
                "rule / must not specify both networks and ipAddress",
            ),
            (r#"{"id":"a","ipAddress":{},"ports":[0]}"#, "rule / cannot specify both an IP address and port"),
            (
                r#"{"id":"a","container":{"docker":{"image":"x","network":"NONE"}}}"#,
                "rule /container/docker/network unsupported docker network type NONE",
            ),
            (
                r#"{"id":"a","container":{"docker":{"image":"x","credential":{"principal":"p"}}}}"#,
                "rule /container/docker/credential must be empty",
            ),
            (
                r#"{"id":"a","container":{"type":"MESOS","docker":{"image":"x","network":"HOST","parameters":[{"key":"k","value":"v"}]}}}"#,
                "rule /container/docker/network must be empty; rule /container/docker/parameters must be empty",
            ),
            (
                r#"{"id":"a","container":{"docker":{"image":"x","portMappings":[{"containerPort":1}]},"portMappings":[{"containerPort":2}]}}"#,
                "rule /container/docker/portMappings cannot specify both portMappings and docker.portMappings",
            ),
            (
                r#"{"id":"a","container":{"docker":{"image":"x"}},"ipAddress":{"discovery":{"ports":[{"number":1,"name":"x"}]}}}"#,
                "rule /ipAddress ipAddress/discovery is not allowed for Docker containers",
            ),
            // Contradictions of a complete app are settled by dropping what does not fit.
            (
                r#"{"id":"a","networks":[{"mode":"container","name":"n"}],"portDefinitions":[{"port":0}]}"#,
                "ok",
            ),
        ],
    );
    check(
        Mode::Update,
        &[
            (
                r#"{"networks":[{"mode":"container","name":"n"}],"portDefinitions":[{"port":0}]}"#,
                "rule / portDefinitions are only allowed with host-networking",
            ),
            (
                r#"{"networks":[{"mode":"host"}],"container":{"docker":{"image":"x"},"portMappings":[{}]}}"#,
                "rule / portMappings are not allowed with host-networking",
            ),
            (
                r#"{"ports":[0],"container":{"docker":{"image":"x","network":"BRIDGE","portMappings":[{}]}}}"#,
                "ok",
            ),
        ],
    );
}

#[test]
fn a_version_stands_alone() {
    let alone = "rule / The 'version' field may only be combined with the 'id' field.";
    check(
        Mode::Update,
        &[
            (r#"{"version":"2020-01-01T00:00:00.000Z"}"#, "ok"),
            (r#"{"version":"2020-01-01T00:00:00.000Z","id":"/a"}"#, "ok"),
            (r#"{"version":"2020-01-01T00:00:00.000Z","cmd":"x"}"#, alone),
            (r#"{"version":"2020-01-01T00:00:00.000Z","ports":[]}"#, alone),
            (r#"{"version":"2020-01-01T00:00:00.000Z","versionInfo":{},"tasks":[],"deployments":[]}"#, "ok"),
            (r#"{"version":"yesterday"}"#, "shape /version error.expected.date.isoformat"),
        ],
    );
    let body = r#"{"id":"/a","cmd":"x","version":"2020-01-01T00:00:00.000Z"}"#;
    assert_eq!(read(Mode::Create, body).version, None);
    assert_eq!(read(Mode::Replace, body).version, None);
    for mode in [Mode::Create, Mode::Replace] {
        let no_time = r#"{"id":"/a","cmd":"x","version":"foo"}"#;
        check(mode, &[(no_time, "shape /version error.expected.date.isoformat")]);
    }
    let only = r#"{"version":"2020-01-01T00:00:00.000Z"}"#;
    assert!(read(Mode::Update, only).version.is_some());
}

#[test]
fn a_whole_answer_can_be_sent_back() {
    let body = r#"{
        "id":"/a","backoffFactor":1.15,"backoffSeconds":1,"cmd":"sleep 100","cpus":1.0,"disk":0.0,"executor":"",
        "instances":1,"labels":{},"maxLaunchDelaySeconds":300,"mem":128.0,"gpus":0,"networks":[{"mode":"host"}],
        "portDefinitions":[{"port":10000,"name":"default","protocol":"tcp"}],"requirePorts":false,
        "upgradeStrategy":{"maximumOverCapacity":1.0,"minimumHealthCapacity":1.0},
        "versionInfo":{"lastScalingAt":"x","lastConfigChangeAt":"y"},
        "killSelection":"YOUNGEST_FIRST","unreachableStrategy":{"inactiveAfterSeconds":0,"expungeAfterSeconds":0},
        "role":"*","tasksStaged":0,"tasksRunning":1,"tasksHealthy":0,"tasksUnhealthy":0,"deployments":[],
        "tasks":[{"id":"a"}],"lastTaskFailure":{"x":1},"residency":{"taskLostBehavior":"WAIT_FOREVER"}}"#;
    for mode in [Mode::Create, Mode::Update, Mode::Replace] {
        assert_eq!(read(mode, body).cmd.as_deref(), Some("sleep 100"));
    }
    // 0.13 to 1.4 wrote nulls and both spellings.
    let old = r#"{"id":"/a","cmd":"x","args":null,"user":null,"uris":[],"fetch":[],"storeUrls":[],"ports":[10000],
        "container":{"type":"DOCKER","volumes":[],"docker":{"image":"nginx","network":"BRIDGE","portMappings":
        [{"containerPort":80,"hostPort":0,"servicePort":10001,"protocol":"tcp"}],"privileged":false,"parameters":[]}},
        "acceptedResourceRoles":null,"ipAddress":null,"upgradeStrategy":{"minimumHealthCapacity":0.5}}"#;
    let app = read(Mode::Update, old);
    assert_eq!(app.networks.as_ref().map(|it| it[0].mode), Some(NetworkMode::Bridge));
    let mappings = app.container.and_then(|it| it.port_mappings);
    assert_eq!(mappings.map(|it| (it[0].container_port, it[0].service_port)), Some((80, 10001)));
    assert_eq!(app.upgrade.and_then(|it| it.maximum_over_capacity), None);
}

#[test]
fn old_networks_are_translated() {
    let rows = [
        (r#""container":{"docker":{"image":"x","network":"HOST"}}"#, "Host - {}"),
        (r#""container":{"docker":{"image":"x","network":"bridge"}}"#, "Bridge - {}"),
        (r#""container":{"docker":{"image":"x","network":"USER"}}"#, "Container - {}"),
        (
            r#""container":{"docker":{"image":"x","network":"USER"}},"ipAddress":{"networkName":"n","labels":{"a":"b"}}"#,
            r#"Container n {"a": "b"}"#,
        ),
        (r#""ipAddress":{"networkName":"n"}"#, "Container n {}"),
        (
            r#""container":{"docker":{"image":"x","network":"BRIDGE"}},"ipAddress":{"labels":{"a":"b"}}"#,
            r#"Bridge - {"a": "b"}"#,
        ),
    ];
    for (body, want) in rows {
        let app = read(Mode::Create, &format!(r#"{{"id":"a","cmd":"x",{body}}}"#));
        let network = &app.networks.as_ref().expect(body)[0];
        let name = network.name.as_deref().unwrap_or("-");
        assert_eq!(format!("{:?} {name} {:?}", network.mode, network.labels), want, "{body}");
    }
    let app = read(
        Mode::Create,
        r#"{"id":"a","cmd":"x","ipAddress":{"discovery":{"ports":[{"number":80,"name":"web","protocol":"udp"}]}}}"#,
    );
    let container = app.container.expect("an address implies a container");
    assert_eq!(container.kind, ContainerKind::Mesos);
    let port = &container.port_mappings.expect("discovery gives ports")[0];
    assert_eq!((port.container_port, port.host_port, port.protocol), (80, None, Protocol::Udp));
}

#[test]
fn uris_become_fetches() {
    let app = read(
        Mode::Create,
        r#"{"id":"a","uris":["http://x/a.tar.gz","http://x/b.sh","http://x/c.ZIP"],"fetch":[]}"#,
    );
    let fetch = app.fetch.expect("uris were given");
    assert_eq!(fetch.iter().map(|it| it.extract).collect::<Vec<_>>(), [true, false, false]);
}

#[test]
fn defaults_of_nested_objects() {
    let app = read(
        Mode::Create,
        r#"{"id":"a","healthChecks":[{}],"readinessChecks":[{}],"fetch":[{"uri":"x"}],
            "check":{"http":{"path":"/p"}},"executorResources":{},"container":{}}"#,
    );
    let health = &app.health_checks.expect("given")[0];
    let seconds = [health.check.grace, health.check.interval, health.check.timeout, health.check.delay];
    assert_eq!(seconds.map(|it| it.as_secs()), [300, 60, 20, 15]);
    assert_eq!((health.check.max_failures, health.port_and_index), (3, false));
    assert!(matches!(
        health.check.kind,
        HealthKind::Http { https: false, by_engine: false, path: None, port: CheckPort::Index(0), .. }
    ));
    let ready = &app.readiness_checks.expect("given")[0];
    assert_eq!(
        (ready.name.as_str(), ready.path.as_str(), ready.port_name.as_str()),
        ("readinessCheck", "/", "http-api")
    );
    assert_eq!(
        (ready.interval.as_secs(), ready.timeout.as_secs(), &ready.ready_codes[..]),
        (30, 10, &[200][..])
    );
    let fetch = &app.fetch.expect("given")[0];
    assert_eq!((fetch.extract, fetch.executable, fetch.cache), (true, false, false));
    let executor = app.executor_resources.expect("given");
    assert_eq!([executor.cpus, executor.mem, executor.disk].map(|it| it.as_f64()), [0.1, 32.0, 10.0]);
    assert_eq!(app.container.map(|it| it.kind), Some(ContainerKind::Docker));
}

#[test]
fn words_are_read_in_any_case() {
    let app = read(
        Mode::Create,
        r#"{"id":"a","healthChecks":[{"protocol":"mesos_https","port":443,"portIndex":1}],
            "killSelection":"oldest_first","networks":[{"mode":"Container/Bridge"}],"unreachableStrategy":"DISABLED",
            "constraints":[["rack","group_by","3"]],"portDefinitions":[{"protocol":"tcp,udp"}]}"#,
    );
    let health = &app.health_checks.expect("given")[0];
    assert!(health.port_and_index);
    assert!(matches!(health.check.kind, HealthKind::Http { https: true, by_engine: true, .. }));
    assert_eq!(app.kill_selection, Some(KillSelection::OldestFirst));
    assert_eq!(app.unreachable, Some(UnreachableStrategy::Disabled));
    assert_eq!(app.constraints.expect("given")[0].operator, Operator::GroupBy);
    assert_eq!(app.port_definitions.expect("given")[0].protocol, Protocol::UdpTcp);
}

#[test]
fn lists_of_apps_name_each() {
    let rows = [
        (r#"[{"id":"/a","instances":1},{"id":"b"}]"#, "/a /b"),
        (r#"[{"instances":1}]"#, "illegal requirement failed: App Update must have app id set"),
        (r#"{"id":"/a"}"#, "shape / error.expected.jsarray"),
        (r#"[{"id":"/a","cpus":"x"}]"#, "shape (0)/cpus error.expected.jsnumber"),
        ("[]", ""),
    ];
    for (body, want) in rows {
        let got = match apps(body.as_bytes(), Mode::Update) {
            Ok(all) => all
                .iter()
                .map(|it| it.id.as_ref().map(ToString::to_string).unwrap_or_default())
                .collect::<Vec<_>>()
                .join(" "),
            Err(error) => text(error),
        };
        assert_eq!(got, want, "{body}");
    }
}

#[test]
fn complaints_are_bounded() {
    let many = format!(r#"{{"id":"a","args":[{}1]}}"#, "1,".repeat(50_000));
    match app(many.as_bytes(), Mode::Create) {
        Err(BadRequest::Shape(all)) => assert!(all.len() <= 1000, "{}", all.len()),
        other => panic!("{other:?}"),
    }
    let long = format!(r#"{{"cmd":"{}"}}"#, "ä".repeat(100_000));
    match app(long.as_bytes(), Mode::Create) {
        Err(BadRequest::Shape(all)) => assert!(all[0].message.len() < 4096),
        other => panic!("{other:?}"),
    }
}

#[test]
fn dependencies_resolve_as_ids_do() {
    let body = r#"{"id":"/q/a","dependencies":["x","../y","/z/","b/./c"]}"#;
    assert_eq!(read(Mode::Create, body).dependencies.expect("given"), ["/x", "/y", "/z", "/b/c"]);
    assert_eq!(read(Mode::Update, body).dependencies.expect("given"), ["/x", "/y", "/z", "/b/c"]);
    let group = format!(r#"{{"id":"/q","apps":[{body}]}}"#);
    let group = marathon_request::group(group.as_bytes(), &PathId::root()).expect("a group");
    let app = &group.apps.expect("given")[0];
    assert_eq!(app.dependencies.as_ref().expect("given"), &["/q/x", "/y", "/z", "/q/b/c"]);
}
