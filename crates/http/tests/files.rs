//! Files of tasks over real connections and on a real disk; only the engine behind the server is made up.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use imbl::{OrdMap, Vector};
use marathon_files::{Answer as Told, Ask, FilePath, Files, Folder, Listing, Piece, Refused, Target, Whole};
use marathon_http::{Asker, EventHub, Http, Logging, Refused as Busy, serve};
use marathon_model::app::AppSpec;
use marathon_model::id::{AgentId, InstanceId, PathId, TaskId};
use marathon_model::instance::{Agent, Condition, Goal, Instance, Task};
use marathon_model::offer::TaskState;
use marathon_model::resources::Amounts;
use marathon_model::time::Timestamp;
use marathon_model::view::{App, Tally, View};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const PATIENCE: Duration = Duration::from_secs(20);
const INSTANCE: &str = "web.instance-0c1e6f10-7ccb-11eb-9a1c-0242ac110002";

/// Every task has the same folder, but those of agents that are away.
struct OneFolder(Folder);

impl OneFolder {
    fn answer<T: Send + 'static>(
        &self,
        of: &Target,
        found: impl FnOnce(&Folder) -> Result<T, Refused>,
    ) -> Told<T> {
        let answer = match of.task.incarnation {
            98 => Err(Refused::Unavailable("Agent 'S1' cannot be reached".to_owned())),
            99 => Err(Refused::TooSlow("Agent 'S1' did not answer in time".to_owned())),
            _ => found(&self.0),
        };
        Box::pin(std::future::ready(answer))
    }
}

impl Files for OneFolder {
    fn list(&self, of: &Target, path: &FilePath) -> Told<Listing> {
        self.answer(of, |it| it.list(path))
    }
    fn read(&self, of: &Target, path: &FilePath, ask: &Ask) -> Told<Piece> {
        self.answer(of, |it| it.read(path, ask))
    }
    fn open(&self, of: &Target, path: &FilePath) -> Told<Whole> {
        self.answer(of, |it| it.open(path))
    }
}

struct Levels;

impl Logging for Levels {
    fn levels(&self) -> Vec<(String, String)> {
        Vec::new()
    }
    fn set(&self, _: &str, _: &str, _: Option<Duration>) -> Result<(), String> {
        Ok(())
    }
}

struct Server {
    address: std::net::SocketAddr,
    dir: tempfile::TempDir,
    http: Arc<Http>,
}

/// One app, whose only instance runs its second task.
fn view(condition: Condition) -> View {
    let instance = InstanceId::parse(INSTANCE).unwrap();
    let agent = Agent {
        id: AgentId::new("S1"),
        host: "agent-1".into(),
        region: None,
        zone: None,
        attributes: Arc::default(),
    };
    let task = Task {
        id: TaskId { instance: instance.clone(), container: None, incarnation: 2 },
        state: Some(TaskState::Running),
        staged_at: Timestamp(1500),
        started_at: Some(Timestamp(2000)),
        resources: Amounts::default(),
        ports: Vec::new(),
        addresses: Vec::new(),
        check: None,
        unreachable_since: None,
        parts: Vec::new(),
    };
    let id = PathId::parse("/web").unwrap();
    let spec = Arc::new(AppSpec::new(id.clone()));
    let uuid = instance.uuid;
    let instance = Instance {
        id: instance,
        goal: Goal::Running,
        condition,
        since: Timestamp(2000),
        version: Timestamp(1000),
        config: Timestamp::default(),
        role: "*".into(),
        incarnation: 2,
        agent: Some(Arc::new(agent)),
        task: Some(task),
        health: Vec::new(),
        ready: true,
        reservation: None,
    };
    let app = App {
        id: id.clone(),
        spec: Some(spec.clone()),
        history: Vector::from(vec![(Timestamp(1000), Some(spec))]),
        instances: OrdMap::unit(uuid, Arc::new(instance)),
        tally: Tally::default(),
        failure: None,
        delay: None,
        deployments: Vec::new(),
        waiting: None,
        readiness: Default::default(),
        revision: 1,
    };
    View { apps: OrdMap::unit(id, Arc::new(app)), ..View::default() }
}

