//! A simulated Mesos cluster on the processor that makes the load.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::web::Client;
use crate::{Outcome, Place, cpu, procs};

pub struct Cluster {
    pub port: u16,
    child: Child,
    pid: i32,
}

impl Cluster {
    /// Starts beside the simulator's binary, pinned; `flags` as `mesos-sim --help` lists them.
    pub fn start(place: &Place, flags: &[&str]) -> Outcome<Cluster> {
        let _pinned = cpu::pin(cpu::pair()?.map(|it| it.load))?;
        let binary = place.sim.with_file_name("mesos-sim");
        let mut child = Command::new(&binary)
            .args(["--port", "0", "--no-audit"])
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("{}: {error}", binary.display()))?;
        let pid = procs::started(child.id());
        let mut port = None;
        for line in BufReader::new(child.stdout.take().ok_or("no output")?).lines() {
            let line = line?;
            if let Some(address) = line.strip_prefix("master 0 http://") {
                port = address.rsplit(':').next().and_then(|it| it.parse().ok());
            }
            if line == "ready" {
                break;
            }
        }
        Ok(Cluster { port: port.ok_or("the simulated cluster did not start")?, child, pid })
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn order(&self, order: &Value) -> Outcome<Value> {
        Client::connect(self.port)?.want("POST", "/mesos-sim/admin", Some(&order.to_string()))?.json()
    }

    /// One of its metrics; 0 if there is none of that name yet.
    pub fn metric(&self, name: &str) -> Outcome<f64> {
        let all = Client::connect(self.port)?.want("GET", "/metrics/snapshot", None)?.json()?;
        Ok(all[name].as_f64().unwrap_or(0.0))
    }

    /// Waits until a metric has come so far.
    pub fn reaches(&self, name: &str, least: f64, limit: Duration) -> Outcome<()> {
        let what = format!("{name} at {least}");
        let there = || self.metric(name).is_ok_and(|it| it >= least);
        // Looking costs a large cluster more than a small one.
        let pause = Duration::from_millis(if least > 10_000.0 { 500 } else { 5 });
        procs::wait_for(&what, limit, pause, there)
    }

    /// What the scheduler that takes everything makes of this cluster; launches a second.
    pub fn ceiling(&self, place: &Place, tasks: u64, per_offer: u64) -> Outcome<f64> {
        let _pinned = cpu::pin(cpu::pair()?.map(|it| it.server))?;
        let output = Command::new(place.sim.with_file_name("mesos-sim"))
            .args(["null", &self.address(), &tasks.to_string(), &per_offer.to_string()])
            .stderr(Stdio::inherit())
            .output()?;
        let told: Value = serde_json::from_slice(&output.stdout)?;
        told["rate"].as_f64().ok_or_else(|| format!("the null scheduler said {told}").into())
    }

    pub fn fail_over(&self) -> Outcome<()> {
        self.order(&json!({ "do": "fail_over" })).map(|_| ())
    }

    pub fn end(mut self) -> Outcome<()> {
        self.child.kill()?;
        self.child.wait()?;
        procs::reaped(self.pid);
        Ok(())
    }
}
