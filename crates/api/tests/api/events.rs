use std::sync::Arc;
use std::time::Duration;

use expect_test::expect;
use marathon_api::event::{PlanFormat, frame, has_plan, write};
use marathon_model::app::{CheckPort, HealthCheck, HealthKind};
use marathon_model::callback::CallbackUrl;
use marathon_model::command::Origin;
use marathon_model::deployment::{ActionKind, Deployment};
use marathon_model::instance::Condition;
use marathon_model::notice::{Notice, StepNews, What};
use marathon_model::offer::{IpAddress, TaskState};
use marathon_testkit::*;

fn check() -> HealthCheck {
    HealthCheck {
        kind: HealthKind::Tcp { by_engine: false, port: CheckPort::Index(0) },
        grace: Duration::from_secs(300),
        interval: Duration::from_secs(60),
        timeout: Duration::from_secs(20),
        delay: Duration::from_secs(15),
        max_failures: 3,
        ipv6: false,
    }
}

fn plan() -> Arc<Deployment> {
    let steps = vec![step(&[(ActionKind::ScaleApplication, "/a")])];
    let view = view().deployment(1, 0, steps).build();
    view.deployments.values().next().unwrap().clone()
}

fn status_update(message: &str) -> What {
    What::StatusUpdate {
        task: task_id("/a", 1),
        agent: "S1".into(),
        host: "agent-1".into(),
        state: TaskState::GoneByOperator,
        message: message.into(),
        ports: vec![31_001],
        addresses: vec![IpAddress { address: "10.0.0.1".into(), ipv6: false }],
        version: at(0),
    }
}

fn url(text: &str) -> CallbackUrl {
    CallbackUrl::parse(text).unwrap()
}

fn all() -> Vec<What> {
    let (instance, task) = (instance_id("/a", 1), task_id("/a", 1));
    let running = app("/a").running(1).scheduled(1).build();
    let instances: Vec<_> = running.instances.values().cloned().collect();
    let step = step(&[(ActionKind::ScaleApplication, "/a")]);
    let spec = app("/a").build().spec.unwrap();
    let (a, g) = (path("/a"), path("/g"));
    vec![
        What::ApiPost {
            origin: Origin { client_ip: "10.1.2.3".into(), uri: "/v2/apps//a".into() },
            app: spec,
        },
        What::SchedulerRegistered { framework: "f-1".into(), master: "m".into() },
        What::SchedulerReregistered { master: "m".into() },
        What::SchedulerDisconnected,
        What::CallbackAdded { client_ip: "10.1.2.3".into(), url: url("http://u:p@h/x?y") },
        What::CallbackRemoved { client_ip: "10.1.2.3".into(), url: url("http://h") },
        What::StreamAttached { remote: "10.1.2.9".into() },
        What::StreamDetached { remote: "10.1.2.9".into() },
        What::HealthCheckAdded { app: a.clone(), version: at(0), check: check() },
        What::HealthCheckRemoved { app: a.clone() },
        What::HealthCheckFailed { instance: instance.clone(), task: task.clone(), check: check() },
        What::HealthChanged { instance: instance.clone(), task, version: at(0), alive: true },
        What::UnhealthyKilled { instance: instances[0].clone(), reason: "HTTP code 503".into() },
        What::UnhealthyKilled { instance: instances[1].clone(), reason: String::new() },
        What::GroupChanged { group: g.clone(), version: at(0) },
        What::GroupChangeFailed { group: g, version: at(0), reason: "locked".into() },
        What::DeploymentStep { how: StepNews::Began, plan: plan(), step: step.clone() },
        What::DeploymentStep { how: StepNews::Succeeded, plan: plan(), step: step.clone() },
        What::DeploymentStep { how: StepNews::Failed, plan: plan(), step },
        What::DeploymentSucceeded { plan: plan() },
        What::DeploymentFailed { plan: plan(), reason: "cancelled".into() },
        What::AppTerminated { app: a },
        status_update("two\nlines"),
        What::InstanceChanged { instance: instances[0].clone() },
        What::InstanceChanged { instance: instances[1].clone() },
        What::InstanceHealthChanged { instance: instance.clone(), version: at(0), healthy: None },
        What::InstanceHealthChanged { instance: instance.clone(), version: at(0), healthy: Some(false) },
        What::UnknownInstanceTerminated { instance, condition: Condition::Failed },
    ]
}

