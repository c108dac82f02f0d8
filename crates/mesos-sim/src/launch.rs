//! Puts a cluster together from its options and serves it, until it is dropped.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use marathon_mesos_v1::Attribute;
use marathon_mesos_v1::json::Json;
use marathon_zookeeper::{MasterWatch, Member, Options as ZkOptions, ZkUrl};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::LocalSet;

use crate::config::AgentShape;
use crate::options::Options;
use crate::shell::Shell;
use crate::sim::Sim;

/// Where a running cluster listens.
#[derive(Debug, Clone)]
pub struct Addresses {
    pub masters: Vec<SocketAddr>,
    pub agents: SocketAddr,
}

/// A cluster on a thread of its own. Dropping it ends the cluster.
#[derive(Debug)]
pub struct Cluster {
    pub addresses: Addresses,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Cluster {
    pub fn start(options: Options) -> Result<Cluster, String> {
        let (ready, told) = std::sync::mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let serve = move || {
            let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(it) => it,
                Err(cause) => {
                    let _ = ready.send(Err(cause.to_string()));
                    return;
                }
            };
            let local = LocalSet::new();
            local.block_on(&runtime, async move {
                let served = serve(options).await;
                let _ = ready.send(served);
                let _ = stopped.await;
            });
        };
        let thread = std::thread::Builder::new()
            .name("mesos-sim".to_owned())
            .spawn(serve)
            .map_err(|it| it.to_string())?;
        let addresses = told.recv().map_err(|_| "the cluster did not start".to_owned())??;
        Ok(Cluster { addresses, stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Binds, builds and serves. Must be called within a `LocalSet`; what it starts lives as long as that.
pub async fn serve(options: Options) -> Result<Addresses, String> {
    let mut listeners = Vec::new();
    for port in &options.ports {
        let address = SocketAddr::from((options.ip, *port));
        listeners.push(
            TcpListener::bind(address).await.map_err(|it| format!("cannot listen at {address}: {it}"))?,
        );
    }
    let everywhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, options.agent_port));
    let agents =
        TcpListener::bind(everywhere).await.map_err(|it| format!("cannot listen at {everywhere}: {it}"))?;
    let local = |it: &TcpListener| it.local_addr().map_err(|it| it.to_string());
    let masters: Vec<SocketAddr> = listeners.iter().map(local).collect::<Result<_, _>>()?;
    let agents_at = local(&agents)?;
    let sim = cluster(&options, &masters, agents_at.port())?;
    let shell = Shell::new(sim);
    for (seat, listener) in listeners.into_iter().enumerate() {
        tokio::task::spawn_local(shell.clone().serve_master(seat, listener));
    }
    tokio::task::spawn_local(shell.clone().serve_agents(agents));
    if let Some(url) = &options.zk {
        let url = ZkUrl::parse(url).map_err(|it| format!("--zk: {it}"))?;
        for seat in 0..masters.len() {
            tokio::task::spawn_local(candidate(
                shell.clone(),
                seat,
                url.clone(),
                options.config.session_timeout,
            ));
        }
        tokio::task::spawn_local(follow(shell, url));
    }
    Ok(Addresses { masters, agents: agents_at })
}

/// The cluster as it is before the first request.
fn cluster(options: &Options, masters: &[SocketAddr], agent_port: u16) -> Result<Sim, String> {
    let mut config = options.config.clone();
    config.domain = options.domain(0);
    let mut sim = Sim::new(config, Shell::wall());
    sim.external_election = options.zk.is_some();
    let hostname = options.hostname.clone().unwrap_or_else(|| options.ip.to_string());
    for address in masters {
        sim.add_seat(&hostname, options.ip.octets(), address.port());
    }
    let resources = crate::resources::parse(&options.resources).map_err(|it| format!("--resources: {it}"))?;
    // Most agents look the same, so they share what they can.
    let mut shapes: BTreeMap<String, Arc<Vec<Attribute>>> = BTreeMap::new();
    for at in 0..options.agents {
        let text = options.attributes_of(at);
        let attributes = match shapes.get(&text) {
            Some(it) => it.clone(),
            None => {
                let it =
                    Arc::new(crate::convert::attributes(&text).map_err(|it| format!("--attributes: {it}"))?);
                shapes.insert(text, it.clone());
                it
            }
        };
        let ip = agent_ip(at);
        let agent = sim.add_agent(AgentShape {
            hostname: Ipv4Addr::from(ip).to_string(),
            ip,
            port: agent_port,
            resources: resources.clone(),
            attributes,
            domain: options.domain(at),
        });
        if sim.external_election {
            sim.agents[agent].link = crate::state::Link::Recovered;
        }
    }
    Ok(sim)
}

/// Each agent has a loopback address of its own: 127.1.0.1, 127.1.0.2 …
pub fn agent_ip(at: usize) -> [u8; 4] {
    let (block, last) = (at / 250, at % 250 + 1);
    [
        127,
        u8::try_from(1 + block / 250).unwrap_or(u8::MAX),
        u8::try_from(block % 250).unwrap_or(0),
        u8::try_from(last).unwrap_or(1),
    ]
}

/// Keeps one master's node in ZooKeeper while its process lives; a new process has a new node.
async fn candidate(shell: Rc<Shell>, seat: usize, url: ZkUrl, session: Duration) {
    let mut up = shell.up(seat);
    loop {
        let id = up.borrow_and_update().clone();
        let member = id.is_some().then(|| {
            let info = shell.with(|sim| master_node(sim, seat));
            let mut zk = ZkOptions::new(url.clone());
            zk.session_timeout = session;
            Member::join(zk, &url.path, "json.info_", info.to_string().into_bytes())
        });
        if up.wait_for(|it| *it != id).await.is_err() {
            return;
        }
        drop(member);
    }
}

/// What a master writes about itself: fields in the order of their names.
pub fn master_node(sim: &Sim, seat: usize) -> Value {
    let mut info = sim.master_info(seat).to_json();
    info["capabilities"] =
        json!([{ "type": "AGENT_UPDATE" }, { "type": "AGENT_DRAINING" }, { "type": "QUOTA_V2" }]);
    let fields: BTreeMap<String, Value> = match info {
        Value::Object(fields) => fields.into_iter().collect(),
        _ => BTreeMap::new(),
    };
    Value::Object(fields.into_iter().collect())
}

/// Lets ZooKeeper say who leads.
async fn follow(shell: Rc<Shell>, url: ZkUrl) {
    let watch = MasterWatch::start(ZkOptions::new(url));
    let mut leading = watch.leading();
    loop {
        let leader = leading.borrow_and_update().clone();
        shell.with(|sim| match &leader {
            None => sim.nobody_leads(),
            Some(it) => match sim.seats.iter().position(|seat| seat.id == it.id) {
                Some(seat) => sim.elected(seat),
                None => {
                    sim.nobody_leads();
                    sim.foreign = Some((it.hostname.clone().unwrap_or_else(|| it.host.clone()), it.port));
                }
            },
        });
        if leading.changed().await.is_err() {
            return;
        }
    }
}
