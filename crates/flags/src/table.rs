//! Every flag, once.

use std::ops::RangeInclusive;

use crate::check;

#[derive(Debug, Clone, Copy)]
pub struct Flag {
    pub name: &'static str,
    pub kind: Kind,
    pub default: Preset,
    pub group: Group,
    pub status: Status,
    pub help: &'static str,
    /// Never shown in logs, messages or `/v2/info`.
    pub secret: bool,
}

#[derive(Debug, Clone, Copy)]
pub enum Kind {
    Value(Type),
    /// `--name` or `--disable_name`.
    Toggle,
    /// `--name`, without a counterpart.
    Switch,
}

#[derive(Debug, Clone, Copy)]
pub enum Type {
    Text,
    Path,
    /// Separated by commas; blanks around entries are dropped, and so are empty entries.
    List,
    Number(RangeInclusiveI64),
    Millis,
    Seconds,
    Bytes,
    Port,
    /// Whatever case.
    OneOf(&'static [&'static str]),
    /// A text with a form of its own: its name in the help, and the test.
    Form(&'static str, fn(&str) -> Result<(), String>),
}

/// `RangeInclusive` is not `Copy`.
#[derive(Debug, Clone, Copy)]
pub struct RangeInclusiveI64 {
    pub least: i64,
    pub most: i64,
}

impl RangeInclusiveI64 {
    pub const fn of(range: RangeInclusive<i64>) -> RangeInclusiveI64 {
        RangeInclusiveI64 { least: *range.start(), most: *range.end() }
    }
}

#[derive(Debug, Clone, Copy)]
pub enum Preset {
    None,
    /// In the form in which it would be given.
    Is(&'static str),
    /// Found at start; the text says how.
    Found(&'static str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Does what it does in the original.
    Same,
    /// Accepted without effect, and why.
    Ignored(&'static str),
    /// Removed from the original; accepted with a warning.
    Gone { since: &'static str, why: &'static str },
    /// The original does not have it.
    Ours,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    Cluster,
    Local,
    Storage,
    Leadership,
    Http,
    Events,
    Tasks,
    Offers,
    Internal,
    Monitoring,
    Plugins,
}

impl Group {
    pub const ALL: [Group; 11] = [
        Group::Cluster,
        Group::Local,
        Group::Storage,
        Group::Leadership,
        Group::Http,
        Group::Events,
        Group::Tasks,
        Group::Offers,
        Group::Monitoring,
        Group::Plugins,
        Group::Internal,
    ];

    pub fn title(self) -> &'static str {
        match self {
            Group::Cluster => "Cluster and framework",
            Group::Local => "The embedded engine (--master local)",
            Group::Storage => "State and ZooKeeper",
            Group::Leadership => "Leadership and proxying",
            Group::Http => "HTTP",
            Group::Events => "Events",
            Group::Tasks => "Tasks and deployments",
            Group::Offers => "Offers and placement",
            Group::Internal => "Inner limits",
            Group::Monitoring => "Logs and metrics",
            Group::Plugins => "Plugins",
        }
    }
}

impl Flag {
    /// The environment variable; camelCase names have none, as in the original.
    pub fn variable(&self) -> Option<String> {
        if self.name.bytes().any(|c| c.is_ascii_uppercase()) {
            return None;
        }
        Some(format!("MARATHON_{}", self.name.to_ascii_uppercase()))
    }

    pub fn unit(&self) -> Option<&'static str> {
        match self.kind {
            Kind::Value(Type::Millis) => Some("ms"),
            Kind::Value(Type::Seconds) => Some("s"),
            Kind::Value(Type::Bytes) => Some("bytes"),
            _ => None,
        }
    }

    /// The word for the value in the help.
    pub fn placeholder(&self) -> Option<&'static str> {
        let Kind::Value(kind) = self.kind else { return None };
        Some(match kind {
            Type::Text => "TEXT",
            Type::Path => "PATH",
            Type::List => "A,B,…",
            Type::Number(_) => "N",
            Type::Millis => "MS",
            Type::Seconds => "SECONDS",
            Type::Bytes => "BYTES",
            Type::Port => "PORT",
            Type::OneOf(_) => "WORD",
            Type::Form(name, _) => name,
        })
    }

