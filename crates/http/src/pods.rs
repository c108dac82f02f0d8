//! Everything below `/v2/pods`.

use hyper::StatusCode;
use hyper::header::{LOCATION, USER_AGENT};
use marathon_api::error;
use marathon_api::pods::{self, InstanceForm};
use marathon_model::app::AppSpec;
use marathon_model::command::{Command, PodEdit, Refusal, Reply, Victims};
use marathon_model::id::{DeploymentId, InstanceId, PathId, SpecId};

use crate::answer::Ask;
use crate::change::{Answer, DEPLOYMENT_ID, deployed, location, merge, origin, submit};
use crate::reply::{Out, settle};
use crate::{Http, now};

/// A path that is none names no pod.
fn path(text: &str) -> Result<SpecId, Out> {
    PathId::parse(text).map_err(|_| error::message(404, format_args!("Pod '/{text}' does not exist")).into())
}

fn answer(result: Result<Out, Out>) -> Out {
    result.unwrap_or_else(|out| out)
}

// ---- reads

pub fn list(http: &Http) -> Out {
    Out::json(pods::list(&http.views.load()))
}

pub fn statuses(http: &Http) -> Out {
    Out::json(pods::statuses(&http.views.load(), now()))
}

pub fn one(http: &Http, id: &str) -> Out {
    let missing = || pods::not_found(&format!("/{id}")).into();
    match PathId::parse(id) {
        Ok(path) => match pods::find(&http.views.load(), &path) {
            Some((_, spec)) => Out::json(pods::definition(spec)),
            None => missing(),
        },
        Err(_) => missing(),
    }
}

pub fn status(http: &Http, id: &str) -> Out {
    answer(path(id).map(|id| settle(pods::status(&http.views.load(), &id, now()))))
}

pub fn versions(http: &Http, id: &str) -> Out {
    answer(path(id).map(|id| settle(pods::versions(&http.views.load(), &id))))
}

pub fn version(http: &Http, id: &str, version: &str) -> Out {
    answer(path(id).and_then(|id| {
        let version = marathon_request::timestamp(version)?;
        Ok(settle(pods::version(&http.views.load(), &id, version)))
    }))
}

pub fn instances(http: &Http, ask: &Ask, id: &str) -> Out {
    answer(path(id).map(|id| settle(pods::instances(&http.views.load(), &id, form(ask)))))
}

pub fn instance(http: &Http, ask: &Ask, id: &str, instance: &str) -> Out {
    answer(path(id).and_then(|id| {
        let view = http.views.load();
        let found = one_of(&id, instance)?;
        let found = view.instance(&found).filter(|_| pods::find(&view, &id).is_some());
        let found = found.ok_or_else(|| Refusal::NoSuchTask(instance.to_owned()))?;
        Ok(Out::json(pods::instance(&view, found, form(ask))))
    }))
}

/// The instance a path names, which must be one of this pod.
fn one_of(pod: &SpecId, text: &str) -> Result<InstanceId, Out> {
    let id = marathon_request::instance_id(text)?;
    if id.spec == *pod { Ok(id) } else { Err(Refusal::NoSuchTask(text.to_owned()).into()) }
}

/// go-marathon, the one client that reads instances, still expects the form of 1.4 and fails on the present one.
/// It does not name itself, but its language's library does.
fn form(ask: &Ask) -> InstanceForm {
    let agent = ask.parts.headers.get(USER_AGENT).and_then(|it| it.to_str().ok()).unwrap_or_default();
    if agent.starts_with("Go-http-client/") { InstanceForm::Early } else { InstanceForm::Present }
}

// ---- changes

pub async fn create(http: &Http, ask: &Ask) -> Out {
    let run = async || -> Answer {
        let update = marathon_request::pod(&ask.body)?;
        let id = update.id.clone();
        let reply = edit(http, ask, &id, PodEdit::Create(Box::new(update))).await?;
        let out = accepted(http, &id, reply)?;
        Ok(out.status(StatusCode::CREATED).with(LOCATION, &location(http, ask, &id)))
    };
    merge(run().await)
}

