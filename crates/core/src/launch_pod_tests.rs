use super::*;
use marathon_model::id::{AgentId, InstanceId, PathId};
use marathon_model::pod::{PodImage, PodVolume};
use marathon_model::resources::{Amounts, Milli};
use std::sync::Arc;
use std::time::Duration;

fn endpoint(name: &str, container_port: Option<u16>, host_port: Option<u16>) -> Endpoint {
    Endpoint {
        name: name.into(),
        container_port,
        host_port,
        protocols: vec![Protocol::Tcp],
        labels: Labels::new(),
        network_names: Vec::new(),
    }
}

fn container(name: &str, endpoints: Vec<Endpoint>) -> PodContainer {
    PodContainer {
        name: name.into(),
        exec: Some(Exec { command: CheckCommand::Shell("serve".to_owned()), override_entrypoint: None }),
        resources: Amounts { cpus: Milli(500), mem: Milli::from_whole(64), ..Amounts::default() },
        resource_limits: None,
        endpoints,
        image: None,
        env: BTreeMap::new(),
        user: None,
        labels: Labels::new(),
        artifacts: Vec::new(),
        tty: None,
        health: None,
        check: None,
        mounts: Vec::new(),
        kill_grace: None,
        linux: None,
    }
}

fn pod(containers: Vec<PodContainer>) -> AppSpec {
    let mut spec = AppSpec::new(PathId::parse("/shop/web").unwrap());
    let (volumes, linux, legacy_shared_cgroups) = (Vec::new(), None, None);
    spec.pod = Some(Arc::new(Pod { containers, volumes, linux, legacy_shared_cgroups }));
    spec
}

fn in_networks(spec: &mut AppSpec, names: &[&str]) {
    let network = |name: &&str| ContainerNetwork { name: (*name).to_owned(), labels: Labels::new() };
    let networks = names.iter().map(network).collect();
    spec.networking = Networking::Container { networks, mappings: Vec::new() };
}

fn launch(spec: &AppSpec, ports: &[Option<u16>], prefix: &str) -> Launch {
    let instance = InstanceId { spec: spec.id.clone(), uuid: uuid::Uuid::from_u128(7) };
    let task = TaskId { instance, container: None, incarnation: 2 };
    let agent = Agent {
        id: AgentId::new("a"),
        host: "agent7.example".into(),
        region: None,
        zone: None,
        attributes: Arc::default(),
    };
    build(spec, spec.pod.as_ref().unwrap(), task, &agent, ports, prefix, true)
}

fn only(env: &BTreeMap<String, String>, start: &str) -> String {
    let of = env.iter().filter(|(name, _)| name.starts_with(start));
    of.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
}

#[test]
fn every_container_sees_all_endpoints() {
    let mut spec = pod(vec![
        container("web", vec![endpoint("http-api", Some(8080), Some(0)), endpoint("any", Some(0), Some(0))]),
        container("side", vec![endpoint("inner", Some(9000), None)]),
    ]);
    in_networks(&mut spec, &["net"]);
    let launch = launch(&spec, &[Some(31005), Some(31006), None], "my_");
    for it in &launch.containers {
        let endpoints = "MY_ENDPOINT_ANY=31006 MY_ENDPOINT_HTTP_API=8080 MY_ENDPOINT_INNER=9000";
        assert_eq!(only(&it.env, "MY_ENDPOINT"), endpoints, "{}", it.name);
        assert_eq!(only(&it.env, "MY_EP_HOST"), "MY_EP_HOST_ANY=31006 MY_EP_HOST_HTTP_API=31005");
        let inner = "MY_EP_CONTAINER_ANY=31006 MY_EP_CONTAINER_HTTP_API=8080 MY_EP_CONTAINER_INNER=9000";
        assert_eq!(only(&it.env, "MY_EP_CONTAINER"), inner);
        assert_eq!((only(&it.env, "PORT"), it.env["HOST"].as_str()), (String::new(), "agent7.example"));
    }
    assert_eq!(launch.host_ports, [31005, 31006]);
    let mapped = launch.mappings.iter().map(|it| (it.container_port, it.host_port));
    assert_eq!(mapped.collect::<Vec<_>>(), [(8080, Some(31005)), (31006, Some(31006)), (9000, None)]);
}

