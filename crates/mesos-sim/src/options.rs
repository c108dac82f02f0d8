//! The command line.

use std::net::Ipv4Addr;
use std::time::Duration;

use marathon_mesos_v1::{
    DomainInfo, DomainInfoFaultDomain, DomainInfoFaultDomainRegionInfo, DomainInfoFaultDomainZoneInfo,
};

use crate::config::Config;

pub const HELP: &str = "\
mesos-sim: a simulated Mesos cluster that speaks the v1 HTTP API

  --port P[,P…]              masters, one per port; 0 takes a free one        [5050]
  --ip A                     where masters listen, and what they advertise     [127.0.0.1]
  --hostname NAME            what masters call themselves                      [the ip]
  --agents N                 how many                                          [10]
  --agent-port P             one port for all agents, each at its own address; 0 takes a free one  [0]
  --resources TEXT           of each agent  [cpus:8;mem:16384;disk:100000;ports:[31000-31999]]
  --attributes TEXT          of each agent; {n} counts from 0 to n-1 over the agents: rack:r{10}
  --regions A,B --zones A,B  fault domains, dealt out in turn; masters are in the first of each
  --zk zk://h:p/path         register the masters in ZooKeeper, which elects the leader
  --real                     run commands as real processes, in sandboxes below --work-dir
  --work-dir DIR             [/tmp/mesos-sim]
  --credentials P:S[,P:S…]   schedulers must authenticate
  --cluster NAME
  --seed N                   ids and faults come from it                       [1]
  --faults RATE              how likely something breaks, each second          [0]
  --no-audit                 keep no log of launches (less memory)
  --completed-tasks N        kept per framework                                [1000]
  --allocation-interval S    [1]      --offer-timeout S         [none]
  --unreachable-after S      [75]     --session-timeout S       [10]
  --register-within S        [1]      --start-delay S           [0.05]
  --run-delay S              [0.01]   --kill-delay S            [0.05]
  --http-command-executor    the kill policy of a KILL call counts
  --no-docker                agents refuse Docker containers

mesos-sim null HOST:PORT TASKS [PER_OFFER] is a scheduler that fills every offer with tasks: a ceiling to compare with.

Orders (lose an agent, fail over, …) are posted to /mesos-sim/admin at any master; see docs/mesos-sim.md.
";

#[derive(Debug, Clone)]
pub struct Options {
    pub ports: Vec<u16>,
    pub ip: Ipv4Addr,
    pub hostname: Option<String>,
    pub agents: usize,
    pub agent_port: u16,
    pub resources: String,
    pub attributes: String,
    pub regions: Vec<String>,
    pub zones: Vec<String>,
    pub zk: Option<String>,
    pub config: Config,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            ports: vec![5050],
            ip: Ipv4Addr::LOCALHOST,
            hostname: None,
            agents: 10,
            agent_port: 0,
            resources: "cpus:8;mem:16384;disk:100000;ports:[31000-31999]".to_owned(),
            attributes: String::new(),
            regions: Vec::new(),
            zones: Vec::new(),
            zk: None,
            config: Config::default(),
        }
    }
}

