//! Files of tasks: listed, read in pieces, downloaded. Who has them is the engine's business.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{
    ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderName, HeaderValue,
    IF_RANGE, LAST_MODIFIED, RANGE, X_CONTENT_TYPE_OPTIONS,
};
use marathon_api::json::Json;
use marathon_files::{
    Ask as Which, Entry, FilePath, Files, Listing, PIECE_BYTES_MAX, Piece, Refused, Target,
};
use marathon_model::id::{InstanceId, TaskId};
use marathon_model::offer::TaskState;
use marathon_model::view::View;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::Http;
use crate::accept::{self, Form};
use crate::answer::Ask;
use crate::body::Body;
use crate::range::{self, Wanted};
use crate::reply::Out;

/// Downloads at a time; more are refused.
const DOWNLOADS_MAX: usize = 64;
/// Reads that wait for more to read; others are answered at once.
const WAITS_MAX: usize = 256;
/// Below what a follower that passes the request on waits for the leader (`--leader_proxy_read_timeout`).
const WAIT_MAX: Duration = Duration::from_secs(8);

const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");
const PLAIN: HeaderValue = HeaderValue::from_static("text/plain;charset=UTF-8");

pub struct Desk {
    files: OnceLock<Arc<dyn Files>>,
    downloads: Arc<Semaphore>,
    waits: Semaphore,
}

impl Default for Desk {
    fn default() -> Desk {
        Desk {
            files: OnceLock::new(),
            downloads: Arc::new(Semaphore::new(DOWNLOADS_MAX)),
            waits: Semaphore::new(WAITS_MAX),
        }
    }
}

impl Desk {
    /// Says who has the files. Once; later calls change nothing.
    pub fn set(&self, files: Arc<dyn Files>) {
        let _ = self.files.set(files);
    }

    /// Reads that wait for more.
    pub fn waiting(&self) -> usize {
        WAITS_MAX - self.waits.available_permits()
    }
}

/// What is asked for, as it was written.
struct Wish<'a> {
    files: &'a Arc<dyn Files>,
    task: &'a str,
    of: Target,
    path: FilePath,
}

fn bad(text: impl std::fmt::Display) -> Out {
    Out::message(StatusCode::BAD_REQUEST, text)
}

fn unavailable(text: &str) -> Out {
    Refused::Unavailable(text.to_owned()).out("", &FilePath::default())
}

trait Told {
    fn out(&self, task: &str, path: &FilePath) -> Out;
}

impl Told for Refused {
    fn out(&self, task: &str, path: &FilePath) -> Out {
        let (status, text) = match self {
            Refused::NoSandbox => {
                (404, format!("There are no files of task '{task}': it never ran, or its sandbox is gone"))
            }
            Refused::NoFile => (404, format!("Task '{task}' has no file '{path}'")),
            Refused::LeadsOut => (403, format!("'{path}' leads out of the sandbox of task '{task}'")),
            Refused::Denied(why) => (403, format!("'{path}' of task '{task}' may not be read: {why}")),
            Refused::IsFolder => (400, format!("'{path}' of task '{task}' is a directory, not a file")),
            Refused::NotFolder => (400, format!("'{path}' of task '{task}' is no directory")),
            Refused::Special(kind) => {
                (400, format!("'{path}' of task '{task}' is {kind}, which is not read"))
            }
            Refused::Unavailable(text) => (503, text.clone()),
            Refused::TooSlow(text) => (504, text.clone()),
        };
        match status {
            404 => marathon_api::error::not_found(text).into(),
            status => marathon_api::error::message(status, text).into(),
        }
    }
}

impl<'a> Wish<'a> {
    fn new(http: &'a Http, ask: &Ask, task: &'a str) -> Result<Wish<'a>, Out> {
        let path = FilePath::parse(ask.query.get("path").unwrap_or_default()).map_err(bad)?;
        let of = target(&http.views.load(), task)?;
        let files = http.files.files.get().ok_or_else(|| unavailable("The engine is starting; try again"))?;
        Ok(Wish { files, task, of, path })
    }

    fn of_file(http: &'a Http, ask: &Ask, task: &'a str) -> Result<Wish<'a>, Out> {
        let wish = Wish::new(http, ask, task)?;
        if wish.path.is_empty() {
            return Err(bad("path must name a file, such as stdout"));
        }
        Ok(wish)
    }

    fn refused(&self, refused: &Refused) -> Out {
        refused.out(self.task, &self.path)
    }
}

