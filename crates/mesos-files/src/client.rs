//! Requests to masters and agents, with limits of time and size.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use marathon_files::Refused;
use marathon_model::id::FrameworkId;
use reqwest::{Response, StatusCode};
use tokio::sync::Semaphore;

const CONNECT: Duration = Duration::from_secs(5);
/// Until an answer begins, and between two pieces of it.
const SILENCE: Duration = Duration::from_secs(10);
/// As much is read of an error's text.
const WORDS_MAX: usize = 512;
/// Requests at a time; more wait, for as long as an answer may take.
const AT_ONCE: usize = 64;

/// Who leads the cluster, and who we are in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// `http://host:port` or `https://host:port`.
    pub master: String,
    pub framework: FrameworkId,
}

#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Sent to those who ask for it.
    pub login: Option<Login>,
    /// Certificates to trust instead of those of the system.
    pub ca_file: Option<PathBuf>,
}

/// HTTP basic authentication.
#[derive(Clone)]
pub struct Login {
    pub principal: String,
    pub secret: Vec<u8>,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Login({})", self.principal)
    }
}

pub struct Client {
    http: reqwest::Client,
    login: Option<Login>,
    turns: Arc<Semaphore>,
}

impl Client {
    pub fn new(settings: &Settings) -> Result<Client, String> {
        // Whoever installed one before has the same intention.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = || {
            reqwest::Client::builder()
                .no_proxy()
                .user_agent("marathon")
                .connect_timeout(CONNECT)
                .read_timeout(SILENCE)
        };
        let built = if let Some(path) = &settings.ca_file {
            let fail = |error: &dyn fmt::Display| {
                format!("cannot read certificates from {}: {error}", path.display())
            };
            let text = std::fs::read(path).map_err(|error| fail(&error))?;
            let certificates = reqwest::Certificate::from_pem_bundle(&text).map_err(|error| fail(&error))?;
            builder().tls_certs_only(certificates).build()
        } else {
            // A machine may have no certificates at all, as a bare container has none: http works without.
            builder().build().or_else(|_| builder().tls_certs_only([]).build())
        };
        let http = built.map_err(|error| format!("no HTTP client: {error}"))?;
        Ok(Client { http, login: settings.login.clone(), turns: Arc::new(Semaphore::new(AT_ONCE)) })
    }

    /// An answer whose body is still to come.
    pub async fn begin(&self, url: &str) -> Result<Response, Refused> {
        let answer = self.send(url, None).await?;
        let asked = answer.status() == StatusCode::UNAUTHORIZED;
        let answer = match &self.login {
            Some(login) if asked => self.send(url, Some(login)).await?,
            _ => answer,
        };
        let who = who(url);
        Err(match answer.status() {
            StatusCode::OK => return Ok(answer),
            StatusCode::NOT_FOUND => Refused::NoFile,
            StatusCode::BAD_REQUEST => wrong(&words(answer).await),
            // The agent found the file and could not open it.
            StatusCode::INTERNAL_SERVER_ERROR if url.contains("/files/") => {
                let words = words(answer).await;
                return Err(match words.contains("Permission denied") {
                    true => Refused::Denied(format!("{who} may not open it")),
                    false => Refused::Unavailable(format!("{who} says: {words}")),
                });
            }
            StatusCode::UNAUTHORIZED => Refused::Denied(format!(
                "{who} wants other credentials than --mesos_authentication_principal"
            )),
            StatusCode::FORBIDDEN => Refused::Denied(format!("{who} forbids it")),
            status => Refused::Unavailable(format!("{who} answers with status {}", status.as_u16())),
        })
    }

    async fn send(&self, url: &str, login: Option<&Login>) -> Result<Response, Refused> {
        let mut request = self.http.get(url).header("accept", "application/json, */*;q=0.1");
        if let Some(login) = login {
            let secret = String::from_utf8_lossy(&login.secret);
            request = request.basic_auth(&login.principal, Some(secret));
        }
        // The client's own limit starts with the connection, so one for the whole is set around it.
        match tokio::time::timeout(CONNECT + SILENCE, request.send()).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(refused(url, &error)),
            Err(_) => Err(Refused::TooSlow(format!("{} did not answer in time", who(url)))),
        }
    }

    /// A whole body, up to a size.
    pub async fn get(&self, url: &str, most: usize) -> Result<Bytes, Refused> {
        let busy = || Refused::Unavailable("Too many requests to Mesos are under way; try again".to_owned());
        let turn = tokio::time::timeout(SILENCE, self.turns.acquire()).await;
        let _turn = turn.map_err(|_| busy())?.map_err(|_| busy())?;
        let mut answer = self.begin(url).await?;
        let mut body = BytesMut::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| refused(url, &error))? {
            if body.len() + chunk.len() > most {
                return Err(Refused::Unavailable(format!(
                    "The answer of {} is larger than {most} bytes",
                    who(url)
                )));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }
}

/// The first words of an answer, as one line.
async fn words(mut answer: Response) -> String {
    let mut body = BytesMut::new();
    while body.len() < WORDS_MAX
        && let Ok(Some(chunk)) = answer.chunk().await
    {
        body.extend_from_slice(&chunk);
    }
    body.truncate(WORDS_MAX);
    String::from_utf8_lossy(&body).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What an agent finds wrong with a path, by its words.
fn wrong(words: &str) -> Refused {
    match words {
        // A link, or a path, that ends outside.
        _ if words.contains("is inaccessible") => Refused::LeadsOut,
        // A link to itself, or a path through a file.
        _ if words.contains("canonical path") => Refused::NoFile,
        _ => Refused::IsFolder,
    }
}

/// Scheme, host and port of a URL.
fn who(url: &str) -> &str {
    let from = url.find("://").map_or(0, |it| it + 3);
    url[from..].find('/').map_or(url, |it| &url[..from + it])
}

fn refused(url: &str, error: &reqwest::Error) -> Refused {
    let who = who(url);
    if error.is_timeout() {
        return Refused::TooSlow(format!("{who} did not answer in time"));
    }
    // The chain, as the first error says only that there was one.
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    Refused::Unavailable(format!("{who} cannot be reached: {cause}"))
}

/// For the query of a URL.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                out.push(char::from(byte))
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        assert_eq!(escaped("/a b/ä&x=1%#"), "/a%20b/%C3%A4%26x%3D1%25%23");
        assert_eq!(who("http://h:1/files?x=/y"), "http://h:1");
        assert_eq!(who("http://h:1"), "http://h:1");
    }
}
