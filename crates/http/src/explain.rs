//! `…/explain`: why an app or pod is as it is.

use marathon_model::id::PathId;
use marathon_request::query::Query;

use crate::answer::Ask;
use crate::reply::Out;
use crate::route::Kind;
use crate::{Http, now};

/// Agents listed one by one unless asked otherwise, and at most. The sums are of all of them in any case.
const AGENTS: usize = 20;
const AGENTS_MAX: usize = 10_000;
const MANY_AGENTS: usize = 256;

pub fn one(http: &Http, ask: &Ask, kind: Kind, id: &str) -> Out {
    let view = http.views.load_full();
    let Some(rows) = rows(&ask.query) else {
        let text = format!("agents must be a number from 0 to {AGENTS_MAX}");
        return Out::message(hyper::StatusCode::BAD_REQUEST, text);
    };
    let live = |text: &str| {
        let app = view.app(&PathId::parse(text).ok()?)?;
        let pod = app.spec.as_ref().is_some_and(|it| it.is_pod());
        (pod == (kind == Kind::Pod)).then(|| app.id.clone())
    };
    if let Some(id) = live(id) {
        // With thousands of agents it takes a while, and shall hold up nobody else.
        let explain = || (http.explain)(&view, &id, rows, now());
        let found = match view.agents.len() < MANY_AGENTS {
            true => explain(),
            false => tokio::task::block_in_place(explain),
        };
        if let Some(found) = found {
            return Out::json(marathon_api::explain::one(&found));
        }
    }
    // Somebody may have called an app just so.
    let namesake = format!("{id}/explain");
    match (kind, live(&namesake)) {
        (Kind::App, Some(_)) => crate::read::app(http, ask, &namesake),
        (Kind::Pod, Some(_)) => crate::pods::one(http, &namesake),
        (Kind::App, None) => {
            marathon_api::error::not_found(format_args!("App '/{id}' does not exist")).into()
        }
        (Kind::Pod, None) => marathon_api::pods::not_found(&format!("/{id}")).into(),
    }
}

fn rows(query: &Query) -> Option<usize> {
    match query.get("agents") {
        None => Some(AGENTS),
        Some(text) => text.parse().ok().filter(|it| *it <= AGENTS_MAX),
    }
}
