//! Whoever follows a log that is rotated gets all of it, once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use marathon_files::{Ask, Files, Refused};

use crate::{APP, latest, path, read, start, target};

type Folder = BTreeMap<String, Vec<u8>>;

fn rotate(folder: &mut Folder) {
    for number in (1..=3).rev() {
        let old = if number == 1 { "log".to_owned() } else { format!("log.{}", number - 1) };
        if let Some(content) = folder.remove(&old) {
            folder.insert(format!("log.{number}"), content);
        }
    }
}

/// Each step is a rotation (`rotate`, `truncate` leaves no trace of what there was), some text that is written, or
/// `read` until nothing more comes. `|` in what is wanted: the reader was told that another file begins.
async fn check(steps: &[&str], want: &str) {
    let folder: Arc<Mutex<Folder>> = Arc::default();
    let served = folder.clone();
    let mesos = start(false, move |asked, port| {
        if asked.starts_with("/slaves") {
            return Some(crate::agents(port));
        }
        let rest = asked.strip_prefix("/files/")?;
        let (what, rest) = rest.split_once("?path=")?;
        let rest = rest.strip_prefix(&latest(APP))?;
        match what {
            "browse" => Some((200, b"[]".to_vec())),
            _ => {
                let name = rest.strip_prefix('/')?.split('&').next()?;
                read(served.lock().unwrap().get(name)?, rest)
            }
        }
    })
    .await;
    let (mut offset, mut file, mut got) = (0, None, String::new());
    for step in steps {
        match *step {
            "rotate" => rotate(&mut folder.lock().unwrap()),
            "truncate" => drop(folder.lock().unwrap().remove("log")),
            "read" => loop {
                let ask = Ask { offset: Some(offset), length: 4, file: file.clone() };
                let piece = match mesos.files.read(&target(APP, true), &path("log"), &ask).await {
                    Err(Refused::NoFile) => break,
                    other => other.unwrap(),
                };
                if piece.restarted {
                    got.push('|');
                }
                got.push_str(std::str::from_utf8(&piece.data).unwrap());
                offset = piece.offset + piece.data.len() as u64;
                file = piece.file;
                if offset >= piece.size {
                    break;
                }
            },
            text => {
                folder.lock().unwrap().entry("log".to_owned()).or_default().extend_from_slice(text.as_bytes())
            }
        }
    }
    assert_eq!(got, want, "{steps:?}");
}

#[tokio::test]
async fn a_rotated_log_is_read_to_its_end() {
    for (steps, want) in [
        (&["ab", "read", "cd", "read"][..], "abcd"),
        (&["ab", "read", "rotate", "efg", "read"], "ab|efg"),
        // A file of the same length is no news; with the next byte it is seen to be another.
        (&["ab", "read", "rotate", "ef", "read", "gh", "read"], "ab|efgh"),
        (&["abcdefgh", "read", "ij", "rotate", "k", "read"], "abcdefghij|k"),
        // The new file is already longer than what was read of the old one.
        (&["ab", "read", "cd", "rotate", "efghijkl", "read"], "abcd|efghijkl"),
        (&["ab", "read", "rotate", "ef", "rotate", "ghi", "read"], "ab|ef|ghi"),
        (
            &["ab", "read", "cd", "rotate", "efghi", "rotate", "jklmn", "read", "op", "read"],
            "abcd|efghi|jklmnop",
        ),
        // For a moment there is none.
        (&["ab", "read", "cd", "rotate", "read", "read", "ef", "read"], "abcd|ef"),
        // Outrun: the oldest that is left comes next.
        (
            &["ab", "read", "rotate", "cd", "rotate", "ef", "rotate", "gh", "rotate", "ijk", "read"],
            "ab|cd|ef|gh|ijk",
        ),
        (
            &[
                "ab", "read", "rotate", "c", "rotate", "d", "rotate", "e", "rotate", "f", "rotate", "ghi",
                "read",
            ],
            "ab|d|e|f|ghi",
        ),
        (&["abcd", "read", "truncate", "ef", "read"], "abcd|ef"),
        (&["abcd", "read", "truncate", "efghijk", "read"], "abcd|efghijk"),
    ] {
        check(steps, want).await;
    }
}
