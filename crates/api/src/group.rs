//! The tree of groups, now or as of an earlier version.

use std::collections::HashMap;
use std::sync::Arc;

use marathon_model::app::AppSpec;
use marathon_model::command::Refusal;
use marathon_model::group::Group;
use marathon_model::id::{GroupId, PathId};
use marathon_model::time::Timestamp;
use marathon_model::view::{App, View};

use crate::app::write_app;
use crate::embed::{Embed, GroupEmbed};
use crate::info_app::write_app_info;
use crate::json::Json;
use crate::no_such_group;
use crate::pod_status::write_status;

/// `GET /v2/groups/{id}`: the group with all below it. Reads show the version of the whole tree.
pub fn one(view: &View, id: &GroupId, embed: GroupEmbed, now: Timestamp) -> Result<Vec<u8>, Refusal> {
    let root = view.groups.get(id).ok_or_else(|| no_such_group(id, None))?;
    let mut tree = Tree::default();
    if embed.groups {
        for group in below(view.groups.range(id.clone()..), id) {
            tree.groups.entry(parent(&group.id)).or_default().push(group);
        }
    }
    tree.fill(view, id, embed, |app| app.spec.as_ref());
    let text =
        write_tree(root, &tree, embed.groups, view.root_version, |json, (app, spec)| match spec.is_pod() {
            true => write_status(json, app, spec, now),
            false => write_app_info(json, app, spec, embed.app, now),
        });
    Ok(text)
}

/// `GET /v2/groups/{id}/versions/{version}`: the group as it was when the tree had this version. Its
/// apps are shown without computed fields, which nobody knows any more, and its pods with the instances of now.
pub fn version(
    view: &View,
    id: &GroupId,
    version: Timestamp,
    embed: GroupEmbed,
    now: Timestamp,
) -> Result<Vec<u8>, Refusal> {
    let refusal = || no_such_group(id, Some(version));
    if version != view.root_version && !view.root_versions.contains(&version) {
        return Err(refusal());
    }
    let root = as_of(view, id, version).ok_or_else(refusal)?;
    let mut tree = Tree::default();
    if embed.groups {
        // A group that is gone by now is left in the history only; one that never changed, nowhere else
        // than among the present ones.
        let present = below(view.groups.range(id.clone()..), id).map(|it| &it.id);
        let past = view.group_history.range(id.clone()..).map(|it| it.0);
        let past = past.take_while(|it| it.as_str().starts_with(id.as_str())).filter(|it| it.is_below(id));
        let mut ids: Vec<&GroupId> = present.chain(past).collect();
        ids.sort();
        ids.dedup();
        for group in ids.into_iter().filter_map(|it| as_of(view, it, version)) {
            tree.groups.entry(parent(&group.id)).or_default().push(group);
        }
    }
    tree.fill(view, id, embed, |app| app.as_of(version));
    let text = write_tree(root, &tree, embed.groups, version, |json, (app, spec)| match spec.is_pod() {
        true => write_status(json, app, spec, now),
        false => write_app(json, spec),
    });
    Ok(text)
}

/// `GET /v2/groups/{id}/versions`: those versions of the tree in which the group exists, newest first.
pub fn versions(view: &View, id: &GroupId) -> Result<Vec<u8>, Refusal> {
    if !view.groups.contains_key(id) {
        return Err(no_such_group(id, None));
    }
    let newest = Some(&view.root_version).filter(|it| view.root_versions.last() != Some(it));
    let all = newest.into_iter().chain(view.root_versions.iter().rev());
    let versions = all.filter(|at| as_of(view, id, **at).is_some());
    Ok(Json::text(|json| json.array(versions, |json, at| json.time(*at))))
}

/// `GET /v2/groups/{id}/apps`: a bare array of all apps below; empty where there is no such group.
pub fn apps(view: &View, id: &GroupId, embed: Embed, now: Timestamp) -> Vec<u8> {
    let apps = apps_below(view, id).into_iter().flatten();
    Json::text(|json| json.array(apps, |json, (app, spec)| write_app_info(json, app, spec, embed, now)))
}

/// All live apps below a group, at any depth. `None`: no such group.
pub fn apps_below<'a>(
    view: &'a View,
    group: &GroupId,
) -> Option<impl Iterator<Item = (&'a Arc<App>, &'a Arc<AppSpec>)> + use<'a>> {
    view.groups.get(group)?;
    let apps = below(view.apps.range(group.clone()..), group);
    Some(apps.filter_map(|it| Some((it, it.spec.as_ref().filter(|it| !it.is_pod())?))))
}