/// A task, a container of a pod, or the present (or last) task of an instance.
fn target(view: &View, text: &str) -> Result<Target, Out> {
    let missing = |what: &str| {
        Out::from(marathon_api::error::not_found(format_args!("{what} '{text}' does not exist")))
    };
    let task = match TaskId::parse(text) {
        Ok(task) => task,
        Err(_) => {
            let id = InstanceId::parse(text).map_err(|_| missing("Task"))?;
            let instance = view.instance(&id).ok_or_else(|| missing("Instance"))?;
            let waits = format_args!("Instance '{text}' has not been started yet");
            let task = instance.task.as_ref().ok_or_else(|| marathon_api::error::not_found(waits))?;
            task.id.clone()
        }
    };
    let app = view.apps.get(&task.instance.spec);
    let spec = app.and_then(|it| it.history.iter().rev().find_map(|(_, spec)| spec.as_ref()));
    let present = view.task(&whole(&task)).and_then(|it| it.agent.as_ref());
    let failed = app.and_then(|it| it.failure.as_ref()).filter(|it| it.task == whole(&task));
    let (agent, host) = match (present, failed) {
        (Some(agent), _) => (Some(agent.id.clone()), Some(agent.host.clone())),
        (None, Some(failed)) => (failed.agent.clone(), Some(failed.host.clone())),
        (None, None) => (None, None),
    };
    Ok(Target { pod: task.container.is_some() || spec.is_some_and(|it| it.is_pod()), agent, host, task })
}

fn whole(task: &TaskId) -> TaskId {
    TaskId { container: None, ..task.clone() }
}

/// As far as is known. What nobody knows any more has ended, too.
fn ended(view: &View, task: &TaskId) -> bool {
    let Some(instance) = view.task(&whole(task)) else { return true };
    let parts = instance.task.iter().flat_map(|it| &it.parts);
    let part = parts.filter(|it| Some(&it.name) == task.container.as_ref()).find_map(|it| it.state);
    instance.is_over() || part.is_some_and(is_final)
}

fn is_final(state: TaskState) -> bool {
    use TaskState::{Dropped, Error, Failed, Finished, Gone, GoneByOperator, Killed, Lost};
    matches!(state, Finished | Failed | Killed | Error | Lost | Dropped | Gone | GoneByOperator)
}

pub async fn list(http: &Http, ask: &Ask, task: &str) -> Out {
    let wish = match Wish::new(http, ask, task) {
        Ok(wish) => wish,
        Err(out) => return out,
    };
    match wish.files.list(&wish.of, &wish.path).await {
        Ok(listing) => safe(Out::json(listing_json(task, &wish.path, &listing))),
        Err(refused) => wish.refused(&refused),
    }
}

fn listing_json(task: &str, path: &FilePath, listing: &Listing) -> Vec<u8> {
    Json::text(|json| {
        json.object(|json| {
            json.key("task").string(task);
            json.key("path").shown(path);
            json.key("truncated").bool(listing.truncated);
            json.key("entries").array(&listing.entries, |json, it| entry_json(json, path, it));
        });
    })
}

fn entry_json(json: &mut Json, path: &FilePath, it: &Entry) {
    json.object(|json| {
        json.key("name").string(&it.name);
        match path.is_empty() {
            true => json.key("path").string(&it.name),
            false => json.key("path").string(&format!("{path}/{}", it.name)),
        }
        json.key("directory").bool(it.directory);
        json.key("size").int(it.size);
        json.key("mtime").int(it.mtime);
        json.key("mode").string(&it.mode);
        json.key("nlink").int(it.nlink);
        json.key("uid").string(&it.uid);
        json.key("gid").string(&it.gid);
        if let Some(link) = &it.link {
            json.key("link").string(link);
        }
    });
}

