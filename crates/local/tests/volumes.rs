//! Persistent volumes with a real keeper: data that outlives tasks and servers, and its end.

// Helpers of tests may panic, too.
#![allow(clippy::unwrap_used)]

mod desk;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use desk::{Desk, launch, shell, until};
use marathon_model::app::*;
use marathon_model::offer::Operation;
use marathon_model::offer::TaskState::*;
use marathon_model::resources::{Amount, Disk, Milli, Reserved, Resource};

const ID: &str = "db#data#0c1e6f10-7ccb-11eb-9a1c-0242ac110002";

fn reserved(amount: Amount, disk: Option<Disk>) -> Resource {
    let labels = BTreeMap::from([("owner".to_owned(), "db".to_owned())]);
    let reserved = Some(Arc::new(Reserved { principal: None, labels }));
    Resource { reserved, disk: disk.map(Arc::new), ..Resource::new("*", amount) }
}

fn volume() -> Resource {
    let volume = Some((ID.to_owned(), "data".to_owned()));
    let disk = Disk { kind: DiskKind::Root, root: None, profile: None, volume };
    reserved(Amount::Disk(Milli::from_whole(10)), Some(disk))
}

fn folder(desk: &Desk) -> PathBuf {
    desk.dir().join("local/volumes/db.0c1e6f10-7ccb-11eb-9a1c-0242ac110002")
}

fn container() -> Container {
    let source = VolumeSource::Persistent {
        kind: DiskKind::Root,
        size: 10,
        max_size: None,
        profile: None,
        constraints: Vec::new(),
    };
    let volume = Volume { container_path: "data".to_owned(), read_only: false, source };
    Container { kind: ContainerKind::Mesos, docker: None, volumes: vec![volume], linux: None }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_outlives_tasks_and_servers_until_it_is_destroyed() {
    let mut desk = Desk::new().await;
    let plain = [
        reserved(Amount::Cpus(Milli::from_whole(1)), None),
        reserved(Amount::Mem(Milli::from_whole(64)), None),
        reserved(Amount::Disk(Milli::from_whole(10)), None),
    ];
    desk.operate(vec![Operation::Reserve(plain.to_vec()), Operation::Create(vec![volume()])]).await;
    let kept = desk.reserved().await;
    assert_eq!((kept.len(), kept.contains(&volume())), (3, true));
    for (start, want) in [(1, "1\n"), (2, "1\n2\n")] {
        let mut task = launch(&desk, &format!("db{start}"), shell(&format!("echo {start} >> data/log")));
        task.container = Some(container());
        task.reserved = desk.reserved().await;
        desk.accept(vec![task.clone()]).await;
        desk.expect(&task, &[Running, Finished]).await;
        assert_eq!(fs::read_to_string(folder(&desk).join("log")).unwrap(), want);
        // Another server finds both: the record and the data.
        desk.stop().await;
        desk.start().await;
        while desk.reserved().await.len() < 3 {
            desk.decline().await;
        }
    }
    desk.operate(vec![Operation::Destroy(vec![volume()]), Operation::Unreserve(plain.to_vec())]).await;
    assert_eq!(desk.reserved().await, []);
    let volumes = desk.dir().join("local/volumes");
    until("the data is gone", || fs::read_dir(&volumes).unwrap().count() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_without_its_volume_says_so() {
    let mut desk = Desk::new().await;
    let mut task = launch(&desk, "db", shell("true"));
    task.container = Some(container());
    desk.accept(vec![task.clone()]).await;
    desk.expect(&task, &[Failed]).await;
    let want = "Failed to provide the volume 'data': nothing was reserved for it on this machine";
    assert_eq!(desk.last(&task).message, want);
}
