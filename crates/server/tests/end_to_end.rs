//! What a stranger does with a fresh server, with real processes.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::process::Command;

use common::{Server, signal};
use serde_json::{Value, json};

/// A web server that says which version it is, in a dozen lines of Python.
const WEB: &str = "import http.server,os\n\
class H(http.server.BaseHTTPRequestHandler):\n\
\tdef do_GET(self):\n\
\t\tself.send_response(200);self.end_headers();self.wfile.write(os.environ['V'].encode())\n\
\tdef log_message(self,*a):pass\n\
http.server.ThreadingHTTPServer(('127.0.0.1',int(os.environ['PORT0'])),H).serve_forever()";

fn web(version: &str, instances: u32) -> Value {
    json!({
        "id": "/web", "args": ["python3", "-c", WEB], "env": {"V": version}, "instances": instances,
        "cpus": 0.5, "mem": 64,
        "healthChecks": [{"protocol": "HTTP", "path": "/", "gracePeriodSeconds": 30, "intervalSeconds": 1, "timeoutSeconds": 5}],
        "upgradeStrategy": {"minimumHealthCapacity": 1, "maximumOverCapacity": 0.5}
    })
}

fn sleeper(id: &str, instances: u32) -> Value {
    json!({"id": id, "cmd": "sleep 1000", "instances": instances, "cpus": 0.1, "mem": 32})
}

fn pids(server: &Server, app: &str) -> BTreeMap<String, u32> {
    let tasks = server.running(app).into_iter();
    let ids = tasks.map(|it| it["id"].as_str().unwrap().to_owned());
    ids.map(|id| (id.clone(), server.pid_of(&id).unwrap_or_else(|| panic!("{id} has no process")))).collect()
}

fn answers(port: u64) -> Option<String> {
    let url = format!("http://127.0.0.1:{port}/");
    let out = Command::new("curl").args(["-s", "-m", "5", &url]).output().unwrap();
    out.status.success().then(|| String::from_utf8_lossy(&out.stdout).into_owned())
}

#[test]
fn a_web_app_is_served_scaled_and_rolled_without_a_gap() {
    let server = Server::start();
    server.change("POST", "/v2/apps", web("one", 2));
    server.wait_idle();
    let app = &server.get("/v2/apps//web")["app"];
    assert_eq!((&app["tasksRunning"], &app["tasksHealthy"]), (&json!(2), &json!(2)));
    for task in server.running("/web") {
        assert_eq!(answers(task["ports"][0].as_u64().unwrap()).as_deref(), Some("one"));
    }
    server.change("PUT", "/v2/apps//web", json!({"instances": 3}));
    server.wait_idle();
    assert_eq!(server.running("/web").len(), 3);

    server.change("PUT", "/v2/apps//web", json!({"env": {"V": "two"}}));
    let mut seen = 0;
    server.wait("the new version is everywhere", |it| {
        let tasks = it.running("/web");
        let healthy: Vec<&Value> = tasks
            .iter()
            .filter(|task| {
                task["healthCheckResults"]
                    .as_array()
                    .is_some_and(|all| all.iter().any(|one| one["alive"] == true))
            })
            .collect();
        assert!(healthy.len() >= 3, "fewer than three healthy instances: {tasks:?}");
        assert!(tasks.len() <= 4, "more than three and a half instances: {}", tasks.len());
        seen += 1;
        it.get("/v2/deployments").as_array().unwrap().is_empty()
    });
    assert!(seen > 1, "the upgrade was over before it was looked at");
    for task in server.running("/web") {
        assert_eq!(answers(task["ports"][0].as_u64().unwrap()).as_deref(), Some("two"));
    }
}

#[test]
fn tasks_outlive_a_killed_server_and_are_adopted() {
    let mut server = Server::start();
    server.change("POST", "/v2/apps", sleeper("/long", 3));
    server.change("POST", "/v2/apps", json!({"id": "/short", "cmd": "while [ ! -e go ]; do sleep 0.05; done; exit 7", "cpus": 0.1, "mem": 32, "backoffSeconds": 3600}));
    server.wait_idle();
    let before = pids(&server, "/long");
    let short = server.running("/short")[0]["id"].as_str().unwrap().to_owned();
    let folder = std::fs::read_link(format!("/proc/{}/cwd", server.pid_of(&short).unwrap())).unwrap();
    server.kill();
    std::fs::write(folder.join("go"), "").unwrap();
    while server.pid_of(&short).is_some() {
        std::thread::yield_now();
    }
    server.start_again();
    server.wait("the exit code of the task that ended meanwhile is known", |it| {
        let failure = &it.get("/v2/apps//short")["app"]["lastTaskFailure"];
        failure["message"].as_str().is_some_and(|it| it.contains("status 7"))
    });
    assert_eq!(pids(&server, "/long"), before, "no task was restarted");
    // And it is still ours: it can be killed, and is made up for.
    let victim = before.keys().next().unwrap();
    server.change("DELETE", &format!("/v2/apps//long/tasks/{victim}"), Value::Null);
    server.wait("the killed one is replaced", |it| {
        it.running("/long").len() == 3
            && !it.running("/long").iter().any(|task| task["id"] == victim.as_str())
    });
}

