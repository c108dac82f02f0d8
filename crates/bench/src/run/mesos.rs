//! `mesos-scale`, `mesos-million`, `mesos-idle`, `mesos-reconnect`, `decide`: the server on one processor, a
//! simulated Mesos cluster on the other.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::mesos::Cluster;
use crate::report::{Bound, Report, number};
use crate::server::Server;
use crate::{Outcome, Place, cpu, procs};

const RESOURCES: &str = "cpus:64;mem:262144;disk:1000000;ports:[31000-32999]";
const LAUNCHES: &str = "mesos-sim/launches";
const RUNNING: &str = "master/tasks_running";
const KILLS: &str = "mesos-sim/calls/KILL";
const LIMIT: Duration = Duration::from_secs(600);
const LONG_LIMIT: Duration = Duration::from_secs(1800);
const IDLE: Duration = Duration::from_secs(30);

fn cluster(place: &Place, agents: &str) -> Outcome<Cluster> {
    Cluster::start(
        place,
        &["--agents", agents, "--resources", RESOURCES, "--attributes", "rack:r{50};zone:z{3}"],
    )
}

fn server(place: &Place, cluster: &Cluster) -> Outcome<Server> {
    let _pinned = cpu::pin(cpu::pair()?.map(|it| it.server))?;
    Server::on(place, &cluster.address())
}

fn app(id: &str, instances: u64, constraints: Value) -> Value {
    json!({
        "id": id, "cmd": "./service", "cpus": 0.1, "mem": 32, "instances": instances, "portDefinitions": [],
        "constraints": constraints, "backoffSeconds": 0
    })
}

fn post(server: &Server, app: &Value) -> Outcome<()> {
    server.client()?.want("POST", "/v2/apps", Some(&app.to_string())).map(|_| ())
}

pub fn scale(place: &Place) -> Outcome<Report> {
    const INSTANCES: u64 = 100_000;
    let empty = cluster(place, "5000")?;
    let ceiling = empty.ceiling(place, INSTANCES, 40)?;
    empty.end()?;

    let cluster = cluster(place, "5000")?;
    let server = server(place, &cluster)?;
    let began = Instant::now();
    post(
        &server,
        &app("/scale", INSTANCES, json!([["rack", "GROUP_BY", "50"], ["hostname", "MAX_PER", "40"]])),
    )?;
    cluster.reaches(LAUNCHES, INSTANCES as f64, LIMIT)?;
    let launched = began.elapsed().as_secs_f64();
    cluster.reaches(RUNNING, INSTANCES as f64, LIMIT)?;
    let running = began.elapsed().as_secs_f64();
    let kills = cluster.metric(KILLS)?;
    server.end()?;
    cluster.end()?;
    let rate = INSTANCES as f64 / launched;
    Ok(Report::new(rate, "launches/s", "a scheduler that takes everything", rate / ceiling)
        .row(
            "100,000 instances on 5,000 agents, GROUP_BY and MAX_PER: launches",
            format!("{}/s", number(rate)),
        )
        .row("until all run", format!("{} s", number(running)))
        .row("a scheduler that takes everything", format!("{}/s", number(ceiling)))
        .key("ceiling", ceiling)
        .key("running_s", running)
        .target("launches a second", rate, Bound::AtLeast(5000.0))
        .target("kills", kills, Bound::AtMost(0.0)))
}

pub fn million(place: &Place) -> Outcome<Report> {
    const APPS: u64 = 1000;
    const EACH: u64 = 1000;
    let total = (APPS * EACH) as f64;
    let cluster = Cluster::start(
        place,
        &[
            "--agents",
            "10000",
            "--resources",
            RESOURCES,
            "--attributes",
            "rack:r{50}",
            "--completed-tasks",
            "0",
        ],
    )?;
    let server = server(place, &cluster)?;
    let before = procs::rss(server.pid)?;
    let began = Instant::now();
    let apps: Vec<Value> = (0..APPS).map(|at| app(&format!("/million/app-{at}"), EACH, json!([]))).collect();
    server.client()?.want("PUT", "/v2/apps", Some(&Value::Array(apps).to_string()))?;
    let mut marks = Vec::new();
    for tenth in 1..=10 {
        cluster.reaches(LAUNCHES, total / 10.0 * f64::from(tenth), LONG_LIMIT)?;
        marks.push(began.elapsed().as_secs_f64());
    }
    cluster.reaches(RUNNING, total, LONG_LIMIT)?;
    let running = began.elapsed().as_secs_f64();
    let each = (procs::rss(server.pid)?.saturating_sub(before)) as f64 / total / 1024.0;
    // The first tenth contains the start of everything, so the second one stands for it.
    let pace = |at: usize| (total / 10.0) / (marks[at] - marks[at - 1]).max(1e-9);
    let fall = 1.0 - pace(9) / pace(1);
    server.end()?;
    cluster.end()?;
    let rate = total / marks[9];
    Ok(Report::new(rate, "launches/s", "its own pace at the start", pace(9) / pace(1))
        .row("1,000,000 instances of 1,000 apps on 10,000 agents: launches", format!("{}/s", number(rate)))
        .row("until all run", format!("{} s", number(running)))
        .row("in the second tenth, in the last", format!("{}/s, {}/s", number(pace(1)), number(pace(9))))
        .row("RSS per instance", format!("{} KiB", number(each)))
        .key("running_s", running)
        .target("KiB per instance", each, Bound::AtMost(2.0))
        .target("fall of the rate", fall, Bound::AtMost(0.2)))
}

