//! Scripts with pods.

use marathon_model::app::{DockerImage, Ipc, LinuxInfo};

use super::*;

/// `p(a,b!)`: a pod with a plain process and an image; `p~(…)` on a bridge; `b!&` shares its IPC namespace.
pub fn pod(text: &str) -> Launch {
    let (rest, port) = text.split_once('@').unwrap_or((text, ""));
    let (name, containers) = rest.trim_end_matches(')').split_once('(').unwrap();
    let mut pod = launch(name.trim_end_matches('~'));
    pod.host_ports = port.parse().ok().into_iter().collect();
    if name.ends_with('~') {
        pod.network = TaskNetwork::Bridge;
    }
    let docker = DockerImage {
        image: "i".to_owned(),
        force_pull: false,
        privileged: false,
        parameters: Vec::new(),
        pull_secret: None,
    };
    let sharing = LinuxInfo { seccomp: None, ipc: Some(Ipc { private: false, shm_size: None }) };
    let one = |text: &str| {
        let name = text.trim_end_matches(['!', '&', '?']);
        let mut id = pod.task.clone();
        id.container = Some(Arc::from(name));
        ContainerLaunch {
            name: Arc::from(name),
            task: id,
            resources: pod.resources,
            cpu_limit: None,
            mem_limit: None,
            command: pod.command.clone(),
            override_entrypoint: false,
            env: BTreeMap::new(),
            secret_env: BTreeMap::new(),
            user: None,
            image: text.contains('!').then(|| docker.clone()),
            fetch: Vec::new(),
            mounts: Vec::new(),
            labels: BTreeMap::new(),
            kill_grace: (name == "slow").then(|| Duration::from_secs(9)),
            health_check: launch(if text.contains('?') { "x?" } else { "x" }).health_check,
            check: None,
            discovery: Vec::new(),
            tty: false,
            linux: text.contains('&').then(|| sharing.clone()),
        }
    };
    let containers: Vec<_> = containers.split(',').map(one).collect();
    // The executor takes nothing here, so that sums are easy to read.
    pod.resources.cpus = Milli::from_whole(containers.len() as u64);
    pod.resources.mem = Milli::from_whole(32 * containers.len() as u64);
    Launch { containers, ..pod }
}

fn quiet() -> Desk {
    let mut desk = Desk::one();
    desk.play("suppress", "");
    desk
}

#[test]
fn containers_report_for_themselves_and_end_together() {
    let mut desk = Desk::one();
    desk.play("accept p(a,slow)@3", "prepare p.a, prepare p.slow, offer * cpus:2 mem:936 ports:1-2+4-9");
    desk.play("decline 1000", "");
    for name in ["p.a", "p.slow"] {
        desk.play(&format!("prepared {name}"), &format!("keep: launch {name}"));
        desk.play(&format!("started {name}"), &format!("{name} Running"));
        desk.play(&format!("ack {name}"), "");
    }
    desk.play("reconcile p p.a", "noack p.a Running Reconciliation, noack p.slow Running Reconciliation, noack p.a Running Reconciliation");
    desk.play("kill p", "keep: kill p.a 3000, p.a Killing, keep: kill p.slow 9000, p.slow Killing");
    desk.play("kill p 1", "keep: kill p.a 1000, keep: kill p.slow 1000");
    desk.play("end p.a signal15", "");
    desk.play("ack p.a", "p.a Killed 'Command terminated with signal SIGTERM'");
    desk.play("ack p.a", "keep: forget p.a, clean p.a");
    // The pod holds what it was given until its last container has ended.
    desk.play("end p.slow signal9", "offer * cpus:4 mem:1000 ports:1-9");
    desk.play("ack p.slow", "p.slow Killed 'Command terminated with signal SIGKILL'");
    desk.play("ack p.slow", "keep: forget p.slow, clean p.slow");
    desk.play("kill p", "noack p Gone Reconciliation 'Reconciliation: Task is unknown to the agent'");
}

#[test]
fn one_container_can_be_killed_or_finish_alone() {
    let mut desk = quiet();
    desk.play("accept p(a,b,c)", "prepare p.a, prepare p.b, prepare p.c");
    for name in ["p.a", "p.b", "p.c"] {
        desk.play(&format!("prepared {name}"), &format!("keep: launch {name}"));
        desk.play(&format!("started {name}"), &format!("{name} Running"));
        desk.play(&format!("ack {name}"), "");
    }
    desk.play("kill p.a", "keep: kill p.a 3000, p.a Killing");
    desk.play("end p.a exit0", "");
    desk.play("end p.b exit0", "p.b Finished 'Command exited with status 0'");
    desk.play("reconcile p.c", "noack p.c Running Reconciliation");
}

