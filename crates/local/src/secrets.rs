//! Where the values of secrets come from.
//!
//! A definition names a *source* (`"secrets": {"db": {"source": "db/password"}}`); the value is asked for right
//! before a task starts and goes nowhere but to that task. It is in no message, log, store, or process list.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::io::Read;
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::pod::Start;

/// No secret is longer. The kernel takes variables up to 128 KiB; files may be certificates.
const BYTES_MAX: u64 = 1 << 20;
/// How long a command may take for one secret.
const PATIENCE: Duration = Duration::from_secs(10);

/// A place that knows secrets. May block for a while.
pub trait Secrets: fmt::Debug + Send + Sync {
    /// The value, or a sentence about why there is none, which never quotes what was read.
    fn value(&self, source: &str) -> Result<Vec<u8>, String>;
}

/// Where nothing is set up.
#[derive(Debug, Clone, Copy)]
pub struct NoSecrets;

impl Secrets for NoSecrets {
    fn value(&self, _: &str) -> Result<Vec<u8>, String> {
        Err("this server knows no secrets".to_owned())
    }
}

/// One file a secret, below one folder.
#[derive(Debug, Clone)]
pub struct Files {
    pub dir: PathBuf,
}

impl Secrets for Files {
    fn value(&self, source: &str) -> Result<Vec<u8>, String> {
        let plain = |it: Component| matches!(it, Component::Normal(_));
        let relative = Path::new(source.trim_start_matches('/'));
        if source.is_empty() || !relative.components().all(plain) {
            return Err("this is no legal name".to_owned());
        }
        let path = self.dir.join(relative);
        // A pipe would be waited for.
        match fs::metadata(&path) {
            Ok(meta) if !meta.is_file() => return Err("it is no file".to_owned()),
            Ok(_) => {}
            Err(error) => return Err(error.to_string()),
        }
        let file = fs::File::open(&path).map_err(|error| error.to_string())?;
        bounded(file).map_err(|error| error.to_string())?.ok_or_else(too_long)
    }
}

/// A program that is given the source as its argument and writes the value to its standard output.
#[derive(Debug, Clone)]
pub struct Program {
    pub path: PathBuf,
    pub patience: Duration,
}

impl Program {
    pub fn new(path: PathBuf) -> Program {
        Program { path, patience: PATIENCE }
    }
}

impl Secrets for Program {
    fn value(&self, source: &str) -> Result<Vec<u8>, String> {
        if source.is_empty() || source.starts_with('-') || source.contains('\0') {
            return Err("this is no legal name".to_owned());
        }
        let mut command = Command::new(&self.path);
        command.arg(source).stdin(Stdio::null()).stdout(Stdio::piped());
        // What it complains about may quote what it found.
        command.stderr(Stdio::null());
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let cannot = |error| format!("`{}` cannot be run: {error}", self.path.display());
        let mut child = command.spawn().map_err(cannot)?;
        let group = i32::try_from(child.id()).map(Pid::from_raw).ok();
        let end = || {
            let _ = group.map(|it| killpg(it, Signal::SIGKILL));
        };
        let output = child.stdout.take();
        let (sender, receiver) = channel();
        std::thread::spawn(move || {
            let read = output.map_or(Ok(Some(Vec::new())), bounded);
            let _ = sender.send(read);
        });
        let read = receiver.recv_timeout(self.patience);
        if !matches!(read, Ok(Ok(Some(_)))) {
            end();
        }
        // With its output closed a program has nothing more to do here; one that stays is ended.
        let status = wait(&mut child, self.patience).inspect_err(|_| {
            end();
        });
        let _ = child.wait();
        let name = self.path.display();
        let value = match read {
            Err(_) => return Err(format!("`{name}` took longer than {} s", self.patience.as_secs_f64())),
            Ok(Err(error)) => return Err(error.to_string()),
            Ok(Ok(None)) => return Err(too_long()),
            Ok(Ok(Some(value))) => value,
        };
        match status {
            Ok(status) if status.success() => Ok(value),
            Ok(status) => Err(format!("`{name}` ended with {status}")),
            Err(why) => Err(format!("`{name}` {why}")),
        }
    }
}

fn wait(child: &mut std::process::Child, patience: Duration) -> Result<std::process::ExitStatus, String> {
    let begin = std::time::Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status),
            Ok(None) if begin.elapsed() < patience => std::thread::sleep(Duration::from_millis(2)),
            Ok(None) => return Err("closed its output but did not end".to_owned()),
            Err(error) => return Err(error.to_string()),
        }
    }
}

