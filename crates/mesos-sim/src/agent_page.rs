//! The HTTP side of an agent: its state, and the files of its sandboxes.
//!
//! Files are simulated (`stdout` holds what the command would print); with real processes the shell serves those
//! on disk instead, found by [`Sim::real_path`].

use marathon_mesos_v1::json::Json;
use serde_json::{Map, Value, json};

use crate::front::{Answer, Request, not_found};
use crate::operator::{AGENT_CAPABILITIES, is_alive, summed, version_json};
use crate::resources::Resources;
use crate::sim::Sim;
use crate::state::Task;

/// Longest piece of a file in one answer.
pub const PIECE_MAX: u64 = 64 * 1024;

impl Sim {
    pub fn handle_agent(&mut self, agent: usize, request: &Request) -> Answer {
        let path = request.path().trim_end_matches('/');
        let short = path.strip_prefix("/slave(1)").unwrap_or(path);
        match short {
            "/state" | "/state.json" => Answer::json(&self.agent_state(agent)),
            "/api/v1" => self.agent_call(agent, request),
            "/health" => Answer::empty(200),
            "/version" => Answer::json(&Value::Object(version_json(&self.config.version))),
            "/flags" => Answer::json(&json!({ "flags": self.agent_flags(agent) })),
            "/containers" | "/monitor/statistics" => {
                Answer::json(&self.containers(agent, short == "/containers"))
            }
            "/metrics/snapshot" => Answer::json(
                &json!({ "slave/registered": 1.0, "slave/tasks_running": self.agents[agent].tasks.len() as f64 }),
            ),
            "/files/debug" => Answer::json(&self.file_paths(agent)),
            "/files/browse" => self.browse(agent, &request.query()),
            "/files/read" => self.read_file(agent, &request.query()),
            "/files/download" => self.download(agent, &request.query()),
            _ => not_found(),
        }
    }

    /// The agent's own v1 calls, as far as readers of tasks need them.
    fn agent_call(&self, agent: usize, request: &Request) -> Answer {
        let call: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let kind = call["type"].as_str().unwrap_or_default();
        let body = match kind {
            "GET_HEALTH" => json!({ "healthy": true }),
            "GET_VERSION" => json!({ "version_info": version_json(&self.config.version) }),
            "GET_CONTAINERS" => json!({ "containers": self.containers(agent, true) }),
            "GET_STATE" | "GET_TASKS" => {
                let tasks = self.agents[agent].tasks.iter().filter_map(|at| self.tasks.get(*at));
                let launched: Vec<Value> = tasks.map(|it| self.task_message(it).to_json()).collect();
                let lists = json!({ "pending_tasks": [], "queued_tasks": [], "launched_tasks": launched, "terminated_tasks": [], "completed_tasks": [] });
                if kind == "GET_TASKS" { lists } else { json!({ "get_tasks": lists }) }
            }
            _ => return Answer::text(400, "Failed to validate agent::Call: Expecting 'type' to be present"),
        };
        let mut out = Map::new();
        out.insert("type".to_owned(), json!(kind));
        out.insert(kind.to_lowercase(), body);
        Answer::json(&Value::Object(out))
    }

    fn agent_state(&self, agent: usize) -> Value {
        let it = &self.agents[agent];
        let mut out = version_json(&self.config.version);
        let mut put = |key: &str, value: Value| out.insert(key.to_owned(), value);
        put("start_time", json!(it.started.seconds()));
        put("id", json!(&*it.id));
        put("pid", json!(it.pid()));
        put("hostname", json!(it.hostname));
        put("capabilities", json!(AGENT_CAPABILITIES));
        put("resources", summed(&it.total));
        let shown = self.agent_json(agent, true);
        for key in [
            "reserved_resources",
            "unreserved_resources",
            "reserved_resources_full",
            "unreserved_resources_full",
        ] {
            put(key, shown[key].clone());
        }
        put("resource_providers", json!([]));
        put("attributes", shown["attributes"].clone());
        put("flags", self.agent_flags(agent));
        put("frameworks", Value::Array(self.agent_frameworks(agent)));
        put("completed_frameworks", json!([]));
        Value::Object(out)
    }

    fn agent_flags(&self, agent: usize) -> Value {
        json!({ "work_dir": self.config.work_dir, "port": self.agents[agent].port.to_string(), "hostname": self.agents[agent].hostname })
    }

