use std::sync::Arc;
use std::time::Duration;

use expect_test::expect;
use imbl::{Vector, vector};
use marathon_api::about::{InfoConfig, abdicated, info, leader};
use marathon_api::task::{self, Statuses};
use marathon_api::{Embed, apps, deployment, queue, reply};
use marathon_model::deployment::ActionKind::*;
use marathon_model::event::ProbeOutcome;
use marathon_model::id::{AgentId, FrameworkId, OfferId};
use marathon_model::instance::{Agent, Condition, Health, TaskFailure};
use marathon_model::offer::{Attribute, CheckResult, IpAddress, Offer, TaskState};
use marathon_model::resources::{Amount, Milli, PortRange, Resource};
use marathon_model::view::{Mismatch, Readiness, UnusedOffer, Waiting};
use marathon_model::write::Delay;
use marathon_testkit::*;

use crate::check;

#[test]
fn one_app() {
    let view = view().app(app("/a").running(1)).build();
    check(
        apps::one(&view, &path("/a"), Embed::NONE, at(9)).unwrap(),
        expect![[r#"
        {"app":{"id":"/a","backoffFactor":1.15,"backoffSeconds":1,"cmd":"sleep 100","cpus":1.0,
        "disk":0.0,"executor":"","instances":1,"labels":{},"maxLaunchDelaySeconds":300,"mem":128.0,
        "gpus":0,"networks":[{"mode":"host"}],"portDefinitions":[{"port":10000,"name":"default",
        "protocol":"tcp"}],"requirePorts":false,"upgradeStrategy":{"maximumOverCapacity":1.0,
        "minimumHealthCapacity":1.0},"version":"2021-03-04T09:10:11.120Z","versionInfo":{"lastScalingAt":"2021-03-04T09:10:11.120Z",
        "lastConfigChangeAt":"2021-03-04T09:10:11.120Z"},"killSelection":"YOUNGEST_FIRST",
        "unreachableStrategy":{"inactiveAfterSeconds":0,"expungeAfterSeconds":0},"role":"*",
        "tasksStaged":0,"tasksRunning":1,"tasksHealthy":0,"tasksUnhealthy":0,"deployments":[],
        "tasks":[{"appId":"/a","healthCheckResults":[],"host":"agent-1","id":"a.instance-00000001-7ccb-11eb-9a1c-0242ac110002._app.1",
        "ipAddresses":[{"ipAddress":"10.0.0.1","protocol":"IPv4"}],"ports":[31001],"servicePorts":[],
        "slaveId":"S1","state":"TASK_RUNNING","stagedAt":"2021-03-04T09:10:12.120Z","startedAt":"2021-03-04T09:10:13.120Z",
        "version":"2021-03-04T09:10:11.120Z","localVolumes":[],"role":"*"}]}}"#]],
    );
}

/// Everything that can be embedded, in the order in which 1.11 writes it.
#[test]
fn an_app_with_all_embeds() {
    let failing = app("/shop/cart")
        .instances(4)
        .checked(1, true)
        .checked(1, false)
        .staging(1)
        .scheduled(1)
        .add(1, Condition::Running, |it| it.config = at(50))
        .with(|app| {
            app.failure = Some(Arc::new(TaskFailure {
                spec: app.id.clone(),
                task: task_id("/shop/cart", 9),
                state: TaskState::Failed,
                message: "exit status 1".into(),
                host: "agent-1".into(),
                agent: Some(AgentId::new("S1")),
                version: at(0),
                at: at(3),
            }));
            let readiness = |number, ready, last_response| {
                let task = task_id("/shop/cart", number);
                (task.instance.uuid, Readiness { name: "ready".into(), task, ready, last_response })
            };
            app.readiness = [
                readiness(
                    1,
                    true,
                    Some(ProbeOutcome::Answered {
                        status: 200,
                        content_type: "text/plain".into(),
                        body: "ok".into(),
                    }),
                ),
                readiness(2, false, Some(ProbeOutcome::Failed { cause: "refused".into() })),
            ]
            .into_iter()
            .collect();
        });
    let steps = vec![step(&[(ScaleApplication, "/shop/cart")])];
    let view = view().app(failing).deployment(7, 0, steps).build();
    let embed = Embed::parse(["apps.readiness", "taskStats"]);
    check(
        apps::one(&view, &path("/shop/cart"), embed, at(12)).unwrap(),
        expect![[r#"
        {"app":{"id":"/shop/cart","backoffFactor":1.15,"backoffSeconds":1,"cmd":"sleep 100",
        "cpus":1.0,"disk":0.0,"executor":"","instances":4,"labels":{},"maxLaunchDelaySeconds":300,
        "mem":128.0,"gpus":0,"networks":[{"mode":"host"}],"portDefinitions":[{"port":10000,
        "name":"default","protocol":"tcp"}],"requirePorts":false,"upgradeStrategy":{"maximumOverCapacity":1.0,
        "minimumHealthCapacity":1.0},"version":"2021-03-04T09:10:11.120Z","versionInfo":{"lastScalingAt":"2021-03-04T09:10:11.120Z",
        "lastConfigChangeAt":"2021-03-04T09:10:11.120Z"},"killSelection":"YOUNGEST_FIRST",
        "unreachableStrategy":{"inactiveAfterSeconds":0,"expungeAfterSeconds":0},"role":"*",
        "tasksStaged":1,"tasksRunning":3,"tasksHealthy":1,"tasksUnhealthy":1,"deployments":[{"id":"00000007-7ccb-11eb-9a1c-0242ac110002"}],
        "readinessCheckResults":[{"name":"ready","taskId":"shop_cart.instance-00000001-7ccb-11eb-9a1c-0242ac110002._app.1",
        "ready":true,"lastResponse":{"status":200,"contentType":"text/plain","body":"ok"}},
        {"name":"ready","taskId":"shop_cart.instance-00000002-7ccb-11eb-9a1c-0242ac110002._app.1",
        "ready":false}],"tasks":[{"appId":"/shop/cart","healthCheckResults":[{"alive":true,
        "consecutiveFailures":0,"firstSuccess":"2021-03-04T09:10:16.120Z","lastSuccess":"2021-03-04T09:10:16.120Z",
        "instanceId":"shop_cart.instance-00000001-7ccb-11eb-9a1c-0242ac110002"}],"host":"agent-1",
        "id":"shop_cart.instance-00000001-7ccb-11eb-9a1c-0242ac110002._app.1","ipAddresses":[{"ipAddress":"10.0.0.1",
        "protocol":"IPv4"}],"ports":[31001],"servicePorts":[],"slaveId":"S1","state":"TASK_RUNNING",
        "stagedAt":"2021-03-04T09:10:12.120Z","startedAt":"2021-03-04T09:10:13.120Z","version":"2021-03-04T09:10:11.120Z",
        "localVolumes":[],"role":"*"},{"appId":"/shop/cart","healthCheckResults":[{"alive":false,
        "consecutiveFailures":1,"lastFailure":"2021-03-04T09:10:17.120Z","lastFailureCause":"connection refused",
        "instanceId":"shop_cart.instance-00000002-7ccb-11eb-9a1c-0242ac110002"}],"host":"agent-2",
        "id":"shop_cart.instance-00000002-7ccb-11eb-9a1c-0242ac110002._app.1","ipAddresses":[{"ipAddress":"10.0.0.2",
        "protocol":"IPv4"}],"ports":[31002],"servicePorts":[],"slaveId":"S2","state":"TASK_RUNNING",
        "stagedAt":"2021-03-04T09:10:12.120Z","startedAt":"2021-03-04T09:10:13.120Z","version":"2021-03-04T09:10:11.120Z",
        "localVolumes":[],"role":"*"},{"appId":"/shop/cart","healthCheckResults":[],"host":"agent-3",
        "id":"shop_cart.instance-00000003-7ccb-11eb-9a1c-0242ac110002._app.1","ipAddresses":[{"ipAddress":"10.0.0.3",
        "protocol":"IPv4"}],"ports":[31003],"servicePorts":[],"slaveId":"S3","state":"TASK_STAGING",
        "stagedAt":"2021-03-04T09:10:12.120Z","version":"2021-03-04T09:10:11.120Z","localVolumes":[],
        "role":"*"},{"appId":"/shop/cart","healthCheckResults":[],"host":"agent-5","id":"shop_cart.instance-00000005-7ccb-11eb-9a1c-0242ac110002._app.1",
        "ipAddresses":[{"ipAddress":"10.0.0.5","protocol":"IPv4"}],"ports":[31005],"servicePorts":[],
        "slaveId":"S5","state":"TASK_RUNNING","stagedAt":"2021-03-04T09:10:12.120Z","startedAt":"2021-03-04T09:10:13.120Z",
        "version":"2021-03-04T09:10:11.120Z","localVolumes":[],"role":"*"}],"lastTaskFailure":{"appId":"/shop/cart",
        "host":"agent-1","message":"exit status 1","state":"TASK_FAILED","taskId":"shop_cart.instance-00000009-7ccb-11eb-9a1c-0242ac110002._app.1",
        "timestamp":"2021-03-04T09:10:14.120Z","version":"2021-03-04T09:10:11.120Z","slaveId":"S1"},
        "taskStats":{"startedAfterLastScaling":{"stats":{"counts":{"staged":1,"running":3,
        "healthy":1,"unhealthy":1},"lifeTime":{"averageSeconds":10.0,"medianSeconds":10.0}}},
        "withLatestConfig":{"stats":{"counts":{"staged":1,"running":2,"healthy":1,"unhealthy":1},
        "lifeTime":{"averageSeconds":10.0,"medianSeconds":10.0}}},"withOutdatedConfig":{"stats":{"counts":{"staged":0,
        "running":1,"healthy":0,"unhealthy":0},"lifeTime":{"averageSeconds":10.0,"medianSeconds":10.0}}},
        "totalSummary":{"stats":{"counts":{"staged":1,"running":3,"healthy":1,"unhealthy":1},
        "lifeTime":{"averageSeconds":10.0,"medianSeconds":10.0}}}}}}"#]],
    );
}

#[test]
fn apps_below_a_group() {
    let view = view().app(app("/g/a")).app(app("/g-h/b")).app(app("/g/c/d")).app(app("/e")).build();
    let ids = |group: &str| {
        let body = apps::below(&view, &path(group), Embed::NONE, at(0)).unwrap();
        let read: serde_json::Value = serde_json::from_slice(&body).unwrap();
        read["*"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it["id"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(ids("/g"), ["/g/a", "/g/c/d"]);
    assert_eq!(ids("/"), ["/e", "/g-h/b", "/g/a", "/g/c/d"]);
    assert!(apps::below(&view, &path("/nope"), Embed::NONE, at(0)).is_err());
}

#[test]
fn versions_are_newest_first_and_bare() {
    let app = app("/a").with(|app| {
        let spec = app.spec.clone();
        app.history = vector![(at(1), spec.clone()), (at(2), None), (at(3), spec)];
    });
    let view = view().app(app).build();
    check(
        apps::versions(&view, &path("/a")).unwrap(),
        expect![[r#"{"versions":["2021-03-04T09:10:14.120Z","2021-03-04T09:10:12.120Z"]}"#]],
    );
    assert!(apps::version(&view, &path("/a"), at(2)).is_err());
    let body = apps::version(&view, &path("/a"), at(3)).unwrap();
    assert!(body.starts_with(b"{\"id\":\"/a\",") && !String::from_utf8(body).unwrap().contains("tasks"));
}

/// A task with everything, one that has ended, one that was never placed; ports only for `/v2/tasks`.
#[test]
fn tasks() {
    let rich = app("/a")
        .add(1, Condition::Running, |it| {
            let agent = it.agent.take().unwrap();
            it.agent = Some(Arc::new(Agent {
                region: Some("eu".into()),
                zone: Some("eu-1".into()),
                ..Agent::clone(&agent)
            }));
            it.health = vec![Health {
                first_success: Some(at(3)),
                last_success: Some(at(4)),
                last_failure: Some(at(5)),
                last_failure_cause: Some("HTTP 503".into()),
                consecutive_failures: 2,
            }];
            let task = it.task.as_mut().unwrap();
            task.check = Some(CheckResult::Command { exit_code: -1 });
            task.addresses = vec![IpAddress { address: "fe80::1".into(), ipv6: true }];
        })
        .add(1, Condition::Failed, |_| {})
        .scheduled(1);
    let view = view().app(rich).app(app("/gone").running(1).removed()).build();
    check(
        task::all(&view, Statuses::default()),
        expect![[r#"
        {"tasks":[{"appId":"/a","healthCheckResults":[{"alive":false,"consecutiveFailures":2,
        "firstSuccess":"2021-03-04T09:10:14.120Z","lastSuccess":"2021-03-04T09:10:15.120Z",
        "lastFailure":"2021-03-04T09:10:16.120Z","lastFailureCause":"HTTP 503","instanceId":"a.instance-00000001-7ccb-11eb-9a1c-0242ac110002"}],
        "checkResult":{"command":{"exitCode":-1}},"host":"agent-1","id":"a.instance-00000001-7ccb-11eb-9a1c-0242ac110002._app.1",
        "ipAddresses":[{"ipAddress":"fe80::1","protocol":"IPv6"}],"ports":[31001],"servicePorts":[10000],
        "slaveId":"S1","state":"TASK_RUNNING","stagedAt":"2021-03-04T09:10:12.120Z","startedAt":"2021-03-04T09:10:13.120Z",
        "version":"2021-03-04T09:10:11.120Z","localVolumes":[],"region":"eu","zone":"eu-1",
        "role":"*"},{"appId":"/a","healthCheckResults":[],"host":"agent-2","id":"a.instance-00000002-7ccb-11eb-9a1c-0242ac110002._app.1",
        "ipAddresses":[{"ipAddress":"10.0.0.2","protocol":"IPv4"}],"ports":[],"servicePorts":[10000],
        "slaveId":"S2","state":"TASK_FAILED","localVolumes":[],"role":"*"},{"appId":"/gone",
        "healthCheckResults":[],"host":"agent-1","id":"gone.instance-00000001-7ccb-11eb-9a1c-0242ac110002._app.1",
        "ipAddresses":[{"ipAddress":"10.0.0.1","protocol":"IPv4"}],"ports":[31001],"servicePorts":[],
        "slaveId":"S1","state":"TASK_RUNNING","stagedAt":"2021-03-04T09:10:12.120Z","startedAt":"2021-03-04T09:10:13.120Z",
        "version":"2021-03-04T09:10:11.120Z","localVolumes":[],"role":"*"}]}"#]],
    );
    check(
        task::of_app(&view, &path("/a")).unwrap(),
        expect![[r#"
        {"tasks":[{"appId":"/a","healthCheckResults":[{"alive":false,"consecutiveFailures":2,
        "firstSuccess":"2021-03-04T09:10:14.120Z","lastSuccess":"2021-03-04T09:10:15.120Z",
        "lastFailure":"2021-03-04T09:10:16.120Z","lastFailureCause":"HTTP 503","instanceId":"a.instance-00000001-7ccb-11eb-9a1c-0242ac110002"}],
        "checkResult":{"command":{"exitCode":-1}},"host":"agent-1","id":"a.instance-00000001-7ccb-11eb-9a1c-0242ac110002._app.1",
        "ipAddresses":[{"ipAddress":"fe80::1","protocol":"IPv6"}],"ports":[31001],"servicePorts":[],
        "slaveId":"S1","state":"TASK_RUNNING","stagedAt":"2021-03-04T09:10:12.120Z","startedAt":"2021-03-04T09:10:13.120Z",
        "version":"2021-03-04T09:10:11.120Z","localVolumes":[],"region":"eu","zone":"eu-1",
        "role":"*"},{"appId":"/a","healthCheckResults":[],"host":"agent-2","id":"a.instance-00000002-7ccb-11eb-9a1c-0242ac110002._app.1",
        "ipAddresses":[{"ipAddress":"10.0.0.2","protocol":"IPv4"}],"ports":[],"servicePorts":[],
        "slaveId":"S2","state":"TASK_FAILED","localVolumes":[],"role":"*"}]}"#]],
    );
    assert!(task::of_app(&view, &path("/gone")).is_err());
}

#[test]
fn tasks_by_status() {
    let view = view().app(app("/a").running(2).staging(1).add(1, Condition::Killing, |_| {})).build();
    for (statuses, want) in [
        (&[][..], "RRSK"),
        (&["running"], "RR"),
        (&["Staging", "x"], "S"),
        (&["staging", "RUNNING"], "RRS"),
        (&["x"], "RRSK"),
    ] {
        let body = task::all(&view, Statuses::parse(statuses));
        let read: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let states = read["tasks"].as_array().unwrap().iter().map(|it| match it["state"].as_str().unwrap() {
            "TASK_RUNNING" => 'R',
            "TASK_STAGING" => 'S',
            _ => 'K',
        });
        assert_eq!(states.collect::<String>(), want, "{statuses:?}");
    }
}

#[test]
fn answers_to_kills() {
    let app = app("/a").running(1).scheduled(1).build();
    check(
        task::list(app.instances.values()),
        expect![[r#"
        {"tasks":[{"appId":"/a","healthCheckResults":[],"host":"agent-1","id":"a.instance-00000001-7ccb-11eb-9a1c-0242ac110002._app.1",
        "ipAddresses":[{"ipAddress":"10.0.0.1","protocol":"IPv4"}],"ports":[31001],"servicePorts":[],
        "slaveId":"S1","state":"TASK_RUNNING","stagedAt":"2021-03-04T09:10:12.120Z","startedAt":"2021-03-04T09:10:13.120Z",
        "version":"2021-03-04T09:10:11.120Z","localVolumes":[],"role":"*"}]}"#]],
    );
    let mut instances = app.instances.values();
    check(
        task::one(instances.next().unwrap()),
        expect![[r#"
        {"task":{"appId":"/a","healthCheckResults":[],"host":"agent-1","id":"a.instance-00000001-7ccb-11eb-9a1c-0242ac110002._app.1",
        "ipAddresses":[{"ipAddress":"10.0.0.1","protocol":"IPv4"}],"ports":[31001],"servicePorts":[],
        "slaveId":"S1","state":"TASK_RUNNING","stagedAt":"2021-03-04T09:10:12.120Z","startedAt":"2021-03-04T09:10:13.120Z",
        "version":"2021-03-04T09:10:11.120Z","localVolumes":[],"role":"*"}}"#]],
    );
    check(task::one(instances.next().unwrap()), expect![[r#"{"task":null}"#]]);
}

#[test]
fn tasks_as_plain_text() {
    let two_ports = app("/shop/cart").running(2).staging(1).spec(|spec| {
        let marathon_model::app::Networking::Host { ports, .. } = &mut spec.networking else {
            unreachable!()
        };
        let mut second = ports[0].clone();
        second.port = 10_004;
        ports.push(second);
    });
    let two_ports = two_ports.add(1, Condition::Running, |it| it.task.as_mut().unwrap().ports.push(31_990));
    let no_port = app("/worker").running(2).spec(|spec| {
        spec.networking = marathon_model::app::Networking::Host { ports: Vec::new(), require_ports: false };
    });
    let view = view().app(two_ports).app(no_port).app(app("/idle")).build();
    let text = String::from_utf8(task::plain(&view)).unwrap().replace('\t', "→");
    expect![[r#"
        idle→10000→
        shop_cart→10000→agent-1:31001→agent-2:31002→agent-4:31004→
        shop_cart→10004→agent-4:31990→
        worker→ →agent-1→agent-2→
    "#]]
    .assert_eq(&text);
    assert_eq!(task::plain_of_app(&view, &path("/idle")).unwrap(), b"idle\t10000\t\n");
    assert!(task::plain_of_app(&view, &path("/nope")).is_err());
}

#[test]
fn deployments() {
    let steps = || {
        vec![
            step(&[(StartApplication, "/a"), (StopApplication, "/b")]),
            step(&[(ScaleApplication, "/a"), (RestartApplication, "/c")]),
        ]
    };
    let ready = app("/a").with(|app| {
        let task = task_id("/a", 1);
        let result = Readiness { name: "r".into(), task: task.clone(), ready: false, last_response: None };
        app.readiness.insert(task.instance.uuid, result);
    });
    let view = view()
        .app(ready)
        .deployment(1, 1, steps())
        .deployment(2, 2, steps())
        .deployment(3, 0, vec![])
        .build();
    check(
        deployment::list(&view, false),
        expect![[r#"
        [{"id":"00000001-7ccb-11eb-9a1c-0242ac110002","version":"2021-03-04T09:10:11.120Z",
        "affectedApps":["/a","/b","/c"],"affectedPods":[],"steps":[{"actions":[{"action":"StartApplication",
        "app":"/a"},{"action":"StopApplication","app":"/b"}]},{"actions":[{"action":"ScaleApplication",
        "app":"/a"},{"action":"RestartApplication","app":"/c"}]}],"currentActions":[{"action":"ScaleApplication",
        "app":"/a","readinessCheckResults":[{"name":"r","taskId":"a.instance-00000001-7ccb-11eb-9a1c-0242ac110002._app.1",
        "ready":false}]},{"action":"RestartApplication","app":"/c","readinessCheckResults":[]}],
        "currentStep":2,"totalSteps":2},{"id":"00000002-7ccb-11eb-9a1c-0242ac110002","version":"2021-03-04T09:10:11.120Z",
        "affectedApps":["/a","/b","/c"],"affectedPods":[],"steps":[{"actions":[{"action":"StartApplication",
        "app":"/a"},{"action":"StopApplication","app":"/b"}]},{"actions":[{"action":"ScaleApplication",
        "app":"/a"},{"action":"RestartApplication","app":"/c"}]}],"currentActions":[],"currentStep":2,
        "totalSteps":2},{"id":"00000003-7ccb-11eb-9a1c-0242ac110002","version":"2021-03-04T09:10:11.120Z",
        "affectedApps":[],"affectedPods":[],"steps":[],"currentActions":[],"currentStep":0,
        "totalSteps":0}]"#]],
    );
    check(
        deployment::dry_run(&steps()),
        expect![[r#"
        {"steps":[{"actions":[{"action":"StartApplication","app":"/a"},{"action":"StopApplication",
        "app":"/b"}]},{"actions":[{"action":"ScaleApplication","app":"/a"},{"action":"RestartApplication",
        "app":"/c"}]}]}"#]],
    );
}

#[test]
fn answers_to_changes() {
    check(
        reply::deployment_result(at(1), deployment_id(5)),
        expect![[
            r#"{"version":"2021-03-04T09:10:12.120Z","deploymentId":"00000005-7ccb-11eb-9a1c-0242ac110002"}"#
        ]],
    );
    let spec = app("/a").build().spec.unwrap();
    check(
        reply::created_app(&spec, deployment_id(5)),
        expect![[r#"
        {"id":"/a","backoffFactor":1.15,"backoffSeconds":1,"cmd":"sleep 100","cpus":1.0,"disk":0.0,
        "executor":"","instances":1,"labels":{},"maxLaunchDelaySeconds":300,"mem":128.0,"gpus":0,
        "networks":[{"mode":"host"}],"portDefinitions":[{"port":10000,"name":"default","protocol":"tcp"}],
        "requirePorts":false,"upgradeStrategy":{"maximumOverCapacity":1.0,"minimumHealthCapacity":1.0},
        "version":"2021-03-04T09:10:11.120Z","killSelection":"YOUNGEST_FIRST","unreachableStrategy":{"inactiveAfterSeconds":0,
        "expungeAfterSeconds":0},"role":"*","tasksStaged":0,"tasksRunning":0,"tasksHealthy":0,
        "tasksUnhealthy":0,"deployments":[{"id":"00000005-7ccb-11eb-9a1c-0242ac110002"}]}"#]],
    );
}

fn offer(agent: u32) -> Arc<Offer> {
    let resource = |amount| Resource::new("*", amount);
    let attributes = [
        ("rack".to_owned(), Attribute::Text("r1".into())),
        ("load".to_owned(), Attribute::Scalar(0.5)),
        ("nets".to_owned(), Attribute::Set(vec!["a".into()])),
        ("r".to_owned(), Attribute::Ranges(vec![(1, 2)])),
    ];
    Arc::new(Offer {
        id: OfferId::new(format!("o-{agent}")),
        agent: AgentId::new(format!("S{agent}")),
        hostname: format!("agent-{agent}").into(),
        role: "*".into(),
        resources: vec![
            resource(Amount::Cpus(Milli(4_000))),
            resource(Amount::Ports(vec![PortRange { first: 31_000, last: 32_000 }])),
            resource(Amount::Other("bandwidth".into(), Milli(500))),
        ],
        attributes: Arc::new(attributes.into()),
        region: None,
        zone: None,
        unavailability: None,
    })
}

fn waiting() -> Waiting {
    let mut refusals = [0; Mismatch::ALL.len()];
    (refusals[0], refusals[5]) = (4, 6);
    let unused = |agent, reasons| Arc::new(UnusedOffer { offer: offer(agent), reasons, at: at(8) });
    Waiting {
        since: at(1),
        role: "*".into(),
        processed_offers: 12,
        unused_offers: 10,
        last_unused_at: Some(at(8)),
        last_used_at: Some(at(4)),
        refusals,
        last_unused: Vector::from_iter([
            unused(1, vec![Mismatch::InsufficientMemory, Mismatch::UnfulfilledConstraint]),
            unused(2, vec![Mismatch::InsufficientMemory]),
        ]),
    }
}

#[test]
fn the_queue_tells_why() {
    let app = app("/a").scheduled(2).running(1).with(|app| {
        app.waiting = Some(Arc::new(waiting()));
        app.delay = Some(Delay { config: at(0), current: Duration::from_secs(10), since: at(2) });
    });
    let view = view().app(app).build();
    check(
        queue::list(&view, true, at(9)),
        expect![[r#"
            {"queue":[{"count":2,"delay":{"timeLeftSeconds":3,"overdue":false},"since":"2021-03-04T09:10:12.120Z",
            "processedOffersSummary":{"processedOffersCount":12,"unusedOffersCount":10,"lastUnusedOfferAt":"2021-03-04T09:10:19.120Z",
            "lastUsedOfferAt":"2021-03-04T09:10:15.120Z","rejectSummaryLastOffers":[{"reason":"UnfulfilledRole",
            "declined":0,"processed":2},{"reason":"UnfulfilledConstraint","declined":1,"processed":2},
            {"reason":"NoCorrespondingReservationFound","declined":0,"processed":1},{"reason":"AgentMaintenance",
            "declined":0,"processed":1},{"reason":"InsufficientCpus","declined":0,"processed":1},
            {"reason":"InsufficientMemory","declined":1,"processed":1},{"reason":"InsufficientDisk",
            "declined":0,"processed":0},{"reason":"InsufficientGpus","declined":0,"processed":0},
            {"reason":"InsufficientPorts","declined":0,"processed":0},{"reason":"DeclinedScarceResources",
            "declined":0,"processed":0}],"rejectSummaryLaunchAttempt":[{"reason":"UnfulfilledRole",
            "declined":4,"processed":12},{"reason":"UnfulfilledConstraint","declined":0,"processed":8},
            {"reason":"NoCorrespondingReservationFound","declined":0,"processed":8},{"reason":"AgentMaintenance",
            "declined":0,"processed":8},{"reason":"InsufficientCpus","declined":0,"processed":8},
            {"reason":"InsufficientMemory","declined":6,"processed":8},{"reason":"InsufficientDisk",
            "declined":0,"processed":2},{"reason":"InsufficientGpus","declined":0,"processed":2},
            {"reason":"InsufficientPorts","declined":0,"processed":2},{"reason":"DeclinedScarceResources",
            "declined":0,"processed":2}]},"lastUnusedOffers":[{"offer":{"id":"o-1","hostname":"agent-1",
            "agentId":"S1","resources":[{"name":"cpus","role":"*","scalar":4.0},{"name":"ports",
            "role":"*","ranges":[{"begin":31000,"end":32000}]},{"name":"bandwidth","role":"*",
            "scalar":0.5}],"attributes":[{"name":"load","scalar":0.5},{"name":"nets","set":["a"]},
            {"name":"r","ranges":[{"begin":1,"end":2}]},{"name":"rack","text":"r1"}]},"reason":["InsufficientMemory",
            "UnfulfilledConstraint"],"timestamp":"2021-03-04T09:10:19.120Z"},{"offer":{"id":"o-2",
            "hostname":"agent-2","agentId":"S2","resources":[{"name":"cpus","role":"*","scalar":4.0},
            {"name":"ports","role":"*","ranges":[{"begin":31000,"end":32000}]},{"name":"bandwidth",
            "role":"*","scalar":0.5}],"attributes":[{"name":"load","scalar":0.5},{"name":"nets",
            "set":["a"]},{"name":"r","ranges":[{"begin":1,"end":2}]},{"name":"rack","text":"r1"}]},
            "reason":["InsufficientMemory"],"timestamp":"2021-03-04T09:10:19.120Z"}],"app":{"id":"/a",
            "backoffFactor":1.15,"backoffSeconds":1,"cmd":"sleep 100","cpus":1.0,"disk":0.0,"executor":"",
            "instances":1,"labels":{},"maxLaunchDelaySeconds":300,"mem":128.0,"gpus":0,"networks":[{"mode":"host"}],
            "portDefinitions":[{"port":10000,"name":"default","protocol":"tcp"}],"requirePorts":false,
            "upgradeStrategy":{"maximumOverCapacity":1.0,"minimumHealthCapacity":1.0},"version":"2021-03-04T09:10:11.120Z",
            "versionInfo":{"lastScalingAt":"2021-03-04T09:10:11.120Z","lastConfigChangeAt":"2021-03-04T09:10:11.120Z"},
            "killSelection":"YOUNGEST_FIRST","unreachableStrategy":{"inactiveAfterSeconds":0,
            "expungeAfterSeconds":0},"role":"*"}}]}"#]],
    );
    assert!(!String::from_utf8(queue::list(&view, false, at(9))).unwrap().contains("lastUnusedOffers"));
}

/// Which apps are queued, with their count and delay, at second 20.
#[test]
fn the_queue_holds_what_waits() {
    let delayed = |config, seconds| {
        move |app: &mut marathon_model::view::App| {
            app.delay = Some(Delay { config, current: Duration::from_millis(seconds), since: at(10) });
        }
    };
    let view = view()
        .app(app("/free").scheduled(1))
        .app(app("/held").scheduled(2).with(delayed(at(0), 15_500)))
        .app(app("/over").scheduled(1).with(delayed(at(0), 10_000)))
        .app(app("/other-config").scheduled(1).with(delayed(at(5), 15_000)))
        .app(app("/placed").add(1, Condition::Provisioned, |_| {}))
        .app(app("/running").running(3).staging(1))
        .app(app("/gone").scheduled(1).removed())
        .build();
    let read: serde_json::Value = serde_json::from_slice(&queue::list(&view, false, at(20))).unwrap();
    let rows = read["queue"].as_array().unwrap().iter().map(|it| {
        let delay = &it["delay"];
        format!("{} {} {} {}", it["app"]["id"], it["count"], delay["timeLeftSeconds"], delay["overdue"])
    });
    expect![[r#"
        "/free" 1 0 true
        "/held" 2 5 false
        "/other-config" 1 0 true
        "/over" 1 0 true
        "/placed" 0 0 true"#]]
    .assert_eq(&rows.collect::<Vec<_>>().join("\n"));
    assert!(queue::embeds_offers(["lastUnusedOffers"]) && !queue::embeds_offers(["x"]));
}

#[test]
fn info_and_leader() {
    let mut config = InfoConfig { version: "1.11.0".into(), buildref: "abc".into(), ..InfoConfig::default() };
    config.marathon.hostname = "h".into();
    config.marathon.master = Some("zk://u:p@z:2181/mesos".into());
    config.marathon.access_control_allow_origin = Some(vec!["*".into()]);
    config.zookeeper.zk = Some("zk://u:p@z:2181/marathon".into());
    check(
        info(&config, true, Some("h:8080"), Some(&FrameworkId::new("f-1"))),
        expect![[r#"
        {"name":"marathon","version":"1.11.0","buildref":"abc","elected":true,"leader":"h:8080",
        "frameworkId":"f-1","marathon_config":{"access_control_allow_origin":["*"],"checkpoint":true,
        "decline_offer_duration":120000,"default_network_name":null,"env_vars_prefix":null,
        "executor":"//cmd","failover_timeout":604800,"features":[],"framework_name":"marathon",
        "ha":true,"hostname":"h","launch_token":100,"launch_token_refresh_interval":30000,
        "leader_proxy_connection_timeout_ms":5000,"leader_proxy_read_timeout_ms":10000,"local_port_max":20000,
        "local_port_min":10000,"maintenance_mode":true,"master":"zk://xxxxxxxx:xxxxxxxx@z:2181/mesos",
        "max_instances_per_offer":5,"mesos_bridge_name":"mesos-bridge","mesos_heartbeat_failure_threshold":5,
        "mesos_heartbeat_interval":15000,"mesos_leader_ui_url":null,"mesos_role":"*","mesos_user":null,
        "new_group_enforce_role":"off","min_revive_offers_interval":5000,"offer_matching_timeout":3000,
        "on_elected_prepare_timeout":180000,"reconciliation_initial_delay":15000,"reconciliation_interval":600000,
        "scale_apps_initial_delay":15000,"scale_apps_interval":300000,"store_cache":true,
        "task_launch_confirm_timeout":300000,"task_launch_timeout":300000,"task_lost_expunge_initial_delay":300000,
        "task_lost_expunge_interval":30000,"task_reservation_timeout":20000,"webui_url":null},
        "zookeeper_config":{"zk":"zk://xxxxxxxx:xxxxxxxx@z:2181/marathon","zk_compression":true,
        "zk_compression_threshold":65536,"zk_connection_timeout":10000,"zk_max_node_size":1024000,
        "zk_max_versions":50,"zk_session_timeout":10000,"zk_timeout":10000},"http_config":{"http_port":8080,
        "https_port":8443}}"#]],
    );
    let bare = String::from_utf8(info(&InfoConfig::default(), false, None, None)).unwrap();
    assert!(bare.contains(r#""elected":false,"leader":null,"frameworkId":null"#));
    assert!(bare.contains(r#""zookeeper_config":{"zk":null,"#) && bare.contains(r#""master":null"#));
    check(leader("h:8080"), expect![[r#"{"leader":"h:8080"}"#]]);
    check(abdicated(), expect![[r#"{"message":"Leadership abdicated","details":[]}"#]]);
}