async fn start(has_files: bool) -> Server {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("conf")).unwrap();
    fs::write(dir.path().join("stdout"), "hello\n").unwrap();
    let views = Arc::new(ArcSwap::from_pointee(view(Condition::Running)));
    let asker = Asker::new(|_, _| Err(Busy::Full));
    let hub = Arc::new(EventHub::new(10, 1));
    let http = Arc::new(Http::new(views, asker, hub, common::settings(), Box::new(Levels), Box::new(|| ())));
    if has_files {
        http.files.set(Arc::new(OneFolder(Folder::new(dir.path().to_owned(), &[], None))));
    }
    http.set_ready();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(listener, http.clone(), std::future::pending()));
    Server { address, dir, http }
}

struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|it| it.strip_prefix(name)?.strip_prefix(": "))
    }
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

impl Server {
    async fn ask(&self, path: &str, headers: &str) -> Answer {
        self.request("GET", path, headers).await
    }

    async fn request(&self, method: &str, path: &str, headers: &str) -> Answer {
        let asking = async {
            let mut stream = TcpStream::connect(self.address).await.unwrap();
            let head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            let mut all = Vec::new();
            // A broken connection ends with what came before.
            let _ = stream.read_to_end(&mut all).await;
            all
        };
        let all = tokio::time::timeout(PATIENCE, asking).await.unwrap();
        let end = all.windows(4).position(|it| it == b"\r\n\r\n").unwrap();
        let head = String::from_utf8(all[..end].to_vec()).unwrap();
        let status = head[9..12].parse().unwrap();
        Answer { status, head, body: all[end + 4..].to_vec() }
    }

    fn append(&self, text: &[u8]) {
        use std::io::Write;
        let mut file = fs::File::options().append(true).open(self.dir.path().join("stdout")).unwrap();
        file.write_all(text).unwrap();
    }
}

