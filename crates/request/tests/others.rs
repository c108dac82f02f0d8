//! Groups, kill lists, selectors, queries, and JSON nobody thought of.

use marathon_model::id::PathId;
use marathon_model::update::GroupUpdate;
use marathon_request::query::Query;
use marathon_request::selector::Selector;
use marathon_request::{BadRequest, Mode, app, apps, enforce_role, group, kill_ids, timestamp};
use proptest::prelude::*;

/// The corpus is worth something only while its bodies are right to begin with.
#[test]
fn the_corpus_is_right() {
    let bodies: Vec<serde_json::Value> =
        serde_json::from_str(include_str!("../../testkit/src/bodies.json")).expect("the corpus is JSON");
    for body in bodies {
        let text = body.to_string();
        let read = match &body {
            serde_json::Value::Array(_) => marathon_request::instance_ids(text.as_bytes()).map(drop),
            body if body.get("containers").is_some() => marathon_request::pod(text.as_bytes()).map(drop),
            _ => app(text.as_bytes(), Mode::Update)
                .map(drop)
                .or_else(|_| group(text.as_bytes(), &path("/")).map(drop)),
        };
        assert_eq!(read.map_err(first), Ok(()), "{text}");
    }
}

fn path(text: &str) -> PathId {
    PathId::parse(text).expect("a legal path")
}

fn first(error: BadRequest) -> String {
    match error {
        BadRequest::Shape(all) | BadRequest::Invalid(all) => {
            all.iter().map(|it| format!("{} {}", it.path, it.message)).collect::<Vec<_>>().join("; ")
        }
        BadRequest::Illegal(text) => format!("422 {text}"),
        BadRequest::Bad(text) => format!("400 {text}"),
        BadRequest::Syntax { details } | BadRequest::Empty { details } => details,
    }
}

fn tree(group: &GroupUpdate) -> String {
    let id = group.id.as_ref().map_or("-".to_owned(), ToString::to_string);
    let apps = group.apps.iter().flatten().map(|it| it.id.as_ref().expect("apps have ids").to_string());
    let groups = group.groups.iter().flatten().map(tree);
    let dependencies = group.dependencies.iter().flatten().map(|it| format!("<{it}"));
    let inner: Vec<String> = apps.chain(groups).chain(dependencies).collect();
    format!("{id}[{}]", inner.join(" "))
}

