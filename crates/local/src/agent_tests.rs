//! Scripts: what is done to the agent, and what it wants done in turn.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use marathon_docker::Said;
use marathon_keeper::protocol::{End, Event, How, Process, Request, TaskReport};
use marathon_model::id::{AgentId, FrameworkId, InstanceId, OfferId, PathId, TaskId};
use marathon_model::offer::*;
use marathon_model::resources::{Amount, Amounts, Milli};
use marathon_model::time::{Now, Tick, Timestamp};

use crate::agent::{About, Agent, Effect, Input};
use crate::ledger::Pools;
use crate::task::Tag;
use marathon_flags::resources::parse_resources;

mod kept;
pub mod pods;

struct Desk {
    agent: Agent,
    seconds: u64,
    busy: Vec<u16>,
    offer: OfferId,
    update: BTreeMap<TaskId, UpdateId>,
}

/// `app`, or `pod.container`; with `#2` another instance of the same.
fn task(name: &str) -> TaskId {
    let (name, number) = name.split_once('#').unwrap_or((name, "0"));
    let (spec, container) = name.split_once('.').map_or((name, None), |(pod, it)| (pod, Some(Arc::from(it))));
    let spec = PathId::parse(spec).unwrap();
    let uuid = uuid::Uuid::from_u128(number.parse().unwrap());
    TaskId { instance: InstanceId { spec, uuid }, container, incarnation: 1 }
}

/// `name`, `name!` (with an image) or `name?` (with a health check), then `@port` and `*cpus`.
pub fn launch(text: &str) -> Launch {
    if text.contains('(') {
        return pods::pod(text);
    }
    let (rest, cpus) = text.split_once('*').unwrap_or((text, "1"));
    let (name, port) = rest.split_once('@').unwrap_or((rest, ""));
    let image = name.ends_with('!').then(|| marathon_model::app::Container {
        kind: marathon_model::app::ContainerKind::Docker,
        docker: Some(marathon_model::app::DockerImage {
            image: "i".to_owned(),
            force_pull: false,
            privileged: false,
            parameters: Vec::new(),
            pull_secret: None,
        }),
        volumes: Vec::new(),
        linux: None,
    });
    let health_check = name.ends_with('?').then_some(EngineCheck {
        kind: EngineCheckKind::Tcp { port: 1, ipv6: false },
        delay: Duration::ZERO,
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        grace: Duration::from_secs(10),
        max_failures: 2,
    });
    let id = task(name.trim_end_matches(['!', '?']));
    let (cpus, mem) = (Milli::from_f64(cpus.parse().unwrap()), Milli::from_whole(32));
    Launch {
        spec: id.instance.spec.clone(),
        task: id,
        version: Timestamp::default(),
        agent: AgentId::new("S0"),
        name: String::new(),
        role: Arc::from("*"),
        resources: Amounts { cpus, mem, ..Amounts::default() },
        shares: BTreeMap::new(),
        cpu_limit: None,
        mem_limit: None,
        host_ports: port.parse().ok().into_iter().collect(),
        command: Command::Shell("true".to_owned()),
        env: BTreeMap::new(),
        secret_env: BTreeMap::new(),
        user: None,
        fetch: Vec::new(),
        container: image,
        network: TaskNetwork::Host,
        mappings: Vec::new(),
        labels: BTreeMap::new(),
        kill_grace: None,
        health_check,
        check: None,
        discovery: Vec::new(),
        tty: false,
        secrets: BTreeMap::new(),
        containers: Vec::new(),
        volumes: Vec::new(),
        reserved: Vec::new(),
        mesos: Default::default(),
    }
}

fn process() -> Process {
    Process {
        argv: Vec::new(),
        env: Vec::new(),
        cwd: "/".into(),
        identity: None,
        stdout: "/1".into(),
        stderr: "/2".into(),
        log_bytes: 1,
        log_files: 1,
        limits: None,
        reports: false,
        network: None,
        tag: String::new(),
    }
}

