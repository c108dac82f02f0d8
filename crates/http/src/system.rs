//! What the server says about itself.

use std::borrow::Cow;
use std::time::Duration;

use hyper::header::{ACCEPT, HeaderValue};
use hyper::{HeaderMap, StatusCode};
use marathon_api::json::Json;
use marathon_api::{about, error};
use marathon_model::command::Violation;

use crate::answer::Ask;
use crate::lead::Lead;
use crate::reply::{HTML, Out};
use crate::route::Verb;
use crate::{Errand, Http};

pub const HEALTH_PATH: &str = "/v2/leader/health";

/// Whether requests are answered right here, for load balancers: 200 on the leader once it has its state, 503
/// everywhere else. Touches nothing but memory.
pub fn leader_health(http: &Http) -> Out {
    let leads = http.leadership.is_ours();
    let why = match http.leadership.now() {
        Lead::Us { .. } => None,
        Lead::Loading => Some("The state is being loaded".to_owned()),
        Lead::Other(_) => Some("Another instance leads".to_owned()),
        Lead::Nobody(why) => Some(format!("Nobody leads: {why}")),
    };
    let body = Json::text(|json| {
        json.object(|json| {
            json.key("leader").bool(leads);
            json.key("address").string_or_null(http.leadership.address().as_deref());
            if let Some(why) = &why {
                json.key("message").string(why);
            }
        });
    });
    Out::json(body).status(if leads { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE })
}

pub fn ping(headers: &HeaderMap) -> Out {
    let accept = headers.get(ACCEPT).map(|it| it.to_str().unwrap_or_default());
    match about::ping(accept) {
        Some((kind, body)) => Out::new(StatusCode::OK, Some(HeaderValue::from_static(kind)), body),
        None => Out::empty(StatusCode::NO_CONTENT),
    }
}

pub fn info(http: &Http) -> Out {
    let view = http.views.load();
    let framework = view.framework.as_ref();
    let given = &http.settings.info;
    let found = given.marathon.mesos_leader_ui_url.is_none().then(|| view.master_ui.clone()).flatten();
    let info = match found {
        // The leading Mesos master is known only once we are subscribed to it.
        Some(url) => {
            let mut info = given.clone();
            info.marathon.mesos_leader_ui_url = Some(url.to_string());
            Cow::Owned(info)
        }
        None => Cow::Borrowed(given),
    };
    Out::json(about::info(&info, true, Some(&http.settings.advertised), framework))
}

/// GET tells the leader, DELETE makes it step down: the answer goes out first.
pub fn leader(http: &Http, ask: &Ask, verb: Verb) -> Out {
    if verb == Verb::Get {
        return Out::json(about::leader(&http.settings.advertised));
    }
    if ask.query.flag("dryRun", false) {
        let text = "dryRun cannot tell who would lead next; nothing has been done";
        return Out::message(StatusCode::UNPROCESSABLE_ENTITY, text);
    }
    let file = |name: &str| match ask.query.get(name) {
        None => Ok(None),
        Some(uri) => match uri.strip_prefix("file://").unwrap_or(uri) {
            path if path.starts_with('/') && !path.ends_with('/') => Ok(Some(path.to_owned())),
            _ => {
                let text =
                    format!("{name} must be a file of the machine that leads next, as file:///path: {uri}");
                Err(Out::message(StatusCode::UNPROCESSABLE_ENTITY, text))
            }
        },
    };
    let errand = match (file("backup"), file("restore")) {
        (Ok(backup), Ok(restore)) => Errand { backup, restore },
        (Err(out), _) | (_, Err(out)) => return out,
    };
    if errand != Errand::default() {
        *http.errand.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(errand);
    }
    (http.abdicate)();
    Out::json(about::abdicated()).closing()
}

pub fn metrics(http: &Http) -> Out {
    Out::json(crate::metrics::json(http))
}

