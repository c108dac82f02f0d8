//! What one node of the store holds, and how more than fits into one is split.
//!
//! ```text
//! entries ─ encode ─► body ─ gzip, if long ─► split ─► node, node, … (each: header, part of the body)
//! header: "MRZ" version · gzip? · which part · of how many · length of the whole body · checksum of this part
//! ```

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

use super::ZkOptions;
use crate::Pair;

pub const HEADER: usize = 24;
const MAGIC: [u8; 4] = *b"MRZ1";
/// A body that claims to be longer is not ours.
const BODY_MAX: u64 = 1 << 30;
/// Stands for the length of a value that is not there: the key is deleted.
const DELETED: u32 = u32::MAX;

/// Key by key, with lengths before them.
#[derive(Debug, Default)]
pub struct Body(pub Vec<u8>);

impl Body {
    pub fn put(&mut self, key: &str, value: Option<&[u8]>) {
        self.length(key.len());
        self.0.extend_from_slice(key.as_bytes());
        match value {
            Some(value) => {
                self.length(value.len());
                self.0.extend_from_slice(value);
            }
            None => self.0.extend_from_slice(&DELETED.to_be_bytes()),
        }
    }

    fn length(&mut self, length: usize) {
        // Nothing of 4 GiB gets past the limits of requests.
        let length = u32::try_from(length).unwrap_or(DELETED - 1);
        self.0.extend_from_slice(&length.to_be_bytes());
    }
}

/// The nodes that hold a body: mostly one.
pub fn pack(body: &[u8], options: &ZkOptions) -> Vec<Vec<u8>> {
    let zipped = options.compression.filter(|it| body.len() as u64 >= *it).and_then(|_| gzip(body));
    // Once in a while something does not shrink.
    let zipped = zipped.filter(|it| it.len() < body.len());
    let stored = zipped.as_deref().unwrap_or(body);
    let room = options.node_bytes().saturating_sub(HEADER).max(1);
    let parts = stored.len().div_ceil(room).max(1);
    let part = |at: usize| {
        let part = &stored[(at * room).min(stored.len())..((at + 1) * room).min(stored.len())];
        let mut node = Vec::with_capacity(HEADER + part.len());
        node.extend_from_slice(&MAGIC);
        node.extend_from_slice(&[zipped.is_some().into(), 0, 0, 0]);
        for number in [at, parts, body.len()] {
            node.extend_from_slice(&u32::try_from(number).unwrap_or(u32::MAX).to_be_bytes());
        }
        node.extend_from_slice(&crc32fast::hash(part).to_be_bytes());
        node.extend_from_slice(part);
        node
    };
    (0..parts).map(part).collect()
}

fn gzip(body: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
    encoder.write_all(body).ok()?;
    encoder.finish().ok()
}

/// One node, read and verified.
#[derive(Debug)]
pub struct Part<'a> {
    pub at: u32,
    pub of: u32,
    zipped: bool,
    length: u64,
    bytes: &'a [u8],
}

impl Part<'_> {
    pub fn read(node: &[u8]) -> Result<Part<'_>, String> {
        let (head, bytes) = node.split_at_checked(HEADER).ok_or("it is too short")?;
        let number = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        if head[..3] != MAGIC[..3] {
            return Err("it was not written by Marathon".to_owned());
        }
        if head[3] != MAGIC[3] {
            return Err("its format is not known".to_owned());
        }
        if number(20) != crc32fast::hash(bytes) {
            return Err("its checksum does not match".to_owned());
        }
        let part =
            Part { at: number(8), of: number(12), zipped: head[4] != 0, length: number(16).into(), bytes };
        if part.at >= part.of || part.length > BODY_MAX {
            return Err("its header makes no sense".to_owned());
        }
        Ok(part)
    }
}

