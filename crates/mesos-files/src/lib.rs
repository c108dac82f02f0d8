//! Files of tasks that run on Mesos: asked of the agent, passed on within bounds.
//!
//! ```text
//! task ─► agent? (the view, or the master's /tasks) ─► address? (/slaves) ─► sandbox? ─► /files/browse, read, download
//!                                                                              │
//!                    /frameworks/…/executors/…/runs/latest, else the agent's /state
//! ```
//! Agents see to it themselves that a path stays in its sandbox. What was found out is remembered for a minute, so
//! that whoever follows a log costs the agent one request at a time.

mod client;
mod find;
mod follow;
mod json;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use marathon_files::{
    Answer, Ask, Chunks, ENTRIES_MAX, Entry, FilePath, Files, LOGS, Listing, PIECE_BYTES_MAX, Piece, Refused,
    Source, Target, Whole,
};

pub use client::{Cluster, Login, Settings};

use client::Client;
use find::{Finder, Place};
use follow::{HEAD_BYTES, Head, ROTATED_MAX};

/// What a file is called that cannot be known again, as it is empty yet.
const ANY_FILE: &str = "-";
/// An agent is asked this often on behalf of somebody who waits.
const LOOK: Duration = Duration::from_secs(1);

#[derive(Clone)]
pub struct MesosFiles(Arc<Inner>);

struct Inner {
    client: Client,
    finder: Finder,
}

impl MesosFiles {
    /// `cluster`: the leading master and our framework, while there are any.
    pub fn new(
        settings: &Settings,
        cluster: impl Fn() -> Option<Cluster> + Send + Sync + 'static,
    ) -> Result<MesosFiles, String> {
        let client = Client::new(settings)?;
        Ok(MesosFiles(Arc::new(Inner { client, finder: Finder::new(Box::new(cluster)) })))
    }
}

impl Inner {
    async fn find(&self, of: &Target, path: &FilePath) -> Result<Spot, Refused> {
        let place = self.finder.find(&self.client, of).await?;
        let path = match path.is_empty() {
            true => place.folder.clone(),
            false => format!("{}/{path}", place.folder),
        };
        Ok(Spot { place, path })
    }

