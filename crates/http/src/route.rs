//! From method and path to what is asked for.
//!
//! Paths are decoded first and split afterwards, and empty segments do not count: clients write
//! `/v2/apps//a/b`, `/v2/apps/%2Fa%2Fb` and `/v2/apps/?embed=…`, and all of them mean the obvious.

use hyper::Method;

/// Declares `Route` together with the paths and methods that lead to each variant: nothing can be routed that
/// is not listed in `ENDPOINTS`.
macro_rules! routes {
    ($($(#[$doc:meta])* $name:ident $(($($field:ty),+))? $($path:literal)* [$($verb:ident)*];)+) => {
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum Route {
            $($(#[$doc])* $name $(($($field),+))?,)+
        }

        pub const ENDPOINTS: &[Endpoint] = &[$(Endpoint {
            route: stringify!($name),
            paths: &[$($path),*],
            verbs: &[$(Verb::$verb),*],
        }),+];
    };
}

/// Paths as the description of the API writes them, and what they can be asked.
#[derive(Debug, Clone, Copy)]
pub struct Endpoint {
    /// The variant of `Route`.
    pub route: &'static str,
    pub paths: &'static [&'static str],
    pub verbs: &'static [Verb],
}

routes! {
    Ping "/ping" [Get];
    Apps(Verb) "/v2/apps" [Get Post Put Patch];
    /// The path of an app, unchecked.
    App(Verb, String) "/v2/apps/{app_id}" [Get Put Patch Delete];
    /// All apps below a group: `*` and `{group}/*` in the place of an app.
    AppsBelow(String) "/v2/apps/{group_id}/*" [Get];
    Restart(String) "/v2/apps/{app_id}/restart" [Post];
    /// Of an app or a pod.
    Explain(Kind, String) "/v2/apps/{app_id}/explain" "/v2/pods/{pod_id}::explain" "/v2/pods/{pod_id}/explain" [Get];
    AppTasks(Verb, String) "/v2/apps/{app_id}/tasks" [Get Delete];
    TasksBelow(String) "/v2/apps/{group_id}/*/tasks" [Get];
    AppTask(String, String) "/v2/apps/{app_id}/tasks/{task_id}" [Delete];
    AppVersions(String) "/v2/apps/{app_id}/versions" [Get];
    AppVersion(String, String) "/v2/apps/{app_id}/versions/{version}" [Get];
    Tasks "/v2/tasks" [Get];
    TasksDelete "/v2/tasks/delete" [Post];
    /// Of a task, a container of a pod, or an instance.
    Files(String) "/v2/tasks/{task_id}/files" [Get];
    FileRead(String) "/v2/tasks/{task_id}/files/read" [Get];
    FileDownload(String) "/v2/tasks/{task_id}/files/download" [Get];
    Group(Verb, String) "/v2/groups" "/v2/groups/{group_id}" [Get Post Put Patch Delete];
    GroupApps(String) "/v2/groups/apps" "/v2/groups/{group_id}/apps" [Get];
    GroupVersions(String) "/v2/groups/versions" "/v2/groups/{group_id}/versions" [Get];
    /// PUT rolls back; it takes only what cannot be the id of a group for a version.
    GroupVersion(Verb, String, String) "/v2/groups/versions/{version}" "/v2/groups/{group_id}/versions/{version}" [Get Put];
    Deployments "/v2/deployments" [Get];
    DeploymentsFailed "/v2/deployments/failed" [Get];
    Deployment(Verb, String) "/v2/deployments/{deployment_id}" [Get Delete];
    Agents "/v2/agents" [Get];
    Queue "/v2/queue" [Get];
    QueueDelay(String) "/v2/queue/{app_id}/delay" [Delete];
    Info "/v2/info" [Get];
    Leader(Verb) "/v2/leader" [Get Delete];
    /// Never passed on, and open to everybody.
    LeaderHealth "/v2/leader/health" [Get];
    Events "/v2/events" [Get];
    Subscriptions(Verb) "/v2/eventSubscriptions" [Get Post Delete];
    /// Asks (by HEAD) whether there are pods here at all.
    PodsProbe [];
    Pods(Verb) "/v2/pods" [Get Post];
    PodsStatus "/v2/pods/::status" [Get];
    /// The path of a pod, unchecked.
    Pod(Verb, String) "/v2/pods/{pod_id}" [Get Put Delete];
    PodStatus(String) "/v2/pods/{pod_id}::status" [Get];
    PodVersions(String) "/v2/pods/{pod_id}::versions" [Get];
    PodVersion(String, String) "/v2/pods/{pod_id}::versions/{version}" [Get];
    PodInstances(Verb, String) "/v2/pods/{pod_id}::instances" [Get Delete];
    PodInstance(Verb, String, String) "/v2/pods/{pod_id}::instances/{instance_id}" [Get Delete];
    Plugins "/v2/plugins" [Get];
    Plugin(String) "/v2/plugins/{plugin_id}/{path}" [Get Post Put Delete];
    Metrics "/metrics" [Get];
    Prometheus "/metrics/prometheus" [Get];
    Logging(Verb) "/logging" [Get Post];
    Config "/config" [Get];
    UiRedirect "/" "/ui" [Get];
    /// A file of the web interface.
    Ui(String) "/ui/{path}" [Get];
    Help "/help" "/api-console" [Get];
    /// The description of the API.
    OpenApi "/v2/openapi.json" [Get];
    Options(Allow) [];
}

/// What to do with what the path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    App,
    Pod,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// The path is no path.
    BadPath,
    NoPath,
    Method(Allow),
}

/// The methods of a path, for the `Allow` header; HEAD comes with GET, OPTIONS with all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allow(pub &'static [Verb]);

impl Verb {
    pub fn name(self) -> &'static str {
        match self {
            Verb::Get => "GET",
            Verb::Post => "POST",
            Verb::Put => "PUT",
            Verb::Patch => "PATCH",
            Verb::Delete => "DELETE",
        }
    }
}

impl Allow {
    pub fn text(self) -> String {
        let mut all = Vec::new();
        for verb in self.0 {
            match verb {
                Verb::Get => all.extend(["GET", "HEAD"]),
                Verb::Post => all.push("POST"),
                Verb::Put => all.push("PUT"),
                Verb::Patch => all.push("PATCH"),
                Verb::Delete => all.push("DELETE"),
            }
        }
        all.push("OPTIONS");
        all.join(", ")
    }
}

fn verb(method: &Method) -> Option<Verb> {
    Some(match *method {
        Method::GET | Method::HEAD => Verb::Get,
        Method::POST => Verb::Post,
        Method::PUT => Verb::Put,
        Method::PATCH => Verb::Patch,
        Method::DELETE => Verb::Delete,
        _ => return None,
    })
}

/// Finds the route of a raw path (still percent-encoded, without its query).
pub fn find(method: &Method, raw: &str) -> Result<Route, Missing> {
    if raw == "/ping" && *method == Method::GET {
        return Ok(Route::Ping);
    }
    // `OPTIONS *` asks about the server as a whole.
    if raw == "*" && *method == Method::OPTIONS {
        return Ok(Route::Options(Allow(&[Verb::Get, Verb::Post, Verb::Put, Verb::Patch, Verb::Delete])));
    }
    let path = crate::path::decode(raw).ok_or(Missing::BadPath)?;
    if !path.starts_with('/') {
        return Err(Missing::BadPath);
    }
    let segments: Vec<&str> = path.split('/').filter(|it| !it.is_empty()).collect();
    let (allow, pick) = resource(&segments, path.ends_with('/')).ok_or(Missing::NoPath)?;
    if *method == Method::OPTIONS {
        return Ok(Route::Options(allow));
    }
    let verb = verb(method).filter(|it| allow.0.contains(it)).ok_or(Missing::Method(allow))?;
    if segments == ["v2", "pods"] && *method == Method::HEAD {
        return Ok(Route::PodsProbe);
    }
    Ok(pick(verb))
}

type Pick<'a> = Box<dyn Fn(Verb) -> Route + 'a>;

/// What a path names, and the methods it has.
fn resource<'a>(segments: &'a [&'a str], slash: bool) -> Option<(Allow, Pick<'a>)> {
    use Verb::{Delete, Get, Patch, Post, Put};
    fn one<'a>(route: Route) -> Pick<'a> {
        Box::new(move |_| route.clone())
    }
    const GET: Allow = Allow(&[Get]);
    Some(match segments {
        [] => (GET, one(Route::UiRedirect)),
        ["ping"] => (GET, one(Route::Ping)),
        ["ui"] if !slash => (GET, one(Route::UiRedirect)),
        ["ui", rest @ ..] => (GET, one(Route::Ui(rest.join("/")))),
        ["help"] | ["api-console", ..] => (GET, one(Route::Help)),
        ["metrics"] => (GET, one(Route::Metrics)),
        ["metrics", "prometheus"] => (GET, one(Route::Prometheus)),
        ["logging"] => (Allow(&[Get, Post]), Box::new(Route::Logging)),
        ["v2", "openapi.json"] => (GET, one(Route::OpenApi)),
        ["config"] => (GET, one(Route::Config)),
        ["v2", "apps"] => (Allow(&[Get, Post, Put, Patch]), Box::new(Route::Apps)),
        ["v2", "apps", rest @ ..] => app(rest),
        ["v2", "tasks"] => (GET, one(Route::Tasks)),
        ["v2", "tasks", "delete"] => (Allow(&[Post]), one(Route::TasksDelete)),
        ["v2", "tasks", task, "files"] => (GET, one(Route::Files((*task).to_owned()))),
        ["v2", "tasks", task, "files", "read"] => (GET, one(Route::FileRead((*task).to_owned()))),
        ["v2", "tasks", task, "files", "download"] => (GET, one(Route::FileDownload((*task).to_owned()))),
        ["v2", "groups", rest @ ..] => group(rest),
        ["v2", "deployments"] => (GET, one(Route::Deployments)),
        ["v2", "deployments", "failed"] => (GET, one(Route::DeploymentsFailed)),
        ["v2", "deployments", id] => {
            (Allow(&[Get, Delete]), Box::new(|verb| Route::Deployment(verb, (*id).to_owned())))
        }
        ["v2", "agents"] => (GET, one(Route::Agents)),
        ["v2", "queue"] => (GET, one(Route::Queue)),
        ["v2", "queue", rest @ .., "delay"] if !rest.is_empty() => {
            (Allow(&[Delete]), one(Route::QueueDelay(rest.join("/"))))
        }
        ["v2", "info"] => (GET, one(Route::Info)),
        ["v2", "leader", "health"] => (GET, one(Route::LeaderHealth)),
        ["v2", "leader"] => (Allow(&[Get, Delete]), Box::new(Route::Leader)),
        ["v2", "events"] => (GET, one(Route::Events)),
        ["v2", "eventSubscriptions"] => (Allow(&[Get, Post, Delete]), Box::new(Route::Subscriptions)),
        ["v2", "pods"] => (Allow(&[Get, Post]), Box::new(Route::Pods)),
        ["v2", "pods", rest @ ..] => return pod(&rest.join("/")),
        ["v2", "plugins"] => (GET, one(Route::Plugins)),
        ["v2", "plugins", id, ..] => (Allow(&[Get, Post, Put, Delete]), one(Route::Plugin((*id).to_owned()))),
        _ => return None,
    })
}

/// What is asked of a pod follows its path behind two colons, which no path contains.
fn pod<'a>(rest: &str) -> Option<(Allow, Pick<'a>)> {
    use Verb::{Delete, Get, Put};
    const GET: Allow = Allow(&[Get]);
    let Some((id, what)) = rest.split_once("::") else {
        let id = rest.to_owned();
        return Some((
            Allow(&[Get, Put, Delete]),
            Box::new(move |verb| match (verb, id.strip_suffix("/explain")) {
                (Get, Some(pod)) => Route::Explain(Kind::Pod, pod.to_owned()),
                _ => Route::Pod(verb, id.clone()),
            }),
        ));
    };
    let id = id.trim_end_matches('/').to_owned();
    let (what, which) = what.split_once('/').map_or((what, None), |(what, it)| (what, Some(it.to_owned())));
    Some(match (what, which) {
        ("status", None) if id.is_empty() => (GET, Box::new(|_| Route::PodsStatus)),
        _ if id.is_empty() => return None,
        ("status", None) => (GET, Box::new(move |_| Route::PodStatus(id.clone()))),
        ("explain", None) => (GET, Box::new(move |_| Route::Explain(Kind::Pod, id.clone()))),
        ("versions", None) => (GET, Box::new(move |_| Route::PodVersions(id.clone()))),
        ("versions", Some(it)) => (GET, Box::new(move |_| Route::PodVersion(id.clone(), it.clone()))),
        ("instances", None) => {
            (Allow(&[Get, Delete]), Box::new(move |verb| Route::PodInstances(verb, id.clone())))
        }
        ("instances", Some(it)) => {
            (Allow(&[Get, Delete]), Box::new(move |verb| Route::PodInstance(verb, id.clone(), it.clone())))
        }
        _ => return None,
    })
}

