//! The judge notices each kind of breach, and accepts what a cluster under faults may do.

use super::history::{Claim, Deed, End, Entry, History, Op, Outcome, Rule, State, What};
use super::judge::violations;

fn state(label: u64, instances: u64) -> State {
    State { label, instances }
}

fn op(at: f64, what: What) -> Op {
    Op { sent: at, told: at + 0.1, what }
}

fn write(at: f64, label: u64, outcome: Outcome) -> Op {
    op(at, What::Write(state(label, 2), outcome))
}

fn read(at: f64, label: u64) -> Op {
    op(at, What::Read(state(label, if label == 0 { 0 } else { 2 })))
}

fn entry(at: f64, deed: Deed) -> Entry {
    Entry { at, deed }
}

fn subscribed(at: f64, by: usize, stream: &str) -> Entry {
    entry(at, Deed::Subscribed { framework: "f".into(), by, stream: stream.into() })
}

fn call(at: f64, stream: &str, taken: bool) -> Entry {
    entry(
        at,
        Deed::Call { kind: "ACCEPT".into(), stream: stream.into(), taken, kills: None, since: Some(at) },
    )
}

fn launched(at: f64, task: &str, agent: u64, label: u64) -> Entry {
    entry(at, Deed::Launched { task: task.into(), agent, client: 0, label })
}

fn ended(at: f64, task: &str) -> Entry {
    entry(at, Deed::Ended { task: task.into() })
}

#[track_caller]
fn check(history: &History, want: &[Rule]) {
    let found = violations(history);
    assert_eq!(found.iter().map(|it| it.rule).collect::<Vec<_>>(), want, "{found:#?}");
}

#[track_caller]
fn client(ops: &[Op], want: &[Rule]) {
    check(&History { clients: vec![ops.to_vec()], ..History::default() }, want);
}

#[track_caller]
fn cluster(entries: Vec<Entry>, claims: Vec<Claim>, want: &[Rule]) {
    let ops = vec![write(0.0, 1, Outcome::Done)];
    check(&History { clients: vec![ops], claims, cluster: entries, ..History::default() }, want);
}

use Outcome::{Done, Refused, Unknown};
use Rule::{
    EverythingSettles, NoMoreThanAllowed, NothingIsLaunchedTwice, NothingIsLost, OneLeader, OnlyWhatWasAsked,
};

#[test]
fn a_lost_change_is_noticed() {
    client(&[read(0.0, 0), write(1.0, 1, Done), read(2.0, 1)], &[]);
    client(&[write(1.0, 1, Done), read(2.0, 0)], &[NothingIsLost]);
    client(&[write(1.0, 1, Done), write(2.0, 2, Done), read(3.0, 1)], &[NothingIsLost]);
}

#[test]
fn a_change_that_was_refused_and_made_is_noticed() {
    client(&[write(1.0, 1, Done), write(2.0, 2, Refused), read(3.0, 1)], &[]);
    client(&[write(1.0, 1, Done), write(2.0, 2, Refused), read(3.0, 2)], &[NothingIsLost]);
}

#[test]
fn a_change_of_unknown_outcome_comes_true_once_or_not_at_all() {
    client(&[write(1.0, 1, Done), write(2.0, 2, Unknown), read(3.0, 1), read(4.0, 2), read(5.0, 2)], &[]);
    // Overtaken by a later one, and late.
    client(&[write(1.0, 1, Unknown), write(2.0, 2, Done), read(3.0, 2), read(4.0, 1)], &[]);
    // What was seen stays.
    client(&[write(1.0, 1, Done), write(2.0, 2, Unknown), read(3.0, 2), read(4.0, 1)], &[NothingIsLost]);
    client(&[write(1.0, 1, Unknown), read(2.0, 1), write(3.0, 2, Done), read(4.0, 1)], &[NothingIsLost]);
    client(&[write(1.0, 1, Unknown), write(2.0, 2, Done), read(100.0, 1)], &[NothingIsLost]);
}

