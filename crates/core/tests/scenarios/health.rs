//! Health and readiness: where probes go, what answers mean, who dies of them, and what a restart leaves.

use marathon_model::act::ProbeKind;

use crate::rig::*;

fn tcp(port: CheckPort) -> HealthKind {
    HealthKind::Tcp { by_engine: false, port }
}

fn http(path: &str, ignore_1xx: bool) -> HealthKind {
    let path = Some(path.to_owned());
    HealthKind::Http { https: false, by_engine: false, path, port: CheckPort::Index(0), ignore_1xx }
}

/// Every ten seconds, without grace; the second failure in a row is one too many.
fn every_ten(kind: HealthKind) -> HealthCheckUpdate {
    let check = HealthCheck {
        kind,
        grace: Duration::ZERO,
        interval: Duration::from_secs(10),
        timeout: Duration::from_secs(2),
        delay: Duration::ZERO,
        max_failures: 1,
        ipv6: false,
    };
    HealthCheckUpdate { check, port_and_index: false }
}

fn checked(instances: u32, kind: HealthKind) -> AppUpdate {
    AppUpdate { health_checks: Some(vec![every_ten(kind)]), ..sleep(instances) }
}

fn port(number: u16, name: &str) -> PortDefinition {
    PortDefinition {
        port: number,
        protocol: Protocol::Tcp,
        name: Some(name.to_owned()),
        labels: Default::default(),
    }
}

fn answered(status: u16) -> ProbeOutcome {
    ProbeOutcome::Answered { status, content_type: "text/plain".into(), body: "hello".into() }
}

fn refused() -> ProbeOutcome {
    ProbeOutcome::Failed { cause: "refused".into() }
}

/// Lets one round go by and answers all its probes alike. Calls are left for the caller to look at.
fn round(rig: &mut Rig, outcome: &ProbeOutcome) {
    rig.pass(Duration::from_secs(10));
    for probe in std::mem::take(&mut rig.probes) {
        rig.feed(Event::Probed(ProbeResult { key: probe.key, outcome: outcome.clone() }));
    }
}

/// Tasks the core wants dead, since last asked.
fn kills(rig: &mut Rig) -> Vec<TaskId> {
    let calls = std::mem::take(&mut rig.calls);
    let task = |it: Call| if let Call::Kill { task, .. } = it { Some(task) } else { None };
    calls.into_iter().filter_map(task).collect()
}

fn count(rig: &Rig, event: &str) -> usize {
    rig.events.iter().filter(|it| *it == event).count()
}

#[test]
fn probes_go_where_the_port_is() {
    let mapping = |container_port, host_port| PortMapping {
        container_port,
        host_port,
        service_port: 0,
        protocol: Protocol::Tcp,
        name: None,
        labels: Default::default(),
        network_names: Vec::new(),
    };
    let network = |mode, name: Option<&str>| {
        Some(vec![NetworkUpdate { mode, name: name.map(str::to_owned), labels: Default::default() }])
    };
    let image = |mappings: Vec<PortMapping>| {
        let docker = DockerImage {
            image: "i".into(),
            force_pull: false,
            privileged: false,
            parameters: Vec::new(),
            pull_secret: None,
        };
        Some(ContainerUpdate {
            kind: ContainerKind::Docker,
            docker: Some(docker),
            volumes: Vec::new(),
            linux: None,
            port_mappings: Some(mappings),
        })
    };
    let host = || AppUpdate { port_definitions: Some(vec![port(0, "a"), port(0, "b")]), ..sleep(1) };
    let bridge = || AppUpdate {
        networks: network(NetworkMode::Bridge, None),
        container: image(vec![mapping(80, Some(0)), mapping(81, Some(0))]),
        ..sleep(1)
    };
    let container = || AppUpdate {
        networks: network(NetworkMode::Container, Some("net")),
        container: image(vec![mapping(80, None), mapping(81, Some(0))]),
        ..sleep(1)
    };
    use CheckPort::{Index, Number};
    for (what, spec, check, want) in [
        ("host, first", host(), Index(0), "host #0"),
        ("host, second", host(), Index(1), "host #1"),
        ("host, by number", host(), Number(8080), "host 8080"),
        ("bridge, first", bridge(), Index(0), "host #0"),
        ("bridge, second", bridge(), Index(1), "host #1"),
        ("bridge, by number", bridge(), Number(8080), "host 8080"),
        ("container, first", container(), Index(0), "10.0.0.9 80"),
        ("container, second", container(), Index(1), "10.0.0.9 81"),
        ("container, by number", container(), Number(8080), "10.0.0.9 8080"),
    ] {
        let mut rig = Rig::new();
        rig.address = Some("10.0.0.9");
        let health_checks = Some(vec![every_ten(tcp(check))]);
        deployed(rig.put("/web", AppEdit::Create(AppUpdate { health_checks, ..spec })));
        rig.run();
        rig.pass(Duration::from_secs(5));
        let ports = rig.tasks.values().next().unwrap().host_ports.clone();
        let [probe] = rig.probes.as_slice() else { panic!("{what}: {:?}", rig.probes) };
        let port = match ports.iter().position(|it| *it == probe.port) {
            Some(at) => format!("#{at}"),
            None => probe.port.to_string(),
        };
        assert_eq!(format!("{} {port}", probe.host), want, "{what}");
    }
}

