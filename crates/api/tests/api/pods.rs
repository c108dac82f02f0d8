use std::sync::Arc;

use expect_test::expect;
use marathon_api::pods::{self, InstanceForm};
use marathon_api::{GroupEmbed, apps, deployment, group, queue, task};
use marathon_model::app::AppSpec;
use marathon_model::command::Refusal;
use marathon_model::deployment::{Action, ActionKind, Step};
use marathon_model::instance::{Condition, Health, Instance, Part, TaskFailure};
use marathon_model::offer::{IpAddress, TaskState};
use marathon_model::view::View;
use marathon_spec::{Features, Place, Rules, create_pod};
use marathon_testkit::*;

use crate::check;

/// Every field there is.
const FULL: &str = r#"{"id":"/shop/pod","labels":{"a":"b"},"user":"web",
  "environment":{"A":"b","S":{"secret":"pw"}},"secrets":{"pw":{"source":"/pw"}},
  "containers":[
    {"name":"web","exec":{"command":{"shell":"./web"},"overrideEntrypoint":true},
     "resources":{"cpus":0.1,"mem":32,"disk":1,"gpus":1},"resourceLimits":{"cpus":"unlimited","mem":64},
     "endpoints":[{"name":"http","containerPort":80,"hostPort":0,"protocol":["tcp","udp"],"labels":{"VIP":"x"},
       "networkNames":["overlay"]},{"name":"admin","containerPort":81}],
     "image":{"kind":"DOCKER","id":"nginx","forcePull":true,"pullConfig":{"secret":"pw"},"labels":{"x":"y"}},
     "environment":{"X":"y"},"user":"www","labels":{"l":"m"},
     "artifacts":[{"uri":"http://x/a.tgz","extract":false,"executable":true,"cache":true,"destPath":"d"}],"tty":true,
     "healthCheck":{"http":{"endpoint":"admin","path":"/h","scheme":"HTTPS"},"gracePeriodSeconds":1,
       "intervalSeconds":10,"maxConsecutiveFailures":2,"timeoutSeconds":5,"delaySeconds":4},
     "check":{"tcp":{"endpoint":"http"},"intervalSeconds":7,"timeoutSeconds":6,"delaySeconds":5},
     "volumeMounts":[{"name":"v","mountPath":"data","readOnly":true},{"name":"h","mountPath":"/etc/h"},
       {"name":"s","mountPath":"s"},{"name":"p","mountPath":"p"}],
     "lifecycle":{"killGracePeriodSeconds":1.5},"linuxInfo":{"seccomp":{"unconfined":true}}},
    {"name":"side","exec":{"command":{"argv":["a","b"]}},"resources":{},
     "healthCheck":{"exec":{"command":{"shell":"true"}}}}],
  "volumes":[{"name":"v"},{"name":"h","host":"/etc"},{"name":"s","secret":"pw"},
    {"name":"p","persistent":{"size":10,"type":"mount","maxSize":20,"constraints":[["path","LIKE","/a.*"]]}}],
  "networks":[{"name":"overlay","mode":"container","labels":{"n":"o"}}],
  "scaling":{"kind":"fixed","instances":3},
  "scheduling":{"backoff":{"backoff":0.5,"backoffFactor":1.5,"maxLaunchDelay":60},
    "upgrade":{"minimumHealthCapacity":0.5,"maximumOverCapacity":0},
    "placement":{"constraints":[{"fieldName":"hostname","operator":"UNIQUE"},
      {"fieldName":"@zone","operator":"GROUP_BY","value":"2"}],"acceptedResourceRoles":["*"]},
    "killSelection":"OLDEST_FIRST","unreachableStrategy":"disabled"},
  "executorResources":{"cpus":0.2,"mem":64,"disk":20},"role":"dev",
  "linuxInfo":{"ipcInfo":{"mode":"PRIVATE","shmSize":16}},"legacySharedCgroups":false}"#;