/// Puts the body together again.
pub fn unpack(parts: &[Part<'_>]) -> Result<Vec<u8>, String> {
    let Some(first) = parts.first() else { return Err("there is nothing".to_owned()) };
    let stored = parts.iter().map(|it| it.bytes).collect::<Vec<_>>().concat();
    let body = if first.zipped {
        let mut body = Vec::new();
        let read = GzDecoder::new(stored.as_slice()).take(first.length + 1).read_to_end(&mut body);
        read.map_err(|error| format!("it cannot be unzipped: {error}"))?;
        body
    } else {
        stored
    };
    if body.len() as u64 == first.length {
        Ok(body)
    } else {
        Err("its length is not what it says".to_owned())
    }
}

/// Every entry in order.
pub fn entries(body: &[u8], mut apply: impl FnMut(&str, Option<&[u8]>)) -> Result<(), String> {
    let mut rest = body;
    fn length(rest: &mut &[u8]) -> Option<u32> {
        let (length, after) = rest.split_first_chunk::<4>()?;
        *rest = after;
        Some(u32::from_be_bytes(*length))
    }
    fn take<'a>(rest: &mut &'a [u8], count: u32) -> Option<&'a [u8]> {
        let (taken, after) = rest.split_at_checked(count as usize)?;
        *rest = after;
        Some(taken)
    }
    while !rest.is_empty() {
        let key =
            length(&mut rest).and_then(|it| take(&mut rest, it)).and_then(|it| std::str::from_utf8(it).ok());
        let value = length(&mut rest).and_then(|it| match it {
            DELETED => Some(None),
            it => take(&mut rest, it).map(Some),
        });
        let (Some(key), Some(value)) = (key, value) else { return Err("an entry is cut off".to_owned()) };
        apply(key, value);
    }
    Ok(())
}

/// A body of pairs for a snapshot.
pub fn put_pair(body: &mut Body, (key, value): &Pair) {
    body.put(key, Some(value));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn there_and_back(body: &[u8], options: &ZkOptions) -> usize {
        let nodes = pack(body, options);
        let parts: Vec<_> = nodes.iter().map(|it| Part::read(it).unwrap()).collect();
        assert!(nodes.iter().all(|it| it.len() <= options.node_bytes()));
        assert_eq!(unpack(&parts).unwrap(), body);
        nodes.len()
    }

    #[test]
    fn bodies_round_trip_in_nodes_of_every_size() {
        let body: Vec<u8> = (0..5000_u32).flat_map(|it| (it % 7).to_be_bytes()).collect();
        for (max_node_size, compression, want) in [
            (1_000_000, None, 1),
            (1024, None, 20),
            (1024, Some(0), 1),
            (1024, Some(1 << 20), 20),
            (25, None, 20_000),
        ] {
            let options = ZkOptions { max_node_size, compression, ..ZkOptions::default() };
            assert_eq!(there_and_back(&body, &options), want, "{max_node_size} {compression:?}");
            there_and_back(b"", &options);
        }
    }

    #[test]
    fn any_flipped_bit_of_a_part_shows() {
        let node = pack(b"some body", &ZkOptions::default()).remove(0);
        for at in (0..4).chain(HEADER..node.len()) {
            for bit in 0..8 {
                let mut node = node.clone();
                node[at] ^= 1 << bit;
                assert!(Part::read(&node).is_err(), "byte {at}, bit {bit}");
            }
        }
        for length in 0..node.len() {
            assert!(Part::read(&node[..length]).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn entries_keep_their_order_and_deletions() {
        let mut body = Body::default();
        body.put("a", Some(b"1"));
        body.put("b", None);
        body.put("a", Some(b""));
        let mut seen = Vec::new();
        entries(&body.0, |key, value| seen.push((key.to_owned(), value.map(<[u8]>::to_vec)))).unwrap();
        assert_eq!(seen, [("a".into(), Some(b"1".to_vec())), ("b".into(), None), ("a".into(), Some(vec![]))]);
        for cut in 1..body.0.len() {
            let _ = entries(&body.0[..cut], |_, _| {});
        }
    }
}
