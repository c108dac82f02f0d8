//! Sessions against a real server: what a client may rely on.

#![allow(clippy::unwrap_used)]

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use marathon_testkit::zookeeper::{self, ZooKeeper};
use marathon_zookeeper::{Acl, Client, Error, Member, Mode, Op, Options, State, ZkUrl};

fn server() -> &'static ZooKeeper {
    static SERVER: OnceLock<ZooKeeper> = OnceLock::new();
    SERVER.get_or_init(ZooKeeper::start)
}

fn options(url: &str) -> Options {
    Options::new(ZkUrl::parse(url).unwrap())
}

async fn connect(options: &Options) -> Client {
    Client::connect_within(options, Duration::from_secs(30)).await.unwrap()
}

#[tokio::test]
async fn nodes_are_made_read_changed_and_removed() {
    let client = connect(&options(&server().url("/nodes"))).await;
    client.make("/nodes/a/b").await.unwrap();
    client.make("/nodes/a/b").await.unwrap();
    assert_eq!(client.create("/nodes/a/b", b"", Mode::Persistent).await, Err(Error::NodeExists));
    assert_eq!(client.create("/nodes/x/y", b"", Mode::Persistent).await, Err(Error::NoNode));
    let first = client.create("/nodes/a/s-", b"1", Mode::PersistentSequential).await.unwrap();
    assert!(first.starts_with("/nodes/a/s-00000000"), "{first}");
    assert_eq!(client.set(&first, b"2", 0).await.unwrap().version, 1);
    assert_eq!(client.set(&first, b"3", 0).await, Err(Error::BadVersion));
    let (data, stat) = client.get(&first).await.unwrap();
    assert_eq!((data.as_slice(), stat.version, stat.owner), (&b"2"[..], 1, 0));
    assert_eq!(client.delete("/nodes/a", -1).await, Err(Error::NotEmpty));
    client.delete(&first, 1).await.unwrap();
    assert_eq!(client.exists(&first).await, Ok(None));
    assert_eq!(client.children("/nodes/a").await.unwrap(), ["b"]);
    client.sync("/nodes").await.unwrap();
}

#[tokio::test]
async fn a_transaction_happens_whole_or_not_at_all() {
    let client = connect(&options(&server().url("/multi"))).await;
    client.make("/multi").await.unwrap();
    let create = |path: &str| Op::Create {
        path: path.to_owned(),
        data: b"x".to_vec(),
        acl: Acl::Open,
        mode: Mode::Persistent,
    };
    let made = client.multi(&[create("/multi/a"), create("/multi/b")]).await.unwrap();
    assert_eq!(made, [Some("/multi/a".to_owned()), Some("/multi/b".to_owned())]);
    let parts = [
        Op::Delete { path: "/multi/a".to_owned(), version: -1 },
        Op::Check { path: "/multi/b".to_owned(), version: 7 },
        create("/multi/c"),
    ];
    assert_eq!(client.multi(&parts).await, Err((1, Error::BadVersion)));
    assert!(client.exists("/multi/a").await.unwrap().is_some());

    // Pipelined: all are on their way before the first is answered, and they happen in order.
    let set = |version| Op::Set { path: "/multi/a".to_owned(), data: vec![b'y'], version };
    let mut waiting = Vec::new();
    for version in 0..100 {
        waiting.push(client.send_multi(&[set(version)]).await.unwrap());
    }
    for answer in waiting {
        answer.await.unwrap();
    }
    assert_eq!(client.get("/multi/a").await.unwrap().1.version, 100);
    let large = Op::Set { path: "/multi/a".to_owned(), data: vec![0; 2 << 20], version: -1 };
    assert!(matches!(client.multi(&[large]).await, Err((0, Error::TooLarge(_)))));
    assert!(client.exists("/multi/a").await.unwrap().is_some(), "the session lives on");
}

#[tokio::test]
async fn watches_fire_once_something_changes() {
    let client = connect(&options(&server().url("/watch"))).await;
    client.make("/watch").await.unwrap();
    let (children, coming) = client.watch_children("/watch").await.unwrap();
    assert!(children.is_empty());
    let (absent, made) = client.watch("/watch/a").await.unwrap();
    assert_eq!(absent, None);
    let other = connect(&options(&server().url("/watch"))).await;
    other.create("/watch/a", b"", Mode::Ephemeral).await.unwrap();
    coming.fired().await;
    made.fired().await;
    let (present, going) = client.watch("/watch/a").await.unwrap();
    assert_eq!(present.unwrap().owner, other.session());
    let closed = other.state();
    other.close().await;
    assert_eq!(*closed.borrow(), State::Closed);
    going.fired().await;
    assert_eq!(other.exists("/watch").await, Err(Error::Closed));
}

