//! Unpacks archives that strangers made.
//!
//! Whatever an archive says, nothing is written outside the folder it is unpacked into: names with
//! `..` are refused, and no write goes through a link. Links themselves may point anywhere, since the
//! task that owns the folder could make them as well. Owners and set-uid bits are not taken over,
//! devices are refused, and sizes are bounded.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use tar::EntryType;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Tar,
    TarGz,
    TarBz2,
    TarXz,
    Zip,
    Gz,
}

impl Kind {
    /// What an archive is follows from its name alone, as in the original.
    pub fn of(name: &str) -> Option<Kind> {
        let ends = |of: &[&str]| of.iter().any(|it| name.ends_with(it));
        Some(match () {
            () if ends(&[".tar"]) => Kind::Tar,
            () if ends(&[".tar.gz", ".tgz"]) => Kind::TarGz,
            () if ends(&[".tar.bz2", ".tbz2"]) => Kind::TarBz2,
            () if ends(&[".tar.xz", ".txz"]) => Kind::TarXz,
            () if ends(&[".zip"]) => Kind::Zip,
            () if ends(&[".gz"]) => Kind::Gz,
            () => return None,
        })
    }
}

/// How much one archive may unpack to.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    pub bytes: u64,
    pub entries: u64,
}

/// Long names and links; real ones are below a page.
const NAME_BYTES_MAX: u64 = 64 * 1024;

/// The log files of the task: the engine writes them, so an archive must not place a link there.
const RESERVED: [&str; 2] = ["stdout", "stderr"];

/// Unpacks `file`, whose name is `name`, into `root`. Stops soon after `cancelled` is set.
pub fn unpack(
    kind: Kind,
    file: &Path,
    name: &str,
    root: &Path,
    bounds: Bounds,
    cancelled: &AtomicBool,
) -> Result<(), String> {
    let open = File::open(file).map_err(|error| format!("cannot open the archive: {error}"))?;
    let mut target = Target { root, bytes: bounds.bytes, entries: bounds.entries, cancelled };
    let buffered = BufReader::with_capacity(64 * 1024, &open);
    match kind {
        Kind::Tar => untar(buffered, &mut target),
        Kind::TarGz => untar(flate2::bufread::MultiGzDecoder::new(buffered), &mut target),
        Kind::TarBz2 => untar(bzip2::bufread::MultiBzDecoder::new(buffered), &mut target),
        Kind::TarXz => untar(xz2::bufread::XzDecoder::new_multi_decoder(buffered), &mut target),
        Kind::Zip => unzip(buffered, &mut target),
        Kind::Gz => {
            let to = Path::new(name.strip_suffix(".gz").unwrap_or(name));
            target.file(to, 0o644, &mut flate2::bufread::MultiGzDecoder::new(buffered))
        }
    }
}

/// Where things are unpacked, and how much more may come.
struct Target<'a> {
    root: &'a Path,
    bytes: u64,
    entries: u64,
    cancelled: &'a AtomicBool,
}

