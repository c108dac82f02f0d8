//! The life of one container: image, create, attach, start, wait, remove.

use std::convert::Infallible;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;

use crate::api::{Docker, Inspection};
use crate::body::{self, Body};
use crate::logs::Output;
use crate::registry::{self, Reference};
use crate::report::Reports;
use crate::spec::{RunSpec, Said, exit};
use crate::wire::DockerError;

/// After the end the last output is at most this far away.
const LAST_OUTPUT: Duration = Duration::from_secs(10);
/// How long a removal is tried; what is left over is removed by the server.
const REMOVAL: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(250);
/// How often an ignored SIGKILL is repeated.
const AGAIN: Duration = Duration::from_secs(5);

const USAGE: &str = "usage: marathon docker-run --spec FILE [--remove-spec]";

/// `marathon docker-run`: runs the container of a spec and gives the exit code for the process.
///
/// `--remove-spec` deletes the file once it is read, since it may hold secrets.
pub fn main(args: &[String]) -> i32 {
    let reports = Reports::open();
    match start(args, &reports) {
        Ok(code) => code,
        Err(message) => {
            reports.say(&Said::Failed { message: message.clone() });
            let _ = std::io::Write::write_all(
                &mut std::io::stderr(),
                format!("marathon: {message}\n").as_bytes(),
            );
            exit::FAILED
        }
    }
}

fn start(args: &[String], reports: &Reports) -> Result<i32, String> {
    let spec = read_spec(args)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|it| format!("no runtime: {it}"))?;
    runtime.block_on(run(&spec, reports))
}

fn read_spec(args: &[String]) -> Result<RunSpec, String> {
    let (mut path, mut remove) = (None, false);
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--spec" => path = Some(PathBuf::from(args.next().ok_or(USAGE)?)),
            "--remove-spec" => remove = true,
            other => return Err(format!("`{other}` is not known; {USAGE}")),
        }
    }
    let path = path.ok_or(USAGE)?;
    let text = registry::read_small(&path)?;
    let spec = serde_json::from_str(&text).map_err(|it| format!("`{}` is no spec: {it}", path.display()))?;
    if remove {
        std::fs::remove_file(&path).map_err(|it| format!("cannot remove `{}`: {it}", path.display()))?;
    }
    Ok(spec)
}

/// Why there is no exit code of the container.
enum Trouble {
    /// Told to end before it had started.
    Stopped,
    Failed {
        code: i32,
        message: String,
    },
}

fn failed(message: String) -> Trouble {
    Trouble::Failed { code: exit::FAILED, message }
}

async fn run(spec: &RunSpec, reports: &Reports) -> Result<i32, String> {
    // First of all, so that a SIGTERM is never deadly.
    let mut stop = Stop::listen().map_err(|it| format!("cannot listen to signals: {it}"))?;
    let socket = spec.socket.clone().unwrap_or_else(crate::default_socket);
    let run = Run { spec, reports, docker: Docker::new(&socket) };
    match run.to_end(&mut stop).await {
        Ok(code) => Ok(code),
        Err(Trouble::Stopped) => Ok(exit::STOPPED_EARLY),
        Err(Trouble::Failed { code, message }) => {
            reports.say(&Said::Failed { message: message.clone() });
            Output::open().complain(&message).await;
            Ok(code)
        }
    }
}

/// The wish of the keeper, or of somebody at a terminal, that this ends.
struct Stop {
    term: Signal,
    int: Signal,
    asked: bool,
}

impl Stop {
    fn listen() -> std::io::Result<Stop> {
        let term = signal(SignalKind::terminate())?;
        Ok(Stop { term, int: signal(SignalKind::interrupt())?, asked: false })
    }

    async fn asked(&mut self) {
        if !self.asked {
            tokio::select! { _ = self.term.recv() => {}, _ = self.int.recv() => {} }
            self.asked = true;
        }
    }

    /// Whether it was asked already.
    async fn is_asked(&mut self) -> bool {
        tokio::time::timeout(Duration::ZERO, self.asked()).await.is_ok()
    }
}

struct Run<'a> {
    spec: &'a RunSpec,
    reports: &'a Reports,
    docker: Docker,
}

