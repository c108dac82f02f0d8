//! Tasks that own volumes, while they run, while they are stopped, and when they are given up.

use std::sync::Arc;

use marathon_api::task;
use marathon_model::instance::{Condition, Goal, Instance};
use marathon_model::reservation::{LocalVolume, Reservation, ReservationState};
use marathon_testkit::{app, at, path, uuid, view};
use serde_json::{Value, json};

fn owns(it: &mut Instance, goal: Goal) {
    let state = if goal == Goal::Running { ReservationState::Launched } else { ReservationState::Suspended };
    let volumes = vec![LocalVolume { name: "data".into(), uuid: uuid(7) }];
    it.reservation = Some(Arc::new(Reservation { state, since: at(1), volumes }));
    it.goal = goal;
}

#[test]
fn volumes_are_shown_until_their_instance_is_given_up() {
    let db = app("/shop/db")
        .add(1, Condition::Running, |it| owns(it, Goal::Running))
        .add(1, Condition::Killed, |it| owns(it, Goal::Stopped))
        .add(1, Condition::Killed, |it| owns(it, Goal::Decommissioned));
    let view = view().app(db).build();
    let shown: Value = serde_json::from_slice(&task::of_app(&view, &path("/shop/db")).unwrap()).unwrap();
    let tasks: Vec<(&str, &Value)> = shown["tasks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (it["state"].as_str().unwrap(), &it["localVolumes"]))
        .collect();
    let volume = json!([{
        "runSpecId": "/shop/db",
        "containerPath": "data",
        "uuid": uuid(7).to_string(),
        "persistenceId": format!("shop_db#data#{}", uuid(7)),
    }]);
    assert_eq!(tasks, [("TASK_RUNNING", &volume), ("TASK_KILLED", &volume)]);
}