fn end(how: &str) -> End {
    let number = |from: &str| how.trim_start_matches(from).parse().unwrap();
    let end = |how, out_of_memory| End { how, out_of_memory, asked: false, at_ms: 0 };
    match how {
        "oom" => end(How::Signaled { signal: 9 }, true),
        "vanished" => end(How::Vanished { why: "reboot".to_owned() }, false),
        _ if how.starts_with("exit") => end(How::Exited { code: number("exit") }, false),
        _ => end(How::Signaled { signal: number("signal") }, false),
    }
}

impl Desk {
    fn new(resources: &str, roles: &[&str]) -> Desk {
        let about = About {
            agent: AgentId::new("S0"),
            framework: FrameworkId::new("F"),
            hostname: Arc::from("h"),
            address: IpAddress { address: Arc::from("10.0.0.1"), ipv6: false },
            attributes: Arc::default(),
            region: None,
            zone: None,
            total: Pools::new(&parse_resources(resources).unwrap()),
            roles: roles.iter().map(|it| Arc::from(*it)).collect(),
            default_grace: Duration::from_secs(3),
            seed: 7,
        };
        let (offer, update) = (OfferId::new("none"), BTreeMap::new());
        Desk {
            agent: Agent::new(about, crate::kept::Kept::default()),
            seconds: 0,
            busy: Vec::new(),
            offer,
            update,
        }
    }

    fn one() -> Desk {
        let mut desk = Desk::new("cpus:4;mem:1000;ports:[1-9]", &["*"]);
        desk.play("welcome", "subscribed, offer * cpus:4 mem:1000 ports:1-9");
        desk
    }

    /// Does one thing and compares what follows.
    #[track_caller]
    fn play(&mut self, what: &str, want: &str) {
        let (verb, rest) = what.split_once(' ').unwrap_or((what, ""));
        let words: Vec<&str> = rest.split(' ').filter(|it| !it.is_empty()).collect();
        let first = || words[0];
        let input = match verb {
            "welcome" => Input::Welcome(words.iter().map(|it| report(it)).collect()),
            "lost" => Input::KeeperLost,
            "accept" => {
                let launches = words.iter().map(|it| launch(it)).collect();
                Input::Call(Call::Accept {
                    offer: self.offer.clone(),
                    operations: vec![Operation::Launch(launches)],
                })
            }
            "decline" => {
                let hold = Duration::from_secs(first().parse().unwrap());
                Input::Call(Call::Decline { offers: vec![self.offer.clone()], hold })
            }
            "revive" => Input::Call(Call::Revive(Vec::new())),
            "suppress" => Input::Call(Call::Suppress(Vec::new())),
            "kill" => {
                let grace = words.get(1).map(|it| Duration::from_secs(it.parse().unwrap()));
                Input::Call(Call::Kill { task: task(first()), agent: Some(AgentId::new("S0")), grace })
            }
            "ack" => {
                let update = self.update[&task(first())];
                Input::Call(Call::Acknowledge { task: task(first()), agent: AgentId::new("S0"), update })
            }
            "reconcile" => {
                let tasks = words.iter().map(|it| match it.strip_suffix('-') {
                    Some(name) => (task(name), None),
                    None => (task(it), Some(AgentId::new("S0"))),
                });
                Input::Call(Call::Reconcile(tasks.collect()))
            }
            "prepared" => Input::Prepared { task: task(first()), process: Ok(Box::new(process())) },
            "unprepared" => Input::Prepared { task: task(first()), process: Err(words[1..].join(" ")) },
            "started" => Input::Keeper(Event::Started { task: task(first()).to_string(), pid: 1 }),
            "said" => Input::Keeper(Event::Said { task: task(first()).to_string(), line: said(words[1]) }),
            "end" => Input::Keeper(Event::Ended { task: task(first()).to_string(), end: end(words[1]) }),
            "healthy" => Input::Health { task: task(first()), outcome: Ok(()) },
            "unhealthy" => Input::Health { task: task(first()), outcome: Err("refused".to_owned()) },
            "check" => {
                let result = CheckResult::Command { exit_code: words[1].parse().unwrap() };
                Input::Check { task: task(first()), result }
            }
            "wait" => {
                self.seconds += first().parse::<u64>().unwrap();
                Input::Woke
            }
            other => panic!("{other}?"),
        };
        let now = Now { wall: Timestamp(1000), tick: Tick(self.seconds * 1000) };
        let mut effects = Vec::new();
        self.agent.step(input, now, &mut effects);
        let busy = self.busy.clone();
        self.agent.settle(now, &mut || busy.clone(), &mut effects);
        let got: Vec<String> = effects.into_iter().map(|it| self.show(it)).collect();
        assert_eq!(got.join(", "), want, "after `{what}`");
    }