    async fn list(&self, of: &Target, path: &FilePath) -> Result<Listing, Refused> {
        let spot = self.find(of, path).await?;
        let body = self.client.get(&spot.url("browse", &[]), json::LISTING_BYTES_MAX).await?;
        // Of a file an agent lists nothing, as of an empty folder.
        let mut entries: Vec<Entry> =
            json::listing(&body)?.into_iter().filter_map(|it| it.entry(&spot.path)).collect();
        if entries.is_empty() && !path.is_empty() {
            match self.size(&spot).await {
                Ok(_) => return Err(Refused::NotFolder),
                Err(Refused::IsFolder) => {}
                Err(other) => return Err(other),
            }
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        let truncated = entries.len() > ENTRIES_MAX;
        if truncated {
            let logs: Vec<Entry> = entries.split_off(ENTRIES_MAX);
            entries.extend(logs.into_iter().filter(|it| path.is_empty() && LOGS.contains(&it.name.as_str())));
        }
        Ok(Listing { entries, truncated })
    }

    async fn piece(&self, spot: &Spot, offset: u64, length: u64) -> Result<Bytes, Refused> {
        let numbers = [("offset", offset.to_string()), ("length", length.to_string())];
        let body = self.client.get(&spot.url("read", &numbers), json::PIECE_ANSWER_BYTES_MAX).await?;
        json::piece(&body).map(|it| it.data)
    }

    async fn size(&self, spot: &Spot) -> Result<u64, Refused> {
        let ask = [("offset", "-1".to_owned())];
        let body = self.client.get(&spot.url("read", &ask), json::PIECE_ANSWER_BYTES_MAX).await?;
        json::piece(&body).map(|it| it.offset)
    }

    /// How a file begins.
    async fn beginning(&self, spot: &Spot) -> Result<Bytes, Refused> {
        self.piece(spot, 0, HEAD_BYTES).await
    }

    async fn read(&self, of: &Target, path: &FilePath, ask: &Ask) -> Result<Piece, Refused> {
        let spot = self.find(of, path).await?;
        let length = ask.length.min(PIECE_BYTES_MAX);
        let Some(offset) = ask.offset else {
            let beginning = self.beginning(&spot).await?;
            let size = match (beginning.len() as u64) < HEAD_BYTES {
                true => beginning.len() as u64,
                false => self.size(&spot).await?,
            };
            return Ok(Piece {
                data: Bytes::new(),
                offset: size,
                size,
                file: name(&beginning),
                restarted: false,
            });
        };
        let reads_on: Option<Option<Head>> = ask.file.as_deref().map(|it| it.parse().ok());
        let data = match (self.piece(&spot, offset, length).await, reads_on) {
            // There is a moment without the file while it is rotated.
            (Err(Refused::NoFile), Some(head @ Some(_))) => {
                return self.rotated(&spot, head, offset, length).await?.ok_or(Refused::NoFile);
            }
            (data, _) => data?,
        };
        let end = offset + data.len() as u64;
        // Only what is cut off by the length, or begins behind the end, leaves open where that is.
        let known = !data.is_empty() && (data.len() as u64) < length;
        let size = if known { end } else { self.size(&spot).await? };
        if data.is_empty() && offset == size && reads_on.is_some() {
            // There is nothing new, and who waits asks often.
            return Ok(Piece { data, offset, size, file: ask.file.clone(), restarted: false });
        }
        let beginning = if offset == 0 && (known || data.len() as u64 >= HEAD_BYTES) {
            data.clone()
        } else {
            self.beginning(&spot).await?
        };
        let is_another = |head: Option<Head>| size < offset || head.is_some_and(|it| !it.fits(&beginning));
        if let Some(head) = reads_on.filter(|it| is_another(*it)) {
            let found = self.rotated(&spot, head, offset, length).await?;
            return match found {
                Some(piece) => Ok(piece),
                None => self.anew(&spot, length).await,
            };
        }
        // It grew in between.
        let size = if end > offset { size.max(end) } else { size };
        Ok(Piece { data, offset, size, file: name(&beginning), restarted: false })
    }

    /// A file from its beginning, for somebody who was reading another.
    async fn anew(&self, spot: &Spot, length: u64) -> Result<Piece, Refused> {
        let data = self.piece(spot, 0, length.max(HEAD_BYTES)).await?;
        let file = name(&data);
        let size = self.size(spot).await?.max(data.len() as u64);
        let most = usize::try_from(length).unwrap_or(usize::MAX).min(data.len());
        Ok(Piece { data: data.slice(..most), offset: 0, size, file, restarted: true })
    }

    /// What comes next of a file that was rotated, or begun anew: its rest, then the next newer one; `None`: that is the
    /// one with the plain name. If it is gone the oldest that is left comes next.
    async fn rotated(
        &self,
        spot: &Spot,
        head: Option<Head>,
        offset: u64,
        length: u64,
    ) -> Result<Option<Piece>, Refused> {
        let at = |number: u32| Spot { path: format!("{}.{number}", spot.path), ..spot.clone() };
        let mut oldest = None;
        for number in 1..=ROTATED_MAX {
            let old = at(number);
            let beginning = match self.beginning(&old).await {
                Err(Refused::NoFile) => break,
                other => other?,
            };
            oldest = Some(old.clone());
            // Who knows no head read the newest.
            let is_it = head.map_or(number == 1, |it| it.fits(&beginning));
            if !is_it || self.size(&old).await? < offset {
                continue;
            }
            let data = self.piece(&old, offset, length).await?;
            if !data.is_empty() {
                // As long as there is some, all of the newer ones is still ahead.
                let size = offset + data.len() as u64 + 1;
                return Ok(Some(Piece { data, offset, size, file: name(&beginning), restarted: false }));
            }
            return match number {
                1 => Ok(None),
                _ => {
                    self.anew(&at(number - 1), length).await.map(|it| Some(Piece { size: it.size + 1, ..it }))
                }
            };
        }
        match oldest.filter(|_| head.is_some()) {
            Some(oldest) => {
                self.anew(&oldest, length).await.map(|it| Some(Piece { size: it.size + 1, ..it }))
            }
            None => Ok(None),
        }
    }

    async fn open(self: Arc<Inner>, of: &Target, path: &FilePath) -> Result<Whole, Refused> {
        let spot = self.find(of, path).await?;
        let answer = self.client.begin(&spot.url("download", &[])).await?;
        let size = answer.content_length().ok_or_else(|| {
            Refused::Unavailable(format!("{} does not say how long the file is", spot.place.agent))
        })?;
        let source = Download { inner: self.clone(), spot, answer };
        Ok(Whole { size, modified: None, tag: None, source: Box::new(source) })
    }
}

/// What a file is called by its beginning.
fn name(beginning: &Bytes) -> Option<String> {
    let most = usize::try_from(HEAD_BYTES).unwrap_or(usize::MAX).min(beginning.len());
    Some(match most {
        0 => ANY_FILE.to_owned(),
        _ => Head::of(&beginning[..most]).to_string(),
    })
}

/// A path on an agent.
#[derive(Debug, Clone)]
struct Spot {
    place: Place,
    path: String,
}

impl Spot {
    fn url(&self, what: &str, more: &[(&str, String)]) -> String {
        let mut url = format!("{}/files/{what}?path={}", self.place.agent, client::escaped(&self.path));
        for (name, value) in more {
            url.push_str(&format!("&{name}={value}"));
        }
        url
    }
}

struct Download {
    inner: Arc<Inner>,
    spot: Spot,
    answer: reqwest::Response,
}

impl Source for Download {
    /// Agents know no ranges: the beginning is a download that is cut off, the rest is read in pieces.
    fn chunks(self: Box<Self>, range: Range<u64>) -> Chunks {
        let Download { inner, spot, answer } = *self;
        if range.start == 0 {
            return Box::pin(futures_util::stream::try_unfold(
                (answer, range.end),
                |(mut answer, left)| async move {
                    if left == 0 {
                        return Ok(None);
                    }
                    let Some(mut chunk) = answer.chunk().await.map_err(std::io::Error::other)? else {
                        return Ok(None);
                    };
                    chunk.truncate(usize::try_from(left).unwrap_or(usize::MAX).min(chunk.len()));
                    let left = left - chunk.len() as u64;
                    Ok(Some((chunk, (answer, left))))
                },
            ));
        }
        drop(answer);
        Box::pin(futures_util::stream::try_unfold((inner, spot, range), |(inner, spot, range)| async move {
            if range.is_empty() {
                return Ok(None);
            }
            let length = (range.end - range.start).min(PIECE_BYTES_MAX);
            let chunk = inner.piece(&spot, range.start, length).await.map_err(std::io::Error::other)?;
            if chunk.is_empty() {
                return Ok(None);
            }
            let next = range.start + chunk.len() as u64..range.end;
            Ok(Some((chunk, (inner, spot, next))))
        }))
    }
}

impl Files for MesosFiles {
    fn list(&self, of: &Target, path: &FilePath) -> Answer<Listing> {
        let (inner, of, path) = (self.0.clone(), of.clone(), path.clone());
        Box::pin(async move { inner.list(&of, &path).await })
    }

    fn read(&self, of: &Target, path: &FilePath, ask: &Ask) -> Answer<Piece> {
        let (inner, of, path, ask) = (self.0.clone(), of.clone(), path.clone(), ask.clone());
        Box::pin(async move { inner.read(&of, &path, &ask).await })
    }

    fn open(&self, of: &Target, path: &FilePath) -> Answer<Whole> {
        let (inner, of, path) = (self.0.clone(), of.clone(), path.clone());
        Box::pin(async move { inner.open(&of, &path).await })
    }

    fn look(&self) -> Duration {
        LOOK
    }
}