    /// Whether `text` is a value of this flag; the error is the reason alone.
    pub fn check(&self, text: &str) -> Result<(), String> {
        let Kind::Value(kind) = self.kind else { return Ok(()) };
        match kind {
            Type::Text | Type::List => Ok(()),
            Type::Path if text.is_empty() => Err("must not be empty".to_owned()),
            Type::Path => Ok(()),
            Type::Number(range) => check::whole(text, range.least, range.most),
            Type::Millis | Type::Seconds | Type::Bytes => check::whole(text, 0, i64::MAX),
            Type::Port => check::whole(text, 0, 65535),
            Type::OneOf(words) if words.iter().any(|it| it.eq_ignore_ascii_case(text)) => Ok(()),
            Type::OneOf(words) => Err(format!("must be one of {}", words.join(", "))),
            Type::Form(_, test) => test(text),
        }
    }
}

pub fn find(name: &str) -> Option<(usize, &'static Flag)> {
    FLAGS.iter().enumerate().find(|(_, it)| it.name == name)
}

const fn numbers(range: RangeInclusive<i64>) -> Kind {
    Kind::Value(Type::Number(RangeInclusiveI64::of(range)))
}
const fn form(name: &'static str, test: fn(&str) -> Result<(), String>) -> Kind {
    Kind::Value(Type::Form(name, test))
}
const fn one_of(words: &'static [&'static str]) -> Kind {
    Kind::Value(Type::OneOf(words))
}

use Kind::{Switch, Toggle};
use Preset::{Found, Is, None as Unset};
use Status::{Gone, Ignored, Ours, Same};

const TEXT: Kind = Kind::Value(Type::Text);
const PATH: Kind = Kind::Value(Type::Path);
const LIST: Kind = Kind::Value(Type::List);
const MILLIS: Kind = Kind::Value(Type::Millis);
const SECONDS: Kind = Kind::Value(Type::Seconds);
const BYTES: Kind = Kind::Value(Type::Bytes);
const PORT: Kind = Kind::Value(Type::Port);
/// Any count.
const COUNT: Kind = numbers(0..=i32::MAX as i64);
const SOME: Kind = numbers(1..=i32::MAX as i64);
const ON: Preset = Is("on");
const OFF: Preset = Is("off");

const PUSH: Status =
    Ignored("metrics are pulled from /metrics and /metrics/prometheus; pushing arrives later");
const THREADS: Status = Ignored("sized a thread pool of the JVM");
const INNER: Status = Ignored("tuned a part of the original that does not exist here");
const LOADED: Status = Ignored("all state is kept in memory");
const JARS: Status =
    Ignored("plugins are JVM classes and cannot be loaded; the server refuses to start with them");

macro_rules! table {
    ($($group:ident { $($name:literal $kind:expr, $default:expr, $status:expr, $help:literal $(, $secret:ident)?;)* })*) => {
        &[$($(Flag {
            name: $name,
            kind: $kind,
            default: $default,
            group: Group::$group,
            status: $status,
            help: $help,
            secret: table!(@ $($secret)?),
        },)*)*]
    };
    (@) => { false };
    (@ secret) => { true };
}

