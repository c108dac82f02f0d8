//! The bytes of the protocol ("jute"): big-endian numbers, texts and buffers with their length before them.

use crate::Error;
use crate::client::{Acl, Op, Stat};

/// Request codes.
pub mod code {
    pub const CREATE: i32 = 1;
    pub const DELETE: i32 = 2;
    pub const EXISTS: i32 = 3;
    pub const GET: i32 = 4;
    pub const SET: i32 = 5;
    pub const SYNC: i32 = 9;
    pub const PING: i32 = 11;
    pub const CHILDREN: i32 = 12;
    pub const CHECK: i32 = 13;
    pub const MULTI: i32 = 14;
    pub const AUTH: i32 = 100;
    pub const CLOSE: i32 = -11;
    /// A failed part of a transaction, and the end of one.
    pub const ERROR: i32 = -1;
}

/// Request numbers with a meaning.
pub mod xid {
    pub const EVENT: i32 = -1;
    pub const PING: i32 = -2;
    pub const AUTH: i32 = -4;
}

const ROLLED_BACK: i32 = -2;

/// Answers are no larger, or the connection is given up: a folder of a million nodes has 40 MB of names.
pub const ANSWER_MAX: usize = 128 << 20;

#[derive(Debug, Default)]
pub struct Writer(pub Vec<u8>);

impl Writer {
    pub fn int(&mut self, value: i32) -> &mut Writer {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub fn long(&mut self, value: i64) -> &mut Writer {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub fn flag(&mut self, value: bool) -> &mut Writer {
        self.0.push(value.into());
        self
    }

    pub fn buffer(&mut self, value: &[u8]) -> &mut Writer {
        // Longer ones are refused before they are sent, see `REQUEST_MAX`.
        self.int(i32::try_from(value.len()).unwrap_or(i32::MAX));
        self.0.extend_from_slice(value);
        self
    }

    pub fn text(&mut self, value: &str) -> &mut Writer {
        self.buffer(value.as_bytes())
    }

    pub fn op(&mut self, op: &Op) -> &mut Writer {
        match op {
            Op::Create { path, data, acl, mode } => {
                let (scheme, id) = match acl {
                    Acl::Open => ("world", "anyone"),
                    Acl::Creator => ("auth", ""),
                };
                const ALL: i32 = 31;
                self.text(path).buffer(data).int(1).int(ALL).text(scheme).text(id).int(*mode as i32)
            }
            Op::Set { path, data, version } => self.text(path).buffer(data).int(*version),
            Op::Delete { path, version } | Op::Check { path, version } => self.text(path).int(*version),
        }
    }
}

/// The paths of created nodes; or the first part that failed, and why.
pub type Parts = Result<Vec<Option<String>>, (usize, Error)>;

#[derive(Debug)]
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Error> {
        let (taken, rest) =
            self.0.split_at_checked(count).ok_or(Error::Malformed("an answer is too short"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        Ok(self.take(N)?.try_into().expect("`take` gives as many as asked for"))
    }

    pub fn int(&mut self) -> Result<i32, Error> {
        self.bytes().map(i32::from_be_bytes)
    }

    pub fn long(&mut self) -> Result<i64, Error> {
        self.bytes().map(i64::from_be_bytes)
    }

    pub fn flag(&mut self) -> Result<bool, Error> {
        Ok(self.bytes::<1>()? != [0])
    }

    /// A missing buffer (length -1) reads as an empty one.
    pub fn buffer(&mut self) -> Result<&'a [u8], Error> {
        let length = self.int()?;
        self.take(usize::try_from(length.max(0)).unwrap_or(0))
    }

    pub fn text(&mut self) -> Result<String, Error> {
        let bytes = self.buffer()?;
        std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| Error::Malformed("a text is not UTF-8"))
    }

    pub fn texts(&mut self) -> Result<Vec<String>, Error> {
        let count = self.int()?.max(0);
        (0..count).map(|_| self.text()).collect()
    }

    pub fn stat(&mut self) -> Result<Stat, Error> {
        let (created, modified) = (self.long()?, self.long()?);
        let (_created_at, modified_at) = (self.long()?, self.long()?);
        let version = self.int()?;
        let (_children_version, _acl_version) = (self.int()?, self.int()?);
        let owner = self.long()?;
        let (_length, children) = (self.int()?, self.int()?);
        let _children_modified = self.long()?;
        Ok(Stat { created, modified, version, owner, children, modified_at })
    }

    /// What became of a transaction.
    pub fn multi(&mut self) -> Result<Parts, Error> {
        let mut done = Vec::new();
        let (mut failed, mut refused) = (None, false);
        for at in 0.. {
            let (kind, end, _error) = (self.int()?, self.flag()?, self.int()?);
            if end {
                break;
            }
            match kind {
                code::CREATE => done.push(Some(self.text()?)),
                code::SET => {
                    self.stat()?;
                    done.push(None);
                }
                code::DELETE | code::CHECK => done.push(None),
                // Parts beside the one that failed were rolled back.
                code::ERROR => match self.int()? {
                    0 | ROLLED_BACK => refused = true,
                    error => failed = failed.or(Some((at, error))),
                },
                _ => return Err(Error::Malformed("a part of a transaction is of no known kind")),
            }
        }
        Ok(match failed {
            Some((at, error)) => Err((at, Error::of_code(error))),
            None if refused => Err((0, Error::of_code(ROLLED_BACK))),
            None => Ok(done),
        })
    }
}
