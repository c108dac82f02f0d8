//! Elections among several sessions.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use marathon_testkit::zookeeper::{self, ZooKeeper};
use marathon_zookeeper::latch::{self, Standing};
use marathon_zookeeper::{Client, Options, ZkUrl};
use tokio::sync::watch;
use tokio::task::JoinHandle;

const FOLDER: &str = "/m/leader-curator";

struct Instance {
    client: Client,
    standing: watch::Receiver<Standing>,
    task: JoinHandle<()>,
}

impl Instance {
    async fn start(url: &str, id: &str, session: Duration) -> Instance {
        let options = Options { session_timeout: session, ..Options::new(ZkUrl::parse(url).unwrap()) };
        let client = Client::connect(&options);
        let (sender, standing) = watch::channel(Standing::Unknown);
        let (id, ours) = (id.to_owned(), client.clone());
        let task = tokio::spawn(async move {
            latch::stand(&ours, FOLDER, &id, &sender).await;
        });
        Instance { client, standing, task }
    }

    async fn becomes(&mut self, want: Standing) {
        let wait = self.standing.wait_for(|it| *it == want);
        tokio::time::timeout(Duration::from_secs(30), wait).await.expect("in time").unwrap();
    }
}

fn following(id: &str) -> Standing {
    Standing::Following(id.to_owned())
}

#[tokio::test]
async fn one_leads_and_the_next_follows_in_its_steps() {
    let server = ZooKeeper::start();
    let (url, session) = (server.url("/m"), Duration::from_secs(20));
    let mut a = Instance::start(&url, "a:1", session).await;
    a.becomes(Standing::Leading).await;
    let mut b = Instance::start(&url, "b:2", session).await;
    b.becomes(following("a:1")).await;
    let mut c = Instance::start(&url, "c:3", session).await;
    c.becomes(following("a:1")).await;

    let eyes = Client::connect(&Options::new(ZkUrl::parse(&url).unwrap()));
    let mut nodes = eyes.children(FOLDER).await.unwrap();
    nodes.sort_by_key(|it| it.rsplit('-').next().map(str::to_owned));
    assert!(nodes[0].starts_with("_c_") && nodes[0].ends_with("-latch-0000000000"), "{nodes:?}");
    assert_eq!(latch::leader(&eyes, FOLDER).await.unwrap().as_deref(), Some("a:1"));

    a.client.close().await;
    b.becomes(Standing::Leading).await;
    c.becomes(following("b:2")).await;
    a.becomes(Standing::Unknown).await;
    a.task.await.unwrap();

    // An operator takes the leadership away by hand: the leader stands again, behind the others.
    eyes.delete(&format!("{FOLDER}/{}", nodes[1]), -1).await.unwrap();
    c.becomes(Standing::Leading).await;
    b.becomes(following("c:3")).await;
}

#[tokio::test]
async fn without_a_quorum_nobody_leads_and_afterwards_exactly_one_does() {
    let mut servers = ZooKeeper::ensemble(3);
    let (url, session) = (zookeeper::url(&servers, "/m"), Duration::from_secs(2));
    let mut a = Instance::start(&url, "a:1", session).await;
    a.becomes(Standing::Leading).await;
    let mut b = Instance::start(&url, "b:2", session).await;
    b.becomes(following("a:1")).await;

    servers[0].stop();
    servers[1].stop();
    a.becomes(Standing::Unknown).await;
    b.becomes(Standing::Unknown).await;
    assert!(!a.client.is_live() && !b.client.is_live());

    for server in &mut servers[..2] {
        server.begin();
    }
    for server in &mut servers {
        server.await_ready();
    }
    let mut a = Instance::start(&url, "a:1", session).await;
    a.becomes(Standing::Leading).await;
}
