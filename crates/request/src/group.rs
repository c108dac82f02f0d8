//! The group update: a version, a factor, or a structure.

use marathon_model::id::GroupId;
use marathon_model::update::GroupUpdate;
use serde_json::Value;

use crate::reader::{Object, Reader, present};
use crate::{Mode, app};

/// Reads the top of the tree. Without an id it is the URL's group.
pub fn read(r: &mut Reader, value: &Value, url_group: &GroupId) -> Option<GroupUpdate> {
    let object = r.object(value)?;
    let id = r.optional(object, "id", |r, it| app::path(r, it, url_group));
    let base = id.clone().unwrap_or_else(|| url_group.clone());
    Some(content(r, object, &KEYS, id, &base))
}

const KEYS: [&str; 7] = ["id", "apps", "groups", "dependencies", "enforceRole", "scaleBy", "version"];

/// What a group says under `keys`, of which `version` and `scaleBy` want to stand alone.
fn content(
    r: &mut Reader,
    object: &Object,
    keys: &[&str],
    id: Option<GroupId>,
    base: &GroupId,
) -> GroupUpdate {
    let group = GroupUpdate {
        apps: r.optional(object, "apps", |r, it| r.list(it, |r, it| nested_app(r, it, base))),
        groups: r.optional(object, "groups", |r, it| r.list(it, |r, it| nested_group(r, it, base))),
        dependencies: r.optional(object, "dependencies", |r, it| r.list(it, |r, it| app::path(r, it, base))),
        enforce_role: r.optional(object, "enforceRole", Reader::boolean),
        scale_by: r.optional(object, "scaleBy", |r, it| r.number(it, 0.0)),
        version: r.optional(object, "version", app::timestamp),
        id,
    };
    let given: Vec<&str> = keys.iter().copied().filter(|it| present(object, it).is_some()).collect();
    if given.len() > 1 {
        for key in ["version", "scaleBy"].into_iter().filter(|it| given.contains(it)) {
            r.broken_at(key, "not allowed in conjunction with other properties.");
        }
    }
    group
}

fn nested_group(r: &mut Reader, value: &Value, base: &GroupId) -> Option<GroupUpdate> {
    let object = r.object(value)?;
    let id = r.required(object, "id", |r, it| app::path(r, it, base));
    let inner = id.clone().unwrap_or_else(|| base.clone());
    // Answers name the version of every group, and clients send them back changed. Only the top can be rolled
    // back, so here it says nothing.
    let versionless = &KEYS[..KEYS.len() - 1];
    Some(GroupUpdate { version: None, ..content(r, object, versionless, id, &inner) })
}

fn nested_app(r: &mut Reader, value: &Value, base: &GroupId) -> Option<marathon_model::update::AppUpdate> {
    app::read(r, value, base, Mode::Create)
}