    fn show(&mut self, effect: Effect) -> String {
        let name = |id: &TaskId| match (&id.container, id.instance.uuid.as_u128()) {
            (Some(container), _) => format!("{}.{container}", id.instance.spec.name()),
            (None, 0) => id.instance.spec.name().to_owned(),
            (None, number) => format!("{}#{number}", id.instance.spec.name()),
        };
        let short = |id: &str| TaskId::parse(id).map_or_else(|_| id.to_owned(), |it| name(&it));
        match effect {
            Effect::Tell(EngineEvent::Subscribed { again, .. }) => {
                if again { "subscribed again" } else { "subscribed" }.to_owned()
            }
            Effect::Tell(EngineEvent::Disconnected) => "disconnected".to_owned(),
            Effect::Save(_) => "save".to_owned(),
            Effect::CreateVolume(id) => format!("make volume {id}"),
            Effect::RemoveVolume(id) => format!("remove volume {id}"),
            Effect::Tell(EngineEvent::Offers(offers)) => {
                let show = |offer: &Offer| {
                    let one = |it: &marathon_model::resources::Resource| {
                        let role =
                            if *it.role == *offer.role { String::new() } else { format!("({})", it.role) };
                        match &it.amount {
                            Amount::Cpus(n) => format!("cpus{role}:{n}"),
                            Amount::Mem(n) => format!("mem{role}:{n}"),
                            Amount::Ports(ranges) => {
                                let one = |it: &marathon_model::resources::PortRange| {
                                    format!("{}-{}", it.first, it.last)
                                };
                                format!(
                                    "ports{role}:{}",
                                    ranges.iter().map(one).collect::<Vec<_>>().join("+")
                                )
                            }
                            other => format!("{other:?}"),
                        }
                    };
                    let resources: Vec<_> = offer.resources.iter().map(one).collect();
                    format!("offer {} {}", offer.role, resources.join(" "))
                };
                self.offer = offers[0].id.clone();
                offers.iter().map(show).collect::<Vec<_>>().join(" & ")
            }
            Effect::Tell(EngineEvent::Status(status)) => {
                let TaskStatus { task, state, update, message, healthy, reason, .. } = status;
                let known = match update {
                    Some(id) if self.update.insert(task.clone(), id) == Some(id) => "again ",
                    Some(_) => "",
                    None => "noack ",
                };
                let healthy = healthy.map(|it| format!(" healthy={it}")).unwrap_or_default();
                let reason = match reason {
                    None | Some(Reason::Other) => String::new(),
                    Some(reason) => format!(" {reason:?}"),
                };
                let message = if message.is_empty() { String::new() } else { format!(" '{message}'") };
                format!("{known}{} {state:?}{healthy}{reason}{message}", name(&task))
            }
            Effect::Tell(other) => format!("{other:?}"),
            Effect::Keep(Request::Launch { task, .. }) => format!("keep: launch {}", short(&task)),
            Effect::Keep(Request::Kill { task, grace_ms }) => {
                format!("keep: kill {} {grace_ms}", short(&task))
            }
            Effect::Keep(Request::Forget { task }) => format!("keep: forget {}", short(&task)),
            Effect::Keep(other) => format!("{other:?}"),
            Effect::Prepare(start) => format!("prepare {}", name(&start.launch.task)),
            Effect::Cancel(id) => format!("cancel {}", name(&id)),
            Effect::Watch(it) => {
                format!("watch {}{}", name(&it.start.launch.task), if it.adopted { " adopted" } else { "" })
            }
            Effect::Unwatch(id) => format!("unwatch {}", name(&id)),
            Effect::Sweep(id) => format!("sweep {}", name(&id)),
            Effect::Clean(id) => format!("clean {}", name(&id)),
        }
    }
}

