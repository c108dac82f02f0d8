//! HTTP and TCP checks from this machine.

use std::sync::OnceLock;
use std::time::Duration;

use tokio::net::TcpStream;

/// Sends requests that trust every certificate: a check asks whether a task answers, not who it is.
#[derive(Default)]
pub struct Web {
    client: OnceLock<Result<reqwest::Client, String>>,
}

impl Web {
    /// The status with which the task answers, after redirections.
    pub async fn status(
        &self,
        https: bool,
        host: &str,
        port: u16,
        path: &str,
        limit: Duration,
    ) -> Result<u16, String> {
        let scheme = if https { "https" } else { "http" };
        let slash = if path.starts_with('/') { "" } else { "/" };
        let url = format!("{scheme}://{}:{port}{slash}{path}", bracketed(host));
        let answer = self.client()?.get(url).timeout(limit).send().await;
        answer.map(|it| it.status().as_u16()).map_err(|error| crate::fetch::chain(&error))
    }

    pub async fn connect(&self, host: &str, port: u16, limit: Duration) -> Result<(), String> {
        match tokio::time::timeout(limit, TcpStream::connect((host, port))).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(format!("no connection to port {port}: {error}")),
            Err(_) => Err(format!("no connection to port {port} within {limit:?}")),
        }
    }

    fn client(&self) -> Result<&reqwest::Client, String> {
        let make = || {
            // Whoever installed one before has the same intention.
            let _ = rustls::crypto::ring::default_provider().install_default();
            let builder =
                reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).user_agent("marathon");
            let client = builder.tls_danger_accept_invalid_certs(true).build();
            client.map_err(|error| format!("no HTTP client: {}", crate::fetch::chain(&error)))
        };
        self.client.get_or_init(make).as_ref().map_err(Clone::clone)
    }
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}
