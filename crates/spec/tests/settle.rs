//! What becomes of a definition: defaults, networking, merges.

use marathon_model::app::*;
use marathon_model::command::Violation;
use marathon_model::id::PathId;
use marathon_model::time::Timestamp;
use marathon_request::Mode;
use marathon_spec::{Features, Place, Rules, create, merge, validate};
use proptest::prelude::*;

fn rules() -> Rules {
    let features = Features {
        vips: true,
        task_killing: true,
        external_volumes: true,
        secrets: true,
        gpu_resources: true,
    };
    Rules { features, default_network_name: Some("dcos".to_owned()), ..Rules::default() }
}

fn place<'a>(group: &'a PathId) -> Place<'a> {
    Place { enforce_role: None, current_role: None, group }
}

#[track_caller]
fn post(body: &str) -> AppSpec {
    let update = marathon_request::app(body.as_bytes(), Mode::Create).expect(body);
    let id = update.id.clone().expect("required when created");
    create(id.clone(), &update, &rules(), &place(&id.parent())).expect(body)
}

fn put(current: &AppSpec, body: &str) -> Result<AppSpec, Vec<Violation>> {
    let update = marathon_request::app(body.as_bytes(), Mode::Update).expect(body);
    merge(current, &update, &rules(), &place(&current.id.parent()))
}

/// `host! 0:default 8080` · `bridge 80>0:web` · `container(m,n) 0>-`; `!` requires the ports.
fn networking(app: &AppSpec) -> String {
    let mapping = |it: &PortMapping| {
        let host = it.host_port.map_or("-".to_owned(), |it| it.to_string());
        let name = it.name.as_ref().map_or(String::new(), |it| format!(":{it}"));
        format!(" {}>{host}{name}", it.container_port)
    };
    match &app.networking {
        Networking::Host { ports, require_ports } => {
            let port = |it: &PortDefinition| {
                format!(" {}{}", it.port, it.name.as_ref().map_or(String::new(), |it| format!(":{it}")))
            };
            format!(
                "host{}{}",
                if *require_ports { "!" } else { "" },
                ports.iter().map(port).collect::<String>()
            )
        }
        Networking::Bridge { mappings, .. } => {
            format!("bridge{}", mappings.iter().map(mapping).collect::<String>())
        }
        Networking::Container { networks, mappings } => {
            let names: Vec<&str> = networks.iter().map(|it| it.name.as_str()).collect();
            format!("container({}){}", names.join(","), mappings.iter().map(mapping).collect::<String>())
        }
    }
}