impl Run<'_> {
    async fn to_end(&self, stop: &mut Stop) -> Result<i32, Trouble> {
        let body = body::of(self.spec).map_err(failed)?;
        tokio::select! {
            ready = self.ready_image() => ready?,
            () = stop.asked() => return Err(Trouble::Stopped),
        }
        let id = self.create(&body).await?;
        let ended = self.start_and_watch(&id, &body, stop).await;
        self.remove(&id).await;
        ended
    }

    async fn ready_image(&self) -> Result<(), Trouble> {
        let image = &self.spec.image;
        let present = self.docker.has_image(image).await;
        let present = present.map_err(|it| match it.is_absence() {
            true => failed(it.to_string()),
            false => failed(format!("the image `{image}` could not be looked up: {it}")),
        })?;
        if present && !self.spec.force_pull {
            return Ok(());
        }
        self.reports.say(&Said::Pulling);
        let reference = Reference::parse(image);
        let auth = match &self.spec.registry_auth {
            Some(given) => Some(given.clone()),
            None => {
                let extra = self.spec.docker_config.as_deref();
                registry::find(reference.registry, &self.spec.sandbox, extra).await
            }
        };
        let header = auth.map(|it| it.header(reference.registry));
        let pulled = self.docker.pull(&reference, header).await;
        pulled.map_err(|it| failed(format!("the image `{image}` could not be pulled: {it}")))
    }

    async fn create(&self, body: &Body) -> Result<String, Trouble> {
        let name = &self.spec.container;
        let mut result = self.docker.create(name, body.json.clone()).await;
        if result.as_ref().is_err_and(|it| it.is_status(409)) && self.is_ours(name).await {
            // Left behind by an earlier attempt to run this very task.
            let _ = self.docker.remove(name).await;
            result = self.docker.create(name, body.json.clone()).await;
        }
        let id = result.map_err(|it| failed(format!("the container could not be made: {it}")))?;
        for network in &body.more_networks {
            if let Err(error) = self.docker.connect(network, &id).await {
                self.remove(&id).await;
                return Err(failed(format!("the container could not join the network `{network}`: {error}")));
            }
        }
        Ok(id)
    }

    async fn is_ours(&self, name: &str) -> bool {
        self.docker.inspect(name).await.is_ok_and(|it| it.task == self.spec.task)
    }

    async fn start_and_watch(&self, id: &str, body: &Body, stop: &mut Stop) -> Result<i32, Trouble> {
        let output = self.docker.attach(id).await;
        let output = output.map_err(|it| failed(format!("the output could not be attached: {it}")))?;
        let mut logs = Logs { copying: tokio::spawn(Output::open().copy(output, body.tty)), tty: body.tty };
        if stop.is_asked().await {
            return Err(Trouble::Stopped);
        }
        self.docker.start(id).await.map_err(|it| not_started(&it))?;

        let inspection = self.docker.inspect(id).await.ok();
        let signal = inspection.as_ref().map_or("SIGTERM", |it| &it.stop_signal).to_owned();
        self.reports.say(&Said::Started {
            pid: inspection.as_ref().and_then(|it| it.pid),
            addresses: inspection.map(|it| it.addresses).unwrap_or_default(),
            container: self.spec.container.clone(),
        });
        let end = tokio::select! {
            end = self.until_ended(id, &mut logs) => end?,
            never = self.stop_when_asked(id, &signal, stop) => match never {},
        };
        let _ = tokio::time::timeout(LAST_OUTPUT, logs.copying).await;
        if !end.error.is_empty() {
            return Err(failed(format!("the container ended in trouble: {}", end.error)));
        }
        // The daemon also sets it where a child was killed that the container could do without.
        let out_of_memory = end.out_of_memory && end.exit_code != 0;
        self.reports.say(&Said::Ended { code: end.exit_code, out_of_memory });
        Ok(end.exit_code)
    }

    /// The end of the container, also when the daemon is restarted meanwhile.
    async fn until_ended(&self, id: &str, logs: &mut Logs) -> Result<Inspection, Trouble> {
        loop {
            let waited = self.docker.wait(id).await;
            let lost_at = SystemTime::now();
            let state = self.inspect_patiently(id).await?;
            if !state.running {
                return Ok(state);
            }
            if let Err(error) = waited {
                logs.resume(&self.docker, id, lost_at).await;
                // Whatever it is that makes it refuse to wait, it is not asked in a tight circle.
                if !error.is_absence() {
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    async fn inspect_patiently(&self, id: &str) -> Result<Inspection, Trouble> {
        let since = Instant::now();
        loop {
            match self.docker.inspect(id).await {
                Ok(state) => return Ok(state),
                Err(error) if error.is_status(404) => {
                    let message = "the container was removed by somebody else; its exit code is not known";
                    return Err(failed(message.to_owned()));
                }
                Err(error) if self.spec.patience <= since.elapsed() => {
                    return Err(failed(format!(
                        "the Docker daemon went away {} s ago and the container may still be running: {error}",
                        since.elapsed().as_secs()
                    )));
                }
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    /// Waits for the wish to stop and carries it out; the other side of the `select!` sees the end.
    async fn stop_when_asked(&self, id: &str, signal: &str, stop: &mut Stop) -> Infallible {
        stop.asked().await;
        let deadline = tokio::time::Instant::now() + self.spec.grace;
        let _ = tokio::time::timeout_at(deadline, self.signal_surely(id, signal)).await;
        tokio::time::sleep_until(deadline).await;
        loop {
            self.signal_surely(id, "SIGKILL").await;
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// A daemon that is away is asked again; one that refuses says that the container has ended.
    async fn signal_surely(&self, id: &str, signal: &str) {
        while self.docker.signal(id, signal).await.is_err_and(|it| it.is_absence()) {
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn remove(&self, id: &str) {
        let since = Instant::now();
        while self.docker.remove(id).await.is_err() && since.elapsed() < REMOVAL {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

fn not_started(error: &DockerError) -> Trouble {
    let message = error.to_string();
    let has = |part: &str| message.contains(part);
    // The daemon has no other way to tell these than its text; `docker run` reads it the same way.
    let code = if has("executable file not found") || has("no such file or directory") {
        exit::NOT_FOUND
    } else if has("permission denied") || has("is a directory") {
        exit::NOT_EXECUTABLE
    } else {
        exit::FAILED
    };
    Trouble::Failed { code, message: format!("the container could not be started: {message}") }
}

struct Logs {
    copying: JoinHandle<Output>,
    tty: bool,
}

impl Logs {
    /// Goes on with the output after the connection broke.
    async fn resume(&mut self, docker: &Docker, id: &str, lost_at: SystemTime) {
        // With the connection gone the copying has come to its end, unless the daemon still sends.
        let Ok(output) = tokio::time::timeout(PAUSE, &mut self.copying).await else { return };
        let output = output.unwrap_or_else(|_| Output::open());
        let since = lost_at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let since = format!("{}.{:09}", since.as_secs(), since.subsec_nanos());
        let body = match docker.logs_since(id, &since).await {
            Ok(body) => Ok(body),
            // Not every log driver can be read.
            Err(_) => docker.attach(id).await,
        };
        let tty = self.tty;
        self.copying = match body {
            Ok(body) => tokio::spawn(output.copy(body, tty)),
            Err(_) => tokio::spawn(async { output }),
        };
    }
}
