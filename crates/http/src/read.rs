//! Answers from the view alone.

use marathon_api::{Embed, Filter, GroupEmbed, apps, deployment, group, queue, task};
use marathon_model::app::AppSpec;
use marathon_model::command::Refusal;
use marathon_model::id::PathId;
use marathon_request::selector::Selector;

use crate::accept::{self, Form};
use crate::answer::Ask;
use crate::reply::{Out, settle};
use crate::{Http, change, now};

/// A list this long is rendered beside the workers, so that it holds up nobody else.
const LONG_LIST: usize = 256;

/// A path that is none names nothing.
fn app_path(text: &str) -> Result<PathId, Out> {
    PathId::parse(text)
        .map_err(|_| marathon_api::error::not_found(format_args!("App '/{text}' does not exist")).into())
}

fn group_path(text: &str) -> Result<PathId, Out> {
    PathId::parse(text)
        .map_err(|_| marathon_api::error::not_found(format_args!("Group '/{text}' does not exist")).into())
}

fn answer(result: Result<Out, Out>) -> Out {
    result.unwrap_or_else(|out| out)
}

fn wants_text(ask: &Ask) -> bool {
    accept::choose(&ask.parts.headers, &[Form::Json, Form::Text]) == Some(Form::Text)
}

fn ok<B: Into<bytes::Bytes>>(result: Result<B, Refusal>) -> Result<Out, Out> {
    Ok(settle(result))
}

pub async fn apps(http: &Http, ask: &Ask) -> Out {
    let view = http.views.load_full();
    let embed = Embed::parse(ask.query.all("embed"));
    let filter = match AppFilter::new(ask) {
        Ok(filter) => filter,
        Err(out) => return out,
    };
    let render = |cache: &marathon_api::AppsCache| match &filter {
        None => cache.list(&view, embed, None, now()),
        Some(filter) => {
            let keep = |spec: &AppSpec| filter.keeps(spec);
            cache.list(&view, embed, Some(Filter { text: &filter.text, keep: &keep }), now())
        }
    };
    let body = if view.apps.len() < LONG_LIST {
        render(&http.apps)
    } else {
        tokio::task::block_in_place(|| render(&http.apps))
    };
    Out::json(body)
}

/// The filters of the list; all must hold.
struct AppFilter {
    text: String,
    cmd: Option<String>,
    id: Option<String>,
    label: Option<Selector>,
}

impl AppFilter {
    fn new(ask: &Ask) -> Result<Option<AppFilter>, Out> {
        let get = |name: &str| ask.query.get(name).filter(|it| !it.is_empty());
        let (cmd, id, label) = (get("cmd"), get("id"), get("label"));
        if cmd.is_none() && id.is_none() && label.is_none() {
            return Ok(None);
        }
        Ok(Some(AppFilter {
            text: format!("{cmd:?} {id:?} {label:?}"),
            cmd: cmd.map(str::to_lowercase),
            id: id.map(str::to_lowercase),
            label: label.map(Selector::parse).transpose()?,
        }))
    }

    fn keeps(&self, spec: &AppSpec) -> bool {
        let holds = |text: &str, part: &Option<String>| {
            part.as_ref().is_none_or(|it| text.to_lowercase().contains(it))
        };
        let cmd = match &spec.cmd {
            Some(cmd) => holds(cmd, &self.cmd),
            None => self.cmd.is_none(),
        };
        cmd && holds(spec.id.as_str(), &self.id)
            && self.label.as_ref().is_none_or(|it| it.matches(&spec.labels))
    }
}

pub fn app(http: &Http, ask: &Ask, id: &str) -> Out {
    answer(app_path(id).and_then(|id| {
        ok(http.singles.one(&http.views.load(), &id, Embed::parse(ask.query.all("embed")), now()))
    }))
}

pub fn apps_below(http: &Http, ask: &Ask, group: &str) -> Out {
    answer(group_path(group).and_then(|group| {
        ok(apps::below(&http.views.load(), &group, Embed::parse(ask.query.all("embed")), now()))
    }))
}

pub fn app_tasks(http: &Http, ask: &Ask, id: &str) -> Out {
    answer(app_path(id).and_then(|id| {
        let view = http.views.load();
        if wants_text(ask) {
            return match task::plain_of_app(&view, &id) {
                Ok(text) => Ok(Out::text(text)),
                Err(refusal) => Err(refusal.into()),
            };
        }
        ok(task::of_app(&view, &id))
    }))
}

pub fn tasks_below(http: &Http, group: &str) -> Out {
    answer(group_path(group).and_then(|group| ok(task::below(&http.views.load(), &group))))
}

pub fn app_versions(http: &Http, id: &str) -> Out {
    answer(app_path(id).and_then(|id| ok(apps::versions(&http.views.load(), &id))))
}

pub fn app_version(http: &Http, id: &str, version: &str) -> Out {
    answer(app_path(id).and_then(|id| {
        let version = marathon_request::timestamp(version)?;
        ok(apps::version(&http.views.load(), &id, version))
    }))
}

pub fn tasks(http: &Http, ask: &Ask) -> Out {
    let view = http.views.load();
    if wants_text(ask) {
        return Out::text(task::plain(&view));
    }
    let statuses = ask.query.all("status").chain(ask.query.all("status[]"));
    Out::json(task::all(&view, task::Statuses::parse(statuses)))
}

pub fn group(http: &Http, ask: &Ask, id: &str) -> Out {
    answer(group_path(id).and_then(|id| {
        ok(group::one(&http.views.load(), &id, GroupEmbed::parse(ask.query.all("embed")), now()))
    }))
}

pub fn group_apps(http: &Http, ask: &Ask, id: &str) -> Out {
    answer(group_path(id).map(|id| {
        Out::json(group::apps(&http.views.load(), &id, Embed::parse(ask.query.all("embed")), now()))
    }))
}

pub fn group_versions(http: &Http, id: &str) -> Out {
    answer(group_path(id).and_then(|id| ok(group::versions(&http.views.load(), &id))))
}

pub fn group_version(http: &Http, ask: &Ask, id: &str, version: &str) -> Out {
    answer(group_path(id).and_then(|id| {
        let version = marathon_request::timestamp(version)?;
        let embed = GroupEmbed::parse(ask.query.all("embed"));
        ok(group::version(&http.views.load(), &id, version, embed, now()))
    }))
}

pub fn deployments(http: &Http, ask: &Ask) -> Out {
    let guards = ask.query.all("embed").any(|it| it == "guard");
    Out::json(deployment::list(&http.views.load(), guards))
}

pub fn deployments_failed(http: &Http) -> Out {
    Out::json(deployment::failed(&http.views.load()))
}

pub fn deployment(http: &Http, id: &str) -> Out {
    let found = change::deployment_id(id).and_then(|id| deployment::one(&http.views.load(), id));
    settle(found)
}

pub fn agents(http: &Http) -> Out {
    Out::json(marathon_api::agents::list(&http.views.load()))
}

pub fn queue(http: &Http, ask: &Ask) -> Out {
    let with_offers = queue::embeds_offers(ask.query.all("embed"));
    Out::json(queue::list(&http.views.load(), with_offers, now()))
}
