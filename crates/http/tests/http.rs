//! Real connections, raw bytes; only the loop behind the server is made up.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::{BTreeMap, VecDeque};
use std::io::Read;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use common::settings;
use imbl::{OrdMap, Vector};
use marathon_http::hub::notice;
use marathon_http::{Asker, EventHub, Http, Logging, Refused, Settings, serve};
use marathon_model::app::AppSpec;
use marathon_model::command::{Command, Refusal, Reply};
use marathon_model::group::Group;
use marathon_model::id::{AgentId, DeploymentId, InstanceId, PathId, TaskId};
use marathon_model::instance::{Agent, Condition, Goal, Instance, Part, Task};
use marathon_model::notice::What;
use marathon_model::offer::TaskState;
use marathon_model::pod::{Pod, PodContainer};
use marathon_model::preview::{Outcome, Preview};
use marathon_model::resources::Amounts;
use marathon_model::time::Timestamp;
use marathon_model::view::{App, Tally, View};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Default)]
struct Loop {
    commands: Mutex<Vec<Command>>,
    replies: Mutex<VecDeque<Reply>>,
    /// Requests to answer later.
    held: Mutex<Vec<oneshot::Sender<Reply>>>,
    hold: Mutex<bool>,
    full: Mutex<bool>,
    abdications: AtomicUsize,
}

struct Server {
    address: std::net::SocketAddr,
    hub: Arc<EventHub>,
    inner: Arc<Loop>,
    http: Arc<Http>,
    stop: Option<oneshot::Sender<()>>,
    task: tokio::task::JoinHandle<()>,
}

struct Levels(Mutex<BTreeMap<String, String>>);

impl Logging for Levels {
    fn levels(&self) -> Vec<(String, String)> {
        self.0.lock().unwrap().clone().into_iter().collect()
    }
    fn set(&self, logger: &str, level: &str, _: Option<Duration>) -> Result<(), String> {
        self.0.lock().unwrap().insert(logger.to_owned(), level.to_uppercase());
        Ok(())
    }
}

fn app(id: &str) -> (PathId, Arc<App>) {
    let id = PathId::parse(id).unwrap();
    let mut spec = AppSpec::new(id.clone());
    spec.cmd = Some("sleep 100".into());
    spec.version = Timestamp(1000);
    let spec = Arc::new(spec);
    let app = App {
        id: id.clone(),
        spec: Some(spec.clone()),
        history: Vector::from(vec![(Timestamp(1000), Some(spec))]),
        instances: OrdMap::new(),
        tally: Tally::default(),
        failure: None,
        delay: None,
        deployments: Vec::new(),
        waiting: None,
        readiness: Default::default(),
        revision: 1,
    };
    (id, Arc::new(app))
}

/// A pod of one container with one running instance.
fn pod() -> (PathId, Arc<App>) {
    let (id, app) = app("/pod-0");
    let mut spec = AppSpec::clone(app.spec.as_ref().unwrap());
    spec.cmd = None;
    spec.pod = Some(Arc::new(Pod {
        containers: vec![PodContainer {
            name: "web".into(),
            exec: None,
            resources: Amounts::default(),
            resource_limits: None,
            endpoints: Vec::new(),
            image: None,
            env: BTreeMap::new(),
            user: None,
            labels: BTreeMap::new(),
            artifacts: Vec::new(),
            tty: None,
            health: None,
            check: None,
            mounts: Vec::new(),
            kill_grace: None,
            linux: None,
        }],
        volumes: Vec::new(),
        linux: None,
        legacy_shared_cgroups: None,
    }));
    let spec = Arc::new(spec);
    let mut app = App::clone(&app);
    let instance = instance();
    app.history = Vector::from(vec![(Timestamp(1000), Some(spec.clone()))]);
    app.instances.insert(instance.id.uuid, Arc::new(instance));
    app.spec = Some(spec);
    (id, Arc::new(app))
}

fn instance() -> Instance {
    let id = InstanceId::parse(INSTANCE).unwrap();
    let part = Part {
        name: "web".into(),
        state: Some(TaskState::Running),
        since: Timestamp(2000),
        started_at: Some(Timestamp(2000)),
        message: None,
        check: None,
    };
    let task = Task {
        id: TaskId { instance: id.clone(), container: None, incarnation: 1 },
        state: Some(TaskState::Running),
        staged_at: Timestamp(1500),
        started_at: Some(Timestamp(2000)),
        resources: Amounts::default(),
        ports: Vec::new(),
        addresses: Vec::new(),
        check: None,
        unreachable_since: None,
        parts: vec![part],
    };
    let agent = Agent {
        id: AgentId::new("S1"),
        host: "agent-1".into(),
        region: None,
        zone: None,
        attributes: Arc::default(),
    };
    Instance {
        id,
        goal: Goal::Running,
        condition: Condition::Running,
        since: Timestamp(2000),
        version: Timestamp(1000),
        config: Timestamp::default(),
        role: "*".into(),
        incarnation: 1,
        agent: Some(Arc::new(agent)),
        task: Some(task),
        health: Vec::new(),
        ready: true,
        reservation: None,
    }
}

const INSTANCE: &str = "pod-0.instance-0c1e6f10-7ccb-11eb-9a1c-0242ac110002";

fn view(apps: usize) -> View {
    let mut view = View::default();
    let root =
        Group { id: PathId::root(), dependencies: vec![], enforce_role: false, version: Timestamp(1000) };
    view.groups.insert(PathId::root(), Arc::new(root));
    // The pod lies among the apps and must be seen by none who asks for apps.
    view.apps = (0..apps).map(|n| app(&format!("/app-{n}"))).chain([pod()]).collect();
    view
}

async fn start_with(settings: Settings, apps: usize, outstanding: usize) -> Server {
    let inner = Arc::new(Loop::default());
    let asker = Asker::new({
        let inner = inner.clone();
        move |command, reply| {
            if *inner.full.lock().unwrap() {
                return Err(Refused::Full);
            }
            inner.commands.lock().unwrap().push(command);
            if *inner.hold.lock().unwrap() {
                inner.held.lock().unwrap().push(reply);
                return Ok(());
            }
            let next = inner.replies.lock().unwrap().pop_front();
            if let Some(next) = next {
                let _ = reply.send(next);
            }
            Ok(())
        }
    });
    let hub = Arc::new(EventHub::new(outstanding, 1));
    let levels = Levels(Mutex::new([("ROOT".to_owned(), "INFO".to_owned())].into()));
    let abdicate = {
        let inner = inner.clone();
        move || {
            inner.abdications.fetch_add(1, Ordering::SeqCst);
        }
    };
    let views = Arc::new(ArcSwap::from_pointee(view(apps)));
    let http = Arc::new(Http::new(views, asker, hub.clone(), settings, Box::new(levels), Box::new(abdicate)));
    http.set_ready();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(serve(listener, http.clone(), async {
        let _ = stopped.await;
    }));
    Server { address, hub, inner, http, stop: Some(stop), task }
}