fn said(what: &str) -> String {
    let said = match what {
        "pulling" => Said::Pulling,
        "started" => Said::Started {
            pid: Some(7),
            addresses: vec!["172.17.0.2".to_owned()],
            container: "c".to_owned(),
        },
        "oom" => Said::Ended { code: 137, out_of_memory: true },
        other => Said::Failed { message: other.to_owned() },
    };
    serde_json::to_string(&said).unwrap()
}

/// `a=running`, `a=exit0`, `a!=started`, `a=foreign`.
fn report(text: &str) -> TaskReport {
    let (name, what) = text.rsplit_once('=').unwrap();
    // `p(a,b!):b=started`: container `b` of that pod.
    let (name, container) = name.split_once(':').map_or((name, None), |(pod, it)| (pod, Some(it)));
    let launch = launch(name);
    let mut id = launch.task.clone();
    id.container = container.map(Arc::from);
    let id = id.to_string();
    let tag = serde_json::to_string(&Tag { launch: Arc::new(launch), in_pod: container.is_some() }).unwrap();
    let report = TaskReport { task: id, tag, pid: Some(1), said: None, end: None };
    match what {
        "running" => report,
        "launching" => TaskReport { pid: None, ..report },
        "started" | "pulling" => TaskReport { said: Some(said(what)), ..report },
        "foreign" => TaskReport { tag: "{}".to_owned(), ..report },
        "foreign-exit0" => TaskReport { tag: "{}".to_owned(), pid: None, end: Some(end("exit0")), ..report },
        end_of => TaskReport { pid: None, end: Some(end(end_of)), ..report },
    }
}

#[test]
fn a_task_from_offer_to_forgotten() {
    let mut desk = Desk::one();
    desk.play("accept a@3", "prepare a, offer * cpus:3 mem:968 ports:1-2+4-9");
    desk.play("prepared a", "keep: launch a");
    desk.play("started a", "a Running");
    desk.play("decline 120", "");
    desk.play("ack a", "");
    // What it held is free with its end, not only with the acknowledgement.
    desk.play("end a exit3", "a Failed 'Command exited with status 3', offer * cpus:4 mem:1000 ports:1-9");
    desk.play("ack a", "keep: forget a, clean a");
    desk.play("ack a", "");
    desk.play("reconcile a", "noack a Gone Reconciliation 'Reconciliation: Task is unknown to the agent'");
}

#[test]
fn many_launches_in_one_answer() {
    let mut desk = Desk::one();
    desk.play(
        "accept a@3 b*0.5 c",
        "prepare a, prepare b, prepare c, offer * cpus:1.5 mem:904 ports:1-2+4-9",
    );
}

#[test]
fn an_offer_is_used_once_and_only_for_what_it_holds() {
    let mut desk = Desk::one();
    desk.busy = vec![5];
    let first = desk.offer.clone();
    desk.play(
        "accept a@3 b@3 c*3 d@10 e*3.5",
        concat!(
            "prepare a, noack b Error 'Task uses port 3 which is not in the offer', prepare c, ",
            "noack d Error 'Task uses more resources than available in the offer', ",
            "noack e Error 'Task uses more resources than available in the offer', ",
            "offer * mem:936 ports:1-2+4-4+6-9",
        ),
    );
    desk.offer = first;
    let late =
        "noack f Dropped InvalidOffers 'Task launched with invalid offers: the offer is no longer valid'";
    desk.play("accept f", late);
    desk.play("decline 1", "");
}

#[test]
fn a_declined_offer_stays_away_although_a_stranger_holds_a_port() {
    let mut desk = Desk::one();
    desk.busy = vec![5];
    desk.play("decline 1000", "");
    desk.play("revive", "offer * cpus:4 mem:1000 ports:1-4+6-9");
    desk.play("decline 1000", "");
    desk.play("wait 1", "");
    // News: somebody may have waited for just this port.
    desk.busy.clear();
    desk.play("wait 1", "offer * cpus:4 mem:1000 ports:1-9");
}

