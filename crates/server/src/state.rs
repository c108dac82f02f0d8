//! `marathon state`: copies the whole state between a data folder, ZooKeeper and a file.
//!
//! ```text
//! marathon state dump FROM [FILE]           FROM, TO: a data folder (--data_dir) or zk://… (--zk)
//! marathon state load [--force] TO [FILE]   FILE: `-` or nothing for standard output and input
//! marathon state copy [--force] FROM TO
//! ```
//! A dump is one line for each record, and a last one that says how many, so that half a dump is known for one. What is copied is everything that is known of running tasks too, so the
//! tasks of a copied state go on.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use marathon_store::{Entry, Options, Pair, Store, ZkOptions, ZkStore, read_zookeeper};
use marathon_zookeeper::{Client, ZkUrl, latch};
use tokio::runtime::Runtime;

use crate::election::{ALONE, LATCH};
use crate::exit::chain;

const USAGE: &str = "usage: marathon state dump FROM [FILE]\n       \
                     marathon state load [--force] TO [FILE]\n       \
                     marathon state copy [--force] FROM TO\n\
                     FROM and TO are a data folder (as --data_dir) or zk://[user:password@]host:port,…/path (as --zk).";
const HEAD: &str = r#"{"marathonState":1}"#;
/// Changed keys of one commit; a record of the log has a limit.
const COMMIT_BYTES: usize = 32 << 20;
const PATIENCE: Duration = Duration::from_secs(15);

/// The exit code.
pub fn main(arguments: &[String]) -> i32 {
    let (flags, plain): (Vec<&str>, Vec<&str>) =
        arguments.iter().map(String::as_str).partition(|it| it.len() > 1 && it.starts_with('-'));
    let force = flags.contains(&"--force");
    if flags.iter().any(|it| matches!(*it, "-h" | "--help")) {
        println!("{USAGE}");
        return 0;
    }
    let result = match plain.as_slice() {
        _ if flags.iter().any(|it| *it != "--force") => Err(USAGE.to_owned()),
        ["dump", from] => dump(from, "-"),
        ["dump", from, file] => dump(from, file),
        ["load", to] => load("-", to, force),
        ["load", to, file] => load(file, to, force),
        ["copy", from, to] => Place::parse(from).and_then(|it| it.read()).and_then(|it| put(it, to, force)),
        _ => Err(USAGE.to_owned()),
    };
    match result {
        Ok(told) => {
            eprintln!("{told}");
            0
        }
        Err(text) => {
            eprintln!("marathon state: {text}");
            1
        }
    }
}

fn dump(from: &str, file: &str) -> Result<String, String> {
    let pairs = Place::parse(from)?.read()?;
    if pairs.is_empty() {
        return Err(format!("there is no state in {}", shown(from)));
    }
    let failed = |error: std::io::Error| format!("cannot write {file}: {error}");
    match file {
        "-" => write(&pairs, std::io::stdout().lock()).map_err(failed)?,
        file => save(&pairs, Path::new(file)).map_err(failed)?,
    }
    Ok(format!("{} records dumped", pairs.len()))
}

fn load(file: &str, to: &str, force: bool) -> Result<String, String> {
    let pairs = match file {
        "-" => read(std::io::stdin().lock())?,
        file => restore(Path::new(file))?,
    };
    put(pairs, to, force)
}

fn put(pairs: Vec<Pair>, to: &str, force: bool) -> Result<String, String> {
    if pairs.is_empty() {
        return Err("there is no state to copy".to_owned());
    }
    check(&pairs)?;
    let count = pairs.len();
    Place::parse(to)?.write(pairs, force)?;
    Ok(format!("{count} records copied to {to}", to = shown(to)))
}

fn shown(place: &str) -> String {
    ZkUrl::parse(place).map_or_else(|_| place.to_owned(), |it| it.to_string())
}

/// Refuses what no server could start with.
pub fn check(pairs: &[Pair]) -> Result<(), String> {
    marathon_records::load(pairs.to_vec()).map(drop).map_err(|error| chain(&error))
}