/// PUT: the whole pod anew, made where it is not there. The answer is 200 either way.
pub async fn replace(http: &Http, ask: &Ask, id: &str) -> Out {
    let run = async || -> Answer {
        let id = crate::change::path(id)?;
        let update = marathon_request::pod(&ask.body)?;
        if update.id != id {
            let text = format!("'{id}' does not match definition's id ('{}')", update.id);
            return Err(Out::message(StatusCode::BAD_REQUEST, text));
        }
        let reply = edit(http, ask, &id, PodEdit::Replace(Box::new(update))).await?;
        accepted(http, &id, reply)
    };
    merge(run().await)
}

pub async fn delete(http: &Http, ask: &Ask, id: &str) -> Out {
    let run = async || -> Answer {
        let id = path(id)?;
        match edit(http, ask, &id, PodEdit::Delete).await? {
            Reply::Deployed { deployment, .. } => Ok(begun(Out::empty(StatusCode::ACCEPTED), deployment)
                .with(LOCATION, &format!("{}/{deployment}", ask.root(http)))),
            other => deployed(other),
        }
    };
    merge(run().await)
}

async fn edit(http: &Http, ask: &Ask, id: &SpecId, edit: PodEdit) -> Result<Reply, Out> {
    let force = ask.query.flag("force", false);
    submit(http, ask, Command::EditPod { id: id.clone(), edit, force, origin: origin(ask) }).await
}

fn begun(out: Out, deployment: DeploymentId) -> Out {
    out.with(DEPLOYMENT_ID, &deployment.to_string())
}

/// The answer with the pod as it was accepted.
fn accepted(http: &Http, id: &SpecId, reply: Reply) -> Answer {
    match reply {
        Reply::Deployed { version, deployment, app, .. } => {
            let body = |spec: &AppSpec| begun(Out::json(pods::definition(spec)), deployment);
            match (app, pods::find(&http.views.load(), id)) {
                (Some(spec), _) => Ok(body(&spec)),
                (None, Some((_, spec))) => Ok(body(spec)),
                // Removed again in the meantime.
                (None, None) => deployed(Reply::Deployed { version, deployment, created: false, app: None }),
            }
        }
        other => deployed(other),
    }
}

pub async fn kill_one(http: &Http, ask: &Ask, id: &str, instance: &str) -> Out {
    let run = async || -> Answer {
        let pod = path(id)?;
        let unknown = || Out::from(Refusal::NoSuchTask(instance.to_owned()));
        let victim = one_of(&pod, instance)?;
        match kill(http, ask, pod, vec![victim]).await? {
            Reply::Killed(instances) => match instances.first() {
                Some(it) => Ok(Out::json(pods::instance(&http.views.load(), it, form(ask)))),
                None => Err(unknown()),
            },
            other => deployed(other),
        }
    };
    merge(run().await)
}

pub async fn kill_several(http: &Http, ask: &Ask, id: &str) -> Out {
    let run = async || -> Answer {
        let pod = path(id)?;
        let instances = marathon_request::instance_ids(&ask.body)?;
        let view = http.views.load_full();
        if pods::find(&view, &pod).is_none() {
            return Err(Refusal::NoSuchPod(pod).into());
        }
        // Of several, those that are there are meant; that one alone must be is a rule for the other call.
        let there: Vec<InstanceId> =
            instances.into_iter().filter(|it| it.spec == pod && view.instance(it).is_some()).collect();
        if there.is_empty() {
            return Ok(Out::json("[]"));
        }
        match kill(http, ask, pod, there).await? {
            Reply::Killed(instances) => {
                Ok(Out::json(pods::killed(&http.views.load(), &instances, form(ask))))
            }
            Reply::Refused(Refusal::NoSuchTask(_)) => Ok(Out::json("[]")),
            other => deployed(other),
        }
    };
    merge(run().await)
}

async fn kill(http: &Http, ask: &Ask, pod: SpecId, instances: Vec<InstanceId>) -> Result<Reply, Out> {
    let wipe = ask.query.flag("wipe", false);
    let victims = Victims::Instances { pod, instances };
    submit(http, ask, Command::Kill { victims, scale: false, wipe, force: false }).await
}
