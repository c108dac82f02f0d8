//! Definitions made to be expensive. Each of these was, or would be, slow for minutes if a list were
//! compared with itself; the rows fix what bounds the work.

use marathon_model::id::PathId;
use marathon_request::Mode;
use marathon_spec::{Pattern, Place, Rules, create};

const MANY: usize = 20_000;

fn many(count: usize, item: impl Fn(usize) -> String) -> String {
    (0..count).map(item).collect::<Vec<_>>().join(",")
}

/// How many rules are broken, and the first of them.
fn judge(fields: &str) -> (usize, String) {
    let update =
        marathon_request::app(format!("{{{fields}}}").as_bytes(), Mode::Replace).expect("well-formed");
    let root = PathId::root();
    let place = Place { enforce_role: None, current_role: None, group: &root };
    match create(PathId::parse("/a").expect("legal"), &update, &Rules::default(), &place) {
        Ok(_) => (0, String::new()),
        Err(all) => (all.len(), format!("{} {}", all[0].path, all[0].message)),
    }
}

#[test]
fn constraints_have_a_limit() {
    let constraints = |count| many(count, |at| format!(r#"["h{at}","MAX_PER","1"]"#));
    assert_eq!(judge(&format!(r#""cmd":"x","constraints":[{}]"#, constraints(256))).0, 0);
    let (count, first) = judge(&format!(r#""cmd":"x","constraints":[{}]"#, constraints(257)));
    assert_eq!((count, first.as_str()), (1, "/constraints got 257, expected 256 or less"));

    let volume = format!(
        r#"{{"containerPath":"d","persistent":{{"size":1,"type":"path","constraints":[{}]}}}}"#,
        many(MANY, |_| r#"["path","LIKE","("]"#.to_owned())
    );
    let (_, first) = judge(&format!(r#""cmd":"x","container":{{"type":"MESOS","volumes":[{volume}]}}"#));
    assert_eq!(first, "/constraints got 20000, expected 256 or less");
}

#[test]
fn equal_constraints_count_once() {
    let same = many(MANY, |_| r#"["hostname","UNIQUE"]"#.to_owned());
    assert_eq!(judge(&format!(r#""cmd":"x","constraints":[{same}]"#)).0, 0);
}

#[test]
fn answers_have_a_limit() {
    let networks = many(MANY, |at| format!(r#"{{"name":"n{at}"}}"#));
    let names = many(MANY, |at| format!(r#""m{at}""#));
    let (count, first) = judge(&format!(
        r#""networks":[{networks}],"container":{{"type":"MESOS","docker":{{"image":"x"}},"portMappings":[{{"networkNames":[{names}]}}]}}"#
    ));
    assert_eq!(count, 200);
    assert!(first.len() < 2000, "{}", first.len());
}

#[test]
fn long_lists_are_settled() {
    assert_eq!(
        judge(&format!(r#""cmd":"x","dependencies":[{}]"#, many(MANY, |at| format!(r#""/d{at}""#)))).0,
        0
    );
    let checks = many(MANY, |at| format!(r#"{{"path":"/{at}"}}"#));
    assert_eq!(judge(&format!(r#""cmd":"x","healthChecks":[{checks}]"#)).0, 0);
    let ports = many(MANY, |at| format!(r#"{{"name":"n{at}"}}"#));
    let checks = many(MANY, |_| "{}".to_owned());
    let (count, first) =
        judge(&format!(r#""cmd":"x","portDefinitions":[{ports}],"readinessChecks":[{checks}]"#));
    assert_eq!((count, first.as_str()), (11, "/readinessChecks got 20000, expected 1 or less"));
}

#[test]
fn patterns_have_a_size() {
    for pattern in [r"\w{40}", "[a-z]{1,63}", "(?i)EU-(west|east)-[0-9]+", "ä+"] {
        assert!(Pattern::new(pattern).is_ok(), "{pattern}");
    }
    for pattern in [r"(\w{9}){9999}", "((a{100}){100}){100}"] {
        assert!(Pattern::new(pattern).is_err(), "{pattern}");
    }
    assert!(Pattern::new(".*").expect("a pattern").is_match("zürich"));
    assert!(Pattern::new("z.rich").map(|it| it.is_match("zorich")).expect("a pattern"));
    assert!(Pattern::new("zü.*").expect("a pattern").is_match("zürich"));
}