fn url(task: &str, rest: &str) -> String {
    format!("/v2/tasks/{INSTANCE}{task}/files{rest}")
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals() {
    let server = start(true).await;
    fs::write(server.dir.path().join("ä \"b"), "x").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", server.dir.path().join("out")).unwrap();
    let of = |rest: &str| url("._app.2", rest);
    let named = |text: &str| text.replace("TASK", &format!("{INSTANCE}._app.2"));
    for (path, status, message) in [
        ("/v2/tasks/nonsense/files".to_owned(), 404, "Task 'nonsense' does not exist"),
        (
            "/v2/tasks/x.instance-0c1e6f10-7ccb-11eb-9a1c-0242ac110002/files".to_owned(),
            404,
            "Instance 'x.instance-0c1e6f10-7ccb-11eb-9a1c-0242ac110002' does not exist",
        ),
        (of("?path=../x"), 400, "path must not contain '..'"),
        (of("?path=%2e%2e"), 400, "path must not contain '..'"),
        (of("?path=a%00b"), 400, "path must not contain a NUL character"),
        (of("?path=/etc"), 404, "Task 'TASK' has no file 'etc'"),
        (of("?path=out"), 403, "'out' leads out of the sandbox of task 'TASK'"),
        (of("?path=stdout"), 400, "'stdout' of task 'TASK' is no directory"),
        (of("/read"), 400, "path must name a file, such as stdout"),
        (of("/read?path=conf"), 400, "'conf' of task 'TASK' is a directory, not a file"),
        (of("/read?path=no"), 404, "Task 'TASK' has no file 'no'"),
        (
            of("/read?path=stdout&offset=-2"),
            400,
            "offset must be a number of bytes, or -1 to be told the size, got '-2'",
        ),
        (of("/read?path=stdout&length=x"), 400, "length must be a number of bytes, got 'x'"),
        (of("/read?path=stdout&wait=1.5"), 400, "wait must be a number of seconds, got '1.5'"),
        (of("/download?path=/"), 400, "path must name a file, such as stdout"),
        (of("/download?path=out"), 403, "'out' leads out of the sandbox of task 'TASK'"),
        (url("._app.98", "/download?path=x"), 503, "Agent 'S1' cannot be reached"),
        (url("._app.99", ""), 504, "Agent 'S1' did not answer in time"),
    ] {
        let answer = server.ask(&path, "").await;
        assert_eq!((answer.status, &answer.json()["message"]), (status, &json!(named(message))), "{path}");
    }
    let early = start(false).await.ask(&of(""), "").await;
    assert_eq!((early.status, early.header("retry-after")), (503, Some("1")));
}

#[tokio::test(flavor = "multi_thread")]
async fn folders() {
    let server = start(true).await;
    fs::write(server.dir.path().join("conf/<b>"), "x").unwrap();
    let answer = server.ask(&url("", "?path=/"), "").await.json();
    assert_eq!(
        (&answer["task"], &answer["path"], &answer["truncated"]),
        (&json!(INSTANCE), &json!(""), &json!(false))
    );
    let names: Vec<_> =
        answer["entries"].as_array().unwrap().iter().map(|it| (&it["path"], &it["directory"])).collect();
    assert_eq!(names, [(&json!("conf"), &json!(true)), (&json!("stdout"), &json!(false))]);
    let answer = server.ask(&url("._app.2", "?path=conf/"), "").await;
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(answer.json()["entries"][0]["path"], "conf/<b>");
}

#[tokio::test(flavor = "multi_thread")]
async fn pieces() {
    let server = start(true).await;
    server.append("é".as_bytes());
    for (query, want) in [
        ("", json!({"data": "hello\né", "offset": 0, "next": 8, "size": 8})),
        ("&offset=2&length=2", json!({"data": "ll", "offset": 2, "next": 4, "size": 8})),
        ("&length=7", json!({"data": "hello\n", "offset": 0, "next": 6, "size": 8})),
        ("&offset=6&length=1", json!({"data": "\u{fffd}", "offset": 6, "next": 7, "size": 8})),
        ("&offset=-1", json!({"data": "", "offset": 8, "next": 8, "size": 8})),
        ("&offset=50", json!({"data": "", "offset": 50, "next": 50, "size": 8})),
    ] {
        let mut answer = server.ask(&url("._app.2", &format!("/read?path=stdout{query}")), "").await.json();
        assert!(answer["file"].is_string() && answer["restarted"] == false && answer["ended"] == false);
        for name in ["file", "restarted", "ended"] {
            answer.as_object_mut().unwrap().remove(name);
        }
        assert_eq!(answer, want, "{query}");
    }
    let ended = server.ask(&url("._app.1", "/read?path=stdout"), "").await.json();
    assert_eq!(ended["ended"], true);
    server.append(b"\xFF");
    for (accept, kind) in
        [("application/octet-stream", "application/octet-stream"), ("text/plain", "text/plain;charset=UTF-8")]
    {
        let headers = format!("Accept: {accept}\r\n");
        let answer = server.ask(&url("._app.2", "/read?path=stdout&offset=6"), &headers).await;
        assert_eq!((&answer.body[..], answer.header("content-type")), (&b"\xC3\xA9\xFF"[..], Some(kind)));
        assert_eq!((answer.header("x-file-next"), answer.header("x-file-size")), (Some("9"), Some("9")));
    }
    let answer = server.ask(&url("._app.2", "/read?path=stdout"), "Accept: text/html\r\n").await;
    assert_eq!(answer.status, 406);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_waits_for_more() {
    let server = Arc::new(start(true).await);
    let read = |rest: &str| {
        let (server, path) = (server.clone(), url("._app.2", &format!("/read?path=stdout{rest}")));
        tokio::spawn(async move { server.ask(&path, "").await.json() })
    };
    let first = read("&wait=8").await.unwrap();
    let next = format!("&offset={}&file={}&wait=8", first["next"], first["file"].as_str().unwrap());
    let waiting = read(&next);
    while server.http.files.waiting() == 0 {
        tokio::task::yield_now().await;
    }
    server.append(b"more");
    let second = waiting.await.unwrap();
    assert_eq!((&second["data"], &second["next"]), (&json!("more"), &json!(10)));

    // A rotation is news, and nothing before it is lost.
    server.append(b" and more");
    fs::rename(server.dir.path().join("stdout"), server.dir.path().join("stdout.1")).unwrap();
    fs::write(server.dir.path().join("stdout"), "new").unwrap();
    let next = |it: &Value| format!("&offset={}&file={}&wait=8", it["next"], it["file"].as_str().unwrap());
    let third = read(&next(&second)).await.unwrap();
    assert_eq!((&third["data"], &third["restarted"]), (&json!(" and more"), &json!(false)));
    let fourth = read(&next(&third)).await.unwrap();
    assert_eq!((&fourth["data"], &fourth["restarted"]), (&json!("new"), &json!(true)));

    // Nobody waits for a task that has ended.
    let waiting = read(&next(&fourth));
    while server.http.files.waiting() == 0 {
        tokio::task::yield_now().await;
    }
    server.http.views.store(Arc::new(view(Condition::Finished)));
    let last = waiting.await.unwrap();
    assert_eq!((&last["data"], &last["ended"]), (&json!(""), &json!(true)));
}

#[tokio::test(flavor = "multi_thread")]
async fn downloads() {
    let server = start(true).await;
    let bytes: Vec<u8> = (0..700_000u32).map(|it| (it % 251) as u8).collect();
    fs::write(server.dir.path().join("big ä"), &bytes).unwrap();
    let path = url("._app.2", "/download?path=big%20%C3%A4");
    let whole = server.ask(&path, "Accept-Encoding: gzip\r\n").await;
    assert!(whole.status == 200 && whole.body == bytes);
    for (name, want) in [
        ("content-length", "700000"),
        ("accept-ranges", "bytes"),
        ("content-type", "application/octet-stream"),
        ("content-disposition", "attachment; filename=\"big__\"; filename*=UTF-8''big%20%C3%A4"),
        ("x-content-type-options", "nosniff"),
    ] {
        assert_eq!(whole.header(name), Some(want));
    }
    let tag = whole.header("etag").unwrap();
    let modified = whole.header("last-modified").unwrap();
    for (headers, status, range) in [
        ("Range: bytes=699990-\r\n".to_owned(), 206, 699_990..700_000),
        ("Range: bytes=-5\r\n".to_owned(), 206, 699_995..700_000),
        ("Range: bytes=0-0\r\n".to_owned(), 206, 0..1),
        (format!("Range: bytes=5-9\r\nIf-Range: {tag}\r\n"), 206, 5..10),
        (format!("Range: bytes=5-9\r\nIf-Range: {modified}\r\n"), 206, 5..10),
        ("Range: bytes=5-9\r\nIf-Range: \"other\"\r\n".to_owned(), 200, 0..700_000),
        ("Range: bytes=0-1,4-5\r\n".to_owned(), 200, 0..700_000),
        ("Range: bytes=700000-\r\n".to_owned(), 416, 0..0),
    ] {
        let answer = server.ask(&path, &headers).await;
        assert_eq!(answer.status, status, "{headers}");
        match status {
            416 => assert_eq!(answer.header("content-range"), Some("bytes */700000")),
            _ => assert!(answer.body == bytes[range.clone()], "{headers}"),
        }
        if status == 206 {
            let want = format!("bytes {}-{}/700000", range.start, range.end - 1);
            assert_eq!(answer.header("content-range"), Some(want.as_str()));
        }
    }
    let head = server.request("HEAD", &path, "").await;
    assert_eq!((head.header("content-length"), head.body.len()), (Some("700000"), 0));
    fs::write(server.dir.path().join("empty"), "").unwrap();
    let empty = server.ask(&url("._app.2", "/download?path=empty"), "").await;
    assert_eq!((empty.status, empty.header("content-length"), empty.body.len()), (200, Some("0"), 0));
}