#[test]
fn two_leaders_are_noticed() {
    let first = [subscribed(0.0, 0, "a"), call(1.0, "a", true), subscribed(2.0, 1, "b")];
    let with = |more: &[Entry]| [&first[..], more].concat();
    cluster(with(&[call(3.0, "b", true)]), Vec::new(), &[]);
    // Refused: it did nothing.
    cluster(with(&[call(3.0, "a", false)]), Vec::new(), &[]);
    cluster(with(&[call(3.0, "a", true)]), Vec::new(), &[OneLeader]);
    let claim = |instance, sent, told| vec![Claim { instance, sent, told }];
    let acts = with(&[call(3.0, "b", true), call(9.0, "b", true)]);
    cluster(acts.clone(), claim(1, 4.0, 4.1), &[]);
    cluster(acts.clone(), claim(0, 1.9, 4.1), &[]);
    cluster(acts.clone(), claim(0, 4.0, 9.1), &[]);
    cluster(acts, claim(0, 4.0, 4.1), &[OneLeader]);
    // It arrived late, and may have been sent before.
    let mut late = call(9.0, "b", true);
    if let Deed::Call { since, .. } = &mut late.deed {
        *since = Some(3.0);
    }
    cluster(with(&[late]), claim(0, 4.0, 4.1), &[]);
    let other = Deed::Subscribed { framework: "g".into(), by: 0, stream: "c".into() };
    cluster(with(&[entry(3.0, other.clone())]), Vec::new(), &[]);
    cluster(with(&[entry(3.0, other), call(4.0, "c", true)]), Vec::new(), &[OneLeader]);
}

#[test]
fn a_task_that_is_launched_twice_is_noticed() {
    let once = vec![launched(1.0, "t", 0, 1), ended(2.0, "t")];
    cluster(once.clone(), Vec::new(), &[]);
    cluster([once, vec![launched(3.0, "t", 0, 1)]].concat(), Vec::new(), &[NothingIsLaunchedTwice]);
}

#[test]
fn a_launch_that_nobody_asked_for_is_noticed() {
    cluster(vec![launched(1.0, "t", 0, 2)], Vec::new(), &[OnlyWhatWasAsked]);
    let ops = vec![write(0.0, 1, Done), write(10.0, 2, Done)];
    let at = |moment| History {
        clients: vec![ops.clone()],
        cluster: vec![launched(moment, "t", 0, 1)],
        ..History::default()
    };
    check(&at(12.0), &[]);
    check(&at(99.0), &[OnlyWhatWasAsked]);
}

#[test]
fn too_many_tasks_are_noticed() {
    // Two are asked for, three allowed.
    let three = vec![launched(1.0, "a", 0, 1), launched(1.0, "b", 1, 1), launched(1.0, "c", 2, 1)];
    cluster(three.clone(), Vec::new(), &[]);
    let more = |between: Vec<Entry>| [three.clone(), between, vec![launched(4.0, "d", 0, 1)]].concat();
    cluster(more(Vec::new()), Vec::new(), &[NoMoreThanAllowed]);
    cluster(more(vec![ended(2.0, "a")]), Vec::new(), &[]);
    let kill = Deed::Call {
        kind: "KILL".into(),
        stream: "s".into(),
        taken: true,
        kills: Some("a".into()),
        since: None,
    };
    let killed = more(vec![subscribed(1.5, 0, "s"), entry(2.0, kill)]);
    // While nobody asks for anything else, one that is on its way out counts.
    let all =
        |ops: &[Op]| History { clients: vec![ops.to_vec()], cluster: killed.clone(), ..History::default() };
    let asked = write(-100.0, 1, Done);
    check(&all(&[asked]), &[NoMoreThanAllowed]);
    check(&all(&[asked, op(1.0, What::Kill)]), &[]);
    check(&all(&[asked, op(1.0, What::Write(state(1, 1), Done))]), &[]);
    // A task on a lost agent is replaced, and may be there again.
    let lost = vec![entry(2.0, Deed::AgentAway(0)), entry(3.0, Deed::AgentBack(0))];
    cluster(more(lost), Vec::new(), &[]);
}

#[test]
fn what_does_not_settle_is_noticed() {
    let good = End {
        wanted: state(1, 2),
        told: vec![Some(state(1, 2)); 3],
        told_tasks: vec!["a".into(), "b".into()],
        real_tasks: vec!["a".into(), "b".into()],
        deployments: 0,
    };
    let check = |end: End, want: &[Rule]| check(&History { ends: vec![end], ..History::default() }, want);
    check(good.clone(), &[]);
    check(End { told: vec![Some(state(1, 2)), None], ..good.clone() }, &[EverythingSettles]);
    check(End { told_tasks: vec!["a".into()], ..good.clone() }, &[EverythingSettles]);
    check(End { real_tasks: vec!["a".into(), "b".into(), "c".into()], ..good.clone() }, &[EverythingSettles]);
    check(End { wanted: state(1, 3), ..good.clone() }, &[EverythingSettles]);
    check(End { deployments: 1, ..good }, &[EverythingSettles]);
}