#[test]
fn a_port_is_free_only_when_its_process_is_gone() {
    let mut desk = Desk::one();
    desk.play("accept a@3", "prepare a, offer * cpus:3 mem:968 ports:1-2+4-9");
    desk.play("decline 1000", "");
    desk.play("prepared a", "keep: launch a");
    desk.play("started a", "a Running");
    desk.play("kill a", "keep: kill a 3000");
    desk.play("ack a", "a Killing");
    desk.play("revive", "offer * cpus:3 mem:968 ports:1-2+4-9");
    desk.play("decline 1000", "");
    desk.play("end a signal15", "offer * cpus:4 mem:1000 ports:1-9");
    desk.play("ack a", "a Killed 'Command terminated with signal SIGTERM'");
}

#[test]
fn declined_offers_stay_away() {
    let mut desk = Desk::one();
    desk.play("decline 120", "");
    desk.play("wait 119", "");
    desk.play("wait 1", "offer * cpus:4 mem:1000 ports:1-9");
    desk.play("decline 0", "");
    desk.play("wait 1", "offer * cpus:4 mem:1000 ports:1-9");
    desk.play("accept", "");
    desk.play("wait 4", "");
    desk.play("revive", "offer * cpus:4 mem:1000 ports:1-9");
    desk.play("revive", "");
    desk.play("suppress", "");
    desk.play("decline 0", "");
    desk.play("wait 1000", "");
    assert_eq!(desk.agent.next_wakeup(), None);
    desk.play("revive", "offer * cpus:4 mem:1000 ports:1-9");
}

#[test]
fn each_role_gets_what_is_reserved_for_it() {
    let mut desk = Desk::new("cpus:4;mem:100;cpus(a):2;ports:[1-2];cpus(c):9", &["a", "b"]);
    // All that is everybody's lies in the first offer; nothing is left for role b.
    desk.play("welcome", "subscribed, offer a cpus:2 cpus(*):4 mem(*):100 ports(*):1-2");
    desk.play("decline 100", "offer b cpus(*):4 mem(*):100 ports(*):1-2");
    desk.play("decline 100", "");
}

#[test]
fn updates_wait_for_their_predecessor_and_are_repeated() {
    let mut desk = Desk::one();
    desk.play("suppress", "");
    desk.play("accept a?", "prepare a");
    desk.play("prepared a", "keep: launch a");
    desk.play("started a", "watch a, a Running");
    desk.play("healthy a", "");
    desk.play("unhealthy a", ""); // it was healthy: no more grace
    desk.play("healthy a", "");
    desk.play("end a exit0", "unwatch a");
    desk.play("wait 9", "");
    desk.play("wait 1", "again a Running");
    desk.play("reconcile a", "noack a Running Reconciliation");
    desk.play("wait 19", "");
    desk.play("wait 1", "again a Running");
    // Three reports of health became one.
    desk.play("ack a", "a Running healthy=true");
    desk.play("ack a", "a Finished healthy=true 'Command exited with status 0'");
    desk.play("lost", "disconnected");
    desk.play(
        "welcome a?=exit0",
        "subscribed again, again a Finished healthy=true 'Command exited with status 0'",
    );
    desk.play("reconcile", "noack a Finished healthy=true Reconciliation 'Command exited with status 0'");
    desk.play("ack a", "keep: forget a, clean a");
    desk.play("reconcile", "");
}

#[test]
fn an_unhealthy_task_is_killed() {
    let mut desk = Desk::one();
    desk.play("suppress", "");
    desk.play("accept a?", "prepare a");
    desk.play("prepared a", "keep: launch a");
    desk.play("started a", "watch a, a Running");
    desk.play("ack a", "");
    desk.play("unhealthy a", "");
    desk.play("wait 10", "");
    desk.play("unhealthy a", "a Running healthy=false 'refused'");
    desk.play("ack a", "");
    desk.play("unhealthy a", "a Running healthy=false 'refused', unwatch a, keep: kill a 3000");
    desk.play("unhealthy a", "");
    desk.play("ack a", "a Killing healthy=false");
    desk.play("end a signal15", "");
    desk.play("healthy a", "");
    let why = "Health check failed 2 times in a row, the last time with: refused";
    desk.play("ack a", &format!("a Killed healthy=false HealthCheckUnhealthy '{why}'"));
}

