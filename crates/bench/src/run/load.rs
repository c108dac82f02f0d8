//! `load`: from the start of the process to a leader with a large state, from either store.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::ensemble::{APPS, INSTANCES, ZooKeepers, calm, cluster, fill, is_whole};
use crate::mesos::Cluster;
use crate::report::{Bound, Report, number};
use crate::server::Server;
use crate::stats::{max, median};
use crate::web::free_port;
use crate::{Outcome, Place, procs};

const ROUNDS: usize = 5;
const LIMIT: Duration = Duration::from_secs(120);

pub fn run(place: &Place) -> Outcome<Report> {
    let zookeepers = ZooKeepers::start(place)?;
    let cluster = cluster(place)?;
    let url = zookeepers.url("/marathon");
    let dir = procs::folder(&place.tmp, "member-")?;
    let on_zookeeper = |dir: PathBuf| Server::member(place, dir, free_port()?, &cluster.address(), &url);
    let first = on_zookeeper(dir)?;
    first.await_leading(LIMIT)?;
    fill(&first, &cluster)?;
    let from_zookeeper = rounds(first, on_zookeeper, &cluster)?;

    // The same state, moved as its owner would move it.
    let folder = procs::folder(&place.tmp, "data-")?;
    let copied = Command::new(&place.server)
        .args(["state", "copy", &url])
        .arg(&folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .status()?;
    if !copied.success() {
        return Err(format!("`marathon state copy` ended with {copied}").into());
    }
    zookeepers.end();
    let embedded = |dir: PathBuf| Server::launch_on(place, dir, &cluster.address());
    let first = embedded(folder)?;
    let from_embedded = rounds(first, embedded, &cluster)?;
    cluster.end()?;

    let (zookeeper, own) = (median(&from_zookeeper), median(&from_embedded));
    Ok(Report::new(own, "s", "1 s", own)
        .row(
            format!(
                "start of the process to a leader with {APPS} apps and {INSTANCES} instances, embedded store"
            ),
            format!("{} s", number(own)),
        )
        .row("slowest", format!("{} s", number(max(&from_embedded))))
        .row("from ZooKeeper", format!("{} s", number(zookeeper)))
        .row("slowest", format!("{} s", number(max(&from_zookeeper))))
        .key("embedded_s", from_embedded)
        .key("zookeeper_s", from_zookeeper)
        .target("embedded store, s", own, Bound::AtMost(1.0))
        .target("ZooKeeper, s", zookeeper, Bound::AtMost(3.0)))
}

/// Ends and starts it again so many times; seconds until it leads. Ends it for good, too.
fn rounds(first: Server, start: impl Fn(PathBuf) -> Outcome<Server>, cluster: &Cluster) -> Outcome<Vec<f64>> {
    let mut server = first;
    server.await_leading(LIMIT)?;
    let mut seconds = Vec::new();
    for _ in 0..ROUNDS {
        cluster.reaches("master/frameworks_connected", 1.0, LIMIT)?;
        calm(&[server.pid])?;
        server.signal(Signal::SIGTERM);
        server = start(server.gone()?)?;
        seconds.push(server.await_leading(LIMIT)?.as_secs_f64());
        if !is_whole(server.port)? {
            return Err("instances are missing".into());
        }
    }
    server.signal(Signal::SIGTERM);
    server.gone()?;
    Ok(seconds)
}
