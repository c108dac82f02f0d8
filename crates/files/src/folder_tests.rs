use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use futures_util::StreamExt;
use nix::sys::stat::{Mode as FileMode, mknod};
use nix::unistd::mkfifo;
use tempfile::TempDir;

use super::*;

/// A pod with one container, and secrets beside it that nobody may see.
struct Bench {
    dir: TempDir,
    pod: Folder,
    web: Folder,
}

fn bench() -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let pod = dir.path().join("pod");
    for folder in ["pod/containers/web/conf", "pod/volumes/data", "other"] {
        fs::create_dir_all(dir.path().join(folder)).unwrap();
    }
    fs::write(dir.path().join("secret"), "secret").unwrap();
    fs::write(dir.path().join("other/secret"), "secret").unwrap();
    fs::write(pod.join("volumes/data/f"), "shared").unwrap();
    fs::write(pod.join("containers/web/stdout"), "hello\n").unwrap();
    fs::write(pod.join("containers/web/conf/c"), "conf").unwrap();
    let inside = Path::new("/mnt/mesos/sandbox");
    let web = Folder::new(pod.clone(), &["containers", "web"], Some(inside));
    Bench { pod: Folder::new(pod, &[], None), web, dir }
}

fn path(text: &str) -> FilePath {
    FilePath::parse(text).unwrap()
}

fn content(folder: &Folder, text: &str) -> Result<String, Refused> {
    let ask = Ask { offset: Some(0), length: 1000, file: None };
    folder.read(&path(text), &ask).map(|it| String::from_utf8(it.data.to_vec()).unwrap())
}

#[test]
fn links_lead_no_further_than_the_pod() {
    let bench = bench();
    let sandbox = bench.dir.path().join("pod/containers/web");
    let absolute = |below: &str| bench.dir.path().join(below).display().to_string();
    let denied = |why: &str| Err(Refused::Denied(why.to_owned()));
    for (target, want) in [
        ("stdout".to_owned(), Ok("hello\n")),
        ("conf/../stdout".to_owned(), Ok("hello\n")),
        ("./conf/./c".to_owned(), Ok("conf")),
        ("../../volumes/data/f".to_owned(), Ok("shared")),
        (absolute("pod/volumes/data/f"), Ok("shared")),
        ("/mnt/mesos/sandbox/conf/c".to_owned(), Ok("conf")),
        ("/mnt/mesos/sandbox/../../secret".to_owned(), Err(Refused::NoFile)),
        ("/mnt/mesos/sandbox/../../../secret".to_owned(), Err(Refused::LeadsOut)),
        ("../../../secret".to_owned(), Err(Refused::LeadsOut)),
        (absolute("secret"), Err(Refused::LeadsOut)),
        (absolute("pod/../secret"), Err(Refused::LeadsOut)),
        (absolute("pod-other/secret"), Err(Refused::LeadsOut)),
        ("/etc/passwd".to_owned(), Err(Refused::LeadsOut)),
        ("/proc/self/root/etc/passwd".to_owned(), Err(Refused::LeadsOut)),
        ("gone".to_owned(), Err(Refused::NoFile)),
        ("link".to_owned(), denied("too many links on the way to it")),
        ("conf".to_owned(), Err(Refused::IsFolder)),
        ("stdout/x".to_owned(), Err(Refused::NoFile)),
    ] {
        symlink(&target, sandbox.join("link")).unwrap();
        let found = content(&bench.web, "link");
        assert_eq!(found.as_deref().map_err(Clone::clone), want, "{target}");
        fs::remove_file(sandbox.join("link")).unwrap();
    }
}

#[test]
fn folders_may_be_links_as_well() {
    let bench = bench();
    let sandbox = bench.dir.path().join("pod/containers/web");
    symlink("../../volumes/data", sandbox.join("data")).unwrap();
    symlink("../../../other", sandbox.join("out")).unwrap();
    assert_eq!(content(&bench.web, "data/f").as_deref(), Ok("shared"));
    assert_eq!(content(&bench.web, "out/secret"), Err(Refused::LeadsOut));
    assert_eq!(bench.web.list(&path("out")), Err(Refused::LeadsOut));
    assert_eq!(bench.web.list(&path("data")).unwrap().entries[0].name, "f");
    assert_eq!(content(&bench.pod, "containers/web/stdout").as_deref(), Ok("hello\n"));
}

