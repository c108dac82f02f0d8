//! Changes: read the request, ask the loop, render its reply.

use hyper::StatusCode;
use hyper::header::{HeaderName, LOCATION};
use marathon_api::{deployment, error, preview, reply, task};
use marathon_model::command::{Command, Origin, Refusal, Reply, Victims, Violation};
use marathon_model::id::{DeploymentId, PathId, SpecId, TaskId};
use marathon_model::update::{AppEdit, AppUpdate, GroupUpdate};
use marathon_model::view::App;
use marathon_request::Mode;

use crate::Http;
use crate::answer::Ask;
use crate::reply::Out;
use crate::route::Verb;

pub const DEPLOYMENT_ID: HeaderName = HeaderName::from_static("marathon-deployment-id");

pub type Answer = Result<Out, Out>;

pub fn merge(answer: Answer) -> Out {
    answer.unwrap_or_else(|out| out)
}

/// The path of what is to be changed.
pub fn path(text: &str) -> Result<PathId, Out> {
    PathId::parse(text).map_err(|fault| error::invalid(&[Violation::new("/id", fault.to_string())]).into())
}

pub fn origin(ask: &Ask) -> Option<Origin> {
    Some(Origin { client_ip: ask.peer.to_string(), uri: ask.uri().to_owned() })
}

/// Where the API shows what was made: the id path below the server's root, as later releases of the
/// original have it.
pub fn location(http: &Http, ask: &Ask, id: &PathId) -> String {
    format!("{}{id}", ask.root(http))
}

/// The usual answer of a change that began a deployment.
pub fn deployed(reply: Reply) -> Answer {
    match reply {
        Reply::Deployed { version, deployment, .. } => {
            Ok(Out::json(reply::deployment_result(version, deployment))
                .with(DEPLOYMENT_ID, &deployment.to_string()))
        }
        Reply::Plan(steps) => Ok(Out::json(deployment::dry_run(&steps))),
        Reply::Killed(instances) => Ok(Out::json(task::list(&instances))),
        Reply::Done | Reply::Told(_) => Ok(Out::empty(StatusCode::OK)),
        Reply::Refused(refusal) => Err(refusal.into()),
    }
}

/// Hands a command to the loop; or, with `dryRun=true`, only shows what it would do.
pub async fn submit(http: &Http, ask: &Ask, command: Command) -> Result<Reply, Out> {
    let command = match marathon_request::guard(&ask.query)? {
        Some(guard) => Command::Guarded { guard, command: Box::new(command) },
        None => command,
    };
    if ask.query.flag("dryRun", false) {
        let preview = http.previews.look(http.views.load_full(), command).await?;
        // Not an error, but the end of the matter.
        return Err(Out::json(preview::body(&preview)));
    }
    Ok(http.asker.ask(command).await)
}

/// The id in the body of a new app, which must be there.
fn named(update: &AppUpdate) -> Result<SpecId, Out> {
    // `request` has seen to it; a slip there must still not panic.
    let missing = || error::shape(&[Violation::new("/id", "error.path.missing")]).into();
    update.id.clone().ok_or_else(missing)
}

pub async fn create_app(http: &Http, ask: &Ask) -> Out {
    let run = async || -> Answer {
        let update = marathon_request::app(&ask.body, Mode::Create)?;
        let id = named(&update)?;
        let edits = vec![(id.clone(), AppEdit::Create(update))];
        let force = ask.query.flag("force", false);
        match submit(http, ask, Command::EditApps { edits, force, origin: origin(ask) }).await? {
            Reply::Deployed { version, deployment, app, .. } => {
                let body = match app {
                    Some(app) => reply::created_app(&app, deployment),
                    None => reply::deployment_result(version, deployment),
                };
                Ok(Out::json(body)
                    .status(StatusCode::CREATED)
                    .with(LOCATION, &location(http, ask, &id))
                    .with(DEPLOYMENT_ID, &deployment.to_string()))
            }
            other => deployed(other),
        }
    };
    merge(run().await)
}

fn edit(verb: Verb, partial: bool, update: AppUpdate) -> AppEdit {
    match verb {
        Verb::Patch => AppEdit::Patch(update),
        _ if partial => AppEdit::Merge(update),
        _ => AppEdit::Replace(update),
    }
}

fn mode(verb: Verb, partial: bool) -> Mode {
    if verb == Verb::Patch || partial { Mode::Update } else { Mode::Replace }
}