#[test]
fn groups_resolve_their_ids() {
    let rows = [
        ("/", r#"{"id":"prod","apps":[{"id":"db"}]}"#, "/prod[/prod/db]"),
        ("/prod", r#"{"apps":[{"id":"db"}],"dependencies":["../infra"]}"#, "-[/prod/db </infra]"),
        (
            "/",
            r#"{"id":"/a","groups":[{"id":"b","apps":[{"id":"/a/b/c"}],"dependencies":["x"]}]}"#,
            "/a[/a/b[/a/b/c </a/b/x]]",
        ),
        // Whether they are children is judged with everything else.
        ("/", r#"{"id":"/a","apps":[{"id":"/other/b"}]}"#, "/a[/other/b]"),
        ("/", r#"{"id":"/a","groups":[{"id":"/b"}]}"#, "/a[/b[]]"),
        ("/", r#"{"id":"/a","groups":[{}]}"#, "/groups(0)/id error.path.missing"),
        (
            "/",
            r#"{"id":"/a","apps":[{"cmd":"x"}]}"#,
            r#"/apps(0)/id 'id' is undefined on object: {"cmd":"x"}"#,
        ),
        ("/a", r#"{"scaleBy":1.5}"#, "-[]"),
        ("/a", r#"{"scaleBy":-1}"#, "/scaleBy error.min"),
        ("/a", r#"{"scaleBy":2,"apps":[]}"#, "/scaleBy not allowed in conjunction with other properties."),
        ("/a", r#"{"version":"2020-01-01T00:00:00.000Z"}"#, "-[]"),
        (
            "/a",
            r#"{"version":"2020-01-01T00:00:00.000Z","enforceRole":true}"#,
            "/version not allowed in conjunction with other properties.",
        ),
        // A group within, as it was read.
        ("/a", r#"{"groups":[{"id":"b","version":"2020-01-01T00:00:00.000Z","apps":[]}]}"#, "-[/a/b[]]"),
        (
            "/a",
            r#"{"apps":[{"id":"x","cpus":"1"}],"groups":7}"#,
            "/apps(0)/cpus error.expected.jsnumber; /groups error.expected.jsarray",
        ),
    ];
    for (url, body, want) in rows {
        let got = group(body.as_bytes(), &path(url)).map_or_else(first, |it| tree(&it));
        assert_eq!(got, want, "{body}");
    }
}

#[test]
fn enforce_role_may_be_left_out() {
    assert_eq!(enforce_role(br#"{"enforceRole":true}"#), Ok(Some(true)));
    assert_eq!(enforce_role(b"{}"), Ok(None));
    assert_eq!(
        first(enforce_role(br#"{"enforceRole":1}"#).unwrap_err()),
        "/enforceRole error.expected.jsboolean"
    );
    assert!(matches!(enforce_role(b""), Err(BadRequest::Empty { .. })));
}

#[test]
fn kill_lists() {
    const UUID: &str = "0c1e6f10-7ccb-11eb-9a1c-0242ac110002";
    let rows = [
        (format!("a.instance-{UUID}._app.1"), "1"),
        (format!("a.{UUID}"), "0"),
        (format!("a.{UUID}.3"), "0"),
        (format!("a_b_{UUID}"), "0"),
        (format!("a.instance-{UUID}"), "0"),
        (format!("a.marathon-{UUID}.web"), "0"),
        (
            "zzz".to_owned(),
            "400 Invalid task id 'zzz'. [taskId zzz no valid identifier (of class java.lang.String)]",
        ),
        ("".to_owned(), "400 Invalid task id ''. [taskId  no valid identifier (of class java.lang.String)]"),
        ("a.zzz".to_owned(), "422 Invalid UUID string: zzz"),
        ("a.instance-zzz._app.1".to_owned(), "422 Invalid UUID string: zzz"),
    ];
    for (id, want) in rows {
        let body = format!(r#"{{"ids":["{id}"]}}"#);
        let got = kill_ids(body.as_bytes()).map_or_else(first, |it| it.len().to_string());
        assert_eq!(got, want, "{id}");
    }
    assert_eq!(first(kill_ids(b"{}").unwrap_err()), "/ids error.path.missing");
    assert_eq!(first(kill_ids(br#"{"ids":[1]}"#).unwrap_err()), "/ids(0) error.expected.jsstring");
}

#[test]
fn timestamps() {
    assert!(timestamp("2020-01-01T00:00:00.000Z").is_ok());
    assert_eq!(
        first(timestamp("now").unwrap_err()),
        "422 Invalid timestamp provided 'now'. Expecting ISO-8601 datetime string."
    );
}

#[test]
fn selectors_match() {
    let labels = [("tier", "web"), ("a b", "c,d")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    let rows = [
        ("", true),
        ("tier", true),
        ("foo", false),
        ("tier==web", true),
        (" tier == web , tier != db ", true),
        ("tier!=web", false),
        ("foo!=web", false),
        ("tier in (db, web)", true),
        ("tier in()", false),
        ("tier notin ()", true),
        ("tier notin (web)", false),
        ("foo notin (web)", false),
        (r"a\ b==c\,d", true),
    ];
    for (text, want) in rows {
        assert_eq!(Selector::parse(text).expect(text).matches(&labels), want, "{text}");
    }
}

#[test]
fn broken_selectors_are_refused() {
    for text in
        ["tier=web", "tier==", "==web", "tier in", "tier in (a", "tier in (a b)", "a,", "a b", "tier\\", "ä"]
    {
        let error = first(Selector::parse(text).expect_err(text));
        assert!(error.starts_with(&format!("422 Can not parse label selector {text}. Reason: ")), "{error}");
    }
}

#[test]
fn queries_are_never_wrong() {
    let query =
        Query::parse("force=True&embed=apps.tasks&embed=apps%2Ecounts&label=a%20b+c&x&bad=%zz&&cut=%4");
    let unclear =
        |text: &str| Query::parse(text).unclear_switch().map(|(name, value)| format!("{name} {value}"));
    assert_eq!(unclear("force=TRUE&scale=false&x=1"), None);
    assert_eq!(unclear("force=true&dryRun=yes").as_deref(), Some("dryRun yes"));
    assert_eq!(unclear("partialUpdate").as_deref(), Some("partialUpdate "));
    assert_eq!(unclear("force=1&scale=0&wipe"), None);
    assert!(!Query::parse("force=1").flag("force", true));
    assert!(query.flag("force", false) && !query.flag("x", true) && query.flag("absent", true));
    assert_eq!(query.all("embed").collect::<Vec<_>>(), ["apps.tasks", "apps.counts"]);
    let get = |key: &str| query.get(key);
    assert_eq!(
        (get("label"), get("x"), get("bad"), get("cut")),
        (Some("a b c"), Some(""), Some("%zz"), Some("%4"))
    );
    assert_eq!(marathon_request::query::decode_path("a+b%2Fc"), "a+b/c");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_json_panics(value in marathon_testkit::nearly_right()) {
        let body = value.to_string();
        for mode in [Mode::Create, Mode::Update, Mode::Replace] {
            let _ = app(body.as_bytes(), mode);
            let _ = apps(body.as_bytes(), mode);
        }
        let _ = group(body.as_bytes(), &path("/a"));
        let _ = enforce_role(body.as_bytes());
        let _ = kill_ids(body.as_bytes());
        let _ = marathon_request::pod(body.as_bytes());
        let _ = marathon_request::instance_ids(body.as_bytes());
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,40}", bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let _ = Selector::parse(&text);
        let _ = Query::parse(&text);
        let _ = timestamp(&text);
        let _ = app(&bytes, Mode::Create);
        let _ = kill_ids(format!("{{\"ids\":[{}]}}", serde_json::Value::from(text)).as_bytes());
    }
}
