//! One check from beginning to end.

use std::sync::Arc;
use std::time::Duration;

use marathon_model::event::ProbeOutcome;
use tokio::net::TcpStream;

use crate::{http, resolve};

/// Why there is no answer, as a sentence for `lastFailureCause`.
pub(crate) type Cause = String;

/// Whether a TCP connection can be made.
pub async fn check_tcp(host: &str, port: u16, timeout: Duration) -> ProbeOutcome {
    let connected = async { connect(host, port).await.map(|_| ProbeOutcome::Connected) };
    within(timeout, connected).await
}

/// Asks for a page and gives the answer, whatever its status; redirects are not followed and a
/// certificate is not looked at. `keep_body` bytes of the page are read, and no more; with 0 the answer
/// is complete once its head is.
pub async fn check_http(
    https: bool,
    host: &str,
    port: u16,
    path: &str,
    keep_body: usize,
    timeout: Duration,
) -> ProbeOutcome {
    within(timeout, http::get(https, host, host, port, path, keep_body)).await
}

/// One limit for all of it, names and handshakes included.
pub(crate) async fn within(
    timeout: Duration,
    check: impl Future<Output = Result<ProbeOutcome, Cause>>,
) -> ProbeOutcome {
    let failed = |cause: String| ProbeOutcome::Failed { cause: Arc::from(cause) };
    match tokio::time::timeout(timeout, check).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(cause)) => failed(cause),
        Err(_) => failed(format!("no answer within {} ms", timeout.as_millis())),
    }
}

/// Connects to the first address of a host that accepts.
pub(crate) async fn connect(host: &str, port: u16) -> Result<TcpStream, Cause> {
    let mut last = None;
    for address in resolve::addresses(host).await?.iter() {
        match TcpStream::connect((*address, port)).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Some(error),
        }
    }
    Err(match last {
        Some(error) => format!("cannot connect to {host}:{port}: {error}"),
        None => format!("the host `{host}` has no address"),
    })
}
