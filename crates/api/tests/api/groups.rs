use std::sync::Arc;

use expect_test::expect;
use imbl::vector;
use marathon_api::{Embed, GroupEmbed, group};
use marathon_model::group::Group;
use marathon_model::time::Timestamp;
use marathon_model::view::View;
use marathon_testkit::*;

use crate::check;

fn shape(json: &serde_json::Value) -> String {
    let list = |key: &str, shown: &dyn Fn(&serde_json::Value) -> String| {
        json[key].as_array().unwrap().iter().map(shown).collect::<Vec<_>>().join(" ")
    };
    let apps = list("apps", &|it| it["id"].as_str().unwrap().to_owned());
    let groups = list("groups", &shape);
    let dependencies = list("dependencies", &|it| format!("needs {}", it.as_str().unwrap()));
    let parts = [apps, groups, dependencies].into_iter().filter(|it| !it.is_empty()).collect::<Vec<_>>();
    format!("{}({})", json["id"].as_str().unwrap(), parts.join(" "))
}

fn read(body: Vec<u8>) -> String {
    shape(&serde_json::from_slice(&body).unwrap())
}

#[test]
fn a_tree() {
    let view = view().app(app("/shop/cart")).group("/shop/a/b").with(|view| {
        let shop = Group {
            id: path("/shop"),
            dependencies: vec![path("/infra")],
            enforce_role: true,
            version: at(0),
        };
        view.groups.insert(path("/shop"), Arc::new(shop));
        view.root_version = at(5);
    });
    let view = view.build();
    check(
        group::one(&view, &path("/"), GroupEmbed::ALL, at(0)).unwrap(),
        expect![[r#"
        {"id":"/","apps":[],"pods":[],"groups":[{"id":"/shop","apps":[{"id":"/shop/cart",
        "backoffFactor":1.15,"backoffSeconds":1,"cmd":"sleep 100","cpus":1.0,"disk":0.0,"executor":"",
        "instances":1,"labels":{},"maxLaunchDelaySeconds":300,"mem":128.0,"gpus":0,"networks":[{"mode":"host"}],
        "portDefinitions":[{"port":10000,"name":"default","protocol":"tcp"}],"requirePorts":false,
        "upgradeStrategy":{"maximumOverCapacity":1.0,"minimumHealthCapacity":1.0},"version":"2021-03-04T09:10:11.120Z",
        "versionInfo":{"lastScalingAt":"2021-03-04T09:10:11.120Z","lastConfigChangeAt":"2021-03-04T09:10:11.120Z"},
        "killSelection":"YOUNGEST_FIRST","unreachableStrategy":{"inactiveAfterSeconds":0,
        "expungeAfterSeconds":0},"role":"*"}],"pods":[],"groups":[{"id":"/shop/a","apps":[],
        "pods":[],"groups":[{"id":"/shop/a/b","apps":[],"pods":[],"groups":[],"dependencies":[],
        "version":"2021-03-04T09:10:16.120Z"}],"dependencies":[],"version":"2021-03-04T09:10:16.120Z"}],
        "dependencies":["/infra"],"version":"2021-03-04T09:10:16.120Z","enforceRole":true}],
        "dependencies":[],"version":"2021-03-04T09:10:16.120Z"}"#]],
    );
    check(
        group::one(&view, &path("/shop"), GroupEmbed::parse(["group.apps", "group.apps.counts"]), at(0))
            .unwrap(),
        expect![[r#"
            {"id":"/shop","apps":[{"id":"/shop/cart","backoffFactor":1.15,"backoffSeconds":1,
            "cmd":"sleep 100","cpus":1.0,"disk":0.0,"executor":"","instances":1,"labels":{},"maxLaunchDelaySeconds":300,
            "mem":128.0,"gpus":0,"networks":[{"mode":"host"}],"portDefinitions":[{"port":10000,
            "name":"default","protocol":"tcp"}],"requirePorts":false,"upgradeStrategy":{"maximumOverCapacity":1.0,
            "minimumHealthCapacity":1.0},"version":"2021-03-04T09:10:11.120Z","versionInfo":{"lastScalingAt":"2021-03-04T09:10:11.120Z",
            "lastConfigChangeAt":"2021-03-04T09:10:11.120Z"},"killSelection":"YOUNGEST_FIRST",
            "unreachableStrategy":{"inactiveAfterSeconds":0,"expungeAfterSeconds":0},"role":"*",
            "tasksStaged":0,"tasksRunning":0,"tasksHealthy":0,"tasksUnhealthy":0}],"pods":[],
            "groups":[],"dependencies":["/infra"],"version":"2021-03-04T09:10:16.120Z","enforceRole":true}"#]],
    );
}

#[test]
fn only_what_lies_below() {
    let view =
        view().app(app("/a/x")).app(app("/a-b/y")).app(app("/a/c/z")).app(app("/ab")).group("/a/d").build();
    for (group, embed, want) in [
        ("/a", GroupEmbed::ALL, "/a(/a/x /a/c(/a/c/z) /a/d())"),
        ("/", GroupEmbed::ALL, "/(/ab /a(/a/x /a/c(/a/c/z) /a/d()) /a-b(/a-b/y))"),
        ("/a", GroupEmbed::parse(["group.groups"]), "/a(/a/c() /a/d())"),
        ("/a", GroupEmbed::parse(["group.apps"]), "/a(/a/x)"),
        ("/a", GroupEmbed::parse(["group.apps.tasks"]), "/a()"),
    ] {
        assert_eq!(read(group::one(&view, &path(group), embed, at(0)).unwrap()), want, "{group} {embed:?}");
    }
    assert!(group::one(&view, &path("/nope"), GroupEmbed::ALL, at(0)).is_err());

    let apps: Vec<serde_json::Value> =
        serde_json::from_slice(&group::apps(&view, &path("/a"), Embed::TASKS, at(0))).unwrap();
    let ids: Vec<_> = apps.iter().map(|it| (it["id"].as_str().unwrap(), it["tasks"].is_array())).collect();
    assert_eq!(ids, [("/a/c/z", true), ("/a/x", true)]);
    assert_eq!(group::apps(&view, &path("/nope"), Embed::NONE, at(0)), b"[]");
}

/// `/g` came at 10, got a dependency at 20, was removed at 30 and came back at 40; `/h` was there from
/// the beginning. The app `/g/a` came at 10 and went with the group; `/h/b` changed at 20.
fn moved() -> Arc<View> {
    let group = |id: &str, version: Timestamp, dependencies: &[&str]| {
        let dependencies = dependencies.iter().map(|it| path(it)).collect();
        Arc::new(Group { id: path(id), dependencies, enforce_role: false, version })
    };
    let spec = |id: &str| app(id).build().spec;
    let (a, b) = (spec("/g/a"), spec("/h/b"));
    let history = vector![(at(10), a.clone()), (at(30), None)];
    let gone = app("/g/a").removed().with(move |app| app.history = history);
    let history = vector![(at(0), b.clone()), (at(20), b)];
    let kept = app("/h/b").with(move |app| app.history = history);
    view()
        .app(gone)
        .app(kept)
        .with(|view| {
            view.groups.insert(path("/g"), group("/g", at(40), &[]));
            let past = vector![
                (at(10), Some(group("/g", at(10), &[]))),
                (at(20), Some(group("/g", at(20), &["/h"]))),
                (at(30), None)
            ];
            view.group_history.insert(path("/g"), past);
            view.root_versions = [0, 10, 20, 30, 40].map(at).into_iter().collect();
            view.root_version = at(40);
        })
        .build()
}

#[test]
fn a_tree_as_it_was() {
    let view = moved();
    for (version, want) in [
        (0, "/(/h(/h/b))"),
        (10, "/(/g(/g/a) /h(/h/b))"),
        (20, "/(/g(/g/a needs /h) /h(/h/b))"),
        (30, "/(/h(/h/b))"),
        (40, "/(/g() /h(/h/b))"),
    ] {
        let body = group::version(&view, &path("/"), at(version), GroupEmbed::ALL, at(40)).unwrap();
        assert_eq!(read(body), want, "{version}");
    }
    assert!(
        group::version(&view, &path("/"), at(15), GroupEmbed::ALL, at(40)).is_err(),
        "no such version of the tree"
    );
    assert!(
        group::version(&view, &path("/g"), at(30), GroupEmbed::ALL, at(40)).is_err(),
        "not there at the time"
    );
    let plain = group::version(&view, &path("/"), at(10), GroupEmbed::parse(["x"]), at(40)).unwrap();
    assert_eq!(read(plain), "/()");
}

#[test]
fn versions_of_a_group() {
    let view = moved();
    for (group, want) in
        [("/", vec![40, 30, 20, 10, 0]), ("/g", vec![40, 20, 10]), ("/h", vec![40, 30, 20, 10, 0])]
    {
        let read: Vec<String> =
            serde_json::from_slice(&group::versions(&view, &path(group)).unwrap()).unwrap();
        assert_eq!(read, want.into_iter().map(|it| at(it).to_string()).collect::<Vec<_>>(), "{group}");
    }
    assert!(group::versions(&view, &path("/nope")).is_err());
}

/// Depth is up to users, so it must not cost stack.
#[test]
fn a_very_deep_tree() {
    let depth = 3_000;
    let view = view().group(&"/a".repeat(depth)).build();
    let body = group::one(&view, &path("/"), GroupEmbed::ALL, at(0)).unwrap();
    assert_eq!(body.iter().filter(|it| **it == b'{').count(), depth + 1);
    assert_eq!(body.iter().filter(|it| **it == b'}').count(), depth + 1);
}