#[tokio::test]
async fn nodes_made_with_credentials_are_closed_to_others() {
    let url = server().url("/secret");
    let ours = options(&url.replace("zk://", "zk://user:pass@"));
    let client = connect(&ours).await;
    client.make("/secret").await.unwrap();
    client.set("/secret", b"x", -1).await.unwrap();
    let stranger = connect(&options(&url)).await;
    assert_eq!(stranger.get("/secret").await, Err(Error::NoAuth));
    assert_eq!(stranger.create("/secret/a", b"", Mode::Persistent).await, Err(Error::NoAuth));
    let mistaken = connect(&options(&url.replace("zk://", "zk://user:other@"))).await;
    assert_eq!(mistaken.set("/secret", b"y", -1).await, Err(Error::NoAuth));
    let again = connect(&ours).await;
    assert_eq!(again.get("/secret").await.unwrap().0, b"x");
}

#[tokio::test]
async fn a_session_outlives_its_connection_and_ends_with_its_time() {
    let mut server = ZooKeeper::start();
    let options = Options { session_timeout: Duration::from_secs(2), ..options(&server.url("/life")) };
    let client = connect(&options).await;
    client.make("/life").await.unwrap();
    client.create("/life/e", b"", Mode::Ephemeral).await.unwrap();
    let (_, watch) = client.watch("/life/e").await.unwrap();
    let session = client.session();
    assert_eq!(client.session_timeout(), options.session_timeout);
    // A server grants no less than two of its ticks.
    let hasty = Options { session_timeout: Duration::from_millis(1), ..options.clone() };
    assert!(connect(&hasty).await.session_timeout() >= Duration::from_millis(200));

    // Held still for less than the session's time.
    server.signal("STOP");
    let asked = client.send_multi(&[Op::Set { path: "/life".to_owned(), data: vec![1], version: -1 }]).await;
    server.signal("CONT");
    asked.unwrap().await.unwrap();
    assert!(client.is_live());

    server.stop();
    watch.fired().await;
    let over = tokio::time::timeout(Duration::from_secs(30), client.over()).await.unwrap();
    assert_eq!(over, State::Expired);
    assert!(!client.is_live());
    assert_eq!(client.exists("/life").await, Err(Error::Expired));
    server.begin();
    server.await_ready();
    let next = connect(&options).await;
    assert_ne!(next.session(), session);
    assert_eq!(next.get("/life").await.unwrap().0, [1]);
}

#[tokio::test]
async fn a_connection_moves_to_another_server_within_its_session() {
    let mut servers = zookeeper::ZooKeeper::ensemble(3);
    let options =
        Options { session_timeout: Duration::from_secs(20), ..options(&zookeeper::url(&servers, "/move")) };
    let client = connect(&options).await;
    client.make("/move").await.unwrap();
    client.create("/move/e", b"", Mode::Ephemeral).await.unwrap();
    let session = client.session();
    for server in &mut servers {
        server.stop();
        // What was on its way may be lost; the next attempt waits for a connection.
        let mut found = client.exists("/move/e").await;
        while matches!(found, Err(Error::ConnectionLost | Error::Timeout)) {
            found = client.exists("/move/e").await;
        }
        assert_eq!(found.unwrap().unwrap().owner, session);
        server.begin();
        server.await_ready();
    }
    assert_eq!(client.session(), session);

    // Two of three gone: nobody serves, and nobody pretends to.
    servers[0].stop();
    servers[1].stop();
    let short = Options { request_timeout: Duration::from_millis(500), ..options.clone() };
    let refused = Client::connect_within(&short, Duration::from_secs(1)).await;
    assert!(matches!(refused, Err(Error::Unreachable(_))), "{refused:?}");
}

#[tokio::test]
async fn nobody_answers_where_nobody_is() {
    let options = options(&format!("zk://127.0.0.1:{}/none", zookeeper::free_port()));
    let began = Instant::now();
    let error = Client::connect_within(&options, Duration::from_millis(300)).await.unwrap_err();
    assert!(matches!(&error, Error::Unreachable(why) if why.contains("refused")), "{error}");
    assert!(began.elapsed() >= Duration::from_millis(300));
}

#[tokio::test]
async fn a_member_returns_with_the_next_session_and_leaves_when_asked() {
    let mut server = ZooKeeper::start();
    let options = Options { session_timeout: Duration::from_millis(500), ..options(&server.url("/members")) };
    let member = Member::join(options.clone(), "/members", "json.info_", b"{}".to_vec());
    let mut node = member.node();
    let first = node.wait_for(Option::is_some).await.unwrap().clone().unwrap();
    assert_eq!(first, "json.info_0000000000");
    server.stop();
    node.wait_for(Option::is_none).await.unwrap();
    server.begin();
    server.await_ready();
    let second = node.wait_for(Option::is_some).await.unwrap().clone().unwrap();
    assert_ne!(first, second);
    let client = connect(&options).await;
    assert_eq!(client.get(&format!("/members/{second}")).await.unwrap().0, b"{}");
    member.leave().await;
    assert_eq!(client.exists(&format!("/members/{second}")).await, Ok(None));
}
