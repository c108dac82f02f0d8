use expect_test::{Expect, expect};
use marathon_api::Answer;
use marathon_api::error::*;
use marathon_model::command::{Refusal, Violation};
use marathon_testkit::{at, deployment_id, path};

fn check(answer: Answer, status: u16, want: Expect) {
    crate::check(&answer.1, want);
    assert_eq!(answer.0, status);
}

#[test]
fn every_refusal_has_its_status_and_text() {
    let p = path("/x");
    let mut table = String::new();
    for refusal in [
        Refusal::NoSuchApp { id: p.clone(), version: None },
        Refusal::NoSuchApp { id: p.clone(), version: Some(at(0)) },
        Refusal::NoSuchGroup { id: p.clone(), version: None },
        Refusal::NoSuchGroup { id: p.clone(), version: Some(at(0)) },
        Refusal::NoSuchTask("t".into()),
        Refusal::NoSuchDeployment("d".into()),
        Refusal::NotQueued(p.clone()),
        Refusal::AppExists(p.clone()),
        Refusal::GroupExists(p.clone()),
        Refusal::PathTaken(p.clone()),
        Refusal::Locked { holders: vec![deployment_id(1), deployment_id(2)] },
        Refusal::Illegal("Can not parse label selector \"x\"".into()),
        Refusal::BadRequest("You cannot use scale and wipe at the same time.".into()),
        Refusal::TooManyDeployments { limit: 100 },
        Refusal::PortsExhausted { first: 10_000, last: 20_000 },
        Refusal::Unavailable("The store is gone.".into()),
    ] {
        let (status, body) = answer(&refusal);
        table += &format!("{status} {}\n", String::from_utf8(body).unwrap());
    }
    expect![[r#"
        404 {"message":"App '/x' does not exist","details":[]}
        404 {"message":"App '/x' does not exist in version 2021-03-04T09:10:11.120Z","details":[]}
        404 {"message":"Group '/x' does not exist","details":[]}
        404 {"message":"Group '/x' does not exist in version 2021-03-04T09:10:11.120Z","details":[]}
        404 {"message":"Task 't' does not exist","details":[]}
        404 {"message":"DeploymentPlan d does not exist","details":[]}
        404 {"message":"Application /x not found in tasks queue.","details":[]}
        409 {"message":"An app with id [/x] already exists."}
        409 {"message":"Group /x is already created. Use PUT to change this group."}
        409 {"message":"An app with the path /x already exists."}
        409 {"message":"App is locked by one or more deployments. Override with the option '?force=true'. View details at '/v2/deployments/<DEPLOYMENT_ID>'.","deployments":[{"id":"00000001-7ccb-11eb-9a1c-0242ac110002"},{"id":"00000002-7ccb-11eb-9a1c-0242ac110002"}]}
        422 {"message":"Can not parse label selector \"x\""}
        400 {"message":"You cannot use scale and wipe at the same time."}
        403 {"message":"Max number (100) of running deployments is achieved. Wait for existing deployments to complete or cancel oneusing force=true parameter. You can increase max deployment number by using --max_running_deployments parameter but be advised that this can have negative effects on the performance."}
        500 {"message":"All ports in the range [10000-20000) are already in use"}
        503 {"message":"The store is gone."}
    "#]].assert_eq(&table);
}

#[test]
fn violations_are_grouped_by_path() {
    let violations = [
        Violation::new("/b", "first"),
        Violation::new("/a", "second"),
        Violation::new("/b", "third"),
        Violation::new("/b", "first"),
    ];
    check(
        answer(&Refusal::Invalid(violations.to_vec())),
        422,
        expect![[r#"
        {"message":"Object is not valid","details":[{"path":"/b","errors":["first","third"]},
        {"path":"/a","errors":["second"]}]}"#]],
    );
    check(
        shape(&violations[1..2]),
        422,
        expect![[r#"{"message":"Invalid JSON","details":[{"path":"/a","errors":["second"]}]}"#]],
    );
}

#[test]
fn other_errors() {
    check(
        syntax("Unexpected end"),
        400,
        expect![[r#"{"message":"Invalid JSON","details":"Unexpected end"}"#]],
    );
    check(
        empty("No content"),
        400,
        expect![[r#"{"message":"Please specify data in JSON format","details":"No content"}"#]],
    );
    check(uri_not_found(), 404, expect![[r#"{"message":"URI not found"}"#]]);
    check(method_not_allowed(), 405, expect![[r#"{"message":"Method Not Allowed"}"#]]);
    check(not_acceptable(), 406, expect![[r#"{"message":"Not Acceptable"}"#]]);
    check(unsupported_media_type(), 415, expect![[r#"{"message":"Unsupported Media Type"}"#]]);
    check(
        bad_timestamp("x'\""),
        422,
        expect![[r#"{"message":"Invalid timestamp provided 'x'\"'. Expecting ISO-8601 datetime string."}"#]],
    );
    check(no_leader(), 404, expect![[r#"{"message":"There is no leader","details":[]}"#]]);
}