#[test]
fn every_event() {
    let mut lines = String::new();
    for what in all() {
        let name = what.name();
        let line = String::from_utf8(write(&Notice { at: at(9), what }, PlanFormat::Light)).unwrap();
        let read: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(read["eventType"], name);
        assert_eq!(serde_json::to_string(&read).unwrap(), line);
        lines += &line;
        lines.push('\n');
    }
    expect![[r#"
        {"clientIp":"10.1.2.3","uri":"/v2/apps//a","appDefinition":{"id":"/a","backoffFactor":1.15,"backoffSeconds":1,"cmd":"sleep 100","cpus":1.0,"disk":0.0,"executor":"","instances":1,"labels":{},"maxLaunchDelaySeconds":300,"mem":128.0,"gpus":0,"networks":[{"mode":"host"}],"portDefinitions":[{"port":10000,"name":"default","protocol":"tcp"}],"requirePorts":false,"upgradeStrategy":{"maximumOverCapacity":1.0,"minimumHealthCapacity":1.0},"version":"2021-03-04T09:10:11.120Z","versionInfo":{"lastScalingAt":"2021-03-04T09:10:11.120Z","lastConfigChangeAt":"2021-03-04T09:10:11.120Z"},"killSelection":"YOUNGEST_FIRST","unreachableStrategy":{"inactiveAfterSeconds":0,"expungeAfterSeconds":0},"role":"*"},"eventType":"api_post_event","timestamp":"2021-03-04T09:10:20.120Z"}
        {"frameworkId":"f-1","master":"m","eventType":"scheduler_registered_event","timestamp":"2021-03-04T09:10:20.120Z"}
        {"master":"m","eventType":"scheduler_reregistered_event","timestamp":"2021-03-04T09:10:20.120Z"}
        {"eventType":"scheduler_disconnected_event","timestamp":"2021-03-04T09:10:20.120Z"}
        {"clientIp":"10.1.2.3","callbackUrl":"http://u:p@h/x?y","eventType":"subscribe_event","timestamp":"2021-03-04T09:10:20.120Z"}
        {"clientIp":"10.1.2.3","callbackUrl":"http://h","eventType":"unsubscribe_event","timestamp":"2021-03-04T09:10:20.120Z"}
        {"remoteAddress":"10.1.2.9","eventType":"event_stream_attached","timestamp":"2021-03-04T09:10:20.120Z"}
        {"remoteAddress":"10.1.2.9","eventType":"event_stream_detached","timestamp":"2021-03-04T09:10:20.120Z"}
        {"appId":"/a","version":"2021-03-04T09:10:11.120Z","healthCheck":{"gracePeriodSeconds":300,"intervalSeconds":60,"maxConsecutiveFailures":3,"portIndex":0,"protocol":"TCP","ipProtocol":"IPv4","timeoutSeconds":20,"delaySeconds":15},"eventType":"add_health_check_event","timestamp":"2021-03-04T09:10:20.120Z"}
        {"appId":"/a","eventType":"remove_health_check_event","timestamp":"2021-03-04T09:10:20.120Z"}
        {"appId":"/a","taskId":"a.instance-00000001-7ccb-11eb-9a1c-0242ac110002._app.1","instanceId":"a.instance-00000001-7ccb-11eb-9a1c-0242ac110002","healthCheck":{"gracePeriodSeconds":300,"intervalSeconds":60,"maxConsecutiveFailures":3,"portIndex":0,"protocol":"TCP","ipProtocol":"IPv4","timeoutSeconds":20,"delaySeconds":15},"eventType":"failed_health_check_event","timestamp":"2021-03-04T09:10:20.120Z"}
        {"appId":"/a","taskId":"a.instance-00000001-7ccb-11eb-9a1c-0242ac110002._app.1","instanceId":"a.instance-00000001-7ccb-11eb-9a1c-0242ac110002","version":"2021-03-04T09:10:11.120Z","alive":true,"eventType":"health_status_changed_event","timestamp":"2021-03-04T09:10:20.120Z"}
        {"appId":"/a","taskId":"a.instance-00000001-7ccb-11eb-9a1c-0242ac110002._app.1","instanceId":"a.instance-00000001-7ccb-11eb-9a1c-0242ac110002","version":"2021-03-04T09:10:11.120Z","reason":"HTTP code 503","host":"agent-1","slaveId":"S1","eventType":"unhealthy_instance_kill_event","timestamp":"2021-03-04T09:10:20.120Z"}
        {"appId":"/a","taskId":"a.instance-00000002-7ccb-11eb-9a1c-0242ac110002","instanceId":"a.instance-00000002-7ccb-11eb-9a1c-0242ac110002","version":"2021-03-04T09:10:11.120Z","reason":"","host":"unknown","eventType":"unhealthy_instance_kill_event","timestamp":"2021-03-04T09:10:20.120Z"}
        {"groupId":"/g","version":"2021-03-04T09:10:11.120Z","eventType":"group_change_success","timestamp":"2021-03-04T09:10:20.120Z"}
        {"groupId":"/g","version":"2021-03-04T09:10:11.120Z","reason":"locked","eventType":"group_change_failed","timestamp":"2021-03-04T09:10:20.120Z"}
        {"plan":{"id":"00000001-7ccb-11eb-9a1c-0242ac110002","steps":[{"actions":[{"action":"ScaleApplication","app":"/a"}]}],"version":"2021-03-04T09:10:11.120Z"},"currentStep":{"actions":[{"action":"ScaleApplication","app":"/a"}]},"eventType":"deployment_info","timestamp":"2021-03-04T09:10:20.120Z"}
        {"plan":{"id":"00000001-7ccb-11eb-9a1c-0242ac110002","steps":[{"actions":[{"action":"ScaleApplication","app":"/a"}]}],"version":"2021-03-04T09:10:11.120Z"},"currentStep":{"actions":[{"action":"ScaleApplication","app":"/a"}]},"eventType":"deployment_step_success","timestamp":"2021-03-04T09:10:20.120Z"}
        {"plan":{"id":"00000001-7ccb-11eb-9a1c-0242ac110002","steps":[{"actions":[{"action":"ScaleApplication","app":"/a"}]}],"version":"2021-03-04T09:10:11.120Z"},"currentStep":{"actions":[{"action":"ScaleApplication","app":"/a"}]},"eventType":"deployment_step_failure","timestamp":"2021-03-04T09:10:20.120Z"}
        {"id":"00000001-7ccb-11eb-9a1c-0242ac110002","plan":{"id":"00000001-7ccb-11eb-9a1c-0242ac110002","steps":[{"actions":[{"action":"ScaleApplication","app":"/a"}]}],"version":"2021-03-04T09:10:11.120Z"},"eventType":"deployment_success","timestamp":"2021-03-04T09:10:20.120Z"}
        {"id":"00000001-7ccb-11eb-9a1c-0242ac110002","plan":{"id":"00000001-7ccb-11eb-9a1c-0242ac110002","steps":[{"actions":[{"action":"ScaleApplication","app":"/a"}]}],"version":"2021-03-04T09:10:11.120Z"},"reason":"cancelled","eventType":"deployment_failed","timestamp":"2021-03-04T09:10:20.120Z"}
        {"appId":"/a","eventType":"app_terminated_event","timestamp":"2021-03-04T09:10:20.120Z"}
        {"slaveId":"S1","taskId":"a.instance-00000001-7ccb-11eb-9a1c-0242ac110002._app.1","taskStatus":"TASK_GONE_BY_OPERATOR","message":"two\nlines","appId":"/a","host":"agent-1","ipAddresses":[{"ipAddress":"10.0.0.1","protocol":"IPv4"}],"ports":[31001],"version":"2021-03-04T09:10:11.120Z","eventType":"status_update_event","timestamp":"2021-03-04T09:10:20.120Z"}
        {"instanceId":"a.instance-00000001-7ccb-11eb-9a1c-0242ac110002","condition":"Running","runSpecId":"/a","agentId":"S1","host":"agent-1","runSpecVersion":"2021-03-04T09:10:11.120Z","eventType":"instance_changed_event","timestamp":"2021-03-04T09:10:20.120Z"}
        {"instanceId":"a.instance-00000002-7ccb-11eb-9a1c-0242ac110002","condition":"Scheduled","runSpecId":"/a","agentId":null,"host":null,"runSpecVersion":"2021-03-04T09:10:11.120Z","eventType":"instance_changed_event","timestamp":"2021-03-04T09:10:20.120Z"}
        {"instanceId":"a.instance-00000001-7ccb-11eb-9a1c-0242ac110002","runSpecId":"/a","healthy":null,"runSpecVersion":"2021-03-04T09:10:11.120Z","eventType":"instance_health_changed_event","timestamp":"2021-03-04T09:10:20.120Z"}
        {"instanceId":"a.instance-00000001-7ccb-11eb-9a1c-0242ac110002","runSpecId":"/a","healthy":false,"runSpecVersion":"2021-03-04T09:10:11.120Z","eventType":"instance_health_changed_event","timestamp":"2021-03-04T09:10:20.120Z"}
        {"instanceId":"a.instance-00000001-7ccb-11eb-9a1c-0242ac110002","runSpecId":"/a","condition":"Failed","eventType":"unknown_instance_terminated_event","timestamp":"2021-03-04T09:10:20.120Z"}
    "#]].assert_eq(&lines);
}

#[test]
fn a_frame_is_two_lines() {
    let frame = frame(&Notice { at: at(9), what: What::SchedulerDisconnected }, PlanFormat::Full);
    let want = "event: scheduler_disconnected_event\r\n\
                data: {\"eventType\":\"scheduler_disconnected_event\",\"timestamp\":\"2021-03-04T09:10:20.120Z\"}\r\n";
    assert_eq!(String::from_utf8(frame).unwrap(), want);
}

#[test]
fn long_messages_are_cut_between_characters() {
    let body = write(&Notice { at: at(9), what: status_update(&"é".repeat(10_001)) }, PlanFormat::Full);
    let read: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(read["message"], "é".repeat(10_000));
}

/// marathon-python reads `original` and `target` of every plan and fails where they are missing.
#[test]
fn a_plan_has_all_its_keys_unless_the_light_form_is_asked_for() {
    let mut plans = 0;
    for what in all() {
        let (planned, name) = (has_plan(&what), what.name());
        let notice = Notice { at: at(9), what };
        let [full, light] = [PlanFormat::Full, PlanFormat::Light].map(|format| write(&notice, format));
        let read: serde_json::Value = serde_json::from_slice(&full).unwrap();
        assert_eq!(read.get("plan").is_some(), planned, "{name}");
        assert_eq!(full != light, planned, "{name}");
        if let Some(plan) = read.get("plan") {
            assert_eq!(plan["original"], serde_json::json!({}), "{name}");
            assert_eq!(plan["target"], serde_json::json!({}), "{name}");
            plans += 1;
        }
    }
    assert_eq!(plans, 5);
}
