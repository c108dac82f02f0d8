//! Where the sandbox of a task is.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use marathon_files::{Refused, Target};
use marathon_model::id::TaskId;

use crate::client::{Client, Cluster, escaped};
use crate::json;

/// How long it is believed what was found out.
const BELIEVED: Duration = Duration::from_secs(60);
/// As many places are remembered. At this bound all are forgotten: they are quickly found again.
const PLACES_MAX: usize = 1000;
/// As many runs of an executor are looked at.
const RUNS_MAX: usize = 10;

/// A sandbox: the agent as `http://host:port`, and what the agent calls the folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub agent: String,
    pub folder: String,
}

pub struct Finder {
    cluster: Box<dyn Fn() -> Option<Cluster> + Send + Sync>,
    known: Mutex<HashMap<TaskId, (Place, Instant)>>,
}

impl Finder {
    pub fn new(cluster: Box<dyn Fn() -> Option<Cluster> + Send + Sync>) -> Finder {
        Finder { cluster, known: Mutex::default() }
    }

    pub async fn find(&self, client: &Client, of: &Target) -> Result<Place, Refused> {
        if let Some(place) = self.remembered(&of.task) {
            return Ok(place);
        }
        let cluster = (self.cluster)()
            .ok_or_else(|| Refused::Unavailable("No Mesos master is known at the moment".to_owned()))?;
        let mut agents = self.agent(client, &cluster, of).await?.into_iter();
        let place = loop {
            let Some(agent) = agents.next() else { return Err(Refused::NoSandbox) };
            match self.sandbox(client, &cluster, &agent, of).await {
                Err(Refused::Unavailable(_) | Refused::TooSlow(_)) if agents.len() > 0 => {}
                found => break found?,
            }
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= PLACES_MAX {
            known.clear();
        }
        known.insert(of.task.clone(), (place.clone(), Instant::now()));
        Ok(place)
    }

    fn remembered(&self, task: &TaskId) -> Option<Place> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (place, since) = known.get(task)?;
        (since.elapsed() < BELIEVED).then(|| place.clone())
    }

    /// The addresses of the agent, by the master.
    async fn agent(&self, client: &Client, cluster: &Cluster, of: &Target) -> Result<Vec<String>, Refused> {
        let id = match &of.agent {
            Some(agent) => agent.as_str().to_owned(),
            None => self.agent_of_task(client, cluster, &of.task).await?,
        };
        let url = format!("{}/slaves?slave_id={}", cluster.master, escaped(&id));
        let body = client.get(&url, json::AGENTS_BYTES_MAX).await.map_err(of_master)?;
        let agents: json::Agents = json::parse(&body)?;
        let agent = agents.slaves.into_iter().find(|it| it.id == id);
        let agent = agent.ok_or_else(|| {
            Refused::Unavailable(format!("Agent '{id}' is not known to the master any more"))
        })?;
        let scheme = cluster.master.split("://").next().unwrap_or("http");
        let addresses = addresses(scheme, &agent);
        if addresses.is_empty() {
            return Err(Refused::Unavailable(format!("The master does not say where agent '{id}' is")));
        }
        Ok(addresses)
    }

    /// Of a task that has ended and that nobody here remembers.
    async fn agent_of_task(
        &self,
        client: &Client,
        cluster: &Cluster,
        task: &TaskId,
    ) -> Result<String, Refused> {
        let framework = cluster.framework.as_str();
        let name = task.to_string();
        let url = format!(
            "{}/tasks?framework_id={}&task_id={}",
            cluster.master,
            escaped(framework),
            escaped(&name)
        );
        let body = client.get(&url, json::TASKS_BYTES_MAX).await.map_err(of_master)?;
        let tasks: json::Tasks = json::parse(&body)?;
        let mut found = tasks.tasks.into_iter().filter(|it| it.framework_id == framework && it.id == name);
        found.next().map(|it| it.slave_id).filter(|it| !it.is_empty()).ok_or(Refused::NoSandbox)
    }