#[test]
fn what_is_no_plain_file_is_not_opened() {
    let bench = bench();
    let sandbox = bench.dir.path().join("pod/containers/web");
    mkfifo(&sandbox.join("pipe"), FileMode::S_IRWXU).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(sandbox.join("socket")).unwrap();
    let mut rows = vec![("pipe", "a pipe"), ("socket", "a socket")];
    // The device of nothing: opening it fails, and shall not be tried.
    if mknod(&sandbox.join("device"), SFlag::S_IFCHR, FileMode::S_IRWXU, 0).is_ok() {
        rows.push(("device", "a device"));
    }
    for (name, kind) in rows {
        assert_eq!(content(&bench.web, name), Err(Refused::Special(kind)));
        assert_eq!(bench.web.open(&path(name)).err(), Some(Refused::Special(kind)));
        assert_eq!(bench.web.list(&path(name)), Err(Refused::NotFolder));
    }
    assert_eq!(content(&bench.web, ""), Err(Refused::IsFolder));
    assert_eq!(bench.web.open(&path("conf")).err(), Some(Refused::IsFolder));
    let gone = Folder::new(bench.dir.path().join("gone"), &[], None);
    assert_eq!(gone.list(&path("")), Err(Refused::NoSandbox));
    assert_eq!(content(&gone, "stdout"), Err(Refused::NoSandbox));
    let gone = Folder::new(bench.dir.path().join("pod"), &["containers", "db"], None);
    assert_eq!(gone.list(&path("")), Err(Refused::NoSandbox));
    assert_eq!(content(&gone, "stdout"), Err(Refused::NoSandbox));
}

#[test]
fn second_names_of_files_of_others_are_refused() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let bench = bench();
    let sandbox = bench.dir.path().join("pod/containers/web");
    fs::hard_link(sandbox.join("stdout"), sandbox.join("mine")).unwrap();
    assert_eq!(content(&bench.web, "mine").as_deref(), Ok("hello\n"));
    fs::hard_link(bench.dir.path().join("secret"), sandbox.join("stolen")).unwrap();
    std::os::unix::fs::chown(&sandbox, Some(54321), None).unwrap();
    assert!(matches!(content(&bench.web, "stolen"), Err(Refused::Denied(_))));
    // Where everybody may write, the owner of the folder says nothing.
    let volume = bench.dir.path().join("pod/volumes/data");
    fs::hard_link(bench.dir.path().join("secret"), volume.join("stolen")).unwrap();
    fs::set_permissions(&volume, fs::Permissions::from_mode(0o777)).unwrap();
    assert!(matches!(content(&bench.pod, "volumes/data/stolen"), Err(Refused::Denied(_))));
}

#[test]
fn listings() {
    let bench = bench();
    let sandbox = bench.dir.path().join("pod/containers/web");
    fs::set_permissions(sandbox.join("stdout"), fs::Permissions::from_mode(0o4640)).unwrap();
    symlink("conf/c", sandbox.join("a")).unwrap();
    symlink("/etc", sandbox.join("b")).unwrap();
    let found = bench.web.list(&path("")).unwrap();
    let shown: Vec<String> = found
        .entries
        .iter()
        .map(|it| {
            let link = it.link.as_ref().map(|it| format!(" -> {it}")).unwrap_or_default();
            let size = if it.directory { 0 } else { it.size };
            format!("{} {} {size} {}{link}", it.mode, it.name, it.directory)
        })
        .collect();
    let want = [
        "lrwxrwxrwx a 4 false -> conf/c",
        "lrwxrwxrwx b 4 false -> /etc",
        "drwxr-xr-x conf 0 true",
        "-rwSr----- stdout 6 false",
    ];
    assert_eq!((shown.as_slice(), found.truncated), (want.map(str::to_owned).as_slice(), false));
}

#[test]
fn huge_folders_are_listed_in_part() {
    let bench = bench();
    let sandbox = bench.dir.path().join("pod/containers/web");
    for n in 0..ENTRIES_MAX + 10 {
        fs::File::create(sandbox.join(format!("x{n}"))).unwrap();
    }
    let found = bench.web.list(&path("")).unwrap();
    assert!(found.truncated && found.entries.len() <= ENTRIES_MAX + 2);
    assert!(found.entries.iter().any(|it| it.name == "stdout"));
}

