//! Credentials for private images, from where the Docker client keeps them.
//!
//! A task brings its own as `.docker/config.json` (usually by fetching `docker.tar.gz`) or `.dockercfg`
//! in its sandbox. These files are the task's, so nothing in them is executed; the credential helpers
//! of the server's own user are.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// No file named in a spec is longer than this.
const FILE_MAX: u64 = 4 << 20;
const HELPER_LIMIT: Duration = Duration::from_secs(30);
/// How the Docker client calls its default registry in its files.
const HUB_KEY: &str = "https://index.docker.io/v1/";

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Credentials {
    Password { user: String, password: String },
    IdentityToken(String),
}

/// Passwords stay out of logs.
impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials(…)")
    }
}

impl Credentials {
    /// The header that goes with a pull.
    pub(crate) fn header(&self, registry: &str) -> String {
        let server = if registry == "docker.io" { HUB_KEY } else { registry };
        let auth = match self {
            Credentials::Password { user, password } => {
                json!({ "username": user, "password": password, "serveraddress": server })
            }
            Credentials::IdentityToken(token) => json!({ "identitytoken": token, "serveraddress": server }),
        };
        URL_SAFE.encode(auth.to_string())
    }
}

/// An image reference, as far as pulling needs it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reference<'a> {
    pub(crate) name: &'a str,
    /// A tag or a digest.
    pub(crate) tag: &'a str,
    pub(crate) registry: &'a str,
}

impl Reference<'_> {
    pub(crate) fn parse(image: &str) -> Reference<'_> {
        let (name, tag) = match image.split_once('@') {
            Some((tagged, digest)) => (split_tag(tagged).0, digest),
            None => match split_tag(image) {
                (name, Some(tag)) => (name, tag),
                (name, None) => (name, "latest"),
            },
        };
        let registry = match name.split_once('/') {
            Some((host, _)) if host == "localhost" || host.contains(['.', ':']) => host,
            _ => "docker.io",
        };
        Reference { name, tag, registry }
    }
}

/// A colon before the last slash belongs to the registry's port.
fn split_tag(image: &str) -> (&str, Option<&str>) {
    match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (image, None),
    }
}

/// Looks in the files of the sandbox, then in `extra`, then in those of the server's user.
pub(crate) async fn find(registry: &str, sandbox: &Path, extra: Option<&Path>) -> Option<Credentials> {
    let of_task = [sandbox.join(".docker/config.json"), sandbox.join(".dockercfg")];
    for path in of_task {
        let found = read(&path).and_then(|config| stored(&config, registry));
        if found.is_some() {
            return found;
        }
    }
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let folder = std::env::var_os("DOCKER_CONFIG").map(PathBuf::from);
    let folder = folder.or_else(|| Some(home.as_ref()?.join(".docker")));
    let of_user = [
        extra.map(Path::to_owned),
        folder.map(|it| it.join("config.json")),
        home.map(|it| it.join(".dockercfg")),
    ];
    for path in of_user.into_iter().flatten() {
        let Some(config) = read(&path) else { continue };
        if let Some(found) = from_helper(&config, registry).await.or_else(|| stored(&config, registry)) {
            return Some(found);
        }
    }
    None
}

fn read(path: &Path) -> Option<Value> {
    serde_json::from_str(&read_small(path).ok()?).ok()
}

/// A regular file of bounded size: the name may come from a task, and a pipe would be waited for.
pub(crate) fn read_small(path: &Path) -> Result<String, String> {
    let cannot = |why: String| format!("the file `{}` cannot be read: {why}", path.display());
    let metadata = std::fs::metadata(path).map_err(|it| cannot(it.to_string()))?;
    if !metadata.is_file() || FILE_MAX < metadata.len() {
        return Err(cannot("it is no file of at most 4 MiB".to_owned()));
    }
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|it| cannot(it.to_string()))?;
    file.take(FILE_MAX).read_to_string(&mut text).map_err(|it| cannot(it.to_string()))?;
    Ok(text)
}

/// The names under which the files may list a registry.
fn is_for(key: &str, registry: &str) -> bool {
    let host = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    let host = host.split('/').next().unwrap_or_default();
    match registry {
        "docker.io" => ["docker.io", "index.docker.io", "registry-1.docker.io"].contains(&host),
        _ => host == registry,
    }
}