    fn agent_frameworks(&self, agent: usize) -> Vec<Value> {
        let mut by_framework: std::collections::BTreeMap<usize, Vec<(usize, &Task)>> =
            std::collections::BTreeMap::new();
        for at in &self.agents[agent].tasks {
            if let Some(task) = self.tasks.get(*at) {
                by_framework.entry(task.framework).or_default().push((*at, task));
            }
        }
        by_framework.into_iter().map(|(framework, tasks)| self.agent_framework(framework, &tasks)).collect()
    }

    fn agent_framework(&self, framework: usize, tasks: &[(usize, &Task)]) -> Value {
        let it = &self.frameworks[framework];
        let mut executors: Vec<Value> = Vec::new();
        let mut seen: Vec<&str> = Vec::new();
        for (at, task) in tasks {
            let id: &str = task.executor_id.as_deref().unwrap_or(&task.id);
            if seen.contains(&id) {
                continue;
            }
            seen.push(id);
            let mates: Vec<&Task> = tasks
                .iter()
                .map(|(_, it)| *it)
                .filter(|it| it.executor_id.as_deref().unwrap_or(&it.id) == id)
                .collect();
            executors.push(self.agent_executor(*at, task, id, &mates));
        }
        let mut out = Map::new();
        let mut put = |key: &str, value: Value| out.insert(key.to_owned(), value);
        put("id", json!(&*it.id));
        put("name", json!(it.info.name));
        put("user", json!(it.info.user));
        put("failover_timeout", json!(it.info.failover_timeout.unwrap_or(0.0)));
        put("checkpoint", json!(it.checkpoints()));
        put("hostname", json!(it.info.hostname.as_deref().unwrap_or_default()));
        put("roles", json!(it.roles.iter().map(|it| &**it).collect::<Vec<&str>>()));
        put("executors", Value::Array(executors));
        put("completed_executors", json!([]));
        Value::Object(out)
    }

    fn agent_executor(&self, at: usize, task: &Task, id: &str, mates: &[&Task]) -> Value {
        let whole = self.sandbox_of(at);
        let directory = whole.split("/tasks/").next().unwrap_or(&whole);
        let mut resources = Resources::default();
        mates.iter().for_each(|it| resources.add(&it.resources));
        json!({
            "id": id,
            "name": if task.executor.is_some() { String::new() } else { format!("Command Executor (Task: {id})") },
            "source": if task.executor.is_some() { "" } else { id },
            "container": uuid::Uuid::from_bytes(task.parent.unwrap_or(task.container)).to_string(),
            "directory": directory,
            "resources": summed(&resources),
            "role": &*task.role,
            "type": if task.parent.is_some() { "DEFAULT" } else { "CUSTOM" },
            "tasks": mates.iter().map(|it| self.task_json(it)).collect::<Vec<_>>(),
            "queued_tasks": [],
            "completed_tasks": [],
        })
    }

    fn containers(&self, agent: usize, with_status: bool) -> Value {
        let tasks =
            self.agents[agent].tasks.iter().filter_map(|at| self.tasks.get(*at)).filter(|it| is_alive(it));
        tasks
            .map(|it| {
                let container = uuid::Uuid::from_bytes(it.container).to_string();
                let mut out = json!({
                    "executor_id": it.executor_id.as_deref().unwrap_or(&it.id),
                    "executor_name": format!("Command Executor (Task: {})", it.id),
                    "framework_id": &*self.frameworks[it.framework].id,
                    "source": &*it.id,
                    "statistics": {
                        "cpus_limit": it.resources.scalar("cpus") as f64 / 1000.0,
                        "mem_limit_bytes": it.resources.scalar("mem") * 1024 * 1024 / 1000,
                        "mem_rss_bytes": it.resources.scalar("mem") * 1024 * 1024 / 2000,
                        "timestamp": self.now.seconds(),
                    },
                });
                if with_status {
                    out["container_id"] = json!(container);
                    out["status"] = json!({ "container_id": { "value": container }, "executor_pid": it.pid });
                }
                out
            })
            .collect()
    }

    fn file_paths(&self, agent: usize) -> Value {
        let mut out = Map::new();
        for at in &self.agents[agent].tasks {
            let Some(task) = self.tasks.get(*at) else { continue };
            let directory = self.sandbox_of(*at);
            let executor = task.executor_id.as_deref().unwrap_or(&task.id);
            let framework = &self.frameworks[task.framework].id;
            out.insert(format!("/frameworks/{framework}/executors/{executor}/runs/latest"), json!(directory));
            out.insert(directory.clone(), json!(directory));
        }
        Value::Object(out)
    }