fn app<'a>(rest: &'a [&'a str]) -> (Allow, Pick<'a>) {
    use Verb::{Delete, Get, Patch, Post, Put};
    const GET: Allow = Allow(&[Get]);
    let whole = Allow(&[Get, Put, Patch, Delete]);
    match rest {
        [group @ .., "*"] => (GET, Box::new(|_| Route::AppsBelow(group.join("/")))),
        [group @ .., "*", "tasks"] => (GET, Box::new(|_| Route::TasksBelow(group.join("/")))),
        // All but POST mean an app of that very name.
        [id @ .., "restart"] if !id.is_empty() => (
            Allow(&[Get, Post, Put, Patch, Delete]),
            Box::new(move |verb| match verb {
                Post => Route::Restart(id.join("/")),
                _ => Route::App(verb, rest.join("/")),
            }),
        ),
        // All but GET mean an app of that very name.
        [id @ .., "explain"] if !id.is_empty() => (
            whole,
            Box::new(move |verb| match verb {
                Get => Route::Explain(Kind::App, id.join("/")),
                _ => Route::App(verb, rest.join("/")),
            }),
        ),
        [id @ .., "tasks"] if !id.is_empty() => {
            (Allow(&[Get, Delete]), Box::new(|verb| Route::AppTasks(verb, id.join("/"))))
        }
        [id @ .., "tasks", task] if !id.is_empty() => {
            (Allow(&[Delete]), Box::new(|_| Route::AppTask(id.join("/"), (*task).to_owned())))
        }
        [id @ .., "versions"] if !id.is_empty() => (GET, Box::new(|_| Route::AppVersions(id.join("/")))),
        [id @ .., "versions", version] if !id.is_empty() => {
            (GET, Box::new(|_| Route::AppVersion(id.join("/"), (*version).to_owned())))
        }
        _ => (whole, Box::new(|verb| Route::App(verb, rest.join("/")))),
    }
}