/// What a reader gets who reads on and on, each step a rotation or some text.
fn follow(steps: &[&str], length: u64) -> String {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::new(dir.path().to_owned(), &[], None);
    let log = dir.path().join("stdout");
    let mut ask = Ask { offset: Some(0), length, file: None };
    let mut told = String::new();
    for step in steps {
        match *step {
            "rotate" => {
                for n in [2, 1] {
                    let _ = fs::rename(
                        dir.path().join(format!("stdout.{n}")),
                        dir.path().join(format!("stdout.{}", n + 1)),
                    );
                }
                fs::rename(&log, dir.path().join("stdout.1")).unwrap();
                let _ = fs::remove_file(dir.path().join("stdout.3"));
            }
            "cut" => fs::write(&log, "").unwrap(),
            "read" => loop {
                let piece = match folder.read(&path("stdout"), &ask) {
                    Ok(piece) => piece,
                    Err(error) => {
                        told.push_str(&format!("({error})"));
                        break;
                    }
                };
                if piece.restarted {
                    told.push('|');
                }
                told.push_str(std::str::from_utf8(&piece.data).unwrap());
                ask.offset = Some(piece.offset + piece.data.len() as u64);
                ask.file = piece.file;
                if piece.data.is_empty() && !piece.restarted {
                    break;
                }
            },
            text => {
                use std::io::Write;
                let mut file = fs::File::options().append(true).create(true).open(&log).unwrap();
                file.write_all(text.as_bytes()).unwrap();
            }
        }
    }
    told
}

#[test]
fn rotated_files_are_read_to_their_end() {
    for (steps, want) in [
        (&["ab", "read", "cd", "read"][..], "abcd"),
        (&["ab", "read", "cd", "rotate", "ef", "read"], "abcd|ef"),
        (&["ab", "read", "rotate", "ef", "rotate", "gh", "read"], "ab|ef|gh"),
        (&["ab", "read", "cd", "rotate", "read", "ef", "read"], "abcd(no such file)|ef"),
        // Outrun: the oldest that is left comes next.
        (&["ab", "read", "rotate", "cd", "rotate", "ef", "rotate", "gh", "read"], "ab|cd|ef|gh"),
        (&["ab", "read", "cut", "c", "read"], "ab|c"),
        (&["read"], "(no such file)"),
    ] {
        for length in [1, 3, 100] {
            assert_eq!(follow(steps, length), want, "{steps:?}");
        }
    }
}

#[test]
fn pieces() {
    let bench = bench();
    for (offset, length, data, at) in [
        (Some(0), 3, "hel", 0),
        (Some(4), 100, "o\n", 4),
        (Some(6), 9, "", 6),
        (Some(99), 9, "", 99),
        (None, 9, "", 6),
    ] {
        let piece = bench.web.read(&path("stdout"), &Ask { offset, length, file: None }).unwrap();
        assert_eq!((&piece.data[..], piece.offset, piece.size), (data.as_bytes(), at, 6));
    }
    let big = bench.dir.path().join("pod/containers/web/big");
    fs::write(&big, vec![b'x'; 100_000]).unwrap();
    let ask = Ask { offset: Some(0), length: u64::MAX, file: None };
    assert_eq!(bench.web.read(&path("big"), &ask).unwrap().data.len() as u64, crate::PIECE_BYTES_MAX);
}

#[tokio::test]
async fn whole_files() {
    let bench = bench();
    let file = bench.dir.path().join("pod/containers/web/big");
    let bytes: Vec<u8> = (0..300_000u32).map(|it| it as u8).collect();
    fs::write(&file, &bytes).unwrap();
    for range in [0..300_000u64, 5..7, 299_999..300_000, 3..3] {
        let whole = bench.web.open(&path("big")).unwrap();
        assert_eq!(whole.size, 300_000);
        let chunks: Vec<Bytes> = whole.source.chunks(range.clone()).map(|it| it.unwrap()).collect().await;
        let range = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
        assert!(chunks.concat() == bytes[range]);
    }
    // Shorter than promised must not look like the end.
    let whole = bench.web.open(&path("big")).unwrap();
    fs::write(&file, "short").unwrap();
    let chunks: Vec<_> = whole.source.chunks(0..300_000).collect().await;
    assert!(chunks.last().unwrap().is_err());
}
