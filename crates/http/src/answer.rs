//! One request: who asks, what for, what is answered.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONTENT_LENGTH, HOST, HeaderValue, WWW_AUTHENTICATE};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use marathon_api::error;
use marathon_api::event::PlanFormat;
use marathon_request::query::Query;
use tokio::sync::Notify;

use crate::accept::{self, Form};
use crate::body::{self, Body, BodyError, Upload};
use crate::hub::Subscription;
use crate::lead::{ELECTION_WAIT, Lead, Place};
use crate::proxy::Came;
use crate::reply::{EVENTS, Out};
use crate::route::{self, Missing, Route, Verb};
use crate::{Http, change, explain, files, pods, proxy, read, subscription, system, ui};

/// Before a request is passed on again; each pause is twice the one before. The news that somebody else leads ends it.
const PAUSE_MIN: Duration = Duration::from_millis(25);
const PAUSE_MAX: Duration = Duration::from_millis(250);

/// The connection a request came over.
pub struct Peer {
    pub address: IpAddr,
    /// The same, for a header.
    pub shown: HeaderValue,
    /// Ends the connection at once.
    pub hang_up: Arc<Notify>,
}

/// A request whose body was read.
pub struct Ask {
    pub parts: Parts,
    pub query: Query,
    pub body: Bytes,
    pub peer: IpAddr,
}

impl Ask {
    /// The path as it was sent, for events.
    pub fn uri(&self) -> &str {
        self.parts.uri.path()
    }

    /// `http://host:port`, as the client wrote it.
    pub fn root(&self, http: &Http) -> String {
        let host = self.parts.headers.get(HOST).and_then(|it| it.to_str().ok());
        format!("http://{}", host.filter(|it| !it.is_empty()).unwrap_or(&http.settings.advertised))
    }
}

/// Who answered.
enum Answered {
    /// With the request's headers, on which the last ones of the answer depend.
    Here(Out, hyper::HeaderMap),
    Leader(Response<Body>),
}

/// For the metrics.
struct Active<'a>(&'a Http);

impl Active<'_> {
    fn new(http: &Http) -> Active<'_> {
        http.stats.active.fetch_add(1, Relaxed);
        Active(http)
    }
}

impl Drop for Active<'_> {
    fn drop(&mut self) {
        self.0.stats.active.fetch_sub(1, Relaxed);
    }
}

/// For the limit of requests at a time.
struct Counted<'a>(&'a Http);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, SeqCst);
    }
}

impl Http {
    pub(crate) async fn answer(&self, request: Request<Incoming>, peer: &Peer) -> Response<Body> {
        let began = Instant::now();
        let _active = Active::new(self);
        let method = request.method().clone();
        let (parts, incoming) = request.into_parts();
        let (out, headers) = match self.admit(parts, incoming, peer, began).await {
            Answered::Here(out, headers) => (out, headers),
            Answered::Leader(response) => {
                let (status, bytes) = (response.status().as_u16(), response.body().size_hint().lower());
                self.stats.finished(&method, status, began.elapsed(), bytes, false);
                return response;
            }
        };
        let finished = self.finish(out, &headers, method == Method::HEAD).await;
        self.stats.finished(
            &method,
            finished.response.status().as_u16(),
            began.elapsed(),
            finished.bytes,
            finished.gzipped,
        );
        finished.response
    }

