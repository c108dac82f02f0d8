//! Names of records.
//!
//! ```text
//! format                      which format all other records have
//! framework                   the id the engine knows us by
//! began                       when this state began to be kept
//! root/<millis>               a version of the tree
//! app<path>@<millis>          a version of an app        app/shop/cart@1700000000000
//! group<path>@<millis>        a version of a group       group/shop@1700000000000, group/@1700000000000
//! instance/<instance id>
//! deployment/<uuid>
//! progress/<uuid>             how far a deployment has come
//! failed/<uuid>               a deployment that gave up
//! callback/<url>              gets every event by POST
//! events                      where the ids of events begin
//! failure<path>  delay<path>  latest failure, present delay of an app
//! ```
//! No path holds `@`, so the last one separates.

use std::fmt;

use marathon_model::callback::CallbackUrl;
use marathon_model::id::{DeploymentId, GroupId, InstanceId, PathId, SpecId};
use marathon_model::time::Timestamp;

use crate::RecordError;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    Format,
    Framework,
    Began,
    Root(Timestamp),
    App(SpecId, Timestamp),
    Group(GroupId, Timestamp),
    Instance(InstanceId),
    Deployment(DeploymentId),
    Progress(DeploymentId),
    Failed(DeploymentId),
    Failure(SpecId),
    Delay(SpecId),
    Callback(CallbackUrl),
    Events,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Key::Format => f.write_str("format"),
            Key::Framework => f.write_str("framework"),
            Key::Began => f.write_str("began"),
            Key::Root(version) => write!(f, "root/{}", version.0),
            Key::App(id, version) => write!(f, "app{id}@{}", version.0),
            Key::Group(id, version) => write!(f, "group{id}@{}", version.0),
            Key::Instance(id) => write!(f, "instance/{id}"),
            Key::Deployment(id) => write!(f, "deployment/{id}"),
            Key::Progress(id) => write!(f, "progress/{id}"),
            Key::Failed(id) => write!(f, "failed/{id}"),
            Key::Failure(id) => write!(f, "failure{id}"),
            Key::Delay(id) => write!(f, "delay{id}"),
            Key::Callback(url) => write!(f, "callback/{}", url.as_str()),
            Key::Events => f.write_str("events"),
        }
    }
}

impl Key {
    pub fn parse(text: &str) -> Result<Key, RecordError> {
        let (kind, rest) = text.split_at(text.find('/').unwrap_or(text.len()));
        let bad = |part| RecordError::Key { key: text.to_owned(), part };
        let path = |text: &str| canonical(text).ok_or_else(|| bad("path"));
        let time = |text: &str| text.parse().map(Timestamp).map_err(|_| bad("version"));
        let versioned = || {
            let (id, version) = rest.rsplit_once('@').ok_or_else(|| bad("version"))?;
            Ok::<_, RecordError>((path(id)?, time(version)?))
        };
        let inner = || rest.get(1..).unwrap_or_default();
        let deployment = || inner().parse().map(DeploymentId).map_err(|_| bad("deployment id"));
        let key = match kind {
            "format" if rest.is_empty() => Key::Format,
            "framework" if rest.is_empty() => Key::Framework,
            "began" if rest.is_empty() => Key::Began,
            "root" => Key::Root(time(inner())?),
            "app" => versioned().map(|(id, version)| Key::App(id, version))?,
            "group" => versioned().map(|(id, version)| Key::Group(id, version))?,
            "instance" => Key::Instance(InstanceId::parse(inner()).map_err(|_| bad("instance id"))?),
            "deployment" => Key::Deployment(deployment()?),
            "progress" => Key::Progress(deployment()?),
            "failed" => Key::Failed(deployment()?),
            "failure" => Key::Failure(path(rest)?),
            "callback" => {
                let url = CallbackUrl::parse(inner()).ok().filter(|it| it.as_str() == inner());
                Key::Callback(url.ok_or_else(|| bad("URL"))?)
            }
            "events" if rest.is_empty() => Key::Events,
            "delay" => Key::Delay(path(rest)?),
            _ => return Err(RecordError::Kind { key: text.to_owned() }),
        };
        Ok(key)
    }
}

/// A path in exactly the form in which we write it.
fn canonical(text: &str) -> Option<PathId> {
    PathId::parse(text).ok().filter(|it| it.as_str() == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_round_trip() {
        for text in [
            "format",
            "framework",
            "began",
            "root/1700000000000",
            "app/shop/cart@1700000000000",
            "group/@0",
            "group/shop@-1",
            "instance/shop_cart.instance-0c1e6f10-7ccb-11eb-9a1c-0242ac110002",
            "deployment/0c1e6f10-7ccb-11eb-9a1c-0242ac110002",
            "progress/0c1e6f10-7ccb-11eb-9a1c-0242ac110002",
            "failed/0c1e6f10-7ccb-11eb-9a1c-0242ac110002",
            "failure/shop/cart",
            "delay/shop",
            "callback/http://u:p@a.example:80/x@y?z",
            "events",
        ] {
            assert_eq!(Key::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn strange_keys_are_refused_by_name() {
        for (text, want) in [
            ("", "the stored record `` is of no known kind"),
            ("format/", "the stored record `format/` is of no known kind"),
            ("pod/a@1", "the stored record `pod/a@1` is of no known kind"),
            ("app", "the key of the stored record `app` has no legal version"),
            ("app/a", "the key of the stored record `app/a` has no legal version"),
            ("app/a@x", "the key of the stored record `app/a@x` has no legal version"),
            ("app/A@1", "the key of the stored record `app/A@1` has no legal path"),
            ("app//a@1", "the key of the stored record `app//a@1` has no legal path"),
            ("app/a/../b@1", "the key of the stored record `app/a/../b@1` has no legal path"),
            ("root", "the key of the stored record `root` has no legal version"),
            ("failure", "the key of the stored record `failure` has no legal path"),
            ("instance/x", "the key of the stored record `instance/x` has no legal instance id"),
            ("callback/ftp://a", "the key of the stored record `callback/ftp://a` has no legal URL"),
            ("deployment/", "the key of the stored record `deployment/` has no legal deployment id"),
        ] {
            assert_eq!(Key::parse(text).unwrap_err().to_string(), want);
        }
    }
}
