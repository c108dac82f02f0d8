//! Brings the files an app wants into the sandbox before its process starts.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use marathon_keeper::protocol::Identity;
use marathon_model::app::Fetch;
use tokio::io::AsyncWriteExt;
use tokio::sync::Semaphore;

use crate::archive::{self, Bounds, Kind};
use crate::cache::Cache;
use crate::sandbox;

/// How many tasks fetch at a time; the others wait.
const TASKS_AT_A_TIME: usize = 16;
/// Without a byte for so long a download has failed.
const SILENCE: Duration = Duration::from_secs(60);
const CONNECT: Duration = Duration::from_secs(30);

/// How large one download may be, and what one archive may unpack to.
const DOWNLOAD_BYTES_MAX: u64 = 16 << 30;
const BOUNDS: Bounds = Bounds { bytes: 32 << 30, entries: 2_000_000 };

pub struct Fetcher {
    client: OnceLock<Result<reqwest::Client, String>>,
    permits: Semaphore,
    cache: Cache,
    bounds: Bounds,
}

impl Fetcher {
    /// `cache` is emptied: what is in it is forgotten with each start, as in the original.
    pub fn new(cache: PathBuf, cache_bytes: u64) -> Fetcher {
        Fetcher {
            client: OnceLock::new(),
            permits: Semaphore::new(TASKS_AT_A_TIME),
            cache: Cache::new(cache, cache_bytes),
            bounds: BOUNDS,
        }
    }

    /// Fetches everything into the sandbox, in order, and gives it to the task's user.
    ///
    /// The error is one sentence for the user. Dropping the future stops the work soon.
    pub async fn fetch(
        &self,
        wanted: &[Fetch],
        sandbox: &Path,
        owner: Option<&Identity>,
    ) -> Result<(), String> {
        let _permit = self.permits.acquire().await.map_err(|_| "the engine is stopping".to_owned())?;
        for one in wanted {
            let failed = |why: String| format!("Failed to fetch '{}': {why}", without_password(&one.uri));
            self.fetch_one(one, sandbox, owner).await.map_err(failed)?;
        }
        let Some(owner) = owner.cloned() else { return Ok(()) };
        let sandbox = sandbox.to_owned();
        blocking(move |_| {
            let failed = |error| format!("cannot give what was fetched to the user of the task: {error}");
            sandbox::give_to(&sandbox, &owner).map_err(failed)
        })
        .await
    }

    async fn fetch_one(&self, one: &Fetch, sandbox: &Path, owner: Option<&Identity>) -> Result<(), String> {
        let source = Source::parse(&one.uri)?;
        let name = match &one.dest_path {
            Some(path) => destination(path)?,
            None => PathBuf::from(source.file_name()?),
        };
        let wish = Wish {
            kind: if one.executable || !one.extract { None } else { Kind::of(&name.to_string_lossy()) },
            executable: one.executable,
            bounds: self.bounds,
            sandbox: sandbox.to_owned(),
            name,
        };
        match source {
            Source::File(path) => {
                let owner = owner.cloned();
                blocking(move |cancelled| {
                    let path = readable(&path, owner.as_ref())?;
                    wish.fulfil(&path, true, cancelled)
                })
                .await
            }
            Source::Web(url) if one.cache => {
                let download = |to: PathBuf| async move { self.download(&url, &to).await };
                let cached = self.cache.get(&one.uri, download).await?;
                // An archive goes from the cache right to its content, as in the original.
                blocking(move |cancelled| wish.fulfil(cached.path(), wish.kind.is_none(), cancelled)).await
            }
            Source::Web(url) => {
                let path = archive::place(sandbox, &wish.name)?;
                archive::create_new(&path, 0o644).map_err(|error| error.to_string())?;
                self.download(&url, &path).await?;
                blocking(move |cancelled| wish.finish(&path, &path, cancelled)).await
            }
        }
    }

    fn client(&self) -> Result<&reqwest::Client, String> {
        let make = || {
            // Whoever installed one before has the same intention.
            let _ = rustls::crypto::ring::default_provider().install_default();
            let builder = || {
                let builder = reqwest::Client::builder().connect_timeout(CONNECT).read_timeout(SILENCE);
                builder.user_agent("marathon")
            };
            // A machine may have no certificates at all, as a bare container has none: http works without.
            let client = builder().build().or_else(|_| builder().tls_certs_only([]).build());
            client.map_err(|error| format!("no HTTP client: {}", chain(&error)))
        };
        self.client.get_or_init(make).as_ref().map_err(Clone::clone)
    }

    async fn download(&self, url: &str, to: &Path) -> Result<u64, String> {
        let told = |error: reqwest::Error| chain(&error.without_url());
        let mut answer = self.client()?.get(url).send().await.map_err(told)?;
        if !answer.status().is_success() {
            return Err(format!("the server answered {}", answer.status()));
        }
        let mut file = tokio::fs::File::create(to).await.map_err(|error| error.to_string())?;
        let mut size: u64 = 0;
        while let Some(chunk) = answer.chunk().await.map_err(told)? {
            size += chunk.len() as u64;
            if DOWNLOAD_BYTES_MAX < size {
                return Err(format!("it is larger than {} GiB", DOWNLOAD_BYTES_MAX >> 30));
            }
            file.write_all(&chunk).await.map_err(|error| error.to_string())?;
        }
        file.flush().await.map_err(|error| error.to_string())?;
        Ok(size)
    }
}

/// What is to be done with a file once it is here.
struct Wish {
    kind: Option<Kind>,
    executable: bool,
    bounds: Bounds,
    sandbox: PathBuf,
    name: PathBuf,
}

