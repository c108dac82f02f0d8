//! A task's output: from its pipe to a file that cannot grow past its bound.
//!
//! The folder of the file belongs to the task's user, who may put links or pipes in the way; a file that
//! is not a plain one with a single name is therefore replaced, never followed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, SpliceFFlags, splice};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Most bytes moved per wake-up: a pipe's worth, so that one loud task cannot hold up the others.
const SHARE: usize = 64 * 1024;
/// Most bytes taken over when a task has ended: what its pipe can hold and some more, in case something
/// that escaped keeps writing.
const LAST_WORDS: usize = 1024 * 1024;

#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    owner: Option<(u32, u32)>,
    limit: u64,
    old_files: u32,
    file: Option<File>,
    size: u64,
    /// The file system or kernel cannot splice here.
    by_copy: bool,
    /// Why output is being thrown away, if it is; said once.
    pub trouble: Option<io::Error>,
}

#[derive(Debug, PartialEq, Eq)]
enum Moved {
    Some(usize),
    Nothing,
}

impl Log {
    /// Old files beyond this are never kept, whatever is asked: each rotation renames all of them.
    const OLD_FILES_MAX: u32 = 1000;

    pub fn new(path: PathBuf, owner: Option<(u32, u32)>, limit: u64, old_files: u32) -> Log {
        let old_files = old_files.min(Self::OLD_FILES_MAX);
        Log { path, owner, limit, old_files, file: None, size: 0, by_copy: false, trouble: None }
    }

    /// Makes the file, so that whoever looks for it finds it even while the task is silent.
    pub fn prepare(&mut self) {
        if self.file.is_none() && self.limit > 0 {
            match open_plain(&self.path, self.owner) {
                Ok((file, size)) => (self.file, self.size) = (Some(file), size),
                Err(error) => self.trouble = self.trouble.take().or(Some(error)),
            }
        }
    }

    /// Moves what waits in the pipe, within the share of one wake-up.
    pub fn copy(&mut self, pipe: BorrowedFd<'_>) {
        self.copy_at_most(pipe, SHARE);
    }

    /// Moves all that waits; for a task that has ended.
    pub fn drain(&mut self, pipe: BorrowedFd<'_>) {
        self.copy_at_most(pipe, LAST_WORDS);
    }

    fn copy_at_most(&mut self, pipe: BorrowedFd<'_>, mut budget: usize) {
        while budget > 0 {
            match self.step(pipe, budget) {
                Moved::Some(count) => budget = budget.saturating_sub(count),
                Moved::Nothing => return,
            }
        }
    }

    fn step(&mut self, pipe: BorrowedFd<'_>, budget: usize) -> Moved {
        self.prepare();
        if self.file.is_some() && self.size >= self.limit {
            if !readable(pipe) {
                return Moved::Nothing;
            }
            self.rotate();
        }
        let Some(file) = &mut self.file else { return discard(pipe, budget) };
        let room = usize::try_from(self.limit.saturating_sub(self.size)).unwrap_or(usize::MAX).min(budget);
        match move_bytes(pipe, file, room, &mut self.by_copy) {
            Ok(count) => {
                self.size += count as u64;
                Moved::Some(count)
            }
            Err(Errno::EAGAIN | Errno::EINTR) => Moved::Nothing,
            // A task must not stop because its disk is full: its output is lost instead.
            Err(errno) => {
                self.trouble = self.trouble.take().or(Some(errno.into()));
                discard(pipe, budget)
            }
        }
    }

    /// `stdout` becomes `stdout.1`, that `stdout.2`, and so on; the oldest goes.
    fn rotate(&mut self) {
        self.file = None;
        self.size = 0;
        for number in (1..self.old_files).rev() {
            let _ = fs::rename(numbered(&self.path, number), numbered(&self.path, number + 1));
        }
        // Either leaves nothing under the plain name, or the opening below replaces what it finds.
        let _ = match self.old_files {
            0 => fs::remove_file(&self.path),
            _ => fs::rename(&self.path, numbered(&self.path, 1)),
        };
        self.prepare();
        if self.size > 0 {
            // Something put a file back in that instant; it is not ours.
            let _ = fs::remove_file(&self.path);
            (self.file, self.size) = (None, 0);
        }
    }
}

fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