/// Two containers: one with a port and a check on it, one without either.
const PLAIN: &str = r#"{"id":"/shop/pod","scaling":{"instances":2},"containers":[
    {"name":"web","exec":{"command":{"shell":"./web"}},"resources":{"cpus":0.1,"mem":32},
     "endpoints":[{"name":"http"},{"name":"admin"}],"healthCheck":{"http":{"endpoint":"admin"}}},
    {"name":"side","image":{"id":"nginx"},"resources":{"cpus":0.2,"mem":64},"endpoints":[{"name":"metrics"}]}]}"#;

fn spec(body: &str) -> AppSpec {
    let update = marathon_request::pod(body.as_bytes()).unwrap();
    let features = Features { secrets: true, gpu_resources: true, ..Features::default() };
    let rules = Rules { mesos_role: "dev".into(), features, ..Rules::default() };
    let group = update.id.parent();
    create_pod(&update, &rules, &Place { enforce_role: None, current_role: None, group: &group }).unwrap()
}

/// A pod as the core keeps it, stored at `at(0)`.
fn pod(body: &str) -> AppBuilder {
    let made = spec(body);
    app(made.id.as_str()).spec(|spec| {
        let stamped = spec.clone();
        *spec = made;
        (spec.version, spec.config) = (stamped.version, stamped.config);
    })
}

fn parts(states: [Option<TaskState>; 2]) -> Vec<Part> {
    ["web", "side"]
        .iter()
        .zip(states)
        .map(|(name, state)| Part {
            name: (*name).into(),
            state,
            since: at(3),
            started_at: state.filter(|it| *it > TaskState::Starting).map(|_| at(3)),
            message: None,
            check: None,
        })
        .collect()
}

/// Gives the instance a task with these containers and three host ports.
fn contained(it: &mut Instance, states: [Option<TaskState>; 2]) {
    if let Some(task) = &mut it.task {
        task.parts = parts(states);
        task.ports = vec![31_001, 31_002, 31_003];
    }
}

const RUNS: [Option<TaskState>; 2] = [Some(TaskState::Running); 2];

fn passing() -> Vec<Health> {
    vec![Health { first_success: Some(at(4)), last_success: Some(at(9)), ..Health::default() }]
}

fn failing() -> Vec<Health> {
    vec![Health { last_failure: Some(at(8)), consecutive_failures: 1, ..Health::default() }]
}

fn status_of(view: &View) -> serde_json::Value {
    serde_json::from_slice(&pods::status(view, &path("/shop/pod"), at(50)).unwrap()).unwrap()
}

