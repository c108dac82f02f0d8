//! HAProxy and nginx, with the files of `deploy/`, send a change to a leader once: when it breaks off, nobody knows
//! whether the change was made, and making it twice may do harm. What they say then must not be 503, which means
//! that nothing was done. An instance that is stopped costs no change. The instances are fakes, since a real one cannot be made to break off at will.
#![allow(clippy::unwrap_used)]

mod nets;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nets::schemes;

const PATIENCE: Duration = Duration::from_secs(20);
/// The last that is asked: a follower before it has refused the change.
const LEADER: usize = 2;
const NOBODY: usize = 9;

/// How a leader leaves a change that it has.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    Closed,
    Reset,
    HalfAnswered,
    /// It leads no longer, and says nothing.
    Deposed,
    /// It does not.
    Answered,
}

struct Fakes {
    ports: Vec<u16>,
    leads: AtomicUsize,
    fate: Mutex<Fate>,
    /// Changes that a leader got.
    got: Mutex<Vec<String>>,
    /// And those that others got, who would pass them on.
    followed: Mutex<Vec<String>>,
}

impl Fakes {
    fn start() -> Arc<Fakes> {
        let listeners: Vec<TcpListener> = (0..3).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let ports = listeners.iter().map(|it| it.local_addr().unwrap().port()).collect();
        let (fate, got, followed) = (Mutex::new(Fate::Closed), Mutex::default(), Mutex::default());
        let fakes = Arc::new(Fakes { ports, leads: AtomicUsize::new(LEADER), fate, got, followed });
        for (at, listener) in listeners.into_iter().enumerate() {
            let fakes = fakes.clone();
            std::thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let fakes = fakes.clone();
                    std::thread::spawn(move || fakes.answer(at, stream));
                }
            });
        }
        fakes
    }

    fn answer(&self, at: usize, stream: TcpStream) -> Option<()> {
        // No more than the head is taken from the socket, so that closing it can be a reset.
        let mut reader = BufReader::with_capacity(1, &stream);
        let (mut line, mut length) = (String::new(), 0);
        reader.read_line(&mut line).ok()?;
        loop {
            let mut field = String::new();
            reader.read_line(&mut field).ok()?;
            if field.trim().is_empty() {
                break;
            }
            if let Some(told) = field.to_ascii_lowercase().strip_prefix("content-length:") {
                length = told.trim().parse().ok()?;
            }
        }
        let leads = self.leads.load(Relaxed) == at;
        let whole = |status: &str| {
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}");
            (&stream).write_all(answer.as_bytes()).ok()
        };
        if line.starts_with("GET") || !leads {
            let mut body = vec![0; length];
            reader.read_exact(&mut body).ok()?;
            if !line.starts_with("GET") {
                let told = format!("{} {}", line.trim(), String::from_utf8_lossy(&body));
                self.followed.lock().unwrap().push(told);
            }
            return whole(if leads { "200 OK" } else { "503 Service Unavailable" });
        }
        self.got.lock().unwrap().push(line.trim().to_owned());
        let fate = *self.fate.lock().unwrap();
        if fate == Fate::Reset {
            // What was not read makes a reset of the end.
            return Some(());
        }
        reader.read_exact(&mut vec![0; length]).ok()?;
        match fate {
            Fate::HalfAnswered => {
                (&stream).write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{").ok()?
            }
            Fate::Deposed => {
                self.leads.store(NOBODY, Relaxed);
                // Until the other side goes away.
                let _ = (&stream).read(&mut [0]);
            }
            Fate::Answered => whole("200 OK")?,
            Fate::Closed | Fate::Reset => {}
        }
        Some(())
    }
}

struct Balancer {
    child: Child,
    port: u16,
}

impl Balancer {
    fn start(name: &str, instances: &[u16], folder: &Path) -> Balancer {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let here = |it: usize| format!("127.0.0.1:{}", instances[it]);
        let mut changes =
            vec![("10.0.0.1:8080", here(0)), ("10.0.0.2:8080", here(1)), ("10.0.0.3:8080", here(2))];
        let words = if name == "HAProxy" {
            changes.push(("bind :8080", format!("bind 127.0.0.1:{port}")));
            schemes::haproxy_words(&schemes::adapted("haproxy/haproxy.cfg", folder, &changes))
        } else {
            changes.push(("listen 8080", format!("listen 127.0.0.1:{port}")));
            schemes::nginx_words(&schemes::adapted("nginx/marathon.conf", folder, &changes), folder)
        };
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let balancer = Balancer { child: command.spawn().unwrap(), port };
        let began = Instant::now();
        // At first HAProxy holds all for leaders, and takes turns.
        while !(0..4).all(|_| balancer.ask("GET").starts_with("HTTP/1.1 200")) {
            assert!(began.elapsed() < PATIENCE, "{name} does not find the leader");
            std::thread::sleep(Duration::from_millis(20));
        }
        balancer
    }