#[test]
fn what_answers_mean() {
    for (kind, outcome, want) in [
        (tcp(CheckPort::Index(0)), ProbeOutcome::Connected, "healthy"),
        (tcp(CheckPort::Index(0)), refused(), "failed: refused"),
        (http("/", false), answered(200), "healthy"),
        (http("/", false), answered(399), "healthy"),
        (http("/", false), answered(400), "failed: HTTP status 400"),
        (http("/", false), answered(503), "failed: HTTP status 503"),
        (http("/", false), answered(101), "failed: HTTP status 101"),
        (http("/", true), answered(101), "nothing"),
        (http("/", true), answered(500), "failed: HTTP status 500"),
        (http("/", true), refused(), "failed: refused"),
    ] {
        let mut rig = Rig::new();
        let ports = Some(vec![port(0, "a")]);
        deployed(
            rig.put(
                "/web",
                AppEdit::Create(AppUpdate { port_definitions: ports, ..checked(1, kind.clone()) }),
            ),
        );
        rig.run();
        round(&mut rig, &outcome);
        let view = rig.view();
        let health = &view.task(&rig.task_of("/web")).unwrap().health[0];
        let got = match (health.alive(), &health.last_failure_cause) {
            (None, _) => "nothing".to_owned(),
            (Some(true), _) => "healthy".to_owned(),
            (Some(false), cause) => format!("failed: {}", cause.as_deref().unwrap_or_default()),
        };
        assert_eq!(got, want, "{kind:?} {outcome:?}");
    }
}

/// So many of so many die at once; with one of them gone the next may; and a restart forgets none of it.
#[test]
fn a_bounded_share_dies_at_a_time() {
    for (instances, at_once) in [(1, 1), (2, 1), (3, 1), (4, 1), (8, 2), (100, 25)] {
        let mut rig = Rig::new();
        deployed(rig.put("/web", AppEdit::Create(checked(instances, tcp(CheckPort::Number(80))))));
        rig.run();
        round(&mut rig, &ProbeOutcome::Connected);
        assert_eq!(rig.view().deployments.len(), 0, "{instances}");
        round(&mut rig, &refused());
        assert_eq!(kills(&mut rig).len(), 0, "{instances}: one failure is none");
        round(&mut rig, &refused());
        let dying = kills(&mut rig);
        assert_eq!(dying.len(), at_once, "{instances}");
        for task in &dying {
            rig.say(task, TaskState::Killing);
        }
        round(&mut rig, &refused());
        assert_eq!(kills(&mut rig).len(), 0, "{instances}: they are still dying");

        // The tasks that are dying are still there after a restart, and so is what the guard knows.
        rig.keep = true;
        rig.restart();
        rig.calls.clear();
        let mut again = Vec::new();
        for _ in 0..3 {
            round(&mut rig, &refused());
            again.extend(kills(&mut rig));
        }
        assert!(again.iter().all(|it| dying.contains(it)), "{instances}: {again:?} beside {dying:?}");
        let gone = &dying[0];
        rig.tasks.remove(gone);
        rig.say(gone, TaskState::Killed);
        round(&mut rig, &refused());
        let next = kills(&mut rig).into_iter().filter(|it| !dying.contains(it)).count();
        assert_eq!(next, usize::from(instances > 1), "{instances}");
    }
}

/// What the engine kills for its own checks counts as well.
#[test]
fn the_engine_and_the_core_share_one_bound() {
    let mut rig = Rig::new();
    let command = HealthKind::Command { shell: "true".to_owned() };
    let checks = vec![every_ten(command), every_ten(tcp(CheckPort::Number(80)))];
    deployed(rig.put("/web", AppEdit::Create(AppUpdate { health_checks: Some(checks), ..sleep(4) })));
    rig.run();
    let engines = rig.task_of("/web");
    rig.say_healthy(&engines, false);
    rig.say(&engines, TaskState::Killing);
    rig.calls.clear();
    for _ in 0..3 {
        round(&mut rig, &refused());
    }
    assert_eq!(kills(&mut rig), []);
    rig.tasks.remove(&engines);
    rig.say(&engines, TaskState::Killed);
    round(&mut rig, &refused());
    assert_eq!(kills(&mut rig).len(), 1);
}

#[test]
fn the_health_of_a_task_ends_with_it() {
    for goal in ["lives on", "is removed"] {
        let mut rig = Rig::new();
        deployed(rig.put("/web", AppEdit::Create(checked(1, tcp(CheckPort::Number(80))))));
        rig.run();
        round(&mut rig, &ProbeOutcome::Connected);
        rig.notices.clear();
        let task = rig.task_of("/web");
        if goal == "is removed" {
            deployed(rig.put("/web", AppEdit::Delete));
            rig.run();
        } else {
            rig.end(&task, TaskState::Failed);
        }
        let health: Vec<Option<bool>> = rig
            .notices
            .iter()
            .filter_map(|it| match it {
                What::InstanceHealthChanged { healthy, .. } => Some(*healthy),
                _ => None,
            })
            .collect();
        assert_eq!(health, [None], "{goal}");
    }
}