/// What a task wrote is never taken for a page of ours.
fn safe(out: Out) -> Out {
    out.with(X_CONTENT_TYPE_OPTIONS, "nosniff")
}

/// A parameter that is a number, if it is there.
fn number(ask: &Ask, name: &str, what: &str) -> Result<Option<u64>, Out> {
    let text = ask.query.get(name).map(str::trim).filter(|it| !it.is_empty());
    text.map(|it| it.parse().map_err(|_| bad(format_args!("{name} must be {what}, got '{it}'")))).transpose()
}

fn which(ask: &Ask) -> Result<(Which, Duration), Out> {
    let offset = match ask.query.get("offset").map(str::trim) {
        Some("-1") => None,
        _ => {
            let what = "a number of bytes, or -1 to be told the size";
            Some(number(ask, "offset", what)?.unwrap_or(0))
        }
    };
    let length = number(ask, "length", "a number of bytes")?.unwrap_or(PIECE_BYTES_MAX);
    let wait = number(ask, "wait", "a number of seconds")?.map_or(Duration::ZERO, Duration::from_secs);
    let file = ask.query.get("file").filter(|it| !it.is_empty()).map(str::to_owned);
    Ok((Which { offset, length, file }, wait.min(WAIT_MAX)))
}

pub async fn read(http: &Http, ask: &Ask, task: &str) -> Out {
    let (wish, (which, wait)) = match Wish::of_file(http, ask, task).and_then(|it| Ok((it, which(ask)?))) {
        Ok(both) => both,
        Err(out) => return out,
    };
    let form = accept::choose(&ask.parts.headers, &[Form::Json, Form::Octets, Form::Text]);
    let until = Instant::now() + wait;
    let turn = if wait.is_zero() { None } else { http.files.waits.try_acquire().ok() };
    loop {
        // Before reading: what a task writes, it has written when it has ended.
        let ended = ended(&http.views.load(), &wish.of.task);
        let mut piece = match wish.files.read(&wish.of, &wish.path, &which).await {
            Ok(piece) => piece,
            Err(refused) => return wish.refused(&refused),
        };
        if form == Some(Form::Json) {
            whole_characters(&mut piece, ended);
        }
        let news = !piece.data.is_empty() || piece.restarted || which.offset.is_none() || which.length == 0;
        if news || ended || turn.is_none() || Instant::now() >= until || http.hub.is_closed() {
            return safe(piece_out(&piece, form, ended));
        }
        tokio::time::sleep(wish.files.look().min(until.saturating_duration_since(Instant::now()))).await;
    }
}

/// Leaves the beginning of a character for the next piece, unless nothing else would be left, or no more will come.
fn whole_characters(piece: &mut Piece, ended: bool) {
    let at_end = piece.offset + piece.data.len() as u64 >= piece.size;
    let lead = |it: &u8| match it {
        0xC2..=0xDF => 2,
        0xE0..=0xEF => 3,
        0xF0..=0xF4 => 4,
        _ => 1,
    };
    let tail = piece.data.iter().rev().take(3).position(|it| it & 0xC0 != 0x80);
    let Some(back) = tail else { return };
    let start = piece.data.len() - 1 - back;
    let is_cut = lead(&piece.data[start]) > back + 1;
    let may_wait = if at_end { !ended } else { start > 0 };
    if is_cut && may_wait {
        piece.data.truncate(start);
    }
}