async fn start() -> Server {
    start_with(settings(), 2, 100).await
}

#[derive(Debug)]
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(it, _)| it == name).map(|(_, value)| value.as_str())
    }
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    async fn connect(server: &Server) -> Client {
        Client { stream: TcpStream::connect(server.address).await.unwrap(), buffer: Vec::new() }
    }

    async fn write(&mut self, text: &[u8]) {
        // The server may have hung up already, which the answer will show.
        let _ = self.stream.write_all(text).await;
    }

    /// Reads on until `done` finds what it looks for; false at the end of the stream.
    async fn until(&mut self, done: impl Fn(&[u8]) -> bool) -> bool {
        let mut piece = [0; 16 * 1024];
        let end = tokio::time::Instant::now() + PATIENCE;
        while !done(&self.buffer) {
            let read = tokio::time::timeout_at(end, self.stream.read(&mut piece)).await;
            let read = read.unwrap_or_else(|_| {
                panic!("no answer in {}", String::from_utf8_lossy(&self.buffer[..self.buffer.len().min(800)]))
            });
            match read {
                Ok(0) | Err(_) => return false,
                Ok(n) => self.buffer.extend_from_slice(&piece[..n]),
            }
        }
        true
    }

    async fn head(&mut self) -> Option<Answer> {
        if !self.until(|it| find(it, b"\r\n\r\n").is_some()).await {
            return None;
        }
        let end = find(&self.buffer, b"\r\n\r\n").unwrap();
        let head = String::from_utf8(self.buffer.drain(..end + 4).collect()).unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines
            .filter_map(|it| it.split_once(": "))
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect();
        Some(Answer { status, headers, body: Vec::new() })
    }

    async fn answer(&mut self, is_head: bool) -> Option<Answer> {
        let mut answer = self.head().await?;
        let length = answer.header("content-length").and_then(|it| it.parse::<usize>().ok()).unwrap_or(0);
        if !is_head {
            assert!(self.until(|it| it.len() >= length).await, "the body is cut short");
            answer.body = self.buffer.drain(..length).collect();
        }
        Some(answer)
    }

    async fn ask(&mut self, method: &str, path: &str, headers: &str, body: &str) -> Answer {
        let length =
            if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        let headers: String =
            headers.split('|').filter(|it| !it.is_empty()).map(|it| format!("{it}\r\n")).collect();
        self.write(
            format!("{method} {path} HTTP/1.1\r\nHost: h:1\r\n{headers}{length}\r\n{body}").as_bytes(),
        )
        .await;
        self.answer(method == "HEAD").await.expect("an answer")
    }
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|it| it == part)
}

impl Server {
    /// One request on a connection of its own. Headers are separated by `|`.
    async fn ask(&self, line: &str, headers: &str, body: &str) -> Answer {
        let (method, path) = line.split_once(' ').unwrap();
        Client::connect(self).await.ask(method, path, headers, body).await
    }

    fn reply(&self, reply: Reply) {
        self.inner.replies.lock().unwrap().push_back(reply);
    }

    fn last_command(&self) -> String {
        format!("{:?}", self.inner.commands.lock().unwrap().last().unwrap())
    }
}

