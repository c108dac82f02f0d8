//! The bytes of a file: one header, then records.
//!
//! ```text
//! header   magic 8 │ kind 4 │ format 4 │ first sequence number 8 │ crc 4 │ zeros 4
//! record   mark 4 │ length 4 │ sequence number 8 │ head crc 4 │ body crc 4 ║ body … │ end marks 8 to 15
//! body     kind 1, then of a batch each entry: key length 4 │ value length + 1, or 0 for a deletion 4 │ key │ value
//! ```
//! Numbers are little-endian. The head has a checksum of its own, so that the length can be trusted before
//! the body is read: a length that points past the end of the file then means "cut short" and cannot be a
//! flipped bit. Records begin and end at multiples of 8 bytes and with marks that are not zero. So in every
//! sector that a record touches, it has at least one 8-byte word that is never all zeros, and "this sector
//! was never written" cannot be the work of one damaged byte.

use crate::error::Cause;
use crate::{Entry, Pair};

pub const HEADER: usize = 32;
pub const HEAD: usize = 24;
/// A crash keeps or loses what was written in units of at least this many bytes.
pub const SECTOR: usize = 512;
/// Far beyond any real batch, and far from overflowing anything.
pub const BODY_MAX: usize = 1 << 30;

const MAGIC: &[u8; 8] = b"MARATHON";
const FORMAT: u32 = 1;
const MARK: [u8; 4] = [0xC3, 0x5A, 0x96, 0xE7];
const END_MARK: u8 = 0xA5;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    Log,
    Snapshot,
}

impl FileKind {
    fn magic(self) -> [u8; 4] {
        match self {
            FileKind::Log => *b"LOG\n",
            FileKind::Snapshot => *b"SNAP",
        }
    }
}

/// What a record is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordKind {
    /// Changes, all or none.
    Batch = 1,
    /// Closes a log: the next file goes on from here. Closes a snapshot: it is complete.
    End = 2,
}

pub fn header(kind: FileKind, first: u64) -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..12].copy_from_slice(&kind.magic());
    bytes[12..16].copy_from_slice(&FORMAT.to_le_bytes());
    bytes[16..24].copy_from_slice(&first.to_le_bytes());
    let crc = crc32fast::hash(&bytes[..24]);
    bytes[24..28].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// Checks the header of a file that should begin with record `first`.
pub fn check_header(bytes: &[u8], kind: FileKind, first: u64) -> Result<(), Cause> {
    let damaged = |what: &str| Cause::Damaged { offset: 0, what: what.to_owned() };
    let bytes = bytes.get(..HEADER).ok_or_else(|| damaged("the file is shorter than its header"))?;
    if crc32fast::hash(&bytes[..24]) != u32_at(bytes, 24) || u32_at(bytes, 28) != 0 {
        return Err(damaged("the header does not match its checksum"));
    }
    if bytes[..8] != *MAGIC || bytes[8..12] != kind.magic() {
        return Err(damaged("the header belongs to a file of another kind"));
    }
    match u32_at(bytes, 12) {
        FORMAT => {}
        found if found > FORMAT => return Err(Cause::Newer { found, known: FORMAT }),
        _ => return Err(damaged("the header names a format that never was")),
    }
    if u64_at(bytes, 16) != first {
        return Err(damaged("the header belongs to a file of another name"));
    }
    Ok(())
}

/// Builds a record in a buffer that can be used again.
#[derive(Debug)]
pub struct Builder {
    bytes: Vec<u8>,
}

impl Builder {
    pub fn new() -> Builder {
        Builder { bytes: Vec::new() }
    }

    pub fn begin(&mut self, kind: RecordKind) {
        self.bytes.clear();
        self.bytes.resize(HEAD, 0);
        self.bytes.push(kind as u8);
    }

    pub fn put(&mut self, key: &str, value: Option<&[u8]>) {
        // Lengths past `BODY_MAX` wrap here and are refused by `finish`, which sees the sum.
        let value_length = value.map_or(0, |it| it.len() as u32 + 1);
        self.bytes.extend_from_slice(&(key.len() as u32).to_le_bytes());
        self.bytes.extend_from_slice(&value_length.to_le_bytes());
        self.bytes.extend_from_slice(key.as_bytes());
        self.bytes.extend_from_slice(value.unwrap_or_default());
    }

    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The complete record.
    pub fn finish(&mut self, sequence: u64) -> Result<&[u8], Cause> {
        let length = self.bytes.len() - HEAD;
        if length > BODY_MAX {
            self.bytes = Vec::new();
            return Err(Cause::TooLarge { bytes: length, limit: BODY_MAX });
        }
        self.bytes.resize(HEAD + padded(length), END_MARK);
        let (head, body) = self.bytes.split_at_mut(HEAD);
        head[..4].copy_from_slice(&MARK);
        head[4..8].copy_from_slice(&(length as u32).to_le_bytes());
        head[8..16].copy_from_slice(&sequence.to_le_bytes());
        let crc = crc32fast::hash(&head[..16]);
        head[16..20].copy_from_slice(&crc.to_le_bytes());
        head[20..24].copy_from_slice(&crc32fast::hash(body).to_le_bytes());
        Ok(&self.bytes)
    }
}