#[test]
fn a_definition() {
    let view = view().app(pod(FULL)).build();
    let (_, spec) = pods::find(&view, &path("/shop/pod")).unwrap();
    check(
        pods::definition(spec),
        expect![[r#"
        {"id":"/shop/pod","labels":{"a":"b"},"version":"2021-03-04T09:10:11.120Z","user":"web",
        "environment":{"A":"b","S":{"secret":"pw"}},"containers":[{"name":"web","exec":{"command":{"shell":"./web"},
        "overrideEntrypoint":true},"resources":{"cpus":0.1,"mem":32.0,"disk":1.0,"gpus":1},
        "resourceLimits":{"cpus":"unlimited","mem":64.0},"endpoints":[{"name":"http","containerPort":80,
        "hostPort":0,"protocol":["tcp","udp"],"labels":{"VIP":"x"},"networkNames":["overlay"]},
        {"name":"admin","containerPort":81,"protocol":["tcp"]}],"image":{"kind":"DOCKER",
        "id":"nginx","pullConfig":{"secret":"pw"},"forcePull":true,"labels":{"x":"y"}},"environment":{"X":"y"},
        "user":"www","healthCheck":{"http":{"endpoint":"admin","path":"/h","scheme":"HTTPS"},
        "gracePeriodSeconds":1,"intervalSeconds":10,"maxConsecutiveFailures":2,"timeoutSeconds":5,
        "delaySeconds":4},"check":{"tcp":{"endpoint":"http"},"intervalSeconds":7,"timeoutSeconds":6,
        "delaySeconds":5},"volumeMounts":[{"name":"v","mountPath":"data","readOnly":true},
        {"name":"h","mountPath":"/etc/h"},{"name":"s","mountPath":"s"},{"name":"p","mountPath":"p"}],
        "artifacts":[{"uri":"http://x/a.tgz","extract":false,"executable":true,"cache":true,
        "destPath":"d"}],"labels":{"l":"m"},"lifecycle":{"killGracePeriodSeconds":1.5},"tty":true,
        "linuxInfo":{"seccomp":{"unconfined":true}}},{"name":"side","exec":{"command":{"argv":["a",
        "b"]}},"resources":{"cpus":1.0,"mem":128.0,"disk":0.0,"gpus":0},"healthCheck":{"exec":{"command":{"shell":"true"}},
        "gracePeriodSeconds":300,"intervalSeconds":60,"maxConsecutiveFailures":3,"timeoutSeconds":20,
        "delaySeconds":15}}],"secrets":{"pw":{"source":"/pw"}},"volumes":[{"name":"v"},{"name":"h",
        "host":"/etc"},{"name":"s","secret":"pw"},{"name":"p","persistent":{"type":"mount",
        "size":10,"maxSize":20,"constraints":[["path","LIKE","/a.*"]]}}],"networks":[{"name":"overlay",
        "mode":"container","labels":{"n":"o"}}],"scaling":{"kind":"fixed","instances":3},
        "scheduling":{"backoff":{"backoff":0.5,"backoffFactor":1.5,"maxLaunchDelay":60.0},
        "upgrade":{"minimumHealthCapacity":0.5,"maximumOverCapacity":0.0},"placement":{"constraints":[{"fieldName":"hostname",
        "operator":"UNIQUE"},{"fieldName":"@zone","operator":"GROUP_BY","value":"2"}],"acceptedResourceRoles":["*"]},
        "killSelection":"OLDEST_FIRST","unreachableStrategy":"disabled"},"executorResources":{"cpus":0.2,
        "mem":64.0,"disk":20.0},"role":"dev","linuxInfo":{"ipcInfo":{"mode":"PRIVATE","shmSize":16}},
        "legacySharedCgroups":false}"#]],
    );
}

/// What is written can be sent back, and means the same.
#[test]
fn definitions_read_back() {
    for body in [FULL, PLAIN] {
        let before = spec(body);
        let written = String::from_utf8(pods::definition(&before)).unwrap();
        assert_eq!(spec(&written), before, "{written}");
    }
}

#[test]
fn the_least_definition() {
    check(
        pods::list(&view().app(pod(PLAIN)).app(app("/a")).build()),
        expect![[r#"
        [{"id":"/shop/pod","version":"2021-03-04T09:10:11.120Z","containers":[{"name":"web",
        "exec":{"command":{"shell":"./web"}},"resources":{"cpus":0.1,"mem":32.0,"disk":0.0,
        "gpus":0},"endpoints":[{"name":"http","hostPort":0,"protocol":["tcp"]},{"name":"admin",
        "hostPort":0,"protocol":["tcp"]}],"healthCheck":{"http":{"endpoint":"admin","scheme":"HTTP"},
        "gracePeriodSeconds":300,"intervalSeconds":60,"maxConsecutiveFailures":3,"timeoutSeconds":20,
        "delaySeconds":15}},{"name":"side","resources":{"cpus":0.2,"mem":64.0,"disk":0.0,
        "gpus":0},"endpoints":[{"name":"metrics","hostPort":0,"protocol":["tcp"]}],"image":{"kind":"DOCKER",
        "id":"nginx"}}],"networks":[{"mode":"host"}],"scaling":{"kind":"fixed","instances":2},
        "scheduling":{"backoff":{"backoff":1.0,"backoffFactor":1.15,"maxLaunchDelay":300.0},
        "upgrade":{"minimumHealthCapacity":1.0,"maximumOverCapacity":1.0},"placement":{},
        "killSelection":"YOUNGEST_FIRST","unreachableStrategy":{"inactiveAfterSeconds":0,
        "expungeAfterSeconds":0}},"executorResources":{"cpus":0.1,"mem":32.0,"disk":10.0},
        "role":"dev"}]"#]],
    );
}

#[test]
fn a_status() {
    let pod = pod(PLAIN).add(1, Condition::Running, |it| {
        contained(it, RUNS);
        it.health = passing();
    });
    check(
        pods::status(&view().app(pod).build(), &path("/shop/pod"), at(50)).unwrap(),
        expect![[r#"
        {"id":"/shop/pod","spec":{"id":"/shop/pod","version":"2021-03-04T09:10:11.120Z","containers":[{"name":"web",
        "exec":{"command":{"shell":"./web"}},"resources":{"cpus":0.1,"mem":32.0,"disk":0.0,
        "gpus":0},"endpoints":[{"name":"http","hostPort":0,"protocol":["tcp"]},{"name":"admin",
        "hostPort":0,"protocol":["tcp"]}],"healthCheck":{"http":{"endpoint":"admin","scheme":"HTTP"},
        "gracePeriodSeconds":300,"intervalSeconds":60,"maxConsecutiveFailures":3,"timeoutSeconds":20,
        "delaySeconds":15}},{"name":"side","resources":{"cpus":0.2,"mem":64.0,"disk":0.0,
        "gpus":0},"endpoints":[{"name":"metrics","hostPort":0,"protocol":["tcp"]}],"image":{"kind":"DOCKER",
        "id":"nginx"}}],"networks":[{"mode":"host"}],"scaling":{"kind":"fixed","instances":2},
        "scheduling":{"backoff":{"backoff":1.0,"backoffFactor":1.15,"maxLaunchDelay":300.0},
        "upgrade":{"minimumHealthCapacity":1.0,"maximumOverCapacity":1.0},"placement":{},
        "killSelection":"YOUNGEST_FIRST","unreachableStrategy":{"inactiveAfterSeconds":0,
        "expungeAfterSeconds":0}},"executorResources":{"cpus":0.1,"mem":32.0,"disk":10.0},
        "role":"dev"},"status":"DEGRADED","statusSince":"2021-03-04T09:10:13.120Z","instances":[{"id":"shop_pod.instance-00000001-7ccb-11eb-9a1c-0242ac110002",
        "status":"STABLE","statusSince":"2021-03-04T09:10:13.120Z","conditions":[],"agentHostname":"agent-1",
        "agentId":"S1","resources":{"cpus":0.4,"mem":128.0,"disk":10.0,"gpus":0},"networks":[{"addresses":["10.0.0.1"]}],
        "containers":[{"name":"web","status":"TASK_RUNNING","statusSince":"2021-03-04T09:10:14.120Z",
        "conditions":[{"name":"healthy","lastChanged":"2021-03-04T09:10:13.120Z","lastUpdated":"2021-03-04T09:10:20.120Z",
        "value":"true","reason":"health-reported-by-mesos"}],"containerId":"shop_pod.instance-00000001-7ccb-11eb-9a1c-0242ac110002.web.1",
        "endpoints":[{"name":"http","allocatedHostPort":31001},{"name":"admin","allocatedHostPort":31002,
        "healthy":true}],"resources":{"cpus":0.1,"mem":32.0,"disk":0.0,"gpus":0},"lastUpdated":"2021-03-04T09:10:14.120Z",
        "lastChanged":"2021-03-04T09:10:14.120Z"},{"name":"side","status":"TASK_RUNNING",
        "statusSince":"2021-03-04T09:10:14.120Z","conditions":[],"containerId":"shop_pod.instance-00000001-7ccb-11eb-9a1c-0242ac110002.side.1",
        "endpoints":[{"name":"metrics","allocatedHostPort":31003}],"resources":{"cpus":0.2,
        "mem":64.0,"disk":0.0,"gpus":0},"lastUpdated":"2021-03-04T09:10:14.120Z","lastChanged":"2021-03-04T09:10:14.120Z"}],
        "specReference":"/v2/pods/shop/pod::versions/2021-03-04T09:10:11.120Z","localVolumes":[],
        "lastUpdated":"2021-03-04T09:10:13.120Z","lastChanged":"2021-03-04T09:10:13.120Z",
        "role":"dev"}],"terminationHistory":[],"lastUpdated":"2021-03-04T09:11:01.120Z","lastChanged":"2021-03-04T09:10:13.120Z"}"#]],
    );
}

#[test]
fn instances_in_every_condition() {
    use TaskState::*;
    let row = |condition, states, health: Vec<Health>| {
        let pod = pod(PLAIN).add(1, condition, |it| {
            contained(it, states);
            it.health = health.clone();
        });
        let status = status_of(&view().app(pod).build());
        let it = &status["instances"][0];
        let text = |it: &serde_json::Value| it.as_str().unwrap_or("-").to_owned();
        let containers: Vec<String> = it["containers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| {
                let conditions = it["conditions"][0]["value"].as_str().unwrap_or("-").to_owned();
                let takes = if it["resources"].is_null() { "takes nothing" } else { "takes" };
                format!("{} {conditions} {takes}", text(&it["status"]))
            })
            .collect();
        format!("{}, {}: {}", text(&it["status"]), text(&it["message"]), containers.join(", "))
    };
    for (condition, states, health, want) in [
        (
            Condition::Provisioned,
            [None, None],
            vec![],
            "PENDING, -: TASK_STAGING - takes nothing, TASK_STAGING - takes nothing",
        ),
        (
            Condition::Staging,
            [Some(Staging), None],
            vec![],
            "STAGING, -: TASK_STAGING - takes, TASK_STAGING - takes nothing",
        ),
        (
            Condition::Starting,
            [Some(Running), Some(Starting)],
            vec![],
            "STAGING, -: TASK_RUNNING false takes, TASK_STARTING - takes",
        ),
        (Condition::Running, RUNS, passing(), "STABLE, -: TASK_RUNNING true takes, TASK_RUNNING - takes"),
        (
            Condition::Running,
            RUNS,
            failing(),
            "DEGRADED, at least one container is not healthy: TASK_RUNNING false takes, TASK_RUNNING - takes",
        ),
        (
            Condition::Running,
            RUNS,
            vec![Health::default()],
            "DEGRADED, at least one container is not healthy: TASK_RUNNING false takes, TASK_RUNNING - takes",
        ),
        (
            Condition::Unreachable,
            RUNS,
            passing(),
            "DEGRADED, pod instance has become unreachable: TASK_UNREACHABLE true takes, TASK_UNREACHABLE - takes",
        ),
        (
            Condition::Killing,
            [Some(Killing), Some(Killed)],
            vec![],
            "TERMINAL, -: TASK_KILLING false takes, TASK_KILLED - takes nothing",
        ),
        (
            Condition::Failed,
            [Some(Failed), Some(Killed)],
            vec![],
            "TERMINAL, -: TASK_FAILED - takes nothing, TASK_KILLED - takes nothing",
        ),
    ] {
        assert_eq!(row(condition, states, health), want, "{condition:?}");
    }
}

#[test]
fn pods_in_every_state() {
    let stable = |count| {
        pod(PLAIN).add(count, Condition::Running, |it| {
            contained(it, RUNS);
            it.health = passing();
        })
    };
    let text = |pod: AppBuilder| status_of(&view().app(pod).build())["status"].as_str().unwrap().to_owned();
    assert_eq!(text(stable(2)), "STABLE");
    assert_eq!(text(stable(1)), "DEGRADED");
    assert_eq!(text(stable(1).spec(|it| it.instances = 1)), "STABLE");
    assert_eq!(text(stable(0).spec(|it| it.instances = 0)), "STABLE");
    // What was never placed is shown in the queue.
    let waiting = view().app(pod(PLAIN).scheduled(2)).build();
    assert_eq!(status_of(&waiting)["instances"], serde_json::json!([]));
    // A removed pod is shown while a deployment takes it down, and only there.
    let removed =
        view().app(stable(1).removed()).deployment(1, 0, vec![action(ActionKind::StopApplication)]).build();
    assert_eq!(status_of(&removed)["status"], "TERMINAL");
    assert_eq!(pods::list(&removed), b"[]");
    let gone = view().app(stable(1).removed()).build();
    let missing = pods::status(&gone, &path("/shop/pod"), at(50));
    assert_eq!(missing, Err(Refusal::NoSuchPod(path("/shop/pod"))));
}

fn action(kind: ActionKind) -> Step {
    Step { actions: vec![Action { kind, app: path("/shop/pod"), pod: true, victims: Vec::new() }] }
}

#[test]
fn what_failed_last() {
    let mut part_ended = parts([Some(TaskState::Failed), Some(TaskState::Killed)]);
    part_ended[0].message = Some("exit status 3".into());
    let pod = pod(PLAIN)
        .add(1, Condition::Failed, move |it| {
            if let Some(task) = &mut it.task {
                task.parts.clone_from(&part_ended);
                task.started_at = Some(at(2));
            }
        })
        .with(|app| {
            let mut task = task_id("/shop/pod", 1);
            task.container = Some("web".into());
            app.failure = Some(Arc::new(TaskFailure {
                spec: path("/shop/pod"),
                task,
                state: TaskState::Failed,
                message: "exit status 3".into(),
                host: "agent-1".into(),
                agent: None,
                version: at(0),
                at: at(7),
            }));
        });
    let status = status_of(&view().app(pod).build());
    assert_eq!(status["instances"][0]["containers"][0]["termination"]["message"], "exit status 3");
    check(
        status["terminationHistory"].to_string(),
        expect![[r#"
        [{"instanceID":"shop_pod.instance-00000001-7ccb-11eb-9a1c-0242ac110002","startedAt":"2021-03-04T09:10:13.120Z",
        "terminatedAt":"2021-03-04T09:10:18.120Z","message":"exit status 3","containers":[{"containerId":"shop_pod.instance-00000001-7ccb-11eb-9a1c-0242ac110002.web.1",
        "lastKnownState":"TASK_FAILED","termination":{"message":"exit status 3"}}]}]"#]],
    );
}

#[test]
fn addresses_by_network() {
    let networks = |list: &str, addresses: &[&str]| {
        let body = PLAIN.replace(r#""scaling""#, &format!(r#""networks":[{list}],"scaling""#));
        let body = match list {
            "" => PLAIN.to_owned(),
            _ => body
                .replace(r#""name":"http""#, r#""name":"http","containerPort":80"#)
                .replace(r#""name":"admin"}"#, r#""name":"admin","containerPort":81}"#)
                .replace(r#""name":"metrics""#, r#""name":"metrics","containerPort":82"#),
        };
        let addresses: Vec<IpAddress> =
            addresses.iter().map(|it| IpAddress { address: (*it).into(), ipv6: false }).collect();
        let pod = pod(&body).add(1, Condition::Running, |it| {
            contained(it, RUNS);
            if let Some(task) = &mut it.task {
                task.addresses.clone_from(&addresses);
            }
        });
        status_of(&view().app(pod).build())["instances"][0]["networks"].to_string()
    };
    for (list, addresses, want) in [
        ("", &["10.0.0.1"][..], r#"[{"addresses":["10.0.0.1"]}]"#),
        ("", &[], "[]"),
        (r#"{"name":"n"}"#, &["9.0.0.1"], r#"[{"name":"n","addresses":["9.0.0.1"]}]"#),
        (
            r#"{"name":"n"},{"name":"m"}"#,
            &["9.0.0.1", "9.1.0.1"],
            r#"[{"name":"n","addresses":["9.0.0.1"]},{"name":"m","addresses":["9.1.0.1"]}]"#,
        ),
        (r#"{"name":"n"},{"name":"m"}"#, &["9.0.0.1"], r#"[{"name":"n","addresses":["9.0.0.1"]}]"#),
    ] {
        assert_eq!(networks(list, addresses), want, "{list}");
    }
}

#[test]
fn instances_in_both_forms() {
    let pod = pod(PLAIN).add(1, Condition::Running, |it| {
        contained(it, RUNS);
        it.health = passing();
    });
    let view = view().app(pod.scheduled(1)).build();
    let id = path("/shop/pod");
    check(
        pods::instances(&view, &id, InstanceForm::Present).unwrap(),
        expect![[r#"
        [{"instanceId":"shop_pod.instance-00000001-7ccb-11eb-9a1c-0242ac110002","state":{"condition":"Running",
        "since":"2021-03-04T09:10:13.120Z","activeSince":"2021-03-04T09:10:13.120Z","healthy":true,
        "goal":"Running"},"agentInfo":{"host":"agent-1","agentId":"S1","attributes":[]},"runSpecVersion":"2021-03-04T09:10:11.120Z",
        "unreachableStrategy":{"inactiveAfterSeconds":0,"expungeAfterSeconds":0}}]"#]],
    );
    check(
        pods::instances(&view, &id, InstanceForm::Early).unwrap(),
        expect![[r#"
        [{"instanceId":{"idString":"shop_pod.instance-00000001-7ccb-11eb-9a1c-0242ac110002"},
        "state":{"condition":{"str":"running"},"since":"2021-03-04T09:10:13.120Z","activeSince":"2021-03-04T09:10:13.120Z",
        "healthy":true,"goal":"Running"},"agentInfo":{"host":"agent-1","agentId":"S1","attributes":[]},
        "tasksMap":{"shop_pod.instance-00000001-7ccb-11eb-9a1c-0242ac110002.web.1":{"taskId":"shop_pod.instance-00000001-7ccb-11eb-9a1c-0242ac110002.web.1",
        "runSpecVersion":"2021-03-04T09:10:11.120Z","status":{"stagedAt":"2021-03-04T09:10:12.120Z",
        "startedAt":"2021-03-04T09:10:14.120Z","condition":{"str":"running"},"networkInfo":{"hostName":"agent-1",
        "hostPorts":[31001,31002,31003],"ipAddresses":[{"ipAddress":"10.0.0.1","protocol":"IPv4"}]}}},
        "shop_pod.instance-00000001-7ccb-11eb-9a1c-0242ac110002.side.1":{"taskId":"shop_pod.instance-00000001-7ccb-11eb-9a1c-0242ac110002.side.1",
        "runSpecVersion":"2021-03-04T09:10:11.120Z","status":{"stagedAt":"2021-03-04T09:10:12.120Z",
        "startedAt":"2021-03-04T09:10:14.120Z","condition":{"str":"running"},"networkInfo":{"hostName":"agent-1",
        "hostPorts":[31001,31002,31003],"ipAddresses":[{"ipAddress":"10.0.0.1","protocol":"IPv4"}]}}}},
        "runSpecVersion":"2021-03-04T09:10:11.120Z","unreachableStrategy":{"inactiveAfterSeconds":0,
        "expungeAfterSeconds":0}}]"#]],
    );
}

#[test]
fn versions() {
    let view = view().app(pod(PLAIN)).app(app("/a")).build();
    let id = path("/shop/pod");
    check(pods::versions(&view, &id).unwrap(), expect![[r#"["2021-03-04T09:10:11.120Z"]"#]]);
    assert_eq!(
        pods::version(&view, &id, at(0)).unwrap(),
        pods::definition(view.app(&id).unwrap().spec.as_ref().unwrap())
    );
    let (status, body) = pods::version(&view, &id, at(1)).unwrap_err();
    assert_eq!(status, 404);
    check(
        body,
        expect![[
            r#"{"message":"Pod '/shop/pod' does not exist in version 2021-03-04T09:10:12.120Z","details":[]}"#
        ]],
    );
    assert!(pods::versions(&view, &path("/a")).is_err() && pods::version(&view, &path("/a"), at(0)).is_err());
}

#[test]
fn elsewhere() {
    let pod = pod(PLAIN).add(1, Condition::Running, |it| contained(it, RUNS)).scheduled(1);
    let view = view().app(pod).app(app("/shop/cart").running(1));
    let view = view
        .deployment(
            1,
            0,
            vec![action(ActionKind::StartApplication), step(&[(ActionKind::ScaleApplication, "/shop/cart")])],
        )
        .build();
    let id = path("/shop/pod");
    let read = |body: Vec<u8>| serde_json::from_slice::<serde_json::Value>(&body).unwrap();

    // Shown as what it is …
    let tree = read(group::one(&view, &path("/shop"), GroupEmbed::ALL, at(9)).unwrap());
    assert_eq!((&tree["apps"][0]["id"], &tree["apps"][1]), (&"/shop/cart".into(), &serde_json::Value::Null));
    assert_eq!(
        (&tree["pods"][0]["id"], &tree["pods"][0]["status"]),
        (&"/shop/pod".into(), &"DEGRADED".into())
    );
    let past = read(group::version(&view, &path("/shop"), at(0), GroupEmbed::ALL, at(9)).unwrap());
    assert_eq!(past["pods"][0]["spec"]["id"], "/shop/pod");
    let none = read(group::one(&view, &path("/shop"), GroupEmbed::parse(["group.apps"]), at(9)).unwrap());
    assert_eq!(none["pods"], serde_json::json!([]));
    let entry = read(queue::list(&view, false, at(9)))["queue"][0].clone();
    assert_eq!((&entry["pod"]["id"], &entry["app"]), (&"/shop/pod".into(), &serde_json::Value::Null));
    check(
        deployment::list(&view, false),
        expect![[r#"
        [{"id":"00000001-7ccb-11eb-9a1c-0242ac110002","version":"2021-03-04T09:10:11.120Z",
        "affectedApps":["/shop/cart"],"affectedPods":["/shop/pod"],"steps":[{"actions":[{"action":"StartPod",
        "pod":"/shop/pod"}]},{"actions":[{"action":"ScaleApplication","app":"/shop/cart"}]}],
        "currentActions":[{"action":"StartPod","pod":"/shop/pod","readinessCheckResults":[]}],
        "currentStep":1,"totalSteps":2}]"#]],
    );

    // … and never as an app.
    assert!(apps::one(&view, &id, Default::default(), at(9)).is_err());
    assert!(apps::versions(&view, &id).is_err() && apps::version(&view, &id, at(0)).is_err());
    assert!(task::of_app(&view, &id).is_err() && task::plain_of_app(&view, &id).is_err());
    for body in [
        task::all(&view, Default::default()),
        task::plain(&view),
        task::below(&view, &path("/shop")).unwrap(),
        apps::below(&view, &path("/shop"), Default::default(), at(9)).unwrap(),
        group::apps(&view, &path("/shop"), Default::default(), at(9)),
        marathon_api::AppsCache::default().list(&view, Default::default(), None, at(9)).to_vec(),
    ] {
        let text = String::from_utf8(body).unwrap();
        assert!(text.contains("shop_cart") || text.contains("/shop/cart"), "{text}");
        assert!(!text.contains("pod"), "{text}");
    }
}
