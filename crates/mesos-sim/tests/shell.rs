//! The simulation behind real sockets: what the replays of recordings cannot show.
#![allow(clippy::unwrap_used)]

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use marathon_mesos_sim::launch::Cluster;
use marathon_mesos_sim::options::Options;
use marathon_testkit::zookeeper::ZooKeeper;
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(20);

fn cluster(change: impl FnOnce(&mut Options)) -> Cluster {
    let mut options = Options { ports: vec![0, 0], agents: 3, ..Options::default() };
    options.config.allocation_interval = Duration::from_millis(100);
    options.config.session_timeout = Duration::from_millis(200);
    options.config.start_delay = Duration::from_millis(1);
    change(&mut options);
    Cluster::start(options).unwrap()
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn post(path: &str, extra: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: sim\r\nContent-Type: application/json\r\nAccept: application/json\r\n{extra}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Status line and body of one request on a connection of its own.
fn ask(address: SocketAddr, request: &str) -> (String, String) {
    let mut stream = connect(address);
    stream.write_all(request.replacen("\r\n", "\r\nConnection: close\r\n", 1).as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

fn order(cluster: &Cluster, master: usize, order: &Value) -> Value {
    let (head, body) =
        ask(cluster.addresses.masters[master], &post("/mesos-sim/admin", "", &order.to_string()));
    assert!(head.starts_with("HTTP/1.1 200"), "{head} {body}");
    serde_json::from_str(&body).unwrap()
}

/// An open event stream, and everything that was read of it.
struct Events {
    stream: TcpStream,
    text: String,
}

impl Events {
    fn subscribe(address: SocketAddr) -> Events {
        let mut stream = connect(address);
        let call = json!({ "type": "SUBSCRIBE", "subscribe": { "framework_info": { "user": "root", "name": "t", "failover_timeout": 60.0, "checkpoint": true } } });
        stream.write_all(post("/api/v1/scheduler", "", &call.to_string()).as_bytes()).unwrap();
        Events { stream, text: String::new() }
    }

    /// Reads on until the text is there; `false` if the stream ends before.
    fn until(&mut self, wanted: &str) -> bool {
        let mut piece = [0; 65536];
        while !self.text.contains(wanted) {
            match self.stream.read(&mut piece) {
                Ok(0) => return false,
                Ok(count) => self.text.push_str(&String::from_utf8_lossy(&piece[..count])),
                Err(cause) if cause.kind() == ErrorKind::ConnectionReset => return false,
                Err(cause) => panic!("{cause}; so far: {}", self.text),
            }
        }
        true
    }

    fn after(&self, mark: &str) -> &str {
        let rest = &self.text[self.text.find(mark).unwrap() + mark.len()..];
        rest.split(['"', '\r']).next().unwrap()
    }
}

#[test]
fn a_stream_begins_and_calls_go_over_one_connection() {
    let cluster = cluster(|_| {});
    let mut events = Events::subscribe(cluster.addresses.masters[0]);
    assert!(events.until("\"OFFERS\""));
    assert!(events.text.contains("Mesos-Stream-Id: "), "{}", events.text);
    let stream = events.after("Mesos-Stream-Id: ").to_owned();
    let framework = events.after("\"framework_id\":{\"value\":\"").to_owned();
    let call = json!({ "type": "REVIVE", "framework_id": { "value": framework } }).to_string();
    let id = format!("Mesos-Stream-Id: {stream}\r\n");
    let mut calls = connect(cluster.addresses.masters[0]);
    // Three on one connection without waiting, the last one chunked.
    let chunked = format!(
        "POST /api/v1/scheduler HTTP/1.1\r\nHost: sim\r\nContent-Type: application/json\r\nConnection: close\r\n{id}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{call}\r\n0\r\n\r\n",
        call.len()
    );
    let two = post("/api/v1/scheduler", &id, &call).repeat(2);
    calls.write_all(format!("{two}{chunked}").as_bytes()).unwrap();
    let mut answers = String::new();
    calls.read_to_string(&mut answers).unwrap();
    assert_eq!(answers.matches("HTTP/1.1 202 Accepted").count(), 3, "{answers}");
}

#[test]
fn a_dead_master_refuses_and_the_next_one_leads() {
    let cluster = cluster(|_| {});
    let [first, second] = [cluster.addresses.masters[0], cluster.addresses.masters[1]];
    let mut events = Events::subscribe(first);
    assert!(events.until("\"SUBSCRIBED\""));
    let (head, _) = ask(second, &post("/api/v1/scheduler", "", "{}"));
    assert!(head.starts_with("HTTP/1.1 307"), "{head}");
    assert!(head.contains(&format!("Location: //{first}/master/api/v1/scheduler")), "{head}");
    order(&cluster, 1, &json!({ "do": "kill_master", "master": 0 }));
    assert!(!events.until("never"), "the stream ends");
    assert!(!events.text.ends_with("0\r\n\r\n"), "without a last chunk: {}", events.text);
    let began = Instant::now();
    while TcpStream::connect(first).is_ok() {
        assert!(began.elapsed() < PATIENCE, "the port of a dead master is open");
    }
    loop {
        let (head, _) = ask(second, &post("/api/v1", "", "{\"type\":\"GET_HEALTH\"}"));
        if head.starts_with("HTTP/1.1 200") {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{head}");
    }
    order(&cluster, 1, &json!({ "do": "start_master", "master": 0 }));
    while TcpStream::connect(first).is_err() {
        assert!(began.elapsed() < PATIENCE, "the master does not come back");
    }
}

#[test]
fn zookeeper_elects_among_the_masters() {
    let zookeeper = ZooKeeper::start();
    let cluster = cluster(|it| it.zk = Some(zookeeper.url("/mesos")));
    let ports: Vec<u16> = cluster.addresses.masters.iter().map(SocketAddr::port).collect();
    let leader = |asked: usize| -> Option<usize> {
        let (head, _) = ask(cluster.addresses.masters[asked], "GET /redirect HTTP/1.1\r\nHost: sim\r\n\r\n");
        let place = head.lines().find_map(|it| it.strip_prefix("Location: //127.0.0.1:"))?;
        ports.iter().position(|it| it.to_string() == place)
    };
    let until = |what: &str, asked: usize, wanted: &dyn Fn(usize) -> bool| -> usize {
        let began = Instant::now();
        loop {
            if let Some(it) = leader(asked).filter(|it| wanted(*it)) {
                return it;
            }
            assert!(began.elapsed() < PATIENCE, "{what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    let first = until("nobody leads", 0, &|_| true);
    let other = 1 - first;
    order(&cluster, other, &json!({ "do": "kill_master", "master": first }));
    until("nobody takes over", other, &|it| it == other);
    order(&cluster, other, &json!({ "do": "start_master", "master": first }));
    order(&cluster, other, &json!({ "do": "kill_master", "master": other }));
    until("the first one does not come back", first, &|it| it == first);
}

#[test]
fn a_subscriber_that_goes_away_is_noticed() {
    let cluster = cluster(|_| {});
    let master = cluster.addresses.masters[0];
    let mut events = Events::subscribe(master);
    assert!(events.until("\"OFFERS\""));
    drop(events);
    let began = Instant::now();
    loop {
        let (_, body) = ask(master, "GET /metrics/snapshot HTTP/1.1\r\nHost: sim\r\n\r\n");
        let metrics: Value = serde_json::from_str(&body).unwrap();
        if metrics["master/frameworks_disconnected"] == json!(1.0) {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{metrics}");
    }
}

#[test]
fn real_commands_write_real_files() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = cluster(|it| {
        it.config.real = true;
        it.config.work_dir = folder.path().display().to_string();
    });
    let master = cluster.addresses.masters[0];
    let mut events = Events::subscribe(master);
    assert!(events.until("\"OFFERS\""));
    let (stream, framework) = (
        events.after("Mesos-Stream-Id: ").to_owned(),
        events.after("\"framework_id\":{\"value\":\"").to_owned(),
    );
    let (offer, agent) = (
        events.after("\"offers\":[{\"id\":{\"value\":\"").to_owned(),
        events.after("\"agent_id\":{\"value\":\"").to_owned(),
    );
    let task = json!({
        "name": "t", "task_id": { "value": "t" }, "agent_id": { "value": agent },
        "resources": [{ "name": "cpus", "type": "SCALAR", "scalar": { "value": 0.1 } }],
        "command": { "value": "echo $GREETING; exec sleep 100", "environment": { "variables": [{ "name": "GREETING", "value": "hello" }] } }
    });
    let accept = json!({ "type": "ACCEPT", "framework_id": { "value": framework }, "accept": {
        "offer_ids": [{ "value": offer }], "operations": [{ "type": "LAUNCH", "launch": { "task_infos": [task] } }] } });
    let id = format!("Mesos-Stream-Id: {stream}\r\n");
    let (head, _) = ask(master, &post("/api/v1/scheduler", &id, &accept.to_string()));
    assert!(head.starts_with("HTTP/1.1 202"), "{head}");
    assert!(events.until("TASK_STARTING"));
    let path = format!("/frameworks/{framework}/executors/t/runs/latest/stdout");
    let agents = SocketAddr::from(([127, 0, 0, 1], cluster.addresses.agents.port()));
    let began = Instant::now();
    loop {
        let (_, body) = ask(
            agents,
            &format!("GET /agents/{agent}/files/read?path={path}&offset=0 HTTP/1.1\r\nHost: sim\r\n\r\n"),
        );
        if body.contains("hello") {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{body}");
    }
    let kill = json!({ "type": "KILL", "framework_id": { "value": framework }, "kill": { "task_id": { "value": "t" } } });
    let uuid = events.after("\"uuid\":\"").to_owned();
    let acknowledge = json!({ "type": "ACKNOWLEDGE", "framework_id": { "value": framework }, "acknowledge": { "agent_id": { "value": agent }, "task_id": { "value": "t" }, "uuid": uuid } });
    ask(master, &post("/api/v1/scheduler", &id, &acknowledge.to_string()));
    assert!(events.until("TASK_RUNNING"));
    let running = &events.text[events.text.find("TASK_RUNNING").unwrap()..];
    let uuid = running.split("\"uuid\":\"").nth(1).unwrap().split('"').next().unwrap();
    let acknowledge = json!({ "type": "ACKNOWLEDGE", "framework_id": { "value": framework }, "acknowledge": { "agent_id": { "value": agent }, "task_id": { "value": "t" }, "uuid": uuid } });
    ask(master, &post("/api/v1/scheduler", &id, &acknowledge.to_string()));
    ask(master, &post("/api/v1/scheduler", &id, &kill.to_string()));
    assert!(events.until("Command terminated with signal Terminated"));
}
