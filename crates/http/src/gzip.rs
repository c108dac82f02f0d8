//! Compressed bodies. A large list is compressed once, not once per poller.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::sync::OnceCell;

/// Smaller bodies gain nothing.
pub const LEAST: usize = 1024;
/// From here on a body is worth remembering, and compressing it would hold up a worker.
const LARGE: usize = 64 * 1024;
const KEPT: usize = 4;
/// Of plain bytes held, unless a single body is larger.
const KEPT_BYTES: usize = 64 << 20;

/// Bodies that are cached upstream come as the very same bytes again and again; holding them here keeps
/// their address from meaning anything else.
#[derive(Default)]
pub struct Gzip {
    kept: Mutex<Vec<Kept>>,
}

struct Kept {
    plain: Bytes,
    packed: Arc<OnceCell<Option<Bytes>>>,
}

impl Gzip {
    /// `None`: it could not be done, so the plain body has to do.
    pub async fn pack(&self, plain: Bytes) -> Option<Bytes> {
        if plain.len() < LARGE {
            return pack(&plain, Compression::new(4));
        }
        let cell = self.cell(&plain);
        let work = || async {
            let input = plain.clone();
            let job = tokio::task::spawn_blocking(move || pack(&input, Compression::fast()));
            // The job ends early only if the process does.
            job.await.ok().flatten()
        };
        cell.get_or_init(work).await.clone()
    }

    fn cell(&self, plain: &Bytes) -> Arc<OnceCell<Option<Bytes>>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |it: &Kept| it.plain.as_ptr() == plain.as_ptr() && it.plain.len() == plain.len();
        if let Some(at) = kept.iter().position(same) {
            let found = kept.remove(at);
            let cell = found.packed.clone();
            kept.push(found);
            return cell;
        }
        while !kept.is_empty()
            && (kept.len() >= KEPT
                || kept.iter().map(|it| it.plain.len()).sum::<usize>() + plain.len() > KEPT_BYTES)
        {
            kept.remove(0);
        }
        let cell = Arc::new(OnceCell::new());
        kept.push(Kept { plain: plain.clone(), packed: cell.clone() });
        cell
    }
}

fn pack(plain: &[u8], level: Compression) -> Option<Bytes> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 4), level);
    encoder.write_all(plain).ok()?;
    encoder.finish().ok().map(Bytes::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn unpack(packed: &[u8]) -> Vec<u8> {
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(packed).read_to_end(&mut plain).unwrap();
        plain
    }

    #[tokio::test]
    async fn the_same_bytes_are_packed_once() {
        let gzip = Gzip::default();
        let body = Bytes::from(vec![b'x'; LARGE * 2]);
        let first = gzip.pack(body.clone()).await.unwrap();
        assert_eq!(unpack(&first), body);
        assert_eq!(gzip.pack(body.clone()).await.unwrap().as_ptr(), first.as_ptr());
        for n in 0..KEPT * 2 {
            let other = Bytes::from(vec![n as u8; LARGE]);
            assert_eq!(unpack(&gzip.pack(other.clone()).await.unwrap()), other);
        }
        assert_eq!(gzip.kept.lock().unwrap().len(), KEPT);
        assert_eq!(unpack(&gzip.pack(Bytes::from_static(b"small")).await.unwrap()), b"small");
    }
}
