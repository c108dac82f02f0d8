//! Downloaded files that several tasks use.
//!
//! Tasks that want the same file at the same time wait for one download. The least recently used files
//! go when the cache outgrows its bound; a file that is being copied lives until the copy is done,
//! since dropping the last `Cached` is what removes it.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OnceCell;

pub struct Cache {
    dir: PathBuf,
    bytes_max: u64,
    names: AtomicU64,
    entries: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    by_uri: HashMap<String, Entry>,
    uses: u64,
}

struct Entry {
    file: Arc<OnceCell<Arc<Cached>>>,
    last_use: u64,
}

/// A file in the cache.
pub struct Cached {
    path: PathBuf,
    bytes: u64,
}

impl Cached {
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Cached {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

impl Cache {
    pub fn new(dir: PathBuf, bytes_max: u64) -> Cache {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let _ = fs::remove_file(entry.path());
        }
        Cache { dir, bytes_max, names: AtomicU64::new(0), entries: Mutex::default() }
    }

    /// The file of this URI; `download` brings it to the path it is given and says how large it is.
    pub async fn get<F>(&self, uri: &str, download: impl FnOnce(PathBuf) -> F) -> Result<Arc<Cached>, String>
    where
        F: Future<Output = Result<u64, String>>,
    {
        let cell = {
            let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
            entries.uses += 1;
            let uses = entries.uses;
            let entry = entries
                .by_uri
                .entry(uri.to_owned())
                .or_insert_with(|| Entry { file: Arc::default(), last_use: 0 });
            entry.last_use = uses;
            entry.file.clone()
        };
        // A failed download leaves the cell empty, and the next who waits tries again.
        let file = cell
            .get_or_try_init(|| async {
                let name = self.names.fetch_add(1, Ordering::Relaxed);
                let mut cached = Cached { path: self.dir.join(name.to_string()), bytes: 0 };
                cached.bytes = download(cached.path.clone()).await?;
                Ok::<_, String>(Arc::new(cached))
            })
            .await
            .cloned();
        drop(cell);
        self.trim();
        file
    }

    fn trim(&self) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        // Entries without a file that nobody waits for are left of failed downloads.
        entries.by_uri.retain(|_, it| it.file.get().is_some() || 1 < Arc::strong_count(&it.file));
        let size = |it: &Entry| it.file.get().map_or(0, |file| file.bytes);
        let mut sum: u64 = entries.by_uri.values().map(size).sum();
        while self.bytes_max < sum {
            let files = entries.by_uri.iter().filter(|(_, it)| it.file.get().is_some());
            let Some(oldest) = files.min_by_key(|(_, it)| it.last_use).map(|(uri, _)| uri.clone()) else {
                return;
            };
            sum -= entries.by_uri.remove(&oldest).as_ref().map_or(0, size);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn get(
        cache: &Cache,
        uri: &str,
        bytes: usize,
        downloads: &AtomicU64,
    ) -> Result<Arc<Cached>, String> {
        let download = async |path: PathBuf| {
            downloads.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            fs::write(path, vec![b'x'; bytes]).unwrap();
            if bytes == 0 { Err("empty".to_owned()) } else { Ok(bytes as u64) }
        };
        cache.get(uri, download).await
    }

    #[tokio::test]
    async fn one_download_serves_all_and_the_least_used_goes() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("left-over"), "x").unwrap();
        let cache = Cache::new(dir.path().to_owned(), 10);
        let count = AtomicU64::new(0);
        let files = || fs::read_dir(dir.path()).unwrap().count();

        let (a, b) = tokio::join!(get(&cache, "a", 4, &count), get(&cache, "a", 4, &count));
        assert_eq!((a.unwrap().path(), count.load(Ordering::Relaxed), files()), (b.unwrap().path(), 1, 1));

        get(&cache, "b", 4, &count).await.unwrap();
        get(&cache, "a", 4, &count).await.unwrap();
        get(&cache, "c", 4, &count).await.unwrap(); // `b` must go
        assert_eq!((count.load(Ordering::Relaxed), files()), (3, 2));
        get(&cache, "a", 4, &count).await.unwrap();
        assert_eq!(count.load(Ordering::Relaxed), 3);

        let large = get(&cache, "large", 11, &count).await.unwrap();
        assert!(large.path().exists());
        drop(large);
        assert_eq!(files(), 0);
    }

    #[tokio::test]
    async fn a_failed_download_is_tried_again() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::new(dir.path().to_owned(), 10);
        let count = AtomicU64::new(0);
        assert!(get(&cache, "a", 0, &count).await.is_err());
        assert!(get(&cache, "a", 1, &count).await.is_ok());
        assert_eq!(count.load(Ordering::Relaxed), 2);
    }
}