/// The whole of it, unless it is too long.
fn bounded(from: impl Read) -> std::io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    from.take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= BYTES_MAX).then_some(bytes))
}

fn too_long() -> String {
    format!("it is longer than {} KiB", BYTES_MAX >> 10)
}

/// The values one task needs, by source.
#[derive(Default)]
pub struct Values(BTreeMap<String, Vec<u8>>);

impl fmt::Debug for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Values(…)")
    }
}

impl Values {
    pub fn ask(secrets: &dyn Secrets, sources: BTreeSet<String>) -> Result<Values, String> {
        let one = |source: String| match secrets.value(&source) {
            Ok(value) => Ok((source, value)),
            Err(why) => Err(format!("Secret '{source}' is not available: {why}")),
        };
        sources.into_iter().map(one).collect::<Result<_, _>>().map(Values)
    }

    /// For a file: every byte.
    pub fn bytes(&self, source: &str) -> Result<&[u8], String> {
        let value = self.0.get(source).map(Vec::as_slice);
        value.ok_or_else(|| format!("Secret '{source}' is not available: nobody asked for it"))
    }

    /// For a variable: without the line end that editors and `echo` leave.
    pub fn text(&self, source: &str) -> Result<&str, String> {
        let text = std::str::from_utf8(self.bytes(source)?).ok().filter(|it| !it.contains('\0'));
        let text = text.ok_or_else(|| format!("Secret '{source}' is no text and cannot be a variable"))?;
        Ok(text.strip_suffix('\n').unwrap_or(text))
    }
}

/// The source of a named secret. Definitions stored before names were passed on have the source as name.
pub fn source_of<'a>(start: &'a Start, name: &'a str) -> &'a str {
    start.launch.secrets.get(name).map_or(name, String::as_str)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn check(secrets: &dyn Secrets, source: &str, want: Result<&str, &str>) {
        let got = Values::ask(secrets, BTreeSet::from([source.to_owned()]));
        let got = got.and_then(|it| it.text(source).map(str::to_owned));
        let same = match (&got, want) {
            (Ok(got), Ok(want)) => got == want,
            (Err(got), Err(want)) => got.contains(want) && got.contains(source) && !got.contains("hush"),
            _ => false,
        };
        assert!(same, "{source}: {got:?}");
    }

    #[test]
    fn files_of_one_folder() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("db")).unwrap();
        fs::write(dir.path().join("db/password"), "hush\n").unwrap();
        fs::write(dir.path().join("binary"), [0xff, 0xfe]).unwrap();
        fs::write(dir.path().join("nul"), "hush\0hush").unwrap();
        fs::write(dir.path().join("long"), vec![b'x'; (1 << 20) + 1]).unwrap();
        nix::unistd::mkfifo(&dir.path().join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let files = Files { dir: dir.path().to_owned() };
        check(&files, "db/password", Ok("hush"));
        check(&files, "/db/password", Ok("hush"));
        check(&files, "db/other", Err("Secret 'db/other' is not available: No such file"));
        check(&files, "binary", Err("is no text"));
        check(&files, "nul", Err("is no text"));
        check(&files, "long", Err("longer than 1024 KiB"));
        for source in ["pipe", "db"] {
            check(&files, source, Err("it is no file"));
        }
        for source in ["", "../x", "db/../../x", "./db/password"] {
            check(&files, source, Err("is not available: this is no legal name"));
        }
    }

    #[test]
    fn a_program_is_asked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tell");
        let script = r#"#!/bin/sh
            case $1 in
                db/password) echo "hush of $1";;
                long) head -c 2000000 /dev/zero;;
                slow) sleep 1000 & echo hush; sleep 1000;;
                stays) exec >&-; sleep 1000;;
                *) echo hush; echo hush >&2; exit 3;;
            esac"#;
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        let program = Program { path, patience: Duration::from_secs(10) };
        check(&program, "db/password", Ok("hush of db/password"));
        check(&program, "long", Err("longer than 1024 KiB"));
        check(&program, "other", Err("ended with exit status: 3"));
        for source in ["", "--help", "a\0b"] {
            check(&program, source, Err("this is no legal name"));
        }
        let hasty = Program { patience: Duration::from_millis(50), ..program.clone() };
        check(&hasty, "slow", Err("took longer than 0.05 s"));
        check(&hasty, "stays", Err("did not end"));
        let absent = Program { path: "/no/such/program".into(), ..program };
        check(&absent, "x", Err("`/no/such/program` cannot be run"));
    }
}
