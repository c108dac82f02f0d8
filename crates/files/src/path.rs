//! Paths below a sandbox, as clients write them.

use std::fmt;

/// As long as the kernel takes paths.
const BYTES_MAX: usize = 4096;
/// Each folder on the way is held open while a path is walked.
const SEGMENTS_MAX: usize = 128;
const SEGMENT_BYTES_MAX: usize = 255;

/// Relative to the sandbox, without `.` and `..`. Empty: the sandbox itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FilePath(Vec<String>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    #[error("path must not contain '..'")]
    Up,
    #[error("path must not contain a NUL character")]
    Nul,
    #[error(
        "path is too long: it may have {BYTES_MAX} bytes in {SEGMENTS_MAX} parts of {SEGMENT_BYTES_MAX} bytes each"
    )]
    Long,
}

impl FilePath {
    /// A leading slash means the sandbox, as does nothing.
    pub fn parse(text: &str) -> Result<FilePath, PathError> {
        if text.contains('\0') {
            return Err(PathError::Nul);
        }
        let parts: Vec<&str> = text.split('/').filter(|it| !it.is_empty() && *it != ".").collect();
        if parts.contains(&"..") {
            return Err(PathError::Up);
        }
        let long = text.len() > BYTES_MAX || parts.len() > SEGMENTS_MAX;
        if long || parts.iter().any(|it| it.len() > SEGMENT_BYTES_MAX) {
            return Err(PathError::Long);
        }
        Ok(FilePath(parts.into_iter().map(str::to_owned).collect()))
    }

    pub fn segments(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The last segment; of the sandbox itself there is none.
    pub fn name(&self) -> Option<&str> {
        self.0.last().map(String::as_str)
    }
}

impl fmt::Display for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("/"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let long = "a".repeat(256);
        let deep = "a/".repeat(129);
        for (text, want) in [
            ("", Ok("")),
            ("/", Ok("")),
            (".", Ok("")),
            ("stdout", Ok("stdout")),
            ("/etc/passwd", Ok("etc/passwd")),
            ("a//b/./c/", Ok("a/b/c")),
            ("..a/b..", Ok("..a/b..")),
            ("..", Err(PathError::Up)),
            ("a/../b", Err(PathError::Up)),
            ("a\0b", Err(PathError::Nul)),
            (&long, Err(PathError::Long)),
            (&deep, Err(PathError::Long)),
        ] {
            let found = FilePath::parse(text).map(|it| it.to_string());
            assert_eq!(found, want.map(str::to_owned), "{text}");
        }
    }
}