impl Target<'_> {
    fn count_entry(&mut self) -> Result<(), String> {
        self.entries = self.entries.checked_sub(1).ok_or("the archive has too many entries")?;
        if self.cancelled.load(Ordering::Relaxed) { Err("no longer wanted".to_owned()) } else { Ok(()) }
    }

    fn folder(&mut self, name: &Path) -> Result<(), String> {
        if relative(name)?.as_os_str().is_empty() {
            return Ok(());
        }
        let path = place(self.root, name)?;
        match fs::symlink_metadata(&path) {
            Ok(meta) if meta.is_dir() => Ok(()),
            _ => fs::create_dir(&path).map_err(at(name)),
        }
    }

    fn file(&mut self, name: &Path, mode: u32, content: &mut dyn Read) -> Result<(), String> {
        let path = place(self.root, name)?;
        let mut file = create_new(&path, mode).map_err(at(name))?;
        let mut buffer = vec![0; 64 * 1024];
        loop {
            if self.cancelled.load(Ordering::Relaxed) {
                return Err("no longer wanted".to_owned());
            }
            let count = match content.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(format!("the archive is damaged: {error}")),
            };
            let left = self.bytes.checked_sub(count as u64);
            self.bytes = left.ok_or("the archive unpacks to more than is allowed")?;
            io::Write::write_all(&mut file, &buffer[..count]).map_err(at(name))?;
        }
        // The mode given at creation was subject to the umask.
        fs::set_permissions(&path, fs::Permissions::from_mode(mode & 0o777)).map_err(at(name))
    }

    fn link(&mut self, name: &Path, target: &Path) -> Result<(), String> {
        let path = place(self.root, name)?;
        remove_file(&path).map_err(at(name))?;
        std::os::unix::fs::symlink(target, &path).map_err(at(name))
    }

    fn hard_link(&mut self, name: &Path, target: &Path) -> Result<(), String> {
        let from = place(self.root, target)?;
        if !fs::symlink_metadata(&from).map_err(at(target))?.is_file() {
            return Err(format!("`{}` links to something that is no file", name.display()));
        }
        let path = place(self.root, name)?;
        if path == from {
            return Ok(());
        }
        remove_file(&path).map_err(at(name))?;
        fs::hard_link(&from, &path).map_err(at(name))
    }
}

fn at(name: &Path) -> impl Fn(io::Error) -> String {
    move |error| format!("`{}`: {error}", name.display())
}

/// Only names inside the folder; leading slashes are dropped, as `tar` does.
fn relative(name: &Path) -> Result<PathBuf, String> {
    let mut clean = PathBuf::new();
    for part in name.components() {
        match part {
            Component::Normal(part) => clean.push(part),
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                return Err(format!("`{}` leads out of the sandbox", name.display()));
            }
        }
    }
    Ok(clean)
}

/// Where `name` lies below `root`. Missing folders on the way are made; one that is a link is refused.
pub fn place(root: &Path, name: &Path) -> Result<PathBuf, String> {
    let clean = relative(name)?;
    let Some(last) = clean.file_name() else {
        return Err(format!("`{}` is no name of a file", name.display()));
    };
    let mut path = root.to_owned();
    for part in clean.parent().into_iter().flat_map(Path::components) {
        path.push(part);
        match fs::symlink_metadata(&path) {
            Ok(meta) if meta.is_dir() => {}
            Ok(_) => return Err(format!("`{}` goes through something that is no folder", name.display())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir(&path).map_err(at(name))?
            }
            Err(error) => return Err(at(name)(error)),
        }
    }
    if path == root && RESERVED.iter().any(|it| last == *it) {
        return Err(format!("`{}` is the name of a log file", name.display()));
    }
    Ok(path.join(last))
}

/// Opens a new file in place of whatever is there, except a folder.
pub fn create_new(path: &Path, mode: u32) -> io::Result<File> {
    remove_file(path)?;
    File::options().write(true).create_new(true).mode(mode & 0o777).open(path)
}

fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

// ---- tar ----

