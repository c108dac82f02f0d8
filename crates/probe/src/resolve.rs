//! Names to addresses. Every lookup costs a thread, so answers are kept for a few seconds.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::check::Cause;

/// How long an address is believed: short beside the interval of most checks, long beside the second in
/// which a thousand checks ask for the same host.
const KEPT: Duration = Duration::from_secs(10);
/// More hosts than this are not kept.
const KEPT_MAX: usize = 4096;

type Known = HashMap<Box<str>, (Instant, Arc<[IpAddr]>)>;
static KNOWN: LazyLock<Mutex<Known>> = LazyLock::new(Mutex::default);

pub(crate) async fn addresses(host: &str) -> Result<Arc<[IpAddr]>, Cause> {
    if let Ok(address) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Ok(Arc::from([address]));
    }
    let now = Instant::now();
    let is_fresh = |at: Instant| now.duration_since(at) < KEPT;
    let known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner).get(host).cloned();
    if let Some((at, addresses)) = known
        && is_fresh(at)
    {
        return Ok(addresses);
    }
    let found = tokio::net::lookup_host((host, 0)).await;
    let found = found.map_err(|it| format!("the host `{host}` cannot be resolved: {it}"))?;
    let found: Arc<[IpAddr]> = found.map(|it| it.ip()).collect();
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if KEPT_MAX <= known.len() {
        known.retain(|_, (at, _)| is_fresh(*at));
    }
    if known.len() < KEPT_MAX {
        known.insert(Box::from(host), (now, Arc::clone(&found)));
    }
    Ok(found)
}
