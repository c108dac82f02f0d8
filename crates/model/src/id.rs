//! Identifiers: paths of apps and groups, instances, tasks, deployments.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A path that was checked once: absolute, canonical, every segment legal.
///
/// `/` is the root group. Cloning shares the text.
#[derive(Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct PathId(Arc<str>);

/// Mostly the two share their text, and need not be read.
impl Ord for PathId {
    fn cmp(&self, other: &PathId) -> Ordering {
        if Arc::ptr_eq(&self.0, &other.0) { Ordering::Equal } else { self.0.cmp(&other.0) }
    }
}

impl PartialOrd for PathId {
    fn partial_cmp(&self, other: &PathId) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Checked here too: what was edited in a store by hand must not become an impossible path.
impl<'de> Deserialize<'de> for PathId {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<PathId, D::Error> {
        let text = <Arc<str>>::deserialize(from)?;
        match PathId::parse(&text) {
            Ok(path) if *path.0 == *text => Ok(path),
            _ => Err(serde::de::Error::custom(format_args!("`{text}` is no path"))),
        }
    }
}

/// The path of an app or a pod: what is run.
pub type SpecId = PathId;
/// The path of a group.
pub type GroupId = PathId;

/// Why a text is no path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    #[error("must fully match regular expression '{SEGMENT_PATTERN}'")]
    Segment { segment: String },
}

/// The original's pattern of one path segment, quoted in error messages.
pub const SEGMENT_PATTERN: &str =
    r"^(([a-z0-9]|[a-z0-9][a-z0-9\-]*[a-z0-9])\.)*([a-z0-9]|[a-z0-9][a-z0-9\-]*[a-z0-9])|(\.|\.\.)$";

impl PathId {
    pub fn root() -> PathId {
        PathId("/".into())
    }

    /// Reads an absolute or relative path; a relative one is resolved against `base`.
    ///
    /// Surrounding and doubled slashes are dropped, `.` and `..` are walked.
    pub fn resolve(text: &str, base: &PathId) -> Result<PathId, PathError> {
        let mut segments: Vec<&str> =
            if text.starts_with('/') { Vec::new() } else { base.segments().collect() };
        for segment in text.split('/').filter(|it| !it.is_empty()) {
            match segment {
                "." => {}
                ".." => drop(segments.pop()),
                _ if is_segment(segment) => segments.push(segment),
                _ => return Err(PathError::Segment { segment: segment.to_owned() }),
            }
        }
        Ok(PathId::from_segments(segments))
    }

    /// Reads a path as it stands in a URL: always absolute, whatever slashes surround it.
    pub fn parse(text: &str) -> Result<PathId, PathError> {
        PathId::resolve(text, &PathId::root())
    }

    fn from_segments<'a>(segments: impl IntoIterator<Item = &'a str>) -> PathId {
        let mut text = String::new();
        for segment in segments {
            text.push('/');
            text.push_str(segment);
        }
        if text.is_empty() { PathId::root() } else { PathId(text.into()) }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn is_root(&self) -> bool {
        &*self.0 == "/"
    }

    pub fn segments(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/').filter(|it| !it.is_empty())
    }

    /// The last segment; empty for the root.
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }

    /// The enclosing group; the root encloses itself.
    pub fn parent(&self) -> PathId {
        match self.0.rfind('/') {
            Some(0) | None => PathId::root(),
            Some(at) => PathId(self.0[..at].into()),
        }
    }

    /// All enclosing groups from the root down, without the path itself.
    pub fn ancestors(&self) -> Vec<PathId> {
        let mut all = vec![PathId::root()];
        let bytes = self.0.as_bytes();
        all.extend((1..bytes.len()).filter(|&at| bytes[at] == b'/').map(|at| PathId(self.0[..at].into())));
        if self.is_root() { Vec::new() } else { all }
    }

    /// The group just below the root that the path lies in, if it lies in one.
    pub fn top(&self) -> Option<PathId> {
        let at = 1 + self.0[1..].find('/')?;
        Some(PathId(self.0[..at].into()))
    }

    /// Whether `self` lies below `group` (at any depth; a path is not below itself).
    pub fn is_below(&self, group: &PathId) -> bool {
        if group.is_root() {
            return !self.is_root();
        }
        self.0.len() > group.0.len()
            && self.0.starts_with(&*group.0)
            && self.0.as_bytes()[group.0.len()] == b'/'
    }

    /// `/a/b` as `a_b`: the form used in task ids. Reversible, since `_` is not legal in a path.
    pub fn safe(&self) -> String {
        self.0[1..].replace('/', "_")
    }

    /// `/a/b` as `b.a`: the form used for task names and service discovery.
    pub fn host_name(&self) -> String {
        self.segments().rev().collect::<Vec<_>>().join(".")
    }

    /// Reads the safe form back.
    pub fn from_safe(text: &str) -> Result<PathId, PathError> {
        PathId::parse(&text.replace('_', "/"))
    }
}

