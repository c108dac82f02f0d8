//! Fetching from a real server and unpacking real archives, also such as nobody should make.

use std::fs;
use std::io::{BufRead, BufReader, Cursor, Write};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use marathon_keeper::protocol::Identity;
use marathon_model::app::Fetch;

use crate::archive::{self, Bounds, Kind};
use crate::fetch::Fetcher;

/// Serves files by path on a free port and counts the requests. Ends with the process.
fn serve(files: Vec<(&'static str, Vec<u8>)>) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let count = Arc::new(AtomicUsize::new(0));
    let seen = count.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let first = lines.next().unwrap().unwrap();
            while lines.next().is_some_and(|it| it.is_ok_and(|it| !it.is_empty())) {}
            seen.fetch_add(1, Ordering::SeqCst);
            let path = first.split(' ').nth(1).unwrap().split('?').next().unwrap();
            let answer = match files.iter().find(|(name, _)| *name == path) {
                Some((_, content)) => {
                    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", content.len());
                    [head.into_bytes(), content.clone()].concat()
                }
                None if path == "/short" => {
                    b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\nconnection: close\r\n\r\nx".to_vec()
                }
                None if path == "/moved" => {
                    b"HTTP/1.1 302 Found\r\nlocation: /a.txt\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_vec()
                }
                None => b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_vec(),
            };
            let _ = stream.write_all(&answer);
        }
    });
    (address, count)
}

fn wanted(uri: &str) -> Fetch {
    Fetch { uri: uri.to_owned(), extract: true, executable: false, cache: false, dest_path: None }
}

struct Box {
    dir: tempfile::TempDir,
    fetcher: Fetcher,
}

impl Box {
    fn new() -> Box {
        let dir = tempfile::tempdir().unwrap();
        for name in ["cache", "box"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        let fetcher = Fetcher::new(dir.path().join("cache"), 1 << 20);
        Box { dir, fetcher }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join("box").join(name)
    }

    async fn fetch(&self, wanted: Fetch) -> Result<(), String> {
        self.fetcher.fetch(&[wanted], &self.path(""), None).await
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| format!("{name}: {error}"))
    }
}