/// All are beyond what their check allows, and a quarter of eight is two.
#[test]
fn the_unhealthy_of_one_app_die_a_few_at_a_time() {
    for (count, at_once) in [(1, 1), (2, 1), (4, 1), (8, 2)] {
        let mut desk = Desk::new("cpus:8;mem:1000;ports:[1-9]", &["*"]);
        desk.play("welcome", "subscribed, offer * cpus:8 mem:1000 ports:1-9");
        desk.play("suppress", "");
        let tasks: Vec<String> = (1..=count).map(|n| format!("a#{n}")).collect();
        let each =
            |prefix: &str| tasks.iter().map(|it| format!("{prefix}{it}")).collect::<Vec<_>>().join(", ");
        let launches: Vec<String> = tasks.iter().map(|it| format!("{it}?")).collect();
        desk.play(&format!("accept {}", launches.join(" ")), &each("prepare "));
        for it in &tasks {
            desk.play(&format!("prepared {it}"), &format!("keep: launch {it}"));
            desk.play(&format!("started {it}"), &format!("watch {it}, {it} Running"));
            desk.play(&format!("ack {it}"), "");
        }
        desk.play("wait 10", "");
        for it in &tasks {
            desk.play(&format!("unhealthy {it}"), &format!("{it} Running healthy=false 'refused'"));
            desk.play(&format!("ack {it}"), "");
        }
        for (n, it) in tasks.iter().enumerate() {
            let told = format!("{it} Running healthy=false 'refused'");
            let killed = format!("{told}, unwatch {it}, keep: kill {it} 3000");
            desk.play(&format!("unhealthy {it}"), if n < at_once { &killed } else { &told });
        }
        // With one of them gone it is the turn of the next that fails.
        if let Some(next) = tasks.get(at_once).filter(|_| at_once == 1) {
            desk.play(&format!("ack {next}"), "");
            desk.play(&format!("ack {}", tasks[0]), &format!("{} Killing healthy=false", tasks[0]));
            desk.play(&format!("end {} signal15", tasks[0]), "");
            let told = format!("{next} Running healthy=false 'refused'");
            desk.play(
                &format!("unhealthy {next}"),
                &format!("{told}, unwatch {next}, keep: kill {next} 3000"),
            );
        }
    }
}

#[test]
fn an_informative_check_is_told_when_it_changes() {
    let mut desk = Desk::one();
    desk.play("suppress", "");
    desk.play("accept a?", "prepare a");
    desk.play("check a 1", "");
    desk.play("prepared a", "keep: launch a");
    desk.play("started a", "watch a, a Running");
    desk.play("ack a", "");
    desk.play("check a 1", "a Running");
    desk.play("check a 1", "");
    desk.play("ack a", "");
    desk.play("check a 0", "a Running");
}

#[test]
fn kills_at_every_stage() {
    let mut desk = Desk::one();
    desk.play("suppress", "");
    desk.play("accept a b c", "prepare a, prepare b, prepare c");
    desk.play("kill a", "cancel a, a Killed 'Killed before its process was started'");
    desk.play("prepared a", "");
    desk.play("ack a", "clean a"); // the keeper never heard of it
    desk.play("prepared b", "keep: launch b");
    desk.play("kill b 7", "keep: kill b 7000, b Killing");
    desk.play("started b", "");
    desk.play("kill b 1", "keep: kill b 1000");
    desk.play("end b exit0", "");
    desk.play("ack b", "b Killed 'Command exited with status 0'");
    desk.play("kill b", "");
    desk.play("ack b", "keep: forget b, clean b");
    desk.play("kill b", "noack b Gone Reconciliation 'Reconciliation: Task is unknown to the agent'");
    desk.play("unprepared c no such user", "c Failed 'no such user'");
    desk.play("ack c", "clean c");
}

