//! Volumes; the kind follows from the key that is there.

use marathon_model::app::serde_json_text::JsonText;
use marathon_model::app::*;
use serde_json::Value;

use crate::constraint;
use crate::reader::{Object, Reader, present};

pub fn read(r: &mut Reader, value: &Value) -> Option<Volume> {
    let object = r.object(value)?;
    let container_path = r.required(object, "containerPath", Reader::locator);
    let has = |key: &str| present(object, key).is_some();

    let (read_only, source) = if has("persistent") {
        (mode(r, object, Some(false)), r.required(object, "persistent", persistent))
    } else if has("external") {
        (mode(r, object, None), r.required(object, "external", external))
    } else if has("secret") {
        let secret = r.required(object, "secret", Reader::some_text);
        (Some(false), secret.map(|secret| VolumeSource::Secret { secret }))
    } else {
        let host_path = r.required(object, "hostPath", Reader::locator);
        (mode(r, object, None), host_path.map(|host_path| VolumeSource::Host { host_path }))
    };
    Some(Volume { container_path: container_path?, read_only: read_only?, source: source? })
}

/// Whether the volume is read-only; required where there is no default.
fn mode(r: &mut Reader, object: &Object, default: Option<bool>) -> Option<bool> {
    if let (None, Some(default)) = (present(object, "mode"), default) {
        return Some(default);
    }
    r.required(object, "mode", |r, it| r.word(it, &[("RO", true), ("RW", false)]))
}

pub fn persistent(r: &mut Reader, value: &Value) -> Option<VolumeSource> {
    let object = r.object(value)?;
    let profile = r.optional(object, "profileName", Reader::some_text);
    let kind = r.optional(object, "type", |r, it| {
        r.word(it, &[("root", DiskKind::Root), ("path", DiskKind::Path), ("mount", DiskKind::Mount)])
    });
    // Only whole disks have profiles.
    let default = if profile.is_some() { DiskKind::Mount } else { DiskKind::Root };
    let size = r.required(object, "size", Reader::long);
    let max_size = r.optional(object, "maxSize", Reader::long);
    let constraints = r.optional(object, "constraints", constraint::list_of_volume).unwrap_or_default();
    Some(VolumeSource::Persistent {
        kind: kind.unwrap_or(default),
        size: size?,
        max_size,
        profile,
        constraints,
    })
}

fn external(r: &mut Reader, value: &Value) -> Option<VolumeSource> {
    let object = r.object(value)?;
    let mut named = |key: &str| {
        let given = r.optional(object, key, Reader::text);
        if present(object, key).is_none() {
            r.broken_at(key, "not defined");
        }
        given
    };
    let (name, provider) = (named("name"), named("provider"));
    let size = r.optional(object, "size", Reader::long);
    let shared = r.optional(object, "shared", Reader::boolean).unwrap_or(false);
    let nested = provider.as_deref() == Some("csi");
    let options = r.optional(object, "options", |r, it| {
        if !nested {
            r.texts::<Vec<(String, String)>>(it)?;
        }
        r.object(it).map(|_| JsonText(it.to_string()))
    });
    let options = options.unwrap_or_else(|| JsonText("{}".to_owned()));
    Some(VolumeSource::External { name: name?, provider: provider?, size, options, shared })
}