/// One entry: name, kind, content or link target.
fn tar_of(entries: &[(&str, tar::EntryType, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, kind, text) in entries {
        let mut header = tar::Header::new_gnu();
        // Written by hand: the library refuses the names that matter here.
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(*kind);
        header.set_mode(0o4755);
        let link = kind.is_symlink() || kind.is_hard_link();
        if link {
            header.as_old_mut().linkname[..text.len()].copy_from_slice(text.as_bytes());
        }
        let content = if link { &b""[..] } else { text.as_bytes() };
        header.set_size(content.len() as u64);
        header.set_cksum();
        builder.append(&header, content).unwrap();
    }
    builder.into_inner().unwrap()
}

fn gz(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn zip_of(entries: &[(&str, &str)]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, text) in entries {
        let options = zip::write::SimpleFileOptions::default().unix_permissions(0o755);
        writer.start_file(*name, options).unwrap();
        writer.write_all(text.as_bytes()).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

use tar::EntryType::{Block, Directory, Link, Regular, Symlink};

#[tokio::test]
async fn files_arrive_with_their_flags() {
    let (server, count) = serve(vec![("/a.txt", b"hello".to_vec()), ("/run", b"#!".to_vec())]);
    let at = Box::new();
    at.fetch(wanted(&format!("{server}/a.txt?x=1"))).await.unwrap();
    at.fetch(Fetch { dest_path: Some("lib/deep/b".to_owned()), ..wanted(&format!("{server}/moved")) })
        .await
        .unwrap();
    at.fetch(Fetch { executable: true, ..wanted(&format!("{server}/run")) }).await.unwrap();
    assert_eq!((at.read("a.txt"), at.read("lib/deep/b")), ("hello".to_owned(), "hello".to_owned()));
    assert_eq!(fs::metadata(at.path("run")).unwrap().mode() & 0o111, 0o111);

    let before = count.load(Ordering::SeqCst);
    let cached = |name: &str| Fetch {
        cache: true,
        dest_path: Some(name.to_owned()),
        ..wanted(&format!("{server}/a.txt"))
    };
    let (a, b) = tokio::join!(at.fetch(cached("c1")), at.fetch(cached("c2")));
    a.and(b).unwrap();
    at.fetch(cached("c3")).await.unwrap();
    assert_eq!(count.load(Ordering::SeqCst) - before, 1);
    assert_eq!((at.read("c2"), at.read("c3")), ("hello".to_owned(), "hello".to_owned()));
}

#[tokio::test]
async fn local_files_are_copied() {
    let at = Box::new();
    let source = at.dir.path().join("my file.txt");
    fs::write(&source, "local").unwrap();
    let uri = format!("file://{}", source.display()).replace(' ', "%20");
    at.fetch(wanted(&uri)).await.unwrap();
    at.fetch(Fetch { dest_path: Some("x".to_owned()), ..wanted(&source.display().to_string()) })
        .await
        .unwrap();
    assert_eq!((at.read("my file.txt"), at.read("x")), ("local".to_owned(), "local".to_owned()));

    // What the task's user may not read does not get into its hands.
    fs::set_permissions(&source, fs::Permissions::from_mode(0o600)).unwrap();
    let somebody = Identity { uid: 54321, gid: 54321, groups: vec![] };
    let error = at.fetcher.fetch(&[wanted(&uri)], &at.path(""), Some(&somebody)).await.unwrap_err();
    assert!(error.ends_with("the user of the task may not read it"), "{error}");
}

#[tokio::test]
async fn failures_say_what_and_why() {
    let (server, _) = serve(vec![("/evil.tar", tar_of(&[("../x", Regular, "")]))]);
    let at = Box::new();
    let check = async |wanted: Fetch, want: &str| {
        let got = at.fetch(wanted).await.unwrap_err();
        let got = got.replace(&server, "http://s");
        assert!(got.starts_with(want), "{got}");
    };
    let uri = |path: &str| wanted(&format!("{server}{path}"));
    check(uri("/none"), "Failed to fetch 'http://s/none': the server answered 404 Not Found").await;
    check(uri("/evil.tar"), "Failed to fetch 'http://s/evil.tar': `../x` leads out of the sandbox").await;
    check(uri("/short"), "Failed to fetch 'http://s/short': error decoding response body: ").await;
    let to = |path: &str| Fetch { dest_path: Some(path.to_owned()), ..uri("/evil.tar") };
    check(to("../y"), "Failed to fetch 'http://s/evil.tar': `../y` leads out of the sandbox").await;
    check(to("/etc/y"), "Failed to fetch 'http://s/evil.tar': destPath `/etc/y` must be relative").await;
    check(to("stdout"), "Failed to fetch 'http://s/evil.tar': `stdout` is the name of a log file").await;
    check(wanted("ftp://h/x"), "Failed to fetch 'ftp://h/x': the scheme `ftp` is not supported").await;
    check(wanted("/no/such/file"), "Failed to fetch '/no/such/file': No such file or directory").await;
    check(wanted("file:///etc"), "Failed to fetch 'file:///etc': it is not a file").await;
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    check(
        wanted(&format!("http://u:pw@{gone}/x")),
        &format!("Failed to fetch 'http://{gone}/x': error sending"),
    )
    .await;
    assert!(!at.dir.path().join("x").exists() && !at.dir.path().join("y").exists());
}

#[tokio::test]
async fn every_kind_of_archive_unpacks() {
    let tar =
        tar_of(&[("d/", Directory, ""), ("d/f", Regular, "text"), ("l", Symlink, "d/f"), ("h", Link, "d/f")]);
    let mut bz2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    bz2.write_all(&tar).unwrap();
    let mut xz = xz2::write::XzEncoder::new(Vec::new(), 0);
    xz.write_all(&tar).unwrap();
    let (bz2, xz) = (bz2.finish().unwrap(), xz.finish().unwrap());
    let names = ["/x.tar", "/x.tar.gz", "/x.tgz", "/x.tar.bz2", "/x.tbz2", "/x.tar.xz", "/x.txz"];
    let contents = [tar.clone(), gz(&tar), gz(&tar), bz2.clone(), bz2, xz.clone(), xz];
    let mut files: Vec<_> = names.into_iter().zip(contents).collect();
    files.push(("/x.zip", zip_of(&[("d/f", "text"), ("l", "text"), ("h", "text")])));
    let (server, _) = serve(files);
    for name in names.into_iter().chain(["/x.zip"]) {
        for cache in [false, true] {
            let at = Box::new();
            at.fetch(Fetch { cache, ..wanted(&format!("{server}{name}")) }).await.unwrap();
            assert_eq!([at.read("d/f"), at.read("l"), at.read("h")], ["text"; 3], "{name}");
            let mode = fs::metadata(at.path("d/f")).unwrap().mode();
            assert_eq!(mode & 0o7777, 0o755, "{name} {mode:o}");
            // From the cache, only the content arrives.
            assert_eq!(at.path(&name[1..]).exists(), !cache, "{name}");
        }
        let at = Box::new();
        at.fetch(Fetch { extract: false, ..wanted(&format!("{server}{name}")) }).await.unwrap();
        assert!(!at.path("d").exists());
    }
}

/// Unpacks one archive beside a folder that nobody may touch.
#[track_caller]
fn hostile(kind: Kind, content: &[u8], bounds: Bounds, want: &str) {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("box");
    let treasure = dir.path().join("treasure");
    fs::create_dir(&root).unwrap();
    fs::create_dir(&treasure).unwrap();
    fs::write(treasure.join("t"), "gold").unwrap();
    let text = content.to_vec();
    // Archives cannot know the temporary folder's name; it is short enough to be put in by a link.
    std::os::unix::fs::symlink(&treasure, dir.path().join("box/way")).unwrap();
    let file = dir.path().join("archive");
    fs::write(&file, text).unwrap();
    let got = archive::unpack(kind, &file, "archive.gz", &root, bounds, &AtomicBool::new(false));
    let got = got.map_or_else(|error| error, |()| "unpacked".to_owned());
    assert!(got.starts_with(want), "{got}");
    let left: Vec<_> = fs::read_dir(&treasure).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert_eq!((left, fs::read_to_string(treasure.join("t")).unwrap().as_str()), (vec!["t".into()], "gold"));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
}

const WIDE: Bounds = Bounds { bytes: 1 << 20, entries: 100 };

#[test]
fn hostile_archives_stay_inside() {
    let tar = |entries: &[(&str, tar::EntryType, &str)], want: &str| {
        hostile(Kind::Tar, &tar_of(entries), WIDE, want)
    };
    tar(&[("../x", Regular, "")], "`../x` leads out of the sandbox");
    tar(&[("a/../../x", Regular, "")], "`a/../../x` leads out of the sandbox");
    tar(&[("/a/x", Regular, "")], "unpacked"); // below the sandbox
    tar(&[("way/t", Regular, "lead")], "`way/t` goes through something that is no folder");
    tar(&[("way", Regular, "lead")], "unpacked"); // takes the place of the link
    tar(&[("way/", Directory, ""), ("way/n", Regular, "")], "`way/`: File exists");
    tar(&[("up", Symlink, ".."), ("up/x", Regular, "")], "`up/x` goes through something that is no folder");
    tar(&[("h", Link, "way/t"), ("h", Regular, "lead")], "`way/t` goes through something that is no folder");
    tar(&[("h", Link, "../treasure/t")], "`../treasure/t` leads out of the sandbox");
    tar(&[("h", Link, "way")], "`h` links to something that is no file");
    tar(&[("stdout", Symlink, "/etc/passwd")], "`stdout` is the name of a log file");
    tar(&[("./stderr", Regular, "")], "`./stderr` is the name of a log file");
    tar(&[("dev", Block, "")], "`dev` is a device");
    tar(&[("", Regular, "")], "`` is no name of a file");
    hostile(Kind::Zip, &zip_of(&[("../x", "")]), WIDE, "`../x` leads out of the sandbox");
    hostile(
        Kind::Zip,
        &zip_of(&[("way/t", "lead")]),
        WIDE,
        "`way/t` goes through something that is no folder",
    );
}

#[test]
fn absurd_and_broken_archives_are_refused() {
    let zeros = gz(&vec![0; 2 << 20]);
    hostile(Kind::Gz, &zeros, WIDE, "the archive unpacks to more than is allowed");
    let text = "x".repeat(600_000);
    let twice = tar_of(&[("a", Regular, &text), ("b", Regular, &text)]);
    hostile(Kind::TarGz, &gz(&twice), WIDE, "the archive unpacks to more than is allowed");
    let many = tar_of(&[("a", Regular, ""); 101]);
    hostile(Kind::Tar, &many, WIDE, "the archive has too many entries");
    let name = "n".repeat(100_000);
    let long = tar_of(&[("x", tar::EntryType::GNULongName, &name), ("a", Regular, "")]);
    hostile(Kind::Tar, &long, WIDE, "the archive has names of absurd length");
    hostile(Kind::TarGz, &zeros[..zeros.len() / 2], WIDE, "unpacked"); // only zeros: an empty archive
    hostile(Kind::TarGz, b"no archive", WIDE, "the archive is damaged");
    hostile(Kind::Tar, &twice[..300_000], WIDE, "the archive is damaged");
    hostile(Kind::TarXz, b"no archive", WIDE, "the archive is damaged");
    hostile(Kind::TarBz2, b"no archive", WIDE, "the archive is damaged");
    hostile(Kind::Zip, b"no archive", WIDE, "the archive cannot be read");
}

#[test]
fn long_names_are_understood() {
    let name = format!("{}/f", "d".repeat(150));
    let long = tar_of(&[("x", tar::EntryType::GNULongName, &name), ("short", Regular, "1")]);
    let record = format!(" path={}/g\n", "e".repeat(150));
    let record = format!("{}{record}", record.len() + 3);
    let pax = tar_of(&[("x", tar::EntryType::XHeader, &record), ("short", Regular, "2")]);
    let dir = tempfile::tempdir().unwrap();
    for content in [long, pax] {
        let file = dir.path().join("archive");
        fs::write(&file, content).unwrap();
        archive::unpack(Kind::Tar, &file, "archive", dir.path(), WIDE, &AtomicBool::new(false)).unwrap();
    }
    let read = |name: String| fs::read_to_string(dir.path().join(name)).unwrap();
    assert_eq!((read(name), read(format!("{}/g", "e".repeat(150)))), ("1".to_owned(), "2".to_owned()));
    assert!(!dir.path().join("short").exists());
}

#[test]
fn a_cancelled_unpacking_stops() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.tar");
    fs::write(&file, tar_of(&[("a", Regular, "x")])).unwrap();
    let got = archive::unpack(Kind::Tar, &file, "a.tar", dir.path(), WIDE, &AtomicBool::new(true));
    assert_eq!((got, Path::new(&dir.path().join("a")).exists()), (Err("no longer wanted".to_owned()), false));
}
