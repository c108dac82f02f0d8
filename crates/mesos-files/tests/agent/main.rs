//! Against a master and an agent that answer as recorded from Mesos 1.11.
#![allow(clippy::unwrap_used)]

mod rotation;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use marathon_files::{Ask, FilePath, Files, Refused, Target};
use marathon_mesos_files::{Cluster, Login, MesosFiles, Settings};
use marathon_model::id::{AgentId, FrameworkId, TaskId};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

const FRAMEWORK: &str = "5709b078-89a2-4f6f-9b59-cf46413e6ab8-0000";
const AGENT: &str = "5709b078-89a2-4f6f-9b59-cf46413e6ab8-S0";
const APP: &str = "web.instance-0c1e6f10-7ccb-11eb-9a1c-0242ac110002._app.1";
const POD: &str = "web.instance-0c1e6f10-7ccb-11eb-9a1c-0242ac110002.one.1";

type Page = (u16, Vec<u8>);

/// One address plays both. `pages` says what a path with its query gets; anything else is 404.
struct Mesos {
    address: std::net::SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    files: MesosFiles,
}

fn decoded(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        out.push(char::from(u8::from_str_radix(&after[..2], 16).unwrap()));
        rest = &after[2..];
    }
    out + rest
}

async fn start(
    wants_login: bool,
    pages: impl Fn(&str, u16) -> Option<Page> + Send + Sync + 'static,
) -> Mesos {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (log, pages) = (asked.clone(), Arc::new(pages));
    tokio::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else { return };
            let (log, pages) = (log.clone(), pages.clone());
            tokio::spawn(async move { serve(stream, address.port(), wants_login, &log, &*pages).await });
        }
    });
    let login = Login { principal: "me".to_owned(), secret: b"hush".to_vec() };
    let settings = Settings { login: Some(login), ca_file: None };
    let cluster = Cluster { master: format!("http://{address}"), framework: FrameworkId::new(FRAMEWORK) };
    let files = MesosFiles::new(&settings, move || Some(cluster.clone())).unwrap();
    Mesos { address, asked, files }
}

async fn serve(
    stream: TcpStream,
    port: u16,
    wants_login: bool,
    log: &Mutex<Vec<String>>,
    pages: &(dyn Fn(&str, u16) -> Option<Page> + Send + Sync),
) {
    let mut stream = BufReader::new(stream);
    loop {
        let (mut line, mut first, mut known) = (String::new(), String::new(), false);
        loop {
            line.clear();
            if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
                return;
            }
            if first.is_empty() {
                first = line.clone();
            }
            known |= line.eq_ignore_ascii_case("authorization: Basic bWU6aHVzaA==\r\n");
            if line == "\r\n" {
                break;
            }
        }
        let path = decoded(first.split(' ').nth(1).unwrap());
        log.lock().unwrap().push(path.clone());
        let (status, body) = match wants_login && !known {
            true => (401, Vec::new()),
            false => pages(&path, port).unwrap_or((404, Vec::new())),
        };
        let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n", body.len());
        let done = stream.get_mut().write_all(&[head.as_bytes(), &body].concat()).await;
        if done.is_err() {
            return;
        }
    }
}

fn agents(port: u16) -> Page {
    let body = format!(
        r#"{{"slaves":[{{"id":"{AGENT}","hostname":"127.0.0.1","port":{port},"attributes":{{}},"pid":"slave(1)@127.0.0.1:{port}"}}],"recovered_slaves":[]}}"#
    );
    (200, body.into_bytes())
}

fn target(task: &str, knows_agent: bool) -> Target {
    let task = TaskId::parse(task).unwrap();
    let agent = knows_agent.then(|| AgentId::new(AGENT));
    Target { pod: task.container.is_some(), task, agent, host: None }
}

fn path(text: &str) -> FilePath {
    FilePath::parse(text).unwrap()
}

fn ask(offset: Option<u64>) -> Ask {
    Ask { offset, length: 100, file: None }
}

