//! What operators are told about apps that do not run.

use crate::rig::*;
use marathon_core::explain;
use marathon_model::explain::{Explanation, Why};

/// A cluster of which the core is told what each agent offers, and that starts nothing.
struct Cluster {
    rig: Rig,
    policy: Policy,
    offers: u32,
}

/// `mem 512 cpus 2 role dev rack r1 ports 1-2 maintenance 60`: what an agent has; roles count for what follows.
fn offer(number: u32, agent: &str, text: &str, now: Timestamp) -> Offer {
    let words: Vec<&str> = text.split_whitespace().collect();
    let mut offer = Offer {
        id: OfferId::new(number.to_string()),
        agent: AgentId::new(format!("id-{agent}")),
        hostname: agent.into(),
        role: ANY_ROLE.into(),
        resources: Vec::new(),
        attributes: Default::default(),
        region: None,
        zone: None,
        unavailability: None,
    };
    let mut role: Role = ANY_ROLE.into();
    for pair in words.chunks(2) {
        let (key, value) = (pair[0], pair[1]);
        let milli = || Milli::from_f64(value.parse().unwrap());
        let amount = match key {
            "cpus" => Amount::Cpus(milli()),
            "mem" => Amount::Mem(milli()),
            "disk" => Amount::Disk(milli()),
            "gpus" => Amount::Gpus(milli()),
            "ports" => {
                let (first, last) = value.split_once('-').unwrap();
                let (first, last) = (first.parse().unwrap(), last.parse().unwrap());
                Amount::Ports(vec![PortRange { first, last }])
            }
            "role" => {
                role = value.into();
                continue;
            }
            "maintenance" => {
                offer.unavailability =
                    Some((Timestamp(now.0 - 1000), Some(Duration::from_secs(value.parse().unwrap()))));
                continue;
            }
            attribute => {
                let value = Attribute::Text(value.to_owned());
                std::sync::Arc::make_mut(&mut offer.attributes).insert(attribute.to_owned(), value);
                continue;
            }
        };
        offer.resources.push(Resource::new(role.clone(), amount));
    }
    offer
}

impl Cluster {
    fn new(policy: Policy) -> Cluster {
        let mut rig = Rig::with(policy.clone());
        rig.mute = true;
        Cluster { rig, policy, offers: 0 }
    }

    /// `agents`: one a line, its name first.
    fn offer(&mut self, agents: &str) {
        let lines = agents.lines().filter_map(|it| it.trim().split_once(' '));
        let now = self.rig.now.wall;
        let offers =
            lines.enumerate().map(|(at, (agent, text))| offer(self.offers + at as u32, agent, text, now));
        let offers: Vec<Offer> = offers.collect();
        self.offers += offers.len() as u32;
        self.rig.feed(Event::Engine(EngineEvent::Offers(offers)));
    }

    fn explain(&self, app: &str) -> Explanation {
        explain(&self.rig.view(), &self.policy, &id(app), 10, self.rig.now.wall).unwrap()
    }

    /// Reasons as `why xN`, then what is wrong with agents, then suggestions.
    fn told(&self, app: &str) -> String {
        let it = self.explain(app);
        let mut lines = vec![it.headline.clone()];
        if let Some(placement) = &it.placement {
            for row in &placement.rows {
                let why = row.refusal.as_ref().map_or("fits", |it| it.text.as_str());
                lines.push(format!("{}: {why}", row.host));
            }
            lines.extend(placement.suggestions.iter().map(|it| format!("-> {} ({})", it.text, it.agents)));
        }
        lines.join("\n")
    }
}

fn app(mem: u64, change: impl FnOnce(&mut AppUpdate)) -> AppEdit {
    let port_definitions = Some(Vec::new());
    let mut update = AppUpdate {
        port_definitions,
        mem: Some(Milli::from_whole(mem)),
        cpus: Some(Milli(1000)),
        ..sleep(1)
    };
    change(&mut update);
    AppEdit::Create(update)
}

/// What is told of `/web` once these agents have offered this.
#[track_caller]
fn check(edit: AppEdit, agents: &str, want: &str) {
    check_with(policy(), edit, agents, want);
}

#[track_caller]
fn check_with(policy: Policy, edit: AppEdit, agents: &str, want: &str) {
    let mut cluster = Cluster::new(policy);
    deployed(cluster.rig.put("/web", edit));
    cluster.offer(agents);
    let want: Vec<&str> = want.lines().map(str::trim).filter(|it| !it.is_empty()).collect();
    assert_eq!(cluster.told("/web").lines().collect::<Vec<_>>(), want);
}

