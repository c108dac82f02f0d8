//! The way to a file below a sandbox, one part at a time.
//!
//! The task may replace any part of the way at any moment, so nothing is looked at by its name twice: each part is
//! opened without following links and what was opened is looked at. Links are followed by hand, and `..` is the
//! folder that was passed before, not what the file system says: a folder that is moved away meanwhile leads nowhere
//! else. The kernel could do the same (`openat2`), but not on all machines, and it knows only one root: here links
//! of a container may lead into volumes of its pod.

use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};

use crate::Refused;

/// As many links as the kernel would follow.
const LINKS_MAX: usize = 40;
/// As many folders are held open; links make ways longer.
const DEPTH_MAX: usize = 256;

pub const LOOK: OFlag = OFlag::O_PATH.union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// Where absolute links lead that stay inside.
pub struct Root<'a> {
    /// Nothing above this is ever reached.
    pub path: &'a Path,
    /// Names of folders, and the parts by which they are reached from the root.
    pub aliases: &'a [(PathBuf, Vec<OsString>)],
}

/// What was found at the end of a way.
pub enum Found {
    Folder(OwnedFd),
    Other { parent: OwnedFd, name: OsString, stat: FileStat },
}

pub fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT
}

pub fn refused(errno: Errno) -> Refused {
    match errno {
        Errno::ENOENT | Errno::ENOTDIR | Errno::ENAMETOOLONG => Refused::NoFile,
        Errno::EACCES | Errno::EPERM => Refused::Denied("permission denied".to_owned()),
        // A link where there was none a moment ago.
        Errno::ELOOP => Refused::LeadsOut,
        other => Refused::Unavailable(format!("The file cannot be read now: {}", other.desc())),
    }
}

impl Root<'_> {
    pub fn walk<'a>(&self, parts: impl DoubleEndedIterator<Item = &'a OsStr>) -> Result<Found, Refused> {
        let flags = LOOK | OFlag::O_DIRECTORY;
        let root = open(self.path, flags, Mode::empty()).map_err(|errno| match refused(errno) {
            Refused::NoFile => Refused::NoSandbox,
            other => other,
        })?;
        let mut way = vec![root];
        let mut todo: Vec<OsString> = parts.rev().map(OsStr::to_owned).collect();
        let mut links = 0;
        while let Some(part) = todo.pop() {
            if part == ".." {
                way.pop();
                if way.is_empty() {
                    return Err(Refused::LeadsOut);
                }
                continue;
            }
            let here = way.last().ok_or(Refused::LeadsOut)?;
            let there = openat(here, part.as_os_str(), LOOK, Mode::empty()).map_err(refused)?;
            let stat = fstat(&there).map_err(refused)?;
            match kind(&stat) {
                SFlag::S_IFDIR if way.len() < DEPTH_MAX => way.push(there),
                SFlag::S_IFDIR => return Err(Refused::Denied("it lies too deep".to_owned())),
                SFlag::S_IFLNK => {
                    links += 1;
                    if links > LINKS_MAX {
                        return Err(Refused::Denied("too many links on the way to it".to_owned()));
                    }
                    let text = readlinkat(&there, "").map_err(refused)?;
                    self.follow(Path::new(&text), &mut way, &mut todo)?;
                }
                _ if !todo.is_empty() => return Err(Refused::NoFile),
                _ => {
                    let parent = way.pop().ok_or(Refused::LeadsOut)?;
                    return Ok(Found::Other { parent, name: part, stat });
                }
            }
        }
        way.pop().map(Found::Folder).ok_or(Refused::LeadsOut)
    }

    fn follow(&self, link: &Path, way: &mut Vec<OwnedFd>, todo: &mut Vec<OsString>) -> Result<(), Refused> {
        let mut rest = link;
        let mut before = [].as_slice();
        if link.is_absolute() {
            way.truncate(1);
            let alias = self
                .aliases
                .iter()
                .find_map(|(name, at)| Some((link.strip_prefix(name).ok()?, at.as_slice())));
            (rest, before) = match alias {
                Some((rest, at)) => (rest, at),
                None => (link.strip_prefix(self.path).map_err(|_| Refused::LeadsOut)?, [].as_slice()),
            };
        }
        let part = |it: Component<'_>| match it {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            _ => None,
        };
        let rest: Vec<OsString> = rest.components().filter_map(part).collect();
        todo.extend(before.iter().chain(&rest).rev().cloned());
        Ok(())
    }
}

/// Opens a plain file for reading. What else it may be is known without opening it, which could wait for somebody
/// (a pipe) or do something (a device).
pub fn open_plain(parent: &OwnedFd, name: &OsStr) -> Result<std::fs::File, Refused> {
    let known = fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW).map_err(refused)?;
    plain(&known)?;
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let file = openat(parent, name, flags, Mode::empty()).map_err(refused)?;
    let stat = fstat(&file).map_err(refused)?;
    plain(&stat)?;
    if stat.st_nlink > 1 {
        // A second name of a file that its owner did not give is a way to make us read it for somebody else.
        let folder = fstat(parent).map_err(refused)?;
        if folder.st_uid != stat.st_uid || folder.st_mode & 0o002 != 0 {
            return Err(Refused::Denied("it has several names and another owner than its folder".to_owned()));
        }
    }
    Ok(file.into())
}

fn plain(stat: &FileStat) -> Result<(), Refused> {
    Err(match kind(stat) {
        SFlag::S_IFREG => return Ok(()),
        SFlag::S_IFDIR => Refused::IsFolder,
        SFlag::S_IFLNK => Refused::LeadsOut,
        SFlag::S_IFIFO => Refused::Special("a pipe"),
        SFlag::S_IFSOCK => Refused::Special("a socket"),
        _ => Refused::Special("a device"),
    })
}

/// As `ls -l` writes it.
pub fn mode_text(stat: &FileStat) -> String {
    let kind = match kind(stat) {
        SFlag::S_IFREG => '-',
        SFlag::S_IFDIR => 'd',
        SFlag::S_IFLNK => 'l',
        SFlag::S_IFIFO => 'p',
        SFlag::S_IFSOCK => 's',
        SFlag::S_IFBLK => 'b',
        _ => 'c',
    };
    let mut text: Vec<char> = vec![kind];
    for shift in [6, 3, 0] {
        let bits = stat.st_mode >> shift;
        text.extend([(4, 'r'), (2, 'w'), (1, 'x')].map(|(bit, it)| if bits & bit != 0 { it } else { '-' }));
    }
    for (at, bit, marks) in [(3, 0o4000, ['s', 'S']), (6, 0o2000, ['s', 'S']), (9, 0o1000, ['t', 'T'])] {
        if stat.st_mode & bit != 0 {
            text[at] = marks[usize::from(text[at] == '-')];
        }
    }
    text.into_iter().collect()
}

/// Bytes of a name that are no text are replaced: it can be shown, not opened.
pub fn shown(name: &OsStr) -> String {
    String::from_utf8_lossy(name.as_bytes()).into_owned()
}