    /// Whatever comes, and be it nothing.
    fn ask(&self, method: &str) -> String {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) else { return String::new() };
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = format!(
            "{method} /v2/apps/a HTTP/1.1\r\nHost: m\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: 14\r\n\r\n{{\"cmd\":\"true\"}}"
        );
        let mut answer = Vec::new();
        let _ = stream.write_all(request.as_bytes()).and_then(|()| stream.read_to_end(&mut answer));
        String::from_utf8_lossy(&answer).into_owned()
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        // In order, so that it ends its children.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

#[track_caller]
fn check(name: &str, fates: &[Fate]) {
    let fakes = Fakes::start();
    for (fate, method) in fates.iter().flat_map(|it| ["PUT", "POST", "DELETE"].map(|method| (*it, method))) {
        let folder = tempfile::tempdir().unwrap();
        // Anew each time: nobody is set aside because of the last one.
        fakes.leads.store(LEADER, Relaxed);
        let balancer = Balancer::start(name, &fakes.ports, folder.path());
        *fakes.fate.lock().unwrap() = fate;
        fakes.got.lock().unwrap().clear();
        let answer = balancer.ask(method);
        let got = fakes.got.lock().unwrap().clone();
        assert_eq!(got, [format!("{method} /v2/apps/a HTTP/1.1")], "{name}, {fate:?}: {answer}");
        let honest = match fate {
            // The half answer, which says itself that there is more.
            Fate::HalfAnswered => {
                answer.is_empty() || answer.ends_with('{') || answer.starts_with("HTTP/1.1 502")
            }
            Fate::Answered => answer.starts_with("HTTP/1.1 200"),
            Fate::Closed | Fate::Reset | Fate::Deposed => answer.starts_with("HTTP/1.1 502"),
        };
        assert!(honest, "{name}, {fate:?}, {method}: {answer}");
    }
}

#[test]
fn haproxy_sends_a_change_once() {
    check("HAProxy", &[Fate::Closed, Fate::Reset, Fate::HalfAnswered, Fate::Deposed]);
}

#[test]
fn nginx_sends_a_change_once() {
    // It has no checks, and so knows nothing of leaders that are deposed.
    check("nginx", &[Fate::Closed, Fate::Reset, Fate::HalfAnswered]);
}

#[test]
fn a_stopped_instance_costs_no_change() {
    for name in ["HAProxy", "nginx"] {
        let (fakes, folder) = (Fakes::start(), tempfile::tempdir().unwrap());
        *fakes.fate.lock().unwrap() = Fate::Answered;
        let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let balancer = Balancer::start(name, &[nobody, fakes.ports[1], fakes.ports[LEADER]], folder.path());
        for method in ["PUT", "POST", "DELETE", "PUT", "POST", "DELETE"] {
            let answer = balancer.ask(method);
            assert!(answer.starts_with("HTTP/1.1 200"), "{name}, {method}: {answer}");
        }
        assert_eq!(fakes.got.lock().unwrap().len(), 6);
    }
}

#[test]
fn while_nobody_leads_one_instance_gets_the_change_whole() {
    for name in ["HAProxy", "nginx"] {
        let (fakes, folder) = (Fakes::start(), tempfile::tempdir().unwrap());
        let balancer = Balancer::start(name, &fakes.ports, folder.path());
        fakes.leads.store(NOBODY, Relaxed);
        let answer = balancer.ask("PUT");
        assert!(answer.starts_with("HTTP/1.1 503") && answer.ends_with("{}"), "{name}: {answer}");
        let followed = fakes.followed.lock().unwrap().clone();
        assert_eq!(followed, ["PUT /v2/apps/a HTTP/1.1 {\"cmd\":\"true\"}"], "{name}");
    }
}