#[test]
fn a_restart_keeps_what_is_known_and_spreads_the_checks() {
    let mut rig = Rig::new();
    deployed(rig.put("/web", AppEdit::Create(checked(100, tcp(CheckPort::Number(80))))));
    rig.run();
    round(&mut rig, &ProbeOutcome::Connected);
    rig.keep = true;
    rig.restart();
    assert!(rig.view().app(&id("/web")).unwrap().instances.values().all(|it| it.healthy() == Some(true)));
    rig.probes.clear();
    let mut most = 0;
    let mut sum = 0;
    for _ in 0..100 {
        rig.pass(Duration::from_millis(100));
        most = most.max(rig.probes.len());
        sum += rig.probes.len();
        for probe in std::mem::take(&mut rig.probes) {
            rig.feed(Event::Probed(ProbeResult { key: probe.key, outcome: ProbeOutcome::Connected }));
        }
    }
    assert_eq!(sum, 100, "each once in its first interval");
    assert!(most < 10, "{most} in a tenth of a second");
}

#[test]
fn a_slow_answer_delays_the_next_probe_and_a_lost_one_does_not_stop_them() {
    let mut rig = Rig::new();
    deployed(rig.put("/web", AppEdit::Create(checked(1, tcp(CheckPort::Number(80))))));
    rig.run();
    round(&mut rig, &ProbeOutcome::Connected);
    while rig.probes.is_empty() {
        rig.pass(Duration::from_millis(100));
    }
    let [slow] = <[_; 1]>::try_from(std::mem::take(&mut rig.probes)).unwrap();
    rig.pass(Duration::from_secs(6));
    assert!(rig.probes.is_empty(), "one at a time");
    rig.feed(Event::Probed(ProbeResult { key: slow.key.clone(), outcome: ProbeOutcome::Connected }));
    while rig.probes.is_empty() {
        rig.pass(Duration::from_millis(100));
    }
    rig.probes.clear();
    // Two seconds for the answer and five more, at the most; then it counts as failed.
    rig.pass(Duration::from_secs(20));
    assert!(!rig.probes.is_empty() && count(&rig, "failed_health_check_event") > 0);
}

#[test]
fn a_deployment_waits_for_readiness_and_shows_the_answers() {
    for preserve in [false, true] {
        let check = ReadinessCheck {
            name: "up".into(),
            https: false,
            path: "/ready".into(),
            port_name: "b".into(),
            interval: Duration::from_secs(30),
            timeout: Duration::from_secs(10),
            ready_codes: vec![200, 204],
            preserve_last_response: preserve,
        };
        let spec = AppUpdate {
            readiness_checks: Some(vec![check]),
            port_definitions: Some(vec![port(0, "a"), port(0, "b")]),
            ..sleep(1)
        };
        let mut rig = Rig::new();
        deployed(rig.put("/web", AppEdit::Create(spec)));
        rig.run();
        rig.pass(Duration::ZERO);
        let answer = |rig: &mut Rig, outcome: ProbeOutcome| {
            let [probe] = <[_; 1]>::try_from(std::mem::take(&mut rig.probes)).unwrap();
            let ports = &rig.tasks.values().next().unwrap().host_ports;
            assert_eq!(probe.port, ports[1]);
            let kept = if preserve { 4096 } else { 0 };
            let kind = ProbeKind::Http { https: false, path: "/ready".into(), keep_body: kept };
            assert_eq!(probe.kind, kind);
            rig.feed(Event::Probed(ProbeResult { key: probe.key, outcome }));
            let view = rig.view();
            let shown = view.app(&id("/web")).unwrap().readiness.values().next().cloned();
            (view.deployments.len(), shown.map(|it| (it.name, it.ready, it.last_response)))
        };
        let kept = |it: ProbeOutcome| preserve.then_some(it);
        let no_answer = ProbeOutcome::Answered {
            status: 504,
            content_type: "text/plain".into(),
            body: "Marathon could not query URL: refused".into(),
        };
        assert_eq!(answer(&mut rig, refused()), (1, Some(("up".into(), false, kept(no_answer)))));
        rig.pass(Duration::from_secs(29));
        assert!(rig.probes.is_empty());
        rig.pass(Duration::from_secs(1));
        assert_eq!(answer(&mut rig, answered(500)), (1, Some(("up".into(), false, kept(answered(500))))));
        rig.pass(Duration::from_secs(30));
        assert_eq!(answer(&mut rig, answered(204)).0, 0);
        rig.pass(Duration::from_secs(60));
        assert!(rig.probes.is_empty(), "ready is ready");
    }
}