#[test]
fn a_container_runs_when_its_runner_says_so() {
    let mut desk = Desk::one();
    desk.play("suppress", "");
    desk.play("accept a! b! c!", concat!(
        "a Starting 'Starting the container', prepare a, b Starting 'Starting the container', prepare b, ",
        "c Starting 'Starting the container', prepare c"
    ));
    desk.play("prepared a", "keep: launch a");
    desk.play("started a", "");
    desk.play("said a pulling", "");
    desk.play("ack a", "a Starting 'Pulling the image'");
    desk.play("said a started", "");
    desk.play("ack a", "a Running");
    desk.play("ack a", "");
    desk.play("kill a", "keep: kill a 18000, a Killing");
    desk.play("prepared b", "keep: launch b");
    desk.play("said b no-image", "");
    desk.play("end b exit125", "");
    desk.play("ack b", "b Failed 'no-image'");
    desk.play("prepared c", "keep: launch c");
    desk.play("ack c", "");
    desk.play("said c started", "c Running");
    desk.play("ack c", "");
    desk.play("said c oom", "");
    desk.play("end a signal9", "sweep a");
    desk.play(
        "end c exit137",
        concat!(
            "c Failed ContainerLimitationMemory ",
            "'Memory limit exceeded: the task used more than its limit of 32 MB'"
        ),
    );
}

#[test]
fn tasks_are_adopted() {
    let mut desk = Desk::new("cpus:4;mem:1000;ports:[1-9]", &["*"]);
    desk.play(
        "welcome a?@3=running b@4=exit1 c!=started d!=pulling e=foreign f=foreign-exit0 g=vanished",
        concat!(
            "subscribed, b Failed 'Command exited with status 1', ",
            "keep: kill e 0, keep: forget f, g Gone 'The task is gone: reboot', watch a adopted, ",
            "offer * cpus:1 mem:904 ports:1-2+4-9"
        ),
    );
    desk.play(
        "reconcile a c d x y-",
        concat!(
            "noack a Running Reconciliation 'Reconciliation: Latest task state', ",
            "noack c Running Reconciliation 'Reconciliation: Latest task state', ",
            "noack d Staging Reconciliation 'Reconciliation: Latest task state', ",
            "noack x Gone Reconciliation 'Reconciliation: Task is unknown to the agent', ",
            "noack y Unknown Reconciliation 'Reconciliation: Task is unknown'"
        ),
    );
    desk.play("said d started", "d Running");
    desk.play("ack b", "keep: forget b, clean b");
}

#[test]
fn what_an_earlier_server_sent_too_late_does_not_live_on() {
    let mut desk = Desk::one();
    desk.play("started late", "keep: kill late 0");
    desk.play("end late signal9", "keep: forget late");
}

#[test]
fn a_new_keeper_is_brought_in_line() {
    let mut desk = Desk::one();
    desk.play("suppress", "");
    desk.play("accept a b c d", "prepare a, prepare b, prepare c, prepare d");
    for name in ["a", "b", "c"] {
        desk.play(&format!("prepared {name}"), &format!("keep: launch {name}"));
    }
    desk.play("started a", "a Running");
    desk.play("ack a", "");
    desk.play("kill a", "keep: kill a 3000, a Killing");
    desk.play("lost", "disconnected");
    // `a` was being killed, `b` started meanwhile, `c` is not known, `d` was never handed over.
    desk.play("welcome a=running b=running", concat!(
        "subscribed again, again a Killing, b Running, ",
        "c Gone 'The task is gone: the process that watches over it ended and does not know it any more', ",
        "keep: kill a 3000"
    ));
    desk.play("reconcile b", "noack b Running Reconciliation");
    desk.play("prepared d", "keep: launch d");
    desk.play("lost", "disconnected");
    desk.play("lost", "");
}

/// Any order of events, also senseless ones: what is offered and taken never exceeds the machine, and
/// the updates of each task make sense.
#[test]
fn any_history_keeps_the_books() {
    for seed in 0..400 {
        history(seed);
    }
}