impl Wish {
    /// Copies the file into the sandbox, if wanted, and does the rest.
    fn fulfil(&self, from: &Path, copy: bool, cancelled: &AtomicBool) -> Result<(), String> {
        if !copy {
            return self.finish(from, from, cancelled);
        }
        let to = archive::place(&self.sandbox, &self.name)?;
        let mut source = fs::File::open(from).map_err(|error| error.to_string())?;
        let mut target = archive::create_new(&to, 0o644).map_err(|error| error.to_string())?;
        io::copy(&mut source, &mut target).map_err(|error| error.to_string())?;
        self.finish(&to, &to, cancelled)
    }

    fn finish(&self, archive: &Path, file: &Path, cancelled: &AtomicBool) -> Result<(), String> {
        if self.executable {
            let mode = fs::Permissions::from_mode(0o755);
            fs::set_permissions(file, mode).map_err(|error| error.to_string())?;
        }
        match self.kind {
            Some(kind) => {
                let name = self.name.to_string_lossy();
                archive::unpack(kind, archive, &name, &self.sandbox, self.bounds, cancelled)
            }
            None => Ok(()),
        }
    }
}

#[derive(Debug, PartialEq)]
enum Source {
    Web(String),
    File(PathBuf),
}

impl Source {
    fn parse(uri: &str) -> Result<Source, String> {
        let uri = uri.trim();
        if uri.starts_with('/') {
            return Ok(Source::File(PathBuf::from(uri)));
        }
        let Some((scheme, rest)) = uri.split_once("://") else {
            return Err("it is neither an absolute path nor a URI with a scheme".to_owned());
        };
        match scheme.to_ascii_lowercase().as_str() {
            "http" | "https" => Ok(Source::Web(uri.to_owned())),
            "file" => {
                let path = rest.strip_prefix("localhost").unwrap_or(rest);
                if path.starts_with('/') {
                    Ok(Source::File(PathBuf::from(decoded(path))))
                } else {
                    Err("a file URI has the form file:///path".to_owned())
                }
            }
            other => Err(format!("the scheme `{other}` is not supported; use http, https or file")),
        }
    }

    /// The last part of the path.
    fn file_name(&self) -> Result<String, String> {
        let name = match self {
            Source::File(path) => {
                path.file_name().map(|it| it.to_string_lossy().into_owned()).unwrap_or_default()
            }
            Source::Web(url) => {
                let rest = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
                let path = rest.split(['?', '#']).next().unwrap_or_default();
                let name = path.split_once('/').and_then(|(_, path)| path.rsplit('/').next());
                decoded(name.unwrap_or_default())
            }
        };
        if name.is_empty() || name.contains(['/', '\0']) || name == "." || name == ".." {
            return Err("its path does not end with the name of a file; set destPath".to_owned());
        }
        Ok(name)
    }
}

fn destination(path: &str) -> Result<PathBuf, String> {
    if path.starts_with('/') {
        return Err(format!("destPath `{path}` must be relative to the sandbox"));
    }
    Ok(PathBuf::from(path))
}

/// `%20` and the like; what is no such sequence stays as it is.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let hex = |at: usize| tail.get(at).and_then(|it| char::from(*it).to_digit(16));
        match (first, hex(0), hex(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push((high * 16 + low) as u8);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

/// Messages end up in the API, passwords must not.
fn without_password(uri: &str) -> String {
    let Some((scheme, rest)) = uri.split_once("://") else { return uri.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) => format!("{scheme}://{}", &rest[at + 1..]),
        None => uri.to_owned(),
    }
}

/// A local file with all links resolved, if it is one that the task's user may read: the server reads
/// it as root.
fn readable(path: &Path, owner: Option<&Identity>) -> Result<PathBuf, String> {
    let told = |error: io::Error| error.to_string();
    let path = fs::canonicalize(path).map_err(told)?;
    if !fs::metadata(&path).map_err(told)?.is_file() {
        return Err("it is not a file".to_owned());
    }
    if !sandbox::may_read(&path, owner).map_err(told)? {
        return Err("the user of the task may not read it".to_owned());
    }
    Ok(path)
}

/// An error with its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

/// Does slow work aside. When nobody waits for it any more, the flag is set.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce(&AtomicBool) -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    struct Cancel(Arc<AtomicBool>);
    impl Drop for Cancel {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let cancel = Cancel(Arc::default());
    let flag = cancel.0.clone();
    tokio::task::spawn_blocking(move || work(&flag)).await.map_err(|error| error.to_string())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_the_path() {
        let check = |uri: &str, want: &str| {
            let got = Source::parse(uri).and_then(|it| it.file_name());
            assert_eq!(got.unwrap_or_else(|error| error), want, "{uri}");
        };
        check("http://h/a/b.tgz", "b.tgz");
        check("HTTPS://h:80/b%20c.sh?x=/y#z", "b c.sh");
        check("file:///etc/my.conf", "my.conf");
        check("/opt/x.tar", "x.tar");
        let nameless = "its path does not end with the name of a file; set destPath";
        for uri in
            ["http://h", "http://h/", "http://h/a/", "http://h/..", "http://h/%2e%2e", "http://h/a%2fb", "/"]
        {
            check(uri, nameless);
        }
        check("ftp://h/x", "the scheme `ftp` is not supported; use http, https or file");
        check("x.tgz", "it is neither an absolute path nor a URI with a scheme");
        check("file://host/x", "a file URI has the form file:///path");
    }

    #[test]
    fn passwords_are_not_told() {
        for (uri, want) in [
            ("http://u:p@h/x@y", "http://h/x@y"),
            ("http://h/x@y", "http://h/x@y"),
            ("http://h?u@v", "http://h?u@v"),
            ("/a@b", "/a@b"),
        ] {
            assert_eq!(without_password(uri), want);
        }
    }
}
