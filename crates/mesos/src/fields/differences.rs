//! The deliberate differences.

/// Where ours differ, and why. `only ours`: a field that the recorder left out; `only theirs`: one that we leave out.
pub const DIFFERENCES: &[(&str, &str)] = &[
    (
        "ACCEPT accept filters: only ours",
        "without it Mesos keeps the rest of the offer from us for 5 s; it is wanted back at once",
    ),
    (
        "ACCEPT accept operations create volumes disk persistence principal: only ours",
        "the principal of the framework; a master with authentication demands it",
    ),
    (
        "ACCEPT accept operations launch task_infos command environment: only ours",
        "there always is one; an app has variables of Marathon",
    ),
    (
        "ACCEPT accept operations launch task_infos command shell: only ours",
        "said rather than left to the default",
    ),
    (
        "ACCEPT accept operations launch task_infos command uris cache: only ours",
        "said rather than left to the default",
    ),
    (
        "ACCEPT accept operations launch task_infos command uris executable: only ours",
        "said rather than left to the default",
    ),
    (
        "ACCEPT accept operations launch task_infos command uris extract: only ours",
        "said rather than left to the default",
    ),
    (
        "ACCEPT accept operations launch task_infos command value: another value",
        "`args` of an app name the program once: it is value and first argument",
    ),
    (
        "ACCEPT accept operations launch task_infos discovery name: another value",
        "always the name of the task, by which Mesos-DNS finds it",
    ),
    (
        "ACCEPT accept operations launch task_infos discovery: only ours",
        "every app is found by its name, also without ports",
    ),
    (
        "ACCEPT accept operations launch task_infos health_check consecutive_failures: only ours",
        "said rather than left to the default",
    ),
    (
        "ACCEPT accept operations launch task_infos health_check delay_seconds: only ours",
        "said rather than left to the default",
    ),
    (
        "ACCEPT accept operations launch task_infos health_check grace_period_seconds: only ours",
        "said rather than left to the default",
    ),
    (
        "ACCEPT accept operations launch task_infos health_check timeout_seconds: only ours",
        "said rather than left to the default",
    ),
    ("ACCEPT accept operations launch task_infos labels: only ours", "there always are some, perhaps none"),
    (
        "ACCEPT accept operations launch task_infos resources role: only ours",
        "a copy of what the offer listed, every word of it",
    ),
    (
        "ACCEPT accept operations launch_group executor executor_id value: another value",
        "that of the instance, as operators know it",
    ),
    (
        "ACCEPT accept operations launch_group executor resources: another number",
        "host ports are held by the executor, whose network they belong to",
    ),
    ("ACCEPT accept operations launch_group task_group tasks command environment: only ours", "as with apps"),
    (
        "ACCEPT accept operations launch_group task_group tasks container: only ours",
        "says share_cgroups=false: limits of a container are its own",
    ),
    ("ACCEPT accept operations launch_group task_group tasks discovery: only ours", "as with apps"),
    ("ACCEPT accept operations launch_group task_group tasks labels: only ours", "as with apps"),
    (
        "ACCEPT accept operations launch_group task_group tasks resources: another number",
        "host ports are held by the executor",
    ),
    (
        "ACCEPT accept operations reserve resources reservation labels: only ours",
        "they say whose instance it is; a reservation here without any came from none",
    ),
    (
        "ACCEPT accept operations reserve resources reservation: only ours",
        "the older form, as we do not announce RESERVATION_REFINEMENT: one reservation on top of none is all we make",
    ),
    ("ACCEPT accept operations reserve resources reservations: only theirs", "as above"),
    ("ACCEPT accept operations reserve resources role: only ours", "as above"),
    ("REVIVE revive: only ours", "roles are always named: each has a demand of its own"),
    ("SUPPRESS suppress: only ours", "as above"),
    (
        "SUBSCRIBE subscribe framework_info capabilities type: another value",
        "PARTITION_AWARE, REGION_AWARE and MULTI_ROLE always; no RESERVATION_REFINEMENT",
    ),
    ("SUBSCRIBE subscribe framework_info capabilities: another number", "as above"),
    ("SUBSCRIBE subscribe framework_info hostname: only ours", "shown by Mesos"),
    ("SUBSCRIBE subscribe framework_info webui_url: only ours", "the link in Mesos's interface"),
    (
        "UPDATE_FRAMEWORK update_framework framework_info capabilities type: another value",
        "PARTITION_AWARE, REGION_AWARE and MULTI_ROLE always; no RESERVATION_REFINEMENT",
    ),
    ("UPDATE_FRAMEWORK update_framework framework_info capabilities: another number", "as above"),
    ("UPDATE_FRAMEWORK update_framework framework_info hostname: only ours", "shown by Mesos"),
    (
        "UPDATE_FRAMEWORK update_framework framework_info webui_url: only ours",
        "the link in Mesos's interface",
    ),
    ("SUBSCRIBE subscribe framework_info capabilities: only ours", "as above"),
    ("SUBSCRIBE subscribe framework_info checkpoint: only ours", "said rather than left to the default"),
    (
        "SUBSCRIBE subscribe framework_info failover_timeout: only ours",
        "said rather than left to the default",
    ),
    ("SUBSCRIBE subscribe framework_info role: only theirs", "MULTI_ROLE frameworks have `roles`"),
    ("SUBSCRIBE subscribe framework_info roles: another value", "in the order of their names"),
    (
        "UPDATE_FRAMEWORK update_framework offer_constraints: only theirs",
        "only with --mesos_offer_constraints: tests/engine/filter.rs",
    ),
];
