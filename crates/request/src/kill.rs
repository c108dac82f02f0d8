//! The ids of tasks to kill.

use marathon_model::id::{IdError, TaskId};
use serde_json::Value;
use uuid::Uuid;

use crate::BadRequest;
use crate::reader::Reader;

pub fn ids(json: &Value) -> Result<Vec<TaskId>, BadRequest> {
    let mut reader = Reader::default();
    let texts = reader
        .object(json)
        .and_then(|it| reader.required(it, "ids", |reader, it| reader.list(it, Reader::text)));
    let texts = reader.finish(texts)?;
    let mut ids = Vec::with_capacity(texts.len());
    for text in texts {
        match TaskId::parse(&text) {
            Ok(id) => ids.push(id),
            Err(IdError::Uuid(_) | IdError::Shape(_)) => judge_old(&text)?,
        }
    }
    Ok(ids)
}

/// Ids of earlier releases, which name no task of this one, are skipped; what never was an id is not.
///
/// ```text
/// <path>.<uuid>   <path>.<uuid>.<n>   <path>.instance-<uuid>.<container>   <path>.marathon-<uuid>…
/// ```
fn judge_old(text: &str) -> Result<(), BadRequest> {
    let uuid = uuid_part(text).ok_or_else(|| {
        BadRequest::Bad(format!(
            "Invalid task id '{text}'. [taskId {text} no valid identifier (of class java.lang.String)]"
        ))
    })?;
    match Uuid::parse_str(uuid) {
        Ok(_) => Ok(()),
        Err(_) => Err(BadRequest::Illegal(format!("Invalid UUID string: {uuid}"))),
    }
}

fn uuid_part(text: &str) -> Option<&str> {
    for mark in [".instance-", ".marathon-"] {
        if let Some((path, rest)) = text.split_once(mark)
            && !path.is_empty()
        {
            return rest.split(['.', '_']).next().filter(|it| !it.is_empty());
        }
    }
    let (rest, last) = text.rsplit_once(['.', '_'])?;
    let (rest, uuid) = match rest.rsplit_once(['.', '_']) {
        // A number behind the UUID counts restarts.
        Some((before, uuid)) if !last.is_empty() && last.bytes().all(|it| it.is_ascii_digit()) => {
            (before, uuid)
        }
        _ => (rest, last),
    };
    if rest.is_empty() || uuid.is_empty() { None } else { Some(uuid) }
}