/// `part` is looked for in the body.
#[track_caller]
fn expect(answer: &Answer, line: &str, status: u16, part: &str) {
    assert_eq!(answer.status, status, "{line}: {}", answer.text());
    assert!(answer.text().contains(part), "{line}: {}", answer.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn reads() {
    let server = start().await;
    for (line, headers, status, part) in [
        ("GET /ping", "", 200, "pong"),
        ("GET /ping", "Accept: application/json", 200, "\"pong\""),
        ("GET /ping", "Accept: image/png", 204, ""),
        ("GET /v2/apps", "", 200, r#"{"apps":[{"id":"/app-0""#),
        ("GET /v2/apps/?embed=apps.tasks", "", 200, r#""tasks":[]"#),
        ("GET /v2/apps?id=APP-1", "", 200, r#"{"apps":[{"id":"/app-1""#),
        ("GET /v2/apps?cmd=nothing", "", 200, r#"{"apps":[]}"#),
        ("GET /v2/apps?label=a%3D%3Db", "", 200, r#"{"apps":[]}"#),
        ("GET /v2/apps?label=a%3Db", "", 422, "Can not parse label selector"),
        ("GET /v2/apps//app-0", "", 200, r#"{"app":{"id":"/app-0""#),
        ("GET /v2/apps/app-0/", "Accept: */*", 200, r#"{"app":{"#),
        ("GET /v2/apps/nope", "", 404, "App '/nope' does not exist"),
        ("GET /v2/apps/NOPE", "", 404, "App '/NOPE' does not exist"),
        ("GET /v2/apps/*", "", 200, r#"{"*":[{"#),
        ("GET /v2/apps/x/*", "", 404, "Group '/x' does not exist"),
        ("GET /v2/apps/app-0/versions", "", 200, r#"{"versions":["1970-01-01T00:00:01.000Z"]}"#),
        ("GET /v2/apps/app-0/versions/1970-01-01T00:00:01.000Z", "", 200, r#"{"id":"/app-0""#),
        ("GET /v2/apps/app-0/versions/yesterday", "", 422, "Invalid timestamp provided 'yesterday'"),
        ("GET /v2/apps/app-0/tasks", "", 200, r#"{"tasks":[]}"#),
        ("GET /v2/apps/app-0/tasks", "Accept: text/plain", 200, "app-0\t"),
        ("GET /v2/tasks", "", 200, r#"{"tasks":[]}"#),
        ("GET /v2/tasks", "Accept: text/plain", 200, "app-0\t \t"),
        ("GET /v2/groups", "", 200, r#"{"id":"/""#),
        ("GET /v2/groups/apps", "", 200, r#"[{"id":"/app-0""#),
        ("GET /v2/groups/nope", "", 404, "Group '/nope' does not exist"),
        ("GET /v2/deployments", "", 200, "[]"),
        ("GET /v2/queue", "", 200, r#"{"queue":[]}"#),
        ("GET /v2/info", "", 200, r#""leader":"box:8080""#),
        ("GET /v2/leader", "", 200, r#"{"leader":"box:8080"}"#),
        ("GET /v2/apps/pod-0", "", 404, "App '/pod-0' does not exist"),
        ("GET /v2/apps/pod-0/tasks", "", 404, "App '/pod-0' does not exist"),
        ("GET /v2/apps/pod-0/tasks", "Accept: text/plain", 404, "App '/pod-0' does not exist"),
        ("GET /v2/apps/pod-0/versions", "", 404, "App '/pod-0' does not exist"),
        ("GET /v2/apps?id=pod", "", 200, r#"{"apps":[]}"#),
        (
            "GET /v2/groups?embed=group.pods",
            "",
            200,
            r#"{"id":"/","apps":[],"pods":[{"id":"/pod-0","spec":{"#,
        ),
        ("GET /metrics", "", 200, r#""marathon.pods.active.gauge":{"value":1.0}"#),
        ("GET /metrics", "", 200, r#""marathon.apps.active.gauge":{"value":2.0}"#),
        ("GET /v2/pods", "", 200, r#"[{"id":"/pod-0","version":"1970-01-01T00:00:01.000Z","containers":["#),
        ("GET /v2/pods//pod-0", "", 200, r#"{"id":"/pod-0","version""#),
        (
            "GET /v2/pods/nope",
            "",
            404,
            r#"{"message":"{\"message\": \"pod with /nope does not exist\"}","details":[]}"#,
        ),
        ("GET /v2/pods/app-0", "", 404, "pod with /app-0 does not exist"),
        ("GET /v2/pods/::status", "", 200, r#"[{"id":"/pod-0","spec":{"id":"/pod-0","#),
        ("GET /v2/pods/pod-0::status", "", 200, r#""status":"STABLE""#),
        ("GET /v2/pods/pod-0::versions", "", 200, r#"["1970-01-01T00:00:01.000Z"]"#),
        ("GET /v2/pods/pod-0::versions/1970-01-01T00:00:01.000Z", "", 200, r#"{"id":"/pod-0""#),
        ("GET /v2/pods/pod-0::versions/1970-01-01T00:00:02.000Z", "", 404, "Pod '/pod-0' does not exist in"),
        ("GET /v2/pods/pod-0::versions/yesterday", "", 422, "Invalid timestamp provided 'yesterday'"),
        ("GET /v2/pods/pod-0::instances", "", 200, r#"[{"instanceId":"pod-0.instance-0c1e6f10"#),
        (
            "GET /v2/pods/pod-0::instances/pod-0.instance-0c1e6f10-7ccb-11eb-9a1c-0242ac110002",
            "",
            200,
            r#"{"instanceId":"pod-0.instance-0c1e6f10"#,
        ),
        (
            "GET /v2/pods/pod-0::instances/pod-0.instance-0c1e6f10-7ccb-11eb-9a1c-0242ac110003",
            "",
            404,
            "Task 'pod-0.instance-0c1e6f10-7ccb-11eb-9a1c-0242ac110003' does not exist",
        ),
        ("GET /v2/pods/pod-0::instances/x", "", 422, "Invalid instance id 'x'"),
        ("GET /v2/pods//x/y::status", "", 404, "Pod '/x/y' does not exist"),
        ("PATCH /v2/pods/x", "", 405, "Method Not Allowed"),
        ("GET /v2/plugins", "", 200, r#"{"plugins":[]}"#),
        ("POST /v2/plugins/auth/x/y", "", 404, "No plugin with this pluginId: auth"),
        ("GET /metrics", "", 200, r#""marathon.apps.active.gauge":{"value":2.0}"#),
        (
            "GET /metrics/prometheus",
            "",
            200,
            "# TYPE marathon_apps_active_gauge gauge\nmarathon_apps_active_gauge 2.0\n",
        ),
        ("GET /logging", "", 200, r#"{"ROOT":"INFO"}"#),
        ("GET /config", "", 200, r#"{"http_port":"8080","zk":null}"#),
        ("GET /", "", 302, ""),
        // With and without the interface in it.
        ("GET /ui/", "Accept: text/html", 200, "<title>Marathon</title>"),
        ("GET /ui/nope.js", "", 404, "URI not found: /ui/nope.js"),
        ("GET /help", "", 200, "curl"),
        ("GET /v2/apps", "Accept: text/html", 406, "Not Acceptable"),
        ("GET /v2/apps", "Accept: text/html,*/*;q=0.8", 200, "apps"),
        ("GET /v2/nope", "", 404, "URI not found: /v2/nope"),
        ("GET /v2/apps/%zz", "", 400, "not well-formed"),
        ("DELETE /ping", "", 405, "Method Not Allowed"),
        ("GET /v2/events", "", 405, "text/event-stream"),
    ] {
        expect(&server.ask(line, headers, "").await, line, status, part);
    }
}

fn deployed(created: bool) -> Reply {
    Reply::Deployed { version: Timestamp(5), deployment: DeploymentId(uuid::Uuid::nil()), created, app: None }
}

#[tokio::test(flavor = "multi_thread")]
async fn changes() {
    let server = start().await;
    let json = "Content-Type: application/json";
    let result =
        r#"{"version":"1970-01-01T00:00:00.005Z","deploymentId":"00000000-0000-0000-0000-000000000000"}"#;
    for (line, body, reply, status, part, command) in [
        ("POST /v2/apps", r#"{"id":"a","cmd":"x"}"#, deployed(true), 201, "", "edits: [(/a, Create("),
        ("PUT /v2/apps//a", r#"{"instances":2}"#, deployed(false), 200, result, "edits: [(/a, Merge("),
        ("PUT /v2/apps/a", r#"{"cmd":"x"}"#, deployed(true), 201, result, "force: false"),
        (
            "PUT /v2/apps/a?force=True&partialUpdate=false",
            r#"{"cmd":"x"}"#,
            deployed(false),
            200,
            result,
            "Replace(",
        ),
        ("PATCH /v2/apps/a?force=true", r#"{"cmd":"x"}"#, deployed(false), 200, result, "force: true"),
        ("PUT /v2/apps", r#"[{"id":"/a","cmd":"x"}]"#, deployed(false), 200, result, "Merge("),
        ("PATCH /v2/apps", r#"[{"id":"/a","cmd":"x"}]"#, deployed(false), 200, result, "origin: None"),
        ("DELETE /v2/apps/a", "", deployed(false), 200, result, "edits: [(/a, Delete)], force: true"),
        ("DELETE /v2/apps/a?force=False", "", deployed(false), 200, result, "force: false"),
        (
            "POST /v2/apps/a/b/restart",
            "",
            deployed(false),
            200,
            result,
            "edits: [(/a/b, Restart)], force: false",
        ),
        (
            "DELETE /v2/apps/a/tasks?host=h1",
            "",
            Reply::Killed(vec![]),
            200,
            r#"{"tasks":[]}"#,
            "host: Some(\"h1\")",
        ),
        (
            "DELETE /v2/apps/a/tasks?host=*&scale=true",
            "",
            deployed(false),
            200,
            result,
            "host: None }, scale: true",
        ),
        // A task that cannot be is one that is not there.
        (
            "DELETE /v2/apps/app-0/tasks/nonsense?scale=true",
            "",
            deployed(false),
            200,
            result,
            "Tasks([]), scale: true",
        ),
        (
            "POST /v2/tasks/delete?wipe=true",
            r#"{"ids":[]}"#,
            Reply::Killed(vec![]),
            200,
            "tasks",
            "wipe: true",
        ),
        ("POST /v2/groups", r#"{"id":"/g"}"#, deployed(false), 201, result, "create: true"),
        ("PUT /v2/groups/g", r#"{"scaleBy":2}"#, deployed(false), 200, result, "scale_by: Some(2.0)"),
        (
            "POST /v2/apps/a/restart?deadlineSeconds=5&maxFailures=0&onFailure=stop",
            "",
            deployed(false),
            200,
            result,
            "Guarded { guard: GuardUpdate { deadline: Some(5s), max_failures: Some(0), on_failure: Some(Stop)",
        ),
        ("PATCH /v2/groups/g", r#"{"enforceRole":true}"#, Reply::Done, 200, "", "enforce: Some(true)"),
        (
            "DELETE /v2/groups/?force=true",
            "",
            deployed(false),
            200,
            result,
            "DeleteGroup { group: /, force: true",
        ),
        (
            "DELETE /v2/deployments/00000000-0000-0000-0000-000000000000",
            "",
            deployed(false),
            200,
            result,
            "CancelDeployment",
        ),
        (
            "DELETE /v2/deployments/00000000-0000-0000-0000-000000000000?force=true",
            "",
            Reply::Done,
            202,
            "",
            "force: true",
        ),
        ("DELETE /v2/queue//a/b/delay", "", Reply::Done, 204, "", "ResetDelay { app: /a/b }"),
        (
            "DELETE /v2/apps/a/tasks/a.instance-0c1e6f10-7ccb-11eb-9a1c-0242ac110002._app.3",
            "",
            Reply::Killed(vec![]),
            404,
            "does not exist",
            "One {",
        ),
        (
            "PUT /v2/apps/a",
            "{}",
            Reply::Refused(Refusal::Locked { holders: vec![] }),
            409,
            "App is locked",
            "Merge",
        ),
    ] {
        server.reply(reply);
        let answer = server.ask(line, json, body).await;
        expect(&answer, line, status, part);
        assert!(server.last_command().contains(command), "{line}: {}", server.last_command());
        let deployment = answer.header("marathon-deployment-id");
        assert_eq!(deployment.is_some(), answer.text().contains("deploymentId"), "{line}");
        let location = answer.header("location");
        assert_eq!(location.is_some(), status == 201, "{line}");
        assert!(
            location.is_none_or(|it| it == "http://h:1/a" || it == "http://h:1/g"),
            "{line} {location:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_pods() {
    let server = start().await;
    let json = "Content-Type: application/json";
    let go = "Content-Type: application/json\r\nUser-Agent: Go-http-client/1.1";
    let body =
        r#"{"id":"/pod-0","containers":[{"name":"web","exec":{"command":{"shell":"x"}},"resources":{}}]}"#;
    let made = r#"{"id":"/pod-0","version":"1970-01-01T00:00:01.000Z","containers":[{"name":"web""#;
    let one = format!("DELETE /v2/pods/pod-0::instances/{INSTANCE}?wipe=true");
    let ids = format!(r#"["{INSTANCE}","pod-0.instance-0c1e6f10-7ccb-11eb-9a1c-0242ac110003"]"#);
    let killed = || Reply::Killed(vec![Arc::new(instance())]);
    for (line, headers, body, reply, status, part, command) in [
        ("POST /v2/pods?force=true", json, body, deployed(true), 201, made, "edit: Create("),
        ("POST /v2/pods?force=true", json, body, deployed(true), 201, made, "force: true"),
        ("PUT /v2/pods//pod-0", json, body, deployed(true), 200, made, "edit: Replace("),
        ("DELETE /v2/pods/pod-0", json, "", deployed(false), 202, "", "edit: Delete, force: false"),
        (
            "DELETE /v2/pods/x",
            json,
            "",
            Reply::Refused(Refusal::NoSuchPod(PathId::parse("/x").unwrap())),
            404,
            "Pod '/x' does not exist",
            "id: /x",
        ),
        (
            "POST /v2/pods",
            json,
            body,
            Reply::Refused(Refusal::PodExists(PathId::parse("/pod-0").unwrap())),
            409,
            "A pod with id [/pod-0] already exists.",
            "origin: Some(",
        ),
        (&one, json, "", killed(), 200, r#"{"instanceId":"pod-0.instance-"#, "wipe: true"),
        (&one, json, "", Reply::Killed(vec![]), 404, "Task 'pod-0.instance-", "Instances {"),
        (&one, go, "", killed(), 200, r#"{"instanceId":{"idString":"pod-0.instance-"#, "wipe: true"),
        (
            "DELETE /v2/pods/pod-0::instances",
            json,
            &ids,
            killed(),
            200,
            r#"[{"instanceId":"pod-0.instance-"#,
            // What is not there is left out.
            "instances: [pod-0.instance-0c1e6f10-7ccb-11eb-9a1c-0242ac110002] }, scale: false, wipe: false",
        ),
    ] {
        server.reply(reply);
        let answer = server.ask(line, headers, body).await;
        expect(&answer, line, status, part);
        assert!(server.last_command().contains(command), "{line}: {}", server.last_command());
        let id = "00000000-0000-0000-0000-000000000000";
        let changed = matches!(status, 201 | 202) || line.starts_with("PUT");
        assert_eq!(answer.header("marathon-deployment-id"), changed.then_some(id), "{line}");
        let location = match status {
            201 => Some("http://h:1/pod-0"),
            202 => Some("http://h:1/00000000-0000-0000-0000-000000000000"),
            _ => None,
        };
        assert_eq!(answer.header("location"), location, "{line}");
        assert!(status != 202 || answer.body.is_empty(), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_pods_that_never_reach_the_loop() {
    let server = start().await;
    let json = "Content-Type: application/json";
    let pod = r#"{"id":"/b","containers":[{"name":"web","exec":{"command":{"shell":"x"}},"resources":{}}]}"#;
    for (line, headers, body, status, part) in [
        ("POST /v2/pods", json, "{", 400, "Invalid JSON"),
        ("POST /v2/pods", json, "", 400, "Please specify data in JSON format"),
        ("POST /v2/pods", json, "{}", 422, r#""path":"/containers""#),
        ("POST /v2/pods", "Content-Type: text/plain", pod, 415, "Unsupported Media Type"),
        ("PUT /v2/pods/a", json, pod, 400, r#"{"message":"'/a' does not match definition's id ('/b')"}"#),
        ("PUT /v2/pods/A", json, pod, 422, r#""path":"/id""#),
        ("DELETE /v2/pods/A", json, "", 404, "Pod '/A' does not exist"),
        ("DELETE /v2/pods/pod-0::instances", json, r#"["x"]"#, 422, r#""path":"(0)""#),
        ("DELETE /v2/pods/pod-0::instances", json, "[]", 200, "[]"),
        ("DELETE /v2/pods/x::instances", json, "[]", 404, "Pod '/x' does not exist"),
        ("DELETE /v2/pods/pod-0::instances/x", json, "", 422, "Invalid instance id 'x'"),
        (
            "DELETE /v2/pods/pod-0::instances/a.instance-0c1e6f10-7ccb-11eb-9a1c-0242ac110002",
            json,
            "",
            404,
            "Task 'a.instance-",
        ),
    ] {
        let answer = server.ask(line, headers, body).await;
        expect(&answer, line, status, part);
    }
    assert!(server.inner.commands.lock().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_that_never_reach_the_loop() {
    let server = start().await;
    for (line, headers, body, status, part) in [
        ("POST /v2/apps", "", "", 400, "Please specify data in JSON format"),
        ("POST /v2/apps", "", "{", 400, "Invalid JSON"),
        (
            "POST /v2/apps",
            "Content-Type: application/x-www-form-urlencoded",
            "{}",
            415,
            "Unsupported Media Type",
        ),
        ("POST /v2/apps", "Content-Type: text/plain", "{}", 415, "Unsupported Media Type"),
        ("POST /v2/apps", "", "[]", 422, "error.expected.jsobject"),
        ("POST /v2/apps", "", r#"{"id":"a","cpus":"x"}"#, 422, "/cpus"),
        ("PUT /v2/apps/A_B", "", r#"{"cmd":"x"}"#, 422, "must fully match regular expression"),
        ("PUT /v2/apps", "", r#"[{"cmd":"x"}]"#, 422, "App Update must have app id set"),
        ("DELETE /v2/apps/A_B", "", "", 404, "App '/A_B' does not exist"),
        ("DELETE /v2/apps/a/tasks?scale=true&wipe=true", "", "", 400, "You cannot use scale and wipe"),
        ("DELETE /v2/apps/a/tasks/nonsense", "", "", 404, "Task 'nonsense' does not exist"),
        ("DELETE /v2/apps/a/tasks/nonsense?scale=true", "", "", 404, "App '/a' does not exist"),
        ("POST /v2/tasks/delete", "", r#"{"ids":["x"]}"#, 400, "Invalid task id 'x'"),
        ("POST /v2/tasks/delete", "", "{}", 422, "ids"),
        ("DELETE /v2/deployments/x", "", "", 404, "DeploymentPlan x does not exist"),
        ("DELETE /v2/queue/A_B/delay", "", "", 404, "not found in tasks queue"),
        ("POST /logging", "", r#"{"logger":"","level":"info"}"#, 422, "/logger"),
        ("POST /logging", "", r#"{"logger":"x","level":"loud"}"#, 422, "/level"),
        ("POST /logging", "", r#"{"logger":"x"}"#, 422, "/level"),
        (
            "POST /logging",
            "",
            r#"{"logger":"x","level":"Debug","durationSeconds":3}"#,
            200,
            r#""durationSeconds":3"#,
        ),
        ("DELETE /v2/leader?backup=s3://b/x", "", "", 422, "backup"),
        ("DELETE /v2/leader?dryRun=true", "", "", 422, "nothing has been done"),
    ] {
        expect(&server.ask(line, headers, body).await, line, status, part);
    }
    assert!(server.inner.commands.lock().unwrap().is_empty());
    assert!(server.http.logging.levels().contains(&("x".to_owned(), "DEBUG".to_owned())));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_or_vanished_loop_is_an_honest_503() {
    let server = start().await;
    // No reply is queued, so the sender is dropped.
    expect(&server.ask("DELETE /v2/apps/a", "", "").await, "", 504, "may or may not have been made");
    *server.inner.full.lock().unwrap() = true;
    let answer = server.ask("DELETE /v2/apps/a", "", "").await;
    expect(&answer, "", 503, "Too many changes");
    assert_eq!(answer.header("retry-after"), Some("1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_of_every_answer() {
    let server = start().await;
    for line in ["GET /ping", "GET /v2/apps", "GET /nope", "OPTIONS /v2/apps"] {
        let answer = server.ask(line, "Origin: http://x", "").await;
        for (name, value) in [
            ("cache-control", "no-cache, no-store, must-revalidate"),
            ("pragma", "no-cache"),
            ("expires", "0"),
            ("x-frame-options", "DENY"),
            ("x-xss-protection", "1; mode=block"),
            ("x-marathon-leader", "http://box:8080"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{line}");
        }
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }
    let options = server.ask("OPTIONS /v2/apps", "", "").await;
    assert_eq!(
        (options.status, options.header("allow")),
        (200, Some("GET, HEAD, POST, PUT, PATCH, OPTIONS"))
    );
    assert_eq!(server.ask("PUT /ping", "", "").await.header("allow"), Some("GET, HEAD, OPTIONS"));
}

#[tokio::test(flavor = "multi_thread")]
async fn head_is_get_without_a_body() {
    let server = start().await;
    for path in ["/ping", "/v2/apps", "/v2/apps/app-0", "/v2/apps/nope", "/v2/info", "/v2/pods", "/"] {
        let get = server.ask(&format!("GET {path}"), "", "").await;
        // Two on one connection: a stray body would be taken for the second answer.
        let mut client = Client::connect(&server).await;
        for _ in 0..2 {
            let head = client.ask("HEAD", path, "", "").await;
            assert_eq!(head.status, get.status, "{path}");
            if path != "/v2/pods" && !get.body.is_empty() {
                assert_eq!(head.header("content-length"), get.header("content-length"), "{path}");
                assert_eq!(head.header("content-type"), get.header("content-type"), "{path}");
            }
        }
        assert!(client.buffer.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_stay_open() {
    let server = start().await;
    let mut client = Client::connect(&server).await;
    for path in ["/ping", "/v2/apps", "/nope", "/v2/apps/nope", "/ping"] {
        client.ask("GET", path, "", "").await;
    }
    // Three requests in one packet.
    let one = "GET /ping HTTP/1.1\r\nHost: h\r\n\r\n";
    client.write(one.repeat(3).as_bytes()).await;
    for _ in 0..3 {
        assert_eq!(client.answer(false).await.unwrap().text(), "pong");
    }
    client.write(b"GET /ping HTTP/1.0\r\n\r\n").await;
    assert_eq!(client.answer(false).await.unwrap().status, 200);
    assert!(client.head().await.is_none(), "1.0 ends with its answer");
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords() {
    let credentials = Some(("ann".to_owned(), "s:p".to_owned()));
    let server = start_with(Settings { credentials, ..settings() }, 1, 100).await;
    let good = "Authorization: Basic YW5uOnM6cA==";
    for line in
        ["GET /ping", "GET /v2/apps", "OPTIONS /v2/apps", "GET /nope", "GET /metrics", "GET /v2/events"]
    {
        for headers in
            ["", "Authorization: Basic YW5uOg==", "Authorization: Bearer x", "Authorization: Basic"]
        {
            let answer = server.ask(line, headers, "").await;
            assert_eq!(answer.status, 401, "{line} {headers}");
            assert_eq!(answer.header("www-authenticate"), Some("Basic realm=\"Mesosphere\""));
        }
        assert_ne!(server.ask(line, good, "").await.status, 401, "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_at_a_time() {
    let server = start_with(Settings { concurrent_requests_max: Some(2), ..settings() }, 1, 100).await;
    *server.inner.hold.lock().unwrap() = true;
    let mut waiting = Vec::new();
    for _ in 0..2 {
        let mut client = Client::connect(&server).await;
        client.write(b"DELETE /v2/apps/a HTTP/1.1\r\nHost: h\r\n\r\n").await;
        waiting.push(client);
    }
    until(|| server.inner.held.lock().unwrap().len() == 2).await;
    let answer = server.ask("GET /ping", "", "").await;
    expect(&answer, "", 503, "Too many concurrent requests! Allowed: 2.");
    for sender in server.inner.held.lock().unwrap().drain(..) {
        sender.send(deployed(false)).unwrap();
    }
    for client in &mut waiting {
        assert_eq!(client.answer(false).await.unwrap().status, 200);
    }
    // Open streams do not count.
    let mut streams = Vec::new();
    for _ in 0..4 {
        let mut client = Client::connect(&server).await;
        client.write(b"GET /v2/events HTTP/1.1\r\nHost: h\r\nAccept: text/event-stream\r\n\r\n").await;
        assert_eq!(client.head().await.unwrap().status, 200);
        streams.push(client);
    }
    assert_eq!(server.ask("GET /ping", "", "").await.status, 200);
    let none = start_with(Settings { concurrent_requests_max: Some(0), ..settings() }, 1, 100).await;
    assert_eq!(none.ask("GET /ping", "", "").await.status, 503);
}

async fn until(holds: impl Fn() -> bool) {
    let wait = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("it never came true");
}

#[tokio::test(flavor = "multi_thread")]
async fn cross_origin() {
    let origins = |list: &[&str]| Some(list.iter().map(|it| (*it).to_owned()).collect());
    let listed =
        start_with(Settings { origins: origins(&["http://a", "http://b"]), ..settings() }, 1, 100).await;
    let any = start_with(Settings { origins: origins(&["*"]), ..settings() }, 1, 100).await;
    for (server, asked, want) in [
        (&listed, "Origin: http://a", Some("http://a")),
        (&listed, "Origin: http://b", Some("http://b")),
        (&listed, "Origin: http://c", None),
        (&listed, "", None),
        (&any, "Origin: http://c", Some("*")),
        (&any, "", Some("*")),
    ] {
        let headers = format!("{asked}|Access-Control-Request-Headers: X-A,X-B");
        let answer = server.ask("OPTIONS /v2/apps", &headers, "").await;
        assert_eq!(answer.header("access-control-allow-origin"), want, "{asked}");
        if want.is_some() {
            assert_eq!(answer.header("access-control-allow-methods"), Some("GET, HEAD, OPTIONS"));
            assert_eq!(answer.header("access-control-allow-headers"), Some("X-A, X-B"));
            assert_eq!(answer.header("access-control-max-age"), Some("86400"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn compression() {
    let server = start_with(settings(), 400, 100).await;
    let plain = server.ask("GET /v2/apps", "", "").await;
    assert_eq!(plain.header("content-encoding"), None);
    for _ in 0..2 {
        let packed = server.ask("GET /v2/apps", "Accept-Encoding: gzip", "").await;
        assert_eq!(packed.header("content-encoding"), Some("gzip"));
        assert_eq!(packed.header("vary"), Some("Accept-Encoding"));
        assert!(packed.body.len() < plain.body.len() / 4);
        let mut text = Vec::new();
        flate2::read::GzDecoder::new(&*packed.body).read_to_end(&mut text).unwrap();
        assert_eq!(text, plain.body);
    }
    let small = server.ask("GET /ping", "Accept-Encoding: gzip", "").await;
    assert_eq!(small.header("content-encoding"), None);
    let off = start_with(Settings { compression: false, ..settings() }, 400, 100).await;
    assert_eq!(off.ask("GET /v2/apps", "Accept-Encoding: gzip", "").await.header("content-encoding"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_have_a_bound() {
    let server = start().await;
    let mut client = Client::connect(&server).await;
    client.write(b"PUT /v2/apps/a HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999\r\n\r\n{").await;
    assert_eq!(client.answer(false).await.unwrap().status, 413);

    let mut client = Client::connect(&server).await;
    client.write(b"PUT /v2/apps/a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    let chunk = [b"100000\r\n".to_vec(), vec![b' '; 0x10_0000], b"\r\n".to_vec()].concat();
    for _ in 0..20 {
        client.write(&chunk).await;
    }
    // The server may close before all was sent; then the answer may be lost on the way, but no more.
    if let Some(answer) = client.answer(false).await {
        assert_eq!(answer.status, 413);
    }
    assert!(server.inner.commands.lock().unwrap().is_empty());

    let mut client = Client::connect(&server).await;
    client.write(b"GET /ping HTTP/1.1\r\nHost: h\r\n").await;
    client.write(format!("X: {}\r\n\r\n", "y".repeat(1 << 20)).as_bytes()).await;
    if let Some(answer) = client.answer(false).await {
        assert_eq!(answer.status, 431);
    }
    assert_eq!(server.ask("GET /ping", "", "").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_in_pieces() {
    let server = start().await;
    server.reply(deployed(false));
    let mut client = Client::connect(&server).await;
    client.write(b"PUT /v2/apps/a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    for piece in ["7\r\n{\"cmd\":\r\n", "3\r\n\"x\"\r\n", "1\r\n}\r\n", "0\r\n\r\n"] {
        client.write(piece.as_bytes()).await;
    }
    assert_eq!(client.answer(false).await.unwrap().status, 200);
    assert!(server.last_command().contains("cmd: Some(\"x\")"));
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_harms_nobody() {
    let server = start().await;
    for garbage in [
        &b"\r\n\r\n\r\n\r\n"[..],
        b"GET\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET http://[::1/x HTTP/1.1\r\n\r\n",
        b"GET /ping HTTP/9.9\r\n\r\n",
        b"POST /v2/apps HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /v2/apps HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
        b"POST /v2/apps HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
        b"POST /v2/apps HTTP/1.1\r\nContent-Length: 500\r\n\r\nshort",
        b"GET /ping HTTP/1.1\r\nHost: \xff\xff\r\nAccept: \xff\r\nAuthorization: \xff\r\nOrigin: \xff\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET * HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET http://other/v2/apps HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET /v2/apps/..%2f..%2f%2e%2e/etc HTTP/1.1\r\nHost: h\r\n\r\n",
    ] {
        let mut client = Client::connect(&server).await;
        client.write(garbage).await;
        let _ = client.stream.shutdown().await;
        client.until(|_| false).await;
        let text = String::from_utf8_lossy(&client.buffer).into_owned();
        assert!(!text.contains(" 500 "), "{garbage:?}: {text}");
    }
    assert_eq!(server.ask("GET /ping", "", "").await.status, 200);
}

async fn stream(server: &Server, path: &str, headers: &str) -> (Client, Answer) {
    let mut client = Client::connect(server).await;
    let head = format!("GET {path} HTTP/1.1\r\nHost: h\r\nAccept: text/event-stream\r\n{headers}\r\n");
    client.write(head.as_bytes()).await;
    let answer = client.head().await.unwrap();
    (client, answer)
}

#[tokio::test(flavor = "multi_thread")]
async fn events() {
    let server = start().await;
    let (mut client, head) =
        stream(&server, "/v2/events?plan-format=light", "Accept-Encoding: gzip\r\n").await;
    assert_eq!(head.header("content-type"), Some("text/event-stream;charset=UTF-8"));
    assert_eq!(head.header("connection"), Some("close"));
    assert_eq!(head.header("content-encoding"), None);
    assert_eq!(head.header("cache-control"), Some("no-cache, no-store, must-revalidate"));
    assert!(
        client
            .until(|it| find(it, b"event: event_stream_attached\r\ndata: {\"remoteAddress\":\"127.0.0.1\"")
                .is_some())
            .await
    );
    server.hub.publish(notice(What::SchedulerDisconnected));
    let frame =
        b"event: scheduler_disconnected_event\r\ndata: {\"eventType\":\"scheduler_disconnected_event\",";
    assert!(client.until(|it| find(it, frame).is_some()).await);
    assert!(client.until(|it| find(it, b"\"}\r\nid: 2\r\n\r\n").is_some()).await);

    let (mut picky, _) =
        stream(&server, "/v2/events?event_type=x&event_type=event_stream_detached", "").await;
    drop(client);
    assert!(picky.until(|it| find(it, b"event: event_stream_detached\r\n").is_some()).await);
    assert!(find(&picky.buffer, b"event_stream_attached").is_none());

    let (mut resumed, _) = stream(&server, "/v2/events", "Last-Event-ID: 1\r\n").await;
    assert!(resumed.until(|it| find(it, b"\"}\r\nid: 2\r\n\r\n").is_some()).await);
    let (mut lost, _) = stream(&server, "/v2/events", "Last-Event-ID: what\r\n").await;
    assert!(lost.until(|it| find(it, b"event: event_stream_gap\r\n").is_some()).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_does_not_read_is_cut_off() {
    let server = start_with(settings(), 1, 50).await;
    let (mut slow, _) = stream(&server, "/v2/events", "").await;
    let (mut quick, _) = stream(&server, "/v2/events", "").await;
    let reading = tokio::spawn(async move {
        quick.until(|it| find(&it[it.len().saturating_sub(400)..], b"\"the end\"").is_some()).await
    });
    until(|| server.hub.readers_now() == 2).await;
    // Far more than the buffers of both sockets hold, in steps that a reader keeps up with.
    let long = "x".repeat(60_000);
    let flood = async {
        while server.hub.readers_now() > 1 {
            server.hub.publish(notice(What::StreamAttached { remote: long.clone() }));
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, flood).await.expect("the slow reader was never cut off");
    server.hub.publish(notice(What::StreamAttached { remote: "the end".into() }));
    assert!(
        tokio::time::timeout(PATIENCE, reading).await.unwrap().unwrap(),
        "the quick reader lost its stream"
    );
    assert!(!slow.until(|_| false).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn stepping_down() {
    let server = start().await;
    let answer = server.ask("DELETE /v2/leader", "", "").await;
    expect(&answer, "", 200, r#"{"message":"Leadership abdicated","details":[]}"#);
    assert_eq!(server.inner.abdications.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_state_is_loaded() {
    let hub = Arc::new(EventHub::new(10, 1));
    let asker = Asker::new(|_, _| Err(Refused::Stopping));
    let levels = Box::new(Levels(Mutex::default()));
    let views = Arc::new(ArcSwap::from_pointee(View::default()));
    let http = Arc::new(Http::new(views, asker, hub.clone(), settings(), levels, Box::new(|| ())));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(serve(listener, http.clone(), std::future::pending()));
    let server = Server { address, hub, inner: Arc::default(), http, stop: None, task };
    assert_eq!(server.ask("GET /ping", "", "").await.status, 200);
    // Whoever asks for more waits until it is there, and is answered then.
    let mut early = Client::connect(&server).await;
    early.write(b"GET /v2/apps HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert_eq!(server.ask("GET /ping", "", "").await.status, 200);
    assert!(early.buffer.is_empty());
    server.http.set_ready();
    assert_eq!(early.answer(false).await.unwrap().status, 200);
    assert_eq!(server.ask("GET /v2/apps", "", "").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_lets_requests_end() {
    let mut server = start().await;
    *server.inner.hold.lock().unwrap() = true;
    let (mut events, _) = stream(&server, "/v2/events", "").await;
    let mut idle = Client::connect(&server).await;
    idle.ask("GET", "/ping", "", "").await;
    let mut busy = Client::connect(&server).await;
    busy.write(b"DELETE /v2/apps/a HTTP/1.1\r\nHost: h\r\n\r\n").await;
    until(|| server.inner.held.lock().unwrap().len() == 1).await;
    server.stop.take().unwrap().send(()).unwrap();
    assert!(!events.until(|_| false).await, "streams end");
    assert!(idle.head().await.is_none(), "idle connections end");
    let held = server.inner.held.lock().unwrap().pop().unwrap();
    held.send(deployed(false)).unwrap();
    assert_eq!(busy.answer(false).await.unwrap().status, 200);
    tokio::time::timeout(PATIENCE, server.task).await.expect("the server ends").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_can_be_looked_at_before() {
    let server = start().await;
    let json = "Content-Type: application/json";
    let app = r#"{"id":"/a","cmd":"x"}"#;
    let pod =
        r#"{"id":"/pod-0","containers":[{"name":"web","exec":{"command":{"shell":"x"}},"resources":{}}]}"#;
    let ids = format!(r#"["{INSTANCE}"]"#);
    let one_instance = format!("DELETE /v2/pods/pod-0::instances/{INSTANCE}");
    let line = "POST /v2/apps?dryRun=true";
    expect(&server.ask(line, json, app).await, line, 503, "This server cannot look ahead");
    let seen = Arc::new(Mutex::new(String::new()));
    server.http.previews.set({
        let seen = seen.clone();
        move |view, command| {
            *seen.lock().unwrap() = format!("{command:?}");
            assert_eq!(view.apps.len(), 3);
            if matches!(command, Command::ResetDelay { .. }) {
                return Err(Refusal::Locked { holders: vec![] });
            }
            Ok(Preview {
                steps: vec![],
                apps: vec![],
                groups: vec![],
                ends: vec![],
                peak: Default::default(),
                agents: 1,
                outcome: Outcome::Completes,
            })
        }
    });
    for (line, body, command) in [
        ("POST /v2/apps", app, "EditApps"),
        ("PUT /v2/apps/a", app, "Merge("),
        ("PATCH /v2/apps/a", app, "Patch("),
        ("PUT /v2/apps", &format!("[{app}]"), "EditApps"),
        ("PATCH /v2/apps", &format!("[{app}]"), "EditApps"),
        ("DELETE /v2/apps/a", "", "Delete"),
        ("POST /v2/apps/a/restart", "", "Restart"),
        ("DELETE /v2/apps/a/tasks?scale=true", "", "OfApp"),
        ("DELETE /v2/apps/a/tasks/a.instance-0c1e6f10-7ccb-11eb-9a1c-0242ac110002._app.3", "", "One {"),
        ("POST /v2/tasks/delete", r#"{"ids":[]}"#, "Tasks("),
        ("POST /v2/groups", r#"{"id":"/g"}"#, "create: true"),
        ("PUT /v2/groups/g?maxFailures=1", r#"{"scaleBy":2}"#, "Guarded {"),
        ("PATCH /v2/groups/g", r#"{"enforceRole":true}"#, "EnforceRole"),
        ("DELETE /v2/groups", "", "DeleteGroup"),
        ("DELETE /v2/groups/g", "", "DeleteGroup"),
        ("DELETE /v2/deployments/00000000-0000-0000-0000-000000000000", "", "CancelDeployment"),
        ("POST /v2/pods", pod, "Create("),
        ("PUT /v2/pods/pod-0", pod, "Replace("),
        ("DELETE /v2/pods/pod-0", "", "EditPod"),
        (&one_instance, "", "Instances {"),
        ("DELETE /v2/pods/pod-0::instances", &ids, "Instances {"),
    ] {
        let line = format!("{line}{}dryRun=true", if line.contains('?') { '&' } else { '?' });
        let answer = server.ask(&line, json, body).await;
        expect(&answer, &line, 200, r#"{"steps":[],"outcome":"completes","message":"Nothing changes.","#);
        assert_eq!(
            (answer.header("location"), answer.header("marathon-deployment-id")),
            (None, None),
            "{line}"
        );
        assert!(seen.lock().unwrap().contains(command), "{line}: {}", seen.lock().unwrap());
    }
    // Refused like the change itself; what is not understood is refused before.
    let line = "DELETE /v2/queue/a/delay?dryRun=true";
    expect(&server.ask(line, json, "").await, line, 409, "App is locked");
    let line = "POST /v2/apps?dryRun=true&maxfailures=1";
    expect(&server.ask(line, json, app).await, line, 422, "it is spelt 'maxFailures'");
    assert!(server.inner.commands.lock().unwrap().is_empty(), "nothing was asked of the loop");
}
