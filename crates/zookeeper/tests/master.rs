//! Following the leading Mesos master, with what real masters wrote.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use marathon_testkit::zookeeper::ZooKeeper;
use marathon_zookeeper::{Client, MasterWatch, Member, Mode, Options, ZkUrl};

/// Written by Mesos 1.11.
const FIRST: &str = r#"{"address":{"hostname":"127.0.0.1","ip":"127.0.0.1","port":15050},"capabilities":[{"type":"AGENT_UPDATE"},{"type":"AGENT_DRAINING"},{"type":"QUOTA_V2"}],"hostname":"127.0.0.1","id":"a8e327ab-3ab4-4647-80d9-211ca6154dbd","ip":16777343,"pid":"master@127.0.0.1:15050","port":15050,"version":"1.11.0"}"#;
const SECOND: &str = r#"{"address":{"hostname":"127.0.0.1","ip":"127.0.0.1","port":15060},"capabilities":[{"type":"AGENT_UPDATE"},{"type":"AGENT_DRAINING"},{"type":"QUOTA_V2"}],"hostname":"127.0.0.1","id":"bc03f488-8fb5-413f-889e-10ca51837902","ip":16777343,"pid":"master@127.0.0.1:15060","port":15060,"version":"1.11.0"}"#;

#[tokio::test]
async fn the_leading_master_is_followed_through_all_that_happens() {
    let mut server = ZooKeeper::start();
    let options = |millis| Options {
        session_timeout: Duration::from_millis(millis),
        ..Options::new(ZkUrl::parse(&server.url("/mesos")).unwrap())
    };
    let (quick, lasting) = (options(600), options(20_000));
    let watch = MasterWatch::start(quick.clone());
    let mut leading = watch.leading();
    assert_eq!(*leading.borrow(), None);

    // The path does not exist yet; the masters make it.
    let first = Member::join(lasting.clone(), "/mesos", "json.info_", FIRST.as_bytes().to_vec());
    let master = leading.wait_for(Option::is_some).await.unwrap().clone().unwrap();
    assert_eq!(
        (master.host.as_str(), master.port, master.id.as_str()),
        ("127.0.0.1", 15050, "a8e327ab-3ab4-4647-80d9-211ca6154dbd")
    );
    assert_eq!(master.version.as_deref(), Some("1.11.0"));
    let client = Client::connect(&lasting);
    client.create("/mesos/log_replicas", b"", Mode::Persistent).await.unwrap();
    client
        .create("/mesos/log_replicas/0000000000", b"log-replica(1)@127.0.0.1:15050", Mode::Ephemeral)
        .await
        .unwrap();
    let second = Member::join(lasting.clone(), "/mesos", "json.info_", SECOND.as_bytes().to_vec());
    second.node().wait_for(Option::is_some).await.unwrap();
    assert_eq!(leading.borrow_and_update().as_ref().unwrap().port, 15050, "the lowest leads");

    first.leave().await;
    leading.wait_for(|it| it.as_ref().is_some_and(|it| it.port == 15060)).await.unwrap();
    leading.borrow_and_update();

    // Gone for longer than the watcher's session: nobody knows who leads. Then all is as before.
    server.stop();
    leading.wait_for(Option::is_none).await.unwrap();
    server.begin();
    server.await_ready();
    leading.wait_for(|it| it.as_ref().is_some_and(|it| it.port == 15060)).await.unwrap();

    second.leave().await;
    leading.wait_for(Option::is_none).await.unwrap();
    // A master that cannot say where it is leads nobody anywhere.
    let silent = Member::join(lasting, "/mesos", "json.info_", b"{".to_vec());
    silent.node().wait_for(Option::is_some).await.unwrap();
    assert_eq!(*leading.borrow(), None);
}
