//! What a client wants to see beside the definition: values of the `embed` parameter.

use std::ops::BitOr;

/// Which computed fields an app is shown with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Embed(u8);

impl Embed {
    pub const NONE: Embed = Embed(0);
    pub const COUNTS: Embed = Embed(1);
    pub const DEPLOYMENTS: Embed = Embed(2);
    pub const READINESS: Embed = Embed(4);
    pub const TASKS: Embed = Embed(8);
    pub const LAST_TASK_FAILURE: Embed = Embed(16);
    pub const TASK_STATS: Embed = Embed(32);

    /// Always part of `GET /v2/apps`.
    pub const LIST: Embed = Embed(Embed::COUNTS.0 | Embed::DEPLOYMENTS.0);
    /// Always part of `GET /v2/apps/{id}` and `…/*`.
    pub const SINGLE: Embed = Embed(Embed::LIST.0 | Embed::TASKS.0 | Embed::LAST_TASK_FAILURE.0);

    /// Reads the values of all `embed` parameters; unknown ones are ignored.
    pub fn parse<T: AsRef<str>>(values: impl IntoIterator<Item = T>) -> Embed {
        values.into_iter().fold(Embed::NONE, |all, value| all | Embed::of(value.as_ref()))
    }

    fn of(value: &str) -> Embed {
        let name =
            ["group.apps.", "apps.", "app."].iter().find_map(|it| value.strip_prefix(it)).unwrap_or(value);
        match name {
            "tasks" => Embed::TASKS | Embed::DEPLOYMENTS,
            "counts" => Embed::COUNTS,
            "deployments" => Embed::DEPLOYMENTS,
            "readiness" => Embed::READINESS,
            "lastTaskFailure" => Embed::LAST_TASK_FAILURE,
            "failures" => Embed::TASKS | Embed::LAST_TASK_FAILURE | Embed::DEPLOYMENTS,
            "taskStats" => Embed::TASK_STATS,
            _ => Embed::NONE,
        }
    }

    pub fn has(self, part: Embed) -> bool {
        self.0 & part.0 == part.0
    }
}

impl BitOr for Embed {
    type Output = Embed;
    fn bitor(self, other: Embed) -> Embed {
        Embed(self.0 | other.0)
    }
}

/// What a group is shown with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupEmbed {
    pub groups: bool,
    pub apps: bool,
    pub pods: bool,
    /// What each app is shown with, if apps are shown.
    pub app: Embed,
}

impl GroupEmbed {
    pub const ALL: GroupEmbed = GroupEmbed { groups: true, apps: true, pods: true, app: Embed::NONE };

    /// Reads the values of all `embed` parameters. Without any, all is shown; with any, only what they
    /// name (`group.apps.tasks` alone does not ask for the apps themselves).
    pub fn parse<T: AsRef<str>>(values: impl IntoIterator<Item = T>) -> GroupEmbed {
        let mut values = values.into_iter().peekable();
        if values.peek().is_none() {
            return GroupEmbed::ALL;
        }
        let none = GroupEmbed { groups: false, apps: false, pods: false, app: Embed::NONE };
        values.fold(none, |all, value| match value.as_ref() {
            "group.groups" => GroupEmbed { groups: true, ..all },
            "group.apps" => GroupEmbed { apps: true, ..all },
            "group.pods" => GroupEmbed { pods: true, ..all },
            other => GroupEmbed { app: all.app | Embed::of(other), ..all },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_any_prefix() {
        for (values, want) in [
            (&["tasks"][..], Embed::TASKS | Embed::DEPLOYMENTS),
            (&["apps.tasks"], Embed::TASKS | Embed::DEPLOYMENTS),
            (&["app.counts", "group.apps.readiness"], Embed::COUNTS | Embed::READINESS),
            (&["failures"], Embed::TASKS | Embed::DEPLOYMENTS | Embed::LAST_TASK_FAILURE),
            (&["apps.taskStats", "lastTaskFailure"], Embed::TASK_STATS | Embed::LAST_TASK_FAILURE),
            (&["apps.apps.tasks", "Tasks", ""], Embed::NONE),
            (&[], Embed::NONE),
        ] {
            assert_eq!(Embed::parse(values), want, "{values:?}");
        }
    }

    #[test]
    fn a_group_shows_all_or_what_is_named() {
        let none = GroupEmbed { groups: false, apps: false, pods: false, app: Embed::NONE };
        for (values, want) in [
            (&[][..], GroupEmbed::ALL),
            (&["group.groups"], GroupEmbed { groups: true, ..none }),
            (&["group.apps", "group.apps.counts"], GroupEmbed { apps: true, app: Embed::COUNTS, ..none }),
            (&["group.pods"], GroupEmbed { pods: true, ..none }),
            (&["group.apps.counts"], GroupEmbed { app: Embed::COUNTS, ..none }),
            (&["nonsense"], none),
        ] {
            assert_eq!(GroupEmbed::parse(values), want, "{values:?}");
        }
    }
}