pub fn idle(place: &Place) -> Outcome<Report> {
    let cluster = cluster(place, "5000")?;
    let server = server(place, &cluster)?;
    // Who has nothing to launch may never take an offer, so subscribed is all there is to wait for.
    cluster.reaches("master/frameworks_connected", 1.0, LIMIT)?;
    std::thread::sleep(Duration::from_secs(5));
    let (before, began) = (procs::cpu_time(server.pid)?, Instant::now());
    std::thread::sleep(IDLE);
    let share = (procs::cpu_time(server.pid)? - before) as f64 / 1e9 / began.elapsed().as_secs_f64();
    let offers = cluster.metric("mesos-sim/offers")?;
    server.end()?;
    cluster.end()?;
    Ok(Report::new(share * 100.0, "% of a core", "nothing", share * 100.0)
        .row("5,000 agents, nothing to launch", format!("{} % of a core", number(share * 100.0)))
        .row("offers in all", number(offers))
        .target("% of a core", share * 100.0, Bound::AtMost(1.0)))
}

pub fn reconnect(place: &Place) -> Outcome<Report> {
    const INSTANCES: u64 = 100_000;
    let cluster = cluster(place, "5000")?;
    let server = server(place, &cluster)?;
    post(&server, &app("/many", INSTANCES, json!([])))?;
    cluster.reaches(RUNNING, INSTANCES as f64, LIMIT)?;
    // Until everything is acknowledged and the deployment is over.
    std::thread::sleep(Duration::from_secs(5));
    let (launches, answered) = (cluster.metric(LAUNCHES)?, cluster.metric("mesos-sim/reconciled")?);
    let kills = cluster.metric(KILLS)?;
    let began = Instant::now();
    cluster.fail_over()?;
    cluster.reaches("mesos-sim/reconciled", answered + INSTANCES as f64, LIMIT)?;
    let seconds = began.elapsed().as_secs_f64();
    // What a wrong conclusion would lead to comes soon.
    std::thread::sleep(Duration::from_secs(3));
    let touched = cluster.metric(LAUNCHES)? - launches + cluster.metric(KILLS)? - kills;
    server.end()?;
    cluster.end()?;
    Ok(Report::new(seconds, "s", "5 s", seconds / 5.0)
        .row("failover of the master until 100,000 tasks are reconciled", format!("{} s", number(seconds)))
        .row("agents come back within", "1 s")
        .target("s", seconds, Bound::AtMost(5.0))
        .target("tasks touched", touched, Bound::AtMost(0.0)))
}

pub fn decide(place: &Place) -> Outcome<Report> {
    const WAITING: u32 = 1000;
    const ROUNDS: u32 = 200;
    let cluster = Cluster::start(place, &["--agents", "0"])?;
    let server = server(place, &cluster)?;
    let big = |at: u32| {
        let mut it = app(&format!("/waits/app-{at}"), 1, json!([]));
        it["cpus"] = json!(8);
        it
    };
    let apps: Vec<Value> = (0..WAITING + ROUNDS).map(big).collect();
    server.client()?.want("PUT", "/v2/apps", Some(&Value::Array(apps).to_string()))?;
    for round in 1..=ROUNDS {
        cluster.order(&json!({ "do": "add_agents", "count": 1, "resources": "cpus:8;mem:16384;disk:1000;ports:[31000-31099]" }))?;
        cluster.reaches(LAUNCHES, f64::from(round), Duration::from_secs(20))?;
    }
    let (middle, p99) =
        (cluster.metric("mesos-sim/decision_ms/p50")?, cluster.metric("mesos-sim/decision_ms/p99")?);
    server.end()?;
    cluster.end()?;
    Ok(Report::new(p99, "ms", "10 ms", p99 / 10.0)
        .row(
            "offer out to ACCEPT in, 1,000 apps waiting, each launch stored: p50",
            format!("{} ms", number(middle)),
        )
        .row("p99 of 200", format!("{} ms", number(p99)))
        .key("p50", middle)
        .target("p99, ms", p99, Bound::AtMost(10.0)))
}