/// Whole or not at all: under another name until it is complete.
pub fn save(pairs: &[Pair], file: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut unfinished = file.as_os_str().to_owned();
    unfinished.push(".unfinished");
    let unfinished = PathBuf::from(unfinished);
    // Definitions may hold what others should not read.
    let out = File::options().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    write(pairs, BufWriter::new(&out))?;
    out.sync_all()?;
    std::fs::rename(&unfinished, file)
}

pub fn restore(file: &Path) -> Result<Vec<Pair>, String> {
    let open = File::open(file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    read(BufReader::new(open)).map_err(|error| format!("{}: {error}", file.display()))
}

fn write(pairs: &[Pair], mut out: impl Write) -> std::io::Result<()> {
    writeln!(out, "{HEAD}")?;
    for (key, value) in pairs {
        out.write_all(prefix(key).as_bytes())?;
        out.write_all(value)?;
        out.write_all(b"}\n")?;
    }
    writeln!(out, "{{\"records\":{}}}", pairs.len())?;
    out.flush()
}

fn prefix(key: &str) -> String {
    format!("{{\"key\":{},\"value\":", serde_json::Value::from(key))
}

fn read(input: impl Read) -> Result<Vec<Pair>, String> {
    let mut lines = BufReader::new(input).lines();
    match lines.next() {
        Some(Ok(head)) if head.trim() == HEAD => {}
        Some(Err(error)) => return Err(error.to_string()),
        _ => return Err(format!("this is no dump of the state: the first line should be {HEAD}")),
    }
    let mut pairs = Vec::new();
    let mut end = None;
    for (number, line) in (2..).zip(lines) {
        let line = line.map_err(|error| format!("line {number}: {error}"))?;
        if line.trim().is_empty() {
            continue;
        }
        let wrong = || format!("line {number} is no record");
        let json: serde_json::Value = serde_json::from_str(&line).map_err(|_| wrong())?;
        if end.is_some() {
            return Err(format!("line {number} comes after the end"));
        }
        if let Some(count) = json.get("records").and_then(serde_json::Value::as_u64) {
            end = Some(count);
            continue;
        }
        let key = json.get("key").and_then(|it| it.as_str()).ok_or_else(wrong)?;
        // The very bytes where possible: numbers must not change by being read and written.
        let exact = line.strip_prefix(&prefix(key)).and_then(|it| it.strip_suffix('}'));
        let value = match exact {
            Some(exact) => exact.as_bytes().to_vec(),
            None => json.get("value").ok_or_else(wrong)?.to_string().into_bytes(),
        };
        pairs.push((key.to_owned(), value));
    }
    match end {
        Some(count) if count == pairs.len() as u64 => Ok(pairs),
        Some(count) => Err(format!("it holds {} records, and its last line says {count}", pairs.len())),
        None => Err(format!(
            "it is cut off after {} records: its last line should say how many there are",
            pairs.len()
        )),
    }
}

enum Place {
    Folder(PathBuf),
    ZooKeeper(ZkUrl),
}

impl Place {
    fn parse(text: &str) -> Result<Place, String> {
        match text.to_ascii_lowercase().starts_with("zk:") {
            true => ZkUrl::parse(text).map(Place::ZooKeeper).map_err(|error| error.to_string()),
            false => Ok(Place::Folder(PathBuf::from(text))),
        }
    }

    fn read(&self) -> Result<Vec<Pair>, String> {
        match self {
            Place::Folder(folder) => {
                let state = folder.join("state");
                if !state.is_dir() {
                    return Err(format!("{} holds no state (as --data_dir would)", folder.display()));
                }
                Store::open(&state, Options::default()).map(|(_, pairs)| pairs).map_err(|error| chain(&error))
            }
            Place::ZooKeeper(url) => {
                let (runtime, client) = connect(url)?;
                let read = runtime.block_on(read_zookeeper(&client, &url.path));
                read.map_err(|error| chain(&error))
            }
        }
    }

    fn write(&self, pairs: Vec<Pair>, force: bool) -> Result<(), String> {
        match self {
            Place::Folder(folder) => {
                let state = folder.join("state");
                std::fs::create_dir_all(folder)
                    .map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
                let (store, before) = Store::open(&state, Options::default()).map_err(|it| chain(&it))?;
                replace(store, &before, pairs, force)
            }
            Place::ZooKeeper(url) => {
                let (runtime, client) = connect(url)?;
                for name in [LATCH, ALONE] {
                    let folder = format!("{}/{name}", url.path);
                    let leader =
                        runtime.block_on(latch::leader(&client, &folder)).map_err(|it| it.to_string())?;
                    if let Some(leader) = leader {
                        return Err(format!("{leader} leads there: stop all instances first"));
                    }
                }
                // Opening takes it away from whoever has it, which must not happen for nothing.
                let there = runtime.block_on(read_zookeeper(&client, &url.path)).map_err(|it| chain(&it))?;
                refuse_to_replace(&there, force)?;
                let handle = runtime.handle().clone();
                let opened = ZkStore::open(client, handle, &url.path, "marathon state", ZkOptions::default());
                let (store, before) = opened.map_err(|error| chain(&error))?;
                replace(Store::ZooKeeper(Box::new(store)), &before, pairs, force)
            }
        }
    }
}

fn connect(url: &ZkUrl) -> Result<(Runtime, Client), String> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let options = marathon_zookeeper::Options::new(url.clone());
    let client = runtime.block_on(Client::connect_within(&options, PATIENCE));
    client.map(|it| (runtime, it)).map_err(|error| format!("{url}: {error}"))
}