fn constrained(field: &str, operator: Operator, value: Option<&str>) -> Option<Vec<Constraint>> {
    Some(vec![Constraint { field: field.to_owned(), operator, value: value.map(str::to_owned) }])
}

#[test]
fn resources_that_are_short_are_told_with_numbers() {
    check(
        app(512, |_| {}),
        "a cpus 4 mem 384
         b cpus 0.5 mem 4096
         c cpus 0.1 mem 100",
        "The one instance waits: 2 of 3 agents: not enough cpus (needs 1 cpu, at most 0.5 cpus free); \
         1 of 3 agents: not enough memory (needs 512 MiB, 384 MiB free). Smallest change: lower mem to 384 MiB.
         a: not enough memory: needs 512 MiB, 384 MiB free
         b: not enough cpus: needs 1 cpu, 0.5 cpus free
         c: not enough cpus: needs 1 cpu, 0.1 cpus free
         -> lower mem to 384 MiB (1)
         -> add 1 agent with 1 cpu and 512 MiB free (1)",
    );
}

#[test]
fn what_a_custom_executor_needs_counts() {
    let with_executor = |it: &mut AppUpdate| {
        it.executor = Some("/bin/runs-it".to_owned());
        it.executor_resources = Some(Amounts { cpus: Milli(250), ..Amounts::default() });
    };
    let mut policy = policy();
    policy.rules.executor = Some("//cmd".to_owned());
    check_with(
        policy,
        app(512, with_executor),
        "a cpus 1.1 mem 1024",
        "The one instance waits: 1 of 1 agent: not enough cpus (needs 1.25 cpus, 1.1 cpus free). \
         Smallest change: lower cpus to 0.85 cpus.
         a: not enough cpus: needs 1.25 cpus, 1.1 cpus free
         -> lower cpus to 0.85 cpus (1)
         -> add 1 agent with 1.25 cpus and 512 MiB free (1)",
    );
}

#[test]
fn roles() {
    let any = |it: &mut AppUpdate| it.accepted_resource_roles = Some(vec!["*".into()]);
    let mut policy = policy();
    policy.rules.mesos_role = "web".into();
    check_with(
        policy,
        app(512, any),
        "a role web cpus 4 mem 1024",
        "The one instance waits: 1 of 1 agent: role * not offered, only web. \
         Smallest change: accept resources of role web too.
         a: role * not offered, only web
         -> accept resources of role web too (1)
         -> add 1 agent with 1 cpu and 512 MiB free (1)",
    );
}

#[test]
fn constraints_name_who_is_in_the_way() {
    let mut cluster = Cluster::new(policy());
    let unique = constrained("hostname", Operator::Unique, None);
    deployed(cluster.rig.put("/web", app(64, |it| (it.constraints, it.instances) = (unique, Some(2)))));
    cluster.offer("a cpus 4 mem 384");
    let first = cluster.rig.view().apps[&id("/web")]
        .instances
        .values()
        .find(|it| it.task.is_some())
        .cloned()
        .unwrap();
    let told = cluster.told("/web");
    assert_eq!(
        told.lines().skip(1).collect::<Vec<_>>(),
        [
            format!("a: constraint hostname UNIQUE: a already has instance {}", first.id).as_str(),
            "-> relax constraint hostname UNIQUE (1)",
            "-> add 1 agent with 1 cpu and 64 MiB free (1)",
        ]
    );
    let it = cluster.explain("/web");
    assert_eq!(
        it.reasons.iter().map(|it| (it.why, it.count)).collect::<Vec<_>>(),
        [(Why::NoFittingAgent, 1), (Why::Launched, 1)]
    );
}

#[test]
fn attributes() {
    let is = constrained("rack", Operator::Is, Some("r2"));
    check(
        app(64, |it| it.constraints = is),
        "a cpus 4 mem 384 rack r1
         b cpus 4 mem 384",
        "The one instance waits: 2 of 2 agents: constraint rack IS r2 forbids it. \
         Smallest change: relax constraint rack IS r2.
         a: constraint rack IS r2: here it is r1
         b: constraint rack IS r2: this agent has no rack
         -> relax constraint rack IS r2 (2)
         -> add 1 agent with 1 cpu and 64 MiB free, and with rack r2 (1)",
    );
}