#[test]
fn on_the_network_of_the_host_there_are_only_host_ports() {
    let spec = pod(vec![container("web", vec![endpoint("http", None, Some(0))])]);
    let launch = launch(&spec, &[Some(31005)], "");
    let env = &launch.containers[0].env;
    assert_eq!(only(env, "ENDPOINT"), "ENDPOINT_HTTP=31005");
    assert_eq!(only(env, "EP_"), "EP_HOST_HTTP=31005");
    assert_eq!(launch.mappings, []);
}

#[test]
fn names_and_numbers_of_each_container() {
    let mut spec = pod(vec![container("web", Vec::new()), container("side", Vec::new())]);
    spec.resources.cpus = Milli(1_100);
    let launch = launch(&spec, &[], "");
    assert_eq!(launch.task.to_string(), "shop_web.instance-00000000-0000-0000-0000-000000000007._app.2");
    assert_eq!((launch.name.as_str(), launch.resources.cpus), ("web.shop", Milli(1_100)));
    let side = &launch.containers[1];
    assert_eq!(side.task.to_string(), "shop_web.instance-00000000-0000-0000-0000-000000000007.side.2");
    assert_eq!(side.env["MESOS_TASK_ID"], side.task.to_string());
    assert_eq!(side.env["MESOS_EXECUTOR_ID"], "instance-shop_web.00000000-0000-0000-0000-000000000007");
    assert_eq!(only(&side.env, "MARATHON_APP_ID"), "MARATHON_APP_ID=/shop/web");
    assert_eq!(only(&side.env, "MARATHON_APP_ENFORCE"), "MARATHON_APP_ENFORCE_GROUP_ROLE=TRUE");
    let of_container = "MARATHON_CONTAINER_ID=side MARATHON_CONTAINER_RESOURCE_CPUS=0.5 \
                        MARATHON_CONTAINER_RESOURCE_DISK=0.0 MARATHON_CONTAINER_RESOURCE_GPUS=0 \
                        MARATHON_CONTAINER_RESOURCE_MEM=64.0";
    assert_eq!(only(&side.env, "MARATHON_CONTAINER"), of_container);
    assert_eq!(side.command, Command::Shell("serve".to_owned()));
}

/// Pod, then container, then what Marathon sets; and a secret does not shine through a text of its name.
#[test]
fn who_wins_over_whom() {
    let text = |it: &str| EnvValue::Text(it.to_owned());
    let secret = |it: &str| EnvValue::Secret(it.to_owned());
    let mut web = container("web", Vec::new());
    let env = |all: &[(&str, EnvValue)]| all.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect();
    web.env = env(&[("A", text("mine")), ("B", text("plain")), ("C", secret("key")), ("HOST", text("no"))]);
    web.labels = Labels::from([("tier".to_owned(), "front".to_owned())]);
    let mut spec = pod(vec![web]);
    spec.env = env(&[
        ("A", text("pod")),
        ("B", secret("key")),
        ("C", text("pod")),
        ("D", secret("key")),
        ("MARATHON_APP_ID", secret("key")),
    ]);
    spec.secrets = BTreeMap::from([("key".to_owned(), "/source".to_owned())]);
    spec.labels = Labels::from([("tier".to_owned(), "any".to_owned()), ("a.b".to_owned(), "1".to_owned())]);
    let launch = launch(&spec, &[], "");
    let web = &launch.containers[0];
    let shown = |name: &str| web.env.get(name).map(String::as_str);
    assert_eq!([shown("A"), shown("B"), shown("C"), shown("D")], [Some("mine"), Some("plain"), None, None]);
    assert_eq!([shown("HOST"), shown("MARATHON_APP_ID")], [Some("agent7.example"), Some("/shop/web")]);
    assert_eq!(web.secret_env, ["C", "D"].map(|it| (it.to_owned(), "/source".to_owned())).into());
    assert_eq!(shown("MARATHON_APP_LABELS"), Some("A_B TIER"));
    assert_eq!(only(&web.env, "MARATHON_APP_LABEL_TIER"), "MARATHON_APP_LABEL_TIER=front");
    assert_eq!(web.labels["tier"], "front");
}