    /// Newer agents have names for sandboxes. Older ones, and earlier runs of an executor, are looked up.
    async fn sandbox(
        &self,
        client: &Client,
        cluster: &Cluster,
        agent: &str,
        of: &Target,
    ) -> Result<Place, Refused> {
        let framework = cluster.framework.as_str();
        let executors = executors(of);
        let below = match &of.task.container {
            Some(_) => format!("/tasks/{}", of.task),
            None => String::new(),
        };
        for executor in &executors {
            let folder = format!("/frameworks/{framework}/executors/{executor}/runs/latest{below}");
            if let Some(place) = is_there(client, agent, folder).await? {
                return Ok(place);
            }
        }
        let url = format!("{agent}/state");
        let body = match client.get(&url, json::STATE_BYTES_MAX).await {
            Err(Refused::NoFile) => return Err(Refused::NoSandbox),
            other => other?,
        };
        let state: json::State = json::parse(String::from_utf8_lossy(&body).as_bytes())?;
        for folder in state.folders(framework, &executors).into_iter().take(RUNS_MAX) {
            if let Some(place) = is_there(client, agent, folder + &below).await? {
                return Ok(place);
            }
        }
        Err(Refused::NoSandbox)
    }
}

/// A master that has no such page is not the same as a task that has no such file.
fn of_master(refused: Refused) -> Refused {
    match refused {
        Refused::NoFile | Refused::IsFolder => {
            Refused::Unavailable("The Mesos master does not tell where its agents are".to_owned())
        }
        other => other,
    }
}

async fn is_there(client: &Client, agent: &str, folder: String) -> Result<Option<Place>, Refused> {
    let url = format!("{agent}/files/browse?path={}", escaped(&folder));
    match client.begin(&url).await {
        Ok(_) => Ok(Some(Place { agent: agent.to_owned(), folder })),
        Err(Refused::NoFile | Refused::IsFolder) => Ok(None),
        Err(other) => Err(other),
    }
}

/// What the executor of a task may be called: pods have one each, apps one per task, named by Mesos or (where it is
/// a custom one) by us.
fn executors(of: &Target) -> Vec<String> {
    let instance = &of.task.instance;
    match of.pod {
        true => vec![format!("instance-{}.{}", instance.spec.safe(), instance.uuid.as_hyphenated())],
        false => vec![of.task.to_string(), format!("marathon-{}", of.task)],
    }
}

/// Where the master reaches an agent, and by its name, which others may reach better. A certificate is for a name.
fn addresses(scheme: &str, agent: &json::AgentAt) -> Vec<String> {
    let at = agent.pid.rsplit_once('@').map_or("", |(_, it)| it);
    let Some((_, port)) = at.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()) else {
        return Vec::new();
    };
    let by_name = (!agent.hostname.is_empty()).then(|| format!("{scheme}://{}:{port}", agent.hostname));
    let mut all = vec![format!("{scheme}://{at}")];
    all.extend(by_name);
    if scheme == "https" {
        all.reverse();
    }
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_are_reached_by_address_and_name() {
        let agent =
            |pid: &str| json::AgentAt { id: "S".to_owned(), hostname: "h".to_owned(), pid: pid.to_owned() };
        for (scheme, pid, want) in [
            ("http", "slave(1)@10.0.0.7:5051", &["http://10.0.0.7:5051", "http://h:5051"][..]),
            ("https", "slave(1)@10.0.0.7:5051", &["https://h:5051", "https://10.0.0.7:5051"]),
            ("http", "slave(1)@[::1]:5051", &["http://[::1]:5051", "http://h:5051"]),
            ("http", "slave(1)@h:5051", &["http://h:5051"]),
            ("http", "slave(1)", &[]),
            ("http", "slave(1)@h:port", &[]),
        ] {
            assert_eq!(addresses(scheme, &agent(pid)), want, "{pid}");
        }
    }
}
