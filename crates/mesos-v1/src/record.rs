//! RecordIO: how a stream of messages is cut into records.
//!
//! Each record is its length in decimal digits, a newline and that many bytes. Where a connection cuts the stream
//! into chunks means nothing, so the decoder takes any pieces and gives whole records.

use bytes::{Buf, Bytes, BytesMut};

/// The longest record that is read.
///
/// The first offers of a cluster of 50,000 agents come in one record of up to 150 MB; a length beyond this is
/// not a record of Mesos.
pub const LONGEST: usize = 256 << 20;

/// No length of an acceptable record has more digits.
const MOST_DIGITS: usize = 20;

/// Why a stream cannot be read any further: where one record ends is where the next begins, so there is no
/// going on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    #[error("the length of a record is not a decimal number: `{0}`")]
    Length(String),
    #[error("a record of {length} bytes is longer than the {longest} that are accepted")]
    TooLong { length: u64, longest: usize },
}

/// Puts records together from pieces of a stream.
#[derive(Debug)]
pub struct Decoder {
    buffer: BytesMut,
    /// The length of the record that is being read, once its header is whole.
    length: Option<usize>,
    longest: usize,
    /// How much of the buffer is known to hold digits only.
    looked_at: usize,
    failed: Option<RecordError>,
}

impl Default for Decoder {
    fn default() -> Decoder {
        Decoder::new(LONGEST)
    }
}

impl Decoder {
    pub fn new(longest: usize) -> Decoder {
        Decoder { buffer: BytesMut::new(), length: None, longest, looked_at: 0, failed: None }
    }

    /// Takes the next piece. Memory grows with what arrives, never with what a header promises.
    pub fn feed(&mut self, piece: &[u8]) {
        if self.failed.is_none() {
            self.buffer.extend_from_slice(piece);
        }
    }

    /// The next whole record, or `None` until more was fed. After an error every call gives that error.
    pub fn next_record(&mut self) -> Result<Option<Bytes>, RecordError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let length = match self.length {
            Some(length) => length,
            None => match self.header() {
                Ok(Some(length)) => length,
                Ok(None) => return Ok(None),
                Err(error) => {
                    self.buffer = BytesMut::new();
                    self.failed = Some(error.clone());
                    return Err(error);
                }
            },
        };
        if self.buffer.len() < length {
            self.length = Some(length);
            return Ok(None);
        }
        self.length = None;
        Ok(Some(self.buffer.split_to(length).freeze()))
    }

    /// Whether the stream may end here: not within a record.
    pub fn is_between_records(&self) -> bool {
        self.failed.is_none() && self.length.is_none() && self.buffer.is_empty()
    }

    fn header(&mut self) -> Result<Option<usize>, RecordError> {
        while let Some(&byte) = self.buffer.get(self.looked_at) {
            if byte == b'\n' {
                return self.finish_header().map(Some);
            }
            if !byte.is_ascii_digit() || self.looked_at == MOST_DIGITS {
                return Err(self.bad_length(self.looked_at + 1));
            }
            self.looked_at += 1;
        }
        Ok(None)
    }

    fn finish_header(&mut self) -> Result<usize, RecordError> {
        let digits = std::str::from_utf8(&self.buffer[..self.looked_at]).unwrap_or_default();
        let Ok(length) = digits.parse::<u64>() else { return Err(self.bad_length(self.looked_at)) };
        match usize::try_from(length) {
            Ok(it) if it <= self.longest => {
                self.buffer.advance(self.looked_at + 1);
                self.looked_at = 0;
                Ok(it)
            }
            _ => Err(RecordError::TooLong { length, longest: self.longest }),
        }
    }

    fn bad_length(&self, shown: usize) -> RecordError {
        let shown = self.buffer.get(..shown).unwrap_or_default();
        RecordError::Length(shown.escape_ascii().to_string())
    }
}

/// One record, ready to be sent.
pub fn encode(payload: &[u8]) -> Bytes {
    let mut record = BytesMut::with_capacity(payload.len() + MOST_DIGITS + 1);
    record.extend_from_slice(payload.len().to_string().as_bytes());
    record.extend_from_slice(b"\n");
    record.extend_from_slice(payload);
    record.freeze()
}
