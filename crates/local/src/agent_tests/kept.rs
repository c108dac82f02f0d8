//! Scripts with reservations and volumes.

use marathon_model::app::DiskKind;
use marathon_model::resources::{Disk, Reserved, Resource};

use super::*;

const VOLUME: &str = "db#data#0c1e6f10-7ccb-11eb-9a1c-0242ac110002";

fn reserved(amount: Amount) -> Resource {
    let labels = BTreeMap::from([("owner".to_owned(), "db".to_owned())]);
    let reserved = Some(Arc::new(Reserved { principal: None, labels }));
    Resource { reserved, ..Resource::new("*", amount) }
}

fn plain() -> Vec<Resource> {
    let whole = Milli::from_whole;
    [Amount::Cpus(whole(1)), Amount::Mem(whole(32)), Amount::Disk(whole(10))].map(reserved).into()
}

fn volume() -> Resource {
    let volume = Some((VOLUME.to_owned(), "data".to_owned()));
    let disk = Disk { kind: DiskKind::Root, root: None, profile: None, volume };
    Resource { disk: Some(Arc::new(disk)), ..reserved(Amount::Disk(Milli::from_whole(10))) }
}

/// What a task of the reservation uses: its disk has become the volume.
fn used() -> Vec<Resource> {
    plain().into_iter().take(2).chain([volume()]).collect()
}

fn desk() -> Desk {
    let mut desk = Desk::new("cpus:4;mem:1000;disk:100", &["*"]);
    desk.play("welcome", "subscribed, offer * cpus:4 mem:1000 Disk(100)");
    desk
}

/// Takes the present offer for these.
#[track_caller]
fn operate(desk: &mut Desk, operations: Vec<Operation>, want: &str) {
    let now = Now { wall: Timestamp(1000), tick: Tick(desk.seconds * 1000) };
    let mut effects = Vec::new();
    let accept = Call::Accept { offer: desk.offer.clone(), operations };
    desk.agent.step(Input::Call(accept), now, &mut effects);
    desk.agent.settle(now, &mut Vec::new, &mut effects);
    let got: Vec<String> = effects.into_iter().map(|it| desk.show(it)).collect();
    assert_eq!(got.join(", "), want);
}

fn made() -> String {
    format!("save, make volume {VOLUME}, save, offer * cpus:3 mem:968 Disk(90) cpus:1 mem:32 Disk(10)")
}

fn on_volume() -> Launch {
    Launch { reserved: used(), ..launch("db") }
}

#[test]
fn what_is_reserved_is_offered_while_no_task_uses_it() {
    let mut desk = desk();
    let both = vec![Operation::Reserve(plain()), Operation::Create(vec![volume()])];
    operate(&mut desk, both, &made());
    let launch = vec![Operation::Launch(vec![on_volume()])];
    operate(&mut desk, launch, "prepare db, offer * cpus:3 mem:968 Disk(90)");
    desk.play("prepared db", "keep: launch db");
    desk.play("started db", "db Running");
    desk.play("ack db", "");
    // What a decline holds back is not what was in use then.
    desk.play("decline 100", "");
    desk.play(
        "end db exit0",
        "db Finished 'Command exited with status 0', offer * cpus:3 mem:968 Disk(90) cpus:1 mem:32 Disk(10)",
    );
    let end = vec![Operation::Destroy(vec![volume()]), Operation::Unreserve(plain())];
    operate(
        &mut desk,
        end,
        &format!("remove volume {VOLUME}, save, save, offer * cpus:4 mem:1000 Disk(100)"),
    );
}

#[test]
fn what_does_not_fit_is_left_undone() {
    let offer = "offer * cpus:4 mem:1000 Disk(100)";
    for operations in [
        vec![Operation::Reserve(vec![reserved(Amount::Cpus(Milli::from_whole(5)))])],
        vec![Operation::Create(vec![volume()])],
        vec![Operation::Destroy(vec![volume()])],
        vec![Operation::Unreserve(plain())],
    ] {
        operate(&mut desk(), operations, offer);
    }
    let launch = vec![Operation::Launch(vec![on_volume()])];
    let refused = "noack db Error 'Task uses reserved resources which are not in the offer'";
    operate(&mut desk(), launch, &format!("{refused}, {offer}"));
}