#[test]
fn ports_gpus_and_maintenance() {
    let port = PortDefinition { port: 8080, protocol: Protocol::Tcp, name: None, labels: Labels::new() };
    check(
        app(64, |it| (it.port_definitions, it.require_ports) = (Some(vec![port]), Some(true))),
        "a cpus 4 mem 384 ports 31000-32000",
        "The one instance waits: 1 of 1 agent: port 8080 is not free. Smallest change: free port 8080 on a.
         a: port 8080 is not free
         -> free port 8080 on a (1)
         -> take any ports (requirePorts false) (1)
         -> add 1 agent with 1 cpu and 64 MiB free (1)",
    );
    check(
        app(64, |_| {}),
        "a cpus 4 mem 384 gpus 1",
        "The one instance waits: 1 of 1 agent: it has 1 gpu, kept for those that need them. \
         Smallest change: let it use agents with gpus (label GPU_SCHEDULING_BEHAVIOR=unrestricted).
         a: it has 1 gpu, kept for those that need them
         -> let it use agents with gpus (label GPU_SCHEDULING_BEHAVIOR=unrestricted) (1)
         -> add 1 agent with 1 cpu and 64 MiB free (1)",
    );
}

#[test]
fn maintenance() {
    let mut cluster = Cluster::new(policy());
    deployed(cluster.rig.put("/web", app(64, |_| {})));
    cluster.offer("a cpus 4 mem 384 maintenance 90");
    assert_eq!(
        cluster.told("/web").lines().skip(1).collect::<Vec<_>>(),
        [
            "a: in maintenance for another 89 s",
            "-> wait 89 s for the end of the maintenance of a (1)",
            "-> add 1 agent with 1 cpu and 64 MiB free (1)",
        ]
    );
}

#[test]
fn what_runs_is_said_to_run() {
    let mut rig = Rig::new();
    deployed(rig.put("/web", AppEdit::Create(sleep(3))));
    rig.run();
    let told = |rig: &Rig, app: &str| explain(&rig.view(), &policy(), &id(app), 10, rig.now.wall).unwrap();
    assert_eq!(told(&rig, "/web").headline, "All 3 instances run.");
    assert_eq!(told(&rig, "/web").placement, None);
    let task = rig.task_of("/web");
    rig.end(&task, TaskState::Failed);
    let it = told(&rig, "/web");
    assert_eq!(it.reasons[0].why, Why::BackoffDelay);
    assert_eq!(
        it.headline,
        format!(
            "2 of 3 instances run; 1 waits: delayed by backoff for another 1 s of 1 s, after {task} ended as \
             TASK_FAILED on host: Failed."
        )
    );
    rig.feed(Event::Engine(EngineEvent::Disconnected));
    assert_eq!(told(&rig, "/web").reasons[0].why, Why::EngineNotConnected);
    deployed(rig.put("/none", AppEdit::Create(sleep(0))));
    assert_eq!(told(&rig, "/none").headline, "Nothing is to run: the definition asks for 0 instances.");
    assert!(explain(&rig.view(), &policy(), &id("/other"), 10, rig.now.wall).is_none());
}

#[test]
fn a_deployment_says_what_it_waits_for() {
    let mut rig = Rig::new();
    rig.mute = true;
    let front = AppUpdate { dependencies: Some(vec!["/db".to_owned()]), ..sleep(2) };
    let edits = vec![(id("/db"), AppEdit::Create(sleep(2))), (id("/front"), AppEdit::Create(front))];
    deployed(rig.ask(Command::EditApps { edits, force: false, origin: None }));
    rig.run();
    let view = rig.view();
    let it = explain(&view, &policy(), &id("/front"), 10, rig.now.wall).unwrap();
    let plan = view.deployments.keys().next().unwrap();
    assert_eq!((it.reasons[0].why, it.reasons[0].count), (Why::Dependency, 2));
    assert_eq!(
        it.reasons[0].text,
        format!(
            "depends on /db, which is not up; deployment {plan} is in step 2 of 3, which waits for /db (2 of 2 \
             instances to serve)"
        )
    );
    let db = explain(&view, &policy(), &id("/db"), 10, rig.now.wall).unwrap();
    assert_eq!(
        db.headline,
        "None of 2 instances runs; 2 on the way: launched on host, and the engine has not said a word of it yet."
    );
}