pub fn prometheus(http: &Http) -> Out {
    if !http.settings.prometheus {
        return Out::new(StatusCode::NOT_FOUND, Some(crate::reply::TEXT), "Prometheus reporter is disabled");
    }
    Out::text(crate::metrics::prometheus(http))
}

pub fn config(http: &Http) -> Out {
    Out::json(Json::text(|json| {
        json.object(|json| {
            for (name, value) in &http.settings.config {
                json.any_key(name).string_or_null(value.as_deref());
            }
        });
    }))
}

pub fn logging(http: &Http, ask: &Ask, verb: Verb) -> Out {
    if verb == Verb::Get {
        return Out::json(Json::text(|json| {
            json.object(|json| {
                for (logger, level) in http.logging.levels() {
                    json.any_key(&logger).string(&level);
                }
            });
        }));
    }
    match set_level(http, &ask.body) {
        Ok(out) | Err(out) => out,
    }
}

struct LevelAsk {
    logger: String,
    level: String,
    duration_seconds: Option<u64>,
}

impl LevelAsk {
    fn read(body: &[u8]) -> Result<LevelAsk, Out> {
        if body.iter().all(u8::is_ascii_whitespace) {
            return Err(error::empty("No content to map due to end-of-input").into());
        }
        let json: serde_json::Value =
            serde_json::from_slice(body).map_err(|it| error::syntax(&it.to_string()))?;
        let shape = |path: &str, text: &str| Out::from(error::shape(&[Violation::new(path, text)]));
        let text = |key: &str| match json.get(key) {
            None | Some(serde_json::Value::Null) => Err(shape(&format!("/{key}"), "error.path.missing")),
            Some(value) => match value.as_str() {
                Some(text) => Ok(text.to_owned()),
                None => Err(shape(&format!("/{key}"), "error.expected.jsstring")),
            },
        };
        let duration_seconds = match json.get("durationSeconds") {
            None | Some(serde_json::Value::Null) => None,
            Some(value) => {
                Some(value.as_u64().ok_or_else(|| shape("/durationSeconds", "error.expected.int"))?)
            }
        };
        Ok(LevelAsk { logger: text("logger")?, level: text("level")?, duration_seconds })
    }
}

const LEVELS: [&str; 5] = ["trace", "debug", "info", "warn", "error"];

fn set_level(http: &Http, body: &[u8]) -> Result<Out, Out> {
    let ask = LevelAsk::read(body)?;
    let invalid = |path: &str, text: &str| Out::from(error::invalid(&[Violation::new(path, text)]));
    if ask.logger.is_empty() {
        return Err(invalid("/logger", "must not be empty"));
    }
    let level = ask.level.to_ascii_lowercase();
    if !LEVELS.contains(&&*level) {
        return Err(invalid("/level", "must be one of trace, debug, info, warn, error"));
    }
    let time = ask.duration_seconds.map(Duration::from_secs);
    http.logging.set(&ask.logger, &level, time).map_err(|why| invalid("/logger", &why))?;
    Ok(Out::json(Json::text(|json| {
        json.object(|json| {
            json.key("level").string(&level);
            json.key("logger").string(&ask.logger);
            if let Some(seconds) = ask.duration_seconds {
                json.key("durationSeconds").int(seconds);
            }
        });
    })))
}

pub fn page(title: &str, content: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title>\
         <style>body{{font:16px/1.5 system-ui,sans-serif;max-width:42rem;margin:3rem auto;padding:0 1rem;\
         color:#222;background:#fff}}code{{background:#8882;padding:.1em .3em}}\
         @media(prefers-color-scheme:dark){{body{{color:#ddd;background:#181818}}a{{color:#8bf}}}}</style>\
         </head><body><h1>{title}</h1>{content}</body></html>\n"
    )
}

pub fn help(http: &Http) -> Out {
    let root = format!("http://{}", http.settings.advertised);
    Out::new(StatusCode::OK, Some(HTML), crate::help::page(&root))
}

pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