/// Reading has reserved names at the end of the path; writing takes the path as it is.
fn group<'a>(rest: &'a [&'a str]) -> (Allow, Pick<'a>) {
    use Verb::{Delete, Get, Patch, Post, Put};
    let whole = Allow(&[Get, Post, Put, Patch, Delete]);
    let pick = move |verb: Verb| match (verb, rest) {
        (Get, [id @ .., "apps"]) => Route::GroupApps(id.join("/")),
        (Get, [id @ .., "versions"]) => Route::GroupVersions(id.join("/")),
        (Get, [id @ .., "versions", version]) => {
            Route::GroupVersion(verb, id.join("/"), (*version).to_owned())
        }
        (Put, [id @ .., "versions", version]) if version.contains(':') => {
            Route::GroupVersion(verb, id.join("/"), (*version).to_owned())
        }
        _ => Route::Group(verb, rest.join("/")),
    };
    (whole, Box::new(pick))
}

impl Route {
    /// Whether a body, if there is one, must call itself JSON.
    pub fn wants_json(&self) -> bool {
        matches!(
            self,
            Route::Apps(_)
                | Route::App(..)
                | Route::Restart(_)
                | Route::TasksDelete
                | Route::Pods(_)
                | Route::Pod(..)
                | Route::PodInstances(..)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(line: &str) -> String {
        let (method, path) = line.split_once(' ').unwrap();
        match find(&Method::from_bytes(method.as_bytes()).unwrap(), path) {
            Ok(route) => format!("{route:?}").replace('"', ""),
            Err(Missing::Method(allow)) => format!("405 {}", allow.text()),
            Err(Missing::NoPath) => "404".to_owned(),
            Err(Missing::BadPath) => "400".to_owned(),
        }
    }

    /// A path with something in the place of each parameter.
    fn sample(path: &str) -> String {
        let mut text = path.to_owned();
        for (name, value) in [
            ("{app_id}", "a/b"),
            ("{group_id}", "g/h"),
            ("{pod_id}", "p/q"),
            ("{task_id}", "t.1"),
            ("{instance_id}", "i.1"),
            ("{deployment_id}", "d"),
            ("{version}", "2020-01-01T00:00:00.000Z"),
            ("{plugin_id}", "x"),
            ("{path}", "y"),
        ] {
            text = text.replace(name, value);
        }
        assert!(!text.contains('{'), "{path}");
        text
    }

    #[test]
    fn every_listed_path_leads_where_it_says() {
        for it in ENDPOINTS {
            for path in it.paths {
                for verb in it.verbs {
                    let line = format!("{} {}", verb.name(), sample(path));
                    let found = found(&line);
                    assert_eq!(found.split('(').next(), Some(it.route), "{line}");
                }
            }
        }
    }

    #[test]
    fn table() {
        for (line, want) in [
            ("GET /ping", "Ping"),
            ("HEAD /ping", "Ping"),
            ("POST /ping", "405 GET, HEAD, OPTIONS"),
            ("GET /", "UiRedirect"),
            ("GET /ui", "UiRedirect"),
            ("GET /ui/", "Ui()"),
            ("GET /ui/assets/x", "Ui(assets/x)"),
            ("GET /help", "Help"),
            ("GET /v2/openapi.json", "OpenApi"),
            ("GET /v2/apps", "Apps(Get)"),
            ("GET /v2/apps/", "Apps(Get)"),
            ("GET //v2//apps//", "Apps(Get)"),
            ("POST /v2/apps", "Apps(Post)"),
            ("PUT /v2/apps", "Apps(Put)"),
            ("PATCH /v2/apps", "Apps(Patch)"),
            ("DELETE /v2/apps", "405 GET, HEAD, POST, PUT, PATCH, OPTIONS"),
            ("GET /v2/apps/a", "App(Get, a)"),
            ("GET /v2/apps//a/b/", "App(Get, a/b)"),
            ("GET /v2/apps/%2Fa%2Fb", "App(Get, a/b)"),
            ("PUT /v2/apps/a", "App(Put, a)"),
            ("PATCH /v2/apps/a", "App(Patch, a)"),
            ("DELETE /v2/apps/a", "App(Delete, a)"),
            ("POST /v2/apps/a", "405 GET, HEAD, PUT, PATCH, DELETE, OPTIONS"),
            ("GET /v2/apps/*", "AppsBelow()"),
            ("GET /v2/apps/g/h/*", "AppsBelow(g/h)"),
            ("PUT /v2/apps/*", "405 GET, HEAD, OPTIONS"),
            ("POST /v2/apps/a/restart", "Restart(a)"),
            ("POST /v2/apps/a/b/restart/", "Restart(a/b)"),
            ("POST /v2/apps/restart", "405 GET, HEAD, PUT, PATCH, DELETE, OPTIONS"),
            ("DELETE /v2/apps/a/restart", "App(Delete, a/restart)"),
            ("GET /v2/apps/a/restart", "App(Get, a/restart)"),
            ("GET /v2/apps//a/b/explain", "Explain(App, a/b)"),
            ("PUT /v2/apps/a/explain", "App(Put, a/explain)"),
            ("GET /v2/apps/explain", "App(Get, explain)"),
            ("GET /v2/pods/a/b::explain", "Explain(Pod, a/b)"),
            ("GET /v2/pods//a/explain", "Explain(Pod, a)"),
            ("DELETE /v2/pods/a/explain", "Pod(Delete, a/explain)"),
            ("POST /v2/pods/a::explain", "405 GET, HEAD, OPTIONS"),
            ("GET /v2/apps/a/tasks", "AppTasks(Get, a)"),
            ("DELETE /v2/apps/a/tasks", "AppTasks(Delete, a)"),
            ("GET /v2/apps/g/*/tasks", "TasksBelow(g)"),
            ("GET /v2/apps/*/tasks", "TasksBelow()"),
            ("GET /v2/apps/tasks", "App(Get, tasks)"),
            ("DELETE /v2/apps/a/tasks/t.1", "AppTask(a, t.1)"),
            ("GET /v2/apps/a/tasks/t", "405 DELETE, OPTIONS"),
            ("GET /v2/apps/a/versions", "AppVersions(a)"),
            ("GET /v2/apps/a/versions/2020-01-01T00:00:00.000Z", "AppVersion(a, 2020-01-01T00:00:00.000Z)"),
            ("GET /v2/tasks", "Tasks"),
            ("GET /v2/tasks/", "Tasks"),
            ("POST /v2/tasks/delete", "TasksDelete"),
            ("GET /v2/tasks/delete", "405 POST, OPTIONS"),
            ("GET /v2/tasks/t.1/files/", "Files(t.1)"),
            ("GET /v2/tasks/t.1/files/read", "FileRead(t.1)"),
            ("GET /v2/tasks/t.1/files/download", "FileDownload(t.1)"),
            ("GET /v2/tasks/t.1/files/other", "404"),
            ("GET /v2/tasks/t.1", "404"),
            ("DELETE /v2/tasks/t.1/files", "405 GET, HEAD, OPTIONS"),
            ("GET /v2/groups", "Group(Get, )"),
            ("DELETE /v2/groups/", "Group(Delete, )"),
            ("GET /v2/groups/a/b", "Group(Get, a/b)"),
            ("POST /v2/groups/a", "Group(Post, a)"),
            ("PATCH /v2/groups/a", "Group(Patch, a)"),
            ("GET /v2/groups/apps", "GroupApps()"),
            ("GET /v2/groups/a/apps", "GroupApps(a)"),
            ("PUT /v2/groups/a/apps", "Group(Put, a/apps)"),
            ("GET /v2/groups/versions", "GroupVersions()"),
            ("GET /v2/groups/a/versions", "GroupVersions(a)"),
            ("GET /v2/groups/versions/x", "GroupVersion(Get, , x)"),
            ("GET /v2/groups/a/versions/x", "GroupVersion(Get, a, x)"),
            ("PUT /v2/groups/a/versions/x", "Group(Put, a/versions/x)"),
            (
                "PUT /v2/groups/a/versions/2020-01-01T00:00:00.000Z",
                "GroupVersion(Put, a, 2020-01-01T00:00:00.000Z)",
            ),
            ("GET /v2/deployments", "Deployments"),
            ("DELETE /v2/deployments/x", "Deployment(Delete, x)"),
            ("GET /v2/deployments/x", "Deployment(Get, x)"),
            ("PUT /v2/deployments/x", "405 GET, HEAD, DELETE, OPTIONS"),
            ("GET /v2/deployments/failed", "DeploymentsFailed"),
            ("GET /v2/agents/", "Agents"),
            ("GET /v2/queue", "Queue"),
            ("DELETE /v2/queue//a/b/delay", "QueueDelay(a/b)"),
            ("DELETE /v2/queue/delay", "404"),
            ("GET /v2/info", "Info"),
            ("GET /v2/leader", "Leader(Get)"),
            ("DELETE /v2/leader", "Leader(Delete)"),
            ("GET /v2/leader/health/", "LeaderHealth"),
            ("POST /v2/leader/health", "405 GET, HEAD, OPTIONS"),
            ("GET /v2/events", "Events"),
            ("POST /v2/events", "405 GET, HEAD, OPTIONS"),
            ("GET /v2/eventSubscriptions/", "Subscriptions(Get)"),
            ("POST /v2/eventSubscriptions", "Subscriptions(Post)"),
            ("DELETE /v2/eventSubscriptions", "Subscriptions(Delete)"),
            ("PUT /v2/eventSubscriptions", "405 GET, HEAD, POST, DELETE, OPTIONS"),
            ("HEAD /v2/pods", "PodsProbe"),
            ("GET /v2/pods", "Pods(Get)"),
            ("GET /v2/pods/", "Pods(Get)"),
            ("GET /v2/pods/::status", "PodsStatus"),
            ("GET /v2/pods::status", "404"),
            ("POST /v2/pods", "Pods(Post)"),
            ("PUT /v2/pods", "405 GET, HEAD, POST, OPTIONS"),
            ("GET /v2/pods/x/y", "Pod(Get, x/y)"),
            ("PUT /v2/pods//x", "Pod(Put, x)"),
            ("GET /v2/pods//x::status", "PodStatus(x)"),
            ("GET /v2/pods/x%3A%3Astatus", "PodStatus(x)"),
            ("GET /v2/pods/x/y/::versions", "PodVersions(x/y)"),
            ("GET /v2/pods/x::versions/2020-01-01T00:00:00.000Z", "PodVersion(x, 2020-01-01T00:00:00.000Z)"),
            ("DELETE /v2/pods/x", "Pod(Delete, x)"),
            ("GET /v2/pods/x::instances", "PodInstances(Get, x)"),
            ("DELETE /v2/pods/x/::instances/", "PodInstances(Delete, x)"),
            ("DELETE /v2/pods/x::instances/y", "PodInstance(Delete, x, y)"),
            ("PUT /v2/pods/x::status", "405 GET, HEAD, OPTIONS"),
            ("GET /v2/pods/x::nonsense", "404"),
            ("GET /v2/pods/::versions", "404"),
            ("PATCH /v2/pods/x", "405 GET, HEAD, PUT, DELETE, OPTIONS"),
            ("GET /v2/plugins/a/b/c", "Plugin(a)"),
            ("POST /v2/plugins/a", "Plugin(a)"),
            ("GET /v2/plugins", "Plugins"),
            ("GET /metrics", "Metrics"),
            ("GET /metrics/prometheus", "Prometheus"),
            ("GET /logging", "Logging(Get)"),
            ("POST /logging", "Logging(Post)"),
            ("GET /config", "Config"),
            ("OPTIONS /v2/apps", "Options(Allow([Get, Post, Put, Patch]))"),
            ("OPTIONS *", "Options(Allow([Get, Post, Put, Patch, Delete]))"),
            ("TRACE /v2/apps", "405 GET, HEAD, POST, PUT, PATCH, OPTIONS"),
            ("BREW /v2/info", "405 GET, HEAD, OPTIONS"),
            ("GET /v1/apps", "404"),
            ("GET /v2", "404"),
            ("GET /v2/artifacts", "404"),
            ("GET /v2/apps/%zz", "400"),
            ("GET /v2/apps/%ff", "400"),
            ("GET *", "400"),
        ] {
            assert_eq!(found(line), want, "{line}");
        }
    }
}
