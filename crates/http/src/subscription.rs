//! `/v2/eventSubscriptions`: who gets every event by POST. Gone from the original since 1.5, and still what
//! older consumers register with.

use marathon_api::error;
use marathon_api::event::{self, PlanFormat};
use marathon_api::json::Json;
use marathon_model::callback::{CallbackUrl, UrlFault};
use marathon_model::command::{Command, Reply, Violation};

use crate::Http;
use crate::answer::Ask;
use crate::reply::Out;
use crate::route::Verb;

/// Word by word as in the original: clients look for it.
const OFF: &str = "http event callback system is not running on this Marathon instance. Please re-start this \
                   instance with \"--event_subscriber http_callback\".";

pub async fn subscriptions(http: &Http, ask: &Ask, verb: Verb) -> Out {
    if http.callbacks.get().is_none() {
        return error::message(400, OFF).into();
    }
    if verb == Verb::Get {
        return list(http);
    }
    let url = ask.query.get("callbackUrl").ok_or(UrlFault::Empty).and_then(CallbackUrl::parse);
    let url = match url {
        Ok(url) => url,
        Err(fault) => return error::invalid(&[Violation::new("/callbackUrl", fault.to_string())]).into(),
    };
    let client_ip = ask.peer.to_string();
    let command = match verb {
        Verb::Delete => Command::Unsubscribe { url, client_ip },
        _ => Command::Subscribe { url, client_ip },
    };
    match crate::change::submit(http, ask, command).await {
        Ok(Reply::Told(notice)) => Out::json(event::write(&notice, PlanFormat::Full)),
        Ok(Reply::Refused(refusal)) => refusal.into(),
        Ok(_) => Out::json("{}"),
        Err(out) => out,
    }
}

fn list(http: &Http) -> Out {
    let view = http.views.load();
    Out::json(Json::text(|json| {
        json.object(|json| {
            json.key("callbackUrls").strings(view.callbacks.keys().map(|it| it.as_str()));
        });
    }))
}