#[test]
fn a_clean_stop_leaves_tasks_running_unless_checkpoints_are_off() {
    let mut server = Server::start();
    server.change("POST", "/v2/apps", sleeper("/kept", 1));
    server.wait_idle();
    let before = pids(&server, "/kept");
    assert_eq!(server.stop(), Some(0));
    server.start_again();
    server.wait("the task is back", |it| it.running("/kept").len() == 1);
    assert_eq!(pids(&server, "/kept"), before);

    let mut server = Server::with(&["--disable_checkpoint"]);
    server.change("POST", "/v2/apps", sleeper("/lost", 1));
    server.wait_idle();
    let task = server.running("/lost")[0]["id"].as_str().unwrap().to_owned();
    server.kill();
    let began = std::time::Instant::now();
    while server.pid_of(&task).is_some() {
        assert!(began.elapsed().as_secs() < 20, "the task outlived a server without checkpoints");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn a_crash_loop_shows_its_delay_and_its_reason() {
    let server = Server::start();
    server.change("POST", "/v2/apps", json!({"id": "/bad", "cmd": "echo oops >&2; exit 3", "cpus": 0.1, "mem": 32, "backoffSeconds": 1, "backoffFactor": 3}));
    server.wait("the delay grows", |it| {
        let queue = it.get("/v2/queue");
        let left = queue["queue"][0]["delay"]["timeLeftSeconds"].as_i64();
        left.is_some_and(|it| it >= 2)
    });
    let app = &server.get("/v2/apps//bad")["app"];
    assert_eq!(app["lastTaskFailure"]["message"], "Command exited with status 3");
    assert_eq!(app["lastTaskFailure"]["state"], "TASK_FAILED");
    let answer = server.request("DELETE", "/v2/queue//bad/delay", &[], "");
    assert_eq!(answer.status, 204, "{}", answer.text());
}

#[test]
fn acknowledged_changes_survive_a_killed_server() {
    let mut server = Server::start();
    for n in 0..20 {
        server.change("PUT", &format!("/v2/apps/many/app-{n}"), json!({"cmd": "sleep 1000", "instances": 0}));
    }
    server.kill();
    server.start_again();
    assert_eq!(server.get("/v2/apps")["apps"].as_array().unwrap().len(), 20);
    assert_eq!(server.get("/v2/groups//many")["apps"].as_array().unwrap().len(), 20);
}

#[test]
fn a_second_server_on_the_same_folder_is_refused() {
    let server = Server::start();
    let mut arguments = server.arguments().to_vec();
    let at = arguments.iter().position(|it| it == "--http_port").unwrap();
    arguments[at + 1] = common::free_port().to_string();
    let out = Command::new(env!("CARGO_BIN_EXE_marathon")).args(&arguments).output().unwrap();
    let text = String::from_utf8_lossy(&out.stderr).into_owned() + &String::from_utf8_lossy(&out.stdout);
    assert!(!out.status.success());
    assert!(text.contains("data") && text.contains(&server.pid().to_string()), "{text}");
}

#[test]
fn a_taken_port_and_a_bad_flag_have_their_exit_codes() {
    let server = Server::start();
    let run = |flags: &[&str]| {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().display().to_string();
        let out = Command::new(env!("CARGO_BIN_EXE_marathon"))
            .args(["--master", "local", "--data_dir", &dir])
            .args(flags)
            .output()
            .unwrap();
        (out.status.code(), String::from_utf8_lossy(&out.stderr).into_owned())
    };
    let port = server.port.to_string();
    assert_eq!(run(&["--http_address", "127.0.0.1", "--http_port", &port]).0, Some(111));
    let (code, text) = run(&["--http_port", "eighty"]);
    assert_eq!(code, Some(112));
    assert!(text.contains("http_port") && text.contains("eighty"), "{text}");
}

#[test]
fn a_whole_tree_of_processes_ends_with_its_task() {
    let server = Server::start();
    let cmd = "trap '' TERM; sh -c \"trap '' TERM; sleep 1000\" & sleep 1000 & wait";
    server.change(
        "POST",
        "/v2/apps",
        json!({"id": "/tree", "cmd": cmd, "cpus": 0.1, "mem": 32, "taskKillGracePeriodSeconds": 1}),
    );
    server.wait_idle();
    let task = server.running("/tree")[0]["id"].as_str().unwrap().to_owned();
    server.change("DELETE", "/v2/apps//tree", Value::Null);
    server.wait_idle();
    assert_eq!(server.pid_of(&task), None);
}

#[test]
fn a_killed_process_is_replaced_and_its_signal_named() {
    let server = Server::start();
    let mut app = sleeper("/victim", 1);
    app["backoffSeconds"] = json!(0);
    server.change("POST", "/v2/apps", app);
    server.wait_idle();
    let (task, pid) = pids(&server, "/victim").into_iter().next().unwrap();
    signal(pid, "KILL");
    server.wait("a new task runs", |it| it.running("/victim").iter().any(|it| it["id"] != task.as_str()));
    let failure = server.get("/v2/apps//victim")["app"]["lastTaskFailure"].clone();
    assert!(failure["message"].as_str().unwrap().contains("SIGKILL"), "{failure}");
}

#[test]
fn output_lands_in_the_sandbox_and_files_are_fetched() {
    let server = Server::start();
    let file = server.dir.join("greeting.txt");
    std::fs::write(&file, "hello from a file").unwrap();
    let uri = format!("file://{}", file.display());
    server.change("POST", "/v2/apps", json!({
        "id": "/talker", "cmd": "cat greeting.txt; echo to-stderr >&2; sleep 1000", "cpus": 0.1, "mem": 32,
        "fetch": [{"uri": uri}], "env": {"MINE": "yes"}, "labels": {"tier": "web"}
    }));
    server.wait_idle();
    let task = server.running("/talker")[0]["id"].as_str().unwrap().to_owned();
    let pid = server.pid_of(&task).unwrap();
    let sandbox = std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap();
    server.wait("both logs are written", |_| {
        let read = |name: &str| std::fs::read_to_string(sandbox.join(name)).unwrap_or_default();
        read("stdout").contains("hello from a file") && read("stderr").contains("to-stderr")
    });
    let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap();
    let environment: Vec<String> =
        environment.split(|it| *it == 0).map(|it| String::from_utf8_lossy(it).into_owned()).collect();
    for expected in ["MINE=yes", "MARATHON_APP_ID=/talker", "HOST=localhost", "MARATHON_APP_LABEL_TIER=web"] {
        assert!(environment.iter().any(|it| it == expected), "{expected} is not in {environment:?}");
    }
}

#[test]
fn what_tasks_wrote_is_read_over_the_api() {
    let mut server = Server::start();
    let cmd = "echo begun; echo oops >&2; mkdir conf; echo x > conf/a; ln -s /etc/passwd out; sleep 1000";
    server.change("POST", "/v2/apps", json!({"id": "/log", "cmd": cmd, "cpus": 0.1, "mem": 32}));
    server.wait_idle();
    let task = server.running("/log")[0]["id"].as_str().unwrap().to_owned();
    let read = |server: &Server, path: &str| {
        server.request("GET", &format!("/v2/tasks/{task}/files/read?path={path}"), &[], "")
    };
    server.wait("its output is there", |it| read(it, "out").status == 403);
    assert_eq!(read(&server, "stdout").json()["data"], "begun\n");
    assert_eq!(read(&server, "conf/a").json()["data"], "x\n");
    let listing = server.get(&format!("/v2/tasks/{task}/files"));
    let names: Vec<&Value> = listing["entries"].as_array().unwrap().iter().map(|it| &it["name"]).collect();
    assert_eq!(names, ["conf", "out", "stderr", "stdout"]);
    // By the id of its instance, too.
    let instance = task.rsplit_once("._app").unwrap().0;
    let url = format!("/v2/tasks/{instance}/files/download?path=stderr");
    let answer = server.request("GET", &url, &[("Range", "bytes=1-")], "");
    assert_eq!((answer.status, answer.text().as_str()), (206, "ops\n"));

    // A container of a pod, and the pod as a whole, whose volume the container links to.
    let pod = json!({
        "id": "/pod", "volumes": [{"name": "data"}],
        "containers": [{
            "name": "one", "resources": {"cpus": 0.1, "mem": 32},
            "volumeMounts": [{"name": "data", "mountPath": "data"}],
            "exec": {"command": {"shell": "echo shared > data/f; echo pod; sleep 1000"}}
        }]
    });
    server.change("POST", "/v2/pods", pod);
    server.wait_idle();
    let status = server.get("/v2/pods//pod::status");
    let instance = status["instances"][0]["id"].as_str().unwrap();
    let container = status["instances"][0]["containers"][0]["containerId"].as_str().unwrap();
    for (of, path, want) in [
        (container, "stdout", "pod\n"),
        (container, "data/f", "shared\n"),
        (instance, "containers/one/stdout", "pod\n"),
        (instance, "volumes/data/f", "shared\n"),
    ] {
        let path = format!("/v2/tasks/{of}/files/read?path={path}");
        server.wait(&path, |it| it.request("GET", &path, &[], "").status == 200);
        server.wait(&path, |it| it.get(&path)["data"] == want);
    }

    // The sandbox outlives the task, its app, and the server.
    server.change("DELETE", "/v2/apps//log", Value::Null);
    server.wait_idle();
    server.kill();
    server.start_again();
    let answer = read(&server, "stdout").json();
    assert_eq!((&answer["data"], &answer["ended"]), (&json!("begun\n"), &json!(true)));
}