/// PUT and PATCH of one app.
pub async fn edit_app(http: &Http, ask: &Ask, verb: Verb, id: &str) -> Out {
    let run = async || -> Answer {
        let id = path(id)?;
        let partial = ask.query.flag("partialUpdate", true);
        let mut update = marathon_request::app(&ask.body, mode(verb, partial))?;
        // The path decides.
        update.id = Some(id.clone());
        let edits = vec![(id.clone(), edit(verb, partial, update))];
        let force = ask.query.flag("force", false);
        let reply = submit(http, ask, Command::EditApps { edits, force, origin: origin(ask) }).await?;
        let created = matches!(reply, Reply::Deployed { created: true, .. });
        let out = deployed(reply)?;
        Ok(if created {
            out.status(StatusCode::CREATED).with(LOCATION, &location(http, ask, &id))
        } else {
            out
        })
    };
    merge(run().await)
}

/// PUT and PATCH of several apps.
pub async fn edit_apps(http: &Http, ask: &Ask, verb: Verb) -> Out {
    let run = async || -> Answer {
        let partial = ask.query.flag("partialUpdate", true);
        let updates = marathon_request::apps(&ask.body, mode(verb, partial))?;
        let edits = updates
            .into_iter()
            .map(|update| Ok((named(&update)?, edit(verb, partial, update))))
            .collect::<Result<Vec<_>, Out>>()?;
        let force = ask.query.flag("force", false);
        // The original publishes no `api_post_event` for a list, whatever its length.
        deployed(submit(http, ask, Command::EditApps { edits, force, origin: None }).await?)
    };
    merge(run().await)
}

async fn one_edit(http: &Http, ask: &Ask, id: &str, edit: AppEdit, force: bool) -> Answer {
    // A path that is none names no app.
    let id = PathId::parse(id)
        .map_err(|_| Out::from(error::not_found(format_args!("App '/{id}' does not exist"))))?;
    deployed(submit(http, ask, Command::EditApps { edits: vec![(id, edit)], force, origin: None }).await?)
}

pub async fn delete_app(http: &Http, ask: &Ask, id: &str) -> Out {
    // Forced unless it says otherwise; clients rely on it.
    merge(one_edit(http, ask, id, AppEdit::Delete, ask.query.flag("force", true)).await)
}

pub async fn restart(http: &Http, ask: &Ask, id: &str) -> Out {
    merge(one_edit(http, ask, id, AppEdit::Restart, ask.query.flag("force", false)).await)
}

fn is_pod(app: &App) -> bool {
    app.spec.as_ref().is_some_and(|it| it.is_pod())
}

/// The ways in which tasks can be killed.
fn kill(ask: &Ask, victims: Victims) -> Result<Command, Out> {
    let flag = |name: &str| ask.query.flag(name, false);
    let (scale, wipe, force) = (flag("scale"), flag("wipe"), flag("force"));
    if scale && wipe {
        return Err(Out::message(StatusCode::BAD_REQUEST, "You cannot use scale and wipe at the same time."));
    }
    Ok(Command::Kill { victims, scale, wipe, force })
}

pub async fn kill_of_app(http: &Http, ask: &Ask, id: &str) -> Out {
    let run = async || -> Answer {
        let app = PathId::parse(id)
            .map_err(|_| Out::from(error::not_found(format_args!("App '/{id}' does not exist"))))?;
        let host = ask.query.get("host").filter(|it| !matches!(*it, "" | "*")).map(str::to_owned);
        deployed(submit(http, ask, kill(ask, Victims::OfApp { app, host })?).await?)
    };
    merge(run().await)
}

pub async fn kill_one(http: &Http, ask: &Ask, app: &str, task: &str) -> Out {
    let run = async || -> Answer {
        let unknown = || Out::from(Refusal::NoSuchTask(task.to_owned()));
        let id = TaskId::parse(task);
        let app = match (PathId::parse(app), &id) {
            (Ok(app), _) => app,
            (Err(_), Ok(id)) if go_marathon_means(app, id) => id.instance.spec.clone(),
            (Err(_), _) => return Err(unknown()),
        };
        let victims = match id {
            Ok(task) => Victims::One { app, task },
            // Scaling down by a task that is not there succeeds with nothing to do, whatever its id.
            Err(_) if ask.query.flag("scale", false) => {
                http.views
                    .load()
                    .app(&app)
                    .filter(|it| !is_pod(it))
                    .ok_or(Refusal::NoSuchApp { id: app, version: None })?;
                Victims::Tasks(Vec::new())
            }
            Err(_) => return Err(unknown()),
        };
        match submit(http, ask, kill(ask, victims)?).await? {
            Reply::Killed(instances) => match instances.first() {
                Some(instance) => Ok(Out::json(task::one(instance))),
                None => Err(unknown()),
            },
            other => deployed(other),
        }
    };
    merge(run().await)
}