#[test]
fn a_minimal_app_gets_every_default() {
    let app = post(r#"{"id":"a","cmd":"sleep 100"}"#);
    let mut want = AppSpec::new(PathId::parse("/a").expect("legal"));
    want.cmd = Some("sleep 100".to_owned());
    let port = PortDefinition {
        port: 0,
        protocol: Protocol::Tcp,
        name: Some("default".to_owned()),
        labels: Labels::new(),
    };
    want.networking = Networking::Host { ports: vec![port], require_ports: false };
    assert_eq!(app, want);
}

#[test]
fn networking_of_new_apps() {
    let docker = r#""container":{"docker":{"image":"x"}}"#;
    let bridge = r#""networks":[{"mode":"container/bridge"}]"#;
    let rows = [
        (r#""cmd":"x""#.to_owned(), "host 0:default"),
        (r#""cmd":"x","networks":[]"#.to_owned(), "host 0:default"),
        (r#""cmd":"x","portDefinitions":[]"#.to_owned(), "host"),
        (r#""cmd":"x","ports":[0,8080],"requirePorts":true"#.to_owned(), "host! 0 8080"),
        (docker.to_owned(), "host 0:default"),
        (r#""container":{"docker":{"image":"x"},"portMappings":[{"containerPort":80}]}"#.to_owned(), "host 0:default"),
        (format!("{docker},{bridge}"), "bridge 0>0:default"),
        (format!(r#"{docker},{bridge},"requirePorts":true,"portDefinitions":[{{"port":1}}]"#), "bridge 0>0:default"),
        (format!(r#"{docker},{bridge},"ports":[1,2,3]"#), "bridge 0>0:default 0>0 0>0"),
        (format!(r#""cmd":"x",{bridge}"#), "bridge 0>0:default"),
        (
            format!(r#""container":{{"docker":{{"image":"x"}},"portMappings":[{{"containerPort":80,"name":"web"}}]}},{bridge}"#),
            "bridge 80>0:web",
        ),
        (format!(r#""container":{{"docker":{{"image":"x"}},"portMappings":[]}},{bridge}"#), "bridge"),
        (
            r#""container":{"docker":{"image":"x","network":"BRIDGE","portMappings":[{"containerPort":80,"hostPort":31000}]}},"ports":[0]"#.to_owned(),
            "bridge 80>31000",
        ),
        (r#""cmd":"x","networks":[{"name":"n"}]"#.to_owned(), "container(n) 0>-:default"),
        (r#""cmd":"x","networks":[{"mode":"container"}]"#.to_owned(), "container(dcos) 0>-:default"),
        (r#""cmd":"x","networks":[{"name":"m"},{"name":"n"}]"#.to_owned(), "container(m,n) 0>-:default"),
        (r#""cmd":"x","ipAddress":{"networkName":"mesos-bridge"}"#.to_owned(), "bridge 0>0:default"),
        (
            r#""cmd":"x","ipAddress":{"networkName":"n","discovery":{"ports":[{"number":80,"name":"web"}]}}"#.to_owned(),
            "container(n) 80>-:web",
        ),
    ];
    for (fields, want) in rows {
        let app = post(&format!(r#"{{"id":"/a",{fields}}}"#));
        assert_eq!(networking(&app), want, "{fields}");
        let host = matches!(app.networking, Networking::Host { .. });
        assert!(host || app.container.is_some(), "mappings need a container: {fields}");
    }
}

#[test]
fn networking_after_a_merge() {
    let host = post(
        r#"{"id":"/a","cmd":"x","portDefinitions":[{"port":1,"name":"p"},{"port":2}],"requirePorts":true}"#,
    );
    let bridge = post(
        r#"{"id":"/a","networks":[{"mode":"container/bridge"}],
            "container":{"docker":{"image":"x"},"portMappings":[{"containerPort":80,"name":"web"}]}}"#,
    );
    let rows = [
        (&host, r#"{"instances":3}"#, "host! 1:p 2"),
        (&host, r#"{"requirePorts":false}"#, "host 1:p 2"),
        (&host, r#"{"portDefinitions":[]}"#, "host!"),
        (&host, r#"{"networks":[{"mode":"container/bridge"}]}"#, "bridge 0>0:default"),
        (&host, r#"{"networks":[{"name":"n"}]}"#, "container(n) 0>-:default"),
        (
            &host,
            r#"{"container":{"docker":{"image":"x","network":"BRIDGE","portMappings":[{"containerPort":9}]}},"ports":[5]}"#,
            "bridge 9>0",
        ),
        (&bridge, r#"{"instances":3}"#, "bridge 80>0:web"),
        (&bridge, r#"{"container":{"docker":{"image":"y"}}}"#, "bridge 0>0:default"),
        (
            &bridge,
            r#"{"container":{"docker":{"image":"y"},"portMappings":[{"containerPort":1}]}}"#,
            "bridge 1>0",
        ),
        (&bridge, r#"{"networks":[{"mode":"host"}]}"#, "host 0:default"),
        (&bridge, r#"{"networks":[{"mode":"host"}],"portDefinitions":[{"port":7}]}"#, "host 7"),
        (&bridge, r#"{"networks":[{"name":"n"}]}"#, "container(n) 80>0:web"),
    ];
    for (current, body, want) in rows {
        let app = put(current, body).unwrap_or_else(|it| panic!("{body}: {it:?}"));
        assert_eq!(networking(&app), want, "{body}");
    }
}

#[test]
fn absent_keeps_and_present_replaces() {
    let mut current = post(
        r#"{"id":"/g/a","cmd":"x","env":{"A":"1","B":"2"},"labels":{"l":"1"},"cpus":0.5,"user":"u","instances":4,
            "executorResources":{"cpus":0.2},"resourceLimits":{"cpus":"unlimited"},"dependencies":["b","../c"],
            "upgradeStrategy":{"minimumHealthCapacity":0.3,"maximumOverCapacity":0.4}}"#,
    );
    assert_eq!(current.dependencies.iter().map(ToString::to_string).collect::<Vec<_>>(), ["/b", "/c"]);
    current.version = Timestamp(7);
    current.last_scaling_at = Timestamp(8);
    current.last_config_change_at = Timestamp(9);

    let same = put(&current, r#"{"id":"/other","env":null,"instances":4}"#).expect("valid");
    assert_eq!(same, current, "limits and executor resources stay, versions are the core's");

    let next = put(
        &current,
        r#"{"env":{"C":"3"},"labels":{},"instances":0,"upgradeStrategy":{"minimumHealthCapacity":0.9},"dependencies":[]}"#,
    )
    .expect("valid");
    assert_eq!(next.env.keys().collect::<Vec<_>>(), ["C"]);
    assert!(next.labels.is_empty() && next.dependencies.is_empty());
    assert_eq!((next.instances, next.user.as_deref()), (0, Some("u")));
    let UpgradeStrategy { minimum_health_capacity, maximum_over_capacity } = next.upgrade;
    assert_eq!((minimum_health_capacity, maximum_over_capacity), (0.9, 1.0));
    assert_eq!(next.version, Timestamp(7));
}

#[test]
fn cmd_and_args_replace_each_other() {
    let with_cmd = post(r#"{"id":"/a","cmd":"x"}"#);
    let with_args = post(r#"{"id":"/a","args":["x"]}"#);
    let of = |app: AppSpec| (app.cmd, app.args.join(" "));
    let switched = put(&with_cmd, r#"{"args":["y","z"]}"#).map(of);
    assert_eq!(switched, Ok((None, "y z".to_owned())));
    assert_eq!(put(&with_args, r#"{"cmd":"y"}"#).map(of), Ok((Some("y".to_owned()), String::new())));
    assert_eq!(put(&with_cmd, r#"{"args":[]}"#).map(of), Ok((Some("x".to_owned()), String::new())));
    assert_eq!(
        put(&with_args, r#"{"cmd":"y","args":[]}"#).map(of),
        Ok((Some("y".to_owned()), String::new()))
    );
    assert!(put(&with_cmd, r#"{"cmd":"y","args":["z"]}"#).is_err());
    assert!(put(&with_args, r#"{"args":[]}"#).is_err());
}

#[test]
fn a_merge_is_judged_as_a_whole() {
    let app = post(
        r#"{"id":"/a","cmd":"x","cpus":1,"resourceLimits":{"cpus":2},"healthChecks":[{"portIndex":0}]}"#,
    );
    let broken =
        |body: &str| put(&app, body).expect_err(body).into_iter().map(|it| it.path).collect::<Vec<_>>();
    assert_eq!(broken(r#"{"cpus":3}"#), ["/resourceLimits/cpus"]);
    assert_eq!(broken(r#"{"portDefinitions":[]}"#), ["/healthChecks(0)"]);
}

/// Changed bodies are only worth drawing while the unchanged ones are accepted.
#[test]
fn the_corpus_is_accepted() {
    let bodies: Vec<serde_json::Value> =
        serde_json::from_str(include_str!("../../testkit/src/bodies.json")).expect("the corpus is JSON");
    let root = PathId::root();
    let mut accepted = 0;
    for body in
        bodies.iter().filter(|it| ["cmd", "args", "container"].iter().any(|key| it.get(key).is_some()))
    {
        let update = marathon_request::app(body.to_string().as_bytes(), Mode::Create).expect("well-formed");
        let id = update.id.clone().expect("given");
        let rules = Rules { mesos_role: "dev".into(), ..rules() };
        let group = Place { enforce_role: None, current_role: None, group: &root };
        assert_eq!(create(id, &update, &rules, &group).map(drop), Ok(()), "{body}");
        accepted += 1;
    }
    assert!(accepted >= 7, "{accepted}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Whatever is accepted is valid, and laying nothing over it changes nothing.
    #[test]
    fn accepted_apps_are_settled(one in marathon_testkit::nearly_right(), two in marathon_testkit::nearly_right()) {
        let root = PathId::root();
        let (rules, place) = (Rules { mesos_role: "dev".into(), ..rules() }, place(&root));
        let Ok(update) = marathon_request::app(one.to_string().as_bytes(), Mode::Replace) else { return Ok(()) };
        let id = update.id.clone().unwrap_or_else(|| PathId::parse("/a").expect("legal"));
        let Ok(app) = create(id, &update, &rules, &place) else { return Ok(()) };
        prop_assert_eq!(validate(&app, &rules, &place), vec![]);
        prop_assert_eq!(merge(&app, &Default::default(), &rules, &place), Ok(app.clone()));

        let Ok(update) = marathon_request::app(two.to_string().as_bytes(), Mode::Update) else { return Ok(()) };
        if let Ok(next) = merge(&app, &update, &rules, &place) {
            prop_assert_eq!(validate(&next, &rules, &place), vec![]);
            prop_assert_eq!(merge(&next, &update, &rules, &place), Ok(next.clone()), "twice is once");
        }
    }
}