    /// Authentication comes before everything else, then the question who leads, then the limit, which
    /// counts only what is answered here.
    async fn admit(&self, parts: Parts, incoming: Incoming, peer: &Peer, began: Instant) -> Answered {
        // Load balancers ask for it often and have no credentials.
        if parts.uri.path() == system::HEALTH_PATH
            && matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS)
        {
            return Answered::Here(system::leader_health(self), parts.headers);
        }
        if let Some(auth) = &self.auth
            && !auth.allows(&parts.headers)
        {
            let mut out =
                Out::message(StatusCode::UNAUTHORIZED, "Unauthorized: user and password are needed");
            out.headers.push((WWW_AUTHENTICATE, auth.challenge.clone()));
            return Answered::Here(out, parts.headers);
        }
        let mut upload = Upload::Coming(incoming);
        let mut pause = PAUSE_MIN;
        loop {
            let leader = match self.place(&parts).await {
                Place::Here => break,
                Place::Leader(leader) => leader,
                Place::Nowhere(text) => return Answered::Here(Out::not_leading(text), parts.headers),
            };
            if parts.headers.contains_key(proxy::NO_FORWARD) {
                let text = format!(
                    "Another instance leads: {leader} (not passed on, as X-Marathon-No-Forward asks)"
                );
                return Answered::Here(error::message(503, text).into(), parts.headers);
            }
            upload = match upload.keep().await {
                Ok(upload) => upload,
                Err(error) => return Answered::Here(Self::unread(error), parts.headers),
            };
            let kept = upload.again();
            let came = self.proxy.pass(&parts, upload, peer, &leader, &self.leadership).await;
            upload = match (came, kept) {
                (Came::Unreached(_) | Came::NotLed(_), Some(kept)) if began.elapsed() < ELECTION_WAIT => kept,
                (Came::Answer(response) | Came::NotLed(response), _) => return Answered::Leader(response),
                (Came::Failed(out) | Came::Unreached(out), _) => return Answered::Here(out, parts.headers),
            };
            self.leadership.other_than(&leader, pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
        let running = self.requests.fetch_add(1, SeqCst);
        let _counted = Counted(self);
        if let Some(most) = self.settings.concurrent_requests_max
            && running >= most
        {
            let text = format!("Too many concurrent requests! Allowed: {most}.");
            return Answered::Here(error::message(503, text).into(), parts.headers);
        }
        let (out, headers) = self.routed(parts, upload, peer).await;
        Answered::Here(out, headers)
    }

    /// `/ping` of an instance that loads its state says that it lives.
    async fn place(&self, parts: &Parts) -> Place {
        match self.leadership.now() {
            Lead::Us { .. } => Place::Here,
            Lead::Other(leader) => Place::Leader(leader),
            Lead::Loading if parts.uri.path() == "/ping" => Place::Here,
            // Whoever passed it on waits in our place, and we may never hear who leads next.
            Lead::Nobody(why) if parts.headers.contains_key(proxy::VIA) => Place::nowhere(&why),
            _ => self.leadership.place().await,
        }
    }

    async fn routed(&self, parts: Parts, upload: Upload, peer: &Peer) -> (Out, hyper::HeaderMap) {
        let path = parts.uri.path();
        let route = match route::find(&parts.method, path) {
            Ok(route) => route,
            Err(Missing::BadPath) => {
                let text = "The path is not well-formed: escapes such as %2F must be complete and make UTF-8";
                return (Out::message(StatusCode::BAD_REQUEST, text), parts.headers);
            }
            Err(Missing::NoPath) => {
                let text = format!("URI not found: {path}");
                return (Out::message(StatusCode::NOT_FOUND, text), parts.headers);
            }
            Err(Missing::Method(allow)) => {
                let out = Out::from(error::method_not_allowed()).allow(&allow.text());
                return (out, parts.headers);
            }
        };
        match route {
            Route::Ping => return (system::ping(&parts.headers), parts.headers),
            Route::Events => return self.events(parts, peer),
            _ => {}
        }
        if let Some(out) = self.refuse_media(&route, &parts, &upload) {
            return (out, parts.headers);
        }
        let body = match upload.read().await {
            Ok(body) => body,
            Err(error) => return (Self::unread(error), parts.headers),
        };
        self.stats.request_bytes.fetch_add(body.len() as u64, Relaxed);
        let query = Query::parse(parts.uri.query().unwrap_or_default());
        if let Some((name, value)) = query.unclear_switch() {
            let text = format!("Query parameter '{name}' must be true or false, got '{value}'");
            return (Out::message(StatusCode::UNPROCESSABLE_ENTITY, text), parts.headers);
        }
        let ask = Ask { parts, query, body, peer: peer.address };
        let out = self.carry_out(route, &ask).await;
        (out, ask.parts.headers)
    }

    /// 415 and 406.
    fn refuse_media(&self, route: &Route, parts: &Parts, body: &Upload) -> Option<Out> {
        let has_body = !body.is_empty() && parts.headers.get(CONTENT_LENGTH).is_none_or(|it| it != "0");
        if has_body && route.wants_json() && !accept::sends_json(&parts.headers) {
            return Some(error::unsupported_media_type().into());
        }
        let forms: &[Form] = match route {
            Route::Tasks | Route::AppTasks(Verb::Get, _) => &[Form::Json, Form::Text],
            Route::Prometheus => &[Form::Text],
            Route::FileRead(_) => &[Form::Json, Form::Octets, Form::Text],
            Route::Ui(_) | Route::UiRedirect | Route::Help | Route::Options(_) | Route::PodsProbe => {
                return None;
            }
            // Whatever it is, it is saved.
            Route::FileDownload(_) => return None,
            _ => &[Form::Json],
        };
        match accept::choose(&parts.headers, forms) {
            Some(_) => None,
            None => Some(error::not_acceptable().into()),
        }
    }

    fn unread(error: BodyError) -> Out {
        match error {
            BodyError::TooLarge => {
                let text = format!("The body is larger than {} bytes", body::REQUEST_BYTES_MAX);
                Out::message(StatusCode::PAYLOAD_TOO_LARGE, text).closing()
            }
            BodyError::TooSlow => {
                Out::message(StatusCode::REQUEST_TIMEOUT, "The body did not arrive in time").closing()
            }
            BodyError::Broken => Out::message(StatusCode::BAD_REQUEST, "The body is broken").closing(),
        }
    }

    async fn carry_out(&self, route: Route, ask: &Ask) -> Out {
        match route {
            Route::Options(allow) => Out::empty(StatusCode::OK).allow(&allow.text()),
            Route::Apps(Verb::Get) => read::apps(self, ask).await,
            Route::Apps(Verb::Post) => change::create_app(self, ask).await,
            Route::Apps(verb) => change::edit_apps(self, ask, verb).await,
            Route::App(Verb::Get, id) => read::app(self, ask, &id),
            Route::App(Verb::Delete, id) => change::delete_app(self, ask, &id).await,
            Route::App(verb, id) => change::edit_app(self, ask, verb, &id).await,
            Route::AppsBelow(group) => read::apps_below(self, ask, &group),
            Route::Restart(id) => change::restart(self, ask, &id).await,
            Route::Explain(kind, id) => explain::one(self, ask, kind, &id),
            Route::AppTasks(Verb::Delete, id) => change::kill_of_app(self, ask, &id).await,
            Route::AppTasks(_, id) => read::app_tasks(self, ask, &id),
            Route::TasksBelow(group) => read::tasks_below(self, &group),
            Route::AppTask(app, task) => change::kill_one(self, ask, &app, &task).await,
            Route::AppVersions(id) => read::app_versions(self, &id),
            Route::AppVersion(id, version) => read::app_version(self, &id, &version),
            Route::Tasks => read::tasks(self, ask),
            Route::TasksDelete => change::kill_tasks(self, ask).await,
            Route::Files(task) => files::list(self, ask, &task).await,
            Route::FileRead(task) => files::read(self, ask, &task).await,
            Route::FileDownload(task) => files::download(self, ask, &task).await,
            Route::Group(Verb::Get, id) => read::group(self, ask, &id),
            Route::Group(Verb::Delete, id) => change::delete_group(self, ask, &id).await,
            Route::Group(Verb::Patch, id) => change::enforce_role(self, ask, &id).await,
            Route::Group(verb, id) => change::edit_group(self, ask, verb, &id).await,
            Route::GroupApps(id) => read::group_apps(self, ask, &id),
            Route::GroupVersions(id) => read::group_versions(self, &id),
            Route::GroupVersion(Verb::Get, id, version) => read::group_version(self, ask, &id, &version),
            Route::GroupVersion(_, id, version) => change::roll_back_group(self, ask, &id, &version).await,
            Route::Deployments => read::deployments(self, ask),
            Route::DeploymentsFailed => read::deployments_failed(self),
            Route::Deployment(Verb::Get, id) => read::deployment(self, &id),
            Route::Deployment(_, id) => change::cancel(self, ask, &id).await,
            Route::Agents => read::agents(self),
            Route::Queue => read::queue(self, ask),
            Route::QueueDelay(id) => change::reset_delay(self, ask, &id).await,
            Route::PodsProbe => Out::empty(StatusCode::OK),
            Route::Pods(Verb::Get) => pods::list(self),
            Route::Pods(_) => pods::create(self, ask).await,
            Route::PodsStatus => pods::statuses(self),
            Route::Pod(Verb::Get, id) => pods::one(self, &id),
            Route::Pod(Verb::Delete, id) => pods::delete(self, ask, &id).await,
            Route::Pod(_, id) => pods::replace(self, ask, &id).await,
            Route::PodStatus(id) => pods::status(self, &id),
            Route::PodVersions(id) => pods::versions(self, &id),
            Route::PodVersion(id, version) => pods::version(self, &id, &version),
            Route::PodInstances(Verb::Get, id) => pods::instances(self, ask, &id),
            Route::PodInstances(_, id) => pods::kill_several(self, ask, &id).await,
            Route::PodInstance(Verb::Get, id, instance) => pods::instance(self, ask, &id, &instance),
            Route::PodInstance(_, id, instance) => pods::kill_one(self, ask, &id, &instance).await,
            Route::Plugin(id) => error::not_found(format_args!("No plugin with this pluginId: {id}")).into(),
            Route::Plugins => Out::json(r#"{"plugins":[]}"#),
            Route::Subscriptions(verb) => subscription::subscriptions(self, ask, verb).await,
            Route::Info => system::info(self),
            Route::Leader(verb) => system::leader(self, ask, verb),
            Route::LeaderHealth => system::leader_health(self),
            Route::Metrics => system::metrics(self),
            Route::Prometheus => system::prometheus(self),
            Route::Logging(verb) => system::logging(self, ask, verb),
            Route::Config => system::config(self),
            Route::UiRedirect => Out::redirect("/ui/"),
            Route::Ui(name) => ui::ui(self, ask, &name),
            Route::Help => system::help(self),
            Route::OpenApi => Out::json(crate::help::DOCUMENT),
            // Answered before the body is read.
            Route::Ping | Route::Events => system::ping(&ask.parts.headers),
        }
    }

    /// A stream is not counted by the limit, as the count ends when the answer begins.
    fn events(&self, parts: Parts, peer: &Peer) -> (Out, hyper::HeaderMap) {
        let stream_asked = accept::event_stream(&parts.headers);
        if parts.method != Method::HEAD && !stream_asked {
            let text = "Method Not Allowed: events are only served to 'Accept: text/event-stream'";
            return (Out::message(StatusCode::METHOD_NOT_ALLOWED, text), parts.headers);
        }
        let body = if parts.method == Method::HEAD {
            Body::Whole(None)
        } else {
            let query = Query::parse(parts.uri.query().unwrap_or_default());
            let last = parts.headers.get("last-event-id").and_then(|it| it.to_str().ok());
            let subscription = Subscription {
                remote: peer.address.to_string(),
                types: query.all("event_type").map(str::to_owned).collect(),
                ids: query.flag("ids", true),
                plans: match query.get("plan-format") {
                    Some("light") => PlanFormat::Light,
                    _ => PlanFormat::Full,
                },
                // What is no number is an id we never gave, so all that is left is a gap.
                last: last.map(|it| it.trim().parse().unwrap_or(u64::MAX)),
            };
            Body::Events(Box::new(self.hub.subscribe(subscription, peer.hang_up.clone())))
        };
        let out = Out { status: StatusCode::OK, kind: Some(EVENTS), body, headers: Vec::new() };
        (out.closing(), parts.headers)
    }
}