/// Lower-case letters, digits, inner hyphens, in labels separated by dots.
fn is_segment(text: &str) -> bool {
    text.split('.').all(|label| {
        let ok = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
        let bytes = label.as_bytes();
        match bytes {
            [] => false,
            [only] => ok(*only),
            [first, inner @ .., last] => ok(*first) && ok(*last) && inner.iter().all(|&c| ok(c) || c == b'-'),
        }
    })
}

impl fmt::Display for PathId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PathId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One scheduled copy of an app: `<safe path>.instance-<uuid>`.
///
/// Ordered by spec first, so the instances of one app lie together.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InstanceId {
    pub spec: SpecId,
    pub uuid: uuid::Uuid,
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, segment) in self.spec.segments().enumerate() {
            if at > 0 {
                f.write_str("_")?;
            }
            f.write_str(segment)?;
        }
        write!(f, ".instance-{}", self.uuid.as_hyphenated())
    }
}

impl fmt::Debug for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not the id of a task or an instance.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Not of the shape of any task id.
    #[error("{0} no valid identifier")]
    Shape(String),
    /// The right shape, but the part that should be a UUID is none.
    #[error("Invalid UUID string: {0}")]
    Uuid(String),
}

impl InstanceId {
    /// Reads `<safe>.instance-<uuid>` (and `<safe>.marathon-<uuid>` of older releases).
    pub fn parse(text: &str) -> Result<InstanceId, IdError> {
        let shape = || IdError::Shape(text.to_owned());
        let at = text.rfind(".instance-").or_else(|| text.rfind(".marathon-")).ok_or_else(shape)?;
        let (safe, uuid) = (&text[..at], &text[at + ".instance-".len()..]);
        let uuid = uuid::Uuid::parse_str(uuid).map_err(|_| IdError::Uuid(uuid.to_owned()))?;
        let spec = PathId::from_safe(safe).map_err(|_| shape())?;
        Ok(InstanceId { spec, uuid })
    }
}

/// One start of one container of an instance: `<instance>.<container>.<incarnation>`.
///
/// Apps have a single container named `_app`. The incarnation starts at 1 and grows with every start,
/// so a task id is never used twice.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TaskId {
    pub instance: InstanceId,
    /// `None` for apps; the container's name for pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<Arc<str>>,
    pub incarnation: u32,
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let container = self.container.as_deref().unwrap_or("_app");
        write!(f, "{}.{container}.{}", self.instance, self.incarnation)
    }
}

