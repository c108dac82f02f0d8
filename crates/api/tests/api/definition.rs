use std::collections::BTreeMap;
use std::time::Duration;

use expect_test::{Expect, expect};
use marathon_api::app::write_app;
use marathon_api::json::Json;
use marathon_model::app::serde_json_text::JsonText;
use marathon_model::app::*;
use marathon_model::resources::{Amounts, Milli};
use marathon_testkit::{app, at, path};

fn check(edit: impl FnOnce(&mut AppSpec), want: Expect) {
    let app = app("/a").spec(edit).build();
    crate::check(Json::text(|json| write_app(json, app.spec.as_ref().unwrap())), want);
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn mapping(container_port: u16, host_port: Option<u16>, name: Option<&str>) -> PortMapping {
    PortMapping {
        container_port,
        host_port,
        service_port: 10_001,
        protocol: Protocol::Tcp,
        name: name.map(str::to_owned),
        labels: Labels::new(),
        network_names: Vec::new(),
    }
}

fn health(kind: HealthKind) -> HealthCheck {
    HealthCheck {
        kind,
        grace: seconds(300),
        interval: seconds(60),
        timeout: seconds(20),
        delay: seconds(15),
        max_failures: 3,
        ipv6: false,
    }
}

/// The example of the reference: what `{"id":"/a","cmd":"sleep 100"}` becomes.
#[test]
fn the_smallest_app() {
    check(
        |_| {},
        expect![[r#"
        {"id":"/a","backoffFactor":1.15,"backoffSeconds":1,"cmd":"sleep 100","cpus":1.0,"disk":0.0,
        "executor":"","instances":1,"labels":{},"maxLaunchDelaySeconds":300,"mem":128.0,"gpus":0,
        "networks":[{"mode":"host"}],"portDefinitions":[{"port":10000,"name":"default","protocol":"tcp"}],
        "requirePorts":false,"upgradeStrategy":{"maximumOverCapacity":1.0,"minimumHealthCapacity":1.0},
        "version":"2021-03-04T09:10:11.120Z","versionInfo":{"lastScalingAt":"2021-03-04T09:10:11.120Z",
        "lastConfigChangeAt":"2021-03-04T09:10:11.120Z"},"killSelection":"YOUNGEST_FIRST",
        "unreachableStrategy":{"inactiveAfterSeconds":0,"expungeAfterSeconds":0},"role":"*"}"#]],
    );
}

#[test]
fn everything_set() {
    check(
        |spec| {
            spec.args = vec!["-v".into()];
            spec.user = Some("www".into());
            spec.env = BTreeMap::from([
                ("A".into(), EnvValue::Text("1 \"quoted\"".into())),
                ("B".into(), EnvValue::Secret("pw".into())),
            ]);
            spec.secrets = BTreeMap::from([("pw".into(), "/db/password".into())]);
            spec.labels = labels(&[("tier", "web")]);
            spec.executor = "//cmd".into();
            spec.instances = 3;
            let amounts =
                |cpus, mem, disk| Amounts { cpus: Milli(cpus), mem: Milli(mem), disk: Milli(disk), gpus: 2 };
            spec.resources = amounts(100, 64_500, 10_000);
            spec.resource_limits = Some(ResourceLimits {
                cpus: Some(Limit::Unlimited),
                mem: Some(Limit::Amount(Milli(128_000))),
            });
            spec.executor_resources = Some(amounts(100, 32_000, 10_000));
            let constraint = |field: &str, operator, value: Option<&str>| Constraint {
                field: field.into(),
                operator,
                value: value.map(str::to_owned),
            };
            spec.constraints = vec![
                constraint("hostname", Operator::Unique, None),
                constraint("rack", Operator::GroupBy, Some("3")),
                constraint("@zone", Operator::Is, Some("a")),
            ];
            spec.accepted_resource_roles = Some(vec!["*".into()]);
            spec.fetch = vec![Fetch {
                uri: "http://h/x.tgz".into(),
                extract: true,
                executable: false,
                cache: false,
                dest_path: Some("y".into()),
            }];
            let port = |port, protocol, name: Option<&str>, labels| PortDefinition {
                port,
                protocol,
                name: name.map(str::to_owned),
                labels,
            };
            spec.networking = Networking::Host {
                ports: vec![
                    port(10_000, Protocol::Tcp, Some("http"), labels(&[("VIP_0", "/a:80")])),
                    port(10_001, Protocol::UdpTcp, None, Labels::new()),
                ],
                require_ports: true,
            };
            spec.health_checks = vec![health(HealthKind::Http {
                https: false,
                by_engine: false,
                path: Some("/health".into()),
                port: CheckPort::Index(0),
                ignore_1xx: false,
            })];
            spec.check = Some(Check {
                kind: CheckKind::Exec(CheckCommand::Shell("true".into())),
                interval: seconds(60),
                timeout: seconds(20),
                delay: seconds(15),
            });
            spec.readiness_checks = vec![ReadinessCheck {
                name: "ready".into(),
                https: false,
                path: "/".into(),
                port_name: "http".into(),
                interval: seconds(30),
                timeout: seconds(10),
                ready_codes: vec![200, 204],
                preserve_last_response: true,
            }];
            spec.backoff = Backoff { initial: Duration::from_millis(1500), factor: 2.0, max: seconds(60) };
            spec.upgrade = UpgradeStrategy { minimum_health_capacity: 0.5, maximum_over_capacity: 0.0 };
            spec.dependencies = vec![path("/db")];
            spec.kill_selection = KillSelection::OldestFirst;
            spec.kill_grace = Some(seconds(5));
            spec.unreachable = UnreachableStrategy::Disabled;
            spec.tty = Some(true);
            spec.role = "dev".into();
            spec.last_scaling_at = at(7);
        },
        expect![[r#"
            {"id":"/a","acceptedResourceRoles":["*"],"args":["-v"],"backoffFactor":2.0,"backoffSeconds":1.5,
            "cmd":"sleep 100","constraints":[["hostname","UNIQUE"],["rack","GROUP_BY","3"],["@zone",
            "IS","a"]],"cpus":0.1,"dependencies":["/db"],"disk":10.0,"env":{"A":"1 \"quoted\"",
            "B":{"secret":"pw"}},"executor":"//cmd","executorResources":{"cpus":0.1,"mem":32.0,
            "disk":10.0},"fetch":[{"uri":"http://h/x.tgz","extract":true,"executable":false,"cache":false,
            "destPath":"y"}],"healthChecks":[{"gracePeriodSeconds":300,"ignoreHttp1xx":false,
            "intervalSeconds":60,"maxConsecutiveFailures":3,"path":"/health","portIndex":0,"protocol":"HTTP",
            "ipProtocol":"IPv4","timeoutSeconds":20,"delaySeconds":15}],"check":{"exec":{"command":{"shell":"true"}},
            "intervalSeconds":60,"timeoutSeconds":20,"delaySeconds":15},"instances":3,"labels":{"tier":"web"},
            "maxLaunchDelaySeconds":60,"mem":64.5,"gpus":2,"networks":[{"mode":"host"}],"portDefinitions":[{"port":10000,
            "labels":{"VIP_0":"/a:80"},"name":"http","protocol":"tcp"},{"port":10001,"protocol":"udp,tcp"}],
            "readinessChecks":[{"name":"ready","protocol":"HTTP","path":"/","portName":"http",
            "intervalSeconds":30,"timeoutSeconds":10,"httpStatusCodesForReady":[200,204],"preserveLastResponse":true}],
            "resourceLimits":{"cpus":"unlimited","mem":128.0},"requirePorts":true,"secrets":{"pw":{"source":"/db/password"}},
            "taskKillGracePeriodSeconds":5,"upgradeStrategy":{"maximumOverCapacity":0.0,"minimumHealthCapacity":0.5},
            "user":"www","version":"2021-03-04T09:10:11.120Z","versionInfo":{"lastScalingAt":"2021-03-04T09:10:18.120Z",
            "lastConfigChangeAt":"2021-03-04T09:10:11.120Z"},"killSelection":"OLDEST_FIRST","unreachableStrategy":"disabled",
            "tty":true,"role":"dev"}"#]],
    );
}

#[test]
fn a_docker_app_on_the_bridge() {
    check(
        |spec| {
            spec.cmd = None;
            spec.networking = Networking::Bridge {
                labels: Labels::new(),
                mappings: vec![mapping(80, Some(0), Some("web")), mapping(0, None, None)],
            };
            spec.container = Some(Container {
                kind: ContainerKind::Docker,
                docker: Some(DockerImage {
                    image: "nginx:1.19".into(),
                    force_pull: false,
                    privileged: false,
                    parameters: vec![("hostname".into(), "h".into())],
                    pull_secret: None,
                }),
                volumes: vec![Volume {
                    container_path: "/data".into(),
                    read_only: true,
                    source: VolumeSource::Host { host_path: "/srv/data".into() },
                }],
                linux: None,
            });
        },
        expect![[r#"
            {"id":"/a","backoffFactor":1.15,"backoffSeconds":1,"container":{"type":"DOCKER","docker":{"forcePullImage":false,
            "image":"nginx:1.19","parameters":[{"key":"hostname","value":"h"}],"privileged":false},
            "volumes":[{"containerPath":"/data","hostPath":"/srv/data","mode":"RO"}],"portMappings":[{"containerPort":80,
            "hostPort":0,"labels":{},"name":"web","protocol":"tcp","servicePort":10001},{"containerPort":0,
            "labels":{},"protocol":"tcp","servicePort":10001}]},"cpus":1.0,"disk":0.0,"executor":"",
            "instances":1,"labels":{},"maxLaunchDelaySeconds":300,"mem":128.0,"gpus":0,"networks":[{"mode":"container/bridge"}],
            "requirePorts":false,"upgradeStrategy":{"maximumOverCapacity":1.0,"minimumHealthCapacity":1.0},
            "version":"2021-03-04T09:10:11.120Z","versionInfo":{"lastScalingAt":"2021-03-04T09:10:11.120Z",
            "lastConfigChangeAt":"2021-03-04T09:10:11.120Z"},"killSelection":"YOUNGEST_FIRST",
            "unreachableStrategy":{"inactiveAfterSeconds":0,"expungeAfterSeconds":0},"role":"*"}"#]],
    );
}

#[test]
fn container_networks_and_every_kind_of_volume() {
    check(
        |spec| {
            spec.networking = Networking::Container {
                networks: vec![
                    ContainerNetwork { name: "one".into(), labels: labels(&[("a", "b")]) },
                    ContainerNetwork { name: "two".into(), labels: Labels::new() },
                ],
                mappings: vec![PortMapping {
                    protocol: Protocol::Udp,
                    labels: labels(&[("c", "d")]),
                    network_names: vec!["one".into()],
                    ..mapping(53, Some(53), None)
                }],
            };
            let volume = |container_path: &str, source| Volume {
                container_path: container_path.into(),
                read_only: false,
                source,
            };
            let external = |provider: &str, options: &str| VolumeSource::External {
                name: "v".into(),
                provider: provider.into(),
                size: (provider == "dvdi").then_some(10),
                options: JsonText(options.into()),
                shared: false,
            };
            spec.container = Some(Container {
                kind: ContainerKind::Mesos,
                docker: Some(DockerImage {
                    image: "i".into(),
                    force_pull: true,
                    privileged: true,
                    parameters: Vec::new(),
                    pull_secret: Some("pull".into()),
                }),
                volumes: vec![
                    volume(
                        "data",
                        VolumeSource::Persistent {
                            kind: DiskKind::Mount,
                            size: 100,
                            max_size: Some(200),
                            profile: Some("fast".into()),
                            constraints: vec![Constraint {
                                field: "path".into(),
                                operator: Operator::Like,
                                value: Some("/x".into()),
                            }],
                        },
                    ),
                    volume("/e", external("dvdi", "{\n  \"dvdi/driver\": \"rexray\"\n}")),
                    volume("/broken", external("dvdi", "no json")),
                    volume("/c", external("csi", r#"{"pluginName":"p"}"#)),
                    volume("/s", VolumeSource::Secret { secret: "pw".into() }),
                ],
                linux: Some(LinuxInfo {
                    seccomp: Some(Seccomp { profile: Some("p".into()), unconfined: false }),
                    ipc: Some(Ipc { private: true, shm_size: Some(64) }),
                }),
            });
        },
        expect![[r#"
            {"id":"/a","backoffFactor":1.15,"backoffSeconds":1,"cmd":"sleep 100","container":{"type":"MESOS",
            "docker":{"forcePullImage":true,"image":"i","parameters":[],"privileged":true,"pullConfig":{"secret":"pull"}},
            "volumes":[{"containerPath":"data","persistent":{"type":"mount","size":100,"maxSize":200,
            "profileName":"fast","constraints":[["path","LIKE","/x"]]},"mode":"RW"},{"containerPath":"/e",
            "external":{"size":10,"name":"v","provider":"dvdi","options":{"dvdi/driver":"rexray"},
            "shared":false},"mode":"RW"},{"containerPath":"/broken","external":{"size":10,"name":"v",
            "provider":"dvdi","options":{},"shared":false},"mode":"RW"},{"containerPath":"/c",
            "external":{"name":"v","provider":"csi","options":{"pluginName":"p"}},"mode":"RW"},
            {"containerPath":"/s","secret":"pw"}],"portMappings":[{"containerPort":53,"hostPort":53,
            "labels":{"c":"d"},"protocol":"udp","servicePort":10001,"networkNames":["one"]}],
            "linuxInfo":{"seccomp":{"profileName":"p","unconfined":false},"ipcInfo":{"mode":"PRIVATE",
            "shmSize":64}}},"cpus":1.0,"disk":0.0,"executor":"","instances":1,"labels":{},"maxLaunchDelaySeconds":300,
            "mem":128.0,"gpus":0,"networks":[{"name":"one","mode":"container","labels":{"a":"b"}},
            {"name":"two","mode":"container"}],"residency":{"relaunchEscalationTimeoutSeconds":0,
            "taskLostBehavior":"WAIT_FOREVER"},"requirePorts":false,"upgradeStrategy":{"maximumOverCapacity":1.0,
            "minimumHealthCapacity":1.0},"version":"2021-03-04T09:10:11.120Z","versionInfo":{"lastScalingAt":"2021-03-04T09:10:11.120Z",
            "lastConfigChangeAt":"2021-03-04T09:10:11.120Z"},"killSelection":"YOUNGEST_FIRST",
            "unreachableStrategy":{"inactiveAfterSeconds":0,"expungeAfterSeconds":0},"role":"*"}"#]],
    );
}

/// The mappings of an app without a container still have to be somewhere.
#[test]
fn mappings_without_a_container() {
    check(
        |spec| {
            let networks = vec![ContainerNetwork { name: "n".into(), labels: Labels::new() }];
            spec.networking = Networking::Container { networks, mappings: vec![mapping(80, None, None)] };
        },
        expect![[r#"
            {"id":"/a","backoffFactor":1.15,"backoffSeconds":1,"cmd":"sleep 100","container":{"type":"MESOS",
            "volumes":[],"portMappings":[{"containerPort":80,"labels":{},"protocol":"tcp","servicePort":10001}]},
            "cpus":1.0,"disk":0.0,"executor":"","instances":1,"labels":{},"maxLaunchDelaySeconds":300,
            "mem":128.0,"gpus":0,"networks":[{"name":"n","mode":"container"}],"requirePorts":false,
            "upgradeStrategy":{"maximumOverCapacity":1.0,"minimumHealthCapacity":1.0},"version":"2021-03-04T09:10:11.120Z",
            "versionInfo":{"lastScalingAt":"2021-03-04T09:10:11.120Z","lastConfigChangeAt":"2021-03-04T09:10:11.120Z"},
            "killSelection":"YOUNGEST_FIRST","unreachableStrategy":{"inactiveAfterSeconds":0,
            "expungeAfterSeconds":0},"role":"*"}"#]],
    );
}

#[test]
fn health_checks_of_every_kind() {
    let http =
        |https, by_engine, port| HealthKind::Http { https, by_engine, path: None, port, ignore_1xx: true };
    check(
        |spec| {
            spec.networking = Networking::Host { ports: Vec::new(), require_ports: false };
            spec.health_checks = vec![
                health(http(true, false, CheckPort::Number(8443))),
                health(http(false, true, CheckPort::Index(1))),
                HealthCheck { ipv6: true, ..health(http(true, true, CheckPort::Index(0))) },
                health(HealthKind::Tcp { by_engine: false, port: CheckPort::Index(0) }),
                health(HealthKind::Tcp { by_engine: true, port: CheckPort::Index(0) }),
                health(HealthKind::Command { shell: "test -f x".into() }),
            ];
        },
        expect![[r#"
            {"id":"/a","backoffFactor":1.15,"backoffSeconds":1,"cmd":"sleep 100","cpus":1.0,"disk":0.0,
            "executor":"","healthChecks":[{"gracePeriodSeconds":300,"ignoreHttp1xx":true,"intervalSeconds":60,
            "maxConsecutiveFailures":3,"port":8443,"protocol":"HTTPS","ipProtocol":"IPv4","timeoutSeconds":20,
            "delaySeconds":15},{"gracePeriodSeconds":300,"intervalSeconds":60,"maxConsecutiveFailures":3,
            "portIndex":1,"protocol":"MESOS_HTTP","ipProtocol":"IPv4","timeoutSeconds":20,"delaySeconds":15},
            {"gracePeriodSeconds":300,"intervalSeconds":60,"maxConsecutiveFailures":3,"portIndex":0,
            "protocol":"MESOS_HTTPS","ipProtocol":"IPv6","timeoutSeconds":20,"delaySeconds":15},
            {"gracePeriodSeconds":300,"intervalSeconds":60,"maxConsecutiveFailures":3,"portIndex":0,
            "protocol":"TCP","ipProtocol":"IPv4","timeoutSeconds":20,"delaySeconds":15},{"gracePeriodSeconds":300,
            "intervalSeconds":60,"maxConsecutiveFailures":3,"portIndex":0,"protocol":"MESOS_TCP",
            "ipProtocol":"IPv4","timeoutSeconds":20,"delaySeconds":15},{"command":{"value":"test -f x"},
            "gracePeriodSeconds":300,"intervalSeconds":60,"maxConsecutiveFailures":3,"protocol":"COMMAND",
            "ipProtocol":"IPv4","timeoutSeconds":20,"delaySeconds":15}],"instances":1,"labels":{},
            "maxLaunchDelaySeconds":300,"mem":128.0,"gpus":0,"networks":[{"mode":"host"}],"portDefinitions":[],
            "requirePorts":false,"upgradeStrategy":{"maximumOverCapacity":1.0,"minimumHealthCapacity":1.0},
            "version":"2021-03-04T09:10:11.120Z","versionInfo":{"lastScalingAt":"2021-03-04T09:10:11.120Z",
            "lastConfigChangeAt":"2021-03-04T09:10:11.120Z"},"killSelection":"YOUNGEST_FIRST",
            "unreachableStrategy":{"inactiveAfterSeconds":0,"expungeAfterSeconds":0},"role":"*"}"#]],
    );
}

#[test]
fn checks_of_every_kind() {
    let kinds = [
        CheckKind::Http { port: CheckPort::Index(0), path: Some("/x".into()) },
        CheckKind::Tcp { port: CheckPort::Number(80) },
        CheckKind::Exec(CheckCommand::Argv(vec!["a".into(), "b".into()])),
    ];
    let written = kinds.map(|kind| {
        let check = Check { kind, interval: seconds(60), timeout: seconds(20), delay: seconds(15) };
        let app = app("/a").spec(|spec| spec.check = Some(check)).build();
        let text = String::from_utf8(Json::text(|json| write_app(json, app.spec.as_ref().unwrap()))).unwrap();
        let (from, to) = (text.find("\"check\"").unwrap(), text.find(",\"instances\"").unwrap());
        text[from..to].to_owned()
    });
    expect![[r#"
        "check":{"http":{"portIndex":0,"path":"/x","scheme":"HTTP"},"intervalSeconds":60,"timeoutSeconds":20,"delaySeconds":15}
        "check":{"tcp":{"port":80},"intervalSeconds":60,"timeoutSeconds":20,"delaySeconds":15}
        "check":{"exec":{"command":{"argv":["a","b"]}},"intervalSeconds":60,"timeoutSeconds":20,"delaySeconds":15}"#]].assert_eq(&written.join("\n"));
}