/// Of entries that begin at `group`, those below it. They share its text as a prefix and so lie
/// together, among others such as `/a-b` for `/a`.
fn below<'a, V: 'a, I: Iterator<Item = (&'a PathId, &'a V)>>(
    from: I,
    group: &GroupId,
) -> impl Iterator<Item = &'a V> + use<'a, V, I> {
    let (prefix, group) = (group.clone(), group.clone());
    from.take_while(move |(id, _)| id.as_str().starts_with(prefix.as_str()))
        .filter(move |(id, _)| id.is_below(&group))
        .map(|(_, value)| value)
}

/// The path of the enclosing group, as a part of the path itself; empty for the root.
fn parent(id: &PathId) -> &str {
    let text = id.as_str();
    &text[..text.rfind('/').unwrap_or(0)]
}

/// The group as it stood at this moment.
fn as_of<'a>(view: &'a View, id: &GroupId, moment: Timestamp) -> Option<&'a Arc<Group>> {
    let history = view.group_history.get(id).into_iter().flatten();
    let past = history.filter(|(at, _)| *at <= moment).last();
    let present = view.groups.get(id).filter(|it| it.version <= moment || id.is_root());
    match (past, present) {
        (Some((at, _)), Some(present)) if *at <= present.version && present.version <= moment => {
            Some(present)
        }
        (Some((_, group)), _) => group.as_ref(),
        (None, present) => present,
    }
}

/// Direct children by the path of their parent (see `parent`).
#[derive(Default)]
struct Tree<'a> {
    groups: HashMap<&'a str, Vec<&'a Arc<Group>>>,
    apps: HashMap<&'a str, Vec<Member<'a>>>,
    pods: HashMap<&'a str, Vec<Member<'a>>>,
}

/// An app or a pod, and its definition at the moment that is shown.
type Member<'a> = (&'a App, &'a AppSpec);

impl<'a> Tree<'a> {
    fn fill(
        &mut self,
        view: &'a View,
        id: &GroupId,
        embed: GroupEmbed,
        spec: impl Fn(&'a App) -> Option<&'a Arc<AppSpec>>,
    ) {
        if !embed.apps && !embed.pods {
            return;
        }
        for app in below(view.apps.range(id.clone()..), id) {
            let Some(spec) = spec(app) else { continue };
            let (wanted, members) = match spec.is_pod() {
                true => (embed.pods, &mut self.pods),
                false => (embed.apps, &mut self.apps),
            };
            if wanted {
                members.entry(parent(&app.id)).or_default().push((app, spec));
            }
        }
    }
}

/// Walks the tree with a stack of its own: how deep groups nest is up to users.
fn write_tree<'a>(
    root: &Group,
    tree: &Tree<'a>,
    with_groups: bool,
    version: Timestamp,
    write: impl Fn(&mut Json, Member<'a>),
) -> Vec<u8> {
    enum Step<'a> {
        Open(&'a Group),
        Close(&'a Group),
    }
    let mut json = Json::new();
    let mut steps = vec![Step::Open(root)];
    while let Some(step) = steps.pop() {
        match step {
            Step::Open(group) => {
                let key = if group.id.is_root() { "" } else { group.id.as_str() };
                json.open(b'{');
                json.key("id").string(group.id.as_str());
                for (name, members) in [("apps", &tree.apps), ("pods", &tree.pods)] {
                    json.key(name).array(members.get(key).into_iter().flatten(), |json, it| write(json, *it));
                }
                json.key("groups").open(b'[');
                steps.push(Step::Close(group));
                if with_groups {
                    let groups = tree.groups.get(key).into_iter().flatten();
                    steps.extend(groups.rev().map(|it| Step::Open(it)));
                }
            }
            Step::Close(group) => {
                json.close(b']');
                json.key("dependencies").strings(group.dependencies.iter().map(|it| it.as_str()));
                json.key("version").time(version);
                if group.id.segments().count() == 1 {
                    // Left out while it is off, since marathon-python refuses fields it does not know.
                    if group.enforce_role {
                        json.key("enforceRole").bool(true);
                    }
                }
                json.close(b'}');
            }
        }
    }
    json.into_bytes()
}