/// go-marathon takes all before the last dot of a task's id for the name of its app, as it was before 1.5.
fn go_marathon_means(app: &str, task: &TaskId) -> bool {
    let id = task.to_string();
    id.rsplit_once('.').is_some_and(|(before, _)| before.replace('_', "/") == app.trim_start_matches('/'))
}

pub async fn kill_tasks(http: &Http, ask: &Ask) -> Out {
    let run = async || -> Answer {
        let ids = marathon_request::kill_ids(&ask.body)?;
        deployed(submit(http, ask, kill(ask, Victims::Tasks(ids))?).await?)
    };
    merge(run().await)
}

/// POST and PUT of a group.
pub async fn edit_group(http: &Http, ask: &Ask, verb: Verb, id: &str) -> Out {
    let run = async || -> Answer {
        let of_url = path(id)?;
        let update = marathon_request::group(&ask.body, &of_url)?;
        let group = update.id.clone().unwrap_or(of_url);
        let create = verb == Verb::Post;
        let command = Command::EditGroup {
            group: group.clone(),
            update: Box::new(update),
            create,
            force: ask.query.flag("force", false),
            dry_run: false,
        };
        let reply = submit(http, ask, command).await?;
        let made = create && matches!(reply, Reply::Deployed { .. });
        let out = deployed(reply)?;
        Ok(if made {
            out.status(StatusCode::CREATED).with(LOCATION, &location(http, ask, &group))
        } else {
            out
        })
    };
    merge(run().await)
}

/// A PUT of nothing but a version, as a path; so marathon-python does it.
pub async fn roll_back_group(http: &Http, ask: &Ask, id: &str, version: &str) -> Out {
    let run = async || -> Answer {
        let command = Command::EditGroup {
            group: path(id)?,
            update: Box::new(GroupUpdate {
                version: Some(marathon_request::timestamp(version)?),
                ..GroupUpdate::default()
            }),
            create: false,
            force: ask.query.flag("force", false),
            dry_run: false,
        };
        deployed(submit(http, ask, command).await?)
    };
    merge(run().await)
}

pub async fn delete_group(http: &Http, ask: &Ask, id: &str) -> Out {
    let run = async || -> Answer {
        let group = PathId::parse(id)
            .map_err(|_| Out::from(error::not_found(format_args!("Group '/{id}' does not exist"))))?;
        let force = ask.query.flag("force", false);
        deployed(submit(http, ask, Command::DeleteGroup { group, force }).await?)
    };
    merge(run().await)
}

pub async fn enforce_role(http: &Http, ask: &Ask, id: &str) -> Out {
    let run = async || -> Answer {
        let group = path(id)?;
        let enforce = marathon_request::enforce_role(&ask.body)?;
        deployed(submit(http, ask, Command::EnforceRole { group, enforce }).await?)
    };
    merge(run().await)
}

pub fn deployment_id(text: &str) -> Result<DeploymentId, Refusal> {
    // Only the form with hyphens is an id.
    let id = text.parse().ok().filter(|_| text.len() == 36);
    id.map(DeploymentId).ok_or_else(|| Refusal::NoSuchDeployment(text.to_owned()))
}

pub async fn cancel(http: &Http, ask: &Ask, id: &str) -> Out {
    let run = async || -> Answer {
        let force = ask.query.flag("force", false);
        let id = deployment_id(id)?;
        let out = deployed(submit(http, ask, Command::CancelDeployment { id, force }).await?)?;
        // The forced form ends the deployment and starts none.
        Ok(if force { Out::empty(StatusCode::ACCEPTED) } else { out })
    };
    merge(run().await)
}

pub async fn reset_delay(http: &Http, ask: &Ask, id: &str) -> Out {
    let run = async || -> Answer {
        let unknown = || error::not_found(format_args!("Application /{id} not found in tasks queue."));
        let app = PathId::parse(id).map_err(|_| Out::from(unknown()))?;
        match submit(http, ask, Command::ResetDelay { app }).await? {
            Reply::Refused(refusal) => Err(refusal.into()),
            _ => Ok(Out::empty(StatusCode::NO_CONTENT)),
        }
    };
    merge(run().await)
}