fn open_plain(path: &Path, owner: Option<(u32, u32)>) -> io::Result<(File, u64)> {
    let guard = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
    let existing = OpenOptions::new().write(true).custom_flags(guard).open(path);
    if let Ok(file) = existing {
        let found = file.metadata()?;
        if found.is_file() && found.nlink() == 1 {
            let mut file = file;
            io::Seek::seek(&mut file, io::SeekFrom::End(0))?;
            return Ok((file, found.len()));
        }
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = OpenOptions::new().write(true).create_new(true).mode(0o644).custom_flags(guard).open(path)?;
    if let Some((uid, gid)) = owner {
        std::os::unix::fs::fchown(&file, Some(uid), Some(gid))?;
    }
    Ok((file, 0))
}

fn move_bytes(
    pipe: BorrowedFd<'_>,
    file: &mut File,
    room: usize,
    by_copy: &mut bool,
) -> Result<usize, Errno> {
    if !*by_copy {
        let flags = SpliceFFlags::SPLICE_F_NONBLOCK | SpliceFFlags::SPLICE_F_MOVE;
        match splice(pipe, None, file.as_fd(), None, room, flags) {
            Err(Errno::EINVAL | Errno::ENOSYS) => *by_copy = true,
            Ok(0) => return Err(Errno::EAGAIN),
            done => return done,
        }
    }
    let mut buffer = [0; 16 * 1024];
    let room = room.min(buffer.len());
    let count = nix::unistd::read(pipe, &mut buffer[..room])?;
    if count == 0 {
        return Err(Errno::EAGAIN);
    }
    let write = file.write_all(&buffer[..count]);
    write.map_err(|error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))?;
    Ok(count)
}

fn readable(pipe: BorrowedFd<'_>) -> bool {
    let mut polled = [PollFd::new(pipe, PollFlags::POLLIN)];
    poll(&mut polled, PollTimeout::ZERO).is_ok_and(|count| count > 0)
}

fn discard(pipe: BorrowedFd<'_>, budget: usize) -> Moved {
    let mut buffer = [0; 16 * 1024];
    let room = budget.min(buffer.len());
    match nix::unistd::read(pipe, &mut buffer[..room]) {
        Ok(count) if count > 0 => Moved::Some(count),
        _ => Moved::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::pipe;

    /// Writes `chunks` through a pipe into a log of the given bounds and lists the files it leaves.
    fn check(limit: u64, old_files: u32, chunks: &[&str], expected: &[(&str, &str)]) {
        for by_copy in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let mut log = Log::new(dir.path().join("stdout"), None, limit, old_files);
            log.by_copy = by_copy;
            feed(&mut log, chunks);
            assert_eq!(listing(dir.path()), owned(expected), "copying: {by_copy}");
        }
    }

    fn feed(log: &mut Log, chunks: &[&str]) {
        let (read, mut write) = pipe().unwrap();
        nix::fcntl::fcntl(&read, nix::fcntl::FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
        for chunk in chunks {
            write.write_all(chunk.as_bytes()).unwrap();
            log.copy(read.as_fd());
        }
    }

    fn listing(dir: &Path) -> Vec<(String, String)> {
        let mut found: Vec<(String, String)> = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| {
                (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(path).unwrap())
            })
            .collect();
        found.sort();
        found
    }

    fn owned(rows: &[(&str, &str)]) -> Vec<(String, String)> {
        rows.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn output_lands_in_the_file() {
        check(100, 2, &["hello ", "world"], &[("stdout", "hello world")]);
    }

    #[test]
    fn a_full_file_moves_on() {
        check(4, 2, &["abcdefghij"], &[("stdout", "ij"), ("stdout.1", "efgh"), ("stdout.2", "abcd")]);
    }

    #[test]
    fn the_oldest_goes() {
        check(2, 2, &["aabb", "ccdd", "ee"], &[("stdout", "ee"), ("stdout.1", "dd"), ("stdout.2", "cc")]);
    }

    #[test]
    fn without_old_files_it_starts_again() {
        check(3, 0, &["abcdefg"], &[("stdout", "g")]);
    }

    #[test]
    fn a_limit_of_nothing_keeps_nothing() {
        check(0, 3, &["abc"], &[]);
    }

    #[test]
    fn a_later_log_goes_on_where_the_file_ends() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("stdout"), "abc").unwrap();
        feed(&mut Log::new(dir.path().join("stdout"), None, 4, 1), &["def"]);
        assert_eq!(listing(dir.path()), owned(&[("stdout", "ef"), ("stdout.1", "abcd")]));
    }

    #[test]
    fn links_are_replaced_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let outside = tempfile::NamedTempFile::new().unwrap();
        for kind in ["symbolic", "hard", "dangling"] {
            let path = dir.path().join("stdout");
            match kind {
                "symbolic" => std::os::unix::fs::symlink(outside.path(), &path).unwrap(),
                "hard" => fs::hard_link(outside.path(), &path).unwrap(),
                _ => std::os::unix::fs::symlink("/no/such", &path).unwrap(),
            }
            feed(&mut Log::new(path.clone(), None, 100, 1), &["mine"]);
            assert_eq!(fs::read_to_string(outside.path()).unwrap(), "", "{kind}");
            assert_eq!(fs::read_to_string(&path).unwrap(), "mine", "{kind}");
            fs::remove_file(path).unwrap();
        }
    }

    #[test]
    fn trouble_does_not_stop_the_task() {
        let (read, mut write) = pipe().unwrap();
        nix::fcntl::fcntl(&read, nix::fcntl::FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
        let mut log = Log::new("/no/such/folder/stdout".into(), None, 100, 1);
        write.write_all(b"lost").unwrap();
        log.copy(read.as_fd());
        assert!(log.trouble.is_some());
        assert_eq!(nix::unistd::read(&read, &mut [0; 8]), Err(Errno::EAGAIN));
    }
}
