//! Rows of pods and what reading them gives.

use std::time::Duration;

use marathon_model::app::*;
use marathon_model::command::Violation;
use marathon_model::update::PodUpdate;
use marathon_request::{BadRequest, instance_id, instance_ids, pod};
use proptest::prelude::*;

fn lines(error: BadRequest) -> String {
    let all = |kind: &str, all: Vec<Violation>| {
        all.iter().map(|it| format!("{kind} {} {}", it.path, it.message)).collect::<Vec<_>>().join("; ")
    };
    match error {
        BadRequest::Shape(it) => all("shape", it),
        BadRequest::Invalid(it) => all("rule", it),
        BadRequest::Illegal(text) => format!("illegal {text}"),
        other => format!("{other:?}"),
    }
}

#[track_caller]
fn check(body: &str, want: &str) {
    let got = pod(body.as_bytes()).map_or_else(lines, |_| "ok".to_owned());
    assert_eq!(got, want, "{body}");
}

/// Rows of fields beside a right id and right containers.
#[track_caller]
fn check_fields(rows: &[(&str, &str)]) {
    for (fields, want) in rows {
        check(&format!(r#"{{"id":"/p","containers":[{{"name":"a","resources":{{}}}}],{fields}}}"#), want);
    }
}

/// Rows of fields of a container beside its name and resources.
#[track_caller]
fn check_container(rows: &[(&str, &str)]) {
    for (fields, want) in rows {
        check(
            &format!(r#"{{"id":"/p","containers":[{{"name":"a","resources":{{}},{fields}}}]}}"#),
            &want.replace('@', "/containers(0)"),
        );
    }
}

#[track_caller]
fn read(body: &str) -> PodUpdate {
    pod(body.as_bytes()).unwrap_or_else(|error| panic!("{body}: {}", lines(error)))
}

/// Every field there is.
const FULL: &str = r#"{"id":"/shop/pod","version":"2020-01-01T00:00:00.000Z","labels":{"a":"b"},"user":"web",
  "environment":{"A":"b","S":{"secret":"pw"}},"secrets":{"pw":{"source":"/pw"}},
  "containers":[
    {"name":"web","exec":{"command":{"shell":"./web"},"overrideEntrypoint":true},
     "resources":{"cpus":0.1,"mem":32,"disk":1,"gpus":1},"resourceLimits":{"cpus":"unlimited","mem":64},
     "endpoints":[{"name":"http","containerPort":80,"hostPort":0,"protocol":["tcp","UDP"],"labels":{"VIP":"x"},
       "networkNames":["overlay"]},{"name":"admin","containerPort":81}],
     "image":{"kind":"docker","id":"nginx","forcePull":true,"pullConfig":{"secret":"pw"},"labels":{"x":"y"}},
     "environment":{"X":"y"},"user":"www","labels":{"l":"m"},
     "artifacts":[{"uri":"http://x/a.tgz","extract":false,"executable":true,"cache":true,"destPath":"d"}],"tty":true,
     "healthCheck":{"http":{"endpoint":"admin","path":"/h","scheme":"HTTPS"},"gracePeriodSeconds":1,
       "intervalSeconds":10,"maxConsecutiveFailures":2,"timeoutSeconds":5,"delaySeconds":4},
     "check":{"tcp":{"endpoint":"http"},"intervalSeconds":7,"timeoutSeconds":6,"delaySeconds":5},
     "volumeMounts":[{"name":"v","mountPath":"data","readOnly":true}],
     "lifecycle":{"killGracePeriodSeconds":1.5},"linuxInfo":{"seccomp":{"unconfined":true}}},
    {"name":"side","exec":{"command":{"argv":["a","b"]}},"resources":{},"endpoints":[{"name":"metrics"}],
     "healthCheck":{"tcp":{"endpoint":"metrics"}}}],
  "volumes":[{"name":"v"},{"name":"h","host":"/etc"},{"name":"s","secret":"pw"},
    {"name":"p","persistent":{"size":10,"type":"mount","maxSize":20,"constraints":[["path","LIKE","/a.*"]]}}],
  "networks":[{"name":"overlay","mode":"container","labels":{"n":"o"}}],
  "scaling":{"kind":"fixed","instances":3,"maxInstances":7},
  "scheduling":{"backoff":{"backoff":0.5,"backoffFactor":1.5,"maxLaunchDelay":60},
    "upgrade":{"minimumHealthCapacity":0.5,"maximumOverCapacity":0.25},
    "placement":{"constraints":[{"fieldName":"hostname","operator":"unique"},
      {"fieldName":"@zone","operator":"GROUP_BY","value":"2"}],"acceptedResourceRoles":["*"]},
    "killSelection":"OldestFirst","unreachableStrategy":"disabled"},
  "executorResources":{"cpus":0.2,"mem":64,"disk":20},"role":"dev",
  "linuxInfo":{"ipcInfo":{"mode":"PRIVATE","shmSize":16}},"legacySharedCgroups":false}"#;

#[test]
fn every_field_arrives() {
    let it = read(FULL);
    assert_eq!((it.id.as_str(), it.user.as_deref(), it.instances), ("/shop/pod", Some("web"), Some(3)));
    assert_eq!(it.env["S"], EnvValue::Secret("pw".into()));
    assert_eq!(it.backoff_initial, Some(Duration::from_millis(500)));
    assert_eq!((it.backoff_factor, it.backoff_max), (Some(1.5), Some(Duration::from_secs(60))));
    assert_eq!(it.constraints.len(), 2);
    assert_eq!(it.constraints[0].operator, Operator::Unique);
    assert_eq!(it.kill_selection, Some(KillSelection::OldestFirst));
    assert_eq!(it.unreachable, Some(UnreachableStrategy::Disabled));
    assert_eq!(it.role.as_deref(), Some("dev"));
    assert_eq!(it.pod.legacy_shared_cgroups, Some(false));
    assert!(it.pod.linux.is_some() && it.pod.is_resident());

    let web = &it.pod.containers[0];
    assert_eq!(web.exec.as_ref().map(|it| it.override_entrypoint), Some(Some(true)));
    assert_eq!(web.endpoints[0].protocols, [Protocol::Tcp, Protocol::Udp]);
    assert_eq!(web.endpoints[1].protocols, [Protocol::Tcp], "the default");
    assert_eq!(web.kill_grace, Some(Duration::from_millis(1500)));
    assert_eq!(web.mounts[0].read_only, Some(true));
    assert_eq!(web.image.as_ref().and_then(|it| it.pull_secret.as_deref()), Some("pw"));
    assert!(web.artifacts[0].executable && web.linux.is_some() && web.tty == Some(true));
    let side = &it.pod.containers[1];
    assert_eq!((side.resources.cpus.as_f64(), side.resources.mem.as_f64()), (1.0, 128.0));
    let sources: Vec<_> = it.pod.volumes.iter().map(|it| std::mem::discriminant(&it.source)).collect();
    assert!((0..4).all(|a| (0..a).all(|b| sources[a] != sources[b])));
}

/// Endpoints are numbered through the whole pod.
#[test]
fn checks_find_their_endpoint() {
    let it = read(FULL);
    let ports: Vec<_> = it
        .pod
        .checked()
        .map(|(_, it)| match it.kind {
            HealthKind::Http { port, by_engine: true, https: true, .. } => port,
            HealthKind::Tcp { port, by_engine: true } => port,
            _ => panic!("{it:?}"),
        })
        .collect();
    assert_eq!(ports, [CheckPort::Index(1), CheckPort::Index(2)]);
    let check = it.pod.containers[0].check.as_ref().map(|it| it.kind.clone());
    assert_eq!(check, Some(CheckKind::Tcp { port: CheckPort::Index(0) }));
}

#[test]
fn what_a_pod_needs() {
    let echo = |body: &str| {
        format!(
            "shape /id 'id' is undefined on object: {body}; shape /containers 'containers' is undefined on object: {body}"
        )
    };
    check("{}", &echo("{}"));
    check("[]", "shape / error.expected.jsobject");
    check(r#"{"id":"/a","containers":[]}"#, "shape /containers error.minLength");
    check(r#"{"id":"a","containers":[{"name":"a","resources":{}}]}"#, "rule /id Path needs to be absolute");
    check(r#"{"id":"/A","containers":[{"name":"a","resources":{}}]}"#, "shape /id error.pattern");
    check(r#"{"id":"","containers":[{"name":"a","resources":{}}]}"#, "shape /id error.minLength");
    check(
        r#"{"id":"/a","containers":[{}]}"#,
        "shape /containers(0)/name error.path.missing; shape /containers(0)/resources error.path.missing",
    );
}

#[test]
fn fields_of_the_pod() {
    check_fields(&[
        (r#""labels":null,"networks":null,"volumes":null,"scaling":null,"scheduling":null"#, "ok"),
        (r#""unknown":7,"version":"nonsense""#, "ok"),
        (r#""user":"""#, "shape /user error.minLength"),
        (r#""labels":{"a":1}"#, "shape /labels/a error.expected.jsstring"),
        (r#""environment":{"1a":"x"}"#, "shape /environment/1a error.pattern"),
        (r#""environment":{"A":{}}"#, "shape /environment/A/secret error.path.missing"),
        (r#""secrets":{"a":{}}"#, "shape /secrets/a/source error.path.missing"),
        (r#""networks":[{"mode":"bridge"}]"#, "shape /networks(0)/mode error.unknown.enum.literal"),
        (r#""networks":[{"name":"A"}]"#, "shape /networks(0)/name error.pattern"),
        (r#""volumes":[{}]"#, "shape /volumes(0)/name error.path.missing"),
        (r#""volumes":[{"name":"A"}]"#, "shape /volumes(0)/name error.pattern"),
        (r#""volumes":[{"name":"a","host":""}]"#, "shape /volumes(0)/host error.minLength"),
        (
            r#""volumes":[{"name":"a","persistent":{}}]"#,
            "shape /volumes(0)/persistent/size error.path.missing",
        ),
        (
            r#""volumes":[{"name":"a","host":"/a","secret":"b"}]"#,
            "rule /volumes(0) Only one of host, secret, or persistent may be specified",
        ),
        (r#""scaling":{"kind":"auto"}"#, "rule /scaling Not a fixed scaling policy"),
        (r#""scaling":{"instances":-1}"#, "shape /scaling/instances error.min"),
        (r#""scaling":{"instances":1.5}"#, "shape /scaling/instances error.expected.int"),
        (r#""scheduling":{"backoff":{"backoff":-1}}"#, "shape /scheduling/backoff/backoff error.min"),
        (
            r#""scheduling":{"backoff":{"maxLaunchDelay":1e99}}"#,
            "shape /scheduling/backoff/maxLaunchDelay error.max",
        ),
        (
            r#""scheduling":{"upgrade":{"minimumHealthCapacity":"1"}}"#,
            "shape /scheduling/upgrade/minimumHealthCapacity error.expected.jsnumber",
        ),
        (
            r#""scheduling":{"placement":{"constraints":[{"fieldName":"a","operator":"NEAR"},{"operator":"IS"}]}}"#,
            "shape /scheduling/placement/constraints(0)/operator error.unknown.enum.literal; \
             shape /scheduling/placement/constraints(1)/fieldName error.path.missing",
        ),
        (
            r#""scheduling":{"killSelection":"ANY"}"#,
            "shape /scheduling/killSelection error.unknown.enum.literal",
        ),
        (r#""scheduling":{"killSelection":"YoungestFirst"}"#, "ok"),
        (
            r#""scheduling":{"unreachableStrategy":{"inactiveAfterSeconds":-1}}"#,
            "rule /scheduling/unreachableStrategy/inactiveAfterSeconds inactiveAfterSeconds (-1) must be greater than or equal to 0",
        ),
        (r#""executorResources":{"cpus":0}"#, "shape /executorResources/cpus error.min"),
        (r#""executorResources":[]"#, "shape /executorResources error.expected.jsobject"),
        (r#""role":"""#, "shape /role error.minLength"),
        (r#""legacySharedCgroups":"no""#, "shape /legacySharedCgroups error.expected.jsboolean"),
        (r#""linuxInfo":{"ipcInfo":{}}"#, "shape /linuxInfo/ipcInfo/mode error.path.missing"),
    ]);
}

#[test]
fn fields_of_a_container() {
    let none = "rule @/healthCheck Only one of http, tcp, or command may be specified; shape";
    check_container(&[
        (r#""exec":{}"#, "shape @/exec/command error.path.missing"),
        (r#""exec":{"command":{}}"#, "shape @/exec/command/shell error.path.missing"),
        (r#""exec":{"command":{"argv":[]}}"#, "shape @/exec/command/argv error.minLength"),
        (
            r#""exec":{"command":{"shell":"a","argv":["b"]}}"#,
            "rule @/exec/command Only one of shell or argv may be specified",
        ),
        (r#""resources":{"cpus":0}"#, "shape @/resources/cpus error.min"),
        (r#""resources":{"mem":0.0001}"#, "shape @/resources/mem error.min"),
        (
            r#""resources":{"disk":-1,"gpus":-1}"#,
            "shape @/resources/disk error.min; shape @/resources/gpus error.min",
        ),
        (
            r#""resourceLimits":{"cpus":"much"}"#,
            "rule @/resourceLimits/cpus 'much' is an invalid resource limit. It must be 'unlimited' or a number",
        ),
        (r#""endpoints":[{}]"#, "shape @/endpoints(0)/name error.path.missing"),
        (r#""endpoints":[{"name":"a","containerPort":0}]"#, "shape @/endpoints(0)/containerPort error.min"),
        (r#""endpoints":[{"name":"a","hostPort":65536}]"#, "shape @/endpoints(0)/hostPort error.max"),
        (
            r#""endpoints":[{"name":"a","protocol":["sctp"]}]"#,
            "shape @/endpoints(0)/protocol(0) error.unknown.enum.literal",
        ),
        (
            r#""endpoints":[{"name":"a","protocol":"tcp"}]"#,
            "shape @/endpoints(0)/protocol error.expected.jsarray",
        ),
        (r#""endpoints":[{"name":"a","protocol":[]}]"#, "ok"),
        (r#""image":{"kind":"APPC","id":"x"}"#, "shape @/image/kind error.unknown.enum.literal"),
        (r#""image":{"kind":"DOCKER"}"#, "shape @/image/id error.path.missing"),
        (r#""image":{"id":"x","pullConfig":{}}"#, "shape @/image/pullConfig/secret error.path.missing"),
        (r#""environment":{"A-B":"x"}"#, "shape @/environment/A-B error.pattern"),
        (r#""artifacts":[{}]"#, "shape @/artifacts(0)/uri error.path.missing"),
        (
            r#""volumeMounts":[{}]"#,
            "shape @/volumeMounts(0)/name error.path.missing; shape @/volumeMounts(0)/mountPath error.path.missing",
        ),
        (r#""lifecycle":{}"#, "ok"),
        (
            r#""lifecycle":{"killGracePeriodSeconds":-1}"#,
            "shape @/lifecycle/killGracePeriodSeconds error.min",
        ),
        (r#""tty":1"#, "shape @/tty error.expected.jsboolean"),
        (
            r#""healthCheck":{"http":{"endpoint":"x"}}"#,
            "rule @/healthCheck/http/endpoint contained in the container endpoints",
        ),
        (r#""healthCheck":{"tcp":{}}"#, "shape @/healthCheck/tcp/endpoint error.path.missing"),
        (r#""healthCheck":{"exec":{"command":{"argv":["a","it's"]}}}"#, "ok"),
        (
            r#""check":{"http":{"endpoint":"x","scheme":"HTTPS"}}"#,
            "shape @/check/http/scheme error.unknown.enum.literal",
        ),
    ]);
    // Nothing to check is nothing that could be read on.
    for check in ["{}", r#"{"tcp":{"endpoint":"e"},"exec":{"command":{"shell":"x"}}}"#] {
        let body = format!(
            r#"{{"id":"/p","containers":[{{"name":"a","resources":{{}},"endpoints":[{{"name":"e"}}],"healthCheck":{check}}}]}}"#
        );
        let got = pod(body.as_bytes()).map_or_else(lines, |_| "ok".to_owned());
        assert_eq!(got, none.replace('@', "/containers(0)").replace("; shape", ""), "{body}");
    }
}

#[test]
fn names_have_a_length() {
    let named = |length: usize| {
        format!(r#"{{"id":"/p","containers":[{{"name":"{}","resources":{{}}}}]}}"#, "a".repeat(length))
    };
    check(&named(63), "ok");
    check(&named(64), "shape /containers(0)/name error.maxLength");
    check(&named(0), "shape /containers(0)/name error.pattern");
    for name in ["_app", "A", "a_b", "-a", "a-"] {
        check(
            &format!(r#"{{"id":"/p","containers":[{{"name":"{name}","resources":{{}}}}]}}"#),
            "shape /containers(0)/name error.pattern",
        );
    }
}

#[test]
fn a_command_that_checks_is_one_of_a_shell() {
    let it = read(
        r#"{"id":"/p","containers":[{"name":"a","resources":{},
           "healthCheck":{"exec":{"command":{"argv":["test","-e","it's here"]}}}}]}"#,
    );
    let (_, health) = it.pod.checked().next().expect("one check");
    assert_eq!(health.kind, HealthKind::Command { shell: r"'test' '-e' 'it'\''s here'".into() });
}

#[test]
fn instance_ids_are_judged() {
    let id = "shop_pod.instance-0c1e6f10-7ccb-11eb-9a1c-0242ac110002";
    let got = |body: &str| instance_ids(body.as_bytes()).map_or_else(lines, |it| format!("{it:?}"));
    assert_eq!(got(&format!(r#"["{id}"]"#)), format!("[{id}]"));
    assert_eq!(got("[]"), "[]");
    assert_eq!(got("{}"), "shape / error.expected.jsarray");
    assert_eq!(got(r#"["x",1]"#), "shape (0) error.pattern; shape (1) error.expected.jsstring");
    assert_eq!(got(r#"["a.instance-zzz"]"#), "shape (0) Invalid UUID string: zzz");
    assert_eq!(instance_id(id).map_or_else(lines, |it| it.to_string()), id);
    assert_eq!(instance_id("x").map_or_else(lines, |it| it.to_string()), "illegal Invalid instance id 'x'");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]
    /// Any value of the full pod may be anything else.
    #[test]
    fn no_pod_is_too_odd(at in any::<prop::sample::Index>(), with in 0..8usize) {
        let values = ["null", "7", "-1", "\"\"", "\"A\\u0000\"", "[]", "{}", "[[{}]]"];
        let mut body: serde_json::Value = serde_json::from_str(FULL).expect("right to begin with");
        let mut left = at.index(count(&body));
        put(&mut body, &mut left, &serde_json::from_str(values[with]).expect("JSON"));
        if let Err(error) = pod(body.to_string().as_bytes()) {
            prop_assert!(matches!(error, BadRequest::Shape(_) | BadRequest::Invalid(_)), "{:?}", error);
        }
    }
}

fn count(value: &serde_json::Value) -> usize {
    1 + match value {
        serde_json::Value::Array(all) => all.iter().map(count).sum(),
        serde_json::Value::Object(all) => all.values().map(count).sum(),
        _ => 0,
    }
}

fn put(value: &mut serde_json::Value, left: &mut usize, with: &serde_json::Value) {
    if *left == 0 {
        *value = with.clone();
    }
    let Some(rest) = left.checked_sub(1) else {
        *left = usize::MAX;
        return;
    };
    *left = rest;
    match value {
        serde_json::Value::Array(all) => all.iter_mut().for_each(|it| put(it, left, with)),
        serde_json::Value::Object(all) => all.values_mut().for_each(|it| put(it, left, with)),
        _ => {}
    }
}