/// The entry of a file; the old `.dockercfg` has no `auths` around it.
fn stored(config: &Value, registry: &str) -> Option<Credentials> {
    let entries = config.get("auths").unwrap_or(config).as_object()?;
    let (_, entry) = entries.iter().find(|(key, entry)| is_for(key, registry) && entry.is_object())?;
    let text = |field: &str| entry.get(field).and_then(Value::as_str).filter(|it| !it.is_empty());
    if let Some(token) = text("identitytoken") {
        return Some(Credentials::IdentityToken(token.to_owned()));
    }
    if let (Some(user), Some(password)) = (text("username"), text("password")) {
        return Some(Credentials::Password { user: user.to_owned(), password: password.to_owned() });
    }
    let auth = text("auth")?.trim_end_matches('=');
    let auth =
        String::from_utf8(STANDARD_NO_PAD.decode(auth).or_else(|_| STANDARD.decode(auth)).ok()?).ok()?;
    let (user, password) = auth.split_once(':')?;
    let password = password.trim_end_matches('\0');
    Some(Credentials::Password { user: user.to_owned(), password: password.to_owned() })
}

/// Asks the `docker-credential-*` program that the configuration names, if it names one.
async fn from_helper(config: &Value, registry: &str) -> Option<Credentials> {
    let special = config.get("credHelpers").and_then(Value::as_object);
    let special = special.and_then(|it| it.iter().find(|(key, _)| is_for(key, registry)));
    let helper = special.map(|(_, helper)| helper).or_else(|| config.get("credsStore"))?.as_str()?;
    if helper.is_empty() || !helper.bytes().all(|c| c.is_ascii_alphanumeric() || b"-_.".contains(&c)) {
        return None;
    }
    let server = if registry == "docker.io" { HUB_KEY } else { registry };
    let program = format!("docker-credential-{helper}");
    let answer = tokio::time::timeout(HELPER_LIMIT, ask(&program, server));
    let answer: Value = serde_json::from_slice(&answer.await.ok()??).ok()?;
    let secret = answer.get("Secret")?.as_str()?.to_owned();
    match answer.get("Username")?.as_str()? {
        "<token>" => Some(Credentials::IdentityToken(secret)),
        user => Some(Credentials::Password { user: user.to_owned(), password: secret }),
    }
}

async fn ask(program: &str, server: &str) -> Option<Vec<u8>> {
    let mut child = tokio::process::Command::new(program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .ok()?;
    // Dropped after the write, which ends the helper's input.
    child.stdin.take()?.write_all(server.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    child.stdout.take()?.take(FILE_MAX).read_to_end(&mut answer).await.ok()?;
    child.wait().await.ok()?.success().then_some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references() {
        let check = |image: &str, name: &str, tag: &str, registry: &str| {
            assert_eq!(Reference::parse(image), Reference { name, tag, registry }, "{image}");
        };
        check("nginx", "nginx", "latest", "docker.io");
        check("me/nginx:1.9", "me/nginx", "1.9", "docker.io");
        check("localhost/nginx", "localhost/nginx", "latest", "localhost");
        check("reg.example:5000/a/b", "reg.example:5000/a/b", "latest", "reg.example:5000");
        check("reg.example:5000/a/b:2", "reg.example:5000/a/b", "2", "reg.example:5000");
        check("a/b:2@sha256:ab", "a/b", "sha256:ab", "docker.io");
    }

    #[test]
    fn entries_of_files() {
        let check = |config: Value, registry: &str, wanted: Option<(&str, &str)>| {
            let wanted = wanted.map(|(user, password)| Credentials::Password {
                user: user.to_owned(),
                password: password.to_owned(),
            });
            let found = stored(&config, registry);
            assert!(found == wanted, "{config} {registry}");
        };
        let pair = STANDARD.encode("me:se:cret");
        check(json!({ "auths": { HUB_KEY: { "auth": pair } } }), "docker.io", Some(("me", "se:cret")));
        check(
            json!({ "https://r.example": { "auth": pair, "email": "" } }),
            "r.example",
            Some(("me", "se:cret")),
        );
        check(
            json!({ "auths": { "r.example:5000/v2/": { "auth": pair } } }),
            "r.example:5000",
            Some(("me", "se:cret")),
        );
        check(
            json!({ "auths": { "r.example": { "username": "a", "password": "b" } } }),
            "r.example",
            Some(("a", "b")),
        );
        check(json!({ "auths": { "r.example": { "auth": pair } } }), "other.example", None);
        check(json!({ "auths": { "r.example": { "auth": "%%" } } }), "r.example", None);
        check(json!({ "auths": [] }), "r.example", None);
        check(json!("auths"), "r.example", None);
    }

    #[test]
    fn passwords_are_not_printed() {
        let credentials = Credentials::Password { user: "me".to_owned(), password: "secret".to_owned() };
        assert!(!format!("{credentials:?}").contains("secret"));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_helper_is_a_program_in_the_path() {
        for name in ["../../bin/sh", "a b", "", "x;y"] {
            assert_eq!(from_helper(&json!({ "credsStore": name }), "r.example").await, None);
        }
    }

    #[test]
    fn only_small_regular_files_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(read_small(&path).is_err());
        assert!(read_small(folder.path()).is_err());
    }
}