impl fmt::Debug for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TaskId {
    /// Reads an id of 1.8 and later; ids of earlier releases name no task of ours.
    pub fn parse(text: &str) -> Result<TaskId, IdError> {
        let shape = || IdError::Shape(text.to_owned());
        let (rest, incarnation) = text.rsplit_once('.').ok_or_else(shape)?;
        let Ok(incarnation) = incarnation.parse::<u32>() else {
            // `<safe>.<uuid>` of old releases: a legal id that no longer names anything.
            let uuid = incarnation.strip_prefix("instance-").unwrap_or(incarnation);
            return match uuid::Uuid::parse_str(uuid) {
                Ok(_) => Err(shape()),
                Err(_) => Err(IdError::Uuid(uuid.to_owned())),
            };
        };
        let (instance, container) = rest.rsplit_once('.').ok_or_else(shape)?;
        let instance = InstanceId::parse(instance)?;
        let container = if container == "_app" { None } else { Some(container.into()) };
        Ok(TaskId { instance, container, incarnation })
    }
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Arc<str>);

        impl Ord for $name {
            fn cmp(&self, other: &Self) -> Ordering {
                if Arc::ptr_eq(&self.0, &other.0) { Ordering::Equal } else { self.0.cmp(&other.0) }
            }
        }

        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl $name {
            pub fn new(text: impl Into<Arc<str>>) -> Self {
                $name(text.into())
            }
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id!(
    /// An offer, named by the engine.
    OfferId
);
text_id!(
    /// An agent, named by the engine.
    AgentId
);
text_id!(
    /// This Marathon as the engine knows it; kept for its whole life.
    FrameworkId
);

/// A deployment.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DeploymentId(pub uuid::Uuid);

impl fmt::Display for DeploymentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

impl fmt::Debug for DeploymentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Who waits for the reply to a command. Numbers are never reused within one run of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str, base: &str) -> String {
        match PathId::resolve(text, &PathId::parse(base).unwrap()) {
            Ok(path) => path.to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn paths_resolve_like_the_original() {
        for (text, base, want) in [
            ("c", "/a/b", "/a/b/c"),
            ("../c", "/a/b", "/a/c"),
            ("/c", "/a/b", "/c"),
            ("../../../x", "/a/b", "/x"),
            ("./c/../d", "/a/b", "/a/b/d"),
            ("/a//b/", "/", "/a/b"),
            ("", "/", "/"),
            ("a.b-c/d9", "/", "/a.b-c/d9"),
        ] {
            assert_eq!(path(text, base), want, "{text} in {base}");
        }
    }

    #[test]
    fn illegal_segments_are_refused() {
        for text in ["A", "a_b", "-a", "a-", "a..b", "ä", "a b", ".a"] {
            assert!(PathId::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn kinship() {
        let p = |text: &str| PathId::parse(text).unwrap();
        assert!(p("/a/b").is_below(&p("/a")) && p("/a").is_below(&PathId::root()));
        assert!(
            !p("/ab").is_below(&p("/a"))
                && !p("/a").is_below(&p("/a"))
                && !PathId::root().is_below(&PathId::root())
        );
        assert_eq!(p("/a/b/c").ancestors(), [p("/"), p("/a"), p("/a/b")]);
        assert_eq!(p("/a").parent(), PathId::root());
        assert_eq!((p("/a/b").safe().as_str(), p("/a/b").host_name().as_str()), ("a_b", "b.a"));
    }

    #[test]
    fn task_ids_round_trip() {
        let text = "shop_cart.instance-0c1e6f10-7ccb-11eb-9a1c-0242ac110002._app.3";
        let id = TaskId::parse(text).unwrap();
        assert_eq!(
            (id.to_string().as_str(), id.incarnation, id.instance.spec.as_str()),
            (text, 3, "/shop/cart")
        );
        let pod = "shop.instance-0c1e6f10-7ccb-11eb-9a1c-0242ac110002.web.1";
        assert_eq!(TaskId::parse(pod).unwrap().container.as_deref(), Some("web"));
        assert!(matches!(TaskId::parse("zzz"), Err(IdError::Shape(_))));
        assert!(matches!(TaskId::parse("a.instance-zzz._app.1"), Err(IdError::Uuid(_))));
    }
}
