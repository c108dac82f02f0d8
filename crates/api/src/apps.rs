//! Bodies about apps other than the whole list (see `cache` for that one).

use marathon_model::command::Refusal;
use marathon_model::id::{GroupId, SpecId};
use marathon_model::time::Timestamp;
use marathon_model::view::View;

use crate::app::write_app;
use crate::embed::Embed;
use crate::info_app::write_app_info;
use crate::json::Json;
use crate::{group, live_app, no_such_app, no_such_group};

/// `GET /v2/apps/{id}`: `{"app":{…}}`. What a single app is always shown with is added to `embed`.
pub fn one(view: &View, id: &SpecId, embed: Embed, now: Timestamp) -> Result<Vec<u8>, Refusal> {
    let (app, spec) = live_app(view, id).ok_or_else(|| no_such_app(id))?;
    let mut json = Json::with_capacity(2048);
    json.object(|json| write_app_info(json.key("app"), app, spec, embed | Embed::SINGLE, now));
    Ok(json.into_bytes())
}

/// `GET /v2/apps/{group}/*`: `{"*":[…]}` with all apps below the group, each shown as a single one is.
pub fn below(view: &View, group: &GroupId, embed: Embed, now: Timestamp) -> Result<Vec<u8>, Refusal> {
    let apps = group::apps_below(view, group).ok_or_else(|| no_such_group(group, None))?;
    Ok(Json::text(|json| {
        json.object(|json| {
            json.key("*")
                .array(apps, |json, (app, spec)| write_app_info(json, app, spec, embed | Embed::SINGLE, now));
        });
    }))
}

/// `GET /v2/apps/{id}/versions`: newest first.
pub fn versions(view: &View, id: &SpecId) -> Result<Vec<u8>, Refusal> {
    let (app, _) = live_app(view, id).ok_or_else(|| no_such_app(id))?;
    let versions = app.history.iter().rev().filter(|(_, spec)| spec.as_ref().is_some_and(|it| !it.is_pod()));
    Ok(Json::text(|json| {
        json.object(|json| json.key("versions").array(versions, |json, (at, _)| json.time(*at)));
    }))
}

/// `GET /v2/apps/{id}/versions/{version}`: the bare app.
pub fn version(view: &View, id: &SpecId, version: Timestamp) -> Result<Vec<u8>, Refusal> {
    let refusal = || Refusal::NoSuchApp { id: id.clone(), version: Some(version) };
    let (app, _) = live_app(view, id).ok_or_else(refusal)?;
    let spec = app.version(version).filter(|it| !it.is_pod()).ok_or_else(refusal)?;
    Ok(Json::text(|json| write_app(json, spec)))
}