fn history(seed: u64) {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut draw = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let mut desk = Desk::new("cpus:4;mem:200;ports:[1-6]", &["*"]);
    let mut offers: Vec<Offer> = Vec::new();
    let mut updates: Vec<(TaskId, UpdateId)> = Vec::new();
    let mut told: BTreeMap<TaskId, Vec<TaskState>> = BTreeMap::new();
    let mut count = 0;
    let mut names: Vec<String> = Vec::new();
    let mut input = Input::Welcome(Vec::new());
    for _ in 0..120 {
        desk.seconds += draw(20) as u64;
        let now = Now { wall: Timestamp(1), tick: Tick(desk.seconds * 1000) };
        let mut effects = Vec::new();
        desk.agent.step(input, now, &mut effects);
        desk.agent.settle(now, &mut Vec::new, &mut effects);
        for effect in effects {
            match effect {
                Effect::Tell(EngineEvent::Offers(new)) => offers.extend(new),
                Effect::Tell(EngineEvent::Disconnected) => offers.clear(),
                Effect::Tell(EngineEvent::Status(status)) => {
                    let TaskStatus { task, state, update, .. } = status;
                    if let Some(update) = update.filter(|it| !updates.contains(&(task.clone(), *it))) {
                        told.entry(task.clone()).or_default().push(state);
                        updates.push((task, update));
                    }
                }
                _ => {}
            }
        }
        books_are_in_order(&desk.agent, &offers, seed);
        for (task, states) in &told {
            let terminal = states.iter().position(|it| crate::updates::is_terminal(*it));
            assert!(terminal.is_none_or(|it| it + 1 == states.len()), "seed {seed}: {task} {states:?}");
            let runs = states.iter().filter(|it| **it == TaskState::Running).count();
            assert!(runs <= 1 && states.len() <= 4, "seed {seed}: {task} {states:?}");
        }

        let name = if names.is_empty() { "none".to_owned() } else { names[draw(names.len())].clone() };
        let id = task(&name);
        input = match draw(12) {
            0 | 1 if !offers.is_empty() => {
                let offer = offers.swap_remove(draw(offers.len()));
                let free = |it: &marathon_model::resources::Resource| match &it.amount {
                    Amount::Ports(ranges) => ranges.first().map(|it| it.first),
                    _ => None,
                };
                let port = offer.resources.iter().find_map(free).map(|it| it.to_string()).unwrap_or_default();
                let mut text = Vec::new();
                for at in 0..1 + draw(3) {
                    count += 1;
                    names.push(format!("t{count}"));
                    let port = if at == 0 { &port } else { "" };
                    text.push(format!("t{count}{}@{port}*0.7", if draw(4) == 0 { "!" } else { "" }));
                }
                let launches = text.iter().map(|it| launch(it)).collect();
                Input::Call(Call::Accept { offer: offer.id, operations: vec![Operation::Launch(launches)] })
            }
            2 if !offers.is_empty() => {
                let offer = offers.swap_remove(draw(offers.len()));
                Input::Call(Call::Decline { offers: vec![offer.id], hold: Duration::from_secs(5) })
            }
            3 => Input::Call(Call::Revive(Vec::new())),
            4 => Input::Prepared { task: id, process: Ok(Box::new(process())) },
            5 => Input::Keeper(Event::Started { task: id.to_string(), pid: 1 }),
            6 => Input::Keeper(Event::Said { task: id.to_string(), line: said("started") }),
            7 => Input::Keeper(Event::Ended { task: id.to_string(), end: end("exit1") }),
            8 => Input::Call(Call::Kill { task: id, agent: None, grace: None }),
            9 | 10 if !updates.is_empty() => {
                let (task, update) = updates[draw(updates.len())].clone();
                Input::Call(Call::Acknowledge { task, agent: AgentId::new("S0"), update })
            }
            11 if draw(4) == 0 => Input::KeeperLost,
            11 => Input::Welcome(Vec::new()),
            _ => Input::Woke,
        };
    }
    assert!(2 < count, "seed {seed} did nothing");
}

fn books_are_in_order(agent: &Agent, offers: &[Offer], seed: u64) {
    let mut cpus = Milli::ZERO;
    let mut ports = Vec::new();
    for launch in agent.live() {
        cpus = cpus + launch.resources.cpus;
        ports.extend(launch.host_ports.iter().copied());
    }
    for resource in offers.iter().flat_map(|it| &it.resources) {
        match &resource.amount {
            Amount::Cpus(n) => cpus = cpus + *n,
            Amount::Ports(ranges) => ports.extend(ranges.iter().flat_map(|it| it.first..=it.last)),
            _ => {}
        }
    }
    assert!(cpus <= Milli::from_whole(4), "seed {seed}: {cpus} cpus");
    ports.sort_unstable();
    assert!(ports.windows(2).all(|it| it[0] != it[1]), "seed {seed}: {ports:?}");
}