    /// The task whose sandbox a path lies in, and the rest of the path.
    fn sandbox(&self, agent: usize, path: &str) -> Option<(usize, String)> {
        for at in &self.agents[agent].tasks {
            let task = self.tasks.get(*at)?;
            let real = self.sandbox_of(*at);
            let executor = task.executor_id.as_deref().unwrap_or(&task.id);
            let base = format!(
                "/frameworks/{}/executors/{executor}/runs/latest",
                self.frameworks[task.framework].id
            );
            let latest = if task.parent.is_some() { format!("{base}/tasks/{}", task.id) } else { base };
            let found = path.strip_prefix(&real).or_else(|| path.strip_prefix(&latest));
            if let Some(rest) = found.filter(|it| it.is_empty() || it.starts_with('/')) {
                return Some((*at, rest.trim_start_matches('/').to_owned()));
            }
        }
        None
    }

    /// Where a path of `/files` is on the disk, when commands are carried out by real processes.
    pub fn real_path(&self, agent: usize, path: &str) -> Option<String> {
        let (at, rest) = self.sandbox(agent, path)?;
        (!rest.split('/').any(|it| it == "..")).then(|| format!("{}/{rest}", self.sandbox_of(at)))
    }

    fn content(&self, at: usize, name: &str) -> Option<String> {
        let plan = &self.tasks.get(at)?.run.as_ref()?.plan;
        match name {
            "stdout" => Some(plan.stdout.clone()),
            "stderr" => Some(String::new()),
            _ => None,
        }
    }

    fn browse(&self, agent: usize, query: &std::collections::BTreeMap<String, String>) -> Answer {
        let Some(path) = query.get("path") else {
            return Answer::text(400, "Expecting 'path=value' in query.\n");
        };
        let Some((at, rest)) = self.sandbox(agent, path) else { return Answer::text(404, "") };
        if !rest.is_empty() {
            // An agent lists nothing of a file.
            return match self.content(at, &rest) {
                Some(_) => Answer::json(&json!([])),
                None => Answer::text(404, ""),
            };
        }
        let files: Vec<Value> = ["stderr", "stdout"]
            .iter()
            .map(|name| {
                let size = self.content(at, name).map_or(0, |it| it.len());
                file_json(&format!("{path}/{name}"), size as u64, self.now.0 / 1_000_000_000)
            })
            .collect();
        Answer::json(&Value::Array(files))
    }

    fn read_file(&self, agent: usize, query: &std::collections::BTreeMap<String, String>) -> Answer {
        let Some(path) = query.get("path") else {
            return Answer::text(400, "Expecting 'path=value' in query.\n");
        };
        let found = self.sandbox(agent, path).and_then(|(at, name)| self.content(at, &name));
        match found {
            Some(text) => piece(text.as_bytes(), query),
            None => Answer::text(404, ""),
        }
    }

    fn download(&self, agent: usize, query: &std::collections::BTreeMap<String, String>) -> Answer {
        let Some(path) = query.get("path") else {
            return Answer::text(400, "Expecting 'path=value' in query.\n");
        };
        match self.sandbox(agent, path).and_then(|(at, name)| Some((name.clone(), self.content(at, &name)?)))
        {
            Some((name, text)) => attachment(&name, text.into_bytes()),
            None => Answer::text(404, ""),
        }
    }
}

/// One entry of `/files/browse`.
pub fn file_json(path: &str, size: u64, mtime: u64) -> Value {
    json!({ "gid": "root", "mode": "-rw-r--r--", "mtime": mtime as f64, "nlink": 1, "path": path, "size": size, "uid": "root" })
}

/// The answer of `/files/read`: no offset, or a negative one, asks for the size.
pub fn piece(content: &[u8], query: &std::collections::BTreeMap<String, String>) -> Answer {
    let number = |name: &str| query.get(name).and_then(|it| it.parse::<i64>().ok());
    let offset = number("offset").unwrap_or(-1);
    let Ok(offset) = usize::try_from(offset) else {
        return Answer::json(&json!({ "data": "", "offset": content.len() }));
    };
    let length =
        number("length").and_then(|it| u64::try_from(it).ok()).unwrap_or(PIECE_MAX).min(PIECE_MAX) as usize;
    let from = offset.min(content.len());
    let to = from.saturating_add(length).min(content.len());
    Answer::json(&json!({ "data": String::from_utf8_lossy(&content[from..to]), "offset": offset }))
}

pub fn attachment(name: &str, content: Vec<u8>) -> Answer {
    Answer {
        status: 200,
        headers: vec![
            ("Content-Disposition", format!("attachment; filename={name}")),
            ("Content-Type", "application/octet-stream".to_owned()),
        ],
        body: content.into(),
        streamed: false,
    }
}
