//! `proxy`: requests per second through a follower, over those to the leader itself.

use std::time::Duration;

use crate::cpu::{pair, pin};
use crate::ensemble::ZooKeepers;
use crate::load::{Load, Measured};
use crate::report::{Bound, Report, number};
use crate::server::Server;
use crate::stats::{median, quantile};
use crate::web::{self, free_port};
use crate::{Outcome, Place, procs};

const ROUNDS: usize = 5;
const CONNECTIONS: usize = 16;
const WRITERS: usize = 64;
const LIMIT: Duration = Duration::from_secs(60);
const APP: &str = r#"{"id":"/x","cmd":"exec ./bin/service --listen $PORT0","cpus":0.1,"mem":32,"instances":0,
    "env":{"LOG_LEVEL":"info"},"labels":{"owner":"team"},"portDefinitions":[{"port":0,"name":"http"}]}"#;

pub fn run(place: &Place) -> Outcome<Report> {
    let zookeepers = ZooKeepers::start(place)?;
    let url = zookeepers.url("/marathon");
    // Each instance has a processor, as each would have a machine; the load shares that of the one which is not asked.
    let pair = pair()?;
    let (first, second) = (pair.map(|it| it.server), pair.map(|it| it.load));
    let member = |cpu: Option<usize>| -> Outcome<Server> {
        let _pinned = pin(cpu)?;
        let server =
            Server::member(place, procs::folder(&place.tmp, "member-")?, free_port()?, "local", &url)?;
        server.await_ping()?;
        Ok(server)
    };
    let leader = member(first)?;
    leader.await_leading(LIMIT)?;
    leader.await_engine()?;
    let follower = member(second)?;
    let follows =
        || follower.client().is_ok_and(|mut it| it.get("/v2/apps").is_ok_and(|answer| answer.status == 200));
    procs::wait_for("the follower", LIMIT, Duration::from_millis(20), follows)?;
    let mut client = leader.client()?;
    client.want("PUT", "/v2/apps//x", Some(APP))?;
    for number in 0..WRITERS {
        client.want("PUT", &path(number), Some(&body(0)))?;
    }
    let get = |_: usize, _: u64, into: &mut Vec<u8>| into.extend(web::request("GET", "/v2/apps//x", None));
    let reads = compare((&leader, first), (&follower, second), CONNECTIONS, |_| Box::new(get))?;
    let writes = compare((&leader, first), (&follower, second), WRITERS, |round| {
        Box::new(move |number: usize, n: u64, into: &mut Vec<u8>| {
            let change = round * 1_000_000 + n + 1;
            into.extend(web::request("PUT", &path(number), Some(&body(change))));
        })
    })?;
    follower.end()?;
    leader.stop()?;
    zookeepers.end();
    let worse = reads.ratio().min(writes.ratio());
    let mut report = Report::new(worse, "x", "the leader itself", worse);
    for (name, it) in [("GET of one app", &reads), ("PUT", &writes)] {
        for (who, side) in [("through a follower", &it.follower), ("to the leader", &it.leader)] {
            report = report
                .row(
                    format!("{name}, {who}"),
                    format!(
                        "{} /s, p50 {} ms, p99 {} ms",
                        number(median(&side.rates)),
                        number(median(&side.latencies)),
                        number(quantile(&side.latencies, 0.99))
                    ),
                )
                .row(
                    "  processor time per request: leader, follower",
                    format!(
                        "{} us, {} us",
                        number(median(&side.leader_us)),
                        number(median(&side.follower_us))
                    ),
                );
        }
    }
    Ok(report
        .key("get", reads.ratio())
        .key("put", writes.ratio())
        .target("GET", reads.ratio(), Bound::AtLeast(0.6))
        .target("PUT", writes.ratio(), Bound::AtLeast(0.6)))
}

fn path(number: usize) -> String {
    format!("/v2/apps//put/app-{number:02}?force=true")
}

/// No instances: nothing is to start, so all there is to do is to decide and to store.
fn body(change: u64) -> String {
    format!(r#"{{"cmd":"sleep 1000","cpus":0.001,"mem":16,"instances":0,"labels":{{"change":"{change}"}}}}"#)
}

#[derive(Default)]
struct Side {
    rates: Vec<f64>,
    latencies: Vec<f64>,
    leader_us: Vec<f64>,
    follower_us: Vec<f64>,
}

struct Comparison {
    leader: Side,
    follower: Side,
}

impl Comparison {
    /// The median of the rounds' ratios: what slows the machine for a while slows both of a round.
    fn ratio(&self) -> f64 {
        let rates = self.follower.rates.iter().zip(&self.leader.rates);
        median(&rates.map(|(follower, leader)| follower / leader).collect::<Vec<f64>>())
    }
}

type Request = Box<dyn Fn(usize, u64, &mut Vec<u8>)>;

fn compare(
    (leader, first): (&Server, Option<usize>),
    (follower, second): (&Server, Option<usize>),
    connections: usize,
    request: impl Fn(u64) -> Request,
) -> Outcome<Comparison> {
    let mut found = Comparison { leader: Side::default(), follower: Side::default() };
    for round in 0..ROUNDS {
        for (at, (asked, cpu, side)) in
            [(leader, second, &mut found.leader), (follower, first, &mut found.follower)]
                .into_iter()
                .enumerate()
        {
            let _pinned = pin(cpu)?;
            let request = request((round * 2 + at) as u64 + 1);
            let load = Load {
                port: asked.port,
                connections,
                warm_up: Duration::ZERO,
                time: Duration::from_secs(2),
                request: &*request,
            };
            let run = |load: Load| leader.explained(follower.explained(load.run()));
            run(Load { time: Duration::from_millis(300), ..load })?;
            let before = (procs::cpu_time(leader.pid)?, procs::cpu_time(follower.pid)?);
            let measured: Measured = run(load)?;
            let after = (procs::cpu_time(leader.pid)?, procs::cpu_time(follower.pid)?);
            if measured.refused > 0 {
                return Err(format!("{} answers were no success", measured.refused).into());
            }
            let each =
                |before: u64, after: u64| (after - before) as f64 / 1e3 / measured.answers.max(1) as f64;
            side.rates.push(measured.rate());
            side.leader_us.push(each(before.0, after.0));
            side.follower_us.push(each(before.1, after.1));
            side.latencies.extend(measured.latencies);
        }
    }
    Ok(found)
}
