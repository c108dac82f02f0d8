//! `plan-10k`: the plan of a group update over 10,000 apps that depend on each other.

use std::time::{Duration, Instant, SystemTime};

use marathon_core::{Core, Policy};
use marathon_model::act::Act;
use marathon_model::command::{Command, Reply};
use marathon_model::event::Event;
use marathon_model::id::{PathId, RequestId};
use marathon_model::time::{Now, Tick, Timestamp};
use marathon_model::update::{AppUpdate, GroupUpdate};

use crate::report::{Bound, Report};
use crate::{Outcome, Place};

const ROUNDS: usize = 9;
/// Apps in one group; groups depend on the one before, apps on the one before in their group.
const IN_GROUP: usize = 100;

pub fn run(_: &Place) -> Outcome<Report> {
    let mut all = Vec::new();
    for apps in [1_000, 5_000, 10_000] {
        all.push((apps, measure(apps)?));
    }
    let of = |at: usize| all[at].1;
    let linear = (of(2) / 10.0) / of(0);
    let mut report = Report::new(of(2) * 1e3, "ms", "ten times 1,000 apps", linear);
    for (apps, seconds) in &all {
        report = report.row(format!("plan over {apps} apps, median"), format!("{:.1} ms", seconds * 1e3));
    }
    Ok(report
        .key("ms_1k", of(0) * 1e3)
        .key("ms_5k", of(1) * 1e3)
        .target("10,000 apps, ms", of(2) * 1e3, Bound::AtMost(50.0))
        .target("per app, over that of 1,000", linear, Bound::AtMost(2.0)))
}

fn measure(apps: usize) -> Outcome<f64> {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let mut now = Now { wall: Timestamp(i64::try_from(since.as_millis())?), tick: Tick::default() };
    let (mut core, _) = Core::restore(Vec::new(), Policy::default(), 1, now);
    let mut ask = |core: &mut Core, change: usize, dry_run: bool| -> Outcome<(f64, Reply)> {
        now.wall = now.wall + Duration::from_millis(10);
        let update = Box::new(tree(apps, change)?);
        let command =
            Command::EditGroup { group: PathId::root(), update, create: false, force: true, dry_run };
        let began = Instant::now();
        let batch = core.step(Event::Asked { from: RequestId(1), command }, now);
        let seconds = began.elapsed().as_secs_f64();
        let reply = batch.acts.into_iter().find_map(|it| match it {
            Act::Reply(_, reply) => Some(reply),
            _ => None,
        });
        Ok((seconds, reply.ok_or("no answer")?))
    };
    match ask(&mut core, 0, false)?.1 {
        Reply::Deployed { .. } => {}
        other => return Err(format!("the tree was refused: {other:?}").into()),
    }
    let mut all = Vec::new();
    for change in 1..=ROUNDS {
        let (seconds, reply) = ask(&mut core, change, true)?;
        let Reply::Plan(steps) = reply else { return Err("no plan".into()) };
        let actions: usize = steps.iter().map(|it| it.actions.len()).sum();
        if actions != apps {
            return Err(format!("{actions} actions for {apps} apps").into());
        }
        all.push(seconds);
    }
    all.sort_by(f64::total_cmp);
    Ok(all[ROUNDS / 2])
}

fn tree(apps: usize, change: usize) -> Outcome<GroupUpdate> {
    let path = |text: String| PathId::parse(&text).map_err(|it| it.to_string());
    let mut groups = Vec::new();
    for group in 0..apps / IN_GROUP {
        let mut members = Vec::new();
        for at in 0..IN_GROUP {
            let before = (at > 0).then(|| vec![format!("/g{group:03}/app{:02}", at - 1)]);
            members.push(AppUpdate {
                id: Some(path(format!("/g{group:03}/app{at:02}"))?),
                cmd: Some(format!("sleep {change}")),
                instances: Some(1),
                port_definitions: Some(Vec::new()),
                dependencies: before,
                ..AppUpdate::default()
            });
        }
        let dependencies = match group {
            0 => Vec::new(),
            _ => vec![path(format!("/g{:03}", group - 1))?],
        };
        groups.push(GroupUpdate {
            id: Some(path(format!("/g{group:03}"))?),
            apps: Some(members),
            dependencies: Some(dependencies),
            ..GroupUpdate::default()
        });
    }
    Ok(GroupUpdate { groups: Some(groups), ..GroupUpdate::default() })
}