#[test]
fn checks_find_their_endpoint_wherever_it_stands() {
    let check = |kind| HealthCheck {
        kind,
        grace: Duration::from_secs(1),
        interval: Duration::from_secs(2),
        timeout: Duration::from_secs(3),
        delay: Duration::from_secs(4),
        max_failures: 5,
        ipv6: false,
    };
    let tcp = |at| HealthKind::Tcp { by_engine: true, port: CheckPort::Index(at) };
    let mut web = container("web", vec![endpoint("a", Some(80), None)]);
    web.health = Some(check(tcp(1)));
    let mut side = container("side", vec![endpoint("b", Some(81), Some(0))]);
    side.check = Some(Check {
        kind: CheckKind::Http { port: CheckPort::Index(0), path: None },
        interval: Duration::from_secs(2),
        timeout: Duration::from_secs(3),
        delay: Duration::from_secs(4),
    });
    let mut spec = pod(vec![web, side]);
    let ports = |launch: &Launch| {
        let health = launch.containers[0].health_check.as_ref().map(|it| it.kind.clone());
        let check = launch.containers[1].check.as_ref().map(|it| it.kind.clone());
        let number = |kind| match kind {
            marathon_model::offer::EngineCheckKind::Http { port, .. } => port,
            marathon_model::offer::EngineCheckKind::Tcp { port, .. } => port,
            marathon_model::offer::EngineCheckKind::Command(_) => 0,
        };
        (health.map(number), check.map(number))
    };
    assert_eq!(ports(&launch(&spec, &[None, Some(31000)], "")), (Some(31000), None), "host ports alone");
    in_networks(&mut spec, &["net"]);
    assert_eq!(ports(&launch(&spec, &[None, Some(31000)], "")), (Some(81), Some(80)));
}

#[test]
fn each_container_is_discovered_by_its_own_endpoints() {
    let mut both = endpoint("b", Some(81), Some(0));
    both.protocols = vec![Protocol::Udp, Protocol::Tcp];
    let mut one_network = endpoint("c", Some(82), None);
    one_network.network_names = vec!["blue".to_owned()];
    let mut spec = pod(vec![
        container("web", vec![endpoint("a", Some(80), None)]),
        container("side", vec![both, one_network]),
    ]);
    in_networks(&mut spec, &["blue", "red"]);
    let launch = launch(&spec, &[None, Some(31000), None], "");
    let shown = |at: usize| {
        let of = |it: &DiscoveryPort| {
            let labels: Vec<&str> = it.labels.values().map(String::as_str).collect();
            format!("{} {:?} {}", it.number, it.protocol, labels.join("+"))
        };
        launch.containers[at].discovery.iter().map(of).collect::<Vec<_>>()
    };
    assert_eq!(shown(0), ["80 Tcp blue+container", "80 Tcp red+container"]);
    assert_eq!(shown(1), ["31000 Udp host", "31000 Tcp host", "82 Tcp blue+container"]);
}

#[test]
fn secrets_of_volumes_and_images_come_with_their_sources() {
    let mut web = container("web", Vec::new());
    let (id, pull_secret) = ("private/web".to_owned(), Some("login".to_owned()));
    web.image = Some(PodImage { id, force_pull: Some(true), pull_secret, labels: Labels::new() });
    let mut spec = pod(vec![web]);
    let source = PodVolumeSource::Secret { secret: "cert".to_owned() };
    let mut changed = Pod::clone(spec.pod.as_ref().unwrap());
    changed.volumes = vec![PodVolume { name: "v".into(), source }];
    spec.pod = Some(Arc::new(changed));
    spec.secrets =
        ["cert", "login", "other"].map(|it| (it.to_owned(), format!("/{it}"))).into_iter().collect();
    let launch = launch(&spec, &[], "");
    assert_eq!(only(&launch.secrets, ""), "cert=/cert login=/login");
    let image = launch.containers[0].image.clone().unwrap();
    assert_eq!((image.image.as_str(), image.force_pull), ("private/web", true));
}