/// The length of a body with its end marks.
fn padded(length: usize) -> usize {
    length.next_multiple_of(8) + 8
}

/// A record's head, once its checksum is known to match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    length: usize,
    pub sequence: u64,
    body_crc: u32,
}

impl Head {
    /// `None`: not enough bytes, or they do not match their checksum.
    pub fn read(bytes: &[u8]) -> Option<Head> {
        let bytes = bytes.get(..HEAD)?;
        if bytes[..4] != MARK || crc32fast::hash(&bytes[..16]) != u32_at(bytes, 16) {
            return None;
        }
        let head = Head {
            length: u32_at(bytes, 4) as usize,
            sequence: u64_at(bytes, 8),
            body_crc: u32_at(bytes, 20),
        };
        (1..=BODY_MAX).contains(&head.length).then_some(head)
    }

    /// The length of the whole record.
    pub fn extent(self) -> usize {
        HEAD + padded(self.length)
    }

    /// The body without its end marks, if it is all there and matches its checksum.
    pub fn body(self, record: &[u8]) -> Option<&[u8]> {
        let body = record.get(HEAD..self.extent())?;
        (crc32fast::hash(body) == self.body_crc).then(|| &body[..self.length])
    }
}

pub fn record_kind(body: &[u8]) -> Option<RecordKind> {
    match body.first()? {
        1 => Some(RecordKind::Batch),
        2 => Some(RecordKind::End),
        _ => None,
    }
}

/// Hands each entry of a verified batch to `apply`; `None` if the body is not made of entries after all.
pub fn entries(body: &[u8], mut apply: impl FnMut(&str, Option<&[u8]>)) -> Option<()> {
    let mut rest = body.get(1..)?;
    while !rest.is_empty() {
        if rest.len() < 8 {
            return None;
        }
        let (key, value) = (u32_at(rest, 0) as usize, u32_at(rest, 4) as usize);
        let end_of_key = 8 + key;
        let end = end_of_key + value.saturating_sub(1);
        let name = std::str::from_utf8(rest.get(8..end_of_key)?).ok()?;
        let text = rest.get(end_of_key..end)?;
        apply(name, (value != 0).then_some(text));
        rest = &rest[end..];
    }
    Some(())
}

impl Builder {
    pub fn put_entry(&mut self, entry: &Entry) {
        self.put(&entry.key, entry.value.as_deref());
    }

    pub fn put_pair(&mut self, (key, value): &Pair) {
        self.put(key, Some(value));
    }
}

/// Callers have checked the length.
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(number)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_round_trip() {
        let mut builder = Builder::new();
        builder.begin(RecordKind::Batch);
        builder.put("a", Some(b"1"));
        builder.put("b", Some(b""));
        builder.put("", None);
        let record = builder.finish(7).unwrap().to_vec();
        let head = Head::read(&record).unwrap();
        assert_eq!((head.sequence, head.extent()), (7, record.len()));
        let body = head.body(&record).unwrap();
        assert_eq!(record_kind(body), Some(RecordKind::Batch));
        let mut seen = Vec::new();
        entries(body, |key, value| seen.push((key.to_owned(), value.map(<[u8]>::to_vec)))).unwrap();
        let want = [("a", Some(b"1".to_vec())), ("b", Some(Vec::new())), ("", None)];
        assert_eq!(seen, want.map(|(key, value)| (key.to_owned(), value)));
    }

    #[test]
    fn any_flipped_bit_shows() {
        let mut builder = Builder::new();
        builder.begin(RecordKind::Batch);
        builder.put("key", Some(b"value"));
        let record = builder.finish(1).unwrap().to_vec();
        for bit in 0..record.len() * 8 {
            let mut flipped = record.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Head::read(&flipped).and_then(|it| it.body(&flipped).map(|_| ())).is_none(), "bit {bit}");
        }
        let header = header(FileKind::Log, 1);
        for bit in 0..HEADER * 8 {
            let mut flipped = header;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(check_header(&flipped, FileKind::Log, 1).is_err(), "bit {bit}");
        }
    }

    /// Checksums that match do not make the inside of a body trustworthy: lengths are checked too.
    #[test]
    fn strange_bodies_do_no_harm() {
        for body in [&[][..], &[1, 0], &[1, 255, 255, 255, 255, 0, 0, 0, 0], &[1, 0, 0, 0, 0, 9, 0, 0, 0]] {
            assert_eq!(entries(body, |_, _| ()), None, "{body:?}");
        }
        assert_eq!(record_kind(&[9]), None);
    }
}