impl Options {
    /// Reads `--name value` and `--name=value`.
    pub fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Options, String> {
        let mut out = Options::default();
        let mut rest = arguments.into_iter();
        while let Some(argument) = rest.next() {
            let (name, given) = match argument.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (argument, None),
            };
            if out.switch(&name) {
                continue;
            }
            let value = given.or_else(|| rest.next()).ok_or_else(|| format!("{name} needs a value"))?;
            out.set(&name, &value)?;
        }
        Ok(out)
    }

    fn switch(&mut self, name: &str) -> bool {
        match name {
            "--real" => self.config.real = true,
            "--no-audit" => self.config.audit = false,
            "--http-command-executor" => self.config.http_command_executor = true,
            "--no-docker" => self.config.docker = false,
            _ => return false,
        }
        true
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let config = &mut self.config;
        match name {
            "--port" => {
                self.ports = list(value).iter().map(|it| number(name, it)).collect::<Result<_, _>>()?
            }
            "--ip" => self.ip = number(name, value)?,
            "--hostname" => self.hostname = Some(value.to_owned()),
            "--agents" => self.agents = number(name, value)?,
            "--agent-port" => self.agent_port = number(name, value)?,
            "--resources" => value.clone_into(&mut self.resources),
            "--attributes" => value.clone_into(&mut self.attributes),
            "--regions" => self.regions = list(value),
            "--zones" => self.zones = list(value),
            "--zk" => self.zk = Some(value.to_owned()),
            "--work-dir" => value.clone_into(&mut config.work_dir),
            "--cluster" => config.cluster = Some(value.to_owned()),
            "--credentials" => {
                let pairs = list(value)
                    .iter()
                    .map(|it| it.split_once(':').map(|(p, s)| (p.to_owned(), s.to_owned())))
                    .collect::<Option<_>>();
                config.credentials = Some(pairs.ok_or("--credentials: expected principal:secret")?);
            }
            "--seed" => config.seed = number(name, value)?,
            "--faults" => config.faults = number(name, value)?,
            "--completed-tasks" => config.completed_tasks = number(name, value)?,
            "--allocation-interval" => config.allocation_interval = time(name, value)?,
            "--offer-timeout" => config.offer_timeout = Some(time(name, value)?),
            "--unreachable-after" => config.unreachable_after = time(name, value)?,
            "--session-timeout" => config.session_timeout = time(name, value)?,
            "--register-within" => config.register_within = time(name, value)?,
            "--start-delay" => config.start_delay = time(name, value)?,
            "--run-delay" => config.run_delay = time(name, value)?,
            "--kill-delay" => config.kill_delay = time(name, value)?,
            other => return Err(format!("there is no option {other}")),
        }
        Ok(())
    }

    /// The fault domain of the n-th agent, and of the masters (the first).
    pub fn domain(&self, at: usize) -> Option<DomainInfo> {
        let region = self.regions.get(at % self.regions.len().max(1))?;
        let zone = self.zones.get(at % self.zones.len().max(1)).cloned().unwrap_or_else(|| region.clone());
        Some(DomainInfo {
            fault_domain: Some(DomainInfoFaultDomain {
                region: DomainInfoFaultDomainRegionInfo { name: region.clone() },
                zone: DomainInfoFaultDomainZoneInfo { name: zone },
            }),
        })
    }

    /// The attributes of the n-th agent: `{10}` becomes n modulo 10.
    pub fn attributes_of(&self, at: usize) -> String {
        let mut out = String::new();
        let mut rest = self.attributes.as_str();
        while let Some((before, after)) = rest.split_once('{') {
            out.push_str(before);
            match after
                .split_once('}')
                .and_then(|(count, tail)| Some((count.parse::<usize>().ok()?.max(1), tail)))
            {
                Some((count, tail)) => {
                    out.push_str(&(at % count).to_string());
                    rest = tail;
                }
                None => {
                    out.push('{');
                    rest = after;
                }
            }
        }
        out.push_str(rest);
        out
    }
}

fn list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|it| !it.is_empty()).map(str::to_owned).collect()
}

fn number<T: std::str::FromStr>(name: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{name}: `{text}` cannot be read"))
}

fn time(name: &str, text: &str) -> Result<Duration, String> {
    Duration::try_from_secs_f64(number(name, text.trim_end_matches('s'))?)
        .map_err(|cause| format!("{name}: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Options, String> {
        Options::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn options_are_read() {
        let it = parsed("--agents 5 --port=0,0 --offer-timeout 2.5 --real --attributes rack:r{2};level:{3}")
            .unwrap();
        assert_eq!((it.agents, it.ports.as_slice(), it.config.real), (5, [0, 0].as_slice(), true));
        assert_eq!(it.config.offer_timeout, Some(Duration::from_millis(2500)));
        assert_eq!(it.attributes_of(5), "rack:r1;level:2");
    }

    #[test]
    fn mistakes_are_named() {
        let error = |line| parsed(line).unwrap_err();
        assert_eq!(error("--agents many"), "--agents: `many` cannot be read");
        assert_eq!(error("--nope 1"), "there is no option --nope");
        assert_eq!(error("--seed"), "--seed needs a value");
    }
}