fn piece_out(piece: &Piece, form: Option<Form>, ended: bool) -> Out {
    let next = piece.offset + piece.data.len() as u64;
    if form == Some(Form::Json) {
        return Out::json(Json::text(|json| {
            json.object(|json| {
                json.key("data").string(&String::from_utf8_lossy(&piece.data));
                json.key("offset").int(piece.offset);
                json.key("next").int(next);
                json.key("size").int(piece.size);
                json.key("file").string_or_null(piece.file.as_deref());
                json.key("restarted").bool(piece.restarted);
                json.key("ended").bool(ended);
            });
        }));
    }
    let kind = if form == Some(Form::Text) { PLAIN } else { OCTETS };
    let mut out = Out::new(StatusCode::OK, Some(kind), piece.data.clone());
    for (name, value) in [
        ("x-file-offset", piece.offset.to_string()),
        ("x-file-next", next.to_string()),
        ("x-file-size", piece.size.to_string()),
        ("x-file-id", piece.file.clone().unwrap_or_default()),
        ("x-file-restarted", piece.restarted.to_string()),
        ("x-file-ended", ended.to_string()),
    ] {
        out = out.with(HeaderName::from_static(name), &value);
    }
    out
}

pub async fn download(http: &Http, ask: &Ask, task: &str) -> Out {
    let wish = match Wish::of_file(http, ask, task) {
        Ok(wish) => wish,
        Err(out) => return out,
    };
    let Ok(turn) = http.files.downloads.clone().try_acquire_owned() else {
        return unavailable("Too many downloads are running; try again");
    };
    let file = match wish.files.open(&wish.of, &wish.path).await {
        Ok(file) => file,
        Err(refused) => return wish.refused(&refused),
    };
    let size = file.size;
    let tag = file.tag.as_ref().map(|it| format!("\"{it}\""));
    let modified = file.modified.map(httpdate::fmt_http_date);
    let header = |name| ask.parts.headers.get(name).map(|it| it.to_str().unwrap_or_default());
    let known = [tag.as_deref(), modified.as_deref()];
    let unchanged = header(IF_RANGE).is_none_or(|it| known.contains(&Some(it)));
    let wanted = header(RANGE).filter(|_| unchanged).map_or(Wanted::All, |it| range::parse(it, size));
    let (status, range) = match wanted {
        Wanted::All => (StatusCode::OK, 0..size),
        Wanted::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
        Wanted::None => {
            let text = format!("'{}' of task '{task}' has {size} bytes, none in this range", wish.path);
            let out = Out::message(StatusCode::RANGE_NOT_SATISFIABLE, text);
            return out.with(CONTENT_RANGE, &format!("bytes */{size}"));
        }
    };
    let length = range.end - range.start;
    let mut out = Out { kind: Some(OCTETS), ..Out::empty(status) };
    if status == StatusCode::PARTIAL_CONTENT {
        out = out.with(CONTENT_RANGE, &format!("bytes {}-{}/{size}", range.start, range.end - 1));
    }
    for (name, value) in [(ETAG, tag), (LAST_MODIFIED, modified)] {
        if let Some(value) = value {
            out = out.with(name, &value);
        }
    }
    out.body = Body::File { chunks: file.source.chunks(range), left: length, _turn: turn };
    let name = range::disposition(wish.path.name().unwrap_or_default());
    let out = out.with(CONTENT_LENGTH, &length.to_string()).with(ACCEPT_RANGES, "bytes");
    safe(out.with(CONTENT_DISPOSITION, &name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_stay_whole() {
        // Text, size of the file (beginning at 0), whether the task has ended; what is given of it.
        for (text, size, ended, want) in [
            (&b"abc"[..], 3, false, 3),
            ("aé".as_bytes(), 3, false, 3),
            (b"a\xC3", 2, false, 1),
            (b"a\xC3", 2, true, 2),
            (b"a\xC3", 3, true, 1),
            (b"\xC3", 1, false, 0),
            (b"\xC3", 2, false, 1),
            (b"a\xF0\x9F\x98", 5, false, 1),
            ("a😀".as_bytes(), 5, false, 5),
            (b"a\x80\x80\x80", 4, false, 4),
            (b"a\xFF", 2, false, 2),
            (b"", 0, false, 0),
        ] {
            let data = bytes::Bytes::copy_from_slice(text);
            let mut piece = Piece { data, offset: 0, size, file: None, restarted: false };
            whole_characters(&mut piece, ended);
            assert_eq!(piece.data.len(), want, "{text:?} of {size}, {ended}");
        }
    }
}