/// What the headers before an entry say about it.
#[derive(Default)]
struct Extension {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

fn untar(content: impl Read, target: &mut Target) -> Result<(), String> {
    let damaged = |error: io::Error| format!("the archive is damaged: {error}");
    let mut archive = tar::Archive::new(content);
    let mut ahead = Extension::default();
    // Raw: the library would read long names of any size into memory.
    for entry in archive.entries().map_err(damaged)?.raw(true) {
        let mut entry = entry.map_err(damaged)?;
        target.count_entry()?;
        let kind = entry.header().entry_type();
        match kind {
            EntryType::GNULongName => ahead.path = Some(without_nul(short(&mut entry)?)),
            EntryType::GNULongLink => ahead.link = Some(without_nul(short(&mut entry)?)),
            EntryType::XHeader => pax(&short(&mut entry)?, &mut ahead),
            EntryType::XGlobalHeader => {}
            _ => {
                let Extension { path, link } = std::mem::take(&mut ahead);
                let name = path_of(&path.unwrap_or_else(|| entry.header().path_bytes().into_owned()));
                let link = link.or_else(|| entry.header().link_name_bytes().map(|it| it.into_owned()));
                untar_entry(kind, &name, link.as_deref().map(path_of), &mut entry, target)?;
            }
        }
    }
    Ok(())
}

fn untar_entry<R: Read>(
    kind: EntryType,
    name: &Path,
    link: Option<PathBuf>,
    entry: &mut tar::Entry<R>,
    target: &mut Target,
) -> Result<(), String> {
    let linked = || link.ok_or_else(|| format!("the link `{}` leads nowhere", name.display()));
    let mode = entry.header().mode().unwrap_or(0o644);
    match kind {
        EntryType::Directory => target.folder(name),
        // Archives of before 1988 mark folders by a slash.
        EntryType::Regular if name.as_os_str().as_encoded_bytes().ends_with(b"/") => target.folder(name),
        EntryType::Regular | EntryType::Continuous => target.file(name, mode, entry),
        EntryType::Symlink => target.link(name, &linked()?),
        EntryType::Link => target.hard_link(name, &linked()?),
        EntryType::GNUSparse => Err(format!("`{}` is a sparse file, which is not supported", name.display())),
        _ => Err(format!(
            "`{}` is a device or something else that does not belong into a sandbox",
            name.display()
        )),
    }
}

fn short<R: Read>(entry: &mut tar::Entry<R>) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = entry.take(NAME_BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|error| format!("the archive is damaged: {error}"))?;
    if bytes.len() as u64 > NAME_BYTES_MAX {
        Err("the archive has names of absurd length".to_owned())
    } else {
        Ok(bytes)
    }
}

fn without_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    let end = bytes.iter().position(|it| *it == 0).unwrap_or(bytes.len());
    bytes.truncate(end);
    bytes
}

/// Reads records of the form `27 path=some/long/name\n`.
fn pax(mut bytes: &[u8], into: &mut Extension) {
    while let Some(blank) = bytes.iter().position(|it| *it == b' ') {
        let length = std::str::from_utf8(&bytes[..blank]).ok().and_then(|it| it.parse::<usize>().ok());
        let Some(record) = length.filter(|it| blank < *it).and_then(|it| bytes.get(blank + 1..it)) else {
            return;
        };
        bytes = &bytes[blank + 1 + record.len()..];
        let record = record.strip_suffix(b"\n").unwrap_or(record);
        if let Some(path) = record.strip_prefix(b"path=") {
            into.path = Some(path.to_vec());
        } else if let Some(link) = record.strip_prefix(b"linkpath=") {
            into.link = Some(link.to_vec());
        }
    }
}

fn path_of(bytes: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    PathBuf::from(std::ffi::OsStr::from_bytes(bytes))
}

// ---- zip ----

fn unzip(content: impl Read + Seek, target: &mut Target) -> Result<(), String> {
    let damaged = |error: zip::result::ZipError| format!("the archive cannot be read: {error}");
    let mut archive = zip::ZipArchive::new(content).map_err(damaged)?;
    for index in 0..archive.len() {
        target.count_entry()?;
        let mut entry = archive.by_index(index).map_err(damaged)?;
        let name = PathBuf::from(entry.name().map_err(damaged)?.into_owned());
        let mode = entry.unix_mode();
        if entry.is_dir() {
            target.folder(&name)?;
        } else if entry.is_symlink() {
            let mut link = Vec::new();
            let read = (&mut entry).take(NAME_BYTES_MAX).read_to_end(&mut link);
            read.map_err(|error| format!("the archive is damaged: {error}"))?;
            target.link(&name, &path_of(&link))?;
        } else {
            target.file(&name, mode.unwrap_or(0o644), &mut entry)?;
        }
    }
    Ok(())
}
