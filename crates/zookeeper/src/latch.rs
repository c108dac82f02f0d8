//! Electing one of several instances, as Curator's leader latch does it.
//!
//! ```text
//! <path of --zk>/leader-curator/_c_<id>-latch-0000000007   host:port      leads: the lowest number
//!                               _c_<id>-latch-0000000009   host:port      follows
//! ```
//! The nodes are ephemeral: they go with the session of their instance. Standing for election says who should
//! lead. That nobody else can write is the store's business (its `epoch`).

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use tokio::sync::watch;

use crate::member::enter;
use crate::{Client, Error};

/// Looks again so often although nothing was told, should a watch ever be lost.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// Where an instance stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Nobody leads as far as is known: not connected yet, or nobody stands.
    Unknown,
    /// The `host:port` of who leads.
    Following(String),
    Leading,
}

/// Stands for election with a session, as `id` (`host:port`), until the session or the wish is over.
/// Returns what ended it; `standing` is then `Unknown`.
pub async fn stand(client: &Client, folder: &str, id: &str, standing: &watch::Sender<Standing>) -> Error {
    let error = tokio::select! {
        error = take_part(client, folder, id, standing) => error,
        state = client.over() => state.error(),
    };
    tell(standing, Standing::Unknown);
    error
}

async fn take_part(client: &Client, folder: &str, id: &str, standing: &watch::Sender<Standing>) -> Error {
    let prefix = format!("_c_{}-latch-", unique());
    let mut own: Option<String> = None;
    loop {
        let name = match &own {
            Some(name) => name.clone(),
            None => match enter(client, folder, &prefix, id.as_bytes()).await {
                Ok(name) => own.insert(name).clone(),
                Err(error) => return error,
            },
        };
        let watch = match look(client, folder, &name).await {
            Ok((Some(now), watch)) => {
                tell(standing, now);
                watch
            }
            // Somebody removed our node, which is one way to take the leadership away.
            Ok((None, _)) => {
                tell(standing, Standing::Unknown);
                own = None;
                continue;
            }
            // The session goes on, and so does what it holds.
            Err(Error::ConnectionLost | Error::Timeout | Error::Unreachable(_)) => continue,
            Err(error) => return error,
        };
        let _ = tokio::time::timeout(LOOK_AGAIN, watch.fired()).await;
    }
}

/// `None`: our own node is not there.
async fn look(client: &Client, folder: &str, own: &str) -> Result<(Option<Standing>, crate::Watch), Error> {
    loop {
        let (names, watch) = client.watch_children(folder).await?;
        if !names.iter().any(|it| it == own) {
            return Ok((None, watch));
        }
        let lowest = lowest(&names).unwrap_or(own);
        if lowest == own {
            return Ok((Some(Standing::Leading), watch));
        }
        match client.get(&format!("{folder}/{lowest}")).await {
            Ok((id, _)) => {
                let id = String::from_utf8_lossy(&id).into_owned();
                return Ok((Some(Standing::Following(id)), watch));
            }
            // It went between the two looks.
            Err(Error::NoNode) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Who leads, for whoever does not stand: `host:port`.
pub async fn leader(client: &Client, folder: &str) -> Result<Option<String>, Error> {
    let names = match client.children(folder).await {
        Ok(names) => names,
        Err(Error::NoNode) => return Ok(None),
        Err(error) => return Err(error),
    };
    let Some(lowest) = lowest(&names) else { return Ok(None) };
    match client.get(&format!("{folder}/{lowest}")).await {
        Ok((id, _)) => Ok(Some(String::from_utf8_lossy(&id).into_owned())),
        Err(Error::NoNode) => Ok(None),
        Err(error) => Err(error),
    }
}

/// By the number at the end, whatever stands before it: other programs may have prefixes of their own.
fn lowest(names: &[String]) -> Option<&str> {
    let number = |name: &str| name.rsplit('-').next().and_then(|it| it.parse::<u32>().ok());
    names.iter().filter_map(|it| Some((number(it)?, it.as_str()))).min().map(|(_, name)| name)
}

fn tell(standing: &watch::Sender<Standing>, now: Standing) {
    standing.send_if_modified(|before| {
        let changed = *before != now;
        *before = now;
        changed
    });
}

/// In the form of a UUID, as Curator has it.
fn unique() -> String {
    let random = |salt: u8| RandomState::new().hash_one((salt, std::time::Instant::now()));
    let (a, b) = (random(0), random(1));
    format!(
        "{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}",
        a >> 32,
        (a >> 16) & 0xffff,
        a & 0xfff,
        b >> 52,
        b & 0xffff_ffff_ffff
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_number_leads_whatever_stands_before_it() {
        for (names, want) in [
            (
                &["_c_f-latch-0000000003", "_c_a-latch-0000000010", "x-0000000007"][..],
                Some("_c_f-latch-0000000003"),
            ),
            (&["junk", "member_1"], None),
            (&[], None),
        ] {
            let names: Vec<String> = names.iter().map(|it| it.to_string()).collect();
            assert_eq!(lowest(&names), want);
        }
        let id = unique();
        assert_eq!(id.len(), 36, "{id}");
        assert_ne!(id, unique());
    }
}