pub static FLAGS: &[Flag] = table! {
Cluster {
    "master" form("MASTER", check::master), Unset, Same,
        "What runs the tasks: 'local' for this machine, or a Mesos master as zk://host:port,…/path, host:port or http(s)://host:port. The only flag that must be given.";
    "framework_name" TEXT, Is("marathon"), Same, "The name shown in /v2/info and to the cluster.";
    "hostname" TEXT, Found("the host name of this machine"), Same,
        "The address under which this server is known to others.";
    "webui_url" TEXT, Unset, Same, "The address of the user interface that the cluster shows; made from --hostname when not given.";
    "checkpoint" Toggle, ON, Same, "Tasks outlive a restart of Marathon (and of the agent).";
    "failover_timeout" SECONDS, Is("604800"), Same, "How long tasks keep running while Marathon is away; only with --checkpoint.";
    "mesos_role" TEXT, Unset, Same, "The role in the cluster whose resources may be used besides the unreserved ones ('*').";
    "mesos_user" TEXT, Found("the user of this process"), Same, "The user that runs tasks of apps that name none.";
    "executor" TEXT, Is("//cmd"), Same, "The executor of apps that name none; '//cmd' runs the command itself.";
    "mesos_leader_ui_url" TEXT, Unset, Same, "The address of the Mesos interface shown in /v2/info.";
    "default_network_name" form("NAME", check::network_name), Unset, Same, "The network of container networks that name none.";
    "mesos_bridge_name" form("NAME", check::network_name), Is("mesos-bridge"), Same, "The network behind container/bridge of the Mesos containerizer.";
    "mesos_authentication" Toggle, OFF, Same, "Authenticate towards the Mesos master, by HTTP basic authentication. A secret switches it on, too.";
    "mesos_authentication_principal" TEXT, Unset, Same, "The principal towards the Mesos master, also recorded in reservations.";
    "mesos_authentication_secret" TEXT, Unset, Same, "The secret of the principal.", secret;
    "mesos_authentication_secret_file" PATH, Unset, Same, "A file that holds the secret; every byte counts.";
    "mesos_heartbeat_interval" MILLIS, Is("15000"), Same, "After so long a silence the Mesos master is asked for a sign of life.";
    "mesos_heartbeat_failure_threshold" SOME, Is("5"), Same, "Silent intervals after which the connection counts as lost.";
    "mesos_tls" Toggle, OFF, Ours, "Speak TLS with masters that ZooKeeper names. An address given as https://… needs no flag.";
    "mesos_ca_file" PATH, Unset, Ours, "Certificates (PEM) to trust instead of those of the system when speaking TLS with a Mesos master.";
    "mesos_encoding" one_of(&["protobuf", "json"]), Is("protobuf"), Ours, "How messages to and from the Mesos master are written; JSON is for people who watch the wire.";
    "mesos_replace_framework" TEXT, Unset, Ours, "The id of a framework that Mesos has removed. If it is the stored one, register as a new framework, whose tasks are all started anew.";
}
Local {
    "local_resources" form("RESOURCES", check::resources), Found("what this machine has; ports:[31000-32000]"), Ours,
        "What the embedded engine offers, in Mesos's form: cpus:4;mem:8192;disk:10000;gpus:1;ports:[31000-32000], with a role as cpus(prod):2. Kinds not named are found.";
    "local_attributes" form("ATTRIBUTES", check::attributes), Unset, Ours, "Attributes for constraints: rack:r1;zone:z1.";
    "local_isolation" one_of(&["auto", "none"]), Is("auto"), Ours,
        "auto: limit tasks by cgroups where permitted; none: no limits.";
    "local_cpu_limit" one_of(&["hard", "soft"]), Is("hard"), Ours,
        "hard: a task never gets more cpu than it asked for; soft: it may use what is idle.";
    "local_log_bytes" BYTES, Is("10485760"), Ours, "stdout and stderr of a task are rotated at this size.";
    "local_log_files" numbers(0..=100), Is("9"), Ours, "Rotated files kept beside each of them.";
    "local_docker_socket" PATH, Is("/var/run/docker.sock"), Ours, "Where the Docker Engine listens.";
    "local_fetch_cache_bytes" BYTES, Is("2147483648"), Ours, "The size of the cache of fetched URIs.";
    "local_seccomp_dir" PATH, Found("<data_dir>/seccomp"), Ours,
        "A folder with seccomp profiles in Docker's form, for linuxInfo.seccomp.profileName.";
    "secret_dir" PATH, Found("<data_dir>/secrets"), Ours,
        "A folder with one file a secret; the source of a secret is the path below it.";
    "secret_command" PATH, Unset, Ours,
        "A program that knows the secrets, in place of --secret_dir: it gets the source as its argument and writes the value to its standard output.";
}
Storage {
    "data_dir" PATH, Found("/var/lib/marathon for root, else $XDG_STATE_HOME/marathon or ~/.local/state/marathon"), Ours,
        "The folder that holds the state and the sandboxes when no --zk is given.";
    "zk" form("ZK", check::zk), Unset, Same,
        "Keep the state in ZooKeeper, and elect one leader among all instances with the same value: zk://[user:password@]host:port[,host:port…]/path.";
    "internal_store_backend" one_of(&["file", "zk", "mem", "mesos_zk"]), Found("zk with --zk, else file"), Same,
        "Where the state is kept. mem: nowhere, it is lost at exit.";
    "zk_max_versions" SOME, Is("50"), Same, "Versions kept of each app and group, whatever the store.";
    "zk_timeout" form("MS", check::some_millis), Is("10000"), Same, "Longest wait for one commit or read.";
    "zk_connection_timeout" form("MS", check::some_millis), Is("10000"), Same, "Time limit of one attempt to reach one server.";
    "zk_session_timeout" form("MS", check::some_millis), Is("10000"), Same, "How fast a dead leader is noticed; a leader that is cut off stops before this has passed.";
    "zk_compression" Toggle, ON, Same, "Compress large nodes.";
    "zk_compression_threshold" BYTES, Is("65536"), Same, "What is at least this long is compressed.";
    "zk_max_node_size" BYTES, Is("1024000"), Same, "Nodes are no larger; what does not fit is split.";
    "zk_max_concurrency" COUNT, Is("32"), Same, "Requests on their way at a time.";
    "zk_operation_max_retries" COUNT, Is("5"), Same, "A request whose answer was lost is repeated so often.";
    "zk_operation_base_retry_sleep_ms" MILLIS, Is("10"), Same, "First pause between repetitions; each doubles it.";
    "store_cache" Toggle, ON, LOADED, "Keep stored objects in memory.";
    "internal_version_caching" Toggle, ON, LOADED, "Keep stored versions in memory.";
    "group_versions_cache_size" COUNT, Is("1000"), LOADED, "Versions of the root group kept in memory.";
    "storage_compaction_interval" SECONDS, Is("30"), Ignored("old versions are dropped as new ones arrive"), "Pause between clean-ups of old versions.";
    "storage_compaction_scan_batch_size" COUNT, Is("32"), Ignored("old versions are dropped as new ones arrive"), "Items per step of the clean-up.";
    "storage_execution_context_size" COUNT, Unset, THREADS, "Threads of the store.";
    "backup_location" form("URI", check::backup), Unset, Ignored("there is nothing to migrate yet"), "Where to write a backup before a migration.", secret;
    "marathon_store_timeout" MILLIS, Unset, Gone { since: "1.4", why: "it had no effect since 0.13" }, "Time limit of store operations.";
    "zk_hosts" TEXT, Unset, Gone { since: "0.9", why: "use --zk" }, "ZooKeeper servers.";
    "zk_state" TEXT, Unset, Gone { since: "0.9", why: "use --zk" }, "Path in ZooKeeper.";
    "gc_actor_scan_batch_size" COUNT, Unset, Gone { since: "1.6", why: "renamed storage_compaction_scan_batch_size" }, "Items per step of the clean-up.";
}
Leadership {
    "ha" Toggle, ON, Same, "Elect one leader among the instances that share a ZooKeeper. Without, the only instance leads at once.";
    "warm_standby" Toggle, ON, Ours, "Followers read along what the leader stores, so that they take over within a moment. Without, they hold nothing, and read the whole state when they take over.";
    "leader_election_backend" one_of(&["curator", "twitter_commons"]), Is("curator"), Ignored("there is one way, and its nodes are those of curator"), "How the leader is elected.";
    "leader_proxy_connection_timeout" MILLIS, Is("5000"), Same, "Time limit to reach the leader.";
    "leader_proxy_read_timeout" MILLIS, Is("10000"), Same, "The longest silence of the leader.";
    "leader_proxy_max_open_connections" COUNT, Is("64"), Same, "Requests passed on at a time.";
    "leader_proxy_ssl_ignore_hostname" Switch, OFF, Ignored("followers reach the leader by HTTP, as this release serves no HTTPS"), "Do not check the leader's certificate for its name.";
    "on_elected_prepare_timeout" MILLIS, Is("180000"), Ignored("loading takes moments, and the session of a leader that hangs runs out"), "Time limit to load the state.";
    "leader_notify" PATH, Unset, Ours,
        "A program to run when this instance begins or ceases to lead: its argument is leader or follower, MARATHON_SELF and MARATHON_LEADER are in its environment.";
    "max_actor_startup_time" MILLIS, Is("10000"), INNER, "Time limit to start the leader's parts.";
    "graceful_shutdown_timeout" MILLIS, Is("45000"), Same, "The longest wait for requests in progress at a stop.";
}
Http {
    "http_address" TEXT, Found("all addresses"), Same, "The address to listen on.";
    "http_port" PORT, Is("8080"), Same, "The port to listen on; 0: any free one.";
    "disable_http" Switch, OFF, Same, "Do not open the HTTP port; needs HTTPS.";
    "https_address" TEXT, Found("all addresses"), Ignored("HTTPS arrives in a later release"), "The address for HTTPS.";
    "https_port" PORT, Is("8443"), Ignored("HTTPS arrives in a later release; shown in /v2/info"), "The port for HTTPS.";
    "ssl_keystore_path" PATH, Unset, Ignored("HTTPS arrives in a later release; the server refuses to start with it"), "The key store that switches HTTPS on. Also MESOSPHERE_KEYSTORE_PATH.";
    "ssl_keystore_password" TEXT, Unset, Ignored("HTTPS arrives in a later release"), "Its password. Also MESOSPHERE_KEYSTORE_PASS.", secret;
    "http_credentials" form("USER:PASSWORD", check::credentials), Unset, Same,
        "Ask for this user and password on every path. Split at the first colon. Also MESOSPHERE_HTTP_CREDENTIALS.", secret;
    "http_realm" form("TEXT", check::realm), Is("Mesosphere"), Same, "The realm of the password question.";
    "http_max_concurrent_requests" COUNT, Unset, Same, "Requests beyond this number at a time get 503; event streams do not count.";
    "http_compression" Toggle, ON, Same, "Compress answers for clients that accept gzip.";
    "access_control_allow_origin" LIST, Unset, Same, "Origins whose scripts may read the API (CORS); '*' means all.";
    "assets_path" PATH, Unset, Ignored("the user interface is part of the binary"), "A folder with the user interface.";
    "max_concurrent_marathon_health_checks" SOME, Is("256"), Same, "Health checks over the network at a time.";
    "feature_akka_http_service_backend" TEXT, Unset, Gone { since: "1.6", why: "there is one HTTP server" }, "An experimental HTTP server.";
}
Events {
    "event_stream_max_outstanding_messages" SOME, Is("1024"), Same, "An event stream that lags behind by more is closed.";
    "event_subscriber" one_of(&["http_callback"]), Unset, Same, "http_callback: post every event to --http_endpoints and to those who subscribe at /v2/eventSubscriptions.";
    "http_endpoints" LIST, Unset, Same, "Addresses (http or https) that get every event; needs --event_subscriber http_callback.";
    "http_event_callback_slow_consumer_timeout" MILLIS, Is("10000"), Same, "A subscriber that takes longer to answer is given a pause, as after a failure.";
    "http_event_request_timeout" MILLIS, Is("10000"), Same, "Time limit of one callback.";
}
Tasks {
    "task_launch_timeout" MILLIS, Is("300000"), Same, "A task that is not running this long after its launch is replaced.";
    "task_launch_confirm_timeout" MILLIS, Is("300000"), Same, "A task of which nothing was heard this long after its launch is replaced.";
    "task_reservation_timeout" form("MILLISECONDS", check::patience), Is("20000"), Same, "A reservation that no offer has shown after this time is given up and tried anew.";
    "reconciliation_initial_delay" MILLIS, Is("15000"), Ignored("tasks are reconciled as soon as the engine is connected"), "First look at all tasks after becoming leader.";
    "reconciliation_interval" MILLIS, Is("600000"), Same, "Pause between such looks.";
    "scale_apps_initial_delay" MILLIS, Is("15000"), Ignored("instances are compared with what is asked for after every event"), "First check of the number of instances of every app.";
    "scale_apps_interval" MILLIS, Is("300000"), Ignored("instances are compared with what is asked for after every event"), "Pause between such checks.";
    "task_lost_expunge_initial_delay" MILLIS, Is("300000"), Ignored("every unreachable instance has its own timer"), "First look for unreachable instances to forget.";
    "task_lost_expunge_interval" MILLIS, Is("30000"), Ignored("every unreachable instance has its own timer"), "Pause between such looks.";
    "kill_chunk_size" SOME, Is("100"), Ignored("kills are not rationed"), "Kills in flight at a time.";
    "kill_retry_timeout" MILLIS, Is("30000"), Same, "A kill that is not confirmed is repeated after this time.";
    "max_running_deployments" SOME, Is("100"), Same, "More deployments at a time are refused with 403.";
    "deployment_deadline" numbers(1..=31_536_000), Unset, Ours,
        "Deployments that are not done after so many seconds give up by themselves (see docs/deployments.md).";
    "deployment_max_failures" COUNT, Unset, Ours,
        "Deployments give up by themselves when more tasks than this failed that they started.";
    "deployment_on_failure" one_of(&["rollback", "stop"]), Is("rollback"), Ours, "What deployments do when they give up by themselves.";
    "env_vars_prefix" TEXT, Unset, Same, "Put before the names of HOST, PORT0 and the like.";
    "max_apps" COUNT, Unset, Ignored("the original dropped it with 1.4"), "An upper limit of apps.";
    "task_lost_expunge_gc" MILLIS, Unset, Gone { since: "1.5", why: "see unreachableStrategy of apps" }, "Age at which lost tasks were forgotten.";
    "kill_retry_max" COUNT, Unset, Gone { since: "1.3", why: "kills are repeated until confirmed" }, "Repetitions of a kill.";
    "killsPerBatch" COUNT, Is("100"), INNER, "Kills per batch.";
    "killBatchDuration" MILLIS, Is("10000"), INNER, "Pause between batches.";
    "minimum_viable_task_execution_duration" MILLIS, Unset, Gone { since: "1.5", why: "it was for one release only" }, "Tuned the launch queue.";
    "executor_health_checks" TEXT, Unset, Gone { since: "0.7", why: "see the MESOS_ health checks of apps" }, "Health checks by the executor.";
}
Offers {
    "default_accepted_resource_roles" LIST, Found("the role and '*'"), Same,
        "Roles of resources that apps use when they do not say: a subset of --mesos_role and '*'.";
    "accepted_resource_roles_default_behavior" one_of(&["any", "unreserved", "reserved"]), Is("any"), Same,
        "any: the app's role and '*'; unreserved: '*' only; reserved: the app's role only.";
    "new_group_enforce_role" one_of(&["off", "top"]), Is("off"), Same, "top: new top-level groups enforce their role.";
    "decline_offer_duration" MILLIS, Is("120000"), Same, "How long a declined offer stays away.";
    "max_instances_per_offer" SOME, Is("5"), Same, "Instances launched from one offer at a time. With --master local, which has one agent only, there is no limit unless this is given.";
    "launch_tokens" SOME, Is("100"), Ignored("launches are not rationed"), "Launches that may be unconfirmed at a time.";
    "launch_token_refresh_interval" MILLIS, Is("30000"), Ignored("launches are not rationed"), "Pause until unconfirmed launches no longer count.";
    "offer_matching_timeout" MILLIS, Is("3000"), Ignored("an offer is matched in microseconds"), "Time limit to match one offer.";
    "min_revive_offers_interval" MILLIS, Is("5000"), Same, "The least pause between two calls for offers. With --master local there is none unless this is given.";
    "suppress_offers" Toggle, ON, Same, "Ask for no offers while nothing waits.";
    "draining_seconds" SECONDS, Is("0"), Same, "Decline offers this long before a maintenance window.";
    "maintenance_mode" Toggle, ON, Same, "Decline offers of agents in maintenance.";
    "gpu_scheduling_behavior" one_of(&["restricted", "unrestricted"]), Is("restricted"), Same, "Whether apps without GPUs may use agents that have some.";
    "local_port_min" numbers(1..=65535), Is("10000"), Same, "The lowest service port that is assigned automatically.";
    "local_port_max" numbers(1..=65535), Is("20000"), Same, "The highest one.";
    "enable_features" form("A,B,…", check::features), Unset, Same,
        "Optional features: vips, task_killing, external_volumes, secrets, gpu_resources.";
    "deprecated_features" form("A,B,…", check::deprecated), Unset, Ignored("older forms are understood without it"), "Keep old behaviour of the original.";
    "max_parallel_offers" COUNT, Unset, INNER, "Offers matched at a time.";
    "max_queued_offers" COUNT, Is("1024"), INNER, "Offers that may wait.";
    "mesos_offer_constraints" Toggle, OFF, Same, "Tell a Mesos master (1.11 and later) the constraints of what waits, so that it offers no agents that do not fit.";
    "min_mesos_offer_constraints_update_interval" MILLIS, Is("1000"), Same, "It is told so at most this often.";
    "max_tasks_per_offer" COUNT, Unset, Gone { since: "1.5", why: "renamed max_instances_per_offer" }, "Tasks launched from one offer.";
    "max_tasks_per_offer_cycle" COUNT, Unset, Gone { since: "1.4", why: "it had no effect since 0.13" }, "Tasks launched per cycle.";
    "save_tasks_to_launch_timeout" MILLIS, Unset, Gone { since: "1.8", why: "launches are stored together" }, "Time limit to store launches.";
    "revive_offers_repetitions" COUNT, Unset, Gone { since: "1.10", why: "offers are asked for until they come" }, "Repetitions of a call for offers.";
    "revive_offers_for_new_apps" Toggle, Unset, Gone { since: "1.10", why: "offers are asked for when something waits" }, "Ask for offers when something waits.";
    "group_role_behavior" TEXT, Unset, Gone { since: "1.9", why: "renamed new_group_enforce_role" }, "Roles of new groups.";
    "artifact_store" TEXT, Unset, Gone { since: "1.5", why: "artifacts were removed" }, "The store behind /v2/artifacts.";
}
Monitoring {
    "logging_level" one_of(&["off", "fatal", "error", "warn", "info", "debug", "trace", "all"]), Is("info"), Same, "What is logged, to stderr.";
    "metrics_name_prefix" form("NAME", check::metric_name), Is("marathon"), Same, "The first part of every metric name.";
    "metrics_prometheus" Toggle, ON, Same, "Serve /metrics/prometheus.";
    "metrics_statsd" Toggle, OFF, PUSH, "Push to StatsD; needs --metrics_statsd_host and --metrics_statsd_port.";
    "metrics_statsd_host" form("HOST", check::not_empty), Unset, PUSH, "Its host.";
    "metrics_statsd_port" numbers(1..=65535), Unset, PUSH, "Its port.";
    "metrics_statsd_transmission_interval_ms" numbers(1..=i64::MAX), Is("10000"), PUSH, "Pause between pushes.";
    "metrics_datadog" Toggle, OFF, PUSH, "Push to DataDog.";
    "metrics_datadog_protocol" one_of(&["udp", "api"]), Is("udp"), PUSH, "How to reach DataDog.";
    "metrics_datadog_host" form("HOST", check::not_empty), Unset, PUSH, "Host of the DataDog agent.";
    "metrics_datadog_port" numbers(1..=65535), Unset, PUSH, "Port of the DataDog agent.";
    "metrics_datadog_api_key" TEXT, Unset, PUSH, "Key of the DataDog API.", secret;
    "metrics_datadog_transmission_interval_ms" numbers(1..=i64::MAX), Is("10000"), PUSH, "Pause between pushes.";
    "metrics_histogram_reservoir_highest_trackable_value" numbers(2..=i64::MAX), Is("3600000000000"), INNER, "Upper bound of histogram values, in ns.";
    "metrics_histogram_reservoir_significant_digits" numbers(0..=5), Is("3"), INNER, "Precision of histograms.";
    "metrics_histogram_reservoir_reset_periodically" Toggle, ON, INNER, "Empty histograms regularly.";
    "metrics_histogram_reservoir_resetting_interval_ms" numbers(1..=i64::MAX), Is("5000"), INNER, "Pause between emptying them.";
    "metrics_histogram_reservoir_resetting_chunks" form("N", check::chunks), Is("0"), INNER, "Empty them in slices.";
    "logstash" form("URI", check::logstash), Unset, Ignored("logs go to stderr"), "Send log lines there.";
    "sentry" TEXT, Unset, Ignored("logs go to stderr"), "Report errors there.", secret;
    "sentry_tags" TEXT, Unset, Ignored("logs go to stderr"), "Tags of such reports.";
    "metrics" Toggle, OFF, Ignored("metrics are always kept"), "Time every method.";
    "tracing" Toggle, Unset, Gone { since: "1.5", why: "see --logging_level trace" }, "Log every method.";
    "enable_metrics" Switch, Unset, Gone { since: "1.4", why: "metrics are always kept" }, "Old name of metrics.";
    "enable_tracing" Switch, Unset, Gone { since: "1.4", why: "see --logging_level trace" }, "Old name of tracing.";
    "reporter_graphite" TEXT, Unset, Gone { since: "1.8", why: "use /metrics/prometheus" }, "Push to Graphite.";
    "reporter_datadog" TEXT, Unset, Gone { since: "1.8", why: "use /metrics/prometheus" }, "Push to DataDog.", secret;
    "metrics_averaging_window" MILLIS, Unset, Gone { since: "1.8", why: "it tuned a library" }, "Window of averages.";
}
Plugins {
    "plugin_dir" PATH, Unset, JARS, "A folder with jars.";
    "plugin_conf" PATH, Unset, JARS, "The description of plugins.";
}
Internal {
    "launch_queue_request_timeout" MILLIS, Is("3000"), INNER, "Inner time limit.";
    "task_operation_notification_timeout" MILLIS, Is("30000"), INNER, "Inner time limit.";
    "task_tracker_request_timeout" MILLIS, Is("10000"), INNER, "Inner time limit.";
    "task_update_request_timeout" MILLIS, Is("10000"), INNER, "Inner time limit.";
    "group_manager_request_timeout" MILLIS, Is("10000"), INNER, "Inner time limit.";
    "deployment_manager_request_timeout" MILLIS, Is("1000"), INNER, "Inner time limit.";
    "instance_tracker_num_parallel_loads" COUNT, Is("16"), INNER, "Loads at a time.";
    "instance_tracker_num_parallel_updates" COUNT, Is("16"), INNER, "Updates at a time.";
    "instance_tracker_update_queue_size" COUNT, Is("4096"), INNER, "Updates that may wait.";
    "max_parallel_status_updates" COUNT, Is("20"), INNER, "Status updates at a time.";
    "max_queued_status_updates" COUNT, Is("10000"), INNER, "Status updates that may wait.";
    "max_queued_root_group_updates" COUNT, Is("500"), INNER, "Changes of groups that may wait.";
    "app_info_module_execution_context_size" COUNT, Unset, THREADS, "Threads.";
    "default_info_service_execution_context_size" COUNT, Unset, THREADS, "Threads.";
    "group_manager_execution_context_size" COUNT, Unset, THREADS, "Threads.";
    "scheduler_actions_execution_context_size" COUNT, Unset, THREADS, "Threads.";
    "task_launch_notification_timeout" MILLIS, Unset, Gone { since: "1.0", why: "it tuned an inner limit" }, "Inner time limit.";
}
};
