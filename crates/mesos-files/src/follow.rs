//! Which file it is that somebody reads on, whatever it is called by now.
//!
//! Agents tell nothing by which a file could be known again, so it is known by how it begins. What is read next is then
//! found among the rotated files, and nothing of them is missed:
//!
//! ```text
//! stdout begins otherwise, or is shorter ─► stdout.1, stdout.2, … which begins so? ─► its rest ─► the next newer one
//! ```
//! Files that begin alike for a kilobyte are taken for one, as long as they are no shorter than what was read.

use std::fmt;
use std::str::FromStr;

/// As much of a file's beginning is looked at.
pub const HEAD_BYTES: u64 = 1024;
/// So many rotated files are looked through.
pub const ROTATED_MAX: u32 = 9;

/// How a file begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// So many bytes of it.
    pub length: u64,
    hash: u64,
}

impl Head {
    pub fn of(beginning: &[u8]) -> Head {
        // FNV-1a: the same in every release, since a reader may ask another server next.
        let hash = beginning.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, it| {
            (hash ^ u64::from(*it)).wrapping_mul(0x100_0000_01b3)
        });
        Head { length: beginning.len() as u64, hash }
    }

    /// Whether a file with this beginning may be the one, which may have grown since.
    pub fn fits(&self, beginning: &[u8]) -> bool {
        let seen = usize::try_from(self.length).ok().and_then(|it| beginning.get(..it));
        seen.is_some_and(|seen| Head::of(seen) == *self)
    }
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:016x}", self.length, self.hash)
    }
}

impl FromStr for Head {
    type Err = ();

    /// What is no head names no file that could be known.
    fn from_str(text: &str) -> Result<Head, ()> {
        let (length, hash) = text.split_once('-').ok_or(())?;
        let length = length.parse().ok().filter(|it| (1..=HEAD_BYTES).contains(it)).ok_or(())?;
        Ok(Head { length, hash: u64::from_str_radix(hash, 16).map_err(|_| ())? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_known_again() {
        let head = Head::of(b"abc");
        assert_eq!(head.to_string().parse(), Ok(head));
        for (beginning, want) in
            [(&b"abc"[..], true), (b"abcd", true), (b"ab", false), (b"abd", false), (b"", false)]
        {
            assert_eq!(head.fits(beginning), want, "{beginning:?}");
        }
        for text in ["-", "", "0-0", "1025-1", "3", "x-1", "3-xyz", "3-11112222333344445"] {
            assert_eq!(text.parse::<Head>(), Err(()), "{text}");
        }
    }
}
