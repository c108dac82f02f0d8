//! Every write survives the way into the store and back, and damage is called by its name.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use imbl::Vector;
use marathon_model::callback::{CallbackUrl, Subscriber};
use marathon_model::id::PathId;
use marathon_model::time::Timestamp;
use marathon_model::view::{App, Tally, View};
use marathon_model::write::Write;
use marathon_records::{RecordError, decode, dump, encode, load, snapshot};
use proptest::prelude::*;

mod values;
use values::Draw;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn what_is_written_is_read(seed: u64) {
        let write = Draw::new(seed).write();
        let record = encode(&write);
        let value = record.value.expect("this write stores something");
        prop_assert_eq!(decode(&record.key, &value).unwrap(), write);
    }

    /// A newer release may add fields; going back to this one must still read the store.
    #[test]
    fn unknown_fields_are_passed_over(seed: u64) {
        let write = Draw::new(seed).write();
        let record = encode(&write);
        let mut value = record.value.expect("this write stores something");
        if value.starts_with(b"{") {
            let comma = if value == b"{}" { &b""[..] } else { b"," };
            value.splice(1..1, [br#""newer":{"a":[1]}"#, comma].concat());
        }
        prop_assert_eq!(decode(&record.key, &value).unwrap(), write);
    }

    /// No byte string may bring the server down.
    #[test]
    fn damage_is_an_error_and_no_panic(seed: u64, at: prop::sample::Index, byte: u8) {
        let record = encode(&Draw::new(seed).write());
        let mut value = record.value.expect("this write stores something");
        let at = at.index(value.len());
        value[at] = byte;
        let _ = decode(&record.key, &value);
        prop_assert!(decode(&record.key, &value[..at]).is_err() || at == value.len());
    }
}

#[test]
fn forgetting_deletes_the_very_key_that_storing_wrote() {
    let mut draw = Draw::new(1);
    let (app, group, instance) = (draw.app(), draw.group(), draw.instance());
    let (deployment, failure, delay) = (draw.deployment(), draw.failure(), draw.delay());
    let version = Timestamp(5);
    let rows = [
        (
            Write::App(Arc::new(app.clone())),
            Write::AppVersionForgotten { id: app.id.clone(), version: app.version },
        ),
        (
            Write::AppRemoved { id: app.id.clone(), at: version },
            Write::AppVersionForgotten { id: app.id.clone(), version },
        ),
        (
            Write::Group(Arc::new(group.clone())),
            Write::GroupVersionForgotten { id: group.id.clone(), version: group.version },
        ),
        (
            Write::GroupRemoved { id: group.id.clone(), at: version },
            Write::GroupVersionForgotten { id: group.id.clone(), version },
        ),
        (Write::Root { version }, Write::RootForgotten { version }),
        (Write::Instance(Arc::new(instance.clone())), Write::InstanceGone(instance.id)),
        (Write::Deployment(Arc::new(deployment.clone())), Write::DeploymentGone(deployment.id)),
        (Write::Failure(Arc::new(failure.clone())), Write::FailureGone(failure.spec)),
        (Write::Delay { app: app.id.clone(), delay }, Write::DelayGone(app.id)),
    ];
    for (store, forget) in rows {
        let (stored, forgotten) = (encode(&store), encode(&forget));
        assert_eq!((stored.key, forgotten.value), (forgotten.key, None), "{store:?}");
    }
}

#[test]
fn errors_name_the_record() {
    let app = Draw::new(2).app();
    let value = encode(&Write::App(Arc::new(app))).value.unwrap();
    let elsewhere = decode("app/elsewhere@7", &value).unwrap_err();
    assert!(
        matches!(&elsewhere, RecordError::Misplaced { key, .. } if key == "app/elsewhere@7"),
        "{elsewhere}"
    );

    for (key, value, want) in [
        (
            "app/a@1",
            "[]",
            "the stored record `app/a@1` cannot be read: invalid length 0, expected struct AppSpec",
        ),
        (
            "app/a@1",
            "{}",
            "the stored record `app/a@1` cannot be read: missing field `id` at line 1 column 2",
        ),
        (
            "root/1",
            "{} x",
            "the stored record `root/1` cannot be read: trailing characters at line 1 column 4",
        ),
        (
            "group/a@1",
            r#"{"id":"A"}"#,
            "the stored record `group/a@1` cannot be read: `A` is no path at line 1",
        ),
    ] {
        let error = decode(key, value.as_bytes()).unwrap_err();
        let cause = std::error::Error::source(&error).unwrap();
        let text = format!("{error}: {cause}");
        assert!(text.starts_with(want), "{text}");
    }
}

#[test]
fn missing_optional_fields_get_their_defaults() {
    let write = decode("group/a@1", br#"{"id":"/a","version":1}"#).unwrap();
    let Write::Group(group) = write else { panic!("{write:?}") };
    assert_eq!((group.dependencies.len(), group.enforce_role), (0, false));

    let app = r#"{"id":"/a","instances":1,"resources":{"cpus":1000,"mem":128000,"disk":0,"gpus":0},
        "networking":{"host":{"ports":[],"require_ports":false}},
        "backoff":{"initial":{"secs":1,"nanos":0},"factor":1.15,"max":{"secs":300,"nanos":0}},
        "upgrade":{"minimum_health_capacity":1.0,"maximum_over_capacity":1.0},
        "unreachable":"disabled","role":"*","version":1,"last_scaling_at":1,"last_config_change_at":1,"config":1}"#;
    let write = decode("app/a@1", app.as_bytes()).unwrap();
    let Write::App(app) = write else { panic!("{write:?}") };
    assert_eq!((app.cmd.as_deref(), app.backoff.factor), (None, 1.15));
}

/// A view as the core would hold it, from random parts.
fn view(seed: u64) -> View {
    let mut draw = Draw::new(seed);
    let mut view = View {
        framework: Some(marathon_model::id::FrameworkId::new("f")),
        root_version: Timestamp(30),
        root_versions: [10, 20].into_iter().map(Timestamp).collect(),
        ..View::default()
    };
    for (url, why) in [("http://a", Subscriber::Asked), ("http://b", Subscriber::Configured)] {
        view.callbacks.insert(CallbackUrl::parse(url).unwrap(), why);
    }
    view.events_begin = 7;
    let root = Arc::new(marathon_model::group::Group {
        id: PathId::root(),
        dependencies: vec![],
        enforce_role: false,
        version: Timestamp(30),
    });
    view.groups.insert(PathId::root(), root.clone());
    let gone = PathId::parse("/gone").unwrap();
    view.group_history.insert(gone, Vector::from_iter([(Timestamp(4), None)]));
    for (at, path) in (1..).zip(["/a", "/b/c", "/removed"]) {
        let id = PathId::parse(path).unwrap();
        let mut spec = draw.app();
        spec.id = id.clone();
        spec.version = Timestamp(at);
        let mut older = spec.clone();
        older.version = Timestamp(at - 1);
        let removed = path == "/removed";
        let newest = if removed { None } else { Some(Arc::new(spec)) };
        let mut app = App {
            id: id.clone(),
            spec: newest.clone(),
            history: Vector::from_iter([(Timestamp(at - 1), Some(Arc::new(older))), (Timestamp(at), newest)]),
            instances: Default::default(),
            tally: Tally::default(),
            failure: Some(Arc::new(marathon_model::instance::TaskFailure {
                spec: id.clone(),
                ..draw.failure()
            })),
            delay: Some(draw.delay()),
            deployments: vec![],
            waiting: None,
            readiness: imbl::OrdMap::new(),
            revision: 0,
        };
        for _ in 0..5 {
            let mut instance = draw.instance();
            instance.id.spec = id.clone();
            app.instances.insert(instance.id.uuid, Arc::new(instance));
        }
        view.apps.insert(id, Arc::new(app));
    }
    for _ in 0..3 {
        let deployment = draw.deployment();
        view.deployments.insert(deployment.id, Arc::new(deployment));
    }
    view
}

#[test]
fn a_dump_holds_everything_once_and_reads_back() {
    let view = view(3);
    let records: Vec<_> = snapshot(&view).collect();
    let keys: BTreeSet<_> = records.iter().map(|(key, _)| key.clone()).collect();
    assert_eq!(keys.len(), records.len(), "no record twice");

    let mut kinds = BTreeMap::new();
    for key in &keys {
        *kinds.entry(key.split('/').next().unwrap()).or_insert(0) += 1;
    }
    let want = [
        ("app", 6),
        ("callback", 1),
        ("delay", 3),
        ("deployment", 3),
        ("events", 1),
        ("failure", 3),
        ("format", 1),
        ("framework", 1),
        ("group", 2),
        ("instance", 15),
        ("root", 3),
    ];
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), want);

    let loaded = load(records).unwrap();
    assert_eq!(loaded.changes, []);
    let key = |it: &Write| encode(it).key;
    let by_key = |writes: Vec<Write>| writes.into_iter().map(|it| (key(&it), it)).collect::<BTreeMap<_, _>>();
    assert_eq!(by_key(loaded.writes), by_key(dump(&view).collect()));
}

#[test]
fn an_empty_view_is_an_empty_store() {
    assert_eq!(dump(&View::default()).count(), 0);
    let records: Vec<_> = snapshot(&View::default()).collect();
    assert_eq!(records, [("format".to_owned(), b"1".to_vec())]);
}
