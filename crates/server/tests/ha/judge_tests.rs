//! The judge notices each kind of breach, and accepts what a cluster under faults may do.

use super::history::{Claim, Deed, End, Entry, History, Op, Outcome, Rule, Share, State, Way, What};
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
    cluster(with(&[late.clone()]), claim(0, 4.0, 4.1), &[]);
    // But not when it is followed by one that was sent later.
    cluster(with(&[late, call(10.0, "b", true)]), claim(0, 4.0, 4.1), &[OneLeader]);
}

#[test]
fn a_second_framework_is_noticed() {
    let other = Deed::Subscribed { framework: "g".into(), by: 1, stream: "b".into() };
    let other = |at| entry(at, other.clone());
    let (first, acts) = (subscribed(0.0, 0, "a"), call(1.0, "a", true));
    // Over before its id was stored: it did nothing.
    cluster(vec![first.clone(), other(2.0), call(3.0, "b", true)], Vec::new(), &[]);
    // Afterwards none may come, not even one that does nothing.
    cluster(vec![first.clone(), acts.clone(), other(2.0)], Vec::new(), &[OneLeader]);
    cluster(vec![first, other(2.0), call(3.0, "b", true), subscribed(4.0, 0, "c")], Vec::new(), &[OneLeader]);
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

fn kill(at: f64, task: &str) -> Vec<Entry> {
    let deed = Deed::Call {
        kind: "KILL".into(),
        stream: "s".into(),
        taken: true,
        kills: Some(task.into()),
        since: None,
    };
    vec![subscribed(at - 0.1, 0, "s"), entry(at, deed)]
}

#[track_caller]
fn after(ops: &[Op], entries: &[Entry], want: &[Rule]) {
    check(&History { clients: vec![ops.to_vec()], cluster: entries.to_vec(), ..History::default() }, want);
}

#[test]
fn too_many_tasks_are_noticed() {
    // Two are asked for, three allowed, while they may be of two definitions.
    let upgrade = [write(-100.0, 1, Done), write(0.5, 2, Done)];
    let three = vec![launched(0.1, "a", 0, 1), launched(0.2, "b", 1, 1), launched(1.0, "c", 2, 2)];
    after(&upgrade, &three, &[]);
    let more = |between: Vec<Entry>| [three.clone(), between, vec![launched(4.0, "d", 0, 2)]].concat();
    after(&upgrade, &more(Vec::new()), &[NoMoreThanAllowed]);
    after(&upgrade, &more(vec![ended(2.0, "a")]), &[]);
    // While nobody asks for another number, one that is on its way out counts, whoever asks for something else.
    let killed = more(kill(2.0, "a"));
    let with = |at, what| [upgrade[0], op(at, what), upgrade[1]];
    after(&upgrade, &killed, &[NoMoreThanAllowed]);
    after(&with(0.3, What::Kill(Done)), &killed, &[]);
    after(&with(0.3, What::Kill(Refused)), &killed, &[NoMoreThanAllowed]);
    after(&with(-50.0, What::Kill(Done)), &killed, &[NoMoreThanAllowed]);
    after(&with(-50.0, What::Kill(Unknown)), &killed, &[]);
    after(&with(0.3, What::Write(state(1, 1), Done)), &killed, &[]);
    // Even then those that are not do.
    let scaled = with(0.3, What::Write(state(1, 1), Done));
    let fourth = vec![launched(4.1, "e", 0, 2)];
    after(&scaled, &[killed, fourth].concat(), &[NoMoreThanAllowed]);
    // Those who were to end may not have been told: no master listened.
    let told = with(0.3, What::Kill(Done));
    let (fifth, sixth) = ([launched(4.1, "e", 0, 2)], [launched(4.2, "f", 0, 2)]);
    after(&told, &more(Vec::new()), &[]);
    after(&told, &[&more(Vec::new())[..], &fifth].concat(), &[]);
    after(&told, &[&more(Vec::new())[..], &fifth, &sixth].concat(), &[NoMoreThanAllowed]);
    after(&with(-50.0, What::Kill(Done)), &more(Vec::new()), &[NoMoreThanAllowed]);
    after(&scaled, &more(Vec::new()), &[]);
    after(&scaled, &[&more(Vec::new())[..], &fifth].concat(), &[NoMoreThanAllowed]);
    // A task on a lost agent is replaced, and may be there again.
    let lost = vec![entry(2.0, Deed::AgentAway(0)), entry(3.0, Deed::AgentBack(0))];
    after(&upgrade, &more(lost), &[]);
}

#[test]
fn a_task_too_many_of_one_definition_is_noticed() {
    let three = [launched(0.1, "a", 0, 1), launched(0.2, "b", 1, 1), launched(1.0, "c", 2, 1)];
    let asked = write(-100.0, 1, Done);
    after(&[asked], &three[..2], &[]);
    after(&[asked], &three, &[NoMoreThanAllowed]);
    // Ended before its successor came, so that it would not be counted; but nobody had asked for that either.
    let forgotten = [&three[..2], &kill(0.5, "a"), &three[2..]].concat();
    after(&[asked], &forgotten, &[OnlyWhatWasAsked, NoMoreThanAllowed]);
    // New ones beside old ones, that is what a restart is.
    after(&[asked, op(0.3, What::Restart(Unknown))], &three, &[]);
    after(&[asked, op(-80.0, What::Restart(Done))], &three, &[NoMoreThanAllowed]);
    // Back to it, and forth again: two versions of one definition.
    let back = [asked, write(-50.0, 2, Done), write(-40.0, 1, Done)];
    after(&back, &three, &[]);
}

#[test]
fn an_end_that_nobody_asked_for_is_noticed() {
    let two = [launched(0.1, "a", 0, 1), launched(0.2, "b", 1, 1)];
    let asked = write(-100.0, 1, Done);
    let killed = |more: &[Entry]| [&two, more, &kill(9.0, "a")].concat();
    after(&[asked], &killed(&[]), &[OnlyWhatWasAsked]);
    after(&[asked, op(5.0, What::Kill(Done))], &killed(&[]), &[]);
    after(&[asked, op(5.0, What::Restart(Unknown))], &killed(&[]), &[]);
    after(&[asked, write(5.0, 2, Done)], &killed(&[]), &[]);
    after(&[asked, write(5.0, 2, Refused)], &killed(&[]), &[OnlyWhatWasAsked]);
    after(&[asked, op(5.0, What::Write(state(1, 1), Unknown))], &killed(&[]), &[]);
    let lost = [entry(2.0, Deed::AgentAway(0)), entry(3.0, Deed::AgentBack(0))];
    after(&[asked], &killed(&lost), &[]);
    // One that is back beside its successor: one of them is too many, whichever.
    let back = [&two[..], &lost, &[launched(2.5, "c", 2, 1)], &kill(9.0, "b")].concat();
    after(&[asked], &back, &[]);
    let again = [&back[..], &kill(9.5, "c")].concat();
    after(&[asked], &again, &[OnlyWhatWasAsked]);
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

#[test]
fn requests_that_are_still_passed_on_are_noticed() {
    let share = |way, passed_on, failed| Share { way, asked: 20, passed_on, failed };
    let check = |share, want: &[Rule]| check(&History { shares: vec![share], ..History::default() }, want);
    check(share(Way::Direct, 13, 0), &[]);
    check(share(Way::Nginx, 0, 0), &[]);
    check(share(Way::HaProxy, 1, 0), &[EverythingSettles]);
    check(share(Way::VirtualAddress, 0, 1), &[EverythingSettles]);
}
