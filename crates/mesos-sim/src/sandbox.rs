//! Files of real sandboxes, read from the disk.

use std::path::Path;

use serde_json::Value;

use crate::agent_page::{attachment, file_json, piece};
use crate::front::{Answer, Request};
use crate::sim::Sim;

/// Larger files are served up to here.
const FILE_MAX: u64 = 256 * 1024 * 1024;

/// The answer if the request is for a file of a real sandbox.
pub fn serve(sim: &Sim, agent: usize, request: &Request) -> Option<Answer> {
    let kind = request.path().strip_prefix("/files/")?;
    let query = request.query();
    let asked = query.get("path")?;
    if !sim.config.real {
        return None;
    }
    let real = sim.real_path(agent, asked)?;
    let path = Path::new(&real);
    Some(match kind {
        "browse" => match std::fs::read_dir(path) {
            Ok(entries) => {
                let mut names: Vec<String> =
                    entries.flatten().map(|it| it.file_name().to_string_lossy().into_owned()).collect();
                names.sort();
                let list = names.iter().map(|name| entry(path, asked.trim_end_matches('/'), name)).collect();
                Answer::json(&Value::Array(list))
            }
            Err(_) => Answer::text(404, ""),
        },
        "read" | "download" => match content(path) {
            Some(bytes) if kind == "read" => piece(&bytes, &query),
            Some(bytes) => attachment(&path.file_name().unwrap_or_default().to_string_lossy(), bytes),
            None => Answer::text(404, ""),
        },
        _ => return None,
    })
}

fn entry(folder: &Path, shown: &str, name: &str) -> Value {
    let about = std::fs::metadata(folder.join(name)).ok();
    let modified = about
        .as_ref()
        .and_then(|it| it.modified().ok())
        .and_then(|it| it.duration_since(std::time::UNIX_EPOCH).ok());
    let is_folder = about.as_ref().is_some_and(|it| it.is_dir());
    let mut shown = file_json(
        &format!("{shown}/{name}"),
        about.map_or(0, |it| it.len()),
        modified.map_or(0, |it| it.as_secs()),
    );
    if is_folder {
        shown["mode"] = "drwxr-xr-x".into();
    }
    shown
}

fn content(path: &Path) -> Option<Vec<u8>> {
    use std::io::Read as _;
    let mut out = Vec::new();
    std::fs::File::open(path).ok()?.take(FILE_MAX).read_to_end(&mut out).ok()?;
    Some(out)
}