fn replace(mut store: Store, before: &[Pair], pairs: Vec<Pair>, force: bool) -> Result<(), String> {
    refuse_to_replace(before, force)?;
    commit(&mut store, &exchange(before, pairs))
}

fn refuse_to_replace(before: &[Pair], force: bool) -> Result<(), String> {
    match before.is_empty() || force {
        true => Ok(()),
        false => Err("there is a state already; --force replaces it".to_owned()),
    }
}

/// What has to change so that only `after` is there.
pub fn exchange(before: &[Pair], after: Vec<Pair>) -> Vec<Entry> {
    let kept: std::collections::HashSet<&str> = after.iter().map(|it| it.0.as_str()).collect();
    let gone = before.iter().filter(|it| !kept.contains(it.0.as_str()));
    let gone: Vec<Entry> = gone.map(|it| Entry { key: it.0.clone(), value: None }).collect();
    gone.into_iter().chain(after.into_iter().map(|(key, value)| Entry { key, value: Some(value) })).collect()
}

/// At once if it fits, as is nearly always so.
fn commit(store: &mut Store, entries: &[Entry]) -> Result<(), String> {
    let mut rest = entries;
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = |it: &&Entry| {
            bytes += it.key.len() + it.value.as_ref().map_or(0, Vec::len) + 16;
            bytes <= COMMIT_BYTES
        };
        let count = rest.iter().take_while(fits).count().max(1);
        let (some, others) = rest.split_at(count);
        store.commit(some).map_err(|error| chain(&error))?;
        rest = others;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn dumps_are_read_back_byte_by_byte() {
        let pairs: Vec<Pair> = vec![
            ("format".into(), b"1".to_vec()),
            ("app/a\"b@1".into(), br#"{"cpus":0.1000000000000000055,"cmd":"a\nb}"}"#.to_vec()),
        ];
        let mut text = Vec::new();
        write(&pairs, &mut text).unwrap();
        assert_eq!(read(text.as_slice()).unwrap(), pairs);
        let edited =
            format!("{HEAD}\n\n {{ \"value\": {{\"a\": 1}}, \"key\": \"k\" }}\n{{\"records\": 1}}\n");
        assert_eq!(read(edited.as_bytes()).unwrap(), [("k".to_owned(), b"{\"a\":1}".to_vec())]);
        for (text, want) in [
            ("", "this is no dump of the state: the first line should be {\"marathonState\":1}"),
            ("{\"marathonState\":1}\nx", "line 2 is no record"),
            ("{\"marathonState\":1}\n{\"key\":\"a\"}", "line 2 is no record"),
            (
                "{\"marathonState\":1}\n{\"key\":\"a\",\"value\":1}\n",
                "it is cut off after 1 records: its last line should say how many there are",
            ),
            ("{\"marathonState\":1}\n{\"records\":2}", "it holds 0 records, and its last line says 2"),
            ("{\"marathonState\":1}\n{\"records\":0}\n{\"records\":0}", "line 3 comes after the end"),
        ] {
            assert_eq!(read(text.as_bytes()).unwrap_err(), want);
        }
    }
}