/// A log of ten bytes in a sandbox that is called so.
/// What an agent answers to a read of a file of text.
fn read(content: &[u8], query: &str) -> Option<Page> {
    let number = |name: &str| {
        let value = query.split('&').find_map(|it| it.strip_prefix(name)?.strip_prefix('='));
        value.map(|it| it.parse::<i64>().expect("a number"))
    };
    let offset = number("offset")?;
    let (from, length) = match usize::try_from(offset) {
        Err(_) => (content.len(), 0),
        Ok(offset) => (offset.min(content.len()), number("length").map_or(usize::MAX, |it| it as usize)),
    };
    let data = &content[from..from.saturating_add(length).min(content.len())];
    let data = String::from_utf8_lossy(data).replace('\n', "\\n");
    let offset = if offset < 0 { from as i64 } else { offset };
    Some((200, format!(r#"{{"data":"{data}","offset":{offset}}}"#).into_bytes()))
}

fn sandbox(name: &str, path: &str) -> Option<Page> {
    let text = |it: &str| Some((200, it.as_bytes().to_vec()));
    let rest = path.strip_prefix("/files/")?;
    let (what, rest) = rest.split_once("?path=")?;
    match (what, rest.strip_prefix(name)?) {
        ("browse", "") => Some((
            200,
            format!(
                r#"[{{"gid":"root","mode":"drwxr-xr-x","mtime":1795336332.0,"nlink":2,"path":"{name}/conf","size":4096,"uid":"root"}},{{"gid":"root","mode":"-rw-r--r--","mtime":1795336315.0,"nlink":1,"path":"{name}/stdout","size":10,"uid":"root"}}]"#
            )
            .into_bytes(),
        )),
        ("read", rest) if rest.starts_with("/stdout&") => read(b"to-stdout\n", rest),
        // A log that was rotated: the rest of the one before is eight bytes, read up to two.
        ("read", rest) if rest.starts_with("/app.log&") => read(b"new", rest),
        ("read", rest) if rest.starts_with("/app.log.1&") => read(b"12345old", rest),
        ("browse", "/stdout" | "/empty") => text("[]"),
        ("read", "/empty&offset=-1") => Some((400, b"Cannot read a directory.\n".to_vec())),
        ("browse" | "read", rest) if rest.starts_with("/out") => {
            Some((400, b"'/sandbox/out' is inaccessible.\n".to_vec()))
        }
        ("browse" | "read", rest) if rest.starts_with("/loop") => {
            Some((400, b"Failed to determine canonical path of '/loop': Too many levels\n".to_vec()))
        }
        ("read", "/secret&offset=0&length=100") => {
            Some((500, b"Failed to open file at '/secret': Permission denied.\n".to_vec()))
        }
        ("read", "/conf&offset=0&length=100") => Some((400, b"Cannot read a directory.\n".to_vec())),
        ("read", rest) if rest.starts_with("/raw&offset=0&") => Some((200, b"{\"data\":\"\xFF\xC3\",\"offset\":0}".to_vec())),
        ("download", "/stdout") => text("to-stdout\n"),
        _ => None,
    }
}

fn latest(executor: &str) -> String {
    format!("/frameworks/{FRAMEWORK}/executors/{executor}/runs/latest")
}

#[tokio::test]
async fn files_of_an_app() {
    for wants_login in [false, true] {
        let mesos = start(wants_login, |path, port| match path {
            _ if path == format!("/slaves?slave_id={AGENT}") => Some(agents(port)),
            _ => sandbox(&latest(APP), path),
        })
        .await;
        let (files, of) = (&mesos.files, target(APP, true));
        let listing = files.list(&of, &path("")).await.unwrap();
        let names: Vec<_> =
            listing.entries.iter().map(|it| (it.name.as_str(), it.directory, it.size)).collect();
        assert_eq!(names, [("conf", true, 4096), ("stdout", false, 10)]);
        for (offset, length, want) in [
            (Some(0), 100, ("to-stdout\n", 0, 10)),
            (Some(0), 3, ("to-", 0, 10)),
            (Some(10), 100, ("", 10, 10)),
            (Some(50), 100, ("", 50, 10)),
            (None, 100, ("", 10, 10)),
        ] {
            let piece = files.read(&of, &path("stdout"), &Ask { offset, length, file: None }).await.unwrap();
            assert_eq!((std::str::from_utf8(&piece.data).unwrap(), piece.offset, piece.size), want);
            assert!(piece.file.as_deref().is_some_and(|it| it.starts_with("10-")), "{:?}", piece.file);
            assert!(!piece.restarted);
        }
        // Who follows is told that the file began anew.
        let follow = Ask { file: Some("-".to_owned()), ..ask(Some(50)) };
        let piece = files.read(&of, &path("stdout"), &follow).await.unwrap();
        assert_eq!((&piece.data[..], piece.offset, piece.restarted), (&b"to-stdout\n"[..], 0, true));
        // But only once he has all of what came before, where that is still there.
        for (offset, want) in [(5, ("old", 5, false)), (8, ("new", 0, true))] {
            let follow = Ask { file: Some("-".to_owned()), ..ask(Some(offset)) };
            let piece = files.read(&of, &path("app.log"), &follow).await.unwrap();
            let text = std::str::from_utf8(&piece.data).unwrap();
            assert_eq!((text, piece.offset, piece.restarted), want);
            assert!(piece.restarted || piece.size > piece.offset + 3, "there is more to come");
        }
        assert_eq!(files.list(&of, &path("stdout")).await, Err(Refused::NotFolder));
        assert_eq!(files.list(&of, &path("empty")).await.map(|it| it.entries.len()), Ok(0));
        for (name, want) in [("out", Refused::LeadsOut), ("loop", Refused::NoFile)] {
            assert_eq!(files.read(&of, &path(name), &ask(Some(0))).await, Err(want.clone()));
            assert_eq!(files.list(&of, &path(name)).await, Err(want));
        }
        let secret = files.read(&of, &path("secret"), &ask(Some(0))).await;
        assert!(matches!(secret, Err(Refused::Denied(_))), "{secret:?}");
        let raw = files.read(&of, &path("raw"), &ask(Some(0))).await.unwrap();
        assert_eq!((&raw.data[..], raw.size), (&b"\xFF\xC3"[..], 2));
        assert_eq!(files.read(&of, &path("conf"), &ask(Some(0))).await, Err(Refused::IsFolder));
        assert_eq!(files.read(&of, &path("nope"), &ask(Some(0))).await, Err(Refused::NoFile));
        for (range, want) in [(0..10, "to-stdout\n"), (0..4, "to-s"), (3..10, "stdout\n")] {
            let whole = files.open(&of, &path("stdout")).await.unwrap();
            assert_eq!(whole.size, 10);
            let chunks: Vec<_> = whole.source.chunks(range).map(|it| it.unwrap()).collect().await;
            assert_eq!(chunks.concat(), want.as_bytes());
        }
        // The way to the sandbox was asked for once.
        let asked = mesos.asked.lock().unwrap();
        let found = asked.iter().filter(|it| it.starts_with("/slaves")).count();
        assert_eq!(found, if wants_login { 2 } else { 1 });
    }
}

#[tokio::test]
async fn sandboxes_are_found() {
    let executor = "instance-web.0c1e6f10-7ccb-11eb-9a1c-0242ac110002";
    let custom = format!("marathon-{APP}");
    let state = |executor: &str| {
        format!(
            r#"{{"frameworks":[],"completed_frameworks":[{{"id":"{FRAMEWORK}","executors":[],"completed_executors":[{{"id":"{executor}","directory":"/agent/runs/7"}}]}}]}}"#
        )
    };
    for (task, name, state) in [
        (APP, latest(APP), None),
        (APP, latest(&custom), None),
        (APP, "/agent/runs/7".to_owned(), Some(state(APP))),
        (POD, latest(executor) + "/tasks/" + POD, None),
        (POD, "/agent/runs/7/tasks/".to_owned() + POD, Some(state(executor))),
    ] {
        let (known, shown) = (name.clone(), state.clone());
        let mesos = start(false, move |path, port| match path {
            "/state" => Some((200, shown.clone()?.into_bytes())),
            _ if path.starts_with("/slaves") => Some(agents(port)),
            _ if path.starts_with("/tasks") => {
                let body = format!(
                    r#"{{"tasks":[{{"id":"{task}","name":"web","framework_id":"{FRAMEWORK}","executor_id":"","slave_id":"{AGENT}","state":"TASK_FINISHED"}}]}}"#
                );
                Some((200, body.into_bytes()))
            }
            _ => sandbox(&known, path),
        })
        .await;
        // The agent of a task that ended long ago is asked for, too.
        for knows_agent in [true, false] {
            let piece = mesos.files.read(&target(task, knows_agent), &path("stdout"), &ask(Some(0))).await;
            assert_eq!(&piece.unwrap_or_else(|error| panic!("{name}: {error}")).data[..], b"to-stdout\n");
        }
    }
}

#[tokio::test]
async fn what_is_away_is_said_so() {
    let of = target(APP, true);
    let list = |mesos: Mesos, of: Target| async move { mesos.files.list(&of, &path("")).await.unwrap_err() };
    // The agent has forgotten it.
    let mesos = start(false, |path, port| path.starts_with("/slaves").then(|| agents(port))).await;
    assert_eq!(list(mesos, of.clone()).await, Refused::NoSandbox);
    // The master has forgotten the agent.
    let mesos = start(false, |_, _| Some((200, b"{\"slaves\":[]}".to_vec()))).await;
    let text = format!("Agent '{AGENT}' is not known to the master any more");
    assert_eq!(list(mesos, of.clone()).await, Refused::Unavailable(text));
    // Nobody remembers the task.
    let mesos = start(false, |_, _| Some((200, b"{\"tasks\":[]}".to_vec()))).await;
    assert_eq!(list(mesos, target(APP, false)).await, Refused::NoSandbox);
    // The agent is gone, or is none.
    let mesos = start(false, |_, _| Some(agents(1))).await;
    let Refused::Unavailable(text) = list(mesos, of.clone()).await else { panic!() };
    assert!(text.starts_with("http://127.0.0.1:1 cannot be reached: "), "{text}");
    let mesos = start(false, |_, _| Some((200, b"<html>".to_vec()))).await;
    assert!(matches!(list(mesos, of.clone()).await, Refused::Unavailable(_)));
    // An answer without end.
    let long = vec![b' '; 9 << 20];
    let mesos = start(false, move |path, port| match path.starts_with("/slaves") {
        true => Some(agents(port)),
        false => Some((200, long.clone())),
    })
    .await;
    let address = mesos.address;
    let text = format!("The answer of http://{address} is larger than 8388608 bytes");
    assert_eq!(list(mesos, of.clone()).await, Refused::Unavailable(text));
    // Only its name leads to the agent.
    let mesos = start(false, |path, port| match path.starts_with("/slaves") {
        true => {
            let (status, body) = agents(port);
            let body = String::from_utf8(body).unwrap();
            let body = body.replace("slave(1)@127.0.0.1:", "slave(1)@[::2]:");
            Some((status, body.into_bytes()))
        }
        false => sandbox(&latest(APP), path),
    })
    .await;
    assert_eq!(mesos.files.list(&of, &path("")).await.unwrap().entries.len(), 2);
    // No master at all.
    let files = MesosFiles::new(&Settings::default(), || None).unwrap();
    assert!(matches!(files.list(&of, &path("")).await, Err(Refused::Unavailable(_))));
    assert_eq!(files.look(), Duration::from_secs(1));
}