#[test]
fn a_container_that_fails_ends_the_pod() {
    let others = "Container `a` of the pod failed, which ends the others";
    let mut desk = quiet();
    desk.play("accept p(a,b,c)", "prepare p.a, prepare p.b, prepare p.c");
    desk.play("prepared p.b", "keep: launch p.b");
    desk.play("started p.b", "p.b Running");
    desk.play("ack p.b", "");
    desk.play(
        "unprepared p.a no secret",
        &format!(
            "p.a Failed 'no secret', keep: kill p.b 3000, p.b Killing, cancel p.c, p.c Killed '{others}'"
        ),
    );
    desk.play("ack p.b", "");
    desk.play("end p.b signal15", &format!("p.b Killed '{others}'"));
}

#[test]
fn an_unhealthy_container_ends_the_pod() {
    let mut desk = quiet();
    desk.play("accept p(a?,b)", "prepare p.a, prepare p.b");
    desk.play("prepared p.a", "keep: launch p.a");
    desk.play("started p.a", "watch p.a, p.a Running");
    desk.play("ack p.a", "");
    desk.play("wait 10", "");
    desk.play("unhealthy p.a", "p.a Running healthy=false 'refused'");
    desk.play("ack p.a", "");
    desk.play("unhealthy p.a", "p.a Running healthy=false 'refused', unwatch p.a, keep: kill p.a 3000");
    let others = "Container `a` of the pod failed, which ends the others";
    desk.play("end p.a signal15", &format!("cancel p.b, p.b Killed '{others}'"));
}

#[test]
fn others_wait_for_the_holder_of_the_network() {
    let waits = "Starting 'Waiting for the container whose network or IPC namespace it joins'";
    let begin = format!("p.a {waits}, p.b Starting 'Starting the container', prepare p.b, p.c {waits}");
    let mut desk = quiet();
    desk.play("accept p~(a,b!,c!)", &begin);
    desk.play("prepared p.b", "keep: launch p.b");
    desk.play("ack p.a", "");
    desk.play("ack p.b", "");
    desk.play("said p.b started", "p.b Running, prepare p.a, prepare p.c");
    desk.play("prepared p.a", "keep: launch p.a");
    desk.play("started p.a", "p.a Running");
    let addresses = |desk: &Desk| desk.agent.task(&task("p.a")).addresses.clone();
    assert_eq!(&*addresses(&desk)[0].address, "172.17.0.2");

    // Whoever waits for one that has ended would wait forever.
    let mut desk = quiet();
    desk.play("accept p~(a,b!,c!)", &begin);
    let ended = "Container `b` of the pod ended before this one could start";
    desk.play("ack p.a", "");
    desk.play("ack p.c", "");
    desk.play("ack p.b", "");
    desk.play(
        "kill p.b",
        &format!(
            "cancel p.b, p.b Killed 'Killed before its process was started', cancel p.a, p.a Killed '{ended}', cancel p.c, p.c Killed '{ended}'"
        ),
    );
}

#[test]
fn who_shares_an_ipc_namespace_waits_for_its_owner() {
    let mut desk = quiet();
    desk.play(
        "accept p(a,b!&,c!&)",
        concat!(
            "prepare p.a, p.b Starting 'Starting the container', prepare p.b, ",
            "p.c Starting 'Waiting for the container whose network or IPC namespace it joins'"
        ),
    );
    desk.play("prepared p.b", "keep: launch p.b");
    desk.play("ack p.b", "");
    desk.play("said p.b started", "p.b Running, prepare p.c");
}

#[test]
fn pods_are_adopted() {
    let mut desk = Desk::new("cpus:4;mem:1000;ports:[1-9]", &["*"]);
    desk.play(
        "welcome p~(a?,b!)@3:a=running p~(a?,b!)@3:b=started q(a,b):a=exit1 q(a,b):b=running r(a):x=running",
        concat!(
            "subscribed, q.a Failed 'Command exited with status 1', keep: kill r.x 0, watch p.a adopted, ",
            "keep: kill q.b 3000, q.b Killing, ",
            "offer * mem:872 ports:1-2+4-9"
        ),
    );
    assert_eq!(desk.agent.task(&task("p.b")).pid, Some(7));
    assert_eq!(&*desk.agent.task(&task("p.a")).addresses[0].address, "172.17.0.2");
}

#[test]
fn a_pod_that_does_not_fit_is_refused_for_each_container() {
    let mut desk = quiet();
    let why = "Task uses more resources than available in the offer";
    desk.play(
        "accept p(a,b,c,d,e)",
        &format!("{0}a{1}, {0}b{1}, {0}c{1}, {0}d{1}, {0}e{1}", "noack p.", format!(" Error '{why}'")),
    );
}
